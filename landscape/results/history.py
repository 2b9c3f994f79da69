"""What a training run measured, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np

from landscape.results.display import Displayed, duration
from landscape.results.interval import Number

_AT_THE_END = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
    "test_top5_error",
    "ema_test_loss",
    "ema_test_accuracy",
    "first_order_sharpness",
    "ascent_sharpness",
)
"""Columns of which an outcome has the last value."""


@dataclass(frozen=True, repr=False)
class History(Displayed):
    """One row per epoch of a training run; every array is (num_epochs,), NaN where not measured.

    Attributes:
        epoch: 1, 2, ...
        learning_rate: Learning rate at the first step of the epoch.
        train_loss: Mean of the criterion over the epoch's batches, as training saw them:
            augmented, label smoothing included, at the weights of each step.
        train_accuracy: Share of correct examples in training, likewise.
        test_loss: Plain loss on the test set at the end of the epoch.
        test_accuracy: Share of correct test examples at the end of the epoch.
        test_top1_error: 1 - test_accuracy.
        test_top5_error: Share of test examples whose class is not among the five highest outputs,
            0 where there are no more.
        first_order_sharpness: Mean over the batches of rho ||g_B|| (S003 Algorithm 1 with the
            divisor corrected to the number of batches).
        seconds: Wall time of the epoch, evaluation included.
        ascent_sharpness: L^Asc - L (S001 Table 1) at the end of the epoch, on a fixed subset of the
            training set, without augmentation.
        ema_test_loss: As `test_loss`, at the moving average of the weights.
        ema_test_accuracy: As `test_accuracy`, at the moving average of the weights.
        validation_loss: As `test_loss`, on what was held out of the training set.
        validation_accuracy: As `test_accuracy`, on what was held out of the training set.
        num_gradients: Gradients of a batch computed in the epoch, those of SAM's ascents included.
        settings: Arguments of the training.
    """

    epoch: np.ndarray
    learning_rate: np.ndarray
    train_loss: np.ndarray
    train_accuracy: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray
    test_top1_error: np.ndarray
    test_top5_error: np.ndarray
    first_order_sharpness: np.ndarray
    seconds: np.ndarray
    ascent_sharpness: np.ndarray = field(default_factory=partial(np.empty, 0))
    ema_test_loss: np.ndarray = field(default_factory=partial(np.empty, 0))
    ema_test_accuracy: np.ndarray = field(default_factory=partial(np.empty, 0))
    validation_loss: np.ndarray = field(default_factory=partial(np.empty, 0))
    validation_accuracy: np.ndarray = field(default_factory=partial(np.empty, 0))
    num_gradients: np.ndarray = field(default_factory=partial(np.empty, 0))
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, column in self.columns.items():
            if self.epoch.size and not column.size:  # a file of an earlier version lacks some
                object.__setattr__(self, name, np.full(self.epoch.shape, np.nan))

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Name of a column -> its values, (num_epochs,)."""
        return {name: each for name, each in vars(self).items() if isinstance(each, np.ndarray)}

    def summary(self) -> list[tuple[str, str]]:
        """Return where the run ended; see `Displayed`."""
        columns = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
        return [
            ("epochs", str(len(self.epoch))),
            *(
                (f"last {name.replace('_', ' ')}", Number(getattr(self, name)[-1]).text)
                for name in columns
                if self.epoch.size
            ),
            ("time", duration(float(np.nansum(self.seconds)))),
        ]

    def outcome(self) -> dict[str, float | None]:
        """Return what the run came to, by name.

        Returns:
            `epochs` done; each measurement after the last of them, NaN where it was not made;
            `num_gradients` and `seconds` of all epochs together.
        """
        num_gradients = self.num_gradients.sum()
        return {
            "epochs": int(self.epoch[-1]),
            **{name: float(getattr(self, name)[-1]) for name in _AT_THE_END},
            "num_gradients": None if np.isnan(num_gradients) else round(num_gradients),
            "seconds": float(self.seconds.sum()),
        }


COLUMNS = tuple(field.name for field in fields(History) if field.name != "settings")
"""The names of a row's entries."""


def make_history(rows: Sequence[Mapping[str, float]], settings: Mapping[str, Any]) -> History:
    """Stack rows into columns.

    Args:
        rows: One per epoch; an entry that is missing was not measured.
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


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation, which one value does not have: NaN."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
