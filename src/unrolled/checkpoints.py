"""What a training run leaves behind so that nothing ends it for good: a kill, a signal, a damaged file, a full disk.

After every epoch all that the run is goes into `last.ckpt`; the one before stays as `previous.ckpt`. Each is written
whole or not at all, and read as tensors, numbers and texts alone, never as code: one from anybody may be looked at.
SIGTERM, SIGINT and SIGHUP end a run after the step in progress with a checkpoint in the middle of the epoch, or,
while it validates, after the epoch. The status is then 128 + the signal, which Snakemake takes for a failure, and the
next call goes on there. Both ways the numbers are those of the undisturbed run.
"""

import io
import math
import os
import pickle
import signal
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from unrolled.errors import UnrolledError, lacks_memory
from unrolled.files import atomic

BEST, LAST, PREVIOUS, LABEL = "best.ckpt", "last.ckpt", "previous.ckpt", "fingerprint"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

State = dict[str, Any]


def read(path: Path) -> State:
    """A checkpoint, on the CPU.

    Raises:
        UnrolledError: it is damaged, or holds more than tensors, numbers and texts.
        OSError, MemoryError, RuntimeError: the system does not let it be read now, which is no damage.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as packed:  # torch leaves the checksums inside alone
            broken = packed.testzip()
        if broken is None:
            content.seek(0)
            state: State = torch.load(content, weights_only=True, map_location="cpu")
            return state
        why = f"the checksum of {broken} is wrong"
    except pickle.UnpicklingError:
        raise UnrolledError(
            f"{path} holds more than tensors, numbers and texts. It was not read, because that could run somebody's "
            "code: train the run again, or ask for a checkpoint of weights alone"
        ) from None
    except Exception as error:  # whatever zip, pickle and torch make of bytes that are not theirs
        if lacks_memory(error):
            raise
        why = str(error).split("\n")[0] or type(error).__name__
    raise UnrolledError(f"{path} is damaged ({why}): train the run again")


def write(path: Path, state: State) -> None:
    """Write a checkpoint whole or not at all. Raises OSError, where torch itself would not say what is wrong."""
    content = io.BytesIO()
    torch.save(state, content)
    with atomic(path) as tmp, tmp.open("wb") as stream:
        stream.write(content.getbuffer())
        stream.flush()
        os.fsync(stream.fileno())
        if path.name == LAST and path.exists():
            path.replace(path.with_name(PREVIOUS))


def tidy(folder: Path) -> None:
    """Remove what a finished run could go on from; its best weights stay."""
    for path in folder.glob("*.ckpt"):  # those that a kill left half-written, too
        if path.name != BEST:
            path.unlink()


class Files(CheckpointIO):
    """Lightning's way to `read` and `write`."""

    def save_checkpoint(self, checkpoint: State, path: Any, storage_options: Any = None) -> None:
        write(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> State:
        return read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class Checkpoints(Checkpoint):
    """Keeps the checkpoints of one run; the weights with the least validation loss so far are in each of them.

    Args:
        folder: where they are; those of any other run are removed.
        identity: what decides the numbers of the run.
    """

    def __init__(self, folder: Path, identity: str):
        self.folder, self.best, self.damaged = folder, State(), list[str]()
        self.asked = 0  # the signal that ends the run
        label = folder / LABEL
        if not label.is_file() or label.read_text() != identity:
            self.clear()
            with atomic(label) as tmp:
                tmp.write_text(identity)
        self.last = self._newest()

    def _newest(self) -> Path | None:
        """The newest checkpoint that can be read; it is said which ones cannot."""
        for path in (self.folder / LAST, self.folder / PREVIOUS):
            try:
                read(path)
                return path
            except FileNotFoundError:
                continue
            except UnrolledError as error:
                path.unlink()
                self.damaged.append(path.name)
                print(f"warning: {error}".split(": train")[0] + "; falling back on the one before", file=sys.stderr)
        self.clear()
        return None

    def clear(self) -> None:
        """Remove all checkpoints."""
        for path in self.folder.glob("*.ckpt"):
            path.unlink()

    def keep_best(self) -> State:
        """Write `best.ckpt` and return it: `epoch`, `val_loss` and the `state_dict`."""
        write(self.folder / BEST, self.best)
        return self.best

    # What Lightning calls

    def state_dict(self) -> State:
        return {"best": self.best, "damaged": self.damaged}

    def load_state_dict(self, state_dict: State) -> None:
        self.best = state_dict["best"]
        self.damaged = state_dict["damaged"] + self.damaged

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Lightning has put its own handler in place by now, and takes it away again in the end.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                    signal.signal(number, self._ask)

    def _ask(self, number: int, _: Any) -> None:
        if self.asked:  # twice: at once
            sys.exit(128 + number)
        self.asked = number

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if self.asked and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._save(trainer)
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        loss = float(trainer.callback_metrics["val_loss"])
        loss = math.inf if math.isnan(loss) else loss
        if not self.best or loss < self.best["val_loss"]:
            weights: dict[str, Tensor] = {k: v.detach().cpu().clone() for k, v in pl_module.state_dict().items()}
            self.best = {"epoch": trainer.current_epoch, "val_loss": loss, "state_dict": weights}
        self._save(trainer)
        if self.asked:
            self._stop(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)  # all of the run

    def _stop(self, trainer: L.Trainer) -> None:
        name = signal.Signals(self.asked).name
        step = f"epoch {trainer.current_epoch + 1}, step {trainer.global_step}"
        print(f"stopped by {name} in {step}; the same command goes on there", file=sys.stderr, flush=True)
        sys.exit(128 + self.asked)
