"""What was tracked on this machine goes to wandb's server, once: by `wandb sync`, whose markers say what is there.

`wandb sync` waits for a server that does not answer without an end, leaves with status 0 where it was refused,
uploads what a killed run left again and again, and marks runs of which it could not send all. So the server is asked
first, only runs that ended well are given to it, by one process at a time, an upload that sends nothing more is
stopped, and its markers alone count, without those of runs of which its log says that something was lost.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from unrolled import handover, server
from unrolled.errors import UnrolledError, some
from unrolled.files import read_json

STALLED = 60  # seconds in which nothing more of any run was sent, after which an upload is stopped
FATAL = "ERROR+4"  # the level at which wandb logs that it gives up a run's rows
UNKEPT = "sender: failed to log artifact"
CORRUPT = "skipped corrupt data"
EXIT = re.compile(r'\{"num":\d+,"type":"exit",')  # a record of a log
Progress = Callable[[int, int], None]


def sync(
    folder: Path, *, entity: str | None = None, stalled: float = STALLED, progress: Progress | None = None
) -> dict[str, int]:
    """Upload the runs below `<folder>` that ended well and were not uploaded yet.

    Where every run.json of the experiment names its run, others are of earlier settings, and stay here.

    Args:
        folder: wandb's folder in results/<experiment>, which holds `offline-run-*` and `run-*`.
        entity: whose the runs are to be; by default as wandb decides.
        stalled: seconds after which an upload is stopped that sends nothing; of a large file wandb tells its parts.
        progress: is told (uploaded, of) now and then.

    Returns:
        How many runs were `uploaded` now, were there `before`, and are `left` out: still running, stopped, killed or
        failed, or of earlier settings. What was interrupted goes on in another run, which holds all of its history.

    Raises:
        UnrolledError: no such folder, no key, no answer from the server, runs that could not be uploaded, or logs
            that wandb cannot read.
    """
    if not folder.is_dir():
        raise UnrolledError(
            f"{folder}: no such folder; wandb writes results/<experiment>/wandb unless its mode is disabled"
        )
    with handover.alone(folder, "lock"):
        return _sync(folder, entity, stalled, progress or (lambda done, of: None))


def _sync(folder: Path, entity: str | None, stalled: float, progress: Progress) -> dict[str, int]:
    runs = _runs(folder)
    left = [run for run in runs if not uploaded(run)]
    counted = set(named(folder.parent / "runs").values()) - {""}
    pending, unread, failed = [], [], []
    for run in left:
        try:
            if (not counted or _id(run) in counted) and ended(run):
                pending.append(run)
        except UnrolledError as error:  # the others are no worse for it
            unread.append(str(error))
    if pending:
        server.greet()
        earlier = _logs(folder)
        why = _upload(pending, folder, entity, stalled, progress)
        why = _unmark(pending, _logs(folder) - earlier) or why
        if n := sum(not uploaded(run) for run in pending):
            told = f"{n} of {len(pending)} runs could not be uploaded ({why}); the same command goes on from there"
            failed = [f"{folder}: {told}"]
    if problems := failed + some(unread):
        raise UnrolledError("\n".join(problems))
    return {"uploaded": len(pending), "before": len(runs) - len(left), "left": len(left) - len(pending)}


def how(folder: Path) -> str:
    """The commands that upload what lies in wandb's folder, for a message."""
    whole = "`snakemake --cores 1 wandb_sync` (with the --configfile of the experiment, if it has one)"
    return f"`unrolled sync {shlex.quote(str(folder))}` or {whole}"


def uploaded(run: Path) -> bool:
    """Whether a run's log has wandb's marker."""
    return _marker(run).exists()


def mark(run: Path) -> None:
    """Say in wandb's way that a run's log is on the server: it went there while it was written."""
    _marker(run).touch()


def losses(log: Path) -> dict[str, str]:
    """What wandb says that it could not send, where it says it alone: in its log, not by its status or its marker.

    Args:
        log: debug-sync.*.log of an upload, or debug-internal.log of a run: a JSON object a line.

    Returns:
        The first reason, by the file name of the run's log, or by "" where it is a run's own.
    """
    found: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        with suppress(ValueError):  # it was killed within a line
            told = json.loads(line)
            if told["level"] == FATAL or "task" in told or told["msg"].startswith(UNKEPT):
                found.setdefault(Path(told.get("sync_path", "")).name, told["msg"])
    return found


