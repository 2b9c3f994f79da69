"""Numbers that would take all memory or never end are refused before anything is made of them."""

import pytest
import torch
from surfaces import plane_surface

from landscape import plot
from landscape.directions.plane import Plane
from landscape.directions.spec import PlaneSpec, parse_grid
from landscape.errors import LARGEST, InputError, require_in_limits
from landscape.hessian.density import density
from landscape.models import build_model
from landscape.optim import SAM
from landscape.problem.problem import Problem
from landscape.sharpness import SharpnessOptions, measure_sharpness
from landscape.surface.evaluate import evaluate_surface
from landscape.surface.grid import Axis
from landscape.training import TrainingPlan

HUGE = 10**30


def _problem(**options):
    data = torch.zeros(2, 1), torch.zeros(2, 1)
    return Problem(torch.nn.Linear(1, 1), data, torch.nn.functional.mse_loss, **options)


REFUSED = {
    "repeats": lambda: PlaneSpec(dims=1, repeats=HUGE),
    "the number of grid points": lambda: parse_grid("9999", 2),
    "batch_size": lambda: _problem(batch_size=HUGE),
    "points_per_pass": lambda: _problem(points_per_pass=HUGE),
    "num_probes": lambda: density(None, outliers=[], residuals=[], vectors=[], num_probes=HUGE),
    "num_directions": lambda: SharpnessOptions(num_directions=HUGE),
    "max_gradients": lambda: SharpnessOptions(max_gradients=HUGE),
    "steps": lambda: SharpnessOptions(steps=HUGE),
    "the number of radii": lambda: measure_sharpness(_problem(), range(1, 1002)),
    "rho": lambda: measure_sharpness(_problem(), [1e9]),
    "depth": lambda: build_model("mlp", depth=HUGE),
    "epochs": lambda: TrainingPlan(epochs=HUGE),
    "micro_batch": lambda: TrainingPlan(micro_batch=HUGE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_number_beyond_its_limit_is_refused(name):
    with pytest.raises(InputError, match=f"{name}`? must be at most"):
        REFUSED[name]()


def test_an_ascent_beyond_the_numbers_of_float32_is_refused():
    with pytest.raises(InputError, match="`rho` must be at most"):
        SAM([torch.nn.Parameter(torch.ones(1))], torch.optim.SGD, rho=1e38, lr=0.1)


def test_a_surface_of_too_many_points_is_refused():
    axis = Axis(-1.0, 1.0, 10_000)
    plane = Plane(torch.zeros(2), (torch.zeros(2), torch.zeros(2)))
    with pytest.raises(InputError, match="grid points must be at most"):
        evaluate_surface(_problem(), plane, (axis, axis))


def test_the_largest_numbers_are_taken():
    require_in_limits(LARGEST)
    require_in_limits({"steps": None, "epochs": 1, "another": HUGE})


def test_pictures_of_too_much_are_refused_at_once():
    whole, part = plane_surface(900, 900), plane_surface(900, 900, left_out=(5,))
    for draw, results, what in (
        (plot.draw, [plane_surface(2, 2)] * 101, "results in a figure"),
        (plot.draw_page, [plane_surface(2, 2)] * 101, "results in a figure"),
        (plot.draw, [part, part], "points to interpolate"),
        (plot.draw_page, [whole], "points on a page"),
    ):
        with pytest.raises(InputError, match=f"the number of {what} must be at most"):
            draw(results)
