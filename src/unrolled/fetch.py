"""Raw files from their source or from a mirror: resumed, retried, verified, never half-written."""

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from urllib.parse import quote

import requests
from rich.console import Console
from rich.progress import DownloadColumn, Progress

from unrolled import files
from unrolled.errors import UnrolledError
from unrolled.transfer import CHUNK, FailedError, TransientError, answer, is_http, patiently, refused, say


def fetch(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    mirror: str | None = None,
    dataset: str | None = None,
    retries: int = 5,
    timeout: float = 30,
    backoff: float = 1.0,
) -> Path:
    """Bring the file at `url` to `destination` and return `destination`; a good file there is left alone.

    `mirror` (a folder or an http(s) root laid out `<dataset>/<file name>`) is used instead of `url`.
    A download gathers in `<destination>.part` and, after `retries` more tries, `backoff`, 2 `backoff`, ...
    seconds apart, stays there for the next call to resume. Only a checksum proves that two pieces belong to
    one file: without `sha256` every try starts from zero. `timeout` is the longest silence borne, in seconds.

    Raises UnrolledError: no such file, no connection, wrong checksum, no room, a malformed argument.
    """
    sha256 = sha256 and sha256.lower()
    _check_arguments(url, destination.name, sha256, dataset)
    if destination.is_file() and _matches(destination, sha256):
        return destination
    source = _in_mirror(mirror, dataset, destination.name) if mirror else url
    part = destination.with_name(f"{destination.name}.part")
    started = monotonic()
    say(f"fetching {source}")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Path):
            _copy(source, part)
        elif sha256 is None or not (part.is_file() and _matches(part, sha256)):
            patiently(lambda: _attempt(str(source), part, sha256, timeout), str(source), retries, backoff)
        _accept(part, destination, sha256, source if source == url else f"{source} (mirror of {url})")
    except FailedError as error:
        raise UnrolledError(f"{error}; {_remedy(part, url, sha256, mirror, dataset)}") from error
    except OSError as error:
        raise UnrolledError(f"{destination} was not written: {error}; mend that and run again") from error
    say(f"fetched {destination}: {destination.stat().st_size:,} bytes in {monotonic() - started:.1f} s")
    return destination


def _check_arguments(url: str, name: str, sha256: str | None, dataset: str | None) -> None:
    if not is_http(url):
        raise UnrolledError(f"url {url!r} is not an http(s) address; files on disk come through `mirror:`")
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise UnrolledError(f"sha256 {sha256!r} for {url} is not 64 hexadecimal digits; see `sha256sum FILE`")
    for plain in (name,) if dataset is None else (name, dataset):
        if plain in ("", ".", "..") or re.search(r"[/\\\0]", plain):
            raise UnrolledError(f"{plain!r} for {url} must be a plain name, without folders or '..'")


def _in_mirror(mirror: str, dataset: str | None, name: str) -> str | Path:
    if dataset is None:
        raise UnrolledError(f"mirror {mirror} holds <dataset>/{name}; name the data set")
    if is_http(mirror):
        return "/".join([mirror.rstrip("/"), quote(dataset, safe=""), quote(name, safe="")])
    if "://" in mirror:
        raise UnrolledError(f"mirror {mirror!r} is neither a folder nor an http(s) root; write a plain path")
    return Path(mirror).expanduser() / dataset / name


def _matches(path: Path, sha256: str | None) -> bool:
    return sha256 is None or files.sha256(path) == sha256


def _accept(part: Path, destination: Path, sha256: str | None, source: str) -> None:
    """Give `part` its name if it is the right file; remove it if it is not."""
    if sha256 not in (None, got := files.sha256(part)):
        part.unlink()
        raise UnrolledError(
            f"wrong checksum for {source}: expected {sha256}, got {got}; it was removed. Check whether the "
            "file changed at its source (then mend the card) or a proxy answered instead (then set `mirror:`)"
        )
    part.replace(destination)


def _remedy(part: Path, url: str, sha256: str | None, mirror: str | None, dataset: str | None) -> str:
    if sha256 is None:
        part.unlink(missing_ok=True)
    size = part.stat().st_size if part.exists() else 0
    kept = f"{size:,} bytes are kept in {part} and the next call resumes there; " if size else ""
    if mirror:
        return f"{kept}put the file there (its source is {url}) or drop `mirror:`"
    place = f"{dataset or '<dataset>'}/{part.stem}"
    return f"{kept}check address and connection, or set `mirror:` to a folder or http(s) root with {place}"


def _copy(source: Path, part: Path) -> None:
    if not source.is_file():
        raise FailedError(f"the mirror does not hold {source}")
    with source.open("rb") as stream:
        _store(iter(lambda: stream.read(CHUNK), b""), part, 0, source.stat().st_size)


def _attempt(url: str, part: Path, sha256: str | None, timeout: float) -> None:
    """GET what `part` lacks, or all of it again if what we had turns out to belong to another version."""
    have = part.stat().st_size if sha256 and part.exists() else 0
    # identity: lengths, ranges and the checksum are about the stored file, not about a compressed transfer
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with answer(url, headers, timeout) as response:
        if span := _span(response, have):
            # undecoded, because some servers call a stored .gz file a Content-Encoding
            _store(response.raw.stream(CHUNK, decode_content=False), part, *span)
    if span is None or (span[0] > 0 and not _matches(part, sha256)):
        say(f"{part} does not fit what {url} holds now: once more from the start")
        part.unlink()
        _attempt(url, part, sha256, timeout)  # asks for no range, so this goes no deeper


def _span(response: requests.Response, have: int) -> tuple[int, int | None] | None:
    """Where the body starts and the whole file's size if known, in bytes; None: what we have is stale."""
    status = response.status_code
    if status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    if have and status in (206, 416):
        ranged = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return (have, int(ranged[2])) if ranged and int(ranged[1]) == have else None
    raise refused(response)


def _store(chunks: Iterable[bytes], part: Path, start: int, total: int | None) -> None:
    """Write `chunks` to `part` from byte `start`, its end; raise TransientError short of `total` bytes."""
    try:
        with part.open("ab" if start else "wb") as stream, _progress() as progress:
            task = progress.add_task(part.stem, total=total, completed=start)
            for chunk in chunks:
                stream.write(chunk)
                progress.advance(task, len(chunk))
            stream.flush()
            os.fsync(stream.fileno())  # a network disk may notice only now that it is full
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(part, total) from error
        raise
    size = part.stat().st_size
    if total is not None and size != total:
        raise TransientError(f"{size:,} bytes came instead of {total:,}")


def _no_room(part: Path, total: int | None) -> UnrolledError:
    part.unlink(missing_ok=True)
    free = shutil.disk_usage(part.parent).free
    needed = "an unstated number of" if total is None else f"{total:,}"
    where = f"{part.parent} ({free:,} bytes free; a quota may leave less)"
    return UnrolledError(f"disk full: {part.stem} needs {needed} bytes in {where}; make room and run again")


def _progress() -> Progress:
    columns = (*Progress.get_default_columns(), DownloadColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
