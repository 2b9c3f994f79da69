"""What a report knows of one checkpoint."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import StoreError
from landscape.io.checkpoint_checks import READ_ERRORS
from landscape.io.schema import build_record
from landscape.problem.sampling_error import Sample
from landscape.results.history import History
from landscape.results.provenance import Provenance
from landscape.results.sharpness import Measure, Sharpness
from landscape.results.spectrum import Spectrum
from landscape.results.surface import Surface
from landscape.runtime.files import writing
from landscape.runtime.seal import check_seal, seal
from landscape.sharpness import Measured
from landscape.sharpness.rises import Rises

RESULTS = ("sharpness", "spectrum", "line", "plane")
"""What is measured of each checkpoint, in this order."""


@dataclass(frozen=True)
class Detail:
    """Sharpness with what its differences to another checkpoint are computed from.

    Attributes:
        measured: The measures, by directions and examples.
        train_error: Standard error of the training loss, of a subset; None on all examples.
        test_losses: Of each test example, (n,); empty where there are none.
        test_hash: SHA-256 of the test set; empty where there is none.
    """

    measured: Measured
    train_error: float | None = None
    test_losses: np.ndarray = field(default_factory=lambda: np.empty(0))
    test_hash: str = ""


@dataclass(frozen=True)
class Entry:
    """One checkpoint of a report; a result that is not there was not reached.

    Attributes:
        name: As tables and figures call it.
        path: Of the checkpoint.
        detail: Loss, accuracy and sharpness.
        spectrum: Of the Hessian.
        line: The loss along random lines.
        plane: The loss on a random plane.
        history: Of its training; None where there is no such file.
        files: Name of a result -> its file.
    """

    name: str
    path: Path
    detail: Detail | None = None
    spectrum: Spectrum | None = None
    line: Surface | None = None
    plane: Surface | None = None
    history: History | None = None
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def sharpness(self) -> Sharpness | None:
        """The measures."""
        return None if self.detail is None else self.detail.measured.result

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The single measures of sharpness; empty where they were not reached."""
        return () if self.sharpness is None else self.sharpness.measures

    @property
    def results(self) -> dict[str, Sharpness | Spectrum | Surface]:
        """Name -> result, of those that are there."""
        found = {name: getattr(self, name) for name in RESULTS}
        return {name: result for name, result in found.items() if result is not None}

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the results that are not there, or not whole."""
        found = self.results
        return tuple(name for name in RESULTS if name not in found or not _is_whole(found[name]))

    @property
    def provenance(self) -> Provenance | None:
        """Of the first result that is there."""
        return next((result.provenance for result in self.results.values()), None)

    def with_result(self, name: str, result: Any) -> Entry:
        """Return the entry with one of `RESULTS`; sharpness comes as a `Detail`."""
        return replace(self, **{"detail" if name == "sharpness" else name: result})


def _is_whole(result: Sharpness | Spectrum | Surface) -> bool:
    if isinstance(result, Surface):
        return result.is_complete
    return not isinstance(result, Spectrum) or (
        result.trace is not None and result.density is not None
    )


@dataclass(frozen=True)
class StoredDetail:
    """What is not in a file of sharpness of a detail, as the file of numpy next to it has it.

    Attributes:
        test_losses: As of `Detail`, as are `test_hash` and `train_error`.
        directions: Number of a measure -> its rises by directions.
        units: Number of a measure -> its rises by examples, if these are a sample.
        sizes: As of `Sample`, as are `share` and `strata`.
    """

    test_losses: np.ndarray
    test_hash: str
    directions: dict[str, np.ndarray]
    units: dict[str, np.ndarray] = field(default_factory=dict)
    train_error: float | None = None
    sizes: np.ndarray | None = None
    share: float | None = None
    strata: np.ndarray | None = None

    @classmethod
    def read(cls, path: Path) -> StoredDetail:
        """Read a file that `write_detail` wrote; raises what torch and zip raise on others."""
        check_seal(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        values: dict[str, Any] = {name: {} for name in _BY_MEASURE}
        for name, array in arrays.items():
            found = re.fullmatch(rf"({'|'.join(_BY_MEASURE)})(\d+)", name)
            (values[found[1]] if found else values)[found[2] if found else name] = (
                array if found or array.ndim else array.item()
            )
        return build_record(cls, values)

    @property
    def sample(self) -> Sample | None:
        """How the units were drawn, if they are a sample."""
        if self.sizes is None or self.share is None:
            return None
        return Sample(self.sizes, self.share, self.strata)


_BY_MEASURE = ("directions", "units")


def write_detail(path: Path, detail: Detail) -> None:
    """Write what is not in a file of sharpness, as arrays of numpy."""
    sample, measures = detail.measured.sample, detail.measured.result.measures
    arrays = {
        "test_losses": detail.test_losses,
        "test_hash": detail.test_hash,
        "train_error": detail.train_error,
        **({} if sample is None else vars(sample)),
    }
    for number, measure in enumerate(measures):
        rises = detail.measured.rises[measure.key]
        arrays[f"directions{number}"] = rises.directions
        arrays[f"units{number}"] = None if sample is None else rises.units
    known = {name: np.array(values) for name, values in arrays.items() if values is not None}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **known)
    with writing(path) as beside:
        beside.write_bytes(content.getbuffer())
        seal(beside)


def read_detail(path: Path, result: Sharpness) -> Detail | None:
    """Read what `write_detail` wrote next to `result`; None where it is not as it must be."""
    try:
        stored = StoredDetail.read(path)
        rises = {
            each.key: Rises(
                each.loss,
                each.sharpness,
                np.empty(0) if stored.sample is None else stored.units[str(number)],
                directions=stored.directions[str(number)],
            )
            for number, each in enumerate(result.measures)
        }
    except (*READ_ERRORS, StoreError, zipfile.BadZipFile, zlib.error):
        return None
    return Detail(
        Measured(result, rises, stored.sample),
        stored.train_error,
        stored.test_losses,
        stored.test_hash,
    )
