"""Sources of directions: checkpoints, Hessian eigenvectors, the gradient, SAM's ascent, a file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from landscape.ascent.steepest import ascend
from landscape.directions.plane import Direction, Landmark
from landscape.directions.trajectory import Snapshot, principal_directions
from landscape.errors import require
from landscape.hessian.spectrum import hessian_spectrum
from landscape.problem.problem import Problem
from landscape.problem.weights import WeightSpec, trainable_parameters
from landscape.reductions import norm
from landscape.results.provenance import by_split
from landscape.results.spectrum import Spectrum
from landscape.results.surface import Directions
from landscape.runtime.progress import SILENT, Progress

_Tensors: TypeAlias = list[tuple[str, tuple[int, ...]]]
"""Name and shape of each."""

_COUNTER = "num_batches_tracked"  # of BatchNorm; state dicts of old versions of torch lack it


def checkpoint_direction(
    module: nn.Module, problems: Problem | Mapping[str, Problem], *, name: str, label: str
) -> Direction:
    """Return the difference to the weights of `module`, as it is: coordinate 1 is that checkpoint.

    The loss of its point of interest is that of the module with its own running statistics; on the
    plane, those of the problem hold everywhere.

    Args:
        module: A model like that of the problems, `Problem.copy_module` with other weights.
        problems: A problem, or split name -> problem.
        name: As it was asked for.
        label: Of the point.

    Raises:
        InputError: If the weights are the problem's own.
    """
    problems = by_split(problems)
    first = next(iter(problems.values()))
    w = first.spec.flatten(
        [parameter.detach() for _, parameter in trainable_parameters(module)]
    ).to(first.weights)
    require(
        not torch.equal(w, first.weights),
        f"a direction must lead to another checkpoint, {name} has the weights of the one at "
        "the origin.",
        hint="Name another checkpoint, or another kind of direction.",
    )
    buffers = list(module.buffers())
    loss = {split: problem.with_buffers(buffers).loss(w) for split, problem in problems.items()}
    return Direction(name, w - first.weights, points=(Landmark(label, "checkpoint", w, loss),))


def compute_eigenvectors(
    problem: Problem,
    numbers: Sequence[int],
    *,
    seed: int = 0,
    split: str = "train",
    progress: Progress = SILENT,
) -> Spectrum:
    """Compute the spectrum with all the eigenvectors that `numbers` name, by one Lanczos run.

    Args:
        problem: The loss.
        numbers: As for `eigenvector_direction`.
        seed: Of the start vector.
        split: Name of the problem's data split, to be recorded.
        progress: Counts products.
    """
    return hessian_spectrum(
        problem,
        top_k=max(1, *numbers),
        bottom_k=max(0, *(-number for number in numbers)),
        num_check_matvecs=0,
        seed=seed,
        split=split,
        save_vectors=True,
        progress=progress,
    )


def eigenvector_direction(
    spectrum: Spectrum, number: int, problem: Problem, *, name: str
) -> Direction:
    """Return a Hessian eigenvector of length 1: its coordinate is the Euclidean distance.

    Args:
        spectrum: With vectors, at the problem's own weights.
        number: 1 for the largest eigenvalue, 2 for the next; -1 for the smallest.
        problem: The loss on the plane.
        name: As it was asked for.

    Raises:
        InputError: If the spectrum has no such vector, or is of other weights.
    """
    _require_eigenvector(spectrum, number, problem, name)
    from_top = number > 0
    values = spectrum.eigenvalues if from_top else spectrum.bottom_eigenvalues
    residuals = spectrum.residuals if from_top else spectrum.bottom_residuals
    index = abs(number) - 1
    row = index if from_top else len(spectrum.eigenvalues) + index
    vector = torch.from_numpy(np.asarray(spectrum.vectors)[row])
    facts = {
        "eigenvalue": float(values[index]),
        "residual": float(residuals[index]),
        "converged": spectrum.converged,
        "tolerance": spectrum.tolerance,
        "split": spectrum.split,
    }
    return Direction(name, (vector / norm(vector)).to(problem.weights), facts=facts)


def _require_eigenvector(spectrum: Spectrum, number: int, problem: Problem, name: str) -> None:
    require(number != 0, f"eigenvectors are numbered from 1, or from -1 at the bottom, got {name}.")
    require(
        spectrum.vectors is not None,
        f"{name} needs the eigenvectors, and the file holds eigenvalues only.",
        hint="Keep them: `landscape.hessian(problem, save_vectors=True)`.",
    )
    known = len(spectrum.eigenvalues if number > 0 else spectrum.bottom_eigenvalues)
    end, option = ("largest", "top_k") if number > 0 else ("smallest", "bottom_k")
    require(
        abs(number) <= known,
        f"{name} asks for more than the {known} {end} eigenvalues that are known.",
        hint=f"Compute more: `landscape.hessian(problem, {option}={abs(number)})`.",
    )
    there = spectrum.provenance
    require(
        there.dtype == problem.plan.dtype,  # on which the hash depends
        f"{name} must be in the dtype of the surface, {problem.plan.dtype}, the file is in "
        f"{there.dtype}.",
        hint=f"Pass `dtype='{there.dtype}'`, or compute the file with "
        f"`dtype='{problem.plan.dtype}'`.",
    )
    require(
        there.weights_hash == problem.weights_hash,
        f"{name} must be at the weights of this checkpoint, the file is at others.",
        hint="Run `landscape.hessian(problem)` on this checkpoint.",
    )


def principal_components(
    snapshots: Sequence[Snapshot],
    problem: Problem,
    *,
    names: Sequence[str],
    points: Iterable[Landmark] = (),
) -> tuple[Direction, ...]:
    """Return the unit directions in which a trajectory varies most.

    Since the directions have length 1, coordinates are Euclidean distances.

    Args:
        snapshots: In the order of training, see
            `landscape.directions.trajectory.principal_directions`.
        problem: Whose weights are the origin.
        names: As they were asked for: one, or two.
        points: What the first direction leads to.

    Raises:
        InputError: If the snapshots do not span as many directions.
    """
    found = principal_directions(snapshots, problem.weights, num_directions=len(names))
    parts = zip(names, found.directions, found.explained_variance.tolist(), strict=True)
    return tuple(
        Direction(
            name,
            vector,
            points=() if number > 1 else points,
            explained_variance=share,
            facts={"component": number, "num_snapshots": len(snapshots)},
        )
        for number, (name, vector, share) in enumerate(parts, start=1)
    )


def gradient_direction(problem: Problem, *, name: str) -> Direction:
    """Return the unit direction of steepest ascent, whose coordinate is the Euclidean distance.

    Raises:
        InputError: If the gradient is zero.
    """
    gradient = _nonzero_gradient(problem, name)
    length = norm(gradient)
    return Direction(name, (gradient / length).to(problem.weights), facts={"gradient_norm": length})


def ascent_direction(problem: Problem, rho: float, *, name: str) -> Direction:
    """Return SAM's perturbation rho g / ||g||: coordinate 1 is the ascent point.

    Args:
        problem: The loss.
        rho: Its Euclidean length.
        name: As it was asked for.

    Raises:
        InputError: If rho is not positive and finite, or the gradient is zero.
    """
    require(
        0 < rho < math.inf,
        f"rho must be a positive number, got {rho:g}.",
        hint="Pass ascent:0.05.",
    )
    e = ascend([_nonzero_gradient(problem, name)], rho)[0].to(problem.weights)
    point = Landmark(f"ascent, rho = {rho:g}", "ascent", problem.weights + e)
    return Direction(name, e, points=(point,), facts={"rho": rho})


def _nonzero_gradient(problem: Problem, name: str) -> Tensor:
    gradient = problem.gradient().vector
    require(
        gradient.any(),
        f"{name} needs a gradient, and it is zero at these weights.",
        hint="Choose another kind of direction.",
    )
    return gradient


def stored_directions(stored: Directions, problem: Problem) -> tuple[Direction, ...]:
    """Return the directions of a file exactly as stored, for weights of the same shapes.

    Raises:
        InputError: If the shapes differ, naming the first tensor that does.
    """
    vectors, left_out = directions_for(stored, problem.spec, problem.copy_module())
    return tuple(
        Direction(name, v.to(problem.weights), facts={"left_out": left_out})
        for name, v in zip(stored.names, vectors, strict=True)
    )


def to_store(directions: Sequence[Direction], problem: Problem, normalization: str) -> Directions:
    """Return directions as a result that can be written, with the origin that they were made at."""
    return Directions(
        vectors=np.stack([direction.vector.cpu().numpy() for direction in directions]),
        names=tuple(direction.name for direction in directions),
        weight_names=problem.spec.names,
        weight_shapes=tuple(weight.shape for weight in problem.spec.weights),
        normalization=normalization,
        origin=problem.weights.cpu().numpy(),
    )


def directions_for(
    directions: Directions, spec: WeightSpec, module: nn.Module | None = None
) -> tuple[tuple[Tensor, ...], list[str]]:
    """Find in stored directions the tensors of a model's weights, exactly as they are stored.

    Tensors are matched in order: by name and shape where the file names them, by shape where it
    numbers them, as Li et al.'s files do. Those may also have one for each entry of the state dict,
    or for frozen parameters; which of them are weights shows only given the module. The others,
    such as running statistics, are left out.

    Args:
        directions: As read from a file.
        spec: Of the model's weights.
        module: The model; None if the directions have nothing but its weights.

    Returns:
        Vectors (P,) on the CPU, in the dtype of the file; and the names of the tensors, other than
        weights, that the directions would move.

    Raises:
        InputError: Naming the first tensor that differs, if they belong to another model.
    """
    layout = _find_layout(directions, spec, module)
    names, sizes = [name for name, _ in layout], [math.prod(shape) for _, shape in layout]
    vectors = map(torch.from_numpy, directions.vectors)
    parts = [dict(zip(names, vector.split(sizes), strict=True)) for vector in vectors]
    others = [name for name in names if name not in spec.names]
    return (
        tuple(torch.cat([part[name] for name in spec.names]) for part in parts),
        [name for name in others if any(part[name].any() for part in parts)],
    )


def _find_layout(directions: Directions, spec: WeightSpec, module: nn.Module | None) -> _Tensors:
    """Return what the tensors of stored directions are, in order.

    Li et al.'s code may have written of a model: all parameters, or all state.
    """
    stored = list(zip(directions.weight_names, directions.weight_shapes, strict=True))
    layouts: list[_Tensors] = [[(weight.name, weight.shape) for weight in spec.weights]]
    if module is not None:
        state = [(name, tuple(value.shape)) for name, value in module.state_dict().items()]
        layouts += [
            [(name, tuple(parameter.shape)) for name, parameter in module.named_parameters()],
            state,
            [(name, shape) for name, shape in state if not name.endswith(_COUNTER)],
        ]
    differences = [_first_difference(stored, layout) for layout in layouts]
    place = max(differences)
    nearest = layouts[differences.index(place)]
    require(
        place == math.inf,
        f"stored directions must fit the model, the file has {_tensor(stored, place)} where the "
        f"model has {_tensor(nearest, place)}.",
        hint="Use the model that they were made for.",
    )
    return nearest


def _first_difference(stored: _Tensors, layout: _Tensors) -> float:
    """Return the index of the first tensor that does not match, or infinity."""
    pairs = zip_longest(stored, layout, fillvalue=("", None))
    for i, ((name, shape), (own_name, own_shape)) in enumerate(pairs):
        if shape != own_shape or not (name.isdecimal() or name == own_name):
            return i
    return math.inf


def _tensor(tensors: _Tensors, place: float) -> str:
    if place >= len(tensors):
        return "no more tensors"
    name, shape = tensors[int(place)]
    return f"{name} of shape {shape}"
