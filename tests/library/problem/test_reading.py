"""Batches as loops, collators and detectors make them."""

import itertools

import numpy as np
import pytest
import torch
from reference import dense_hessian
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from landscape.errors import InputError, Remark
from landscape.problem import reading
from landscape.problem.batches import BatchData, TensorData, batch_length
from landscape.problem.problem import Problem
from landscape.problem.reading import as_data

GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(70, 6, generator=GENERATOR, dtype=torch.float64)
X[64:] *= 6  # the last batch is unlike the others
CLASS = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
VALUE = X[:, 2:4].sum(1, keepdim=True)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 3), nn.Linear(4, 1)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        return self.a(h), self.b(h)


def both(outputs, label, value):
    return F.cross_entropy(outputs[0], label) + F.mse_loss(outputs[1], value)


LOSSES = {
    "dict": lambda out, t: both(out, t["label"], t["value"]),
    "tuple": lambda out, t: both(out, *t),
}
TARGETS = {
    "dict": lambda c, v: {"label": c, "value": v, "weight": torch.ones(len(c))},
    "tuple": lambda c, v: (c, v),
}


class Examples(Dataset):
    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return 70

    def __getitem__(self, i):
        c, v = CLASS[i], VALUE[i]
        return X[i], {"label": c, "value": v} if self.kind == "dict" else (c, v)


def forms(kind):
    make = TARGETS[kind]
    yield [(X[i : i + 32], make(CLASS[i : i + 32], VALUE[i : i + 32])) for i in (0, 32, 64)]
    yield X, make(CLASS, VALUE)
    yield Examples(kind)
    yield DataLoader(Examples(kind), 32)


@pytest.mark.parametrize("kind", TARGETS)
def test_several_targets_of_an_example_count_once(kind):
    torch.manual_seed(0)
    model = TwoHeads().double()
    mean = both(model(X), CLASS, VALUE).item()
    for data in forms(kind):
        problem = Problem(model, data, LOSSES[kind], dtype="float64", batch_size=32)
        assert problem.num_examples == 70
        assert problem.loss() == pytest.approx(mean, rel=1e-13)


def test_the_hessian_of_several_targets_is_that_of_all_examples():
    torch.manual_seed(0)
    model = TwoHeads().double()
    data, *_ = forms("dict")
    problem = Problem(model, data, LOSSES["dict"], dtype="float64")
    found = torch.stack([problem.hessian_vector_product(v) for v in torch.eye(problem.spec.size)])
    expected = dense_hessian(model, X, (CLASS, VALUE), LOSSES["tuple"])
    assert torch.allclose(found, expected, atol=1e-12)


def test_examples_with_several_targets_are_taken_one_by_one():
    for data in forms("dict"):
        taken = as_data(data).take(torch.tensor([69, 0]))
        assert torch.equal(taken.inputs, X[[69, 0]])
        assert torch.equal(taken.targets["value"], VALUE[[69, 0]])


@pytest.mark.parametrize(
    ("inputs", "targets", "length"),
    [
        (torch.zeros(5, 2), torch.zeros(5), 5),
        (torch.zeros(5, 2), [torch.zeros(5), torch.zeros(5, 1)], 5),  # a default collate
        (torch.zeros(2, 2), [torch.zeros(2), torch.zeros(2), torch.zeros(2)], 2),
        (torch.zeros(5, 2), tuple({"boxes": torch.zeros(4, 4)} for _ in range(5)), 5),
        (torch.zeros(3, 2), {"boxes": [torch.zeros(k, 4) for k in range(3)]}, 3),
        (torch.zeros(2, 2), [torch.zeros(7, 4), torch.zeros(7, 4)], 2),
        (None, (torch.zeros(5), torch.zeros(5, 2)), 5),
        (None, ["a", "b", "c"], 3),
        (None, {"a": torch.zeros(5), "scale": torch.tensor(2.0)}, 5),
        (None, ((torch.zeros(5), torch.zeros(5)), torch.zeros(5)), 5),
        (None, torch.tensor(1.0), 1),
    ],
)
def test_the_targets_tell_how_many_examples_there_are(inputs, targets, length):
    assert batch_length((inputs, targets)) == length


def test_targets_that_differ_in_length_are_refused():
    with pytest.raises(InputError, match="one length"):
        batch_length((None, {"a": torch.zeros(5), "b": torch.zeros(4)}))


def pictures(count, of=tuple):
    sizes = [(3, 6 + k % 3, 7) for k in range(count)]
    images = of(torch.full(size, float(k)) for k, size in enumerate(sizes))
    return images, of({"label": torch.tensor(k)} for k in range(count))


@pytest.mark.parametrize("of", [list, tuple])
def test_a_list_of_pictures_is_one_argument(of):
    data = as_data([pictures(4, of), pictures(3, of)])  # three have three channels
    assert data.num_examples == 7
    assert all(isinstance(inputs, list) for inputs, _ in data.batches(1))
    moved = data.to(torch.device("cpu"), torch.float64)
    inputs, _ = moved.batches(1)[0]
    assert isinstance(inputs, list)
    assert inputs[0].dtype == torch.float64


