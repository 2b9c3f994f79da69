import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD

from landscape.errors import InputError
from landscape.optim import SAM
from landscape.problem.batches import BatchData, TensorData
from landscape.problem.reading import as_data
from landscape.training import AUGMENTATIONS
from tests.training_runs import train

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(50, 6, generator=GENERATOR, dtype=torch.float64)
TARGETS = torch.randint(7, (50,), generator=GENERATOR)

RTOL = 1e-12  # sums of a few dozen float64 terms, in another order


class Inputs(nn.Module):
    """A linear model of a tensor, of two, or of two by name, that remembers how many examples each
    pass had."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 7).double()
        self.sizes = []

    def forward(self, first, second=None):
        x = first if second is None else torch.cat([first, second], 1)
        self.sizes.append(len(x))
        return self.layer(x)


FORMS = {
    "tensor": INPUTS,
    "tuple": (INPUTS[:, :2], INPUTS[:, 2:]),
    "dict": {"second": INPUTS[:, 2:], "first": INPUTS[:, :2]},
}
OPTIMIZERS = {
    "sgd": lambda model: SGD(model.parameters(), lr=0.1, momentum=0.9),
    "sam": lambda model: SAM(model.parameters(), SGD, module=model, rho=0.5, lr=0.1, momentum=0.9),
    "lbfgs": lambda model: torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3),
}


def run(data, optimizer="sgd", model=None, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Inputs() if model is None else model()
    history = train(
        model, data, None, OPTIMIZERS[optimizer](model), epochs=2, **{"batch_size": 16, **options}
    )
    return model, history


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("form", FORMS)
def test_a_step_in_pieces_is_that_of_the_whole_batch(form, optimizer):
    data = TensorData(FORMS[form], TARGETS)
    expected, whole = run(data, optimizer)
    model, history = run(data, optimizer, micro_batch=5)
    assert model.sizes[:4] == [5, 5, 5, 1]
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=RTOL, atol=1e-13)
    for name in ("train_loss", "train_accuracy", "first_order_sharpness"):
        np.testing.assert_allclose(getattr(history, name), getattr(whole, name), rtol=RTOL)


def test_pieces_of_a_batch_are_augmented_as_the_whole(monkeypatch):
    monkeypatch.setitem(
        AUGMENTATIONS,
        "noise",
        lambda x, generator: x + torch.randn(x.shape, generator=generator, dtype=x.dtype),
    )
    data = TensorData(INPUTS, TARGETS)
    expected, _ = run(data, augmentation="noise")
    model, _ = run(data, augmentation="noise", micro_batch=3)
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=RTOL, atol=1e-13)


def test_graphs_are_cut_before_they_are_joined():
    geometric = pytest.importorskip("torch_geometric.data")
    from torch_geometric.nn import global_add_pool

    class Pooled(Inputs):
        def forward(self, batch):
            self.sizes.append(batch.num_graphs)
            return self.layer(global_add_pool(batch.x, batch.batch))

    sizes = [1 + i % 4 for i in range(30)]
    edges = torch.zeros(2, 0, dtype=torch.int64)
    data = as_data(
        [
            geometric.Data(x=INPUTS[i : i + size], y=TARGETS[i : i + 1], edge_index=edges)
            for i, size in enumerate(sizes)
        ]
    )
    expected, _ = run(data, model=Pooled)
    model, _ = run(data, model=Pooled, micro_batch=6)
    assert model.sizes[:3] == [6, 6, 4]
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=RTOL, atol=1e-13)


def test_batches_that_the_user_made_cannot_be_cut():
    with pytest.raises(InputError, match="batches that the user made cannot be cut"):
        run(BatchData(((INPUTS, TARGETS),)), micro_batch=5)


def test_a_micro_batch_has_at_least_one_example():
    with pytest.raises(InputError, match="micro-batch size must be at least 1, got 0"):
        run(TensorData(INPUTS, TARGETS), micro_batch=0)
