"""Published files: their names and addresses, how to recognize them in a folder, their contents."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from landscape.errors import DataError, require


@dataclass(frozen=True)
class PublishedFile:
    """A file of a data set; one that ends in .gz may also stand unpacked.

    Attributes:
        name: As published.
        address: To download it from; empty where its page asks for a login.
        md5: Its published md5 sum; empty where none is known.
    """

    name: str
    address: str = ""
    md5: str = ""

    @property
    def forms(self) -> tuple[str, ...]:
        """Names that it may have in a folder, the one that is preferred first."""
        return tuple(dict.fromkeys((self.name.removesuffix(".gz"), self.name)))

    def find(self, folder: Path) -> Path | None:
        """Return what stands for it in a folder; None if nothing does.

        Raises:
            DataError: If several things could.
        """
        return next((folder / form for form in self.forms if (folder / form).is_file()), None)

    def why_not_found(self, folder: Path) -> str:
        """Say why nothing in a folder stands for it."""
        if not folder.is_dir():
            return f"{folder} is not a folder"
        return f"{folder} holds {'neither' if len(self.forms) > 1 else 'no such file'}"


@dataclass(frozen=True)
class PublishedArchive(PublishedFile):
    """An archive of one folder, which may also stand extracted.

    Attributes:
        folder: The folder inside.
        member_md5: Names of files in that folder to their published md5 sums.
        member_lines: Names of text files in that folder to their numbers of lines, where no md5 sum
            is known.
    """

    folder: str = ""
    member_md5: Mapping[str, str] = field(default_factory=dict)
    member_lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def forms(self) -> tuple[str, ...]:
        """The archive and the folder."""
        return self.name, f"{self.folder}/"

    def find(self, folder: Path) -> Path | None:
        """Return the extracted folder, else the archive, else `folder` if it is the extracted one.

        A folder is the extracted one if it holds all the files that are read, whatever it is
        called.
        """
        extracted, archive = folder / self.folder, folder / self.name
        if not self._missing(extracted):
            return extracted
        if archive.is_file():
            return archive
        return None if self._missing(folder) else folder

    def why_not_found(self, folder: Path) -> str:
        """Say why nothing in a folder stands for it, naming what an extracted folder lacks."""
        for place in (folder / self.folder, folder):
            if place.is_dir() and place.name == self.folder:
                return f"{place} lacks {', '.join(self._missing(place))}"
        return super().why_not_found(folder)

    def _missing(self, folder: Path) -> list[str]:
        return [
            name for name in (*self.member_md5, *self.member_lines) if not (folder / name).is_file()
        ]


@dataclass(frozen=True)
class PublishedTable(PublishedFile):
    """A .csv file, which may also stand gzipped, or as a part whose name starts like its own.

    Attributes:
        part: In the name of the part that is taken where there are several.
    """

    part: str = ""

    @property
    def forms(self) -> tuple[str, ...]:
        """The table, plain or gzipped."""
        return self.name, f"{self.name}.gz"

    def find(self, folder: Path) -> Path | None:
        """Return the table, else the only part, or the only part with `part` in its name."""
        whole = super().find(folder)
        stem = self.name.removesuffix(".csv")
        found = [
            path
            for path in sorted(folder.glob(f"{stem}*"))
            if path.name.endswith((".csv", ".csv.gz"))
        ]
        if whole is not None or not found:
            return whole
        named = [path for path in found if self.part in path.name] if len(found) > 1 else found
        if len(named) == 1:
            return named[0]
        raise DataError(
            f"{folder} must hold {self.name}, or one file whose name starts with {stem}, got "
            f"{', '.join(path.name for path in found)}.",
            hint=f"Leave one of them, or rename one to {self.name}, with .gz if it is gzipped.",
        )


@dataclass(frozen=True)
class Publication:
    """A data set and its files.

    Attributes:
        name: Built-in name of the data set.
        title: As its authors call it.
        summary: What it is, in a few words.
        page: Address of the page that offers the files; empty where there are none.
        files: What is needed; nothing where the data come with a dependency.
        package: A system package that installs the files too, and where.
    """

    name: str
    title: str
    summary: str
    page: str = ""
    files: tuple[PublishedFile, ...] = ()
    package: tuple[str, Path] | None = None

    @property
    def needs_login(self) -> bool:
        """Whether the page asks for one before it gives the files."""
        return not all(file.address for file in self.files)

    def locate(self, data_dir: str | None) -> list[Path]:
        """Return what stands for each of the files in a folder.

        Args:
            data_dir: The folder; None is where the system package installs them.

        Raises:
            DataError: If one is missing, or none was given and there is no such package.
        """
        require(
            data_dir is not None or self.package,
            f"{self.title} is read from a folder, and none was given.",
            self.how_to_get(),
            kind=DataError,
        )
        folder = self.package[1] if data_dir is None and self.package else Path(data_dir or "")
        return [self._find(file, folder) for file in self.files]

    def missing(self, folder: Path) -> list[str]:
        """Return the names of the files that nothing in a folder stands for."""
        return [file.name for file in self.files if file.find(folder) is None]

    def how_to_get(self) -> str:
        """Say what to download, from where, and what to do then."""
        from_page = f"ownload {_list(file.name for file in self.files)} from {self.page}"
        start = (
            f"D{from_page} (after a login)"
            if self.needs_login
            else f"Run {self.command()}, or d{from_page}"
        )
        package = f" Or install the package {self.package[0]}." if self.package else ""
        return f"{start} into a folder; pass that folder as `data_dir`.{package}"

    def get_again(self, path: Path) -> str:
        """Say how to replace a damaged file, or an extracted folder with one.

        A folder is never to be removed: it may be the user's own, with anything else in it.
        """
        if path.is_dir():
            names = _list(file.name for file in self.files)
            return (
                f"Run {self.command()} with another `data_dir`, or download {names} from "
                f"{self.page} into another folder; pass that folder as `data_dir`."
            )
        if self.needs_login:
            return f"Download {path.name} again from {self.page}."
        return (
            f"Remove {path} and run {self.command()}, or download {path.name} again from "
            f"{self.page}."
        )

    def command(self) -> str:
        """Return the command that downloads the files."""
        return f"landscape data fetch {self.name}"

    def _find(self, file: PublishedFile, folder: Path) -> Path:
        found = file.find(folder)
        if found is not None:
            return found
        needed = " or ".join(file.forms)
        raise DataError(
            f"{self.title} needs {needed}, but {file.why_not_found(folder)}.",
            hint=self.how_to_get(),
        )


MOST_BYTES = 1 << 29
"""Bytes of the largest file of a data set here, unpacked (MIT-BIH's, 4.1e8), and some more."""


class _Limited(io.RawIOBase):
    """A stream of a file that is given up where it is longer than any such file is.

    Args:
        file: To read from.
        path: Of the file, for the message.
        most: Bytes that it may have.
    """

    def __init__(self, file: BinaryIO, path: Path, most: int) -> None:
        self._file, self._path, self._most, self._left = file, path, most, most

    def readable(self) -> bool:
        """Whether it can be read: it can."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Read the next bytes.

        Raises:
            DataError: If they are too many.
        """
        content = self._file.read(min(len(buffer), self._left + 1))
        self._left -= len(content)
        require(
            self._left >= 0,
            f"{self._path} must have at most {self._most} bytes unpacked, it has more.",
            kind=DataError,
        )
        buffer[: len(content)] = content
        return len(content)


@contextmanager
def opened_within(path: Path, most: int = MOST_BYTES) -> Iterator[BinaryIO]:
    """Open a file, unpacked if its name ends in .gz, of which no more than a limit is read.

    Raises:
        DataError: While it is read, if it has more than `most` bytes.
    """
    with path.open("rb") as packed:
        is_gzip = path.suffix == ".gz"
        whole = cast("BinaryIO", gzip.GzipFile(fileobj=packed)) if is_gzip else packed
        yield cast("BinaryIO", io.BufferedReader(_Limited(whole, path, most)))


def count_lines(path: Path) -> int:
    """Return the number of lines of a text file, unpacked if its name ends in .gz."""
    with opened_within(path) as file:
        return sum(1 for _ in file)


def read_members(publication: Publication, data_dir: str | None) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the checked content of each file, in no particular order.

    An archive is read in one sequential pass and nothing is written to disk.

    Args:
        publication: A data set of one archive whose files have md5 sums.
        data_dir: A folder that holds the extracted folder or the archive, or the extracted folder
            itself; looked for in this order: folder, archive, itself.

    Raises:
        DataError: If nothing is there, a file is missing, or one has another md5 sum than
            published.
    """
    (archive,) = publication.files
    assert isinstance(archive, PublishedArchive)
    (source,) = publication.locate(data_dir)
    again = publication.get_again(source)
    is_folder = source.is_dir()
    missing = set(archive.member_md5)
    contents = _read_folder(source, archive) if is_folder else _read_archive(source, archive, again)
    for name, content in contents:
        # Against damage; what a harmful file could do is for its reader to prevent.
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        published = archive.member_md5[name]
        where = source / name if is_folder else f"{name} in {source}"
        require(
            found == published,
            f"{where} must have the md5 sum {published}, got {found}: it is damaged or incomplete.",
            again,
            kind=DataError,
        )
        missing.discard(name)
        yield name, content
    require(
        not missing,
        f"{source} must contain {', '.join(archive.member_md5)}; not found: "
        f"{', '.join(sorted(missing))}.",
        again,
        kind=DataError,
    )


def _read_folder(folder: Path, archive: PublishedArchive) -> Iterator[tuple[str, bytes]]:
    for name in archive.member_md5:
        path = folder / name
        try:
            with opened_within(path) as file:
                yield name, file.read()
        except OSError as exc:
            raise DataError(f"{path} cannot be read: {exc.strerror}.") from exc


def _read_archive(path: Path, archive: PublishedArchive, again: str) -> Iterator[tuple[str, bytes]]:
    wanted = {PurePosixPath(archive.folder, name): name for name in archive.member_md5}
    try:
        with opened_within(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
            for member in tar:
                name = wanted.get(PurePosixPath(member.name))
                file = tar.extractfile(member) if name is not None and member.isreg() else None
                if name is not None and file is not None:
                    yield name, file.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as exc:
        raise DataError(
            f"{path} must be a complete .tar.gz archive, but reading failed: {exc}.", hint=again
        ) from exc


def _list(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
