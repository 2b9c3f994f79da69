"""The first sentence about a result: what it says, in words that need no theory.

A sentence holds for whatever is stored: values that are not finite, not converged, or not to be
told from 0. That of a surface is in `landscape.surface.surface_headlines`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from landscape.results.curvature_parts import BlockCurvature, fold_summary
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History, mean_and_deviation
from landscape.results.sharpness import (
    VERDICTS,
    Certificate,
    Difference,
    GroupValue,
    Measure,
    Sharpness,
    SharpnessComparison,
)
from landscape.results.spectral_density import mass_near_zero
from landscape.results.spectrum import Spectrum

RATIO_REMARK = (
    "A small |lambda_max / lambda_min| can mean a flat minimum, or a network that is hardly "
    "trained: compare checkpoints of similar loss."
)
_OPEN = VERDICTS[2]
DEPENDS = "depends on the radius"
"""The vote of a measure that is lower at one radius and higher at another."""

_MOST_PAIRS = 3  # that have a sentence each
_SYMMETRIC = {"float64": 1e-10, "float32": 1e-4}
"""Largest asymmetry of products that rounding explains; in a lower precision, 1e-2."""

_SEEN = 5e-3  # relative error of a number that is worth showing next to it


def brief(value: float, error: float = 0.0) -> str:
    """Write a number with three digits, and its error where that changes one of the first two."""
    text = f"{value:.3g}"
    return f"{text} \N{PLUS-MINUS SIGN} {error:.1g}" if error > _SEEN * abs(value) else text


def sentence(words: str) -> str:
    """Return words with a capital at the start and a full stop."""
    return f"{words[:1].upper()}{words[1:]}."


def is_symmetric(spectrum: Spectrum) -> bool:
    """Return whether the products were symmetric, up to rounding, as those of a Hessian are."""
    allowed = _SYMMETRIC.get(spectrum.provenance.dtype, 1e-2)
    return spectrum.asymmetry is None or spectrum.asymmetry <= allowed


def spectrum_headline(spectrum: Spectrum) -> str:
    """Return what both ends of the spectrum say, and a line for whatever else was measured."""
    if not is_symmetric(spectrum):
        return "These values are not curvatures of the loss: the products are not symmetric."
    words = [_extremes_in_words(spectrum)]
    if spectrum.trace is not None:
        words.append(f"The trace, the sum of all curvatures: {_text(spectrum.trace)}.")
    if spectrum.density is not None:
        share = mass_near_zero(spectrum.density)
        ends = dict.fromkeys(f"{100 * end:.3g}" for end in (share.at_least, share.at_most))
        words.append(
            f"{' to '.join(ends)} % of all directions are flat: their curvature is less than a "
            "hundredth of the largest."
        )
    if spectrum.blocks:
        words.append(_sharpest_layer(spectrum.blocks))
    if spectrum.folds:
        mean, deviation = fold_summary(spectrum.folds)["lambda_max"]
        spread = "" if math.isnan(deviation) else f" \N{PLUS-MINUS SIGN} {deviation:.2g}"
        words.append(f"Sharpest direction of a subset: {brief(mean)}{spread}.")
    return "\n".join(words)


def _text(estimate: object) -> str:
    value, low, high = (getattr(estimate, name) for name in ("value", "low", "high"))
    return f"{value:.3g} ({low:.3g} to {high:.3g})" if math.isfinite(high - low) else f"{value:.3g}"


def _extremes_in_words(spectrum: Spectrum) -> str:
    """Return the sentence about both ends of the spectrum."""
    top, bottom = (
        (float(values[0]), float(errors[0])) if values.size else (math.nan, math.nan)
        for values, errors in zip(
            (spectrum.eigenvalues, spectrum.bottom_eigenvalues), spectrum.half_widths, strict=True
        )
    )
    matrix = {"ggn": " (Gauss-Newton)", "fisher": " (empirical Fisher)"}.get(spectrum.curvature, "")
    start = "" if spectrum.converged else "not converged; so far: "
    return sentence(f"{start}{_upper_end(spectrum, *top)}{matrix}{_lower_end(*bottom)}")


def _upper_end(spectrum: Spectrum, value: float, error: float) -> str:
    if math.isnan(value):
        return "no largest curvature was computed"
    if spectrum.which == "magnitude":
        return (
            f"strongest curvature of the {spectrum.split} loss, up or down: {brief(value, error)}"
        )
    if value + error < 0:
        return f"no direction curves up: the largest curvature is {brief(value, error)}"
    if value - error <= 0:
        return f"no direction was found to curve up: the largest value is {brief(value, error)}"
    return f"sharpest direction: the {spectrum.split} loss curves up by {brief(value, error)}"


def _lower_end(value: float, error: float) -> str:
    if math.isnan(value):
        return ""
    if value + error < 0:
        return f"; the lowest curvature is {brief(value, error)}, downwards"
    if value - error > 0:
        return f"; the lowest curvature is {brief(value, error)}, upwards too"
    return "; the lowest curvature cannot be told from 0"


def _sharpest_layer(blocks: Sequence[BlockCurvature]) -> str:
    """Return which layer has the largest curvature, or which cannot be told apart in that."""
    first = max(blocks, key=lambda block: block.lambda_max)
    alike = [
        block.name
        for block in blocks
        if block.lambda_max + _error(block) >= first.lambda_max - _error(first)
    ]
    if len(alike) > 1:
        return f"Sharpest layers, alike within their errors: {', '.join(alike)}."
    return f"Sharpest layer: {first.name}, {brief(first.lambda_max, _error(first))}."


def _error(block: BlockCurvature) -> float:
    return block.residual + (block.rounding or 0.0)


def curvature_history_headline(history: CurvatureHistory) -> str:
    """Return how the largest eigenvalue changed over the snapshots that are done."""
    known = history.done[:, None] & np.isfinite(history.eigenvalues)
    if not known[:, :1].any():
        return "No curvature is known yet."
    values, places = history.eigenvalues[known[:, 0], 0], history.epoch[known[:, 0]]
    named = [f"{history.unit} {place:.12g}" for place in places]
    words = f"Sharpest direction: {brief(values[0])} at {named[0]}"
    if len(values) > 1:
        words += f", {brief(values[-1])} at {named[-1]}"
        peak = int(values.argmax())
        if brief(values[peak]) not in (brief(values[0]), brief(values[-1])):
            words += f"; largest {brief(values[peak])} at {named[peak]}"
    num_open = int((~history.converged[history.done]).sum())
    if num_open:
        words += f"; not converged at {num_open} of {int(history.done.sum())}"
    num_left = int((~history.done).sum())
    return f"{words}{f'; {num_left} snapshots are left' if num_left else ''}."


def history_headline(histories: Sequence[History]) -> str:
    """Return what training came to: of one run, or of runs that differ in the seed alone."""
    if not all(each.epoch.size for each in histories):
        return "No epoch is finished."
    lost = [each for each in histories if not math.isfinite(each.train_loss[-1])]
    num_epochs = _counted(int(histories[0].epoch[-1]), "epoch")
    if lost:
        which = f"{len(lost)} of {len(histories)} runs" if len(histories) > 1 else "Training"
        first = min(int(each.epoch[~np.isfinite(each.train_loss)][0]) for each in lost)
        return f"{which} failed: the train loss is not a finite number from epoch {first} on."
    of_seeds = f", mean of {len(histories)} seeds" if len(histories) > 1 else ""
    for split in ("test", "train"):
        for name in ("accuracy", "loss"):
            values = [float(getattr(each, f"{split}_{name}")[-1]) for each in histories]
            if not any(map(math.isnan, values)):
                shown = _mean_in_words(values, is_share=name == "accuracy")
                rest = _of_training(histories[0]) if split == "test" and not of_seeds else ""
                return f"{split.title()} {name} {shown} after {num_epochs}{of_seeds}{rest}."
    return f"Trained for {num_epochs}."


def _mean_in_words(values: Sequence[float], *, is_share: bool) -> str:
    mean, deviation = mean_and_deviation(values)
    factor, form, unit = (100.0, ".2f", " %") if is_share else (1.0, ".4g", "")
    error = f" \N{PLUS-MINUS SIGN} {factor * deviation:.2g}" if len(set(values)) > 1 else ""
    return f"{factor * mean:{form}}{error}{unit}"


def _of_training(history: History) -> str:
    """Return the same of the training set, as training saw it."""
    accuracy, loss = float(history.train_accuracy[-1]), float(history.train_loss[-1])
    return (
        f"; train loss {loss:.4g}"
        if math.isnan(accuracy)
        else f"; in training {100 * accuracy:.2f} %"
    )


def sharpness_headline(result: Sharpness) -> str:
    """Return how far the loss rises around the weights, by what was found at the middle radius."""
    radii = sorted({measure.rho for measure in result.measures})
    if not radii:
        return f"The {result.split} loss is {brief(result.loss)}; no sharpness was measured."
    rho = radii[(len(radii) - 1) // 2]
    measures = [measure for measure in result.measures if measure.rho == rho]
    if result.protocol:
        values = ", ".join(f"{each.name} {brief(each.sharpness)}" for each in measures)
        return f"Sharpness by protocol {result.protocol} at radius {rho:.4g}: {values}."
    worst = _worst(result, measures, rho)
    average = _average(measures, "it" if worst else f"the {result.split} loss")
    found = "; ".join(filter(None, [worst, average]))
    if not found:
        slope = brief(measures[0].sharpness)
        found = f"the gradient predicts a rise of the {result.split} loss by {slope}"
        found += f" within {_ball(measures[0])} of the weights"
    return sentence(found)


def _ball(measure: Measure) -> str:
    norms = [f"p = {measure.p:g}"] * (measure.p != 2) + ["adaptive"] * measure.adaptive
    details = f" ({', '.join(norms)})" if norms else ""
    return f"{measure.rho:.4g}{details}"


def _worst(result: Sharpness, measures: Sequence[Measure], rho: float) -> str:
    """Return the largest rise at weights that some measure found; empty if none looked for one."""
    found = [m for m in measures if m.radius_share is not None and m.num_directions is None]
    if not found:
        return ""
    ball = _ball(found[0])
    finite = [measure for measure in found if math.isfinite(measure.sharpness)]
    if not finite:
        return f"within {ball} of the weights the {result.split} loss is not a finite number"
    best = max(finite, key=lambda measure: measure.sharpness)
    batches = "" if best.m is None else f", in batches of {best.m} on average"
    if abs(best.sharpness) <= (best.rounding or 0.0):
        return (
            f"within {ball} of the weights no rise of the {result.split} loss can be told from "
            f"rounding{batches}"
        )
    if best.sharpness <= 0:
        return f"no step of length {ball} was found to raise the {result.split} loss{batches}"
    return (
        f"within {ball} of the weights the {result.split} loss rises by at least "
        f"{brief(best.sharpness)}{batches}, from {brief(result.loss)}"
    )


def _average(measures: Sequence[Measure], loss: str) -> str:
    """Return the mean over random directions; empty where it was not measured."""
    for measure in measures:
        if measure.num_directions is not None:
            error = measure.half_width or 0.0
            rise = f"random steps of length {_ball(measure)} change {loss} by"
            if not math.isfinite(measure.sharpness):
                return f"{rise} no finite number on average"
            if abs(measure.sharpness) <= error + (measure.rounding or 0.0):
                return f"{rise} nothing that can be told from 0 on average"
            return f"{rise} {brief(measure.sharpness, error)} on average"
    return ""


def votes(differences: Sequence[Difference]) -> dict[tuple[str, str], dict[str, str]]:
    """Return what each measure says of each pair, whatever the number of its radii.

    Returns:
        First and second name -> name of a measure -> one of `VERDICTS`, or `DEPENDS`.
    """
    found: dict[tuple[str, str], dict[str, set[str]]] = {}
    for each in differences:
        measures = found.setdefault((each.first, each.second), {})
        measures.setdefault(each.name, set()).add(each.verdict)
    return {
        pair: {name: _vote(verdicts - {_OPEN}) for name, verdicts in measures.items()}
        for pair, measures in found.items()
    }


def _vote(decided: set[str]) -> str:
    if len(decided) > 1:
        return DEPENDS
    return next(iter(decided), _OPEN)


def pair_in_words(pair: tuple[str, str], verdicts: Sequence[str]) -> str:
    """Return which of two is flatter by how many measures, without a full stop."""
    first, second = pair
    counts, total = Counter(verdicts), len(verdicts)
    words = {"lower": "flatter", "higher": "sharper"}
    decided = [verdict for verdict in words if counts[verdict]]
    if not decided:
        rest = "any measure" if not counts[DEPENDS] else "measures, which depend on the radius"
        return f"{first} and {second} cannot be told apart by {rest}"
    decided.sort(key=lambda verdict: -counts[verdict])
    said = [
        f"{words[verdict]} {f'than {second} ' * (not i)}by {_share(counts[verdict], total)}"
        for i, verdict in enumerate(decided)
    ]
    rest = [
        f"{counts[verdict]} {text}"
        for verdict, text in ((_OPEN, "undecided"), (DEPENDS, DEPENDS))
        if counts[verdict]
    ]
    return f"{first} is {' and '.join(said)}{''.join(f'; {each}' for each in rest)}"


def _share(count: int, total: int) -> str:
    if count == total:
        return "every measure" if total > 1 else "the only measure"
    return f"{count} of {total} measures"


def comparison_headline(differences: Sequence[Difference]) -> str:
    """Return which checkpoints or groups are flatter; a measure at several radii has one vote."""
    found = {pair: list(each.values()) for pair, each in votes(differences).items()}
    if len(found) <= _MOST_PAIRS:
        return " ".join(f"{pair_in_words(*each)}." for each in found.items())
    return " ".join(_sorted_pairs(found))


def _sorted_pairs(found: dict[tuple[str, str], list[str]]) -> Iterator[str]:
    """Yield sentences about many pairs, by what all measures say of each."""
    agreed = {pair: set(verdicts) for pair, verdicts in found.items()}
    tests: dict[str, Callable[[set[str]], bool]] = {
        "Flatter by every measure": lambda said: said == {VERDICTS[0]},
        "Sharper by every measure": lambda said: said == {VERDICTS[1]},
        "Not the same by every measure": lambda said: len(said) > 1 or not said <= {*VERDICTS[:2]},
    }
    for words, fits in tests.items():
        if pairs := [f"{a} (than {b})" for (a, b), said in agreed.items() if fits(said)]:
            yield f"{words}: {', '.join(pairs)}."


def groups_headline(result: SharpnessComparison) -> str:
    """Return the comparison in words; of a single group, its first measure over the checkpoints."""
    if result.differences or not result.groups:
        return comparison_headline(result.differences)
    value: GroupValue = result.groups[0]
    return f"{value.group}: {value.name} {brief(value.mean)}, mean of {value.count} checkpoints."


def certificate_headline(certificate: Certificate, *, holds: bool | None = None) -> str:
    """Return what a certificate proves at its largest radius, or that it proves nothing.

    Args:
        certificate: The certificate.
        holds: What became of a check; None before one.
    """
    if holds is False or not certificate.rho.size:
        return "The certificate does not hold."
    last = int(np.argmax(certificate.rho))
    norm = "" if certificate.p == 2 and not certificate.adaptive else " in the norm of its balls"
    start = "The certificate holds" if holds else "To be checked"
    return (
        f"{start}: within {certificate.rho[last]:.4g} of the weights{norm} the "
        f"{certificate.split} loss reaches {brief(float(certificate.losses[last]))} or more, from "
        f"{brief(certificate.loss)} at the weights."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
