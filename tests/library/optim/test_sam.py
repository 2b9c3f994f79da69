import copy
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW

from landscape.errors import InputError
from landscape.optim import SAM

A = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
W0 = np.array([1.0, -2.0, 0.5])
# Ten steps of a few float64 operations each, in another order than numpy's.
RTOL = 1e-12


def quadratic(**options):
    """A bare parameter w with loss w'Aw/2, SAM around plain SGD, and the closure."""
    w = nn.Parameter(torch.from_numpy(W0.copy()))
    matrix = torch.from_numpy(A)
    optimizer = SAM([w], SGD, **{"lr": 0.1, **options})

    def closure():
        optimizer.zero_grad()
        loss = w @ matrix @ w / 2
        loss.backward()
        return loss

    return w, optimizer, closure


def network(*, dropout=0.0, is_batchnorm=False, seed=0):
    torch.manual_seed(seed)
    norm = nn.BatchNorm1d(8) if is_batchnorm else nn.Identity()
    return nn.Sequential(nn.Linear(6, 8), norm, nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


INPUTS = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
TARGETS = torch.randint(3, (20,), generator=torch.Generator().manual_seed(2))


def closure_of(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(INPUTS), TARGETS)
        loss.backward()
        return loss

    return closure


def weights(model):
    return [w.detach().clone() for w in model.parameters()]


def are_equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def steps(model, optimizer, count):
    closure = closure_of(model, optimizer)
    for _ in range(count):
        optimizer.step(closure)
    return weights(model)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, math.inf])
@pytest.mark.parametrize("adaptive", [False, True])
def test_steps_on_a_quadratic_follow_the_closed_form(p, adaptive):
    w, optimizer, closure = quadratic(rho=0.3, p=p, adaptive=adaptive, eta=0.02, momentum=0.9)
    expected, buffer = W0.copy(), np.zeros(3)
    for _ in range(10):
        scale = np.abs(expected) + 0.02 if adaptive else np.ones(3)
        a = scale * (A @ expected)
        if p == 1:
            unit = np.where(np.arange(3) == np.abs(a).argmax(), np.sign(a), 0)
        elif p == math.inf:
            unit = np.sign(a)
        else:
            unit = np.sign(a) * np.abs(a) ** (1 / (p - 1))
            unit /= np.linalg.norm(unit, p)
        buffer = 0.9 * buffer + A @ (expected + 0.3 * scale * unit)
        loss, norm = expected @ A @ expected / 2, np.linalg.norm(A @ expected)
        expected = expected - 0.1 * buffer
        assert optimizer.step(closure).item() == pytest.approx(loss, rel=RTOL)
        assert float(optimizer.gradient_norm) == pytest.approx(norm, rel=RTOL)
        np.testing.assert_allclose(w.detach().numpy(), expected, rtol=RTOL, atol=1e-14)


def test_weight_decay_is_not_part_of_the_ascent():
    w, optimizer, closure = quadratic(rho=0.3, weight_decay=0.5)
    optimizer.step(closure)
    g = A @ W0
    expected = W0 - 0.1 * (A @ (W0 + 0.3 * g / np.linalg.norm(g)) + 0.5 * W0)
    np.testing.assert_allclose(w.detach().numpy(), expected, rtol=RTOL)


def test_maximizing_base_climbs_against_the_worst_descent():
    w, optimizer, closure = quadratic(rho=0.3, maximize=True)
    optimizer.step(closure)
    g = A @ W0
    expected = W0 + 0.1 * A @ (W0 - 0.3 * g / np.linalg.norm(g))
    np.testing.assert_allclose(w.detach().numpy(), expected, rtol=RTOL)


def test_each_group_has_a_ball_of_its_own():
    first, second = nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.tensor([5.0, 12.0]))
    optimizer = SAM(
        [{"params": [first], "rho": 0.5}, {"params": [second], "rho": 2.0}], SGD, lr=0.1
    )
    (first.square().sum() / 2 + second.square().sum() / 2).backward()
    assert optimizer.first_step()
    torch.testing.assert_close(first.detach(), torch.tensor([3.0, 4.0]) * (1 + 0.5 / 5))
    torch.testing.assert_close(second.detach(), torch.tensor([5.0, 12.0]) * (1 + 2.0 / 13))
    assert float(optimizer.gradient_norm) == pytest.approx(math.sqrt(194), rel=1e-6)


