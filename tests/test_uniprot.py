"""What UniProt's annotations become: locations with their evidence, features, and the records made of them."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from uniprot_service import HEADINGS, MIRROR, Entry, swissprot, written, yeast
from unrolled import table as tables
from unrolled.cards import Deck
from unrolled.errors import UnrolledError
from unrolled.features import Feature, features, lettered
from unrolled.files import read_json, source_of, write_json
from unrolled.formats import build, read
from unrolled.locations import EXPERIMENTAL, displayed, judged, locations, mapped
from unrolled.swissprot import entries

ROOT = Path(__file__).parents[1]
CARDS = {
    name: yaml.safe_load((ROOT / f"config/data/uniprot_{name}.yaml").read_text())
    for name in ("location", "structure")
}
CLASSES = CARDS["location"]["locations"]
LETTERS = CARDS["structure"]["features"]
needs_mirror = pytest.mark.skipif(not MIRROR.is_dir(), reason="needs the real data in ../shared/data")


def told(text: str) -> list[tuple[str, str, str]]:
    return [(term, molecule, " ".join(sorted(codes))) for term, molecule, codes in locations(text)]


def verdict(text: str, isoform: str = "1", evidence=EXPERIMENTAL) -> tuple[list[str], list[str]]:
    return judged(locations(f"SUBCELLULAR LOCATION: {text}"), CLASSES, evidence, isoform)


# Locations


def test_the_parts_of_a_text():
    text = (
        "SUBCELLULAR LOCATION: Golgi apparatus, trans-Golgi network {ECO:0000269|PubMed:1, ECO:0000303|Ref.6}. Cell "
        "membrane {ECO:0000250}; Multi-pass membrane protein {ECO:0000269|PubMed:2}; Cytoplasmic side. Nucleus. "
        "Note=Found in mitochondria. Secreted {ECO:0000269|PubMed:3}.; SUBCELLULAR LOCATION: [Isoform Long]: "
        "Secreted {ECO:0000269|EMBL:AAY86039.1}. Note=Cytoplasm {ECO:0000269|PubMed:4}."
    )
    assert told(text) == [
        ("Golgi apparatus, trans-Golgi network", "", "ECO:0000269 ECO:0000303"),
        ("Cell membrane", "", "ECO:0000250"),
        ("Nucleus", "", ""),
        ("Secreted", "Isoform Long", "ECO:0000269"),
    ]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("SUBCELLULAR LOCATION: Note=Nucleus {ECO:0000269|PubMed:1}.", []),
        ("SUBCELLULAR LOCATION: [Capsid protein C]: Virion {ECO:0000250|UniProtKB:P17763}.", ["Virion"]),
        ("SUBCELLULAR LOCATION: Membrane; Multi-pass membrane protein {ECO:0000269|PubMed:1}.", ["Membrane"]),
        ("SUBCELLULAR LOCATION: Cytoplasm (By similarity). Nucleus (Probable).", ["Cytoplasm", "Nucleus"]),
        ("SUBCELLULAR LOCATION: Nucleus", ["Nucleus"]),
    ],
)
def test_texts_as_they_occur(text, terms):
    assert [place.term for place in locations(text)] == terms


def test_the_evidence_of_the_topology_is_not_that_of_the_place():
    assert told("SUBCELLULAR LOCATION: Membrane {ECO:0000305}; Lipid-anchor {ECO:0000269|PubMed:1}.") == [
        ("Membrane", "", "ECO:0000305")
    ]


@pytest.mark.parametrize(
    ("term", "of"),
    [
        ("Mitochondrion inner membrane", "Mitochondrion"),
        ("Mitochondrion", "Mitochondrion"),
        ("Cytoplasm, cytoskeleton, spindle", "Cytoplasm"),
        ("Cytoplasmic vesicle, secretory vesicle", None),
        ("Nucleus membrane", "Nucleus"),
        ("Host nucleus", None),
        ("Endoplasmic reticulum-Golgi intermediate compartment", None),
        ("Endoplasmic reticulum membrane", "Endoplasmic reticulum"),
        ("Cell membrane", "Cell membrane"),
        ("Cell projection, axon", None),
        ("Membrane", None),
        ("Vacuole lumen", "Lysosome/Vacuole"),
        ("Secreted, extracellular space", "Extracellular"),
    ],
)
def test_how_a_location_begins_decides_its_class(term, of):
    assert mapped(term, CLASSES) == of


def test_the_longest_beginning_wins():
    classes = {"Cytoplasm": "Cytoplasm", "Cytoplasm, cytoskeleton": "Cytoskeleton"}
    assert mapped("Cytoplasm, cytoskeleton, spindle", classes) == "Cytoskeleton"
    assert mapped("Cytoplasm, cytosol", classes) == "Cytoplasm"


def test_only_experiments_on_the_sequence_shown_count_and_the_rest_is_told():
    text = (
        "Nucleus {ECO:0000269|PubMed:1}. Cytoplasm {ECO:0000250}. Melanosome {ECO:0000269|PubMed:1}. Cytoplasm, "
        "cytosol {ECO:0007744|PubMed:2}.; SUBCELLULAR LOCATION: [Isoform 1]: Secreted {ECO:0000314}.; SUBCELLULAR "
        "LOCATION: [Isoform 2]: Peroxisome {ECO:0000269|PubMed:1}."
    )
    classes, unused = verdict(text)
    assert classes == ["Extracellular", "Nucleus"]
    assert unused == [
        "location without evidence that counts",
        "location that is no class: Melanosome",
        "location without evidence that counts",
        "location of another isoform or peptide",
    ]
    assert verdict(text, isoform="2")[0] == ["Nucleus", "Peroxisome"]
    assert verdict(text, evidence=["ECO:0000250"])[0] == ["Cytoplasm"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "1"),
        ("ALTERNATIVE PRODUCTS: Event=Alternative splicing; Named isoforms=2; Name=1; Sequence=VSP_1; "
         "Name=Long {ECO:0000303|PubMed:1}; Synonyms=A; IsoId=P1-2; Sequence=Displayed; Name=3;", "Long"),
        ("ALTERNATIVE PRODUCTS: Event=Alternative initiation; Named isoforms=2; Comment=Name and Sequence; Name=1; "
         "IsoId=P1-1; Sequence=Displayed; Note=Name=2 is longer; Name=2; IsoId=P1-2; Sequence=VSP_1;", "1"),
    ],
)  # fmt: skip
def test_the_isoform_whose_sequence_is_shown(text, name):
    assert displayed(text) == name


words = st.text("abcdefghij", min_size=2, max_size=8)
terms = st.lists(words, min_size=1, max_size=3).map(", ".join)
evidence = st.lists(st.integers(0, 9999999).map("ECO:{:07d}|PubMed:1.5".format), max_size=3)
places = st.lists(st.tuples(terms, evidence, st.lists(words, max_size=2)), min_size=1, max_size=4)


@given(st.lists(st.tuples(words | st.just(""), places, words), min_size=1, max_size=3))
def test_what_is_written_as_uniprot_writes_it_is_read_back(sections):
    def braced(codes):
        return f" {{{', '.join(codes)}}}" if codes else ""

    def sentence(term, codes, topology):
        return "; ".join([f"{term}{braced(codes)}", *topology]) + "."

    text = "; ".join(
        f"SUBCELLULAR LOCATION: {f'[{molecule}]: ' if molecule else ''}"
        f"{' '.join(sentence(*place) for place in found)} Note={note}. Nucleus {{ECO:0000269}}."
        for molecule, found, note in sections
    )
    assert [tuple(place) for place in locations(text)] == [
        (term, molecule, frozenset(code.split("|")[0] for code in codes))
        for molecule, found, _ in sections
        for term, codes, _ in found
    ]


# Features


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("HELIX 4..17", (4, 17)),
        ('HELIX 4..17; /evidence="ECO:0007829|PDB:2BR9"', (4, 17)),
        ('HELIX 4..17 /note="STRAND 1..2"', (4, 17)),
        ("HELIX 9", (9, 9)),
        *((f"HELIX {odd}", None) for odd in ("?..17", "4..?", "?", "<1..17", "4..>90", "?4..17", "P1-2:4..17", "")),
    ],
)
def test_a_feature(text, span):
    assert list(features(text)) == [Feature("HELIX", span)]


def test_letters_of_a_sequence():
    letters, unused = lettered("HELIX 2..4; TURN 5..6; STRAND ?..8; HELIX 9..11; COILED 1..9", 10, LETTERS)
    assert letters == "-HHHTT----"
    assert unused == ["STRAND at an unknown position", "HELIX outside the sequence"]


def test_a_position_of_two_letters_is_unknown():
    letters, unused = lettered("HELIX 1..4; STRAND 3..6; HELIX 3..5", 7, LETTERS)
    assert letters == "HH---E-"
    assert unused == ["position under features of different letters"] * 3


@given(st.lists(st.tuples(st.sampled_from("HET"), st.integers(1, 12), st.integers(0, 6)), max_size=6))
def test_a_letter_stands_where_just_that_kind_of_feature_lies(drawn):
    kinds = {letter: kind for kind, letter in LETTERS.items()}
    spans = [(kinds[letter], begin, min(begin + more, 12)) for letter, begin, more in drawn]
    letters, _ = lettered("; ".join(f"{kind} {a}..{b}" for kind, a, b in spans), 12, LETTERS)
    for t, letter in enumerate(letters, start=1):
        over = {LETTERS[kind] for kind, a, b in spans if a <= t <= b}
        assert letter == (over.pop() if len(over) == 1 else "-")


# Records


def tsv(path: Path, found: list[Entry], fields: list[str]) -> Path:
    lines = ["\t".join(HEADINGS[name] for name in fields)]
    lines += ["\t".join(entry.get(name, "") for name in fields) for entry in found]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def fields_of(card: dict) -> list[str]:
    return card["files"][0]["fields"]


def told_by(card: dict, path: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    table, excluded = read(card, "demo", [path])
    listed = list(excluded[["id", "reason"]].itertuples(index=False, name=None))
    return dict(zip(table["id"], table["target"], strict=True)), listed


def test_locations_of_a_table(tmp_path):
    card = CARDS["location"]
    path = tsv(tmp_path / "x.tsv", written(), fields_of(card))
    targets, listed = told_by(card, path)
    assert targets == {
        **{"P00000": "Nucleus", "P00001": "Mitochondrion", "P00004": "Nucleus", "P00006": "Cell membrane"},
    }
    assert listed == [
        ("P00003", "annotation not used: location of another isoform or peptide"),
        ("P00007", "annotation not used: location that is no class: Melanosome"),
        ("P00000", "annotation not used: location without evidence that counts"),
        ("P00002", "annotation not used: location without evidence that counts"),
        ("P00005", "no location is annotated"),
        ("P00002", "none of its locations is used"),
        ("P00003", "none of its locations is used"),
        ("P00007", "none of its locations is used"),
    ]
    assert read(card, "demo", [path])[0]["Organism"].tolist() == ["Nobody"] * 4


def test_several_locations_are_none_of_a_multiclass_task(tmp_path):
    text = "SUBCELLULAR LOCATION: Nucleus {ECO:0000269|PubMed:1}. Cytoplasm {ECO:0000269|PubMed:1}."
    path = tsv(
        tmp_path / "x.tsv",
        [*written()[:1], written()[1] | {"cc_subcellular_location": text}],
        fields_of(CARDS["location"]),
    )
    assert told_by(CARDS["location"], path)[0]["P00001"] == "Cytoplasm|Nucleus"
    targets, listed = told_by(CARDS["location"] | {"task": "multiclass"}, path)
    assert targets == {"P00000": "Nucleus"}
    assert ("P00001", "several locations") in listed


def test_features_of_a_table(tmp_path):
    card = CARDS["structure"]
    targets, listed = told_by(card, tsv(tmp_path / "x.tsv", written(), fields_of(card)))
    assert targets["P00000"] == "-HHHH----EEE---------"
    assert targets["P00005"] == "--H-----------EEE----"
    assert targets["P00006"] == "HHH------------EEE---"
    assert listed == [
        ("P00001", "annotation not used: HELIX at an unknown position"),
        ("P00002", "annotation not used: HELIX at an unknown position"),
        ("P00004", "annotation not used: HELIX outside the sequence"),
    ]


def test_a_sequence_without_any_known_position_is_left_out(tmp_path):
    found = [written()[0], written()[1] | {"ft_strand": ""}]
    targets, listed = told_by(CARDS["structure"], tsv(tmp_path / "x.tsv", found, fields_of(CARDS["structure"])))
    assert list(targets) == ["P00000"]
    assert ("P00001", "no HELIX or STRAND or TURN at a known position") in listed
    with pytest.raises(UnrolledError, match="none of 1 records is usable, the first because of: no HELIX"):
        read(CARDS["structure"], "demo", [tsv(tmp_path / "y.tsv", found[1:], fields_of(CARDS["structure"]))])


def test_the_summary_counts_sequences_and_annotations_apart_and_knows_the_source(tmp_path):
    path = tsv(tmp_path / "x.tsv", written(), fields_of(CARDS["location"]))
    write_json(source_of(path), {"release": "2026_03"})
    build(CARDS["location"], "demo", [path], *(tmp_path / name for name in ("t.parquet", "e.csv", "s.json")))
    facts = read_json(tmp_path / "s.json")
    assert facts["excluded"] == {"no location is annotated": 1, "none of its locations is used": 3}
    assert facts["unused"]["location without evidence that counts"] == 2
    assert facts["sources"] == [{"release": "2026_03"}]
    assert len(pd.read_csv(tmp_path / "e.csv")) == 8


@pytest.mark.parametrize("change", [{"features": {"HELIX": "H"}}, {"locations": None}])
def test_either_locations_or_features(tmp_path, change):
    path = tsv(tmp_path / "x.tsv", written(), fields_of(CARDS["location"]))
    card = {key: value for key, value in (CARDS["location"] | change).items() if value}
    with pytest.raises(UnrolledError, match="the card needs either `locations` or `features`"):
        read(card, "demo", [path])
    with pytest.raises(UnrolledError, match=r"needs exactly one of 'locations' \| 'features'"):
        Deck(ROOT / "config", ROOT / "workflow/schemas").check(card, "data", "x.yaml")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("location", {"task": "labelling"}, "task: 'labelling' is not one of"),
        ("structure", {"task": "multiclass"}, "task: 'labelling' was expected"),
        ("structure", {"features": {"HELIX": "HH"}}, "features.HELIX: 'HH' does not match"),
        ("structure", {"features": {"HELIX": "-"}}, "features.HELIX: '-' does not match"),
        ("location", {"locations": {"Nucleus": "A|B"}}, r"locations.Nucleus: 'A\|B' does not match"),
        ("location", {"evidence": ["IDA"]}, "evidence.0: 'IDA' does not match"),
        ("location", {"format": "csv"}, "format: 'csv' is not one of"),
        ("location", {"columns": ...}, "lacks the key 'columns'"),
        ("location", {"files": [{"name": "x.tsv", "query": "y"}]}, "needs exactly one of 'name' and 'url' | 'name'"),
        ("location", {"files": [{"path": "x", "service": "https://host"}]}, "query"),
    ],
)
def test_a_card_that_cannot_work_is_refused(name, change, message):
    card = {key: value for key, value in (CARDS[name] | change).items() if value is not ...}
    with pytest.raises(UnrolledError, match=message):
        Deck(ROOT / "config", ROOT / "workflow/schemas").check(card, "data", "x.yaml")


def test_the_example_of_the_readme_is_a_card():
    section = (ROOT / "README.md").read_text().split("## From UniProt")[1]
    example = yaml.safe_load(section.split("```yaml")[1].split("```")[0])
    card = {"title": "Yeast", "task": "multilabel", "alphabet": "protein"} | example
    Deck(ROOT / "config", ROOT / "workflow/schemas").check(card, "data", "README.md")
    assert [HEADINGS[name] for name in fields_of(card)] == list(card["columns"].values())


# Flat text

FLAT = """\
ID   X_HUMAN                 Reviewed;          30 AA.
AC   P00001; Q00001;
CC   -!- SUBCELLULAR LOCATION: Golgi apparatus, trans-
CC       Golgi network {ECO:0000269|PubMed:1}. Note=Nucleus. {ECO:0000269|PubMed:1}.
CC   -!- SUBCELLULAR LOCATION: [Isoform B]: Nucleus
CC       {ECO:0000269|PubMed:1}.
CC   -!- ALTERNATIVE PRODUCTS:
CC       Event=Alternative splicing; Named isoforms=2;
CC       Name=A;
CC         IsoId=P00001-1; Sequence=VSP_1;
CC       Name=B;
CC         IsoId=P00001-2; Sequence=Displayed;
CC   ---------------------------------------------------------------------------
CC   Distributed under the Creative Commons Attribution (CC BY 4.0) License
CC   ---------------------------------------------------------------------------
FT   HELIX           1..3
FT                   /note="or TURN
FT                   20..21"
FT                   /evidence="ECO:0007829|PDB:1ABC"
FT   STRAND        5      7
FT   SITE         20     20       Important for
FT                                TURN 9 of it.
FT   HELIX        <9     12
SQ   SEQUENCE   30 AA;  3000 MW;  0000000000000000 CRC64;
     MKVLAAGICD EFHNPQRSTW YMKVLAAGIC
