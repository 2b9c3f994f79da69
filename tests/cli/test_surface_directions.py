"""`--x`, `--y` and what else chooses the line or the plane of a surface."""

import numpy as np
import pytest
import torch

from landscape import Problem, read_result
from landscape.io.checkpoint import load_checkpoint

QUICK = ("--samples", 60)


@pytest.fixture
def surface(run, checkpoint, tmp_path):
    """Compute a surface around the checkpoint and read it."""

    def call(*arguments, out="s.h5", around=checkpoint):
        answer = run("surface", around, *QUICK, "--grid", 3, *arguments, "--out", tmp_path / out)
        assert answer.code == 0, answer.err
        return read_result(tmp_path / out)

    return call


@pytest.fixture
def refused(run, checkpoint, tmp_path):
    """Return what a surface that is refused says."""

    def call(*arguments):
        answer = run(
            "surface", checkpoint, *QUICK, "--grid", 3, *arguments, "--out", tmp_path / "refused.h5"
        )
        assert answer.code == 1
        assert not (tmp_path / "refused.h5").exists()
        return answer.err

    return call


@pytest.fixture
def snapshots(trained):
    return [trained / "snapshots" / f"epoch-000{number}.pt" for number in range(2)]


def _loss_of(run, path, *options):
    return run(
        "surface",
        path,
        *QUICK,
        "--dims",
        1,
        "--grid",
        2,
        "--out",
        path.with_suffix(".h5"),
        "--json",
        *options,
    )


def test_random_directions_are_the_default_with_the_range_of_one_filter_norm(surface):
    found, typed = (
        surface(),
        surface("--x", "random", "--y", "random", "--range", "-1:1", out="typed.h5"),
    )
    assert found.direction_names == ("random", "random")
    assert found.normalization == "filter"
    assert (found.x[0], found.x[-1]) == (-1.0, 1.0)
    assert found.marks == ()
    np.testing.assert_array_equal(found.loss["train"], typed.loss["train"])


def test_a_plane_through_three_checkpoints_has_their_own_losses(surface, run, snapshots):
    x, y = snapshots
    found = surface("--x", f"to:{x}", "--y", f"to:{y}", "--range", "0:1", "--grid", 2)
    at = found.loss["train"]
    for path, value in ((x, at[0, 1]), (y, at[1, 0])):
        answer = _loss_of(run, path, "--force")
        assert value == pytest.approx(answer.json["center_loss"], rel=1e-6)
    assert found.direction_names == (f"to:{x}", f"to:{y}")
    assert found.normalization == "none"


def test_checkpoints_are_marked_with_their_names_and_are_in_an_automatic_range(surface, snapshots):
    x, y = snapshots
    found = surface("--x", f"to:{x}", "--y", f"to:{y}")
    assert [(mark.label, mark.kind) for mark in found.marks] == [
        (name, "checkpoint") for name in ("checkpoint", "epoch-0000", "epoch-0001")
    ]
    np.testing.assert_allclose(
        [mark.coordinates for mark in found.marks], [[0, 0], [1, 0], [0, 1]], atol=1e-5
    )
    for axis in (found.x, found.y):
        assert axis[0] < 0
        assert axis[-1] >= 1.1
        assert 0.0 in axis


def test_marks_of_files_with_one_name_are_told_apart_by_their_folders(
    surface, checkpoint, tmp_path, snapshots
):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "checkpoint.pt"
    other.write_bytes(snapshots[0].read_bytes())
    found = surface("--x", f"to:{other}", "--dims", 1)
    assert [mark.label for mark in found.marks] == [
        f"{checkpoint.parent.name}/checkpoint",
        "other/checkpoint",
    ]


def test_a_random_second_direction_is_the_same_whatever_the_first_is(surface, snapshots):
    plain, mixed = surface(), surface("--x", f"to:{snapshots[0]}", out="mixed.h5")
    assert mixed.direction_hashes[1] == plain.direction_hashes[1]
    assert mixed.normalization == "filter"


def test_biases_move_with_the_option_only(surface):
    without, with_ = surface(), surface("--with-1d", out="with.h5")
    assert (with_.direction_norms > without.direction_norms).all()
    assert with_.provenance.settings["with_1d"] is True


