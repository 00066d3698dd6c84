"""All runs of an experiment -> tidy tables with bootstrap intervals and paired differences.

The statistic is the mean of a metric over the runs (folds and seeds) of one model on one data set and split;
its 95 % interval comes from `bootstrap`. All models tested on one (data, split, fold) share the resamples of
its groups, and models trained with the same seeds those of the seeds, so the difference of two models is
paired: what is hard for both cancels.

The calibration error `ece` is a sum of absolute values: resampling adds noise to each and so raises it, often
by more than its standard error. Its draws are moved back onto the observed mean.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unrolled.bootstrap import Key, TestSet, bootstrap, draw_counts, interval, weighted_mean
from unrolled.crew import each
from unrolled.errors import UnrolledError
from unrolled.evaluate import read_predictions, read_run, require, score
from unrolled.files import atomic, read_json
from unrolled.metrics import confidence_bin
from unrolled.scoring import METRICS
from unrolled.weighted import Array

MODEL = ["data", "split", "model"]
RUN = [*MODEL, "fold", "seed"]
TESTED = ["data", "split", "fold"]  # what decides on the test sequences
COSTS = [
    *("params", "seconds", "epochs", "best_epoch", "peak_memory_mb", "tokens_per_second"),
    *("n_train", "n_validation", "n_test", "n_shortened", "kind"),
]
HISTORY = [
    *("epoch", "seconds", "lr", "train_loss", "val_loss", "val_accuracy"),
    *("grad_norm_mean", "grad_norm_max", "clipped_share", "tokens_per_second"),
]


@dataclass(frozen=True)
class Run:
    """One run folder: its JSON files, its training history and R bootstrap draws of every metric."""

    path: Path
    info: dict[str, Any]
    report: dict[str, Any]
    draws: dict[str, Array]  # metric -> (R,), all NaN if the test set has fewer than 2 groups

    def named(self, names: list[str]) -> dict[str, Any]:
        return {name: self.info[name] for name in names}

    def key(self, names: list[str]) -> Key:
        return tuple(self.named(names).values())


@dataclass(frozen=True)
class Cell:
    """A (data, split, model) under one metric: the mean over its n runs and R draws of that mean."""

    mean: float
    draws: Array
    n: int


def compare(runs: list[Path], out: Path, *, resamples: int = 1000, seed: int = 0, processes: int = 1) -> None:
    """Write the tables of an experiment into the folder `out`; each run folder holds the files of one run.

    Tables: runs, summary, models (paired differences), splits (unpaired), history, classes, confusion,
    calibration and points, all `.csv`. Rows stand in the order in which data sets, splits, models and metrics first
    appear in `runs`; no number depends on that order. A few runs' predictions are in memory at a time.

    Raises UnrolledError for a missing file, a run given twice, and models of one fold tested on different
    sequences.
    """
    if not runs or resamples < 1:
        raise UnrolledError("compare needs at least one run folder and one resample")
    loaded = _load(runs, resamples, seed, processes)
    means = cells(loaded, seed)
    tables = {
        "runs": _runs_table(loaded),
        "summary": summary_table(means),
        "models": _differences_table(means, "model"),
        "splits": _differences_table(means, "split"),
        "history": _history_table(loaded),
        "classes": _classes_table(loaded),
        "confusion": _confusion_table(loaded),
        "calibration": _calibration_table(loaded),
        "points": _gather(loaded, "points", ["true_value", "predicted_value"]),
    }
    for name, table in tables.items():
        with atomic(out / f"{name}.csv") as tmp:
            table.to_csv(tmp, index=False, float_format="%.6g", encoding="utf-8", lineterminator="\n")


# --- Reading the runs ---


def _load(paths: list[Path], resamples: int, seed: int, processes: int) -> list[Run]:
    """Runs in the given order, read fold by fold so that each process draws a fold's resamples once."""
    infos = [read_run(path / "run.json") for path in paths]
    _check_unique(paths, infos)
    order = sorted(range(len(paths)), key=lambda i: [str(infos[i][name]) for name in TESTED])
    first: dict[Key, Path] = {}  # the run whose test set stands for its fold's
    for i in order:
        first.setdefault(_tested(infos[i]), paths[i])
    places = [(paths[i], infos[i], first[_tested(infos[i])]) for i in order]
    found = each(partial(_run, resamples=resamples, seed=seed), places, processes)
    loaded = dict(zip(_progress(order), found, strict=True))
    return [loaded[i] for i in range(len(paths))]


