"""Rescaled networks against the networks they were made of, called directly in float64."""

import copy

import pytest
import torch
from cases import classification, images, seeded
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from landscape import Problem
from landscape.ascent.steepest import dual_norm
from landscape.errors import InputError, LandscapeError
from landscape.models import build_model
from landscape.reductions import norm
from landscape.sharpness.rescaling import function_preserving_rescalings

EXACT = {"device": "cpu", "dtype": "float64"}


def trained(model, inputs):
    """Move weights and running statistics away from where they start."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        model.train()(inputs)
    return model.eval()


def named(name, data, **arguments):
    return trained(seeded(lambda: build_model(name, **arguments)), data[0]), data


def pictures(size, channels=3, num_examples=12):
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(num_examples, channels, size, size, generator=generator)
    return inputs, torch.randint(10, (num_examples,), generator=generator)


def series():
    generator = torch.Generator().manual_seed(6)
    return torch.randn(12, 9, 1, generator=generator), torch.randint(5, (12,), generator=generator)


def rings():
    geometric = pytest.importorskip(
        "torch_geometric.data", reason="the extra graphs is not installed"
    )
    generator, graphs = torch.Generator().manual_seed(3), []
    for number, size in enumerate((3, 5, 4, 6)):
        nodes = torch.arange(size)
        edges = torch.stack([nodes, (nodes + 1) % size])
        x = torch.randn(size, 3, generator=generator)
        graphs.append(
            geometric.Data(
                x=x, edge_index=torch.cat([edges, edges.flip(0)], 1), y=torch.tensor([number % 2])
            )
        )
    return graphs


MODELS = {
    "mlp": (lambda: named("mlp", classification(), in_features=5, width=6, depth=3), {"relu": 3}),
    "lenet": (lambda: named("lenet", pictures(12, 1), image_size=12), {"relu": 4}),
    "resnet20": (lambda: named("resnet20", pictures(8), width=2), {"relu": 9, "batchnorm": 19}),
    "resnet18": (lambda: named("resnet18", pictures(8), width=2), {"relu": 8, "batchnorm": 20}),
    "vgg16": (lambda: named("vgg16", pictures(32), width=2), {"relu": 13, "batchnorm": 13}),
    "transformer": (
        lambda: named("transformer", series(), length=9, d_model=4, feedforward=3),
        {"relu": 5},
    ),
    "gcn": (
        lambda: (seeded(lambda: build_model("gcn", in_features=3, width=4, depth=3)), rings()),
        {"relu": 4},
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def rescaled(request):
    """A network's problem, its rescalings, and how many pairs of layers there are by its
    architecture."""
    build, counts = MODELS[request.param]
    problem = Problem(*build(), **EXACT, batch_size=5)
    return problem, function_preserving_rescalings(problem), counts


def test_every_pair_of_layers_of_the_architecture_is_found(rescaled):
    _, found, counts = rescaled
    assert {r.kind: len(r.pairs) for r in found} == counts


def test_the_rescaled_network_has_the_outputs_of_the_original_one(rescaled):
    problem, found, _ = rescaled
    model, inputs = problem.copy_module(), problem.batches[-1][0]
    for rescaling in found:
        torch.testing.assert_close(
            rescaling.problem.copy_module()(inputs), model(inputs), rtol=1e-11, atol=1e-11
        )
        assert rescaling.output_change < 1e-12


def test_the_rescaled_network_has_the_loss_of_the_original_one(rescaled):
    problem, found, _ = rescaled
    assert [r.problem.loss() for r in found] == pytest.approx(
        [problem.loss()] * len(found), rel=1e-11
    )


def tensor_ratios(problem, other):
    """Name of each parameter tensor -> its norm in the other problem over its norm in this one."""
    pairs = zip(problem.spec.views(problem.weights), problem.spec.views(other.weights), strict=True)
    return dict(
        zip(problem.spec.names, (float(b.norm() / a.norm()) for a, b in pairs), strict=True)
    )


def test_the_rescaled_weights_are_other_weights(rescaled):
    problem, found, counts = rescaled
    for rescaling in found:
        ratios = tensor_ratios(problem, rescaling.problem).values()
        assert sum(not 0.5 < ratio < 2 for ratio in ratios) >= counts[rescaling.kind]


def test_weights_times_gradient_stay_while_the_gradient_does_not(rescaled):
    problem, found, _ = rescaled
    w, g = problem.weights, problem.gradient().vector
    for rescaling in found:
        other_w, other_g = rescaling.problem.weights, rescaling.problem.gradient().vector
        adaptive = [
            float(dual_norm([b], scaling=[a.abs()])) for a, b in ((w, g), (other_w, other_g))
        ]
        assert adaptive[1] == pytest.approx(adaptive[0], rel=1e-9)
        assert not 0.9 < norm(other_g) / norm(g) < 1.1


def perceptron(*between, width=4):
    """5 -> width -> ... -> 3 with the given modules between linear layers."""

    def build():
        layers, fan_in = [], 5
        for module in between:
            layers += [nn.Linear(fan_in, width), module]
            fan_in = width
        return nn.Sequential(*layers, nn.Linear(fan_in, 3))

    return seeded(build)


def pairs_of(model, data=None, **options):
    found = function_preserving_rescalings(
        Problem(model, data or classification(), **EXACT), **options
    )
    return {r.kind: r.pairs for r in found}


@pytest.mark.parametrize("between", [nn.Tanh(), nn.GELU(), nn.Softplus(), nn.ELU(), nn.Sigmoid()])
def test_a_function_that_is_not_homogeneous_is_refused(between):
    with pytest.raises(InputError, match="this model has neither"):
        pairs_of(perceptron(between))


def test_relu6_is_refused_though_no_unit_is_near_6():
    model = perceptron(nn.ReLU6())
    with torch.no_grad():
        model[0].weight.mul_(0.5)
    assert model[1](model[0](classification()[0])).max() < 6 / 4
    with pytest.raises(InputError, match="this model has neither"):
        pairs_of(model)


@pytest.mark.parametrize(
    "between",
    [nn.ReLU(), nn.LeakyReLU(), nn.Identity(), nn.Dropout(), nn.Hardtanh(0, float("inf"))],
)
def test_a_homogeneous_function_is_accepted(between):
    assert pairs_of(perceptron(between)) == {"relu": ("0 -> 2",)}


def test_a_network_is_rescaled_where_it_can_be():
    assert pairs_of(perceptron(nn.ReLU(), nn.GELU(), nn.ReLU())) == {"relu": ("0 -> 2", "4 -> 6")}


def test_a_function_with_weights_of_its_own_may_stand_between_two_layers():
    assert pairs_of(perceptron(nn.PReLU(4))) == {"relu": ("0 -> 2",)}


def test_the_scale_of_layer_normalization_goes_into_the_next_layer():
    assert pairs_of(perceptron(nn.Sequential(nn.Tanh(), nn.LayerNorm(4)))) == {
        "relu": ("1.1 -> 2",)
    }


def test_the_scale_before_attention_goes_into_its_projections():
    layer = seeded(
        lambda: nn.TransformerEncoderLayer(
            4, 2, 3, activation="gelu", batch_first=True, norm_first=True
        )
    )
    model = nn.Sequential(layer, nn.Flatten(), nn.Tanh(), nn.Linear(12, 3))
    data = (torch.randn(10, 3, 4, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 3)
    assert pairs_of(model, data) == {"relu": ("0.norm1 -> 0.self_attn", "0.norm2 -> 0.linear1")}


def test_parametrized_layers_are_rescaled():
    model = perceptron(nn.ReLU(), nn.ReLU())
    for i in (0, 2, 4):
        weight_norm(model[i])
    assert pairs_of(model) == {
        "relu": ("0 -> 2.parametrizations.weight", "2 -> 4.parametrizations.weight")
    }


def test_a_layer_between_two_pairs_does_not_keep_its_weights():
    problem = Problem(perceptron(nn.ReLU(), nn.ReLU(), nn.ReLU()), classification(), **EXACT)
    (found,) = function_preserving_rescalings(problem, factor=4.0)
    ratios = tensor_ratios(problem, found.problem)
    weights = [ratios[f"{i}.weight"] for i in (0, 2, 4, 6)]
    biases = [ratios[f"{i}.bias"] for i in (0, 2, 4, 6)]
    assert weights == pytest.approx([4, 1 / 16, 16, 1 / 4])
    assert biases == pytest.approx([4, 1 / 4, 4, 1])


class Tied(nn.Module):
    """Four layers, of which the first two share their weight."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(5, 5) for _ in range(4))
        self.b.weight = self.a.weight

    def forward(self, x):
        for layer in (self.a, self.b, self.c):
            x = layer(x).relu()
        return self.d(x)


