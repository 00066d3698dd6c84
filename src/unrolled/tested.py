"""Runs as comparing needs them: their files, and bootstrap draws of every metric, of all test sequences and by bands.

All models tested on one (data, split, fold) share the resamples of its groups, and of the groups in each band.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.bootstrap import Drawn, Key, draw, draw_counts
from unrolled.crew import each
from unrolled.errors import UnrolledError
from unrolled.evaluate import read_predictions, read_run, require, score
from unrolled.files import read_json
from unrolled.progress import meter
from unrolled.scoring import only
from unrolled.weighted import Array

MODEL = ["data", "split", "model"]
RUN = [*MODEL, "fold", "seed"]
TESTED = ["data", "split", "fold"]  # what decides on the test sequences
SETTINGS = ("data", "model", "train")  # the sections of a run's config that decide its numbers
ASIDE = {f"{section}.{word}" for section in ("data", "model") for word in ("title", "licence", "citation")}

Info = dict[str, Any]  # run.json


class Banding(Protocol):
    """A way to take test sets apart, and the table of what each part comes to; picklable."""

    name: ClassVar[str]
    columns: ClassVar[list[str]]

    def numbers(self, info: Info, test: pd.DataFrame) -> NDArray[np.intp] | None:
        """The band of each test sequence, (N,); None where this is no way to take a run apart."""

    def described(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with `columns`, from one with those of `compare.summary_table`, `band` and `sequences`."""


@dataclass(frozen=True)
class Run:
    """One run folder: its JSON files and its training history."""

    info: Info
    report: dict[str, Any]  # metrics.json
    history: pd.DataFrame | None  # baselines have none

    def named(self, names: list[str]) -> dict[str, Any]:
        return {name: self.info[name] for name in names}


@dataclass(frozen=True)
class Tested:
    """What the test part of a run came to."""

    whole: Drawn
    bands: tuple[dict[int, Drawn], ...]  # of each banding, by number


def key(info: Info, names: list[str]) -> Key:
    """These of a run's names."""
    return tuple(info[name] for name in names)


def infos(paths: Sequence[Path]) -> list[Info]:
    """Every run.json.

    Raises UnrolledError for one without a run's names, a run given twice, and runs of one model with other settings.
    """
    found = [read_run(path / "run.json") for path in paths]
    seen: dict[Key, Path] = {}
    for path, info in zip(paths, found, strict=True):
        if absent := [name for name in RUN if name not in info]:
            raise UnrolledError(f"{path / 'run.json'} has no {', '.join(absent)}: train the run again")
        if (run := key(info, RUN)) in seen:
            raise UnrolledError(f"{path} and {seen[run]} are the same run {run}: give each run once")
        seen[run] = path
    _check_settings(paths, found)
    return found


def _check_settings(paths: Sequence[Path], infos: Sequence[Info]) -> None:
    """A mean over folds and seeds is one of runs that differ in nothing else: one may be older than a setting."""
    first: dict[Key, int] = {}
    for i, info in enumerate(infos):
        j = first.setdefault(key(info, MODEL), i)
        one, other = _settings(infos[j]), _settings(info)
        for name in one | other:
            here, there = one.get(name, "absent"), other.get(name, "absent")
            if here != there:
                raise UnrolledError(
                    f"{paths[j]} and {paths[i]} are runs of one model with different settings: {name} is {here!r} "
                    f"in the first and {there!r} in the second. Remove the folder of the one that is out of date, "
                    "and start the workflow again"
                )


def _settings(info: Info) -> dict[str, Any]:
    """What decided the numbers of a run, by dotted name."""
    config = info.get("config", {})
    return dict(_leaves({name: config[name] for name in SETTINGS if name in config}))


