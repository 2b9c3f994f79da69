import csv
import io

import pytest

from landscape.report import Table

TABLE = Table("A & B", ["name", "lambda_max"], [["a|b_c", "1.0 ± 0.1"], ["100 %", "-2.5"]], ["p < 2."])


def test_markdown_has_a_line_a_row_and_escapes_bars():
    lines = TABLE.as_markdown().splitlines()
    assert lines[2:6] == [
        "| name | lambda_max |",
        "| --- | ---: |",
        "| a\\|b_c | 1.0 ± 0.1 |",
        "| 100 % | -2.5 |",
    ]
    assert (lines[0], lines[-1]) == ("**A & B**", "p < 2.")


def test_latex_uses_booktabs_and_escapes_what_is_special():
    text = TABLE.as_latex()
    for line in (
        r"\caption{A \& B}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"name & $\lambda_{\max}$ \\",
        r"\midrule",
        r"a\textbar{}b\_c & 1.0 $\pm$ 0.1 \\",
        r"100 \% & $-$2.5 \\",
        r"\bottomrule",
    ):
        assert line in text.splitlines()
    assert r"p \textless{} 2." in text


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("|lambda_max / lambda_min|", r"$|\lambda_{\max} / \lambda_{\min}|$"),
        ("L^Asc - L, rho = 0.05 (x 10^3)", r"$L^{\mathrm{Asc}} - L$, $\rho$ = 0.05 ($\times 10^{3}$)"),
        ("3e-06", r"3$\times 10^{-6}$"),
        ("[-1.5, 2]", "[$-$1.5, 2]"),
        ("lambda_1", r"$\lambda_{1}$"),
        ("N-step", "N-step"),
        (r"a\b{c}~^#$", r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}\#\$"),
    ],
)
def test_latex_has_symbols_for_what_text_spells_out(text, latex):
    assert f"\\caption{{{latex}}}" in Table(text, ["a"], []).as_latex()


def test_csv_is_read_back():
    table = Table("", ["name", "value"], [['a "quoted", name', "1"], ["b", "2"]])
    assert list(csv.reader(io.StringIO(table.as_csv()))) == [["name", "value"], ['a "quoted", name', "1"], ["b", "2"]]
