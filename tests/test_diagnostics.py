"""The instruments against autograd and by hand."""

import gc
import itertools
import math
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from test_recurrent import arguments
from unrolled import cells, diagnostics, engines, kernel
from unrolled.recipe import keeps_clipping
from unrolled.recurrent import GRU, LSTM, RNN, MinGRU, MinLSTM

ENGINES = ["pytorch"] + ["kernel"] * (kernel.library() is not None)


def seen(network, lengths, weigh=lambda h: h[:, :, 0].sum(), engine="pytorch", scale=1.0) -> pd.DataFrame:
    torch.manual_seed(1)
    n = torch.tensor(lengths)
    x = torch.randn(len(n), int(n.max()), network.d_in, dtype=next(network.parameters()).dtype)
    network.probes = []
    with engines.force(engine):
        outputs, _ = network(x, n)
        weigh(outputs).backward()
    tally = diagnostics.Tally()
    diagnostics.look(network, tally, scale)
    return pd.DataFrame(tally.rows())


def values(rows: pd.DataFrame, quantity: str, gate: str, direction: str = "forward") -> dict[int, float]:
    chosen = rows.query("quantity == @quantity and gate == @gate and direction == @direction")
    return dict(zip(chosen["distance"], chosen["value"], strict=True))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(
    ("cls", "own", "equation"),
    [
        (RNN, {}, cells.rnn),
        (LSTM, {}, cells.lstm),
        (GRU, {}, cells.gru),
        (GRU, {"reset": "after"}, cells.gru_after),
        (MinGRU, {}, cells.min_gru),
    ],
)
def test_gradients_through_time_are_those_of_autograd(cls, own, equation, both, engine):
    torch.manual_seed(0)
    network = cls(3, 5, bidirectional=both, **own).double()
    rows = seen(network, [6], engine=engine, weigh=lambda h: (h[:, :, 0] + h[:, :, -1]).sum())
    torch.manual_seed(1)
    x = torch.randn(1, 6, 3, dtype=torch.float64)
    for d, direction in enumerate(network.each()):
        weights, states = arguments(network, direction), []
        state = [torch.zeros(1, 5, dtype=torch.float64)] * (1 + network.cell.cell)
        for x_t in (x.flip(1) if d else x).unbind(1):
            after = equation(x_t, *state, *weights)
            state = list(after) if isinstance(after, tuple) else [after]
            states.append(state)
        h = torch.cat([state[0] for state in states])
        total = (h[:, [0, -1]] if not both else h[:, -d]).sum()  # the first of all units, and the last
        for gate, states_of in zip("hC", zip(*states, strict=True), strict=False):
            norms = [g.norm().item() for g in torch.autograd.grad(total, states_of, retain_graph=True)]
            expected = {i: norms[5 - i] for i in (0, 1, 2, 3)} | {4: math.hypot(norms[1], norms[0]) / 2**0.5}
            found = values(rows, "gradient", gate, "backward" if d else "forward")
            assert found == pytest.approx(expected, rel=1e-12)


def test_a_loss_that_was_scaled_up_is_seen_as_it_was():
    network = GRU(3, 5, layers=2).double()
    found = seen(network, [6, 4])
    scaled = seen(network, [6, 4], weigh=lambda h: 2.0**16 * h[:, :, 0].sum(), scale=2.0**16)
    pd.testing.assert_frame_equal(scaled, found, rtol=1e-12)
    beyond = seen(network, [6, 4], weigh=lambda h: math.inf * h[:, :, 0].sum(), scale=2.0**16)
    assert set(beyond["quantity"]) == set(found["quantity"]) - {"gradient"}
    assert not np.isfinite(seen(network, [6, 4], weigh=lambda h: math.inf * h[:, :, 0].sum())["value"]).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("cls", [RNN, LSTM, GRU, MinGRU, MinLSTM])
def test_what_was_seen_is_freed_when_nobody_looks_on(cls, backward, engine):
    network = cls(3, 5, layers=2, bidirectional=True)
    network.probes = []
    with engines.force(engine):
        h, _ = network(torch.randn(2, 6, 3), torch.tensor([6, 4]))
    if backward:
        h.sum().backward()
    held = [weakref.ref(work) for probe in network.probes for work in probe.works]
    assert len(held) == 4
    assert all(work() is not None for work in held)
    del h
    network.probes = None
    gc.collect()
    assert not any(work() is not None for work in held)


