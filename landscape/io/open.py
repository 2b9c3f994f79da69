"""Open a checkpoint: from a file to the problem that it was trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from landscape.data.subset import fixed_subset
from landscape.errors import InputError
from landscape.io.checkpoint import Recipe, load_checkpoint, load_weights
from landscape.io.plugins import find_loss, is_import_string
from landscape.io.recipe import (
    ModelChoice,
    Splits,
    load_splits,
    recorded_recipe,
    require_split,
    seeded_model,
)
from landscape.io.wrapped import unwrapped
from landscape.problem.batches import Data
from landscape.problem.criteria import loss_name
from landscape.problem.forward import BatchNorm
from landscape.problem.passes import Loss
from landscape.problem.problem import Problem

SPLITS = ("train", "test")


@dataclass(frozen=True)
class ProblemChoice(ModelChoice):
    """How a checkpoint is evaluated, and on what.

    Attributes:
        samples: Number of examples of a fixed class-balanced subset; None for all examples.
        batchnorm: `stored`, `batch` or `recalibrate`, see `Problem`, which estimates statistics on
            `samples` training examples; `auto` for `recalibrate` where there are running statistics
            and training data, else `stored`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        dtype: `float32`, `float64`, `bfloat16`, or `tf32` on CUDA.
        batch_size: Examples per forward pass; None for a size chosen for model and device.
        state_key: Key or prefix of one of several state dicts in the file; None for the only one.
        draws: Number of fixed draws of the random numbers of model and loss that are averaged.
    """

    samples: int | None = None
    batchnorm: str = "stored"
    device: str = "auto"
    dtype: str = "float32"
    batch_size: int | None = None
    state_key: str | None = None
    draws: int = 1


@dataclass(frozen=True)
class OpenedProblems:
    """The problems of a checkpoint, and what to record about them.

    Attributes:
        problems: Split name -> problem.
        settings: Checkpoint, recipe, number of samples and, where statistics are recalibrated, the
            number of training examples that these are estimated on, to be recorded with results.
        data: Split name -> all examples, including those that a subset leaves out.
    """

    problems: Mapping[str, Problem]
    settings: Mapping[str, Any]
    data: Mapping[str, Data]


def open_problem(
    checkpoint: str | os.PathLike[str],
    *,
    split: str = "train",
    samples: int | None = None,
    model: str | None = None,
    model_arg: Mapping[str, Any] | None = None,
    data: str | None = None,
    data_arg: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    loss: str | Loss | None = None,
    label_noise: float | None = None,
    label_noise_seed: int | None = None,
    validation: float | None = None,
    validation_seed: int | None = None,
    batchnorm: str = "stored",
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int | None = None,
    state_key: str | None = None,
    draws: int = 1,
    points_per_pass: int | None = 1,
    compile: bool = False,
) -> Problem:
    """Open a checkpoint as the problem that it was trained on.

    Model, data and loss are those that the checkpoint records, unless they are given. A file never
    chooses code: an import string that a checkpoint records has to be given again.

        problem = landscape.open_problem("runs/sam/checkpoint.pt", split="test", samples=1000)

    Args:
        checkpoint: Ours, or any state dict (.pt, .pth, .th, .safetensors).
        split: `train` or `test`.
        samples: Number of examples of a fixed class-balanced subset; None for all examples.
        model: Built-in name or import string, `pkg.module:function` or `file.py:function`.
        model_arg: Keyword arguments of the model.
        data: Built-in name or import string.
        data_arg: Keyword arguments of the data.
        data_dir: Folder that holds the data set's files, as published.
        loss: Built-in name, import string or function; None for the recorded one, else the
            cross-entropy.
        label_noise: Share of the training examples that get a wrong label; None for the recorded
            share.
        label_noise_seed: Seed of the wrong labels; None for the recorded one.
        validation: Share of the training examples that is held out; None for the recorded share.
        validation_seed: Seed of what is held out; None for the recorded one.
        batchnorm: `stored`, `batch` or `recalibrate`, see `Problem`, which estimates statistics on
            `samples` training examples; `auto` for `recalibrate` where there are running statistics
            and training data, else `stored`.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        dtype: `float32`, `float64`, `bfloat16`, or `tf32` on CUDA.
        batch_size: Examples per forward pass; None for a size chosen for model and device.
        state_key: Key of one of several state dicts in the file, such as `G` or `model.G`, or what
            the names of its tensors begin with; None for the only one.
        draws: Number of fixed draws of the random numbers of model and loss that are averaged.
        points_per_pass: Points per forward pass; None for the number that is fastest here.
        compile: Whether forward passes are compiled (torch.compile).

    Raises:
        LandscapeError: If the checkpoint, the model or the data are missing or do not fit.
    """
    choice = ProblemChoice(
        model=model,
        model_arg=model_arg,
        data=data,
        data_arg=data_arg,
        data_dir=data_dir,
        loss=loss if isinstance(loss, str) else None,
        label_noise=label_noise,
        label_noise_seed=label_noise_seed,
        validation=validation,
        validation_seed=validation_seed,
        samples=samples,
        batchnorm=batchnorm,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        state_key=state_key,
        draws=draws,
    )
    opened = open_problems(
        checkpoint,
        choice,
        split_names(split),
        loss=None if isinstance(loss, str) else loss,
        points_per_pass=points_per_pass,
        compile=compile,
    )
    return opened.problems[split]


def open_problems(
    checkpoint: str | os.PathLike[str],
    choice: ProblemChoice,
    splits: Sequence[str],
    *,
    also: Sequence[str] = (),
    prepare: Callable[[Data], Data] | None = None,
    loss: Loss | None = None,
    points_per_pass: int | None = 1,
    compile: bool = False,
    load: Callable[[Recipe], Splits] = load_splits,
) -> OpenedProblems:
    """Load a checkpoint and the data once, and make a problem for each split.

    Args:
        checkpoint: Checkpoint file.
        choice: How it is evaluated, and on what.
        splits: Splits to open, as subsets if the choice has a number of samples.
        also: Splits to open in addition where the data have them, with all examples.
        prepare: Function that changes the train split before anything is done with it.
        loss: Loss in place of the chosen or recorded one.
        points_per_pass: Points per forward pass; None for what is fastest for the first split, for
            all of them.
        compile: Whether forward passes are compiled.
        load: Function that returns the data of a recipe.

    Raises:
        LandscapeError: If any part is missing or does not fit.
    """
    loaded = load_checkpoint(Path(checkpoint), choice.state_key)
    recipe = recorded_recipe(choice, loaded)
    model = seeded_model(recipe, seed=0)
    load_weights(model, loaded)
    model = unwrapped(model)
    data = load(recipe)
    if data.train is not None and prepare is not None:
        data = replace(data, train=prepare(data.train))
    code = recipe.loss if not loss and is_import_string(recipe.loss or "") else None
    loss = loss or (find_loss(recipe.loss) if recipe.loss else None)
    wholes = {split: require_split(data, split) for split in splits}
    parts = {split: fixed_subset(whole, choice.samples) for split, whole in wholes.items()}
    extra = {split: getattr(data, split) for split in also if split not in wholes}
    parts |= {split: whole for split, whole in extra.items() if whole is not None}
    batchnorm, has_statistics = choice.batchnorm, BatchNorm(model, "stored").has_statistics
    if batchnorm == "auto":
        is_possible = data.train is not None and has_statistics
        batchnorm = "recalibrate" if is_possible else "stored"
    calibration = None
    if batchnorm == "recalibrate" and has_statistics:
        calibration = _calibration(data.train, choice.samples)
    problems = {}
    for split, part in parts.items():
        problems[split] = Problem(
            model,
            part,
            loss,
            device=choice.device,
            dtype=choice.dtype,
            batchnorm=batchnorm,
            batch_size=choice.batch_size,
            draws=choice.draws,
            calibration=calibration,
            points_per_pass=points_per_pass,
            compile=compile,
            num_population=wholes.get(split, part).num_examples,
            is_stratified=True,
        )
        points_per_pass = problems[split].plan.points_per_pass
        if code:
            passes = problems[split].passes
            passes.loss_name = passes.loss_name.replace(loss_name(passes.given_criterion), code)
    settings = {"checkpoint": str(checkpoint), **asdict(recipe), "samples": choice.samples}
    if choice.state_key is not None:
        settings["state_key"] = choice.state_key
    if calibration is not None:
        settings["calibration"] = calibration.num_examples
    return OpenedProblems(problems, settings, wholes)


def _calibration(train: Data | None, samples: int | None) -> Data | None:
    """Return the training examples on which `recalibrate` estimates statistics, if there are any.

    These are as many as are measured: a subset, the same every time, where one was asked for.
    """
    if train is None or samples is None:
        return train
    return fixed_subset(train, min(samples, train.num_examples))


def split_names(split: str, *, can_be_both: bool = False) -> tuple[str, ...]:
    """Return the splits that `train`, `test` or, where it can be, `both` means.

    Raises:
        InputError: If it is none of them.
    """
    if split in SPLITS:
        return (split,)
    if split == "both" and can_be_both:
        return SPLITS
    names = "train, test or both" if can_be_both else "train or test"
    raise InputError(f"split must be {names}, got {split!r}.")
