"""Sharpness: how much the loss rises within a given distance of the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.ascent import advance, ascend
from landscape.errors import InputError, LandscapeError
from landscape.problem import Problem
from landscape.progress import SILENT, Progress
from landscape.provenance import make_provenance
from landscape.reductions import norm
from landscape.results import Measure, Sharpness

MEASURES = ("asc", "avg", "nstep", "first_order")


def measure_sharpness(
    problem: Problem,
    rhos: Sequence[float],
    *,
    measures: Sequence[str] = MEASURES,
    steps: int = 5,
    num_directions: int = 5,
    seed: int = 0,
    split: str = "train",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> Sharpness:
    """Measure sharpness in Euclidean balls around the problem's own weights.

    - `asc`: L(w + rho g/||g||), one ascent step (S001 Table 1, L^Asc; the standardized sharpness of
      its section 4.1 is the difference to L(w)).
    - `avg`: mean of L(w + rho u) over u uniform on the sphere (S001 Table 1, L^Avg), by antithetic
      pairs +-u; the standard error is over the pairs.
    - `nstep`: L(w + e_N) after N steps of length rho/N along the normalised gradient (S001 Eqs. 5
      and 6). The path has length rho, so ||e_N|| <= rho: `radius_share` says what it was.
    - `first_order`: L(w) + rho ||g|| (S003 Proposition 1).

    Args:
        problem: The loss; its data decide the number (full set or batches of it).
        rhos: Radii, each positive, in the Euclidean norm of the weights.
        measures: Names out of `MEASURES`.
        steps: N of `nstep`.
        num_directions: Antithetic pairs of `avg`, at least 2; the same directions at every radius.
        seed: Of the directions.
        split: Name of the data split, to be recorded.
        settings: What the user asked for, to be recorded.
        progress: Counts evaluations of loss or gradient.

    Returns:
        One measure for each radius and name, radius by radius.

    Raises:
        InputError: If a radius, a name or a count is out of range.
        LandscapeError: If the gradient at the weights is not finite.
    """
    _require_arguments(rhos, measures, steps, num_directions)
    work = _Measurement(problem, steps, num_directions, seed, progress)
    progress.start("sharpness", 2 + len(rhos) * sum(work.costs[name] for name in measures))
    try:
        work.start()
        found = tuple(work.measure(name, rho) for rho in rhos for name in measures)
    finally:
        progress.stop()
    return Sharpness(
        loss=work.here.loss,
        accuracy=work.here.accuracy,
        gradient_norm=norm(work.gradient),
        measures=found,
        split=split,
        provenance=make_provenance({split: problem}, dict(settings or {})),
    )


def _require_arguments(rhos: Sequence[float], measures: Sequence[str], steps: int, num_directions: int) -> None:
    for rho in rhos:
        if not (np.isfinite(rho) and rho > 0):
            raise InputError(
                f"rho must be a positive number to measure sharpness, got {rho:g}.", hint="Pass --rho 0.05."
            )
    for name in measures:
        if name not in MEASURES:
            raise InputError(f"measures are {', '.join(MEASURES)}, got {name!r}.")
    if not rhos or not measures:
        raise InputError("sharpness needs at least one radius and one measure.")
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}.")
    if num_directions < 2:
        raise InputError(f"num-directions must be at least 2 for a standard error, got {num_directions}.")


class _Measurement:
    """One checkpoint being measured: the loss and gradient at its weights, and a count of the work."""

    def __init__(self, problem: Problem, steps: int, num_directions: int, seed: int, progress: Progress) -> None:
        self._problem = problem
        self._steps = steps
        self._num_directions = num_directions
        self._seed = seed
        self._progress = progress
        self._num_done = 0
        self.costs = {"asc": 1, "avg": 2 * num_directions, "nstep": steps, "first_order": 0}
        self._methods = {
            "asc": self._ascent,
            "avg": self._average,
            "nstep": self._path,
            "first_order": self._first_order,
        }

    def start(self) -> None:
        """Evaluate loss, accuracy and gradient at the weights."""
        self.here = self._problem.evaluate()
        self._count()
        self.gradient = self._gradient(self._problem.weights)

    def measure(self, name: str, rho: float) -> Measure:
        """Return one measure."""
        return self._methods[name](rho)

    def _ascent(self, rho: float) -> Measure:
        e = self._step(self.gradient, rho)
        return self._result("asc", rho, self._loss(self._problem.weights + e), steps=1, radius=norm(e))

    def _average(self, rho: float) -> Measure:
        w, generator = self._problem.weights, torch.Generator().manual_seed(self._seed)
        means = []
        for _ in range(self._num_directions):
            noise = torch.randn(self._problem.spec.size, generator=generator, dtype=torch.float64)
            e = (noise * (rho / norm(noise))).to(w)
            means.append((self._loss(w + e) + self._loss(w - e)) / 2)
        error = float(np.std(means, ddof=1) / np.sqrt(len(means)))
        mean = float(np.mean(means))
        return self._result("avg", rho, mean, standard_error=error, steps=self._num_directions, radius=rho)

    def _path(self, rho: float) -> Measure:
        origin, vector = self._problem.weights, self.gradient
        e: list[Tensor] | None = None
        for step in range(self._steps):
            if e is not None:
                vector = self._gradient(origin + e[0])
            e = [part.to(origin) for part in advance(e, [vector], rho, steps=self._steps, step=step)]
        assert e is not None
        return self._result("nstep", rho, self._loss(origin + e[0]), steps=self._steps, radius=norm(e[0]))

    def _first_order(self, rho: float) -> Measure:
        rise = rho * norm(self.gradient)
        return Measure(
            "first_order", rho, self.here.loss + rise, rise, None, p=2.0, adaptive=False, steps=1, radius_share=None
        )

    def _result(
        self, name: str, rho: float, loss: float, *, steps: int, radius: float, standard_error: float | None = None
    ) -> Measure:
        return Measure(
            name,
            rho,
            loss,
            loss - self.here.loss,
            standard_error,
            p=2.0,
            adaptive=False,
            steps=steps,
            radius_share=radius / rho,
        )

    def _step(self, vector: Tensor, rho: float) -> Tensor:
        """Return rho g/||g|| in the dtype of the weights."""
        return ascend([vector], rho)[0].to(self._problem.weights)

    def _gradient(self, w: Tensor) -> Tensor:
        gradient = self._problem.gradient(w).vector
        if not torch.isfinite(gradient).all():
            raise LandscapeError(
                "the gradient holds NaN or inf, so there is no direction of ascent.",
                hint="Check the loss at these weights; pass a smaller --rho or --dtype float64.",
            )
        self._count()
        return gradient

    def _loss(self, w: Tensor) -> float:
        loss = self._problem.loss(w)
        self._count()
        return loss

    def _count(self) -> None:
        self._num_done += 1
        self._progress.update(self._num_done)
