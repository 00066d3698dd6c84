"""The workflow on a real Slurm: the same predictions as at home, and every fault survived: `make test-slurm`."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import slurm_cluster
from slurm_cluster import Cluster
from test_workflow import SNAKEMAKE, copy_project, edit

ABSENT = slurm_cluster.missing()
UNABLE = slurm_cluster.executors_missing()
ACCOUNTLESS = slurm_cluster.missing(slurm_cluster.ACCOUNTANTS)
PROFILE = ["--profile", "workflow/profiles/slurm", "--slurm-init-seconds-before-status-checks", "1"]
FAST = ["--latency-wait", "10", "--nocolor"]
RUNS = [f"results/demo/runs/demo/random/lstm/fold0-seed{seed}" for seed in (0, 1)]
EPOCHS = 25

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(ABSENT), reason=f"no Slurm: {', '.join(ABSENT)} not on PATH (Debian: slurm-wlm, munge)"),
    pytest.mark.skipif(bool(UNABLE), reason=f"{', '.join(UNABLE)} not installed (pip: requirements.cluster.lock)"),
]


@contextmanager
def started(**options):
    root = Path(tempfile.mkdtemp(prefix="slurm."))
    try:
        with slurm_cluster.running(root, **options) as cluster:
            yield cluster
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster():
    with started() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Two small runs, done at home."""
    project = copy_project(tmp_path_factory.mktemp("home"))
    matrix = {"data": ["demo"], "split": ["random"], "model": ["lstm"], "fold": [0], "seed": [0, 1]}
    edit(project / "config/data/demo.yaml", simulate={"n": 900, "families": 60, "seed": 0})
    train = {"max_epochs": EPOCHS, "patience": EPOCHS}
    edit(project / "config/config.yaml", matrix=matrix, train=train, resamples=100)
    subprocess.run([SNAKEMAKE, "--cores", "2"], cwd=project, check=True, capture_output=True)
    return project


@pytest.fixture
def project(undisturbed, tmp_path_factory):
    """The same before anything was trained; its tables and splits are there, as near to the package as it is."""
    copy = Path(shutil.copytree(undisturbed, tmp_path_factory.mktemp("away"), symlinks=True, dirs_exist_ok=True))
    shutil.rmtree(copy / "results/demo")
    return copy


class Workflow:
    """A Snakemake that hands its jobs to the cluster."""

    def __init__(self, project: Path, cluster: Cluster, *arguments: str, profile=PROFILE, **env: str):
        self.project = project
        command = [str(SNAKEMAKE), *profile, *FAST, *arguments]
        options = {"cwd": project, "env": cluster.env | env, "start_new_session": True}
        with (project / "snakemake.log").open("a") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, **options)

    def text(self) -> str:
        return (self.project / "snakemake.log").read_text()

    def attempts(self, run: str) -> list[str]:
        """What each attempt at a run has said."""
        path = self.project / f"results/demo/logs/demo.random.lstm.{run.split('/')[-1]}.train.log"
        return path.read_text().split("attempt ")[1:] if path.exists() else []

    def log(self, run: str) -> str:
        """What the last of them has said."""
        return (self.attempts(run) or [""])[-1]

    def freeze(self, runs: list[str] = RUNS) -> tuple[str, int]:
        """Stop the first of these runs after its third epoch, as if it had much to do: its name and process."""
        deadline = time.monotonic() + 300
        while not (reached := [run for run in runs if "epoch   3/" in self.log(run)]):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)
        numbers = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
        pid = next(pid for pid in numbers if _trains(pid, self.project, reached[0]))
        os.kill(pid, signal.SIGSTOP)
        return reached[0], pid

    def handed_in(self) -> int:
        """How many jobs Slurm was given."""
        return len(re.findall(r"has been submitted with SLURM jobid \d+", self.text()))

    def finish(self) -> None:
        assert self.process.wait(900) == 0, self.text()


