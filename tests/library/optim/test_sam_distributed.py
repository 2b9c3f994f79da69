"""SAM under DistributedDataParallel in two processes, compared with the same arithmetic in one."""

import copy

import pytest
import torch
from processes import run_two
from sam_processes import CASES, INPUTS, TARGETS, loss_of, main, make_network, micro_batches
from torch import distributed
from torch.nn import functional as F
from torch.optim import SGD

pytestmark = pytest.mark.skipif(
    not distributed.is_available(), reason="torch was built without torch.distributed"
)

WORLD = 2


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What every case left in each process."""
    folder = tmp_path_factory.mktemp("ddp")
    run_two(main, folder)
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(WORLD)]


def gradient_at_worst_point(model, sets, losses, steps):
    """The gradient of the sum of some losses at the end of an ascent of their own."""
    twin = copy.deepcopy(model)
    for step in range(steps + 1):
        total = sum(loss(twin, indices) for loss, indices in zip(losses, sets, strict=True))
        gradients = torch.autograd.grad(total, list(twin.parameters()))
        if step == steps:
            return gradients
        length = torch.cat([g.flatten() for g in gradients]).norm()
        with torch.no_grad():
            for w, g in zip(twin.parameters(), gradients, strict=True):
                w += 0.5 / steps * g / length
    return None


def reference(case):
    """Train in one process: every ascent by itself, the mean of the processes' gradients,
    momentum."""
    model, momentum = make_network(), None
    scope, steps = case.options["scope"], case.options.get("steps", 1)
    for number in range(case.num_steps):
        is_due = number % case.options.get("every", 1) == 0
        total = [torch.zeros_like(w) for w in model.parameters()]
        if scope == "batch":
            groups = [[torch.arange(len(TARGETS))]]
            loss = lambda m, indices: F.cross_entropy(m(INPUTS[indices]), TARGETS[indices])  # noqa: E731
            share = 1.0
        else:
            shares = [micro_batches(rank, WORLD, case.num_micro) for rank in range(WORLD)]
            groups = (
                shares
                if scope == "process"
                else [[indices] for share in shares for indices in share]
            )
            loss = lambda m, indices: loss_of(m, indices, case.num_micro)  # noqa: E731
            share = 1 / WORLD
        for group in groups:
            found = gradient_at_worst_point(
                model, group, [loss] * len(group), steps if is_due else 0
            )
            total = [t + share * g for t, g in zip(total, found, strict=True)]
        momentum = (
            total
            if momentum is None
            else [0.9 * m + t for m, t in zip(momentum, total, strict=True)]
        )
        with torch.no_grad():
            for w, m in zip(model.parameters(), momentum, strict=True):
                w -= 0.1 * m
    return dict(model.state_dict())


@pytest.mark.parametrize(
    "name", ["batch", "process", "micro-batch", "accumulated", "two steps", "every second"]
)
def test_processes_train_as_one_with_the_ascents_that_the_scope_says(results, name):
    expected = reference(CASES[name])
    for result in results:
        torch.testing.assert_close(result[name]["state"], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["gsam", "friendly"])
def test_variants_train_as_in_one_process(results, name):
    model = make_network()
    optimizer = CASES[name].kind(model.parameters(), SGD, rho=0.5, lr=0.1, momentum=0.9)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(INPUTS), TARGETS)
        loss.backward()
        return loss

    for _ in range(CASES[name].num_steps):
        optimizer.step(closure)
    for result in results:
        torch.testing.assert_close(
            result[name]["state"], dict(model.state_dict()), rtol=1e-9, atol=1e-12
        )


def test_scopes_differ(results):
    states = [results[0][name]["state"]["0.weight"] for name in ("batch", "process", "micro-batch")]
    for i in range(3):
        assert not torch.allclose(states[i], states[i - 1], rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_processes_hold_the_same_weights_bit_for_bit(results, name):
    first, second = (result[name]["state"] for result in results)
    assert all(
        torch.equal(first[key], second[key]) for key in first if "weight" in key or "bias" in key
    )


def test_gradient_that_is_not_finite_in_one_process_skips_the_update_in_all(results):
    for result in results:
        found = result["one process overflows"]
        assert found["skipped"] == 1
        assert len(found["passes"]) == 1
        assert torch.equal(found["state"]["0.weight"], make_network()[0].weight)


def test_random_points_are_shared_or_not_as_the_scope_says(results):
    one = [result["random, one point"]["passes"][1] for result in results]
    each = [result["random, a point each"]["passes"][1] for result in results]
    assert torch.equal(one[0], one[1])
    assert not torch.allclose(each[0], each[1])


def test_statistics_move_once(results):
    for rank, result in enumerate(results):
        model = make_network(is_batchnorm=True)
        model(INPUTS[micro_batches(rank, WORLD, 1)[0]])
        state = result["statistics"]["state"]
        assert int(state["1.num_batches_tracked"]) == 1
        torch.testing.assert_close(
            state["1.running_mean"], model[1].running_mean, rtol=1e-12, atol=1e-14
        )
