"""Tasks: what a target means. A data card's `task` names one; whatever differs between tasks is asked of it.

A target is text, as everything in the table. What networks optimise is in objectives.py, what is measured in
scoring.py.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.errors import UnrolledError, refuse
from unrolled.task import Array, Counts, Task, chosen, fifths
from unrolled.transduction import Transduction

SEPARATOR = "|"
UNSCORED = "-"


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
            "empty labels", chosen(names, ["" in row for row in rows]), "Remove the doubled or trailing separator."
        )
        loose = [row != sorted(set(row)) for row in rows]
        refuse("labels not sorted or not unique", chosen(names, loose), "Sort each list, each name once.")


class Regression(Task):
    """A number a sequence. Folds are kept even in its quintiles."""

    name = "regression"
    values_are = "values"

    def check(self, table: pd.DataFrame, names: Sequence[str]) -> None:
        values = pd.to_numeric(table["target"], errors="coerce").to_numpy(np.float64)
        shown = [f"{name}: {target!r}" for name, target in zip(names, table["target"], strict=True)]
        refuse("targets that are not finite numbers", chosen(shown, ~np.isfinite(values)), "Mend or remove them.")

    def classes(self, targets: Iterable[str]) -> list[str]:
        return []

    def strata(self, targets: Sequence[str]) -> tuple[list[str], Counts]:
        return fifths(self.values(targets))

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
        refuse("sequences and labels of different length", chosen(shown, unequal), remedy)

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
