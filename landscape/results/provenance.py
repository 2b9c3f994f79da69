"""Where a result comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypeVar

from landscape.results.display import Record

T = TypeVar("T")


@dataclass(frozen=True)
class Provenance(Record):
    """Where a result comes from: enough to tell two results apart and to repeat one.

    Attributes:
        weights_hash: SHA-256 of the weights at the origin, in the dtype of the computation.
        data_hash: Split name -> SHA-256 of the inputs and targets, in evaluation order.
        num_examples: Split name -> number of examples.
        num_parameters: P.
        batchnorm: `stored`, `batch` or `recalibrate`.
        dtype: Dtype of the evaluation; sums are accumulated in float64 in any case.
        plan: The execution plan, under which the numbers repeat bit for bit.
        settings: What the user asked for: names, arguments, seeds, the command line.
        versions: Package -> version.
        created: UTC time, ISO 8601.
        draws_error: Split name -> standard error of the loss at the weights over the draws of
            random numbers that are averaged; empty for one draw.
        loss_function: Name of the loss function; empty if not recorded.
    """

    weights_hash: str = ""
    data_hash: dict[str, str] = field(default_factory=dict)
    num_examples: dict[str, int] = field(default_factory=dict)
    num_parameters: int = 0
    batchnorm: str = "stored"
    dtype: str = "float32"
    plan: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    draws_error: dict[str, float] = field(default_factory=dict)
    loss_function: str = ""

    def named_loss(self) -> list[tuple[str, str]]:
        """Return the loss function as an entry of a summary, where it was recorded."""
        return [("loss function", self.loss_function)] if self.loss_function else []


class Evaluated(Protocol):
    """What `make_provenance` asks of a `landscape.Problem`; this row does not import torch.

    Attributes:
        batchnorm: As in `Provenance`.
        data_hash: SHA-256 of its data.
        weights_hash: SHA-256 of its weights.
        num_examples: Number of its examples.
        spec: Has the number of weights as `size`.
        plan: Has `dtype`, `draws` and `as_dict()`.
        passes: Has the name of the loss function as `loss_name`.
        evaluate: Returns an object with `draws_error`, at its own weights.
    """

    batchnorm: Any
    data_hash: Any
    weights_hash: Any
    num_examples: Any
    spec: Any
    plan: Any
    passes: Any
    evaluate: Any


def by_split(problems: Mapping[str, T] | T) -> Mapping[str, T]:
    """Return problems by the name of their split, where a single one is that of `train`."""
    return problems if isinstance(problems, Mapping) else {"train": problems}


def make_provenance(
    problems: Mapping[str, Evaluated] | Evaluated, settings: Mapping[str, Any]
) -> Provenance:
    """Describe problems that share their weights.

    Args:
        problems: Split name -> problem, at least one; or a problem on the training set.
        settings: What the user asked for.
    """
    problems = by_split(problems)
    first = next(iter(problems.values()))
    return Provenance(
        weights_hash=first.weights_hash,
        data_hash={split: problem.data_hash for split, problem in problems.items()},
        num_examples={split: problem.num_examples for split, problem in problems.items()},
        num_parameters=first.spec.size,
        batchnorm=first.batchnorm,
        dtype=first.plan.dtype,
        plan=first.plan.as_dict(),
        settings=dict(settings),
        versions={name: _version(name) for name in ("landscape-toolkit", "torch", "numpy")},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        draws_error={
            split: problem.evaluate().draws_error
            for split, problem in problems.items()
            if problem.plan.draws > 1
        },
        loss_function=first.passes.loss_name,
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
