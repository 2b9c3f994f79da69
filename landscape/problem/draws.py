"""Random numbers that a batch draws anew, the same in each pass, and where they come from."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from landscape.problem.batches import Batch
from landscape.runtime.random_state import derived_seeds, get_random_states, seed_random_states


class DrawnBatch(tuple[Any, Any]):
    """A batch, and the seeds of the random numbers that are drawn for it.

    Attributes:
        seeds: Of the model and of the loss.
    """

    seeds: Sequence[int]

    @classmethod
    def of(cls, batch: Batch, *numbers: int) -> DrawnBatch:
        """Return the batch with the seeds that belong to some numbers."""
        drawn = cls(batch)
        drawn.seeds = derived_seeds(2, 0, *numbers)
        return drawn


class Sources:
    """The generators that a pass can draw random numbers from: torch's, numpy's, Python's, own.

    Args:
        device: Where the model is.
        own: Generators that the model and the loss hold.
    """

    def __init__(self, device: torch.device, own: Sequence[Any]) -> None:
        self._device, self._own = device, own

    def seed(self, seed: int) -> None:
        """Let each start from a seed of its own, all of which follow from `seed`."""
        first, second, third, *others = derived_seeds(3 + len(self._own), seed)
        seed_random_states(first, [self._device])
        np.random.seed(second)
        random.seed(third)
        for generator, number in zip(self._own, others, strict=True):
            _seed(generator, number)

    def states(self) -> list[Any]:
        """Return what can be compared to see whether anything was drawn."""
        states = get_random_states([self._device])
        states += [each.get_state() for each in self._own if isinstance(each, torch.Generator)]
        others = [each for each in self._own if not isinstance(each, torch.Generator)]
        pickled = pickle.dumps([np.random.get_state(), random.getstate(), others])
        return [*(state.tolist() for state in states), pickled]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Put numpy's and Python's back at the end."""
        numpys, pythons = np.random.get_state(), random.getstate()
        try:
            yield
        finally:
            np.random.set_state(numpys)
            random.setstate(pythons)


def _seed(generator: Any, seed: int) -> None:
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, np.random.Generator):
        bits: Any = generator.bit_generator
        bits.state = type(bits)(seed).state
    else:
        generator.seed(seed)


def drawn(batches: Sequence[Batch], draws: int) -> list[Batch]:
    """Return all batches once for each draw, each with seeds of its own."""
    return [
        DrawnBatch.of(batch, draw, number)
        for draw in range(draws)
        for number, batch in enumerate(batches)
    ]


def seeds_of(batch: Batch) -> Sequence[int]:
    """Return the seeds of a batch for the model and for the loss."""
    return batch.seeds if isinstance(batch, DrawnBatch) else (0, 0)
