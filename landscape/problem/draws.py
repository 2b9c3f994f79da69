"""Random numbers that a batch draws anew, the same in each pass, and where they come from."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from landscape.problem.batches import Batch
from landscape.runtime.random_state import derived_seeds, get_random_states, seed_random_states


class DrawnBatch(tuple[Any, Any]):
    """A batch, and the seeds of the random numbers that are drawn for it.

    Attributes:
        seeds: Of the model and of the loss.
    """

    seeds: Sequence[int] = (0, 0)

    @classmethod
    def of(cls, batch: Batch, *numbers: int) -> DrawnBatch:
        """Return the batch with the seeds that belong to some numbers."""
        drawn = cls(batch)
        drawn.seeds = derived_seeds(2, 0, *numbers)
        return drawn


class Sources:
    """The generators that a pass can draw random numbers from: torch's, numpy's, Python's, own.

    Args:
        weights: Of the model.
        own: Generators that the model and the loss hold.
    """

    def __init__(self, weights: Tensor, own: Sequence[Any]) -> None:
        self._device, self._own = weights.device, own
        self._is_double = weights.dtype == torch.float64

    def drawing(self) -> Any:
        """Return a context in which the numbers that are drawn do not depend on the dtype."""
        return _DrawnInSingle() if self._is_double else nullcontext()

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


class _DrawnInSingle(TorchDispatchMode):
    """A context in which random numbers of float64 are those that float32 has by the same seed.

    So a float64 problem is the same function as the float32 one, up to rounding.
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call an operation, one that draws numbers in float32."""
        named = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **named)
        with self:  # in inference mode operations come here that are made of others
            found = func.decompose(*args, **named)
        if found is not NotImplemented:
            return found
        if func is torch.ops.aten.native_dropout.default:
            x, share = args[0], args[1]
            mask = func(torch.ones_like(x, dtype=torch.float32), *args[1:], **named)[1]
            return x * mask * (1 / (1 - share) if share < 1 else 0.0), mask
        given, own_named = tree_map(_in_single, (args, named))
        found = func(*given, **own_named)
        if func._schema.is_mutable:
            return args[0].copy_(found) if given[0] is not args[0] else found
        return tree_map(_in_double, found) if _has_double(args, named) else found


def _in_single(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype == torch.float64:
        return value.float()
    return torch.float32 if value is torch.float64 else value


def _in_double(value: Any) -> Any:
    is_single = isinstance(value, Tensor) and value.dtype == torch.float32
    return value.double() if is_single else value


def _has_double(*values: Any) -> bool:
    leaves = tree_leaves(values)
    return any(getattr(leaf, "dtype", leaf) is torch.float64 for leaf in leaves)


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
