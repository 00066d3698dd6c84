"""Training that is killed, stopped and robbed of its checkpoints: it ends with the bytes of the undisturbed run."""

import errno
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from test_hostile import is_one_line, small_disk, unrolled
from test_train import ROOT, config_of, numbers, same, write_material
from unrolled import checkpoints, handover, recipe, train
from unrolled.errors import UnrolledError
from unrolled.generate import Wish, generate
from unrolled.predict import predict
from unrolled.simulate import simulate

SMALL = ["++model.network.encoder.d_h=8", "++model.network.d_e=4", "wandb.mode=disabled", "model.network.dropout=0.3"]
# Ten steps an epoch; the learning rate falls within them, and early stopping counts.
RECIPE = ["train.max_epochs=6", "train.batch_size=8", "train.learning_rate=0.3", "train.plateau.patience=0"]
EPOCH = 10

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*(num_workers|exists and is not empty|LeafSpec|srun)"),
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["unrolled.train"])  # the import costs seconds: once


def config(material: Path, out: Path) -> dict:
    return config_of(material, out, *SMALL, *RECIPE)


def command(material: Path, out: Path) -> list[str]:
    """`unrolled train` with the same settings."""
    paths = [f"paths.{name}={material}/{name}.parquet" for name in ("table", "folds")]
    cell = ["data=demo", "split=random", "model=lstm", f"paths.out={out}"]
    return ["train", f"--config-dir={ROOT}/config", *cell, *paths, *SMALL, *RECIPE]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_material(folder, simulate(n=130, families=40, seed=0))
    return folder


