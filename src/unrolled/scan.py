"""The recurrences over whole packed batches, as autograd functions with explicit back-propagation through time.

What does not depend on the order of the steps is done for all of them at once: one product for the inputs before the
walk, one for each of dL/dW_x, dL/dW_h and dL/dx after the walk back. The walks themselves are those of kernel.cpp, or
of stepwise.py where there is no kernel; both fill the same arrays (`Work`) with the same numbers.

The walk back visits dL/dh_t of every t, so a `Probe` gets the gradients through time at no second pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unrolled import kernel, stepwise
from unrolled.packing import Plan


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


ABSENT: Any = None  # an array which the recurrence has no use for


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
    norm_h: Tensor = ABSENT  # (N,) |dL/dh_t|^2
    norm_C: Tensor = ABSENT  # (N,) |dL/dC_t|^2

    def rows(self, begin: int, end: int) -> slice:
        """The rows of steps begin to end of the order in which they are read."""
        first = self.plan.steps
        return slice(first[-1 - end], first[-1 - begin]) if self.reversed else slice(first[begin], first[end])


@dataclass
class Probe:
    """Filled by the next forward and backward pass: the work of each direction, with its gates and gradient norms."""

    works: list[Work] = field(default_factory=list)


_forced: list[str] = []


class force:  # noqa: N801
    """Context manager: use `kernel`, `pytorch` or `torch.nn` whatever there is; for tests and benchmarks."""

    def __init__(self, engine: str):
        self.engine = engine

    def __enter__(self) -> None:
        _forced.append(self.engine)

    def __exit__(self, *_: object) -> None:
        _forced.pop()


def engine(cell: Recurrence, x: Tensor, *, plain: bool, free: bool) -> str:
    """What is fastest for tensors like x: `kernel`, `pytorch` (stepwise.py) or `torch.nn` (stock.py).

    Args:
        cell: the recurrence.
        x: any tensor of the computation.
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


CHUNK = 2**18  # numbers of `a` or `da` in the steps that are gone over at a time: as many as a second cache holds


def kernel_fits(cell: Recurrence, x: Tensor) -> bool:
    """Whether the compiled walks take this recurrence and tensors like x; they can go over a few steps at a time."""
    return engine(cell, x, plain=False, free=False) == "kernel"


