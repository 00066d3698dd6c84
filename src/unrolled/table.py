"""The canonical table: one row per sequence and the same columns, whatever the data came from.

`id` (unique), `sequence` (letters in upper case, or a `Series` of numbers), `target` (what tasks.py says), then the
columns that the data card keeps, all text. On disk, rows are sorted by id, and a series is a column a variable
(series.py).
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unrolled import inputs, series, shortening, tasks
from unrolled.errors import UnrolledError, refuse
from unrolled.files import atomic, fault
from unrolled.formulas import REMEDY, is_formula
from unrolled.series import Series
from unrolled.task import Task, chosen

COLUMNS = ("id", "sequence", "target")
UNUSED = "annotation not used: "  # how the reason begins where not a sequence was left out but something said of it


def check(table: pd.DataFrame, task: Task, kind: inputs.Input, where: pd.Series | None = None) -> None:
    """Raise UnrolledError unless `table` keeps the contract above.

    `where` ("file:line" of each row, in the same order) makes the message point into the source.
    """
    _check_columns(table)
    names = [repr(name) for name in table["id"]]
    if where is not None:
        names = [f"{name} ({at})" if at else name for name, at in zip(names, where, strict=True)]
    _check_ids(table["id"], names)
    kind.check(table["sequence"], names)
    task.check(table, names)


def _check_columns(table: pd.DataFrame) -> None:
    missing = [column for column in COLUMNS if column not in table.columns]
    refuse("missing columns", missing, f"The table has: {', '.join(map(str, table.columns))}.")
    told = [c for c in table.columns if not (c == "sequence" and all(isinstance(one, Series) for one in table[c]))]
    text = {c: pd.api.types.is_string_dtype(table[c]) and table[c].notna().all() for c in told}
    refuse("columns not of text, or with missing values", (c for c in text if not text[c]), "Make them strings.")


def _check_ids(ids: pd.Series, names: list[str]) -> None:
    refuse("empty ids", chosen(names, ids == ""), "Give every sequence an id.")
    # Not printable: line ends, tabs and invisible characters, which break FASTA and CSV further on.
    odd = [not name.isprintable() for name in ids]
    refuse("ids with control or invisible characters", chosen(names, odd), "Remove these characters.")
    refuse("ids that a spreadsheet would compute", chosen(names, map(is_formula, ids)), REMEDY)
    twice = ids.duplicated(keep=False)
    refuse("ids that occur twice", chosen(names, twice), "Rename or remove one of each.")


def read(path: Path | str) -> pd.DataFrame:
    """Read what `write` wrote. Raises UnrolledError if it is absent, not Parquet, or lacks a column."""
    try:
        arrow = pq.read_table(path)
    except FileNotFoundError:
        raise UnrolledError(f"{path}: there is no such table. Build it with `unrolled table`.") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise fault(error, path, f"{path}: not a table: {error}. Build it with `unrolled table`.") from None
    table = _from_arrow(arrow, path)
    missing = [column for column in COLUMNS if column not in table.columns]
    refuse(f"{path}: missing columns", missing, f"The file has: {', '.join(table.columns)}.")
    return table


def write(path: Path | str, table: pd.DataFrame) -> None:
    """Write `table` as zstd Parquet atomically, sorted by id: equal rows in any order give equal bytes."""
    arrow = _to_arrow(table.sort_values("id", kind="stable"))
    # Neither pandas' version, which its metadata hold, nor the chunks in memory may show in the bytes.
    arrow = arrow.replace_schema_metadata().combine_chunks()
    with atomic(path) as tmp:
        pq.write_table(arrow, tmp, compression="zstd")


def _to_arrow(table: pd.DataFrame) -> pa.Table:
    found = table["sequence"].tolist()
    if not any(isinstance(one, Series) for one in found):
        return pa.Table.from_pandas(table, preserve_index=False)
    arrow = pa.Table.from_pandas(table.drop(columns="sequence"), preserve_index=False)
    for name, column in series.to_columns(found).items():
        arrow = arrow.append_column(name, column)
    return arrow


def _from_arrow(arrow: pa.Table, path: Path | str) -> pd.DataFrame:
    lists = [name for name in arrow.column_names if name == series.TIME or name.startswith(series.PREFIX)]
    if "sequence" in arrow.column_names or series.TIME not in lists:
        whole: pd.DataFrame = arrow.to_pandas()
        return whole
    table: pd.DataFrame = arrow.drop_columns(lists).to_pandas()
    table.insert(1, "sequence", series.from_columns(arrow.select(lists), path))
    return table


def summary(table: pd.DataFrame, excluded: pd.DataFrame, card: dict[str, Any], name: str) -> dict[str, Any]:
    """Facts of a data set as JSON values: counts of classes, exclusions and lengths, and the card's notes."""
    unused = excluded["reason"].str.startswith(UNUSED)
    names, strata = tasks.named(card["task"]).strata(table["target"].tolist())
    counts = strata.sum(axis=0)
    lengths = table["sequence"].map(len)
    kind = inputs.of(card)
    return {
        "data": name,
        "title": card["title"],
        "task": card["task"],
        "alphabet": card["alphabet"],
        "unit": kind.unit,
        **{key: card[key] for key in ("target_alphabet",) if key in card},
        "n": len(table),
        "excluded": dict(sorted(Counter(excluded.loc[~unused, "reason"]).items())),
        "unused": dict(sorted(Counter(excluded.loc[unused, "reason"].str.removeprefix(UNUSED)).items())),
        "classes": dict(zip(names, counts.tolist(), strict=True)),
        "labels_per_sequence": int(counts.sum()) / len(table),
        "length": {"min": int(lengths.min()), "median": float(lengths.median()), "max": int(lengths.max())},
        "max_length": card.get("max_length"),
        "kept": card.get("kept", kind.kept),
        "n_longer": shortening.longer(table["sequence"], card),
        "licence": card.get("licence", ""),
        "citation": card.get("citation", ""),
        **kind.facts(table["sequence"]),
    }


