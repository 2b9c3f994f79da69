"""Curves of training runs: what was measured by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from landscape.errors import require
from landscape.plot.names import list_results
from landscape.plot.presets import current_style
from landscape.plot.scale import choose_scale, extent, require_finite
from landscape.plot.style import (
    LINE_STYLES,
    Legend,
    color_of,
    figure_of,
    grid_shape,
    key,
    line_style_of,
    marked,
    name_keys,
    set_log_ticks,
    styled,
)
from landscape.plot.wild_values import highest_tame, mark_beyond
from landscape.results.history import History

_SPLITS = ("train", "test")
_AVERAGED = "test, averaged weights"
_CURVES = (*_SPLITS, _AVERAGED)
_FEW_POINTS = 3  # up to which each has a marker, so that a run of one epoch can be seen
_MARGIN = 1.25  # factor that a logarithmic axis goes beyond the values

_Curves: TypeAlias = dict[str, list[np.ndarray]]
"""Split -> values of each run, (num_epochs,), NaN if not measured."""


@styled
def plot_history(
    histories: History | Sequence[History],
    *,
    labels: Sequence[str] | None = None,
    split: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw training runs, each with its own colour and markers.

    Lines are solid for train, dashed for test and dash-dotted for averaged weights. A panel that no
    run has measured is left out. What was measured in some epochs only is joined across the others,
    with a marker at each measurement. A few values that would flatten the others, as the loss of a
    wild first epoch, are above the axis: an arrow on its edge has the highest value next to it.

    Args:
        histories: One or several.
        labels: One per history, for the legend.
        split: `train` or `test`; None or `all` for both.
        ax: Where to draw the first panel alone, which is the loss; None for a new figure.

    Raises:
        InputError: If the split is another, or nothing finite was measured.
    """
    histories, names = list_results(histories, labels)
    require(
        split in (None, "all", *_SPLITS),
        f"the split must be one that training measures, got {split!r}.",
        hint=f"Splits of a history: {', '.join(_SPLITS)}.",
    )
    panels = _panels(histories, split)
    if ax is not None:
        label, curves = next(iter(panels.items()))
        _draw_panel(ax, label, curves, histories)
        ax.legend(handles=_history_handles(names, {label: curves}, histories))
        return figure_of(ax)
    rows, columns = grid_shape(len(panels), 2)
    figure = Legend(_history_handles(names, panels, histories)).new_figure(
        columns, 2.0 * rows + 0.2
    )
    for index, (label, curves) in enumerate(panels.items()):
        _draw_panel(figure.add_subplot(rows, columns, index + 1), label, curves, histories)
    return figure


def _panels(histories: Sequence[History], split: str | None) -> dict[str, _Curves]:
    """Return label -> curves of the panels that have values; an empty name is no split."""
    prefix = f"{split} " if split in _SPLITS else ""
    panels: dict[str, _Curves] = {
        f"{prefix}loss": {
            "train": [h.train_loss for h in histories],
            "test": [h.test_loss for h in histories],
            _AVERAGED: [h.ema_test_loss for h in histories],
        },
        f"{prefix}top-1 error (%)": {
            "train": [100 * (1 - h.train_accuracy) for h in histories],
            "test": [100 * h.test_top1_error for h in histories],
            _AVERAGED: [100 * (1 - h.ema_test_accuracy) for h in histories],
        },
        "learning rate": {"": [h.learning_rate for h in histories]},
        "first-order sharpness": {"": [h.first_order_sharpness for h in histories]},
        "ascent sharpness": {"": [h.ascent_sharpness for h in histories]},
    }
    kept = {label: _of_split(curves, split) for label, curves in panels.items()}
    require_finite(
        map(_joined, kept.values()),
        "a history needs at least one finite measurement to be drawn",
        "Train for an epoch or more.",
    )
    return {label: kept[label] for label in kept if np.isfinite(_joined(kept[label])).any()}


def _joined(curves: _Curves) -> np.ndarray:
    return np.concatenate([run for runs in curves.values() for run in runs])


def _of_split(curves: _Curves, split: str | None) -> _Curves:
    """Keep the curves of a split, or all; those of averaged weights only if they were measured."""
    return {
        name: runs
        for name, runs in curves.items()
        if not name or split not in _SPLITS or name.startswith(str(split))
        if name != _AVERAGED or any(np.isfinite(run).any() for run in runs)
    }


def _draw_panel(ax: Axes, label: str, curves: _Curves, histories: Sequence[History]) -> None:
    """Draw the curves of one panel over whole epochs."""
    width = current_style().line_width
    for name, runs in curves.items():
        for index, (history, run) in enumerate(zip(histories, runs, strict=True)):
            is_measured = np.isfinite(run)
            has_gaps = not is_measured.all() or run.size <= _FEW_POINTS
            look: dict[str, Any] = {"color": color_of(index)}
            if has_gaps or len(runs) > 1:
                look = marked(index, run.size, run.size if has_gaps else 0)
            num_hiding = sum(np.array_equal(run, later) for later in runs[index + 1 :])
            ax.plot(
                history.epoch[is_measured],
                run[is_measured],
                **look,
                linestyle=line_style_of(_CURVES.index(name) if name else 0),
                linewidth=width * (1 + num_hiding),  # shows on both sides of those
                markerfacecolor="white" if name == "test" else None,
            )
    first, last = extent([history.epoch for history in histories])
    margin = 0.02 * (last - first) or 0.5
    finite, is_share = require_finite([_joined(curves)]), "%" in label
    top = finite.max() if is_share else highest_tame([r for runs in curves.values() for r in runs])
    tame = finite[finite <= top]
    scale = choose_scale([tame], is_share=is_share)
    ax.set(xlabel="epoch", ylabel=label, xlim=(first - margin, last + margin))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if scale.kind == "log":
        set_log_ticks(ax, scale)
        ax.set_ylabel(label + scale.note)
        if tame.size < finite.size:
            ax.set_ylim(tame.min() / _MARGIN, top * _MARGIN)
    elif tame.min() >= 0:
        ax.set_ylim(0.0, 1.06 * top or 1.0)
    mark_beyond(ax, ax.get_lines())


def _history_handles(
    names: Sequence[str], panels: Mapping[str, _Curves], histories: Sequence[History]
) -> list[Line2D]:
    """Name the runs by colour and the splits by line style, each only where there is a choice."""
    splits = {name for curves in panels.values() for name in curves if name}
    color = color_of(0) if len(names) == 1 else "0.25"
    has_few = any(history.epoch.size <= _FEW_POINTS for history in histories)
    marker = "o" if has_few or len(names) > 1 else None
    of_splits = [
        key(name, color=color, ls=style, marker=marker, mfc="white" if name == "test" else color)
        for style, name in zip(LINE_STYLES, _CURVES, strict=False)
        if name in splits and len(splits) > 1
    ]
    return [*name_keys(names), *of_splits]
