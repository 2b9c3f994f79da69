"""Training: a loop that resumes exactly, learning rate schedules and augmentation."""

from __future__ import annotations

from landscape.training.augmentation import AUGMENTATIONS
from landscape.training.loop import train
from landscape.training.schedules import SCHEDULES, factor_at
from landscape.training.training_plan import TrainingPlan
from landscape.training.training_state import Interrupted, TrainingState

__all__ = [
    "AUGMENTATIONS",
    "SCHEDULES",
    "Interrupted",
    "TrainingPlan",
    "TrainingState",
    "factor_at",
    "train",
]
