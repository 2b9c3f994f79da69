"""What a file must hold for a record of each class: types, shapes, ranges, and what must agree.

The types are those of the dataclass, the rest is in tables; `build_record` checks everything. A
name means one thing in every class, so that ranges go by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from landscape.results.eigenvalue_history import POSITION_UNITS
from landscape.results.provenance import Provenance

_INF = math.inf
_MOST_THREADS = 4096
_LARGEST_INT = 2**63 - 1


class Misfit(ValueError):
    """What is wrong with which field, as a clause."""


SHAPES: dict[str, dict[str, str]] = {
    "Surface": {
        "x": "nx",
        "y": "ny",
        "done": "*grid",
        "loss": "*grid",
        "accuracy": "*grid",
        "standard_error": "*grid",
        "maps": "*grid",
        "direction_norms": "d",
        "explained_variance": "e",
    },
    "Directions": {"vectors": "d P", "origin": "P"},
    "Spectrum": {
        "eigenvalues": "k",
        "residuals": "k",
        "bottom_eigenvalues": "kb",
        "bottom_residuals": "kb",
        "estimates": "k?",
        "bottom_estimates": "kb?",
        "rounding": "k?",
        "bottom_rounding": "kb?",
        "vectors": "v P",
        "gradient_overlaps": "w?",
        "layer_shares": "w",
        "alignment": "w other?",
    },
    "Density": {"outliers": "n", "outlier_residuals": "n", "nodes": "q m", "weights": "q m"},
    "CurvatureHistory": {
        "epoch": "n",
        "eigenvalues": "n k",
        "residuals": "n k",
        "bottom_eigenvalues": "n kb",
        "bottom_residuals": "n kb",
        "rounding": "n k?",
        "bottom_rounding": "n kb?",
    },
    "Certificate": {"perturbations": "n P", "rho": "n", "losses": "n"},
    "KrylovHead": {"values": "k", "couplings": "k"},
    "StoredDetail": {"test_losses": "_", "directions": "_", "units": "n", "sizes": "n"},
}
"""Class -> array -> names of its axes, one size each in a record, any size for _; ? for an array
that may be empty instead. Other arrays of a class have its `n` entries, or none where the class has
a default. `*grid` is a whole shape."""

RANGES: dict[str, tuple[float, float]] = {
    "accuracy": (0, 1),
    "center_accuracy": (0, 1),
    "confidence": (0, 1),
    "p": (1, _INF),
    "share": (0, 1),
    "threads": (1, _MOST_THREADS),
    **dict.fromkeys(
        (
            "rounding", "bottom_rounding", "loss_rounding", "gradient_rounding", "trace_rounding",
            "rho", "residual", "residuals", "bottom_residuals", "outlier_residuals", "distance",
            "standard_error", "trace_error", "data_error", "noise_floor", "tolerance", "deviation",
            "direction_norms", "gradient_norm", "weights", "eta", "label_noise", "count", "m",
            "steps", "label_noise_seed", "validation_seed", "validation", "epoch", "step",
            "seconds", "sizes", "strata", "train_error",
        ),
        (0, _INF),
    ),
}  # fmt: skip
"""Name -> smallest and largest value; NaN passes, as what was not measured."""

FINITE = ("x", "y", "coordinates", "perturbations", "vectors", "epoch", "sizes", "share")
"""Names of numbers that are neither NaN nor infinite."""

_FLAGS = ("done", "converged")
"""Names of arrays of bool; the others hold numbers."""

PLAN: dict[str, tuple[type, float, float]] = {
    "num_threads": (int, 1, _MOST_THREADS),
    "batch_size": (int, 1, _LARGEST_INT),
    "points_per_pass": (int, 1, _LARGEST_INT),
    "is_compiled": (bool, 0, 1),
    "is_default_size": (bool, 0, 1),
    "device": (str, 0, 0),
    "dtype": (str, 0, 0),
    "memory_format": (str, 0, 0),
    "deterministic": (str, 0, 0),
}
"""Entry of an execution plan -> type, smallest and largest value."""


def build_record(cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Return a record of the values that a file holds, after a check of each.

    Args:
        cls: A dataclass.
        values: Field -> what was read; JSON's lists become tuples where the class has these. A
            field that is missing has its default; None without one, where the class allows that.

    Raises:
        Misfit: Naming the first field that is missing, or not as it must be.
    """
    hints = _hints(cls)
    for name in values:
        _need(name in hints, f"{name} is not among what a {cls.__name__} has")
    found = {
        field.name: _conform(values.get(field.name), hints[field.name], field.name)
        for field in fields(cls)
        if field.name in values or _is_required(field)
    }
    _check_shapes(cls, found)
    for rule, is_kept in _RULES.get(cls.__name__, lambda _: {})(found).items():
        _need(is_kept, rule)
    return cls(**found)


