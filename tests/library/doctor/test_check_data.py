import math

import pytest
import torch
from cases import classification, images, tiny_cnn, tiny_mlp
from torch import nn

from landscape.doctor.check_data import (
    check_augmentation,
    check_classes,
    check_inputs,
    check_recorded,
    check_smoothing,
)
from landscape.doctor.findings import Severity
from landscape.problem.problem import Problem


class Fixed(nn.Module):
    """Answers by the sign of its first input; the weight moves nothing but the confidence."""

    def __init__(self, num_outputs=2, scale=1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.num_outputs = num_outputs

    def forward(self, x):
        score = self.scale * x.flatten(1)[:, :1]
        return nn.functional.pad(
            torch.cat([-score, score], 1), (0, self.num_outputs - 2), value=-9.0
        )


def signs(num_wrong=0, num_examples=100):
    """Half of each sign, whose class is that sign except for the first ones of either class."""
    x = torch.tensor([-1.0, 1.0]).repeat(num_examples // 2)[:, None]
    y = (x[:, 0] > 0).long()
    y[:num_wrong] = 1 - y[:num_wrong]
    return x, y


def trained(**settings):
    """What a checkpoint of ours records, with a test accuracy of 0.9."""
    return {
        "settings": settings,
        "state": {"rows": [{"test_accuracy": 0.1}, {"test_accuracy": 0.9}], "step": 0},
    }


def test_inputs_are_described_by_mean_and_deviation():
    x = torch.tensor([[1.0], [3.0]])
    found = check_inputs(Problem(Fixed(), (x, torch.tensor([0, 1]))))
    assert (found.values["mean"], found.values["deviation"]) == (2.0, 1.0)
    assert found.severity == Severity.OK


def test_raw_pixels_are_a_warning():
    found = check_inputs(Problem(tiny_cnn(), (images()[0] * 60 + 120, images()[1])))
    assert found.severity == Severity.WARNING
    assert "as if they were not normalized" in found.message
    assert "`data_arg`" in found.remedy


def test_inputs_with_nan_are_a_problem():
    x, y = classification()
    x[0, 0] = math.nan
    found = check_inputs(Problem(tiny_mlp(), (x, y)))
    assert found.severity == Severity.PROBLEM
    assert "1 of 100 input values are NaN or infinite" in found.message


def test_tokens_are_no_floating_numbers():
    model = nn.Sequential(nn.Embedding(4, 3), nn.Flatten())
    found = check_inputs(Problem(model, (torch.arange(4)[:, None], torch.tensor([0, 1, 2, 0]))))
    assert found.severity == Severity.OK


def test_an_accuracy_well_above_chance_is_fine():
    found = check_classes(Problem(Fixed(), signs(10)))
    assert found.severity == Severity.OK
    assert (found.values["accuracy"], found.values["chance"]) == (0.9, 0.5)


@pytest.mark.parametrize(
    ("num_wrong", "severity"), [(36, Severity.PROBLEM), (34, Severity.OK), (100, Severity.PROBLEM)]
)
def test_an_accuracy_within_three_standard_errors_of_chance_is_a_problem(num_wrong, severity):
    assert (
        check_classes(Problem(Fixed(), signs(num_wrong))).severity == severity
    )  # .5 + 3 * .05 = .65


def test_chance_is_the_share_of_the_commonest_class():
    x, y = -torch.ones(100, 1), torch.zeros(100, dtype=torch.int64)
    y[:10] = 1
    found = check_classes(Problem(Fixed(), (x, y)))
    assert (found.values["accuracy"], found.values["chance"]) == pytest.approx((0.9, 0.9))
    assert found.severity == Severity.PROBLEM
    assert "`data_arg`" in found.remedy


def test_more_outputs_than_classes_are_a_warning():
    found = check_classes(Problem(Fixed(num_outputs=5), signs()))
    assert found.severity == Severity.WARNING
    assert "the model has 5 outputs, the data have 2 classes" in found.message


def test_a_subset_may_lack_classes():
    assert (
        check_classes(Problem(Fixed(num_outputs=5), signs(), num_population=200)).severity
        == Severity.OK
    )


def test_a_regression_has_no_classes():
    problem = Problem(nn.Linear(1, 1), (torch.ones(4, 1), torch.ones(4, 1)), nn.functional.mse_loss)
    assert check_classes(problem).severity == Severity.NOTE


@pytest.mark.parametrize(
    ("num_wrong", "severity"),
    [(10, Severity.OK), (12, Severity.WARNING), (40, Severity.PROBLEM), (0, Severity.PROBLEM)],
)
def test_the_test_accuracy_should_be_what_training_recorded(num_wrong, severity):
    found = check_recorded(trained(), Problem(Fixed(), signs(num_wrong)))
    assert found.severity == severity
    assert found.values == {"recorded": 0.9, "found": 1 - num_wrong / 100}


@pytest.mark.parametrize(
    "training",
    [
        None,
        {"epoch": 3},
        {"state": {"rows": [], "step": 0}},
        {"state": {"rows": [{"test_accuracy": 0.1}], "step": 5}},
    ],
)
def test_without_a_record_of_these_weights_nothing_is_compared(training):
    found = check_recorded(training, Problem(Fixed(), signs()))
    assert found.severity == Severity.NOTE
    assert "records none" in found.message


def test_without_a_test_split_nothing_is_compared():
    assert "none of these data" in check_recorded(trained(), None).message


def test_training_without_augmentation_is_fine():
    found = check_augmentation(trained(augmentation="none"), Problem(tiny_cnn(), images()), seed=0)
    assert found.severity == Severity.OK


def test_training_that_is_not_recorded_is_noted():
    assert check_augmentation(None, Problem(tiny_cnn(), images()), seed=0).severity == Severity.NOTE


def test_the_loss_with_augmentation_is_stated_beside_that_without():
    problem = Problem(tiny_cnn(), images())
    found = check_augmentation(trained(augmentation="flip"), problem, seed=0)
    assert found.severity == Severity.NOTE
    assert found.values["loss"] == problem.loss()
    assert found.values["loss_augmented"] != problem.loss()


def test_a_flip_of_symmetric_images_changes_no_loss():
    x, y = images()
    found = check_augmentation(
        trained(augmentation="flip"), Problem(tiny_cnn(), (x + x.flip(3), y)), seed=0
    )
    assert found.values["loss_augmented"] == pytest.approx(found.values["loss"], rel=1e-6)


def test_a_minimum_of_other_images_is_a_warning():
    x = torch.zeros(40, 1, 6, 6)
    x[::2, 0, :, 0], x[1::2, 0, :, 0] = (
        -1.0,
        1.0,
    )  # the first column says the class, and a flip takes it away
    problem = Problem(Fixed(scale=3.0), (x, torch.arange(40) % 2))
    found = check_augmentation(trained(augmentation="flip"), problem, seed=0)
    assert found.severity == Severity.WARNING
    assert found.values["loss_augmented"] == pytest.approx(
        math.log(2) / 2, rel=0.3
    )  # half of the scores are 0


def test_label_smoothing_is_noted_where_it_was():
    found = check_smoothing(trained(label_smoothing=0.1))
    assert found.severity == Severity.NOTE
    assert "label smoothing 0.1" in found.message
    assert check_smoothing(trained(label_smoothing=0.0)).severity == Severity.OK
    assert check_smoothing(None).severity == Severity.OK
