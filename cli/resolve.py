"""From options and a checkpoint to problems: which model, which data, loaded and checked."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import CheckpointError, DataError, InputError, PluginError, StoreError

from .options import ModelOptions, ProblemOptions, parse_arguments

if TYPE_CHECKING:
    from torch import nn

    from landscape.io.checkpoint import Checkpoint, Recipe
    from landscape.problem.batches import Data
    from landscape.problem.passes import Loss
    from landscape.problem.problem import Problem

SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True)
class Opened:
    """A checkpoint's problems, split name -> problem, and what to record about them.

    Attributes:
        problems: Split name -> problem.
        settings: To be recorded.
        data: Split name -> all examples, those that a subset leaves out too.
    """

    problems: Mapping[str, Problem]
    settings: Mapping[str, Any]
    data: Mapping[str, Data]


@dataclasses.dataclass(frozen=True)
class Splits:
    """What a data set comes in; any of them may be missing.

    Attributes:
        train: What is trained on.
        validation: What was held out of it.
        test: Published apart from it.
    """

    train: Data | None
    validation: Data | None
    test: Data | None


def default_output(source: Path, suffix: str) -> Path:
    """Return the name of a file beside `source`, with another suffix.

    Raises:
        InputError: If `source` has no name of its own.
    """
    if not source.name:
        raise InputError(
            f"a file is needed, got the folder {str(source)!r}.", hint="Name a file in it."
        )
    return source.with_suffix(suffix)


def prepare_output(
    path: Path, *, force: bool, resume: bool | None = None, inputs: Sequence[Path] = ()
) -> None:
    """Raise StoreError if an output cannot be written, or exists and may not be touched.

    An existing output may be touched only if it is to be replaced or continued.

    Args:
        path: The output; its folder need not be there.
        force: Whether it is to be replaced.
        resume: Whether it is to be continued; None where the command cannot do that.
        inputs: Files that the command reads, or writes besides, which it never replaces.

    Raises:
        StoreError: If it is refused.
    """
    import tempfile

    from landscape.runtime.files import folder_of

    if force and resume:
        raise InputError("--force and --resume exclude each other.", hint="Pass one of them.")
    if path.resolve() in [other.resolve() for other in inputs]:
        raise StoreError(
            f"output {path} is another file of this command.", hint="Name another file."
        )
    try:
        if path.exists() and not path.is_file():
            raise StoreError(f"output {path} is no regular file.", hint="Name a file.")
        if path.exists() and not (force or resume):
            go_on = "" if resume is None else "--resume to continue it, "
            raise StoreError(
                f"output {path} exists.",
                hint=f"Pass {go_on}--force to replace it, or another --out.",
            )
        with folder_of(path), tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as exc:
        raise StoreError(
            f"output {path} cannot be written: {exc.strerror}.", hint="Pass another --out."
        ) from exc


def names_apart(paths: Sequence[Path]) -> list[str]:
    """Return what tells paths apart: their names, with as many folders before as it takes."""
    whole = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, whole))):
        names = ["/".join(parts[-count:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def split_names(split: str, *, can_be_both: bool) -> tuple[str, ...]:
    """Return the splits that `train`, `test` or, where it can be, `both` means.

    Raises:
        InputError: If it is none of them.
    """
    if split in SPLITS:
        return (split,)
    if split == "both" and can_be_both:
        return SPLITS
    raise InputError(
        f"split must be {'train, test or both' if can_be_both else 'train or test'}, got {split!r}."
    )


def open_checkpoint(
    path: Path,
    options: ProblemOptions,
    splits: Sequence[str],
    *,
    also: Sequence[str] = (),
    prepare: Callable[[Data], Data] | None = None,
    loss: Loss | None = None,
    points_per_pass: int | None = 1,
    compile: bool = False,
    load: Callable[[Recipe], Splits] | None = None,
) -> Opened:
    """Load a checkpoint and the data, and make a problem for each split.

    Args:
        path: Checkpoint.
        options: How it is evaluated.
        splits: On what; on a subset if that is asked for.
        also: On what besides, where the data have it; on all of it.
        prepare: Changes the train split before anything is done with it.
        loss: In place of what was typed or is recorded.
        points_per_pass: Points a forward pass; None takes what is fastest for the first split, for
            all of them.
        compile: Whether forward passes are compiled.
        load: Gives the data of a recipe; None for `load_splits`.

    Raises:
        LandscapeError: If any part is missing or does not fit.
    """
    from landscape.io.checkpoint import load_checkpoint, load_weights
    from landscape.io.plugins import find_loss
    from landscape.problem.problem import Problem

    checkpoint = load_checkpoint(path)
    recipe = _merge(options, checkpoint)
    model = seeded_model(recipe, seed=0)
    load_weights(model, checkpoint)
    read = (load or load_splits)(recipe)
    data = {
        "train": read.train if read.train is None or prepare is None else prepare(read.train),
        "test": read.test,
    }
    loss = loss or find_loss(recipe.loss or "cross-entropy")
    problems = {}
    wholes = {split: require_split(data, split) for split in splits}
    besides = {
        split: whole for split in also if split not in wholes and (whole := data[split]) is not None
    }
    for split, whole in {**wholes, **besides}.items():
        problems[split] = Problem(
            model,
            whole if split in besides else _subset(whole, options.samples),
            loss,
            device=options.device,
            dtype=options.dtype,
            batchnorm=options.batchnorm,
            batch_size=options.batch_size,
            calibration=data["train"] if options.batchnorm == "recalibrate" else None,
            points_per_pass=points_per_pass,
            compile=compile,
            num_population=whole.num_examples,
            is_stratified=True,
        )
        points_per_pass = problems[split].plan.points_per_pass
    settings = {
        "checkpoint": str(path),
        **dataclasses.asdict(recipe),
        "samples": options.samples,
        "command": sys.argv[1:],
    }
    return Opened(problems, settings, wholes)


def seeded_model(recipe: Recipe, seed: int) -> nn.Module:
    """Build the recipe's model with weights drawn by `seed`, outside the global generator."""
    from landscape.io.plugins import build_model
    from landscape.runtime.random_state import forked_random_state

    if recipe.model is None:
        raise InputError("a model is needed.", hint=_model_hint())
    with forked_random_state(seed=seed):
        return build_model(recipe.model, recipe.model_args)


