"""Offline runs reach a server once, whatever happens in between; without one the reason is said at once."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from unrolled.errors import UnrolledError
from unrolled.files import write_json
from unrolled.handover import alone
from unrolled.uploading import sync, uploaded
from wandb_service import KEY, Service, complete, serving, silence

RUN = """
import os, pathlib, signal, sys
from unrolled import tracking
cell = {"data": "demo", "split": "random", "model": "lstm", "fold": 0, "seed": int(sys.argv[2])}
settings = {"mode": "offline", "project": "unrolled", "experiment": "demo"}
run = tracking.start(settings, pathlib.Path(sys.argv[1]), {"cell": cell})
for epoch in range(3):
    run.log({"epoch": epoch, "val_loss": 0.5 - epoch / 10}, step=epoch)
if size := int(sys.argv[4]):
    import wandb
    kept, path = wandb.Artifact("kept", type="file"), pathlib.Path(sys.argv[1]) / "kept"
    path.write_bytes(os.urandom(size))
    kept.add_file(str(path))
    run.log_artifact(kept)
if sys.argv[3] == "SIGKILL":
    os.killpg(0, signal.SIGKILL)
if sys.argv[3] != "finished":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # as the command line does
    os.kill(os.getpid(), signal.Signals[sys.argv[3]])
