"""Pairs that are likely to be alike, by a sensitive search of MMseqs2: candidates, not identities.

For proteins its prefilter alone: it scores the best ungapped stretch of every sequence that shares similar k-mers
on one diagonal, and what passes is aligned exactly by whoever asked.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import homology

Pairs = NDArray[np.int64]

LONG = 80.0  # score of a pair that is worth its alignment however long it is
MOST = 300  # candidates of one sequence, at first
# No masking and no correction for composition: a biased region is what two sequences can share as well.
SENSITIVE = ["--mask", "0", "--comp-bias-corr", "0"]
# Nominal core-seconds of a residue at each sensitivity (-s), of samples of DeepLoc 2.0.
COST = {7.5: 1.1e-4, 6.5: 3.5e-5, 5.7: 2.5e-5}
MOST_SENSITIVE = max(COST)


class Options(TypedDict, total=False):
    """How `search` goes about it, for whoever passes them on."""

    nucleotide: bool
    both_strands: bool
    threads: int
    sensitivity: float
    settings: Sequence[str]


def seconds(sequences: Sequence[str], sensitivity: float, cores: int) -> float:
    """Predicted time of a search on so many cores; the same on every machine, so that it decides alike everywhere."""
    return COST[sensitivity] * sum(map(len, sequences)) / cores


def affordable(sequences: Sequence[str], budget: float, cores: int) -> float:
    """The highest sensitivity whose search is predicted to take at most `budget` seconds; the lowest if none is."""
    fitting = (s for s in COST if seconds(sequences, s, cores) <= budget)
    return max(fitting, default=min(COST))


def proposed(sequences: Sequence[str], *, least: float = 0.0, **options: Unpack[Options]) -> Pairs:
    """Pairs of rows that MMseqs2 finds, (P, 2), lower row first, each once.

    First comes the best candidate of every sequence, then every second best, and so on.

    Args:
        least: as `worth`.
    """
    rows = np.arange(len(sequences))
    return pairs(worth(search(sequences, rows, rows, **options), sequences, least))


def scored(threshold: float) -> float:
    """The ungapped score for each letter of the shorter sequence below which a pair is not worth its alignment.

    Proteins that are much alike share long stretches without a gap. Of 600 proteins of DeepLoc 2.0 against all of
    them, the 3,000 candidates of more than 80 letters at or above 30 % identity (local80) scored at least 0.147 a
    letter, all but the lowest at least 0.164; at or above 25 and 40 %, at least 0.045 and 0.173 (under needle, of
    more than 150 letters, at least as much). What is asked for here, 0.04, 0.11 and 0.11, spares at 30 % more than
    60 % of the cells.

    The longer sequences are, the more gaps divide them, and stretches grow no further: `LONG` is as much as is asked
    for. Of 270 proteins of more than 900 letters, 718 candidates at or above 30 % scored at least 129, but for one
    of 64; of those of more than 2,500 letters, 15 of 78 less than 0.11 a letter.
    """
    return min(0.11, max(0.0, 1.4 * threshold - 0.31))


def likely(
    sequences: Sequence[str], folds: Pairs, *, one_sided: bool = False, most: int = MOST, **options: Unpack[Options]
) -> Pairs:
    """Pairs of rows in different folds, (P, 2), ordered as by `proposed`.

    Of each sequence the best half of `most` candidates in other folds are there: where its own fold fills more than
    half of its list, it is searched for in the other folds alone. One-sided, only those of the last fold are searched
    for.
    """
    rows = np.arange(len(sequences))
    if one_sided:
        last = folds == folds.max()
        return pairs(search(sequences, rows[last], rows[~last], most=most, **options))
    found = search(sequences, rows, rows, most=most, **options)
    listed = np.bincount(found["query"], minlength=len(rows))
    found = found[folds[found["query"]] != folds[found["target"]]]
    crowded = (listed >= most - 1) & (np.bincount(found["query"], minlength=len(rows)) < most / 2)
    again = [
        search(sequences, rows[crowded & (folds == fold)], rows[folds != fold], most=most, **options)
        for fold in np.unique(folds[crowded])
    ]
    return pairs(pd.concat([found[~crowded[found["query"]]], *again]))


def search(
    sequences: Sequence[str],
    queries: Pairs,
    targets: Pairs,
    *,
    nucleotide: bool = False,
    both_strands: bool = False,
    threads: int = 1,
    sensitivity: float = MOST_SENSITIVE,
    settings: Sequence[str] = (),
    most: int = MOST,
) -> pd.DataFrame:
    """The best candidates of each query, the best first: query and target (rows), score, rank from 0.

    Args:
        queries, targets: rows of `sequences`.
        settings: further ones of MMseqs2's prefilter, such as `-k 5`.
        most: candidates of one query; itself counts.
    """
    with homology.scratch() as folder:
        here = Path(folder)
        for name, rows in (("queries", queries), ("targets", targets)):
            entries = (f">{i}\n{sequences[i]}\n" for i in rows.tolist())
            (here / name).write_text("".join(entries), encoding="ascii")
        options = ["-s", str(sensitivity), "--max-seqs", str(most), *SENSITIVE, *settings]
        options += ["--threads", str(threads), "-v", "1"]
        predicted = seconds([sequences[row] for row in queries], sensitivity, threads)
        if nucleotide:
            hits = _nucleotide(here, both_strands, options, predicted)
        else:
            hits = _protein(here, options, predicted)
        names = ["query", "target", "score"]
        if hits.stat().st_size == 0:
            return pd.DataFrame({name: np.empty(0, dtype=np.int64) for name in [*names, "rank"]})
        found = pd.read_csv(hits, sep="\t", header=None, usecols=[0, 1, 2], names=names)
    found = found[found["query"] != found["target"]]
    found = found.sort_values(["query", "score", "target"], ascending=[True, False, True], ignore_index=True)
    return found.assign(rank=found.groupby("query").cumcount())


def pairs(found: pd.DataFrame) -> Pairs:
    """Candidates of `search` as pairs of rows, (P, 2), lower row first, each once, by rank among those given."""
    found = found.assign(rank=found.groupby("query").cumcount()).sort_values(["rank", "query", "target"])
    both = np.sort(found[["query", "target"]].to_numpy(dtype=np.int64), axis=1)
    _, first = np.unique(both @ np.array([both.max(initial=0) + 1, 1]), return_index=True)
    return np.asarray(both[np.sort(first)])


def worth(found: pd.DataFrame, sequences: Sequence[str], least: float) -> pd.DataFrame:
    """Candidates of proteins that score so much for each letter of the shorter sequence, or `LONG` (`scored`)."""
    lengths = np.array([len(s) for s in sequences])
    shorter = lengths[found[["query", "target"]].to_numpy()].min(axis=1)
    kept: pd.DataFrame = found[found["score"] >= np.minimum(least * shorter, LONG)]
    return kept


def _protein(here: Path, options: list[str], predicted: float) -> Path:
    """query, target, ungapped score of what passes the prefilter."""
    mmseqs, passed, hits = str(homology.mmseqs()), str(here / "passed"), here / "hits.tsv"
    # One name a row: MMseqs2 numbers its entries on its own terms, and createtsv gives the names back.
    databases = [str(here / f"{name}.db") for name in ("queries", "targets")]
    for name, database in zip(("queries", "targets"), databases, strict=True):
        homology.run([mmseqs, "createdb", str(here / name), database, "--dbtype", "1", "-v", "1"])
    homology.run([mmseqs, "prefilter", *databases, passed, *options], predicted)
    homology.run([mmseqs, "createtsv", *databases, passed, str(hits), "-v", "1"])
    return hits


def _nucleotide(here: Path, both_strands: bool, options: list[str], predicted: float) -> Path:
    """query, target, bits; the search turns strands, which its prefilter alone does not."""
    hits = here / "hits.tsv"
    files = [str(here / "queries"), str(here / "targets"), str(hits), str(here / "tmp")]
    kind = ["--dbtype", "2", "--search-type", "3", "--strand", "2" if both_strands else "1", "-e", "100"]
    options = options if "-k" in options else [*options, *homology.SEEDS]
    answer = ["--alignment-mode", "1", "--format-output", "query,target,bits"]
    homology.run([str(homology.mmseqs()), "easy-search", *files, *kind, *answer, *options], predicted)
    return hits
