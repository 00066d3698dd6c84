"""FASTA headers as they occur in the wild: ids, accessions, fields and labels.

`>sp|P12345|NAME text`, `>id|label=x`, `>id text`, NCBI's `>gi|1|ref|NP_1.1| text`, JGI's `>jgi|Aspni1|1234|x`.
"""

import re
from collections.abc import Sequence

# database|accession|..., or database||name
ONE_NAME = {"sp", "tr", "ref", "gb", "emb", "dbj", "tpg", "tpe", "lcl", "pir", "prf", "ena", "gi"}
TWO_NAMES = {"pdb", "gnl", "jgi"}  # database|entry|chain: only together they are unique
# UniProt's own pattern of its accessions, with an isoform's number; RefSeq, Ensembl and INSDC with a version's.
UNIPROT = re.compile(r"([OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z\d]{2}\d){1,2})(?:-\d+)?(?:\.\d+)?")
# What follows the point of a read's name (SRR1234567.1) is its number.
VERSIONED = re.compile(
    r"(?![SED]R[RXSP]\d)([NX][MPR]_\d{6,}|ENS[A-Z]*[EGPTR]\d{11}|[A-Z]\d{5}|[A-Z]{2}\d{6}(?:\d\d)?"
    r"|[A-Z]{3}\d{5}(?:\d\d)?|[A-Z]{4}\d{8,}|[A-Z]{6}\d{9,})\.\d+"
)
BETWEEN_BLANKS = re.compile(r"\slabel=(.*?)(?=\||\s\w+=|$)")
WORDS = re.compile(r"(?:^|\s)([^\s=]+)=(.*?)(?=\s[^\s=]+=|$)")
UNNAMED = re.compile(r"(?:^|[|\s])label\s*=[^|]*\|[^|=]+(?:\||$)")


def identifier(header: str, separator: str = "|") -> str:
    """The id in a header: the accession where a database's name comes first, else up to a blank or the separator.

    >>> identifier("sp|P12345|AATM_RABIT Aspartate"), identifier("jgi|Aspni1|1234|x"), identifier("P1|label=ER")
    ('P12345', 'Aspni1_1234', 'P1')
    """
    database, *rest = _word(header).split("|")
    names = [part for part in rest if part and "=" not in part]
    kind = database.lower()
    if kind == "gi" and len(names) >= 3:
        return identifier("|".join(names[1:]))
    if kind in TWO_NAMES and len(names) >= 2:
        return "_".join(names[:2])
    if kind in ONE_NAME and names:
        return names[0]
    return _word(header.split(separator)[0])


def identifiers(headers: Sequence[str]) -> list[str]:
    """The ids of a file's records: all short, or where these repeat and whole first words tell more apart, the words.

    >>> identifiers(["ENSG01|ENST01", "ENSG01|ENST02 text", "ENSG02|ENST03|label=x"])
    ['ENSG01|ENST01', 'ENSG01|ENST02', 'ENSG02|ENST03']
    """
    short = [identifier(header) for header in headers]
    first = (_word(header).split("|") for header in headers)
    words = ["|".join([name, *(part for part in rest if "=" not in part)]).rstrip("|") for name, *rest in first]
    return words if len(set(words)) > len(set(short)) else short


def accession(name: str) -> str | None:
    """The accession of an id that has the form of one, without isoform and version; None if it has not.

    >>> accession("P12345-2"), accession("NP_000123.1"), accession("seq1")
    ('P12345', 'NP_000123', None)
    """
    short = identifier(name)
    found = UNIPROT.fullmatch(short) or VERSIONED.fullmatch(short)
    return found[1] if found else None


def fields(header: str, separator: str = "|") -> dict[str, str]:
    """The `name=value` fields of a header: a value ends at the separator or, where that is a blank, at the next name.

    >>> fields("P1|label=Cell wall|x"), fields("P1 label=Cell wall OX=2", " "), fields("P1\\tlabel=ER\\tx", "\\t")
    ({'label': 'Cell wall'}, {'label': 'Cell wall', 'OX': '2'}, {'label': 'ER'})
    """
    parts = (part.split("=", 1) for part in header.split(separator) if "=" in part)
    pairs = parts if separator.strip(" ") else WORDS.findall(header)
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


def _word(text: str) -> str:
    """The first of the words between blanks; "" if there is none."""
    return (text.split() or [""])[0]
