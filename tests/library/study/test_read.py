import re

import pytest

from landscape.errors import InputError
from landscape.study.definition import Option, as_arguments
from landscape.study.read import read_study

TRAIN = {
    **{
        name: Option()
        for name in ("model", "data", "optim", "rho", "batch_size", "epochs", "label_noise", "lr")
    },
    "model_arg": Option(is_repeatable=True),
    "adaptive": Option(is_flag=True),
    **{name: Option(is_reserved=True) for name in ("seed", "seeds", "out", "resume")},
}
COMMANDS = {
    "train": TRAIN,
    "sharpness": {"rho": Option(), "measure": Option()},
    "hessian": {"top_k": Option()},
}


@pytest.fixture
def read(tmp_path):
    def call(text):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return read_study(path, COMMANDS)

    return call


def test_every_combination_of_the_grid_is_a_run_of_each_variant(read):
    study = read(
        """
        [train]
        epochs = 3
        [grid]
        seeds = [0, 7]
        batch-size = [32, 64]
        [[variant]]
        name = "SGD"
        [[variant]]
        name = "SAM"
        optim = "sam"
        rho = [0.05, 0.1]
        """
    )
    found = {
        (run.variant, run.train["batch_size"], run.train.get("rho"), run.seed) for run in study.runs
    }
    sgd = {("SGD", size, None, seed) for size in (32, 64) for seed in (0, 7)}
    sam = {("SAM", size, rho, seed) for size in (32, 64) for rho in (0.05, 0.1) for seed in (0, 7)}
    assert found == sgd | sam
    assert len(study.runs) == len(found) == len({run.name for run in study.runs})
    assert all(run.train["epochs"] == 3 for run in study.runs)


def test_a_variant_replaces_what_is_before_it(read):
    study = read(
        "[train]\nepochs = 3\nlr = 1.0\n[grid]\nrho = [1, 2]\n"
        '[[variant]]\nname = "A"\nepochs = 6\nrho = 5\n'
    )
    (run,) = study.runs
    assert run.train == {"epochs": 6, "lr": 1.0, "rho": 5, "seed": 0}
    assert run.factors == {}


def test_a_name_stays_where_values_are_added_to_a_list(read):
    one = {run.name for run in read("[grid]\nrho = [0.1]\nseeds = [0]\n").runs}
    more = {run.name for run in read("[grid]\nrho = [0.1, 0.2]\nseeds = [0, 1]\n").runs}
    assert one < more


def test_runs_of_one_setting_differ_in_the_seed_alone(read):
    runs = read("[grid]\nrho = [0.1, 0.2]\nseeds = [0, 1, 2]\n").runs
    groups = {}
    for run in runs:
        groups.setdefault(run.setting, []).append(run)
    assert [[run.seed for run in group] for group in groups.values()] == [[0, 1, 2]] * 2
    for group in groups.values():
        assert len({repr({**run.train, "seed": None}) for run in group}) == 1


def test_tables_are_values_of_a_repeatable_option(read):
    runs = read("[grid]\nmodel_arg = [{width = 4, bias = true}, {width = 8}]\n").runs
    assert [as_arguments(run.train, TRAIN) for run in runs] == [
        ["--model-arg", "width=4", "--model-arg", "bias=true", "--seed", "0"],
        ["--model-arg", "width=8", "--seed", "0"],
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"batch_size": 32}, ["--batch-size", "32"]),
        ({"adaptive": True}, ["--adaptive"]),
        ({"adaptive": False}, []),
        ({"rho": [0.05, 0.1]}, ["--rho", "0.05,0.1"]),
        ({"model_arg": ["a=1", "b=2"]}, ["--model-arg", "a=1", "--model-arg", "b=2"]),
        ({"rho": float("inf")}, ["--rho", "inf"]),
    ],
)
def test_options_become_the_words_of_a_command_line(values, expected):
    assert as_arguments(values, TRAIN) == expected


