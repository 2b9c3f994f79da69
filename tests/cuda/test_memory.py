"""What a CUDA device with too little memory says, and how batches are made to fit into it."""

import json

import pytest
import torch
from landscape_cli.app import app
from torch import nn
from typer.testing import CliRunner

from landscape import Problem
from landscape.errors import LandscapeError, Remark
from landscape.hessian.operator import CurvatureOperator
from landscape.io.store import read_result
from landscape.problem import batch_memory

fakecuda = pytest.importorskip("fakecuda", reason="only a simulated device can be made smaller")

pytestmark = pytest.mark.gpu
WIDTH, MiB = 2000, 1 << 20
NUM_ACTIVATIONS = 1024 * WIDTH * 4
"""Bytes of one layer's activations of 1,024 examples."""


def wide(count=1024, layers=(), device="cuda", **options):
    """Return a problem whose activations take far more than its weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, WIDTH), *layers, nn.Tanh(), nn.Linear(WIDTH, 2))
    data = torch.randn(count, 4), torch.arange(count) % 2
    return Problem(model, data, device=device, **options)


def left(num_bytes):
    """Return a context in which the device has so many free bytes."""
    return fakecuda.capacity(torch.cuda.memory_allocated() + num_bytes)


def run(*words):
    """Run a command in this process and return what it printed as JSON."""
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def derivatives(problem):
    """Return loss, gradient and a product on the host."""
    product = problem.hessian_vector_product(torch.ones_like(problem.weights))
    return problem.loss(), problem.gradient().vector.cpu(), product.cpu()


def test_batches_are_as_large_as_a_gradient_of_few_says_that_memory_allows(recwarn):
    wanted = derivatives(wide(device="cpu"))
    with left(5 * NUM_ACTIVATIONS):
        problem = wide()
        found = derivatives(problem)
    assert 16 <= problem.plan.batch_size < 1024
    assert problem.plan.is_default_size
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert not [str(each.message) for each in recwarn if issubclass(each.category, Remark)]


def test_batches_have_1024_examples_where_there_is_room():
    assert wide().plan.batch_size == 1024


COMPUTATIONS = {
    "loss": lambda problem: problem.loss(),
    "gradient": lambda problem: problem.gradient(),
    "product": lambda problem: problem.hessian_vector_product(torch.ones_like(problem.weights)),
    "operator": lambda problem: CurvatureOperator(problem).matvec(torch.ones_like(problem.weights)),
}


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_a_batch_size_that_nobody_chose_is_halved_where_memory_runs_out_later(name):
    problem, compute = wide(), COMPUTATIONS[name]
    wanted = compute(problem)
    size = problem.plan.batch_size
    with left(NUM_ACTIVATIONS // 2), pytest.warns(Remark, match=r"Memory ran out; \d+ examples"):
        found = compute(problem)
    assert problem.plan.batch_size < size
    is_gradient = name == "gradient"
    pair = (found.vector, wanted.vector) if is_gradient else (found, wanted)
    torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", COMPUTATIONS)
@pytest.mark.parametrize(
    "options",
    [{"batch_size": 1024}, {"batchnorm": "batch", "layers": (nn.BatchNorm1d(WIDTH),)}],
    ids=["the user's own batch size", "statistics of a batch"],
)
def test_other_batch_sizes_stay_and_too_little_memory_is_a_sentence(name, options):
    problem = wide(**options)
    with left(NUM_ACTIVATIONS // 2), pytest.raises(LandscapeError, match="out of memory in a"):
        COMPUTATIONS[name](problem)
    assert problem.plan.batch_size == 1024


def test_memory_too_small_for_one_example_is_a_sentence():
    problem = wide(16)
    with left(100), pytest.raises(LandscapeError, match="out of memory"):
        problem.gradient()


def test_data_that_do_not_fit_are_a_sentence():
    model, data = nn.Linear(4, 2), (torch.randn(MiB, 4), torch.zeros(MiB, dtype=torch.long))
    with left(MiB), pytest.raises(LandscapeError, match="out of memory in moving the data"):
        Problem(model, data, device="cuda")


def test_a_model_that_does_not_fit_is_a_sentence():
    data = torch.randn(4, 1000), torch.arange(4) % 2
    with left(MiB), pytest.raises(LandscapeError, match="out of memory in copying the model"):
        Problem(nn.Linear(1000, 1000), data, device="cuda")


def test_a_surface_goes_on_with_its_batches_though_more_memory_is_free(tmp_path, monkeypatch):
    training = ("train", "--epochs", 1, "--model-arg", "width=16", "--device", "cpu")
    run(*training, "--out", tmp_path)
    words = ("surface", tmp_path / "checkpoint.pt", "--dims", 1, "--grid", 3, "--device", "cuda")
    with monkeypatch.context() as patched:
        patched.setattr(batch_memory, "free_memory", lambda device: MiB // 8)
        first = run(*words, "--out", tmp_path / "a.h5")
    assert read_result(tmp_path / "a.h5").provenance.plan["batch_size"] < 1024
    assert run(*words, "--out", tmp_path / "a.h5", "--resume")["splits"] == first["splits"]


def test_data_are_hashed_on_the_host_before_they_move():
    data = torch.randn(64, 1000), torch.arange(64) % 2
    problem, on_cpu = (Problem(nn.Linear(1000, 2), data, device=each) for each in ("cuda", "cpu"))
    with fakecuda.recorded() as record:
        found = problem.data_hash
    assert found == on_cpu.data_hash
    assert not record.waits
