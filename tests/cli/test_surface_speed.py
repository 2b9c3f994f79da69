import numpy as np
import pytest

from landscape import read_result


@pytest.fixture(scope="module")
def surface(run, checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("sampled") / "s.h5"
    answer = run(
        "surface", checkpoint, "--grid", 2, "--samples", 100, "--points-per-pass", 4, "--out", path
    )
    assert answer.code == 0, answer.err
    return path


def test_samples_come_with_the_standard_error_of_each_loss(surface):
    errors = read_result(surface).standard_error["train"]
    assert errors.shape == (2, 2)
    assert np.isfinite(errors).all()
    assert (errors > 0).all()


def test_a_whole_split_has_no_standard_error(run, checkpoint, tmp_path):
    assert (
        run(
            "surface", checkpoint, "--grid", 2, "--points-per-pass", 1, "--out", tmp_path / "s.h5"
        ).code
        == 0
    )
    assert read_result(tmp_path / "s.h5").standard_error == {}


def test_the_plan_records_the_points_a_pass_and_a_resumed_run_repeats_them(
    run, checkpoint, surface
):
    assert read_result(surface).provenance.plan["points_per_pass"] == 4
    answer = run("surface", checkpoint, "--grid", 2, "--samples", 100, "--resume", "--out", surface)
    assert answer.code == 0, answer.err
    assert read_result(surface).provenance.plan["points_per_pass"] == 4


def test_another_number_of_points_a_pass_is_not_resumed(run, checkpoint, surface):
    arguments = (
        "--grid",
        2,
        "--samples",
        100,
        "--points-per-pass",
        2,
        "--resume",
        "--out",
        surface,
    )
    answer = run("surface", checkpoint, *arguments)
    assert answer.code != 0
    assert "another plan" in answer.err


def test_tf32_is_refused_on_the_cpu(run, checkpoint, tmp_path):
    answer = run(
        "surface", checkpoint, "--device", "cpu", "--dtype", "tf32", "--out", tmp_path / "s.h5"
    )
    assert answer.code != 0
    assert "tf32 needs a CUDA device" in answer.err
    assert "Hint: Pass --dtype float32" in answer.err