@pytest.fixture(scope="module")
def whole(material, tmp_path_factory):
    """The undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train.train(config(material, out))
    history = pd.read_csv(out / "history.csv")
    assert len(pd.read_csv(out / "steps.csv")) == EPOCH * len(history)
    assert history["lr"].nunique() > 1, "the learning rate does not fall: a lost step of it would not show"
    return out


def check_as_undisturbed(run: Path, whole: Path) -> dict:
    """All that a run hands over is that of the other one; its run.json is returned."""
    assert same(run, whole)
    pd.testing.assert_frame_equal(numbers(run / "history.csv"), numbers(whole / "history.csv"))
    for name in ("steps.csv", "instruments.csv"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        *("best.ckpt", "fingerprint", "finished", "lock")
    ]
    record: dict = json.loads((run / "run.json").read_text())
    assert record["seconds"] > pd.read_csv(run / "history.csv")["seconds"].sum() - 0.01  # of all attempts
    return record


def trains(config: dict, log: Path) -> None:
    """What a process of its own does."""
    with log.open("a") as stream:
        os.dup2(stream.fileno(), 2)
    train.train(config)


def start(config: dict, log: Path) -> multiprocessing.Process:
    process = SERVER.Process(target=trains, args=(config, log))
    process.start()
    return process


def ended(process: multiprocessing.Process, seconds: float) -> bool:
    process.join(seconds)
    return process.exitcode is not None


@pytest.fixture(scope="module")
def seconds(material, whole, tmp_path_factory):
    """How long a run takes in a process of its own."""
    folder = tmp_path_factory.mktemp("timed")
    assert ended(start(config(material, folder / "first"), folder / "log"), 120)  # starts the server, too
    began = time.monotonic()
    process = start(config(material, folder / "run"), folder / "log")
    assert ended(process, 120)
    assert process.exitcode == 0, (folder / "log").read_text()
    check_as_undisturbed(folder / "run", whole)
    return time.monotonic() - began


@pytest.mark.faults(
    "interruptions",
    "kill -9 of a training process at random moments, again and again until it gets through",
    "each start goes on from the last checkpoint; predictions, history, gradient norms and instruments are byte for "
    "byte those of the undisturbed run",
)
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments(material, whole, seconds, tmp_path, seed):
    random, kills, log = np.random.default_rng(seed), 0, tmp_path / "log"
    process = start(config(material, tmp_path / "run"), log)
    while kills < 5 and not ended(process, random.uniform(0.05, 0.2 + 0.1 * kills) * seconds):
        process.kill()
        process.join()
        kills += 1
        process = start(config(material, tmp_path / "run"), log)
    assert ended(process, 120)
    assert process.exitcode == 0, log.read_text()
    assert kills
    assert check_as_undisturbed(tmp_path / "run", whole)["damaged"] == []


@pytest.mark.faults(
    "interruptions",
    "SIGTERM to a training process at random moments (a time limit, `scancel`, a node that is shut down)",
    "it ends in seconds with a checkpoint and status 143, a failure to Snakemake; the next start goes on, and the "
    "results are byte for byte those of the undisturbed run",
)
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_stopped_at_random_moments(material, whole, seconds, tmp_path, seed):
    random, stops, log = np.random.default_rng(seed), 0, tmp_path / "log"
    process = start(config(material, tmp_path / "run"), log)
    while stops < 5 and not ended(process, random.uniform(0.05, 0.3 + 0.1 * stops) * seconds):
        process.terminate()
        assert ended(process, 20)
        stops += 1
        assert process.exitcode in (0, 143, -signal.SIGTERM)  # at its end, in training, before or after it
        process = start(config(material, tmp_path / "run"), log)
    assert ended(process, 120)
    assert process.exitcode == 0, log.read_text()
    assert stops
    check_as_undisturbed(tmp_path / "run", whole)


def stop_at(patch: pytest.MonkeyPatch, method: str, step: int, number: int = signal.SIGTERM) -> None:
    """Send this process a signal in the `step`-th call of a method of `Training`."""
    calls, known = [0], getattr(recipe.Training, method)

    def counted(self, batch):
        calls[0] += 1
        if calls[0] == step:
            os.kill(os.getpid(), number)
        return known(self, batch)

    patch.setattr(recipe.Training, method, counted)


@pytest.mark.faults(
    "interruptions",
    "SIGTERM in a training step: in the first of an epoch, within it, in the last",
    "a checkpoint within the epoch after that step (after the last one: of the whole epoch); the rest of the epoch "
    "gives the same bytes as without the signal",
)
@pytest.mark.parametrize("step", [1, 4, EPOCH - 1, EPOCH, EPOCH + 1, 2 * EPOCH + 5, 6 * EPOCH])
def test_stopped_in_a_step(material, whole, tmp_path, capsys, step):
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, "training_step", step)
        with pytest.raises(SystemExit) as stopped:
            train.train(config(material, tmp_path / "run"))
    assert stopped.value.code == 143
    assert "stopped by SIGTERM in epoch" in capsys.readouterr().err
    state = checkpoints.read(tmp_path / "run/checkpoints/last.ckpt")
    assert state["global_step"] == step
    train.train(config(material, tmp_path / "run"))
    assert f"resuming from {tmp_path}" in capsys.readouterr().err
    assert check_as_undisturbed(tmp_path / "run", whole)["resumed"]


@pytest.mark.faults(
    "interruptions",
    "Ctrl-C (SIGINT) or a terminal that closes (SIGHUP) while a run validates",
    "it ends after that epoch with a checkpoint and status 130 or 129; the next start goes on to the same bytes",
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_stopped_while_validating(material, whole, tmp_path, number):
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, "validation_step", 5, number)
        with pytest.raises(SystemExit) as stopped:
            train.train(config(material, tmp_path / "run"))
    assert stopped.value.code == 128 + number
    assert checkpoints.read(tmp_path / "run/checkpoints/last.ckpt")["global_step"] % EPOCH == 0
    train.train(config(material, tmp_path / "run"))
    check_as_undisturbed(tmp_path / "run", whole)


class Killed(BaseException):
    """The process would have ended here."""


@pytest.mark.faults(
    "interruptions",
    "a kill at the end of a run: its results are written but not kept, or kept and its checkpoints not removed",
    "the next start trains no epoch: it goes on from the last checkpoint, or puts the results back; the same bytes",
)
@pytest.mark.parametrize(
    ("module", "name", "said"), [(handover, "keep", "resuming from"), (train, "tidy", "finished before, and")]
)
def test_killed_when_it_was_trained(material, whole, tmp_path, capsys, module, name, said):
    def killed(*_):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, killed)
        with pytest.raises(Killed):
            train.train(config(material, tmp_path / "run"))
    assert "epoch   6/6" in capsys.readouterr().err
    train.train(config(material, tmp_path / "run"))
    again = capsys.readouterr().err
    assert said in again
    assert "epoch   " not in again
    check_as_undisturbed(tmp_path / "run", whole)


def test_a_second_signal_ends_at_once(material, tmp_path):
    keeper = checkpoints.Checkpoints(tmp_path, "x")
    keeper._ask(signal.SIGTERM, None)
    with pytest.raises(SystemExit) as stopped:
        keeper._ask(signal.SIGTERM, None)
    assert stopped.value.code == 143


@pytest.mark.faults(
    "interruptions",
    "two processes train one run at once (a second Snakemake with `--nolock`, a job of a dead one that still runs)",
    "the second waits for the first, says so, and takes what it finished: both end with the undisturbed bytes",
)
def test_two_processes_at_one_run(material, whole, tmp_path):
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with handover.alone(tmp_path / "run"):  # neither is ready before the other begins
        processes = [start(config(material, tmp_path / "run"), log) for log in logs]
        deadline = time.monotonic() + 120
        while not all(log.exists() and "waiting: another process is at" in log.read_text() for log in logs):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert all(ended(process, 120) for process in processes)
    assert [process.exitcode for process in processes] == [0, 0]
    check_as_undisturbed(tmp_path / "run", whole)
    said = sorted((log.read_text() for log in logs), key=len)
    assert "finished before, and put back" in said[0]
    assert "epoch" not in said[0]
    assert "epoch" in said[1]


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t) {
    int (*real)(clockid_t, struct timespec *);
    *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, t);
    if (id == CLOCK_REALTIME) t->tv_sec += 86400 * (random() % 61 - 30);
    return failed;
}
"""


