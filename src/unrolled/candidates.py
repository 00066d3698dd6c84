"""Pairs that are likely to be alike, by a sensitive search of MMseqs2: candidates, not identities.

For proteins its prefilter alone: it scores the best ungapped stretch of every sequence that shares similar k-mers
on one diagonal, and what passes is aligned exactly by whoever asked.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import homology

Pairs = NDArray[np.int64]

MOST = 300  # candidates of one sequence
# No masking and no correction for composition: a biased region is what two sequences can share as well.
SENSITIVE = ["--max-seqs", str(MOST), "--mask", "0", "--comp-bias-corr", "0"]
# Nominal core-seconds of a residue at each sensitivity (-s), of samples of DeepLoc 2.0.
COST = {7.5: 1.1e-4, 6.5: 3.5e-5, 5.7: 2.5e-5}
MOST_SENSITIVE = max(COST)


def seconds(sequences: Sequence[str], sensitivity: float, cores: int) -> float:
    """Predicted time of a search on so many cores; the same on every machine, so that it decides alike everywhere."""
    return COST[sensitivity] * sum(map(len, sequences)) / cores


def affordable(sequences: Sequence[str], budget: float, cores: int) -> float:
    """The highest sensitivity whose search is predicted to take at most `budget` seconds; the lowest if none is."""
    fitting = (s for s in COST if seconds(sequences, s, cores) <= budget)
    return max(fitting, default=min(COST))


def proposed(
    sequences: Sequence[str],
    *,
    nucleotide: bool = False,
    both_strands: bool = False,
    threads: int = 1,
    sensitivity: float = MOST_SENSITIVE,
    settings: Sequence[str] = (),
    least: float = 0.0,
) -> Pairs:
    """Pairs of rows that MMseqs2 finds, (P, 2), lower row first, each once.

    First comes the best candidate of every sequence, then every second best, and so on.

    Args:
        settings: further ones of MMseqs2's prefilter, such as `-k 5`.
        least: proteins: the ungapped score that a pair needs for each letter of its shorter sequence (`scored`).
    """
    with tempfile.TemporaryDirectory(prefix="unrolled-search-") as folder:
        here = Path(folder)
        fasta = here / "all.fasta"
        fasta.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(sequences)), encoding="ascii")
        options = ["-s", str(sensitivity), *SENSITIVE, *settings, "--threads", str(threads), "-v", "1"]
        hits = _nucleotide(here, fasta, both_strands, options) if nucleotide else _protein(here, fasta, options)
        if hits.stat().st_size == 0:
            return np.empty((0, 2), dtype=np.int64)
        found = pd.read_csv(hits, sep="\t", header=None, usecols=[0, 1, 2], names=["query", "target", "score"])
    found = found[found["query"] != found["target"]]
    if not nucleotide:
        lengths = np.array([len(s) for s in sequences])
        shorter = np.minimum(lengths[found["query"]], lengths[found["target"]])
        found = found[found["score"] >= least * shorter]
    found = found.sort_values(["query", "score", "target"], ascending=[True, False, True])
    found["rank"] = found.groupby("query").cumcount()
    found = found.sort_values(["rank", "query"])
    pairs = np.sort(found[["query", "target"]].to_numpy(dtype=np.int64), axis=1)
    _, first = np.unique(pairs @ np.array([len(sequences), 1]), return_index=True)
    return np.asarray(pairs[np.sort(first)])


def scored(threshold: float) -> float:
    """The ungapped score for each letter of the shorter sequence below which a pair is not worth its alignment.

    Proteins that are much alike share long stretches without a gap. Of 600 proteins of DeepLoc 2.0 against all of
    them, every candidate longer than 150 letters at or above 25, 30 and 40 % identity scored at least 0.045, 0.147
    and 0.173 a letter (local80; under needle at least as much). What is asked for here, 0.04, 0.08 and 0.08, spares
    at 30 % more than half of the cells.
    """
    return min(0.08, max(0.0, 0.8 * (threshold - 0.2)))


def likely(sequences: Sequence[str], folds: Pairs, **options: bool | float) -> Pairs:
    """The pairs `proposed` (same options) whose sequences are in different folds, (N,) numbers."""
    pairs = proposed(sequences, **options)  # type: ignore[arg-type]
    return np.asarray(pairs[folds[pairs[:, 0]] != folds[pairs[:, 1]]])


def _protein(here: Path, fasta: Path, options: list[str]) -> Path:
    """query, target, ungapped score of what passes the prefilter."""
    mmseqs, db, passed, hits = str(homology.mmseqs()), str(here / "db"), str(here / "passed"), here / "hits.tsv"
    # One name a row: MMseqs2 numbers its entries on its own terms, and createtsv gives the names back.
    homology.run([mmseqs, "createdb", str(fasta), db, "--dbtype", "1", "-v", "1"])
    homology.run([mmseqs, "prefilter", db, db, passed, *options])
    homology.run([mmseqs, "createtsv", db, db, passed, str(hits), "-v", "1"])
    return hits


def _nucleotide(here: Path, fasta: Path, both_strands: bool, options: list[str]) -> Path:
    """query, target, bits; the search turns strands, which its prefilter alone does not."""
    hits = here / "hits.tsv"
    files = [str(fasta), str(fasta), str(hits), str(here / "tmp")]
    kind = ["--dbtype", "2", "--search-type", "3", "--strand", "2" if both_strands else "1", "-e", "100"]
    options = options if "-k" in options else [*options, *homology.SEEDS]
    answer = ["--alignment-mode", "1", "--format-output", "query,target,bits"]
    homology.run([str(homology.mmseqs()), "easy-search", *files, *kind, *answer, *options])
    return hits
