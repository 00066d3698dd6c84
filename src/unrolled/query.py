"""All that a query to UniProt finds -> one table: page by page, resumed, and of one release.

UniProt's search answers a page of rows and names the next one in a Link header (RFC 8288), with a cursor that says
how far one is; x-total-results counts all rows, x-uniprot-release names the release. Every few weeks there is
another one, and a table half of each would be of neither: then everything starts again.
https://www.uniprot.org/help/pagination, https://www.uniprot.org/help/api_downloading
"""

import gzip
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from unrolled import files
from unrolled.errors import UnrolledError
from unrolled.fetch import fetch
from unrolled.files import source_of
from unrolled.pages import Page, StaleError, get
from unrolled.progress import meter
from unrolled.transfer import FailedError, is_http, patiently, say

SERVICE = "https://rest.uniprot.org/uniprotkb/search"
SIZE = 500  # rows a page, the most that UniProt gives
RESTARTS = 3  # from the first page, because the release changed: more than this, and something else is wrong


@dataclass(frozen=True)
class Query:
    """What is asked: `query` in UniProt's syntax, `fields` as its REST service names them."""

    query: str
    fields: tuple[str, ...]
    service: str = SERVICE

    @property
    def address(self) -> str:
        """Of the first page."""
        asked = {"query": self.query, "fields": ",".join(self.fields), "format": "tsv", "size": str(SIZE)}
        return f"{self.service}?{urlencode(asked)}"


@dataclass(frozen=True)
class _State:
    """How far a download is: what stands in the file of pages, and the address of the page to come."""

    address: str
    next: str | None
    header: str = ""
    total: int = 0
    release: str | None = None
    release_date: str | None = None
    rows: int = 0
    bytes: int = 0


def query(
    asked: Query,
    destination: Path,
    *,
    mirror: str | None = None,
    dataset: str | None = None,
    retries: int = 5,
    timeout: float = 60,
    backoff: float = 1.0,
) -> Path:
    """Bring the rows that `asked` finds to `destination`, a TSV file (gzipped if its name ends so); return it.

    Beside it, `<destination>.json` says which release, query, date, rows and checksum it is of. A file there that
    answers this query is left alone. Pages gather in `<destination>.pages`; a call that was interrupted goes on with
    the page it was at. `mirror` is as in `fetch`: it holds the finished file, and its JSON file if that was kept.

    Raises UnrolledError: a query that UniProt refuses or that finds nothing, no connection, a number of rows that
    is not the one announced, releases that keep changing, a malformed argument.
    """
    if not is_http(asked.service):
        raise UnrolledError(f"service {asked.service!r} is not an http(s) address, such as {SERVICE}")
    if _answered(asked, destination):
        return destination
    destination.unlink(missing_ok=True)
    try:
        if mirror:
            _from_mirror(asked, destination, mirror, dataset)
        else:
            _from_service(asked, destination, retries, timeout, backoff)
    except FailedError as error:
        raise UnrolledError(f"{error}; {_remedy(destination, dataset)}") from error
    except OSError as error:
        raise UnrolledError(f"{destination} was not written: {error}; mend that and run again") from error
    return destination


def _answered(asked: Query, destination: Path) -> bool:
    """Whether the file there is what this query brought, and whole."""
    if not (destination.is_file() and source_of(destination).is_file()):
        return False
    source = files.read_json(source_of(destination))
    return _same(asked, source) and source["sha256"] == files.sha256(destination)


def _same(asked: Query, source: dict[str, Any]) -> bool:
    wanted = {"query": asked.query, "fields": list(asked.fields), "service": asked.service}
    return all(source.get(key) == value for key, value in wanted.items())


def _remedy(destination: Path, dataset: str | None) -> str:
    pages = _pages(destination)
    rows = files.read_json(source_of(pages))["rows"] if source_of(pages).is_file() else 0
    kept = f"{rows:,} rows are kept in {pages} and the next call goes on there; " if rows else ""
    place = f"{dataset or '<dataset>'}/{destination.name}"
    return f"{kept}check query and connection, or set `mirror:` to a folder or http(s) root with {place}"


# From the service


