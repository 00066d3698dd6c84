"""How far long work has come, on stderr: a line that renews itself for a reader, a line every tenth in a log."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 0.5  # between two renewals on a screen
SILENT = 5.0  # what takes no longer needs no progress in a log


def meter(what: str) -> Callable[[int, int], None]:
    """A function to be told (done, of) now and then; it says "what: 40 % of 1,000 pairs, 3 min left".

    `what` holds the thing and its unit, such as "aligning: pairs". The time left is told from the speed since it was
    first called: what went before may have been other work.
    """
    subject, unit = what.split(": ")
    watched = sys.stderr.isatty()
    began, at_first = math.inf, 0
    last_time, last_tenth = -SECONDS, 0

    def tell(done: int, of: int) -> None:
        nonlocal began, at_first, last_time, last_tenth
        now, tenth = time.monotonic(), 10 * done // max(of, 1)
        if math.isinf(began):
            began, at_first = now, done
        due = now - last_time >= SECONDS if watched else tenth > last_tenth and now - began > SILENT
        if not due and not (watched and done == of):
            return
        last_time, last_tenth = now, tenth
        left = (now - began) / max(done - at_first, 1) * (of - done)
        text = f"{subject}: {100 * done // max(of, 1)} % of {of:,} {unit}"
        text += f", {spoken(left)} left" if done > at_first or done == of else ""
        end = "\n" if not watched or done == of else ""
        print(f"\r\x1b[K{text}" if watched else text, end=end, file=sys.stderr, flush=True)

    return tell


@contextmanager
def clock(what: str, predicted: float = 0.0) -> Iterator[Callable[[], None]]:
    """A function to be called now and then while something works that does not tell how far it is.

    It says "what: 4 min of about 10 min": after some seconds, on a screen again and again, in a log after twice the
    time, and so on.
    """
    watched, began = sys.stderr.isatty(), time.monotonic()
    due, told = SILENT, False

    def tell() -> None:
        nonlocal due, told
        passed = time.monotonic() - began
        if passed < due:
            return
        due, told = passed + SECONDS if watched else 2 * passed, True
        text = f"{what}: {spoken(passed)}" + (f" of about {spoken(predicted)}" if predicted else "")
        print(f"\r\x1b[K{text}" if watched else text, end="" if watched else "\n", file=sys.stderr, flush=True)

    yield tell
    if watched and told:
        print(file=sys.stderr, flush=True)


def spoken(seconds: float) -> str:
    """A time as people say it: "89 s", "2 min", "3 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.0f} h"
