"""What goes on inside a recurrent network in training: gradients through time, saturation, memory, W_h.

The explicit walk back of scan.py holds dL/dh_t of every t already; here its norms are averaged by distance from the
end of what is read. With mean pooling every h_t also gets its share of the gradient directly, so that the curve
flattens where that share outweighs what comes back through time.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled import recurrence
from unrolled.layers import Recurrent
from unrolled.recurrence import Work

# Distances are averaged within [EDGES[i], EDGES[i + 1]).
EDGES = np.unique([0, *(round(2 ** (k / 2)) for k in range(36))])
SEQUENCES = 8  # the longest of a batch, whose gate products are followed
EVERY = 7  # of the rows of a batch, one is looked at for saturation: no usual batch size has such a factor
LOW, HIGH = 0.05, 0.95

Key = tuple[int, str, str, str]  # layer, direction, quantity, gate


class Tally:
    """Means over the batches that were looked at, by distance; `rows` lists them."""

    def __init__(self) -> None:
        self.sums: dict[Key, np.ndarray] = defaultdict(lambda: np.zeros((2, len(EDGES))))

    def add(self, key: Key, distances: np.ndarray, values: np.ndarray) -> None:
        """Add values (n,) at distances (n,) from the end."""
        places = np.searchsorted(EDGES, distances, side="right") - 1
        self.sums[key] += [np.bincount(places, w, len(EDGES)) for w in (values, np.ones_like(values))]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per layer, direction, quantity, gate and distance; quantities without one have distance 0."""
        for (layer, direction, quantity, gate), (total, count) in self.sums.items():
            for i in count.nonzero()[0]:
                value = total[i] / count[i]
                yield {
                    "layer": layer,
                    "direction": direction,
                    "quantity": quantity,
                    "gate": gate,
                    "distance": int(EDGES[i]),
                    "value": float(np.sqrt(value) if quantity == "gradient" else value),
                }


def look(network: Recurrent, tally: Tally, scale: float = 1.0) -> None:
    """Take down what the probes of a network saw in its last forward and backward pass, of a loss times `scale`.

    Quantities: `gradient`, the root mean square of |dL/dh_t| (gate h) and of |dL/dC_t| (gate C) over sequences, by
    distance of t from the last step read; `product`, the mean over units and sequences of the product of the forget
    (LSTM) or update gates (GRU) from t + 1 to the end, which is dC_T/dC_t along the direct path; `low` and `high`,
    the shares of a gate below 0.05 and above 0.95; `saturated`, the share of a tanh beyond 0.95. A gradient that
    was scaled up for 16 bits, and overflowed, is left out: no step is made with it.
    """
    for layer, probe in enumerate(network.probes or []):
        for work in probe.works:
            _look(network, work, (layer + 1, "backward" if work.reversed else "forward"), tally, scale)


def _look(network: Recurrent, work: Work, where: tuple[int, str], tally: Tally, scale: float) -> None:
    plan, H = work.plan, work.out.shape[1]
    if not plan.N:
        return
    distance = plan.read_at(not work.reversed).numpy(force=True)  # steps still to read
    for state, norms in (("h", work.norm_h), ("C", work.norm_C)):
        found = None if norms is None else norms.double().numpy(force=True) / scale
        if found is not None and (scale == 1 or np.isfinite(found).all()):
            tally.add((*where, "gradient", state), distance, found**2)
    for gate, values in _activations(network, work).items():
        for quantity, share in _shares(gate, values[::EVERY]).items():
            tally.add((*where, quantity, gate), np.zeros(1), np.array([share]))
    if network.keeps:
        gates = _activations(network, work)[network.keeps]
        rows = plan.r < SEQUENCES
        products, at = _products(gates[rows], plan.r[rows], plan.read_at(not work.reversed)[rows], H)
        tally.add((*where, "product", network.keeps), at, products)


def _activations(network: Recurrent, work: Work) -> dict[str, Tensor]:
    """Each gate's values (N, H); of the RNN h_t itself."""
    H, cell = work.out.shape[1], network.cell
    if cell.columns == 1:
        return {} if cell.linear else {"h": work.out}
    if cell is recurrence.MINIMAL:
        return {network.gates[0]: work.a[:, :H]}  # the candidate is not squashed
    return dict(zip(network.gates, torch.split(work.a[:, cell.inputs * H :], H, 1), strict=True))


def _shares(gate: str, values: Tensor) -> dict[str, float]:
    if gate in ("h", "C"):  # a tanh
        return {"saturated": float((values.abs() > HIGH).float().mean())}
    return {"low": float((values < LOW).float().mean()), "high": float((values > HIGH).float().mean())}


def _products(gates: Tensor, r: Tensor, left: Tensor, H: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean over units of the product of the gates (n, H) of the `left` (n,) steps still to read, per row."""
    factors = gates.new_ones(int(r.max()) + 1, int(left.max()) + 2, H)
    factors[r, left + 1] = gates  # a place on: without the row's own gate
    return factors.cumprod(1)[r, left].mean(1).double().numpy(force=True), left.numpy(force=True)


def weights(network: Recurrent) -> Iterator[dict[str, Any]]:
    """Spectral norm and spectral radius of each gate's block of W_h, as rows like those of `Tally`.

    Both are NaN where the block is not finite: LAPACK must not be asked for these.
    """
    if not network.sees_h:
        return
    for i, direction in enumerate(network.each()):
        layer, d = divmod(i, network.directions)
        names = ("h", "r", "z") if network.cell is recurrence.GRU_AFTER else network.gates
        for gate, block in zip(names, torch.split(direction.W_h.detach(), network.d_h), strict=True):
            where = {"layer": layer + 1, "direction": "backward" if d else "forward"}
            found = dict.fromkeys(("spectral_norm", "spectral_radius"), math.nan)
            if bool(block.isfinite().all()):
                found["spectral_norm"] = float(torch.linalg.matrix_norm(block, 2))
                found["spectral_radius"] = float(torch.linalg.eigvals(block).abs().max())
            for quantity, value in found.items():
                yield where | {"quantity": quantity, "gate": gate, "distance": 0, "value": value}
