"""docs/file-format.md tells everything that is in a file, and nothing that is not."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from landscape.io.store import RESULT_KINDS
from landscape.plot.mesh_files import ALL_LAYOUTS
from landscape.results.curvature_parts import BlockCurvature, Fold
from landscape.results.provenance import Provenance
from landscape.results.sharpness import Difference, GroupValue, Measure, Rescaled, Taylor
from landscape.results.spectrum import Density, SecondLook, Trace
from landscape.results.surface import Mark

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "file-format.md").read_text()
ROWS = r"^\| (`.*?`) \|"


def _section(title):
    """The text below a heading, up to the next one of its rank or a higher one."""
    heading = re.search(rf"^(#+) {re.escape(title)}$", TEXT, re.MULTILINE)
    rest = TEXT[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def _names(cls):
    return {field.name for field in fields(cls)}


@pytest.mark.parametrize(("kind", "cls"), RESULT_KINDS.items())
def test_the_table_of_a_kind_has_the_fields_of_its_class(kind, cls):
    own, *_ = re.split(r"^#### ", _section(f"`{kind}`"), maxsplit=1, flags=re.MULTILINE)
    cells = re.findall(ROWS, own, re.MULTILINE)
    documented = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(documented) == sorted(_names(cls))


RECORDS = {
    "Provenance": Provenance,
    "Marks": Mark,
    "Measures": Measure,
    "Taylor": Taylor,
    "Rescaled": Rescaled,
    "Differences": Difference,
    "Groups": GroupValue,
    "Second look": SecondLook,
    "Trace": Trace,
    "Density": Density,
    "Blocks": BlockCurvature,
    "Folds": Fold,
}


@pytest.mark.parametrize(("title", "cls"), RECORDS.items())
def test_the_fields_of_a_record_are_mentioned(title, cls):
    assert _names(cls) <= set(re.findall(r"`(\w+)`", _section(title)))


@pytest.mark.parametrize("name", sorted(set(ALL_LAYOUTS) - {"landscape"}))
def test_a_layout_is_documented(name):
    assert f"`--to {name}`" in TEXT


def test_links_lead_to_headings():
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= anchors
