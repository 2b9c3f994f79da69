"""The studies in examples/: what a user is told to run."""

from pathlib import Path

import pytest
import torch
from landscape_cli.app import app
from landscape_cli.sweep.check import check_code, check_runs, options_of
from landscape_cli.sweep.command_table import CommandTable
from typer.main import get_command

from landscape.data import build_data
from landscape.errors import DataError
from landscape.io.plugins import build_model
from landscape.study.read import read_study

EXAMPLES = Path(__file__).parents[1] / "examples"
STUDIES = sorted(EXAMPLES.rglob("*.toml"))
COMMANDS = CommandTable(get_command(app))


def named(path):
    return path.relative_to(EXAMPLES).as_posix()


@pytest.mark.parametrize("path", STUDIES, ids=named)
def test_every_study_is_read_and_its_commands_take_its_options(path):
    study = read_study(path, COMMANDS.options)
    check_code(study, allowed=())
    check_runs(study, COMMANDS)


@pytest.mark.parametrize("path", STUDIES, ids=named)
def test_every_study_names_models_and_data_that_there_are(path):
    recipes = {
        repr(recipe): recipe
        for recipe, _ in (
            options_of(run, COMMANDS) for run in read_study(path, COMMANDS.options).runs
        )
    }
    for recipe in recipes.values():
        with torch.device("meta"):
            assert list(build_model(recipe.model, recipe.model_args).parameters())
        if recipe.data != "digits":
            with pytest.raises(DataError, match="is not a folder"):
                build_data(recipe.data, **{**recipe.data_args, "data_dir": "no/such/folder"})


@pytest.mark.parametrize("path", STUDIES, ids=named)
def test_every_setting_of_a_study_has_the_same_seeds(path):
    seeds = {}
    for run in read_study(path, COMMANDS.options).runs:
        seeds.setdefault(run.setting, []).append(run.seed)
    assert len({tuple(each) for each in seeds.values()}) == 1


def test_no_two_studies_share_a_folder():
    folders = [read_study(path, COMMANDS.options).out for path in STUDIES]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("s00?/*.toml")), ids=named)
def test_the_folder_of_a_paper_describes_its_studies(path):
    assert f"`{path.name}`" in (path.parent / "README.md").read_text(encoding="utf-8")
