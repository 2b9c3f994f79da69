"""Molecules as graphs: data sets of the TUDataset collection, read from their published text files."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from landscape.errors import DataError, first_line, from_extra

Graphs: TypeAlias = list[Any]
"""`torch_geometric.data.Data` with x (n, F), edge_index (2, m), edge_attr (m, E) and y (1,)."""

PAGE = "https://chrsmrrs.github.io/datasets/docs/datasets"

TRAIN_SHARE = 0.7
SEED = 0

NEEDED = ("A", "graph_indicator", "graph_labels", "node_labels")
"""Files NAME_A.txt and so on: edges, the graph of each node, the class of each graph, the kind of each node."""

_NOT_A_DATA_SET = (ValueError, TypeError, IndexError, RuntimeError, AssertionError)
"""What PyTorch Geometric's reader raises on files of other content."""


def mutagenicity(*, data_dir: str | None = None) -> tuple[Graphs, Graphs]:
    """Read Mutagenicity: 4,337 molecules, 14 kinds of atoms, mutagen (class 0) or not (class 1).

    Args:
        data_dir: Folder that holds Mutagenicity/ or Mutagenicity.zip, or the former itself.

    Returns:
        3,035 training and 1,302 test graphs, drawn once with a fixed seed.

    Raises:
        InputError: If PyTorch Geometric is missing.
        DataError: If a file is missing or damaged.

    Source:
        Kazius, McGuire & Bursi (2005), J. Med. Chem. 48(1); Morris et al. (2020), TUDataset, arXiv:2007.08663.
    """
    return read_tu_dataset("Mutagenicity", data_dir)


def mutag(*, data_dir: str | None = None) -> tuple[Graphs, Graphs]:
    """Read MUTAG: 188 molecules, 7 kinds of atoms, two classes.

    Args:
        data_dir: Folder that holds MUTAG/ or MUTAG.zip, or the former itself.

    Returns:
        131 training and 57 test graphs, drawn once with a fixed seed.

    Raises:
        InputError: If PyTorch Geometric is missing.
        DataError: If a file is missing or damaged.

    Source:
        Debnath et al. (1991), J. Med. Chem. 34(2); Morris et al. (2020), TUDataset, arXiv:2007.08663.
    """
    return read_tu_dataset("MUTAG", data_dir)


def read_tu_dataset(name: str, data_dir: str | None) -> tuple[Graphs, Graphs]:
    """Read a data set of the collection; see `mutagenicity`."""
    graphs = _read_graphs(name, _locate(name, data_dir))
    order = torch.randperm(len(graphs), generator=torch.Generator().manual_seed(SEED)).tolist()
    num_train = int(TRAIN_SHARE * len(graphs))
    return [graphs[i] for i in order[:num_train]], [graphs[i] for i in order[num_train:]]


def _read_graphs(name: str, source: Path) -> Graphs:
    with from_extra("graphs", "PyTorch Geometric"):
        from torch_geometric.data import Data  # pyright: ignore[reportMissingImports]
        from torch_geometric.io import read_tu_data  # pyright: ignore[reportMissingImports]

    joined: Any
    with tempfile.TemporaryDirectory() as folder:
        _stage(name, source, Path(folder))
        try:
            joined, slices, _ = read_tu_data(folder, name)
            _check(joined, slices)
        except _NOT_A_DATA_SET as exc:
            raise DataError(
                f"{source} must hold {name} as published, but {first_line(exc)}.", hint=_where_to_get(name)
            ) from exc
    num_nodes = slices["x"].diff()
    num_edges = _count_edges(slices)
    parts: dict[str, Any] = {
        "x": joined.x.split(num_nodes.tolist()),
        "edge_index": joined.edge_index.split(num_edges.tolist(), dim=1),
        "y": joined.y.split(1),
    }
    if joined.edge_attr is not None:
        parts["edge_attr"] = joined.edge_attr.split(num_edges.tolist())
    return [Data(**dict(zip(parts, values, strict=True))) for values in zip(*parts.values(), strict=True)]


def _count_edges(slices: dict[str, Tensor]) -> Tensor:
    """Return the number of edges of each graph (N,); the reader leaves out the last graphs if they have none."""
    counts = slices["edge_index"].diff()
    return F.pad(counts, (0, len(slices["x"]) - 1 - len(counts)))


def _check(joined: Any, slices: dict[str, Tensor]) -> None:
    """Check that the files agree in what they count, which the reader takes for granted."""
    num_nodes, num_graphs = int(slices["x"][-1]), len(slices["x"]) - 1
    if len(joined.x) != num_nodes:
        raise ValueError(f"its node_labels are {len(joined.x)} and its graph_indicator {num_nodes} lines")
    if len(joined.y) != num_graphs:
        raise ValueError(f"it has {len(joined.y)} graph_labels and {num_graphs} graphs")
    last_nodes = slices["x"].diff().repeat_interleave(_count_edges(slices)) - 1
    if (joined.edge_index < 0).any() or (joined.edge_index > last_nodes).any():
        raise ValueError("an edge leads out of its graph")


def _stage(name: str, source: Path, folder: Path) -> None:
    """Write the files into a folder, each ending in one newline: the reader drops what comes after the last."""
    try:
        for file_name, content in _contents(name, source):
            (folder / file_name).write_bytes(content.rstrip() + b"\n")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as exc:
        raise DataError(f"{source} cannot be read: {exc}.", hint=_where_to_get(name)) from exc
    missing = [f"{name}_{part}.txt" for part in NEEDED if not (folder / f"{name}_{part}.txt").is_file()]
    if missing:
        raise DataError(f"{source} must contain {', '.join(missing)}.", hint=_where_to_get(name))


def _contents(name: str, source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield file name and content of every NAME_*.txt of the folder, or of the archive's folder NAME."""
    pattern = f"{name}_*.txt"
    if source.is_dir():
        yield from ((path.name, path.read_bytes()) for path in source.glob(pattern))
        return
    with zipfile.ZipFile(source) as archive:
        for member in archive.namelist():
            path = PurePosixPath(member)
            if path.parent.name == name and path.match(pattern):
                yield path.name, archive.read(member)


def _locate(name: str, data_dir: str | None) -> Path:
    if data_dir is None:
        raise DataError(f"{name} is read from a folder, and none was given.", hint=_where_to_get(name))
    root = Path(data_dir)
    if (root / name).is_dir():
        return root / name
    if (root / f"{name}_A.txt").is_file():
        return root
    if (root / f"{name}.zip").is_file():
        return root / f"{name}.zip"
    found = "holds neither" if root.is_dir() else "is not a folder"
    raise DataError(f"{name} needs {name}.zip or {name}/, but {data_dir} {found}.", hint=_where_to_get(name))


def _where_to_get(name: str) -> str:
    return f"Download {name}.zip from {PAGE}, put it into a folder and pass that folder as --data-dir."
