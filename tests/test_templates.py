"""The templates of schedulers: what is handed over, and what is made of their answers. Commands here are stubs."""

import os
import subprocess
from pathlib import Path

import pytest

PROFILE = Path(__file__).parents[1] / "workflow/profiles/cluster-generic"
LOGS = ".snakemake/cluster_logs"


def stub(folder: Path, name: str, does: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)


def call(folder: Path, scheduler: str, *command: str, **env: str) -> str:
    """What a command of the profile prints, the stubs of the folder being the scheduler's."""
    stub(folder, "sleep", ":")
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "UNROLLED_SCHEDULER": scheduler} | env
    done = subprocess.run([PROFILE / command[0], *command[1:]], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


SUBMISSIONS = {  # command, its answer, and what it is to be asked for
    "sge": (
        "qsub",
        "7",
        f"-terse|-V|-cwd|-S|/bin/bash|-j|y|-o|{LOGS}/|-pe|smp|4|-l|h_vmem=2001M|-l|h_rt=5400|-q|long|job.sh",
    ),
    "pbs": (
        "qsub",
        "7",
        f"-V|-j|oe|-o|HERE/{LOGS}/|-l|select=1:ncpus=4:mem=8000mb|-l|walltime=5400|-q|long|job.sh",
    ),
    "lsf": (
        "bsub",
        "Job <7> is submitted to queue <long>.",
        f"-n|4|-R|span[hosts=1] rusage[mem=8000MB]|-M|8000MB|-W|90|-o|{LOGS}/%J.log|-q|long|bash|job.sh",
    ),
}


@pytest.mark.parametrize("scheduler", SUBMISSIONS)
def test_a_job_is_handed_over_in_the_units_of_the_scheduler(tmp_path: Path, scheduler: str) -> None:
    command, answer, wanted = SUBMISSIONS[scheduler]
    stub(tmp_path, command, f"printf '%s|' \"$@\" > '{tmp_path}/asked'; echo '{answer}'")
    said = call(tmp_path, scheduler, "submit", "4", "8000", "90", "job.sh", UNROLLED_SUBMIT="-q long")
    assert said == "7\n"
    assert (tmp_path / "asked").read_text() == wanted.replace("HERE", str(tmp_path)) + "|"
    assert (tmp_path / LOGS).is_dir()


def listed(state: str) -> dict[str, str]:
    """Grid Engine's answers on a job that it has in its list."""
    return {"qstat": f'[ "$1" = -j ] || echo "7 0.5 job ann {state} 11/26/2026 12:00:00 1"'}


def accounted(failed: int, status: int) -> dict[str, str]:
    """Its answers on one that has left the list."""
    return {"qstat": '[ "$1" != -j ]', "qacct": f"echo 'failed  {failed}'; echo 'exit_status  {status}'"}


def pbs(*lines: str, status: int = 0) -> dict[str, str]:
    return {"qstat": "\n".join(f"echo '    {line}'" for line in lines) + f"\nexit {status}"}


def lsf(answer: str, status: int = 0) -> dict[str, str]:
    return {"bjobs": f"echo '{answer}'{' >&2' if status else ''}; exit {status}"}


STATES = {
    ("sge", "pending"): (listed("qw"), "running"),
    ("sge", "running"): (listed("r"), "running"),
    ("sge", "in error"): (listed("Eqw"), "failed"),
    ("sge", "done"): (accounted(0, 0), "success"),
    ("sge", "exited"): (accounted(0, 1), "failed"),
    ("sge", "killed"): (accounted(100, 0), "failed"),
    ("sge", "unknown"): ({"qstat": '[ "$1" != -j ]', "qacct": "exit 1"}, "failed"),
    ("sge", "no master"): ({"qstat": "echo 'error: commlib error' >&2; exit 1", "qacct": "exit 1"}, "running"),
    ("pbs", "pending"): (pbs("job_state = Q"), "running"),
    ("pbs", "running"): (pbs("job_state = R"), "running"),
    ("pbs", "done"): (pbs("job_state = F", "Exit_status = 0"), "success"),
    ("pbs", "done, by Torque"): (pbs("job_state = C", "Exit_status = 0"), "success"),
    ("pbs", "exited"): (pbs("job_state = F", "Exit_status = 1"), "failed"),
    ("pbs", "killed"): (pbs("job_state = F", "Exit_status = -29"), "failed"),
    ("pbs", "deleted before it ran"): (pbs("job_state = F"), "failed"),
    ("pbs", "unknown"): (pbs("qstat: Unknown Job Id 7.server", status=153), "failed"),
    ("pbs", "no master"): (pbs("Connection refused", "qstat: cannot connect to server", status=255), "running"),
    ("lsf", "pending"): (lsf("PEND"), "running"),
    ("lsf", "running"): (lsf("RUN"), "running"),
    ("lsf", "done"): (lsf("DONE"), "success"),
    ("lsf", "exited"): (lsf("EXIT"), "failed"),
    ("lsf", "unknown"): (lsf("Job <7> is not found", status=255), "failed"),
    ("lsf", "lost host"): (lsf("UNKWN"), "running"),
    ("lsf", "no master"): (lsf("LSF is down. Please wait ...", status=255), "running"),
}


@pytest.mark.parametrize(("scheduler", "state"), STATES, ids=[", ".join(case) for case in STATES])
def test_what_a_scheduler_says_of_a_job(tmp_path: Path, scheduler: str, state: str) -> None:
    commands, wanted = STATES[scheduler, state]
    for name, does in commands.items():
        stub(tmp_path, name, does)
    assert call(tmp_path, scheduler, "status", "7") == f"{wanted}\n"
