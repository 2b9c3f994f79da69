"""Grids are visited coarse to fine."""

import numpy as np
import pytest

from landscape.surface.grid import coarse_to_fine


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (51, 51), (4, 9), (3, 1)])
def test_every_point_is_visited_once(shape):
    visited = coarse_to_fine(shape)
    assert len(visited) == len(set(visited)) == np.prod(shape)
    assert set(visited) == set(np.ndindex(*shape))


def test_a_line_is_halved_again_and_again():
    assert coarse_to_fine((9,)) == [(0,), (8,), (4,), (2,), (6,), (1,), (3,), (5,), (7,)]


def test_the_corners_come_first():
    assert set(coarse_to_fine((51, 31))[:4]) == {(0, 0), (0, 30), (50, 0), (50, 30)}


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_part_of_the_points_leaves_no_large_hole(share):
    num_points = 51
    visited = np.array(coarse_to_fine((num_points, num_points))[: int(share * num_points**2)])
    grid = np.stack(np.meshgrid(*2 * [np.arange(num_points)], indexing="ij"), -1).reshape(-1, 1, 2)
    to_nearest = np.abs(grid - visited).max(-1).min(-1)
    spacing = np.sqrt(1 / share)
    assert to_nearest.max() <= 2 * spacing
