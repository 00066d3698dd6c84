"""Jobs in Slurm's queue that a killed workflow left behind: nobody waits for them any more.

All jobs of one Snakemake have one name. It is written down while that Snakemake lives, and found by the next one.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unrolled.console import say
from unrolled.errors import UnrolledError
from unrolled.files import read_json, write_json

PATIENCE = 600  # seconds for cancelled jobs to end: Slurm's KillWait and a node that is slow to answer


def take_over(record: Path, name: str, others: Iterable[Path] = ()) -> None:
    """Cancel what is left of the workflow in `record`, wait until it has ended, and write down this one's `name`.

    A run that is cancelled goes on from its last epoch. Nothing is cancelled while the Snakemake that asked for it
    lives on this machine. One that ran elsewhere is dead if it had this record: Snakemake's lock tells.

    Args:
        record: this experiment's.
        name: of this workflow's jobs.
        others: records of other experiments in this folder, whose jobs may be at data that both share; they are
            cancelled where their workflow died on this machine.

    Raises:
        UnrolledError: the jobs do not end, or Slurm does not say whether there are any.
    """
    for path in {record, *others}:
        old = read_json(path) if path.is_file() else None
        if old and not _lives(old, elsewhere=path != record) and (left := _queued(old["name"])):
            say(f"{len(left)} jobs that a killed workflow left in the queue are cancelled; their runs go on")
            subprocess.run(["scancel", f"--name={old['name']}"], check=False)
            _await_end(old["name"])
    write_json(record, {"name": name} | _here())


def let_go(record: Path) -> None:
    """Remove the record if this process wrote it: another's tells which jobs are to be taken over."""
    if record.is_file() and _here().items() <= read_json(record).items():
        record.unlink()


def _here() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}


def _born(pid: int) -> str | None:
    """When a process was started: clock ticks since its machine was; None where /proc does not tell.

    The field `starttime` of proc_pid_stat(5), behind a name in brackets that may hold anything.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _lives(old: dict[str, Any], elsewhere: bool) -> bool:
    """Whether the Snakemake of a record lives; `elsewhere` is the answer for one on another machine."""
    if old["host"] != socket.gethostname():
        return elsewhere
    try:
        os.kill(old["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _born(old["pid"]) in (None, old.get("born"))  # else its number was given again, as after a reboot


def _queued(name: str) -> list[str]:
    """Ids of jobs of a name that wait or run, or are about to end."""
    if shutil.which("squeue") is None:
        return []
    command = ["squeue", "--noheader", "--format=%i", f"--name={name}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        raise UnrolledError(
            "squeue does not say whether jobs of a killed workflow are left: "
            f"{told.stderr.strip() or f'status {told.returncode}'}. Start again when Slurm answers"
        )
    return told.stdout.split()


def _await_end(name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := _queued(name):
        if time.monotonic() > deadline:
            raise UnrolledError(
                f"jobs {', '.join(left)} were cancelled, and still run: `scancel` them, then start again"
            )
        time.sleep(1)
