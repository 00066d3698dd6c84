"""Beam search: the likeliest sequences under a model that says one symbol after the other, for a batch at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

State = list[Tensor]  # each (layers, n, d): what is carried from step to step, of n hypotheses
Step = Callable[[Tensor, State], tuple[Tensor, State]]


class Found(NamedTuple):
    """The best hypothesis of each of B inputs."""

    symbols: Tensor  # (B, L) int64, 0 behind the end
    log_likelihood: Tensor  # (B,) float64, nats: of all symbols and the end


class Beam(NamedTuple):
    """Hypotheses that have not ended, `beam` an input; those without a place have the likelihood 0."""

    symbols: Tensor  # (B, beam, t)
    log_likelihood: Tensor  # (B, beam) float64
    places: Tensor  # (B,) how many of the input's places are not taken by hypotheses that have ended


def search(step: Step, state: State, B: int, *, beam: int, longest: int) -> Found:
    """The best of the hypotheses that have ended, by mean log likelihood of a symbol (the end is one).

    An input has `beam` places. At each step the likeliest continuations of its hypotheses take the places that are
    left; one that has ended keeps its place (Sutskever et al. 2014). With one place that is greedy decoding. After
    `longest` symbols nothing but the end may follow. The search is over when no hypothesis could still become better
    than the best that has ended.

    Args:
        step: logits (B * beam, K) of what follows symbols (B * beam,), and the state after them; symbol 0 is read
            before the first, and is the end. The hypotheses of an input stand side by side.
        state: before the first step.
    """
    live = _begin(B, beam, state[0].device)
    found, mean = Found(live.symbols[:, 0], live.log_likelihood[:, 0]), live.log_likelihood.new_full((B,), -torch.inf)
    y = torch.zeros(B * beam, dtype=torch.long, device=state[0].device)
    for t in range(longest + 1):
        logits, state = step(y, state)
        log_p = torch.log_softmax(logits.double(), dim=1).view(B, beam, -1)
        if t == longest:
            log_p[:, :, 1:] = -torch.inf
        grown, parents = _grow(live, log_p)
        found, mean = _best(found, mean, grown)
        live = _unended(grown)
        if not (live.log_likelihood.max(dim=1).values / (longest + 1) > mean).any():
            break
        state = [part.index_select(1, parents) for part in state]
        y = live.symbols[:, :, -1].flatten()
    return found


def _begin(B: int, beam: int, device: torch.device) -> Beam:
    log_likelihood = torch.full((B, beam), -torch.inf, dtype=torch.double, device=device)
    log_likelihood[:, 0] = 0  # one hypothesis: nothing said
    symbols = torch.zeros(B, beam, 0, dtype=torch.long, device=device)
    return Beam(symbols, log_likelihood, torch.full((B,), beam, device=device))


def _grow(live: Beam, log_p: Tensor) -> tuple[Beam, Tensor]:
    """The likeliest continuations, and the row (B * beam,) of the hypothesis that each continues."""
    B, beam, K = log_p.shape
    total, chosen = (live.log_likelihood[:, :, None] + log_p).flatten(1).topk(beam)  # (B, beam) falling
    parent, symbol = chosen // K, chosen % K
    rank = torch.arange(beam, device=log_p.device)
    total = total.masked_fill(rank >= live.places[:, None], -torch.inf)
    before = live.symbols.gather(1, parent[:, :, None].expand(-1, -1, live.symbols.shape[2]))
    rows = (parent + beam * torch.arange(B, device=log_p.device)[:, None]).flatten()
    return Beam(torch.cat([before, symbol[:, :, None]], dim=2), total, live.places), rows


def _ended(grown: Beam) -> Tensor:
    """(B, beam): which hypotheses have just ended."""
    return (grown.symbols[:, :, -1] == 0) & (grown.log_likelihood > -torch.inf)


def _best(found: Found, mean: Tensor, grown: Beam) -> tuple[Found, Tensor]:
    """The best so far and its mean log likelihood (B,), with those that have just ended."""
    t = grown.symbols.shape[2]
    means, place = (grown.log_likelihood / t).masked_fill(~_ended(grown), -torch.inf).max(dim=1)
    better, rows = means > mean, torch.arange(len(mean), device=mean.device)
    symbols = torch.where(better[:, None], grown.symbols[rows, place], torch.nn.functional.pad(found.symbols, (0, 1)))
    log_likelihood = torch.where(better, grown.log_likelihood[rows, place], found.log_likelihood)
    return Found(symbols, log_likelihood), torch.where(better, means, mean)


def _unended(grown: Beam) -> Beam:
    ended = _ended(grown)
    log_likelihood = grown.log_likelihood.masked_fill(grown.symbols[:, :, -1] == 0, -torch.inf)
    return Beam(grown.symbols, log_likelihood, grown.places - ended.sum(dim=1))
