"""The kinds of figure, and which of them fit which result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from landscape.errors import InputError, require
from landscape.results.history import History
from landscape.results.sharpness import Sharpness, SharpnessComparison
from landscape.results.spectrum import CurvatureHistory, Spectrum
from landscape.results.surface import Surface

R = TypeVar("R")

QUANTITIES = ("loss", "accuracy")

_FITTING = {
    "line": ("curve", "persistence", "merge-tree"),
    "plane": (
        "filled",
        "contour",
        "heatmap",
        "surface",
        "trajectory",
        "difference",
        "persistence",
        "merge-tree",
    ),
    "spectrum": ("eigenvalues", "density", "layers"),
    "history": ("history",),
    "curvature history": ("curvature-history",),
    "sharpness": ("sharpness",),
    "sharpness comparison": ("sharpness", "differences"),
}
_SHAPES = {
    Spectrum: "spectrum",
    History: "history",
    CurvatureHistory: "curvature history",
    Sharpness: "sharpness",
    SharpnessComparison: "sharpness comparison",
}
_NEEDED = {"density": "density", "layers": "layer_shares", "differences": "differences"}
"""Kind -> field that a result must have for it."""

FIGURES = tuple(dict.fromkeys(kind for kinds in _FITTING.values() for kind in kinds))


def kinds_of(result: Any) -> tuple[str, ...]:
    """List the kinds of figure that fit a result, the default first.

    Raises:
        InputError: If it is not a result that can be drawn.
    """
    fitting = tuple(
        kind
        for kind in _FITTING[_shape(result)]
        if kind not in _NEEDED or getattr(result, _NEEDED[kind])
    )
    is_several_lines = isinstance(result, Surface) and (result.num_lines or 1) > 1
    return fitting[:1] if is_several_lines else fitting


def choose_kind(results: Sequence[Any], kind: str | None) -> str:
    """Return the requested kind if it fits every result, or the default kind for their type.

    The default is used only if no kind is requested.

    Raises:
        InputError: If there are no results, they are of different types, or the kind does not fit.
    """
    require(results, "a figure needs at least one result, got none.", hint="Pass a results file.")
    shapes = list(dict.fromkeys(_shape(result) for result in results))
    require(
        len(shapes) == 1,
        f"the results in one figure must be of one type, got a {' and a '.join(shapes)}.",
        hint="Draw each type in a figure of its own.",
    )
    fitting = [
        kind for kind in _FITTING[shapes[0]] if all(kind in kinds_of(result) for result in results)
    ]
    require(
        kind is None or kind in fitting,
        f"the kind of figure must fit a {shapes[0]}, got {kind!r}.",
        hint=f"Kinds that fit: {', '.join(fitting)}.",
    )
    return kind or fitting[0]


def list_results(
    results: R | Sequence[R], labels: Sequence[str] | None
) -> tuple[list[R], list[str]]:
    """Return one or several results as a list, with their names as `name_results`."""
    listed = list(results) if isinstance(results, Sequence) else [results]
    return listed, name_results(listed, labels)


def name_results(results: Sequence[Any], labels: Sequence[str] | None) -> list[str]:
    """Return one label per result; without labels, one result has none and several are numbered.

    Raises:
        InputError: If the number of labels is another than that of the results.
    """
    if labels is None:
        return [""] if len(results) == 1 else [f"checkpoint {i + 1}" for i in range(len(results))]
    require(
        len(labels) == len(results),
        f"there must be one label per result, got {len(labels)} for {len(results)}.",
        hint="Pass as many labels as results, in the same order.",
    )
    return list(labels)


def refuse_other_split(results: Iterable[Any], split: str | None) -> None:
    """Refuse another split than that of the results or the checkpoints in them.

    Raises:
        InputError: If the split is another.
    """
    parts = [getattr(result, "checkpoints", (result,)) for result in results]
    splits = tuple(dict.fromkeys(each.split for part in parts for each in part))
    require(
        split in (None, "all") or splits == (split,),
        f"the split must be the one that was measured, got {split!r}.",
        hint=f"Splits: {', '.join(splits)}.",
    )


def split_of(results: Iterable[Any]) -> str:
    """Name the split, or the splits, that results were measured on."""
    return " / ".join(dict.fromkeys(result.split for result in results))


def _shape(result: Any) -> str:
    """Say what a result is, in the words of the messages."""
    if isinstance(result, Surface):
        return "line" if result.y is None else "plane"
    if type(result) in _SHAPES:
        return _SHAPES[type(result)]
    raise InputError(
        "what is drawn must be a surface, eigenvalues, sharpness or the history of a run, "
        f"got {type(result).__name__}.",
        hint="landscape info FILE says what a file holds.",
    )
