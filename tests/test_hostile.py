"""Cards, checkpoints, archives and files that somebody made to do harm, or that were damaged: told in one line."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from test_train import baseline, buried, trained, write_material
from unrolled import archives, cards, cli, files, formats, own, questions, targets
from unrolled import table as tables
from unrolled.alphabet import ALPHABETS
from unrolled.errors import UnrolledError
from unrolled.evaluate import evaluate
from unrolled.fasta import read_fasta
from unrolled.predict import predict
from unrolled.simulate import simulate
from unrolled.tasks import named

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|exists and is not empty|LeafSpec)")
DECK = cards.Deck(ROOT / "config", ROOT / "workflow" / "schemas")

CLASSES = ["unrolled.files.Path", "unrolled.cards.Deck"]  # these pass for networks until they are looked up
BAD = [
    *CLASSES,
    "os.system",
    "builtins.eval",
    "subprocess.run",
    "hydra.utils.get_method",
    "functools.partial",
    "unrolled.runs.subprocess.run",
    "unrolled.train.os.system",
    "unrolled.models.nn.Linear",
    "unrolled.__main__.X",
]


@pytest.mark.faults(
    "hostile input",
    "a poisoned model card: `_target_` names a function or class that is no network of this project, at any depth",
    "one line with card, key and target before anything is trained; nothing of it runs",
)
@pytest.mark.parametrize("target", BAD)
@pytest.mark.parametrize("key", ["network", "encoder"])
def test_a_target_that_is_no_network_is_refused(target, key):
    network = DECK.card("model", "lstm")["network"]
    (network if key == "network" else network["encoder"])["_target_"] = target
    with pytest.raises(UnrolledError, match=rf"model 'x': network[a-z.]*\._target_: '{target}' is not allowed"):
        targets.check(network, "model 'x': network")
    if target in CLASSES:
        return
    with pytest.raises(UnrolledError, match="does not match"):
        DECK.check({"title": "x", "kind": "neural", "network": network}, "model", "x.yaml")


@pytest.mark.slow
@pytest.mark.faults(
    "hostile input",
    "a poisoned network given to `unrolled train`, or in the run.json that `unrolled predict` reads",
    "one line with key and target; nothing of it runs, and no answers are written",
)
def test_a_poisoned_network_is_not_built(tmp_path):
    write_material(tmp_path, simulate(n=60, families=20, seed=0))
    run = trained(tmp_path, tmp_path / "run", "train.max_epochs=1")
    evil = {"_target_": "os.mkdir", "path": str(tmp_path / "pwned")}
    hidden = f"${{oc.create:{{_target_: pathlib.Path.touch, _args_: [{tmp_path}/pwned]}}}}"  # a text, until resolved
    options = [f"paths.table={tmp_path}/table.parquet", f"paths.folds={tmp_path}/folds.parquet"]
    options += [f"paths.out={tmp_path}/new", "model=lstm", "wandb.mode=disabled"]
    options += [f"+model.network.more.{key}={value}" for key, value in evil.items()]
    done = unrolled("train", f"--config-dir={ROOT}/config", *options)
    assert is_one_line(done, "network.more._target_: 'os.mkdir' is not allowed"), done.stderr
    (tmp_path / "new.fasta").write_text(">1\nMKV\n")
    record = files.read_json(run / "run.json")
    for more, said in ((evil, "network.more._target_: 'os.mkdir' is not allowed"), (hidden, "may not refer to")):
        record["config"]["model"]["network"]["more"] = more
        files.write_json(run / "run.json", record)
        done = unrolled("predict", "--run", run, tmp_path / "new.fasta", "--out", tmp_path / "out.csv")
        assert is_one_line(done, said), done.stderr
    assert not (tmp_path / "pwned").exists()
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.faults(
    "hostile input",
    "a poisoned model card with Hydra's other words, `_args_`, `_recursive_`, `_convert_`, also within lists",
    "one line with the key; nothing of it runs",
)
@pytest.mark.parametrize("word", ["_args_", "_recursive_", "_convert_"])
def test_other_words_of_hydra_are_refused(word):
    network = {"_target_": "unrolled.models.Network", "more": [{word: ["x"]}]}
    with pytest.raises(UnrolledError, match=rf"network\.more\[0\]\.{word} is not allowed"):
        targets.check(network, "network")


@pytest.mark.parametrize("network", [{"encoder": "${oc.create:{_target_: os.mkdir}}"}, {"more": [{"${x}": 1}]}])
def test_what_omegaconf_would_compute_is_refused(network):
    with pytest.raises(UnrolledError, match="may not refer to anything"):
        targets.check({"_target_": "unrolled.models.Network"} | network, "network")


@pytest.mark.parametrize("name", [n for n in DECK.names("model") if "network" in DECK.card("model", n)])
def test_every_shipped_network_is_allowed(name):
    targets.check(DECK.card("model", name)["network"], name)


@pytest.mark.faults(
    "hostile input",
    "a card that leaves its place (`# @package hydra.callbacks`, which Hydra runs), brings in others (`defaults`) or "
    "reads the environment (`${oc.env:...}`, also in YAML's escapes)",
    "one line with the card, by the workflow and by `unrolled train`, before Hydra composes anything",
)
@pytest.mark.parametrize(
    "text",
    [
        "# @package hydra.callbacks\ntitle: x\n",
        "# @x y\u2028# @package hydra.callbacks\ntitle: x\n",  # a line end for Hydra
        "title: ${oc.env:HOME}\n",
        'title: "\\x24{oc.env:HOME}"\n',  # which YAML makes the same
        'x: [{"\\x24{oc.env:HOME}": 1}]\n',
        "defaults: [{/model@_global_.hydra.callbacks: evil}]\n",
    ],
)
def test_a_card_stays_in_its_place(tmp_path, text, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    card = tmp_path / "data" / "evil.yaml"
    card.write_text(text + f"simulate: {{_target_: pathlib.Path.touch, _args_: [{tmp_path}/pwned]}}\n")
    with pytest.raises(UnrolledError, match=r"evil\.yaml: a card may not"):
        cards.Deck(tmp_path, DECK.schemas).card("data", "evil")
    monkeypatch.setattr("sys.argv", ["unrolled", "train", f"--config-dir={tmp_path}", "data=evil"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "evil.yaml: a card may not" in capsys.readouterr().err
    assert not (tmp_path / "pwned").exists()


@pytest.mark.faults(
    "hostile input",
    "YAML that would build Python objects (`!!python/object/apply:os.system`)",
    "one line with file, line and column: only plain data are read",
)
def test_yaml_builds_no_objects(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(f"title: !!python/object/apply:os.system ['touch {tmp_path}/pwned']\n")
    with pytest.raises(UnrolledError, match=r"x\.yaml:1:8: not valid YAML"):
        cards.read_yaml(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.faults(
    "hostile input",
    "a zip archive with `../`, absolute names and a symbolic link",
    "members are read where they lie and nothing is unpacked, so no name leads anywhere; a link is read as its text",
)
@pytest.mark.parametrize("name", ["../out.fasta", "/tmp/unrolled-out.fasta", "a/../../out.fasta"])
def test_names_in_a_zip_lead_nowhere(tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    with zipfile.ZipFile(folder / "x.zip", "w") as zipped:
        zipped.writestr(name, b">1\nMKV\n")
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        zipped.writestr(link, "/etc/passwd")
    before = sorted(tmp_path.rglob("*"))
    for path in archives.members(folder / "x.zip", "link.txt"):
        assert archives.opened(path).read() == b"/etc/passwd"
    archives.members(folder / "x.zip", "*")
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/unrolled-out.fasta").exists()


PATHS = ["../evil", "/etc/passwd", "a/b", "..", ".hidden", "-rf", "a\0b", "a\nb", "a\n", "a b", "$(id)", "a;id", "ü"]


@pytest.mark.faults(
    "hostile input",
    "a name of a card, an experiment or a downloaded file that is a path, an option, a command, or has a null byte",
    "one line with the name, before anything is read, written or run",
)
@pytest.mark.parametrize("name", PATHS)
def test_names_are_no_paths(name):
    for axis in cards.AXES:
        with pytest.raises(UnrolledError, match=f"there is no {axis} card"):
            DECK.card(axis, name)
    with pytest.raises(UnrolledError, match="experiment"):
        DECK.check(cards.read_yaml(ROOT / "config/config.yaml") | {"experiment": name}, "config", "config.yaml")
    card = DECK.card("data", "netgpi")
    card["files"][0]["name"] = name
    with pytest.raises(UnrolledError, match=r"files\[0\]\.name|does not match"):
        DECK.check(card, "data", "netgpi.yaml")


@pytest.mark.faults(
    "hostile input",
    "a FASTA file whose ids hold null bytes or escape sequences of terminals",
    "control characters are refused with file and line",
)
@pytest.mark.parametrize("letter", ["\0", "\x1b[2J", "\x07", "\x7f"])
def test_ids_hold_no_control_characters(tmp_path, letter):
    path = tmp_path / "x.fasta"
    path.write_text(f">a\nMKV\n>b{letter}c\nMKL\n")
    with pytest.raises(UnrolledError, match=r"x\.fasta:3"):
        read_fasta(path)


@pytest.mark.faults(
    "storage",
    "a member of a zip archive whose bytes are damaged",
    "one line with archive and member",
)
def test_a_damaged_member_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr("a.fasta", b">1\nMKVMKVMKV\n")
    content = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(content.replace(b"MKVMKVMKV", b"MKVMKVMKL"))
    with pytest.raises(UnrolledError, match=r"x\.zip: a\.fasta in it cannot be read"):
        archives.opened(tmp_path / "x.zip" / "a.fasta")


@pytest.mark.faults("storage", "a truncated parquet or JSON file of the workflow's", "one line with file and remedy")
@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_truncated_file_is_named(tmp_path, share):
    pd.DataFrame({"id": ["a"] * 50}).to_parquet(tmp_path / "folds.parquet")
    files.write_json(tmp_path / "run.json", {"task": "multiclass"})
    for name, read in (("folds.parquet", files.read_parquet), ("run.json", files.read_json)):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(share * len(content))])
        with pytest.raises(UnrolledError, match=rf"{name} is cut off or damaged .*: remove it, and run the step"):
            read(tmp_path / name)


@pytest.mark.faults(
    "storage",
    "a sound parquet file that the system would not let us read (rights, an NFS server that is away)",
    "the system's own error with the file: it is not said to be damaged, and nobody is asked to remove it",
)
@pytest.mark.parametrize("read", [files.read_parquet, tables.read])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_file_that_cannot_be_read_now_is_not_called_damaged(tmp_path, monkeypatch, read, number):
    def refusing(*_, **__):
        raise OSError(number, f"Failed to open local file. Detail: {os.strerror(number)}")

    monkeypatch.setattr("pyarrow.parquet.ParquetFile", refusing)
    monkeypatch.setattr("pyarrow.parquet.read_table", refusing)
    with pytest.raises(OSError, match="Failed to open") as raised:
        read(tmp_path / "x.parquet")
    assert (raised.value.errno, raised.value.filename) == (number, str(tmp_path / "x.parquet"))


MATRIX = {"data": ["demo"], "split": ["random"], "model": ["majority"], "fold": [0], "seed": [0]}
RUN = "results/x/runs/demo/random/majority/fold0-seed0"


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A folder with a table, its folds, and an experiment of one run that could be compared."""
    folder = tmp_path_factory.mktemp("compared")
    write_material(folder, simulate(n=60, families=20, seed=0))
    (folder / RUN).mkdir(parents=True)
    baseline(folder, folder / RUN, "majority", "multiclass")
    measured = evaluate(folder / RUN / "predictions.parquet", folder / RUN / "run.json")
    files.write_json(folder / RUN / "metrics.json", measured)
    return folder


