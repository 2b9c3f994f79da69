"""The library's hints, as the command line writes them."""

import pytest
from landscape_cli.app import app
from landscape_cli.hints import in_options, option_names
from typer.main import get_command

NAMES = option_names(get_command(app))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pass `dtype='float64'`.", "Pass --dtype float64."),
        ("Pass `data=NAME` or `data='f.py:g'`.", "Pass --data NAME or --data f.py:g."),
        ("Pass `polish=True` too.", "Pass --polish too."),
        ("Leave `samples` out.", "Leave --samples out."),
        ("Pass `top_k=5, bottom_k=0`.", "Pass --top-k 5 --bottom-k 0."),
        ("Pass `model_arg={'in_features': 5}`.", "Pass --model-arg in_features=5."),
        ("Pass `rho=[0.1, 0.2]`.", "Pass --rho 0.1,0.2."),
        ("Pass `view=(35, -60)`.", "Pass --view 35:-60."),
        ("Pass `model='my file.py:f'`.", "Pass --model 'my file.py:f'."),
        (
            "Compute it by `landscape.save(FILE, landscape.hessian(problem, trace=True))`.",
            "Compute it by landscape hessian CKPT --trace --out FILE.",
        ),
        ("Pass `num_check_matvecs=0`.", "Pass `num_check_matvecs=0`."),
        ("See `Problem` and `a b`.", "See `Problem` and `a b`."),
        ("Pass 'a' or 5.", "Pass 'a' or 5."),
    ],
)
def test_python_in_backticks_is_written_as_options(text, expected):
    assert in_options(text, NAMES) == expected


def test_a_user_sees_options_in_messages_and_hints(run, checkpoint, tmp_path):
    answer = run("surface", checkpoint, "--label-noise-seed", 3, "--out", tmp_path / "s.h5")
    assert "--label-noise-seed 3 is the seed of wrong labels, and there are none" in answer.err
    assert "Pass --label-noise with their share too" in answer.err
