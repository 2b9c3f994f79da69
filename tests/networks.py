"""Small networks of every kind, and their curvature as dense float64 matrices from
torch.autograd.functional."""

from __future__ import annotations

import copy
from contextlib import contextmanager

import pytest
import torch
from cases import classification, images, seeded, tiny_cnn, tiny_mlp
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.models import build_model


class Attention(nn.Module):
    """A transformer's layer over three tokens, 187 parameters."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.layer(x.unflatten(1, (3, 4))).flatten(1))


class Tied(nn.Module):
    """Two layers with one matrix, and a parameter that nothing uses."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.second.weight = self.first.weight
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.head(self.second(self.first(x).tanh()).tanh())


def rings():
    """Graphs of different sizes."""
    geometric = pytest.importorskip(
        "torch_geometric.data", reason="the extra graphs is not installed"
    )
    generator = torch.Generator().manual_seed(3)
    found = []
    for number, size in enumerate((3, 5, 4, 6, 3)):
        nodes = torch.arange(size)
        edges = torch.stack([nodes, (nodes + 1) % size])
        x = torch.randn(size, 3, generator=generator, dtype=torch.float64)
        edge_index = torch.cat([edges, edges.flip(0)], dim=1)
        found.append(geometric.Data(x=x, edge_index=edge_index, y=torch.tensor([number % 2])))
    return found


NETWORKS = {
    "mlp": (tiny_mlp, classification),
    "cnn": (tiny_cnn, images),
    "attention": (lambda: seeded(Attention), lambda: classification(num_features=12)),
    "tied": (lambda: seeded(Tied), classification),
    "graphs": (lambda: seeded(tiny_gcn), rings),
}


def network(name):
    """A network and its data: a pair (inputs, targets), or graphs."""
    build, data = NETWORKS[name]
    return build(), data()


def tiny_gcn():
    """A graph network for `rings`."""
    return build_model("gcn", in_features=3, width=4, depth=2)


def dense_curvature(model, data, kind):
    """The Hessian, GGN or empirical Fisher matrix (P, P) of the mean cross-entropy, float64."""
    if isinstance(data, list):
        return dense_of_graphs(model, data, kind)
    reference = Reference(model, *data)
    return {
        "hessian": lambda: reference.hessian(batch_size=len(data[1])),
        "ggn": reference.ggn,
        "fisher": reference.fisher,
    }[kind]()


class Reference:
    """A network in float64 whose functions of the flat weights are differentiated by
    torch.autograd.functional."""

    def __init__(self, model, inputs, targets, *, is_training=False):
        self.model = copy.deepcopy(model).double().train(is_training)
        for module in self.model.modules():
            if not isinstance(module, nn.BatchNorm2d):
                module.training = False
        self.named = dict(self.model.named_parameters())
        self.inputs, self.targets = inputs.double(), targets
        self.w = torch.cat([p.detach().reshape(-1) for p in self.named.values()])

    def outputs(self, w, rows=slice(None)):
        """The outputs of some examples at weights w, statistics left alone."""
        parts = w.split([p.numel() for p in self.named.values()])
        weights = {
            name: part.view(p.shape)
            for (name, p), part in zip(self.named.items(), parts, strict=True)
        }
        buffers = {name: b.clone() for name, b in self.model.named_buffers()}
        return functional_call(self.model, {**weights, **buffers}, (self.inputs[rows],))

    def loss(self, w, rows=slice(None)):
        """The mean loss of some examples."""
        return F.cross_entropy(self.outputs(w, rows), self.targets[rows])

    def hessian(self, batch_size):
        """The Hessian of the mean over batches weighted by their sizes."""
        n, total = len(self.targets), 0
        with math_attention():
            for rows in (slice(i, min(i + batch_size, n)) for i in range(0, n, batch_size)):
                share = (rows.stop - rows.start) / n
                total = total + share * torch.autograd.functional.hessian(
                    lambda w, r=rows: self.loss(w, r), self.w
                )
        return total

    def ggn(self):
        """J' H_L J with the closed form of cross-entropy: diag(p) - p p' an example."""
        with math_attention():
            jacobian = torch.autograd.functional.jacobian(self.outputs, self.w)
            p = self.outputs(self.w).softmax(1).detach()
        inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        return torch.einsum("nip,nij,njq->pq", jacobian, inner, jacobian) / len(p)

    def fisher(self):
        """The mean of g g', an example at a time."""
        n, total = len(self.targets), 0
        with math_attention():
            for i in range(n):
                w = self.w.clone().requires_grad_()
                (g,) = torch.autograd.grad(self.loss(w, slice(i, i + 1)), w)
                total = total + torch.outer(g, g) / n
        return total


@contextmanager
def math_attention():
    """Attention by an operation that can be differentiated twice."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def dense_of_graphs(model, graphs, kind):
    """The curvature of the mean over graphs, one at a time."""
    from torch_geometric.data import Batch

    model = copy.deepcopy(model).double().eval()
    named = {name: p.detach() for name, p in model.named_parameters()}
    w, total = torch.cat([p.reshape(-1) for p in named.values()]), 0

    def outputs(w, batch):
        parts = w.split([p.numel() for p in named.values()])
        weights = {
            name: part.view(p.shape) for (name, p), part in zip(named.items(), parts, strict=True)
        }
        return functional_call(model, weights, (batch,))[0]

    for graph in graphs:
        batch = Batch.from_data_list([graph])
        loss = lambda w, b=batch: F.cross_entropy(outputs(w, b)[None], b.y)  # noqa: E731
        if kind == "hessian":
            total = total + torch.autograd.functional.hessian(loss, w)
        elif kind == "ggn":
            jacobian = torch.autograd.functional.jacobian(lambda w, b=batch: outputs(w, b), w)
            p = outputs(w, batch).softmax(0)
            total = total + jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian
        else:
            g = torch.autograd.functional.jacobian(loss, w)
            total = total + torch.outer(g, g)
    return total / len(graphs)
