"""Built-in losses and one's own through the commands: their values, and their names everywhere."""

import re

import pytest
import torch
from reference import dense_hessian, loss_of_vector
from torch import nn

from landscape.runtime.random_state import forked_random_state

CODE = """
import torch
from torch import nn

def net(outputs=3):
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, outputs))

def drawn(outputs, kind):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(36, 4, generator=g)
    y = torch.randn(36, outputs, generator=g)
    y = {"answers": (y > 0).long(), "numbers": y}[kind]
    return (x[:24], y[:24]), (x[24:], y[24:])

def labels():
    return drawn(3, "answers")

def single():
    return drawn(1, "answers")

def numbers():
    return drawn(3, "numbers")

def own(outputs, targets):
    return (outputs - targets).abs().pow(3).mean()
"""


def _of_answers(outputs, answers):
    p = outputs.sigmoid()
    return -(answers * p.log() + (1 - answers) * (1 - p).log()).mean()


def _of_numbers(outputs, numbers):
    return ((outputs - numbers) ** 2).mean()


def _own(outputs, numbers):
    return ((outputs - numbers).abs() ** 3).mean()


CASES = {
    "labels": ("bce", 3, _of_answers),
    "single": ("bce", 1, _of_answers),
    "numbers": ("mse", 3, _of_numbers),
    "own": ("mine.py:own", 3, _own),
}


class Case:
    """A checkpoint, the options that open it, and its loss on the training set in float64."""

    def __init__(self, name, folder):
        code = {}
        exec(CODE, code)
        self.loss, outputs, self.reference = CASES[name]
        data = "numbers" if name == "own" else name
        torch.manual_seed(3)
        model = code["net"](outputs)
        torch.save(model.state_dict(), folder / "a.pt")
        (folder / "mine.py").write_text(CODE)
        self.model = model.double()
        (x, y), _ = code[data]()
        self.inputs, self.targets = x.double(), y.double()
        self.options = ["--model", "mine.py:net", "--model-arg", f"outputs={outputs}"]
        self.options += ["--data", f"mine.py:{data}", "--loss", self.loss]

    def value(self):
        with torch.no_grad():
            return self.reference(self.model(self.inputs), self.targets).item()

    def hessian(self):
        return dense_hessian(self.model, self.inputs, self.targets, self.reference)

    def ascended(self, rho):
        loss, w = loss_of_vector(self.model, self.inputs, self.targets, self.reference)
        gradient = torch.func.grad(loss)(w)
        return (loss(w + rho * gradient / gradient.norm()) - loss(w)).item()


