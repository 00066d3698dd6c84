"""The recurrent core against the lecture's equations, autograd and torch.nn: at any lengths, in every engine."""

import copy
import itertools
import math
import pickle
import re
import shutil
from contextlib import contextmanager
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from unrolled import cells, engines, kernel, recurrence, recurrent, scan, shares, stepwise, stock
from unrolled.errors import UnrolledError
from unrolled.packing import Plan, pack, unpack
from unrolled.recurrent import GRU, LSTM, RNN, MinGRU, MinLSTM

NETWORKS = {
    "rnn": (RNN, {}, cells.rnn),
    "linear": (RNN, {"phi": "identity"}, cells.linear_rnn),
    "lstm": (LSTM, {}, cells.lstm),
    "gru": (GRU, {}, cells.gru),
    "gru_after": (GRU, {"reset": "after"}, cells.gru_after),
    "min_gru": (MinGRU, {}, cells.min_gru),
    "min_lstm": (MinLSTM, {}, cells.min_lstm),
}
STOCK = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru_after": nn.GRU}
ENGINES = [
    pytest.param("kernel", marks=pytest.mark.skipif(kernel.library() is None, reason="no compiler built the kernel")),
    "pytorch",
]
LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=6)

NEAR = {torch.float64: 1e-12, torch.float32: 3e-5}

each_dtype = pytest.mark.parametrize("dtype", NEAR, ids=str)
each_network = pytest.mark.parametrize("name", NETWORKS)
each_engine = pytest.mark.parametrize("engine", ENGINES)


def made(name: str, d_in: int = 3, d_h: int = 5, **settings):
    """A network in double precision with no weight at a special value."""
    cls, own, _ = NETWORKS[name]
    torch.manual_seed(0)
    return cls(d_in, d_h, init="uniform", **own, **settings).double()


def batch(network, lengths, T=None):
    """x, lengths and an initial state, all random."""
    torch.manual_seed(1)
    n = torch.tensor(lengths)
    x = torch.randn(len(n), T or int(n.max()) + 1, network.d_in, dtype=torch.float64, requires_grad=True)
    shape = network.layers * network.directions, len(n), network.d_h
    parts = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(1 + network.cell.cell)]
    return x, n, parts


def as_state(parts):
    return tuple(parts) if len(parts) == 2 else parts[0]


def by_the_equations(network, equation, x, lengths, parts):
    """Outputs and final states, a sequence and a step at a time; truncated by detaching where a window begins."""
    rows, ends = [], []
    for b, n in enumerate(lengths.tolist()):
        y, last = x[b, :n], []
        for depth, directions in enumerate(network.stack):
            outputs = []
            for d, direction in enumerate(directions):
                weights = arguments(network, direction)
                state = [part[depth * network.directions + d, b : b + 1] for part in parts]
                steps, order = {}, range(n - 1, -1, -1) if d else range(n)
                for i, t in enumerate(order):
                    if network.window and i and (t + d) % network.window == 0:
                        state = [part.detach() for part in state]
                    after = equation(y[t : t + 1], *state, *weights)
                    state = list(after) if isinstance(after, tuple) else [after]
                    steps[t] = state[0]
                outputs.append(torch.cat([steps[t] for t in range(n)]) if n else y.new_zeros(0, network.d_h))
                last.append(state)
            y = torch.cat(outputs, 1)
        rows.append(nn.functional.pad(y, (0, 0, 0, x.shape[1] - n)))
        ends.append(last)
    finals = [torch.stack([torch.cat([layer[k] for layer in end]) for end in ends], 1) for k in range(len(parts))]
    return torch.stack(rows), finals


def arguments(network, direction):
    """W = [W_h, W_x] and b of each gate in turn, and b_q, as the functions of `cells` want them."""
    found = []
    for gate in network.gates:
        W_x, b = network.block(direction.W_x, gate), network.block(direction.b, gate)
        if network.sees_h:
            own = ["h", "r", "z"] if network.cell is recurrence.GRU_AFTER else network.gates
            W_h = direction.W_h.split(network.d_h)[own.index(gate)]
            W_x = torch.cat([W_h, W_x], 1)
        found += [W_x, b]
    return found + ([direction.b_q] if hasattr(direction, "b_q") else [])


def scalar(outputs, finals):
    """Weighs every output and final state differently."""
    torch.manual_seed(2)
    weights = [torch.randn(value.shape, dtype=torch.float64) for value in [outputs, *finals]]
    return sum((value * weight).sum() for value, weight in zip([outputs, *finals], weights, strict=True))


def assert_near(found, expected, relative):
    """Each within `relative` of the largest number of what is expected of it, or 0 where all of that is 0."""
    for mine, theirs in zip(found, expected, strict=True):
        theirs = torch.zeros_like(mine) if theirs is None else theirs
        assert (mine - theirs).abs().max() <= relative * float(theirs.detach().abs().max())


@contextmanager
def going(chunk):
    """Over so many numbers at a time, which one thread does."""
    threads, usual = torch.get_num_threads(), scan.CHUNK
    torch.set_num_threads(1)
    scan.CHUNK = chunk
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        scan.CHUNK = usual


