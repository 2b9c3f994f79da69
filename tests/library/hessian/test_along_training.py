from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import (
    DUMMY_DATA,
    MemorySink,
    Quadratic,
    classification,
    quadratic_loss,
    symmetric_with_spectrum,
    tiny_mlp,
)
from reference import dense_hessian

from landscape import Problem
from landscape.errors import InputError, StoreError
from landscape.hessian.along_training import TrainingPoint, curvature_along
from landscape.hessian.eigenvectors import subspace_overlap
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.io.store import FileSink

MODEL, DATA = tiny_mlp(), classification()
PROBLEM = Problem(MODEL, DATA, device="cpu", dtype="float64")


def weights(epoch):
    return PROBLEM.weights * (1 + 0.1 * epoch)


def points(num_points=4, **changes):
    return [
        TrainingPoint(
            epoch, lambda epoch=epoch: PROBLEM.with_weights(weights(epoch)), 0.1, **changes
        )
        for epoch in range(num_points)
    ]


def hessian_at(epoch):
    model = tiny_mlp()
    torch.nn.utils.vector_to_parameters(weights(epoch).float(), model.parameters())
    return dense_hessian(model, *DATA)


class Interrupted(MemorySink):
    """Keeps copies, as a file does."""

    def save(self, result):
        arrays = {
            name: value.copy()
            for name, value in vars(result).items()
            if isinstance(value, np.ndarray)
        }
        super().save(replace(result, **arrays))


def test_every_snapshot_has_the_eigenvalues_of_its_dense_hessian():
    found = curvature_along(points(3), top_k=3, bottom_k=2)
    for epoch in range(3):
        expected = np.linalg.eigvalsh(hessian_at(epoch).numpy())
        np.testing.assert_allclose(found.eigenvalues[epoch], expected[::-1][:3], rtol=1e-6)
        np.testing.assert_allclose(
            found.bottom_eigenvalues[epoch], expected[:2], atol=1e-6 * expected[-1]
        )
        assert found.loss[epoch] == PROBLEM.loss(weights(epoch))
    assert found.converged.all()
    assert found.done.all()


def test_overlaps_are_those_of_the_top_eigenvectors_with_the_snapshot_before():
    found = curvature_along(points(3), top_k=2)
    top = [torch.linalg.eigh(hessian_at(epoch)).eigenvectors.T[-2:] for epoch in range(3)]
    expected = [subspace_overlap(top[0], top[1]), subspace_overlap(top[1], top[2])]
    assert np.isnan(found.overlaps[0])
    np.testing.assert_allclose(found.overlaps[1:], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("every", "epochs"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (5, [0, 5]), (9, [0, 5])]
)
def test_every_so_many_snapshots_are_taken_and_the_last(every, epochs):
    assert curvature_along(points(6), top_k=1, bottom_k=0, every=every).epoch.tolist() == epochs


def test_a_run_that_was_killed_goes_on_after_the_last_snapshot_that_was_done():
    whole = curvature_along(points(), top_k=2)
    sink = Interrupted()
    sink.flush = lambda: None
    save = sink.save

    def interrupt(result):
        save(result)
        if result.done.sum() == 2:
            raise KeyboardInterrupt

    sink.save = interrupt
    with pytest.raises(KeyboardInterrupt):
        curvature_along(points(), top_k=2, sink=sink)
    assert sink.stored.done.tolist() == [True, True, False, False]
    sink.stored.eigenvalues[0, 0] = 123.0  # which shows that it is not computed again
    sink.save = save
    resumed = curvature_along(points(), top_k=2, sink=sink)
    assert resumed.eigenvalues[0, 0] == 123.0
    np.testing.assert_allclose(resumed.eigenvalues[1:], whole.eigenvalues[1:], rtol=1e-7)
    np.testing.assert_allclose(resumed.overlaps[1:], whole.overlaps[1:], rtol=1e-4)


def test_a_run_that_has_no_time_left_says_what_is_not_done():
    answers = iter([False, False, True])
    found = curvature_along(points(), top_k=1, should_stop=lambda: next(answers))
    assert found.done.tolist() == [True, True, False, False]
    assert np.isnan(found.eigenvalues[2:]).all()


