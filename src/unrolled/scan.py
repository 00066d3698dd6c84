"""The recurrences over whole packed batches, as autograd functions with explicit back-propagation through time.

What does not depend on the order of the steps is done for all of them at once: one product for the inputs before the
walk, one for each of dL/dW_x, dL/dW_h and dL/dx after the walk back. The walks themselves are those of kernel.cpp, or
of stepwise.py where there is no kernel; both fill the same arrays (`Work`) with the same numbers.

The walk back visits dL/dh_t of every t, so a `Probe` gets the gradients through time at no second pass.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled import kernel, stepwise
from unrolled.engines import kernel_fits
from unrolled.errors import UnrolledError
from unrolled.packing import Plan
from unrolled.products import Gradients, Symbols, Vectors
from unrolled.recurrence import ABSENT, Probe, Recurrence, Work, watching
from unrolled.shares import Share, cut, merge, side_by_side

KEPT = 5  # arrays of each share that its walk back needs
CHUNK = 2**18  # numbers of `a` or `da` in the steps that are gone over at a time: as many as a second cache holds


def _chunks(work: Work, cell: Recurrence) -> list[tuple[int, int]]:
    """How many steps to go over at a time, as begins and ends; all where the walk cannot stop in between.

    What else there is to do with the steps of a chunk is done while their rows are in the cache.
    """
    steps, (B, H) = len(work.plan.first) - 1, work.h0.shape
    size = max(1, CHUNK // (cell.columns * H * max(B, 1)) if kernel_fits(cell, work.h0) else steps)
    return [(begin, min(begin + size, steps)) for begin in range(0, steps, size)]


def stepping(cell: Recurrence, way: str, work: Work) -> Callable[[int, int], None]:
    """What goes over steps begin to end of a direction, `forward` or `backward`."""
    name = f"{cell.name}_{way}"
    return kernel.Walk(name, work) if kernel_fits(cell, work.out) else stepwise.Walk(name, work)


def _ahead(cell: Recurrence, work: Work, inputs: Vectors | Symbols, b_q: Sequence[Tensor]) -> None:
    """Fill the arrays of a direction, step by step."""
    (N, H), empty = work.out.shape, work.out.new_empty
    work.a = work.out if cell.columns == 1 else empty(N, cell.columns * H)
    work.cell = empty(N, H) if cell.cell else ABSENT
    work.reset = empty(N, H) if cell.reset else ABSENT
    work.decayed = empty(N, H) if cell.decay else ABSENT
    walk = stepping(cell, "forward", work)
    for steps in _chunks(work, cell):
        rows = work.rows(*steps)
        inputs.write(rows, work.a[rows, cell.inputs * H :])
        for bias in b_q:
            work.a[rows, :H] = bias
        walk(*steps)


def _back(
    cell: Recurrence, work: Work, inputs: Vectors | Symbols, b_q: Sequence[Tensor]
) -> tuple[Tensor | None, list[Tensor]]:
    """Explicit back-propagation through time in a direction: the gradients of its inputs and weights."""
    chunks = _chunks(work, cell)
    rows = [work.rows(*steps) for steps in chunks]
    work.da = work.out.new_empty(max((r.stop - r.start for r in rows), default=0), cell.columns * work.out.shape[1])
    work.ddecay = torch.empty_like(work.decay) if cell.decay else ABSENT
    walk, sums = stepping(cell, "backward", work), Gradients(cell, inputs, work, b_q)
    for steps in reversed(chunks):
        walk(*steps)
        sums.add(*steps)
    return sums.all()


def _inputs(
    share: Share, x: Tensor, symbols: Tensor | None, W_x: Tensor, b: Tensor, *, wanted: bool = False
) -> Vectors | Symbols:
    """W_x x_t + b of a share: of vectors x (N, d_in), or of symbols (N,) that stand for vectors x (V, d_in)."""
    if symbols is None:
        return Vectors(share.of(x), W_x, b, wanted=wanted)
    return Symbols(share.of(symbols), x, W_x, b)


def first_derivative_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A walk back, which has no walk back of its own: asked for second derivatives, it raises UnrolledError.

    torch's `once_differentiable` refuses them where what comes from above depends on weights; where that is a
    constant, as below a sum of outputs, it leaves out without a word what they owe to the recurrence.
    """

    @functools.wraps(backward)
    def checked(ctx: Any, *above: Any) -> Any:
        if torch.is_grad_enabled():  # by create_graph alone
            raise UnrolledError(
                "recurrent layers have first derivatives alone: leave out `create_graph=True`, or go step by step "
                "with unrolled.cells, which autograd differentiates as often as it is asked"
            )
        return backward(ctx, *above)

    return checked


