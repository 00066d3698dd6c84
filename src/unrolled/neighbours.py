"""All pairs of sequences at or above an identity threshold, under a named definition.

While it is affordable, every pair is either proved to lie below the threshold (`bounds`) or aligned; beyond that, two
searches of MMseqs2 propose pairs, and only those are aligned: its most sensitive one, and with other seeds the one
that an audit of the folds will make, whose findings would come too late there. A nominal cost decides, not the clock,
so it is decided alike on every machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import bounds, candidates
from unrolled.audit import Terms
from unrolled.definitions import DEFINITIONS, Definition
from unrolled.identity import identities
from unrolled.nearest import sensitivity
from unrolled.progress import meter

CELLS_PER_SECOND = 1.2e9  # of one core, nominal: cells of the bounds' score tables
BUDGET = 3600.0  # core-seconds
AUDIT = 1200.0  # seconds: the default of `unrolled certify`
# Unlike those of an audit's search: what one misses, two may see.
OTHER_SEEDS = {"protein": ("-k", "6", "--spaced-kmer-mode", "0"), "nucleotide": ("-k", "10")}


@dataclass(frozen=True)
class Neighbours:
    """The edges of a graph of N sequences, and how they were found."""

    pairs: NDArray[np.int64]  # (E, 2) rows, first < second, sorted
    identity: NDArray[np.float32]  # (E,)
    exhaustive: bool  # no other pair is at or above the threshold
    aligned: int  # pairs aligned exactly
    total: int  # pairs in all

    @property
    def method(self) -> str:
        """How they were found, as one sentence."""
        if self.exhaustive:
            below = self.total - self.aligned
            return f"exhaustive: {below:,} pairs proved below the threshold by score bounds, {self.aligned:,} aligned"
        searches = "two searches of MMseqs2, one of them also the audit's"
        return f"{searches}, proposed {self.aligned:,} of {self.total:,} pairs, which were aligned"


def neighbours(
    sequences: Sequence[str],
    definition: Definition,
    threshold: float,
    *,
    both_strands: bool = False,
    budget: float = BUDGET,
    audit: float = AUDIT,
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Neighbours:
    """All pairs at or above `threshold`, or those of them that two searches find.

    Args:
        sequences: N of them, in an order of their own: rows name them.
        budget: nominal core-seconds; beyond it, searches.
        audit: `budget` of the audit to come: it decides how sensitive its search is, which is then made here first.
        say: told what will be done and what it will cost, before it is done.
    """
    total = len(sequences) * (len(sequences) - 1) // 2
    parts = [DEFINITIONS[name] for name in definition.parts] or [definition]
    cells = sum(bounds.cells(sequences, part, threshold, both_strands=both_strands) for part in parts)
    cost = cells / CELLS_PER_SECOND
    exhaustive = cost <= budget
    spent = f"{total:,} pairs, {_spoken(cost)} of one core for all (budget {_spoken(budget)})"
    searches = [candidates.MOST_SENSITIVE, sensitivity(sequences, audit, threads)]
    searching = sum(candidates.seconds(sequences, each, threads) for each in searches)
    two = f"too many, so two searches, about {_spoken(searching)}"
    say(f"{spent}: {'proving or aligning every one' if exhaustive else two}")
    if exhaustive:
        found = np.unique(
            np.concatenate([_doubts(sequences, part, threshold, both_strands, threads) for part in parts]), axis=0
        )
    else:
        nucleotide = "dna" in definition.kinds
        seeds: list[tuple[str, ...]] = [OTHER_SEEDS["nucleotide" if nucleotide else "protein"], ()]
        proposed = [
            candidates.proposed(
                sequences,
                nucleotide=nucleotide,
                both_strands=both_strands,
                threads=threads,
                sensitivity=each,
                settings=settings,
            )
            for each, settings in zip(searches, seeds, strict=True)
        ]
        found = np.unique(np.concatenate(proposed), axis=0)
    say(f"aligning {len(found):,} pairs")
    progress = meter("neighbours: pairs")
    values = identities(
        sequences, sequences, found, definition, both_strands=both_strands, threads=threads, progress=progress
    )
    edge = values >= np.float32(threshold)
    return Neighbours(found[edge], values[edge], exhaustive, len(found), total)


def _doubts(
    sequences: Sequence[str], definition: Definition, threshold: float, both_strands: bool, threads: int
) -> NDArray[np.int64]:
    progress = meter(f"neighbours ({definition.name}): cells of score tables")
    return bounds.doubts(
        sequences, definition, threshold, both_strands=both_strands, threads=threads, progress=progress
    )


def of_table(
    table: pd.DataFrame,
    data: dict[str, Any],
    split: dict[str, Any],
    *,
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Neighbours of a table's sequences under the cards' terms: first, second (ids) and identity, in order of ids.

    `attrs` say how they were found: definition, threshold, method, exhaustive.
    """
    terms = Terms.of_cards(data, split)
    rows = table.sort_values("id", ignore_index=True)
    found = neighbours(
        rows["sequence"].tolist(),
        terms.definition,
        terms.threshold,
        both_strands=terms.both_strands,
        budget=60 * split.get("minutes", BUDGET / 60),
        threads=threads,
        say=say,
    )
    first, second = (rows["id"].iloc[end].reset_index(drop=True) for end in found.pairs.T)
    edges = pd.DataFrame({"first": first, "second": second, "identity": found.identity})
    edges.attrs = {"definition": terms.definition.name, "threshold": terms.threshold}
    edges.attrs |= {"method": found.method, "exhaustive": found.exhaustive}
    return edges


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
