"""Raw files: what is read from them, what is left out and listed, and what each broken file is told."""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled import table as tables
from unrolled.alphabet import PROTEIN
from unrolled.cards import Deck
from unrolled.errors import UnrolledError
from unrolled.fasta import read_fasta
from unrolled.files import read_json
from unrolled.formats import build, read
from unrolled.formulas import is_formula
from unrolled.reading import csv_columns

ROOT = Path(__file__).parents[1]
MIRROR = ROOT.parent / "shared" / "data"

CSV = {
    "title": "T",
    "task": "multiclass",
    "alphabet": "protein",
    "format": "csv",
    "columns": {"id": "acc", "sequence": "seq", "target": "label"},
}
FASTA = {
    "title": "T",
    "task": "multiclass",
    "alphabet": "protein",
    "format": "fasta",
    "header": {"target": "label"},
}
LABELLED = {key: value for key, value in FASTA.items() if key != "header"} | {
    "labels": {"name": "labels.tsv", "id": "entry", "target": "place"}
}


@pytest.fixture
def file(tmp_path: Path):
    """A function that writes text or bytes to a named file in a temporary folder and returns its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def rows(table: pd.DataFrame) -> list[tuple[str, ...]]:
    return list(table.itertuples(index=False, name=None))


def refusal(card: dict[str, Any], *paths: Path) -> str:
    with pytest.raises(UnrolledError) as error:
        read(card, "demo", paths)
    assert str(error.value).startswith("data demo: ")
    return str(error.value)


# What is read


def test_csv(file):
    path = file("x.csv", "acc,seq,label,kingdom\nP2,mkv ,Golgi,Fungi\n P1 ,MKX*,Nucleus,\n")
    table, excluded = read(CSV | {"keep": ["kingdom"]}, "demo", [path])
    assert list(table.columns) == ["id", "sequence", "target", "kingdom"]
    assert rows(table) == [("P1", "MKX", "Nucleus", ""), ("P2", "MKV", "Golgi", "Fungi")]
    assert list(excluded.columns) == ["id", "reason", "where"]
    assert excluded.empty


def test_csv_with_bom_carriage_returns_quotes_and_line_ends_in_fields(file):
    text = '\ufeffacc,note,seq,label\r\nP1,"one,\r\ntwo ""lines""",MKV,"Golgi, cis"\r\n\r\nP2,,MK-,Golgi\r\n'
    assert "letter '-' at position 3" in (message := refusal(CSV, file("x.csv", text)))
    assert "x.csv:5" in message
    table, _ = read(CSV, "demo", [file("x.csv", text.replace("-", "G"))])
    assert rows(table) == [("P1", "MKV", "Golgi, cis"), ("P2", "MKG", "Golgi")]


@pytest.mark.parametrize(("name", "extra"), [("x.tsv", {}), ("x.txt", {"delimiter": "\t"}), ("x.tsv.gz", {})])
def test_tsv(file, name: str, extra: dict[str, str]):
    text = b"acc\tseq\tlabel\nP1\tMKV\tGolgi, cis\n"
    table, _ = read(CSV | extra, "demo", [file(name, gzip.compress(text) if name.endswith("gz") else text)])
    assert rows(table) == [("P1", "MKV", "Golgi, cis")]


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_gzip_is_told_by_content_not_by_name(file, name: str, pack):
    table, _ = read(CSV, "demo", [file(name, pack(b"acc,seq,label\nP1,MKV,Golgi\n"))])
    assert rows(table) == [("P1", "MKV", "Golgi")]


def test_text_that_pandas_would_take_for_missing_or_numbers(file):
    table, _ = read(CSV, "demo", [file("x.csv", "acc,seq,label\nNA,NA,null\n007,MK,1\n")])
    assert rows(table) == [("007", "MK", "1"), ("NA", "NA", "null")]


def test_a_protein_of_titin_length(file):
    sequence = "MKVLS" * 40_000
    table, _ = read(CSV, "demo", [file("x.csv", f"acc,seq,label\nP1,{sequence},A\n")])
    assert table["sequence"].tolist() == [sequence]


def test_fasta(file):
    text = "\n>P2|label=Golgi apparatus|x\r\nmkv\r\n\r\nLLX*\r\n>P1 some words|label=Nucleus\r\nMU"
    table, _ = read(FASTA, "demo", [file("x.fasta", text)])
    assert rows(table) == [("P1", "MU", "Nucleus"), ("P2", "MKVLLX", "Golgi apparatus")]