class _Layer(torch.autograd.Function):
    """One layer in one or two directions: x (N, d_in) -> h (N, D * H), final h (D, B, H), final C (D, B, H)."""

    @staticmethod
    def forward(ctx, cell, plan, window, probe, decay, symbols, x, h0, C0, *weights):  # type: ignore[no-untyped-def]
        (D, _, H), of_direction = h0.shape, _grouped(weights, len(h0))
        out, final_h, final_C = x.new_empty(plan.N, D * H), torch.empty_like(h0), None
        if cell.cell:
            final_C = torch.empty_like(C0)

        def go(share: Share) -> Work:
            W_x, W_h, b, *b_q = of_direction[share.d]
            mine = share.columns(out, H)
            h = mine if share.rows is None else mine.new_empty(share.plan.N, H)
            work = Work(share.plan, share.d == 1, window, cell.linear, h, share.states(h0), W=W_h.contiguous())
            work.C0, work.decay = share.states(C0) if cell.cell else ABSENT, decay
            _ahead(cell, work, _inputs(share, x, symbols, W_x, b), b_q)
            if share.rows is not None:
                mine.index_copy_(0, share.rows, h)
            for final, states, start in ((final_h, work.out, work.h0), (final_C, work.cell, work.C0)):
                if final is not None:
                    final[share.d, share.which] = share.plan.final(states, start, reversed=work.reversed)
            return work

        threads = torch.get_num_threads() if kernel_fits(cell, x) else 1
        shares = cut(plan, D, threads=threads if probe is None else 1)  # who looks on wants whole directions
        works = side_by_side(go, shares, threads=threads)
        kept = [_kept(cell, share, work) for share, work in zip(shares, works, strict=True)]
        ctx.save_for_backward(symbols, x, out, h0, C0, decay, *weights, *itertools.chain.from_iterable(kept))
        ctx.cell, ctx.window, ctx.shares, ctx.threads = cell, window, shares, threads
        ctx.probe = watching(probe)
        ctx.set_materialize_grads(False)
        if probe is not None:
            probe.works[:] = works
        return out, final_h, final_C

    @staticmethod
    @first_derivative_only
    def backward(ctx, dout, dh, dC):  # type: ignore[no-untyped-def]
        cell, shares, threads, probe = ctx.cell, ctx.shares, ctx.threads, ctx.probe()
        symbols, x, out, h0, C0, decay, *saved = ctx.saved_tensors
        (D, _, H), arrays = h0.shape, _grouped(saved[-KEPT * len(shares) :], len(shares))
        of_direction = _grouped(saved[: -KEPT * len(shares)], D)
        dout = torch.zeros_like(out) if dout is None else dout.contiguous()
        dh = torch.zeros_like(h0) if dh is None else dh.clone(memory_format=torch.contiguous_format)
        if cell.cell:
            dC = torch.zeros_like(C0) if dC is None else dC.clone(memory_format=torch.contiguous_format)

        def go(i: int) -> tuple[Work, Tensor | None, list[Tensor]]:
            share, (h, a, C, reset, decayed) = shares[i], arrays[i]
            W_x, W_h, b, *b_q = of_direction[share.d]
            h = share.columns(out, H) if h is None else h
            work = Work(
                share.plan, share.d == 1, ctx.window, cell.linear, h, share.states(h0), a, W_h.contiguous(), C
            )
            work.reset, work.decay, work.decayed = reset, decay, decayed
            work.dout, work.dh = share.of(share.columns(dout, H)), share.states(dh)
            if cell.cell:
                work.C0, work.dC = share.states(C0), share.states(dC)
            if probe is not None:
                work.norm_h, work.norm_C = h.new_empty(len(h)), h.new_empty(len(h)) if cell.cell else ABSENT
            dx, dweights = _back(cell, work, _inputs(share, x, symbols, W_x, b, wanted=ctx.needs_input_grad[6]), b_q)
            for states, start in ((dh, work.dh), (dC, work.dC)):
                if states is not None:
                    states[share.d, share.which] = start
            return work, dx, dweights

        works, dxs, dweights = zip(*side_by_side(go, range(len(shares)), threads=threads), strict=True)
        if probe is not None:
            probe.works[:] = works
        dx = None
        if ctx.needs_input_grad[6]:
            dx = merge(shares, dxs, len(x)) if symbols is None else functools.reduce(torch.add, dxs)
        sums = [_sums(each for share, each in zip(shares, dweights, strict=True) if share.d == d) for d in range(D)]
        return (None, None, None, None, works[0].ddecay, None, dx, dh, dC, *itertools.chain.from_iterable(sums))


