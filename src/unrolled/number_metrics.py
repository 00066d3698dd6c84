"""Metrics of predicted numbers, under R rows of sample weights (R, N) as those of metrics.py."""

from dataclasses import dataclass

import numpy as np

from unrolled.weighted import TINY, Array, average, correlation, ratio

ROUNDING = 1e-7  # of the truth's range: answers that differ by less are one, as networks compute in 32 bits


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
    share = _shares(W)
    truth, size = _standing(np.broadcast_to(scores.truth, W.shape), share)
    error = np.divide(scores.predicted - scores.truth, size, out=np.zeros(W.shape), where=size > 0)
    variance = (share * truth**2).sum(1)
    return np.where(variance > TINY, 1 - ratio((share * error**2).sum(1), variance), np.nan)


def pearson(scores: NumberScores, W: Array) -> Array:
    """Pearson's correlation; 0 for a constant answer, NaN for a constant truth."""
    shape = W.shape
    return _pearson(np.broadcast_to(_said(scores), shape), np.broadcast_to(scores.truth, shape), W)


def spearman(scores: NumberScores, W: Array) -> Array:
    """Spearman's correlation: Pearson's of the mid-ranks, in which a weight of 2 is two sequences."""
    return _pearson(_ranks(_said(scores), W), _ranks(scores.truth, W), W)


def _said(scores: NumberScores) -> Array:
    """The answers (N,), all the same where they differ by rounding alone: noise has no correlation."""
    said = scores.predicted
    return said if np.ptp(said) > ROUNDING * np.ptp(scores.truth) else np.full(said.shape, said[0])


def _pearson(x: Array, y: Array, W: Array) -> Array:
    """Weighted correlation of rows: three times (R, N) -> (R,)."""
    share = _shares(W)
    x, y = _standing(x, share)[0], _standing(y, share)[0]
    return correlation((share * x * y).sum(1), (share * y**2).sum(1), (share * x**2).sum(1))


def _shares(W: Array) -> Array:
    """Weights (R, N) as shares of their row's; NaN where there is no weight."""
    return ratio(W, np.broadcast_to(W.sum(1, keepdims=True), W.shape))


def _standing(values: Array, share: Array) -> tuple[Array, Array]:
    """Deviations from the mean over the largest of them, (R, N), and that one, (R, 1): whatever the unit, 1 at most.

    Equal numbers have none at all, as what each is taken from first is one of them: a mean may be rounded.
    """
    first = (share > 0).argmax(1)[:, None]
    values = values - np.take_along_axis(values, first, axis=1)
    values = values - np.where(share > 0, share * values, 0.0).sum(1, keepdims=True)
    size = np.abs(values).max(1, initial=0, where=share > 0, keepdims=True)
    return np.divide(values, size, out=np.zeros(values.shape), where=size > 0), size


def _ranks(values: Array, W: Array) -> Array:
    """Weighted mid-ranks (R, N): equals share the mean of their places."""
    _, codes = np.unique(values, return_inverse=True)
    weight = np.zeros((len(W), int(codes.max(initial=-1)) + 1))
    np.add.at(weight.T, codes, W.T)
    ranks: Array = (np.cumsum(weight, axis=1) - weight / 2)[:, codes]
    return ranks
