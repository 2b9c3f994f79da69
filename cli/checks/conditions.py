"""`landscape assert`: whether conditions on a checkpoint or a stored result hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from landscape.conditions import Judgement, Known, Quantity, judge, parse_condition
from landscape.conditions.condition import JUDGEMENTS, UNDECIDED
from landscape.conditions.from_file import look_up, stored_quantities
from landscape.errors import InputError
from landscape.io.layouts import read_any
from landscape.io.store import kind_of
from landscape.runtime.files import is_hdf5

from .. import console
from ..options import ProblemOptions, typed_options
from .options import EffortOptions


def check_conditions(
    file: Path,
    conditions: Sequence[str],
    problem: ProblemOptions,
    effort: EffortOptions,
    *,
    lenient: bool,
    as_json: bool,
) -> None:
    """Find the quantities, judge the conditions, and exit with 1 unless all hold."""
    parsed = [parse_condition(text) for text in conditions]
    wanted = list(
        dict.fromkeys(quantity for condition in parsed for quantity in condition.quantities)
    )
    if file.is_file() and is_hdf5(file):
        kind, loss, known = _look_up(file, wanted, problem, effort)
    else:
        from .run import measure_checkpoint  # a stored result needs no torch

        kind = "checkpoint"
        loss, known = measure_checkpoint(file, wanted, problem, effort)
    judgements = [judge(condition, known) for condition in parsed]
    named = {"file": str(file), "kind": kind, "loss_function": loss}
    _answer(named, judgements, lenient=lenient, as_json=as_json)
    if not all(each.passes(lenient=lenient) for each in judgements):
        raise typer.Exit(1)


def _look_up(
    file: Path, wanted: Sequence[Quantity], problem: ProblemOptions, effort: EffortOptions
) -> tuple[str, str, Mapping[Quantity, Known]]:
    """Return the kind of a results file, the name of its loss, and what it has of the wanted.

    Options are refused, for a stored result is not computed anew.
    """
    for options in (problem, effort):
        for name in typed_options(options):
            raise InputError(
                f"--{name} is of a computation, and {file} is a results file.",
                hint="Leave it out, or pass the checkpoint.",
            )
    result, _ = read_any(file)
    known = look_up(wanted, stored_quantities(result), str(file))
    origin = getattr(result, "provenance", None)
    return kind_of(result), origin.loss_function if origin else "", known


def _answer(
    named: Mapping[str, str], judgements: Sequence[Judgement], *, lenient: bool, as_json: bool
) -> None:
    counts = {
        verdict: sum(each.verdict == verdict for each in judgements) for verdict in JUDGEMENTS
    }
    if as_json:
        console.answer_json(
            {
                **named,
                "passed": all(each.passes(lenient=lenient) for each in judgements),
                "lenient": lenient,
                **counts,
                "conditions": [_as_json(each, lenient=lenient) for each in judgements],
            }
        )
        return
    width = max(map(len, JUDGEMENTS))
    for each in judgements:
        values = ", ".join(
            ", ".join(filter(None, (f"{name} = {known.interval.text}", known.remark)))
            for name, known in each.quantities.items()
        )
        console.answer(f"{each.verdict:<{width}}  {each.condition}  ({values})")
    if named["loss_function"]:
        console.say(f"The loss is {named['loss_function']}.")
    if counts[UNDECIDED] and not lenient:
        console.say(
            "Undecided counts as failed. To decide: a smaller --tolerance, more --num-directions "
            "or --samples, or --dtype float64; --lenient lets it pass."
        )


def _as_json(judgement: Judgement, *, lenient: bool) -> dict[str, Any]:
    return {
        "condition": judgement.condition,
        "verdict": judgement.verdict,
        "passed": judgement.passes(lenient=lenient),
        "operands": [operand.as_dict() for operand in judgement.operands],
        "quantities": {
            str(name): {**known.interval.as_dict(), "remark": known.remark or None}
            for name, known in judgement.quantities.items()
        },
    }
