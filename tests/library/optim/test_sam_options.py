"""Several ascent steps, random directions, schedules, micro-batches and loss scaling."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam

from landscape.errors import InputError
from landscape.optim import GSAM, SAM, FriendlySAM

A = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
W0 = np.array([1.0, -2.0, 0.5])
# A few float64 operations each step, in another order than numpy's.
RTOL = 1e-12

INPUTS = torch.randn(24, 6, generator=torch.Generator().manual_seed(1))
TARGETS = torch.randint(3, (24,), generator=torch.Generator().manual_seed(2))


class Quadratic:
    """Weights w with loss w'Aw/2, SAM around plain SGD, and a record of where the passes were."""

    def __init__(self, kind=SAM, **options):
        self.w = nn.Parameter(torch.from_numpy(W0.copy()))
        self.matrix = torch.from_numpy(A)
        self.optimizer = kind([self.w], SGD, **{"lr": 0.1, **options})
        self.passes = []

    def closure(self):
        self.passes.append(self.w.detach().numpy().copy())
        self.optimizer.zero_grad()
        loss = self.w @ self.matrix @ self.w / 2
        loss.backward()
        return loss

    def step(self):
        return self.optimizer.step(self.closure)

    @property
    def weights(self):
        return self.w.detach().numpy().copy()


def unit(vector):
    return vector / np.linalg.norm(vector)


def network(seed=0, *, is_batchnorm=False, dropout=0.0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        norm = nn.BatchNorm1d(8) if is_batchnorm else nn.Identity()
        return nn.Sequential(
            nn.Linear(6, 8), norm, nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3)
        ).double()


def loss_of(model, part=slice(None)):
    share = len(TARGETS[part]) / len(TARGETS)
    return share * F.cross_entropy(model(INPUTS[part].double()), TARGETS[part])


