"""Read and write checkpoints: the only place that calls torch.load and torch.save.

A checkpoint never runs code: only tensors and plain values are read.
"""

from __future__ import annotations

import copy
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from landscape.errors import CheckpointError, StoreError, first_line, listed, require
from landscape.io.checkpoint_checks import (
    READ_ERRORS,
    check_bytes,
    check_tensors,
    damaged_checkpoint,
)
from landscape.io.schema import Misfit, build_record
from landscape.io.state_dicts import (
    find_state_dict,
    fitting_prefix,
    missing_keys,
    recorded_progress,
    under_names_of,
    unexpected_keys,
)
from landscape.problem.structures import tensors_in
from landscape.runtime.files import is_hdf5, unfailing, writing
from landscape.runtime.seal import seal

_FORMAT = "landscape-checkpoint"
_VERSION = 1
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


@dataclass(frozen=True)
class Recipe:
    """What it takes to rebuild the problem that a checkpoint was trained on.

    Attributes:
        model: Built-in name or import string.
        model_args: Its keyword arguments.
        data: Built-in name or import string.
        data_args: Its keyword arguments, the data folder apart.
        data_dir: The data folder, absolute; None if the data need none.
        loss: Built-in name or import string.
        label_noise: Share of the training examples that have a wrong label on purpose.
        label_noise_seed: Which examples, and which labels.
        validation: Share of the published training examples that was held out of training; None for
            none.
        validation_seed: Which examples; None for 0.
    """

    model: str | None = None
    model_args: dict[str, Any] = field(default_factory=dict)
    data: str | None = None
    data_args: dict[str, Any] = field(default_factory=dict)
    data_dir: str | None = None
    loss: str | None = None
    label_noise: float = 0.0
    label_noise_seed: int = 0
    validation: float | None = None
    validation_seed: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        path: The file.
        state_dict: Name -> tensor, as in the file.
        recipe: What was recorded of model and data; all None in a foreign file.
        training: What training needs to resume; None in a foreign file.
        progress: `epoch` and `step` -> how far training had come, as far as the file records it.
    """

    path: Path
    state_dict: dict[str, Any]
    recipe: Recipe
    training: dict[str, Any] | None = None
    progress: dict[str, float] = field(default_factory=dict)


def save_checkpoint(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, Any],
    recipe: Recipe,
    training: Mapping[str, Any],
) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        CheckpointError: If it cannot be written; an older file of that name stays.
    """
    path = Path(path)
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "state_dict": dict(state_dict),
        "recipe": asdict(recipe),
        "training": dict(training),
    }
    try:
        with writing(path) as beside:
            with unfailing(beside) as file:
                torch.save(content, cast("Any", file))
            seal(beside)
    except StoreError as exc:
        raise CheckpointError(exc.message, exc.hint) from exc


def load_checkpoint(path: str | os.PathLike[str], state_key: str | None = None) -> Checkpoint:
    """Read a checkpoint of ours or of anybody: `torch.save` or safetensors.

    Args:
        path: The file.
        state_key: Which of several state dicts in a file of others, as for `find_state_dict`.

    Raises:
        CheckpointError: If the file is missing, damaged, no checkpoint, holds several state dicts
            of which none is named, or holds anything but tensors and plain values; nothing in it is
            run in any case.
    """
    path = Path(path)
    require(
        not path.is_dir(),
        f"checkpoint {path} is a folder.",
        hint="Name the file in it, such as checkpoint.pt.",
        kind=CheckpointError,
    )
    require(
        path.exists(),
        f"checkpoint {path} does not exist.",
        hint="Check its name and folder.",
        kind=CheckpointError,
    )
    check_bytes(path)
    content: Any = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    check_tensors(path, content)
    if isinstance(content, Mapping) and content.get("format") == _FORMAT:
        return _read_ours(path, content)
    state = find_state_dict(path, content, state_key)
    return Checkpoint(path, state, Recipe(), progress=recorded_progress(content))


def _read_ours(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    version = content.get("version")
    require(
        not isinstance(version, int) or version <= _VERSION,
        f"{path} was written by a newer version of the toolkit (format {version}).",
        hint="Update landscape-toolkit.",
        kind=CheckpointError,
    )
    for name, kind in (("state_dict", dict), ("recipe", dict), ("training", dict | None)):
        require(
            isinstance(content.get(name), kind),
            f"{path} is damaged: {name} is missing or no record.",
            kind=CheckpointError,
        )
    training = content.get("training")
    try:
        recipe = build_record(Recipe, content["recipe"])
        if training is not None:
            _check_training(training)
    except Misfit as exc:
        raise CheckpointError(f"{path} is damaged: {exc}.") from exc
    state = dict(content["state_dict"])
    return Checkpoint(path, state, recipe, training, recorded_progress(content))


def _check_training(training: Mapping[str, Any]) -> None:
    """Raise a Misfit unless it is a run's settings and state, or the epoch of a snapshot."""
    settings, state = training.get("settings", {}), training.get("state", {})
    is_record = isinstance(settings, dict) and isinstance(state, dict)
    rows = state.get("rows", []) if is_record else None
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and all(type(value) in (int, float) for value in row.values())
        for row in rows
    ):
        raise Misfit("training must have settings, and rows of numbers")


