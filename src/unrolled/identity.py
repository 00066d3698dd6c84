"""What "30 % identical" means: named definitions, and exact pairwise alignment under each, through parasail.

A threshold without a definition says nothing: the same NetGPI folds keep 0 % or 19 % of relatives across folds by
which aligner and which denominator one asks. So every claim carries a definition's name; the threshold travels
beside it.

parasail: Daily 2016, doi:10.1186/s12859-016-0930-z. EMBOSS needle: Rice 2000, doi:10.1016/S0168-9525(00)02024-2.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import UnrolledError
from unrolled.pairwise import DELETION, INSERTION, MATCH, MISSING, align, scores, scoring

Progress = Callable[[int, int], None]  # pairs done, pairs in all

BLOCK = 2048  # pairs that a thread takes at a time


@dataclass(frozen=True)
class Definition:
    """How the identity of two sequences is computed.

    Args:
        name: what cards, certificates and figures call it.
        title: the sentence that they print.
        aligner: `global` (Needleman-Wunsch, end gaps free) or `local` (Smith-Waterman).
        matrix: the substitution scores: `blosum62`, `dnafull` (EMBOSS's EDNAFULL) or `+2/-3`.
        gap_open, gap_extend: cost of the first and of each further letter of a gap.
        denominator: what identical letters are divided by; `columns`: the alignment's, gaps included (of a global
            alignment the end gaps too).
        coverage: least part of the shorter sequence that lies in the alignment; below it the identity is 0.
        unknown: letters that are identical to nothing, not even to themselves.
        kinds: the alphabets it is for.
    """

    name: str
    title: str
    aligner: str
    matrix: str
    gap_open: float
    gap_extend: float
    denominator: str
    coverage: float
    unknown: str
    kinds: tuple[str, ...]

    @property
    def gaps(self) -> tuple[float, float]:
        """Cost of a gap's first letter and of each further one."""
        return self.gap_open, self.gap_extend

    def scores(self) -> tuple[str, Callable[[str, str], int]]:
        """The matrix's letters, and the score of two of them or of `pairwise.MISSING`: an unknown letter."""
        return scores(self.matrix, self.unknown)

    @property
    def facts(self) -> dict[str, Any]:
        """The definition as a certificate holds it."""
        names = ("name", "title", "aligner", "matrix", "gap_open", "gap_extend", "denominator", "coverage", "unknown")
        return {name: getattr(self, name) for name in names}


NEEDLE_TITLE = (
    "EMBOSS needle: global alignment, {}, gaps 10 and 0.5 with free ends; identical letters over all columns, "
    "end gaps included"
)
LOCAL_TITLE = (
    "local alignment, {}; identical letters over all columns, where the alignment covers at least 80 % of the "
    "shorter sequence"
)
NUCLEOTIDES = ("dna", "rna")

DEFINITIONS: dict[str, Definition] = {
    one.name: one
    for one in (
        # needle's table has no U, J and O: they score 0 with every letter and are identical to none; X is to X.
        Definition(
            "needle",
            NEEDLE_TITLE.format("BLOSUM62"),
            "global",
            "blosum62",
            10,
            0.5,
            "columns",
            0,
            "UJO",
            ("protein",),
        ),
        Definition(
            "needle-nt", NEEDLE_TITLE.format("EDNAFULL"), "global", "dnafull", 10, 0.5, "columns", 0, "", NUCLEOTIDES
        ),
        Definition(
            "local80",
            LOCAL_TITLE.format("BLOSUM62, gaps 11 and 1"),
            "local",
            "blosum62",
            11,
            1,
            "columns",
            0.8,
            "XUJO",
            ("protein",),
        ),
        Definition(
            "local80-nt",
            LOCAL_TITLE.format("match 2, mismatch -3, gaps 5 and 2"),
            "local",
            "+2/-3",
            5,
            2,
            "columns",
            0.8,
            "RYSWKMBDHVN",
            NUCLEOTIDES,
        ),
    )
}
DEFAULT = {"protein": "local80", "dna": "local80-nt", "rna": "local80-nt"}


