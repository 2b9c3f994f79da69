"""Quantities that a stored result has. Torch is not needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from landscape.conditions.quantities import (
    CURVATURES,
    EVALUATED,
    Known,
    Quantity,
    known_curvatures,
    with_derived,
)
from landscape.errors import InputError
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History
from landscape.results.interval import Interval
from landscape.results.provenance import Provenance
from landscape.results.sharpness import Certificate, Sharpness
from landscape.results.sharpness_measures import MEASURES
from landscape.results.spectrum import Spectrum
from landscape.results.surface import Surface

Found = Iterator[tuple[Quantity, Known]]

_SUBSET = "of a subset of the data"


def stored_quantities(result: Any) -> dict[Quantity, Known]:
    """Return all quantities that a result has.

    Args:
        result: A surface (at its centre), spectrum, curvature history or training history (at its
            end), sharpness or certificate.

    Raises:
        InputError: If it is of another kind.
    """
    if type(result) not in _READ:
        raise InputError(
            "conditions are on a surface, a spectrum, the sharpness of one checkpoint, a "
            f"certificate or a history, got {type(result).__name__}.",
            hint="Pass a file of one checkpoint.",
        )
    found = {
        quantity: known
        for quantity, known in _READ[type(result)](result)
        if not math.isnan(known.interval.value)
    }
    # The train loss of a history is of a moving network, and is no part of a gap.
    return found if isinstance(result, History) else with_derived(found)


def look_up(
    wanted: Iterable[Quantity], found: Mapping[Quantity, Known], source: str
) -> dict[Quantity, Known]:
    """Return the wanted quantities.

    Args:
        wanted: What conditions name.
        found: What there is.
        source: Name of the file, for the message.

    Raises:
        InputError: If one is not there, saying which command writes it.
    """
    missing = [quantity for quantity in dict.fromkeys(wanted) if quantity not in found]
    if missing:
        has = ", ".join(map(str, sorted(found))) or "none"
        commands = "; ".join(dict.fromkeys(map(command_for, missing)))
        raise InputError(
            f"{source} does not have {', '.join(map(str, missing))}; of the quantities of "
            f"conditions it has {has}.",
            hint=f"Write it by {commands}; or pass the checkpoint.",
        )
    return {quantity: found[quantity] for quantity in wanted}


def command_for(quantity: Quantity) -> str:
    """Return the command that writes a file with a quantity."""
    if quantity.name in MEASURES:
        return (
            f"`landscape.save(FILE, landscape.sharpness(problem, measures={quantity.name!r}, "
            f"rho={quantity.rho!r}))`"
        )
    if quantity.name == "trace":
        return "`landscape.save(FILE, landscape.hessian(problem, trace=True))`"
    if quantity.name in (*CURVATURES, "lambda_ratio"):
        return "`landscape.save(FILE, landscape.hessian(problem))`"
    return "`landscape.save(FILE, landscape.sharpness(problem))`"


def _is_sampled(origin: Provenance) -> bool:
    return origin.settings.get("samples") is not None


def _loss(value: float, origin: Provenance, rounding: float | None = None) -> Known:
    """Return a loss or a norm; nobody knows how far that of a subset is off."""
    if _is_sampled(origin):
        return Known(Interval.around(value, math.nan), _SUBSET)
    return Known.of_mean(value, rounding=rounding)


def _share(value: float, origin: Provenance, split: str) -> Known:
    """Return an accuracy; how large the set is that a subset was drawn from is not stored."""
    if _is_sampled(origin):
        return Known.of_share(value, origin.num_examples[split]).but(_SUBSET)
    return Known.of_mean(value)


def _at_the_weights(
    losses: Mapping[str, float],
    accuracies: Mapping[str, float | None],
    origin: Provenance,
    rounding: Mapping[str, float | None] | None = None,
) -> Found:
    """Yield loss and accuracy by split; the rounding is that of the losses."""
    for split, loss in losses.items():
        yield Quantity(f"{split}_loss"), _loss(loss, origin, (rounding or {}).get(split))
    for split, accuracy in accuracies.items():
        if accuracy is not None:
            yield Quantity(f"{split}_accuracy"), _share(accuracy, origin, split)


def _of_set(known: Known, result: Spectrum | Sharpness | CurvatureHistory) -> Known:
    """Add which set it is of, where that is not the whole train split."""
    return known.but(
        _SUBSET if _is_sampled(result.provenance) else "",
        "of the test split" if result.split == "test" else "",
    )


def _around_the_weights(result: Spectrum | Sharpness) -> Found:
    """Yield loss, accuracy and gradient norm."""
    split, origin = result.split, result.provenance
    here = {split: result.loss}, {split: result.accuracy}
    yield from _at_the_weights(*here, origin, {split: result.loss_rounding})
    if result.gradient_norm is not None:
        length = _loss(result.gradient_norm, origin, result.gradient_rounding)
        yield Quantity("gradient_norm"), _of_set(length, result)


def _of_spectrum(result: Spectrum) -> Found:
    yield from _around_the_weights(result)
    if result.curvature != "hessian":
        return
    for name, known in known_curvatures(result).items():
        yield Quantity(name), _of_set(known, result)


def _of_sharpness(result: Sharpness) -> Found:
    yield from _around_the_weights(result)
    for name in ("test_loss", "test_accuracy") if result.split == "train" else ():
        if (value := getattr(result, name)) is not None:
            yield Quantity(name), Known.of_mean(value)
    for measure in result.measures:
        yield Quantity(*measure.key), _of_set(Known.of_measure(measure), result)


def _of_surface(result: Surface) -> Found:
    losses, accuracies = (
        {split: held[split] for split in ("train", "test") if split in held}
        for held in (result.center_loss, result.center_accuracy)
    )
    rounding = {
        split: error * abs(losses[split])
        for split, error in result.rounding.items()
        if split in losses
    }
    yield from _at_the_weights(losses, accuracies, result.provenance, rounding)


def _of_curvature_history(result: CurvatureHistory) -> Found:
    if not result.done.any():
        return
    last = int(np.flatnonzero(result.done)[-1])
    yield from _at_the_weights({result.split: float(result.loss[last])}, {}, result.provenance)
    for name, known in known_curvatures(result, snapshot=last).items():
        yield Quantity(name), _of_set(known, result)


def _of_certificate(result: Certificate) -> Found:
    yield Quantity(f"{result.split}_loss"), Known.of_mean(result.loss)
    for rho, loss in zip(result.rho.tolist(), result.losses.tolist(), strict=True):
        rise = loss - result.loss
        yield Quantity("max", rho), Known(Interval(rise, rise, math.inf), "certified from below")


def _of_history(result: History) -> Found:
    for name in EVALUATED if result.epoch.size else ():
        known = Known.of_mean(float(getattr(result, name)[-1]))
        yield (
            Quantity(name),
            known.but("mean over the last epoch, as training saw it" if "train" in name else ""),
        )


_READ: dict[type, Callable[[Any], Found]] = {
    Spectrum: _of_spectrum,
    Sharpness: _of_sharpness,
    Surface: _of_surface,
    CurvatureHistory: _of_curvature_history,
    Certificate: _of_certificate,
    History: _of_history,
}