def check_against_the_equations(network, equation, engine, lengths, dtype=torch.float64):
    """Outputs, final states and all gradients of an engine in `dtype`, against the equations in float64."""
    x, n, parts = batch(network, lengths)
    with torch.no_grad():
        for exact in [x, *parts, *network.parameters()]:
            exact.copy_(exact.to(dtype))  # the same numbers for both
    expected, ends = by_the_equations(network, equation, x, n, parts)
    leaves = [x, *parts, *network.parameters()]
    theirs = torch.autograd.grad(scalar(expected, ends), leaves, allow_unused=True)
    mine, (x, *parts) = copy.deepcopy(network).to(dtype), [each.detach().to(dtype) for each in (x, *parts)]
    leaves = [each.requires_grad_() for each in (x, *parts, *mine.parameters())]
    with engines.force(engine):
        outputs, state = mine(x, n, as_state(parts))
        finals = list(state) if isinstance(state, tuple) else [state]
        gradients = torch.autograd.grad(scalar(outputs, finals), leaves)
    assert_near([outputs, *finals], [expected, *ends], NEAR[dtype])
    assert_near(gradients, theirs, NEAR[dtype])


@each_engine
@each_network
@settings(max_examples=12)
@given(
    lengths=LENGTHS,
    layers=st.integers(1, 2),
    both=st.booleans(),
    window=st.sampled_from([0, 1, 3]),
    chunk=st.sampled_from([1, 100, scan.CHUNK]),
)
def test_outputs_states_and_gradients_are_those_of_the_equations(name, engine, lengths, layers, both, window, chunk):
    network = made(name, layers=layers, bidirectional=both, window=window)
    with going(chunk):
        check_against_the_equations(network, NETWORKS[name][2], engine, lengths)


@each_engine
@each_network
@each_dtype
@pytest.mark.parametrize(
    ("d_h", "lengths"),
    [
        *itertools.product([1, 16, 37], [[1], [1] * 13, [7, 7, 7], list(range(20, 0, -1))]),
        (65, [6, 3, 3, 1, 0]),
        (130, [6, 3, 3, 1, 0]),  # products over more than a block of the kernel's
    ],
)
def test_every_width_and_batch_size_is_exact(name, engine, dtype, d_h, lengths):
    network = made(name, d_h=d_h, bidirectional=True)
    check_against_the_equations(network, NETWORKS[name][2], engine, lengths, dtype)


@each_engine
@each_network
def test_gradcheck(name, engine):
    network = made(name, d_in=2, d_h=3, bidirectional=True)
    x, n, inputs = batch(network, [3, 0, 2])
    names = [name for name, _ in network.named_parameters()]
    with engines.force(engine):

        def f(x, *given):
            parts, weights = given[: len(inputs)], dict(zip(names, given[len(inputs) :], strict=True))
            outputs, state = functional_call(network, weights, (x, n, as_state(parts)))
            return (outputs, *state) if isinstance(state, tuple) else (outputs, state)

        assert torch.autograd.gradcheck(f, (x, *inputs, *network.parameters()))


@pytest.mark.parametrize("engine", [*ENGINES, "torch.nn"])
@pytest.mark.parametrize("name", STOCK)
def test_float32_agrees_with_torch_nn(name, engine):
    torch.manual_seed(0)
    module = STOCK[name](16, 64, num_layers=2, bidirectional=True, batch_first=True)
    cls, own, _ = NETWORKS[name]
    network = cls.from_torch(module, **own)
    n = torch.randint(1, 60, (32,))
    x = torch.randn(32, 60, 16)
    packed, _ = module(nn.utils.rnn.pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False))
    expected, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True, total_length=60)
    expected.square().sum().backward()
    with engines.force(engine):
        outputs, _ = network(x, n, need_state=False)
        outputs.square().sum().backward()
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-5)
    for i, direction in enumerate(network.each()):
        gradients = stock.to_torch(network.cell, [weights.grad for weights in direction.weights()])
        inner = gradients.pop("bias_hh_l")[128:]  # of torch.nn's two biases ours is the sum; b_q it is alone
        pairs = [(mine, getattr(module, name + stock.suffix(*divmod(i, 2))).grad) for name, mine in gradients.items()]
        if name == "gru_after":
            pairs.append((inner, getattr(module, "bias_hh_l" + stock.suffix(*divmod(i, 2))).grad[128:]))
        for mine, theirs in pairs:
            assert (mine - theirs).norm() / theirs.norm() < 1e-5


@pytest.mark.parametrize("name", STOCK)
def test_a_torch_nn_network_without_biases_has_biases_of_0_here(name):
    cls, own, _ = NETWORKS[name]
    module = STOCK[name](3, 5, num_layers=2, bidirectional=True, bias=False, batch_first=True).double()
    network = cls.from_torch(module, **own)
    x, n, _ = batch(network, [6, 6])
    torch.testing.assert_close(network(x[:, :6], n)[0], module(x[:, :6])[0], rtol=0, atol=1e-12)
    assert not any(weights.any() for name, weights in network.named_parameters() if ".b" in name)


@each_engine
@each_network
def test_dropout_is_between_layers_in_training_alone(name, engine):
    network = made(name, layers=2, dropout=1.0)  # the second layer sees nothing but zeros
    x, n, _ = batch(network, [5, 3])
    with engines.force(engine):
        trained = network(x, n)[0]
        whole = network.eval()(x, n)[0]
        assert torch.equal(whole, network(x, n)[0])
        with torch.no_grad():
            network.stack[1][0].W_x.zero_()
        blind = network(x, n)[0]
        alone = made(name, layers=1, dropout=1.0)
        assert torch.equal(alone(x, n)[0], alone.eval()(x, n)[0])
    torch.testing.assert_close(trained, blind, rtol=0, atol=1e-12)
    assert not torch.allclose(trained, whole)
    half = made(name, layers=2, dropout=0.5)
    assert not torch.equal(half(x, n)[0], half(x, n)[0])


