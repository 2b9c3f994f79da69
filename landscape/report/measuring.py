"""Measure a checkpoint for a report, one result at a time, and reuse what its files hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from landscape.data.subset import fixed_subset
from landscape.directions.plane import Plane, random_directions
from landscape.errors import StoreError
from landscape.hessian.spectrum import hessian_spectrum, parts_left
from landscape.io.store import FileSink, read_result, write_result
from landscape.problem.batch_means import find_separate
from landscape.problem.forward import changed
from landscape.problem.problem import Problem
from landscape.problem.sampling_error import SAME_MEAN, units_of
from landscape.report.entry import Detail, read_detail, write_detail
from landscape.results.identity import MODEL_AND_DATA, Trait, loss_trait, require_same
from landscape.results.provenance import Provenance
from landscape.results.sharpness import Sharpness
from landscape.results.spectrum import Spectrum
from landscape.results.surface import Surface
from landscape.runtime.progress import SILENT, Progress
from landscape.sharpness import SharpnessOptions, measure_rises
from landscape.sharpness.second_order import top_directions
from landscape.surface.evaluate import evaluate_surface
from landscape.surface.grid import Axis

TRAIN, TEST = "train", "test"
_RECORDED = "report"  # name of the plan among the settings of a result
_SAME_SETTINGS = (*MODEL_AND_DATA, "label_noise", "label_noise_seed", "samples", "calibration")


@dataclass(frozen=True)
class MeasuringPlan:
    """What is measured of every checkpoint.

    Attributes:
        rho: Radii of the sharpness measures.
        p: Norm of the ball.
        adaptive: Whether the ball is scaled elementwise.
        num_directions: Antithetic pairs of `avg`.
        max_gradients: Limit on the gradients of one `max`.
        top_k: Number of largest eigenvalues.
        max_matvecs: Limit on products for the eigenvalues.
        num_probes: Random vectors of the spectral density.
        grid: Points along each direction.
        start: First coordinate.
        stop: Last coordinate.
        num_lines: Random lines.
        seed: Of all random numbers.
    """

    rho: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2)
    p: float = 2.0
    adaptive: bool = False
    num_directions: int = 10
    max_gradients: int = 200
    top_k: int = 5
    max_matvecs: int = 500
    num_probes: int = 5
    grid: int = 21
    start: float = -1.0
    stop: float = 1.0
    num_lines: int = 5
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as files have it: by the fields' names, and the radii as `rhos`."""
        return {"rhos" if key == "rho" else key: value for key, value in asdict(self).items()}

    def part(self, name: str) -> dict[str, Any]:
        """Return what one of the results depends on, as it is recorded with it."""
        fields = {
            "sharpness": ("rhos", "p", "adaptive", "num_directions", "max_gradients", "seed"),
            "spectrum": ("top_k", "max_matvecs", "num_probes", "seed"),
            "line": ("grid", "start", "stop", "num_lines", "seed"),
            "plane": ("grid", "start", "stop", "seed"),
        }[name]
        return {key: str(value) for key, value in self.as_dict().items() if key in fields}


@dataclass(frozen=True)
class Bench:
    """A checkpoint that is being measured, and where its results go.

    Attributes:
        problems: `train`, and `test` where the data have it.
        settings: What the user asked for, to be recorded.
        files: Name of a result -> its file.
        plan: What is measured.
        resume: Whether files that are there are taken.
        should_stop: Is asked between steps.
        progress: Counts them.
    """

    problems: Mapping[str, Problem]
    settings: Mapping[str, Any]
    files: Mapping[str, Path]
    plan: MeasuringPlan
    resume: bool = False
    should_stop: Callable[..., bool] = lambda num_steps=1: False
    progress: Progress = SILENT

    @property
    def train(self) -> Problem:
        """The loss on the training set."""
        return self.problems[TRAIN]

    def recorded(self, name: str) -> dict[str, Any]:
        """Return the settings of one of the results."""
        return {**self.settings, "seed": self.plan.seed, _RECORDED: self.plan.part(name)}

    def stored(self, name: str, problems: Mapping[str, Problem] | None = None) -> Any:
        """Return a result that was measured before; None where there is none.

        Args:
            name: Of the result.
            problems: That it must be of; None for `train`.

        Raises:
            StoreError: If it is of something else.
        """
        path = self.files[name]
        if not (self.resume and path.exists()):
            return None
        found = read_result(path)
        if not isinstance(found, Sharpness | Spectrum | Surface):
            raise StoreError(
                f"{path} holds no {name}.",
                hint="Pass `force=True` to replace it, or another `out`.",
            )
        require_same(
            path,
            _traits(found.provenance, self, name, problems or {TRAIN: self.train}),
            task="report",
            hint="Repeat the options of the first run, pass `force=True` to measure all anew, or "
            "another `out`.",
        )
        return found


def num_threads_of(files: Mapping[str, Path]) -> int | None:
    """Return the number of threads of an unfinished report; None if nothing was measured."""
    for path in files.values():
        found = read_result(path) if path.exists() else None
        if isinstance(found, Sharpness | Spectrum | Surface):
            return found.provenance.plan.get("num_threads")
    return None


