"""The workflow on a real Slurm: the same predictions as at home, and every fault survived: `make test-slurm`."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
import yaml

import slurm_cluster
from slurm_cluster import Cluster
from test_train import numbers
from test_workflow import SNAKEMAKE, copy_project, edit
from unrolled.checkpoints import LAST, read

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

    def epochs(self, run: str) -> list[int]:
        """Those that all attempts at a run have told of."""
        return [int(n) for n in re.findall(r"^epoch +(\d+)/", "".join(self.attempts(run)), re.MULTILINE)]

    def freeze(self, runs: list[str] = RUNS) -> tuple[str, int]:
        """Stop the first of these runs that has told of, and saved, three epochs or more: its name and process."""
        deadline = time.monotonic() + 300
        while not (reached := [run for run in runs if "epoch   3/" in self.log(run)]):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)
        run, processes = reached[0], (int(path.name) for path in Path("/proc").glob("[0-9]*"))
        pid = next(pid for pid in processes if _trains(pid, self.project, run))
        last = self.project / run / "checkpoints" / LAST
        while True:
            os.kill(pid, signal.SIGSTOP)
            Cluster.until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            if last.exists() and read(last)["epoch"] + 1 == self.epochs(run)[-1]:
                return run, pid
            os.kill(pid, signal.SIGCONT)  # it was about to save
            time.sleep(0.05)

    def kill(self) -> None:
        """As a power cut of the login node does; what that takes to start again is done."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        subprocess.run([SNAKEMAKE, "--unlock"], cwd=self.project, check=True, capture_output=True)

    def handed_in(self) -> int:
        """How many jobs Slurm was given."""
        return len(re.findall(r"has been submitted with SLURM jobid \d+", self.text()))

    def finish(self, seconds: float = 900) -> None:
        assert self.process.wait(seconds) == 0, self.text()


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


def went_on(workflow: Workflow, undisturbed: Path, run: str, before: Sequence[int] = ()) -> None:
    """It ended with all numbers of the undisturbed one, and trained no saved epoch of this run again.

    Args:
        workflow: the last one.
        undisturbed: the project at home.
        run: the one that was disturbed.
        before: epochs of which an earlier workflow's log told.
    """
    workflow.finish()
    same_predictions(undisturbed, workflow.project)
    tables = [f"results/demo/tables/{name}.csv" for name in ("summary", "models")]
    for name in (*tables, *(f"{each}/{name}.csv" for each in RUNS for name in ("steps", "instruments"))):
        assert (undisturbed / name).read_bytes() == (workflow.project / name).read_bytes(), name
    for each in RUNS:
        histories = (numbers(project / each / "history.csv") for project in (undisturbed, workflow.project))
        pd.testing.assert_frame_equal(*histories)
    record = json.loads((workflow.project / run / "run.json").read_text())
    assert (record["resumed"], record["damaged"]) == (True, [])
    assert f"resuming from {run}/checkpoints/{LAST}" in workflow.log(run)
    told = [*before, *workflow.epochs(run)]
    assert told == sorted(set(told))
    assert told[-1] == EPOCHS


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
        told = workflow.attempts(run)
        assert [attempt.split(",")[0] for attempt in told] == ["1", "1"]  # Slurm itself began the job again
        assert "epoch   3/" in told[0]
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
    _, pid = workflow.freeze()
    cluster.stop_controller()
    cluster.until(lambda: "controller does not answer" in workflow.text(), 240)  # at the next look
    cluster.start_controller()
    os.kill(pid, signal.SIGCONT)
    workflow.finish()
    same_predictions(undisturbed, project)
    assert [len(workflow.attempts(each)) for each in RUNS] == [1, 1]


def test_a_killed_snakemake_is_started_again(cluster, project, undisturbed):
    workflow = Workflow(project, cluster)
    run, _ = workflow.freeze()
    left, before = set(cluster.jobs()), workflow.epochs(run)
    workflow.kill()
    assert set(cluster.jobs()) == left
    again = Workflow(project, cluster)
    went_on(again, undisturbed, run, before)
    assert "a killed workflow left in the queue" in again.text()


