"""Find the snapshots of a training run in a folder, in training order, and read their weights."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from landscape.directions.plane import Landmark
from landscape.directions.trajectory import Snapshot
from landscape.errors import CheckpointError, require
from landscape.hessian.along_training import TrainingPoint
from landscape.io.checkpoint import load_checkpoint, load_weights
from landscape.io.store import read_result
from landscape.io.training_order import training_order
from landscape.problem.problem import Problem
from landscape.problem.weights import WeightSpec, trainable_parameters
from landscape.results.history import History
from landscape.runtime.progress import SILENT, Progress, reporting

_SUFFIXES = (".pt", ".pth", ".th", ".t7", ".ckpt", ".safetensors", ".pth.tar")


def find_snapshots(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoint files of `folder`/snapshots where there is one, else of `folder`.

    They are sorted by name, numbers in it by their value: `epoch-9.pt` comes before `epoch-10.pt`.

    Raises:
        CheckpointError: If it is not a folder, or holds no checkpoint file.
    """
    folder = Path(folder)
    what = "is a file" if folder.exists() else "does not exist"
    require(
        folder.is_dir(),
        f"snapshots are read from a folder, {folder} {what}.",
        hint="Name the folder of a training with `save_every=1`.",
        kind=CheckpointError,
    )
    inner = folder / "snapshots"
    place = inner if inner.is_dir() else folder
    found = [
        path
        for path in place.iterdir()
        if path.name.endswith(_SUFFIXES) and not path.name.startswith(".")
    ]
    require(
        found,
        f"{place} holds no snapshots ({', '.join(_SUFFIXES)}).",
        hint="Training with `save_every=1` keeps one per epoch.",
        kind=CheckpointError,
    )
    return sorted(found, key=_natural)


class SnapshotFiles:
    """Snapshots in files, as points of interest: read one at a time, each time anew.

    The loss of each is that with its own running statistics.

    Args:
        paths: Sorted by name; `landscape.io.training_order` says which is of which epoch.
        problems: Split name -> problem of the model that they fit.
        state_key: Which of several state dicts in each file, as for `load_checkpoint`.
        progress: Counts the points.

    Attributes:
        order: The files in the order of training.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        problems: Mapping[str, Problem],
        *,
        state_key: str | None = None,
        progress: Progress = SILENT,
    ) -> None:
        self.order = training_order(paths, state_key)
        self._state_key = state_key
        self._problems = problems
        self._progress = progress
        self._module = next(iter(problems.values())).copy_module()
        self._spec = WeightSpec.from_module(self._module)

    @property
    def snapshots(self) -> list[Snapshot]:
        """Their weights."""
        return [Snapshot(label, partial(self._read, path)) for label, path in self._labelled()]

    def training_points(self, split: str) -> list[TrainingPoint]:
        """Return the snapshots as problems of one split, each with its own running statistics.

        The learning rate is that of the epoch that ended with the snapshot, of the first one for
        the start, if the run's history is there.

        Raises:
            StoreError: If the history is damaged.
        """
        order = self.order
        rates = _learning_rates(order.paths) if order.unit == "epoch" else {}
        return [
            TrainingPoint(at, partial(self._load, path, split), rates.get(max(at, 1), np.nan))
            for at, path in zip(order.positions, order.paths, strict=True)
        ]

    def __iter__(self) -> Iterator[Landmark]:
        with reporting(self._progress, "snapshots", len(self.order.paths)):
            for number, (label, path) in enumerate(self._labelled(), start=1):
                w = self._read(path)
                loss = {split: self._problem(split).loss(w) for split in self._problems}
                yield Landmark(label, "snapshot", w, loss)
                self._progress.update(number)

    def _labelled(self) -> list[tuple[str, Path]]:
        return list(zip(self.order.labels, self.order.paths, strict=True))

    def _load(self, path: Path, split: str) -> Problem:
        w = self._read(path)
        return self._problems[split].with_buffers(list(self._module.buffers()), w)

    def _read(self, path: Path) -> Tensor:
        load_weights(self._module, load_checkpoint(path, self._state_key))
        return self._spec.flatten(
            [parameter.detach() for _, parameter in trainable_parameters(self._module)]
        )

    def _problem(self, split: str) -> Problem:
        """Return the problem of a split with the running statistics of what was read last."""
        return self._problems[split].with_buffers(list(self._module.buffers()))


def _learning_rates(paths: Sequence[Path]) -> dict[float, float]:
    """Return epoch -> learning rate from the history of the snapshots' run; empty without one."""
    folder = paths[0].parent
    file = (folder.parent if folder.name == "snapshots" else folder) / "history.h5"
    history = read_result(file) if file.exists() else None
    if not isinstance(history, History):
        return {}
    return dict(zip(history.epoch.tolist(), history.learning_rate.tolist(), strict=True))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts names with the numbers in them by value."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", path.name)
    ]