def load_splits(recipe: Recipe) -> Splits:
    """Return the data, which are read once.

    Label noise is applied only to the examples that remain in the training set after the validation
    examples are held out.

    A data function that draws from torch's global generator gives the same data every time.
    """
    from landscape.data.label_noise import with_noisy_targets
    from landscape.data.validation import held_out
    from landscape.io.plugins import build_data
    from landscape.problem.batches import as_data
    from landscape.runtime.random_state import forked_random_state

    if recipe.data is None:
        raise InputError("data are needed.", hint="Pass --data NAME or --data file.py:function.")
    folder = {} if recipe.data_dir is None else {"data_dir": recipe.data_dir}
    with forked_random_state(seed=0):
        train, test = build_data(recipe.data, {**recipe.data_args, **folder})
        train, test = (None if split is None else as_data(split) for split in (train, test))
    validation = None
    if train is not None and recipe.validation is not None:
        train, validation = held_out(train, recipe.validation, seed=recipe.validation_seed or 0)
    if train is not None:
        train = with_noisy_targets(train, recipe.label_noise, seed=recipe.label_noise_seed)
    return Splits(train, validation, test)


def make_recipe(options: ModelOptions, *, model: str | None, data: str | None) -> Recipe:
    """Return the recipe for the typed options, with default model and data.

    All arguments are recorded in the recipe.
    """
    from landscape.io.checkpoint import Recipe

    _refuse_seeds_of_nothing(options, Recipe())
    return _complete(
        Recipe(
            model=options.model or model,
            model_args=parse_arguments(options.model_arg, "--model-arg"),
            data=options.data or data,
            data_args=parse_arguments(options.data_arg, "--data-arg"),
            data_dir=None if options.data_dir is None else str(options.data_dir.resolve()),
            loss=options.loss or "cross-entropy",
            label_noise=options.label_noise or 0.0,
            label_noise_seed=options.label_noise_seed or 0,
            validation=options.validation,
            validation_seed=options.validation_seed,
        )
    )


def recipe_from(options: ModelOptions, checkpoint: Checkpoint) -> Recipe:
    """Return the recipe for training on: what was typed, else recorded, else the default loss.

    Raises:
        LandscapeError: If there is no model or no data, or the checkpoint records code.
    """
    recipe = _merge(options, checkpoint)
    return dataclasses.replace(recipe, loss=recipe.loss or "cross-entropy")