def test_hand_written_loop_equals_step():
    first, second = network(), network()
    one, two = (SAM(m.parameters(), SGD, lr=0.1, momentum=0.9) for m in (first, second))
    expected = steps(first, one, 5)
    closure = closure_of(second, two)
    for _ in range(5):
        closure()
        two.first_step()
        closure()
        two.second_step()
    assert are_equal(weights(second), expected)


@pytest.mark.parametrize(("base", "options"), [(SGD, {"momentum": 0.9}), (Adam, {}), (AdamW, {})])
def test_radius_zero_is_the_base_optimizer_bit_for_bit(base, options):
    first, second = network(is_batchnorm=True, dropout=0.5), network(is_batchnorm=True, dropout=0.5)
    torch.manual_seed(1)
    expected = steps(first, base(first.parameters(), lr=0.01, **options), 5)
    torch.manual_seed(1)
    sam = SAM(second.parameters(), base, rho=0.0, module=second, lr=0.01, **options)
    assert are_equal(steps(second, sam, 5), expected)
    assert are_equal(second.buffers(), first.buffers())


def test_radius_zero_needs_one_pass():
    _, optimizer, closure = quadratic(rho=0.0)
    calls = []
    optimizer.step(lambda: (calls.append(1), closure())[1])
    assert len(calls) == 1


def test_weights_return_exactly_into_their_own_storage():
    model = network()
    before, pointers = weights(model), [w.data_ptr() for w in model.parameters()]
    steps(model, SAM(model.parameters(), SGD, rho=0.7, lr=0.0), 50)
    assert are_equal(weights(model), before)
    assert [w.data_ptr() for w in model.parameters()] == pointers


def test_views_into_a_flat_buffer_stay_views():
    buffer = torch.ones(4)
    w = nn.Parameter(buffer[:2])
    optimizer = SAM([w], SGD, lr=0.1)

    def closure():
        optimizer.zero_grad()
        w.square().sum().backward()

    optimizer.step(closure)
    assert torch.equal(buffer[:2], w)
    assert not torch.equal(buffer[:2], buffer[2:])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exception_in_the_second_pass_leaves_everything_as_it_was(error):
    model = network(is_batchnorm=True, dropout=0.5)
    optimizer = SAM(model.parameters(), SGD, rho=0.7, module=model, lr=0.1, momentum=0.9)
    steps(model, optimizer, 2)
    before, state = weights(model), copy.deepcopy(optimizer.state_dict()["state"])
    reference = copy.deepcopy(model)
    random_state = torch.get_rng_state()
    reference(INPUTS)
    after_one_pass, calls = torch.get_rng_state(), []
    torch.set_rng_state(random_state)

    def closure():
        calls.append(weights(model))
        loss = closure_of(model, optimizer)()
        if len(calls) == 2:
            raise error
        return loss

    with pytest.raises(error):
        optimizer.step(closure)
    assert not are_equal(calls[1], before)
    assert are_equal(weights(model), before)
    assert are_equal(model.buffers(), reference.buffers())
    assert torch.equal(torch.get_rng_state(), after_one_pass)
    for key, entry in optimizer.state_dict()["state"].items():
        assert torch.equal(entry["momentum_buffer"], state[key]["momentum_buffer"])
    optimizer.step(closure_of(model, optimizer))  # and the next step works


def test_exception_in_the_first_pass_changes_nothing():
    w, optimizer, _ = quadratic()
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: 1 / 0)
    np.testing.assert_array_equal(w.detach().numpy(), W0)


def test_restore_gives_up_a_step_of_a_hand_written_loop():
    w, optimizer, closure = quadratic()
    closure()
    optimizer.first_step()
    assert not np.array_equal(w.detach().numpy(), W0)
    optimizer.restore()
    np.testing.assert_array_equal(w.detach().numpy(), W0)
    with pytest.raises(InputError, match="second_step must follow first_step"):
        optimizer.second_step()