@pytest.mark.parametrize("name", STOCK)
def test_weights_go_to_torch_nn_and_back(name):
    network = made(name, layers=2, bidirectional=True)
    module = network.to_torch()
    assert isinstance(module, STOCK[name])
    x, n, parts = batch(network, [6, 6])
    found, expected = network(x[:, :6], n, as_state(parts)), module(x[:, :6], as_state(parts))
    torch.testing.assert_close(
        found, expected, rtol=0, atol=1e-12
    )  # states too: the same order of layers, directions
    back = type(network).from_torch(module)
    for mine, theirs in zip(network.parameters(), back.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert module.training
    assert back.training
    assert not network.eval().to_torch().training
    assert not type(network).from_torch(module.eval()).training


@pytest.mark.parametrize(
    ("convert", "says"),
    [
        (lambda: GRU(3, 5).to_torch(), "use reset: after"),
        (lambda: GRU.from_torch(nn.GRU(3, 5), reset="before"), "use reset: after"),
        (lambda: RNN(3, 5, phi="identity").to_torch(), "no counterpart"),
        (lambda: RNN.from_torch(nn.RNN(3, 5, nonlinearity="relu")), "cannot take the weights"),
        (lambda: LSTM.from_torch(nn.LSTM(3, 5, proj_size=2)), "cannot take the weights"),
        (lambda: LSTM.from_torch(nn.GRU(3, 5)), "cannot take the weights"),
        (lambda: MinGRU.from_torch(nn.GRU(3, 5)), "cannot take the weights"),
    ],
)
def test_what_torch_nn_does_not_have_is_not_converted(convert, says):
    with pytest.raises(UnrolledError, match=says):
        convert()


@each_engine
@each_network
@settings(max_examples=10)
@given(lengths=LENGTHS, width=st.integers(1, 4))
def test_windows_that_hand_their_state_on_give_what_the_whole_gives(name, engine, lengths, width):
    network = made(name, layers=2)
    x, n, parts = batch(network, lengths)
    with engines.force(engine):
        whole, end = network(x, n, as_state(parts))
        state, pieces = as_state(parts), []
        for start in range(0, x.shape[1], width):
            window = x[:, start : start + width]
            piece, state = network(window, (n - start).clamp(0, window.shape[1]), state)
            pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, end, rtol=0, atol=1e-12)


@each_engine
@each_network
def test_truncation_is_what_detaching_the_state_between_windows_does(name, engine):
    network = made(name)
    x, n, _ = batch(network, [8, 5])
    weights = torch.randn(2, 9, 5, dtype=torch.float64)
    with engines.force(engine):
        state, loss = None, 0
        for start in (0, 3, 6):
            piece, state = network(x[:, start : start + 3], (n - start).clamp(0, 3), state)
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
            loss = loss + (piece * weights[:, start : start + 3]).sum()
        expected = torch.autograd.grad(loss, list(network.parameters()))
        network.window = 3
        found = torch.autograd.grad((network(x, n)[0] * weights).sum(), list(network.parameters()))
    assert_near(found, expected, 1e-12)


@each_engine
@pytest.mark.parametrize("radius", [0.5, 0.9, 1.0, 1.1])
def test_the_gradient_of_a_linear_rnn_decays_with_the_spectral_radius(engine, radius):
    network = made("linear", d_h=8)
    direction = network.stack[0][0]
    with torch.no_grad():
        direction.W_h.copy_(radius * nn.init.orthogonal_(torch.empty(8, 8, dtype=torch.float64)))
    x, n, _ = batch(network, [40])
    network.probes = []
    with engines.force(engine):
        outputs, _ = network(x, n)
        outputs[0, 39, 0].backward()
    expected = torch.tensor([radius ** (39 - t) for t in range(40)], dtype=torch.float64)
    torch.testing.assert_close(network.probes[0].works[0].norm_h, expected, rtol=1e-12, atol=0)


@each_engine
@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_a_gradient_in_float32_is_followed_as_far_as_its_numbers_go(engine, radius):
    """To 1e-36 and to 7e35: their squares would be 0, and infinite."""
    network = RNN(3, 8, phi="identity")  # W_h starts orthogonal
    with torch.no_grad():
        network.stack[0][0].W_h.mul_(radius)
    network.probes, T = [], 120
    with engines.force(engine):
        network(torch.zeros(1, T, 3), torch.tensor([T]))[0][0, -1, 0].backward()
    expected = torch.tensor([radius ** (T - 1 - t) for t in range(T)])
    torch.testing.assert_close(network.probes[0].works[0].norm_h, expected, rtol=1e-4, atol=0)


@each_engine
@each_network
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_spreads_forward_in_its_own_sequence_and_nowhere_else(name, engine, bad):
    network = made(name).float()
    x = torch.randn(3, 6, 3)
    x[1, 2, 0] = bad
    with engines.force(engine):
        outputs, _ = network(x, torch.tensor([6, 6, 4]))
    assert outputs[[0, 2]].isfinite().all()
    assert outputs[1, :2].isfinite().all()
    if math.isnan(bad):
        assert outputs[1, 2:].isnan().all()
    elif name == "linear":
        assert not outputs[1, 2:].isfinite().any()


