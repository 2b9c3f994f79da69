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

from landscape import Axis, Plane, Problem, evaluate_surface, random_directions
from landscape.errors import InputError, StoreError

MATRIX, LINEAR = (
    symmetric_with_spectrum([5.0, 2.0, 0.5, -1.0]),
    torch.tensor([0.1, -0.2, 0.3, 0.0]).double(),
)
W0 = torch.tensor([1.0, 0.0, -0.5, 2.0]).double()
DX, DY = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _quadratic(start=W0, matrix=MATRIX, data=DUMMY_DATA, dtype="float64"):
    def loss(w, targets):
        return quadratic_loss(matrix, LINEAR)(w.double(), targets)

    return Problem(Quadratic(start), data, loss, device="cpu", dtype=dtype)


def _formula(a, b=0.0):
    w = (W0 + a * DX + b * DY).numpy()
    return 0.5 * w @ MATRIX.numpy() @ w + LINEAR.numpy() @ w


@pytest.mark.parametrize(("nx", "ny"), [(5, 5), (7, 4), (2, 2)])
def test_every_point_of_a_quadratic_equals_the_formula_at_its_own_coordinates(nx, ny):
    axes = (Axis(-1, 2, nx), Axis(-0.5, 1, ny))
    found = evaluate_surface({"train": _quadratic()}, Plane(W0, (DX, DY)), axes)
    expected = [[_formula(a, b) for a in np.linspace(-1, 2, nx)] for b in np.linspace(-0.5, 1, ny)]
    np.testing.assert_allclose(found.loss["train"], expected, rtol=1e-12)


def test_every_point_of_a_line_equals_the_formula():
    found = evaluate_surface({"train": _quadratic()}, Plane(W0, (DX,)), (Axis(-1, 1, 9),))
    np.testing.assert_allclose(
        found.loss["train"], [_formula(a) for a in np.linspace(-1, 1, 9)], rtol=1e-12
    )


