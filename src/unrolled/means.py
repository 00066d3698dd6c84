"""Means over the runs of one (data, split, model), which come one by one and are forgotten.

The models of one data set and split that were trained with the same seeds share the resamples of the seeds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from unrolled.bootstrap import Drawn, Key, draw_counts
from unrolled.scoring import bounds
from unrolled.tested import MODEL, Info, key
from unrolled.weighted import Array, ratio

CHANCE = 4.0  # standard errors of the mean of draws: more is a bias

Seeds = Mapping[Key, Mapping[int, Array]]  # (data, split, model) -> seed -> (R,), how often it is drawn


@dataclass(frozen=True)
class Cell:
    """A (data, split, model) under one metric: the mean over its n runs and R draws of that mean."""

    mean: float
    draws: Array
    n: int


def draw_seeds(infos: Iterable[Info], resamples: int, seed: int) -> Seeds:
    """Resample the seeds of every (data, split, model), in the order in which they appear."""
    found: dict[Key, set[int]] = {}
    for info in infos:
        found.setdefault(key(info, MODEL), set()).add(info["seed"])
    ordered = {place: sorted(seeds) for place, seeds in found.items()}
    counts = {place: draw_counts(len(s), resamples, (seed, "seeds", *place[:2], s)) for place, s in ordered.items()}
    return {place: dict(zip(seeds, counts[place], strict=True)) for place, seeds in ordered.items()}


@dataclass
class Mean:
    """The mean of one metric. Runs in which it is undefined are left out, as are draws of a run that leave it so."""

    values: list[float] = field(default_factory=list)
    sums: Array | float = 0.0  # (R,)
    weights: Array | float = 0.0  # (R,)
    lacking: bool = False  # a run without draws leaves all without

    def add(self, value: float | None, draws: Array, weights: Array) -> None:
        """One more run, with its draws (R,) and how often its seed is drawn (R,)."""
        if value is None:
            return
        known = ~np.isnan(draws)
        self.values.append(value)
        self.lacking |= not known.any()
        self.sums = self.sums + np.where(known, draws, 0.0) * weights
        self.weights = self.weights + known * weights

    def cell(self, name: str, resamples: int) -> Cell:
        """The mean so far."""
        if not self.values:
            return Cell(np.nan, np.full(resamples, np.nan), 0)
        mean, none = float(np.mean(self.values)), np.full(resamples, np.nan)
        draws = none if self.lacking else ratio(np.asarray(self.sums), np.asarray(self.weights))
        return Cell(mean, centred(draws, mean, name), len(self.values))


def centred(draws: Array, mean: float, metric: str) -> Array:
    """Draws (R,) of a metric moved onto its observed mean, where they lie beside it by more than chance.

    Resampling adds noise to each of the absolute values that the calibration error is a sum of, and leaves rare
    classes out of means over classes: both move the draws, often by more than their standard error.
    """
    known = draws[~np.isnan(draws)]
    if not len(known):
        return draws
    bias = known.mean() - mean
    clear = abs(bias) > CHANCE * known.std() / np.sqrt(len(known))
    return np.clip(draws - bias, *bounds(metric)) if clear else draws


@dataclass
class Means:
    """The means of every metric of every (data, split, model)."""

    seeds: Seeds
    found: dict[Key, dict[str, Mean]] = field(default_factory=dict)
    sequences: dict[Key, list[int]] = field(default_factory=dict)  # of each run

    def add(self, info: Info, drawn: Drawn) -> None:
        """One more run."""
        place = key(info, MODEL)
        means = self.found.setdefault(place, {name: Mean() for name in drawn.point})
        self.sequences.setdefault(place, []).append(drawn.n)
        for name, mean in means.items():
            mean.add(drawn.point[name], drawn.draws[name], self.seeds[place][info["seed"]])

    def cells(self) -> dict[Key, dict[str, Cell]]:
        """(data, split, model) -> metric -> mean, in the order of `seeds`."""
        resamples = {place: len(next(iter(drawn.values()))) for place, drawn in self.seeds.items()}
        return {
            place: {name: mean.cell(name, R) for name, mean in self.found[place].items()}
            for place, R in resamples.items()
            if place in self.found
        }
