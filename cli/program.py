"""How the program starts and ends: its streams, Ctrl-C, and memory that is too small.

Nothing of ours is imported before `main`, so that all of this holds during the imports too.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
from collections.abc import Container
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType
from typing import NoReturn

CTRL_C = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
"""Exit codes of a command that was stopped."""

_JUDGES = ("assert", "audit-optimizer", "doctor", "verify")
"""Commands that exit with 1 where the answer is no."""

_IMPORTING = "<frozen importlib._bootstrap>"
_COMMAND = "_Group.invoke"
_TORCH_SHARE = 1.2  # of the size of its libraries: the memory that importing torch takes at least


def main() -> None:
    """Run the application, and exit."""
    prepare_streams()
    atexit.register(gc.freeze)  # or the interpreter looks through all of torch once more as it ends
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # called last
    sys.meta_path.insert(0, _RoomForTorch())
    try:
        _require_own_library()
        import_module(f"{__package__}.app").app()
    except Exception as exc:
        from landscape.errors import is_out_of_memory

        code = error_code(next(iter(sys.argv[1:]), None))
        if not is_out_of_memory(exc):
            sys.excepthook(type(exc), exc, exc.__traceback__)
            sys.exit(code)
        # Whatever takes more memory, such as a library that is torn down half imported, may fail.
        _end(code, b"Error: there is not enough memory.\nHint: Free some, or raise its limit.\n")


def error_code(command: str | None) -> int:
    """Return the exit code of a command that an error ended, which is never that of a "no"."""
    return 2 if command in _JUDGES else 1


def prepare_streams() -> None:
    """Let no message end a command.

    A stream that is closed becomes the null device, or the next file that is opened would get its
    number and what libraries print. Characters that the encoding lacks are written as escapes. A
    remark that cannot be written is lost; an answer that cannot be written is an error.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = _Remarks(
        open(2, "wb", closefd=False),  # noqa: SIM115
        encoding=sys.stderr.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


class _Remarks(io.TextIOWrapper):
    """A stream that loses what cannot be written."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def interrupt(frame: FrameType | None, code: int) -> None:
    """Raise KeyboardInterrupt, or end the program in an import, where that may be swallowed.

    Args:
        frame: What is executed.
        code: Exit code of the program.
    """
    if any(each.f_code.co_filename == _IMPORTING for each in _callers(frame)):
        _end(code, b"\nInterrupted.\n")
    raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Stop a command; before and after it, end the program."""
    if not any(each.f_code.co_qualname == _COMMAND for each in _callers(frame)):
        _end(128 + number, b"\nInterrupted.\n")
    interrupt(frame, 128 + number)


def _callers(frame: FrameType | None) -> list[FrameType]:
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


def _end(code: int, message: bytes) -> NoReturn:
    """End the program at once."""
    with suppress(OSError):
        os.write(2, message)
    os._exit(code)


class _RoomForTorch:
    """Refuses to import torch where a limit of memory would end the program in the midst of it."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Return None, so that the module is looked for as always.

        Raises:
            MemoryError: If there is not enough memory.
        """
        if name == "torch" and sys.platform == "linux":
            import resource

            limit = resource.getrlimit(resource.RLIMIT_AS)[0]
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            spec = PathFinder.find_spec(name)
            folder = Path(spec.origin).parent / "lib" if spec and spec.origin else Path()
            size = sum(file.stat().st_size for file in folder.glob("*.so*"))
            if 0 <= limit - used < _TORCH_SHARE * size:
                raise MemoryError
        return None


def _require_own_library() -> None:
    """Exit with a sentence where another distribution's package `landscape` is imported."""
    import landscape

    names: Container[str] = getattr(landscape, "__all__", ())
    if "open_problem" not in names:
        sys.exit(
            f"Error: the package `landscape` in {landscape.__file__} is not landscape-toolkit's.\n"
            "Hint: another distribution has the same name. Run `pip uninstall landscape`, then "
            "`pip install --force-reinstall --no-deps landscape-toolkit`, or use an environment "
            "of its own."
        )
