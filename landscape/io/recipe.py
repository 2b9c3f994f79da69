"""Which model, data and loss: what a user chose, else what a checkpoint records."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from landscape.data import data_arguments, needs_folder
from landscape.data.label_noise import with_noisy_targets
from landscape.data.subset import held_out
from landscape.errors import CheckpointError, DataError, InputError, PluginError, require
from landscape.io.checkpoint import Checkpoint, Recipe
from landscape.io.plugins import create_data, create_model, find_loss, is_import_string
from landscape.models import MODELS, model_arguments
from landscape.problem.batches import Data
from landscape.problem.passes import Loss
from landscape.problem.reading import as_data
from landscape.runtime.random_state import forked_random_state

DEFAULT_RECIPE = Recipe(model="mlp", data="digits", loss="cross-entropy")
"""What is trained if nothing else is chosen."""

_MODEL_HINT = (
    f"Pass `model` with one of {', '.join(MODELS)}, or `model='path/to/file.py:function'`."
)
_DATA_HINT = "Pass `data=NAME` or `data='file.py:function'`."


@dataclass(frozen=True)
class ModelChoice:
    """Model, data and loss that a user chose; None for what the checkpoint records.

    Attributes:
        model: Built-in name or import string, `pkg.module:function` or `file.py:function`.
        model_arg: Keyword arguments of the model, on top of those that are recorded for it.
        data: Built-in name or import string.
        data_arg: Keyword arguments of the data, on top of those that are recorded for them.
        data_dir: Folder that holds the data set's files, as published.
        loss: Built-in name or import string.
        label_noise: Share of the training examples that get a wrong label.
        label_noise_seed: Seed of the wrong labels.
        validation: Share of the training examples, of each class alike, that is held out.
        validation_seed: Seed of what is held out.
    """

    model: str | None = None
    model_arg: Mapping[str, Any] | None = None
    data: str | None = None
    data_arg: Mapping[str, Any] | None = None
    data_dir: str | os.PathLike[str] | None = None
    loss: str | None = None
    label_noise: float | None = None
    label_noise_seed: int | None = None
    validation: float | None = None
    validation_seed: int | None = None


@dataclass(frozen=True)
class Splits:
    """What a data set comes in; any of them may be missing.

    Attributes:
        train: Training set.
        validation: Examples that were held out of the published training set.
        test: Published test set.
    """

    train: Data | None
    validation: Data | None
    test: Data | None


def recorded_recipe(choice: ModelChoice, checkpoint: Checkpoint) -> Recipe:
    """Combine what was chosen with what a checkpoint records; what was chosen wins.

    A file never chooses code: an import string that it records is only named in the error.

    Raises:
        LandscapeError: If there is no model or no data, or the checkpoint records code.
    """
    recorded = checkpoint.recipe
    for option in ("model", "data", "loss"):
        code = getattr(recorded, option)
        require(
            getattr(choice, option) is not None or not is_import_string(code or ""),
            f"the checkpoint was trained with `{option}={code!r}`, and a file never chooses code.",
            hint=f"If you trust it, pass `{option}={code!r}`.",
            kind=PluginError,
        )
    for known, what, hint in (
        (choice.model or recorded.model, "model it belongs to", _MODEL_HINT),
        (choice.data or recorded.data, "data it was trained on", _DATA_HINT),
    ):
        require(
            known is not None,
            f"{checkpoint.path} does not say which {what}.",
            hint,
            kind=CheckpointError,
        )
    return _merged(choice, recorded)


def training_recipe(choice: ModelChoice, checkpoint: Checkpoint | None = None) -> Recipe:
    """Return what is trained on what: chosen, else recorded by a checkpoint, else the default.

    Raises:
        LandscapeError: As `recorded_recipe`.
    """
    if checkpoint is None:
        return _merged(choice, DEFAULT_RECIPE)
    recipe = recorded_recipe(choice, checkpoint)
    return replace(recipe, loss=recipe.loss or DEFAULT_RECIPE.loss)


def _merged(choice: ModelChoice, recorded: Recipe) -> Recipe:
    """Return a recipe with the arguments that a choice of another model or data leaves out."""
    model = recorded if choice.model in (None, recorded.model) else Recipe()
    data = recorded if choice.data in (None, recorded.data) else Recipe()
    _refuse_seeds_of_nothing(choice, data)
    chosen = {
        name: getattr(data, name) if getattr(choice, name) is None else getattr(choice, name)
        for name in ("label_noise", "label_noise_seed", "validation", "validation_seed")
    }
    return _complete(
        Recipe(
            model=choice.model or recorded.model,
            model_args={**model.model_args, **(choice.model_arg or {})},
            data=choice.data or recorded.data,
            data_args={**data.data_args, **(choice.data_arg or {})},
            data_dir=str(Path(choice.data_dir).resolve()) if choice.data_dir else data.data_dir,
            loss=choice.loss or recorded.loss,
            **chosen,
        )
    )


def _refuse_seeds_of_nothing(choice: ModelChoice, recorded: Recipe) -> None:
    """Refuse a seed that changes nothing; next to a share that was chosen, even 0, it may stand."""
    for share, what in (("label_noise", "wrong labels"), ("validation", "held-out examples")):
        seed = getattr(choice, f"{share}_seed")
        is_used = getattr(choice, share) is not None or getattr(recorded, share)
        require(
            seed is None or is_used,
            f"`{share}_seed={seed}` is the seed of {what}, and there are none.",
            hint=f"Pass `{share}` with their share too, or leave the seed out.",
        )


def _complete(recipe: Recipe) -> Recipe:
    """Fill in the defaults of built-in models and data, and check the data folder."""
    if recipe.model and not is_import_string(recipe.model):
        recipe = replace(recipe, model_args=model_arguments(recipe.model, **recipe.model_args))
    if recipe.data and not is_import_string(recipe.data):
        takes_folder = needs_folder(recipe.data)
        folder = {"data_dir": recipe.data_dir} if takes_folder and recipe.data_dir else {}
        arguments = data_arguments(recipe.data, **recipe.data_args, **folder)
        arguments.pop("data_dir", None)
        recipe = replace(
            recipe, data_args=arguments, data_dir=recipe.data_dir if takes_folder else None
        )
    return recipe


def seeded_model(recipe: Recipe, seed: int) -> nn.Module:
    """Build the recipe's model with weights drawn by `seed`, outside the global generator."""
    if recipe.model is None:
        raise InputError("a model is needed.", hint=_MODEL_HINT)
    with forked_random_state(seed=seed):
        return create_model(recipe.model, recipe.model_args)


