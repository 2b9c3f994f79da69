"""Heartbeats of the MIT-BIH arrhythmia database, read from the published CSV files or parts."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from landscape.data.normalization import Examples
from landscape.data.publications import PUBLICATIONS
from landscape.data.published_files import opened_within
from landscape.errors import DataError, require

_LENGTH = 187  # samples of one beat, at 125 Hz; a shorter beat ends in zeros
_NUM_CLASSES = 5  # normal, supraventricular, ventricular, fusion, unknown
_SEED = 0
_LONGEST_LINE = 64 * (_LENGTH + 1)  # characters; a number is written in 25


def mitbih(*, data_dir: str | None = None, balance: bool = False) -> tuple[Examples, Examples]:
    """Read heartbeats, each 187 values in [0, 1] with one of five classes.

    Of each split's files in the folder, the one with the published name is read (mitbih_train.csv,
    then mitbih_train.csv.gz); without it the only file whose name starts so; of several, the only
    one with "sample500" in its name.

    Args:
        data_dir: Folder that holds the two files.
        balance: Whether to keep only as many normal beats as the rarest other class has, drawn with
            a fixed seed, in each split. This leaves 19,660 of 109,446 examples of the published
            files; Fainello, Pettenon & Venturi, who took the last normal beats and lost one to a
            header that is not there, have 19,659.

    Returns:
        Training and test examples, inputs float32 (N, 187, 1), targets int64 (N,), in the files'
        order.

    Raises:
        DataError: If a file is missing, or a row of it is not a heartbeat.

    Source:
        Kachuee, Fazeli & Sarrafzadeh (2018), ECG Heartbeat Classification, arXiv:1805.00794;
        recordings of Moody & Mark (2001), PhysioNet, https://physionet.org/content/mitdb.
    """
    train_path, test_path = PUBLICATIONS["mitbih"].locate(data_dir)
    return _read(train_path, balance), _read(test_path, balance)


def _read(path: Path, balance: bool) -> Examples:
    rows = read_heartbeats(path)
    if balance:
        rows = rows[balanced_rows(rows[:, -1])]
    inputs, labels = torch.from_numpy(rows).split([_LENGTH, 1], dim=1)
    return inputs.unsqueeze(2).contiguous(), labels.squeeze(1).long()


def balanced_rows(labels: np.ndarray) -> np.ndarray:
    """Return ascending indices of a subset in which class 0 does not dominate.

    It has all examples of the classes above 0, and as many of class 0 as the rarest of those
    classes has.

    Classes without examples do not count; class 0 stays whole where it is no larger, or alone.

    Args:
        labels: Class numbers (N,).
    """
    normal, others = np.flatnonzero(labels == 0), np.flatnonzero(labels != 0)
    _, counts = np.unique(labels[others], return_counts=True)
    num_kept = min(len(normal), counts.min(initial=len(normal)))
    kept = np.random.default_rng(_SEED).choice(normal, num_kept, replace=False)
    return np.sort(np.concatenate([kept, others]))


def read_heartbeats(path: Path) -> np.ndarray:
    """Read rows of 187 values and a label.

    Args:
        path: A CSV file without header; gzipped if its name ends in .gz.

    Returns:
        float32 (N, 188).

    Raises:
        DataError: Naming file and row, counted from 1, if a row has another number of columns,
            holds anything but finite numbers, or its label is none of 0 to 4; or if the file is
            empty or cannot be read.
    """
    with _opened(path) as file:
        has_rows = any(map(str.strip, _lines(file)))
    require(
        has_rows,
        f"{path} must hold heartbeats, it is empty.",
        _download_again(path),
        kind=DataError,
    )
    try:
        with _opened(path) as file:
            rows = np.loadtxt(_lines(file), dtype=np.float32, delimiter=",", comments=None, ndmin=2)
    except ValueError as exc:
        raise _first_bad_row(path) from exc
    is_bad = ~np.isfinite(rows).all(axis=1) | ~np.isin(rows[:, -1], np.arange(_NUM_CLASSES))
    if rows.shape[1] != _LENGTH + 1 or is_bad.any():
        raise _first_bad_row(path)
    return rows


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file; one that is too long for a heartbeat in parts, which are wrong."""
    return iter(lambda: file.readline(_LONGEST_LINE), "")


def _first_bad_row(path: Path) -> DataError:
    """Say what is wrong with which row, reading slowly."""
    with _opened(path) as file:
        for number, line in enumerate(filter(str.strip, _lines(file)), start=1):
            complaint = _complain(line.strip().split(","))
            if complaint:
                return DataError(f"{path}, row {number}: {complaint}.", hint=_download_again(path))
    return DataError(f"{path} must hold rows of {_LENGTH + 1} numbers.", hint=_download_again(path))


def _complain(fields: list[str]) -> str:
    """Return what is wrong with a row, nothing if nothing is."""
    if len(fields) != _LENGTH + 1:
        return (
            f"a heartbeat has {_LENGTH} values and a label, {_LENGTH + 1} columns, got "
            f"{len(fields)}"
        )
    for column, field in enumerate(fields, start=1):
        try:
            value = np.float32(field)
        except ValueError:
            return f"column {column} must be a number, got {field[:20]!r}"
        if not np.isfinite(value):
            return f"column {column} must be finite, got {field[:20]}"
    label = float(fields[-1])
    return (
        "" if label in range(_NUM_CLASSES) else f"the label must be 0, 1, 2, 3 or 4, got {label:g}"
    )


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a text file, gzipped or not; bytes that are not text become replacement characters."""
    try:
        with opened_within(path) as file:
            yield io.TextIOWrapper(file, encoding="utf-8", errors="replace")
    except (OSError, EOFError, zlib.error) as exc:
        raise DataError(f"{path} cannot be read: {exc}.", hint=_download_again(path)) from exc


def _download_again(path: Path) -> str:
    return PUBLICATIONS["mitbih"].get_again(path)
