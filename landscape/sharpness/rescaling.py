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
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from landscape.errors import InputError, LandscapeError
from landscape.problem.batches import BatchData, tensors_in
from landscape.problem.forward import call_model
from landscape.problem.plan import repeatable, twice_differentiable
from landscape.problem.problem import Problem
from landscape.problem.weights import WeightSpec, trainable_parameters
from landscape.reductions import accumulation_dtype
from landscape.runtime.progress import SILENT, Progress

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

    @property
    def num_pairs(self) -> int:
        """Number of pairs of layers."""
        return len(self.pairs)


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
    if not (0 < factor < math.inf and factor != 1):
        raise InputError(
            f"a factor of rescaling must be positive, finite and not 1, got {factor:g}."
        )
    pairs = _find_pairs(problem, progress)
    joined = [pair for pair in pairs if pair.norm is None]
    normalized = [pair for pair in pairs if pair.norm is not None]
    if not pairs:
        raise InputError(
            "rescaling needs layers joined by ReLU or another positively homogeneous function, or "
            "weights under "
            "batch normalization with running statistics; this model has neither.",
            hint="Networks of tanh or GELU have no such freedom: leave `invariance` out.",
        )
    alternating = [factor if i % 2 == 0 else 1 / factor for i in range(len(joined))]
    return [
        *_checked(problem, "layers joined by ReLU", "relu", factor, joined, alternating),
        *_checked(
            problem,
            "weights under BatchNorm",
            "batchnorm",
            factor,
            normalized,
            [factor] * len(normalized),
        ),
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

    def lies_in(self, layer: str) -> bool:
        """Whether both layers are parts of another one."""
        return all(name.startswith(f"{layer}.") for name in (self.first, self.second))


@dataclass(frozen=True)
class _Event:
    """The start or the end of a module's execution, by its place in the order."""

    place: int
    name: str
    is_start: bool


def _checked(
    problem: Problem,
    name: str,
    kind: str,
    factor: float,
    pairs: Sequence[_Pair],
    factors: Sequence[float],
) -> Iterator[Rescaling]:
    """Yield the problem with all pairs rescaled at once, if there is any pair."""
    if not pairs:
        return
    other = _rescale(problem, pairs, factors)
    change = _output_change(problem, other)
    has_exact_form = kind == "relu" or problem.batchnorm == "stored"
    allowed = math.sqrt(_DIGITS[problem.plan.dtype])
    if has_exact_form and not change <= allowed:
        raise LandscapeError(
            f"rescaled {name} must change the outputs by rounding only, at most {allowed:.1e} of "
            "them, "
            f"they change by {change:.1e}.",
            hint="Pass `dtype='float64'`, and a factor that is a power of two.",
        )
    yield Rescaling(name, kind, tuple(map(str, pairs)), factor, change, other)


def _rescale(problem: Problem, pairs: Sequence[_Pair], factors: Sequence[float]) -> Problem:
    """Return the problem with rescaled weights and buffers."""
    w, buffers = problem.weights.clone(), [buffer.clone() for buffer in problem.buffers]
    weights = problem.spec.views(w)
    for pair, factor in zip(pairs, factors, strict=True):
        _multiply(weights, pair.multiplied, factor)
        _multiply(weights, pair.divided, 1 / factor)
        if pair.norm is not None:
            _adapt(pair.norm, factor, weights, buffers)
    return problem.with_weights(w).with_buffers(buffers)


def _multiply(tensors: Sequence[Tensor], numbers: Sequence[int], factor: float) -> None:
    for number in numbers:
        tensors[number].mul_(factor)


def _adapt(
    norm: _Norm, factor: float, weights: Sequence[Tensor], buffers: Sequence[Tensor]
) -> None:
    """Make a normalization of `factor` times the inputs give the old outputs."""
    mean, variance = buffers[norm.mean], buffers[norm.variance]
    before = torch.sqrt(variance + norm.eps)
    mean.mul_(factor)
    variance.mul_(factor**2)
    weights[norm.scale].mul_(torch.sqrt(variance + norm.eps) / (factor * before))


def _output_change(problem: Problem, other: Problem) -> float:
    """Return the largest output change over the first batches, relative to the largest output."""
    outputs, others = problem.outputs(_NUM_CHECKED), other.outputs(_NUM_CHECKED)
    return _relative_change(outputs, others, accumulation_dtype(problem.device))


def _relative_change(
    outputs: Sequence[Tensor], others: Sequence[Tensor], dtype: torch.dtype
) -> float:
    """Return NaN where an output is NaN, and 0 where all outputs are 0."""
    pairs = [
        (a.to(dtype), b.to(dtype))
        for a, b in zip(outputs, others, strict=True)
        if a.is_floating_point()
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
    candidates = _candidates(trial.problem.copy_module(), trial.problem.batches[0][0])
    progress.start("looking for layers to rescale", len(candidates))
    try:
        for i, (_, place, pair) in enumerate(candidates):
            holds_a_pair = any(
                other.lies_in(end) for other in found.values() for end in (pair.first, pair.second)
            )
            # The outputs of a layer with a pair inside are no multiple of its weights, so it need
            # not be tried.
            if place not in found and not holds_a_pair and trial.accepts(pair):
                found[place] = pair
            progress.update(i + 1)
    finally:
        progress.stop()
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
        keeps = all(self._change(pair, factor) <= _ROUNDING for factor in _TRIED)
        return (
            keeps
            and self._change(_Pair(pair.first, "", pair.multiplied, (), None), _TRIED[0])
            > _ROUNDING
        )

    def _change(self, pair: _Pair, factor: float) -> float:
        others = _rescale(self.problem, [pair], [factor]).outputs()
        return _relative_change(self._outputs, others, torch.float64)


def _total(outputs: Any, targets: Any) -> Tensor:
    """Stand in for a loss."""
    return torch.stack([t.sum() for t in tensors_in(outputs) if t.is_floating_point()]).sum()


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
            handles.append(
                part.register_forward_pre_hook(lambda *_, name=name: order.append((name, True)))
            )
            handles.append(
                part.register_forward_hook(lambda *_, name=name: order.append((name, False)))
            )
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
        multiplied, norm = self._weights(first), self._norm(second)
        divided = () if self._is_norm(second) else self._matrices(second)
        return _Pair(first, second, multiplied, divided, norm) if divided or norm else None

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

    def _matrices(self, name: str) -> tuple[int, ...]:
        """Return the numbers of the matrices that multiply a module's inputs.

        They are the module's own matrices, or those of its parts.
        """
        return self._weights(name, min_dimensions=2, recurse=False) or self._weights(
            name, min_dimensions=2
        )

    def _is_norm(self, name: str) -> bool:
        part = self._modules[name]
        return isinstance(part, _NormBase) and part.running_var is not None

    def _norm(self, name: str) -> _Norm | None:
        """Return where a normalization layer keeps what is adapted.

        The result is None if the module has no scale or is not such a layer.
        """
        part, scale = self._modules[name], self._numbers.get(f"{name}.weight")
        if not isinstance(part, _NormBase) or part.running_var is None or scale is None:
            return None
        mean, variance = (
            self._buffers[f"{name}.{which}"] for which in ("running_mean", "running_var")
        )
        return _Norm(scale, mean, variance, part.eps)
