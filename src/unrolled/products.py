"""The products that do not depend on the order of the steps: W_x x_t + b before a walk, sums over all steps after.

Inputs are vectors, x (N, d_in), or symbols that stand for vectors, e (V, d_in). There are few symbols and many
positions, so W_x e + b is found once for each symbol and looked up, and what comes back is summed for each symbol
before it meets W_x: the same numbers without a product over all positions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unrolled import kernel

if TYPE_CHECKING:
    from unrolled.recurrence import Recurrence, Work


class Vectors:
    """W_x x_t + b of vectors x (N, d_in), and in a walk back the gradients, dL/dx if it is `wanted`."""

    def __init__(self, x: Tensor, W_x: Tensor, b: Tensor, *, wanted: bool = False):
        self.x, self.W_x, self.b = x, W_x, b
        self.dx = torch.empty_like(x) if wanted else None
        self.dW_xt, self.db = torch.zeros_like(W_x.t(), memory_format=torch.contiguous_format), torch.zeros_like(b)

    def write(self, rows: slice, a: Tensor) -> None:
        """Fill a (n, . * H) of some rows."""
        torch.addmm(self.b, self.x[rows], self.W_x.t(), out=a)

    def add(self, rows: slice, da: Tensor) -> None:
        """Add dL/da (n, . * H) of some rows, each of which comes once."""
        if self.dx is not None:
            torch.mm(da, self.W_x, out=self.dx[rows])
        self.dW_xt.addmm_(self.x[rows].t(), da)
        self.db += da.sum(0)

    def gradients(self) -> tuple[Tensor | None, Tensor, Tensor]:
        """dL/dx (N, d_in), dL/dW_x and dL/db."""
        return self.dx, self.dW_xt.t(), self.db


class Symbols:
    """The same of symbols (N,) that stand for vectors e (V, d_in)."""

    def __init__(self, symbols: Tensor, e: Tensor, W_x: Tensor, b: Tensor):
        self.symbols, self.e, self.W_x = symbols, e, W_x
        self.a = torch.addmm(b, e, W_x.t())  # (V, . * H)
        self.da = torch.zeros_like(self.a)

    def write(self, rows: slice, a: Tensor) -> None:
        """Fill a (n, . * H) of some rows."""
        torch.index_select(self.a, 0, self.symbols[rows], out=a)

    def add(self, rows: slice, da: Tensor) -> None:
        """Add dL/da (n, . * H) of some rows."""
        self.da += kernel.sums(da, self.symbols[rows], len(self.e))

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """dL/de (V, d_in), dL/dW_x and dL/db."""
        return self.da @ self.W_x, self.da.t() @ self.e, self.da.sum(0)


class Gradients:
    """dL/dW_x, dL/dW_h, dL/db (and db_q) of one direction: sums over all steps, chunk by chunk."""

    def __init__(self, cell: "Recurrence", inputs: Vectors | Symbols, work: "Work", b_q: Sequence[Tensor]):
        self.cell, self.work, self.inputs = cell, work, inputs
        self.before = work.decayed  # (N, H) what W_h multiplied: h_{t-1}, or what is left of it
        if self.before is None:
            self.before = work.plan.previous(work.out, work.h0, reversed=work.reversed)
        self.dW_ht = torch.zeros_like(work.W.t(), memory_format=torch.contiguous_format)
        self.db_q = [torch.zeros_like(each) for each in b_q]

    def add(self, begin: int, end: int) -> None:
        """Add the steps begin to end, whose da_t the walk back has just found."""
        cell, H, rows = self.cell, self.work.out.shape[1], self.work.rows(begin, end)
        da = self.work.da[: rows.stop - rows.start]
        self.inputs.add(rows, da[:, cell.inputs * H :])
        through = da[:, : cell.recurrent * H]  # W_h h_{t-1}
        if self.work.reset is None:
            self.dW_ht.addmm_(self.before[rows].t(), through)
        else:
            self.dW_ht[:, : 2 * H].addmm_(self.before[rows].t(), through[:, : 2 * H])
            self.dW_ht[:, 2 * H :].addmm_(self.work.reset[rows].t(), through[:, 2 * H :])
        for each in self.db_q:
            each += da[:, :H].sum(0)

    def all(self) -> tuple[Tensor | None, list[Tensor]]:
        """Those of the inputs, and those of the weights in their order."""
        dx, dW_x, db = self.inputs.gradients()
        return dx, [dW_x, self.dW_ht.t(), db, *self.db_q]
