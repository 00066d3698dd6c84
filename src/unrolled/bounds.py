"""Proofs that pairs lie below an identity threshold, far cheaper than their alignments.

Let A be the alignment that a definition chooses: its score S is the best. Add a small bonus for every identical pair
of letters and for every column, and let S' be the best score then. A is still there, so S' >= S + bonus(A). At or
above the threshold bonus(A) is at least `need`; so S' < S + need proves that A is below it, whichever of equally good
alignments an aligner reports. With m identical pairs, lengths n1 and n2, threshold t, multipliers l and u:

    local, coverage v    bonus = l (m - t columns) + u columns                  need = u v min(n1, n2)
    global               bonus = l (m + t pairs), as columns = n1 + n2 - pairs  need = l t (n1 + n2)
    over a length n      bonus = l m                                            need = l t n

The first two are of identity over columns, the third of one over the length of the shorter or the longer sequence.

Two scores without traceback decide, those of 32 pairs side by side (Rognes 2011, doi:10.1186/1471-2105-12-221): in
C++ (kernel_scores.cpp) where there is much to do and a compiler was there at installation, else in numba. Scores are
whole numbers, in as few bits as hold them, so both find the same.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.definitions import Definition
from unrolled.errors import UnrolledError
from unrolled.identity import Progress, reverse_complement
from unrolled.jit import compiled
from unrolled.pairwise import memory

Ints = NDArray[np.int64]
Numbers = NDArray[np.floating[Any]]

LANES = 32  # pairs side by side: enough for full vectors
TILE = 100  # places of the targets at a time: two rows of a tile and its scores fit into a core's first cache
STEPS = (10, 20, 50, 100)  # the threshold is rounded down to a multiple of 1 / steps, so that all scores are whole
IDENTICAL, COLUMN = 1.0, 0.2  # l and u in score units: few doubts, and numbers of 16 bits for twice as long sequences
# What scores are held in, with the highest and a number below the lowest that an alignment may have.
KINDS = {np.int16: (2**15 - 1, -(2**14)), np.float32: (2**23, -1e9), np.float64: (2**52, -1e9)}
PAIR = 100  # bytes of a pair in doubt while all are sorted: its rows several times over
MUCH = 10**10  # cells: ten seconds and more in numba; torch, which the kernel needs, takes some to import


class Scheme(NamedTuple):
    """Scores in whole numbers."""

    pair: Numbers  # (A, A) of two letters
    opened: Any  # cost of a gap's first letter
    extended: Any  # cost of each further one, not more
    floor: Any  # 0: an alignment may start anywhere (local)
    never: Any  # less than any score


@dataclass(frozen=True)
class Test:
    """What decides: the definition's own scheme, the one with the bonus, and `need` per letter."""

    letters: str
    plain: Scheme
    bonus: Scheme
    per_letter: float  # of both sequences together
    per_shorter: float  # of the shorter one


