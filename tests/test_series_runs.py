"""Networks and baselines on series: the contract of every run, and that tested stays change nothing."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

from series_fixture import CARD, stays, write_long, write_stays
from test_train import DECK, QUICK, config_of, same, write_material
from unrolled import formats, questions, runs, train
from unrolled import table as tables
from unrolled.baselines import run as run_baseline
from unrolled.errors import UnrolledError
from unrolled.evaluate import evaluate
from unrolled.fitting import misfit
from unrolled.predict import predict
from unrolled.series import Scaling, Series

pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|exists and is not empty|LeafSpec)")

NEURAL = [n for n in DECK.names("model") if (c := DECK.card("model", n))["kind"] == "neural" and not misfit(c, CARD)]


def trained(folder, out, *changes, card=CARD):
    config = config_of(folder, out, *QUICK, *changes) | {"data": card}
    config["cell"] |= {"data": "stays", "split": "patient"}
    train.train(config)
    return out


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_stays(folder)
    return folder


def test_all_that_fits_series_is_tested():
    assert {"rnn", "lstm", "gru", "grud", "gru_mean", "gru_forward", "window", "transformer", "mingru"} <= set(NEURAL)
    assert "linear" not in NEURAL


@pytest.mark.parametrize("model", NEURAL)
def test_a_run_learns_and_hands_over_what_the_contract_says(material, tmp_path, model):
    out = trained(material, tmp_path / "run", f"model={model}", "train.max_epochs=8", "train.learning_rate=0.02")
    record = json.loads((out / "run.json").read_text())
    assert record["classes"] == ["ill", "well"]
    assert record["reading"]["variables"] == ["HR", "pH", "never"]
    assert (record["reading"]["count"][2], record["reading"]["deviation"][2]) == (0, 0)
    predictions = pd.read_parquet(out / "predictions.parquet").query("part == 'test'")
    right = (predictions["p:ill"] > 0.5) == (predictions["target"] == "ill")
    assert right.mean() > 0.8


@pytest.mark.parametrize("model", ["gru", "grud"])
def test_a_seed_decides_every_byte(material, tmp_path, model):
    one, two = (trained(material, tmp_path / name, f"model={model}") for name in ("one", "two"))
    assert same(one, two)


def test_validated_and_tested_stays_do_not_change_the_scale(tmp_path):
    table, found = stays(), []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        folds = write_stays(tmp_path / name, table)
        material = runs.load(tmp_path / name / "table.parquet", tmp_path / name / "folds.parquet", 0, CARD)
        found.append(material.reading.facts)
        for row in table.index[table["id"].isin(folds.loc[folds["fold"].isin([0, 1]), "id"])]:
            one = table.loc[row, "sequence"]
            table.at[row, "sequence"] = Series(one.variables, one.times * 3, one.values * -7 + 1e4)
    assert found[0] == found[1]


@pytest.mark.parametrize("model", ["grud", "boosting"])
def test_tested_stays_change_neither_scale_nor_parameters(tmp_path, model):
    """Every number of the test part is another one: what was fitted stays the same to the last bit."""
    table = stays()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    folds = write_stays(tmp_path / "one", table)
    tested = set(folds.loc[folds["fold"] == 0, "id"])
    for row in table.index[table["id"].isin(tested)]:
        one = table.loc[row, "sequence"]
        table.at[row, "sequence"] = Series(one.variables, one.times * 3, one.values * -7 + 1e4)
    write_stays(tmp_path / "two", table)
    fitted = [_fitted(tmp_path / name, model) for name in ("one", "two")]
    assert fitted[0][0] == fitted[1][0]
    pd.testing.assert_frame_equal(fitted[0][1], fitted[1][1])


def _fitted(folder, model):
    """What a run fitted, and its predictions of the validation part."""
    if model == "boosting":
        baseline(folder, folder / "run")
        kept = json.loads((folder / "run/run.json").read_text())["params"]
    else:
        trained(folder, folder / "run", f"model={model}")
        state = torch.load(folder / "run/checkpoints/best.ckpt", weights_only=True)["state_dict"]
        kept = json.loads((folder / "run/run.json").read_text())["reading"], {n: v.tolist() for n, v in state.items()}
    return kept, pd.read_parquet(folder / "run/predictions.parquet").query("part == 'validation'")


def baseline(folder, out, estimator="boosting"):
    run_baseline(
        **{
            "table": folder / "table.parquet",
            "folds": folder / "folds.parquet",
            "data_card": {"name": "stays", **CARD},
        },
        **{"model_card": {"name": estimator, "kind": "baseline", "estimator": estimator}, "split": "patient"},
        **{"fold": 0, "seed": 0, "wandb": {"mode": "disabled"}, "wandb_dir": out, "out": out},
    )


@pytest.mark.parametrize("estimator", ["majority", "boosting"])
def test_baselines_keep_the_contract(material, tmp_path, estimator):
    baseline(material, tmp_path, estimator)
    predictions = pd.read_parquet(tmp_path / "predictions.parquet").query("part == 'test'")
    right = (predictions["p:ill"] > 0.5) == (predictions["target"] == "ill")
    assert right.mean() > (0.9 if estimator == "boosting" else 0.4)


@pytest.mark.parametrize("model", ["gru", "grud", "boosting"])
def test_a_class_that_training_never_saw_is_scored_and_seldom_said(tmp_path, model):
    """It is in the test fold alone."""
    table = stays()
    folds = write_stays(tmp_path, table)
    rare = table.index[table["id"].isin(folds.loc[folds["fold"] == 0, "id"])][:6]
    table.loc[rare, "target"] = "rare"
    tables.write(tmp_path / "table.parquet", table)
    if model == "boosting":
        baseline(tmp_path, tmp_path / "run")
    else:
        trained(tmp_path, tmp_path / "run", f"model={model}", "train.max_epochs=8", "train.learning_rate=0.02")
    measured = evaluate(tmp_path / "run/predictions.parquet", tmp_path / "run/run.json")["metrics"]
    said = pd.read_parquet(tmp_path / "run/predictions.parquet").query("part == 'test'")
    assert (said["target"] == "rare").sum() == 6
    assert said["p:rare"].between(0, 1).all()
    assert said["p:rare"].mean() < 0.2
    assert math.isfinite(measured["log_loss"])
    assert 0 <= measured["macro_f1"] < 1


def test_windows_of_truncated_bptt_apply_to_series(material, tmp_path):
    """Gradients stop at the edges of windows: what is learned differs, unless a window holds every series."""
    longest = max(map(len, stays()["sequence"]))

    def learned(window):
        out = tmp_path / str(window)
        trained(material, out, "model=grud", f"model.network.encoder.window={window}")
        return torch.load(out / "checkpoints/best.ckpt", weights_only=True)["state_dict"]

    whole, same_window, short = learned(0), learned(longest), learned(3)
    torch.testing.assert_close(same_window, whole, rtol=0, atol=1e-6)
    assert any(not torch.allclose(short[name], whole[name], atol=1e-4) for name in whole)


@pytest.mark.parametrize("kept", ["first", "last", "ends"])
def test_long_series_keep_what_the_card_says(material, kept):
    card = CARD | {"max_length": 4, "kept": kept}
    whole = runs.load(material / "table.parquet", material / "folds.parquet", 0, CARD)
    cut = runs.load(material / "table.parquet", material / "folds.parquet", 0, card)
    assert cut.n_shortened == sum(len(s) > 4 for part in whole.parts.values() for s in part.sequences) > 0
    for before, after in zip(whole.parts["test"].sequences, cut.parts["test"].sequences, strict=True):
        T = len(before)
        rows = {"first": range(4), "last": range(T - 4, T), "ends": [0, 1, T - 2, T - 1]}[kept] if T > 4 else range(T)
        np.testing.assert_array_equal(after.values, before.values[list(rows)])


# --- Asking a trained network ---


@pytest.fixture(scope="module", params=["gru", "grud"])
def run(request, tmp_path_factory, material):
    return trained(material, tmp_path_factory.mktemp("run") / "run", f"model={request.param}", "train.max_epochs=1")


def asked(run, path):
    said = []
    predict(run, path, path.with_suffix(".out"), say=said.append)
    return pd.read_csv(path.with_suffix(".out"), keep_default_na=False, dtype={"prediction": str}), said


def test_the_answers_are_those_of_the_run(run, tmp_path):
    expected = pd.read_parquet(run / "predictions.parquet").query("part == 'test'").set_index("id")
    table = stays().set_index("id").loc[expected.index].reset_index()
    answers, said = asked(run, write_long(tmp_path / "new.csv", table))
    assert answers["id"].tolist() == expected.index.tolist()
    np.testing.assert_allclose(answers["p:ill"], expected["p:ill"], atol=6e-5)
    assert (answers["length"] == [np.isfinite(s.values).any(axis=1).sum() for s in table["sequence"]]).all()
    assert "nearest" not in answers
    assert (answers["far"] == 0).all()
    assert said == [f"{len(expected)} sequences"]


def test_readings_unlike_those_of_training_are_told(run, tmp_path):
    table = stays().head(30)
    for row, one in enumerate(table["sequence"]):
        table.at[row, "sequence"] = Series(one.variables, one.times, one.values * [1, 10 if row < 25 else 1, 1])
    answers, said = asked(run, write_long(tmp_path / "new.csv", table))
    measured = [np.isfinite(one.values) for one in table["sequence"]]
    share = [m[:, 1].sum() / m.sum() if row < 25 else 0 for row, m in enumerate(measured)]
    np.testing.assert_allclose(answers["far"], share, atol=6e-4)
    unlike = sum(each > 0.1 for each in share)
    assert said[1] == (
        f"warning: {unlike} of 30 series have more than 10% of their readings further than 5 deviations from the "
        "training mean (`far`)"
    )
    assert re.fullmatch(
        r"warning: pH is 6\d\.\d+ on average, but 7\.\d+ \+- 0\.\d+ in training: another unit\?", said[2]
    )
    assert len(said) == 3


def test_variables_of_which_training_taught_nothing_are_told(tmp_path):
    card = {"task": "multiclass", "alphabet": "numeric", "variables": ["HR", "same", "never"], "format": "long"}
    card |= {"columns": {"time": "time"}, "time": {"unit": "h"}}
    taught = np.array([[80, 0.1, np.nan], [90, 0.1, np.nan], [100, 0.1, np.nan]])
    scaling = Scaling.of([Series(("HR", "same", "never"), np.arange(3.0), taught)])

    def warnings(text):
        (tmp_path / "new.csv").write_text(text)
        asked = questions.of(tmp_path / "new.csv", card, scaling, ["1", "2"])
        shares = [row["far"] for chunk in asked.chunks() for row in asked.likeness(chunk, None, 1)]
        return shares, list(asked.warnings())

    assert warnings("time,HR,same,never\n0,85,0.1,\n1,95,0.1,\n") == (["0.000"], [])
    shares, told = warnings("time,HR,same,never\n0,85,0.2,7\n1,95,0.2,\n")
    assert shares == ["0.000"]
    assert told == [
        "same was always 0.1 in training: that it is 0.2 on average tells it nothing",
        "never was never measured in training: its 1 readings are not looked at",
    ]


WAVES = {
    **{"title": "W", "alphabet": "numeric", "variables": ["mV"], "format": "wide", "columns": {"target": 1}},
    **{"files": [{"path": "x.csv"}], "max_length": None},
}
TARGETS = {  # of the values of a wave
    "multiclass": lambda x: "12"[int(x.mean() > 0)],
    "multilabel": lambda x: "|".join(["high"] * int(x.max() > 2) + ["low"] * int(x.min() < -2)) or "none",
    "regression": lambda x: f"{x.mean():.4f}",
    "labelling": lambda x: "".join("01"[int(one > 0)] for one in x),
}


def write_waves(path, waves, target):
    """A row a wave, its target first, missing values at the end of short ones."""
    rows = [[target(x), *map(repr, x.tolist()), *["NaN"] * (9 - len(x))] for x in waves]
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("task", TARGETS)
def test_every_task_that_series_have_is_learned_and_asked(tmp_path, task):
    card, rng = WAVES | {"task": task}, np.random.default_rng(0)
    waves = [rng.normal(rng.normal(), 1.5, rng.integers(4, 10)).round(3) for _ in range(150)]
    table, _ = formats.read(card, "waves", [write_waves(tmp_path / "x.csv", waves, TARGETS[task])])
    named = dict(zip([f"x-{row}" for row in range(1, 151)], waves, strict=True))
    assert table["target"].tolist() == [TARGETS[task](named[name]) for name in table["id"]]
    write_material(tmp_path, table, task)
    run = trained(tmp_path, tmp_path / "run", "train.max_epochs=12", "train.learning_rate=0.03", card=card)
    metrics = evaluate(run / "predictions.parquet", run / "run.json")["metrics"]
    assert metrics["spearman" if task == "regression" else "accuracy"] > 0.6

    expected = pd.read_parquet(run / "predictions.parquet").query("part == 'test'")
    tested = [named[name] for name in expected["id"]]
    known, said = asked(run, write_waves(tmp_path / "known.csv", tested, TARGETS[task]))
    unknown, _ = asked(run, write_waves(tmp_path / "unknown.csv", tested, lambda _: "NaN"))
    pd.testing.assert_frame_equal(known.drop(columns="id"), unknown.drop(columns="id"))
    if task == "labelling":
        likely = zip(expected["p:0"], expected["p:1"], strict=True)
        assert known["prediction"].tolist() == ["".join(np.where(b > a, "1", "0")) for a, b in likely]
    else:
        answers = ["prediction"] if task == "regression" else [name for name in expected if name.startswith("p:")]
        np.testing.assert_allclose(known[answers].astype(float), expected[answers], atol=6e-5)
    assert said[1:] == ["warning: column 1 was taken for the target, and not read: its place must be there"] * (
        task == "regression"
    )


def test_a_file_without_the_column_of_the_target_is_not_read_one_column_off(tmp_path):
    card = WAVES | {"task": "multiclass"}
    scaling = Scaling.of([Series(("mV",), np.arange(3.0), np.array([[-1.0], [0.0], [1.0]]))])

    def read(text):
        (tmp_path / "new.csv").write_text(text)
        asked = questions.of(tmp_path / "new.csv", card, scaling, ["1", "2"])
        return [one.values[:, 0].tolist() for chunk in asked.chunks() for _, one in chunk]

    assert read("1,0.5,0.25\n2.0e0,1,2\n") == [[0.5, 0.25], [1, 2]]
    assert read("NaN,0.5,0.25\n,1,2\n") == [[0.5, 0.25], [1, 2]]
    told = r"new\.csv:2: column 1 holds the target \(1, 2\), but is '-0\.5'.*put NaN"
    with pytest.raises(UnrolledError, match=told):
        read("1,0.5,0.25\n-0.5,1,2\n")
    card = card | {"task": "multilabel", "separator": ";"}
    assert read("2; 1,0.5,0.25\n") == [[0.5, 0.25]]
    card = card | {"task": "labelling"}
    assert read("12,0.5,0.25\n-2,1,2\nNaN,1,2") == [[0.5, 0.25], [1, 2], [1, 2]]
    with pytest.raises(UnrolledError, match=told):
        read("12,0.5,0.25\n-0.5,1,2\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "stay,t,what,much\na,0,Na,140\n",
            r"new\.csv:2: there is no variable 'Na'\nThe variables are: HR, pH, n",
        ),
        ("stay,t,much\na,0,140\n", r"new\.csv:1: missing columns.*\n  what"),
        ("stay,t,what,much\na,0,HR,x\n", r"new\.csv:2: HR is 'x'"),
        ("stay,t,what,much\na,0,HR,NA\n", r"empty series.*\n  'a' \(.*new\.csv:2\)"),
        ("stay,t,what,much\n", r"new\.csv: the file has no series"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_nothing_is_written(run, tmp_path, text, message):
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(UnrolledError, match=message):
        asked(run, tmp_path / "new.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]