def test_tied_weights_are_left_alone():
    assert pairs_of(seeded(Tied)) == {"relu": ("c -> d",)}


class Repeated(nn.Module):
    """Three layers without biases, of which the second is applied twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(5, 5, bias=False) for _ in range(3))

    def forward(self, x):
        for layer in (self.a, self.b, self.b):
            x = layer(x).relu()
        return self.c(x)


def test_a_layer_that_is_applied_twice_is_left_alone():
    assert pairs_of(seeded(Repeated)) == {"relu": ("a -> c",)}


class Residual(nn.Module):
    """Two layers around which the first one's outputs are carried on."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        h = self.a(x).relu()
        return self.c((h + self.b(h).relu()).tanh())


def test_layers_whose_outputs_go_around_the_next_one_are_refused():
    with pytest.raises(InputError, match="this model has neither"):
        pairs_of(seeded(Residual))


def test_a_layer_whose_units_are_all_dead_is_not_counted():
    model = perceptron(nn.ReLU(), nn.ReLU())
    with torch.no_grad():
        model[0].bias.fill_(-100)
    assert pairs_of(model) == {"relu": ("2 -> 4",)}


def test_frozen_layers_keep_their_weights():
    model = perceptron(nn.ReLU(), nn.ReLU())
    model[2].requires_grad_(False)
    with pytest.raises(InputError, match="this model has neither"):
        pairs_of(model)


