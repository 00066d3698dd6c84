"""FASTA headers as they occur in the wild: their fields and labels."""

import re

BETWEEN_BLANKS = re.compile(r"\slabel=(.*?)(?=\||\s\w+=|$)")
UNNAMED = re.compile(r"(?:^|[|\s])label\s*=[^|]*\|[^|=]+(?:\||$)")


def fields(header: str, separator: str = "|") -> dict[str, str]:
    """The `name=value` fields of a header."""
    pairs = (part.split("=", 1) for part in header.split(separator) if "=" in part)
    return {key.strip(): value.strip() for key, value in pairs}


def label(header: str) -> str:
    """What a header says after `label=`, "" if it does not: up to the next "|", between blanks to the next `name=`.

    >>> label("P1|label=Cell membrane|kingdom=2"), label("P2 a kinase label=Cell wall OS=Zea mays")
    ('Cell membrane', 'Cell wall')
    """
    named, spaced = fields(header), BETWEEN_BLANKS.search(header)
    return named["label"] if "label" in named else spaced[1].strip() if spaced else ""


def is_torn(header: str) -> bool:
    """Whether a label is followed by a field without a name, which may be another label: `label=a|b`."""
    return UNNAMED.search(header) is not None
