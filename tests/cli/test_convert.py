import os
import sys

import h5py
import meshio
import numpy as np
import pytest
from surfaces import formula, plane_surface

from landscape import read_result
from landscape.io.store import write_result


@pytest.fixture
def stored(tmp_path):
    write_result(tmp_path / "s.h5", plane_surface(4, 3))
    return tmp_path / "s.h5"


@pytest.mark.parametrize(
    ("to", "suffix"),
    [
        ("li2018", ".li2018.h5"),
        ("vtk", ".vtu"),
        ("gltf", ".glb"),
        ("obj", ".obj"),
        ("ply", ".ply"),
        ("csv", ".csv"),
        ("landscape", ".landscape.h5"),
    ],
)
def test_the_file_gets_the_suffix_of_its_layout(run, stored, to, suffix):
    answer = run("convert", stored, "--to", to)
    assert answer.code == 0
    assert answer.out == f"{stored.with_suffix(suffix)}\n"
    assert stored.with_suffix(suffix).exists()


def test_json_names_both_files_and_what_is_lost(run, stored):
    answer = run("convert", stored, "--to", "li2018", "--json")
    assert answer.json == {
        "file": str(stored),
        "out": str(stored.with_suffix(".li2018.h5")),
        "layout": "li2018",
        "remarks": answer.err.splitlines(),
    }


def test_a_surface_goes_there_and_back(run, stored, tmp_path):
    assert run("convert", stored, "--to", "li2018", "--out", tmp_path / "theirs.h5").code == 0
    with h5py.File(tmp_path / "theirs.h5") as file:
        assert "train_loss" in file
    assert (
        run(
            "convert", tmp_path / "theirs.h5", "--to", "landscape", "--out", tmp_path / "back.h5"
        ).code
        == 0
    )
    np.testing.assert_array_equal(
        read_result(tmp_path / "back.h5").loss["train"], read_result(stored).loss["train"]
    )


def test_their_surface_is_drawn_as_it_is(run, stored, tmp_path):
    assert run("convert", stored, "--to", "li2018", "--out", tmp_path / "theirs.h5").code == 0
    answer = run("plot", tmp_path / "theirs.h5", "--out", tmp_path / "p.png")
    assert answer.code == 0, answer.err
    assert (tmp_path / "p.png").stat().st_size > 0


def test_a_mesh_has_the_values_at_their_points(run, stored, tmp_path):
    assert run("convert", stored, "--to", "vtk", "--out", tmp_path / "s.vtu").code == 0
    mesh = meshio.read(tmp_path / "s.vtu")
    np.testing.assert_allclose(
        mesh.point_data["loss_train"], formula(*mesh.points.T[:2]), rtol=1e-12
    )


def test_what_is_lost_is_said_on_stderr(run, stored):
    assert "does not hold: normalization" in run("convert", stored, "--to", "li2018").err


def test_a_converted_file_of_theirs_is_drawn(run, stored, tmp_path):
    for arguments in (
        (stored, "--to", "li2018", "--out", tmp_path / "a.h5"),
        (tmp_path / "a.h5", "--to", "landscape"),
    ):
        assert run("convert", *arguments).code == 0
    assert run("plot", tmp_path / "a.landscape.h5").code == 0


def _refused(answer):
    assert (answer.code, answer.out) == (1, "")
    assert "Traceback" not in answer.err
    return answer.err


def test_an_unknown_layout_lists_the_known(run, stored):
    assert "landscape, li2018, csv, vtk, gltf, obj, ply, got 'xml'" in _refused(
        run("convert", stored, "--to", "xml")
    )


def test_a_spectrum_is_no_mesh(run, trained, tmp_path):
    err = _refused(
        run("convert", trained / "history.h5", "--to", "vtk", "--out", tmp_path / "h.vtu")
    )
    assert "the layout vtk is not for a history file" in err
    assert "Hint: Pass --to landscape or --to csv." in err
    assert not list(tmp_path.iterdir())


def test_an_output_that_exists_is_refused_and_stays(run, stored):
    stored.with_suffix(".csv").write_text("precious")
    err = _refused(run("convert", stored, "--to", "csv"))
    assert "exists" in err
    assert "--force" in err
    assert stored.with_suffix(".csv").read_text() == "precious"
    assert run("convert", stored, "--to", "csv", "--force").code == 0
    assert stored.with_suffix(".csv").read_text().startswith("x,y,")


def test_a_checkpoint_is_not_converted(run, checkpoint, tmp_path):
    err = _refused(run("convert", checkpoint, "--to", "csv", "--out", tmp_path / "c.csv"))
    assert "is damaged or is no HDF5 file" in err


@pytest.mark.parametrize("to", ["li2018", "vtk", "gltf", "obj", "ply", "csv", "landscape"])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(run, stored, tmp_path, monkeypatch, to):
    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    err = _refused(run("convert", stored, "--to", to))
    assert "cannot be written" in err
    assert "No space left" in err
    assert "Hint: Check the free space" in err
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


def test_a_missing_meshio_says_what_to_install(run, stored, monkeypatch):
    monkeypatch.setitem(sys.modules, "meshio", None)
    assert "pip install 'landscape-toolkit[vtk]'" in _refused(run("convert", stored, "--to", "vtk"))
