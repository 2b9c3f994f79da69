"""What `landscape sharpness` says: tables and a JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from landscape.results.headlines import groups_headline, sharpness_headline
from landscape.results.interval import Number
from landscape.results.sharpness import (
    SCALE,
    Difference,
    GroupValue,
    Measure,
    Sharpness,
    SharpnessComparison,
)
from landscape.results.sharpness_measures import MEASURES

from .. import console
from ..outputs import show_draws, with_loss


def show_sharpness(result: Sharpness | SharpnessComparison, as_json: bool) -> None:
    """Print the measures of one checkpoint, or of several with their differences."""
    if as_json:
        console.answer_json(_as_json(result))
    elif isinstance(result, Sharpness):
        console.answer(sharpness_headline(result))
        _show_checkpoint(result)
        _show_rescaled(result)
        _show_limits([result])
    else:
        console.answer(groups_headline(result))
        _show_checkpoints(result)
        _show_groups(result.groups)
        _show_differences(result.differences)
        for each in result.checkpoints:
            _show_rescaled(each)
        _show_limits(result.checkpoints)


def _as_json(result: Sharpness | SharpnessComparison) -> dict[str, Any]:
    """Return the object that --json prints."""
    found = result.as_dict()
    if isinstance(result, SharpnessComparison):
        rows = zip(found.pop("names"), map(_as_json, result.checkpoints), strict=True)
        return {**found, "checkpoints": [{"name": name, **each} for name, each in rows]}
    origin = found.pop("provenance")
    return {
        **found,
        "protocol": result.protocol or None,
        "num_examples": origin["num_examples"][result.split],
        "batchnorm": origin["batchnorm"],
        "dtype": origin["dtype"],
        "draws_error": origin["draws_error"],
        "loss_function": origin["loss_function"],
    }


def _show_checkpoint(result: Sharpness) -> None:
    show_draws(result.provenance)
    console.answer_table(
        f"{_title(result)}; sharpness, error (95 %) and rounding x 10^3",
        ["measure", "rho", "loss", "sharpness", "error (95 %)", "rounding", "||e|| / rho"],
        [
            [
                _name(measure),
                console.number(measure.rho),
                console.number(measure.loss),
                _scaled(measure.sharpness, 4),
                _scaled(measure.half_width, 2),
                _scaled(measure.rounding, 2),
                console.number(measure.radius_share, 3),
            ]
            for measure in result.measures
        ],
    )
    slope = "" if result.gradient_norm is None else f", gradient norm {result.gradient_norm:.4g}"
    console.answer(
        f"At the weights: loss {result.loss:.6g}, accuracy "
        f"{console.percent(result.accuracy)}{slope}."
    )
    if result.generalization_gap is not None:
        console.answer(
            f"Test set: loss {result.test_loss:.6g}, accuracy "
            f"{console.percent(result.test_accuracy)}; "
            f"generalization gap x 10^3: {_scaled(result.generalization_gap, 4)}."
        )


def _show_rescaled(result: Sharpness) -> None:
    """Print a table for each rescaling."""
    for name in dict.fromkeys(row.rescaling for row in result.rescaled):
        found = [row for row in result.rescaled if row.rescaling == name]
        console.answer_table(
            f"The same function: {name} by {found[0].factor:g}, outputs changed by "
            f"{found[0].output_change:.1g}; sharpness x 10^3",
            ["measure", "rho", "before", "after", "after / before", "verdict"],
            [
                [
                    row.name,
                    console.number(row.rho),
                    _scaled(row.before, 4),
                    _scaled(row.after, 4),
                    console.number(row.after / row.before if row.before else None, 4),
                    "moved" if row.has_moved else "not moved",
                ]
                for row in found
            ],
        )


def _show_checkpoints(result: SharpnessComparison) -> None:
    console.answer_table(
        with_loss("At the weights", result.checkpoints[0].provenance),
        ["checkpoint", "loss", "accuracy", "test accuracy", "gap x 10^3"],
        [
            [
                name,
                console.number(each.loss),
                console.percent(each.accuracy),
                console.percent(each.test_accuracy),
                _scaled(each.generalization_gap, 4),
            ]
            for name, each in zip(result.names, result.checkpoints, strict=True)
        ],
    )
    console.answer_table(
        f"{_title(result.checkpoints[0])}, x 10^3",
        ["measure", "rho", *result.names],
        [
            [
                row[0].name,
                console.number(row[0].rho),
                *(
                    Number(each.sharpness, each.error_with_rounding).times(SCALE).text
                    for each in row
                ),
            ]
            for row in zip(*(each.measures for each in result.checkpoints), strict=True)
        ],
    )


def _show_groups(values: Sequence[GroupValue]) -> None:
    """Print a row for each quantity and a column for each group."""
    if not values:
        return
    counts = {value.group: value.count for value in reversed(values)}
    names = list(dict.fromkeys(value.group for value in values))
    scales = {"loss": 1.0, "accuracy": 1.0}
    keys = dict.fromkeys((value.name, console.number(value.rho)) for value in values)
    cells = {
        (value.group, value.name, console.number(value.rho)): Number(value.mean, value.deviation)
        .times(scales.get(value.name, SCALE))
        .text
        for value in values
    }
    console.answer_table(
        "Mean ± sample standard deviation; sharpness and gap x 10^3",
        ["quantity", "rho", *(f"{group} ({counts[group]})" for group in names)],
        [[name, rho, *(cells[group, name, rho] for group in names)] for name, rho in keys],
    )


def _show_differences(differences: Sequence[Difference]) -> None:
    """Print a table for each that is compared with the first."""
    for first, second in dict.fromkeys((found.first, found.second) for found in differences):
        confidence = f"{100 * differences[0].confidence:g} % interval"
        console.answer_table(
            f"{first} minus {second}, x 10^3",
            ["measure", "rho", "difference", confidence, "error from", "verdict"],
            [
                [
                    found.name,
                    console.number(found.rho),
                    _scaled(found.value, 4),
                    f"{_scaled(found.low, 4)} to {_scaled(found.high, 4)}",
                    found.source,
                    found.verdict,
                ]
                for found in differences
                if found.first == first
            ],
        )


def _title(result: Sharpness) -> str:
    origin, first = result.provenance, result.measures[0]
    ball = f"p = {first.p:g}{', adaptive' if first.adaptive else ''}"
    kind = (
        "batches" if result.protocol else "disjoint random batches"
    )  # docs/protocols.md has theirs
    batches = "" if first.m is None else f" in {kind} of {first.m}"
    protocol = f" by protocol {result.protocol}" if result.protocol else ""
    title = (
        f"Sharpness{protocol}, {origin.num_examples[result.split]} {result.split} "
        f"examples{batches}, "
        f"BatchNorm {origin.batchnorm}, {ball}, {origin.dtype}"
    )
    return with_loss(title, origin)


def _name(measure: Measure) -> str:
    details = {
        "nstep": f", {measure.steps} steps",
        "avg": f", {measure.num_directions} pairs",
    }
    return measure.name + details.get(measure.name, "")


def _scaled(value: float | None, digits: int) -> str:
    return console.number(None if value is None else SCALE * value, digits)


def _show_limits(results: Sequence[Sharpness]) -> None:
    """Say what the numbers are not."""
    found = [measure for result in results for measure in result.measures]
    for name in dict.fromkeys(each.name for each in found if MEASURES[each.name].is_lower_bound):
        console.answer(f"{name} is a lower bound of the largest loss in the ball.")
    if any(measure.data_error is not None and measure.name != "avg" for measure in found):
        console.answer(
            "On a subset, all but avg are biased upwards: the gradient follows the examples in it."
        )
    for result in results:
        hidden = [each for each in result.measures if (each.rounding or 0.0) > abs(each.sharpness)]
        if hidden and result.provenance.dtype != "float64":
            names = ", ".join(f"{each.name} at rho = {console.number(each.rho)}" for each in hidden)
            console.answer(
                f"The rounding of {result.provenance.dtype} exceeds {names}: pass --dtype float64."
            )
    for measure in found:
        if not measure.converged:
            limit = (
                f"ended after {measure.steps} gradients with a gap of "
                f"{console.number(measure.gap, 2)}, not yet a maximum"
            )
            if measure.name == "avg":
                limit = f"did not reach --relative-error with {measure.num_directions} pairs"
            console.say(f"{measure.name} at rho = {console.number(measure.rho)} {limit}.")
