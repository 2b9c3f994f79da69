"""Convolutions, evaluated batch normalization and cross-entropy with cheap second derivatives.

torch's own second derivatives of these take detours: that of a convolution by its weights is a
convolution with the image for a kernel, that of batch normalization passes over the activations a
dozen times, that of cross-entropy computes exponentials anew and scatters. The values are those of
torch, up to rounding in batch normalization.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_aten: Any = torch.ops.aten
_IGNORED = -100  # torch's own default of a target that does not count


class CheapSecondDerivatives(TorchFunctionMode):
    """A context in which a forward pass makes a graph that is cheap to differentiate twice.

    Args:
        is_full: Whether gradients of convolutions can be differentiated by everything that they
            depend on; else by the gradient that came back to them alone, and the rest is taken for
            constant.
    """

    def __init__(self, *, is_full: bool) -> None:
        super().__init__()
        self._replaced: dict[Any, Callable[..., Any]] = {
            F.batch_norm: _batch_norm,
            F.cross_entropy: _cross_entropy,
            torch.conv1d: _convolution(torch.conv1d, 1, is_full),
            torch.conv2d: _convolution(torch.conv2d, 2, is_full),
            torch.conv3d: _convolution(torch.conv3d, 3, is_full),
        }

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch's, or what stands in for it."""
        if not torch._C._are_functorch_transforms_active():  # which our functions do not know
            func = self._replaced.get(func, func)
        return func(*args, **(kwargs or {}))


