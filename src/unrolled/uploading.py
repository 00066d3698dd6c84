"""What was tracked on this machine goes to wandb's server, once: by `wandb sync`, whose markers say what is there.

`wandb sync` waits for a server that does not answer without an end, leaves with status 0 where it was refused, and
uploads what a killed run left again and again. So the server is asked first, only runs that ended well are given to
it, by one process at a time, an upload that makes no progress is stopped, and its markers alone count.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unrolled import handover, server
from unrolled.errors import UnrolledError
from unrolled.files import read_json

STALLED = 60  # seconds without any progress after which an upload is stopped
LEASH = """
import os, runpy, signal, threading

def follow():
    os.read(0, 1)  # until nobody holds the other end: whoever began this is gone
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=follow, daemon=True).start()
runpy.run_module("wandb", run_name="__main__")
"""
Progress = Callable[[int, int], None]


def sync(
    folder: Path, *, entity: str | None = None, stalled: float = STALLED, progress: Progress | None = None
) -> dict[str, int]:
    """Upload the runs below `<folder>` that ended well and were not uploaded yet.

    Where every run.json of the experiment names its run, others are of earlier settings, and stay here.

    Args:
        folder: wandb's folder in results/<experiment>, which holds `offline-run-*` and `run-*`.
        entity: whose the runs are to be; by default as wandb decides.
        stalled: seconds without progress after which the upload is stopped.
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
    pending = [run for run in left if (not counted or _id(run) in counted) and ended(run)]
    if pending:
        server.greet()
        said = _upload(pending, folder, entity, stalled, progress)
        failed = sum(not uploaded(run) for run in pending)
        if failed:
            raise UnrolledError(
                f"{folder}: {failed} of {len(pending)} runs could not be uploaded ({said}); "
                "the same command goes on from there"
            )
    return {"uploaded": len(pending), "before": len(runs) - len(left), "left": len(left) - len(pending)}


def how(folder: Path) -> str:
    """The commands that upload what lies in wandb's folder, for a message."""
    whole = "`snakemake --cores 1 wandb_sync` (with the --configfile of the experiment, if it has one)"
    return f"`unrolled sync {shlex.quote(str(folder))}` or {whole}"


def uploaded(run: Path) -> bool:
    """Whether a run's log has wandb's marker."""
    return run.with_suffix(".wandb.synced").exists()


def mark(run: Path) -> None:
    """Say in wandb's way that a run's log is on the server: it went there while it was written."""
    run.with_suffix(".wandb.synced").touch()


def ended(run: Path) -> bool:
    """Whether a run's log holds a good end: of one that goes on or was killed it has none, of a stopped one a bad.

    Raises UnrolledError if wandb cannot read it.
    """
    from wandb.util import get_core_path  # `wandb leet inspect` itself takes a second to start

    command = [get_core_path(), "leet", "inspect", "--no-observability", "--summary", "--json"]
    told = subprocess.run([*command, "--run-file", run, run.parents[1]], capture_output=True, text=True)
    if told.returncode:
        why = told.stderr.partition("\n")[0]
        raise UnrolledError(
            f"{run}: wandb cannot read this log ({why}): `pip install 'wandb>=0.31'`, or remove {run.parent} if the "
            "log is damaged"
        )
    return bool(json.loads(told.stdout).get("exit_code") == 0)


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


def _upload(pending: list[Path], folder: Path, entity: str | None, stalled: float, progress: Progress) -> str:
    """Let wandb upload while there is progress, and this process lives; returns why it ended."""
    owner = ["--entity", entity] if entity else []
    command = [sys.executable, "-c", LEASH, "sync", "--include-online", *owner, *map(str, pending)]
    known = os.environ | {"WANDB_DIR": str(folder.parent)}  # its own log goes there, not to the working directory
    apart: dict[str, Any] = {"stderr": subprocess.STDOUT, "env": known, "start_new_session": True}
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, **apart) as child,
    ):
        seen, since = _seen(pending), time.monotonic()
        try:
            while time.monotonic() - since < stalled:
                try:
                    child.wait(timeout=0.5)
                    said.seek(0)
                    return _last(said.read())
                except subprocess.TimeoutExpired:
                    now = _seen(pending)
                    if now != seen:
                        seen, since = now, time.monotonic()
                        progress(sum(map(uploaded, pending)), len(pending))
            return f"no progress for {stalled:g} seconds"
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)  # its service, which would go on trying, ends with it


def _seen(runs: list[Path]) -> list[tuple[bool, int]]:
    """What changes while runs are uploaded: wandb's marker of each, and how far it says that it came."""
    states = [run.with_suffix(".wandb.syncstate") for run in runs]
    return [(uploaded(run), s.stat().st_mtime_ns if s.exists() else 0) for run, s in zip(runs, states, strict=True)]


def _last(said: str) -> str:
    """The last error that wandb tells, or else its last line."""
    lines = [line.removeprefix("wandb: ").strip() for line in said.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "wandb says nothing")
