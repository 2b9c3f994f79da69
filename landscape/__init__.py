"""The geometry of trained neural networks: loss surfaces, curvature and sharpness.

    problem = landscape.open_problem("runs/sam/checkpoint.pt", samples=1000)
    surface = landscape.surface(problem, grid=21)
    surface.plot()
    landscape.hessian(problem, top_k=3).lambda_max
    landscape.sharpness(problem, 0.05)["asc", 0.05].sharpness

Names are imported when they are first used, so that `import landscape` is instant.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from landscape.registry import imported

if TYPE_CHECKING:
    from landscape.directions.plane import Plane, random_directions
    from landscape.errors import LandscapeError
    from landscape.hessian.spectrum import hessian_spectrum
    from landscape.hessian.spectrum import hessian_spectrum as hessian
    from landscape.io.open import open_problem
    from landscape.io.store import read_result, write_result
    from landscape.io.store import read_result as load
    from landscape.io.store import write_result as save
    from landscape.optim.sam import SAM
    from landscape.plot.figure import draw_result as plot
    from landscape.problem.problem import Problem
    from landscape.report.compare import compare
    from landscape.report.measuring import MeasuringPlan
    from landscape.sharpness.measured import measure_sharpness
    from landscape.sharpness.measured import measure_sharpness as sharpness
    from landscape.surface.evaluate import evaluate_surface
    from landscape.surface.grid import Axis
    from landscape.surface.surface import surface
    from landscape.training.loop import train
    from landscape.training.training_plan import TrainingPlan

    __version__: str

_PLACES = {
    "open_problem": "landscape.io.open:open_problem",
    "Problem": "landscape.problem.problem:Problem",
    "compare": "landscape.report.compare:compare",
    "MeasuringPlan": "landscape.report.measuring:MeasuringPlan",
    "train": "landscape.training.loop:train",
    "TrainingPlan": "landscape.training.training_plan:TrainingPlan",
    "SAM": "landscape.optim.sam:SAM",
    "load": "landscape.io.store:read_result",
    "save": "landscape.io.store:write_result",
    "LandscapeError": "landscape.errors:LandscapeError",
    "Axis": "landscape.surface.grid:Axis",
    "Plane": "landscape.directions.plane:Plane",
    "evaluate_surface": "landscape.surface.evaluate:evaluate_surface",
    "hessian_spectrum": "landscape.hessian.spectrum:hessian_spectrum",
    "measure_sharpness": "landscape.sharpness.measured:measure_sharpness",
    "random_directions": "landscape.directions.plane:random_directions",
    "read_result": "landscape.io.store:read_result",
    "write_result": "landscape.io.store:write_result",
}
_CALLABLE_PACKAGES = ("surface", "hessian", "sharpness", "plot")

__all__ = [
    "SAM",
    "Axis",
    "LandscapeError",
    "MeasuringPlan",
    "Plane",
    "Problem",
    "TrainingPlan",
    "compare",
    "evaluate_surface",
    "hessian",
    "hessian_spectrum",
    "load",
    "measure_sharpness",
    "open_problem",
    "plot",
    "random_directions",
    "read_result",
    "save",
    "sharpness",
    "surface",
    "train",
    "write_result",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("landscape-toolkit")
    if name in _CALLABLE_PACKAGES:
        return import_module(f"landscape.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return imported(_PLACES[name])


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
