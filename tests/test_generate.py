"""Generation: nothing sees what it is to predict, likelihoods are those of the chain rule, draws obey."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from test_feedforward import ENCODERS
from test_train import baseline, trained, write_material
from unrolled.alphabet import ALPHABETS, DNA, PROTEIN
from unrolled.baselines import Markov
from unrolled.batching import following as shifted
from unrolled.errors import UnrolledError
from unrolled.evaluate import evaluate
from unrolled.fasta import read_fasta
from unrolled.generate import Wish, draw, following, generate, judge, nearest, sequences
from unrolled.headers import identifier
from unrolled.models import Network
from unrolled.predict import predict
from unrolled.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|exists and is not empty|LeafSpec)")
CAUSAL = [name for name in ENCODERS if name != "fixed"]


def a_network(name: str, alphabet=PROTEIN) -> Network:
    torch.manual_seed(0)
    return Network(alphabet.size, alphabet.size, lambda d, **s: ENCODERS[name](d, 8, **s), True, True).eval()


def test_what_is_read_and_what_follows():
    read, predicted = shifted([DNA.encode("ACG")])
    assert read[0].tolist() == [0, 1, 2, 3]
    assert predicted[0].tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize("name", CAUSAL)
def test_no_answer_depends_on_what_follows(name):
    network, tokens = a_network(name).double(), torch.randint(1, 22, (1, 9))
    whole = network(tokens, torch.tensor([9]))
    for t in range(9):
        other = tokens.clone()
        other[0, t:] = torch.randint(1, 22, (9 - t,))
        torch.testing.assert_close(network(other, torch.tensor([9]))[0, :t], whole[0, :t], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CAUSAL)
def test_step_by_step_is_the_whole_at_once(name):
    network, tokens = a_network(name).double(), torch.randint(0, 22, (3, 6))
    whole, state = network(tokens, torch.full((3,), 6)), None
    for t in range(6):
        logits, state = following(network, tokens[:, : t + 1], state)
        torch.testing.assert_close(logits, whole[:, t], rtol=0, atol=1e-12)


def test_draws_follow_the_distribution_and_the_wish():
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.6, 0.1]])).expand(40_000, -1)

    def shares(wish: Wish, *, may_end: bool = True) -> list[float]:
        drawn = draw(logits, 3, wish, torch.Generator().manual_seed(0), may_end=may_end)
        return (torch.bincount(drawn, minlength=4) / len(drawn)).tolist()

    assert shares(Wish()) == pytest.approx([1 / 9, 2 / 9, 6 / 9, 0], abs=0.01)
    assert shares(Wish(), may_end=False) == pytest.approx([0, 0.25, 0.75, 0], abs=0.01)
    assert shares(Wish(top_k=1)) == [0, 0, 1, 0]
    assert shares(Wish(temperature=0.5)) == pytest.approx([1 / 41, 4 / 41, 36 / 41, 0], abs=0.01)
    assert shares(Wish(temperature=1e-3)) == shares(Wish(temperature=1e-300)) == [0, 0, 1, 0]


def test_sequences_begin_with_the_prefix_end_somewhere_and_come_again_from_their_seed():
    network = a_network("lstm")
    wish, lower = (Wish(n=30, prefix=prefix, longest=40) for prefix in ("MKV", "mkv"))
    drawn = list(sequences(network, PROTEIN, wish))
    assert all(letters.startswith("MKV") and len(letters) <= 40 and "X" not in letters for letters, _ in drawn)
    assert all(ended or len(letters) == 40 for letters, ended in drawn)
    assert drawn == list(sequences(network, PROTEIN, wish)) == list(sequences(network, PROTEIN, lower))
    assert drawn != list(sequences(network, PROTEIN, Wish(n=30, prefix="MKV", longest=40, seed=1)))
    assert all(letters for letters, _ in sequences(network, PROTEIN, Wish(n=300)))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("generation")
    write_material(folder, simulate(n=200, families=20, seed=0), "generation")
    changes = ["data.task=generation", "train.max_epochs=6", "train.learning_rate=0.02"]
    return trained(folder, folder / "run", *changes)


def test_the_likelihood_is_that_of_the_chain_rule_and_better_than_composition(run, tmp_path):
    frame = pd.read_parquet(run / "predictions.parquet").query("part == 'test'")
    letters = pd.read_parquet(run.parent / "table.parquet").set_index("id")["sequence"]
    assert (frame["symbols"] == letters[frame["id"]].str.len().to_numpy() + 1).all()
    found = evaluate(run / "predictions.parquet", run / "run.json")["metrics"]
    bits = -frame["log_likelihood"].sum() / frame["symbols"].sum() / np.log(2)
    assert found["bits_per_residue"] == pytest.approx(bits)
    assert found["perplexity"] == pytest.approx(2**bits)
    composition = baseline(run.parent, tmp_path, "majority", "generation")["bits_per_residue"]
    assert found["bits_per_residue"] < composition < np.log2(21)


def test_predict_tells_the_likelihood_of_new_sequences(run, tmp_path):
    frame = pd.read_parquet(run / "predictions.parquet").query("part == 'test'").head(5)
    letters = pd.read_parquet(run.parent / "table.parquet").set_index("id")["sequence"]
    (tmp_path / "new.fasta").write_text("".join(f">{i}\n{letters[i]}\n" for i in frame["id"]))
    predict(run, tmp_path / "new.fasta", tmp_path / "out.csv", say=lambda _: None)
    answers = pd.read_csv(tmp_path / "out.csv")
    np.testing.assert_allclose(answers["log_likelihood"], frame["log_likelihood"], rtol=1e-5)


def test_generated_sequences_are_written_and_judged(run, tmp_path):
    said: list[str] = []
    wish = Wish(n=40, longest=300)
    generate(run, wish, tmp_path / "new.fasta", report=tmp_path / "new.json", say=said.append)
    text = (tmp_path / "new.fasta").read_text()
    assert text.count(">generated") == 40
    found = json.loads((tmp_path / "new.json").read_text())
    assert (found["n"], found["wish"]["longest"]) == (40, 300)
    assert 0 < found["composition_divergence_bits"] < 0.2
    assert "40 sequences" in said[-1]


def test_the_header_of_a_generated_sequence_names_the_training_sequence_most_like_it(run, tmp_path, monkeypatch):
    """What is drawn here: a training sequence with three letters exchanged, and letters that are like none."""
    folds = pd.read_parquet(run.parent / "folds.parquet").set_index("id")["fold"]
    table = pd.read_parquet(run.parent / "table.parquet").set_index("id")["sequence"]
    name = folds.index[folds > 1][0]
    changed = [("C" if x == "W" else "W") if at in (20, 30, 40) else x for at, x in enumerate(table[name])]
    drawn = [("".join(changed), True), ("WC" * 30, True)]
    monkeypatch.setattr("unrolled.generate.sequences", lambda *_: iter(drawn))
    generate(run, Wish(n=2), tmp_path / "new.fasta", report=tmp_path / "new.json", say=lambda _: None)
    alike, novel = (tmp_path / "new.fasta").read_text().split(">")[1:]
    header, letters = alike.splitlines()
    assert (identifier(header), letters) == ("generated1", drawn[0][0])
    named, identity = (part.split("=")[1] for part in header.split()[1:])
    assert named == name
    assert 0.5 < float(identity) < 1
    assert novel.splitlines()[0] == "generated2"
    assert json.loads((tmp_path / "new.json").read_text())["max_identity"] == pytest.approx(float(identity), abs=6e-4)
    assert read_fasta(tmp_path / "new.fasta")["id"].tolist() == ["generated1", "generated2"]


def test_a_prefix_that_leaves_nothing_to_draw_or_is_of_other_letters_is_refused(run, tmp_path):
    with pytest.raises(UnrolledError, match=r"the prefix has 3 symbols, so none would be drawn: raise `--longest`"):
        generate(run, Wish(n=2, prefix="MKV", longest=3), tmp_path / "new.fasta", say=print)
    with pytest.raises(UnrolledError, match=r"letter '-' at position 3 is not in the protein alphabet"):
        generate(run, Wish(n=2, prefix="MK-"), tmp_path / "new.fasta", say=print)
    assert not list(tmp_path.iterdir())


def test_without_mmseqs_nothing_is_drawn(run, tmp_path, monkeypatch):
    def missing():
        raise UnrolledError("MMseqs2 was not found")

    monkeypatch.setattr("unrolled.homology.mmseqs", missing)
    monkeypatch.setattr("unrolled.generate.sequences", lambda *_: pytest.fail("drawn"))
    with pytest.raises(UnrolledError, match="MMseqs2 was not found"):
        generate(run, Wish(n=2), tmp_path / "new.fasta", say=print)


def test_a_nucleotide_sequence_is_as_novel_as_the_nearer_of_the_strands_that_its_card_names():
    rng = np.random.default_rng(0)
    known = ["".join(rng.choice(list("ACGT"), 120)) for _ in range(3)]
    turned = known[1].translate(str.maketrans("ACGT", "TGCA"))[::-1]
    near = nearest([turned], known, {"alphabet": "dna"})
    assert near.rows.tolist() == [1]
    assert near.identity.tolist() == [1]
    near = nearest([turned, known[2]], known, {"alphabet": "dna", "strands": 1})
    assert near.rows.tolist() == [-1, 2]


def test_a_part_of_a_training_sequence_counts_by_its_length():
    rng = np.random.default_rng(0)
    known = ["".join(rng.choice(list("ACGU"), 300)) for _ in range(3)]
    new = [known[1][:90] + "".join(rng.choice(list("ACGU"), 60)), known[2][40:240]]
    near = nearest(new, known, {"alphabet": "rna"})
    assert near.rows.tolist() == [1, 2]
    assert 0.6 <= near.identity[0] < 0.7
    assert near.identity[1] == 1


def test_only_a_generation_task_generates(tmp_path):
    write_material(tmp_path, simulate(n=60, families=20, seed=0))
    run = trained(tmp_path, tmp_path / "run", "train.max_epochs=1")
    with pytest.raises(UnrolledError, match="was trained for multiclass: only a run of a `generation` task"):
        generate(run, Wish(), tmp_path / "new.fasta", say=print)


def test_copies_and_relatives_of_training_are_found():
    known = simulate(n=60, families=20, seed=0)["sequence"].tolist()
    new = [*known[:5], known[0]]
    found = judge(new, known, PROTEIN, nearest(new, known, {"alphabet": "protein"}))
    assert (found["n"], found["distinct"], found["copies"], found["alike"]) == (6, 5, 5, 6)
    assert found["max_identity"] == found["median_identity"] == 1


@pytest.mark.parametrize(("new", "known", "bits"), [("AA", "CC", 1), ("ACCA", "CA", 0), ("AC", "AA", 0.3113)])
def test_composition_is_compared_in_bits(new, known, bits):
    """Jensen-Shannon: of AC and AA, H(3/4, 1/4) - H(1/2, 1/2) / 2."""
    found = judge([new], [known], PROTEIN, nearest([new], [], {"alphabet": "protein"}))
    assert found["composition_divergence_bits"] == pytest.approx(bits, abs=1e-4)


def test_markov_counts_by_hand():
    model = Markov("dna", k=2)
    model.fit(["AC", "AC", "AG"], None, ["AC"], None)
    assert model.weight == min(Markov.GRID)  # the validation sequence is one of training's
    w, size = model.weight, ALPHABETS["dna"].size
    shares = {symbol: (n + 1) / (9 + size) for symbol, n in {"A": 3, "C": 2, "end": 3}.items()}
    by_hand = (3 + w * shares["A"]) / (3 + w) * (2 + w * shares["C"]) / (3 + w) * (2 + w * shares["end"]) / (2 + w)
    ((log_likelihood, symbols),) = model.predict(["AC"])
    assert symbols == 3
    assert np.exp(log_likelihood) == pytest.approx(by_hand)


def test_a_longer_memory_is_likelier_where_there_is_something_to_remember():
    rng = np.random.default_rng(0)
    text = ["".join(np.tile(list("ACG"), 20)[rng.integers(3) :]) for _ in range(20)]
    bits = []
    for k in (1, 2, 3):
        model = Markov("dna", k)
        model.fit(text[:10], None, text[10:15], None)
        found = model.predict(text[15:])
        bits.append(-found[:, 0].sum() / found[:, 1].sum() / np.log(2))
    assert bits[0] > 1.5 > 0.3 > bits[1]
    assert bits[2] < bits[1] + 0.02