def loss_if_chosen(recipe: Recipe) -> Loss | None:
    """Return the recipe's loss, or None for the cross-entropy, which training has of its own."""
    return find_loss(recipe.loss) if recipe.loss not in (None, "", "cross-entropy") else None


def load_splits(recipe: Recipe) -> Splits:
    """Return the data, which are read once.

    Label noise is applied only to the examples that remain in the training set after the validation
    examples are held out. A data function that draws from torch's global generator gives the same
    data every time.
    """
    if recipe.data is None:
        raise InputError("data are needed.", hint=_DATA_HINT)
    folder = {} if recipe.data_dir is None else {"data_dir": recipe.data_dir}
    with forked_random_state(seed=0):
        train, test = create_data(recipe.data, {**recipe.data_args, **folder})
        train, test = (None if split is None else as_data(split) for split in (train, test))
    validation = None
    if train is not None and recipe.validation is not None:
        train, validation = held_out(train, recipe.validation, seed=recipe.validation_seed or 0)
    if train is not None:
        train = with_noisy_targets(train, recipe.label_noise, seed=recipe.label_noise_seed)
    return Splits(train, validation, test)


def require_split(splits: Splits, name: str) -> Data:
    """Return one split.

    Raises:
        DataError: If the data do not have it.
    """
    found = getattr(splits, name)
    if found is None:
        other = "test" if name == "train" else "train"
        hint = "" if getattr(splits, other) is None else f"Pass `split={other!r}`."
        raise DataError(f"the data have no {name} split.", hint=hint)
    return found
