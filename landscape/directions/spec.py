"""What texts say of a plane: directions such as "to:b.pt" and "eigen:1", ranges and grids."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from landscape.errors import InputError, require, require_in_limits

FORMS = {
    "random": "random",
    "to": "to:CKPT",
    "pca": "pca:DIR",
    "eigen": "eigen:N or eigen:N:FILE",
    "gradient": "gradient",
    "ascent": "ascent or ascent:RHO",
}
"""Kind of direction -> how a text names it."""

_EXAMPLES = {"to": "to:other.pt", "pca": "pca:runs/sam", "eigen": "eigen:1", "gradient": "gradient"}
_WITHOUT_ARGUMENT, _WITH_ARGUMENT = ("random", "gradient"), ("to", "pca", "eigen")
_DEFAULT_RANGE = "-1:1"  # of random and stored directions, where 1 is one filter norm
_MARKED = "marked"
_TO_CHECKPOINTS = ("to", "pca")


@dataclass(frozen=True)
class DirectionSpec:
    """One direction, as a text names it.

    Attributes:
        text: Whole text.
        kind: A key of `FORMS`.
        argument: What follows the first colon; may be empty.
        number: 0 for x, 1 for y; number of the line if there are several.
    """

    text: str
    kind: str
    argument: str
    number: int

    @property
    def path(self) -> Path | None:
        """File or folder that the direction comes from, or None without one."""
        path = self.argument.partition(":")[2] if self.kind == "eigen" else self.argument
        return Path(path) if path and self.kind in _WITH_ARGUMENT else None

    @property
    def eigenvector(self) -> int:
        """Number of the eigenvector: from 1, the largest, or from -1, the smallest."""
        return int(self.argument.partition(":")[0])

    @property
    def rho(self) -> float:
        """Radius of the ascent."""
        return float(self.argument or 0.05)


def parse_direction(text: str, name: str = "x", number: int = 0) -> DirectionSpec:
    """Return the direction that a text names.

    Args:
        text: One of `FORMS`.
        name: Argument that the text is given for, `x` or `y`, for the error.
        number: See `DirectionSpec`.

    Raises:
        InputError: If it is none of the forms.
    """
    kind, colon, argument = text.partition(":")
    is_wrong = (kind in _WITHOUT_ARGUMENT and colon) or (kind in _WITH_ARGUMENT and not argument)
    require(
        kind in FORMS and not is_wrong,
        f"`{name}` must be {', '.join(FORMS.values())}, got {text!r}.",
        hint=f"Pass `{name}={_EXAMPLES.get(kind, 'random')!r}`.",
    )
    require(
        kind != "eigen" or _number(int, argument.partition(":")[0]),
        f"eigenvectors are numbered from 1, the largest, or from -1, the smallest, got {text!r}.",
        hint="Pass eigen:1.",
    )
    require(
        kind != "ascent" or _number(float, argument or "0.05") is not None,
        f"the radius of an ascent must be a number, got {text!r}.",
        hint="Pass ascent:0.05.",
    )
    return DirectionSpec(text, kind, argument, number)


def _number(convert: Callable[[str], float], text: str) -> float | None:
    """Return the number that a text is, or None if it is none."""
    try:
        return convert(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class PlaneSpec:
    """Which plane, line or lines through a checkpoint.

    Attributes:
        x: First direction, one of `FORMS`; None for random.
        y: Second direction; None for random, or the second component if x is `pca:DIR`.
        dims: 1 for a line, 2 for a plane; None for 2, or as many as `directions` has.
        normalization: Scaling of random directions: `filter`, `layer` or `none`.
        with_1d: Whether random directions move biases and other 1-D tensors too.
        seed: Seed of random directions and of the search for eigenvectors.
        repeats: Number of random lines.
        directions: File of directions that are taken as stored, in place of x and y.

    Raises:
        InputError: If values contradict each other, or a text is none of the forms.
    """

    x: str | None = None
    y: str | None = None
    dims: int | None = None
    normalization: str = "filter"
    with_1d: bool = False
    seed: int = 0
    repeats: int = 1
    directions: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        require_in_limits(vars(self))
        _ = self.specs

    @cached_property
    def specs(self) -> tuple[DirectionSpec, ...]:
        """The directions that texts name; nothing where they are in a file."""
        if self.directions is not None:
            self._refuse_texts_next_to_file()
            return ()
        x, dims = self.x or "random", self.dims or 2
        is_random, is_pca = (x.partition(":")[0] == kind for kind in ("random", "pca"))
        require(
            self.y is None or dims != 1,
            f"a line has no second direction, got `y={self.y!r}` with `dims=1`.",
            hint="Pass `dims=2`.",
        )
        require(
            self.repeats <= 1 or (dims == 1 and is_random),
            f"`repeats={self.repeats}` draws several random lines, got `dims={dims}` and "
            f"`x={x!r}`.",
            hint="Pass `dims=1` and leave `x='random'`.",
        )
        if dims == 1:
            return tuple(parse_direction(x, "x", number) for number in range(self.repeats))
        y = self.y or (x if is_pca else "random")
        specs = (parse_direction(x, "x", 0), parse_direction(y, "y", 1))
        require(
            len({spec.path for spec in specs if spec.kind == "pca"}) <= 1,
            f"a plane shows the trajectory of one folder, got `x={x!r}` and `y={y!r}`.",
            hint="Pass one of them, and to:CKPT for the other run's checkpoint.",
        )
        return specs

    def _refuse_texts_next_to_file(self) -> None:
        for name in ("x", "y", "repeats", "with_1d"):
            require(
                getattr(self, name) == getattr(PlaneSpec, name),
                f"`directions={str(self.directions)!r}` has the directions already, got "
                f"`{name}` too.",
                hint="Pass one of them.",
            )

    @property
    def input_files(self) -> list[Path]:
        """Files, other than snapshots, that the directions come from."""
        if self.directions is not None:
            return [Path(self.directions)]
        return [spec.path for spec in self.specs if spec.kind != "pca" and spec.path is not None]

    def default_range(self, num_dimensions: int) -> str:
        """Return the range of each direction where none is given.

        1 along a random or stored direction is one filter norm. Directions towards checkpoints
        show all of these; along others, the length of a coordinate is not known, so that the range
        is found.
        """
        kinds = [spec.kind for spec in self.specs[:num_dimensions]] or ["random"] * num_dimensions
        default = {"random": _DEFAULT_RANGE} | dict.fromkeys(_TO_CHECKPOINTS, _MARKED)
        return ",".join(default.get(kind, "auto") for kind in kinds)

    @property
    def leads_to_checkpoints(self) -> bool:
        """Whether a direction leads to weights with running statistics of their own."""
        return any(spec.kind in _TO_CHECKPOINTS for spec in self.specs)


@dataclass(frozen=True)
class RangeSpec:
    """The range of one direction: both ends, or to be found.

    Attributes:
        text: Whole text.
        ends: First and last coordinate; None if they are to be found.
        multiple: Multiple of the loss at the centre that a range to be found reaches; None for the
            default.
        is_marked: Whether it is that of everything marked.
    """

    text: str
    ends: tuple[float, float] | None = None
    multiple: float | None = None
    is_marked: bool = False


def parse_ranges(text: str, num_dimensions: int) -> tuple[RangeSpec, ...]:
    """Parse `start:stop`, `marked`, `auto` or `auto:multiple` for each direction or for all.

    Raises:
        InputError: If it is something else, or not one for each direction.
    """
    ranges = [_parse_range(part.strip()) for part in text.split(",")]
    return _for_each(
        ranges,
        num_dimensions,
        f"`range={text!r}` has {len(ranges)} ranges for {num_dimensions} direction(s).",
    )


def _parse_range(text: str) -> RangeSpec:
    head, _, tail = text.partition(":")
    if text == _MARKED:
        return RangeSpec(text, is_marked=True)
    try:
        if head == "auto":
            return RangeSpec(text, multiple=float(tail) if tail else None)
        return RangeSpec(text, ends=(float(head), float(tail)))
    except ValueError as exc:
        raise InputError(
            f"`range` must be start:stop, marked, auto or auto:multiple, got {text!r}.",
            hint="Pass `range='-1:1'`, or `range='-1:1,-0.5:2'` for x and y.",
        ) from exc


def parse_grid(text: str, num_dimensions: int) -> tuple[int, ...]:
    """Parse `21` or `21x11`, the number of points along each direction.

    Raises:
        InputError: If it is not one number, or one for each direction.
    """
    sizes = [_number(int, part) for part in text.lower().split("x")]
    require(
        None not in sizes,
        f"`grid` must be N or NxM, got {text!r}.",
        hint="Pass `grid='21'` or `grid='21x11'`.",
    )
    found = _for_each(
        sizes,
        num_dimensions,
        f"`grid={text!r}` has {len(sizes)} numbers, but `dims` is {num_dimensions}.",
    )
    require_in_limits({"number of grid points": math.prod(found)})
    return found


def _for_each(items: Sequence[Any], num_dimensions: int, problem: str) -> tuple[Any, ...]:
    """Return one item for each direction; the only one serves all of them."""
    if len(items) == 1:
        return tuple(items) * num_dimensions
    require(
        len(items) == num_dimensions, problem, hint="Pass one for all directions, or one for each."
    )
    return tuple(items)
