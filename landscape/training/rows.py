"""Turning the rows of a run, one an epoch, into a History."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from landscape.results.history import History

_AT_THE_END = (
    *(
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "test_loss",
        "test_accuracy",
    ),
    *(
        "test_top5_error",
        "ema_test_loss",
        "ema_test_accuracy",
        "first_order_sharpness",
        "ascent_sharpness",
    ),
)

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
        name: np.array(
            [row.get(name, np.nan) for row in rows], dtype=np.int64 if name == "epoch" else float
        )
        for name in COLUMNS
    }
    return History(**columns, settings=dict(settings))


def outcome(history: History) -> dict[str, float | None]:
    """Return what a run came to, by name.

    Returns:
        `epochs` done; each measurement after the last of them, NaN where it was not made;
        `num_gradients` and `seconds` of all epochs together.
    """
    num_gradients = history.num_gradients.sum()
    return {
        "epochs": int(history.epoch[-1]),
        **{name: float(getattr(history, name)[-1]) for name in _AT_THE_END},
        "num_gradients": None if np.isnan(num_gradients) else round(num_gradients),
        "seconds": float(history.seconds.sum()),
    }


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation, which one value does not have: NaN."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
