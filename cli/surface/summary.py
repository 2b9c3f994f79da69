"""What `landscape surface` says at the end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from landscape.results.surface import INTERPOLATION, Surface
from landscape.surface.surface_headlines import surface_headline
from landscape.surface.topology import describe_topology

from .. import console
from ..outputs import show_draws, with_loss

_MOST_ROWS = 12  # of the table of snapshots
_SEEN = 0.05  # relative difference of two losses at one place that is worth a sentence
_SEEN_DEVIATION = 1e-3  # likewise of the same loss, computed in two ways


def show_surface(result: Surface, path: Path, as_json: bool, *, is_of_stored: bool = False) -> None:
    """Print what a surface shows, as tables and sentences or as one JSON object.

    Args:
        result: The surface.
        path: Its file.
        as_json: Whether to print one JSON object.
        is_of_stored: Whether the model has running statistics, which are the centre's everywhere.
    """
    lowest, highest = result.extremes()
    topology = {split: describe_topology(result, split) for split in result.splits}
    splits = {
        split: {
            "center_loss": result.center_loss[split],
            "center_accuracy": result.center_accuracy.get(split),
            "min_loss": lowest[split],
            "max_loss": highest[split],
            "largest_standard_error": result.largest_standard_errors.get(split),
            "topology": None if (found := topology[split]) is None else dataclasses.asdict(found),
        }
        for split in result.splits
    }
    if as_json:
        console.answer_json(
            {
                "out": str(path),
                "split": result.splits[0],
                **splits[result.splits[0]],
                "num_points": int(result.done.sum()),
                "tolerance": result.tolerance,
                "is_complete": result.is_complete,
                "deviations": result.deviations,
                "rounding": result.rounding,
                "draws_error": result.provenance.draws_error,
                "loss_function": result.provenance.loss_function,
                "splits": splits,
                "trajectory": _trajectory(result),
            }
        )
        return
    console.answer(surface_headline(result, topology[result.splits[0]]))
    points = "x".join(map(str, reversed(result.done.shape)))
    console.answer_table(
        with_loss(
            f"Loss surface, {points} points, {result.provenance.num_parameters} parameters",
            result.provenance,
        ),
        ["split", "loss at center", "accuracy at center", "smallest loss", "largest loss"],
        [
            [
                split,
                console.number(values["center_loss"]),
                console.percent(values["center_accuracy"]),
                console.number(values["min_loss"]),
                console.number(values["max_loss"]),
            ]
            for split, values in splits.items()
        ],
    )
    if (num_calibrating := result.provenance.settings.get("calibration")) is not None:
        console.answer(
            f"Statistics of batch normalization: estimated at each point on {num_calibrating} "
            "training examples."
        )
    for split, values in splits.items():
        _show_topology(split, values["topology"])
    _show_work(result)
    _show_trajectory(result)
    if is_of_stored:
        _show_statistics(result)
    console.answer(f"Saved to {path}. To draw it: landscape plot {path}")


def _show_work(result: Surface) -> None:
    """Say which points were computed, and what is known of their errors."""
    num_done, num_points = int(result.done.sum()), result.done.size
    if num_done < num_points and result.is_finished:
        console.answer(
            f"Computed {num_done} of {num_points} points; interpolation gives the others."
        )
    elif num_done < num_points:
        console.answer(f"Computed {num_done} of {num_points} points so far.")
    for split, losses in result.loss.items():
        num_lost = int((result.done & ~np.isfinite(losses)).sum())
        if num_lost:
            center = "" if np.isfinite(result.center_loss[split]) else ", the center among them"
            console.answer(
                f"The {split} loss is no finite number at {num_lost} of {num_done} points{center}."
            )
    for name, deviation in result.deviations.items():
        is_seen = name.startswith(INTERPOLATION) or not deviation <= _SEEN_DEVIATION
        (console.answer if is_seen else console.answer_detail)(
            f"Largest relative error by {name}, at points chosen at random: "
            f"{console.number(deviation, 2)}"
        )
    for split, error in result.rounding.items():
        console.answer(
            f"Relative error of the {split} loss from the rounding of {result.provenance.dtype}: "
            f"{console.number(error, 2)}"
        )
    show_draws(result.provenance)
    source = "sampling and draws" if result.provenance.draws_error else "sampling"
    for split, error in result.largest_standard_errors.items():
        console.answer(
            f"Largest standard error of the {split} loss, from {source}: {console.number(error, 2)}"
        )


def _show_topology(split: str, topology: dict[str, Any] | None) -> None:
    """Say how many basins there are, and what lies between marked checkpoints."""
    if topology is None:
        return
    console.answer(
        f"Basins of the {split} loss, {console.number(topology['threshold'], 3)} deep at least: "
        f"{topology['num_basins']}"
    )
    for barrier in topology["barriers"]:
        ends = f"{barrier['first']} and {barrier['second']}"
        height = console.number(barrier["height"])
        if barrier["misplaced"]:
            height = (
                f"none, since on the plane {barrier['misplaced']} has another loss than its own"
            )
        console.answer(f"Barrier of the {split} loss between {ends}: {height}")


def _trajectory(result: Surface) -> dict[str, object] | None:
    """Return how well the plane shows the trajectory; None where there is none."""
    if not result.trajectory:
        return None
    explained = result.explained_variance
    return {
        "snapshots": [mark.as_dict() for mark in result.trajectory],
        "explained_variance": None if explained is None else explained.tolist(),
        "largest_distance": result.largest_distance,
        "largest_loss_gap": result.largest_loss_gaps,
    }


def _show_statistics(result: Surface) -> None:
    """Say where the statistics of the center's batch normalization hide the loss of a mark."""
    gaps = {
        (mark.label, split): abs(mark.plane_loss[split] - loss)
        for mark in result.marks
        for split, loss in mark.loss.items()
        if abs(mark.plane_loss[split] - loss) > _SEEN * abs(loss)
    }
    if not gaps:
        return
    label, split = max(gaps, key=lambda each: gaps[each])
    mark = next(mark for mark in result.marks if mark.label == label)
    console.answer(
        f"{label} has the {split} loss {console.number(mark.loss[split])}, but "
        f"{console.number(mark.plane_loss[split])} where it is drawn: the plane has the statistics "
        "of the center's batch normalization. --batchnorm recalibrate gives each point its own."
    )


