import math
import signal

import pytest
from landscape_cli import console


@pytest.mark.parametrize("show", [console.number, console.percent])
@pytest.mark.parametrize("value", [None, math.nan])
def test_what_was_not_measured_is_a_dash(show, value):
    assert show(value) == "-"


def test_numbers_have_the_digits_asked_for_and_shares_are_percentages():
    assert (console.number(1 / 3, 3), console.percent(1 / 3), console.number(math.inf)) == ("0.333", "33.33 %", "inf")


def test_a_training_without_a_test_set_or_classes_shows_dashes(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def model(): return torch.nn.Linear(2, 1)\n"
        "def data(): return (torch.ones(4, 2), torch.ones(4, 1)), None\n"
    )
    parts = (f"--{part}={tmp_path}/mine.py:{part}" for part in ("model", "data"))
    answer = run("train", *parts, "--loss", "mse", "--epochs", 1, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "nan" not in answer.out
    assert answer.out.count(" - ") == 4  # train accuracy, test loss, test accuracy and top-5 error


def test_a_repeated_sigterm_does_not_disturb_what_the_first_one_began():
    with console.StopSignals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


def test_a_second_ctrl_c_stops_at_once():
    with console.StopSignals() as signals:
        signals.wait_for_step()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