def _is_required(field: Field[Any]) -> bool:
    return field.default is field.default_factory is MISSING


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    names = {"np": np, "Provenance": Provenance}  # which some import for type checkers alone
    found = get_type_hints(cls, localns=names)
    return {field.name: found[field.name] for field in fields(cls)}


def field_hint(cls: type[Any], name: str) -> Any:
    """Return the class of a field; of an optional one, what it is if it is there."""
    return _unless_none(_hints(cls)[name])


def _unless_none(hint: Any) -> Any:
    is_union = get_origin(hint) in (Union, UnionType)
    return next(each for each in get_args(hint) if each is not NoneType) if is_union else hint


def _need(condition: object, complaint: str) -> None:
    if not condition:
        raise Misfit(complaint)


def _conform(value: Any, hint: Any, where: str) -> Any:
    """Return a value as its field has it."""
    inner = _unless_none(hint)
    if value is None:
        _need(inner is not hint or hint is Any, f"{where} is missing")
        return None
    origin = get_origin(inner) or inner
    if origin is Any:
        return value
    if origin in (dict, list, tuple):
        return _conform_members(value, inner, origin, where)
    if is_dataclass(inner):
        _need(isinstance(value, inner | dict), f"{where} must be a record")  # pyright: ignore[reportArgumentType]
        return _within(where, cast("type", inner), value) if isinstance(value, dict) else value
    if origin is np.ndarray:
        kinds = "b" if where in _FLAGS else "iuf"
        _need(isinstance(value, np.ndarray), f"{where} must be an array")
        _need(value.dtype.kind in kinds, f"{where} must not be an array of {value.dtype}")
    else:
        is_right = type(value) is origin or (origin is float and type(value) is int)
        _need(is_right, f"{where} must be a {origin.__name__}, not {_brief(value)}")
    _check_range(value, where)
    return value


def _conform_members(value: Any, hint: Any, origin: type, where: str) -> Any:
    of = get_args(hint)
    if origin is dict:
        _need(isinstance(value, dict), f"{where} must have names")
        found = {key: _conform(item, of[1], where) for key, item in value.items()}
        if hint == dict[str, Any] and where == "plan":
            _check_plan(found)
        return found
    _need(isinstance(value, list | tuple), f"{where} must be a list, not {_brief(value)}")
    if origin is list:
        return [_conform(item, of[0], where) for item in value]
    if of[-1] is ...:
        return tuple(_conform(item, of[0], where) for item in value)
    _need(len(value) == len(of), f"{where} must have {len(of)} entries, not {len(value)}")
    return tuple(_conform(item, each, where) for item, each in zip(value, of, strict=True))


def _within(where: str, cls: type[Any], value: Mapping[str, Any]) -> Any:
    try:
        return build_record(cls, value)
    except Misfit as exc:
        raise Misfit(f"{where}/{exc}") from exc


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _check_range(value: Any, where: str) -> None:
    if isinstance(value, bool | str):
        return
    if isinstance(value, int):
        _need(abs(value) <= _LARGEST_INT, f"{where} is larger than any number here")
    name = where.rpartition("/")[2]
    low, high = (0, _INF) if name.startswith("num_") else RANGES.get(name, (-_INF, _INF))
    with np.errstate(invalid="ignore"):
        is_outside = np.any((np.asarray(value) < low) | (np.asarray(value) > high))
    _need(not is_outside, f"{where} must be from {low} to {high}")
    if name in FINITE:
        _need(np.all(np.isfinite(value)), f"{where} must be finite")


