"""Slurm's controller, where Snakemake's executor (2.8) would wait for ever, or give up at once.

It forgets a job `MinJobAge` seconds after its end, but the executor may look three minutes apart, and waits without
end for a job that is gone. While the controller is away no job can be handed in: to the executor, the job's failure.
If it looks then, and nobody answers, it loses the jobs that it looked for, and waits for them without end, too.
"""

import os
import re
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from unrolled.console import say
from unrolled.errors import UnrolledError

APART = 180  # seconds between two looks of the executor at its jobs, at most
CONFIG = ("scontrol", "show", "config")
PAUSE = 10.0  # seconds between two questions whether the controller is back


def witness(chosen: str, commands: Path) -> str:
    """The command that is to tell how jobs ended: `chosen`, or sacct where squeue would have forgotten them.

    Args:
        chosen: squeue or sacct.
        commands: a folder with a sacct whose answers the executor understands: it goes to the front of PATH.

    Raises:
        UnrolledError: they are forgotten too soon, and there is no accounting; or the controller does not answer.
    """
    found = "sacct" if _forgets() else chosen
    if found == "sacct":
        os.environ["PATH"] = f"{commands.resolve()}:{os.environ['PATH']}"
    return found


def _forgets() -> bool:
    """Whether a job is forgotten sooner than it is looked at; UnrolledError if accounting does not remember it."""
    config = _told(*CONFIG)
    if config is None:
        raise UnrolledError("Slurm's controller does not answer `scontrol show config`: start again when it does")
    age = re.search(r"^MinJobAge\s*=\s*(\d+)", config, re.MULTILINE)
    if age is None or int(age[1]) >= APART:
        return False
    early = f"Slurm's controller forgets a job {age[1]} s after its end (MinJobAge), sooner than it is looked at"
    if _told("sacct", "--noheader", "--allocations", "--starttime=now") is None:
        other = "UNROLLED_SCHEDULER=slurm snakemake --profile workflow/profiles/cluster-generic"
        raise UnrolledError(f"{early} ({APART} s), and sacct does not answer. What needs neither: `{other}`")
    say(f"{early}: sacct is asked")
    return True


def be_patient(executor: Any) -> None:
    """Have the executor hand in jobs, and look at those that it waits for, while the controller answers, not else.

    What is ready waits in Snakemake's main thread, so Ctrl-C ends it.
    """
    hand_in, look, away = executor.run_jobs, executor.check_active_jobs, False

    def answers() -> bool:
        nonlocal away
        before, away = away, _told(*CONFIG) is None
        if away and not before:
            say("Slurm's controller does not answer: jobs are looked at, and ready ones handed in, when it does")
        return not away

    def run_jobs(jobs: Any) -> None:
        while not answers():
            time.sleep(PAUSE)
        hand_in(jobs)

    async def check_active_jobs(jobs: list[Any]) -> AsyncIterator[Any]:
        if answers():
            async for job in look(jobs):
                yield job
        else:
            for job in jobs:
                yield job

    executor.run_jobs, executor.check_active_jobs = run_jobs, check_active_jobs


def _told(*command: str) -> str | None:
    """What a command says; None if it fails, or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
