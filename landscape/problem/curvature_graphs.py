"""The curvature of one batch as a graph, built once and differentiated for each product."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction, once_differentiable

from landscape.errors import InputError, explained_memory, first_line, require
from landscape.problem.batches import tensors_in
from landscape.problem.second_derivatives import Convolution, CrossEntropy

CURVATURES = ("hessian", "ggn", "fisher")
"""`hessian`: of the mean loss; `ggn`: J' H_L J, the generalized Gauss-Newton matrix, J being the
Jacobian of the outputs and H_L the Hessian of the loss in them; `fisher`: the empirical Fisher
matrix, the mean over examples of g g', g being the gradient of an example's loss. The true Fisher
matrix of cross-entropy is the GGN."""

Parts: TypeAlias = Sequence[Tensor]
"""One tensor a parameter."""

Product: TypeAlias = Sequence[Tensor | None]
"""One tensor a parameter; None means zero."""

_REFUSALS = ("derivative for", "differentiate", "call numpy()", "Checkpointing is not compatible")
"""What torch says, in part, where it cannot differentiate twice."""

_OUTPUTS_HINT = (
    "Let the model return what its loss is computed from, such as logits, and compute the loss in "
    "`loss`; or pass `curvature='hessian'`."
)
_HINT = (
    "Replace that operation in the model or the loss by one with a second derivative, or pass "
    "`products='differences'` for a Hessian by differences of gradients."
)


class CurvatureGraph(Protocol):
    """A symmetric matrix known by its products.

    Attributes:
        roots: The tensors whose graph is kept for the next product.
    """

    roots: list[Tensor]

    def product(self, parts: Product, *, is_last: bool) -> Product:
        """Return the product with a vector; after the last one the graph is void."""
        ...


class GradientGraph:
    """The Hessian of a loss or the Jacobian of outputs, by differentiating gradients.

    The Hessian is the derivative of a loss's gradient. u -> J' u is linear, J being the Jacobian of
    outputs, so differentiating it by u in the direction v gives J v.

    Args:
        tensors: The loss, or the outputs.
        parameters: What they are differentiated by.
        seeds: u, tensors like the outputs; None for a loss.
    """

    def __init__(self, tensors: Parts, parameters: Parts, seeds: Parts | None = None) -> None:
        self._by = parameters if seeds is None else seeds
        self._used, self.roots = _dependent(_gradients(tensors, parameters, seeds))

    def product(self, parts: Product, *, is_last: bool) -> Product:
        """Return H v, or J v."""
        return _derivative(self.roots, self._by, [parts[i] for i in self._used], is_last=is_last)


class GaussNewtonGraph:
    """J' M J, J being the Jacobian of the outputs and M a symmetric matrix in them.

    Args:
        outputs: What J is the Jacobian of.
        multiply: Multiplies M with tensors like the outputs; None means zero.
        parameters: What J is the Jacobian by.
        multiplier_roots: The tensors whose graph `multiply` keeps.
    """

    def __init__(
        self,
        outputs: Parts,
        multiply: Callable[[Product], Product],
        parameters: Parts,
        multiplier_roots: Parts = (),
    ) -> None:
        self._outputs, self._multiply, self._parameters = outputs, multiply, parameters
        seeds = [torch.zeros_like(output, requires_grad=True) for output in outputs]
        self._jacobian = GradientGraph(outputs, parameters, seeds)
        self.roots = [*self._jacobian.roots, *outputs, *multiplier_roots]

    def product(self, parts: Product, *, is_last: bool) -> Product:
        """Return J' M J v."""
        bent = self._multiply(self._jacobian.product(parts, is_last=False))
        return _derivative(self._outputs, self._parameters, bent, is_last=is_last)