def test_networks_of_16_bits_are_seen():
    assert set(seen(LSTM(3, 5).bfloat16(), [6, 4])["quantity"]) >= {"gradient", "product"}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_gradient_that_vanishes_is_shown_in_float32(engine):
    network = RNN(3, 8, phi="identity")  # W_h starts orthogonal
    with torch.no_grad():
        network.stack[0][0].W_h.mul_(0.5)
    found = values(seen(network, [120], weigh=lambda h: h[0, -1, 0], engine=engine), "gradient", "h")
    bins = itertools.pairwise([*diagnostics.EDGES[diagnostics.EDGES < 120], 120])
    expected = {lo: math.sqrt(np.mean(0.25 ** np.arange(lo, hi))) for lo, hi in bins}
    assert found == pytest.approx(expected, rel=1e-4, abs=0)
    assert 0 < found[91] < 1e-27


@pytest.mark.skipif(kernel.library() is None, reason="no compiler built the kernel, which alone has threads")
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("cls", [RNN, LSTM, GRU])
def test_several_threads_see_what_one_sees(cls, both, threads):
    torch.manual_seed(0)
    network, found = cls(3, 5, bidirectional=both).double(), []
    for count in (1, 3):
        threads(count)
        found.append(seen(network, [7, 0, 2, 30, 5], engine="kernel"))
    pd.testing.assert_frame_equal(*found, rtol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("cls", "gate"), [(LSTM, "f"), (GRU, "z"), (MinGRU, "z"), (MinLSTM, "f")])
def test_gate_products_are_those_of_the_steps_still_to_read(cls, gate, engine):
    network = cls(3, 5, bidirectional=True).double()
    rows = seen(network, [4, 2], engine=engine)
    for work in network.probes[0].works:
        gates = diagnostics._activations(network, work)[gate]
        plan = work.plan
        by_distance: dict[int, list[float]] = {}
        for r, n in enumerate([4, 2]):
            order = [plan.steps[t] + r for t in (range(n - 1, -1, -1) if work.reversed else range(n))]
            for i in range(n):
                product = gates[order[i + 1 :]].prod(0) if i + 1 < n else torch.ones(5)
                by_distance.setdefault(n - 1 - i, []).append(product.mean().item())
        expected = {d: np.mean(v) for d, v in by_distance.items()}
        found = values(rows, "product", gate, "backward" if work.reversed else "forward")
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_gates_that_are_closed_give_products_of_nothing(engine):
    rows = seen(LSTM(3, 4, forget_bias=-60.0), [9, 9, 2], engine=engine)  # in float32 the kernel's f_t is 0
    found = values(rows, "product", "f")
    assert found.pop(0) == 1.0
    assert list(found) == [1, 2, 3, 4, 6, 8]
    assert all(0 <= product < 1e-20 for product in found.values())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cls", [RNN, LSTM, MinGRU])
def test_where_nothing_is_read_nothing_is_seen(cls, engine):
    assert seen(cls(3, 4), [0, 0], engine=engine).empty


class Deterministic(TorchDispatchMode):
    """Refuses what, by torch.use_deterministic_algorithms, CUDA refuses of floats where training must repeat."""

    REFUSED = ("cumsum", "cumsum_", "histc", "kthvalue", "median", "put_", "bincount")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        floats = any(isinstance(arg, torch.Tensor) and arg.is_floating_point() for arg in args)
        assert not (floats and func.overloadpacket.__name__ in self.REFUSED), func
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("cls", [RNN, LSTM, GRU, MinGRU, MinLSTM])
def test_a_look_calls_nothing_that_a_gpu_refuses(cls):
    with Deterministic():
        rows = seen(cls(3, 5, layers=2, bidirectional=True), [9, 4, 1])
    assert values(rows, "gradient", "h")[8] > 0


