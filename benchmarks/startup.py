"""Measure how much longer help pages take to appear than those of a bare Typer application.

The pages are those of `landscape --help` and of every `landscape COMMAND --help`.

python benchmarks/startup.py [rounds]

The bare application has two commands with one option each; its group is the floor of our group, its
command the floor of our commands. Rounds alternate; the ratios are of medians, with the smallest
times beside them.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import typer
app = typer.Typer()
@app.command()
def first(x: int = 1):
    "First."
@app.command()
def second(x: int = 1):
    "Second."
app()
"""
COMMANDS = ("", "train", "surface", "hessian", "sharpness", "plot")


def seconds(command: list[str]) -> float:
    """Run a command and return its wall time."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main(num_rounds: int) -> None:
    """Print one line a command."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        python, ours = sys.executable, [str(Path(sys.executable).with_name("landscape"))]
        runs = {
            ("bare", word): [python, str(bare), *([word] if word else []), "--help"]
            for word in ("", "first")
        }
        runs |= {
            ("landscape", word): [*ours, *([word] if word else []), "--help"] for word in COMMANDS
        }
        times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
        for _ in range(num_rounds):
            for key, command in runs.items():
                times[key].append(seconds(command))
    for (who, word), values in times.items():
        floor = times["bare", "first" if word else ""]
        name, median = f"{who} {word} --help", statistics.median(values)
        ratio = median / statistics.median(floor)
        print(f"{name:28} median {median:.3f} s, least {min(values):.3f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
