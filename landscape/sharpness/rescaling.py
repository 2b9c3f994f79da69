"""Other weights of the same function: rescalings that a network's outputs do not depend on.

Measures of sharpness that such a change moves say something about the weights, not about the
function. The layers are found by trying: whatever changes the outputs by more than rounding is no
such pair, whatever it looks like.

Source:
    Dinh et al. (2017), Sharp Minima Can Generalize For Deep Nets, arXiv:1703.04933, Section 3:
    layers joined by a positively homogeneous function; its Section 5 and van Laarhoven (2017),
    arXiv:1706.05350: normalized layers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from landscape.errors import LandscapeError, require
from landscape.problem.batches import BatchData, tensors_in
from landscape.problem.forward import call_model
from landscape.problem.habits import clone, fresh_copy
from landscape.problem.plan import repeatable, twice_differentiable
from landscape.problem.problem import Problem
from landscape.problem.weights import WeightSpec, as_pairs, trainable_parameters
from landscape.reductions import accumulation_dtype
from landscape.runtime.progress import SILENT, Progress, reporting

_TRIED = (2.0**20, 2.0**-20)
"""Factors of a trial: exact in floating point, and so far from 1 that what is nearly homogeneous
gives itself away."""

_ROUNDING = 1e-10
"""Relative change of the outputs in float64 up to which a trial changed them by rounding only."""

_NUM_TRIED = 4  # examples of a trial
_NUM_CHECKED = 16  # batches that the result is checked on

_DIGITS = {"float64": 2.0**-52, "float32": 2.0**-23, "tf32": 2.0**-10, "bfloat16": 2.0**-7}
"""Distance from 1 to the next number."""


@dataclass(frozen=True)
class Rescaling:
    """A network with rescaled weights whose outputs are those of the original one.

    Attributes:
        name: What was rescaled, in words.
        kind: `relu` (layers joined by a positively homogeneous function) or `batchnorm`.
        pairs: `layer -> next layer` of each pair, in order of execution. The first layer's weights
            and bias are multiplied; the second one's weights are divided, or its statistics and
            scale adapted.
        factor: What weights are multiplied by; where pairs are joined by a homogeneous function,
            every second one of them takes 1/factor, so that a layer between two pairs does not keep
            its weights.
        output_change: Largest |change of an output| over the checked batches, relative to the
            largest |output|.
        problem: The same model and data with the rescaled weights and buffers.
    """

    name: str
    kind: str
    pairs: tuple[str, ...]
    factor: float
    output_change: float
    problem: Problem


def function_preserving_rescalings(
    problem: Problem, *, factor: float = 4.0, progress: Progress = SILENT
) -> list[Rescaling]:
    """Rescale a network's weights in the ways that leave its function as it is.

    - `relu`: of two layers that follow each other with a positively homogeneous function between
      them - ReLU, max pooling, a mean, dropout in evaluation, nothing at all - the first one's
      weights and bias are multiplied and the second one's weights divided by the same number; all
      such pairs at once.
    - `batchnorm`: all weights and biases whose outputs are normalized with running statistics are
      multiplied, and mean' = a mean, var' = a^2 var, gamma' = gamma sqrt(a^2 var + eps) / (a
      sqrt(var + eps)). This is exact with `stored` normalization; with `batch` and `recalibrate` up
      to eps over the variance, see `output_change`.

    Layers are modules that are executed once and own no tied weight; a module whose layers work
    side by side, such as a graph convolution, counts as one. Candidates are those executed one
    after the other, and each is tried on a few examples in float64. A layer whose scale makes no
    difference by itself is not counted.

    Args:
        problem: Stays as it is; model and data are shared with the result.
        factor: A power of two is exact in floating point.
        progress: Counts trials.

    Returns:
        At most one of each kind.

    Raises:
        InputError: If the factor is not positive, finite and other than 1, the model has nothing to
            rescale, or the device has no float64.
        LandscapeError: If the outputs change by more than rounding on other examples than those of
            the trial.

    Source:
        Dinh et al. (2017), arXiv:1703.04933, Definition 5 and Section 5.
    """
    require(
        0 < factor < math.inf and factor != 1,
        f"a factor of rescaling must be positive, finite and not 1, got {factor:g}.",
    )
    pairs = _find_pairs(problem, progress)
    require(
        pairs,
        "rescaling needs layers joined by ReLU or another positively homogeneous function, or "
        "weights under batch normalization with running statistics; this model has neither.",
        hint="Networks of tanh or GELU have no such freedom: leave `invariance` out.",
    )
    kinds = {
        "relu": ("layers joined by ReLU", [pair for pair in pairs if pair.norm is None]),
        "batchnorm": ("weights under BatchNorm", [pair for pair in pairs if pair.norm is not None]),
    }
    return [
        _checked(problem, name, kind, factor, chosen)
        for kind, (name, chosen) in kinds.items()
        if chosen
    ]


@dataclass(frozen=True)
class _Norm:
    """Indices of a normalization layer's scale among weights and statistics among buffers."""

    scale: int
    mean: int
    variance: int
    eps: float


