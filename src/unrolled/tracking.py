"""wandb as a view of what the files hold: one run per cell of the matrix, and never a reason to fail."""

import os
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from unrolled.deferred import put_off

INIT_TIMEOUT = 20  # seconds; without a network the default of 90 would stall every run


def start(settings: dict[str, Any], folder: Path, config: dict[str, Any]) -> Any | None:
    """Start the wandb run of one cell of the matrix; None when disabled or impossible.

    Args:
        settings: `mode` (offline, online, disabled), `project`, `entity`.
        folder: wandb writes below `<folder>/wandb`.
        config: what the run is; `config["cell"]` names its cell: group data/split/model, name with fold and seed.

    A missing key or network turns online into offline, and any other failure turns tracking off: both are said
    on stderr, neither stops the run.
    """
    if settings["mode"] == "disabled":
        return None
    cell = config["cell"]
    group = "/".join(cell[axis] for axis in ("data", "split", "model"))
    options = {
        "project": settings["project"],
        "entity": settings.get("entity"),
        "group": group,
        "name": f"{group}/fold{cell['fold']}-seed{cell['seed']}",
        "job_type": "train",
        "tags": [cell["data"], cell["split"], cell["model"]],
        "config": config,
        "dir": folder,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _init(settings["mode"], options)
    except Exception as error:  # whatever wandb does, the run goes on
        _say(f"tracking is off: {error}")
        return None


class Tracker:
    """The wandb run of one cell, started by the first row it is given: no first step waits a second or two for it.

    wandb's own clock therefore starts after the first epoch; the rows say how long each took. Its arguments are
    those of `start`.
    """

    def __init__(self, settings: dict[str, Any], folder: Path, config: dict[str, Any]):
        self._settings = settings, folder, config

    @cached_property
    def run(self) -> Any | None:
        """The wandb run, started when it is first asked for; None when disabled or impossible."""
        return start(*self._settings)

    def log(self, row: dict[str, float], step: int) -> None:
        """Log one row; a failure is said and swallowed."""
        if self.run is None:
            return
        try:
            self.run.log(row, step=step)
        except Exception as error:  # the row is in the history already
            _say(f"could not log step {step}: {error}")

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the summary and close the run; a failure is said and swallowed."""
        finish(self.run, summary)


def finish(run: Any | None, summary: dict[str, Any]) -> None:
    """Write the summary and close the run; a failure is said and swallowed."""
    if run is None:
        return
    try:
        run.summary.update(summary)
        run.finish()
    except Exception as error:  # the results are in the files already
        _say(f"could not finish the wandb run: {error}")


def _init(mode: Literal["online", "offline"], options: dict[str, Any]) -> Any:
    os.environ.setdefault("WANDB_SILENT", "true")
    put_off("wandb.sdk.launch")  # the client of a job queue, imported to find no job for this run
    import wandb

    quiet = wandb.Settings(init_timeout=INIT_TIMEOUT, console="off", x_disable_stats=True, silent=True)
    if mode == "online" and not (os.environ.get("WANDB_API_KEY") or wandb.api.api_key):
        _say("no API key (`wandb login`): logging offline; upload later with `wandb sync`")
        mode = "offline"
    try:
        return wandb.init(mode=mode, settings=quiet, **options)
    except wandb.errors.Error as error:
        if mode == "offline":
            raise
        _say(f"no connection ({error}): logging offline; upload later with `wandb sync`")
        return wandb.init(mode="offline", settings=quiet, **options)


def _say(message: str) -> None:
    print(f"wandb: {message}", file=sys.stderr)