def test_a_file_is_resumed_without_another_product(tmp_path):
    def computed():
        sink = FileSink(tmp_path / "c.h5", resume=True)
        return curvature_along(points(2), top_k=1, settings={"model_args": {"width": 7}}, sink=sink)

    first, second = computed(), computed()
    np.testing.assert_array_equal(first.num_matvecs, second.num_matvecs)
    assert first.weights_hashes == second.weights_hashes


def other_weights():
    return [*points(3), TrainingPoint(3, lambda: PROBLEM.with_weights(-weights(3)))]


@pytest.mark.parametrize(
    ("name", "now", "options"),
    [
        ("number of snapshots: 4 in the file, 3 now", points(3), {}),
        ("set of epochs", [replace(point, epoch=point.epoch + 1) for point in points()], {}),
        ("number of largest eigenvalues: 2 in the file, 3 now", points(), {"top_k": 3}),
        ("number of smallest eigenvalues", points(), {"bottom_k": 0}),
        ("split: train in the file, test now", points(), {"split": "test"}),
        ("weights_hash at epoch 3", other_weights(), {}),
        ("tolerance: None in the file, 0.01 now", points(), {"tolerance": 1e-2}),
        ("seed: 0 in the file, 1 now", points(), {"seed": 1}),
        ("curvature: None in the file, ggn now", points(), {"settings": {"curvature": "ggn"}}),
    ],
)
def test_the_curvature_along_another_run_is_not_continued(name, now, options):
    sink = MemorySink(curvature_along(points(), top_k=2))
    with pytest.raises(StoreError, match=f"another {name}"):
        curvature_along(now, **{"top_k": 2, **options}, sink=sink)


def test_another_data_set_is_refused():
    sink = MemorySink(curvature_along(points(1), top_k=1))
    fewer = PROBLEM.on((DATA[0][:9], DATA[1][:9]))
    with pytest.raises(StoreError, match="another num_examples"):
        curvature_along([TrainingPoint(0, lambda: fewer)], top_k=1, sink=sink)


def test_a_result_of_another_kind_is_refused():
    with pytest.raises(StoreError, match="stored result is a dict, not the curvature along a run"):
        curvature_along(points(1), top_k=1, sink=MemorySink({}))


def test_a_run_without_snapshots_is_refused():
    with pytest.raises(InputError, match="at least one snapshot"):
        curvature_along([])


def test_every_must_be_positive():
    with pytest.raises(InputError, match="every must be at least 1, got 0"):
        curvature_along(points(), every=0)


def quadratics(*spectra):
    """Snapshots whose Hessians have the same eigenvectors, which are chosen at random, and these
    eigenvalues."""
    return [
        TrainingPoint(
            i,
            lambda spectrum=spectrum: Problem(
                Quadratic(torch.ones(len(spectrum), dtype=torch.float64)),
                DUMMY_DATA,
                quadratic_loss(symmetric_with_spectrum(spectrum), torch.zeros(len(spectrum))),
                device="cpu",
                dtype="float64",
            ),
        )
        for i, spectrum in enumerate(spectra)
    ]


def test_an_eigenvalue_that_rises_outside_the_span_of_the_old_eigenvectors_is_found():
    rest = [0.001 * i for i in range(60)]
    found = curvature_along(quadratics([3.0, 2.0, 0.5, *rest], [3.0, 2.0, 5.0, *rest]), top_k=2)
    np.testing.assert_allclose(found.eigenvalues, [[3.0, 2.0], [5.0, 3.0]], rtol=1e-7)
    assert found.overlaps[1] == pytest.approx(0.5, abs=1e-6)


def test_the_eigenvectors_of_the_snapshot_before_save_products():
    spectrum = [8.0, 7.0, 6.5, *np.linspace(-1, 6, 197)]
    snapshots = quadratics(spectrum, [1.01 * value for value in spectrum])
    found = curvature_along(snapshots, top_k=3, bottom_k=0, tolerance=1e-3)
    afresh = lanczos(CurvatureOperator(snapshots[1].load()), top_k=3, tolerance=1e-3)
    assert found.num_matvecs[1] < afresh.num_matvecs
