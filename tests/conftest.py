"""Settings of all tests, and the browser that some of them need."""

import shutil
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

# No deadline: a shared or slow machine is no fault of the code.
settings.register_profile("unrolled", deadline=None, derandomize=True)
settings.load_profile("unrolled")

# Stops are tested also where the tests run in the background or under nohup, which have these ignored.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's number of threads, for the test alone."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on PATH (Debian: apt-get install chromium)")
    with api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A page that remembers what it asked for and complained about."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.requested, opened.complaints = [], []
    opened.on("request", lambda request: opened.requested.append(request.url))
    opened.on("console", lambda message: opened.complaints.append(message.text))
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    yield opened
    opened.close()
