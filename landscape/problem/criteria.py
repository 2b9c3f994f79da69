"""The built-in losses by name, what each takes, and what the mean of a batch is over.

Torch's losses of class numbers average over the targets that count: not those of the class that is
ignored, and by the weights of classes. Means of batches are then weighted by what they count, and
so are those of any loss function that returns `(sum, count)` in place of a mean.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.errors import InputError, require, require_one_of
from landscape.problem.batches import Batch, batch_length
from landscape.problem.forward import as_mean, changed, has_accuracy
from landscape.problem.structures import map_tensors


def binary_cross_entropy(outputs: Any, targets: Any, *, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy of independent questions of yes or no, from logits.

    Args:
        outputs: Logits (N, ...).
        targets: 0, 1 or a probability each, of the outputs' shape.
        reduction: `mean`, `sum` or `none`.
    """
    return F.binary_cross_entropy_with_logits(
        outputs, targets.to(outputs.dtype), reduction=reduction
    )


LOSSES: dict[str, Callable[..., Any]] = {
    "cross-entropy": F.cross_entropy,
    "mse": F.mse_loss,
    "bce": binary_cross_entropy,
}
"""Name -> built-in loss: of scores (N, C), (N, C, ...) or (N, ..., C) and class numbers (N, ...);
of numbers and targets of one shape; of logits and answers of yes or no of one shape."""

Counts: TypeAlias = list[float | None]
"""What a loss counts in each batch; None where it returns a mean."""

DEFAULT_LOSS = "cross-entropy"

_ELEMENTWISE = {
    *(F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, binary_cross_entropy),
    *(nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss),
    *(F.binary_cross_entropy, F.binary_cross_entropy_with_logits),
}
_Plain: TypeAlias = bool | int | float | str
_OF_CLASSES = {F.cross_entropy, F.nll_loss, nn.CrossEntropyLoss, nn.NLLLoss}


def criterion_of(loss: Callable[..., Any] | str | None) -> Callable[..., Any]:
    """Return a loss function, that of a built-in name, or the default for None.

    Raises:
        InputError: If there is no such name.
    """
    if loss is not None and not isinstance(loss, str):
        return loss
    require_one_of("loss", loss or DEFAULT_LOSS, LOSSES)
    return LOSSES[loss or DEFAULT_LOSS]


def loss_name(criterion: Callable[..., Any]) -> str:
    """Return the name of a loss with those of its options that are not at their defaults.

    It is a built-in loss's own name, the class or function of torch's, such as `SmoothL1Loss`, and
    for others where they are from, such as `mine.py:loss`.
    """
    options = ", ".join(f"{name}={value}" for name, value in _options(criterion))
    return _plain_name(_kind(criterion)) + (f"({options})" if options else "")


def _plain_name(kind: Any) -> str:
    names = {function: name for name, function in LOSSES.items()}
    if kind in names:
        return names[kind]
    module = str(getattr(kind, "__module__", None) or "")
    name = getattr(kind, "__qualname__", type(kind).__name__)
    file = Path(getattr(sys.modules.get(module), "__file__", None) or "").name
    is_script = file not in ("", "__init__.py") and "." not in module
    return name if _is_known(module) else f"{file if is_script else module}:{name}".lstrip(":")


