"""Numeric series: what was measured of d variables at T times, gaps included; and how they lie in table.parquet.

Nothing is filled in here: a value that was not measured is NaN in memory and null on disk. On disk a series is one
list of `time` and one list a variable, "x:<name>", all of length T, so that any reader of Parquet sees what is what.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from unrolled.errors import UnrolledError, refuse

TIME, PREFIX = "time", "x:"
COPY = "copy"  # what certificates and identity.parquet of series call their definition of likeness

FAR = 5.0  # deviations from the mean beyond which a network is shown no difference: mostly errors of writing down

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """One series; two are equal if their times and values are, missing ones in the same places."""

    variables: tuple[str, ...]  # d names
    times: Floats  # (T,) strictly ascending
    values: Floats  # (T, d), NaN where nothing was measured
    merged: int = 0  # readings that went into others of the same variable and step when the file was read

    def __len__(self) -> int:
        return len(self.times)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of names, times and values: 0.0 and -0.0 are one, and so is every NaN."""
        values = np.where(np.isnan(self.values), np.nan, self.values) + 0.0
        parts = repr((self.variables, self.values.shape)).encode(), (self.times + 0.0).tobytes(), values.tobytes()
        return hashlib.sha256(b"".join(parts)).digest()

    def ends(self, head: int, tail: int) -> "Series":
        """The first `head` and the last `tail` steps; times stay as they are."""
        rows = np.r_[0:head, len(self) - tail : len(self)]
        return Series(self.variables, self.times[rows], self.values[rows])


def check(found: Sequence[Any], names: Sequence[str], variables: Sequence[str]) -> None:
    """Raise UnrolledError unless all are series of these variables with finite, ascending times and finite values.

    `names` are the rows' in messages. A variable that was never measured is allowed.
    """
    pairs = list(zip(names, found, strict=True))
    other = [name for name, one in pairs if not isinstance(one, Series) or one.variables != tuple(variables)]
    refuse("series of other variables than the card's", other, f"The card's are: {', '.join(variables)}.")
    remedy = "Remove these records, or list more of their `variables`."
    refuse("empty series: no step has a value", [name for name, one in pairs if not len(one)], remedy)
    refuse("ragged series", (f"{name}: {_ragged(one)}" for name, one in pairs if _ragged(one)), "Mend the rows.")
    faults = ((name, _fault(one)) for name, one in pairs)
    refuse("numbers that cannot be", (f"{name}: {fault}" for name, fault in faults if fault), "Mend or remove them.")


def _ragged(one: Series) -> str:
    shape = len(one.times), len(one.variables)
    return "" if one.values.shape == shape else f"values {one.values.shape} for (steps, variables) {shape}"


def _fault(one: Series) -> str:
    if not np.isfinite(one.times).all():
        return "a time is not finite"
    back = np.flatnonzero(np.diff(one.times) <= 0)
    if back.size:
        return f"time {one.times[back[0] + 1]:g} comes after {one.times[back[0]]:g}"
    step, variable = (where[:1] for where in np.nonzero(np.isinf(one.values)))
    return f"{one.variables[variable[0]]} at {one.times[step[0]]:g} is infinite" if step.size else ""


def facts(found: Sequence[Series]) -> dict[str, Any]:
    """What summary.json says of series, as JSON values."""
    variables = found[0].variables
    measured = sum(np.isfinite(one.values).sum(axis=0) for one in found)  # (d,)
    steps = sum(map(len, found))
    return {
        "variables": list(variables),
        "measured": {name: int(n) / steps for name, n in zip(variables, measured, strict=True)},
        "unmeasured": [name for name, n in zip(variables, measured, strict=True) if n == 0],
        "merged": sum(one.merged for one in found),
        "time": {"min": min(float(s.times[0]) for s in found), "max": max(float(s.times[-1]) for s in found)},
    }


# --- On disk ---


def to_columns(found: Sequence[Series]) -> dict[str, pa.Array]:
    """Arrow columns of N series of the same variables: lists of numbers, null where nothing was measured."""
    ends = np.concatenate([[0], np.cumsum([len(one) for one in found])]).astype(np.int32)
    values = np.concatenate([one.values for one in found])  # (sum of T, d)
    flat = {TIME: np.concatenate([one.times for one in found])}
    flat |= {f"{PREFIX}{name}": values[:, k] for k, name in enumerate(found[0].variables)}
    lists = {name: pa.array(column, pa.float64(), from_pandas=True) for name, column in flat.items()}
    return {name: pa.ListArray.from_arrays(pa.array(ends), column) for name, column in lists.items()}


