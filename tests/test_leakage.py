"""The audit of two files: every planted leak is found, none in a clean set, and bad files are told in one line."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from test_audit import LETTERS, mutant, unrelated
from unrolled import leaks
from unrolled.audit import Terms
from unrolled.cli import cli
from unrolled.definitions import DEFINITIONS
from unrolled.identity import reverse_complement
from unrolled.leakage import CHECKS, between
from unrolled.leaks import conflicts, shared

KEYS = {
    *("exact_duplicates", "subsequences", "reverse_complements", "conflicting_labels", "above_threshold"),
    *("max_identity", "definition", "method", "pairs_checked", "offenders"),
}
PROTEINS = unrelated(60, length=120)
DNA = ["".join(np.random.default_rng(n).choice(list("ACGT"), 150)) for n in range(30)]
MAIN = "from unrolled.cli import main; main()"


def fasta(path: Path, records: dict[str, str]) -> Path:
    text = "".join(f">{name}\n{sequence}\n" for name, sequence in records.items())
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def audit(folder: Path, train: dict[str, str], test: dict[str, str], *options: str) -> tuple[int, dict, str]:
    """Exit status, JSON and text of `unrolled audit`."""
    files = [fasta(folder / "train.fasta.gz", train), fasta(folder / "test.fasta", test)]
    call = ["audit", "--train", str(files[0]), "--test", str(files[1]), "--json", str(folder / "out.json"), *options]
    done = CliRunner().invoke(cli, call, catch_exceptions=False)
    return done.exit_code, json.loads((folder / "out.json").read_text()), done.stdout


@pytest.fixture
def train() -> dict[str, str]:
    return {f"t{n}": sequence for n, sequence in enumerate(PROTEINS[:30])}


@pytest.fixture
def clean() -> dict[str, str]:
    return {f"q{n}": sequence for n, sequence in enumerate(PROTEINS[30:45])}


@pytest.mark.parametrize("definition", ["needle", "local80", "either"])
def test_a_clean_set_is_clean(tmp_path, train, clean, definition):
    status, found, text = audit(tmp_path, train, clean, "--definition", definition)
    assert status == 0
    assert set(found) >= KEYS
    assert [found[name] for name in CHECKS] == [0] * len(CHECKS)
    assert found["offenders"] == []
    assert found["method"] == "exhaustive"
    assert found["pairs_checked"] == 30 * 15
    assert found["definition"] == definition
    assert sum(band["n"] for band in found["histogram"]) == 15
    assert text.startswith("Clean")
    assert "Zero of 15 test sequences" in text


def test_every_planted_leak_among_proteins_is_found(tmp_path, train, clean):
    train |= {"sp|P12345|AATM_RABIT": PROTEINS[50]}
    related = mutant(train["t7"], 0.6)
    planted = {
        "copy": train["t3"],
        "inside": train["t4"][20:70],
        "around": "M" + train["t5"] + "KKKK",
        "homolog": mutant(train["t6"], 0.45),
        "gapped": related[:20] + related[26:50] + "GSGSG" + related[50:],
        "sp|P12345-2|AATM_RABIT": PROTEINS[51],  # an isoform under the same accession, otherwise unlike it
    }
    status, found, text = audit(tmp_path, train, clean | planted, "--threshold", "0.35")
    assert status == 1
    assert text.startswith("Leaks: 6 of 21")
    assert {o["id"]: set(o["is"]) for o in found["offenders"]} == {
        "copy": {"exact_duplicates", "above_threshold"},
        "inside": {"subsequences", "above_threshold"},
        "around": {"subsequences", "above_threshold"},
        "homolog": {"above_threshold"},
        "gapped": {"above_threshold"},
        "P12345-2": {"shared_accessions"},
    }
    assert {o["id"]: o["partner"] for o in found["offenders"]} == {
        "copy": "t3",
        "inside": "t4",
        "around": "t5",
        "homolog": "",
        "gapped": "",
        "P12345-2": "P12345",
    }
    assert (found["exact_duplicates"], found["subsequences"], found["above_threshold"]) == (1, 2, 5)
    assert found["max_identity"] == 1


def test_the_nearest_and_the_one_of_the_same_accession_are_told_apart(tmp_path, train, clean):
    train |= {"sp|P12345|AATM_RABIT": PROTEINS[50]}
    planted = {"sp|P12345-2|AATM_RABIT": mutant(train["t6"], 0.6), "copy": train["t3"]}
    _, found, text = audit(tmp_path, train, clean | planted)
    isoform = next(one for one in found["offenders"] if one["id"] == "P12345-2")
    assert (isoform["nearest"], isoform["partner"]) == ("t6", "P12345")
    shown = [line.split(maxsplit=4) for line in text.splitlines() if " %  t" in line]
    assert shown == [
        ["copy", "100.0", "%", "t3", "above threshold, exact duplicate: t3"],
        ["P12345-2", f"{100 * isoform['identity']:.1f}", "%", "t6", "above threshold, shared accession: P12345"],
    ]


def test_homologs_of_35_percent_are_all_found(tmp_path, train, clean):
    planted = {f"h{n}": mutant(sequence, 0.35, seed=n) for n, sequence in enumerate(PROTEINS[:10])}
    status, found, _ = audit(tmp_path, train, clean | planted)
    assert status == 1
    assert found["definition"] == "either"
    assert {o["id"]: o["nearest"] for o in found["offenders"]} == {f"h{n}": f"t{n}" for n in range(10)}
    assert all(0.3 <= o["identity"] < 0.45 for o in found["offenders"])


@pytest.mark.slow
def test_the_search_and_the_sample_find_the_same_when_the_budget_is_small(tmp_path, train, clean):
    planted = {f"h{n}": mutant(sequence, 0.45, seed=n) for n, sequence in enumerate(PROTEINS[:5])}
    status, found, text = audit(tmp_path, train, clean | planted, "--minutes", "0.0001")
    assert status == 1
    assert found["method"] == "search and sample"
    assert {o["id"] for o in found["offenders"]} == set(planted)
    assert found["residual"]["upper_pairs"] > 0
    assert "with 95 % confidence" in text


def test_the_other_strand_is_found_whole_and_in_part(tmp_path):
    train = {f"t{n}": sequence for n, sequence in enumerate(DNA[:15])}
    clean = {f"q{n}": sequence for n, sequence in enumerate(DNA[15:])}
    planted = {
        "turned": reverse_complement(DNA[0]),
        "part": reverse_complement(DNA[1])[30:80],
        "copy": DNA[2],
    }
    assert audit(tmp_path, train, clean)[0] == 0
    status, found, _ = audit(tmp_path, train, clean | planted)
    assert status == 1
    assert (found["reverse_complements"], found["exact_duplicates"], found["above_threshold"]) == (2, 1, 3)
    assert found["definition"] == "either-nt"
    status, found, _ = audit(tmp_path, train, clean | planted, "--single-stranded")
    assert status == 1
    assert [o["id"] for o in found["offenders"]] == ["copy"]


def test_rna_is_told_from_dna_and_compared_in_one_spelling(tmp_path):
    train = {f"t{n}": s.replace("T", "U") for n, s in enumerate(DNA[:5])}
    test = {"turned": reverse_complement(DNA[0]), "q": DNA[9]}
    status, found, _ = audit(tmp_path, train, test)
    assert status == 1
    assert found["alphabet"] == "rna"
    assert found["reverse_complements"] == 1


def test_labels_at_odds_are_told_but_are_no_leak_by_themselves(tmp_path, train, clean):
    both = {"a|label=ER": PROTEINS[40], "b|label=nucleus": PROTEINS[40], "c|label=ER": PROTEINS[41]}
    status, found, _ = audit(tmp_path, train, both)
    assert (status, found["conflicting_labels"]) == (0, 1)
    assert found["conflicts"] == [{"ids": "a b", "labels": "ER | nucleus"}]
    (tmp_path / "labels.csv").write_text("id,label\nt3,ER\ncopy,nucleus\n")
    status, found, _ = audit(tmp_path, train, clean | {"copy": train["t3"]}, "--labels", str(tmp_path / "labels.csv"))
    assert (status, found["conflicting_labels"], found["exact_duplicates"]) == (1, 1, 1)


def test_lists_of_labels_are_the_same_in_any_order(tmp_path, train, clean):
    (tmp_path / "labels.csv").write_text("id,label\nt3,ER|nucleus\ncopy,nucleus|ER\n")
    asked = "--labels", str(tmp_path / "labels.csv")
    assert audit(tmp_path, train, clean | {"copy": train["t3"]}, *asked)[1]["conflicting_labels"] == 1
    assert audit(tmp_path, train, clean | {"copy": train["t3"]}, *asked, "--multilabel")[1]["conflicting_labels"] == 0


def test_reads_of_a_run_are_no_versions_of_one_entry(tmp_path, train, clean):
    known = {f"SRR1234567.{i} {i} length=80": letters for i, letters in enumerate(train.values())}
    tested = {f"SRR1234567.{i + 1000}": letters for i, letters in enumerate(clean.values())}
    status, found, _ = audit(tmp_path, known, tested)
    assert (status, found["shared_accessions"]) == (0, 0)


def test_ids_that_repeat_are_counted_as_often_as_they_stand(tmp_path, train):
    files = fasta(tmp_path / "train.fa", train), tmp_path / "test.fa"
    files[1].write_text(f">x\n{train['t1']}\n>x\n{train['t2']}\n")
    call = ["audit", "--train", str(files[0]), "--test", str(files[1]), "--json", str(tmp_path / "o.json")]
    assert CliRunner().invoke(cli, call).exit_code == 1
    assert json.loads((tmp_path / "o.json").read_text())["exact_duplicates"] == 2


@pytest.mark.parametrize(
    ("train", "test", "status"),
    [
        ({"a": PROTEINS[0]}, {"b": PROTEINS[1]}, 0),  # one sequence each
        ({"a": PROTEINS[0], "b": PROTEINS[0]}, {"c": PROTEINS[0], "d": PROTEINS[0]}, 1),  # all identical
        ({"a": "MK"}, {"b": "WE"}, 0),  # shorter than any k-mer
    ],
)
def test_small_and_uniform_sets_get_an_answer(tmp_path, train, test, status):
    assert audit(tmp_path, train, test)[0] == status


@pytest.mark.parametrize("shape", ["substituted", "standard input", "redirected"])
def test_files_may_be_pipes(tmp_path, train, clean, shape):
    files = fasta(tmp_path / "a.fa.gz", train), fasta(tmp_path / "b.fa", clean | {"copy": train["t3"]})
    (tmp_path / "labels.csv").write_text("id,label\nt3,ER\ncopy,nucleus\n")
    audits = f"{sys.executable} -m unrolled audit --json {tmp_path}/out.json"
    command = {
        "substituted": f"{audits} --train <(zcat {files[0]}) --test <(cat {files[1]}) "
        f"--labels <(cat {tmp_path}/labels.csv)",
        "standard input": f"cat {files[0]} | {audits} --train - --test {files[1]} --labels {tmp_path}/labels.csv",
        "redirected": f"{audits} --train - --test {files[1]} --labels {tmp_path}/labels.csv < {files[0]}",
    }[shape]
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert [one["id"] for one in found["offenders"]] == ["copy"]
    assert (found["train_sequences"], found["test_sequences"], found["conflicting_labels"]) == (30, 16, 1)


def test_a_pipe_that_holds_no_fasta_is_told_by_its_line():
    command = f"{sys.executable} -m unrolled audit --train <(echo x) --test <(printf '<html>')"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 2
    assert ":1: FASTA starts with '>', this file with 'x'" in done.stderr


def with_mmseqs(folder: Path, script: str) -> dict[str, str]:
    """The environment in which a shell script is MMseqs2, and folder/tmp the place of temporary files."""
    mmseqs = folder / "bin" / "mmseqs"
    mmseqs.parent.mkdir()
    mmseqs.write_text(f"#!/bin/sh\n{script}\n")
    mmseqs.chmod(0o755)
    (folder / "tmp").mkdir()
    return {"PATH": f"{mmseqs.parent}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(folder / "tmp")}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it."""
    env = os.environ | environment
    command = [sys.executable, "-m", "unrolled", "audit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.mark.parametrize(
    ("train", "test", "options", "message"),
    [
        ("", ">a\nMKTE\n", [], "train.fa: the file is empty"),
        (">a\nMKTE\n", "MKTE\n", [], "test.fa:1: FASTA starts with '>'"),
        (">a\nMKTEFLIPQ\n", ">b\nACGTACGT\n", [], "looks like protein"),
        (">a\nMKTE\n", ">b\nMKTE\n", ["--alphabet", "dna"], "letters outside the dna alphabet"),
        (">a\nMKTE\n", ">b\nMKTE\n", ["--threshold", "0"], "threshold 0 means nothing"),
        (">a\nMKTE\n", ">b\nMKTE\n", ["--threshold", "1.01"], "threshold 1.01 means nothing"),
        (">a\nMKTE\n", ">b\nMKTE\n", ["--definition", "blast"], "no identity definition 'blast'"),
        (">a\nMKTE\n", ">b\nMKTE\n", ["--definition", "needle-nt"], "is for dna and rna, not for protein"),
        (">a\nMKTE\n", ">b\nMKTE\n", ["--labels", "none.csv"], "none.csv: No such file"),
    ],
)
def test_bad_input_is_one_line_and_status_2_and_writes_nothing(tmp_path, train, test, options, message):
    (tmp_path / "train.fa").write_text(train)
    (tmp_path / "test.fa").write_text(test)
    out = tmp_path / "out.json"
    files = ["--train", str(tmp_path / "train.fa"), "--test", str(tmp_path / "test.fa"), "--json", str(out)]
    done = run(*files, *options)
    assert done.returncode == 2, done
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.fa", "train.fa"]