def load_weights(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint into `module`, every tensor of it.

    Names may differ as `landscape.io.state_dicts.under_names_of` says. A tensor that has several
    names in the model needs one of them.

    Raises:
        CheckpointError: If keys or shapes do not match, the first five of each kind named, or a
            tensor is of a kind that the model's is not.
    """
    want = module.state_dict()
    have = under_names_of(want, checkpoint.state_dict)
    _require_floating(module, checkpoint)
    shared = [key for key in want if key in have and not is_lazy(want[key])]
    shapes = [
        f"{key} ({_shape(have[key])} in the file, {_shape(want[key])} in the model)"
        for key in shared
        if _shape(have[key]) != _shape(want[key])
    ]
    unfit = {
        "missing": missing_keys(want, have),
        "unexpected": unexpected_keys(want, have),
        "of another shape": [] if shapes and _takes(module, have) else shapes,
    }
    counts = [f"{len(names)} {kind}: {listed(names)}" for kind, names in unfit.items() if names]
    prefix = fitting_prefix(want, checkpoint.state_dict) if unfit["missing"] else None
    require(
        not counts,
        f"{checkpoint.path} does not fit the model: {'; '.join(counts)}.",
        hint=f"Pass `state_key={prefix!r}`." if prefix else "Check `model` and `model_arg`.",
        kind=CheckpointError,
    )
    odd = [key for key in shared if _is_complex(have[key]) and not _is_complex(want[key])]
    if odd:
        raise CheckpointError(
            f"{checkpoint.path} holds complex tensors where the model has real ones: {odd[0]}."
        )
    try:
        module.load_state_dict(have, strict=False)
    except Exception as exc:  # sparse or meta tensors, or a module's own set_extra_state
        raise CheckpointError(
            f"{checkpoint.path} does not fit the model: {first_line(exc)}."
        ) from exc


def _takes(module: nn.Module, state: Mapping[str, Any]) -> bool:
    """Whether a module loads tensors of other shapes, as some do by functions of their own.

    Of several numbers, torch would take the first for a single one.
    """
    own = module.state_dict()
    if any(_shape(own.get(key)) == () and _shape(state[key]) not in ((), (1,)) for key in state):
        return False
    try:
        copy.deepcopy(module).load_state_dict(state, strict=False)
    except Exception:  # the module's own functions
        return False
    return True


def _require_floating(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Raise CheckpointError if the weights of the model or of the file are quantized."""
    layers = [
        f"{name} ({type(layer).__name__})"
        for name, layer in module.named_modules()
        if type(layer).__module__.startswith(_QUANTIZED)
    ]
    tensors = tensors_in(checkpoint.state_dict)
    require(
        not layers and not any(tensor.is_quantized for tensor in tensors),
        f"{checkpoint.path} is for quantized layers, whose weights are whole numbers without a "
        f"gradient{': ' if layers else ''}{listed(layers)}.",
        hint="Use the model and the checkpoint from before the quantization.",
        kind=CheckpointError,
    )


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_numpy_scalars()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd file is an error below or no matter
            return torch.load(path, map_location="cpu", weights_only=True)
    except READ_ERRORS as exc:
        found = re.search(r"(?:GLOBAL|global|function|class) ([\w.]+)", str(exc))
        if isinstance(exc, pickle.UnpicklingError) and found and "nsupported" in str(exc):
            raise CheckpointError(
                f"{path} holds objects other than tensors ({found.group(1)}); it was refused, and "
                "nothing in it ran.",
                hint="If you trust its source, save the weights alone: "
                "torch.save(model.state_dict(), path).",
            ) from exc
        if "TorchScript" in str(exc):
            raise CheckpointError(
                f"{path} is a TorchScript archive, which holds a program; it was refused, and "
                "nothing in it ran.",
                hint="If you trust its source, save the weights alone: "
                "torch.save(torch.jit.load(path).state_dict(), other_path).",
            ) from exc
        if isinstance(exc, pickle.UnpicklingError) and is_hdf5(path):
            raise CheckpointError(
                f"{path} holds results, or other HDF5, and no weights.",
                hint=f"Name a checkpoint; landscape info {path} says which one results are of.",
            ) from exc
        raise damaged_checkpoint(path, exc) from exc


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as exc:
        raise CheckpointError(
            f"{path} is damaged or is no safetensors file: {first_line(exc)}",
            hint="Copy or download the file again.",
        ) from exc


def _numpy_scalars() -> list[Any]:
    """List what a NumPy scalar in somebody's metadata pickles as, under old and new names."""
    scalar = np.float64(0).__reduce__()[0]
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")),
    ]


def strip_prefixes(state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return the same tensors, without the `PREFIXES` that all names have."""
    for prefix in PREFIXES:
        if state_dict and all(key.startswith(prefix) for key in state_dict):
            return strip_prefixes(
                {key.removeprefix(prefix): value for key, value in state_dict.items()}
            )
    return state_dict


def _is_complex(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_complex()


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None
