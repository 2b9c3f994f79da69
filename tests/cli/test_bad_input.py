"""Every mistake is one sentence and a hint on stderr, exit code 1 (2 for usage), and nothing is lost."""

import os
import pickle
import shutil

import pytest
import torch


def _refused(answer, code=1):
    assert answer.code == code
    assert answer.out == ""
    assert "Traceback" not in answer.err
    if code == 1:
        assert answer.err.startswith("Error: ")
    return answer.err


COMMANDS = ("surface", "hessian", "sharpness")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_checkpoint(run, command):
    assert "checkpoint none.pt does not exist" in _refused(run(command, "none.pt"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("content", [b"", b"hello\n", "half"])
def test_a_broken_checkpoint(run, checkpoint, tmp_path, command, content):
    path = tmp_path / "c.pt"
    path.write_bytes(checkpoint.read_bytes()[:9000] if content == "half" else content)
    err = _refused(run(command, path))
    assert "is damaged or is no checkpoint" in err
    assert "Hint: " in err


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_malicious_checkpoint_never_executes(run, tmp_path, command):
    torch.save({"w": torch.zeros(1), "payload": _Payload(str(tmp_path / "trap"))}, tmp_path / "c.pt")
    assert "nothing in it ran" in _refused(run(command, tmp_path / "c.pt", "--model", "mlp", "--data", "digits"))
    assert not (tmp_path / "trap").exists()


def test_a_malicious_data_batch_never_executes(run, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (folder / name).write_bytes(pickle.dumps(_Payload(str(tmp_path / "trap"))))
    _refused(run("train", "--data", "cifar10", "--data-dir", tmp_path, "--model", "resnet20", "--out", tmp_path / "r"))
    assert not (tmp_path / "trap").exists()


def test_keys_that_do_not_match(run, tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "c.pt")
    err = _refused(run("surface", tmp_path / "c.pt", "--model", "mlp", "--data", "digits"))
    assert "does not fit the model" in err
    assert "2 unexpected: weight, bias" in err


def test_a_foreign_checkpoint_without_a_model(run, tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "c.pt")
    err = _refused(run("surface", tmp_path / "c.pt"))
    assert "does not say which model" in err
    assert "--model" in err


def test_a_model_that_does_not_exist(run, checkpoint):
    assert "model must be one of mlp, lenet" in _refused(run("surface", checkpoint, "--model", "resnet21"))


def test_a_model_that_raises(run, checkpoint, tmp_path):
    (tmp_path / "bad.py").write_text("def model():\n    raise RuntimeError('no')\n")
    err = _refused(run("surface", checkpoint, "--model", f"{tmp_path}/bad.py:model"))
    assert "raised RuntimeError: no" in err
    assert "bad.py:2" in err


def test_a_file_never_chooses_code(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\ndef model(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    name = f"{tmp_path}/mine.py:model"
    assert run("train", "--model", name, "--epochs", 1, "--out", tmp_path / "run").code == 0
    (tmp_path / "mine.py").write_text("raise SystemExit('ran')\n")
    err = _refused(run("hessian", tmp_path / "run" / "checkpoint.pt"))
    assert "a file never chooses code" in err
    assert f"--model {name}" in err


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: None], ids=["empty", "missing"])
def test_an_empty_data_folder_says_what_to_download_and_where_to_put_it(run, tmp_path, make):
    make(tmp_path / "data")
    err = _refused(run("train", "--data", "cifar10", "--data-dir", tmp_path / "data", "--model", "resnet20"))
    assert "cifar-10-python.tar.gz" in err
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in err
    assert "--data-dir" in err


def test_a_data_set_without_its_folder_says_so(run):
    err = _refused(run("train", "--data", "cifar10", "--model", "resnet20"))
    assert "--data-dir" in err


def test_weights_with_nan(run, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    next(iter(content["state_dict"].values()))[0] = torch.nan
    torch.save(content, tmp_path / "c.pt")
    assert "weights must be finite, 1 of 6 tensors hold NaN" in _refused(run("surface", tmp_path / "c.pt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("surface", "--grid", 1), "at least 2 points per axis, got 1"),
        (("surface", "--grid", "a"), "--grid must be N or NxM"),
        (("surface", "--grid", "3x3x3"), "3 numbers, but --dims is 2"),
        (("surface", "--range", "1:-1"), "from a smaller to a larger number, got 1:-1"),
        (("surface", "--range", "1"), "--range must be start:stop"),
        (("surface", "--split", "validation"), "split must be train, test or both"),
        (("surface", "--normalization", "weight"), "normalization must be one of"),
        (("surface", "--samples", 0), "1437"),
        (("surface", "--samples", 100000), "1437"),
        (("surface", "--model-arg", "width"), "--model-arg must be key=value"),
        (("surface", "--model-arg", "wide=3"), "wide"),
        (("surface", "--device", "tpu"), "device must be one of"),
        (("surface", "--dtype", "int8"), "dtype must be one of"),
        (("surface", "--bn", "eval"), "batchnorm must be one of"),
        (("hessian", "--top-k", 100000), "at most the number of parameters"),
        (("hessian", "--top-k", 0), "top-k must be at least 1"),
        (("hessian", "--split", "both"), "split must be train or test, got 'both'"),
        (("hessian", "--engine", "arpack"), "engine must be one of"),
        (("sharpness", "--rho", 0), "rho must be a positive number to measure sharpness, got 0"),
        (
            (
                "sharpness",
                "--rho=-0.1",
            ),
            "rho must be a positive number",
        ),
        (("sharpness", "--rho", "small"), "--rho must be numbers"),
        (("sharpness", "--measure", "max"), "measures are asc, avg, nstep, first_order"),
    ],
)
def test_arguments_out_of_range(run, checkpoint, tmp_path, arguments, message):
    command, *rest = arguments
    copy = tmp_path / "c.pt"
    shutil.copy(checkpoint, copy)
    assert message in _refused(run(command, copy, *rest))
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--optim", "lion"), "sgd, adam, adamw, sam"),
        (("--optim", "sam", "--rho", "-1"), "rho"),
        (("--epochs", 0), "epochs must be at least 1"),
        (("--batch-size", 0), "batch size must be at least 1"),
        (("--schedule", "linear"), "schedule"),
        (("--augmentation", "rotate"), "augmentation"),
        (("--label-smoothing", 1), "label smoothing must be in [0, 1)"),
        (("--lr", "-1"), "learning rate"),
        (("--lr", "1e12"), "diverged"),
    ],
)
def test_training_arguments_out_of_range(run, tmp_path, arguments, message):
    assert message in _refused(run("train", *arguments, "--out", tmp_path / "run"))


def test_training_accepts_rho_zero(run, tmp_path):
    assert run("train", "--optim", "sam", "--rho", 0, "--epochs", 1, "--out", tmp_path / "run").code == 0


@pytest.mark.parametrize("command", ["train", "surface", "hessian", "sharpness", "plot"])
def test_an_output_that_exists_is_refused_and_stays(run, checkpoint, tmp_path, command):
    out = tmp_path / "out"
    out.mkdir()
    path = {"train": out / "checkpoint.pt", "plot": out / "f.png"}.get(command, out / "r.h5")
    path.write_text("precious")
    arguments = {"train": (), "plot": (checkpoint.with_name("history.h5"),)}.get(command, (checkpoint,))
    target = out if command == "train" else path
    err = _refused(run(command, *arguments, "--out", target))
    assert "exists" in err
    assert "--force" in err
    assert path.read_text() == "precious"


def test_force_replaces_an_output(run, checkpoint, tmp_path):
    path = tmp_path / "r.h5"
    path.write_text("old")
    assert run("sharpness", checkpoint, "--measure", "asc", "--samples", 50, "--out", path, "--force").code == 0
    assert path.read_bytes()[:4] == b"\x89HDF"


def test_resuming_a_surface_with_other_options_is_refused(run, checkpoint, tmp_path):
    arguments = ("surface", checkpoint, "--grid", 3, "--samples", 50, "--out", tmp_path / "s.h5")
    assert run(*arguments).code == 0
    before = (tmp_path / "s.h5").read_bytes()
    assert "another pair of directions" in _refused(run(*arguments, "--seed", 1, "--resume"))
    assert (tmp_path / "s.h5").read_bytes() == before


def test_resuming_something_that_is_no_surface_is_refused(run, trained, tmp_path):
    shutil.copy(trained / "history.h5", tmp_path / "s.h5")
    err = _refused(run("surface", trained / "checkpoint.pt", "--samples", 50, "--out", tmp_path / "s.h5", "--resume"))
    assert "the stored result is a history, not a surface" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.h5",), "results file none.h5 does not exist"),
        (("{checkpoint}",), "is damaged or is no HDF5 file"),
        (("{history}", "--kind", "contour"), "contour"),
        (("{history}", "--out", "f.gif"), ".png"),
        (("{history}", "--label", "a", "--label", "b"), "one --label for each file"),
    ],
)
def test_what_cannot_be_drawn(run, trained, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    paths = {"checkpoint": trained / "checkpoint.pt", "history": trained / "history.h5"}
    assert message in _refused(run("plot", *(str(a).format(**paths) for a in arguments)))


def test_wrong_usage_exits_with_two(run, checkpoint):
    assert run("surface").code == 2
    assert run("surface", checkpoint, "--dims", 3).code == 2
    assert run("surfaces").code == 2
    assert run("hessian", checkpoint, "--top-k", "five").code == 2
