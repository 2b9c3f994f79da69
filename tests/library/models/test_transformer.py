import math

import pytest
import torch
from cases import seeded
from reference import loss_of_vector

from landscape.errors import InputError
from landscape.models import build_model
from landscape.models.transformer import sinusoids
from landscape.problem.problem import Problem

TINY = {
    "d_model": 4,
    "depth": 2,
    "heads": 2,
    "feedforward": 5,
    "num_classes": 3,
    "length": 6,
    "in_features": 2,
}


def tiny(**changed):
    return seeded(lambda: build_model("transformer", **{**TINY, "readout": "mean", **changed}))


def series(num_examples=7):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(num_examples, 6, 2, generator=generator)
    return inputs, torch.randint(3, (num_examples,), generator=generator)


def num_parameters_by_formula(d, depth, feedforward, head):
    """Closed form: embedding, attention, perceptron and two normalizations a layer, one more, the
    head."""
    attention = 4 * (d * d + d)
    perceptron = 2 * d * feedforward + feedforward + d
    return 2 * d + depth * (attention + perceptron + 4 * d) + 2 * d + head


def test_defaults_have_the_19_million_parameters_of_the_seeds_attention_model():
    head = (200 * 187 + 1) * 512 + 513 * 256 + 257 * 128 + 129 * 5
    with torch.device("meta"):
        model = build_model("transformer")
    expected = num_parameters_by_formula(200, 1, 128, head)
    assert sum(p.numel() for p in model.parameters()) == expected == 19_528_109


def test_mean_readout_leaves_a_linear_head():
    expected = num_parameters_by_formula(200, 3, 128, 201 * 5)
    assert (
        sum(p.numel() for p in build_model("transformer", readout="mean", depth=3).parameters())
        == expected
    )


@pytest.mark.parametrize("readout", ["flatten", "mean"])
def test_series_give_one_logit_a_class(readout):
    assert tiny(readout=readout)(series()[0]).shape == (7, 3)


def test_positions_are_sines_and_cosines_of_the_published_frequencies():
    codes = sinusoids(30, 8)
    for position, i in [(0, 0), (7, 1), (29, 3)]:
        angle = position / 10_000 ** (2 * i / 8)
        # Stated in float32.
        assert codes[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert codes[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_positions_of_odd_size_end_with_a_sine():
    torch.testing.assert_close(
        sinusoids(5, 3)[:, 2], torch.sin(torch.arange(5) / 10_000 ** (2 / 3))
    )


def test_order_of_time_steps_matters():
    model, (inputs, _) = tiny().eval(), series()
    assert not torch.allclose(model(inputs), model(inputs.flip(1)), atol=1e-3)


def test_order_of_examples_does_not_matter():
    model, (inputs, _) = tiny().double().eval(), series()
    torch.testing.assert_close(model(inputs.double()).flip(0), model(inputs.double().flip(0)))


def test_layers_start_with_weights_of_their_own():
    first, second = (layer.linear1.weight for layer in tiny().encoder.layers)
    assert not torch.equal(first, second)


def test_embedded_values_start_no_smaller_than_positions():
    weight = seeded(
        lambda: build_model("transformer", readout="mean", d_model=5000, length=3)
    ).embedding.weight
    # Uniform between -1 and 1: variance 1/3 with the standard error sqrt(4 / (45 n)); positions
    # have 1/2 on average.
    assert weight.square().mean().item() == pytest.approx(1 / 3, abs=5 * (4 / (45 * 5000)) ** 0.5)


def test_positions_are_not_saved():
    assert not [name for name in tiny().state_dict() if "positions" in name]


def test_hessian_vector_products_make_a_symmetric_matrix():
    problem = Problem(tiny(), series(), dtype="float64")
    rows = [
        problem.hessian_vector_product(v) for v in torch.eye(problem.spec.size, dtype=torch.float64)
    ]
    hessian = torch.stack(rows)
    # Rounding of sums of a few hundred terms of size 1.
    torch.testing.assert_close(hessian, hessian.T, rtol=0, atol=1e-12)


def test_hessian_vector_product_is_the_derivative_of_the_gradient():
    inputs, targets = series()
    problem = Problem(tiny(), (inputs, targets), dtype="float64")
    v = torch.randn(
        problem.spec.size, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    loss, w = loss_of_vector(tiny(), inputs, targets)
    h = 1e-5
    ahead, behind = (torch.autograd.functional.jacobian(loss, w + sign * h * v) for sign in (1, -1))
    # Central differences: h^2 times a third derivative, and rounding over h.
    torch.testing.assert_close(
        problem.hessian_vector_product(v), (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"heads": 3}, "heads must divide d_model, got 3 heads for d_model 4"),
        ({"readout": "token"}, "readout must be one of flatten, mean, got 'token'"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"dropout": 1.5}, r"dropout must be in \[0, 1\), got 1.5"),
    ],
)
def test_impossible_argument_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        tiny(**changed)
