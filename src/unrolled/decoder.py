"""The encoder-decoder: from tokens (B, T) to a sequence of another length, (B, U), over symbols of its own.

    h_t = f_enc(x_t, h_{t-1})
    s_t = f_dec(y_{t-1}, s_{t-1}, c),  p(y_t | y_<t, X) = softmax(W_o s_t + b_o)

The context c is h_T (Sutskever et al. 2014; Cho et al. 2014), or is found anew at every step by attention (Bahdanau,
Cho, Bengio 2015, arXiv:1409.0473). f_dec is any recurrent network; it reads [y_{t-1}, c] and starts from
s_0 = tanh(W_s h_T + b_s). Symbol 0 is read before the first one, and said after the last.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from unrolled import attention, engines
from unrolled.decoding import Found, State, search
from unrolled.layers import Recurrent
from unrolled.models import embed, read
from unrolled.objectives import UNKNOWN
from unrolled.packing import Plan, mask, unpack
from unrolled.pooling import Last

Memory = list[Tensor]  # each (B, ...): what a decoder can look at of B encoded sequences


class Fixed(nn.Module):
    """c = h_T: the state after the last step that each direction of the encoder reads, and nothing else."""

    def __init__(self, d_c: int, d_s: int):
        super().__init__()

    def remember(self, h: Tensor, plan: Plan, c: Tensor) -> Memory:
        """c, from the encoder's states (N, d_c), packed, and h_T (B, d_c)."""
        return [c]

    def at(self, memory: Memory, s: Tensor) -> Tensor:
        """c (B, d_c) of the step after s_{t-1} (B, d_s)."""
        return memory[0]

    def follow(self, decoder: Recurrent, e: Tensor, plan: Plan, memory: Memory, state: State) -> Tensor:
        """s_t (N, d_s) of all steps at once: nothing that is read depends on what was said before."""
        x = torch.cat([e, memory[0].index_select(0, plan.sequence)], dim=1)  # (N, d_e + d_c)
        return decoder.packed(x, plan, whole(state))[0]


class Attention(nn.Module):
    """c_t = sum_j alpha_tj h_j, alpha_t = softmax_j(v^T tanh(W_a s_{t-1} + U_a h_j + b_a)) over true positions j.

    How it is computed: attention.py.
    """

    def __init__(self, d_c: int, d_s: int):
        super().__init__()
        self.query, self.key = nn.Linear(d_s, d_s, bias=False), nn.Linear(d_c, d_s)  # W_a; U_a, b_a
        self.v = nn.Linear(d_s, 1, bias=False)

    def remember(self, h: Tensor, plan: Plan, c: Tensor) -> Memory:
        """h_j (B, T, d_c), k_j (B, T, d_s), and (B, T) 0 at true positions, -inf behind the end."""
        lengths = plan.lengths[plan.inverse].clamp(min=1)  # an empty sequence attends to one zero, not to nothing
        behind = ~mask(lengths, plan.T)
        bias = h.new_zeros(behind.shape).masked_fill(behind, -torch.inf)
        return [unpack(h, plan), unpack(2 * self.key(h), plan), bias]

    def weights(self, memory: Memory, s: Tensor) -> Tensor:
        """alpha_t (B, T): 1 in sum over the true positions, 0 behind them."""
        _, k, bias = memory
        return attention.weights(2 * self.query(s), k, 2 * self.v.weight[0], bias)

    def at(self, memory: Memory, s: Tensor) -> Tensor:
        """c_t (B, d_c) of the step after s_{t-1} (B, d_s)."""
        return attention.context(self.weights(memory, s), memory[0])

    def follow(self, decoder: Recurrent, e: Tensor, plan: Plan, memory: Memory, state: State) -> Tensor:
        """s_t (N, d_s), one step after the other: each looks back from the state before it."""
        if torch.is_autocast_enabled(e.device.type):  # as in `Recurrent.packed`
            with torch.autocast(e.device.type, enabled=False):
                memory, state = [part.float() for part in memory], [part.float() for part in state]
                return self.follow(decoder, e.float(), plan, memory, state)
        memory, state = chosen(memory, plan.order), chosen(state, plan.order, dim=1)
        if decoder.layers == 1 and decoder.sees_h and engines.kernel_fits(decoder.cell, e):
            v, W_q, (direction,) = 2 * self.v.weight[0], 2 * self.query.weight, decoder.each()
            own = [part[0] for part in state]
            return attention.follow(decoder.cell, plan, memory, v, W_q, e, own, direction.weights())
        return self._step_by_step(decoder, e, plan, memory, state)

    def _step_by_step(self, decoder: Recurrent, e: Tensor, plan: Plan, memory: Memory, state: State) -> Tensor:
        """The same through autograd: of any stack of layers, on any device."""
        said, step = [], one_step(plan.B, e.device)
        for lo, hi in pairwise(plan.steps):
            n = hi - lo
            if n < step.B:
                memory, state = [part[:n] for part in memory], [part[:, :n] for part in state]
                step = one_step(n, e.device)
            x = torch.cat([e[lo:hi], self.at(memory, state[0][-1])], dim=1)
            s, state = advance(decoder, x, step, state)
            said.append(s)
        return torch.cat(said)


