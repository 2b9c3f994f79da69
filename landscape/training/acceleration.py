"""What makes training's forward passes faster: bfloat16 and the compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from landscape.errors import InputError, first_line

PRECISIONS = {None: None, "bf16": torch.bfloat16}
"""Name -> dtype that operations which bear it are computed in; None for that of the weights."""


def check_precision(name: str | None) -> None:
    """Raise an InputError that lists the known names if `name` is not one of them."""
    if name not in PRECISIONS:
        raise InputError(f"mixed precision must be bf16 or nothing, got {name!r}.")


def autocast(precision: str | None, device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which operations are computed in that precision; weights stay as they are.

    Args:
        precision: Out of `PRECISIONS`.
        device: Where.
    """
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def compiled(module: nn.Module) -> Callable[..., Any]:
    """Return a function that calls the module compiled; the module itself stays as it is.

    Raises:
        InputError: From the function, if the compiler fails.
    """
    call = torch.compile(module)

    def forward(*inputs: Any, **named: Any) -> Any:
        with explained_compiler():
            return call(*inputs, **named)

    return forward


@contextmanager
def explained_compiler() -> Iterator[None]:
    """Turn a failure of the compiler, which may come as late as in a backward pass, into an InputError."""
    from torch._dynamo.exc import TorchDynamoException  # a second's import, for those who compile

    try:
        yield
    except TorchDynamoException as exc:
        raise InputError(
            f"the model cannot be compiled: {first_line(exc)}",
            hint="Leave --compile out, or install what torch.compile needs: a C++ compiler, on CUDA also Triton.",
        ) from exc