@pytest.mark.slow
@pytest.mark.faults(
    "storage",
    "a truncated parquet is given to `unrolled train` (table, folds), `evaluate` or `compare` (predictions)",
    "one line with file and remedy, and status 2; nothing is trained, and no file is written",
)
@pytest.mark.parametrize(
    ("command", "name", "said"),
    [
        ("train", "table.parquet", "Build it with `unrolled table`"),
        ("train", "folds.parquet", files.AGAIN),
        ("evaluate", f"{RUN}/predictions.parquet", files.AGAIN),
        ("compare", f"{RUN}/predictions.parquet", files.AGAIN),
    ],
)
def test_a_command_names_the_truncated_file_that_it_is_given(compared, tmp_path, command, name, said):
    place = Path(shutil.copytree(compared, tmp_path / "place"))
    content = (place / name).read_bytes()
    (place / name).write_bytes(content[: len(content) // 2])
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    train = [f"--config-dir={ROOT}/config", "wandb.mode=disabled", f"paths.out={place}/run"]
    train += [f"paths.{kind}={place}/{kind}.parquet" for kind in ("table", "folds")]
    run = ["--predictions", place / name, "--run", place / RUN / "run.json", "--out", place / "metrics.json"]
    all_runs = ["--results", place / "results/x", "--matrix", json.dumps(MATRIX), "--config-dir", ROOT / "config"]
    options = {"train": train, "evaluate": run, "compare": [*all_runs, "--data-root", place / "data"]}
    done = unrolled(command, *options[command])
    assert is_one_line(done, f"{place / name}", said), done.stderr
    after = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() <= {place / "run/checkpoints/lock"}
    assert before.items() <= after.items()


SCRIPT, IMAGE = "<script>alert(1)</script>", '<img src="x" onerror="alert(1)">'


@pytest.mark.slow
@pytest.mark.faults(
    "hostile input",
    "HTML and scripts as ids and labels of sequences, from the raw file to the report",
    "every label is text in page and figures; ids do not come there",
)
def test_html_in_ids_and_labels_is_text_in_the_report(tmp_path):
    table = simulate(n=120, families=12, seed=0)
    table["id"] = [f"{SCRIPT}{n}" for n in range(len(table))]
    first, second, *_ = sorted(set(table["target"]))
    table["target"] = table["target"].replace({first: SCRIPT, second: IMAGE})
    table.to_csv(tmp_path / "rows.csv", index=False)
    card = {"title": "T", "task": "multiclass", "alphabet": "protein", "format": "csv", "licence": "CC0-1.0"}
    card |= {"columns": {"id": "id", "sequence": "sequence", "target": "target"}, "files": [{"path": "rows.csv"}]}
    files.write_json(tmp_path / "evil.yaml", card | {"citation": "none"})
    data, results = tmp_path / "data/evil", tmp_path / "results/x"
    run = results / "runs/evil/random/kmer/fold0-seed0"
    described = ["--data-card", tmp_path / "evil.yaml"]
    split, place = ["--split-card", ROOT / "config/split/random.yaml"], data / "random"
    there = ["--table", data / "table.parquet"]
    model = ["--model-card", ROOT / "config/model/kmer.yaml", "--split", "random", "--fold", 0]
    facts = ["--run", run / "run.json"]
    experiment = ["--results", results, "--data-root", tmp_path / "data"]
    experiment += ["--matrix", json.dumps(MATRIX | {"data": ["evil"], "model": ["kmer"]})]
    for command in (
        ["table", "--card", tmp_path / "evil.yaml", "--out", data, tmp_path / "rows.csv"],
        ["folds", *there, *described, *split, "--out", place],
        ["certify", *there, "--folds", place / "folds.parquet", *described, *split, "--out", place],
        ["baseline", *there, "--folds", place / "folds.parquet", *described, *model, "--out", run],
        ["evaluate", "--predictions", run / "predictions.parquet", *facts, "--out", run / "metrics.json"],
        ["compare", *experiment, "--config-dir", ROOT / "config"],
        ["report", *experiment],
    ):
        done = unrolled(*command)
        assert done.returncode == 0, done.stderr
    assert SCRIPT in files.read_json(place / "certificate.json")["offenders"][0]["id"]
    page = (results / "report.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"alert\(1\)\W{1,20}script\W{1,6}\d", page)  # an id, in whatever guise
    drawn = list((results / "figures").rglob("*.svg"))
    assert drawn
    for path in drawn:
        assert "<script" not in path.read_text(encoding="utf-8")
        assert "<img" not in path.read_text(encoding="utf-8")


FORMULAS = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "＝1", "a;=1+1"]


@pytest.mark.faults(
    "hostile input",
    "a sequence id or a label that a spreadsheet would compute (CSV formula injection), also behind a semicolon",
    "refused with its line where a table, a split or `unrolled predict` reads it; numbers and single signs pass",
)
@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.parametrize("column", ["id", "target"])
def test_formulas_are_refused(text, column):
    frame = pd.DataFrame({"id": ["a", "b"], "sequence": ["MKV", "MKL"], "target": ["+1", "-"]}, dtype="str")
    tables.check(frame, named("multiclass"), ALPHABETS["protein"])
    frame.loc[1, column] = text
    with pytest.raises(UnrolledError, match="that a spreadsheet would compute"):
        tables.check(frame, named("multiclass"), ALPHABETS["protein"])


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+cmd!A0", "-2+3", "＝1"])
def test_formulas_as_ids_are_refused_in_files_of_ones_own(tmp_path, name):
    path = tmp_path / "x.fasta"
    path.write_text(f">a\nMKVWYRHE\n>{name}\nMKLWYRHE\n", encoding="utf-8")
    with pytest.raises(UnrolledError, match=r"(?s)ids that a spreadsheet would compute.*x\.fasta:3"):
        own.read(path, None, own.Request(folds=3))
    with pytest.raises(UnrolledError, match=r"x\.fasta:3: a spreadsheet would compute"):
        list(questions.Records(path, {"alphabet": "protein"}).chunks())
    path.write_text(">a\nMKVWYRHE\n>-1.5\nMKLWYRHE\n")
    assert own.read(path, None, own.Request(folds=3))[0]["id"].tolist() == ["-1.5", "a"]
    assert len(next(questions.Records(path, {"alphabet": "protein"}).chunks())) == 2


@pytest.mark.faults(
    "hostile input",
    "a formula as the id of a row that is left out, which excluded.csv lists",
    "an apostrophe stands before it: text to every spreadsheet",
)
@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_in_lists_for_people_are_text(tmp_path, text):
    (tmp_path / "a.fasta").write_text(">1\nMKV\n>2\nMKL\n")
    pd.DataFrame({"id": ["1", "2", text], "label": ["x", "y", "x"]}).to_csv(tmp_path / "labels.csv", index=False)
    card = {"title": "t", "task": "multiclass", "alphabet": "protein", "format": "fasta"}
    card |= {"files": [{"path": "a.fasta"}], "labels": {"path": str(tmp_path / "labels.csv"), "id": "id"}}
    card["labels"]["target"] = "label"
    out = [tmp_path / name for name in ("table.parquet", "excluded.csv", "summary.json")]
    formats.build(card, "x", [tmp_path / "a.fasta", tmp_path / "labels.csv"], *out)
    assert pd.read_csv(out[1])["id"].tolist() == [f"'{text}" if text in FORMULAS[:5] else "a;'=1+1"]


@pytest.mark.slow
@pytest.mark.faults(
    "hostile input",
    "a run from somebody else whose classes make formulas of its answers, given to `unrolled predict`",
    "the cell begins with an apostrophe: text to every spreadsheet",
)
@pytest.mark.parametrize(("task", "classes"), [("multiclass", FORMULAS[:2]), ("labelling", ["=", "@"])])
def test_answers_that_are_formulas_are_text(tmp_path, task, classes):
    table = simulate(n=60, families=20, seed=0)
    known = sorted(["H", "p"])
    labels = {"multiclass": table.index.map(lambda row: known[row % 2]), "labelling": table["sequence"].map(buried)}
    table["target"] = pd.Series(labels[task]).str.replace("-", "p")
    write_material(tmp_path, table, task)
    run = trained(tmp_path, tmp_path / "run", f"data.task={task}", "train.max_epochs=1")
    record, frame = files.read_json(run / "run.json"), pd.read_parquet(run / "predictions.parquet")
    for old, new in zip(known, classes, strict=True):
        frame = frame.rename(columns={f"p:{old}": f"p:{new}"})
        frame["target"] = frame["target"].str.replace(old, new, regex=False)
    frame.to_parquet(run / "predictions.parquet", index=False)
    files.write_json(run / "run.json", record | {"classes": classes})
    (tmp_path / "new.fasta").write_text(">1\nMKVWYRHE\n>2\nWYRHEMKV\n")
    predict(run, tmp_path / "new.fasta", tmp_path / "out.csv", say=print)
    said = pd.read_csv(tmp_path / "out.csv", dtype=str)["prediction"]
    assert said.str.fullmatch(rf"'({'|'.join(map(re.escape, classes))})+").all()


@contextmanager
def small_disk(folder: Path, size: str):
    """A file system of this size."""
    folder.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def unrolled(*arguments: object, **surroundings: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "unrolled", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | surroundings)


def is_one_line(done: subprocess.CompletedProcess, *said: str) -> bool:
    """Whether a command ended with status 2 and an error without traceback."""
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    return done.returncode == 2 and "Traceback" not in done.stderr and all(word in errors[-1] for word in said)


DEMO = ROOT / "config/data/demo.yaml"


@pytest.mark.faults(
    "storage",
    "the disk is full when a table is written",
    "one line that names the file; nothing half-written is left",
)
@pytest.mark.parametrize("size", ["4k", "16k", "48k"])
def test_a_full_disk_is_one_line(tmp_path, size):
    with small_disk(tmp_path / "full", size) as disk:
        done = unrolled("table", "--card", DEMO, "--out", disk / "demo")
        assert is_one_line(done, "the disk is full", str(disk)), done.stderr
        assert not [path for path in disk.rglob("*") if path.name.startswith(".") or path.suffix == ".parquet"]


@pytest.mark.faults(
    "storage",
    "the folder for temporary files is full when MMseqs2 clusters",
    "one line with what MMseqs2 said or which file did not fit; the temporary folder is removed",
)
def test_a_full_temporary_folder_is_one_line(tmp_path):
    assert unrolled("table", "--card", DEMO, "--out", tmp_path).returncode == 0
    with small_disk(tmp_path / "full", "300k") as disk:
        command = ["cluster", "--table", tmp_path / "table.parquet", "--data-card", DEMO, "--identity", 0.3]
        done = unrolled(*command, "--out", tmp_path / "clusters.parquet", TMPDIR=str(disk))
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert list(disk.iterdir()) == []
    assert not (tmp_path / "clusters.parquet").exists()


@pytest.mark.faults(
    "storage",
    "the results folder is read-only",
    "one line that names the folder and says what to do",
)
def test_a_read_only_folder_is_one_line(tmp_path):
    with small_disk(tmp_path / "ro", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = unrolled("table", "--card", DEMO, "--out", disk / "demo")
        assert is_one_line(done, str(disk), "read-only: mount it writable"), done.stderr


@pytest.mark.faults(
    "storage",
    "a file that would become larger than the system allows (`ulimit -f`)",
    "one line that names the file; nothing half-written is left",
)
def test_a_limit_of_sizes_is_one_line(tmp_path):
    command = f"ulimit -f 8; {sys.executable} -m unrolled table --card {DEMO} --out {tmp_path}/demo"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert is_one_line(done, "would become larger than is allowed"), done.stderr
    assert not list((tmp_path / "demo").glob(".*"))
