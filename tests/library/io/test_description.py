from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from surfaces import PROVENANCE, formula, line_surface, plane_surface

from landscape.errors import CheckpointError, StoreError
from landscape.io import li2018
from landscape.io.checkpoint import Recipe, save_checkpoint
from landscape.io.description import describe_file
from landscape.io.store import write_result
from landscape.results.curvature_parts import BlockCurvature, Fold
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History
from landscape.results.sharpness import (
    Difference,
    GroupValue,
    Measure,
    Sharpness,
    SharpnessComparison,
    Taylor,
)
from landscape.results.spectrum import Density, SecondLook, Spectrum, Trace
from landscape.results.surface import Directions, Mark, Surface


def _described(path, result):
    write_result(path, result)
    return describe_file(path)


def test_extremes_are_at_their_coordinates(tmp_path):
    train = _described(tmp_path / "s.h5", plane_surface(4, 3))["splits"]["train"]
    assert (train["min_at"], train["max_at"]) == ([-1.0, 0.0], [1.0, 2.0])
    assert train["min"] == pytest.approx(formula(-1.0, 0.0))
    assert train["max"] == pytest.approx(formula(1.0, 2.0))


def test_points_that_are_not_done_do_not_count(tmp_path):
    found = _described(tmp_path / "s.h5", plane_surface(4, 3, left_out=(0, 11)))
    assert (found["num_points"], found["num_done"]) == (12, 10)
    assert found["splits"]["train"]["max"] == pytest.approx(formula(1 / 3, 2.0))


def test_losses_that_are_not_finite_are_counted_and_are_no_extremes(tmp_path):
    surface = plane_surface(4, 3)
    surface.loss["train"][2, 1:] = [np.nan, np.inf, -np.inf]
    train = _described(tmp_path / "s.h5", surface)["splits"]["train"]
    assert (train["num_nan"], train["num_infinite"]) == (1, 2)
    assert train["max_at"] == [-1.0, 2.0]


def test_a_surface_that_is_not_begun_has_no_extremes(tmp_path):
    assert (
        _described(tmp_path / "s.h5", plane_surface(2, 2, left_out=range(4)))["splits"]["train"][
            "min"
        ]
        is None
    )


def test_a_point_on_one_of_several_lines_has_one_coordinate(tmp_path):
    found = _described(tmp_path / "s.h5", line_surface(3))
    assert (found["shape"], found["num_lines"], found["y"]) == ("lines", 3, None)
    assert found["splits"]["train"]["max_at"] == [1.0]


def test_a_surface_says_everything_but_its_arrays(tmp_path):
    marks = (Mark("b", "checkpoint", (1.0, 0.0), 0.0, {"train": 0.5}, {"train": 0.6}),)
    shape = (3, 4)
    surface = replace(
        plane_surface(4, 3),
        marks=marks,
        explained_variance=np.array([0.75, 0.25]),
        deviations={"bfloat16": 0.01},
        tolerance=0.05,
        standard_error={"train": np.arange(12.0).reshape(shape)},
    )
    found = _described(tmp_path / "s.h5", surface)
    assert found["directions"] == [
        {"number": 1, "name": "random", "norm": 2.0, "hash": "a"},
        {"number": 2, "name": "to:b.pt", "norm": 3.0, "hash": "b"},
    ]
    assert found["cosine"] == 0.1
    assert found["normalization"] == "filter"
    assert found["marks"][0]["label"] == "b"
    assert found["explained_variance"] == [0.75, 0.25]
    assert found["deviations"] == {"bfloat16": 0.01}
    assert found["tolerance"] == 0.05
    assert found["splits"]["train"]["largest_standard_error"] == 11.0
    assert found["maps"]["lambda_max"]["max"] == pytest.approx(formula(1.0, 2.0) + 2)
    assert found["provenance"] == {
        "weights_hash": "ab", "num_parameters": 5, "batchnorm": "stored", "dtype": "float32",
        "settings": {"seed": 3}, "versions": {"torch": "2"},
    }  # fmt: skip
    assert (found["kind"], found["layout"], found["schema"]) == ("surface", "landscape", 1)


def test_nothing_that_a_surface_has_is_forgotten(tmp_path):
    renamed = {
        "loss",
        "accuracy",
        "done",
        "center_loss",
        "center_accuracy",
        "standard_error",
    }  # under splits, num_done
    renamed |= {"direction_names", "direction_norms", "direction_hashes"}  # under directions
    found = _described(tmp_path / "s.h5", plane_surface())
    assert {field.name for field in fields(Surface)} - renamed <= set(found)


def test_directions_have_norms_and_cosines(tmp_path):
    vectors = np.array([[3.0, 4.0, 0.0], [0.0, 2.0, 0.0]], np.float32)
    directions = Directions(vectors, ("random", "gradient"), ("w", "b"), ((2, 1), (1,)), "filter")
    found = _described(tmp_path / "d.h5", directions)
    assert [direction["norm"] for direction in found["directions"]] == [5.0, 2.0]
    assert found["cosine"] == pytest.approx(0.8)
    assert found["num_parameters"] == 3
    assert found["tensors"] == {"w": [2, 1], "b": [1]}


