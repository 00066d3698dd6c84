"""All pairs of sequences at or above an identity threshold, under a named definition.

Where all pairs of a table are aligned already (`allpairs`) they are looked up. Else, while it is affordable, every
pair is either proved to lie below the threshold (`bounds`) or aligned. Beyond that, so is every pair with a sequence
up to some length, since short sequences reach a threshold by chance, where no search looks; for the others two
searches of MMseqs2 propose pairs, and those are aligned: the most sensitive one that `SEARCH` pays for, and with
other seeds the one that an audit of the folds will make, whose findings would come too late there. A nominal cost
decides, not the clock, so it is decided alike on every machine.

A search lists so many candidates of a sequence and no more. Where a large family fills such a list to its end, the
list is made again, longer.
"""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import bounds, candidates, homology
from unrolled.allpairs import AllPairs
from unrolled.alphabet import PROTEIN
from unrolled.audit import Terms
from unrolled.definitions import DEFINITIONS, Definition
from unrolled.identity import copies, identities
from unrolled.nearest import check_budget, seconds
from unrolled.pairwise import check_room, memory
from unrolled.progress import meter, spoken

# Of one core, nominal: cells of the bounds' score tables, with the time to align the pairs that these leave in doubt.
# Of 3,000 proteins of DeepLoc 2.0 those of at most 150 letters come to 5e9 with AVX2, longer ones to 1.8e9, and all
# to 0.7e9 where nothing was compiled.
CELLS_PER_SECOND = 2e9
BUDGET = 2400.0  # core-seconds
SEARCH = 600.0  # core-seconds of the search that is not the audit's
AUDIT = 1200.0  # seconds: the default of `unrolled certify`
LONGEST = 16 * candidates.MOST  # candidates of one sequence, where so many are neighbours
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
    cut: int  # sequences with neighbours to the end of the longest list of candidates: there may be more of them
    mmseqs: str | None  # its version, where it was asked
    least: float = (
        0.0  # score for each letter of the shorter sequence below which a proposal was not aligned (`worth`)
    )

    @property
    def exhaustive(self) -> bool:
        """No other pair at all is at or above the threshold."""
        return math.isinf(self.shorter)

    @property
    def method(self) -> str:
        """How they were found, as one sentence."""
        below = self.total - self.aligned
        if self.exhaustive and not below:
            return f"exhaustive: all {self.total:,} pairs aligned"
        if self.exhaustive:
            return f"exhaustive: {below:,} pairs proved below the threshold by score bounds, {self.aligned:,} aligned"
        floor = f"{self.least:g} a letter and {candidates.LONG:g}"
        least = f", but for proposals that score below {floor}" if self.least else ""
        searches = f"all that two searches of MMseqs2 propose, one of them also the audit's{least}"
        short = f"every pair with a sequence of at most {self.shorter:,.0f} letters proved below or aligned, and "
        cut = f"; of {self.cut:,} sequences the best {LONGEST:,} candidates alone" if self.cut else ""
        return f"{short if self.shorter else ''}{searches}: {self.aligned:,} of {self.total:,} pairs aligned{cut}"


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
        budget: nominal core-seconds of proofs and alignments; where they do not suffice for all pairs, they go to
            those of short sequences, and searches come on top.
        audit: `budget` of the audit to come: it decides how sensitive its search is, which is then made here first.
        say: told what will be done and what it will cost, before it is done.
    """
    total, lengths = len(sequences) * (len(sequences) - 1) // 2, np.array([len(s) for s in sequences], dtype=float)
    parts = [DEFINITIONS[name] for name in definition.parts] or [definition]

    def cost(shorter: float) -> float:  # core-seconds
        each = (bounds.cells(sequences, p, threshold, both_strands=both_strands, shorter=shorter) for p in parts)
        return sum(each) / CELLS_PER_SECOND

    nucleotide = "dna" in definition.kinds
    options: dict[str, Any] = {"both_strands": both_strands, "threads": threads}
    level, audit_searches = check_budget(sequences, definition, both_strands, audit)
    searches = _searches(nucleotide, candidates.affordable(sequences, SEARCH, 1), level, options)
    searching = sum(candidates.seconds(sequences, each["sensitivity"], 1) for each in searches)
    shorter = math.inf if cost(math.inf) <= budget else _affordable(sequences, cost, budget)
    say(_plan(total, cost(math.inf), budget, shorter, cost(shorter), searching))
    # Whether it is there is learned before anything is proved, also where the audit alone will ask it.
    mmseqs = homology.version() if shorter < math.inf or audit_searches else None

    def aligned(pairs: NDArray[np.int64]) -> Aligned:
        cells = lengths[pairs].prod(axis=1).sum()
        taking = len(parts) * (1 + both_strands) * seconds(len(pairs), cells)
        say(f"aligning {len(pairs):,} pairs, about {spoken(taking)} on two cores")
        progress = meter("neighbours: pairs")
        return Aligned(pairs, identities(sequences, sequences, pairs, definition, progress=progress, **options))

    proposed = [_doubts(sequences, part, threshold, shorter, options) for part in parts] if shorter else []
    proposed.append(_copies(sequences, set("ACGTU" if nucleotide else PROTEIN.letters[:-1]), both_strands))
    least = 0.0 if nucleotide or math.isinf(shorter) else candidates.scored(threshold)
    if math.isinf(shorter):
        found, cut = aligned(np.unique(np.concatenate(proposed), axis=0)), 0
    else:
        found, cut = _sought(sequences, searches, proposed, shorter, threshold, least, aligned)
    edge = found.identity >= np.float32(threshold)
    asked = None if math.isinf(shorter) else mmseqs
    return Neighbours(found.pairs[edge], found.identity[edge], shorter, len(found.pairs), total, cut, asked, least)


def _copies(sequences: Sequence[str], plain: set[str], both_strands: bool) -> NDArray[np.int64]:
    """Pairs of rows with the same letters, some of them not plain, (P, 2), first < second.

    Such letters score little or nothing, and so their bounds may be below a threshold: bounds know nothing of copies.
    """
    rows = (row for row, sequence in enumerate(sequences) if not plain.issuperset(sequence))
    groups = copies(sequences, rows, both_strands=both_strands)
    pairs = [np.array(group)[np.column_stack(np.triu_indices(len(group), 1))] for group in groups]
    return np.concatenate([np.zeros((0, 2), dtype=np.int64), *pairs])


class Aligned(NamedTuple):
    """Pairs of rows and their identities."""

    pairs: NDArray[np.int64]  # (P, 2), first < second, sorted
    identity: NDArray[np.float32]  # (P,)


def _searches(nucleotide: bool, own: float, audits: float, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Options of two searches of these sensitivities: one with seeds of its own, and that of an audit."""
    seeds = {"sensitivity": own, "settings": OTHER_SEEDS["nucleotide" if nucleotide else "protein"]}
    return [options | {"nucleotide": nucleotide} | each for each in (seeds, {"sensitivity": audits})]


