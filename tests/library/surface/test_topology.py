from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest

from landscape.errors import InputError
from landscape.results.provenance import Provenance
from landscape.results.surface import Mark, Surface
from landscape.surface.persistence import sublevel_topology
from landscape.surface.topology import (
    STANDARD_ERRORS,
    Barrier,
    basin_threshold,
    describe_topology,
    nearest_point,
    surface_values,
)

SHAPES = [(7,), (1, 6), (6, 1), (5, 6)]


def random_fields(shape, num_fields=6):
    """Fields of noise; every other one of few different values, and holes and infinities in all but
    the first two."""
    for seed in range(num_fields):
        generator = np.random.default_rng(seed)
        values = (
            generator.normal(size=shape)
            if seed % 2
            else generator.integers(0, 4, size=shape).astype(float)
        )
        if seed >= 2:
            values[generator.random(shape) < 0.2] = np.nan
            values[generator.random(shape) < 0.1] = np.inf
        yield values


def flood(values, start, level):
    """The component of {value <= level} that holds a point, as a set of indices."""
    if not values[start] <= level:
        return set()
    found, border = {start}, [start]
    while border:
        point = border.pop()
        for step in np.ndindex(*(3,) * values.ndim):
            other = tuple(i + s - 1 for i, s in zip(point, step, strict=True))
            is_inside = all(0 <= i < size for i, size in zip(other, values.shape, strict=True))
            if is_inside and other not in found and values[other] <= level:
                found.add(other)
                border.append(other)
    return found


def components(values, level):
    left = set(map(tuple, np.argwhere(values <= level).tolist()))
    found = []
    while left:
        found.append(flood(values, min(left), level))
        left -= found[-1]
    return found


def levels(values):
    return np.unique(values[~np.isnan(values)]).tolist()


def egg_box():
    """cos x + cos y on four periods: minima of -2, saddles of 0, both on the grid."""
    x = np.linspace(-2 * np.pi, 2 * np.pi, 81)
    return np.add.outer(np.cos(x), np.cos(x))


def make_surface(values, x, y=None, marks=()):
    return Surface(
        x=x,
        y=y,
        loss={"train": values, "test": 2 * values},
        accuracy={},
        done=np.ones(values.shape, dtype=bool),
        center_loss={"train": 1.0, "test": 2.0},
        center_accuracy={},
        normalization="filter",
        direction_norms=np.ones(1 if y is None else 2),
        direction_hashes=(),
        cosine=None,
        provenance=Provenance(),
        marks=marks,
    )


def double_well(marks=()):
    """(x^2 - 1)^2 + y^2: minima of 0 at x = -1 and 1, a saddle of 1 between them."""
    x, y = np.linspace(-2, 2, 41), np.linspace(-1, 1, 11)
    return make_surface((x[None, :] ** 2 - 1) ** 2 + y[:, None] ** 2, x, y, marks)


@pytest.mark.parametrize("shape", SHAPES)
def test_basins_born_and_not_dead_are_the_components_found_by_flooding(shape):
    """All ranks of the maps between sublevel sets, which determine the persistence diagram."""
    for values in random_fields(shape):
        topology = sublevel_topology(values)
        for birth in levels(values):
            for level in [each for each in levels(values) if each >= birth]:
                expected = sum(
                    any(values[point] <= birth for point in part)
                    for part in components(values, level)
                )
                is_there = (topology.births <= birth) & (
                    (topology.deaths > level) | (topology.elders < 0)
                )
                assert is_there.sum() == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_a_basin_joins_a_deeper_one_exactly_at_its_saddle(shape):
    for values in random_fields(shape):
        topology = sublevel_topology(values)
        for row in np.flatnonzero(topology.elders >= 0):
            own, saddle = (
                tuple(topology.minima[row].tolist()),
                tuple(topology.saddles[row].tolist()),
            )
            below = [level for level in levels(values) if level < topology.deaths[row]][-1]
            assert values[own] == topology.births[row]
            assert values[saddle] == topology.deaths[row]
            assert min(values[point] for point in flood(values, own, below)) == topology.births[row]
            elder = tuple(topology.minima[topology.elders[row]].tolist())
            assert {saddle, elder} <= flood(values, own, topology.deaths[row])
            assert values[elder] <= values[own]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_barrier_is_the_lowest_level_at_which_flooding_reaches_the_other_end(shape):
    for values in random_fields(shape):
        points = list(map(tuple, np.argwhere(values < np.inf).tolist()))
        for a, b in list(combinations(points, 2))[::7]:
            reached = [level for level in levels(values) if b in flood(values, a, level)]
            expected = min(reached, default=np.inf) - max(values[a], values[b])
            assert sublevel_topology(values).barrier(values, a, b) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_two_basins_are_one_from_the_lowest_level_that_floods_both(shape):
    for values in random_fields(shape):
        topology = sublevel_topology(values)
        for one, other in combinations(range(len(topology.births)), 2):
            a, b = (tuple(topology.minima[row].tolist()) for row in (one, other))
            reached = [level for level in levels(values) if b in flood(values, a, level)]
            if np.isfinite(topology.births[[one, other]]).all():
                assert topology.pass_height(one, other) == min(reached, default=np.inf)


