import csv
import io
import shutil
import subprocess

import pytest

from landscape.errors import InputError
from landscape.report.tables import Table

SIMPLE = Table(
    "Two runs", ("name", "loss"), (("SGD", "0.5"), ("SAM", "0.25 ± 0.1")), ("Means over 3 seeds.",)
)
NASTY = (
    "a|b",
    r"c:\d",
    "50 %",
    "x_1",
    "_x_",
    "A & B",
    "$5",
    "#1",
    "{y}",
    "~",
    "2^3",
    "<b>",
    "*z*",
    "`w`",
    '"no"',
)


def test_markdown_is_a_table_with_the_title_before_and_the_notes_after():
    assert SIMPLE.as_markdown() == (
        "**Two runs**\n\n"
        "| name |       loss |\n"
        "| ---- | ---------: |\n"
        "| SGD  |        0.5 |\n"
        "| SAM  | 0.25 ± 0.1 |\n"
        "\nMeans over 3 seeds.\n"
    )


def test_latex_is_a_booktabs_float():
    assert SIMPLE.as_latex().splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Two runs}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"name & loss \\",
        r"\midrule",
        r"SGD & 0.5 \\",
        r"SAM & 0.25 $\pm$ 0.1 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip{\footnotesize Means over 3 seeds.}",
        r"\end{table}",
    ]


def test_csv_has_labels_that_no_spreadsheet_takes_for_formulas():
    labels = ["=1+1", "@a", "+a", "-1+cmd|' /C calc'!A0", "\uff1d1", "\t=1", "\x1b[2J"]
    numbers = ["-1.5", "+2e-3", "-", "", "nan", "-inf", "-0.5 \N{PLUS-MINUS SIGN} 0.1", "-1.00 %"]
    text = Table("", ["=a", "b"], [[cell, "x"] for cell in (*labels, *numbers)]).as_csv()
    head, *rows = csv.reader(io.StringIO(text))
    assert head[0] == "'=a"
    found = [row[0] for row in rows]
    assert found[: len(labels)] == [*(f"'{each}" for each in labels[:5]), r"\t=1", r"\x1b[2J"]
    assert found[len(labels) :] == numbers


def test_csv_reads_back_as_what_was_written():
    table = Table("", NASTY, (tuple(reversed(NASTY)), ("two\nlines", *NASTY[1:])))
    assert [tuple(row) for row in csv.reader(io.StringIO(table.as_csv()))] == [
        table.columns,
        *table.rows,
    ]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a|b", r"a\|b"),
        (r"c:\d", r"c:\\d"),
        ("lambda_max", "lambda_max"),
        ("_x_", r"\_x\_"),
        ("a__b", r"a\_\_b"),
        ("*z* `w` <b> [l]", r"\*z\* \`w\` \<b\> \[l\]"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_takes_each_character_for_itself(cell, expected):
    assert Table("", ("x",), ((cell,),)).as_markdown().splitlines()[2] == f"| {expected.ljust(3)} |"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("50 % & $5 #1 x_1", r"50 \% \& \$5 \#1 x\_1"),
        (r"{y}\z", r"\{y\}\textbackslash{}z"),
        ("2^3 ~", r"2\textasciicircum{}3 \textasciitilde{}"),
        ("\N{MINUS SIGN}1 × ρ", r"$-$1 $\times$ $\rho$"),
        ("(3.6 ± 0.4)e-5", r"(3.6 $\pm$ 0.4)$\times 10^{-5}$"),
        ("two\nlines", "two lines"),
    ],
)
def test_latex_takes_each_character_for_itself(cell, expected):
    assert Table("", ("x",), ((cell,),)).as_latex().splitlines()[6] == rf"{expected} \\"


def test_columns_of_numbers_and_gaps_are_aligned_to_the_right():
    table = Table(
        "",
        ("a", "b", "c", "d"),
        (("-", "1e-3", "x1", "-.5 %"), ("98.6 %", "", "2", "\N{MINUS SIGN}3")),
    )
    assert table.as_markdown().splitlines()[1].count("-:") == 3
    assert r"{rrlr}" in table.as_latex()


def test_the_transpose_of_the_transpose_is_the_table():
    table = SIMPLE.transposed()
    assert (table.columns, list(table.rows)) == (
        ("name", "SGD", "SAM"),
        [("loss", "0.5", "0.25 ± 0.1")],
    )
    assert table.transposed().as_markdown() == SIMPLE.as_markdown()


def test_a_table_without_rows_has_its_head():
    assert Table("", ("a", "b"), ()).as_markdown().splitlines() == [
        "| a   | b   |",
        "| --- | --- |",
    ]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not on this machine")
def test_latex_compiles(tmp_path):
    table = Table("50 % & more", NASTY, (NASTY,), ("A note_1.",))
    head = (
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}\\begin{document}\n"
    )
    (tmp_path / "t.tex").write_text(head + table.as_latex() + "\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        ((), (), "at least one column"),
        (("a", "b"), (("1", "2"), ("1",)), "each of 2 columns, row 2 has 1"),
    ],
)
def test_a_table_that_is_none_is_refused(columns, rows, message):
    with pytest.raises(InputError, match=message):
        Table("", columns, rows)


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("|lambda_max / lambda_min|", r"$|\lambda_{\max} / \lambda_{\min}|$"),
        (
            "L^Asc - L, rho = 0.05 (x 10^3)",
            r"$L^{\mathrm{Asc}} - L$, $\rho$ = 0.05 ($\times 10^{3}$)",
        ),
        ("3e-06", r"3$\times 10^{-6}$"),
        ("[-1.5, 2]", "[$-$1.5, 2]"),
        ("lambda_1", r"$\lambda_{1}$"),
        ("N-step", "N-step"),
    ],
)
def test_latex_has_symbols_for_what_text_spells_out(text, latex):
    assert f"\\caption{{{latex}}}" in Table(text, ["a"], []).as_latex()
