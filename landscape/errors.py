"""The errors that a user can cause: one sentence and what to do about it."""

from __future__ import annotations


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


class CheckpointError(LandscapeError):
    """A checkpoint that cannot be read, or does not fit the model."""


class PluginError(LandscapeError):
    """A model, data or loss function that cannot be found, or that fails."""


class DataError(LandscapeError):
    """A data set that is missing or damaged."""


class StoreError(LandscapeError):
    """A results file that cannot be read or written, or that holds something else."""
