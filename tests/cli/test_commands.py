import json
from dataclasses import asdict

import h5py
import numpy as np
import pytest
import torch
from figures import make_surface

from landscape import Problem, read_result
from landscape.io.checkpoint import load_checkpoint
from landscape.io.store import write_result
from landscape.surface.topology import describe_topology


def test_training_writes_checkpoint_history_and_snapshots(trained):
    names = sorted(
        path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()
    )
    assert names == [
        "checkpoint.pt",
        "history.h5",
        "snapshots/epoch-0000.pt",
        "snapshots/epoch-0001.pt",
        "snapshots/epoch-0002.pt",
    ]


def test_the_checkpoint_records_model_data_and_every_argument(checkpoint):
    recipe = load_checkpoint(checkpoint).recipe
    assert (recipe.model, recipe.data, recipe.loss) == ("mlp", "digits", "cross-entropy")
    assert recipe.model_args["width"] == 8
    assert recipe.model_args["depth"] == 2


def test_the_history_has_a_row_an_epoch_and_every_column(trained):
    history = read_result(trained / "history.h5")
    assert history.epoch.tolist() == [1, 2]
    for name in (
        "train_loss",
        "test_loss",
        "test_top1_error",
        "test_top5_error",
        "first_order_sharpness",
        "seconds",
    ):
        assert np.isfinite(getattr(history, name)).all(), name
    assert history.settings["optim"] == "sam"


