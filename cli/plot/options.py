"""The options of `landscape plot`: how planes are drawn, and how large figures are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

import landscape.plot as figures


@dataclass(frozen=True)
class LookOptions:
    """Planes."""  # a title in the help, as below

    levels: Annotated[
        str,
        typer.Option(
            help="Contour lines: about how many, or their values (0.1,0.5,1).", metavar="N|VALUES"
        ),
    ] = "12"
    scale: Annotated[
        str | None,
        typer.Option(
            help="What lines and colours are even in: linear, log, or excess (the logarithm of "
            "value - lowest value + an offset); by default the first that spreads the values.",
            show_default=False,
        ),
    ] = None
    clip: Annotated[
        str | None,
        typer.Option(
            help="Largest value that is told apart; auto: the median on the border of the plane, "
            "where corners are far above it. By default the largest value.",
            metavar="MAX|auto",
        ),
    ] = None
    colormap: Annotated[
        str | None,
        typer.Option(help="Colour map of matplotlib; by default viridis, RdBu_r for differences."),
    ] = None
    no_labels: Annotated[
        bool, typer.Option("--no-labels", help="Leave contour lines without their values.")
    ] = False
    show_center: Annotated[
        bool, typer.Option("--show-center", help="Add the value at the center to titles.")
    ] = False
    view: Annotated[
        str | None,
        typer.Option(
            help="From where the kind surface is seen: elevation (10 to 70) and azimuth in "
            "degrees; by default from where its lowest point can be seen.",
            metavar="ELEV:AZIM",
        ),
    ] = None
    zscale: Annotated[
        str | None,
        typer.Option(
            help="Scale of the heights of the kind surface: linear, log or excess; by default that "
            "of its colours.",
            show_default=False,
        ),
    ] = None

    def look(self) -> figures.Look:
        """Return what was asked for, parsed."""
        return figures.Look(
            figures.parse_levels(self.levels),
            self.scale,
            figures.parse_clip(self.clip),
            self.colormap,
            self.no_labels,
            figures.parse_view(self.view),
            self.zscale,
            self.show_center,
        )


@dataclass(frozen=True)
class StyleOptions:
    """Sizes and type."""

    style: Annotated[
        str,
        typer.Option(
            help="paper (3.3 or 7 inches wide, 8 point type, 300 dots per inch), talk (6 or 12 "
            "inches, 15 points) or notebook (3.4 or 7 inches, 9 points).",
        ),
    ] = "notebook"
    width: Annotated[
        str | None,
        typer.Option(
            help="Width of the figure: column, text or inches (2 to 40); type keeps its size. By "
            "default a column for one panel, the text for several.",
            metavar="column|text|INCHES",
        ),
    ] = None
    dpi: Annotated[
        int | None,
        typer.Option(help="Dots per inch of a .png, 50 to 1200; by default those of the style."),
    ] = None
    font: Annotated[
        str | None,
        typer.Option(
            help="sans, cm (LaTeX's Computer Modern) or stix (Times); none needs TeX. Default: "
            "sans.",
            show_default=False,
        ),
    ] = None