def definition(name: str | None, alphabet: str) -> Definition:
    """The definition of this name, or the alphabet's default for None.

    Raises UnrolledError for an unknown name and for a definition that is not for the alphabet.
    """
    found = DEFINITIONS.get(name or DEFAULT[alphabet])
    fitting = ", ".join(one.name for one in DEFINITIONS.values() if alphabet in one.kinds)
    if found is None:
        raise UnrolledError(f"there is no identity definition '{name}': choose one of {fitting} for {alphabet}")
    if alphabet not in found.kinds:
        raise UnrolledError(
            f"identity definition '{found.name}' is for {' and '.join(found.kinds)}, not for {alphabet}: "
            f"choose one of {fitting}"
        )
    return found


def check_threshold(threshold: float) -> float:
    """The threshold, if it can mean anything. Raises UnrolledError outside 0 < threshold <= 1."""
    if not 0 < threshold <= 1:
        raise UnrolledError(
            f"threshold {threshold:g} means nothing: give a fraction above 0 and at most 1, such as 0.3 for 30 %"
        )
    return threshold


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

    Symmetric and independent of the threads: of each pair the sequence that sorts first is parasail's query.
    Memory beyond the pairs and the answer is constant, but for the longest pair: one byte a cell of its table.

    >>> identities(["MKTAYIAK"], ["MKTAYAK"], np.array([[0, 0]]), DEFINITIONS["needle"])
    array([0.875], dtype=float32)

    Args:
        queries, targets: upper-case sequences without gaps.
        pairs: rows of `queries` and of `targets`, (P, 2).
        both_strands: nucleotides: the higher identity of the query and of its reverse complement.
        threads: parasail releases the interpreter's lock while it aligns.
        progress: called with (pairs done, P) after each block, from any thread.
    """
    first, second = _spelled(queries, targets, definition)
    found = np.zeros(len(pairs), dtype=np.float32)
    blocks = iter(range(0, len(pairs), BLOCK))  # shared: each thread takes the next one
    done, lock = 0, threading.Lock()

    def work() -> None:
        nonlocal done
        for start in blocks:
            rows = pairs[start : start + BLOCK].tolist()
            ordered = list(_ordered(rows, queries, targets, first, second))
            values = _block(ordered, definition)
            if both_strands:
                turned = [(reverse_complement(a), b) for a, b in ordered]
                values = np.maximum(values, _block(turned, definition))
            found[start : start + BLOCK] = values
            if progress:
                with lock:
                    done += len(rows)
                    progress(done, len(pairs))

    with ThreadPoolExecutor(threads) as pool:
        for task in [pool.submit(work) for _ in range(threads)]:
            task.result()
    return found


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
    rows: list[list[int]], queries: Sequence[str], targets: Sequence[str], first: Spelling, second: Spelling
) -> Iterator[tuple[str, str]]:
    for q, t in rows:
        if queries[q] <= targets[t]:
            yield first[0][q], second[1][t]
        else:
            yield first[1][t], second[0][q]


def _block(pairs: list[tuple[str, str]], definition: Definition) -> NDArray[np.float64]:
    """Identities of some pairs of spelled sequences, (P,)."""
    cigars = align(pairs, definition.aligner, scoring(definition.matrix, definition.unknown, *definition.gaps))
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

    columns = count(operation >= 0)
    identity = count(operation == MATCH) / np.maximum(columns, 1)
    if not definition.coverage:
        return identity
    sizes = np.array([(len(a), len(b)) for a, b in pairs]).T
    inside = np.array([columns - count(operation == DELETION), columns - count(operation == INSERTION)])
    shorter = np.where(sizes[0] <= sizes[1], inside[0], inside[1])
    return np.where(shorter >= definition.coverage * sizes.min(axis=0), identity, 0.0)
