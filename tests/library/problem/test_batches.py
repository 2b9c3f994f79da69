from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from landscape.errors import InputError
from landscape.problem.batches import BatchData, GraphData, TensorData
from landscape.problem.reading import as_data

X, Y = torch.arange(12.0).view(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])


class Pairs(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return X[i], int(Y[i])


@pytest.mark.parametrize("source", [(X, Y), TensorDataset(X, Y), Pairs()])
def test_examples_that_stack_become_tensors(source):
    data = as_data(source)
    assert isinstance(data, TensorData)
    assert torch.equal(data.inputs, X)
    assert torch.equal(data.targets, Y)


@pytest.mark.parametrize(
    "source", [DataLoader(TensorDataset(X, Y), batch_size=4), [(X[:4], Y[:4]), (X[4:], Y[4:])]]
)
def test_the_users_batches_stay_as_they_are(source):
    data = as_data(source)
    assert isinstance(data, BatchData)
    assert [len(y) for _, y in data.batches(1)] == [4, 2]


def test_batches_cover_the_examples_in_order():
    parts = as_data((X, Y)).batches(4)
    assert [len(x) for x, _ in parts] == [4, 2]
    assert torch.equal(torch.cat([x for x, _ in parts]), X)


def test_examples_can_be_taken_from_batches_of_tensors():
    taken = as_data([(X[:4], Y[:4]), (X[4:], Y[4:])]).take(torch.tensor([5, 0]))
    assert torch.equal(taken.inputs, X[[5, 0]])


def test_examples_cannot_be_taken_from_batches_that_do_not_stack():
    with pytest.raises(InputError, match="batches of tensors of one shape"):
        as_data([(X, Y), (torch.zeros(2, 3), Y[:2])]).take(torch.tensor([0]))


def test_shuffling_is_a_permutation_decided_by_the_generator():
    data = as_data((X, Y))
    first, second = (
        torch.cat(
            [
                data.take(indices).inputs
                for indices in data.shuffled(4, torch.Generator().manual_seed(seed))
            ]
        )
        for seed in (0, 0)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, X)
    assert sorted(first[:, 0].tolist()) == X[:, 0].tolist()


def test_only_floating_tensors_change_dtype():
    data = as_data((X, Y)).to(torch.device("cpu"), torch.float64)
    assert data.inputs.dtype == torch.float64
    assert data.targets.dtype == torch.int64


@pytest.mark.parametrize(
    "changed", [(X + 1, Y), (X, Y.flip(0)), (X.flip(0), Y), (X[:5], Y[:5]), (X.double(), Y)]
)
def test_the_hash_tells_data_apart(changed):
    assert as_data(changed).hash != as_data((X, Y)).hash


def test_the_hash_of_batches_covers_every_batch():
    halves = [(X[:4], Y[:4]), (X[4:], Y[4:])]
    other = [(X[:4], Y[:4]), (X[4:] + 1, Y[4:])]
    assert as_data(halves).hash != as_data(other).hash


@pytest.mark.parametrize("source", [(X, Y), [(X[:4], Y[:4]), (X[4:], Y[4:])]])
def test_the_hash_of_what_was_read_survives_a_cast(source):
    data = as_data(source)
    cast = data.hashed().to(torch.device("cpu"), torch.float64)
    assert cast.hash == data.hash != replace(cast, digest=None).hash


def test_taken_examples_have_a_hash_of_their_own():
    data = as_data((X, Y)).hashed()
    assert data.take(torch.tensor([1, 0])).hash == as_data((X[[1, 0]], Y[[1, 0]])).hash


def test_all_examples_are_had_without_a_copy():
    data = as_data((X, Y))
    assert data.examples.inputs is X
    assert torch.equal(as_data([(X[:4], Y[:4]), (X[4:], Y[4:])]).examples.inputs, X)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "data must be a Dataset"),
        ([], "at least one example"),
        ((X, Y[:3]), "same length"),
        ([X], "a batch must be"),
        ("train", "data must be a Dataset"),
    ],
)
def test_anything_else_is_refused(source, message):
    with pytest.raises(InputError, match=message):
        as_data(source)


