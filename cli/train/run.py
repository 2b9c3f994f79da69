"""`landscape train`: train a model, recording what later commands need to know."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer
from torch import nn
from torch.optim import Optimizer

from landscape.data.subset import fixed_subset
from landscape.errors import CheckpointError, require
from landscape.io.checkpoint import (
    Checkpoint,
    Recipe,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from landscape.io.recipe import (
    ModelChoice,
    Splits,
    load_splits,
    loss_if_chosen,
    require_split,
    seeded_model,
    training_recipe,
)
from landscape.io.schema import Misfit, build_record
from landscape.io.store import write_result
from landscape.io.wrapped import with_shapes
from landscape.optim.family import FAMILY, build_optimizer
from landscape.problem.batches import hash_tensors, tensors_in
from landscape.problem.plan import choose_device
from landscape.results.headlines import history_headline
from landscape.results.history import History, make_history, mean_and_deviation
from landscape.results.identity import first_difference, item_traits
from landscape.runtime import distributed
from landscape.training import Interrupted, TrainingPlan, TrainingState, loop
from landscape.training.meter import euclidean_radius

from .. import console
from ..options import LARGEST_SEED, ModelOptions, call_with_options
from ..outputs import keeping, prepare_output
from ..processes import working_together
from ..program import CTRL_C, TERMINATED
from .options import OptimizerOptions, TrainOptions
from .summary import epoch_in_words, over_seeds, show_run

_MAY_CHANGE = {"data_dir"}
"""What may differ where a run goes on: hashes tell whether the data in the folder are the same."""

_LONGER = (
    "More epochs are another run, for schedules stretch over all epochs; to train these weights "
    "further, pass --init {} and another --out."
)


def train_runs(
    problem: ModelOptions,
    options: TrainOptions,
    *,
    init: Path | None,
    seeds: str | None,
    device: str,
    out: Path,
    save_every: int | None,
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Train once, or once per seed, and show what came out."""
    runs = [
        _Run(dataclasses.replace(options, seed=seed), folder, save_every, resume)
        for seed, folder in _seeds_and_folders(options.seed, seeds, out)
    ]

    def prepare() -> None:
        for run in runs:
            run.prepare(init, force=force)

    kept = [run.path for run in runs] if console.is_heard() else []
    with keeping(kept, prepare), console.StopSignals() as signals, _joined(runs, signals):
        start = None if init is None else load_checkpoint(init)
        recipe = training_recipe(problem.choice(ModelChoice), start)
        splits = load_splits(recipe)  # once for all runs
        train_data = fixed_subset(require_split(splits, "train"), options.samples)
        splits = dataclasses.replace(splits, train=train_data)
        hashes = {
            "train_data": train_data.hash,
            "test_data": splits.test and splits.test.hash,
            "init": start and hash_tensors(tensors_in(start.state_dict)),
        }
        place = distributed.local_device(choose_device(device), device)
        histories = [run.train(recipe, splits, start, hashes, place, signals) for run in runs]
    if as_json:
        named = {"loss_function": recipe.loss}
        found = [
            {**_as_json(history, run), **named}
            for history, run in zip(histories, runs, strict=True)
        ]
        console.answer_json(
            found[0] if seeds is None else {"runs": found, "quantities": over_seeds(histories)}
        )
        return
    smoothing = options.label_smoothing and f", label smoothing {options.label_smoothing:g}"
    title = f"loss {recipe.loss}{smoothing or ''}"
    if seeds is None:
        show_run(histories[0], runs[0].path, title, options.samples)
    else:
        _show_seeds(histories, runs, title)


def _seeds_and_folders(seed: int | None, seeds: str | None, out: Path) -> list[tuple[int, Path]]:
    """Return the seed and the folder of each run."""
    if seeds is None:
        return [(seed or 0, out)]
    words = [word.strip() for word in seeds.split(",")]
    require(seed is None, "--seed and --seeds exclude each other.", "Pass one of them.")
    require(
        all(word.isdecimal() and int(word) <= LARGEST_SEED for word in words),
        f"--seeds must be whole numbers from 0 to {LARGEST_SEED}, separated by commas, got "
        f"{seeds!r}.",
        "Pass --seeds 0,1,2.",
    )
    numbers = [int(word) for word in words]
    require(len(set(numbers)) == len(numbers), f"--seeds must differ from each other, got {seeds}.")
    return [(number, Path(f"{out}-{number}")) for number in numbers]


