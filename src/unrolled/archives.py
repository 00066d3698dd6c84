"""Files inside tar and zip archives, read where they lie: nothing is unpacked, so no name can lead anywhere.

A member is named as if its archive were a folder: `data.tar.bz2/datasets/a.fasta`, whose own name may be absolute.
"""

import fnmatch
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import UnrolledError, some

DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError),
    *(RuntimeError, NotImplementedError),  # zipfile's words for a password, and for a compression it does not know
)


def members(archive: Path, pattern: str) -> list[Path]:
    """The plain files of an archive whose names match a shell pattern, sorted; hidden ones (`._a`) are none.

    Raises UnrolledError for what is no archive, for a damaged one, and where nothing matches.
    """
    try:
        names = sorted(name for name, _ in _contents(archive))
    except DAMAGE as error:
        raise UnrolledError(
            f"{archive}: no tar or zip archive, or a damaged one ({error}). Fetch it again."
        ) from None
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern) and not Path(name).name.startswith(".")]
    if not found:
        shown = ", ".join(some(names))
        raise UnrolledError(f"{archive}: nothing in it matches `members: {pattern}`. It has: {shown}")
    return [archive / name for name in found]


def is_archive(path: Path) -> bool:
    """Whether a file is a tar or zip archive."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def opened(path: Path) -> BinaryIO:
    """A file, or a member of an archive, for reading bytes.

    Raises OSError as `open` does, and UnrolledError for a member that is damaged or locked by a password.
    """
    archive = next((parent for parent in path.parents if parent.is_file()), None)
    if archive is None:
        return path.open("rb")
    name = path.relative_to(archive).as_posix()
    try:
        content = _walk(archive, archive.stat().st_mtime_ns).find(name)
    except DAMAGE as error:
        raise UnrolledError(f"{archive}: {name} in it cannot be read ({error}). Fetch it again.") from None
    if content is None:
        raise FileNotFoundError(2, "No such member of the archive", str(path))
    return io.BytesIO(content)


class _Walk:
    """An archive read from front to back: members asked for in its own order cost one pass in all, not one each."""

    def __init__(self, archive: Path):
        self.archive, self.left = archive, _contents(archive)
        self.name, self.content = "", b""  # the last one found

    def find(self, name: str) -> bytes | None:
        """What a member holds, None if there is none of this name; the archive is gone through once at most."""
        if name == self.name:
            return self.content
        return self._ahead(name) or self._again(name)

    def _again(self, name: str) -> bytes | None:
        self.left = _contents(self.archive)
        return self._ahead(name)

    def _ahead(self, name: str) -> bytes | None:
        for found, content in self.left:
            if found == name:
                self.name, self.content = name, content()
                return self.content
        return None


@lru_cache(maxsize=1)
def _walk(archive: Path, modified: int) -> _Walk:
    """The walk through the archive that was asked for last; `modified` tells a file that was replaced."""
    return _Walk(archive)


def _contents(archive: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names of the plain files, without the slash that would make them absolute, and what reads each."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename.lstrip("/"), partial(zipped.read, info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and (stream := tar.extractfile(member)):
                yield member.name.removeprefix("./").lstrip("/"), stream.read
