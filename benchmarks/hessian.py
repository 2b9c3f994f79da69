"""Measure the cost of the top five eigenvalues of a Hessian, here and with three other packages.

The other packages are PyHessian, hessian-eigenthings and curvlinops with scipy.

python benchmarks/hessian.py [--models mlp ...] [--data-dir DIR] [--rounds N] [--only
products|eigenvalues]

One thread, the same network, data and loss for all, in float32, which must give the same product
before anything is timed. Each peer is called as its documentation has it, with its defaults and
with the cheapest of several settings whose worst relative error of the top five is at most 1e-3 in
every round; ours finds lambda_min as well, with all residuals, but does not look for missed
eigenvalues, which no peer does. Every round has another start vector. The reference is dense in
float64 for the MLP, else a Rayleigh-Ritz step in float64, whose own error by r^2 / gap is the least
that is printed. Power iteration of hessian-eigenthings and eigsh at both ends run on small networks
only. A second table has the cost of one product.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import numpy as np
import products
import torch
from curvlinops import HessianLinearOperator
from hessian_eigenthings.algorithms.lanczos import lanczos as eigenthings_lanczos
from hessian_eigenthings.algorithms.power_iteration import deflated_power_iteration
from hessian_eigenthings.loss_fns.standard import supervised_loss
from hessian_eigenthings.operators.hessian import HessianOperator as EigenthingsOperator
from paired import Clock
from pyhessian import hessian as pyhessian
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn import functional as F
from trained import CASES

from landscape import Problem
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator

NUM_TOP = 5
GOAL = 1e-3
"""Worst relative error of the top five at which peers are compared."""

CERTIFIED = 1e-4
"""Largest relative error of the reference, by r^2 / gap with residuals in float64; at the top it is
far less."""

LARGEST_DENSE = 5000  # weights
BOTH_ENDS, TOP_ONLY = "landscape, both ends, tol 1e-3", "landscape, top only, tol 1e-3"
WITHOUT_LOOKING_TWICE = {"num_check_matvecs": 0}
"""Options of our Lanczos that leave out what no peer does."""


@dataclass(frozen=True)
class Subject:
    """A trained network and its data."""

    model: nn.Module
    data: tuple[Tensor, Tensor]

    def copy(self) -> nn.Module:
        """Return the network for a peer to work on."""
        return copy.deepcopy(self.model)

    def problem(self, dtype: str = "float32") -> Problem:
        """Return our problem."""
        return Problem(self.model, self.data, device="cpu", dtype=dtype)


@dataclass(frozen=True)
class Found:
    """What a way found.

    Attributes:
        top: The largest eigenvalues in any order, (5,); or fewer.
        lambda_min: The smallest; None if it was not looked for.
        num_products: Products with the Hessian.
        top_error: Relative error of `top` where it is the reference.
        bottom_error: Relative error of `lambda_min` there.
    """

    top: np.ndarray
    lambda_min: float | None
    num_products: int
    top_error: float = 0.0
    bottom_error: float = 0.0

    def error(self, reference: Found) -> float:
        """Worst relative error of the top five, at least that of the reference."""
        if len(self.top) < len(reference.top):
            return float("inf")
        return max(
            float(np.max(np.abs(np.sort(self.top)[::-1] / reference.top - 1))), reference.top_error
        )

    def error_below(self, reference: Found) -> float | None:
        """Relative error of the smallest, at least that of the reference."""
        if self.lambda_min is None:
            return None
        return max(abs(self.lambda_min / reference.lambda_min - 1), reference.bottom_error)


Way = Callable[[Subject, int], Found]
"""Finds the eigenvalues of a subject's Hessian from a seed."""


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.num_calls = 0

    def __call__(self, *arguments: object) -> object:
        """Call it."""
        self.num_calls += 1
        return self.function(*arguments)


def by_landscape(
    problem: Problem, subject: Subject, seed: int, *, tolerance: float | None, bottom_k: int = 1
) -> Found:
    """Our Lanczos, with the products that certify."""
    operator = CurvatureOperator(problem)
    pairs = lanczos(
        operator,
        top_k=NUM_TOP,
        bottom_k=bottom_k,
        tolerance=tolerance,
        seed=seed,
        **WITHOUT_LOOKING_TWICE,
    )
    return Found(
        pairs.eigenvalues,
        float(pairs.bottom_eigenvalues[0]) if bottom_k else None,
        pairs.num_matvecs,
    )