@pytest.mark.parametrize("label", ["Cell membrane", "Cell wall", "a b-c (d)"])
def test_a_header_has_the_same_label_for_a_card_and_without_one(file, label):
    path = file("x.fasta", f">P1|label={label}|kingdom=2\nMK\n")
    assert rows(read(FASTA, "demo", [path])[0])[0][2] == read_fasta(path)["label"].item() == label


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("ref|NP_000123.1| factor", "NP_000123.1"),
        ("gi|5|gb|AAD4.1| x", "AAD4.1"),
        ("pdb|1ABC|A", "1ABC_A"),
        ("x y", "x"),
    ],
)
def test_a_header_has_the_same_id_for_a_card_and_without_one(file, header, name):
    path = file("x.fasta", f">{header}\nMK\n")
    card = {key: value for key, value in FASTA.items() if key != "header"} | {"task": "generation"}
    assert read(card, "demo", [path])[0]["id"].item() == read_fasta(path)["id"].item() == name


def test_fasta_with_fields_between_blanks_and_kept_ones(file):
    card = FASTA | {"header": {"separator": " ", "target": "TARGET"}, "keep": ["SET"]}
    table, _ = read(card, "demo", [file("x.fasta", ">s1 TARGET=a SET=train\nMK\n")])
    assert list(table.columns) == ["id", "sequence", "target", "SET"]
    assert rows(table) == [("s1", "MK", "a", "train")]
    text = ">s1 TARGET=Cell membrane SET=train\nMK\n>s2 SET=x TARGET=Cell wall\nM\n"
    assert read(card, "demo", [file("x.fasta", text)])[0]["target"].tolist() == ["Cell membrane", "Cell wall"]


def test_uniprot_headers_give_the_accession(file):
    fasta = ">sp|P12345|AATM_RABIT Aspartate OS=Oryctolagus\nMK\n>tr|A0A024|X_HUMAN y\nML\n>sp_P1|z\nMV\n"
    labels = "entry\tplace\nsp_P1\tC\nP12345\tA\nA0A024\tB\n"
    table, _ = read(LABELLED, "demo", [file("x.fasta", fasta), file("labels.tsv", labels)])
    assert rows(table) == [("A0A024", "ML", "B"), ("P12345", "MK", "A"), ("sp_P1", "MV", "C")]


def test_labels_without_a_sequence_are_listed(file):
    files = [file("x.fasta", ">a\nMK\n"), file("labels.tsv", "entry\tplace\nb\tX\na\tY\n")]
    table, excluded = read(LABELLED, "demo", files)
    assert rows(table) == [("a", "MK", "Y")]
    assert rows(excluded) == [("b", "label without a sequence", "labels.tsv:2")]


def test_labels_at_a_path_of_their_own(file):
    path = file("elsewhere.csv", "entry,place\na,Y\n")
    card = LABELLED | {"labels": {"path": str(path), "id": "entry", "target": "place"}}
    sequences = file("x.fasta", ">a\nMK\n")
    assert rows(read(card, "demo", [sequences])[0]) == [("a", "MK", "Y")]
    assert rows(read(card, "demo", [sequences, path])[0]) == [("a", "MK", "Y")]


@pytest.mark.parametrize(
    ("header", "column", "value", "found"),
    [
        ("", "patient", "p2", "p2"),
        (" patient=p1", "other", "p2", "p1"),
        (" patient=p1", "patient", "", "p1"),
        (" patient=", "patient", "p2", "p2"),
        (" patient=p1", "patient", "p1", "p1"),
        (" patient=", "other", "p2", ""),
        ("", "patient", "", ""),
        ("", "other", "p2", "x.fasta:1: there is no `patient`"),
        (" patient=p1", "patient", "p2", "x.fasta:1: patient is 'p1', but 'p2' in labels.tsv"),
    ],
)
def test_kept_columns_of_fasta_are_in_the_headers_or_in_the_table_of_labels(file, header, column, value, found):
    files = [file("x.fasta", f">a{header}\nMK\n"), file("labels.tsv", f"entry\tplace\t{column}\na\tX\t{value}\n")]
    card = LABELLED | {"header": {"separator": " "}, "keep": ["patient"]}
    if ":" in found:
        assert found in refusal(card, *files)
    else:
        assert read(card, "demo", files)[0]["patient"].tolist() == [found]


