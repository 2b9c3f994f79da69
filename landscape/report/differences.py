"""Differences between the checkpoints of a report, with intervals and verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from landscape.report.entry import Detail, Entry
from landscape.results.interval import half_width
from landscape.results.sharpness import Difference
from landscape.sharpness.comparison import differences
from landscape.sharpness.rises import standard_error

TEST_LOSS = "test_loss"


def differences_of(entries: Sequence[Entry]) -> tuple[Difference, ...]:
    """Compare each checkpoint's sharpness and test loss with the first of the same model and data.

    Args:
        entries: In order; those without sharpness are left out.
    """
    groups: dict[Any, list[tuple[str, Detail]]] = {}
    for entry in entries:
        if entry.detail is not None:
            groups.setdefault(_kind(entry.detail), []).append((entry.name, entry.detail))
    return tuple(difference for group in groups.values() for difference in _within(group))


def _kind(detail: Detail) -> tuple[Any, ...]:
    """Return what two checkpoints must share to be compared in pairs."""
    origin = detail.measured.result.provenance
    settings = tuple(str(origin.settings.get(name)) for name in ("model", "model_args", "loss"))
    return *settings, str(origin.data_hash), origin.num_parameters, detail.test_hash


def _within(group: Sequence[tuple[str, Detail]]) -> list[Difference]:
    names = [name for name, _ in group]
    found = (
        [] if len(group) < 2 else list(differences(names, [detail.measured for _, detail in group]))
    )
    tests = [_test_loss(one, group[0]) for one in group[1:] if one[1].test_losses.size > 1]
    return [*tests, *found]


def _test_loss(one: tuple[str, Detail], other: tuple[str, Detail]) -> Difference:
    """Compare the losses of the same test examples."""
    paired = one[1].test_losses - other[1].test_losses
    width = half_width(standard_error(paired))
    names = (one[0], other[0])
    key = (TEST_LOSS, math.nan)
    return Difference.around(key, names, float(paired.mean()), width, "test examples")