@contextmanager
def _joined(runs: Sequence[_Run], signals: console.StopSignals) -> Iterator[None]:
    """Work together with the other processes of torchrun, of which only the first to fail says why.

    Where a run is stopped, say where it stands and which command goes on, and exit with the
    signal's code.
    """
    try:
        try:
            with working_together():
                yield
        except Interrupted as stop:
            step = f"epoch {stop.epoch}, after step {stop.step} of {stop.num_steps}"
            console.say(
                f"\nStopped in {step}. All of it is in {_last_saved(runs)}. {console.to_go_on()}"
            )
            if distributed.is_launched():
                signals.end_undisturbed()
            # Without a signal of its own, a process stops because another was told to, as launchers
            # do it.
            raise typer.Exit(signals.exit_code or TERMINATED) from stop
    except KeyboardInterrupt as exc:
        saved = _last_saved(runs)
        place = f" The last saved state is in {saved}. {console.to_go_on()}" if saved else ""
        console.say(f"\nInterrupted.{place}")
        raise typer.Exit(signals.exit_code or CTRL_C) from exc


def _last_saved(runs: Sequence[_Run]) -> Path | None:
    return next((run.path for run in reversed(runs) if run.has_saved), None)


@dataclasses.dataclass
class _Run:
    """One run and the folder that it is kept in."""

    options: TrainOptions
    folder: Path
    save_every: int | None
    resume: bool
    has_saved: bool = False
    replaced: Sequence[Path] = ()

    @property
    def path(self) -> Path:
        """Where the run can be continued from."""
        return self.folder / "checkpoint.pt"

    @property
    def history_path(self) -> Path:
        """Where the measurements of each epoch are."""
        return self.folder / "history.h5"

    @property
    def ema_path(self) -> Path:
        """Where the averaged weights are."""
        return self.folder / "checkpoint-ema.pt"

    def prepare(self, init: Path | None, *, force: bool) -> None:
        """Reject a folder that holds a run, unless it may be replaced or resumed, or holds `init`.

        Note the files that are to be replaced, the checkpoint first.
        """
        snapshots = sorted((self.folder / "snapshots").glob("epoch-*.pt"))
        averaged = [self.ema_path] if self.ema_path.exists() else []
        outputs = [self.path, self.history_path, *averaged, *snapshots]
        require(
            not (force and init and init.resolve() in [each.resolve() for each in outputs]),
            f"--init {init} is in the folder of this run, where it would be replaced.",
            "Write to another --out.",
        )
        for output in outputs:
            prepare_output(output, force=force, resume=self.resume)
        self.replaced = outputs if force else ()

    def train(
        self,
        recipe: Recipe,
        splits: Splits,
        init: Checkpoint | None,
        hashes: Mapping[str, Any],
        device: torch.device,
        signals: console.StopSignals,
    ) -> History:
        """Train from the start or from what was saved."""
        settings = {
            **dataclasses.asdict(recipe),
            **dataclasses.asdict(self.options),
            **hashes,
            "processes": distributed.world_size(),
            "save_every": self.save_every,  # or a resumed run's snapshots would have gaps
        }
        state = _load_state(self.path, settings) if self.resume and self.path.exists() else None
        self.has_saved = state is not None
        plan = make_plan(self.options)
        model = seeded_model(recipe, plan.seed)
        if init is not None:
            load_weights(model, init)
        model = with_shapes(model, require_split(splits, "train"), seed=plan.seed).to(device)
        optimizer = make_optimizer(self.options, model, plan.seed)
        settings["sharpness_rho"] = euclidean_radius(optimizer, plan.sharpness_rho)
        start = (
            None if state else {name: value.clone() for name, value in model.state_dict().items()}
        )
        signals.wait_for_step()
        return loop.train(
            model,
            require_split(splits, "train"),
            splits.test,
            optimizer,
            plan,
            validation=splits.validation,
            criterion=loss_if_chosen(recipe),
            device=device,
            progress=console.TerminalProgress(),
            state=state,
            save=partial(self._save, recipe, settings, start),
            should_stop=signals.is_received,
        )

    def _save(
        self,
        recipe: Recipe,
        settings: Mapping[str, Any],
        start: Mapping[str, Any] | None,
        state: TrainingState,
    ) -> None:
        """Save history, snapshots and checkpoints.

        A run goes on from checkpoint.pt, so that is written last and removed first: whatever was
        written when the process is killed in between, the run that goes on writes again.

        The first time also save a snapshot of the weights at the start, and end the files of an
        earlier run that are to be replaced: until then that run is whole.
        """
        if not self.has_saved:
            for file in self.replaced:
                file.unlink(missing_ok=True)
            if self.save_every is not None and start is not None:
                self._save_snapshot(0, start, recipe, settings)
        write_result(self.history_path, make_history(state.rows, settings))
        if self.save_every is not None and state.step == 0 and state.epoch % self.save_every == 0:
            self._save_snapshot(state.epoch, state.module, recipe, settings)
        if state.average is not None:
            how = {"epoch": state.epoch, "settings": dict(settings)}
            save_checkpoint(self.ema_path, state.average, recipe, how)
        training = {"settings": dict(settings), "state": dataclasses.asdict(state)}
        save_checkpoint(self.path, state.module, recipe, training)
        self.has_saved = True
        if state.step == 0:
            console.log(epoch_in_words(state.rows, self.options.epochs))

    def _save_snapshot(
        self,
        epoch: int,
        weights: Mapping[str, Any],
        recipe: Recipe,
        settings: Mapping[str, Any],
    ) -> None:
        path = self.folder / "snapshots" / f"epoch-{epoch:04d}.pt"
        save_checkpoint(path, weights, recipe, {"epoch": epoch, "settings": dict(settings)})


