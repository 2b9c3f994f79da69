"""Measurements of a study's finished runs over seeds, and the settings chosen by validation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from landscape.errors import StoreError, require
from landscape.io.store import read_result
from landscape.results.history import History, mean_and_deviation
from landscape.results.sharpness import Sharpness
from landscape.results.spectrum import Spectrum
from landscape.study.definition import Study, StudyRun, as_text
from landscape.study.execute import Job

T = TypeVar("T")
VALIDATION = ("validation accuracy", "validation loss")
SHARES = ("train accuracy", "validation accuracy", "test accuracy")
"""Quantities that are shares in [0, 1]."""

ABSOLUTE_RATIO = "|lambda_max / lambda_min|"


@dataclass(frozen=True)
class Statistic:
    """A quantity over seeds.

    Attributes:
        mean: Over those where it was measured.
        deviation: Sample standard deviation; NaN of a single one.
        count: Seeds where it was measured.
    """

    mean: float
    deviation: float
    count: int

    @classmethod
    def over(cls, values: Sequence[float]) -> Statistic:
        """Return mean and deviation of at least one value."""
        return cls(*mean_and_deviation(values), len(values))


@dataclass(frozen=True)
class Setting:
    """Runs that differ in the seed alone.

    Attributes:
        variant: As in `landscape.study.definition.StudyRun`.
        factors: Likewise.
        seeds: Of the finished runs.
        num_runs: All of the study, finished or not.
        quantities: Name -> over the seeds.
        histories: Of the finished runs.
        num_candidates: Settings among which the validation split has chosen this; 1 where there was
            no choice.
    """

    variant: str
    factors: Mapping[str, Any]
    seeds: tuple[int, ...]
    num_runs: int
    quantities: Mapping[str, Statistic]
    histories: tuple[History, ...]
    num_candidates: int = 1

    @property
    def is_complete(self) -> bool:
        """Whether all its runs are finished."""
        return len(self.seeds) == self.num_runs


@dataclass(frozen=True)
class Summary:
    """All settings of a study, and those that the validation split has chosen.

    Attributes:
        settings: In the order of the study; those without a finished run are left out.
        chosen: The best of those that differ in `select` alone; all settings where nothing was held
            out.
        select: What was chosen; empty where nothing was.
        unchosen: What could not be, because nothing was held out.
        num_runs: Of the study.
        num_finished: Of them.
    """

    settings: tuple[Setting, ...]
    chosen: tuple[Setting, ...]
    select: tuple[str, ...]
    unchosen: tuple[str, ...]
    num_runs: int
    num_finished: int


def summarise(study: Study, jobs: Sequence[Job]) -> Summary:
    """Summarise what is finished.

    Args:
        study: The study.
        jobs: Of its runs, in order.

    Raises:
        StoreError: If no run is finished.
    """
    groups: dict[tuple[str, ...], list[StudyRun]] = {}
    for run in study.runs:
        groups.setdefault(run.setting, []).append(run)
    finished = {job.name for job in jobs if not job.remaining}
    require(
        finished,
        f"no run of {study.path} is finished in {study.out}.",
        hint=f"Run landscape sweep {study.path}.",
        kind=StoreError,
    )
    found = [_setting(study, runs, finished) for runs in groups.values()]
    settings = tuple(setting for setting in found if setting.seeds)
    candidates = _candidates(settings, study.select)
    used = tuple(
        name
        for name in study.select
        if any(name in each.factors for each in settings)
        and any(len(group) > 1 for group in candidates)
    )
    is_held_out = all(VALIDATION[1] in setting.quantities for setting in settings)
    chosen = tuple(map(_best, candidates)) if used and is_held_out else settings
    select, unchosen = (used, ()) if is_held_out else ((), used)
    return Summary(settings, chosen, select, unchosen, len(study.runs), len(finished))


def _setting(study: Study, runs: Sequence[StudyRun], finished: set[str]) -> Setting:
    done = [run for run in runs if run.name in finished]
    measured = [_measured(study.folder(run), tuple(study.measures)) for run in done]
    histories, found = tuple(history for history, _ in measured), [each for _, each in measured]
    quantities = {
        name: Statistic.over([each[name] for each in found if name in each])
        for name in dict.fromkeys(itertools.chain.from_iterable(found))
    }
    return Setting(
        runs[0].variant,
        runs[0].factors,
        tuple(run.seed for run in done),
        len(runs),
        quantities,
        histories,
    )


def _measured(folder: Path, measures: Sequence[str]) -> tuple[History, dict[str, float]]:
    """Return the history of a run and what it has measured, without what is NaN."""
    history = _read(folder / "history.h5", History)
    last = history.outcome()
    found = {
        f"{split} {name}": last[f"{split}_{name}"]
        for split in ("train", "validation", "test")
        for name in ("loss", "accuracy")
    }
    found["gradients"] = history.num_gradients.sum()
    if "sharpness" in measures:
        sharpness = _read(folder / "sharpness.h5", Sharpness)
        found |= {f"{each.name}@{each.rho:g}": each.sharpness for each in sharpness.measures}
        found["generalization gap"] = sharpness.generalization_gap
    if "hessian" in measures:
        spectrum = _read(folder / "hessian.h5", Spectrum)
        found |= {name: getattr(spectrum, name) for name in ("lambda_max", "lambda_min")}
        found[ABSOLUTE_RATIO] = spectrum.absolute_ratio
        found["trace"] = None if spectrum.trace is None else spectrum.trace.value
    return history, {
        name: float(value)
        for name, value in found.items()
        if value is not None and not math.isnan(value)
    }


def _read(path: Path, kind: type[T]) -> T:
    found = read_result(path)
    if not isinstance(found, kind):
        raise StoreError(
            f"{path} holds another kind of result.",
            hint=f"Remove {path.parent} to do the run anew.",
        )
    return found


def _candidates(settings: Sequence[Setting], select: Sequence[str]) -> list[list[Setting]]:
    """Return the groups of settings that differ in `select` alone."""
    groups: dict[tuple[str, ...], list[Setting]] = {}
    for setting in settings:
        factors = setting.factors.items()
        rest = [f"{name}={as_text(value)}" for name, value in factors if name not in select]
        groups.setdefault((setting.variant, *rest), []).append(setting)
    return list(groups.values())


def _best(group: Sequence[Setting]) -> Setting:
    """Return the setting of highest mean validation accuracy, and then of lowest loss.

    If there are complete settings, it is one of them.
    """
    candidates = [setting for setting in group if setting.is_complete] or group

    def rank(setting: Setting) -> tuple[float, float]:
        accuracy, loss = (setting.quantities.get(name) for name in VALIDATION)
        return (
            -math.inf if accuracy is None else accuracy.mean,
            -math.inf if loss is None else -loss.mean,
        )

    return replace(max(candidates, key=rank), num_candidates=len(group))
