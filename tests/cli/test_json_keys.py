"""docs/json.md tells every key that a command prints with --json, of which kind its value is, and
no other."""

import json
import re
import sys

import h5py
import numpy as np
import pytest
from documented_keys import ROWS, SECTIONS, TEXT, anchor, documented
from landscape_cli.app import app
from processes import fork_runs_of_studies
from published import publish_mutag, serving
from typer.main import get_command

from landscape.data.publications import PUBLICATIONS

STUDY = """
threads = 1
[train]
model_arg = {width = 8}
optim = "sam"
epochs = 1
validation = 0.2
[grid]
seeds = [0]
rho = [0.1, 0.2]
"""
NOISY = """
import torch
def loss(outputs, targets):
    return torch.nn.functional.cross_entropy(outputs + torch.rand_like(outputs), targets)
"""
DRAWS = "--samples 60 --loss noisy.py:loss --draws 2"
TRAIN = "train --model-arg width=8 --epochs 1"
COMPARE = "compare CKPT seeds-0/checkpoint.pt --quick --samples 60 --grid 3 --rho 0.05"

# Heading -> command lines, in an order in which each finds the files that it reads.
COMMANDS = {
    "landscape train": [f"{TRAIN} --out sgd --ema 0.9 --validation 0.1 --asc-samples 50"],
    "landscape train --seeds": [f"{TRAIN} --out seeds --seeds 0,1"],
    "landscape surface": [
        "surface CKPT --x pca:RUN --y to:sgd/checkpoint.pt --grid 3 --split both --curvature "
        "--samples 60"
        " --out plane.h5",
        "surface CKPT --grid 3 --dims 1 --repeats 2 --dtype bfloat16 --out line.h5",
        f"surface CKPT --grid 3 --dims 1 {DRAWS} --out noisy.h5",
    ],
    "landscape hessian": [
        "hessian sgd/checkpoint.pt --samples 60 --top-k 1 --save-vectors --out other.h5",
        "hessian CKPT --samples 60 --top-k 5 --trace --density --blocks --folds 2 --align other.h5 "
        "--verify pyhessian"
        " --out spectrum.h5",
        f"hessian CKPT {DRAWS} --top-k 1 --out noisy-spectrum.h5",
    ],
    "landscape hessian FOLDER": ["hessian RUN --samples 60 --top-k 1 --out along.h5"],
    "landscape sharpness": [
        "sharpness CKPT --samples 60 --all --rho 0.05 --invariance --num-directions 2 --out "
        "sharpness.h5",
        "sharpness CKPT --rho 0.05 --p inf --measures max --dtype float64 --certify certificate.h5",
        f"sharpness CKPT {DRAWS} --rho 0.05 --measures asc --out noisy-sharpness.h5",
    ],
    "landscape sharpness of several checkpoints": [
        "sharpness CKPT seeds-0/checkpoint.pt --samples 60 --measures asc --rho 0.05",
        "sharpness --group a=seeds-?/checkpoint.pt --group b=RUN/snapshots/epoch-000[12].pt "
        "--samples 60 --measures asc"
        " --rho 0.05 --invariance --out groups.h5",
    ],
    "landscape compare": [f"{COMPARE} --out report", f"{COMPARE} --minutes 1e-6 --out cut-short"],
    "landscape verify": ["verify certificate.h5 CKPT", "verify certificate.h5 sgd/checkpoint.pt"],
    "landscape assert": ["assert CKPT loss<5 lambda_max<0 --samples 60"],
    "landscape doctor": ["doctor CKPT --samples 60"],
    "landscape audit-optimizer": ["audit-optimizer landscape.optim:SAM"],
    "landscape plot": ["plot line.h5 --out line.png"],
    "landscape animate": ["animate plane.h5 --seconds 0.2 --out plane.gif"],
    "landscape convert": ["convert plane.h5 --to csv"],
    "landscape data list": ["data list"],
    "landscape data fetch": ["data fetch digits", "data fetch mutag"],
    "landscape sweep --dry-run": ["sweep study.toml --dry-run"],
    "landscape sweep": ["sweep study.toml --jobs 2"],
    "landscape sweep --report": ["sweep study.toml --report"],
    "`checkpoint`": ["info CKPT", "info RUN/snapshots/epoch-0001.pt", "info foreign.pt"],
    "`surface`": ["info plane.h5 --check", "info line.h5", "info noisy.h5"],
    "`directions`": ["info directions.h5"],
    "`spectrum`": ["info spectrum.h5", "info other.h5"],
    "`curvature-history`": ["info along.h5"],
    "`sharpness`": ["info sharpness.h5"],
    "`sharpness-comparison`": ["info groups.h5"],
    "`certificate`": ["info certificate.h5"],
    "`history`": ["info RUN/history.h5"],
}
FAILING = {
    "verify certificate.h5 sgd/checkpoint.pt",
    "assert CKPT loss<5 lambda_max<0 --samples 60",
    f"{COMPARE} --minutes 1e-6 --out cut-short",
}


