"""One process at a run at a time, and what a finished run handed over, kept until it is taken.

A cluster runs several runs in one job. If that job dies, the workflow removes the files of all of them and starts it
again: those that were finished then are put back instead of computed anew, whoever asks for them and when.
"""

import fcntl
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from unrolled.files import atomic, sha256
from unrolled.progress import spoken

LABEL = "identity"  # of the run whose files are kept, and their checksums
LOOK = 1.0  # seconds between two looks at a lock that another process has
LONG = 60.0  # seconds of waiting after which it is said how to mend it; then after twice as long, and so on


@contextmanager
def alone(out: Path, lock: str = "checkpoints/lock") -> Iterator[None]:
    """Wait until no other process is at the folder `out`; say which one is, and after a while how to mend it.

    It may be of a workflow that was killed, or on a node that is cut off. A file system without locks gives none.

    Args:
        out: the folder, of a run by default.
        lock: the file in it that is locked.
    """
    path = out / lock
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            _wait(file.fileno(), path, out)
        except OSError as error:
            print(f"warning: {path} cannot be locked ({error.strerror})", file=sys.stderr, flush=True)
        _sign(file.fileno())
        yield


def _wait(lock: int, path: Path, out: Path) -> None:
    began, due = time.monotonic(), 0.0
    while not _locked(lock):
        passed = time.monotonic() - began
        if passed >= due:
            who = os.pread(lock, 1000, 0).decode(errors="replace")
            told = f"waiting: another process is at {out}" + (f": {who}" if who else "")
            if due:
                told += f"; for {spoken(passed)} now. If nobody needs what it does, end it there; if its computer is "
                told += f"gone, end this one, remove {path} and start again"
            print(told, file=sys.stderr, flush=True)
            due = max(LONG, 2 * passed)
        time.sleep(LOOK)


def _locked(lock: int) -> bool:
    """Take a lock, unless another process has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(lock: int) -> None:
    """Write into a lock's file who has it, for those who wait."""
    job = os.environ.get("SLURM_JOB_ID")
    who = f"process {os.getpid()} on {socket.gethostname()}" + (f" (job {job} of Slurm)" if job else "")
    with suppress(OSError):  # a full disk
        os.ftruncate(lock, 0)
        os.write(lock, f"{who}, since {datetime.now():%Y-%m-%d %H:%M:%S}".encode())


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