@each_engine
@each_network
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_go_forward_and_back_as_in_the_equations(name, engine, bad):
    network = made(name)
    x, n, parts = batch(network, [6, 5, 4])
    with torch.no_grad():
        x[1, 2, 0] = bad
    leaves = [x, *parts, *network.parameters()]
    expected, ends = by_the_equations(network, NETWORKS[name][2], x, n, parts)
    theirs = torch.autograd.grad(scalar(expected, ends), leaves, allow_unused=True)
    with engines.force(engine):
        outputs, state = network(x, n, as_state(parts))
        finals = list(state) if isinstance(state, tuple) else [state]
        mine = torch.autograd.grad(scalar(outputs, finals), leaves)
    assert not any(g.isfinite().all() for g, p in zip(mine, leaves, strict=True) if p is network.stack[0][0].W_x)
    for a, b in zip([outputs, *finals, *mine], [expected, *ends, *theirs], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12, equal_nan=True)


@each_engine
@each_network
def test_second_derivatives_are_refused_and_not_left_out(name, engine):
    network = made(name)
    x, n, _ = batch(network, [4, 2])
    with engines.force(engine):
        total = network(x, n)[0].sum()  # what comes from above is a constant
        with pytest.raises(UnrolledError, match=r"first derivatives alone.*unrolled\.cells"):
            torch.autograd.grad(total, x, create_graph=True)


class Packed(nn.Module):
    """`packed` of a network in the place of `forward`."""

    def __init__(self, network):
        super().__init__()
        self.of = network

    def forward(self, *given):
        return self.of.packed(*given)


def scattered(x):
    """The same numbers, each beside a NaN, with axes the other way round in memory."""
    wide = torch.stack([x, torch.full_like(x, math.nan)], dim=-1)
    return wide.transpose(0, -2).contiguous().transpose(0, -2)[..., 0]


@each_engine
@each_network
def test_how_numbers_lie_in_memory_changes_nothing(name, engine):
    network = made(name, layers=2, bidirectional=True)
    plan = Plan.of(torch.tensor([6, 0, 4]), 6)
    _, _, parts = batch(network, [6, 0, 4])
    y = torch.randn(plan.N, network.d_in, dtype=torch.float64, requires_grad=True)
    names, leaves = [name for name, _ in network.named_parameters()], [y, *parts, *network.parameters()]
    above, found = torch.randn(plan.N, network.d_out, dtype=torch.float64), []
    for lying in (scattered, torch.clone):
        x, *others = map(lying, leaves)
        state, weights = as_state(others[: len(parts)]), dict(zip(names, others[len(parts) :], strict=True))
        with engines.force(engine):
            outputs, end = functional_call(
                Packed(network), {f"of.{k}": v for k, v in weights.items()}, (x, plan, state)
            )
            finals = list(end) if isinstance(end, tuple) else [end]
            grads = torch.autograd.grad([outputs, *finals], leaves, [lying(each) for each in (above, *parts)])
        found.append([outputs, *finals, *grads])
    assert not scattered(above).is_contiguous()
    assert_near(*found, 1e-12)


@each_engine
@each_network
def test_what_is_frozen_changes_no_other_gradient(name, engine):
    network = made(name, layers=2)
    x, n, parts = batch(network, [5, 0, 3])
    leaves = [x, *parts, *network.parameters()]

    def loss():
        outputs, state = network(x, n, as_state(parts))
        return scalar(outputs, list(state) if isinstance(state, tuple) else [state])

    with engines.force(engine):
        whole = torch.autograd.grad(loss(), leaves)
        for leaf, expected in zip(leaves, whole, strict=True):
            for other in leaves:
                other.requires_grad_(other is leaf)
            (found,) = torch.autograd.grad(loss(), leaf)
            assert torch.equal(found, expected)
        leaf.requires_grad_(False)
        assert not loss().requires_grad


@each_dtype
@each_engine
@each_network
def test_under_autocast_everything_is_as_precise_as_the_weights(name, engine, dtype):
    network = made(name, layers=2, bidirectional=True).to(dtype)
    x, n, parts = batch(network, [5, 0, 3])
    x, *parts = (each.detach().bfloat16() for each in (x, *parts))  # as a layer before would give them
    found = []
    for automatic in (True, False):
        given = (x, parts) if automatic else (x.to(dtype), [part.to(dtype) for part in parts])
        with engines.force(engine), torch.autocast("cpu", torch.bfloat16, enabled=automatic):
            outputs, state = network(given[0], n, as_state(given[1]))
            finals = list(state) if isinstance(state, tuple) else [state]
        gradients = torch.autograd.grad(outputs.square().sum(), list(network.parameters()))
        found.append([outputs, *finals, *gradients])
    for mixed, whole in zip(*found, strict=True):
        assert mixed.dtype == dtype
        assert torch.equal(mixed, whole)


@each_network
def test_a_copy_computes_the_same_and_is_its_own(name):
    cls, own, _ = NETWORKS[name]
    network = made(name, layers=2, bidirectional=True)
    x, n, parts = batch(network, [5, 0, 3])
    network.probes = []  # what a look leaves behind is in nobody's way
    network(x, n, as_state(parts))[0].sum().backward()
    loaded = cls(3, 5, layers=2, bidirectional=True, **own).double()
    loaded.load_state_dict(network.state_dict())
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), loaded):
        expected = network(x, n, as_state(parts))[0]
        assert torch.equal(twin(x, n, as_state(parts))[0], expected)
        with torch.no_grad():
            twin.stack[1][1].b.add_(1)
        assert not torch.allclose(twin(x, n, as_state(parts))[0], expected)
        assert torch.equal(network(x, n, as_state(parts))[0], expected)