def test_every_field_of_noise_has_basins_in_falling_order_after_their_elders():
    for values in random_fields((9, 9)):
        topology = sublevel_topology(values)
        assert (topology.elders < np.arange(len(topology.elders))).all()
        assert all(first >= second for first, second in pairwise(topology.persistence))


def test_the_egg_box_has_four_minima_that_meet_at_zero():
    topology = sublevel_topology(egg_box())
    np.testing.assert_allclose(topology.births, -2, rtol=1e-12)
    np.testing.assert_allclose(topology.persistence, [np.inf, 2, 2, 2], rtol=1e-12)
    assert {tuple(point) for point in topology.minima.tolist()} == {
        (20, 20),
        (20, 60),
        (60, 20),
        (60, 60),
    }
    assert {tuple(point) for point in topology.saddles[1:].tolist()} < {
        (20, 40),
        (40, 20),
        (40, 60),
        (60, 40),
    }


def test_the_barrier_of_a_double_well_is_the_height_of_its_middle():
    x = np.linspace(-2, 2, 41)
    for values, *ends in [
        ((x**2 - 1) ** 2, (10,), (30,)),
        (double_well().loss["train"], (5, 10), (5, 30)),
    ]:
        height = sublevel_topology(values).barrier(values, *ends)
        assert height == pytest.approx(1, rel=1e-12)


def test_within_one_basin_there_is_no_barrier():
    x = np.linspace(-1, 1, 21)
    assert sublevel_topology(x**2).barrier(x**2, (0,), (10,)) == 0


def test_a_path_goes_around_a_hill():
    values = np.zeros((5, 5))
    values[2, :4] = 7
    values[2, 4] = 3
    assert sublevel_topology(values).barrier(values, (0, 0), (4, 0)) == 3


def test_a_field_of_one_value_is_one_basin():
    topology = sublevel_topology(np.full((60, 70), 3.0))
    assert topology.persistence.tolist() == [np.inf]
    assert topology.minima.tolist() == [[0, 0]]


def test_of_equal_values_the_first_is_the_lowest():
    values = np.random.default_rng(0).integers(0, 4, size=(50, 50)).astype(float)
    assert (
        np.ravel_multi_index(sublevel_topology(values).minima[0], values.shape) == values.argmin()
    )


def test_a_plateau_of_any_shape_is_one_basin():
    values = np.ones((5, 9))
    values[1:4, 1:8] = 0
    values[1:3, 3:6] = 1
    assert sublevel_topology(values).births.tolist() == [0]


def test_all_of_a_plateau_belongs_to_its_one_basin():
    values = np.ones((6, 9))
    values[:, [0, 4]] = values[:4, 8] = values[3, 4:] = values[5, :4] = (
        0  # the second and third prong join first
    )
    assert (sublevel_topology(values).regions == 0).all()


