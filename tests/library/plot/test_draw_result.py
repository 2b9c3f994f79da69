from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape import plot
from landscape.errors import InputError
from landscape.io.store import read_result
from landscape.results.surface import Directions

FILES = Path(__file__).resolve().parents[2] / "written_by_0_1"
DRAWN = ("surface", "lines", "spectrum", "along", "sharpness", "comparison", "history")


def result(name):
    return read_result(FILES / f"{name}.h5")


@pytest.mark.parametrize("name", DRAWN)
def test_a_result_is_drawn_on_the_axes_that_are_given(name):
    ax = Figure().add_subplot()
    assert plot.draw_result(result(name), ax) is ax
    assert ax.has_data()
    assert ax.get_xlabel() or ax.get_ylabel()


@pytest.mark.parametrize("name", DRAWN)
def test_a_result_without_axes_gets_a_figure_of_its_own(name):
    first, second = (np.ravel(plot.draw_result(result(name)))[0] for _ in range(2))
    assert isinstance(first, Axes)
    assert first.has_data()
    assert first.figure is not second.figure


def test_a_history_without_axes_has_all_its_panels():
    axes = np.ravel(plot.draw_result(result("history")))
    assert {"loss", "top-1 error (%)", "learning rate"} <= {ax.get_ylabel() for ax in axes}


def test_what_cannot_be_drawn_is_an_error():
    directions = result("directions")
    assert isinstance(directions, Directions)
    with pytest.raises(InputError, match="what is drawn must be"):
        plot.draw_result(directions)
