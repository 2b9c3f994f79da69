"""What `landscape hessian` says of a spectrum: tables and a JSON object."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from landscape.hessian.engines import Agreement
from landscape.results.curvature_parts import fold_summary
from landscape.results.headlines import RATIO_REMARK, is_symmetric, spectrum_headline
from landscape.results.interval import CONFIDENCE
from landscape.results.spectral_density import (
    mass_below_near_zero,
    mass_below_zero,
    mass_near_zero,
    near_zero_width,
)
from landscape.results.spectrum import Spectrum

from .. import console
from ..outputs import show_draws, with_loss

_COLUMNS = ["eigenvalue", "value", "error"]
_DETAILS = ["residual", "rounding", "estimated error", "|cos| to gradient"]
_UNDEFINED = "undefined: denominator 0 within its error"
MATRICES = {"hessian": "Hessian", "ggn": "Gauss-Newton", "fisher": "empirical Fisher"}
"""Kind of curvature -> name of the matrix."""

_FOLDS = {
    "lambda_max": "lambda_max",
    "lambda_min": "lambda_min",
    "held_out": "lambda_max held out: a lower bound",
}
_NOT_IN_JSON = ("provenance", "num_vectors", "remark")


def show_spectrum(result: Spectrum, agreement: Agreement | None, as_json: bool) -> None:
    """Print all there is as tables and what to think of it, or as one JSON object."""
    if as_json:
        compared = {} if agreement is None else _agreement_as_json(agreement)
        console.answer_json(_spectrum_as_json(result) | compared)
        return
    console.answer(spectrum_headline(result))
    size = result.provenance.num_parameters
    examples = result.provenance.num_examples[result.split]
    console.answer_table(
        with_loss(
            f"{MATRICES[result.curvature]} eigenvalues, {size} parameters, {examples} "
            f"{result.split} examples",
            result.provenance,
        ),
        [*_COLUMNS, *_DETAILS] if console.is_verbose() else _COLUMNS,
        _eigenvalues(result, size),
    )
    if ratios := list(_ratios(result)):
        console.answer_table("Ratios", ["ratio", "value", "interval"], ratios)
    if any(result.ratios.values()):
        console.answer(RATIO_REMARK)
    _show_extras(result)
    show_draws(result.provenance)
    for remark in _remarks(result):
        console.answer(remark)
    if agreement is not None:
        console.answer_table(
            "Two engines",
            ["lanczos", "pyhessian", "difference", "allowed", "verdict"],
            [
                [
                    console.number(each.ours),
                    console.number(each.theirs),
                    console.number(each.difference, 2),
                    console.number(each.allowed, 2),
                    each.verdict,
                ]
                for each in agreement.comparisons
            ],
        )
        console.answer(agreement.summary())


def _spectrum_as_json(result: Spectrum) -> dict[str, Any]:
    found = {key: each for key, each in result.as_dict().items() if key not in _NOT_IN_JSON}
    density = result.density and {
        "num_probes": result.density.num_probes,
        "num_matvecs": result.density.num_matvecs,
        "near_zero_width": near_zero_width(result.density),
        "mass_near_zero": mass_near_zero(result.density).as_dict(),
        "mass_below_near_zero": mass_below_near_zero(result.density).as_dict(),
        "mass_below_zero": mass_below_zero(result.density).as_dict(),
    }
    own = {"aligned_with": result.aligned_with or None, "density": density}
    origin = result.provenance
    return {
        **found,
        **own,
        "draws_error": origin.draws_error,
        "loss_function": origin.loss_function,
    }


def _agreement_as_json(agreement: Agreement) -> dict[str, Any]:
    return {
        "agrees": agreement.agrees,
        "comparisons": [
            {**dataclasses.asdict(each), "difference": each.difference}
            for each in agreement.comparisons
        ],
    }


def _ratios(result: Spectrum) -> Iterator[list[str]]:
    """Yield a row for each ratio of eigenvalues that were computed."""
    has_fifth, has_bottom = len(result.eigenvalues) > 4, len(result.bottom_eigenvalues) > 0
    for name, ratio in result.ratios.items():
        if ratio is not None:
            yield [name, console.number(ratio.value), console.extent(ratio)]
        elif has_fifth if "lambda_5" in name else has_bottom:
            yield [name, _UNDEFINED, ""]


def _show_extras(result: Spectrum) -> None:
    """Print what was measured next to the eigenvalues."""
    if result.trace is not None or result.density is not None:
        console.answer_table(
            "Whole spectrum", ["quantity", "value", "interval"], list(_whole(result))
        )
    if result.blocks:
        console.answer_table(
            "Layers",
            ["layer", "parameters", "lambda_max", "error", "trace", "error"],
            [
                [
                    block.name,
                    str(block.num_parameters),
                    console.number(block.lambda_max),
                    console.number(block.residual + (block.rounding or 0.0), 2),
                    console.number(block.trace),
                    console.number(block.trace_error + (block.trace_rounding or 0.0), 2),
                ]
                for block in result.blocks
            ],
        )
    if result.folds:
        console.answer_table(
            f"{len(result.folds)} disjoint subsets of {result.folds[0].num_examples} examples",
            ["quantity", "mean", "sd"],
            [
                [_FOLDS[name], console.number(mean), console.number(sd, 2)]
                for name, (mean, sd) in fold_summary(result.folds).items()
            ],
        )
    if result.alignment.size:
        console.answer_table(
            f"|cosine| to the eigenvectors of {result.aligned_with}",
            ["", *(f"theirs {j}" for j in range(1, result.alignment.shape[1] + 1))],
            [
                [f"ours {i}", *(console.number(value, 3) for value in row)]
                for i, row in enumerate(result.alignment, 1)
            ],
        )


def _eigenvalues(result: Spectrum, size: int) -> list[list[str]]:
    """Return a row for each eigenvalue, descending: `_COLUMNS`, then details where wanted."""
    num_top = result.eigenvalues.size
    names = [
        f"lambda_{i}" if result.which == "algebraic" else f"value {i}"
        for i in range(1, num_top + 1)
    ]
    names += [f"lambda_{size - i}" for i in range(result.bottom_eigenvalues.size)]
    columns = [
        [*result.eigenvalues, *result.bottom_eigenvalues],
        [error for errors in result.half_widths for error in errors],
        [*result.residuals, *result.bottom_residuals],
        [*result.rounding, *result.bottom_rounding] or [None] * len(names),
        [*result.estimates, *result.bottom_estimates] or [None] * len(names),
        [*result.gradient_overlaps] or [None] * len(names),
    ]
    num_shown = None if console.is_verbose() else len(_COLUMNS) - 2
    rows = [
        [name, console.number(value), *(console.number(each, 2) for each in rest[:num_shown])]
        for name, value, *rest in zip(names, *columns, strict=True)
    ]
    return [*rows[:num_top], *reversed(rows[num_top:])]


def _certainty(result: Spectrum, dtype: str) -> str:
    """Say what is certain, and what helps where that is less than was asked for."""
    if not result.rounding.size:
        return f"Not certified: what {dtype} does to the products could not be measured."
    certain = "Certified: an eigenvalue lies within the error of each value."
    if result.is_certified or not result.converged:
        return certain
    remedy = "raise --tolerance" if dtype == "float64" else "pass --polish or --dtype float64"
    return f"{certain} The rounding of {dtype} exceeds the tolerance: {remedy}."


def _whole(result: Spectrum) -> Iterator[list[str]]:
    if (found := result.trace) is not None:
        interval = f"{console.extent(found)} ({100 * found.confidence:g} %)"
        yield ["trace", console.number(found.value), interval]
    if result.density is not None:
        width = console.number(near_zero_width(result.density), 2)
        for name, mass in (
            (f"eigenvalues within {width} of 0", mass_near_zero(result.density)),
            (f"eigenvalues below -{width}", mass_below_near_zero(result.density)),
            ("eigenvalues below 0", mass_below_zero(result.density)),
        ):
            ends = f"{console.percent(mass.at_least)} to {console.percent(mass.at_most)}"
            interval = f"{ends} ({100 * CONFIDENCE:g} %)"
            yield [name, console.percent(mass.value), interval]


def _remarks(result: Spectrum) -> Iterator[str]:
    if result.remark:
        yield result.remark
    state = "Converged" if result.converged else "NOT converged"
    dtype = "float64" if result.polished else result.provenance.dtype
    effort = ""
    if console.is_verbose() or not result.converged:
        effort = (
            f" to {result.tolerance:g} relative, or {result.noise_floor:.2g} absolute, the last "
            f"digits of {dtype}, with {result.num_matvecs} matrix-vector products "
            f"({result.engine})"
        )
    yield f"{state}{effort}. {_certainty(result, dtype)}"
    look = result.second_look
    missed = 0 if look is None else look.num_missed_top + look.num_missed_bottom
    if look is not None and (missed or console.is_verbose()):
        yield (
            f"A second look of {look.num_matvecs} products found {missed or 'no'} missed or "
            "repeated "
            f"eigenvalue{'' if missed == 1 else 's'}: beside those above, its values lie between "
            f"{console.number(look.smallest)} and {console.number(look.largest)}."
        )
    if not is_symmetric(result):
        yield (
            f"The products are not symmetric, by {result.asymmetry:.1e} of lambda_max: that is "
            "more than rounding, so "
            "the values are no eigenvalues of a Hessian. Look for randomness or custom gradients "
            "in the model."
        )
    if result.trace is not None and not result.trace.converged:
        yield "The trace ended before what was asked for; its interval says how far it can be off."
    if result.provenance.settings.get("samples") is not None:
        yield (
            "Extremes of a subset are biased outwards; --folds says how much, and brackets the "
            "whole set's."
        )
