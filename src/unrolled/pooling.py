"""From the states of all positions to one vector a sequence; padding never counts.

All work on packed sequences, y (N, d) with their plan, and give (B, d) in the batch's order; of an empty sequence 0.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unrolled import kernel
from unrolled.packing import Plan, mask, pack, unpack


class Mean(nn.Module):
    """The mean over the true positions."""

    def __init__(self, d: int, directions: int):
        super().__init__()

    def forward(self, y: Tensor, plan: Plan) -> Tensor:
        """(N, d) -> (B, d)"""
        return _sum(y, plan) / plan.lengths[plan.inverse, None].clamp(min=1).to(y.dtype)


class Last(nn.Module):
    """The state after the last step that each direction reads: at the last true position, and at the first."""

    def __init__(self, d: int, directions: int):
        super().__init__()
        self.directions = directions

    def forward(self, y: Tensor, plan: Plan) -> Tensor:
        """(N, d) -> (B, d)"""
        ends = (plan.ends, plan.starts)[: self.directions]
        parts = y.chunk(self.directions, dim=1)
        last = torch.cat([part.index_select(0, rows) for part, rows in zip(parts, ends, strict=True)], dim=1)
        empty = last.new_zeros(plan.B - len(last), last.shape[1])
        return torch.cat([last, empty]).index_select(0, plan.inverse)


class Max(nn.Module):
    """The largest value of each feature over the true positions."""

    def __init__(self, d: int, directions: int):
        super().__init__()

    def forward(self, y: Tensor, plan: Plan) -> Tensor:
        """(N, d) -> (B, d)"""
        lengths = plan.lengths[plan.inverse]
        found = unpack(y, plan).masked_fill(~mask(lengths, plan.T)[:, :, None], -torch.inf).max(dim=1).values
        return found.masked_fill(lengths[:, None] == 0, 0.0)


class Attention(nn.Module):
    """A mean weighted by softmax(v tanh(W h_t + b)) over the true positions: additive attention without a query.

    Bahdanau, Cho, Bengio (2015), arXiv:1409.0473.
    """

    def __init__(self, d: int, directions: int):
        super().__init__()
        self.hidden, self.score = nn.Linear(d, d), nn.Linear(d, 1, bias=False)

    def forward(self, y: Tensor, plan: Plan) -> Tensor:
        """(N, d) -> (B, d)"""
        return _sum(self.weights(y, plan) * y, plan)

    def weights(self, y: Tensor, plan: Plan) -> Tensor:
        """(N, d) -> (N, 1): what each position counts, 1 in sum over each sequence."""
        scores = unpack(self.score(torch.tanh(self.hidden(y))), plan)[:, :, 0]  # (B, T)
        padding = ~mask(plan.lengths[plan.inverse], plan.T)
        return pack(scores.masked_fill(padding, -torch.inf).softmax(dim=1)[:, :, None], plan)


POOLINGS: dict[str, type[nn.Module]] = {"mean": Mean, "last": Last, "max": Max, "attention": Attention}


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y: Tensor, sequence: Tensor, B: int) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(sequence)
        return kernel.sums(y, sequence, B)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        return grad.index_select(0, *ctx.saved_tensors), None, None


def _sum(y: Tensor, plan: Plan) -> Tensor:
    """(N, d) -> (B, d)"""
    total: Tensor = _Sum.apply(y, plan.sequence, plan.B)  # type: ignore[no-untyped-call]
    return total
