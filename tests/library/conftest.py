"""A disk that is full."""

import os
from contextlib import contextmanager

import pytest


@pytest.fixture
def full_disk(monkeypatch):
    """A context in which what was written does not get onto the disk."""

    def fail(_):
        raise OSError(28, "No space left on device")

    @contextmanager
    def context():
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            yield

    return context()
