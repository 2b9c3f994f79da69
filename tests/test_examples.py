"""The studies in examples/: what a user is told to run."""

from functools import cache
from pathlib import Path

import pytest
import torch
from landscape_cli.app import app
from landscape_cli.sweep.command_table import CommandTable, check_code, check_runs, options_of
from typer.main import get_command

from landscape.data import build_data
from landscape.errors import DataError
from landscape.io.plugins import create_model
from landscape.study.read import read_study

EXAMPLES = Path(__file__).parents[1] / "examples"
STUDIES = sorted(EXAMPLES.rglob("*.toml"))
COMMANDS = CommandTable(get_command(app))


@cache
def studies():
    """Name -> study."""
    return {
        path.relative_to(EXAMPLES).as_posix(): read_study(path, COMMANDS.options)
        for path in STUDIES
    }


def test_every_study_is_read_and_its_commands_take_its_options():
    for study in studies().values():
        check_code(study, allowed=())
        check_runs(study, COMMANDS)


def test_every_study_names_models_and_data_that_there_are():
    recipes = {}
    for study in studies().values():
        for run in study.runs:
            recipe, _ = options_of(run, COMMANDS)
            recipes[repr(recipe)] = recipe
    for recipe in recipes.values():
        with torch.device("meta"):
            assert list(create_model(recipe.model, recipe.model_args).parameters())
        if recipe.data != "digits":
            with pytest.raises(DataError, match="is not a folder"):
                build_data(recipe.data, **{**recipe.data_args, "data_dir": "no/such/folder"})


def test_every_setting_of_a_study_has_the_same_seeds():
    for name, study in studies().items():
        seeds = {}
        for run in study.runs:
            seeds.setdefault(run.setting, []).append(run.seed)
        assert len({tuple(each) for each in seeds.values()}) == 1, name


def test_no_two_studies_share_a_folder():
    folders = [study.out for study in studies().values()]
    assert len(set(folders)) == len(folders)


def test_the_folder_of_a_paper_describes_its_studies():
    for path in EXAMPLES.glob("s00?/*.toml"):
        text = (path.parent / "README.md").read_text(encoding="utf-8")
        assert f"`{path.name}`" in text, path