def test_a_spectrum_has_its_eigenvalues_and_residuals(tmp_path):
    top, bottom = np.array([3.0, 2.0]), np.array([-1.0])
    spectrum = Spectrum(
        top,
        top / 10,
        bottom,
        bottom * 0,
        20,
        True,
        1e-4,
        1e-6,
        "lanczos",
        0.5,
        None,
        "train",
        PROVENANCE,
        vectors=np.eye(3),
    )
    found = _described(tmp_path / "h.h5", spectrum)
    assert (found["eigenvalues"], found["bottom_eigenvalues"]) == ([3.0, 2.0], [-1.0])
    assert (found["lambda_max"], found["lambda_min"], found["ratio"], found["num_vectors"]) == (
        3.0,
        -1.0,
        -3.0,
        3,
    )


def test_sharpness_has_its_measures(tmp_path):
    measure = Measure("avg", 0.05, 0.6, 0.1, 0.01, 2.0, False, 5, None)
    found = _described(tmp_path / "a.h5", Sharpness(0.5, 0.9, 0.1, (measure,), "train", PROVENANCE))
    assert found["measures"][0]["rho"] == 0.05
    assert found["gradient_norm"] == 0.1


def test_nothing_that_sharpness_has_is_forgotten(tmp_path):
    sharpness = Sharpness(
        0.5, 0.9, 0.1, (), "train", PROVENANCE, 0.75, 0.8, Taylor(0.1, 2.0), "s001"
    )
    found = _described(tmp_path / "a.h5", sharpness)
    assert {field.name for field in fields(Sharpness)} <= set(found)
    assert (
        found["generalization_gap"],
        found["protocol"],
        found["taylor"]["ascent_curvature"],
    ) == (0.25, "s001", 2.0)


def test_a_comparison_has_its_checkpoints_differences_and_groups(tmp_path):
    measure = Measure("avg", 0.05, 0.6, 0.1, 0.01, 2.0, False, 0, 1.0)
    one = Sharpness(0.5, 0.9, 0.1, (measure,), "train", PROVENANCE)
    difference = Difference(
        "avg", 0.05, "a", "b", 0.1, -0.1, 0.3, 0.95, "not distinguishable", "data"
    )
    group = GroupValue("seeds", "loss", float("nan"), 0.5, float("nan"), 1)
    comparison = SharpnessComparison(
        ("a", "b"), (one, one), (difference,), (group,), ("seeds", "other")
    )
    found = _described(tmp_path / "a.h5", comparison)
    assert [(each["name"], each["group"], each["loss"]) for each in found["checkpoints"]] == [
        ("a", "seeds", 0.5), ("b", "other", 0.5),
    ]  # fmt: skip
    assert found["checkpoints"][0]["weights_hash"] == "ab"
    assert found["checkpoints"][0]["gradient_gain"] is None
    assert [(each["checkpoint"], each["sharpness"]) for each in found["measures"]] == [
        ("a", 0.1),
        ("b", 0.1),
    ]
    assert "weights_hash" not in found["provenance"]
    assert found["differences"][0]["verdict"] == "not distinguishable"
    assert found["groups"][0] == {
        "group": "seeds", "name": "loss", "rho": None, "mean": 0.5, "deviation": None, "count": 1,
    }  # fmt: skip


def test_a_history_has_its_last_epoch(tmp_path):
    found = _described(
        tmp_path / "h.h5", History(*(np.arange(3.0) + i for i in range(10)), settings={"seed": 1})
    )
    assert (found["num_epochs"], found["seconds"]) == (3, 9 + 10 + 11)
    assert found["last_epoch"]["test_loss"] == 6.0
    assert "ema_test_loss" not in found["last_epoch"]
    assert found["settings"] == {"seed": 1}


def test_a_file_in_their_layout_is_described(tmp_path):
    li2018.write_surface(tmp_path / "s.h5", plane_surface(4, 3))
    found = describe_file(tmp_path / "s.h5")
    assert (found["kind"], found["layout"]) == ("surface", "li2018")
    assert found["splits"]["train"]["max"] == pytest.approx(formula(1.0, 2.0))
    assert found["provenance"] == {"settings": {"layout": "li2018", "dir_file": ""}}


def test_a_checkpoint_of_ours_has_its_recipe(tmp_path):
    state = {"w": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.float64)}
    save_checkpoint(tmp_path / "c.pt", state, Recipe(model="mlp"), {"epoch": 7})
    found = describe_file(tmp_path / "c.pt")
    assert (found["kind"], found["layout"], found["epoch"]) == ("checkpoint", "landscape", 7)
    assert (found["num_tensors"], found["num_values"], found["dtypes"]) == (
        2,
        10,
        ["float32", "float64"],
    )
    assert found["recipe"]["model"] == "mlp"
    assert found["tensors"] == {"w": [2, 3], "b": [4]}


