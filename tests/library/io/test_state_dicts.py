"""Checkpoints in the layouts that others write, against the loss of the model itself in float64."""

from __future__ import annotations

import zipfile

import pytest
import torch
from cases import classification, seeded, tiny_mlp
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.optim.swa_utils import AveragedModel

from landscape.errors import CheckpointError, InputError
from landscape.io.checkpoint import Checkpoint, Recipe, load_checkpoint, load_weights
from landscape.io.wrapped import parametrized, unwrapped, with_shapes
from landscape.problem.problem import Problem
from landscape.problem.reading import as_data

LARGE = 400_000_000_000


def _state():
    return tiny_mlp().state_dict()


def _renamed(prefix):
    return {prefix + name: value for name, value in _state().items()}


def _loss(model):
    x, y = classification()
    return float(nn.functional.cross_entropy(model.double()(x.double()), y))


def _read(tmp_path, content, model=None, state_key=None):
    """Return the loss of a model that has other weights until the file is loaded into it."""
    torch.save(content, tmp_path / "c.pt")
    other = seeded(lambda: nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)), seed=1)
    module = model(other) if model else other
    load_weights(module, load_checkpoint(tmp_path / "c.pt", state_key))
    return Problem(unwrapped(module), classification(), dtype="float64", device="cpu").loss()


LAYOUTS = {
    "params": lambda: {"params": _state()},
    "network": lambda: {"network": _state(), "it": 4},
    "model_state": lambda: {"model_state": _state(), "rng": {"cpu": torch.get_rng_state()}},
    "model_ema": lambda: {"model_ema": _state(), "metrics": {"loss": torch.tensor(0.3)}},
    "nested": lambda: {"trainer": {"ema": _state()}, "epoch": 3},
    "backbone": lambda: {"state_dict": _renamed("backbone.")},
    "lightning": lambda: {"state_dict": _renamed("model.net.")},
    "compiled in parallel": lambda: _renamed("module._orig_mod."),
    "compiled inside": lambda: _renamed("model._orig_mod."),
    "averaged": lambda: AveragedModel(tiny_mlp()).state_dict(),
    "with an optimizer": lambda: {
        "network": _state(),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []},
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_with_one_state_dict_is_read_wherever_it_stands(tmp_path, layout):
    assert _read(tmp_path, LAYOUTS[layout]()) == pytest.approx(_loss(tiny_mlp()), rel=1e-12)


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        pytest.param(torch.compile, marks=pytest.mark.slow),
        AveragedModel,
        lambda m: nn.Sequential(m),
    ],
)
def test_a_wrapped_model_reads_the_names_of_the_bare_one(tmp_path, wrap):
    assert _read(tmp_path, _state(), model=wrap) == pytest.approx(_loss(tiny_mlp()), rel=1e-12)


def test_one_of_several_state_dicts_has_to_be_named(tmp_path):
    other = {name: 2 * value for name, value in _state().items()}
    for content, keys in (
        ({"G": _state(), "D": other}, ("G", "D")),
        ({"model": {"G": other, "D": _state()}}, ("G", "D")),
        ({"ema": {"a.b": other, "c": _state()}}, ("ema.a.b", "ema.c")),
    ):
        with pytest.raises(CheckpointError, match=rf"2 state dicts: {', '.join(keys)}") as caught:
            _read(tmp_path, content)
        assert f"state_key={keys[0]!r}" in caught.value.hint
    content = {"model": {"G": other, "D": _state()}}
    assert _read(tmp_path, content, state_key="model.D") == pytest.approx(_loss(tiny_mlp()))
    with pytest.raises(CheckpointError, match="has nothing under 'E'; it holds: G"):
        _read(tmp_path, {"G": _state()}, state_key="E")


def test_a_part_of_the_names_can_be_chosen_by_what_they_begin_with(tmp_path):
    content = {**_renamed("backbone."), "head.weight": torch.ones(2, 2)}
    with pytest.raises(CheckpointError, match=r"unexpected") as caught:
        _read(tmp_path, content)
    assert "state_key='backbone'" in caught.value.hint
    assert _read(tmp_path, content, state_key="backbone") == pytest.approx(_loss(tiny_mlp()))


def test_names_that_differ_otherwise_are_refused(tmp_path):
    state = _state()
    state["3.bias"] = state.pop("2.bias")
    with pytest.raises(CheckpointError, match=r"1 missing: 2\.bias; 1 unexpected: 3\.bias"):
        _read(tmp_path, state)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 5)
        self.head = nn.Linear(5, 4, bias=False)
        self.head.weight = self.embedding.weight


@pytest.mark.parametrize("kept", ["embedding.weight", "head.weight"])
def test_a_file_may_have_one_name_of_a_tied_tensor(kept):
    model, other = seeded(Tied, 0), seeded(Tied, 1)
    load_weights(model, Checkpoint("c.pt", {kept: other.state_dict()[kept]}, Recipe()))
    assert torch.equal(model.head.weight, other.embedding.weight)


