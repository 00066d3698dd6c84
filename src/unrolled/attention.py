"""Additive attention, and a decoder that looks back by it over whole batches, with explicit back-propagation.

    c_t = sum_j alpha_tj h_j,  alpha_t = softmax_j(v^T tanh(W_a s_{t-1} + U_a h_j + b_a))

(Bahdanau, Cho, Bengio 2015, arXiv:1409.0473.) Since tanh(z) = 2 sigmoid(2 z) - 1, and the softmax does not see a
constant, alpha_t = softmax_j(v'^T sigmoid(q_t + k_j)) with q_t = 2 W_a s_{t-1}, k_j = 2 (U_a h_j + b_a), v' = 2 v:
PyTorch's sigmoid is several times as fast as its tanh on a CPU. What autograd would do at every step for the weights
and for k and h, is done here once for all steps.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled import kernel, recurrence
from unrolled.packing import Plan
from unrolled.products import Gradients, Vectors
from unrolled.recurrence import Recurrence, Work
from unrolled.scan import first_derivative_only


def weights(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """alpha_t (B, T) of q_t (B, d_a), k (B, T, d_a), v' (d_a,); bias (B, T) is -inf behind the end, 0 before it."""
    return torch.softmax(torch.sigmoid(k + q[:, None]) @ v + bias, dim=1)


def context(alpha: Tensor, h: Tensor) -> Tensor:
    """c_t (B, d_c): the mean of h (B, T, d_c) under alpha_t (B, T)."""
    return torch.bmm(alpha[:, None], h)[:, 0]


def follow(
    cell: Recurrence,
    plan: Plan,
    memory: Sequence[Tensor],
    v: Tensor,
    W_q: Tensor,
    e: Tensor,
    state: Sequence[Tensor],
    cell_weights: Sequence[Tensor],
) -> Tensor:
    """s_t (N, H) of all steps of one recurrent layer that reads [e_t, c_t]; needs the compiled walks.

    Args:
        cell: the recurrence; one with a W_h.
        plan: of the targets, B sequences; memory and state are in its falling order.
        memory: h (B, T, d_c), k (B, T, d_a), bias (B, T).
        v, W_q: v' (d_a,) and 2 W_a (d_a, H).
        e: (N, d_e), packed.
        state: s_0 (B, H), and C_0 for the LSTM.
        cell_weights: W_x (. * H, d_e + d_c), W_h, b, and b_q for GRU_AFTER, as scan.layer takes them.
    """
    s_0, C_0 = [*state, None][:2]
    found: Tensor = _Follow.apply(cell, plan, *memory, v, W_q, e, s_0, C_0, *cell_weights)  # type: ignore[no-untyped-call]
    return found


def _work(cell: Recurrence, plan: Plan, out: Tensor, s_0: Tensor, C_0: Any, W_h: Tensor) -> Work:
    """The arrays of a forward walk: out (N, H) is filled with s_t."""
    N, H = out.shape
    a = out if cell.columns == 1 else out.new_empty(N, cell.columns * H)
    work = Work(plan, False, 0, cell.linear, out, s_0.contiguous(), a, W_h.contiguous())
    work.cell, work.C0 = (out.new_empty(N, H), C_0) if cell.cell else (recurrence.ABSENT, recurrence.ABSENT)
    work.reset = out.new_empty(N, H) if cell.reset else recurrence.ABSENT
    return work


def _before(work: Work, t: int) -> tuple[slice, Tensor]:
    """The rows of step t, and s_{t-1} (n, H) of its sequences."""
    rows = work.rows(t, t + 1)
    n = rows.stop - rows.start
    return rows, work.out[work.rows(t - 1, t)][:n] if t else work.h0[:n]


