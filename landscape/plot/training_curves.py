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
from landscape.plot.kinds import list_results
from landscape.plot.legend import Legend
from landscape.plot.scale import choose_scale
from landscape.plot.style import (
    LINE_STYLES,
    color_of,
    grid_shape,
    key,
    marker_of,
    name_keys,
    new_figure,
    set_log_ticks,
    styled,
    width_of,
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
        runs = [run for runs in self.curves.values() for run in runs]
        values = np.concatenate(runs)
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
        labels: One per history, for the legend.
        split: `train` or `test`; None or `all` for both.

    Raises:
        InputError: If the split is another, or nothing finite was measured.
    """
    histories, names = list_results(histories, labels)
    if split not in (None, "all", *_SPLITS):
        raise InputError(
            f"the split must be one that training measures, got {split!r}.",
            hint=f"Splits of a history: {', '.join(_SPLITS)}.",
        )
    panels = _panels(histories, split)
    rows, columns = grid_shape(len(panels), 2)
    width = width_of(columns)
    legend = Legend(_handles(names, panels, histories), "")
    figure = new_figure(width, 2.0 * rows + 0.2 + legend.height(width))
    for index, panel in enumerate(panels):
        ax = figure.add_subplot(rows, columns, index + 1)
        _draw_panel(ax, panel, [history.epoch for history in histories])
    legend.add_to(figure)
    return figure


@styled
def draw_history_panel(ax: Axes, history: History) -> None:
    """Draw the first panel of `plot_history`, which is the loss, on given axes."""
    panels = _panels([history], None)[:1]
    _draw_panel(ax, panels[0], [history.epoch])
    ax.legend(handles=_handles([""], panels, [history]))


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
    prefix = f"{split} " if split in _SPLITS else ""
    panels = [
        _Panel(f"{prefix}loss", _of_split(loss, split)),
        _Panel(f"{prefix}top-1 error (%)", _of_split(error, split)),
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
                color=color_of(index),
                linestyle=style,
                linewidth=_width(runs, index),
                marker=marker_of(index) if has_gaps else None,
                markerfacecolor="white" if name == "test" else None,
            )
    first, last = min(e.min() for e in epochs), max(e.max() for e in epochs)
    margin = 0.02 * (last - first) or 0.5
    scale = choose_scale([panel.finite], is_share="%" in panel.label)
    ax.set(xlabel="epoch", ylabel=panel.label, xlim=(first - margin, last + margin))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if scale.kind == "log":
        set_log_ticks(ax, scale)
        ax.set_ylabel(panel.label + scale.note)
    elif panel.finite.min() >= 0:
        ax.set_ylim(0.0, 1.06 * panel.finite.max() or 1.0)


def _width(runs: list[np.ndarray], index: int) -> float:
    """Return a line width at which the line shows on both sides of later ones that are the same."""
    return _WIDTH * (1 + sum(np.array_equal(runs[index], later) for later in runs[index + 1 :]))


def _handles(
    names: Sequence[str], panels: Sequence[_Panel], histories: Sequence[History]
) -> list[Line2D]:
    """Name the runs by colour and the splits by line style, each only where there is a choice."""
    handles = name_keys(names, marker=None)
    splits = {name for panel in panels for name in panel.curves if name}
    color = color_of(0) if len(names) == 1 else "0.25"
    has_markers = any(history.epoch.size <= _FEW_POINTS for history in histories)
    for style, name in zip(LINE_STYLES, _CURVES, strict=False):
        if name in splits and len(splits) > 1:
            face = "white" if name == "test" else color
            marker = {"marker": "o", "markerfacecolor": face} if has_markers else {}
            handles.append(key(name, color=color, linestyle=style, **marker))
    return handles
