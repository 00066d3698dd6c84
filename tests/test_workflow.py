"""The workflow as its users run it: from nothing to a report, reruns, kills, clear errors."""

import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
import yaml

from series_fixture import CARD, stays, write_long
from test_hostile import small_disk
from uniprot_service import MIRROR, Entry, serve, service, status, swissprot, written, yeast
from unrolled import provenance, uploading
from unrolled.dashboards import experiment
from unrolled.puzzles import translation
from unrolled.simulate import simulate
from wandb_service import serving

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
RUN = "results/demo/runs/demo/random/lstm/fold0-seed0"

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def copy_project(folder: Path) -> Path:
    for name in ("config", "profiles", "workflow", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    return folder


def edit(path: Path, **changes) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def make_small(project: Path) -> None:
    """The default experiment with fewer proteins, narrower networks and fewer epochs."""
    edit(project / "config/data/demo.yaml", simulate={"n": 300, "families": 60, "seed": 0})
    for model in ("rnn", "lstm", "gru"):
        path = project / f"config/model/{model}.yaml"
        path.write_text(path.read_text().replace("d_h: 64", "d_h: 8"))
    config = yaml.safe_load((project / "config/config.yaml").read_text())
    matrix = config["matrix"] | {"model": ["majority", "kmer", "besthit", "rnn", "lstm"], "seed": [0]}
    edit(project / "config/config.yaml", matrix=matrix, train={"max_epochs": 3}, resamples=200)


def snakemake(project: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    command = [str(SNAKEMAKE), "--cores", "2", "--nocolor", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, **options)


def typed(project: Path, command: list[str], **options) -> subprocess.CompletedProcess:
    """Run a command as a message of ours gives it, in the project's folder."""
    program = Path(sys.executable).parent / command[0]
    return subprocess.run([program, *command[1:]], cwd=project, capture_output=True, text=True, **options)


def planned(project: Path, *arguments: str) -> dict[str, int]:
    """Number of jobs per rule that a dry run announces."""
    done = snakemake(project, "-n", "--quiet", "rules", "--", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    if not any(line.startswith("Job stats") for line in lines):
        return {}
    start = next(i for i, line in enumerate(lines) if line.startswith("-----")) + 1
    counts = (line.split() for line in lines[start : lines.index("", start)])
    return {rule: int(n) for rule, n in counts if rule != "total"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project whose small experiment has run to the end."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    make_small(project)
    done = snakemake(project)
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def mine(finished, tmp_path_factory):
    """A copy of the finished project, to be edited; file times are kept, and so is the way to the package."""
    return Path(shutil.copytree(finished, tmp_path_factory.mktemp("project"), symlinks=True, dirs_exist_ok=True))


def test_the_fixed_names_are_there(finished):
    results = finished / "results"
    for name in (
        "demo/report.html",
        "demo/tables/runs.csv",
        "demo/tables/summary.csv",
        "data/demo/table.parquet",
        "data/demo/random/folds.parquet",
        "data/demo/cluster30/folds.parquet",
        "data/demo/homology30/removed.csv",
        "data/demo/random/certificate.json",
    ):
        assert (results / name).stat().st_size > 0, name
    names = {p.name for p in (finished / RUN).iterdir()}
    assert names == {
        "predictions.parquet",
        "metrics.json",
        "history.csv",
        "instruments.csv",
        "steps.csv",
        "run.json",
        "checkpoints",
    }


def test_there_is_one_row_per_run_and_the_documented_columns(finished):
    runs = pd.read_csv(finished / "results/demo/tables/runs.csv")
    assert len(runs) == 3 * (3 + 2)  # splits x (baselines + networks)
    assert {"data", "split", "model", "fold", "seed", "macro_f1", "params", "seconds", "peak_memory_mb"} <= set(runs)
    summary = pd.read_csv(finished / "results/demo/tables/summary.csv")
    assert summary.columns.tolist() == ["data", "split", "model", "metric", "mean", "low", "high", "n"]
    lstm = runs.query("split == 'random' and model == 'lstm'")["macro_f1"].mean()
    said = summary.query("split == 'random' and model == 'lstm' and metric == 'macro_f1'")
    assert said["mean"].item() == pytest.approx(lstm, rel=1e-4)


def test_no_cluster_spans_two_folds(finished):
    folds = pd.read_parquet(finished / "results/data/demo/cluster30/folds.parquet")
    assert (folds.groupby("group")["fold"].nunique() == 1).all()
    assert folds["group"].nunique() < len(folds)


def test_wandb_has_one_offline_run_per_cell(finished):
    runs = pd.read_csv(finished / "results/demo/tables/runs.csv")
    assert len(list((finished / "results/demo/wandb").glob("offline-run-*"))) == len(runs)


def test_what_wandb_recorded_is_uploaded_when_it_is_asked_for_and_nothing_trained_for_it(tmp_path):
    project = copy_project(tmp_path)
    make_small(project)
    matrix = {"data": ["demo"], "split": ["random"], "model": ["majority", "rnn"], "fold": [0], "seed": [0]}
    kept = {"mode": "offline", "project": "mine", "entity": "lab", "artifacts": ["certificate"]}
    edit(project / "config/config.yaml", matrix=matrix, wandb=kept)
    with serving() as server:
        environment = os.environ | server.environment | {"HOME": str(tmp_path)}
        told = re.findall(r"`([^`]*)`", uploading.how(Path("results/demo/wandb")))
        syncing, whole = map(shlex.split, told)
        trained, missing = (f"results/demo/runs/demo/random/{model}/fold0-seed0" for model in matrix["model"])
        assert snakemake(project, "--", f"{trained}/run.json").returncode == 0
        done = typed(project, whole, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"1 of 2 runs are not there; the workflow trains them: {missing}\n" in done.stderr
        assert "1 runs uploaded, 0 were there already" in done.stderr, done.stderr
        assert not (project / missing).exists()
        done = snakemake(project, "--", "all", "wandb_sync", env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 runs uploaded, 1 were there already" in done.stderr, done.stderr
        assert "runs are not there" not in done.stderr
        assert {run.first("jobType") for run in server.runs.values()} == {"train", "baseline"}
        for run in server.runs.values():
            assert run.complete
            assert (run.first("entity"), run.first("project")) == ("lab", "mine")
            assert run.summary["leakage/share_above"] > 0
        assert server.artifacts["certificate-demo-random"]["committed"]
        shown = experiment(project / "results/demo")  # what `unrolled dashboard` takes for granted
        assert (shown.metric, shown.entity, shown.project) == ("macro_f1", "lab", "mine")
        assert sorted(run for runs in shown.runs.values() for run in runs) == sorted(server.runs)
        server.requests.clear()
        for command in (syncing, whole):
            again = typed(project, command, env=environment)
            assert "0 runs uploaded, 2 were there already" in again.stderr
            assert not server.requests


def test_a_second_run_has_nothing_to_do(finished):
    done = snakemake(finished)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_touching_a_card_reruns_nothing(mine):
    os.utime(mine / "config/model/lstm.yaml")
    assert planned(mine) == {}


@pytest.mark.faults(
    "interruptions",
    "the clock is set back by a month: the cards, or the tables and splits, have times in the future",
    "nothing is computed again: what they hold counts",
)
@pytest.mark.parametrize("where", ["config", "results/data"])
def test_files_from_the_future_rerun_nothing(mine, where):
    ahead = time.time() + 30 * 86400
    for path in (mine / where).rglob("*"):
        os.utime(path, (ahead, ahead))
    assert planned(mine) == {}


def test_editing_a_model_card_retrains_that_model_only(mine):
    edit(mine / "config/model/lstm.yaml", title="LSTM, edited")
    jobs = planned(mine)
    assert jobs == {"train": 3, "evaluate": 3, "compare": 1, "report": 1, "all": 1}


def test_editing_a_split_card_leaves_the_other_split_alone(mine):
    edit(mine / "config/split/random.yaml", seed=1)
    jobs = planned(mine)
    assert jobs["folds"] == jobs["certificate"] == 1
    assert jobs["train"] == 2
    assert "cluster" not in jobs
    assert "neighbours" not in jobs


def test_pairs_are_aligned_once_for_all_splits_of_a_definition_and_for_none_that_is_published(tmp_path):
    project = copy_project(tmp_path)
    assert planned(project)["identities"] == 1  # of two splits
    edit(project / "config/split/random.yaml", definition="needle")
    assert planned(project)["identities"] == 2
    edit(project / "config/split/random.yaml", group="published", column="family", values={"a": 0, "b": 1, "c": 2})
    assert planned(project)["identities"] == 1
    done = snakemake(copy_project(tmp_path / "series"), "-n", "--configfile", "config/experiments/ecg5000.yaml")
    assert done.returncode == 0, done.stderr
    assert "certificate" in done.stdout + done.stderr
    assert "identities" not in done.stdout + done.stderr


def test_another_wandb_mode_or_mirror_or_other_resources_rerun_nothing(mine):
    config = yaml.safe_load((mine / "config/config.yaml").read_text())
    asked = {"runtime": "12h", "mem_mb": 8000, "models": {"lstm": {"gres": "gpu:1"}}}
    settings = {"mirror": "elsewhere", "resources": asked}
    edit(mine / "config/config.yaml", wandb=config["wandb"] | {"mode": "disabled"}, **settings)
    assert planned(mine) == {}


def resources(project: Path, rule: str, target: str, *arguments: str) -> dict[str, str]:
    """What a job of a rule would ask for, as a dry run tells it."""
    done = snakemake(project, "-n", *arguments, "--", target)
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.search(rf"rule {rule}:.*?\n +resources: ([^\n]*)", done.stdout + done.stderr, re.DOTALL)[1]
    return dict(pair.split("=", 1) for pair in told.split(", "))


@pytest.mark.parametrize(
    ("asked", "first"), [({}, 60), ({"runtime": "12h"}, 720), ({"runtime": 90}, 90), ({"runtime": "2 d"}, 2880)]
)
def test_a_run_asks_for_its_time_and_memory_once_more_at_each_attempt(tmp_path, asked, first):
    project = copy_project(tmp_path)
    edit(project / "config/config.yaml", resources=asked | {"mem_mb": 3000})
    for attempt in (1, 3):
        found = resources(project, "train", f"{RUN}/run.json", "--attempt", str(attempt))
        assert (found["runtime"], found["mem_mb"]) == (str(first * attempt), str(3000 * attempt))


def test_a_baseline_asks_for_what_the_experiment_says_of_it(tmp_path):
    project = copy_project(tmp_path)
    run = f"{RUN.replace('lstm', 'kmer')}/run.json"
    asked = {"mem_mb": 3000, "gres": "gpu:1", "models": {"kmer": {"mem_mb": 9000}}}
    edit(project / "config/config.yaml", resources=asked)
    found = resources(project, "baseline", run, "--attempt", "2")
    assert (found["runtime"], found["mem_mb"], found["gres"]) == ("120", "18000", "")
    assert resources(project, "train", f"{RUN}/run.json")["gres"] == "gpu:1"
    assert resources(project, "certificate", run, "--attempt", "3")["runtime"] == str(3 * 240)
    still = resources(project, "baseline", run, "--attempt", "2", "--set-resources", "baseline:runtime=15")
    assert still["runtime"] == "15"


def test_a_card_says_what_its_runs_ask_for_and_that_trains_nothing_anew(mine, finished):
    path = mine / "config/model/lstm.yaml"
    edit(path, resources={"gres": "shard:1", "mem_mb": 5000})
    found = resources(mine, "train", f"{RUN}/run.json")
    assert (found["gres"], found["mem_mb"]) == ("shard:1", "5000")
    done = snakemake(mine, "--", f"{RUN}/run.json")
    assert done.returncode == 0, done.stderr
    log = (mine / "results/demo/logs/demo.random.lstm.fold0-seed0.train.log").read_text()
    assert "finished before, and put back" in log
    assert (mine / RUN / "run.json").read_bytes() == (finished / RUN / "run.json").read_bytes()


def test_another_training_setting_retrains_the_networks_but_not_the_baselines(mine):
    edit(mine / "config/config.yaml", train={"max_epochs": 4})
    jobs = planned(mine)
    assert jobs["train"] == 6
    assert "baseline" not in jobs


def test_the_sources_that_decide_a_run_are_inputs_of_its_rule():
    rules = (ROOT / "workflow/rules/train.smk").read_text().partition("rule evaluate:")[0].split("rule baseline:")
    for rule, name in zip(rules, ("NETWORK", "BASELINE"), strict=True):
        assert f"code=code(*provenance.{name})" in rule
        assert all(path.is_file() for path in provenance.files(getattr(provenance, name)))
    alignments = provenance.FOLDER / "kernel_scores.cpp"  # which no run makes
    assert set(provenance.FOLDER.glob("kernel*.*")) - {alignments} == set(provenance.files(provenance.NETWORK)) & set(
        provenance.FOLDER.glob("kernel*.*")
    )


def test_a_homology_split_leaks_nothing_and_the_others_say_how_much(finished):
    found = {
        split: json.loads((finished / f"results/data/demo/{split}/certificate.json").read_text())
        for split in ("random", "cluster30", "homology30")
    }
    assert {one["method"] for one in found.values()} == {"exhaustive"}
    assert (
        found["homology30"]["above_threshold"]
        == 0
        < found["cluster30"]["share_above"]
        < found["random"]["share_above"]
    )
    folds = pd.read_parquet(finished / "results/data/demo/homology30/folds.parquet")
    removed = pd.read_csv(finished / "results/data/demo/homology30/removed.csv")
    assert sorted(folds.loc[folds["fold"].isna(), "id"]) == removed["id"].tolist()
    report = (finished / "results/demo/report.html").read_text()
    assert found["random"]["statement"] in report


def test_nothing_is_trained_on_a_homology_split_that_leaks(mine):
    """The gate: a sequence that somebody moved to another fold than its relatives stops the workflow."""
    path = mine / "results/data/demo/homology30/folds.parquet"
    folds = pd.read_parquet(path)
    near = pd.read_parquet(mine / "results/data/demo/homology30/neighbours.parquet").set_index("first")["second"]
    place = folds.set_index("id")["fold"]
    moved = next(a for a, b in near.items() if place[a] == place[b])
    folds.loc[folds["id"] == moved, "fold"] = (place[moved] + 1) % 5
    folds.to_parquet(path)
    run = "results/demo/runs/demo/homology30/lstm/fold0-seed0/run.json"
    before = (mine / run).stat().st_mtime_ns
    done = snakemake(mine, "--rerun-triggers", "mtime", "--", run)
    assert done.returncode != 0
    said = (mine / "results/data/demo/homology30/logs/certificate.log").read_text()
    assert "the split promises less than 30 % identity (local80)" in said
    assert moved in said
    assert (mine / run).stat().st_mtime_ns == before


def test_a_forced_run_is_put_back_and_without_its_folder_trained_to_the_same_bytes(mine, finished):
    log = mine / "results/demo/logs/demo.random.lstm.fold0-seed0.train.log"
    for anew in (False, True):
        if anew:
            shutil.rmtree(mine / RUN)
        done = snakemake(mine, "--forcerun", "train", "--", f"{RUN}/predictions.parquet")
        assert done.returncode == 0, done.stderr
        assert ("finished before, and put back" in log.read_text()) != anew
        assert ("epoch   1/3" in log.read_text()) == anew
        for name in ("predictions.parquet", "steps.csv"):
            assert (mine / RUN / name).read_bytes() == (finished / RUN / name).read_bytes()


def test_the_log_of_a_run_keeps_its_attempts_and_begins_anew_with_the_workflow(mine):
    run = RUN.replace("lstm", "rnn")
    shutil.rmtree(mine / run / "checkpoints")
    (mine / run / "checkpoints").write_text("in the way")
    log = mine / "results/demo/logs/demo.random.rnn.fold0-seed0.train.log"
    for options, attempts in (
        (["--retries", "1"], ["1", "2"]),
        (["--no-hooks"], ["1", "2", "1"]),  # as a job that Slurm queues again: no workflow is started
        ([], ["1"]),
    ):
        done = snakemake(mine, *options, "--forcerun", "train", "--", f"{run}/run.json")
        assert done.returncode != 0
        text = log.read_text()
        begun = re.findall(r"^attempt (\d), 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d$", text, re.MULTILINE)
        assert begun == attempts
        assert len(re.findall("^FileExistsError", text, re.MULTILINE)) == len(attempts)


def test_a_workflow_at_home_leaves_the_jobs_of_one_on_slurm_to_the_next_there(mine):
    record = mine / "results/demo/logs/slurm.json"
    left = {"name": "of another", "host": "login", "pid": 1}
    record.write_text(json.dumps(left))
    done = snakemake(mine, "--forcerun", "report", "--", "results/demo/report.html")
    assert done.returncode == 0, done.stderr
    assert json.loads(record.read_text()) == left


@pytest.mark.faults(
    "interruptions",
    "a second Snakemake is started in a project where one is at work",
    "it ends at once, says that the folder is locked and changes nothing; the first goes on to its end",
)
def test_two_workflows_at_once(mine):
    config = yaml.safe_load((mine / "config/config.yaml").read_text())
    edit(mine / "config/config.yaml", matrix=config["matrix"] | {"split": ["random"], "model": ["lstm"], "seed": [7]})
    command = [str(SNAKEMAKE), "--cores", "2"]
    first = subprocess.Popen(command, cwd=mine, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((mine / ".snakemake/locks").glob("*")):
        assert first.poll() is None, "finished before the second could start"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = snakemake(mine)
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stderr
    assert first.wait(240) == 0
    assert json.loads((mine / RUN.replace("seed0", "seed7") / "metrics.json").read_text())
    assert planned(mine) == {}


def test_runs_that_ask_for_a_gpu_of_their_own_take_turns_at_home(tmp_path):
    """Whether there is one or not; those that ask for a share are side by side."""
    project = copy_project(tmp_path)
    make_small(project)
    matrix = {"data": ["demo"], "split": ["random"], "model": ["rnn", "lstm"], "fold": [0], "seed": [0]}
    for gres, order in (("gpu:1", "begun ended begun ended"), ("shard:1", "begun begun ended ended")):
        edit(project / "config/config.yaml", matrix=matrix, resources={"gres": gres})
        done = snakemake(project, "--forcerun", "train", "--until", "train")
        assert done.returncode == 0, done.stderr
        said = re.findall(r"^localrule train:$|^Finished jobid: \d+ \(Rule: train\)$", done.stderr, re.MULTILINE)
        assert " ".join("ended" if line[0] == "F" else "begun" for line in said) == order, done.stderr


@pytest.mark.faults(
    "storage",
    "the results folder is read-only when the workflow is started",
    "it ends with the name of the folder, before anything is computed",
)
def test_a_read_only_results_folder_ends_the_workflow(tmp_path):
    project = copy_project(tmp_path)
    with small_disk(project / "results", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = snakemake(project)
        assert done.returncode != 0
        assert "unrolled: error: [Errno 30] Read-only file system: 'results/demo'\n" in done.stderr
        assert 'File "' not in done.stderr
        assert not list(disk.iterdir())


@pytest.mark.faults(
    "interruptions",
    "kill -9 of Snakemake and all its jobs while networks train",
    "after `snakemake --unlock` the same command ends with the undisturbed run's tables",
)
def test_a_killed_workflow_goes_on_and_ends_with_the_same_numbers(finished, tmp_path):
    project = copy_project(tmp_path)
    make_small(project)
    command = [str(SNAKEMAKE), "--cores", "2"]
    process = subprocess.Popen(command, cwd=project, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 240
    while not list(project.glob("results/demo/runs/demo/*/*/*/checkpoints/last.ckpt")):
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    unlocked = snakemake(project, "--unlock")
    assert unlocked.returncode == 0, unlocked.stderr
    done = snakemake(project)
    assert done.returncode == 0, done.stderr
    for table in ("summary", "models", "splits"):
        name = f"results/demo/tables/{table}.csv"
        assert (project / name).read_bytes() == (finished / name).read_bytes()


PBS = {  # it begins a job at once, and knows of none that ended
    "qsub": 'echo "$*" >> asked; for job; do :; done; bash "$job" > "$job.out" 2>&1 < /dev/null & echo "$!.server"',
    "qstat": "echo 'qstat: Unknown Job Id' >&2; exit 153",
}


def by_scheduler(project: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Snakemake with the template of PBS, whose commands, those above, are put into the folder."""
    pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="needs requirements.cluster.lock")
    for name, does in PBS.items():
        (folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / name).chmod(0o755)
    command = [SNAKEMAKE, "--profile", "workflow/profiles/cluster-generic", "--seconds-between-status-checks", "1"]
    env = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "UNROLLED_SCHEDULER": "pbs"}
    return subprocess.run([*command, *arguments], cwd=project, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("most", ["2", "4"])
def test_a_job_of_any_scheduler_uses_the_cores_that_it_asks_for(tmp_path, most):
    project = copy_project(tmp_path / "project")
    make_small(project)
    done = by_scheduler(project, tmp_path, "--cores", most, "--", "results/data/demo/random/folds.parquet")
    assert done.returncode == 0, done.stdout + done.stderr
    asked = re.findall(r"ncpus=(\d+)", (project / "asked").read_text())
    said = [path.read_text() for path in project.glob(".snakemake/cluster_logs/*.out")]
    used = [(re.findall(r"^    threads: (\d+)", text, re.MULTILINE) or ["1"])[0] for text in said]
    assert sorted(asked) == sorted(used) == ["1", most]


def test_a_run_that_fails_keeps_none_behind_it_in_its_job_from_running(mine, tmp_path):
    models = ("majority", "kmer", "besthit")
    runs = [RUN.replace("lstm", model) for model in models]
    for run, fails in zip(runs, (True, True, False), strict=True):
        shutil.rmtree(mine / run)
        if fails:
            (mine / run).mkdir()
            (mine / run / "checkpoints").write_text("in the way")
    one_job = ["--group-components", "baselines=3", "--cores", "1", "--retries", "0"]
    done = by_scheduler(mine, tmp_path, *one_job, "--", *(f"{run}/metrics.json" for run in runs))
    assert done.returncode != 0
    assert len((mine / "asked").read_text().splitlines()) == 1
    logs = [mine / f"results/demo/logs/demo.random.{model}.fold0-seed0.baseline.log" for model in models]
    failed = ["FileExistsError" in log.read_text() if log.exists() else None for log in logs]
    assert failed == [True, True, False]
    assert (mine / runs[2] / "checkpoints/finished/identity").is_file()


def test_snakemakes_own_report_is_made(finished, tmp_path):
    done = snakemake(finished, "--report", str(tmp_path / "report.html"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").stat().st_size > 100_000


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        (
            "config/config.yaml",
            "lstm",
            "lstn",
            "lstn.yaml: there is no model card 'lstn'; did you mean 'lstm'",
        ),
        (
            "config/config.yaml",
            "metric:",
            "metrik:",
            "config.yaml: unknown key 'metrik'; did you mean 'metric'",
        ),
        ("config/config.yaml", "fold: [0]", "fold: [7]", "config.yaml: matrix: fold 7 does not exist"),
        (
            "config/model/gru.yaml",
            "d_h:",
            "hidden:",
            "gru.yaml: unknown key 'hidden' in network.encoder",
        ),
        (
            "config/data/demo.yaml",
            "alphabet: protein",
            "alphabet: klingon",
            "demo.yaml: alphabet: 'klingon' is not one of",
        ),
    ],
)
def test_a_fault_in_the_config_is_one_friendly_line(tmp_path, path, old, new, message):
    project = copy_project(tmp_path)
    text = (project / path).read_text()
    assert old in text
    (project / path).write_text(text.replace(old, new))
    done = snakemake(project, "-n")
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("unrolled: error")]
    assert len(said) == 1
    assert message in said[0]
    assert "Traceback" not in done.stderr


def test_the_linter_of_snakemake_is_content():
    done = subprocess.run([str(SNAKEMAKE), "--lint"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("overlay", sorted(p.stem for p in (ROOT / "config/experiments").glob("*.yaml")))
def test_every_shipped_experiment_builds_its_dag(tmp_path, overlay):
    project = copy_project(tmp_path)
    done = snakemake(project, "-n", "--quiet", "rules", "--configfile", f"config/experiments/{overlay}.yaml")
    assert done.returncode == 0, done.stderr


def test_ones_own_fasta_and_labels_run_with_one_card(tmp_path):
    project = copy_project(tmp_path)
    make_small(project)
    table = simulate(n=120, families=30, seed=1)
    (project / "mine.fasta").write_text("".join(f">{r.id} x\n{r.sequence}\n" for r in table.itertuples()))
    table[["id", "target"]].to_csv(project / "mine.csv", index=False)
    card = {
        "title": "Mine",
        "task": "multiclass",
        "alphabet": "protein",
        "files": [{"path": "mine.fasta"}],
        "format": "fasta",
        "labels": {"path": "mine.csv", "id": "id", "target": "target"},
    }
    (project / "config/data/mine.yaml").write_text(yaml.safe_dump(card))
    matrix = {"data": ["mine"], "split": ["random"], "model": ["majority", "kmer"], "fold": [0], "seed": [0]}
    edit(project / "config/config.yaml", experiment="mine", matrix=matrix)
    done = snakemake(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(pd.read_csv(project / "results/mine/tables/runs.csv")) == 2


OWN = {  # of each task: what the targets are, what is run, what it ranks by, and how many metrics it has
    "multilabel": (lambda t: t["target"].where(t.index % 3 > 0, "A|B"), "kmer gru", "macro_f1", 9),
    "regression": (lambda t: t["sequence"].str.count("[DEKR]"), "majority kmer besthit gru", "spearman", 5),
    "labelling": (lambda t: t["sequence"].str.replace("[^AVLIMFW]", "p", regex=True), "majority gru", "sov", 7),
    "generation": (lambda t: "", "kmer gru", "bits_per_residue", 2),
    "transduction": (lambda t: t["target"], "besthit seq2seq_gru", "exact_match", 4),
}


@pytest.mark.parametrize("task", OWN)
def test_ones_own_csv_of_any_task_runs_with_one_card_and_its_network_answers(tmp_path, task):
    project = copy_project(tmp_path)
    make_small(project)
    target, names, metric, n_metrics = OWN[task]
    genes, models = task == "transduction", names.split()
    made = translation(n=120, shortest=1, longest=4, ends=2) if genes else simulate(n=240, families=40, seed=0)
    table = made.assign(target=target(made))[["id", "sequence", "target"]]
    table.to_csv(project / "mine.csv", index=False)
    columns = {name: name for name in table.columns if task != "generation" or name != "target"}
    card = {"title": "Mine", "task": task, "format": "csv", "columns": columns, "files": [{"path": "mine.csv"}]}
    card |= {"alphabet": "dna", "target_alphabet": "protein"} if genes else {"alphabet": "protein"}
    (project / "config/data/mine.yaml").write_text(yaml.safe_dump(card))
    matrix = {"data": ["demo"], "split": ["random"], "model": models, "fold": [0], "seed": [0]}
    edit(project / "config/config.yaml", matrix=matrix)
    done = snakemake(project, "--config", "experiment=mine", f"metric={metric}", "matrix={data: [mine]}")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pd.read_csv(project / "results/mine/tables/summary.csv")
    summary = rows.pivot(index="model", columns="metric", values="mean")
    assert summary.shape == (len(models), n_metrics)
    assert summary.notna().all(axis=None)
    report = (project / "results/mine/report.html").read_text()
    if task == "regression":
        assert summary["rmse"]["kmer"] < summary["rmse"]["majority"]
        assert summary["spearman"]["kmer"] > 0.3 > summary["spearman"]["majority"] == 0
        assert "reaches Spearman" in report
        assert f'data-value="{summary["rmse"]["kmer"]:.6g}"' in report
        assert ">RMSE</th>" in report
    run = f"results/mine/runs/mine/random/{models[-1]}/fold0-seed0"
    (project / "new.fasta").write_text("".join(f">{r.id}\n{r.sequence}\n" for r in table.head(7).itertuples()))
    done = typed(project, ["unrolled", "predict", "--run", run, "new.fasta", "--out", "answers.csv"])
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(project / "answers.csv")["id"].tolist() == table["id"].head(7).tolist()


def test_ones_own_series_run_with_one_card(tmp_path):
    project = copy_project(tmp_path)
    make_small(project)
    edit_encoder = project / "config/model/grud.yaml"
    edit_encoder.write_text(edit_encoder.read_text().replace("d_h: 64", "d_h: 8"))
    table = stays(90)
    write_long(project / "charts.csv", table)
    outcomes = table[["id", "target", "patient"]].rename(columns={"id": "stay", "target": "end", "patient": "group"})
    outcomes.to_csv(project / "outcomes.csv", index=False)
    labels = {"path": "outcomes.csv", "id": "stay", "target": "end"}
    card = CARD | {"files": [{"path": "charts.csv"}], "labels": labels, "keep": ["group"]}
    (project / "config/data/ward.yaml").write_text(yaml.safe_dump(card))
    matrix = {"data": ["ward"], "split": ["group"], "model": ["majority", "boosting", "gru", "grud"], "fold": [0]}
    edit(project / "config/config.yaml", experiment="ward", metric="auroc", matrix=matrix | {"seed": [0]})
    done = snakemake(project)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = pd.read_csv(project / "results/ward/tables/runs.csv").set_index("model")["auroc"]
    assert runs["boosting"] > 0.9 > runs["majority"] == 0.5
    report = (project / "results/ward/report.html").read_text()
    certificate = json.loads((project / "results/data/ward/group/certificate.json").read_text())
    assert certificate["statement"] in report
    assert "never measured: never" in report
    assert "no group (group) is in more than one fold" in report
    assert pd.read_csv(project / "results/ward/tables/bands.csv").empty


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real data in ../shared/data")
def test_deeploc2_is_fetched_from_a_mirror_read_and_split(tmp_path):
    project = copy_project(tmp_path)
    overlay = ["--configfile", "config/experiments/deeploc2.yaml", "--config", f"mirror={SHARED}"]
    target = "results/data/deeploc2/published/folds.parquet"
    done = snakemake(project, *overlay, "--", target)
    assert done.returncode == 0, done.stdout + done.stderr
    folds = pd.read_parquet(project / target)
    assert folds["fold"].value_counts().sort_index().tolist() == [5963, 5451, 5731, 5696, 5462]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder that an http server on loopback serves, and its address."""
    monkeypatch.setenv("NO_PROXY", "*")  # a proxy of this computer must not come between
    folder = tmp_path / "published"
    folder.mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_file_is_fetched_without_mirror_and_checksum_and_a_failure_stops_the_workflow(tmp_path, published):
    folder, address = published
    project = copy_project(tmp_path / "project")
    card = {"title": "Mine", "task": "multiclass", "alphabet": "protein", "format": "fasta"}
    card |= {"header": {"target": "label"}, "files": [{"name": "a.fasta", "url": f"{address}/b.fasta"}]}
    (project / "config/data/mine.yaml").write_text(yaml.safe_dump(card))
    matrix = {"data": ["mine"], "split": ["random"], "model": ["majority"], "fold": [0], "seed": [0]}
    edit(project / "config/config.yaml", experiment="mine", matrix=matrix)
    done = snakemake(project, "--", "results/data/mine/table.parquet")
    assert done.returncode != 0
    assert "Error in rule fetch" in done.stderr
    log = (project / "results/raw/.logs/mine/a.fasta.log").read_text()
    assert f"HTTP 404 File not found for {address}/b.fasta" in log
    (folder / "b.fasta").write_text(">a|label=x\nMKV\n>b|label=y\nMLV\n")
    done = snakemake(project, "--", "results/data/mine/table.parquet")
    assert done.returncode == 0, done.stderr
    assert pd.read_parquet(project / "results/data/mine/table.parquet")["target"].tolist() == ["x", "y"]


def structures() -> list[Entry]:
    """Entries with secondary structure: the mirror's real ones of yeast; else simulated, their helices by letters."""
    if MIRROR.is_dir():
        return [entry for entry in yeast() if any(entry.get(f"ft_{kind}") for kind in ("helix", "strand", "turn"))]
    kinds = {"helix": "[AELKMQR]{2,}", "strand": "[VIYFTW]{2,}", "turn": "[GNPD]{2,}"}

    def features(letters: str) -> Entry:
        found = {kind: re.finditer(letter, letters) for kind, letter in kinds.items()}
        return {
            f"ft_{kind}": "; ".join(f"{kind.upper()} {hit.start() + 1}..{hit.end()}" for hit in hits)
            for kind, hits in found.items()
        }

    rows = simulate(n=300, families=60, seed=2).itertuples()
    return [{"accession": row.id, "sequence": row.sequence, **features(row.sequence)} for row in rows]


def test_uniprot_is_asked_and_its_release_is_in_the_report(tmp_path, monkeypatch):
    """Structures from the query to the report; locations, of which the mirror has few texts, to the table."""
    monkeypatch.setenv("NO_PROXY", "*")  # a proxy of this computer must not come between
    project = copy_project(tmp_path)
    make_small(project)
    matrix = {"data": ["uniprot_structure"], "split": ["random", "homology30"], "model": ["majority", "rnn"]}
    with service(structures()) as structure, service(swissprot() if MIRROR.is_dir() else written()) as location:
        structure.script = [status(429, Retry_After="0"), serve(), serve(cut=5000)]
        for name, site, more in (
            ("structure", structure, {"sample": {"n": 250, "seed": 0}, "max_length": 200}),
            ("location", location, {}),
        ):
            path = project / f"config/data/uniprot_{name}.yaml"
            files = yaml.safe_load(path.read_text())["files"]
            edit(path, files=[files[0] | {"service": site.address}], **more)
        overlay = project / "config/experiments/uniprot.yaml"
        edit(overlay, matrix=matrix | {"fold": [0], "seed": [0]}, train={"max_epochs": 2})
        arguments = ["--configfile", "config/experiments/uniprot.yaml"]
        done = snakemake(project, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        [query] = {one["query"] for one in structure.asked}
        assert query.startswith("(reviewed:true) AND (taxonomy_id:2759) AND (fragment:false) AND ((ft_helix:*) OR")
        edit(overlay, matrix=matrix | {"data": ["uniprot_location"], "fold": [0], "seed": [0]})
        table = "results/data/uniprot_location/table.parquet"
        done = snakemake(project, *arguments, "--", table)
        assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((project / "results/data/uniprot_structure/summary.json").read_text())
    [source] = summary["sources"]
    assert (source["release"], source["rows"], summary["n"]) == ("2026_03", len(structure.entries), 250)
    report = (project / "results/uniprot/report.html").read_text()
    assert "UniProt, release 2026_03 (17-June-2026), asked on" in report
    assert len(pd.read_csv(project / "results/uniprot/tables/runs.csv")) == 4
    targets = pd.read_parquet(project / table)["target"].tolist()
    assert targets == (
        ["Cell membrane", "Cell membrane", "Cytoplasm|Nucleus", "Cytoplasm"]
        if MIRROR.is_dir()
        else ["Nucleus", "Mitochondrion", "Nucleus", "Cell membrane"]
    )
    excluded = pd.read_csv(project / "results/data/uniprot_location/excluded.csv")
    assert "annotation not used: location that is no class: Melanosome" in set(excluded["reason"])