def normalized(eps=1e-5, **options):
    """A convolution with a bias under batch normalization, with statistics that are not trivial."""

    def build():
        layers = [nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3, eps=eps, **options), nn.Tanh()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(108, 3))

    return trained(seeded(build), images()[0])


@pytest.mark.parametrize("eps", [1e-5, 1.0, 100.0])
@pytest.mark.parametrize("factor", [4.0, 0.3])
def test_weights_under_stored_batch_normalization_are_rescaled_exactly_however_large_eps_is(
    eps, factor
):
    problem = Problem(normalized(eps), images(), **EXACT)
    (found,) = function_preserving_rescalings(problem, factor=factor)
    inputs = problem.batches[0][0]
    torch.testing.assert_close(
        found.problem.copy_module()(inputs), problem.copy_module()(inputs), rtol=1e-13, atol=1e-13
    )
    assert found.name == "weights under BatchNorm"


def test_statistics_become_those_of_the_rescaled_weights():
    problem = Problem(normalized(), images(), **EXACT)
    (found,) = function_preserving_rescalings(problem, factor=4.0)
    before, after = problem.copy_module(), found.problem.copy_module()
    assert torch.equal(after[0].weight, 4 * before[0].weight)
    assert torch.equal(after[0].bias, 4 * before[0].bias)
    assert torch.equal(after[1].running_mean, 4 * before[1].running_mean)
    assert torch.equal(after[1].running_var, 16 * before[1].running_var)
    assert torch.equal(after[1].bias, before[1].bias)
    assert torch.equal(after[4].weight, before[4].weight)


