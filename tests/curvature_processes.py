"""What the processes of test_operator_processes.py run."""

import torch
from cases import classification, images, tiny_cnn, tiny_mlp

from landscape import Problem, hessian_spectrum
from landscape.errors import NotFiniteError
from landscape.hessian.operator import CurvatureOperator
from landscape.problem.curvature_graphs import CURVATURES
from landscape.runtime import distributed

PLENTY = 1 << 30


def problems():
    """Networks by name; all have a ragged last batch, and one has fewer batches than there are
    processes."""
    options = {"device": "cpu", "dtype": "float64"}
    return {
        "mlp": Problem(tiny_mlp(), classification(23), batch_size=4, **options),
        "cnn": Problem(tiny_cnn(), images(), batch_size=7, batchnorm="recalibrate", **options),
        "one batch": Problem(tiny_mlp(), classification(5), batch_size=5, **options),
    }


def products():
    """Two products of every kind with every network, and the number of batches that this process
    had."""
    found = {}
    for name, problem in problems().items():
        v = torch.randn(
            2, problem.spec.size, generator=torch.Generator().manual_seed(5), dtype=torch.float64
        )
        for kind in CURVATURES:
            for graph_bytes in (0, PLENTY):
                operator = CurvatureOperator(problem, kind=kind, graph_bytes=graph_bytes)
                found[name, kind, graph_bytes] = torch.stack([operator.matvec(each) for each in v])
                found[name, "batches"] = torch.tensor(operator.num_batches)
    return found


def spectra():
    """Spectra of all that a run can measure, by network."""
    return {
        name: hessian_spectrum(
            problem, top_k=3, trace=True, density=True, num_probes=2, blocks=True
        )
        for name, problem in problems().items()
    }


def bad_batch():
    """What a product says of NaN in the last batch."""
    x, y = classification(23)
    x[22] = torch.nan
    try:
        CurvatureOperator(Problem(tiny_mlp(), (x, y), batch_size=4, device="cpu")).matvec(
            torch.ones(66)
        )
    except NotFiniteError as exc:
        return exc.message
    return ""


def main(folder):
    torch.set_num_threads(1)
    with distributed.joined():
        found = (
            products(),
            bad_batch(),
            {name: vars(spectrum) for name, spectrum in spectra().items()},
        )
        torch.save(found, f"{folder}/rank-{distributed.rank()}.pt")
