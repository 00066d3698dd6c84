"""Tasks: what a target means. A data card's `task` names one; whatever differs between tasks is asked of it.

A target is text, as everything in the table. What networks optimise is in objectives.py, what is measured in
scoring.py.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.alphabet import ALPHABETS, PROTEIN, Alphabet
from unrolled.answers import Decoded
from unrolled.errors import UnrolledError, refuse
from unrolled.formulas import REMEDY, is_formula

SEPARATOR = "|"
UNSCORED = "-"
QUANTILES = 5

Array = NDArray[Any]
Counts = NDArray[np.int64]


class Task:
    """One label a sequence; what the other tasks differ from."""

    name = "multiclass"
    per_position = False  # an answer at every position of a sequence
    causal = False  # an answer may depend on what stands before its position alone
    values_are = "classes"

    def of(self, card: Mapping[str, Any]) -> "Task":
        """The task with what else a data card says of its targets."""
        return self

    def labels(self, target: str) -> list[str]:
        """Names of the classes in one target."""
        return [target]

    def canonical(self, target: str, separator: str) -> str:
        """A target as the table keeps it; `separator` is what the source joins labels by."""
        return target

    def learned(self, target: str) -> str:
        """A target as models learn it and are scored by it."""
        return target

    def check(self, table: pd.DataFrame, names: Sequence[str]) -> None:
        """Raise UnrolledError at targets that are not of this task; `names` (N,) are the rows' in messages."""
        targets = table["target"]
        refuse("sequences without a label", _chosen(names, targets == ""), "Label or remove them.")
        odd = [not target.isprintable() for target in targets]
        refuse("labels with control or invisible characters", _chosen(names, odd), "Remove these characters.")
        alone = [] if self.per_position else map(self.labels, targets)  # letters of a text stand in no cell alone
        computed = [any(map(is_formula, labels)) for labels in alone] or [False] * len(targets)
        remedy = f"{REMEDY} A card's `names` gives labels other names."
        refuse("labels that a spreadsheet would compute", _chosen(names, computed), remedy)

    def classes(self, targets: Iterable[str]) -> list[str]:
        """Sorted names of the classes that occur: what a network has outputs for."""
        return sorted({label for target in set(targets) for label in self.labels(target)})

    def counts(self, targets: Iterable[str], classes: Sequence[str]) -> Counts:
        """How often each class occurs in each target, (N, K): one-hot or multi-hot, here.

        Raises UnrolledError for a label that is not among the classes.
        """
        codes, distinct = pd.factorize(np.asarray(list(targets), dtype=object))
        rows = [self.labels(target) for target in distinct]
        column = {name: k for k, name in enumerate(classes)}
        unknown = sorted({label for row in rows for label in row if label not in column})
        refuse("labels that are not among the classes", unknown, f"The classes are: {', '.join(classes)}.")
        matrix = np.zeros((len(rows), len(classes)), dtype=np.int64)
        for n, row in enumerate(rows):
            np.add.at(matrix[n], [column[label] for label in row], 1)
        return matrix[codes]

    def strata(self, targets: Sequence[str]) -> tuple[list[str], Counts]:
        """What folds and samples are kept even in: names, and how much of each a row holds, (N, K)."""
        classes = self.classes(targets)
        return classes, self.counts(targets, classes)

    def learnable(self, targets: Iterable[str]) -> bool:
        """Whether there is more than one thing to tell apart."""
        return len(self.classes(targets)) > 1

    def outputs(self, classes: Sequence[str]) -> int:
        """K, the number of values that a network gives for a sequence or a position; 0: one a symbol."""
        return len(classes)

    def columns(self, classes: Sequence[str]) -> list[str]:
        """What of predictions.parquet holds the answers."""
        return [f"p:{name}" for name in classes]

    def encode(self, targets: Sequence[str], classes: Sequence[str]) -> Array | list[Array]:
        """What a network is trained on: (N, K); of a task with a label a position N arrays of a sequence's length."""
        return self.counts(targets, classes).astype(np.uint8)

    def unknown(self, n: int) -> Array | list[Array]:
        """What stands for the targets of n sequences of which nothing is known."""
        return np.zeros((n, 1))

    def longest(self, targets: Sequence[str]) -> int | None:
        """How many symbols an answer may have, given the targets of the training part; None where that is fixed."""
        return None

    def setting(self, longest: int | None) -> dict[str, Any]:
        """What a network is told of the task when it is built."""
        return {"per_position": self.per_position, "causal": self.causal}

    def cells(self, answers: Any, classes: Sequence[str], sequences: Sequence[str]) -> dict[str, Any]:
        """Columns of predictions.parquet, from N answers (K,) or (T, K) to N sequences."""
        return {column: _cells(answers, k) for k, column in enumerate(self.columns(classes))}


