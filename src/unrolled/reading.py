"""Raw text files -> the rows of a CSV or the records of a FASTA, each with the line it stands on.

Files are UTF-8, plain, gzipped or inside an archive, or come through a pipe; "-" is the standard input. What
the values mean is not known here; a file that cannot be read is an UnrolledError that names the file and the line.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from unrolled.archives import opened
from unrolled.errors import UnrolledError, refuse

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # what no name or letter is, and a terminal may obey
Block = tuple[int, str, list[tuple[int, str]]]  # line of the header, header, [(line, letters)]


def csv_rows(
    path: Path, wanted: list[str], delimiter: str | None = None, *, quoted: bool = True
) -> Iterator[tuple[str, list[str]]]:
    """("file:line", stripped values of the `wanted` columns) of each row; the line is the row's first.

    Without a `delimiter`, a file is split at tabs if its name says .tsv, else at commas. `quoted`: whether a field
    in quotes may hold delimiters and line ends; if not, a quote is a letter like any other.
    """
    rows = _fields(path, delimiter, quoted)
    _, header = next(rows, (1, []))
    indices = _indices(header, wanted, path)
    for line, row in rows:
        where = f"{path}:{line}"
        if len(row) == len(header):
            yield where, [_clean(row[index], where) for index in indices]
        elif any(row):
            raise UnrolledError(f"{where}: {len(row)} fields, the header has {len(header)}: mend the row")


def _fields(path: Path, delimiter: str | None, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """The first line and the stripped fields of each row, that of the header among them."""
    line = 0
    # Room for a chromosome in one field, but not for all of a large file behind a stray quote.
    csv.field_size_limit(2**28)
    with _text(path) as stream:
        split = delimiter or _delimiter(path)
        reader = csv.reader(
            stream, delimiter=split, strict=True, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        )
        try:
            for row in reader:
                first, line = line + 1, reader.line_num
                yield first, [field.strip() for field in row]
        except csv.Error as error:
            raise UnrolledError(f"{path}:{line + 1}: {error}. Is a quote in this row never closed?") from None


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file, counted from 1."""
    with _text(path) as stream:
        yield from enumerate(stream, start=1)


def csv_columns(path: Path, delimiter: str | None = None) -> list[str]:
    """Names in the header line of a CSV or TSV file."""
    return next(_fields(path, delimiter, quoted=True), (1, []))[1]


def plain_rows(path: Path, delimiter: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """("file:line", stripped fields) of each row of a file without a header line or quotes; blank rows are skipped.

    A blank as `delimiter` means any number of blanks or tabs.
    """
    between = delimiter or _delimiter(path)
    with _text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                fields = line.split(None if between == " " else between)
                yield f"{path}:{number}", [field.strip() for field in fields]


def _delimiter(path: Path) -> str:
    return "\t" if ".tsv" in path.suffixes else ","


def _indices(header: list[str], wanted: list[str], path: Path) -> list[int]:
    if not any(header):
        raise UnrolledError(f"{path}:1: the file is empty or has no header line. Fetch it again.")
    absent = (name for name in wanted if name not in header)
    remedy = f"The file has: {', '.join(header)}. Correct the card's column names, or its `delimiter`."
    refuse(f"{path}:1: missing columns", absent, remedy)
    twice = (name for name in wanted if header.count(name) > 1)
    refuse(f"{path}:1: columns that occur twice", twice, "Rename one of each.")
    return [header.index(name) for name in wanted]


def fasta_blocks(path: Path) -> Iterator[Block]:
    """The records of a FASTA file, headers without ">"; blank lines are skipped."""
    block: Block | None = None
    with _text(path) as stream:
        for number, line in enumerate(stream, start=1):
            text = line.strip()
            if text.startswith(">"):
                if block:
                    yield block
                block = number, _clean(text[1:].strip(), f"{path}:{number}"), []
            elif text and block:
                block[2].append((number, text))
            elif text:
                raise UnrolledError(f"{path}:{number}: FASTA starts with '>', this file with {text[:40]!r}")
    if block:
        yield block


def _clean(text: str, where: str) -> str:
    """The text as it is. Raises UnrolledError if it holds control characters, but for tabs and line ends."""
    if found := CONTROL.search(text):
        raise UnrolledError(f"{where}: the control character {found[0]!r} in {text[:60]!r}. Remove it.")
    return text


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    """Open plain or gzipped UTF-8, told apart by content; a failure to read names the file and the line."""
    try:
        _refuse_page(path)
        with io.TextIOWrapper(_open(path), encoding="utf-8-sig") as stream:
            yield stream
    except UnicodeDecodeError:
        raise UnrolledError(_undecodable(path)) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnrolledError(f"{path}: truncated or damaged gzip ({error}). Fetch the file again.") from None
    except FileNotFoundError as error:
        raise UnrolledError(f"{path}: {error.strerror}. Is the path right?") from None


def _open(path: Path) -> BinaryIO:
    path = Path("/dev/stdin") if str(path) == "-" else path
    stream = _once(path)
    zipped = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    if not zipped:
        return stream
    if isinstance(stream, io.BytesIO):
        return cast(BinaryIO, gzip.open(stream))
    stream.close()
    return cast(BinaryIO, gzip.open(path))


def _once(path: Path) -> BinaryIO:
    """A file; of a pipe, which can be read once alone, what it held."""
    if path.is_file() or not path.exists():
        return opened(path)
    return io.BytesIO(_content(path, path.stat().st_ino))


@lru_cache(maxsize=4)
def _content(pipe: Path, number: int) -> bytes:
    """All that a pipe holds, to be read again; `number` tells it from another of its name."""
    return pipe.read_bytes()


def _refuse_page(path: Path) -> None:
    with _open(path) as stream:
        start = stream.read(512).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        raise UnrolledError(
            f"{path}:1: a web page, not data: it starts with {start[:40].decode('utf-8', 'replace')!r}. "
            "A login or proxy page was probably saved instead of the file: delete it and fetch again."
        )


def _undecodable(path: Path) -> str:
    """Where a file stops being UTF-8: read again by lines, because decoding reports places within a block."""
    offset, number = 0, 0
    with _open(path) as stream:
        for line in stream:
            number += 1
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                offset += error.start
                break
            offset += len(line)
    return f"{path}:{number}: not UTF-8 at byte {offset}. Save it as UTF-8 text; of an archive name the `members`."
