"""Protein families with planted sorting signals: an embedded data set whose truth is known.

Two things tell where a simulated protein belongs. The *signal* is the cause: a motif of the kind that cells
read, planted where they read it. The *family* is a confounder: relatives share residues, and most share a
location. Under a random split a model scores by recognising relatives; under a split by families only the
signal helps, and reading it takes order and position, for decoys put the same k-mers elsewhere.

Signals overwrite residues, so that the length depends on the family but never on the signal.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from unrolled.errors import UnrolledError

Codes = NDArray[np.int64]  # (L,) indices into RESIDUES
Floats = NDArray[np.float64]
Motif = list[str]  # the residues allowed at each position; a repeated letter is likelier

RESIDUES = "ARNDCQEGHILKMFPSTWYV"
# Per thousand, in that order: Robinson & Robinson (1991) PNAS 88:8880, in the rounding that BLAST uses.
BACKGROUND = """
78.05 51.29 44.87 53.64 19.25 42.64 62.95 73.77 21.99 51.42
90.19 57.44 22.43 38.56 52.03 71.20 58.41 13.30 32.16 64.41
"""
# Half bits, lower triangle row by row, in that order: Henikoff & Henikoff (1992) PNAS 89:10915.
BLOSUM62 = """
4 -1 5 -2 0 6 -2 -2 1 6 0 -3 -3 -3 9 -1 1 0 0 -3 5 -1 0 0 2 -4 2 5 0 -2 0 -1 -3 -2 -2 6 -2 0 1 -1 -3 0 0 -2 8
-1 -3 -3 -3 -1 -3 -3 -4 -3 4 -1 -2 -3 -4 -1 -2 -3 -4 -3 2 4 -1 2 0 -1 -3 1 1 -2 -1 -3 -2 5
-1 -1 -2 -3 -1 0 -2 -3 -2 1 2 -1 5 -2 -3 -3 -3 -2 -3 -3 -3 -1 0 0 -3 0 6
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4 7 1 -1 1 0 -1 0 0 0 -1 -2 -2 0 -1 -2 -1 4
0 -1 0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1 1 5 -3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1 1 -4 -3 -2 11
-2 -2 -2 -3 -2 -1 -2 -3 2 -1 -1 -2 -1 3 -3 -2 -2 2 7 0 -3 -3 -3 -1 -2 -2 -3 -3 3 1 -2 1 -1 -2 -2 0 -3 -1 4
"""
SHORTEST, LONGEST = 40, 200  # residues
INDELS, GAP = 0.03, 3  # insertions and deletions per substitution; the longest, in residues
COMPOSITION = 80.0  # concentration of the Dirichlet that draws a family's composition
NONSTANDARD = {"C": "U", "D": "B", "N": "B"}  # how a residue is written when it is ambiguous; others X


class Signal(NamedTuple):
    """A kind of signal."""

    key: str  # UniProt's feature key
    stretch: tuple[float, float]  # where in the protein it lies, as shares of the length
    motifs: tuple[str, ...]  # regular expressions: the same text plants it and finds it


START, MIDDLE, END = (0.0, 0.0), (0.25, 0.9), (1.0, 1.0)
GREASY = "[LLLAAVIF]"
HELIX = GREASY + "{18,22}"
# A basic n-region, a hydrophobic h-region, a c-region that ends in A-X-A, where the peptidase cuts.
SECRETION = Signal("SIGNAL", START, ("M[KR]{1,3}" + GREASY + "{8,12}[SGTNQP]{2,4}[AAVS][SLQTFN]A",))
# An amphipathic helix: a positive charge at every third or fourth residue, and no acid.
IMPORT = Signal("TRANSIT", START, ("M" + "[LLAASSTVFQ]{2,3}[RRRK]" * 6,))
# Monopartite like PKKKRKV of SV40, or bipartite like that of nucleoplasmin.
NUCLEAR = Signal("MOTIF", MIDDLE, ("PKK[KR][KR]K[VLE]", "KR[AEGNPQSTVLI]{10,12}KK[KR]K"))
# One helix, or a hairpin of two. Two positive charges mark each end that stays inside.
HAIRPIN = "[KR]{2}" + HELIX + "[SGTNQPDE]{5,9}" + HELIX + "[KR]{2}"
ANCHOR = Signal("TRANSMEM", MIDDLE, ("[KR]{2}" + HELIX + "[KR]", HAIRPIN))
RETENTION = Signal("MOTIF", END, ("[KKH]DEL",))
PEROXISOMAL = Signal("MOTIF", END, ("[SSAC][KKR][LLM]",))

LOCATIONS: dict[str, tuple[Signal, ...]] = {
    "Cytoplasm": (),
    "Nucleus": (NUCLEAR,),
    "Secreted": (SECRETION,),
    "Membrane": (ANCHOR,),
    "Mitochondrion": (IMPORT,),
    "ER": (SECRETION, RETENTION),  # differs from Secreted at the far end only
    "Peroxisome": (PEROXISOMAL,),
}
NAMES = list(LOCATIONS)
SHARES = np.array([0.26, 0.19, 0.16, 0.13, 0.11, 0.08, 0.07])  # of the locations, in their order
# The right residues where no cell reads them: in the middle, and KDEL on proteins that never enter the ER.
MISPLACED = (*RETENTION.motifs, *PEROXISOMAL.motifs, "[KR]{3}", GREASY + "{9}")
DECOYS = [Signal("", MIDDLE, (motif,)) for motif in MISPLACED]
CYTOSOLIC = {"Cytoplasm", "Nucleus", "Mitochondrion"}
TOKEN = re.compile(r"(?:\[(\w+)\]|(\w))(?:\{(\d+)(?:,(\d+))?\})?")  # [residues] or residue, {least,most}


@dataclass(frozen=True)
class Knobs:
    """What a user may turn."""

    loyalty: float = 0.85  # share of a family's members at the family's own location
    divergence: float = 1.0  # scales every branch of the families' trees
    decoys: float = 0.3  # chance of each kind of decoy in each sequence
    noise: float = 0.03  # share of sequences whose `target` is not the planted label
    ambiguity: float = 0.001  # chance that a residue is written X, B or U

    def __post_init__(self) -> None:
        for field in fields(self):
            value, top = getattr(self, field.name), 5.0 if field.name == "divergence" else 1.0
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= top:
                raise UnrolledError(f"simulate: {field.name}: {value!r} is not a number from 0 to {top:g}")


class Family(NamedTuple):
    """Relatives: their descent, where most of them belong, how and where they write signals."""

    chances: Floats  # (20, 20) cumulative chances of what replaces a residue
    ancestors: list[Codes]  # one a subfamily
    home: str
    motifs: dict[str, list[Motif]]  # of each location's signals
    site: float  # where in its stretch a signal lies, from 0 to 1


def simulate(n: int, families: int, seed: int, **knobs: float) -> pd.DataFrame:
    """Return `n` proteins of `families` families, sorted by id; the same arguments give the same table.

    Columns, all str: `id`; `sequence` of 40 to 200 residues; `target`, the label to learn; `family`; `signal`,
    what was planted and where (UniProt's feature key and 1-based inclusive range, as in
    `SIGNAL 1..21; MOTIF 97..100`, or `none`); `planted_label`, the truth, from which `target` differs in the
    share `noise` of the rows. `knobs`: the fields of `Knobs`. Raises UnrolledError for an impossible value.
    """
    settings = _checked(n, families, seed, knobs)
    rng = np.random.default_rng(seed)
    sizes = np.sort(_apportion(n - families, 0.15 + rng.random(families) ** 2) + 1)[::-1]
    rows = []
    for number, (size, home) in enumerate(zip(sizes, _homes(sizes, rng), strict=True), 1):
        family, name = _family(home, settings.divergence, rng), f"F{number:0{len(str(families))}d}"
        rows += [(*_member(family, settings, rng), name) for _ in range(size)]
    columns = ["sequence", "signal", "planted_label", "family"]
    table = pd.DataFrame(rows, columns=columns).iloc[rng.permutation(n)]
    table["target"] = _mislabel(table["planted_label"].tolist(), settings.noise, rng)
    table["id"] = [f"sim{i:0{len(str(n))}d}" for i in range(1, n + 1)]  # after shuffling: ids tell nothing
    return table[["id", "sequence", "target", "family", "signal", "planted_label"]].reset_index(drop=True)


def _checked(n: int, families: int, seed: int, knobs: dict[str, Any]) -> Knobs:
    for name, value, least in (("families", families, 1), ("n", n, families), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            why = " (a member for each family)" if name == "n" else ""
            raise UnrolledError(f"simulate: {name}: {value!r} is not a whole number from {least}{why}")
    known = [field.name for field in fields(Knobs)]
    for name in knobs:
        if name not in known:
            raise UnrolledError(f"simulate: there is no knob '{name}'; the knobs: {', '.join(known)}")
    return Knobs(**knobs)


def _apportion(total: int, weights: Floats) -> Codes:
    """Whole numbers in proportion to `weights` that sum to `total` (largest remainders)."""
    exact = total * weights / weights.sum()
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return np.asarray(counts)


def _homes(sizes: Codes, rng: Generator) -> list[str]:
    """A location for each family, largest family first, so that the locations come near their shares."""
    wanted, homes = SHARES * sizes.sum(), []
    for size in sizes:
        home = int(np.argmax(wanted * (0.75 + rng.random(len(wanted)) / 2)))
        wanted[home] -= size
        homes.append(NAMES[home])
    return homes


def _family(home: str, divergence: float, rng: Generator) -> Family:
    background = _numbers(BACKGROUND)
    composition = rng.dirichlet(COMPOSITION * background / background.sum())
    chances = _replacements(composition)
    length = int(rng.integers(70, 100) + 70 * rng.random() ** 2)
    root = _draw(np.tile(composition.cumsum(), (length, 1)), rng)
    branches = divergence * (0.1 + 0.45 * rng.random(rng.integers(1, 4)))
    ancestors = [_evolve(root, branch, chances, rng) for branch in branches]
    motifs = {
        name: [_own(_motif(signal, length, rng), rng) for signal in signals] for name, signals in LOCATIONS.items()
    }
    return Family(chances, ancestors, home, motifs, rng.random())


def _replacements(composition: Floats) -> Floats:
    """Cumulative chances (20, 20) of a replacement: the composition times the odds that BLOSUM62 states."""
    scores = np.zeros((20, 20))
    scores[np.tril_indices(20)] = _numbers(BLOSUM62)
    chances = composition * 2 ** ((scores + np.tril(scores, -1).T) / 2)  # the scores are half bits
    np.fill_diagonal(chances, 0)
    return np.asarray((chances / chances.sum(axis=1, keepdims=True)).cumsum(axis=1))


def _numbers(text: str) -> Floats:
    return np.array(text.split(), dtype=float)


def _draw(cumulative: Floats, rng: Generator) -> Codes:
    """One code from each row of cumulative chances: (L, K) -> (L,)."""
    above = rng.random((len(cumulative), 1)) >= cumulative[:, :-1]  # rounding may leave the last just below 1
    return np.asarray(above.sum(axis=1))


def _evolve(sequence: Codes, branch: float, chances: Floats, rng: Generator) -> Codes:
    """A descendant after `branch` substitutions a site, with short deletions and tandem duplications."""
    result = sequence.copy()
    changed = rng.random(len(sequence)) < 1 - np.exp(-branch)
    result[changed] = _draw(chances[sequence[changed]], rng)
    for _ in range(int(INDELS * branch * len(sequence) + rng.random())):
        at, size = rng.integers(1, len(result) - GAP), rng.integers(1, GAP + 1)
        gap = slice(at, at + size)
        other = np.insert(result, at, result[gap]) if rng.random() < 0.5 else np.delete(result, gap)
        if max(SHORTEST, 0.8 * len(sequence)) <= len(other) <= min(LONGEST, 1.25 * len(sequence)):
            result = other
    return result


def _motif(signal: Signal, length: int, rng: Generator) -> Motif:
    """One of the signal's motifs that leave at least half of the protein alone; else its first."""
    motifs = [_expand(pattern, rng) for pattern in signal.motifs]
    fitting = [motif for motif in motifs if 2 * len(motif) <= length] or motifs[:1]
    return fitting[rng.integers(len(fitting))]