@contextmanager
def counted_pyhessian() -> Iterator[Counted]:
    """Count the products of PyHessian on a single batch."""
    module = sys.modules["pyhessian.hessian"]
    counted = Counted(module.hessian_vector_product)
    with patch.object(module, "hessian_vector_product", counted):
        yield counted


def by_pyhessian(subject: Subject, seed: int, **settings: float) -> Found:
    """PyHessian's power iteration on the data as one batch, whose graph it keeps."""
    torch.manual_seed(seed)
    with counted_pyhessian() as counted:
        engine = pyhessian(subject.copy(), F.cross_entropy, data=subject.data, cuda=False)
        values, _ = engine.eigenvalues(top_n=NUM_TOP, **settings)
    return Found(np.array(values), None, counted.num_calls)


def eigenthings_operator(subject: Subject) -> EigenthingsOperator:
    """hessian-eigenthings' operator."""
    return EigenthingsOperator(subject.copy(), [subject.data], supervised_loss(F.cross_entropy))


def by_eigenthings(
    algorithm: Callable[..., object], subject: Subject, seed: int, **settings: object
) -> Found:
    """One of hessian-eigenthings' algorithms."""
    operator = eigenthings_operator(subject)
    operator.matvec = counted = Counted(operator.matvec)
    return Found(
        algorithm(operator, k=NUM_TOP, seed=seed, **settings).eigenvalues.numpy(),
        None,
        counted.num_calls,
    )


def curvlinops_operator(subject: Subject, **settings: bool) -> LinearOperator:
    """The operator of curvlinops."""
    model = subject.copy()
    return HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(model.parameters()), [subject.data], **settings
    )


def by_curvlinops(
    subject: Subject, seed: int, *, tolerance: float = 0, has_bottom: bool = False, **settings: bool
) -> Found:
    """The operator of curvlinops in scipy's eigsh, which needs a run of its own for the bottom."""
    operator = curvlinops_operator(subject, **settings)
    wrapped = operator.to_scipy()
    counted = Counted(wrapped.matvec)
    counting = LinearOperator(wrapped.shape, matvec=counted, dtype=np.float32)
    start = np.random.default_rng(seed).standard_normal(wrapped.shape[0]).astype(np.float32)
    find = partial(eigsh, counting, v0=start, tol=tolerance, return_eigenvectors=False)
    top = find(k=NUM_TOP, which="LA")
    bottom = float(find(k=1, which="SA")[0]) if has_bottom else None
    return Found(top, bottom, counted.num_calls)


def landscape_ways(subject: Subject) -> dict[str, Way]:
    """Return our ways."""
    problem = subject.problem()
    return {
        BOTH_ENDS: partial(by_landscape, problem, tolerance=1e-3),
        "landscape, both ends, tol 1e-4 (default)": partial(by_landscape, problem, tolerance=None),
        TOP_ONLY: partial(by_landscape, problem, tolerance=1e-3, bottom_k=0),
    }


def power(tolerance: float) -> Way:
    """Run PyHessian's power iteration so that its tolerance, not its iteration limit, stops it."""
    return partial(by_pyhessian, maxIter=1000, tol=tolerance)


LANCZOS_STEPS = (15, 20, 25, 30, 40, 50)
PEERS: dict[str, dict[str, Way]] = {
    "PyHessian": {
        "PyHessian (default)": by_pyhessian,
        **{
            f"PyHessian, tol {tolerance}": power(float(tolerance))
            for tolerance in ("1e-4", "1e-5", "1e-6", "1e-7")
        },
    },
    "eigenthings": {
        "eigenthings, Lanczos (default)": partial(by_eigenthings, eigenthings_lanczos),
        **{
            f"eigenthings, Lanczos, {steps} steps": partial(
                by_eigenthings, eigenthings_lanczos, max_iter=steps, which="LA"
            )
            for steps in LANCZOS_STEPS
        },
    },
    "eigenthings, power": {
        "eigenthings, power iteration (default)": partial(by_eigenthings, deflated_power_iteration)
    },
    "curvlinops": {
        "curvlinops, eigsh (default)": by_curvlinops,
        "curvlinops, eigsh, tol 1e-3, unchecked": partial(
            by_curvlinops, tolerance=1e-3, check_deterministic=False
        ),
    },
    "curvlinops, both": {
        "curvlinops, eigsh at both ends, tol 1e-3, unchecked": partial(
            by_curvlinops, tolerance=1e-3, has_bottom=True, check_deterministic=False
        )
    },
}
"""Peer -> its default and then settings by increasing cost: of those, the first that is accurate
enough is kept."""

