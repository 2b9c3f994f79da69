"""How far the arithmetic of a problem's dtype is off, measured against float64.

The residual of an eigenpair, or the last digit of a loss, knows nothing of the rounding inside the
forward and backward passes. It grows with depth, and where it changes the sign of an activation, a
derivative jumps. So it is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError
from landscape.problem.batches import Batch, BatchData
from landscape.problem.problem import Problem
from landscape.problem.weights import as_pairs
from landscape.reductions import norm
from landscape.runtime import distributed

Values: TypeAlias = Callable[[Problem, int], Tensor]
"""A function of a problem and the number of a batch: k vectors (k, n) of means over that batch,
such as its gradient as (1, P)."""

_CHEAP = 5e7
"""Floating point operations of a forward pass over all data up to which all are evaluated again in
float64: the products of some vectors then take less than a second."""

_PER_NUMBER = 100  # floating point operations for each number that a forward pass keeps
_SHARE = 64  # of the others, one batch out of so many is evaluated again, but at least two
Size: TypeAlias = Callable[[Tensor], float]
"""A norm of a vector (n,) in float64."""

_DEVIATIONS = 2  # standard deviations of a batch that are added to the mean of the batches
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
    is exact. Else it is an estimate from a share of the batches, drawn at random after those that
    contribute most: the error of a mean is at most the mean of the errors, whatever their signs.

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
        dtype = problem.plan.dtype
        is_scaled = in_double or dtype == "float64"
        self.factor = torch.finfo(torch.float64).eps / _UNITS[dtype] if is_scaled else 1.0

    def of_sums(self, values: Values, size: Size = norm) -> np.ndarray:
        """Return the error of the means over all data of what differs much between batches.

        All batches are evaluated in the problem's dtype first. Those where the values are largest
        are among the ones that are evaluated again; for each of the others, the error is taken as
        the largest relative error of those.

        Args:
            values: Gives k vectors for each batch.
            size: A norm of the error of a vector.

        Returns:
            Errors (k,), see `of`.
        """
        return self._found(partial(self._of_sums, values, size))

    def of(self, values: Values, size: Size = norm) -> np.ndarray:
        """Return the error of the means over all data of what is alike in all batches.

        The batch with the largest loss is among those that are evaluated again. Two standard
        deviations of a batch are added to the mean of the errors.

        Inside `landscape.runtime.distributed.joined` the first process measures for all.

        Args:
            values: Gives k vectors for each batch.
            size: A norm of the error of a vector.

        Returns:
            Errors (k,); a single NaN where a value is not finite, or the model does not work in
            float64.
        """
        return self._found(partial(self._of_like, values, size))

    def _found(self, measure: Callable[[], np.ndarray]) -> np.ndarray:
        found = [math.nan]
        if distributed.rank() == 0:
            try:
                found = (self.factor * measure()).tolist()
            except LandscapeError:
                found = [math.nan]
        errors = np.array(distributed.from_first(found))
        return errors if np.isfinite(errors).all() else np.array([math.nan])

    def _of_sums(self, values: Values, size: Size) -> np.ndarray:
        if self.is_exact:
            return self._exact(values, size)
        problem, shares = self._problem, self._shares
        lengths = np.array(
            [[size(row.cpu().double()) for row in values(problem, i)] for i in range(len(shares))]
        )  # (batches, k)
        numbers = self._drawn(lengths.argmax(axis=0).tolist())
        errors = self._errors(numbers, values, size)
        relative = errors / np.maximum(lengths[numbers], np.finfo(float).tiny)
        unseen = np.delete(shares, numbers) @ np.delete(lengths, numbers, axis=0)
        return shares[numbers] @ errors + relative.max(axis=0) * unseen

    def _of_like(self, values: Values, size: Size) -> np.ndarray:
        if self.is_exact:
            return self._exact(values, size)
        passes = self._problem.passes
        losses = passes.measure_point(None, passes.own_batches)["loss"]
        errors = self._errors(self._drawn([int(np.argmax(losses))]), values, size)
        return errors.mean(axis=0) + _DEVIATIONS * errors.std(axis=0, ddof=1)

    def _exact(self, values: Values, size: Size) -> np.ndarray:
        pair = self.pair(self._problem.batches)
        total = torch.zeros(())
        for i, share in enumerate(self._shares.tolist()):
            total = total + share * _difference(*pair, i, values)
        return np.array(list(map(size, total)))

    def _errors(self, numbers: Sequence[int], values: Values, size: Size) -> np.ndarray:
        """Return the errors on some batches, (number of batches, k)."""
        pair = self.pair([self._problem.batches[i] for i in numbers])
        rows = (_difference(*pair, i, values) for i in range(len(numbers)))
        return np.array([list(map(size, each)) for each in rows])

    def pair(self, batches: Sequence[Batch]) -> tuple[Problem, Problem]:
        """Return the problem on some batches, in float32 or its own dtype and in float64."""
        problem = self._problem
        with problem.passes.under(replace(problem.plan, draws=1)):
            own = problem.on(BatchData(tuple(batches), digest=_UNUSED))
        if problem.plan.dtype == "float64":
            return own.in_dtype("float32"), own
        return own, own.in_dtype("float64")

    def _drawn(self, first: Sequence[int]) -> list[int]:
        """Return the numbers of the batches that are evaluated again, beginning with some."""
        count = len(self._shares)
        others = np.random.default_rng(self._seed).permutation(count).tolist()
        chosen = list(dict.fromkeys([*first, *others]))
        return chosen[: max(2, len(set(first)), math.ceil(count / _SHARE))]

    @property
    def _shares(self) -> np.ndarray:
        over = self._problem.passes.over
        return over.sizes / over.total

    @cached_property
    def is_exact(self) -> bool:
        """Whether all data are evaluated again: they are few batches, or cheap."""
        return len(self._shares) <= 2 or self.is_cheap

    @cached_property
    def is_cheap(self) -> bool:
        """Whether a forward pass over all data is cheap in float64."""
        return _num_operations(self._problem) <= _CHEAP


def _difference(low: Problem, high: Problem, number: int, values: Values) -> Tensor:
    return values(high, number).cpu().double() - values(low, number).cpu().double()


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


def products_with(
    vectors: Tensor, kind: str = "hessian", tensors: tuple[int, ...] | None = None
) -> Values:
    """Return the function that gives the products of the curvature with `vectors` (k, P).

    With numbers of parameter tensors it is the diagonal block of these, and P its size.
    """

    def values(problem: Problem, number: int) -> Tensor:
        spec = problem.spec if tensors is None else problem.spec.only(tensors)
        products = torch.zeros(len(vectors), spec.size, dtype=problem.dtype, device=problem.device)
        problem.passes.write(None)
        with problem.derivatives.differentiating():
            graph = problem.derivatives.graph(number, kind, tensors=tensors)
            for v, product in zip(vectors, products, strict=True):
                along = spec.tensors(v.to(problem.device, problem.dtype))
                parts = graph.product(along, is_last=False)
                for place, part in zip(spec.views(product), parts, strict=True):
                    if part is not None:
                        place.copy_(as_pairs(part.detach()))
        return products

    return values
