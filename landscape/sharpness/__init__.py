"""Sharpness: how much the loss rises within a given distance of the weights."""

from landscape.registry import make_callable
from landscape.results.sharpness_measures import MEASURES
from landscape.sharpness.measured import measure_rises, measure_sharpness
from landscape.sharpness.measurement import SharpnessOptions
from landscape.sharpness.rises import Measured

__all__ = ["MEASURES", "Measured", "SharpnessOptions", "measure_rises", "measure_sharpness"]

make_callable(__name__, "landscape.sharpness.measured:measure_sharpness")
