"""`landscape hessian` as a user runs it: what it says, saves, refuses and goes on with."""

import dataclasses
import re

import numpy as np
import pytest

from landscape.io.store import read_result, write_result

QUICK = ("--samples", 120, "--top-k", 2)
STRICT = ("--dtype", "float64", "--tolerance", "1e-6")


@pytest.fixture
def hessian(run, checkpoint, tmp_path):
    """Run the command with --json; return what it says."""

    def call(*options, code=0):
        answer = run("hessian", checkpoint, *QUICK, *options, "--json")
        assert answer.code == code, answer.err
        return answer.json

    return call


@pytest.fixture(scope="module")
def dense(run, checkpoint):
    """The whole spectrum of the same Hessian, from as many products as it has columns."""
    import torch
    from landscape_cli.options import ProblemOptions
    from landscape_cli.processes import open_checkpoint

    problem = open_checkpoint(
        checkpoint, ProblemOptions(samples=120, dtype="float64"), ("train",)
    ).problems["train"]
    columns = [
        problem.hessian_vector_product(row)
        for row in torch.eye(problem.spec.size, dtype=torch.float64)
    ]
    return np.linalg.eigvalsh(torch.stack(columns).numpy())


def test_both_ends_are_those_of_the_dense_hessian(hessian, dense):
    found = hessian("--bottom-k", 2, *STRICT)
    np.testing.assert_allclose(found["eigenvalues"], dense[:-3:-1], rtol=1e-6)
    np.testing.assert_allclose(found["bottom_eigenvalues"], dense[:2], rtol=1e-4)


def test_the_largest_in_magnitude_are_those_of_the_dense_hessian(hessian, dense):
    found = hessian("--which", "magnitude", *STRICT)
    expected = dense[np.argsort(-np.abs(dense))[:2]]
    np.testing.assert_allclose(found["eigenvalues"], np.sort(expected)[::-1], rtol=1e-6)
    assert found["bottom_eigenvalues"] == []


def test_polishing_makes_float32_values_those_of_float64(hessian, dense):
    found = hessian("--polish")
    np.testing.assert_allclose(found["eigenvalues"], dense[:-3:-1], rtol=1e-7)
    assert found["polished"] is True


def test_the_trace_is_that_of_the_dense_hessian_within_its_interval(hessian, dense):
    found = hessian("--relative-error", 0.02)["trace"]
    assert found["converged"]
    assert found["low"] - 1e-4 <= dense.sum() <= found["high"] + 1e-4
    assert found["value"] == pytest.approx(dense.sum(), rel=0.05)


def test_the_density_has_the_dense_spectrums_masses_between_its_bounds(hessian, dense):
    found = hessian("--density", "--num-probes", 3)["density"]
    share = np.mean(np.abs(dense) <= found["near_zero_width"])
    slack = 3 * found["mass_near_zero"]["standard_error"] + 0.02
    assert (
        found["mass_near_zero"]["low"] - slack <= share <= found["mass_near_zero"]["high"] + slack
    )


def test_the_layers_have_traces_that_sum_to_the_whole(hessian, dense):
    blocks = hessian("--blocks")["blocks"]
    # Of 10 samples each: 6 standard errors of 9 degrees of freedom are as rare as 3.7 of a normal
    # one.
    error = 6 * np.linalg.norm([block["trace_error"] for block in blocks])
    assert len(blocks) > 1
    assert sum(block["trace"] for block in blocks) == pytest.approx(dense.sum(), abs=error)
    assert max(block["lambda_max"] for block in blocks) <= dense[-1] * 1.001


def test_the_gauss_newton_matrix_has_no_negative_eigenvalue(hessian):
    found = hessian("--curvature", "ggn", "--tolerance", 1e-3)
    assert found["lambda_min"] > -found["noise_floor"]
    assert found["curvature"] == "ggn"


def test_folds_bracket_from_both_sides(hessian):
    found = hessian("--folds", 4)["folds"]
    assert len(found) == 4
    assert {fold["num_examples"] for fold in found} == {120}
    assert np.mean([fold["lambda_max"] for fold in found]) > np.mean(
        [fold["held_out"] for fold in found]
    )


def test_shares_of_the_layers_sum_to_one(hessian):
    shares = np.array(list(hessian()["layer_shares"].values()))
    np.testing.assert_allclose(shares.sum(axis=0), 1)


