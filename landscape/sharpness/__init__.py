"""Sharpness: how much the loss rises within a given distance of the weights."""

from landscape.sharpness.measures import MEASURES, Measured, Options, measure, measure_sharpness

__all__ = ["MEASURES", "Measured", "Options", "measure", "measure_sharpness"]
