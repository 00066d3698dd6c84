"""Slurm's controller that forgets or is away. Commands here are stand-ins; the real thing is in test_slurm.py."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from unrolled import controller
from unrolled.errors import UnrolledError

SACCT = Path(__file__).parents[1] / "workflow/profiles/slurm/bin/sacct"
REMEMBERS = "echo 'MessageTimeout          = 10 sec'; echo 'MinJobAge               = {} sec'"

Stub = Callable[[str, str], None]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """A function that puts a command of Slurm's name in place."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def put(name: str, does: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\nhere={tmp_path}\n{does}\n")
        (tmp_path / name).chmod(0o755)

    return put


@pytest.mark.parametrize(("age", "asked"), [(180, "squeue"), (179, "sacct")])
def test_accounting_is_asked_where_the_controller_forgets_too_soon(stub: Stub, age: int, asked: str) -> None:
    stub("scontrol", REMEMBERS.format(age))
    stub("sacct", "true")
    assert controller.witness("squeue", SACCT.parent) == asked
    assert (shutil.which("sacct") == str(SACCT)) == (asked == "sacct")


def test_without_accounting_another_profile_is_named(stub: Stub) -> None:
    stub("scontrol", REMEMBERS.format(60))
    stub("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    with pytest.raises(UnrolledError, match=r"60 s after its end \(MinJobAge\).*workflow/profiles/cluster-generic"):
        controller.witness("squeue", SACCT.parent)


def test_a_controller_that_is_away_when_the_workflow_starts_ends_it(stub: Stub) -> None:
    stub("scontrol", "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(UnrolledError, match="start again when it does"):
        controller.witness("squeue", SACCT.parent)


class Executor:
    """As Snakemake's: jobs are handed in, and a look gives those that go on."""

    def __init__(self) -> None:
        self.handed: list[str] = []

    def run_jobs(self, jobs: list[str]) -> None:
        self.handed += jobs

    async def check_active_jobs(self, jobs: list[str]) -> AsyncIterator[str]:
        for job in jobs[1:]:
            yield job


def test_jobs_wait_for_a_controller_that_is_away_and_none_is_lost(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def look(jobs: list[str]) -> list[str]:
        return [job async for job in executor.check_active_jobs(jobs)]

    tries, executor = tmp_path / "tries", Executor()
    stub("scontrol", "echo asked >> $here/tries; [ $(wc -l < $here/tries) -gt 3 ]")
    monkeypatch.setattr(controller, "PAUSE", 0)
    controller.be_patient(executor)
    assert asyncio.run(look(["a", "b"])) == ["a", "b"]
    executor.run_jobs(["c"])
    assert (executor.handed, tries.read_text()) == (["c"], "asked\n" * 4)
    assert asyncio.run(look(["a", "b"])) == ["b"]
    assert capsys.readouterr().err.count("Slurm's controller does not answer") == 1


def test_who_cancelled_a_job_is_left_out_of_what_sacct_says(stub: Stub) -> None:
    stub("scontrol", REMEMBERS.format(300))
    stub("sacct", '[ "$1" = --clusters=all ] && printf "7|CANCELLED by 1000\\n8|FAILED\\n" || exit 3')
    assert controller.witness("sacct", SACCT.parent) == "sacct"
    told = subprocess.run(["sacct", "--clusters=all"], capture_output=True, text=True, check=True)
    assert told.stdout == "7|CANCELLED\n8|FAILED\n"
    assert subprocess.run(["sacct"], capture_output=True).returncode == 3
