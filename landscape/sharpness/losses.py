"""The losses in published measurements of sharpness that differ from plain cross-entropy.

Like torch's criteria they take `reduction`, so that the losses of single examples can be had of
them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from landscape.errors import require

_SMALLEST_NORM = 1e-10  # of centred outputs, below which they are divided by this


def divergence_from_smoothed(
    outputs: Any, targets: Any, *, reduction: str = "mean", smoothing: float = 0.1
) -> Tensor:
    """Return the Kullback-Leibler divergence of the outputs' probabilities from smoothed targets.

    The target has probability 1 - smoothing, each of the other C - 1 classes smoothing / (C - 1).
    Torch's label smoothing spreads over all C classes instead, and its cross-entropy is larger by
    the entropy of the target, which has no gradient.

    Args:
        outputs: (N, C), C at least 2.
        targets: Class numbers (N,).
        reduction: `mean`, `sum` or `none`.
        smoothing: In (0, 1).

    Raises:
        InputError: If outputs or targets are shaped otherwise.

    Source:
        The code of S003.
    """
    _require_classes(outputs, targets)
    share = smoothing / (outputs.shape[1] - 1)
    probabilities = torch.full_like(outputs, share).scatter(1, targets[:, None], 1 - smoothing)
    divergences = probabilities * (probabilities.log() - F.log_softmax(outputs, dim=1))
    return _reduced(divergences.sum(1), reduction)


def cross_entropy_of_normalized(outputs: Any, targets: Any, *, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy of outputs that are centred and divided by their norm, per example.

    It does not depend on the scale of the outputs, which training can make larger without end.

    Args:
        outputs: (N, C), C at least 2.
        targets: Class numbers (N,).
        reduction: `mean`, `sum` or `none`.

    Raises:
        InputError: If outputs or targets are shaped otherwise.

    Source:
        Andriushchenko et al. (2023), and their code.
    """
    _require_classes(outputs, targets)
    centred = outputs - outputs.mean(dim=1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True).clamp(min=_SMALLEST_NORM)
    return F.cross_entropy(centred / norms, targets, reduction=reduction)


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def _require_classes(outputs: Any, targets: Any) -> None:
    are_scores = isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] > 1
    are_classes = (
        isinstance(targets, Tensor) and targets.ndim == 1 and not targets.is_floating_point()
    )
    require(
        are_scores and are_classes,
        "the loss of this protocol needs outputs (N, C), at least 2 classes, and class numbers "
        "(N,) as targets.",
        hint="Measure without the protocol, by the options that it fixes.",
    )
