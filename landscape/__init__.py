"""The geometry of trained neural networks: loss surfaces, curvature and sharpness.

Names are imported when they are first used, so that `import landscape` is instant.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.directions.plane import Plane
    from landscape.directions.random import random_directions
    from landscape.errors import LandscapeError
    from landscape.hessian.spectrum import hessian_spectrum
    from landscape.io.store import read_result, write_result
    from landscape.optim.sam import SAM
    from landscape.problem.problem import Problem
    from landscape.sharpness import measure_sharpness
    from landscape.surface.evaluate import evaluate_surface
    from landscape.surface.grid import Axis

_MODULES = {
    "Axis": "landscape.surface.grid",
    "LandscapeError": "landscape.errors",
    "Plane": "landscape.directions.plane",
    "Problem": "landscape.problem.problem",
    "SAM": "landscape.optim.sam",
    "evaluate_surface": "landscape.surface.evaluate",
    "hessian_spectrum": "landscape.hessian.spectrum",
    "measure_sharpness": "landscape.sharpness",
    "random_directions": "landscape.directions.random",
    "read_result": "landscape.io.store",
    "write_result": "landscape.io.store",
}

__all__ = [
    "SAM",
    "Axis",
    "LandscapeError",
    "Plane",
    "Problem",
    "evaluate_surface",
    "hessian_spectrum",
    "measure_sharpness",
    "random_directions",
    "read_result",
    "write_result",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("landscape-toolkit")
    if name not in _MODULES:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
