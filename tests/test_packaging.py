import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _settings():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_listed_packages_are_the_folders():
    settings = _settings()["tool"]["setuptools"]
    found = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in settings["package-dir"].items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert set(settings["packages"]) == found


@pytest.mark.slow
def test_a_built_wheel_holds_every_module_and_what_they_read(tmp_path):
    kinds = (".py", ".html", ".js")
    source = tmp_path / "source"
    shutil.copytree(
        ROOT,
        source,
        ignore=shutil.ignore_patterns(".*", "runs", "build", "*.egg-info", "__pycache__"),
    )
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("landscape_toolkit-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(kinds)}
    library = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "landscape").rglob("*")
        if path.name.endswith(kinds)
    }
    commands = {
        f"landscape_cli/{path.relative_to(ROOT / 'cli').as_posix()}"
        for path in (ROOT / "cli").rglob("*.py")
    }
    assert held == library | commands


def test_torchvision_is_needed_by_nothing():
    for path in [*(ROOT / "landscape").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]:
        assert "import torchvision" not in path.read_text()
