"""Metrics of numbers and of labels for every position, against SciPy, scikit-learn, published values."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st

from unrolled.number_metrics import NumberScores
from unrolled.position_metrics import judge, segment_overlap
from unrolled.scoring import METRICS, SCORING, measure
from unrolled.sequence_metrics import edit_distance
from unrolled.sequence_metrics import judge as judge_sequences


@st.composite
def numbers(draw: st.DrawFn) -> tuple[NumberScores, np.ndarray]:
    """Few distinct values, so that there are ties, and whole weights."""
    N = draw(st.integers(2, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 3, 50]))
    predicted, truth = rng.integers(0, levels, size=(2, N)) / 7
    w = rng.integers(0, 4, size=N).astype(float)
    w[rng.integers(N)] = 2.0
    return NumberScores("regression", predicted, truth), w


def constant(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


def rank_correlation(p: np.ndarray, y: np.ndarray) -> float:
    if constant(y):
        return np.nan
    return 0.0 if constant(p) else float(scipy.stats.spearmanr(p, y).statistic)


def linear_correlation(p: np.ndarray, y: np.ndarray) -> float:
    if constant(y):
        return np.nan
    return 0.0 if constant(p) else float(scipy.stats.pearsonr(p, y).statistic)


NUMBERS: dict[str, Any] = {
    "spearman": rank_correlation,
    "pearson": linear_correlation,
    "r2": lambda p, y: np.nan if constant(y) else sk.r2_score(y, p),
    "rmse": lambda p, y: sk.root_mean_squared_error(y, p),
    "mae": lambda p, y: sk.mean_absolute_error(y, p),
}


@given(case=numbers())
def test_numbers_agree_with_scipy_under_weights_that_repeat(case: tuple[NumberScores, np.ndarray]):
    scores, w = case
    copies = np.repeat(np.arange(len(w)), w.astype(int))
    found = measure(scores, np.stack([w, np.ones_like(w)]))
    assert set(found) == set(NUMBERS)
    for name, reference in NUMBERS.items():
        expected = reference(scores.predicted[copies], scores.truth[copies])
        np.testing.assert_allclose(found[name][0], expected, rtol=1e-9, atol=1e-9, err_msg=name)


def test_far_from_zero_nothing_is_lost():
    truth = 1e8 + np.arange(6.0)
    scores = NumberScores("regression", truth[::-1].copy(), truth)
    found = measure(scores, np.ones((1, 6)))
    assert found["pearson"][0] == pytest.approx(-1)
    assert found["spearman"][0] == pytest.approx(-1)
    assert found["mae"][0] == pytest.approx(3)
    assert found["r2"][0] == pytest.approx(-3)


@pytest.mark.parametrize("unit", [1e-9, 0.1, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_no_unit_and_no_zero_of_a_scale_changes_what_has_none(unit: float, offset: float):
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(2, 50))
    plain = measure(NumberScores("regression", truth + noise, truth), np.ones((1, 50)))
    moved = (unit * (values + offset) for values in (truth + noise, truth))
    found = measure(NumberScores("regression", *moved), np.ones((1, 50)))
    for name in ("spearman", "pearson", "r2"):
        assert found[name][0] == pytest.approx(plain[name][0], rel=1e-8), name


@pytest.mark.parametrize("value", [0.1, 1e-9, 1e8 / 3])
def test_what_never_varies_explains_nothing_whatever_is_lost_by_rounding(value: float):
    truth, said = np.full(7, value), value * np.arange(1.0, 8.0)
    found = measure(NumberScores("regression", said, truth), np.ones((1, 7)))
    assert all(np.isnan(found[name][0]) for name in ("spearman", "pearson", "r2"))
    found = measure(NumberScores("regression", truth, said), np.ones((1, 7)))
    assert (found["pearson"][0], found["spearman"][0]) == (0, 0)


def test_answers_that_differ_by_rounding_alone_have_no_correlation():
    truth = 1000 + 10 * np.random.default_rng(0).normal(size=50)
    near = np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(1))
    said = np.where(truth > 1000, *near[::-1]).astype(np.float64) * 10 + 1000
    assert len(set(said)) == 2
    found = measure(NumberScores("regression", said, truth), np.ones((1, 50)))
    assert (found["pearson"][0], found["spearman"][0]) == (0, 0)
    found = measure(NumberScores("regression", 1000 + 1e-5 * (truth - 1000), truth), np.ones((1, 50)))
    assert (found["pearson"][0], found["spearman"][0]) == pytest.approx((1, 1))


def test_no_weight_gives_no_number():
    scores = NumberScores("regression", np.arange(3.0), np.arange(3.0))
    assert all(np.isnan(value[0]) for value in measure(scores, np.zeros((1, 3))).values())


def codes(text: str) -> np.ndarray:
    return np.array(["-CEH".index(letter) - 1 for letter in text])


@pytest.mark.parametrize(
    ("actual", "chosen", "sov"),
    [
        # Zemla et al. (1999), table 1
        ("CHHHHHHHHHHC", "CHCHCHCHCHCC", 0.125),
        ("CHHHHHHHHHHC", "CCCHHHHHCCCC", 0.632),
        # by hand: H covers 9 of 10 and may miss 1; the first C is half of what was said
        ("CHHHHHHHHHHC", "CCHHHHHHHHHC", (10 + 0.5 + 1) / 12),
        # what is unknown breaks segments and counts nowhere
        ("HHHH", "HHHH", 1.0),
        ("HHHH", "EEEE", 0.0),
        ("HH--HH", "HHEEHH", 1.0),
        ("----", "HHHH", np.nan),
    ],
)
def test_segment_overlap(actual: str, chosen: str, sov: float):
    known = codes(actual) >= 0
    found = segment_overlap(codes(actual), np.where(known, codes(chosen), -1))
    np.testing.assert_allclose(found, sov, atol=5e-4)


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths = rng.integers(1, 12, size=draw(st.integers(1, 8)))
    levels = [rng.integers(1, 5, size=(T, 3)).astype(float) for T in lengths]
    p = [level / level.sum(1, keepdims=True) for level in levels]
    y = [rng.integers(-1, 3, size=T) for T in lengths]
    y[0][0] = 1
    w = rng.integers(0, 4, size=len(lengths)).astype(float)
    w[0] = 2.0
    return p, y, w


@given(case=chains())
def test_positions_agree_with_scikit_learn(case: tuple[list[np.ndarray], list[np.ndarray], np.ndarray]):
    p, y, w = case
    found = measure(judge(p, y, 3), w[None])
    weights = np.concatenate([np.full(len(one), weight) for one, weight in zip(y, w, strict=True)])
    truth, said = np.concatenate(y), np.concatenate(p)
    kept = (truth >= 0) & (weights > 0)
    truth, said, weights, chosen = truth[kept], said[kept], weights[kept], said[kept].argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(truth, chosen, sample_weight=weights),
        "macro_f1": sk.f1_score(truth, chosen, average="macro", sample_weight=weights, zero_division=0),
        "log_loss": sk.log_loss(truth, said, sample_weight=weights, labels=[0, 1, 2]),
    }
    if len({*truth, *chosen}) > 1:  # scikit-learn warns of a single class
        expected["mcc"] = sk.matthews_corrcoef(truth, chosen, sample_weight=weights)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name][0], value, rtol=1e-9, atol=1e-9, err_msg=name)


@given(case=chains())
def test_the_weight_of_a_chain_is_a_repetition(case: tuple[list[np.ndarray], list[np.ndarray], np.ndarray]):
    p, y, w = case
    copies = np.repeat(np.arange(len(w)), w.astype(int))
    once = measure(judge([p[i] for i in copies], [y[i] for i in copies], 3), np.ones((1, len(copies))))
    found = measure(judge(p, y, 3), w[None])
    assert set(found) == set(METRICS["labelling"])
    for name, value in found.items():
        np.testing.assert_allclose(value, once[name], rtol=1e-9, atol=1e-9, err_msg=name)


def test_chains_count_alike_in_chain_accuracy_and_positions_in_accuracy():
    right, wrong = np.array([[0.1, 0.9]]), np.array([[0.9, 0.1]])
    truth = [np.ones(9, int), np.ones(1, int), -np.ones(1, int)]
    scores = judge([np.repeat(right, 9, 0), wrong, wrong], truth, 2)
    found = {name: value[0] for name, value in measure(scores, np.ones((1, 3))).items()}
    assert found["accuracy"] == pytest.approx(0.9)
    assert found["chain_accuracy"] == pytest.approx(0.5)
    assert found["sov"] == pytest.approx(0.5)
    assert found["ece"] == pytest.approx(abs(9 * 0.1 - 0.9) / 10)


# --- Sequences ---

WORDS = st.text("ACDX", max_size=9)


def levenshtein(a: str, b: str) -> int:
    """By the recursion, a row at a time."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
    return row[-1]


