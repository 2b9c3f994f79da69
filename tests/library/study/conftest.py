"""Jobs whose process is a small script, not the command line."""

import sys

import pytest

from landscape.study.execute import Job, Stage

# Does each stage by its arguments: notes its name, and fails, or waits for the end of the process
# that began it.
SCRIPT = """
import os, sys
from pathlib import Path
from landscape.study.execute import Job, complete
job = Job.from_json(sys.argv[1])
def call(arguments):
    name, *rest = arguments
    with (job.folder / "calls").open("a") as file:
        file.write(f"{name} {os.environ['OMP_NUM_THREADS']}\\n")
    if rest == ["wait"]:
        (job.folder / "waits").touch()
        sys.stdin.read()
    if rest and rest[0] == "say":
        print(rest[1])
        return 3
    return 0
sys.exit(complete(job, call))
"""


@pytest.fixture
def make(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)

    def call(name, *stages, options=None):
        made = tuple(Stage(stage[0], options or {}, stage) for stage in stages)
        return Job(
            name, tmp_path / "runs" / name, made, (sys.executable, str(tmp_path / "script.py")), 3
        )

    return call


@pytest.fixture
def calls():
    def read(job):
        path = job.folder / "calls"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    return read
