"""The templates of schedulers: what is handed over, and how a job is followed. Commands here are stand-ins.

They answer as the manuals of the schedulers say: OpenPBS without a history of jobs, Torque whose `qstat -x` is XML.
"""

import json
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


def run(folder: Path, scheduler: str, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A command of the profile, the stubs of the folder being the scheduler's."""
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "UNROLLED_SCHEDULER": scheduler} | env
    done = subprocess.run([PROFILE / command[0], *command[1:]], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def call(folder: Path, scheduler: str, *command: str, **env: str) -> str:
    """What it prints."""
    return run(folder, scheduler, *command, **env).stdout


SUBMISSIONS = {  # command, its answer, and what it is to be asked for
    "sge": (
        "qsub",
        "7",
        f"-terse|-V|-cwd|-S|/bin/bash|-j|y|-o|{LOGS}/|-pe|smp|4|-l|h_vmem=2001M|-l|h_rt=5400|-q|long|",
    ),
    "pbs": (
        "qsub",
        "7",
        f"-V|-j|oe|-o|HERE/{LOGS}/|-l|select=1:ncpus=4:mem=8000mb|-l|walltime=5400|-q|long|",
    ),
    "lsf": (
        "bsub",
        "Job <7> is submitted to queue <long>.",
        f"-n|4|-R|span[hosts=1] rusage[mem=8000MB]|-M|8000MB|-W|90|-o|{LOGS}/%J.log|-q|long|bash|",
    ),
    "slurm": (
        "sbatch",
        "7;cluster",
        f"--parsable|--cpus-per-task=4|--mem=8000|--time=90|--output={LOGS}/%j.log|-q|long|",
    ),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder whose name a shell would take apart."""
    folder = tmp_path / "my project's"
    folder.mkdir()
    return folder


def hand_in(folder: Path, scheduler: str, script: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Submit a script; returns what is printed, and the file that the scheduler is to run."""
    command, answer, _ = SUBMISSIONS[scheduler]
    (folder / "job.sh").write_text(script)
    stub(folder, command, f"printf '%s|' \"$@\" > asked; echo '{answer}'")
    said = run(folder, scheduler, "submit", "4", "8000", "90", "job.sh", UNROLLED_SUBMIT="-q long")
    (folder / "job.sh").unlink()  # Snakemake's goes when it ends
    return said, Path((folder / "asked").read_text().split("|")[-2])


def asking(gres: str) -> str:
    """The head of a script as Snakemake writes it."""
    told = {"params": {"changes": ['train.x={"gres": "no"}']}, "resources": {"gres": gres, "turn": 1}}
    return f"#!/bin/sh\n# properties = {json.dumps(told)}\necho '# properties = '\n"


@pytest.mark.parametrize("script", ["#!/bin/sh\n", asking("")])
@pytest.mark.parametrize("scheduler", SUBMISSIONS)
def test_a_job_is_handed_over_in_the_units_of_the_scheduler(place: Path, scheduler: str, script: str) -> None:
    said, job = hand_in(place, scheduler, script)
    assert (said.stdout, said.stderr) == ("7\n", "")
    wanted = SUBMISSIONS[scheduler][2].replace("HERE", str(place))
    assert (place / "asked").read_text() == f"{wanted}{job}|"
    assert job.parent == place / LOGS


@pytest.mark.parametrize(
    ("scheduler", "gres", "asked"),
    [
        ("slurm", "gpu:a100:2", "|--gres=gpu:a100:2|"),
        ("slurm", "shard:1", "|--gres=shard:1|"),
        ("pbs", "gpu", "|select=1:ncpus=4:mem=8000mb:ngpus=1|"),
        ("pbs", "gpu:2", "|select=1:ncpus=4:mem=8000mb:ngpus=2|"),
        ("lsf", "gpu:2", "|-gpu|num=2|"),
    ],
)
def test_a_gpu_is_asked_for(place: Path, scheduler: str, gres: str, asked: str) -> None:
    said, _ = hand_in(place, scheduler, asking(gres))
    assert (said.stdout, said.stderr) == ("7\n", "")
    assert asked in (place / "asked").read_text()


@pytest.mark.parametrize(("scheduler", "gres"), [("sge", "gpu:1"), ("pbs", "shard:1"), ("lsf", "gpu:a100:1")])
def test_what_a_template_cannot_ask_for_is_said(place: Path, scheduler: str, gres: str) -> None:
    said, job = hand_in(place, scheduler, asking(gres))
    assert said.stdout == "7\n"
    warning = f"warning: {scheduler} is not asked for gres {gres}: give the site's option in UNROLLED_SUBMIT\n"
    assert said.stderr == warning
    wanted = SUBMISSIONS[scheduler][2].replace("HERE", str(place))
    assert (place / "asked").read_text() == f"{wanted}{job}|"


def test_a_job_that_the_scheduler_does_not_take_is_no_job(place: Path) -> None:
    (place / "job.sh").write_text("")
    stub(place, "bsub", "echo 'Request aborted by esub. Job not submitted.'")
    with pytest.raises(AssertionError, match="the scheduler did not take the job"):
        call(place, "lsf", "submit", "4", "8000", "90", "job.sh", UNROLLED_PAUSES="")


@pytest.mark.parametrize(("away", "taken"), [(2, True), (3, False)])
def test_a_scheduler_that_is_away_for_a_while_is_asked_again(place: Path, away: int, taken: bool) -> None:
    (place / "job.sh").write_text("")
    stub(place, "sbatch", f"echo asked >> tries; [ $(wc -l < tries) -gt {away} ] && echo 7")
    submit = ("slurm", "submit", "4", "8000", "90", "job.sh")
    if taken:
        assert call(place, *submit, UNROLLED_PAUSES="0 0.1") == "7\n"
    else:
        with pytest.raises(AssertionError, match=r"trying again in 0\.1 s\s+the scheduler did not take the job"):
            call(place, *submit, UNROLLED_PAUSES="0 0.1")
    assert (place / "tries").read_text() == "asked\n" * 3


def test_a_scheduler_that_refuses_is_not_waited_for_by_every_job(place: Path) -> None:
    (place / "job.sh").write_text("")
    stub(place, "sbatch", "echo asked >> tries; [ -e open ] && echo 7")
    submit = ("slurm", "submit", "4", "8000", "90", "job.sh")
    for tries in (3, 4, 5):
        with pytest.raises(AssertionError, match="the scheduler did not take the job"):
            call(place, *submit, UNROLLED_PAUSES="0 0.1")
        assert (place / "tries").read_text() == "asked\n" * tries
    (place / "open").touch()
    assert call(place, *submit, UNROLLED_PAUSES="0 0.1") == "7\n"
    (place / "open").unlink()
    with pytest.raises(AssertionError, match=r"trying again in 0\.1 s"):
        call(place, *submit, UNROLLED_PAUSES="0 0.1")


def squeue(does: str, up: bool = True) -> dict[str, str]:
    return {"squeue": does, "scontrol": f"echo 'Slurmctld(primary) at here is {'UP' if up else 'DOWN'}'"}


def pbs(does: str, torque: bool = False) -> dict[str, str]:
    history = "[ \"$1\" = -x ] && echo '<Data><Job><job_state>C</job_state></Job></Data>' && exit\n"
    return {"qstat": (history if torque else "") + does}


UNKNOWN = "echo 'qstat: Unknown Job Id 7.server' >&2; exit 153"
HISTORY = "echo 'qstat: 7.server Job has finished, use -x or -H to obtain historical job information' >&2; exit 35"
REFUSED = "echo 'Connection refused' >&2; echo 'qstat: cannot connect to server' >&2; exit 255"

ALIVE = {  # scheduler -> its commands while a job waits, runs, or nobody knows
    "sge": {
        "waits": {"qstat": "echo '7 0.5 job ann qw 11/26/2026 12:00:00 1'"},
        "runs": {"qstat": "echo '6 0.5 job ann Eqw 11/26/2026 1'; echo '7 0.5 job ann r 11/26/2026 12:00:00 1'"},
        "no master": {"qstat": "echo 'error: commlib error' >&2; exit 1"},
    },
    "pbs": {
        "waits": pbs("echo 'Job Id: 7.server'; echo '    job_state = Q'"),
        "runs": pbs("echo 'Job Id: 7.server'; echo '    job_state = R'"),
        "exits": pbs("echo '    job_state = E'"),
        "runs, by Torque": pbs("echo '    job_state = R'", torque=True),
        "no master": pbs(REFUSED),
    },
    "lsf": {
        "waits": {"bjobs": "echo PEND"},
        "runs": {"bjobs": "echo RUN"},
        "host lost": {"bjobs": "echo UNKWN"},
        "no master": {"bjobs": "echo 'LSF is down. Please wait ...' >&2; exit 255"},
    },
    "slurm": {
        "waits": squeue("echo '7 main job ann PD 0:00 1 (None)'"),
        "runs": squeue("echo '7 main job ann R 0:01 1 n1'"),
        "no master": squeue("exit 1", up=False),
    },
}
GONE = {  # ... when it has ended, or was killed, and what a scheduler says of that is no verdict
    "sge": {
        "ended": {"qstat": ""},
        "in error": {"qstat": "echo '7 0.5 job ann Eqw 11/26/2026 12:00:00 1'"},
    },
    "pbs": {
        "ended, without history": pbs(UNKNOWN),
        "ended, with history": pbs(HISTORY),
        "ended, by Torque": pbs("echo '    job_state = C'; echo '    exit_status = 0'", torque=True),
        "forgotten by Torque": pbs(UNKNOWN, torque=True),
    },
    "lsf": {
        "done": {"bjobs": "echo DONE"},
        "exited": {"bjobs": "echo EXIT"},
        "forgotten": {"bjobs": "echo 'Job <7> is not found' >&2; exit 255"},
    },
    "slurm": {"ended": squeue(""), "forgotten": squeue("echo 'Invalid job id specified' >&2; exit 1")},
}


def states(of: dict[str, dict[str, dict[str, str]]]) -> list[tuple[str, str]]:
    return [(scheduler, state) for scheduler, states in of.items() for state in states]


def status(folder: Path, scheduler: str, commands: dict[str, str], grace: int = 90) -> str:
    for name, does in commands.items():
        stub(folder, name, does)
    return call(folder, scheduler, "status", "7", UNROLLED_GRACE=str(grace)).strip()


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize(("scheduler", "state"), states(ALIVE) + states(GONE), ids=", ".join)
def test_a_job_itself_says_how_it_ended_whatever_the_scheduler_says(
    place: Path, scheduler: str, state: str, code: int
) -> None:
    _, job = hand_in(place, scheduler, f'#!/bin/sh\necho "$((1 + 1))" > done\nexit {code}  # END\n')
    assert subprocess.run(["bash", job], cwd=place).returncode == code
    assert (place / "done").read_text() == "2\n"
    commands = (ALIVE[scheduler] | GONE[scheduler])[state]
    assert status(place, scheduler, commands, grace=0) == ("failed" if code else "success")


@pytest.mark.parametrize(("scheduler", "state"), states(ALIVE), ids=", ".join)
def test_a_job_that_waits_or_runs_or_that_nobody_knows_of_is_waited_for(
    place: Path, scheduler: str, state: str
) -> None:
    hand_in(place, scheduler, "")
    assert status(place, scheduler, ALIVE[scheduler][state], grace=0) == "running"


@pytest.mark.parametrize(("scheduler", "state"), states(GONE), ids=", ".join)
def test_a_job_that_is_gone_without_a_word_was_killed(place: Path, scheduler: str, state: str) -> None:
    hand_in(place, scheduler, "")
    assert status(place, scheduler, GONE[scheduler][state]) == "running"  # its file may come in sight late
    assert status(place, scheduler, GONE[scheduler][state]) == "running"
    assert status(place, scheduler, GONE[scheduler][state], grace=0) == "failed"


def test_the_grace_begins_when_a_job_is_missed_last(place: Path) -> None:
    hand_in(place, "pbs", "")
    status(place, "pbs", pbs(UNKNOWN))
    gone = place / LOGS / "7.gone"
    gone.write_text("0\n")  # since the start of this machine
    assert status(place, "pbs", ALIVE["pbs"]["runs"]) == "running"
    assert status(place, "pbs", pbs(UNKNOWN)) == "running"


@pytest.mark.skipif(not Path("/proc/uptime").exists(), reason="needs a clock that nobody sets")
def test_a_clock_that_is_set_ends_no_grace(place: Path) -> None:
    hand_in(place, "pbs", "")
    for day in (0, 86400, 0):
        stub(place, "date", f"echo {1800000000 + day}")
        assert status(place, "pbs", pbs(UNKNOWN)) == "running"
    assert status(place, "pbs", pbs(UNKNOWN), grace=0) == "failed"


def test_a_grace_that_began_later_than_now_begins_again(place: Path) -> None:
    hand_in(place, "pbs", "")
    (place / LOGS / "7.gone").write_text("99999999999\n")
    assert status(place, "pbs", pbs(UNKNOWN)) == "running"
    assert status(place, "pbs", pbs(UNKNOWN), grace=0) == "failed"


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_full_disk_is_no_verdict_and_ends_no_workflow(place: Path, left: str) -> None:
    """That a job is missed cannot be noted; at the next look there is room again."""
    hand_in(place, "pbs", "")
    gone = place / LOGS / "7.gone"
    gone.touch() if left == "an empty file" else gone.symlink_to("nowhere/gone")
    assert status(place, "pbs", pbs(UNKNOWN)) == "running"
    gone.unlink()
    assert status(place, "pbs", pbs(UNKNOWN)) == "running"
    assert status(place, "pbs", pbs(UNKNOWN), grace=0) == "failed"


def test_a_number_that_is_given_again_is_that_of_another_job(place: Path) -> None:
    for code, end in ((1, "failed"), (0, "success")):
        _, job = hand_in(place, "sge", f"exit {code}")
        assert status(place, "sge", ALIVE["sge"]["runs"], grace=0) == "running"
        subprocess.run(["bash", job])
        assert status(place, "sge", GONE["sge"]["ended"], grace=0) == end
    hand_in(place, "sge", "")
    (place / LOGS / "7.gone").write_text("0\n")
    hand_in(place, "sge", "")
    assert status(place, "sge", GONE["sge"]["ended"]) == "running"


def test_a_killed_job_leaves_no_half_written_status(place: Path) -> None:
    _, job = hand_in(place, "pbs", "kill -9 $$; sleep 1")
    assert subprocess.run(["bash", job], cwd=place).returncode == -9
    assert not list(job.parent.glob("job.*.*"))
