"""The table of traps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from landscape.audit import closed_forms, passes, restoring, scaling
from landscape.audit import optimizer_state as state
from landscape.audit.audit_report import TrapResult
from landscape.audit.contract import Contract


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
        passes.move_batchnorm_statistics_once,
    ),
    Trap(
        "other buffers",
        "Buffers of any layer move in the first pass only, BatchNorm's counter included.",
        passes.move_other_buffers_once,
    ),
    Trap("dropout", "Both passes have the same dropout masks.", passes.drop_the_same_features),
    Trap(
        "closure alone",
        "step(closure) after zero_grad() does both passes or refuses; it does not train the base "
        "alone.",
        passes.train_sam_with_a_closure_alone,
    ),
    Trap("returned loss", "step(closure) returns the loss at w.", passes.return_the_loss),
    Trap(
        "resume",
        "Saved and loaded, training goes on bit for bit: the base's moments are there.",
        state.resume_exactly,
    ),
    Trap(
        "stored once",
        "The state_dict holds no tensor twice and no copy of the weights.",
        state.store_nothing_twice,
    ),
    Trap("deepcopy", "A copy trains on as the original does.", state.keep_the_base_in_a_copy),
    Trap(
        "pickle",
        "What comes out of a pickle trains on as the original does.",
        state.keep_the_base_in_a_pickle,
    ),
    Trap("schedule", "A learning rate schedule reaches the base.", state.follow_a_schedule),
    Trap(
        "schedule's warning",
        "A schedule does not warn of a step that was made.",
        state.warn_of_no_missing_step,
    ),
    Trap(
        "new group",
        "A group that is added later trains as one that was there from the start.",
        state.train_a_new_group,
    ),
    Trap(
        "scaled losses",
        "With a GradScaler, unscaled once a step, training is the same.",
        scaling.train_with_scaled_losses,
    ),
    Trap(
        "overflow",
        "An overflow in the first pass skips the step and lowers the scale.",
        scaling.skip_an_overflow,
    ),
)
"""Every trap, in the order of a report."""