@pytest.mark.parametrize("without_gradient", [1, 2])
def test_weight_without_gradient_in_one_pass_returns_to_its_place(without_gradient):
    used, sometimes = (nn.Parameter(torch.tensor([v])) for v in (1.0, 2.0))
    optimizer = SAM([used, sometimes], SGD, rho=0.3, lr=0.0)
    calls = []

    def closure():
        calls.append(sometimes.item())
        optimizer.zero_grad()
        loss = used.square().sum()
        loss = loss if len(calls) == without_gradient else loss + sometimes.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert (calls[1] != 2.0) == (without_gradient == 2)
    assert used.item() == 1.0
    assert sometimes.item() == 2.0


def test_weight_without_gradient_in_the_second_pass_is_not_updated():
    used, sometimes = (nn.Parameter(torch.tensor([v])) for v in (1.0, 2.0))
    optimizer = SAM([used, sometimes], SGD, rho=0.3, lr=0.1, weight_decay=0.5)
    calls = []

    def closure():
        optimizer.zero_grad()
        (used.square().sum() + (0 if calls else sometimes.square().sum())).backward()
        calls.append(1)

    optimizer.step(closure)
    assert sometimes.item() == 2.0
    assert used.item() != 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("bad_pass", [1, 2])
def test_gradient_that_is_not_finite_skips_the_update_and_is_counted(bad, bad_pass):
    model = network(is_batchnorm=True)
    optimizer = SAM(model.parameters(), Adam, module=model, lr=0.1)
    steps(model, optimizer, 2)
    before, state = weights(model), copy.deepcopy(optimizer.state_dict()["state"])
    calls = []

    def closure():
        loss = closure_of(model, optimizer)()
        calls.append(1)
        if len(calls) == bad_pass:
            model[0].weight.grad[0, 0] = bad
        return loss

    optimizer.step(closure)
    assert optimizer.skipped_steps == 1
    assert len(calls) == bad_pass
    assert are_equal(weights(model), before)
    for key, entry in optimizer.state_dict()["state"].items():
        assert all(torch.equal(entry[name], state[key][name]) for name in entry)
    steps(model, optimizer, 1)
    assert optimizer.skipped_steps == 1
    assert not are_equal(weights(model), before)


def test_first_gradient_that_is_not_finite_skips_the_update_of_a_hand_written_loop():
    w, optimizer, closure = quadratic()
    w.grad = torch.full_like(w, math.inf)
    assert not optimizer.first_step()
    closure()
    optimizer.second_step()
    assert optimizer.skipped_steps == 1
    np.testing.assert_array_equal(w.detach().numpy(), W0)


def test_zero_gradient_gives_a_base_step():
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = SAM([w], SGD, lr=0.1, weight_decay=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (0 * w).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(w.detach(), torch.tensor([0.95, 1.9]))
    assert optimizer.skipped_steps == 0


def test_adaptive_step_from_zero_weights_is_finite():
    w = nn.Parameter(torch.zeros(2))
    optimizer = SAM([w], SGD, adaptive=True, eta=0.0, lr=0.1)

    def closure():
        optimizer.zero_grad()
        (w.sum() + w.square().sum()).backward()

    optimizer.step(closure)
    torch.testing.assert_close(w.detach(), torch.full((2,), -0.1))


def test_batchnorm_statistics_move_once_a_step():
    model = network(is_batchnorm=True)
    reference = copy.deepcopy(model)
    optimizer = SAM(model.parameters(), SGD, rho=0.7, module=model, lr=0.1)
    for count in range(1, 4):
        reference.load_state_dict({**reference.state_dict(), **dict(model.named_parameters())})
        reference(INPUTS)
        steps(model, optimizer, 1)
        assert are_equal(model.buffers(), reference.buffers())
        assert int(model[1].num_batches_tracked) == count


def test_buffer_that_the_forward_pass_replaces_moves_once_a_step():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self):
            self.calls = self.calls + 1
            return self.w.square().sum()

    model = Counter()
    optimizer = SAM(model.parameters(), SGD, module=model, lr=0.1)

    def closure():
        optimizer.zero_grad()
        model().backward()

    optimizer.step(closure)
    assert float(model.calls) == 1


