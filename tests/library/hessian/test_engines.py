from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import (
    DUMMY_DATA,
    Quadratic,
    classification,
    quadratic_loss,
    symmetric_with_spectrum,
    tiny_mlp,
)

from landscape import Problem, hessian_spectrum
from landscape.errors import InputError
from landscape.hessian.eigenpairs import Eigenpairs
from landscape.hessian.engines import verify
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.pyhessian import power_iteration

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")


def _pairs(top, bottom=(), radius=1e-6, floor=1e-9):
    """Eigenpairs with these values and one residual for all, or one each."""
    top, bottom = np.array(top, dtype=float), np.array(bottom, dtype=float)
    radii = np.broadcast_to(radius, len(top) + len(bottom)).astype(float)
    return Eigenpairs(
        eigenvalues=top,
        residuals=radii[: len(top)],
        bottom_eigenvalues=bottom,
        bottom_residuals=radii[len(top) :],
        vectors=torch.empty(0, 9),
        num_matvecs=1,
        converged=True,
        tolerance=1e-6,
        noise_floor=floor,
        gaps=np.zeros(len(radii)),
    )


def _missing(agreement, whose):
    """Values that only one engine has although the other ought to have them."""
    values = [getattr(c, whose) for c in agreement.comparisons if c.verdict == "missing"]
    return tuple(value for value in values if value is not None)


def _verdicts(agreement):
    return [
        (comparison.ours, comparison.theirs, comparison.verdict)
        for comparison in agreement.comparisons
    ]


def _quadratic(spectrum):
    loss = quadratic_loss(symmetric_with_spectrum(spectrum), torch.zeros(len(spectrum)).double())
    return Problem(
        Quadratic(torch.ones(len(spectrum))), DUMMY_DATA, loss, device="cpu", dtype="float64"
    )


def _both(problem, *, top_k, **options):
    ours = lanczos(CurvatureOperator(problem), top_k=top_k, bottom_k=1)
    return verify(ours, power_iteration(problem, top_k=top_k, **options))


def test_both_engines_agree_on_a_network():
    problem = Problem(tiny_mlp(), classification(), device="cpu", dtype="float64", batch_size=7)
    agreement = _both(problem, top_k=3, max_matvecs=6000)
    assert agreement.agrees
    assert not agreement.contradicts
    assert sum(comparison.verdict == "agrees" for comparison in agreement.comparisons) == 3


def test_both_engines_agree_on_spectra_with_a_large_negative_eigenvalue():
    agreement = _both(_quadratic([8.0, 4.0, 2.0, 1.0, 0.5, -6.0]), top_k=3, max_matvecs=1000)
    assert agreement.agrees
    verdicts = [(round(c.ours, 6), c.verdict) for c in agreement.comparisons]
    assert verdicts == [(8.0, "agrees"), (4.0, "agrees"), (2.0, "not compared"), (-6.0, "agrees")]


def test_results_with_provenance_compare_as_pairs_do():
    problem = _quadratic([8.0, 4.0, 2.0, 1.0, 0.5, -0.25])
    ours, theirs = (
        hessian_spectrum(problem, top_k=2, engine=engine) for engine in ("lanczos", "pyhessian")
    )
    assert verify(ours, theirs).agrees


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("factor", [0.9, 0.999, 1.001, 1.1])
def test_a_value_that_was_tampered_with_contradicts(place, factor):
    problem = _quadratic([8.0, 4.0, 2.0, 1.0, 0.5, -0.25])
    ours = lanczos(CurvatureOperator(problem), top_k=3, bottom_k=1)
    theirs = power_iteration(problem, top_k=3, max_matvecs=1000)
    assert verify(ours, theirs).agrees
    top = ours.eigenvalues.copy()
    top[place] *= factor
    agreement = verify(replace(ours, eigenvalues=top), theirs)
    assert agreement.contradicts
    assert not agreement.agrees


def test_two_values_apart_are_shown_side_by_side_with_what_is_allowed():
    agreement = verify(_pairs([5, 3.5, 1]), _pairs([5, 3, 1]))
    assert _verdicts(agreement) == [(5, 5, "agrees"), (3.5, 3, "differs"), (1, 1, "agrees")]
    apart = agreement.comparisons[1]
    assert apart.difference == pytest.approx(0.5)
    assert apart.allowed == pytest.approx(2e-6 + 2e-9)


@pytest.mark.parametrize(("shift", "agrees"), [(1.9e-6, True), (2.1e-6, False)])
def test_the_sum_of_both_residuals_decides(shift, agrees):
    assert verify(_pairs([5, 3]), _pairs([5, 3 + shift])).agrees == agrees


def test_rounding_is_allowed_where_residuals_are_zero():
    assert verify(_pairs([5], radius=0, floor=1e-3), _pairs([5.0015], radius=0, floor=1e-3)).agrees


def test_the_order_in_which_they_were_found_does_not_matter():
    assert verify(_pairs([5, 4, 3]), _pairs([4, 3, 5])).agrees


