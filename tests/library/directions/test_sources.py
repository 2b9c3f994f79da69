from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import (
    DUMMY_DATA,
    Quadratic,
    classification,
    images,
    quadratic_loss,
    symmetric_with_spectrum,
    tiny_cnn,
    tiny_mlp,
)
from reference import dense_hessian
from torch import nn

from landscape import Axis, Plane, Problem, evaluate_surface, hessian_spectrum, measure_sharpness
from landscape.directions.plane import Direction
from landscape.directions.sources import (
    ascent_direction,
    checkpoint_direction,
    compute_eigenvectors,
    eigenvector_direction,
    gradient_direction,
    stored_directions,
    to_store,
)
from landscape.errors import InputError
from landscape.surface.planes import mark_directions

MATRIX, LINEAR = (
    symmetric_with_spectrum([5.0, 2.0, 0.5, -1.0]),
    torch.tensor([0.1, -0.2, 0.3, 0.0]).double(),
)
W0, W1, W2 = torch.randn(3, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def _quadratic(start=W0):
    return Problem(
        Quadratic(start), DUMMY_DATA, quadratic_loss(MATRIX, LINEAR), device="cpu", dtype="float64"
    )


def _formula(w):
    return float(0.5 * w @ MATRIX @ w + LINEAR @ w)


def _moved(module, seed):
    """Another checkpoint of the same model."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype))
    return module


def _plane_through(problems, *modules):
    found = [
        checkpoint_direction(module, problems, name=f"to:{i}", label=f"c{i}")
        for i, module in enumerate(modules, 1)
    ]
    plane = Plane(problems["train"].weights, tuple(direction.vector for direction in found))
    return plane, mark_directions(found, "c0", plane, problems)


def test_a_plane_through_three_checkpoints_of_a_quadratic_has_their_losses_at_their_coordinates():
    problems = {"train": _quadratic()}
    plane, marks = _plane_through(problems, Quadratic(W1), Quadratic(W2))
    surface = evaluate_surface(problems, plane, (Axis(0, 1, 2), Axis(0, 1, 2)), marks=marks)
    (at_origin, at_first), (at_second, _) = surface.loss["train"]
    np.testing.assert_allclose(
        [at_origin, at_first, at_second], [_formula(w) for w in (W0, W1, W2)], rtol=1e-12
    )


def test_checkpoints_are_marked_where_they_are_in_order_with_the_origin_first():
    problems = {"train": _quadratic()}
    _, marks = _plane_through(problems, Quadratic(W1), Quadratic(W2))
    assert [(mark.label, mark.kind) for mark in marks] == [
        (f"c{i}", "checkpoint") for i in range(3)
    ]
    np.testing.assert_allclose(
        [mark.coordinates for mark in marks], [[0, 0], [1, 0], [0, 1]], atol=1e-12
    )
    np.testing.assert_allclose(
        [mark.loss["train"] for mark in marks], [_formula(w) for w in (W0, W1, W2)]
    )
    np.testing.assert_allclose([mark.distance for mark in marks], 0, atol=1e-12)


def test_the_surface_passes_through_the_checkpoints_of_a_network_in_float32():
    problems = {"train": Problem(tiny_mlp(), classification(), device="cpu")}
    modules = [_moved(tiny_mlp(), seed) for seed in (1, 2)]
    plane, marks = _plane_through(problems, *modules)
    surface = evaluate_surface(problems, plane, (Axis(0, 1, 2), Axis(0, 1, 2)), marks=marks)
    alone = [Problem(module, classification(), device="cpu").loss() for module in modules]
    assert [mark.loss["train"] for mark in marks[1:]] == alone
    assert surface.loss["train"][0, 1] == pytest.approx(alone[0], rel=1e-6)
    assert surface.loss["train"][1, 0] == pytest.approx(alone[1], rel=1e-6)


def test_the_difference_to_a_checkpoint_is_not_normalised():
    problems = {"train": _quadratic()}
    found = checkpoint_direction(Quadratic(W1), problems, name="to:a", label="a")
    assert torch.equal(found.vector, W1 - W0)


def test_a_checkpoint_has_the_loss_of_its_own_running_statistics_beside_that_of_the_plane():
    problem, module = Problem(tiny_cnn(), images(), device="cpu"), _moved(tiny_cnn(), 1)
    _, marks = _plane_through({"train": problem}, module)
    assert marks[1].loss["train"] == Problem(module, images(), device="cpu").loss()
    w = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])
    assert marks[1].plane_loss["train"] == pytest.approx(problem.loss(w), rel=1e-6)
    assert marks[1].loss["train"] != pytest.approx(marks[1].plane_loss["train"], rel=1e-2)


def test_the_running_statistics_of_another_checkpoint_leave_the_problem_as_it_was():
    problem, module = Problem(tiny_cnn(), images(), device="cpu"), _moved(tiny_cnn(), 1)
    before = problem.loss()
    problem.with_buffers(list(module.buffers())).loss()
    assert problem.loss() == before


def test_frozen_parameters_are_no_part_of_the_difference():
    def frozen(module):
        module[0].weight.requires_grad_(False)
        return module

    problem = Problem(frozen(tiny_mlp()), classification(), device="cpu")
    found = checkpoint_direction(
        frozen(_moved(tiny_mlp(), 1)), {"train": problem}, name="to:a", label="a"
    )
    assert found.vector.shape == (problem.spec.size,) == (66 - 35,)


def test_the_same_checkpoint_is_refused():
    with pytest.raises(InputError, match="to:a has the weights of the one at the origin"):
        checkpoint_direction(Quadratic(W0), {"train": _quadratic()}, name="to:a", label="a")


@pytest.mark.parametrize(("number", "eigenvalue"), [(1, 5.0), (2, 2.0), (-1, -1.0)])
def test_eigenvectors_are_those_of_the_matrix_with_length_one(number, eigenvalue):
    problem = _quadratic()
    spectrum = compute_eigenvectors(problem, [1, 2, -1])
    found = eigenvector_direction(spectrum, number, problem, name="eigen")
    torch.testing.assert_close(MATRIX @ found.vector, eigenvalue * found.vector, rtol=0, atol=1e-7)
    assert found.vector.norm().item() == pytest.approx(1.0)
    assert found.facts["eigenvalue"] == pytest.approx(eigenvalue)
    assert found.facts["residual"] < 1e-6
    assert found.facts["converged"] is True


def test_the_surface_along_an_eigenvector_bends_by_its_eigenvalue():
    problem = _quadratic()
    d = eigenvector_direction(compute_eigenvectors(problem, [1]), 1, problem, name="eigen:1").vector
    low, center, high = evaluate_surface(
        {"train": problem}, Plane(W0, (d,)), (Axis(-0.1, 0.1, 3),)
    ).loss["train"]
    assert (low - 2 * center + high) / 0.1**2 == pytest.approx(5.0)


def test_the_top_eigenvector_of_a_network_is_that_of_its_dense_hessian():
    inputs, targets = classification()
    problem = Problem(tiny_mlp(), (inputs, targets), device="cpu", dtype="float64")
    expected = torch.linalg.eigh(dense_hessian(tiny_mlp(), inputs, targets)).eigenvectors[:, -1]
    found = eigenvector_direction(
        compute_eigenvectors(problem, [1]), 1, problem, name="eigen:1"
    ).vector
    assert abs(float(found @ expected)) == pytest.approx(1.0, abs=1e-6)


def test_eigenvectors_that_were_not_kept_are_refused():
    problem = _quadratic()
    with pytest.raises(InputError, match="holds eigenvalues only"):
        eigenvector_direction(hessian_spectrum(problem, top_k=1), 1, problem, name="eigen:1:h.h5")


@pytest.mark.parametrize(("number", "end"), [(3, "2 largest"), (-2, "1 smallest")])
def test_eigenvectors_beyond_those_known_are_refused(number, end):
    problem = _quadratic()
    spectrum = hessian_spectrum(problem, top_k=2, bottom_k=1, save_vectors=True)
    with pytest.raises(InputError, match=f"asks for more than the {end} eigenvalues"):
        eigenvector_direction(spectrum, number, problem, name="eigen")


def test_eigenvectors_at_other_weights_are_refused():
    spectrum = compute_eigenvectors(_quadratic(W1), [1])
    with pytest.raises(
        InputError, match="must be at the weights of this checkpoint, the file is at others"
    ):
        eigenvector_direction(spectrum, 1, _quadratic(), name="eigen:1")


def test_the_gradient_is_that_of_the_formula_with_length_one():
    expected = MATRIX @ W0 + LINEAR
    found = gradient_direction(_quadratic(), name="gradient")
    torch.testing.assert_close(found.vector, expected / expected.norm())
    assert found.facts["gradient_norm"] == pytest.approx(expected.norm().item())


@pytest.mark.parametrize("rho", [0.05, 2.0])
def test_coordinate_one_of_the_ascent_is_the_point_that_sharpness_measures_and_is_marked(rho):
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    found = ascent_direction(problem, rho, name="ascent")
    plane = Plane(problem.weights, (found.vector,))
    _, mark = mark_directions([found], "c", plane, {"train": problem})
    expected = next(
        m for m in measure_sharpness(problem, [rho], measures=("asc",)).measures if m.name == "asc"
    ).loss
    assert found.vector.norm().item() == pytest.approx(rho)
    assert (mark.kind, mark.label) == ("ascent", f"ascent, rho = {rho:g}")
    assert mark.coordinates == pytest.approx((1.0,), abs=1e-5)
    assert mark.loss["train"] == pytest.approx(expected, rel=1e-6)
    assert problem.loss(plane.point(1.0)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rho", [0.0, -0.05, float("nan"), float("inf")])
def test_a_radius_that_is_not_positive_is_refused(rho):
    with pytest.raises(InputError, match="rho must be a positive number"):
        ascent_direction(_quadratic(), rho, name="ascent")


def test_a_gradient_of_zero_is_no_direction():
    flat = Problem(
        Quadratic(W0), DUMMY_DATA, lambda w, _: 0 * w.sum(), device="cpu", dtype="float64"
    )
    with pytest.raises(
        InputError, match="gradient needs a gradient, and it is zero at these weights"
    ):
        gradient_direction(flat, name="gradient")


def _stored(problem):
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(2, problem.spec.size, generator=generator).to(problem.weights)
    return vectors, to_store(
        [Direction("a", vectors[0]), Direction("b", 17 * vectors[1])], problem, "layer"
    )


def test_stored_directions_come_back_bit_for_bit_at_any_weights():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    vectors, stored = _stored(problem)
    other = Problem(_moved(tiny_mlp(), 1), classification(), device="cpu")
    found = stored_directions(stored, other)
    assert [direction.name for direction in found] == ["a", "b"]
    assert torch.equal(found[0].vector, vectors[0])
    assert torch.equal(found[1].vector, 17 * vectors[1])


def test_stored_directions_say_what_they_are():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    _, stored = _stored(problem)
    assert stored.weight_names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert stored.weight_shapes == ((7, 5), (7,), (3, 7), (3,))
    assert stored.normalization == "layer"
    np.testing.assert_array_equal(stored.origin, problem.weights.numpy())


def test_directions_of_another_model_are_refused_naming_the_first_tensor_that_differs():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    wide = Problem(
        nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)), classification(), device="cpu"
    )
    _, stored = _stored(problem)
    with pytest.raises(
        InputError,
        match=r"2\.weight of shape \(3, 7\) where the model has 2\.weight of shape \(4, 7\)",
    ):
        stored_directions(stored, wide)


def test_directions_with_fewer_tensors_are_refused():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    _, stored = _stored(problem)
    fewer = replace(
        stored, weight_names=stored.weight_names[:3], weight_shapes=stored.weight_shapes[:3]
    )
    with pytest.raises(InputError, match=r"no more tensors where the model has 2\.bias"):
        stored_directions(fewer, problem)
