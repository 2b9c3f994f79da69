"""Training: a loop that resumes exactly, learning rate schedules and augmentation."""

from __future__ import annotations

from landscape.training.augmentation import AUGMENTATIONS
from landscape.training.loop import train
from landscape.training.schedules import SCHEDULES, learning_rate_at
from landscape.training.state import Interrupted, TrainingState

__all__ = ["AUGMENTATIONS", "SCHEDULES", "Interrupted", "TrainingState", "learning_rate_at", "train"]