class Counting(nn.Linear):
    """Keeps a plain value next to its tensors."""

    factor = 1

    def get_extra_state(self):
        return {"factor": self.factor}

    def set_extra_state(self, state):
        self.factor = state["factor"]

    def forward(self, x):
        return super().forward(x) * self.factor


def test_plain_values_of_modules_are_loaded(tmp_path):
    model = seeded(lambda: Counting(5, 3))
    model.factor = 3
    assert _read(tmp_path, model.state_dict(), model=lambda _: Counting(5, 3)) == pytest.approx(
        _loss(model), rel=1e-12
    )
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load_weights(
            Counting(5, 3), Checkpoint("c.pt", {**model.state_dict(), "_extra_state": 1}, Recipe())
        )


def _lazy():
    return nn.Sequential(nn.LazyLinear(7), nn.Tanh(), nn.LazyLinear(3))


def test_lazy_layers_take_their_shapes_from_the_file_or_from_data(tmp_path):
    assert _read(tmp_path, _state(), model=lambda _: _lazy()) == pytest.approx(_loss(tiny_mlp()))
    with pytest.raises(InputError, match=r"must know their shapes, 0\.weight has none"):
        Problem(_lazy(), classification(), device="cpu")
    before = torch.get_rng_state()
    ready = with_shapes(_lazy(), as_data(classification()), seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert ready.training
    assert [tuple(w.shape) for w in ready.parameters()] == [(7, 5), (7,), (3, 7), (3,)]
    again = with_shapes(_lazy(), as_data(classification()), seed=3)
    assert torch.equal(again[0].weight, ready[0].weight)


def _normed(norm):
    return nn.Sequential(norm(nn.Linear(5, 7)), nn.Tanh(), norm(nn.Linear(7, 3)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (weight_norm, parametrizations.weight_norm),
        (
            lambda layer: weight_norm(layer, dim=None),
            lambda layer: parametrizations.weight_norm(layer, dim=None),
        ),
        (spectral_norm, parametrizations.spectral_norm),
    ],
)
def test_hooks_of_normalization_are_read_and_evaluated_like_parametrizations(tmp_path, old, new):
    trained = seeded(lambda: _normed(old)).eval()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.5)
    x, y = classification()
    state = {name: value.clone() for name, value in trained.state_dict().items()}
    expected = float(nn.functional.cross_entropy(trained(x), y))
    for norm in (old, new):
        found = _read(tmp_path, state, model=lambda _, norm=norm: parametrized(_normed(norm)))
        assert found == pytest.approx(expected, rel=1e-6)
    there = parametrized(trained).eval()
    assert float(nn.functional.cross_entropy(there(x), y)) == pytest.approx(expected, rel=1e-6)
    assert _read(tmp_path, there.state_dict(), model=lambda _: _normed(new)) == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.filterwarnings("ignore")
def test_quantized_layers_are_named():
    quantized = torch.ao.quantization.quantize_dynamic(tiny_mlp(), {nn.Linear})
    state = quantized.state_dict()
    for model, where in ((quantized, r": 0 \(Linear\)"), (tiny_mlp(), r"\.")):
        with pytest.raises(CheckpointError, match=f"whole numbers without a gradient{where}"):
            load_weights(model, Checkpoint("c.pt", state, Recipe()))


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_archive_is_called_one(tmp_path):
    torch.jit.script(tiny_mlp()).save(tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="is a TorchScript archive"):
        load_checkpoint(tmp_path / "c.pt")


def _one_byte_short(path):
    torch.save(_state(), path)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, value in members.items():
            cut = value.find(b"X", len(value) // 2) + 3
            file.writestr(name, value[:cut] if name.endswith("data.pkl") else value)


def _deep(path):
    content = {}
    for _ in range(400):
        content = {"state_dict": content, "a": torch.zeros(1)}
    torch.save(content, path)


def _very_deep(path):
    depth = 20_000
    pickle = b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."
    path.write_bytes(pickle)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_one_byte_short, "is damaged or is no checkpoint"),
        (_deep, "more than 8 mappings inside each other"),
        (_very_deep, "is damaged or is no checkpoint"),
        (
            lambda path: torch.save({"a": torch.zeros(1).expand(LARGE // 4)}, path),
            rf"a would be {LARGE} bytes, the file holds 4",
        ),
    ],
)
def test_files_that_declare_more_than_they_hold_are_refused(tmp_path, write, message):
    write(tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "compile", [torch.jit.script, lambda model: torch.jit.trace(model, torch.zeros(2, 5))]
)
def test_models_of_torchscript_are_evaluated(tmp_path, compile):
    assert _read(tmp_path, _state(), model=compile) == pytest.approx(_loss(tiny_mlp()), rel=1e-12)