CONTEXTS: dict[str, type[Fixed] | type[Attention]] = {"last": Fixed, "attention": Attention}


class EncoderDecoder(nn.Module):
    """Embedding -> encoder -> context -> decoder -> a linear layer at every step.

    Args:
        vocabulary: number of symbols that are read, padding (0) included; from the data's alphabet.
        outputs: number of symbols that are said, the end (0) included; from the data's target alphabet.
        encoder: builds the encoder from d_in: any that a `models.Network` may have.
        decoder: builds the decoder from d_in: RNN, LSTM, GRU ..., which never looks ahead.
        longest: symbols after which an answer is ended; from the data.
        context: `last` or `attention`.
        embedding: of what is read: `learned`, of width `d_e`, or `one_hot`; what is said has a learned one.
        dropout: share of the features of s_t zeroed before the last layer, in training.
        beam: hypotheses that are followed side by side; 1 takes the likeliest symbol at every step.
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        encoder: Callable[..., Any],
        decoder: Callable[..., Recurrent],
        longest: int = 1000,
        context: str = "last",
        embedding: str = "learned",
        d_e: int = 16,
        dropout: float = 0.0,
        beam: int = 1,
    ):
        super().__init__()
        self.longest, self.beam = longest, beam
        self.embedding, self.symbols = embed(embedding, vocabulary, d_e), nn.Embedding(outputs, d_e)
        self.encoder = encoder(self.embedding.embedding_dim)
        d_c: int = self.encoder.d_out
        self.last = Last(d_c, self.encoder.directions)
        self.decoder = decoder(d_e + d_c, causal=True)
        self.context = CONTEXTS[context](d_c, self.decoder.d_h)
        self.start = nn.Linear(d_c, self.decoder.layers * self.decoder.d_h)  # W_s, b_s
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.decoder.d_h, outputs)  # W_o, b_o

    def read(self, tokens: Tensor, lengths: Tensor) -> tuple[Memory, State]:
        """Encode tokens (B, T) with true lengths (B,): what the decoder may look at, and its state s_0."""
        plan = Plan.of(lengths, tokens.shape[1])
        h = read(self.encoder, self.embedding, tokens.flatten()[plan.index], plan)  # (N, d_c)
        c = self.last(h, plan)  # (B, d_c)
        s = torch.tanh(self.start(c)).view(plan.B, self.decoder.layers, -1).transpose(0, 1)  # (layers, B, d_s)
        return self.context.remember(h, plan, c), [s, torch.zeros_like(s)][: 1 + self.decoder.cell.cell]

    def forward(self, tokens: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """Logits (B, U, K) of each symbol of targets (B, U) and the end, given those before it; 0 in the padding.

        Teacher forcing: what is read at step t is the true y_{t-1}. Targets are UNKNOWN in the padding.
        """
        memory, state = self.read(tokens, lengths)
        plan = Plan.of((targets != UNKNOWN).sum(dim=1), targets.shape[1])
        if plan.N == 0:
            return unpack(self.head.weight.new_zeros(0, self.head.out_features), plan)
        before = nn.functional.pad(targets[:, :-1], (1, 0))  # (B, U) y_{t-1}
        e = self.symbols(before.flatten()[plan.index])  # (N, d_e)
        s = self.context.follow(self.decoder, e, plan, memory, state)  # (N, d_s)
        return unpack(self.head(self.dropout(s)), plan)

    def step(self, y: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """Logits (B, K) of what follows the symbols y (B,), and the state after them."""
        x = torch.cat([self.symbols(y), self.context.at(memory, state[0][-1])], dim=1)
        s, state = advance(self.decoder, x, one_step(len(y), y.device), state)
        return self.head(self.dropout(s)), state

    @torch.inference_mode()
    def decode(self, tokens: Tensor, lengths: Tensor) -> Found:
        """The likeliest targets that a beam search finds (see `decoding.search`), at most `longest` symbols each."""
        memory, state = self.read(tokens, lengths)
        own = torch.arange(len(tokens), device=tokens.device).repeat_interleave(self.beam)
        memory, state = chosen(memory, own), chosen(state, own, dim=1)
        return search(
            lambda y, state: self.step(y, state, memory), state, len(tokens), beam=self.beam, longest=self.longest
        )


def chosen(parts: list[Tensor], rows: Tensor, dim: int = 0) -> list[Tensor]:
    """These rows (n,) of every part, which may repeat."""
    return [part.index_select(dim, rows) for part in parts]


def one_step(n: int, device: torch.device) -> Plan:
    """The plan of n sequences of one position."""
    rows = torch.arange(n, device=device)
    return Plan(torch.ones_like(rows), rows, torch.tensor([0, n], device=device), rows, 1)


def advance(decoder: Recurrent, x: Tensor, plan: Plan, state: State) -> tuple[Tensor, State]:
    """s_t (B, d_s) and the state after a step with inputs x (B, d_in)."""
    s, after = decoder.packed(x, plan, whole(state))
    assert after is not None
    return s, list(after) if isinstance(after, tuple) else [after]


def whole(state: State) -> Any:
    """The parts of a state, as recurrent layers take them."""
    return state[0] if len(state) == 1 else tuple(state)