def _show_snapshots(result: Surface) -> None:
    """Print the loss of each snapshot, or of evenly spaced ones, next to that where it is drawn."""
    snapshots = result.trajectory
    step = -(-len(snapshots) // _MOST_ROWS)
    shown = [*snapshots[:-1:step], snapshots[-1]]
    console.answer_table(
        f"Snapshots{f', {len(shown)} of {len(snapshots)}' * (step > 1)}",
        [
            "snapshot",
            *(f"{split} loss{end}" for split in result.splits for end in ("", " where drawn")),
            "distance from the plane",
        ],
        [
            [
                mark.label,
                *(
                    console.number(losses.get(split))
                    for split in result.splits
                    for losses in (mark.loss, mark.plane_loss)
                ),
                console.number(mark.distance),
            ]
            for mark in shown
        ],
    )


def _show_trajectory(result: Surface) -> None:
    if not result.trajectory:
        return
    _show_snapshots(result)
    if result.explained_variance is not None:
        shares = ", ".join(
            f"{axis} {console.percent(share)}"
            for axis, share in zip("xy", result.explained_variance.tolist(), strict=False)
        )
        console.answer(
            f"Variance of the {len(result.trajectory)} snapshots that the directions explain: "
            f"{shares}."
        )
    gaps = ", ".join(
        f"{split} {console.number(gap)}" for split, gap in result.largest_loss_gaps.items()
    )
    console.answer(
        f"Farthest snapshot out of the plane: {console.number(result.largest_distance)}. "
        f"Largest |loss of a snapshot - loss where it is drawn|: {gaps}."
    )
