"""Every mistake is one sentence and a hint on stderr, exit code 1 (2 for usage), and nothing is
lost."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def _refused(answer, code=1):
    assert answer.code == code
    assert answer.out == ""
    assert "Traceback" not in answer.err
    if code == 1:
        assert "\nError: " in "\n" + answer.err
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


@pytest.mark.parametrize("command", [*COMMANDS, "compare"])
def test_results_in_place_of_a_checkpoint(run, trained, tmp_path, command):
    path = trained / "history.h5"
    err = _refused(
        run(command, path, *(["--out", tmp_path / "report"] if command == "compare" else []))
    )
    assert "history.h5 holds results, or other HDF5, and no weights." in err
    assert f"landscape info {path} says which one results are of." in err.replace("\n", " ")


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_malicious_checkpoint_never_executes(run, tmp_path, command):
    torch.save(
        {"w": torch.zeros(1), "payload": _Payload(str(tmp_path / "trap"))}, tmp_path / "c.pt"
    )
    assert "nothing in it ran" in _refused(
        run(command, tmp_path / "c.pt", "--model", "mlp", "--data", "digits")
    )
    assert not (tmp_path / "trap").exists()


def test_a_malicious_data_batch_never_executes(run, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ):
        (folder / name).write_bytes(pickle.dumps(_Payload(str(tmp_path / "trap"))))
    _refused(
        run(
            "train",
            "--data",
            "cifar10",
            "--data-dir",
            tmp_path,
            "--model",
            "resnet20",
            "--out",
            tmp_path / "r",
        )
    )
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


def test_a_model_that_does_not_exist(run, checkpoint, tmp_path):
    words = ("surface", checkpoint, "--out", tmp_path / "s.h5", "--model", "resnet21")
    assert "model must be one of mlp, lenet" in _refused(run(*words))


def test_a_model_that_raises(run, checkpoint, tmp_path):
    (tmp_path / "bad.py").write_text("def model():\n    raise RuntimeError('no')\n")
    err = _refused(
        run(
            "surface", checkpoint, "--out", tmp_path / "s.h5", "--model", f"{tmp_path}/bad.py:model"
        )
    )
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


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: None], ids=["empty", "missing"]
)
def test_an_empty_data_folder_says_what_to_download_and_where_to_put_it(run, tmp_path, make):
    make(tmp_path / "data")
    err = _refused(
        run("train", "--data", "cifar10", "--data-dir", tmp_path / "data", "--model", "resnet20")
    )
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
    assert "weights must be finite, 1 of 6 tensors hold NaN" in _refused(
        run("surface", tmp_path / "c.pt")
    )


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
        (("surface", "--batchnorm", "eval"), "batchnorm must be one of"),
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
        (("sharpness", "--rho", "0.01:0.5:1000000000"), "radii must be at most 1000"),
        (("surface", "--dims", 1, "--repeats", 10**9), "--repeats must be at most 1000"),
        (("surface", "--points-per-pass", 10**30), "--points-per-pass must be at most 10000"),
        (("surface", "--grid", 10000), "grid points must be at most 10000000, got 100000000"),
        (("hessian", "--density", "--num-probes", 10**9), "--num-probes must be at most 10000"),
        (("sharpness", "--measures", "median"), "measures are asc, avg, max, nstep, first_order"),
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
    assert (
        run("train", "--optim", "sam", "--rho", 0, "--epochs", 1, "--out", tmp_path / "run").code
        == 0
    )


@pytest.mark.parametrize("command", ["train", "surface", "hessian", "sharpness", "plot"])
def test_an_output_that_exists_is_refused_and_stays(run, checkpoint, tmp_path, command):
    out = tmp_path / "out"
    out.mkdir()
    path = {"train": out / "checkpoint.pt", "plot": out / "f.png"}.get(command, out / "r.h5")
    path.write_text("precious")
    arguments = {"train": (), "plot": (checkpoint.with_name("history.h5"),)}.get(
        command, (checkpoint,)
    )
    target = out if command == "train" else path
    err = _refused(run(command, *arguments, "--out", target))
    assert "exists" in err
    assert "--force" in err
    assert path.read_text() == "precious"


def test_force_replaces_an_output(run, checkpoint, tmp_path):
    path = tmp_path / "r.h5"
    path.write_text("old")
    assert (
        run(
            "sharpness", checkpoint, "--measures", "asc", "--samples", 50, "--out", path, "--force"
        ).code
        == 0
    )
    assert path.read_bytes()[:4] == b"\x89HDF"


def test_resuming_a_surface_with_other_options_is_refused(run, checkpoint, tmp_path):
    arguments = ("surface", checkpoint, "--grid", 3, "--samples", 50, "--out", tmp_path / "s.h5")
    assert run(*arguments).code == 0
    before = (tmp_path / "s.h5").read_bytes()
    assert "another seed: 0 in the file, 1 now" in _refused(
        run(*arguments, "--seed", 1, "--resume")
    )
    assert (tmp_path / "s.h5").read_bytes() == before


def test_resuming_something_that_is_no_surface_is_refused(run, trained, tmp_path):
    shutil.copy(trained / "history.h5", tmp_path / "s.h5")
    err = _refused(
        run(
            "surface",
            trained / "checkpoint.pt",
            "--samples",
            50,
            "--out",
            tmp_path / "s.h5",
            "--resume",
        )
    )
    assert "the stored result is a history, not a surface" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.h5",), "results file none.h5 does not exist"),
        (("{checkpoint}",), "is damaged or is no HDF5 file"),
        (("{history}", "--kind", "contour"), "contour"),
        (("{history}", "--out", "f.gif"), ".png"),
        (("{history}", "--labels", "a", "--labels", "b"), "one --labels for each file"),
        (("{history}", "--levels", "many"), "--levels must be a number of lines or values"),
        (("{history}", "--levels", "7"), "chosen for figures of planes"),
        (("{history}", "--levels", "7", "--out", "f.html"), "not of an interactive page"),
        (("{history}", "--scale", "logarithmic"), "--scale must be one of linear, log, excess"),
        (("{history}", "--clip", "max"), "--clip must be a number or auto"),
        (("{history}", "--colormap", "virids"), "Nearest: viridis"),
        (("{history}", "--view", "high"), "--view must be two numbers of degrees with a colon"),
        (("{history}", "--view", "99:0"), "--view must be an elevation from 10 to 70"),
        (("{history}", "--zscale", "cubic"), "--zscale must be one of linear, log, excess"),
    ],
)
def test_what_cannot_be_drawn(run, trained, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    paths = {"checkpoint": trained / "checkpoint.pt", "history": trained / "history.h5"}
    words = () if "--out" in arguments else ("--out", "figure.png")
    assert message in _refused(run("plot", *(str(a).format(**paths) for a in arguments), *words))


@pytest.mark.parametrize(
    "arguments",
    [
        ("surface", "{checkpoint}", "--out", "{checkpoint}"),
        ("surface", "{checkpoint}", "--out", "a.h5", "--save-directions", "a.h5"),
        ("surface", "{checkpoint}", "--out", "a.h5", "--save-directions", "{checkpoint}"),
        ("surface", "{checkpoint}", "--x", "to:{snapshot}", "--out", "{snapshot}"),
        ("surface", "{checkpoint}", "--x", "eigen:1:{history}", "--out", "{history}"),
        ("surface", "{checkpoint}", "--x", "pca:.", "--out", "{snapshot}"),
        ("surface", "{checkpoint}", "--model", "{history}:model", "--out", "{history}"),
        ("hessian", "{checkpoint}", "--out", "{checkpoint}"),
        ("hessian", ".", "--out", "{snapshot}"),
        ("hessian", ".", "--out", "{history}"),
        ("sharpness", "{checkpoint}", "--out", "{checkpoint}"),
        ("sharpness", "{checkpoint}", "--hessian", "{history}", "--out", "{history}"),
        ("convert", "{history}", "--to", "csv", "--out", "{history}"),
    ],
)
def test_a_file_that_a_command_uses_is_not_replaced_even_by_force(
    run, trained, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    names = {
        "checkpoint": "checkpoint.pt",
        "history": "history.h5",
        "snapshot": "snapshots/epoch-0001.pt",
    }
    for name in names.values():
        shutil.copy(trained / name, tmp_path)
    words = [
        argument.format(**{key: Path(name).name for key, name in names.items()})
        for argument in arguments
    ]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "is another file of this command" in _refused(run(*words, "--force"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("surface", "{checkpoint}", "--x", "to:none.pt"),
        ("hessian", "none.pt"),
        ("plot", "{history}", "--kind", "contour"),
        ("convert", "{history}", "--to", "vtk"),
    ],
)
def test_a_refused_command_leaves_no_folder_behind(run, trained, tmp_path, arguments):
    paths = {"checkpoint": trained / "checkpoint.pt", "history": trained / "history.h5"}
    suffix = ".png" if arguments[0] == "plot" else ".h5"
    _refused(
        run(
            *(word.format(**paths) for word in arguments),
            "--out",
            tmp_path / "new" / "folder" / f"a{suffix}",
        )
    )
    assert not list(tmp_path.iterdir())


def test_wrong_usage_exits_with_two(run, checkpoint):
    assert run("surface").code == 2
    assert run("surface", checkpoint, "--dims", 3).code == 2
    assert run("surfaces").code == 2
    assert run("hessian", checkpoint, "--top-k", "five").code == 2
    assert run("surface", checkpoint, "--seed", 2**70).code == 2


PLUGIN = """
import torch
from torch import nn
print("imported")
SHIFT = 0
def model(act="relu"):
    print("built")
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 6), ACT[act](), nn.Linear(6, 3))
ACT = {"relu": nn.ReLU, "tanh": nn.Tanh}
def data():
    x = torch.arange(48.0).view(12, 4) / 48 + SHIFT
    whole = torch.utils.data.TensorDataset(x, torch.arange(12) % 3)
    return torch.utils.data.random_split(whole, [8, 4])
