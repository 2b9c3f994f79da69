import math

import pytest

from landscape.errors import InputError
from landscape.training import SCHEDULES, factor_at


def test_constant_is_one_throughout():
    assert {factor_at("constant", step, 7) for step in range(8)} == {1.0}


def test_cosine_falls_from_one_to_zero_at_every_step():
    factors = [factor_at("cosine", step, 10) for step in range(11)]
    assert factors == pytest.approx([(1 + math.cos(math.pi * t / 10)) / 2 for t in range(11)])
    assert (factors[0], factors[5], factors[10]) == (1, pytest.approx(0.5), 0)
    assert factors == sorted(set(factors), reverse=True)


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 391])
def test_step_drops_at_half_and_three_quarters_of_the_epochs(steps_per_epoch):
    factors = [factor_at("step", step, 8 * steps_per_epoch) for step in range(8 * steps_per_epoch)]
    epochs = [set(factors[i * steps_per_epoch : (i + 1) * steps_per_epoch]) for i in range(8)]
    assert epochs == [{1.0}] * 4 + [{0.1}] * 2 + [{0.01}] * 2


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 391])
def test_step_by_fifths_drops_after_three_six_and_eight_tenths_of_the_epochs(steps_per_epoch):
    factors = [
        factor_at("step-0.2", step, 10 * steps_per_epoch) for step in range(10 * steps_per_epoch)
    ]
    epochs = [factors[i * steps_per_epoch : (i + 1) * steps_per_epoch] for i in range(10)]
    assert all(len(set(epoch)) == 1 for epoch in epochs)
    assert [epoch[0] for epoch in epochs] == pytest.approx(
        [1.0] * 3 + [0.2] * 3 + [0.04] * 2 + [0.008] * 2
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_begins_at_one(name):
    assert factor_at(name, 0, 1) == 1


def test_unknown_schedule_is_refused_with_the_known_names():
    with pytest.raises(InputError, match=r"constant, cosine, step, step-0\.2, got 'linear'"):
        factor_at("linear", 0, 1)


@pytest.mark.parametrize(("step", "num_steps"), [(-1, 5), (6, 5), (0, 0)])
def test_step_outside_the_run_is_refused(step, num_steps):
    with pytest.raises(InputError, match="step must be from 0"):
        factor_at("cosine", step, num_steps)