def test_the_rest_of_a_study_is_read(read, tmp_path):
    study = read(
        'out = "there"\nthreads = 2\n'
        "[measure.sharpness]\nrho = [0.1]\n[measure.hessian]\ntop-k = 1\n"
        '[report]\nselect = ["lr", "rho"]\n[slurm]\nslurm_partition = "gpu"\n'
    )
    assert (str(study.out), study.threads, study.select) == ("there", 2, ("lr", "rho"))
    assert study.measures == {"sharpness": {"rho": [0.1]}, "hessian": {"top_k": 1}}
    assert study.slurm == {"slurm_partition": "gpu"}
    assert str(read("").out) == "runs/study"
    layouts = [read(text).layout for text in ("", "[report]\nlayout = 'rows'\n")]
    assert layouts == ["narrow", "rows"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "[train]\nepochs = 2\nepoch = 2\n",
            "line 3, [train]: keys must be options",
            "The nearest is epochs.",
        ),
        ("[trian]\nepochs = 2\n", "line 1: a study has the keys", "The nearest is train."),
        (
            '[grid]\noptimizer = ["sgd"]\n',
            "line 2, [grid]: keys must be options",
            "The nearest is optim.",
        ),
        (
            '[[variant]]\nname = "a"\n\n[[variant]]\nname = "b"\nrhoo = 1\n',
            "line 6, [[variant]]: keys must be options of landscape train, got 'rhoo'",
            "The nearest is rho.",
        ),
        (
            "[measure.sharpnes]\nrho = 1\n",
            "line 1, [measure]: what is measured is one of",
            "nearest is sharpness",
        ),
        (
            "[measure.hessian]\ntopk = 1\n",
            "line 2, [measure.hessian]: keys must be options",
            "nearest is top_k",
        ),
        (
            "[report]\nlayout = 'row'\n",
            "line 2, [report]: layout must be one of narrow, rows, got 'row'.",
            "The nearest is rows.",
        ),
        (
            "[report]\nselect = ['roh']\n",
            "line 2, [report]: select must name options",
            "The nearest is rho.",
        ),
        (
            "[train]\nout = 'x'\n",
            "line 2, [train]: out is set by the sweep itself",
            "Leave it out.",
        ),
        ("[train]\nrho = [1, 2]\n", "line 2, [train]: rho must be one value", "belong to [grid]"),
        (
            "[train]\nseeds = [1, 2]\n",
            "line 2, [train]: seeds must be one value",
            "belong to [grid]",
        ),
        ("[grid]\nrho = 1\n", "line 2, [grid]: rho must be a list of values", "belong to [train]"),
        ("[grid]\nrho = []\n", "line 2, [grid]: rho must be a list of values", "belong to [train]"),
        (
            "[train]\nbatch-size = 1\nbatch_size = 2\n",
            "line 3, [train]: batch_size is there twice",
            "Remove one",
        ),
        (
            "[[variant]]\nrho = 1\n[[variant]]\nrho = 2\n",
            "line 1, [[variant]]: each variant must have a name",
            "",
        ),
        ("[variant]\nrho = 1\n", "line 1", "[[variant]]"),
        ('[[variant]]\nname = "a"\n[[variant]]\nname = "a"\n', "two are 'a_seed=0'", "other names"),
        ("[grid]\nseeds = [1, 1]\n", "two are 'seed=1'", "List each value once."),
        ("threads = 0\n", "line 1: threads must be a whole number of at least 1, got 0", ""),
        ("out = 3\n", "line 1: out must be a text, got 3", ""),
        ("train = 3\n", "line 1: train must be a section, got 3", "Write [train]"),
        ("[train\nepochs = 2\n", "must be TOML", "Texts need quotes"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_a_remedy(read, text, message, hint):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(text)
    assert hint in caught.value.hint


def test_a_study_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_study(tmp_path / "none.toml", COMMANDS)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        read_study(tmp_path / "binary.toml", COMMANDS)
