"""What `import landscape` offers: short verbs with typed signatures."""

import inspect

import numpy as np
import pytest
import torch
from cases import classification, tiny_mlp
from torch import nn

import landscape

VERBS = [
    "open_problem",
    "surface",
    "hessian",
    "sharpness",
    "plot",
    "compare",
    "train",
    "load",
    "save",
]


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    return landscape.Problem(tiny_mlp(), classification(), dtype="float64", device="cpu")


def test_dir_lists_the_verbs_and_their_types():
    assert {*VERBS, "Problem", "SAM", "LandscapeError", "__version__"} <= set(dir(landscape))
    assert all(hasattr(landscape, name) for name in dir(landscape))


def test_every_verb_has_a_typed_signature_and_a_docstring():
    for name in VERBS:
        verb = getattr(landscape, name)
        parameters = inspect.signature(verb).parameters.values()
        assert all(each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL) for each in parameters)
        assert all(each.annotation is not each.empty for each in parameters), name
        assert "Args:" in (inspect.getdoc(verb) or ""), name


def test_verbs_stay_callable_when_their_packages_are_imported():
    import landscape.hessian.spectrum
    import landscape.surface.evaluate

    assert callable(landscape.hessian)
    assert landscape.hessian.spectrum.hessian_spectrum is landscape.hessian_spectrum
    assert callable(landscape.surface)


def test_a_problem_says_what_it_is(problem):
    assert repr(problem) == (
        "<Problem weights: 66, examples: 20, float64 on cpu, batchnorm: stored>"
    )


def test_a_surface_has_the_problems_loss_at_its_centre_and_its_own_file(problem, tmp_path):
    surface = landscape.surface(problem, grid=3, out=tmp_path / "a.h5")
    assert surface.loss["train"].shape == (3, 3)
    assert surface.loss["train"][1, 1] == problem.evaluate().loss
    stored = landscape.load(tmp_path / "a.h5")
    np.testing.assert_array_equal(stored.loss["train"], surface.loss["train"])


def test_a_range_may_be_numbers_or_text(problem):
    lines = [
        landscape.surface(problem, dims=1, grid=3, range=given) for given in ((-2, 0.5), "-2:0.5")
    ]
    for line in lines:
        np.testing.assert_array_equal(line.x, np.linspace(-2, 0.5, 3))
    np.testing.assert_array_equal(*(line.loss["train"] for line in lines))


def test_a_plane_through_other_weights_ends_at_their_loss(problem, tmp_path):
    other = tiny_mlp()
    with torch.no_grad():
        nn.utils.vector_to_parameters(torch.arange(problem.spec.size) / 50, other.parameters())
    torch.save(other.state_dict(), tmp_path / "other.pt")
    line = landscape.surface(problem, x=f"to:{tmp_path / 'other.pt'}", dims=1, grid=2, range=(0, 1))
    expected = landscape.Problem(other, classification(), dtype="float64").evaluate().loss
    np.testing.assert_allclose(line.loss["train"][1], expected, rtol=1e-12)


def test_the_spectrum_of_a_problem_is_that_of_its_dense_hessian(problem):
    spectrum = landscape.hessian(problem, top_k=2, trace=True)
    columns = [problem.hessian_vector_product(e) for e in torch.eye(problem.spec.size).double()]
    dense = np.linalg.eigvalsh(torch.stack(columns).numpy())
    np.testing.assert_allclose(spectrum.eigenvalues, dense[::-1][:2], rtol=1e-8)
    assert spectrum.lambda_max == pytest.approx(dense[-1], rel=1e-8)
    assert spectrum.trace.low <= dense.sum() <= spectrum.trace.high


def test_sharpness_takes_one_radius_or_several_and_is_asked_by_name(problem):
    one = landscape.sharpness(problem, 0.05, measures=["asc"])
    several = landscape.sharpness(problem, [0.05, 0.1], measures=["asc"])
    assert one["asc", 0.05] == several["asc", 0.05]
    with pytest.raises(landscape.LandscapeError, match="asc"):
        one["asc", 0.1]


def test_a_typo_is_answered_by_its_name(problem):
    with pytest.raises(TypeError, match="unexpected keyword argument 'measurs'"):
        landscape.sharpness(problem, 0.05, measurs=["asc"])


def test_a_comparison_has_a_column_for_each_problem_and_writes_where_asked(problem, tmp_path):
    moved = problem.with_weights(problem.weights * 1.5)
    plan = landscape.MeasuringPlan(
        rho=(0.05,), num_directions=2, max_gradients=4, num_probes=2, grid=3, num_lines=2
    )
    report = landscape.compare({"own": problem, "moved": moved}, plan=plan)
    assert report.is_complete
    assert report.table().columns[1:] == ["own", "moved"]
    landscape.compare({"own": problem}, plan=plan, out=tmp_path / "report")
    assert (tmp_path / "report" / "index.html").exists()


def test_compared_problems_need_a_training_loss(problem):
    with pytest.raises(landscape.LandscapeError, match="needs the split 'train'"):
        landscape.compare({"own": {"test": problem}})


def test_training_takes_plain_tensors():
    network = tiny_mlp()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    history = landscape.train(
        network, classification(), None, optimizer, landscape.TrainingPlan(epochs=3)
    )
    assert history.epoch.tolist() == [1, 2, 3]
    assert history.train_loss[-1] < history.train_loss[0]


def test_a_problem_stands_for_its_training_split(problem):
    direction = landscape.random_directions(
        1, problem.weights, problem.spec, seed=0, normalization="filter"
    )
    plane, axes = landscape.Plane(problem.weights, direction), (landscape.Axis(-1, 1, 3),)
    alone = landscape.evaluate_surface(problem, plane, axes)
    named = landscape.evaluate_surface({"train": problem}, plane, axes)
    np.testing.assert_array_equal(alone.loss["train"], named.loss["train"])