@pytest.mark.parametrize("num_points", [3, 7, 11, 21, 51, 99])
def test_the_centre_equals_the_loss_of_the_checkpoint_bit_for_bit(num_points):
    problem = Problem(tiny_mlp(), classification(), device="cpu", batch_size=7)
    direction = random_directions(1, problem.weights, problem.spec, seed=0, normalization="filter")
    found = evaluate_surface(
        {"train": problem}, Plane(problem.weights, direction), (Axis(-1, 1, num_points),)
    )
    assert found.loss["train"][num_points // 2] == problem.loss() == found.center_loss["train"]


def test_the_centre_is_known_where_it_is_no_grid_point():
    problem = _quadratic()
    found = evaluate_surface({"train": problem}, Plane(W0, (DX,)), (Axis(-1, 1, 4),))
    assert found.center_loss["train"] == problem.loss()
    assert 0.0 not in found.x


def test_a_problem_alone_is_that_of_the_training_set():
    plane, axes = Plane(W0, (DX,)), (Axis(-1, 1, 4),)
    alone, named = (
        evaluate_surface(each, plane, axes) for each in (_quadratic(), {"train": _quadratic()})
    )
    np.testing.assert_array_equal(alone.loss["train"], named.loss["train"])
    assert alone.provenance.data_hash == named.provenance.data_hash


def test_splits_are_evaluated_at_the_same_points():
    model = tiny_mlp()
    problems = {
        "train": Problem(model, classification(seed=1), device="cpu"),
        "test": Problem(model, classification(seed=2), device="cpu"),
    }
    first = problems["train"]
    directions = random_directions(2, first.weights, first.spec, seed=0, normalization="filter")
    plane, axes = Plane(first.weights, directions), (Axis(-1, 1, 3), Axis(-1, 1, 3))
    both = evaluate_surface(problems, plane, axes)
    alone = evaluate_surface({"test": problems["test"]}, plane, axes)
    np.testing.assert_array_equal(both.loss["test"], alone.loss["test"])
    np.testing.assert_array_equal(both.accuracy["test"], alone.accuracy["test"])


def test_values_that_are_not_finite_are_kept_and_done():
    def loss(w, _):
        return torch.where(w.sum() > 1, w.sum() * torch.nan, w.sum())

    problem = Problem(Quadratic(torch.zeros(2)), DUMMY_DATA, loss, device="cpu")
    found = evaluate_surface(
        {"train": problem}, Plane(problem.weights, (torch.ones(2),)), (Axis(-1, 1, 3),)
    )
    np.testing.assert_array_equal(found.loss["train"], [-2.0, 0.0, np.nan])
    assert found.is_complete


@pytest.mark.parametrize("stop_after", [1, 4, 11])
def test_a_resumed_surface_equals_an_uninterrupted_one_bit_for_bit(stop_after):
    plane, axes = Plane(W0, (DX, DY)), (Axis(-1, 1, 4), Axis(-1, 1, 3))
    whole = evaluate_surface({"train": _quadratic()}, plane, axes)
    sink = MemorySink(stop_after=stop_after)
    with pytest.raises(KeyboardInterrupt):
        evaluate_surface({"train": _quadratic()}, plane, axes, sink=sink)
    assert sink.num_flushes == 1
    assert sink.stored.done.sum() == stop_after
    resumed = evaluate_surface({"train": _quadratic()}, plane, axes, sink=sink)
    np.testing.assert_array_equal(resumed.loss["train"], whole.loss["train"])


def test_of_a_complete_surface_only_the_centre_is_computed_again():
    plane, axes = Plane(W0, (DX,)), (Axis(-1, 1, 3),)
    sink = MemorySink()
    evaluate_surface({"train": _quadratic()}, plane, axes, sink=sink)
    problem, points = _quadratic(), []
    evaluate = problem.evaluate
    problem.evaluate = lambda w: points.append(w) or evaluate(w)
    evaluate_surface({"train": problem}, plane, axes, sink=sink)
    assert len(points) == 1
    assert torch.equal(points[0], W0)


def _other_plan():
    problem = _quadratic()
    problem.passes.plan = replace(problem.plan, num_threads=97)
    return problem


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (
            {"axes": (Axis(-1, 1, 4),)},
            r"x axis: -1\.0:1\.0 in 3 points in the file, -1\.0:1\.0 in 4 points now",
        ),
        ({"axes": (Axis(-1, 1 + 1e-7, 3),)}, "x axis"),
        ({"plane": Plane(W0, (DY,))}, "set of directions"),
        ({"normalization": "filter"}, "normalization: none in the file, filter now"),
        ({"problems": lambda: _quadratic(W0 + 1)}, "weights_hash"),
        (
            {"problems": lambda: _quadratic(dtype="float32")},
            "dtype: float64 in the file, float32 now",
        ),
        ({"problems": lambda: _quadratic(data=(torch.ones(1, 1), torch.zeros(1)))}, "data_hash"),
        ({"problems": _other_plan}, "plan"),
        ({"problems": lambda: _quadratic(matrix=2 * MATRIX)}, "center_loss"),
        ({"settings": {"loss": "mse"}}, "loss: None in the file, mse now"),
    ],
)
def test_a_surface_of_something_else_is_not_continued(change, field):
    arguments = {
        "problems": {"train": _quadratic()},
        "plane": Plane(W0, (DX,)),
        "axes": (Axis(-1, 1, 3),),
    }
    sink = MemorySink()
    evaluate_surface(**arguments, sink=sink)
    change = {
        name: {"train": value()} if name == "problems" else value for name, value in change.items()
    }
    with pytest.raises(StoreError, match=field):
        evaluate_surface(**{**arguments, **change}, sink=sink)


@pytest.mark.parametrize(("stop", "num_points"), [(1, 10**9), (1.7e308, 3)])
def test_an_axis_that_no_machine_can_hold_is_refused(stop, num_points):
    with pytest.raises(InputError, match="a finite range of at most"):
        Axis(-stop, stop, num_points)


def test_a_grid_of_one_point_is_refused():
    with pytest.raises(InputError, match="at least 2 points per axis, got 1"):
        Axis(-1, 1, 1)


@pytest.mark.parametrize(("start", "stop"), [(1, -1), (0, 0), (0, float("inf")), (float("nan"), 1)])
def test_a_range_that_does_not_rise_is_refused(start, stop):
    with pytest.raises(InputError, match="from a smaller to a larger number"):
        Axis(start, stop, 3)


def test_axes_and_directions_must_match():
    with pytest.raises(InputError, match="needs as many axes, got 2"):
        evaluate_surface(
            {"train": _quadratic()}, Plane(W0, (DX,)), (Axis(-1, 1, 3), Axis(-1, 1, 3))
        )


LINES = [Plane(W0, (DX,)), Plane(W0, (DY,))]


def test_several_lines_are_each_the_line_alone():
    axis = (Axis(-1, 1, 5),)
    found = evaluate_surface({"train": _quadratic()}, LINES, axis)
    assert found.num_lines == 2
    for row, line in zip(found.loss["train"], LINES, strict=True):
        np.testing.assert_array_equal(
            row, evaluate_surface({"train": _quadratic()}, line, axis).loss["train"]
        )


