"""The table of traps, and the report of an optimizer tried on all of them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.optim import SGD, Adam

from landscape.audit import state_traps, step_traps
from landscape.audit.contract import Contract, find_contract
from landscape.audit.trainee import (
    FAILED,
    NOT_APPLICABLE,
    PASSED,
    TWO_STEPS,
    Raised,
    RunningCenter,
    TrapResult,
    attempt,
    not_applicable,
)
from landscape.runtime.random_state import forked_random_state


@dataclass(frozen=True)
class Row:
    """One line of a report.

    Attributes:
        trap: Name.
        claim: What should hold.
        result: As in `TrapResult`.
        measured: As in `TrapResult`.
    """

    trap: str
    claim: str
    result: str
    measured: str


@dataclass(frozen=True)
class AuditReport:
    """All traps, for one optimizer.

    Attributes:
        built: How it was built.
        called: How it was made to do a step.
        rows: One a trap.
    """

    built: str
    called: str
    rows: tuple[Row, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many traps came to each result."""
        return {
            result: sum(row.result == result for row in self.rows)
            for result in (PASSED, FAILED, NOT_APPLICABLE)
        }

    @property
    def failed(self) -> list[Row]:
        """The rows of the traps that failed."""
        return [row for row in self.rows if row.result == FAILED]

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        num_tried = sum(row.result != NOT_APPLICABLE for row in self.rows)
        if not self.failed:
            return f"it passed all {num_tried} traps that apply to it."
        names = ", ".join(row.trap for row in self.failed)
        return f"it failed {len(self.failed)} of {num_tried} traps: {names}."

    def as_dict(self) -> dict[str, Any]:
        """Return the report as what JSON knows."""
        return {
            "built": self.built,
            "called": self.called,
            **{result.replace(" ", "_"): number for result, number in self.counts.items()},
            "traps": [asdict(row) for row in self.rows],
        }


@dataclass(frozen=True)
class Trap:
    """Something that implementations get wrong.

    Attributes:
        name: Short and unique.
        claim: What should hold.
        check: Finds out.
        needs: What an optimizer must offer, a key of `NEEDS`; empty for nothing.
    """

    name: str
    claim: str
    check: Callable[[Contract], TrapResult]
    needs: str = ""


NEEDS: dict[str, tuple[Callable[[Contract], bool], str]] = {
    "": (lambda contract: True, ""),
    "base": (lambda contract: contract.has_base, "it goes around no other optimizer"),
    "adaptive": (lambda contract: contract.takes("adaptive"), "it takes no adaptive"),
    "p": (lambda contract: contract.takes("p"), "it takes no p"),
    "closure": (lambda contract: contract.calling.takes_closure, "it has no step(closure)"),
    "own closure": (lambda contract: contract.calling.way != TWO_STEPS, "it has no step(closure)"),
    "own passes": (
        lambda contract: contract.calling.way != TWO_STEPS,
        "the caller does the second pass, and has to restore the weights",
    ),
    "scaler": (
        lambda contract: bool(contract.calling.two_steps) or contract.calling.takes_scaler,
        "step takes no scaler, and there is no place between two steps to unscale once",
    ),
}
"""Name -> whether an optimizer offers it, and the reason why a trap does not apply if not."""


