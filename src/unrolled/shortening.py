"""What models see of sequences beyond a data card's `max_length`, and which of them they then cannot tell apart."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pandas as pd

from unrolled import inputs
from unrolled.gate import LISTED
from unrolled.series import Series

Shorten = Callable[[Any], Any]

ENDS: Mapping[str, Callable[[int], int]] = {  # of m positions that are kept, how many come from the start
    "ends": lambda m: m - m // 2,
    "first": lambda m: m,
    "last": lambda m: 0,
}


def shorten(sequence: Any, max_length: int | None, kept: str = "ends") -> Any:
    """At most `max_length` positions of a text or a series; None keeps everything.

    `ends`: the first ceil(m/2) and the last floor(m/2), because sorting signals sit there (signal and transit
    peptides at the N-terminus, GPI anchors, KDEL and SKL motifs at the C-terminus); what a long protein loses is its
    middle. `first` and `last`: that end alone.

    >>> shorten("ABCDEFG", 5)
    'ABCFG'
    """
    if max_length is None or len(sequence) <= max_length:
        return sequence
    head = ENDS[kept](max_length)
    tail = max_length - head
    if isinstance(sequence, Series):
        return sequence.ends(head, tail)
    return sequence[:head] + sequence[len(sequence) - tail :]


def of(card: Mapping[str, Any]) -> Shorten:
    """`shorten` as a data card asks for it."""
    kept = card.get("kept", inputs.of(dict(card)).kept)
    return partial(shorten, max_length=card.get("max_length"), kept=kept)


def longer(sequences: pd.Series, card: Mapping[str, Any]) -> int:
    """How many sequences (N,) a data card shortens."""
    longest = card.get("max_length")
    return 0 if longest is None else int((sequences.map(len) > longest).sum())


def across(folded: pd.DataFrame, card: Mapping[str, Any]) -> dict[str, Any]:
    """What a certificate says of `max_length`: which sequences of different folds it makes the same.

    An identity is of whole sequences: below any threshold two may still begin alike, and be cut to the same letters.

    Args:
        folded: columns id, sequence and fold, N rows.
        card: the data card.

    Returns:
        `longer`, how many exceed `max_length`; `same`, how many are then the same as one in another fold, and `ids`
        of these; a `statement`. Nothing where no sequence exceeds it.
    """
    n = longer(folded["sequence"], card)
    if not n:
        return {}
    kind, longest, shown = inputs.of(dict(card)), card["max_length"], of(card)
    seen = [kind.same(shown(one)) for one in folded["sequence"]]
    several = folded["fold"].groupby(seen).transform("nunique") > 1
    same = int(several.sum())
    count = f"{same:,} are" if same > 1 else f"{'one' if same else 'none'} is"
    return {
        "max_length": longest,
        "longer": n,
        "same": same,
        "ids": sorted(folded["id"][several])[:LISTED],
        "statement": f"Models see at most {longest:,} {kind.unit} of each ({n:,} are longer): {count} then the same "
        "as one in another fold.",
    }
