"""Metrics against hand-computed numbers and against scikit-learn, on weighted data with ties and absent classes."""

import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from unrolled import metrics
from unrolled.metrics import Scores, decide
from unrolled.scoring import HIGHER_IS_BETTER, METRICS, measure, only
from unrolled.thresholds import choose_thresholds

fast = settings(max_examples=40, deadline=None)


def one_hot(actual: np.ndarray, K: int) -> np.ndarray:
    return np.arange(K) == np.asarray(actual)[:, None]


@st.composite
def weighted(draw: st.DrawFn, task: str) -> tuple[Scores, np.ndarray]:
    """Few distinct probabilities (ties), few sequences (absent classes), whole weights, some of them 0."""
    N, K = draw(st.integers(1, 25)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = rng.integers(1, 5, size=(N, K)) / 8
    if task == "multiclass":
        p = levels / levels.sum(1, keepdims=True)
        truth = one_hot(rng.integers(draw(st.integers(1, K)), size=N), K)
    else:
        p = levels * 2
        truth = rng.random((N, K)) < draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
    w = rng.integers(0, 4, size=N).astype(float)
    w[rng.integers(N)] = 2.0
    return decide(task, p, truth), w


def compare_with(scores: Scores, w: np.ndarray, name: str, reference: Callable[..., float]) -> None:
    """Zero-weight rows are dropped for scikit-learn, which would still see their classes."""
    kept = w > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of every absent class
        expected = reference(scores.p[kept], scores.truth[kept], scores.chosen[kept], w[kept])
    for rows in (np.stack([w, np.ones_like(w)]), w[None]):  # as a bootstrap asks, and as an evaluation
        np.testing.assert_allclose(METRICS[scores.task][name](scores, rows)[0], expected, rtol=1e-9, atol=1e-9)


def classwise_auroc(p: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    both = [k for k in range(y.shape[1]) if 0 < y[:, k].mean() < 1]
    values = [sk.roc_auc_score(y[:, k], p[:, k], sample_weight=w) for k in both]
    return float(np.mean(values)) if values else np.nan


def classwise_auprc(p: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    both = [k for k in range(y.shape[1]) if 0 < y[:, k].mean() < 1]
    values = [sk.average_precision_score(y[:, k], p[:, k], sample_weight=w) for k in both]
    return float(np.mean(values)) if values else np.nan


CLASSES = ("multiclass", "multilabel")
MULTICLASS: dict[str, Callable[..., float]] = {
    "accuracy": lambda p, y, c, w: sk.accuracy_score(y.argmax(1), c.argmax(1), sample_weight=w),
    "balanced_accuracy": lambda p, y, c, w: sk.balanced_accuracy_score(y.argmax(1), c.argmax(1), sample_weight=w),
    "macro_f1": lambda p, y, c, w: sk.f1_score(
        y.argmax(1), c.argmax(1), average="macro", sample_weight=w, zero_division=0
    ),
    "mcc": lambda p, y, c, w: sk.matthews_corrcoef(y.argmax(1), c.argmax(1), sample_weight=w),
    "auroc": lambda p, y, c, w: classwise_auroc(p, y, w),
    "auprc": lambda p, y, c, w: classwise_auprc(p, y, w),
    "log_loss": lambda p, y, c, w: sk.log_loss(y, p, sample_weight=w),
}
MULTILABEL: dict[str, Callable[..., float]] = {
    "accuracy": lambda p, y, c, w: sk.accuracy_score(y, c, sample_weight=w),
    "jaccard": lambda p, y, c, w: sk.jaccard_score(y, c, average="samples", sample_weight=w, zero_division=0),
    "micro_f1": lambda p, y, c, w: sk.f1_score(y, c, average="micro", sample_weight=w, zero_division=0),
    "macro_f1": lambda p, y, c, w: sk.f1_score(y, c, average="macro", sample_weight=w, zero_division=np.nan),
    "mcc": lambda p, y, c, w: labelwise_mcc(y, c, w),
    "auroc": lambda p, y, c, w: classwise_auroc(p, y, w),
    "auprc": lambda p, y, c, w: classwise_auprc(p, y, w),
    "log_loss": lambda p, y, c, w: np.mean(
        [sk.log_loss(y[:, k], clip(p[:, k]), sample_weight=w, labels=[0, 1]) for k in range(y.shape[1])]
    ),
}


def labelwise_mcc(y: np.ndarray, c: np.ndarray, w: np.ndarray) -> float:
    both = [k for k in range(y.shape[1]) if 0 < y[:, k].mean() < 1]
    values = [sk.matthews_corrcoef(y[:, k], c[:, k], sample_weight=w) for k in both]
    return float(np.mean(values)) if values else np.nan


def clip(p: np.ndarray) -> np.ndarray:
    return np.clip(p, metrics.CLIP, 1 - metrics.CLIP)


@pytest.mark.parametrize("name", MULTICLASS)
@fast
@given(case=weighted("multiclass"))
def test_multiclass_agrees_with_scikit_learn(name: str, case: tuple[Scores, np.ndarray]) -> None:
    compare_with(*case, name, MULTICLASS[name])


@pytest.mark.parametrize("name", MULTILABEL)
@fast
@given(case=weighted("multilabel"))
def test_multilabel_agrees_with_scikit_learn(name: str, case: tuple[Scores, np.ndarray]) -> None:
    compare_with(*case, name, MULTILABEL[name])


def test_every_metric_but_ece_has_a_reference() -> None:
    assert {*MULTICLASS, "ece"} == set(METRICS["multiclass"])
    assert {*MULTILABEL, "ece"} == set(METRICS["multilabel"])
    lower = {"log_loss", "ece", "rmse", "mae", "bits_per_residue", "perplexity", "edit_distance", "bits_per_token"}
    assert {name for name, higher in HIGHER_IS_BETTER.items() if not higher} == lower
    assert set(HIGHER_IS_BETTER) == {name for task in METRICS for name in METRICS[task]}


@pytest.mark.parametrize("task", CLASSES)
@fast
@given(data=st.data())
def test_a_weight_is_a_repetition(task: str, data: st.DataObject) -> None:
    """Weight 3 on a sequence is the same as three copies of it: the bootstrap rests on this."""
    scores, w = data.draw(weighted(task))
    copies = np.repeat(np.arange(len(w)), w.astype(int))
    repeated = Scores(task, scores.p[copies], scores.truth[copies], scores.chosen[copies])
    once = measure(repeated, np.ones((1, len(copies))))
    for name, value in measure(scores, w[None]).items():
        np.testing.assert_allclose(value, once[name], rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("task", CLASSES)
@fast
@given(data=st.data())
def test_leaving_sequences_out_is_giving_them_no_weight(task: str, data: st.DataObject) -> None:
    scores, w = data.draw(weighted(task))
    alone = measure(only(scores, np.flatnonzero(w)), w[None, w > 0])
    for name, value in measure(scores, w[None]).items():
        np.testing.assert_allclose(value, alone[name], rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("task", CLASSES)
@fast
@given(data=st.data())
def test_scale_layout_and_neighbouring_rows_do_not_matter(task: str, data: st.DataObject) -> None:
    scores, w = data.draw(weighted(task))
    W = np.stack([w, 3 * w, np.zeros_like(w)])
    for name, metric in METRICS[task].items():
        rows = metric(scores, W)
        assert np.isnan(rows[2]), name  # no weight, no metric
        np.testing.assert_allclose(rows[1], rows[0], rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(metric(scores, np.asfortranarray(W)), rows, rtol=1e-9, atol=1e-12, err_msg=name)


# --- By hand ---

SIX = decide(  # actual 0 0 0 1 1 2, chosen 0 0 1 1 1 0
    "multiclass",
    np.array([[8, 1, 1], [6, 2, 2], [3, 6, 1], [1, 8, 1], [3, 5, 2], [4, 3, 3]]) / 10,
    one_hot(np.array([0, 0, 0, 1, 1, 2]), 3),
)


def test_multiclass_by_hand() -> None:
    found = {name: float(value[0]) for name, value in measure(SIX, np.ones((1, 6))).items()}
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["macro_f1"] == pytest.approx((4 / 6 + 4 / 5 + 0) / 3)
    # R_K: c s - sum(t p) = 4*6 - (3*3 + 2*3 + 1*0) = 9; s^2 - sum(t^2) = 22; s^2 - sum(p^2) = 18
    assert found["mcc"] == pytest.approx(9 / np.sqrt(22 * 18))
    # class 0: positives 8 6 3 against 1 3 4 (wins 3, 3, 1.5); class 1: 8 5 against 1 2 6 3 (4, 3);
    # class 2: 3 against 1 2 1 1 2 (5)
    assert found["auroc"] == pytest.approx((7.5 / 9 + 7 / 8 + 1) / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.6, 0.3, 0.8, 0.5, 0.3]).mean())
    # bins of the top class: 0.8 0.8 (both right), 0.6 0.6 (one), 0.5 (right), 0.4 (wrong)
    assert found["ece"] == pytest.approx((2 * 0.2 + 2 * 0.1 + 0.5 + 0.4) / 6)


def test_tables_by_hand() -> None:
    assert metrics.confusion(SIX).tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    table = metrics.class_table(SIX)
    assert table["n"].tolist() == [3, 2, 1]
    np.testing.assert_allclose(table["precision"], [2 / 3, 2 / 3, 0])
    np.testing.assert_allclose(table["recall"], [2 / 3, 1, 0])
    np.testing.assert_allclose(table["f1"], [2 / 3, 4 / 5, 0])
    np.testing.assert_allclose(table["mcc"], [1 / 3, 6 / np.sqrt(2 * 4 * 3 * 3), 0])
    np.testing.assert_allclose(table["auroc"], [7.5 / 9, 7 / 8, 1])
    expected = [(0.4, 0, 1), (0.5, 1, 1), (0.6, 0.5, 2), (0.8, 1, 2)]
    np.testing.assert_allclose(metrics.calibration(SIX), expected)


def test_multilabel_by_hand() -> None:
    truth = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], bool)
    scores = decide("multilabel", np.array([[0.9, 0.2], [0.6, 0.3], [0.7, 0.8], [0.1, 0.1]]), truth)
    assert scores.chosen.tolist() == [[True, False], [True, False], [True, True], [False, False]]
    found = {name: float(value[0]) for name, value in measure(scores, np.ones((1, 4))).items()}
    assert found["accuracy"] == pytest.approx(2 / 4)
    assert found["jaccard"] == pytest.approx((1 / 2 + 1 + 1 / 2 + 0) / 4)
    assert found["micro_f1"] == pytest.approx(2 * 3 / (4 + 4))
    assert found["macro_f1"] == pytest.approx((2 * 2 / (2 + 3) + 2 * 1 / (2 + 1)) / 2)
    assert found["mcc"] == pytest.approx(1 / np.sqrt(3))  # both labels: 2 / sqrt(2 * 2 * 3 * 1)
    assert found["auroc"] == pytest.approx((3 / 4 + 3 / 4) / 2)
    said = [0.9, 0.2, 0.6, 0.7, 0.3, 0.8, 0.9, 0.9]
    assert found["log_loss"] == pytest.approx(-np.log(said).mean())
    # decisions, confidence: right at 0.9 0.9 0.9, 0.8, 0.7, 0.6; wrong at 0.8 and 0.7
    assert found["ece"] == pytest.approx((3 * 0.1 + 2 * 0.3 + 2 * 0.2 + 0.4) / 8)


def test_what_the_data_cannot_show_is_left_out() -> None:
    """Class 2 is neither true nor chosen: it lowers no mean. Class 1 is chosen in vain: F1 and precision 0."""
    p = np.array([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0]])
    scores = decide("multiclass", p, one_hot(np.array([0, 0]), 3))
    found = {name: float(value[0]) for name, value in measure(scores, np.ones((1, 2))).items()}
    assert found["balanced_accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["mcc"] == 0
    assert np.isnan(found["auroc"])
    table = metrics.class_table(scores)
    np.testing.assert_array_equal(table["precision"], [1, 0, np.nan])
    np.testing.assert_array_equal(table["recall"], [0.5, np.nan, np.nan])
    assert np.isnan(table["mcc"]).all()


def test_equal_probabilities_choose_the_first_class() -> None:
    scores = decide("multiclass", np.full((1, 4), 0.25), one_hot(np.array([2]), 4))
    assert scores.chosen.tolist() == [[True, False, False, False]]


def test_certainty_in_error_costs_a_finite_loss() -> None:
    scores = decide("multiclass", np.array([[1.0, 0.0]]), one_hot(np.array([1]), 2))
    loss = METRICS["multiclass"]["log_loss"](scores, np.ones((1, 1)))
    np.testing.assert_allclose(loss, -np.log(np.finfo(np.float32).eps))


def test_a_bin_includes_its_upper_edge() -> None:
    edges = np.array([0.0, 0.05, 0.5, 0.51, 1.0])
    assert metrics.confidence_bin(edges).tolist() == [0, 0, 4, 5, 9]


def test_ece_of_a_calibrated_model_is_zero() -> None:
    p = np.tile([0.75, 0.25], (8, 1))
    scores = decide("multiclass", p, one_hot(np.array([0, 0, 0, 1] * 2), 2))
    np.testing.assert_allclose(metrics.ece(scores, np.ones((1, 8))), 0, atol=1e-12)


# --- Thresholds ---


def test_thresholds_by_hand() -> None:
    p = np.array([[0.9, 0.3, 0.7], [0.2, 0.2, 0.7], [0.1, 0.1, 0.7]])
    truth = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0]], bool)
    np.testing.assert_allclose(choose_thresholds(p, truth), [0.55, 0.15, 0.5])  # the last: no threshold helps


