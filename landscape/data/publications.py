"""What the built-in data sets are and where they are published.

Readers, messages, and the list and fetch commands use this description.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from landscape.data.published_files import (
    Publication,
    PublishedArchive,
    PublishedFile,
    PublishedTable,
    count_lines,
)
from landscape.errors import DataError, require_one_of

_CIFAR = "https://www.cs.toronto.edu/~kriz"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


def _tu_archive(name: str, *, edges: int, nodes: int, graphs: int) -> PublishedArchive:
    """Describe a TUDataset archive by its contents, since no md5 sums of it are published.

    Args:
        name: Name of the data set.
        edges: Number of directed edges.
        nodes: Number of nodes of all graphs.
        graphs: Number of graphs.
    """
    lines = {"A": edges, "graph_indicator": nodes, "graph_labels": graphs, "node_labels": nodes}
    return PublishedArchive(
        f"{name}.zip",
        f"https://www.chrsmrrs.com/graphkerneldatasets/{name}.zip",
        folder=name,
        member_lines={f"{name}_{part}.txt": number for part, number in lines.items()},
    )


_ALL = (
    Publication("digits", "The digits of scikit-learn", "1,797 grey images 8x8, 10 classes"),
    Publication(
        "cifar10",
        "CIFAR-10",
        "60,000 colour images 32x32, 10 classes",
        f"{_CIFAR}/cifar.html",
        (
            PublishedArchive(
                "cifar-10-python.tar.gz",
                f"{_CIFAR}/cifar-10-python.tar.gz",
                "c58f30108f718f92721af3b95e74349a",
                folder="cifar-10-batches-py",
                member_md5={
                    "data_batch_1": "c99cafc152244af753f735de768cd75f",
                    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                    "data_batch_4": "634d18415352ddfa80567beed471001a",
                    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
                    "test_batch": "40351d587109b95175f43aff81a1287e",
                },
            ),
        ),
    ),
    Publication(
        "cifar100",
        "CIFAR-100",
        "60,000 colour images 32x32, 100 classes",
        f"{_CIFAR}/cifar.html",
        (
            PublishedArchive(
                "cifar-100-python.tar.gz",
                f"{_CIFAR}/cifar-100-python.tar.gz",
                "eb9058c3a382ffc7106e4002c42a8d85",
                folder="cifar-100-python",
                member_md5={
                    "train": "16019d7e3df5f24257cddd939b257f8d",
                    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
                },
            ),
        ),
    ),
    Publication(
        "fashion-mnist",
        "Fashion-MNIST",
        "70,000 grey images 28x28, 10 classes",
        "https://github.com/zalandoresearch/fashion-mnist",
        tuple(PublishedFile(name, f"{_FASHION}/{name}", md5) for name, md5 in _FASHION_MD5.items()),
        package=("dataset-fashion-mnist (Debian)", Path("/usr/share/datasets/fashion-mnist")),
    ),
    Publication(
        "mitbih",
        "MIT-BIH, the ECG Heartbeat Categorization Dataset",
        "109,446 heartbeats of 187 samples, 5 classes",
        "https://www.kaggle.com/datasets/shayanfazeli/heartbeat",
        tuple(
            PublishedTable(f"mitbih_{split}.csv", part="sample500") for split in ("train", "test")
        ),
    ),
    Publication(
        "mutagenicity",
        "Mutagenicity",
        "4,337 molecules as graphs, 2 classes",
        "https://chrsmrrs.github.io/datasets/docs/datasets",
        (_tu_archive("Mutagenicity", edges=266_894, nodes=131_488, graphs=4_337),),
    ),
    Publication(
        "mutag",
        "MUTAG",
        "188 molecules as graphs, 2 classes",
        "https://chrsmrrs.github.io/datasets/docs/datasets",
        (_tu_archive("MUTAG", edges=7_442, nodes=3_371, graphs=188),),
    ),
)

PUBLICATIONS: dict[str, Publication] = {publication.name: publication for publication in _ALL}
"""Name to description, in the order of `landscape.data.DATASETS`."""


def find_publication(name: str) -> Publication:
    """Return the description of a built-in data set.

    Raises:
        InputError: If there is none of that name.
    """
    require_one_of("data", name, PUBLICATIONS)
    return PUBLICATIONS[name]


@dataclass(frozen=True)
class Availability:
    """Whether a data set can be read.

    Attributes:
        publication: The data set.
        state: "embedded", "found", "missing", or "unclear" where several files could be meant.
        folder: The folder that holds it; None if none does.
        missing: Names of the files that the folder lacks.
        remark: What is unclear.
        num_rows: Rows of all tables that were found, which may be parts of those that were
            published; None where the files can only be the published ones, or cannot be read.
    """

    publication: Publication
    state: str
    folder: Path | None = None
    missing: tuple[str, ...] = ()
    remark: str = ""
    num_rows: int | None = None


def look_for(publication: Publication, folder: Path) -> Availability:
    """Look for a data set's files in a folder, then where its system package installs them.

    Only tables are read, to count their rows.
    """
    if not publication.files:
        return Availability(publication, "embedded")
    for place in (folder, publication.package[1] if publication.package else folder):
        try:
            if not publication.missing(place):
                return Availability(publication, "found", place, num_rows=_rows(publication, place))
        except DataError as error:
            return Availability(publication, "unclear", place, remark=str(error))
    return Availability(publication, "missing", missing=tuple(publication.missing(folder)))


def _rows(publication: Publication, folder: Path) -> int | None:
    """Count the rows of a data set's tables in a folder."""
    if not all(isinstance(file, PublishedTable) for file in publication.files):
        return None
    try:
        return sum(count_lines(path) for path in publication.locate(str(folder)))
    except (EOFError, OSError, zlib.error, DataError):
        return None  # its reader says why
