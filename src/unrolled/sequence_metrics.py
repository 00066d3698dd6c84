"""Metrics of answers that are sequences, under R rows of sample weights (R, N) as in metrics.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from string import ascii_uppercase
from typing import Any

import numpy as np

from unrolled.weighted import Array, average, ratio


@dataclass(frozen=True)
class SequenceScores:
    """What N answers come to beside their targets; the end of a target is a token like its symbols."""

    task: str
    tokens: Array  # (N,) symbols of the target and its end
    right: Array  # (N,) how many of these stand at their place in the answer
    exact: Array  # (N,) 1 where answer and target are the same
    distance: Array  # (N,) edit distance by the length of the longer of both
    log_likelihood: Array  # (N,) nats, of the target's tokens

    @property
    def n(self) -> int:
        """N, the number of sequences that are weighted."""
        return len(self.tokens)


def judge(answers: Sequence[str], targets: Sequence[str], log_likelihood: Array) -> SequenceScores:
    """Compare N answers with their targets, upper-case letters; a target has one at least."""
    pairs = list(zip(answers, targets, strict=True))
    return SequenceScores(
        "transduction",
        tokens=np.array([len(target) + 1.0 for _, target in pairs]),
        right=np.array([float(_right(answer, target)) for answer, target in pairs]),
        exact=np.array([float(answer == target) for answer, target in pairs]),
        distance=np.array([edit_distance(*pair) / max(map(len, pair)) for pair in pairs]),
        log_likelihood=log_likelihood,
    )


def _right(answer: str, target: str) -> int:
    """Symbols that are the same at the same place, and the end if it is."""
    return sum(a == b for a, b in zip(answer, target, strict=False)) + (len(answer) == len(target))


def edit_distance(a: str, b: str) -> int:
    """Fewest insertions, deletions and replacements of letters A to Z that turn a into b (Levenshtein 1966).

    It is the negative score of the best global alignment in which each of these costs 1 (Sellers 1974).
    """
    if not a or not b:
        return len(a) + len(b)
    import parasail

    # Not `striped`, which is wrong where opening a gap costs no more than extending it (parasail 1.3.4).
    return -int(parasail.nw_scan_32(a, b, 1, 1, _unit_costs()).score)


@cache
def _unit_costs() -> Any:
    import parasail

    return parasail.matrix_create(ascii_uppercase, 0, -1)


def token_accuracy(scores: SequenceScores, W: Array) -> Array:
    """Share of all tokens that stand at their place in the answer."""
    return ratio(W @ scores.right, W @ scores.tokens)


def exact_match(scores: SequenceScores, W: Array) -> Array:
    """Share of the answers that are right from the first symbol to the end."""
    return average(scores.exact, W)


def edit_distance_by_length(scores: SequenceScores, W: Array) -> Array:
    """Mean edit distance by the length of the longer of answer and target: 0 the same, 1 nothing in common."""
    return average(scores.distance, W)


def bits_per_token(scores: SequenceScores, W: Array) -> Array:
    """Mean negative log2 likelihood of a token given those before it and the input, over all tokens."""
    bits: Array = ratio(W @ -scores.log_likelihood, W @ scores.tokens) / np.log(2)
    return bits
