"""The description of a released package: README.md, its links and images made absolute."""

import re
import tomllib
from pathlib import Path

from setuptools import setup

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]


def absolute(match: re.Match[str]) -> str:
    """Return a Markdown link or image whose relative target is at the released version."""
    mark, text, target = match.groups()
    kind = "raw" if mark else "blob"
    return f"{mark}[{text}]({REPOSITORY}/{kind}/v{PROJECT['version']}/{target})"


setup(
    long_description=re.sub(
        r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)]+)\)", absolute, Path("README.md").read_text()
    ),
    long_description_content_type="text/markdown",
)