def test_of_equally_good_thresholds_the_nearest_to_one_half_wins() -> None:
    p, truth = np.array([[0.9], [0.8], [0.4], [0.2]]), np.array([[1], [0], [1], [0]], bool)
    np.testing.assert_allclose(choose_thresholds(p, truth), [0.3])  # 0.85 has the same MCC


def test_reaching_the_threshold_is_enough() -> None:
    truth = np.array([[True, True]])
    assert decide("multilabel", np.array([[0.5, 0.49]]), truth).chosen.tolist() == [[True, False]]
    chosen = decide("multilabel", np.array([[0.25, 0.5]]), truth, np.array([0.25, 0.75])).chosen
    assert chosen.tolist() == [[True, False]]


@pytest.mark.parametrize("share", [0, 1])
def test_a_label_with_one_outcome_keeps_one_half(share: int) -> None:
    assert choose_thresholds(np.array([[0.1], [0.9]]), np.full((2, 1), share, bool)).tolist() == [0.5]
    assert choose_thresholds(np.empty((0, 2)), np.empty((0, 2), bool)).tolist() == [0.5, 0.5]


@fast
@given(case=weighted("multilabel"))
def test_no_threshold_does_better(case: tuple[Scores, np.ndarray]) -> None:
    scores, _ = case
    cuts = choose_thresholds(scores.p, scores.truth)
    for k, cut in enumerate(cuts):
        y, p = scores.truth[:, k], scores.p[:, k]
        grid = np.linspace(0, 1.1, 23) if 0 < y.mean() < 1 else []
        best = max((sk.matthews_corrcoef(y, p >= other) for other in grid), default=0)
        if best > 0:
            assert sk.matthews_corrcoef(y, p >= cut) == pytest.approx(best)
        else:
            assert cut == 0.5


def test_an_evaluation_imports_no_heavy_libraries() -> None:
    code = (
        "import sys, numpy as np; from unrolled import evaluate, metrics; "
        "evaluate.point(metrics.decide('multiclass', np.eye(2), np.eye(2) > 0)); "
        "print({'sklearn', 'scipy', 'torch', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_areas_of_two_classes_are_what_others_call_auroc_and_auprc_of_the_positive_class() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(0)
    died = rng.random(300) < 0.14
    p = np.clip(0.2 + 0.2 * died + rng.normal(0, 0.15, 300), 0.001, 0.999).round(2)
    scores = decide("multiclass", np.stack([p, 1 - p], axis=1), np.stack([died, ~died], axis=1))
    table, all_once = metrics.class_table(scores), np.ones((1, 300))
    assert metrics.auroc(scores, all_once)[0] == pytest.approx(roc_auc_score(died, p))
    np.testing.assert_allclose(table["auroc"], roc_auc_score(died, p))
    np.testing.assert_allclose(
        table["auprc"], [average_precision_score(died, p), average_precision_score(~died, 1 - p)]
    )
    assert metrics.auprc(scores, all_once)[0] == pytest.approx(table["auprc"].mean())