def test_eigenvectors_are_computed_or_read_from_a_file_alike(surface, run, checkpoint, tmp_path):
    answer = run(
        "hessian",
        checkpoint,
        *QUICK,
        "--top-k",
        2,
        "--save-vectors",
        "--out",
        tmp_path / "h.h5",
        "--json",
    )
    assert answer.code == 0, answer.err
    computed = surface("--x", "eigen:1", "--y", "eigen:-1")
    read = surface(
        "--x", f"eigen:1:{tmp_path / 'h.h5'}", "--y", f"eigen:-1:{tmp_path / 'h.h5'}", out="read.h5"
    )
    np.testing.assert_allclose(computed.direction_norms, 1, rtol=1e-6)
    facts = computed.provenance.settings["directions"]
    assert facts[0]["eigenvalue"] == pytest.approx(answer.json["lambda_max"], rel=1e-3)
    assert facts[1]["eigenvalue"] == pytest.approx(answer.json["lambda_min"], rel=1e-2)
    assert read.cosine == pytest.approx(computed.cosine, abs=1e-3)
    assert read.provenance.settings["directions"][0]["eigenvalue"] == answer.json["lambda_max"]


def test_the_ascent_point_is_marked_with_the_loss_that_sharpness_reports(surface, run, checkpoint):
    found = surface("--x", "ascent:0.1", "--y", "random")
    answer = run("sharpness", checkpoint, *QUICK, "--rho", "0.1", "--measures", "asc", "--json")
    mark = found.marks[1]
    assert mark.kind == "ascent"
    assert mark.loss["train"] == pytest.approx(answer.json["measures"][0]["loss"], rel=1e-6)


def test_the_loss_rises_along_the_gradient_at_the_rate_of_its_norm(surface):
    found = surface("--x", "gradient", "--dims", 1, "--range", "-0.001:0.001")
    low, _, high = found.loss["train"]
    norm = found.provenance.settings["directions"][0]["gradient_norm"]
    assert (high - low) / 0.002 == pytest.approx(norm, rel=0.01)


def test_repeats_are_lines_of_which_the_first_is_the_line_without_repeats(surface):
    one, three = (
        surface("--dims", 1, "--seed", 4),
        surface("--dims", 1, "--seed", 4, "--repeats", 3, out="three.h5"),
    )
    assert three.loss["train"].shape == (3, 3)
    assert three.direction_names == ("random",) * 3
    np.testing.assert_array_equal(three.loss["train"][0], one.loss["train"])
    assert len(set(three.direction_hashes)) == 3


def test_saved_directions_give_the_same_surface_again(surface, snapshots, tmp_path):
    made = surface(
        "--x", f"to:{snapshots[0]}", "--range", "-1:1", "--save-directions", tmp_path / "d.h5"
    )
    again = surface("--directions", tmp_path / "d.h5", out="again.h5")
    np.testing.assert_array_equal(again.loss["train"], made.loss["train"])
    assert again.direction_hashes == made.direction_hashes
    assert again.direction_names == made.direction_names


def test_saved_directions_are_not_renormalised_for_another_checkpoint(surface, snapshots, tmp_path):
    made = surface("--save-directions", tmp_path / "d.h5")
    moved = surface("--directions", tmp_path / "d.h5", around=snapshots[0], out="moved.h5")
    assert moved.direction_hashes == made.direction_hashes
    assert moved.center_loss != made.center_loss


@pytest.mark.parametrize("arguments", [("--dims", 1), ("--dims", 1, "--repeats", 3)])
def test_saved_lines_are_read_as_lines(surface, tmp_path, arguments):
    made = surface(*arguments, "--save-directions", tmp_path / "d.h5")
    again = surface("--directions", tmp_path / "d.h5", out="again.h5")
    np.testing.assert_array_equal(again.loss["train"], made.loss["train"])


def test_each_direction_can_have_a_range_of_its_own(surface):
    found = surface("--range", "-1:1,-0.5:2")
    assert (found.x[0], found.x[-1], found.y[0], found.y[-1]) == (-1.0, 1.0, -0.5, 2.0)


def test_an_automatic_range_ends_where_the_loss_reaches_the_multiple(surface):
    found = surface("--dims", 1, "--range", "auto:3", "--grid", 41)
    (recorded,) = found.provenance.settings["ranges"]
    assert recorded["has_reached"] == [True, True]
    ends = found.loss["train"][[0, -1]] / found.center_loss["train"]
    assert ends.min() >= 3
    assert ends.min() < 4
    assert 0.0 in found.x


