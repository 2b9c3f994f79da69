"""`landscape data`: which data sets there are, and how they get onto this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.data.publications import PUBLICATIONS, Availability, find_publication, look_for

from . import console
from .options import Json, command

Folder = Annotated[
    Path, typer.Option("--data-dir", help="Folder of the published files.", metavar="DIR")
]
DEFAULT_FOLDER = Path("data")

data = typer.Typer(
    no_args_is_help=True, help="List the built-in data sets, and download their published files."
)


@data.command("list")
@command()
def list_data(data_dir: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """List the built-in data sets and whether a folder has their files, without reading them."""
    found = [look_for(publication, data_dir) for publication in PUBLICATIONS.values()]
    if as_json:
        console.answer_json({"data_dir": str(data_dir), "data": [_as_json(item) for item in found]})
        return
    console.answer(f"Files looked for in {data_dir}")
    for item in found:
        state = item.state if item.folder is None else f"{item.state} in {item.folder}"
        console.answer(f"{item.publication.name:<15}{_summary(item):<58}{state}")
        if _remark(item):
            console.answer(f"{'':<15}{_remark(item)}")
    console.answer("To download one: landscape data fetch NAME")


@data.command("fetch")
@command()
def fetch_data(
    name: Annotated[
        str, typer.Argument(help="Built-in data set, as landscape data list names it.")
    ],
    data_dir: Folder = DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Download the published files of a data set, unless they are there, and check them."""
    from landscape.data.download import fetch

    fetched = fetch(find_publication(name), data_dir, progress=console.TerminalProgress())
    for file in fetched:
        console.say(f"{'Downloaded and checked' if file.is_new else 'There already'}: {file.path}")
    if as_json:
        rows = [{"path": str(file.path), "is_new": file.is_new} for file in fetched]
        console.answer_json({"name": name, "data_dir": str(data_dir), "files": rows})
    elif fetched:
        console.answer(f"Ready in {data_dir}. To use it: --data {name} --data-dir {data_dir}")
    else:
        console.answer(
            f"{name} is embedded, there is nothing to download. To use it: --data {name}"
        )


def _summary(item: Availability) -> str:
    """Say what was found where that may be less than what was published."""
    published = item.publication.summary
    is_whole = item.num_rows is None or published.startswith(f"{item.num_rows:,} ")
    return published if is_whole else f"{item.num_rows:,} of the {published}"


def _remark(item: Availability) -> str:
    """Say which files are missing and where they come from, or what is unclear."""
    if item.state != "missing":
        return item.remark
    login = ", after a login" if item.publication.needs_login else ""
    return f"{', '.join(item.missing)} from {item.publication.page}{login}"


def _as_json(item: Availability) -> dict[str, object]:
    return {
        "name": item.publication.name,
        "summary": item.publication.summary,
        "num_rows": item.num_rows,
        "state": item.state,
        "folder": None if item.folder is None else str(item.folder),
        "missing": list(item.missing),
        "page": item.publication.page,
        "remark": item.remark,
    }
