"""What is known of a Hessian along a training run. Torch is not needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from landscape.results.display import Displayed, span
from landscape.results.provenance import Provenance

POSITION_UNITS = ("epoch", "step", "number", "snapshot")
"""What positions in training may count, see `CurvatureHistory.unit`."""


@dataclass(frozen=True, repr=False)
class CurvatureHistory(Displayed):
    """Extreme eigenvalues at the snapshots of a training run; arrays have one row per snapshot.

    Attributes:
        epoch: Position of each snapshot in training, (n,), in epochs or what `unit` says.
        eigenvalues: The algebraically largest, descending, (n, k).
        residuals: Residual of each of them, (n, k).
        bottom_eigenvalues: The algebraically smallest, ascending, (n, kb).
        bottom_residuals: Residual of each of them, (n, kb).
        num_matvecs: Products used at each snapshot, (n,).
        converged: Whether every value of a snapshot met the tolerance, (n,).
        loss: Mean loss at each snapshot, (n,).
        learning_rate: Learning rate at each snapshot, (n,); NaN if unknown.
        overlaps: Mean squared cosine of the principal angles between the spans of the top-k
            eigenvectors at each snapshot and at the one before, (n,); NaN for the first.
        done: Whether each snapshot has been computed, (n,).
        split: Name of the data split.
        provenance: Origin of the result; the weights are those of the last snapshot.
        weights_hashes: SHA-256 of the weights and buffers of each snapshot.
        rounding: Error of each of the largest from rounding, as of `Extremes`, (n, k); NaN where it
            was not measured, empty in files of earlier versions.
        bottom_rounding: The same for the smallest, (n, kb).
        unit: What `epoch` counts: `epoch` or `step`; `number` for numbers in file names that say
            neither, `snapshot` for the snapshots themselves.
    """

    epoch: np.ndarray
    eigenvalues: np.ndarray
    residuals: np.ndarray
    bottom_eigenvalues: np.ndarray
    bottom_residuals: np.ndarray
    num_matvecs: np.ndarray
    converged: np.ndarray
    loss: np.ndarray
    learning_rate: np.ndarray
    overlaps: np.ndarray
    done: np.ndarray
    split: str
    provenance: Provenance
    weights_hashes: tuple[str, ...] = ()
    rounding: np.ndarray = field(default_factory=partial(np.empty, 0))
    bottom_rounding: np.ndarray = field(default_factory=partial(np.empty, 0))
    unit: str = "epoch"

    @property
    def half_widths(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances within which eigenvalues lie, at the top (n, k) and the bottom (n, kb)."""
        rounding = (
            np.nan_to_num(each) if each.size else 0.0
            for each in (self.rounding, self.bottom_rounding)
        )
        top, bottom = rounding
        return self.residuals + top, self.bottom_residuals + bottom

    def summary(self) -> list[tuple[str, str]]:
        """Return the snapshots and how the eigenvalues changed; see `Displayed`."""
        ends = {"lambda_max": self.eigenvalues, "lambda_min": self.bottom_eigenvalues}
        return [
            ("snapshots", f"{int(self.done.sum())} of {len(self.epoch)}"),
            (f"{self.unit}s", span(self.epoch)),
            *((name, span(values[self.done, 0])) for name, values in ends.items() if values.size),
            ("converged", "yes" if self.converged[self.done].all() else "no"),
            *self.provenance.named_loss(),
        ]
