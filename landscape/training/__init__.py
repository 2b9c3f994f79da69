"""Training: a loop that resumes exactly, learning rate schedules and augmentation."""

from __future__ import annotations

from landscape.training.augmentation import AUGMENTATIONS
from landscape.training.loop import TrainingState, train
from landscape.training.schedules import SCHEDULES, learning_rate_at

__all__ = ["AUGMENTATIONS", "SCHEDULES", "TrainingState", "learning_rate_at", "train"]