tracking.finish(run, {"test/macro_f1": 0.25})
"""

pytestmark = pytest.mark.slow


def track(folder: Path, seed: int = 2, end: str = "finished", size: int = 0) -> None:
    """Record a run, which keeps a file of this size, if any, as an artifact."""
    command = [sys.executable, "-c", RUN, folder, str(seed), end, str(size)]
    done = subprocess.run(command, timeout=120, env=os.environ | {"HOME": str(folder)}, start_new_session=True)
    codes = {"finished": 0, "SIGTERM": 143, "SIGKILL": -signal.SIGKILL, "SIGINT": -signal.SIGINT}
    assert done.returncode == codes[end]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without any key; wandb may leave what it likes there."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def service(home, monkeypatch):
    with serving() as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        yield service


COMMAND = [sys.executable, "-m", "unrolled", "sync"]


def unrolled_sync(folder: Path, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, folder, *options], capture_output=True, text=True, timeout=120)


def test_what_was_tracked_offline_is_uploaded_once_and_what_was_interrupted_is_not(service, home):
    track(home, seed=1)
    track(home, seed=2)
    for end in ("SIGKILL", "SIGTERM", "SIGINT"):
        track(home, seed=2, end=end)
    first = unrolled_sync(home / "wandb")
    assert first.returncode == 0, first.stderr
    assert "2 runs uploaded, 0 were there already, 3 left out: unfinished, or trained anew since" in first.stderr
    assert len(service.runs) == 2
    for run in service.runs.values():
        assert complete(run)
        assert run.first("groupName") == "demo/random/lstm"
        assert run.first("tags") == ["demo", "random", "lstm"]
    service.requests.clear()
    again = unrolled_sync(home / "wandb")
    assert again.returncode == 0
    assert "0 runs uploaded, 2 were there already, 3 left out: unfinished, or trained anew since" in again.stderr
    assert not service.requests


def test_a_run_that_was_trained_anew_since_stays_here(service, home):
    for seed in (1, 2):
        track(home, seed=seed)
    _, kept = (log.stem.removeprefix("run-") for log in (home / "wandb").glob("offline-run-*/*.wandb"))
    runs = home / "runs/demo/random/lstm"
    write_json(runs / "fold0-seed2/run.json", {"wandb": {"id": kept}})
    assert sync(home / "wandb") == {"uploaded": 1, "before": 0, "left": 1}
    assert list(service.runs) == [kept]
    write_json(runs / "fold0-seed1/run.json", {})  # it may be any run's
    assert sync(home / "wandb") == {"uploaded": 1, "before": 1, "left": 0}


def kept_whole(service: Service, home: Path) -> bool:
    """Whether the file that a run keeps came, to the end."""
    committed = service.artifacts.get("kept", {}).get("committed", False)
    return committed and (home / "kept").read_bytes() in service.files.values()


@pytest.mark.faults(
    "interruptions",
    "wandb's server dies while a run is uploaded: at its content, after the first part of it, or within a file",
    "`unrolled sync` says so within the seconds of `--stalled`, and the next one uploads the run, whole",
)
@pytest.mark.parametrize("fault", [{"streams": 0}, {"streams": 1}, {"room": 2 << 20}], ids=str)
def test_a_server_that_dies_in_the_middle_is_said_and_a_later_sync_goes_on(service, home, fault):
    track(home, size=8 << 20)
    vars(service).update(fault)
    with pytest.raises(UnrolledError, match=r"1 of 1 runs could not be uploaded .*goes on from there"):
        sync(home / "wandb", stalled=8)
    assert service.runs  # it came as far as the name
    assert not all(complete(run) and kept_whole(service, home) for run in service.runs.values())
    service.streams = service.room = math.inf
    assert sync(home / "wandb") == {"uploaded": 1, "before": 0, "left": 0}
    (run,) = service.runs.values()
    assert complete(run)
    assert kept_whole(service, home)


@pytest.mark.parametrize("content", ["stream", "artifact"])
def test_what_the_server_refuses_is_not_there_though_wandb_marks_the_run(service, home, content):
    track(home, seed=1)
    track(home, seed=2, size=1000)
    service.barred = content
    with pytest.raises(UnrolledError, match=r"[12] of 2 runs could not be uploaded .*goes on from there"):
        sync(home / "wandb")
    there = sum(uploaded(log) for log in (home / "wandb").glob("offline-run-*/*.wandb"))
    assert there == (content == "artifact")
    service.barred = ""
    assert sync(home / "wandb") == {"uploaded": 2 - there, "before": there, "left": 0}
    assert [complete(run) for run in service.runs.values()] == [True, True]
    assert kept_whole(service, home)


def test_a_file_that_takes_longer_than_the_limit_on_silence_is_uploaded(service, home):
    track(home, size=24 << 20)
    service.pace = 1.0
    began = time.monotonic()
    assert sync(home / "wandb", stalled=10) == {"uploaded": 1, "before": 0, "left": 0}
    assert time.monotonic() - began > 20
    (run,) = service.runs.values()
    assert complete(run)
    assert kept_whole(service, home)


@pytest.mark.faults(
    "interruptions",
    "kill -9 of `unrolled sync` after the first of three uploads",
    "the next call uploads the two others, and nothing twice",
)
def test_a_killed_upload_goes_on_with_what_is_missing(service, home):
    for seed in range(3):
        track(home, seed=seed)
    logs = sorted((home / "wandb").glob("offline-run-*/*.wandb"))
    service.only = logs[0].stem.removeprefix("run-")
    with subprocess.Popen([*COMMAND, home / "wandb"]) as process:
        while not uploaded(logs[0]):
            assert process.poll() is None
            time.sleep(0.05)
        uploading = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert len(uploading) == 2  # wandb and its service
    assert psutil.wait_procs(uploading, timeout=10)[1] == []
    service.only = ""
    first = service.runs[logs[0].stem.removeprefix("run-")]
    upserts = len(first.upserts)
    assert [uploaded(log) for log in logs] == [True, False, False]
    assert sync(home / "wandb") == {"uploaded": 2, "before": 1, "left": 0}
    assert len(first.upserts) == upserts
    assert len(service.runs) == 3
    assert all(complete(run) for run in service.runs.values())


def test_two_at_once_upload_once(service, home):
    track(home)
    with alone(home / "wandb", "lock"):  # neither is ready before the other begins
        both = [subprocess.Popen([*COMMAND, home / "wandb"], stderr=subprocess.PIPE, text=True) for _ in range(2)]
        for process in both:
            assert f"waiting: another process is at {home}/wandb" in process.stderr.readline()
    said = sorted(process.communicate(timeout=120)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], said
    assert "0 runs uploaded, 1 were there already" in said[0]
    assert "1 runs uploaded, 0 were there already" in said[1]


@pytest.mark.parametrize("damage", [lambda log: b"", lambda log: log[:3], lambda log: log[: len(log) // 2]])
def test_a_log_that_was_cut_off_stays_here_and_the_others_go(service, home, damage):
    for seed in (1, 2):
        track(home, seed=seed)
    log, _ = sorted((home / "wandb").glob("offline-run-*/*.wandb"))
    log.write_bytes(damage(log.read_bytes()))
    assert sync(home / "wandb") == {"uploaded": 1, "before": 0, "left": 1}


def flipped(log: bytes, place: int) -> bytes:
    return log[:place] + bytes([log[place] ^ 1]) + log[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"no log of wandb's", lambda log: flipped(log, 100), lambda log: flipped(log, len(log) // 2)],
    ids=["another file", "one bit at the beginning", "one bit in the middle"],
)
def test_a_log_that_wandb_rejects_is_named_and_the_others_go(service, home, damage):
    for seed in (1, 2):
        track(home, seed=seed)
    log, other = sorted((home / "wandb").glob("offline-run-*/*.wandb"))
    log.write_bytes(damage(log.read_bytes()))
    done = unrolled_sync(home / "wandb")
    assert done.returncode == 2
    assert f"{log}: wandb cannot read this log" in done.stderr
    assert uploaded(other)
    assert [complete(run) for run in service.runs.values()] == [True]


def test_a_wandb_that_cannot_read_its_logs_is_said(home, monkeypatch):
    (home / "wandb/offline-run-1-a").mkdir(parents=True)
    (home / "wandb/offline-run-1-a/run-a.wandb").touch()
    core = home / "core"
    core.write_text("#!/bin/sh\nprintf 'flag provided but not defined: -json\\nUsage:\\n' >&2\nexit 2\n")
    core.chmod(0o755)
    monkeypatch.setattr("wandb.util.get_core_path", lambda: str(core))
    with pytest.raises(UnrolledError, match=r"run-a\.wandb: wandb cannot read this log \(flag .* -json\): `pip"):
        sync(home / "wandb")


def test_asking_the_server_leaves_no_service_to_the_children_of_this_process(service):
    """What wandb would start for it would go on with the settings of now, and later runs would find it."""
    code = "import os; from unrolled import server; server.greet(); print(os.environ.get('WANDB_SERVICE'))"
    kept = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=kept)
    assert done.stdout == "None\n", done.stderr


def test_without_a_key_or_a_server_one_line_says_so_at_once(home, monkeypatch):
    track(home)
    began = time.monotonic()
    keyless = unrolled_sync(home / "wandb")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    serverless = unrolled_sync(home / "wandb")
    assert time.monotonic() - began < 60
    for done, reason in ((keyless, "no API key"), (serverless, "no answer from wandb at http://127.0.0.1:9")):
        assert done.returncode == 2
        assert reason in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_server_that_never_answers_is_one_line(home, monkeypatch):
    track(home)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with silence() as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        began = time.monotonic()
        done = unrolled_sync(home / "wandb")
        assert time.monotonic() - began < 60  # wandb itself: without an end
    assert done.returncode == 2
    assert f"no answer from wandb at {address}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_refused_key_is_said_though_wandb_itself_leaves_with_status_0(service, home):
    track(home)
    service.refused = True
    refused = unrolled_sync(home / "wandb")
    assert refused.returncode == 2
    assert "refuses the API key" in refused.stderr
    service.refused, service.closed = False, True  # the key is known, and may write nothing
    closed = unrolled_sync(home / "wandb", "--stalled", "20")
    assert closed.returncode == 2
    assert "1 of 1 runs could not be uploaded" in closed.stderr
    assert not service.runs


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UnrolledError, match="no such folder"):
        sync(tmp_path / "wandb")
