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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BINS = 10  # equal-width confidence bins of the calibration error, (0, 0.1], (0.1, 0.2] ... (0.9, 1]
CLIP = float(np.finfo(np.float32).eps)  # 1.19e-7: predictions are float32, nearer to 0 or 1 is rounding
TINY = 1e-12  # a share of weight or a variance below this is rounding, not data


@dataclass(frozen=True)
class Scores:
    """What a model said about N sequences and K classes, and what is true; made by `decide`."""

    task: str
    p: Array  # (N, K) probabilities
    truth: Bools  # (N, K) one-hot rows if multiclass
    chosen: Bools  # (N, K) the decisions


Metric = Callable[[Scores, Array], Array]


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


def measure(scores: Scores, W: Array) -> dict[str, Array]:
    """Every metric of the task under R rows of weights (R, N): name -> (R,)."""
    return {name: metric(scores, W) for name, metric in METRICS[scores.task].items()}


# --- Arithmetic ---


def _ratio(a: Array, b: Array, empty: float = np.nan) -> Array:
    """a / b; `empty` where b is 0, NaN where b is NaN."""
    out = np.where(np.isnan(b), np.nan, empty) + np.zeros_like(a)
    return np.divide(a, b, out=out, where=b > TINY)


def _mean_defined(x: Array) -> Array:
    """Mean over the last axis without the NaNs; NaN where there is nothing else."""
    return _ratio(np.nansum(x, -1), (~np.isnan(x)).sum(-1).astype(np.float64))


def _average(values: npt.ArrayLike, W: Array) -> Array:
    """Weighted mean over sequences: (N,) or (N, K) and (R, N) -> (R,) or (R, K)."""
    x = np.asarray(values, np.float64)
    total = W.sum(1).reshape(-1, *[1] * (x.ndim - 1))
    return _ratio(W @ x, np.broadcast_to(total, (len(W), *x.shape[1:])))


def _shares(scores: Scores, W: Array) -> tuple[Array, Array, Array]:
    """Shares of the weight where a class is true and chosen, true, chosen: three times (R, K)."""
    hit = scores.truth & scores.chosen
    both = _average(np.hstack([hit, scores.truth, scores.chosen]), W)
    hits, true, chosen = np.split(both, 3, axis=1)
    return hits, true, chosen


def _correlation(covariance: Array, true: Array, chosen: Array) -> Array:
    """Covariance over the root of two variances; 0 for a constant choice, NaN for a constant truth."""
    variance = np.where((true > TINY) & (chosen > TINY), true * chosen, 0 * covariance)
    return np.where(true > TINY, _ratio(covariance, np.sqrt(variance), 0.0), np.nan)


def binary_mcc(hits: Array, true: Array, chosen: Array) -> Array:
    """Matthews correlation of one class against the rest, from shares (Matthews 1975)."""
    return _correlation(hits - true * chosen, true * (1 - true), chosen * (1 - chosen))


# --- Metrics of decisions ---


def accuracy(scores: Scores, W: Array) -> Array:
    """Share of sequences decided exactly right (multilabel: the whole set of labels)."""
    return _average((scores.truth == scores.chosen).all(1), W)


def balanced_accuracy(scores: Scores, W: Array) -> Array:
    """Mean recall over the classes that occur."""
    hits, true, _ = _shares(scores, W)
    return _mean_defined(_ratio(hits, true))


def macro_f1(scores: Scores, W: Array) -> Array:
    """Mean F1 over the classes that are true or chosen somewhere."""
    hits, true, chosen = _shares(scores, W)
    return _mean_defined(_ratio(2 * hits, true + chosen))


def micro_f1(scores: Scores, W: Array) -> Array:
    """F1 over all label decisions pooled; 0 where no label is true or chosen."""
    hits, true, chosen = _shares(scores, W)
    return _ratio(2 * hits.sum(1), (true + chosen).sum(1), 0.0)


def jaccard(scores: Scores, W: Array) -> Array:
    """Mean over sequences of shared labels / all labels, true or chosen; 0 where both sets are empty."""
    shared = (scores.truth & scores.chosen).sum(1).astype(np.float64)
    return _average(_ratio(shared, (scores.truth | scores.chosen).sum(1).astype(np.float64), 0.0), W)


def multiclass_mcc(scores: Scores, W: Array) -> Array:
    """R_K, Matthews' correlation for K classes (Gorodkin 2004); 0 where truth or choice is constant."""
    hits, true, chosen = _shares(scores, W)
    covariance = hits.sum(1) - (true * chosen).sum(1)
    r = _correlation(covariance, 1 - (true**2).sum(1), 1 - (chosen**2).sum(1))
    return np.where(np.isnan(r), 0 * covariance, r)  # scikit-learn's 0 for a constant truth, NaN for no weight