def test_dropout_masks_are_the_same_in_both_passes():
    model = network(dropout=0.5)
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    masks = []
    model[3].register_forward_hook(
        lambda _, inputs, outputs: masks.append((outputs == 0)[inputs[0] != 0])
    )
    model[2] = nn.Softplus()  # no zeros of its own, so that every zero is a dropped one
    steps(model, optimizer, 2)
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[2], masks[3])
    assert not torch.equal(masks[0], masks[2])


def test_random_state_is_where_one_pass_leaves_it():
    model = network(dropout=0.5)
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    torch.manual_seed(5)
    model(INPUTS)
    expected = torch.get_rng_state()
    torch.manual_seed(5)
    calls = []

    def closure():
        calls.append(1)
        if len(calls) == 2:
            torch.rand(7)  # a pass that draws more must not leave more drawn
        return closure_of(model, optimizer)()

    optimizer.step(closure)
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_dropout_masks_are_the_same_in_both_passes_on_cuda():
    model = nn.Sequential(nn.Linear(6, 64), nn.Dropout(0.5), nn.Linear(64, 3)).cuda()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    masks = []
    model[1].register_forward_hook(lambda _, inputs, outputs: masks.append(outputs == 0))

    def closure():
        optimizer.zero_grad()
        F.cross_entropy(model(INPUTS.cuda()), TARGETS.cuda()).backward()

    optimizer.step(closure)
    assert torch.equal(masks[0], masks[1])


def test_closure_that_does_not_clear_gradients_does_no_harm():
    first, second = network(), network()
    expected = steps(first, SAM(first.parameters(), SGD, lr=0.1), 3)
    optimizer = SAM(second.parameters(), SGD, lr=0.1)

    def closure():
        loss = F.cross_entropy(second(INPUTS), TARGETS)
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert are_equal(weights(second), expected)


def test_closure_without_gradient_is_refused():
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    F.cross_entropy(model(INPUTS), TARGETS).backward()  # stale gradients do not count
    with pytest.raises(InputError, match="no parameter has one"):
        optimizer.step(lambda: F.cross_entropy(model(INPUTS), TARGETS))


def test_step_without_closure_is_refused():
    _, optimizer, _ = quadratic()
    with pytest.raises(InputError, match="needs a closure"):
        optimizer.step()


def test_steps_out_of_order_are_refused():
    _, optimizer, closure = quadratic()
    with pytest.raises(InputError, match="second_step must follow first_step"):
        optimizer.second_step()
    closure()
    optimizer.first_step()
    with pytest.raises(InputError, match="must be followed by second_step"):
        optimizer.first_step()


@pytest.mark.parametrize(
    ("base", "options"), [(SGD, {"momentum": 0.9}), (Adam, {}), (AdamW, {"fused": True})]
)
def test_resuming_from_the_state_dict_is_exact(base, options):
    model = network()
    optimizer = SAM(model.parameters(), base, rho=0.2, lr=0.01, **options)
    steps(model, optimizer, 4)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    expected = steps(model, optimizer, 4)
    resumed = network(seed=9)
    other = SAM(resumed.parameters(), base, rho=0.9, lr=0.5, **options)
    resumed.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    assert other.param_groups[0]["rho"] == 0.2
    assert are_equal(steps(resumed, other, 4), expected)


def test_state_belongs_to_the_base_and_is_saved_once():
    model = network()
    optimizer = SAM(model.parameters(), Adam, lr=0.01)
    steps(model, optimizer, 1)
    assert optimizer.state is optimizer.base.state
    assert optimizer.param_groups is optimizer.base.param_groups
    for entry in optimizer.state_dict()["state"].values():
        assert set(entry) == {"step", "exp_avg", "exp_avg_sq"}
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert optimizer.state is optimizer.base.state
    assert optimizer.param_groups is optimizer.base.param_groups


def test_state_is_untouched_while_the_weights_are_perturbed():
    _, optimizer, closure = quadratic()
    closure()
    optimizer.first_step()
    assert not optimizer.state


