"""The tables of a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from landscape.report.tables import Table
from landscape.results.interval import Number
from landscape.study.definition import as_text
from landscape.study.summary import ABSOLUTE_RATIO, SHARES, Setting, Statistic, Summary

Cells = Callable[[str, Statistic | None], list[str]]
"""From a quantity and its values to the cells of a row."""


def results_table(summary: Summary) -> Table:
    """Return the table of the settings that were chosen, as mean and standard deviation."""
    return _narrower(_table("Results", summary.chosen, summary, _shown, _heads))


def settings_table(summary: Summary) -> Table:
    """Return the table of all settings, as mean and standard deviation."""
    return _narrower(_table("All settings", summary.settings, summary, _shown, _heads))


def _narrower(table: Table) -> Table:
    """Return a table, or its transpose where that has fewer columns."""
    return table.transposed() if len(table.rows) + 1 < len(table.columns) else table


def numbers_table(settings: Sequence[Setting], summary: Summary) -> Table:
    """Return the table of settings for programs, with unrounded mean, sd and count columns."""
    return _table(
        "",
        settings,
        summary,
        _numbers,
        lambda name: [f"{name} {what}" for what in ("mean", "sd", "n")],
    )


def _table(
    title: str,
    settings: Sequence[Setting],
    summary: Summary,
    cells: Cells,
    heads: Callable[[str], list[str]],
) -> Table:
    factors = list(dict.fromkeys(name for setting in settings for name in setting.factors))
    quantities = list(dict.fromkeys(name for setting in settings for name in setting.quantities))
    has_variants = any(setting.variant for setting in settings)
    columns = [
        *(["variant"] * has_variants),
        *factors,
        "seeds",
        *(head for name in quantities for head in heads(name)),
    ]
    rows = [
        [
            *([setting.variant] * has_variants),
            *(as_text(setting.factors.get(name, "-")) for name in factors),
            str(len(setting.seeds)),
            *(cell for name in quantities for cell in cells(name, setting.quantities.get(name))),
        ]
        for setting in settings
    ]
    return Table(title, columns, rows, _notes(settings, summary))


def _notes(settings: Sequence[Setting], summary: Summary) -> list[str]:
    notes = ["Mean ± sample standard deviation over the seeds, after the last epoch."]
    names = ", ".join(summary.select)
    if summary.select and settings is summary.chosen:
        notes.append(
            f"{names}: chosen by the mean accuracy on the validation split, never on the test set."
        )
    if summary.unchosen:
        unchosen = ", ".join(summary.unchosen)
        notes.append(
            f"{unchosen}: all values are shown, none is chosen, for no validation split was held "
            "out."
        )
    if summary.num_finished < summary.num_runs:
        notes.append(
            f"Not all is there: {summary.num_finished} of {summary.num_runs} runs are finished."
        )
    return notes


def _heads(name: str) -> list[str]:
    return [f"{name} (%)" if name in SHARES else name]


def _shown(name: str, statistic: Statistic | None) -> list[str]:
    if statistic is None:
        return ["-"]
    if name == "gradients":
        return [f"{statistic.mean:.0f}"]  # seeds change no number of steps
    factor = 100.0 if name in SHARES else 1.0
    return [Number(statistic.mean, statistic.deviation).times(factor).text]


def _numbers(name: str, statistic: Statistic | None) -> list[str]:
    if statistic is None:
        return ["", "", "0"]
    return [_all_digits(statistic.mean), _all_digits(statistic.deviation), str(statistic.count)]


def _all_digits(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def as_dict(summary: Summary) -> dict[str, Any]:
    """Return the summary as what JSON knows; NaN is None."""
    return {
        "num_runs": summary.num_runs,
        "num_finished": summary.num_finished,
        "selected": list(summary.select),
        "results": [_setting_as_dict(setting) for setting in summary.chosen],
        "settings": [_setting_as_dict(setting) for setting in summary.settings],
    }


def _setting_as_dict(setting: Setting) -> dict[str, Any]:
    return {
        "variant": setting.variant,
        "factors": dict(setting.factors),
        "seeds": list(setting.seeds),
        "num_runs": setting.num_runs,
        "num_candidates": setting.num_candidates,
        "quantities": {
            _key(name): {
                key: None if value != value else value for key, value in asdict(statistic).items()
            }
            for name, statistic in setting.quantities.items()
        },
    }


def _key(name: str) -> str:
    """Return the name of a quantity as other commands have it in JSON."""
    return "absolute_ratio" if name == ABSOLUTE_RATIO else name.replace(" ", "_")