class Multilabel(Task):
    """One label or more, sorted and joined by "|"."""

    name = "multilabel"

    def labels(self, target: str) -> list[str]:
        return target.split(SEPARATOR)

    def canonical(self, target: str, separator: str) -> str:
        return SEPARATOR.join(sorted({label.strip() for label in target.split(separator)}))

    def check(self, table: pd.DataFrame, names: Sequence[str]) -> None:
        super().check(table, names)
        rows = [self.labels(target) for target in table["target"]]
        refuse(
            "empty labels", _chosen(names, ["" in row for row in rows]), "Remove the doubled or trailing separator."
        )
        loose = [row != sorted(set(row)) for row in rows]
        refuse("labels not sorted or not unique", _chosen(names, loose), "Sort each list, each name once.")


class Regression(Task):
    """A number a sequence. Folds are kept even in its quintiles."""

    name = "regression"
    values_are = "values"

    def check(self, table: pd.DataFrame, names: Sequence[str]) -> None:
        values = pd.to_numeric(table["target"], errors="coerce").to_numpy(np.float64)
        shown = [f"{name}: {target!r}" for name, target in zip(names, table["target"], strict=True)]
        refuse("targets that are not finite numbers", _chosen(shown, ~np.isfinite(values)), "Mend or remove them.")

    def classes(self, targets: Iterable[str]) -> list[str]:
        return []

    def strata(self, targets: Sequence[str]) -> tuple[list[str], Counts]:
        return _fifths(self.values(targets))

    def learnable(self, targets: Iterable[str]) -> bool:
        return len(set(self.values(targets))) > 1

    def outputs(self, classes: Sequence[str]) -> int:
        return 1

    def columns(self, classes: Sequence[str]) -> list[str]:
        return ["prediction"]

    def encode(self, targets: Sequence[str], classes: Sequence[str]) -> Array | list[Array]:
        return self.values(targets)[:, None]

    def cells(self, answers: Any, classes: Sequence[str], sequences: Sequence[str]) -> dict[str, Any]:
        """The number itself: of large ones half as many digits would not do."""
        return {"prediction": answers[:, 0]}

    @staticmethod
    def values(targets: Iterable[str]) -> NDArray[np.float64]:
        """The targets as numbers, (N,)."""
        return np.array([float(target) for target in targets])


class Labelling(Task):
    """One letter a position, as many as the sequence has; "-" where nothing is known: never learned, never scored.

    Folds are kept even in the commonest label of each sequence.
    """

    name = "labelling"
    per_position = True

    def check(self, table: pd.DataFrame, names: Sequence[str]) -> None:
        super().check(table, names)
        pairs = list(zip(table["sequence"], table["target"], strict=True))
        shown = [f"{name}: {len(s)} letters, {len(t)} labels" for name, (s, t) in zip(names, pairs, strict=True)]
        unequal = [len(sequence) != len(target) for sequence, target in pairs]
        remedy = f"Give one letter a position, {UNSCORED!r} where nothing is known."
        refuse("sequences and labels of different length", _chosen(shown, unequal), remedy)

    def classes(self, targets: Iterable[str]) -> list[str]:
        return sorted(set().union(*targets) - {UNSCORED})

    def strata(self, targets: Sequence[str]) -> tuple[list[str], Counts]:
        return TASKS["multiclass"].strata([self._mostly(target) for target in targets])

    @staticmethod
    def _mostly(target: str) -> str:
        letters = Counter(target.replace(UNSCORED, ""))
        return f"mostly {min(letters, key=lambda x: (-letters[x], x))}" if letters else "nothing known"

    def encode(self, targets: Sequence[str], classes: Sequence[str]) -> Array | list[Array]:
        """(T,) of each target: the number of each position's class, -1 where nothing is known."""
        codes = np.full(0x110000, -1, dtype=np.int64)
        codes[[ord(name) for name in classes]] = np.arange(len(classes))
        return [codes[np.frombuffer(target.encode("utf-32-le"), dtype=np.uint32)] for target in targets]


