"""The plane of a trajectory: `landscape surface --x pca:DIR`."""

import shutil

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from landscape import read_result
from landscape.io.checkpoint import load_checkpoint

EPOCHS = 5
FAST = ("--grid", 3, "--samples", 200)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trajectory")
    answer = run(
        "train", "--model-arg", "width=4", "--epochs", EPOCHS, "--save-every", 1, "--out", folder
    )
    assert answer.code == 0, answer.err
    return folder


@pytest.fixture(scope="module")
def answer(run, folder):
    answer = run(
        "surface",
        folder / "checkpoint.pt",
        "--x",
        f"pca:{folder}",
        *FAST,
        "--split",
        "both",
        "--json",
    )
    assert answer.code == 0, answer.err
    return answer


@pytest.fixture(scope="module")
def surface(folder, answer):
    return read_result(folder / "checkpoint.surface.h5")


def weights(path):
    return torch.cat(
        [value.double().reshape(-1) for value in load_checkpoint(path).state_dict.values()]
    ).numpy()


@pytest.fixture(scope="module")
def displacements(folder):
    rows = np.stack([weights(path) for path in sorted((folder / "snapshots").iterdir())])
    return rows - rows[-1]


def test_y_is_the_second_component_where_x_is_the_first(surface, displacements):
    reference = PCA(2, svd_solver="full").fit(displacements)
    np.testing.assert_allclose(
        surface.explained_variance, reference.explained_variance_ratio_, rtol=1e-6
    )
    coordinates = np.array([mark.coordinates for mark in surface.trajectory])
    np.testing.assert_allclose(
        np.abs(coordinates), np.abs(displacements @ reference.components_.T), atol=1e-5
    )


def test_the_checkpoint_is_marked_then_the_snapshots_in_the_order_of_training(surface):
    assert [mark.label for mark in surface.marks] == [
        "checkpoint",
        *(f"epoch {i}" for i in range(EPOCHS + 1)),
    ]
    assert [mark.kind for mark in surface.marks] == ["checkpoint"] + ["snapshot"] * (EPOCHS + 1)


def test_the_distance_out_of_the_plane_is_what_the_components_leave(surface, displacements):
    components = PCA(2, svd_solver="full").fit(displacements).components_
    rest = displacements - displacements @ components.T @ components
    distances = [mark.distance for mark in surface.trajectory]
    np.testing.assert_allclose(distances, np.linalg.norm(rest, axis=1), atol=1e-5)


def test_each_snapshot_has_its_own_loss_beside_the_one_where_it_is_drawn(run, folder, surface):
    for epoch in (0, 3):
        own = run(
            "sharpness", folder / "snapshots" / f"epoch-{epoch:04d}.pt", "--samples", 200, "--json"
        ).json["loss"]
        assert surface.trajectory[epoch].loss["train"] == own
    assert surface.trajectory[0].plane_loss["train"] != surface.trajectory[0].loss["train"]
    last = surface.trajectory[EPOCHS]
    assert last.loss == last.plane_loss == surface.center_loss


def test_every_snapshot_is_in_view(surface):
    for axis, values in enumerate((surface.x, surface.y)):
        coordinates = [mark.coordinates[axis] for mark in surface.trajectory]
        assert values[0] < min(coordinates) <= max(coordinates) < values[-1]


def test_the_summary_says_how_well_the_plane_shows_the_trajectory(answer, surface):
    shown = answer.json["trajectory"]
    assert shown["explained_variance"] == surface.explained_variance.tolist()
    assert [snapshot["label"] for snapshot in shown["snapshots"]] == [
        mark.label for mark in surface.trajectory
    ]
    assert shown["largest_distance"] == max(mark.distance for mark in surface.trajectory)
    for split in ("train", "test"):
        gaps = [abs(mark.loss[split] - mark.plane_loss[split]) for mark in surface.trajectory]
        assert shown["largest_loss_gap"][split] == max(gaps)


def test_the_summary_in_words_has_the_same_numbers(run, folder, tmp_path, surface):
    words = ("--x", f"pca:{folder}", *FAST, "--out", tmp_path / "out.h5")
    answer = run("surface", folder / "checkpoint.pt", *words)
    first, second = (f"{100 * share:.2f} %" for share in surface.explained_variance)
    assert f"explain: x {first}, y {second}." in answer.out
    assert f"out of the plane: {surface.largest_distance:.6g}." in answer.out
    assert f"where it is drawn|: train {surface.largest_loss_gaps['train']:.6g}." in answer.out


def test_a_line_is_the_first_component(run, folder, tmp_path, surface):
    words = ("--x", f"pca:{folder}", "--dims", 1, *FAST, "--out", tmp_path / "out.h5")
    assert run("surface", folder / "checkpoint.pt", *words).code == 0
    line = read_result(tmp_path / "out.h5")
    np.testing.assert_allclose(line.explained_variance, surface.explained_variance[:1])
    assert line.direction_hashes == surface.direction_hashes[:1]


