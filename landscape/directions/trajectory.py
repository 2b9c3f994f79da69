"""The plane that a training run moved in most, by principal components of its snapshots.

The snapshots are never all in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.errors import require
from landscape.reductions import accumulation_dtype, all_finite, dot, norm

_MEMORY = 4 << 30  # bytes that the snapshots in memory may take together
_CHUNK = 1 << 18  # entries of each that are converted at a time
_ROUNDING = 10 * np.finfo(np.float64).eps  # of the sums, relative


@dataclass(frozen=True)
class Snapshot:
    """Weights during training, read when they are needed.

    Attributes:
        label: As a legend names it.
        load: Returns the weights (P,), finite, read anew each time.
    """

    label: str
    load: Callable[[], Tensor]


@dataclass(frozen=True)
class PrincipalDirections:
    """Where a trajectory varies most.

    Attributes:
        directions: One or two vectors (P,) of norm 1, orthogonal, with the device and dtype of the
            origin.
        explained_variance: Share of the trajectory's variance along each, descending.
    """

    directions: tuple[Tensor, ...]
    explained_variance: np.ndarray


def principal_directions(
    snapshots: Sequence[Snapshot],
    origin: Tensor,
    *,
    num_directions: int = 2,
    block_size: int | None = None,
) -> PrincipalDirections:
    """Find the directions in which the snapshots vary most, by PCA of displacements from `origin`.

    As in Li et al.'s code, the origin counts as a snapshot where it is none, and the mean is
    subtracted; the plane is then meant to be drawn through the origin, not through the mean. The
    first snapshot has positive coordinates.

    The components are combinations of the snapshots, whose coefficients are eigenvectors of the (n,
    n) matrix of inner products, in float64. Beside the origin, at most 2 `block_size` snapshots are
    in memory at a time, and in the end one and two vectors in float64. With b blocks, each snapshot
    is read at most b times, and once more.

    Args:
        snapshots: In the order of training.
        origin: Final weights, or any other (P,).
        num_directions: 1 for a line, 2 for a plane.
        block_size: Snapshots a block; if None, as many as let two blocks fit into 4 GiB.

    Raises:
        InputError: If there are too few snapshots, or they do not span as many directions beyond
            the rounding of their dtype, or one has another shape or is not finite.

    Source:
        Li et al. (2018), Visualizing the Loss Landscape of Neural Nets, section 7; the matrix
        of inner products is Sirovich's (1987, Quart. Appl. Math. 45) method of snapshots.
    """
    if block_size is None:
        block_size = max(1, _MEMORY // (2 * origin.numel() * origin.element_size()))
    gram = _gram_matrix(snapshots, origin, block_size)
    rows = gram if (np.diag(gram) == 0).any() else np.pad(gram, (0, 1))  # the origin too
    require(
        len(rows) > num_directions,
        f"principal components in {num_directions} directions need at least "
        f"{num_directions + 1} snapshots, the checkpoint counted, got {len(rows)}.",
        hint="Training with `save_every=1` keeps one per epoch.",
    )
    centred = rows - rows.mean(axis=0) - rows.mean(axis=0)[:, None] + rows.mean()
    values, vectors = (
        np.flip(part, axis=-1)[..., :num_directions] for part in np.linalg.eigh(centred)
    )
    variance = float(np.trace(centred))
    _require_rank(values, variance, len(rows), origin)
    # What is left of the mean is rounding.
    coefficients = (vectors - vectors.mean(axis=0))[: len(snapshots)]
    coefficients *= _signs(gram @ coefficients)
    return PrincipalDirections(_combine(snapshots, origin, coefficients), values / variance)


def _gram_matrix(snapshots: Sequence[Snapshot], origin: Tensor, block_size: int) -> np.ndarray:
    """Return the inner products (n, n) of the displacements from the origin.

    The blocks meet each other in an order in which the last one read is the first one needed next.
    """
    spans = [slice(start, start + block_size) for start in range(0, len(snapshots), block_size)]
    gram = np.zeros((len(snapshots), len(snapshots)))
    right: list[Tensor] = []
    for i, span in enumerate(spans):
        left = right or [_load(snapshot, origin) for snapshot in snapshots[span]]
        gram[span, span] = _inner_products(left, left, origin)
        for other in reversed(spans[i + 1 :]):
            right = []  # the last block goes before the next one comes
            right = [_load(snapshot, origin) for snapshot in snapshots[other]]
            gram[span, other] = _inner_products(left, right, origin)
            gram[other, span] = gram[span, other].T
    return gram


def _inner_products(left: Sequence[Tensor], right: Sequence[Tensor], origin: Tensor) -> np.ndarray:
    """Return the inner products of the displacements of two blocks."""
    total = torch.zeros(
        len(left), len(right), device=origin.device, dtype=accumulation_dtype(origin.device)
    )
    for part in _parts(origin):
        rows = _displacements(left, origin, part)
        total += rows @ (rows if right is left else _displacements(right, origin, part)).T
    return total.cpu().double().numpy()


def _parts(origin: Tensor) -> list[slice]:
    return [slice(start, start + _CHUNK) for start in range(0, origin.numel(), _CHUNK)]


def _displacements(weights: Sequence[Tensor], origin: Tensor, part: slice) -> Tensor:
    """Return a part of the displacements, one a row; subtracted in the accumulation dtype."""
    dtype = accumulation_dtype(origin.device)
    return torch.stack([w[part].to(dtype) for w in weights]) - origin[part].to(dtype)


def _combine(
    snapshots: Sequence[Snapshot], origin: Tensor, coefficients: np.ndarray
) -> tuple[Tensor, ...]:
    """Return the linear combinations of the displacements, orthogonal and of norm 1.

    Rounding leaves some of the first direction in the second where it varies much more; it is
    removed.
    """
    sums = [
        torch.zeros_like(origin, dtype=accumulation_dtype(origin.device)) for _ in coefficients.T
    ]
    for snapshot, shares in zip(snapshots, coefficients, strict=True):
        _add(snapshot, origin, shares.tolist(), sums)
    for i, vector in enumerate(sums):
        for before in sums[:i]:
            vector.sub_(before, alpha=dot(before, vector))
        vector.div_(norm(vector))
    return tuple(vector.to(origin.dtype) for vector in sums)


def _add(
    snapshot: Snapshot, origin: Tensor, shares: Sequence[float], sums: Sequence[Tensor]
) -> None:
    """Add a share of the displacement of a snapshot, which is forgotten then, to each sum."""
    w = _load(snapshot, origin)
    for part in _parts(origin):
        (displacement,) = _displacements([w], origin, part)
        for vector, share in zip(sums, shares, strict=True):
            vector[part].add_(displacement, alpha=share)


def _load(snapshot: Snapshot, origin: Tensor) -> Tensor:
    """Read a snapshot in the dtype of the origin, checked."""
    w = snapshot.load()
    require(
        w.shape == origin.shape,
        f"{snapshot.label} must be a flat vector of the model's {origin.numel()} weights, got "
        f"shape {tuple(w.shape)}.",
    )
    require(
        all_finite([w]),
        f"snapshots must be finite, {snapshot.label} holds NaN or inf.",
        hint="The training diverged; take away the snapshots from there on.",
    )
    return w.to(origin)


def _require_rank(values: np.ndarray, variance: float, num_rows: int, origin: Tensor) -> None:
    """Raise InputError if a variance may be due to rounding of the weights and sums alone."""
    step = torch.finfo(origin.dtype).eps / 2 * norm(origin)
    rank = int((values > num_rows * (step**2 + _ROUNDING * variance)).sum())
    require(rank > 0, "the snapshots must differ from each other, all are the same up to rounding.")
    require(
        rank == len(values),
        "the snapshots must span a plane, all are on one line up to rounding.",
        hint="Pass `dims=1` for that line.",
    )


def _signs(coordinates: np.ndarray) -> np.ndarray:
    """Return the signs that make the coordinate of the first moved snapshot positive.

    There is one sign per direction; the snapshot is the first that the direction moves by more than
    rounding.
    """
    is_clear = np.abs(coordinates) > 1e-6 * np.abs(coordinates).max(axis=0)
    first = np.expand_dims(is_clear.argmax(axis=0), 0)
    return np.sign(np.take_along_axis(coordinates, first, axis=0)[0])