def _check_plan(plan: Mapping[str, Any]) -> None:
    for name, value in plan.items():
        if name in PLAN:
            kind, low, high = PLAN[name]
            is_right = type(value) is kind and (kind is str or low <= value <= high)
            expected = "a text" if kind is str else f"from {low} to {high}"
            _need(is_right, f"plan/{name} must be {expected}, not {_brief(value)}")


def _check_shapes(cls: type[Any], found: Mapping[str, Any]) -> None:
    """Bind every named axis to the size that it has first, and compare the others with it."""
    shapes = {field.name: "n" if _is_required(field) else "n?" for field in fields(cls)}
    named = SHAPES.get(cls.__name__, {})
    shapes |= named
    sizes: dict[str, tuple[int, ...]] = {}
    for name, value in sorted(found.items(), key=lambda item: item[0] not in named):
        many = value if isinstance(value, dict) else {"": value}
        for key, array in many.items():
            if isinstance(array, np.ndarray):
                where = f"{name}/{key}".rstrip("/")
                _check_shape(array.shape, shapes[name], sizes, where)


def _check_shape(
    shape: tuple[int, ...], axes: str, sizes: dict[str, tuple[int, ...]], where: str
) -> None:
    if axes.endswith("?") and shape == (0,):
        return
    names = axes.removesuffix("?").split()
    parts = [shape] if axes.startswith("*") else [(size,) for size in shape]
    expected = [sizes.get(name, part) for name, part in zip(names, parts, strict=False)]
    if len(names) != len(parts) or expected != parts:
        wanted = ", ".join(", ".join(map(str, sizes.get(name, (name,)))) for name in names)
        raise Misfit(f"{where} has the shape {shape}, needs ({wanted})")
    sizes |= zip(names, parts, strict=True)
    sizes.pop("_", None)


def _surface_rules(found: Mapping[str, Any]) -> dict[str, bool]:
    x, y, shape = found["x"], found["y"], found["done"].shape
    splits = found["loss"]
    plane = y is not None and shape == (len(y), len(x))
    lines = y is None and len(shape) in (1, 2) and shape[-1] == len(x)
    marks = found.get("marks", ())
    tracks = [mark for mark in marks if mark.kind == "snapshot"]
    return {
        f"done has the shape {shape}, which does not fit x and y": found["done"].size > 0
        and (plane or lines),
        "loss has no split": bool(splits),
        "accuracy is of a split that loss does not have": splits.keys() >= found["accuracy"].keys(),
        "standard_error is of a split that loss does not have": splits.keys()
        >= found.get("standard_error", {}).keys(),
        "marks/coordinates must be one per direction": all(
            len(mark.coordinates) == (1 if y is None else 2) for mark in marks
        ),
        "marks/loss must have every split": all(
            mark.loss.keys() >= splits.keys() and mark.plane_loss.keys() >= splits.keys()
            for mark in tracks
        ),
    }


def _directions_rules(found: Mapping[str, Any]) -> dict[str, bool]:
    count, size = found["vectors"].shape
    shapes = found["weight_shapes"]
    sizes = [math.prod(shape) if min(shape, default=0) >= 0 else -1 for shape in shapes]
    return {
        "vectors must not be empty": found["vectors"].size > 0,
        f"names must be {count}, one per vector": len(found["names"]) == count,
        "weight_names and weight_shapes differ in length": len(found["weight_names"]) == len(sizes),
        f"weight_shapes must have {size} entries together": sum(sizes) == size and -1 not in sizes,
    }


_RULES: dict[str, Callable[[Mapping[str, Any]], dict[str, bool]]] = {
    "Surface": _surface_rules,
    "Directions": _directions_rules,
    "CurvatureHistory": lambda found: {
        "epoch must not be empty": found["epoch"].size > 0,
        f"unit must be {', '.join(POSITION_UNITS)}": found.get("unit", "epoch") in POSITION_UNITS,
    },
    "Density": lambda found: {
        "num_parameters must be at least 1": found["num_parameters"] >= 1,
    },
    "SharpnessComparison": lambda found: {
        "names must be one per checkpoint": len(found["names"]) == len(found["checkpoints"]),
        "group_of must be one per checkpoint, or none": len(found.get("group_of", ()))
        in (0, len(found["names"])),
    },
}
"""Class -> what must agree in it, by the complaint where it does not."""