@dataclass(frozen=True)
class _Pair:
    """Two layers, and the numbers of the parameter tensors that are multiplied and divided."""

    first: str
    second: str
    multiplied: tuple[int, ...]
    divided: tuple[int, ...]
    norm: _Norm | None

    def __str__(self) -> str:
        return f"{self.first} -> {self.second}"

    def holds(self, other: _Pair) -> bool:
        """Whether both layers of another pair are parts of one layer of this one."""
        prefixes = (f"{self.first}.", f"{self.second}.")
        return any(
            other.first.startswith(prefix) and other.second.startswith(prefix)
            for prefix in prefixes
        )


@dataclass(frozen=True)
class _Event:
    """The start or the end of a module's execution, by its place in the order."""

    place: int
    name: str
    is_start: bool


def _checked(
    problem: Problem, name: str, kind: str, factor: float, pairs: Sequence[_Pair]
) -> Rescaling:
    """Return the problem with all pairs rescaled at once."""
    factors = [factor] * len(pairs)
    if kind == "relu":
        factors[1::2] = [1 / factor] * (len(pairs) // 2)
    other = _rescale(problem, pairs, factors)
    outputs, others = problem.outputs(_NUM_CHECKED), other.outputs(_NUM_CHECKED)
    change = _relative_change(outputs, others, accumulation_dtype(problem.device))
    has_exact_form = kind == "relu" or problem.batchnorm == "stored"
    allowed = math.sqrt(_DIGITS[problem.plan.dtype])
    if has_exact_form and not change <= allowed:
        raise LandscapeError(
            f"rescaled {name} must change the outputs by rounding only, at most {allowed:.1e} of "
            f"them, they change by {change:.1e}.",
            hint="Pass `dtype='float64'`, and a factor that is a power of two.",
        )
    return Rescaling(name, kind, tuple(map(str, pairs)), factor, change, other)


def _rescale(problem: Problem, pairs: Sequence[_Pair], factors: Sequence[float]) -> Problem:
    """Return the problem with rescaled weights and buffers."""
    w, buffers = problem.weights.clone(), [buffer.clone() for buffer in problem.buffers]
    weights = problem.spec.views(w)
    for pair, factor in zip(pairs, factors, strict=True):
        for numbers, own in ((pair.multiplied, factor), (pair.divided, 1 / factor)):
            for number in numbers:
                weights[number].mul_(own)
        if pair.norm is not None:
            _adapt(pair.norm, factor, weights, buffers)
    return problem.with_buffers(buffers, w)


def _adapt(
    norm: _Norm, factor: float, weights: Sequence[Tensor], buffers: Sequence[Tensor]
) -> None:
    """Make a normalization of `factor` times the inputs give the old outputs."""
    mean, variance = buffers[norm.mean], buffers[norm.variance]
    before = torch.sqrt(variance + norm.eps)
    mean.mul_(factor)
    variance.mul_(factor**2)
    weights[norm.scale].mul_(torch.sqrt(variance + norm.eps) / (factor * before))


def _relative_change(
    outputs: Sequence[Tensor], others: Sequence[Tensor], dtype: torch.dtype
) -> float:
    """Return the largest change over the largest output.

    It is NaN where an output is NaN, and 0 where all outputs are 0.
    """
    pairs = [
        (as_pairs(a).to(dtype), as_pairs(b).to(dtype))
        for a, b in zip(outputs, others, strict=True)
        if as_pairs(a).is_floating_point()
    ]
    change = _largest([b - a for a, b in pairs])
    return change / (_largest([a for a, _ in pairs]) or 1.0)


def _largest(tensors: Sequence[Tensor]) -> float:
    largest = [tensor.abs().max() for tensor in tensors if tensor.numel()]
    return float(torch.stack(largest).max()) if largest else 0.0


def _find_pairs(problem: Problem, progress: Progress) -> list[_Pair]:
    """Return the pairs that pass a trial, in order of execution."""
    trial = _Trial(problem)
    found: dict[int, _Pair] = {}
    inputs, _ = fresh_copy(trial.problem.batches[0], clone)
    candidates = _candidates(trial.problem.copy_module(), inputs)
    with reporting(progress, "looking for layers to rescale", len(candidates)):
        for i, (_, place, pair) in enumerate(candidates):
            holds_a_pair = any(pair.holds(other) for other in found.values())
            # The outputs of a layer with a pair inside are no multiple of its weights, so it need
            # not be tried.
            if place not in found and not holds_a_pair and trial.accepts(pair):
                found[place] = pair
            progress.update(i + 1)
    return [found[place] for place in sorted(found)]


class _Trial:
    """A few float64 examples, normalized by stored statistics whatever the problem's settings."""

    def __init__(self, problem: Problem) -> None:
        data = BatchData((problem.data.batches(_NUM_TRIED)[0],))
        self.problem = Problem(
            problem.copy_module(), data, _total, device=str(problem.device), dtype="float64"
        )
        self._outputs = self.problem.outputs()

    def accepts(self, pair: _Pair) -> bool:
        """Return whether rescaling the first layer changes the outputs, but not rescaling both."""
        alone = replace(pair, second="", divided=(), norm=None)
        keeps = all(self._change(pair, factor) <= _ROUNDING for factor in _TRIED)
        return keeps and self._change(alone, _TRIED[0]) > _ROUNDING

    def _change(self, pair: _Pair, factor: float) -> float:
        others = _rescale(self.problem, [pair], [factor]).outputs()
        return _relative_change(self._outputs, others, torch.float64)


def _total(outputs: Any, targets: Any) -> Tensor:
    """Stand in for a loss."""
    tensors = map(as_pairs, tensors_in(outputs))
    return torch.stack([t.sum() for t in tensors if t.is_floating_point()]).sum()


def _candidates(module: nn.Module, inputs: Any) -> list[tuple[int, int, _Pair]]:
    """Return height, execution order and pair of each candidate, the single layers first.

    The height counts the modules around the two layers that are taken in their stead.
    """
    events = _record(module, inputs)
    layers = _Layers(module)
    opaque = [event for event in events if not layers.is_transparent(event.name)]
    found: dict[_Pair, tuple[int, int]] = {}
    for ends, starts in [*_meetings(events), *_meetings(opaque)]:
        for i, end in enumerate(ends):
            for j, start in enumerate(reversed(starts)):
                pair = layers.pair(end.name, start.name)
                if pair is not None:
                    found.setdefault(pair, (i + j, starts[-1].place))
    return sorted(((*found[pair], pair) for pair in found), key=lambda candidate: candidate[:2])


def _record(module: nn.Module, inputs: Any) -> list[_Event]:
    """Return when modules with weights start and end, except those executed more than once."""
    order: list[tuple[str, bool]] = []
    handles = []
    for name, part in module.named_modules():
        if any(True for _ in trainable_parameters(part)):
            start, end = (partial(_note, order, name, is_start) for is_start in (True, False))
            handles += [part.register_forward_pre_hook(start), part.register_forward_hook(end)]
    try:
        # Fused attention, which has no second derivative, does not execute the layers one by one.
        with repeatable(next(module.parameters()).device), torch.no_grad(), twice_differentiable():
            call_model(module, inputs)
    finally:
        for handle in handles:
            handle.remove()
    counts = Counter(name for name, is_start in order if is_start)
    return [
        _Event(i, name, is_start) for i, (name, is_start) in enumerate(order) if counts[name] == 1
    ]


def _note(order: list[tuple[str, bool]], name: str, is_start: bool, *_: Any) -> None:
    """Serve as a hook: add the start or the end of a module's execution."""
    order.append((name, is_start))


def _meetings(events: Sequence[_Event]) -> Iterator[tuple[list[_Event], list[_Event]]]:
    """Yield the modules that end, inner first, and those that start next, outer first."""
    ends: list[_Event] = []
    starts: list[_Event] = []
    for event in events:
        if event.is_start:
            starts.append(event)
            continue
        if ends and starts:
            yield ends, starts
        ends, starts = [*([] if starts else ends), event], []


class _Layers:
    """The modules of a network as ends of a pair."""

    def __init__(self, module: nn.Module) -> None:
        self._modules = dict(module.named_modules())
        self._numbers = {name: i for i, name in enumerate(WeightSpec.from_module(module).names)}
        self._buffers = {name: i for i, (name, _) in enumerate(module.named_buffers())}
        owners = Counter(
            id(own) for part in self._modules.values() for own in part._parameters.values()
        )
        self._tied = {number for number, count in owners.items() if count > 1}

    def is_transparent(self, name: str) -> bool:
        """Return whether it only scales entries, like PReLU, and so may be between two layers."""
        return not self._is_norm(name) and all(p.ndim < 2 for p in self._modules[name].parameters())

    def pair(self, first: str, second: str) -> _Pair | None:
        """Return the pair to try, if these two can be one."""
        if self._has_tied(first) or self._has_tied(second):
            return None
        norm, divided = self._norm(second), ()
        if not self._is_norm(second):  # the matrices that multiply its inputs, or else its parts'
            own = self._weights(second, min_dimensions=2, recurse=False)
            divided = own or self._weights(second, min_dimensions=2)
        pair = _Pair(first, second, self._weights(first), divided, norm)
        return pair if divided or norm else None

    def _has_tied(self, name: str) -> bool:
        return any(id(parameter) in self._tied for parameter in self._modules[name].parameters())

    def _weights(
        self, name: str, *, min_dimensions: int = 0, recurse: bool = True
    ) -> tuple[int, ...]:
        """Return the numbers of a module's weights."""
        named = self._modules[name].named_parameters(name, recurse=recurse)
        return tuple(
            self._numbers[n] for n, p in named if p.requires_grad and p.ndim >= min_dimensions
        )

    def _is_norm(self, name: str) -> bool:
        part = self._modules[name]
        return isinstance(part, _NormBase) and part.running_var is not None

    def _norm(self, name: str) -> _Norm | None:
        """Return where a normalization layer with a scale keeps what is adapted; None of others."""
        part, scale = self._modules[name], self._numbers.get(f"{name}.weight")
        if not isinstance(part, _NormBase) or part.running_var is None or scale is None:
            return None
        mean, variance = (self._buffers[f"{name}.running_{which}"] for which in ("mean", "var"))
        return _Norm(scale, mean, variance, part.eps)
