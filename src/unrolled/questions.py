"""What `unrolled predict` reads: records of letters from a FASTA file, or series in the format of the data card."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from unrolled import homology, inputs, runs, tasks
from unrolled.alphabet import LOOKED_AT
from unrolled.archives import is_archive, members
from unrolled.definitions import strands
from unrolled.errors import UnrolledError
from unrolled.formats import FORMATS
from unrolled.formulas import REMEDY, is_formula
from unrolled.headers import identifier
from unrolled.inputs import Reading
from unrolled.reading import fasta_blocks
from unrolled.records import Record
from unrolled.series import FAR, Scaling
from unrolled.series_formats import NOTHING

CHUNK, POSITIONS = 2000, 2_000_000  # sequences in memory at a time, and about how many positions of them together
MOST_FAR = 0.1  # share of a series' readings beyond FAR above which it is unlike the training part
SHIFTED, ENOUGH = 1.5, 20  # deviations between the mean of a file and of the training part, of so many readings

Card = dict[str, Any]
Sequences = list[tuple[str, Any]]  # id, letters or series
T = TypeVar("T")


class Questions(Protocol):
    """A file of sequences of a run's kind."""

    def chunks(self) -> Iterator[Sequences]:
        """Ids and sequences as in a table, CHUNK at a time. Raises UnrolledError naming file and line."""
        ...

    def likeness(self, chunk: Sequences, known: runs.Part | None, threads: int) -> list[dict[str, str]]:
        """What the table says of each beside its answer: how like the training sequences, if they are known."""
        ...

    def warnings(self) -> Iterator[str]:
        """What is unlike the training sequences, of all chunks that `likeness` has seen."""
        ...


class Records:
    """A FASTA file."""

    def __init__(self, path: Path, card: Card):
        self.path, self.alphabet, self.strands = path, inputs.alphabet(card), strands(card)
        self.seen = self.unlike = 0
        self._check()

    def _check(self) -> None:
        """Read all of the file before anything of it is answered."""
        first: list[str] = []
        for _, letters in self._records():
            if len(first) < LOOKED_AT:
                first.append(letters)
        if not first:
            raise UnrolledError(f"{self.path}: the file is empty or has no record starting with '>'")
        if self.alphabet.stranger("".join(first)):
            raise UnrolledError(f"{self.path}: the sequences {self._of_others()}")

    def _of_others(self) -> str:
        """Letters of nucleotides are letters of proteins, too: a network would answer, and mean nothing by it."""
        return f"look like {self.alphabet.others}, but the run was trained on {self.alphabet.name}"

    def chunks(self) -> Iterator[Sequences]:
        return _pieces(self._records(), lambda found: len(found[1]))

    def _records(self) -> Iterator[tuple[str, str]]:
        known = self.alphabet
        for line, header, body in fasta_blocks(self.path):
            letters = known.spell("".join(text for _, text in body))
            name, hit = identifier(header), known.illegal(letters)
            if known.stranger(letters):
                raise UnrolledError(f"{self.path}:{line}: the letters of {name!r} {self._of_others()}")
            if not letters or hit:
                fault = f"letter {hit[1]!r} at position {hit[0]}" if hit else "there are no letters"
                legal = f"legal are {known.legal}. Mend or remove this record."
                raise UnrolledError(f"{self.path}:{line}: {name!r}: {fault}; {legal}")
            if is_formula(name):
                raise UnrolledError(f"{self.path}:{line}: a spreadsheet would compute the id {name!r}. {REMEDY}")
            yield name, letters

    def likeness(self, chunk: Sequences, known: runs.Part | None, threads: int) -> list[dict[str, str]]:
        """`nearest`: the id of the training sequence that MMseqs2 finds most like it, "" where it finds none."""
        if known is None:
            return [{} for _ in chunk]
        letters = [one for _, one in chunk]
        rows = homology.best_hits(letters, known.sequences, strands=self.strands, threads=threads)
        self.seen += len(chunk)
        self.unlike += int((rows < 0).sum())
        return [{"nearest": known.ids[row] if row >= 0 else ""} for row in rows]

    def warnings(self) -> Iterator[str]:
        if self.unlike:
            which = f"{self.unlike:,} of {self.seen:,} sequences are like none that the run was trained on"
            yield f"{which} (`nearest` is empty)"


