"""Weighted classification metrics: every one takes R rows of sample weights and answers with R numbers.

A metric is `f(scores, W) -> (R,)`, where row r of `W` (R, N) says how often each of the N sequences counts. A
row of ones is the plain metric; a row of bootstrap counts is one resample. The weights cost least when
`W.T` is contiguous.

Conventions: what the model fails to do counts 0, as in scikit-learn with `zero_division=0` (a class never
chosen has precision 0, a constant answer has MCC 0). What the data cannot show is left out of means over
classes: a class without members has no recall, one with a single outcome no AUROC and no MCC, one neither
true nor chosen no F1. So a resample that happens to miss a rare class is not punished for it. With no weight
at all, or with nothing left to average, the answer is NaN.

>>> truth = np.array([[True, False], [True, False]])
>>> scores = decide("multiclass", np.array([[0.9, 0.1], [0.4, 0.6]]), truth)
>>> accuracy(scores, np.array([[1.0, 1.0], [3.0, 1.0]])).tolist()
[0.5, 0.75]
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from unrolled.areas import areas
from unrolled.weighted import Array, average, correlation, kept, mean_defined, ratio

Bools = npt.NDArray[np.bool_]

BINS = 10  # equal-width confidence bins of the calibration error, (0, 0.1], (0.1, 0.2] ... (0.9, 1]
Shares = tuple[Array, Array, Array]
CLIP = float(np.finfo(np.float32).eps)  # 1.19e-7: predictions are float32, nearer to 0 or 1 is rounding


@dataclass(frozen=True)
class Scores:
    """What a model said about N sequences and K classes, and what is true; made by `decide`."""

    task: str
    p: Array  # (N, K) probabilities
    truth: Bools  # (N, K) one-hot rows if multiclass
    chosen: Bools  # (N, K) the decisions

    @property
    def n(self) -> int:
        """N, the number of sequences that are weighted."""
        return len(self.p)

    @kept
    def shares(self, W: Array) -> Shares:
        """Shares of the weight where a class is true and chosen, true, chosen: three times (R, K)."""
        hit = self.truth & self.chosen
        both = average(np.hstack([hit, self.truth, self.chosen]), W)
        hits, true, chosen = np.split(both, 3, axis=1)
        return hits, true, chosen

    @kept
    def areas(self, W: Array) -> tuple[Array, Array]:
        """AUROC and average precision of each class against the rest: twice (R, K), NaN for one with one outcome."""
        Wt = np.ascontiguousarray(W.T)
        each = [areas(p, y, Wt) for p, y in zip(self.p.T, self.truth.T, strict=True)]
        roc, precision = np.array(each).reshape(-1, 2, len(W)).transpose(1, 2, 0)
        return roc, precision


class Decided(Protocol):
    """Decisions about classes, of sequences or of positions."""

    def shares(self, W: Array) -> Shares: ...


def decide(task: str, p: Array, truth: Bools, thresholds: Array | None = None) -> Scores:
    """Turn probabilities (N, K) into decisions.

    Multiclass: the most probable class, the first of several equal ones. Multilabel: every class whose
    probability reaches its threshold (K,), 0.5 if none are given.
    """
    if task == "multiclass":
        chosen = np.arange(p.shape[1]) == p.argmax(1)[:, None]
    else:
        chosen = p >= (0.5 if thresholds is None else thresholds)
    return Scores(task, p.astype(np.float64), truth, chosen)


def binary_mcc(hits: Array, true: Array, chosen: Array) -> Array:
    """Matthews correlation of one class against the rest, from shares (Matthews 1975)."""
    return correlation(hits - true * chosen, true * (1 - true), chosen * (1 - chosen))


# --- Metrics of decisions ---


def accuracy(scores: Scores, W: Array) -> Array:
    """Share of sequences decided exactly right (multilabel: the whole set of labels)."""
    return average((scores.truth == scores.chosen).all(1), W)


def balanced_accuracy(scores: Decided, W: Array) -> Array:
    """Mean recall over the classes that occur."""
    hits, true, _ = scores.shares(W)
    return mean_defined(ratio(hits, true))


def macro_f1(scores: Decided, W: Array) -> Array:
    """Mean F1 over the classes that are true or chosen somewhere."""
    hits, true, chosen = scores.shares(W)
    return mean_defined(ratio(2 * hits, true + chosen))


def micro_f1(scores: Decided, W: Array) -> Array:
    """F1 over all label decisions pooled; 0 where no label is true or chosen."""
    hits, true, chosen = scores.shares(W)
    return ratio(2 * hits.sum(1), (true + chosen).sum(1), 0.0)


def jaccard(scores: Scores, W: Array) -> Array:
    """Mean over sequences of shared labels / all labels, true or chosen; 0 where both sets are empty."""
    shared = (scores.truth & scores.chosen).sum(1).astype(np.float64)
    return average(ratio(shared, (scores.truth | scores.chosen).sum(1).astype(np.float64), 0.0), W)


def multiclass_mcc(scores: Decided, W: Array) -> Array:
    """R_K, Matthews' correlation for K classes (Gorodkin 2004); 0 where truth or choice is constant."""
    hits, true, chosen = scores.shares(W)
    covariance = hits.sum(1) - (true * chosen).sum(1)
    r = correlation(covariance, 1 - (true**2).sum(1), 1 - (chosen**2).sum(1))
    return np.where(np.isnan(r), 0 * covariance, r)  # scikit-learn's 0 for a constant truth, NaN for no weight


