"""Units that were drawn from a larger set, and what that makes of a mean over them: its error, by
the bootstrap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_CHUNK = 1 << 22  # random counts held at a time


@dataclass(frozen=True)
class Sample:
    """How units, examples or batches of them, were drawn from a larger set.

    Attributes:
        sizes: Weight of each unit in a mean, its number of examples, (n,).
        share: Part of the larger set that was drawn, at most 1.
        strata: Number of the class that each unit was drawn from, (n,); None for a plain random
            sample.
    """

    sizes: np.ndarray
    share: float
    strata: np.ndarray | None = None

    def error(self, values: np.ndarray, *, seed: int = 0, num_resamples: int = 1000) -> float:
        """Return the standard error of the weighted mean of values as an estimate for the larger
        set.

        Units are drawn again with replacement, within their class; the deviation of the means is
        corrected for the drawing without replacement from a finite set, and for the one degree of
        freedom that each class loses.

        Args:
            values: One a unit, (n,).
            seed: Of the resamples.
            num_resamples: Their number; the error itself is then known to 1 / sqrt(2
                num_resamples).

        Returns:
            The error; NaN for a single unit, or where a value is not finite.

        Source:
            Efron (1979), Bootstrap Methods; Rao & Wu (1988), Resampling Inference with Complex
            Survey Data.
        """
        if len(values) < 2 or not np.isfinite(values).all():
            return math.nan
        classes, generator = self._classes(), np.random.default_rng(seed)
        sums = np.zeros(num_resamples)
        for members in (np.flatnonzero(classes == number) for number in range(classes.max() + 1)):
            sums += self._deviations(values * self.sizes, members, generator, num_resamples)
        return float(np.sqrt(np.mean(sums**2) * max(1 - self.share, 0.0)) / self.sizes.sum())

    def _classes(self) -> np.ndarray:
        """Number the classes from 0; with a single unit of one, whose variance is unknown, all are
        one class.
        """
        if self.strata is None or np.unique(self.strata, return_counts=True)[1].min() < 2:
            return np.zeros(len(self.sizes), dtype=np.int64)
        return np.unique(self.strata, return_inverse=True)[1]

    def _deviations(
        self, weighted: np.ndarray, members: np.ndarray, generator: np.random.Generator, count: int
    ) -> np.ndarray:
        """Return by how much the sum over a class deviates in each resample, (count,), scaled to be
        unbiased.
        """
        size = len(members)
        ratio = self.sizes[members] / self.sizes[members].sum()
        centred = (
            weighted[members] - weighted[members].sum() * ratio
        )  # of units of any size, about the ratio estimate
        chunk = max(1, _CHUNK // size)
        parts = [min(chunk, count - start) for start in range(0, count, chunk)]
        sums = [
            generator.multinomial(size, np.full(size, 1 / size), part) @ centred for part in parts
        ]
        return np.concatenate(sums) * math.sqrt(size / (size - 1))
