import math

import numpy as np
import pytest
import torch

from landscape.ascent.steepest import (
    RADII,
    adaptive_scaling,
    advance,
    ascend,
    ball_norm,
    draw_on_sphere,
    dual_norm,
)
from landscape.errors import InputError

NORMS = [1, 1.01, 1.5, 2, 3, 10, math.inf]
SHAPES = [(3, 4), (5,), (), (2, 1, 3)]
# Float64 rounding, times the exponent 1 / (p - 1) = 100 that p = 1.01 raises entries to.
RTOL = 1e-11


def random_tensors(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in SHAPES]


def flat(tensors):
    return torch.cat([t.reshape(-1) for t in tensors]).numpy().astype(np.float64)


def conjugate(p):
    return math.inf if p == 1 else 1.0 if math.isinf(p) else p / (p - 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("p", NORMS)
def test_step_lies_on_the_ball_and_gains_rho_times_the_dual_norm(p, seed):
    g = random_tensors(seed)
    e = ascend(g, 0.3, p=p)
    assert np.linalg.norm(flat(e), p) == pytest.approx(0.3, rel=RTOL)
    assert flat(g) @ flat(e) == pytest.approx(0.3 * np.linalg.norm(flat(g), conjugate(p)), rel=RTOL)
    assert [t.shape for t in e] == [t.shape for t in g]


@pytest.mark.parametrize("p", NORMS)
def test_scaled_step_lies_on_the_scaled_ball_and_gains_rho_times_the_dual_norm(p):
    g, t = random_tensors(0), adaptive_scaling(random_tensors(1), eta=0.1)
    e = ascend(g, 0.3, p=p, scaling=t)
    assert np.linalg.norm(flat(e) / flat(t), p) == pytest.approx(0.3, rel=RTOL)
    gain = 0.3 * np.linalg.norm(flat(t) * flat(g), conjugate(p))
    assert flat(g) @ flat(e) == pytest.approx(gain, rel=RTOL)


@pytest.mark.parametrize("p", NORMS)
def test_no_random_perturbation_of_the_ball_gains_more(p):
    g, t = random_tensors(0), adaptive_scaling(random_tensors(1), eta=0.1)
    best = flat(g) @ flat(ascend(g, 0.3, p=p, scaling=t))
    rng = np.random.default_rng(0)
    steepest = flat(ascend([a * b for a, b in zip(g, t, strict=True)], 1.0, p=p))
    for spread in (1e-3, 0.1, 1.0):  # around the maximiser, and anywhere
        u = steepest * (spread < 1) + spread * rng.standard_normal((2000, steepest.size))
        u *= 0.3 / np.linalg.norm(u, p, axis=1, keepdims=True)
        assert (u * flat(t) @ flat(g)).max() <= best * (1 + RTOL)


@pytest.mark.parametrize("p", NORMS)
def test_norms_agree_with_numpy(p):
    g, t = random_tensors(2), adaptive_scaling(random_tensors(3), eta=0.1)
    dual, ball = dual_norm(g, p=p, scaling=t), ball_norm(g, p=p, scaling=t)
    assert dual.dtype == torch.float64
    assert dual.shape == ()
    assert float(dual) == pytest.approx(np.linalg.norm(flat(g) * flat(t), conjugate(p)), rel=RTOL)
    assert float(ball) == pytest.approx(np.linalg.norm(flat(g) / flat(t), p), rel=RTOL)
    assert float(dual_norm(g, p=p)) == pytest.approx(
        np.linalg.norm(flat(g), conjugate(p)), rel=RTOL
    )
    assert float(ball_norm(g, p=p)) == pytest.approx(np.linalg.norm(flat(g), p), rel=RTOL)


@pytest.mark.parametrize("p", NORMS)
def test_size_of_the_gradient_does_not_matter(p):
    for size in (1e-300, 1e-30, 1e30, 1e300):
        require_that_size_does_not_matter(p, size, torch.float64)
    for size in (1e-40, 1e-20, 1e30):
        require_that_size_does_not_matter(p, size, torch.float32)


def require_that_size_does_not_matter(p, size, dtype):
    g = [t * size for t in random_tensors(0, dtype)]
    # 1e-40 is a subnormal number of float32, with five digits; float32 has seven, raised to 1 / (p
    # - 1).
    rtol = 1e-10 if dtype == torch.float64 else 2e-3 if size == 1e-40 else 1e-5
    e = ascend(g, 0.3, p=p)
    assert float(ball_norm(e, p=p)) == pytest.approx(0.3, rel=rtol)
    unit = [t.double() / size for t in g]
    assert float(dual_norm(g, p=p)) / size == pytest.approx(float(dual_norm(unit, p=p)), rel=rtol)
    if p != 1.01 or dtype == torch.float64:
        np.testing.assert_allclose(
            flat(e), flat(ascend(unit, 0.3, p=p)), rtol=100 * rtol, atol=rtol
        )


@pytest.mark.parametrize(
    "shapes", [[(40_000,)], [(100,)] * 500, [(100,)] * 10 + [(300, 300), (33_000,)]]
)
@pytest.mark.parametrize("p", NORMS)
def test_norms_of_many_and_of_long_tensors_agree_with_numpy(p, shapes):
    generator = torch.Generator().manual_seed(0)
    g = [torch.randn(shape, generator=generator) for shape in shapes]
    # Pieces of 1024 entries are summed in float32.
    assert float(dual_norm(g, p=p)) == pytest.approx(
        np.linalg.norm(flat(g), conjugate(p)), rel=1e-5
    )
    assert float(ball_norm(ascend(g, 0.3, p=p), p=p)) == pytest.approx(0.3, rel=1e-5)


@pytest.mark.parametrize("p", NORMS)
def test_zero_gradient_gives_zeros(p):
    g = [torch.zeros(3), torch.zeros(2, 2)]
    assert all(torch.equal(e, t) for e, t in zip(ascend(g, 0.3, p=p), g, strict=True))
    assert float(dual_norm(g, p=p)) == 0


def test_one_norm_moves_only_the_first_of_equal_entries():
    g = [torch.tensor([1.0, 2.0]), torch.tensor([[-3.0, 3.0]]), torch.tensor([-3.0])]
    e = ascend(g, 0.5, p=1)
    assert flat(e).tolist() == [0, 0, -0.5, 0, 0]


def test_infinity_norm_does_not_move_where_the_gradient_is_zero():
    assert flat(ascend([torch.tensor([2.0, 0.0, -1e-9])], 0.5, p=math.inf)).tolist() == [
        0.5,
        0,
        -0.5,
    ]


@pytest.mark.parametrize("p", NORMS)
def test_tensors_without_elements_change_nothing(p):
    g = random_tensors(0)
    e = ascend([g[0], torch.zeros(0, 3, dtype=torch.float64), *g[1:]], 0.3, p=p)
    np.testing.assert_array_equal(flat(e), flat(ascend(g, 0.3, p=p)))
    assert e[1].shape == (0, 3)


def test_no_tensors_have_norm_zero():
    assert ascend([], 0.3) == []
    assert float(dual_norm([])) == 0


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_norm_of_many_float32_entries_is_accurate(p):
    # A sum of two million float32 squares kept in float32 is wrong in the fourth digit.
    g = torch.randn(2_000_001, generator=torch.Generator().manual_seed(0))
    assert float(ball_norm([g], p=p)) == pytest.approx(
        np.linalg.norm(g.double().numpy(), p), rel=1e-6
    )
    assert float(ball_norm([g.view(3, -1).T], p=p)) == pytest.approx(
        float(ball_norm([g], p=p)), rel=1e-6
    )


def test_mixed_dtypes_form_one_vector():
    g = random_tensors(0)
    mixed = [t.float() if i % 2 else t for i, t in enumerate(g)]
    e = ascend(mixed, 0.3)
    assert [t.dtype for t in e] == [t.dtype for t in mixed]
    np.testing.assert_allclose(flat(e), flat(ascend(g, 0.3)), rtol=1e-6)


def test_radius_may_be_a_tensor():
    g = random_tensors(0)
    np.testing.assert_array_equal(flat(ascend(g, torch.tensor(0.25))), flat(ascend(g, 0.25)))


def test_gradients_are_not_changed():
    g = random_tensors(0)
    ascend(g, 0.3, p=3, scaling=adaptive_scaling(g))
    np.testing.assert_array_equal(flat(g), flat(random_tensors(0)))


def test_norm_of_a_gradient_that_is_not_finite_is_not_finite():
    for p in NORMS:
        for bad in (math.nan, math.inf, -math.inf):
            assert not math.isfinite(float(dual_norm([torch.tensor([1.0, bad])], p=p)))


def test_scaling_of_zero_allows_no_perturbation():
    scaling = [torch.tensor([0.0, 2.0])]
    assert float(ball_norm([torch.tensor([0.0, 1.0])], scaling=scaling)) == 0.5
    assert float(ball_norm([torch.tensor([1.0, 1.0])], scaling=scaling)) == math.inf


def test_adaptive_scaling_is_magnitude_plus_eta():
    (t,) = adaptive_scaling([torch.tensor([-2.0, 0.0, 0.5])], eta=0.25)
    assert t.tolist() == [2.25, 0.25, 0.75]


@pytest.mark.parametrize("p", [0.5, 0, -1, math.nan])
def test_norm_below_one_is_refused(p):
    g = [torch.ones(2)]
    for function in (dual_norm, ball_norm):
        with pytest.raises(InputError, match="p must be at least 1"):
            function(g, p=p)
    with pytest.raises(InputError, match="p must be at least 1"):
        ascend(g, 0.1, p=p)


@pytest.mark.parametrize("eta", [-0.1, math.nan, math.inf])
def test_eta_out_of_range_is_refused(eta):
    with pytest.raises(InputError, match="eta must be a finite number"):
        adaptive_scaling([torch.ones(2)], eta=eta)


def climb_a_quadratic(rho, steps, radius, p=2.0, scaling=None):
    """N steps of an ascent of w'Hw/2 from w, H = diag(1..5), and the e after each."""
    h, w = (
        torch.arange(1.0, 6.0, dtype=torch.float64),
        torch.tensor([1.0, -0.5, 0.3, 0.2, -0.1], dtype=torch.float64),
    )
    e, path = None, []
    for step in range(steps):
        gradient = h * (w if e is None else w + e[0])
        options = {"radius": radius, "p": p, "scaling": None if scaling is None else [scaling]}
        e = advance(e, [gradient], rho, steps=steps, step=step, **options)
        path.append(e[0].numpy())
    return h.numpy(), w.numpy(), path


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_path_follows_normalised_gradients_by_equal_lengths(steps):
    h, w, path = climb_a_quadratic(0.7, steps, "path")
    expected = np.zeros(5)
    for e in path:
        gradient = h * (w + expected)
        expected = expected + 0.7 / steps * gradient / np.linalg.norm(gradient)
        np.testing.assert_allclose(e, expected, rtol=RTOL)
    assert (
        np.linalg.norm(path[-1]) == pytest.approx(0.7, rel=RTOL)
        if steps == 1
        else np.linalg.norm(path[-1]) < 0.699
    )


@pytest.mark.parametrize("p", NORMS)
def test_sphere_is_the_path_scaled_to_the_radius(p):
    scaling = torch.linspace(0.5, 1.5, 5, dtype=torch.float64)
    *_, path = climb_a_quadratic(0.7, 4, "path", p, scaling)
    *_, sphere = climb_a_quadratic(0.7, 4, "sphere", p, scaling)
    np.testing.assert_allclose(sphere[:3], path[:3], rtol=RTOL)
    factor = 0.7 / np.linalg.norm(path[3] / scaling.numpy(), p)
    np.testing.assert_allclose(sphere[3], factor * path[3], rtol=RTOL)


@pytest.mark.parametrize("p", NORMS)
def test_ball_takes_long_steps_and_stays_inside(p):
    h, w, path = climb_a_quadratic(0.7, 6, "ball", p)
    expected = np.zeros(5)
    for e in path:
        step = flat(ascend([torch.from_numpy(h * (w + expected))], 0.7, p=p))
        expected = expected + step
        expected *= min(1, 0.7 / np.linalg.norm(expected, p))
        np.testing.assert_allclose(e, expected, rtol=RTOL, atol=1e-15)


def test_ball_leaves_alone_what_is_inside():
    e = [torch.tensor([0.2, 0.0], dtype=torch.float64)]
    inside = advance(
        e, [torch.tensor([-1.0, 0.0], dtype=torch.float64)], 0.3, steps=3, step=1, radius="ball"
    )
    np.testing.assert_allclose(flat(inside), [-0.1, 0], rtol=RTOL)


def test_ball_finds_the_worst_point_of_a_quadratic_where_the_path_does_not():
    h, w, ball = climb_a_quadratic(0.7, 60, "ball")
    *_, path = climb_a_quadratic(0.7, 60, "path")
    # The maximiser solves (mu - H) e = H w with mu > lambda_max and ||e|| = rho.
    low, high = 5 + 1e-9, 100.0
    for _ in range(200):
        mu = (low + high) / 2
        low, high = (mu, high) if np.linalg.norm(h * w / (mu - h)) > 0.7 else (low, mu)
    best = np.sum(h * (w + h * w / (mu - h)) ** 2) / 2
    assert np.sum(h * (w + ball[-1]) ** 2) / 2 == pytest.approx(best, rel=1e-6)
    assert np.sum(h * (w + path[-1]) ** 2) / 2 < 0.999 * best


@pytest.mark.parametrize("radius", RADII)
def test_negative_radius_descends(radius):
    g, e = random_tensors(0), random_tensors(1)
    up = advance(e, g, 0.3, steps=2, step=1, radius=radius)
    down = advance([-t for t in e], g, -0.3, steps=2, step=1, radius=radius)
    np.testing.assert_array_equal(flat(down), -flat(up))


def test_unknown_radius_and_number_of_steps_are_refused():
    with pytest.raises(InputError, match="radius must be one of path, sphere, ball, got 'cube'"):
        advance(None, random_tensors(0), 0.3, steps=1, step=0, radius="cube")
    with pytest.raises(InputError, match="steps must be at least 1"):
        advance(None, random_tensors(0), 0.3, steps=0, step=0)


@pytest.mark.parametrize("p", NORMS)
def test_random_point_lies_on_the_scaled_sphere(p):
    t = adaptive_scaling(random_tensors(1), eta=0.1)
    e = draw_on_sphere(
        random_tensors(0), 0.3, generator=torch.Generator().manual_seed(5), p=p, scaling=t
    )
    assert float(ball_norm(e, p=p, scaling=t)) == pytest.approx(0.3, rel=RTOL)
    assert [x.shape for x in e] == [tuple(shape) for shape in SHAPES]


def test_random_points_are_uniform_on_the_sphere():
    generator = torch.Generator().manual_seed(0)
    w = [torch.zeros(2, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)]
    points = np.array([flat(draw_on_sphere(w, 1.0, generator=generator)) for _ in range(4000)])
    # On the sphere in R^5 a coordinate has mean 0, variance 1/5 and fourth moment 3/35.
    error = 5 / math.sqrt(
        4000
    )  # five standard errors, of quantities whose standard deviation is below 1
    assert np.abs(points.mean(0)).max() < error * math.sqrt(1 / 5)
    assert np.abs(points.T @ points / 4000 - np.eye(5) / 5).max() < error * math.sqrt(3 / 35)
    assert np.abs((points**4).mean(0) - 3 / 35).max() < error * math.sqrt(1 / 33)
