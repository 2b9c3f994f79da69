"""The first sentence about a result is true of whatever is stored."""

from dataclasses import replace

import numpy as np
import pytest
from report_entries import provenance, sharpness, spectrum

from landscape.results.curvature_parts import BlockCurvature
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.headlines import (
    DEPENDS,
    certificate_headline,
    comparison_headline,
    curvature_history_headline,
    groups_headline,
    history_headline,
    pair_in_words,
    sharpness_headline,
    spectrum_headline,
    votes,
)
from landscape.results.history import make_history
from landscape.results.sharpness import (
    Certificate,
    Difference,
    GroupValue,
    Measure,
    SharpnessComparison,
)

LOWER, HIGHER, OPEN = "lower", "higher", "not distinguishable"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"residuals": np.zeros(5)}, "the train loss curves up by 8; the lowest curvature is -2 "),
        ({}, "curves up by 8 ± 0.5; the lowest curvature is -2 ± 0.2, downwards"),
        ({"bottom": 0.1}, "the lowest curvature cannot be told from 0."),
        ({"bottom": 1.0}, "the lowest curvature is 1 ± 0.2, upwards too."),
        ({"top": 0.4}, "No direction was found to curve up: the largest value is 0.4 ± 0.5"),
        ({"top": -1.0}, "No direction curves up: the largest curvature is -1 ± 0.5"),
        ({"converged": False}, "Not converged; so far: sharpest direction"),
        ({"curvature": "ggn"}, "(Gauss-Newton)"),
        ({"which": "magnitude", "top": -9.0}, "Strongest curvature of the train loss, up or down"),
        ({"asymmetry": 0.1}, "These values are not curvatures of the loss"),
        ({"asymmetry": 1e-6}, "Sharpest direction"),
    ],
)
def test_a_spectrum_is_said_to_curve_only_beyond_its_errors(fields, said):
    found = spectrum_headline(spectrum(trace=None, **fields))
    assert said in found
    assert found.endswith(".")


def test_a_spectrum_without_a_lower_end_says_nothing_of_it():
    nothing = {"bottom_eigenvalues": np.empty(0), "bottom_residuals": np.empty(0)}
    assert "lowest" not in spectrum_headline(spectrum(trace=None, **nothing))


def test_the_sharpest_layer_is_named_unless_two_are_alike():
    def layers(*values):
        return tuple(
            BlockCurvature(f"fc{i}", 3, value, 0.5, 1.0, 0.1, 9, True)
            for i, value in enumerate(values)
        )

    assert "Sharpest layer: fc1, 7 ± 0.5." in spectrum_headline(spectrum(blocks=layers(3.0, 7.0)))
    alike = spectrum_headline(spectrum(blocks=layers(6.5, 7.0, 1.0)))
    assert "Sharpest layers, alike within their errors: fc0, fc1." in alike


def along(values, *, done=None, converged=None):
    count = len(values)
    column = np.array(values)[:, None]
    return CurvatureHistory(
        np.arange(count) * 10, column, 0 * column, -column, 0 * column, np.ones(count, int),
        np.ones(count, bool) if converged is None else np.array(converged),
        np.ones(count), np.ones(count), np.ones(count),
        np.ones(count, bool) if done is None else np.array(done), "train", provenance(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (along([5.0]), "Sharpest direction: 5 at epoch 0."),
        (along([5.0, 9.0]), "Sharpest direction: 5 at epoch 0, 9 at epoch 10."),
        (along([5.0, 9.0, 7.0]), "5 at epoch 0, 7 at epoch 20; largest 9 at epoch 10."),
        (along([5.0, 9.0], done=[True, False]), "5 at epoch 0; 1 snapshots are left."),
        (along([5.0, 9.0], converged=[True, False]), "; not converged at 1 of 2."),
        (along([np.nan, 9.0]), "Sharpest direction: 9 at epoch 10."),
        (along([5.0], done=[False]), "No curvature is known yet."),
    ],
)
def test_curvature_along_training_names_both_ends_and_the_peak(history, said):
    assert curvature_history_headline(history).endswith(said)


def trained(test_accuracy=0.9, train_loss=0.5, **columns):
    row = {"test_accuracy": test_accuracy, "test_loss": 0.4, "train_accuracy": 0.8, **columns}
    return make_history(
        [{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, **row, "train_loss": train_loss}], {}
    )


@pytest.mark.parametrize(
    ("histories", "said"),
    [
        ([trained()], "Test accuracy 90.00 % after 2 epochs; in training 80.00 %."),
        ([trained(np.nan)], "Test loss 0.4 after 2 epochs; in training 80.00 %."),
        ([trained(np.nan, test_loss=np.nan)], "Train accuracy 80.00 % after 2 epochs."),
        (
            [trained(0.9), trained(0.8)],
            "Test accuracy 85.00 ± 7.1 % after 2 epochs, mean of 2 seeds.",
        ),
        (
            [trained(train_loss=np.inf)],
            "Training failed: the train loss is not a finite number from epoch 2 on.",
        ),
        ([trained(), trained(train_loss=np.nan)], "1 of 2 runs failed"),
    ],
)
def test_training_is_summed_up_by_what_was_measured(histories, said):
    assert history_headline(histories).startswith(said)


