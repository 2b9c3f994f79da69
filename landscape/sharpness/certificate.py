"""Certificates of sharpness: perturbations that prove to anyone how large the loss gets in a ball.

Any e in the ball proves that L^Max is at least L(w + e). To check it takes one evaluation, not the
search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.ascent.ball import Ball
from landscape.errors import NotFiniteError, require
from landscape.problem.problem import Problem
from landscape.results.provenance import make_provenance
from landscape.results.sharpness import Certificate
from landscape.sharpness.rises import Objective

LOSS_TOLERANCE = 1e-9
"""Of a loss that is evaluated again, relative: float64 sums in another order differ by some
1e-13."""

_INSIDE = 1e-12
"""How far below the surface a certified e is: no other order of summation finds it outside."""

_ROUNDING = 1e-5
"""How far outside the ball an e may be and still count as one of this ball: it may have been
float32."""


@dataclass(frozen=True)
class Check:
    """One perturbation of a certificate, evaluated again.

    Attributes:
        rho: Radius.
        norm: ||T^-1 e||_p as found.
        claimed: Loss at w + e as claimed.
        found: Loss there as found.
        failure: Why it does not hold, a sentence; empty if it holds.
    """

    rho: float
    norm: float
    claimed: float
    found: float
    failure: str


@dataclass(frozen=True)
class Verdict:
    """What became of a certificate.

    Attributes:
        claimed: Loss at the weights as claimed.
        found: Loss there as found; NaN if it was not looked at.
        checks: One a perturbation; empty if the certificate is of something else.
        failure: Why the certificate does not hold, a sentence; empty if it holds.
        hint: What may be done about it.
    """

    claimed: float
    found: float = math.nan
    checks: tuple[Check, ...] = ()
    failure: str = ""
    hint: str = ""

    @property
    def holds(self) -> bool:
        """Whether all that is claimed is true."""
        return not self.failure


def certify(
    problem: Problem,
    found: Sequence[tuple[float, Tensor]],
    *,
    p: float = 2.0,
    adaptive: bool = False,
    eta: float = 0.01,
    measure: str = "max",
    split: str = "train",
    settings: Mapping[str, Any] | None = None,
) -> Certificate:
    """Certify perturbations of a problem's weights by their float64 losses on the whole split.

    Inside `landscape.runtime.distributed.joined` the batches are shared by all processes.

    Args:
        problem: In float64 and on all data, made as whoever checks it will make it: from the
            checkpoint and not by `in_dtype`, which keeps the hash of the data in another dtype.
        found: Radius and e (P,) of each; one that rounding has put outside is scaled into the ball.
        p: Norm of the ball, at least 1; may be infinite.
        adaptive: Whether the ball is scaled by |w| + eta.
        eta: Of that.
        measure: Name of the measure whose perturbations these are.
        split: Name of the data split.
        settings: What the user asked for, to be recorded.

    Raises:
        InputError: If the problem is of another dtype or on a part of the data, or an e is not of
            this ball.
        NotFiniteError: If a loss is not finite.
    """
    _require_exact(problem)
    require(
        found,
        "a certificate needs at least one perturbation.",
        hint="Measure max, at one radius or more.",
    )
    ball = Ball.around(problem.weights, p=p, adaptive=adaptive, eta=eta)
    perturbations = [_inside(problem, ball, e, rho) for rho, e in found]
    loss, *losses = _losses(problem, perturbations)
    if not np.isfinite([loss, *losses]).all():
        raise NotFiniteError(
            "a certificate needs finite losses, and one is NaN or inf.",
            hint="Measure at a smaller `rho`.",
        )
    return Certificate(
        perturbations=torch.stack(perturbations).cpu().numpy(),
        rho=np.array([rho for rho, _ in found], dtype=np.float64),
        losses=np.array(losses),
        loss=loss,
        p=float(p),
        adaptive=adaptive,
        eta=float(eta),
        measure=measure,
        split=split,
        provenance=make_provenance({split: problem}, dict(settings or {})),
    )


def check(certificate: Certificate, problem: Problem) -> Verdict:
    """Check a certificate: each e is in its ball, and the losses are what is claimed.

    A radius or a norm that was changed so that the ball still holds e makes a weaker claim, which
    is true.

    Args:
        certificate: Trusted in nothing.
        problem: In float64 and on all data of the split.

    Raises:
        InputError: If the problem is of another dtype or on a part of the data.
    """
    _require_exact(problem)
    failure, hint = _difference(certificate, problem)
    if failure:
        return Verdict(certificate.loss, failure=failure, hint=hint)
    ball = Ball.around(
        problem.weights, p=certificate.p, adaptive=certificate.adaptive, eta=certificate.eta
    )
    perturbations = [torch.from_numpy(e).to(problem.weights) for e in certificate.perturbations]
    found, *losses = _losses(problem, perturbations)
    norms, claimed = map(ball.norm, perturbations), certificate.losses.tolist()
    checks = tuple(map(_checked, certificate.rho.tolist(), norms, claimed, losses))
    differs = _differ("at the weights", certificate.loss, found)
    of_loss = "" if _agree(certificate.loss, found) else differs
    failure = next(filter(None, [of_loss, *(each.failure for each in checks)]), "")
    return Verdict(certificate.loss, found, checks, failure, _OTHER_LOSS if failure else "")


def _losses(problem: Problem, perturbations: Sequence[Tensor]) -> list[float]:
    """Return the mean loss at the weights, and at each perturbation of them."""
    objective = Objective(problem)
    return [value.mean for value in objective.losses([None, *map(objective.at, perturbations)])]


def _require_exact(problem: Problem) -> None:
    require(
        problem.plan.dtype == "float64",
        f"certificates are in float64, the problem is in {problem.plan.dtype}.",
    )
    require(
        problem.sample is None or problem.sample.share >= 1,
        f"certificates are of all data, the problem has {problem.num_examples} examples out of "
        "more.",
        hint="Leave out `samples`.",
    )


def _inside(problem: Problem, ball: Ball, e: Tensor, rho: float) -> Tensor:
    """Return an e (P,) in float64, safely in the ball of radius `rho`."""
    problem.spec.require_vector(e, "e")
    e = e.to(problem.weights)
    length = ball.norm(e)
    require(
        length <= rho * (1 + _ROUNDING),
        f"a perturbation of norm {length:g} is not in the ball of radius {rho:g}.",
    )
    most = rho * (1 - _INSIDE)
    return e if length <= most else e * (most / length)


def _difference(certificate: Certificate, problem: Problem) -> tuple[str, str]:
    """Return a sentence and a hint about how the certificate differs from the problem.

    Both are empty if the certificate is of this problem.
    """
    origin, split = certificate.provenance, certificate.split
    number, size = (
        certificate.perturbations.shape if certificate.perturbations.ndim == 2 else (0, 0)
    )
    plan_size = origin.plan.get("batch_size")
    # Files of version 0.1.0 have the hash of the data after their cast to the dtype.
    hashes = (problem.data_hash, replace(problem.data, digest=None).hash)
    columns = (certificate.rho, certificate.losses)
    are_whole = number and all(
        values.shape == (number,) and values.dtype.kind == "f" for values in columns
    )
    rules = (
        (
            size == problem.spec.size,
            f"the certificate is of {size} parameters, the model has {problem.spec.size}.",
            "Name its checkpoint.",
        ),
        (
            are_whole,
            "the certificate has not one radius and one loss for each perturbation.",
            _CHANGED,
        ),
        (
            origin.batchnorm == problem.batchnorm,
            f"the certificate is with batch normalization {origin.batchnorm}, this is "
            f"{problem.batchnorm}.",
            f"Pass `batchnorm='{origin.batchnorm}'`.",
        ),
        (
            origin.weights_hash == problem.weights_hash,
            "the certificate is of other weights.",
            "Name the checkpoint that it was made from.",
        ),
        (
            origin.data_hash.get(split) in hashes,
            f"the certificate is of other data than this {split} split.",
            "Pass the same `data` and `data_arg`.",
        ),
        (
            origin.batchnorm == "stored" or plan_size == problem.plan.batch_size,
            f"the certificate is with statistics of batches of {plan_size}.",
            f"Pass `batch_size={plan_size}`.",
        ),
        (certificate.p >= 1, f"p must be at least 1, got {certificate.p}.", _CHANGED),
        (
            not certificate.adaptive or 0 <= certificate.eta < math.inf,
            f"eta must be a finite number of at least 0, got {certificate.eta:g}.",
            _CHANGED,
        ),
    )
    return next(((failure, hint) for is_kept, failure, hint in rules if not is_kept), ("", ""))


_CHANGED = "The file was changed after it was written."
_OTHER_LOSS = "It was changed, or is of another loss function: pass the `loss` it was made with."


def _checked(rho: float, norm: float, claimed: float, found: float) -> Check:
    rules = {
        f"rho must be a positive number, the certificate has {rho:g}.": 0 < rho < math.inf,
        f"the perturbation is outside its ball: its norm is {norm:.17g}, rho is {rho:.17g}.": (
            norm <= rho  # false of NaN
        ),
        _differ(f"at rho {rho:g}", claimed, found): _agree(claimed, found),
    }
    failure = next((failure for failure, is_kept in rules.items() if not is_kept), "")
    return Check(rho, norm, claimed, found, failure)


def _agree(claimed: float, found: float) -> bool:
    return math.isfinite(claimed) and math.isclose(claimed, found, rel_tol=LOSS_TOLERANCE)


def _differ(where: str, claimed: float, found: float) -> str:
    return (
        f"the loss {where} is not what is claimed: it is {found:.12g}, claimed is {claimed:.12g}."
    )
