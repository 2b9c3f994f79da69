"""Surfaces of known functions, and what is found in figures of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History
from landscape.results.provenance import Provenance
from landscape.results.sharpness import Difference, Measure, Sharpness, SharpnessComparison
from landscape.results.spectrum import Density, Spectrum
from landscape.results.surface import Mark, Surface
from landscape.surface.grid import coarse_to_fine


def bowl(x, y):
    return 0.5 + 3 * x**2 + y**2


def make_surface(
    function=bowl, nx=9, ny=7, *, is_line=False, normalization="filter", splits=("train", "test")
):
    x, y = np.linspace(-1, 1, nx), None if is_line else np.linspace(-1, 1, ny)
    loss = function(x, 0 * x) if y is None else function(*np.meshgrid(x, y))
    center = float(function(np.zeros(1), np.zeros(1))[0])
    return Surface(
        x=x,
        y=y,
        loss={split: loss * (1 + i) for i, split in enumerate(splits)},
        accuracy={split: np.exp(-loss) for split in splits},
        done=np.ones(loss.shape, dtype=bool),
        center_loss={split: center * (1 + i) for i, split in enumerate(splits)},
        center_accuracy={split: float(np.exp(-center)) for split in splits},
        normalization=normalization,
        direction_norms=np.ones(1 if is_line else 2),
        direction_hashes=("a",) if is_line else ("a", "b"),
        cosine=None if is_line else 0.0,
        provenance=Provenance(),
    )


def with_train_loss(surface, *, at, value):
    loss = surface.loss["train"].copy()
    loss[at] = value
    return replace(surface, loss={**surface.loss, "train": loss})


def half_done(surface):
    done = surface.done.copy()
    done[len(done) // 2 :] = False
    return replace(surface, done=done)


def panels(figure):
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


def color_bars(figure):
    return [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]


def contours(ax, *, filled):
    return [c for c in ax.collections if isinstance(c, ContourSet) and c.filled == filled]


def legend_texts(owner):
    legends = owner.legends if isinstance(owner, Figure) else filter(None, [owner.get_legend()])
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def partly_done(surface, share):
    """Leave the share of the points that is visited first."""
    order = coarse_to_fine(surface.done.shape)
    done = np.zeros(surface.done.shape, dtype=bool)
    for index in order[: int(share * len(order))]:
        done[index] = True
    return replace(surface, done=done)


def with_gid(ax, gid):
    return [child for child in ax.get_children() if child.get_gid() == gid]


DENSITY = Density(
    np.array([5.0]), np.array([1e-6]), np.array([[-1.0, 0.5]]), np.array([[0.4, 0.5]]), 2, 10
)


def make_result(kind):
    """Return a small result that a kind of figure can be drawn of."""
    one = np.ones(1)
    if kind == "history":
        return History(one, *(0.5 * one,) * 9)
    if kind in ("eigenvalues", "density", "layers"):
        spectrum = (
            5 * one,
            one,
            -one,
            one,
            9,
            True,
            1e-3,
            1e-6,
            "lanczos",
            0.1,
            None,
            "train",
            Provenance(),
        )
        return Spectrum(*spectrum, layer_shares={"w": np.ones(2)}, density=DENSITY)
    if kind == "curvature-history":
        return CurvatureHistory(one, *(one[:, None],) * 4, *(one,) * 6, "train", Provenance())
    if kind in ("sharpness", "differences"):
        measures = tuple(
            Measure("asc", rho, 1 + rho, rho, None, 2.0, False, 1, 1.0) for rho in (0.1, 0.2)
        )
        difference = Difference(
            "asc", 0.1, "a", "b", -0.1, -0.2, 0.1, 0.95, "not distinguishable", "data"
        )
        sharpness = Sharpness(1.0, None, 0.5, measures, "train", Provenance())
        return SharpnessComparison(("a", "b"), (sharpness, sharpness), (difference,))
    x = np.linspace(-1, 1, 7)
    loss = 1 + (x**2 if kind == "curve" else np.add.outer(x**2, x**2))
    is_of_basins = kind in ("persistence", "merge-tree")
    if is_of_basins:
        loss[5, 5] = 1.2  # a second minimum
    done = loss < (9 if is_of_basins else 2.5)
    loss.flat[8 % loss.size] = np.nan
    y = None if kind == "curve" else x
    center = {"train": 1.0}
    marks = (Mark("epoch 1", "snapshot", (0.5, 0.5)[: loss.ndim]),)
    hashes = ("a", "b")
    return Surface(
        x,
        y,
        {"train": loss},
        {},
        done,
        center,
        {},
        "filter",
        np.ones(2),
        hashes,
        0.0,
        Provenance(),
        marks=marks,
    )
