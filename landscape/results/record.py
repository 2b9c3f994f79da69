"""Results by name, as what JSON can hold: what `--json`, the report and the file description read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any


class Record:
    """A result, or a part of one; a base of frozen dataclasses that has no fields itself."""

    def as_dict(self) -> dict[str, Any]:
        """Return what the record holds, by name: numbers, strings, lists and dictionaries."""
        return {name: as_plain(getattr(self, name)) for name in self._names()}

    def _names(self) -> Sequence[str]:
        """Return the attributes that `as_dict` gives, in order: all fields by default."""
        return [field.name for field in fields(self)]  # pyright: ignore[reportArgumentType]  # of a dataclass


def as_plain(value: Any) -> Any:
    """Return a value, or a record, as JSON can hold it; what it does not know stays as it is."""
    if isinstance(value, Record):
        return value.as_dict()
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value
