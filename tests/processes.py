"""Processes of their own that begin with torch imported: forked from a server of this session.

One costs some hundredths of a second, where `python -m landscape_cli` needs seconds to import.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import TextIO

import pytest

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "h5py",
        "landscape.hessian.spectrum",
        "landscape.io.checkpoint",
        "landscape.io.plugins",
        "landscape.io.store",
        "landscape.models",
        "landscape.sharpness",
        "landscape.surface",
        "landscape.training",
        "matplotlib.figure",
        "scipy.stats",
        "sklearn.datasets",
        "torch._dynamo",
        "torch.distributed",
        "torch.nn.parallel",
    ]
)
PLAIN = {"COLUMNS": "160", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
TIMEOUT = 120


class Started:
    """A process that calls a function, with pipes: what tests need of `subprocess.Popen`."""

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: object,
        cwd: Path | None = None,
        **environment: str,
    ) -> None:
        pipes = [SERVER.Pipe(duplex=False) for _ in range(3)]
        (theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err) = pipes
        theirs = (theirs_in, theirs_out, theirs_err)
        settings = {**os.environ, **PLAIN, **environment}
        self._process = SERVER.Process(
            target=_call, args=(function, arguments, cwd, settings, theirs)
        )
        self._process.start()
        for end in theirs:
            end.close()
        self.stdin = os.fdopen(os.dup(ours_in.fileno()), "w")
        self.stdout, self.stderr = (os.fdopen(os.dup(end.fileno())) for end in (ours_out, ours_err))
        for end in (ours_in, ours_out, ours_err):
            end.close()

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self._process.exitcode

    def wait(self, seconds: float) -> int:
        """Return the exit code, or raise `subprocess.TimeoutExpired`."""
        self._process.join(seconds)
        if self.returncode is None:
            raise subprocess.TimeoutExpired([], seconds)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def communicate(self, text: str = "", timeout: float = TIMEOUT) -> tuple[str, str]:
        """Write to the process, close its input, and return what it wrote until it ended."""
        try:
            self.stdin.write(text)
            self.stdin.close()
        except BrokenPipeError:
            pass
        with ThreadPoolExecutor(2) as pool:
            found = [pool.submit(pipe.read) for pipe in (self.stdout, self.stderr)]
            still_open = wait(found, timeout).not_done
            if still_open:
                self._say_where_and_die()
            out, err = (each.result() for each in found)
        assert not still_open, f"not ended after {timeout:g} s\n{err}"
        self._process.join(timeout)
        assert self.returncode is not None, err
        return out, err

    def _say_where_and_die(self) -> None:
        """End the process, with the traceback of each thread on its stderr."""
        self.send_signal(signal.SIGABRT)
        self._process.join(5)
        self.kill()


def _call(function, arguments, cwd, settings, pipes) -> None:
    """Become the process: streams, folder, environment."""
    os.environ.clear()
    os.environ.update(settings)
    if cwd is not None:
        os.chdir(cwd)
    for number, end in enumerate(pipes):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    faulthandler.enable(sys.stderr)
    function(*arguments)


def _command(words: list[str]) -> None:
    """Be `python -m landscape_cli`."""
    from landscape_cli.program import main

    sys.argv = ["landscape", *words]
    main()


def start_cli(*words: object, cwd: Path | None = None, **environment: str) -> Started:
    """Start the command line in a process of its own."""
    return Started(_command, [str(word) for word in words], cwd=cwd, **environment)


def run_cli(*words: object, cwd: Path | None = None, **environment: str) -> CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return _ended(start_cli(*words, cwd=cwd, **environment))


def run_two_cli(
    *words: object, must_succeed: bool = False, **environment: str
) -> list[CompletedProcess[str]]:
    """Run the command line in two processes that work together."""
    done = _both(_command, [str(word) for word in words], environment=environment)
    return _checked(done) if must_succeed else done


def run_two(function: Callable[..., object], *arguments: object) -> None:
    """Call a function in two processes that work together, and check that they succeed."""
    _checked(_both(function, *arguments, environment={}))


def _checked(done: list[CompletedProcess[str]]) -> list[CompletedProcess[str]]:
    assert [process.returncode for process in done] == [0, 0], [each.stderr for each in done]
    return done


def _both(
    function: Callable[..., object], *arguments: object, environment: dict[str, str]
) -> list[CompletedProcess[str]]:
    """Run two processes that find what torchrun sets in their environment.

    Like torchrun, this process holds the store in which they meet: it listens before they begin.
    """
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    both = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    both |= {"TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    ranks = [{"RANK": rank, "LOCAL_RANK": rank, **both, **environment} for rank in ("0", "1")]
    processes = [Started(function, *arguments, **each) for each in ranks]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(_ended, processes))


class RunOfStudy:
    """What `landscape.study.execute` needs of `subprocess.Popen` to start a run."""

    def __init__(
        self, command: Sequence[str], *, stdout: TextIO, env: dict[str, str], **_: object
    ) -> None:
        assert "landscape_cli.sweep.run" in command
        self._process = Started(_do_run, command[-1], stdout.name, **env)

    def __enter__(self) -> RunOfStudy:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def wait(self, seconds: float) -> int:
        """Return the exit code."""
        return self._process.wait(seconds)

    def terminate(self) -> None:
        """Ask the process to stop."""
        self._process.send_signal(signal.SIGTERM)


def _do_run(job: str, log: str) -> None:
    """Be `python -m landscape_cli.sweep.run`, in a session of its own."""
    from landscape_cli.sweep.run import run_job

    os.setsid()
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["run", job]
    run_job()


def fork_runs_of_studies(patch: pytest.MonkeyPatch) -> None:
    """Let sweeps fork the processes of their runs."""
    names = ("PIPE", "STDOUT", "TimeoutExpired")
    forking = {name: getattr(subprocess, name) for name in names} | {"Popen": RunOfStudy}
    patch.setattr("landscape.study.execute.subprocess", SimpleNamespace(**forking))


def torchrun_cli(
    *words: object, options: Sequence[str] = (), **environment: str
) -> CompletedProcess[str]:
    """Run the command line in two processes of torchrun itself, which takes several seconds."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    command = [sys.executable, *launcher, "-m", "landscape_cli", *map(str, words)]
    settings = {**os.environ, **PLAIN, **environment}
    return subprocess.run(
        command, capture_output=True, text=True, env=settings, timeout=TIMEOUT, check=False
    )


def _ended(process: Started) -> CompletedProcess[str]:
    out, err = process.communicate()
    assert process.returncode is not None
    return CompletedProcess([], process.returncode, out, err)
