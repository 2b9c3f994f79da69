"""Curvature: the algorithms take a symmetric operator and never see a model."""
