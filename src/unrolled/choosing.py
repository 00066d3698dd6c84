"""What a baseline's setting is chosen by on the validation fold."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def loss(p: NDArray[np.float64], y: NDArray[Any], task: str) -> float:
    """What a setting is chosen by, of predictions (N, K) and targets (N, K).

    The mean negative log likelihood (nats) of one- or multi-hot labels; the mean squared error of numbers.
    """
    if task == "regression":
        return float(np.square(p - y).mean())
    p = np.clip(p, 1e-7, 1 - 1e-7)
    if task == "multiclass":
        return float(-np.log((p * y).sum(axis=1)).mean())
    return float(-np.where(y, np.log(p), np.log1p(-p)).mean())
