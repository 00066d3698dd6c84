"""RNN, LSTM and GRU over padded batches, exact at any mix of lengths.

Outputs at true positions do not depend on the padding: the forward direction never reads what lies to its
right, and the backward direction reads each sequence reversed within its own length.
"""

import itertools
from typing import cast

import torch
from torch import Tensor, nn

from unrolled.batching import mask


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each sequence (B, T, d) within its own length (B,); padding stays where it is."""
    t = torch.arange(x.shape[1], device=x.device)
    source = torch.where(mask(lengths, x.shape[1]), lengths[:, None] - 1 - t, t)  # (B, T)
    return x.gather(1, source[:, :, None].expand_as(x))


class Recurrent(nn.Module):
    """A stack of recurrent layers, in one or both directions.

    Initialised as the lecture says: W_h orthogonal (each gate's block), W_x Glorot uniform, biases 0. The lecture
    counts one bias vector a gate; torch.nn's second one is held at 0 and not trained.

    Args:
        d_in: width of x_t.
        d_h: width of h_t, per direction.
        layers: number of layers.
        bidirectional: read every layer's input from both ends and concatenate.
        dropout: share of outputs zeroed between layers, in training.
    """

    cell: type[nn.RNN | nn.LSTM | nn.GRU]

    def __init__(
        self, d_in: int, d_h: int = 64, *, layers: int = 1, bidirectional: bool = False, dropout: float = 0.0
    ):
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.d_out = d_h * self.directions
        widths = [d_in] + [self.d_out] * (layers - 1)
        self.stack = nn.ModuleList(
            nn.ModuleList(self.cell(width, d_h, batch_first=True) for _ in range(self.directions)) for width in widths
        )
        self.dropout = nn.Dropout(dropout)
        for cell in self.cells():
            self.initialise(cell)

    def cells(self) -> list[nn.RNNBase]:
        """Every layer's and direction's cell."""
        return list(itertools.chain.from_iterable(self.stack))  # type: ignore[arg-type]

    def initialise(self, cell: nn.RNNBase) -> None:
        """Set one cell's weights in place."""
        weights = dict(cell.named_parameters())
        for block in torch.split(weights["weight_hh_l0"], cell.hidden_size):
            nn.init.orthogonal_(block)
        for block in torch.split(weights["weight_ih_l0"], cell.hidden_size):
            nn.init.xavier_uniform_(block)
        nn.init.zeros_(weights["bias_ih_l0"])
        nn.init.zeros_(weights["bias_hh_l0"]).requires_grad_(False)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map x (B, T, d_in) with true lengths (B,) to h (B, T, directions * d_h); padded positions are junk."""
        for depth, directions in enumerate(self.stack):
            x = self.dropout(x) if depth else x
            forward, *backward = cast(nn.ModuleList, directions)
            outputs = [forward(x)[0]]  # (B, T, d_h)
            outputs += [reverse(cell(reverse(x, lengths))[0], lengths) for cell in backward]
            x = torch.cat(outputs, dim=-1)
        return x


class RNN(Recurrent):
    """h_t = tanh(W_h h_{t-1} + W_x x_t + b)."""

    cell = nn.RNN


class GRU(Recurrent):
    """Gated recurrent unit in torch.nn's variant: the reset gate is applied after the matrix product."""

    cell = nn.GRU


class LSTM(Recurrent):
    """Long short-term memory; `forget_bias` is b_f at the start (Jozefowicz et al. 2015): remember first."""

    cell = nn.LSTM

    def __init__(self, d_in: int, d_h: int = 64, *, forget_bias: float = 1.0, **settings: object):
        self.forget_bias = forget_bias
        super().__init__(d_in, d_h, **settings)  # type: ignore[arg-type]

    def initialise(self, cell: nn.RNNBase) -> None:
        super().initialise(cell)
        with torch.no_grad():  # torch.nn packs the gates as i, f, g, o
            torch.split(dict(cell.named_parameters())["bias_ih_l0"], cell.hidden_size)[1].fill_(self.forget_bias)