@pytest.mark.parametrize("engine", [*ENGINES, "torch.nn"])
@pytest.mark.parametrize(("B", "T"), [(0, 3), (2, 3), (2, 0)])
@each_network
def test_a_batch_without_a_single_step_hands_its_state_on(name, B, T, engine):
    network = made(name, layers=2, bidirectional=True)
    x = torch.randn(B, T, network.d_in, dtype=torch.float64, requires_grad=True)
    shape = 4, B, network.d_h
    parts = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(1 + network.cell.cell)]
    with engines.force(engine):
        outputs, end = network(x, torch.zeros(B, dtype=torch.int64), as_state(parts))
    finals = list(end) if isinstance(end, tuple) else [end]
    assert outputs.shape == (B, T, network.d_out)
    assert not outputs.any()
    assert all(torch.equal(start, final) for start, final in zip(parts, finals, strict=True))
    total = outputs.sum() + sum(final.sum() for final in finals)
    of_x, *gradients = torch.autograd.grad(total, [x, *parts, *network.parameters()])
    assert not of_x.any()
    assert all((gradient == 1).all() for gradient in gradients[: len(parts)])
    assert not any(gradient.any() for gradient in gradients[len(parts) :])


@each_engine
@each_network
def test_nan_in_the_padding_is_never_read(name, engine):
    network = made(name, bidirectional=True)
    x, n, _ = batch(network, [4, 2, 0])
    spoiled = x.detach().clone()
    for row, length in enumerate(n):
        spoiled[row, length:] = math.nan
    with engines.force(engine):
        assert torch.equal(network(spoiled, n)[0], network(x, n)[0])


@each_engine
def test_denormal_numbers_survive(engine):
    network = RNN(1, 1, phi="identity")
    with torch.no_grad():
        for weights in network.parameters():
            weights.fill_(0)
        network.stack[0][0].W_x.fill_(1)
        network.stack[0][0].W_h.fill_(0.5)
    x = torch.zeros(1, 2, 1)
    x[0, 0] = 2e-38
    with engines.force(engine):
        outputs, _ = network(x.requires_grad_(), torch.tensor([2]))
        (back,) = torch.autograd.grad(outputs[0, 1, 0], x, torch.tensor(2e-38))
    assert 0 < outputs[0, 1, 0].item() < 1.2e-38
    assert 0 < back[0, 0, 0].item() < 1.2e-38
    assert (torch.tensor(1e-40) * 1).item() > 0  # nothing switched the process to flush-to-zero


@pytest.mark.parametrize(("f", "i", "kept"), [(-200.0, -200.0, 0.5), (-199.0, -200.0, 0.7310586), (-200.0, 9.0, 0.0)])
def test_gates_of_min_lstm_add_up_to_1_where_both_are_0_in_floats(f, i, kept):
    a = torch.tensor([[f, i, 3.0]], requires_grad=True)
    found = MinLSTM(1, 1).kept_and_added(a)
    assert found.tolist() == [pytest.approx([kept, 3 * (1 - kept)])]
    found.sum().backward()
    assert a.grad.isfinite().all()


@pytest.mark.skipif(kernel.library() is None, reason="no compiler built the kernel")
@pytest.mark.parametrize("both", [False, True])
@each_network
def test_the_number_of_threads_changes_no_bit(name, both):
    network = made(name, d_h=24, bidirectional=both).float()
    n = torch.randint(0, 30, (17,))
    x, state = torch.zeros(17, 30, 3), torch.randn(1 + both, 17, 24, requires_grad=True)  # all is in the walks
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        outputs, _ = network(x, n, (state, state) if network.cell.cell else state)
        found.append((outputs, torch.autograd.grad(outputs.sin().sum(), state)[0]))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("both", [False, True])
@each_network
def test_threads_that_share_a_layer_find_what_one_finds(name, both, count, threads):
    network = made(name, layers=2, bidirectional=both)
    x, n, parts = batch(network, [9, 0, 4, 7, 7, 1, 2])
    found = []
    for each in (1, count):
        threads(each)
        outputs, state = network(x, n, as_state(parts))
        finals = list(state) if isinstance(state, tuple) else [state]
        leaves = [x, *parts, *network.parameters()]
        found.append([outputs, *finals, *torch.autograd.grad(scalar(outputs, finals), leaves)])
    assert torch.get_num_threads() == count
    assert_near(*found, 1e-12)


def test_each_thread_that_shares_a_layer_counts_as_the_only_one(threads):
    threads(3)
    pool = shares._pool(3)
    assert set(pool.map(lambda _: torch.get_num_threads(), range(12))) == {1}
    assert torch.get_num_threads() == 3


def test_fewer_sequences_than_threads(threads):
    threads(4)
    network = made("lstm")
    for n in ([3], [3, 1], [0], [0, 0], []):
        outputs, _ = network(
            torch.randn(len(n), 3, network.d_in, dtype=torch.double), torch.tensor(n, dtype=torch.int64)
        )
        assert outputs.shape == (len(n), 3, network.d_out)


def test_threads_that_share_a_layer_work_in_inference_mode(threads):
    threads(2)
    network = made("gru")
    x, n, _ = batch(network, [3, 5, 2])
    with torch.inference_mode():
        assert not network(x, n)[0].requires_grad
    network(x, n)[0].sum().backward()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@each_network
def test_symbols_give_what_their_vectors_give(name, both, count, threads):
    threads(count)
    network = made(name, layers=2, bidirectional=both)
    plan = Plan.of(torch.tensor([6, 0, 3, 9]), 9)
    symbols = torch.randint(0, 5, (plan.N,))
    e = torch.randn(5, network.d_in, dtype=torch.double, requires_grad=True)
    leaves, found = [e, *network.parameters()], []
    for y, extra in ((e, {"symbols": symbols}), (e[symbols], {})):
        y, state = network.packed(y, plan, **extra)
        finals = list(state) if isinstance(state, tuple) else [state]
        found.append([y, *finals, *torch.autograd.grad(scalar(y, finals), leaves)])
    assert_near(*found, 1e-12)


