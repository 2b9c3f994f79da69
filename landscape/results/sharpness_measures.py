"""The measures of sharpness by name: the one list that options, reports, conditions and plots read.

A new measure is a function, in a file of its own or among those of `landscape.sharpness.measures`,
and an entry here. Nothing here imports torch or numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from landscape.registry import imported


@dataclass(frozen=True)
class MeasureKind:
    """What a measure of sharpness is called, what it is, and what computes it.

    Attributes:
        name: In options, files and JSON.
        label: In tables.
        title: In figures; `{steps}` stands for the number of gradient steps.
        meaning: What it is, for the legend of a report.
        function: "package.module:function" of a `Measurement`, the radius and, unless
            `has_directions`, the part of the data; it returns `Rises`.
        cost: Evaluations of loss or gradient per radius, from the options and whether the examples
            are a sample of a larger set; None where the measure itself decides.
        has_directions: Whether it is a mean over random directions, with a standard error; needs no
            gradient.
        has_steps: Whether its number of gradient steps, and what keeps them in the ball, are
            options.
        is_lower_bound: Whether it is the best that a search found, which starts from what the other
            measures have found.
    """

    name: str
    label: str
    title: str
    meaning: str
    function: str
    cost: Callable[[Any, bool], int | None]
    has_directions: bool = False
    has_steps: bool = False
    is_lower_bound: bool = False

    def load(self) -> Callable[..., Any]:
        """Import the function that computes it."""
        return imported(self.function)


_HERE = "landscape.sharpness.measures"

MEASURES: dict[str, MeasureKind] = {
    kind.name: kind
    for kind in (
        MeasureKind(
            "asc",
            "L^Asc - L",
            "one ascent step",
            "rise of the loss one step of length rho up the gradient "
            "(Tiwary and Aananth 2024, Table 1)",
            f"{_HERE}:one_step",
            cost=lambda options, is_sample: 1,
        ),
        MeasureKind(
            "avg",
            "L^Avg - L",
            "average",
            "mean rise over random directions of length rho (Tiwary and Aananth 2024, Table 1)",
            f"{_HERE}:average",
            cost=lambda options, is_sample: (
                2 * options.num_directions if options.relative_error is None else None
            ),
            has_directions=True,
        ),
        MeasureKind(
            "max",
            "L^Max - L",
            "maximum (from below)",
            "largest rise that was found within rho, a lower bound "
            "(Tiwary and Aananth 2024, Table 1)",
            f"{_HERE}:largest",
            cost=lambda options, is_sample: None,
            is_lower_bound=True,
        ),
        MeasureKind(
            "nstep",
            "N-step ascent",
            "{steps} ascent steps",
            "rise after several steps up the gradient, rho long together "
            "(Tiwary and Aananth 2024, Eq. 6)",
            f"{_HERE}:several_steps",
            cost=lambda options, is_sample: options.steps,
            has_steps=True,
        ),
        MeasureKind(
            "first_order",
            "first order",
            "first order",
            "rho times the length of the gradient (Khalid et al., Proposition 1)",
            f"{_HERE}:first_order",
            cost=lambda options, is_sample: 2 * is_sample,
        ),
    )
}
"""Name -> measure, in the order in which they are shown."""
