"""Encoders without a recurrence: what the lecture starts from, and what it ends with.

All work on packed sequences, (N, d_in) with their plan, and give (N, d_out), as the recurrent layers do.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from unrolled.errors import UnrolledError
from unrolled.packing import Plan, mask, pack, unpack


class WindowMLP(nn.Module):
    """An MLP that slides along the sequence: at t it sees x_{t - k//2} .. x_{t + k//2}, zeros beyond the ends.

    k = 1 is the position-wise MLP; layers = 0 hands the window on as it is, so that all there is to learn is linear.
    A causal one sees the k positions up to its own.
    """

    directions = 1

    def __init__(
        self, d_in: int, d_h: int = 64, *, k: int = 15, layers: int = 1, dropout: float = 0.0, causal: bool = False
    ):
        if k % 2 == 0:
            raise UnrolledError(f"k: a window of {k} positions has no middle; use an odd number")
        super().__init__()
        self.k, self.sides = k, (k - 1, 0) if causal else (k // 2, k // 2)
        self.mlp, self.d_out = _mlp(k * d_in, d_h, layers, dropout)

    def encode(self, x: Tensor, plan: Plan) -> Tensor:
        """(N, d_in) -> (N, d_out)"""
        if self.k > 1:
            padded = nn.functional.pad(unpack(x, plan), (0, 0, *self.sides))  # (B, T + k - 1, d_in)
            x = pack(padded.unfold(1, self.k, 1).flatten(2), plan)  # (N, d_in * k)
        found: Tensor = self.mlp(x)
        return found


class FixedMLP(nn.Module):
    """The fixed-size workaround: the first `length` positions side by side, zeros for what is missing.

    Everything behind them is lost. Each sequence has one answer, given at all of its positions.
    """

    directions = 1

    def __init__(self, d_in: int, d_h: int = 64, *, length: int = 100, layers: int = 1, dropout: float = 0.0):
        super().__init__()
        self.length = length
        self.mlp, self.d_out = _mlp(length * d_in, d_h, layers, dropout)

    def encode(self, x: Tensor, plan: Plan) -> Tensor:
        """(N, d_in) -> (N, d_out)"""
        padded = unpack(x, plan)[:, : self.length]
        fixed = nn.functional.pad(padded, (0, 0, 0, self.length - padded.shape[1]))
        found: Tensor = self.mlp(fixed.flatten(1))
        return found.index_select(0, plan.sequence)


class Transformer(nn.Module):
    """Self-attention over all true positions, with sinusoidal position codes: no limit to the length but memory, T^2.

    A causal one attends to no later position.

    Vaswani et al. (2017), arXiv:1706.03762; normalised before each sub-layer (Xiong et al. 2020, arXiv:2002.04745).
    """

    directions = 1

    def __init__(
        self, d_in: int, d_h: int = 64, *, layers: int = 2, heads: int = 4, dropout: float = 0.1, causal: bool = False
    ):
        if d_h % (2 * heads):
            raise UnrolledError(f"d_h: {d_h} is no multiple of twice the {heads} heads")
        super().__init__()
        self.d_out, self.causal = d_h, causal
        self.inner = nn.Linear(d_in, d_h)
        layer = nn.TransformerEncoderLayer(d_h, heads, 4 * d_h, dropout, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(d_h), enable_nested_tensor=False)

    def encode(self, x: Tensor, plan: Plan) -> Tensor:
        """(N, d_in) -> (N, d_out)"""
        h = unpack(self.inner(x) + positions(plan.t, self.d_out).to(x.dtype), plan)
        lengths = plan.lengths[plan.inverse].clamp(min=1)  # an empty sequence attends to one zero, not to nothing
        padding = ~mask(lengths, plan.T)
        later = torch.ones(plan.T, plan.T, dtype=torch.bool, device=x.device).triu(1) if self.causal else None
        return pack(self.layers(h, mask=later, src_key_padding_mask=padding), plan)


def positions(t: Tensor, d: int) -> Tensor:
    """Sine and cosine codes (N, d) of positions t (N,), wavelengths from 2 pi to 10,000 times that."""
    rates = torch.exp(torch.arange(0, d, 2, device=t.device) * (-math.log(10_000.0) / d))
    angles = t[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _mlp(d_in: int, d_h: int, layers: int, dropout: float) -> tuple[nn.Sequential, int]:
    """h = relu(W h + b), `layers` times, and the width of the last."""
    widths = [d_in, *[d_h] * layers]
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*parts), widths[-1]
