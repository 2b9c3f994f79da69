"""Small surfaces whose values follow a formula."""

from __future__ import annotations

import numpy as np

from landscape.results.provenance import Provenance
from landscape.results.surface import Surface

PROVENANCE = Provenance(
    weights_hash="ab", num_parameters=5, settings={"seed": 3}, versions={"torch": "2"}
)


def formula(x, y):
    """A positive loss on [-1, 1] x [0, 2] that no exchange of the axes leaves as it is."""
    return 20.0 + 10.0 * x + 100.0 * y**2 + x * y


def plane_surface(nx=4, ny=3, *, left_out=()):
    """A plane on [-1, 1] x [0, 2]; `left_out` are flat indices of points that are not done and hold
    nonsense."""
    x, y = np.linspace(-1, 1, nx), np.linspace(0, 2, ny)
    done = ~np.isin(np.arange(nx * ny), left_out).reshape(ny, nx)
    train = np.where(done, formula(*np.meshgrid(x, y)), 777.0)
    return Surface(
        x,
        y,
        {"train": train, "test": train + 1.0},
        {"train": train / 1000.0},
        done,
        {"train": 1.5},
        {},
        "filter",
        np.array([2.0, 3.0]),
        ("a", "b"),
        0.1,
        PROVENANCE,
        direction_names=("random", "to:b.pt"),
        maps={"lambda_max": train + 2.0},
    )


def line_surface(num_lines=1, *, left_out=()):
    """Lines of 5 points on [-1, 1]: line k is formula(x, k)."""
    x = np.linspace(-1, 1, 5)
    shape = (num_lines, 5) if num_lines > 1 else (5,)
    values = np.stack([formula(x, k) for k in range(num_lines)]).reshape(shape)
    done = ~np.isin(np.arange(5 * num_lines), left_out).reshape(shape)
    return Surface(
        x, None, {"train": values}, {}, done, {"train": 1.0}, {}, "none", np.ones(num_lines),
        ("x",) * num_lines, None, PROVENANCE,
    )  # fmt: skip
