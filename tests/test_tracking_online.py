"""A real training that is watched online: everything arrives, and a server that dies takes nothing with it."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from wandb.util import get_core_path

from test_hostile import small_disk
from unrolled import split
from unrolled import table as tables
from unrolled.files import write_json
from unrolled.gate import folds_hash, sequences_hash
from unrolled.simulate import simulate
from unrolled.uploading import sync, uploaded
from wandb_service import serving

ROOT = Path(__file__).parents[1]
LEAK = {"threshold": 0.3, "share_above": 0.25, "above_threshold": 30, "max_identity": 0.9}

pytestmark = pytest.mark.slow


def write_material(folder: Path) -> None:
    table = simulate(n=120, families=20, seed=0)
    tables.write(folder / "table.parquet", table)
    folds = split.make_folds(table, {"group": "sequence", "folds": 5, "seed": 0}, "multiclass")
    folds.to_parquet(folder / "folds.parquet", index=False)
    hashes = {"folds_sha256": folds_hash(folds), "sequences_sha256": sequences_hash(table)}
    write_json(folder / "certificate.json", LEAK | hashes)


@pytest.fixture
def material(tmp_path):
    write_material(tmp_path)
    return tmp_path


@pytest.fixture
def service(tmp_path, monkeypatch):
    with serving() as service:
        for name, value in (service.environment | {"HOME": str(tmp_path)}).items():
            monkeypatch.setenv(name, value)
        yield service


def train(folder: Path, *changes: str, finish_timeout: int = 60) -> subprocess.CompletedProcess:
    paths = [f"paths.{name}={folder}/{name}.parquet" for name in ("table", "folds")]
    paths += [f"paths.certificate={folder}/certificate.json", f"paths.out={folder}/run", f"paths.wandb={folder}"]
    settings = ["model=gru", "++model.network.encoder.d_h=8", "train.max_epochs=3", "wandb.experiment=tiny"]
    code = (
        "import sys; from unrolled import tracking; from unrolled.deferred import import_lean\n"
        f"tracking.FINISH_TIMEOUT = {finish_timeout}\n"
        "import_lean('unrolled.train').run(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, *paths, *settings, *changes, f"--config-dir={ROOT}/config"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=dict(os.environ), timeout=240)


def test_a_training_that_is_watched_online_tells_everything(service, material):
    done = train(material, "wandb.mode=online", "wandb.entity=lab", "wandb.artifacts=[certificate,predictions]")
    assert done.returncode == 0, done.stderr
    assert "wandb:" not in done.stderr, done.stderr
    ((name, run),) = service.runs.items()
    rows = [row for row in run.rows.values() if "val_loss" in row]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert {"train_loss", "grad_norm_mean", "grad_norm_max", "clipped_share", "lr"} <= set(rows[0])
    assert run.complete
    assert [run.first(name) for name in ("entity", "groupName", "jobType")] == ["lab", "demo/random/gru", "train"]
    assert run.first("tags") == ["tiny", "demo", "random", "gru"]
    config = json.loads([upsert["config"] for upsert in run.upserts if upsert.get("config")][-1])
    assert config["cell"]["value"] == {"data": "demo", "split": "random", "model": "gru", "fold": 0, "seed": 0}
    assert config["experiment"]["value"] == "tiny"
    record = json.loads((material / "run/run.json").read_text())
    assert run.summary["cost/params"] == record["params"]
    where = {"id": name, "project": "unrolled", "entity": "lab", "url": f"{service.address}/lab/unrolled/runs/{name}"}
    assert record["wandb"] == where
    assert run.summary["leakage/share_above"] == LEAK["share_above"]
    assert 0 <= run.summary["test/macro_f1"] <= 1
    assert "confusion_table" in json.dumps(run.summary)
    kept = {name: one["artifactTypeName"] for name, one in service.artifacts.items() if one["committed"]}
    assert kept.pop("certificate-demo-random") == "certificate"
    assert kept.pop("predictions-demo-random-gru-fold0-seed0") == "predictions"
    predictions = (material / "run/predictions.parquet").read_bytes()
    assert predictions in service.files.values()
    service.requests.clear()
    assert sync(material / "wandb") == {"uploaded": 0, "before": 1, "left": 0}
    assert not service.requests


@pytest.mark.parametrize("streams", [0, 1])
def test_a_server_that_dies_while_a_network_trains_takes_nothing_with_it(service, material, streams):
    """It hangs up when the first content comes, or the second; what it missed is uploaded later."""
    service.streams = streams
    began = time.monotonic()
    done = train(material, "wandb.mode=online", finish_timeout=5)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 120
    assert "no upload to the end within 5 seconds" in done.stderr
    assert f"upload later (all but artifacts) with `unrolled sync {material}/wandb`" in done.stderr
    assert (material / "run/predictions.parquet").is_file()
    (log,) = (material / "wandb").glob("run-*/*.wandb")
    assert not uploaded(log)
    service.streams = math.inf
    assert sync(material / "wandb") == {"uploaded": 1, "before": 0, "left": 0}
    (run,) = service.runs.values()
    assert run.complete
    assert {row["epoch"] for row in run.rows.values() if "val_loss" in row} == {0, 1, 2}


def test_a_server_that_dies_at_the_files_of_a_run_has_not_got_all_of_it(service, material):
    service.room = 0
    done = train(material, "wandb.mode=online", "wandb.artifacts=[predictions]", finish_timeout=5)
    assert done.returncode == 0, done.stderr
    assert f"upload later (all but artifacts) with `unrolled sync {material}/wandb`" in done.stderr
    (log,) = (material / "wandb").glob("run-*/*.wandb")
    assert not uploaded(log)
    service.room = math.inf
    assert sync(material / "wandb") == {"uploaded": 1, "before": 0, "left": 0}
    (run,) = service.runs.values()
    assert run.complete
    assert 0 <= run.summary["test/macro_f1"] <= 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"refused": True}, "refuses the API key"),
        ({"closed": True}, "permission denied"),
        ({"mute": "upsertBucket"}, ""),
    ],
    ids=str,
)
def test_a_server_that_takes_no_run_is_said_and_it_goes_there_later(service, material, fault, said):
    """The key is refused, or lets nobody write, or the server knows it and then says nothing."""
    vars(service).update(fault)
    began = time.monotonic()
    done = train(material, "wandb.mode=online")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 120
    told = [line for line in done.stderr.splitlines() if line.startswith("wandb: ")]
    assert len(told) == 1, done.stderr
    assert said in told[0]
    assert f"logging offline: upload later with `unrolled sync {material}/wandb`" in told[0]
    vars(service).update(dict.fromkeys(fault, ""))
    assert sync(material / "wandb") == {"uploaded": 1, "before": 0, "left": 0}
    assert [run.complete for run in service.runs.values()] == [True]


def begun(folder: Path, *changes: str, epochs: int = 5000, wandb: Path | None = None) -> subprocess.Popen:
    """`unrolled train` of a long run, in its folder."""
    paths = [f"paths.{name}={folder}/{name}.parquet" for name in ("table", "folds")]
    paths += [f"paths.out={folder}/long", f"paths.wandb={wandb or folder / 'long'}"]
    many = [f"train.max_epochs={epochs}", f"train.patience={epochs}", *changes, f"--config-dir={ROOT}/config"]
    command = [sys.executable, "-m", "unrolled", "train", *paths, *many]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def await_epochs(process: subprocess.Popen, n: int) -> None:
    """Wait until a training says so many more."""
    said = []
    for line in process.stderr:
        said.append(line)
        n -= line.startswith("epoch ")
        if not n:
            return
    pytest.fail(f"it ended early: {''.join(said)}")


@pytest.mark.faults(
    "interruptions",
    "SIGTERM to a training that is watched online, when wandb's server is gone or answers no more",
    "it ends within 15 seconds, with a checkpoint and status 143",
)
@pytest.mark.parametrize("fault", ["gone", "hanging"])
def test_a_stopped_training_does_not_wait_for_a_server_that_does_not_answer(material, monkeypatch, fault):
    with ExitStack() as stack:
        there = stack.enter_context(ExitStack())
        service = there.enter_context(serving())
        for name, value in (service.environment | {"HOME": str(material)}).items():
            monkeypatch.setenv(name, value)
        process = stack.enter_context(begun(material, "wandb.mode=online"))
        stack.callback(process.kill)
        await_epochs(process, 3)
        assert service.runs
        service.hanging = fault == "hanging"
        if fault == "gone":
            there.close()
        await_epochs(process, 3)
        process.terminate()
        asked = time.monotonic()
        said = process.communicate(timeout=100)[1]
        assert process.returncode == 143, said
        assert time.monotonic() - asked < 15, said
    assert (material / "long/checkpoints/last.ckpt").is_file()


SOME = 40  # epochs: enough to be in their midst when something happens


@pytest.fixture(scope="module")
def untracked(tmp_path_factory):
    """The predictions of a run that wandb is not told of."""
    folder = tmp_path_factory.mktemp("untracked")
    write_material(folder)
    with begun(folder, "wandb.mode=disabled", epochs=SOME) as process:
        said = process.communicate(timeout=240)[1]
    assert process.returncode == 0, said
    return (folder / "long/predictions.parquet").read_bytes()


def check_as_untracked(process: subprocess.Popen, material: Path, untracked: bytes) -> str:
    """A training ends well, with its predictions, and says once what happened to wandb: what it says is returned."""
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 0, said
    assert (material / "long/predictions.parquet").read_bytes() == untracked
    (told,) = (line for line in said.splitlines() if line.startswith("wandb: "))
    assert "Traceback" not in said, said
    return told


@pytest.mark.faults(
    "interruptions",
    "kill -9 of wandb's own process while a network trains, offline and online",
    "one line says so; the run ends with status 0 and the bytes of a run that wandb is not told of",
)
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_training_outlives_wandb(service, material, untracked, mode):
    with begun(material, f"wandb.mode={mode}", epochs=SOME) as process:
        await_epochs(process, 3)
        process.send_signal(signal.SIGSTOP)
        (core,) = (one for one in psutil.Process(process.pid).children() if one.name() == "wandb-core")
        core.kill()
        process.send_signal(signal.SIGCONT)
        told = check_as_untracked(process, material, untracked)
    assert "could not log step" in told
    assert sync(material / "long/wandb") == {"uploaded": 0, "before": 0, "left": 1}


@pytest.mark.faults(
    "storage",
    "the disk that wandb writes to is full, from the beginning or while a network trains",
    "one line says so; the run ends with status 0 and the bytes of a run that wandb is not told of",
)
@pytest.mark.parametrize("size", ["4k", "64k"])
def test_a_training_outlives_the_room_for_wandb(material, untracked, size):
    with (
        small_disk(material / "full", size) as disk,
        begun(material, "wandb.mode=offline", epochs=SOME, wandb=disk) as process,
    ):
        told = check_as_untracked(process, material, untracked)
    assert f"{material}/full" in told


def test_certificate_and_predictions_are_kept_only_where_they_are_asked_for(service, material):
    assert train(material, "wandb.mode=online").returncode == 0
    assert not [name for name in service.artifacts if name.startswith(("certificate", "predictions"))]


def test_a_training_that_goes_on_in_a_new_run_has_all_of_the_history(material):
    first = ["wandb.mode=disabled", "train.max_epochs=200", "train.patience=200"]
    paths = [f"paths.{name}={material}/{name}.parquet" for name in ("table", "folds")]
    shared = [
        f"paths.out={material}/run",
        "model=gru",
        "++model.network.encoder.d_h=8",
        f"--config-dir={ROOT}/config",
    ]
    command = [sys.executable, "-m", "unrolled", "train", *paths, *first, *shared]
    process = subprocess.Popen(command, cwd=material, stderr=subprocess.PIPE, text=True)
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith("epoch   5/"):
            process.kill()
            break
    else:
        pytest.fail(f"it ended before it could be killed: {said[-2000:]}")
    process.communicate()
    done = train(
        material, "wandb.mode=offline", "train.max_epochs=200", "train.patience=200", "wandb.experiment=null"
    )
    assert done.returncode == 0, done.stderr
    assert "resuming from" in done.stderr
    wandb = Path(sys.executable).with_name("wandb")
    (log,) = (material / "wandb").glob("offline-run-*/*.wandb")
    said = subprocess.run(
        [wandb, "leet", "inspect", "--json", log], capture_output=True, text=True, check=True
    ).stdout
    items = [one["history"]["item"] for one in map(json.loads, said.splitlines()) if one["type"] == "history"]
    epochs = [item["epoch"] for item in items if "epoch" in item]
    assert epochs == list(range(len(epochs)))
    assert any("before_end" in name for name in items[0])
    record = json.loads((material / "run/run.json").read_text())
    nowhere = {"project": "unrolled", "entity": None, "url": None}
    assert record["wandb"] == nowhere | {"id": log.stem.removeprefix("run-")}


def exit_code(log: Path) -> int | None:
    """How wandb has a run end; None: not at all."""
    command = [get_core_path(), "leet", "inspect", "--no-observability", "--summary", "--json", "--run-file", log]
    told = subprocess.run([*command, log.parents[1]], capture_output=True, text=True, check=True)
    return json.loads(told.stdout).get("exit_code")


def test_a_training_that_diverges_or_is_stopped_ends_as_failed(material):
    diverged = train(material, "wandb.mode=offline", "train.learning_rate=1e30", "train.instruments=0")
    assert "the gradient or the validation loss is not finite" in diverged.stderr
    (log,) = (material / "wandb").glob("offline-run-*/*.wandb")
    assert exit_code(log) == 1
    with begun(material) as process:
        await_epochs(process, 3)
        process.terminate()
        said = process.communicate(timeout=100)[1]
    assert process.returncode == 143, said
    (log,) = (material / "long/wandb").glob("offline-run-*/*.wandb")
    assert exit_code(log) == 1
