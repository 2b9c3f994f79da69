"""Wrong labels on purpose, to see how training copes with them."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from landscape.data.subset import are_class_numbers
from landscape.errors import require
from landscape.problem.batches import BatchData, Data, GraphData
from landscape.runtime.random_state import derived_seeds

_STREAM = 0x6C61_6265
"""Tells the noise's random numbers from those of training, whose order of examples has a seed of
the same value.

Far above the epochs and updates that other streams are numbered by.
"""


def with_noisy_targets(data: Data, share: float, *, seed: int) -> Data:
    """Give a share of the examples a wrong label, as `with_label_noise` does.

    There are as many classes as the largest class number says. The data themselves are not changed.

    Args:
        data: Examples, batches or graphs whose targets are class numbers; at a share of 0 anything.
        share: Share of the examples, in [0, 1].
        seed: At least 0, of a generator of its own; the same seed gives the same noise.

    Returns:
        The data with new targets; the same object at a share of 0.

    Raises:
        InputError: If the targets are not class numbers, or only of one class, the share is outside
            [0, 1], or the seed is negative.
    """
    if share == 0:
        return data
    targets = _targets(data)
    _require_class_numbers(targets)
    return _with_targets(
        data, with_label_noise(targets, share, num_classes=int(targets.max()) + 1, seed=seed)
    )


def _targets(data: Data) -> Tensor:
    """Return the targets of all examples (N, ...)."""
    targets = [batch[1] for batch in data.items] if isinstance(data, BatchData) else [data.targets]
    require(
        all(isinstance(part, Tensor) and part.ndim for part in targets),
        "label noise needs batches whose targets are tensors of class numbers (n,).",
    )
    return torch.cat(targets) if len(targets) > 1 else targets[0]


def _with_targets(data: Data, targets: Tensor) -> Data:
    if isinstance(data, GraphData):
        graphs = tuple(map(copy.copy, data.graphs))
        for graph, target in zip(graphs, targets, strict=True):
            graph.y = target.reshape(graph.y.shape)
        return GraphData(graphs)
    if not isinstance(data, BatchData):
        return replace(data, targets=targets)
    parts = targets.split([len(batch[1]) for batch in data.items])
    return BatchData(
        tuple((inputs, part) for (inputs, _), part in zip(data.items, parts, strict=True))
    )


def with_label_noise(targets: Tensor, share: float, *, num_classes: int, seed: int) -> Tensor:
    """Give a share of examples a wrong label, uniform over the other classes: symmetric noise.

    The number of wrong labels is exactly round(share * N), halves rounded to the even number, and a
    share of 1 leaves no label right. In the other convention in use (Zhang et al. 2017,
    arXiv:1611.03530, "partially corrupted labels") the new label is drawn from all classes, so that
    some keep theirs by chance: its share s is one of about s (num_classes - 1) / num_classes here.

    Args:
        targets: Class numbers (N,).
        share: Share of the examples, in [0, 1].
        num_classes: Number of classes, at least 2.
        seed: At least 0, of a stream of its own, which shares nothing with a training of the same
            seed.

    Returns:
        New class numbers (N,), of the same dtype and on the same device.

    Raises:
        InputError: If the share is outside [0, 1], the seed is negative, there are fewer than 2
            classes, or a target is not a class number.

    Source:
        Patrini et al. (2017), Making Deep Neural Networks Robust to Label Noise, arXiv:1609.03683,
        Section 5; Foret et al. (2021), arXiv:2010.01412, Section 3.3, train on such labels.
    """
    require(0 <= share <= 1, f"the share of wrong labels must be in [0, 1], got {share}.")
    require(num_classes >= 2, f"label noise needs at least 2 classes, got {num_classes}.")
    _require_class_numbers(targets)
    smallest, largest = map(int, targets.aminmax()) if len(targets) else (0, 0)
    require(
        0 <= smallest <= largest < num_classes,
        f"class numbers must be from 0 to {num_classes - 1}, got {smallest} to {largest}.",
    )
    require(seed >= 0, f"the seed of the wrong labels must be at least 0, got {seed}.")
    generator = torch.Generator().manual_seed(derived_seeds(1, seed, _STREAM)[0])
    num_wrong = round(share * len(targets))
    chosen = torch.randperm(len(targets), generator=generator)[:num_wrong].to(targets.device)
    # Shifts by 1 to num_classes - 1 modulo num_classes reach every other class once; in int64,
    # which cannot overflow.
    shifts = torch.randint(1, num_classes, (num_wrong,), generator=generator).to(targets.device)
    noisy = targets.clone()
    noisy[chosen] = ((targets[chosen].long() + shifts) % num_classes).to(targets.dtype)
    return noisy


def _require_class_numbers(targets: Tensor) -> None:
    shape, dtype = tuple(targets.shape), str(targets.dtype).removeprefix("torch.")
    is_right = are_class_numbers(targets)
    require(is_right, f"label noise needs class numbers (N,), got {shape} of {dtype}.")
