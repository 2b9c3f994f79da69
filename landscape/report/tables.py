"""A table of texts as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from landscape.errors import printable, require
from landscape.results.display import label_cell

_NUMBER = re.compile(r"\(?[+\-\N{MINUS SIGN}]?(\d[\d,]*\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FIGURES = re.compile(r"[-+\d\s.,eE()%\N{MINUS SIGN}\N{PLUS-MINUS SIGN}]*|[-+]?(nan|inf)")
_MISSING = ("", "-", "\N{EN DASH}", "nan", "inf", "-inf")

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--",
    "\N{GREEK SMALL LETTER LAMDA}": r"$\lambda$",
    "\N{GREEK SMALL LETTER RHO}": r"$\rho$",
    "\N{GREEK SMALL LETTER SIGMA}": r"$\sigma$",
}

_SYMBOLS = (
    (r"lambda\\_(max|min)\b", r"$\\lambda_{\\\1}$"),
    (r"lambda\\_(\d+)\b", r"$\\lambda_{\1}$"),
    (r"\\textbar\{\}\$([^$]+)\$ / \$([^$]+)\$\\textbar\{\}", r"$|\1 / \2|$"),
    (r"(?<!\\)\brho\b", r"$\\rho$"),
    (r"\bx 10\\textasciicircum\{\}(\d+)", r"$\\times 10^{\1}$"),
    (r"(?<=[\d)])e-0*(\d+)\b", r"$\\times 10^{-\1}$"),
    (r"(?<=[\d)])e\+0*(\d+)\b", r"$\\times 10^{\1}$"),
    (r"\bL\\textasciicircum\{\}(\w+) - L\b", r"$L^{\\mathrm{\1}} - L$"),
    (r"(?<![\w}{$.-])-(?=\d)", "$-$"),
)
"""What stands for a symbol in the text of a table, escaped -> the symbol."""


@dataclass(frozen=True)
class Table:
    """Texts in rows and columns; in LaTeX, `lambda_max`, `rho` and `10^3` become symbols.

    A column of which every cell begins with a number, or is empty or a dash, is aligned to the
    right.

    Attributes:
        title: What it shows; may be empty.
        columns: A name for each column.
        rows: Cells, one a column, in each row.
        notes: Sentences that belong under it.
        bold: Row and column of each cell that is in bold, counted from 0.

    Raises:
        InputError: If there is no column, or a row has not one cell for each.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    bold: frozenset[tuple[int, int]] = frozenset()

    def __post_init__(self) -> None:
        require(self.columns, "a table must have at least one column, got none.")
        for number, row in enumerate(self.rows, 1):
            require(
                len(row) == len(self.columns),
                f"each row must have a cell for each of {len(self.columns)} columns, row "
                f"{number} has {len(row)}.",
            )

    def transposed(self) -> Table:
        """Return the table with a row for each column; the first column becomes the head."""
        head, *rows = zip(self.columns, *self.rows, strict=True)
        bold = frozenset((column - 1, row + 1) for row, column in self.bold if column)
        return Table(self.title, head, rows, self.notes, bold)

    def as_markdown(self) -> str:
        """Return the table as GitHub's Markdown: the title in bold, the table, then the notes."""
        rows = [list(map(_markdown, self.columns)), *self._texts(_markdown, "**{}**")]
        widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(self.columns))]
        rules = [
            "-" * (width - 1) + ":" if right else "-" * width
            for width, right in zip(widths, self._is_right, strict=True)
        ]
        head, *body = [self._line(row, widths) for row in rows]
        title = [f"**{_markdown(self.title)}**", ""] if self.title else []
        notes = [part for note in self.notes for part in ("", _markdown(note))]
        return "\n".join([*title, head, self._line(rules, widths), *body, *notes]) + "\n"

    def as_latex(self) -> str:
        """Return a LaTeX float with booktabs, with the title as its caption and notes below."""
        texts = [map(_latex, self.columns), *self._texts(_latex, r"\textbf{{{}}}")]
        head, *body = [" & ".join(row) + r" \\" for row in texts]
        caption = [rf"\caption{{{_latex(self.title)}}}"] if self.title else []
        lines = [
            r"\begin{table}",
            r"\centering",
            *caption,
            rf"\begin{{tabular}}{{{''.join('lr'[right] for right in self._is_right)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\smallskip{{\footnotesize {_latex(note)}}}" for note in self.notes),
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def as_csv(self) -> str:
        """Return columns and rows as RFC 4180, but with plain newlines and no title or notes.

        A cell that a spreadsheet would take for a formula has an apostrophe before it.
        """
        rows = [map(_csv, row) for row in (self.columns, *self.rows)]
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(rows)
        return file.getvalue()

    @property
    def _is_right(self) -> list[bool]:
        """Whether each column is aligned to the right."""
        return [all(map(_is_numeric, cells)) for cells in zip(*self.rows, strict=True)] or [
            False
        ] * len(self.columns)

    def _texts(self, escape: Callable[[str], str], bold: str) -> list[list[str]]:
        """Return the cells of the rows, escaped, those in bold as a format has them."""
        return [
            [
                bold.format(escape(cell)) if (i, j) in self.bold else escape(cell)
                for j, cell in enumerate(row)
            ]
            for i, row in enumerate(self.rows)
        ]

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, self._is_right, strict=True)
        ]
        return f"| {' | '.join(padded)} |"


def _is_numeric(cell: str) -> bool:
    return cell.strip() in _MISSING or _NUMBER.match(cell.strip()) is not None


def _markdown(text: str) -> str:
    """Escape the characters that are special in Markdown, except underscores within words."""
    text = printable(" ".join(text.split()))
    text = re.sub(r"([\\`*|\[\]<>])", r"\\\1", text)
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def _csv(cell: str) -> str:
    return cell if _FIGURES.fullmatch(cell) else label_cell(cell)


def _latex(text: str) -> str:
    """Escape the characters that are special in LaTeX, and set spelled-out symbols as symbols."""
    one_line = printable(" ".join(text.split()))
    escaped = "".join(_LATEX.get(character, character) for character in one_line)
    for pattern, symbol in _SYMBOLS:
        escaped = re.sub(pattern, symbol, escaped)
    return escaped