def test_a_foreign_checkpoint_is_described(tmp_path):
    torch.save({"state_dict": torch.nn.Linear(2, 3).state_dict()}, tmp_path / "c.th")
    found = describe_file(tmp_path / "c.th")
    assert (found["layout"], found["num_values"]) == ("foreign", 9)
    assert "epoch" not in found


@pytest.mark.parametrize(
    ("make", "name", "error", "message"),
    [
        (lambda path: None, "a.h5", StoreError, "does not exist"),
        (lambda path: path.mkdir(), "a.h5", StoreError, "is a folder"),
        (lambda path: path.write_text("text"), "a.h5", StoreError, "is damaged or is no HDF5 file"),
        (
            lambda path: path.write_text("text"),
            "a.pt",
            CheckpointError,
            "is damaged or is no checkpoint",
        ),
    ],
)
def test_what_cannot_be_described_is_told_apart(tmp_path, make, name, error, message):
    make(tmp_path / name)
    with pytest.raises(error, match=message):
        describe_file(tmp_path / name)


def whole_spectrum():
    top, bottom = np.array([3.0, 2.0]), np.array([-1.0])
    density = Density(
        top, top / 100, np.zeros((2, 4)), np.array([[0.5, 0.5, 0, 0], [0.2, 0.3, 0.5, 0]]), 8, 5
    )
    return Spectrum(
        top,
        top / 10,
        bottom,
        bottom * 0,
        20,
        True,
        1e-4,
        1e-6,
        "lanczos",
        0.5,
        None,
        "train",
        PROVENANCE,
        vectors=np.eye(3),
        trace=Trace(5.0, 0.1, 4.7, 5.3, 0.95, 10, 30),
        density=density,
        folds=(Fold(10, 3.0, -1.0, 1e-3, 2.5, True),),
        layer_shares={"w": np.array([0.25, 0.5, 1.0])},
        second_look=SecondLook(10, 1.5, -0.1),
        gradient_norm=0.5,
        estimates=top / 1000,
        blocks=(BlockCurvature("fc", 4, 1.0, 1e-3, 2.0, 0.1, 20, True),),
        gradient_overlaps=np.array([0.5, 0.0, 0.0]),
    )


def test_nothing_that_a_spectrum_has_is_forgotten(tmp_path):
    found = _described(tmp_path / "h.h5", whole_spectrum())
    assert {field.name for field in fields(Spectrum)} - {"vectors"} <= set(found)
    assert (found["trace"]["value"], found["second_look"]["largest"], found["gradient_norm"]) == (
        5.0,
        1.5,
        0.5,
    )
    assert (found["density"]["num_probes"], found["density"]["num_nodes"]) == (2, 3)
    assert (found["folds"][0]["held_out"], found["blocks"][0]["name"]) == (2.5, "fc")
    assert (found["layer_shares"], found["estimates"]) == ({"w": [0.25, 0.5, 1.0]}, [0.003, 0.002])


def curvature_history(*, bottom_k=1):
    values = np.array([[5.0, 4.0], [7.0, 4.0], [np.nan, np.nan]])
    return CurvatureHistory(
        np.array([0.0, 5.0, 10.0]),
        values,
        values / 10,
        -values[:, :bottom_k],
        values[:, :bottom_k] / 10,
        np.array([20, 16, 0]),
        np.array([True, False, False]),
        np.array([2.0, 1.0, np.nan]),
        np.array([0.1, 0.1, 0.1]),
        np.array([np.nan, 0.75, np.nan]),
        np.array([True, True, False]),
        "train",
        PROVENANCE,
    )


def test_curvature_along_a_run_has_a_row_for_each_snapshot_that_is_done(tmp_path):
    found = _described(tmp_path / "c.h5", curvature_history())
    assert (found["num_snapshots"], found["num_done"], found["top_k"], found["bottom_k"]) == (
        3,
        2,
        2,
        1,
    )
    assert found["snapshots"][1] == {
        "epoch": 5.0,
        "lambda_max": 7.0,
        "residual_max": 0.7,
        "rounding_max": None,
        "lambda_min": -7.0,
        "residual_min": 0.7,
        "rounding_min": None,
        "loss": 1.0,
        "learning_rate": 0.1,
        "overlap": 0.75,
        "num_matvecs": 16,
        "converged": False,
    }
    assert found["snapshots"][0]["overlap"] is None


def test_curvature_along_a_run_may_have_no_smallest_eigenvalue(tmp_path):
    found = _described(tmp_path / "c.h5", curvature_history(bottom_k=0))
    assert found["snapshots"][0]["lambda_min"] is None
