"""Pairs that are likely to be alike, by MMseqs2's most sensitive search: candidates, not identities."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import homology

# No masking and no correction for composition: a biased region is what two sequences can share as well.
SENSITIVE = ["-s", "7.5", "--max-seqs", "1000", "-e", "100", "--mask", "0", "--comp-bias-corr", "0"]


def likely(
    sequences: Sequence[str],
    folds: NDArray[np.int64],
    *,
    nucleotide: bool = False,
    both_strands: bool = False,
    threads: int = 1,
) -> NDArray[np.int64]:
    """Pairs of rows of different folds that MMseqs2 finds, (P, 2), lower row first.

    Each pair once: first the best hit of every sequence, then every second best, and so on.
    """
    with tempfile.TemporaryDirectory(prefix="unrolled-search-") as folder:
        here = Path(folder)
        fasta, hits = here / "all.fasta", here / "hits.tsv"
        fasta.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(sequences)), encoding="ascii")
        kind = ["--search-type", "3", "--strand", "2" if both_strands else "1"] if nucleotide else []
        files = [str(fasta), str(fasta), str(hits), str(here / "tmp")]
        command = [str(homology.mmseqs()), "easy-search", *files, *SENSITIVE, *kind]
        score_only = ["--alignment-mode", "1", "--format-output", "query,target,bits"]
        homology.run([*command, *score_only, "--threads", str(threads), "-v", "1"])
        if hits.stat().st_size == 0:
            return np.empty((0, 2), dtype=np.int64)
        found = pd.read_csv(hits, sep="\t", header=None, names=["query", "target", "bits"])
    found = found[folds[found["query"]] != folds[found["target"]]]
    found = found.sort_values(["query", "bits", "target"], ascending=[True, False, True])
    found["rank"] = found.groupby("query").cumcount()
    found = found.sort_values(["rank", "query"])
    pairs = np.sort(found[["query", "target"]].to_numpy(dtype=np.int64), axis=1)
    _, first = np.unique(pairs @ np.array([len(sequences), 1]), return_index=True)
    return np.asarray(pairs[np.sort(first)])
