"""Which epoch or step each snapshot of a series is of: by what the files record, else by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from landscape.io.checkpoint import load_checkpoint

_OWN_NAME = re.compile(r"epoch-0*(\d+)\.pt")  # what `landscape train` writes needs not be read
_NAMED = {
    "epoch": re.compile(r"(?<![a-z])(?:epochs?|ep)[\W_]*(\d+)(?![^\W_]|\.\d)", re.IGNORECASE),
    "step": re.compile(
        r"(?<![a-z])(?:global[\W_]*)?(?:steps?|iter(?:ation)?s?|it)[\W_]*(\d+)(?![^\W_]|\.\d)",
        re.IGNORECASE,
    ),
}
"""Unit -> pattern of its number in a name, such as `epoch=12-step=340`."""


@dataclass(frozen=True)
class TrainingOrder:
    """Snapshots in the order of training.

    Attributes:
        paths: Their files.
        positions: Epoch, step, or number of each.
        unit: What the positions count: `epoch` or `step`; `number` for numbers in names that say
            neither, `snapshot` for the snapshots themselves, from 0.
        remark: Sentence that says where the positions are from; None for a run of our own.
    """

    paths: tuple[Path, ...]
    positions: tuple[float, ...]
    unit: str
    remark: str | None

    @property
    def labels(self) -> list[str]:
        """What a figure calls each of them."""
        if self.unit in _NAMED:
            return [f"{self.unit} {position:.12g}" for position in self.positions]
        found = [_OWN_NAME.fullmatch(path.name) for path in self.paths]
        return [
            f"epoch {each[1]}" if each else path.stem
            for each, path in zip(found, self.paths, strict=True)
        ]


def training_order(paths: Sequence[Path], state_key: str | None = None) -> TrainingOrder:
    """Sort snapshots by the epoch or the step that all files record, else by that in their names.

    What tells most of the snapshots apart is taken: steps where several are of one epoch.

    Args:
        paths: Snapshots, sorted by name.
        state_key: Which of several state dicts in each file, as for `load_checkpoint`.

    Raises:
        CheckpointError: If a file cannot be read.
    """
    own = [_OWN_NAME.fullmatch(path.name) for path in paths]
    if all(own):
        return _sorted(paths, [float(found[1]) for found in own if found], "epoch", None)
    records = [load_checkpoint(path, state_key).progress for path in paths]
    stems = [path.name.removesuffix(".tar").rpartition(".")[0] for path in paths]
    found = [*_of_records(records), *_of_names(stems)]
    if not found:
        remark = (
            "Neither the snapshots' files nor their names all say an epoch or a step: they are "
            "counted from 0, in the order of their names."
        )
        return _sorted(paths, list(range(len(paths))), "snapshot", remark)
    unit, place, positions = max(found, key=lambda each: len(set(each[2])))
    return _sorted(paths, positions, unit, f"Snapshots are placed by the {unit} in their {place}.")


def _sorted(
    paths: Sequence[Path], positions: Sequence[float], unit: str, remark: str | None
) -> TrainingOrder:
    order = sorted(range(len(paths)), key=positions.__getitem__)
    return TrainingOrder(
        tuple(paths[i] for i in order), tuple(positions[i] for i in order), unit, remark
    )


def _of_records(records: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, str, list[float]]]:
    for unit in _NAMED:
        if all(unit in record for record in records):
            yield unit, "files", [record[unit] for record in records]


def _of_names(stems: Sequence[str]) -> Iterator[tuple[str, str, list[float]]]:
    """Yield the epochs and steps in names, then each number that differs in names otherwise equal.

    Numbers with a decimal point are taken for losses and scores.
    """
    for unit, pattern in _NAMED.items():
        found = [pattern.search(stem) for stem in stems]
        if all(found):
            yield unit, "names", [float(each[1]) for each in found if each]
    parts = [re.split(r"(\d+(?:\.\d+)?)", stem) for stem in stems]
    if len({tuple(part[::2]) for part in parts}) == 1:
        for column in list(zip(*parts, strict=True))[1::2]:
            if len(set(column)) > 1 and all(map(str.isdecimal, column)):
                yield "number", "names", [float(number) for number in column]
