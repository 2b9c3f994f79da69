"""How an optimizer class is built and called: its signature suggests ways, and trials decide."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from landscape.audit.cases import Case, Quadratic
from landscape.audit.construction import NO_BASE, Construction, find_constructions, name_of
from landscape.audit.foreign import Raised, attempt
from landscape.audit.trainee import CLOSURE, SECOND_CLOSURE, TWO_STEPS, Calling, Trainee
from landscape.errors import InputError

_TWO_STEPS = (("first_step", "second_step"), ("ascent_step", "descent_step"))
# As davda54/sam and pytorch_optimizer call them.
_SWITCHES = ("enable_running_stats", "disable_running_stats")
_FACTORY = (
    "A function(params, base, rho, **base_options) of your own that builds it can be audited too."
)


@dataclass(frozen=True)
class Contract:
    """How a class is built and called.

    Attributes:
        construction: How it is built.
        calling: How its optimizers do a step.
    """

    construction: Construction
    calling: Calling

    @property
    def has_base(self) -> bool:
        """Whether it goes around any optimizer."""
        return self.construction.form != NO_BASE

    def takes(self, name: str) -> bool:
        """Return whether there is an argument of this name."""
        return name in self.construction.names

    def build(self, model: Case, *args: Any, **options: Any) -> Trainee:
        """Build an optimizer for a model; arguments as for `Construction.make`."""
        return Trainee(self.calling, model, *self.construction.make(model, *args, **options))


def find_contract(kind: Callable[..., Any]) -> Contract:
    """Find out how a class is built and called.

    Args:
        kind: The class, or a function that returns an optimizer.

    Raises:
        InputError: If it takes no rho, or can be built and called in none of the known ways.
    """
    constructions = attempt(lambda: find_constructions(kind))
    if not constructions or isinstance(constructions, Raised):
        raise InputError(
            f"a sharpness-aware optimizer must take rho, {name_of(kind)} does not.", hint=_FACTORY
        )
    refusals: list[str] = []
    for construction in constructions:
        made = attempt(
            lambda construction=construction: construction.make(Quadratic(), lr=0.1, rho=0.05)
        )
        if isinstance(made, Raised):
            refusals.append(f"{construction} raised {made.summary}")
            continue
        for calling in _callings(kind, made[0]):
            contract = Contract(construction, calling)
            refusal = _refusal(contract)
            if not refusal:
                return contract
            refusals.append(f"{calling} {refusal}")
    raise InputError(
        f"{name_of(kind)} must train in one of the known ways: "
        f"{'; '.join(dict.fromkeys(refusals))}.",
        hint=_FACTORY,
    )


def _callings(kind: Callable[..., Any], optimizer: Any) -> Iterator[Calling]:
    """Yield the ways in which a step may be done, the one that asks least of the caller first."""
    step = getattr(optimizer, "step", None)
    arguments = inspect.signature(step).parameters if callable(step) else {}
    two_steps = next(
        (names for names in _TWO_STEPS if all(hasattr(optimizer, name) for name in names)), None
    )
    ways = [*([CLOSURE, SECOND_CLOSURE] if arguments else []), *([TWO_STEPS] if two_steps else [])]
    for way in ways:
        yield Calling(way, bool(arguments), "scaler" in arguments, two_steps, _switches(kind))


def _switches(kind: Callable[..., Any]) -> Any:
    """Return the BatchNorm statistics functions in a class's own module or package."""
    for name in (kind.__module__, kind.__module__.partition(".")[0]):
        found = tuple(getattr(sys.modules.get(name), switch, None) for switch in _SWITCHES)
        if all(found):
            return found
    return None


def _refusal(contract: Contract) -> str:
    """Do a step; return what is wrong with this way of doing it, nothing if it works."""
    trainee = contract.build(Quadratic(), lr=0.1, rho=0.05)
    trace = attempt(trainee.trace)
    if isinstance(trace, Raised):
        return f"raised {trace.summary}"
    return "" if len(trace) > 1 else "did one pass only"
