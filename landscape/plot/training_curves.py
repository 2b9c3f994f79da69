"""Training curves: loss, error, learning rate and sharpness against the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from landscape.errors import InputError
from landscape.plot.kinds import name_results
from landscape.plot.scale import choose_scale
from landscape.plot.style import (
    LINE_COLORS,
    LINE_MARKERS,
    LINE_STYLES,
    ONE_COLUMN,
    TWO_COLUMNS,
    new_figure,
    set_log_ticks,
    styled,
)
from landscape.results.history import History

_SPLITS = ("train", "test")
_AVERAGED = "test, averaged weights"
_CURVES = (*_SPLITS, _AVERAGED)
_WIDTH = 1.4  # points
_FEW_POINTS = 3  # up to which each has a marker, so that a run of one epoch can be seen


@dataclass(frozen=True)
class _Panel:
    """The curves of one panel, (num_epochs,) for each run and split, NaN if not measured."""

    label: str
    curves: dict[str, list[np.ndarray]]

    @property
    def finite(self) -> np.ndarray:
        """Everything that was measured, (n,)."""
        values = np.concatenate(
            [np.empty(0), *(run for runs in self.curves.values() for run in runs)]
        )
        return values[np.isfinite(values)]


@styled
def plot_history(
    histories: History | Sequence[History],
    *,
    labels: Sequence[str] | None = None,
    split: str | None = None,
) -> Figure:
    """Draw training runs, each with its own colour and marker.

    Lines are solid for train, dashed for test and dash-dotted for averaged weights.

    A panel that no run has measured is left out. What was measured in some epochs only is joined
    across the others, with a marker at each measurement.

    Args:
        histories: One or several.
        labels: One a history, for the legend.
        split: `train` or `test`; None or `all` for both.

    Raises:
        InputError: If the split is another, or nothing finite was measured.
    """
    histories = [histories] if isinstance(histories, History) else list(histories)
    names = name_results(histories, labels)
    if split not in (None, "all", *_SPLITS):
        raise InputError(
            f"the split must be one that training measures, got {split!r}.",
            hint=f"Splits of a history: {', '.join(_SPLITS)}.",
        )
    panels = _panels(histories, split)
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = new_figure(ONE_COLUMN if columns == 1 else TWO_COLUMNS, 2.0 * rows + 0.4)
    for index, panel in enumerate(panels):
        ax = figure.add_subplot(rows, columns, index + 1)
        _draw_panel(ax, panel, [history.epoch for history in histories])
    has_markers = any(history.epoch.size <= _FEW_POINTS for history in histories)
    handles = _handles(
        names, {name for panel in panels for name in panel.curves if name}, has_markers
    )
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=len(handles), handlelength=2.4
        )
    return figure


@styled
def draw_history_panel(ax: Axes, history: History) -> None:
    """Draw the first panel of `plot_history`, which is the loss, on given axes."""
    panel = _panels([history], None)[0]
    _draw_panel(ax, panel, [history.epoch])
    ax.legend(handles=_handles([""], set(panel.curves), history.epoch.size <= _FEW_POINTS))


def _panels(histories: Sequence[History], split: str | None) -> list[_Panel]:
    """Return the panels that have values in reading order; what has no split has an empty name."""
    loss = {
        "train": [h.train_loss for h in histories],
        "test": [h.test_loss for h in histories],
        _AVERAGED: [h.ema_test_loss for h in histories],
    }
    error = {
        "train": [100 * (1 - h.train_accuracy) for h in histories],
        "test": [100 * h.test_top1_error for h in histories],
        _AVERAGED: [100 * (1 - h.ema_test_accuracy) for h in histories],
    }
    panels = [
        _Panel("loss", _of_split(loss, split)),
        _Panel("top-1 error (%)", _of_split(error, split)),
    ]
    if split in _SPLITS:
        panels = [_Panel(f"{split} {panel.label}", panel.curves) for panel in panels]
    panels += [
        _Panel("learning rate", {"": [h.learning_rate for h in histories]}),
        _Panel("first-order sharpness", {"": [h.first_order_sharpness for h in histories]}),
        _Panel("ascent sharpness", {"": [h.ascent_sharpness for h in histories]}),
    ]
    measured = [panel for panel in panels if panel.finite.size]
    if not measured:
        raise InputError(
            "a history needs at least one finite measurement to be drawn, got none.",
            hint="Train for an epoch or more.",
        )
    return measured


def _of_split(
    curves: dict[str, list[np.ndarray]], split: str | None
) -> dict[str, list[np.ndarray]]:
    """Keep the curves of a split, or all.

    Those of averaged weights are kept only if a run has measured them.
    """
    names = [name for name in _CURVES if split not in _SPLITS or name.startswith(str(split))]
    is_averaged = any(np.isfinite(run).any() for run in curves[_AVERAGED])
    return {name: curves[name] for name in names if name != _AVERAGED or is_averaged}


def _draw_panel(ax: Axes, panel: _Panel, epochs: list[np.ndarray]) -> None:
    """Draw the curves of one panel over whole epochs."""
    for name, runs in panel.curves.items():
        style = LINE_STYLES[_CURVES.index(name) if name else 0]
        for index, run in enumerate(runs):
            is_measured = np.isfinite(run)
            has_gaps = not is_measured.all() or run.size <= _FEW_POINTS
            ax.plot(
                epochs[index][is_measured],
                run[is_measured],
                color=LINE_COLORS[index % len(LINE_COLORS)],
                linestyle=style,
                linewidth=_width(runs, index),
                marker=LINE_MARKERS[index % len(LINE_MARKERS)] if has_gaps else None,
                markerfacecolor="white" if name == "test" else None,
            )
    first, last = min(e.min() for e in epochs), max(e.max() for e in epochs)
    margin = 0.02 * (last - first) or 0.5
    ax.set(xlabel="epoch", ylabel=panel.label, xlim=(first - margin, last + margin))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    scale = choose_scale([panel.finite], is_share="%" in panel.label)
    if scale.kind == "log":
        set_log_ticks(ax, scale)
        ax.set_ylabel(panel.label + scale.note)
    elif panel.finite.min() >= 0:
        ax.set_ylim(0.0, 1.06 * panel.finite.max() or 1.0)


def _width(runs: list[np.ndarray], index: int) -> float:
    """Return a line width at which the line shows on both sides of later ones that are the same."""
    return _WIDTH * (1 + sum(np.array_equal(runs[index], later) for later in runs[index + 1 :]))


def _handles(names: Sequence[str], splits: set[str], has_markers: bool) -> list[Line2D]:
    """Name the runs by colour and the splits by line style, each only where there is a choice."""
    handles = []
    if names != [""]:
        colors = (LINE_COLORS[i % len(LINE_COLORS)] for i in range(len(names)))
        handles += [
            Line2D([], [], color=color, label=name)
            for color, name in zip(colors, names, strict=True)
        ]
    if len(splits) > 1:
        color = LINE_COLORS[0] if len(names) == 1 else "0.25"
        for style, name in zip(LINE_STYLES, _CURVES, strict=False):
            if name not in splits:
                continue
            handle = Line2D([], [], color=color, linestyle=style, label=name)
            if has_markers:
                handle.set(marker="o", markerfacecolor="white" if name == "test" else color)
            handles.append(handle)
    return handles
