import pytest
import torch
from cases import images, seeded, tiny_cnn, tiny_mlp
from torch import nn
from torch.nn import functional as F

from landscape.doctor.check_network import check_normalization, in_mode
from landscape.doctor.findings import Severity
from landscape.problem.problem import Problem


def cnn(*, mean=None, variance=None, **options):
    """A network with one normalization layer, whose running statistics are set."""
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3),
            nn.BatchNorm2d(3, **options),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48, 3),
        )
    )
    if mean is not None:
        model[1].running_mean.fill_(mean)
    if variance is not None:
        model[1].running_var.fill_(variance)
    return model


def settled():
    """The same network with the statistics of its data."""
    model = cnn(momentum=None).train()
    model(images()[0])
    return model.eval()


def test_without_normalization_there_is_nothing_to_say():
    found = check_normalization(Problem(tiny_mlp(), (torch.ones(4, 5), torch.arange(4) % 3)))
    assert found.message == "The model has no batch normalization."


def test_settled_statistics_are_fine():
    found = check_normalization(Problem(settled(), images()))
    assert found.severity == Severity.OK
    assert found.values["loss_stored"] == pytest.approx(found.values["loss_batch"], rel=0.1)


def test_both_losses_are_those_of_torch():
    model, (inputs, targets) = tiny_cnn(), images()
    found = check_normalization(Problem(model, (inputs, targets)))
    with torch.no_grad():
        stored = float(F.cross_entropy(model.eval()(inputs), targets))
        model[1].train()
        batch = float(F.cross_entropy(model(inputs), targets))
    assert found.values["loss_stored"] == pytest.approx(stored, rel=1e-5)
    assert found.values["loss_batch"] == pytest.approx(batch, rel=1e-5)


def test_statistics_as_at_the_start_are_a_warning():
    found = check_normalization(Problem(cnn(), images()))
    assert found.severity == Severity.WARNING
    assert "1 of 1 layers have running statistics of mean 0 and variance 1" in found.message
    assert "`batchnorm='recalibrate'`" in found.remedy


def test_a_loss_that_the_mode_decides_is_a_warning():
    found = check_normalization(Problem(cnn(mean=0.0, variance=1e-6), images()))
    assert found.severity == Severity.WARNING
    assert found.values["loss_stored"] > 10 * found.values["loss_batch"]


def test_statistics_as_at_the_start_that_decide_the_loss_are_a_problem():
    inputs, targets = images()
    found = check_normalization(Problem(cnn(), (1000 * inputs, targets)))
    assert found.severity == Severity.PROBLEM


def test_layers_without_running_statistics_are_noted():
    found = check_normalization(Problem(cnn(track_running_stats=False), images()))
    assert found.severity == Severity.NOTE
    assert "keep no running statistics" in found.message


def test_modes_that_cannot_be_compared_are_noted():
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    model[1].running_mean.fill_(0.5)
    found = check_normalization(Problem(model, (torch.ones(1, 5), torch.tensor([0]))))
    assert found.severity == Severity.NOTE
    assert (
        "the two modes cannot be compared: batch normalization in training needs more than one"
        in found.message
    )


def test_another_mode_leaves_the_problem_as_it_is():
    problem = Problem(cnn(mean=1.0), images())
    before = problem.loss()
    assert in_mode(problem, "batch").loss() != before
    assert problem.loss() == before
    assert in_mode(problem, "stored") is problem


@pytest.mark.parametrize("mode", ["batch", "recalibrate"])
def test_what_is_found_does_not_depend_on_the_mode_of_the_problem(mode):
    model = cnn(mean=3.0)
    values = check_normalization(Problem(model, images())).values
    assert check_normalization(Problem(model, images(), batchnorm=mode)).values == pytest.approx(
        values
    )
