"""wandb as a view of what the files hold: one run per attempt at a cell of the matrix, and never a reason to fail."""

import logging
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Self

from unrolled import server, uploading
from unrolled.deferred import put_off
from unrolled.errors import UnrolledError
from unrolled.files import read_json, write_json

INIT_TIMEOUT = 20  # seconds; without a network the default of 90 would stall every run
FINISH_TIMEOUT = 60  # seconds that the end of a run waits for its upload; what is left is for `wandb_sync`
LEAVING = 5  # seconds that a run which is stopped gives wandb: a scheduler kills it soon after it asked it to end
COSTS = ("params", "seconds", "epochs", "best_epoch", "peak_memory_mb", "tokens_per_second", "n_train")
LEAKAGE = ("definition", "threshold", "method", "share_above", "above_threshold", "max_identity")  # of a certificate
INCOMPLETE = "tracking is off, and this run stays incomplete in wandb"
CONFUSION = ("Actual", "Predicted", "nPredictions")  # what wandb's chart calls them


def asked(told: Path) -> dict[str, Any]:
    """How an experiment wants wandb to be told of its runs: the `settings` of `start`, as the workflow wrote them.

    Raises UnrolledError if the file is not there, or damaged.
    """
    if not told.is_file():
        raise UnrolledError(f"{told}: there is no such file; `snakemake` writes it when it starts")
    settings: dict[str, Any] = read_json(told)["wandb"]
    return settings


