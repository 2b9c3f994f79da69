"""The command line in a process whose streams, memory or signals are not as usual."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from subprocess import CompletedProcess

from processes import Started


def ended(function: Callable[..., object], *arguments: object) -> CompletedProcess[str]:
    """Call a function in a process of its own, and return what came of it."""
    process = Started(function, *arguments)
    out, err = process.communicate()
    assert process.returncode is not None
    return CompletedProcess([], process.returncode, out, err)


def _command(words: Sequence[object]) -> None:
    from landscape_cli.program import main

    sys.argv = ["landscape", *map(str, words)]
    main()


def with_closed(numbers: Sequence[int], words: Sequence[object]) -> None:
    """Run a command with streams closed, as Python has them then."""
    for number in numbers:
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)
        os.close(number)
    _command(words)


def with_full_disk_for_remarks(words: Sequence[object]) -> None:
    """Run a command whose standard error cannot be written."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
    _command(words)


def with_encoding(encoding: str, words: Sequence[object]) -> None:
    """Run a command whose standard output has a strict encoding."""
    sys.stdout = open(1, "w", encoding=encoding, errors="strict", closefd=False)  # noqa: SIM115
    _command(words)


class _AtImport:
    """Does something when a module is looked for."""

    def __init__(self, module: str, act: Callable[[], object]) -> None:
        self.module = module
        self.act = act

    def find_spec(self, name: str, *_: object) -> None:
        """Find nothing, so that the module is looked for as always."""
        if name == self.module:
            self.act()


def _forget_imports() -> None:
    """Let the command line be imported anew, whatever this process began with."""
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("landscape_cli", "typer"):
            del sys.modules[name]


def interrupted_at_import(module: str, words: Sequence[object]) -> None:
    """Run a command that gets Ctrl-C in the import of a module that swallows exceptions."""

    def act() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException:
            print("swallowed")

    _forget_imports()
    sys.meta_path.insert(0, _AtImport(module, act))
    _command(words)


def failing_at_import(module: str, exc: Exception, words: Sequence[object]) -> None:
    """Run a command in which the import of a module fails."""

    def act() -> None:
        raise exc

    _forget_imports()
    sys.meta_path.insert(0, _AtImport(module, act))
    _command(words)


def with_memory(num_bytes: int, words: Sequence[object]) -> None:
    """Run a command that can take some more memory, and no more than that."""
    import resource

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + num_bytes,) * 2)
    _command(words)
