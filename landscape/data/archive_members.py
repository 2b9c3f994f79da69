"""Files of a published .tar.gz archive, read from it or its extracted folder, with md5 checks."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from landscape.data.published_files import Publication, PublishedArchive
from landscape.errors import DataError


def read_members(publication: Publication, data_dir: str | None) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the checked content of each file, in no particular order.

    An archive is read in one sequential pass and nothing is written to disk.

    Args:
        publication: Of one archive whose files have md5 sums.
        data_dir: A folder that holds the extracted folder or the archive, or the extracted folder
            itself; looked for in this order: folder, archive, itself.

    Raises:
        DataError: If nothing is there, a file is missing, or one has another md5 sum than
            published.
    """
    archive = _only_archive(publication)
    (source,) = publication.locate(data_dir)
    again = publication.get_again(source)
    is_folder = source.is_dir()
    missing = set(archive.member_md5)
    for name, content in (
        _read_folder(source, archive) if is_folder else _read_archive(source, archive, again)
    ):
        where = source / name if is_folder else f"{name} in {source}"
        _check_md5(where, content, archive.member_md5[name], again)
        missing.discard(name)
        yield name, content
    if missing:
        raise DataError(
            f"{source} must contain {', '.join(archive.member_md5)}; not found: "
            f"{', '.join(sorted(missing))}.",
            hint=again,
        )


def _only_archive(publication: Publication) -> PublishedArchive:
    (file,) = publication.files
    assert isinstance(file, PublishedArchive)
    return file


def _read_folder(folder: Path, archive: PublishedArchive) -> Iterator[tuple[str, bytes]]:
    for name in archive.member_md5:
        path = folder / name
        try:
            yield name, path.read_bytes()
        except OSError as exc:
            raise DataError(f"{path} cannot be read: {exc.strerror}.") from exc


def _read_archive(path: Path, archive: PublishedArchive, again: str) -> Iterator[tuple[str, bytes]]:
    wanted = {PurePosixPath(archive.folder, name): name for name in archive.member_md5}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in tar:
                name = wanted.get(PurePosixPath(member.name))
                file = tar.extractfile(member) if name is not None and member.isreg() else None
                if name is not None and file is not None:
                    yield name, file.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as exc:
        raise DataError(
            f"{path} must be a complete .tar.gz archive, but reading failed: {exc}.", hint=again
        ) from exc


def _check_md5(where: Path | str, content: bytes, published: str, again: str) -> None:
    # Against damage; what a harmful file could do is for its reader to prevent.
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != published:
        raise DataError(
            f"{where} must have the md5 sum {published}, got {found}: it is damaged or incomplete.",
            hint=again,
        )
