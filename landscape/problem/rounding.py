"""How far the arithmetic of a problem's dtype is off, measured against float64.

The residual of an eigenpair, or the last digit of a loss, knows nothing of the rounding inside the
forward and backward passes. It grows with depth, and where it changes the sign of an activation, a
derivative jumps. So it is measured.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.problem.batch_means import find_separate
from landscape.problem.batches import Batch, BatchData, TensorData
from landscape.problem.problem import Problem
from landscape.problem.sampling_error import SAME_MEAN
from landscape.reductions import norm
from landscape.results.interval import half_width
from landscape.runtime import distributed

Values: TypeAlias = Callable[[Problem, int], Tensor]
"""A function of a problem and the number of a batch: k vectors (k, n) of means over that batch,
such as its gradient as (1, P)."""

_CHEAP = 5e7
"""Floating point operations of a forward pass over all data up to which all are evaluated again in
float64: the products of some vectors then take less than a second."""

_PER_NUMBER = 100  # floating point operations for each number that a forward pass keeps
_SHARE = 64  # of the others, one batch out of so many is evaluated again, but at least two
_MOST = 1 / 8  # of the examples are evaluated again, where batches can be cut into pieces
_LEAST = 4  # examples of a piece

NUM_PIECES = 6
"""Pieces of random examples from which the error of a number, not a vector, is estimated."""

Size: TypeAlias = Callable[[Tensor], float]
"""A norm of a vector (n,) in float64."""

_UNUSED = "none"  # digest of data that nobody compares

_UNITS = {
    "float32": torch.finfo(torch.float32).eps,
    "float64": torch.finfo(torch.float32).eps,
    "bfloat16": torch.finfo(torch.bfloat16).eps,
    "tf32": torch.finfo(torch.float16).eps,
}
"""Dtype of the problem -> spacing at 1 of the numbers that are compared with float64's."""


class Rounding:
    """The error of a problem's dtype in what is a mean over its batches.

    Where a forward pass over all data is cheap, all are evaluated again in float64, and the error
    is exact. Else it is an estimate from a share of the examples, at most an eighth where batches
    can be cut: the relative error on what contributes most, the examples with the largest losses of
    the batch whose value is the largest, counts for all data, and the error on some that are drawn
    at random is added. The error of a mean is at most the mean of the errors, whatever their signs.

    The error of float64 is not measured by a higher precision. To first order errors are
    proportional to the unit roundoff (Higham 2002, chapter 3), so it is 2^-29 of the error of
    float32 at the same weights. Where the device has no float64, the host computes it.

    Args:
        problem: The loss; its batches are those of the computation in question.
        seed: Of the choice of batches.
        in_double: Whether that computation was in float64, although the problem is not.

    Attributes:
        factor: What a difference from float64 is multiplied by.

    Source:
        Higham (2002), Accuracy and Stability of Numerical Algorithms, 2nd edition.
    """

    def __init__(self, problem: Problem, *, seed: int = 0, in_double: bool = False) -> None:
        self._problem, self._seed = problem, seed
        self._opened: list[Problem] = []  # in the other precision, at most one
        dtype = problem.plan.dtype
        is_scaled = in_double or dtype == "float64"
        self.factor = torch.finfo(torch.float64).eps / _UNITS[dtype] if is_scaled else 1.0

    def over(self, problem: Problem, *, in_double: bool = False) -> Rounding:
        """Return the same for other batches of the data; what was opened in float64 is shared."""
        other = Rounding(problem, seed=self._seed, in_double=in_double)
        other._opened = self._opened
        return other

    def of(
        self,
        values: Values,
        size: Size = norm,
        own: Callable[[int], Tensor] | None = None,
        num_others: int = 1,
    ) -> np.ndarray:
        """Return the error of the means over all data.

        Unless that is cheap, all batches are evaluated in the problem's dtype first.

        Inside `landscape.runtime.distributed.joined` the first process measures for all.

        Args:
            values: Gives k vectors for each batch.
            size: A norm of the error of a vector.
            own: Gives what `values` does for a batch of the problem, in less time.
            num_others: Least number of pieces of random examples. One is enough for vectors, whose
                errors are of one size; those of numbers may be 0 by chance.

        Returns:
            Errors (k,); a single NaN where a value is not finite, or the model does not work in
            float64.
        """
        return self._found(partial(self._of, values, size, own, num_others))

    def _found(self, measure: Callable[[], np.ndarray]) -> np.ndarray:
        found = [math.nan]
        if distributed.rank() == 0:
            try:
                found = (self.factor * measure()).tolist()
            except LandscapeError:
                found = [math.nan]
        errors = np.array(distributed.from_first(found))
        return errors if np.isfinite(errors).all() else np.array([math.nan])

    def _of(
        self,
        values: Values,
        size: Size,
        own: Callable[[int], Tensor] | None,
        num_others: int,
    ) -> np.ndarray:
        if self.is_cheap:
            return self._exact(values, size)
        own = own or partial(values, self._problem)
        count, shares = len(self._shares), self._shares
        lengths = np.array([_sizes(own(number), size) for number in range(count)])  # (batches, k)
        largest, places = np.unique(lengths.argmax(axis=0), return_inverse=True)
        num_others = max(num_others, math.ceil(count / _SHARE) - len(largest))
        pieces = self.pieces(largest.tolist(), num_others)
        low, high = self.pair(pieces)
        there = [values(low, i).cpu().double() for i in range(len(pieces))]
        errors = np.array(
            [_sizes(values(high, i).cpu().double() - each, size) for i, each in enumerate(there)]
        )
        at = (places, np.arange(len(places)))
        tiny = np.finfo(float).tiny
        relative = errors[at] / np.maximum([_sizes(each, size) for each in there], tiny)[at]
        return relative * (shares @ lengths) + error_reach(errors[len(largest) :])

    def pieces(
        self, largest: Sequence[int], num_others: int, num_examples: int | None = None
    ) -> list[Batch]:
        """Return examples of some batches, and of others that are drawn at random.

        Batches that cannot be cut are returned whole.

        Args:
            largest: Numbers of batches, of which the examples with the largest losses are taken.
            num_others: Number of pieces of random examples.
            num_examples: Of a piece; None for an eighth of all examples together.
        """
        problem, generator = self._problem, np.random.default_rng(self._seed)
        worst, data = [problem.batches[i] for i in largest], problem.data
        passes = copy.copy(problem.passes)
        if isinstance(data, TensorData) and problem.batchnorm == "stored":
            passes.separate = find_separate(passes, worst[:1], SAME_MEAN)
        if passes.separate is None or not isinstance(data, TensorData):
            drawn = generator.permutation(len(self._shares)).tolist()
            others = [problem.batches[i] for i in drawn if i not in largest]
            return [*worst, *others[:num_others]]
        count = len(worst) + num_others
        size = num_examples or max(_LEAST, int(_MOST * problem.num_examples / count))
        parts = []
        for batch in worst:
            order = np.argsort(-passes.measure_point(None, [batch])["losses"])
            parts += TensorData(*batch).take(torch.from_numpy(order[:size].copy())).batches(size)
        rows = torch.from_numpy(generator.permutation(problem.num_examples))
        return [*parts, *data.take(rows[: num_others * size]).batches(size)]

    def _exact(self, values: Values, size: Size) -> np.ndarray:
        low, high = self.pair(self._problem.batches)
        total = torch.zeros(())
        for i, share in enumerate(self._shares.tolist()):
            total = total + share * (values(high, i).cpu().double() - values(low, i).cpu().double())
        return _sizes(total, size)

    def pair(self, batches: Sequence[Batch]) -> tuple[Problem, Problem]:
        """Return the problem on some batches, in float32 or its own dtype and in float64."""
        data = BatchData(tuple(batches), digest=_UNUSED)
        with self._problem.passes.under(replace(self._problem.plan, draws=1)):
            own = self._problem.on(data)
        is_double = own.plan.dtype == "float64"
        if not self._opened:  # opening a problem takes some passes over its first batch
            first = own.on(BatchData(data.items[:1], digest=_UNUSED))
            self._opened.append(first.in_dtype("float32" if is_double else "float64"))
        other = self._opened[0].on(data)
        return (other, own) if is_double else (own, other)

    @property
    def _shares(self) -> np.ndarray:
        over = self._problem.passes.over
        return over.sizes / over.total

    @cached_property
    def is_cheap(self) -> bool:
        """Whether a forward pass over all data is cheap in float64."""
        return _num_operations(self._problem) <= _CHEAP


