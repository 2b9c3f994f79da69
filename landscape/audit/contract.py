"""How an optimizer class is built and called: its signature suggests ways, and trials decide."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch.optim import SGD, Optimizer

from landscape.audit.trainee import (
    CLOSURE,
    SECOND_CLOSURE,
    TWO_STEPS,
    Calling,
    Case,
    Quadratic,
    Raised,
    Trainee,
    attempt,
)
from landscape.errors import InputError

BASE_CLASS, BASE_BESIDE, BASE_FIRST, NO_BASE = "base class", "base beside", "base first", "no base"
"""Where the base optimizer goes."""

_WRITTEN = {
    BASE_CLASS: "(params, base class, rho=..., **base options)",
    BASE_BESIDE: "(params, base optimizer, rho=...)",
    BASE_FIRST: "(base optimizer, rho=...)",
    NO_BASE: "(params, rho=..., **options)",
}
_MODEL_NAMES = ("model", "module")
_OPTIONS_OF_SAM = ("rho", "p", "adaptive", "eta")
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
        kind: The class, or a function that returns an optimizer.
        form: Where the base optimizer goes.
        base_name: Name of the argument that it goes in; empty if there is none.
        names: Names of the arguments.
        calling: How its optimizers do a step.
    """

    kind: Callable[..., Any]
    form: str
    base_name: str
    names: tuple[str, ...]
    calling: Calling = field(default_factory=Calling)

    def __str__(self) -> str:
        return f"{name_of(self.kind)}{_WRITTEN[self.form]}"

    @property
    def has_base(self) -> bool:
        """Whether it goes around any optimizer."""
        return self.form != NO_BASE

    def takes(self, name: str) -> bool:
        """Return whether there is an argument of this name."""
        return name in self.names

    def build(
        self,
        model: Case,
        groups: Sequence[Mapping[str, Any]] | None = None,
        *,
        base: type[Optimizer] = SGD,
        **options: Any,
    ) -> Trainee:
        """Build an optimizer for a model.

        Args:
            model: What shall be trained.
            groups: Parameter groups; None for one of all parameters.
            base: Class of the base optimizer.
            **options: SAM's own, and the base's.
        """
        own: dict[str, Any] = {
            name: options.pop(name) for name in _OPTIONS_OF_SAM if name in options
        }
        own |= {name: model for name in _MODEL_NAMES if name in self.names}
        if self.form in (BASE_CLASS, NO_BASE):
            given = {self.base_name: base} if self.form == BASE_CLASS else {}
            optimizer = self.kind(_params(model, groups), **given, **own, **options)
            return Trainee(self.calling, model, optimizer)
        instance = base(_params(model, groups), **options)
        leading = () if self.form == BASE_FIRST else (_params(model, groups),)
        optimizer = self.kind(*leading, **{self.base_name: instance}, **own)
        return Trainee(self.calling, model, optimizer, instance)


def _ways_to_build(kind: Callable[..., Any]) -> list[Contract]:
    """Return the ways in which a class may want to be built; none if it takes no rho."""
    names, takes_more = _argument_names(kind)
    if not ("rho" in names or takes_more):
        return []
    bases = [
        name
        for name in names
        if ("base" in name or "optim" in name) and not name.endswith(("args", "options"))
    ]
    if not bases:
        return [Contract(kind, NO_BASE, "", names)]
    forms = [BASE_FIRST] if bases[0] == names[0] else [BASE_CLASS, BASE_BESIDE]
    return [Contract(kind, form, bases[0], names) for form in forms]


def name_of(kind: Callable[..., Any]) -> str:
    """Return the name of a class or function, or of the class of another callable."""
    return getattr(kind, "__name__", type(kind).__name__)


def _params(model: Case, groups: Sequence[Mapping[str, Any]] | None) -> list[Any]:
    """Return fresh parameter groups: optimizers write into theirs."""
    return [dict(group) for group in groups] if groups else list(model.parameters())


def _argument_names(kind: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """Return the names of the arguments, and whether there may be others.

    Arguments that are handed on to parent classes are included.
    """
    names: dict[str, None] = {}
    takes_more = True
    for parameters in _signatures(kind):
        names |= dict.fromkeys(
            p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        )
        takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if not takes_more:
            break
    return tuple(names), takes_more


def _signatures(kind: Callable[..., Any]) -> Iterator[list[inspect.Parameter]]:
    if not isinstance(kind, type):
        yield list(inspect.signature(kind).parameters.values())
        return
    for owner in kind.__mro__:
        if "__init__" in vars(owner) and owner not in (Optimizer, object):
            yield list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:]


def find_contract(kind: Callable[..., Any]) -> Contract:
    """Find out how a class is built and called.

    Args:
        kind: The class, or a function that returns an optimizer.

    Raises:
        InputError: If it takes no rho, or can be built and called in none of the known ways.
    """
    ways = attempt(lambda: _ways_to_build(kind))
    if not ways or isinstance(ways, Raised):
        raise InputError(
            f"a sharpness-aware optimizer must take rho, {name_of(kind)} does not.", hint=_FACTORY
        )
    refusals: list[str] = []
    for way in ways:
        built = attempt(partial(way.build, Quadratic(), lr=0.1, rho=0.05))
        if isinstance(built, Raised):
            refusals.append(f"{way} raised {built.summary}")
            continue
        for calling in _callings(kind, built.optimizer):
            contract = replace(way, calling=calling)
            trace = attempt(contract.build(Quadratic(), lr=0.1, rho=0.05).trace)
            if isinstance(trace, Raised):
                refusals.append(f"{calling} raised {trace.summary}")
            elif len(trace) > 1:
                return contract
            else:
                refusals.append(f"{calling} did one pass only")
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
    for way in (CLOSURE, SECOND_CLOSURE, TWO_STEPS):
        if two_steps if way == TWO_STEPS else arguments:
            yield Calling(way, bool(arguments), "scaler" in arguments, two_steps, _switches(kind))


def _switches(kind: Callable[..., Any]) -> Any:
    """Return the BatchNorm statistics functions in a class's own module or package."""
    for name in (kind.__module__, kind.__module__.partition(".")[0]):
        found = tuple(getattr(sys.modules.get(name), switch, None) for switch in _SWITCHES)
        if all(found):
            return found
    return None
