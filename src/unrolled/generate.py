"""`unrolled generate`: new sequences from a trained run of a generation task, and how they compare with its training.

One symbol after the other is drawn from p(x_t | x_1 .. x_{t-1}), until the end is drawn.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from unrolled import homology, inputs
from unrolled.alphabet import Alphabet
from unrolled.definitions import of_parts, strands
from unrolled.errors import UnrolledError
from unrolled.files import atomic, write_json
from unrolled.identity import identities
from unrolled.layers import Recurrent
from unrolled.models import Network
from unrolled.predict import GONE, Predictor
from unrolled.tasks import named

TOGETHER = 256  # sequences that are drawn side by side

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What is to be drawn.

    Args:
        n: sequences.
        temperature: above 0; below 1 likely symbols become likelier, above 1 less so.
        top_k: only the k likeliest symbols may be drawn; 0: all.
        prefix: what every sequence begins with.
        longest: where a sequence without an end is cut.
        seed: decides every draw.
    """

    n: int = 100
    temperature: float = 1.0
    top_k: int = 0
    prefix: str = ""
    longest: int = 1000
    seed: int = 0


class Near(NamedTuple):
    """The training sequence that MMseqs2 finds most like each of N new ones."""

    rows: NDArray[np.int64]  # (N,), -1 where it finds none
    identity: NDArray[np.float64]  # (N,), 0 to 1, NaN where it finds none


def generate(run: Path, wish: Wish, out: Path, *, report: Path | None = None, say: Say) -> None:
    """Write a FASTA file of `wish.n` new sequences, and to `report` how they compare with those trained on.

    A header names the training sequence that MMseqs2 finds most like its own, and their identity (0 to 1): of a local
    alignment, over the shorter of both. It names none where none is found.

    Raises:
        UnrolledError: a run of another task, a prefix as long as a sequence may be or that its alphabet does not
            have, no MMseqs2.
    """
    predictor = Predictor.load(run)
    task = predictor.record["task"]
    if not named(task).causal:
        raise UnrolledError(f"{run} was trained for {task}: only a run of a `generation` task can generate")
    if len(wish.prefix) >= wish.longest:
        raise UnrolledError(
            f"the prefix has {len(wish.prefix)} symbols, so none would be drawn: raise `--longest` ({wish.longest})"
        )
    alphabet, known = inputs.alphabet(predictor.card), predictor.known
    if known:
        homology.mmseqs()  # whether it is there, before anything is drawn
    network = predictor.training.network.eval()
    assert isinstance(network, Network)
    drawn = list(sequences(network, alphabet, wish))
    cut = sum(not ended for _, ended in drawn)
    if cut:
        say(f"warning: {cut:,} of {wish.n:,} sequences had not ended after {wish.longest:,} symbols and were cut")
    new = [letters for letters, _ in drawn]
    near = nearest(new, known.sequences if known else [], predictor.card)
    with atomic(out) as tmp:
        tmp.write_text("".join(_records(new, near, known.ids if known else [])), encoding="utf-8")
    if known is None:
        say(f"warning: {run}: its training sequences are {GONE}, so nothing is compared with them")
        return
    found = judge(new, known.sequences, alphabet, near)
    if report:
        write_json(report, found | {"cut": cut, "run": str(run), "wish": vars(wish)})
    say(summary(found))


def _records(new: list[str], near: Near, ids: list[str]) -> Iterator[str]:
    """FASTA, with the id of the nearest training sequence where there is one."""
    for i, (letters, row, identity) in enumerate(zip(new, *near, strict=True), 1):
        alike = f" nearest={ids[row]} identity={identity:.3f}" if row >= 0 else ""
        yield f">generated{i}{alike}\n{letters}\n"


@torch.inference_mode()
def sequences(network: Network, alphabet: Alphabet, wish: Wish) -> Iterator[tuple[str, bool]]:
    """New sequences in letters, and whether each came to its end.

    Ambiguous symbols are never drawn, and no sequence is empty.
    """
    generator = torch.Generator().manual_seed(wish.seed)
    prefix = torch.from_numpy(alphabet.encode(alphabet.spell(wish.prefix)).astype(np.int64))
    for first in range(0, wish.n, TOGETHER):
        B = min(TOGETHER, wish.n - first)
        tokens = torch.cat([torch.zeros(1).long(), prefix]).expand(B, -1)  # (B, t), 0 before the first
        state, ended = None, torch.zeros(B, dtype=torch.bool)
        while not ended.all() and tokens.shape[1] - 1 < wish.longest:
            logits, state = following(network, tokens, state)
            drawn = draw(logits, alphabet.size - 1, wish, generator, may_end=tokens.shape[1] > 1)
            drawn[ended] = 0
            ended |= drawn == 0
            tokens = torch.cat([tokens, drawn[:, None]], dim=1)
        for row, end in zip(tokens[:, 1:], ended.tolist(), strict=True):
            yield alphabet.decode(row.numpy()), end


