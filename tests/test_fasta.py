"""FASTA as it occurs in the wild: headers, labels, letters, and files that are no FASTA."""

import gzip

import pytest

from unrolled.errors import UnrolledError
from unrolled.fasta import guess_alphabet, read_fasta
from unrolled.headers import accession, identifier, identifiers
from unrolled.headers import label as header_label


@pytest.mark.parametrize(
    ("header", "name", "label"),
    [
        ("sp|P12345|AATM_RABIT Aspartate aminotransferase OS=Oryctolagus", "P12345", ""),
        ("tr|A0A022YWF9|A0A022YWF9_9ACTN", "A0A022YWF9", ""),
        ("sp|P12345-2|AATM_RABIT Isoform 2", "P12345-2", ""),
        ("O00451|label=1", "O00451", "1"),
        ("O00451|label=1|kingdom=2", "O00451", "1"),
        ("P1|label=Cell membrane", "P1", "Cell membrane"),
        ("P2|label=Cell wall|kingdom=2", "P2", "Cell wall"),
        ("P3 | label = Cell wall | Zea mays", "P3", "Cell wall"),
        ("seq7 a kinase label=ER", "seq7", "ER"),
        ("seq7 a kinase label=Cell membrane OS=Homo sapiens", "seq7", "Cell membrane"),
        ("seq7 label=Cell wall|x", "seq7", "Cell wall"),
        ("gi|5524211|gb|AAD44166.1| cytochrome b", "AAD44166.1", ""),
        ("gi|5524211| old", "5524211", ""),
        ("ref|NP_000123.1| factor IX", "NP_000123.1", ""),
        ("pdb|1ABC|A chain", "1ABC_A", ""),
        ("lcl|my_contig_7", "my_contig_7", ""),
        ("jgi|Aspnid1|1234|fgenesh1_pg", "Aspnid1_1234", ""),
        ("gnl|CDD|238014 kinase", "CDD_238014", ""),
        ("pir||A1234", "A1234", ""),
        ("gi|129295|pir||A1234", "A1234", ""),
        ("GB|AAD44166.1|", "AAD44166.1", ""),
        ("ref|label=ER", "ref", "ER"),
        ("ENSG00000139618.5|ENST00000380152.7", "ENSG00000139618.5", ""),
        ("my|own|style", "my", ""),
    ],
)
def test_headers(header, name, label):
    assert (identifier(header), header_label(header)) == (name, label)


@pytest.mark.parametrize(
    ("headers", "ids"),
    [
        (["my|own|style", "my|other text"], ["my|own|style", "my|other"]),
        (["ENSG1|ENST1", "ENSG1|ENST2", "ENSG2"], ["ENSG1|ENST1", "ENSG1|ENST2", "ENSG2"]),
        (["gi|1|ref|NP_1.1| x", "gi|2|ref|NP_1.1| y"], ["gi|1|ref|NP_1.1", "gi|2|ref|NP_1.1"]),
        (["a|label=x", "a|label=y"], ["a", "a"]),  # one id with two labels
        (["a one", "a two", "b"], ["a", "a", "b"]),
        (["jgi|Asp|1|x", "jgi|Asp|2|y"], ["Asp_1", "Asp_2"]),
    ],
)
def test_where_short_ids_repeat_the_first_words_are_the_ids_of_the_whole_file(headers, ids):
    assert identifiers(headers) == ids


def test_that_ids_are_first_words_is_said_once(tmp_path, capsys):
    path = tmp_path / "a.fa"
    path.write_text(">ENSG1|ENST1\nMKTW\n>ENSG2|ENST2\nMKTW\n>ENSG2|ENST3\nMKTW\n")
    assert read_fasta(path)["id"].tolist() == ["ENSG1|ENST1", "ENSG2|ENST2", "ENSG2|ENST3"]
    [said] = capsys.readouterr().err.splitlines()
    assert "a.fa: ids such as 'ENSG2' repeat" in said
    assert said.endswith("such as 'ENSG2|ENST2'")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("P12345", "P12345"),
        ("P12345-2", "P12345"),
        ("A0A022YWF9", "A0A022YWF9"),
        ("NP_000123.1", "NP_000123"),
        ("ENSP00000369497.3", "ENSP00000369497"),
        ("ENSG00000139618.5|ENST00000380152.7", "ENSG00000139618"),
        ("sp|P12345-2|AATM_RABIT", "P12345"),
        ("CAA12345.1", "CAA12345"),
        ("SRR1234567.1", None),
        ("ERR12345678.2", None),
        ("READ00001.1", None),
        ("seq1", None),
        ("7", None),
        ("chain-2", None),
    ],
)
def test_accessions_without_isoform_and_version(name, found):
    assert accession(name) == found


def test_letters_tell_the_alphabet():
    assert guess_alphabet(["MKTAYIAKQR"]) == "protein"
    assert guess_alphabet(["acgtn", "GATTACARAA"]) == "dna"
    assert guess_alphabet(["ACGUU", "ACGT"]) == "rna"


