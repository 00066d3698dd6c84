"""What a recurrence is made of: its blocks, and the arrays that a walk over a packed batch reads and fills."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from unrolled.packing import Plan

ABSENT: Any = None  # an array which the recurrence has no use for


@dataclass(frozen=True)
class Recurrence:
    """How a recurrence lays out its arrays, in blocks of width H.

    Args:
        name: of its walks in kernel.cpp and stepwise.py.
        columns: blocks of `a`, the pre-activations.
        inputs: the first of them that W_x x_t + b is added to; the others have no input.
        recurrent: blocks of W_h.
    """

    name: str
    columns: int
    inputs: int
    recurrent: int
    cell: bool = False  # keeps C_t
    reset: bool = False  # keeps r_t * h_{t-1}, which the last block of W_h multiplies
    decay: bool = False  # h_{t-1} is multiplied by a given factor before anything sees it
    linear: bool = False  # the RNN without its tanh


RNN = Recurrence("rnn", 1, 0, 1)
LINEAR_RNN = Recurrence("rnn", 1, 0, 1, linear=True)
LSTM = Recurrence("lstm", 4, 0, 4, cell=True)  # f, i, C~, o
GRU = Recurrence("gru", 3, 0, 3, reset=True)  # r, z, h~
GRU_AFTER = Recurrence("gru_after", 4, 1, 3)  # a = q, r, z, h~; W_h = q, r, z; W_x = r, z, h~
GRU_D = Recurrence("gru", 3, 0, 3, reset=True, decay=True)
MINIMAL = Recurrence("linear", 2, 0, 0)  # f, u
CUDNN = (RNN, LSTM, GRU_AFTER)  # cuDNN's equations


@dataclass
class Work:
    """The arrays of one direction: what a walk reads and what it fills. N rows packed, B sequences, width H."""

    plan: Plan
    reversed: bool
    window: int  # truncated BPTT: no gradient across multiples of so many positions; 0 for full BPTT
    linear: bool
    out: Tensor  # (N, H) h_t
    h0: Tensor  # (B, H)
    a: Tensor = ABSENT  # (N, columns * H) pre-activations, then gates; the RNN's are `out`
    W: Tensor = ABSENT  # (recurrent * H, H)
    cell: Tensor = ABSENT  # (N, H) C_t
    C0: Tensor = ABSENT  # (B, H)
    reset: Tensor = ABSENT  # (N, H) r_t * h_{t-1}
    decay: Tensor = ABSENT  # (N, H) gamma_t
    decayed: Tensor = ABSENT  # (N, H) gamma_t * h_{t-1}
    ddecay: Tensor = ABSENT  # (N, H) dL/dgamma_t
    dout: Tensor = ABSENT  # (N, H) dL/dh_t from above
    da: Tensor = ABSENT  # (n, columns * H) of the steps that are gone over at a time
    dh: Tensor = ABSENT  # (B, H) dL/dh_T, then dL/dh_0
    dC: Tensor = ABSENT  # (B, H)
    norm_h: Tensor = ABSENT  # (N,) |dL/dh_t|
    norm_C: Tensor = ABSENT  # (N,) |dL/dC_t|

    def rows(self, begin: int, end: int) -> slice:
        """The rows of steps begin to end of the order in which they are read."""
        first = self.plan.steps
        return slice(first[-1 - end], first[-1 - begin]) if self.reversed else slice(first[begin], first[end])


@dataclass
class Probe:
    """Filled by the next forward and backward pass: the work of each direction, with its gates and gradient norms."""

    works: list[Work] = field(default_factory=list)


def watching(probe: Probe | None) -> Callable[[], Probe | None]:
    """The probe as long as somebody else holds it: held by what it shows, neither could ever be freed."""
    return weakref.ref(probe) if probe is not None else lambda: None
