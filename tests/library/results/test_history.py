import math

from landscape.results.history import make_history

ROWS = [{"epoch": i, "train_loss": 2.0 / i, "num_gradients": 3.0, "seconds": 0.5} for i in (1, 2)]


def test_an_outcome_has_the_last_measurements_and_the_sums_of_all_epochs():
    found = make_history(ROWS, {}).outcome()
    assert (found["epochs"], found["train_loss"], found["num_gradients"], found["seconds"]) == (
        2,
        1.0,
        6,
        1.0,
    )


def test_what_was_not_measured_is_nan_and_gradients_not_counted_are_none():
    first, second = ROWS
    found = make_history([first, {**second, "num_gradients": math.nan}], {}).outcome()
    assert math.isnan(found["test_loss"])
    assert found["num_gradients"] is None
