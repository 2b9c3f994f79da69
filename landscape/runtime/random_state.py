"""The global random state that dropout draws from, of the CPU and of the accelerators in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def derived_seeds(count: int, *numbers: int) -> list[int]:
    """Return seeds, in [0, 2^32), for streams of random numbers that share nothing.

    Sums of seeds will not do, and shifts neither: torch's generator of the CPU ignores all but the
    last 32 bits.

    Args:
        count: Number of seeds.
        *numbers: The user's seed, at least 0, then what tells these streams from others.
    """
    return np.random.SeedSequence(numbers).generate_state(count).tolist()


def get_random_states(devices: Iterable[torch.device] = ()) -> list[Tensor]:
    """Return the state of the CPU's generator, then that of each accelerator among `devices`."""
    return [torch.get_rng_state(), *(_read(device) for device in _accelerators(devices))]


def set_random_states(states: Sequence[Tensor], devices: Iterable[torch.device] = ()) -> None:
    """Set the states from `get_random_states`, except those of absent accelerators."""
    torch.set_rng_state(states[0].cpu())
    for state, device in zip(states[1:], _accelerators(devices), strict=False):
        _write(state.cpu(), device)


@contextmanager
def forked_random_state(
    devices: Iterable[torch.device] = (), *, seed: int | None = None
) -> Iterator[None]:
    """Put the global random state back at the end, whatever happens inside.

    Unlike `torch.random.fork_rng` followed by `torch.manual_seed`, seeds these devices and no
    other.

    Args:
        devices: Accelerators in use; the CPU is always included.
        seed: Start from this seed; None goes on from the present state.

    Yields:
        Nothing.
    """
    devices = list(devices)
    states = get_random_states(devices)
    try:
        if seed is not None:
            seed_random_states(seed, devices)
        yield
    finally:
        set_random_states(states, devices)


def seed_random_states(seed: int, devices: Iterable[torch.device] = ()) -> None:
    """Start the CPU's generator, and those of the accelerators among `devices`, from `seed`."""
    torch.default_generator.manual_seed(seed)
    for device in _accelerators(devices):
        _write(torch.Generator(device).manual_seed(seed).get_state(), device)


def _accelerators(devices: Iterable[torch.device]) -> list[torch.device]:
    """Devices with a generator of their own, each once, in order."""
    return list(dict.fromkeys(device for device in devices if device.type not in {"cpu", "meta"}))


def _read(device: torch.device) -> Tensor:
    if device.type == "mps":
        return torch.mps.get_rng_state()
    return torch.get_device_module(device).get_rng_state(device)


def _write(state: Tensor, device: torch.device) -> None:
    if device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)
