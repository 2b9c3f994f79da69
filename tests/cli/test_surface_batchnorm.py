"""Planes through checkpoints whose batch normalization has statistics of its own."""

import numpy as np
import pytest

from landscape import read_result

MODEL = """
from torch import nn

def model():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10)
    )
"""


@pytest.fixture(scope="module")
def words(run, tmp_path_factory):
    """The words of a line between two runs, whose second moves its statistics far away."""
    folder = tmp_path_factory.mktemp("normed")
    (folder / "net.py").write_text(MODEL)
    model = ("--model", f"{folder / 'net.py'}:model")
    for name, rate in (("a", 0.05), ("b", 1.0)):
        trained = ("--lr", rate, "--epochs", 2, "--save-every", 1, "--out", folder / name)
        answer = run("train", *model, *trained)
        assert answer.code == 0, answer.err
    checkpoints = folder / "a" / "checkpoint.pt", "--x", f"to:{folder / 'b' / 'checkpoint.pt'}"
    return ("surface", *checkpoints, "--dims", 1, "--grid", 7, "--samples", 200, *model)


def computed(run, words, out, *more):
    answer = run(*words, *more, "--out", out)
    assert answer.code == 0, answer.err
    return answer.out, read_result(out)


def test_a_line_to_a_checkpoint_gives_each_point_its_own_statistics(run, words, tmp_path):
    said, line = computed(run, words, tmp_path / "line.h5")
    assert line.provenance.batchnorm == "recalibrate"
    assert "the statistics of the center" not in said
    assert "estimated at each point on 200 training examples" in said
    assert line.provenance.settings["calibration"] == 200
    for mark in line.marks:
        at = np.abs(line.x - mark.coordinates[0]).argmin()
        np.testing.assert_allclose(line.loss["train"][at], mark.loss["train"], rtol=1e-4)


def test_stored_statistics_are_named_with_both_losses(run, words, tmp_path):
    said, line = computed(run, words, tmp_path / "line.h5", "--batchnorm", "stored")
    assert line.provenance.batchnorm == "stored"
    far = line.marks[-1]
    both = (far.loss["train"], far.plane_loss["train"])
    assert "has the train loss {:.6g}, but {:.6g} where it is drawn".format(*both) in said
    assert "--batchnorm recalibrate" in said


def test_a_surface_is_continued_with_the_statistics_that_it_has(run, words, tmp_path):
    out = tmp_path / "line.h5"
    _, first = computed(run, words, out, "--batchnorm", "stored")
    _, again = computed(run, words, out, "--resume")
    np.testing.assert_array_equal(again.loss["train"], first.loss["train"])
    assert again.provenance.batchnorm == "stored"


def test_random_directions_keep_the_stored_statistics(run, words, tmp_path):
    start, checkpoint, _, _, *rest = words
    _, line = computed(run, (start, checkpoint, *rest), tmp_path / "line.h5")
    assert line.provenance.batchnorm == "stored"


def test_each_snapshot_is_printed_with_its_loss_and_the_one_where_it_is_drawn(run, words, tmp_path):
    start, checkpoint, *rest = words
    along = ("--x", f"pca:{checkpoint.parent}", *rest[2:])
    said, line = computed(run, (start, checkpoint, *along), tmp_path / "line.h5")
    for mark in line.trajectory:
        row = next(row for row in said.splitlines() if mark.label in row)
        assert f"{mark.loss['train']:.6g}" in row
        assert f"{mark.plane_loss['train']:.6g}" in row