def doubts(
    sequences: Sequence[str],
    definition: Definition,
    threshold: float,
    *,
    both_strands: bool = False,
    shorter: float = np.inf,
    threads: int = 1,
    progress: Progress | None = None,
) -> Ints:
    """All pairs of rows that may be at or above `threshold`, (P, 2), first < second, sorted.

    Every other pair is proved to be below it. Memory is that of the answer and of `LANES` sequences a thread.
    Raises UnrolledError for more pairs than memory holds, as a large family has.

    Args:
        sequences: upper-case, without gaps.
        both_strands: nucleotides: a pair counts if either strand may.
        shorter: look only at pairs whose shorter sequence has at most so many letters.
        progress: called with (cells done, cells in all) of the score tables, from any thread.
    """
    order = np.array(sorted(range(len(sequences)), key=lambda row: (-len(sequences[row]), row)), dtype=np.int64)
    lengths = np.array([len(sequences[row]) for row in order], dtype=np.int64)
    tasks = _tasks(lengths, definition, threshold, shorter)
    tests = {kind: _test(definition, threshold, kind) for kind in KINDS}
    letters = tests[np.float32].letters
    rows = [sequences[row] for row in order]
    strands = [_coded(rows, letters, definition)]
    if both_strands:
        strands.append(_coded([reverse_complement(s) for s in rows], letters, definition))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    # No score is higher: every letter of a sequence with the one that suits it best, or in a gap. Where scores may be
    # below 0, a gap as long as the sequence stays above half of the lowest, too.
    scheme = tests[np.float64].bonus
    least = 0 if scheme.floor == 0 else 4 * scheme.extended
    most = (
        np.add.reduceat(np.maximum(scheme.pair.max(axis=0), least)[strands[0]], starts[:-1]) if len(rows) else lengths
    )
    total, done, doubtful = len(strands) * sum(task.cells for task in tasks), 0, 0
    lock, room = threading.Lock(), memory()
    scores, kinds = _scorer(total)

    def one(task: Task) -> Ints:
        nonlocal done, doubtful
        queries, targets = np.arange(task.first, task.last), np.arange(task.last - task.width, task.last)
        # The targets are the shorter ones, so they bound the scores.
        test = tests[next(kind for kind in kinds if most[targets].max() <= KINDS[kind][0])]
        need = test.per_letter * (lengths[queries][:, None] + lengths[targets])
        need = need + test.per_shorter * np.minimum(lengths[queries][:, None], lengths[targets])
        maybe = queries[:, None] < targets
        gains = [_gains(scores, strands[0], each, starts, queries, targets, test) for each in strands]
        maybe &= np.maximum.reduce(gains)[:, : task.width] > need - 0.5
        q, t = np.nonzero(maybe)
        with lock:
            done, doubtful = done + len(strands) * task.cells, doubtful + len(q)
            check_memory(doubtful, len(sequences), threshold, room)
            if progress:
                progress(done, total)
        return np.sort(order[np.c_[queries[q], targets[t]]], axis=1)

    with ThreadPoolExecutor(threads) as pool:
        found = np.concatenate([np.empty((0, 2), dtype=np.int64), *pool.map(one, tasks)])
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def check_memory(pairs: int, n: int, threshold: float, room: int) -> None:
    """Raise UnrolledError if `room` bytes do not hold so many pairs of n sequences."""
    if pairs * PAIR > room:
        raise UnrolledError(
            f"more than {pairs:,} pairs of {n:,} sequences may be at or above {100 * threshold:g} %, which memory "
            "does not hold: leave out what is much alike (one of each cluster of `mmseqs easy-linclust`), or raise "
            "the threshold"
        )


def cells(
    sequences: Sequence[str],
    definition: Definition,
    threshold: float,
    *,
    both_strands: bool = False,
    shorter: float = np.inf,
) -> int:
    """Cells of the score tables that `doubts` fills: what it costs."""
    lengths = np.sort([len(s) for s in sequences])[::-1]
    return (1 + both_strands) * sum(task.cells for task in _tasks(lengths, definition, threshold, shorter))


class Task(NamedTuple):
    """Targets last - width .. last - 1 against queries first .. last - 1, by length from the longest."""

    first: int
    last: int
    width: int
    cells: int


def _tasks(lengths: Ints, definition: Definition, threshold: float, shorter: float) -> list[Task]:
    """Blocks that cover all pairs asked for but those of too unlike lengths, the costliest first."""
    ends = np.concatenate([[0], np.cumsum(lengths)])
    over_longer = _over(definition) in ("global", "longer")

    def task(first_target: int) -> Task:
        last = min(first_target + LANES, len(lengths))
        # Identical pairs are at most the shorter length; globally, columns are at least the longer one.
        longest = lengths[first_target] / threshold + 1 if over_longer else np.inf
        first = int(np.searchsorted(-lengths, -longest))
        return Task(first, last, last - first_target, int((ends[last] - ends[first]) * lengths[first_target] * LANES))

    start = int(np.searchsorted(-lengths, -shorter))
    return sorted(map(task, range(start, len(lengths), LANES)), key=lambda task: -task.cells)


