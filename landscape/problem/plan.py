"""How a computation is carried out: device, dtype, batch size and what makes it repeatable."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.errors import InputError, first_line, require, require_one_of
from landscape.problem.batches import Data, GraphData, TensorData
from landscape.runtime.random_state import forked_random_state

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.float32,
    "tf32": torch.float32,
}
"""Name -> dtype of the weights; bfloat16 means float32 weights under autocast, tf32 float32 weights
whose products tensor cores round to 10 bits of mantissa."""

_NOT_DETERMINISTIC = "does not have a deterministic implementation"
"""What torch says of an operation."""

_AMPERE = (8, 0)  # compute capability of the first devices with TF32

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Plan:
    """What decides the last bits of a result: under one plan the same weights give the same number.

    Attributes:
        device: Type of the device.
        dtype: `float32`, `float64`, `bfloat16` or `tf32`.
        batch_size: Examples a forward pass.
        memory_format: `contiguous` or `channels_last`.
        num_threads: CPU threads.
        deterministic: `yes`, or the reason why not, such as what an operation warned of.
        points_per_pass: Points whose weights go through a forward pass together.
        is_compiled: Whether `torch.compile` made the forward pass.
        is_default_size: Whether nobody asked for the batch size: then products may join batches.
        draws: Number of fixed draws of random numbers whose mean is measured.
    """

    device: str
    dtype: str
    batch_size: int
    memory_format: str
    num_threads: int
    deterministic: str
    points_per_pass: int = 1
    is_compiled: bool = False
    is_default_size: bool = False
    draws: int = 1

    @property
    def deviations(self) -> tuple[str, ...]:
        """Operations that torch does not run in float32 (or float64), one point at a time.

        The result is empty if there are none.
        """
        return tuple(
            name
            for name, applies in (
                (self.dtype, self.dtype in ("bfloat16", "tf32")),
                (f"{self.points_per_pass} points per pass", self.points_per_pass > 1),
                ("compiled", self.is_compiled),
            )
            if applies
        )

    def plain(self) -> Plan:
        """Return the plan without its `deviations`."""
        dtype = "float64" if self.dtype == "float64" else "float32"
        return replace(self, dtype=dtype, points_per_pass=1, is_compiled=False)

    def autocast(self) -> Any:
        """Return a context in which torch computes in the plan's dtype."""
        return autocast(self.device, is_on=self.dtype == "bfloat16")

    def warned(self, messages: Sequence[str]) -> Plan:
        """Return the plan after torch has warned, or not, of operations whose bits may vary."""
        is_told = not messages or self.deterministic != "yes"
        return self if is_told else replace(self, deterministic=f"no: {messages[0]}")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def autocast(device: str, *, is_on: bool) -> torch.autocast:
    """Return a context for operations in bfloat16, or in the dtype of their inputs.

    It holds inside the caller's autocast too. Weights are cast anew at each use: torch drops the
    casts that it keeps only where the outermost autocast ends, weights may change before.
    """
    return torch.autocast(device, torch.bfloat16, enabled=is_on, cache_enabled=False)


def make_plan(
    *,
    device: torch.device,
    dtype: str,
    batch_size: int | None,
    is_channels_last: bool,
    is_compiled: bool = False,
) -> Plan:
    """Choose how to evaluate a model, one point at a time.

    Convolutional networks run faster channels-last, on a CPU in batches that stay in its cache.
    """
    default_size = 64 if is_channels_last and device.type == "cpu" else 1024
    reasons = {"mps": "no: MPS does not promise it"}
    if "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
        reasons["cuda"] = "no: CUBLAS_WORKSPACE_CONFIG was not set before torch started"
    return Plan(
        device=device.type,
        dtype=dtype,
        batch_size=batch_size or default_size,
        memory_format="channels_last" if is_channels_last else "contiguous",
        num_threads=torch.get_num_threads(),
        deterministic=reasons.get(device.type, "yes"),
        is_compiled=is_compiled,
        is_default_size=batch_size is None,
    )


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is CUDA, then MPS, then the CPU.

    Raises:
        InputError: If there is no such device here.
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind = name.split(":")[0]
    require(kind in available, f"device must be one of {', '.join(DEVICES)}, got {name!r}.")
    require(available[kind], f"device {name} is not available here.", hint="Pass `device='auto'`.")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as exc:
        raise InputError(f"device {name} does not exist.", hint="Pass `device='auto'`.") from exc


