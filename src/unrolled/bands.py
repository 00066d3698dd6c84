"""What leaking does: every metric of every model by how near the test sequences are to what was trained on.

The nearest training sequence of each test sequence is in identity.parquet, beside the split's certificate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.errors import UnrolledError
from unrolled.files import read_parquet
from unrolled.results import BANDS
from unrolled.series import COPY
from unrolled.tested import MODEL, Info

EDGES = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], dtype=np.float32)  # between the BANDS

Place = tuple[str, str]  # data, split


@dataclass(frozen=True)
class Near:
    """Bands of the identity to the nearest training sequence; none for splits that were not audited.

    Where no identity was measured (of numbers) there are none either.
    """

    files: tuple[tuple[Place, Path], ...]
    name: ClassVar = "bands"
    columns: ClassVar = [*MODEL, "definition", "band", "metric", "mean", "low", "high", "n", "sequences"]

    @classmethod
    def of(cls, identities: Mapping[Place, Path]) -> "Near":
        """From identity.parquet by data and split."""
        return cls(tuple(identities.items()))

    def numbers(self, info: Info, test: pd.DataFrame) -> NDArray[np.intp] | None:
        """The band of each test sequence, (N,).

        Raises UnrolledError for a test sequence that identity.parquet lacks.
        """
        path = dict(self.files).get((info["data"], info["split"]))
        if path is None or _definition(path) == COPY:
            return None
        values = _nearest(path)["max_identity"].reindex(test["id"]).to_numpy()
        if np.isnan(values).any():
            lost = test["id"].iloc[int(np.isnan(values).argmax())]
            raise UnrolledError(f"{path} has no '{lost}': it is older than the split, so certify the split again")
        return np.asarray(np.digitize(values, EDGES))

    def described(self, table: pd.DataFrame) -> pd.DataFrame:
        """With the definition of the identity, and the bands by name."""
        files = dict(self.files)
        definitions = [_definition(files[place]) for place in zip(table["data"], table["split"], strict=True)]
        return table.assign(definition=definitions, band=[BANDS[band] for band in table["band"]])


@lru_cache
def _nearest(path: Path) -> pd.DataFrame:
    return read_parquet(path).set_index("id")


def _definition(path: Path) -> str:
    return str(_nearest(path)["definition"].iloc[0])