def _convolution(
    func: Callable[..., Tensor], num_dims: int, is_full: bool
) -> Callable[..., Tensor]:
    def convolution(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        is_batch = input.ndim == num_dims + 2 and not input.is_complex()
        if isinstance(padding, str) or not is_batch or input.dtype != weight.dtype:
            return func(input, weight, bias, stride, padding, dilation, groups)
        lists = [_one_each(value, num_dims) for value in (stride, padding, dilation)]
        # Not transposed, and so without output padding.
        options = (*lists, False, [0] * num_dims, groups)
        return Convolution.apply(input, weight, bias, options, is_full)  # pyright: ignore[reportReturnType]

    return convolution


def _one_each(value: int | Sequence[int], num_dims: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * num_dims if len(values) == 1 else values


class Convolution(torch.autograd.Function):
    """A convolution of a batch."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        options: tuple[Any, ...],
        is_full: bool,
    ) -> Tensor:
        """Return what torch does."""
        ctx.save_for_backward(x, weight)
        ctx.options, ctx.is_full = options, is_full
        ctx.bias_size = None if bias is None else [len(bias)]
        return _aten.convolution(x, weight, bias, *options)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Return the gradients by input, weight and bias."""
        needed = tuple(ctx.needs_input_grad[:3])
        x, weight = (
            ctx.saved_tensors if ctx.is_full else (tensor.detach() for tensor in ctx.saved_tensors)
        )
        return (
            *ConvolutionGradient.apply(
                *grad_outputs, x, weight, ctx.options, ctx.bias_size, needed
            ),
            None,
            None,
        )


class ConvolutionGradient(torch.autograd.Function):
    """The gradients of a convolution.

    They are linear in the gradient by its output, in the input and in the weight.
    """

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        x: Tensor,
        weight: Tensor,
        options: tuple[Any, ...],
        bias_size: Any,
        needed: Any,
    ) -> Any:
        """Return what torch does; None for what is not needed."""
        ctx.save_for_backward(g, x, weight)
        ctx.options = options
        ctx.set_materialize_grads(False)
        return _aten.convolution_backward(g, x, weight, bias_size, *options, needed)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> Any:
        """Return derivatives by g, x and weight, in the direction of gradient-like tensors."""
        g, x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = grad_outputs
        parts, along_x, along_weight = [], None, None
        if by_x is not None:
            parts.append(_aten.convolution(by_x, weight, None, *ctx.options))
            if ctx.needs_input_grad[2]:
                along_weight = _backward(g, by_x, weight, ctx.options, 1)
        if by_weight is not None:
            parts.append(_aten.convolution(x, by_weight, None, *ctx.options))
            if ctx.needs_input_grad[1]:
                along_x = _backward(g, x, by_weight, ctx.options, 0)
        if by_bias is not None:
            parts.append(by_bias.view(1, -1, *[1] * (g.ndim - 2)).expand_as(g))
        along_g = sum(parts[1:], start=parts[0]) if parts else None
        return along_g, along_x, along_weight, None, None, None


def _backward(g: Tensor, x: Tensor, weight: Tensor, options: tuple[Any, ...], which: int) -> Tensor:
    """Return the gradient of a convolution by its input (0) or its weight (1)."""
    return _aten.convolution_backward(
        g, x, weight, None, *options, [which == 0, which == 1, False]
    )[which]


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or running_mean is None or running_var is None:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    scale = (running_var + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale
    shift = shift if bias is None else shift + bias
    shape = (-1, *[1] * (input.ndim - 2))
    return torch.addcmul(shift.view(shape), input, scale.view(shape))


def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = _IGNORED,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    is_mean = reduction == "mean" and size_average is None and reduce is None
    are_numbers = input.ndim == 2 and target.ndim == 1 and not target.is_floating_point()
    if not is_mean or not are_numbers or weight is not None or ignore_index != _IGNORED:
        return F.cross_entropy(
            input,
            target,
            weight,
            size_average,
            ignore_index,
            reduce,
            reduction,
            label_smoothing=label_smoothing,
        )
    return CrossEntropy.apply(input, target, label_smoothing)  # pyright: ignore[reportReturnType]


class CrossEntropy(torch.autograd.Function):
    """The mean cross-entropy of a batch with class-number targets, with label smoothing."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
        """Return what torch does."""
        ctx.save_for_backward(logits, target)
        ctx.label_smoothing = label_smoothing
        return F.cross_entropy(logits, target, label_smoothing=label_smoothing)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Return the gradient by the logits: (softmax - target) / n, or 0 for ignored targets."""
        logits, target = ctx.saved_tensors
        target = target.long()
        counts = (target != _IGNORED).unsqueeze(1)
        share = counts / counts.sum(dtype=logits.dtype)
        probabilities = logits.detach().softmax(1)
        gradient = (probabilities - ctx.label_smoothing / logits.shape[1]).scatter_add_(
            1,
            target.clamp(min=0).unsqueeze(1),
            logits.new_full((len(target), 1), ctx.label_smoothing - 1),
        )
        return (
            CrossEntropyGradient.apply(
                *grad_outputs, logits, probabilities, gradient.mul_(share), share
            ),
            None,
            None,
        )


class CrossEntropyGradient(torch.autograd.Function):
    """The gradient of a mean cross-entropy times that by it, g."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, logits: Tensor, probabilities: Tensor, gradient: Tensor, share: Tensor
    ) -> Tensor:
        """Return g times the gradient."""
        ctx.save_for_backward(
            g, logits, probabilities, gradient if ctx.needs_input_grad[0] else None, share
        )
        return gradient * g

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        """Return the derivatives by g and the logits in a direction u (n, classes).

        The derivative by the logits is g (p u - p <p, u>) / n.
        """
        (u,), (g, logits, probabilities, gradient, share) = grad_outputs, ctx.saved_tensors
        # A third derivative is wanted, and needs to know where these come from.
        if torch.is_grad_enabled():
            there, probabilities = probabilities, logits.softmax(1)
            gradient = None if gradient is None else gradient + (probabilities - there) * share
        along_g = None if gradient is None else (gradient * u).sum()
        weighted = probabilities * u
        along_logits = torch.addcmul(
            weighted, probabilities, weighted.sum(1, keepdim=True), value=-1
        ) * (share * g)
        return along_g, along_logits, None, None, None
