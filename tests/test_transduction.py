"""A sequence from a sequence, from the table to the answers: runs, baselines, `unrolled predict`."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from test_predict import asked, write_fasta
from test_train import DECODERS, baseline, same, trained, write_material
from unrolled import table as tables
from unrolled.alphabet import DNA, PROTEIN
from unrolled.errors import UnrolledError
from unrolled.evaluate import evaluate
from unrolled.formats import read
from unrolled.generate import Wish, generate
from unrolled.predict import predict
from unrolled.puzzles import translation
from unrolled.sequence_baselines import NearestTarget, PlaceMajority
from unrolled.simulate import simulate
from unrolled.tasks import of

pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|exists and is not empty|LeafSpec)")
CARD = ["data=translation", "++model.network.decoder.d_h=8"]
GENES = {"alphabet": "dna", "target_alphabet": "protein"}


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_material(folder, translation(n=120, shortest=1, longest=6, ends=3), "transduction")
    return folder


@pytest.fixture(scope="module")
def run(material):
    return trained(material, material / "run", *CARD, "model=seq2seq_gru_attention", "train.max_epochs=2")


@pytest.mark.parametrize("model", DECODERS)
def test_a_run_hands_over_what_the_contract_says(material, tmp_path, model):
    out = trained(material, tmp_path / "run", *CARD, f"model={model}", "train.max_epochs=2")
    record = json.loads((out / "run.json").read_text())
    predictions = pd.read_parquet(out / "predictions.parquet").set_index("id")
    table = tables.read(material / "table.parquet").set_index("id").loc[predictions.index]
    assert (predictions["target"] == table["target"]).all()
    assert (predictions["length"] == table["sequence"].str.len()).all()
    assert predictions["decoded"].map(PROTEIN.illegal).isna().all()
    folds = pd.read_parquet(material / "folds.parquet").set_index("id").loc[table.index, "fold"]
    rest = tables.read(material / "table.parquet").set_index("id")["target"].drop(folds[folds.isin([0, 1])].index)
    assert record["longest"] == 2 * rest.str.len().max()
    assert predictions["decoded"].str.len().max() <= record["longest"]
    report = evaluate(out / "predictions.parquet", out / "run.json")
    assert set(report["metrics"]) == {"token_accuracy", "exact_match", "edit_distance", "bits_per_token"}
    assert all(math.isfinite(value) for value in report["metrics"].values())
    assert (report["per_class"], report["confusion"], report["calibration"], report["points"]) == ([], [], [], [])
    assert pd.read_csv(out / "history.csv")["val_accuracy"].between(0, 1).all()
    instruments = pd.read_csv(out / "instruments.csv")
    assert {"forward", "backward"} == set(instruments["direction"])  # the encoder's
    norms = instruments.query("quantity == 'spectral_norm'")
    gates = {"gru": 3, "lstm": 4}[model.split("_")[1]]
    assert len(norms) == 2 * 2 * gates  # epochs, directions: the decoder's are not among them


@pytest.mark.parametrize("model", ["seq2seq_gru", "seq2seq_lstm_attention"])
def test_the_same_seed_gives_the_same_bytes_killed_or_not(material, tmp_path, monkeypatch, model):
    changes = [*CARD, f"model={model}", "train.max_epochs=2", "model.network.dropout=0.3"]
    whole = trained(material, tmp_path / "whole", *changes)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unrolled.runs.write_predictions", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(material, tmp_path / "broken", *changes)
    assert same(whole, trained(material, tmp_path / "broken", *changes))
    assert not same(whole, trained(material, tmp_path / "other", *changes, "seed=1"))


def test_what_a_run_says_of_new_sequences_is_what_it_said_of_the_same_before(run, tmp_path):
    expected = pd.read_parquet(run / "predictions.parquet").query("part == 'test'")
    letters = tables.read(run.parent / "table.parquet").set_index("id")["sequence"]
    answers, said = asked(run, write_fasta(tmp_path / "new.fasta", {i: letters[i] for i in expected["id"]}))
    assert answers.columns.tolist() == ["id", "length", "prediction", "log_likelihood", "nearest"]
    assert answers["prediction"].tolist() == expected["decoded"].tolist()
    assert (answers["log_likelihood"].astype(float) <= 0).all()
    right = answers[(answers["prediction"] == expected["target"].to_numpy()).to_numpy()]
    own = expected.set_index("id").loc[right["id"], "log_likelihood"]
    np.testing.assert_allclose(right["log_likelihood"].astype(float), own, atol=1e-3)
    assert f"{len(expected):,} sequences" in said


def test_letters_and_lengths_never_seen_are_answered(run, tmp_path):
    answers, _ = asked(run, write_fasta(tmp_path / "new.fasta", {"one": "A", "odd": "NNRYATGN", "long": "ACGT" * 99}))
    assert answers["length"].tolist() == ["1", "8", "396"]
    longest = json.loads((run / "run.json").read_text())["longest"]
    assert answers["prediction"].str.len().max() <= longest


def test_another_beam_needs_no_training(run, tmp_path):
    """The answers are those of a run whose card has the beam."""
    import shutil

    place = Path(shutil.copytree(run, tmp_path / "run"))
    record = json.loads((place / "run.json").read_text())
    assert record["config"]["model"]["network"]["beam"] == 4
    record["config"]["model"]["network"]["beam"] = 1
    (place / "run.json").write_text(json.dumps(record))
    letters = tables.read(run.parent / "table.parquet").set_index("id")["sequence"]
    fasta = write_fasta(tmp_path / "new.fasta", dict(letters.head(30)))
    (wide, _), (greedy, _) = asked(run, fasta), asked(place, fasta)
    predict(run, fasta, tmp_path / "beam.csv", beam=1, say=lambda _: None)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "beam.csv", dtype=str, keep_default_na=False), greedy)
    assert (greedy["prediction"] != wide["prediction"]).any()


def test_a_beam_for_a_network_without_a_decoder_is_refused(tmp_path):
    write_material(tmp_path, simulate(n=60, families=20, seed=0))
    run = trained(tmp_path, tmp_path / "run", "train.max_epochs=1")
    with pytest.raises(UnrolledError, match="a beam is of encoder-decoders, and this run was trained for multiclass"):
        predict(run, write_fasta(tmp_path / "new.fasta", {"a": "MKV"}), tmp_path / "out.csv", beam=2, say=print)


def test_answers_that_are_cut_are_counted(run, tmp_path):
    """A run whose answers may have two symbols, and the same where they end by themselves or at their own limit."""
    import shutil

    place = Path(shutil.copytree(run, tmp_path / "run"))
    record = json.loads((place / "run.json").read_text())
    letters = tables.read(run.parent / "table.parquet").set_index("id")["sequence"]
    fasta = write_fasta(tmp_path / "new.fasta", dict(letters.head(20)))
    for longest in (2, record["longest"]):
        (place / "run.json").write_text(json.dumps(record | {"longest": longest}))
        answers, said = asked(place, fasta)
        cut = int((answers["prediction"].str.len() == longest).sum())
        told = f"warning: {cut} of 20 answers came to {longest} symbols, twice the longest training target"
        assert [line for line in said if "came to" in line] == ([f"{told}, and were ended there"] if cut else [])
        assert cut > 0 or longest > 2


def test_a_run_of_another_task_generates_nothing(run, tmp_path):
    with pytest.raises(UnrolledError, match="was trained for transduction: only a run of a `generation` task"):
        generate(run, Wish(n=1), tmp_path / "new.fasta", say=print)


def test_ambiguous_letters_of_a_target_are_learned_as_the_unknown_one(tmp_path):
    table = translation(n=60, shortest=2, longest=4, ends=2)
    table["target"] = "MB" + table["target"].str[2:]
    write_material(tmp_path, table, "transduction")
    out = trained(tmp_path, tmp_path / "run", *CARD, "model=seq2seq_gru", "train.max_epochs=1")
    assert pd.read_parquet(out / "predictions.parquet")["target"].str.startswith("MX").all()


@pytest.mark.parametrize("model", [*DECODERS, "majority", "besthit"])
def test_a_symbol_that_training_never_saw_is_scored(tmp_path, model):
    """It is in targets of the test fold alone."""
    table = translation(n=120, shortest=2, longest=6, ends=3)
    write_material(tmp_path, table, "transduction")
    folds = pd.read_parquet(tmp_path / "folds.parquet")
    tested = table["id"].isin(folds.loc[folds["fold"] == 0, "id"])
    target = table["target"].str.replace("W", "A")
    table["target"] = target.where(~tested, "MW" + target.str[2:])
    tables.write(tmp_path / "table.parquet", table)
    if model in DECODERS:
        out = trained(tmp_path, tmp_path / "run", *CARD, f"model={model}", "train.max_epochs=2")
        measured = evaluate(out / "predictions.parquet", out / "run.json")["metrics"]
    else:
        measured = baseline(tmp_path, tmp_path / "run", model, "transduction", **GENES)
    said = pd.read_parquet(tmp_path / "run/predictions.parquet").groupby("part")
    assert said.get_group("test")["target"].str.contains("W").all()
    assert not said.get_group("validation")["target"].str.contains("W").any()
    assert 0 < measured["bits_per_token"] < math.inf
    assert measured["exact_match"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("model", DECODERS)
def test_a_sequence_of_another_length_is_learned(tmp_path, model):
    """Of DNA's letters G and C are said, A and T are left out."""
    table = translation(n=700, shortest=1, longest=1, ends=3, seed=3)
    table["target"] = "M" + table["sequence"].str.replace("[AT]", "", regex=True)
    write_material(tmp_path, table, "transduction")
    changes = ["++model.network.encoder.d_h=32", "++model.network.decoder.d_h=48", "train.learning_rate=0.01"]
    out = trained(tmp_path, tmp_path / "run", *CARD[:1], *changes, f"model={model}", "train.max_epochs=35")
    measured = evaluate(out / "predictions.parquet", out / "run.json")["metrics"]
    known = baseline(tmp_path, tmp_path, "majority", "transduction", **GENES)
    assert measured["exact_match"] > 0.8 > 0.2 > known["exact_match"]
    assert measured["bits_per_token"] < 0.3 < 0.6 < known["bits_per_token"]


