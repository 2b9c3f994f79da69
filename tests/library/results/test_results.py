"""What results say of themselves."""

import dataclasses
import math

import numpy as np

from landscape.results.provenance import Provenance
from landscape.results.surface import Mark, Surface


def surface_with(marks):
    done = np.ones(2, dtype=bool)
    empty = Surface(
        np.arange(2.0),
        None,
        {"train": np.zeros(2)},
        {},
        done,
        {},
        {},
        "none",
        done,
        (),
        None,
        Provenance(),
    )
    return dataclasses.replace(empty, marks=tuple(marks))


def snapshot(loss, plane_loss, kind="snapshot"):
    return Mark(
        "", kind, (0.0,), distance=abs(loss), loss={"train": loss}, plane_loss={"train": plane_loss}
    )


def test_the_largest_gap_is_that_of_snapshots_alone():
    surface = surface_with(
        [snapshot(9.0, 1.0, "checkpoint"), snapshot(2.0, 1.0), snapshot(1.0, 4.0)]
    )
    assert surface.largest_loss_gaps == {"train": 3.0}
    assert surface.largest_distance == 2.0


def test_losses_that_are_not_finite_have_no_gap():
    surface = surface_with([snapshot(1.0, math.inf), snapshot(math.nan, 1.0), snapshot(2.0, 1.5)])
    assert surface.largest_loss_gaps == {"train": 0.5}
    assert math.isnan(surface_with([snapshot(1.0, math.inf)]).largest_loss_gaps["train"])


def test_a_surface_without_snapshots_has_no_trajectory():
    surface = surface_with([snapshot(1.0, 2.0, "checkpoint")])
    assert (surface.trajectory, surface.largest_distance, surface.largest_loss_gaps) == (
        (),
        None,
        {},
    )
