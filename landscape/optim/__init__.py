"""Optimizers: SAM, and the names under which they are built."""

from __future__ import annotations

from landscape.optim.factory import OPTIMIZERS, build_optimizer
from landscape.optim.sam import SAM

__all__ = ["OPTIMIZERS", "SAM", "build_optimizer"]
