"""Best-hit transfer: the nearest training sequence's labels, the class shares where there is none."""

import numpy as np
import pytest

from unrolled.baselines import build
from unrolled.identity import reverse_complement

PROTEIN = {"alphabet": "protein"}
LETTERS = list("ACDEFGHIKLMNPQRSTVWY")
pytestmark = pytest.mark.slow


def families(n: int, members: int, letters: list[str] = LETTERS, changed: float = 0.2) -> list[list[str]]:
    """Members in which a share of the letters of their family's ancestor was changed."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        ancestor = rng.choice(letters, 120)
        mutants = (np.where(rng.random(120) < changed, rng.choice(letters, 120), ancestor) for _ in range(members))
        found.append(["".join(mutant) for mutant in mutants])
    return found


@pytest.mark.parametrize(("alphabet", "letters", "changed"), [("protein", LETTERS, 0.2), ("dna", list("ACGT"), 0.1)])
def test_relatives_get_their_familys_labels_and_strangers_the_shares(alphabet, letters, changed):
    known = families(10, 3, letters, changed)
    y = np.eye(2, dtype=np.uint8)[[f % 2 for f in range(10) for _ in range(2)]]
    train = [s for family in known for s in family[:2]]
    test, wanted = [family[2] for family in known], np.eye(2)[[f % 2 for f in range(10)]]
    model = build({"estimator": "besthit"}, "multiclass", 3, {"alphabet": alphabet})
    model.fit(train, y, test, wanted.astype(np.uint8))
    stranger = "".join(np.random.default_rng(1).choice(letters, 120))
    p = model.predict([*test, stranger])
    assert (p[:-1].argmax(axis=1) == wanted.argmax(axis=1)).all()
    assert p[:-1].max(axis=1).min() > 0.98
    assert p[-1] == pytest.approx([0.5, 0.5])
    assert p.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(("strands", "wanted"), [(2, 0.99), (1, 0.5)])
def test_relatives_on_the_other_strand_count_unless_the_data_card_says_one_strand(strands, wanted):
    train = [family[0] for family in families(10, 1, list("ACGT"), 0)]
    y = np.eye(2, dtype=np.uint8)[np.arange(10) % 2]
    model = build({"estimator": "besthit"}, "multiclass", 3, {"alphabet": "dna", "strands": strands})
    turned = [reverse_complement(sequence) for sequence in train]
    model.fit(train, y, turned, y)
    assert model.predict(turned)[np.arange(10), np.arange(10) % 2] == pytest.approx(wanted, abs=0.01)


def test_misleading_relatives_are_doubted():
    known = families(12, 3)
    y = np.eye(2, dtype=np.uint8)[[f % 2 for f in range(12) for _ in range(2)]]
    train, test = [s for family in known for s in family[:2]], [family[2] for family in known]
    turned = np.eye(2, dtype=np.uint8)[[1 - f % 2 for f in range(12)]]
    model = build({"estimator": "besthit"}, "multiclass", 3, PROTEIN)
    model.fit(train, y, test, turned)
    assert model.predict(test) == pytest.approx(0.5)


def test_several_labels_come_along():
    known = families(6, 3)
    y = np.repeat(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]] * 2, dtype=np.uint8), 2, axis=0)
    model = build({"estimator": "besthit"}, "multilabel", 3, PROTEIN)
    test = [family[2] for family in known]
    model.fit([s for family in known for s in family[:2]], y, test, y[::2])
    assert (model.predict(test).round() == y[::2]).all()
