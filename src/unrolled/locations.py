"""What a UniProt entry says of its protein's place in the cell -> terms, each with its evidence.

    SUBCELLULAR LOCATION: [Isoform 1]: Nucleus {ECO:0000269|PubMed:1}. Cell membrane {ECO:0000305}; Multi-pass
    membrane protein {ECO:0000255}. Note=Found in mitochondria too.

Sentences are locations; in one, what follows a semicolon is topology and orientation, which name no place; braces
hold the evidence of what stands before them. The note is free text that names whatever it likes: it is cut off.
https://www.uniprot.org/help/subcellular_location and the user manual's section on the CC line.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

# ECO:0000269 is UniProt's code for a published experiment, and the one by which its own `cc_scl_term_exp` finds
# entries (https://www.uniprot.org/help/evidences). The others are the kinds of experiment below it that Gene Ontology
# annotations use: IDA, IPI, IMP, IGI, IEP; and by high throughput HTP, HDA, HMP, HGI, HEP
# (http://geneontology.org/docs/guide-go-evidence-codes). ECO:0007744, experiment and computation combined, is none.
EXPERIMENTAL = (
    *("ECO:0000269", "ECO:0000314", "ECO:0000353", "ECO:0000315", "ECO:0000316", "ECO:0000270"),
    *("ECO:0006056", "ECO:0007005", "ECO:0007001", "ECO:0007003", "ECO:0007007"),
)
DISPLAYED = "1"  # name of the isoform whose sequence an entry shows, where the entry does not say

_SECTION = re.compile(r"(?:^|[;.]\s*)SUBCELLULAR LOCATION:\s*")
_MOLECULE = re.compile(r"\[([^\]]*)\]:\s*")
_SENTENCE = re.compile(r"(?:\{[^}]*\}|[^.{]|\.(?!\s|$))+")  # a full stop inside a word or braces ends nothing
_FLAG = re.compile(r"\s*\((?:By similarity|Potential|Probable)\)")  # how entries of old said it
_NAME = re.compile(r"\bName=([^;{]+)")


class Location(NamedTuple):
    """A term, such as "Cytoplasm, cytosol"; of which isoform or peptide, "" of the protein; codes of its evidence."""

    term: str
    molecule: str
    evidence: frozenset[str]


def locations(text: str) -> list[Location]:
    """The locations of one entry, in its order.

    >>> [found] = locations("SUBCELLULAR LOCATION: Nucleus {ECO:0000269|PubMed:1, ECO:0000305}.")
    >>> found.term, sorted(found.evidence)
    ('Nucleus', ['ECO:0000269', 'ECO:0000305'])
    """
    return [place for section in _SECTION.split(text) if section.strip() for place in _of_section(section)]


def _of_section(section: str) -> Iterable[Location]:
    named = _MOLECULE.match(section)
    body = re.split(r"(?:^|\s)Note=", section[named.end() if named else 0 :])[0]
    for sentence in _SENTENCE.findall(body):
        place = re.split(r";(?![^{]*\})", sentence)[0]
        term = _FLAG.sub("", re.sub(r"\{[^}]*\}", "", place)).strip()
        if term:
            codes = re.findall(r"ECO:\d+", place)
            yield Location(term, named[1] if named else "", frozenset(codes))


def displayed(text: str) -> str:
    """Name of the isoform whose sequence is the entry's, from what it says of alternative products."""
    for isoform in re.split(r"(?=\bName=)", text):
        named = _NAME.match(isoform)
        if named and re.search(r"Sequence=Displayed\b", isoform, re.IGNORECASE):
            return named[1].strip()
    return DISPLAYED


def mapped(term: str, classes: Mapping[str, str]) -> str | None:
    """The class of a term: of the longest name in `classes` that it is, or begins with as whole words.

    >>> mapped("Mitochondrion inner membrane", {"Mitochondrion": "M"}), mapped("Nucleus, nucleolus", {"nucleus": "N"})
    ('M', 'N')
    >>> mapped("Cytoplasmic vesicle", {"Cytoplasm": "C"})
    """
    name, begin = term.lower(), {leading.lower(): of for leading, of in classes.items()}
    fitting = [lead for lead in begin if name == lead or name.startswith((f"{lead} ", f"{lead},"))]
    return begin[max(fitting, key=len)] if fitting else None


def judged(
    found: Iterable[Location], classes: Mapping[str, str], evidence: Iterable[str], isoform: str
) -> tuple[list[str], list[str]]:
    """(classes of the protein, sorted; why each location that gave none was not used).

    Only what is said of the protein as a whole or of `isoform`, which is the sequence shown, counts.
    """
    codes, chosen, unused = set(evidence), set[str](), list[str]()
    for term, molecule, known in found:
        of = mapped(term, classes)
        if molecule not in ("", f"Isoform {isoform}"):
            unused.append("location of another isoform or peptide")
        elif not codes & known:
            unused.append("location without evidence that counts")
        elif of is None:
            unused.append(f"location that is no class: {term}")
        else:
            chosen.add(of)
    return sorted(chosen), unused