def _load_state(path: Path, settings: Mapping[str, Any]) -> TrainingState:
    """Return the state to go on from, if it is of the same run."""
    training = load_checkpoint(path).training
    if not training or "state" not in training:
        raise CheckpointError(
            f"{path} holds no training state.", hint="Only a checkpoint.pt of ours can be resumed."
        )
    if training["state"].keys() != {field.name for field in dataclasses.fields(TrainingState)}:
        raise CheckpointError(
            f"{path} holds the training state of another version of the toolkit.",
            hint="Go on with that version, or start anew with --force.",
        )
    names = [name for name in settings if name not in _MAY_CHANGE]
    different = first_difference(item_traits(training["settings"], settings, names))
    if different is not None:
        name, recorded, value = different
        is_longer = name == "epochs" and value > recorded
        raise CheckpointError(
            f"{path} was trained with {name.replace('_', '-')} {recorded}, not {value}.",
            hint=_LONGER.format(path)
            if is_longer
            else "Repeat the options of the first run, or write to another --out.",
        )
    try:
        return build_record(TrainingState, training["state"])
    except Misfit as exc:
        raise CheckpointError(f"{path} is damaged: {exc}.") from exc


def _as_json(history: History, run: _Run) -> dict[str, Any]:
    return {
        "out": str(run.folder),
        "checkpoint": str(run.path),
        "ema_checkpoint": None if run.options.ema is None else str(run.ema_path),
        "history": str(run.history_path),
        "seed": run.options.seed,
        **history.outcome(),
    }


def _show_seeds(histories: Sequence[History], runs: Sequence[_Run], title: str) -> None:
    console.answer(history_headline(histories))
    losses = [history.test_loss[-1] for history in histories]
    accuracies = [history.test_accuracy[-1] for history in histories]
    columns = [
        [*(str(run.options.seed) for run in runs), "mean", "standard deviation"],
        [console.number(each, 4) for each in (*losses, *mean_and_deviation(losses))],
        [console.percent(each) for each in (*accuracies, *mean_and_deviation(accuracies))],
    ]
    console.answer_table(
        f"Training, {len(runs)} seeds, {title}",
        ["seed", "test loss", "test accuracy"],
        list(zip(*columns, strict=True)),
    )
    for run in runs:
        console.answer(f"Saved to {run.path}.")


def make_plan(options: TrainOptions) -> TrainingPlan:
    """Return the library's plan, whose fields are named as the options.

    Raises:
        InputError: If a value is out of range.
    """
    return call_with_options(TrainingPlan, vars(options), seed=options.seed or 0)


def make_optimizer(options: OptimizerOptions, module: nn.Module, seed: int) -> Optimizer:
    """Build the optimizer for a module.

    Raises:
        InputError: If an option is out of range, or not one of the optimizer's.
    """
    return call_with_options(
        build_optimizer,
        vars(options),
        module=module,
        adaptive=options.adaptive or None,
        decay_in_ascent=options.decay_in_ascent or None,
        seed=seed if options.optim in FAMILY else None,
    )