@pytest.mark.parametrize(
    "optimizer",
    [
        ("sgd",),
        ("adam",),
        ("adamw",),
        ("sam",),
        ("sam", "--base", "adam"),
        ("asam", "--base", "adamw"),
    ],
)
def test_fifteen_epochs_by_default_reach_a_test_loss_below_three_tenths(run, tmp_path, optimizer):
    assert run("train", "--optim", *optimizer, "--out", tmp_path / "run").code == 0
    history = read_result(tmp_path / "run" / "history.h5")
    assert len(history.epoch) == 15
    assert history.test_loss[-1] < 0.3


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(run, tmp_path, monkeypatch):
    import landscape_cli.train.run as train_run

    arguments = ("train", "--optim", "sam", "--epochs", 3, "--model-arg", "width=8")
    assert run(*arguments, "--out", tmp_path / "whole").code == 0
    save, num_saved = train_run.save_checkpoint, 0

    def save_and_stop(*args):
        nonlocal num_saved
        save(*args)
        num_saved += 1
        if num_saved == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(train_run, "save_checkpoint", save_and_stop)
    stopped = run(*arguments, "--out", tmp_path / "parts")
    assert stopped.code == 130
    assert "--resume" in stopped.err
    monkeypatch.setattr(train_run, "save_checkpoint", save)
    assert run(*arguments, "--out", tmp_path / "parts", "--resume").code == 0
    whole, parts = (
        load_checkpoint(tmp_path / name / "checkpoint.pt").state_dict for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_resuming_with_other_options_is_refused_naming_the_option(run, checkpoint):
    before = checkpoint.read_bytes()
    answer = run(
        "train",
        "--optim",
        "sam",
        "--model-arg",
        "width=8",
        "--epochs",
        3,
        "--out",
        checkpoint.parent,
        "--resume",
    )
    assert answer.code == 1
    assert "was trained with epochs 2, not 3" in answer.err
    assert checkpoint.read_bytes() == before


@pytest.fixture(scope="module")
def plane(run, checkpoint):
    answer = run("surface", checkpoint, "--grid", "5x3", "--split", "both", "--json")
    assert answer.code == 0, answer.err
    return answer.json


def test_the_surface_goes_beside_the_checkpoint_and_is_summed_up_in_json(plane, checkpoint):
    assert plane["out"] == str(checkpoint.with_name("checkpoint.surface.h5"))
    surface = read_result(checkpoint.with_name("checkpoint.surface.h5"))
    assert surface.loss["train"].shape == (3, 5)
    assert plane["num_points"] == 15
    assert plane["min_loss"] == surface.loss["train"].min()
    assert plane["max_loss"] == surface.loss["train"].max()
    assert plane["center_loss"] == surface.loss["train"][1, 2] == surface.center_loss["train"]


def test_the_summary_gives_the_topology_of_each_split(plane, checkpoint):
    surface = read_result(checkpoint.with_name("checkpoint.surface.h5"))
    for split in ("train", "test"):
        assert plane["splits"][split]["topology"] == json.loads(
            json.dumps(asdict(describe_topology(surface, split)))
        )


def test_the_summary_says_how_many_basins_there_are(run, checkpoint, tmp_path):
    answer = run(
        "surface",
        checkpoint,
        "--dims",
        1,
        "--grid",
        3,
        "--samples",
        50,
        "--out",
        tmp_path / "line.h5",
    )
    assert "Basins of the train loss" in answer.out


def test_the_center_is_the_checkpoints_own_loss_computed_independently(plane, checkpoint):
    from landscape.data import build_data
    from landscape.models import build_model

    saved = load_checkpoint(checkpoint)
    model = build_model("mlp", **saved.recipe.model_args)
    model.load_state_dict(saved.state_dict)
    for split, (inputs, targets) in zip(("train", "test"), build_data("digits"), strict=True):
        loss = torch.nn.functional.cross_entropy(
            model.eval().double()(inputs.double()), targets
        ).item()
        assert plane["splits"][split]["center_loss"] == pytest.approx(loss, rel=1e-6)


def test_a_complete_surface_is_resumed_at_once_with_the_same_numbers(run, plane, checkpoint):
    path = checkpoint.with_name("checkpoint.surface.h5")
    before = read_result(path)
    answer = run("surface", checkpoint, "--grid", "5x3", "--split", "both", "--json", "--resume")
    assert answer.code == 0
    assert answer.json == plane
    np.testing.assert_array_equal(read_result(path).loss["test"], before.loss["test"])


def test_an_interrupted_surface_is_kept_and_continued(run, checkpoint, tmp_path, monkeypatch):
    arguments = ("surface", checkpoint, "--grid", 3, "--out", tmp_path / "s.h5")
    assert run("surface", checkpoint, "--grid", 3, "--out", tmp_path / "whole.h5").code == 0
    evaluation_of, num_calls = Problem.evaluation_of, 0

    def evaluation_and_stop(self, found):
        nonlocal num_calls
        num_calls += 1
        if num_calls == 5:
            raise KeyboardInterrupt
        return evaluation_of(self, found)

    monkeypatch.setattr(Problem, "evaluation_of", evaluation_and_stop)
    stopped = run(*arguments)
    monkeypatch.setattr(Problem, "evaluation_of", evaluation_of)
    assert stopped.code == 130
    assert "To go on:" in stopped.err
    assert read_result(tmp_path / "s.h5").done.sum() == 3
    assert run(*arguments, "--resume").code == 0
    whole, parts = (read_result(tmp_path / name) for name in ("whole.h5", "s.h5"))
    np.testing.assert_array_equal(parts.loss["train"], whole.loss["train"])


def test_a_surface_in_one_dimension(run, checkpoint, tmp_path):
    answer = run(
        "surface",
        checkpoint,
        "--dims",
        1,
        "--grid",
        4,
        "--range",
        "-0.5:1",
        "--out",
        tmp_path / "line.h5",
        "--samples",
        50,
    )
    assert answer.code == 0
    line = read_result(tmp_path / "line.h5")
    assert line.y is None
    np.testing.assert_allclose(line.x, [-0.5, 0, 0.5, 1])
    assert line.provenance.num_examples == {"train": 50}


def test_the_hessian_in_json_has_the_promised_keys(run, checkpoint, tmp_path):
    answer = run(
        "hessian", checkpoint, "--top-k", 3, "--samples", 200, "--out", tmp_path / "h.h5", "--json"
    )
    assert answer.code == 0, answer.err
    found = answer.json
    assert {"residuals", "lambda_min", "ratio", "num_matvecs"} <= found.keys()
    assert found["eigenvalues"] == sorted(found["eigenvalues"], reverse=True)
    assert len(found["eigenvalues"]) == 3
    assert len(found["bottom_eigenvalues"]) == 1
    assert found["lambda_max"] == found["eigenvalues"][0]
    assert found["ratio"] == pytest.approx(found["lambda_max"] / found["lambda_min"])
    assert found["converged"] is True
    assert read_result(tmp_path / "h.h5").eigenvalues.tolist() == found["eigenvalues"]


def test_the_pyhessian_engine_agrees(run, checkpoint):
    ours = run("hessian", checkpoint, "--top-k", 1, "--samples", 100, "--json").json
    theirs = run(
        "hessian", checkpoint, "--top-k", 1, "--samples", 100, "--engine", "pyhessian", "--json"
    ).json
    assert theirs["eigenvalues"][0] == pytest.approx(ours["eigenvalues"][0], rel=1e-3)
    assert theirs["lambda_min"] is None


def test_a_hessian_that_does_not_converge_exits_with_one_and_shows_what_is_known(run, checkpoint):
    answer = run("hessian", checkpoint, "--max-matvecs", 12, "--samples", 100, "--json")
    assert answer.code == 1
    assert answer.json["converged"] is False
    assert "Not converged" in answer.err


def test_sharpness_in_json_has_the_promised_keys(run, checkpoint):
    answer = run("sharpness", checkpoint, "--rho", "0.05,0.1", "--samples", 200, "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    assert [(m["name"], m["rho"]) for m in found["measures"]] == [
        (name, rho) for rho in (0.05, 0.1) for name in ("asc", "avg", "nstep", "first_order")
    ]
    for measure in found["measures"]:
        assert measure["sharpness"] == pytest.approx(measure["loss"] - found["loss"])
        assert (measure["standard_error"] is None) == (measure["name"] != "avg")


@pytest.mark.parametrize("kind", ["contour", "filled", "heatmap", "surface", "merge-tree"])
@pytest.mark.parametrize(
    "suffix",
    [".png", *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in (".svg", ".pdf"))],
)
def test_planes_are_drawn_in_every_kind_and_format(run, plane, tmp_path, kind, suffix):
    out = tmp_path / f"figure{suffix}"
    assert run("plot", plane["out"], "--kind", kind, "--out", out).code == 0
    assert out.stat().st_size > 1000