//
"""


def flat(name: str, **changes) -> dict:
    card = {key: value for key, value in CARDS[name].items() if key not in ("columns", "keep", "files")}
    return card | {"format": "swissprot"} | changes


def test_flat_text(tmp_path):
    (tmp_path / "x.txt").write_text(FLAT)
    entry = next(iter(entries(tmp_path / "x.txt")))
    assert (entry.accession, entry.sequence) == ("P00001", "MKVLAAGICDEFHNPQRSTWYMKVLAAGIC")
    assert told_by(flat("location"), tmp_path / "x.txt")[0] == {"P00001": "Golgi apparatus|Nucleus"}
    targets, listed = told_by(flat("structure"), tmp_path / "x.txt")
    assert targets == {"P00001": "HHH-EEE" + "-" * 23}
    assert listed == [("P00001", "annotation not used: HELIX at an unknown position")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FLAT.replace("//\n", ""), r"x\.txt:1: the file ends inside this entry"),
        (FLAT + ">P1\nMK\n", r"x\.txt:\d+: an entry starts with 'ID', this line with '>P1'"),
        ("", "the file is empty or has no record"),
        (FLAT + FLAT, "ids that occur twice"),
    ],
)
def test_flat_text_that_is_none(tmp_path, text, message):
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(UnrolledError, match=message):
        read(flat("location"), "demo", [tmp_path / "x.txt"])


def test_flat_text_has_no_columns_to_keep(tmp_path):
    (tmp_path / "x.txt").write_text(FLAT)
    with pytest.raises(UnrolledError, match="drop `keep`"):
        read(flat("location", keep=["Organism"]), "demo", [tmp_path / "x.txt"])


# Real data


@needs_mirror
def test_real_entries_of_swissprot():
    """What a reader of these 24 entries finds: four have a location of these classes by experiment."""
    files = sorted((MIRROR / "swissprot_entries").glob("*.txt"))
    card = flat("location")
    table, excluded = read(card, "real", files)
    assert dict(zip(table["id"], table["target"], strict=True)) == {
        **{"O95832": "Cell membrane", "P04439": "Cell membrane", "P62258": "Cytoplasm|Nucleus"},
        **{"Q7Z739": "Cytoplasm"},
    }
    facts = tables.summary(table, excluded, card, "real")
    assert sum(facts["excluded"].values()) == 24 - 4
    assert facts["unused"] == {
        "location that is no class: Cell junction, tight junction": 1,
        "location that is no class: Melanosome": 1,
        "location that is no class: Membrane": 1,
        "location without evidence that counts": 18,
    }


@needs_mirror
def test_a_table_and_flat_text_tell_the_same(tmp_path):
    files = sorted((MIRROR / "swissprot_entries").glob("*.txt"))
    path = tsv(tmp_path / "x.tsv", swissprot(), fields_of(CARDS["location"]))
    of_table, of_text = told_by(CARDS["location"], path), [read(flat("location"), "real", files)]
    table, excluded = of_text[0]
    assert of_table[0] == dict(zip(table["id"], table["target"], strict=True))
    assert sorted(of_table[1]) == sorted(excluded[["id", "reason"]].itertuples(index=False, name=None))


@needs_mirror
def test_real_features_of_yeast(tmp_path):
    """Every residue under one of the 38,571 real features has its letter, and no other residue has one."""
    card = CARDS["structure"]
    found = [entry for entry in yeast() if any(entry.get(f"ft_{kind}") for kind in ("helix", "strand", "turn"))]
    table, excluded = read(card, "yeast", [tsv(tmp_path / "x.tsv", found, fields_of(card))])
    assert len(table) == 1485
    facts = tables.summary(table, excluded, card, "yeast")
    rows = pd.read_csv(MIRROR / "uniprot_yeast/preprocessed_uniprot_yeast.csv").query("feature in @LETTERS")
    expected = dict.fromkeys(LETTERS.values(), 0)
    for (_, kind), stretches in rows.groupby(["protein_id", "feature"]):
        expected[LETTERS[kind]] += len(
            set().union(*(range(int(a), int(b) + 1) for a, b in zip(stretches.start, stretches.end, strict=True)))
        )
    letters = "".join(table["target"])
    disputed = facts["unused"].get("position under features of different letters", 0)
    missing = sum(expected.values()) - sum(letters.count(letter) for letter in expected)
    assert disputed <= missing <= 3 * disputed
    assert set(letters) == {"H", "E", "T", "-"}