def test_state_of_the_base_alone_can_be_loaded():
    model = network()
    base = SGD(model.parameters(), lr=0.3, momentum=0.9)
    steps(model, base, 1)
    optimizer = SAM(model.parameters(), SGD, rho=0.2, lr=0.1, momentum=0.9)
    optimizer.load_state_dict(copy.deepcopy(base.state_dict()))
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert optimizer.param_groups[0]["rho"] == 0.2
    steps(model, optimizer, 1)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))]
)
def test_copy_and_pickle_keep_the_base(duplicate):
    model = network(is_batchnorm=True)
    optimizer = SAM(model.parameters(), Adam, rho=0.2, module=model, lr=0.01)
    torch.optim.lr_scheduler.StepLR(optimizer, 5)  # wraps step in the instance
    steps(model, optimizer, 3)
    twin, other = duplicate((model, optimizer))
    expected = steps(model, optimizer, 3)
    assert isinstance(other.base, Adam)
    assert other.state is other.base.state
    assert other.param_groups is other.base.param_groups
    assert other.module is twin
    assert are_equal(steps(twin, other, 3), expected)
    assert are_equal(twin.buffers(), model.buffers())


def test_new_group_reaches_the_base_with_the_defaults_of_both():
    _, optimizer, closure = quadratic(rho=0.2, momentum=0.7)
    extra = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer.add_param_group({"params": [extra], "lr": 0.5})
    group = optimizer.base.param_groups[1]
    assert group is optimizer.param_groups[1]
    assert (group["lr"], group["momentum"], group["rho"], group["p"]) == (0.5, 0.7, 0.2, 2.0)

    def both():
        loss = closure()
        extra.square().sum().backward()
        return loss

    optimizer.step(both)
    assert len(optimizer.param_groups) == 2
    assert not torch.equal(extra, torch.ones(2))


@pytest.mark.parametrize("is_hand_written", [False, True])
def test_scheduler_works_on_sam_without_warnings(is_hand_written):
    w, optimizer, closure = quadratic(rho=0.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            if is_hand_written:
                closure()
                optimizer.first_step()
                optimizer.second_step()
            else:
                optimizer.step(closure)
            scheduler.step()
    expected = W0
    for rate in (0.1, 0.05, 0.025):
        expected = expected - rate * A @ expected
    np.testing.assert_allclose(w.detach().numpy(), expected, rtol=RTOL)


def test_scheduler_on_an_existing_base_is_followed():
    w, _, _ = quadratic()
    base = SGD([w], lr=0.1)
    optimizer = SAM([w], base)
    torch.optim.lr_scheduler.LambdaLR(base, lambda _: 0.25)
    assert optimizer.param_groups[0]["lr"] == 0.025


def test_existing_base_gives_the_same_steps_as_its_class():
    first, second = network(), network()
    expected = steps(first, SAM(first.parameters(), SGD, lr=0.1, momentum=0.9), 3)
    base = SGD(second.parameters(), lr=0.1, momentum=0.9)
    assert are_equal(steps(second, SAM(second.parameters(), base), 3), expected)


def test_gradient_norm_is_nan_before_the_first_step():
    _, optimizer, _ = quadratic()
    assert optimizer.gradient_norm.shape == ()
    assert math.isnan(float(optimizer.gradient_norm))


def test_step_hooks_run_once():
    _, optimizer, closure = quadratic()
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append("sam"))
    optimizer.base.register_step_post_hook(lambda *_: calls.append("base"))
    optimizer.step(closure)
    assert calls == ["base", "sam"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": -0.1}, "rho must be a finite number"),
        ({"rho": math.nan}, "rho must be a finite number"),
        ({"p": 0.5}, "p must be at least 1"),
        ({"eta": -1.0}, "eta must be a finite number"),
    ],
)
def test_option_out_of_range_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        quadratic(**options)


def test_base_that_does_not_fit_is_refused():
    w, v = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    with pytest.raises(InputError, match="must not be SAM"):
        SAM([w], SAM)
    with pytest.raises(InputError, match="must be a torch optimizer"):
        SAM([w], "sgd")
    with pytest.raises(InputError, match="the same parameters"):
        SAM([w], SGD([v], lr=0.1))
    with pytest.raises(InputError, match="beside an optimizer that exists"):
        SAM([w], SGD([w], lr=0.1), momentum=0.9)
