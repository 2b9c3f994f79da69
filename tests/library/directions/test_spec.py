"""What texts say of a plane."""

from pathlib import Path

import pytest

from landscape.directions.spec import PlaneSpec, parse_direction, parse_grid, parse_ranges
from landscape.errors import InputError


def test_a_direction_knows_its_kind_file_number_and_radius():
    assert parse_direction("random").path is None
    assert parse_direction("to:a/b.pt").path == Path("a/b.pt")
    assert parse_direction("pca:runs/sam").path == Path("runs/sam")
    plain, stored = parse_direction("eigen:-2"), parse_direction("eigen:1:s.h5")
    assert (plain.eigenvector, plain.path) == (-2, None)
    assert (stored.eigenvector, stored.path) == (1, Path("s.h5"))
    assert parse_direction("ascent").rho == 0.05
    assert parse_direction("ascent:0.2").rho == 0.2
    assert parse_direction("ascent:0.2").path is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hessian", "`y` must be random, to:CKPT, pca:DIR, eigen:N or eigen:N:FILE, gradient"),
        ("random:3", "`y` must be random"),
        ("gradient:", "`y` must be random"),
        ("to:", "`y` must be random"),
        ("eigen:0", "numbered from 1, the largest, or from -1"),
        ("eigen:one", "numbered from 1, the largest, or from -1"),
        ("ascent:far", "radius of an ascent must be a number"),
    ],
)
def test_a_text_that_names_no_direction_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_direction(text, "y")


def test_a_plane_is_random_unless_texts_say_otherwise():
    assert [spec.text for spec in PlaneSpec().specs] == ["random", "random"]
    assert [spec.text for spec in PlaneSpec(x="gradient").specs] == ["gradient", "random"]
    assert [spec.text for spec in PlaneSpec(x="pca:d").specs] == ["pca:d", "pca:d"]
    assert [spec.text for spec in PlaneSpec(x="to:b.pt", dims=1).specs] == ["to:b.pt"]
    assert [spec.number for spec in PlaneSpec(dims=1, repeats=3).specs] == [0, 1, 2]
    assert PlaneSpec(directions="d.h5").specs == ()


def test_a_range_is_found_where_the_length_of_a_coordinate_is_unknown():
    assert PlaneSpec(x="eigen:1").default_range(2) == "auto,-1:1"
    assert PlaneSpec(directions="d.h5").default_range(1) == "-1:1"


def test_files_that_directions_come_from_are_named_without_folders_of_snapshots():
    spec = PlaneSpec(x="to:b.pt", y="eigen:1:s.h5")
    assert spec.input_files == [Path("b.pt"), Path("s.h5")]
    assert PlaneSpec(x="pca:runs").input_files == []
    assert PlaneSpec(directions="d.h5").input_files == [Path("d.h5")]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"y": "random", "dims": 1}, "no second direction, got `y='random'` with `dims=1`"),
        ({"repeats": 3}, "`repeats=3` draws several random lines, got `dims=2`"),
        ({"repeats": 3, "dims": 1, "x": "gradient"}, "got `dims=1` and `x='gradient'`"),
        ({"x": "pca:a", "y": "pca:b"}, "the trajectory of one folder"),
        ({"directions": "d.h5", "x": "random"}, "has the directions already, got `x` too"),
        ({"directions": "d.h5", "with_1d": True}, "has the directions already, got `with_1d` too"),
    ],
)
def test_values_that_contradict_each_other_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        PlaneSpec(**values)


def test_ranges_are_for_each_direction_or_once_for_all():
    both = parse_ranges("-1:2", 2)
    assert [each.ends for each in both] == [(-1.0, 2.0)] * 2
    first, second = parse_ranges("auto, auto:3", 2)
    assert (first.ends, first.multiple, second.multiple) == (None, None, 3.0)
    for text, message in (("1", "must be start:stop"), ("auto:-1:1", "must be start:stop")):
        with pytest.raises(InputError, match=message):
            parse_ranges(text, 2)
    with pytest.raises(InputError, match="has 3 ranges for 2 direction"):
        parse_ranges("-1:1,-1:1,-1:1", 2)


def test_a_grid_is_for_each_direction_or_once_for_all():
    assert parse_grid("21", 2) == (21, 21)
    assert parse_grid("21X11", 2) == (21, 11)
    with pytest.raises(InputError, match="must be N or NxM"):
        parse_grid("a", 2)
    with pytest.raises(InputError, match="3 numbers, but `dims` is 2"):
        parse_grid("3x3x3", 2)
