"""Whether two engines found the same eigenvalues, as far as their certified intervals tell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from landscape.errors import require
from landscape.results.spectrum import Extremes

_WIDE = 0.1
"""Share of a value beyond which an interval says too little to confirm another value."""


@dataclass(frozen=True)
class Comparison:
    """One eigenvalue as each of two engines has it.

    Attributes:
        ours: The value; None where only they have it.
        theirs: The value; None where only we have it.
        allowed: How far the two may be apart, r + r' + rounding; of a single value, its own r and
            the rounding.
        verdict: `agrees`; `differs`; `undecided`, the intervals overlap but are wider than a tenth
            of the value and contain much; `missing`, one engine ought to have it and has not; or
            `not compared`, they need not have it.
    """

    ours: float | None
    theirs: float | None
    allowed: float
    verdict: str

    @property
    def difference(self) -> float | None:
        """|ours - theirs|; None of a single value."""
        return None if self.ours is None or self.theirs is None else abs(self.ours - self.theirs)


@dataclass(frozen=True)
class Agreement:
    """What two engines say of the same eigenvalues.

    Attributes:
        comparisons: Of each eigenvalue that either has, in descending order.
    """

    comparisons: tuple[Comparison, ...]

    @property
    def agrees(self) -> bool:
        """Whether every eigenvalue that both ought to have was confirmed, and there is one."""
        verdicts = {comparison.verdict for comparison in self.comparisons} - {"not compared"}
        return verdicts == {"agrees"}

    @property
    def contradicts(self) -> bool:
        """Whether an eigenvalue differs or is missing.

        If neither this nor `agrees` holds, the intervals are too wide.
        """
        return any(comparison.verdict in ("differs", "missing") for comparison in self.comparisons)

    def summary(self) -> str:
        """Return one sentence."""
        counts = Counter(comparison.verdict for comparison in self.comparisons)
        if self.contradicts:
            bad = counts["differs"] + counts["missing"]
            return (
                f"The engines disagree on {bad} of {len(self.comparisons)} eigenvalues beyond "
                "their intervals."
            )
        if counts["undecided"]:
            return (
                f"The intervals of {counts['undecided']} eigenvalues overlap but are too wide to "
                "confirm anything: "
                "an engine has not converged."
            )
        return (
            f"The engines agree on {counts['agrees']} eigenvalues within their certified intervals."
        )


@dataclass(frozen=True)
class _Found:
    """Eigenvalues (n,) of one engine, top ones first, with interval radii and noise floor."""

    values: np.ndarray
    radii: np.ndarray
    rounding: float
    num_top: int

    @classmethod
    def of(cls, result: Extremes) -> _Found:
        """Read either kind of result; where its rounding is unknown, it has that of its dtype."""
        residuals = np.append(result.residuals, result.bottom_residuals)
        rounding = np.append(result.rounding, result.bottom_rounding)
        found = cls(
            np.append(result.eigenvalues, result.bottom_eigenvalues),
            residuals + rounding if rounding.size else residuals,
            result.noise_floor,
            len(result.eigenvalues),
        )
        require(
            np.isfinite(found.values).all() and np.isfinite(found.radii).all(),
            "eigenvalues and residuals must be finite to be compared, some are NaN or inf.",
        )
        return found

    def unknown(self, which: str) -> tuple[float, float]:
        """Return the range in which eigenvalues may be missing, given its own intervals."""
        if which == "magnitude":
            last = self._weakest(np.abs(self.values), slice(None))
            return -last, last
        bottom = self._weakest(-self.values, slice(self.num_top, None))
        return -bottom, self._weakest(self.values, slice(self.num_top))

    def reach(self, i: int) -> float:
        """Return how far the eigenvalue in the interval of value i can be from it."""
        return float(self.radii[i] + self.rounding)

    def is_outside(self, i: int, unknown: tuple[float, float]) -> bool:
        """Return whether the whole interval of value i is where the other engine must have one.

        The other engine must have an eigenvalue outside its `unknown` range.
        """
        low, high = unknown
        return bool(self.values[i] - self.reach(i) > high or self.values[i] + self.reach(i) < low)

    def _weakest(self, keys: np.ndarray, part: slice) -> float:
        """Return the smallest key plus its radius; inf if nothing was looked for."""
        if not keys[part].size:
            return float("inf")
        last = keys[part].argmin()
        return float(keys[part][last] + self.radii[part][last])


def verify(ours: Extremes, theirs: Extremes, *, which: str = "algebraic") -> Agreement:
    """Compare the eigenvalues of two engines by their certified intervals.

    Two values may be the same eigenvalue if |theta - theta'| <= r + r' + rounding. They are matched
    one to one: as many as may be the same, and of those ways the one with the smallest sum of
    differences. What is left over counts as missing from the other engine where that claims to have
    all eigenvalues: beyond its weakest one. Of two values that are left over on both sides, the
    nearest are shown together, as one that differs.

    Args:
        ours: From an engine that found both ends of the spectrum, or as `which` says.
        theirs: From one that looked for the largest in magnitude, as PyHessian does, in any order.
        which: `algebraic`, or `magnitude` if ours are the largest in magnitude too.

    Returns:
        One comparison an eigenvalue.

    Raises:
        InputError: If a value or a residual is not finite.
    """
    a, b = _Found.of(ours), _Found.of(theirs)
    differences, radii = np.abs(a.values[:, None] - b.values), a.radii[:, None] + b.radii
    allowed = radii + a.rounding + b.rounding
    sizes = np.maximum(np.abs(a.values)[:, None], np.abs(b.values))
    is_wide = radii > np.maximum(_WIDE * sizes, a.rounding + b.rounding)
    same = _matched(differences, allowed)
    left_a = np.setdiff1d(np.arange(len(a.values)), [i for i, _ in same]).tolist()
    left_b = np.setdiff1d(np.arange(len(b.values)), [j for _, j in same]).tolist()
    missing_a = [i for i in left_a if a.is_outside(i, b.unknown("magnitude"))]
    missing_b = [j for j in left_b if b.is_outside(j, a.unknown(which))]
    nearest = _matched(differences[np.ix_(missing_a, missing_b)])
    apart = [(missing_a[i], missing_b[j]) for i, j in nearest]
    paired = [
        *((i, j, "undecided" if is_wide[i, j] else "agrees") for i, j in same),
        *((i, j, "differs") for i, j in apart),
    ]
    shown_a, shown_b = {i for i, _ in apart}, {j for _, j in apart}
    comparisons = [
        *(
            Comparison(float(a.values[i]), float(b.values[j]), float(allowed[i, j]), verdict)
            for i, j, verdict in paired
        ),
        *(
            Comparison(float(a.values[i]), None, a.reach(i), _alone(i in missing_a))
            for i in left_a
            if i not in shown_a
        ),
        *(
            Comparison(None, float(b.values[j]), b.reach(j), _alone(j in missing_b))
            for j in left_b
            if j not in shown_b
        ),
    ]
    return Agreement(tuple(sorted(comparisons, key=_place)))


def _matched(difference: np.ndarray, allowed: np.ndarray | float = np.inf) -> list[tuple[int, int]]:
    """Match rows and columns one to one at the smallest sum of differences.

    As many as possible of the allowed pairs are matched, and no others.
    """
    from scipy.optimize import linear_sum_assignment  # only a comparison pays for the import

    is_allowed = difference <= allowed
    cost = np.where(is_allowed, difference, 1 + difference + difference.sum())
    rows, columns = linear_sum_assignment(cost)
    kept = is_allowed[rows, columns]
    return list(zip(rows[kept].tolist(), columns[kept].tolist(), strict=True))


def _alone(is_missing: bool) -> str:
    return "missing" if is_missing else "not compared"


def _place(comparison: Comparison) -> float:
    """Sort by value, the largest first."""
    value = comparison.theirs if comparison.ours is None else comparison.ours
    return 0.0 if value is None else -value
