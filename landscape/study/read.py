"""A study as TOML: read, checked, and its grid multiplied out."""

from __future__ import annotations

import difflib
import itertools
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from landscape.errors import InputError, first_line, require
from landscape.study.definition import LAYOUTS, CommandOptions, Study, StudyRun, as_text

_SECTIONS = ("train", "grid", "variant", "measure", "report", "slurm")
_SINGLE = ("out", "threads")
_MEASURES = ("sharpness", "hessian")
_REPORT = ("select", "layout")
_SEEDS = ("seed", "seeds")


def read_study(path: Path, commands: Mapping[str, CommandOptions]) -> Study:
    """Read a study.

    Its sections:

    - `out` and `threads`, before any section: the folder, by default `runs/NAME`, and the threads
      of each run;
    - `[train]`: options of `landscape train` that all runs have;
    - `[grid]`: lists of such options, of which every combination is run; `seeds` among them;
    - `[[variant]]`, repeatable: a `name`, and options that replace those before, each a value or a
      list of values;
    - `[measure.sharpness]` and `[measure.hessian]`: options of those commands, for each trained
      checkpoint;
    - `[report]`: `select`, options that are chosen on the validation split, by default `rho`, and
      `layout`, the shape of its tables, one of `LAYOUTS`;
    - `[slurm]`: parameters of submitit.

    Args:
        path: TOML file.
        commands: Options of `train`, `sharpness` and `hessian`.

    Raises:
        InputError: If the file cannot be read, a key is unknown, a value is of the wrong kind, or
            two runs are one.
    """
    source = _Source.read(path)
    source.check_keys(
        source.content, (*_SINGLE, *_SECTIONS), "", "a study has the keys and sections"
    )
    sections = {name: source.table(name) for name in _SECTIONS if name != "variant"}
    source.check_keys(sections["measure"], _MEASURES, "measure", "what is measured is one of")
    source.check_keys(sections["report"], _REPORT, "report", "a report has the keys")
    return Study(
        path=path,
        out=Path(
            source.value(
                "out",
                f"runs/{path.stem}",
                lambda found: found and isinstance(found, str),
                "a text",
            )
        ),
        runs=tuple(_Runs(source, commands["train"]).runs()),
        measures={
            name: source.options(
                sections["measure"][name], commands[name], f"measure.{name}", f"landscape {name}"
            )
            for name in _MEASURES
            if name in sections["measure"]
        },
        layout=_layout(source, sections["report"]),
        select=_selected(source, sections["report"], commands["train"]),
        threads=source.value(
            "threads",
            None,
            lambda found: found is None or (type(found) is int and found >= 1),
            "a whole number of at least 1",
        ),
        slurm=sections["slurm"],
    )


def _layout(source: _Source, report: Mapping[str, Any]) -> str:
    found = report.get("layout", LAYOUTS[0])
    rule = f"layout must be one of {', '.join(LAYOUTS)}, got {found!r}."
    source.require(found in LAYOUTS, rule, "report", "layout", hint=_nearest(str(found), LAYOUTS))
    return found