def closure_of(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    return closure


def micro_closures(model, parts):
    def make(part):
        def closure():
            loss = loss_of(model, part)
            loss.backward()
            return loss

        return closure

    return [make(part) for part in parts]


PARTS = [slice(0, 8), slice(8, 20), slice(20, 24)]


def weights(model):
    return [w.detach().clone() for w in model.parameters()]


def assert_equal(first, second):
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("steps", [2, 3])
def test_several_ascent_steps_follow_the_closed_form(steps):
    run = Quadratic(rho=0.4, steps=steps, momentum=0.9)
    expected, buffer = W0.copy(), np.zeros(3)
    for _ in range(5):
        w = expected.copy()
        for _ in range(steps):
            w = w + 0.4 / steps * unit(A @ w)
        buffer = 0.9 * buffer + A @ w
        loss, expected = expected @ A @ expected / 2, expected - 0.1 * buffer
        assert run.step().item() == pytest.approx(loss, rel=RTOL)
        np.testing.assert_allclose(run.weights, expected, rtol=RTOL)
    assert len(run.passes) == 5 * (steps + 1)


@pytest.mark.parametrize(
    ("radius", "share"), [("path", (0.5, 0.99999)), ("sphere", (1, 1)), ("ball", (1, 1))]
)
def test_radius_says_how_far_several_steps_lead(radius, share):
    run = Quadratic(rho=0.4, steps=4, radius=radius)
    run.step()
    distance = np.linalg.norm(run.passes[-1] - W0) / 0.4
    assert share[0] - RTOL <= distance <= share[1] + RTOL


def test_scale_of_the_adaptive_ball_is_that_of_the_origin_in_every_step():
    run = Quadratic(rho=0.4, steps=2, adaptive=True, eta=0.02)
    run.step()
    scale = np.abs(W0) + 0.02
    first = W0 + 0.2 * scale * unit(scale * (A @ W0))
    np.testing.assert_allclose(run.passes[1], first, rtol=RTOL)
    np.testing.assert_allclose(
        run.passes[2], first + 0.2 * scale * unit(scale * (A @ first)), rtol=RTOL
    )


def test_hand_written_loop_with_several_steps_equals_step():
    one, two = Quadratic(rho=0.4, steps=3), Quadratic(rho=0.4, steps=3)
    one.step()
    two.closure()
    for _ in range(3):
        assert two.optimizer.first_step()
        two.closure()
    with pytest.raises(InputError, match="must be followed by second_step"):
        two.optimizer.first_step()
    two.optimizer.second_step()
    np.testing.assert_array_equal(two.weights, one.weights)


@pytest.mark.parametrize("bad_pass", [2, 3])
def test_gradient_that_is_not_finite_on_the_way_up_skips_the_update(bad_pass):
    run = Quadratic(rho=0.4, steps=3)

    def closure():
        loss = run.closure()
        if len(run.passes) == bad_pass:
            run.w.grad[0] = math.inf
        return loss

    run.optimizer.step(closure)
    assert len(run.passes) == bad_pass
    assert run.optimizer.skipped_steps == 1
    np.testing.assert_array_equal(run.weights, W0)


def test_weight_without_gradient_on_the_way_up_stays_where_it_was_led():
    used, sometimes = (nn.Parameter(torch.tensor([v], dtype=torch.float64)) for v in (3.0, 4.0))
    optimizer = SAM([used, sometimes], SGD, rho=1.0, steps=2, lr=0.0)
    calls = []

    def closure():
        calls.append((used.item(), sometimes.item()))
        optimizer.zero_grad()
        (used.square().sum() + (0 if len(calls) == 2 else sometimes.square().sum())).backward()

    optimizer.step(closure)
    np.testing.assert_allclose(calls, [(3, 4), (3.3, 4.4), (3.8, 4.4)], rtol=RTOL)
    assert (used.item(), sometimes.item()) == (3.0, 4.0)


def test_random_direction_has_the_radius_and_the_update_is_with_the_gradient_there():
    run = Quadratic(rho=0.4, direction="random")
    loss = run.step()
    first, second = run.passes
    np.testing.assert_array_equal(first, W0)
    assert np.linalg.norm(second - W0) == pytest.approx(0.4, rel=RTOL)
    np.testing.assert_allclose(run.weights, W0 - 0.1 * A @ second, rtol=RTOL)
    assert loss.item() == pytest.approx(W0 @ A @ W0 / 2, rel=RTOL)


def test_random_directions_are_fresh_in_every_step_and_decided_by_the_seed():
    runs = [Quadratic(rho=0.4, direction="random", lr=0.0, seed=seed) for seed in (1, 1, 2)]
    state = torch.get_rng_state()
    for run in runs:
        for _ in range(3):
            run.step()
    assert torch.equal(torch.get_rng_state(), state)
    moves = [np.array(run.passes[1::2]) - W0 for run in runs]
    np.testing.assert_array_equal(moves[0], moves[1])
    cosines = unit(moves[0][0]) @ np.array([unit(m) for m in (*moves[0][1:], *moves[2])]).T
    assert np.abs(cosines).max() < 0.9999


def test_random_directions_of_two_balls_are_drawn_apart():
    first, second = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
    optimizer = SAM(
        [{"params": [first], "rho": 1.0}, {"params": [second], "rho": 2.0}],
        SGD,
        direction="random",
        lr=0.1,
    )
    optimizer.first_step()
    assert not torch.allclose(2 * first, second)
    torch.testing.assert_close(
        torch.stack([first.norm(), second.norm()]).detach(), torch.tensor([1.0, 2.0])
    )


def test_random_direction_of_a_hand_written_loop_needs_no_first_pass():
    run = Quadratic(rho=0.4, direction="random")
    assert run.optimizer.first_step()
    run.closure()
    run.optimizer.second_step()
    assert np.linalg.norm(run.passes[0] - W0) == pytest.approx(0.4, rel=RTOL)
    np.testing.assert_allclose(run.weights, W0 - 0.1 * A @ run.passes[0], rtol=RTOL)


def test_random_direction_without_any_gradient_is_refused():
    run = Quadratic(rho=0.4, direction="random")
    with pytest.raises(InputError, match="no parameter has one"):
        run.optimizer.step(lambda: None)
    np.testing.assert_array_equal(run.weights, W0)


def test_ascent_in_every_third_step_alternates_with_the_base():
    run = Quadratic(rho=0.4, every=3)
    expected, lengths = W0.copy(), []
    for number in range(7):
        count = len(run.passes)
        run.step()
        lengths.append(len(run.passes) - count)
        there = expected + 0.4 * unit(A @ expected) if number % 3 == 0 else expected
        expected = expected - 0.1 * A @ there
        np.testing.assert_allclose(run.weights, expected, rtol=RTOL)
    assert lengths == [2, 1, 1, 2, 1, 1, 2]
    assert run.optimizer.num_ascents == 3


def test_factor_scales_the_radius_and_zero_leaves_the_step_to_the_base():
    run = Quadratic(rho=0.4, lr=0.0)
    for factor in (1.0, 0.25, 0.0):
        run.optimizer.rho_factor = factor
        run.step()
    distances = [np.linalg.norm(w - W0) for w in run.passes]
    np.testing.assert_allclose(distances, [0, 0.4, 0, 0.1, 0], rtol=RTOL, atol=1e-15)


def test_weight_decay_can_be_part_of_the_ascent():
    run = Quadratic(rho=0.4, weight_decay=0.5, decay_in_ascent=True)
    run.step()
    there = W0 + 0.4 * unit(A @ W0 + 0.5 * W0)
    np.testing.assert_allclose(run.passes[1], there, rtol=RTOL)
    np.testing.assert_allclose(run.weights, W0 - 0.1 * (A @ there + 0.5 * W0), rtol=RTOL)
    assert float(run.optimizer.gradient_norm) == pytest.approx(np.linalg.norm(A @ W0), rel=RTOL)


def test_groups_that_differ_in_the_base_options_only_share_one_ball():
    first, second = nn.Parameter(torch.tensor([3.0])), nn.Parameter(torch.tensor([4.0]))
    groups = [
        {"params": [first], "weight_decay": 0.1},
        {"params": [second], "weight_decay": 0.0, "lr": 0.5},
    ]
    optimizer = SAM(groups, SGD, rho=1.0, lr=0.1)
    (first.square().sum() / 2 + second.square().sum() / 2).backward()
    optimizer.first_step()
    torch.testing.assert_close(torch.cat([first, second]).detach(), torch.tensor([3.6, 4.8]))


@pytest.mark.parametrize(
    "options",
    [
        {"direction": "random", "seed": 3},
        {"every": 3},
        {"steps": 3, "radius": "sphere"},
        {"kind": FriendlySAM},
        {"kind": GSAM},
    ],
)
@pytest.mark.parametrize("is_pickled", [False, True])
def test_resuming_is_exact_with_every_option(options, is_pickled):
    options = {"rho": 0.3, "lr": 0.01, **options}
    kind = options.pop("kind", SAM)
    model = network(dropout=0.3)
    optimizer = kind(model.parameters(), Adam, **options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(4):
            optimizer.step(closure_of(model, optimizer))
        random_state = torch.get_rng_state()
        if is_pickled:
            twin, other = pickle.loads(pickle.dumps((model, optimizer)))
        else:
            twin = network(seed=9, dropout=0.3)
            other = kind(twin.parameters(), Adam, **options)
            twin.load_state_dict(copy.deepcopy(model.state_dict()))
            other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for one, two in ((model, optimizer), (twin, other)):
            torch.set_rng_state(random_state)
            for _ in range(4):
                two.step(closure_of(one, two))
    assert_equal(model.parameters(), twin.parameters())
    assert other.num_steps == optimizer.num_steps == 8


def test_one_ascent_for_all_micro_batches_equals_the_whole_batch():
    whole, cut = network(), network()
    one, two = (SAM(m.parameters(), SGD, rho=0.5, lr=0.1, momentum=0.9) for m in (whole, cut))
    for _ in range(5):
        expected = one.step(closure_of(whole, one))
        loss = two.step(micro_closures(cut, PARTS))
        assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
        assert float(two.gradient_norm) == pytest.approx(float(one.gradient_norm), rel=1e-10)
    torch.testing.assert_close(weights(cut), weights(whole), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2])
def test_each_micro_batch_can_have_an_ascent_of_its_own(steps):
    model, reference = network(), network()
    optimizer = SAM(model.parameters(), SGD, rho=0.5, steps=steps, scope="micro-batch", lr=0.1)
    losses, norms, total = [], [], [torch.zeros_like(w) for w in reference.parameters()]
    for part in PARTS:
        twin = copy.deepcopy(reference)
        for step in range(steps + 1):
            loss = loss_of(twin, part)
            gradients = torch.autograd.grad(loss, list(twin.parameters()))
            length = torch.cat([g.flatten() for g in gradients]).norm()
            if step == 0:
                losses.append(loss.item())
                norms.append(length.item())
            if step < steps:
                with torch.no_grad():
                    for w, g in zip(twin.parameters(), gradients, strict=True):
                        w += 0.5 / steps * g / length
        total = [t + g for t, g in zip(total, gradients, strict=True)]
    loss = optimizer.step(micro_closures(model, PARTS))
    assert loss.item() == pytest.approx(sum(losses), rel=1e-10)
    assert float(optimizer.gradient_norm) == pytest.approx(sum(norms), rel=1e-10)
    expected = [w.detach() - 0.1 * t for w, t in zip(reference.parameters(), total, strict=True)]
    torch.testing.assert_close(weights(model), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scope", ["batch", "micro-batch"])
def test_statistics_and_masks_of_micro_batches_move_as_in_one_plain_pass(scope):
    model, plain = network(is_batchnorm=True, dropout=0.4), network(is_batchnorm=True, dropout=0.4)
    optimizer = SAM(model.parameters(), SGD, rho=0.5, scope=scope, module=model, lr=0.1)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for part in PARTS:
            plain(INPUTS[part].double())
        expected = torch.get_rng_state()
        torch.manual_seed(3)
        optimizer.step(micro_closures(model, PARTS))
        assert torch.equal(torch.get_rng_state(), expected)
    assert_equal(model.buffers(), plain.buffers())


@pytest.mark.parametrize("scope", ["batch", "micro-batch"])
def test_exception_in_any_pass_over_micro_batches_leaves_the_weights(scope):
    for bad_call in range(1, 7):
        model = network(is_batchnorm=True)
        optimizer = SAM(model.parameters(), SGD, rho=0.5, scope=scope, module=model, lr=0.1)
        before, calls = weights(model), []

        def interrupted(closure, calls=calls, bad_call=bad_call):
            calls.append(1)
            if len(calls) == bad_call:
                raise KeyboardInterrupt
            return closure()

        closures = [lambda c=c: interrupted(c) for c in micro_closures(model, PARTS)]
        with pytest.raises(KeyboardInterrupt):
            optimizer.step(closures)
        assert_equal(weights(model), before)
        optimizer.step(micro_closures(model, PARTS))  # and the next step works


def test_micro_batch_with_a_zero_gradient_still_counts_the_others():
    w = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = SAM([w], SGD, rho=1.0, scope="micro-batch", lr=0.1)
    optimizer.step([lambda: (w.square().sum() / 2).backward(), lambda: (0 * w).sum().backward()])
    torch.testing.assert_close(w.detach(), torch.tensor([3 - 0.36, 4 - 0.48], dtype=torch.float64))


def scaled_closure(model, optimizer, scaler, poison=()):
    calls = []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = loss_of(model)
        scaler.scale(loss).backward()
        if len(calls) in poison:
            model[0].weight.grad[0, 0] = math.inf
        return loss

    return closure


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SAM, {}),
        (SAM, {"steps": 2}),
        (SAM, {"weight_decay": 0.1, "decay_in_ascent": True}),
        (GSAM, {}),
        (FriendlySAM, {"weight_decay": 0.1, "decay_in_ascent": True}),
    ],
)
def test_scaled_losses_give_the_same_steps(kind, options):
    model, reference = network(), network()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    one, two = (
        kind(m.parameters(), SGD, rho=0.5, lr=0.1, momentum=0.9, **options)
        for m in (model, reference)
    )
    for _ in range(4):
        one.step(scaled_closure(model, one, scaler), scaler)
        scaler.update()
        two.step(closure_of(reference, two))
        assert float(one.gradient_norm) == pytest.approx(float(two.gradient_norm), rel=1e-12)
    torch.testing.assert_close(weights(model), weights(reference), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("bad_pass", [1, 2])
def test_overflow_in_either_pass_skips_the_update_and_lowers_the_scale(bad_pass):
    model = network()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = SAM(model.parameters(), SGD, rho=0.5, lr=0.1)
    before = weights(model)
    optimizer.step(scaled_closure(model, optimizer, scaler, poison=(bad_pass,)), scaler)
    scaler.update()
    assert_equal(weights(model), before)
    assert optimizer.skipped_steps == 1
    assert scaler.get_scale() == 512.0
    optimizer.step(scaled_closure(model, optimizer, scaler), scaler)
    scaler.update()
    assert optimizer.skipped_steps == 1
    assert not torch.equal(weights(model)[0], before[0])


@pytest.mark.parametrize("kind", [SAM, GSAM, FriendlySAM])
def test_gradients_unscaled_for_clipping_in_a_hand_written_loop_are_unscaled_once(kind):
    model, reference = network(), network()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    one, two = (kind(m.parameters(), SGD, rho=0.5, lr=0.1) for m in (model, reference))
    closure = scaled_closure(model, one, scaler)
    closure()
    one.first_step(scaler)
    closure()
    scaler.unscale_(one.base)
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    one.second_step(scaler)
    scaler.update()
    closure = closure_of(reference, two)
    closure()
    two.first_step()
    closure()
    nn.utils.clip_grad_norm_(reference.parameters(), 0.01)
    two.second_step()
    torch.testing.assert_close(weights(model), weights(reference), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_gsam_takes_away_the_orthogonal_part_of_the_first_gradient(alpha):
    run, expected = Quadratic(kind=GSAM, alpha=alpha, rho=0.4), W0.copy()
    for _ in range(4):
        g = A @ expected
        s = A @ (expected + 0.4 * unit(g))
        expected = expected - 0.1 * (s - alpha * (g - (g @ s) / (s @ s) * s))
        run.step()
        np.testing.assert_allclose(run.weights, expected, rtol=RTOL)


def test_friendly_sam_climbs_along_what_differs_from_the_mean():
    run = Quadratic(kind=FriendlySAM, sigma=0.8, decay=0.7, rho=0.4)
    expected, mean = W0.copy(), np.zeros(3)
    for number in range(5):
        g = A @ expected
        there = expected + 0.4 * unit(g - 0.8 * mean if number else g)
        mean = 0.7 * mean + 0.3 * g if number else g
        expected = expected - 0.1 * A @ there
        run.step()
        np.testing.assert_allclose(run.weights, expected, rtol=RTOL)


@pytest.mark.parametrize("kind", [GSAM, FriendlySAM])
def test_variants_with_radius_zero_are_the_base_bit_for_bit(kind):
    model, plain = network(), network()
    sam, base = kind(model.parameters(), Adam, rho=0.0, lr=0.01), Adam(plain.parameters(), lr=0.01)
    for _ in range(4):
        sam.step(closure_of(model, sam))
        base.step(closure_of(plain, base))
    assert_equal(model.parameters(), plain.parameters())


def test_variants_keep_nothing_in_the_state_of_the_base():
    model = network()
    optimizer = FriendlySAM(model.parameters(), Adam, lr=0.01)
    optimizer.step(closure_of(model, optimizer))
    for entry in optimizer.state.values():
        assert set(entry) == {"step", "exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (SAM, {"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        (SAM, {"steps": 2.5}, "steps must be a whole number of at least 1, got 2.5"),
        (SAM, {"every": 0}, "every must be a whole number of at least 1, got 0"),
        (SAM, {"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        (SAM, {"radius": "cube"}, "radius must be one of path, sphere, ball"),
        (SAM, {"direction": "up"}, "direction must be one of gradient, random"),
        (SAM, {"scope": "world"}, "scope must be one of batch, process, micro-batch"),
        (SAM, {"direction": "random", "steps": 2}, "no use for several ascent steps"),
        (SAM, {"direction": "random", "decay_in_ascent": True}, "no use for several ascent steps"),
        (GSAM, {"alpha": -1.0}, "alpha must be"),
        (
            GSAM,
            {"scope": "micro-batch"},
            "GSAM makes one ascent for the whole batch, got the scope micro-batch",
        ),
        (
            GSAM,
            {"scope": "process"},
            "GSAM makes one ascent for the whole batch, got the scope process",
        ),
        (
            FriendlySAM,
            {"scope": "process"},
            "one ascent for the whole batch, got the scope process",
        ),
        (FriendlySAM, {"direction": "random"}, "one ascent step along a gradient"),
        (FriendlySAM, {"decay": 1.0}, "sigma must be at least 0 and decay in"),
        (FriendlySAM, {"steps": 2}, "one ascent step"),
    ],
)
def test_option_out_of_range_is_refused(kind, options, message):
    with pytest.raises(InputError, match=message):
        Quadratic(kind=kind, **options)


def test_group_with_radius_zero_does_not_shrink_the_ball_of_another():
    moving, still = nn.Parameter(torch.tensor([3.0])), nn.Parameter(torch.tensor([40.0]))
    optimizer = SAM(
        [{"params": [moving], "rho": 0.5}, {"params": [still], "rho": 0.0}], SGD, lr=0.1
    )
    (moving.square().sum() / 2 + still.square().sum() / 2).backward()
    optimizer.first_step()
    assert (moving.item(), still.item()) == (3.5, 40.0)


def test_frozen_weight_is_not_moved_at_random():
    w, frozen = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3), requires_grad=False)
    optimizer = SAM([w, frozen], SGD, rho=1.0, direction="random", lr=0.1)
    optimizer.first_step()
    assert w.norm().item() == pytest.approx(1)
    assert not frozen.any()


@pytest.mark.parametrize("size", [1e-42, 1e-36, 1e36])
def test_tiny_and_huge_gradients_lead_to_the_sphere(size):
    w = nn.Parameter(torch.zeros(2))
    optimizer = SAM([w], SGD, rho=0.5, lr=0.1)
    w.grad = torch.tensor([3 * size, 4 * size])
    assert optimizer.first_step()
    torch.testing.assert_close(
        w.detach(), torch.tensor([0.3, 0.4]), rtol=1e-3, atol=0
    )  # 1e-42 has three digits


@pytest.mark.parametrize("maximize", [False, True])
def test_decay_in_the_ascent_belongs_to_what_is_descended(maximize):
    # Climbing -f is descending f: both see the same regularised problem.
    w = nn.Parameter(torch.from_numpy(W0.copy()))
    options = {
        "rho": 0.4,
        "weight_decay": 0.5,
        "decay_in_ascent": True,
        "lr": 0.1,
        "maximize": maximize,
    }
    optimizer, sign = SAM([w], SGD, **options), -1 if maximize else 1
    (sign * w @ torch.from_numpy(A) @ w / 2).backward()
    optimizer.first_step()
    np.testing.assert_allclose(w.detach().numpy(), W0 + 0.4 * unit(A @ W0 + 0.5 * W0), rtol=RTOL)


def test_casts_that_an_outer_autocast_keeps_do_not_hide_the_perturbation():
    model, losses = nn.Linear(8, 1, bias=False), []
    optimizer = SAM(model.parameters(), SGD, rho=5.0, lr=0.1)
    inputs = torch.ones(4, 8)

    def closure():
        optimizer.zero_grad()
        losses.append(model(inputs).float().square().mean())
        losses[-1].backward()
        return losses[-1]

    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            optimizer.step(closure)
    assert losses[1] > 2 * losses[0]
    assert losses[2] != losses[1]


def test_weights_converted_between_steps_return_exactly():
    model = nn.Linear(6, 3)
    optimizer = SAM(model.parameters(), SGD, rho=0.7, lr=0.0)
    for dtype in (torch.float32, torch.float64):
        model.to(dtype)
        with torch.no_grad():
            model.weight /= 3  # in float64 not a number of float32
        before = weights(model)

        def closure(dtype=dtype):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(INPUTS.to(dtype)) / 3, TARGETS)
            loss.backward()
            return loss

        optimizer.step(closure)
        assert_equal(model.parameters(), before)


