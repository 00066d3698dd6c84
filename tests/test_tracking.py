"""wandb is a view: it records what it is given, and nothing it does stops a run."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unrolled import tracking

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
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)} | (environment or {})
    done = subprocess.run(
        [sys.executable, "-c", code, arguments], capture_output=True, text=True, env=env, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    return done.stdout + done.stderr


@pytest.mark.slow
def test_an_offline_run_is_grouped_and_named_after_its_cell(tmp_path):
    said = start(tmp_path)
    assert "['demo/random/lstm', 'demo/random/lstm/fold0-seed2', 'train']" in said
    assert len(list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))) == 1


@pytest.mark.slow
def test_online_without_a_key_logs_offline_and_says_so(tmp_path):
    assert "no API key" in start(tmp_path, mode="online")
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.slow
def test_online_without_a_network_goes_on_offline_within_a_minute(tmp_path):
    nowhere = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    began = time.monotonic()
    assert "no connection" in start(tmp_path, nowhere, mode="online")
    assert time.monotonic() - began < 60
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


def test_disabled_tracks_nothing(tmp_path):
    assert tracking.start(SETTINGS | {"mode": "disabled"}, tmp_path, CONFIG) is None
    assert not list(tmp_path.iterdir())


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
