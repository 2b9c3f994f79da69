"""Run the command line as `python -m landscape_cli`."""

from .program import main

main()