def _chunks(cell: Recurrence, plan: Plan, x: Tensor, H: int) -> list[tuple[int, int]]:
    """How many steps to go over at a time, as begins and ends.

    What else there is to do with the steps of a chunk is done while their rows are in the cache. On several threads
    all steps are gone over in one go: waking them for the products of every chunk would take longer.
    """
    steps = len(plan.first) - 1
    in_cache = kernel_fits(cell, x) and torch.get_num_threads() == 1
    size = max(1, CHUNK // (cell.columns * H * max(plan.B, 1)) if in_cache else steps)
    return [(begin, min(begin + size, steps)) for begin in range(0, steps, size)]


def _walk(cell: Recurrence, way: str, works: Sequence[Work]) -> Callable[[int, int], None]:
    """What goes over steps begin to end of every direction, `forward` or `backward`."""
    name = f"{cell.name}_{way}"
    return kernel.Walk(name, works) if kernel_fits(cell, works[0].out) else stepwise.Walk(name, works)


class _Layer(torch.autograd.Function):
    """One layer in one or two directions: x (N, d_in) -> h (N, D * H), final h (D, B, H), final C (D, B, H)."""

    @staticmethod
    def forward(ctx, cell, plan, window, probe, decay, x, h0, C0, *weights):  # type: ignore[no-untyped-def]
        D, _, H = h0.shape
        h0, C0 = h0.contiguous(), None if C0 is None else C0.contiguous()
        out = x.new_empty(plan.N, D * H)
        works, inputs = [], []
        for d, (W_x, W_h, b, *rest) in enumerate(_grouped(weights, D)):
            h = out[:, d * H : (d + 1) * H]
            a = h if cell.columns == 1 else x.new_empty(plan.N, cell.columns * H)
            work = Work(plan, d == 1, window, cell.linear, h, h0[d], a, W_h.contiguous())
            work.cell, work.C0 = (x.new_empty(plan.N, H), C0[d]) if cell.cell else (ABSENT, ABSENT)
            work.reset = x.new_empty(plan.N, H) if cell.reset else ABSENT
            work.decay, work.decayed = (decay, x.new_empty(plan.N, H)) if cell.decay else (ABSENT, ABSENT)
            works.append(work)
            inputs.append((W_x.t(), b, rest))
        walk = _walk(cell, "forward", works)
        for steps in _chunks(cell, plan, x, H):
            for work, (W_xt, b, rest) in zip(works, inputs, strict=True):
                rows = work.rows(*steps)
                torch.addmm(b, x[rows], W_xt, out=work.a[rows, cell.inputs * H :])
                for b_q in rest:
                    work.a[rows, :H] = b_q
            walk(*steps)
        finals = [plan.final(w.out, w.h0, reversed=w.reversed) for w in works]
        finals_C = [plan.final(w.cell, w.C0, reversed=w.reversed) for w in works] if cell.cell else []
        kept = [(None if cell.columns == 1 else w.a, w.cell, w.reset, w.decayed) for w in works]
        ctx.save_for_backward(x, out, h0, C0, decay, *weights, *(array for group in kept for array in group))
        ctx.cell, ctx.plan, ctx.window, ctx.probe = cell, plan, window, probe
        ctx.set_materialize_grads(False)
        if probe is not None:
            probe.works[:] = works
        return out, torch.stack(finals), torch.stack(finals_C) if cell.cell else None

    @staticmethod
    @once_differentiable
    def backward(ctx, dout, dh, dC):  # type: ignore[no-untyped-def]
        cell, plan, probe = ctx.cell, ctx.plan, ctx.probe
        x, out, h0, C0, decay, *saved = ctx.saved_tensors
        D, _, H = h0.shape
        kept = saved[-4 * D :]
        weights = _grouped(saved[: -4 * D], D)
        dout = torch.zeros_like(out) if dout is None else dout.contiguous()
        dh = torch.zeros_like(h0) if dh is None else dh.clone(memory_format=torch.contiguous_format)
        if cell.cell:
            dC = torch.zeros_like(C0) if dC is None else dC.clone(memory_format=torch.contiguous_format)
        chunks = _chunks(cell, plan, x, H)
        n = max((_most_rows(plan, steps) for steps in chunks), default=0)
        works = []
        for d, (_, W_h, *_) in enumerate(weights):
            a, C, reset, decayed = kept[4 * d : 4 * d + 4]
            part = slice(d * H, (d + 1) * H)
            work = Work(plan, d == 1, ctx.window, cell.linear, out[:, part], h0[d], a, W_h.contiguous(), C)
            work.C0, work.dC = (C0[d], dC[d]) if cell.cell else (ABSENT, ABSENT)
            work.reset, work.dout, work.dh = reset, dout[:, part], dh[d]
            work.da = x.new_empty(n, cell.columns * H)
            if cell.decay:
                work.decay, work.decayed, work.ddecay = decay, decayed, torch.empty_like(decay)
            if probe is not None:
                work.norm_h = x.new_empty(plan.N)
                work.norm_C = x.new_empty(plan.N) if cell.cell else ABSENT
            works.append(work)
        dx = torch.zeros_like(x) if ctx.needs_input_grad[5] else None
        sums = [Gradients(cell, x, work, *w) for work, w in zip(works, weights, strict=True)]
        walk = _walk(cell, "backward", works)
        for steps in reversed(chunks):
            walk(*steps)
            for each in sums:
                each.add(*steps, dx)
        if probe is not None:
            probe.works[:] = works
        grads = [grad for each in sums for grad in each.of_weights()]
        return (None, None, None, None, works[0].ddecay, dx, dh, dC if cell.cell else None, *grads)


def _most_rows(plan: Plan, steps: tuple[int, int]) -> int:
    """Rows of so many steps, in either direction at most."""
    return plan.steps[steps[1] - steps[0]]


class Gradients:
    """dL/dW_x, dL/dW_h, dL/db (and db_q) of one direction: sums over all steps, chunk by chunk."""

    def __init__(self, cell: Recurrence, x: Tensor, work: Work, W_x: Tensor, W_h: Tensor, b: Tensor, *b_q: Tensor):
        self.cell, self.work, self.x, self.W_x = cell, work, x, W_x
        self.before = work.decayed  # (N, H) what W_h multiplied: h_{t-1}, or what is left of it
        if self.before is None:
            self.before = work.plan.previous(work.out, work.h0, reversed=work.reversed)
        self.W_xt, self.W_ht = (torch.zeros_like(W.t(), memory_format=torch.contiguous_format) for W in (W_x, W_h))
        self.b = [torch.zeros_like(each) for each in (b, *b_q)]

    def add(self, begin: int, end: int, dx: Tensor | None) -> None:
        """Add the steps begin to end, whose da_t the walk back has just found; dx (N, d_in) gets what is theirs."""
        cell, H, rows = self.cell, self.work.out.shape[1], self.work.rows(begin, end)
        da = self.work.da[: rows.stop - rows.start]
        into, through = da[:, cell.inputs * H :], da[:, : cell.recurrent * H]  # W_x x_t + b; W_h h_{t-1}
        if dx is not None:
            dx[rows].addmm_(into, self.W_x)
        self.W_xt.addmm_(self.x[rows].t(), into)
        if self.work.reset is None:
            self.W_ht.addmm_(self.before[rows].t(), through)
        else:
            self.W_ht[:, : 2 * H].addmm_(self.before[rows].t(), through[:, : 2 * H])
            self.W_ht[:, 2 * H :].addmm_(self.work.reset[rows].t(), through[:, 2 * H :])
        for total, part in zip(self.b, (into, da[:, :H]), strict=False):
            total += part.sum(0)

    def of_weights(self) -> list[Tensor]:
        """In the order of the weights."""
        return [self.W_xt.t(), self.W_ht.t(), *self.b]


def _grouped(weights: Sequence[Tensor], D: int) -> list[Sequence[Tensor]]:
    n = len(weights) // D
    return [weights[d * n : (d + 1) * n] for d in range(D)]


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
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One recurrent layer over a packed batch.

    Args:
        cell: the recurrence.
        plan: of the batch.
        x: (N, d_in), packed.
        h0: (D, B, H) initial state of each direction, sequences in the plan's order.
        C0: (D, B, H), for the LSTM.
        weights: per direction W_x (. * H, d_in), W_h (. * H, H), b (. * H), and b_q (H) for GRU_AFTER.
        window: truncated BPTT within windows of so many positions; 0 for full BPTT.
        probe: is given the gates and the gradients through time.
        decay: (N, H), of GRU_D, which has one direction: what h_{t-1} is multiplied by.

    Returns:
        h (N, D * H), packed; final h (D, B, H); final C (D, B, H) or None.
    """
    flat = [w for group in weights for w in group]
    result: tuple[Tensor, Tensor, Tensor | None]
    result = _Layer.apply(cell, plan, window, probe, decay, x, h0, C0, *flat)  # type: ignore[no-untyped-call]
    return result


class _Linear(torch.autograd.Function):
    """h_t = f_t h_{t-1} + u_t over a packed batch: a = [f, u] (N, 2 H) -> h (N, H), final h (B, H)."""

    @staticmethod
    def forward(ctx, plan, window, probe, reversed, a, h0):  # type: ignore[no-untyped-def]
        work = Work(plan, reversed, window, False, a.new_empty(plan.N, h0.shape[1]), h0.contiguous(), a.contiguous())
        _walk(MINIMAL, "forward", [work])(0, len(plan.first) - 1)
        ctx.save_for_backward(work.a, work.out, work.h0)
        ctx.plan, ctx.window, ctx.probe, ctx.reversed = plan, window, probe, reversed
        ctx.set_materialize_grads(False)
        if probe is not None:
            probe.works.append(work)
        return work.out, plan.final(work.out, h0, reversed=reversed)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout, dh):  # type: ignore[no-untyped-def]
        a, out, h0 = ctx.saved_tensors
        work = Work(ctx.plan, ctx.reversed, ctx.window, False, out, h0, a)
        work.dout = torch.zeros_like(out) if dout is None else dout.contiguous()
        work.dh = torch.zeros_like(h0) if dh is None else dh.clone(memory_format=torch.contiguous_format)
        work.da = torch.empty_like(a)
        if ctx.probe is not None:
            work.norm_h = a.new_empty(ctx.plan.N)
            ctx.probe.works[int(ctx.reversed)] = work
        _walk(MINIMAL, "backward", [work])(0, len(ctx.plan.first) - 1)
        return None, None, None, None, work.da, work.dh


def linear(
    plan: Plan, a: Tensor, h0: Tensor, *, reversed: bool = False, window: int = 0, probe: Probe | None = None
) -> tuple[Tensor, Tensor]:
    """The linear recurrence h_t = f_t h_{t-1} + u_t of minGRU and minLSTM, a = [f, u] (N, 2 H), h0 (B, H)."""
    result: tuple[Tensor, Tensor] = _Linear.apply(plan, window, probe, reversed, a, h0)  # type: ignore[no-untyped-call]
    return result
