"""Simulated data that ask one thing alone, so that what a network cannot do is known to be its own fault."""

from itertools import product

import numpy as np
import pandas as pd

from unrolled.errors import UnrolledError

NUCLEOTIDES = np.array(list("ACGT"))
START = "ATG"
# The standard genetic code (NCBI translation table 1), codons in the order TTT, TTC, TTA, TTG, TCT ...; * stops.
AMINO_ACIDS = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
CODE = dict(zip(map("".join, product("TCAG", repeat=3)), AMINO_ACIDS, strict=True))
SENSE = np.array([codon for codon, letter in CODE.items() if letter != "*"])
STOPS = np.array([codon for codon, letter in CODE.items() if letter == "*"])


def recall(n: int = 2000, steps: int = 50, spread: int = 10, seed: int = 0) -> pd.DataFrame:
    """DNA whose label is the letter seen `steps` before the end: everything else is noise, and nothing marks it.

    Args:
        n: sequences.
        steps: between the letter that counts and the last one; how long something must be remembered.
        spread: lengths are steps + 1 to steps + 1 + spread, so that no position from the start holds the answer.
        seed: another seed, another table with the same properties.

    Returns:
        The canonical table: id, sequence, target (A, C, G or T), sorted by id.

    Raises:
        UnrolledError: fewer than one sequence, or negative numbers.
    """
    if n < 1 or steps < 0 or spread < 0:
        raise UnrolledError(f"simulate: n {n}, steps {steps}, spread {spread}: at least 1, 0 and 0 are needed")
    rng = np.random.default_rng([seed, steps])
    lengths = rng.integers(steps + 1, steps + spread + 1, size=n, endpoint=True)
    letters = ["".join(rng.choice(NUCLEOTIDES, length)) for length in lengths]
    ids = [f"recall{i:0{len(str(n - 1))}d}" for i in range(n)]
    table = pd.DataFrame({"id": ids, "sequence": letters, "target": [s[-1 - steps] for s in letters]}, dtype="str")
    return table.sort_values("id", ignore_index=True)


def translation(n: int = 6000, shortest: int = 1, longest: int = 24, ends: int = 12, seed: int = 0) -> pd.DataFrame:
    """DNA and the protein it codes for: the first ATG begins it, codons follow, a stop codon ends it.

    Before the ATG and behind the stop codon stand untranslated letters. Whoever is to say the protein must find the
    start, keep the frame, and carry every codon to where its residue is said.

    Args:
        n: sequences.
        shortest, longest: residues of a protein, the first M among them; every length is equally likely.
        ends: at most so many untranslated letters at each end; every number from 0 is equally likely.
        seed: another seed, another table with the same properties.

    Returns:
        The canonical table: id, sequence (DNA), target (protein), sorted by id.

    Raises:
        UnrolledError: fewer than one sequence or residue, or negative numbers.
    """
    if n < 1 or not 1 <= shortest <= longest or ends < 0:
        given = f"n {n}, shortest {shortest}, longest {longest}, ends {ends}"
        raise UnrolledError(f"simulate: {given}: at least 1, 1, shortest and 0 are needed")
    rng = np.random.default_rng([seed, longest])
    sequences = [_gene(rng, int(rng.integers(shortest, longest, endpoint=True)), ends) for _ in range(n)]
    ids = [f"gene{i:0{len(str(n - 1))}d}" for i in range(n)]
    targets = [translate(sequence) for sequence in sequences]
    table = pd.DataFrame({"id": ids, "sequence": sequences, "target": targets}, dtype="str")
    return table.sort_values("id", ignore_index=True)


def translate(dna: str) -> str:
    """The protein from the first ATG to the first stop codon in its frame, or to the last whole codon.

    >>> translate("CCATGGCTTAAGG")
    'MA'
    """
    start = dna.find(START)
    codons = [dna[i : i + 3] for i in range(start, len(dna) - 2, 3)] if start >= 0 else []
    return "".join(CODE[codon] for codon in codons).split("*")[0]


def _gene(rng: np.random.Generator, residues: int, ends: int) -> str:
    before, behind = ("".join(rng.choice(NUCLEOTIDES, size)) for size in rng.integers(0, ends, size=2, endpoint=True))
    while (before + START).find(START) < len(before):  # an earlier start
        before = "".join(rng.choice(NUCLEOTIDES, len(before)))
    return "".join([before, START, *rng.choice(SENSE, residues - 1), rng.choice(STOPS), behind])
