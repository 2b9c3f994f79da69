"""What `landscape plot` draws: results of files in one figure, in panels or on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import landscape.plot as figures
from landscape.errors import require, require_in_limits
from landscape.io.layouts import read_any
from landscape.runtime.files import names_apart

from .. import console

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Group:
    """Files that are drawn together, as a kind of figure, with a label each."""

    files: Sequence[Path]
    kind: str | None
    labels: Sequence[str] | None

    def read(self) -> list[Any]:
        """Return what is in the files."""
        return [read_any(file)[0] for file in self.files]

    def short_names(self) -> list[str]:
        """Return the labels, or else what tells the files apart."""
        stems = [file.with_name(file.name.removesuffix(".h5")) for file in self.files]
        return list(self.labels or names_apart(stems))

    def curve_names(self, results: Sequence[Any]) -> Sequence[str] | None:
        """Return the labels, or short names where several results share axes, or None."""
        kind = figures.choose_kind(results, self.kind)
        without = (*figures.LETTERED_KINDS, "difference")
        if self.labels or len(results) == 1 or kind in without:
            return self.labels
        return self.short_names()


def group_files(
    files: Sequence[Path], panels: Sequence[str], kind: str | None, labels: Sequence[str] | None
) -> list[Group]:
    """Return the groups of files that panels ask for, or all files as one.

    Raises:
        InputError: If there are both or neither, or the kind or the labels do not fit.
    """
    require(
        bool(files) != bool(panels),
        f"a figure is of files or of panels, got {'both' if files else 'neither'}.",
        hint="Pass a results file, or --panel FILE for each panel.",
    )
    require(
        not panels or kind is None,
        f"each panel has a kind of its own, got --kind {kind}.",
        hint=f"Pass --panel FILE:{kind}.",
    )
    found = [figures.parse_panel(each, lambda name: Path(name).exists()) for each in panels]
    groups = found or [([str(file) for file in files], kind)]
    number = sum(len(names) for names, _ in groups)
    require_in_limits({"number of results in a figure": number})
    require(
        not labels or len(labels) == number,
        f"there must be one --labels for each file, got {len(labels or ())} for {number}.",
    )
    left = iter(labels or ())
    return [
        Group(list(map(Path, names)), kind, [next(left) for _ in names] if labels else None)
        for names, kind in groups
    ]


def draw_page(group: Group, settings: Mapping[str, Any]) -> str:
    """Return an interactive page of a group."""
    return figures.draw_page(group.read(), labels=group.short_names(), kind=group.kind, **settings)


def draw_results(group: Group, settings: Mapping[str, Any]) -> Figure:
    """Draw a group as one figure, and say which panel is of which file if letters tell."""
    results = group.read()
    labels = group.curve_names(results)
    if len(results) > 1 and labels is None:
        names = group.short_names()
        lettered = ", ".join(f"{figures.letter(i)} {name}" for i, name in enumerate(names))
        is_difference = group.kind == "difference"
        console.say(f"{names[1]} minus {names[0]}." if is_difference else f"Panels: {lettered}.")
    return figures.draw(results, labels=labels, kind=group.kind, **settings)


def draw_panels(groups: Sequence[Group], rows: int | None, settings: Mapping[str, Any]) -> Figure:
    """Draw each group as a panel with a letter; the label of a single file stands next to it."""
    panels = []
    for group in groups:
        results = group.read()
        is_one = len(results) == 1
        label = group.labels[0] if is_one and group.labels else ""
        labels = None if is_one else group.curve_names(results)
        panels.append(figures.Panel(results, group.kind, label, labels))
    return figures.draw_panels(panels, rows=rows, **settings)
