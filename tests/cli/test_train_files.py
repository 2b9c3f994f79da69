"""The files of a run agree with its checkpoint wherever it was killed."""

import dataclasses

import landscape_cli.train.run as train_run
import numpy as np
import pytest
import torch

from landscape import read_result
from landscape.io.checkpoint import load_checkpoint

WORDS = ("train", "--model-arg", "width=4", "--epochs", 2, "--ema", 0.9, "--save-every", 1)
NUM_WRITES = (
    9  # the snapshot of the start; after each epoch a snapshot, the history and two checkpoints
)


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert run(*WORDS, "--out", folder).code == 0
    return folder


@pytest.fixture
def kill_before(monkeypatch):
    """Let a run end before its n-th write, and the next one run free."""

    def kill(number, run, *words):
        numbers = iter(range(1, number + 1))

        def counted(write):
            def write_or_die(*args):
                if next(numbers) == number:
                    raise Killed
                write(*args)

            return write_or_die

        with monkeypatch.context() as patched:
            patched.setattr(train_run, "save_checkpoint", counted(train_run.save_checkpoint))
            patched.setattr(train_run, "write_result", counted(train_run.write_result))
            with pytest.raises(Killed):
                run(*words)

    return kill


def assert_same_files(first, second):
    names = [
        sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
        for folder in (first, second)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        if name.suffix == ".pt":
            one, other = (load_checkpoint(folder / name) for folder in (first, second))
            assert all(
                torch.equal(one.state_dict[key], other.state_dict[key]) for key in one.state_dict
            ), name
    one, other = (read_result(folder / "history.h5") for folder in (first, second))
    for field in dataclasses.fields(one):
        if field.name not in ("seconds", "settings"):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.parametrize("number", range(1, NUM_WRITES + 1))
def test_a_run_killed_before_any_write_and_resumed_leaves_the_files_of_a_whole_one(
    run, whole, tmp_path, kill_before, number
):
    kill_before(number, run, *WORDS, "--out", tmp_path)
    assert run(*WORDS, "--out", tmp_path, "--resume").code == 0
    assert_same_files(tmp_path, whole)


@pytest.mark.parametrize("number", range(1, 6))
def test_a_run_killed_while_it_replaces_another_and_resumed_leaves_nothing_of_that(
    run, whole, tmp_path, kill_before, number
):
    assert run(*WORDS, "--out", tmp_path).code == 0
    (tmp_path / "history.h5").write_bytes(b"of the other run")
    kill_before(number, run, *WORDS, "--out", tmp_path, "--force")
    assert run(*WORDS, "--out", tmp_path, "--resume").code == 0
    assert_same_files(tmp_path, whole)