def gauss_newton(
    outputs: Parts, loss: Tensor, leaves: Parts, parameters: Parts
) -> GaussNewtonGraph:
    """Return J' H_L J, where H_L is the Hessian of `loss` in `leaves`, which equal `outputs`.

    Raises:
        InputError: If the loss is linear in the outputs of a model that is not linear, which makes
            it 0 whatever the model is, or if it depends on the parameters otherwise than by the
            outputs.
    """
    own = {id(parameter) for parameter in parameters}
    require(
        not any(id(getattr(node, "variable", None)) in own for node in nodes([loss])),
        "the Gauss-Newton matrix needs a loss that depends on the weights by the model's outputs "
        "alone, tensors in tuples, mappings, dataclasses or attributes.",
        hint=_OUTPUTS_HINT,
    )
    inner = GradientGraph([loss], leaves)
    require(
        inner.roots or not _is_linear_in_curved(outputs, loss, leaves, parameters),
        "the loss is linear in the model's outputs, so that its Gauss-Newton matrix says nothing: "
        "it is 0, as of every model that returns its own loss.",
        hint=_OUTPUTS_HINT,
    )
    multiply = partial(inner.product, is_last=False)
    return GaussNewtonGraph(outputs, multiply, parameters, inner.roots)


def empirical_fisher(
    losses: Tensor, parameters: Parts, weights: Tensor | None = None
) -> GaussNewtonGraph:
    """Return the mean of g g' over the examples whose losses (n,) these are.

    Args:
        losses: Of the examples, (n,).
        parameters: What they are differentiated by.
        weights: Of the examples in the mean, (n,); None for equal ones.
    """
    shares: Any = 1 / len(losses) if weights is None else weights / weights.sum()

    def multiply(tensors: Product) -> Product:
        return tuple(None if tensor is None else tensor * shares for tensor in tensors)

    return GaussNewtonGraph([losses] if losses.requires_grad else [], multiply, parameters)


def _is_linear_in_curved(outputs: Parts, loss: Tensor, leaves: Parts, parameters: Parts) -> bool:
    """Whether a loss without second derivatives is linear in outputs that are not linear."""
    pairs = zip(outputs, _gradients([loss], leaves, None), strict=True)
    moved = {output: seed for output, seed in pairs if seed is not None and seed.any()}
    return bool(_dependent(_gradients([*moved], parameters, [*moved.values()]))[1])


def _is_nonzero(tensor: Tensor | None) -> bool:
    return tensor is not None and bool(tensor.any())


def _gradients(tensors: Parts, by: Parts, seeds: Parts | None) -> Product:
    """Return gradients that can be differentiated; zero of tensors that are constants."""
    if not any(tensor.requires_grad for tensor in tensors):
        return (None,) * len(by)
    return torch.autograd.grad(tensors, by, seeds, create_graph=True, allow_unused=True)


def _dependent(tensors: Iterable[Tensor | None]) -> tuple[list[int], list[Tensor]]:
    """Return the places, and themselves, of those that can be differentiated."""
    kept = {i: tensor for i, tensor in enumerate(tensors) if tensor is not None}
    curved = {i: tensor for i, tensor in kept.items() if tensor.requires_grad}
    return list(curved), list(curved.values())


def _derivative(
    tensors: Parts, by: Parts, directions: Sequence[Tensor | None], *, is_last: bool
) -> Product:
    """Return the sum of the tensors' derivatives times `directions`, those that are not zero."""
    pairs = [
        (tensor, direction)
        for tensor, direction in zip(tensors, directions, strict=True)
        if direction is not None
    ]
    if not pairs:
        return (None,) * len(by)
    moved, along = zip(*pairs, strict=True)
    return torch.autograd.grad(moved, by, along, retain_graph=not is_last, allow_unused=True)


@contextmanager
def explained_derivatives() -> Iterator[None]:
    """Say inside what cannot be differentiated twice, and what to do when memory runs out.

    Raises:
        InputError: Where torch refuses a second derivative; it names the operation.
        LandscapeError: If the device is out of memory.
    """
    hint = "Pass a smaller `batch_size`, or a smaller `memory`."
    try:
        with explained_memory("a matrix-vector product", hint):
            yield
    except RuntimeError as exc:
        if not any(refusal in str(exc) for refusal in _REFUSALS):
            raise
        raise InputError(
            f"the loss cannot be differentiated twice: {first_line(exc)}", hint=_HINT
        ) from exc


