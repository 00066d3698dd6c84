"""Gradient boosting on summaries of series: what anybody would do without a network.

Histogram-based trees (Ke et al. 2017, LightGBM) as scikit-learn has them; a summary that a series lacks is a missing
value, which they take as such. Nothing is drawn at random.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.choosing import loss
from unrolled.series import Series

Floats = NDArray[np.float64]

SUMMARIES = ("count", "mean", "min", "max", "first", "last", "slope")


def summaries(found: list[Series]) -> Floats:
    """(N, 7 d + 2): `SUMMARIES` of every variable of each series, its number of steps and its span of time.

    The slope is that of least squares over time, missing where fewer than two values were measured; all but the
    count are missing where none was.
    """
    return np.array([_summary(one) for one in found])


def _summary(one: Series) -> Floats:
    measured = np.isfinite(one.values)  # (T, d)
    n = measured.sum(axis=0)
    some = np.maximum(n, 1)
    values = np.where(measured, one.values, 0.0)
    times = np.where(measured, one.times[:, None], 0.0)
    mean, middle = values.sum(axis=0) / some, times.sum(axis=0) / some
    off, late = np.where(measured, values - mean, 0.0), np.where(measured, times - middle, 0.0)
    spread = np.square(late).sum(axis=0)
    slope = np.divide((late * off).sum(axis=0), spread, out=np.full(len(n), np.nan), where=(n > 1) & (spread > 0))
    low = np.where(measured, one.values, np.inf).min(axis=0)
    high = np.where(measured, one.values, -np.inf).max(axis=0)
    first = one.values[measured.argmax(axis=0), np.arange(len(n))]
    last = one.values[len(one) - 1 - measured[::-1].argmax(axis=0), np.arange(len(n))]
    known = np.stack([mean, low, high, first, last, slope])  # (6, d)
    known[:, n == 0] = np.nan
    return np.concatenate([n, known.ravel(), [len(one), one.times[-1] - one.times[0]]])


class Boosting:
    """Trees on `summaries`; their number is that with the lowest loss on the validation fold, at most `ROUNDS`."""

    ROUNDS, RATE, LEAVES, LEAST, PENALTY = 300, 0.05, 15, 20, 1.0

    def __init__(self, task: str):
        self.task, self.parameters = task, 0

    def fit(self, train: list[Series], y: NDArray[Any], validation: list[Series], y_validation: NDArray[Any]) -> None:
        """Fit to the training part (N, K); the validation part decides the number of rounds alone."""
        x = summaries(train)
        # What never varies in training tells nothing, and what is never there cannot be binned.
        self.telling = np.array([len(np.unique(column[np.isfinite(column)])) > 1 for column in x.T])
        self.shares = y.mean(axis=0)
        self.models = {j: self._fitted(x[:, self.telling], target) for j, target in self._targets(y)}
        tried = list(self._staged(validation))
        self.rounds = 1 + int(np.argmin([loss(p, y_validation, self.task) for p in tried]))
        self.parameters = sum(_leaves(model, self.rounds) for model in self.models.values())

    def answer(self, sequences: list[Series], y: Any) -> Any:
        """As `predict`: the targets y are of no use to it."""
        return self.predict(sequences)

    def predict(self, sequences: list[Series]) -> Floats:
        """(M, K)"""
        *_, last = itertools.islice(self._staged(sequences), self.rounds)
        return last

    def _targets(self, y: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """What each model is fitted to: -1 all classes or the number, j class j alone where it has both outcomes."""
        if self.task == "multilabel":
            yield from ((j, y[:, j]) for j in range(y.shape[1]) if 0 < self.shares[j] < 1)
        else:
            yield -1, y[:, 0] if self.task == "regression" else y.argmax(axis=1)

    def _fitted(self, x: Floats, target: NDArray[Any]) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kind = HistGradientBoostingRegressor if self.task == "regression" else HistGradientBoostingClassifier
        model = kind(
            max_iter=self.ROUNDS,
            learning_rate=self.RATE,
            max_leaf_nodes=self.LEAVES,
            min_samples_leaf=self.LEAST,
            l2_regularization=self.PENALTY,
            early_stopping=False,
            random_state=0,
        )
        return model.fit(x, target)

    def _staged(self, found: list[Series]) -> Iterator[Floats]:
        """(N, K) after 1, 2 ... ROUNDS rounds."""
        x = summaries(found)[:, self.telling]
        if self.task == "regression":
            yield from (p[:, None] for p in self.models[-1].staged_predict(x))
            return
        stages = {j: model.staged_predict_proba(x) for j, model in self.models.items()}
        for _ in range(self.ROUNDS):
            p = np.tile(self.shares, (len(x), 1))  # a class with one outcome in training keeps its share
            for j, stage in stages.items():
                if j < 0:
                    p = np.zeros_like(p)
                    p[:, self.models[j].classes_] = next(stage)
                else:
                    p[:, j] = next(stage)[:, 1]
            yield p


def _leaves(model: Any, rounds: int) -> int:
    return sum(tree.get_n_leaf_nodes() for stage in model._predictors[:rounds] for tree in stage)
