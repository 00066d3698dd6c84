"""GRU-D against the equations of Che et al. (2018), written out once more, and against finite differences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from test_recurrent import LENGTHS, check_against_the_equations
from unrolled import cells, recurrence
from unrolled.errors import UnrolledError
from unrolled.models import Network
from unrolled.packing import Plan
from unrolled.recurrent import GRU, GRUD


def made(d: int = 2, d_h: int = 4, **settings) -> GRUD:
    torch.manual_seed(0)
    network = GRUD(3 * d, d_h, init="uniform", **settings).double()
    for weights in (network.w_x, network.b_x, network.W_gamma, network.b_gamma):
        torch.nn.init.uniform_(weights, -0.2, 0.8)
    return network


def equation(network: GRUD):
    """`cells.gru_d` of steps [x, m, delta], as the networks are checked."""

    def one(steps, h, *weights):
        decays = network.w_x, network.b_x, network.W_gamma, network.b_gamma
        return cells.gru_d(*steps.chunk(3, dim=1), h, *decays, *weights)

    return one


@settings(max_examples=20)
@given(lengths=LENGTHS, window=st.sampled_from([0, 3]))
def test_outputs_states_and_every_gradient_are_those_of_the_equations(lengths, window):
    network = made(window=window)
    check_against_the_equations(network, equation(network), "pytorch", lengths)


def by_hand(x, m, delta, h, w_x, b_x, W_gamma, b_gamma, W, U, V, b) -> list[float]:
    """One step in plain numbers, from the paper: eqs. 10 to 12 and the GRU's, its z_t being 1 - ours."""

    def sigmoid(a):
        return 1 / (1 + math.exp(-a))

    d, d_h = len(x), len(h)
    read = []
    for k in range(d):
        gamma = math.exp(-max(0.0, w_x[k] * delta[k] + b_x[k]))
        read.append(m[k] * x[k] + (1 - m[k]) * (gamma * x[k] + (1 - gamma) * 0.0))
    decayed = [
        math.exp(-max(0.0, sum(W_gamma[i][k] * delta[k] for k in range(d)) + b_gamma[i])) * h[i] for i in range(d_h)
    ]

    def gate(name, i, state):
        return (
            sum(W[name][i][k] * read[k] + V[name][i][k] * m[k] for k in range(d))
            + sum(U[name][i][j] * state[j] for j in range(d_h))
            + b[name][i]
        )

    r = [sigmoid(gate("r", i, decayed)) for i in range(d_h)]
    z = [1 - sigmoid(gate("z", i, decayed)) for i in range(d_h)]
    candidate = [math.tanh(gate("h", i, [r[j] * decayed[j] for j in range(d_h)])) for i in range(d_h)]
    return [(1 - z[i]) * decayed[i] + z[i] * candidate[i] for i in range(d_h)]


def test_the_cell_is_the_papers():
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.double)

    d, d_h = 2, 3
    x, m, delta, h = draw(d), torch.tensor([1.0, 0.0]).double(), torch.tensor([0.5, 2.0]).double(), draw(d_h)
    w_x, b_x, W_gamma, b_gamma = draw(d).abs(), draw(d), draw(d_h, d), draw(d_h)
    W, U, V, b = ({gate: draw(d_h, width) if width else draw(d_h) for gate in "rzh"} for width in (d, d_h, d, 0))
    joined = {gate: torch.cat([U[gate], W[gate], V[gate]], dim=1) for gate in "rzh"}
    flat = [part for gate in "rzh" for part in (joined[gate], b[gate])]
    found = cells.gru_d(*(v[None] for v in (x, m, delta, h)), w_x, b_x, W_gamma, b_gamma, *flat)[0]
    lists = [{g: v.tolist() for g, v in part.items()} for part in (W, U, V, b)]
    numbers = [v.tolist() for v in (x, m, delta, h, w_x, b_x, W_gamma, b_gamma)]
    assert found.tolist() == pytest.approx(by_hand(*numbers, *lists), rel=1e-12)


def test_gradients_are_those_of_finite_differences():
    network, plan = made(), Plan.of(torch.tensor([4, 1, 3]), 4)
    steps = torch.randn(plan.N, 6, generator=torch.Generator().manual_seed(5), dtype=torch.double)
    weights = [p.detach().clone().requires_grad_() for p in network.parameters()]
    names = [name for name, _ in network.named_parameters()]

    def outputs(steps, *weights):
        return torch.func.functional_call(
            _Encoding(network), dict(zip(_inside(names), weights, strict=True)), (steps, plan)
        )

    assert torch.autograd.gradcheck(outputs, (steps.requires_grad_(), *weights))


