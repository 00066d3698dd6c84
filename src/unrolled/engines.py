"""What computes a recurrence: the compiled walks, those of PyTorch, or torch.nn; all give the same numbers."""

from typing import NamedTuple

import torch
from torch import Tensor

from unrolled import kernel
from unrolled.recurrence import CUDNN, LSTM, Recurrence


class Like(NamedTuple):
    """What of a tensor decides on the engine."""

    device: torch.device
    dtype: torch.dtype = torch.float32


_forced: list[str] = []


class force:  # noqa: N801
    """Context manager: use `kernel`, `pytorch` or `torch.nn` whatever there is; for tests and benchmarks."""

    def __init__(self, engine: str):
        self.engine = engine

    def __enter__(self) -> None:
        _forced.append(self.engine)

    def __exit__(self, *_: object) -> None:
        _forced.pop()


def engine(cell: Recurrence, x: Tensor | Like, *, plain: bool, free: bool) -> str:
    """What is fastest for tensors like x: `kernel`, `pytorch` (stepwise.py) or `torch.nn` (stock.py).

    Args:
        cell: the recurrence.
        x: any tensor of the computation, or what one is like.
        plain: full BPTT, and nobody looks on.
        free: the initial state is 0 and the final one is not needed.
    """
    if cell.decay:
        return "pytorch"
    if _forced:
        return _forced[-1]
    if x.device.type == "cpu" and x.dtype in kernel.SUFFIX and kernel.library() is not None:
        return "kernel"
    if x.device.type == "cuda":
        return "torch.nn" if plain and cell in CUDNN else "pytorch"
    return "torch.nn" if plain and free and cell is LSTM else "pytorch"


def kernel_fits(cell: Recurrence, x: Tensor) -> bool:
    """Whether the compiled walks take this recurrence and tensors like x; they can go over a few steps at a time."""
    return engine(cell, x, plain=False, free=False) == "kernel"
