"""From `--x` and `--y` to directions: which kind, which files, found and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.errors import InputError, StoreError
from landscape.runtime.files import names_apart

from .. import console
from ..options import RangeOption, Seed

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.directions.plane import Plane
    from landscape.directions.random import Direction
    from landscape.problem.problem import Problem
    from landscape.results.directions import Directions
    from landscape.results.spectrum import Spectrum
    from landscape.results.surface import Mark, Surface

_FORMS = {
    "random": "random",
    "to": "to:CKPT",
    "pca": "pca:DIR",
    "eigen": "eigen:N or eigen:N:FILE",
    "gradient": "gradient",
    "ascent": "ascent or ascent:RHO",
}
_EXAMPLES = {"to": "to:other.pt", "pca": "pca:runs/sam", "eigen": "eigen:1", "gradient": "gradient"}
_DEFAULT_RANGES = {
    "random": "-1:1",
    "stored": "-1:1",
}  # of other kinds, the length of a coordinate is not known


@dataclasses.dataclass(frozen=True)
class PlaneOptions:
    """Which line or plane."""

    x: Annotated[
        str | None,
        typer.Option(
            help=f"First direction: {', '.join(_FORMS.values())}; by default random.",
            metavar="KIND",
        ),
    ] = None
    y: Annotated[
        str | None,
        typer.Option(
            help="Second direction, as for --x; by default random, or with pca:DIR its second.",
            metavar="KIND",
        ),
    ] = None
    dims: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2,
            help="Number of directions: 1 for a line, 2 for a plane; by default 2, or as in "
            "--directions.",
        ),
    ] = None
    range_: Annotated[
        str | None,
        typer.Option(
            "--range",
            help="Coordinates of both ends, for x and y together or apart (-1:1,-0.5:2); auto: "
            "where the loss reaches "
            "5 times that at the centre, auto:N: N times, and everything marked. By default -1:1 "
            "along random and "
            "stored directions, where 1 is one filter norm, and auto along others.",
            metavar="START:STOP",
        ),
    ] = None
    normalization: Annotated[
        str, typer.Option(help="Of random directions: filter, layer or none.")
    ] = "filter"
    with_1d: Annotated[
        bool,
        typer.Option(
            "--with-1d",
            help="Let random directions move biases and other 1-D tensors too, each scaled to its "
            "own norm.",
        ),
    ] = False
    seed: Seed = 0
    repeats: Annotated[
        int,
        typer.Option(
            min=1, help="Number of random directions, one line each; with --dims 1.", metavar="N"
        ),
    ] = 1
    directions: Annotated[
        Path | None,
        typer.Option(
            help="Evaluate on the directions in this file, exactly as stored, around CKPT.",
            metavar="FILE",
        ),
    ] = None
    save_directions: Annotated[
        Path | None,
        typer.Option(help="Write the directions to this file, for --directions.", metavar="FILE"),
    ] = None


@dataclasses.dataclass(frozen=True)
class Spec:
    """What was asked for as one direction.

    Attributes:
        text: As it was typed.
        kind: A key of `KINDS`.
        argument: What follows the first colon; may be empty.
        number: 0 for x, 1 for y; with several lines, that of the line.
    """

    text: str
    kind: str
    argument: str
    number: int


@dataclasses.dataclass(frozen=True)
class Request:
    """What the directions are to be found from.

    Attributes:
        options: What was typed.
        checkpoint: The file of the origin.
        problems: Split name -> problem.
        specs: What was asked for; empty where the directions are in a file.
        stored: Directions in a file, if any.
    """

    options: PlaneOptions
    checkpoint: Path
    problems: Mapping[str, Problem]
    specs: tuple[Spec, ...]
    stored: Directions | None

    @property
    def first(self) -> Problem:
        """The problem of the first split, which decides directions that depend on the loss."""
        return next(iter(self.problems.values()))

    @cached_property
    def labels(self) -> dict[Path, str]:
        """Checkpoint -> what tells it apart from the others: its name, or its folder too."""
        others = [Path(spec.argument) for spec in self.specs if spec.kind == "to"]
        paths = list(dict.fromkeys([self.checkpoint, *others]))
        return dict(zip(paths, names_apart([path.with_suffix("") for path in paths]), strict=True))

    @cached_property
    def noise(self) -> dict[int, Tensor]:
        """The vector of each random direction by its number; y is always drawn second."""
        from landscape.directions.random import random_directions

        numbers = [spec.number for spec in self.specs if spec.kind == "random"]
        drawn = random_directions(
            len(numbers),
            self.first.weights,
            self.first.spec,
            seed=self.options.seed,
            normalization=self.options.normalization,
            with_1d=self.options.with_1d,
            skip=numbers[0],
        )
        return dict(zip(numbers, drawn, strict=True))

    @cached_property
    def spectrum(self) -> Spectrum:
        """The eigenvectors that are not in a file, all from one computation."""
        from landscape.directions.sources import compute_eigenvectors

        numbers = [parse_eigen(spec) for spec in self.specs if spec.kind == "eigen"]
        return compute_eigenvectors(
            self.first,
            [number for number, path in numbers if path is None],
            seed=self.options.seed,
            split=next(iter(self.problems)),
            progress=console.TerminalProgress(),
        )

    @cached_property
    def components(self) -> dict[Spec, Direction]:
        """The direction of each `pca:DIR`: the folder's first component.

        The second use of the same folder gives its second component.

        The first one leads to all snapshots in the folder.
        """
        specs = [spec for spec in self.specs if spec.kind == "pca"]
        return dict(
            zip(
                specs,
                _principal_components(Path(specs[0].argument), specs, self.problems),
                strict=True,
            )
        )


def parse_plane(options: PlaneOptions) -> tuple[Spec, ...]:
    """Return what was asked for as directions; nothing where they are in a file.

    Raises:
        InputError: If options contradict each other, or a kind is unknown.
    """
    if options.directions is not None:
        _refuse_beside_file(options)
        return ()
    dims = options.dims or 2
    if options.y is not None and dims == 1:
        raise InputError(
            f"a line has no second direction, got --y {options.y} with --dims 1.",
            hint="Pass --dims 2.",
        )
    x = options.x or "random"
    if options.repeats > 1:
        if dims != 1 or _kind(x) != "random":
            raise InputError(
                f"--repeats {options.repeats} draws several random lines, got --dims {dims} and "
                f"--x {x}.",
                hint="Pass --dims 1 and leave --x random.",
            )
        return tuple(_parse("--x", x, number) for number in range(options.repeats))
    if dims == 1:
        return (_parse("--x", x, 0),)
    y = options.y or (x if _kind(x) == "pca" else "random")
    specs = (_parse("--x", x, 0), _parse("--y", y, 1))
    if len({Path(spec.argument) for spec in specs if spec.kind == "pca"}) > 1:
        raise InputError(
            f"a plane shows the trajectory of one folder, got --x {x} and --y {y}.",
            hint="Pass one of them, and to:CKPT for the other run's checkpoint.",
        )
    return specs


def _refuse_beside_file(options: PlaneOptions) -> None:
    typed = {
        "--x": options.x,
        "--y": options.y,
        "--repeats": options.repeats > 1,
        "--with-1d": options.with_1d,
    }
    for name, value in typed.items():
        if value:
            raise InputError(
                f"--directions {options.directions} has the directions already, got {name} too.",
                hint="Pass one of them.",
            )


def _kind(text: str) -> str:
    return text.partition(":")[0]


def _parse(option: str, text: str, number: int) -> Spec:
    kind, colon, argument = text.partition(":")
    takes_none, needs_one = kind in ("random", "gradient"), kind in ("to", "pca", "eigen")
    if kind not in KINDS or (takes_none and colon) or (needs_one and not argument):
        raise InputError(
            f"{option} must be {', '.join(_FORMS.values())}, got {text!r}.",
            hint=f"Pass {option} {_EXAMPLES.get(kind, 'random')}.",
        )
    spec = Spec(text, kind, argument, number)
    if kind == "eigen":
        parse_eigen(spec)
    if kind == "ascent":
        _parse_rho(spec)
    return spec


def parse_eigen(spec: Spec) -> tuple[int, Path | None]:
    """Return number and file of `eigen:N` or `eigen:N:FILE`.

    Raises:
        InputError: If N is no number of an eigenvector.
    """
    number, _, path = spec.argument.partition(":")
    try:
        found = int(number)
    except ValueError:
        found = 0
    if found == 0:
        raise InputError(
            "eigenvectors are numbered from 1, the largest, or from -1, the smallest, got "
            f"{spec.text!r}.",
            hint="Pass eigen:1.",
        )
    return found, Path(path) if path else None


def _parse_rho(spec: Spec) -> float:
    try:
        return float(spec.argument or 0.05)
    except ValueError as exc:
        raise InputError(
            f"the radius of an ascent must be a number, got {spec.text!r}.",
            hint="Pass ascent:0.05.",
        ) from exc


def read_directions(options: PlaneOptions) -> Directions | None:
    """Read the file of directions, ours or one in Li et al.'s layout, if one was named.

    Raises:
        StoreError: If it is neither.
        InputError: If it does not hold as many directions as were asked for.
    """
    path = options.directions
    if path is None:
        return None
    from landscape.io.layouts import read_any
    from landscape.results.directions import Directions

    found, _ = read_any(path)
    if not isinstance(found, Directions):
        raise StoreError(
            f"{path} holds a {type(found).__name__.lower()}, not directions.",
            hint="Directions are written by landscape surface --save-directions.",
        )
    if options.dims == 2 and len(found.vectors) != 2:
        raise InputError(
            f"--dims 2 needs two directions, {path} has {len(found.vectors)}.",
            hint="Pass --dims 1.",
        )
    return found


def input_files(options: PlaneOptions, specs: Sequence[Spec]) -> list[Path]:
    """Return the files, other than snapshots, that the directions come from."""
    checkpoints = [Path(spec.argument) for spec in specs if spec.kind == "to"]
    spectra = [path for spec in specs if spec.kind == "eigen" and (path := parse_eigen(spec)[1])]
    return [*checkpoints, *spectra, *([options.directions] if options.directions else [])]


def count_dimensions(options: PlaneOptions, stored: Directions | None) -> int:
    """Return 1 for lines, 2 for a plane."""
    if options.dims is not None or stored is None:
        return options.dims or 2
    return 2 if len(stored.vectors) == 2 else 1


@dataclasses.dataclass(frozen=True)
class Spanned:
    """Directions, and the plane or lines that they span.

    Attributes:
        directions: In order, x before y.
        planes: One plane, or one or several lines.
        marks: Points of interest.
        normalization: How random directions were scaled; `none` where there are none.
        settings: What is to be recorded of them.
        problem: Whose weights are the origin.
    """

    directions: tuple[Direction, ...]
    planes: tuple[Plane, ...]
    marks: tuple[Mark, ...]
    normalization: str
    settings: dict[str, Any]
    problem: Problem

    def save(self, path: Path) -> None:
        """Write the directions to a file."""
        from landscape.directions.sources import to_store
        from landscape.io.store import write_result

        write_result(path, to_store(self.directions, self.problem, self.normalization))
        console.say(f"Directions saved to {path}.")


def span(request: Request) -> Spanned:
    """Find every direction that was asked for, and what they span.

    Raises:
        LandscapeError: If one cannot be found, or they span nothing.
    """
    from landscape.directions.plane import Plane
    from landscape.directions.random import require_spanning
    from landscape.surface.landmarks import mark_directions

    found = _find_directions(request)
    is_plane = count_dimensions(request.options, request.stored) == 2
    groups = [found] if is_plane else [(direction,) for direction in found]
    for group in groups:
        require_spanning(group)
    _say_unconverged(found)
    _say_left_out(found)
    planes = tuple(
        Plane(request.first.weights, tuple(direction.vector for direction in group))
        for group in groups
    )
    return Spanned(
        directions=found,
        planes=planes,
        marks=mark_directions(
            found, request.labels[request.checkpoint], planes[0], request.problems
        ),
        normalization=_normalization(request),
        settings=_settings(request, found),
        problem=request.first,
    )


def _find_directions(request: Request) -> tuple[Direction, ...]:
    from landscape.directions.sources import stored_directions

    if request.stored is not None:
        return stored_directions(request.stored, request.first)
    return tuple(KINDS[spec.kind](spec, request) for spec in request.specs)


def _normalization(request: Request) -> str:
    if request.stored is not None:
        return request.stored.normalization
    is_random = any(spec.kind == "random" for spec in request.specs)
    return request.options.normalization if is_random else "none"


def _settings(request: Request, directions: Sequence[Direction]) -> dict[str, Any]:
    options = request.options
    return {
        "seed": options.seed,
        "with_1d": options.with_1d,
        "directions": [{"name": direction.name, **direction.facts} for direction in directions],
        "directions_file": None if options.directions is None else str(options.directions),
    }


def _say_unconverged(directions: Sequence[Direction]) -> None:
    for direction in directions:
        if not direction.facts.get("converged", True):
            console.say(
                f"{direction.name} has not converged: its eigenvalue "
                f"{direction.facts['eigenvalue']:.6g} has the "
                f"residual {direction.facts['residual']:.2g}."
            )


def _say_left_out(directions: Sequence[Direction]) -> None:
    names = directions[0].facts.get("left_out")
    if names:
        console.say(
            "The stored directions also move "
            f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}, which are no "
            "weights: --batchnorm says what becomes of running statistics, they are not moved."
        )


def _random(spec: Spec, request: Request) -> Direction:
    from landscape.directions.random import Direction

    return Direction(spec.text, request.noise[spec.number])


def _to(spec: Spec, request: Request) -> Direction:
    from landscape.directions.sources import checkpoint_direction
    from landscape.io.checkpoint import load_checkpoint, load_weights

    path = Path(spec.argument)
    module = request.first.copy_module()
    load_weights(module, load_checkpoint(path))
    return checkpoint_direction(
        module, request.problems, name=spec.text, label=request.labels[path]
    )


def _pca(spec: Spec, request: Request) -> Direction:
    return request.components[spec]


def _principal_components(
    folder: Path, specs: Sequence[Spec], problems: Mapping[str, Problem]
) -> tuple[Direction, ...]:
    from landscape.directions.sources import principal_components
    from landscape.io.snapshots import SnapshotFiles, find_snapshots

    files = SnapshotFiles(find_snapshots(folder), problems, progress=console.TerminalProgress())
    first = next(iter(problems.values()))
    return principal_components(
        files.snapshots, first, names=[spec.text for spec in specs], points=files
    )


def _eigen(spec: Spec, request: Request) -> Direction:
    from landscape.directions.sources import eigenvector_direction

    number, path = parse_eigen(spec)
    spectrum = request.spectrum if path is None else _read_spectrum(path)
    return eigenvector_direction(spectrum, number, request.first, name=spec.text)


def _read_spectrum(path: Path) -> Spectrum:
    from landscape.io.store import read_result
    from landscape.results.spectrum import Spectrum

    found = read_result(path)
    if not isinstance(found, Spectrum):
        raise StoreError(
            f"{path} holds a {type(found).__name__.lower()}, not Hessian eigenvalues.",
            hint="They are written by landscape hessian CKPT --save-vectors --out FILE.",
        )
    return found


def _gradient(spec: Spec, request: Request) -> Direction:
    from landscape.directions.sources import gradient_direction

    return gradient_direction(request.first, name=spec.text)


def _ascent(spec: Spec, request: Request) -> Direction:
    from landscape.directions.sources import ascent_direction

    return ascent_direction(request.first, _parse_rho(spec), name=spec.text)


KINDS: dict[str, Callable[[Spec, Request], Direction]] = {
    "random": _random,
    "to": _to,
    "pca": _pca,
    "eigen": _eigen,
    "gradient": _gradient,
    "ascent": _ascent,
}
"""Kind of direction -> function that finds it."""


def default_ranges(specs: Sequence[Spec], num_dimensions: int) -> str:
    """Return the range of each direction where none was typed."""
    kinds = [spec.kind for spec in specs[:num_dimensions]] or ["stored"] * num_dimensions
    return ",".join(_DEFAULT_RANGES.get(kind, "auto") for kind in kinds)


def find_ranges(
    ranges: Sequence[RangeOption],
    sizes: Sequence[int],
    spanned: Spanned,
    problem: Problem,
    stored: Surface | None,
) -> list[dict[str, Any]]:
    """Return start and stop of each axis, and what is to be recorded about how they were found.

    Args:
        ranges: As typed, one a direction of a plane.
        sizes: Number of points along each.
        spanned: The plane or lines, and what has to be in view.
        problem: Whose loss decides.
        stored: A surface that is to be continued: a range that was found for it stays.
    """
    recorded = [] if stored is None else stored.provenance.settings.get("ranges", [])
    if [each["asked"] for each in recorded] == [each.text for each in ranges]:
        return recorded
    return [
        _find_range(asked, i, size, spanned, problem)
        for i, (asked, size) in enumerate(zip(ranges, sizes, strict=True))
    ]


def _find_range(
    asked: RangeOption, number: int, size: int, spanned: Spanned, problem: Problem
) -> dict[str, Any]:
    if asked.ends is not None:
        return {"asked": asked.text, "start": asked.ends[0], "stop": asked.ends[1]}
    from landscape.directions.plane import Plane
    from landscape.surface.auto_range import center_on_grid, find_common_range

    found = find_common_range(
        problem,
        [Plane(plane.origin, (plane.directions[number],)) for plane in spanned.planes],
        multiple=asked.multiple,
        include=[mark.coordinates[number] for mark in spanned.marks],
        progress=console.TerminalProgress(),
    )
    start, stop = center_on_grid(found.start, found.stop, size)
    axis = "xy"[number]
    console.say(f"Range of {axis}: {start:g}:{stop:g}, after {found.num_evaluations} evaluations.")
    if not all(found.has_reached):
        console.say(
            f"Along {axis} the loss does not rise as far as asked for on every side; the range "
            "ends there."
        )
    return {"asked": asked.text, **dataclasses.asdict(found), "start": start, "stop": stop}
