"""Windows, fixed sizes and attention: padding changes nothing, each sees what it should and no more."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from test_models import LENGTHS, tokens_of
from unrolled.errors import UnrolledError
from unrolled.feedforward import FixedMLP, Transformer, WindowMLP
from unrolled.models import Network
from unrolled.packing import Plan, mask, pack, unpack
from unrolled.recurrent import LSTM

ENCODERS = {
    "position-wise": partial(WindowMLP, k=1),
    "window": partial(WindowMLP, k=5),
    "linear window": partial(WindowMLP, k=3, layers=0),
    "fixed": partial(FixedMLP, length=6),
    "transformer": partial(Transformer, heads=2),
    "lstm": partial(LSTM, bidirectional=True),
}


def a_network(name: str, *, per_position: bool, embedding: str = "learned") -> Network:
    torch.manual_seed(0)
    encoder = ENCODERS[name]
    return Network(22, 3, lambda d: encoder(d, 8), per_position, embedding=embedding).double().eval()


@pytest.mark.parametrize("per_position", [False, True])
@pytest.mark.parametrize("name", ENCODERS)
@settings(max_examples=15)
@given(lengths=LENGTHS, extra=st.integers(0, 5), order=st.randoms())
def test_padding_and_company_never_change_an_answer(name, per_position, lengths, extra, order):
    network, n, tokens = a_network(name, per_position=per_position), torch.tensor(lengths), tokens_of(lengths)
    together = network(tokens, n)
    wider = network(torch.nn.functional.pad(tokens, (0, extra)), n)
    assert together.shape == ((len(n), max(lengths), 3) if per_position else (len(n), 3))
    torch.testing.assert_close(wider[:, : max(lengths)] if per_position else wider, together, rtol=0, atol=1e-12)
    rows = order.sample(range(len(n)), len(n))
    torch.testing.assert_close(network(tokens[rows], n[rows]), together[rows], rtol=0, atol=1e-12)
    for i, length in enumerate(lengths):
        alone = network(tokens[i : i + 1, :length], n[i : i + 1])[0]
        own = together[i, :length] if per_position else together[i]
        torch.testing.assert_close(alone, own, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_empty_sequence_in_a_batch_disturbs_nobody(name):
    network, lengths = a_network(name, per_position=True), torch.tensor([3, 0, 2])
    tokens = tokens_of([3, 1, 2]) * mask(lengths, 3)
    found = network(tokens, lengths)
    torch.testing.assert_close(found[[0, 2]], network(tokens[[0, 2]], lengths[[0, 2]]), rtol=0, atol=1e-12)
    assert not found[1].any()


def reached(encoder: torch.nn.Module, T: int) -> torch.Tensor:
    """(T, T) bool: whether the answer at t (row) depends on x at s (column)."""
    x = torch.randn(1, T, 4, dtype=torch.double, requires_grad=True)
    plan = Plan.of(torch.tensor([T]), T)
    y = unpack(encoder.double().eval().encode(pack(x, plan), plan), plan)[0]
    weights = torch.arange(y.shape[1])  # not their sum, which a layer norm keeps at 0
    rows = [torch.autograd.grad((y[t] * weights).sum(), x, retain_graph=True)[0][0] for t in range(T)]
    return torch.stack(rows).abs().sum(2) > 0


@pytest.mark.parametrize(("k", "layers"), [(1, 2), (5, 0), (5, 1)])
def test_a_window_sees_k_positions_around_its_own(k, layers):
    distance = (torch.arange(9)[:, None] - torch.arange(9)).abs()
    assert torch.equal(reached(WindowMLP(4, 32, k=k, layers=layers), 9), distance <= k // 2)


def test_a_fixed_size_sees_its_length_and_no_more():
    assert torch.equal(reached(FixedMLP(4, 32, length=6), 9), (torch.arange(9) < 6).expand(9, 9))


def test_attention_sees_everything_and_knows_the_order():
    torch.manual_seed(0)
    encoder = Transformer(4, 32, layers=1)
    assert reached(encoder, 9).all()
    x, plan = torch.randn(5, 4, dtype=torch.double), Plan.of(torch.tensor([5]), 5)
    assert not torch.allclose(encoder.encode(x, plan).mean(0), encoder.encode(x.flip(0), plan).mean(0))


def test_a_window_is_the_stack_of_its_neighbours():
    x, plan = torch.arange(1.0, 5.0)[:, None], Plan.of(torch.tensor([4]), 4)
    found = WindowMLP(1, k=3, layers=0).encode(x, plan)
    assert found.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]]


def test_what_cannot_be_built_is_said():
    with pytest.raises(UnrolledError, match="4 positions has no middle"):
        WindowMLP(4, k=4)
    with pytest.raises(UnrolledError, match="no multiple"):
        Transformer(4, 10, heads=4)
    with pytest.raises(UnrolledError, match="learned or one_hot"):
        Network(22, 3, lambda d: WindowMLP(d), embedding="bytes")


def test_one_hot_is_a_column_a_symbol_and_learns_nothing():
    network = a_network("window", per_position=True, embedding="one_hot")
    assert torch.equal(network.embedding(torch.arange(22))[1:], torch.eye(21).double())
    assert not network.embedding(torch.tensor(0)).any()
    assert not network.embedding.weight.requires_grad
