from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.errors import InputError
from landscape.optim import build_optimizer
from landscape.problem.batches import TensorData
from tests.training_runs import train

GENERATOR = torch.Generator().manual_seed(0)
POINTS = TensorData(
    torch.randn(50, 6, generator=GENERATOR), torch.randint(7, (50,), generator=GENERATOR)
)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 7))


def run(optimizer="sgd", **options):
    model = network()
    history = train(
        model, POINTS, POINTS, build_optimizer(optimizer, model), epochs=2, batch_size=16, **options
    )
    return model, history


@pytest.mark.parametrize("optimizer", ["sgd", "sam"])
def test_in_mixed_precision_training_computes_in_bfloat16_and_evaluation_in_float32(optimizer):
    seen = []

    def criterion(outputs, targets):
        seen.append((torch.is_grad_enabled(), outputs.dtype))
        return F.cross_entropy(outputs, targets)

    model, history = run(optimizer, amp="bf16", criterion=criterion)
    assert set(seen) == {(True, torch.bfloat16), (False, torch.float32)}
    assert {w.dtype for w in model.parameters()} == {torch.float32}
    assert history.settings["amp"] == "bf16"


def test_the_test_loss_of_mixed_precision_is_that_of_the_weights_in_float32():
    model, history = run(amp="bf16")
    with torch.no_grad():
        loss = F.cross_entropy(model.eval()(POINTS.inputs), POINTS.targets).item()
    assert history.test_loss[-1] == pytest.approx(
        loss, rel=1e-6
    )  # float32 in batches; bfloat16 is off by 1e-3


@pytest.mark.parametrize("outer", [nullcontext, partial(torch.autocast, "cpu", torch.bfloat16)])
def test_every_step_of_mixed_precision_is_at_the_weights_of_that_step(outer):
    model, _ = run_whole(network(), outer, amp="bf16")
    expected = network()
    optimizer = build_optimizer("sgd", expected, lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(expected(POINTS.inputs), POINTS.targets)
        loss.backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        # the order of the examples changes roundings to bfloat16
        torch.testing.assert_close(value, expected.state_dict()[name], rtol=0.05, atol=0.01)


def run_whole(model, outer, **options):
    """Train on all examples at once, in an order that does not count."""
    optimizer = build_optimizer("sgd", model, lr=0.5)
    plan = {"schedule": "constant", "epochs": 20, "batch_size": 50, **options}
    with outer():
        return model, train(model, POINTS, None, optimizer, **plan)


def test_training_computes_in_the_weights_precision_inside_the_callers_autocast():
    plain, plain_history = run()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model, history = run()
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=0, atol=0)
    assert history.test_loss.tolist() == plain_history.test_loss.tolist()


def test_mixed_precision_has_one_name():
    with pytest.raises(InputError, match="mixed precision must be bf16 or nothing, got 'fp16'"):
        run(amp="fp16")


def _backend(graph, inputs):
    raise RuntimeError("no compiler here")


def test_a_compiled_run_has_the_weights_and_names_of_an_eager_one(monkeypatch):
    graphs = []

    def eager(graph, inputs):
        graphs.append(graph)
        return graph.forward

    expected, _ = run()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=eager))
    model, history = run(compile=True)
    assert graphs
    assert list(model.state_dict()) == list(expected.state_dict())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], rtol=1e-6, atol=1e-7)
    assert history.settings["compile"] is True


def test_a_compiler_that_fails_is_an_error_that_says_how_to_go_on(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=_backend))
    with pytest.raises(InputError, match="the model cannot be compiled") as caught:
        run(compile=True)
    assert "Leave `compile` out" in caught.value.hint
