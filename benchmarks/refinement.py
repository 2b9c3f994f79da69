"""Compare the interpolation errors of our refinement and of `adaptive` for equal evaluations.

The errors are distances from the true values after the same number of evaluations.

python benchmarks/refinement.py [--grid 101] [FILE.h5 ...]

On test functions, and on stored surfaces that are complete. Errors are the largest on the grid,
relative to the larger of the value and the value at the centre, as `landscape surface --refine`
means it. `adaptive`'s Learner2D takes the number of evaluations that ours took, with its own loss,
and interpolates as it does by default. On stored surfaces it is given the bilinear interpolation of
the grid, for it chooses points anywhere.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from adaptive import Learner2D
from scipy.interpolate import RegularGridInterpolator

from landscape import read_result
from landscape.surface.grid import interpolated, refined_rounds, relative_errors

TOLERANCES = (0.1, 0.03, 0.01)
FUNCTIONS = {
    "bowl": lambda x, y: 1 + x**2 + 3 * y**2 + x * y,
    "bump": lambda x, y: 1 + 5 * np.exp(-((x - 0.37) ** 2 + (y + 0.21) ** 2) / 0.02),
    "kinks": lambda x, y: 1 + np.abs(x - 0.13 * y) + 5 * np.maximum(0, y - 0.3),
    "valley": lambda x, y: 0.1 + (1 - x) ** 2 + 10 * (y - x**2) ** 2,
    "wave": lambda x, y: 3 + np.cos(6 * x) * np.cos(5 * y),
    "steep": lambda x, y: 0.4 + np.exp(6 * (x**2 + y**2)),
}


def ours(true: np.ndarray, center: float, tolerance: float) -> tuple[int, float]:
    """Evaluations and largest error of our refinement."""
    values, known = np.full(true.shape, np.nan), np.zeros(true.shape, dtype=bool)
    for indices in refined_rounds({"loss": values}, {"loss": center}, tolerance):
        for index in indices:
            values[index], known[index] = true[index], True
    return int(known.sum()), float(
        relative_errors(interpolated(true, known, center), true, center).max()
    )


def theirs(true: np.ndarray, center: float, number: int) -> float:
    """Largest error of `adaptive` after that many evaluations."""
    y, x = (np.linspace(-1, 1, count) for count in true.shape)
    function = RegularGridInterpolator((y, x), true)
    learner = Learner2D(
        lambda place: float(function((place[1], place[0]))), bounds=[(-1, 1), (-1, 1)]
    )
    while learner.npoints < number:
        points, _ = learner.ask(1)
        learner.tell(points[0], learner.function(points[0]))
    found = learner.interpolator(scaled=False)(*np.meshgrid(x, y))[..., 0]
    return float(relative_errors(found, true, center).max())


def cases(num_points: int, files: list[Path]) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield name, values on a grid, and value at the centre."""
    line = np.linspace(-1, 1, num_points)
    for name, function in FUNCTIONS.items():
        yield (
            name,
            function(line[None], line[:, None]) + np.zeros((num_points, num_points)),
            float(function(0.0, 0.0)),
        )
    for file in files:
        surface = read_result(file)
        split = surface.splits[0]
        yield file.name, surface.loss[split], surface.center_loss[split]


def main() -> None:
    """Print one row a case and tolerance."""
    logging.disable()
    parser = argparse.ArgumentParser(description="Refinement beside adaptive.")
    parser.add_argument("files", nargs="*", type=Path, help="complete surfaces on planes")
    parser.add_argument(
        "--grid", type=int, default=101, help="points an axis of the test functions (default 101)"
    )
    arguments = parser.parse_args()
    print("| surface | tolerance | evaluations | of | error, ours | error, adaptive |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, true, center in cases(arguments.grid, arguments.files):
        for tolerance in TOLERANCES:
            number, error = ours(true, center, tolerance)
            other = theirs(true, center, number)
            print(
                f"| {name} | {tolerance} | {number} | {true.size} | {error:.4f} | {other:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
