"""Whether lines that stand next to each other are told apart without colours."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from figures import make_result, make_surface, with_gid
from matplotlib.colors import to_rgb

from landscape import plot
from landscape.plot.seed_bands import Band, plot_bands
from landscape.plot.style import LINE_COLORS

COUNT = 4


def lightness(color):
    """Return how light a colour is in a picture without colours, from 0 to 255 (ITU-R 601)."""
    return 255 * float(np.dot(to_rgb(color), (0.299, 0.587, 0.114)))


def make_history(level, num_epochs=40):
    epoch = np.arange(1.0, num_epochs + 1)
    names = [field.name for field in dataclasses.fields(make_result("history"))]
    curves = {name: level / epoch for name in names if name != "epoch"}
    return dataclasses.replace(make_result("history"), epoch=epoch, **curves)


def make_curvature(level, num_snapshots=60):
    epoch, one = np.arange(float(num_snapshots)), np.ones(num_snapshots)
    eigenvalues = (level + epoch)[:, None]
    history = make_result("curvature-history")
    return dataclasses.replace(
        history,
        epoch=epoch,
        eigenvalues=eigenvalues,
        residuals=0 * eigenvalues,
        bottom_eigenvalues=-eigenvalues,
        bottom_residuals=0 * eigenvalues,
        learning_rate=one,
        converged=one,
        done=one,
        num_matvecs=one,
    )


def lines_of(kind):
    """Return the lines of so many results in one panel."""
    if kind == "bands":
        x = np.arange(9.0)
        bands = [Band(str(i), x, x + i, 0 * x) for i in range(COUNT)]
        return plot_bands({"": bands}, xlabel="epoch", ylabel="loss").axes[0].lines
    if kind == "history":
        figure = plot.draw([make_history(level) for level in range(1, COUNT + 1)], kind=kind)
        return figure.axes[0].lines[:COUNT]
    if kind == "curvature-history":
        figure = plot.draw([make_curvature(level) for level in range(1, COUNT + 1)], kind=kind)
        return [line for line in figure.axes[0].lines if line.get_gid() != "edge-of-stability"]
    if kind == "density":
        results = [make_result(kind)] * COUNT
        return with_gid(plot.draw(results, kind=kind).axes[0], "density")
    splits = ("train",) if kind == "lines of a split" else ("train", "test")
    surfaces = [
        make_surface(lambda x, y, i=i: 1 + i + x**2, nx=41, is_line=True, splits=splits)
        for i in range(COUNT)
    ]
    lines = with_gid(plot.draw(surfaces, kind="curve").axes[0], "curve")
    return lines[:: len(splits)]


@pytest.mark.parametrize(
    "kind",
    [
        "history",
        "curvature-history",
        "density",
        "bands",
        "lines of a split",
        "lines of both splits",
    ],
)
def test_lines_of_one_panel_differ_by_more_than_colour(kind):
    lines = lines_of(kind)
    assert len(lines) == COUNT
    looks = {(str(line.get_linestyle()), str(line.get_marker())) for line in lines}
    assert len(looks) == COUNT


def test_colours_of_lines_differ_in_grey():
    levels = [lightness(color) for color in LINE_COLORS]
    assert min(abs(one - other) for one, other in combinations(levels[:4], 2)) > 50
    assert min(abs(one - other) for one, other in combinations(levels, 2)) > 20


def test_a_long_line_has_a_few_markers():
    line = lines_of("history")[1]
    start, step = line.get_markevery()
    assert 0 < start < step < 1  # of the diagonal of the axes


def test_a_single_run_has_no_markers():
    figure = plot.draw([make_history(1)], kind="history")
    assert {line.get_marker() for line in figure.axes[0].lines} == {"None"}


@pytest.mark.parametrize("kind", ["eigenvalues", "density", "layers"])
def test_printed_values_grow_with_the_style(kind):
    sizes = {}
    for name in ("paper", "talk"):
        with plot.use_style(name):
            ax = plot.draw([make_result(kind)], kind=kind).axes[0]
        sizes[name] = {text.get_fontsize() for text in ax.texts}
    assert sizes == {"paper": {7.0}, "talk": {13 * 7 / 8}}