def test_the_squares_of_one_colour_of_a_checkerboard_are_joined_at_their_corners():
    board = np.add.outer(np.arange(8), np.arange(8)) % 2
    assert sublevel_topology(board.astype(float)).persistence.tolist() == [np.inf]


def test_a_line_has_two_neighbours_a_point():
    assert sublevel_topology(np.array([0.0, 1, 0, 1, 0])).persistence.tolist() == [np.inf, 1, 1]


def test_holes_separate_what_infinite_values_join_at_the_top():
    wall = np.array([0.0, np.inf, 1, np.nan, 2])
    topology = sublevel_topology(wall)
    assert topology.births.tolist() == [0, 2, 1]
    assert topology.elders.tolist() == [-1, -1, 0]
    assert topology.persistence.tolist() == [np.inf, np.inf, np.inf]


def test_no_value_is_no_basin():
    assert sublevel_topology(np.full((3, 3), np.nan)).num_basins() == 0


def test_basins_below_the_threshold_are_not_counted():
    values = np.array([0.0, 5, 3, 6, 5.5, 7, 1, 9])
    counts = [
        sublevel_topology(values).num_basins(threshold)
        for threshold in (0, 0.5, 0.6, 2, 2.1, 6, 6.1)
    ]
    assert counts == [4, 4, 3, 3, 2, 2, 1]


def test_the_basins_that_are_left_above_a_threshold_have_each_other_for_elders():
    values = np.array([0.0, 5, 3, 6, 5.5, 7, 1, 9])
    topology = sublevel_topology(values)
    count = topology.num_basins(1.0)
    assert topology.births[:count].tolist() == [0, 1, 3]
    assert topology.deaths[:count].tolist() == [np.inf, 7, 5]
    assert topology.elders[:count].tolist() == [-1, 0, 0]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_point_belongs_to_the_basin_that_floods_it_first(shape):
    for values in random_fields(shape):
        topology = sublevel_topology(values)
        assert ((topology.regions < 0) == np.isnan(values)).all()
        for point in map(tuple, np.argwhere(~np.isnan(values)).tolist()):
            row = topology.branch_at(int(topology.regions[point]), values[point])
            part = flood(values, point, values[point])
            assert topology.births[row] == min(values[each] for each in part)
            assert tuple(topology.minima[row].tolist()) in part


def test_a_basin_that_is_too_shallow_is_part_of_its_elder():
    topology = sublevel_topology(np.array([0.0, 5, 3, 6, 5.5, 7, 1, 9]))
    shallow = int(topology.regions[4])
    assert topology.branch_at(shallow, 5.5) == shallow
    assert topology.branch_at(shallow, 5.5, threshold=1.0) == 0


def test_of_merges_at_one_height_the_younger_comes_first():
    topology = sublevel_topology(np.array([2.0, 5, 1, 5, 0]))
    assert topology.births.tolist() == [0, 1, 2]
    assert topology.deaths.tolist() == [np.inf, 5, 5]
    assert topology.elders.tolist() == [-1, 0, 1]


@pytest.mark.parametrize("point", [(0, 9), (-1, 0), (0,), (1, 1)])
def test_an_end_of_a_barrier_without_a_value_is_an_error(point):
    values = np.zeros((3, 3))
    values[1, 1] = np.nan
    with pytest.raises(InputError, match="must be points of the grid with a value"):
        sublevel_topology(values).barrier(values, (0, 0), point)


def test_the_default_threshold_does_not_depend_on_how_high_the_rim_is():
    values = np.array([1.0, 2, 3, 4, 5])
    assert (
        basin_threshold(values)
        == basin_threshold(np.append(values[:-1], 5000))
        == pytest.approx(0.02)
    )


def test_the_default_threshold_is_that_of_the_noise_where_that_is_more():
    values = np.array([1.0, 2, 3])
    assert basin_threshold(values, np.full(3, 0.5)) == STANDARD_ERRORS * 0.5