@pytest.fixture
def jumping(tmp_path):
    """What makes the clock of a process jump by days whenever it is looked at; times that are only measured stay."""
    (tmp_path / "clock.c").write_text(CLOCK)
    library = tmp_path / "clock.so"
    try:
        build = ["cc", "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"]
        subprocess.run(build, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a C compiler")
    code = "import time; seen = {time.time() // 86400 for _ in range(50)}; assert len(seen) > 5, seen"
    if subprocess.run([sys.executable, "-c", code], env=os.environ | {"LD_PRELOAD": str(library)}).returncode:
        pytest.skip("the clock of a process cannot be changed here")
    return {"LD_PRELOAD": str(library)}


@pytest.mark.slow
@pytest.mark.faults(
    "interruptions",
    "the system's clock jumps by days, back and forth, whenever a training process looks at it",
    "predictions, history and gradient norms are byte for byte those of the undisturbed run; no time is negative",
)
def test_a_clock_that_jumps(material, whole, tmp_path, jumping):
    done = unrolled(*command(material, tmp_path / "run"), **jumping)
    assert done.returncode == 0, done.stderr
    assert check_as_undisturbed(tmp_path / "run", whole)["seconds"] > 0
    assert (pd.read_csv(tmp_path / "run/history.csv")["seconds"] > 0).all()


@pytest.mark.faults(
    "storage",
    "the disk is full when a run saves a checkpoint or its results",
    "one line that names the file, status 2, nothing half-written; with more room the next start ends with the bytes "
    "of the undisturbed run",
)
@pytest.mark.parametrize("size", ["8k", "48k", "64k"])
def test_a_full_disk_in_training(material, whole, tmp_path, size):
    with small_disk(tmp_path / "full", size) as disk:
        done = unrolled(*command(material, disk / "run"))
        assert is_one_line(done, "the disk is full", str(disk)), done.stderr
        assert not list(disk.rglob(".*"))
        subprocess.run(["mount", "-o", "remount,size=9m", disk], check=True)
        done = unrolled(*command(material, disk / "run"))
        assert done.returncode == 0, done.stderr
        check_as_undisturbed(disk / "run", whole)


# Checkpoints that are damaged, or somebody else's


@pytest.fixture(scope="module")
def stopped(material, tmp_path_factory):
    """A run that was stopped in its fourth epoch: it has two checkpoints."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, "training_step", 3 * EPOCH + 2)
        with pytest.raises(SystemExit):
            train.train(config(material, out))
    return {path.name: path.read_bytes() for path in (out / "checkpoints").iterdir()}


def restored(files: dict[str, bytes], out: Path, **changed: bytes) -> Path:
    """A run's folder as it was when it was stopped, but for some checkpoints."""
    (out / "checkpoints").mkdir(parents=True)
    for name, content in (files | {f"{name}.ckpt": content for name, content in changed.items()}).items():
        (out / "checkpoints" / name).write_bytes(content)
    return out


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """One bit is another, in the weights: nothing that torch would see."""
    place = content.index(b"/data/0") + 200
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.faults(
    "interruptions",
    "the last checkpoint is damaged: cut off, empty, not a checkpoint, or with one bit flipped",
    "a warning names it and the run goes on from the one before; run.json lists it under `damaged`, and the "
    "results are byte for byte those of the undisturbed run",
)
@pytest.mark.parametrize("damage", [cut, flipped, lambda _: b"", lambda _: b"no checkpoint"])
def test_a_damaged_checkpoint_falls_back_on_the_one_before(material, whole, stopped, tmp_path, capsys, damage):
    out = restored(stopped, tmp_path / "run", last=damage(stopped["last.ckpt"]))
    train.train(config(material, out))
    said = capsys.readouterr().err
    assert f"warning: {out}/checkpoints/last.ckpt is damaged" in said
    assert "falling back on the one before" in said
    assert f"resuming from {out}/checkpoints/previous.ckpt" in said
    record = check_as_undisturbed(out, whole)
    assert (record["resumed"], record["damaged"]) == (True, ["last.ckpt"])


@pytest.mark.faults(
    "interruptions",
    "both checkpoints of a run are damaged",
    "a warning names both and the run begins again, to the same bytes",
)
def test_without_a_sound_checkpoint_a_run_begins_again(material, whole, stopped, tmp_path, capsys):
    out = restored(stopped, tmp_path / "run", last=b"", previous=cut(stopped["previous.ckpt"]))
    train.train(config(material, out))
    assert "resuming" not in capsys.readouterr().err
    record = check_as_undisturbed(out, whole)
    assert (record["resumed"], record["damaged"]) == (False, ["last.ckpt", "previous.ckpt"])


REFUSALS = [OSError(number, os.strerror(number)) for number in (errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE)]
SHORTAGES = [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")]


@pytest.mark.faults(
    "storage",
    "the last checkpoint cannot be read for once: the disk or its server fails, permission is denied, too many files "
    "are open, or memory runs out",
    "the run ends with that error and removes nothing; the next start goes on from that checkpoint",
)
@pytest.mark.parametrize("error", [*REFUSALS, *SHORTAGES], ids=repr)
def test_a_checkpoint_that_cannot_be_read_now_is_kept(stopped, tmp_path, error):
    folder = restored(stopped, tmp_path / "run") / "checkpoints"
    identity, known = stopped["fingerprint"].decode(), io.open

    def opened(path, *arguments, **options):
        if str(path) == str(folder / "last.ckpt"):
            raise error
        return known(path, *arguments, **options)

    def load(*_, **__):
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*((io, "open", opened) if error in REFUSALS else (torch, "load", load)))
        with pytest.raises(type(error)):
            checkpoints.Checkpoints(folder, identity)
    assert checkpoints.Checkpoints(folder, identity).last == folder / "last.ckpt"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "last.ckpt"
    state = {"weights": torch.arange(6.0).reshape(2, 3), "rows": [{"epoch": 1, "loss": 0.5}], "name": "x"}
    checkpoints.write(path, state)
    return path


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_told_or_holds_what_it_held(sound, tmp_path, data):
    content = bytearray(sound.read_bytes())
    length = data.draw(st.integers(0, len(content)))
    for place, value in data.draw(st.dictionaries(st.integers(0, len(content) - 1), st.integers(0, 255))).items():
        content[place] = value
    path = tmp_path / "last.ckpt"
    path.write_bytes(content[: length if data.draw(st.booleans()) else None])
    try:
        found = checkpoints.read(path)
    except UnrolledError:
        return
    whole = checkpoints.read(sound)
    assert torch.equal(found.pop("weights"), whole.pop("weights"))
    assert found == whole


class Malice:
    """Unpickled, it creates a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.faults(
    "hostile input",
    "a checkpoint from an untrusted source that runs code when it is unpickled, where a run would go on from it",
    "it is read as tensors, numbers and texts alone, so nothing of it runs; the run falls back on the one before",
)
@pytest.mark.parametrize("as_zip", [True, False])
def test_a_malicious_checkpoint_is_not_gone_on_from(material, whole, stopped, tmp_path, capsys, as_zip):
    out = restored(stopped, tmp_path / "run")
    bad = out / "checkpoints" / "last.ckpt"
    torch.save({"state_dict": Malice(tmp_path / "pwned")}, bad, _use_new_zipfile_serialization=as_zip)
    train.train(config(material, out))
    assert not (tmp_path / "pwned").exists()
    assert "falling back on the one before" in capsys.readouterr().err
    check_as_undisturbed(out, whole)
    torch.load(torch_file(tmp_path, as_zip), weights_only=False)
    assert (tmp_path / "pwned").exists(), "this checkpoint does no harm: the test shows nothing"


@pytest.mark.faults(
    "hostile input",
    "a malicious checkpoint as the network that `unrolled predict` or `unrolled generate` is given",
    "one line that says why it was not read; nothing of it runs, and no answers are written",
)
@pytest.mark.parametrize("as_zip", [True, False])
def test_a_malicious_network_gives_no_answers(whole, tmp_path, as_zip):
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    torch_file(tmp_path, as_zip).replace(run / "checkpoints/best.ckpt")
    (tmp_path / "new.fasta").write_text(">1\nMKV\n")
    with pytest.raises(UnrolledError, match=r"best\.ckpt (holds more than|is damaged)"):
        predict(run, tmp_path / "new.fasta", tmp_path / "out.csv", say=print)
    with pytest.raises(UnrolledError, match=r"best\.ckpt (holds more than|is damaged)"):
        generate(run, Wish(), tmp_path / "out.fasta", say=print)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.fasta", "run"]


def torch_file(folder: Path, as_zip: bool) -> Path:
    path = folder / "bad.ckpt"
    torch.save({"state_dict": Malice(folder / "pwned")}, path, _use_new_zipfile_serialization=as_zip)
    return path