# --- Baselines ---


def test_the_majority_of_every_place_by_hand():
    model = PlaceMajority(outputs=4)
    model.fit([], [np.array([1, 2, 0]), np.array([1, 3, 0]), np.array([1, 3, 2, 0]), np.array([2, 0])], [], [])
    # counts of end, 1, 2, 3: (4, 3, 3, 2), smoothed by one each
    shares = np.array([5, 4, 4, 3]) / 16
    (first,) = model.answer(["ACGT"], [np.array([1, 3, 0])])
    assert first.symbols.tolist() == [1, 3]  # the median length is 2
    p = (3 + shares[1]) / 5 * (2 + shares[3]) / 5 * (2 + shares[0]) / 4
    assert math.exp(first.log_likelihood) == pytest.approx(p) == math.exp(first.own)
    (longer,) = model.answer(["ACGT"], [np.array([1, 3, 2, 1, 1, 0])])
    beyond = (3 + shares[1]) / 5 * (2 + shares[3]) / 5 * (1 + shares[2]) / 4
    beyond *= shares[1] / (1 + 1) * shares[1] * shares[0]
    assert math.exp(longer.log_likelihood) == pytest.approx(beyond)


@pytest.mark.slow
def test_relatives_become_what_their_nearest_relative_became():
    rng = np.random.default_rng(0)
    train = simulate(n=60, families=20, seed=0)["sequence"].tolist()
    y = [np.array([1 + row % 3, 1 + row % 5, 0]) for row in range(60)]
    model = NearestTarget(6)
    model.fit(train, y, train[:20], y[:20])
    stranger = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 80))
    *known, strange = model.answer([*train[30:40], stranger], [*y[30:40], y[0]])
    assert [answer.symbols.tolist() for answer in known] == [target[:-1].tolist() for target in y[30:40]]
    assert min(answer.log_likelihood for answer in known) > math.log(0.98)
    assert strange.symbols.tolist() == model.majority.said.tolist()
    assert strange.log_likelihood == model.majority.log_likelihood(y[0])
    model.fit(train, y, train[:20], [np.array([5, 0])] * 20)  # where relatives mislead, they are doubted
    assert model.doubt == 1


