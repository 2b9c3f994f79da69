"""Built-in data sets by name; one a file, imported when one is built."""

from __future__ import annotations

from typing import Any

from landscape.registry import Entry, Registry

DATASETS: dict[str, Entry] = {
    "digits": "landscape.data.digits:digits",
    "cifar10": ("landscape.data.cifar:cifar", "cifar10"),
    "cifar100": ("landscape.data.cifar:cifar", "cifar100"),
    "fashion-mnist": "landscape.data.fashion_mnist:fashion_mnist",
    "mitbih": "landscape.data.mitbih:mitbih",
    "mutagenicity": ("landscape.data.tu_dataset:tu_dataset", "mutagenicity"),
    "mutag": ("landscape.data.tu_dataset:tu_dataset", "mutag"),
}
"""Name to import string, with the name in a family."""

_REGISTRY = Registry("data", DATASETS)


def build_data(name: str, **kwargs: Any) -> tuple[Any, Any]:
    """Read a data set into memory.

    Args:
        name: One of `DATASETS`.
        **kwargs: The data set's own arguments, as `data_arguments` names them.

    Returns:
        Training and test examples, each (inputs, targets) on the CPU: images, normalized float32
        (N, C, H, W), or series (N, T, C), and int64 (N,); or lists of graphs.

    Raises:
        InputError: If the name or an argument is not accepted.
        DataError: If a file is missing or damaged.
    """
    return _REGISTRY.build(name, kwargs)


def data_arguments(name: str, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments of `build_data` with the defaults filled in: what a checkpoint records.

    Raises:
        InputError: If the name or an argument is not accepted.
    """
    return _REGISTRY.arguments(name, kwargs)


def needs_folder(name: str) -> bool:
    """Return whether the data set is read from a folder, its argument `data_dir`.

    Raises:
        InputError: If the name is unknown.
    """
    return _REGISTRY.accepts(name, "data_dir")
