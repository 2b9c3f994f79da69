"""Training: a loop that resumes exactly, learning rate schedules and augmentation."""

from __future__ import annotations

from landscape.training.augmentation import AUGMENTATIONS
from landscape.training.loop import train
from landscape.training.training_plan import (
    SCHEDULES,
    Interrupted,
    TrainingPlan,
    TrainingState,
    factor_at,
)

__all__ = [
    "AUGMENTATIONS",
    "SCHEDULES",
    "Interrupted",
    "TrainingPlan",
    "TrainingState",
    "factor_at",
    "train",
]
