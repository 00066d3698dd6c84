"""Bootstrap intervals: what a metric might have been, had other sequences or other seeds been drawn.

The 95 % percentile interval of a mean over runs comes from resampling two things at once:

- the *groups* of each test set (whole identity clusters, because homologs are not independent: the cluster
  bootstrap, Field & Welsh 2007), the same resamples for every model tested on it;
- the *seeds*, with replacement.

The interval covers which test sequences were drawn and, as far as a few seeds can show, chance in training.
It does not cover which sequences were there to train on (folds share most of them), the choice of data sets
or hyper-parameters. With few seeds their variance is underestimated: S seeds show (S - 1) / S of it on
average, one seed none. A test set of fewer than 2 groups has no interval.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unrolled.errors import UnrolledError
from unrolled.scoring import METRICS, Scored, measure
from unrolled.weighted import Array

LEVEL = (0.025, 0.975)
BLOCK = 1 << 21  # weights held at a time: 16 MB, so that memory stays small whatever the test set

Key = tuple[Any, ...]


@dataclass(frozen=True)
class TestSet:
    """The test sequences all models of one (data, split, fold) share, and R resamples of their groups."""

    path: Path
    key: Key
    rows: pd.DataFrame
    codes: npt.NDArray[np.intp]  # (N,) the group of each sequence
    counts: Array  # (G, R) how often each group is drawn

    @classmethod
    def draw(cls, path: Path, key: Key, frame: pd.DataFrame, resamples: int, seed: int) -> "TestSet":
        groups, codes = np.unique(frame["group"].to_numpy(str), return_inverse=True)
        counts = draw_counts(len(groups), resamples, (seed, "groups", *key))
        return cls(path, key, _identity(frame), codes, counts)

    def check(self, path: Path, frame: pd.DataFrame) -> None:
        """Differences are paired only if the sequences are the same."""
        if not self.rows.equals(_identity(frame)):
            raise UnrolledError(
                f"{path} and {self.path} test fold {self.key} on different sequences, groups or targets: "
                "train again the one that is older than the split"
            )


def _identity(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["id", "group", "target"]].reset_index(drop=True)


def draw_counts(n: int, resamples: int, key: Key) -> Array:
    """How often each of n things is drawn in n draws with replacement, for R resamples: (n, R).

    The same key gives the same counts wherever it is asked for.
    """
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    drawn = np.random.default_rng(int.from_bytes(digest[:16], "big")).integers(n, size=(n, resamples))
    flat = np.bincount((drawn * resamples + np.arange(resamples)).ravel(), minlength=n * resamples)
    return flat.reshape(n, resamples).astype(np.float64)


def bootstrap(scores: Scored, codes: npt.NDArray[np.intp], counts: Array) -> dict[str, Array]:
    """R draws of every metric, resampling whole groups: codes (N,), counts (G, R) -> metric -> (R,).

    NaN everywhere if there are fewer than 2 groups: one group cannot show how groups vary.
    """
    groups, resamples = counts.shape
    if groups < 2:
        return {name: np.full(resamples, np.nan) for name in METRICS[scores.task]}
    blocks = np.array_split(counts, -(-len(codes) * resamples // BLOCK), axis=1)
    parts = [measure(scores, block[codes].T) for block in blocks if block.size]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def weighted_mean(draws: Array, W: Array) -> Array:
    """Mean over runs, (runs, R) and (runs, R) -> (R,), without the runs that a resample leaves undefined."""
    if np.isnan(draws).all(1).any():
        return np.full(draws.shape[1], np.nan)
    w = np.where(np.isnan(draws), 0.0, W)
    total = w.sum(0)
    mean: Array = np.full_like(total, np.nan)
    np.divide((np.nan_to_num(draws) * w).sum(0), total, out=mean, where=total > 0)
    return mean


def interval(draws: Array) -> tuple[float, float]:
    """95 % percentile interval of R draws; undefined draws are left out, NaN if none is defined."""
    defined = draws[~np.isnan(draws)]
    low, high = np.quantile(defined, LEVEL) if len(defined) else (np.nan, np.nan)
    return float(low), float(high)
