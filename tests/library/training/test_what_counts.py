"""Training by losses that are means over what counts, in whole batches and in pieces."""

import pytest
import torch
from token_losses import NEXT, WORDS, Tokens, of_tokens, sum_and_count
from torch import nn
from torch.nn import functional as F

from landscape.optim import SAM
from landscape.problem.problem import Problem
from landscape.training import TrainingPlan, train


def trained(micro_batch, loss=None, optimizer=torch.optim.SGD, build=Tokens, **options):
    torch.manual_seed(0)
    model = build().double()
    plan = TrainingPlan(epochs=2, batch_size=8, micro_batch=micro_batch)
    optimizer = optimizer(model.parameters(), **{"lr": 0.1, **options})
    history = train(model, (WORDS, NEXT), (WORDS, NEXT), optimizer, plan, criterion=loss)
    return model, history


@pytest.mark.parametrize("loss", [None, sum_and_count])
@pytest.mark.parametrize("micro_batch", [None, 3])
def test_training_averages_over_the_tokens_that_count(micro_batch, loss):
    model, history = trained(micro_batch, loss)
    whole, expected = trained(None, sum_and_count)
    assert history.train_loss.tolist() == pytest.approx(expected.train_loss.tolist(), rel=1e-12)
    for found, expected in zip(model.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    problem = Problem(model, (WORDS, NEXT), dtype="float64", batch_size=13)
    assert history.test_loss[-1] == pytest.approx(problem.loss(), rel=1e-12)
    if loss is None:
        assert history.test_accuracy[-1] == pytest.approx(problem.evaluate().accuracy)


def test_a_step_in_pieces_is_along_the_gradient_of_the_mean_over_what_counts():
    order = torch.arange(13)
    plan = TrainingPlan(epochs=1, batch_size=13, micro_batch=4)
    torch.manual_seed(0)
    model = Tokens().double()
    before = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    mean = of_tokens(model(WORDS[order]), NEXT[order])
    gradients = torch.autograd.grad(mean, list(model.parameters()))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    train(model, (WORDS, NEXT), None, optimizer, plan, criterion=sum_and_count)
    after = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    expected = -0.1 * torch.cat([gradient.reshape(-1) for gradient in gradients])
    assert torch.allclose(after - before, expected, rtol=0, atol=1e-14)


def test_sam_in_pieces_climbs_and_descends_by_what_counts():
    options = {"optimizer": SAM, "base": torch.optim.SGD, "rho": 0.1}
    pieces, _ = trained(3, sum_and_count, **options)
    whole, _ = trained(None, sum_and_count, **options)
    for found, expected in zip(pieces.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_counting_the_pieces_leaves_no_trace_in_batch_normalization_and_dropout():
    class Normed(Tokens):
        def __init__(self):
            super().__init__()
            self.norm, self.drop = nn.BatchNorm1d(3), nn.Dropout(0.3)

        def forward(self, words):
            x = self.norm(self.embedding(words).movedim(-1, 1)).movedim(1, -1)
            return self.head(self.drop(x))

    def of_all(outputs, targets):
        return F.cross_entropy(outputs.movedim(-1, 1), targets)

    def all_counted(outputs, targets):
        return of_all(outputs, targets) * targets.numel(), targets.numel()

    plan = TrainingPlan(epochs=2, batch_size=8, micro_batch=3)
    states = []
    for loss in (of_all, all_counted):
        torch.manual_seed(0)
        model = Normed().double()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        train(model, (WORDS, NEXT.clamp(min=0)), None, optimizer, plan, criterion=loss)
        states.append(model.state_dict())
    torch.testing.assert_close(*states, rtol=1e-12, atol=1e-13)