def start(settings: dict[str, Any], folder: Path, config: dict[str, Any]) -> Any | None:
    """Start the wandb run of one cell of the matrix; None when disabled or impossible.

    Args:
        settings: `mode` (offline, online, disabled), `project`, `entity`, `experiment`, `artifacts`.
        folder: wandb writes below `<folder>/wandb`.
        config: what the run is; `config["cell"]` names its cell: group data/split/model, name with fold and seed.

    A missing key or network turns online into offline, and any other failure turns tracking off: both are said
    on stderr, neither stops the run.
    """
    if settings["mode"] == "disabled":
        return None
    cell, experiment = config["cell"], settings.get("experiment")
    group = "/".join(cell[axis] for axis in ("data", "split", "model"))
    baseline = config.get("model", {}).get("kind") == "baseline"
    options = {
        "project": settings["project"],
        "entity": settings.get("entity") or None,
        "group": group,
        "name": f"{group}/fold{cell['fold']}-seed{cell['seed']}",
        "job_type": "baseline" if baseline else "train",
        "tags": list(dict.fromkeys(filter(None, [experiment, cell["data"], cell["split"], cell["model"]]))),
        "config": config | {"experiment": experiment},
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
    those of `start`. As a context it closes a run that an exception or a signal ends as a failed one.
    """

    def __init__(self, settings: dict[str, Any], folder: Path, config: dict[str, Any]):
        self._settings = settings, folder, config
        self._earlier: dict[int, dict[str, float]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        run = self.__dict__.get("run")  # if it was started
        if kind is None or run is None:
            return
        try:
            server.within(LEAVING, partial(run.finish, exit_code=1))
        except Exception as error:  # what ended the run is told by whoever called
            _say(f"could not close the wandb run: {error}")

    @cached_property
    def run(self) -> Any | None:
        """The wandb run, started when it is first asked for; None when disabled or impossible."""
        return _told(start(*self._settings), self._earlier)

    def recall(self, row: dict[str, float], step: int) -> None:
        """A row that a run logged before it was interrupted: the one that goes on has all of the history."""
        self._earlier.setdefault(step, {}).update(row)

    def log(self, row: dict[str, float], step: int) -> None:
        """Log one row; a failure is said and swallowed, and ends the tracking of this run."""
        self.run = _told(self.run, {step: row})

    def finish(self, out: Path, report: Callable[[], dict[str, Any]], certificate: Path | None) -> None:
        """Tell the results of a run and close it, and run.json which one it is; a failure is said and swallowed.

        Args:
            out: the run's folder, which holds run.json and predictions.parquet.
            report: computes what metrics.json will hold; called where there is a wandb run alone.
            certificate: certificate.json of the run's split, if it is known.
        """
        settings, _, config = self._settings
        run = self.run
        if run is None:
            return None
        files = {"certificate": certificate, "predictions": out / "predictions.parquet"}
        try:
            measured = report()
        except Exception as error:  # the results are in the files already
            _say(f"could not tell the wandb run its results: {error}")
            return finish(run, {})
        try:
            _show_confusion(run, measured["confusion"])
            for kind in settings.get("artifacts") or []:
                if path := files[kind]:
                    _keep(run, kind, path, config["cell"])
            summary = {f"test/{name}": value for name, value in measured["metrics"].items()}
            record = read_json(out / "run.json")
            summary |= {f"cost/{name}": record[name] for name in COSTS if record.get(name) is not None}
            summary |= _leakage(certificate)
            write_json(out / "run.json", record | {"wandb": _identity(run)})
        except Exception as error:
            return _give_up(run, f"could not tell the wandb run its results: {error}")
        return finish(run, summary)


def finish(run: Any | None, summary: dict[str, Any]) -> None:
    """Write the summary and close the run; a failure is said and swallowed.

    A run whose data the server has to the end is marked as uploaded.
    """
    if run is None:
        return
    try:
        run.summary.update(summary)
        run.finish()
        log = Path(run.settings.sync_file)
        if run.offline:
            if not _whole(log):
                _say(f"{log} is cut off (is the disk full?): {INCOMPLETE}")
        elif server.finished(run.entity, run.project, run.id) and not uploading.losses(
            Path(run.settings.log_internal)
        ):
            uploading.mark(log)
        else:
            _say(f"the server has not got all of the run: {_later(run)}")
    except TimeoutError:
        _say(f"no upload to the end within {FINISH_TIMEOUT} seconds: {_later(run)}")
    except Exception as error:  # the results are in the files already
        _say(f"could not finish the wandb run: {error}")


def _identity(run: Any) -> dict[str, str | None]:
    """Which run it is; it has an address where it is online."""
    facts = {"id": run.id, "project": run.project, "entity": run.entity or None}
    return facts | {"url": None if run.offline else run.url}


def _later(run: Any) -> str:
    """How what the server lacks of an online run goes there, in whose log wandb writes no artifacts."""
    return f"upload later (all but artifacts) with {uploading.how(Path(run.settings.sync_file).parents[1])}"


def _whole(log: Path) -> bool:
    """Whether an offline run's log holds its end, which wandb's process may write a little later."""
    due = time.monotonic() + LEAVING
    while not (whole := uploading.ended(log)) and time.monotonic() < due:
        time.sleep(0.2)
    return whole


def _told(run: Any | None, rows: dict[int, dict[str, float]]) -> Any | None:
    """Log rows by step; returns the run, or None where wandb fails, which is said once: the rest would fail, too."""
    if run is None:
        return None
    try:
        for step, row in sorted(rows.items()):
            run.log(row, step=step)
    except Exception as error:  # the row is in the history already
        _give_up(run, f"could not log step {step}: {error}")
        return None
    return run


def _give_up(run: Any, why: str) -> None:
    """Say why no more of a run is told, and close it as a failed one, which is not uploaded."""
    import wandb

    def close() -> None:
        try:
            run.finish(exit_code=1)
        finally:
            wandb.teardown()  # where its own process has died this fails: here, not in sight of whoever reads the log

    _say(f"{why}; {INCOMPLETE}")
    with suppress(Exception):
        server.within(LEAVING, close)


def _show_confusion(run: Any, counts: list[dict[str, Any]]) -> None:
    """wandb's chart of a confusion matrix, from counts: it itself counts only what it is shown one by one."""
    if not counts:
        return
    import wandb

    table = wandb.Table(list(CONFUSION), [[row["actual"], row["predicted"], row["count"]] for row in counts])
    run.log({"confusion": wandb.plot_table("wandb/confusion_matrix/v1", table, {name: name for name in CONFUSION})})


def _keep(run: Any, kind: str, path: Path, cell: dict[str, Any]) -> None:
    """Log a file as an artifact, named after what it belongs to: a split, or a run."""
    import wandb

    belongs = [cell["data"], cell["split"]]
    if kind == "predictions":
        belongs += [cell["model"], f"fold{cell['fold']}", f"seed{cell['seed']}"]
    kept = wandb.Artifact("-".join([kind, *belongs]), type=kind)
    kept.add_file(str(path))
    run.log_artifact(kept)


def _leakage(certificate: Path | None) -> dict[str, float | str]:
    """What a split was measured to leak."""
    found = read_json(certificate) if certificate and certificate.is_file() else {}
    return {f"leakage/{name}": found[name] for name in LEAKAGE if found.get(name) is not None}


def _init(mode: Literal["online", "offline"], options: dict[str, Any]) -> Any:
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its end would wait 12 s for a server that hangs
    logging.raiseExceptions = False  # on a full disk each line of wandb's own log would be a traceback on stderr
    put_off("wandb.sdk.launch")  # the client of a job queue, imported to find no job for this run
    import wandb

    quiet = wandb.Settings(
        init_timeout=INIT_TIMEOUT,
        finish_timeout=FINISH_TIMEOUT,
        finish_timeout_raises=True,
        console="off",
        x_disable_stats=True,
        silent=True,
    )
    tried = secrets.token_hex(8)
    try:
        if mode == "online":
            server.greet()
        return wandb.init(mode=mode, settings=quiet, id=tried, **options)
    except (UnrolledError, wandb.errors.Error) as error:
        if mode == "offline":
            raise
        for begun in (options["dir"] / "wandb").glob(f"run-*-{tried}"):  # empty, and it looks as if it had ended well
            shutil.rmtree(begun, ignore_errors=True)
        _say(f"{error}; logging offline: upload later with {uploading.how(options['dir'] / 'wandb')}")
        return wandb.init(mode="offline", settings=quiet, id=secrets.token_hex(8), **options)


def _say(message: str) -> None:
    print("wandb:", " ".join(message.split()), file=sys.stderr)  # one line, whatever wandb's errors are
