"""Tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

_LATEX_SPECIAL = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--",
}
_LATEX_SYMBOLS = (
    (r"lambda\\_(max|min)\b", r"$\\lambda_{\\\1}$"),
    (r"lambda\\_(\d+)\b", r"$\\lambda_{\1}$"),
    (r"\\textbar\{\}\$([^$]+)\$ / \$([^$]+)\$\\textbar\{\}", r"$|\1 / \2|$"),
    (r"\brho\b", r"$\\rho$"),
    (r"\bx 10\\textasciicircum\{\}(\d+)", r"$\\times 10^{\1}$"),
    (r"(?<=\d)e-0*(\d+)\b", r"$\\times 10^{-\1}$"),
    (r"(?<=\d)e\+0*(\d+)\b", r"$\\times 10^{\1}$"),
    (r"\bL\\textasciicircum\{\}(\w+) - L\b", r"$L^{\\mathrm{\1}} - L$"),
    (r"(?<![\w}{$.-])-(?=\d)", "$-$"),
)
"""What stands for a symbol in the text of a table, escaped -> the symbol."""


@dataclass(frozen=True)
class Table:
    """Text in rows and columns; in LaTeX, `lambda_max`, `rho` and `10^3` become symbols.

    Attributes:
        title: What it shows.
        columns: Headings, the first of the names of the rows.
        rows: As many texts each as there are columns.
        notes: Sentences under the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def as_markdown(self) -> str:
        """Return the table in GitHub's Markdown, numbers to the right."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [f"| {' | '.join(map(_markdown, row))} |" for row in (self.columns, rule, *self.rows)]
        return "\n".join([f"**{_markdown(self.title)}**", "", *lines, *(f"\n{_markdown(note)}" for note in self.notes)])

    def as_latex(self) -> str:
        """Return the table for the booktabs package, as a float with a caption."""
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{_latex(self.title)}}}"]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}", r"\toprule", _latex_row(self.columns)]
        lines += [r"\midrule", *map(_latex_row, self.rows), r"\bottomrule", r"\end{tabular}"]
        lines += [rf"\par\smallskip{{\footnotesize {_latex(note)}}}" for note in self.notes]
        return "\n".join([*lines, r"\end{table}"])

    def as_csv(self) -> str:
        """Return columns and rows as RFC 4180 has them; title and notes are left out."""
        text = io.StringIO()
        csv.writer(text).writerows([self.columns, *self.rows])
        return text.getvalue()


def _markdown(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    escaped = "".join(_LATEX_SPECIAL.get(sign, sign) for sign in text)
    for pattern, symbol in _LATEX_SYMBOLS:
        escaped = re.sub(pattern, symbol, escaped)
    return escaped
