"""The kinds of figure, which of them fit which result, and what is called what in figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np

from landscape.errors import printable, require
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History
from landscape.results.sharpness import Sharpness, SharpnessComparison
from landscape.results.spectrum import Spectrum
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
_NORMS = {"filter": "filter norms", "layer": "layer norms", "none": "raw"}
_QUANTITIES = {
    "accuracy": "accuracy (%)",
    "lambda_max": r"$\lambda_{\max}$ of the Hessian",
    "lambda_min": r"$\lambda_{\min}$ of the Hessian",
    "lambda_ratio": r"$|\lambda_{\min} / \lambda_{\max}|$",
    "lambda_error": r"residual of $\lambda_{\max}$ and $\lambda_{\min}$",
    "curvature_xx": "curvature along direction 1",
    "curvature_yy": "curvature along direction 2",
    "curvature_xy": "mixed curvature",
}
_LONGEST = 28  # characters of a name in a legend


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


def letter(index: int) -> str:
    """Return the letter of a panel by its number from 0: (a) to (z), then (27)."""
    return f"({chr(ord('a') + index) if index < 26 else index + 1})"


def refuse_other_split(results: Iterable[Any], split: str | None) -> None:
    """Refuse another split than that of the results or the checkpoints in them.

    Raises:
        InputError: If the split is another.
    """
    splits = tuple(
        dict.fromkeys(
            each.split for result in results for each in getattr(result, "checkpoints", (result,))
        )
    )
    require(
        split in (None, "all") or splits == (split,),
        f"the split must be the one that was measured, got {split!r}.",
        hint=f"Splits: {', '.join(splits)}.",
    )


def split_of(results: Iterable[Any]) -> str:
    """Name the split, or the splits, that results were measured on."""
    return _shared(results, "split")


def unit_of(histories: Iterable[Any]) -> str:
    """Name what the positions in histories of curvature count."""
    return _shared(histories, "unit")


def _shared(results: Iterable[Any], field: str) -> str:
    return " / ".join(dict.fromkeys(literal(getattr(result, field)) for result in results))


def _shape(result: Any) -> str:
    """Say what a result is, in the words of the messages."""
    if isinstance(result, Surface):
        return "line" if result.y is None else "plane"
    require(
        type(result) in _SHAPES,
        "what is drawn must be a surface, eigenvalues, sharpness or the history of a run, "
        f"got {type(result).__name__}.",
        hint="landscape info FILE says what a file holds.",
    )
    return _SHAPES[type(result)]


def drawable(text: str) -> str:
    """Return printable text, with a question mark for each byte that is not a character."""
    return printable(text.encode("utf-8", "replace").decode())


def literal(text: str) -> str:
    """Return text to draw literally, with no dollar-sign mathematics or control characters."""
    return drawable(text).replace("$", r"\$")


def shortened(text: str) -> str:
    """Return a name for a legend, literally, its middle left out where it is long."""
    if len(text) <= _LONGEST:
        return literal(text)
    half = (_LONGEST - 1) // 2
    return literal(f"{text[:half]}\N{HORIZONTAL ELLIPSIS}{text[-half:]}")


def quantity_label(quantity: str) -> str:
    """Name a quantity with its unit.

    A loss has no unit, and a curvature is loss over squared coordinate.
    """
    return _QUANTITIES.get(quantity, literal(quantity.replace("_", " ")))


def axis_labels(surface: Surface) -> tuple[str, str]:
    """Name the first and the second direction of a surface, with the unit of its coordinate."""
    return _axis_label(surface, 0), _axis_label(surface, 1)


def _axis_label(surface: Surface, index: int) -> str:
    """Name one direction by what it was asked for as."""
    names = surface.direction_names
    name = names[index] if index < len(names) else "random"
    kind, _, detail = name.partition(":")
    others = [other.partition(":")[2] for other in names]
    radius = rf" ($\rho$ = {literal(detail)})" if detail else ""
    is_repeated = surface.y is None and surface.num_lines != 1
    subject = "random directions" if is_repeated else f"direction {index + 1}"
    labels = {
        "to": f"towards {_checkpoint_name(detail, others)}",
        "pca": f"component {1 + names[:index].count(name)}{_explained(surface, index)}",
        "eigen": f"eigenvector {literal(detail.partition(':')[0] or '1')} (distance)",
        "ascent": f"towards the ascent point{radius}",
        "gradient": "gradient (distance)",
        "random": f"{subject} ({_NORMS.get(surface.normalization, surface.normalization)})",
    }
    return labels.get(kind) or shortened(name)


def _checkpoint_name(path: str, others: list[str]) -> str:
    """Return the stem of a path, with its folder where another path has the same stem."""
    own = PurePath(path)
    stems = [PurePath(other).stem for other in others if other != path]
    return shortened(f"{own.parent.name}/{own.stem}" if own.stem in stems else own.stem)


def _explained(surface: Surface, index: int) -> str:
    """Return the share of the trajectory's variance along a direction, where it is known."""
    shares = surface.explained_variance
    if shares is None or index >= len(shares) or not np.isfinite(shares[index]):
        return ""
    return f" ({100 * shares[index]:.1f} %)"