def test_eigenvectors_are_aligned_with_themselves(run, checkpoint, tmp_path):
    file = tmp_path / "h.h5"
    assert run("hessian", checkpoint, *QUICK, "--save-vectors", "--out", file).code == 0
    found = run("hessian", checkpoint, *QUICK, "--align", file, "--json").json
    np.testing.assert_allclose(np.diag(found["alignment"]), 1, atol=1e-4)
    assert found["aligned_with"] == str(file)


def test_a_run_that_stopped_goes_on_from_its_basis_and_gives_the_same(run, checkpoint, tmp_path):
    whole, parts = tmp_path / "whole.h5", tmp_path / "parts.h5"
    assert run("hessian", checkpoint, *QUICK, "--out", whole).code == 0
    assert run("hessian", checkpoint, *QUICK, "--max-matvecs", 10, "--out", parts).code == 1
    assert (tmp_path / "parts.krylov.h5").exists()
    answer = run("hessian", checkpoint, *QUICK, "--out", parts, "--resume")
    assert answer.code == 0, answer.err
    np.testing.assert_array_equal(read_result(parts).eigenvalues, read_result(whole).eigenvalues)
    assert not (tmp_path / "parts.krylov.h5").exists()
    assert (
        "nothing is left to compute"
        in run("hessian", checkpoint, *QUICK, "--out", parts, "--resume").err
    )


def test_a_basis_of_something_else_is_refused(run, checkpoint, tmp_path):
    out = tmp_path / "h.h5"
    assert run("hessian", checkpoint, *QUICK, "--max-matvecs", 10, "--out", out).code == 1
    answer = run("hessian", checkpoint, *QUICK, "--curvature", "ggn", "--out", out, "--resume")
    assert answer.code == 1
    assert "curvature of" in answer.err
    assert "hessian there, ggn here" in answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--top-k", 3), "number of eigenvalues of"),
        (("--seed", 0, "--samples", 100), "data of"),
        (("--curvature", "ggn"), "curvature of"),
        (("--tolerance", 1e-3), "tolerance of"),
        (("--polish",), "polished of"),
        (("--trace", "--blocks"), "is complete, without trace, blocks"),
        (("--save-vectors",), "is complete, without vectors"),
    ],
)
def test_a_complete_result_is_shown_only_for_what_it_is_of(
    run, checkpoint, complete, options, message
):
    answer = run("hessian", checkpoint, *QUICK, "--out", complete, "--resume", *options)
    assert answer.code == 1
    assert message in answer.err
    assert answer.out == ""


@pytest.fixture(scope="module")
def complete(run, checkpoint, tmp_path_factory):
    """A file with all that was asked for."""
    out = tmp_path_factory.mktemp("complete") / "h.h5"
    assert run("hessian", checkpoint, *QUICK, "--out", out).code == 0
    return out


def test_a_complete_result_of_other_weights_is_refused(run, trained, complete):
    answer = run(
        "hessian", trained / "snapshots" / "epoch-0001.pt", *QUICK, "--out", complete, "--resume"
    )
    assert answer.code == 1
    assert "a resumed run must have the weights of" in answer.err


def test_a_basis_that_a_killed_run_left_is_not_replaced_unasked(run, checkpoint, tmp_path):
    out = tmp_path / "h.h5"
    assert run("hessian", checkpoint, *QUICK, "--max-matvecs", 10, "--out", out).code == 1
    out.unlink()
    answer = run("hessian", checkpoint, *QUICK, "--out", out)
    assert answer.code == 1
    assert "h.krylov.h5 exists" in answer.err
    assert "--resume" in answer.err


@pytest.fixture
def out_of_time_after(monkeypatch):
    """Let the time be over at the n-th time that it is asked for."""
    from landscape.runtime.progress import Deadline

    def end(times):
        asked = iter(range(times))

        def is_reached(self, num_steps=1):
            self.has_come = next(asked, None) is None
            return self.has_come

        monkeypatch.setattr(Deadline, "is_reached", is_reached)

    return end


