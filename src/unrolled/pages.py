"""One page of what UniProt's search finds, and what its headers say of the others.

https://www.uniprot.org/help/pagination, https://www.uniprot.org/help/api_downloading
"""

import gzip
import json
import zlib
from dataclasses import dataclass
from urllib.parse import urljoin

import requests

from unrolled import __version__
from unrolled.transfer import CHUNK, FailedError, TransientError, answer, refused


class StaleError(Exception):
    """The pages so far do not belong to those to come."""


@dataclass(frozen=True)
class Page:
    """One answer: its header line and rows, of how many, of which release, and where the next one is."""

    header: str
    rows: list[str]
    total: int
    release: str | None
    release_date: str | None
    next: str | None


def get(address: str, *, later: bool, timeout: float) -> Page:
    """The page at `address`; `later`: not the first, so that its cursor comes from the service.

    Raises StaleError, TransientError or FailedError, the last with what UniProt says of the query.
    """
    headers = {"Accept-Encoding": "gzip", "User-Agent": f"unrolled/{__version__}"}
    with answer(address, headers, timeout) as response:
        if response.status_code in (400, 404, 410):
            said = _messages(response)
            if later:  # the cursor came from the service itself: it is of a release that is no more
                raise StaleError(f"the next page is refused ({said})")
            raise FailedError(f"the query is refused: {said}")
        if response.status_code != 200:
            raise refused(response)
        return _page(response, _body(response))


def _messages(response: requests.Response) -> str:
    """What UniProt says of a bad request, {"messages": [...]}; what HTTP says if it is not UniProt that answers."""
    try:
        return "; ".join(json.loads(response.content)["messages"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code} {response.reason} for {response.url}"


def _body(response: requests.Response) -> str:
    """The text of a page; one that was cut off is a TransientError even where no length was announced."""
    body = b"".join(response.raw.stream(CHUNK, decode_content=False))
    try:
        zipped = response.headers.get("Content-Encoding", "") == "gzip"
        return (gzip.decompress(body) if zipped else body).decode()
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise TransientError(f"a damaged page ({error})") from error


def _page(response: requests.Response, text: str) -> Page:
    header, *rows = [line for line in text.split("\n") if line] or [""]
    total = response.headers.get("x-total-results", "")
    if not total.isdecimal():
        raise FailedError(f"{response.url}: the answer has no x-total-results, so it is not UniProt's search")
    short = next((row for row in rows if row.count("\t") != header.count("\t")), None)
    if short is not None:
        raise TransientError(f"a damaged page (a row has not as many columns as {header!r}: {short[:60]!r})")
    link = response.links.get("next", {}).get("url")
    return Page(
        header=header,
        rows=rows,
        total=int(total),
        release=response.headers.get("x-uniprot-release"),
        release_date=response.headers.get("x-uniprot-release-date"),
        next=urljoin(response.url, link) if link else None,
    )
