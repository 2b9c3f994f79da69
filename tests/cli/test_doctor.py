"""`landscape doctor` on checkpoints that were broken on purpose."""

import pytest
import torch
from cases import ROOT


@pytest.fixture(scope="module")
def healthy(run, tmp_path_factory):
    """A checkpoint of a network that was trained to its end."""
    folder = tmp_path_factory.mktemp("healthy")
    assert run("train", "--optim", "sgd", "--lr", 0.1, "--epochs", 10, "--out", folder).code == 0
    return folder / "checkpoint.pt"


@pytest.fixture
def broken(healthy, tmp_path):
    """Write the checkpoint anew, changed by a function of its content."""

    def write(change):
        content = torch.load(healthy, weights_only=True)
        change(content)
        torch.save(content, tmp_path / "broken.pt")
        return tmp_path / "broken.pt"

    return write


@pytest.fixture
def examined(run):
    """Examine a checkpoint; return exit code and check -> finding."""

    def call(path, *words):
        answer = run("doctor", path, *words, "--json")
        return answer.code, {each["check"]: each for each in answer.json["findings"]}

    return call


def test_a_healthy_checkpoint_has_no_problem(run, healthy):
    answer = run("doctor", healthy)
    assert answer.code == 0
    assert answer.out.strip().endswith("12 ok, 0 note, 0 warning, 0 problem.")


def test_json_has_the_keys_that_are_documented(run, healthy):
    found = run("doctor", healthy, "--json").json
    counts = ["ok", "note", "warning", "problem"]
    assert list(found) == ["file", "loss_function", *counts, "findings"]
    assert list(found["findings"][0]) == ["check", "severity", "message", "remedy", "values"]
    checks = "names,values,tied weights,inputs,batch normalization,filters,classes,"
    checks += "test accuracy,augmentation,label smoothing,minimum,range"
    assert [each["check"] for each in found["findings"]] == checks.split(",")
    text = (ROOT / "docs" / "conditions.md").read_text()
    assert [check for check in checks.split(",") if f"| `{check}` |" not in text] == []


def test_values_that_are_nan_end_the_examination(broken, examined):
    path = broken(lambda content: content["state_dict"]["1.weight"].__setitem__(0, torch.nan))
    code, found = examined(path)
    assert (code, list(found)) == (1, ["names", "values"])
    assert found["values"]["severity"] == "problem"


def test_dead_filters_are_a_warning_with_their_layer(broken, examined):
    def kill(content):
        content["state_dict"]["1.weight"][:3] = 0

    code, found = examined(broken(kill))
    assert found["filters"]["severity"] == "warning"
    assert "1.weight (3 of 64)" in found["filters"]["message"]
    assert code == 0


def test_missing_and_unexpected_names_are_a_problem(broken, examined):
    def rename(content):
        content["state_dict"]["other"] = content["state_dict"].pop("1.weight")

    code, found = examined(broken(rename))
    assert code == 1
    assert "1 missing: 1.weight; 1 unexpected: other" in found["loading"]["message"]
    assert found["loading"]["remedy"]


def test_a_name_twice_is_a_problem(broken, examined):
    def double(content):
        content["state_dict"]["module.1.weight"] = content["state_dict"]["1.weight"]

    code, found = examined(broken(double))
    assert code == 1
    assert "come twice, with and without module." in found["names"]["message"]


def test_another_normalization_than_that_of_training_is_found(examined, healthy):
    _, found = examined(healthy, "--data-arg", "normalization=none")
    assert found["test accuracy"]["severity"] in ("warning", "problem")
    assert "--data-arg (the normalization above all)" in found["test accuracy"]["remedy"]


def test_weights_at_random_are_no_minimum(broken, examined):
    def forget(content):
        generator = torch.Generator().manual_seed(0)
        for tensor in content["state_dict"].values():
            tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))

    code, found = examined(broken(forget))
    assert code == 1
    assert found["minimum"]["severity"] == "problem"
    assert found["test accuracy"]["severity"] == "problem"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is damaged or is no checkpoint"),
        (b"no checkpoint", "is damaged or is no checkpoint"),
    ],
)
def test_what_cannot_be_read_is_a_finding(run, tmp_path, content, message):
    path = tmp_path / "c.pt"
    if content is not None:
        path.write_bytes(content)
    answer = run("doctor", path, "--json")
    assert answer.code == 1
    (found,) = answer.json["findings"]
    assert (found["check"], found["severity"]) == ("loading", "problem")
    assert message in found["message"]


def test_a_foreign_checkpoint_without_a_model_says_what_to_pass(run, healthy, tmp_path):
    torch.save(torch.load(healthy, weights_only=True)["state_dict"], tmp_path / "bare.pt")
    answer = run("doctor", tmp_path / "bare.pt")
    assert answer.code == 1
    assert "loading: Pass --model with one of" in answer.out
    whole = run("doctor", tmp_path / "bare.pt", "--model", "mlp", "--data", "digits")
    assert whole.code == 0
    assert "is not recorded" in whole.out


def test_fewer_outputs_than_classes_are_a_problem(run, tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def model(n=4): return nn.Linear(3, n)\n"
        "def data(n=4): return (torch.rand(12, 3), torch.arange(12) % n), None\n"
    )
    words = ("--model", f"{tmp_path}/own.py:model", "--data", f"{tmp_path}/own.py:data")
    assert run("train", *words, "--epochs", 1, "--out", tmp_path / "run").code == 0
    answer = run(
        "doctor", tmp_path / "run" / "checkpoint.pt", *words, "--data-arg", "n=6", "--json"
    )
    assert answer.code == 1
    assert "model, loss and data do not fit" in answer.json["findings"][-1]["message"]
