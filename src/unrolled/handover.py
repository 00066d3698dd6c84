"""One process at a run at a time, and what a finished run handed over, kept until it is taken.

A cluster runs several runs in one job. If that job dies, the workflow removes the files of all of them and starts it
again: those that were finished then are put back instead of computed anew.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from unrolled.files import atomic


@contextmanager
def alone(out: Path) -> Iterator[bool]:
    """Wait until no other process is at the run folder `out`; yields whether there was one.

    It may be of a workflow that was killed, or on a node that is cut off. A file system without locks gives none.
    """
    path = out / "checkpoints" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            waited = _wait(lock.fileno(), out)
        except OSError as error:
            print(f"warning: {path} cannot be locked ({error.strerror})", file=sys.stderr, flush=True)
            waited = False
        yield waited


def _wait(lock: int, out: Path) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting: another process is at {out}", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return True
    return False


def restored(out: Path, identity: str, again: bool) -> bool:
    """Put back what the run of this identity handed over, if this is only another attempt at it; else forget it."""
    kept = out / "checkpoints" / "finished"
    label = kept / "identity"
    if again and label.is_file() and label.read_text() == identity:
        for path in sorted(kept.iterdir()):
            if path != label:
                _link(path, out / path.name)
        print(f"{out}: finished before, and put back", file=sys.stderr, flush=True)
        return True
    shutil.rmtree(kept, ignore_errors=True)
    return False


def keep(out: Path, identity: str, names: Iterable[str]) -> None:
    """Keep a finished run's files as further links to them: no space is taken while both are there."""
    kept = out / "checkpoints" / "finished"
    for name in names:
        _link(out / name, kept / name)
    with atomic(kept / "identity") as tmp:
        tmp.write_text(identity)


def _link(source: Path, target: Path) -> None:
    with atomic(target) as tmp:
        tmp.unlink()
        try:
            os.link(source, tmp)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, tmp)
