"""Conditions as a user writes them, read by `ast` and never run, and whether they hold."""

from __future__ import annotations

import ast
import difflib
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from landscape.conditions.quantities import ALIASES, PLAIN, Known, Quantity
from landscape.errors import InputError
from landscape.results.interval import Interval
from landscape.results.sharpness_measures import MEASURES

Operand = Callable[[Mapping[Quantity, Interval]], Interval]
"""One side of a comparison, as a function of the quantities that it names."""

_LONGEST = 200  # characters: nesting beyond what Python's stack holds does not fit
_EXAMPLE = (
    "Write a condition such as 'lambda_max < 50', '0 < asc@0.05 < 0.02' or 'abs(trace) / 100 <= 3'."
)

_EVERY_NAME = (
    f"the known ones are {', '.join((*PLAIN, *ALIASES, *(f'{name}@RHO' for name in MEASURES)))}"
)

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
JUDGEMENTS = (HOLDS, FAILS, UNDECIDED)

_COMPARISONS: dict[type, str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_ARITHMETIC: dict[type, Callable[[Interval, Interval], Interval]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Condition:
    """A comparison, or several in a chain.

    Attributes:
        text: As it was written, white space apart.
        operands: What is compared, one more than there are comparisons.
        comparisons: `<`, `<=`, `>` or `>=`.
        quantities: What it names, in order, each once.
    """

    text: str
    operands: tuple[Operand, ...]
    comparisons: tuple[str, ...]
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True)
class Judgement:
    """What a condition came to.

    Attributes:
        condition: Its text.
        verdict: `holds` or `fails` whatever the values between their ends are, or `undecided`.
        operands: What was compared.
        quantities: What is known of the quantities that it names.
    """

    condition: str
    verdict: str
    operands: tuple[Interval, ...]
    quantities: Mapping[Quantity, Known]

    def passes(self, *, lenient: bool = False) -> bool:
        """Whether it holds; undecided passes where that is lenient."""
        return self.verdict == HOLDS or (lenient and self.verdict == UNDECIDED)


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Comparisons, numbers, + - * /, parentheses, abs() and names; `name@radius` is a measure of
    sharpness.

    Raises:
        InputError: If it is something else, showing where.
    """
    text = " ".join(text.split())
    if len(text) > _LONGEST:
        raise InputError(
            f"a condition must have at most {_LONGEST} characters, got {len(text)}.", hint=_EXAMPLE
        )
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as exc:
        reason = "it is empty" if not text else exc.msg
        place = exc.offset - 1 if exc.offset else len(text)  # Python gives no place at the end
        raise _pointing(text, place, f"the condition cannot be read: {reason}.") from exc
    return _Reader(text).condition(tree)


def judge(condition: Condition, known: Mapping[Quantity, Known]) -> Judgement:
    """Compare what a condition names.

    A chain holds if every comparison does, and fails if one fails. A comparison with NaN fails.

    Args:
        condition: What is to hold.
        known: All that it names.
    """
    intervals = {quantity: known[quantity].interval for quantity in condition.quantities}
    operands = tuple(operand(intervals) for operand in condition.operands)
    verdicts = set(map(_compare, operands, condition.comparisons, operands[1:]))
    verdict = next(each for each in (FAILS, UNDECIDED, HOLDS) if each in verdicts)
    return Judgement(
        condition.text, verdict, operands, {each: known[each] for each in condition.quantities}
    )


def _compare(left: Interval, comparison: str, right: Interval) -> str:
    if math.isnan(left.value) or math.isnan(right.value):
        return FAILS
    small, large = (left, right) if comparison[0] == "<" else (right, left)
    may_be_equal = comparison.endswith("=")
    if small.high < large.low or (may_be_equal and small.high == large.low):
        return HOLDS
    if small.low > large.high or (not may_be_equal and small.low == large.high):
        return FAILS
    return UNDECIDED


@dataclass
class _Reader:
    """Turns the tree of one condition into functions, and collects the names.

    Attributes:
        text: The condition.
        quantities: Keys are what it names, in order.
    """

    text: str
    quantities: dict[Quantity, None] = field(default_factory=dict)

    def condition(self, tree: ast.expr) -> Condition:
        if not isinstance(tree, ast.Compare):
            self._refuse(
                tree,
                "a condition must be a comparison by <, <=, > or >=, each in an argument of its "
                "own",
            )
        comparisons = [_COMPARISONS.get(type(each), "") for each in tree.ops]
        if not all(comparisons):
            side = tree.comparators[comparisons.index("")]
            self._refuse(
                side,
                "a condition must compare by <, <=, > or >=, estimates are never equal to anything",
            )
        operands = tuple(map(self._operand, (tree.left, *tree.comparators)))
        if not self.quantities:
            self._refuse(tree, f"a condition must name a quantity: {_EVERY_NAME}")
        return Condition(self.text, operands, tuple(comparisons), tuple(self.quantities))

    def _operand(self, node: ast.expr) -> Operand:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                exact = Interval.exact(float(value))  # integers of so many digits are finite
                if math.isinf(exact.value):
                    self._refuse(node, "a number must be finite")
                return lambda _: exact
            case ast.Name(id=name):
                if name in MEASURES:
                    self._refuse(node, f"{name} needs a radius, as in {name}@0.05")
                if name not in (*PLAIN, *ALIASES):
                    self._refuse_name(node, name)
                return self._quantity(Quantity(ALIASES.get(name, name)))
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return _applied(Interval.__neg__, self._operand(inner))
            case ast.UnaryOp(op=ast.UAdd(), operand=inner):
                return self._operand(inner)
            case ast.BinOp(
                left=left, op=ast.MatMult(), right=ast.Constant(value=int() | float() as rho)
            ) if not isinstance(rho, bool) and 0 < rho < math.inf:
                return self._at(left, float(rho))
            case ast.BinOp(op=ast.MatMult(), right=radius):
                self._refuse(radius, "the radius after @ must be a positive number")
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return _applied(_ARITHMETIC[type(op)], self._operand(left), self._operand(right))
            case ast.Call(func=ast.Name(id="abs"), args=[inner], keywords=[]):
                return _applied(Interval.__abs__, self._operand(inner))
        self._refuse(
            node,
            "a condition may hold numbers, names, + - * /, parentheses and abs(), got something "
            "else",
        )

    def _at(self, node: ast.expr, rho: float) -> Operand:
        """Give the radius to the name directly before the `@`.

        For Python, `@` binds no tighter than `*`, and less tightly than a unary minus.
        """
        match node:
            case ast.Name(id=name) if name in MEASURES:
                return self._quantity(Quantity(name, rho))
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return _applied(Interval.__neg__, self._at(inner, rho))
            case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as op, right=right):
                return _applied(_ARITHMETIC[type(op)], self._operand(left), self._at(right, rho))
            case ast.Name(id=name) if name in (*PLAIN, *ALIASES):
                self._refuse(node, f"{name} has no radius")
            case ast.Name(id=name):
                self._refuse_name(node, name)
        self._refuse(node, f"before @ must be one of {', '.join(MEASURES)}")

    def _quantity(self, quantity: Quantity) -> Operand:
        self.quantities[quantity] = None
        return lambda known: known[quantity]

    def _refuse_name(self, node: ast.expr, name: str) -> NoReturn:
        near = difflib.get_close_matches(name, (*PLAIN, *ALIASES, *MEASURES), n=3)
        nearest = (
            f"the nearest known {'are' if len(near) > 1 else 'is'} {', '.join(near)}"
            if near
            else _EVERY_NAME
        )
        self._refuse(node, f"{name} is no known quantity: {nearest}")

    def _refuse(self, node: ast.expr, rule: str) -> NoReturn:
        place = len(self.text.encode()[: node.col_offset].decode())  # ast counts bytes
        raise _pointing(self.text, place, f"{rule}.")


def _applied(function: Callable[..., Interval], *operands: Operand) -> Operand:
    return lambda known: function(*(operand(known) for operand in operands))


def _pointing(text: str, place: int, message: str) -> InputError:
    """Return an error that shows the condition and, in the line below, where in it."""
    return InputError(f"{message}\n  {text}\n  {' ' * min(place, len(text))}^", hint=_EXAMPLE)
