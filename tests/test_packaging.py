import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import landscape

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


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with a source distribution and a wheel, built from a copy of the source."""
    folder = tmp_path_factory.mktemp("built")
    hidden = shutil.ignore_patterns(".*", "runs", "build", "tests", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=hidden)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder]
    subprocess.run([*build, folder / "source"], check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_a_built_wheel_holds_every_module_and_what_they_read(built):
    kinds = (".py", ".html", ".js", "py.typed")
    (wheel,) = built.glob("landscape_toolkit-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(kinds)}
    folders = _settings()["tool"]["setuptools"]["package-dir"]
    expected = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in folders.items()
        for path in (ROOT / folder).rglob("*")
        if path.name.endswith(kinds)
    }
    assert held == expected


@pytest.mark.slow
def test_the_built_distributions_pass_the_checks_of_an_index(built):
    check = [sys.executable, "-m", "twine", "check", "--strict", *built.glob("landscape_toolkit-*")]
    subprocess.run(check, check=True, capture_output=True)


@pytest.mark.slow
def test_images_and_links_of_a_released_readme_are_absolute(built):
    (wheel,) = built.glob("landscape_toolkit-*.whl")
    with zipfile.ZipFile(wheel) as held:
        (name,) = (name for name in held.namelist() if name.endswith("METADATA"))
        text = held.read(name).decode()
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert any(target.endswith(".png") for target in targets)
    assert [target for target in targets if not target.startswith("https://")] == []


def test_the_version_is_stated_once_and_cited():
    version = _settings()["project"]["version"]
    assert landscape.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_torchvision_is_needed_by_nothing():
    for path in [*(ROOT / "landscape").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]:
        assert "import torchvision" not in path.read_text()
