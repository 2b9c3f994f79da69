"""Options that several commands share, as dataclasses that expand into a command's parameters."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from landscape.errors import require_in_limits

from . import console
from .parsing import parse_arguments

T = TypeVar("T")

CheckpointArgument = Annotated[
    Path,
    typer.Argument(
        help="Checkpoint: ours, or any state dict (.pt, .pth, .th, .safetensors).", metavar="CKPT"
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object to stdout and nothing else there.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print answers and errors only.")]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print how the numbers were computed and checked, too."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an output that exists.")]
_FILES, _OF_FILES = "Files and messages", ("resume", "force", "as_json", "verbose", "quiet")
"""Title of the panel of these options, where a command has everyday ones."""

LARGEST_SEED = 2**32 - 1
RENAMED = {
    "--bn": "--batchnorm",
    "--label": "--labels",
    "--measure": "--measures",
    "--probes": "--num-probes",
    "--rel-error": "--relative-error",
    "--tol": "--tolerance",
}
"""Options of version 0.1 -> their names now. The old names work in this release, with a notice."""
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of the random numbers.")
]


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """Which model, data and loss."""

    model: Annotated[
        str | None,
        typer.Option(help="Model: built-in name, pkg.module:function or path/to/file.py:function."),
    ] = None
    model_arg: Annotated[
        list[str] | None,
        typer.Option(help="Argument of the model, as key=value; repeatable.", metavar="KEY=VALUE"),
    ] = None
    data: Annotated[
        str | None, typer.Option(help="Data: built-in name or import string, as for --model.")
    ] = None
    data_arg: Annotated[
        list[str] | None,
        typer.Option(help="Argument of the data, as key=value; repeatable.", metavar="KEY=VALUE"),
    ] = None
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder that holds the data set's files, as published.", metavar="DIR"),
    ] = None
    loss: Annotated[
        str | None,
        typer.Option(
            help="Loss: cross-entropy (of scores and class numbers), mse (of numbers), bce (of "
            "logits and targets from 0 to 1), or the import string of loss(outputs, targets)."
        ),
    ] = None
    label_noise: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the training examples that get a wrong label; by default as the "
            "checkpoint records, else 0.",
            metavar="SHARE",
        ),
    ] = None
    label_noise_seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_SEED,
            help="Seed of the wrong labels; by default as the checkpoint records, else 0.",
            metavar="N",
        ),
    ] = None
    validation: Annotated[
        float | None,
        typer.Option(
            help="Share of the training examples, equal in each class, that is held out to choose "
            "settings; by default as the checkpoint records, else none.",
            metavar="SHARE",
        ),
    ] = None
    validation_seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_SEED,
            help="Seed of that choice; by default as the checkpoint records, else 0.",
            metavar="N",
        ),
    ] = None

    @property
    def code_files(self) -> list[Path]:
        """Files of Python that the options name, which are read."""
        named = [str(getattr(self, name)).rpartition(":")[0] for name in ("model", "data", "loss")]
        return [Path(file) for file in named if file]

    def choice(self, kind: Callable[..., T]) -> T:
        """Return the library's `ModelChoice` or `ProblemChoice` of these options."""
        return call_with_options(
            kind,
            vars(self),
            model_arg=parse_arguments(self.model_arg, "--model-arg"),
            data_arg=parse_arguments(self.data_arg, "--data-arg"),
        )


@dataclasses.dataclass(frozen=True)
class ProblemOptions(ModelOptions):
    """How a checkpoint is evaluated."""

    samples: Annotated[
        int | None,
        typer.Option(
            help="Evaluate on a fixed class-balanced subset of this many examples.", metavar="N"
        ),
    ] = None
    batchnorm: Annotated[
        str | None,
        typer.Option(
            help="Batch normalization: stored, batch or recalibrate (on the training data, or on "
            "--samples of them, at each point). By default recalibrate in surface along to: and "
            "pca:, stored elsewhere."
        ),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    dtype: Annotated[str, typer.Option(help="float32, float64, bfloat16 or on CUDA tf32.")] = (
        "float32"
    )
    batch_size: Annotated[
        int | None,
        typer.Option(help="Examples per forward pass; by default chosen for model and device."),
    ] = None
    state_key: Annotated[
        str | None,
        typer.Option(
            help="Name of the state dict to read from files that hold several, such as G or "
            "model.G, or the start of its tensors' names; for CKPT and all other checkpoints.",
            metavar="KEY",
        ),
    ] = None
    draws: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            help="Number of fixed draws of the model's and the loss's random numbers to average.",
            metavar="K",
        ),
    ] = 1


@dataclasses.dataclass(frozen=True)
class SplitOptions:
    """More options."""  # a title in the help, which options of single commands share

    split: Annotated[str, typer.Option(help="Data split: train or test.")] = "train"
    seed: Seed = 0


