"""Optimizers: SAM and its family, and the names under which they are built."""

from __future__ import annotations

from landscape.optim.factory import OPTIMIZERS, build_optimizer
from landscape.optim.sam import SAM
from landscape.optim.variants import GSAM, FriendlySAM

__all__ = ["GSAM", "OPTIMIZERS", "SAM", "FriendlySAM", "build_optimizer"]
