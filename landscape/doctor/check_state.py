"""What the tensors of a checkpoint file say, before there is a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from landscape.doctor.findings import Finding, Severity, in_percent
from landscape.errors import listed
from landscape.io.checkpoint import PREFIXES, strip_prefixes


def check_finite(state: Mapping[str, Any]) -> Finding:
    """Count values that are NaN or infinite."""
    tensors = {
        name: value
        for name, value in state.items()
        if isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_meta or value.is_quantized)
    }
    bad = {name: int((~torch.isfinite(value)).sum()) for name, value in tensors.items()}
    names = [name for name, count in bad.items() if count]
    size, count = sum(value.numel() for value in tensors.values()), sum(bad.values())
    values = {"num_values": size, "num_not_finite": count, "share_not_finite": count / max(size, 1)}
    if not names:
        return Finding(
            "values",
            Severity.OK,
            f"All {size} values in {len(tensors)} tensors are finite.",
            values=values,
        )
    return Finding(
        "values",
        Severity.PROBLEM,
        f"{count} of {size} values ({in_percent(count / size)}) are NaN or infinite, in "
        f"{len(names)} of {len(tensors)} tensors: {listed(names)}.",
        "Take an earlier snapshot (training with `save_every` keeps them), or train again with a "
        "smaller `lr`.",
        values,
    )


def check_names(state: Mapping[str, Any]) -> Finding:
    """Look for names that are there twice, or that begin as wrappers of models write them."""
    bare = Counter(_bare(name) for name in state)
    twice = [name for name, count in bare.items() if count > 1]
    prefixed = [name for name in state if _bare(name) != name]
    values = {"num_names": len(state), "num_prefixed": len(prefixed), "num_duplicated": len(twice)}
    if twice:
        return Finding(
            "names",
            Severity.PROBLEM,
            f"{len(twice)} of {len(bare)} names come twice, with and without {_prefix(prefixed)}: "
            f"{listed(twice)}.",
            "Save one of them: torch.save(model.module.state_dict(), path), or without .module.",
            values,
        )
    if not prefixed:
        return Finding(
            "names",
            Severity.OK,
            f"None of {len(state)} names comes twice or has a prefix.",
            values=values,
        )
    message = f"{len(prefixed)} of {len(state)} names begin with {_prefix(prefixed)}"
    if len(prefixed) == len(state):
        return Finding(
            "names",
            Severity.NOTE,
            f"{message}, which is left out where the model has none.",
            "",
            values,
        )
    return Finding(
        "names",
        Severity.WARNING,
        f"{message}, the others do not: "
        f"{listed([name for name in state if name not in prefixed])}.",
        "Save all tensors from one model, wrapped or not: torch.save(model.state_dict(), path).",
        values,
    )


def _bare(name: str) -> str:
    """Return a name without the prefixes that it has."""
    return _bare(name.removeprefix(_prefix([name]))) if name.startswith(PREFIXES) else name


def _prefix(prefixed: list[str]) -> str:
    return next(prefix for prefix in PREFIXES if prefixed[0].startswith(prefix))


def check_tied(model: nn.Module, state: Mapping[str, Any]) -> Finding:
    """Look whether tensors that are one in the model are one in the file."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    tied = [names for names in groups.values() if len(names) > 1]
    bare = strip_prefixes(dict(state))
    read = [[bare[name] for name in names if name in bare] for names in tied]
    apart = [
        names
        for names, tensors in zip(tied, read, strict=True)
        if not all(torch.equal(tensor, tensors[0]) for tensor in tensors[1:])
    ]
    values = {"num_tied": len(tied), "num_different": len(apart)}
    if not tied:
        return Finding(
            "tied weights", Severity.OK, "No tensor of the model has two names.", values=values
        )
    if not apart:
        return Finding(
            "tied weights",
            Severity.NOTE,
            f"{len(tied)} tensors have several names and count once: "
            f"{listed([' = '.join(names) for names in tied])}.",
            values=values,
        )
    return Finding(
        "tied weights",
        Severity.PROBLEM,
        f"{len(apart)} tensors that are one in the model differ in the file: "
        f"{listed([' = '.join(n) for n in apart])}; "
        "the last one read counts.",
        "Pass `model` with the model that wrote the file, or save it again after tying them.",
        values,
    )
