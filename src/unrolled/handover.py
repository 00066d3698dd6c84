"""One process at a run at a time, and what a finished run handed over, kept until it is taken.

A cluster runs several runs in one job. If that job dies, the workflow removes the files of all of them and starts it
again: those that were finished then are put back instead of computed anew, whoever asks for them and when.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from unrolled.files import atomic, sha256

LABEL = "identity"  # of the run whose files are kept, and their checksums


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Wait until no other process is at the run folder `out`.

    It may be of a workflow that was killed, or on a node that is cut off. A file system without locks gives none.
    """
    path = out / "checkpoints" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            _wait(lock.fileno(), out)
        except OSError as error:
            print(f"warning: {path} cannot be locked ({error.strerror})", file=sys.stderr, flush=True)
        yield


def _wait(lock: int, out: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting: another process is at {out}", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def restored(out: Path, identity: str) -> bool:
    """Put back what the run of this identity handed over, if it was finished; else forget what is kept.

    Kept files that were changed since, or damaged, are no finished run.
    """
    kept = out / "checkpoints" / "finished"
    label = kept / LABEL
    if label.is_file() and label.read_bytes() == _label(kept, identity):
        for path in _files(kept):
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
    with atomic(kept / LABEL) as tmp:
        tmp.write_bytes(_label(kept, identity))


def _files(kept: Path) -> list[Path]:
    return sorted(path for path in kept.glob("[!.]*") if path.name != LABEL)


def _label(kept: Path, identity: str) -> bytes:
    return "\n".join([identity, *(f"{sha256(path)}  {path.name}" for path in _files(kept))]).encode()


def _link(source: Path, target: Path) -> None:
    with atomic(target) as tmp:
        tmp.unlink()
        try:
            os.link(source, tmp)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, tmp)
