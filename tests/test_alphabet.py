"""The alphabets: every letter has one code, and nothing illegal gets one."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.alphabet import ALPHABETS, DNA, PROTEIN, RNA, Alphabet, AlphabetError, look
from unrolled.errors import UnrolledError

EVERY = pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS)


def test_sizes_count_the_padding():
    assert (PROTEIN.size, DNA.size, RNA.size) == (22, 6, 6)
    assert set(ALPHABETS) == {"protein", "dna", "rna"}


@EVERY
def test_symbols_are_coded_from_one_in_order(alphabet: Alphabet):
    codes = alphabet.encode(alphabet.letters)
    assert codes.dtype == np.uint8
    assert codes.tolist() == list(range(1, alphabet.size))


@pytest.mark.parametrize("letter", "BZJUOX")
def test_odd_residues_are_unknown(letter: str):
    assert PROTEIN.decode(PROTEIN.encode(letter)) == "X"


@pytest.mark.parametrize("letter", "RYSWKMBDHVN")
@pytest.mark.parametrize("alphabet", [DNA, RNA], ids=["dna", "rna"])
def test_iupac_nucleotides_are_unknown(alphabet: Alphabet, letter: str):
    assert alphabet.decode(alphabet.encode(letter)) == "N"


def test_t_and_u_are_the_same_base():
    assert DNA.decode(DNA.encode("ACGU")) == "ACGT"
    assert RNA.decode(RNA.encode("ACGT")) == "ACGU"
    assert (DNA.encode("TU") == RNA.encode("UT")).all()


def test_spelling_changes_case_and_synonyms_only():
    assert DNA.spell("acgunR-") == "ACGTNR-"
    assert RNA.spell("ACGtT") == "ACGUU"
    assert [PROTEIN.spell("mkuX*"), PROTEIN.spell("MX**")] == ["MKUX", "MX*"]
    assert PROTEIN.spell("ıß") == "ıß"  # str.upper() would make a legal I and SS of them


@pytest.mark.parametrize("letter", ["*", "-", " ", "1", "a", "é", "İ", "\n", "\0", "🧬", "\ud800"])
@EVERY
def test_illegal_letters_are_named_with_their_position(alphabet: Alphabet, letter: str):
    assert alphabet.illegal(f"ACG{letter}A{letter}") == (4, letter)
    with pytest.raises(AlphabetError, match=r"at position 4 is not in the (protein|dna|rna) alphabet") as error:
        alphabet.encode(f"ACG{letter}A")
    assert repr(letter) in str(error.value)


PEPTIDE = "MKVSGTDRHWANKVSGTD"  # each of its letters is a nucleotide's, too
GENE = "ATGGCGTACGTTAGCNNGCATCGATTACGGATCCGATTAGCTAACGTAGC"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (PEPTIDE, "proteins"),
        ("MKTAYIAKQRQISFVKSHFSRQ", "proteins"),
        (GENE, "nucleotides"),
        (GENE.replace("T", "U"), "nucleotides"),
        (GENE + "RYSWK", "nucleotides"),  # 91 % are no ambiguity codes
        (GENE[:40], None),  # might be a peptide
        (PEPTIDE[:9], None),  # might be a motif
        ("GA" * 40 + "TC", None),  # silk
        ("ACGTNARYSW" * 6, None),  # a consensus
        ("RYSWKMRY*-", None),  # neither
        ("", None),
    ],
)
def test_letters_look_like_proteins_or_nucleotides_where_they_tell(text: str, kind: str | None):
    assert look(text) == kind


def test_short_sequences_are_looked_at_together():
    primers = [GENE[n : n + 20] for n in range(5)]
    assert not any(map(PROTEIN.stranger, primers))
    assert PROTEIN.strangers(primers) == [True] * 5
    assert DNA.strangers(primers) == [False] * 5
    assert DNA.strangers([PEPTIDE[:6]] * 3) == [True] * 3
    assert DNA.strangers([GENE, PEPTIDE, GENE]) == [False, True, False]


@pytest.mark.parametrize(
    ("alphabet", "own", "other", "kind"),
    [(DNA, GENE, PEPTIDE, "proteins"), (RNA, "ACGU", PEPTIDE, "proteins"), (PROTEIN, PEPTIDE, GENE, "nucleotides")],
)
def test_sequences_of_the_other_kind_are_refused_by_name(alphabet, own: str, other: str, kind: str):
    alphabet.check([own, own], ["one", "two"])
    told = rf"look like {kind}, not like {alphabet.name} \(1 in all\):\n  two\nCorrect the data card's `alphabet`"
    with pytest.raises(UnrolledError, match=told):
        alphabet.check([own, other, own], ["one", "two", "three"])


def test_nothing_is_illegal_in_nothing():
    assert PROTEIN.illegal("") is None
    assert PROTEIN.encode("").shape == (0,)
    assert PROTEIN.decode([]) == ""


@pytest.mark.parametrize("codes", [[1, 22], [-1], [300]])
def test_unknown_codes_are_refused(codes: list[int]):
    with pytest.raises(AlphabetError, match=r"codes 0\.\.21"):
        PROTEIN.decode(codes)


def test_padding_is_dropped():
    assert DNA.decode(np.array([1, 2, 0, 0], dtype=np.uint8)) == "AC"


def test_alphabets_are_immutable_and_survive_pickling():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DNA.name = "other"
    with pytest.raises(TypeError):
        DNA.ambiguous["Z"] = "N"
    with pytest.raises(ValueError, match="read-only"):
        DNA._codes[0] = 1
    for twin in (pickle.loads(pickle.dumps(DNA)), copy.deepcopy(DNA)):
        assert twin == DNA
        assert hash(twin) == hash(DNA)
        assert twin.encode("ACGT").tolist() == [1, 2, 3, 4]


@EVERY
@given(data=st.data())
def test_round_trip(alphabet: Alphabet, data: st.DataObject):
    sequence = data.draw(st.text(alphabet.legal))
    codes = alphabet.encode(sequence)
    assert len(codes) == len(sequence)
    assert alphabet.illegal(sequence) is None
    assert alphabet.decode(codes) == "".join(alphabet.ambiguous.get(letter, letter) for letter in sequence)
    assert (alphabet.encode(alphabet.decode(codes)) == codes).all()


@EVERY
@given(text=st.text())
def test_a_text_is_encoded_or_its_first_illegal_letter_named(alphabet: Alphabet, text: str):
    bad = [(n, letter) for n, letter in enumerate(text, start=1) if letter not in alphabet.legal]
    assert alphabet.illegal(text) == (bad[0] if bad else None)
