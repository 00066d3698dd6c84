"""The linear recurrence h_t = f_t h_{t-1} + u_t of minGRU and minLSTM, whose gates do not see h_{t-1}."""

import torch
from torch import Tensor

from unrolled.packing import Plan
from unrolled.recurrence import MINIMAL, Probe, Work, watching
from unrolled.scan import first_derivative_only, stepping


class _Linear(torch.autograd.Function):
    """h_t = f_t h_{t-1} + u_t over a packed batch: a = [f, u] (N, 2 H) -> h (N, H), final h (B, H)."""

    @staticmethod
    def forward(ctx, plan, window, probe, reversed, a, h0):  # type: ignore[no-untyped-def]
        work = Work(plan, reversed, window, False, a.new_empty(plan.N, h0.shape[1]), h0.contiguous(), a.contiguous())
        stepping(MINIMAL, "forward", work)(0, len(plan.first) - 1)
        ctx.save_for_backward(work.a, work.out, work.h0)
        ctx.plan, ctx.window, ctx.probe, ctx.reversed = plan, window, watching(probe), reversed
        ctx.set_materialize_grads(False)
        if probe is not None:
            probe.works.append(work)
        return work.out, plan.final(work.out, h0, reversed=reversed)

    @staticmethod
    @first_derivative_only
    def backward(ctx, dout, dh):  # type: ignore[no-untyped-def]
        a, out, h0 = ctx.saved_tensors
        work = Work(ctx.plan, ctx.reversed, ctx.window, False, out, h0, a)
        work.dout = torch.zeros_like(out) if dout is None else dout.contiguous()
        work.dh = torch.zeros_like(h0) if dh is None else dh.clone(memory_format=torch.contiguous_format)
        work.da = torch.empty_like(a)
        if (probe := ctx.probe()) is not None:
            work.norm_h = a.new_empty(ctx.plan.N)
            probe.works[int(ctx.reversed)] = work
        stepping(MINIMAL, "backward", work)(0, len(ctx.plan.first) - 1)
        return None, None, None, None, work.da, work.dh


def linear(
    plan: Plan, a: Tensor, h0: Tensor, *, reversed: bool = False, window: int = 0, probe: Probe | None = None
) -> tuple[Tensor, Tensor]:
    """The linear recurrence h_t = f_t h_{t-1} + u_t of minGRU and minLSTM, a = [f, u] (N, 2 H), h0 (B, H)."""
    result: tuple[Tensor, Tensor] = _Linear.apply(plan, window, probe, reversed, a, h0)  # type: ignore[no-untyped-call]
    return result
