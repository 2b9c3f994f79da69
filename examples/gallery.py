"""Make the gallery: train, measure and draw what docs/gallery/gallery.toml lists.

Run it with `make gallery`. Results go to runs/gallery, where what is there is not made again, and
figures with their commands to docs/gallery.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "gallery"
PAGES = ROOT / "docs" / "gallery"
DATA = next((p for p in (ROOT / "data", ROOT.parent / "shared" / "data") if p.exists()), None)
"""The folder of the published data sets."""


def landscape(command: str, folder: Path) -> None:
    """Run one command in the folder of the results; end where it fails."""
    print("$ landscape", command, flush=True)
    words = shlex.split(command.replace("DATA", str(DATA)))
    done = subprocess.run([sys.executable, "-m", "landscape_cli", *words], cwd=folder, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def shown(command: str) -> str:
    """Return a command as the page shows it."""
    return f"    landscape {command.replace('DATA', 'data')}"


def page(gallery: Mapping[str, list[dict[str, str]]]) -> str:
    """Return the page of the gallery as Markdown."""
    figures = "\n\n".join(
        f"## {figure['title']}\n\n![{figure['caption']}]({figure['makes']})\n\n{figure['caption']}"
        f"\n\n{shown(figure['command'])}"
        for figure in gallery["figure"]
    )
    steps = "\n".join(shown(step["command"]) for step in gallery["step"])
    return (
        "# Gallery\n\nEvery figure with the command that drew it; `make gallery` makes them all. "
        f"What they draw was trained and measured by the commands at the end.\n\n{figures}\n\n"
        f"## What was trained and measured\n\n{steps}\n"
    )


def main() -> None:
    """Make what is missing, draw all figures and write the page."""
    if DATA is None:
        sys.exit("The gallery needs the data of CIFAR-10 and others in data/: landscape data list.")
    gallery = tomllib.loads((PAGES / "gallery.toml").read_text(encoding="utf-8"))
    RUNS.mkdir(parents=True, exist_ok=True)
    for step in gallery["step"]:
        if not (RUNS / step["makes"]).exists():
            landscape(step["command"], RUNS)
    for figure in gallery["figure"]:
        landscape(f"{figure['command']} --force", RUNS)
        (PAGES / figure["makes"]).write_bytes((RUNS / figure["makes"]).read_bytes())
    (PAGES / "README.md").write_text(page(gallery), encoding="utf-8")


if __name__ == "__main__":
    main()