@pytest.fixture
def graphs():
    """Five chains of 1 to 5 nodes whose only feature is their class."""
    geometric = pytest.importorskip(
        "torch_geometric.data", reason="the extra graphs is not installed"
    )
    made = []
    for size in range(1, 6):
        edges = torch.stack([torch.arange(size - 1), torch.arange(1, size)])
        made.append(
            geometric.Data(
                x=torch.full((size, 1), float(size)), edge_index=edges, y=torch.tensor([size % 2])
            )
        )
    return made


def sizes(batches):
    return [torch.bincount(inputs.batch).tolist() for inputs, _ in batches]


class Graphs(Dataset):
    def __init__(self, graphs):
        self.graphs = graphs

    def __len__(self):
        return len(self.graphs)

    def __getitem__(self, i):
        return self.graphs[i]


@pytest.mark.parametrize("kind", [list, tuple, Graphs])
def test_graphs_can_be_taken_one_by_one(kind, graphs):
    data = as_data(kind(graphs))
    assert isinstance(data, GraphData)
    assert sizes(data.take(torch.tensor([4, 0])).batches(2)) == [[5, 1]]


def test_two_graphs_are_no_pair_of_inputs_and_targets(graphs):
    assert as_data(tuple(graphs[:2])).num_examples == 2


def test_batches_join_graphs_in_order(graphs):
    batches = as_data(graphs).batches(2)
    assert sizes(batches) == [[1, 2], [3, 4], [5]]
    assert [targets.tolist() for _, targets in batches] == [[1, 0], [1, 0], [1]]


def test_targets_of_graphs_are_in_order(graphs):
    assert as_data(graphs).targets.tolist() == [1, 0, 1, 0, 1]


def test_shuffling_graphs_is_a_permutation_decided_by_the_generator(graphs):
    data = as_data(graphs)
    first, second, other = (
        sizes(
            [
                data.pieces(part, None)[0]
                for part in data.shuffled(2, torch.Generator().manual_seed(seed))
            ]
        )
        for seed in (0, 0, 1)
    )
    assert first == second != other
    assert [len(part) for part in first] == [2, 2, 1]
    assert sorted(size for part in first for size in part) == [1, 2, 3, 4, 5]


def test_only_floating_features_of_graphs_change_dtype_and_the_users_do_not(graphs):
    moved = as_data(graphs).to(torch.device("cpu"), torch.float64)
    (inputs, targets), *_ = moved.batches(5)
    assert [inputs.x.dtype, inputs.edge_index.dtype, targets.dtype] == [
        torch.float64,
        torch.int64,
        torch.int64,
    ]
    assert graphs[0].x.dtype == torch.float32


@pytest.mark.parametrize("key", ["x", "edge_index", "y"])
def test_the_hash_of_graphs_covers_every_tensor(key, graphs):
    before = as_data(graphs).hash
    graphs[3][key] = graphs[3][key] + 1
    assert as_data(graphs).hash != before


def test_the_hash_of_graphs_survives_a_cast(graphs):
    data = as_data(graphs)
    cast = data.hashed().to(torch.device("cpu"), torch.float64)
    assert cast.hash == data.hash != replace(cast, digest=None).hash


def test_the_users_graph_batches_stay_as_they_are(graphs):
    from torch_geometric.loader import DataLoader as GraphLoader

    data = as_data(GraphLoader(graphs, batch_size=3))
    assert isinstance(data, BatchData)
    assert sizes(data.batches(1)) == [[1, 2, 3], [4, 5]]
    assert [
        inputs.x.dtype for inputs, _ in data.to(torch.device("cpu"), torch.float64).batches(1)
    ] == [torch.float64] * 2


def test_graphs_with_a_target_a_node_are_batches(graphs):
    for graph in graphs:
        graph.y = torch.zeros(graph.num_nodes)
    data = as_data(graphs)
    assert isinstance(data, BatchData)
    assert data.num_examples == 15


def test_graphs_without_targets_are_refused(graphs):
    del graphs[2].y
    with pytest.raises(InputError, match=r"a batch must be \(inputs, targets\), got Data"):
        as_data(graphs)
