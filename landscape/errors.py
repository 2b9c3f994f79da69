"""The errors that a user can cause: one sentence and what to do about it."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


class LandscapeError(Exception):
    """Base of every error that a user can cause.

    Args:
        message: The rule and what was received, as one sentence.
        hint: What to do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(LandscapeError):
    """An argument, a model, a loss or a data set that cannot be used as it is."""


class NotFiniteError(LandscapeError):
    """A computation that met NaN or inf and cannot go on."""


class CheckpointError(LandscapeError):
    """A checkpoint that cannot be read, or does not fit the model."""


class PluginError(LandscapeError):
    """A model, data or loss function that cannot be found, or that fails."""


class DataError(LandscapeError):
    """A data set that is missing or damaged."""


class StoreError(LandscapeError):
    """A results file that cannot be read or written, or that holds something else."""


def require(
    condition: object, message: str, hint: str = "", *, kind: type[LandscapeError] = InputError
) -> None:
    """Raise an error unless the condition holds.

    Args:
        condition: What must be true.
        message: The rule and what was received, as one sentence; made whether or not it is shown.
        hint: What to do about it; may be empty.
        kind: Class of the error.
    """
    if not condition:
        raise kind(message, hint)


class Remark(UserWarning):
    """What a user should know about a result, said once."""


@contextmanager
def without_remarks() -> Iterator[None]:
    """Say no remarks inside: those of a copy of what they were said of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Remark)
        yield


def require_one_of(what: str, value: object, known: Collection[str]) -> None:
    """Raise InputError, which lists the known names, unless `value` is one of them."""
    if value not in known:
        raise InputError(f"{what} must be one of {', '.join(known)}, got {value!r}.")


def require_at_least_zero(what: str, value: float) -> None:
    """Raise InputError unless `value` is a finite number of at least 0."""
    if not 0 <= value < math.inf:
        raise InputError(f"{what} must be a finite number of at least 0, got {value}.")


LARGEST = {
    "ascent_steps": 10_000,
    "batch_size": 10**9,
    "depth": 10_000,
    "epochs": 10**6,
    "every": 10**9,
    "grid": 10_000,
    "jobs": 1_000,
    "max_gradients": 10**6,
    "max_matvecs": 10**6,
    "micro_batch": 10**9,
    "num_directions": 10**5,
    "num_probes": 10_000,
    "points_per_pass": 10_000,
    "repeats": 1_000,
    "rho": 10**8,
    "save_every": 10**9,
    "steps": 10_000,
    "number of grid points": 10**7,
    "number of points on a page": 600_000,
    "number of points to interpolate": 1_200_000,
    "number of radii": 1_000,
    "number of results in a figure": 100,
}
"""Argument, or what is counted -> its largest value; more would take all memory or no end."""


def require_in_limits(values: Mapping[str, Any]) -> None:
    """Raise InputError if a number is larger than `LARGEST` says.

    Args:
        values: Name -> value; names that have no limit, and what is not a number, may be there.
    """
    for name in LARGEST.keys() & values.keys():
        value, shown = values[name], f"the {name}" if " " in name else f"`{name}`"
        require(
            not isinstance(value, int | float) or value <= LARGEST[name],
            f"{shown} must be at most {LARGEST[name]}, got {value}.",
        )


@contextmanager
def from_extra(extra: str | None, package: str) -> Iterator[None]:
    """Import an optional dependency inside; if it is missing, say what to install.

    Args:
        extra: Name of the optional dependencies that bring the package; None where a usual
            installation has it.
        package: The package's name, for the message.

    Yields:
        Nothing.

    Raises:
        InputError: If it cannot be imported.
    """
    try:
        yield
    except ImportError as exc:
        with_it = f"'landscape-toolkit[{extra}]', in a clone pip install -e '.[{extra}]'"
        raise InputError(
            f"{package} is needed and cannot be imported: {exc}.",
            hint=f"Run pip install {package if extra is None else with_it}.",
        ) from exc


@contextmanager
def copying_a_model() -> Iterator[None]:
    """Copy the user's own model inside, and say why where that cannot be done.

    Yields:
        Nothing.

    Raises:
        InputError: If anything is raised.
    """
    try:
        yield
    except Exception as exc:  # the user's own model
        raise InputError(
            f"the model cannot be copied: {type(exc).__name__}: {first_line(exc)}",
            hint="The old hooks of weight_norm and spectral_norm are one reason; use those of "
            "torch.nn.utils.parametrizations.",
        ) from exc


def first_line(exc: BaseException) -> str:
    """Return the first line of what a foreign exception says, or its type where it says nothing."""
    return str(exc).splitlines()[0] if str(exc) else type(exc).__name__


_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\uffff"
    "\U000e0000-\U000e007f]"
)
"""Control characters, halves of characters, and what is not seen or turns the text around it."""


def printable(text: str) -> str:
    """Return text from a file or a label with escapes for what a terminal or XML may not get.

    Those are control characters, line ends too, undecodable bytes of a path, and invisible
    characters that hide text or change its direction.
    """
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{rest}"


_NO_MEMORY = (
    "annot allocate memory",
    "bad_alloc",
    "CPUAllocator",
    "can't start new thread",
    "emory allocation failed",
    "failed to map segment",
)
"""What the system, torch, HDF5 and the loader of libraries say where memory is used up."""


@contextmanager
def explained_memory(what: str, hint: str = "Pass a smaller `batch_size`.") -> Iterator[None]:
    """Say what memory ran out in.

    Args:
        what: What is computed inside, with an article.
        hint: What to do about it.

    Raises:
        LandscapeError: If there was too little memory anywhere.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        raise LandscapeError(f"out of memory in {what}.", hint=hint) from exc


def is_out_of_memory(exc: BaseException | None) -> bool:
    """Whether an exception, or what caused it, is that there was too little memory anywhere."""
    while exc is not None:
        kinds = [kind.__name__ for kind in type(exc).__mro__]
        if {"MemoryError", "OutOfMemoryError"} & {*kinds} or any(
            sign in str(exc) for sign in _NO_MEMORY
        ):
            return True
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    return False
