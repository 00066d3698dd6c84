"""The alphabets: every letter has one code, and nothing illegal gets one."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.alphabet import ALPHABETS, DNA, PROTEIN, RNA, Alphabet, AlphabetError

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
    assert PROTEIN.spell("mkuX*") == "MKUX*"
    assert PROTEIN.spell("ıß") == "ıß"  # str.upper() would make a legal I and SS of them


@pytest.mark.parametrize("letter", ["*", "-", " ", "1", "a", "é", "İ", "\n", "\0", "🧬", "\ud800"])
@EVERY
def test_illegal_letters_are_named_with_their_position(alphabet: Alphabet, letter: str):
    assert alphabet.illegal(f"ACG{letter}A{letter}") == (4, letter)
    with pytest.raises(AlphabetError, match=r"at position 4 is not in the (protein|dna|rna) alphabet") as error:
        alphabet.encode(f"ACG{letter}A")
    assert repr(letter) in str(error.value)


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
