"""State dicts of anybody: where they stand in a file, and which of a model's names is which."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.parameter import is_lazy

from landscape.errors import CheckpointError, listed, require

NESTING_KEYS = ("state_dict", "model_state_dict", "model", "net", "weights")
"""Keys that a state dict stands under before all others."""

_MOST_NESTED = 8  # mappings around a state dict
_SEARCHED = 2  # mappings deep, of unknown keys
_MOST_COUNTED = 2**53  # what a float counts exactly
_EXTRA_STATE = "_extra_state"  # what torch appends to a module's name for its plain values
_COUNTERS = ("num_batches_tracked", "n_averaged")
"""Count batches or averages in training; files of other versions or wrappers lack them."""

_PROGRESS = {
    "epoch": ("epoch", "current_epoch", "cur_epoch"),
    "step": ("global_step", "step", "iteration", "iter", "iter_num", "it"),
}
"""Unit -> keys under which training loops record how far they had come."""

_RECORDS = ("meta", "training", "state", "trainer_state", "trainer", "info")
"""Keys of mappings that hold such records."""

_WRAPPERS = {
    "module",  # DataParallel, DistributedDataParallel, AveragedModel
    "_orig_mod",  # torch.compile
    "_forward_module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
}
_PARAMETRIZED = {
    "original0": "g",
    "original1": "v",
    "original": "orig",
    "0._u": "u",
    "0._v": "v",
}
"""What a parametrization of weight or spectral normalization calls a tensor -> what a hook does."""

_PARAMETRIZATION = re.compile(
    rf"parametrizations\.(\w+)\.({'|'.join(map(re.escape, _PARAMETRIZED))})$"
)


def find_state_dict(path: Path, content: Any, state_key: str | None = None) -> dict[str, Any]:
    """Find a state dict in what a file holds: bare, or nested under keys.

    Args:
        path: The file, for the message.
        content: What it holds.
        state_key: Keys that lead to it, joined by dots, or what its names begin with; None for the
            only one, or the one under `NESTING_KEYS`.

    Raises:
        CheckpointError: If there is none, or several and none was named.
    """
    if state_key is not None:
        return _named_state_dict(path, content, state_key)
    for _ in range(_MOST_NESTED):
        key = next((key for key in NESTING_KEYS if isinstance(_get(content, key), Mapping)), None)
        if key is None:
            break
        content = content[key]
    else:
        raise CheckpointError(
            f"{path} holds more than {_MOST_NESTED} mappings inside each other.",
            hint="Save the state dict alone: torch.save(model.state_dict(), path).",
        )
    if _is_state_dict(content):
        return dict(content)
    found = _nested(content, _SEARCHED)
    require(
        len(found) <= 1,
        f"{path} holds {len(found)} state dicts: {listed(list(found))}.",
        hint=f"Pass `state_key={next(iter(found), '')!r}`.",
        kind=CheckpointError,
    )
    for state in found.values():
        return dict(state)
    raise CheckpointError(
        f"{path} holds no state dict; it holds: {_contents(content)}.",
        hint=f"A state dict may stand bare or under one of {', '.join(NESTING_KEYS)}, or under a "
        "key that you name, such as `state_key='G'`.",
    )


def _named_state_dict(path: Path, content: Any, state_key: str) -> dict[str, Any]:
    found = _at(content, state_key)
    if found is not None:
        return find_state_dict(path, found)
    state, start = find_state_dict(path, content), f"{state_key.removesuffix('.')}."
    part = {key.removeprefix(start): state[key] for key in state if key.startswith(start)}
    require(
        part,
        f"{path} has nothing under {state_key!r}; it holds: {_contents(content)}.",
        hint="Name a key of the file, or what the names of the tensors begin with.",
        kind=CheckpointError,
    )
    return part


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, Mapping) else None


def _at(content: Any, state_key: str) -> Any:
    """Follow keys that are joined by dots and may have dots themselves."""
    if _get(content, state_key) is not None:
        return content[state_key]
    first, dot, rest = state_key.partition(".")
    return _at(_get(content, first), rest) if dot else None


def _is_state_dict(value: Any) -> bool:
    """Whether a mapping has tensors for values, and no state dict but a module's plain values."""
    return (
        isinstance(value, Mapping)
        and all(isinstance(key, str) for key in value)
        and any(isinstance(each, Tensor) for each in value.values())
        and not any(
            _has_weights(each) for key, each in value.items() if not key.endswith(_EXTRA_STATE)
        )
    )


def _has_weights(value: Any) -> bool:
    """Whether a mapping holds a tensor that is not a single number or a generator's state."""
    return isinstance(value, Mapping) and any(
        isinstance(each, Tensor)
        and each.ndim
        and (each.is_floating_point() or each.is_complex() or each.is_quantized)
        for each in value.values()
    )


