"""Files of a published archive, read from the archive or its extracted folder and checked by md5."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from landscape.errors import DataError


@dataclass(frozen=True)
class PublishedFiles:
    """Where a data set is published, and how to recognize its files.

    Attributes:
        title: The data set's name, for messages.
        page: Address of the page that offers the archive.
        archive: File name of the .tar.gz archive.
        folder: The folder inside the archive.
        md5: File name in that folder to published md5 sum.
    """

    title: str
    page: str
    archive: str
    folder: str
    md5: Mapping[str, str]


def read_published(data_dir: str | None, published: PublishedFiles) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the checked content of each file, in no particular order.

    An archive is read in one sequential pass and nothing is written to disk.

    Args:
        data_dir: A folder that holds the extracted folder or the archive, or the extracted folder itself;
            looked for in this order: folder, itself, archive.
        published: What to read.

    Raises:
        DataError: If nothing is there, a file is missing, or one has another md5 sum than published.
    """
    source = _locate(data_dir, published)
    is_folder = source.is_dir()
    contents = _read_folder(source, published) if is_folder else _read_archive(source, published)
    missing = set(published.md5)
    for name, content in contents:
        _check_md5(source / name if is_folder else f"{name} in {source}", content, published, name)
        missing.discard(name)
        yield name, content
    if missing:
        raise DataError(
            f"{source} must contain {', '.join(published.md5)}; not found: {', '.join(sorted(missing))}.",
            hint=_download_again(published),
        )


def _locate(data_dir: str | None, published: PublishedFiles) -> Path:
    where = f"download {published.archive} from {published.page}, put it into a folder"
    if data_dir is None:
        raise DataError(
            f"{published.title} is read from a folder, and none was given.",
            hint=f"If it is not on this machine, {where}; then pass --data-dir FOLDER.",
        )
    root = Path(data_dir)
    if (root / published.folder).is_dir():
        return root / published.folder
    if any((root / name).is_file() for name in published.md5):
        return root
    if (root / published.archive).is_file():
        return root / published.archive
    found = "holds neither" if root.is_dir() else "is not a folder"
    raise DataError(
        f"{published.title} needs {published.archive} or {published.folder}/, but {data_dir} {found}.",
        hint=f"To get it, {where} and pass that folder as --data-dir.",
    )


def _read_folder(folder: Path, published: PublishedFiles) -> Iterator[tuple[str, bytes]]:
    for name in published.md5:
        path = folder / name
        if path.is_file():
            try:
                yield name, path.read_bytes()
            except OSError as exc:
                raise DataError(f"{path} cannot be read: {exc.strerror}.") from exc


def _read_archive(archive: Path, published: PublishedFiles) -> Iterator[tuple[str, bytes]]:
    wanted = {PurePosixPath(published.folder, name): name for name in published.md5}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = wanted.get(PurePosixPath(member.name))
                file = tar.extractfile(member) if name is not None and member.isreg() else None
                if name is not None and file is not None:
                    yield name, file.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as exc:
        raise DataError(
            f"{archive} must be a complete .tar.gz archive, but reading it failed: {exc}.",
            hint=_download_again(published),
        ) from exc


def _check_md5(where: Path | str, content: bytes, published: PublishedFiles, name: str) -> None:
    # Against damage; what a harmful file could do is for its reader to prevent.
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != published.md5[name]:
        raise DataError(
            f"{where} must have the md5 sum {published.md5[name]}, got {found}: it is damaged or incomplete.",
            hint=_download_again(published),
        )


def _download_again(published: PublishedFiles) -> str:
    return f"Download {published.archive} again from {published.page}."
