"""What length costs: every metric of every model by how long the input is, where a sequence becomes a sequence.

How long each input was stands in the runs' own predictions.parquet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.evaluate import read_run
from unrolled.tested import MODEL, Info, test_part

BANDS = 6  # of about equal numbers of test sequences


@dataclass(frozen=True)
class Lengths:
    """Bands of the length of the input, the same for all splits, models and runs of a data set."""

    ends: tuple[tuple[str, tuple[int, ...]], ...]  # of each data set: ends[i] < length <= ends[i + 1]
    name: ClassVar = "lengths"
    columns: ClassVar = [*MODEL, "shortest", "longest", "metric", "mean", "low", "high", "n", "sequences"]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "Lengths":
        """From the test sequences of all runs; those of other tasks are not taken apart."""
        lengths: dict[str, dict[str, int]] = {}
        for path in paths:
            info = read_run(path / "run.json")
            if info["task"] == "transduction":
                test = test_part(path, info)
                lengths.setdefault(info["data"], {}).update(zip(test["id"], test["length"], strict=True))
        ends = {data: tuple(_even(np.array(list(of.values()))).tolist()) for data, of in lengths.items()}
        return cls(tuple(ends.items()))

    def numbers(self, info: Info, test: pd.DataFrame) -> NDArray[np.intp] | None:
        """The band of each test sequence, (N,)."""
        ends = dict(self.ends).get(info["data"])
        return None if ends is None else np.searchsorted(ends[1:-1], test["length"].to_numpy())

    def described(self, table: pd.DataFrame) -> pd.DataFrame:
        """With the lengths that a band begins and ends with."""
        ends = dict(self.ends)
        places = list(zip(table["data"], table["band"], strict=True))
        shortest, longest = ([ends[data][band + end] + 1 - end for data, band in places] for end in (0, 1))
        return table.assign(shortest=shortest, longest=longest)


def _even(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ends of bands of about equal numbers of lengths (N,), none of them empty."""
    inner = np.quantile(lengths, np.arange(1, BANDS) / BANDS, method="inverted_cdf").astype(np.int64)
    return np.unique([lengths.min() - 1, *inner, lengths.max()])
