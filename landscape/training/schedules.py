"""Learning rates and radii over a run, as factors of the initial ones."""

from __future__ import annotations

import math
from collections.abc import Callable

from landscape.errors import InputError, require_one_of


def _step(done: float) -> float:
    if done < 0.5:
        return 1.0
    return 0.1 if done < 0.75 else 0.01


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "step": _step,
    "step-0.2": lambda done: 0.2 ** sum(done >= share for share in (0.3, 0.6, 0.8)),
}
"""Name -> factor, given the share of all steps that is done, in [0, 1)."""


def factor_at(schedule: str, step: int, num_steps: int) -> float:
    """Return the factor of the initial learning rate or radius at optimizer step `step`.

    `constant` is 1; `cosine` falls from 1 to 0, (1 + cos(pi step / num_steps)) / 2, anew at every
    step; `step` is 1, 0.1 from half of all steps on, and 0.01 from three quarters on (half and
    three quarters of the epochs, since all epochs have the same number of steps). `step-0.2` is 1,
    0.2 from 30 % of all steps on, 0.04 from 60 % on and 0.008 from 80 % on.

    Args:
        schedule: `constant`, `cosine`, `step` or `step-0.2`.
        step: From 0, the first step; `num_steps` is the end of the run.
        num_steps: Optimizer steps in the whole run.

    Returns:
        A factor in [0, 1].

    Raises:
        InputError: If the schedule is unknown, or `step` is not in the run.

    Source:
        Cosine: Loshchilov and Hutter (2017), "SGDR", Eq. 5, without restarts.
        `step-0.2`: Zagoruyko and Komodakis (2016), "Wide Residual Networks", section 3.
    """
    check_schedule(schedule)
    if not 0 <= step <= num_steps or num_steps < 1:
        raise InputError(f"step must be from 0 to the number of steps, got {step} of {num_steps}.")
    return SCHEDULES[schedule](step / num_steps)


def check_schedule(name: str) -> None:
    """Raise an InputError that lists the known names if `name` is not one of them."""
    require_one_of("a schedule", name, SCHEDULES)
