"""One GET, and the patience to try it again: what a file's download and a query's pages have in common.

requests and urllib3's `Retry` try again until the headers are in; a body that stalls or breaks off, the
usual fate of a large download, is beyond them. So the loop is here and only reading Retry-After is theirs.
"""

import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import sleep
from typing import TypeVar

import requests
import urllib3

CHUNK = 1 << 16  # bytes
LONGEST_WAIT = 60.0  # seconds between two tries, whatever the server asks for

T = TypeVar("T")


class FailedError(Exception):
    """What went wrong, on one line; whoever asked adds how to mend it."""


class TransientError(FailedError):
    """Worth another try, after `wait` seconds if the server named a time."""

    def __init__(self, why: str, wait: float | None = None):
        super().__init__(why)
        self.wait = wait


def is_http(address: str) -> bool:
    """Whether this is an http(s) address with a host."""
    return re.match(r"https?://[^/?#]", address, re.IGNORECASE) is not None


def patiently(attempt: Callable[[], T], url: str, retries: int, backoff: float) -> T:
    """What `attempt` returns, after up to `retries` more tries, `backoff`, 2 `backoff`, ... seconds apart.

    A time that the server asks for goes before. Raises FailedError where every try failed, or one for good.
    """
    tried = 0
    while True:
        try:
            return attempt()
        except TransientError as error:
            tried += 1
            if tried > retries:
                raise FailedError(f"{url}: {error} (tries: {tried})") from error
            own = backoff * 2 ** (tried - 1) * random.uniform(0.5, 1.0)  # jitter: many jobs start together
            wait = min(LONGEST_WAIT, own if error.wait is None else error.wait)
            say(f"{url}: {error}; next try in {wait:.1f} s ({tried} of {retries})")
            sleep(wait)


@contextmanager
def answer(url: str, headers: Mapping[str, str], timeout: float) -> Iterator[requests.Response]:
    """The answer to a GET, its body still to be read; faults of the line, also while reading, are TransientError."""
    try:
        with requests.get(url, headers=dict(headers), stream=True, timeout=timeout) as response:
            yield response
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise TransientError(cause(error)) from error
    except requests.RequestException as error:
        raise FailedError(f"{url}: {cause(error)}") from error


def refused(response: requests.Response) -> FailedError:
    """An answer that is none, as the error to raise: worth another try where the server is busy or broken."""
    status = response.status_code
    said = f"HTTP {status} {response.reason or ''}".strip()
    if status in (408, 429) or status >= 500:
        wait = _retry_after(response) if status in (429, 503) else None
        if wait and wait > LONGEST_WAIT:
            said += f", Retry-After: {response.headers['Retry-After']}"
        return TransientError(said, wait)
    return FailedError(f"{said} for {response.url}")


def _retry_after(response: requests.Response) -> float | None:
    try:
        return urllib3.Retry().get_retry_after(response.raw)
    except urllib3.exceptions.InvalidHeader:
        return None


def cause(error: BaseException) -> str:
    """The innermost reason, on one line; requests and urllib3 wrap it twice over."""
    for inner in (getattr(error, "reason", None), *error.args):
        if isinstance(inner, BaseException):
            return cause(inner)
    return " ".join(str(error).split())


def say(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)
