"""RNN, LSTM and GRU over padded batches, exact at any mix of lengths; used like torch.nn's.

    >>> lstm = LSTM(d_in=16, d_h=64, bidirectional=True)
    >>> h, (h_T, C_T) = lstm(x, lengths)  # x (B, T, 16) -> h (B, T, 128), state after the last true step
    >>> h, state = lstm(x_next, lengths_next, (h_T, C_T))  # one direction only: goes on where it stopped

The equations are those of cells.py. What computes them is chosen by what is there (`engine`); it changes the speed,
not the numbers.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from unrolled import linear, recurrence, scan
from unrolled.errors import UnrolledError
from unrolled.layers import Direction, Recurrent
from unrolled.packing import Plan

FADE = 0.1  # of GRU-D: how fast values and states fade before anything is learned, for a variable's mean time gap


class RNN(Recurrent):
    """h_t = phi(W_h h_{t-1} + W_x x_t + b), phi = tanh; or the identity, whose gradients are powers of W_h."""

    gates = ("h",)

    def __init__(self, d_in: int, d_h: int = 64, *, phi: str = "tanh", **settings: Any):
        if phi not in ("tanh", "identity"):
            raise UnrolledError(f"phi: {phi!r} is not known; use tanh or identity")
        self.phi = phi
        super().__init__(d_in, d_h, **settings)

    @property
    def cell(self) -> recurrence.Recurrence:
        return recurrence.RNN if self.phi == "tanh" else recurrence.LINEAR_RNN


class LSTM(Recurrent):
    """Long short-term memory; `forget_bias` is b_f at the start (Jozefowicz et al. 2015): remember first."""

    gates, keeps = ("f", "i", "C", "o"), "f"
    cell = recurrence.LSTM

    def __init__(self, d_in: int, d_h: int = 64, *, forget_bias: float = 1.0, **settings: Any):
        self.forget_bias = forget_bias
        super().__init__(d_in, d_h, **settings)

    def initialise(self, direction: Direction) -> None:
        super().initialise(direction)
        with torch.no_grad():
            self.block(direction.b, "f").fill_(self.forget_bias)


class GRU(Recurrent):
    """Gated recurrent unit; z_t near 1 keeps the old state.

    Args:
        d_in, d_h, settings: as for every network.
        reset: the reset gate acts `before` the product W_h [r_t * h_{t-1}, x_t], as in the lecture (Cho et al. 2014),
            or `after` it, as in torch.nn and cuDNN, with one more bias inside the product.
    """

    gates, keeps = ("r", "z", "h"), "z"

    def __init__(self, d_in: int, d_h: int = 64, *, reset: str = "before", **settings: Any):
        if reset not in ("before", "after"):
            raise UnrolledError(f"reset: {reset!r} is not known; use before (the lecture's) or after (torch.nn's)")
        self.reset = reset
        super().__init__(d_in, d_h, **settings)

    @property
    def cell(self) -> recurrence.Recurrence:
        return recurrence.GRU if self.reset == "before" else recurrence.GRU_AFTER

    def _direction(self, width: int) -> Direction:
        return Direction(type(self), width, self.d_h, extra_bias=self.reset == "after")

    @classmethod
    def from_torch(cls, module: nn.RNNBase, **settings: Any) -> Self:
        return super().from_torch(module, **{"reset": "after"} | settings)


class GRUD(Recurrent):
    """GRU-D (Che et al. 2018): a GRU over series with gaps, in which what was measured and what is known fade away.

    It reads steps [x, m, delta] (N, 3 d), the last measured values, the mask and the time since: a network's input
    layer must hand on all three (`fill: forward`, `mask` and `delta`, the default). It has one layer and reads
    forward, as time runs. Little fades before anything is learned (`FADE`), but a little does: a decay that starts at
    1 for any gap would have no gradient to leave it.
    """

    gates = ("r", "z", "h")
    cell = recurrence.GRU_D
    looks_up = False

    def __init__(self, d_in: int, d_h: int = 64, *, layers: int = 1, bidirectional: bool = False, **settings: Any):
        if d_in % 3:
            raise UnrolledError(
                "GRU-D reads values, mask and gaps: set `steps: {fill: forward, mask: true, delta: true}`"
            )
        if layers != 1 or bidirectional:
            raise UnrolledError("GRU-D has one layer and reads as time runs: set `layers: 1`, `bidirectional: false`")
        super().__init__(d_in, d_h, **settings)
        d = d_in // 3
        self.w_x, self.b_x = nn.Parameter(torch.full((d,), FADE)), nn.Parameter(torch.zeros(d))
        self.W_gamma, self.b_gamma = nn.Parameter(torch.empty(d_h, d)), nn.Parameter(torch.zeros(d_h))
        nn.init.uniform_(self.W_gamma, 0, 2 * FADE / d)

    def _direction(self, width: int) -> Direction:
        return Direction(type(self), 2 * width // 3, self.d_h)

    def _layer(
        self,
        engine: str,
        plan: Plan,
        y: Tensor,
        directions: Sequence[Direction],
        start: list[Tensor],
        probe: recurrence.Probe | None,
        **symbols: Tensor,
    ) -> tuple[Tensor, list[Tensor]]:
        x, m, delta = y.chunk(3, dim=1)
        gamma_x = torch.exp(-torch.relu(delta * self.w_x + self.b_x))  # (N, d)
        gamma_h = torch.exp(-torch.relu(nn.functional.linear(delta, self.W_gamma, self.b_gamma)))  # (N, d_h)
        read = torch.cat([x * (m + (1 - m) * gamma_x), m], dim=1)  # (N, 2 d)
        weights = [direction.weights() for direction in directions]
        h, final, _ = scan.layer(
            self.cell, plan, read, start[0], None, weights, window=self.window, probe=probe, decay=gamma_h
        )
        return h, [final]


class _Minimal(Recurrent):
    """Gates that see x_t alone, so that all steps can be found at once (Feng et al. 2024, arXiv:2410.01201)."""

    sees_h = False
    looks_up = False
    cell = recurrence.MINIMAL

    def kept_and_added(self, a: Tensor) -> Tensor:
        """[f, u] (N, 2 d_h) of h_t = f_t h_{t-1} + u_t, from pre-activations (N, gates * d_h)."""
        raise NotImplementedError

    def _layer(
        self,
        engine: str,
        plan: Plan,
        y: Tensor,
        directions: Sequence[Direction],
        start: list[Tensor],
        probe: recurrence.Probe | None,
        **symbols: Tensor,
    ) -> tuple[Tensor, list[Tensor]]:
        outputs, finals = [], []
        for d, direction in enumerate(directions):
            a = self.kept_and_added(nn.functional.linear(y, direction.W_x, direction.b))
            h, final = linear.linear(plan, a, start[0][d], reversed=d == 1, window=self.window, probe=probe)
            outputs.append(h)
            finals.append(final)
        return torch.cat(outputs, 1), [torch.stack(finals)]


class MinGRU(_Minimal):
    """minGRU: h_t = z_t * h_{t-1} + (1 - z_t) * (W_h x_t + b_h), z_t near 1 keeps as in the GRU."""

    gates, keeps = ("z", "h"), "z"

    def kept_and_added(self, a: Tensor) -> Tensor:
        z, candidate = a.chunk(2, 1)
        z = torch.sigmoid(z)
        return torch.cat([z, (1 - z) * candidate], 1)


class MinLSTM(_Minimal):
    """minLSTM: forget and input gate, normalised to add up to 1; `forget_bias` as for the LSTM."""

    gates, keeps = ("f", "i", "h"), "f"

    def __init__(self, d_in: int, d_h: int = 64, *, forget_bias: float = 1.0, **settings: Any):
        self.forget_bias = forget_bias
        super().__init__(d_in, d_h, **settings)

    def initialise(self, direction: Direction) -> None:
        super().initialise(direction)
        with torch.no_grad():
            self.block(direction.b, "f").fill_(self.forget_bias)

    def kept_and_added(self, a: Tensor) -> Tensor:
        f, i, candidate = a.chunk(3, 1)
        odds = nn.functional.logsigmoid(f) - nn.functional.logsigmoid(i)  # log f_t / i_t, both perhaps 0
        return torch.cat([torch.sigmoid(odds), torch.sigmoid(-odds) * candidate], 1)
