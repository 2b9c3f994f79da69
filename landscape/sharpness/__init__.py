"""Sharpness: how much the loss rises within a given distance of the weights."""

from landscape.sharpness.measures import Measured, measure, measure_sharpness
from landscape.sharpness.options import MEASURES, Options

__all__ = ["MEASURES", "Measured", "Options", "measure", "measure_sharpness"]
