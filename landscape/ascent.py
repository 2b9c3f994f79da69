"""The steepest step inside a p-ball: the map from a gradient to the worst small perturbation.

Gradients and perturbations are sequences of tensors that together form one vector. The ball may be
scaled elementwise: {e : ||T^-1 e||_p <= rho} with T = diag(scaling), which for T = |w| + eta is the
adaptive ball of ASAM. SAM trains with the same map that sharpness is measured with.

Source:
    Foret et al. (2021), "Sharpness-aware minimization", Eq. 2; Kwon et al. (2021), "ASAM".
"""

# pyright: reportPrivateImportUsage=false
# torch exports its foreach kernels, which its own optimizers are made of, under private names.

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.reductions import accumulation_dtype

# Entries that are summed in the tensors' own dtype before float64 takes over.
_PIECE = 1024

# A largest entry in this range can be squared in float32, as can all that count beside it.
_SQUARABLE = (1e-15, 1e15)


@torch.no_grad()
def ascend(
    gradients: Sequence[Tensor],
    rho: float | Tensor,
    *,
    p: float = 2.0,
    scaling: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Return the e with ||T^-1 e||_p <= rho that maximises <g, e>.

    With 1/p + 1/q = 1 and a = T g this is e = rho T sign(a) |a|^(q-1) / ||sign(a) |a|^(q-1)||_p, so that
    <g, e> = rho ||T g||_q; p = 1 puts +-rho on the largest |a| (on the first of equal ones) and
    p = inf gives rho T sign(a). Entries are divided by the largest one first where that matters, so
    that nothing overflows, whatever p and the size of the gradient. No host synchronisation.

    Args:
        gradients: The vector g, as tensors on one device; finite.
        rho: Radius, a number or a 0-dim tensor.
        p: Norm of the ball, at least 1; may be infinite.
        scaling: Diagonal of T, nonnegative, shaped as `gradients`; None for the identity.

    Returns:
        Tensors shaped as `gradients`; zeros where the gradient is zero.

    Raises:
        InputError: If p < 1.
    """
    check_norm(p)
    if not gradients:
        return []
    units, _ = _bounded(_multiply(gradients, scaling), p)
    steepest = _steepest(units, p)
    return _multiply(_scale(steepest, rho / _nonzero(_norm(steepest, p))), scaling)


@torch.no_grad()
def dual_norm(gradients: Sequence[Tensor], *, p: float = 2.0, scaling: Sequence[Tensor] | None = None) -> Tensor:
    """Return ||T g||_q, 1/p + 1/q = 1: how much <g, e> gains per unit of radius.

    Args:
        gradients: The vector g.
        p: Norm of the ball, at least 1; may be infinite.
        scaling: Diagonal of T; None for the identity.

    Returns:
        0-dim, float64 (float32 on MPS), not synchronised; infinite or NaN if the gradient is.

    Raises:
        InputError: If p < 1.
    """
    check_norm(p)
    return _safe_norm(_multiply(gradients, scaling), _conjugate(p))


@torch.no_grad()
def ball_norm(perturbation: Sequence[Tensor], *, p: float = 2.0, scaling: Sequence[Tensor] | None = None) -> Tensor:
    """Return ||T^-1 e||_p: the smallest radius of a ball that holds the perturbation e.

    Args:
        perturbation: The vector e.
        p: Norm of the ball, at least 1; may be infinite.
        scaling: Diagonal of T; where it is 0, e must be 0, or the result is infinite.

    Returns:
        0-dim, float64 (float32 on MPS), not synchronised.

    Raises:
        InputError: If p < 1.
    """
    check_norm(p)
    if scaling is None:
        return _safe_norm(perturbation, p)
    pairs = zip(perturbation, scaling, strict=True)
    return _safe_norm([torch.where(e == 0, 0.0, e / t) for e, t in pairs], p)


@torch.no_grad()
def adaptive_scaling(weights: Sequence[Tensor], eta: float = 0.01) -> list[Tensor]:
    """Return the diagonal |w| + eta of ASAM's T, as tensors shaped as `weights`.

    Raises:
        InputError: If eta is negative or not finite.

    Source:
        Kwon et al. (2021), "ASAM".
    """
    if not 0 <= eta < math.inf:
        raise InputError(f"eta must be a finite number of at least 0, got {eta}.")
    return list(torch._foreach_add(torch._foreach_abs(list(weights)), eta)) if weights else []


def check_norm(p: float) -> None:
    """Raise an InputError unless the p-ball is convex: 1 <= p <= inf."""
    if not p >= 1:
        raise InputError(
            f"p must be at least 1, got {p}.", hint="Use p = 2 for the Euclidean ball, or inf for the box."
        )


def _conjugate(p: float) -> float:
    """The q with 1/p + 1/q = 1."""
    if p == 1:
        return math.inf
    return 1.0 if math.isinf(p) else p / (p - 1)


def _steepest(units: list[Tensor], p: float) -> list[Tensor]:
    """sign(a) |a|^(q-1) of bounded entries."""
    if p == 2:
        return units
    if p == 1:
        return _largest_entry(units)
    signs = torch._foreach_sign(units)
    if math.isinf(p):
        return list(signs)
    return list(torch._foreach_mul(signs, torch._foreach_pow(torch._foreach_abs(units), 1 / (p - 1))))


def _largest_entry(units: list[Tensor]) -> list[Tensor]:
    """The sign of the first entry of largest magnitude, zeros elsewhere."""
    owner = _largest_of_each(units).argmax()
    return [_keep_largest(unit, owner == number) for number, unit in enumerate(units)]


def _keep_largest(unit: Tensor, is_owner: Tensor) -> Tensor:
    if not unit.numel():
        return unit
    flat = unit.reshape(-1)
    index = flat.abs().argmax().reshape(1)
    entry = torch.where(is_owner, flat.gather(0, index).sign(), 0.0)
    return torch.zeros_like(flat).scatter(0, index, entry).view(unit.shape)


def _safe_norm(tensors: Sequence[Tensor], order: float) -> Tensor:
    """The joint norm, free of overflow and underflow inside; 0 for no tensors."""
    if not tensors:
        return torch.zeros((), dtype=torch.float64)
    if math.isinf(order):
        return _largest(tensors)
    units, divisor = _bounded(tensors, order)
    return torch.where(divisor.isinf(), divisor, divisor * _norm(units, order))


def _norm(units: list[Tensor], order: float) -> Tensor:
    """The joint norm of bounded entries, accumulated in float64."""
    if math.isinf(order):
        return _largest(units)
    device = units[0].device
    long = [unit for unit in units if device.type == "cpu" and unit.numel() > _PIECE]
    short = [unit for unit in units if device.type != "cpu" or unit.numel() <= _PIECE]
    dtype = accumulation_dtype(device)
    parts = [torch.stack(list(torch._foreach_norm(short, order, dtype=dtype)))] if short else []
    parts += [_partial_norms(unit, order).to(dtype) for unit in long]
    return torch.linalg.vector_norm(torch.cat(parts), order)


def _partial_norms(unit: Tensor, order: float) -> Tensor:
    """Norms of pieces of a tensor, (pieces,), that are short enough for float32.

    Summing millions of squares in float32 loses four digits, and on the CPU torch converts to float64
    thirty times slower than it sums.
    """
    flat, dtype = unit.reshape(-1), torch.promote_types(unit.dtype, torch.float32)
    cut = flat.numel() // _PIECE * _PIECE
    norms = torch.linalg.vector_norm(flat[:cut].view(-1, _PIECE), order, dim=1, dtype=dtype)
    return torch.cat([norms, torch.linalg.vector_norm(flat[cut:], order, dtype=dtype).reshape(1)])


def _bounded(tensors: Sequence[Tensor], order: float) -> tuple[list[Tensor], Tensor]:
    """Tensors whose entries may be raised to powers, and the divisor (0-dim) that made them so.

    The divisor is the largest magnitude, or 1 for zeros. Squares of entries of common size need none:
    on the CPU, where asking for the size does not wait for a device, that saves two passes.
    """
    largest = _largest(tensors)
    is_plain = order == 2 and {tensor.dtype for tensor in tensors} <= {torch.float32, torch.float64}
    if is_plain and largest.device.type == "cpu" and _SQUARABLE[0] < float(largest) < _SQUARABLE[1]:
        return list(tensors), torch.ones_like(largest)
    divisor = _nonzero(largest)
    return list(torch._foreach_div(list(tensors), _as_factor(divisor, tensors))), divisor


def _largest(tensors: Sequence[Tensor]) -> Tensor:
    return _largest_of_each(tensors).amax()


def _largest_of_each(tensors: Sequence[Tensor]) -> Tensor:
    """Largest magnitude of each tensor, (number of tensors,); 0 for a tensor without elements."""
    full = [t if t.numel() else t.new_zeros(1) for t in tensors]
    if tensors[0].device.type == "cpu":  # on the CPU the infinity norm is twenty times slower
        low, high = zip(*(torch.aminmax(t) for t in full), strict=True)
        largest = torch.maximum(torch.stack(high), -torch.stack(low))
    else:
        largest = torch.stack(list(torch._foreach_norm(full, math.inf)))
    return largest.to(accumulation_dtype(tensors[0].device))


def _nonzero(value: Tensor) -> Tensor:
    """The value, or 1 in place of 0, without asking the device which."""
    return torch.where(value == 0, torch.ones_like(value), value)


def _multiply(tensors: Sequence[Tensor], scaling: Sequence[Tensor] | None) -> list[Tensor]:
    return list(tensors) if scaling is None else list(torch._foreach_mul(list(tensors), list(scaling)))


def _scale(tensors: Sequence[Tensor], factor: Tensor) -> list[Tensor]:
    return list(torch._foreach_mul(list(tensors), _as_factor(factor, tensors)))


def _as_factor(value: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """A 0-dim factor in the tensors' own dtype, where they share one: the fused kernels want that."""
    dtypes = {tensor.dtype for tensor in tensors}
    return value.to(dtypes.pop()) if len(dtypes) == 1 else value
