"""Options of version 0.1 that have another name now."""

import pytest
from landscape_cli.app import app
from landscape_cli.options import RENAMED
from landscape_cli.sweep.command_table import CommandTable
from typer.main import get_command

COMMANDS = get_command(app).commands


def _parsed(command, *words):
    return COMMANDS[command].make_context(command, ["a.pt", *words]).params


@pytest.mark.parametrize(
    ("command", "former", "now"),
    [
        ("surface", ["--bn", "batch"], ["--batchnorm", "batch"]),
        ("sharpness", ["--measure=asc"], ["--measures=asc"]),
        (
            "hessian",
            ["--tol", "1e-3", "--probes", "3"],
            ["--tolerance", "1e-3", "--num-probes", "3"],
        ),
        ("sharpness", ["--rel-error", "0.1"], ["--relative-error", "0.1"]),
    ],
)
def test_a_former_name_means_the_same_and_says_what_it_is_called_now(command, former, now, capsys):
    expected = _parsed(command, *now)
    assert capsys.readouterr().err == ""
    assert _parsed(command, *former) == expected
    notices = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in notices] == [
        word.partition("=")[0] for word in former if word.startswith("--")
    ]
    assert all("this release only" in line for line in notices)


def test_no_command_has_an_option_of_a_former_name():
    names = {
        name
        for command in COMMANDS.values()
        for parameter in command.params
        for name in parameter.opts
    }
    assert not names & RENAMED.keys()
    assert set(RENAMED.values()) <= names


def test_a_study_may_use_former_names():
    found = CommandTable(get_command(app)).options
    assert {"tol", "tolerance", "bn", "rel_error"} <= found["hessian"].keys()
    assert "measure" in found["sharpness"]
    assert "tol" not in found["train"]
