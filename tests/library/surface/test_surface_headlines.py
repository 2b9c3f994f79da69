"""The first sentence about a surface is true of whatever is stored."""

import math
from dataclasses import replace

import numpy as np
import pytest
from surfaces import PROVENANCE

from landscape.results.surface import INTERPOLATION, Mark, Surface
from landscape.surface.surface_headlines import distance_to_loss, surface_headline
from landscape.surface.topology import describe_topology


def bowl(num=41, *, loss=lambda x, y: 0.1 + x**2 + y**2, names=("random", "random"), **fields):
    """A plane on [-1, 1] x [-1, 1] whose loss at the center is 0.1."""
    axis = np.linspace(-1, 1, num)
    values = loss(*np.meshgrid(axis, axis))
    center = float(values[num // 2, num // 2])
    found = Surface(
        axis, axis, {"train": values}, {}, np.ones(values.shape, bool), {"train": center}, {},
        "filter", np.array([3.0, 3.0]), ("a", "b"), 0.0, PROVENANCE, direction_names=names,
    )  # fmt: skip
    return replace(found, **fields)


def said(surface):
    return surface_headline(surface, describe_topology(surface, "train"))


def test_the_distance_is_where_the_loss_crosses_the_level():
    spacing = 2 / 40
    exact = math.sqrt(0.9)
    found = distance_to_loss(bowl(), "train", 1.0)
    assert found == pytest.approx(exact, abs=spacing**2)
    assert distance_to_loss(bowl(9), "train", 1.0) == pytest.approx(exact, abs=0.02)


def test_directions_that_are_not_orthogonal_count_by_the_length_of_their_sum():
    # along x + y with cosine c, a point (a, a) is a sqrt(2 + 2 c) away, along x - y less
    surface = bowl(loss=lambda x, y: np.where((x == 1) & (y == -1), 5.0, 0.1), cosine=0.5)
    assert distance_to_loss(surface, "train", 5.0) == pytest.approx(math.sqrt(2 - 2 * 0.5))


def test_directions_that_are_not_random_have_distances_in_weight_space():
    surface = bowl(
        loss=lambda x, y: 0.1 + 100.0 * (np.abs(x) > 0.99), names=("to:b.pt", "random"),
        normalization="none", direction_norms=np.array([4.0, 1.0]),
    )  # fmt: skip
    found = distance_to_loss(surface, "train", 100.1)
    assert found == pytest.approx(4.0, rel=1e-6)
    assert "at a distance of about" in said(surface)


def test_lines_have_a_norm_each():
    values = np.array([[0.1, 0.1, 0.1], [0.1, 0.1, 9.0]])
    lines = Surface(
        np.array([-1.0, 0.0, 1.0]), None, {"train": values}, {}, np.ones((2, 3), bool),
        {"train": 0.1}, {}, "none", np.array([7.0, 2.0]), ("a", "b"), None, PROVENANCE,
        direction_names=("random", "random"),
    )  # fmt: skip
    assert distance_to_loss(lines, "train", 9.0) == pytest.approx(2.0)
    assert "at a distance of about" in said(lines)


@pytest.mark.parametrize(
    ("surface", "sentence"),
    [
        (
            bowl(),
            "The train loss rises to ten times its value at the center (0.1) about 0.95 filter "
            "norms away; one basin.",
        ),
        (
            bowl(normalization="layer"),
            "The train loss rises to ten times its value at the center (0.1) about 0.95 layer "
            "norms away; one basin.",
        ),
        (
            bowl(loss=lambda x, y: 1 + x**2 + y**2),
            "The train loss stays on this plane below ten times its value at the center (1), at "
            "most 3 times it; one basin.",
        ),
        (
            bowl(loss=lambda x, y: 1 - x**2 / 4 - y**2 / 4),
            "The train loss is nowhere on this plane above its value at the center (1); 4 basins.",
        ),
        (
            bowl(loss=lambda x, y: x**2 + y**2 - 1),
            "The train loss is -1 at the center, and from -1 to 1 on this plane; one basin.",
        ),
        (
            bowl(loss=lambda x, y: 0 * x),
            "The train loss is 0 at the center, and from 0 to 0 on this plane; one basin.",
        ),
        (
            bowl(loss=lambda x, y: np.where(x**2 + y**2 > 0.5, np.inf, 0.1)),
            "The train loss rises to ten times its value at the center (0.1) about 0.71 filter "
            "norms away; one basin.",
        ),
        (
            bowl(loss=lambda x, y: np.full_like(x, np.nan)),
            "The train loss is nowhere on this plane a finite number; 0 basins.",
        ),
        (
            bowl(center_loss={"train": math.nan}),
            "The train loss is not a finite number at the center; elsewhere 0.1 to 2.1; one basin.",
        ),
        (
            bowl(center_loss={}),
            "The train loss is not a finite number at the center; elsewhere 0.1 to 2.1; one basin.",
        ),
    ],
)
def test_a_sentence_holds_for_every_range_of_losses(surface, sentence):
    assert said(surface) == sentence.replace("; 0 basins", "")


def test_what_is_not_finished_is_said_to_be_so():
    done = np.ones((41, 41), bool)
    done[0] = False
    surface = bowl(done=done)
    assert said(surface).startswith("So far, at 1640 of 1681 points: The train loss rises")
    assert said(bowl(done=np.zeros((41, 41), bool))) == "No point is computed yet."
    refined = replace(surface, deviations={f"{INTERPOLATION}, train": 1e-3})
    assert said(refined).startswith("The train loss rises")


def between(*heights, loss=lambda x: 1 + 0 * x):
    """A line from 0 to 1, with a checkpoint at 1 and, of three heights, one in the middle."""
    axis = np.linspace(0, 1, len(heights))
    marks = (Mark("b", "checkpoint", (1.0,), 0.0, {"train": heights[-1]}, {"train": heights[-1]}),)
    return Surface(
        axis, None, {"train": np.array(heights)}, {}, np.ones(len(heights), bool),
        {"train": heights[0]}, {}, "none", np.array([2.0]), ("a",), None, PROVENANCE,
        direction_names=("to:b.pt",), marks=marks,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("surface", "sentence"),
    [
        (
            between(1.0, 3.0, 1.5),
            "The train loss has a barrier of 1.5 between center and b; 2 basins.",
        ),
        (between(1.0, 1.5, 2.0), "The train loss has no barrier between center and b; one basin."),
        (
            between(1.0, 2.003, 2.0, 3.0),
            "The train loss has no barrier between center and b; one basin.",
        ),
        (
            between(1.0, np.inf, 1.0),
            "No path of finite train losses leads from center to b; 2 basins.",
        ),
    ],
)
def test_a_line_between_checkpoints_is_told_by_its_barrier(surface, sentence):
    assert said(surface) == sentence
