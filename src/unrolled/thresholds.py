"""Above which probability a label counts as predicted: chosen on validation sequences, never on test ones."""

import numpy as np

from unrolled.metrics import Bools, binary_mcc
from unrolled.weighted import TINY, Array


def choose_thresholds(p: Array, truth: Bools) -> Array:
    """Per label the threshold with the highest MCC on these sequences: (K,), as DeepLoc 2.0 chooses them.

    Source: Thumuluri et al. 2022. A threshold lies halfway between two neighbouring probabilities; of equally
    good ones the nearest to 0.5 wins. A label that has one outcome only, or that no threshold predicts better
    than chance, gets 0.5.
    """
    return np.array([_threshold(p[:, k].astype(np.float64), truth[:, k]) for k in range(p.shape[1])])


def _threshold(p: Array, truth: Bools) -> float:
    values, index, n = np.unique(-p, return_inverse=True, return_counts=True)  # descending probabilities
    if len(values) < 2:
        return 0.5
    cuts = -(values[:-1] + values[1:]) / 2
    chosen = np.cumsum(n)[:-1] / len(p)  # share of sequences at or above each cut
    hits = np.cumsum(np.bincount(index, weights=truth))[:-1] / len(p)
    mcc = binary_mcc(hits, np.full_like(hits, truth.mean()), chosen)
    best = np.nanmax(mcc, initial=0.0)
    return min(cuts[mcc >= best - TINY], key=lambda cut: abs(cut - 0.5)) if best > TINY else 0.5