def test_a_part_that_was_cut_in_time_is_named_and_made_up_for(
    run, checkpoint, tmp_path, out_of_time_after
):
    out, parts = tmp_path / "h.h5", ("--trace", "--density", "--blocks", "--folds", 2)
    whole = run("hessian", checkpoint, *QUICK, *parts, "--json").json
    out_of_time_after(whole["num_matvecs"] + 5)
    answer = run("hessian", checkpoint, *QUICK, *parts, "--out", out, "--json")
    assert answer.code == 1
    assert answer.json["converged"] is True
    assert "Not reached: trace, density, blocks, folds." in answer.err
    assert "Stopped in time. To go on:" in answer.err
    assert "Not converged" not in answer.err
    out_of_time_after(10**6)
    again = run("hessian", checkpoint, *QUICK, *parts, "--out", out, "--resume", "--json")
    assert again.code == 0, again.err
    assert again.json == {**whole, "memory": again.json["memory"]}


def test_a_run_that_its_rounding_ended_is_not_blamed_on_the_number_of_products(
    run, checkpoint, monkeypatch
):
    from landscape.hessian import spectrum

    honest = spectrum.lanczos
    monkeypatch.setattr(
        spectrum, "lanczos", lambda *a, **k: dataclasses.replace(honest(*a, **k), converged=False)
    )
    answer = run("hessian", checkpoint, *QUICK)
    assert answer.code == 1
    assert "That is the rounding of float32: pass --polish" in answer.err
    assert "--max-matvecs" not in answer.err


def test_a_run_that_used_all_products_is_told_so(run, checkpoint):
    assert (
        "Raise --max-matvecs or --tolerance."
        in run("hessian", checkpoint, *QUICK, "--max-matvecs", 10).err
    )


def test_minutes_end_a_run_in_time_with_what_is_known(run, checkpoint, tmp_path):
    answer = run(
        "hessian", checkpoint, *QUICK, "--minutes", 1e-6, "--out", tmp_path / "h.h5", "--json"
    )
    assert answer.code == 1
    assert answer.json["converged"] is False
    assert len(answer.json["residuals"]) == 2
    assert "Stopped in time." in answer.err


def test_the_memory_plan_is_printed_before_the_start(run, checkpoint):
    answer = run("hessian", checkpoint, *QUICK, "--memory", "64MiB", "--json", "--verbose")
    assert "Lanczos basis" in answer.err
    assert "batches kept" in answer.err


def test_little_memory_gives_the_same_eigenvalues(hessian, run, checkpoint):
    plain = hessian()
    answer = run("hessian", checkpoint, *QUICK, "--memory", "900KB", "--json", "--verbose")
    assert answer.code == 0, answer.err
    assert "thick restart" in answer.err
    np.testing.assert_allclose(answer.json["eigenvalues"], plain["eigenvalues"], rtol=1e-4)


def test_pyhessian_agrees_where_it_is_asked_to_verify(run, checkpoint):
    answer = run(
        "hessian", checkpoint, *QUICK, "--verify", "pyhessian", "--max-matvecs", 2000, "--json"
    )
    assert answer.code == 0, answer.err
    assert answer.json["agrees"] is True


def test_a_disagreement_exits_with_one(run, checkpoint, monkeypatch):
    from landscape.hessian import pyhessian

    honest = pyhessian.power_iteration

    def tampered(*args, **kwargs):
        pairs = honest(*args, **kwargs)
        return dataclasses.replace(
            pairs, eigenvalues=pairs.eigenvalues * 1.01, residuals=pairs.residuals * 0
        )

    monkeypatch.setattr("landscape_cli.hessian.run.power_iteration", tampered)
    answer = run("hessian", checkpoint, *QUICK, "--verify", "pyhessian")
    assert answer.code == 1
    assert "disagree" in answer.out