def _tested(info: dict[str, Any]) -> Key:
    return tuple(info[name] for name in TESTED)


def _run(place: tuple[Path, dict[str, Any], Path], resamples: int, seed: int) -> Run:
    """A run, drawn with the test set of the run in the third place."""
    path, info, reference = place
    test, frame = _test_set(reference, resamples, seed), test_part(path, info)
    test.check(path, frame)
    report = read_json(require(path / "metrics.json"))
    scores = score(frame, info, report["thresholds"])
    return Run(path, info, report, bootstrap(scores, test.codes, test.counts))


@lru_cache(maxsize=1)
def _test_set(path: Path, resamples: int, seed: int) -> TestSet:
    info = read_run(path / "run.json")
    return TestSet.draw(path, _tested(info), test_part(path, info), resamples, seed)


def _check_unique(paths: list[Path], infos: list[dict[str, Any]]) -> None:
    seen: dict[Key, Path] = {}
    for path, info in zip(paths, infos, strict=True):
        if absent := [name for name in RUN if name not in info]:
            raise UnrolledError(f"{path / 'run.json'} has no {', '.join(absent)}: train the run again")
        key = tuple(info[name] for name in RUN)
        if key in seen:
            raise UnrolledError(f"{path} and {seen[key]} are the same run {key}: give each run once")
        seen[key] = path


def test_part(path: Path, info: dict[str, Any]) -> pd.DataFrame:
    """A run's predictions of its test sequences, sorted by id."""
    frame = read_predictions(path / "predictions.parquet", info)
    return frame[frame["part"] == "test"]


def _progress(order: list[int]) -> Iterator[int]:
    """Count the runs on stderr, if somebody is looking."""
    watched = sys.stderr.isatty()
    for done, i in enumerate(order, 1):
        yield i
        if watched:
            end = "\n" if done == len(order) else ""
            print(f"\rcompare: {done} of {len(order)} runs", end=end, file=sys.stderr, flush=True)


# --- Means over runs ---


def cells(runs: list[Run], seed: int) -> dict[Key, dict[str, Cell]]:
    """(data, split, model) -> metric -> Cell."""
    groups: dict[Key, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.key(MODEL), []).append(run)
    return {key: _cell(members, seed) for key, members in groups.items()}


def _cell(runs: list[Run], seed: int) -> dict[str, Cell]:
    seeds = sorted({run.info["seed"] for run in runs})
    names = list(METRICS[runs[0].info["task"]])
    resamples = len(runs[0].draws[names[0]])
    counts = draw_counts(len(seeds), resamples, (seed, "seeds", *runs[0].key(["data", "split"]), seeds))
    W = np.stack([counts[seeds.index(run.info["seed"])] for run in runs])  # (runs, R)
    return {name: _mean_cell(runs, name, W) for name in names}


def _mean_cell(runs: list[Run], name: str, W: Array) -> Cell:
    """Runs in which the metric is undefined are left out; one test set without draws leaves all without."""
    values = [run.report["metrics"][name] for run in runs]
    kept = [i for i, value in enumerate(values) if value is not None]
    if not kept:
        return Cell(np.nan, np.full(W.shape[1], np.nan), 0)
    mean = float(np.mean([values[i] for i in kept]))
    draws = weighted_mean(np.stack([runs[i].draws[name] for i in kept]), W[kept])
    if name == "ece":
        draws = np.maximum(draws + mean - np.nanmean(draws), 0) if not np.isnan(draws).all() else draws
    return Cell(mean, draws, len(kept))


# --- Tables of numbers with intervals ---