def test_a_kept_column_that_a_file_of_series_lacks_is_refused(file):
    path = file("x.csv", "time,HR\n0,80\n")
    card = {"task": "multiclass", "alphabet": "numeric", "format": "long", "variables": ["HR"], "keep": ["patient"]}
    card |= {"columns": {"time": "time"}, "time": {"unit": "h"}, "files": [{"name": "x.csv"}]}
    assert "x.csv:2: there is no `patient`" in refusal(card, path)


LETTERS = {key: value for key, value in LABELLED.items() if key != "labels"} | {
    "task": "labelling",
    "header": {"separator": " "},
    "labels": {"name": "labels.fasta"},
    "mask": {"name": "mask.fasta"},
    "keep": ["SET"],
}
TEXTS = {
    "x.fasta": ">a\nMKV\nL\n>b text\nMU\n",
    "labels.fasta": ">b SET=test\nHE\n>a SET=train X=1\nHHHC\n>c SET=train\nH\n",
    "mask.fasta": ">a\n0111\n>b\n11\n>c\n1\n",
}


def test_labels_of_positions_with_a_mask_and_kept_fields_of_their_headers(file):
    paths = [file(name, text) for name, text in TEXTS.items()]
    table, excluded = read(LETTERS, "demo", paths)
    assert rows(table) == [("a", "MKVL", "-HHC", "train"), ("b", "MU", "HE", "test")]
    assert rows(excluded) == [("c", "label without a sequence", "labels.fasta:5")]
    unmasked, _ = read({k: v for k, v in LETTERS.items() if k != "mask"}, "demo", paths[:2])
    assert unmasked["target"].tolist() == ["HHHC", "HE"]


def test_labels_and_mask_inside_an_archive(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, text in TEXTS.items():
            archive.writestr(f"splits/{name}", text)
    places = {key: {"name": "all.zip", "members": f"*/{key}.fasta"} for key in ("labels", "mask")}
    card = LETTERS | places | {"files": [{"name": "all.zip", "members": "*/x.fasta"}]}
    table, _ = read(card, "demo", [tmp_path / "all.zip"])
    assert table["target"].tolist() == ["-HHC", "HE"]
    vague = card | {"mask": {"name": "all.zip", "members": "*.fasta"}}
    assert "matches 3 files; name one" in refusal(vague, tmp_path / "all.zip")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mask.fasta", ">a\n011\n>b\n11\n>c\n1\n", "'a' has 4 labels, and 3 of 0 and 1 in the mask"),
        ("mask.fasta", ">a\n0121\n>b\n11\n>c\n1\n", "'a' has 4 labels"),
        ("mask.fasta", ">b\n11\n>c\n1\n", "'a' has 4 labels, and 0 of"),
        ("labels.fasta", ">a SET=x\nHHHC\n>b SET=x\nH\n>c SET=x\nH\n", "'b' has 1 labels, and 2 of"),
    ],
)
def test_labels_and_mask_that_do_not_fit(file, name: str, text: str, message: str):
    assert message in refusal(LETTERS, *(file(n, text if n == name else t) for n, t in TEXTS.items()))


def test_labels_shorter_than_their_sequence(file):
    card = {k: v for k, v in LETTERS.items() if k not in ("mask", "keep")}
    said = refusal(card, file("x.fasta", TEXTS["x.fasta"]), file("labels.fasta", ">a\nHHH\n>b\nHE\n"))
    assert "'a' (" in said
    assert "4 letters, 3 labels" in said


def test_numbers_in_a_csv(file):
    table, _ = read(CSV | {"task": "regression"}, "demo", [file("x.csv", "acc,seq,label\nb,MK,-1.5e3\na,MKV, 2 \n")])
    assert table["target"].tolist() == ["2", "-1.5e3"]
    said = refusal(CSV | {"task": "regression"}, file("y.csv", "acc,seq,label\nb,MK,high\n"))
    assert "'high'" in said
    assert "y.csv:2" in said


def test_rna_is_spelled_with_u_and_dna_with_t(file):
    text = ">r|label=x\nacgtu\n"
    assert read(FASTA | {"alphabet": "rna"}, "demo", [file("x.fa", text)])[0]["sequence"].item() == "ACGUU"
    assert read(FASTA | {"alphabet": "dna"}, "demo", [file("x.fa", text)])[0]["sequence"].item() == "ACGTT"


