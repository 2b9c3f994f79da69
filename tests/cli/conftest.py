"""A trained checkpoint, and the application run in this process."""

import json

import pytest
from landscape_cli.app import app
from typer.testing import CliRunner


class Answer:
    """What a command said."""

    def __init__(self, result):
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr
        self.exception = result.exception

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(autouse=True, scope="module")
def _one_point_a_pass():
    """Keep measured times from deciding what is computed, in this folder: one point a pass is the
    fastest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("landscape.problem.points_per_pass.most_productive", lambda *_args: 1)
        yield


@pytest.fixture(scope="session")
def run():
    """Run a command in this process; an exception that is no exit fails the test."""

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result)

    return call


@pytest.fixture(scope="session")
def trained(run, tmp_path_factory):
    """The folder of a small mlp trained on digits for two epochs with SAM."""
    folder = tmp_path_factory.mktemp("trained")
    answer = run(
        "train",
        "--optim",
        "sam",
        "--model-arg",
        "width=8",
        "--epochs",
        2,
        "--save-every",
        1,
        "--out",
        folder,
    )
    assert answer.code == 0, answer.err
    return folder


@pytest.fixture(scope="session")
def checkpoint(trained):
    return trained / "checkpoint.pt"
