"""The areas under one class's ROC and precision-recall curves, under many rows of weights at once.

AUROC is P(a positive scores above a negative) + half of P(equal). A positive beats the weight ranked below it,
positives included: among themselves these share their P * P comparisons equally, so P * P / 2 is taken off.
Average precision is the mean over the positives of the precision among all that score at least as high.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.weighted import TINY, Array, ratio


def areas(p: Array, y: npt.NDArray[np.bool_], Wt: Array) -> tuple[Array, Array]:
    """AUROC and average precision: scores (N,), truth (N,), weights (N, R) -> (R,), (R,); NaN for one outcome."""
    order = np.argsort(-p, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(p[order])) + 1, len(order))  # of every run of equal scores
    # A bootstrap repays numba, which takes half a second to import.
    walk = _compiled() if Wt.shape[1] > 1 else _walk
    total, weight, shared, found = walk(Wt, order, y, ends)
    roc = ratio(weight * total - shared - weight**2 / 2, weight * (total - weight))
    return roc, np.where(total - weight > TINY, ratio(found, weight), np.nan)


def _walk(Wt: Array, order: npt.NDArray[np.intp], y: npt.NDArray[np.bool_], ends: npt.NDArray[np.intp]) -> Any:
    """Down the ranking: all weight, that of positives, and two sums over these, each (R,).

    The sums are of the weight ranked above, half of that of equals with it, and of the precision.
    """
    rows = np.zeros((6, Wt.shape[1]))
    total, weight, shared, found, before, tied = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    start = 0
    for end in ends:
        equal = order[start:end]
        counted = y[equal].any()
        if counted:
            before[:] = total
            tied[:] = 0
        for i in equal:
            total += Wt[i]
            if y[i]:
                tied += Wt[i]
        if counted:
            weight += tied
            shared += tied * (before + total) / 2
            found += tied * weight / np.maximum(total, TINY)
        start = end
    return total, weight, shared, found


@cache
def _compiled() -> Any:
    from unrolled.jit import compiled

    return compiled(_walk)