def require_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of the weights for the precision called `name`.

    Raises:
        InputError: If it is unknown, or the device lacks it.
    """
    require_one_of("dtype", name, DTYPES)
    require(
        name != "float64" or device.type != "mps",
        "float64 does not exist on MPS.",
        hint="Pass `device='cpu'` or `dtype='float32'`.",
    )
    is_recent = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _AMPERE
    require(
        name != "tf32" or is_recent,
        f"tf32 needs a CUDA device with tensor cores that have it, got {device.type}.",
        hint="Pass `dtype='float32'`, or bfloat16.",
    )
    return DTYPES[name]


@contextmanager
def repeatable(device: torch.device, dtype: str = "float32") -> Iterator[list[str]]:
    """Make the enclosed code depend only on its inputs, and leave every global setting as it was.

    The random state is the same at every entry and restored at exit; on CUDA, deterministic
    algorithms are used, and full float32 precision unless `dtype` is `tf32`. The caller's autocast
    does not count.

    Yields:
        What torch warns of inside, where it has no deterministic algorithm.

    Raises:
        InputError: If torch cannot say in which precision it multiplies matrices.
    """
    with forked_random_state([device], seed=0), deterministic(device, dtype) as messages:
        yield messages


@contextmanager
def deterministic(device: torch.device, dtype: str = "float32") -> Iterator[list[str]]:
    """Do what `repeatable` does for what draws no random numbers."""
    with autocast(device.type, is_on=False):
        yield from _deterministic(device, allow_tf32=dtype == "tf32")


def _deterministic(device: torch.device, *, allow_tf32: bool) -> Iterator[list[str]]:
    if device.type != "cuda":
        yield []
        return
    was_on = torch.are_deterministic_algorithms_enabled()
    was_warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    was_filling = memory.fill_uninitialized_memory
    with (
        torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled,  # the user's own
            benchmark=False,
            deterministic=True,
            allow_tf32=allow_tf32,
        ),
        _matmul_tf32(allow_tf32),
        _noted(_NOT_DETERMINISTIC) as messages,
    ):
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False  # one kernel less for every new tensor
        try:
            yield messages
        finally:
            torch.use_deterministic_algorithms(was_on, warn_only=was_warn_only)
            memory.fill_uninitialized_memory = was_filling


@contextmanager
def _noted(part: str) -> Iterator[list[str]]:
    """Note the first lines of warnings that have a part in them, and show the others as usual."""
    messages: list[str] = []
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(message: Warning | str, *args: Any, **named: Any) -> None:
            if part in str(message):
                messages.append(str(message).splitlines()[0])
            else:
                show(message, *args, **named)

        warnings.filterwarnings("always", f".*{part}")
        warnings.showwarning = note
        yield messages


@contextmanager
def _matmul_tf32(is_allowed: bool) -> Iterator[None]:
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError as exc:
        raise InputError(
            f"torch must say in which precision it multiplies float32 matrices: {first_line(exc)}",
            hint="Set it by torch.set_float32_matmul_precision, not by fp32_precision.",
        ) from exc
    if (before != "highest") != is_allowed:
        torch.backends.cuda.matmul.allow_tf32 = is_allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def twice_differentiable(module: nn.Module | None = None) -> Iterator[None]:
    """Use kernels that have a second derivative.

    Those of fused attention do not have one. Neither do cuDNN's recurrent layers, whose gradient
    exists in training mode only.

    Args:
        module: What is differentiated; without cuDNN if it has recurrent layers.
    """
    had_fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    parts = () if module is None else module.modules()
    is_recurrent = any(isinstance(part, nn.RNNBase) for part in parts)
    without_cudnn = torch.backends.cudnn.flags(enabled=False) if is_recurrent else nullcontext()
    try:
        with sdpa_kernel(SDPBackend.MATH), without_cudnn:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(had_fastpath)


def compiled(module: nn.Module, **options: Any) -> Callable[..., Any]:
    """Return a function that calls the module compiled; the module itself stays as it is.

    Args:
        module: What to compile.
        **options: Of `torch.compile`.

    Raises:
        InputError: From the function, if the compiler fails.
    """
    call = torch.compile(module, **options)

    def forward(*inputs: Any, **named: Any) -> Any:
        with explained_compiler():
            return call(*inputs, **named)

    return forward


@contextmanager
def explained_compiler() -> Iterator[None]:
    """Turn compiler failures, which may come as late as in a backward pass, into InputError."""
    from torch._dynamo.exc import TorchDynamoException  # a second's import, for those who compile

    try:
        yield
    except TorchDynamoException as exc:
        raise InputError(
            f"the model cannot be compiled: {first_line(exc)}",
            hint="Leave `compile` out, or install what torch.compile needs: a C++ compiler, on "
            "CUDA also Triton.",
        ) from exc


def prefers_channels_last(model: nn.Module, inputs: Any) -> bool:
    """Whether a model has 2-D convolutions and runs on channels-last images at all.

    A model that flattens with `view` raises on such activations, so two examples are tried, in
    evaluation mode, without a gradient.

    Args:
        model: Left as it is.
        inputs: Those of any batch, on the model's device.
    """
    if not _is_images(inputs) or not any(isinstance(part, nn.Conv2d) for part in model.modules()):
        return False
    with kept_modes(model), torch.no_grad():
        model.eval()
        try:
            model(to_channels_last(inputs[:2]))
        except Exception:  # the user's own model; if it never runs, its first real batch says why
            return False
    return True


@contextmanager
def kept_modes(module: nn.Module) -> Iterator[None]:
    """Put every part of the module back into its training or evaluation mode at the end."""
    modes = {part: part.training for part in module.modules()}
    try:
        yield
    finally:
        for part, is_training in modes.items():
            part.training = is_training


def to_channels_last(inputs: Any) -> Any:
    """Return images (N, C, H, W) in the channels-last layout, anything else as it is."""
    if not _is_images(inputs):
        return inputs
    # Not `contiguous`: it takes images of one channel for channels-last already, and convolutions
    # do not.
    return torch.empty_like(inputs, memory_format=torch.channels_last).copy_(inputs)


def laid_out(data: Data, plan: Plan) -> Data:
    """Return the data in the plan's memory format."""
    if plan.memory_format != "channels_last" or isinstance(data, GraphData):
        return data
    if isinstance(data, TensorData):
        return replace(data, inputs=to_channels_last(data.inputs))
    return replace(data, items=tuple((to_channels_last(x), y) for x, y in data.items))


def _is_images(inputs: Any) -> bool:
    return isinstance(inputs, Tensor) and inputs.ndim == 4
