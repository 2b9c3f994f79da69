"""The loss on lines and planes through the weights."""

from landscape.registry import make_callable

make_callable(__name__, "landscape.surface.surface:surface")