def test_a_resumed_surface_with_an_automatic_range_is_the_same_bit_for_bit_without_another_search(
    surface, run, checkpoint, tmp_path, monkeypatch
):
    options = ("--dims", 1, "--range", "auto", "--grid", 5, "--repeats", 2)
    whole = surface(*options)
    evaluation_of, num_calls = Problem.evaluation_of, 0

    def evaluation_and_stop(self, found):
        nonlocal num_calls
        num_calls += 1
        if num_calls == 3 + whole.provenance.settings["ranges"][0]["num_evaluations"]:
            raise KeyboardInterrupt
        return evaluation_of(self, found)

    arguments = ("surface", checkpoint, *QUICK, *options, "--out", tmp_path / "parts.h5")
    monkeypatch.setattr(Problem, "evaluation_of", evaluation_and_stop)
    assert run(*arguments).code == 130
    done = read_result(tmp_path / "parts.h5").done.sum()
    monkeypatch.setattr("landscape.surface.auto_range.find_range", None)  # whoever calls it fails
    monkeypatch.setattr(Problem, "evaluation_of", evaluation_of)
    resumed = run(*arguments, "--resume")
    assert resumed.code == 0, resumed.err
    assert 0 < done < 10
    parts = read_result(tmp_path / "parts.h5")
    np.testing.assert_array_equal(parts.x, whole.x)
    np.testing.assert_array_equal(parts.loss["train"], whole.loss["train"])
    assert parts.provenance.settings["ranges"] == whole.provenance.settings["ranges"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--x", "nonsense"),
            "--x must be random, to:CKPT, pca:DIR, eigen:N or eigen:N:FILE, gradient, ascent or",
        ),
        (("--y", "to:"), "--y must be random, to:CKPT"),
        (("--x", "random:3"), "--x must be random"),
        (("--x", "to:none.pt"), "checkpoint none.pt does not exist"),
        (
            ("--x", "eigen:0"),
            "numbered from 1, the largest, or from -1, the smallest, got 'eigen:0'",
        ),
        (
            ("--x", "eigen:one"),
            "numbered from 1, the largest, or from -1, the smallest, got 'eigen:one'",
        ),
        (("--x", "eigen:1000000"), "at most the number of parameters"),
        (("--x", "eigen:1:none.h5"), "none.h5 does not exist"),
        (("--x", "ascent:far"), "the radius of an ascent must be a number, got 'ascent:far'"),
        (("--x", "ascent:-1"), "rho must be a positive number, got -1"),
        (("--dims", 1, "--y", "random"), "a line has no second direction, got --y random"),
        (("--repeats", 3), "--repeats 3 draws several random lines, got --dims 2"),
        (
            ("--repeats", 3, "--dims", 1, "--x", "gradient"),
            "--repeats 3 draws several random lines, got --dims 1",
        ),
        (("--x", "gradient", "--y", "ascent"), "gradient and ascent have cosine 1"),
        (("--x", "eigen:1", "--y", "eigen:1"), "eigen:1 and eigen:1 have cosine 1"),
        (("--directions", "none.h5"), "none.h5 does not exist"),
        (("--directions", "none.h5", "--x", "random"), "has the directions already, got --x too"),
        (("--range", "auto:1"), "must be greater than 1, got 1"),
        (
            ("--range", "auto:much"),
            "--range must be start:stop, marked, auto or auto:multiple, got 'auto:much'",
        ),
        (("--range", "auto:-1:1"), "--range must be start:stop, marked, auto"),
        (("--range", "-1:1,-1:1,-1:1"), "has 3 ranges for 2 direction"),
        (("--range", "-1:1,1:-1"), "from a smaller to a larger number, got 1:-1"),
    ],
)
def test_what_makes_no_line_or_plane_is_refused_in_a_sentence(refused, arguments, message):
    err = refused(*arguments)
    assert message in err
    assert "Hint: " in err or "at most the number" in err or "does not exist" in err


def test_the_checkpoint_itself_is_no_direction(refused, checkpoint):
    assert f"to:{checkpoint} has the weights of the one at the origin" in refused(
        "--x", f"to:{checkpoint}"
    )