def _traits(
    there: Provenance, bench: Bench, name: str, problems: Mapping[str, Problem]
) -> Iterator[Trait]:
    """Yield what a result must share with the one that is asked for."""
    problem, wanted = bench.train, bench.recorded(name)
    for key in _SAME_SETTINGS:
        yield key.replace("_", " "), there.settings.get(key), wanted.get(key)
    yield "dtype", there.dtype, problem.plan.dtype
    yield loss_trait(there.loss_function, problem.passes.loss_name)
    yield "number of draws", there.plan.get("draws", 1), problem.plan.draws
    yield "weights", there.weights_hash, problem.weights_hash
    yield "batch normalization", there.batchnorm, problem.batchnorm
    for split, each in problems.items():
        yield f"{split} examples", there.data_hash.get(split), each.data_hash
    recorded = there.settings.get(_RECORDED, {})
    for key, value in wanted[_RECORDED].items():
        yield key.replace("_", " "), recorded.get(key), value


def measure_detail(bench: Bench) -> Detail:
    """Measure losses, accuracies and sharpness."""
    plan, held_out = bench.plan, bench.problems.get(TEST)
    test_hash = "" if held_out is None else held_out.data_hash
    stored, beside = bench.stored("sharpness"), bench.files["sharpness"].with_suffix(".npz")
    known = read_detail(beside, stored) if isinstance(stored, Sharpness) else None
    if known is not None and known.test_hash == test_hash:
        return known
    options = SharpnessOptions(
        p=plan.p,
        adaptive=plan.adaptive,
        num_directions=plan.num_directions,
        max_gradients=plan.max_gradients,
        seed=plan.seed,
    )
    measured = measure_rises(
        bench.train,
        plan.rho,
        options,
        held_out=held_out,
        directions=top_directions(
            bench.train, options.ball(bench.train), seed=plan.seed, progress=bench.progress
        ),
        settings=bench.recorded("sharpness"),
        progress=bench.progress,
    )
    detail = Detail(
        measured,
        bench.train.evaluate().standard_error,
        np.empty(0) if held_out is None else _losses(held_out),
        test_hash,
    )
    write_detail(beside, detail)
    write_result(bench.files["sharpness"], measured.result)
    return detail


def _losses(problem: Problem) -> np.ndarray:
    """Return the loss of each example (n,); empty if the loss is not a mean of single losses."""
    passes = problem.passes
    separate = find_separate(passes, passes.batches, SAME_MEAN)
    if separate is None:
        return np.empty(0)
    found = changed(passes, separate=separate).measure_point(None, passes.batches)
    return units_of(found, problem.plan.draws)


def measure_spectrum(bench: Bench) -> Spectrum:
    """Measure extreme eigenvalues, trace and density; reuse a stored result only if whole."""
    plan = bench.plan
    extras = {"trace": True, "density": True, "num_probes": plan.num_probes}
    stored = bench.stored("spectrum")
    if isinstance(stored, Spectrum) and not parts_left(stored, bench.train, **extras):
        return stored
    found = hessian_spectrum(
        bench.train,
        top_k=min(plan.top_k, max(1, bench.train.spec.size - 1)),
        max_matvecs=plan.max_matvecs,
        seed=plan.seed,
        **extras,
        settings=bench.recorded("spectrum"),
        should_stop=bench.should_stop,
        progress=bench.progress,
    )
    if not parts_left(found, bench.train, **extras):
        write_result(bench.files["spectrum"], found)
    return found


def measure_line(bench: Bench) -> Surface:
    """Evaluate train and test loss along random lines, on no more test than train examples."""
    problems = {TRAIN: bench.train}
    if TEST in bench.problems:
        problems[TEST] = _no_larger(bench.problems[TEST], bench.train.num_examples)
    vectors = _random(bench, bench.plan.num_lines)
    return _surface(bench, "line", problems, [(vector,) for vector in vectors])


def _no_larger(problem: Problem, num_examples: int) -> Problem:
    """Return the problem on a class-balanced subset, where it has more examples."""
    if problem.num_examples <= num_examples:
        return problem
    return problem.on(fixed_subset(problem.data, num_examples))


def measure_plane(bench: Bench) -> Surface:
    """Evaluate the training loss on a random plane."""
    return _surface(bench, "plane", {TRAIN: bench.train}, [_random(bench, 2)])


def _random(bench: Bench, number: int) -> tuple[Tensor, ...]:
    return random_directions(
        number,
        bench.train.weights,
        bench.train.spec,
        seed=bench.plan.seed,
        normalization="filter",
        with_1d=False,
    )


def _surface(
    bench: Bench, name: str, problems: Mapping[str, Problem], groups: list[tuple[Tensor, ...]]
) -> Surface:
    stored = bench.stored(name, problems)
    if isinstance(stored, Surface) and stored.is_complete:
        return stored
    plan = bench.plan
    return evaluate_surface(
        problems,
        [Plane(bench.train.weights, vectors) for vectors in groups],
        (Axis(plan.start, plan.stop, plan.grid),) * len(groups[0]),
        normalization="filter",
        direction_names=("random",) * sum(map(len, groups)),
        settings={**bench.recorded(name), "with_1d": False},
        sink=FileSink(bench.files[name], resume=bench.resume),
        should_stop=bench.should_stop,
        progress=bench.progress,
    )


MEASURERS: dict[str, Callable[[Bench], Any]] = {
    "sharpness": measure_detail,
    "spectrum": measure_spectrum,
    "line": measure_line,
    "plane": measure_plane,
}
"""Name of a result -> what measures it."""
