"""A report on several checkpoints: its tables, and all of it as plain names and numbers."""

from __future__ import annotations

import dataclasses
import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.report.entry import Detail, Entry
from landscape.report.measuring import MeasuringPlan
from landscape.report.report_rows import (
    is_cut_short,
    number_of,
    radii,
    report_rows,
    summary_rows,
)
from landscape.report.tables import Table
from landscape.results.display import Record
from landscape.results.headlines import RATIO_REMARK, comparison_headline, sharpness_headline
from landscape.results.interval import Interval, Number, half_width
from landscape.results.sharpness import SCALE, VERDICTS, Difference
from landscape.results.sharpness_measures import MEASURES
from landscape.sharpness.comparison import differences
from landscape.sharpness.rises import standard_error

TEST_LOSS = "test_loss"
SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """What was measured of several checkpoints.

    Attributes:
        entries: One a checkpoint, in order.
        plan: What was to be measured.
        command: Words after `landscape`, which make the report again.
        folder: Of the report, which the names of its files are relative to.
        created: UTC time, ISO 8601.
    """

    entries: Sequence[Entry]
    plan: MeasuringPlan
    command: Sequence[str] = ()
    folder: Path = field(default_factory=Path)
    created: str = ""

    @property
    def names(self) -> list[str]:
        """Of the checkpoints."""
        return [entry.name for entry in self.entries]

    @property
    def is_complete(self) -> bool:
        """Whether every result of every checkpoint is there."""
        return not any(entry.missing for entry in self.entries)

    @property
    def command_line(self) -> str:
        """What to type to make the report again."""
        return shlex.join(["landscape", *self.command])

    @property
    def rho(self) -> float:
        """Middle radius, or the lower of two, for the main table; NaN without any."""
        found = radii(self.entries)
        return found[(len(found) - 1) // 2] if found else math.nan

    @property
    def versions(self) -> dict[str, str]:
        """Package -> version, as the results record it."""
        return {
            name: version
            for entry in self.entries
            if (origin := entry.provenance) is not None
            for name, version in origin.versions.items()
        }

    def differences(self) -> tuple[Difference, ...]:
        """Compare each checkpoint's sharpness and test loss with the first of its model and data.

        Those without sharpness are left out.
        """
        groups: dict[Any, list[tuple[str, Detail]]] = {}
        for entry in self.entries:
            if entry.detail is not None:
                groups.setdefault(_kind(entry.detail), []).append((entry.name, entry.detail))
        return tuple(difference for group in groups.values() for difference in _within(group))

    @property
    def headline(self) -> str:
        """Which checkpoints are flatter, and which have the lower test loss, in sentences."""
        found = self.differences()
        if not found:
            measured = [entry.sharpness for entry in self.entries if entry.sharpness is not None]
            return " ".join(map(sharpness_headline, measured[:1])) if len(self.entries) == 1 else ""
        tests = [each for each in found if each.name == TEST_LOSS]
        flatter = comparison_headline([each for each in found if each.name != TEST_LOSS])
        curved = _curvature_in_words(self.entries) if len(self.entries) == 2 else ""
        return " ".join(filter(None, [flatter, curved, *map(_test_in_words, tests)]))

    def summary(self) -> Table:
        """Return the table in the shape of S000's Table I: a row a checkpoint."""
        shown = summary_rows()
        return Table(
            "Results",
            ["checkpoint", *(row.name for row in shown)],
            [[entry.name, *(row.shown(entry).text for row in shown)] for entry in self.entries],
        )

    def table(self) -> Table:
        """Return everything that was measured: a row a quantity, a column a checkpoint."""
        has_ratio = any(entry.spectrum and entry.spectrum.absolute_ratio for entry in self.entries)
        return Table(
            "All quantities",
            ["quantity", *self.names],
            [
                [row.name, *(row.shown(entry).text for entry in self.entries)]
                for row in report_rows(self.rho)
            ],
            [self.settings_line(), *self.remarks(), *[RATIO_REMARK] * has_ratio],
        )

    def sharpness_table(self) -> Table:
        """Return the sharpness at every radius."""
        rows = [
            [
                MEASURES[name].label,
                f"{rho:.4g}",
                *(number_of(entry, name=name, rho=rho).times(SCALE).text for entry in self.entries),
            ]
            for name in MEASURES
            for rho in radii(self.entries)
        ]
        return Table("Sharpness at every radius, x 10^3", ["measure", "rho", *self.names], rows)

    def difference_tables(self, *, is_short: bool = False) -> list[Table]:
        """Return a table for each pair: every difference with its interval and verdict.

        Args:
            is_short: Whether other radii than that of the main table are left out.
        """
        found = [
            each
            for each in self.differences()
            if not is_short or each.rho == self.rho or math.isnan(each.rho)
        ]
        return [
            Table(
                f"{first} minus {second}, x 10^3",
                ["quantity", "rho", "difference", "95 %", "verdict", "interval from"],
                [
                    difference_row(each)
                    for each in found
                    if (each.first, each.second) == (first, second)
                ],
            )
            for first, second in dict.fromkeys((each.first, each.second) for each in found)
        ]

    def values_table(self) -> Table:
        """Return the main table for programs: value, error and interval ends, unrounded."""
        rows = []
        for row in report_rows(self.rho):
            for entry in self.entries:
                *parts, remark = row.of(entry).as_dict().values()
                rows.append(
                    [
                        row.key,
                        entry.name,
                        *("" if part is None else repr(part) for part in parts),
                        remark,
                    ]
                )
        return Table(
            "",
            ["quantity", "checkpoint", *(part.name for part in dataclasses.fields(Number))],
            rows,
        )

    def settings_line(self) -> str:
        """Return in a sentence what the numbers were measured on."""
        lines = list(dict.fromkeys(filter(None, map(_measured_on, self.entries))))
        return (
            f"Measured on {'; '.join(lines) or 'nothing'}. Balls of p = {self.plan.p:g}"
            f"{', adaptive' if self.plan.adaptive else ''}. Seed {self.plan.seed}."
        )

    def remarks(self) -> list[str]:
        """Return remarks on single numbers, each with the checkpoints that it concerns."""
        names: dict[str, list[str]] = {}
        for entry in self.entries:
            for remark in _remarks(entry):
                names.setdefault(remark, []).append(entry.name)
        return [f"{', '.join(found)}: {remark}" for remark, found in names.items()]

    def as_json(self) -> dict[str, Any]:
        """Return everything by stable keys; see docs/json.md."""
        return {
            "schema": SCHEMA,
            "kind": "comparison",
            "command": list(self.command),
            "created": self.created,
            "versions": self.versions,
            "complete": self.is_complete,
            "plan": {
                **self.plan.as_dict(),
                "rhos": list(self.plan.rho),
                "p": _finite(self.plan.p),
            },
            "rho": _finite(self.rho),
            "checkpoints": [self._entry_as_json(entry) for entry in self.entries],
            "differences": [_as_json(each) for each in self.differences()],
            "remarks": self.remarks(),
        }

    def _entry_as_json(self, entry: Entry) -> dict[str, Any]:
        origin = entry.provenance
        return {
            "name": entry.name,
            "path": str(entry.path),
            "missing": list(entry.missing),
            "weights_hash": None if origin is None else origin.weights_hash,
            "data_hash": None if origin is None else origin.data_hash["train"],
            "num_examples": None if origin is None else origin.num_examples["train"],
            "num_parameters": None if origin is None else origin.num_parameters,
            "batchnorm": None if origin is None else origin.batchnorm,
            "dtype": None if origin is None else origin.dtype,
            "loss_function": None if origin is None else origin.loss_function,
            "num_matvecs": None if entry.spectrum is None else entry.spectrum.num_matvecs,
            "converged": None if entry.spectrum is None else entry.spectrum.converged,
            "quantities": {row.key: _as_json(row.of(entry)) for row in report_rows(self.rho)},
            "sharpness": [_as_json(measure) for measure in entry.measures],
            "files": {
                name: self.relative(path)
                for name, path in entry.files.items()
                if name in entry.results
            },
        }

    def relative(self, path: Path) -> str:
        """Return the name of a file as seen from the report."""
        return Path(os.path.relpath(path, self.folder)).as_posix()


def _kind(detail: Detail) -> tuple[Any, ...]:
    """Return what two checkpoints must share to be compared in pairs."""
    origin = detail.measured.result.provenance
    settings = tuple(str(origin.settings.get(name)) for name in ("model", "model_args"))
    loss = origin.loss_function or str(origin.settings.get("loss"))
    sample, num_tests = detail.measured.sample, detail.test_losses.size
    sizes = origin.num_parameters, num_tests, None if sample is None else sample.sizes.size
    return *settings, loss, str(origin.data_hash), *sizes, detail.test_hash


def _within(group: Sequence[tuple[str, Detail]]) -> list[Difference]:
    names, details = zip(*group, strict=True)
    return [
        *(_test_loss(one, group[0]) for one in group[1:] if one[1].test_losses.size > 1),
        *differences(names, [detail.measured for detail in details]),
    ]


def _test_loss(one: tuple[str, Detail], other: tuple[str, Detail]) -> Difference:
    """Compare the losses of the same test examples."""
    paired = one[1].test_losses - other[1].test_losses
    return Difference.around(
        (TEST_LOSS, math.nan),
        (one[0], other[0]),
        float(paired.mean()),
        half_width(standard_error(paired)),
        "test examples",
    )


def _curvature_in_words(entries: Sequence[Entry]) -> str:
    """Return how much sharper the sharpest direction of the second of two is, if that is known."""
    spectra = [entry.spectrum for entry in entries]
    ends = [
        Interval.around(float(each.eigenvalues[0]), float(each.half_widths[0][0]))
        for each in spectra
        if each is not None and each.converged and each.eigenvalues.size
    ]
    if len(ends) < 2 or min(each.low for each in ends) <= 0:
        return ""
    ratio, (first, second) = ends[1] / ends[0], (entry.name for entry in entries)
    if ratio.low <= 1 <= ratio.high:
        return f"The sharpest directions of {first} and {second} are alike within their errors."
    sizes = f"{ends[1].value:.3g} and {ends[0].value:.3g}"
    return f"Sharpest direction of {second}: {ratio.value:.2g}x that of {first} ({sizes})."


def _test_in_words(difference: Difference) -> str:
    first, second = difference.first, difference.second
    if difference.verdict == VERDICTS[2]:
        return f"The test losses of {first} and {second} cannot be told apart."
    return f"The test loss of {first} is {difference.verdict} than that of {second}."


def difference_row(difference: Difference) -> list[str]:
    """Return what a table says of a difference."""
    name = "test loss" if difference.name == TEST_LOSS else MEASURES[difference.name].label
    number = Number(difference.value, (difference.high - difference.low) / 2).times(SCALE)
    rho = "" if math.isnan(difference.rho) else f"{difference.rho:.4g}"
    return [name, rho, number.main, number.spread, difference.verdict, difference.source]


def _measured_on(entry: Entry) -> str:
    origin = entry.provenance
    if origin is None:
        return ""
    subset = "" if origin.settings.get("samples") is None else " (a class-balanced subset)"
    examples = f"{origin.num_examples['train']} train examples{subset}"
    tests = 0 if entry.detail is None else entry.detail.test_losses.size
    data = f" of {origin.settings['data']}" if origin.settings.get("data") else ""
    also = f" and all {tests} test examples" if tests else ""
    loss = "".join(f", loss {name}" for _, name in origin.named_loss())
    return f"{examples}{also}{data}, BatchNorm {origin.batchnorm}, {origin.dtype}{loss}"


def _remarks(entry: Entry) -> list[str]:
    found = [f"{', '.join(entry.missing)} not reached in time."] if entry.missing else []
    spectrum = entry.spectrum
    if spectrum is not None and not spectrum.converged:
        found.append(
            f"eigenvalues did not converge to {spectrum.tolerance:g} in {spectrum.num_matvecs} "
            "products."
        )
    if entry.provenance is not None and entry.provenance.settings.get("samples") is not None:
        found.append("extremes of a subset are biased outwards, sharpness along gradients upwards.")
    if cut := [f"{measure.rho:.4g}" for measure in filter(is_cut_short, entry.measures)]:
        found.append(f"the search for the maximum was cut short at rho = {', '.join(cut)}.")
    return found


def _as_json(record: Record) -> dict[str, Any]:
    return {name: _finite(value) for name, value in record.as_dict().items()}


def _finite(value: Any) -> Any:
    """Return what JSON has a word for: the norm of a box is `inf`, what is not a number is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value > 0 else None
    return value
