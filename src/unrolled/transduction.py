"""The task in which a sequence becomes another."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from unrolled.alphabet import ALPHABETS, PROTEIN, Alphabet
from unrolled.answers import Decoded
from unrolled.errors import refuse
from unrolled.task import Array, Counts, Task, chosen, fifths


class Transduction(Task):
    """A sequence a sequence, of a length and over an alphabet of its own (Graves 2012, arXiv:1211.3711).

    Classes are the alphabet's symbols: ambiguous letters are learned as the unknown one. Folds are kept even in the
    fifths of the targets' lengths.
    """

    name = "transduction"
    values_are = "targets"

    def __init__(self, alphabet: Alphabet = PROTEIN):
        self.alphabet = alphabet

    def of(self, card: Mapping[str, Any]) -> Task:
        return Transduction(ALPHABETS[card["target_alphabet"]])

    def canonical(self, target: str, separator: str) -> str:
        return self.alphabet.spell(target.strip())

    def learned(self, target: str) -> str:
        return self.alphabet.decode(self.alphabet.encode(target))

    def check(self, table: pd.DataFrame, names: Sequence[str]) -> None:
        targets = table["target"]
        refuse("empty targets", chosen(names, targets == ""), "Remove these sequences, or give what they become.")
        strange = chosen(names, self.alphabet.strangers(targets.tolist()))
        remedy = "Correct the data card's `target_alphabet`, or which column is the target."
        refuse(f"targets that look like {self.alphabet.others}, not like {self.alphabet.name}", strange, remedy)
        found = ((name, self.alphabet.illegal(target)) for name, target in zip(names, targets, strict=True))
        refuse(
            f"targets with letters outside the {self.alphabet.name} alphabet",
            [f"{name}: letter {hit[1]!r} at position {hit[0]}" for name, hit in found if hit],
            f"Legal are {self.alphabet.legal}. Correct the targets, or the data card's `target_alphabet`.",
        )

    def classes(self, targets: Iterable[str]) -> list[str]:
        return list(self.alphabet.letters)

    def strata(self, targets: Sequence[str]) -> tuple[list[str], Counts]:
        names, counts = fifths(np.array([len(target) for target in targets]))
        return [f"{name} symbols" for name in names], counts

    def learnable(self, targets: Iterable[str]) -> bool:
        return len(set(targets)) > 1

    def outputs(self, classes: Sequence[str]) -> int:
        return 1 + len(classes)  # the end, 0, comes first

    def columns(self, classes: Sequence[str]) -> list[str]:
        return ["decoded", "log_likelihood", "length"]

    def encode(self, targets: Sequence[str], classes: Sequence[str]) -> Array | list[Array]:
        """(T' + 1,) of each target: its symbols 1..K, and 0, the end."""
        code = {letter: k for k, letter in enumerate(classes, 1)}
        return [np.array([*(code[letter] for letter in target), 0], dtype=np.int64) for target in targets]

    def unknown(self, n: int) -> Array | list[Array]:
        return [np.zeros(0, dtype=np.int64)] * n

    def longest(self, targets: Sequence[str]) -> int | None:
        """Twice what was seen in training: room for inputs longer than any there."""
        return 2 * max(map(len, targets))

    def setting(self, longest: int | None) -> dict[str, Any]:
        return {"longest": longest}

    def cells(self, answers: Sequence[Decoded], classes: Sequence[str], sequences: Sequence[str]) -> dict[str, Any]:
        texts = [answer.text(classes) for answer in answers]
        likelihoods = np.array([answer.log_likelihood for answer in answers])
        return dict(zip(self.columns(classes), (texts, likelihoods, list(map(len, sequences))), strict=True))
