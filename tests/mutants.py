"""Files with something wrong in them: changed in structure, or in single bytes."""

import io
import json

import h5py
import numpy as np

_VALUES = (
    None, -1, 0, 1, 2**70, 10**400, 1e400, float("nan"), -0.5, "", "x", "\x1b[31m", [], [[]], {},
    {"x": 1}, True, [None], ["x"], 1e308, "inf",
)  # fmt: skip


def changed_bytes(rng, content):
    """Flip bits, cut, double or overwrite a stretch."""
    content = bytearray(content)
    place = int(rng.integers(len(content)))
    length = int(rng.integers(1, 64))
    kind = rng.integers(5)
    if kind == 0:
        content[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del content[place:]
    elif kind == 2:
        del content[place : place + length]
    elif kind == 3:
        content[place : place + length] = rng.bytes(length)
    else:
        content[place:place] = content[place : place + length]
    return bytes(content)


def changed_value(rng, value):
    """Replace, drop or rename something in a value of JSON."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        value = dict(value)
        key = list(value)[rng.integers(len(value))]
        kind = rng.integers(5)
        if kind == 0:
            del value[key]
        elif kind == 1:
            value[f"{key}x"] = value.pop(key)
        else:
            value[key] = changed_value(rng, value[key])
        return value
    if isinstance(value, list) and value and rng.random() < 0.8:
        number = int(rng.integers(len(value)))
        kind = rng.integers(4)
        if kind == 0:
            return value[:number] + value[number + 1 :]
        if kind == 1:
            return [*value, value[number]]
        return [*value[:number], changed_value(rng, value[number]), *value[number + 1 :]]
    return _VALUES[rng.integers(len(_VALUES))]


def changed_array(rng, array):
    """Return an array of another shape or type, or with other values."""
    changes = (
        lambda: array[:-1] if array.ndim else np.array([array]),
        lambda: array[None],
        lambda: array.reshape(-1),
        lambda: array.T,
        lambda: np.empty(0, array.dtype),
        lambda: np.float64(1.5),
        lambda: np.full(array.shape, -1),
        lambda: np.full(array.shape, np.nan),
        lambda: np.full(array.shape, 1e308),
        lambda: np.full(array.shape, -np.inf),
        lambda: array.astype(np.int8),
        lambda: array.astype(bool),
        lambda: array.astype(np.float16),
        lambda: array.astype(complex),
        lambda: array.astype("S5"),
        lambda: np.concatenate([array, array]) if array.ndim else array,
        lambda: np.zeros((2, 2, 2)),
    )
    with np.errstate(all="ignore"):
        return changes[rng.integers(len(changes))]()


def changed_hdf5(rng, content):
    """Change one member or attribute of an HDF5 file that is read in memory."""
    memory = io.BytesIO(content)
    with h5py.File(memory, "r+") as file:
        names = []
        file.visit(names.append)
        holders = [file, *(file[name] for name in names)]
        places = [(file, name) for name in names]
        places += [(holder.attrs, name) for holder in holders for name in holder.attrs]
        holder, name = places[rng.integers(len(places))]
        _change_member(rng, holder, name)
    return memory.getvalue()


def _change_member(rng, holder, name):
    value = holder[name]
    kind = rng.integers(10)
    if kind == 0:
        del holder[name]
        return
    if kind == 1 and isinstance(holder, h5py.Group):
        holder.move(name, f"{name}x")
        return
    if kind == 2 and isinstance(holder, h5py.Group):
        del holder[name]
        links = (h5py.SoftLink("/"), h5py.ExternalLink("other.h5", "/"), np.array(["a", "b"], "S3"))
        holder[name] = links[rng.integers(len(links))]
        return
    if isinstance(value, h5py.Group):
        del holder[name]
        holder[name] = np.zeros(3)
        return
    if isinstance(value, h5py.Dataset):
        value = value[()]
    new = _changed(rng, value)
    del holder[name]
    holder[name] = new


def _changed(rng, value):
    if isinstance(value, bytes) and value[:1] in (b"{", b"["):
        text = json.dumps(changed_value(rng, json.loads(value)))
        return text if rng.random() < 0.9 else text[: len(text) // 2]
    if isinstance(value, np.ndarray):
        return changed_array(rng, value)
    options = (1.5, -1, 10**18, np.nan, -np.inf, "x", "", True, np.zeros(3), np.bytes_(b"\xff\xfe"))
    return options[rng.integers(len(options))]
