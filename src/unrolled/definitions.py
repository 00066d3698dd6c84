"""What "30 % identical" means: named definitions.

A threshold without a definition says nothing: the same NetGPI folds keep 0 % or 19 % of relatives across folds by
which aligner and which denominator one asks. So every claim carries a definition's name; the threshold travels
beside it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from unrolled.errors import UnrolledError


@dataclass(frozen=True)
class Definition:
    """How the identity of two sequences is computed.

    Args:
        name: what cards, certificates and figures call it.
        title: the sentence that they print.
        aligner: `global` (Needleman-Wunsch, end gaps free) or `local` (Smith-Waterman).
        matrix: the substitution scores: `blosum62`, `dnafull` (EMBOSS's EDNAFULL) or `+2/-3`.
        gap_open, gap_extend: cost of the first and of each further letter of a gap.
        denominator: what identical letters are divided by: the alignment's `columns`, gaps included (of a global
            alignment the end gaps too), or the length of the `shorter` or the `longer` sequence.
        coverage: least part of the shorter sequence that lies in the alignment; below it the identity is 0.
        unknown: letters that are identical to nothing, not even to themselves.
        kinds: the alphabets it is for.
        parts: names of other definitions, the highest of which counts; then the rest says nothing.
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
    parts: tuple[str, ...] = ()

    @property
    def gaps(self) -> tuple[float, float]:
        """Cost of a gap's first letter and of each further one."""
        return self.gap_open, self.gap_extend

    def scores(self) -> tuple[str, Callable[[str, str], int]]:
        """The matrix's letters, and the score of two of them or of `pairwise.MISSING`: an unknown letter."""
        from unrolled.pairwise import scores  # by need: the workflow reads names alone

        return scores(self.matrix, self.unknown)

    @property
    def facts(self) -> dict[str, Any]:
        """The definition as a certificate holds it."""
        if self.parts:
            return {"name": self.name, "title": self.title, "parts": [DEFINITIONS[name].facts for name in self.parts]}
        names = ("name", "title", "aligner", "matrix", "gap_open", "gap_extend", "denominator", "coverage", "unknown")
        return {name: getattr(self, name) for name in names}


COLUMNS = "all columns, end gaps included"
NEEDLE_TITLE = (
    f"EMBOSS needle: global alignment, {{}}, gaps 10 and 0.5 with free ends; identical letters over {COLUMNS}"
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
DEFINITIONS |= {
    f"needle-{which}{kind}": replace(
        DEFINITIONS[f"needle{kind}"],
        name=f"needle-{which}{kind}",
        title=DEFINITIONS[f"needle{kind}"].title.replace(COLUMNS, f"the letters of the {which} sequence"),
        denominator=which,
    )
    for which in ("shorter", "longer")
    for kind in ("", "-nt")
}
# What is related from end to end, and what is only in a part.
DEFINITIONS |= {
    name: Definition(
        name, f"the higher of {a} and {b}", "highest", "", 0, 0, "columns", 0, "", DEFINITIONS[a].kinds, (a, b)
    )
    for name, a, b in (("either", "needle", "local80"), ("either-nt", "needle-nt", "local80-nt"))
}
DEFAULT = {"protein": "local80", "dna": "local80-nt", "rna": "local80-nt"}


def definition(name: str | None, alphabet: str, default: Mapping[str, str] = DEFAULT) -> Definition:
    """The definition of this name, or the alphabet's default for None.

    Raises UnrolledError for an unknown name and for a definition that is not for the alphabet.
    """
    found = DEFINITIONS.get(name or default[alphabet])
    fitting = ", ".join(one.name for one in DEFINITIONS.values() if alphabet in one.kinds)
    if found is None:
        raise UnrolledError(f"there is no identity definition '{name}': choose one of {fitting} for {alphabet}")
    if alphabet not in found.kinds:
        raise UnrolledError(
            f"identity definition '{found.name}' is for {' and '.join(found.kinds)}, not for {alphabet}: "
            f"choose one of {fitting}"
        )
    return found


def of_parts(alphabet: str) -> Definition:
    """Under which a shared part counts by its length: identical letters of a local alignment over the shorter one.

    Nothing proves a split under it: it has no name that a card could give.
    """
    whole = DEFINITIONS[DEFAULT[alphabet]]
    title = f"{whole.title.partition(' over all columns')[0]} over the letters of the shorter sequence"
    name = whole.name.replace("local80", "local-shorter")
    return replace(whole, name=name, title=title, denominator="shorter", coverage=0)


def strands(data: Mapping[str, Any]) -> int:
    """How many strands a data card has its sequences compared on: 0 of proteins, 1 as they are written, 2 both."""
    return 0 if data["alphabet"] == "protein" else int(data.get("strands", 2))


def check_threshold(threshold: float) -> float:
    """The threshold, if it can mean anything. Raises UnrolledError outside 0 < threshold <= 1."""
    if not 0 < threshold <= 1:
        raise UnrolledError(
            f"threshold {threshold:g} means nothing: give a fraction above 0 and at most 1, such as 0.3 for 30 %"
        )
    return threshold
