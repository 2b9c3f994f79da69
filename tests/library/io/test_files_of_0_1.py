"""Files that version 0.1.0 wrote, read by today's code and compared with what h5py finds in
them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.io.checkpoint import load_checkpoint
from landscape.io.layouts import read_any
from landscape.io.store import RESULT_KINDS, read_result

FOLDER = Path(__file__).resolve().parents[2] / "written_by_0_1"
FILES = sorted(path for path in FOLDER.glob("*.h5") if path.name != "li2018.h5")


def _fields(result, prefix=""):
    """Yield the path in the file and the value of everything that a result holds."""
    if isinstance(result, dict):
        items = result.items()
    elif isinstance(result, tuple):
        items = enumerate(result)
    else:
        items = vars(result).items()
    for name, value in items:
        yield f"{prefix}{name}", value
        if hasattr(value, "__dataclass_fields__") or isinstance(value, dict | tuple):
            yield from _fields(value, f"{prefix}{name}/")


def _stored(path):
    """Return path -> value of all attributes and datasets of a file, JSON decoded."""
    found = {}

    def visit(name, node):
        found.update({f"{name}/{key}".lstrip("/"): value for key, value in node.attrs.items()})
        if isinstance(node, h5py.Dataset):
            value = node[()]
            found[name] = json.loads(value) if isinstance(value, bytes) else value

    with h5py.File(path) as file:
        visit("", file)
        file.visititems(visit)
    return {
        name: value for name, value in found.items() if name not in ("format", "schema", "kind")
    }


def _same(stored, read):
    if isinstance(stored, np.ndarray):
        return np.array_equal(stored, np.asarray(read), equal_nan=stored.dtype.kind == "f")
    if isinstance(stored, dict):
        read = read if isinstance(read, dict) else vars(read)
        return all(_same(value, read[name]) for name, value in stored.items())
    if isinstance(stored, list):
        return len(stored) == len(read) and all(map(_same, stored, read))
    return stored == read or (stored != stored and read != read)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_number_of_an_old_file_is_read(path):
    read = dict(_fields(read_result(path)))
    stored = _stored(path)
    assert stored
    for name, value in stored.items():
        assert name in read, f"{name} of {path.name} was not read"
        assert _same(value, read[name]), (
            f"{name} of {path.name}: {value} in the file, {read[name]} read"
        )


def test_a_file_of_each_kind_is_kept():
    assert {type(read_result(path)) for path in FILES} == set(RESULT_KINDS.values())


def test_an_old_li2018_file_is_read():
    surface, _ = read_any(FOLDER / "li2018.h5")
    original = read_result(FOLDER / "surface.h5")
    for split, loss in original.loss.items():
        np.testing.assert_array_equal(surface.loss[split], loss)


def test_an_old_checkpoint_is_read():
    checkpoint = load_checkpoint(FOLDER / "a.pt")
    assert checkpoint.recipe.model == "mlp"
    assert checkpoint.recipe.model_args["width"] == 4
