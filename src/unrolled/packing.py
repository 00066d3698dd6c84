"""Packed batches: time-major, sequences by falling length, so that nothing is computed for padding.

Step t of a packed tensor (N, d), N the sum of the lengths, is rows first[t] .. first[t + 1]; row r of every step is
the same sequence, order[r] of the batch.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def mask(lengths: Tensor, T: int) -> Tensor:
    """The padding mask M of the lecture: (B, T) bool, True where position t holds a symbol or a step."""
    return torch.arange(T, device=lengths.device) < lengths[:, None]


@dataclass(frozen=True)
class Plan:
    """Where each position of a padded batch (B, T) lies in the packed one."""

    lengths: Tensor  # (B,) falling
    order: Tensor  # (B,) which sequence of the batch each is
    first: Tensor  # (steps + 1,) first row of each step; N at the end
    index: Tensor  # (N,) b * T + t of each row
    T: int

    @classmethod
    def of(cls, lengths: Tensor, T: int) -> "Plan":
        """Plan a batch of sequences of these lengths (B,), 0 to T."""
        sorted_, order = torch.sort(lengths.long(), descending=True, stable=True)  # bytes would index as a mask
        steps = int(sorted_[0]) if len(sorted_) else 0
        t, r = (torch.arange(steps, device=lengths.device)[:, None] < sorted_).nonzero(as_tuple=True)
        active = torch.bincount(t, minlength=steps)
        first = torch.cat([active.new_zeros(1), active.cumsum(0)])
        plan = cls(sorted_, order, first, order[r] * T + t, T)
        vars(plan).update(t=t, r=r)  # found already
        return plan

    @property
    def N(self) -> int:
        return len(self.index)

    @property
    def B(self) -> int:
        return len(self.lengths)

    @cached_property
    def inverse(self) -> Tensor:
        """(B,) which place of the falling order each sequence of the batch has."""
        return torch.argsort(self.order)

    @cached_property
    def sequence(self) -> Tensor:
        """(N,) which sequence of the batch each row belongs to."""
        return self.order[self.r]

    @cached_property
    def steps(self) -> list[int]:
        """`first` as a list."""
        return list(map(int, self.first.tolist()))

    @cached_property
    def t(self) -> Tensor:
        """(N,) position in its sequence of each row."""
        return self.index % self.T

    @cached_property
    def r(self) -> Tensor:
        """(N,) place of its sequence in the falling order of each row."""
        return torch.arange(self.N, device=self.index.device) - self.first[self.t]

    @cached_property
    def ends(self) -> Tensor:
        """(b,) row of the last position of each of the b sequences that are not empty."""
        lengths = self.lengths[self.lengths > 0]
        return self.first[lengths - 1] + torch.arange(len(lengths), device=lengths.device)

    @cached_property
    def starts(self) -> Tensor:
        """(b,) row of the first position of each of the b sequences that are not empty."""
        return torch.arange(len(self.ends), device=self.index.device)

    @cached_property
    def before(self) -> Tensor:
        """(N,) row of the position to the left; of the row itself where there is none."""
        return self.first[(self.t - 1).clamp(min=0)] + self.r

    @cached_property
    def after(self) -> Tensor:
        """(N,) row of the position to the right; of the row itself where there is none."""
        return self.first[torch.minimum(self.t + 1, self.lengths[self.r] - 1)] + self.r

    def parts(self, n: int) -> "list[tuple[Plan, Tensor]]":
        """Every n-th sequence of the falling order, from each of the first n on: its plan, and its rows here."""
        if n not in self._parts:
            plans = [Plan.of(self.lengths[i::n], self.T) for i in range(n)]
            self._parts[n] = [(plan, self.first[plan.t] + plan.r * n + i) for i, plan in enumerate(plans)]
        return self._parts[n]

    @cached_property
    def _parts(self) -> "dict[int, list[tuple[Plan, Tensor]]]":
        return {}

    def read_at(self, reversed: bool) -> Tensor:
        """(N,) how many steps are read before each row's."""
        return self.lengths[self.r] - 1 - self.t if reversed else self.t

    @cached_property
    def mirror(self) -> Tensor:
        """(N,) b * T + how many steps are read before, from the right: `index` in a batch that was reversed."""
        return self.index - self.t + self.read_at(True)

    def previous(self, states: Tensor, start: Tensor, *, reversed: bool) -> Tensor:
        """(N, H): the state before each row's step, from states (N, H) after it and the initial state (B, H)."""
        out = states.index_select(0, self.after if reversed else self.before)
        rows = self.ends if reversed else self.starts
        return out.index_copy_(0, rows, start[: len(rows)])

    def final(self, states: Tensor, start: Tensor, *, reversed: bool) -> Tensor:
        """(B, H): the state after the last step read; of an empty sequence the initial one."""
        last = states.index_select(0, self.starts if reversed else self.ends)
        return torch.cat([last, start[len(last) :]])


class _Pack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.shape = x.shape
        ctx.save_for_backward(index)
        return _gather(x, index)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (index,) = ctx.saved_tensors
        return _scatter(grad, index, ctx.shape), None


class _Unpack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y: Tensor, index: Tensor, shape: tuple[int, ...]) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(index)
        return _scatter(y, index, shape)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        return _gather(grad, *ctx.saved_tensors), None, None


def _gather(padded: Tensor, index: Tensor) -> Tensor:
    return padded.reshape(-1, padded.shape[-1]).index_select(0, index)


def _scatter(y: Tensor, index: Tensor, shape: tuple[int, ...]) -> Tensor:
    padded = y.new_zeros(shape[0] * shape[1], shape[2])
    return padded.index_copy_(0, index, y).view(shape)


def pack(x: Tensor, plan: Plan, index: Tensor | None = None) -> Tensor:
    """(B, T, d) -> (N, d), true positions only; `index` other than the plan's own says where each row lies."""
    out: Tensor = _Pack.apply(x, plan.index if index is None else index)  # type: ignore[no-untyped-call]
    return out


def unpack(y: Tensor, plan: Plan, index: Tensor | None = None) -> Tensor:
    """(N, d) -> (B, T, d), 0 in the padding."""
    shape = plan.B, plan.T, y.shape[-1]
    out: Tensor = _Unpack.apply(y, plan.index if index is None else index, shape)  # type: ignore[no-untyped-call]
    return out
