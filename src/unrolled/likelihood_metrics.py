"""Metrics of how likely sequences were thought to be, under R rows of sample weights (R, N) as in metrics.py."""

from dataclasses import dataclass

import numpy as np

from unrolled.weighted import Array, ratio


@dataclass(frozen=True)
class LikelihoodScores:
    """The log likelihood of N sequences."""

    task: str
    log_likelihood: Array  # (N,) nats, of all symbols and the end
    symbols: Array  # (N,) how many these are

    @property
    def n(self) -> int:
        """N, the number of sequences that are weighted."""
        return len(self.symbols)


def bits_per_residue(scores: LikelihoodScores, W: Array) -> Array:
    """Mean negative log2 likelihood of a symbol given those before it, over all symbols; a sequence's end is one."""
    bits: Array = ratio(W @ -scores.log_likelihood, W @ scores.symbols) / np.log(2)
    return bits


def perplexity(scores: LikelihoodScores, W: Array) -> Array:
    """2 to the bits per residue: among how many equally likely symbols the model was as much in doubt."""
    doubt: Array = np.exp2(bits_per_residue(scores, W))
    return doubt
