"""One run of a sweep, `python -m landscape_cli.sweep.run JOB`; it ends with its parent."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence

from landscape.errors import LandscapeError
from landscape.study.execute import Job, complete

from .. import console
from ..app import app
from ..outputs import keeping
from ..program import prepare_streams


def run_job() -> None:
    """Do what is left of a job, alone in its folder."""
    prepare_streams()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = Job.from_json(sys.argv[1])
    try:
        with keeping([job.folder / "checkpoint.pt"]):
            sys.exit(complete(job, _call))
    except LandscapeError as error:
        console.show_error(error)
        sys.exit(1)


def _call(arguments: Sequence[str]) -> int:
    """Run a command as if it had been typed, and return its exit code."""
    sys.argv[1:] = arguments
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _end_with_parent() -> None:
    """Wait for the end of standard input, a pipe that closes when the parent process ends."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    run_job()