def test_a_gzipped_file_with_windows_line_ends_and_lower_case(tmp_path):
    path = tmp_path / "a.fasta.gz"
    path.write_bytes(gzip.compress(b">sp|P12345|X text\r\nmkta\r\n\r\nyia*\r\n>b|label=y\r\nMMMK\r\n"))
    frame = read_fasta(path)
    assert frame["id"].tolist() == ["P12345", "b"]
    assert frame["sequence"].tolist() == ["MKTAYIA", "MMMK"]
    assert frame["label"].tolist() == ["", "y"]
    assert frame["where"].tolist() == [f"{path}:1", f"{path}:5"]


def test_lists_of_labels_are_read_from_headers_only_where_no_field_can_be_meant(tmp_path):
    path = tmp_path / "a.fa"
    path.write_text(">a|label=x|kingdom=2\nMKTW\n>b|label=x|y\nMKTW\n>c text\nMKTW\n")
    assert read_fasta(path)["label"].tolist() == ["x", "x", ""]
    with pytest.raises(UnrolledError, match=r"(?s)labels or fields \(1 in all\):\n  .*a\.fa:3\n.*`--labels`"):
        read_fasta(path, multilabel=True)
    (tmp_path / "l.csv").write_text("id,label\nb,x|y\n")
    assert read_fasta(path, tmp_path / "l.csv", multilabel=True)["label"].tolist() == ["x", "x|y", ""]


def test_an_id_with_two_labels_in_a_table_is_refused_with_both_lines(tmp_path):
    (tmp_path / "a.fa").write_text(">a\nMKTW\n>b\nMKTW\n")
    (tmp_path / "l.csv").write_text("id,label\na,x\nb,y\na,x\nb,z\n")
    with pytest.raises(UnrolledError, match=r"(?s)several labels.*:\n  .*l\.csv:5: 'b' is 'z', but 'y' in .*:3"):
        read_fasta(tmp_path / "a.fa", tmp_path / "l.csv")
    (tmp_path / "l.csv").write_text("id,label\na,y|x\na,x| y\n")
    assert read_fasta(tmp_path / "a.fa", tmp_path / "l.csv", multilabel=True)["label"].tolist() == ["x|y", ""]


def test_a_list_of_labels_is_kept_as_the_workflow_keeps_it(tmp_path):
    (tmp_path / "a.fa").write_text(">a\nMKTW\n>b\nMKTW\n")
    (tmp_path / "l.csv").write_text("id,label\na, b | a|b\nb,a\n")
    assert read_fasta(tmp_path / "a.fa", tmp_path / "l.csv", multilabel=True)["label"].tolist() == ["a|b", "a"]
    assert read_fasta(tmp_path / "a.fa", tmp_path / "l.csv")["label"].tolist() == ["b | a|b", "a"]
    (tmp_path / "l.csv").write_text("id,label\na,a|b|\nb,a\n")
    with pytest.raises(UnrolledError, match=r"(?s)empty labels \(1 in all\):\n  .*a\.fa:1"):
        read_fasta(tmp_path / "a.fa", tmp_path / "l.csv", multilabel=True)


def test_labels_of_a_table_win_over_the_headers(tmp_path):
    (tmp_path / "a.fa").write_text(">a|label=x\nMKTW\n>b\nMKTW\n>c|label=z\nMKTW\n")
    (tmp_path / "l.tsv").write_text("id\tlocation\na\tER\nb\tnucleus\n")
    assert read_fasta(tmp_path / "a.fa", tmp_path / "l.tsv")["label"].tolist() == ["ER", "nucleus", "z"]


@pytest.mark.parametrize(
    ("text", "alphabet", "message"),
    [
        ("", None, "the file is empty"),
        ("MKTA\n", None, r"a\.fa:1: FASTA starts with '>'"),
        ("<html>\n", None, "a web page"),
        (">\nMKTA\n", None, r"records without an id.*\n.*a\.fa:1"),
        (">a\n>b\nMKTA\n", None, r"records without a sequence.*\n.*a\.fa:1"),
        (">a\nMKTW\n>b\nMK-A\n", None, r"a\.fa:3: letter '-' at position 3"),
        (">a\nMKTE\n", "dna", "letters outside the dna alphabet"),
    ],
)
def test_bad_files_name_the_line(tmp_path, text, alphabet, message):
    path = tmp_path / "a.fa"
    path.write_text(text)
    with pytest.raises(UnrolledError, match=message):
        read_fasta(path, alphabet=alphabet)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na,x\n", "name its columns `id` and `label`"),
        ("id,x,y\na,x,y\n", "name its columns `id` and `label`"),
        ("id,label\nq,x\n", "labels none of the sequences"),
    ],
)
def test_a_labels_file_that_does_not_fit_says_why(tmp_path, text, message):
    (tmp_path / "a.fa").write_text(">a\nMKTW\n")
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(UnrolledError, match=message):
        read_fasta(tmp_path / "a.fa", tmp_path / "l.csv")


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(UnrolledError, match=r"none\.fa: No such file"):
        read_fasta(tmp_path / "none.fa")