def summary_table(cells: dict[Key, dict[str, Cell]]) -> pd.DataFrame:
    """data, split, model, metric, mean, low, high and n, the number of runs."""
    rows = [
        (*key, metric, cell.mean, *interval(cell.draws), cell.n)
        for key, metrics in cells.items()
        for metric, cell in metrics.items()
    ]
    return pd.DataFrame(rows, columns=[*MODEL, "metric", "mean", "low", "high", "n"])


def _differences_table(cells: dict[Key, dict[str, Cell]], axis: str) -> pd.DataFrame:
    """Differences along one axis, everything else equal: of models paired, of splits not (drawn apart)."""
    at = MODEL.index(axis)
    rank = list(dict.fromkeys(key[at] for key in cells))
    places: dict[Key, list[Key]] = {}
    for key in cells:
        places.setdefault((*key[:at], *key[at + 1 :]), []).append(key)
    rows = [
        (*place, metric, a[at], b[at], *_difference(cells[a][metric], cells[b][metric]))
        for place, keys in places.items()
        for metric in cells[keys[0]]
        for a, b in combinations(sorted(keys, key=lambda key: rank.index(key[at])), 2)
    ]
    others = [name for name in MODEL if name != axis]
    return pd.DataFrame(rows, columns=[*others, "metric", axis, "other", "difference", "low", "high"])


def _difference(a: Cell, b: Cell) -> tuple[float, float, float]:
    """Difference of means and its interval, without the last digits that are rounding."""
    low, high = interval(a.draws - b.draws)
    return round(a.mean - b.mean, 12), round(low, 12), round(high, 12)


# --- Tables gathered from the runs ---


def _runs_table(runs: list[Run]) -> pd.DataFrame:
    """One row a run; metrics that its task does not have stay blank."""
    tasks = {run.info["task"] for run in runs}
    names = list(dict.fromkeys(name for task in METRICS if task in tasks for name in METRICS[task]))
    rows = [{**run.info, **run.report["metrics"]} for run in runs]
    return pd.DataFrame(rows).reindex(columns=[*RUN, *names, *COSTS])


def _gather(runs: list[Run], part: str, columns: list[str]) -> pd.DataFrame:
    """The rows of one list of every metrics.json, with the model they belong to."""
    rows = [{**run.named(MODEL), **row} for run in runs for row in run.report[part]]
    return pd.DataFrame(rows, columns=[*MODEL, *columns])


def _classes_table(runs: list[Run]) -> pd.DataFrame:
    """Means over runs; undefined numbers are left out."""
    numbers = ["n", "precision", "recall", "f1", "mcc", "auroc", "auprc"]
    frame = _gather(runs, "per_class", ["class", *numbers]).astype(dict.fromkeys(numbers, "float64"))
    return frame.groupby([*MODEL, "class"], sort=False, as_index=False).mean()


def _confusion_table(runs: list[Run]) -> pd.DataFrame:
    frame = _gather(runs, "confusion", ["actual", "predicted", "count"])
    return frame.groupby([*MODEL, "actual", "predicted"], sort=False, as_index=False).sum()


def _calibration_table(runs: list[Run]) -> pd.DataFrame:
    """Bins pooled over runs: means weighted by the number of decisions."""
    frame = _gather(runs, "calibration", ["confidence", "accuracy", "n"])
    frame["bin"] = confidence_bin(frame["confidence"].to_numpy(np.float64))
    frame[["confidence", "accuracy"]] = frame[["confidence", "accuracy"]].mul(frame["n"], axis=0)
    frame["place"] = frame.groupby(MODEL, sort=False).ngroup()  # bins sorted, models as they appear
    pooled = frame.groupby(["place", "bin", *MODEL], as_index=False).sum()
    pooled[["confidence", "accuracy"]] = pooled[["confidence", "accuracy"]].div(pooled["n"], axis=0)
    return pooled[[*MODEL, "confidence", "accuracy", "n"]]


def _history_table(runs: list[Run]) -> pd.DataFrame:
    """The training histories on top of each other; baselines have none."""
    frames = []
    for run in runs:
        path = run.path / "history.csv"
        if path.is_file():
            frame = pd.read_csv(path, encoding="utf-8")
            frames.append(pd.DataFrame(run.named(RUN), index=frame.index).join(frame))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*RUN, *HISTORY])