def _expand(pattern: str, rng: Generator) -> Motif:
    """The residues allowed at each position, once repeats are drawn: `M[KR]{1,2}` -> M, KR, KR."""
    motif: Motif = []
    for some, one, least, most in TOKEN.findall(pattern):
        motif += [some or one] * int(rng.integers(int(least or 1), int(most or least or 1) + 1))
    return motif


def _own(motif: Motif, rng: Generator) -> Motif:
    """The motif with a family's own residue favoured at each position: half of the chance goes to it."""
    return [allowed + own * len(allowed) for allowed, own in zip(motif, _spell(motif, rng), strict=True)]


def _spell(motif: Motif, rng: Generator) -> str:
    picks = zip(motif, rng.random(len(motif)), strict=True)
    return "".join(allowed[int(u * len(allowed))] for allowed, u in picks)


def _member(family: Family, knobs: Knobs, rng: Generator) -> tuple[str, str, str]:
    """A member's sequence, signal and planted label. Members differ in age, hence in mutual identity."""
    ancestor = family.ancestors[rng.integers(len(family.ancestors))]
    branch = knobs.divergence * (0.02 + 0.65 * rng.random() ** 2)
    letters = ["M", *(RESIDUES[code] for code in _evolve(ancestor, branch, family.chances, rng)[1:])]
    for i in np.flatnonzero(rng.random(len(letters) - 1) < knobs.ambiguity) + 1:
        letters[i] = NONSTANDARD.get(letters[i], "X")
    location = family.home if rng.random() < knobs.loyalty else _another(family.home, rng)
    for decoy in DECOYS + [RETENTION] * (location in CYTOSOLIC):
        if rng.random() < knobs.decoys:
            _plant(letters, decoy, _motif(decoy, len(letters), rng), rng.random(), rng)
    signals = zip(LOCATIONS[location], family.motifs[location], strict=True)
    planted = [_plant(letters, signal, motif, family.site, rng) for signal, motif in signals]
    return "".join(letters), "; ".join(planted) or "none", location


def _plant(letters: list[str], signal: Signal, motif: Motif, site: float, rng: Generator) -> str:
    """Overwrite letters with the motif, at share `site` of the room in its stretch; say what lies where."""
    low, high = (share * len(letters) for share in signal.stretch)
    start = min(int(low + site * max(0.0, high - low - len(motif))), len(letters) - len(motif))
    letters[start : start + len(motif)] = _spell(motif, rng)
    return f"{signal.key} {start + 1}..{start + len(motif)}"


def _another(location: str, rng: Generator) -> str:
    """Another location, drawn by the locations' shares."""
    shares = SHARES * (np.array(NAMES) != location)
    return NAMES[_draw((shares / shares.sum()).cumsum()[None], rng).item()]


def _mislabel(labels: Sequence[str], share: float, rng: Generator) -> list[str]:
    """The labels with that share of them, chosen at random, replaced by another one."""
    result = list(labels)
    for i in rng.permutation(len(result))[: round(share * len(result))]:
        result[i] = NAMES[(NAMES.index(result[i]) + rng.integers(1, len(NAMES))) % len(NAMES)]
    return result