GENE, CHAIN = "ATGGCGTACGTTAGCATGCATCGATTACGGATCCGATTAGCTAACGTAGC", "MKTAYIAKQRQISFVKSHFSRQ"


@pytest.mark.parametrize(
    ("alphabet", "own", "other", "kind", "in_fasta"),
    [
        ("dna", GENE, CHAIN, "proteins", "letter 'I' of 'P2' is not in the dna alphabet; the sequence looks"),
        ("protein", CHAIN, GENE, "nucleotides", "sequences that look like nucleotides, not like protein (1 in all)"),
    ],
)
def test_sequences_of_another_kind_are_refused_with_their_ids(file, alphabet, own, other, kind, in_fasta):
    rows = f"acc,seq,label\nP1,{own},A\nP2,{other},B\n"
    said = refusal(CSV | {"alphabet": alphabet}, file("x.csv", rows))
    assert f"sequences that look like {kind}, not like {alphabet} (1 in all)" in said
    assert "'P2' (" in said
    assert "x.csv:3" in said
    said = refusal(FASTA | {"alphabet": alphabet}, file("x.fa", f">P1|label=A\n{own}\n>P2|label=B\n{other}\n"))
    assert in_fasta in said
    assert "'P2'" in said
    assert "'P1'" not in said
    assert "x.fa:" in said


def test_targets_of_another_kind_are_refused_with_their_ids(file):
    card = CSV | {"task": "transduction", "alphabet": "dna", "target_alphabet": "protein"}
    rows = f"acc,seq,label\nP1,{GENE},{CHAIN}\nP2,{GENE},{GENE}\n"
    said = refusal(card, file("x.csv", rows))
    assert "targets that look like nucleotides, not like protein (1 in all):\n  'P2' (" in said


def test_names_of_labels_in_lists_are_those_of_each(file):
    path = file("x.csv", "acc,seq,label\na,MK,N\nb,MK,C; N\nc,MK,none;C\nd,MK,none\n")
    card = CSV | {"task": "multilabel", "separator": ";", "names": {"N": "Nucleus", "C": "Cytoplasm", "none": None}}
    table, excluded = read(card, "demo", [path])
    assert rows(table) == [("a", "MK", "Nucleus"), ("b", "MK", "Cytoplasm|Nucleus"), ("c", "MK", "Cytoplasm")]
    assert rows(excluded) == [("d", "no label", "x.csv:5")]


def test_what_names_say_is_no_label_is_left_out_and_listed(file):
    path = file("x.csv", "acc,seq,label\na,MK,2.5\nb,ML,-1\nc,MV,\nd,MI,7\n")
    table, excluded = read(CSV | {"task": "regression", "names": {-1: None, "": None}}, "demo", [path])
    assert table["target"].tolist() == ["2.5", "7"]
    assert rows(excluded) == [("b", "no label", "x.csv:3"), ("c", "no label", "x.csv:4")]
    none = {"2.5": None, "-1": None, "": None, "7": None}
    assert "no sequence has a label" in refusal(CSV | {"names": none}, path)


def test_multilabel_targets_are_sorted_and_joined(file):
    path = file("x.csv", "acc,seq,label\nP1,MK,Nucleus; Golgi;Golgi\nP2,MK,Golgi\n")
    table, _ = read(CSV | {"task": "multilabel", "separator": ";"}, "demo", [path])
    assert table["target"].tolist() == ["Golgi|Nucleus", "Golgi"]


def test_files_follow_each_other_in_any_order(file):
    paths = [file("1.csv", "acc,seq,label\nb,MK,A\n"), file("2.csv", "label,acc,seq\nB,a,ML\n")]
    forward, backward = read(CSV, "demo", paths)[0], read(CSV, "demo", paths[::-1])[0]
    pd.testing.assert_frame_equal(forward, backward)
    assert rows(forward) == [("a", "ML", "B"), ("b", "MK", "A")]


# What is left out, and listed


def test_short_sequences_are_listed(file):
    path = file("x.csv", "acc,seq,label\na,MKV,A\nb,MK,A\n")
    table, excluded = read(CSV | {"min_length": 3}, "demo", [path])
    assert table["id"].tolist() == ["a"]
    assert rows(excluded) == [("b", "shorter than 3", "x.csv:3")]
    assert "lower `min_length`" in refusal(CSV | {"min_length": 4}, path)