@pytest.fixture(params=["any", "avx2", "avx512"])
def level(request, monkeypatch):
    """Uses the library of one instruction set."""
    if kernel.library() is None:
        pytest.skip("no compiler built the kernel")
    if request.param not in kernel.LEVELS.get(torch.backends.cpu.get_cpu_capability(), ("any",)):
        pytest.skip(f"this processor has no {request.param}")
    library = kernel.load(request.param)
    assert library is not None
    monkeypatch.setattr(kernel, "library", lambda: (request.param, library))


@pytest.mark.usefixtures("level")
@each_network
@each_dtype
@pytest.mark.parametrize("d_h", [5, 130])
def test_every_instruction_set_gives_the_same_numbers(name, dtype, d_h):
    network = made(name, d_h=d_h, bidirectional=True)
    check_against_the_equations(network, NETWORKS[name][2], "kernel", [9, 4, 0, 1], dtype)


SPECIAL = [math.inf, -math.inf, math.nan, 0.0, -0.0, 1e-40, -1e-40, 1.4e-45, 1.2e-38, 3.4e38, -3.4e38]


def squashed(cls, dtype, **settings):
    """What a network of 37 units makes of pre-activations a (n, 1), those of all its gates being a: h_1 and gates."""
    a = torch.cat([torch.linspace(-30, 30, 12001, dtype=torch.float64), torch.tensor(SPECIAL, dtype=torch.float64)])
    network = cls(1, 37, **settings).to(dtype)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            weights.fill_(1.0 if name.endswith("W_x") else 0.0)
    network.probes = []
    with engines.force("kernel"), torch.no_grad():
        h, _ = network(a.to(dtype)[:, None, None], torch.ones(len(a), dtype=torch.int64))
    (work,) = network.probes[0].works
    return a.to(dtype).double()[:, None], h[:, 0], work.a.split(37, 1)


@pytest.mark.usefixtures("level")
@each_dtype
def test_tanh_and_sigmoid_keep_their_range_and_their_specials(dtype):
    """Each gate's and each state's numbers over the range where they turn, at its ends and beyond."""
    near = {"rtol": 0, "atol": 1e-15 if dtype == torch.float64 else 3e-7, "equal_nan": True, "check_dtype": False}
    a, h, _ = squashed(RNN, dtype)
    tanh, sigmoid = torch.tanh(a), torch.sigmoid(a)
    torch.testing.assert_close(
        h, tanh.expand_as(h), **near | {"rtol": 4e-7, "atol": 1e-44}
    )  # relative, however small
    seen = [("tanh", h)]
    a, h, (f, i, g, o) = squashed(LSTM, dtype, forget_bias=0.0)
    torch.testing.assert_close(h, (sigmoid * torch.tanh(sigmoid * tanh)).expand_as(h), **near)
    seen += [("sigmoid", f), ("sigmoid", i), ("tanh", g), ("sigmoid", o), ("h", h)]
    for own in ({}, {"reset": "after"}):
        _, h, gates = squashed(GRU, dtype, **own)
        r, z, n = gates[-3:]
        torch.testing.assert_close(h, ((1 - sigmoid) * tanh).expand_as(h), **near)
        seen += [("sigmoid", r), ("sigmoid", z), ("tanh", n), ("h", h)]
    for kind, found in seen:
        assert torch.equal(found.isnan(), a.isnan().expand_as(found))
        assert not (found.abs() > 1).any()
        assert kind != "sigmoid" or not (found < 0).any()
        if kind != "h":
            torch.testing.assert_close(found, (tanh if kind == "tanh" else sigmoid).expand_as(found), **near)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder to install libraries in that are none, in the place of the package's."""
    monkeypatch.setattr(kernel, "FOLDER", tmp_path)
    kernel.library.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    kernel.library.cache_clear()


def test_a_library_that_cannot_be_loaded_is_as_good_as_none(installed):
    assert kernel.library() is None
    assert "no kernel was compiled at installation" in kernel.status()
    (installed / f"_kernel_any{EXTENSION_SUFFIXES[0]}").write_text("no library")
    assert kernel.library() is None
    assert re.search(r"PyTorch; the kernel cannot be loaded: .*_kernel_any.*pip install -e \.", kernel.status())
    network = made("gru")
    x, n, _ = batch(network, [2])
    assert network.engine(x) == "pytorch"
    assert network(x, n)[0].isfinite().all()


def test_a_library_of_another_python_is_not_taken(installed):
    (installed / "_kernel_any.cpython-27-other.so").write_text("no library")
    assert kernel.load("any") is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("n", [0, 1, 40])
def test_sums_of_rows_are_those_of_index_add(dtype, n):
    wide, index = torch.randn(n, 12).to(dtype), torch.randint(0, 3, (n,))
    for x in (wide, wide[:, 2:9], wide[:, ::2]):
        expected = torch.zeros(4, x.shape[1], dtype=dtype).index_add(0, index, x)
        assert torch.equal(kernel.sums(x, index, 4), expected)