@given(a=WORDS, b=WORDS)
def test_the_edit_distance_is_levenshteins(a: str, b: str):
    assert edit_distance(a, b) == levenshtein(a, b) == edit_distance(b, a)


def test_long_sequences_have_an_edit_distance_too():
    a = "ACDX" * 10_000
    assert edit_distance(a, a[1:] + "D") == 2
    assert edit_distance(a, "W" * 40_000) == 40_000


@pytest.mark.parametrize(
    ("said", "right", "exact", "distance"),
    [
        ("ACD", 4, 1, 0),
        ("ACX", 3, 0, 1 / 3),
        ("AC", 2, 0, 1 / 3),  # the end stands where D does
        ("ACDA", 3, 0, 1 / 4),
        ("CD", 0, 0, 1 / 3),  # what is left out moves all that follows, but is one edit
        ("", 0, 0, 1),
    ],
)
def test_sequences_by_hand(said: str, right: int, exact: int, distance: float):
    scores = judge_sequences([said], ["ACD"], np.array([-4 * np.log(2)]))
    found = {name: float(value[0]) for name, value in measure(scores, np.ones((1, 1))).items()}
    assert found == pytest.approx(
        {"token_accuracy": right / 4, "exact_match": exact, "edit_distance": distance, "bits_per_token": 1}
    )