def rises(*measures, **fields):
    return replace(sharpness(), measures=tuple(measures), **fields)


def rise(name, value, rho=0.05, *, rounding=None, error=None, m=None, p=2.0, adaptive=False):
    pairs = 3 if name == "avg" else None
    share = None if name == "first_order" else 1.0
    return Measure(
        name, rho, 0.2 + value, value, error, p, adaptive, 1, share, m, num_directions=pairs,
        rounding=rounding,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("measures", "said"),
    [
        (
            [rise("asc", 0.3), rise("max", 0.4)],
            "Within 0.05 of the weights the train loss rises by at least 0.4, from 0.2.",
        ),
        ([rise("asc", -0.1)], "No step of length 0.05 was found to raise the train loss."),
        (
            [rise("asc", 1e-7, rounding=1e-6)],
            "no rise of the train loss can be told from rounding.",
        ),
        (
            [rise("asc", np.nan)],
            "Within 0.05 of the weights the train loss is not a finite number.",
        ),
        ([rise("asc", np.inf), rise("nstep", 0.2)], "rises by at least 0.2, from 0.2."),
        ([rise("asc", 0.3, m=10)], "by at least 0.3, in batches of 10 on average, from 0.2."),
        (
            [rise("asc", 0.3, p=np.inf, adaptive=True)],
            "Within 0.05 (p = inf, adaptive) of the weights the train loss rises by at least "
            "0.3, from 0.2.",
        ),
        (
            [rise("first_order", 0.1)],
            "The gradient predicts a rise of the train loss by 0.1 within 0.05 of the weights.",
        ),
        (
            [rise("avg", 0.1, error=0.001)],
            "Random steps of length 0.05 change the train loss by 0.1 ± 0.004 on average.",
        ),
        (
            [rise("avg", 0.001, error=0.001)],
            "change the train loss by nothing that can be told from 0 on average.",
        ),
        (
            [rise("asc", 0.1), rise("asc", 0.2, 0.1), rise("asc", 0.3, 0.2)],
            "Within 0.1 of the weights the train loss rises by at least 0.2, from 0.2.",
        ),
    ],
)
def test_a_rise_is_a_bound_from_what_was_found(measures, said):
    assert sharpness_headline(rises(*measures)).endswith(said)


def test_a_protocol_is_named_with_its_own_scale():
    found = sharpness_headline(rises(rise("first_order", 2.5), protocol="s003-text"))
    assert found == "Sharpness by protocol s003-text at radius 0.05: first_order 2.5."


def difference(name, verdict, rho=0.05, first="sam", second="sgd"):
    return Difference(name, rho, first, second, 0.0, 0.0, 0.0, 0.95, verdict, "data")


def test_a_measure_at_several_radii_has_one_vote():
    found = [
        difference("asc", LOWER), difference("asc", LOWER, 0.1), difference("asc", OPEN, 0.2),
        difference("avg", OPEN), difference("max", LOWER), difference("max", HIGHER, 0.1),
    ]  # fmt: skip
    assert votes(found) == {("sam", "sgd"): {"asc": LOWER, "avg": OPEN, "max": DEPENDS}}


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([LOWER] * 3, "sam is flatter than sgd by every measure"),
        ([HIGHER], "sam is sharper than sgd by the only measure"),
        ([OPEN, OPEN], "sam and sgd cannot be told apart by any measure"),
        ([LOWER, LOWER, OPEN], "sam is flatter than sgd by 2 of 3 measures; 1 undecided"),
        (
            [HIGHER, LOWER, HIGHER, DEPENDS],
            "sam is sharper than sgd by 2 of 4 measures and flatter by 1 of 4 measures; "
            "1 depends on the radius",
        ),
        (
            [DEPENDS, OPEN],
            "sam and sgd cannot be told apart by measures, which depend on the radius",
        ),
    ],
)
def test_a_pair_is_told_apart_by_its_votes(verdicts, said):
    assert pair_in_words(("sam", "sgd"), verdicts) == said


def test_many_pairs_are_sorted_by_what_all_measures_say():
    said = {"a": LOWER, "b": LOWER, "c": HIGHER, "d": OPEN}
    found = comparison_headline(
        [difference("asc", verdict, first=name) for name, verdict in said.items()]
    )
    assert found == (
        "Flatter by every measure: a (than sgd), b (than sgd). Sharper by every measure: c (than "
        "sgd). Not the same by every measure: d (than sgd)."
    )  # fmt: skip


def test_a_single_group_is_summed_up():
    group = GroupValue("sgd", "asc", 0.05, 0.25, np.nan, 1)
    found = groups_headline(SharpnessComparison(("a",), (sharpness(),), (), (group,), ("sgd",)))
    assert found == "sgd: asc 0.25, mean of 1 checkpoints."


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        (True, "within 0.2 of the weights the train loss reaches 0.9 or more, from 0.1"),
        (False, "not hold"),
    ],
)
def test_a_certificate_proves_its_largest_radius(holds, said):
    found = Certificate(
        np.zeros((2, 3)), np.array([0.2, 0.1]), np.array([0.9, 0.5]), 0.1, 2.0, False, 0.01, "max",
        "train", provenance(),
    )  # fmt: skip
    assert said in certificate_headline(found, holds=holds)
