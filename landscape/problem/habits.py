"""What is to be done around each pass, so that a loss is a function of the weights alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from landscape.errors import Remark, require
from landscape.problem.batches import Batch, tensors_in
from landscape.problem.curvature_graphs import nodes
from landscape.problem.draws import Sources, seeds_of
from landscape.problem.plan import twice_differentiable
from landscape.problem.state import State, walk
from landscape.runtime.random_state import get_random_states

MODES = {
    "inference": torch.inference_mode,
    "no gradient": torch.no_grad,
    "gradient": torch.enable_grad,
}
"""Ways to evaluate without a gradient by the weights, in order of preference. Models that
differentiate by their inputs need the second or the third."""

_REENTRANT = "CheckpointFunctionBackward"


@dataclass
class Habits:
    """What is to be done around each pass, for the loss to be a function of the weights alone.

    Attributes:
        fresh: Makes the tensor that a pass is given from one of the data; None to hand out the data
            themselves.
        state: What passes change and is put back after each; None if nothing.
        sources: What random numbers are drawn from; None if none are.
        is_still: Whether passes that were tried drew none.
        is_random: Whether the loss depends on them.
        mode: One of `MODES`.
        written: What passes write to, of `inputs` and `targets`.
        tried: A batch that the model runs on, one of few examples if there is such.
        returns_output: Whether the loss is one of the model's outputs.
        is_whole: Whether the gradient was seen to be that of the loss.
        is_reentrant: Whether activations are recomputed by torch's reentrant checkpointing, which
            leaves the weights of what it recomputes out of gradients.
        is_product_whole: Whether products with the Hessian were seen to be those of the loss, or
            no `torch.autograd.Function` of the user's has a part in it.
        is_new: Whether the next pass decides about `fresh` and `written`; it is given a copy.
    """

    fresh: Callable[[Tensor], Tensor] | None = None
    state: State | None = None
    sources: Sources | None = None
    is_still: bool = False
    is_random: bool = False
    mode: str = "inference"
    written: Sequence[str] = ()
    tried: Batch = ((), ())
    returns_output: bool = False
    is_whole: bool = False
    is_reentrant: bool = False
    is_product_whole: bool = False
    is_new: bool = False

    @classmethod
    def before_trial(cls) -> Habits:
        """Return habits that change nothing: a trial looks at what passes do."""
        return cls(fresh=_as_it_is)

    @classmethod
    def of_training(cls) -> Habits:
        """Return the habits of a model in training, which the first pass decides about."""
        return cls(fresh=clone, mode="no gradient", is_new=True)

    def warn(self, draws: int) -> None:
        """Say what the user should know, if so many draws of random numbers were asked for."""
        for remark in self._remarks(draws):
            warnings.warn(remark, Remark, stacklevel=4)

    def _remarks(self, draws: int) -> Iterator[str]:
        if self.written:
            yield (
                f"The model or the loss changes its {' and '.join(self.written)} in place; each "
                "pass gets a fresh copy."
            )
        if self.is_random and draws == 1:
            yield (
                "The model or the loss draws random numbers; one fixed draw is measured. "
                "Pass `draws=8` for the mean over 8."
            )
        if draws > 1 and not self.is_random:
            yield "The loss does not depend on random numbers, so there is one draw of them."

    def require_eager(self, *, is_compiled: bool) -> None:
        """Raise InputError if a compiled model draws random numbers, other ones than itself."""
        require(
            self.sources is None or not is_compiled,
            "a model that draws random numbers cannot be compiled: its derivatives would be of "
            "other numbers than its loss.",
            hint="Leave `compile` out.",
        )

    def require_own_weights(
        self,
        forward: Callable[[Batch], tuple[Any, Tensor]],
        own: set[Tensor],
        known: set[Tensor],
    ) -> None:
        """Raise InputError if a loss is computed from other trainable tensors than the weights.

        A closure or a list that was made in the model's constructor still holds the caller's
        parameters after the copy, and the loss would never move. Tensors that are made anew in each
        pass, such as inputs to differentiate by, are no such parameters, nor are the constants of a
        loss.

        Args:
            forward: Returns outputs and loss of a batch.
            own: The weights.
            known: The caller's parameters, and copies of them that the loss holds.
        """
        with twice_differentiable():
            outputs, loss = forward(fresh_copy(self.tried, clone))
            found = nodes([loss])
            self.is_reentrant = any(type(node).__name__ == _REENTRANT for node in found)
            self.is_product_whole = not any(isinstance(node, BackwardCFunction) for node in found)
            others = _leaves([loss]) - own
            if others:
                others &= _leaves([forward(fresh_copy(self.tried, clone))[1]])
        require(
            not others & _leaves(tensors_in(outputs) or [loss]),
            "the model computes with parameters that it reaches by another way than its "
            "attributes.",
            hint="Keep no parameter or layer in a lambda or a plain list; use nn.ParameterList or "
            "nn.ModuleList.",
        )
        require(
            not others & known,
            "the loss computes with weights of the model, which it does not get from its outputs.",
            hint="Let the model return what the loss needs.",
        )

    def without_gradient(self) -> Any:
        """Return a context to evaluate in that records as little as the model can do with."""
        return MODES[self.mode]()

    def without_inference(self) -> Any:
        """Return the like whose tensors can serve in graphs later."""
        return MODES["gradient" if self.mode == "gradient" else "no gradient"]()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Leave numpy's and Python's random numbers as they were, if they are drawn from."""
        with nullcontext() if self.sources is None else self.sources.kept():
            yield

    @contextmanager
    def around(self, batch: Batch) -> Iterator[Batch]:
        """Give what a pass over the batch is to be given; clean up after it."""
        if self.sources is not None:
            self.sources.seed(seeds_of(batch)[0])
        given = batch if self.fresh in (None, _as_it_is) else fresh_copy(batch, self.fresh)
        watch = Watch(given) if self.is_new else None
        versions = _versions(batch)
        states = _random_states(batch) if self.is_still else []
        try:
            with nullcontext() if self.sources is None else self.sources.drawing():
                yield given
        finally:
            if self.state is not None:
                self.state.restore()
        if watch is not None:
            self.written, self.fresh, self.is_new = watch.written, watch.fresh, False
            self.warn(draws=1)
        require(
            not self.is_still or all(map(torch.equal, states, _random_states(batch))),
            "the model or the loss draws random numbers for some batches, and drew none for those "
            "that were tried.",
            hint="Draw them for every batch, or for none.",
        )
        require(
            self.fresh is _as_it_is or versions == _versions(batch),
            "the model or the loss changes some of its inputs or targets in place, and later "
            "passes are given the same tensors.",
            hint="Compute new tensors: x = x - mean in place of x.sub_(mean).",
        )

    def loss_of(self, criterion: Callable[..., Tensor], batch: Batch) -> Callable[..., Tensor]:
        """Return the loss function, which draws the batch's own random numbers, if any."""
        if self.sources is None:
            return criterion
        sources, (_, seed) = self.sources, seeds_of(batch)

        def seeded(*args: Any) -> Tensor:
            sources.seed(seed)
            return criterion(*args)

        return seeded

    def apart(self, separate: Callable[..., Tensor], batch: Batch) -> Callable[..., Tensor]:
        """Return a loss of single examples as the loss of a batch is called.

        It draws the same random numbers, and is given copies of targets that would be changed.
        """

        def losses(outputs: Any, targets: Any) -> Tensor:
            with self.around(batch) as given:
                return self.loss_of(separate, batch)(outputs, given[1])

        return losses