class Generation(Task):
    """Nothing but the sequence: each symbol, and where it ends, from those before it."""

    name = "generation"
    per_position = True
    causal = True

    def canonical(self, target: str, separator: str) -> str:
        return ""

    def check(self, table: pd.DataFrame, names: Sequence[str]) -> None:
        """Any target will do: it is not read."""

    def classes(self, targets: Iterable[str]) -> list[str]:
        return []

    def strata(self, targets: Sequence[str]) -> tuple[list[str], Counts]:
        return ["sequences"], np.ones((len(targets), 1), dtype=np.int64)

    def learnable(self, targets: Iterable[str]) -> bool:
        return True

    def columns(self, classes: Sequence[str]) -> list[str]:
        return ["log_likelihood", "symbols"]

    def encode(self, targets: Sequence[str], classes: Sequence[str]) -> Array | list[Array]:
        """Nothing: what is to be predicted are the sequences (`batching.following`)."""
        return []


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
        letters = self.alphabet.spell(target.strip())
        return letters.removesuffix("*") if self.alphabet is PROTEIN else letters

    def learned(self, target: str) -> str:
        return self.alphabet.decode(self.alphabet.encode(target))

    def check(self, table: pd.DataFrame, names: Sequence[str]) -> None:
        targets = table["target"]
        refuse("empty targets", _chosen(names, targets == ""), "Remove these sequences, or give what they become.")
        strange = _chosen(names, self.alphabet.strangers(targets.tolist()))
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
        names, counts = _fifths(np.array([len(target) for target in targets]))
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


TASKS: Mapping[str, Task] = MappingProxyType(
    {task.name: task for task in (Task(), Multilabel(), Regression(), Labelling(), Generation(), Transduction())}
)


def named(name: str) -> Task:
    """The task of this name. Raises UnrolledError if there is none."""
    if name not in TASKS:
        raise UnrolledError(f"task {name!r} is unknown: choose {' or '.join(TASKS)} in the data card")
    return TASKS[name]


def of(card: Mapping[str, Any]) -> Task:
    """The task of a data card. Raises UnrolledError if there is none of the name that it gives."""
    return named(card["task"]).of(card)


def _cells(answers: Any, k: int) -> Any:
    if isinstance(answers, np.ndarray):
        return answers[:, k].astype(np.float32)
    return [one[:, k].astype(np.float32) for one in answers]


def _fifths(values: Array) -> tuple[list[str], Counts]:
    """Names of the values' quintiles, and which of them each value (N,) is in, (N, K)."""
    inner = np.unique(np.quantile(values, np.arange(1, QUANTILES) / QUANTILES))
    digits = next(n for n in range(4, 18) if len({f"{edge:.{n}g}" for edge in inner}) == len(inner))
    edges = [f"{edge:.{digits}g}" for edge in inner]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    names = [f"up to {edges[0]}", *between, f"above {edges[-1]}"]
    counts = np.eye(len(names), dtype=np.int64)[np.searchsorted(inner, values)]
    some = np.flatnonzero(counts.any(axis=0))  # above the last edge there is nothing where it is the highest value
    return [names[k] for k in some], counts[:, some]


def _chosen(names: Sequence[str], mask: Iterable[bool]) -> list[str]:
    return [name for name, chosen in zip(names, mask, strict=True) if chosen]