def detached(o, t): return o.detach().sum()
"""


@pytest.fixture
def own(run, tmp_path):
    """A user's file, the words that name it, and the folder of a run of two epochs."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    words = ("--model", f"{tmp_path}/mine.py:model", "--data", f"{tmp_path}/mine.py:data")
    assert (
        run("train", *words, "--epochs", 2, "--batch-size", 4, "--out", tmp_path / "run").code == 0
    )
    return tmp_path, words


def test_what_the_users_code_prints_goes_to_stderr(run, own):
    folder, words = own
    answer = run("sharpness", folder / "run" / "checkpoint.pt", *words, "--json")
    assert answer.json["loss"] > 0
    assert "built" in answer.err


def test_a_training_is_not_continued_on_other_data(run, own):
    folder, words = own
    (folder / "mine.py").write_text(PLUGIN.replace("SHIFT = 0", "SHIFT = 1"))
    answer = run(
        "train", *words, "--epochs", 2, "--batch-size", 4, "--out", folder / "run", "--resume"
    )
    assert "was trained with train-data" in _refused(answer)


def test_a_random_split_is_the_same_every_time(run, own):
    folder, words = own
    arguments = ("train", *words, "--epochs", 2, "--batch-size", 4, "--out", folder / "again")
    assert run(*arguments).code == 0
    first, again = (
        torch.load(folder / name / "checkpoint.pt")["state_dict"] for name in ("run", "again")
    )
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize("change", [("--model-arg", "act=tanh"), ("--loss", "{mine}:loss")])
def test_a_surface_is_not_continued_with_another_model_or_loss(run, own, change):
    folder, words = own
    with (folder / "mine.py").open("a") as file:
        file.write("\ndef loss(o, t): return o.square().mean()\n")
    arguments = (
        "surface",
        folder / "run" / "checkpoint.pt",
        *words,
        "--grid",
        2,
        "--out",
        folder / "s.h5",
    )
    assert run(*arguments).code == 0
    changed = (word.format(mine=folder / "mine.py") for word in change)
    assert "the stored surface has another" in _refused(run(*arguments, *changed, "--resume"))