@pytest.fixture(params=CASES)
def case(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Case(request.param, tmp_path)


def test_every_command_measures_and_names_the_loss(run, case):
    exactly = [*case.options, "--dtype", "float64", "--batch-size", 7]
    surface = run("surface", "a.pt", *exactly, "--grid", 3, "--dims", 1, "--json").json
    assert surface["center_loss"] == pytest.approx(case.value(), rel=1e-12)
    hessian = run("hessian", "a.pt", *exactly, "--top-k", 2, "--json").json
    top = torch.linalg.eigvalsh(case.hessian()).flip(0)[:2]
    assert hessian["eigenvalues"] == pytest.approx(top.tolist(), rel=1e-4)
    arguments = ("--rho", "0.1", "--measures", "asc", "--json")
    sharpness = run("sharpness", "a.pt", *exactly, *arguments).json
    (measure,) = sharpness["measures"]
    assert measure["sharpness"] == pytest.approx(case.ascended(0.1), rel=1e-9)
    assert {each["loss_function"] for each in (surface, hessian, sharpness)} == {case.loss}


@pytest.mark.slow
def test_every_check_names_the_loss(run, case):
    arguments = ("--measures", "max", "--max-gradients", 8, "--certify", "c.h5")
    measured = run("sharpness", "a.pt", *case.options, *arguments)
    assert measured.code == 0, measured.err
    found = run("assert", "a.pt", "loss < 1e9", *case.options, "--json").json
    assert (found["loss_function"], found["passed"]) == (case.loss, True)
    assert f"The loss is {case.loss}." in run("assert", "a.pt", "loss < 1e9", *case.options).err
    assert run("verify", "c.h5", "a.pt", *case.options, "--json").json["loss_function"] == case.loss
    assert run("doctor", "a.pt", *case.options, "--json").json["loss_function"] == case.loss
    assert f"The loss is {case.loss}." in run("doctor", "a.pt", *case.options).out


def test_training_takes_the_loss_and_its_checkpoint_says_so(run, case):
    arguments = ("--epochs", 1, "--batch-size", 24, "--optim", "sgd", "--lr", 0.1, "--out", "run")
    answer = run("train", *case.options, *arguments, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["loss_function"] == case.loss
    # One batch of all examples is measured before the only step.
    code = {}
    exec(CODE, code)
    with forked_random_state(seed=0):
        model = code["net"](case.targets.shape[1]).double()
    with torch.no_grad():
        expected = case.reference(model(case.inputs), case.targets).item()
    assert answer.json["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert run("info", "run/checkpoint.pt", "--json").json["recipe"]["loss"] == case.loss
    first, *_ = run("info", "run/checkpoint.pt").out.splitlines()
    assert first == f"run/checkpoint.pt: checkpoint, loss {case.loss}"


@pytest.mark.parametrize("case", ["numbers", "own"], indirect=True)
def test_titles_files_and_reports_name_the_loss(run, case, tmp_path):
    named = f", loss {re.escape(case.loss)}"
    torch.save(Case("numbers", tmp_path).model.float().state_dict(), "b.pt")
    for words, title in (
        (["surface", "a.pt", "--grid", 3, "--dims", 1, "--out", "s.h5"], "parameters"),
        (["hessian", "a.pt", "--top-k", 1, "--out", "h.h5"], "train examples"),
        (["hessian", "a.pt", "--top-k", 1, "--curvature", "ggn"], "train examples"),
        (["sharpness", "a.pt", "--rho", "0.1", "--out", "r.h5"], "float32"),
        (["sharpness", "a.pt", "b.pt", "--rho", "0.1"], "At the weights"),
    ):
        answer = run(*words, *case.options)
        assert re.search(f"{title}{named}", answer.out), answer.out
    certified = ("--measures", "max", "--rho", "0.1", "--certify", "c.h5")
    run("sharpness", "a.pt", *case.options, *certified)
    assert f", loss {case.loss}.\n" in run("verify", "c.h5", "a.pt", *case.options).out
    for file in ("s.h5", "h.h5", "r.h5"):
        assert run("info", file).out.splitlines()[0].endswith(f", loss {case.loss}")
        assert run("info", file, "--json").json["provenance"]["loss_function"] == case.loss


def test_training_and_its_snapshots_name_the_loss(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = Case("numbers", tmp_path)
    words = ("--epochs", 1, "--save-every", 1, "--out", "run")
    assert "Training, loss mse\n" in run("train", *case.options, *words).out
    code = [word for word in case.options if word not in ("--loss", "mse")]
    along = run("hessian", "run", *code, "--top-k", 1, "--curvature", "ggn").out
    assert "Extreme Gauss-Newton eigenvalues along run, train examples, loss mse\n" in along


def test_what_was_begun_with_another_loss_is_not_continued(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = Case("numbers", tmp_path)
    other = [*case.options[:-1], "mine.py:own"]
    for words, out in (
        (["surface", "a.pt", "--grid", 3, "--dims", 1, "--minutes", "1e-9"], "s.h5"),
        (["hessian", "a.pt", "--top-k", 2], "h.h5"),
        (["hessian", "a.pt", "--top-k", 2, "--max-matvecs", 6], "k.h5"),
        (["train", "--epochs", 1], "run"),
    ):
        assert "Error" not in run(*words, *case.options, "--out", out).err
        refused = run(*words, *other, "--out", out, "--resume")
        assert refused.code == 1
        assert "loss" in refused.err
        assert "mse" in refused.err


@pytest.mark.slow
def test_a_report_is_of_the_loss_and_names_it(run, case, tmp_path):
    words = ("--quick", "--samples", 24, "--grid", 3, "--out", "out", "--json")
    answer = run("compare", "a.pt", *case.options, *words)
    (found,) = answer.json["checkpoints"]
    assert found["loss_function"] == case.loss
    value = found["quantities"]["train_loss"]["value"]
    assert value == pytest.approx(case.value(), rel=1e-5)
    assert f"float32, loss {case.loss}." in (tmp_path / "out" / "index.html").read_text()


IGNORED = """
import torch
from torch import nn

def net():
    return nn.Linear(4, 3)

def data():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 4, generator=g), torch.randint(3, (40,), generator=g)
    y[16:24] = -100  # the third batch
    return (x, y), None

def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)
"""


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """Options of a loss that is no number in its third batch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(IGNORED)
    torch.save(nn.Linear(4, 3).state_dict(), "a.pt")
    own = ("--model", "mine.py:net", "--data", "mine.py:data", "--loss", "mine.py:loss")
    return "a.pt", *own, "--batch-size", 8


def test_a_surface_of_no_numbers_says_so(run, nothing):
    answer = run("surface", *nothing, "--grid", 3)
    assert answer.code == 0
    said = "The train loss is no finite number at 9 of 9 points, the center among them."
    assert said in answer.out


@pytest.mark.parametrize("command", ["sharpness", "hessian"])
def test_a_loss_that_is_no_number_is_refused_naming_the_batch(run, nothing, command):
    answer = run(command, *nothing)
    assert answer.code == 1
    assert "in batch 3 of 5" in answer.err
    assert "Hint: " in answer.err