class _Follow(torch.autograd.Function):
    @staticmethod
    def forward(ctx, cell, plan, h, k, bias, v, W_q, e, s_0, C_0, W_x, W_h, b, *b_q):  # type: ignore[no-untyped-def]
        (B, T, _), d_e, H, steps = h.shape, e.shape[1], s_0.shape[1], len(plan.steps) - 1
        work = _work(cell, plan, e.new_empty(plan.N, H), s_0, C_0, W_h)
        into, W_c = work.a[:, cell.inputs * H :], W_x[:, d_e:].t()
        torch.addmm(b, e, W_x[:, :d_e].t(), out=into)
        for bias_of_q in b_q:
            work.a[:, :H] = bias_of_q
        alpha, x = h.new_zeros(B, steps, T), torch.cat([e, h.new_empty(plan.N, h.shape[2])], 1)
        walk = kernel.Walk(f"{cell.name}_forward", work)
        for t in range(steps):
            rows, s = _before(work, t)
            n = len(s)
            alpha[:n, t] = weights(s @ W_q.t(), k[:n], v, bias[:n])
            x[rows, d_e:] = context(alpha[:n, t], h[:n])
            into[rows].addmm_(x[rows, d_e:], W_c)
            walk(t, t + 1)
        gates = None if cell.columns == 1 else work.a
        ctx.save_for_backward(
            h, k, v, W_q, work.h0, C_0, W_x, W_h, b, alpha, x, work.out, gates, work.cell, work.reset, *b_q
        )
        ctx.cell, ctx.plan, ctx.d_e = cell, plan, d_e
        return work.out

    @staticmethod
    @first_derivative_only
    def backward(ctx, dout):  # type: ignore[no-untyped-def]
        h, k, v, W_q, s_0, C_0, W_x, W_h, b, alpha, x, out, gates, C, reset, *b_q = ctx.saved_tensors
        cell, plan, d_e, H, steps = ctx.cell, ctx.plan, ctx.d_e, s_0.shape[1], alpha.shape[1]
        work = Work(plan, False, 0, cell.linear, out, s_0, gates, W_h.contiguous(), C, C_0, reset)
        work.dout, work.dh = dout.contiguous(), torch.zeros_like(s_0)
        work.dC = torch.zeros_like(C_0) if cell.cell else recurrence.ABSENT
        da, dq = x.new_empty(plan.N, cell.columns * H), x.new_empty(plan.N, len(W_q))
        dc, dk, dv = h.new_zeros(len(h), steps, h.shape[2]), torch.zeros_like(k), torch.zeros_like(v)
        work.da = da[:0]
        walk = kernel.Walk(f"{cell.name}_backward", work)
        for t in reversed(range(steps)):
            rows, s = _before(work, t)
            n, work.da = len(s), da[rows]
            walk(t, t + 1)
            dc[:n, t] = work.da[:, cell.inputs * H :] @ W_x[:, d_e:]
            dq[rows] = _unlook(s @ W_q.t(), k[:n], v, h[:n], alpha[:n, t], dc[:n, t], dk[:n], dv)
            work.dh[:n].addmm_(dq[rows], W_q)
        work.da = da
        sums = Gradients(cell, Vectors(x, W_x, b, wanted=True), work, b_q)
        sums.add(0, steps)
        dx, dweights = sums.all()
        assert dx is not None
        dh, dW_q = torch.bmm(alpha.transpose(1, 2), dc), dq.t() @ sums.before
        ds_0, dC_0 = work.dh, work.dC
        return None, None, dh, dk.mul_(v), None, dv, dW_q, dx[:, :d_e], ds_0, dC_0, *dweights


def _unlook(q: Tensor, k: Tensor, v: Tensor, h: Tensor, alpha: Tensor, dc: Tensor, dk: Tensor, dv: Tensor) -> Tensor:
    """dL/dq_t (n, d_a) from dL/dc_t (n, d_c); adds to dL/dk, but for its factor v', and to dL/dv'."""
    dalpha = torch.bmm(h, dc[:, :, None])[:, :, 0]
    dscore = alpha * (dalpha - (alpha * dalpha).sum(1, keepdim=True))  # (n, T)
    g = torch.sigmoid(k + q[:, None])  # again: kept for all steps it would fill the memory
    dv.addmv_(g.flatten(0, 1).t(), dscore.flatten())
    g.addcmul_(g, g, value=-1)  # the derivative
    dk.addcmul_(g, dscore[:, :, None])
    return v * torch.bmm(dscore[:, None], g)[:, 0]
