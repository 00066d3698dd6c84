"""Gradient boosting on summaries: the summaries by hand, the contract of a baseline, nothing drawn at random."""

import numpy as np
import pytest

from series_fixture import stays
from unrolled.boosting import SUMMARIES, Boosting, summaries
from unrolled.series import Series

NAN = float("nan")


def test_summaries_are_what_their_names_say():
    one = Series(
        ("HR", "pH", "once", "never"),
        np.array([0.0, 1.0, 4.0]),
        np.array([[80, NAN, NAN, NAN], [NAN, 7.1, 5, NAN], [92, 7.4, NAN, NAN]]),
    )
    table = dict(zip(SUMMARIES, summaries([one])[0, :28].reshape(7, 4).T[0], strict=True))
    assert table == {"count": 2, "mean": 86, "min": 80, "max": 92, "first": 80, "last": 92, "slope": 3}
    found = summaries([one])[0, :28].reshape(7, 4)
    assert found[:, 1].tolist() == pytest.approx([2, 7.25, 7.1, 7.4, 7.1, 7.4, 0.1])
    assert found[:6, 2].tolist() == [1, 5, 5, 5, 5, 5]
    assert np.isnan(found[6, 2])
    assert found[0, 3] == 0
    assert np.isnan(found[1:, 3]).all()
    assert summaries([one])[0, 28:].tolist() == [3, 4]


def test_the_slope_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    times, values = np.cumsum(rng.random(30)), rng.normal(size=30)
    found = summaries([Series(("x",), times, values[:, None])])[0, 6]
    assert found == pytest.approx(np.polyfit(times, values, 1)[0])


def one_hot(targets) -> np.ndarray:
    return np.stack([targets == "ill", targets == "well"], axis=1).astype(np.uint8)


def parts(task: str):
    table = stays(200)
    y = one_hot(table["target"]) if task != "regression" else np.array([[s.values[0, 0]] for s in table["sequence"]])
    found = table["sequence"].tolist()
    return found[:120], y[:120], found[120:160], y[120:160], found[160:], y[160:]


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_it_learns_and_gives_the_same_numbers_again(task):
    *given, tested, truth = parts(task)
    answers = []
    for _ in range(2):
        model = Boosting(task)
        model.fit(*given)
        answers.append(model.predict(tested))
    np.testing.assert_array_equal(*answers)
    assert answers[0].shape == truth.shape
    assert model.parameters > 0
    if task == "regression":
        assert np.corrcoef(answers[0][:, 0], truth[:, 0])[0, 1] > 0.8
    else:
        assert ((answers[0] > 0.5) == truth).mean() > 0.9


def test_a_class_that_training_lacks_is_never_likely():
    found, y, *rest = parts("multiclass")
    wider = [np.c_[target, np.zeros(len(target), dtype=np.uint8)] for target in (y, rest[1])]
    model = Boosting("multiclass")
    model.fit(found, wider[0], rest[0], wider[1])
    p = model.predict(rest[2])
    assert (p[:, 2] == 0).all()
    assert p.sum(axis=1) == pytest.approx(np.ones(len(p)))


def test_the_rounds_are_those_of_the_lowest_loss_on_the_validation_fold():
    train, y, validation, y_validation, *_ = parts("multiclass")
    model = Boosting("multiclass")
    model.fit(train, y, validation, 1 - y_validation)  # nothing true can be learned of that
    assert model.rounds == 1