def _sizes(vectors: Tensor, size: Size) -> np.ndarray:
    return np.array([size(row.cpu().double()) for row in vectors])


def _num_operations(problem: Problem) -> float:
    """Return about how many floating point operations a forward pass over all data takes.

    A weight and example count as one, and each number that is kept for the backward pass as some
    more: the layer that it is the input of is applied many times in a convolution.
    """
    passes, num_kept = problem.passes, 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal num_kept
        num_kept += tensor.numel()
        return tensor

    with passes.at(None), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        passes.forward(passes.batches[0])
    scale = passes.over.total / float(passes.sizes[0])
    return scale * _PER_NUMBER * num_kept + passes.num_examples * passes.spec.size


def error_reach(errors: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return what 95 % of such errors are below, by Student's t with the mean 0.

    Args:
        errors: Absolute, of pieces, (m,) or (m, k); a single one counts as it is.
    """
    count = len(errors)
    if not count:
        return np.zeros(())
    factor = 1.0 if count == 1 else half_width(1.0, num_values=count + 1)
    return factor * np.sqrt(np.mean(np.square(errors), axis=0))


def known_error(errors: np.ndarray) -> float | None:
    """Return the largest of the errors (k,); None if they could not be measured."""
    return None if np.isnan(errors).any() else float(errors.max())


def losses_at(perturbations: Sequence[Tensor | None]) -> Values:
    """Return the function that gives the loss at the weights plus each e (P,), as (k, 1)."""

    def values(problem: Problem, number: int) -> Tensor:
        weights, batches = problem.weights, [problem.batches[number]]
        points = [
            None if e is None else partial(torch.add, weights, e.to(weights)) for e in perturbations
        ]
        found = [problem.passes.measure_point(point, batches)["loss"] for point in points]
        return torch.from_numpy(np.stack(found))

    return values


def gradient_at(e: Tensor | None = None) -> Values:
    """Return the function that gives the gradient at the weights plus e (P,), as (1, P)."""

    def values(problem: Problem, number: int) -> Tensor:
        weights = problem.weights
        point = None if e is None else partial(torch.add, weights, e.to(weights))
        share = float(problem.passes.sizes[number]) / problem.passes.over.total
        return problem.derivatives.gradient_share([number], point)[1][None] / share

    return values