def test_a_folder_of_snapshots_gives_curvature_along_training(run, trained, tmp_path):
    out = tmp_path / "along.h5"
    answer = run("hessian", trained, *QUICK, "--every", 2, "--out", out, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["epoch"] == [0, 2]
    last = run("hessian", trained / "snapshots" / "epoch-0002.pt", *QUICK, "--json").json
    assert answer.json["eigenvalues"][-1] == pytest.approx(last["eigenvalues"], rel=1e-3)
    assert (
        run("hessian", trained, *QUICK, "--every", 2, "--out", out, "--resume", "--json").json
        == answer.json
    )


@pytest.mark.parametrize(
    "options", [(), ("--trace", "--density", "--blocks", "--folds", 2, "--verify", "pyhessian")]
)
def test_tables_name_what_was_measured(run, checkpoint, options):
    answer = run("hessian", checkpoint, *QUICK, "--max-matvecs", 2000, *options)
    assert answer.code == 0, answer.err
    for word in (
        "lambda_1",
        "error",
        "Certified",
        *(["trace", "eigenvalues within"] if options else []),
    ):
        assert word in answer.out
    if not options:
        assert not re.search("residual|second look|Lanczos|lanczos", answer.out + answer.err)


def test_details_say_how_the_values_were_computed_and_checked(run, checkpoint, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # which pytest sets in some of its processes
    answer = run("hessian", checkpoint, *QUICK, "--max-matvecs", 2000, "--verbose")
    assert re.search("residual.*rounding.*estimated error", answer.out)
    assert "second look" in answer.out
    assert "Products: graphs of" in answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--save-vectors",), "--save-vectors needs a file"),
        (("--resume",), "--resume needs a file"),
        (("--memory", "much"), "--memory must be an amount of memory, got 'much'"),
        (("--memory", "1KB"), "must fit into memory"),
        (("--which", "largest"), "which must be"),
        (("--which", "magnitude", "--bottom-k", 1), "magnitude"),
        (("--curvature", "kfac"), "curvature must be one of hessian, ggn, fisher, got 'kfac'"),
        (("--verify", "scipy"), "--verify must be pyhessian"),
        (("--verify", "pyhessian", "--engine", "pyhessian"), "got the same one twice"),
        (
            ("--verify", "pyhessian", "--curvature", "ggn"),
            "compares eigenvalues of the Hessian, got --curvature ggn",
        ),
        (("--engine", "pyhessian", "--density"), "cannot compute"),
        (("--engine", "pyhessian", "--curvature", "ggn"), "PyHessian 0.1 cannot compute ggn"),
        (("--every", 2), "--every 2 takes snapshots from a folder"),
        (("--align", "none.h5"), "none.h5 does not exist"),
        (("--folds", 900), "examples"),
        (("--relative-error", -1), "must be a positive number"),
        (("--minutes", 0), "must be a positive number"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(run, checkpoint, options, message):
    answer = run("hessian", checkpoint, *QUICK, *options)
    assert answer.code == 1
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_a_file_without_eigenvectors_has_nothing_to_align(run, checkpoint, tmp_path):
    file = tmp_path / "h.h5"
    assert run("hessian", checkpoint, *QUICK, "--out", file).code == 0
    answer = run("hessian", checkpoint, *QUICK, "--align", file)
    assert answer.code == 1
    assert "holds no eigenvectors" in answer.err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--density",), "--density is measured at one checkpoint"),
        (("--polish",), "--polish and --memory are of one checkpoint"),
        (("--memory", "1GiB"), "--polish and --memory are of one checkpoint"),
        (("--save-vectors",), "--save-vectors is of one checkpoint"),
    ],
)
def test_options_of_one_checkpoint_are_refused_for_a_folder(
    run, trained, tmp_path, option, message
):
    answer = run("hessian", trained, *QUICK, *option, "--out", tmp_path / "a.h5")
    assert answer.code == 1
    assert message in answer.err


def test_a_complete_result_with_another_kind_in_its_place_is_refused(run, checkpoint, tmp_path):
    history = read_result(checkpoint.with_name("history.h5"))
    write_result(tmp_path / "h.h5", history)
    answer = run("hessian", checkpoint, *QUICK, "--out", tmp_path / "h.h5", "--resume")
    assert answer.code == 1
    assert "holds no spectrum" in answer.err


def test_where_rounding_exceeds_the_tolerance_the_summary_says_what_helps(capsys):
    from landscape_cli.hessian.summary import show_spectrum
    from report_entries import spectrum

    rounding = {"rounding": np.full(5, 1e-5), "bottom_rounding": np.array([1e-5])}
    show_spectrum(spectrum(**rounding), None, as_json=False)
    assert "--polish" not in (within := capsys.readouterr().out)
    assert "Certified: an eigenvalue lies within the error of each value" in " ".join(
        within.split()
    )
    rounding["rounding"][0] = 8.5  # of 8, and the tolerance is 1e-4
    show_spectrum(spectrum(**rounding), None, as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "exceeds the tolerance: pass --polish or --dtype float64." in said
    show_spectrum(spectrum(), None, as_json=False)
    assert "Not certified: what float32 does" in " ".join(capsys.readouterr().out.split())
