"""All traps, on one optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from landscape.audit.audit_report import FAILED, AuditReport, Row, TrapResult
from landscape.audit.contract import Contract, find_contract
from landscape.audit.foreign import Raised, attempt
from landscape.audit.traps import TRAPS, Trap
from landscape.runtime.random_state import forked_random_state


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