def _inside(names):
    return [f"network.{name}" for name in names]


class _Encoding(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, steps, plan):
        return self.network.encode(steps, plan)


def test_without_gaps_it_is_a_gru_of_values_and_mask():
    """m = 1 and delta = 0 everywhere: no decay is left if its bias is 0."""
    network = made()
    for bias in (network.b_x, network.b_gamma):
        torch.nn.init.zeros_(bias)
    plain = GRU(4, 4).double()
    plain.load_state_dict({n: v for n, v in network.state_dict().items() if n.startswith("stack")})
    x, n = torch.randn(3, 5, 2, dtype=torch.double), torch.tensor([5, 2, 4])
    ones = torch.ones_like(x)
    found, _ = network(torch.cat([x, ones, 0 * x], 2), n)
    expected, _ = plain(torch.cat([x, ones], 2), n)
    torch.testing.assert_close(found, expected)


def test_old_values_and_states_fade_to_the_mean():
    network = made()
    with torch.no_grad():
        network.w_x.fill_(1.0)
        network.W_gamma.fill_(1.0)
    x, none = torch.tensor([[5.0, -5.0]]).double(), torch.zeros(1, 2).double()
    plan, long = Plan.of(torch.tensor([1]), 1), torch.full((1, 2), 1e3).double()
    at_all = network.encode(torch.cat([x, none, long], 1), plan)
    torch.testing.assert_close(at_all, network.encode(torch.cat([none, none, long], 1), plan))
    measured = network.encode(torch.cat([x, none + 1, long], 1), plan)
    assert not torch.allclose(measured, network.encode(torch.cat([none, none + 1, long], 1), plan))


def a_network(encoder, **settings) -> Network:
    torch.manual_seed(1)
    return Network(0, 3, lambda d_in: encoder(d_in, 4), **{"variables": 2} | settings).double().eval()


ENCODERS = {"gru": (GRU, {}), "mean": (GRU, {"steps": {"fill": "mean", "mask": False}}), "grud": (GRUD, {})}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("pooling", ["mean", "last", "max", "attention"])
def test_padding_and_company_change_nothing(name, pooling):
    encoder, settings = ENCODERS[name]
    network = a_network(encoder, pooling=pooling, **settings)
    steps = torch.randn(3, 7, 6, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    lengths = torch.tensor([7, 1, 4])
    for row, n in enumerate(lengths):
        steps[row, n:] = torch.nan
    together = network(steps, lengths)
    for row, n in enumerate(lengths):
        torch.testing.assert_close(network(steps[row : row + 1, :n], lengths[row : row + 1]), together[row : row + 1])


@pytest.mark.parametrize("fill", ["forward", "mean"])
def test_what_is_read_is_what_the_card_says(fill):
    network = a_network(GRU, steps={"fill": fill, "mask": False, "delta": True})
    steps = torch.tensor([[3.0, 5.0, 1.0, 0.0, 7.0, 8.0]]).double()
    assert network.embedding(steps).tolist() == [[3.0, 5.0 if fill == "forward" else 0.0, 7.0, 8.0]]
    assert network.embedding.embedding_dim == 4
    assert a_network(GRU, embedding="linear", d_e=5).embedding(steps).shape == (1, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GRUD(4, 8), "GRU-D reads values, mask and gaps"),
        (lambda: a_network(GRUD, variables=3, steps={"mask": False, "delta": False}), "GRU-D reads values, mask and"),
        (lambda: a_network(GRUD, steps={"fill": "mean"}), "GRU-D reads values, mask and gaps of series as they are"),
        (lambda: a_network(GRUD, embedding="linear", d_e=6), "GRU-D reads values, mask and gaps of series as they"),
        (lambda: GRUD(6, 8, bidirectional=True), "reads as time runs"),
        (lambda: GRUD(6, 8, layers=2), "has one layer"),
        (lambda: a_network(GRU, steps={"fill": "back"}), "fill: 'back' is not known"),
        (lambda: a_network(GRU, embedding="learned"), "embedding: 'learned' is not for series"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(UnrolledError, match=message):
        make()


def test_probes_see_its_gates_and_gradients():
    network = made()
    network.probes = []
    network(torch.randn(2, 5, 6, dtype=torch.double), torch.tensor([5, 3]))[0].sum().backward()
    (work,) = network.probes[0].works
    assert work.norm_h.shape == (8,)
    assert (work.norm_h > 0).all()
    assert recurrence.GRU_D.decay
