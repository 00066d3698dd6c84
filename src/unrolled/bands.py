"""What leaking does: every metric of every model by how near the test sequences are to what was trained on.

The nearest training sequence of each test sequence is in identity.parquet, beside the split's certificate.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.bootstrap import TestSet, bootstrap
from unrolled.compare import MODEL, TESTED, Run, cells, summary_table, test_part
from unrolled.crew import each
from unrolled.errors import UnrolledError
from unrolled.evaluate import point, read_run, require, score
from unrolled.files import atomic, read_json, read_parquet
from unrolled.results import BANDS
from unrolled.series import COPY

EDGES = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], dtype=np.float32)  # between the BANDS
COLUMNS = [*MODEL, "definition", "band", "metric", "mean", "low", "high", "n", "sequences"]

Piece = tuple[Path, dict[str, Any], pd.DataFrame, NDArray[np.intp]]


def write(
    runs: Sequence[Path],
    identities: Mapping[tuple[str, str], Path],
    out: Path,
    *,
    resamples: int = 1000,
    seed: int = 0,
    processes: int = 1,
) -> None:
    """Write `bands.csv`: as `summary.csv`, but a row a band, with the test sequences of a run in it, on average.

    Args:
        runs: folders of runs; those of splits without an entry in `identities` are left out.
        identities: identity.parquet by (data, split); where no identity was measured (of numbers) nothing is written.

    Raises:
        UnrolledError: a test sequence that an identity.parquet lacks.
    """
    read = {place: read_parquet(path).set_index("id") for place, path in identities.items()}
    audited = {place: frame for place, frame in read.items() if not (frame["definition"] == COPY).any()}
    near = {place: frame["max_identity"] for place, frame in audited.items()}
    definitions = {place: frame["definition"].iloc[0] for place, frame in audited.items()}

    def pieces() -> Iterator[Piece]:
        for path in runs:
            info = read_run(path / "run.json")
            place = info["data"], info["split"]
            if place in near:
                frame = test_part(path, info)
                yield path, info, frame, _bands(frame["id"], near[place], identities[place])

    table = by_band(pieces(), resamples=resamples, seed=seed, processes=processes)
    table["definition"] = [definitions[place] for place in zip(table["data"], table["split"], strict=True)]
    table["band"] = [BANDS[band] for band in table["band"]]
    with atomic(out / "bands.csv") as tmp:
        table[COLUMNS].to_csv(tmp, index=False, float_format="%.6g", encoding="utf-8", lineterminator="\n")


def by_band(pieces: Iterable[Piece], *, resamples: int, seed: int, processes: int = 1) -> pd.DataFrame:
    """As `compare.summary_table`, with the columns `band` (its number) and `sequences` (of a run in it, on average).

    Args:
        pieces: of each run its folder, run.json, test part, and the number of each test sequence's band, (N,).
    """
    found: dict[int, list[Run]] = {}
    sizes: dict[tuple[int, str, str, str], list[int]] = {}
    for run in each(partial(_runs, resamples=resamples, seed=seed), pieces, processes):
        for band, (part, n) in run.items():
            found.setdefault(band, []).append(part)
            sizes.setdefault((band, *part.key(MODEL)), []).append(n)
    tables = [_table(band, found[band], sizes, seed) for band in sorted(found)]
    columns = [*MODEL, "metric", "mean", "low", "high", "n", "band", "sequences"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _bands(ids: pd.Series, near: pd.Series, path: Path) -> NDArray[np.intp]:
    """Number of the band of each sequence, (N,)."""
    values = near.reindex(ids).to_numpy()
    if np.isnan(values).any():
        lost = ids.iloc[int(np.isnan(values).argmax())]
        raise UnrolledError(f"{path} has no '{lost}': it is older than the split, so certify the split again")
    return np.asarray(np.digitize(values, EDGES))


def _runs(piece: Piece, resamples: int, seed: int) -> dict[int, tuple[Run, int]]:
    """The run by band, and how many test sequences are in it."""
    path, info, frame, bands = piece
    parts = {band: frame[bands == band] for band in sorted(set(bands.tolist()))}
    return {band: (_run(path, info, rows, band, resamples, seed), len(rows)) for band, rows in parts.items()}


def _run(path: Path, info: dict[str, Any], rows: pd.DataFrame, band: int, resamples: int, seed: int) -> Run:
    """The run as if only these test sequences had been there, under its own thresholds."""
    scores = score(rows, info, read_json(require(path / "metrics.json"))["thresholds"])
    test = TestSet.draw(path, (*(info[name] for name in TESTED), band), rows, resamples, seed)
    return Run(path, info, {"metrics": point(scores)}, bootstrap(scores, test.codes, test.counts))


def _table(band: int, runs: list[Run], sizes: dict[tuple[int, str, str, str], list[int]], seed: int) -> pd.DataFrame:
    table = summary_table(cells(runs, seed))
    table["band"] = band
    places = zip(table["data"], table["split"], table["model"], strict=True)
    table["sequences"] = [float(np.mean(sizes[band, *place])) for place in places]
    return table
