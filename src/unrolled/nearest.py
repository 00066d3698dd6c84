"""How near each sequence comes to the other folds: every pair aligned while that is affordable, else the likely ones.

Beyond the budget, a sensitive search of MMseqs2 proposes pairs, the best of each sequence first, and a seeded
sample of all other pairs bounds what the search may have missed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from unrolled import candidates
from unrolled.definitions import Definition
from unrolled.errors import UnrolledError
from unrolled.identity import Progress, copies, identities
from unrolled.progress import spoken

Ints = NDArray[np.int64]
LookUp = Callable[[Ints], NDArray[np.float32]]  # pairs of rows (P, 2) -> their identities (P,)

# Seconds: of one pair in one thread only, and in each of one cell of its table, where it is aligned to the end.
PAIR, CELL = 12e-6, 0.8e-9
BLOCK = 2**18  # pairs in memory at a time
CORES = 2  # that predictions are made for: neither folds nor certificates depend on how many there are
SEARCHING = 0.5  # share of the budget that a search may take
SEARCHED = 0.75  # share of the alignments for pairs that it proposes; the sample has the rest
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Sample:
    """A random sample of the pairs that were not aligned as candidates of a search."""

    n: int
    hits: int  # pairs of the sample at or above the threshold
    population: int

    @property
    def bound(self) -> float:
        """Upper 95 % limit of the share of the population at or above the threshold (Clopper & Pearson 1934)."""
        if self.hits == self.n:
            return 1.0
        if self.hits == 0:
            return float(1 - (1 - CONFIDENCE) ** (1 / self.n))
        from scipy.stats import beta

        return float(beta.ppf(CONFIDENCE, self.hits + 1, self.n - self.hits))


class Search(NamedTuple):
    """What MMseqs2 was asked, and what became of its answer."""

    sensitivity: float
    proposed: int  # pairs
    aligned: int  # of them, every sequence's best first


@dataclass(frozen=True)
class Crossing:
    """What was found between folds; N sequences, k folds.

    `identity[i, g]` is the highest identity found between sequence i and any sequence of fold g, 0 in its own;
    `nearest[i, g]` is that sequence's row, -1 where nothing was aligned or all identities are 0.
    """

    identity: NDArray[np.float32]
    nearest: Ints
    total: int  # pairs across folds
    checked: int  # of them aligned
    above: int  # of them at or above the threshold
    sample: Sample | None
    search: "Search | None" = None  # where not every pair was aligned

    @property
    def exhaustive(self) -> bool:
        return self.checked == self.total


class Effort(TypedDict, total=False):
    """How `cross` goes about it: its options, for whoever passes them on."""

    level: float | None
    budget: float
    threads: int
    seed: int
    progress: Progress | None
    say: Callable[[str], None]


def seconds(pairs: float, cells: float) -> float:
    """Predicted time of alignments on two cores, whatever there are: so it decides the same everywhere."""
    return PAIR * pairs + CELL * cells / CORES


def sensitivity(sequences: Sequence[str], budget: float) -> float:
    """How sensitive a search an audit of that budget, in seconds, makes where it cannot align every pair."""
    return candidates.affordable(sequences, SEARCHING * budget, CORES)


def crossing_cost(sequences: Sequence[str], folds: Ints) -> tuple[int, int]:
    """Number of pairs across folds, and the cells of all their tables together."""
    lengths = np.array([len(s) for s in sequences], dtype=np.float64)
    counts, letters = np.bincount(folds), np.bincount(folds, weights=lengths)
    pairs = (len(folds) ** 2 - int((counts.astype(object) ** 2).sum())) // 2
    return pairs, int((letters.sum() ** 2 - (letters**2).sum()) / 2)


def cross(
    sequences: Sequence[str],
    folds: Ints,
    definition: Definition,
    threshold: float,
    *,
    both_strands: bool = False,
    one_sided: bool = False,
    level: float | None = None,
    budget: float = 600.0,
    threads: int = 1,
    seed: int = 0,
    known: LookUp | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Crossing:
    """Identities between the folds.

    Args:
        sequences: N of them; equal identities go to the lower row, so sort them for a result without chance.
        folds: (N,) numbers 0..k-1.
        threshold: what is counted.
        one_sided: only what is near those of the last fold matters: a search looks for them alone in the others.
        level: how sensitive a search is; by default `sensitivity` of these sequences and the budget.
        budget: predicted seconds of all alignments on two cores; beyond it, a search and a sample, about as long
            together.
        known: identities of pairs of rows, where all have been aligned before: then nothing is, whatever the budget.
        say: told what will be done and what it will cost, before it is done.

    Raises:
        UnrolledError: the budget does not pay for an alignment of every sequence.
    """
    pairs, cost = predicted(sequences, folds, definition, both_strands)
    job = _Job(sequences, folds, definition, threshold, both_strands, threads, known, progress)
    if known or cost <= budget:
        plan = f"aligning all {pairs:,} pairs, about {spoken(cost)} on two cores"
        say(f"all {pairs:,} pairs are aligned already" if known else plan)
        job.align(pairs_across(folds), pairs)
        return job.found(pairs, None)
    queries = [sequences[row] for row in np.flatnonzero(folds == folds.max()).tolist()] if one_sided else sequences
    level = level or sensitivity(queries, budget)
    searching = candidates.seconds(queries, level, CORES)
    say(
        f"all {pairs:,} pairs would take about {spoken(cost)} on two cores: a search instead, "
        f"of sensitivity {level:g}, about {spoken(searching)}"
    )
    affordable = _affordable(len(queries), pairs, cost, searching, budget)
    proposed = candidates.likely(
        sequences,
        folds,
        one_sided=one_sided,
        nucleotide="dna" in definition.kinds,
        both_strands=both_strands,
        threads=threads,
        sensitivity=level,
    )
    likeliest = proposed[: int(SEARCHED * affordable)]
    further = _without(_copies(sequences, folds, both_strands), likeliest, len(folds))
    chosen = np.concatenate([further, likeliest])
    drawn = _drawn(folds, affordable - len(likeliest), chosen, seed)
    say(f"aligning {len(likeliest):,} of {len(proposed):,} pairs that it proposes and {len(drawn):,} random others")
    job.align(_blocks(chosen), len(chosen) + len(drawn))
    hits = job.align(_blocks(drawn), len(chosen) + len(drawn))
    search = Search(level, len(proposed), len(likeliest))
    return job.found(pairs, Sample(len(drawn), hits, pairs - len(chosen)), search)


def check_budget(
    sequences: Sequence[str], definition: Definition, both_strands: bool, budget: float
) -> tuple[float, bool]:
    """How sensitive an audit's search of all these sequences would be, and whether it would have to make one.

    Raises UnrolledError as `cross`.
    """
    pairs, cost = predicted(sequences, np.arange(len(sequences)), definition, both_strands)
    level = sensitivity(sequences, budget)
    if cost > budget:
        _affordable(len(sequences), pairs, cost, candidates.seconds(sequences, level, CORES), budget)
    return level, cost > budget


def predicted(sequences: Sequence[str], folds: Ints, definition: Definition, both_strands: bool) -> tuple[int, float]:
    """Number of pairs across folds, and predicted seconds of their alignments on two cores."""
    pairs, cells = crossing_cost(sequences, folds)
    return pairs, (2 if both_strands else 1) * (len(definition.parts) or 1) * seconds(pairs, cells)


def _affordable(n: int, pairs: int, cost: float, searching: float, budget: float) -> int:
    """How many alignments a budget pays for beside a search for n sequences. Raises UnrolledError for too few."""
    affordable = int(max(1 - searching / budget, 1 - SEARCHING) * budget / cost * pairs) if budget else 0
    if SEARCHED * affordable < n:
        raise UnrolledError(
            f"a budget of {budget / 60:.3g} min pays for fewer alignments than there are sequences ({n:,}): nothing "
            "could be said of the others. Raise it: `unrolled certify --minutes`, `unrolled split --minutes`"
        )
    return affordable


class _Job:
    """Alignments of one audit, and the nearest neighbours among them so far."""

    def __init__(
        self,
        sequences: Sequence[str],
        folds: Ints,
        definition: Definition,
        threshold: float,
        both_strands: bool,
        threads: int,
        known: LookUp | None,
        progress: Progress | None,
    ) -> None:
        self.sequences, self.folds, self.definition, self.threshold = sequences, folds, definition, threshold
        self.options: dict[str, Any] = {"both_strands": both_strands, "threads": threads}
        self.known, self.progress = known, progress
        shape = len(folds), int(folds.max()) + 1
        self.identity, self.nearest = np.zeros(shape, dtype=np.float32), np.full(shape, -1, dtype=np.int64)
        self.checked = self.above = 0

    def align(self, blocks: Iterable[Ints], of: int) -> int:
        """Align blocks of pairs; the number at or above the threshold. `of` is how many there will be in all."""
        before = self.above
        for pairs in blocks:
            values = self.known(pairs) if self.known else self._aligned(pairs, later(self.progress, self.checked, of))
            self._note(pairs, values)
            self.checked += len(pairs)
            self.above += int((values >= self.threshold).sum())
        return self.above - before

    def found(self, total: int, sample: Sample | None, search: Search | None = None) -> Crossing:
        return Crossing(self.identity, self.nearest, total, self.checked, self.above, sample, search)

    def _aligned(self, pairs: Ints, progress: Progress | None) -> NDArray[np.float32]:
        return identities(self.sequences, self.sequences, pairs, self.definition, progress=progress, **self.options)

    def _note(self, pairs: Ints, values: NDArray[np.float32]) -> None:
        """Enter both directions of each pair; among equals the lowest row stays, whatever the order of blocks."""
        old, kept, k = self.identity.reshape(-1), self.nearest.reshape(-1), self.identity.shape[1]
        for i, j in ((pairs[:, 0], pairs[:, 1]), (pairs[:, 1], pairs[:, 0])):
            order = np.lexsort((j, -values))
            order = order[values[order] > 0]
            place, first = np.unique(i[order] * k + self.folds[j[order]], return_index=True)
            value, row = values[order[first]], j[order[first]]
            better = (value > old[place]) | ((value == old[place]) & (row < kept[place]))
            old[place[better]], kept[place[better]] = value[better], row[better]


def later(progress: Progress | None, before: int, total: int) -> Progress | None:
    """`progress` of one block, told as progress of all `total`."""
    return (lambda n, _: progress(before + n, total)) if progress else None


def pairs_across(folds: Ints) -> Iterator[Ints]:
    """Every pair of rows of different folds once, in blocks of (P, 2)."""
    order = np.argsort(folds, kind="stable")
    following = np.searchsorted(folds[order], folds, side="right")  # where the next fold begins
    parts: list[Ints] = []
    size = 0
    for i in order.tolist():
        partners = order[following[i] :]
        parts.append(np.column_stack([np.full(len(partners), i), partners]))
        size += len(partners)
        if size >= BLOCK:
            yield np.concatenate(parts)
            parts, size = [], 0
    if size:
        yield np.concatenate(parts)


def _blocks(pairs: Ints) -> Iterator[Ints]:
    return (pairs[start : start + BLOCK] for start in range(0, len(pairs), BLOCK))


def _copies(sequences: Sequence[str], folds: Ints, both_strands: bool) -> Ints:
    """Pairs of rows with the same letters in different folds, (P, 2): of each row the first copy in every other fold.

    No search need find them: of a few letters, or of masked ones, none does.
    """
    found = set()
    for group in copies(sequences, range(len(sequences)), both_strands=both_strands):
        first = {int(folds[row]): row for row in reversed(group)}
        found |= {(min(row, at), max(row, at)) for row in group for at in first.values() if folds[row] != folds[at]}
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)


def _without(pairs: Ints, known: Ints, n: int) -> Ints:
    """The pairs of n rows that are not among the known ones."""
    size = np.array([n, 1])
    return pairs[~np.isin(np.sort(pairs, axis=1) @ size, np.sort(known, axis=1) @ size)]


def _drawn(folds: Ints, n: int, known: Ints, seed: int) -> Ints:
    """About n random pairs across folds, none of them in `known`, each once; (P, 2)."""
    rng, size = np.random.default_rng(seed), len(folds)
    order, counts = np.argsort(folds, kind="stable"), np.bincount(folds)
    begin, ways = np.cumsum(counts) - counts, counts * (size - counts)
    fold = rng.choice(len(counts), 2 * n + 100, p=ways / ways.sum())
    one, other = begin[fold] + rng.integers(counts[fold]), rng.integers(size - counts[fold])
    other += np.where(other >= begin[fold], counts[fold], 0)  # past its own fold
    pairs = np.sort(order[np.column_stack([one, other])], axis=1)
    _, first = np.unique(pairs @ np.array([size, 1]), return_index=True)
    return _without(pairs[np.sort(first)], known, size)[:n]
