"""What every format's function makes of a raw file: records, and how their letters are spelled."""

from typing import Any, NamedTuple

from unrolled.alphabet import ALPHABETS

Card = dict[str, Any]


class Record(NamedTuple):
    """One sequence as a format's function yields it.

    `keep` are the kept columns, None where the record has no such field.
    `fault` says why it cannot be read, which is an error; `left_out` why it is no part of the table, which is
    listed, as is each annotation in `unused`, of which nothing became part of the target.
    """

    id: str
    sequence: Any  # letters, or a `Series`
    target: str
    keep: tuple[str | None, ...]
    where: str
    fault: str = ""
    left_out: str = ""
    unused: tuple[str, ...] = ()


def spelled(text: str, card: Card) -> str:
    """Canonical letters without surrounding blanks."""
    return ALPHABETS[card["alphabet"]].spell(text.strip())
