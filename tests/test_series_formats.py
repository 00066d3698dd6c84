"""Raw files of numbers: wide, long by value and by step; whatever is wrong is named with its file and line."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from unrolled import archives, formats
from unrolled import table as tables
from unrolled.cards import read_yaml
from unrolled.errors import UnrolledError
from unrolled.formats import read

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
NAN = float("nan")
BARE = {
    **{"title": "T", "task": "multiclass", "alphabet": "numeric", "format": "wide", "variables": ["ECG"]},
    **{"delimiter": " ", "columns": {"target": 1}},
}
NAMED = BARE | {"delimiter": ",", "columns": {"id": "beat", "target": "kind"}, "keep": ["who"]}
VALUES = {
    **{"title": "T", "task": "multiclass", "alphabet": "numeric", "format": "long", "variables": ["HR", "pH"]},
    **{"columns": {"id": "stay", "time": "t", "variable": "what", "value": "much", "target": "end"}},
    **{"time": {"unit": "h"}},
}
STEPS = VALUES | {"columns": {"id": "stay", "time": "t", "target": "end"}}


def file(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def rows(card: dict, folder: Path, text: str, name: str = "x.csv") -> dict:
    """Series by id."""
    table, _ = read(card, "demo", [file(folder, name, text)])
    return dict(zip(table["id"], table["sequence"], strict=True))


def same(found, times, values) -> None:
    np.testing.assert_array_equal(found.times, times)
    np.testing.assert_array_equal(found.values, values)


def test_wide_rows_without_a_header_are_read_by_position(tmp_path):
    text = "  1.0000e+00  -1.5  2e-1   3\n\n2 0 NaN  1\n"
    table, _ = read(BARE, "demo", [file(tmp_path, "BEATS_TRAIN.txt", text)])
    assert table["id"].tolist() == ["BEATS_TRAIN-1", "BEATS_TRAIN-3"]
    assert table["target"].tolist() == ["1", "2"]
    same(table["sequence"][0], [0, 1, 2], [[-1.5], [0.2], [3]])
    same(table["sequence"][1], [0, 1, 2], [[0], [NAN], [1]])


def test_a_label_for_every_step_is_no_number(tmp_path):
    table, _ = read(BARE | {"task": "labelling"}, "demo", [file(tmp_path, "x.txt", "0011 1 2 3 4\n1e-0 1 2 3 4\n")])
    assert table["target"].tolist() == ["0011", "1e-0"]


def test_wide_rows_with_a_header_keep_ids_and_columns_and_end_where_values_do(tmp_path):
    text = "who,beat,t0,t1,t2,kind\np1,b,1,2,3,A\np2,a,4,5,NA,B\n"
    table, _ = read(NAMED, "demo", [file(tmp_path, "x.csv", text)])
    assert table[["id", "target", "who"]].to_numpy().tolist() == [["a", "B", "p2"], ["b", "A", "p1"]]
    same(table["sequence"][0], [0, 1], [[4], [5]])


def test_ids_are_kept_as_they_are_written(tmp_path):
    card = BARE | {"columns": {"id": 1, "target": 2}}
    table, _ = read(card, "demo", [file(tmp_path, "x.txt", "007 1.0e0 1 2\n9007199254740993 2 3 4\n")])
    assert table[["id", "target"]].to_numpy().tolist() == [["007", "1"], ["9007199254740993", "2"]]


def test_labels_get_the_names_of_the_card(tmp_path):
    table, _ = read(BARE | {"names": {1: "normal"}}, "demo", [file(tmp_path, "x.txt", "1.0 1 2\n2.0 3 4\n")])
    assert table["target"].tolist() == ["normal", "2"]


LONG = "stay,t,what,much,end\ns1,00:30,HR,80,A\ns2,1,pH,7.4,B\ns1,02:00,pH,7.3,A\ns1,00:30,pH,7.1,A\ns1,2,HR,-1,A\n"


def test_long_rows_may_come_in_any_order_and_a_time_without_a_value_is_no_step(tmp_path):
    found = rows(VALUES | {"missing": [-1]}, tmp_path, LONG + "s1,3,HR,-1,A\n")
    same(found["s1"], [0.5, 2], [[80, 7.1], [NAN, 7.3]])
    same(found["s2"], [1], [[NAN, 7.4]])


def test_long_rows_by_step_are_the_same(tmp_path):
    text = "stay,HR,t,pH,end\ns1,,2,7.3,A\ns2,,1,7.4,B\ns1,80,0.5,7.1,A\ns1,,3,NA,A\n"
    assert rows(STEPS, tmp_path, text) == rows(VALUES | {"missing": [-1]}, tmp_path, LONG)


@pytest.mark.parametrize(("rule", "value"), [("mean", 4.0), ("first", 2.0), ("last", 7.0)])
def test_several_values_of_a_variable_at_one_time_become_one(tmp_path, rule, value):
    text = "stay,t,what,much,end\n" + "".join(f"s,1,HR,{x},A\n" for x in (2, 3, 7)) + "s,1,pH,7,A\n"
    (found,) = rows(VALUES | {"repeated": rule}, tmp_path, text).values()
    same(found, [1], [[value, 7]])
    assert found.merged == 2


@pytest.mark.parametrize(("rule", "value"), [("mean", 2.0), ("first", 1.0), ("last", 3.0)])
def test_bins_hold_what_was_measured_in_them_in_the_order_of_time(tmp_path, rule, value):
    text = "stay,t,what,much,end\ns,1.9,HR,3,A\ns,1.1,HR,1,A\ns,0,HR,9,A\ns,3.5,pH,7,A\n"
    card = VALUES | {"repeated": rule, "time": {"unit": "h", "bin": 1}}
    (found,) = rows(card, tmp_path, text).values()
    same(found, [0, 1, 3], [[9, NAN], [value, NAN], [NAN, 7]])


def test_a_time_at_the_start_of_a_bin_is_in_it_whatever_is_lost_by_rounding(tmp_path):
    times = [f"00:{minute:02}" for minute in range(0, 60, 6)]  # 0.3 / 0.1 is a little less than 3
    text = "stay,t,what,much,end\n" + "".join(f"s,{time},HR,{i},A\n" for i, time in enumerate(times))
    (found,) = rows(VALUES | {"time": {"unit": "h", "bin": 0.1}}, tmp_path, text).values()
    assert found.times.tolist() == pytest.approx([i / 10 for i in range(10)])
    assert found.values[:, 0].tolist() == list(range(10))


def test_clock_times_are_read_in_the_unit_of_the_card(tmp_path):
    clock = ("-01:30", "-00:30", "00:07", "01:00:30", "47:30")
    text = "stay,t,what,much,end\n" + "".join(f"s,{time},HR,1,A\n" for time in clock)
    minutes = np.array([-90, -30, 7, 60.5, 2850])
    for unit, times in (("h", minutes / 60), ("min", minutes), ("s", minutes * 60)):
        (found,) = rows(VALUES | {"time": {"unit": unit}}, tmp_path, text).values()
        assert found.times.tolist() == pytest.approx(times, abs=1e-8)


HEAD = "stay,t,what,much,end\ns,0,HR,1,A\n"


@pytest.mark.parametrize(
    ("card", "text", "message"),
    [
        (BARE, "1 2 3\n1 2\n", r"x\.csv:2: 2 fields, the first row has 3.*fill the end of short rows with NaN"),
        (BARE, "1 2 3\n1 inf 3\n", r"no finite numbers.*\n  .*x\.csv:2: 'inf'"),
        (BARE, "1 2 3\n1 x 3\n", r"x\.csv:2: 'x'"),
        (BARE, "1 2 3\n1 NaN NaN\n", r"empty series.*\n  'x-2' \(.*x\.csv:2\)"),
        (BARE | {"columns": {"target": 9}}, "1 2 3\n", r"x\.csv:1: 3 fields.*name \{'target': 9\}"),
        (NAMED, "who,beat,t0\np,b,1\n", "sequences without a label"),
        (NAMED, "who,t0,kind\np,1,A\n", r"x\.csv:1: missing columns.*\n  beat"),
        (VALUES, HEAD + "s,1,Na,140,A\n", r"x\.csv:3: there is no variable 'Na'\nThe variables are: HR, pH\."),
        (VALUES, HEAD + "s,1,HR,fast,A\n", r"x\.csv:3: HR is 'fast'"),
        (VALUES, HEAD + "s,1,HR,inf,A\n", r"x\.csv:3: HR is 'inf'"),
        (VALUES, HEAD + "s,noon,HR,1,A\n", r"x\.csv:3: the time 'noon' is no number nor HH:MM"),
        (VALUES, HEAD + "s,01:75,HR,1,A\n", r"x\.csv:3: the time '01:75' is no number"),
        (VALUES, HEAD + "s,1,HR,1,B\n", r"x\.csv:3: \{'target': 'B'\} of 's', but \{'target': 'A'\} at .*x\.csv:2"),
        (VALUES, HEAD + "r,1,HR,NA,A\n", r"empty series.*\n  'r' \(.*x\.csv:3\)"),
        (VALUES, "stay,t,what,end\n", r"x\.csv:1: missing columns.*\n  much"),
        (STEPS, "stay,t,HR,end\ns,0,1,A\n", r"x\.csv:1: missing columns.*\n  pH"),
        (VALUES | {"keep": ["time"]}, HEAD, "`keep` names columns that every table has"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path, card, text, message):
    with pytest.raises(UnrolledError, match=message):
        read(card, "demo", [file(tmp_path, "x.csv", text)])


def test_parameters_to_ignore_are_no_variables(tmp_path):
    (found,) = rows(VALUES | {"ignore": ["Id"]}, tmp_path, HEAD + "s,1,Id,77,A\n").values()
    same(found, [0], [[1, NAN]])


# --- A file a series, in an archive, with the labels in a table ---

STAY = "Time,Parameter,Value\n00:00,Age,{age}\n00:00,Height,-1\n01:10,HR,{rate}\n"
CLINIC = {
    **{"title": "T", "task": "multiclass", "alphabet": "numeric", "format": "long"},
    **{"files": [{"name": "a.tar.gz", "url": "https://x.org/a", "members": "*/[0-9]*.txt"}, {"name": "out.txt"}]},
    **{"columns": {"time": "Time", "variable": "Parameter", "value": "Value"}, "time": {"unit": "h"}},
    **{"labels": {"name": "out.txt", "id": "Record", "target": "died"}, "keep": ["ward"]},
    **{"missing": [-1], "variables": ["Age", "Height", "HR"], "names": {0: "no", 1: "yes"}},
}


def clinic(folder: Path, names=("7", "12", "9")) -> list[Path]:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        for i, name in enumerate(names):
            data = STAY.format(age=50 + i, rate=70 + i).encode()
            info = tarfile.TarInfo(f"set/{name}.txt")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    out = "Record,ward,died\n" + "".join(f"{name},w{i % 2},{i % 2}\n" for i, name in enumerate(names))
    return [folder / "a.tar.gz", file(folder, "out.txt", out)]


def test_a_file_a_series_is_named_after_its_file_and_labelled_by_a_table(tmp_path):
    table, excluded = read(CLINIC, "demo", clinic(tmp_path))
    assert table[["id", "target", "ward"]].to_numpy().tolist() == [
        ["12", "yes", "w1"],
        ["7", "no", "w0"],
        ["9", "no", "w0"],
    ]
    same(table["sequence"][1], [0, 1 + 10 / 60], [[50, NAN, NAN], [NAN, NAN, 70]])
    assert excluded.empty
    said = tables.summary(table, excluded, CLINIC, "demo")
    assert said["unmeasured"] == ["Height"]


def test_an_archive_is_gone_through_about_once_however_many_members_are_read(tmp_path, monkeypatch):
    files = clinic(tmp_path, [f"{i:03}" for i in range(40)])
    passed = []

    def contents(archive, real=archives._contents):
        for item in real(archive):
            passed.append(item[0])
            yield item

    monkeypatch.setattr(archives, "_contents", contents)
    archives._walk.cache_clear()
    assert len(read(CLINIC, "demo", files)[0]) == 40
    assert len(passed) <= 2 * 40


def test_members_are_found_in_any_order_and_twice(tmp_path):
    archive = clinic(tmp_path)[0]
    for name in ("9", "7", "12", "12", "7"):
        assert archives.opened(archive / f"set/{name}.txt").read().startswith(b"Time,")
    with pytest.raises(FileNotFoundError):
        archives.opened(archive / "set/8.txt")


# --- Real data ---


def real(name: str, *files: str):
    card = read_yaml(ROOT / f"config/data/{name}.yaml")
    folder = SHARED / card.get("dataset", name)
    paths = [folder / one for one in files]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"needs the real data in {folder}")
    return card, *formats.read(card, name, paths)


def test_ecg5000_is_500_beats_of_140_samples():
    _, table, _ = real("ecg5000", "ECG5000_TRAIN.txt")
    assert table["sequence"].map(len).tolist() == [140] * 500
    assert sorted(table["target"].value_counts()) == [2, 10, 19, 177, 292]
    first = table.set_index("id")["sequence"]["ECG5000_TRAIN-1"].values[:, 0]
    assert first[:2].tolist() == [-0.11252183, -2.8272038]


@pytest.mark.slow
def test_physionet2012_is_4000_stays_of_which_554_died():
    card, table, excluded = real("physionet2012", "set-a.tar.gz", "Outcomes-a.txt")
    assert table["target"].value_counts().to_dict() == {"survived": 3446, "died": 554}
    assert excluded.empty
    said = tables.summary(table, excluded, card, "physionet2012")
    assert said["length"] == {"min": 1, "median": 70.0, "max": 202}
    assert said["merged"] == 3671
    assert said["unmeasured"] == []
    stay = table.set_index("id")["sequence"]["132539"]
    hour = dict(zip(stay.variables, stay.values[1], strict=True))
    assert stay.times[1] == pytest.approx(7 / 60)
    assert (hour["GCS"], hour["Urine"], hour["Temp"]) == (15, 900, 35.1)
    start = dict(zip(stay.variables, stay.values[0], strict=True))
    assert (start["Age"], start["ICUType"]) == (54, 4)
    assert np.isnan(start["Height"])
    assert (table["sequence"].map(lambda s: s.times[-1] == 0)).sum() == 3


@pytest.mark.slow
def test_the_length_of_3940_stays_is_known():
    _, table, excluded = real("physionet2012_stay", "set-a.tar.gz", "Outcomes-a.txt")
    days = table["target"].astype(int)
    assert (len(days), days.min(), days.median(), days.max()) == (3940, 1, 10, 154)
    assert excluded["reason"].value_counts().to_dict() == {"no label": 60}
