"""All pairs of sequences at or above an identity threshold, under a named definition.

While it is affordable, every pair is either proved to lie below the threshold (`bounds`) or aligned. Beyond that, so
is every pair with a sequence up to some length, since short sequences reach a threshold by chance, where no search
looks; for the others two searches of MMseqs2 propose pairs, and those are aligned: its most sensitive one, and with
other seeds the one that an audit of the folds will make, whose findings would come too late there. A nominal cost
decides, not the clock, so it is decided alike on every machine.
"""

import bisect
import math
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

# Of one core, nominal: cells of the bounds' score tables, with the time to align the pairs that these leave in doubt.
# All proteins of DeepLoc 2.0: 4.3e12 cells in 82 minutes of a core, and 44 to align.
CELLS_PER_SECOND = 0.6e9
BUDGET = 3600.0  # core-seconds
AUDIT = 1200.0  # seconds: the default of `unrolled certify`
# Unlike those of an audit's search: what one misses, two may see.
OTHER_SEEDS = {"protein": ("-k", "6", "--spaced-kmer-mode", "0"), "nucleotide": ("-k", "10")}


@dataclass(frozen=True)
class Neighbours:
    """The edges of a graph of N sequences, and how they were found."""

    pairs: NDArray[np.int64]  # (E, 2) rows, first < second, sorted
    identity: NDArray[np.float32]  # (E,)
    shorter: float  # no other pair with a sequence of at most so many letters is at or above the threshold
    aligned: int  # pairs aligned exactly
    total: int  # pairs in all

    @property
    def exhaustive(self) -> bool:
        """No other pair at all is at or above the threshold."""
        return math.isinf(self.shorter)

    @property
    def method(self) -> str:
        """How they were found, as one sentence."""
        if self.exhaustive:
            below = self.total - self.aligned
            return f"exhaustive: {below:,} pairs proved below the threshold by score bounds, {self.aligned:,} aligned"
        searches = "two searches of MMseqs2, one of them also the audit's"
        short = f"every pair with a sequence of at most {self.shorter:,.0f} letters proved below or aligned, and "
        return f"{short if self.shorter else ''}{searches}: {self.aligned:,} of {self.total:,} pairs aligned"


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
        budget: nominal core-seconds of proofs and alignments; where they do not suffice for all pairs, searches come
            on top.
        audit: `budget` of the audit to come: it decides how sensitive its search is, which is then made here first.
        say: told what will be done and what it will cost, before it is done.
    """
    total = len(sequences) * (len(sequences) - 1) // 2
    parts = [DEFINITIONS[name] for name in definition.parts] or [definition]

    def cost(shorter: float) -> float:  # core-seconds
        each = (bounds.cells(sequences, p, threshold, both_strands=both_strands, shorter=shorter) for p in parts)
        return sum(each) / CELLS_PER_SECOND

    searches = [candidates.MOST_SENSITIVE, sensitivity(sequences, audit)]
    searching = sum(candidates.seconds(sequences, each, 1) for each in searches)
    shorter = math.inf if cost(math.inf) <= budget else _affordable(sequences, cost, budget)
    say(_plan(total, cost(math.inf), budget, shorter, cost(shorter), searching))
    options: dict[str, Any] = {"both_strands": both_strands, "threads": threads}
    proposed = [_doubts(sequences, part, threshold, shorter, options) for part in parts] if shorter else []
    if not math.isinf(shorter):
        settings = options | {"nucleotide": "dna" in definition.kinds, "least": candidates.scored(threshold)}
        proposed += _searched(sequences, searches, shorter, settings)
    found = np.unique(np.concatenate(proposed), axis=0)
    say(f"aligning {len(found):,} pairs")
    values = identities(sequences, sequences, found, definition, progress=meter("neighbours: pairs"), **options)
    edge = values >= np.float32(threshold)
    return Neighbours(found[edge], values[edge], shorter, len(found), total)


def _searched(
    sequences: Sequence[str], sensitivities: Sequence[float], shorter: float, options: dict[str, Any]
) -> list[NDArray[np.int64]]:
    """The pairs of sequences longer than `shorter` that each search proposes, the first with seeds of its own."""
    lengths = np.array([len(s) for s in sequences])
    seeds: list[tuple[str, ...]] = [OTHER_SEEDS["nucleotide" if options["nucleotide"] else "protein"], ()]
    searches = zip(sensitivities, seeds, strict=True)
    pairs = [candidates.proposed(sequences, sensitivity=s, settings=own, **options) for s, own in searches]
    return [found[lengths[found].min(axis=1) > shorter] for found in pairs]


def _affordable(sequences: Sequence[str], cost: Callable[[float], float], budget: float) -> float:
    """The greatest length up to which every pair with so short a sequence can be looked at; 0 if there is none."""
    lengths = sorted({len(s) for s in sequences})
    return [0, *lengths][bisect.bisect_right(lengths, budget, key=cost)]


def _plan(total: int, whole: float, budget: float, shorter: float, short: float, searching: float) -> str:
    start = f"{total:,} pairs, {_spoken(whole)} of one core for all (budget {_spoken(budget)})"
    if math.isinf(shorter):
        return f"{start}: proving or aligning every one"
    some = f"every pair with a sequence of at most {shorter:,.0f} letters, {_spoken(short)}, and " if shorter else ""
    return f"{start}: too many, so {some}two searches, {_spoken(searching)}"


def _doubts(
    sequences: Sequence[str], definition: Definition, threshold: float, shorter: float, options: dict[str, Any]
) -> NDArray[np.int64]:
    progress = meter(f"neighbours ({definition.name}): cells of score tables")
    return bounds.doubts(sequences, definition, threshold, shorter=shorter, progress=progress, **options)


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
