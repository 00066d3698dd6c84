"""Exact identity of pairs of sequences under a named definition, by pairwise alignment.

EMBOSS needle: Rice 2000, doi:10.1016/S0168-9525(00)02024-2.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.definitions import DEFINITIONS, Definition
from unrolled.pairwise import DELETION, INSERTION, MATCH, MISSING, align, scoring

Progress = Callable[[int, int], None]  # pairs done, pairs in all

BLOCK = 2048  # pairs that a thread takes at a time


def identities(
    queries: Sequence[str],
    targets: Sequence[str],
    pairs: NDArray[np.int64],
    definition: Definition,
    *,
    both_strands: bool = False,
    threads: int = 1,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Exact identity of each pair, (P,) from 0 to 1.

    Symmetric and independent of the threads: of each pair the sequence that sorts first is parasail's query. Copies
    are identical whatever their letters, also unknown ones, which are identical to nothing within an alignment.
    Memory beyond the pairs and the answer is constant, but for the longest pair: 2 or 4 bytes a cell of its table.

    >>> identities(["MKTAYIAK"], ["MKTAYAK"], np.array([[0, 0]]), DEFINITIONS["needle"])
    array([0.875], dtype=float32)

    Args:
        queries, targets: upper-case sequences without gaps.
        pairs: rows of `queries` and of `targets`, (P, 2).
        both_strands: nucleotides: the higher identity of the query and of its reverse complement.
        threads: parasail releases the interpreter's lock while it aligns.
        progress: called with (pairs done, P) after each block, from any thread.
    """
    if definition.parts:
        options: dict[str, Any] = {"both_strands": both_strands, "threads": threads}
        parts = [DEFINITIONS[name] for name in definition.parts]
        told = [_share(progress, i, len(parts)) for i in range(len(parts))]
        found = np.zeros(len(pairs), dtype=np.float32)
        for part, tell in zip(parts, told, strict=True):
            np.maximum(found, identities(queries, targets, pairs, part, progress=tell, **options), out=found)
        return found
    first, second = _spelled(queries, targets, definition)
    found = np.zeros(len(pairs), dtype=np.float32)
    blocks = iter(range(0, len(pairs), BLOCK))  # shared: each thread takes the next one
    done, lock = 0, threading.Lock()

    def work() -> None:
        nonlocal done
        for start in blocks:
            rows = pairs[start : start + BLOCK].tolist()
            differ = np.array([not _copies(queries[q], targets[t], both_strands) for q, t in rows])
            ordered = list(_ordered(itertools.compress(rows, differ), queries, targets, first, second))
            values = found[start : start + BLOCK]  # a view
            values[~differ] = 1.0
            strands = [ordered, [(reverse_complement(a), b) for a, b in ordered]] if both_strands else [ordered]
            if ordered:
                values[differ] = np.maximum.reduce([_block(strand, definition) for strand in strands])
            if progress:
                with lock:
                    done += len(rows)
                    progress(done, len(pairs))

    with ThreadPoolExecutor(threads) as pool:
        try:
            for task in [pool.submit(work) for _ in range(threads)]:
                task.result()
        finally:
            for _ in blocks:  # after an error or an interruption no thread finds another one
                pass
    return found


def copies(sequences: Sequence[str], rows: Iterable[int], *, both_strands: bool) -> list[list[int]]:
    """Those of the rows that hold the same letters, on either strand where both count: groups of two and more."""
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(_canonical(sequences[row], both_strands), []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def _canonical(sequence: str, both_strands: bool) -> str:
    """What all copies of a sequence have in common."""
    return min(sequence.replace("U", "T"), reverse_complement(sequence)) if both_strands else sequence


def _copies(one: str, other: str, both_strands: bool) -> bool:
    return len(one) == len(other) and _canonical(one, both_strands) == _canonical(other, both_strands)


def _share(progress: Progress | None, i: int, n: int) -> Progress | None:
    """`progress` as the i-th of n rounds over the same pairs hears it."""
    return (lambda done, of: progress((i * of + done) // n, of)) if progress else None


def reverse_complement(sequence: str) -> str:
    """The other strand of a DNA or RNA sequence, spelled with T; ambiguity codes included."""
    return sequence.translate(_STRAND)[::-1]


_STRAND = str.maketrans("ACGTURYKMBVDH", "TGCAAYRMKVBHD")

Spelling = tuple[list[str], list[str]]  # of the queries, of the targets


def _spelled(queries: Sequence[str], targets: Sequence[str], definition: Definition) -> tuple[Spelling, Spelling]:
    """Both lists as first and as second of a pair: an unknown letter is spelled so that it equals no other.

    T and U are one letter in nucleotides.
    """
    same = {"U": "T"} if "dna" in definition.kinds else {}

    def spelling(letter: str) -> Spelling:
        table = str.maketrans(dict.fromkeys(definition.unknown, letter) | same)
        return [s.translate(table) for s in queries], [s.translate(table) for s in targets]

    return spelling(MISSING[0]), spelling(MISSING[1])


def _ordered(
    rows: Iterable[list[int]], queries: Sequence[str], targets: Sequence[str], first: Spelling, second: Spelling
) -> Iterator[tuple[str, str]]:
    for q, t in rows:
        if queries[q] <= targets[t]:
            yield first[0][q], second[1][t]
        else:
            yield first[1][t], second[0][q]


def _block(pairs: list[tuple[str, str]], definition: Definition) -> NDArray[np.float64]:
    """Identities of some pairs of spelled sequences, (P,)."""
    scheme = scoring(definition.matrix, definition.unknown, *definition.gaps)
    cigars = align(pairs, definition.aligner, scheme, definition.coverage)
    ends = np.cumsum([len(cigar) // 4 for cigar in cigars])
    starts = np.concatenate([[0], ends[:-1]])
    steps = np.frombuffer(b"".join(cigars), dtype=np.uint32)
    length, operation = (steps >> 4).astype(np.int64), steps & 15
    if definition.aligner == "local":
        # Where one sequence is aligned from its first letter, parasail puts the other's unaligned start in front.
        heads = starts[starts < ends]
        length[heads[np.isin(operation[heads], (INSERTION, DELETION))]] = 0

    def count(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        totals = np.concatenate([[0], np.cumsum(np.where(mask, length, 0))])
        return np.asarray(totals[ends] - totals[starts])

    columns = of = count(operation >= 0)
    if definition.denominator != "columns":
        of = {"shorter": np.min, "longer": np.max}[definition.denominator](_sizes(pairs), axis=0)
    identity = count(operation == MATCH) / np.maximum(of, 1)
    if not definition.coverage:
        return identity
    sizes = _sizes(pairs)
    inside = np.array([columns - count(operation == DELETION), columns - count(operation == INSERTION)])
    shorter = np.where(sizes[0] <= sizes[1], inside[0], inside[1])
    return np.where(shorter >= definition.coverage * sizes.min(axis=0), identity, 0.0)


def _sizes(pairs: list[tuple[str, str]]) -> NDArray[np.int64]:
    """Lengths of the first and of the second sequences, (2, P)."""
    return np.array([(len(a), len(b)) for a, b in pairs], dtype=np.int64).T