@pytest.fixture(scope="module")
def answers(run, trained, checkpoint, tmp_path_factory):
    """Heading -> the objects that its command lines print."""
    with pytest.MonkeyPatch.context() as patch, serving() as server:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setitem(PUBLICATIONS, "mutag", publish_mutag(server))
        patch.chdir(tmp_path_factory.mktemp("json"))
        fork_runs_of_studies(patch)
        _write_files(checkpoint)

        def answered(line):
            words = line.replace("CKPT", str(checkpoint)).replace("RUN", str(trained)).split()
            patch.setattr(
                sys, "argv", ["landscape", *map(str, words), "--json"]
            )  # which reports record
            answer = run(*words, "--json")
            assert answer.code == (line in FAILING), f"{line}: {answer.err}"
            return answer.json

        return {heading: [answered(line) for line in lines] for heading, lines in COMMANDS.items()}


def _write_files(checkpoint):
    """Write what no command of ours does, into the current folder."""
    import torch

    from landscape.io.checkpoint import load_checkpoint

    for name, text in (("study.toml", STUDY), ("noisy.py", NOISY)):
        with open(name, "w") as file:
            file.write(text)
    torch.save(load_checkpoint(checkpoint).state_dict, "foreign.pt")
    with h5py.File("directions.h5", "w") as file:
        file["xdirection/0"], file["ydirection/0"] = np.array([3.0, 4.0]), np.array([0.0, 2.0])


@pytest.mark.slow
def test_what_is_printed_is_what_is_documented(answers):
    for heading in COMMANDS:
        for found in answers[heading]:
            assert list(documented(heading).contradictions(found)) == [], heading


@pytest.mark.slow
def test_every_key_that_is_documented_is_printed_by_some_command(answers):
    printed = set()
    for heading, objects in answers.items():
        for found in objects:
            list(documented(heading).contradictions(found, printed=printed))
    assert ROWS - printed == set()


def _commands(group, name=""):
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name}{word} ")
        else:
            yield f"{name}{word}", command


def test_every_command_answers_in_json_and_has_a_section():
    for name, command in _commands(get_command(app)):
        assert any("--json" in parameter.opts for parameter in command.params), name
        assert anchor(f"`landscape {name}`") in SECTIONS, name


def test_links_lead_to_headings():
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= set(SECTIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"new": 1}, ".new is printed and not documented"),
        ({"out": None}, ".out is null, documented as text"),
        ({"files": [1]}, ".files[] is integer, documented as text"),
    ],
)
def test_a_change_is_a_contradiction(change, message):
    found = {"files": ["a.h5"], "out": "a.png", "scale": ""}
    assert list(documented("landscape plot").contradictions(found)) == []
    assert list(documented("landscape plot").contradictions(found | change)) == [message]


def test_a_key_that_is_gone_is_a_contradiction():
    found = json.loads('{"files": [], "scale": ""}')
    assert list(documented("landscape plot").contradictions(found)) == [
        ".out is documented and not printed"
    ]
