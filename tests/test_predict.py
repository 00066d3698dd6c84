"""`unrolled predict`: the answers are those of the run, of every task; what cannot be asked is refused."""

import gzip
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import pandas as pd
import pytest

from test_train import ROOT, buried, composition, trained, write_material
from unrolled import questions
from unrolled import table as tables
from unrolled.errors import UnrolledError
from unrolled.evaluate import evaluate
from unrolled.predict import predict
from unrolled.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|exists and is not empty|LeafSpec)")


TARGETS = {
    "multiclass": lambda table: table["target"],
    "multilabel": lambda table: table["target"].where(table["target"] != table["target"].iloc[0], "A|B"),
    "regression": lambda table: composition(table["sequence"]),
    "labelling": lambda table: table["sequence"].map(buried),
    "generation": lambda table: "",
    "transduction": lambda table: table["sequence"].str[:5],
}
DECODER = ["model=seq2seq_gru", "++model.network.decoder.d_h=8", "+data.target_alphabet=protein"]


@pytest.fixture(scope="module", params=TARGETS)
def run(request, tmp_path_factory):
    """A run of each task: folder, and its table."""
    folder = tmp_path_factory.mktemp(request.param)
    table = simulate(n=120, families=30, seed=0)
    table["target"] = TARGETS[request.param](table)
    write_material(folder, table, request.param)
    changes = [f"data.task={request.param}", *(DECODER if request.param == "transduction" else [])]
    trained(folder, folder / "run", *changes, "data.max_length=60", "train.max_epochs=1")
    return folder / "run", table


def write_fasta(path: Path, records: dict[str, str]) -> Path:
    text = "".join(f">{name}\n{letters}\n" for name, letters in records.items())
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def asked(run: Path, fasta: Path) -> tuple[pd.DataFrame, list[str]]:
    said: list[str] = []
    predict(run, fasta, fasta.with_suffix(".csv"), say=said.append)
    return pd.read_csv(fasta.with_suffix(".csv"), dtype=str, keep_default_na=False), said


def test_the_answers_are_those_of_the_run(run, tmp_path, monkeypatch):
    folder, table = run
    monkeypatch.setattr(questions, "CHUNK", 7)
    expected = pd.read_parquet(folder / "predictions.parquet").query("part == 'test'")
    letters = table.set_index("id")["sequence"]
    answers, said = asked(folder, write_fasta(tmp_path / "new.fasta.gz", {i: letters[i] for i in expected["id"]}))
    assert answers["id"].tolist() == expected["id"].tolist()
    assert answers["length"].astype(int).tolist() == letters[expected["id"]].str.len().tolist()
    for column in [c for c in expected if c.startswith("p:") and c in answers]:
        np.testing.assert_allclose(answers[column].astype(float), expected[column], atol=6e-5)
    if "prediction" in expected:
        np.testing.assert_allclose(answers["prediction"].astype(float), expected["prediction"], rtol=1e-5)
    assert f"{len(expected):,} sequences" in said
    assert set(answers["nearest"]) - {""} <= set(table["id"])