def _trains(pid: int, project: Path, run: str) -> bool:
    """Whether a process is that of the run."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        here = Path(f"/proc/{pid}/cwd").resolve() == project.resolve()
    except OSError:
        return False
    return here and b"train" in words and f"paths.out={run}".encode() in words


def same_predictions(one: Path, two: Path) -> None:
    found = sorted(path.relative_to(one) for path in one.glob("results/demo/runs/**/predictions.parquet"))
    assert found
    for path in found:
        assert (one / path).read_bytes() == (two / path).read_bytes(), path


def went_on(workflow: Workflow, undisturbed: Path, run: str) -> None:
    """It ended with the numbers of the undisturbed one, and trained no saved epoch of this run again."""
    workflow.finish()
    same_predictions(undisturbed, workflow.project)
    for name in ("summary", "models"):
        table = f"results/demo/tables/{name}.csv"
        assert (undisturbed / table).read_bytes() == (workflow.project / table).read_bytes()
    assert json.loads((workflow.project / run / "run.json").read_text())["resumed"]
    assert "resuming from" in workflow.log(run)
    assert "epoch   1/" not in workflow.log(run)


def test_a_cancelled_job_goes_on(cluster, project, undisturbed):
    workflow = Workflow(project, cluster)
    run, _ = workflow.freeze()
    cluster.call("scancel", *cluster.jobs())
    went_on(workflow, undisturbed, run)


def test_a_node_that_loses_power_is_replaced(cluster, project, undisturbed):
    workflow = Workflow(project, cluster)
    run, _ = workflow.freeze()
    [node] = cluster.jobs().values()
    cluster.cut_power(node)
    try:
        went_on(workflow, undisturbed, run)
        assert "epoch   3/" in workflow.attempts(run)[0]  # Slurm itself began the job again
    finally:
        cluster.start_node(node)


def test_a_time_limit_is_survived(cluster, project, undisturbed):
    """The runs are stopped until their minute is over."""
    edit(project / "config/config.yaml", resources={"runtime": 1})
    workflow = Workflow(project, cluster, "--set-resources", "evaluate:runtime=0")
    run, _ = workflow.freeze()
    went_on(workflow, undisturbed, run)
    assert "TIMEOUT" in cluster.call("squeue", "--states=all", "--format=%T")


def test_a_job_over_its_memory_is_given_more(cluster, project, undisturbed):
    edit(project / "config/config.yaml", resources={"mem_mb": 500})
    workflow = Workflow(project, cluster, "--set-resources", "evaluate:mem_mb=100")
    workflow.finish()
    same_predictions(undisturbed, project)
    said = "".join((cluster.root / f"slurmd.{node}.log").read_text() for node in slurm_cluster.NODES)
    killed = re.search(r"(?:Job |StepId=)(\d+)\S* exceeded memory limit \(\d+ ?> ?(500|524288000)\)", said)
    assert killed
    assert f"SLURM jobid {killed[1]} (" in workflow.text()
    assert "Trying to restart" in workflow.text()


def test_the_controller_may_be_restarted(cluster, project, undisturbed):
    workflow = Workflow(project, cluster)
    run, pid = workflow.freeze()
    cluster.stop_controller()
    time.sleep(15)
    cluster.start_controller()
    os.kill(pid, signal.SIGCONT)
    workflow.finish()
    same_predictions(undisturbed, project)
    assert "resuming" not in workflow.log(run)


def test_a_killed_snakemake_is_started_again(cluster, project, undisturbed):
    workflow = Workflow(project, cluster)
    run, _ = workflow.freeze()
    left = set(cluster.jobs())
    os.killpg(workflow.process.pid, signal.SIGKILL)
    workflow.process.wait()
    assert set(cluster.jobs()) == left
    subprocess.run([SNAKEMAKE, "--unlock"], cwd=project, check=True, capture_output=True)
    again = Workflow(project, cluster)
    went_on(again, undisturbed, run)
    assert "a killed workflow left in the queue" in again.text()


def test_what_was_finished_in_a_job_that_dies_is_not_run_again(cluster, project, undisturbed):
    """Two runs in one job, one of them over before the job is cancelled."""
    workflow = Workflow(project, cluster)
    finished = [project / run / "checkpoints/finished/identity" for run in RUNS]
    cluster.until(lambda: any(path.exists() for path in finished), 300)
    [done] = [run for run, path in zip(RUNS, finished, strict=True) if path.exists()]
    run, _ = workflow.freeze([other for other in RUNS if other != done])
    before = (project / done / "run.json").read_text()
    cluster.call("scancel", *cluster.jobs())
    went_on(workflow, undisturbed, run)
    assert (project / done / "run.json").read_text() == before
    assert "finished before, and put back" in workflow.log(done)


def test_a_run_that_fails_keeps_none_behind_it_in_its_job_from_running(cluster, project, undisturbed):
    blocks = [project / run / "checkpoints" for run in RUNS]
    for block in blocks:
        block.parent.mkdir(parents=True)
        block.write_text("in the way")
    workflow = Workflow(project, cluster, "--retries", "0")
    assert workflow.process.wait(300) != 0
    assert workflow.handed_in() == 1
    assert all("FileExistsError" in workflow.log(run) for run in RUNS)
    for block in blocks:
        block.unlink()
    Workflow(project, cluster).finish()
    same_predictions(undisturbed, project)


@pytest.mark.skipif(bool(ACCOUNTLESS), reason=f"no accounting: {', '.join(ACCOUNTLESS)} not on PATH")
@pytest.mark.parametrize("forgets", [300, 2], ids=["squeue is asked", "sacct is asked"])
def test_accounting_is_no_hindrance(project, undisturbed, forgets):
    """Where the controller forgets its finished jobs at once, the executor turns to the database.

    There jobs are `CANCELLED by 0`, which plugin 2.8 takes for no end: that one is killed.
    """
    with started(accounting=True, forgets=forgets) as cluster:
        workflow = Workflow(project, cluster)
        run, pid = workflow.freeze()
        [job] = cluster.jobs()
        if forgets == 300:
            cluster.call("scancel", job)
        else:
            os.kill(pid, signal.SIGKILL)
        went_on(workflow, undisturbed, run)
        assert ("Falling back to 'sacct'" in workflow.text()) == (forgets < 3)
        told = cluster.call("sacct", "--noheader", "--allocations", "--parsable2", "--format=State", f"--jobs={job}")
        assert told.startswith("CANCELLED" if forgets == 300 else "FAILED")


def test_any_scheduler_does_by_template(cluster, project, undisturbed):
    profile = ["--profile", "workflow/profiles/cluster-generic"]
    workflow = Workflow(project, cluster, profile=profile, UNROLLED_SCHEDULER="slurm", UNROLLED_GRACE="5")
    run, _ = workflow.freeze()
    cluster.call("scancel", *cluster.jobs())
    went_on(workflow, undisturbed, run)


def test_a_gpu_is_asked_for_by_the_experiment(cluster, project, undisturbed):
    """The nodes' GPUs are devices in name alone: it is Slurm that is asked, and that gives them."""
    edit(project / "config/config.yaml", resources={"models": {"lstm": {"gres": "gpu:1", "runtime": "2h"}}})
    workflow = Workflow(project, cluster)
    _, pid = workflow.freeze()
    asked = cluster.call("squeue", "--noheader", "--states=running", "--format=%b %C %m %l").splitlines()
    os.kill(pid, signal.SIGCONT)
    assert set(asked) == {"gres:gpu:1 1 4000M 2:10:00"}  # a run and its metrics
    workflow.finish()
    same_predictions(undisturbed, project)


