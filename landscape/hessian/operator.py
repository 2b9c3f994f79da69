"""What the spectral algorithms ask of a matrix, and the curvature of a problem as one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from landscape.errors import NotFiniteError, explained_memory, require_one_of
from landscape.hessian.memory_plan import half_of_free_memory
from landscape.problem.batch_memory import cut_alike, until_it_fits
from landscape.problem.batches import batch_length
from landscape.problem.curvature_graphs import (
    CURVATURES,
    CurvatureGraph,
    Product,
    added_bytes,
    explained_derivatives,
    saved_tensors,
)
from landscape.problem.passes import Passes
from landscape.problem.plan import deterministic
from landscape.problem.problem import Problem
from landscape.problem.weights import WeightSpec, as_pairs
from landscape.reductions import MUCH_REMOVED, accumulation_dtype, all_finite, norm
from landscape.runtime import distributed

_NAMES = {"hessian": "Hessian", "ggn": "Gauss-Newton", "fisher": "Fisher"}


class SymmetricOperator(Protocol):
    """A symmetric P x P matrix known by its products.

    Attributes:
        size: P.
        dtype: Of the arithmetic inside a product; it decides how exact a product can be.
        device: Where the vectors live.
    """

    size: int
    dtype: torch.dtype
    device: torch.device

    def matvec(self, v: Tensor) -> Tensor:
        """Return the product with `v` (P,), in the accumulation dtype of the device."""
        ...


def finite_product(operator: SymmetricOperator, v: Tensor) -> Tensor:
    """Return the product with `v` (P,).

    Raises:
        NotFiniteError: If it is not finite.
    """
    product = operator.matvec(v)
    if not all_finite([product]):
        raise NotFiniteError(
            "a Hessian-vector product holds NaN or inf.",
            hint="Pass `dtype='float64'`, or check the loss at these weights with "
            "`landscape.sharpness(problem)`.",
        )
    return product


_BATCH_BYTES = 16 << 20
"""Of a batch's graph on the CPU. With a smaller one, calling the kernels takes longer than what
they do; one that is much larger no longer stays in the cache."""

_AS_PRECISE_AS = {"bfloat16": torch.bfloat16, "tf32": torch.float16}  # tf32 has float16's mantissa


class CurvatureOperator:
    """The curvature of a problem's mean loss at `w` (P,): its Hessian, or an approximation of it.

    Products are exact up to rounding, by double backward. The graph of a batch is kept from one
    product to the next as long as all kept ones fit into `graph_bytes`, which saves the forward and
    the first backward pass; those of the other batches are built anew in every product. Both give
    the same product, bit for bit. Graphs are built with the first product, or when `num_retained`
    is asked for, and again after the problem was evaluated at whatever weights. None is kept of a
    model that writes to its buffers while it is evaluated.

    On the CPU batches are larger than those of the losses where an example's graph is small, unless
    the problem says otherwise (`Derivatives.joined`).

    With `batch`, batch statistics are differentiated through; with `recalibrate` they are
    constants, estimated once if all graphs are kept and else in every product.

    Inside `landscape.runtime.distributed.joined` each process multiplies its own share of the
    batches, and all get the same sum, bit for bit; all must ask for the same products in the same
    order.

    Args:
        problem: The loss; one that cannot be differentiated twice is refused by the first product,
            as far as `landscape.problem.curvature_graphs.require_twice_differentiable` can tell.
        w: Weights (P,), the model's own if None; copied.
        kind: `hessian`; `ggn`, the generalized Gauss-Newton matrix J' H_L J, for any loss with a
            second derivative in the outputs; or `fisher`, the empirical Fisher matrix, the mean of
            g g' over examples. The true Fisher matrix of cross-entropy, with its expectation over
            the model's own predictions, is the GGN.
        tensors: Numbers or names of the parameter tensors whose diagonal block is meant; None for
            all. The others are constants then, and cost no derivatives.
        graph_bytes: What the kept graphs may take; None for half of what is free when they are
            built, 0 for none.

    Attributes:
        size: P, or the number of weights in the tensors.
        dtype: Of the arithmetic inside a product.
        device: Where the vectors live.
        spec: Names, shapes and places of the weights that a vector holds.
        kind: As given.
        tensors: Numbers of the parameter tensors, or None for all.

    Raises:
        InputError: If there is no such kind, or no such tensor.

    Source:
        Pearlmutter (1994), Fast Exact Multiplication by the Hessian. Schraudolph (2002), Fast
        Curvature Matrix-Vector Products for Second-Order Gradient Descent. Kunstner et al. (2019),
        Limitations of the Empirical Fisher Approximation.
    """

    def __init__(
        self,
        problem: Problem,
        w: Tensor | None = None,
        *,
        kind: str = "hessian",
        tensors: Sequence[int | str] | None = None,
        graph_bytes: int | None = None,
    ) -> None:
        require_one_of("curvature", kind, CURVATURES)
        self._problem = problem
        self._derivatives = problem.derivatives
        self._w = None if w is None else w.detach().clone()
        self.tensors = None if tensors is None else problem.spec.indices(tensors)
        self._given_bytes = graph_bytes
        self._numbers: list[int] = []
        self._graphs: dict[int, CurvatureGraph] = {}
        self._version: int | None = None
        self._bytes = self._budget = 0
        self._reason = ""
        self.kind = kind
        self.spec = problem.spec.only(problem.spec.indices(tensors))
        self.size: int = self.spec.size
        self.dtype: torch.dtype = _AS_PRECISE_AS.get(problem.plan.dtype, problem.dtype)
        self.device: torch.device = problem.device

    @property
    def _passes(self) -> Passes:
        return self._derivatives.passes

    @property
    def problem(self) -> Problem:
        """The problem at its own weights, with the batches of the products."""
        self._prepare()
        return self._problem.through(self._passes)

    @property
    def num_batches(self) -> int:
        """Batches of this process's share; builds their graphs."""
        self._prepare()
        return len(self._numbers)

    @property
    def num_retained(self) -> int:
        """Number of batches whose graphs are kept; builds them."""
        self._prepare()
        return len(self._graphs)

    @property
    def retained_bytes(self) -> int:
        """What the kept graphs take beside weights and data; builds them."""
        self._prepare()
        return self._bytes

    def describe(self) -> str:
        """Return in one line what is kept from product to product; builds it."""
        kept = f"graphs of {self.num_retained} of {self.num_batches} batches kept"
        sizes = f"{_size(self._bytes)} of {_size(self._budget)}"
        return f"{kept}: {self._reason}" if self._reason else f"{kept} ({sizes})"

    def matvec(self, v: Tensor) -> Tensor:
        """Return the product with `v` (P,), in the accumulation dtype.

        Raises:
            InputError: If the loss cannot be differentiated twice.
            NotFiniteError: If the product holds NaN or inf; it names the batch.
            LandscapeError: If the device is out of memory.
        """
        self.spec.require_vector(v, "v")
        return until_it_fits(lambda: self._multiplied(v), self._shrink)

    def _shrink(self) -> bool:
        """Keep no graphs any more, or if none were kept, halve the batches; return whether."""
        if self._graphs:
            self._graphs.clear()
            self._given_bytes = 0
        else:
            has_joined = self._derivatives is not self._problem.derivatives
            if has_joined or not self._problem.halve_batches():
                return False
        self._version = None
        return True

    @explained_memory("a matrix-vector product", "Pass a smaller `batch_size`, or `memory`.")
    def _multiplied(self, v: Tensor) -> Tensor:
        parts = self.spec.tensors(v.to(self.device, self._passes.dtype))
        self._prepare()
        total = torch.zeros(self.size, device=self.device, dtype=accumulation_dtype(self.device))
        with self._multiplying():
            for number in self._numbers:
                self._derivatives.accumulate(total, self.spec, self._product(number, parts), number)
        distributed.add_up(total)
        if not all_finite([total]):
            raise NotFiniteError(
                f"a {_NAMES[self.kind]}-vector product holds NaN or inf{self._first_bad(parts)}.",
                hint="Pass `dtype='float64'`, or check the loss at these weights with "
                "`landscape.sharpness(problem)`.",
            )
        return total

    def batch_product(self, v: Tensor, number: int) -> Tensor:
        """Return the product of the curvature of a batch's mean loss with `v` (P,), as (1, P)."""
        self._prepare()
        with self._derivatives.differentiating():
            graph = self._graphs.get(number) or self._derivatives.graph(
                number, self.kind, tensors=self.tensors
            )
            return multiplied(graph, v[None], self.spec, self._passes)

    def _prepare(self) -> None:
        """Write the weights and build the graphs, unless that was done and nobody wrote since."""
        if self._version == self._passes.version:
            return
        self._graphs.clear()
        if self._version is None:
            self._cut()
        self._passes.write(self._w)
        self._version = self._passes.version
        self._bytes, self._reason = 0, ""
        given = self._given_bytes
        self._budget = half_of_free_memory(self.device) if given is None else given
        if self._budget > 0:
            self._retain()

    def _cut(self) -> None:
        """Choose the batches, and this process's share of them."""
        if self.device.type == "cpu" and self._derivatives.may_join:
            with self._derivatives.differentiating():
                graph = self._derivatives.graph(0, self.kind, tensors=self.tensors)
                num_bytes = added_bytes(saved_tensors(graph.roots), self._resident())
            count = len(self._passes.batches)
            left = max(math.ceil(count * num_bytes / _BATCH_BYTES), distributed.world_size())
            self._derivatives = self._derivatives.joined(math.ceil(count / left))
        cut_alike(self._passes)
        self._numbers = distributed.own_share(torch.arange(len(self._passes.batches))).tolist()

    def _resident(self) -> set[int]:
        """Return the addresses of what is there without a graph."""
        known: set[int] = set()
        added_bytes(self._passes.resident, known)
        return known

    def _retain(self) -> None:
        """Build as many graphs as fit."""
        with self._derivatives.differentiating():
            model = self._passes.own_buffers()
            known = self._resident()
            for number in self._numbers:
                graph = self._derivatives.graph(
                    number, self.kind, tensors=self.tensors, model=model
                )
                num_bytes = added_bytes(saved_tensors(graph.roots), known)
                if self._bytes + num_bytes > self._budget:
                    break
                self._graphs[number] = graph
                self._bytes += num_bytes
            if not model.is_unchanged:
                self._graphs.clear()
                self._bytes = 0
                self._reason = "the model writes to its buffers"

    @contextmanager
    def _multiplying(self) -> Iterator[None]:
        if len(self._graphs) < len(self._numbers):
            with self._derivatives.differentiating():
                yield
        else:
            chosen = deterministic(self.device, self._passes.plan.dtype)
            with chosen as messages, explained_derivatives():
                yield
            self._passes.plan = self._passes.plan.warned(messages)

    def _product(self, number: int, parts: list[Tensor]) -> Product:
        """Return the product of a batch's curvature."""
        kept = self._graphs.get(number)
        if kept is not None:
            return kept.product(parts, is_last=False)
        graph = self._derivatives.graph(number, self.kind, tensors=self.tensors)
        return graph.product(parts, is_last=True)

    def _first_bad(self, parts: list[Tensor]) -> str:
        """Say where the first batch with a non-finite product is; empty if there is none."""
        sizes = np.array(list(map(batch_length, self._passes.batches)))
        with self._multiplying():
            products = ((number, self._product(number, parts)) for number in self._numbers)
            bad = next(
                (n for n, found in products if not all_finite([t for t in found if t is not None])),
                len(sizes),
            )
        bad = min(distributed.gathered(bad))
        if bad == len(sizes):
            return ""
        before = sizes[:bad].sum() % self._passes.num_examples  # of the same draw
        first, last = before, before + sizes[bad] - 1
        return f" in batch {bad + 1} of {len(sizes)}, examples {first} to {last}"


