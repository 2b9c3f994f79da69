"""Run the command line as `python -m landscape_cli`."""

from .app import main

main()
