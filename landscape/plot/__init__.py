"""Figures of results. The only package that imports matplotlib, and only when a function is used.

Every function draws on figures of its own or on the axes that it is given, through matplotlib's
object-oriented interface: no pyplot, no backend, no global setting is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from landscape.registry import imported, make_callable

if TYPE_CHECKING:
    from landscape.plot.basins import plot_merge_tree, plot_persistence
    from landscape.plot.composition import Panel, draw_panels, parse_panel
    from landscape.plot.curvature_curves import plot_curvature_history
    from landscape.plot.density_figures import plot_density
    from landscape.plot.figure import LETTERED_KINDS, draw, draw_result
    from landscape.plot.film import FILM_SUFFIXES, animate
    from landscape.plot.interactive import draw_page
    from landscape.plot.look import Look, parse_clip, parse_levels, parse_view
    from landscape.plot.names import FIGURES, QUANTITIES, choose_kind, kinds_of, letter
    from landscape.plot.paired_differences import plot_differences
    from landscape.plot.plane_maps import plot_contour, plot_filled_contour, plot_heatmap
    from landscape.plot.presets import FONTS, STYLES, Style, use_style
    from landscape.plot.profile import plot_profile
    from landscape.plot.save import FORMATS, save_figure, save_page
    from landscape.plot.sharpness_figures import plot_sharpness
    from landscape.plot.spectrum_figures import plot_eigenvalues, plot_layer_shares
    from landscape.plot.surface3d import plot_surface3d
    from landscape.plot.training_curves import plot_history

__all__ = [
    "FIGURES",
    "FILM_SUFFIXES",
    "FONTS",
    "FORMATS",
    "LETTERED_KINDS",
    "QUANTITIES",
    "STYLES",
    "Look",
    "Panel",
    "Style",
    "animate",
    "choose_kind",
    "draw",
    "draw_page",
    "draw_panels",
    "draw_result",
    "kinds_of",
    "letter",
    "parse_clip",
    "parse_levels",
    "parse_panel",
    "parse_view",
    "plot_contour",
    "plot_curvature_history",
    "plot_density",
    "plot_differences",
    "plot_eigenvalues",
    "plot_filled_contour",
    "plot_heatmap",
    "plot_history",
    "plot_layer_shares",
    "plot_merge_tree",
    "plot_persistence",
    "plot_profile",
    "plot_sharpness",
    "plot_surface3d",
    "save_figure",
    "save_page",
    "use_style",
]

_MODULES = {
    "FILM_SUFFIXES": "film",
    "FORMATS": "save",
    "FIGURES": "names",
    "FONTS": "presets",
    "LETTERED_KINDS": "figure",
    "QUANTITIES": "names",
    "STYLES": "presets",
    "Look": "look",
    "Panel": "composition",
    "Style": "presets",
    "animate": "film",
    "choose_kind": "names",
    "draw": "figure",
    "draw_page": "interactive",
    "draw_panels": "composition",
    "draw_result": "figure",
    "kinds_of": "names",
    "letter": "names",
    "parse_clip": "look",
    "parse_levels": "look",
    "parse_panel": "composition",
    "parse_view": "look",
    "plot_contour": "plane_maps",
    "plot_curvature_history": "curvature_curves",
    "plot_density": "density_figures",
    "plot_differences": "paired_differences",
    "plot_eigenvalues": "spectrum_figures",
    "plot_filled_contour": "plane_maps",
    "plot_heatmap": "plane_maps",
    "plot_history": "training_curves",
    "plot_layer_shares": "spectrum_figures",
    "plot_merge_tree": "basins",
    "plot_persistence": "basins",
    "plot_profile": "profile",
    "plot_sharpness": "sharpness_figures",
    "plot_surface3d": "surface3d",
    "save_figure": "save",
    "save_page": "save",
    "use_style": "presets",
}


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return imported(f"{__name__}.{_MODULES[name]}:{name}")


def __dir__() -> list[str]:
    return sorted(__all__)


make_callable(__name__, "landscape.plot.figure:draw_result")
