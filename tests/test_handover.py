"""What a finished run hands over is put back for another attempt at it, and nobody else's; one process at a run."""

import multiprocessing
import time
from pathlib import Path

import pytest

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


def test_another_attempt_finds_what_was_finished(run: Path) -> None:
    assert restored(run, "this", again=True)
    assert [(run / name).read_text() for name in NAMES] == [f"the {name}" for name in NAMES]


@pytest.mark.parametrize(("identity", "again"), [("another", True), ("this", False)])
def test_other_settings_or_a_first_attempt_compute_anew(run: Path, identity: str, again: bool) -> None:
    assert not restored(run, identity, again)
    assert not (run / NAMES[0]).exists()
    assert not restored(run, "this", again=True)  # forgotten


def test_half_of_what_was_kept_is_nothing(run: Path) -> None:
    (run / "checkpoints/finished/identity").unlink()
    assert not restored(run, "this", again=True)


def test_kept_files_take_no_space_and_do_not_follow_new_ones(run: Path) -> None:
    assert restored(run, "this", again=True)
    assert (run / NAMES[0]).stat().st_nlink == 2
    other = run / "new"
    other.write_text("other")
    other.replace(run / NAMES[0])
    assert (run / "checkpoints/finished" / NAMES[0]).read_text() == f"the {NAMES[0]}"


def _hold(out: Path, ready: object, seconds: float) -> None:
    with alone(out):
        ready.set()  # type: ignore[attr-defined]
        time.sleep(seconds)


def test_the_second_process_waits_for_the_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    first = context.Process(target=_hold, args=(tmp_path, ready, 1.0))
    first.start()
    assert ready.wait(60)
    with alone(tmp_path) as waited:
        assert waited
    first.join()
    with alone(tmp_path) as waited:
        assert not waited
