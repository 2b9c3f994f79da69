"""The figures of a study: curves over training, mean and standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from landscape.plot.training_curves import Band, plot_bands
from landscape.results.history import History
from landscape.study.summary import Setting, Summary, label, over_seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        if not _is_measured(summary, quantity.column):
            continue
        panels = _panels(summary, quantity, lambda history: history.epoch.astype(float))
        figures[name] = plot_bands(
            panels, xlabel="epoch", ylabel=_axis_label(summary, quantity), has_whole_x=True
        )
        if name in against_both and _is_measured(summary, "num_gradients"):
            panels = _panels(summary, quantity, lambda history: np.cumsum(history.num_gradients))
            figures[f"{name}-gradients"] = plot_bands(
                panels, xlabel="gradient evaluations", ylabel=quantity.label
            )
    return figures


def _axis_label(summary: Summary, quantity: _Quantity) -> str:
    radii = _radii(summary)
    return (
        f"{quantity.label}\nradius {radii.pop():g}"
        if quantity.has_radius and len(radii) == 1
        else quantity.label
    )


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
        mean, deviation = over_seeds(setting.histories, quantity.column)
        radius = f" (radius {first.settings['sharpness_rho']:g})" if has_radius else ""
        name = label(
            setting.variant,
            {key: value for key, value in setting.factors.items() if key in of_curves},
        )
        title = label(
            "", {key: value for key, value in setting.factors.items() if key not in of_curves}
        )
        panels.setdefault(title, []).append(
            Band(name + radius, x(first), factor * mean, factor * deviation)
        )
    return panels


def _factors_of_curves(settings: Sequence[Setting]) -> list[str]:
    """Return the factors that tell the curves of one panel apart.

    They are the factors that not all variants have, and radii.
    """
    every = dict.fromkeys(name for setting in settings for name in setting.factors)
    return [
        name
        for name in every
        if name == "rho" or not all(name in setting.factors for setting in settings)
    ]
