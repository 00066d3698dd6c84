"""The tables that `compare` wrote, as the figures and the words of the report read them: one `Tables` a data set.

>>> for tables in load(Path("results/demo/tables"), "macro_f1"):
...     print(tables.ranking(tables.headline))
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unrolled.errors import UnrolledError
from unrolled.files import read_json
from unrolled.looks import Look, assign
from unrolled.scoring import HIGHER_IS_BETTER

Interval = tuple[float, float, float]  # value, low, high; NaN where there is none

BANDS = ("<20", *(f"{low}-{low + 10}" for low in range(20, 90, 10)), ">=90")  # % identity to training
ALONE = {"sequence", "random"}  # the group of a random split; its usual name where no split.json is read
TEXT = {"data", "split", "model", "other", "metric", "definition", "band", "kind", "class", "actual", "predicted"}
COLUMNS = {
    "runs": "data split model fold seed params seconds peak_memory_mb tokens_per_second n_shortened kind",
    "summary": "data split model metric mean low high n",
    "models": "data split metric model other difference low high",
    "splits": "data model metric split other difference low high",
    "bands": "data split model definition band metric mean low high n sequences",
    "lengths": "data split model shortest longest metric mean low high n sequences",
    "history": "data split model fold seed epoch train_loss val_loss grad_norm_mean clipped_share",
    "classes": "data split model class n precision recall f1 mcc auroc auprc",
    "confusion": "data split model actual predicted count",
    "calibration": "data split model confidence accuracy n",
    "points": "data split model true_value predicted_value",
}


@dataclass(frozen=True)
class Tables:
    """The tables of one data set with the order and the looks that all its figures share."""

    data: str
    metric: str
    models: tuple[str, ...]
    splits: tuple[str, ...]
    looks: dict[str, Look]
    frames: dict[str, pd.DataFrame]
    summary: dict[str, Any]  # summary.json, {} if there is none
    folds: dict[str, dict[str, Any]]  # split -> split.json
    certificates: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # split -> certificate.json, if there is one

    def of(self, table: str, **where: str) -> pd.DataFrame:
        """The rows of a table in which the named columns hold these values."""
        frame = self.frames[table]
        for column, value in where.items():
            frame = frame[frame[column] == value]
        return frame

    def models_in(self, table: str, **where: str) -> list[str]:
        """The models that have such rows."""
        present = set(self.of(table, **where)["model"])
        return [model for model in self.models if model in present]

    def scores(self, split: str, metric: str | None = None) -> pd.DataFrame:
        """mean, low, high and n by model, in the matrix's order; models without a score are left out."""
        frame = self.of("summary", split=split, metric=metric or self.metric).set_index("model")
        return frame.reindex(self.models)[["mean", "low", "high", "n"]].dropna(subset="mean")

    def ranking(self, split: str) -> pd.DataFrame:
        """`scores`, the best first."""
        return self.scores(split).sort_values("mean", ascending=self.lower, kind="stable")

    def shift(self, model: str, first: str, second: str) -> Interval:
        """A model's metric under the first split minus that under the second."""
        return difference(self.of("splits", model=model, metric=self.metric), "split", first, second)

    def gain(self, change: Interval) -> Interval:
        """A change of the metric, positive if it is for the better."""
        value, low, high = change
        return (-value, -high, -low) if self.lower else change

    @property
    def bands(self) -> list[str]:
        """The bands of identity to training in which there are test sequences, from the lowest."""
        present = set(self.frames["bands"]["band"])
        return [name for name in BANDS if name in present]

    @property
    def lower(self) -> bool:
        """Whether a lower value of the metric is better."""
        return not HIGHER_IS_BETTER.get(self.metric, True)

    @property
    def neural(self) -> tuple[str, ...]:
        return tuple(model for model in self.models if not self.looks[model].baseline)

    @property
    def studied(self) -> tuple[str, ...]:
        """The models that the experiment is about: the neural ones; all if there are none."""
        return self.neural or self.models

    @property
    def random(self) -> str | None:
        """The split that ignores likeness, known by its groups of one sequence each."""
        return next((s for s in self.splits if self.folds.get(s, {"group": s}).get("group") in ALONE), None)

    @property
    def headline(self) -> str:
        """The split of the verdict: found to leak least at the lowest identity of any audit; random only if alone."""
        others = [split for split in self.splits if split != self.random] or list(self.splits)
        lowest = min((found["threshold"] for found in self.certificates.values()), default=math.nan)

        def leak(split: str) -> tuple[float, float]:
            return self._near(split, lowest), self.folds.get(split, {}).get("identity") or math.inf

        return min(others, key=leak)

    def _near(self, split: str, identity: float) -> float:
        """The share of test sequences found at least so identical to training, by whole bands where there are any."""
        if split not in self.certificates:
            return math.inf
        sizes = self.of("bands", split=split).groupby("band")["sequences"].max().reindex(BANDS).fillna(0)
        if not sizes.sum():
            return float(self.certificates[split]["share_above"])
        first = int(np.clip(identity * 10 + 1e-9, 2, 9)) - 1  # BANDS[1] begins at 20 %
        return float(sizes.iloc[first:].sum() / sizes.sum())


