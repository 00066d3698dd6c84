"""Immutable alphabets: which letters a sequence may hold, and the integer each becomes.

Index 0 is the padding; the symbols follow as 1..n, the unknown one last. Ambiguity codes are data, not
errors: they become the unknown symbol, so nothing is invented and no protein is lost for one odd residue.
Most letters of nucleotides are letters of proteins, too, and the other way round: `look` tells them apart.
Codes: IUPAC-IUB (1984) for amino acids, NC-IUB (1985, Cornish-Bowden) for nucleotides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from string import ascii_lowercase, ascii_uppercase
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unrolled.errors import UnrolledError, refuse

NUCLEOTIDES = "ACGTUN"
FEW, HALF = 0.9, 0.5  # the share of these that nucleotides have at least, and proteins, with about a quarter, at most
RARE = 0.05  # of genes at least three bases have this share
MANY, SOME = 50, 10  # letters that it takes to tell nucleotides, and proteins
LOOKED_AT = 200  # sequences that are looked at together, as each may be too short


class AlphabetError(UnrolledError):
    """A letter or a code that the alphabet does not have."""


@dataclass(frozen=True)
class Alphabet:
    """The symbols of one kind of sequence, and the other letters that stand for one of them.

    >>> DNA.encode("ACGTR")
    array([1, 2, 3, 4, 5], dtype=uint8)
    >>> DNA.decode([1, 2, 3, 4, 5, 0, 0])
    'ACGTN'
    """

    name: str
    letters: str
    ambiguous: Mapping[str, str] = field(hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ambiguous", MappingProxyType(dict(self.ambiguous)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only mapping cannot be pickled; data-loader processes need a copy of the alphabet.
        return Alphabet, (self.name, self.letters, dict(self.ambiguous))

    @property
    def size(self) -> int:
        """Number of codes, the padding included: the height of an embedding matrix."""
        return 1 + len(self.letters)

    @property
    def legal(self) -> str:
        """Every letter a sequence may hold, in alphabetical order."""
        return "".join(sorted({*self.letters, *self.ambiguous}))

    @cached_property
    def _codes(self) -> NDArray[np.uint8]:
        """Code of each byte, (256,); 0 marks an illegal one."""
        codes = np.zeros(256, dtype=np.uint8)
        for letter in self.legal:
            codes[ord(letter)] = 1 + self.letters.index(self.ambiguous.get(letter, letter))
        codes.setflags(write=False)
        return codes

    @cached_property
    def _spelling(self) -> dict[int, int]:
        unknown = self.letters[-1]
        synonyms = {letter: symbol for letter, symbol in self.ambiguous.items() if symbol != unknown}
        upper = "".join(synonyms.get(letter, letter) for letter in ascii_uppercase)
        return str.maketrans(ascii_uppercase + ascii_lowercase, upper + upper)

    def _lookup(self, sequence: str) -> NDArray[np.uint8]:
        # "replace" keeps one byte a character, so that positions in the error stay true.
        return self._codes[np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)]

    def spell(self, text: str) -> str:
        """`text` in upper case, with U for T in RNA and T for U in DNA; ambiguity codes stay as they are.

        A stop sign at the end of a protein goes.
        Only a-z change: str.upper() would turn a dotless i into a legal I, and one ß into two letters.
        """
        spelled = text.translate(self._spelling)
        return spelled.removesuffix("*") if self.name == "protein" else spelled

    def encode(self, sequence: str) -> NDArray[np.uint8]:
        """Codes 1..n of an upper-case sequence, (T,) uint8. Raises AlphabetError at an illegal letter."""
        codes = self._lookup(sequence)
        if not codes.all():
            position, letter = _first_zero(codes, sequence)
            raise AlphabetError(
                f"letter {letter!r} at position {position} is not in the {self.name} alphabet "
                f"({self.legal}): correct the sequence, or the data card's `alphabet`"
            )
        return codes

    def decode(self, codes: ArrayLike) -> str:
        """The symbols of `codes` (T,), padding dropped: an ambiguous letter comes back as its symbol.

        Raises AlphabetError for a code outside 0..size - 1.
        """
        numbers = np.asarray(codes, dtype=np.int64)
        bad = numbers[(numbers < 0) | (numbers >= self.size)]
        if bad.size:
            raise AlphabetError(f"the {self.name} alphabet has codes 0..{self.size - 1}, not {bad[0]}")
        return "".join(self.letters[code - 1] for code in numbers if code)

    def check(self, sequences: Iterable[str], names: Sequence[str]) -> None:
        """Raise UnrolledError at empty sequences, those of another kind, and illegal letters.

        `names` are the sequences' in messages.
        """
        pairs = list(zip(names, sequences, strict=True))
        remedy = "Remove these records or add their letters."
        refuse("empty sequences", [name for name, sequence in pairs if sequence == ""], remedy)
        strange = self.strangers([sequence for _, sequence in pairs])
        refuse(
            f"sequences that look like {self.others}, not like {self.name}",
            (name for name, is_strange in zip(names, strange, strict=True) if is_strange),
            "Correct the data card's `alphabet`, or remove these records.",
        )
        found = ((name, self.illegal(sequence)) for name, sequence in pairs)
        refuse(
            f"letters outside the {self.name} alphabet",
            (f"{name}: letter {hit[1]!r} at position {hit[0]}" for name, hit in found if hit),
            f"Legal are {self.legal}, in upper case. Correct the sequences, or the data card's `alphabet`.",
        )

    @property
    def others(self) -> str:
        """What sequences are not of this alphabet."""
        return "nucleotides" if self.name == "protein" else "proteins"

    def stranger(self, sequence: str) -> bool:
        """Whether upper-case letters look like a molecule of the other kind, though all of them may be legal."""
        return look(sequence) == self.others

    def strangers(self, sequences: Sequence[str]) -> list[bool]:
        """Which of N sequences are strangers; all, if the first of them are as a whole, short as each may be."""
        every = self.stranger("".join(sequences[:LOOKED_AT]))
        return [every or self.stranger(sequence) for sequence in sequences]

    def illegal(self, sequence: str) -> tuple[int, str] | None:
        """The first illegal letter as (position counted from 1, letter); None if there is none."""
        codes = self._lookup(sequence)
        return None if codes.all() else _first_zero(codes, sequence)


def _first_zero(codes: NDArray[np.uint8], sequence: str) -> tuple[int, str]:
    position = int(np.argmin(codes))
    return position + 1, sequence[position]


def look(text: str) -> str | None:
    """`proteins` or `nucleotides`, as upper-case letters look; None where they do not tell.

    Too few letters do not, nor many ambiguity codes, nor what two letters nearly make up alone: that may be silk.
    """
    shares = [text.count(letter) / max(1, len(text)) for letter in NUCLEOTIDES]
    share, common = sum(shares), sum(one >= RARE for one in shares[:-1])
    if share >= FEW and len(text) >= MANY and common > 2:
        return "nucleotides"
    return "proteins" if share <= HALF and len(text) >= SOME and PROTEIN.illegal(text) is None else None


PROTEIN = Alphabet("protein", "ACDEFGHIKLMNPQRSTVWYX", dict.fromkeys("BZJUO", "X"))
DNA = Alphabet("dna", "ACGTN", dict.fromkeys("RYSWKMBDHV", "N") | {"U": "T"})
RNA = Alphabet("rna", "ACGUN", dict.fromkeys("RYSWKMBDHV", "N") | {"T": "U"})

ALPHABETS: Mapping[str, Alphabet] = MappingProxyType({a.name: a for a in (PROTEIN, DNA, RNA)})