@pytest.mark.parametrize("command", ["hessian", "sharpness", "surface"])
@pytest.mark.parametrize("out", ["{checkpoint}/x.h5", "{folder}"])
def test_an_output_that_cannot_be_written_is_found_before_the_work(
    run, checkpoint, tmp_path, command, out
):
    answer = run(command, checkpoint, "--out", out.format(checkpoint=checkpoint, folder=tmp_path))
    assert "output" in _refused(answer)


def test_force_and_resume_exclude_each_other(run, checkpoint):
    assert "exclude each other" in _refused(run("surface", checkpoint, "--force", "--resume"))


def test_force_leaves_no_snapshots_of_the_run_that_it_replaces(run, tmp_path):
    arguments = ("train", "--save-every", 1, "--model-arg", "width=4", "--out", tmp_path)
    assert run(*arguments, "--epochs", 3).code == 0
    assert run(*arguments, "--epochs", 1, "--force").code == 0
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == [
        "epoch-0000.pt",
        "epoch-0001.pt",
    ]


def test_a_mistake_with_force_leaves_the_earlier_run_whole(run, tmp_path):
    assert run("train", "--save-every", 1, "--epochs", 1, "--out", tmp_path).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    _refused(run("train", "--save-every", 1, "--schedule", "linear", "--out", tmp_path, "--force"))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model", "resnet20"),
        ("--model-arg", "in_features=3"),
        ("--loss", "mse"),
        ("--model-arg", "width=99999999999"),
        ("--seed", 2**32 - 1, "--loss", "torch:no_such_loss"),
    ],
)
def test_models_data_and_losses_that_do_not_fit_in_training(run, tmp_path, arguments):
    _refused(run("train", *arguments, "--epochs", 1, "--out", tmp_path / "run"))


