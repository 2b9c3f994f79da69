"""The trainable parameters of a model as one flat vector `w` (P,)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from landscape.errors import InputError, first_line, listed, require

Point: TypeAlias = Tensor | Callable[..., Any]
"""Weights (P,), or a function that writes them into the (P,) tensor that it is given as `out`."""

_LENGTHS = "parametrizations.weight.original0"  # of filters, in weight normalization


@dataclass(frozen=True)
class Weight:
    """One parameter tensor, its place in the flat vector, and what counts as a filter of it.

    Attributes:
        name: As in `named_parameters`.
        shape: Of the tensor; of one with complex numbers (..., 2), their real and imaginary parts.
        start: Index of its first entry in the flat vector.
        filter_dim: Dimension along which filters follow each other: 0, but 1 for the output
            projection of an attention layer.
        filter_size: Indices of that dimension in one filter: 1, but the width of a head in an
            attention layer.
        is_complex: Whether the numbers are complex.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    filter_dim: int = 0
    filter_size: int = 1
    is_complex: bool = False

    @property
    def stop(self) -> int:
        """Index after the last entry."""
        return self.start + prod(self.shape)

    @property
    def num_filters(self) -> int:
        """Number of filters of a tensor with two or more dimensions, else 0.

        It is 0 as well where filters are single numbers, such as the lengths in weight
        normalization: scaled to its norm, a direction would be the number itself, or its negative.
        A tensor that is a single number is a filter, unless it is such a length.
        """
        shape = self.shape[:-1] if self.is_complex else self.shape
        number = shape[self.filter_dim] // self.filter_size if len(shape) >= 2 else 0
        is_single = prod(shape) == number and (number != 1 or self.name.endswith(_LENGTHS))
        return 0 if is_single else number

    def filters(self, tensor: Tensor) -> Tensor:
        """View a tensor of this shape, one that has filters, as (num_filters, ...)."""
        blocks = (self.num_filters, self.filter_size)
        return tensor.unflatten(self.filter_dim, blocks).movedim(self.filter_dim, 0)


