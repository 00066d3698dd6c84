"""The walks of kernel.cpp in PyTorch, for tensors it cannot take: where nothing was compiled, and on a GPU.

Same arrays, same numbers. In the walks back the local derivatives of a block of steps are found at once, so that what
is left to do step by step is a few products.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from unrolled.recurrence import Work

BLOCK = 4096  # rows whose local derivatives are held at a time


class Step(NamedTuple):
    """Rows lo to hi of step t; `known` of its sequences have a step before, which begins at row `before`."""

    t: int
    lo: int
    hi: int
    before: int
    known: int

    @property
    def rows(self) -> slice:
        return slice(self.lo, self.hi)

    @property
    def n(self) -> int:
        return self.hi - self.lo

    def previous(self, states: Tensor, start: Tensor) -> Tensor:
        """(n, H): states (N, H) one step before, the start (B, H) where there is none."""
        if self.known == 0:
            return start[: self.n]
        inside = states[self.before : self.before + self.known]
        return inside if self.known == self.n else torch.cat([inside, start[self.known : self.n]])


class Walk:
    """A walk over the steps of a direction, all of them in one go."""

    def __init__(self, name: str, work: "Work"):
        self.name, self.work = name, work

    def __call__(self, begin: int, end: int) -> None:
        """Go over all steps, which is what begin and end must say."""
        if self.work.plan.N:
            WALKS[self.name](self.work)


def _steps(work: "Work") -> list[Step]:
    """The steps in reading order."""
    first, last = work.plan.steps, len(work.plan.steps) - 2
    steps = []
    for t in range(last, -1, -1) if work.reversed else range(last + 1):
        lo, hi, prev = first[t], first[t + 1], t + 1 if work.reversed else t - 1
        inside = 0 <= prev <= last
        before = first[prev] if inside else 0
        known = min(first[prev + 1] - before, hi - lo) if inside else 0
        steps.append(Step(t, lo, hi, before, known))
    return steps


def _unread(work: "Work") -> Iterator[tuple[slice, list[Step]]]:
    """The steps from the last read to the first, in blocks, with the rows of each block."""
    block: list[Step] = []
    for step in reversed(_steps(work)):
        block.append(step)
        if abs(step.lo - block[0].lo) + step.n >= BLOCK:
            yield _rows(block), block
            block = []
    if block:
        yield _rows(block), block


def _rows(block: list[Step]) -> slice:
    return slice(min(step.lo for step in block), max(step.hi for step in block))


def _previous(work: "Work", states: Tensor, start: Tensor, block: list[Step]) -> Tensor:
    """The states before every row of a block."""
    in_order = sorted(block, key=lambda step: step.lo)
    return torch.cat([step.previous(states, start) for step in in_order])


def _arrive(work: "Work", step: Step) -> Tensor:
    """dL/dh_t (n, H): what came back through time, plus what comes from above."""
    dh = work.dh[: step.n].add_(work.dout[step.rows])
    if work.norm_h is not None:
        work.norm_h[step.rows] = _norms(dh)
    return dh


def _norms(d: Tensor) -> Tensor:
    """(n, H) -> (n,), in double precision: the square of a float is 0 below 1e-23."""
    found: Tensor = torch.linalg.vector_norm(d, dim=1, dtype=torch.float64)
    return found


def _cut(work: "Work", step: Step) -> None:
    """Truncated BPTT: no gradient goes back from one window to the one read before it."""
    if work.window and step.known and (step.t + work.reversed) % work.window == 0:
        for carried in (work.dh, work.dC):
            if carried is not None:
                carried[: step.known] = 0


def rnn_forward(work: "Work") -> None:
    W = work.W.t().contiguous()
    for step in _steps(work):
        h = work.out[step.rows].addmm_(step.previous(work.out, work.h0), W)
        if not work.linear:
            h.tanh_()


def rnn_backward(work: "Work") -> None:
    for rows, block in _unread(work):
        if not work.linear:
            torch.square(work.out[rows], out=work.da[rows]).neg_().add_(1)
        for step in block:
            dh, da = _arrive(work, step), work.da[step.rows]
            torch.mul(dh, 1 if work.linear else da, out=da)
            torch.mm(da, work.W, out=dh)
            _cut(work, step)


def lstm_forward(work: "Work") -> None:
    H, W = work.out.shape[1], work.W.t().contiguous()
    for step in _steps(work):
        a, C = work.a[step.rows].addmm_(step.previous(work.out, work.h0), W), work.cell[step.rows]
        a[:, : 2 * H].sigmoid_()
        a[:, 2 * H : 3 * H].tanh_()
        a[:, 3 * H :].sigmoid_()
        f, i, g, o = torch.split(a, H, 1)
        torch.mul(f, step.previous(work.cell, work.C0), out=C).addcmul_(i, g)
        torch.mul(o, torch.tanh(C), out=work.out[step.rows])


def lstm_backward(work: "Work") -> None:
    H = work.out.shape[1]
    for rows, block in _unread(work):
        f, i, g, o = torch.split(work.a[rows], H, 1)
        tanh_C = torch.tanh(work.cell[rows])
        to_C = o * (1 - tanh_C.square())  # dC_t / dh_t along h_t = o tanh(C_t)
        df, di, dg, do = torch.split(work.da[rows], H, 1)  # the local derivatives, then times dC_t or dh_t
        torch.mul(f * (1 - f), _previous(work, work.cell, work.C0, block), out=df)
        torch.mul(i * (1 - i), g, out=di)
        torch.mul(1 - g.square(), i, out=dg)
        torch.mul(o * (1 - o), tanh_C, out=do)
        for step in block:
            dh, da, dC = _arrive(work, step), work.da[step.rows], work.dC[: step.n]
            dC.addcmul_(dh, to_C[step.lo - rows.start : step.hi - rows.start])
            if work.norm_C is not None:
                work.norm_C[step.rows] = _norms(dC)
            da[:, : 3 * H].view(-1, 3, H).mul_(dC[:, None])
            da[:, 3 * H :].mul_(dh)
            dC.mul_(work.a[step.rows, :H])
            torch.mm(da, work.W, out=dh)
            _cut(work, step)


def gru_forward(work: "Work") -> None:
    H = work.out.shape[1]
    gates, W = work.W[: 2 * H].t().contiguous(), work.W[2 * H :].t().contiguous()
    for step in _steps(work):
        a, before = work.a[step.rows], step.previous(work.out, work.h0)
        if work.decay is not None:
            before = torch.mul(before, work.decay[step.rows], out=work.decayed[step.rows])
        r, z = a[:, : 2 * H].addmm_(before, gates).sigmoid_().chunk(2, 1)
        kept = torch.mul(r, before, out=work.reset[step.rows])
        n = a[:, 2 * H :].addmm_(kept, W).tanh_()
        torch.lerp(n, before, z, out=work.out[step.rows])


def gru_backward(work: "Work") -> None:
    H = work.out.shape[1]
    gates, W = work.W[: 2 * H], work.W[2 * H :]
    for rows, block in _unread(work):
        r, z, n = torch.split(work.a[rows], H, 1)
        came = _previous(work, work.out, work.h0, block)
        before = came if work.decay is None else work.decayed[rows]
        dr, dz, dn = torch.split(work.da[rows], H, 1)  # the local derivatives, then times dh_t
        torch.mul(r * (1 - r), before, out=dr)
        torch.mul(z * (1 - z), before - n, out=dz)
        torch.mul(1 - z, 1 - n.square(), out=dn)
        for step in block:
            dh, da = _arrive(work, step), work.da[step.rows]
            da[:, H:].view(-1, 2, H).mul_(dh[:, None])
            d = da[:, 2 * H :] @ W  # dL/d(r h_{t-1})
            da[:, :H].mul_(d)
            dh.mul_(work.a[step.rows, H : 2 * H]).addcmul_(d, work.a[step.rows, :H])
            dh.addmm_(da[:, : 2 * H], gates)
            if work.decay is not None:
                work.ddecay[step.rows] = dh
                dh.mul_(work.decay[step.rows])
            _cut(work, step)
        if work.decay is not None:
            work.ddecay[rows] *= came


def gru_after_forward(work: "Work") -> None:
    H, W = work.out.shape[1], work.W.t().contiguous()
    for step in _steps(work):
        a, before = work.a[step.rows], step.previous(work.out, work.h0)
        a[:, : 3 * H].addmm_(before, W)
        r, z = a[:, H : 3 * H].sigmoid_().chunk(2, 1)
        n = a[:, 3 * H :].addcmul_(r, a[:, :H]).tanh_()
        torch.lerp(n, before, z, out=work.out[step.rows])


def gru_after_backward(work: "Work") -> None:
    H = work.out.shape[1]
    for rows, block in _unread(work):
        q, r, z, n = torch.split(work.a[rows], H, 1)
        dq, dr, dz, dn = torch.split(work.da[rows], H, 1)  # the local derivatives, then times dh_t
        torch.mul(1 - z, 1 - n.square(), out=dn)
        torch.mul(dn, r, out=dq)
        torch.mul(r * (1 - r), q, out=dr).mul_(dn)
        torch.mul(z * (1 - z), _previous(work, work.out, work.h0, block) - n, out=dz)
        for step in block:
            dh, da = _arrive(work, step), work.da[step.rows]
            da.view(-1, 4, H).mul_(dh[:, None])
            dh.mul_(work.a[step.rows, 2 * H : 3 * H]).addmm_(da[:, : 3 * H], work.W)
            _cut(work, step)


def linear_forward(work: "Work") -> None:
    f, u = work.a.chunk(2, 1)
    begin = work.plan.ends if work.reversed else work.plan.starts  # rows of the first step read
    u = u.index_put((begin,), f[begin] * work.h0[: len(begin)] + u[begin])
    grid = work.plan.r, work.plan.read_at(work.reversed)
    work.out.copy_(_linear(_grid(f, grid), _grid(u, grid))[grid])


def linear_backward(work: "Work") -> None:
    plan, H = work.plan, work.out.shape[1]
    begin, end = (plan.ends, plan.starts) if work.reversed else (plan.starts, plan.ends)
    f = work.a[:, :H]
    back = f  # what dL/dh_t is multiplied by on its way to t - 1
    if work.window:
        back = f.masked_fill(((plan.t + work.reversed) % work.window == 0)[:, None], 0)
    dh = work.dout.index_add(0, end, work.dh[: len(end)])
    grid = plan.r, plan.read_at(work.reversed)
    shifted = _grid(back, grid).roll(-1, 1)
    shifted[:, -1] = 0
    dh = _linear(shifted.flip(1), _grid(dh, grid).flip(1)).flip(1)[grid]
    torch.mul(dh, plan.previous(work.out, work.h0, reversed=work.reversed), out=work.da[:, :H])
    work.da[:, H:] = dh
    work.dh[: len(begin)] = (dh * f)[begin]
    if work.norm_h is not None:
        work.norm_h.copy_(_norms(dh))


def _grid(x: Tensor, at: tuple[Tensor, Tensor]) -> Tensor:
    """(N, H) -> (B, T, H) in reading order, 0 after the end."""
    B, T = (int(i.max()) + 1 for i in at)
    return x.new_zeros(B, T, x.shape[1]).index_put_(at, x)


def _linear(f: Tensor, u: Tensor) -> Tensor:
    """h_t = f_t h_{t-1} + u_t for (B, T, H) from 0: each step is combined with that 1, 2, 4 ... before."""
    reach = 1
    while reach < f.shape[1]:
        u = torch.cat([u[:, :reach], torch.addcmul(u[:, reach:], f[:, reach:], u[:, :-reach])], 1)
        f = torch.cat([f[:, :reach], f[:, reach:] * f[:, :-reach]], 1)
        reach *= 2
    return u


WALKS: dict[str, Callable[["Work"], None]] = {
    f"{cell}_{way}": globals()[f"{cell}_{way}"]
    for cell in ("rnn", "lstm", "gru", "gru_after", "linear")
    for way in ("forward", "backward")
}
