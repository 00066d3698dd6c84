"""Arithmetic under R rows of sample weights (R, N): what all metrics are built from.

With no weight at all, or with nothing left to average, the answer is NaN.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

TINY = 1e-12  # a share of weight or a variance below this is rounding, not data


def ratio(a: Array, b: Array, empty: float = np.nan) -> Array:
    """a / b; `empty` where b is 0, NaN where b is NaN."""
    out = np.where(np.isnan(b), np.nan, empty) + np.zeros_like(a)
    return np.divide(a, b, out=out, where=b > TINY)


def mean_defined(x: Array) -> Array:
    """Mean over the last axis without the NaNs; NaN where there is nothing else."""
    return ratio(np.nansum(x, -1), (~np.isnan(x)).sum(-1).astype(np.float64))


def average(values: npt.ArrayLike, W: Array) -> Array:
    """Weighted mean over sequences: (N,) or (N, K) and (R, N) -> (R,) or (R, K)."""
    x = np.asarray(values, np.float64)
    total = W.sum(1).reshape(-1, *[1] * (x.ndim - 1))
    return ratio(W @ x, np.broadcast_to(total, (len(W), *x.shape[1:])))


def correlation(covariance: Array, true: Array, chosen: Array) -> Array:
    """Covariance over the root of two variances; 0 for a constant choice, NaN for a constant truth."""
    variance = np.where((true > TINY) & (chosen > TINY), true * chosen, 0 * covariance)
    return np.where(true > TINY, ratio(covariance, np.sqrt(variance), 0.0), np.nan)
