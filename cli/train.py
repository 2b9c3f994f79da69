"""`landscape train`: train a model, recording what later commands need to know."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.errors import CheckpointError

from . import console
from .options import Force, ModelOptions, Seed, expand
from .resolve import load_splits, make_recipe, prepare_output, require_split, seeded_model

if TYPE_CHECKING:
    from landscape.io.checkpoint import Recipe
    from landscape.results import History
    from landscape.training.loop import TrainingState


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """How to train."""

    optim: Annotated[str, typer.Option(help="Optimizer: sgd, adam, adamw or sam.")] = "sgd"
    base: Annotated[str, typer.Option(help="Optimizer that sam wraps: sgd, adam or adamw.")] = "sgd"
    rho: Annotated[float | None, typer.Option(help="Radius of sam's ball in weight space; by default 0.05.")] = None
    lr: Annotated[
        float | None, typer.Option(help="Learning rate; by default 0.05 for sgd, 0.002 for adam and adamw.")
    ] = None
    momentum: Annotated[float | None, typer.Option(help="Momentum of sgd; by default 0.9.")] = None
    nesterov: Annotated[bool, typer.Option("--nesterov", help="Use Nesterov's momentum in sgd.")] = False
    weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay; by default 5e-4 for sgd, 0 for adam, 0.01 for adamw.")
    ] = None
    schedule: Annotated[str, typer.Option(help="Learning rate: constant, cosine, or step (x0.1 twice).")] = "cosine"
    epochs: Annotated[int, typer.Option(help="Number of epochs.")] = 15
    batch_size: Annotated[int, typer.Option(help="Examples a step.")] = 128
    label_smoothing: Annotated[float, typer.Option(help="Label smoothing in training, in [0, 1).")] = 0.0
    augmentation: Annotated[str, typer.Option(help="Of images: none, crop, flip or crop-flip.")] = "none"
    seed: Seed = 0


@expand(ModelOptions, TrainOptions)
def train(
    problem: ModelOptions,
    options: TrainOptions,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoint.pt and history.h5; by default runs/OPTIM.", metavar="DIR")
    ] = None,
    save_every: Annotated[
        int | None, typer.Option(min=1, help="Save a snapshot of the weights every N epochs.", metavar="N")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run from its last whole epoch.")] = False,
    force: Force = False,
) -> None:
    """Train a model with SGD, Adam, AdamW or SAM."""
    folder = out or Path("runs") / options.optim
    path = folder / "checkpoint.pt"
    snapshots = sorted((folder / "snapshots").glob("epoch-*.pt"))
    for output in (path, folder / "history.h5", *snapshots):
        prepare_output(output, force=force, resume=resume)

    from landscape.batches import hash_data
    from landscape.execution import choose_device
    from landscape.io.plugins import find_loss
    from landscape.optim.factory import build_optimizer
    from landscape.training import loop

    recipe = make_recipe(problem, model="mlp", data="digits")
    train_data, test_data = load_splits(recipe)
    train_data = require_split({"train": train_data}, "train")
    hashes = {"train_data": hash_data(train_data), "test_data": test_data and hash_data(test_data)}
    settings = {**dataclasses.asdict(recipe), **dataclasses.asdict(options), **hashes}
    state = _load_state(path, settings) if resume and path.exists() else None
    place = choose_device(device)
    model = seeded_model(recipe, options.seed).to(place)
    optimizer = build_optimizer(
        options.optim,
        model,
        learning_rate=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
        rho=options.rho,
        base=options.base,
    )
    dtype = next(model.parameters()).dtype
    start = None if state else {name: value.clone() for name, value in model.state_dict().items()}
    save = _saver(folder, recipe, settings, save_every, start, snapshots if force else [])
    with console.resumable(f"Every whole epoch is in {path}."):
        history = loop.train(
            model,
            train_data.to(place, dtype),
            None if test_data is None else test_data.to(place, dtype),
            optimizer,
            epochs=options.epochs,
            batch_size=options.batch_size,
            schedule=options.schedule,
            label_smoothing=options.label_smoothing,
            criterion=find_loss(recipe.loss) if recipe.loss and recipe.loss != "cross-entropy" else None,
            augmentation=options.augmentation,
            seed=options.seed,
            device=place,
            progress=console.TerminalProgress(),
            state=state,
            after_epoch=save,
        )
    _show(history, path)


def _saver(
    folder: Path,
    recipe: Recipe,
    settings: Mapping[str, Any],
    save_every: int | None,
    start: Mapping[str, Any] | None,
    replaced: Sequence[Path],
) -> Callable[[TrainingState], None]:
    """Return what saves checkpoint, history and snapshots at the end of an epoch.

    The first epoch also brings the snapshot of the weights at the start, and ends the `replaced` snapshots of
    an earlier run: until then that run is whole.
    """
    from landscape.io.checkpoint import save_checkpoint
    from landscape.io.store import write_result
    from landscape.training.history import make_history

    def save(state: TrainingState) -> None:
        if state.epoch == 1:
            for snapshot in replaced:
                snapshot.unlink()
            if save_every is not None and start is not None:
                _save_snapshot(folder, 0, start, recipe)
        training = {"settings": dict(settings), "state": dataclasses.asdict(state)}
        save_checkpoint(folder / "checkpoint.pt", state.module, recipe, training)
        write_result(folder / "history.h5", make_history(state.rows, settings))
        if save_every is not None and state.epoch % save_every == 0:
            _save_snapshot(folder, state.epoch, state.module, recipe)

    return save


def _save_snapshot(folder: Path, epoch: int, weights: Mapping[str, Any], recipe: Recipe) -> None:
    from landscape.io.checkpoint import save_checkpoint

    save_checkpoint(folder / "snapshots" / f"epoch-{epoch:04d}.pt", weights, recipe, {"epoch": epoch})


def _load_state(path: Path, settings: Mapping[str, Any]) -> TrainingState:
    """Return the state to go on from, if it is of the same run."""
    from landscape.io.checkpoint import load_checkpoint
    from landscape.training.loop import TrainingState

    training = load_checkpoint(path).training
    if not training or "state" not in training:
        raise CheckpointError(f"{path} holds no training state.", hint="Only a checkpoint.pt of ours can be resumed.")
    for name, value in settings.items():
        recorded = training["settings"].get(name)
        if recorded != value:
            raise CheckpointError(
                f"{path} was trained with {name.replace('_', '-')} {recorded}, not {value}.",
                hint="Repeat the options of the first run, or write to another --out.",
            )
    return TrainingState(**training["state"])


def _show(history: History, path: Path) -> None:
    shown = {
        "epochs": str(int(history.epoch[-1])),
        "train loss": console.number(history.train_loss[-1], 4),
        "train accuracy": console.percent(history.train_accuracy[-1]),
        "test loss": console.number(history.test_loss[-1], 4),
        "test accuracy": console.percent(history.test_accuracy[-1]),
        "top-5 error": console.percent(history.test_top5_error[-1]),
        "seconds": console.number(history.seconds.sum(), 3),
    }
    console.answer_table("Training", list(shown), [list(shown.values())])
    console.answer(f"Saved to {path}. To look at it: landscape surface {path}")