def _over(definition: Definition) -> str:
    """Which line of the proofs is for a definition: by its aligner, or by the length that it divides by."""
    return definition.aligner if definition.denominator == "columns" else definition.denominator


def _test(definition: Definition, threshold: float, kind: Any) -> Test:
    letters, score = definition.scores()
    steps = next((steps for steps in STEPS if (threshold * steps) % 1 < 1e-9), STEPS[-1])
    unit = round(steps / IDENTICAL)  # whole numbers to one unit, which is half a unit of the matrix
    t, column = int(threshold * steps + 1e-9), round(COLUMN * unit) if definition.coverage else 0
    # An unknown letter is spelled J, and scores as two different unknown ones do.
    plain = np.array([[2 * unit * score(x, y) for y in letters + "O"] for x in letters + "J"], dtype=np.float64)
    same = steps * np.eye(len(plain))
    opened, extended = 2 * unit * definition.gap_open, 2 * unit * definition.gap_extend
    never = kind(KINDS[kind][1])
    floor = kind(0) if definition.aligner == "local" else never
    # Bonus of every pair and of a letter in a gap; what is needed for a letter of both, and for one of the shorter.
    extra, in_gap, per_letter, per_shorter = {
        "local": (column - t, column - t, 0, column * definition.coverage),
        "global": (t, 0, t, 0),
        "shorter": (0, 0, 0, t),
        "longer": (0, 0, t, -t),
    }[_over(definition)]
    return Test(
        letters=letters + "J",
        plain=Scheme(plain.astype(kind), kind(opened), kind(extended), floor, never),
        bonus=Scheme(
            (plain + same + extra).astype(kind), kind(opened - in_gap), kind(extended - in_gap), floor, never
        ),
        per_letter=per_letter,
        per_shorter=per_shorter,
    )


def _coded(sequences: Sequence[str], letters: str, definition: Definition) -> NDArray[np.uint8]:
    """All sequences end to end as places in `letters`."""
    codes = np.full(256, len(letters) - 1, dtype=np.uint8)
    for place, letter in enumerate(letters):
        codes[ord(letter)] = place
    for letter in definition.unknown:
        codes[ord(letter)] = len(letters) - 1
    if "dna" in definition.kinds:
        codes[ord("U")] = codes[ord("T")]
    return codes[np.frombuffer("".join(sequences).encode("ascii"), dtype=np.uint8)]


def _scorer(cells: int) -> tuple[Any, list[Any]]:
    """What finds best scores, with the arguments of `_scores`, and the kinds of numbers that it takes."""
    if cells >= MUCH:
        from unrolled import kernel

        if kernel.library():
            return kernel.best_scores, list(KINDS)
    return _scores, [np.float32, np.float64]  # numba adds small whole numbers up in large ones


def _gains(
    scores: Any,
    query_codes: NDArray[np.uint8],
    target_codes: NDArray[np.uint8],
    starts: Ints,
    queries: Ints,
    targets: Ints,
    test: Test,
) -> Numbers:
    """S' - S of each query against at most LANES targets, (Q, LANES)."""
    lengths = np.ones(LANES, np.int64)
    lengths[: len(targets)] = starts[targets + 1] - starts[targets]
    S, more = (
        scores(
            query_codes, starts, queries, _profile(target_codes, starts, targets, lengths, scheme), lengths, scheme
        )
        for scheme in (test.plain, test.bonus)
    )
    gains: Numbers = more - S
    return gains


