import pytest
import torch
from cases import seeded, tiny_cnn
from torch import nn

from landscape.problem.weights import WeightSpec, bind


def test_views_and_flatten_are_inverse():
    spec = WeightSpec.from_module(tiny_cnn())
    w = torch.randn(spec.size)
    assert torch.equal(spec.flatten(spec.views(w)), w)


def test_the_order_is_that_of_named_parameters():
    model = tiny_cnn()
    assert list(WeightSpec.from_module(model).names) == [
        name for name, _ in model.named_parameters()
    ]


def test_size_is_the_number_of_parameters():
    model = tiny_cnn()
    assert WeightSpec.from_module(model).size == sum(p.numel() for p in model.parameters())


def test_filters_are_rows_of_tensors_with_two_or_more_dimensions():
    spec = WeightSpec.from_module(tiny_cnn())
    assert {weight.name: weight.num_filters for weight in spec.weights} == {
        "0.weight": 3,
        "0.bias": 0,
        "1.weight": 0,
        "1.bias": 0,
        "5.weight": 3,
        "5.bias": 0,
    }


def test_bound_parameters_follow_the_buffer():
    model = tiny_cnn()
    spec = WeightSpec.from_module(model)
    buffer = torch.empty(spec.size)
    bind(model, spec, buffer)
    buffer.zero_()
    assert not any(parameter.any() for parameter in model.parameters())


def test_binding_keeps_the_values_and_the_graph_leaves():
    model = tiny_cnn()
    before = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])
    spec = WeightSpec.from_module(model)
    buffer = torch.empty(spec.size)
    parameters = bind(model, spec, buffer)
    assert torch.equal(buffer, before)
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in parameters)


def test_a_recurrent_layer_uses_the_bound_weights():
    model = seeded(lambda: nn.GRU(3, 4, batch_first=True))
    x = torch.randn(2, 5, 3)
    expected = model(x)[0]
    spec = WeightSpec.from_module(model)
    buffer = torch.empty(spec.size)
    bind(model, spec, buffer)
    torch.testing.assert_close(model(x)[0], expected)
    buffer.zero_()
    assert not model(x)[0].any()


def test_a_complex_parameter_is_a_pair_of_real_weights_a_number():
    model = nn.Module()
    model.odd = nn.Parameter(torch.tensor([1.0]))
    model.w = nn.Parameter(torch.tensor([2 + 3j, 4 - 5j]))
    spec = WeightSpec.from_module(model)
    buffer = torch.empty(spec.size)
    bind(model, spec, buffer)
    assert buffer.tolist() == [1, 2, 3, 4, -5]
    assert spec.weights[1].shape == (2, 2)
    assert spec.weights[1].num_filters == 0
    odd, w = spec.tensors(buffer)
    assert torch.equal(odd, model.odd)
    assert torch.equal(w, model.w)
    assert torch.equal(spec.flatten([odd, w]), buffer)


@pytest.mark.parametrize(
    ("shape", "dtype", "number"),
    [
        ((5, 1), torch.float32, 0),  # the lengths of weight normalization
        ((5, 1, 1), torch.float32, 0),  # the scales of channels
        ((1, 5), torch.float32, 1),
        ((1, 1), torch.float32, 1),
        ((5, 2), torch.complex64, 5),
        ((5, 1), torch.complex64, 0),
        ((0, 3), torch.float32, 0),
    ],
)
def test_a_single_number_is_not_a_filter(shape, dtype, number):
    model = nn.Linear(1, 1)
    model.w = nn.Parameter(torch.zeros(shape, dtype=dtype))
    assert WeightSpec.from_module(model).weights[-1].num_filters == number


def _filters(module, name):
    spec = WeightSpec.from_module(module)
    weight = next(weight for weight in spec.weights if weight.name == name)
    return weight.filters(dict(module.named_parameters())[name])


def test_filters_of_an_attention_layer_are_the_heads_rows_of_the_joint_input_projection():
    module = seeded(lambda: nn.MultiheadAttention(6, 3))
    found = _filters(module, "in_proj_weight")
    assert len(found) == 9
    for part in range(3):  # query, key, value
        for head in range(3):
            rows = slice(6 * part + 2 * head, 6 * part + 2 * head + 2)
            assert torch.equal(found[3 * part + head], module.in_proj_weight[rows])


@pytest.mark.parametrize("name", ["q_proj_weight", "k_proj_weight", "v_proj_weight"])
def test_filters_of_separate_projections_are_the_heads_rows(name):
    module = seeded(lambda: nn.MultiheadAttention(6, 3, kdim=4, vdim=5))
    found = _filters(module, name)
    assert len(found) == 3
    assert all(
        torch.equal(found[head], getattr(module, name)[2 * head : 2 * head + 2])
        for head in range(3)
    )


def test_filters_of_the_output_projection_are_the_heads_columns():
    module = seeded(lambda: nn.MultiheadAttention(6, 3))
    found = _filters(module, "out_proj.weight")
    assert len(found) == 3
    for head in range(3):
        columns = module.out_proj.weight[:, 2 * head : 2 * head + 2]
        assert sorted(found[head].flatten().tolist()) == sorted(columns.flatten().tolist())


def test_filters_of_an_embedding_are_its_rows():
    module = seeded(lambda: nn.Embedding(7, 4))
    assert torch.equal(_filters(module, "weight").flatten(1), module.weight)


def test_filters_of_a_convolution_are_its_output_channels():
    module = seeded(lambda: nn.Conv2d(3, 5, 2))
    assert torch.equal(_filters(module, "weight").flatten(1), module.weight.flatten(1))


def test_filters_are_views_through_which_a_weight_can_be_changed():
    module = seeded(lambda: nn.MultiheadAttention(6, 3))
    with torch.no_grad():
        _filters(module, "out_proj.weight")[1].zero_()
    assert not module.out_proj.weight[:, 2:4].any()
    assert module.out_proj.weight[:, :2].all()
