"""Turning the rows of a run, one an epoch, into a History."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from landscape.results import History

COLUMNS = tuple(field.name for field in fields(History) if field.name != "settings")
"""The names of a row's entries."""


def make_history(rows: Sequence[Mapping[str, float]], settings: Mapping[str, Any]) -> History:
    """Stack rows into columns.

    Args:
        rows: One an epoch; an entry that is missing was not measured.
        settings: How it was trained.

    Returns:
        The history, `epoch` as integers and everything else in float64.
    """
    columns = {
        name: np.array([row.get(name, np.nan) for row in rows], dtype=np.int64 if name == "epoch" else float)
        for name in COLUMNS
    }
    return History(**columns, settings=dict(settings))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation, which one value does not have: NaN."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
