"""Baselines whose answers are sequences: what a decoder must beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled import homology
from unrolled.answers import Decoded
from unrolled.definitions import strands

Codes = NDArray[np.int64]  # (T' + 1,) symbols 1..K of a target, and 0, its end
Floats = NDArray[np.float64]


class PlaceMajority:
    """The commonest symbol at each place of the training targets, as many as their median length; never the input.

    p(y_t) are the shares of symbols and end at place t among the targets that reach it, smoothed by their shares at
    all places.

    Args:
        outputs: K + 1, the end among them.
    """

    WEIGHT = 1.0  # of the shares at all places, in targets

    def __init__(self, outputs: int):
        self.outputs, self.parameters = outputs, 0

    def fit(self, train: list[str], y: list[Codes], validation: list[str], y_validation: list[Codes]) -> None:
        counts = np.zeros((max(map(len, y)), self.outputs))
        for target in y:
            np.add.at(counts, (np.arange(len(target)), target), 1)
        self.shares = (counts.sum(axis=0) + 1) / (counts.sum() + self.outputs)
        smoothed = counts + self.WEIGHT * self.shares
        self.p = smoothed / smoothed.sum(axis=1, keepdims=True)  # (places, K + 1)
        length = int(np.median([len(target) - 1 for target in y]))
        self.said = 1 + counts[:length, 1:].argmax(axis=1)
        self.parameters = self.p.size

    def answer(self, sequences: Sequence[str], y: Sequence[Codes]) -> list[Decoded]:
        own = self.log_likelihood(np.append(self.said, 0))
        return [Decoded(self.said, self.log_likelihood(target), own) for target in y]

    def log_likelihood(self, target: Codes) -> float:
        """Of a target and its end, in nats; behind the places seen in training the shares at all places count."""
        known, beyond = target[: len(self.p)], target[len(self.p) :]
        seen = np.log(self.p[np.arange(len(known)), known]).sum()
        return float(seen + np.log(self.shares[beyond]).sum())


class NearestTarget:
    """The target of the nearest training sequence by MMseqs2.

    A share `doubt` of the belief stays with `PlaceMajority`, chosen from `GRID` by the likelihood of the validation
    fold. Where no training sequence is found, that is all there is.
    """

    GRID = (0.01, 0.03, 0.1, 0.3, 1.0)

    def __init__(self, outputs: int, strands: int = 0):
        self.majority, self.strands, self.parameters = PlaceMajority(outputs), strands, 0

    def fit(self, train: list[str], y: list[Codes], validation: list[str], y_validation: list[Codes]) -> None:
        self.train, self.y = train, y
        self.majority.fit(train, y, validation, y_validation)
        rows = self._nearest(validation)

        def likelihood(doubt: float) -> float:
            pairs = zip(rows, y_validation, strict=True)
            return sum(self._log_likelihood(row, target, doubt) for row, target in pairs)

        self.doubt = max(self.GRID, key=likelihood)

    def answer(self, sequences: Sequence[str], y: Sequence[Codes]) -> list[Decoded]:
        rows = self._nearest(sequences)
        said = [self.y[row] if row >= 0 else np.append(self.majority.said, 0) for row in rows]
        return [
            Decoded(
                mine[:-1], self._log_likelihood(row, target, self.doubt), self._log_likelihood(row, mine, self.doubt)
            )
            for row, mine, target in zip(rows, said, y, strict=True)
        ]

    def _nearest(self, sequences: Sequence[str]) -> NDArray[np.int64]:
        """Row of the nearest training sequence of each, -1 where none is found."""
        return homology.best_hits(list(sequences), self.train, strands=self.strands)

    def _log_likelihood(self, row: int, target: Codes, doubt: float) -> float:
        """Of a target: (1 - doubt) [target is that of the row] + doubt p(target)."""
        base = self.majority.log_likelihood(target)
        if row < 0:
            return base
        hit = np.log1p(-doubt) if doubt < 1 and np.array_equal(self.y[row], target) else -np.inf
        return float(np.logaddexp(hit, np.log(doubt) + base))


def build(card: dict[str, Any], outputs: int, data: dict[str, Any]) -> PlaceMajority | NearestTarget:
    """The baseline that a model card names, for K + 1 outputs and the inputs of a data card."""
    if card["estimator"] == "besthit":
        return NearestTarget(outputs, strands(data))
    return PlaceMajority(outputs)