def test_saturation_is_the_share_of_units_at_their_ends():
    network = LSTM(3, 4)
    with torch.no_grad():
        for gate, bias in {"f": 50.0, "i": -50.0, "C": 50.0, "o": 0.0}.items():
            network.block(network.stack[0][0].b, gate).fill_(bias)
    rows = seen(network, [5, 5])
    assert values(rows, "high", "f") == {0: 1.0}
    assert values(rows, "low", "i") == {0: 1.0}
    assert values(rows, "saturated", "C") == {0: 1.0}
    assert values(rows, "low", "o") == values(rows, "high", "o") == {0: 0.0}
    assert values(rows, "product", "f")[4] == pytest.approx(1.0)


@pytest.mark.parametrize("B", [1, 2, 4, 8, 20, 32, 64])
def test_saturation_is_looked_for_in_every_sequence(B):
    """Whatever the batch's size: one saturated sequence in B counts 1 / B."""
    network = RNN(1, 3)
    with torch.no_grad():
        network.stack[0][0].W_x.fill_(1.0)
    for b in (0, B - 1):
        x = torch.zeros(B, 70, 1)
        x[b] = 100.0
        network.probes = []
        network(x, torch.full((B,), 70))[0].sum().backward()
        tally = diagnostics.Tally()
        diagnostics.look(network, tally)
        assert values(pd.DataFrame(tally.rows()), "saturated", "h")[0] == pytest.approx(1 / B, rel=1e-5)


@pytest.mark.parametrize("cls", [RNN, LSTM, GRU])
def test_an_orthogonal_W_h_has_norm_and_radius_one(cls):
    network = cls(3, 6, layers=2, bidirectional=True)
    rows = pd.DataFrame(diagnostics.weights(network))
    assert len(rows) == 2 * 4 * len(network.gates)
    assert rows["value"].to_numpy() == pytest.approx(1.0, abs=1e-5)
    with torch.no_grad():
        nn.init.constant_(network.stack[0][0].W_h, 0.5)
    first = pd.DataFrame(diagnostics.weights(network)).query("layer == 1 and direction == 'forward'")
    assert first["value"].to_numpy() == pytest.approx(3.0)  # of a 6 x 6 matrix of halves


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_have_no_norm_and_no_radius(bad):
    network = LSTM(3, 4)
    with torch.no_grad():
        network.block(network.stack[0][0].W_h, "i")[1, 2] = bad
    found = pd.DataFrame(diagnostics.weights(network)).set_index("gate")["value"]
    assert found.loc["i"].isna().all()
    assert found.drop("i").to_numpy() == pytest.approx(1.0, abs=1e-5)


def test_reset_after_names_its_blocks_in_the_order_of_W_h():
    network = GRU(3, 4, reset="after")
    with torch.no_grad():
        network.stack[0][0].W_h[:4] *= 3  # the candidate's block lies first
    rows = pd.DataFrame(diagnostics.weights(network)).query("quantity == 'spectral_norm'").set_index("gate")["value"]
    assert rows.to_dict() == pytest.approx({"h": 3.0, "r": 1.0, "z": 1.0}, rel=1e-5)


@pytest.mark.parametrize("cls", [RNN, LSTM, GRU, MinGRU, MinLSTM])
def test_both_engines_show_the_same(cls):
    if len(ENGINES) == 1:
        pytest.skip("no compiler built the kernel")
    network = cls(3, 5, layers=2, bidirectional=True).double()
    one, two = (seen(network, [30, 17, 1], engine=engine) for engine in ENGINES)
    pd.testing.assert_frame_equal(one, two, rtol=1e-9)


@pytest.mark.parametrize(
    ("shares", "tau", "warned"),
    [
        ([0.9] * 3, 0.1, True),
        ([0.9] * 2, 0.1, False),
        ([0.9] * 4, 0.1, False),  # said once
        ([0.1, 0.9, 0.9, 0.9], 0.4, True),
        ([0.9, 0.9, 0.1], 0.1, False),
        ([0.9] * 3, 0.5, False),
    ],
)
def test_a_small_tau_that_keeps_clipping_is_warned_of_once(shares, tau, warned):
    assert keeps_clipping(shares, tau) == warned
