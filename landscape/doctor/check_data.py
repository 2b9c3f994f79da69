"""Whether the data are those that the weights belong to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch

from landscape.doctor.findings import Finding, Severity, in_percent
from landscape.problem.batches import BatchData, tensors_in
from landscape.problem.forward import has_accuracy
from landscape.problem.problem import Problem
from landscape.runtime.random_state import derived_seeds
from landscape.training.augmentation import get_augmentation

_ERRORS = 3.0  # standard errors above chance
_FAR_MEAN, _FAR_DEVIATION = 5.0, 10.0  # of all inputs, beyond which they look like raw ones
_DIFFERENT, _VERY_DIFFERENT = 0.005, 0.05  # accuracy
_FACTOR, _LEAST = 2.0, 0.1  # of the loss on augmented images to that without, and their difference
_CHECK_DATA = (
    "Check `data`, `data_arg` (the normalization above all), `data_dir` and the order of the "
    "classes."
)


def check_inputs(problem: Problem) -> Finding:
    """Look at the inputs' numbers."""
    count = bad = 0
    total = squares = 0.0
    tensors = chain.from_iterable(tensors_in(inputs) for inputs, _ in problem.batches)
    for tensor in (each.cpu() for each in tensors if each.is_floating_point()):
        is_finite = torch.isfinite(tensor)
        values = tensor[is_finite].double()
        count, bad = count + tensor.numel(), bad + int((~is_finite).sum())
        total, squares = total + float(values.sum()), squares + float(values.square().sum())
    if not count:
        return Finding("inputs", Severity.OK, "The inputs are no floating numbers.")
    if bad:
        return Finding(
            "inputs",
            Severity.PROBLEM,
            f"{bad} of {count} input values are NaN or infinite.",
            "Clean the data.",
            {"num_not_finite": bad},
        )
    mean = total / count
    deviation = math.sqrt(max(squares / count - mean**2, 0.0))
    message = f"The inputs have mean {mean:.3g} and standard deviation {deviation:.3g}"
    found = {"mean": mean, "deviation": deviation}
    if abs(mean) > _FAR_MEAN or deviation > _FAR_DEVIATION:
        message += ": they look as if they were not normalized."
        return Finding("inputs", Severity.WARNING, message, _CHECK_DATA, found)
    return Finding("inputs", Severity.OK, f"{message}.", values=found)


def check_classes(problem: Problem) -> Finding:
    """Compare outputs with classes, and the accuracy with that of guessing."""
    outputs, targets = problem.outputs(1), problem.batches[0][1]
    if len(outputs) != 1 or not has_accuracy(outputs[0], targets):
        return Finding(
            "classes", Severity.NOTE, "The outputs are no scores of classes, there is no accuracy."
        )
    every = torch.cat([batch[1].cpu() for batch in problem.batches])
    _, counts = every.unique(return_counts=True)
    num_outputs, num_classes = outputs[0].shape[1], len(counts)
    accuracy, chance = problem.evaluate().accuracy or 0.0, float(counts.max()) / len(every)
    bar = chance + _ERRORS * math.sqrt(chance * (1 - chance) / len(every))
    values = {
        "num_outputs": num_outputs,
        "num_classes": num_classes,
        "accuracy": accuracy,
        "chance": chance,
    }
    message = (
        f"The accuracy is {in_percent(accuracy)}, that of always answering the commonest class "
        f"{in_percent(chance)}"
    )
    if accuracy <= bar:
        message += ": the weights know nothing about these data."
        return Finding("classes", Severity.PROBLEM, message, _CHECK_DATA, values)
    if num_outputs > num_classes and problem.sample is None:  # a subset may lack some
        message += f"; the model has {num_outputs} outputs, the data have {num_classes} classes."
        return Finding("classes", Severity.WARNING, message, _CHECK_DATA, values)
    return Finding("classes", Severity.OK, f"{message}.", values=values)


def check_recorded(training: Mapping[str, Any] | None, test: Problem | None) -> Finding:
    """Compare the test accuracy with that of the last epoch of training."""
    recorded = _recorded_accuracy(training)
    found = None if test is None else test.evaluate().accuracy
    if recorded is None or found is None:
        missing = (
            "this checkpoint records none" if recorded is None else "there is none of these data"
        )
        return Finding(
            "test accuracy", Severity.NOTE, f"The test accuracy cannot be compared: {missing}."
        )
    values = {"recorded": recorded, "found": found}
    message = f"The test accuracy is {in_percent(found)}; training recorded {in_percent(recorded)}."
    difference = abs(found - recorded)
    if difference <= _DIFFERENT:
        return Finding("test accuracy", Severity.OK, message, values=values)
    return Finding(
        "test accuracy",
        Severity.PROBLEM if difference > _VERY_DIFFERENT else Severity.WARNING,
        message,
        f"{_CHECK_DATA} Leave `batchnorm` and `dtype` out.",
        values,
    )


def _recorded_accuracy(training: Mapping[str, Any] | None) -> float | None:
    """Return the test accuracy of the weights in the file.

    It is None if training stopped inside an epoch, or if the accuracy is unknown.
    """
    state = (training or {}).get("state", {})
    if not state.get("rows") or state.get("step"):
        return None
    found = float(state["rows"][-1].get("test_accuracy", math.nan))
    return None if math.isnan(found) else found


def check_augmentation(
    training: Mapping[str, Any] | None, problem: Problem, *, seed: int
) -> Finding:
    """Compare the loss with that on inputs that are changed as in training."""
    settings = (training or {}).get("settings", {})
    if "augmentation" not in settings:
        return Finding(
            "augmentation",
            Severity.NOTE,
            "How it was trained is not recorded; landscapes are of data without augmentation.",
        )
    name = settings["augmentation"]
    if name == "none":
        return Finding("augmentation", Severity.OK, "It was trained without augmentation.")
    augment = get_augmentation(name)
    generator = torch.Generator().manual_seed(derived_seeds(1, seed)[0])
    batches = tuple((augment(inputs, generator), targets) for inputs, targets in problem.batches)
    plain, changed = problem.loss(), problem.on(BatchData(batches)).loss()
    message = (
        f"It was trained with {name}: the loss is {changed:.4g} with that, {plain:.4g} without, "
        "as landscapes are"
    )
    values = {"loss_augmented": changed, "loss": plain}
    if changed > _FACTOR * plain and changed - plain > _LEAST:
        return Finding(
            "augmentation",
            Severity.WARNING,
            f"{message}; the minimum of the one is not that of the other.",
            "Compare only with checkpoints of the same `augmentation`.",
            values,
        )
    return Finding("augmentation", Severity.NOTE, f"{message}.", values=values)


def check_smoothing(training: Mapping[str, Any] | None) -> Finding:
    """Say whether training had another minimum because its labels were smoothed."""
    smoothing = float((training or {}).get("settings", {}).get("label_smoothing", 0.0))
    if not smoothing:
        return Finding("label smoothing", Severity.OK, "No label smoothing is recorded.")
    return Finding(
        "label smoothing",
        Severity.NOTE,
        f"It was trained with label smoothing {smoothing:g}; landscapes are of the plain loss, of "
        "another minimum.",
        "Pass `loss='file.py:function'` with a smoothed loss to see that of training.",
        {"label_smoothing": smoothing},
    )
