"""Curvature: the algorithms take a symmetric operator and never see a model."""

from landscape.registry import make_callable

make_callable(__name__, "landscape.hessian.spectrum:hessian_spectrum")
