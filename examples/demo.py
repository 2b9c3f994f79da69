"""Train a small network with SGD and with SAM on embedded data, then measure and draw both.

Run it with `make demo`, or `python examples/demo.py` where the toolkit is installed. Everything it
does is a `landscape` command, printed before it runs; results and figures go to runs/demo.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

RUNS = Path("runs/demo")
OPTIMIZERS = ("sgd", "sam")


def landscape(*arguments: object) -> str:
    """Run one command and return what it answers."""
    words = [str(argument) for argument in arguments]
    print("$", shlex.join(["landscape", *words]), flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "landscape_cli", *words],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def measure(optimizer: str) -> dict[str, float]:
    """Train with one optimizer and return the numbers of its column."""
    folder = RUNS / optimizer
    checkpoint = folder / "checkpoint.pt"
    landscape("train", "--optim", optimizer, "--out", folder, "--force")
    plane = json.loads(
        landscape(
            "surface",
            checkpoint,
            "--split",
            "both",
            "--grid",
            31,
            "--out",
            folder / "plane.h5",
            "--force",
            "--json",
        )
    )
    landscape(
        "surface",
        checkpoint,
        "--split",
        "both",
        "--dims",
        1,
        "--grid",
        61,
        "--out",
        folder / "line.h5",
        "--force",
    )
    hessian = json.loads(
        landscape("hessian", checkpoint, "--out", folder / "hessian.h5", "--force", "--json")
    )
    sharpness = json.loads(landscape("sharpness", checkpoint, "--rho", 0.1, "--json"))
    rises = {found["name"]: found["sharpness"] for found in sharpness["measures"]}
    return {
        "train loss": plane["splits"]["train"]["center_loss"],
        "train accuracy": plane["splits"]["train"]["center_accuracy"],
        "test loss": plane["splits"]["test"]["center_loss"],
        "test accuracy": plane["splits"]["test"]["center_accuracy"],
        "lambda_max": hessian["lambda_max"],
        "lambda_min": hessian["lambda_min"],
        "lambda_max / lambda_min": hessian["ratio"],
        "L^Asc - L, rho = 0.1": rises["asc"],
        "L^Avg - L, rho = 0.1": rises["avg"],
        "5-step sharpness, rho = 0.1": rises["nstep"],
        "first-order, rho = 0.1": rises["first_order"],
    }


def draw() -> list[str]:
    """Draw both optimizers side by side and return the paths of the figures."""
    figures = {
        "surfaces.png": ("plane.h5", "filled"),
        "surfaces-3d.png": ("plane.h5", "surface"),
        "profiles.png": ("line.h5", "curve"),
        "eigenvalues.png": ("hessian.h5", "eigenvalues"),
        "training.png": ("history.h5", "history"),
    }
    labels = [word for optimizer in OPTIMIZERS for word in ("--labels", optimizer.upper())]
    return [
        landscape(
            "plot",
            *(RUNS / o / source for o in OPTIMIZERS),
            *labels,
            "--kind",
            kind,
            "--out",
            RUNS / name,
            "--force",
        ).strip()
        for name, (source, kind) in figures.items()
    ]


def as_table(columns: dict[str, dict[str, float]]) -> str:
    """Return the numbers as a Markdown table: a row a quantity, a column an optimizer."""
    width = max(map(len, next(iter(columns.values()))))
    lines = [f"| {'':{width}} | {' | '.join(f'{name.upper():>10}' for name in columns)} |"]
    lines.append(f"|{'-' * (width + 2)}|{'|'.join(['-' * 11 + ':'] * len(columns))}|")
    for quantity in next(iter(columns.values())):
        values = " | ".join(f"{column[quantity]:>10.4g}" for column in columns.values())
        lines.append(f"| {quantity:{width}} | {values} |")
    return "\n".join(lines)


def main() -> None:
    """Run the demo."""
    table = as_table({optimizer: measure(optimizer) for optimizer in OPTIMIZERS})
    figures = draw()
    (RUNS / "summary.md").write_text(table + "\n")
    print(f"\nMLP on digits, 15 epochs, seed 0:\n\n{table}\n\nFigures:", *figures, sep="\n")


if __name__ == "__main__":
    main()