@pytest.mark.parametrize("size", [2, 4])
def test_a_list_of_stacked_tensors_is_several_arguments(size):
    loader = DataLoader(TensorDataset(X, X, CLASS), size, collate_fn=lambda items: _two(items))
    assert all(isinstance(inputs, tuple) for inputs, _ in as_data(loader).batches(1))


def _two(items):
    first, second, targets = (torch.stack(part) for part in zip(*items, strict=True))
    return [first, second], targets


def test_a_list_that_has_no_entry_per_example_is_several_arguments():
    batch = (
        [torch.arange(9), torch.tensor([0, 2, 4, 7])],
        torch.zeros(4),
    )  # words and where they begin
    assert isinstance(as_data([batch]).batches(1)[0][0], tuple)


@pytest.mark.parametrize(
    "arrays",
    [
        lambda: (X.numpy(), CLASS.numpy()),
        lambda: [(X[:30].numpy(), CLASS[:30].numpy()), (X[30:].numpy(), CLASS[30:].numpy())],
        lambda: ((X.numpy(),), CLASS.numpy().astype("int64")),
        lambda: (np.asfortranarray(X.numpy()), CLASS),
        lambda: (np.lib.stride_tricks.as_strided(X.numpy(), writeable=False), CLASS.numpy()),
    ],
    ids=["pair", "batches", "nested", "mixed", "read-only"],
)
def test_arrays_are_tensors(arrays):
    model = nn.Linear(6, 3).double()
    expected = F.cross_entropy(model(X), CLASS).item()
    assert Problem(model, arrays(), dtype="float64").loss() == pytest.approx(expected, rel=1e-12)


def test_arrays_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match=r"an array of dtype <U5, which torch does not have"):
        as_data((X.numpy(), np.full(len(X), "first")))


def test_empty_batches_are_left_out():
    parts = [(X[:2], CLASS[:2]), (X[:0], CLASS[:0]), (X[2:], CLASS[2:])]
    assert [len(y) for _, y in as_data(parts).batches(1)] == [2, len(X) - 2]


class OwnLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 6), nn.Linear(6, 2)

    def forward(self, words, labels=None):
        logits = self.head(self.embedding(words).mean(1))
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


WORDS = torch.randint(0, 9, (19, 5), generator=GENERATOR)


class Dicts(Dataset):
    def __len__(self):
        return 19

    def __getitem__(self, i):
        return {"words": WORDS[i], "labels": (WORDS[i, 0] > 4).long()}


@pytest.mark.parametrize(
    "data", [Dicts(), DataLoader(Dicts(), 8), list(DataLoader(Dicts(), 8))], ids=type
)
@pytest.mark.parametrize(
    "loss",
    [lambda out, batch: out["loss"], lambda out, b: F.cross_entropy(out["logits"], b["labels"])],
)
def test_a_dict_with_its_labels_is_a_batch(data, loss):
    torch.manual_seed(0)
    model = OwnLoss().double()
    labels = (WORDS[:, 0] > 4).long()
    mean = model(WORDS, labels)["loss"].item()
    problem = Problem(model, data, loss, dtype="float64", batch_size=8)
    assert problem.num_examples == 19
    assert problem.loss() == pytest.approx(mean, rel=1e-13)


def test_what_drop_last_leaves_out_is_said():
    examples = TensorDataset(X[:60], CLASS[:60])
    with pytest.warns(Remark, match="leaves 12 of 60 examples out"):
        as_data(DataLoader(examples, 16, shuffle=True, drop_last=True))


@pytest.mark.parametrize("options", [{"drop_last": True}, {"drop_last": False}])
@pytest.mark.filterwarnings("error")
def test_a_loader_that_leaves_nothing_out_is_read_in_silence(options):
    count = 64 if options["drop_last"] else 60
    assert as_data(DataLoader(TensorDataset(X[:count]), 16, collate_fn=_pair, **options))


def _pair(items):
    inputs = torch.stack([item[0] for item in items])
    return inputs, inputs


class Endless(IterableDataset):
    def __iter__(self):
        return itertools.repeat((X[0], CLASS[0]))


@pytest.mark.parametrize(
    "source",
    [
        itertools.cycle([(X, CLASS)]),
        ((X, CLASS) for _ in itertools.count()),
        DataLoader(Endless(), 4),
    ],
    ids=["cycle", "generator", "loader"],
)
def test_data_that_do_not_end_are_refused(source, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BATCHES", 50)
    with pytest.raises(InputError, match="go on after 50 batches"):
        as_data(source)


def test_data_that_do_not_end_are_refused_before_memory_is_full(monkeypatch):
    monkeypatch.setattr(reading, "free_memory", lambda device: 1 << 20)
    batch = torch.zeros(1 << 22), torch.zeros(1)
    with pytest.raises(InputError, match="memory is full"):
        as_data(batch for _ in itertools.count())


def test_a_list_is_read_whatever_its_length(monkeypatch):
    monkeypatch.setattr(reading, "MOST_BATCHES", 5)
    assert isinstance(as_data([(X, CLASS)] * 9), BatchData)
    assert isinstance(as_data(Examples("dict")), TensorData)