def require_twice_differentiable(loss: Tensor, parameters: Parts) -> None:
    """Raise InputError if a custom `torch.autograd.Function` blocks second derivatives of `loss`.

    torch itself would take them for zero: those of functions whose backward is marked
    `once_differentiable`, and of those whose backward computes outside of torch or on detached
    tensors only. Not detected: a backward that keeps its dependence on the incoming gradient but
    detaches what the forward pass saved, and functions within which autograd is called anew. An
    operation of torch's own without a second derivative raises in the product.

    Args:
        loss: A scalar with a graph; the graph is kept.
        parameters: What is differentiated by.
    """
    custom: list[Any] = [
        node
        for node in nodes([loss])
        if isinstance(node, BackwardCFunction) and _function_of(node) not in _OURS
    ]
    for node in custom:
        require(
            _function_of(node).backward.__code__ is not _ONCE,
            f"the loss cannot be differentiated twice: {_function_of(node).__name__}.backward "
            "is marked once_differentiable.",
            hint=_HINT,
        )
    if custom:
        _require_open_backwards(loss, parameters, custom)


_OURS = (Convolution, CrossEntropy)
_ONCE = once_differentiable(lambda _: None).__code__


def _function_of(node: Any) -> Any:
    return node._forward_cls


def _require_open_backwards(loss: Tensor, parameters: Parts, custom: list[Any]) -> None:
    """Raise InputError if a backward makes constants out of gradients that are none."""
    closed: list[str] = []
    with ExitStack() as hooks:
        for node in custom:
            note = partial(_note_closed, closed, _function_of(node).__name__)
            hooks.enter_context(node.register_hook(note))
        # The seed is no constant, so nothing that comes back from it is.
        _gradients([loss], parameters, [torch.ones_like(loss, requires_grad=True)])
    if closed:
        raise InputError(
            f"the loss cannot be differentiated twice: what {closed[0]}.backward returns does not "
            "depend on what "
            "it is given.",
            hint=f"{_HINT} A backward in NumPy or on detached tensors has none.",
        )


def _note_closed(closed: list[str], name: str, returned: Product, given: Product) -> None:
    """Note the name of a function that makes constants, other than zeros, out of gradients."""
    is_open = any(gradient is not None and gradient.requires_grad for gradient in returned)
    depends = any(gradient is not None and gradient.requires_grad for gradient in given)
    if depends and not is_open and any(map(_is_nonzero, returned)):
        closed.append(name)


def nodes(roots: Iterable[Tensor]) -> set[Any]:
    """Return the nodes of the graph that leads to some tensors."""
    waiting, seen = [root.grad_fn for root in roots], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(following for following, _ in node.next_functions)
    return seen


def saved_tensors(roots: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield the tensors in the graph of some tensors, themselves included; some repeatedly."""
    yield from roots
    for node in nodes(roots):
        yield from tensors_in([getattr(node, name) for name in _saved_names(type(node))])
        if isinstance(node, BackwardCFunction):
            yield from tensors_in([node.saved_tensors, *vars(node).values()])


def added_bytes(tensors: Iterable[Tensor], known: set[int]) -> int:
    """Return the bytes of storages whose addresses are not `known`, and make them known."""
    storages = (tensor.untyped_storage() for tensor in tensors if tensor.layout == torch.strided)
    found = {storage.data_ptr(): storage.nbytes() for storage in storages}
    new = found.keys() - known
    known |= new
    return sum(found[address] for address in new)


@cache
def _saved_names(kind: type) -> tuple[str, ...]:
    return tuple(name for name in dir(kind) if name.startswith("_saved_"))