def call_with_options(function: Callable[..., T], options: Mapping[str, Any], **others: Any) -> T:
    """Call a function or a class with those options that are named as its parameters.

    Args:
        function: What is called; parameters that no option is named as keep their defaults.
        options: Name -> value.
        **others: Further arguments, which go before options of the same name.
    """
    shared = inspect.signature(function).parameters.keys() & options.keys()
    return function(**{name: options[name] for name in shared} | others)


class Command(TyperCommand):
    """A command that takes options by their former names too, and says so."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the new names in place of the old ones."""
        known = {name for parameter in self.params for name in parameter.opts}
        return super().parse_args(ctx, [_renamed(word, known) for word in args])


def _renamed(word: str, known: set[str]) -> str:
    """Return a word of the command line, an old name replaced by the new one."""
    option, equals, value = word.partition("=")
    new = RENAMED.get(option)
    if new not in known or option in known:
        return word
    typer.echo(f"{option} is now {new}; the old name works in this release only.", err=True)
    return f"{new}{equals}{value}"


def command(
    *options: type, everyday: Sequence[str] = (), has_details: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function: with --quiet, and with stdout for its answers alone.

    Each parameter that is annotated with an options class is replaced by the fields of the class;
    a command with such a class has --verbose, unless it has no details to print.

    Args:
        *options: Dataclasses whose fields are annotated as Typer parameters.
        everyday: Names of the options that the help shows first; the others come in named panels,
            those of model and data last. Without any, all are shown together.
        has_details: Whether it prints more with --verbose.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        owners = {name: hint for name, hint in hints.items() if hint in options}

        @functools.wraps(function)
        def wrapper(*, quiet: bool, verbose: bool = False, **values: Any) -> None:
            filled = {name: call_with_options(owner, values) for name, owner in owners.items()}
            require_in_limits(values)
            with console.answering(is_quiet=quiet, is_verbose=verbose):
                call_with_options(function, values | filled)

        parameters = [
            item
            for each in inspect.signature(function).parameters.values()
            for item in (
                _fields_of(owners[each.name])
                if each.name in owners
                else [each.replace(annotation=hints[each.name], kind=each.KEYWORD_ONLY)]
            )
        ]
        messages = (
            {"verbose": Verbose, "quiet": Quiet} if options and has_details else {"quiet": Quiet}
        )
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
            for name, kind in messages.items()
        ]
        if everyday:
            parameters = [_in_panel(each, everyday) for each in parameters]
        parameters.sort(key=functools.partial(_place, everyday=everyday))
        wrapper.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
        wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
        return wrapper

    return decorate


def _fields_of(owner: type) -> Iterator[inspect.Parameter]:
    """Yield the fields of an options class as parameters, which the help shows with their kind.

    That is the first line of the docstring of the class that defines the field.
    """
    hints = get_type_hints(owner, include_extras=True)
    for field in dataclasses.fields(owner):
        kind = next(base for base in owner.__mro__ if field.name in inspect.get_annotations(base))
        parameter = inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        yield _with_panel(parameter, _title(kind))


def _title(kind: type) -> str:
    return str(kind.__doc__).splitlines()[0].rstrip(".")


def _with_panel(parameter: inspect.Parameter, panel: str | None) -> inspect.Parameter:
    option = copy.copy(parameter.annotation.__metadata__[0])
    option.rich_help_panel = panel
    annotation = Annotated[parameter.annotation.__origin__, option]
    return parameter.replace(annotation=annotation)


def _panel_of(parameter: inspect.Parameter) -> str | None:
    """Return the panel of an option; empty for an argument, None for what has no panel."""
    (what, *_) = getattr(parameter.annotation, "__metadata__", (None,))
    is_option = isinstance(what, typer.models.OptionInfo)
    return what.rich_help_panel if is_option else ""


def _in_panel(parameter: inspect.Parameter, everyday: Sequence[str]) -> inspect.Parameter:
    """Put an option where the help shows it: everyday ones first, without a name."""
    panel = _panel_of(parameter)
    if panel == "":
        return parameter
    if parameter.name in everyday:
        return _with_panel(parameter, None)
    default = _FILES if parameter.name in _OF_FILES else "More options"
    return _with_panel(parameter, panel or default)


def _place(parameter: inspect.Parameter, everyday: Sequence[str]) -> tuple[int, int]:
    """Sort parameters: required ones, everyday options, others, those of model and data."""
    panel = _panel_of(parameter)
    if panel == "":
        return 0, parameter.default is not parameter.empty
    if parameter.name in everyday:
        return 1, everyday.index(parameter.name)
    last = [_FILES, *map(_title, (ModelOptions, *ModelOptions.__subclasses__()))]
    return (3, last.index(panel)) if panel in last else (2, 0)


def typed_options(options: Any, names: Iterable[str] | None = None) -> list[str]:
    """Return those options that are not at their defaults, as they are typed, without dashes.

    Args:
        options: An options class with values.
        names: Fields of it; None for all.
    """
    return [
        name.replace("_", "-")
        for name in names or vars(options)
        if getattr(options, name) != getattr(type(options), name)
    ]
