"""Whether a model and a loss make a function of the weights: tried before anything is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from landscape.errors import InputError, listed
from landscape.problem.batches import Batch, BatchData, Data, tensors_in
from landscape.problem.draws import Sources
from landscape.problem.habits import MODES, Habits, Watch, alias, clone, fresh_copy
from landscape.problem.plan import twice_differentiable
from landscape.problem.state import State

_ROUNDINGS = 16  # units in the last place that two passes may differ by
_SAME_LOSS = 1e-2  # relative: other kernels and bfloat16 make less of a difference
_NUM_SEEDS = 4  # that are tried before random numbers are taken to be without effect


def find_habits(
    run: Callable[[Batch], tuple[Any, Tensor]],
    ends: Sequence[Sequence[Batch]],
    state: State,
    weights: Tensor,
    require_unwritten: Callable[[], None],
) -> Habits:
    """Evaluate batches twice, on copies, and see what passes do besides computing.

    Args:
        run: Returns outputs and mean loss of a batch.
        ends: Pairs of batches; the first pair is taken on which the model runs at all.
        state: What the model and the loss hold; put back at the end.
        weights: Of the model.
        require_unwritten: Raises InputError if passes wrote to weights.

    Raises:
        InputError: If model, loss and data do not fit, if passes write to weights, or if the loss
            of a batch depends on the passes before; it names the attributes.
    """
    trial = _Trial(run, state, weights)
    with trial.sources.kept():
        try:
            return trial.habits(ends, require_unwritten)
        finally:
            state.restore()


def ends_of(data: Data, batches: Sequence[Batch]) -> list[Sequence[Batch]]:
    """Return the first and the last batch, before them small ones if these can be cut."""
    whole = batches[0], batches[-1]
    if isinstance(data, BatchData):
        return [whole]
    numbers = torch.arange(data.num_examples)
    return [[data.take(some).batches(2)[0] for some in (numbers[:2], numbers[-2:])], whole]


_OBSERVER = "activation_post_process"  # attribute in which quantization keeps one


class _Trial:
    """Passes over copies of batches, and what they were seen to do."""

    def __init__(
        self, run: Callable[[Batch], tuple[Any, Tensor]], state: State, weights: Tensor
    ) -> None:
        self._run, self._state = run, state
        self.sources = Sources(weights, state.generators)
        self._mode = "gradient"
        self._has_drawn = False
        self._returns_output = False
        self._watches: list[Watch] = []

    def habits(
        self, ends: Sequence[Sequence[Batch]], require_unwritten: Callable[[], None]
    ) -> Habits:
        """Return what passes over batches do, in whatever order."""
        first, last = self._choose_mode(ends)
        require_unwritten()
        losses = [self._loss(first, 0), self._try(last, 1)]
        changes = self._state.changes()
        self._state.restore()
        again = [self._loss(last, 1), self._try(first, 0)]
        changes |= self._state.changes()
        if not all(map(_are_close, losses, reversed(again))):
            raise self._refusal(changes, first, last, losses[0])
        others = (self._anew(first, seed) for seed in range(2, 2 + _NUM_SEEDS))
        written = {name for watch in self._watches for name in watch.written}
        fresh = {watch.fresh for watch in self._watches}
        return Habits(
            fresh=clone if written else alias if alias in fresh else None,
            state=self._state.only(changes),
            sources=self.sources if self._has_drawn else None,
            is_still=not self._has_drawn,
            is_random=self._has_drawn and not all(_are_close(losses[0], loss) for loss in others),
            mode=self._mode,
            written=sorted(written),
            tried=first,
            returns_output=self._returns_output,
        )

    def _choose_mode(self, ends: Sequence[Sequence[Batch]]) -> Sequence[Batch]:
        """Return the first pair of batches that the model runs on; choose how it evaluates.

        With a gradient comes first: what a pass leaves in caches can serve in graphs then.
        """
        with twice_differentiable():
            pair, loss = self._find_runnable(ends)
        for self._mode in MODES:
            with suppress(InputError):
                if _are_close(loss, self._anew(pair[0], 0), _SAME_LOSS):
                    break
        return pair

    def _find_runnable(self, ends: Sequence[Sequence[Batch]]) -> tuple[Sequence[Batch], complex]:
        errors = []
        for pair in ends:
            try:
                return pair, self._anew(pair[0], 0)
            except InputError as exc:
                errors.append(exc)
        raise errors[0]

    def _anew(self, batch: Batch, seed: int) -> complex:
        """Return the loss of a batch where no pass was before."""
        self._state.restore()
        try:
            return self._loss(batch, seed)
        finally:
            self._state.restore()

    def _try(self, batch: Batch, seed: int) -> complex | None:
        try:
            return self._loss(batch, seed)
        except InputError:  # what an earlier pass left does not fit
            return None

    def _loss(self, batch: Batch, seed: int) -> complex:
        watch = Watch(fresh_copy(batch, clone))
        self._watches.append(watch)
        self.sources.seed(seed)
        states = self.sources.states()
        with MODES[self._mode]():
            outputs, value = self._run(watch.given)
            loss = value.item()
        self._returns_output = any(each is value for each in tensors_in(outputs))
        self._has_drawn |= self.sources.states() != states
        return loss

    def _refusal(
        self, changes: Mapping[str, Any], first: Batch, last: Batch, loss: complex
    ) -> InputError:
        """Return the error that names the attributes on which the loss depends."""
        names = []
        for name in changes:
            self._anew(first, 0)
            self._try(first, 0)
            self._try(last, 1)
            self._state.restore(left=(name,))
            if not _are_close(loss, self._try(first, 0)):
                names.append(name)
        if not changes:
            return InputError(
                "two passes over the same batch give different losses, and no attribute of the "
                "model or the loss says why.",
                hint="Keep no state in global variables; draw random numbers from torch, numpy or "
                "random.",
            )
        return InputError(
            "the loss must depend on the weights and the data alone, it depends on what the model "
            f"or the loss keeps from call to call in {listed(names or list(changes))}.",
            hint="Freeze the observers: model.apply(torch.ao.quantization.disable_observer)."
            if all(_OBSERVER in name for name in names or changes)
            else "Reset it at the start of forward, or make it an input.",
        )


def _are_close(a: complex, b: complex | None, tolerance: float | None = None) -> bool:
    """Whether two losses are the same up to rounding; NaN is the same as NaN."""
    if b is None or a == b or (a != a and b != b):
        return b is not None
    rounding = _ROUNDINGS * torch.finfo(torch.float32).eps if tolerance is None else tolerance
    return abs(a - b) <= rounding * abs(a)
