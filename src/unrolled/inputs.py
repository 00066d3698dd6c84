"""Kinds of input: what the sequences of a data set are made of. A data card's `alphabet` names one.

Whatever differs between letters and numbers on the way from a table to a report is asked of an `Input`; what they
share (targets, folds, batches, training, metrics) does not know which it has.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import pandas as pd

from unrolled import series
from unrolled.alphabet import DNA, PROTEIN, RNA, Alphabet
from unrolled.errors import UnrolledError
from unrolled.series import Scaling, Series

Card = dict[str, Any]


class Reading(Protocol):
    """How sequences become what a network reads; `facts` are kept with a run, so that `recall` makes it again."""

    @property
    def facts(self) -> dict[str, Any]: ...

    @property
    def sizes(self) -> dict[str, int]: ...

    def encode(self, one: Any) -> Any: ...


@dataclass(frozen=True)
class Spelling:
    """Symbols as integers: nothing is learned from the training part."""

    alphabet: Alphabet

    @property
    def facts(self) -> dict[str, Any]:
        return {}

    @property
    def sizes(self) -> dict[str, int]:
        return {"vocabulary": self.alphabet.size}

    def encode(self, one: str) -> Any:
        """(T,) uint8"""
        return self.alphabet.encode(one)


class Input(Protocol):
    """A kind of input."""

    @property
    def unit(self) -> str:
        """Of a position."""

    @property
    def kept(self) -> str:
        """Which part of what exceeds `max_length` is kept where the card does not say."""

    def check(self, found: pd.Series, names: Sequence[str]) -> None:
        """Raise UnrolledError at sequences (N,) that are not of this kind; `names` are the rows' in messages."""

    def facts(self, found: pd.Series) -> dict[str, Any]:
        """What summary.json says beyond what it says of everything."""

    def same(self, one: Any) -> Hashable:
        """What all sequences have in common between which no model can tell."""

    def fit(self, found: Sequence[Any]) -> Reading:
        """The reading of the training part."""

    def recall(self, facts: dict[str, Any]) -> Reading:
        """The reading of a run that kept these facts."""

    def certify(self, folded: pd.DataFrame, data: Card, split: Card, **effort: Any) -> tuple[Card, pd.DataFrame]:
        """The certificate of folds, and each sequence's nearest neighbours (`audit.certify`)."""


@dataclass(frozen=True)
class Letters:
    """Text over an alphabet."""

    alphabet: Alphabet
    unit: str
    kept = "ends"

    def check(self, found: pd.Series, names: Sequence[str]) -> None:
        self.alphabet.check(found, names)

    def facts(self, found: pd.Series) -> dict[str, Any]:
        return {}

    def same(self, one: str) -> Hashable:
        return self.alphabet.encode(one).tobytes()  # ambiguous letters are one symbol

    def fit(self, found: Sequence[Any]) -> Reading:
        return Spelling(self.alphabet)

    def recall(self, facts: dict[str, Any]) -> Reading:
        return Spelling(self.alphabet)

    def certify(self, folded: pd.DataFrame, data: Card, split: Card, **effort: Any) -> tuple[Card, pd.DataFrame]:
        from unrolled import audit, gate

        certificate, nearest = audit.certify(folded, audit.Terms.of_cards(data, split), **effort)
        if split["group"] == "homology":
            certificate["statement"] += audit.shared_route(certificate)
        if split["group"] == "column":
            groups = gate.whole(folded)
            clause = gate.wholeness(groups, split)
            certificate |= groups | {"statement": f"{certificate['statement']} {clause[0].upper()}{clause[1:]}."}
        return certificate, nearest


@dataclass(frozen=True)
class Numbers:
    """Series of these variables. No alignment applies: a certificate tells copies and divided groups, no more."""

    variables: tuple[str, ...]
    time_unit: str
    unit = "steps"
    kept = "last"

    def check(self, found: pd.Series, names: Sequence[str]) -> None:
        series.check(found.tolist(), names, self.variables)

    def facts(self, found: pd.Series) -> dict[str, Any]:
        return series.facts(found.tolist()) | {"time_unit": self.time_unit}

    def same(self, one: Series) -> Hashable:
        return one.fingerprint

    def fit(self, found: Sequence[Any]) -> Reading:
        return Scaling.of(found)

    def recall(self, facts: dict[str, Any]) -> Reading:
        return Scaling.recall(facts)

    def certify(self, folded: pd.DataFrame, data: Card, split: Card, **effort: Any) -> tuple[Card, pd.DataFrame]:
        from unrolled import copies

        return copies.certify(folded, split)


def _letters(alphabet: Alphabet, unit: str) -> Callable[[Card], Input]:
    return lambda card: Letters(alphabet, unit)


INPUTS: Mapping[str, Callable[[Card], Input]] = MappingProxyType(
    {
        "protein": _letters(PROTEIN, "residues"),
        "dna": _letters(DNA, "nucleotides"),
        "rna": _letters(RNA, "nucleotides"),
        "numeric": lambda card: Numbers(tuple(card["variables"]), card.get("time", {}).get("unit", "steps")),
    }
)


def of(card: Card) -> Input:
    """The input of a data card. Raises UnrolledError for an unknown `alphabet`."""
    if card["alphabet"] not in INPUTS:
        raise UnrolledError(f"alphabet {card['alphabet']!r} is unknown: choose one of {', '.join(INPUTS)}")
    return INPUTS[card["alphabet"]](card)


def alphabet(card: Card) -> Alphabet:
    """The alphabet of a data card. Raises UnrolledError for numbers, which have no letters to compare."""
    kind = of(card)
    if not isinstance(kind, Letters):
        raise UnrolledError(
            "series of numbers have no letters that could be aligned: group by sequence, column or published folds"
        )
    return kind.alphabet
