"""What length costs: every metric of every model by how long the input is, where a sequence becomes a sequence.

How long each input was stands in the runs' own predictions.parquet.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.bands import by_band
from unrolled.compare import MODEL, test_part
from unrolled.evaluate import read_run
from unrolled.files import atomic

BANDS = 6  # of about equal numbers of test sequences
COLUMNS = [*MODEL, "shortest", "longest", "metric", "mean", "low", "high", "n", "sequences"]


def write(runs: Sequence[Path], out: Path, *, resamples: int = 1000, seed: int = 0, processes: int = 1) -> None:
    """Write `lengths.csv`: as `summary.csv`, but a row a band of input lengths, from `shortest` to `longest`.

    The bands of a data set are the same for all splits, models and runs. Runs of other tasks are left out.
    """
    infos = {path: read_run(path / "run.json") for path in runs}
    tests = {path: (info, test_part(path, info)) for path, info in infos.items() if info["task"] == "transduction"}
    ends = _ends(tests.values())
    pieces = (
        (path, info, frame, np.searchsorted(ends[info["data"]][1:-1], frame["length"].to_numpy()))
        for path, (info, frame) in tests.items()
    )
    table = by_band(pieces, resamples=resamples, seed=seed, processes=processes)
    places = list(zip(table["data"], table["band"], strict=True))
    table["shortest"] = [int(ends[data][band]) + 1 for data, band in places]
    table["longest"] = [int(ends[data][band + 1]) for data, band in places]
    with atomic(out / "lengths.csv") as tmp:
        table[COLUMNS].to_csv(tmp, index=False, float_format="%.6g", encoding="utf-8", lineterminator="\n")


def _ends(tests: Iterable[tuple[Mapping[str, Any], pd.DataFrame]]) -> dict[str, NDArray[np.int64]]:
    """Data set -> what its bands end with, the end before the first included: ends[i] < length <= ends[i + 1]."""
    lengths: dict[str, dict[str, int]] = {}
    for info, frame in tests:
        lengths.setdefault(info["data"], {}).update(zip(frame["id"], frame["length"], strict=True))
    return {data: _even(np.array(list(of.values()))) for data, of in lengths.items()}


def _even(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ends of bands of about equal numbers of lengths (N,), none of them empty."""
    inner = np.quantile(lengths, np.arange(1, BANDS) / BANDS, method="inverted_cdf").astype(np.int64)
    return np.unique([lengths.min() - 1, *inner, lengths.max()])
