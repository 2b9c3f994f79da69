"""Run the reduced studies of the papers, and print their tables; `make examples` does.

A study whose data are not in data/ is left out, with what is missing. What is finished is not done
again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

EXAMPLES = Path(__file__).parent
STUDIES = [EXAMPLES / "study_digits.toml", *sorted(EXAMPLES.glob("s*/reduced*.toml"))]


def landscape(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command; a failure is left to the caller."""
    is_asked = "--json" in words
    line = [sys.executable, "-m", "landscape_cli", *map(str, words)]
    return subprocess.run(
        line, stdout=subprocess.PIPE if is_asked else None, text=True, check=False
    )


def states_of_data() -> dict[str, str]:
    """Return whether each data set is there: name -> state."""
    return {
        item["name"]: item["state"]
        for item in json.loads(landscape("data", "list", "--json").stdout)["data"]
    }


def missing_data(study: Path, states: Mapping[str, str]) -> list[str]:
    """Return the names of a study's data sets that are not there."""
    content = tomllib.loads(study.read_text(encoding="utf-8"))
    names = [
        table["data"]
        for table in (content["train"], *content.get("variant", []))
        if "data" in table
    ]
    return [name for name in names if states[name] not in ("embedded", "found")]


def run(study: Path) -> bool:
    """Do a study and print its tables; return whether both succeeded."""
    print(f"{study}:", flush=True)
    return not (
        landscape("sweep", study).returncode or landscape("sweep", study, "--report").returncode
    )


def main() -> int:
    """Return the exit code: 1 if a study failed."""
    states, failed = states_of_data(), []
    for study in STUDIES:
        if missing := missing_data(study, states):
            print(
                f"{study}: left out, data/ lacks {', '.join(missing)}; see landscape data list.",
                flush=True,
            )
        elif not run(study):
            failed.append(study.name)
    print(f"Failed: {', '.join(failed) or 'none'}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