@pytest.mark.parametrize("batchnorm", ["batch", "recalibrate"])
def test_under_the_statistics_of_batches_the_change_is_that_of_eps_and_is_reported(batchnorm):
    changes = []
    for eps in (1e-6, 1e-4):
        problem = Problem(normalized(eps), images(), batchnorm=batchnorm, **EXACT)
        (found,) = function_preserving_rescalings(problem)
        a, b = (p.outputs()[0] for p in (problem, found.problem))
        assert found.output_change == pytest.approx(
            float((a - b).abs().max() / a.abs().max()), rel=1e-12
        )
        changes.append(found.output_change)
    assert changes[1] / changes[0] == pytest.approx(100, rel=0.05)
    assert changes[1] < 1e-2


def test_normalization_without_a_scale_is_left_alone():
    with pytest.raises(InputError, match="this model has neither"):
        pairs_of(normalized(affine=False), images())


def test_normalization_without_running_statistics_is_left_alone():
    with pytest.raises(InputError, match="this model has neither"):
        pairs_of(normalized(track_running_stats=False), images())


def test_a_power_of_two_changes_no_bit_of_the_outputs_in_float32():
    problem = Problem(perceptron(nn.ReLU(), nn.ReLU()), classification(), device="cpu")
    (found,) = function_preserving_rescalings(problem, factor=8.0)
    assert (found.output_change, found.problem.loss()) == (0.0, problem.loss())


def test_another_factor_changes_the_outputs_by_rounding():
    (found,) = function_preserving_rescalings(
        Problem(perceptron(nn.ReLU(), nn.ReLU()), classification(), device="cpu"), factor=3.0
    )
    assert 0 < found.output_change < 1e-6


@pytest.mark.parametrize("batchnorm", ["stored", "batch", "recalibrate"])
def test_the_callers_problem_and_model_are_untouched(batchnorm):
    model = normalized()
    state = copy.deepcopy(model.state_dict())
    problem, random_state = (
        Problem(model, images(), batchnorm=batchnorm, device="cpu"),
        torch.get_rng_state(),
    )
    before = problem.weights_hash, problem.loss(), norm(problem.gradient().vector)
    (found,) = function_preserving_rescalings(problem)
    found.problem.gradient()
    assert (problem.weights_hash, problem.loss(), norm(problem.gradient().vector)) == before
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_problems_that_share_a_model_give_the_same_bits_in_turn():
    model, data = MODELS["resnet20"][0]()
    problem = Problem(model, data, device="cpu")
    problems = [problem, *(r.problem for r in function_preserving_rescalings(problem))]
    first = [(p.loss(), norm(p.gradient().vector), p.weights_hash) for p in problems]
    again = [(p.loss(), norm(p.gradient().vector), p.weights_hash) for p in reversed(problems)]
    assert again[::-1] == first
    assert len({weights for _, _, weights in first}) == 3


class OnlySometimes(nn.Module):
    """ReLU for most inputs, tanh for large ones."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        h = self.a(x)
        return self.b(torch.where(x[:, :1] > 50, h.tanh(), h.relu()))


def test_a_change_of_outputs_on_other_examples_than_those_tried_is_an_error():
    inputs, targets = classification()
    inputs[-1, 0] = 100
    with pytest.raises(LandscapeError, match="by rounding only, at most"):
        pairs_of(seeded(OnlySometimes), (inputs, targets))


@pytest.mark.parametrize("factor", [0.0, -2.0, 1.0, float("inf"), float("nan")])
def test_a_factor_that_rescales_nothing_is_refused(factor):
    with pytest.raises(
        InputError, match="a factor of rescaling must be positive, finite and not 1"
    ):
        pairs_of(perceptron(nn.ReLU()), factor=factor)


def test_progress_ends_at_the_announced_total():
    class Listener:
        def start(self, task, total):
            self.total, self.is_running = total, True

        def update(self, completed, **fields):
            self.completed = completed

        def stop(self):
            self.is_running = False

    listener = Listener()
    pairs_of(perceptron(nn.ReLU(), nn.ReLU()), progress=listener)
    assert (listener.completed, listener.is_running) == (listener.total, False)