def test_runs_share_a_gpu_where_their_card_asks_for_a_share(cluster, project, undisturbed):
    """Each node has one GPU, of two shares."""
    edit(project / "config/model/lstm.yaml", resources={"gres": "shard:1"})
    workflow = Workflow(project, cluster)
    run, pid = workflow.freeze()
    [other] = set(RUNS) - {run}
    cluster.until(lambda: "epoch   3/" in workflow.log(other), 120)
    jobs = cluster.call("squeue", "--noheader", "--states=running", "--format=%b %N").splitlines()
    os.kill(pid, signal.SIGCONT)
    assert jobs in (["gres:shard:1 n1"] * 2, ["gres:shard:1 n2"] * 2)
    workflow.finish()
    same_predictions(undisturbed, project)


def test_the_default_experiment_gives_the_same_predictions_as_at_home(cluster, tmp_path):
    home = copy_project(tmp_path / "home")
    away = copy_project(tmp_path / "away")
    for project in (home, away):
        config = yaml.safe_load((project / "config/config.yaml").read_text())
        edit(project / "config/config.yaml", matrix=config["matrix"] | {"seed": [0]}, resamples=100)
    subprocess.run([SNAKEMAKE, "--cores", "2"], cwd=home, check=True, capture_output=True)
    workflow = Workflow(away, cluster, "--group-components", "runs=3", "baselines=9")
    workflow.finish()
    assert "localrule report:" in workflow.text()
    # table, clusters, neighbours, compare; folds and certificate of three splits; nine networks and nine baselines
    assert workflow.handed_in() == 4 + 3 + 3 + 3 + 1
    same_predictions(home, away)


def test_downloads_stay_on_the_login_node(cluster, tmp_path):
    project, mirror = copy_project(tmp_path / "project"), tmp_path / "mirror/mine"
    mirror.mkdir(parents=True)
    (mirror / "a.fasta").write_text(">a|label=x\nMKV\n>b|label=y\nMLV\n")
    card = {"title": "Mine", "task": "multiclass", "alphabet": "protein", "format": "fasta"}
    card |= {"header": {"target": "label"}, "files": [{"name": "a.fasta", "url": "https://example.org/a.fasta"}]}
    (project / "config/data/mine.yaml").write_text(yaml.safe_dump(card))
    matrix = {"data": ["mine"], "split": ["random"], "model": ["majority"], "fold": [0], "seed": [0]}
    edit(project / "config/config.yaml", matrix=matrix, mirror=str(mirror.parent))
    workflow = Workflow(project, cluster, "--", "results/data/mine/table.parquet")
    workflow.finish()
    assert re.findall(r"^((?:local)?rule \w+):$", workflow.text(), re.MULTILINE) == ["localrule fetch", "rule table"]
    assert workflow.handed_in() == 1
