import os
import pickle

import numpy as np
import pytest
import torch
from cases import tiny_cnn, tiny_mlp
from safetensors.torch import save_file

from landscape.errors import CheckpointError
from landscape.io.checkpoint import (
    Checkpoint,
    Recipe,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)


def _same(found, expected):
    return found.keys() == expected.keys() and all(
        torch.equal(found[key], expected[key]) for key in expected
    )


@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_state_dicts_are_loaded_bare_or_nested_with_or_without_wrappers_prefixes(
    tmp_path, key, prefix
):
    expected = tiny_mlp().state_dict()
    wrapped = {prefix + name: value + 1 for name, value in expected.items()}
    torch.save(wrapped if key is None else {"epoch": 3, key: wrapped}, tmp_path / "c.pt")
    model = tiny_mlp()
    load_weights(model, load_checkpoint(tmp_path / "c.pt"))
    assert _same(model.state_dict(), {name: value + 1 for name, value in expected.items()})


def test_a_prefix_that_is_the_models_own_stays(tmp_path):
    model = torch.nn.Module()
    model.module = tiny_mlp()
    torch.save(model.state_dict(), tmp_path / "c.pt")
    load_weights(model, load_checkpoint(tmp_path / "c.pt"))


def test_tensors_beside_a_nested_state_dict_do_no_harm(tmp_path):
    expected = tiny_mlp().state_dict()
    torch.save(
        {"epoch": 3, "best_acc1": torch.tensor(77.0), "state_dict": expected, "optimizer": {}},
        tmp_path / "c.pt",
    )
    assert _same(load_checkpoint(tmp_path / "c.pt").state_dict, expected)


@pytest.mark.parametrize(
    "content", [{0: torch.zeros(1)}, {"format": "landscape-checkpoint", "version": "x"}]
)
def test_odd_layouts_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "c.pt")


def test_complex_weights_are_refused():
    state = tiny_mlp().state_dict()
    state["0.bias"] = state["0.bias"].to(torch.complex64)
    with pytest.raises(
        CheckpointError, match=r"complex tensors where the model has real ones: 0\.bias"
    ):
        load_weights(tiny_mlp(), _checkpoint(state))


def test_safetensors_are_read(tmp_path):
    expected = tiny_mlp().state_dict()
    save_file(expected, tmp_path / "c.safetensors")
    assert _same(load_checkpoint(tmp_path / "c.safetensors").state_dict, expected)


def test_numpy_scalars_in_the_metadata_do_no_harm(tmp_path):
    metadata = {
        "acc": np.float64(0.9),
        "loss": np.float32(0.1),
        "epoch": np.int64(7),
        "best": np.bool_(True),
    }
    torch.save({"state_dict": tiny_mlp().state_dict(), **metadata}, tmp_path / "c.pt")
    assert _same(load_checkpoint(tmp_path / "c.pt").state_dict, tiny_mlp().state_dict())


def test_the_old_file_format_is_read(tmp_path):
    torch.save(tiny_mlp().state_dict(), tmp_path / "c.th", _use_new_zipfile_serialization=False)
    assert _same(load_checkpoint(tmp_path / "c.th").state_dict, tiny_mlp().state_dict())


def test_ours_comes_back_with_recipe_and_training_state(tmp_path):
    recipe = Recipe(model="mlp", model_args={"width": 8}, data="digits", loss="cross-entropy")
    state = tiny_mlp().state_dict()
    save_checkpoint(tmp_path / "c.pt", state, recipe, {"epoch": 3, "rows": [{"loss": 0.5}]})
    found = load_checkpoint(tmp_path / "c.pt")
    assert _same(found.state_dict, state)
    assert found.recipe == recipe
    assert found.training == {"epoch": 3, "rows": [{"loss": 0.5}]}


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    "write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
@pytest.mark.parametrize("suffix", [".pt", ".pkl"])
def test_a_pickle_with_a_payload_is_refused_and_never_runs(tmp_path, write, suffix):
    trap = tmp_path / "trap"
    path = tmp_path / f"c{suffix}"
    write({"state_dict": {"w": torch.zeros(1)}, "extra": _Payload(str(trap))}, path)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not trap.exists()


def test_the_payload_of_the_test_above_is_real(tmp_path):
    trap = tmp_path / "trap"
    pickle.loads(pickle.dumps(_Payload(str(trap))))
    assert trap.exists()


def test_a_pickled_model_is_refused_with_the_remedy(tmp_path):
    torch.save(tiny_mlp(), tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="holds objects other than tensors") as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert "torch.save(model.state_dict(), path)" in caught.value.hint


def _truncated(path):
    torch.save(tiny_cnn().state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "break_file",
    [
        _truncated,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("not a checkpoint\n"),
        lambda path: path.write_bytes(os.urandom(1000)),
        lambda path: path.write_bytes(b"PK\x03\x04" + b"\0" * 100),
        lambda path: path.write_bytes(pickle.dumps({"a": 1})[:-3]),
    ],
    ids=["truncated", "empty", "text", "noise", "zip header", "half a pickle"],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_broken_file_is_one_sentence_and_a_hint(tmp_path, break_file, suffix):
    path = tmp_path / f"c{suffix}"
    break_file(path)
    with pytest.raises(CheckpointError, match=r"c\.\w+ is damaged or is no") as caught:
        load_checkpoint(path)
    assert caught.value.hint


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pt does not exist"):
        load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], torch.zeros(3)])
