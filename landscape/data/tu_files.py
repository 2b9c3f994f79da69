"""Text files of the TUDataset collection: parsed, and checked against each other, line by line."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from landscape.errors import DataError

_LABELS = re.compile(rb"-?\d{1,3}( *, *-?\d{1,3})*")

_LINES = {
    "A": (re.compile(rb"\d{1,9} *, *\d{1,9}"), "two numbers of nodes"),
    "graph_indicator": (re.compile(rb"\d{1,9}"), "the number of a graph"),
    "graph_labels": (re.compile(rb"-?\d{1,3}"), "a class number of at most three digits"),
    "node_labels": (_LABELS, "the kind of a node, a number of at most three digits"),
    "edge_labels": (_LABELS, "the kind of an edge, a number of at most three digits"),
}
"""What each line of the files NAME_A.txt and so on must be."""

_OPTIONAL = ("edge_labels",)


@dataclass(frozen=True)
class TuFiles:
    """The files of one data set.

    Attributes:
        name: The data set's, which the files' names begin with.
        source: A folder or a .zip archive that holds them.
        again: How to get them again, for messages.
    """

    name: str
    source: Path
    again: str

    def read(self) -> dict[str, Tensor]:
        """Return the numbers of every line, int64 (lines, columns), by the file name after NAME_.

        Every edge is of two nodes of one graph; nodes are in the order of their graphs, and each
        graph has some.

        Raises:
            DataError: If a file is missing or cannot be read; naming file and line if one is not as
                it must be.
        """
        try:
            texts = dict(self._contents())
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as exc:
            raise DataError(f"{self.source} cannot be read: {exc}.", hint=self.again) from exc
        missing = [
            self.file_name(part) for part in _LINES if part not in texts and part not in _OPTIONAL
        ]
        if missing:
            raise DataError(f"{self.source} must contain {', '.join(missing)}.", hint=self.again)
        tables = {part: self._parse(part, content) for part, content in texts.items()}
        self._check_graphs(tables["graph_indicator"].squeeze(1))
        self._check_lengths(tables)
        self._check_edges(tables["A"], tables["graph_indicator"].squeeze(1))
        return tables

    def file_name(self, part: str) -> str:
        """Return NAME_PART.txt."""
        return f"{self.name}_{part}.txt"

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield part and content of every file of the folder, or of the archive's folder NAME."""
        parts = {self.file_name(part): part for part in _LINES}
        if self.source.is_dir():
            found = {name: self.source / name for name in parts}
            yield from (
                (parts[name], path.read_bytes()) for name, path in found.items() if path.is_file()
            )
            return
        with zipfile.ZipFile(self.source) as archive:
            for member in archive.namelist():
                path = PurePosixPath(member)
                if path.parent.name == self.name and path.name in parts:
                    yield parts[path.name], archive.read(member)

    def _parse(self, part: str, content: bytes) -> Tensor:
        pattern, expected = _LINES[part]
        lines = [line.strip() for line in content.rstrip().split(b"\n")]
        commas = lines[0].count(b",")
        for number, line in enumerate(lines, start=1):
            if not pattern.fullmatch(line):
                raise self.error(
                    part, number, f"must be {expected}, got {line[:30].decode(errors='replace')!r}"
                )
            if line.count(b",") != commas:
                raise self.error(
                    part, number, f"must have as many numbers as the lines above, {commas + 1}"
                )
        return torch.tensor([int(word) for line in lines for word in line.split(b",")]).view(
            len(lines), commas + 1
        )

    def _check_lengths(self, tables: dict[str, Tensor]) -> None:
        num_nodes = len(tables["graph_indicator"])
        expected = {"node_labels": num_nodes, "graph_labels": int(tables["graph_indicator"][-1])}
        for part, length in {**expected, "edge_labels": len(tables["A"])}.items():
            if part in tables and len(tables[part]) != length:
                shorter = min(length, len(tables[part]))
                raise self.error(
                    part, shorter + 1, f"the file must have {length} lines, got {len(tables[part])}"
                )

    def _check_graphs(self, graph: Tensor) -> None:
        steps = graph.diff(prepend=torch.zeros(1, dtype=graph.dtype))
        bad = (steps != 0) & (steps != 1)
        bad[0] = graph[0] != 1
        if bad.any():
            number = int(bad.nonzero()[0])
            raise self.error(
                "graph_indicator",
                number + 1,
                f"graphs must be numbered from 1, one after another, got {graph[number]}",
            )

    def _check_edges(self, edges: Tensor, graph: Tensor) -> None:
        is_outside = ((edges < 1) | (edges > len(graph))).any(dim=1)
        if is_outside.any():
            number = int(is_outside.nonzero()[0])
            raise self.error(
                "A",
                number + 1,
                f"nodes must be from 1 to {len(graph)}, got {edges[number].tolist()}",
            )
        ends = graph[edges - 1]
        leads_out = ends[:, 0] != ends[:, 1]
        if leads_out.any():
            number = int(leads_out.nonzero()[0])
            first, second = ends[number].tolist()
            raise self.error(
                "A", number + 1, f"an edge leads out of its graph, from {first} to {second}"
            )

    def error(self, part: str, line: int, complaint: str) -> DataError:
        """Say what is wrong with which line, counted from 1."""
        name = self.file_name(part)
        where = self.source / name if self.source.is_dir() else f"{name} in {self.source}"
        return DataError(f"{where}, line {line}: {complaint}.", hint=self.again)