def test_a_loss_without_a_gradient_in_training(run, own):
    folder, words = own
    answer = run("train", *words, "--loss", f"{folder}/mine.py:detached", "--out", folder / "other")
    assert "does not depend on the weights" in _refused(answer)


@pytest.mark.parametrize("command", ["surface", "plot"])
def test_a_folder_in_place_of_a_file(run, command):
    _refused(run(command, "."))


def test_a_name_too_long_for_the_file_system(run, checkpoint):
    assert "name too long" in _refused(run("surface", checkpoint, "--out", "x" * 300)).lower()


def test_a_message_is_printed_as_it_is(run, checkpoint, tmp_path):
    words = ("surface", checkpoint, "--out", tmp_path / "s.h5", "--model", "nomod:x")
    assert "nomod:x: there is no module nomod" in _refused(run(*words))


def test_a_label_is_no_mathematics(run, trained, tmp_path):
    out = tmp_path / "f.png"
    assert (
        run(
            "plot",
            trained / "history.h5",
            "--labels",
            r"$\frac{$",
            "--title",
            "$x^{$",
            "--out",
            out,
        ).code
        == 0
    )


def test_a_documented_value_that_reads_none_is_a_string(run, tmp_path):
    answer = run(
        "train", "--data-arg", "normalization=none", "--epochs", 1, "--out", tmp_path / "run"
    )
    assert answer.code == 0, answer.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("sharpness", None, "--measures", "asc", "--json"), ("--help",), ("--version",)]
)
def test_a_full_device_is_one_sentence(checkpoint, words):
    words = [str(checkpoint) if word is None else word for word in words]
    command = [sys.executable, "-m", "landscape_cli", *words]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