def test_the_first_of_duplicates_is_kept_and_the_others_listed(file):
    path = file("x.csv", "acc,seq,label\na,MK,A\nb,ML,A\na,mk,A\na,MK,B\n")
    table, excluded = read(CSV | {"duplicates": "first"}, "demo", [path])
    assert rows(table) == [("a", "MK", "A"), ("b", "ML", "A")]
    assert rows(excluded) == [
        ("a", "duplicate id, other content", "x.csv:5"),
        ("a", "duplicate id, same content", "x.csv:4"),
    ]


def test_copies_under_other_ids_are_listed_and_none_is_kept_of_those_that_differ_in_their_target(file):
    lines = ["c,MK,A", "a,mk,A", "b,ML,A", "d,MV,A", "e,MV,B", "f,MV,A"]
    path = file("x.csv", "\n".join(["acc,seq,label", *lines]) + "\n")
    assert len(read(CSV, "demo", [path])[0]) == 6
    table, excluded = read(CSV | {"copies": "first"}, "demo", [path])
    assert rows(table) == [("a", "MK", "A"), ("b", "ML", "A")]
    torn = "copy of a sequence with another target"
    assert rows(excluded) == [
        *[(name, torn, f"x.csv:{line}") for name, line in (("d", 5), ("e", 6), ("f", 7))],
        ("c", "copy of another sequence", "x.csv:2"),
    ]
    told = "every sequence has copies with other targets, of which `copies: first` keeps none"
    assert told in refusal(CSV | {"copies": "first"}, file("y.csv", "acc,seq,label\na,MK,A\nb,MK,B\n"))


def test_a_quote_in_the_header_that_is_never_closed_is_told(file):
    with pytest.raises(UnrolledError, match=r"x\.csv:1: .*Is a quote in this row never closed"):
        csv_columns(file("x.csv", '"acc,seq\n' + 99_999 * "a,MK\n"))


def test_a_sample_does_not_depend_on_the_order_of_rows(file):
    lines = [f"p{n},MK,{'AB'[n % 3 == 0]}" for n in range(60)]
    card = CSV | {"sample": {"n": 12, "seed": 3}}
    there, out = read(card, "demo", [file("1.csv", "\n".join(["acc,seq,label", *lines]))])
    back, _ = read(card, "demo", [file("2.csv", "\n".join(["acc,seq,label", *lines[::-1]]))])
    pd.testing.assert_frame_equal(there, back)
    assert there["target"].value_counts().to_dict() == {"A": 8, "B": 4}
    assert set(out["reason"]) == {"not sampled"}
    assert out["where"].str.fullmatch(r"1\.csv:\d+").all()
    assert sorted([*there["id"], *out["id"]]) == sorted(f"p{n}" for n in range(60))