class Measurements:
    """A file of numeric series laid out as the run's raw files were.

    Targets may be missing, and are not read; but where columns go by their places, that of the target must be there.
    """

    def __init__(self, path: Path, card: Card, scaling: Scaling, classes: Sequence[str]):
        self.path, self.card, self.kind, self.scaling = path, card, inputs.of(card), scaling
        place, self.task = card.get("columns", {}).get("target"), tasks.of(card)
        self.place = place if isinstance(place, int) else None
        self.labels = {*classes, *map(str, card.get("names", {}))} if classes else None
        self.seen = self.unlike = 0
        self.count, self.total = (np.zeros(len(scaling.variables)) for _ in range(2))

    def chunks(self) -> Iterator[Sequences]:
        records = itertools.chain.from_iterable(FORMATS[self.card["format"]](self.card, one) for one in self._files())
        done = 0
        for chunk in _pieces(records, lambda record: len(record.sequence)):
            self._check_place(chunk)
            names = [f"{record.id!r} ({record.where})" for record in chunk]
            self.kind.check(pd.Series([record.sequence for record in chunk], dtype=object), names)
            yield [(record.id, record.sequence) for record in chunk]
            done += len(chunk)
        if not done:
            raise UnrolledError(f"{self.path}: the file has no series")

    def _files(self) -> list[Path]:
        """The file itself, or the members of an archive that the card names."""
        patterns = [file["members"] for file in self.card.get("files", []) if "members" in file]
        return members(self.path, patterns[0]) if patterns and is_archive(self.path) else [self.path]

    def _check_place(self, chunk: list[Record]) -> None:
        """A file without the target's column would be read one column off, and answered."""
        if self.place is None or self.labels is None:
            return
        for record in chunk:
            target = self.task.canonical(record.target, self.card.get("separator", tasks.SEPARATOR))
            said = self.task.classes([target]) if record.target.lower() not in NOTHING else []
            if not self.labels.issuperset(said):
                raise UnrolledError(
                    f"{record.where}: column {self.place} holds the target ({', '.join(sorted(self.labels))}), "
                    f"but is {record.target!r}: where it is not known, put NaN in this place"
                )

    def likeness(self, chunk: Sequences, known: runs.Part | None, threads: int) -> list[dict[str, str]]:
        """`far`: the share of its readings so far from the training mean that the network was shown less."""
        found = []
        for _, one in chunk:
            measured = np.isfinite(one.values)
            off = np.abs(one.values - self.scaling.mean) > FAR * self.scaling.deviation
            share = (off & measured & (self.scaling.deviation > 0)).sum() / max(1, measured.sum())
            found.append({"far": f"{share:.3f}"})
            self.unlike += bool(share > MOST_FAR)
            self.count += measured.sum(axis=0)
            self.total += np.where(measured, one.values, 0.0).sum(axis=0)
        self.seen += len(chunk)
        return found

    def warnings(self) -> Iterator[str]:
        if self.place is not None and self.labels is None:
            yield f"column {self.place} was taken for the target, and not read: its place must be there"
        if self.unlike:
            which = f"{self.unlike:,} of {self.seen:,} series have more than {MOST_FAR:.0%} of their readings further"
            yield f"{which} than {FAR:g} deviations from the training mean (`far`)"
        means, known = self.total / np.maximum(self.count, 1), self.scaling
        learned = zip(known.count, known.mean, known.deviation, strict=True)
        for name, count, mean, (n, usual, deviation) in zip(known.variables, self.count, means, learned, strict=True):
            if count and not n:
                yield f"{name} was never measured in training: its {count:,.0f} readings are not looked at"
            elif count and not deviation and not math.isclose(mean, usual):
                yield f"{name} was always {usual:.4g} in training: that it is {mean:.4g} on average tells it nothing"
            elif count >= ENOUGH and abs(mean - usual) > SHIFTED * deviation:
                trained = f"{usual:.4g} +- {deviation:.2g}"
                yield f"{name} is {mean:.4g} on average, but {trained} in training: another unit?"


def _pieces(found: Iterator[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """CHUNK at a time, fewer where they are long."""
    piece: list[T] = []
    total = 0
    for one in found:
        piece.append(one)
        total += size(one)
        if len(piece) == CHUNK or total >= POSITIONS:
            yield piece
            piece, total = [], 0
    if piece:
        yield piece


def of(path: Path, card: Card, reading: Reading, classes: Sequence[str]) -> Questions:
    """The questions in a file, for a run on data of this card, with its reading and its classes."""
    return Measurements(path, card, reading, classes) if isinstance(reading, Scaling) else Records(path, card)
