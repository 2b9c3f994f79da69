"""Write down where a result comes from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from landscape.results import Provenance

if TYPE_CHECKING:
    from landscape.problem import Problem


def make_provenance(problems: Mapping[str, Problem], settings: Mapping[str, Any]) -> Provenance:
    """Describe problems (split name -> problem) that share their weights.

    Args:
        problems: At least one.
        settings: What the user asked for.
    """
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
        versions={
            "landscape-toolkit": _own_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _own_version() -> str:
    try:
        return version("landscape-toolkit")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
