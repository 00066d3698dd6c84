"""What splits leak, and what it takes to make them so that they do not: `make bench-split`.

Every share of leaking sequences comes from all pairs at or above the threshold, each pair proved below it or aligned,
unless a row says otherwise; a split of ours has in addition its certificate, from an audit that aligns across folds
without the bounds that the split was made with. Where that is a search, the split was made with the same one among
others, so only the random sample and the third search speak of what searches miss. Size and class deviations are the
worst of all folds.
"""

import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import sections
import yaml
from memory import Watch

from unrolled import audit, balancing, candidates, homology, identity, neighbours, own
from unrolled import split as splits
from unrolled.definitions import DEFINITIONS
from unrolled.disjoint import disjoint
from unrolled.fetch import fetch
from unrolled.formats import read
from unrolled.tasks import named

# A folder laid out <data>/<file>, used instead of the internet where it is there.
MIRROR = Path(os.environ.get("MIRROR", "../shared/data"))
K, THREADS = 5, 2
THIRD_SEEDS = ("-k", "6", "--spaced-kmer-pattern", "1100100111")
CLUSTER = "mmseqs easy-cluster"
# Teufel et al. (2023) NAR Genomics and Bioinformatics 5:lqad088: % with a neighbour in another fold, kept.
PUBLISHED = {"CD-HIT": 32.1, "MMseqs2": 33.1, "GraphPart-mmseqs2": 5.84, "GraphPart-needle": 0.0}


@dataclass(frozen=True)
class Data:
    """A data set: its card and its table."""

    card: dict[str, Any]
    table: pd.DataFrame
    labels: np.ndarray  # (N, K)

    @classmethod
    def load(cls, name: str) -> "Data":
        """Download what the card names, or take it from the mirror."""
        card = yaml.safe_load(Path(f"config/data/{name}.yaml").read_text(encoding="utf-8"))
        folder, mirror = Path("results/raw") / name, str(MIRROR) if MIRROR.is_dir() else None
        for file in card["files"]:
            fetch(file["url"], folder / file["name"], sha256=file["sha256"], mirror=mirror, dataset=name)
        table, _ = read(card, name, [folder / file["name"] for file in card["files"]])
        return cls(card, table, named(card["task"]).strata(table["target"].tolist())[1])

    @property
    def nucleotide(self) -> bool:
        return bool(self.card["alphabet"] != "protein")

    def neighbours(self, definition: str, threshold: float) -> np.ndarray:
        """All pairs of rows at or above the threshold, exhaustively, (E, 2)."""
        found = neighbours.neighbours(
            self.table["sequence"].tolist(),
            DEFINITIONS[definition],
            threshold,
            both_strands=self.nucleotide,
            budget=math.inf,
            threads=THREADS,
        )
        return found.pairs

    def proposed(self, definition: str, threshold: float) -> np.ndarray:
        """The pairs of proteins at or above the threshold that a search with seeds of its own finds, (E, 2)."""
        sequences = self.table["sequence"].tolist()
        pairs = candidates.proposed(sequences, sensitivity=5.7, settings=THIRD_SEEDS, threads=THREADS)
        found = identity.identities(sequences, sequences, pairs, DEFINITIONS[definition], threads=THREADS)
        return pairs[found >= np.float32(threshold)]

    def ours(self, **request: Any) -> tuple[pd.Series, dict[str, Any], float]:
        """`unrolled split`: fold by id (-1: removed), certificate, seconds."""
        multilabel = self.card["task"] == "multilabel"
        asked = own.Request(folds=K, threads=THREADS, multilabel=multilabel, **request)
        started = time.perf_counter()
        frame = self.table.rename(columns={"target": "label"}).sort_values("id", ignore_index=True)
        made, certificate = own.split(frame, self.card["alphabet"], asked, say=_say)
        fold = made.folds.set_index("id")["fold"].fillna(-1).astype("int64")
        return fold.reindex(self.table["id"]), certificate, time.perf_counter() - started

    def clusters(self, identity: float) -> tuple[pd.Series, float]:
        """Whole clusters of `mmseqs easy-cluster` put into balanced folds: fold by id, seconds."""
        started = time.perf_counter()
        found = homology.cluster(
            self.table, identity=identity, coverage=0.8, nucleotide=self.nucleotide, threads=THREADS
        )
        made = splits.make_folds(self.table, {"group": "cluster", "folds": K}, self.card["task"], found)
        return made["fold"], time.perf_counter() - started

    def random(self) -> pd.Series:
        return splits.make_folds(self.table, {"group": "sequence", "folds": K}, self.card["task"])["fold"]

    def row(self, way: str, edges: dict[str, np.ndarray], fold: pd.Series, seconds: float | None = None) -> dict:
        """One row: what a split keeps, leaks and how even it is."""
        f = fold.to_numpy()
        even = balancing.evenness(balancing.loads(f, np.c_[np.ones(len(f)), self.labels].astype(float), K))
        row = {"split": way, "kept": int((f >= 0).sum()), "removed": int((f < 0).sum())}
        row |= {f"% leaking, {name}": 100 * _leaking(f, pairs) for name, pairs in edges.items()}
        row |= {"size, % off": 100 * even.size, "class share, points off": 100 * even.share, "seconds": seconds}
        return row | {"certificate": None, "goal": None, "met": None}


