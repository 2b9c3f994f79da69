"""Find the snapshots of a training run in a folder, in the order of training, and read their weights."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from landscape.errors import CheckpointError
from landscape.io.checkpoint import load_checkpoint, load_weights
from landscape.trajectory import Snapshot
from landscape.weights import WeightSpec, trainable_parameters

_SUFFIXES = (".pt", ".pth", ".th", ".t7", ".ckpt", ".safetensors")


def find_snapshots(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoint files of `folder`/snapshots where there is one, else of `folder`.

    They are sorted by name, numbers in it by their value: `epoch-9.pt` comes before `epoch-10.pt`.

    Raises:
        CheckpointError: If it is no folder, or holds no checkpoint file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise CheckpointError(f"snapshots are read from a folder, {folder} {what}.")
    inner = folder / "snapshots"
    place = inner if inner.is_dir() else folder
    found = [path for path in place.iterdir() if path.suffix in _SUFFIXES and not path.name.startswith(".")]
    if not found:
        raise CheckpointError(
            f"{place} holds no snapshots ({', '.join(_SUFFIXES)}).",
            hint="landscape train --save-every 1 keeps one an epoch.",
        )
    return sorted(found, key=_natural)


def read_snapshots(paths: Sequence[Path], module: nn.Module) -> list[Snapshot]:
    """Return the snapshots in the files, which are read when they are needed.

    Args:
        paths: In the order of training.
        module: A model that they fit; each that is read is loaded into it.
    """
    spec = WeightSpec.from_module(module)
    return [Snapshot(_label(path), lambda path=path: _read(path, module, spec)) for path in paths]


def _read(path: Path, module: nn.Module, spec: WeightSpec) -> Tensor:
    load_weights(module, load_checkpoint(path))
    return spec.flatten([parameter.detach() for _, parameter in trainable_parameters(module)])


def _label(path: Path) -> str:
    epoch = re.fullmatch(r"epoch\D?0*(\d+)", path.stem)
    return f"epoch {epoch[1]}" if epoch else path.stem


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts names with the numbers in them by value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