def _size(num_bytes: int) -> str:
    is_large = num_bytes >= 1 << 30
    return f"{num_bytes / (1 << 30):.1f} GiB" if is_large else f"{num_bytes / (1 << 20):.1f} MiB"


def multiplied(graph: CurvatureGraph, vectors: Tensor, spec: WeightSpec, passes: Passes) -> Tensor:
    """Return the products of a batch's graph with `vectors` (k, P), in the passes' dtype."""
    products = torch.zeros_like(vectors, dtype=passes.dtype, device=passes.device)
    for v, product in zip(vectors, products, strict=True):
        found = graph.product(spec.tensors(v.to(product)), is_last=False)
        for place, part in zip(spec.views(product), found, strict=True):
            if part is not None:
                place.add_(as_pairs(part.detach()))
    return products


class MatrixOperator:
    """A dense symmetric matrix (P, P)."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix
        self.size: int = len(matrix)
        self.dtype: torch.dtype = matrix.dtype
        self.device: torch.device = matrix.device

    def matvec(self, v: Tensor) -> Tensor:
        """Return the product with `v` (P,)."""
        return (self._matrix @ v.to(self.dtype)).to(accumulation_dtype(self.device))


class Deflated:
    """(I - V V') A (I - V V') + value V V'.

    Args:
        operator: A, symmetric, size P.
        vectors: Orthonormal V, (k, P), in the accumulation dtype.
        value: An eigenvalue that does no harm, which they get.
    """

    def __init__(self, operator: SymmetricOperator, vectors: Tensor, value: float) -> None:
        self._operator = operator
        self._vectors = vectors
        self._value = value
        self.size: int = operator.size
        self.dtype: torch.dtype = operator.dtype
        self.device: torch.device = operator.device

    def project(self, v: Tensor) -> Tensor:
        """Return the part of `v` (P,) that is orthogonal to V."""
        left = torch.addmv(v, self._vectors.mT, self._vectors @ v, alpha=-1)
        if norm(left) < MUCH_REMOVED * norm(v):
            left.addmv_(self._vectors.mT, self._vectors @ left, alpha=-1)
        return left

    def matvec(self, v: Tensor) -> Tensor:
        """Return the product with `v` (P,)."""
        part = self.project(v)
        product = self.project(self._operator.matvec(part))
        return product.add_(v - part, alpha=self._value)
