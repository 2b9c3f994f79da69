"""Molecules as graphs: TUDataset data sets, read from their published text files."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from landscape.data.publications import PUBLICATIONS
from landscape.data.tu_files import TuFiles
from landscape.errors import from_extra

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
