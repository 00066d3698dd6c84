"""Numeric series: what the table refuses, that it keeps every number, and what a network reads of them."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import inputs, series, shortening
from unrolled import table as tables
from unrolled.errors import UnrolledError
from unrolled.series import Scaling, Series
from unrolled.tasks import named

CARD = {"title": "T", "task": "multiclass", "alphabet": "numeric", "variables": ["HR", "pH"], "time": {"unit": "h"}}
NAN = float("nan")


def one(times, values, variables=("HR", "pH")) -> Series:
    found = np.array(values, dtype=float).reshape(len(times), np.shape(values)[-1] or len(variables))
    return Series(variables, np.array(times, dtype=float), found)


PLAIN = one([0, 1, 4], [[80, NAN], [NAN, 7.4], [90, NAN]])


@st.composite
def a_series(draw, d: int = 2):
    gaps = draw(st.lists(st.floats(0.01, 50), min_size=1, max_size=8))
    numbers = st.one_of(st.just(NAN), st.floats(-1e6, 1e6))
    values = draw(st.lists(st.lists(numbers, min_size=d, max_size=d), min_size=len(gaps), max_size=len(gaps)))
    return one(np.cumsum(gaps), values)


def a_table(*found: Series) -> pd.DataFrame:
    names = [f"s{i}" for i in range(len(found))]
    frame = pd.DataFrame(
        {"id": names, "target": ["A", "B"] * (len(found) // 2) + ["A"] * (len(found) % 2)}, dtype="str"
    )
    frame.insert(1, "sequence", pd.Series(list(found), dtype=object))
    return frame


@given(found=st.lists(a_series(), min_size=1, max_size=5))
@settings(max_examples=40)
def test_a_table_keeps_every_number_and_gap_whatever_the_order_of_its_rows(tmp_path_factory, found):
    folder = tmp_path_factory.mktemp("t")
    tables.write(folder / "a.parquet", a_table(*found))
    tables.write(folder / "b.parquet", a_table(*found).iloc[::-1])
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
    back = tables.read(folder / "a.parquet")
    assert back.columns.tolist() == ["id", "sequence", "target"]
    assert back["sequence"].tolist() == found
    tables.check(back, named("multiclass"), inputs.of(CARD))


def test_on_disk_a_variable_is_a_column_with_nulls_where_nothing_was_measured(tmp_path):
    tables.write(tmp_path / "t.parquet", a_table(PLAIN))
    stored = pq.read_table(tmp_path / "t.parquet").to_pydict()
    assert stored["time"] == [[0, 1, 4]]
    assert stored["x:HR"] == [[80, None, 90]]
    assert stored["x:pH"] == [[None, 7.4, None]]


def test_a_table_with_lists_of_unequal_length_is_refused(tmp_path):
    tables.write(tmp_path / "t.parquet", a_table(PLAIN))
    stored = pq.read_table(tmp_path / "t.parquet")
    at = stored.column_names.index("x:pH")
    pq.write_table(stored.set_column(at, "x:pH", [[[7.4]]]), tmp_path / "t.parquet")
    with pytest.raises(UnrolledError, match=r"t\.parquet: lists not as long as `time`.*\n  x:pH"):
        tables.read(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (one([], []), r"empty series.*\n  's0' \(f\.csv:7\)"),
        (one([0, NAN], [[1, 2], [3, 4]]), "'s0' .*: a time is not finite"),
        (one([0, 2, 1], [[1, 2], [3, 4], [5, 6]]), "'s0' .*: time 1 comes after 2"),
        (one([0, 0], [[1, 2], [3, 4]]), "'s0' .*: time 0 comes after 0"),
        (one([0, 3], [[1, 2], [3, np.inf]]), "'s0' .*: pH at 3 is infinite"),
        (one([0, 3], [[1], [3]]), r"ragged series.*\n  's0' .*: values \(2, 1\)"),
        (one([0], [[1]], ("HR",)), "series of other variables than the card's .*\n.*\nThe card's are: HR, pH"),
        (one([0], [[1, 2]], ("pH", "HR")), "series of other variables"),
    ],
)
def test_check_says_what_is_wrong_and_where(bad, message):
    with pytest.raises(UnrolledError, match=message):
        tables.check(a_table(bad, PLAIN), named("multiclass"), inputs.of(CARD), pd.Series(["f.csv:7", "f.csv:9"]))


def test_letters_among_series_are_refused():
    mixed = a_table(PLAIN, PLAIN)
    mixed["sequence"] = pd.Series([PLAIN, "MKV"], dtype=object)
    with pytest.raises(UnrolledError, match=r"columns not of text.*\n  sequence"):
        tables.check(mixed, named("multiclass"), inputs.of(CARD))


def test_a_variable_that_was_never_measured_is_allowed_and_stated():
    table = a_table(one([0, 1], [[80, NAN], [81, NAN]]))
    tables.check(table, named("multiclass"), inputs.of(CARD))
    said = tables.summary(table, pd.DataFrame({"reason": []}, dtype="str"), CARD, "x")
    assert said["unmeasured"] == ["pH"]
    assert said["measured"] == {"HR": 1.0, "pH": 0.0}
    assert said["unit"] == "steps"
    assert said["time"] == {"min": 0.0, "max": 1.0}
    assert said["time_unit"] == "h"


def test_equal_series_are_those_with_the_same_names_times_values_and_gaps():
    same = one([0, 1, 4], [[80, NAN], [NAN, 7.4], [90, NAN]])
    assert same == PLAIN
    assert hash(same) == hash(PLAIN)
    assert one([0.0], [[0.0, NAN]]) == one([-0.0], [[-0.0, -NAN]])
    others = [
        one([0, 1, 5], PLAIN.values),
        one([0, 1, 4], np.nan_to_num(PLAIN.values)),
        one([0, 1, 4], PLAIN.values, ("HR", "PH")),
        PLAIN.ends(2, 0),
    ]
    assert PLAIN not in others


@pytest.mark.parametrize(("kept", "times"), [("first", [0, 1]), ("last", [1, 4]), ("ends", [0, 4])])
def test_long_series_keep_the_steps_that_the_card_names(kept, times):
    assert shortening.shorten(PLAIN, 2, kept).times.tolist() == times
    assert shortening.shorten(PLAIN, 3, kept) is PLAIN


# --- What a network reads ---


def by_hand(found: Series, scale: Scaling) -> np.ndarray:
    """[x, m, delta] step by step, as Che et al. (2018) define them."""
    rows, d = [], len(found.variables)
    last, delta, m = np.zeros(d), np.zeros(d), np.zeros(d)
    for t in range(len(found)):
        if t:
            passed = found.times[t] - found.times[t - 1]
            delta = np.array([passed + (0 if m[k] else delta[k]) for k in range(d)])
        m = np.isfinite(found.values[t]).astype(float)
        for k in range(d):
            if m[k]:
                last[k] = np.clip((found.values[t, k] - scale.mean[k]) / (scale.deviation[k] or np.inf), -5, 5)
        rows.append(np.concatenate([last, m, delta / np.where(scale.gap, scale.gap, 1)]))
    return np.array(rows)


@given(found=st.lists(a_series(), min_size=1, max_size=4))
@settings(max_examples=60)
def test_steps_are_those_of_the_paper(found):
    scale = Scaling.of(found)
    for each in found:
        steps = scale.encode(each)
        assert steps.dtype == np.float32
        np.testing.assert_allclose(steps, by_hand(each, scale), rtol=1e-4, atol=1e-4)


def test_scaling_makes_mean_0_variance_1_and_mean_gap_1_of_what_was_measured():
    rng = np.random.default_rng(0)
    found = [
        one(
            np.cumsum(rng.exponential(2, 50)),
            np.where(rng.random((50, 2)) < 0.4, NAN, rng.normal([80, 7], [9, 0.1], (50, 2))),
        )
        for _ in range(20)
    ]
    steps = np.concatenate([Scaling.of(found).encode(each) for each in found])
    x, m, delta = steps[:, :2], steps[:, 2:4] == 1, steps[:, 4:]
    for k in range(2):
        assert x[m[:, k], k].mean() == pytest.approx(0, abs=1e-4)
        assert x[m[:, k], k].std() == pytest.approx(1, abs=1e-4)
    assert delta.mean(axis=0) == pytest.approx([1, 1], abs=1e-4)


def test_what_training_never_measured_or_never_saw_vary_is_finite():
    scale = Scaling.of([one([0, 1], [[80, NAN], [80, NAN]]), one([0], [[80, NAN]])])
    assert scale.deviation.tolist() == [0, 0]
    assert scale.count.tolist() == [3, 0]
    assert scale.mean.tolist() == [80, 0]
    steps = scale.encode(one([0, 2], [[81, 4.4], [NAN, NAN]]))
    assert np.isfinite(steps).all()
    assert steps.tolist() == scale.encode(one([0, 2], [[80, NAN], [NAN, NAN]])).tolist()
    assert steps[:, :4].tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]
    assert Scaling.recall(scale.facts).encode(one([0], [[81, 4.4]])).tolist() == [[0, 0, 1, 0, 0, 0]]


def test_what_never_varies_never_varies_whatever_is_lost_by_rounding():
    scale = Scaling.of([one([0, 1, 2], [[0.1, NAN], [0.1, 0.3], [0.1, 0.3]])])
    assert scale.mean.tolist() == [0.1, 0.3]
    assert scale.deviation.tolist() == [0, 0]
    assert scale.encode(one([0], [[0.11, 0.3]]))[0, :2].tolist() == [0, 0]


def test_errors_of_writing_down_are_cut_where_networks_read():
    scale = Scaling.of([one([0, 1], [[79, 7.3], [81, 7.5]])])
    assert scale.encode(one([0], [[1e9, -73]]))[0, :2].tolist() == [5, -5]


def test_one_step_is_enough_for_everything():
    scale = Scaling.of([one([3], [[80, 7.4]])])
    assert scale.encode(one([3], [[80, NAN]])).tolist() == [[0, 0, 1, 0, 0, 0]]


def test_a_scaling_is_what_its_facts_say(tmp_path):
    scale = Scaling.of([PLAIN, one([0, 1], [[3, 4], [5, 7]])])
    again = Scaling.recall(scale.facts)
    assert again.encode(PLAIN).tolist() == scale.encode(PLAIN).tolist()
    assert scale.sizes == {"vocabulary": 0, "variables": 2}


def test_other_variables_are_refused():
    with pytest.raises(UnrolledError, match="the variables are pH, HR, not HR, pH"):
        Scaling.of([PLAIN]).encode(one([0], [[1, 2]], ("pH", "HR")))


def test_letters_cannot_be_asked_of_numbers():
    with pytest.raises(UnrolledError, match="no letters that could be aligned"):
        inputs.alphabet(CARD)
    assert inputs.alphabet({"alphabet": "dna"}).name == "dna"
    with pytest.raises(UnrolledError, match="alphabet 'greek' is unknown"):
        inputs.of({"alphabet": "greek"})


def test_facts_count_what_was_merged():
    merged = Series(("HR", "pH"), np.array([0.0]), np.array([[1.0, 2.0]]), merged=3)
    assert series.facts([merged, PLAIN])["merged"] == 3