def test_a_missing_file_is_status_2(tmp_path):
    done = run("--train", str(tmp_path / "no.fa"), "--test", str(tmp_path / "no.fa"))
    assert (done.returncode, "no.fa: No such file" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Unrecognized parameter \"--alignment-mode\"' >&2; exit 1", "Unrecognized parameter"),
        ("echo 'Could not write data file: No space left on device' >&2; exit 1", "No space left on device"),
    ],
    ids=["too old", "disk full"],
)
def test_an_mmseqs_that_fails_is_quoted_and_leaves_nothing_behind(tmp_path, train, clean, script, message):
    surroundings = with_mmseqs(tmp_path, script)
    files = fasta(tmp_path / "a.fa", train), fasta(tmp_path / "b.fa", clean)
    out = tmp_path / "out" / "out.json"
    arguments = ("--train", str(files[0]), "--test", str(files[1]), "--json", str(out), "--minutes", "0.0001")
    done = run(*arguments, **surroundings)
    assert done.returncode == 2
    assert message in done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not out.exists()


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # it ended in between, or there is no /proc
        return not Path("/proc/self").exists()


@pytest.mark.faults(
    "interruptions",
    "SIGTERM, Ctrl-C (SIGINT) or a terminal that closes (SIGHUP) while MMseqs2 searches, a shell script with "
    "processes of its own",
    "status 143, 130 or 129; all processes end, temporary files are removed",
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_search_that_is_stopped_leaves_nothing_behind(tmp_path, train, clean, number):
    script = f"sleep 60 &\necho $! > {tmp_path}/pid\nmv {tmp_path}/pid {tmp_path}/started\nwait"
    env = os.environ | with_mmseqs(tmp_path, script)
    files = fasta(tmp_path / "a.fa", train), fasta(tmp_path / "b.fa", clean)
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # also in the background
    command = [sys.executable, "-c", f"{code}signal.signal(signal.SIGHUP, signal.SIG_DFL)\n{MAIN}", "audit"]
    command += ["--train", str(files[0]), "--test", str(files[1]), "--minutes", "0.0001"]
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        pid = int((tmp_path / "started").read_text())
        assert lives(pid)
        assert len(list((tmp_path / "tmp").iterdir())) == 1
        running.send_signal(number)
        assert running.wait(timeout=20) == 128 + number
    deadline = time.monotonic() + 5  # a kill is sent, and takes effect when its process is next looked at
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lives(pid)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_stop_that_nohup_wards_off_stops_nothing(tmp_path, train, clean):
    script = f"touch {tmp_path}/started\nuntil test -e {tmp_path}/go; do sleep 0.1; done\nexit 1"
    env = os.environ | with_mmseqs(tmp_path, script)
    files = fasta(tmp_path / "a.fa", train), fasta(tmp_path / "b.fa", clean)
    code = f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n{MAIN}"
    command = [sys.executable, "-c", code, "audit", "--train", str(files[0]), "--test", str(files[1])]
    with subprocess.Popen([*command, "--minutes", "0.0001"], env=env, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGHUP)
        (tmp_path / "go").touch()
        assert running.wait(timeout=20) == 2  # the script's failure


def test_a_disk_that_fills_while_the_search_is_prepared_is_one_line(tmp_path, train, clean, monkeypatch, capsys):
    from unrolled import candidates, cli

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/tmp/all.fasta")

    monkeypatch.setattr(candidates.Path, "write_text", full)
    files = [str(tmp_path / "a.fa"), str(tmp_path / "b.fa")]
    for path, records in zip(files, (train, clean), strict=True):
        Path(path).write_bytes("".join(f">{n}\n{s}\n" for n, s in records.items()).encode())
    monkeypatch.setattr(
        "sys.argv", ["unrolled", "audit", "--train", files[0], "--test", files[1], "--minutes", "0.0001"]
    )
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "the disk is full (/tmp/all.fasta)" in capsys.readouterr().err


@pytest.mark.faults(
    "hostile input",
    "HTML in a sequence's id, in the page of an audit",
    "shown as text; the page asks nobody",
)
def test_the_page_holds_the_findings_and_asks_nobody(tmp_path, train, clean):
    page = tmp_path / "audit.html"
    odd = {"<b>&copy": train["t3"]}
    audit(tmp_path, train, clean | odd, "--html", str(page))
    html = page.read_text()
    assert "Leaks: 1 of 16 test sequences" in html
    assert "&lt;b&gt;&amp;copy" in html
    assert "<b>&copy" not in html
    assert "default-src 'none'" in html
    assert not [word for word in ('src="http', "@import", "url(http") if word in html]


@pytest.mark.browser
def test_the_page_opens_without_a_fault(tmp_path, train, clean, tab):
    page_file = tmp_path / "audit.html"
    planted = {"copy": train["t3"], "homolog": mutant(train["t4"], 0.5)}
    audit(tmp_path, train, clean | planted, "--html", str(page_file))
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.goto(page_file.as_uri())
    first = tab.locator("table.sortable tbody tr td").first
    assert first.inner_text() == "copy"
    tab.locator("table.sortable th button").nth(1).click()
    assert first.inner_text() == "homolog"
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.complaints == []


def test_a_short_part_is_no_finding():
    train = pd.DataFrame({"id": ["t"], "sequence": ["MKTAYIAKQRQISFVKSH"], "label": [""]})
    test = pd.DataFrame({"id": ["a", "b"], "sequence": ["MKTAYIAKQ", "MKTAYIAKQR"], "label": ["", ""]})
    found = shared(train, test, "protein", both_strands=False)
    assert found.subsequences["test"].tolist() == ["b"]


def test_conflicts_name_all_ids_once():
    rows = [("b", "AAA", "x"), ("a", "AAA", "y"), ("a", "AAA", "y"), ("c", "AAA", ""), ("d", "CCC", "x")]
    found = conflicts(pd.DataFrame(rows, columns=["id", "sequence", "label"]))
    assert found.to_dict("records") == [{"ids": "a b", "labels": "x | y"}]


def test_the_order_of_the_training_file_does_not_matter():
    train = pd.DataFrame({"id": [f"t{n}" for n in range(10)], "sequence": [PROTEINS[0]] * 10, "label": [""] * 10})
    test = pd.DataFrame({"id": ["q"], "sequence": [PROTEINS[0]], "label": [""]})
    terms = Terms(DEFINITIONS["needle"], 0.3, both_strands=False)
    assert between(train, test, "protein", terms).facts() == between(train[::-1], test, "protein", terms).facts()
    assert set(LETTERS) >= set(PROTEINS[0])


def table(sequences: list[str], name: str) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{name}{n:05}" for n in range(len(sequences))], "sequence": sequences, "label": ""})


TEXT = st.text("AC", min_size=1, max_size=9)


@given(st.lists(TEXT, min_size=1, max_size=8), st.lists(TEXT, min_size=1, max_size=8), st.randoms())
def test_parts_are_those_that_comparing_all_finds(train, test, random):
    known = table(train, "t").sample(frac=1, random_state=random.randrange(99)).reset_index(drop=True)
    found = leaks._parts(known, table(test, "q"), 3)
    expected = {}
    for row, text in enumerate(test):
        held = [
            f"t{n:05}"
            for n, other in enumerate(train)
            if len(text) != len(other) and len(min(text, other, key=len)) >= 3
            if min(text, other, key=len) in max(text, other, key=len)
        ]
        expected |= {row: min(held)} if held else {}
    assert dict(zip(found["row"], found["train"], strict=True)) == expected


@pytest.fixture
def hits(monkeypatch) -> list[int]:
    """Counts the places at which a sequence is compared with a part of another."""
    counted, known = [0], leaks._hits

    def counting(*arguments):
        for hit in known(*arguments):
            counted[0] += 1
            yield hit

    monkeypatch.setattr(leaks, "_hits", counting)
    return counted


def test_amplicons_of_one_primer_are_not_compared_with_one_another(hits):
    rng = np.random.default_rng(0)
    reads = ["ACGTTGCATTTGACCATGAG" + "".join(rng.choice(list("ACGT"), 60)) for _ in range(20_000)]
    train, test = table(reads[:10_000], "t"), table([*reads[10_000:-1], reads[0][:70]], "q")
    found = shared(train, test, "dna", both_strands=False)
    assert found.subsequences[["test", "train"]].values.tolist() == [["q09999", "t00000"]]
    assert hits[0] < 100


def test_a_part_of_many_sequences_is_compared_with_each_once(hits):
    rng = np.random.default_rng(0)
    core = "".join(rng.choice(list("ACGT"), 40))
    reads = ["".join(rng.choice(list("ACGT"), 30)) + core for _ in range(1000)]
    found = shared(table(reads, "t"), table([core] * 1000, "q"), "dna", both_strands=False)
    assert found.subsequences["train"].tolist() == ["t00000"] * 1000
    assert hits[0] <= 1000
