"""A measure that is listed once is measured, named in conditions, reported and drawn."""

import sys
from types import ModuleType

import pytest
import torch
from cases import DUMMY_DATA, Quadratic, quadratic_loss, symmetric_with_spectrum

from landscape import Problem, measure_sharpness
from landscape.conditions import Quantity, parse_condition
from landscape.plot.sharpness_figures import measure_title
from landscape.report.report_rows import report_rows
from landscape.results.sharpness_measures import MEASURES, MeasureKind

W = torch.linspace(0.5, -1, 4).double()
MATRIX = symmetric_with_spectrum([3.0, 1.0, 0.5, 0.1])


def down(work, rho, part):
    """Take one step down the gradient."""
    return part.rises(-work.ball.steepest(part.gradient, rho), work.ball, rho, steps=1)


@pytest.fixture
def listed(monkeypatch):
    module = ModuleType("one_more_measure")
    module.down = down
    monkeypatch.setitem(sys.modules, "one_more_measure", module)
    kind = MeasureKind(
        "down", "L^Down - L", "one step down", "", "one_more_measure:down", lambda *_: 1
    )
    monkeypatch.setitem(MEASURES, "down", kind)


def problem():
    return Problem(
        Quadratic(W),
        DUMMY_DATA,
        quadratic_loss(MATRIX, torch.zeros(4).double()),
        device="cpu",
        dtype="float64",
    )


@pytest.mark.usefixtures("listed")
def test_a_new_measure_is_measured():
    found = measure_sharpness(problem(), [0.1], measures=["down"]).measures[0]
    gradient = MATRIX @ W
    e = -0.1 * gradient / gradient.norm()
    expected = (gradient @ e + e @ MATRIX @ e / 2).item()
    assert found.sharpness == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("listed")
def test_a_new_measure_has_a_condition_a_row_and_a_title():
    assert parse_condition("down@0.1 < 1").quantities == (Quantity("down", 0.1),)
    assert "L^Down - L, rho = 0.1 (x 10^3)" in [row.name for row in report_rows(0.1)]
    assert measure_title("down") == "one step down"


def test_every_measure_names_a_function_that_exists():
    for kind in MEASURES.values():
        assert callable(kind.load())
