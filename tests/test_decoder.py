"""The encoder-decoder against the lecture's equations, step by step; padding, company and masks; the search."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from test_feedforward import ENCODERS
from test_models import LENGTHS, tokens_of
from test_recurrent import NETWORKS, arguments, by_the_equations
from unrolled import engines, kernel
from unrolled.decoder import CONTEXTS, EncoderDecoder, chosen
from unrolled.decoding import search
from unrolled.errors import UnrolledError
from unrolled.objectives import OBJECTIVES, UNKNOWN
from unrolled.packing import mask

K = 5  # symbols that are said, the end among them
each_context = pytest.mark.parametrize("context", CONTEXTS)


def made(name: str = "gru", context: str = "last", *, d_h: int = 5, layers: int = 1, bidirectional=True, **settings):
    """An encoder-decoder of one cell in double precision, with no weight at a special value."""
    cls, own, _ = NETWORKS[name]
    torch.manual_seed(0)
    network = EncoderDecoder(
        22,
        K,
        lambda d_in, **_: cls(d_in, 4, init="uniform", layers=layers, bidirectional=bidirectional, **own),
        lambda d_in, **given: cls(d_in, d_h, init="uniform", layers=layers, **own, **given),
        context=context,
        d_e=3,
        **settings,
    ).double()
    return network.eval()


def targets_of(lengths: list[int], U: int | None = None) -> torch.Tensor:
    """Symbols 1 .. K - 1 and the end, so many tokens of each, UNKNOWN behind."""
    U = U or max(lengths)
    symbols = torch.randint(1, K, (len(lengths), U), generator=torch.Generator().manual_seed(2))
    for row, n in enumerate(lengths):
        symbols[row, n - 1] = 0
    return symbols.masked_fill(~mask(torch.tensor(lengths), U), UNKNOWN)


def by_hand(network, equation, tokens: list[int], target: list[int]) -> torch.Tensor:
    """Logits (T', K) of one sequence alone, from the lecture's equations."""
    x = network.embedding(torch.tensor(tokens))[None]  # (1, T, d_e)
    encoder, decoder = network.encoder, network.decoder
    n, parts = 1 + encoder.cell.cell, [x.new_zeros(encoder.layers * encoder.directions, 1, encoder.d_h)]
    h = by_the_equations(encoder, equation, x, torch.tensor([len(tokens)]), parts * n)[0][0]  # (T, d_c)
    half = encoder.d_h
    h_T = torch.cat([h[-1, :half], h[0, half:]]) if encoder.directions == 2 else h[-1]
    s_0 = torch.tanh(network.start.weight @ h_T + network.start.bias)
    states = [[s[None], *[torch.zeros_like(s)[None]] * (n - 1)] for s in s_0.split(decoder.d_h)]
    weights = [arguments(decoder, layer[0]) for layer in decoder.stack]
    logits, before = [], 0
    for symbol in target:
        c = h_T
        if not isinstance(network.context, CONTEXTS["last"]):
            W_a, U_a, b_a = network.context.query.weight, network.context.key.weight, network.context.key.bias
            v, s = network.context.v.weight[0], states[-1][0][0]
            e = torch.stack([v @ torch.tanh(W_a @ s + U_a @ h_j + b_a) for h_j in h])
            alpha = e.exp() / e.exp().sum()
            c = sum(alpha[j] * h[j] for j in range(len(h)))
        y = torch.cat([network.symbols.weight[before], c])[None]
        for depth, (state, own) in enumerate(zip(states, weights, strict=True)):
            after = equation(y, *state, *own)
            states[depth] = list(after) if isinstance(after, tuple) else [after]
            y = states[depth][0]
        logits.append(network.head.weight @ y[0] + network.head.bias)
        before = symbol
    return torch.stack(logits)


@pytest.mark.parametrize("name", NETWORKS)
@each_context
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, True), (2, False)])
def test_the_equations_are_the_lectures(name, context, layers, bidirectional):
    network = made(name, context, layers=layers, bidirectional=bidirectional)
    lengths, sizes = [4, 1, 6], [2, 5, 1]
    tokens, targets = tokens_of(lengths), targets_of(sizes)
    found = network(tokens, torch.tensor(lengths), targets)
    rows = [
        by_hand(network, NETWORKS[name][2], tokens[i, :n].tolist(), targets[i, :u].tolist())
        for i, (n, u) in enumerate(zip(lengths, sizes, strict=True))
    ]
    for i, row in enumerate(rows):
        torch.testing.assert_close(found[i, : len(row)], row, rtol=0, atol=1e-12)
        assert not found[i, len(row) :].any()
    weigh = torch.randn(found.shape, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    weights = [p for p in network.parameters() if p.requires_grad]
    mine = torch.autograd.grad((found * weigh).sum(), weights, allow_unused=True)
    total = sum((row * weigh[i, : len(row)]).sum() for i, row in enumerate(rows))
    theirs = torch.autograd.grad(total, weights, allow_unused=True)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru_after"])
def test_the_numbers_are_the_same_without_a_kernel(name):
    network, lengths, tokens, targets = (
        made(name, "attention"),
        [4, 1, 6],
        tokens_of([4, 1, 6]),
        targets_of([2, 5, 1]),
    )
    weights = [p for p in network.parameters() if p.requires_grad]
    found = []
    for engine in ("kernel" if kernel.library() else "pytorch", "pytorch"):
        with engines.force(engine):
            logits = network(tokens, torch.tensor(lengths), targets)
            found.append([logits, *torch.autograd.grad(logits.square().sum(), weights)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@each_context
def test_second_derivatives_are_refused_and_not_left_out(context):
    network = made("gru", context)
    logits = network(tokens_of([4, 1]), torch.tensor([4, 1]), targets_of([2, 5]))
    with pytest.raises(UnrolledError, match="first derivatives alone"):
        torch.autograd.grad(logits.sum(), list(network.decoder.parameters()), create_graph=True)


@each_context
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_in_mixed_precision_states_and_recurrences_stay_in_32_bits(name, context):
    network = made(name, context).float()
    lengths, tokens, targets = torch.tensor([4, 1, 6]), tokens_of([4, 1, 6]), targets_of([2, 5, 1])
    whole = network(tokens, lengths, targets)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(tokens, lengths, targets)
    torch.testing.assert_close(mixed.float(), whole, rtol=0, atol=0.02)
    assert all(g.isfinite().all() for g in torch.autograd.grad(mixed.sum(), list(network.decoder.parameters())))


@each_context
@settings(max_examples=20)
@given(lengths=LENGTHS, sizes=st.data(), extra=st.integers(0, 4), order=st.randoms())
def test_padding_and_company_change_neither_logits_nor_what_is_said(context, lengths, sizes, extra, order):
    network = made("lstm", context, beam=3, longest=6)
    own = [sizes.draw(st.integers(1, 7)) for _ in lengths]
    n, tokens, targets = torch.tensor(lengths), tokens_of(lengths), targets_of(own)
    together, said = network(tokens, n, targets), network.decode(tokens, n)
    pad = torch.nn.functional.pad
    wider = network(pad(tokens, (0, extra)), n, pad(targets, (0, extra), value=UNKNOWN))
    torch.testing.assert_close(wider[:, : together.shape[1]], together, rtol=0, atol=1e-12)
    again = network.decode(pad(tokens, (0, extra)), n)
    assert torch.equal(again.symbols, said.symbols)
    rows = order.sample(range(len(n)), len(n))
    torch.testing.assert_close(network(tokens[rows], n[rows], targets[rows]), together[rows], rtol=0, atol=1e-12)
    for i, (length, size) in enumerate(zip(lengths, own, strict=True)):
        one = tokens[i : i + 1, :length], n[i : i + 1]
        alone = network(*one, targets[i : i + 1, :size])[0]
        torch.testing.assert_close(alone, together[i, :size], rtol=0, atol=1e-12)
        found = network.decode(*one)
        assert found.symbols[0].tolist() == said.symbols[i, : found.symbols.shape[1]].tolist()
        assert not said.symbols[i, found.symbols.shape[1] :].any()
        torch.testing.assert_close(found.log_likelihood[0], said.log_likelihood[i], rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ENCODERS)
@each_context
def test_any_encoder_will_do(name, context):
    torch.manual_seed(0)
    gru = NETWORKS["gru"][0]
    network = EncoderDecoder(22, K, lambda d: ENCODERS[name](d, 8), gru, context=context, longest=4).double().eval()
    lengths, tokens, targets = torch.tensor([3, 7]), tokens_of([3, 7]), targets_of([4, 2])
    together = network(tokens, lengths, targets)
    torch.testing.assert_close(network(tokens[:1, :3], lengths[:1], targets[:1])[0], together[0], rtol=0, atol=1e-12)
    assert network.decode(tokens, lengths).symbols.shape[1] <= 5


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), extra=st.integers(0, 3))
def test_attention_is_1_in_sum_over_true_positions_and_0_in_the_padding(lengths, extra):
    network = made("gru", "attention")
    n, T = torch.tensor(lengths), max(lengths) + extra
    memory, _ = network.read(tokens_of(lengths, T), n)
    s = 50 * torch.randn(len(n), network.decoder.d_h, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    weights = network.context.weights(memory, s)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(n)).double())
    assert (weights >= 0).all()
    assert not weights[~mask(n, T)].any()


@torch.no_grad()
@each_context
def test_what_is_behind_the_end_is_never_read(context):
    """Neither tokens nor targets in the padding, nor the true symbol that is to be said."""
    network, n = made("gru", context), torch.tensor([2, 4])
    tokens, targets = tokens_of([2, 4]), targets_of([2, 3])
    found = network(tokens, n, targets)
    other = tokens.clone()
    other[0, 2:] = 7
    torch.testing.assert_close(network(other, n, targets), found, rtol=0, atol=0)
    last = targets.clone()
    last[1, 2] = 3  # instead of the end
    torch.testing.assert_close(network(tokens, n, last), found, rtol=0, atol=1e-15)
    loss = OBJECTIVES["transduction"].loss
    alone = [loss(network(tokens[i : i + 1], n[i : i + 1], targets[i : i + 1]), targets[i : i + 1]) for i in (0, 1)]
    assert float(loss(found, targets)) == pytest.approx(float(2 * alone[0] + 3 * alone[1]) / 5)


@each_context
def test_without_targets_nothing_is_said_of_them(context):
    network = made("gru", context)
    assert network(tokens_of([3, 2]), torch.tensor([3, 2]), torch.zeros(2, 0, dtype=torch.long)).shape == (2, 0, K)


# --- The search ---


def log_likelihood(network, tokens, length, said: list[int]) -> float:
    """Of symbols and the end, by teacher forcing."""
    target = torch.tensor([[*said, 0]])
    log_p = torch.log_softmax(network(tokens[None, :length], torch.tensor([length]), target)[0], dim=1)
    return float(log_p[torch.arange(len(target[0])), target[0]].detach().sum())


def peaked(context: str, **settings):
    """A network whose distributions are far from flat, so that hypotheses differ clearly."""
    network = made("gru", context, **settings)
    with torch.no_grad():
        network.head.weight *= 12
        network.symbols.weight *= 3
    return network


@each_context
def test_a_wide_beam_finds_what_brute_force_finds(context):
    longest = 3
    every = [s for n in range(longest + 1) for s in itertools.product(range(1, K), repeat=n)]
    network = peaked(context, longest=longest, beam=K ** (longest + 1))
    lengths, tokens = [4, 1, 7, 2], tokens_of([4, 1, 7, 2])
    found = network.decode(tokens, torch.tensor(lengths))
    for i, n in enumerate(lengths):
        likelihoods = {s: log_likelihood(network, tokens[i], n, list(s)) for s in every}
        best = max(every, key=lambda s: likelihoods[s] / (len(s) + 1))
        assert tuple(x for x in found.symbols[i].tolist() if x) == best
        assert float(found.log_likelihood[i]) == pytest.approx(likelihoods[best], abs=1e-10)


def one_by_one(network, tokens, length: int, beam: int) -> tuple[list[int], float]:
    """The search for one input in plain Python: hypotheses as lists, likelihoods by teacher forcing."""
    live, ended = [([], 0.0)], []
    for t in range(network.longest + 1):
        grown = []
        for said, total in live:
            target = torch.tensor([[*said, 0]])
            log_p = torch.log_softmax(network(tokens[None, :length], torch.tensor([length]), target)[0, -1], dim=0)
            grown += [([*said, y], total + float(log_p[y].detach())) for y in range(K if t < network.longest else 1)]
        grown = sorted(grown, key=lambda one: -one[1])[: beam - len(ended)]
        ended += [one for one in grown if one[0][-1] == 0]
        live = [one for one in grown if one[0][-1] != 0]
        if not live:
            break
    said, total = max(ended, key=lambda one: one[1] / len(one[0]))
    return said[:-1], total


@each_context
@pytest.mark.parametrize("beam", [1, 2, 4])
def test_the_batched_search_is_the_search_one_by_one(context, beam):
    network, lengths = peaked(context, longest=5, beam=beam), [4, 1, 7, 2, 3]
    tokens = tokens_of(lengths)
    found = network.decode(tokens, torch.tensor(lengths))
    for i, n in enumerate(lengths):
        said, total = one_by_one(network, tokens[i], n, beam)
        assert [x for x in found.symbols[i].tolist() if x] == said
        assert float(found.log_likelihood[i]) == pytest.approx(total, abs=1e-9)


@each_context
def test_one_hypothesis_takes_the_likeliest_symbol_at_every_step(context):
    network, lengths = peaked(context, longest=8, beam=1), [4, 1, 7, 2, 3]
    tokens, n = tokens_of(lengths), torch.tensor(lengths)
    memory, state = network.read(tokens, n)
    y, greedy = torch.zeros(5, dtype=torch.long), []
    for _ in range(8):
        logits, state = network.step(y, state, memory)
        y = logits.argmax(dim=1)
        greedy.append(y)
    expected = [list(itertools.takewhile(bool, row)) for row in torch.stack(greedy, dim=1).tolist()]
    found = network.decode(tokens, n)
    assert [[x for x in row if x] for row in found.symbols.tolist()] == expected


def fixed(table: dict[tuple[int, ...], list[float]]):
    """A step whose probabilities are looked up by what was said, kept as the state."""

    def step(y, state):
        said = torch.cat([state[0], y[None, :, None].double()], dim=2)
        rows = [tuple(map(int, row[1:])) for row in said[0].tolist()]
        return torch.tensor([table.get(row, [0.5, 0.25, 0.25]) for row in rows]).log(), [said]

    return step


def test_the_mean_over_symbols_decides_between_short_and_long():
    table = {(): [0.4, 0.6, 0.0], (1,): [0.0, 1.0, 0.0], (1, 1): [0.99, 0.0, 0.01]}
    start = [torch.zeros(1, 2, 0)]
    found = search(fixed(table), start, 1, beam=2, longest=4)
    assert found.symbols[0].tolist()[:3] == [1, 1, 0]
    assert float(found.log_likelihood[0]) == pytest.approx(math.log(0.6 * 0.99))


def test_an_answer_is_ended_at_its_maximal_length():
    never = fixed({tuple([1] * n): [0.01, 0.98, 0.01] for n in range(9)})
    found = search(never, [torch.zeros(1, 1, 0)], 1, beam=1, longest=3)
    assert found.symbols.tolist() == [[1, 1, 1, 0]]
    assert float(found.log_likelihood[0]) == pytest.approx(math.log(0.98**3 * 0.01))


def test_rows_may_repeat():
    parts = chosen([torch.arange(6).view(3, 2)], torch.tensor([2, 2, 0]))
    assert parts[0].tolist() == [[4, 5], [4, 5], [0, 1]]
