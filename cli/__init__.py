"""The command line: options, one library call, save, print."""

import sys

import landscape

if "open_problem" not in getattr(landscape, "__all__", ()):  # another distribution's package
    sys.exit(
        f"Error: the package `landscape` in {landscape.__file__} is not landscape-toolkit's.\n"
        "Hint: another distribution has the same name. Run `pip uninstall landscape`, then "
        "`pip install --force-reinstall --no-deps landscape-toolkit`, or use an environment "
        "of its own."
    )
