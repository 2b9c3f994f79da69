"""The options of `landscape train` that choose the optimizer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


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
            help="Ascent steps N of an update, which costs N + 1 gradients; by default 1."
        ),
    ] = None
    radius: Annotated[
        str | None,
        typer.Option(
            help="Several ascent steps: path (of length rho, the default), sphere or ball."
        ),
    ] = None
    every: Annotated[
        int | None,
        typer.Option(help="Make the ascent in every k-th update only; by default 1.", metavar="K"),
    ] = None
    scope: Annotated[
        str | None,
        typer.Option(help="One ascent for each batch (the default), process or micro-batch."),
    ] = None
    decay_in_ascent: Annotated[
        bool, typer.Option("--decay-in-ascent", help="Let the ascent follow the weight decay too.")
    ] = False


def make_optimizer(options: OptimizerOptions, module: nn.Module, seed: int) -> Optimizer:
    """Build the optimizer for a module.

    Raises:
        InputError: If an option is out of range, or not one of the optimizer's.
    """
    from landscape.optim.factory import FAMILY, build_optimizer

    return build_optimizer(
        options.optim,
        module,
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
        base=options.base,
        rho=options.rho,
        p=options.p,
        adaptive=options.adaptive or None,
        eta=options.eta,
        ascent_steps=options.ascent_steps,
        radius=options.radius,
        every=options.every,
        scope=options.scope,
        decay_in_ascent=options.decay_in_ascent or None,
        seed=seed if options.optim in FAMILY else None,
    )
