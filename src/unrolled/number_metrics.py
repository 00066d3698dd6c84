"""Metrics of predicted numbers, under R rows of sample weights (R, N) as those of metrics.py."""

from dataclasses import dataclass

import numpy as np

from unrolled.weighted import TINY, Array, average, correlation, ratio


@dataclass(frozen=True)
class NumberScores:
    """What a model said about N sequences, and what is true."""

    task: str
    predicted: Array  # (N,)
    truth: Array  # (N,)

    @property
    def n(self) -> int:
        """N, the number of sequences that are weighted."""
        return len(self.truth)


def rmse(scores: NumberScores, W: Array) -> Array:
    """Root of the mean squared error, in the target's unit."""
    return np.sqrt(average((scores.predicted - scores.truth) ** 2, W))


def mae(scores: NumberScores, W: Array) -> Array:
    """Mean absolute error, in the target's unit."""
    return average(np.abs(scores.predicted - scores.truth), W)


def r2(scores: NumberScores, W: Array) -> Array:
    """1 - squared error over the variance of the truth: 0 for the answer that is always the mean. NaN if constant."""
    error = average((scores.predicted - scores.truth) ** 2, W)
    mean = average(scores.truth, W)
    variance = average(scores.truth**2, W) - mean**2
    scale = np.maximum(mean**2, 1.0)
    return np.where(variance > TINY * scale, 1 - ratio(error, variance), np.nan)


def pearson(scores: NumberScores, W: Array) -> Array:
    """Pearson's correlation; 0 for a constant answer, NaN for a constant truth."""
    shape = W.shape
    return _pearson(np.broadcast_to(scores.predicted, shape), np.broadcast_to(scores.truth, shape), W)


def spearman(scores: NumberScores, W: Array) -> Array:
    """Spearman's correlation: Pearson's of the mid-ranks, in which a weight of 2 is two sequences."""
    return _pearson(_ranks(scores.predicted, W), _ranks(scores.truth, W), W)


def _pearson(x: Array, y: Array, W: Array) -> Array:
    """Weighted correlation of rows: three times (R, N) -> (R,)."""
    total = W.sum(1, keepdims=True)
    share = ratio(W, np.broadcast_to(total, W.shape))
    x, y = (v - (share * v).sum(1, keepdims=True) for v in (x, y))
    size = [np.abs(v).max(1, initial=0, where=W > 0, keepdims=True) for v in (x, y)]
    x, y = (ratio(v, np.broadcast_to(s, v.shape), 0.0) for v, s in zip((x, y), size, strict=True))
    return correlation((share * x * y).sum(1), (share * y**2).sum(1), (share * x**2).sum(1))


def _ranks(values: Array, W: Array) -> Array:
    """Weighted mid-ranks (R, N): equals share the mean of their places."""
    _, codes = np.unique(values, return_inverse=True)
    weight = np.zeros((len(W), int(codes.max(initial=-1)) + 1))
    np.add.at(weight.T, codes, W.T)
    ranks: Array = (np.cumsum(weight, axis=1) - weight / 2)[:, codes]
    return ranks
