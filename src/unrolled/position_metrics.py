"""Metrics of labels for every position; chains are weighted and resampled, because neighbours are not independent.

Q3 or Q8 of secondary structure is `accuracy`, over all scored positions together; `chain_accuracy` is its mean over
chains. Positions without a known label count nowhere. What a metric does without data is as in metrics.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from unrolled.metrics import BINS, CLIP, Shares, confidence_bin
from unrolled.weighted import Array, average, kept, ratio

Codes = npt.NDArray[np.int64]
Segment = tuple[int, int, int]  # class, first position, position behind the last


@dataclass(frozen=True)
class PositionScores:
    """What N chains with labels for K classes come to, summed over the scored positions of each."""

    task: str
    counts: Array  # (N, K, K) positions, actual class by row, chosen class by column
    sov: Array  # (N,)
    log_loss: Array  # (N,) nats
    confidence: Array  # (N, BINS) sum of the confidences of the positions in each bin
    correct: Array  # (N, BINS) how many of them are right
    filled: Array  # (N, BINS) how many there are

    @property
    def n(self) -> int:
        """N, the number of chains that are weighted."""
        return len(self.counts)

    @property
    def scored(self) -> Array:
        """(N,) scored positions of each chain."""
        total: Array = self.counts.sum((1, 2))
        return total

    @kept
    def shares(self, W: Array) -> Shares:
        """Shares of the weighted positions where a class is true and chosen, true, chosen: three times (R, K)."""
        K = self.counts.shape[1]
        shares = ratio(W @ self.counts.reshape(self.n, -1), W @ self.scored[:, None])
        shares = shares.reshape(-1, K, K)
        return np.diagonal(shares, axis1=1, axis2=2), shares.sum(2), shares.sum(1)


def judge(probabilities: Sequence[Array], truth: Sequence[Codes], K: int) -> PositionScores:
    """Compare N chains' probabilities (T, K) with their true classes (T,), -1 where none is known."""
    counts = np.zeros((len(truth), K, K))
    confidence, correct, filled = (np.zeros((len(truth), BINS)) for _ in range(3))
    overlap, loss = np.full(len(truth), np.nan), np.zeros(len(truth))
    for n, (p, y) in enumerate(zip(probabilities, truth, strict=True)):
        known = y >= 0
        chosen = np.where(known, p.argmax(1), -1)
        actual, said, sure = y[known], chosen[known], p[known].max(1)
        np.add.at(counts[n], (actual, said), 1)
        bins = confidence_bin(sure)
        confidence[n] = np.bincount(bins, sure, BINS)
        correct[n] = np.bincount(bins, actual == said, BINS)
        filled[n] = np.bincount(bins, minlength=BINS)
        loss[n] = -np.log(np.clip(p[known, actual], CLIP, 1)).sum()
        overlap[n] = segment_overlap(y, chosen)
    return PositionScores("labelling", counts, overlap, loss, confidence, correct, filled)


def segment_overlap(actual: Codes, chosen: Codes) -> float:
    """SOV of one chain, 0..1: actual and chosen class (T,) of each position, -1 where none is scored.

    Zemla, Venclovas, Fidelis, Rost (1999), Proteins 34:220-223: a predicted segment counts by how much of an actual
    one of its class it covers, give or take its ends. NaN for a chain without a scored position.
    """
    predicted = list(_segments(chosen))
    total, normal = 0.0, 0
    for kind, first, last in _segments(actual):
        meeting = [(a, b) for other, a, b in predicted if other == kind and a < last and b > first]
        normal += (last - first) * max(len(meeting), 1)
        for a, b in meeting:
            least, most = min(last, b) - max(first, a), max(last, b) - min(first, a)
            allowed = min(most - least, least, (last - first) // 2, (b - a) // 2)
            total += (least + allowed) / most * (last - first)
    return total / normal if normal else float("nan")


def _segments(classes: Codes) -> Iterator[Segment]:
    """Runs of one class, those of -1 left out."""
    start = 0
    for kind, run in groupby(classes.tolist()):
        end = start + sum(1 for _ in run)
        if kind >= 0:
            yield kind, start, end
        start = end


def accuracy(scores: PositionScores, W: Array) -> Array:
    """Share of the scored positions whose class is right: Q3 for three classes, Q8 for eight."""
    hits: Array = scores.shares(W)[0].sum(1)
    return hits


def chain_accuracy(scores: PositionScores, W: Array) -> Array:
    """Mean over chains of the share of positions that are right; a chain without scored positions counts nowhere."""
    right = np.trace(scores.counts, axis1=1, axis2=2)
    return _over_chains(ratio(right, scores.scored), W)


def sov(scores: PositionScores, W: Array) -> Array:
    """Mean over chains of the segment overlap."""
    return _over_chains(scores.sov, W)


def log_loss(scores: PositionScores, W: Array) -> Array:
    """Mean over positions of the negative log probability of the true class, in nats."""
    return ratio(W @ scores.log_loss, W @ scores.scored)


def ece(scores: PositionScores, W: Array) -> Array:
    """Expected calibration error over positions (see metrics.ece)."""
    gap: Array = np.abs(W @ (scores.correct - scores.confidence)).sum(1)
    return ratio(gap, W @ scores.scored)


def _over_chains(values: Array, W: Array) -> Array:
    known = ~np.isnan(values)
    return average(values[known], W[:, known])


def confusion(scores: PositionScores) -> npt.NDArray[np.int64]:
    """Positions (K, K): actual class by row, chosen class by column."""
    total: npt.NDArray[np.int64] = scores.counts.sum(0).astype(np.int64)
    return total


def calibration(scores: PositionScores) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and number of positions of each bin that is not empty."""
    sums = zip(scores.confidence.sum(0), scores.correct.sum(0), scores.filled.sum(0), strict=True)
    return [(float(c / n), float(r / n), int(n)) for c, r, n in sums if n]
