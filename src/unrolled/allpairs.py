"""Identities of all pairs of a table, aligned once for whoever asks: neighbours, and certificates of several splits.

Folds of different splits have most of their pairs in common, and each pair's identity is the same in all of them.
Where an audit could not pay for all pairs nothing is aligned beforehand, and everybody goes on by themselves.
A split and its certificate that read the same file share its alignments, so whoever reads it aligns some anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.definitions import Definition
from unrolled.errors import UnrolledError
from unrolled.files import read_parquet
from unrolled.gate import sequences_hash, versions
from unrolled.identity import Progress, identities
from unrolled.nearest import Ints, later, pairs_across, predicted
from unrolled.pairwise import check_room
from unrolled.progress import spoken

Floats = NDArray[np.float32]

CHECKED = 1000  # pairs that whoever reads them aligns anew
AGAIN = "Remove it, and make it again with `unrolled identities`, or the workflow"


@dataclass(frozen=True)
class AllPairs:
    """Identities of all pairs of N sequences: `values` (N (N - 1) / 2,) of rows (0, 1), (0, 2) ... (N - 2, N - 1)."""

    ids: Sequence[str]  # N, sorted
    values: Floats
    tools: dict[str, str]  # versions of what made them

    def among(self, ids: Sequence[str]) -> Callable[[Ints], Floats]:
        """Of pairs of rows (P, 2) of these ids their identities (P,). Raises KeyError for an id that is not here."""
        places, n = {one: row for row, one in enumerate(self.ids)}, len(self.ids)
        rows = np.array([places[one] for one in ids], dtype=np.int64)

        def look_up(pairs: Ints) -> Floats:
            first, second = np.sort(rows[pairs], axis=1).T
            values: Floats = self.values[_starts(n)[first] + second - first - 1]
            return values

        return look_up

    def at_least(self, threshold: float) -> tuple[Ints, Floats]:
        """Pairs of rows at or above it, (P, 2), first < second, sorted; and their identities (P,)."""
        places, starts = np.flatnonzero(self.values >= np.float32(threshold)), _starts(len(self.ids))
        first = np.searchsorted(starts, places, side="right") - 1
        return np.column_stack([first, places - starts[first] + first + 1]), self.values[places]


def _starts(n: int) -> Ints:
    """Where the pairs of each of n - 1 rows with later ones begin."""
    return np.concatenate([[0], np.cumsum(np.arange(n - 1, 1, -1, dtype=np.int64))])


def align(
    table: pd.DataFrame,
    definition: Definition,
    *,
    both_strands: bool,
    budget: float,
    threads: int = 1,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """One column, identity: of all pairs of the table's N sequences in order of ids, as `AllPairs.values`.

    No rows where that would take more than `budget` predicted seconds of two cores, and where no memory holds the
    alignment of the longest two, which folds may never ask for. `attrs` say which it is, and what was compared.
    """
    rows = table.sort_values("id", ignore_index=True)
    sequences, apart = rows["sequence"].tolist(), np.arange(len(rows))
    pairs, cost = predicted(sequences, apart, definition, both_strands)
    threads = next((n for n in range(threads, 1, -1) if not _obstacle(rows, n)), 1)
    obstacle = f"that is more than {spoken(budget)}" if cost > budget else _obstacle(rows, threads)
    plan = f"all {pairs:,} pairs, about {spoken(cost)} on two cores"
    say(f"not aligning {plan}: {obstacle}" if obstacle else f"aligning {plan}")
    values, done = np.empty(0 if obstacle else pairs, dtype=np.float32), 0
    for block in () if obstacle else pairs_across(apart):
        options: dict[str, Any] = {"both_strands": both_strands, "threads": threads}
        told = later(progress, done, pairs)
        found = identities(sequences, sequences, block, definition, progress=told, **options)
        values[done : done + len(block)] = found
        done += len(block)
    made = pd.DataFrame({"identity": values})
    facts = {"aligned": not obstacle, "tools": versions("parasail", "numpy")}
    made.attrs |= facts | _compared(table, definition, both_strands)
    return made


def read(path: Path, table: pd.DataFrame, definition: Definition, both_strands: bool) -> AllPairs | None:
    """What `align` made of this table, None where that was nothing.

    Raises UnrolledError if the file was made of another table or in another way, or if some pairs, aligned anew, come
    to something else.
    """
    found, asked = read_parquet(path), _compared(table, definition, both_strands)
    if {key: found.attrs.get(key) for key in asked} != asked:
        raise UnrolledError(f"{path} has identities of other sequences, or under another definition. {AGAIN}")
    if not found.attrs["aligned"]:
        return None
    known = AllPairs(sorted(table["id"]), found["identity"].to_numpy(), found.attrs["tools"])
    sequences, n = table.sort_values("id")["sequence"].tolist(), len(table)
    pairs = np.random.default_rng(0).integers(n, size=(CHECKED, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    again = identities(sequences, sequences, pairs, definition, both_strands=both_strands)
    if not np.array_equal(again, known.among(known.ids)(pairs)):
        raise UnrolledError(f"{path} is damaged: pairs that are aligned anew come to something else. {AGAIN}")
    return known


def _obstacle(rows: pd.DataFrame, threads: int) -> str:
    """Why memory does not suffice; "" if it does."""
    try:
        check_room(rows["id"].tolist(), rows["sequence"].tolist(), threads=threads)
    except UnrolledError as error:
        return str(error)
    return ""


def _compared(table: pd.DataFrame, definition: Definition, both_strands: bool) -> dict[str, Any]:
    return {
        "definition": definition.facts | {"both_strands": both_strands},
        "sequences_sha256": sequences_hash(table),
    }
