"""The table of traps, and an optimizer tried on all of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from landscape.audit import closed_forms, optimizer_state, restoring, two_passes
from landscape.audit.audit_report import FAILED, AuditReport, Row, TrapResult
from landscape.audit.contract import Contract, find_contract
from landscape.audit.trainee import Raised, attempt
from landscape.runtime.random_state import forked_random_state


@dataclass(frozen=True)
class Trap:
    """Something that implementations get wrong.

    Attributes:
        name: Short and unique.
        claim: What should hold.
        check: Finds out.
    """

    name: str
    claim: str
    check: Callable[[Contract], TrapResult]


TRAPS = (
    Trap(
        "quadratic",
        "SAM on a quadratic follows the closed form.",
        closed_forms.follow_the_closed_form,
    ),
    Trap(
        "adam",
        "SAM around Adam follows the closed form.",
        closed_forms.follow_the_closed_form_around_adam,
    ),
    Trap(
        "adaptive",
        "The adaptive ascent is rho T^2 g / ||T g||, T = |w| + eta.",
        closed_forms.follow_the_adaptive_closed_form,
    ),
    Trap(
        "other norms",
        "The ascent in a p-ball has radius rho in that norm, and climbs steepest.",
        closed_forms.follow_the_closed_form_in_other_norms,
    ),
    Trap(
        "rho = 0",
        "Radius zero is the base optimizer, bit for bit, or is refused.",
        closed_forms.equal_the_base_at_radius_zero,
    ),
    Trap(
        "rho per group",
        "Groups of different radius have one ball, or a ball each.",
        closed_forms.mean_one_ball_or_a_ball_per_group,
    ),
    Trap(
        "exact return",
        "The way back is exact: at learning rate 0 no bit ever changes.",
        restoring.restore_exactly,
    ),
    Trap(
        "same storage",
        "After every step the weights are in their original memory.",
        restoring.keep_the_storage,
    ),
    Trap(
        "no gradient in pass 1",
        "A weight without gradient in the first pass stays where it is.",
        restoring.bear_no_gradient_in_the_first_pass,
    ),
    Trap(
        "no gradient in pass 2",
        "A weight without gradient in the second pass returns to its place.",
        restoring.bear_no_gradient_in_the_second_pass,
    ),
    Trap(
        "exception",
        "An exception or Ctrl-C in the second pass leaves the weights as they were, bit for bit.",
        restoring.survive_an_exception,
    ),
    Trap(
        "not finite",
        "A first gradient that is not finite skips the step, and training goes on.",
        restoring.skip_a_gradient_that_is_not_finite,
    ),
    Trap(
        "zero gradient",
        "A first gradient of zero makes a step of the base.",
        restoring.bear_a_zero_gradient,
    ),
    Trap(
        "batchnorm",
        "BatchNorm's running statistics move in the first pass only.",
        two_passes.move_batchnorm_statistics_once,
    ),
    Trap(
        "other buffers",
        "Buffers of any layer move in the first pass only, BatchNorm's counter included.",
        two_passes.move_other_buffers_once,
    ),
    Trap("dropout", "Both passes have the same dropout masks.", two_passes.drop_the_same_features),
    Trap(
        "closure alone",
        "step(closure) after zero_grad() does both passes or refuses; it does not train the base "
        "alone.",
        two_passes.train_sam_with_a_closure_alone,
    ),
    Trap("returned loss", "step(closure) returns the loss at w.", two_passes.return_the_loss),
    Trap(
        "resume",
        "Saved and loaded, training goes on bit for bit: the base's moments are there.",
        optimizer_state.resume_exactly,
    ),
    Trap(
        "stored once",
        "The state_dict holds no tensor twice and no copy of the weights.",
        optimizer_state.store_nothing_twice,
    ),
    Trap(
        "deepcopy",
        "A copy trains on as the original does.",
        optimizer_state.keep_the_base_in_a_copy,
    ),
    Trap(
        "pickle",
        "What comes out of a pickle trains on as the original does.",
        optimizer_state.keep_the_base_in_a_pickle,
    ),
    Trap(
        "schedule", "A learning rate schedule reaches the base.", optimizer_state.follow_a_schedule
    ),
    Trap(
        "schedule's warning",
        "A schedule does not warn of a step that was made.",
        optimizer_state.warn_of_no_missing_step,
    ),
    Trap(
        "new group",
        "A group that is added later trains as one that was there from the start.",
        optimizer_state.train_a_new_group,
    ),
    Trap(
        "scaled losses",
        "With a GradScaler, unscaled once a step, training is the same.",
        restoring.train_with_scaled_losses,
    ),
    Trap(
        "overflow",
        "An overflow in the first pass skips the step and lowers the scale.",
        restoring.skip_an_overflow,
    ),
)
"""Every trap, in the order of a report."""


def audit_optimizer(kind: Callable[..., Any], *, traps: Sequence[Trap] = TRAPS) -> AuditReport:
    """Try an implementation of SAM on the traps that implementations fall into.

    Every trap trains a tiny model for a few steps on the CPU, and calls the optimizer as its
    signature and its methods suggest (`landscape.audit.contract`): with step(closure) where that
    does both passes by itself, else with a backward pass before it, else with two steps. What the
    optimizer raises counts against it, except where raising is the right thing to do. Variants that
    change the gradient by design do not follow SAM's closed forms.

    Args:
        kind: The class; or a function(params, base, rho, **base_options) that builds the optimizer.
        traps: Which traps; all of them by default.

    Returns:
        The traps in order, each passed, failed or not applicable, with what was measured.

    Raises:
        InputError: If it takes no rho, or can be built and called in none of the known ways.
    """
    with forked_random_state(seed=0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        contract = find_contract(kind)
        rows = tuple(_row(trap, contract) for trap in traps)
    return AuditReport(built=str(contract.construction), called=str(contract.calling), rows=rows)


def _row(trap: Trap, contract: Contract) -> Row:
    with forked_random_state(seed=0):
        found = attempt(lambda: trap.check(contract))
    if isinstance(found, Raised):
        found = TrapResult(FAILED, f"raised {found.summary}")
    return Row(trap.name, trap.claim, found.result, found.measured)
