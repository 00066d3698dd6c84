"""The instruments as a Lightning callback: a few batches of each epoch are looked at closely."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from unrolled import diagnostics
from unrolled.layers import Recurrent
from unrolled.tracking import Tracker

DECADES = (0, 1, 8, 64, 512)  # distances whose gradient goes to the tracker; the file has all
WATCHED = ("gradient", "product")
COLUMNS = ["epoch", "layer", "direction", "quantity", "gate", "distance", "value"]


class Instruments(Callback):
    """Rows of `instruments.csv`: per epoch, layer, direction, quantity, gate and distance from the end, one value.

    Args:
        batches: how many batches of an epoch, evenly spread, are looked at; 0 for none. In a short epoch fewer:
            one, or one in 20.
        tracker: is told of what has no distance, and of a few distances.
    """

    def __init__(self, batches: int, tracker: Tracker):
        self.batches, self.tracker, self.rows = batches, tracker, list[dict[str, Any]]()
        self.tally = diagnostics.Tally()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "tally": {key: torch.from_numpy(sums) for key, sums in self.tally.sums.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]
        for row in filter(_is_scalar, self.rows):
            self.tracker.recall({_name(row): row["value"]}, step=row["epoch"])
        self.tally.sums.update({key: sums.numpy() for key, sums in state_dict["tally"].items()})

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        n = int(trainer.num_training_batches)
        looks = min(self.batches, max(1, n // 20))
        chosen = {n * (2 * k + 1) // (2 * looks) for k in range(looks)}
        for network in _networks(pl_module):
            network.probes = [] if batch_idx in chosen else None

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look before the scaler of a 16-bit loss, if there is one, goes on to another scale."""
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        for network in _networks(pl_module):
            if network.probes is not None:
                diagnostics.look(network, self.tally, scaler.get_scale() if scaler is not None else 1.0)
                network.probes = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.batches:
            return
        found = list(self.tally.rows())
        for network in _networks(pl_module):
            found += diagnostics.weights(network)
        self.tally = diagnostics.Tally()
        self.rows += [{"epoch": trainer.current_epoch} | row for row in found]
        scalars = {_name(row): row["value"] for row in found if _is_scalar(row)}
        self.tracker.log(scalars, step=trainer.current_epoch)


def _networks(pl_module: L.LightningModule) -> list[Recurrent]:
    """What reads the sequences; a decoder is not looked at."""
    named = pl_module.named_modules()
    return [module for name, module in named if isinstance(module, Recurrent) and not name.endswith("decoder")]


def _is_scalar(row: dict[str, Any]) -> bool:
    return row["quantity"] not in WATCHED or row["distance"] in DECADES


def _name(row: dict[str, Any]) -> str:
    at = f"_{row['distance']}_before_end" if row["quantity"] in WATCHED else ""
    return f"layer{row['layer']}.{row['direction']}/{row['quantity']}_{row['gate']}{at}"
