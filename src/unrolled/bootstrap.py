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
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.scoring import Scored, measure, number
from unrolled.weighted import Array

LEVEL = (0.025, 0.975)
BLOCK = 1 << 21  # weights held at a time: 16 MB, so that memory stays small whatever the test set

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Drawn:
    """Every metric of n sequences: as it is, None where it is undefined, and R bootstrap draws of it, (R,)."""

    n: int
    point: dict[str, float | None]
    draws: dict[str, Array]  # all NaN if the sequences are of fewer than 2 groups


def draw_counts(n: int, resamples: int, key: Key) -> Array:
    """How often each of n things is drawn in n draws with replacement, for R resamples: (n, R).

    The same key gives the same counts wherever it is asked for.
    """
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    drawn = np.random.default_rng(int.from_bytes(digest[:16], "big")).integers(n, size=(n, resamples))
    flat = np.bincount((drawn * resamples + np.arange(resamples)).ravel(), minlength=n * resamples)
    return flat.reshape(n, resamples).astype(np.float64)


def draw(scores: Scored, codes: npt.NDArray[np.intp], counts: Array) -> Drawn:
    """Measure sequences and resamples of their groups: codes (N,), counts (G, R).

    Draws are NaN everywhere if there are fewer than 2 groups: one group cannot show how groups vary.
    """
    groups, resamples = counts.shape
    weights = np.hstack([np.ones((groups, 1)), counts if groups > 1 else counts[:, :0]])  # the first for the point
    blocks = np.array_split(weights, max(1, -(-len(codes) * resamples // BLOCK)), axis=1)
    parts = [measure(scores, block[codes].T) for block in blocks if block.size]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    draws = {name: value[1:] if groups > 1 else np.full(resamples, np.nan) for name, value in values.items()}
    return Drawn(scores.n, {name: number(value[0]) for name, value in values.items()}, draws)


def interval(draws: Array) -> tuple[float, float]:
    """95 % percentile interval of R draws; undefined draws are left out, NaN if none is defined."""
    defined = draws[~np.isnan(draws)]
    low, high = np.quantile(defined, LEVEL) if len(defined) else (np.nan, np.nan)
    return float(low), float(high)