def difference(frame: pd.DataFrame, axis: str, first: str, second: str) -> Interval:
    """First - second on an axis, "model" or "split", whichever way it was written; NaN if the pair is not there."""
    for a, b, sign in ((first, second, 1.0), (second, first, -1.0)):
        rows = frame[(frame[axis] == a) & (frame["other"] == b)]
        if len(rows):
            value, low, high = (sign * float(rows.iloc[0][name]) for name in ("difference", "low", "high"))
            return (value, low, high) if sign > 0 else (value, high, low)
    return math.nan, math.nan, math.nan


# --- Reading ---


def load(
    folder: Path,
    metric: str,
    *,
    data_root: Path | None = None,
    matrix: Mapping[str, Sequence[Any]] | None = None,
) -> list[Tables]:
    """The tables of `compare` in `folder`, one `Tables` a data set, in the matrix's order.

    `data_root` holds <data>/summary.json and <data>/<split>/split.json; without it the figures that need them
    are left out. Raises UnrolledError for a missing table or column and for an unknown metric.
    """
    frames = {name: _read(folder / f"{name}.csv", columns.split()) for name, columns in COLUMNS.items()}
    known = list(dict.fromkeys(frames["summary"]["metric"]))
    if metric not in known:
        raise UnrolledError(
            f"{folder / 'summary.csv'} has no metric '{metric}': choose one of {', '.join(known) or 'none'}"
        )
    runs, order = frames["runs"], matrix or {}
    looks = assign(runs, _ordered(runs["model"], order.get("model", ())))
    return [
        _one(data, metric, frames, looks, order, data_root) for data in _ordered(runs["data"], order.get("data", ()))
    ]


def _one(
    data: str,
    metric: str,
    frames: dict[str, pd.DataFrame],
    looks: dict[str, Look],
    order: Mapping[str, Sequence[Any]],
    root: Path | None,
) -> Tables:
    own = {name: frame[frame["data"] == data] for name, frame in frames.items()}
    splits = tuple(_ordered(own["runs"]["split"], order.get("split", ())))
    present = set(own["runs"]["model"])
    models = tuple(model for model in looks if model in present)
    summary = _facts(root / data / "summary.json", "table") if root else {}
    folds = {split: _facts(root / data / split / "split.json", "split") for split in splits} if root else {}
    files = {split: root / data / split / "certificate.json" for split in splits} if root else {}
    certificates = {split: read_json(path) for split, path in files.items() if path.is_file()}
    return Tables(data, metric, models, splits, looks, own, summary, folds, certificates)


def _facts(path: Path, command: str) -> dict[str, Any]:
    if not path.is_file():
        raise UnrolledError(f"{path} is missing: write it with `unrolled {command}`")
    facts: dict[str, Any] = read_json(path)
    return facts


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """Names stay text, also "NA" and "001"; everything else becomes numbers, blanks NaN."""
    if not path.is_file():
        raise UnrolledError(f"{path} is missing: write it with `unrolled compare`")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame(columns=columns, dtype=str)
    if absent := [name for name in columns if name not in frame]:
        raise UnrolledError(f"{path} has no column {', '.join(absent)}: write it again with `unrolled compare`")
    numbers = {name: pd.to_numeric(frame[name], errors="coerce") for name in frame if name not in TEXT}
    return frame.assign(**{str(name): values.astype(float) for name, values in numbers.items()})


def _ordered(names: Iterable[str], first: Sequence[Any]) -> list[str]:
    """The distinct names: those in `first` in its order, then the others as they appear."""
    place = {str(name): i for i, name in enumerate(first)}
    return sorted(dict.fromkeys(names), key=lambda name: place.get(name, len(place)))
