"""The Krylov space of a symmetric operator, which grows by one product and can be truncated.

Truncation keeps the best part of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.errors import require
from landscape.hessian.krylov.basis import Basis
from landscape.hessian.krylov.krylov_sink import NOT_SAVED, KrylovHead, KrylovSink
from landscape.hessian.memory_plan import MemoryPlan
from landscape.hessian.operator import SymmetricOperator, finite_product
from landscape.reductions import accumulation_dtype, dot, norm
from landscape.runtime.random_state import derived_seeds

_BREAKDOWN = 1e-10  # beta below this share of the spectrum's scale: the space is invariant


@dataclass(frozen=True)
class RitzDecomposition:
    """Eigenpairs of the projected matrix.

    Attributes:
        values: Ascending, (m,).
        residuals: By the recurrence, which knows nothing of the rounding in a product, (m,).
        weights: Column i makes vector i of the basis, (m, m).
    """

    values: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray


class KrylovSpace:
    """An orthonormal basis Q and matrix T with A Q = Q T + q e^T, where q is the next vector.

    Lanczos with full reorthogonalisation, after what the recurrence knows is taken off. When the
    space is invariant it goes on from a random vector. T is tridiagonal up to a thick restart,
    which puts the Ritz values that it keeps on its diagonal and couples them to the vector behind
    them.

    Attributes:
        plan: Where the basis is kept.
        dimension: P.
        size: Number of vectors m.
        num_matvecs: Products made, those before a restart included.
        deviation: Largest |u'Av - v'Au| of two vectors of the basis that was seen; full
            reorthogonalisation shows it.

    Args:
        operator: Symmetric, size P.
        plan: Where the basis is kept.
        seed: Of random vectors.
        stream: Tells spaces of one seed from each other.
        start: What to begin with (P,), of any length; a random vector if None.
        sink: What it is saved in, and resumed from.

    Raises:
        InputError: If `start` is no direction.
        StoreError: If the sink holds a space of something else.

    Source:
        Parlett (1998), The Symmetric Eigenvalue Problem, chapter 13; Wu and Simon (2000), SIAM J.
        Matrix Anal. Appl. 22(2), equation 2.
    """

    def __init__(
        self,
        operator: SymmetricOperator,
        plan: MemoryPlan,
        *,
        seed: int,
        stream: int = 0,
        start: Tensor | None = None,
        sink: KrylovSink = NOT_SAVED,
    ) -> None:
        self.plan = plan
        self.dimension = operator.size
        self._operator = operator
        self._seed = (seed, stream)
        self._sink = sink
        stored = sink.load(self._facts(seed, start))
        num_stored = 0 if stored is None else len(stored.head.values) + len(stored.steps)
        capacity = min(max(plan.vectors, num_stored), operator.size)
        self._basis = Basis(
            operator.size,
            device=operator.device,
            dtype=plan.dtype,
            is_on_host=plan.is_on_host,
            capacity=capacity + 1,
        )
        self._projected = np.zeros((capacity + 1, capacity + 1))
        self._set_head(KrylovHead() if stored is None else stored.head)
        if stored is None:
            self._next = self._basis.append(
                self._random_unit() if start is None else _unit(start, operator)
            )
            self._save_all()
            return
        for row in stored.rows:
            self._next = self._basis.append(torch.from_numpy(row).to(operator.device))
        for step in stored.steps.tolist():
            self._follow(*step)

    @property
    def projected(self) -> np.ndarray:
        """Q' A Q, (m, m)."""
        return self._projected[: self.size, : self.size].copy()

    @property
    def is_invariant(self) -> bool:
        """Whether a product with any vector of the space stays in it."""
        return self.size > 0 and not self._projected[self.size, : self.size].any()

    @property
    def is_full(self) -> bool:
        """Whether it has as many vectors as the plan lets it have."""
        return self.size >= self.plan.vectors

    def remove(self, v: Tensor) -> Tensor:
        """Return the part of `v` (P,) that is orthogonal to the space."""
        return self._basis.remove(v, self.size)

    def extend(self) -> None:
        """Add one vector to the basis, with one product."""
        product = finite_product(self._operator, self._next)
        alpha = dot(self._next, product)
        v = torch.sub(product, self._next, alpha=alpha)
        self._remove_known(v)
        v, rest = self._basis.split(v)
        unknown = rest.cpu().numpy().astype(float)
        deviation = float(np.abs(unknown[:-1]).max(initial=0.0))
        alpha += float(unknown[-1])
        self._follow(alpha, norm(v), deviation)
        beta = float(self._projected[self.size, self.size - 1])
        row = None
        if self.size < self._operator.size:
            self._next = self._basis.append(v.div_(beta) if beta else self._random_unit())
            if self._sink is not NOT_SAVED:
                row = self._basis.kept_row(self.size).numpy()
        self._sink.append((alpha, beta, deviation), row)

    def _remove_known(self, v: Tensor) -> None:
        """Take off, in place, the parts of a product along the basis that symmetry tells.

        One, except after a restart. What is left of other parts is small, so that one projection
        removes it to rounding.
        """
        known = self._projected[self.size, : self.size]
        for index in np.flatnonzero(known).tolist():
            self._basis.subtract_row(v, index, known[index])

    def ritz(self) -> RitzDecomposition:
        """Return the Ritz pairs of the space."""
        values, weights = np.linalg.eigh(self.projected)
        return RitzDecomposition(
            values, np.abs(self._projected[self.size, : self.size] @ weights), weights
        )

    def vector(self, weights: np.ndarray) -> Tensor:
        """Return the unit vector (P,) that these weights (m,) of the basis make."""
        vector = self._basis.combine(self._on_device(weights))
        return vector / norm(vector)

    def restart(self, ritz: RitzDecomposition, indices: np.ndarray) -> None:
        """Keep these Ritz pairs of the space, and the vector behind it."""
        weights = ritz.weights[:, indices]
        couplings = self._projected[self.size, : self.size] @ weights
        self._basis.rotate(self._on_device(weights))
        self._set_head(
            KrylovHead(ritz.values[indices], couplings, self.num_matvecs, self.deviation)
        )
        self._save_all()

    def _set_head(self, head: KrylovHead) -> None:
        self._head = head
        self.size = len(head.values)
        self.num_matvecs = head.num_matvecs
        self.deviation = head.deviation
        self._projected[:] = 0
        np.fill_diagonal(self._projected[: self.size, : self.size], head.values)
        self._projected[self.size, : self.size] = self._projected[: self.size, self.size] = (
            head.couplings
        )

    def _follow(self, alpha: float, beta: float, deviation: float) -> None:
        """Enter what a product has shown; beta counts as 0 where it is rounding."""
        self._projected[self.size, self.size] = alpha
        self.size += 1
        self.num_matvecs += 1
        self.deviation = max(self.deviation, deviation)
        scale = max(float(np.abs(self._projected[: self.size, : self.size]).max()), beta)
        if beta > _BREAKDOWN * scale:
            self._projected[self.size, self.size - 1] = self._projected[
                self.size - 1, self.size
            ] = beta

    def _save_all(self) -> None:
        if self._sink is not NOT_SAVED:
            rows = (self._basis.kept_row(index).numpy() for index in range(len(self._basis)))
            self._sink.begin(self._head, rows, capacity=self.plan.vectors - self.size)

    def _facts(self, seed: int, start: Tensor | None) -> dict[str, str]:
        """What another run must share to go on with this space."""
        numbers = None if start is None else start.detach().cpu().double().numpy()
        return {
            "parameters": str(self._operator.size),
            "seed": str(seed),
            "start": "random"
            if numbers is None
            else hashlib.sha256(numbers.tobytes()).hexdigest()[:16],
            "dtype of the products": str(self._operator.dtype).removeprefix("torch."),
            "dtype of the basis": str(self.plan.dtype).removeprefix("torch."),
        }

    def _random_unit(self) -> Tensor:
        """Return a random vector (P,) orthogonal to the basis.

        The vector is the same wherever the run was resumed.
        """
        numbers = (*self._seed, self.num_matvecs) if self.num_matvecs else self._seed[:1]
        return _unit(self._basis.remove(random_vector(self._operator, *numbers)), self._operator)

    def _on_device(self, weights: np.ndarray) -> Tensor:
        accumulate = accumulation_dtype(self._operator.device)
        return (
            torch.from_numpy(np.ascontiguousarray(weights)).to(accumulate).to(self._operator.device)
        )


def random_vector(operator: SymmetricOperator, *numbers: int) -> Tensor:
    """Return a Gaussian vector (P,) on the operator's device; the numbers tell it from others."""
    seed = numbers[0] if len(numbers) == 1 else derived_seeds(1, *numbers)[0]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(operator.size, generator=generator, dtype=torch.float64)
    return noise.to(accumulation_dtype(operator.device)).to(operator.device)


def _unit(v: Tensor, operator: SymmetricOperator) -> Tensor:
    require(
        v.shape == (operator.size,),
        f"a start vector must have {operator.size} entries, got {tuple(v.shape)}.",
    )
    v = v.to(operator.device).to(accumulation_dtype(operator.device))
    length = norm(v)
    require(0 < length < np.inf, f"a start vector must have a positive length, got {length:g}.")
    return v / length
