"""The options of `landscape train`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ..options import LARGEST_SEED


@dataclasses.dataclass(frozen=True)
class OptimizerOptions:
    """Which optimizer."""

    optim: Annotated[
        str,
        typer.Option(
            help="Optimizer: sgd, adam, adamw; sam, asam, rand-sam, gsam or friendly-sam, around "
            "--base."
        ),
    ] = "sgd"
    base: Annotated[
        str | None,
        typer.Option(help="Optimizer that the SAM family wraps: sgd (the default), adam or adamw."),
    ] = None
    lr: Annotated[
        float | None,
        typer.Option(help="Learning rate; by default 0.05 for sgd, 0.002 for adam and adamw."),
    ] = None
    momentum: Annotated[float | None, typer.Option(help="Momentum of sgd; by default 0.9.")] = None
    nesterov: Annotated[
        bool, typer.Option("--nesterov", help="Use Nesterov's momentum in sgd.")
    ] = False
    weight_decay: Annotated[
        float | None,
        typer.Option(help="Weight decay; by default 5e-4 for sgd, 0 for adam, 0.01 for adamw."),
    ] = None
    rho: Annotated[
        float | None,
        typer.Option(help="Radius of SAM's ball in weight space; by default 0.05, for asam 0.5."),
    ] = None
    p: Annotated[
        float | None, typer.Option(help="Norm of the ball, from 1 to inf; by default 2.")
    ] = None
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Scale the ball by |w| + eta, as asam does.")
    ] = False
    eta: Annotated[
        float | None, typer.Option(help="Smallest scale of the adaptive ball; by default 0.01.")
    ] = None
    ascent_steps: Annotated[
        int | None,
        typer.Option(
            help="Number N of ascent steps per update, which then costs N + 1 gradients; by "
            "default 1."
        ),
    ] = None
    radius: Annotated[
        str | None,
        typer.Option(
            help="What keeps several ascent steps in the ball: path (rho is their length "
            "together, the default), sphere or ball."
        ),
    ] = None
    every: Annotated[
        int | None,
        typer.Option(help="Make the ascent in every Kth update only; by default 1.", metavar="K"),
    ] = None
    scope: Annotated[
        str | None,
        typer.Option(help="What shares one ascent: batch (the default), process or micro-batch."),
    ] = None
    decay_in_ascent: Annotated[
        bool, typer.Option("--decay-in-ascent", help="Let the ascent follow the weight decay too.")
    ] = False


@dataclasses.dataclass(frozen=True)
class TrainOptions(OptimizerOptions):
    """How to train."""

    schedule: Annotated[
        str,
        typer.Option(
            help="Schedule of the learning rate: constant, cosine, step (x 0.1, twice) or step-0.2 "
            "(x 0.2, three times)."
        ),
    ] = "cosine"
    rho_schedule: Annotated[
        str, typer.Option(help="Schedule of SAM's radius, by the names of --schedule.")
    ] = "constant"
    last_fraction: Annotated[
        float,
        typer.Option(
            help="Share of the updates that are SAM's, counted from the end; the others are plain "
            "updates of --base."
        ),
    ] = 1.0
    epochs: Annotated[int, typer.Option(help="Number of epochs.")] = 15
    batch_size: Annotated[int, typer.Option(help="Examples per step.")] = 128
    micro_batch: Annotated[
        int | None,
        typer.Option(
            help="Largest number of examples per pass; a step adds up its passes' gradients.",
            metavar="N",
        ),
    ] = None
    label_smoothing: Annotated[
        float, typer.Option(help="Label smoothing in training, in [0, 1).")
    ] = 0.0
    samples: Annotated[
        int | None,
        typer.Option(
            help="Train on a fixed class-balanced subset of this many examples, the one that the "
            "other commands take too; the test set stays whole.",
            metavar="N",
        ),
    ] = None
    augmentation: Annotated[
        str,
        typer.Option(
            help="Augmentation of images: none, or crop, flip and cutout joined by dashes."
        ),
    ] = "none"
    ema: Annotated[
        float | None,
        typer.Option(
            help="Decay of a moving average of the weights, kept in checkpoint-ema.pt.",
            metavar="DECAY",
        ),
    ] = None
    asc_samples: Annotated[
        int | None,
        typer.Option(
            help="Measure L^Asc - L on N training examples after each epoch; not by default.",
            metavar="N",
        ),
    ] = None
    amp: Annotated[
        str | None,
        typer.Option(
            help="bf16: training's passes in bfloat16; weights and evaluation stay as they are."
        ),
    ] = None
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile training's passes (torch.compile).")
    ] = False
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=LARGEST_SEED, help="Seed of the random numbers; by default 0."),
    ] = None