def test_the_persistence_of_a_single_basin_is_a_sentence_and_no_figure(run, tmp_path):
    path, out = tmp_path / "bowl.h5", tmp_path / "figure.png"
    write_result(path, make_surface())
    answer = run("plot", path, "--kind", "persistence", "--out", out)
    assert answer.code == 1
    assert "needs two minima or more, got one" in answer.err
    assert not out.exists()


def test_a_plane_is_written_as_an_interactive_page(run, plane, tmp_path):
    out = tmp_path / "surface.html"
    assert run("plot", plane["out"], "--labels", "SGD", "--out", out).out.strip() == str(out)
    assert "<title>SGD</title>" in out.read_text(encoding="utf-8")


def test_plot_names_its_files_in_json(run, plane, tmp_path):
    answer = run("plot", plane["out"], "--out", tmp_path / "f.png", "--json")
    found = answer.json
    assert "lines at" in found.pop("scale")
    assert found == {"files": [plane["out"]], "out": str(tmp_path / "f.png")}


def test_plot_says_what_lines_are_even_in(run, plane, tmp_path):
    asked = ("--scale", "excess", "--levels", "5", "--clip", "auto", "--colormap", "magma")
    answer = run("plot", plane["out"], *asked, "--no-labels", "--out", tmp_path / "f.png")
    assert answer.out.strip() == str(tmp_path / "f.png")
    assert "Log of value" in answer.err


def test_a_surface_is_drawn_as_it_is_asked_for(run, plane, tmp_path):
    asked = (
        "--kind",
        "surface",
        "--view",
        "40:-30",
        "--zscale",
        "log",
        "--out",
        tmp_path / "f.png",
    )
    assert run("plot", plane["out"], *asked).out.strip() == str(tmp_path / "f.png")


def test_several_files_are_drawn_side_by_side(run, plane, tmp_path):
    out = tmp_path / "pair.png"
    answer = run("plot", plane["out"], plane["out"], "--labels", "a", "--labels", "b", "--out", out)
    assert answer.code == 0
    assert answer.out.strip() == str(out)


def test_the_difference_of_two_files_is_drawn(run, plane, tmp_path):
    out = tmp_path / "difference.png"
    assert run("plot", plane["out"], plane["out"], "--kind", "difference", "--out", out).code == 0
    assert out.stat().st_size > 1000


def test_an_unknown_quantity_is_refused_with_those_of_the_file(run, plane, tmp_path):
    answer = run("plot", plane["out"], "--quantity", "sharpness", "--out", tmp_path / "f.png")
    assert answer.code != 0
    assert "Quantities that are there: loss (train" in answer.err


def test_training_curves_are_drawn_beside_their_file(run, trained):
    assert run("plot", trained / "history.h5").code == 0
    assert (trained / "history.png").exists()


def test_answers_without_json_are_tables(run, checkpoint):
    hessian = run("hessian", checkpoint, "--samples", 100).out
    assert "lambda_max / lambda_min" in hessian
    sharpness = run("sharpness", checkpoint, "--samples", 100).out
    assert "nstep" in sharpness
    assert "gradient norm" in sharpness


def test_a_loss_that_is_not_finite_is_null_in_json(run, tmp_path):
    (tmp_path / "plugin.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def model(): return nn.Linear(1, 1)\n"
        "def data(): return (torch.ones(2, 1), torch.ones(2, 1)), None\n"
        "def loss(o, t): return o.sum() * float('inf')\n"
    )
    torch.save(torch.nn.Linear(1, 1).state_dict(), tmp_path / "c.pt")
    own = [
        word
        for name in ("model", "data", "loss")
        for word in (f"--{name}", f"{tmp_path}/plugin.py:{name}")
    ]
    answer = run("surface", tmp_path / "c.pt", *own, "--dims", 1, "--grid", 3, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["center_loss"] is None
    assert "Infinity" not in answer.out
    with h5py.File(tmp_path / "c.surface.h5") as file:
        assert np.isinf(file["loss/train"][1])


def test_json_is_all_that_stdout_holds(run, checkpoint):
    json.loads(run("sharpness", checkpoint, "--samples", 50, "--measures", "asc", "--json").out)
