"""Training examples held out, to choose settings by something else than the test set."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.data.subset import are_class_numbers
from landscape.errors import InputError
from landscape.problem.batches import Data


def held_out(data: Data, share: float, *, seed: int) -> tuple[Data, Data]:
    """Split examples into those that are left and those that are held out.

    Args:
        data: All training examples.
        share: Of them that is held out, in (0, 1).
        seed: At least 0, of a generator of its own; the same seed holds out the same examples.

    Returns:
        What is left, and what is held out, both in the order of the data.

    Raises:
        InputError: If the share is outside (0, 1), or one of the parts would be empty.
    """
    everything = data.examples
    is_held_out = stratified_part(everything.targets, share, seed=seed)
    return everything.take((~is_held_out).nonzero()[:, 0]), everything.take(
        is_held_out.nonzero()[:, 0]
    )


def stratified_part(targets: Tensor, share: float, *, seed: int) -> Tensor:
    """Draw a share of the examples at random, the same share of each class.

    Exactly round(share * N) examples are drawn, and of each class its share of them up to one:
    systematic sampling with a random start from the examples in the order of their classes, so that
    each is drawn with the same probability. Of targets that are no class numbers (floating point,
    or more than one dimension) the part is uniform.

    Args:
        targets: Class numbers (N,), or any tensor (N, ...).
        share: In (0, 1).
        seed: At least 0, of a generator of its own.

    Returns:
        Which examples are drawn, (N,), bool on the CPU.

    Raises:
        InputError: If the share is outside (0, 1), or none or all would be drawn.
    """
    check_share(share)
    size = len(targets)
    num_drawn = round(share * size)
    if not 0 < num_drawn < size:
        raise InputError(
            f"validation must leave examples on both sides, got a share of {share} of {size}.",
            hint="Take a share that is farther from 0 and 1.",
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(size, generator=generator)
    if are_class_numbers(targets):
        order = order[torch.argsort(targets.cpu()[order], stable=True)]
    start = torch.randint(size, (1,), generator=generator)
    steps = (
        torch.arange(size + 1) * num_drawn + start
    ) // size  # rises at the places drawn, evenly spaced
    is_drawn = torch.zeros(size, dtype=torch.bool)
    is_drawn[order[steps.diff() > 0]] = True
    return is_drawn


def check_share(share: float) -> None:
    """Raise an InputError unless a share of examples can be held out."""
    if not 0 < share < 1:
        raise InputError(
            f"the share of validation must be in (0, 1), got {share}.", hint="For example 0.1."
        )