def test_an_eigenvalue_that_they_missed_is_ours_alone():
    agreement = verify(_pairs([5, 4, 3]), _pairs([5, 3, 2.5]))
    assert _missing(agreement, "ours") == (4,)
    assert _missing(agreement, "theirs") == ()
    assert agreement.contradicts
    assert _verdicts(agreement)[-1] == (None, 2.5, "not compared")  # below what we looked for


def test_an_eigenvalue_that_we_missed_is_theirs_alone():
    agreement = verify(_pairs([5, 3], [-0.1]), _pairs([5, 4]))
    assert _missing(agreement, "theirs") == (4,)
    assert agreement.contradicts


def test_a_copy_has_no_partner():
    agreement = verify(_pairs([5, 4, 3]), _pairs([5, 5, 4]))
    assert _missing(agreement, "theirs") == (5,)


def test_repeated_eigenvalues_that_both_have_agree():
    assert verify(_pairs([5, 5, 4]), _pairs([5, 5, 4])).agrees


def test_a_negative_eigenvalue_that_we_were_not_asked_for_is_not_compared():
    agreement = verify(_pairs([5, 4, 3]), _pairs([5, 4, -3.2]))
    assert (None, -3.2, "not compared") in _verdicts(agreement)
    assert agreement.agrees


def test_a_negative_eigenvalue_that_they_need_not_have_is_not_compared():
    agreement = verify(_pairs([5, 4, 3], [-0.5]), _pairs([5, 4, 3]))
    assert _verdicts(agreement)[-1] == (-0.5, None, "not compared")
    assert agreement.agrees


def test_by_magnitude_a_negative_eigenvalue_is_ours_to_find():
    ours, theirs = _pairs([5, 4, 3]), _pairs([5, 4, -3.5])
    assert _missing(verify(ours, theirs), "theirs") == ()
    by_magnitude = verify(ours, theirs, which="magnitude")
    assert _missing(by_magnitude, "theirs") == (-3.5,)
    assert _missing(by_magnitude, "ours") == ()


def test_an_interval_that_is_wide_decides_nothing():
    agreement = verify(_pairs([5, 4]), _pairs([5, 4.2], radius=[1e-6, 0.6]))
    assert [comparison.verdict for comparison in agreement.comparisons] == ["agrees", "undecided"]
    assert not agreement.agrees
    assert not agreement.contradicts
    assert "too wide" in agreement.summary()


def test_opposite_eigenvalues_that_pyhessian_mixes_up_are_not_confirmed():
    problem = _quadratic([1.0, -0.999, *np.linspace(-0.5, 0.5, 20).tolist()])
    theirs = power_iteration(problem, top_k=2, tolerance=1e-3)
    assert np.abs(np.abs(theirs.eigenvalues) - 1).max() > 0.1  # what it returns is no eigenvalue
    agreement = _both(problem, top_k=2, tolerance=1e-3)
    assert not agreement.agrees
    assert "undecided" in [comparison.verdict for comparison in agreement.comparisons]


def test_clustered_eigenvalues_that_pyhessian_has_to_2_percent_do_not_contradict():
    problem = _quadratic([1.0, 0.99, 0.98, 0.97, 0.96, *np.linspace(-0.5, 0.5, 20).tolist()])
    assert not _both(problem, top_k=5, tolerance=1e-3).contradicts


def test_copies_that_pyhessian_returns_beyond_the_rank_are_not_confirmed():
    loss = quadratic_loss(torch.diag(torch.tensor([4.0, 0.0, 0.0, 0.0])).double(), torch.zeros(4))
    problem = Problem(Quadratic(torch.ones(4)), DUMMY_DATA, loss, device="cpu", dtype="float64")
    agreement = _both(problem, top_k=2)
    assert _missing(agreement, "theirs") == ()
    assert [c.verdict for c in agreement.comparisons if c.theirs is not None] == ["agrees"]


def test_nothing_in_common_is_no_agreement():
    assert not verify(_pairs([5, 4]), _pairs([])).agrees


def test_the_summary_says_how_many_agree():
    assert (
        verify(_pairs([5, 4]), _pairs([5, 4]))
        .summary()
        .startswith("The engines agree on 2 eigenvalues")
    )
    assert "disagree on 1 of 3" in verify(_pairs([5, 4, 3]), _pairs([5, 4.1, 3])).summary()


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="must be finite to be compared"):
        verify(_pairs([5, np.nan]), _pairs([5, 4]))


def test_engines_agree_within_the_rounding_of_their_products():
    ours, theirs = _pairs([99800.02]), _pairs([99715.32])
    assert verify(ours, theirs).contradicts
    rounding = {"rounding": np.array([50.0]), "bottom_rounding": np.empty(0)}
    ours, theirs = (replace(each, **rounding) for each in (ours, theirs))
    assert verify(ours, theirs).agrees
