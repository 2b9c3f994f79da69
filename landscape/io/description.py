"""What a file holds, as plain names and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import StoreError
from landscape.io.layouts import read_any
from landscape.io.store import KINDS, read_schema
from landscape.results import Directions, History, Sharpness, Spectrum, Surface

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_SUFFIXES = (".h5", ".hdf5")

Description = dict[str, Any]
"""Name -> number, string, or more of the same; dictionaries under `splits`, `maps` and `provenance`."""


def describe_file(path: Path) -> Description:
    """Describe a results file of any kind, a file in Li et al.'s layout, or a checkpoint.

    Torch is imported for a checkpoint alone.

    Returns:
        What it holds, by name; `kind`, `layout` and `path` are always there.

    Raises:
        LandscapeError: If it is missing, damaged, or something else.
    """
    if not path.is_file():
        raise StoreError(f"{path} is a folder." if path.is_dir() else f"file {path} does not exist.", hint=_HINT)
    if not _is_hdf5(path):
        return {"path": str(path), "kind": "checkpoint", **_describe_checkpoint(path)}
    result, layout = read_any(path)
    kind = next(name for name, cls in KINDS.items() if type(result) is cls)
    schema = {"schema": read_schema(path)} if layout == "landscape" else {}
    return {"path": str(path), "kind": kind, "layout": layout, **schema, **_DESCRIBE[type(result)](result)}


_HINT = "Name a results file, a file of Li et al.'s code, or a checkpoint."


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix in _HDF5_SUFFIXES or file.read(len(_HDF5)) == _HDF5


def _describe_surface(surface: Surface) -> Description:
    return {
        "shape": "lines" if (surface.num_lines or 1) > 1 else "line" if surface.y is None else "plane",
        "num_lines": surface.num_lines,
        "x": _axis(surface.x),
        "y": None if surface.y is None else _axis(surface.y),
        "num_points": surface.done.size,
        "num_done": int(surface.done.sum()),
        "tolerance": surface.tolerance,
        "splits": {split: _split(surface, split) for split in surface.splits},
        "normalization": surface.normalization,
        "directions": _directions_of(surface),
        "cosine": surface.cosine,
        "explained_variance": None if surface.explained_variance is None else surface.explained_variance.tolist(),
        "maps": {name: _extremes(surface, values) for name, values in surface.maps.items()},
        "marks": [asdict(mark) for mark in surface.marks],
        "deviations": surface.deviations,
        "provenance": _known(asdict(surface.provenance)),
    }


def _axis(values: np.ndarray) -> Description:
    return {"start": float(values[0]), "stop": float(values[-1]), "num_points": len(values)}


def _split(surface: Surface, split: str) -> Description:
    values, errors = surface.loss[split], surface.standard_error.get(split)
    done = values[surface.done]
    return {
        "center_loss": surface.center_loss.get(split),
        "center_accuracy": surface.center_accuracy.get(split),
        **_extremes(surface, values),
        "num_nan": int(np.isnan(done).sum()),
        "num_infinite": int(np.isinf(done).sum()),
        "largest_standard_error": None if errors is None else _extremes(surface, errors)["max"],
    }


def _extremes(surface: Surface, values: np.ndarray) -> Description:
    """Find the smallest and the largest finite value at the points done, and their coordinates."""
    finite = np.where(surface.done & np.isfinite(values), values, np.nan)
    if np.isnan(finite).all():
        return {"min": None, "min_at": None, "max": None, "max_at": None}
    low, high = (np.unravel_index(find(finite), finite.shape) for find in (np.nanargmin, np.nanargmax))
    return {
        "min": float(values[low]),
        "min_at": _coordinates(surface, low),
        "max": float(values[high]),
        "max_at": _coordinates(surface, high),
    }


def _coordinates(surface: Surface, index: tuple[Any, ...]) -> list[float]:
    """Return the coordinates of a point: x and y; x alone on a line."""
    x = float(surface.x[index[-1]])
    return [x] if surface.y is None else [x, float(surface.y[index[0]])]


def _directions_of(surface: Surface) -> list[Description]:
    norms = [None if np.isnan(norm) else float(norm) for norm in surface.direction_norms]
    rows = zip_longest(surface.direction_names, norms, surface.direction_hashes)
    return [{"number": i, "name": name, "norm": norm, "hash": digest} for i, (name, norm, digest) in enumerate(rows, 1)]


def _known(values: Description) -> Description:
    """Leave out what was not recorded."""
    return {name: value for name, value in values.items() if value}


def _describe_directions(directions: Directions) -> Description:
    vectors = directions.vectors.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (vectors @ vectors.T) / np.outer(norms, norms)
    return {
        "num_parameters": int(vectors.shape[1]),
        "num_tensors": len(directions.weight_names),
        "normalization": directions.normalization,
        "has_origin": directions.origin is not None,
        "directions": [
            {"number": i, "name": name, "norm": float(norm)}
            for i, (name, norm) in enumerate(zip(directions.names, norms, strict=True), 1)
        ],
        "cosine": float(cosines[0, 1]) if len(vectors) == 2 else None,
        "cosines": cosines.tolist(),
        "tensors": {
            name: list(shape) for name, shape in zip(directions.weight_names, directions.weight_shapes, strict=True)
        },
    }


def _describe_spectrum(spectrum: Spectrum) -> Description:
    return {
        "split": spectrum.split,
        "loss": spectrum.loss,
        "accuracy": spectrum.accuracy,
        "engine": spectrum.engine,
        "converged": spectrum.converged,
        "tolerance": spectrum.tolerance,
        "noise_floor": spectrum.noise_floor,
        "num_matvecs": spectrum.num_matvecs,
        "lambda_max": spectrum.lambda_max,
        "lambda_min": spectrum.lambda_min,
        "ratio": spectrum.ratio,
        "eigenvalues": spectrum.eigenvalues.tolist(),
        "residuals": spectrum.residuals.tolist(),
        "bottom_eigenvalues": spectrum.bottom_eigenvalues.tolist(),
        "bottom_residuals": spectrum.bottom_residuals.tolist(),
        "num_vectors": 0 if spectrum.vectors is None else len(spectrum.vectors),
        "provenance": _known(asdict(spectrum.provenance)),
    }


def _describe_sharpness(sharpness: Sharpness) -> Description:
    return {
        "split": sharpness.split,
        "loss": sharpness.loss,
        "accuracy": sharpness.accuracy,
        "gradient_norm": sharpness.gradient_norm,
        "measures": [asdict(measure) for measure in sharpness.measures],
        "provenance": _known(asdict(sharpness.provenance)),
    }


def _describe_history(history: History) -> Description:
    columns = {name: values for name, values in vars(history).items() if isinstance(values, np.ndarray)}
    return {
        "num_epochs": len(history.epoch),
        "last_epoch": {name: float(values[-1]) for name, values in columns.items() if not np.isnan(values[-1:]).all()},
        "seconds": float(history.seconds.sum()),
        "settings": history.settings,
    }


def _describe_checkpoint(path: Path) -> Description:
    from landscape.io.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    tensors = {name: value for name, value in checkpoint.state_dict.items() if hasattr(value, "shape")}
    training = checkpoint.training
    return {
        "layout": "foreign" if training is None else "landscape",
        "num_tensors": len(tensors),
        "num_values": sum(value.numel() for value in tensors.values()),
        "dtypes": sorted({str(value.dtype).removeprefix("torch.") for value in tensors.values()}),
        "recipe": asdict(checkpoint.recipe),
        **({} if training is None else _training(training)),
        "tensors": {name: list(value.shape) for name, value in tensors.items()},
    }


def _training(training: Mapping[str, Any]) -> Description:
    """Say how far training was and how it was done: the state of a run has them deeper than a snapshot."""
    state = training.get("state", training)
    return {"epoch": state.get("epoch"), "settings": training.get("settings", {})}


_DESCRIBE: dict[type, Callable[[Any], Description]] = {
    Surface: _describe_surface,
    Directions: _describe_directions,
    Spectrum: _describe_spectrum,
    Sharpness: _describe_sharpness,
    History: _describe_history,
}
