"""The PyHessian package as a reference engine: the only place that imports it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import NotFiniteError, require
from landscape.hessian.eigenpairs import Eigenpairs, certified_pairs
from landscape.hessian.krylov.goal import noise_floor, require_tolerance
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.rounded import with_rounding
from landscape.hessian.trace import error_of_mean
from landscape.problem.batches import batch_length
from landscape.problem.forward import call_model
from landscape.problem.plan import repeatable, twice_differentiable
from landscape.problem.problem import Problem
from landscape.problem.rounding import Rounding
from landscape.reductions import accumulation_dtype, all_finite, norm
from landscape.results.interval import CONFIDENCE, half_width
from landscape.results.spectrum import Trace
from landscape.runtime.progress import SILENT, Progress, reporting
from landscape.runtime.random_state import seed_random_states

_NATIVE = "Pass `engine='lanczos'`."
_LACKS = {
    "density": "its density() calls torch.eig, which torch no longer has",
    "ggn": "its products are with the Hessian only",
    "fisher": "its products are with the Hessian only",
    "blocks": "its products are with the whole Hessian only",
}
_COPY = 0.5
"""Length of what earlier vectors leave of a unit vector: nearly 1 of a new eigenvector, nearly 0 of
a copy."""


def require_pyhessian_can(asked: Iterable[str]) -> None:
    """Raise InputError if PyHessian 0.1 cannot compute something.

    Args:
        asked: Names of what is to be computed; `density`, `ggn`, `fisher` and `blocks` are what it
            cannot.

    Raises:
        InputError: For the first such name, saying why.
    """
    for name in asked:
        why = _LACKS.get(name)
        require(not why, f"PyHessian 0.1 cannot compute {name}: {why}.", _NATIVE)


def power_iteration(
    problem: Problem,
    *,
    top_k: int,
    bottom_k: int = 0,
    tolerance: float | None = None,
    max_matvecs: int = 500,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Eigenpairs:
    """Find eigenvalues with PyHessian 0.1's deflated power iteration, and certify them.

    PyHessian finds the largest eigenvalues by magnitude, in order of discovery, and stops when its
    estimate changes by less than `tolerance`. It runs on a copy of the model; its vectors are then
    sorted, and get Rayleigh quotients and residuals from our own Hessian-vector products.

    Args:
        problem: With batch normalization `stored`.
        top_k: Number of eigenvalues.
        bottom_k: Number of smallest eigenvalues that are wanted as well: it finds none, and the
            remark says so.
        tolerance: PyHessian's `tol`; by default what the problem's dtype can meet.
        max_matvecs: Limit on products, those for the residuals included; the others are shared
            evenly between the eigenvalues as PyHessian's `maxIter`.
        seed: Of the start vectors.
        progress: Counts products.

    Returns:
        Pairs sorted by value, none at the bottom, fewer than `top_k` where vectors of PyHessian are
        zero or copies of others, which happens beyond the rank of the Hessian. `converged` means
        that there are as many as wanted, and that every residual is at most sqrt(tolerance)
        |theta|, which a value whose error is of order tolerance satisfies, or within the rounding.

    Raises:
        InputError: If the problem is of a kind that PyHessian cannot take, or the numbers do not
            fit.
        NotFiniteError: If its vectors are not finite.

    Source:
        Yao et al. (2020), PyHessian: Neural Networks Through the Lens of the Hessian.
    """
    size = problem.spec.size
    require(
        1 <= top_k <= size,
        f"top-k must be between 1 and the number of parameters {size}, got {top_k}.",
    )
    require(
        max_matvecs >= 2 * top_k,
        f"max-matvecs must be at least twice the number of eigenvalues {top_k}, got {max_matvecs}.",
    )
    tolerance = require_tolerance(tolerance, CurvatureOperator(problem).dtype)
    with _running(problem, seed, progress) as run:
        found = run.engine.eigenvalues(
            maxIter=(max_matvecs - top_k) // top_k, tol=tolerance, top_n=top_k
        )[1]
    vectors = [run.flatten(parts) for parts in found]
    if not all_finite(vectors):
        raise NotFiniteError(
            "PyHessian's eigenvectors hold NaN or inf.",
            hint="Pass `dtype='float64'`, or check the loss at these weights with "
            "`landscape.sharpness(problem)`.",
        )
    return _certify(problem, _independent(vectors), run.num_products, tolerance, (top_k, bottom_k))


def pyhessian_trace(
    problem: Problem, *, num_samples: int = 100, seed: int = 0, progress: Progress = SILENT
) -> Trace:
    """Estimate the trace of the Hessian from the samples of PyHessian 0.1's Hutchinson estimator.

    Its rule for stopping is left out: it compares two consecutive means, which come as close as it
    likes by chance, and without absolute values, so that it always stops after two samples of a
    negative trace.

    Args:
        problem: With batch normalization `stored`.
        num_samples: Rademacher vectors, and products.
        seed: Of the vectors.
        progress: Counts products.

    Returns:
        Mean, standard error and 95 % interval by Student's t, in loss units.

    Raises:
        InputError: If the problem is of a kind that PyHessian cannot take, or num_samples < 2.
        NotFiniteError: If a sample is not finite.

    Source:
        Hutchinson (1989), Commun. Stat. Simul. Comput. 18(3).
    """
    require(
        num_samples >= 2,
        f"a trace with a standard error needs at least 2 samples, got {num_samples}.",
    )
    with _running(problem, seed, progress) as run:
        samples = np.array(run.engine.trace(maxIter=num_samples, tol=-np.inf))
    if not np.isfinite(samples).all():
        raise NotFiniteError(
            "PyHessian's samples of the trace hold NaN or inf.", hint="Pass `dtype='float64'`."
        )
    mean, error = float(samples.mean()), error_of_mean(samples)
    reach = half_width(error, num_values=num_samples)
    return Trace(mean, error, mean - reach, mean + reach, CONFIDENCE, num_samples, run.num_products)


@contextmanager
def _running(problem: Problem, seed: int, progress: Progress) -> Iterator[_Run]:
    """Prepare PyHessian on a copy of the model, and explain a loss on which it fails."""
    require(
        problem.batchnorm == "stored",
        f"PyHessian evaluates with stored batch-norm statistics only, got {problem.batchnorm!r}.",
        "Pass `batchnorm='stored'`, or `engine='lanczos'`.",
    )
    require(
        not any(weight.is_complex for weight in problem.spec.weights),
        "PyHessian multiplies real weights only, this model has complex ones.",
        "Pass `engine='lanczos'`.",
    )
    require(
        problem.device.type in ("cpu", "cuda"),
        f"PyHessian runs on the CPU and on CUDA only, got {problem.device.type}.",
        "Pass `device='cpu'`.",
    )
    try:
        with (
            reporting(progress, "pyhessian", None),
            repeatable(problem.device, problem.plan.dtype),
            twice_differentiable(problem.copy_module()),
            warnings.catch_warnings(),
            # It knows no other device than the present one.
            torch.cuda.device(problem.device) if problem.device.type == "cuda" else nullcontext(),
        ):
            # Its way, on our copy.
            warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True")
            run = _Run(problem, progress)
            seed_random_states(seed, [problem.device])
            yield run
    except RuntimeError:
        problem.hessian_vector_product(problem.weights)  # says what is wrong with the loss
        raise


class _Run:
    """PyHessian at work on a copy of a problem's model.

    It asks of inputs that they have `size(0)` and of both inputs and targets that they have
    `to(device)`, which dicts, tuples and graphs have not. So it is given batches of numbers: the
    model and the loss look up the batch.
    """

    def __init__(self, problem: Problem, progress: Progress) -> None:
        from pyhessian import hessian

        self._problem, self._batches = problem, problem.passes.batches
        self._progress = progress
        self._num_losses = 0
        module = _Numbered(problem)
        self._is_used = self._freeze_unused(module)
        numbers = [torch.full((batch_length(batch),), i) for i, batch in enumerate(self._batches)]
        loader = list(zip(numbers, numbers, strict=True))
        self.engine: Any = hessian(
            module, self._loss, dataloader=loader, cuda=problem.device.type == "cuda"
        )

    @property
    def num_products(self) -> int:
        """Hessian-vector products so far: it computes one loss a batch and product."""
        return self._num_losses // len(self._batches)

    def _loss(self, outputs: Any, numbers: Tensor) -> Tensor:
        self._num_losses += 1
        self._progress.update(self.num_products)
        passes, batch = self._problem.passes, self._batches[int(numbers[0])]
        return passes.habits.apart(passes.criterion, batch)(outputs, batch[1])

    def _freeze_unused(self, module: nn.Module) -> list[bool]:
        """Freeze parameters with a constant gradient, and return which ones are used.

        PyHessian fails on parameters with a constant gradient.
        """
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        batch = self._batches[0]
        criterion = self._problem.passes.habits.apart(self._problem.passes.criterion, batch)
        loss = criterion(module(torch.zeros(1)), batch[1])
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
        is_used = [gradient is not None and gradient.requires_grad for gradient in gradients]
        require(
            any(is_used),
            "PyHessian needs a loss that is curved, this one is linear in every weight.",
            _NATIVE,
        )
        for parameter, used in zip(parameters, is_used, strict=True):
            parameter.requires_grad_(used)
        return is_used

    def flatten(self, parts: list[Tensor]) -> Tensor:
        """Return a flat vector (P,) with zeros for the frozen parameters."""
        found = iter(parts)
        spec = self._problem.spec
        full = [
            next(found).detach() if used else self._problem.weights.new_zeros(weight.shape)
            for weight, used in zip(spec.weights, self._is_used, strict=True)
        ]
        return spec.flatten(full)


class _Numbered(nn.Module):
    """The model, which evaluates a batch given by its number, as the problem evaluates it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.inner = problem.copy_module()
        self._passes = problem.passes

    def forward(self, numbers: Tensor) -> Any:
        batch = self._passes.batches[int(numbers[0])]
        with self._passes.plan.autocast(), self._passes.habits.around(batch) as given:
            return call_model(self.inner, given[0])


