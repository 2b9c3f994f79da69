"""Files exactly as Li et al.'s code writes them, made by hand with h5py."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from landscape.errors import InputError, StoreError
from landscape.io import li2018
from landscape.results.provenance import Provenance
from landscape.results.surface import Directions, Mark, Surface

DIRECTION_FILE = "net_weights_xignore=biasbn_xnorm=filter_yignore=biasbn_ynorm=filter.h5"


def _loss(x, y):
    """A loss that no exchange of the axes leaves as it is."""
    return 1.0 + 10.0 * x + 100.0 * y**2 + x * y


def _write_theirs(path, nx, ny, *, num_done=None):
    """Write a surface as their code fills it: flat positions in the order of meshgrid, shape (nx,
    ny)."""
    x, y = np.linspace(-1, 1, nx), np.linspace(-0.5, 1.5, ny)
    losses, accuracies = -np.ones((nx, ny)), -np.ones((nx, ny))
    xs, ys = (values.ravel() for values in np.meshgrid(x, y))
    for k in range(nx * ny if num_done is None else num_done):
        losses.ravel()[k] = _loss(xs[k], ys[k])
        accuracies.ravel()[k] = 50.0 + k
    with h5py.File(path, "w") as file:
        file["dir_file"] = DIRECTION_FILE
        file["xcoordinates"], file["ycoordinates"] = x, y
        file["train_loss"], file["train_acc"] = losses, accuracies


@pytest.mark.parametrize(("nx", "ny"), [(5, 5), (4, 3), (3, 4)])
def test_their_values_are_read_at_their_coordinates(tmp_path, nx, ny):
    _write_theirs(tmp_path / "s.h5", nx, ny)
    surface = li2018.read_surface(tmp_path / "s.h5")
    assert surface.loss["train"].shape == (ny, nx)
    for i, y in enumerate(surface.y):
        for j, x in enumerate(surface.x):
            assert surface.loss["train"][i, j] == pytest.approx(_loss(x, y), rel=1e-12)
    assert surface.is_complete


def test_their_minus_one_is_a_point_not_done(tmp_path):
    _write_theirs(tmp_path / "s.h5", 4, 3, num_done=5)
    surface = li2018.read_surface(tmp_path / "s.h5")
    np.testing.assert_array_equal(surface.done.reshape(-1), np.arange(12) < 5)


def test_their_percent_become_shares(tmp_path):
    _write_theirs(tmp_path / "s.h5", 2, 2)
    np.testing.assert_allclose(
        li2018.read_surface(tmp_path / "s.h5").accuracy["train"],
        [[0.5, 0.51], [0.52, 0.53]],
        rtol=1e-12,
    )


def test_their_line_is_read(tmp_path):
    with h5py.File(tmp_path / "l.h5", "w") as file:
        file["dir_file"] = ""
        file["xcoordinates"] = np.array([-1.0, 0.0, 1.0])
        file["train_loss"], file["train_acc"] = (
            np.array([3.0, 2.0, -1.0]),
            np.array([10.0, 20.0, -1.0]),
        )
    line = li2018.read_surface(tmp_path / "l.h5")
    assert line.y is None
    assert line.loss["train"][:2].tolist() == [3.0, 2.0]
    assert line.done.tolist() == [True, True, False]
    assert line.center_loss == {"train": 2.0}
    assert line.center_accuracy == {"train": 0.2}


def test_the_normalization_is_read_off_the_name_of_the_direction_file(tmp_path):
    _write_theirs(tmp_path / "s.h5", 2, 2)
    surface = li2018.read_surface(tmp_path / "s.h5")
    assert surface.normalization == "filter"
    assert surface.provenance.settings["dir_file"] == DIRECTION_FILE


def test_their_eigenvalues_are_maps(tmp_path):
    _write_theirs(tmp_path / "s.h5", 4, 3)
    with h5py.File(tmp_path / "s.h5", "a") as file:
        smallest, largest = np.ones(12), -np.ones(12)
        smallest[:2], largest[:2] = [-3.0, -4.0], [7.0, 8.0]
        file["min_eig"], file["max_eig"] = smallest.reshape(4, 3), largest.reshape(4, 3)
    maps = li2018.read_surface(tmp_path / "s.h5").maps
    np.testing.assert_array_equal(maps["lambda_min"].reshape(-1), [-3.0, -4.0] + 10 * [np.nan])
    np.testing.assert_array_equal(maps["lambda_max"].reshape(-1), [7.0, 8.0] + 10 * [np.nan])


def _ours(nx, ny):
    x, y = np.linspace(-1, 1, nx), np.linspace(0, 2, ny)
    loss = {"train": _loss(*np.meshgrid(x, y)) + 50.0, "test": _loss(*np.meshgrid(x, y)) + 60.0}
    done = np.arange(nx * ny).reshape(ny, nx) != 1
    return Surface(
        x,
        y,
        loss,
        {"train": np.linspace(0, 1, nx * ny).reshape(ny, nx)},
        done,
        {"train": 1.5},
        {},
        "filter",
        np.ones(2),
        ("a", "b"),
        0.1,
        Provenance(settings={"dir_file": DIRECTION_FILE}),
    )


@pytest.mark.parametrize(("nx", "ny"), [(5, 5), (4, 3), (3, 4)])
def test_a_surface_comes_back_from_their_layout(tmp_path, nx, ny):
    surface = _ours(nx, ny)
    li2018.write_surface(tmp_path / "s.h5", surface)
    found = li2018.read_surface(tmp_path / "s.h5")
    np.testing.assert_array_equal(found.x, surface.x)
    np.testing.assert_array_equal(found.y, surface.y)
    np.testing.assert_array_equal(found.done, surface.done)
    for split, values in surface.loss.items():
        np.testing.assert_array_equal(found.loss[split][surface.done], values[surface.done])
    np.testing.assert_allclose(
        found.accuracy["train"][surface.done], surface.accuracy["train"][surface.done], rtol=1e-15
    )
    assert found.normalization == surface.normalization


def test_a_square_file_is_stored_as_theirs_is(tmp_path):
    _write_theirs(tmp_path / "theirs.h5", 4, 4, num_done=7)
    li2018.write_surface(tmp_path / "ours.h5", li2018.read_surface(tmp_path / "theirs.h5"))
    with h5py.File(tmp_path / "theirs.h5") as theirs, h5py.File(tmp_path / "ours.h5") as ours:
        assert set(ours) == set(theirs)
        assert dict(ours.attrs) == {}
        assert ours["dir_file"][()] == theirs["dir_file"][()]
        for name in set(theirs) - {
            "dir_file"
        }:  # percent are divided and multiplied by 100 on the way
            np.testing.assert_allclose(ours[name][()], theirs[name][()], rtol=3e-16)
            assert ours[name].shape == theirs[name].shape
            assert ours[name].dtype == theirs[name].dtype


def test_a_grid_that_is_not_square_has_y_first_and_says_so(tmp_path):
    li2018.write_surface(tmp_path / "s.h5", _ours(4, 3))
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["train_loss"].shape == (3, 4)
        assert dict(file.attrs) == {"axis_order": "(y, x)"}


def test_eigenvalues_come_back_and_other_maps_are_named_as_lost(tmp_path):
    surface = replace(
        _ours(3, 3), maps={"lambda_min": np.full((3, 3), -2.0), "trace": np.ones((3, 3))},
        marks=(Mark("a", "checkpoint", (0.0, 0.0)),),
    )  # fmt: skip
    lost = li2018.write_surface(tmp_path / "s.h5", surface)
    assert "marks, map trace" in lost[0]
    found = li2018.read_surface(tmp_path / "s.h5")
    assert list(found.maps) == ["lambda_min"]
    assert (found.maps["lambda_min"][surface.done] == -2.0).all()


def test_losses_that_their_readers_misread_are_counted(tmp_path):
    surface = _ours(3, 3)
    surface.loss["train"][2] = [np.nan, np.inf, -5.0]
    lost = " ".join(li2018.write_surface(tmp_path / "s.h5", surface))
    assert "1 losses are not positive" in lost
    assert "2 losses are NaN or infinite" in lost
    np.testing.assert_array_equal(
        li2018.read_surface(tmp_path / "s.h5").loss["train"][2], [np.nan, np.inf, -5.0]
    )


def test_several_lines_are_refused(tmp_path):
    lines = replace(_ours(3, 2), y=None)
    with pytest.raises(InputError, match="one line or one plane, got 2 lines"):
        li2018.write_surface(tmp_path / "s.h5", lines)
    assert not list(tmp_path.iterdir())


def test_a_split_of_another_name_is_refused(tmp_path):
    surface = replace(_ours(3, 2), loss={"validation": np.ones((2, 3))})
    with pytest.raises(InputError, match="train and test only, got 'validation'"):
        li2018.write_surface(tmp_path / "s.h5", surface)


TENSORS = [
    np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    np.array([5.0, 6.0], np.float32),
    np.float32(7.0),
]


def _write_their_directions(path, number=2):
    with h5py.File(path, "w") as file:
        for i, name in enumerate(("xdirection", "ydirection")[:number]):
            group = file.create_group(name)
            for k in reversed(range(len(TENSORS))):
                group.create_dataset(str(k), data=TENSORS[k] + i)


@pytest.mark.parametrize("number", [1, 2])
def test_their_directions_are_read_in_the_order_of_the_numbers(tmp_path, number):
    _write_their_directions(tmp_path / "d.h5", number)
    directions = li2018.read_directions(tmp_path / "d.h5")
    flat = np.concatenate([tensor.reshape(-1) for tensor in TENSORS])
    np.testing.assert_array_equal(directions.vectors, [flat + i for i in range(number)])
    assert directions.weight_names == ("0", "1", "2")
    assert directions.weight_shapes == ((2, 3, 2, 2), (2,), ())
    assert directions.vectors.dtype == np.float32


def test_more_than_ten_tensors_are_not_read_in_the_order_of_the_alphabet(tmp_path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for k in range(12):
            file[f"xdirection/{k}"] = np.array([float(k)])
    assert li2018.read_directions(tmp_path / "d.h5").vectors.tolist() == [list(range(12))]


def test_directions_come_back_from_their_layout(tmp_path):
    directions = Directions(
        np.arange(12, dtype=np.float32).reshape(2, 6),
        ("random", "random"),
        ("w", "b"),
        ((2, 2), (2,)),
        "filter",
    )
    li2018.write_directions(tmp_path / "d.h5", directions)
    found = li2018.read_directions(tmp_path / "d.h5")
    np.testing.assert_array_equal(found.vectors, directions.vectors)
    assert found.vectors.dtype == directions.vectors.dtype
    assert found.weight_shapes == directions.weight_shapes


def test_three_directions_are_refused(tmp_path):
    directions = Directions(np.ones((3, 1)), ("a", "b", "c"), ("w",), ((1,),), "none")
    with pytest.raises(InputError, match="one or two directions, got 3"):
        li2018.write_directions(tmp_path / "d.h5", directions)


def test_a_file_is_told_by_its_members(tmp_path):
    _write_theirs(tmp_path / "s.h5", 2, 2)
    _write_their_directions(tmp_path / "d.h5")
    (tmp_path / "t.h5").write_text("text")
    assert [li2018.holds(tmp_path / name) for name in ("s.h5", "d.h5", "t.h5")] == [
        "surface",
        "directions",
        None,
    ]


def _truncated(path):
    _write_theirs(path, 20, 20)
    path.write_bytes(path.read_bytes()[:3000])


def _of_another_size(path):
    _write_theirs(path, 4, 3)
    with h5py.File(path, "a") as file:
        del file["train_loss"]
        file["train_loss"] = np.ones((4, 4))


@pytest.mark.parametrize(
    ("break_file", "message"),
    [
        (_truncated, "is damaged or is no file of Li et al.'s code"),
        (_write_their_directions, "holds no surface in the layout of Li et al"),
        (_of_another_size, "has 16 values in train_loss, its axes have 3x4"),
        (lambda path: None, "does not exist"),
    ],
)
def test_a_surface_that_cannot_be_read_is_told_apart(tmp_path, break_file, message):
    break_file(tmp_path / "s.h5")
    with pytest.raises(StoreError, match=message):
        li2018.read_surface(tmp_path / "s.h5")


def test_a_direction_with_a_tensor_missing_is_refused(tmp_path):
    _write_their_directions(tmp_path / "d.h5")
    with h5py.File(tmp_path / "d.h5", "a") as file:
        del file["xdirection/1"]
    with pytest.raises(StoreError, match=r"no tensors 0, 1, \.\.\. in xdirection"):
        li2018.read_directions(tmp_path / "d.h5")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "s.h5"
    path.write_text("old")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(StoreError, match=r"cannot be written.*No space left"):
        li2018.write_surface(path, _ours(3, 3))
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["s.h5"]