@dataclass(frozen=True)
class _Source:
    """The file: what it holds, and where."""

    path: Path
    text_lines: Sequence[str]
    content: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> _Source:
        try:
            text = path.read_text(encoding="utf-8")
            return cls(path, text.splitlines(), tomllib.loads(text))
        except OSError as exc:
            raise InputError(
                f"study {path} cannot be read: {exc.strerror}.", hint="Check its name."
            ) from exc
        except UnicodeDecodeError as exc:
            raise InputError(
                f"study {path} must be text in UTF-8.", hint="Save it as UTF-8."
            ) from exc
        except tomllib.TOMLDecodeError as exc:
            raise InputError(
                f"study {path} must be TOML: {first_line(exc)}.",
                hint="Texts need quotes, lists brackets: rho = [0.1].",
            ) from exc

    def require(
        self,
        condition: object,
        message: str,
        section: str,
        key: str = "",
        number: int = 0,
        hint: str = "",
    ) -> None:
        """Raise an error that says where it is unless the condition holds.

        Args:
            condition: What must be true.
            message: What is wrong.
            section: Name; empty before the first.
            key: In it.
            number: Of the section, from 0, where there are several of that name.
            hint: The remedy.
        """
        line = self._line(section, key, number)
        head = f"[[{section}]]" if section == "variant" else f"[{section}]"
        places = [str(self.path), f"line {line}" if line else "", head if section else ""]
        require(condition, f"{', '.join(filter(None, places))}: {message}", hint)

    def check_keys(
        self, table: Mapping[str, Any], known: Sequence[str], section: str, rule: str
    ) -> None:
        """Refuse keys that are unknown, and name the nearest that is not."""
        for key in table:
            self.require(
                key in known,
                f"{rule} {', '.join(known)}, got {key!r}.",
                section,
                key,
                hint=_nearest(key, known),
            )

    def value(
        self,
        key: str,
        default: Any,
        is_right: Callable[[Any], object],
        kind: str,
        hint: str = "",
    ) -> Any:
        """Return what has a name before the first section or is a section; say what it must be."""
        found = self.content.get(key, default)
        self.require(is_right(found), f"{key} must be {kind}, got {found!r}.", "", key, hint=hint)
        return found

    def table(self, name: str) -> dict[str, Any]:
        """Return a section, empty if it is not there."""
        hint = f"Write [{name}] on its own."
        return self.value(name, {}, lambda found: isinstance(found, dict), "a section", hint)

    def options(
        self,
        table: Any,
        options: CommandOptions,
        section: str,
        command: str,
        number: int = 0,
        also: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return a table of a command's options with underscores in their names.

        Args:
            table: As the file has it.
            options: Those of the command.
            section: Its name.
            command: The command.
            number: Of the section.
            also: Other keys that it may have.
        """
        self.require(
            isinstance(table, dict),
            f"options of {command} must be a section, got {table!r}.",
            section,
        )
        found: dict[str, Any] = {}
        usable = [*(name for name in options if not options[name].is_reserved), *also]
        for key, value in table.items():
            name = key.replace("-", "_")
            for condition, message, remedy in (
                (
                    name in usable or name not in options,
                    f"{key} is set by the sweep itself.",
                    "Leave it out.",
                ),
                (
                    name in usable,
                    f"keys must be options of {command}, got {key!r}.",
                    _nearest(name, usable),
                ),
                (name not in found, f"{key} is there twice.", "Remove one of them."),
            ):
                self.require(condition, message, section, key, number, remedy)
            found[name] = value
        return found

    def _line(self, section: str, key: str, number: int) -> int | None:
        """Find the line of a key, or else of its section's head; None without either."""
        current, counts, head = "", {"": 1}, None
        for line, text in enumerate(self.text_lines, 1):
            if found := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", text):
                current = found[1].replace(" ", "")
                counts[current] = counts.get(current, 0) + 1
            is_inside = current == section and counts[current] == number + 1
            if is_inside and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", text):
                return line
            is_head = found and (
                is_inside or (key and current == ".".join(filter(None, [section, key])))
            )
            head = head or (line if is_head else None)
        return head


class _Listed(list[Any]):
    """Values that the study lists, even if it is one: they are part of a run's name."""


_Lists: TypeAlias = dict[str, list[Any]]
"""Name of an option -> its values."""


class _Runs:
    """The runs of a study, from its sections `train`, `grid` and `variant`."""

    def __init__(self, source: _Source, options: CommandOptions) -> None:
        self._source = source
        self._options = options
        self._shared = {
            name: source.options(source.table(name), options, name, "landscape train", also=_SEEDS)
            for name in ("train", "grid")
        }

    def runs(self) -> Iterator[StudyRun]:
        """Yield the runs of each variant in turn."""
        lists: _Lists = {"seed": [0]}
        for section, table in self._shared.items():
            lists |= self._checked(section, table)
        names: dict[str, int] = {}
        for number, (variant, own) in enumerate(self._variants()):
            for run in self._combinations(variant, lists | self._checked("variant", own, number)):
                is_twice = number == names.get(run.name)
                self._source.require(
                    run.name not in names,
                    f"each run must have a name of its own, two are {run.name!r}.",
                    "variant",
                    "name",
                    number,
                    "List each value once." if is_twice else "Give the variants other names.",
                )
                names[run.name] = number
                yield run

    def _variants(self) -> list[tuple[str, dict[str, Any]]]:
        tables = self._source.content.get("variant", [{}])
        self._source.require(
            isinstance(tables, list),
            "a variant must be a section of its own.",
            "variant",
            hint="Write [[variant]].",
        )
        found = []
        for number, table in enumerate(tables):
            own = self._source.options(
                table, self._options, "variant", "landscape train", number, also=("name", *_SEEDS)
            )
            name = own.pop("name", "")
            self._source.require(
                isinstance(name, str) and (name or len(tables) == 1),
                "each variant must have a name, a text.",
                "variant",
                "name",
                number,
            )
            found.append((name, own))
        return found

    def _checked(self, section: str, table: Mapping[str, Any], number: int = 0) -> _Lists:
        """Return the values of each option of a section, of which `train` has single ones."""
        found: _Lists = {}
        for key, value in table.items():
            is_single, hint = self._is_single(key, value), ""
            rule, is_right = f"{key} must be a value or a list of values.", value != []
            if section == "train":
                rule, is_right = f"{key} must be one value, got {value!r}.", is_single
                hint = "Lists of values belong to [grid]."
            elif section == "grid":
                rule = f"{key} must be a list of values, got {value!r}."
                is_right, hint = bool(value) and not is_single, "Single values belong to [train]."
            self._source.require(is_right, rule, section, key, number, hint)
            found["seed" if key == "seeds" else key] = [value] if is_single else _Listed(value)
        return found

    def _is_single(self, key: str, value: Any) -> bool:
        """Whether it is one value of an option, not a list of them."""
        is_repeatable = key in self._options and self._options[key].is_repeatable
        return not isinstance(value, list) or (
            is_repeatable and all(isinstance(item, str) for item in value)
        )

    def _combinations(self, variant: str, lists: _Lists) -> Iterator[StudyRun]:
        listed = [
            key for key, values in lists.items() if isinstance(values, _Listed) and key != "seed"
        ]
        order = [key for key in lists if key != "seed"] + ["seed"]
        for values in itertools.product(*(lists[key] for key in order)):
            train = dict(zip(order, values, strict=True))
            factors = {key: train[key] for key in listed}
            parts = [
                variant,
                *(f"{key}={as_text(value)}" for key, value in factors.items()),
                f"seed={train['seed']}",
            ]
            name = "_".join(re.sub(r"[^\w.,=+-]+", "-", part) for part in parts if part)
            yield StudyRun(name, variant, train, factors)


def _nearest(key: str, known: Sequence[str]) -> str:
    """Return a hint that names the nearest known key, or all of them where none is near."""
    found = difflib.get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0.5)
    return f"The nearest is {found[0]}." if found else f"Known are {', '.join(known)}."


def _selected(
    source: _Source, report: Mapping[str, Any], options: CommandOptions
) -> tuple[str, ...]:
    select = report.get("select", ["rho"])
    names = [select] if isinstance(select, str) else select
    source.require(
        isinstance(names, list) and all(isinstance(name, str) for name in names),
        f"select must be a list of options, got {select!r}.",
        "report",
        "select",
    )
    names = [name.replace("-", "_") for name in names]
    for name in names:
        source.require(
            name in options,
            f"select must name options of landscape train, got {name!r}.",
            "report",
            "select",
            hint=_nearest(name, list(options)),
        )
    return tuple(names)
