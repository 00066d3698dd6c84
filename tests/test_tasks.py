"""Tasks: what a target may be, what is kept even, and what a network is trained on."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled import table as tables
from unrolled.alphabet import DNA, PROTEIN
from unrolled.answers import Decoded
from unrolled.errors import UnrolledError
from unrolled.objectives import UNKNOWN
from unrolled.scoring import METRICS, SCORING
from unrolled.tasks import TASKS, named, of

LABELS = ["Golgi|Nucleus", "Nucleus", "Cytoplasm"]


def rows(*pairs: tuple[str, str]) -> pd.DataFrame:
    values = [(f"p{n}", sequence, target) for n, (sequence, target) in enumerate(pairs)]
    return pd.DataFrame(values, columns=["id", "sequence", "target"], dtype="str")


def test_every_task_has_its_parts():
    from unrolled.objectives import OBJECTIVES

    assert set(TASKS) == set(SCORING) == set(METRICS) == set(OBJECTIVES)
    with pytest.raises(UnrolledError, match="'clustering' is unknown: choose multiclass or"):
        named("clustering")


def test_classes_and_counts():
    classes = named("multilabel").classes(LABELS)
    assert classes == ["Cytoplasm", "Golgi", "Nucleus"]
    assert named("multilabel").counts(LABELS, classes).tolist() == [[0, 1, 1], [0, 0, 1], [1, 0, 0]]
    assert named("multiclass").classes(LABELS) == ["Cytoplasm", "Golgi|Nucleus", "Nucleus"]
    assert named("multiclass").strata(LABELS)[1].sum(axis=1).tolist() == [1, 1, 1]


def test_an_unknown_label_is_refused():
    with pytest.raises(UnrolledError, match=r"(?s)not among the classes.*Golgi"):
        named("multilabel").counts(LABELS, ["Cytoplasm", "Nucleus"])


@pytest.mark.parametrize("bad", ["", "high", "nan", "inf", "1,5"])
def test_a_number_must_be_one(bad: str):
    with pytest.raises(UnrolledError, match=r"(?s)not finite numbers.*'p1'"):
        tables.check(rows(("MK", "1.5"), ("MKV", bad)), named("regression"), PROTEIN)


def test_numbers_are_kept_even_in_quintiles():
    names, counts = named("regression").strata([str(n / 10) for n in range(100)])
    assert len(names) == 5
    assert counts.sum(axis=0).tolist() == [20] * 5
    assert (names[0], names[-1]) == ("up to 1.98", "above 7.92")


def test_a_number_that_never_changes_cannot_be_learned():
    assert named("regression").learnable(["1", "2"])
    assert not named("regression").learnable(["1", "1.0"])


@given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_every_number_is_in_one_stratum(values: list[float]):
    _, counts = named("regression").strata(list(map(repr, values)))
    assert (counts.sum(axis=1) == 1).all()


def test_a_letter_for_every_position():
    tables.check(rows(("MKV", "HH-"), ("M", "-")), named("labelling"), PROTEIN)
    with pytest.raises(UnrolledError, match=r"(?s)different length.*'p1': 2 letters, 3 labels"):
        tables.check(rows(("MKV", "HHE"), ("MK", "HHE")), named("labelling"), PROTEIN)


def test_labels_of_positions_are_encoded_and_counted():
    task = named("labelling")
    targets = ["HH-E", "-", "EEé"]
    classes = task.classes(targets)
    assert classes == ["E", "H", "é"]
    assert [list(codes) for codes in task.encode(targets, classes)] == [[1, 1, UNKNOWN, 0], [UNKNOWN], [0, 0, 2]]
    names, counts = task.strata(targets)
    assert names == ["mostly E", "mostly H", "nothing known"]
    assert counts.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


PROTEINS = of({"task": "transduction", "target_alphabet": "protein"})


def test_a_target_is_text_over_its_own_alphabet():
    tables.check(rows(("ACGT", "MKV"), ("A", "B")), PROTEINS, DNA)
    with pytest.raises(UnrolledError, match=r"(?s)empty targets.*'p1'"):
        tables.check(rows(("ACGT", "MKV"), ("A", "")), PROTEINS, DNA)
    with pytest.raises(UnrolledError, match=r"(?s)outside the protein alphabet.*'p1': letter '1' at position 2"):
        tables.check(rows(("ACGT", "MKV"), ("A", "M1")), PROTEINS, DNA)
    with pytest.raises(UnrolledError, match=r"(?s)outside the rna alphabet.*`target_alphabet`"):
        tables.check(rows(("ACGT", "MEL")), of({"task": "transduction", "target_alphabet": "rna"}), DNA)


def test_targets_are_spelled_and_learned_as_their_alphabet_has_it():
    assert PROTEINS.canonical(" mkv* ", "|") == "MKV"
    rna = of({"task": "transduction", "target_alphabet": "rna"})
    assert rna.canonical("acgt", "|") == "ACGU"
    assert rna.learned("ACRU") == "ACNU"


def test_targets_are_symbols_and_an_end():
    classes = PROTEINS.classes([])
    assert "".join(classes) == PROTEIN.letters
    assert PROTEINS.outputs(classes) == len(classes) + 1
    assert [list(codes) for codes in PROTEINS.encode(["A", "CAX"], classes)] == [[1, 0], [2, 1, 21, 0]]
    answer = Decoded(np.array([2, 1, 21]), -1.5, -0.5)
    cells = PROTEINS.cells([answer, answer._replace(symbols=np.zeros(0, int))], classes, ["ACGT", "A"])
    assert {name: list(column) for name, column in cells.items()} == {
        "decoded": ["CAX", ""],
        "log_likelihood": [-1.5, -1.5],
        "length": [4, 1],
    }


def test_no_quintile_is_empty():
    names, counts = named("regression").strata(["1", "2", "3", "9", "9", "9"])
    assert counts.sum(axis=0).min() > 0
    assert len(names) == counts.shape[1]
    assert named("transduction").strata(["MK", "MV"])[0] == ["up to 2 symbols"]


def test_quintiles_of_numbers_that_differ_late_have_names_of_their_own():
    names, counts = named("regression").strata([str(100_000 + i) for i in range(100)])
    assert len(set(names)) == 5
    assert counts.sum(axis=0).tolist() == [20] * 5


def test_targets_are_kept_even_in_fifths_of_their_lengths():
    names, counts = PROTEINS.strata(["A" * n for n in range(1, 101)])
    assert names[0] == "up to 20.8 symbols"
    assert counts.sum(axis=0).tolist() == [20] * 5
    assert PROTEINS.strata(["A", "C"])[1].sum() == 2
    assert not PROTEINS.learnable(["A", "A"])
    assert PROTEINS.longest(["A", "ACD"]) == 6


def test_the_table_of_numbers_and_of_positions_can_be_sampled():
    numbers = rows(*(("MK", str(n)) for n in range(50)))
    assert tables.sample(numbers, "regression", 10, seed=0).sum() == 10
    letters = rows(*(("MK", "HE" if n % 5 else "CC") for n in range(50)))
    chosen = letters[tables.sample(letters, "labelling", 10, seed=0)]
    assert chosen["target"].value_counts().to_dict() == {"HE": 8, "CC": 2}
    assert np.isin(chosen["id"], letters["id"]).all()
