"""Small irregular series with a known answer: what tests of series train on."""

from pathlib import Path

import numpy as np
import pandas as pd

from unrolled import split
from unrolled import table as tables
from unrolled.series import Series

VARIABLES = ("HR", "pH", "never")
CARD = {
    **{"title": "T", "task": "multiclass", "alphabet": "numeric", "variables": list(VARIABLES), "format": "long"},
    **{"columns": {"id": "stay", "time": "t", "variable": "what", "value": "much"}, "time": {"unit": "h"}},
    **{"files": [{"path": "x.csv"}], "keep": ["patient"], "max_length": None},
}


def stays(n: int = 150, seed: int = 0) -> pd.DataFrame:
    """`n` series of 1 to 9 steps, three to a patient; those whose heart rate is high are "ill"."""
    rng = np.random.default_rng(seed)
    found, targets = [], []
    for _ in range(n):
        ill, T = rng.random() < 0.4, int(rng.integers(1, 10))
        values = np.stack([rng.normal(90 if ill else 70, 8, T), rng.normal(7.4, 0.1, T), np.full(T, np.nan)], axis=1)
        values[rng.random(values.shape) < 0.3] = np.nan
        values[np.isnan(values).all(axis=1), 1] = 7.4  # a time without a value would be no step in a file
        values[0, 0] = 70 + 20 * ill + rng.normal()
        found.append(Series(VARIABLES, np.cumsum(rng.exponential(1.5, T)), values))
        targets.append("ill" if ill else "well")
    frame = pd.DataFrame({"id": [f"s{i:03}" for i in range(n)], "target": targets}, dtype="str")
    frame.insert(1, "sequence", pd.Series(found, dtype=object))
    return frame.assign(patient=[f"p{i // 3}" for i in range(n)])


SPLIT = {"title": "P", "group": "column", "column": "patient", "folds": 5, "seed": 0}


def write_stays(folder: Path, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Write table.parquet and folds.parquet; return the folds."""
    table = stays() if table is None else table
    tables.write(folder / "table.parquet", table)
    folds = split.make_folds(tables.read(folder / "table.parquet"), SPLIT, "multiclass")
    folds.to_parquet(folder / "folds.parquet", index=False)
    return folds


def write_long(path: Path, table: pd.DataFrame) -> Path:
    """The series of a table as a CSV file with a row a value."""
    lines = ["stay,t,what,much"]
    for name, one in zip(table["id"], table["sequence"], strict=True):
        for t, row in zip(one.times, one.values, strict=True):
            lines += [f"{name},{t!r},{v},{x!r}" for v, x in zip(one.variables, row, strict=True) if np.isfinite(x)]
    path.write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")
    return path
