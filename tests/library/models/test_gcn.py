import sys

import pytest
import torch
from cases import seeded

from landscape.errors import InputError
from landscape.models import build_model
from landscape.problem.problem import Problem
from landscape.problem.reading import as_data
from landscape.training import TrainingPlan, train

NAMES = ["gcn", "gcn-topk"]
TINY = {"in_features": 3, "width": 4, "depth": 2}


@pytest.fixture(scope="module")
def geometric():
    return pytest.importorskip("torch_geometric.data", reason="the extra graphs is not installed")


def tiny(name, **changed):
    return seeded(lambda: build_model(name, **{**TINY, **changed}))


def rings(geometric, sizes=(3, 5, 4, 6)):
    """Undirected rings with random features, in float64."""
    generator = torch.Generator().manual_seed(3)
    graphs = []
    for number, size in enumerate(sizes):
        nodes = torch.arange(size)
        edges = torch.stack([nodes, (nodes + 1) % size])
        x = torch.randn(size, 3, generator=generator, dtype=torch.float64)
        edge_index = torch.cat([edges, edges.flip(0)], dim=1)
        graphs.append(geometric.Data(x=x, edge_index=edge_index, y=torch.tensor([number % 2])))
    return graphs


def num_parameters(model):
    return sum(p.numel() for p in model.parameters())


def convolution(narrow, wide):
    return 2 * narrow * wide + wide


@pytest.mark.parametrize(("depth", "expected"), [(5, 125_442), (4, 92_546)])
def test_mean_network_has_the_125_thousand_parameters_of_the_seed_paper(depth, expected, geometric):
    formula = (
        convolution(14, 64)
        + convolution(64, 128)
        + (depth - 2) * convolution(128, 128)
        + 129 * 64
        + 65 * 2
    )
    assert num_parameters(build_model("gcn", depth=depth)) == formula == expected


def test_pooling_network_has_the_parameters_of_the_example(geometric):
    scores = 3 * 128
    formula = (
        convolution(14, 128) + 2 * convolution(128, 128) + scores + 257 * 128 + 129 * 64 + 65 * 2
    )
    assert num_parameters(build_model("gcn-topk")) == formula


def test_mean_network_is_the_published_formula(geometric):
    model, graphs = tiny("gcn").double().eval(), rings(geometric)
    expected = []
    for graph in graphs:
        adjacency = torch.zeros(len(graph.x), len(graph.x), dtype=torch.float64)
        adjacency[graph.edge_index[1], graph.edge_index[0]] = 1
        x = graph.x
        for number, layer in enumerate(model.convolutions):
            own, neighbours = layer.lin_root.weight, layer.lin_rel
            x = x @ own.T + adjacency @ x @ neighbours.weight.T + neighbours.bias
            x = x.relu() if number == 0 else x
        expected.append(model.linear2(model.linear1(x.mean(0))))
    torch.testing.assert_close(model(geometric.Batch.from_data_list(graphs)), torch.stack(expected))


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_a_graph_do_not_depend_on_its_batch(name, geometric):
    model, graphs = tiny(name).double().eval(), rings(geometric)
    alone = [model(geometric.Batch.from_data_list([graph])) for graph in graphs]
    torch.testing.assert_close(model(geometric.Batch.from_data_list(graphs)), torch.cat(alone))


@pytest.mark.parametrize("name", NAMES)
def test_hessian_vector_products_make_a_symmetric_matrix(name, geometric):
    problem = Problem(tiny(name), rings(geometric), dtype="float64", batch_size=3)
    rows = [
        problem.hessian_vector_product(v) for v in torch.eye(problem.spec.size, dtype=torch.float64)
    ]
    hessian = torch.stack(rows)
    assert hessian.any()
    # Rounding of sums of a few hundred terms of size 1.
    torch.testing.assert_close(hessian, hessian.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_hessian_vector_product_is_the_derivative_of_the_gradient(name, geometric):
    problem = Problem(tiny(name), rings(geometric), dtype="float64")
    v = torch.randn(
        problem.spec.size, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    h, w = 1e-6, problem.weights
    difference = (problem.gradient(w + h * v).vector - problem.gradient(w - h * v).vector) / (2 * h)
    # Central differences: h^2 times a third derivative, and rounding over h.
    torch.testing.assert_close(problem.hessian_vector_product(v), difference, rtol=1e-5, atol=1e-8)


def test_loss_and_accuracy_of_graphs_do_not_depend_on_batch_size(geometric):
    whole, cut = (
        Problem(tiny("gcn"), rings(geometric), dtype="float64", batch_size=size) for size in (4, 3)
    )
    assert cut.evaluate().accuracy == whole.evaluate().accuracy
    # Two orders of summation in float64.
    assert cut.loss() == pytest.approx(whole.loss(), rel=1e-14)


def test_training_draws_graphs_in_a_new_order_every_epoch(geometric):
    model, seen = tiny("gcn").double(), []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].ptr.diff().tolist()))
    data = as_data(rings(geometric))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    train(model, data, None, optimizer, TrainingPlan(epochs=4, batch_size=4))
    assert [sorted(sizes) for sizes in seen] == [[3, 4, 5, 6]] * 4
    assert len({tuple(sizes) for sizes in seen}) > 1


@pytest.mark.parametrize("name", NAMES)
def test_graphs_with_another_number_of_features_are_refused_naming_the_argument(name, geometric):
    message = r"takes nodes with 7 features, got 3\. Pass `model_arg=\{'in_features': 3\}`\."
    with pytest.raises(InputError, match=message):
        Problem(tiny(name, in_features=7), rings(geometric), dtype="float64").loss()


@pytest.mark.parametrize("name", NAMES)
def test_missing_extra_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric.nn", None)
    with pytest.raises(
        InputError, match=r"PyTorch Geometric.*pip install 'landscape-toolkit\[graphs\]'"
    ):
        build_model(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("argument", "value"), [("depth", 0), ("in_features", 0), ("width", 0)])
def test_size_of_zero_is_refused(name, argument, value):
    with pytest.raises(InputError, match=f"{argument} must be at least 1, got 0"):
        build_model(name, **{argument: value})