def test_a_file_without_a_state_dict_says_what_it_holds(tmp_path, content):
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="holds no state dict; it holds"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_newer_format_is_refused(tmp_path):
    torch.save(
        {"format": "landscape-checkpoint", "version": 99, "state_dict": {"w": torch.ones(1)}},
        tmp_path / "c.pt",
    )
    with pytest.raises(CheckpointError, match="newer version"):
        load_checkpoint(tmp_path / "c.pt")


def _checkpoint(state_dict, path="c.pt"):
    return Checkpoint(path, state_dict, Recipe())


def test_weights_are_loaded():
    model, other = tiny_mlp(), tiny_mlp()
    with torch.no_grad():
        other[0].weight.add_(1)
    load_weights(model, _checkpoint(other.state_dict()))
    assert torch.equal(model[0].weight, other[0].weight)


def test_missing_batch_counters_are_no_mismatch():
    model = tiny_cnn()
    state = {key: value for key, value in model.state_dict().items() if "num_batches" not in key}
    load_weights(model, _checkpoint(state))


def test_keys_and_shapes_that_do_not_match_are_named():
    state = tiny_mlp().state_dict()
    state["extra"] = state.pop("0.bias")
    state["2.weight"] = torch.zeros(3, 8)
    expected = (
        r"1 missing: 0\.bias; 1 unexpected: extra; "
        r"1 of another shape: 2\.weight \(\(3, 8\) in the file, \(3, 7\) in the model\)"
    )
    with pytest.raises(CheckpointError, match=expected):
        load_weights(tiny_mlp(), _checkpoint(state))


class _Stretching(torch.nn.Module):
    """Positions (n, 5) that loading interpolates, as vision transformers do."""

    def __init__(self, count):
        super().__init__()
        self.positions = torch.nn.Parameter(torch.arange(5.0 * count).view(count, 5))

    def _load_from_state_dict(self, state, prefix, *args):
        given = state[f"{prefix}positions"]
        size = len(self.positions)
        stretched = torch.nn.functional.interpolate(given.T[None], size=size, mode="linear")
        super()._load_from_state_dict({f"{prefix}positions": stretched[0].T}, prefix, *args)


def test_a_module_may_load_other_shapes_by_a_function_of_its_own():
    module, file = _Stretching(4), _Stretching(2)
    load_weights(module, Checkpoint("x.pt", file.state_dict(), Recipe()))
    first, last = torch.arange(5.0), torch.arange(5.0, 10.0)
    expected = torch.stack([first, 0.75 * first + 0.25 * last, 0.25 * first + 0.75 * last, last])
    assert torch.equal(module.positions, expected)


def test_one_of_several_numbers_is_no_number():
    class Scale(torch.nn.Module):
        def __init__(self, start):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(start))

    module = Scale(1.0)
    load_weights(module, Checkpoint("x.pt", Scale([2.0]).state_dict(), Recipe()))
    assert module.scale.item() == 2
    with pytest.raises(CheckpointError, match=r"scale \(\(2,\) in the file, \(\) in the model"):
        load_weights(module, Checkpoint("x.pt", Scale([3.0, 4.0]).state_dict(), Recipe()))


def test_no_prefix_is_proposed_where_the_names_fit_without():
    state = {f"net.{name}": value for name, value in tiny_mlp().state_dict().items()}
    module = torch.nn.ModuleDict({"net": tiny_mlp()})
    with pytest.raises(CheckpointError, match="1 unexpected: other") as caught:
        load_weights(module, Checkpoint("x.pt", {**state, "other": torch.ones(2)}, Recipe()))
    assert "state_key" not in caught.value.hint


def test_only_the_first_five_are_named():
    state = {f"layer{i}": torch.zeros(1) for i in range(9)}
    with pytest.raises(
        CheckpointError, match=r"9 unexpected: layer0, layer1, layer2, layer3, layer4 and 4 more"
    ):
        load_weights(tiny_mlp(), _checkpoint(state))


def test_a_mismatch_leaves_the_model_as_it_was():
    model = tiny_mlp()
    before = model[0].weight.clone()
    with pytest.raises(CheckpointError):
        load_weights(model, _checkpoint({"0.weight": torch.zeros(7, 5)}))
    assert torch.equal(model[0].weight, before)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"w": torch.ones(1)}, Recipe(), {})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"cannot be written.*No space left"):
        save_checkpoint(path, {"w": torch.zeros(1)}, Recipe(), {})
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["c.pt"]


def test_a_file_may_be_named_by_a_string(tmp_path):
    expected = tiny_mlp().state_dict()
    save_checkpoint(f"{tmp_path}/c.pt", expected, Recipe(), {})
    assert _same(load_checkpoint(f"{tmp_path}/c.pt").state_dict, expected)