def _from_service(asked: Query, destination: Path, retries: int, timeout: float, backoff: float) -> None:
    pages = _pages(destination)
    pages.parent.mkdir(parents=True, exist_ok=True)
    state, tell = _resumed(asked, pages), meter(f"{destination.name}: pages")
    restarts = 0
    while state.next:
        try:
            turn = partial(get, state.next, later=state.rows > 0, timeout=timeout)
            page = patiently(turn, asked.service, retries, backoff)
            state = _turned(asked, state, page, pages)
        except StaleError as why:
            restarts += 1
            if restarts > RESTARTS:
                raise FailedError(f"{asked.service}: {why} (started again {RESTARTS} times)") from None
            say(f"{asked.service}: {why}: starting again from the first page ({restarts} of {RESTARTS})")
            state = _forget(asked, pages)
        else:
            tell(-(-state.rows // SIZE), -(-state.total // SIZE))
    if state.rows != state.total:
        _forget(asked, pages)
        raise FailedError(f"{asked.service}: {state.rows:,} rows came instead of {state.total:,}")
    _finish(asked, destination, pages, state)


def _pages(destination: Path) -> Path:
    return destination.with_name(f"{destination.name}.pages")


def _resumed(asked: Query, pages: Path) -> _State:
    """Where an earlier call with this query stopped, else the beginning."""
    if pages.is_file() and source_of(pages).is_file():
        known = files.read_json(source_of(pages))
        state = _State(**known) if set(known) == set(_State.__dataclass_fields__) else _State("", "")
        if state.address == asked.address and pages.stat().st_size >= state.bytes:
            of = f"{state.rows:,} of {state.total:,} rows of release {state.release}"
            say(f"going on with {asked.query} at {of}")
            return state
    return _forget(asked, pages)


def _forget(asked: Query, pages: Path) -> _State:
    """The state before the first page; what was gathered is removed."""
    source_of(pages).unlink(missing_ok=True)
    pages.unlink(missing_ok=True)
    say(f"asking {asked.service} for {asked.query}")
    return _State(asked.address, asked.address)


def _turned(asked: Query, state: _State, page: Page, pages: Path) -> _State:
    """The state after one more page, whose rows are on disk before it is."""
    if state.rows == 0:
        _check_first(asked, page)
    elif page.release != state.release:
        raise StaleError(f"the release changed from {state.release} to {page.release}")
    elif page.header != state.header:
        _forget(asked, pages)  # kept, they would meet the same page at the next call
        raise FailedError(f"{asked.service}: the columns changed from {state.header!r} to {page.header!r}")
    rows = state.rows + len(page.rows)
    if rows > page.total or (page.next and not page.rows):
        _forget(asked, pages)
        raise FailedError(f"{asked.service}: {rows:,} rows and no end, though there are {page.total:,}")
    lines = page.rows if state.rows else [page.header, *page.rows]
    size = _append(pages, state.bytes, "".join(f"{line}\n" for line in lines).encode())
    known = (page.header, page.total, page.release, page.release_date)
    state = _State(state.address, page.next, *known, rows=rows, bytes=size)
    files.write_json(source_of(pages), asdict(state))
    return state


def _check_first(asked: Query, page: Page) -> None:
    if not page.total:
        raise FailedError(f"{asked.service}: nothing is found by {asked.query!r}")
    columns = page.header.split("\t")
    if len(columns) != len(asked.fields):
        raise FailedError(f"{asked.service}: {len(columns)} columns ({', '.join(columns)}) for {len(asked.fields)}")
    count = -(-page.total // SIZE)
    say(f"UniProt release {page.release} ({page.release_date}): {page.total:,} rows in {count:,} pages")


def _append(pages: Path, at: int, text: bytes) -> int:
    """Write `text` at byte `at`, whatever an interrupted call left behind it; return where it ends."""
    with pages.open("r+b" if at else "wb") as stream:
        stream.seek(at)
        stream.truncate()
        stream.write(text)
    return at + len(text)


def _finish(asked: Query, destination: Path, pages: Path, state: _State) -> None:
    """Give the pages their name. The record comes first: a file without one counts as none."""
    with files.atomic(destination) as tmp:
        _pack(pages, tmp, zipped=destination.suffix == ".gz")
        record = {"release": state.release, "release_date": state.release_date, "rows": state.rows}
        _record(asked, destination, tmp, record)
    pages.unlink()
    source_of(pages).unlink()
    say(f"fetched {destination}: {state.rows:,} rows of UniProt release {state.release}")


def _pack(pages: Path, out: Path, *, zipped: bool) -> None:
    with pages.open("rb") as stream, out.open("wb") as file:
        if not zipped:
            shutil.copyfileobj(stream, file)
            return
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:  # no time, no name: equal rows, equal bytes
            shutil.copyfileobj(stream, packed)


def _record(asked: Query, destination: Path, content: Path, known: dict[str, Any]) -> None:
    date = datetime.now(UTC).date().isoformat()
    about = {"file": destination.name, "query": asked.query, "fields": asked.fields, "service": asked.service}
    files.write_json(source_of(destination), about | known | {"date": date, "sha256": files.sha256(content)})


# From a mirror


def _from_mirror(asked: Query, destination: Path, mirror: str, dataset: str | None) -> None:
    source = source_of(destination)
    source.unlink(missing_ok=True)
    fetch(asked.address, destination, mirror=mirror, dataset=dataset)
    try:
        fetch(asked.address, source, mirror=mirror, dataset=dataset)
    except UnrolledError as error:
        say(f"{error}: so the release of {destination.name} is not known")
        known = {"release": None, "release_date": None, "rows": _rows(destination)}
        return _record(asked, destination, destination, known)
    found = files.read_json(source)
    if not _same(asked, found) or found.get("sha256") != files.sha256(destination):
        destination.unlink()
        source.unlink()
        of = f"the mirror's {destination.name} with the fields {_listed(found.get('fields'))}"
        query = f"{found.get('query')!r} to {found.get('service')}"
        raise FailedError(f"{of} answers {query}, or is not the file its JSON file tells of")
    return None


def _listed(fields: Sequence[str] | None) -> str:
    return ", ".join(fields or [])


def _rows(path: Path) -> int:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as stream:
        return sum(1 for line in stream if line.strip()) - 1
