"""Where eigenvectors point: by layer, along the gradient, and their rotation along training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import require
from landscape.problem.problem import Problem
from landscape.problem.weights import WeightSpec
from landscape.reductions import accumulation_dtype, norm

_CHUNK = 1 << 20  # entries of each vector that are converted at a time


def layer_shares(spec: WeightSpec, vectors: Any) -> dict[str, np.ndarray]:
    """Return the share of each vector's squared length that is in each parameter tensor.

    A tensor of n entries has the share n / P of a random vector.

    Args:
        spec: Of the weights.
        vectors: (k, P), a tensor or an array.

    Returns:
        Parameter name -> shares (k,), which sum to 1 over the names.

    Raises:
        InputError: If the vectors are not of these weights.
    """
    rows = _rows(vectors)
    require(
        rows.shape[1] == spec.size,
        f"vectors must be of the model's {spec.size} weights, got {rows.shape[1]} entries.",
    )
    squares = np.array(
        [[norm(row[w.start : w.stop]) ** 2 for row in rows] for w in spec.weights]
    )  # (tensors, k)
    return dict(zip(spec.names, squares / squares.sum(axis=0), strict=True))


def gradient_overlaps(problem: Problem, vectors: Any) -> tuple[float, np.ndarray]:
    """Return the norm of the gradient at the problem's weights, and its |cosine| with each vector.

    Args:
        problem: The loss.
        vectors: (k, P), a tensor or an array.

    Returns:
        The norm, and the cosines (k,) in [0, 1]; NaN where a length is 0.

    Raises:
        InputError: If the vectors are not of these weights.
    """
    gradient = problem.gradient().vector
    return norm(gradient), alignment(vectors, gradient[None])[:, 0]


def alignment(vectors: Any, others: Any) -> np.ndarray:
    """Return the |cosine| of the angle between each of two sets of vectors; signs are ignored.

    Args:
        vectors: (k, P), a tensor or an array.
        others: (k', P), likewise.

    Returns:
        Cosines (k, k') in [0, 1]; NaN where a length is 0.

    Raises:
        InputError: If they have another number of entries.
    """
    rows, columns = _matching(vectors, others)
    lengths = np.outer([norm(row) for row in rows], [norm(column) for column in columns])
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.abs(_products(rows, columns)) / lengths
    return np.minimum(cosines, 1.0)


def subspace_overlap(vectors: Any, others: Any) -> float:
    """Return the mean squared cosine of the principal angles between the spans of two vector sets.

    It is 1 if one span contains the other, 0 if they are orthogonal, and about k / P for random
    ones. Unlike the cosines of single vectors it does not depend on how the eigenvectors of close
    eigenvalues mix.

    Args:
        vectors: (k, P), a tensor or an array; they need not be orthogonal.
        others: (k', P), likewise.

    Returns:
        A number in [0, 1].

    Raises:
        InputError: If they have another number of entries.

    Source:
        Bjorck and Golub (1973), Math. Comp. 27(123).
    """
    rows, columns = _matching(vectors, others)
    between = _products(rows, columns)
    own, other = (_products(each, each) for each in (rows, columns))
    squares = (
        np.linalg.pinv(own, hermitian=True)
        @ between
        @ np.linalg.pinv(other, hermitian=True)
        @ between.T
    )
    rank = min(np.linalg.matrix_rank(each, hermitian=True) for each in (own, other))
    return float(np.clip(np.trace(squares) / rank, 0.0, 1.0)) if rank else np.nan


def _rows(vectors: Any) -> Tensor:
    rows = torch.as_tensor(vectors)
    require(
        rows.ndim == 2,
        f"vectors must be the rows of a matrix (k, P), got shape {tuple(rows.shape)}.",
    )
    return rows


def _matching(vectors: Any, others: Any) -> tuple[Tensor, Tensor]:
    rows, columns = _rows(vectors), _rows(others)
    require(
        rows.shape[1] == columns.shape[1],
        f"vectors that are compared must be of one model, got {rows.shape[1]} and "
        f"{columns.shape[1]} entries.",
        "Pass eigenvectors of the same architecture.",
    )
    return rows, columns


def _products(rows: Tensor, columns: Tensor) -> np.ndarray:
    """Return all inner products (k, k'), accumulated in float64."""
    dtype = accumulation_dtype(rows.device)
    total = torch.zeros(len(rows), len(columns), device=rows.device, dtype=dtype)
    for a, b in zip(rows.split(_CHUNK, dim=1), columns.split(_CHUNK, dim=1), strict=True):
        total += a.to(dtype) @ b.to(rows.device, dtype).mT
    return total.cpu().double().numpy()