def test_one_checkpoint_twice_spans_no_plane(refused, snapshots):
    assert "cosine 1" in refused("--x", f"to:{snapshots[0]}", "--y", f"to:{snapshots[0]}")


def test_a_checkpoint_of_other_shapes_is_refused_naming_the_tensors(refused, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    name, tensor = next(iter(content["state_dict"].items()))
    content["state_dict"][name] = tensor[:-1]
    torch.save(content, tmp_path / "other.pt")
    err = refused("--x", f"to:{tmp_path / 'other.pt'}")
    assert "does not fit the model: 1 of another shape" in err
    assert (
        f"{name} ({tuple(tensor[:-1].shape)} in the file, {tuple(tensor.shape)} in the model)"
        in err
    )


def test_eigenvectors_that_the_file_does_not_hold_are_refused(refused, run, checkpoint, tmp_path):
    assert run("hessian", checkpoint, *QUICK, "--top-k", 1, "--out", tmp_path / "h.h5").code == 0
    err = refused("--x", f"eigen:1:{tmp_path / 'h.h5'}")
    assert "holds eigenvalues only" in err
    assert "--save-vectors" in err


@pytest.mark.parametrize("option", ["--directions", "--x"])
def test_a_file_of_another_kind_is_refused_saying_what_it_is(refused, trained, option):
    path = trained / "history.h5"
    err = refused(option, path if option == "--directions" else f"eigen:1:{path}")
    assert f"{path} holds a history, not " in err


def test_directions_of_another_model_are_refused(refused, run, tmp_path):
    folder = tmp_path / "wide"
    assert run("train", "--model-arg", "width=9", "--epochs", 1, "--out", folder).code == 0
    options = ("--grid", 2, *QUICK, "--save-directions", tmp_path / "d.h5")
    assert run("surface", folder / "checkpoint.pt", *options).code == 0
    name = next(iter(load_checkpoint(folder / "checkpoint.pt").state_dict))
    assert f"the file has {name} of shape (9, 64) where the model" in refused(
        "--directions", tmp_path / "d.h5"
    )


def test_a_plane_needs_two_stored_directions(surface, refused, tmp_path):
    surface("--dims", 1, "--save-directions", tmp_path / "d.h5")
    err = refused("--directions", tmp_path / "d.h5", "--dims", 2)
    assert "--dims 2 needs two directions" in err


def test_saved_directions_are_not_replaced_unasked(surface, refused, tmp_path):
    surface("--save-directions", tmp_path / "d.h5")
    before = (tmp_path / "d.h5").read_bytes()
    assert "exists" in refused("--save-directions", tmp_path / "d.h5")
    assert (tmp_path / "d.h5").read_bytes() == before


def test_a_model_of_biases_alone_is_told_how_to_move_them(run, tmp_path):
    (tmp_path / "plugin.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class M(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.b = "
        "nn.Parameter(torch.ones(3))\n"
        "    def forward(self, x): return x + self.b\n"
        "def model(): return M()\n"
        "def data(): return (torch.ones(2, 3), torch.zeros(2, dtype=torch.long)), None\n"
    )
    torch.save({"b": torch.ones(3)}, tmp_path / "c.pt")
    own = [
        word for name in ("model", "data") for word in (f"--{name}", f"{tmp_path}/plugin.py:{name}")
    ]
    answer = run("surface", tmp_path / "c.pt", *own, "--grid", 3)
    assert answer.code == 1
    assert "a direction must not be zero, random is" in answer.err
    assert "--with-1d" in answer.err
    assert run("surface", tmp_path / "c.pt", *own, "--grid", 3, "--with-1d").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("size", [(), ("--batch-size", 200)], ids=["chosen", "asked for"])
def test_a_surface_along_an_eigenvector_of_many_batches_is_resumed(run, checkpoint, tmp_path, size):
    arguments = ("surface", checkpoint, "--x", "eigen:1", "--dims", 1, "--grid", 3)
    arguments += ("--range", "-1:1", "--out", tmp_path / "s.h5")
    assert run(*arguments, *size).code == 0
    before = read_result(tmp_path / "s.h5")
    answer = run(*arguments, "--resume")
    assert answer.code == 0, answer.err
    after = read_result(tmp_path / "s.h5")
    assert after.direction_hashes == before.direction_hashes
    np.testing.assert_array_equal(after.loss["train"], before.loss["train"])
