"""What `unrolled predict` reads: records of letters from a FASTA file, or series in the format of the data card."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from unrolled import homology, inputs, runs
from unrolled.archives import is_archive, members
from unrolled.errors import UnrolledError
from unrolled.fasta import guess_alphabet, identifier
from unrolled.formats import FORMATS
from unrolled.formulas import REMEDY, is_formula
from unrolled.inputs import Letters
from unrolled.reading import fasta_blocks

CHUNK = 2000  # sequences in memory at a time
LOOKED_AT = 200  # sequences whose letters tell proteins from nucleotides

Card = dict[str, Any]
Sequences = list[tuple[str, Any]]  # id, letters or series


class Questions(Protocol):
    """A file of sequences of a run's kind."""

    def chunks(self) -> Iterator[Sequences]:
        """Ids and sequences as in a table, CHUNK at a time. Raises UnrolledError naming file and line."""
        ...

    def nearest(self, chunk: Sequences, known: runs.Part, threads: int) -> list[str] | None:
        """Id of the most similar training sequence of each, "" where none is found; None where none can be."""
        ...


class Records:
    """A FASTA file."""

    def __init__(self, path: Path, card: Card):
        self.path, self.alphabet = path, inputs.alphabet(card)
        self._check_kind()

    def _check_kind(self) -> None:
        """Letters of nucleotides are letters of proteins, too: a network would answer, and mean nothing by it."""
        first = itertools.islice(fasta_blocks(self.path), LOOKED_AT)
        looked_at = ["".join(text for _, text in body) for _, _, body in first]
        if not looked_at:
            raise UnrolledError(f"{self.path}: the file is empty or has no record starting with '>'")
        found, name = guess_alphabet(looked_at), self.alphabet.name
        if (found == "protein") != (name == "protein"):
            raise UnrolledError(f"{self.path}: the sequences are {found}, but the run was trained on {name}")

    def chunks(self) -> Iterator[Sequences]:
        known = self.alphabet
        blocks = fasta_blocks(self.path)
        while chunk := list(itertools.islice(blocks, CHUNK)):
            found: Sequences = []
            for line, header, body in chunk:
                letters = known.spell("".join(text for _, text in body))
                letters = letters.removesuffix("*") if known.name == "protein" else letters
                hit = known.illegal(letters)
                if not letters or hit:
                    fault = f"letter {hit[1]!r} at position {hit[0]}" if hit else "there are no letters"
                    legal = f"legal are {known.legal}. Mend or remove this record."
                    raise UnrolledError(f"{self.path}:{line}: {fault}; {legal}")
                if is_formula(name := identifier(header)):
                    raise UnrolledError(f"{self.path}:{line}: a spreadsheet would compute the id {name!r}. {REMEDY}")
                found.append((name, letters))
            yield found

    def nearest(self, chunk: Sequences, known: runs.Part, threads: int) -> list[str] | None:
        nucleotide = self.alphabet.name != "protein"
        letters = [one for _, one in chunk]
        rows = homology.best_hits(letters, known.sequences, nucleotide=nucleotide, threads=threads)
        return [known.ids[row] if row >= 0 else "" for row in rows]


class Measurements:
    """A file of numeric series laid out as the run's raw files were; targets may be missing, and are not read."""

    def __init__(self, path: Path, card: Card):
        self.path, self.card, self.kind = path, card, inputs.of(card)

    def chunks(self) -> Iterator[Sequences]:
        records = itertools.chain.from_iterable(FORMATS[self.card["format"]](self.card, one) for one in self._files())
        done = 0
        while chunk := list(itertools.islice(records, CHUNK)):
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

    def nearest(self, chunk: Sequences, known: runs.Part, threads: int) -> list[str] | None:
        return None


def of(path: Path, card: Card) -> Questions:
    """The questions in a file, for a run on data of this card."""
    kind: Callable[[Path, Card], Questions] = Records if isinstance(inputs.of(card), Letters) else Measurements
    return kind(path, card)