SLOW = ("eigenthings, power", "curvlinops, both")
LARGEST_SLOW = 100_000  # weights


def check(subject: Subject, agreement: float) -> None:
    """Exit unless all operators give the same product."""
    operator = CurvatureOperator(subject.problem())
    v = products.typical_vector(operator)
    model = subject.copy()
    engine = pyhessian(model, F.cross_entropy, data=subject.data, cuda=False)
    parts = [
        part.view_as(p)
        for part, p in zip(v.split([p.numel() for p in engine.params]), engine.params, strict=True)
    ]
    theirs = {
        "PyHessian": products.flat(
            sys.modules["pyhessian.hessian"].hessian_vector_product(
                engine.gradsH, engine.params, parts
            )
        ),
        "hessian-eigenthings": eigenthings_operator(subject).matvec(v),
        "curvlinops": curvlinops_operator(subject) @ v,
    }
    ours = operator.matvec(v)
    for name, product in theirs.items():
        difference = float((product.detach().double() - ours).norm() / ours.norm())
        if not difference < agreement:
            sys.exit(f"the product of {name} differs by {difference:.1e}")


def reference(subject: Subject) -> Found:
    """Return the eigenvalues in float64."""
    size = sum(p.numel() for p in subject.model.parameters())
    if size <= LARGEST_DENSE:
        values = np.linalg.eigvalsh(dense(subject))
        return Found(values[::-1][:NUM_TOP].copy(), float(values[0]), size)
    found = lanczos(
        CurvatureOperator(subject.problem()), top_k=NUM_TOP, bottom_k=1, tolerance=1e-6, seed=99
    )
    values, residuals = in_double(subject, found.vectors)
    errors = np.abs(residuals**2 / found.pairs.gaps / values)
    if not errors.max() < CERTIFIED:
        sys.exit(f"the reference must be known to {CERTIFIED:g}, an error is {errors.max():.1e}")
    return Found(
        values[:NUM_TOP],
        float(values[NUM_TOP]),
        len(values),
        float(errors[:NUM_TOP].max()),
        float(errors[-1]),
    )


