"""Pairwise alignments by parasail's C functions (Daily 2016, doi:10.1186/s12859-016-0930-z).

They are called directly, because parasail's Python classes take as long as the alignment of two short sequences.
parasail's own `stats` functions leave free end gaps out of an alignment's length, so paths are asked for.
"""

import ctypes
import os
import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from ctypes import POINTER, c_char_p, c_int, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import parasail

from unrolled.errors import UnrolledError

MATCH, INSERTION, DELETION = 7, 1, 2  # operations in a path: the first sequence has an insertion's letters alone
MISSING = "JO"  # a letter identical to none: one spelling of it in the first sequence, another in the second
SHORT = 1000  # letters: below it neither score nor gaps can leave 16 bits (22 a pair, 2 x open + extend)
PREFIX = {"global": "sg", "local": "sw"}  # sg: end gaps are free


class _Cigar(ctypes.Structure):
    _fields_ = (("seq", c_void_p), ("len", c_int), ("beg_query", c_int), ("beg_ref", c_int))


@dataclass(frozen=True, eq=False)
class Scoring:
    """parasail's matrix and gap costs, doubled: needle's 0.5 becomes a whole number."""

    matrix: Any
    opened: int
    extended: int


def align(pairs: list[tuple[str, str]], aligner: str, scoring: Scoring, coverage: float = 0) -> list[bytes]:
    """The path of one best alignment of each pair: operations of 32 bits, `length << 4 | operation`.

    A local path holds the aligned part alone. It is empty where that ends before `coverage` of the shorter sequence:
    a score without a path tells so, in a fraction of the time, of most pairs that are not related. Sequences are
    upper case, with unknown letters spelled as MISSING. Raises UnrolledError where memory does not suffice: see
    `check_room`.
    """
    short, long, score, saturated, *ends, path_of, free_path, free_result = _functions(PREFIX[aligner])
    matrix, opened, extended = scoring.matrix.pointer, scoring.opened, scoring.extended
    matrix = ctypes.cast(matrix, c_void_p)
    copy = ctypes.string_at

    def falls_short(a: bytes, n: int, b: bytes, m: int) -> bool:
        result = score(a, n, b, m, opened, extended, matrix)
        if not result:
            return False
        reached = ends[n > m](result) + 1  # letters of the shorter one; of equally long ones, of the first
        short_of = reached < coverage * min(n, m) and not saturated(result)
        free_result(result)
        return bool(short_of)

    paths = []
    for first, second in pairs:
        a, b = first.encode("ascii"), second.encode("ascii")
        n, m = len(a), len(b)
        if coverage and falls_short(a, n, b, m):
            paths.append(b"")
            continue
        result = short(a, n, b, m, opened, extended, matrix)
        if (n > SHORT or m > SHORT) and result and saturated(result):
            free_result(result)
            result = long(a, n, b, m, opened, extended, matrix)
        path = path_of(result, a, n, b, m, matrix) if result else None
        if not path:
            raise UnrolledError(f"no memory to align {n:,} letters with {m:,}: {_remedy(n, m)}")
        # A copy: the operations live only as long as parasail's path.
        paths.append(copy(path.contents.seq, 4 * path.contents.len))
        free_path(path)
        free_result(result)
    return paths


def check_room(
    names: Sequence[str], sequences: Sequence[str], folds: Sequence[int] | None = None, *, threads: int = 1
) -> None:
    """Raise UnrolledError that names the two longest sequences to be aligned, if there is no memory for that.

    Each thread may align two as long. With `folds`, (N,), only sequences of different ones are aligned.
    """
    rows, sides = range(len(sequences)), range(len(sequences)) if folds is None else folds
    longest = max(rows, key=lambda row: len(sequences[row]))
    others = [row for row in rows if sides[row] != sides[longest]]
    second = max(others, key=lambda row: len(sequences[row]), default=longest)
    n, m = len(sequences[longest]), len(sequences[second])
    if others and threads * _table(n, m) > memory():
        side = f" {threads} at a time" if threads > 1 else ""
        raise UnrolledError(
            f"{names[longest]} ({n:,} letters) and {names[second]} ({m:,}) cannot be aligned{side}: {_remedy(n, m)}"
        )