def test_state_of_the_base_leaves_each_group_its_own_ball():
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    groups = [{"params": [first], "rho": 0.3}, {"params": [second], "rho": 0.0, "p": math.inf}]
    optimizer = SAM(groups, SGD, lr=0.1)
    base = SGD([{"params": [first]}, {"params": [second]}], lr=0.5)
    optimizer.load_state_dict(base.state_dict())
    assert [(group["rho"], group["p"], group["lr"]) for group in optimizer.param_groups] == [
        (0.3, 2.0, 0.5),
        (0.0, math.inf, 0.5),
    ]


def test_steps_under_another_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        Quadratic(rho=0.4).step()
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("bad_pass", [1, 2])
def test_scaler_that_is_off_skips_an_update_that_is_not_finite_too(bad_pass):
    model = network()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    optimizer = SAM(model.parameters(), SGD, rho=0.5, lr=0.1)
    before = weights(model)
    optimizer.step(scaled_closure(model, optimizer, scaler, poison=(bad_pass,)), scaler)
    scaler.update()
    assert_equal(weights(model), before)
    assert optimizer.skipped_steps == 1


@pytest.mark.parametrize("is_unscaled", [False, True])
def test_overflow_of_the_first_pass_is_not_forgotten_over_a_finite_second_one(is_unscaled):
    model = network()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = SAM(model.parameters(), SGD, rho=0.5, lr=0.1)
    before, closure = weights(model), scaled_closure(model, optimizer, scaler, poison=(1,))
    closure()
    assert not optimizer.first_step(scaler)
    closure()
    if is_unscaled:
        scaler.unscale_(optimizer.base)
    optimizer.second_step(scaler)
    scaler.update()
    assert_equal(weights(model), before)
    assert optimizer.skipped_steps == 1
    assert scaler.get_scale() == (1024.0 if is_unscaled else 512.0)


def test_complex_weights_and_a_base_that_needs_a_closure_are_refused():
    with pytest.raises(InputError, match="needs real weights"):
        SAM([nn.Parameter(torch.zeros(2, dtype=torch.complex64))], SGD, lr=0.1)
    w = nn.Parameter(torch.zeros(2))
    for base in (torch.optim.LBFGS, torch.optim.LBFGS([w])):
        with pytest.raises(InputError, match="must step without a closure"):
            SAM([w], base)


def test_empty_list_of_closures_is_refused():
    with pytest.raises(InputError, match="needs a closure"):
        Quadratic().optimizer.step([])