def answers_of_the_test_part(run: Path, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """What a run predicted for its test part, and what it now says of the same sequences."""
    expected = pd.read_parquet(run / "predictions.parquet").query("part == 'test'").reset_index(drop=True)
    letters = tables.read(run.parent / "table.parquet").set_index("id")["sequence"]
    answers, _ = asked(run, write_fasta(folder / "new.fasta", {i: letters[i] for i in expected["id"]}))
    return expected, answers["prediction"].tolist()


def test_the_class_that_is_said_is_the_likeliest(plain, tmp_path):
    expected, said = answers_of_the_test_part(plain, tmp_path)
    assert said == expected.filter(like="p:").idxmax(axis=1).str.removeprefix("p:").tolist()
    assert len(set(said)) > 1


def test_the_labels_that_are_said_reach_their_own_thresholds(tmp_path):
    """One that is rare is said well below one half."""
    table = simulate(n=120, families=30, seed=0)
    charged = table["sequence"].str.count("[DEKR]") / table["sequence"].str.len()
    table["target"] = np.where(charged > charged.quantile(0.8), "rare|usual", "usual")
    write_material(tmp_path, table, "multilabel")
    changes = ["data.task=multilabel", "train.max_epochs=8", "train.learning_rate=0.02"]
    run = trained(tmp_path, tmp_path / "run", *changes)
    thresholds = evaluate(run / "predictions.parquet", run / "run.json")["thresholds"]
    assert thresholds["rare"] < 0.4
    expected, said = answers_of_the_test_part(run, tmp_path)
    chosen = {name: expected[f"p:{name}"] >= cut for name, cut in thresholds.items()}
    assert said == ["|".join(name for name in chosen if chosen[name][row]) for row in expected.index]
    assert (chosen["rare"] & (expected["p:rare"] < 0.5)).any()
    assert not chosen["rare"].all()


def test_the_letters_that_are_said_are_the_likeliest_of_every_position(tmp_path):
    table = simulate(n=120, families=30, seed=0)
    write_material(tmp_path, table.assign(target=table["sequence"].map(buried)), "labelling")
    changes = ["data.task=labelling", "train.max_epochs=3", "train.learning_rate=0.02"]
    run = trained(tmp_path, tmp_path / "run", *changes)
    expected, said = answers_of_the_test_part(run, tmp_path)
    likely = zip(expected["p:H"], expected["p:p"], strict=True)
    assert said == ["".join(np.where(one > other, "p", "H")) for other, one in likely]
    assert set("".join(said)) == {"H", "p"}


def test_any_length_and_any_letter_of_the_alphabet_is_answered(run, tmp_path):
    """One residue, far more than were ever trained on, letters that training never saw, small ones, a stop sign."""
    folder, table = run
    assert set("OJZ").isdisjoint("".join(table["sequence"]))
    records = {"short": "M", "long": "MKVLAAGIWY" * 500, "unseen": "OJZBUX" * 3, "plain": "MKVLAAGI"}
    answers, _ = asked(folder, write_fasta(tmp_path / "new.fasta", records | {"spelled": "mkvlAAGI*"}))
    assert answers["id"].tolist() == [*records, "spelled"]
    assert answers["length"].astype(int).tolist() == [1, 5000, 18, 8, 8]
    numbers = answers.drop(columns=["id", "prediction", "nearest"], errors="ignore").astype(float)
    assert np.isfinite(numbers.to_numpy()).all()
    plain, spelled = answers.drop(columns="id").tail(2).to_dict("records")
    assert plain == spelled


def test_labels_are_given_at_every_position_of_any_length(tmp_path):
    table = simulate(n=60, families=20, seed=0)
    write_material(tmp_path, table.assign(target=table["sequence"].map(buried)), "labelling")
    run = trained(tmp_path, tmp_path / "run", "data.task=labelling", "data.max_length=30", "train.max_epochs=1")
    answers, _ = asked(run, write_fasta(tmp_path / "new.fasta", {"long": "MKV" * 700, "short": "M"}))
    assert answers["prediction"].str.len().tolist() == [2100, 1]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    write_material(folder, simulate(n=120, families=20, seed=0))
    return trained(folder, folder / "run", "train.max_epochs=1")


def test_sequences_unlike_the_training_set_are_warned_of(run, tmp_path):
    folder, table = run
    known = pd.read_parquet(folder.parent / "folds.parquet").query("fold > 1")["id"].iloc[0]
    rng = np.random.default_rng(0)
    strange = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 80))
    records = {"known": table.set_index("id")["sequence"][known], "strange": strange}
    answers, said = asked(folder, write_fasta(tmp_path / "new.fasta", records))
    assert answers["nearest"].tolist() == [known, ""]
    assert "1 of 2 sequences are like none" in said[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">a\nMKV\n>b\n" + "ACGT" * 20 + "\n", r"new\.fasta:3: the letters of 'b' look like nucleotides"),
        ("".join(f">{n}\nACGTTGCAAC\n" for n in range(5)), "the sequences look like nucleotides, but the run was"),
        (">a\nMKV\n>b\nMK-V\n", r"new\.fasta:3: 'b': letter '-' at position 3"),
        (">a\nMKV\n>b\n", r"new\.fasta:3: 'b': there are no letters"),
        (">a\n*\n", r"new\.fasta:1: 'a': there are no letters"),
        (">a\nMKV\n>b\nMKé\n", r"new\.fasta:3: 'b': letter 'é' at position 3"),
        ("MKV\n", r"new\.fasta:1: FASTA starts with '>'"),
        ("", "is empty or has no record"),
        ("\n\n", "is empty or has no record"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_nothing_is_written(run, tmp_path, text, message):
    fasta = tmp_path / "new.fasta"
    fasta.write_text(text)
    with pytest.raises(UnrolledError, match=message):
        asked(run[0], fasta)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.fasta"]


def test_the_last_record_is_checked_before_the_first_is_answered(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "CHUNK", 1)
    monkeypatch.setattr("unrolled.train.predict", lambda *_: pytest.fail("answered"))
    fasta = write_fasta(tmp_path / "new.fasta", {"a": "MKVLAA", "b": "MKVLAA", "c": "ACGT" * 20})
    with pytest.raises(UnrolledError, match="the letters of 'c' look like nucleotides"):
        asked(plain, fasta)


@pytest.mark.parametrize("alphabet", ["dna", "rna"])
def test_a_run_on_nucleotides_refuses_proteins(tmp_path, alphabet):
    """Also one whose letters are all legal, as ambiguity codes."""
    table = simulate(n=60, families=20, seed=0)
    codes = str.maketrans(ascii_uppercase, ({"dna": "ACGT", "rna": "ACGU"}[alphabet] * 7)[:26])
    write_material(tmp_path, table.assign(sequence=table["sequence"].str.translate(codes)))
    run = trained(tmp_path, tmp_path / "run", f"data.alphabet={alphabet}", "train.max_epochs=1")
    fasta = write_fasta(tmp_path / "new.fasta", {"gene": "ACGTACGGTTAN", "peptide": "MKVSGTDRHWANKVSGTD"})
    told = rf"new\.fasta:3: the letters of 'peptide' look like proteins, but the run was trained on {alphabet}"
    with pytest.raises(UnrolledError, match=told):
        asked(run, fasta)
    write_fasta(fasta, {"gene": "ACGTACGGTTAN"})
    assert len(asked(run, fasta)[0]) == 1


def test_likeness_to_other_sequences_than_it_was_trained_on_is_not_told(plain, tmp_path):
    """As many of them, under the same ids, in the same folds: only the letters are others."""
    import shutil

    place = Path(shutil.copytree(plain.parent, tmp_path / "place"))
    record = place / "run" / "run.json"
    record.write_text(record.read_text().replace(str(plain.parent), str(place)))
    fasta = write_fasta(tmp_path / "new.fasta", {"a": "MKVLAA"})
    assert "nearest" in asked(place / "run", fasta)[0]
    table = tables.read(place / "table.parquet")
    write = table.assign(sequence=table["sequence"].str[::-1])
    tables.write(place / "table.parquet", write)
    answers, said = asked(place / "run", fasta)
    assert "nearest" not in answers
    assert "or others than they were, so likeness to them is not checked" in said[0]


def test_a_run_that_was_moved_answers_and_says_what_it_cannot_check(plain, tmp_path):
    import shutil

    shutil.copytree(plain.parent, tmp_path / "moved")
    record = tmp_path / "moved" / "run" / "run.json"
    record.write_text(record.read_text().replace(str(plain.parent), str(tmp_path / "elsewhere")))
    answers, said = asked(record.parent, write_fasta(tmp_path / "new.fasta", {"a": "MKVLAA"}))
    assert "nearest" not in answers
    assert "likeness to them is not checked" in said[0]


def test_a_folder_without_a_network_is_refused(tmp_path):
    with pytest.raises(UnrolledError, match=r"run\.json is missing"):
        predict(tmp_path, ROOT / "none.fasta", tmp_path / "out.csv", say=print)