def _complete(recipe: Recipe) -> Recipe:
    """Fill in the defaults of built-in models and data, and check the data folder."""
    from landscape.data import data_arguments, needs_folder
    from landscape.io.plugins import is_import_string
    from landscape.models import model_arguments

    if recipe.model and not is_import_string(recipe.model):
        recipe = dataclasses.replace(
            recipe, model_args=model_arguments(recipe.model, **recipe.model_args)
        )
    if recipe.data and not is_import_string(recipe.data):
        takes_folder = needs_folder(recipe.data)
        folder = {"data_dir": recipe.data_dir} if takes_folder and recipe.data_dir else {}
        arguments = data_arguments(recipe.data, **recipe.data_args, **folder)
        arguments.pop("data_dir", None)
        recipe = dataclasses.replace(
            recipe, data_args=arguments, data_dir=recipe.data_dir if takes_folder else None
        )
    return recipe


def _merge(options: ModelOptions, checkpoint: Checkpoint) -> Recipe:
    """Combine what was typed with what the checkpoint records; what was typed wins.

    A file never chooses code: an import string that it records is only printed.
    """
    from landscape.io.checkpoint import Recipe

    typed, recorded = options, checkpoint.recipe
    for option in ("model", "data", "loss"):
        _refuse_recorded_code(option, getattr(typed, option), getattr(recorded, option))
    if typed.model is None and recorded.model is None:
        raise CheckpointError(
            f"{checkpoint.path} does not say which model it belongs to.", hint=_model_hint()
        )
    if typed.data is None and recorded.data is None:
        raise CheckpointError(
            f"{checkpoint.path} does not say which data it was trained on.",
            hint="Pass --data NAME or --data file.py:function.",
        )
    model_args = parse_arguments(typed.model_arg, "--model-arg")
    data_args = parse_arguments(typed.data_arg, "--data-arg")
    is_same_model = typed.model in (None, recorded.model)
    is_same_data = typed.data in (None, recorded.data)
    folder = (
        str(typed.data_dir.resolve())
        if typed.data_dir
        else recorded.data_dir
        if is_same_data
        else None
    )
    of_data = recorded if is_same_data else Recipe()
    _refuse_seeds_of_nothing(typed, of_data)
    return _complete(
        dataclasses.replace(
            recorded,
            model=typed.model or recorded.model,
            model_args={**(recorded.model_args if is_same_model else {}), **model_args},
            data=typed.data or recorded.data,
            data_args={**(recorded.data_args if is_same_data else {}), **data_args},
            data_dir=folder,
            loss=typed.loss or recorded.loss,
            label_noise=of_data.label_noise if typed.label_noise is None else typed.label_noise,
            label_noise_seed=of_data.label_noise_seed
            if typed.label_noise_seed is None
            else typed.label_noise_seed,
            validation=of_data.validation if typed.validation is None else typed.validation,
            validation_seed=of_data.validation_seed
            if typed.validation_seed is None
            else typed.validation_seed,
        )
    )


def _refuse_seeds_of_nothing(typed: ModelOptions, recorded: Recipe) -> None:
    """Refuse a seed that changes nothing; beside a share that was typed, even 0, it may stand."""
    if (
        typed.label_noise_seed is not None
        and typed.label_noise is None
        and not recorded.label_noise
    ):
        raise InputError(
            f"--label-noise-seed {typed.label_noise_seed} is of wrong labels, and there are none.",
            hint="Pass --label-noise with their share too, or leave the seed out.",
        )
    if (
        typed.validation_seed is not None
        and typed.validation is None
        and recorded.validation is None
    ):
        raise InputError(
            f"--validation-seed {typed.validation_seed} is of held-out examples, and there are "
            "none.",
            hint="Pass --validation with their share too, or leave the seed out.",
        )


def _refuse_recorded_code(option: str, typed: str | None, recorded: str | None) -> None:
    from landscape.io.plugins import is_import_string

    if typed is None and recorded is not None and is_import_string(recorded):
        raise PluginError(
            f"the checkpoint was trained with --{option} {recorded}, and a file never chooses "
            "code.",
            hint=f"If you trust it, pass --{option} {recorded}.",
        )


def _model_hint() -> str:
    from landscape.models import MODELS

    return f"Pass --model with one of {', '.join(MODELS)}, or --model path/to/file.py:function."


def require_split(data: Mapping[str, Data | None], split: str) -> Data:
    """Return one split.

    Raises:
        DataError: If the data do not have it.
    """
    found = data[split]
    if found is None:
        others = [name for name, other in data.items() if other is not None]
        raise DataError(
            f"the data have no {split} split.", hint=f"Pass --split {others[0]}." if others else ""
        )
    return found


def _subset(data: Data, num_samples: int | None) -> Data:
    """Return a fixed class-balanced subset, or everything."""
    from landscape.data.subset import balanced_subset

    if num_samples is None:
        return data
    everything = data.examples
    return everything.take(balanced_subset(everything.targets, num_samples))
