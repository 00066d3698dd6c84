"""The canonical table: what it refuses, and that equal rows give an equal file, sample and numbers."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled import inputs
from unrolled import table as tables
from unrolled.errors import UnrolledError
from unrolled.tasks import named

CARD = {"title": "T", "task": "multilabel", "alphabet": "protein", "licence": "CC0", "citation": "nobody"}

PROTEIN = inputs.of(CARD)


def frame(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["id", "sequence", "target"], dtype="str")


GOOD = frame(("b", "MKV", "Golgi|Nucleus"), ("a", "MKVX", "Nucleus"), ("c", "MU", "Cytoplasm"))


def labelled(targets: list[str]) -> pd.DataFrame:
    return frame(*((f"p{n:04d}", "M", target) for n, target in enumerate(targets)))


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_good_table_passes(task: str):
    tables.check(GOOD, named(task), PROTEIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "a"}, "ids that occur twice"),
        ({"id": ""}, "empty ids"),
        ({"id": "b\tb"}, "ids with control"),
        ({"id": "b\u200b"}, "ids with control"),
        ({"sequence": ""}, "empty sequences"),
        ({"sequence": "MKv"}, "letters outside the protein alphabet"),
        ({"target": ""}, "without a label"),
        ({"target": "A||B"}, "empty labels"),
        ({"target": "A|"}, "empty labels"),
        ({"target": "B|A"}, "not sorted or not unique"),
        ({"target": "A|A"}, "not sorted or not unique"),
        ({"target": "A\nB"}, "labels with control"),
    ],
)
def test_faults_are_refused_with_id_and_place(change: dict[str, str], message: str):
    table = GOOD.copy()
    table.loc[0, list(change)] = list(change.values())
    where = pd.Series(["x.csv:2", "x.csv:3", "x.csv:4"])
    with pytest.raises(UnrolledError, match=message) as error:
        tables.check(table, named("multilabel"), PROTEIN, where)
    assert f"{table.loc[0, 'id']!r} (x.csv:2)" in str(error.value)
    with pytest.raises(UnrolledError, match=message):
        tables.check(table, named("multilabel"), PROTEIN)


def test_an_illegal_letter_is_named_with_its_position():
    with pytest.raises(UnrolledError, match=r"'z': letter '-' at position 3"):
        tables.check(frame(("z", "MK-V", "A")), named("multiclass"), PROTEIN)


def test_only_five_offenders_are_shown_and_all_counted():
    table = frame(*((f"p{n}", "M-", "A") for n in range(12)))
    with pytest.raises(UnrolledError, match=r"\(12 in all\)") as error:
        tables.check(table, named("multiclass"), PROTEIN)
    assert "'p4'" in str(error.value)
    assert "'p5'" not in str(error.value)
    assert "... and 7 more" in str(error.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (GOOD.drop(columns="target"), "missing columns"),
        (GOOD.assign(fold=[1, 2, 3]), "not of text"),
        (GOOD.assign(kingdom=["x", None, "y"]), "missing values"),
    ],
)
def test_columns_must_be_text_and_present(table: pd.DataFrame, message: str):
    with pytest.raises(UnrolledError, match=message):
        tables.check(table, named("multiclass"), PROTEIN)


def test_unknown_task():
    with pytest.raises(UnrolledError, match="multiclass or multilabel"):
        named("clustering")


def test_written_and_read_back(tmp_path: Path):
    table = GOOD.assign(kingdom=["Fungi", "", "NA"])
    tables.write(tmp_path / "t.parquet", table)
    back = tables.read(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(back, table.sort_values("id", ignore_index=True))
    tables.check(back, named("multilabel"), PROTEIN)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_bytes_do_not_depend_on_the_order_of_rows(tmp_path: Path):
    tables.write(tmp_path / "a.parquet", GOOD)
    tables.write(tmp_path / "b.parquet", pd.concat([GOOD.iloc[2:], GOOD.iloc[:1], GOOD.iloc[1:2]]))
    tables.write(tmp_path / "c.parquet", GOOD.astype(object))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    pd.testing.assert_frame_equal(tables.read(tmp_path / "c.parquet"), tables.read(tmp_path / "a.parquet"))


def test_bytes_do_not_depend_on_chunks_or_on_the_version_of_pandas(tmp_path: Path):
    table = frame(*((f"p{n:04d}", "MKV" * 200 + "ACDE"[n % 4] * (n % 997), f"class {n}") for n in range(3000)))
    tables.write(tmp_path / "a.parquet", table)
    tables.write(tmp_path / "b.parquet", pd.concat([table[:1000], table[1000:]]))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert not pq.read_schema(tmp_path / "a.parquet").metadata


def test_read_errors(tmp_path: Path):
    with pytest.raises(UnrolledError, match="unrolled table"):
        tables.read(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("id,sequence")
    with pytest.raises(UnrolledError, match="not a table"):
        tables.read(tmp_path / "text.parquet")
    tables.write(tmp_path / "t.parquet", GOOD.drop(columns="target"))
    with pytest.raises(UnrolledError, match="missing columns"):
        tables.read(tmp_path / "t.parquet")


def test_summary_is_plain_json():
    reasons = ["short", "short", f"{tables.UNUSED}odd"]
    excluded = pd.DataFrame({"id": ["x", "y", "z"], "reason": reasons, "where": ["", "", ""]})
    facts = tables.summary(GOOD, excluded, CARD | {"max_length": 3}, "demo")
    assert json.loads(json.dumps(facts)) == {
        "data": "demo",
        "title": "T",
        "task": "multilabel",
        "alphabet": "protein",
        "n": 3,
        "excluded": {"short": 2},
        "unused": {"odd": 1},
        "classes": {"Cytoplasm": 1, "Golgi": 1, "Nucleus": 2},
        "labels_per_sequence": 4 / 3,
        "length": {"min": 2, "median": 3.0, "max": 4},
        "max_length": 3,
        "n_longer": 1,
        "unit": "residues",
        "kept": "ends",
        "licence": "CC0",
        "citation": "nobody",
    }
    assert tables.summary(GOOD, excluded, CARD, "demo")["max_length"] is None


@given(st.lists(st.sampled_from(["A", "B", "B|C", "C|D", "A|D"]), min_size=6, max_size=60), st.data())
def test_sample_has_the_asked_size_and_ignores_the_order_of_rows(targets: list[str], data: st.DataObject):
    table = labelled(targets)
    n = data.draw(st.integers(5, len(table)))
    shuffled = table.iloc[data.draw(st.permutations(range(len(table))))]
    chosen = tables.sample(table, "multilabel", n, seed=1)
    again = tables.sample(shuffled, "multilabel", n, seed=1)
    assert chosen.sum() == n
    assert set(table["id"][chosen]) == set(shuffled["id"][again])


@given(st.lists(st.integers(1, 200), min_size=1, max_size=6), st.data())
def test_sample_is_proportional_and_leaves_no_class_out(sizes: list[int], data: st.DataObject):
    targets = [f"class {k}" for k, size in enumerate(sizes) for _ in range(size)]
    n = data.draw(st.integers(len(sizes), len(targets)))
    table = labelled(targets)
    count = Counter(table["target"][tables.sample(table, "multiclass", n, seed=0)])
    for k, size in enumerate(sizes):
        share = n * size / len(targets)
        assert 1 <= count[f"class {k}"] <= size
        assert abs(count[f"class {k}"] - share) < len(sizes)  # rounding, and one for each of the smallest classes


def test_a_multilabel_row_counts_for_its_rarest_label():
    table = labelled(["A|R"] * 10 + ["A"] * 90)
    targets = table["target"][tables.sample(table, "multilabel", 20, seed=0)]
    assert Counter(targets) == {"A|R": 2, "A": 18}


def test_the_smallest_class_is_kept():
    table = labelled(["A"] * 98 + ["B"] * 2)
    assert Counter(table["target"][tables.sample(table, "multiclass", 3, seed=0)]) == {"A": 2, "B": 1}


def test_the_seed_changes_the_sample_and_samples_nest():
    table = labelled(["A"] * 100)
    small, other = (tables.sample(table, "multiclass", 30, seed) for seed in (0, 1))
    large = tables.sample(table, "multiclass", 60, 0)
    assert (small != other).any()
    assert large[small].all()


@pytest.mark.parametrize("n", [1, 11])
def test_impossible_samples_are_refused(n: int):
    with pytest.raises(UnrolledError, match=r"choose from 2 \(one per class\) to 10"):
        tables.sample(labelled(["A", "B"] * 5), "multiclass", n, seed=0)
