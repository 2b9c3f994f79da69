import pytest
import torch
from cases import seeded, tiny_cnn
from scipy import stats
from torch import nn
from torch.nn.utils import parametrizations

from landscape.directions.plane import (
    NORMALIZATIONS,
    Direction,
    random_directions,
    require_spanning,
)
from landscape.errors import InputError
from landscape.problem.weights import WeightSpec


def _spec_and_weights():
    model = tiny_cnn()
    spec = WeightSpec.from_module(model)
    return spec, torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def _draw(normalization, seed=0, number=2):
    spec, w = _spec_and_weights()
    return spec, w, random_directions(number, w, spec, seed=seed, normalization=normalization)


def test_every_filter_gets_the_norm_of_the_same_filter_of_the_weights():
    spec, w, (d, _) = _draw("filter")
    for weight, part, value in zip(spec.weights, spec.views(d), spec.views(w), strict=True):
        for index in range(weight.num_filters):
            assert part[index].norm().item() == pytest.approx(value[index].norm().item(), rel=1e-5)


def test_filter_normalization_is_not_per_tensor():
    spec, w, (d, _) = _draw("filter")
    raw = random_directions(1, w, spec, seed=0, normalization="none")[0]
    ratios = (
        spec.views(d)[0].flatten(1).norm(dim=1) / spec.views(raw)[0].flatten(1).norm(dim=1)
    ).tolist()
    assert max(ratios) > 1.05 * min(ratios)


@pytest.mark.parametrize("normalization", ["filter", "layer"])
def test_tensors_with_one_dimension_get_zero(normalization):
    spec, _, (d, _) = _draw(normalization)
    flat = [
        part
        for weight, part in zip(spec.weights, spec.views(d), strict=True)
        if len(weight.shape) == 1
    ]
    assert len(flat) == 4
    assert not any(part.any() for part in flat)


def test_lengths_of_weight_normalization_do_not_move_and_its_filters_do():
    model = seeded(lambda: parametrizations.weight_norm(nn.Linear(4, 3)))
    spec = WeightSpec.from_module(model)
    w = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])
    (d,) = random_directions(1, w, spec, seed=0, normalization="filter")
    parts, own = (dict(zip(spec.names, spec.views(v), strict=True)) for v in (d, w))
    lengths, filters = "parametrizations.weight.original0", "parametrizations.weight.original1"
    assert parts[lengths].shape == (3, 1)
    assert not parts[lengths].any()
    torch.testing.assert_close(parts[filters].norm(dim=1), own[filters].norm(dim=1))
    (moved,) = random_directions(1, w, spec, seed=0, normalization="filter", with_1d=True)
    lengths_moved = dict(zip(spec.names, spec.views(moved), strict=True))[lengths]
    assert lengths_moved.norm() == pytest.approx(float(own[lengths].norm()), rel=1e-5)
    assert not torch.allclose(lengths_moved.abs(), own[lengths].abs())


def test_every_layer_gets_the_norm_of_the_same_layer():
    spec, w, (d, _) = _draw("layer")
    for weight, part, value in zip(spec.weights, spec.views(d), spec.views(w), strict=True):
        if weight.num_filters:
            assert part.norm().item() == pytest.approx(value.norm().item(), rel=1e-5)


def test_raw_noise_is_gaussian():
    spec = WeightSpec.from_module(torch.nn.Linear(200, 50))
    d = random_directions(1, torch.zeros(spec.size), spec, seed=0, normalization="none")[0]
    assert stats.kstest(d.numpy(), "norm").pvalue > 0.01


def test_the_two_directions_are_different_and_not_orthogonalised():
    _, _, (x, y) = _draw("filter")
    cosine = float(x @ y / x.norm() / y.norm())
    assert 1e-6 < abs(cosine) < 0.9