def _nested(content: Any, depth: int) -> dict[str, Mapping[str, Any]]:
    """Return the state dicts inside a mapping by their keys, joined by dots."""
    found: dict[str, Mapping[str, Any]] = {}
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(key, str) and isinstance(value, Mapping):
            if _is_state_dict(value) and _has_weights(value):
                found[key] = value
            elif depth:
                inner = _nested(value, depth - 1)
                found |= {f"{key}.{name}": state for name, state in inner.items()}
    return found


def _contents(content: Any) -> str:
    if isinstance(content, Mapping):
        return listed(list(map(str, content))) or "nothing"
    if isinstance(content, list | tuple) and any(isinstance(each, Tensor) for each in content):
        return f"{len(content)} tensors without names"
    return type(content).__name__


def recorded_progress(content: Any) -> dict[str, float]:
    """Return the epoch and the step that a checkpoint records of itself, by unit."""
    records = [content, *_records_in(content)]
    records += [inner for record in records[1:] for inner in _records_in(record)]
    counts = {
        unit: [_counted(_get(record, key)) for record in records for key in keys]
        for unit, keys in _PROGRESS.items()
    }
    found = {unit: [each for each in some if each is not None] for unit, some in counts.items()}
    return {unit: some[0] for unit, some in found.items() if some}


def _records_in(content: Any) -> list[Any]:
    return [_get(content, key) for key in _RECORDS]


def _counted(value: Any) -> float | None:
    """Return a count as a number: a plain number or one in a tensor or an array."""
    if isinstance(value, Tensor | np.generic) and value.ndim == 0:
        value = value.item()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < _MOST_COUNTED else None


def under_names_of(want: Mapping[str, Any], have: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a file under a model's names.

    Names may differ by a prefix that all of one side share, by what wrappers of modules add, and by
    how weight and spectral normalization call their tensors. Tensors that have no counterpart keep
    their names.

    Args:
        want: State dict of the model.
        have: State dict of the file.
    """
    pairs = (
        (ours, theirs)
        for i, ours in enumerate(_shortened(want))
        for j, theirs in enumerate(_shortened(have))
        if min(i, j) < _UNSTRIPPED
    )
    ours, theirs = min(pairs, key=lambda pair: len(pair[0].keys() ^ pair[1].keys()))
    return {ours.get(short, name): have[name] for short, name in theirs.items()}


_UNSTRIPPED = 2  # forms of the names, before a prefix is taken off


def _shortened(names: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield short name -> name: as they are, without wrappers, and without shared prefixes."""
    yield {name: name for name in names}
    short = {_without_wrappers(name): name for name in names}
    while len(short) == len(names):
        yield short
        heads = {name.partition(".")[::2] for name in short if not name.endswith(_COUNTERS[1])}
        if len({head for head, _ in heads}) != 1 or not all(rest for _, rest in heads):
            return
        short = {
            name if name.endswith(_COUNTERS[1]) else name.partition(".")[2]: full
            for name, full in short.items()
        }


def _without_wrappers(name: str) -> str:
    plain = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
    return _PARAMETRIZATION.sub(lambda m: f"{m[1]}_{_PARAMETRIZED[m[2]]}", plain)


def missing_keys(want: Mapping[str, Any], have: Mapping[str, Any]) -> list[str]:
    """List the model's tensors that a file lacks, counters and aliases of others left out."""
    there = {_place(want[name]) for name in want if name in have} - {None}
    return [
        name
        for name, value in want.items()
        if name not in have and not name.endswith(_COUNTERS) and _place(value) not in there
    ]


def unexpected_keys(want: Mapping[str, Any], have: Mapping[str, Any]) -> list[str]:
    """List the tensors of a file that the model lacks, the count of averaged models left out."""
    return [name for name in have if name not in want and not name.endswith(_COUNTERS[1])]


def fitting_prefix(want: Mapping[str, Any], have: Mapping[str, Any]) -> str | None:
    """Return what the names of those tensors begin with that alone are the model's, if any."""
    parts = [name.split(".") for name in have]
    prefixes = {".".join(part[:i]) for part in parts for i in range(1, len(part))}
    for prefix in sorted(prefixes, key=len):
        start = f"{prefix}."
        state = {name.removeprefix(start): have[name] for name in have if name.startswith(start)}
        found = under_names_of(want, state)
        if not missing_keys(want, found) and not unexpected_keys(want, found):
            return prefix
    return None


def _place(value: Any) -> tuple[Any, ...] | None:
    """Return where a tensor is; None for an empty one and for what is not a tensor yet."""
    if not isinstance(value, Tensor) or is_lazy(value) or not value.numel():
        return None
    return value.data_ptr(), value.shape, value.stride()