def test_several_planes_are_refused():
    planes = [Plane(W0, (DX, DY)), Plane(W0, (DY, DX))]
    with pytest.raises(InputError, match="must be lines, got planes"):
        evaluate_surface({"train": _quadratic()}, planes, (Axis(-1, 1, 3), Axis(-1, 1, 3)))


def test_a_run_that_is_told_to_stop_keeps_what_it_has_and_goes_on_later():
    plane, axes = Plane(W0, (DX, DY)), (Axis(-1, 1, 5), Axis(-1, 1, 5))
    sink = MemorySink()

    def has_seven_points():
        return sink.stored is not None and sink.stored.done.sum() == 7

    part = evaluate_surface(
        {"train": _quadratic()}, plane, axes, sink=sink, should_stop=has_seven_points
    )
    assert part.done.sum() == 7
    assert not part.is_complete
    whole = evaluate_surface({"train": _quadratic()}, plane, axes, sink=sink)
    expected = evaluate_surface({"train": _quadratic()}, plane, axes)
    np.testing.assert_array_equal(whole.loss["train"], expected.loss["train"])


def _cubic(num_points=33, **options):
    def loss(w, _):
        return 1 + w[0] ** 3 + w[0] ** 2 + w[1] ** 2

    problem = Problem(
        Quadratic(torch.zeros(2).double()), DUMMY_DATA, loss, device="cpu", dtype="float64"
    )
    plane = Plane(problem.weights, tuple(torch.eye(2).double()))
    axes = (Axis(-1, 1, num_points), Axis(-1, 1, num_points))
    return evaluate_surface({"train": problem}, plane, axes, **options)


def test_a_refined_surface_leaves_out_points_and_computes_the_others_as_ever():
    found, whole = _cubic(refine=0.05), _cubic()
    assert 81 <= found.done.sum() < 0.5 * found.done.size
    np.testing.assert_array_equal(found.loss["train"][found.done], whole.loss["train"][found.done])
    assert np.isnan(found.loss["train"][~found.done]).all()


def test_what_interpolation_makes_of_points_left_out_is_checked_and_recorded():
    found = _cubic(refine=0.05)
    assert 0 < found.deviations["interpolation, train"] <= 0.05


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_refined_surface_is_resumed_bit_for_bit(share):
    whole = _cubic(refine=0.02)
    sink = MemorySink(stop_after=int(share * whole.done.sum()))
    with pytest.raises(KeyboardInterrupt):
        _cubic(refine=0.02, sink=sink)
    resumed = _cubic(refine=0.02, sink=sink)
    np.testing.assert_array_equal(resumed.done, whole.done)
    np.testing.assert_array_equal(resumed.loss["train"], whole.loss["train"])
    assert resumed.deviations == whole.deviations


def test_a_refined_surface_is_finished_only_when_nothing_is_left_to_compute():
    sink = MemorySink()
    stopped = _cubic(refine=0.05, sink=sink, should_stop=lambda: sink.stored is not None)
    assert not stopped.is_finished
    finished = _cubic(refine=0.05, sink=sink)
    assert finished.is_finished
    assert not finished.is_complete


def test_the_progress_ends_where_nothing_can_be_saved():
    class FullSink(MemorySink):
        def save(self, result):
            raise StoreError("the disk is full.")

    class Recorder:
        calls = ()

        def start(self, task, total):
            self.calls += ("start",)

        def update(self, completed, **fields):
            self.calls += ("update",)

        def stop(self):
            self.calls += ("stop",)

    progress = Recorder()
    with pytest.raises(StoreError, match="disk is full"):
        evaluate_surface(
            {"train": _quadratic()},
            Plane(W0, (DX,)),
            (Axis(-1, 1, 3),),
            sink=FullSink(),
            progress=progress,
        )
    assert progress.calls == ("start", "stop")


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_not_positive_is_refused(tolerance):
    with pytest.raises(InputError, match="must be a positive number"):
        _cubic(refine=tolerance)


def test_a_surface_may_go_on_with_a_finer_tolerance_and_then_without_any():
    sink = MemorySink()
    coarse = _cubic(refine=0.1, sink=sink).done.sum()
    fine = _cubic(refine=0.02, sink=sink)
    assert fine.done.sum() > coarse
    assert fine.tolerance == 0.02
    np.testing.assert_array_equal(_cubic(sink=sink).loss["train"], _cubic().loss["train"])
    assert sink.stored.tolerance is None
    assert sink.stored.deviations == {}
