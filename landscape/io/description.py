"""What a file holds, as plain names and numbers."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import StoreError, require
from landscape.io.layouts import read_any
from landscape.io.store import kind_of, read_schema
from landscape.results.display import as_plain
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History
from landscape.results.provenance import Provenance
from landscape.results.sharpness import (
    Certificate,
    Sharpness,
    SharpnessComparison,
    Taylor,
    norm_as_json,
)
from landscape.results.spectrum import Spectrum
from landscape.results.surface import Directions, Surface
from landscape.runtime.files import is_hdf5
from landscape.runtime.seal import check_seal

Description = dict[str, Any]
"""Name -> number, string, or more of the same; dictionaries under `splits`, `maps` and
`provenance`."""


def describe_file(path: Path, *, check: bool = False) -> Description:
    """Describe a results file of any kind, a file in Li et al.'s layout, or a checkpoint.

    Torch is imported for a checkpoint or a training's history alone.

    Args:
        path: The file.
        check: Whether to say which of its bytes are known to be those that were written.

    Returns:
        What it holds, by name; `file`, `kind` and `layout` are always there.

    Raises:
        LandscapeError: If it is missing, damaged, or something else.
    """
    require(
        path.is_file(),
        f"{path} is a folder." if path.is_dir() else f"file {path} does not exist.",
        hint="Name a results file, a file of Li et al.'s code, or a checkpoint.",
        kind=StoreError,
    )
    if not is_hdf5(path):
        found = {"file": str(path), "kind": "checkpoint", **_describe_checkpoint(path)}
        return {**found, **({"integrity": _integrity(path)} if check else {})}
    result, layout = read_any(path)
    return {
        "file": str(path),
        "kind": kind_of(result),
        **({"integrity": _integrity(path)} if check else {}),
        "layout": layout,
        **({"schema": read_schema(path)} if layout == "landscape" else {}),
        **_DESCRIBE[type(result)](result),
    }


def _integrity(path: Path) -> str:
    """Say how much of a file that could be read is known to be as it was written."""
    if check_seal(path):
        return "every byte is as it was written (SHA-256)"
    how = "names, types, shapes and ranges are right; the values cannot be verified"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if all(member.CRC for member in archive.infolist() if member.file_size):
                how = "every tensor is as it was written (CRC-32 of the archive)"
    return f"{how}: the file has no seal of this toolkit"


def _describe_surface(surface: Surface) -> Description:
    line = "lines" if (surface.num_lines or 1) > 1 else "line"
    return {
        "shape": line if surface.y is None else "plane",
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
        "explained_variance": as_plain(surface.explained_variance),
        "maps": {name: _extremes(surface, values) for name, values in surface.maps.items()},
        "marks": as_plain(surface.marks),
        "deviations": surface.deviations,
        "rounding": surface.rounding,
        "provenance": _known(surface.provenance),
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
    low, high = (
        np.unravel_index(find(finite), finite.shape) for find in (np.nanargmin, np.nanargmax)
    )
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
    return [
        {"number": i, "name": name, "norm": norm, "hash": digest}
        for i, (name, norm, digest) in enumerate(rows, 1)
    ]


def _known(provenance: Provenance) -> Description:
    """Leave out what was not recorded."""
    return {name: value for name, value in provenance.as_dict().items() if value}


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
            name: list(shape)
            for name, shape in zip(directions.weight_names, directions.weight_shapes, strict=True)
        },
    }


def _describe_spectrum(spectrum: Spectrum) -> Description:
    left_out = ("absolute_ratio", "nonconvexity", "top_to_fifth", "ratio_intervals")
    found = {name: value for name, value in spectrum.as_dict().items() if name not in left_out}
    return {**found, "provenance": _known(spectrum.provenance)}


def _describe_curvature_history(history: CurvatureHistory) -> Description:
    """Make a row of each snapshot that is done."""
    columns = {
        "epoch": history.epoch,
        "lambda_max": _extreme(history, "eigenvalues"),
        "residual_max": _extreme(history, "residuals"),
        "rounding_max": _extreme(history, "rounding"),
        "lambda_min": _extreme(history, "bottom_eigenvalues"),
        "residual_min": _extreme(history, "bottom_residuals"),
        "rounding_min": _extreme(history, "bottom_rounding"),
        "loss": history.loss,
        "learning_rate": history.learning_rate,
        "overlap": history.overlaps,
        "num_matvecs": history.num_matvecs,
        "converged": history.converged,
    }
    done = np.flatnonzero(history.done)
    return {
        "split": history.split,
        "unit": history.unit,
        "num_snapshots": len(history.done),
        "num_done": len(done),
        "top_k": history.eigenvalues.shape[1],
        "bottom_k": history.bottom_eigenvalues.shape[1],
        "snapshots": [
            _finite({name: values[i].item() for name, values in columns.items()}) for i in done
        ],
        "provenance": _known(history.provenance),
    }


def _extreme(history: CurvatureHistory, name: str) -> np.ndarray:
    """Return the first column (n,) of a field, NaN without one."""
    values = getattr(history, name)
    return values[:, 0] if values.size else np.full(len(history.epoch), np.nan)


def _describe_sharpness(sharpness: Sharpness) -> Description:
    return {**sharpness.as_dict(), "provenance": _known(sharpness.provenance)}


def _describe_comparison(comparison: SharpnessComparison) -> Description:
    """Make a row of each checkpoint, each measure, each difference and each value of a group."""
    found = comparison.as_dict()
    checkpoints = list(zip(comparison.names, found["checkpoints"], strict=True))
    groups = comparison.group_of or [None] * len(comparison.names)
    rows = {
        kind: [{"checkpoint": name, **row} for name, each in checkpoints for row in each[kind]]
        for kind in ("measures", "rescaled")
    }
    return {
        "checkpoints": [
            {"name": name, "group": group, **_checkpoint_row(each)}
            for group, (name, each) in zip(groups, checkpoints, strict=True)
        ],
        **rows,
        "differences": found["differences"],
        "groups": list(map(_finite, found["groups"])),
        "provenance": _known(replace(comparison.checkpoints[0].provenance, weights_hash="")),
    }


def _checkpoint_row(sharpness: Description) -> Description:
    """Describe a checkpoint without its measures and the provenance it shares with the others."""
    left_out = ("measures", "taylor", "rescaled", "provenance")
    return {
        **{name: value for name, value in sharpness.items() if name not in left_out},
        **_finite(sharpness["taylor"] or Taylor(math.nan).as_dict()),
        "weights_hash": sharpness["provenance"]["weights_hash"],
    }


def _finite(values: Description) -> Description:
    """Put None for NaN, which stands for what there is none of."""
    return {name: None if value != value else value for name, value in values.items()}


def _describe_certificate(certificate: Certificate) -> Description:
    rows = zip(certificate.rho.tolist(), certificate.losses.tolist(), strict=True)
    return {
        "measure": certificate.measure,
        "p": norm_as_json(certificate.p),
        "adaptive": certificate.adaptive,
        "eta": certificate.eta if certificate.adaptive else None,
        "split": certificate.split,
        "loss": certificate.loss,
        "num_parameters": int(certificate.perturbations.shape[1]),
        "certificates": [
            {
                "rho": rho,
                "loss": loss,
                "sharpness": loss - certificate.loss,
                "norm": float(np.linalg.norm(e)),
            }
            for (rho, loss), e in zip(rows, certificate.perturbations, strict=True)
        ],
        "provenance": _known(certificate.provenance),
    }


def _describe_history(history: History) -> Description:
    return {
        "num_epochs": len(history.epoch),
        "last_epoch": {
            name: float(values[-1])
            for name, values in history.columns.items()
            if not np.isnan(values[-1:]).all()
        },
        "seconds": float(history.seconds.sum()),
        "settings": _with_optimizer(history.settings),
    }


def _with_optimizer(settings: Description) -> Description:
    """Return the settings of a training with those of the optimizer that were left to it."""
    if settings.get("optim") is None:
        return settings
    from landscape.optim.family import with_defaults

    return with_defaults(settings)


def _describe_checkpoint(path: Path) -> Description:
    from landscape.io.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    tensors = {
        name: value for name, value in checkpoint.state_dict.items() if hasattr(value, "shape")
    }
    training = checkpoint.training or {}
    state = training.get("state", training)  # that of a run has its epoch deeper than a snapshot
    settings = _with_optimizer(training.get("settings", {}))
    how = {"epoch": state.get("epoch"), "settings": settings}
    return {
        "layout": "foreign" if checkpoint.training is None else "landscape",
        "num_tensors": len(tensors),
        "num_values": sum(value.numel() for value in tensors.values()),
        "dtypes": sorted({str(value.dtype).removeprefix("torch.") for value in tensors.values()}),
        "recipe": asdict(checkpoint.recipe),
        **({} if checkpoint.training is None else how),
        "tensors": {name: list(value.shape) for name, value in tensors.items()},
    }


_DESCRIBE: dict[type, Callable[[Any], Description]] = {
    Surface: _describe_surface,
    Directions: _describe_directions,
    Spectrum: _describe_spectrum,
    CurvatureHistory: _describe_curvature_history,
    Sharpness: _describe_sharpness,
    SharpnessComparison: _describe_comparison,
    Certificate: _describe_certificate,
    History: _describe_history,
}
