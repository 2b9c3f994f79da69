"""The command line: options, one library call, save, print."""

import sys
from collections.abc import Container

import landscape


def _require_own_library(path: str, names: Container[str]) -> None:
    """Exit with a sentence where another distribution's package `landscape` is imported.

    Args:
        path: File of the package that was imported.
        names: What it offers.
    """
    if "open_problem" not in names:
        sys.exit(
            f"Error: the package `landscape` in {path} is not landscape-toolkit's.\n"
            "Hint: another distribution has the same name. Run `pip uninstall landscape`, then "
            "`pip install --force-reinstall --no-deps landscape-toolkit`, or use an environment "
            "of its own."
        )


_require_own_library(str(landscape.__file__), getattr(landscape, "__all__", ()))