def _table(n: int, m: int) -> int:
    """Bytes of the table that a path is found in: parasail has a number as wide as a score for each cell."""
    return (2 if min(n, m) <= SHORT else 4) * n * m


def memory() -> int:
    """Bytes that this process may use: the machine's, or what `ulimit -v` or a container leaves of it."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), resource.getrlimit(resource.RLIMIT_AS)[0]]
    with suppress(OSError, ValueError):  # no such limit here, or none is set
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limit for limit in limits if limit != resource.RLIM_INFINITY)


def _remedy(n: int, m: int) -> str:
    need, have = (f"{size / 2**30:,.1f} GiB" for size in (_table(n, m), memory()))
    return f"that takes {need} of {have}. Leave out or cut the longest sequences, or take a machine with more memory"


@cache
def _functions(prefix: str) -> tuple[Any, ...]:
    library = str(next(Path(parasail.__file__).parent.glob("libparasail.*")))
    # CDLL lets other threads run during a call; PyDLL does not, and is the faster for calls of a microsecond.
    slow, quick = ctypes.CDLL(library), ctypes.PyDLL(library)
    sequences: list[Any] = [c_char_p, c_int, c_char_p, c_int]
    aligners = [getattr(slow, f"parasail_{prefix}_trace_scan_{bits}") for bits in (16, 32)]
    for function in aligners:
        function.argtypes, function.restype = [*sequences, c_int, c_int, c_void_p], c_void_p
    score = getattr(slow, f"parasail_{prefix}_striped_sat")  # ends where the others do: the first of the best cells
    score.argtypes, score.restype = aligners[0].argtypes, c_void_p
    ends = [quick.parasail_result_get_end_query, quick.parasail_result_get_end_ref]
    for function in ends:
        function.argtypes, function.restype = [c_void_p], c_int
    saturated, path = quick.parasail_result_is_saturated, quick.parasail_result_get_cigar
    free_path, free_result = quick.parasail_cigar_free, quick.parasail_result_free
    saturated.argtypes, saturated.restype = [c_void_p], c_int
    path.argtypes, path.restype = [c_void_p, *sequences, c_void_p], POINTER(_Cigar)
    free_path.argtypes, free_path.restype = [POINTER(_Cigar)], None
    free_result.argtypes, free_result.restype = [c_void_p], None
    return *aligners, score, saturated, *ends, path, free_path, free_result


@cache
def scoring(matrix: str, unknown: str, gap_open: float, gap_extend: float) -> Scoring:
    """Scores for `align`: `blosum62`, `dnafull` (EMBOSS's EDNAFULL) or `+2/-3` (match and mismatch)."""
    letters, score = scores(matrix, unknown)
    symbols = letters + MISSING
    made = parasail.matrix_create(symbols, 1, -1)
    for i, x in enumerate(symbols):
        for j, y in enumerate(symbols):
            made.set_value(i, j, 2 * score(x, y))
    return Scoring(made, int(2 * gap_open), int(2 * gap_extend))


def scores(matrix: str, unknown: str) -> tuple[str, Callable[[str, str], int]]:
    """The letters of a matrix, and the score of two of them or of MISSING.

    A missing letter scores as X does where X is unknown itself, else 0 with every letter, as in needle.
    """
    if matrix == "+2/-3":
        return "ACGT", lambda x, y: 2 if x == y and x in "ACGT" else -3
    table = parasail.Matrix(matrix)
    values, place = np.array(table.matrix), np.array(table.mapper)
    standing = dict.fromkeys(MISSING, "X" if "X" in unknown else "")

    def score(x: str, y: str) -> int:
        x, y = standing.get(x, x), standing.get(y, y)
        return int(values[place[ord(x)], place[ord(y)]]) if x and y else 0

    return {"blosum62": "ARNDCQEGHILKMFPSTWYVBZX", "dnafull": "ATGCSWRYKMBVHDN"}[matrix], score