@pytest.mark.parametrize("dies", ["the job", "Snakemake"])
def test_what_was_finished_in_a_job_is_not_run_again(cluster, project, undisturbed, dies):
    """Two runs in one job, one of them over before the job is cancelled, or Snakemake killed."""
    workflow = Workflow(project, cluster)
    finished = [project / run / "checkpoints/finished/identity" for run in RUNS]
    cluster.until(lambda: any(path.exists() for path in finished), 300)
    [done] = [run for run, path in zip(RUNS, finished, strict=True) if path.exists()]
    run, _ = workflow.freeze([other for other in RUNS if other != done])
    record, before = (project / done / "run.json").read_text(), []
    if dies == "the job":
        cluster.call("scancel", *cluster.jobs())
    else:
        before = workflow.epochs(run)
        workflow.kill()
        workflow = Workflow(project, cluster)
    went_on(workflow, undisturbed, run, before)
    assert (project / done / "run.json").read_text() == record
    # a job's files are removed when it is tried again; after a kill of Snakemake they are whole, and count
    assert ("finished before, and put back" in workflow.log(done)) == (dies == "the job")


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
    """Where the controller forgets its finished jobs at once, the database is asked."""
    with started(accounting=True, forgets=forgets) as cluster:
        workflow = Workflow(project, cluster)
        run, _ = workflow.freeze()
        [job] = cluster.jobs()
        cluster.call("scancel", job)
        went_on(workflow, undisturbed, run)
        assert ("sacct is asked" in workflow.text()) == (forgets == 2)
        told = cluster.call("sacct", "--noheader", "--allocations", "--parsable2", "--format=State", f"--jobs={job}")
        assert told.startswith("CANCELLED by ")


def test_a_controller_that_forgets_at_once_is_refused_without_accounting(project):
    with started(forgets=2) as cluster:
        workflow = Workflow(project, cluster)
        assert workflow.process.wait(120) != 0
    assert re.search(r"^unrolled: error: .* \(MinJobAge\).*cluster-generic", workflow.text(), re.MULTILINE)
    assert 'File "' not in workflow.text()
    assert workflow.handed_in() == 0


def test_any_scheduler_does_by_template(cluster, project, undisturbed):
    edit(project / "config/config.yaml", resources={"gres": "gpu:1"})
    profile = ["--profile", "workflow/profiles/cluster-generic"]
    workflow = Workflow(project, cluster, profile=profile, UNROLLED_SCHEDULER="slurm", UNROLLED_GRACE="5")
    run, _ = workflow.freeze()
    assert set(cluster.call("squeue", "--noheader", "--states=running", "--format=%b").split()) == {"gres:gpu:1"}
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
        edit(project / "config/config.yaml", resamples=100)
    subprocess.run([SNAKEMAKE, "--cores", "2"], cwd=home, check=True, capture_output=True)
    workflow = Workflow(away, cluster)
    workflow.finish(1800)
    assert "localrule report:" in workflow.text()
    # Table, identities, clusters, neighbours, compare; folds and certificate of three splits; 27 networks by 4 and
    # 9 baselines by 8.
    assert workflow.handed_in() == 5 + 3 + 3 + 7 + 2
    same_predictions(home, away)


FASTA = b">a|label=x\nMKV\n>b|label=y\nMLV\n"


def fetching(project: Path, url: str, **changes) -> Path:
    """A project whose table is made of one file that is downloaded."""
    copy_project(project)
    card = {"title": "Mine", "task": "multiclass", "alphabet": "protein", "format": "fasta"}
    card |= {"header": {"target": "label"}, "files": [{"name": "a.fasta", "url": url}]}
    (project / "config/data/mine.yaml").write_text(yaml.safe_dump(card))
    matrix = {"data": ["mine"], "split": ["random"], "model": ["majority"], "fold": [0], "seed": [0]}
    edit(project / "config/config.yaml", matrix=matrix, **changes)
    return project


def test_downloads_stay_on_the_login_node(cluster, tmp_path):
    mirror = tmp_path / "mirror/mine"
    mirror.mkdir(parents=True)
    (mirror / "a.fasta").write_bytes(FASTA)
    project = fetching(tmp_path / "project", "https://example.org/a.fasta", mirror=str(mirror.parent))
    workflow = Workflow(project, cluster, "--", "results/data/mine/table.parquet")
    workflow.finish()
    assert re.findall(r"^((?:local)?rule \w+):$", workflow.text(), re.MULTILINE) == ["localrule fetch", "rule table"]
    assert workflow.handed_in() == 1


def test_a_job_is_handed_in_when_the_controller_is_back(cluster, tmp_path):
    """It is ready when a download has ended, and that ends when the controller is gone."""
    asked, gone = threading.Event(), threading.Event()

    class Late(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.set()
            gone.wait()
            self.send_response(200)
            self.send_header("Content-Length", str(len(FASTA)))
            self.end_headers()
            self.wfile.write(FASTA)

    with ThreadingHTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        project = fetching(tmp_path / "project", f"http://127.0.0.1:{server.server_address[1]}/a.fasta")
        workflow = Workflow(project, cluster, "--", "results/data/mine/table.parquet")
        assert asked.wait(120), workflow.text()
        cluster.stop_controller()
        gone.set()
        cluster.until(lambda: "controller does not answer" in workflow.text(), 120)
        assert workflow.handed_in() == 0
        cluster.start_controller()
        workflow.finish()
        server.shutdown()
    assert workflow.handed_in() == 1
    assert "Trying to restart" not in workflow.text()