def ended(run: Path) -> bool:
    """Whether a run's log holds a good end: of one that goes on or was killed it has none, of a stopped one a bad.

    Raises UnrolledError if wandb cannot read it, or a part of it: its upload would fail, and may stop the others.
    """
    from wandb.util import get_core_path  # `wandb leet inspect` itself takes a second to start

    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]
    told = subprocess.run([*command, "--run-file", run, run.parents[1]], capture_output=True, text=True)
    if told.returncode or CORRUPT in told.stderr:
        why = told.stderr.partition("\n")[0]
        raise UnrolledError(
            f"{run}: wandb cannot read this log ({why}): `pip install 'wandb>=0.31'`, or remove {run.parent} if the "
            "log is damaged"
        )
    ends = [line for line in told.stdout.splitlines() if EXIT.match(line)]
    return bool(ends) and json.loads(ends[-1])["exit"].get("exit_code", 0) == 0


def named(folder: Path) -> dict[Path, str]:
    """Each run.json below a folder, and the id of wandb's run that it names; "" for all if one of them names none."""
    records = {path: read_json(path) for path in sorted(folder.glob("*/*/*/*/run.json"))}
    whole = all(record.get("wandb") for record in records.values())
    return {path: record["wandb"]["id"] if whole else "" for path, record in records.items()}


def _runs(folder: Path) -> list[Path]:
    """The logs of all runs, in the order in which these began."""
    found = [*folder.glob("offline-run-*/*.wandb"), *folder.glob("run-*/*.wandb")]
    return sorted(found, key=lambda run: run.parent.name.removeprefix("offline-"))


def _id(run: Path) -> str:
    return run.stem.removeprefix("run-")


def _marker(run: Path) -> Path:
    return run.with_suffix(".wandb.synced")


def _upload(pending: list[Path], folder: Path, entity: str | None, stalled: float, progress: Progress) -> str:
    """Let wandb upload while it sends anything, and this process lives; returns why it ended."""
    owner = ["--entity", entity] if entity else []
    command = [sys.executable, "-m", "unrolled.leash", "sync", "--include-online", *owner, *map(str, pending)]
    known = os.environ | {"WANDB_DIR": str(folder.parent)}  # its own log goes there, not to the working directory
    apart: dict[str, Any] = {"stderr": subprocess.STDOUT, "env": known, "start_new_session": True}
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, **apart) as child,
    ):
        seen, since = (0, 0), time.monotonic()
        try:
            while time.monotonic() - since < stalled:
                try:
                    child.wait(timeout=0.5)
                    return _last(_lines(said))
                except subprocess.TimeoutExpired:
                    now = sum(map(uploaded, pending)), len(set(_lines(said)))
                    if now != seen:
                        seen, since = now, time.monotonic()
                        progress(now[0], len(pending))
            return f"no progress for {stalled:g} seconds"
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)  # its service, which would go on trying, ends with it


def _lines(said: IO[bytes]) -> list[str]:
    """What a process that writes into this file has said; where it writes on does not move."""
    return os.pread(said.fileno(), os.fstat(said.fileno()).st_size, 0).decode(errors="replace").splitlines()


def _last(said: list[str]) -> str:
    """The last error that wandb tells, or else its last line."""
    lines = [line.removeprefix("wandb: ").strip() for line in said if line.strip()]
    return next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "wandb says nothing")


def _logs(folder: Path) -> set[Path]:
    """What wandb wrote of its uploads."""
    return set((folder.parent / "wandb" / "logs").glob("debug-sync.*.log"))


def _unmark(pending: list[Path], logs: Iterable[Path]) -> str:
    """Take the marker from runs of which wandb could not send all; returns the first reason, "" without."""
    lost = {name: why for log in logs for name, why in losses(log).items()}
    for run in pending:
        if run.name in lost:
            _marker(run).unlink(missing_ok=True)
    return next(iter(lost.values()), "")