# What is refused


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["x.csv:1: the file is empty"]),
        ("acc,seq,label\n", ["x.csv: the file is empty or has no record"]),
        (
            "acc;seq;label\na;MK;A\n",
            ["missing columns (3 in all)", "The file has: acc;seq;label", "`delimiter`"],
        ),
        ("acc,seq,place\na,MK,A\n", ["missing columns", "label", "The file has: acc, seq, place"]),
        ("acc,seq,label,seq\na,MK,A,ML\n", ["columns that occur twice", "seq"]),
        ("acc,seq,label\na,MK\n", ["x.csv:2: 2 fields, the header has 3"]),
        ('acc,seq,label\nb,MK,A\na,"MK,A\nc,ML,A\n', ["x.csv:3:", "quote in this row never closed"]),
        (
            "acc,seq,label\na,MK,A\nb,ML,A\na,MV,A\n",
            ["'a': ", "x.csv:4, first at ", "x.csv:2", "duplicates: first"],
        ),
        ("acc,seq,label\na,MK 1,A\n", ["'a' (", "x.csv:2): letter ' ' at position 3"]),
        ("acc,seq,label\na,MK,\n", ["sequences without a label (1 in all)", "x.csv:2"]),
        ("acc,seq,label\na, ,A\n", ["empty sequences", "x.csv:2"]),
        ("acc,seq,label\n,MK,A\n,ML,A\n", ["empty ids (2 in all)", "x.csv:2"]),
        (" <!DOCTYPE html>\n<html>", ["x.csv:1: a web page, not data", "fetch again"]),
        (b"acc,seq,label\na,MK,A\nb,MK,G\xf6lgi\n", ["x.csv:3: not UTF-8 at byte 27"]),
        ("acc,seq,label\n".encode("utf-16"), ["x.csv:1: not UTF-8 at byte 0"]),
    ],
)
def test_broken_csv(file, text: str | bytes, parts: list[str]):
    message = refusal(CSV, file("x.csv", text))
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("\n\n", ["x.fasta: the file is empty or has no record"]),
        ("\nMKV\n", ["x.fasta:2: FASTA starts with '>', this file with 'MKV'"]),
        (">a|label=A\n>b|label=A\nMK\n", ["empty sequences", "'a'", "x.fasta:1"]),
        (">a|label=A\n*\n", ["empty sequences", "x.fasta:1"]),
        (">a|place=A\nMK\n", ["x.fasta:1: the header has no field `label=`"]),
        (">a|label=\nMK\n", ["sequences without a label", "x.fasta:1"]),
        (">|label=A\nMK\n", ["empty ids", "x.fasta:1"]),
        (">a|label=A\nMK\n>a|label=A\nMK\n", ["'a': ", "x.fasta:3, first at ", "x.fasta:1"]),
        (
            ">b|label=A\nMK\n\n>a|label=A\nMKV\nM*K\n>c|label=A\n-",
            ["(2 in all)", "x.fasta:6:2: letter '*'", ":8:1:"],
        ),
        ("<html><body>Please log in</body></html>", ["a web page", "Please log in"]),
        (b">a|label=A\nMK\n\n>b|label=\xff\n", ["x.fasta:4: not UTF-8 at byte 24"]),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_broken_fasta(file, text: str | bytes, parts: list[str], pack):
    content = text.encode() if isinstance(text, str) else text
    message = refusal(FASTA, file("x.fasta", pack(content)))
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b[:-8] + bytes(8), lambda b: b[:40] + b"?" * 9])
def test_damaged_gzip(file, damage):
    records = "".join(f">p{n}|label=A\nMK{'ACDEFGHIKL'[n % 10] * (n % 13 + 1)}\n" for n in range(2000))
    message = refusal(FASTA, file("x.fasta.gz", damage(gzip.compress(records.encode()))))
    assert "x.fasta.gz: truncated or damaged gzip" in message


def test_absent_file(tmp_path: Path):
    assert "No such file" in refusal(FASTA, tmp_path / "x.fasta")


def test_a_sequence_without_a_label_is_an_error(file):
    files = [file("x.fasta", ">a\nMK\n>b\nML\n"), file("labels.tsv", "entry\tplace\na\tX\n")]
    message = refusal(LABELLED, *files)
    assert "sequences without a label (1 in all)" in message
    assert "'b' (" in message
    assert "x.fasta:3" in message


def test_labels_file_faults(file):
    sequences = file("x.fasta", ">a\nMK\n")
    assert "add it there" in refusal(LABELLED, sequences)
    twice = file("labels.tsv", "entry\tplace\na\tX\na\tY\n")
    assert "labels.tsv:3, first at" in refusal(LABELLED, sequences, twice)


@pytest.mark.parametrize("place", [{}, {"path": "labels.tsv", "name": "labels.tsv"}], ids=["none", "two"])
def test_labels_are_in_one_file(file, place: dict[str, str]):
    """Both by the schema, which the workflow asks, and by the format, which the command line asks."""
    card = FASTA | {"files": [{"path": "x.fasta"}], "labels": {"id": "entry", "target": "place", **place}}
    deck = Deck(ROOT / "config", ROOT / "workflow" / "schemas")
    with pytest.raises(UnrolledError, match=r"^demo\.yaml: .*labels"):
        deck.check(card, "data", "demo.yaml")
    message = refusal(card, file("x.fasta", ">a\nMK\n"), file("labels.tsv", "entry\tplace\na\tX\n"))
    assert "needs either `path`, or the `name`" in message


