"""The LSTM's walks of kernel.cpp in Numba, to measure what the choice between the two is worth: forward reading only.

The same arrays, chunks and rational tanh; the products of a step by BLAS, as Numba offers them.
"""

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from unrolled.recurrence import Work

compiled = numba.njit(nogil=True, fastmath={"contract"})  # fused multiply-adds, as the C++ compiler makes them


@compiled
def tanh(x: Any) -> Any:
    """kernel_products.h's, in float32."""
    one = np.float32(1)
    x = min(max(x, np.float32(-9)), np.float32(9))
    s = x * x
    p = np.float32(1.33534156e-08) * s + np.float32(2.06081855e-05)
    p = ((p * s + np.float32(3.49553451e-03)) * s + np.float32(1.33809811e-01)) * s + one
    q = np.float32(7.77604788e-07) * s + np.float32(3.28554634e-04)
    q = ((q * s + np.float32(2.58767799e-02)) * s + np.float32(4.67142968e-01)) * s + one
    return min(max(x * p / q, -one), one)


@compiled
def sigmoid(x: Any) -> Any:
    half = np.float32(0.5)
    return half + half * tanh(half * x)


@compiled
def forward(first: Any, begin: int, end: int, W: Any, a: Any, out: Any, cell: Any, h0: Any, C0: Any) -> None:
    """Fill gates a (N, 4 H), out and cell (N, H) of steps begin to end; W (H, 4 H), h0 and C0 (B, H)."""
    H = out.shape[1]
    through = np.empty((len(h0), 4 * H), np.float32)
    for t in range(begin, end):
        lo, n = first[t], first[t + 1] - first[t]
        h, C = (h0, C0) if t == 0 else (out[first[t - 1] :], cell[first[t - 1] :])
        np.dot(h[:n], W, through[:n])
        for r in range(n):
            gates, product, before, now, state = a[lo + r], through[r], C[r], cell[lo + r], out[lo + r]
            for j in range(H):
                f, i = sigmoid(gates[j] + product[j]), sigmoid(gates[H + j] + product[H + j])
                g, o = tanh(gates[2 * H + j] + product[2 * H + j]), sigmoid(gates[3 * H + j] + product[3 * H + j])
                gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j] = f, i, g, o
                now[j] = f * before[j] + i * g
                state[j] = o * tanh(now[j])


@compiled
def backward(
    first: Any, begin: int, end: int, W: Any, a: Any, cell: Any, C0: Any, dout: Any, da: Any, dh: Any, dC: Any
) -> None:
    """Fill da (n, 4 H) of steps begin to end, and what goes back beyond them, dh and dC (B, H); W (4 H, H)."""
    H, one = dh.shape[1], np.float32(1)
    for t in range(end - 1, begin - 1, -1):
        lo, n = first[t], first[t + 1] - first[t]
        C, at = C0 if t == 0 else cell[first[t - 1] :], lo - first[begin]
        for r in range(n):
            gates, above, before, now = a[lo + r], dout[lo + r], C[r], cell[lo + r]
            d_gates, d_h, d_C = da[at + r], dh[r], dC[r]
            for j in range(H):
                f, i, g, o = gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j]
                c, d = tanh(now[j]), d_h[j] + above[j]
                e = d_C[j] + d * o * (one - c * c)
                d_gates[j] = e * before[j] * f * (one - f)
                d_gates[H + j] = e * g * i * (one - i)
                d_gates[2 * H + j] = e * i * (one - g * g)
                d_gates[3 * H + j] = d * c * o * (one - o)
                d_C[j] = e * f
        np.dot(da[at : at + n], W, dh[:n])


class Walk:
    """In the place of kernel.Walk."""

    def __init__(self, name: str, work: "Work"):
        self.work, self.ahead = work, name == "lstm_forward"
        assert not self.work.reversed, "forward reading only"
        W = self.work.W.numpy()
        self.first, self.W = self.work.plan.first.numpy(), np.ascontiguousarray(W.T) if self.ahead else W

    def __call__(self, begin: int, end: int) -> None:
        w = self.work
        names = ("a", "out", "cell", "h0", "C0") if self.ahead else ("a", "cell", "C0", "dout", "da", "dh", "dC")
        arrays = [getattr(w, name).detach().numpy() for name in names]
        (forward if self.ahead else backward)(self.first, begin, end, self.W, *arrays)