def in_double(subject: Subject, vectors: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the float64 Ritz values on the span of vectors (k, P), and their residuals.

    The values at the top of the spectrum come first.
    """
    formulations = products.Formulations(
        subject.copy().double(), [(subject.data[0].double(), subject.data[1])]
    )
    basis = torch.linalg.qr(vectors.double().mT).Q.mT
    images = torch.stack([formulations.retained(v) for v in basis])
    values, weights = torch.linalg.eigh((basis @ images.mT + images @ basis.mT) / 2)
    residuals = (weights.mT @ images - values[:, None] * (weights.mT @ basis)).norm(dim=1)
    order = [*range(len(values) - 1, 0, -1), 0]
    return values[order].numpy(), residuals[order].numpy()


def dense(subject: Subject) -> np.ndarray:
    """Return the Hessian (P, P) in float64, by torch.func and not by our products."""
    model = subject.copy().double()
    inputs, targets = subject.data[0].double(), subject.data[1]
    names, tensors = zip(*((name, p.detach()) for name, p in model.named_parameters()), strict=True)
    shapes = [t.shape for t in tensors]

    def loss(w: Tensor) -> Tensor:
        parts = w.split([shape.numel() for shape in shapes])
        weights = {
            name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)
        }
        return F.cross_entropy(functional_call(model, weights, (inputs,)), targets)

    w = products.flat(tensors)
    rows = vmap(lambda v: jvp(grad(loss), (w,), (v,))[1], chunk_size=32)(
        torch.eye(len(w), dtype=torch.float64)
    )
    return ((rows + rows.T) / 2).numpy()


@dataclass(frozen=True)
class Run:
    """One turn of one way."""

    found: Found
    seconds: float


def timed(way: Way, subject: Subject, seed: int) -> Run:
    """Run a way once."""
    gc.collect()  # PyHessian's graphs refer to themselves
    clock = Clock(torch.device("cpu"))
    before = clock.read()[1]
    found = way(subject, seed)
    return Run(found, clock.read()[1] - before)


def first_round(
    family: dict[str, Way], subject: Subject, true: Found, num_rounds: int
) -> dict[str, Run]:
    """Run the default, then other settings until one is accurate enough in every round.

    Return the run of the default and the run of that setting.
    """
    default, *others = family
    runs = {default: timed(family[default], subject, 0)}
    for name in others:
        run = timed(family[name], subject, 0)
        found = (
            run.found if seed == 0 else family[name](subject, seed) for seed in range(num_rounds)
        )
        if all(one.error(true) <= GOAL for one in found) or name == others[-1]:
            return {**runs, name: run}
    return runs


def rounds(subject: Subject, true: Found, num_rounds: int) -> dict[str, list[Run]]:
    """Run everything in turn; return name -> one run a round."""
    ours = landscape_ways(subject)
    runs = {name: [timed(way, subject, 0)] for name, way in ours.items()}
    ways = dict(ours)
    is_large = sum(p.numel() for p in subject.model.parameters()) > LARGEST_SLOW
    for family in (PEERS[peer] for peer in PEERS if not (is_large and peer in SLOW)):
        for name, run in first_round(family, subject, true, num_rounds).items():
            runs[name], ways[name] = [run], family[name]
    names = list(ways)
    for seed in range(1, num_rounds):
        first = seed * len(names) // num_rounds
        for name in [*names[first:], *names[:first]]:
            runs[name].append(timed(ways[name], subject, seed))
    return runs


def ratio(turns: list[Run], base: list[Run]) -> float:
    """Median over the rounds."""
    return statistics.median(
        run.seconds / other.seconds for run, other in zip(turns, base, strict=True)
    )


def report(runs: dict[str, list[Run]], true: Found) -> None:
    """Print one row a way."""
    print(
        "| eigenvalues | products | CPU s | over both ends | over top only | worst error of five | "
        "of lambda_min |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, turns in runs.items():
        counts = [run.found.num_products for run in turns]
        number = f"{min(counts)}-{max(counts)}" if min(counts) < max(counts) else str(counts[0])
        seconds = statistics.median(run.seconds for run in turns)
        over = [f"{ratio(turns, runs[base]):.2f}" for base in (BOTH_ENDS, TOP_ONLY)]
        below = [run.found.error_below(true) for run in turns]
        bottom = "" if None in below else f"{max(below):.1e}"
        worst = max(run.found.error(true) for run in turns)
        print("|", " | ".join([name, number, f"{seconds:.2f}", *over, f"{worst:.1e}", bottom]), "|")


def measure(name: str, arguments: argparse.Namespace) -> None:
    """Print the tables of a model."""
    case = CASES[name]
    data = case.examples(arguments.data_dir)
    subject = Subject(case.network(data), data)
    size = sum(p.numel() for p in subject.model.parameters())
    print(f"\n### {name}\n\n{size:,} weights, {len(data[1]):,} examples.", end=" ")
    check(subject, arguments.agreement)
    if arguments.only != "products":
        true = reference(subject)
        values = ", ".join(f"{value:.4g}" for value in true.top)
        print(f"lambda_1 to lambda_5: {values}; lambda_min: {true.lambda_min:.4g}.\n")
        if true.top[-1] <= -true.lambda_min:
            sys.exit(
                "the five largest eigenvalues are not the five largest in magnitude, which peers "
                "look for"
            )
        report(rounds(subject, true, arguments.rounds or case.num_rounds), true)
        print()
    if arguments.only != "eigenvalues":
        products.measure(case, subject.model, data, arguments)


def main() -> None:
    """Print two tables a model."""
    parser = argparse.ArgumentParser(description="The cost of eigenvalues of a Hessian.")
    parser.add_argument("--models", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument(
        "--data-dir", help="folder with CIFAR-10's files; random images if not given"
    )
    parser.add_argument(
        "--rounds", type=int, help="how often each way has its turn (default 5, 2 and 1)"
    )
    parser.add_argument(
        "--product-rounds", type=int, default=3, help="likewise for products (default 3)"
    )
    parser.add_argument(
        "--only", choices=["products", "eigenvalues"], help="print one of the tables"
    )
    parser.add_argument(
        "--agreement", type=float, default=1e-4, help="of products, relative (default 1e-4)"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True")
    for name in arguments.models:
        measure(name, arguments)


if __name__ == "__main__":
    main()
