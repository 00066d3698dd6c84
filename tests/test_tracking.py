"""wandb is a view: it records what it is given, and nothing it does stops a run."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from unrolled import tracking
from unrolled.errors import UnrolledError
from unrolled.files import write_json
from wandb_service import silence

CONFIG = {"cell": {"data": "demo", "split": "random", "model": "lstm", "fold": 0, "seed": 2}, "train": {}}
SETTINGS = {"mode": "offline", "project": "unrolled"}


def start(folder: Path, environment: dict[str, str] | None = None, **settings) -> str:
    """Start, log and finish one run in a process of its own; returns what it says on stderr."""
    code = (
        "import json, sys, pathlib; from unrolled import tracking\n"
        "settings, folder, config = json.loads(sys.argv[1])\n"
        "run = tracking.start(settings, pathlib.Path(folder), config)\n"
        "run and run.log({'val_loss': 0.5})\n"
        "tracking.finish(run, {'test/macro_f1': 0.25})\n"
        "print('finished', run and [run.group, run.name, run.job_type])"
    )
    arguments = json.dumps([SETTINGS | settings, str(folder), CONFIG])
    kept = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    env = kept | {"HOME": str(folder)} | (environment or {})
    done = subprocess.run(
        [sys.executable, "-c", code, arguments], capture_output=True, text=True, env=env, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    return done.stdout + done.stderr


def test_how_wandb_is_to_be_told_is_read_where_the_workflow_wrote_it(tmp_path):
    told = tmp_path / "experiment.json"
    with pytest.raises(UnrolledError, match=r"experiment\.json: there is no such file; `snakemake` writes it"):
        tracking.asked(told)
    write_json(told, {"metric": "mcc", "wandb": SETTINGS | {"experiment": "demo"}})
    assert tracking.asked(told) == SETTINGS | {"experiment": "demo"}


@pytest.mark.slow
def test_an_offline_run_is_grouped_and_named_after_its_cell(tmp_path):
    said = start(tmp_path)
    assert "['demo/random/lstm', 'demo/random/lstm/fold0-seed2', 'train']" in said
    assert "wandb: " not in said
    assert len(list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))) == 1


@pytest.mark.slow
def test_online_without_a_key_logs_offline_and_says_so(tmp_path):
    said = start(tmp_path, mode="online")
    assert "no API key" in said
    assert f"upload later with `unrolled sync {tmp_path}/wandb` or `snakemake --cores 1 wandb_sync` (with the" in said
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.slow
def test_online_without_a_network_goes_on_offline_at_once(tmp_path):
    nowhere = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    began = time.monotonic()
    assert "no answer from wandb" in start(tmp_path, nowhere, mode="online")
    assert time.monotonic() - began < 20
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.slow
def test_online_with_a_server_that_never_answers_goes_on_offline(tmp_path):
    with silence() as address:
        began = time.monotonic()
        said = start(tmp_path, {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": address}, mode="online")
        assert time.monotonic() - began < 60  # wandb itself: 90 and more
    assert f"no answer from wandb at {address}" in said
    assert "logging offline" in said
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.slow
def test_a_tracker_starts_wandb_with_the_first_row_and_without_its_job_queue(tmp_path):
    code = (
        "import sys, pathlib; from unrolled.tracking import Tracker\n"
        f"tracker = Tracker({SETTINGS!r}, pathlib.Path({str(tmp_path)!r}), {CONFIG!r})\n"
        "assert 'wandb' not in sys.modules\n"
        "tracker.log({'val_loss': 0.5}, step=3); tracker.log({'val_loss': 0.4}, step=4)\n"
        "assert tracker.run.name == 'demo/random/lstm/fold0-seed2'\n"
        "assert 'wandb.sdk.launch.agent' not in sys.modules\n"
        "from wandb.sdk.launch import launch_add; assert callable(launch_add)\n"  # put off, not lost
        "print(tracker.run.settings.sync_file); tracker.run.finish()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    wandb = Path(sys.executable).with_name("wandb")
    inspect = [wandb, "leet", "inspect", "--json", Path(done.stdout.strip()).parent]
    records = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [record["history"]["item"] for record in map(json.loads, records) if record["type"] == "history"]
    assert [(row["_step"], row["val_loss"]) for row in rows] == [(3, 0.5), (4, 0.4)]


def test_disabled_tracks_nothing(tmp_path):
    assert tracking.start(SETTINGS | {"mode": "disabled"}, tmp_path, CONFIG) is None
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_tracks_nothing_imports_nothing(tmp_path):
    tracker = tracking.Tracker(SETTINGS | {"mode": "disabled"}, tmp_path, CONFIG)
    tracker.log({"val_loss": 0.5}, step=0)
    tracker.finish(tmp_path, lambda: pytest.fail("nobody is told it"), None)
    assert tracker.run is None


def test_results_that_cannot_be_measured_are_said_and_the_run_is_closed(tmp_path, capsys):
    closed = []

    def report():
        raise ZeroDivisionError("no test rows")

    tracker = tracking.Tracker(SETTINGS, tmp_path, CONFIG)
    tracker.run = SimpleNamespace(summary={}, offline=True, finish=lambda: closed.append(True))
    tracker.finish(tmp_path, report, None)
    assert "could not tell the wandb run its results: no test rows" in capsys.readouterr().err
    assert closed


def test_a_row_that_cannot_be_logged_is_said_and_swallowed(tmp_path, capsys):
    tracker = tracking.Tracker(SETTINGS, tmp_path, CONFIG)
    tracker.run = object()
    tracker.log({"val_loss": 0.5}, step=7)
    assert "could not log step 7" in capsys.readouterr().err


def test_whatever_fails_in_wandb_is_said_and_swallowed(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert tracking.start(SETTINGS, blocked / "below", CONFIG) is None
    assert "tracking is off" in capsys.readouterr().err


def test_a_run_that_cannot_finish_is_said_and_swallowed(capsys):
    class Broken:
        def __init__(self):
            self.summary = {}

        def finish(self):
            raise OSError("disk full")

    tracking.finish(Broken(), {"a": 1})
    assert "could not finish the wandb run: disk full" in capsys.readouterr().err


def ended(tracker, finish, error):
    """Let an error end a run that wandb records, and closes by `finish`."""
    with tracker:
        tracker.run = SimpleNamespace(finish=finish)
        raise error


def test_a_run_that_ends_before_its_time_is_closed_as_failed(tmp_path):
    codes = []
    with pytest.raises(SystemExit):
        ended(
            tracking.Tracker(SETTINGS, tmp_path, CONFIG), lambda exit_code: codes.append(exit_code), SystemExit(143)
        )
    assert codes == [1]
    with tracking.Tracker(SETTINGS, tmp_path, CONFIG) as tracker:
        tracker.run = SimpleNamespace(finish=lambda exit_code: codes.append(exit_code))
    assert codes == [1]


def test_a_server_that_does_not_answer_holds_up_no_run_that_is_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "LEAVING", 0.1)
    began = time.monotonic()
    with pytest.raises(ValueError, match="why"):
        ended(tracking.Tracker(SETTINGS, tmp_path, CONFIG), lambda exit_code: time.sleep(10), ValueError("why"))
    assert time.monotonic() - began < 5
    assert "could not close the wandb run: no answer in 0.1 seconds" in capsys.readouterr().err


def test_a_run_that_ends_before_its_first_row_starts_no_tracking(tmp_path):
    with pytest.raises(ValueError, match="early"), tracking.Tracker(SETTINGS, tmp_path, CONFIG):
        raise ValueError("early")
    assert not list(tmp_path.iterdir())
