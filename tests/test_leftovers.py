"""Whose jobs are cancelled: those of a dead workflow, and nobody else's. The real thing is in test_slurm.py."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from unrolled import leftovers
from unrolled.errors import UnrolledError
from unrolled.files import read_json, write_json

HERE = socket.gethostname()


def dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of Slurm's names that note what they were asked; the queue is a file that scancel empties."""
    for name, does in (
        ("squeue", 'cat "$here/jobs"'),
        ("scancel", 'echo "$@" > "$here/cancelled"; : > "$here/jobs"'),
    ):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\nhere={tmp_path}\n{does}\n")
        script.chmod(0o755)
    (tmp_path / "jobs").write_text("7\n8\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_jobs_of_a_dead_workflow_are_cancelled(queue: Path) -> None:
    write_json(queue / "record", {"name": "old", "host": HERE, "pid": dead()})
    leftovers.take_over(queue / "record", "new")
    assert (queue / "cancelled").read_text() == "--name=old\n"
    assert read_json(queue / "record").items() > {"name": "new", "host": HERE, "pid": os.getpid()}.items()


def test_jobs_of_a_living_workflow_are_left_alone(queue: Path) -> None:
    for name in ("old", "new"):
        leftovers.take_over(queue / "record", name)
    assert read_json(queue / "record")["name"] == "new"
    assert not (queue / "cancelled").exists()


@pytest.mark.parametrize(("host", "cancelled"), [(HERE, True), ("elsewhere", False)])
def test_jobs_of_another_experiment_are_cancelled_where_its_workflow_is_known_to_be_dead(
    queue: Path, host: str, cancelled: bool
) -> None:
    write_json(queue / "other", {"name": "old", "host": host, "pid": dead()})
    leftovers.take_over(queue / "record", "new", [queue / "other", queue / "record"])
    assert (queue / "cancelled").exists() == cancelled
    assert read_json(queue / "record")["name"] == "new"
    assert read_json(queue / "other")["name"] == "old"


def test_this_experiments_record_is_of_a_dead_workflow_wherever_that_was(queue: Path) -> None:
    write_json(queue / "record", {"name": "old", "host": "elsewhere", "pid": os.getpid()})
    leftovers.take_over(queue / "record", "new", [queue / "record"])
    assert (queue / "cancelled").read_text() == "--name=old\n"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to tell processes of one number apart")
@pytest.mark.parametrize("pid", [os.getpid(), 1], ids=["mine", "another"])
def test_a_number_that_another_process_has_since_is_no_living_workflow(queue: Path, pid: int) -> None:
    leftovers.take_over(queue / "record", "old")
    write_json(queue / "record", read_json(queue / "record") | {"pid": pid, "born": "-1"})
    leftovers.take_over(queue / "record", "new")
    assert (queue / "cancelled").read_text() == "--name=old\n"


def test_a_queue_that_does_not_answer_stops_the_next_workflow(queue: Path) -> None:
    write_json(queue / "record", {"name": "old", "host": HERE, "pid": dead()})
    (queue / "squeue").write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n")
    with pytest.raises(UnrolledError, match="Unable to contact slurm controller"):
        leftovers.take_over(queue / "record", "new")
    assert read_json(queue / "record")["name"] == "old"


def test_the_first_workflow_finds_nothing(queue: Path) -> None:
    leftovers.take_over(queue / "logs/record", "new")
    assert read_json(queue / "logs/record")["name"] == "new"
    assert not (queue / "cancelled").exists()


def test_a_workflow_lets_go_of_its_own_record_and_of_nobody_elses(tmp_path: Path) -> None:
    record = tmp_path / "record"
    leftovers.let_go(record)  # there is none
    for host, pid in ((HERE, dead()), ("elsewhere", os.getpid())):
        write_json(record, {"name": "old", "host": host, "pid": pid})
        leftovers.let_go(record)
        assert read_json(record)["name"] == "old"
    leftovers.take_over(tmp_path / "new", "new")
    leftovers.let_go(tmp_path / "new")
    assert not (tmp_path / "new").exists()
