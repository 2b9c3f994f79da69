"""Subsets of examples: cheaper to compute on, disjoint, or held out of training."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.errors import require
from landscape.problem.batches import Data


def balanced_subset(targets: Tensor, num_samples: int, *, seed: int = 0) -> Tensor:
    """Draw examples at random, as equally often from each class as their numbers allow.

    Class counts differ by at most one, except that a class with too few examples gives all it has.
    Targets that are not class numbers (floating point, or more than one dimension) give a uniform
    random subset. Subsets of two sizes need not be nested.

    Args:
        targets: Class numbers (N,), or any tensor (N, ...).
        num_samples: Number of examples to draw, 1 to N.
        seed: Seed of a generator of its own.

    Returns:
        Indices (num_samples,), int64 on the CPU, ascending.

    Raises:
        InputError: If num_samples is outside 1 to N.
    """
    require(
        1 <= num_samples <= len(targets),
        f"the number of samples must be from 1 to {len(targets)}, got {num_samples}.",
        hint="Leave it out to take all examples.",
    )
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    if are_class_numbers(targets):
        # A class's k-th example comes after every other class's (k-1)-th.
        order = order[torch.argsort(_rank_within_class(targets.cpu()[order]), stable=True)]
    return order[:num_samples].sort().values


def fixed_subset(data: Data, num_samples: int | None) -> Data:
    """Return a class-balanced subset of the examples, the same every time; all of them if None.

    Raises:
        InputError: If there are not so many.
    """
    if num_samples is None:
        return data
    everything = data.examples
    return everything.take(balanced_subset(everything.labels, num_samples))


def keep_examples(
    examples: tuple[Tensor, Tensor], num_samples: int | None
) -> tuple[Tensor, Tensor]:
    """Return a balanced subset of inputs (N, ...) and targets (N,).

    All examples are returned if `num_samples` is None.

    Raises:
        InputError: As `balanced_subset`.
    """
    if num_samples is None:
        return examples
    inputs, targets = examples
    kept = balanced_subset(targets, num_samples)
    return inputs[kept], targets[kept]


def disjoint_subsets(
    targets: Tensor, num_subsets: int, *, num_samples: int | None = None, seed: int = 0
) -> tuple[Tensor, ...]:
    """Draw disjoint subsets at random, each with the same share of every class.

    Both their sizes and their numbers of examples of a class differ by at most one.

    Args:
        targets: Class numbers (N,), or any tensor (N, ...), of which the subsets are uniform.
        num_subsets: At least 2.
        num_samples: Examples in each, which are then as `balanced_subset` draws them; None for all
            N in all.
        seed: Seed of a generator of its own.

    Returns:
        Indices of each subset, (n,), int64 on the CPU, ascending.

    Raises:
        InputError: If there are fewer than 2 subsets, or too few examples.
    """
    needed = num_subsets * (1 if num_samples is None else num_samples)
    each = "" if num_samples is None else f" of {num_samples} examples"
    require(
        2 <= num_subsets <= needed <= len(targets),
        f"disjoint subsets of {len(targets)} examples must be 2 or more and not empty, got "
        f"{num_subsets}{each}.",
        hint="Ask for fewer or smaller subsets.",
    )
    chosen = (
        torch.arange(len(targets))
        if num_samples is None
        else balanced_subset(targets, needed, seed=seed)
    )
    order = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))]
    if are_class_numbers(targets):
        order = order[torch.argsort(targets.cpu()[order], stable=True)]  # dealt out class by class
    return tuple(order[first::num_subsets].sort().values for first in range(num_subsets))


def held_out(data: Data, share: float, *, seed: int) -> tuple[Data, Data]:
    """Split examples into those that are left and those that are held out.

    Args:
        data: All training examples.
        share: Share of them that is held out, in (0, 1).
        seed: At least 0, of a generator of its own; the same seed holds out the same examples.

    Returns:
        What is left, and what is held out, both in the order of the data.

    Raises:
        InputError: If the share is outside (0, 1), or one of the parts would be empty.
    """
    everything = data.examples
    is_held_out = stratified_part(everything.labels, share, seed=seed)
    left, drawn = (~is_held_out).nonzero()[:, 0], is_held_out.nonzero()[:, 0]
    return everything.take(left), everything.take(drawn)


def stratified_part(targets: Tensor, share: float, *, seed: int) -> Tensor:
    """Draw a share of the examples at random, the same share of each class.

    Exactly round(share * N) examples are drawn, and of each class its share of them up to one:
    systematic sampling with a random start from the examples in the order of their classes, so that
    each is drawn with the same probability. Of targets that are not class numbers (floating point,
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
    require(
        0 < num_drawn < size,
        f"validation must leave examples on both sides, got a share of {share} of {size}.",
        hint="Take a share that is farther from 0 and 1.",
    )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(size, generator=generator)
    if are_class_numbers(targets):
        order = order[torch.argsort(targets.cpu()[order], stable=True)]
    start = torch.randint(size, (1,), generator=generator)
    # Rises at the places drawn, evenly spaced.
    steps = (torch.arange(size + 1) * num_drawn + start) // size
    is_drawn = torch.zeros(size, dtype=torch.bool)
    is_drawn[order[steps.diff() > 0]] = True
    return is_drawn


def check_share(share: float) -> None:
    """Raise an InputError unless a share of examples can be held out."""
    require(
        0 < share < 1,
        f"the share of validation must be in (0, 1), got {share}.",
        hint="For example 0.1.",
    )


def are_class_numbers(targets: Tensor) -> bool:
    """Whether targets are the numbers of classes, one an example (N,)."""
    return targets.ndim == 1 and not (targets.is_floating_point() or targets.is_complex())


def _rank_within_class(targets: Tensor) -> Tensor:
    """Return (N,): how many earlier elements equal each one."""
    by_class = torch.argsort(targets, stable=True)
    _, counts = torch.unique_consecutive(targets[by_class], return_counts=True)
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    return torch.empty_like(by_class).index_put_((by_class,), torch.arange(len(targets)) - first)
