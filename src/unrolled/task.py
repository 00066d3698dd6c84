"""What a task is: whatever may differ between tasks, as it is for one label a sequence."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.errors import refuse
from unrolled.formulas import REMEDY, is_formula

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
        refuse("sequences without a label", chosen(names, targets == ""), "Label or remove them.")
        odd = [not target.isprintable() for target in targets]
        refuse("labels with control or invisible characters", chosen(names, odd), "Remove these characters.")
        alone = [] if self.per_position else map(self.labels, targets)  # letters of a text stand in no cell alone
        computed = [any(map(is_formula, labels)) for labels in alone] or [False] * len(targets)
        remedy = f"{REMEDY} A card's `names` gives labels other names."
        refuse("labels that a spreadsheet would compute", chosen(names, computed), remedy)

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


def _cells(answers: Any, k: int) -> Any:
    if isinstance(answers, np.ndarray):
        return answers[:, k].astype(np.float32)
    return [one[:, k].astype(np.float32) for one in answers]


def fifths(values: Array) -> tuple[list[str], Counts]:
    """Names of the values' quintiles, and which of them each value (N,) is in, (N, K)."""
    inner = np.unique(np.quantile(values, np.arange(1, QUANTILES) / QUANTILES))
    digits = next(n for n in range(4, 18) if len({f"{edge:.{n}g}" for edge in inner}) == len(inner))
    edges = [f"{edge:.{digits}g}" for edge in inner]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    names = [f"up to {edges[0]}", *between, f"above {edges[-1]}"]
    counts = np.eye(len(names), dtype=np.int64)[np.searchsorted(inner, values)]
    some = np.flatnonzero(counts.any(axis=0))  # above the last edge there is nothing where it is the highest value
    return [names[k] for k in some], counts[:, some]


def chosen(names: Sequence[str], mask: Iterable[bool]) -> list[str]:
    """The names (N,) whose place in the mask (N,) is true."""
    return [name for name, there in zip(names, mask, strict=True) if there]