def sample(table: pd.DataFrame, task: str, n: int, seed: int) -> NDArray[np.bool_]:
    """Mask (N,) of `n` rows, in proportion to the strata and at least one of each.

    The stratum of a row is its target, or the rarest of its labels if it has several. Within a stratum rows
    are taken by a hash of seed and id: the choice depends on nothing but the rows, neither on their order
    nor on a random generator's version. A larger `n` mostly adds rows to those of a smaller one.
    Raises UnrolledError if there are more strata than `n`, or fewer rows.
    """
    strata = _strata(table["target"].tolist(), task)
    left = _quotas(Counter(strata), n)
    keys = [hashlib.sha256(f"{seed}:{name}".encode()).digest() for name in table["id"]]
    chosen = np.zeros(len(table), dtype=np.bool_)
    for row in sorted(range(len(table)), key=keys.__getitem__):
        chosen[row] = left[strata[row]] > 0
        left[strata[row]] -= 1
    return chosen


def _strata(targets: list[str], task: str) -> list[str]:
    names, counts = tasks.named(task).strata(targets)
    rarity = np.where(counts > 0, counts.astype(bool).sum(axis=0), np.inf)
    return [names[k] for k in rarity.argmin(axis=1)]


def _quotas(sizes: dict[str, int], n: int) -> dict[str, int]:
    """Share n among strata in proportion, by largest remainders; an empty one takes one from the largest."""
    names, total = sorted(sizes), sum(sizes.values())
    if not len(names) <= n <= total:
        raise UnrolledError(
            f"`sample: n` is {n}: choose from {len(names)} (one per class) to {total} (every sequence)"
        )
    quotas, rest = np.divmod(n * np.array([sizes[name] for name in names]), total)
    quotas[np.argsort(-rest, kind="stable")[: n - int(quotas.sum())]] += 1
    for empty in np.flatnonzero(quotas == 0):
        quotas[np.argmax(quotas)] -= 1
        quotas[empty] = 1
    return dict(zip(names, quotas.tolist(), strict=True))
