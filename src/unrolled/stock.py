"""The same layers computed by torch.nn: on a GPU (cuDNN), and for an LSTM on a CPU for which nothing was compiled.

torch.nn orders the gates differently, keeps two biases and has only the GRU whose reset gate acts after the product.
"""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import UnrolledError
from unrolled.packing import Plan, pack, unpack
from unrolled.recurrence import GRU_AFTER, LSTM, RNN, Recurrence

NAMES = ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l")
MODES = {"RNN": "RNN_TANH", "LSTM": "LSTM", "GRU": "GRU"}  # of the modules that have our equations
CLASSES: dict[Recurrence, Callable[..., nn.RNNBase]] = {RNN: nn.RNN, LSTM: nn.LSTM, GRU_AFTER: nn.GRU}
# The places of torch.nn's gates among ours, in W_x and in W_h. torch.nn: i, f, g, o; r, z, n.
X_ORDER = {RNN: [0], LSTM: [1, 0, 2, 3], GRU_AFTER: [0, 1, 2]}
H_ORDER = {RNN: [0], LSTM: [1, 0, 2, 3], GRU_AFTER: [1, 2, 0]}


def module(cell: Recurrence, d_in: int, d_h: int, layers: int, directions: int, dropout: float = 0.0) -> nn.RNNBase:
    """An untrained torch.nn module for a recurrence.

    Raises:
        UnrolledError: torch.nn has no such recurrence.
    """
    if cell not in CLASSES:
        raise UnrolledError(
            f"torch.nn has no counterpart of this recurrence ({cell.name}); for a GRU that it has, use reset: after"
        )
    return CLASSES[cell](
        d_in, d_h, num_layers=layers, batch_first=True, bidirectional=directions == 2, dropout=dropout
    )


def suffix(layer: int, direction: int) -> str:
    """The end of torch.nn's names for the weights of a layer and direction."""
    return f"{layer}{'_reverse' * direction}"


def to_torch(cell: Recurrence, weights: Sequence[Tensor]) -> dict[str, Tensor]:
    """W_x, W_h, b (, b_q) of one direction under torch.nn's names, without the suffix."""
    W_x, W_h, b, *b_q = weights
    d_h = W_h.shape[1]
    inner = torch.zeros_like(b)
    if b_q:
        inner = torch.cat([inner[: 2 * d_h], b_q[0]])
    values = (_order(W_x, X_ORDER[cell], d_h), _order(W_h, H_ORDER[cell], d_h), _order(b, X_ORDER[cell], d_h), inner)
    return dict(zip(NAMES, values, strict=True))


def from_torch(cell: Recurrence, given: Mapping[str, Tensor | None]) -> list[Tensor]:
    """W_x, W_h, b (, b_q) from one direction of a torch.nn module, whose names have no suffix."""
    weight_ih, weight_hh, bias_ih, bias_hh = (given[name] for name in NAMES)
    if weight_ih is None or weight_hh is None or cell not in CLASSES:
        raise UnrolledError(f"torch.nn has no recurrence {cell.name}; for the GRU that it has, use reset: after")
    d_h = weight_hh.shape[1]
    none = weight_ih.new_zeros(len(weight_ih))
    bias_ih, bias_hh = none if bias_ih is None else bias_ih, none if bias_hh is None else bias_hh
    b_q = [bias_hh[2 * d_h :]] if cell is GRU_AFTER else []
    outer = torch.cat([bias_hh[: 2 * d_h], none[:d_h]]) if b_q else bias_hh
    W_x = _order(weight_ih, _inverse(X_ORDER[cell]), d_h)
    W_h = _order(weight_hh, _inverse(H_ORDER[cell]), d_h)
    return [W_x, W_h, _order(bias_ih + outer, _inverse(X_ORDER[cell]), d_h), *b_q]


def layer(
    cell: Recurrence,
    plan: Plan,
    x: Tensor,
    h0: Tensor,
    C0: Tensor | None,
    weights: Sequence[Sequence[Tensor]],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As scan.layer. On a CPU the states returned are not those after the last steps: for who does not need them."""
    named = {
        name + suffix(0, d): value for d, group in enumerate(weights) for name, value in to_torch(cell, group).items()
    }
    run = _packed if x.device.type == "cuda" else _padded
    return run(cell, plan, x, h0, C0, named)


def _packed(
    cell: Recurrence, plan: Plan, x: Tensor, h0: Tensor, C0: Tensor | None, named: dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor | None]:
    D, _, d_h = h0.shape
    b = len(plan.ends)  # sequences that are not empty
    start = (h0[:, :b].contiguous(), C0[:, :b].contiguous()) if C0 is not None else h0[:, :b].contiguous()
    template = _template(cell, x.shape[1], d_h, D, threading.get_ident())
    packed, end = functional_call(template, named, (PackedSequence(x, plan.first.diff().cpu()), start))
    h, C = end if C0 is not None else (end, None)
    h = torch.cat([h, h0[:, b:]], 1)
    return packed.data, h, None if C is None or C0 is None else torch.cat([C, C0[:, b:]], 1)


def _padded(
    cell: Recurrence, plan: Plan, x: Tensor, h0: Tensor, C0: Tensor | None, named: dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Right-padding gives exact outputs at true positions of sequences that all begin at 0."""
    template = _template(cell, x.shape[1], h0.shape[2], 1, threading.get_ident())
    outputs = []
    for d in range(len(h0)):
        own = {name: named[name + suffix(0, d)] for name in NAMES}
        own = {name + suffix(0, 0): value for name, value in own.items()}
        index = plan.mirror if d else plan.index
        padded, _ = functional_call(template, own, (unpack(x, plan, index),))
        outputs.append(pack(padded, plan, index))
    return torch.cat(outputs, 1), h0, C0


@functools.cache
def _template(cell: Recurrence, d_in: int, d_h: int, directions: int, thread: int) -> nn.RNNBase:
    """A module without weights, each thread's own: `functional_call` puts the weights into it while it runs."""
    with torch.device("meta"):
        return module(cell, d_in, d_h, 1, directions)


def _order(weights: Tensor, places: Sequence[int], d_h: int) -> Tensor:
    blocks = torch.split(weights, d_h)
    return torch.cat([blocks[i] for i in places])


def _inverse(places: Sequence[int]) -> list[int]:
    return [places.index(i) for i in range(len(places))]
