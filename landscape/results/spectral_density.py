"""A stored spectral density's smoothed curve with a band, its masses with errors, and its mean.

All integrals are over the whole spectrum: outliers and quadratures together have the mass 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal, hessenberg

from landscape.results.display import Record
from landscape.results.interval import half_width
from landscape.results.spectrum import Density

NEAR_ZERO = 1e-2
"""Share of |lambda|_max within which an eigenvalue counts as near zero.

What a quadrature of 40 nodes tells apart: of a trained network's spectrum (P = 2410,
benchmarks/RESULTS.md) the bounds on the mass below -1e-2 lambda_max were .006 and .007 (.006 was
true), on the mass near zero .86 and .89 (.88), but on the mass below -1e-6 lambda_max .06 and .65
(.22). """

_TINY = 1e-28  # share of a weight that is the square of rounding


@dataclass(frozen=True)
class Mass(Record):
    """Share of the eigenvalues in an interval.

    Attributes:
        value: Midpoint of the bounds, rounding apart.
        standard_error: Standard error of it over the probes, or None for a single probe.
        low: Mean over the probes of the least share that a spectrum with this quadrature can have,
            if its eigenvalues are off by up to the rounding.
        high: Mean over the probes of the largest share.
        at_least: Lower end of a 95 % interval: the bound, less the error of a mean over probes.
        at_most: Upper end.
    """

    value: float
    standard_error: float | None
    low: float
    high: float
    at_least: float
    at_most: float


def mean(density: Density) -> float:
    """Return the mean eigenvalue, tr(H) / P."""
    in_nodes = np.nansum(density.nodes * density.weights) / max(len(density.nodes), 1)
    return float(in_nodes + density.outliers.sum() / density.num_parameters)


def kernel_width(density: Density) -> float:
    """Return the default standard deviation of the Gaussian kernel.

    It is the range of the nodes over their number per probe.

    It is the mean distance between the nodes, so that they run together where eigenvalues are
    dense, and no finer than what a quadrature of that many nodes resolves. A spectrum that is a
    single point has a hundredth of its magnitude.
    """
    nodes = density.nodes[density.weights > 0]
    values = nodes if nodes.size else density.outliers
    span = np.ptp(values) if values.size else 0.0
    number = density.nodes.shape[1] or len(density.outliers)
    return float(span / number) or 1e-2 * _largest(density) or 1.0


def near_zero_width(density: Density) -> float:
    """Return the magnitude up to which an eigenvalue counts as near zero.

    It is `NEAR_ZERO` |lambda|_max, or the noise floor if that is larger.
    """
    return max(NEAR_ZERO * _largest(density), density.noise_floor)


def smoothed(density: Density, x: np.ndarray, width: float | None = None) -> np.ndarray:
    """Return the density at eigenvalues, each outlier and node a Gaussian, mean over the probes.

    Args:
        density: Outliers and quadratures.
        x: Eigenvalues, (n,).
        width: Standard deviation of the Gaussian; None for `kernel_width`.

    Returns:
        Density, (n,), in 1 / eigenvalue: it integrates to 1.
    """
    from_outliers, of_probes = _curves(density, x, width)
    return from_outliers + of_probes.mean(0) if len(of_probes) else from_outliers


def band(
    density: Density, x: np.ndarray, width: float | None = None, *, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return Student's pointwise confidence band of the smoothed density over the random probes.

    With 3, 5 and 20 probes a band of .95 held the smoothed density of a spectrum at .95 of the
    points.

    Args:
        density: Outliers and quadratures.
        x: Eigenvalues, (n,).
        width: As of `smoothed`.
        confidence: Share of the bands that hold the density at a point.

    Returns:
        Lower and upper ends, (n,) each; a single probe has a band of no width.
    """
    from_outliers, of_probes = _curves(density, x, width)
    num_probes = len(of_probes)
    if num_probes < 2:
        curve = from_outliers + of_probes.sum(0)
        return curve, curve
    center, error = of_probes.mean(0), of_probes.std(0, ddof=1) / np.sqrt(num_probes)
    reach = half_width(1.0, num_values=num_probes, confidence=confidence) * error
    return from_outliers + np.maximum(center - reach, 0.0), from_outliers + center + reach


def mass_below(density: Density, value: float) -> Mass:
    """Return the share of eigenvalues below a value."""
    return _mass(density, -np.inf, value, density.outliers < value)


def mass_below_zero(density: Density) -> Mass:
    """Return the share of negative eigenvalues, of which some may be rounding."""
    return mass_below(density, 0.0)


def mass_below_near_zero(density: Density) -> Mass:
    """Return the share of eigenvalues below minus `near_zero_width`.

    The rest below zero counts as near zero: the quadratures hardly tell its sign.
    """
    return mass_below(density, -near_zero_width(density))


def mass_near_zero(density: Density, radius: float | None = None) -> Mass:
    """Return the share of eigenvalues up to `radius` in magnitude.

    If it is None, `near_zero_width` is used.
    """
    radius = near_zero_width(density) if radius is None else radius
    return _mass(density, -radius, radius, np.abs(density.outliers) <= radius)