@pytest.mark.parametrize("estimator", ["majority", "besthit"])
def test_baselines_keep_the_same_contract(material, tmp_path, estimator):
    measured = baseline(material, tmp_path, estimator, "transduction", **GENES)
    assert 0 < measured["token_accuracy"] < 0.6
    assert 2 < measured["bits_per_token"] < 4.4


# --- From files ---


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_targets_come_from_a_column_or_a_fasta_file(tmp_path):
    base = {"title": "T", "task": "transduction", **GENES}
    rows = write(tmp_path / "rows.csv", "id,dna,protein\na,ATGTAA,m*\nb,atgaaataa,MK\n")
    columns = {"id": "id", "sequence": "dna", "target": "protein"}
    table, _ = read(base | {"format": "csv", "columns": columns, "files": [{"path": "x"}]}, "mine", [rows])
    assert table["target"].tolist() == ["M", "MK"]
    genes = write(tmp_path / "genes.fasta", ">a\nATGTAA\n>b\nATGAAATAA\n")
    proteins = write(tmp_path / "proteins.fasta", ">b\nMK\n>a\nM\n")
    card = base | {"format": "fasta", "files": [{"path": "x"}], "labels": {"path": str(proteins)}}
    assert read(card, "mine", [genes, proteins])[0]["target"].tolist() == ["M", "MK"]
    wrong = write(tmp_path / "wrong.csv", "id,dna,protein\na,ATGTAA,\nb,ATGAAATAA,M?\n")
    with pytest.raises(UnrolledError, match=r"(?s)data mine: .*empty targets.*wrong\.csv:2"):
        read(base | {"format": "csv", "columns": columns, "files": [{"path": "x"}]}, "mine", [wrong])
    assert of(base).alphabet is PROTEIN
    assert DNA.illegal(table["sequence"].str.cat()) is None
