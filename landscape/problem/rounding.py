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
from landscape.problem.batches import Batch, BatchData, TensorData, batch_length
from landscape.problem.problem import Problem
from landscape.problem.sampling_error import SAME_MEAN
from landscape.problem.weights import Point
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
_LOOKED_AT = 4  # batches, of which the one with the largest loss counts

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
    can be cut: the relative error on those with the largest losses counts for the mean of the
    lengths, and the error on some that are drawn at random is added. The error of a mean is at most
    the mean of the errors, whatever their signs, and the length of a mean over few examples is on
    average at least that over many.

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
        num_others: int | None = None,
    ) -> np.ndarray:
        """Return the error of the means over all data.

        Inside `landscape.runtime.distributed.joined` the first process measures for all.

        Args:
            values: Gives k vectors for each batch.
            size: A norm of the error of a vector.
            own: Gives a vector (1, n) for each batch of the problem, by whose length batches are
                compared; None for the sum of those of `values`.
            num_others: Least number of pieces of random examples, with which a few batches are
                compared by their losses alone; None for one piece. One is enough for products,
                whose errors are of one size; those of numbers may be 0 by chance.

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
        num_others: int | None,
    ) -> np.ndarray:
        if self.is_cheap:
            return self._exact(values, size)
        count, own = len(self._shares), own or (lambda i: values(self._problem, i).sum(0)[None])
        of_batches, worst = np.zeros(count), None
        if num_others is None:
            of_batches = np.array([size(own(i)[0].cpu().double()) for i in range(count)])
            worst = int(of_batches.argmax())
        pieces = self.pieces(max(num_others or 1, math.ceil(count / _SHARE) - 1), worst=worst)
        low, high = self.pair(pieces)
        there = [values(low, i).cpu().double() for i in range(len(pieces))]
        errors = np.array(
            [_sizes(values(high, i).cpu().double() - each, size) for i, each in enumerate(there)]
        )
        lengths = np.array([_sizes(each, size) for each in there])  # (pieces, k)
        share = batch_length(pieces[0]) / self._problem.num_examples
        others = lengths[1:].mean(0) if len(pieces) > 1 else lengths[0]
        whole = share * lengths[0] + (1 - share) * others
        if num_others is None:
            whole = self._shares @ of_batches
        relative = errors[0] / np.maximum(lengths[0], np.finfo(float).tiny)
        return relative * whole + error_reach(errors[1:])

    def pieces(
        self, num_others: int, num_examples: int | None = None, worst: int | None = None
    ) -> list[Batch]:
        """Return the examples with the largest losses of a batch, and some drawn at random.

        Batches that cannot be cut are returned whole.

        Args:
            num_others: Number of pieces of random examples.
            num_examples: Of a piece; None for an eighth of all examples together.
            worst: Number of the batch; None for the one with the largest loss among a few.
        """
        problem, generator = self._problem, np.random.default_rng(self._seed)
        passes, data = copy.copy(problem.passes), problem.data
        drawn: list[int] = generator.permutation(len(self._shares)).tolist()
        if worst is None:
            looked = passes.measure_point(None, [problem.batches[i] for i in drawn[:_LOOKED_AT]])
            worst = drawn[int(np.argmax(looked["loss"]))]
        drawn.remove(worst)
        batch = problem.batches[worst]
        if isinstance(data, TensorData) and problem.batchnorm == "stored":
            passes.separate = find_separate(passes, [batch], SAME_MEAN)
        if passes.separate is None or not isinstance(data, TensorData):
            return [batch, *(problem.batches[i] for i in drawn[:num_others])]
        size = num_examples or max(_LEAST, int(_MOST * problem.num_examples / (1 + num_others)))
        order = np.argsort(-passes.measure_point(None, [batch])["losses"])
        rows = torch.from_numpy(generator.permutation(problem.num_examples))
        return [
            *TensorData(*batch).take(torch.from_numpy(order[:size].copy())).batches(size),
            *data.take(rows[: num_others * size]).batches(size),
        ]

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


def losses_of(points: Callable[[Problem], Sequence[Point | None]]) -> Values:
    """Return the function that gives the losses at the points of a problem, as (k, 1)."""

    def values(problem: Problem, number: int) -> Tensor:
        batches = [problem.batches[number]]
        found = [problem.passes.measure_point(each, batches)["loss"] for each in points(problem)]
        return torch.from_numpy(np.stack(found))

    return values


def losses_at(perturbations: Sequence[Tensor | None]) -> Values:
    """Return the function that gives the loss at the weights plus each e (P,), as (k, 1)."""

    def points(problem: Problem) -> list[Point | None]:
        w = problem.weights
        return [None if e is None else partial(torch.add, w, e.to(w)) for e in perturbations]

    return losses_of(points)


def gradient_at(e: Tensor | None = None) -> Values:
    """Return the function that gives the gradient at the weights plus e (P,), as (1, P)."""

    def values(problem: Problem, number: int) -> Tensor:
        weights = problem.weights
        point = None if e is None else partial(torch.add, weights, e.to(weights))
        share = float(problem.passes.sizes[number]) / problem.passes.over.total
        return problem.derivatives.gradient_share([number], point)[1][None] / share

    return values