def _sums(groups: Iterable[list[Tensor]]) -> list[Tensor]:
    return [functools.reduce(torch.add, each) for each in zip(*groups, strict=True)]


def _kept(cell: Recurrence, share: Share, work: Work) -> list[Tensor]:
    """What a walk back needs of a walk forward; h_t are there already where the share is of the whole batch."""
    h = ABSENT if share.rows is None else work.out
    return [h, ABSENT if cell.columns == 1 else work.a, work.cell, work.reset, work.decayed]


def _grouped(arrays: Sequence[Tensor], groups: int) -> list[Sequence[Tensor]]:
    n = len(arrays) // groups
    return [arrays[i * n : (i + 1) * n] for i in range(groups)]


def layer(
    cell: Recurrence,
    plan: Plan,
    x: Tensor,
    h0: Tensor,
    C0: Tensor | None,
    weights: Sequence[Sequence[Tensor]],
    *,
    window: int = 0,
    probe: Probe | None = None,
    decay: Tensor | None = None,
    symbols: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One recurrent layer over a packed batch.

    Args:
        cell: the recurrence.
        plan: of the batch.
        x: (N, d_in), packed; with symbols (V, d_in), the vectors that they stand for.
        h0: (D, B, H) initial state of each direction, sequences in the plan's order.
        C0: (D, B, H), for the LSTM.
        weights: per direction W_x (. * H, d_in), W_h (. * H, H), b (. * H), and b_q (H) for GRU_AFTER.
        window: truncated BPTT within windows of so many positions; 0 for full BPTT.
        probe: is given the gates and the gradients through time.
        decay: (N, H), of GRU_D, which has one direction: what h_{t-1} is multiplied by.
        symbols: (N,), packed, 0 to V - 1: in the place of vectors that would repeat.

    Returns:
        h (N, D * H), packed; final h (D, B, H); final C (D, B, H) or None.

    Raises:
        UnrolledError: weights of other shapes, beyond which the kernel would read.
    """
    H = h0.shape[2]
    rows = (cell.columns - cell.inputs) * H
    for W_x, W_h, b, *_ in weights:
        if (len(W_x), *W_h.shape, len(b)) != (rows, cell.recurrent * H, H, rows):
            raise UnrolledError(
                f"with d_h = {H} this recurrence has {rows} rows of W_x and b, and W_h {(cell.recurrent * H, H)}; it "
                f"was given {len(W_x)}, {len(b)} and {tuple(W_h.shape)}: make the network anew with its own d_h"
            )
    flat = [w for group in weights for w in group]
    result: tuple[Tensor, Tensor, Tensor | None]
    result = _Layer.apply(cell, plan, window, probe, decay, symbols, x, h0, C0, *flat)  # type: ignore[no-untyped-call]
    return result
