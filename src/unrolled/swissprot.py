"""UniProt's flat text (.txt, .dat), in which Swiss-Prot itself is written -> what of an entry is read here.

Two letters say what a line holds, from column 6 on stands its content, `//` ends an entry.
https://web.expasy.org/docs/userman.html
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from unrolled.errors import UnrolledError
from unrolled.reading import lines

_TOPIC = re.compile(r"-!- ([A-Z][A-Z /-]+):\s*")
_FT_OF_OLD = re.compile(r"([A-Z][A-Z_]+) +([<>?]?\d+|\?) +([<>?]?\d+|\?)(?: |$)")


class Entry(NamedTuple):
    """Primary accession, sequence, the text of its comments by topic, its features, "file:line" of its start."""

    accession: str
    sequence: str
    comments: dict[str, str]
    features: str
    where: str


def entries(path: Path) -> Iterator[Entry]:
    """The entries of a file. Raises UnrolledError for a file that is none, or that ends inside an entry."""
    gathered: list[tuple[str, str]] = []
    began = 1
    for number, line in lines(path):
        if line.startswith("//"):
            yield _entry(gathered, f"{path}:{began}")
            gathered, began = [], number + 1
        elif line.strip():
            if not gathered and not line.startswith("ID   "):
                raise UnrolledError(
                    f"{path}:{number}: an entry starts with 'ID', this line with {line.strip()[:40]!r}"
                )
            gathered.append((line[:2], line[5:].rstrip()))
    if gathered:
        raise UnrolledError(f"{path}:{began}: the file ends inside this entry, without its '//'. Fetch it again.")


def _entry(gathered: list[tuple[str, str]], where: str) -> Entry:
    def of(code: str) -> list[str]:
        return [text for kind, text in gathered if kind == code]

    return Entry(
        accession=" ".join(of("AC")).split(";")[0].strip(),
        sequence="".join(of("  ")).replace(" ", ""),
        comments=_comments(of("CC")),
        features=_features(of("FT")),
        where=where,
    )


def _comments(content: Iterable[str]) -> dict[str, str]:
    """Topic -> text; topics that occur again are joined by "; ", as UniProt's tables do."""
    blocks: list[str] = []
    for line in content:
        if line.startswith("-!-"):
            blocks.append(line)
        elif line.startswith("---"):  # the licence, below a ruler, is no comment
            break
        elif blocks:
            blocks[-1] = _joined(blocks[-1], line.strip())
    found: dict[str, str] = {}
    for block in blocks:
        if topic := _TOPIC.match(block):
            text = f"{topic[1]}: {block[topic.end() :]}"
            found[topic[1]] = f"{found[topic[1]]}; {text}" if topic[1] in found else text
    return found


def _joined(text: str, more: str) -> str:
    """Lines are broken at blanks and after hyphens."""
    return text + more if text.endswith("-") else f"{text} {more}"


def _features(content: Iterable[str]) -> str:
    """All features as UniProt's tables write them, also those of before 2020, which have two columns for the ends."""
    written = []
    for line in content:
        if of_old := _FT_OF_OLD.match(line):
            written.append(f"; {of_old[1]} {of_old[2]}..{of_old[3]}")
        elif '"' in line or not line.startswith(" "):  # else it goes on with the free text of an old one
            written.append(line if line.startswith(" ") else f"; {line}")
    return " ".join(written)
