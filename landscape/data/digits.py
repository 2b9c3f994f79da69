"""The handwritten digits that come with scikit-learn: no file to download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from landscape.data.normalization import Examples, Normalization, as_examples, choose_normalization
from landscape.errors import InputError

_NORMALIZATIONS = {
    # Over all pixels of the 1797 images, divided by 16.
    "digits": Normalization((0.3053,), (0.3760,)),
    "none": Normalization((0.0,), (1.0,)),
}

_WHITE = 16  # largest pixel, which counts the dark points in a 4x4 cell of the scan


def digits(*, normalization: str = "digits") -> tuple[Examples, Examples]:
    """Read the 1797 digits, 8x8 pixels, ten classes.

    The split is class-stratified and the same everywhere: of the examples ordered by class, and
    within a class as stored, every fifth one is a test example.

    Args:
        normalization: "digits" (the data set's own mean and standard deviation) or "none" (pixels
            in [0, 1]).

    Returns:
        1437 training and 360 test examples, inputs (N, 1, 8, 8).

    Raises:
        InputError: If the normalization is unknown, or scikit-learn or its file is missing.

    Source:
        Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI, test set;
        `sklearn.datasets.load_digits`, whose file is read without a second's import.
    """
    chosen = choose_normalization(normalization, _NORMALIZATIONS)
    rows = np.loadtxt(_file(), delimiter=",", dtype=np.uint8)
    images, labels = rows[:, :-1].reshape(-1, 1, 8, 8), rows[:, -1].astype(np.int64)
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[np.argsort(labels, kind="stable")[::5]] = True
    train = as_examples(images[~is_test], labels[~is_test], chosen, white=_WHITE)
    return train, as_examples(images[is_test], labels[is_test], chosen, white=_WHITE)


def _file() -> Path:
    """Return where scikit-learn has the digits: pixels and label of one in each line."""
    library = find_spec("sklearn")
    path = Path(str(library and library.origin)).parent / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise InputError(
            "the digits come with scikit-learn, whose datasets/data/digits.csv.gz was not found.",
            hint="Run `pip install scikit-learn`.",
        )
    return path