def test_cards_that_would_lose_something(file):
    path = file("x.fasta", ">a|label=A|B\nMK\n")
    assert "all labels but the first" in refusal(FASTA | {"task": "multilabel"}, path)
    assert "where are the labels?" in refusal({k: v for k, v in FASTA.items() if k != "header"}, path)
    assert "every table has" in refusal(CSV | {"keep": ["id"]}, file("x.csv", "acc,seq,label,id\na,MK,A,1\n"))
    bar = file("y.csv", "acc,seq,label\na,MK,A|B;C\n")
    assert 'labels that contain "|"' in refusal(CSV | {"task": "multilabel", "separator": ";"}, bar)
    gap = file("z.csv", "acc,seq,label\na,MK,A||B\n")
    assert "empty labels" in refusal(CSV | {"task": "multilabel"}, gap)


# Simulated data


def test_simulated_data_take_the_same_path(monkeypatch: pytest.MonkeyPatch):
    def simulate(n: int) -> pd.DataFrame:
        values = [(f"s{k}", "MKV", "A", "f1", "none") for k in reversed(range(n))]
        return pd.DataFrame(values, columns=["id", "sequence", "target", "family", "signal"], dtype="str")

    monkeypatch.setattr("unrolled.simulate.simulate", simulate)
    card = {
        "title": "T",
        "task": "multiclass",
        "alphabet": "protein",
        "simulate": {"n": 4},
        "keep": ["family"],
    }
    table, excluded = read(card | {"sample": {"n": 3, "seed": 0}}, "demo", [])
    assert list(table.columns) == ["id", "sequence", "target", "family"]
    assert table["id"].is_monotonic_increasing
    assert len(table) == 3
    assert excluded[["reason", "where"]].to_numpy().tolist() == [["not sampled", ""]]
    assert "unknown columns" in refusal(card | {"keep": ["kingdom"]})


# Round trips

ids = st.text("ABCabc019._-", min_size=1, max_size=8).filter(lambda name: not is_formula(name))
records = st.dictionaries(ids, st.tuples(st.text(PROTEIN.legal, min_size=1), st.sampled_from(["A", "B c", "D,e"])))
quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


@quiet
@given(records=records.filter(bool), width=st.integers(1, 20))
def test_fasta_round_trip(tmp_path: Path, records: dict[str, tuple[str, str]], width: int):
    with gzip.open(tmp_path / "x.fa", "wt", encoding="utf-8") as stream:
        for name, (sequence, target) in records.items():
            stream.write(f">{name}|label={target}\n")
            stream.writelines(f"{sequence[at : at + width]}\n" for at in range(0, len(sequence), width))
    expected = sorted((name, *values) for name, values in records.items())
    assert rows(read(FASTA, "demo", [tmp_path / "x.fa"])[0]) == expected


@quiet
@given(records=records.filter(bool), ends=st.sampled_from(["\n", "\r\n", "\r"]), bom=st.booleans())
def test_csv_round_trip(tmp_path: Path, records: dict[str, tuple[str, str]], ends: str, bom: bool):
    expected = sorted((name, *values) for name, values in records.items())
    frame = pd.DataFrame(expected, columns=["acc", "seq", "label"])
    encoding = "utf-8-sig" if bom else "utf-8"
    frame.sample(frac=1, random_state=0).to_csv(
        tmp_path / "x.csv", index=False, lineterminator=ends, encoding=encoding
    )
    assert rows(read(CSV, "demo", [tmp_path / "x.csv"])[0]) == expected


# Whole cards, and real data


def test_build_writes_the_same_bytes_twice(file, tmp_path: Path):
    path = file("x.csv", "acc,seq,label\nü,MKV,A\nb,MK,A\na,M,B\n")
    outputs = [[tmp_path / run / f for f in ("t.parquet", "e.csv", "s.json")] for run in "12"]
    for out in outputs:
        build(CSV | {"min_length": 2}, "demo", [path], *out)
    for one, two in zip(*outputs, strict=True):
        assert one.read_bytes() == two.read_bytes()
    table, excluded, summary = outputs[0]
    assert tables.read(table)["id"].tolist() == ["b", "ü"]
    assert excluded.read_bytes() == b"id,reason,where\na,shorter than 2,x.csv:4\n"
    assert read_json(summary)["excluded"] == {"shorter than 2": 1}


def mirrored(dataset: str, *names: str) -> list[Path]:
    paths = [MIRROR / dataset / name for name in names]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"real data set {dataset} is not in {MIRROR.relative_to(ROOT.parent)} beside the project")
    return paths


