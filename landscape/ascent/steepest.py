"""The steepest step inside a p-ball: the map from a gradient to the worst small perturbation.

Gradients and perturbations are sequences of tensors that together form one vector. The ball may be
scaled elementwise: {e : ||T^-1 e||_p <= rho} with T = diag(scaling), which for T = |w| + eta is the
adaptive ball of ASAM. SAM trains with the same map that sharpness is measured with.

Source:
    Foret et al. (2021), "Sharpness-aware minimization", Eq. 2; Kwon et al. (2021), "ASAM".
"""

# pyright: reportPrivateImportUsage=false
# torch exports its foreach kernels, which its own optimizers are made of, under private names.

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors

from landscape.errors import require, require_at_least_zero, require_one_of
from landscape.reductions import accumulation_dtype

RADII = ("path", "sphere", "ball")
"""What becomes of the radius in an ascent of several steps; see `advance`."""

# Entries that are summed in the tensors' own dtype before float64 takes over.
_PIECE = 1024

# Tensors of at most so many elements are joined before they are summed: many small calls cost more
# than a copy.
_SHORT = 32 * _PIECE

# Where a Euclidean norm is in this range, the squares of all entries that count are in float32's.
_SQUARABLE = (1e-15, 1e15)


@torch.no_grad()
def ascend(
    gradients: Sequence[Tensor],
    rho: float | Tensor,
    *,
    p: float = 2.0,
    scaling: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Return the e with ||T^-1 e||_p <= rho that maximises <g, e>.

    With 1/p + 1/q = 1 and a = T g this is e = rho T sign(a) |a|^(q-1) / ||sign(a) |a|^(q-1)||_p, so
    that <g, e> = rho ||T g||_q; p = 1 puts +-rho on the largest |a| (on the first of equal ones)
    and p = inf gives rho T sign(a). Entries are divided by the largest one first where that
    matters, so that nothing overflows, whatever p and the size of the gradient. No host
    synchronisation.

    Args:
        gradients: The vector g, as tensors on one device; finite.
        rho: Radius, a number or a 0-dim tensor.
        p: Norm of the ball, at least 1; may be infinite.
        scaling: Diagonal of T, nonnegative, shaped as `gradients`; None for the identity.

    Returns:
        Tensors shaped as `gradients`; zeros where the gradient is zero.

    Raises:
        InputError: If p < 1.
    """
    check_norm(p)
    if not gradients:
        return []
    direction, length = _steepest_direction(_multiply(gradients, scaling), p)
    return _multiply(_scale(direction, rho / length), scaling)


@torch.no_grad()
def advance(
    perturbation: Sequence[Tensor] | None,
    gradients: Sequence[Tensor],
    rho: float,
    *,
    steps: int,
    step: int,
    radius: str = "path",
    p: float = 2.0,
    scaling: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Return the perturbation after one more of several ascent steps.

    - `path`: steps of length rho/steps; the path has length rho, so ||T^-1 e||_p <= rho, with
      equality only where it is straight (S001 Eq. 5).
    - `sphere`: as `path`, and after the last step e is scaled to ||T^-1 e||_p = rho.
    - `ball`: steps of length rho; where e has left the ball it is scaled back to its surface.

    Args:
        perturbation: e before the step, shaped as `gradients`; None for the first one.
        gradients: Gradient at w + e; finite.
        rho: Radius.
        steps: Number of steps in all, at least 1.
        step: Number of this one, from 0.
        radius: `path`, `sphere` or `ball`.
        p: Norm of the ball, at least 1; may be infinite.
        scaling: Diagonal of T, the same in all steps; None for the identity.

    Returns:
        Tensors shaped as `gradients`.

    Raises:
        InputError: If an option is out of range.
    """
    require_one_of("radius", radius, RADII)
    require(steps >= 1, f"steps must be at least 1, got {steps}.")
    e = ascend(gradients, rho if radius == "ball" else rho / steps, p=p, scaling=scaling)
    if perturbation is not None:
        e = list(torch._foreach_add(list(perturbation), e))
    if steps == 1 or radius == "path" or (radius == "sphere" and step != steps - 1):
        return e
    factor = abs(rho) / _nonzero(ball_norm(e, p=p, scaling=scaling))
    return _scale(e, factor if radius == "sphere" else factor.clamp(max=1.0))


@torch.no_grad()
def draw_on_sphere(
    tensors: Sequence[Tensor],
    rho: float,
    *,
    generator: torch.Generator,
    p: float = 2.0,
    scaling: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Return a random e with ||T^-1 e||_p = rho, as T z of Gaussian z, scaled.

    For p = 2 without T, e is uniform on the sphere.

    Args:
        tensors: What e is shaped as; on the generator's device or moved there.
        rho: Radius.
        generator: Where z comes from.
        p: Norm of the ball, at least 1; may be infinite.
        scaling: Diagonal of T; None for the identity.

    Returns:
        Tensors shaped as `tensors`.

    Source:
        S001, section 4.2 (Rand-SAM).
    """
    noise = [
        torch.randn(t.shape, generator=generator, device=generator.device, dtype=t.dtype).to(
            t.device
        )
        for t in tensors
    ]
    return _multiply(_scale(noise, rho / _nonzero(_safe_norm(noise, p))), scaling)


@torch.no_grad()
def dual_norm(
    gradients: Sequence[Tensor], *, p: float = 2.0, scaling: Sequence[Tensor] | None = None
) -> Tensor:
    """Return ||T g||_q, 1/p + 1/q = 1: how much <g, e> gains per unit of radius.

    Args:
        gradients: The vector g.
        p: Norm of the ball, at least 1; may be infinite.
        scaling: Diagonal of T; None for the identity.

    Returns:
        0-dim, float64 (float32 on MPS), not synchronised; infinite or NaN if the gradient is.

    Raises:
        InputError: If p < 1.
    """
    check_norm(p)
    conjugate = {1: math.inf, math.inf: 1.0}.get(p) or p / (p - 1)
    return _safe_norm(_multiply(gradients, scaling), conjugate)


@torch.no_grad()
def ball_norm(
    perturbation: Sequence[Tensor], *, p: float = 2.0, scaling: Sequence[Tensor] | None = None
) -> Tensor:
    """Return ||T^-1 e||_p: the smallest radius of a ball that holds the perturbation e.

    Args:
        perturbation: The vector e.
        p: Norm of the ball, at least 1; may be infinite.
        scaling: Diagonal of T; where it is 0, e must be 0, or the result is infinite.

    Returns:
        0-dim, float64 (float32 on MPS), not synchronised.

    Raises:
        InputError: If p < 1.
    """
    check_norm(p)
    if scaling is None:
        return _safe_norm(perturbation, p)
    pairs = zip(perturbation, scaling, strict=True)
    return _safe_norm([torch.where(e == 0, 0.0, e / t) for e, t in pairs], p)


@torch.no_grad()
def adaptive_scaling(weights: Sequence[Tensor], eta: float = 0.01) -> list[Tensor]:
    """Return the diagonal |w| + eta of ASAM's T, as tensors shaped as `weights`.

    Raises:
        InputError: If eta is negative or not finite.

    Source:
        Kwon et al. (2021), "ASAM".
    """
    require_at_least_zero("eta", eta)
    return list(torch._foreach_add(torch._foreach_abs(list(weights)), eta)) if weights else []


def check_norm(p: float) -> None:
    """Raise an InputError unless the p-ball is convex: 1 <= p <= inf."""
    require(
        p >= 1,
        f"p must be at least 1, got {p}.",
        hint="Use p = 2 for the Euclidean ball, or inf for the box.",
    )


def _steepest_direction(scaled: list[Tensor], p: float) -> tuple[list[Tensor], Tensor]:
    """sign(a) |a|^(q-1) of a = T g up to a positive factor, and its p-norm, 1 where it is 0."""
    if p == 2 and _are_plain(scaled):
        length = _norm(scaled, 2)
        if _SQUARABLE[0] < float(length) < _SQUARABLE[1]:
            return scaled, length
    direction = _steepest(_bounded(scaled)[0], p)
    return direction, _nonzero(_norm(direction, p))


def _are_plain(tensors: Sequence[Tensor]) -> bool:
    """Return whether to try first without dividing by the largest entry.

    This holds where squares have enough precision and reading the norm needs no wait.
    """
    return tensors[0].device.type == "cpu" and {t.dtype for t in tensors} <= {
        torch.float32,
        torch.float64,
    }


def _steepest(units: list[Tensor], p: float) -> list[Tensor]:
    """sign(a) |a|^(q-1) of bounded entries."""
    if p == 2:
        return units
    if p == 1:  # the first entry of largest magnitude alone
        owner = _largest_of_each(units).argmax()
        return [_keep_largest(unit, owner == number) for number, unit in enumerate(units)]
    signs = torch._foreach_sign(units)
    if math.isinf(p):
        return list(signs)
    return list(
        torch._foreach_mul(signs, torch._foreach_pow(torch._foreach_abs(units), 1 / (p - 1)))
    )


def _keep_largest(unit: Tensor, is_owner: Tensor) -> Tensor:
    """The sign of the first entry of largest magnitude, zeros elsewhere; or zeros alone."""
    if not unit.numel():
        return unit
    flat = unit.reshape(-1)
    index = flat.abs().argmax().reshape(1)
    sign = torch.where(is_owner, flat.gather(0, index).sign(), 0.0)
    return torch.zeros_like(flat).scatter(0, index, sign).view(unit.shape)


def _safe_norm(tensors: Sequence[Tensor], order: float) -> Tensor:
    """The joint norm, free of overflow and underflow inside; 0 for no tensors."""
    if not tensors:
        return torch.zeros((), dtype=torch.float64)
    if math.isinf(order):
        return _largest(tensors)
    if order == 2 and _are_plain(tensors):
        norm = _norm(tensors, 2)
        if _SQUARABLE[0] < float(norm) < _SQUARABLE[1]:
            return norm
    units, divisor = _bounded(tensors)
    return torch.where(divisor.isinf(), divisor, divisor * _norm(units, order))


def _norm(units: Sequence[Tensor], order: float) -> Tensor:
    """The joint norm of bounded entries, accumulated in float64."""
    if math.isinf(order):
        return _largest(units)
    if units[0].device.type != "cpu":
        norms = torch._foreach_norm(list(units), order, dtype=accumulation_dtype(units[0].device))
        return torch.linalg.vector_norm(torch.stack(list(norms)), order)
    if sum(unit.numel() for unit in units) <= _SHORT:
        return torch.linalg.vector_norm(_flatten_dense_tensors(units), order, dtype=torch.float64)
    short = [unit for unit in units if unit.numel() <= _SHORT]
    long = [unit for unit in units if unit.numel() > _SHORT]
    joined = [_flatten_dense_tensors(short), *long] if short else long
    parts = [_partial_norms(unit, order).to(torch.float64) for unit in joined]
    return torch.linalg.vector_norm(torch.cat(parts), order)


def _partial_norms(unit: Tensor, order: float) -> Tensor:
    """Norms of pieces of a tensor, (pieces,): of a long one in float32, which short pieces bear.

    Summing millions of squares in float32 loses four digits, and on the CPU torch converts to
    float64 more slowly than it sums; where there is little to convert, one call is quicker.
    """
    flat = unit.reshape(-1)
    if flat.numel() <= _SHORT:
        return torch.linalg.vector_norm(flat, order, dtype=torch.float64).reshape(1)
    dtype = torch.promote_types(unit.dtype, torch.float32)
    cut = flat.numel() // _PIECE * _PIECE
    norms = torch.linalg.vector_norm(flat[:cut].view(-1, _PIECE), order, dim=1, dtype=dtype)
    return torch.cat([norms, torch.linalg.vector_norm(flat[cut:], order, dtype=dtype).reshape(1)])


def _bounded(tensors: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return the tensors divided by their largest magnitude, and that divisor (0-dim).

    The entries of the result may safely be raised to powers.

    The divisor of zeros is 1.
    """
    divisor = _nonzero(_largest(tensors))
    return list(torch._foreach_div(list(tensors), _as_factor(divisor, tensors))), divisor


def _largest(tensors: Sequence[Tensor]) -> Tensor:
    return _largest_of_each(tensors).amax()


def _largest_of_each(tensors: Sequence[Tensor]) -> Tensor:
    """Largest magnitude of each tensor, (number of tensors,); 0 for a tensor without elements."""
    full = [t if t.numel() else t.new_zeros(1) for t in tensors]
    if tensors[0].device.type == "cpu":  # on the CPU the infinity norm is twenty times slower
        low, high = zip(*(torch.aminmax(t) for t in full), strict=True)
        largest = torch.maximum(torch.stack(high), -torch.stack(low))
    else:
        largest = torch.stack(list(torch._foreach_norm(full, math.inf)))
    return largest.to(accumulation_dtype(tensors[0].device))


def _nonzero(value: Tensor) -> Tensor:
    """The value, or 1 in place of 0, without asking the device which."""
    return torch.where(value == 0, torch.ones_like(value), value)


def _multiply(tensors: Sequence[Tensor], scaling: Sequence[Tensor] | None) -> list[Tensor]:
    return (
        list(tensors) if scaling is None else list(torch._foreach_mul(list(tensors), list(scaling)))
    )


def _scale(tensors: Sequence[Tensor], factor: Tensor) -> list[Tensor]:
    return list(torch._foreach_mul(list(tensors), _as_factor(factor, tensors)))


def _as_factor(value: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """Return a 0-dim factor in the tensors' dtype if they share one, as fused kernels need it."""
    dtypes = {tensor.dtype for tensor in tensors}
    return value.to(dtypes.pop()) if len(dtypes) == 1 else value
