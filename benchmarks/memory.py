"""The most memory that a process and all processes below it held together.

Looked at every 0.1 s: the sum of their proportional set sizes, in which what they share counts once; where the system
does not tell these, of their resident sizes.
"""

import contextlib
from threading import Event, Thread

import psutil

EVERY = 0.1  # seconds


class Watch:
    """Looks at a process, and at those below it, for as long as the context lasts; `most` is in MiB.

    Args:
        process: its tree is looked at; without its root if that is this process, whose memory is not the question.
    """

    def __init__(self, process: psutil.Process) -> None:
        self.most = 0.0
        self._process, self._over = process, Event()
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY):
            self.most = max(self.most, held(self._process))


def held(process: psutil.Process) -> float:
    """MiB that a process and all below it hold now."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        above = [] if process == psutil.Process() else [process]
        for one in (*above, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                used = one.memory_full_info()
                total += getattr(used, "pss", used.rss)
    return total / 2**20
