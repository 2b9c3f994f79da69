import pytest
import torch
from cases import tiny_cnn
from scipy import stats

from landscape.directions import NORMALIZATIONS, random_directions
from landscape.errors import InputError
from landscape.weights import WeightSpec


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
    ratios = (spec.views(d)[0].flatten(1).norm(dim=1) / spec.views(raw)[0].flatten(1).norm(dim=1)).tolist()
    assert max(ratios) > 1.05 * min(ratios)


@pytest.mark.parametrize("normalization", ["filter", "layer"])
def test_tensors_with_one_dimension_get_zero(normalization):
    spec, _, (d, _) = _draw(normalization)
    flat = [part for weight, part in zip(spec.weights, spec.views(d), strict=True) if len(weight.shape) == 1]
    assert len(flat) == 4
    assert not any(part.any() for part in flat)


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
    d = NORMALIZATIONS["filter"](torch.randn(spec.size), w, spec)
    assert not spec.views(d)[0][0].any()


def test_an_unknown_normalization_is_refused():
    with pytest.raises(InputError, match="normalization must be one of filter, layer, none"):
        _draw("weights")
