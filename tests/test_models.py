"""Batches, recurrent layers and the classifier: what padding, order and lengths may never change."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.batching import Encoded, SortedBatches, loader
from unrolled.models import Network
from unrolled.packing import Plan, mask, pack
from unrolled.pooling import POOLINGS
from unrolled.recurrent import GRU, LSTM, RNN, MinGRU, MinLSTM

CELLS = [RNN, LSTM, GRU, MinGRU, MinLSTM]
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def a_classifier(cell=LSTM, pooling="mean", **settings) -> Network:
    torch.manual_seed(0)
    return Network(22, 4, lambda d_in: cell(d_in, 8, **settings), d_e=5, pooling=pooling).double().eval()


def tokens_of(lengths: list[int], T: int | None = None) -> torch.Tensor:
    T = T or max(lengths)
    rows = torch.randint(1, 22, (len(lengths), T), generator=torch.Generator().manual_seed(1))
    return rows * mask(torch.tensor(lengths), T)


def test_the_mask_is_one_at_true_positions():
    assert mask(torch.tensor([1, 3]), 3).tolist() == [[True, False, False], [True, True, True]]


def by_hand(name: str, pooling: torch.nn.Module, h: torch.Tensor) -> torch.Tensor:
    """One sequence alone, h (n, d) of two directions, without packing."""
    if name == "mean":
        return h.mean(0)
    if name == "max":
        return h.max(0).values
    if name == "last":
        half = h.shape[1] // 2
        return torch.cat([h[-1, :half], h[0, half:]])
    return (torch.tanh(h @ pooling.hidden.weight.T + pooling.hidden.bias) @ pooling.score.weight.T).softmax(0).T[
        0
    ] @ h


@pytest.mark.parametrize("name", POOLINGS)
@settings(max_examples=25)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6), extra=st.integers(0, 3))
def test_pooling_sees_true_positions_only_and_all_of_them(name, lengths, extra):
    h = torch.full((len(lengths), max(lengths) + extra + 1, 4), torch.nan, dtype=torch.double)
    for row, n in enumerate(lengths):
        h[row, :n] = torch.randn(n, 4, generator=torch.Generator().manual_seed(row), dtype=torch.double)
    pooling, plan = POOLINGS[name](4, 2).double(), Plan.of(torch.tensor(lengths), h.shape[1])
    h.requires_grad_()
    found = pooling(pack(h, plan), plan)
    alone = [by_hand(name, pooling, h[i, :n]) if n else torch.zeros(4).double() for i, n in enumerate(lengths)]
    torch.testing.assert_close(found, torch.stack(alone))
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(9), dtype=torch.double)
    (grad,) = torch.autograd.grad((found * weights).sum(), h, allow_unused=True)
    (expected,) = torch.autograd.grad((torch.stack(alone) * weights).sum() + 0 * h.sum(), h)
    for i, n in enumerate(lengths):
        torch.testing.assert_close(grad[i, :n], expected[i, :n], equal_nan=True)
        assert not grad[i, n:].any()


def test_attention_can_look_at_one_position_alone():
    pooling, plan = POOLINGS["attention"](3, 1), Plan.of(torch.tensor([3, 2]), 3)
    with torch.no_grad():
        pooling.hidden.weight.copy_(torch.eye(3))
        pooling.score.weight.copy_(torch.tensor([[1000.0, 0.0, 0.0]]))
    h = torch.zeros(2, 3, 3)
    h[0, 1], h[1, 0] = torch.tensor([1.0, 5.0, 7.0]), torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(pooling(pack(h, plan), plan), torch.stack([h[0, 1], h[1, 0]]))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_never_changes_the_logits_whatever_the_pooling(pooling, bidirectional):
    model = a_classifier(GRU, pooling, bidirectional=bidirectional)
    n, tokens = torch.tensor([4, 7, 1]), tokens_of([4, 7, 1])
    wider = torch.nn.functional.pad(tokens, (0, 4))
    torch.testing.assert_close(model(wider, n), model(tokens, n), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@settings(max_examples=15)
@given(lengths=LENGTHS, extra=st.integers(0, 5))
def test_padding_never_changes_the_logits(cell, layers, lengths, extra):
    model = a_classifier(cell, layers=layers, bidirectional=True)
    n, tokens = torch.tensor(lengths), tokens_of(lengths)
    wider = torch.nn.functional.pad(tokens, (0, extra))
    torch.testing.assert_close(model(wider, n), model(tokens, n), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=15)
@given(lengths=LENGTHS, order=st.randoms())
def test_the_order_and_company_in_a_batch_never_change_the_logits(cell, lengths, order):
    model = a_classifier(cell, bidirectional=True)
    n, tokens = torch.tensor(lengths), tokens_of(lengths)
    together = model(tokens, n)
    rows = list(range(len(lengths)))
    order.shuffle(rows)
    torch.testing.assert_close(model(tokens[rows], n[rows]), together[rows], rtol=0, atol=1e-12)
    alone = torch.cat([model(tokens[i : i + 1, : lengths[i]], n[i : i + 1]) for i in range(len(lengths))])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-12)


def encoded(lengths):
    sequences = [np.full(n, i % 20 + 1, dtype=np.uint8) for i, n in enumerate(lengths)]
    return Encoded(sequences, np.eye(3, dtype=np.uint8)[[i % 3 for i in range(len(lengths))]])


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    size=st.integers(1, 8),
    tokens=st.integers(1, 200),
    epoch=st.integers(0, 3),
)
def test_batches_hold_every_row_once_within_the_budget(lengths, size, tokens, epoch):
    batches = SortedBatches(torch.tensor(lengths), size, tokens, shuffle=True)
    batches.set_epoch(epoch)
    drawn = list(batches)
    assert sorted(row for batch in drawn for row in batch) == list(range(len(lengths)))
    for batch in drawn:
        assert len(batch) <= size
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= tokens
    assert drawn == list(batches)
    assert len(batches) == len(drawn)


def test_sorting_by_length_spares_padding_and_epochs_differ():
    lengths = torch.randint(20, 400, (500,), generator=torch.Generator().manual_seed(0))
    batches = SortedBatches(lengths, 32, 10**9, shuffle=True)
    first = list(batches)
    padded = sum(len(b) * int(lengths[b].max()) for b in first)
    assert lengths.sum() / padded > 0.85
    batches.set_epoch(1)
    assert list(batches) != first


def test_a_batch_is_padded_on_the_right_and_knows_its_lengths():
    batch = encoded([2, 3])[[0, 1]]
    assert batch.tokens.tolist() == [[1, 1, 0], [2, 2, 2]]
    assert batch.lengths.tolist() == [2, 3]
    assert batch.targets.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_the_loader_gives_whole_batches():
    assert [len(batch.lengths) for batch in loader(encoded([1] * 5), 2, 100, shuffle=False)] == [2, 2, 1]