def multilabel_mcc(scores: Scores, W: Array) -> Array:
    """Mean over labels of their Matthews correlations, the way DeepLoc 2.0 reports them label by label."""
    return _mean_defined(binary_mcc(*_shares(scores, W)))


# --- Metrics of probabilities ---


def auroc(scores: Scores, W: Array) -> Array:
    """Area under the ROC curve, one class against the rest, mean over the classes with both outcomes."""
    return _mean_defined(class_auroc(scores, W))


def class_auroc(scores: Scores, W: Array) -> Array:
    """The AUROC of each class: (R, K), NaN for a class with one outcome."""
    Wt = np.ascontiguousarray(W.T)
    return np.stack([_auroc(p, y, Wt) for p, y in zip(scores.p.T, scores.truth.T, strict=True)], axis=1)


def _auroc(p: Array, y: Bools, Wt: Array) -> Array:
    """P(a positive scores above a negative) + half of P(equal): (N,), (N,), (N, R) -> (R,).

    By weighted mid-ranks: a positive beats the weight ranked below it, positives included. Among themselves
    the positives share their P * P comparisons equally, so P * P / 2 is taken off: one sort and one
    cumulative sum are enough.
    """
    order = np.argsort(p, kind="stable")
    below = np.zeros((len(p) + 1, Wt.shape[1]))
    for rank, i in enumerate(order):  # three times as fast as np.cumsum(Wt[order], axis=0)
        np.add(below[rank], Wt[i], out=below[rank + 1])
    first, last = np.searchsorted(p[order], p[y], "left"), np.searchsorted(p[order], p[y], "right")
    positives = Wt[y]  # (P, R)
    wins = np.einsum("ir,ir->r", positives, below[first] + below[last]) / 2
    weight = positives.sum(0)
    return _ratio(wins - weight**2 / 2, weight * (below[-1] - weight))


def multiclass_log_loss(scores: Scores, W: Array) -> Array:
    """Mean negative log probability of the true class in nats, probabilities clipped to [CLIP, 1 - CLIP]."""
    true = (scores.p * scores.truth).sum(1)
    return _average(-np.log(np.clip(true, CLIP, 1 - CLIP)), W)


def multilabel_log_loss(scores: Scores, W: Array) -> Array:
    """Mean binary log loss over sequences and labels in nats, clipped to [CLIP, 1 - CLIP]."""
    true = np.where(scores.truth, scores.p, 1 - scores.p)
    return _average(-np.log(np.clip(true, CLIP, 1 - CLIP)).mean(1), W)


def ece(scores: Scores, W: Array) -> Array:
    """Expected calibration error: |accuracy - confidence| of the bins, weighted by size (Guo et al. 2017)."""
    confidence, correct, bins = _confidence(scores)
    gap = [np.where(bins == b, correct - confidence, 0.0).mean(1) for b in range(BINS)]
    total: Array = np.abs(_average(np.stack(gap, axis=1), W)).sum(1)
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
    """n, precision, recall, f1, mcc, auroc of each class against the rest: each (K,)."""
    W = np.ones((1, len(scores.p)))
    hits, true, chosen = (share[0] for share in _shares(scores, W))
    return {
        "n": scores.truth.sum(0).astype(np.float64),
        "precision": _ratio(hits, chosen, 0.0) + np.where(true + chosen > 0, 0.0, np.nan),
        "recall": _ratio(hits, true),
        "f1": _ratio(2 * hits, true + chosen),
        "mcc": binary_mcc(hits, true, chosen),
        "auroc": class_auroc(scores, W)[0],
    }


def calibration(scores: Scores) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and number of decisions of each bin that is not empty."""
    confidence, correct, bins = _confidence(scores)
    filled = [bins == b for b in np.unique(bins)]
    return [(float(confidence[b].mean()), float(correct[b].mean()), int(b.sum())) for b in filled]


METRICS: dict[str, dict[str, Metric]] = {
    "multiclass": {
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "macro_f1": macro_f1,
        "mcc": multiclass_mcc,
        "auroc": auroc,
        "log_loss": multiclass_log_loss,
        "ece": ece,
    },
    "multilabel": {
        "accuracy": accuracy,
        "jaccard": jaccard,
        "micro_f1": micro_f1,
        "macro_f1": macro_f1,
        "mcc": multilabel_mcc,
        "auroc": auroc,
        "log_loss": multilabel_log_loss,
        "ece": ece,
    },
}

LOWER_IS_BETTER = ("log_loss", "ece")
HIGHER_IS_BETTER = {name: name not in LOWER_IS_BETTER for metrics in METRICS.values() for name in metrics}