TRAPS = (
    Trap(
        "quadratic",
        "SAM on a quadratic follows the closed form.",
        partial(step_traps.follow_the_closed_form, base=SGD, options={"lr": 0.1, "momentum": 0.9}),
    ),
    Trap(
        "adam",
        "SAM around Adam follows the closed form.",
        partial(step_traps.follow_the_closed_form, base=Adam, options={"lr": 0.1}),
        needs="base",
    ),
    Trap(
        "adaptive",
        "The adaptive ascent is rho T^2 g / ||T g||, T = |w| + eta.",
        step_traps.follow_the_adaptive_closed_form,
        needs="adaptive",
    ),
    Trap(
        "other norms",
        "The ascent in a p-ball has radius rho in that norm, and climbs steepest.",
        step_traps.follow_the_closed_form_in_other_norms,
        needs="p",
    ),
    Trap(
        "rho = 0",
        "Radius zero is the base optimizer, bit for bit, or is refused.",
        step_traps.equal_the_base_at_radius_zero,
    ),
    Trap(
        "rho per group",
        "Groups of different radius have one ball, or a ball each.",
        step_traps.mean_one_ball_or_a_ball_per_group,
    ),
    Trap(
        "exact return",
        "The way back is exact: at learning rate 0 no bit ever changes.",
        state_traps.restore_exactly,
    ),
    Trap(
        "same storage",
        "After every step the weights are in their original memory.",
        state_traps.keep_the_storage,
    ),
    Trap(
        "no gradient in pass 1",
        "A weight without gradient in the first pass stays where it is.",
        partial(state_traps.return_with_a_branch_skipped, skipped=0),
    ),
    Trap(
        "no gradient in pass 2",
        "A weight without gradient in the second pass returns to its place.",
        partial(state_traps.return_with_a_branch_skipped, skipped=1),
    ),
    Trap(
        "exception",
        "An exception or Ctrl-C in the second pass leaves the weights as they were, bit for bit.",
        state_traps.survive_an_exception,
        needs="own passes",
    ),
    Trap(
        "not finite",
        "A first gradient that is not finite skips the step, and training goes on.",
        state_traps.skip_a_gradient_that_is_not_finite,
    ),
    Trap(
        "zero gradient",
        "A first gradient of zero makes a step of the base.",
        state_traps.bear_a_zero_gradient,
    ),
    Trap(
        "batchnorm",
        "BatchNorm's running statistics move in the first pass only.",
        partial(
            step_traps.move_once, layer=nn.BatchNorm1d(8), names=["running_mean", "running_var"]
        ),
    ),
    Trap(
        "other buffers",
        "Buffers of any layer move in the first pass only, BatchNorm's counter included.",
        partial(
            step_traps.move_once,
            layer=nn.Sequential(nn.BatchNorm1d(8), RunningCenter()),
            names=["num_batches_tracked", "1.mean", "num_passes"],
        ),
    ),
    Trap("dropout", "Both passes have the same dropout masks.", step_traps.drop_the_same_features),
    Trap(
        "closure alone",
        "step(closure) after zero_grad() does both passes or refuses; it does not train the base "
        "alone.",
        step_traps.train_sam_with_a_closure_alone,
        needs="closure",
    ),
    Trap(
        "returned loss",
        "step(closure) returns the loss at w.",
        step_traps.return_the_loss,
        needs="own closure",
    ),
    Trap(
        "resume",
        "Saved and loaded, training goes on bit for bit: the base's moments are there.",
        state_traps.resume_exactly,
    ),
    Trap(
        "stored once",
        "The state_dict holds no tensor twice and no copy of the weights.",
        state_traps.store_nothing_twice,
    ),
    Trap(
        "deepcopy",
        "A copy trains on as the original does.",
        partial(state_traps.keep_the_base_in_a_duplicate, duplicate=copy.deepcopy),
    ),
    Trap(
        "pickle",
        "What comes out of a pickle trains on as the original does.",
        partial(state_traps.keep_the_base_in_a_duplicate, duplicate=state_traps.through_a_pickle),
    ),
    Trap("schedule", "A learning rate schedule reaches the base.", state_traps.follow_a_schedule),
    Trap(
        "schedule's warning",
        "A schedule does not warn of a step that was made.",
        state_traps.warn_of_no_missing_step,
    ),
    Trap(
        "new group",
        "A group that is added later trains as one that was there from the start.",
        state_traps.train_a_new_group,
    ),
    Trap(
        "scaled losses",
        "With a GradScaler, unscaled once a step, training is the same.",
        state_traps.train_with_scaled_losses,
        needs="scaler",
    ),
    Trap(
        "overflow",
        "An overflow in the first pass skips the step and lowers the scale.",
        state_traps.skip_an_overflow,
        needs="scaler",
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
    return AuditReport(built=str(contract), called=str(contract.calling), rows=rows)


def _row(trap: Trap, contract: Contract) -> Row:
    is_offered, reason = NEEDS[trap.needs]
    with forked_random_state(seed=0):
        found = attempt(lambda: trap.check(contract)) if is_offered(contract) else None
    if isinstance(found, Raised):
        found = TrapResult(FAILED, f"raised {found.summary}")
    found = found or not_applicable(reason)
    return Row(trap.name, trap.claim, found.result, found.measured)