def _leaking(fold: np.ndarray, pairs: np.ndarray) -> float:
    """Share of the kept sequences with a neighbour in another fold."""
    a, b = fold[pairs[:, 0]], fold[pairs[:, 1]]
    crossing = pairs[(a >= 0) & (b >= 0) & (a != b)]
    return len(np.unique(crossing)) / int((fold >= 0).sum())


def _said(certificate: dict[str, Any]) -> str:
    return f"{certificate['above_threshold']} of {certificate['sequences']:,}, {certificate['method']}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def netgpi() -> list[dict]:
    """NetGPI at 30 %: ours under two definitions beside what everyone does and what is published."""
    data = Data.load("netgpi")
    edges = {name: data.neighbours(name, 0.3) for name in ("needle", "local80")}
    rows = [
        data.row("random", edges, data.random()),
        data.row(CLUSTER, edges, *data.clusters(0.3)),
    ]
    for definition, least in (("needle", 3608), ("local80", None)):
        fold, certificate, seconds = data.ours(threshold=0.3, definition=definition)
        row = data.row(f"unrolled split, {definition}", edges, fold, seconds)
        goal = f"0 {definition}, {f'kept >= {least:,}, ' if least else ''}5 %, 2 points, 300 s"
        met = certificate["above_threshold"] == 0 and certificate["method"] == "exhaustive"
        met = met and row["kept"] >= (least or 0)
        even = row["size, % off"] <= 5 and row["class share, points off"] <= 2
        rows.append(row | {"certificate": _said(certificate), "goal": goal, "met": met and even and seconds <= 300})
    for name, leak in PUBLISHED.items():
        kept = {"kept": 3608, "removed": 10} if name == "GraphPart-needle" else {"kept": None, "removed": None}
        rows.append(dict.fromkeys(rows[0]) | {"split": f"{name} (published)", "% leaking, needle": leak} | kept)
    return rows


def nrc() -> list[dict]:
    """nRC (RNA) at 80 %, both strands."""
    data = Data.load("nrc")
    edges = {"local80-nt": data.neighbours("local80-nt", 0.8)}
    rows = [
        data.row("random", edges, data.random()),
        data.row(CLUSTER, edges, *data.clusters(0.8)),
    ]
    fold, certificate, seconds = data.ours(threshold=0.8)
    row = data.row("unrolled split, local80-nt", edges, fold, seconds)
    met = certificate["above_threshold"] == row["% leaking, local80-nt"] == 0
    goal = "0 local80-nt, whatever the class shares"
    return [*rows, row | {"certificate": _said(certificate), "goal": goal, "met": met}]


def deeploc2() -> list[dict]:
    """All of DeepLoc 2.0 at 30 %: too many pairs for all to be aligned, so each row is its certificate.

    A search with seeds that neither our split nor its audit used says what both may have missed.
    """
    data = Data.load("deeploc2")
    fold, certificate, seconds = data.ours(threshold=0.3)
    rows = [_audited(data, "unrolled split, local80", fold, certificate, seconds)]
    rows[0] |= {"goal": "0 found, 3,600 s", "met": certificate["above_threshold"] == 0 and seconds <= 3600}
    clusters, _ = data.clusters(0.3)
    for way, each in (("published", data.table["partition"].astype(int)), (CLUSTER, clusters)):
        started = time.perf_counter()
        terms = audit.Terms.of_cards(data.card, {"identity": 0.3})
        placed = pd.DataFrame({"id": data.table["id"], "fold": each})
        certificate, _ = audit.certify(audit.folded(data.table, placed), terms, budget=300, threads=THREADS, say=_say)
        rows.append(_audited(data, way, each, certificate, time.perf_counter() - started))
    edges = data.proposed("local80", 0.3)
    for row, each in zip(rows, (fold, data.table["partition"].astype(int), clusters), strict=True):
        row["% leaking, local80, by a third search"] = 100 * _leaking(each.to_numpy(), edges)
    return rows