def from_columns(table: pa.Table, path: Any) -> pd.Series:
    """The series of a table that `to_columns` made. Raises UnrolledError for lists of unequal length."""
    names = [name for name in table.column_names if name.startswith(PREFIX)]
    lists = {name: table[name].combine_chunks() for name in (TIME, *names)}
    ends = {name: np.asarray(column.offsets) for name, column in lists.items()}
    ragged = [name for name in names if not np.array_equal(ends[name], ends[TIME])]
    refuse(f"{path}: lists not as long as `{TIME}`", ragged, "Build the table again with `unrolled table`.")
    flat = {name: column.flatten().to_numpy(zero_copy_only=False) for name, column in lists.items()}
    values = np.stack([flat[name] for name in names], axis=1).astype(np.float64)
    bounds, variables = ends[TIME], tuple(name.removeprefix(PREFIX) for name in names)
    made = [Series(variables, flat[TIME][a:b], values[a:b]) for a, b in pairwise(bounds.tolist())]
    return pd.Series(made, dtype=object)


# --- What a network reads ---


@dataclass(frozen=True)
class Scaling:
    """How a series becomes the steps of a network; fitted on the training part, kept with the run.

    A step is [x, m, delta], each d wide: x the last measured value, 0 (the mean) before the first; m the mask, 1
    where it was measured at this very step; delta the time since the last measurement before, or since the first
    step where there was none (Che et al. 2018, doi:10.1038/s41598-018-24271-9). x has mean 0 and variance 1, and
    delta mean 1, over the training part. What the training part never saw vary no weight has learned: x of a variable
    that was always the same is 0 for ever, and one that was never measured counts as missing.
    """

    variables: tuple[str, ...]
    count: Floats  # (d,) measurements
    mean: Floats  # (d,) of them, 0 where there are none
    deviation: Floats  # (d,) of them, 0 where they never vary
    gap: Floats  # (d,) mean delta

    NUMBERS: ClassVar[tuple[str, ...]] = ("count", "mean", "deviation", "gap")

    @classmethod
    def of(cls, found: Sequence[Series]) -> "Scaling":
        """Fit to the training part."""
        values = np.concatenate([one.values for one in found])
        measured = np.isfinite(values)
        count = measured.sum(axis=0)
        n = np.maximum(count, 1)
        # From one of the values on: a mean of equal ones may be rounded, and then they would seem to vary.
        first = np.take_along_axis(values, measured.argmax(axis=0)[None], axis=0)[0]
        first = np.where(measured.any(axis=0), first, 0.0)
        apart = np.where(measured, values - first, 0.0)
        mean = apart.sum(axis=0) / n
        deviation = np.sqrt((np.where(measured, apart - mean, 0.0) ** 2).sum(axis=0) / n)
        gap = np.concatenate([gaps(one) for one in found]).mean(axis=0)
        return cls(found[0].variables, count.astype(np.float64), first + mean, deviation, gap)

    @classmethod
    def recall(cls, facts: dict[str, Any]) -> "Scaling":
        """From what `facts` gave."""
        return cls(tuple(facts["variables"]), *(np.array(facts[name]) for name in cls.NUMBERS))

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON values, for run.json."""
        numbers = {name: getattr(self, name).tolist() for name in self.NUMBERS}
        return {"variables": list(self.variables), **numbers}

    @property
    def sizes(self) -> dict[str, int]:
        """What a network must be told of its input."""
        return {"vocabulary": 0, "variables": len(self.variables)}

    def encode(self, one: Series) -> NDArray[np.float32]:
        """(T, 3 d) of a series. Raises UnrolledError for other variables."""
        if one.variables != self.variables:
            raise UnrolledError(f"the variables are {', '.join(one.variables)}, not {', '.join(self.variables)}")
        one = replace(one, values=np.where(self.count > 0, one.values, np.nan))
        x = (last_measured(one.values, self.mean) - self.mean) / _or_one(self.deviation)
        x = np.where(self.deviation > 0, np.clip(x, -FAR, FAR), 0.0)
        m = np.isfinite(one.values)
        return np.concatenate([x, m, gaps(one) / _or_one(self.gap)], axis=1).astype(np.float32)


def last_measured(values: Floats, before: Floats) -> Floats:
    """(T, d): each value or, where it is missing, the last one measured; `before` (d,) ahead of the first."""
    rows = _row_of_last(values)
    return np.where(rows >= 0, np.take_along_axis(values, np.maximum(rows, 0), axis=0), before)


def gaps(one: Series) -> Floats:
    """(T, d): the time since the last measurement before each step, or since the first step where there is none."""
    rows = np.roll(_row_of_last(one.values), 1, axis=0)
    rows[:1] = 0
    return one.times[:, None] - one.times[np.maximum(rows, 0)]


def _row_of_last(values: Floats) -> NDArray[np.int64]:
    """(T, d): the row of the last measurement up to each step, -1 where there is none."""
    rows = np.where(np.isfinite(values), np.arange(len(values))[:, None], -1)
    return np.maximum.accumulate(rows, axis=0)


def _or_one(scale: Floats) -> Floats:
    return np.where(scale > 0, scale, 1.0)
