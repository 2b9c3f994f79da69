"""What `landscape train` prints: a line per epoch, and what the runs came to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from landscape.results.display import duration
from landscape.results.headlines import history_headline
from landscape.results.history import History, mean_and_deviation

from .. import console


def epoch_in_words(rows: Sequence[Mapping[str, float]], num_epochs: int) -> str:
    """Return what the last epoch measured, how long it took, and how long the rest may take."""
    row, left = rows[-1], num_epochs - len(rows)
    words = [
        f"train loss {console.number(row['train_loss'], 4)}",
        *(f"test loss {console.number(row[name], 4)}" for name in ("test_loss",) if name in row),
        f"{'test' if 'test_accuracy' in row else 'train'} accuracy "
        f"{console.percent(row.get('test_accuracy', row['train_accuracy']))}",
        duration(row["seconds"]),
    ]
    rest = f"; about {duration(left * row['seconds'])} left" if left else ""
    return f"Epoch {len(rows)} of {num_epochs}: {', '.join(words)}{rest}"


def show_run(history: History, path: Path, title: str, num_samples: int | None) -> None:
    """Print what a run came to, and how to look at it."""
    console.answer(history_headline([history]))
    held_out = {"validation accuracy": console.percent(history.validation_accuracy[-1])}
    # It is 0 in every epoch of up to five classes, and NaN without a test set.
    has_few_classes = not (history.test_top5_error > 0).any()
    shown = {
        "epochs": str(int(history.epoch[-1])),
        "train loss": console.number(history.train_loss[-1], 4),
        "train accuracy": console.percent(history.train_accuracy[-1]),
        **({} if math.isnan(history.validation_loss[-1]) else held_out),
        "test loss": console.number(history.test_loss[-1], 4),
        "test accuracy": console.percent(history.test_accuracy[-1]),
        **(
            {} if has_few_classes else {"top-5 error": console.percent(history.test_top5_error[-1])}
        ),
        "time": duration(history.seconds.sum()),
    }
    console.answer_table(f"Training, {title}", list(shown), [list(shown.values())])
    samples = "" if num_samples is None else f" --samples {num_samples}"
    console.answer(f"Saved to {path}. To look at it: landscape surface {path}{samples}")


def over_seeds(histories: Sequence[History]) -> dict[str, dict[str, float]]:
    """Return mean, sample standard deviation and count of each quantity that the table shows."""
    found = {}
    for name in ("test_loss", "test_accuracy"):
        mean, deviation = mean_and_deviation([getattr(history, name)[-1] for history in histories])
        found[name] = {"mean": mean, "deviation": deviation, "count": len(histories)}
    return found