def _audited(data: Data, way: str, fold: pd.Series, certificate: dict[str, Any], seconds: float) -> dict:
    _say(f"{way}, {seconds:,.0f} s: {certificate['statement']}")  # seen even if a later row is stopped
    row = data.row(way, {}, fold, seconds)
    residual = certificate["residual"] or {"upper_pairs": 0}
    row |= {"certificate": _said(certificate), "% found leaking, local80": 100 * certificate["share_above"]}
    return row | {"further pairs at most (95 %)": residual["upper_pairs"]}


def growth() -> list[dict]:
    """Time and memory against N, on nested samples of DeepLoc 2.0; the last row is the exponent of a power law.

    The audit has none: beyond 120 s of alignments it is a search and a sample, and grows as the search.
    Every step is a process of its own; memory is the most that it and MMseqs2 below it held together.
    """
    data = Data.load("deeploc2")
    _grown(data, 50)  # compiles loops, once a machine
    rows = [_grown(data, n) for n in (500, 1000, 2000, 4000, 8000, 16000)]
    fitted: dict[str, Any] = {"N": "exponent"}
    for column in list(rows[0])[1:]:
        x, y = np.log(np.array([(row["N"], row[column]) for row in rows if row[column]], dtype=float)).T
        fitted[column] = None if "audit" in column else float(np.polyfit(x, y, 1)[0])
    return [{key: str(value) if key == "N" else value for key, value in row.items()} for row in [*rows, fitted]]


def _grown(data: Data, n: int) -> dict:
    chosen = np.sort(np.random.default_rng(0).permutation(len(data.table))[:n])
    table = data.table.iloc[chosen].sort_values("id")
    labels = data.labels[table.index]
    terms, sequences = audit.Terms.of_cards(data.card, {"identity": 0.3}), table["sequence"].tolist()
    row: dict[str, Any] = {"N": n, "pairs": n * (n - 1) // 2, "residues": int(table["sequence"].str.len().sum())}

    def alone(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        with multiprocessing.get_context("spawn").Pool(1) as pool, Watch(psutil.Process()) as watch:
            result, row[f"{name}, s"] = pool.apply(_timed, (work, arguments))
        row[f"{name}, MiB"] = watch.most
        return result

    whole = "neighbours of all pairs"
    row |= {f"{whole}, s": None, f"{whole}, MiB": None}
    if n <= 2000:
        alone(whole, _neighbours, sequences, terms, math.inf)
    found = alone("neighbours by search", _neighbours, sequences, terms, 0)
    kept = alone("folds", _folds, table["id"].tolist(), labels, found.pairs, found.identity)
    alone("audit (120 s at most to align)", _audit, table.reset_index(drop=True), kept, terms)
    return row


def _timed(work: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, float]:
    """What some work gives, and seconds."""
    started = time.perf_counter()
    return work(*arguments), time.perf_counter() - started


def _neighbours(sequences: list[str], terms: audit.Terms, budget: float) -> neighbours.Neighbours:
    return neighbours.neighbours(
        sequences, terms.definition, terms.threshold, budget=budget, threads=THREADS, say=_say
    )


def _folds(ids: list[str], labels: np.ndarray, pairs: np.ndarray, identity: np.ndarray) -> pd.DataFrame:
    return disjoint(ids, labels, pairs, identity, k=K, threads=THREADS).kept


def _audit(table: pd.DataFrame, kept: pd.DataFrame, terms: audit.Terms) -> None:
    audit.certify(audit.folded(table, kept), terms, budget=120, threads=THREADS)


SECTIONS: dict[str, sections.Section] = {
    "netgpi": ("NetGPI, 30 %, 5 folds", netgpi),
    "nrc": ("nRC (RNA, both strands), 80 %, 5 folds", nrc),
    "growth": ("How cost grows: samples of DeepLoc 2.0, 30 %, two threads", growth),
    "deeploc2": ("DeepLoc 2.0, all 28,303 proteins, 30 %, 5 folds", deeploc2),
}


if __name__ == "__main__":
    sections.main(__doc__, SECTIONS, "splits", "What splits leak", lambda _: f"MMseqs2 {homology.version()}.")
