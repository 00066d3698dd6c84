"""All runs of an experiment -> tidy tables with bootstrap intervals and paired differences.

The statistic is the mean of a metric over the runs (folds and seeds) of one model on one data set and split;
its 95 % interval comes from `bootstrap`. All models tested on one (data, split, fold) share the resamples of
its groups, and models trained with the same seeds those of the seeds, so the difference of two models is
paired: what is hard for both cancels.

Draws that resampling moves, as it does those of the calibration error and of means over classes, are moved back onto
the observed mean (`means.centred`).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from unrolled.bootstrap import Key, interval
from unrolled.errors import UnrolledError
from unrolled.files import atomic
from unrolled.means import Cell, Means, draw_seeds
from unrolled.metrics import confidence_bin
from unrolled.scoring import METRICS
from unrolled.tested import MODEL, RUN, Banding, Run, infos, load

SUMMARY = [*MODEL, "metric", "mean", "low", "high", "n"]
COSTS = [
    *("params", "seconds", "epochs", "best_epoch", "peak_memory_mb", "tokens_per_second"),
    *("n_train", "n_validation", "n_test", "n_shortened", "kind"),
]
HISTORY = [
    *("epoch", "seconds", "lr", "train_loss", "val_loss", "val_accuracy"),
    *("grad_norm_mean", "grad_norm_max", "clipped_share", "tokens_per_second"),
]


def compare(
    paths: Sequence[Path],
    out: Path,
    bandings: Sequence[Banding] = (),
    *,
    resamples: int = 1000,
    seed: int = 0,
    processes: int = 1,
) -> None:
    """Write the tables of an experiment into the folder `out`; each run folder holds the files of one run.

    Tables: runs, summary, models (paired differences), splits (unpaired), history, classes, confusion,
    calibration and points, and one a banding, all `.csv`. Rows stand in the order in which data sets, splits, models
    and metrics first appear in `paths`; no number depends on that order.

    Raises UnrolledError for a missing file, a run given twice, runs of one model with different settings, and models
    of one fold tested on different sequences.
    """
    if not paths or resamples < 1:
        raise UnrolledError("compare needs at least one run folder and one resample")
    read = infos(paths)
    seeds = draw_seeds(read, resamples, seed)
    means, parts = Means(seeds), [defaultdict[int, Means](lambda: Means(seeds)) for _ in bandings]
    found: dict[int, Run] = {}
    for i, (run, test) in load(paths, read, bandings, resamples=resamples, seed=seed, processes=processes):
        found[i] = run
        means.add(run.info, replace(test.whole, point=run.report["metrics"]))
        for of, bands in zip(parts, test.bands, strict=True):
            for band, drawn in bands.items():
                of[band].add(run.info, drawn)
    runs = [found[i] for i in range(len(paths))]
    cells = means.cells()
    tables = {
        "runs": _runs_table(runs),
        "summary": summary_table(cells),
        "models": _differences_table(cells, "model"),
        "splits": _differences_table(cells, "split"),
        "history": _history_table(runs),
        "classes": _classes_table(runs),
        "confusion": _confusion_table(runs),
        "calibration": _calibration_table(runs),
        "points": _gather(runs, "points", ["true_value", "predicted_value"]),
        **{banding.name: _parts_table(banding, of, means) for banding, of in zip(bandings, parts, strict=True)},
    }
    for name, table in tables.items():
        with atomic(out / f"{name}.csv") as tmp:
            table.to_csv(tmp, index=False, float_format="%.6g", encoding="utf-8", lineterminator="\n")


# --- Tables of numbers with intervals ---


def summary_table(cells: dict[Key, dict[str, Cell]]) -> pd.DataFrame:
    """data, split, model, metric, mean, low, high and n, the number of runs."""
    rows = [
        (*key, metric, cell.mean, *interval(cell.draws), cell.n)
        for key, metrics in cells.items()
        for metric, cell in metrics.items()
    ]
    return pd.DataFrame(rows, columns=SUMMARY)


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


def _parts_table(banding: Banding, parts: dict[int, Means], whole: Means) -> pd.DataFrame:
    """As `summary_table`, a row a band, with how many test sequences of a run are in it, on average over all runs."""
    tables = []
    for band, means in sorted(parts.items()):
        table = summary_table(means.cells())
        places = zip(*(table[name] for name in MODEL), strict=True)
        sizes = [sum(means.sequences[place]) / len(whole.sequences[place]) for place in places]
        tables.append(table.assign(band=band, sequences=sizes))
    none = pd.DataFrame(columns=[*SUMMARY, "band", "sequences"])
    return banding.described(pd.concat(tables, ignore_index=True) if tables else none)[banding.columns]


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
    found = [(run, run.history) for run in runs if run.history is not None]
    if not found:
        return pd.DataFrame(columns=[*RUN, *HISTORY])
    named = pd.DataFrame([run.named(RUN) for run, _ in found])
    epochs = named.loc[named.index.repeat([len(history) for _, history in found])].reset_index(drop=True)
    return epochs.join(pd.concat([history for _, history in found], ignore_index=True))