def test_a_slash_more_does_not_make_it_another_folder(run, folder, tmp_path, surface):
    words = ("--x", f"pca:{folder}", "--y", f"pca:{folder}/", *FAST, "--out", tmp_path / "out.h5")
    answer = run("surface", folder / "checkpoint.pt", *words)
    assert answer.code == 0, answer.err
    assert read_result(tmp_path / "out.h5").direction_hashes == surface.direction_hashes


def test_a_component_spans_a_plane_with_any_other_direction(run, folder, tmp_path, surface):
    words = (
        "--x",
        "gradient",
        "--y",
        f"pca:{folder}",
        *FAST,
        "--out",
        tmp_path / "out.h5",
        "--json",
    )
    answer = run("surface", folder / "checkpoint.pt", *words)
    assert answer.code == 0, answer.err
    assert answer.json["trajectory"]["explained_variance"] == [None, surface.explained_variance[0]]


def test_a_surface_without_trajectory_has_none_in_its_summary(run, folder, tmp_path):
    answer = run("surface", folder / "checkpoint.pt", *FAST, "--out", tmp_path / "out.h5", "--json")
    assert answer.json["trajectory"] is None


def refused(run, folder, snapshots, tmp_path, *words):
    answer = run(
        "surface",
        folder / "checkpoint.pt",
        "--x",
        f"pca:{snapshots}",
        *words,
        "--out",
        tmp_path / "out.h5",
    )
    assert answer.code == 1
    assert not (tmp_path / "out.h5").exists()
    return answer.err


def test_the_trajectories_of_two_folders_are_refused(run, folder, tmp_path):
    err = refused(run, folder, folder, tmp_path, "--y", f"pca:{tmp_path}", *FAST)
    assert "a plane shows the trajectory of one folder" in err


def test_an_empty_folder_is_refused(run, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    message = refused(run, folder, tmp_path / "empty", tmp_path)
    assert "empty holds no snapshots" in message
    assert "--save-every 1" in message


def copied(folder, names, target):
    target.mkdir()
    for name in names:
        shutil.copy(folder / "snapshots" / name, target)
    return target


def test_one_snapshot_beside_the_checkpoint_makes_a_line_but_no_plane(run, folder, tmp_path):
    few = copied(folder, ["epoch-0000.pt"], tmp_path / "few")
    assert "need at least 3 snapshots, the checkpoint counted, got 2" in refused(
        run, folder, few, tmp_path
    )
    words = ("--x", f"pca:{few}", "--dims", 1, *FAST, "--out", tmp_path / "line.h5")
    assert run("surface", folder / "checkpoint.pt", *words).code == 0
    np.testing.assert_allclose(read_result(tmp_path / "line.h5").explained_variance, [1.0])


def test_snapshots_of_another_model_are_refused(run, folder, trained, tmp_path):
    message = refused(run, folder, trained, tmp_path)
    assert "epoch-0000.pt does not fit the model" in message


def test_a_damaged_snapshot_is_named(run, folder, tmp_path):
    damaged = copied(
        folder, ["epoch-0000.pt", "epoch-0001.pt", "epoch-0002.pt"], tmp_path / "damaged"
    )
    (damaged / "epoch-0001.pt").write_bytes((damaged / "epoch-0001.pt").read_bytes()[:500])
    assert "epoch-0001.pt is damaged" in refused(run, folder, damaged, tmp_path)


def test_a_resumed_surface_has_the_trajectory_of_an_uninterrupted_one(
    run, folder, tmp_path, monkeypatch, surface
):
    from landscape.problem.problem import Problem

    words = ("surface", folder / "checkpoint.pt", "--x", f"pca:{folder}", *FAST, "--split", "both")
    evaluation_of, num_evaluations = Problem.evaluation_of, 0

    def evaluation_and_stop(self, found):
        nonlocal num_evaluations
        num_evaluations += 1
        if num_evaluations == stop_at:
            raise KeyboardInterrupt
        return evaluation_of(self, found)

    monkeypatch.setattr(Problem, "evaluation_of", evaluation_and_stop)
    stop_at = None
    assert run(*words, "--out", tmp_path / "whole.h5").code == 0
    stop_at, num_evaluations = num_evaluations - 4, 0  # two points before the end
    assert run(*words, "--out", tmp_path / "parts.h5").code == 130
    stop_at = None
    answer = run(*words, "--out", tmp_path / "parts.h5", "--resume")
    assert answer.code == 0, answer.err
    parts = read_result(tmp_path / "parts.h5")
    assert parts.marks == surface.marks
    np.testing.assert_array_equal(parts.loss["test"], surface.loss["test"])
