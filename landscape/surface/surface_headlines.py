"""The first sentence about a surface: how far the loss stays low around the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.headlines import (
    brief,
    certificate_headline,
    curvature_history_headline,
    groups_headline,
    history_headline,
    sharpness_headline,
    spectrum_headline,
)
from landscape.results.history import History
from landscape.results.sharpness import Certificate, Sharpness, SharpnessComparison
from landscape.results.spectrum import Spectrum
from landscape.results.surface import Surface
from landscape.surface.topology import Barrier, TopologySummary, describe_topology

TENFOLD = 10.0
"""Multiple of the loss at the center that the sentence looks for."""

_NORMS = {"filter": "filter norms", "layer": "layer norms"}


def result_headline(result: Any) -> str:
    """Return the first sentence about a result of any kind; empty for one that has none."""
    if isinstance(result, Surface):
        return surface_headline(result, describe_topology(result, result.splits[0]))
    for kind, headline in _HEADLINES.items():
        if isinstance(result, kind):
            return headline(result)
    return ""


_HEADLINES: dict[type, Callable[[Any], str]] = {
    Spectrum: spectrum_headline,
    CurvatureHistory: curvature_history_headline,
    Sharpness: sharpness_headline,
    SharpnessComparison: groups_headline,
    Certificate: certificate_headline,
    History: lambda history: history_headline([history]),
}


def surface_headline(surface: Surface, topology: TopologySummary | None) -> str:
    """Return what a surface shows of its first split.

    Args:
        surface: The surface.
        topology: Of its first split; None if it has none.
    """
    split, known = surface.splits[0], int(surface.done.sum())
    if not known:
        return "No point is computed yet."
    start = "" if surface.is_finished else f"So far, at {known} of {surface.done.size} points: "
    barriers = [] if topology is None else [b for b in topology.barriers if b.height is not None]
    if topology is not None and barriers:
        words = _barriers_in_words(barriers, split, topology.threshold)
    else:
        words = _rise_in_words(surface, split)
    basins = ""
    if topology is not None:
        count = topology.num_basins
        basins = "; one basin" if count == 1 else f"; {count} basins" * (count > 1)
    return f"{start}{words}{basins}."


def _barriers_in_words(barriers: Sequence[Barrier], split: str, threshold: float) -> str:
    """Return the highest of the barriers between checkpoints."""
    highest = max(barriers, key=lambda each: -math.inf if each.height is None else each.height)
    assert highest.height is not None
    ends = f"between {highest.first} and {highest.second}"
    if math.isinf(highest.height):
        return f"No path of finite {split} losses leads from {highest.first} to {highest.second}"
    if not highest.height:
        pair = ends if len(barriers) == 1 else "between any two of the checkpoints"
        return f"The {split} loss has no barrier {pair}"
    size = "only " if highest.height < threshold else ""
    highest_of = "a barrier" if len(barriers) == 1 else "its highest barrier"
    return f"The {split} loss has {highest_of} of {size}{brief(highest.height)} {ends}"


def _rise_in_words(surface: Surface, split: str) -> str:
    """Return how far from the center the loss reaches ten times its value there, or how far not."""
    low, high = (end[split] for end in surface.extremes())
    center = surface.center_loss.get(split, math.nan)
    name, where = f"The {split} loss", _shape(surface)
    if low is None or high is None:
        return f"{name} is nowhere {where} a finite number"
    if not math.isfinite(center):
        return (
            f"{name} is not a finite number at the center; elsewhere {brief(low)} to {brief(high)}"
        )
    if center <= 0:
        ends = f"{brief(low)} to {brief(high)}"
        return f"{name} is {brief(center)} at the center, and from {ends} {where}"
    reach = distance_to_loss(surface, split, TENFOLD * center)
    value = f"its value at the center ({brief(center)})"
    if reach is not None:
        return f"{name} rises to ten times {value} {_distance_in_words(surface, reach)}"
    if high <= center:
        return f"{name} is nowhere {where} above {value}"
    return f"{name} stays {where} below ten times {value}, at most {brief(high / center)} times it"


def _shape(surface: Surface) -> str:
    if surface.y is not None:
        return "on this plane"
    return f"on these {surface.num_lines} lines" if (surface.num_lines or 1) > 1 else "on this line"


def _distance_in_words(surface: Surface, distance: float) -> str:
    if (unit := _unit(surface)) is not None:
        return f"about {distance:.2g} {unit} away"
    axes = "" if np.isfinite(surface.direction_norms).all() else " in units of the axes"
    return f"at a distance of about {distance:.2g}{axes}"


def _unit(surface: Surface) -> str | None:
    """Return the norms that the coordinates count; None if they count something else."""
    is_random = set(surface.direction_names) == {"random"}
    return _NORMS.get(surface.normalization) if is_random else None


def distance_to_loss(surface: Surface, split: str, level: float) -> float | None:
    """Return the smallest distance from the center at which the loss reaches a level.

    Between two neighbours of the grid it is interpolated, evenly in the logarithm of the loss.
    Distances are in the norms that random directions were scaled to, else Euclidean in weight
    space, or in units of the axes if the norms of the directions are unknown.

    Args:
        surface: The surface; points that are not done are left out.
        split: Name of the split.
        level: Value of the loss, positive.

    Returns:
        None if no point reaches it.
    """
    values = np.where(surface.done, np.asarray(surface.loss[split], dtype=np.float64), np.nan)
    heights = np.log(np.maximum(values, np.finfo(float).tiny)) - math.log(level)
    places = _places(surface)
    found = [places[:, heights >= 0]]
    for axis in range(surface.done.ndim if surface.y is not None else 1):
        axis = surface.done.ndim - 1 - axis  # several lines are no neighbours of each other
        low, high = _neighbours(heights, axis)
        start, stop = _neighbours(places, axis + 1)
        crosses = np.isfinite(low) & np.isfinite(high) & ((low >= 0) != (high >= 0))
        share = low[crosses] / (low[crosses] - high[crosses])
        found.append(start[:, crosses] + share * (stop - start)[:, crosses])
    a, b = np.concatenate(found, axis=1)
    squares = a**2 + b**2 + 2 * np.nan_to_num(surface.cosine or 0.0) * a * b
    return float(np.sqrt(np.maximum(squares, 0.0)).min()) if a.size else None


def _neighbours(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all values but the last and all but the first along an axis."""
    last = values.shape[axis] - 1
    return values.take(range(last), axis), values.take(range(1, last + 1), axis)


def _places(surface: Surface) -> np.ndarray:
    """Return both coordinates of each point, (2, *shape of the grid), in the unit of distances."""
    shape = surface.done.shape
    count = 2 if surface.y is not None else shape[0] if len(shape) > 1 else 1
    norms = np.asarray(surface.direction_norms, dtype=np.float64).ravel()[:count]
    if _unit(surface) is not None or norms.size < count or not np.isfinite(norms).all():
        norms = np.ones(count)
    if surface.y is None:
        x = surface.x * (norms[:, None] if len(shape) > 1 else norms[0])
        return np.stack([x, np.zeros(shape)])
    x, y = np.meshgrid(norms[0] * surface.x, norms[1] * surface.y)
    return np.stack([x, y])