def _mass(density: Density, start: float, stop: float, is_inside: np.ndarray) -> Mass:
    """Return the share between two values; which outliers are inside is given."""
    shift = density.rounding or 0.0
    distances = np.abs(density.outliers[:, None] - [start, stop]).min(axis=1)
    is_sure = (distances > shift) | (shift == 0)
    known, least_known, most_known = (
        float(np.count_nonzero(which) / density.num_parameters)
        for which in (is_inside, is_inside & is_sure, is_inside | ~is_sure)
    )
    if not density.nodes.size:
        return Mass(known, None, least_known, most_known, least_known, most_known)
    least_before, most_before = _bounds_below(density, start)
    least, most = _bounds_below(density, stop)
    values = (least + most - least_before - most_before) / 2
    if shift:
        least, most = (_bounds_below(density, stop + side * shift)[side > 0] for side in (-1, 1))
        least_before, most_before = (
            _bounds_below(density, start + side * shift)[side > 0] for side in (-1, 1)
        )
    low = float(np.maximum(least - most_before, 0.0).mean())
    high = float((most - least_before).mean())
    reach = _reach(density, low, high)
    return Mass(
        value=known + float(values.mean()),
        standard_error=float(values.std(ddof=1) / np.sqrt(len(values)))
        if len(values) > 1
        else None,
        low=least_known + low,
        high=most_known + high,
        at_least=least_known + max(low - reach, 0.0),
        at_most=most_known + min(high + reach, 1 - len(density.outliers) / density.num_parameters),
    )


def _reach(density: Density, low: float, high: float) -> float:
    """Return half the width of the 95 % interval of a mass, for the directions of the probes.

    The mass that a uniform direction of a space of dimension n has in an invariant subspace of
    share m has the mean m and the variance 2 m (1 - m) / (n + 2); the largest of those with a mean
    between `low` and `high` is taken, these themselves widened once.
    """
    dimension = density.num_parameters - len(density.outliers)
    share, scale = dimension / density.num_parameters, 2 / (dimension + 2) / len(density.nodes)

    def error(low: float, high: float) -> float:
        m = min(max(0.5, low), high)
        return float(np.sqrt(max(scale * m * (1 - m), 0.0)))  # rounding may put m above 1

    low, high = low / share, high / share
    first = half_width(error(max(low, 1 / dimension), max(high, 1 / dimension)))
    return share * half_width(error(max(low - first, 0.0), min(high + first, 1.0)))


def _bounds_below(density: Density, value: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the most mass of each probe below a value, (num_probes,) each."""
    dimension = density.num_parameters - len(density.outliers)
    bounds = []
    for nodes, weights in zip(density.nodes, density.weights, strict=True):
        is_node = np.isfinite(nodes)
        is_whole = not is_node.all() or len(nodes) == dimension
        bounds.append(_bounds(nodes[is_node], weights[is_node], value, is_whole=is_whole))
    least, most = np.array(bounds).T
    return least, most


def _bounds(
    nodes: np.ndarray, weights: np.ndarray, value: float, *, is_whole: bool
) -> tuple[float, float]:
    """Return the least and the most mass below a value of any spectrum with this quadrature.

    They are the sums of the weights before and up to the value in the quadrature that has a node
    there. The nodes of a Krylov space that was exhausted are the eigenvalues themselves.

    Source:
        Golub & Meurant (2010), Matrices, Moments and Quadrature, chapter 6 (a prescribed node);
        Szego (1939), Orthogonal Polynomials, 3.41 (the inequalities of Chebyshev, Markov and
        Stieltjes).
    """
    total = weights.sum()
    if is_whole or not np.isfinite(value):
        return weights[nodes < value].sum(), weights[nodes <= value].sum()
    is_used = weights > _TINY * total
    if np.count_nonzero(is_used) < 2:
        return 0.0, total
    diagonal, beside = _jacobi_matrix(nodes[is_used], weights[is_used] / total)
    shifted = np.diag(diagonal[:-1] - value) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    corner = np.zeros(len(shifted))
    corner[-1] = beside[-1] ** 2
    diagonal[-1] = value + np.linalg.lstsq(shifted, corner)[0][-1]
    moved, vectors = eigh_tridiagonal(diagonal, beside)
    moved_weights = total * vectors[0] ** 2
    place = int(np.abs(moved - value).argmin())
    return moved_weights[:place].sum(), moved_weights[: place + 1].sum()


def _jacobi_matrix(nodes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the diagonals (m,) and (m - 1,) of the tridiagonal matrix of a quadrature of mass 1.

    The first is the main diagonal, the second the one next to it. The reflections that make the
    diagonal matrix of the nodes, bordered by the roots of the weights, tridiagonal leave its first
    row where it is.

    Source:
        Gragg & Harrod (1984), The numerically stable reconstruction of Jacobi matrices from
        spectral data, Numer. Math. 44.
    """
    corner = np.sqrt(weights)
    bordered = np.block([[np.zeros((1, 1)), corner[None]], [corner[:, None], np.diag(nodes)]])
    tridiagonal = hessenberg(bordered)
    return np.diag(tridiagonal)[1:].copy(), np.abs(np.diag(tridiagonal, 1)[1:])


def _largest(density: Density) -> float:
    """Return the largest magnitude of an outlier or node."""
    return float(np.nanmax(np.abs(np.append(density.outliers, density.nodes)), initial=0.0))


def _curves(density: Density, x: np.ndarray, width: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the smoothed density of the outliers, (n,), and of each probe, (num_probes, n)."""
    width = kernel_width(density) if width is None else width
    masses = np.full(len(density.outliers), 1 / density.num_parameters)
    of_probes = [
        _sum_of_gaussians(x, nodes[weights > 0], weights[weights > 0], width)
        for nodes, weights in zip(density.nodes, density.weights, strict=True)
    ]
    return _sum_of_gaussians(x, density.outliers, masses, width), np.array(of_probes).reshape(
        len(of_probes), len(x)
    )


def _sum_of_gaussians(
    x: np.ndarray, centers: np.ndarray, masses: np.ndarray, width: float
) -> np.ndarray:
    heights = np.exp(-0.5 * ((x[:, None] - centers) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return heights @ masses
