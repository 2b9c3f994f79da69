"""What a study shows: tables, an object for JSON, and figures of training over its seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.plot.seed_bands import Band, plot_bands
from landscape.report.report_rows import PERCENT
from landscape.report.tables import Table
from landscape.results.headlines import RATIO_REMARK
from landscape.results.history import History
from landscape.results.interval import Number
from landscape.results.sharpness import SCALE
from landscape.results.sharpness_measures import MEASURES
from landscape.study.definition import LAYOUTS, as_text
from landscape.study.summary import ABSOLUTE_RATIO, SHARES, Setting, Statistic, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROUNDING = 1e-12
"""Share of a mean that the deviation of equal values may have, by the rounding of the mean."""

_NEITHER = ("gradients", "lambda_min", ABSOLUTE_RATIO)
"""Quantities of which neither a high nor a low value is better."""

Cells = Callable[[str, Statistic | None], list[str]]
"""From a quantity and its values to the cells of a row."""


def settings_table(
    title: str, settings: Sequence[Setting], summary: Summary, *, layout: str = LAYOUTS[0]
) -> Table:
    """Return the table of settings, as mean and standard deviation.

    Args:
        title: What it shows.
        settings: Those that were chosen, or all, of the summary.
        summary: The summary.
        layout: `narrow` for rows or columns of settings, whichever is narrower; `rows` for the
            shape of papers: a row for each setting, the best of each quantity in bold, sharpness
            and generalization gap x 10^3.
    """
    if layout == "rows":
        return _paper_table(title, settings, summary)
    table = _table(
        title,
        settings,
        summary,
        _shown,
        lambda name: [f"{name} (%)" if name in SHARES else name],
    )
    return table.transposed() if len(table.rows) + 1 < len(table.columns) else table


def _paper_table(title: str, settings: Sequence[Setting], summary: Summary) -> Table:
    """Return a row for each setting; seeds have no column where all settings have as many."""
    table = _table(title, settings, summary, _scaled_text, lambda name: [_in_words(name)])
    counts = {str(len(setting.seeds)) for setting in settings}
    names = _quantities(settings)
    place = len(table.columns) - len(names) - 1
    first = place + 1
    columns, rows, notes = list(table.columns), [list(row) for row in table.rows], [*table.notes]
    if len(counts) == 1:
        for each in (columns, *rows):
            del each[place]
        first = place
        notes.append(f"Number of seeds of each row: {counts.pop()}.")
    bold = {
        (row, first + column)
        for column, name in enumerate(names)
        for row in _best_rows(name, settings)
    }
    return Table(title, columns, rows, notes, frozenset(bold))


def _quantities(settings: Sequence[Setting]) -> list[str]:
    return list(dict.fromkeys(name for setting in settings for name in setting.quantities))


def _best_rows(name: str, settings: Sequence[Setting]) -> list[int]:
    """Return the settings with the best mean, as it is written; none where no end is better."""
    if name in _NEITHER or len(settings) < 2:
        return []
    found = {
        row: each for row, setting in enumerate(settings) if (each := setting.quantities.get(name))
    }
    sign = -1.0 if name in SHARES else 1.0
    best = min((sign * each.mean for each in found.values()), default=0.0)
    texts = {row: _scaled_text(name, each) for row, each in found.items()}
    shown = {tuple(texts[row]) for row, each in found.items() if sign * each.mean == best}
    return [row for row, text in texts.items() if tuple(text) in shown]


def _in_words(name: str) -> str:
    """Return a quantity as the head of a column, with symbols that LaTeX has, and its unit."""
    measure, _, rho = name.partition("@")
    if rho:
        return f"{MEASURES[measure].label}, rho = {rho} (x 10^3)"
    return name + {PERCENT: " (%)", SCALE: " (x 10^3)"}.get(_factor(name), "")


def _factor(name: str) -> float:
    if name in SHARES:
        return PERCENT
    return SCALE if "@" in name or name == "generalization gap" else 1.0


def _scaled_text(name: str, statistic: Statistic | None) -> list[str]:
    return _shown(name, statistic, factor=_factor(name))


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
    quantities = _quantities(settings)
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
    if summary.select and settings is summary.chosen:
        notes.append(
            f"{', '.join(summary.select)}: chosen by the mean accuracy on the validation split, "
            "never on the test set."
        )
    if summary.unchosen:
        notes.append(
            f"{', '.join(summary.unchosen)}: all values are shown, none is chosen, for no "
            "validation split was held out."
        )
    if any(ABSOLUTE_RATIO in setting.quantities for setting in settings):
        notes.append(RATIO_REMARK)
    if summary.num_finished < summary.num_runs:
        notes.append(
            f"Not all is there: {summary.num_finished} of {summary.num_runs} runs are finished."
        )
    return notes


def _shown(name: str, statistic: Statistic | None, factor: float | None = None) -> list[str]:
    """Return mean and deviation; where all seeds gave one value, or there is one, their number."""
    if statistic is None:
        return ["-"]
    if name == "gradients":
        return [f"{statistic.mean:.0f}"]  # seeds change no number of steps
    is_same = not statistic.deviation > _ROUNDING * abs(statistic.mean)
    number = Number(statistic.mean, None if is_same else statistic.deviation)
    number = number.times((PERCENT if name in SHARES else 1.0) if factor is None else factor)
    return [number.text if number.spread else f"{number.main} (n = {statistic.count})"]


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


@dataclass(frozen=True)
class _Quantity:
    """A column of a History, and how it is shown."""

    column: str
    label: str
    factor: float = 1.0
    has_radius: bool = False


_SHARPNESS = {
    "first-order-sharpness": _Quantity(
        "first_order_sharpness", "first-order sharpness", has_radius=True
    ),
    "ascent-sharpness": _Quantity("ascent_sharpness", "ascent sharpness", has_radius=True),
}
_ACCURACY = {"accuracy": _Quantity("test_accuracy", "test accuracy (%)", factor=100.0)}
_LOSS = {"loss": _Quantity("test_loss", "test loss")}
"""Name of a file -> what is in it."""


def draw_curves(summary: Summary) -> dict[str, Figure]:
    """Draw what was measured of the settings that were chosen.

    Accuracy and sharpness against the epoch are Figs. 1 and 2 of S003; a loss takes the place of an
    accuracy that does not exist. A variant has a curve; what the grid lists has a panel for each
    value. A sharpness that training measured at different radii, SAM at its own, has its radius in
    the legend.

    Returns:
        Name of a file, without a suffix -> figure.
    """
    against_both = _ACCURACY if _is_measured(summary, "test_accuracy") else _LOSS
    figures = {}
    for name, quantity in {**against_both, **_SHARPNESS}.items():
        if _is_measured(summary, quantity.column):
            figures[name] = plot_bands(
                _panels(summary, quantity, lambda history: history.epoch.astype(float)),
                xlabel="epoch",
                ylabel=_axis_label(summary, quantity),
                has_whole_x=True,
            )
        if name in against_both and name in figures and _is_measured(summary, "num_gradients"):
            figures[f"{name}-gradients"] = plot_bands(
                _panels(summary, quantity, lambda history: np.cumsum(history.num_gradients)),
                xlabel="gradient evaluations",
                ylabel=quantity.label,
            )
    return figures


def _axis_label(summary: Summary, quantity: _Quantity) -> str:
    radii = _radii(summary)
    is_shared = quantity.has_radius and len(radii) == 1
    return f"{quantity.label}\nradius {radii.pop():g}" if is_shared else quantity.label


def _radii(summary: Summary) -> set[float]:
    """Return the radii that training measured at."""
    return {float(setting.histories[0].settings["sharpness_rho"]) for setting in summary.chosen}


def _is_measured(summary: Summary, column: str) -> bool:
    return any(
        np.isfinite(getattr(h, column)).any()
        for setting in summary.chosen
        for h in setting.histories
    )


def _panels(
    summary: Summary, quantity: _Quantity, x: Callable[[History], np.ndarray]
) -> Mapping[str, Sequence[Band]]:
    of_curves = _factors_of_curves(summary.chosen)
    has_radius = quantity.has_radius and len(_radii(summary)) > 1
    panels: dict[str, list[Band]] = {}
    for setting in summary.chosen:
        first, factor = setting.histories[0], quantity.factor
        mean, deviation = _over_seeds(setting.histories, quantity.column)
        radius = f" (radius {first.settings['sharpness_rho']:g})" if has_radius else ""
        own = {key: value for key, value in setting.factors.items() if key in of_curves}
        shared = {key: value for key, value in setting.factors.items() if key not in of_curves}
        panels.setdefault(_label("", shared), []).append(
            Band(_label(setting.variant, own) + radius, x(first), factor * mean, factor * deviation)
        )
    return panels


def _factors_of_curves(settings: Sequence[Setting]) -> set[str]:
    """Return the factors that tell the curves of one panel apart.

    They are the factors that not all variants have, and radii.
    """
    every = {name for setting in settings for name in setting.factors}
    return {"rho", *(name for name in every if any(name not in s.factors for s in settings))}


def _over_seeds(histories: Sequence[History], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a history column's mean and sample standard deviation, (num_epochs,) each.

    They are computed over the histories at each epoch.
    """
    values = np.stack([getattr(history, column) for history in histories])
    deviation = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
    return values.mean(axis=0), deviation


def _label(variant: str, factors: Mapping[str, Any]) -> str:
    """Return what a legend calls a variant with some of its factors."""
    texts = [f"{name.replace('_', ' ')} {as_text(value)}" for name, value in factors.items()]
    return ", ".join(filter(None, [variant, *texts]))