def _sought(
    sequences: Sequence[str],
    searches: list[dict[str, Any]],
    proposed: list[NDArray[np.int64]],
    shorter: float,
    threshold: float,
    least: float,
    aligned: Callable[[NDArray[np.int64]], Aligned],
) -> tuple[Aligned, int]:
    """`proposed` and what the searches find of sequences longer than `shorter`, aligned.

    A list whose last tenth still holds a neighbour was cut off too early: its sequence is searched for again with one
    four times as long, up to `LONGEST`; how many were too short even then is the second answer.
    """
    rows = np.flatnonzero([len(s) > shorter for s in sequences])
    queries, most, known = rows, candidates.MOST, Aligned(np.empty((0, 2), np.int64), np.empty(0, np.float32))
    while len(queries) and most <= LONGEST:
        lists = [candidates.search(sequences, queries, rows, most=most, **each) for each in searches]
        ends = pd.concat([found[found["rank"] >= 0.9 * most - 1] for found in lists])
        proposed += [candidates.pairs(candidates.worth(found, sequences, least)) for found in lists]
        size = np.array([len(sequences), 1])
        wanted = np.unique(np.concatenate(proposed), axis=0)
        new = aligned(wanted[~np.isin(wanted @ size, known.pairs @ size)])
        known = Aligned(np.concatenate([known.pairs, new.pairs]), np.concatenate([known.identity, new.identity]))
        edges = known.pairs[known.identity >= np.float32(threshold)] @ size
        reached = np.isin(np.sort(ends[["query", "target"]].to_numpy(dtype=np.int64), axis=1) @ size, edges)
        queries, most, proposed = np.unique(ends["query"][reached]), 4 * most, []
    order = np.lexsort(known.pairs.T[::-1])
    return Aligned(known.pairs[order], known.identity[order]), len(queries)


def _affordable(sequences: Sequence[str], cost: Callable[[float], float], budget: float) -> float:
    """The greatest length up to which every pair with so short a sequence can be looked at; 0 if there is none."""
    lengths = sorted({len(s) for s in sequences})
    return [0, *lengths][bisect.bisect_right(lengths, budget, key=cost)]


def _plan(total: int, whole: float, budget: float, shorter: float, short: float, searching: float) -> str:
    start = f"{total:,} pairs, {spoken(whole)} of one core for all (budget {spoken(budget)})"
    if math.isinf(shorter):
        return f"{start}: proving or aligning every one"
    some = f"every pair with a sequence of at most {shorter:,.0f} letters, {spoken(short)}, and " if shorter else ""
    return f"{start}: too many, so {some}two searches, {spoken(searching)}"


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
    known: AllPairs | None = None,
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Neighbours of a table's sequences under the cards' terms: first, second (ids) and identity, in order of ids.

    Looked up where identities of all pairs under these terms are `known`. `attrs` say how they were found:
    definition, threshold, method, exhaustive.
    """
    terms = Terms.of_cards(data, split)
    rows = table.sort_values("id", ignore_index=True)
    found = looked_up(known, terms.threshold) if known else _found(rows, terms, split, threads, say)
    first, second = (rows["id"].iloc[end].reset_index(drop=True) for end in found.pairs.T)
    edges = pd.DataFrame({"first": first, "second": second, "identity": found.identity})
    edges.attrs = {"definition": terms.definition.name, "threshold": terms.threshold}
    edges.attrs |= {"method": found.method, "exhaustive": found.exhaustive}
    edges.attrs |= {"tools": {"mmseqs": found.mmseqs}} if found.mmseqs else {}
    return edges


def looked_up(known: AllPairs, threshold: float) -> Neighbours:
    """All pairs at or above the threshold, where all are aligned already. Raises UnrolledError as `bounds.doubts`."""
    edges = int(np.count_nonzero(known.values >= np.float32(threshold)))
    bounds.check_memory(edges, len(known.ids), threshold, memory())
    pairs, identity = known.at_least(threshold)
    return Neighbours(pairs, identity, math.inf, len(known.values), len(known.values), 0, None)


def _found(
    rows: pd.DataFrame, terms: Terms, split: dict[str, Any], threads: int, say: Callable[[str], None]
) -> Neighbours:
    check_room(rows["id"].tolist(), rows["sequence"].tolist(), threads=threads)
    return neighbours(
        rows["sequence"].tolist(),
        terms.definition,
        terms.threshold,
        both_strands=terms.both_strands,
        budget=60 * split.get("minutes", BUDGET / 60),
        threads=threads,
        say=say,
    )
