"""Whether a stored result is the one that is asked for: what must agree, compared in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from landscape.errors import StoreError

Trait: TypeAlias = tuple[str, Any, Any]
"""What is compared, its value in the stored result, and the value that is asked for."""

MODEL_AND_DATA = ("model", "model_args", "data", "data_args", "loss")
"""Settings that every result depends on."""

_UNRECORDED_PLAN = {"points_per_pass": 1, "is_compiled": False, "draws": 1}
"""Items of a plan that files of an earlier version lack."""


def first_difference(traits: Iterable[Trait]) -> Trait | None:
    """Return the first trait whose values differ, or None if the stored result is the right one."""
    return next((trait for trait in traits if trait[1] != trait[2]), None)


def loss_trait(stored: str, wanted: str) -> Trait:
    """Return the names of two loss functions, of which files of an earlier version lack one."""
    return "loss function", stored or wanted, wanted


def plan_traits(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Trait]:
    """Yield the items of two execution plans, of which files of an earlier version lack some.

    Whether bits may vary is not compared where an operation has told, which it does in its course.
    """
    told = [each.get("deterministic", "") for each in (stored, wanted)]
    names = [name for name in wanted if name != "deterministic" or not any(map(_is_told, told))]
    return item_traits({**_UNRECORDED_PLAN, **stored}, wanted, names, prefix="plan: ")


def _is_told(deterministic: str) -> bool:
    return "does not have a deterministic" in deterministic


def item_traits(
    stored: Mapping[str, Any],
    wanted: Mapping[str, Any],
    names: Iterable[str],
    *,
    default: Any = None,
    prefix: str = "",
) -> Iterator[Trait]:
    """Yield the items of these names of two mappings.

    Args:
        stored: Of the stored result.
        wanted: Of the one that is asked for.
        names: Keys, any of which may be missing.
        default: Value of a missing item.
        prefix: Begins the name of each trait.
    """
    for name in names:
        yield f"{prefix}{name}", stored.get(name, default), wanted.get(name, default)


def require_unchanged(stored: Any, kind: type, described: str, traits: Iterable[Trait]) -> None:
    """Check that a stored result can be continued.

    Args:
        stored: The result as it was read.
        kind: Its class.
        described: What the class is in words, with an article.
        traits: What must agree; read only if the class is right.

    Raises:
        StoreError: If it is of another class, or naming the first trait that differs.
    """
    if not isinstance(stored, kind):
        raise StoreError(
            f"the stored result is a {type(stored).__name__.lower()}, not {described}.",
            hint="Write to another `out`.",
        )
    if (different := first_difference(traits)) is not None:
        name, before, now = different
        raise StoreError(
            f"the stored {described.partition(' ')[2]} has another {name}: {before} in the file, "
            f"{now} now.",
            hint="Repeat the options of the first run, or write to another `out`.",
        )


def require_same(path: Path, traits: Iterable[Trait], *, hint: str, task: str = "run") -> None:
    """Check that a file is of what a resumed task is about.

    Args:
        path: The file.
        traits: What must agree.
        hint: What to do otherwise.
        task: What is resumed: `run` or `report`.

    Raises:
        StoreError: Naming the first trait that differs.
    """
    if (different := first_difference(traits)) is not None:
        name, there, here = different
        raise StoreError(
            f"a resumed {task} must have the {name} of {path}: {there} there, {here} here.",
            hint=hint,
        )
