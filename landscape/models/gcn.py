"""Graph neural networks that classify graphs, with higher-order graph convolutions.

Source:
    Morris et al. (2019), Weisfeiler and Leman Go Neural, arXiv:1810.02244, Eq. 5: each node's new
    features are W1 x + W2 (sum of its neighbours' x) + b.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landscape.errors import from_extra, require
from landscape.models.initialization import check_at_least, check_dropout

TOP_SHARE = 0.8
"""Share of a graph's nodes that each pooling keeps."""


class MeanGCN(nn.Module):
    """Convolutions, the mean over nodes, and two linear layers; see `gcn`."""

    def __init__(
        self, in_features: int, width: int, depth: int, dropout: float, num_classes: int
    ) -> None:
        super().__init__()
        with from_extra("graphs", "PyTorch Geometric"):
            from torch_geometric.nn import GraphConv, MeanAggregation  # pyright: ignore[reportMissingImports]

        self.in_features = in_features
        widths = [in_features, width, *[2 * width] * (depth - 1)]
        self.convolutions = nn.ModuleList(GraphConv(widths[i], widths[i + 1]) for i in range(depth))
        self.mean = MeanAggregation()
        self.dropout = nn.Dropout(dropout)
        self.linear1 = nn.Linear(widths[-1], width)
        self.linear2 = nn.Linear(width, num_classes)

    def forward(self, batch: Any) -> Tensor:
        """Map a batch of N graphs to logits (N, num_classes)."""
        x = _features(batch, self.in_features)
        for convolution in self.convolutions[:-1]:
            x = F.relu(convolution(x, batch.edge_index))
        x = self.convolutions[-1](x, batch.edge_index)
        x = self.mean(x, batch.batch, dim_size=batch.num_graphs)
        return self.linear2(self.dropout(self.linear1(self.dropout(x))))


class TopKGCN(nn.Module):
    """Convolutions and pooling in turn, each stage read out by max and mean; see `gcn_topk`."""

    def __init__(
        self, in_features: int, width: int, depth: int, dropout: float, num_classes: int
    ) -> None:
        super().__init__()
        with from_extra("graphs", "PyTorch Geometric"):
            from torch_geometric.nn import (  # pyright: ignore[reportMissingImports]
                GraphConv,
                MaxAggregation,
                MeanAggregation,
                TopKPooling,
            )

        self.in_features = in_features
        widths = [in_features, *[width] * depth]
        self.convolutions = nn.ModuleList(GraphConv(widths[i], widths[i + 1]) for i in range(depth))
        self.poolings = nn.ModuleList(TopKPooling(width, ratio=TOP_SHARE) for _ in range(depth))
        self.maximum, self.mean = MaxAggregation(), MeanAggregation()
        self.dropout = nn.Dropout(dropout)
        self.linear1 = nn.Linear(2 * width, width)
        self.linear2 = nn.Linear(width, max(1, width // 2))
        self.linear3 = nn.Linear(max(1, width // 2), num_classes)

    def forward(self, batch: Any) -> Tensor:
        """Map a batch of N graphs to logits (N, num_classes)."""
        x, edges, graph = _features(batch, self.in_features), batch.edge_index, batch.batch
        readout = torch.zeros((), device=x.device, dtype=x.dtype)
        for convolution, pooling in zip(self.convolutions, self.poolings, strict=True):
            x = F.relu(convolution(x, edges))
            x, edges, _, graph, _, _ = pooling(x, edges, batch=graph)
            parts = [
                aggregate(x, graph, dim_size=batch.num_graphs)
                for aggregate in (self.maximum, self.mean)
            ]
            readout = readout + torch.cat(parts, dim=1)
        hidden = self.dropout(F.relu(self.linear1(readout)))
        return self.linear3(F.relu(self.linear2(hidden)))


def gcn(
    *,
    in_features: int = 14,
    width: int = 64,
    depth: int = 5,
    dropout: float = 0.8,
    num_classes: int = 2,
) -> nn.Module:
    """Build the graph network of Fainello, Pettenon & Venturi; the defaults fit Mutagenicity.

    They give 125,442 parameters, as many as theirs. Their code builds five convolutions and applies
    the first four; here all are applied, and `depth=4` is the network that they trained, with
    92,546.

    Args:
        in_features: Features of a node.
        width: Features after the first convolution; later ones have twice as many.
        depth: Number of convolutions, ReLU between them.
        dropout: Share of features that training sets to 0 before each linear layer.
        num_classes: Number of outputs.

    Returns:
        A model of a PyTorch Geometric batch -> (N, num_classes), initialized as PyTorch Geometric
        does. Called on nodes with another number of features it raises InputError.

    Raises:
        InputError: If a size is too small, the dropout is not a probability below 1, or PyTorch
            Geometric is missing.
    """
    _check(in_features, width, depth, dropout, num_classes)
    return MeanGCN(in_features, width, depth, dropout, num_classes)


def gcn_topk(
    *,
    in_features: int = 14,
    width: int = 128,
    depth: int = 3,
    dropout: float = 0.5,
    num_classes: int = 2,
) -> nn.Module:
    """Build the top-k pooling network of PyTorch Geometric's examples; defaults fit Mutagenicity.

    Pooling keeps the 80 % of nodes that score highest, so the loss jumps where two nodes change
    places in that order; derivatives are those between the jumps. 111,170 parameters.

    Args:
        in_features: Features of a node.
        width: Features after every convolution.
        depth: Number of convolutions, each followed by ReLU and pooling.
        dropout: Share of features that training sets to 0 after the first linear layer.
        num_classes: Number of outputs.

    Returns:
        A model of a PyTorch Geometric batch -> (N, num_classes), initialized as PyTorch Geometric
        does. Called on nodes with another number of features it raises InputError.

    Raises:
        InputError: If a size is too small, the dropout is not a probability below 1, or PyTorch
            Geometric is missing.

    Source:
        PyTorch Geometric, examples/proteins_topk_pool.py; Cangea et al. (2018), Towards Sparse
        Hierarchical Graph Classifiers, arXiv:1811.01287.
    """
    _check(in_features, width, depth, dropout, num_classes)
    return TopKGCN(in_features, width, depth, dropout, num_classes)


def _features(batch: Any, in_features: int) -> Tensor:
    """Return the features of all nodes (n, in_features)."""
    found = batch.x.shape[1]
    require(
        found == in_features,
        f"the graph network takes nodes with {in_features} features, got {found}.",
        hint=f"Pass `model_arg={{'in_features': {found}}}`.",
    )
    return batch.x


def _check(in_features: int, width: int, depth: int, dropout: float, num_classes: int) -> None:
    check_at_least(1, in_features=in_features, width=width, depth=depth, num_classes=num_classes)
    check_dropout(dropout)
