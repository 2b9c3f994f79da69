import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from landscape.batches import BatchData, TensorData, as_data, hash_data
from landscape.errors import InputError

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


@pytest.mark.parametrize("source", [DataLoader(TensorDataset(X, Y), batch_size=4), [(X[:4], Y[:4]), (X[4:], Y[4:])]])
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
        torch.cat([x for x, _ in data.shuffled(4, torch.Generator().manual_seed(seed))]) for seed in (0, 0)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, X)
    assert sorted(first[:, 0].tolist()) == X[:, 0].tolist()


def test_only_floating_tensors_change_dtype():
    data = as_data((X, Y)).to(torch.device("cpu"), torch.float64)
    assert data.inputs.dtype == torch.float64
    assert data.targets.dtype == torch.int64


@pytest.mark.parametrize("changed", [(X + 1, Y), (X, Y.flip(0)), (X.flip(0), Y), (X[:5], Y[:5]), (X.double(), Y)])
def test_the_hash_tells_data_apart(changed):
    assert hash_data(as_data(changed)) != hash_data(as_data((X, Y)))


def test_the_hash_of_batches_covers_every_batch():
    halves = [(X[:4], Y[:4]), (X[4:], Y[4:])]
    other = [(X[:4], Y[:4]), (X[4:] + 1, Y[4:])]
    assert hash_data(as_data(halves)) != hash_data(as_data(other))


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
