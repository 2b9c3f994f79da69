"""Whether conditions hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from landscape.conditions.condition import Condition
from landscape.conditions.quantities import Known, Quantity
from landscape.results.interval import Interval

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
VERDICTS = (HOLDS, FAILS, UNDECIDED)


@dataclass(frozen=True)
class Judgement:
    """What a condition came to.

    Attributes:
        condition: Its text.
        verdict: `holds` or `fails` whatever the values between their ends are, or `undecided`.
        operands: What was compared.
        quantities: What is known of the quantities that it names.
    """

    condition: str
    verdict: str
    operands: tuple[Interval, ...]
    quantities: Mapping[Quantity, Known]

    def passes(self, *, lenient: bool = False) -> bool:
        """Whether it holds; undecided passes where that is lenient."""
        return self.verdict == HOLDS or (lenient and self.verdict == UNDECIDED)


def judge(condition: Condition, known: Mapping[Quantity, Known]) -> Judgement:
    """Compare what a condition names.

    A chain holds if every comparison does, and fails if one fails. A comparison with NaN fails.

    Args:
        condition: What is to hold.
        known: All that it names.
    """
    intervals = {quantity: known[quantity].interval for quantity in condition.quantities}
    operands = tuple(operand(intervals) for operand in condition.operands)
    pairs = zip(operands, condition.comparisons, operands[1:], strict=False)
    verdicts = {_compare(left, comparison, right) for left, comparison, right in pairs}
    verdict = next(each for each in (FAILS, UNDECIDED, HOLDS) if each in verdicts)
    return Judgement(
        condition.text, verdict, operands, {each: known[each] for each in condition.quantities}
    )


def _compare(left: Interval, comparison: str, right: Interval) -> str:
    if math.isnan(left.value) or math.isnan(right.value):
        return FAILS
    small, large = (left, right) if comparison[0] == "<" else (right, left)
    may_be_equal = comparison.endswith("=")
    if small.high < large.low or (may_be_equal and small.high == large.low):
        return HOLDS
    if small.low > large.high or (not may_be_equal and small.low == large.high):
        return FAILS
    return UNDECIDED