def _leaves(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{path}{name}.")
        elif f"{path}{name}" not in ASIDE:
            yield f"{path}{name}", inner


@dataclass(frozen=True)
class Source:
    """Where a run is read from."""

    path: Path
    info: Info
    reference: Path  # the run whose test set stands for its fold's


def load(
    paths: Sequence[Path],
    infos: Sequence[Info],
    bandings: Sequence[Banding],
    *,
    resamples: int,
    seed: int,
    processes: int = 1,
) -> Iterator[tuple[int, tuple[Run, Tested]]]:
    """Runs, after their places in `paths`, fold by fold so that each process draws a fold's resamples once.

    A few runs' predictions are in memory at a time.

    Raises:
        UnrolledError: a missing file, or models of one fold tested on different sequences.
    """
    order = sorted(range(len(paths)), key=lambda i: [str(infos[i][name]) for name in TESTED])
    first: dict[Key, Path] = {}
    for i in order:
        first.setdefault(key(infos[i], TESTED), paths[i])
    sources = [Source(paths[i], infos[i], first[key(infos[i], TESTED)]) for i in order]
    read = partial(_run, bandings=tuple(bandings), resamples=resamples, seed=seed)
    return zip(_progress(order), each(read, sources, processes), strict=True)


def test_part(path: Path, info: Info) -> pd.DataFrame:
    """A run's predictions of its test sequences, sorted by id."""
    frame = read_predictions(path / "predictions.parquet", info)
    return frame[frame["part"] == "test"].reset_index(drop=True)


@dataclass(frozen=True)
class Part:
    """Some test sequences, and R resamples of their groups."""

    rows: NDArray[np.intp]  # (n,) places in the test set
    codes: NDArray[np.intp]  # (n,) the group of each sequence
    counts: Array  # (G, R) how often each group is drawn

    @classmethod
    def of(cls, groups: NDArray[np.str_], rows: NDArray[np.intp], resamples: int, key: Key) -> "Part":
        """Draw for some of the sequences, with the group of every one, (N,)."""
        found, codes = np.unique(groups[rows], return_inverse=True)
        return cls(rows, codes, draw_counts(len(found), resamples, key))


@dataclass(frozen=True)
class TestSet:
    """The test sequences that all models of one (data, split, fold) share, whole and in parts."""

    path: Path
    fold: Key
    rows: pd.DataFrame
    whole: Part
    bands: tuple[dict[int, Part], ...]  # of each banding, by number

    @classmethod
    def draw(cls, path: Path, bandings: Sequence[Banding], resamples: int, seed: int) -> "TestSet":
        info = read_run(path / "run.json")
        frame, fold = test_part(path, info), key(info, TESTED)
        groups, once = frame["group"].to_numpy(str), (seed, "groups", *fold)
        parts = []
        for banding in bandings:
            number = banding.numbers(info, frame)
            bands = [] if number is None else sorted(set(number.tolist()))
            rows = {band: np.flatnonzero(number == band) for band in bands}
            parts.append({b: Part.of(groups, r, resamples, (*once, banding.name, b)) for b, r in rows.items()})
        whole = Part.of(groups, np.arange(len(frame)), resamples, once)
        return cls(path, fold, _identity(frame), whole, tuple(parts))

    def check(self, path: Path, frame: pd.DataFrame) -> None:
        """Differences are paired only if the sequences are the same."""
        if not self.rows.equals(_identity(frame)):
            raise UnrolledError(
                f"{path} and {self.path} test fold {self.fold} on different sequences, groups or targets: "
                "train again the one that is older than the split"
            )


def _identity(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["id", "group", "target"]]


_test_set = lru_cache(maxsize=1)(TestSet.draw)


def _run(source: Source, bandings: tuple[Banding, ...], resamples: int, seed: int) -> tuple[Run, Tested]:
    """A run, drawn with the test set that stands for its fold's."""
    path, info = source.path, source.info
    test, frame = _test_set(source.reference, bandings, resamples, seed), test_part(path, info)
    test.check(path, frame)
    report = read_json(require(path / "metrics.json"))
    scores = score(frame, info, report["thresholds"])
    whole = draw(scores, test.whole.codes, test.whole.counts)
    bands = tuple(
        {band: draw(only(scores, part.rows), part.codes, part.counts) for band, part in parts.items()}
        for parts in test.bands
    )
    history = path / "history.csv"
    epochs = pd.read_csv(history, encoding="utf-8") if history.is_file() else None
    return Run(info, report, epochs), Tested(whole, bands)


def _progress(order: Sequence[int]) -> Iterator[int]:
    tell = meter("compare: runs")
    for done, i in enumerate(order, 1):
        yield i
        tell(done, len(order))