def test_the_summary_gives_the_barrier_between_marked_checkpoints():
    marks = (
        Mark("a", "checkpoint", (0.02, 0.01)),
        Mark("b", "checkpoint", (2.0, 0.0)),
        Mark("s", "snapshot", (1.0, 0.0)),
        Mark("far", "checkpoint", (5.0, 0.0)),
    )
    surface = double_well(marks)
    summary = describe_topology(replace(surface, x=surface.x + 1), "train")
    assert summary is not None
    assert summary.barriers == (Barrier("a", "b", pytest.approx(1, rel=1e-12)),)


@pytest.mark.parametrize("loss", [0.91, np.nan])
def test_a_checkpoint_whose_loss_on_the_plane_is_not_its_own_ends_no_barrier(loss):
    x = np.linspace(-2, 2, 41)
    own = {"train": 1e-3}
    marks = (
        Mark("a", "checkpoint", (0.0,), loss=own, plane_loss={"train": 1e-3 * (1 + 1e-5)}),
        Mark("b", "checkpoint", (2.0,), loss=own, plane_loss={"train": loss}),
        Mark("c", "checkpoint", (1.0,), loss=own, plane_loss=own),
    )
    summary = describe_topology(make_surface((x**2 - 1) ** 2, x + 1, marks=marks), "train")
    assert summary is not None
    assert summary.barriers == (
        Barrier("a", "b", None, "b"),
        Barrier("a", "c", 0.0),
        Barrier("b", "c", None, "b"),
    )


def test_the_center_is_an_end_of_a_barrier_where_no_checkpoint_is_marked_there():
    x = np.linspace(-2, 2, 41)
    surface = make_surface((x**2 - 1) ** 2, x - 1, marks=(Mark("b", "checkpoint", (-2.0,)),))
    summary = describe_topology(surface, "train")
    assert summary is not None
    assert summary.barriers == (Barrier("center", "b", pytest.approx(1, rel=1e-12)),)


def test_the_summary_counts_basins_of_the_split_that_is_asked_for():
    summary = describe_topology(double_well(), "test")
    assert summary is not None
    assert summary.num_basins == 2
    assert summary.second_persistence == pytest.approx(2, rel=1e-12)


def test_a_bowl_has_no_second_basin():
    x = np.linspace(-1, 1, 9)
    summary = describe_topology(make_surface(x**2, x), "train")
    assert summary is not None
    assert (summary.num_basins, summary.second_persistence, summary.barriers) == (1, None, ())


def test_gaps_and_repeats_have_no_summary():
    surface = double_well()
    done = surface.done.copy()
    done[3, 3] = False
    x = np.linspace(-1, 1, 9)
    assert describe_topology(replace(surface, done=done), "train") is None
    assert describe_topology(make_surface(np.ones((3, 9)), x), "train") is None


def test_a_surface_with_gaps_is_an_error_that_says_how_many():
    surface = double_well()
    done = surface.done.copy()
    done[3, 3:5] = False
    with pytest.raises(InputError, match="got 2 points that were not computed"):
        surface_values(replace(surface, done=done), "train")


def test_points_that_were_left_out_on_purpose_are_interpolated():
    x = np.linspace(0, 1, 9)
    surface = make_surface(np.add.outer(x, x), x, x)
    done = surface.done.copy()
    done[3, 5] = False
    refined = replace(surface, done=done, tolerance=0.01)
    assert describe_topology(refined, "train") == describe_topology(surface, "train")
    np.testing.assert_allclose(surface_values(refined, "train"), surface.loss["train"], rtol=0.01)


def test_several_lines_have_no_one_topology():
    with pytest.raises(InputError, match="of a plane or of one line, got 3 lines"):
        surface_values(make_surface(np.ones((3, 9)), np.linspace(-1, 1, 9)), "train")


def test_an_unknown_split_is_an_error_that_names_the_splits():
    with pytest.raises(InputError, match=r"got 'valid'\. Splits: train, test"):
        surface_values(double_well(), "valid")


def test_the_nearest_point_is_row_then_column():
    assert nearest_point(double_well(), (0.98, -0.79)) == (1, 30)


def test_beyond_half_a_spacing_there_is_no_nearest_point():
    assert nearest_point(double_well(), (2.04, 0.0)) == (5, 40)
    assert nearest_point(double_well(), (2.06, 0.0)) is None
