"""Measure the cost of a curvature-vector product in gradients, by our and other formulations.

Printed by benchmarks/hessian.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from paired import Clock, Times, alternate
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp
from torch.nn import functional as F
from trained import Case

from landscape import Problem
from landscape.hessian.operator import CurvatureOperator

Batches = Sequence[tuple[Tensor, Tensor]]
Product = Callable[[Tensor], Tensor]
"""(P,) -> (P,)."""

OURS = {
    "landscape": {},
    "landscape, no graph kept": {"graph_bytes": 0},
    "landscape, GGN": {"kind": "ggn"},
}
"""Name -> options of our operator."""


def flat(parts: Sequence[Tensor]) -> Tensor:
    """Return tensors as one vector."""
    return torch.cat([part.reshape(-1) for part in parts])


class Formulations:
    """Ways to multiply by the Hessian or the GGN of the mean loss over batches of unequal size."""

    def __init__(self, model: nn.Module, batches: Batches) -> None:
        self.model = model
        self.names, self.weights = zip(*model.named_parameters(), strict=True)
        self.num_examples = sum(len(y) for _, y in batches)
        self.batches = batches
        self.graphs = [self.gradients(batch) for batch in batches]

    def parts(self, v: Tensor) -> list[Tensor]:
        """Cut a vector (P,) into tensors of the weights' shapes."""
        cut = v.split([weight.numel() for weight in self.weights])
        return [part.view_as(weight) for part, weight in zip(cut, self.weights, strict=True)]

    def gradients(
        self, batch: tuple[Tensor, Tensor], *, create_graph: bool = True
    ) -> tuple[Tensor, ...]:
        """Return the gradients of a batch's share of the loss."""
        loss = F.cross_entropy(self.model(batch[0]), batch[1]) * (len(batch[1]) / self.num_examples)
        return torch.autograd.grad(loss, self.weights, create_graph=create_graph)

    def gradient(self) -> Tensor:
        """One gradient."""
        return sum(flat(self.gradients(batch, create_graph=False)) for batch in self.batches)

    def recomputed(self, v: Tensor) -> Tensor:
        """Double backward from the start."""
        parts = self.parts(v)
        return sum(
            flat(torch.autograd.grad(self.gradients(b), self.weights, parts)) for b in self.batches
        )

    def retained(self, v: Tensor) -> Tensor:
        """Double backward on graphs that are kept."""
        parts = self.parts(v)
        return sum(
            flat(torch.autograd.grad(g, self.weights, parts, retain_graph=True))
            for g in self.graphs
        )

    def forward_over_reverse(self, v: Tensor) -> Tensor:
        """jvp(grad)."""
        weights = dict(zip(self.names, (w.detach() for w in self.weights), strict=True))
        tangents = dict(zip(self.names, self.parts(v), strict=True))
        total = torch.zeros_like(v)
        for inputs, targets in self.batches:
            _, product = jvp(
                grad(partial(self.loss, inputs=inputs, targets=targets)), (weights,), (tangents,)
            )
            total += flat([product[name] for name in self.names])
        return total

    def loss(self, weights: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Return a batch's share of the loss at some weights."""
        outputs = functional_call(self.model, weights, (inputs,))
        return F.cross_entropy(outputs, targets) * (len(targets) / self.num_examples)

    def gauss_newton(self, v: Tensor) -> Tensor:
        """GGN by jvp, the Hessian of cross-entropy in the outputs, and vjp."""
        weights = dict(zip(self.names, (w.detach() for w in self.weights), strict=True))
        tangents = dict(zip(self.names, self.parts(v), strict=True))
        total = torch.zeros_like(v)
        for inputs, _ in self.batches:

            def model(weights: dict[str, Tensor], inputs: Tensor = inputs) -> Tensor:
                return functional_call(self.model, weights, (inputs,))

            outputs, moved = jvp(model, (weights,), (tangents,))
            p = outputs.softmax(1)
            curved = (p * moved - p * (p * moved).sum(1, keepdim=True)) / self.num_examples
            (product,) = vjp(model, weights)[1](curved)
            total += flat([product[name] for name in self.names])
        return total


def ways(model: nn.Module, data: tuple[Tensor, Tensor], problem: Problem) -> dict[str, Product]:
    """Return name -> product, Hessian ones before those of the GGN."""
    found: dict[str, Product] = {}
    cuts = {"one batch": Formulations(model, [data])}
    if len(problem.batches) > 1:
        for joined in (problem, problem.through(problem.derivatives.joined(4).passes)):
            plan = joined.plan
            cuts[f"batches of {plan.batch_size} {plan.memory_format}"] = Formulations(
                model, joined.batches
            )
    for cut, formulations in cuts.items():
        found[f"double backward, recomputed, {cut}"] = formulations.recomputed
        found[f"double backward, retained graph, {cut}"] = formulations.retained
        found[f"jvp(grad), {cut}"] = formulations.forward_over_reverse
        found[f"GGN, jvp and vjp, {cut}"] = formulations.gauss_newton
    for name, options in OURS.items():
        found[name] = CurvatureOperator(problem, **options).matvec
    return found


def check(found: dict[str, Product], v: Tensor, agreement: float) -> None:
    """Raise unless all ways give the same product."""
    for is_ggn in (False, True):
        same = {name: way(v).double() for name, way in found.items() if ("GGN" in name) == is_ggn}
        reference = next(iter(same.values()))
        for name, product in same.items():
            difference = float((product - reference).norm() / reference.norm())
            if not difference < agreement:
                raise SystemExit(f"products differ by {difference:.1e}: {name}")


def typical_vector(operator: CurvatureOperator) -> Tensor:
    """Return a unit vector (P,) that two products have turned towards the large eigenvalues.

    What is left of a random vector is small beside the rounding, in which formulations differ.
    """
    v = torch.randn(operator.size, generator=torch.Generator().manual_seed(1))
    for _ in range(2):
        v = operator.matvec(v)
        v = v / v.norm()
    return v.float()


def several(count: int, way: Callable[..., object], *arguments: object) -> None:
    """Do it some times."""
    for _ in range(count):
        way(*arguments)


def measure(
    case: Case, model: nn.Module, data: tuple[Tensor, Tensor], arguments: argparse.Namespace
) -> None:
    """Time all ways in turn and print the table."""
    problem = Problem(model, data, device="cpu")
    v = typical_vector(CurvatureOperator(problem))
    found = ways(model, data, problem)
    check(found, v, arguments.agreement)
    turns = {name: partial(several, case.num_products, way, v) for name, way in found.items()}
    gradient = Formulations(model, problem.batches).gradient
    turns = {"gradient": partial(several, case.num_products, gradient), **turns}
    report(
        alternate(turns, arguments.product_rounds, Clock(torch.device("cpu"))), case.num_products
    )


def report(times: Times, num_products: int) -> None:
    """Print one row per formulation: milliseconds, gradients, and time relative to the cheapest.

    The cheapest formulation is that of the same matrix.
    """
    print("| product | ms | gradients | over the cheapest of the others |")
    print("|---|---:|---:|---:|")
    for name in times.processor:
        is_ggn = "GGN" in name
        others = [
            n
            for n in times.processor
            if n not in OURS and n != "gradient" and ("GGN" in n) == is_ggn
        ]
        cheapest = min(others, key=times.milliseconds)
        over = "" if name in ("gradient", cheapest) else str(times.ratio(name, cheapest))
        gradients = str(times.ratio(name, "gradient"))
        print(
            "|",
            " | ".join([name, f"{times.milliseconds(name) / num_products:.2f}", gradients, over]),
            "|",
        )
