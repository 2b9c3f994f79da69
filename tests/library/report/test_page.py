import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_entries import entry, spectrum

from landscape.report.document import Report
from landscape.report.measuring import MeasuringPlan
from landscape.report.page import draw_figures, render_page, with_symbols, write_report
from landscape.report.report_rows import report_rows


class _Page(HTMLParser):
    """Collects what a page refers to, and whether its tags are balanced."""

    VOID = ("meta", "img", "link", "br", "hr")

    def __init__(self, text):
        super().__init__()
        self.references, self.open, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.references += [
            found[name] for name in ("src", "href", "srcset", "action") if name in found
        ]
        self.ids.add(found.get("id"))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report():
    return Report(
        [entry("sgd", rise=0.02), entry("sam")],
        MeasuringPlan(),
        ["compare", "a b.pt", "c.pt"],
        Path("r"),
    )


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    return render_page(report, draw_figures(report, tmp_path_factory.mktemp("figures")))


def test_the_page_begins_with_the_answer(page, report):
    # two radii of one measure are one vote; the test losses are the same, example by example
    assert report.headline == (
        "sam is flatter than sgd by the only measure. The sharpest directions of sgd and sam are "
        "alike within their errors. The test losses of sam and sgd cannot be told apart."
    )
    assert page.index(report.headline) < page.index("At a glance")


def test_papers_are_cited_by_their_authors(page):
    assert not re.search(r"\bS00\d\b", page)


def test_the_page_refers_to_nothing_outside_itself(page):
    references = _Page(page).references
    assert any(reference.startswith("data:image/svg+xml;base64,") for reference in references)
    assert all(reference.startswith(("data:image/", "#")) for reference in references)
    assert not re.search(r"@import|url\(|<script|<link|<iframe", page)


def test_every_link_within_the_page_has_its_place_and_every_tag_its_end(page):
    found = _Page(page)
    assert found.open == []
    assert {
        reference[1:] for reference in found.references if reference.startswith("#")
    } <= found.ids


def test_every_number_is_on_the_page_with_its_error(page, report):
    text = re.sub(r"<[^>]+>", "", page)
    for row in report_rows(report.rho):
        for each in report.entries:
            number = row.shown(each)
            for part in filter(None, (number.main, number.spread)):
                assert re.sub(r"<[^>]+>", "", with_symbols(part)) in text, row.key


def test_the_command_is_on_the_page_as_a_shell_takes_it(page):
    assert "landscape compare &#39;a b.pt&#39; c.pt" in page
    assert "torch 2.0" in page


def test_names_are_text_and_never_markup(tmp_path):
    report = Report([entry("<script>alert(1)</script>")], MeasuringPlan())
    page = render_page(report, draw_figures(report, tmp_path))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_light_and_dark_and_phones_have_rules(page):
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media (max-width: 40rem)" in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page


def test_a_report_of_nothing_is_still_a_page(tmp_path):
    report = Report([replace(entry(), detail=None, spectrum=None)], MeasuringPlan())
    page = render_page(report, draw_figures(report, tmp_path))
    assert "sharpness, spectrum, line, plane not reached in time" in page
    assert "Figures" not in page


def test_what_is_uncertain_is_said_beside_the_number(tmp_path):
    report = Report([entry(spectrum=spectrum(bottom=-0.1, converged=False))], MeasuringPlan())
    page = render_page(report, [])
    assert '<span class="remark">not converged</span>' in page
    assert '<span class="remark">undefined: the denominator is 0 within its error</span>' in page


def test_symbols_are_html_and_the_rest_is_escaped():
    assert with_symbols("|lambda_max| < rho, x 10^3, -1.5e-06") == (
        "|λ<sub>max</sub>| &lt; ρ, × 10<sup>3</sup>, −1.5 × 10<sup>−6</sup>"
    )


def test_all_formats_are_written(report, tmp_path):
    write_report(report, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"index.html", "report.json", "table.csv", "table.md", "table.tex", "figures"}
    assert r"\begin{table}" in (tmp_path / "table.tex").read_text()
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "sharpness.svg",
        "differences.svg",
    }
