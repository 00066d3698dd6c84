"""Files inside tar and zip archives, read where they lie: nothing is unpacked, so no name can lead anywhere.

A member is named as if its archive were a folder: `data.tar.bz2/datasets/a.fasta`.
"""

import fnmatch
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import UnrolledError

DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError)


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
        shown = ", ".join(names[:5])
        raise UnrolledError(f"{archive}: nothing in it matches `members: {pattern}`. It has: {shown} ...")
    return [archive / name for name in found]


def opened(path: Path) -> BinaryIO:
    """A file, or a member of an archive, for reading bytes. Raises OSError as `open` does."""
    archive = next((parent for parent in path.parents if parent.is_file()), None)
    if archive is None:
        return path.open("rb")
    name = path.relative_to(archive).as_posix()
    for found, content in _contents(archive):
        if found == name:
            return io.BytesIO(content())
    raise FileNotFoundError(2, "No such member of the archive", str(path))


def _contents(archive: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names of the plain files, and what reads each."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, partial(zipped.read, info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and (stream := tar.extractfile(member)):
                yield member.name.removeprefix("./"), stream.read
