"""The lecture's training recipe as a LightningModule, and the history of its epochs.

Adam, the gradient norm logged before it is clipped to tau, ReduceLROnPlateau on the validation loss.
"""

import math
import sys
import time
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor, nn

from unrolled.batching import Batch
from unrolled.deferred import uncompiled
from unrolled.objectives import OBJECTIVES
from unrolled.tracking import Tracker

SPIKE = 5  # times the epoch's median gradient norm
CLIPPING = (
    "tau = train.clip_norm is below 0.5 and most steps are clipped: the model is likely ill-conditioned. Remedies, "
    "as the lecture has them: lower train.learning_rate, use a gated cell (LSTM, GRU), or truncate BPTT (the model "
    "card's window)"
)


class Training(L.LightningModule):
    """Loss, optimiser and clipping of one network.

    Args:
        network: maps tokens (B, T) and lengths (B,) to outputs (B, K), or (B, T, K); with targets (B, U) of another
            length to (B, U, K).
        task: its name; see objectives.py.
        recipe: the `train` section of the config.
        seed: decides, with the step, every random number drawn in training.
    """

    def __init__(self, network: nn.Module, task: str, recipe: dict[str, Any], seed: int):
        super().__init__()
        self.network, self.objective, self.recipe, self.seed = network, OBJECTIVES[task], recipe, seed
        self.norms: list[float] = []  # gradient norms of the epoch, before clipping
        self.skipped = 0  # steps of the epoch whose scaled gradient was not finite
        self.sums: dict[str, tuple[Any, int]] = {}  # over the epoch's batches so far, and how many terms these are
        self.diverged = False  # gradient or validation loss were not finite: the run ends

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["epoch_so_far"] = {"norms": self.norms, "skipped": self.skipped, "sums": self.sums}
        checkpoint["diverged"] = self.diverged

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        so_far = checkpoint["epoch_so_far"]
        self.norms, self.skipped, self.sums = (so_far[name] for name in ("norms", "skipped", "sums"))
        self.diverged = checkpoint["diverged"]

    def on_train_epoch_end(self) -> None:
        """Here, and not by Lightning after its hooks: a checkpoint of this epoch's end must hold what it brings."""
        self.norms, self.skipped = [], 0
        plateau = self.lr_schedulers()
        assert isinstance(plateau, torch.optim.lr_scheduler.ReduceLROnPlateau)
        loss = self.trainer.callback_metrics["val_loss"]
        plateau.step(loss)
        self.diverged |= not math.isfinite(loss)  # `Stopping` ends the run

    def lr_scheduler_step(self, *_: Any) -> None:
        """Nothing: `on_train_epoch_end` has done it."""

    def training_step(self, batch: Batch) -> Tensor:
        # Seeding every step makes a resumed run draw what the undisturbed one drew.
        seed = int(np.random.SeedSequence([self.seed, self.global_step]).generate_state(1)[0])
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would keep a traceback for a GPU never used
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed(seed)
        loss = self.objective.loss(self.objective.outputs(self.network, batch), batch.targets)
        self._add("train_loss", loss, batch)
        return loss

    def validation_step(self, batch: Batch) -> None:
        outputs = self.objective.outputs(self.network, batch)
        self._add("val_loss", self.objective.loss(outputs, batch.targets), batch)
        if self.objective.accuracy:
            self._add("val_accuracy", self.objective.accuracy(outputs, batch.targets), batch)

    def on_validation_epoch_end(self) -> None:
        for name in ("val_loss", "val_accuracy"):
            if name in self.sums:
                self.log(name, self.mean(name), logger=False)

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip the global norm to tau and keep the norm from before; stop at one that is not finite.

        A loss that is scaled up for 16 bits may only be scaled too much: that step is skipped and counted, and the
        scaler scales less from then on.
        """
        norm = float(nn.utils.clip_grad_norm_(self.parameters(), self.recipe["clip_norm"]))
        if not math.isfinite(norm):
            optimizer.zero_grad()  # the weights stay as they were
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
            if scaler is not None and scaler.get_scale() > 1:
                self.skipped += 1
                return
            self.diverged = self.trainer.should_stop = True
        self.norms.append(norm)

    def configure_optimizers(self) -> Any:
        recipe, trained = self.recipe, [p for p in self.parameters() if p.requires_grad]
        adam = uncompiled(torch.optim.Adam)(trained, lr=recipe["learning_rate"], weight_decay=recipe["weight_decay"])
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, **recipe["plateau"])
        return {"optimizer": adam, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}

    def mean(self, name: str) -> float:
        """Mean over the batches of an epoch, which ends here. `self.log` of each takes as long as a small network."""
        total, terms = self.sums.pop(name)
        return float(total) / terms

    def _add(self, name: str, value: Tensor, batch: Batch) -> None:
        weight = self.objective.weight(batch.targets)
        total, terms = self.sums.get(name, (0.0, 0))
        self.sums[name] = total + value.detach().double() * weight, terms + weight


class History(Callback):
    """One row an epoch: kept in the checkpoints, so that a resumed run goes on with it, said on stderr, tracked."""

    def __init__(self, n_tokens: int, tracker: Tracker):
        self.n_tokens, self.rows = n_tokens, list[dict[str, float]]()
        # When the epoch began, with all that the one before left to do (checkpoint, instruments, log), and when its
        # last training step had been made.
        self.started = self.trained = 0.0
        self.elapsed = 0.0  # seconds that an interrupted run had spent on the epoch
        self.before = 0.0  # seconds that it had spent in all
        self.norms: list[list[float]] = []  # of each epoch, of each step, before clipping
        self.tracker = tracker

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "norms": self.norms, "elapsed": time.perf_counter() - self.started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.norms, self.elapsed = (state_dict[name] for name in ("rows", "norms", "elapsed"))
        self.before = sum(row["seconds"] for row in self.rows) + self.elapsed
        for row in self.rows:
            self.tracker.recall(row, step=int(row["epoch"]))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = time.perf_counter() - self.elapsed

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.trained = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Training)
        norms = np.array(pl_module.norms or [math.nan])  # every step of the epoch may have been skipped
        logged = trainer.callback_metrics
        ended = time.perf_counter()
        row = {
            "epoch": trainer.current_epoch,
            "seconds": round(ended - self.started, 3),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": pl_module.mean("train_loss"),
            "val_loss": float(logged["val_loss"]),
            "val_accuracy": float(logged.get("val_accuracy", math.nan)),
            "grad_norm_mean": float(norms.mean()),
            "grad_norm_max": float(norms.max()),
            "clipped_share": float((norms > pl_module.recipe["clip_norm"]).mean()),
            "grad_spikes": int((norms > SPIKE * np.median(norms)).sum()),
            "skipped_steps": pl_module.skipped,
            "tokens_per_second": round(self.n_tokens / (self.trained - self.started)),
        }
        self.rows.append(row)
        self.norms.append(pl_module.norms)
        self.started = ended
        print(_line(row, pl_module.recipe["max_epochs"]), file=sys.stderr, flush=True)
        if keeps_clipping([r["clipped_share"] for r in self.rows], pl_module.recipe["clip_norm"]):
            print(f"warning: {CLIPPING}", file=sys.stderr, flush=True)
        self.tracker.log(row, step=trainer.current_epoch)


def keeps_clipping(shares: list[float], tau: float) -> bool:
    """True when, for the third epoch in a row and no earlier, a tau below 0.5 clips more than half of the steps."""
    often = [share > 0.5 for share in shares[-4:]]
    return tau < 0.5 and often[-3:] == [True] * 3 and often != [True] * 4


class Stopping(EarlyStopping):
    """Early stopping that remembers: a run killed after its last epoch does not train another when it resumes."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Training)
        trainer.should_stop = self.wait_count >= self.patience or pl_module.diverged


def _line(row: dict[str, float], last: int) -> str:
    accuracy = "" if math.isnan(row["val_accuracy"]) else f"  accuracy {row['val_accuracy']:.3f}"
    return (
        f"epoch {row['epoch'] + 1:3.0f}/{last}  train {row['train_loss']:.4f}  val {row['val_loss']:.4f}{accuracy}"
        f"  |g| {row['grad_norm_mean']:.2f} (max {row['grad_norm_max']:.2f})"
        f"  lr {row['lr']:.1e}  {row['tokens_per_second'] / 1000:.0f} k tokens/s"
    )