def card_of(name: str) -> dict[str, Any]:
    card: dict[str, Any] = yaml.safe_load((ROOT / "config" / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
    return card


def test_deeploc2():
    card = card_of("deeploc2")
    table, excluded = read(card, "deeploc2", mirrored("deeploc2", *(f["name"] for f in card["files"])))
    facts = tables.summary(table, excluded, card, "deeploc2")
    assert (len(table), len(excluded), table["sequence"].nunique()) == (28_303, 0, 28_303)
    assert table["target"].str.contains("|", regex=False).sum() == 6_684
    assert facts["length"] == {"min": 40, "median": 433.0, "max": 34_350}
    assert len(facts["classes"]) == 10
    sizes = table["partition"].value_counts().sort_index()
    assert sizes.to_dict() == {"0": 5_963, "1": 5_451, "2": 5_731, "3": 5_696, "4": 5_462}
    assert set(table["membrane"]) == {"0.0", "1.0"}


def test_deeploc2_quick_is_a_fair_tenth():
    full, quick = card_of("deeploc2"), card_of("deeploc2_quick")
    assert quick["files"] == full["files"]
    table, excluded = read(quick, "quick", mirrored("deeploc2", *(f["name"] for f in quick["files"])))
    assert (len(table), len(excluded)) == (3_000, 25_303)
    counts = tables.summary(table, excluded, quick, "quick")["classes"]
    assert counts["Peroxisome"] == 32  # 304 of 28,303 in the full set
    assert sorted(set(table["partition"])) == ["0", "1", "2", "3", "4"]


def test_flip_ss():
    table, excluded = read(card_of("flip_ss"), "flip_ss", mirrored("flip_ss", "splits.zip"))
    assert (len(table), len(excluded)) == (11156, 0)
    sets = (table["SET"] + " " + table["VALIDATION"]).value_counts()
    assert sets.to_dict() == {"train False": 9712, "train True": 1080, "test False": 364}
    letters = "".join(table["target"])
    assert round(letters.count("-") / len(letters), 3) == 0.066
    assert set(letters) == set("CEH-")


def test_multiloc2():
    files = mirrored("multiloc2", "multiloc2_datasets.tar.bz2")
    table, excluded = read(card_of("multiloc2"), "multiloc2", files)
    assert (len(table), len(excluded), table["target"].nunique()) == (5_959, 0, 11)
    assert table["id"].is_unique


def test_netgpi():
    table, _ = read(card_of("netgpi"), "netgpi", mirrored("netgpi", "netgpi_dataset.fasta"))
    assert table["target"].value_counts().sort_values().tolist() == [1_017, 2_601]
    assert table["id"].str.fullmatch(r"[A-Z0-9]+(-\d+)?").all()  # isoforms: P13591-4
    assert (table["sequence"].str.len() < 100).sum() == 703  # not all are 100 long


def test_nrc_repeats_five_sequences_once_in_dna_and_once_in_rna_letters():
    files, card = mirrored("nrc", "nRC_all.fasta"), card_of("nrc")
    assert "ids that occur twice (5 in all)" in refusal(card | {"duplicates": "error"}, *files)
    table, excluded = read(card, "nrc", files)
    assert (len(table), table["target"].nunique()) == (6_495, 13)
    assert set(excluded["reason"]) == {"duplicate id, same content"}
    assert not table["sequence"].str.contains("T").any()
    learned, _ = read(card_of("nrc_generation"), "nrc_generation", files)
    assert set(learned["target"]) == {""}
    assert set(learned["id"]) <= set(table["id"])


def test_uci_splice_is_padded_with_blanks_and_repeats_twelve_names():
    files, card = mirrored("uci_splice", "splice.csv"), card_of("uci_splice")
    table, excluded = read(card, "splice", files)
    assert table["target"].value_counts().to_dict() == {"N": 1_655, "IE": 762, "EI": 761}
    assert excluded["reason"].tolist() == ["duplicate id, same content"] * 12
    assert set(table["sequence"].str.len()) == {60}
    assert set("".join(table["sequence"])) == set("ACGTNDRS")
    distinct, excluded = read(card_of("uci_splice_unique"), "splice", files)
    assert len(distinct) == distinct["sequence"].nunique() == 3_004
    assert excluded["reason"].value_counts().to_dict() == {
        "copy of another sequence": 172,
        "copy of a sequence with another target": 2,
        "duplicate id, same content": 12,
    }
