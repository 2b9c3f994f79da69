"""What users type for options, read: `key=value` pairs, lists of numbers, amounts of memory."""

from __future__ import annotations

import contextlib
from typing import Any

from landscape.errors import InputError, require

_UNITS = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
}


def parse_arguments(pairs: list[str] | None, option: str) -> dict[str, Any]:
    """Parse `key=value` pairs; a value is an integer, a float, true, false or a string.

    Raises:
        InputError: If a pair has no equals sign.
    """
    arguments = {}
    for pair in pairs or []:
        key, equals, value = (part.strip() for part in pair.partition("="))
        require(equals and key, f"{option} must be key=value, got {pair!r}.")
        arguments[key.replace("-", "_")] = _parse_value(value)
    return arguments


def _parse_value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def parse_numbers(text: str, option: str) -> list[float]:
    """Parse numbers separated by commas.

    Raises:
        InputError: If one of them is no number.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as exc:
        raise InputError(
            f"{option} must be numbers separated by commas, got {text!r}.",
            hint=f"Pass {option} 0.05,0.1.",
        ) from exc


def parse_bytes(text: str, option: str) -> int:
    """Parse an amount of memory such as `8GiB`, `500MB` or a number of bytes.

    Raises:
        InputError: If it is something else, or not positive.
    """
    number = text.rstrip("BKMGIbkmgi ")
    unit = text[len(number) :].strip().upper() or "B"
    hint = f"Pass {option} 8GiB."
    try:
        amount = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError) as exc:
        raise InputError(f"{option} must be an amount of memory, got {text!r}.", hint) from exc
    require(amount >= 1, f"{option} must be at least one byte, got {text!r}.", hint)
    return amount