def multilabel_mcc(scores: Decided, W: Array) -> Array:
    """Mean over labels of their Matthews correlations, the way DeepLoc 2.0 reports them label by label."""
    return mean_defined(binary_mcc(*scores.shares(W)))


# --- Metrics of probabilities ---


def auroc(scores: Scores, W: Array) -> Array:
    """Area under the ROC curve, one class against the rest, mean over the classes with both outcomes."""
    return mean_defined(scores.areas(W)[0])


def auprc(scores: Scores, W: Array) -> Array:
    """Average precision, one class against the rest, mean over the classes with both outcomes."""
    return mean_defined(scores.areas(W)[1])


def multiclass_log_loss(scores: Scores, W: Array) -> Array:
    """Mean negative log probability of the true class in nats, probabilities clipped to [CLIP, 1 - CLIP]."""
    true = (scores.p * scores.truth).sum(1)
    return average(-np.log(np.clip(true, CLIP, 1 - CLIP)), W)


def multilabel_log_loss(scores: Scores, W: Array) -> Array:
    """Mean binary log loss over sequences and labels in nats, clipped to [CLIP, 1 - CLIP]."""
    true = np.where(scores.truth, scores.p, 1 - scores.p)
    return average(-np.log(np.clip(true, CLIP, 1 - CLIP)).mean(1), W)


def ece(scores: Scores, W: Array) -> Array:
    """Expected calibration error: |accuracy - confidence| of the bins, weighted by size (Guo et al. 2017)."""
    confidence, correct, bins = _confidence(scores)
    gap = [np.where(bins == b, correct - confidence, 0.0).mean(1) for b in range(BINS)]
    total: Array = np.abs(average(np.stack(gap, axis=1), W)).sum(1)
    return total


def _confidence(scores: Scores) -> tuple[Array, Bools, npt.NDArray[np.intp]]:
    """Confidence, correctness and bin of each decision: (N, 1) top classes or (N, K) label decisions."""
    confidence: Array = np.where(scores.chosen, scores.p, 1 - scores.p)
    correct = scores.truth == scores.chosen
    if scores.task == "multiclass":
        confidence, correct = scores.p.max(1, keepdims=True), correct.all(1, keepdims=True)
    return confidence, np.asarray(correct), confidence_bin(confidence)


def confidence_bin(confidence: Array) -> npt.NDArray[np.intp]:
    """The bin 0 .. BINS-1 of each confidence; a bin includes its upper edge."""
    return np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)


# --- Tables of one set of predictions, unweighted ---


def confusion(scores: Scores) -> npt.NDArray[np.int64]:
    """Counts (K, K): actual class by row, chosen class by column (multiclass)."""
    return scores.truth.T.astype(np.int64) @ scores.chosen.astype(np.int64)


def class_table(scores: Scores) -> dict[str, Array]:
    """n, precision, recall, f1, mcc, auroc, auprc of each class against the rest: each (K,)."""
    n, once = scores.truth.sum(0).astype(np.float64), np.ones((1, scores.n))
    areas = {name: area[0] for name, area in zip(("auroc", "auprc"), scores.areas(once), strict=True)}
    return {"n": n, **rates(scores, scores.n), **areas}


def rates(scores: Decided, n: int) -> dict[str, Array]:
    """precision, recall, f1, mcc of each class against the rest, each of n counting once: each (K,)."""
    hits, true, chosen = (share[0] for share in scores.shares(np.ones((1, n))))
    return {
        "precision": ratio(hits, chosen, 0.0) + np.where(true + chosen > 0, 0.0, np.nan),
        "recall": ratio(hits, true),
        "f1": ratio(2 * hits, true + chosen),
        "mcc": binary_mcc(hits, true, chosen),
    }


def calibration(scores: Scores) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and number of decisions of each bin that is not empty."""
    confidence, correct, bins = _confidence(scores)
    filled = [bins == b for b in np.unique(bins)]
    return [(float(confidence[b].mean()), float(correct[b].mean()), int(b.sum())) for b in filled]