def test_another_seed_gives_other_directions_and_the_same_seed_the_same():
    first, again, other = (_draw("filter", seed=seed)[2][0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_first_direction_does_not_depend_on_how_many_are_drawn():
    assert torch.equal(_draw("filter", number=1)[2][0], _draw("filter", number=2)[2][0])


def test_the_noise_is_the_same_in_every_dtype():
    spec, w = _spec_and_weights()
    single = random_directions(1, w, spec, seed=0, normalization="none")[0]
    double = random_directions(1, w.double(), spec, seed=0, normalization="none")[0]
    assert torch.equal(single.double(), double)


def test_a_dead_filter_gets_direction_zero():
    spec, w = _spec_and_weights()
    w[:9] = 0
    d = NORMALIZATIONS["filter"](torch.randn(spec.size), w, spec, False)
    assert not spec.views(d)[0][0].any()


@pytest.mark.parametrize("normalization", ["filter", "layer", "none"])
@pytest.mark.parametrize("with_1d", [False, True])
def test_weights_of_zero_give_no_nan(normalization, with_1d):
    spec, w = _spec_and_weights()
    zero = torch.zeros_like(w)
    directions = random_directions(
        1, zero, spec, seed=0, normalization=normalization, with_1d=with_1d
    )
    noiseless = NORMALIZATIONS[normalization](zero, w, spec, with_1d)
    assert torch.isfinite(directions[0]).all()
    assert not noiseless.any()


@pytest.mark.parametrize("normalization", ["filter", "layer"])
def test_a_tensor_with_one_dimension_is_a_filter_of_its_own_where_it_moves(normalization):
    spec, w = _spec_and_weights()
    d = random_directions(1, w, spec, seed=0, normalization=normalization, with_1d=True)[0]
    flat = [weight.name for weight in spec.weights if len(weight.shape) == 1]
    for weight, part, value in zip(spec.weights, spec.views(d), spec.views(w), strict=True):
        if weight.name in flat:
            assert part.norm().item() == pytest.approx(value.norm().item(), rel=1e-5)
    assert len(flat) == 4


def test_letting_biases_move_changes_nothing_else():
    spec, w = _spec_and_weights()
    without, with_ = (
        random_directions(1, w, spec, seed=0, normalization="filter", with_1d=is_on)[0]
        for is_on in (False, True)
    )
    assert torch.equal(torch.where(without == 0, 0.0, with_), without)


def test_a_scalar_parameter_is_a_filter_of_its_own_where_it_moves():
    module = nn.Module()
    module.scale = nn.Parameter(torch.tensor(-3.0))
    spec = WeightSpec.from_module(module)
    d = random_directions(
        1, torch.tensor([-3.0]), spec, seed=0, normalization="filter", with_1d=True
    )[0]
    assert abs(d.item()) == pytest.approx(3.0)


def test_every_head_gets_the_norm_of_the_same_head_of_the_weights():
    module = seeded(lambda: nn.MultiheadAttention(8, 2))
    with torch.no_grad():
        module.in_proj_weight[4:8] *= 10  # the second head of the query
        module.out_proj.weight[:, 4:] *= 7  # what the second head hands on
    spec = WeightSpec.from_module(module)
    w = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])
    d = random_directions(1, w, spec, seed=0, normalization="filter")[0]
    parts = dict(zip(spec.names, spec.views(d), strict=True))
    for start in range(0, 24, 4):
        rows = slice(start, start + 4)
        assert parts["in_proj_weight"][rows].norm().item() == pytest.approx(
            module.in_proj_weight[rows].norm().item()
        )
    for columns in (slice(0, 4), slice(4, 8)):
        expected = module.out_proj.weight[:, columns].norm().item()
        assert parts["out_proj.weight"][:, columns].norm().item() == pytest.approx(expected)
    rows = [
        parts["in_proj_weight"][i].norm().item() / module.in_proj_weight[i].norm().item()
        for i in range(4)
    ]
    assert max(rows) > 1.01 * min(rows)  # the head as a whole, not each of its rows


def test_every_row_of_an_embedding_gets_the_norm_of_the_same_row():
    module = seeded(lambda: nn.Embedding(6, 4))
    spec, w = WeightSpec.from_module(module), module.weight.detach().reshape(-1)
    d = random_directions(1, w, spec, seed=0, normalization="filter")[0].view(6, 4)
    torch.testing.assert_close(d.norm(dim=1), module.weight.detach().norm(dim=1))


@pytest.mark.parametrize("normalization", ["filter", "layer", "none"])
def test_normalization_scales_the_noise_and_turns_no_filter_of_it(normalization):
    spec, w, (d, _) = _draw(normalization)
    raw = random_directions(1, w, spec, seed=0, normalization="none")[0]
    for weight, part, noise in zip(spec.weights, spec.views(d), spec.views(raw), strict=True):
        for index in range(weight.num_filters):
            a, b = part[index].flatten(), noise[index].flatten()
            assert float(torch.nn.functional.cosine_similarity(a, b, dim=0)) == pytest.approx(1.0)


def test_directions_that_are_skipped_are_drawn_all_the_same():
    spec, w = _spec_and_weights()
    second = random_directions(1, w, spec, seed=0, normalization="filter", skip=1)[0]
    assert torch.equal(second, _draw("filter")[2][1])


def _directions(*vectors):
    return [Direction(f"d{i}", torch.tensor(vector)) for i, vector in enumerate(vectors)]


@pytest.mark.parametrize("factor", [1.0, -2.0, 1e-20])
def test_directions_that_are_parallel_are_refused_saying_so(factor):
    with pytest.raises(InputError, match=r"d0 and d1 have cosine -?1\."):
        require_spanning(_directions([1.0, 2.0], [factor, 2 * factor]))


def test_directions_that_are_almost_parallel_are_allowed():
    require_spanning(_directions([1.0, 0.0], [1.0, 0.01]))


def test_a_direction_of_zero_is_refused():
    with pytest.raises(InputError, match="must not be zero, d1 is"):
        require_spanning(_directions([1.0, 0.0], [0.0, 0.0]))


def test_a_direction_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="must be finite, d0 holds NaN"):
        require_spanning(_directions([1.0, float("nan")]))


def test_an_unknown_normalization_is_refused():
    with pytest.raises(InputError, match="normalization must be one of filter, layer, none"):
        _draw("weights")