class Watch:
    """Sees what a pass does to a copy of a batch that it is given."""

    def __init__(self, given: Batch) -> None:
        self.given = given
        self._state = State({"inputs": given[0], "targets": given[1]})
        self._flags = self._read_flags()

    def _read_flags(self) -> list[bool]:
        return [tensor.requires_grad for tensor in self._state.tensors]

    @property
    def written(self) -> list[str]:
        """What was written to, of `inputs` and `targets`."""
        return sorted({name.partition(".")[0] for name in self._state.changes()})

    @property
    def fresh(self) -> Callable[[Tensor], Tensor] | None:
        """What makes a tensor that the next pass can be given."""
        has_flagged = self._flags != self._read_flags()
        return clone if self.written else alias if has_flagged else None


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def clone(tensor: Tensor) -> Tensor:
    """Return a copy that a pass may write to."""
    return _like(tensor, tensor.detach().clone())


def alias(tensor: Tensor) -> Tensor:
    """Return another tensor of the same numbers, whose flags a pass may set."""
    return _like(tensor, tensor.detach())


def _like(tensor: Tensor, fresh: Tensor) -> Tensor:
    return fresh.requires_grad_() if tensor.requires_grad else fresh


def fresh_copy(batch: Batch, make: Callable[[Tensor], Tensor]) -> Batch:
    """Return a copy of a batch, whatever its kind, with a new tensor for each."""
    memo = {id(value): make(value) for _, value in walk("", batch) if isinstance(value, Tensor)}
    return copy.deepcopy(batch, memo)


def _versions(batch: Batch) -> list[int]:
    """Return numbers one of which changes when a tensor is written."""
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors_in(batch)]


def _random_states(batch: Batch) -> list[Tensor]:
    """Return the states of torch's generators that a pass over the batch may draw from."""
    return get_random_states({tensor.device for tensor in tensors_in(batch)})


def _leaves(tensors: Sequence[Tensor]) -> set[Tensor]:
    """Return the leaves that some tensors are computed from."""
    return {node.variable for node in nodes(tensors) if hasattr(node, "variable")}
