"""Molecules as graphs: TUDataset data sets, read from their published text files.

The files are parsed, and checked against each other, line by line.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from landscape.data.publications import PUBLICATIONS
from landscape.errors import DataError, from_extra, require

Graphs: TypeAlias = list[Any]
"""`torch_geometric.data.Data` with x (n, F), edge_index (2, m), edge_attr (m, E) and y (1,)."""

_TRAIN_SHARE = 0.7
_SEED = 0


def tu_dataset(name: str, /, *, data_dir: str | None = None) -> tuple[Graphs, Graphs]:
    """Read a data set of molecules: Mutagenicity or MUTAG.

    Mutagenicity has 4,337 molecules of 14 kinds of atoms, mutagen (class 0) or not (class 1);
    MUTAG has 188 of 7 kinds, in two classes.

    Args:
        name: "mutagenicity" or "mutag".
        data_dir: Folder that holds Mutagenicity/ or Mutagenicity.zip, MUTAG/ or MUTAG.zip, or the
            folder itself.

    Returns:
        Training and test graphs, drawn once with a fixed seed: 3,035 and 1,302, or 131 and 57.

    Raises:
        InputError: If PyTorch Geometric is missing.
        DataError: If a file is missing or damaged.

    Source:
        Kazius, McGuire & Bursi (2005), J. Med. Chem. 48(1), and Debnath et al. (1991), J. Med.
        Chem. 34(2); Morris et al. (2020), TUDataset, arXiv:2007.08663.
    """
    publication = PUBLICATIONS[name]
    (source,) = publication.locate(data_dir)
    prefix = publication.files[0].name.removesuffix(".zip")
    graphs = _build_graphs(TuFiles(prefix, source, publication.get_again(source)).read())
    order = torch.randperm(len(graphs), generator=torch.Generator().manual_seed(_SEED)).tolist()
    num_train = int(_TRAIN_SHARE * len(graphs))
    return [graphs[i] for i in order[:num_train]], [graphs[i] for i in order[num_train:]]


def _build_graphs(tables: dict[str, Tensor]) -> Graphs:
    """Cut nodes and edges into graphs, with edges sorted and unique as in PyTorch Geometric."""
    with from_extra("graphs", "PyTorch Geometric"):
        from torch_geometric.data import Data  # pyright: ignore[reportMissingImports]
        from torch_geometric.utils import coalesce, remove_self_loops  # pyright: ignore[reportMissingImports]

    graph = tables["graph_indicator"].squeeze(1) - 1
    kinds = _one_hot(tables["edge_labels"]) if "edge_labels" in tables else None
    edges, edge_attr = coalesce(*remove_self_loops(tables["A"].T - 1, kinds), num_nodes=len(graph))
    num_nodes = graph.bincount()
    num_edges = graph[edges[0]].bincount(minlength=len(num_nodes)).tolist()
    first_node = num_nodes.cumsum(0) - num_nodes
    parts: dict[str, Any] = {
        "x": _one_hot(tables["node_labels"]).split(num_nodes.tolist()),
        "edge_index": (edges - first_node[graph[edges[0]]]).split(num_edges, dim=1),
        "y": tables["graph_labels"].unique(return_inverse=True)[1].squeeze(1).split(1),
    }
    if edge_attr is not None:
        parts["edge_attr"] = edge_attr.split(num_edges)
    return [
        Data(**dict(zip(parts, values, strict=True)))
        for values in zip(*parts.values(), strict=True)
    ]


def _one_hot(labels: Tensor) -> Tensor:
    """Return float32 (n, kinds of all columns), the smallest label of each column first."""
    columns = (labels - labels.amin(dim=0)).unbind(dim=1)
    return torch.cat([F.one_hot(column) for column in columns], dim=1).float()


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
_MOST_BYTES = 1 << 25  # ten times the longest of these files


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
        complaint = f"{self.source} must contain {', '.join(missing)}."
        require(not missing, complaint, self.again, kind=DataError)
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
                (parts[name], self._content(path, path.stat().st_size, path.read_bytes))
                for name, path in found.items()
                if path.is_file()
            )
            return
        with zipfile.ZipFile(self.source) as archive:
            for member in archive.namelist():
                path = PurePosixPath(member)
                if path.parent.name == self.name and path.name in parts:
                    size = archive.getinfo(member).file_size
                    yield parts[path.name], self._content(path, size, partial(archive.read, member))

    def _content(self, path: PurePath, size: int, read: Callable[[], bytes]) -> bytes:
        """Read a file unless it is longer than any such file is."""
        require(
            size <= _MOST_BYTES,
            f"{path} in {self.source} must have at most {_MOST_BYTES} bytes, got {size}.",
            self.again,
            kind=DataError,
        )
        return read()

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
        rule = "graphs must be numbered from 1, one after another"
        self._refuse(bad, "graph_indicator", lambda number: f"{rule}, got {graph[number]}")

    def _check_edges(self, edges: Tensor, graph: Tensor) -> None:
        is_outside = ((edges < 1) | (edges > len(graph))).any(dim=1)
        rule = f"nodes must be from 1 to {len(graph)}"
        self._refuse(is_outside, "A", lambda number: f"{rule}, got {edges[number].tolist()}")
        first, second = graph[edges - 1].unbind(dim=1)
        self._refuse(
            first != second,
            "A",
            lambda i: f"an edge leads out of its graph, from {first[i]} to {second[i]}",
        )

    def _refuse(self, is_bad: Tensor, part: str, complain: Callable[[int], str]) -> None:
        """Raise the error of the first line that is bad, if any; lines are counted from 0."""
        if is_bad.any():
            number = int(is_bad.nonzero()[0])
            raise self.error(part, number + 1, complain(number))

    def error(self, part: str, line: int, complaint: str) -> DataError:
        """Say what is wrong with which line, counted from 1."""
        name = self.file_name(part)
        where = self.source / name if self.source.is_dir() else f"{name} in {self.source}"
        return DataError(f"{where}, line {line}: {complaint}.", hint=self.again)