def _independent(vectors: list[Tensor]) -> list[Tensor]:
    """Return the vectors (P,) as unit vectors, without zeros and copies of earlier ones."""
    basis: list[Tensor] = []
    units: list[Tensor] = []
    for vector in vectors:
        length = norm(vector)
        if length == 0:
            continue
        rest = unit = vector.to(accumulation_dtype(vector.device)) / length
        for q in (*basis, *basis):
            rest = rest - (q @ rest) * q
        if norm(rest) > _COPY:
            units.append(unit)
            basis.append(rest / norm(rest))
    return units


def _certify(
    problem: Problem,
    units: list[Tensor],
    num_products: int,
    tolerance: float,
    wanted: tuple[int, int],
) -> Eigenpairs:
    """Take Rayleigh quotient and residual of each unit vector (P,), with one product each."""
    operator = CurvatureOperator(problem)
    found = certified_pairs(operator, units, np.zeros(len(units)))
    found = found.take(np.argsort(-found.values, kind="stable"))
    floor = noise_floor(operator.dtype) * float(np.abs(found.values).max(initial=0.0))
    is_close = found.residuals <= np.maximum(tolerance**0.5 * np.abs(found.values), floor)
    pairs = Eigenpairs(
        eigenvalues=found.values,
        residuals=found.residuals,
        bottom_eigenvalues=np.empty(0),
        bottom_residuals=np.empty(0),
        vectors=found.vectors,
        num_matvecs=num_products + len(units),
        converged=len(units) == wanted[0] and bool(is_close.all()),
        tolerance=tolerance,
        noise_floor=floor,
        gaps=found.gaps,
        remark=_remark(len(units), *wanted),
    )
    return with_rounding(pairs, operator, Rounding(operator.problem))


def _remark(num_found: int, top_k: int, bottom_k: int) -> str:
    """Say what PyHessian did not find."""
    remarks = {
        f"PyHessian found {num_found} of {top_k} eigenvalues: its other vectors are 0 or "
        "copies.": num_found < top_k,
        "PyHessian finds the eigenvalues that are largest in magnitude, and none at the "
        "bottom.": bottom_k > 0,
    }
    return " ".join(remark for remark, is_so in remarks.items() if is_so)
