"""What directions, quantities and files are called in figures."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np

from landscape.results.surface import Surface

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


def printable(text: str) -> str:
    """Return text with a question mark for each byte that is not a character."""
    return text.encode("utf-8", "replace").decode()


def literal(text: str) -> str:
    """Return text to draw literally, with no dollar-sign mathematics or undecodable bytes."""
    return printable(text).replace("$", r"\$")


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