@compiled
def _scores(
    codes: NDArray[np.uint8], starts: Ints, queries: Ints, profile: Numbers, lengths: Ints, scheme: Scheme
) -> Numbers:
    """The best score of each query (codes starts[q] to starts[q + 1]) with each target of a profile, (Q, LANES)."""
    longest = 0
    for q in queries:
        longest = max(longest, starts[q + 1] - starts[q])
    H, F = np.empty((TILE, LANES), profile.dtype), np.empty((TILE, LANES), profile.dtype)
    left_H, left_E = np.empty((longest, LANES), profile.dtype), np.empty((longest, LANES), profile.dtype)
    best = np.empty((len(queries), LANES), profile.dtype)
    for q in range(len(queries)):
        query = codes[starts[queries[q]] : starts[queries[q] + 1]]
        _best(query, profile, lengths, scheme, H, F, left_H, left_E, best[q])
    return best


@compiled
def _profile(codes: NDArray[np.uint8], starts: Ints, targets: Ints, lengths: Ints, scheme: Scheme) -> Numbers:
    """Score of every letter at every place of the targets, (tiles, A, TILE, LANES); impossible behind their ends."""
    A, tiles = len(scheme.pair), (lengths.max() + TILE - 1) // TILE
    profile = np.full((tiles, A, TILE, LANES), scheme.never, scheme.pair.dtype)
    for lane in range(len(targets)):
        start = starts[targets[lane]]
        for j in range(lengths[lane]):
            for a in range(A):
                profile[j // TILE, a, j % TILE, lane] = scheme.pair[a, codes[start + j]]
    return profile


@compiled
def _best(
    query: NDArray[np.uint8],
    profile: Numbers,
    lengths: Ints,
    scheme: Scheme,
    H: Numbers,
    F: Numbers,
    left_H: Numbers,
    left_E: Numbers,
    best: Numbers,
) -> None:
    """Best alignment score of the query with the target in each lane (Gotoh 1982), gaps at the ends free.

    Targets are taken in tiles, so that a tile's rows H and F stay in the fastest memory; left_H and left_E hand each
    query position over from one tile to the next.
    """
    opened, floor, zero, never = scheme.opened, scheme.floor, profile.dtype.type(0), scheme.never
    D, E, carry, top = np.empty_like(best), np.empty_like(best), np.empty_like(best), np.zeros_like(best)
    best[:] = never
    left_H[:] = zero
    left_E[:] = -opened
    longest = lengths.max()
    for tile in range(len(profile)):
        width = min(TILE, longest - tile * TILE)
        H[:] = zero
        F[:] = never
        carry[:] = zero
        for i in range(len(query)):
            for lane in range(LANES):
                D[lane] = carry[lane]
                carry[lane] = left_H[i, lane]
                E[lane] = left_E[i, lane]
            _row(profile[tile, query[i], :width], scheme, H, F, D, E, top)
            for lane in range(LANES):
                left_H[i, lane] = H[TILE - 1, lane]
                left_E[i, lane] = E[lane]
                end = lengths[lane] - 1 - tile * TILE
                if 0 <= end < TILE:
                    best[lane] = max(best[lane], H[end, lane])
        for lane in range(LANES):
            for j in range(min(TILE, lengths[lane] - tile * TILE)):
                best[lane] = max(best[lane], H[j, lane])
    if floor == zero:
        best[:] = top


@compiled
def _row(scores: Numbers, scheme: Scheme, H: Numbers, F: Numbers, D: Numbers, E: Numbers, top: Numbers) -> None:
    """One query letter against the places of one tile; D and E come from the left, and leave to the right."""
    opened, extended, floor, zero = scheme.opened, scheme.extended, scheme.floor, H.dtype.type(0)
    for j in range(len(scores)):
        for lane in range(LANES):
            f = max(H[j, lane] - opened, F[j, lane] - extended)
            h = max(max(D[lane] + scores[j, lane], floor), max(E[lane], f))
            D[lane] = H[j, lane]
            H[j, lane] = h
            F[j, lane] = f
            E[lane] = max(h - opened, E[lane] - extended)
            # Not max(top, h): that becomes a conditional store, which compilers keep out of vectors.
            top[lane] += max(h - top[lane], zero)
