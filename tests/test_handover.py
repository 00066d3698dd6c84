"""What a finished run hands over is put back whenever it is asked for, and nobody else's; one process at a run."""

import multiprocessing
import re
import socket
import time
from pathlib import Path

import pytest

from unrolled import handover
from unrolled.handover import alone, keep, restored

NAMES = ("predictions.parquet", "run.json")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_text(f"the {name}")
    keep(tmp_path, "this", NAMES)
    for name in NAMES:
        (tmp_path / name).unlink()
    return tmp_path


def test_what_was_finished_is_put_back_however_often_it_is_asked_for(run: Path) -> None:
    for _ in range(2):
        assert restored(run, "this")
        assert [(run / name).read_text() for name in NAMES] == [f"the {name}" for name in NAMES]
        (run / NAMES[0]).unlink()


def test_another_run_finds_nothing_and_leaves_nothing(run: Path) -> None:
    assert not restored(run, "another")
    assert not (run / NAMES[0]).exists()
    assert not restored(run, "this")  # forgotten


def test_half_of_what_was_kept_is_nothing(run: Path) -> None:
    (run / "checkpoints/finished/identity").unlink()
    assert not restored(run, "this")


@pytest.mark.parametrize("damage", [b"the run.jsom", b"", None])
def test_what_was_kept_and_changed_since_is_nothing(run: Path, damage: bytes | None) -> None:
    kept = run / "checkpoints/finished/run.json"
    kept.unlink() if damage is None else kept.write_bytes(damage)
    assert not restored(run, "this")
    assert not (run / "run.json").exists()


def test_kept_files_take_no_space_and_do_not_follow_new_ones(run: Path) -> None:
    assert restored(run, "this")
    assert (run / NAMES[0]).stat().st_nlink == 2
    other = run / "new"
    other.write_text("other")
    other.replace(run / NAMES[0])
    assert (run / "checkpoints/finished" / NAMES[0]).read_text() == f"the {NAMES[0]}"


def _hold(out: Path, ready: object, seconds: float) -> None:
    with alone(out):
        ready.set()  # type: ignore[attr-defined]
        time.sleep(seconds)


def test_the_second_process_waits_for_the_first_and_says_for_whom_and_at_length_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setattr(handover, "LOOK", 0.1)
    monkeypatch.setattr(handover, "LONG", 0.4)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    first = context.Process(target=_hold, args=(tmp_path, ready, 3.0))
    first.start()
    assert ready.wait(60)
    with alone(tmp_path):
        at_once, *later = capsys.readouterr().err.splitlines()
    first.join()
    holder = rf"process {first.pid} on {socket.gethostname()} \(job 42 of Slurm\), since 20\d\d-\d\d-\d\d [\d:]{{8}}"
    assert re.fullmatch(rf"waiting: another process is at {tmp_path}: {holder}", at_once)
    assert 1 <= len(later) <= 3  # after 0.4, 0.8 and 1.6 seconds and what a look takes, or less often
    for line in later:
        assert line.startswith(at_once)
        assert f"remove {tmp_path}/checkpoints/lock and start again" in line
    with alone(tmp_path):
        assert capsys.readouterr().err == ""