@dataclass(frozen=True)
class WeightSpec:
    """Names, shapes and places of the trainable parameters, in the model's own order.

    A tied weight counts once, under its first name. Parameters that do not require a gradient are
    constants of the problem, not weights. A complex number is a pair of real ones.
    """

    weights: tuple[Weight, ...]

    @classmethod
    def from_module(cls, module: nn.Module) -> WeightSpec:
        """Read the specification of `module`.

        Raises:
            InputError: If it has no trainable parameter, or a lazy layer that has seen no data.
        """
        for name, parameter in module.named_parameters():
            require(
                not is_lazy(parameter),
                f"the model's layers must know their shapes, {name} has none yet.",
                hint="Call the model on a batch first, or load a checkpoint into it.",
            )
        heads = _attention_heads(module)
        weights = tuple(
            Weight(
                name,
                tuple(as_pairs(parameter).shape),
                0,
                *heads.get(id(parameter), (0, 1)),
                is_complex=parameter.is_complex(),
            )
            for name, parameter in trainable_parameters(module)
        )
        require(
            any(weight.stop for weight in weights),
            f"the model must have at least one trainable parameter, {type(module).__name__} "
            "has none.",
            hint="Parameters with requires_grad=False are constants; unfreeze what should move.",
        )
        return cls(weights).only(range(len(weights)))

    @property
    def size(self) -> int:
        """P, the number of trainable parameters."""
        return self.weights[-1].stop

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names, in order."""
        return tuple(weight.name for weight in self.weights)

    def views(self, w: Tensor) -> list[Tensor]:
        """Cut a flat vector (P,) into real views, with the shapes of `weights`."""
        return [w[weight.start : weight.stop].view(weight.shape) for weight in self.weights]

    def tensors(self, w: Tensor) -> list[Tensor]:
        """Cut a flat vector (P,) into tensors like the parameters: views, or complex copies."""
        return [
            torch.complex(*view.unbind(-1)) if weight.is_complex else view
            for weight, view in zip(self.weights, self.views(w), strict=True)
        ]

    @torch.no_grad()
    def write(self, point: Point, out: Tensor) -> None:
        """Write a point into `out` (P,)."""
        if isinstance(point, Tensor):
            self.require_vector(point, "w")
            out.copy_(point)
        else:
            point(out=out)

    @torch.no_grad()
    def copy_complex(self, w: Tensor, parameters: Sequence[Tensor]) -> None:
        """Write the complex parameters as `w` (P,) has them, which the others are views into."""
        copied = [i for i, weight in enumerate(self.weights) if weight.is_complex]
        tensors = self.tensors(w) if copied else []
        for i in copied:
            parameters[i].copy_(tensors[i])

    def flatten(self, tensors: list[Tensor]) -> Tensor:
        """Join one tensor a parameter, in order, into a flat vector (P,)."""
        return torch.cat([as_pairs(tensor).reshape(-1) for tensor in tensors])

    def indices(self, tensors: Sequence[int | str] | None) -> tuple[int, ...]:
        """Return the numbers of some parameter tensors, in order and each once; of all if None.

        Args:
            tensors: Numbers or names.

        Raises:
            InputError: If there is none, or no such tensor.
        """
        if tensors is None:
            return tuple(range(len(self.weights)))
        places = {name: i for i, name in enumerate(self.names)}
        found = {places.get(t, -1) if isinstance(t, str) else int(t) for t in tensors}
        require(
            found and found <= set(places.values()),
            f"parameter tensors must be at least one of the model's {len(places)}, got "
            f"{list(tensors)}.",
            hint="Their names are "
            f"{', '.join(self.names[:5])}{', ...' if len(places) > 5 else ''}.",
        )
        return tuple(sorted(found))

    def only(self, indices: Sequence[int]) -> WeightSpec:
        """Return the specification of these tensors alone, one after the other."""
        weights, start = [], 0
        for index in indices:
            weights.append(replace(self.weights[index], start=start))
            start = weights[-1].stop
        return WeightSpec(tuple(weights))

    def require_vector(self, vector: Tensor, name: str) -> None:
        """Raise InputError unless `vector` is (P,)."""
        require(
            tuple(vector.shape) == (self.size,),
            f"{name} must be a flat vector of the model's {self.size} weights, got shape "
            f"{tuple(vector.shape)}.",
        )

    def require_finite(self, w: Tensor) -> None:
        """Raise InputError, which names the tensors, unless all weights `w` (P,) are finite."""
        if torch.isfinite(w).all():
            return
        parts = zip(self.names, self.views(w), strict=True)
        bad = [name for name, part in parts if not torch.isfinite(part).all()]
        raise InputError(
            f"weights must be finite, {len(bad)} of {len(self.names)} tensors hold NaN or inf: "
            f"{', '.join(bad[:5])}.",
            hint="The training that wrote them diverged; use an earlier checkpoint.",
        )

    def require_unwritten(
        self, parameters: Sequence[Tensor], buffer: Tensor, w: Tensor, *, is_as_it_was: bool
    ) -> None:
        """Raise InputError if a model wrote to its own weights, or moved them.

        Args:
            parameters: Of the model.
            buffer: What they are views into (P,).
            w: What it held (P,).
            is_as_it_was: Whether nothing has been written to the buffer since.
        """
        places = zip(self.weights, parameters, self.tensors(w), self.views(buffer), strict=True)
        names = [
            weight.name
            for weight, parameter, before, view in places
            if not torch.equal(parameter, before)
            or not (weight.is_complex or parameter.data_ptr() == view.data_ptr())
        ]
        require(
            not names and is_as_it_was,
            "the model must not change its weights when it is called, it writes to "
            f"{listed(names or self.names)}.",
            hint="Compute new tensors: F.normalize(self.weight), in place of writing to "
            "self.weight.",
        )


def as_pairs(tensor: Tensor) -> Tensor:
    """View complex numbers as pairs of real ones (..., 2); return a real tensor as it is.

    What torch calls the gradient of a real function by a complex number becomes the gradient by its
    real and its imaginary part.
    """
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def layers_of(spec: WeightSpec) -> dict[str, tuple[int, ...]]:
    """Group parameter tensors by the module that owns them.

    Returns:
        Path of the module -> numbers of its tensors: `layer1.0.conv1` -> those of its weight and
        its bias. A parameter of the model itself makes a layer of its own name.
    """
    layers: dict[str, tuple[int, ...]] = {}
    for i, name in enumerate(spec.names):
        layer = name.rpartition(".")[0] or name
        layers[layer] = (*layers.get(layer, ()), i)
    return layers


def _attention_heads(module: nn.Module) -> dict[int, tuple[int, int]]:
    """Return identity of each attention projection -> dimension and width of its heads.

    A head reads and writes rows of the query, key and value projections, one below the other where
    they are one tensor, and hands its result to columns of the output projection.
    """
    heads = {}
    for layer in module.modules():
        if isinstance(layer, nn.MultiheadAttention):
            for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
                heads[id(getattr(layer, name))] = (0, layer.head_dim)
            heads[id(layer.out_proj.weight)] = (1, layer.head_dim)
    return heads


def trainable_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield name and parameter, each once."""
    return (
        (name, parameter)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    )


def load_own_state(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Load a state dict into its module.

    Raises:
        InputError: If it is that of another.
    """
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError) as exc:
        raise InputError(f"the state dict does not fit the model: {first_line(exc)}") from exc


def bind(module: nn.Module, spec: WeightSpec, buffer: Tensor) -> list[nn.Parameter]:
    """Make the trainable parameters of `module` views into `buffer` (P,), and return them in order.

    A complex one is a copy, since torch views no complex number at an odd place. Every alias of a
    tied weight becomes the same new parameter. `module` is changed; `buffer` is filled with its
    present values.
    """
    old = [parameter for _, parameter in trainable_parameters(module)]
    for view, parameter in zip(spec.views(buffer), old, strict=True):
        view.copy_(as_pairs(parameter.detach()))
    tensors = spec.tensors(buffer)
    new = {id(before): nn.Parameter(tensor) for before, tensor in zip(old, tensors, strict=True)}
    for owner in list(module.modules()):
        for name, parameter in list(owner._parameters.items()):
            if parameter is not None and id(parameter) in new:
                setattr(owner, name, new[id(parameter)])
        if isinstance(owner, nn.RNNBase):
            owner.flatten_parameters = _stay  # which moves weights elsewhere on CUDA
    return list(new.values())


def _stay() -> None:
    """Do nothing."""
