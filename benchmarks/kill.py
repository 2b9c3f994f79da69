"""Kill `landscape surface` at random, resume it, and check that at most an interval is lost.

python benchmarks/kill.py CKPT [--kills 50] [--longest 20] [OPTIONS OF landscape surface]

After each kill the results file must be whole, and must hold every point that was done ten seconds
and a bit before. At the end it must equal that of an undisturbed run, bit for bit. The loss is the
cross-entropy, which notes each of its calls, one a batch, with the time.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from landscape import read_result

INTERVAL = 10.0
SLACK = 1.0
"""Seconds that a write may take on a busy machine."""

LOSS = """
import os, time
from torch.nn.functional import cross_entropy

log = open(os.environ["BATCHES_LOG"], "a", buffering=1)

def loss(outputs, targets):
    log.write(f"{time.time()}\\n")
    return cross_entropy(outputs, targets)
"""


class Run:
    """One output, and the log of the batches that were computed for it.

    Attributes:
        output: The results file.
    """

    def __init__(self, folder: Path, name: str, checkpoint: Path, options: list[str]) -> None:
        self.output = folder / f"{name}.h5"
        self._log = folder / f"{name}.log"
        (folder / "noted.py").write_text(LOSS)
        words = [
            "surface",
            checkpoint,
            *options,
            "--loss",
            f"{folder / 'noted.py'}:loss",
            "--out",
            self.output,
        ]
        self._command = [sys.executable, "-m", "landscape_cli", *map(str, words)]

    def start(self) -> subprocess.Popen[bytes]:
        """Begin, or go on."""
        more = ["--resume"] if self.output.exists() else []
        environment = {**os.environ, "BATCHES_LOG": str(self._log)}
        return subprocess.Popen([*self._command, *more], env=environment, stdout=subprocess.DEVNULL)

    def times(self) -> list[float]:
        """When each batch was computed, as far as the lines are whole."""
        return (
            [float(line) for line in self._log.read_text().split("\n")[:-1]]
            if self._log.exists()
            else []
        )

    def num_done(self) -> int:
        """Points in the results file, which must be whole if it is there."""
        return int(read_result(self.output).done.sum()) if self.output.exists() else 0


def finish(run: Run) -> None:
    """Let a run come to its end."""
    if run.start().wait():
        sys.exit("landscape surface failed.")


def kill(
    run: Run, seconds: float, batches_before: int, batches_a_point: int
) -> tuple[int, int] | None:
    """Start a run and kill it that many seconds after its first batch; None if it was quicker.

    Returns:
        Points in the file, and the least that there must be.
    """
    done_before, noted_before = run.num_done(), len(run.times())
    process = run.start()
    while len(run.times()) == noted_before and process.poll() is None:
        time.sleep(0.05)
    time.sleep(seconds)
    if process.poll() is not None:
        return None
    process.kill()
    process.wait()
    early = [
        noted for noted in run.times()[noted_before:] if noted < time.time() - INTERVAL - SLACK
    ]
    points = max(len(early) - batches_before, 0) // batches_a_point - 1  # one may be under way
    return run.num_done(), done_before + max(points, 0)


def main() -> None:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description="Surfaces that are killed.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--kills", type=int, default=50, help="how often (default 50)")
    parser.add_argument(
        "--longest", type=float, default=20.0, help="seconds until a kill, at most (default 20)"
    )
    arguments, options = parser.parse_known_args()
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, parts = (
            Run(folder, each, arguments.checkpoint, options) for each in ("whole", "parts")
        )
        finish(whole)
        expected = read_result(whole.output)
        num_batches = len(whole.times())
        batches_a_point = num_batches // (expected.done.size + 1)
        batches_before = (
            num_batches - expected.done.size * batches_a_point
        )  # the centre, and checks of the model
        num_kills = 0
        for _ in range(arguments.kills):
            found = kill(
                parts, chance.uniform(0, arguments.longest), batches_before, batches_a_point
            )
            if found is None:
                break
            num_kills += 1
            print(
                f"kill {num_kills}: {found[0]} of {expected.done.size} points, {found[1]} were due",
                flush=True,
            )
            if found[0] < found[1]:
                sys.exit("points were lost.")
        finish(parts)
        found = read_result(parts.output)
    is_equal = all(
        np.array_equal(found.loss[split], values) for split, values in expected.loss.items()
    )
    print(f"{num_kills} kills; equal to an undisturbed run, bit for bit: {is_equal}")
    if not is_equal:
        sys.exit(1)


if __name__ == "__main__":
    main()