def following(network: Network, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Logits (B, K) of what follows tokens (B, t): from the state so far where there is one, else from the start."""
    B, t = tokens.shape
    if not isinstance(network.encoder, Recurrent):
        return network(tokens, torch.full((B,), t))[:, -1], None
    read = tokens if state is None else tokens[:, -1:]
    h, state = network.encoder(network.embedding(read), torch.full((B,), read.shape[1]), state)
    return network.head(h[:, -1]), state


def draw(logits: Tensor, unknown: int, wish: Wish, generator: torch.Generator, *, may_end: bool) -> Tensor:
    """A symbol (B,) from each row of logits (B, K), 0 the end."""
    logits = logits.double()
    logits[:, unknown] = -torch.inf
    if not may_end:
        logits[:, 0] = -torch.inf
    logits = (logits - logits.max(dim=1, keepdim=True).values) / wish.temperature
    if wish.top_k:
        least = logits.topk(min(wish.top_k, logits.shape[1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return torch.multinomial(torch.softmax(logits, dim=1), 1, generator=generator)[:, 0]


def nearest(new: list[str], known: list[str], card: dict[str, Any]) -> Near:
    """Of each new sequence the known one most like it; a part that both share counts by its length (`of_parts`).

    Of nucleotides it is the higher of both strands', unless the data card says `strands: 1`.
    """
    identity = np.full(len(new), np.nan)
    if not known:
        return Near(np.full(len(new), -1), identity)
    rows = homology.best_hits(new, known, strands=strands(card))
    alike, terms = np.flatnonzero(rows >= 0), of_parts(card["alphabet"])
    pairs = np.c_[alike, rows[alike]]
    identity[alike] = identities(new, known, pairs, terms, both_strands=strands(card) == 2)
    return Near(rows, identity)


def judge(new: list[str], known: list[str], alphabet: Alphabet, near: Near) -> dict[str, Any]:
    """Composition, length and novelty of new sequences beside those trained on.

    Composition is the Jensen-Shannon divergence in bits between the shares of the letters, from 0 to 1. Where MMseqs2
    finds no training sequence like a new one there is nothing alike.
    """
    alike, shares = near.identity[near.rows >= 0], [_shares(group, alphabet) for group in (new, known)]
    lengths = [np.array([len(s) for s in group]) for group in (new, known)]
    quantiles = [np.quantile(one, (0.05, 0.5, 0.95)).tolist() for one in lengths]
    return {
        "n": len(new),
        "distinct": len(set(new)),
        "copies": len(set(new) & set(known)),
        "composition_divergence_bits": float(jensenshannon(*shares, base=2) ** 2),
        "length": dict(zip(("new", "training"), quantiles, strict=True)),
        "alike": len(alike),
        "definition": of_parts(alphabet.name).title,
        "median_identity": float(np.median(alike)) if len(alike) else None,
        "max_identity": float(alike.max()) if len(alike) else None,
    }


def _shares(group: list[str], alphabet: Alphabet) -> np.ndarray:
    counts = np.bincount(alphabet.encode("".join(group)), minlength=alphabet.size)[1:]
    shares: np.ndarray = counts / counts.sum()
    return shares


def summary(found: dict[str, Any]) -> str:
    """What `judge` found, in a few lines."""
    new, training = (found["length"][name] for name in ("new", "training"))
    alike = f"{found['alike']:,} have a training sequence that MMseqs2 finds alike"
    if found["alike"]:
        median, most = 100 * found["median_identity"], 100 * found["max_identity"]
        alike += f", {median:.0f} % identical to it in the median and {most:.0f} % at most\n  ({found['definition']})"
    return "\n  ".join(
        [
            f"{found['n']:,} sequences, {found['distinct']:,} distinct, {found['copies']:,} copies of training",
            f"letters: {found['composition_divergence_bits']:.4f} bits from those of training",
            f"length (5 %, median, 95 %): {new[0]:.0f}, {new[1]:.0f}, {new[2]:.0f}; "
            f"training {training[0]:.0f}, {training[1]:.0f}, {training[2]:.0f}",
            alike,
        ]
    )