@given(pairs=st.lists(st.tuples(WORDS, WORDS.filter(bool)), min_size=1, max_size=8), data=st.data())
def test_weights_of_sequences_repeat_them(pairs: list[tuple[str, str]], data: Any):
    w = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(pairs), max_size=len(pairs))), float)
    w[0] = 2
    likelihood = -np.arange(1.0, len(pairs) + 1)
    copies = np.repeat(np.arange(len(pairs)), w.astype(int))
    said, true = ([pair[i] for pair in pairs] for i in (0, 1))
    found = measure(judge_sequences(said, true, likelihood), w[None])
    repeated = judge_sequences([said[i] for i in copies], [true[i] for i in copies], likelihood[copies])
    for name, value in measure(repeated, np.ones((1, len(copies)))).items():
        np.testing.assert_allclose(found[name], value)


def test_answers_that_cannot_be_are_refused():
    frame = pd.DataFrame({"id": ["a", "b"], "target": ["AC", "D"], "decoded": ["A", ""], "log_likelihood": -1.0})
    scoring, info = SCORING["transduction"], {"task": "transduction", "classes": list("ACD")}
    assert scoring.fault(frame, info) is None
    assert "answers 'X' are not among" in str(scoring.fault(frame.assign(decoded=["X", "A"]), info))
    assert "targets 'X' are not among" in str(scoring.fault(frame.assign(target=["X", "A"]), info))
    for wrong in ({"log_likelihood": [-1, 0.5]}, {"log_likelihood": [-1, np.nan]}, {"target": ["A", ""]}):
        assert "of 'b' is none" in str(scoring.fault(frame.assign(**wrong), info))
