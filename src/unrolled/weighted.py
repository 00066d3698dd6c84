"""Arithmetic under R rows of sample weights (R, N): what all metrics are built from.

With no weight at all, or with nothing left to average, the answer is NaN.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
T = TypeVar("T")

TINY = 1e-12  # a share of weight or a variance below this is rounding, not data


def ratio(a: Array, b: Array, empty: float = np.nan) -> Array:
    """a / b; `empty` where b is 0, NaN where b is NaN."""
    out: Array = np.full(np.broadcast_shapes(a.shape, b.shape), empty)
    return np.divide(a, b, out=out, where=~(b <= TINY))


def mean_defined(x: Array) -> Array:
    """Mean over the last axis without the NaNs; NaN where there is nothing else."""
    return ratio(np.nansum(x, -1), (~np.isnan(x)).sum(-1).astype(np.float64))


def average(values: npt.ArrayLike, W: Array) -> Array:
    """Weighted mean over sequences: (N,) or (N, K) and (R, N) -> (R,) or (R, K)."""
    x = np.asarray(values, np.float64)
    return ratio(W @ x, W.sum(1).reshape(-1, *[1] * (x.ndim - 1)))


def correlation(covariance: Array, true: Array, chosen: Array) -> Array:
    """Covariance over the root of two variances; 0 for a constant choice, NaN for a constant truth."""
    variance = np.where((true > TINY) & (chosen > TINY), true * chosen, 0 * covariance)
    return np.where(true > TINY, ratio(covariance, np.sqrt(variance), 0.0), np.nan)


def kept(method: Callable[[Any, Array], T]) -> Callable[[Any, Array], T]:
    """Keep a method's answer for the weights that were asked last: several metrics are made of the same numbers."""

    name = f"_{method.__name__}"

    @wraps(method)
    def answer(self: Any, W: Array) -> T:
        known = vars(self)  # as functools.cached_property does: the object may be frozen
        if known.get(name, (None,))[0] is not W:
            known[name] = W, method(self, W)
        found: T = known[name][1]
        return found

    return answer