def _options(criterion: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """Yield the options of a partial, or of a module those that are not at their defaults."""
    if isinstance(criterion, partial):
        yield from _options(criterion.func)
        found: dict[str, Any] = criterion.keywords
    elif isinstance(criterion, nn.Module):
        parameters = inspect.signature(type(criterion)).parameters.values()
        found = {
            each.name: value
            for each in parameters
            if isinstance(value := getattr(criterion, each.name, None), Tensor | _Plain)
            and (isinstance(value, Tensor) or value != each.default)
        }
    else:
        found = {}
    for name, value in found.items():
        yield name, value if isinstance(value, _Plain) else type(value).__name__


def is_of_torch(criterion: Callable[..., Any]) -> bool:
    """Whether a loss is one of torch's or our own, whose mean over a batch is known."""
    return _is_known(getattr(_kind(criterion), "__module__", None) or "")


def _is_known(module: str) -> bool:
    return module.split(".")[0] in ("torch", "landscape")


def _kind(criterion: Callable[..., Any]) -> Any:
    """Return the function of a partial, the class of a module, anything hashable as it is."""
    if isinstance(criterion, partial):
        return _kind(criterion.func)
    if isinstance(criterion, nn.Module):
        return type(criterion)
    return criterion if getattr(criterion, "__hash__", None) else type(criterion)


def checked(criterion: Callable[..., Any], *, is_chosen: bool) -> Callable[..., Any]:
    """Return a loss function that refuses outputs and targets which it would misunderstand.

    Args:
        criterion: The loss function.
        is_chosen: Whether the user named it; else it is the default.
    """

    def loss(outputs: Any, targets: Any) -> Any:
        if isinstance(outputs, Tensor) and isinstance(targets, Tensor):
            _require_fit(criterion, outputs, targets, is_chosen=is_chosen)
        return criterion(outputs, targets)

    return loss


def _require_fit(
    criterion: Callable[..., Any], outputs: Tensor, targets: Tensor, *, is_chosen: bool
) -> None:
    kind = _kind(criterion)
    shapes = f"the outputs are {tuple(outputs.shape)}, the targets {tuple(targets.shape)}"
    if kind in _ELEMENTWISE:
        require(
            outputs.shape == targets.shape,
            f"{loss_name(criterion)} needs outputs and targets of one shape; {shapes}.",
            hint="Reshape one of them: every output would be compared with every target.",
        )
    if kind is not F.cross_entropy and kind is not nested_cross_entropy:
        return
    scores = classes_second(outputs, targets)
    is_multiple = targets.is_floating_point() or outputs.shape == targets.shape
    require(
        is_chosen or not is_multiple,
        "no loss was chosen, and the default, cross-entropy, is for class numbers; "
        f"{shapes} of {str(targets.dtype).removeprefix('torch.')}.",
        hint="Pass `loss='mse'` for numbers, or `loss='bce'` for answers of yes or no; "
        "`loss='cross-entropy'` for probabilities of classes.",
    )
    require(
        scores.shape[1] > 1 if scores.ndim > 1 else targets.ndim == 0,
        f"cross-entropy needs scores of at least 2 classes; {shapes}.",
        hint="Pass `loss='mse'` for numbers, or `loss='bce'` for answers of yes or no.",
    )


def classes_second(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return scores (N, ..., C) of class numbers (N, ...) as (N, C, ...), others as they are."""
    if outputs.ndim != targets.ndim + 1 or outputs.ndim < 3:
        return outputs
    is_second = (outputs.shape[0], *outputs.shape[2:]) == tuple(targets.shape)
    is_last = outputs.shape[:-1] == targets.shape
    return outputs.movedim(-1, 1) if is_last and not is_second else outputs


def nested_cross_entropy(
    outputs: Any, targets: Any, *, reduction: str = "mean", criterion: Callable[..., Tensor]
) -> Tensor:
    """Return a cross-entropy of scores (N, C, ...) or (N, ..., C) and class numbers (N, ...)."""
    return criterion(classes_second(outputs, targets), targets, reduction=reduction)


@dataclass(frozen=True)
class ClassLoss:
    """One of torch's losses of class numbers, which averages over the targets that count.

    Attributes:
        each: The loss function with no mean over the targets, those that do not count being 0.
        ignored: Class number that does not count.
        weight: Of each class, (C,); None for equal ones.
    """

    each: Callable[[Any, Any], Tensor]
    ignored: int
    weight: Tensor | None

    def __call__(self, outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """Return the sum over the targets that count, and their weight."""
        losses = self.each(classes_second(outputs, targets), targets)
        return losses.sum(), self.weights(targets).sum()

    def apart(self, outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """Return the mean over the targets of each example, (n,), and their weights, (n,)."""
        losses = self.each(classes_second(outputs, targets), targets)
        weights = self.weights(targets).to(losses.dtype).reshape(len(targets), -1).sum(1)
        return losses.reshape(len(targets), -1).sum(1) / weights.where(weights != 0, 1), weights

    def weights(self, targets: Tensor) -> Tensor:
        """Return the weight of each target, shaped as they are."""
        is_counted = targets != self.ignored
        if self.weight is None:
            return is_counted
        return self.weight[targets.where(is_counted, 0)] * is_counted

    def num_judged(self, targets: Tensor) -> int:
        """Return the number of targets that count."""
        return int((targets != self.ignored).sum())


def class_loss(criterion: Callable[..., Any]) -> ClassLoss | None:
    """Return a loss as `ClassLoss`; None if it is no such mean of torch's."""
    if isinstance(criterion, ClassLoss) or _kind(criterion) not in _OF_CLASSES:
        return criterion if isinstance(criterion, ClassLoss) else None
    if isinstance(criterion, nn.Module):
        options: dict[str, Any] = {**vars(criterion), **criterion._buffers}
        each: Any = changed(criterion, reduction="none")
    else:
        options = criterion.keywords if isinstance(criterion, partial) else {}
        each = partial(criterion, reduction="none")
    has_arguments = isinstance(criterion, partial) and criterion.args
    if options.get("reduction", "mean") != "mean" or has_arguments:
        return None
    return ClassLoss(each, options.get("ignore_index", -100), options.get("weight"))


def num_correct(outputs: Any, targets: Any, loss: ClassLoss | None) -> Tensor | None:
    """Return how many class numbers are right, of those that count; None without class numbers."""
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return None
    scores = outputs if loss is None else classes_second(outputs, targets)
    if not has_accuracy(scores, targets, is_nested=loss is not None):
        return None
    right = scores.argmax(dim=1) == targets
    if loss is not None and loss.ignored >= 0:
        right = right & (targets != loss.ignored)
    return right.sum()


class NotingLoss:
    """A loss function that notes what it counts.

    It refuses a count that depends on the outputs: two losses, or a loss and an accuracy, are no
    sum and count.

    Attributes:
        counts: Of each batch so far; None where it returns a mean.
    """

    def __init__(self, criterion: Callable[..., Any]) -> None:
        self._criterion = criterion
        self.counts: Counts = []

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """Return what the loss function does."""
        others = map_tensors(_opposite, outputs), map_tensors(Tensor.clone, targets)
        value = self._criterion(outputs, targets)
        count = as_mean(value)[1]
        self.counts.append(None if count is None else float(count))
        if count is not None:
            with suppress(Exception):  # the user's own, which may take no other outputs
                count = as_mean(self._criterion(*others))[1]
            require(
                count is not None and float(count) == self.counts[-1],
                "a loss function that returns (sum, count) must count targets, what this one "
                "returns for a count depends on the outputs of the model.",
                hint="Return the mean loss alone if the second number is another loss or an "
                "accuracy.",
            )
        return value


def _opposite(tensor: Tensor) -> Tensor:
    """Return other outputs, of which probabilities stay such."""
    return 1 - tensor if tensor.is_floating_point() else tensor


@dataclass(frozen=True)
class MeanOver:
    """What the mean loss over some batches is over.

    Attributes:
        criterion: What to call; it returns the mean of a batch, or `(sum, count)`.
        sizes: Weights of the batches in the mean, (B,).
        weight: What the loss counts in all of them.
        num_judged: Number of targets that an accuracy is over.
        loss: The loss as one of class numbers, if it is one.
        is_counted: Whether the weights are what the loss counts, not numbers of examples.
    """

    criterion: Callable[..., Any]
    sizes: np.ndarray
    weight: float
    num_judged: int
    loss: ClassLoss | None = None
    is_counted: bool = False

    @property
    def total(self) -> float:
        """Sum of the weights."""
        return float(self.sizes.sum())

    def counted(self, batches: list[Batch], draws: int) -> tuple[MeanOver, list[Batch]]:
        """Return the mean and the batches, of all draws, without those of which nothing counts."""
        is_kept = self.sizes != 0
        if is_kept.all():
            return self, batches
        kept = list(compress(batches, np.tile(is_kept, draws)))
        return replace(self, sizes=self.sizes[is_kept]), kept


def fitted(
    criterion: Callable[..., Any],
    batches: Sequence[Batch],
    note: Callable[[Sequence[Batch]], Counts] | None = None,
) -> MeanOver:
    """Return what to call for the losses of some batches, and what their mean is over.

    Where every example counts alike, the weights are the numbers of examples.

    Args:
        criterion: The loss function.
        batches: All of them.
        note: Finds what a loss function that returns `(sum, count)` counts; None for a mean.

    Raises:
        InputError: If nothing counts, or answers of yes or no are not from 0 to 1.
    """
    lengths = np.array([batch_length(batch) for batch in batches], dtype=np.float64)
    num_examples, loss = int(lengths.sum()), class_loss(criterion)
    every = [targets for _, targets in batches]
    if _kind(criterion) is binary_cross_entropy:
        _require_answers(every)
    if note is not None:
        counts = np.array(note(batches), dtype=np.float64)
        fit = MeanOver(criterion, counts, float(counts.sum()), num_examples, is_counted=True)
    elif loss is None or not all(map(_are_class_numbers, every)):
        return MeanOver(criterion, lengths, float(num_examples), num_examples)
    else:
        weights = [loss.weights(targets).reshape(len(targets), -1).sum(1) for targets in every]
        counts = np.array([float(each.sum()) for each in weights])
        is_alike = counts.all() and all(bool((each == weights[0][0]).all()) for each in weights)
        is_nested = every[0].ndim > 1 and not isinstance(criterion, nn.Module)
        same = partial(nested_cross_entropy, criterion=criterion) if is_nested else criterion
        fit = MeanOver(
            same if is_alike else loss,
            lengths if is_alike else counts,
            float(counts.sum()),
            sum(map(loss.num_judged, every)),
            loss,
            is_counted=not is_alike,
        )
    require(fit.weight > 0, "the loss must count something, and nothing of the data counts.")
    return fit


def _require_answers(every: Sequence[Any]) -> None:
    for targets in every:
        if isinstance(targets, Tensor) and not bool(((targets >= 0) & (targets <= 1)).all()):
            raise InputError(
                "bce needs targets from 0 to 1, answers of yes or no, got "
                f"{targets.min().item():g} to {targets.max().item():g}.",
                hint="Pass `loss='cross-entropy'` for class numbers, or `loss='mse'` for numbers.",
            )


def _are_class_numbers(targets: Any) -> bool:
    is_tensor = isinstance(targets, Tensor) and targets.ndim > 0
    return is_tensor and not (targets.is_floating_point() or targets.is_complex())