@pytest.mark.skipif(kernel.library() is None, reason="no compiler built the kernel")
def test_a_library_of_other_sources_is_not_taken(tmp_path, monkeypatch):
    level, _ = kernel.library()
    for path in [*kernel.FOLDER.glob("kernel*.[ch]*"), *kernel.FOLDER.glob(f"_kernel_{level}*")]:
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(kernel, "FOLDER", tmp_path)
    assert kernel.load(level) is not None
    with (tmp_path / "kernel_walk.h").open("a") as stream:
        stream.write("// changed since\n")
    kernel.library.cache_clear()
    try:
        assert re.search(rf"PyTorch; the installation is stale, _kernel_{level}.*pip install -e \.", kernel.status())
        assert kernel.library() is None
    finally:
        monkeypatch.undo()
        kernel.library.cache_clear()


def test_without_a_kernel_the_lstm_runs_in_torch_nn_and_the_others_in_pytorch(monkeypatch):
    monkeypatch.setattr(kernel, "library", lambda: None)
    x = torch.zeros(1, 1, 3)
    assert LSTM(3, 4).engine(x, free=True) == "torch.nn"
    assert LSTM(3, 4).engine(x) == "pytorch"
    assert LSTM(3, 4, window=5).engine(x, free=True) == "pytorch"
    assert GRU(3, 4).engine(x, free=True) == "pytorch"
    network = made("lstm", bidirectional=True, layers=2)
    x, n, _ = batch(network, [5, 3, 1])
    found, state = network(x, n, need_state=False)
    assert state is None
    torch.testing.assert_close(found, network(x, n)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", STOCK)
def test_torch_nn_is_exact_at_any_mix_of_lengths(name, both):
    network = made(name, layers=2, bidirectional=both)
    x, n, _ = batch(network, [5, 0, 9, 1])
    found = []
    for engine in ("torch.nn", "pytorch"):
        with engines.force(engine):
            outputs, _ = network(x, n, need_state=False)
        found.append([outputs, *torch.autograd.grad(outputs.sin().sum(), [x, *network.parameters()])])
    assert_near(*found, 1e-12)


def test_on_a_gpu_cudnn_serves_where_conventions_agree_and_nobody_looks_on():
    fake = engines.Like(torch.device("cuda"))
    assert LSTM(3, 4).engine(fake) == "torch.nn"
    assert GRU(3, 4).engine(fake) == "pytorch"
    assert GRU(3, 4, reset="after").engine(fake) == "torch.nn"
    watched = LSTM(3, 4)
    watched.probes = []
    assert watched.engine(fake) == "pytorch"


@each_network
def test_packed_torch_nn_gives_states_too(name):
    if name not in STOCK:
        pytest.skip("torch.nn has no such recurrence")
    network = made(name, bidirectional=True)
    x, n, parts = batch(network, [5, 3, 0])
    plan = Plan.of(n, x.shape[1])
    weights = [network.arrange(direction) for direction in network.stack[0]]
    C0 = parts[1] if len(parts) == 2 else None
    args = (network.cell, plan, pack(x, plan), parts[0], C0, weights)
    named = {
        f"{k}{'0' + '_reverse' * d}": v for d, w in enumerate(weights) for k, v in stock.to_torch(args[0], w).items()
    }
    for found, expected in zip(stock._packed(*args[:-1], named), scan.layer(*args), strict=True):
        assert (found is None) == (expected is None)
        if found is not None:
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@given(lengths=LENGTHS, extra=st.integers(0, 2))
def test_packing_and_unpacking_are_inverse_and_leave_padding_out(lengths, extra):
    T = max(lengths) + extra
    plan, x = Plan.of(torch.tensor(lengths), T), torch.randn(len(lengths), T, 2)
    packed = pack(x, plan)
    assert len(packed) == sum(lengths)
    back = unpack(packed, plan)
    for row, n in enumerate(lengths):
        assert torch.equal(back[row, :n], x[row, :n])
        assert not back[row, n:].any()


@given(LENGTHS)
def test_a_plan_lies_in_time_order_with_the_longest_first(lengths):
    plan = Plan.of(torch.tensor(lengths), max(lengths))
    assert plan.lengths.tolist() == sorted(lengths, reverse=True)
    assert plan.t.tolist() == sorted(plan.t.tolist())
    for t, (lo, hi) in enumerate(itertools.pairwise(plan.steps)):
        assert hi - lo == sum(n > t for n in lengths)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru_after"])
def test_initialisation_is_the_lectures(name):
    cls, own, _ = NETWORKS[name]
    network = cls(6, 8, layers=2, bidirectional=True, **own)
    for direction in network.each():
        for W_h in direction.W_h.split(8):
            torch.testing.assert_close(W_h.T @ W_h, torch.eye(8), rtol=0, atol=1e-5)
        for gate in network.gates:
            expected = 1.0 if (name, gate) == ("lstm", "f") else 0.0
            assert (network.block(direction.b, gate) == expected).all()


@pytest.mark.parametrize(("init", "spread"), [("orthogonal", 8**-0.5), ("glorot", (2 / 16) ** 0.5)])
def test_the_start_of_W_h_can_be_chosen(init, spread):
    torch.manual_seed(0)
    W_h = torch.cat([RNN(3, 8, init=init).stack[0][0].W_h for _ in range(50)])
    assert W_h.std().item() == pytest.approx(spread, rel=0.05)


@pytest.mark.parametrize(("cls", "stock"), [(RNN, nn.RNN), (LSTM, nn.LSTM), (GRU, nn.GRU)])
def test_all_may_start_as_in_torch_nn(cls, stock):
    torch.manual_seed(0)
    mine, theirs = ([made(6, 8) for _ in range(50)] for made in (lambda *w: cls(*w, init="uniform"), stock))
    for weights, expected in (("W_h", "weight_hh_l0"), ("W_x", "weight_ih_l0")):
        spread = torch.cat([getattr(network, expected) for network in theirs]).std().item()
        found = torch.cat([getattr(network.stack[0][0], weights) for network in mine])
        assert found.std().item() == pytest.approx(spread, rel=0.05)
        assert found.abs().max() <= 8**-0.5
    for gate in set(mine[0].gates) - {"f"}:
        biases = torch.cat([network.block(network.stack[0][0].b, gate) for network in mine])
        assert biases.std().item() == pytest.approx(24**-0.5, rel=0.1)
    assert "f" not in mine[0].gates or (mine[0].block(mine[0].stack[0][0].b, "f") == 1).all()


def test_the_forget_bias_can_be_chosen():
    direction = next(LSTM(3, 4, forget_bias=2.5).each())
    assert direction.b.tolist() == [2.5] * 4 + [0.0] * 12


def test_weights_keep_their_places_when_they_are_parametrised():
    network = made("gru_after")
    x, n, _ = batch(network, [5, 3])
    before = network(x, n)[0]
    nn.utils.parametrize.register_parametrization(network.stack[0][0], "W_h", nn.Identity())
    assert torch.equal(network(x, n)[0], before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_lengths_may_be_integers_of_any_size(dtype):
    network = made("lstm", bidirectional=True)
    x, n, parts = batch(network, [5, 0, 3, 1])
    expected = network(x, n, tuple(parts))
    torch.testing.assert_close(network(x, n.to(dtype), tuple(parts)), expected, rtol=0, atol=0)
    torch.testing.assert_close(network(x, n.tolist(), tuple(parts)), expected, rtol=0, atol=0)


ZEROS = torch.zeros(2, 5, 3)


def with_a_smaller_W_h():
    network = LSTM(3, 4)
    network.stack[0][0].W_h = nn.Parameter(torch.zeros(4, 4))
    return network


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LSTM(3, 4, init="zeros"), "orthogonal, glorot or uniform"),
        (lambda: LSTM(3, 4, window=-1), "use 0 for full"),
        (lambda: GRU(3, 4, reset="both"), "before"),
        (lambda: RNN(3, 4, phi="relu"), "tanh or identity"),
        (lambda: LSTM(3, 0), "at least 1"),
        (lambda: GRU(3, 4, layers=0), "at least 1"),
        (lambda: LSTM(3, 4)(ZEROS, torch.tensor([5, 6])), "numbers from 0 to 5"),
        (lambda: LSTM(3, 4)(ZEROS, torch.tensor([5.0, 4.0])), "whole numbers"),
        (lambda: LSTM(3, 4)(ZEROS[0], torch.tensor([5])), r"\(5, 3\); one sequence is x\[None\]"),
        (lambda: with_a_smaller_W_h()(ZEROS, torch.tensor([5, 5])), r"W_h \(16, 4\).*and \(4, 4\)"),
        (lambda: LSTM(3, 4)(ZEROS, torch.tensor([5])), "lengths of 2 sequences"),
        (lambda: LSTM(3, 4)(torch.zeros(2, 5, 2), torch.tensor([5, 5])), "d_in = 3"),
        (lambda: LSTM(3, 4)(ZEROS, torch.tensor([5, 5]), torch.zeros(1, 2, 4)), "state"),
        (lambda: GRU(3, 4)(ZEROS, torch.tensor([5, 5]), torch.zeros(1, 1, 4)), r"\(1, 2, 4\)"),
        (lambda: GRU(3, 4).double()(ZEROS.double(), torch.tensor([5, 5]), torch.zeros(1, 2, 4)), r"\.to\(x\)"),
        (
            lambda: GRU(3, 4)(ZEROS, torch.tensor([5, 5]), torch.zeros(1, 2, 4).double()),
            "float64 on cpu, but x torch.fl",
        ),
        (lambda: GRU(3, 4)(ZEROS, torch.tensor([5, 5]), torch.zeros(1, 2, 4, device="meta")), "float32 on meta"),
        (
            lambda: LSTM(3, 4)(ZEROS, torch.tensor([5, 5]), (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4).half())),
            "16 on",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(make, says):
    with pytest.raises(UnrolledError, match=says):
        make()


@pytest.mark.parametrize(("cls", "gates"), [(RNN, 1), (GRU, 3), (LSTM, 4)])
def test_parameters_are_as_many_as_the_lecture_counts(cls, gates):
    d_h, d_in = 8, 6
    assert sum(p.numel() for p in cls(d_in, d_h).parameters()) == gates * d_h * (d_h + d_in + 1)


def test_every_walk_of_the_kernel_has_its_twin():
    assert set(stepwise.WALKS) == {
        f"{cell.name}_{way}"
        for cell in (recurrence.RNN, recurrence.LSTM, recurrence.GRU, recurrence.GRU_AFTER, recurrence.MINIMAL)
        for way in ("forward", "backward")
    }
    if kernel.library():
        for walk, suffix in itertools.product(stepwise.WALKS, kernel.SUFFIX.values()):
            assert hasattr(kernel.library()[1], f"{walk}_{suffix}")
    assert recurrent.LSTM.cell.cell


def test_the_example_in_the_documentation_runs():
    page = (Path(__file__).parents[1] / "docs" / "recurrent.md").read_text(encoding="utf-8")
    found: dict = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], found)
    assert found["y"].shape == (3, 50, 128)
    assert not found["y"][1, 7:].any()
    assert isinstance(found["theirs"], torch.nn.LSTM)
