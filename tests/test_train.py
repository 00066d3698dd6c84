"""Training: what a run hands over, that a seed decides every byte, and that a killed run loses nothing."""

import json
import math
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.pytorch.plugins import MixedPrecision
from omegaconf import OmegaConf

from unrolled import inputs, kernel, provenance, runs, split, train
from unrolled import table as tables
from unrolled.baselines import BASELINES
from unrolled.baselines import run as run_baseline
from unrolled.cards import Deck, cells, read_yaml
from unrolled.checkpoints import Checkpoints
from unrolled.errors import UnrolledError
from unrolled.evaluate import evaluate
from unrolled.files import write_json
from unrolled.fitting import misfit
from unrolled.gate import folds_hash, sequences_hash
from unrolled.objectives import OBJECTIVES, UNKNOWN
from unrolled.recipe import Training
from unrolled.simulate import simulate

ROOT = Path(__file__).parents[1]
DECK = Deck(ROOT / "config", ROOT / "workflow" / "schemas")
LETTERS = DECK.card("data", "demo")
NETWORKS = {name: card["network"] for name in DECK.names("model") if "network" in (card := DECK.card("model", name))}
DECODERS = [name for name, network in NETWORKS.items() if "decoder" in network]
NEURAL = [n for n in NETWORKS if n not in DECODERS and not misfit(DECK.card("model", n), LETTERS)]
OF_LETTERS = [name for name in BASELINES if name != "boosting"]
SILENT = ["wandb.mode=disabled"]
QUICK = ["++model.network.encoder.d_h=8", "++model.network.d_e=4", "train.max_epochs=3", *SILENT]

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*num_workers:",  # the data lie in memory: workers would only copy them
    "ignore:.*exists and is not empty:",  # checkpoints to resume from
    "ignore:.*LeafSpec:",  # Lightning under a newer torch
)


def write_material(folder: Path, table: pd.DataFrame, task: str = "multiclass") -> None:
    tables.write(folder / "table.parquet", table)
    folds = split.make_folds(table, {"group": "sequence", "folds": 5, "seed": 0}, task)
    folds.to_parquet(folder / "folds.parquet", index=False)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    write_material(folder, simulate(n=240, families=40, seed=0))
    return folder


def config_of(material: Path, out: Path, *changes: str) -> dict:
    paths = [f"paths.table={material}/table.parquet", f"paths.folds={material}/folds.parquet", f"paths.out={out}"]
    with initialize_config_dir(str(ROOT / "config"), version_base="1.3"):
        config = OmegaConf.to_container(compose("train", [*paths, *changes]), resolve=True)
    names = dict(change.split("=") for change in changes if change.split("=")[0] in ("data", "model", "split"))
    cell = {"data": "demo", "split": "random", "model": "lstm"} | names
    return config | {"cell": cell | {"fold": config.pop("fold"), "seed": config.pop("seed")}}


def trained(material: Path, out: Path, *changes: str) -> Path:
    train.train(config_of(material, out, *QUICK, *changes))
    return out


def same(one: Path, two: Path) -> bool:
    return (one / "predictions.parquet").read_bytes() == (two / "predictions.parquet").read_bytes()


def numbers(history: Path) -> pd.DataFrame:
    return pd.read_csv(history).drop(columns=["seconds", "tokens_per_second"])


@pytest.mark.parametrize("model", NEURAL)
def test_a_run_hands_over_what_the_contract_says(material, tmp_path, model):
    out = trained(material, tmp_path / "run", f"model={model}", "seed=3")
    record = json.loads((out / "run.json").read_text())
    assert {k: record[k] for k in ("data", "split", "model", "fold", "seed", "kind", "epochs")} == {
        "data": "demo", "split": "random", "model": model, "fold": 0, "seed": 3, "kind": "neural", "epochs": 3,
    }  # fmt: skip
    history = pd.read_csv(out / "history.csv")
    assert history["epoch"].tolist() == [0, 1, 2]
    assert (history["grad_norm_max"] >= history["grad_norm_mean"]).all()
    assert record["best_epoch"] == history["val_loss"].idxmin()
    steps = pd.read_csv(out / "steps.csv").groupby("epoch")["grad_norm"]
    assert steps.mean().to_numpy() == pytest.approx(history["grad_norm_mean"].to_numpy())
    instruments = pd.read_csv(out / "instruments.csv")
    recurrent = DECK.card("model", model)["network"]["encoder"]["_target_"].startswith("unrolled.recurrent.")
    assert instruments["epoch"].unique().tolist() == ([0, 1, 2] if recurrent else [])
    expected = {"gradient"} if model.startswith("min") else {"gradient", "spectral_norm"}
    assert not recurrent or expected <= set(instruments["quantity"])
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["best.ckpt", "fingerprint", "finished", "lock"]
    predictions = pd.read_parquet(out / "predictions.parquet")
    folds = pd.read_parquet(material / "folds.parquet")
    assert set(predictions.loc[predictions["part"] == "test", "id"]) == set(folds.loc[folds["fold"] == 0, "id"])
    assert set(predictions.loc[predictions["part"] == "validation", "id"]) == set(folds.loc[folds["fold"] == 1, "id"])
    assert math.isfinite(evaluate(out / "predictions.parquet", out / "run.json")["metrics"]["macro_f1"])


@pytest.mark.faults(
    "hostile input",
    "the certificate of other folds, or of a homology split with relatives across folds, is given to a run",
    "one line with both files, or the pairs; nothing is trained",
)
@pytest.mark.parametrize("kind", ["network", "baseline"])
def test_nothing_is_trained_on_folds_that_their_certificate_does_not_admit(material, tmp_path, kind):
    folds, path = pd.read_parquet(material / "folds.parquet"), tmp_path / "certificate.json"
    offender = {"id": "a", "fold": 0, "nearest": "b", "nearest_fold": 1, "identity": 0.9}
    facts = {"group": "sequence", "threshold": 0.3, "definition": "local80", "above_threshold": 1, "pairs_above": 1}
    facts |= {"offenders": [offender], "sequences_sha256": sequences_hash(tables.read(material / "table.parquet"))}

    def run(**changes):
        write_json(path, facts | changes)
        if kind == "network":
            return trained(material, tmp_path / "run", f"paths.certificate={path}", "train.max_epochs=1")
        places = {"table": material / "table.parquet", "folds": material / "folds.parquet", "certificate": path}
        cards = {
            "data_card": {"name": "demo", **LETTERS},
            "model_card": {"name": "m", **DECK.card("model", "majority")},
        }
        off = {"wandb": {"mode": "disabled"}, "wandb_dir": tmp_path, "out": tmp_path / "run"}
        return run_baseline(**places, **cards, **off, split="random", fold=0, seed=0)

    with pytest.raises(UnrolledError, match="the folds were changed since, or are another table's"):
        run(folds_sha256=folds_hash(folds.assign(fold=(folds["fold"] + 1) % 5)))
    with pytest.raises(UnrolledError, match=r"a \(fold 0\) and b \(fold 1\): 90\.0 %"):
        run(folds_sha256=folds_hash(folds), group="homology")
    assert not (tmp_path / "run" / "run.json").exists()
    run(folds_sha256=folds_hash(folds))
    assert (tmp_path / "run" / "run.json").exists()


def test_what_has_no_fold_takes_no_part(material, tmp_path):
    folds = pd.read_parquet(material / "folds.parquet").astype({"fold": "Int64"})
    folds.loc[:2, "fold"] = [-1, pd.NA, -1]
    folds.to_parquet(tmp_path / "folds.parquet", index=False)
    loaded = runs.load(
        material / "table.parquet", tmp_path / "folds.parquet", 0, config_of(material, tmp_path)["data"]
    )
    seen = {name for part in loaded.parts.values() for name in part.ids}
    assert seen == set(folds["id"][3:])


def test_nothing_is_trained_on_other_sequences_than_the_certificates(material, tmp_path):
    card, path = config_of(material, tmp_path)["data"], tmp_path / "certificate.json"
    table, places = tables.read(material / "table.parquet"), (material / "table.parquet", material / "folds.parquet")
    write_json(path, {"sequences_sha256": sequences_hash(table)})
    assert runs.load(*places, 0, card, path).parts["train"].ids
    write_json(path, {"sequences_sha256": sequences_hash(table.assign(sequence="MKV"))})
    with pytest.raises(UnrolledError, match="is of other sequences than the table's"):
        runs.load(*places, 0, card, path)


@pytest.mark.parametrize(
    ("model", "device", "says"),
    [
        ("lstm", "cpu", "; recurrences by torch.nn; no kernel was compiled at installation"),
        ("gru", "cpu", "; recurrences by PyTorch; no kernel was compiled at installation"),
        ("lstm", "cuda", "; recurrences by torch.nn (cuDNN)\n"),
        ("gru", "cuda", "; recurrences by PyTorch; cuDNN has no counterpart\n"),
        ("window", "cpu", "0 shortened\n"),
    ],
)
def test_a_run_says_what_computes_its_recurrences(material, tmp_path, monkeypatch, capsys, model, device, says):
    config = config_of(material, tmp_path, f"model={model}", *QUICK)
    loaded = runs.load(material / "table.parquet", material / "folds.parquet", 0, config["data"])
    network = train.build(config, loaded)
    if kernel.library():
        train._say_start(config, loaded, network, None)
        assert ("recurrences by compiled kernel (" in capsys.readouterr().err) == (model != "window")
    monkeypatch.setattr(kernel, "library", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
    train._say_start(config, loaded, network, None)
    said = capsys.readouterr().err
    assert says in said
    assert "; resuming" not in said


@pytest.mark.parametrize(
    ("given", "warned"),
    [("0", True), ("GPU-8932f937", True), ("", False), ("-1", False), ("NoDevFiles", False)],
)
def test_a_gpu_that_is_set_aside_and_not_seen_is_warned_of(material, tmp_path, monkeypatch, capsys, given, warned):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    trained(material, tmp_path / "run", "train.max_epochs=1")
    assert ("sets a GPU aside for this run, but PyTorch sees none" in capsys.readouterr().err) == warned


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(material, tmp_path):
    one, two = (trained(material, tmp_path / name) for name in ("one", "two"))
    other = trained(material, tmp_path / "other", "seed=1")
    assert same(one, two)
    pd.testing.assert_frame_equal(numbers(one / "history.csv"), numbers(two / "history.csv"))
    assert not same(one, other)


def launch(material: Path, out: Path, until: str | None = None) -> str:
    """Run `unrolled train` for eight epochs and return what it says; kill -9 it at a line starting with `until`."""
    paths = [f"paths.table={material}/table.parquet", f"paths.folds={material}/folds.parquet", f"paths.out={out}"]
    changes = [*QUICK, "train.max_epochs=8", "model.network.dropout=0.3", f"--config-dir={ROOT}/config"]
    command = [sys.executable, "-m", "unrolled", "train", *paths, *changes]
    said = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=out.parent) as process:
        for line in process.stderr:
            said.append(line)
            if until and line.startswith(until):
                process.kill()
    assert process.returncode == (-signal.SIGKILL if until else 0), "".join(said)
    return "".join(said)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(material, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    launch(material, whole)
    launch(material, broken, until="epoch   3")
    assert not (broken / "predictions.parquet").exists()
    said = launch(material, broken)
    assert "resuming" in said
    assert "epoch   2/8" not in said
    assert json.loads((broken / "run.json").read_text())["resumed"]
    pd.testing.assert_frame_equal(numbers(broken / "history.csv"), numbers(whole / "history.csv"))
    assert same(whole, broken)


def test_a_run_stopped_early_and_killed_before_it_wrote_does_not_train_on(material, tmp_path, monkeypatch):
    early = ["train.patience=1", "train.learning_rate=0.3", "train.max_epochs=30"]
    whole = trained(material, tmp_path / "whole", *early)
    assert json.loads((whole / "run.json").read_text())["stopped"] == "no better validation loss"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unrolled.runs.write_predictions", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(material, tmp_path / "broken", *early)
    broken = trained(material, tmp_path / "broken", *early)
    pd.testing.assert_frame_equal(numbers(broken / "history.csv"), numbers(whole / "history.csv"))
    assert same(whole, broken)


def test_a_run_that_diverged_and_was_killed_before_it_wrote_does_not_train_on(material, tmp_path, monkeypatch):
    """Its validation loss is not finite in the third epoch."""
    mean = Training.mean

    def diverging(self, name):
        value = mean(self, name)
        return math.nan if name == "val_loss" and self.current_epoch == 2 else value

    monkeypatch.setattr(Training, "mean", diverging)
    whole = trained(material, tmp_path / "whole", "train.max_epochs=6")
    assert json.loads((whole / "run.json").read_text())["stopped"].endswith("validation loss was not finite")
    assert len(numbers(whole / "history.csv")) == 3

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unrolled.runs.write_predictions", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(material, tmp_path / "broken", "train.max_epochs=6")
    broken = trained(material, tmp_path / "broken", "train.max_epochs=6")
    pd.testing.assert_frame_equal(numbers(broken / "history.csv"), numbers(whole / "history.csv"))
    assert same(whole, broken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model=transformer", "model.network.encoder.heads=3"], r"model 'transformer': d_h: 8 is no multiple of"),
        (["model=gru", "+model.network.encoder.heads=3"], r"model 'gru': .*unexpected keyword argument 'heads'"),
    ],
)
def test_a_network_that_cannot_be_built_is_one_line(material, tmp_path, changes, message):
    with pytest.raises(UnrolledError, match=message):
        trained(material, tmp_path / "run", *changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model=gruu"], r"Could not find 'model/gruu'"),
        (["train.max_epoch=3"], r"Could not override 'train\.max_epoch'"),
        (["paths.out=run", "paths.folds=x"], r"error: paths\.table has no value: say paths\.table="),
        (["paths.out=run", "paths.table=none", "paths.folds=none"], r"none: there is no such file or folder"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_message(tmp_path, changes, message):
    command = [sys.executable, "-m", "unrolled", "train", f"--config-dir={ROOT}/config", *changes]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr


def test_checkpoints_of_other_settings_are_not_resumed(material, tmp_path):
    checkpoints = trained(material, tmp_path / "run") / "checkpoints"
    (checkpoints / "best.ckpt").rename(checkpoints / "last.ckpt")
    identity = (checkpoints / "fingerprint").read_text()
    assert Checkpoints(checkpoints, identity).last == checkpoints / "last.ckpt"
    assert Checkpoints(checkpoints, "another").last is None
    assert not list(checkpoints.glob("*.ckpt"))


def copied_sources(folder: Path) -> Path:
    compiled = shutil.ignore_patterns("*.so", "__pycache__")
    return shutil.copytree(provenance.FOLDER, folder / "unrolled", ignore=compiled)


def test_a_run_whose_sources_were_edited_is_another(material, tmp_path, monkeypatch):
    config = config_of(material, tmp_path / "run", *QUICK)
    before = train.fingerprint(config)
    copy = copied_sources(tmp_path)
    monkeypatch.setattr(provenance, "FOLDER", copy)
    assert train.fingerprint(config) == before
    for name in ("scan.py", "kernel_walk.h", "table.py"):
        with (copy / name).open("a") as source:
            source.write("\n")
        assert train.fingerprint(config) != before
        before = train.fingerprint(config)
    (copy / "report.py").unlink()
    assert train.fingerprint(config) == before


def test_a_baseline_is_put_back_unless_its_sources_were_edited(material, tmp_path, monkeypatch, capsys):
    baseline(material, tmp_path, "majority", "multiclass")
    (tmp_path / "run.json").unlink()
    baseline(material, tmp_path, "majority", "multiclass")
    assert "finished before, and put back" in capsys.readouterr().err
    copy = copied_sources(tmp_path)
    with (copy / "baselines.py").open("a") as source:
        source.write("\n")
    monkeypatch.setattr(provenance, "FOLDER", copy)
    baseline(material, tmp_path, "majority", "multiclass")
    assert "put back" not in capsys.readouterr().err


UNDECIDING = {  # what runs import, and no number of theirs depends on
    *("cards", "deferred", "doctor", "errors", "files", "fitting", "formulas", "heap", "homology"),
    *("progress", "provenance", "server", "tracking", "uploading"),
    *("evaluate", "scoring", "metrics", "likelihood_metrics", "number_metrics", "position_metrics"),
    *("sequence_metrics", "thresholds", "weighted", "areas", "pairwise"),
}


@pytest.mark.parametrize(
    ("modules", "named"),
    [
        ("train models decoder feedforward", provenance.NETWORK),
        ("baselines", provenance.BASELINE),
    ],
)
def test_what_a_run_imports_is_among_the_sources_that_decide_it(modules, named):
    code = f"import sys; import {', '.join(f'unrolled.{name}' for name in modules.split())}; "
    code += "print(*(name for name in sys.modules if name.startswith('unrolled.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = {name.removeprefix("unrolled.") for name in done.stdout.split()}
    assert found - UNDECIDING <= set(named)


def test_a_gradient_that_is_not_finite_stops_the_run_with_the_lectures_remedies(material, tmp_path):
    for _ in range(2):  # another attempt does not go on behind it
        with pytest.raises(UnrolledError, match=r"lower train\.learning_rate"):
            trained(material, tmp_path / "run", "train.learning_rate=1e30", "model=rnn")
        assert not list((tmp_path / "run/checkpoints").glob("*.ckpt"))


def test_a_scaled_loss_that_overflows_skips_its_step_and_one_that_is_not_scaled_up_has_diverged():
    training = Training(torch.nn.Linear(2, 1), "regression", {"clip_norm": 1.0}, seed=0)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    training.trainer = trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=scaler), should_stop=False)
    sgd, before = torch.optim.SGD(training.parameters(), lr=1.0), training.network.weight.clone()

    def step(gradient: float) -> None:
        sgd.zero_grad()
        scaler.scale(gradient * training.network(torch.ones(1, 2)).sum()).backward()
        scaler.unscale_(sgd)
        training.configure_gradient_clipping(sgd)
        scaler.step(sgd)
        scaler.update()

    step(math.inf)
    assert (training.skipped, training.norms, training.diverged, scaler.get_scale()) == (1, [], False, 2.0)
    assert torch.equal(training.network.weight, before)
    step(2.0)
    assert training.norms == [pytest.approx(2 * math.sqrt(3))]
    assert not torch.equal(training.network.weight, before)
    step(math.nan)
    assert (training.skipped, training.diverged, scaler.get_scale()) == (2, False, 1.0)
    step(math.inf)
    assert (training.skipped, training.diverged, trainer.should_stop) == (2, True, True)


def test_a_run_of_scaled_losses_counts_the_steps_that_it_skips(material, tmp_path, monkeypatch):
    """What a GPU does under 16-mixed, with a scale that is too high at first."""
    known = train.L.Trainer

    def scaled(**options):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**21)
        plugins = [*options.pop("plugins"), MixedPrecision("16-mixed", "cpu", scaler)]
        return known(**{**options, "plugins": plugins, "precision": None})

    monkeypatch.setattr(train.L, "Trainer", scaled)
    out = trained(material, tmp_path / "run")
    history, steps = pd.read_csv(out / "history.csv"), pd.read_csv(out / "steps.csv")
    assert history["skipped_steps"].iloc[0] > 0
    assert history["skipped_steps"].iloc[-1] == 0
    assert np.isfinite(history[["grad_norm_mean", "grad_norm_max"]]).all(axis=None)
    assert np.isfinite(steps["grad_norm"]).all()
    assert json.loads((out / "run.json").read_text())["stopped"] == "max_epochs"


def test_looking_on_changes_nothing(material, tmp_path):
    one = trained(material, tmp_path / "one", "train.instruments=5")
    two = trained(material, tmp_path / "two", "train.instruments=0")
    assert same(one, two)
    assert (two / "instruments.csv").read_text().count("\n") == 1  # the header


def test_a_tau_that_keeps_clipping_is_warned_of(material, tmp_path, capsys):
    trained(material, tmp_path / "run", "train.clip_norm=0.01")
    assert capsys.readouterr().err.count("warning: tau = train.clip_norm is below 0.5") == 1


@pytest.mark.slow
def test_shuffled_labels_give_chance(tmp_path):
    table = simulate(n=600, families=60, seed=0)
    table["target"] = np.random.default_rng(0).permutation(table["target"])
    write_material(tmp_path, table)
    out = trained(tmp_path, tmp_path / "run", "train.max_epochs=8", "++model.network.encoder.d_h=16")
    measured = evaluate(out / "predictions.parquet", out / "run.json")["metrics"]
    assert measured["auroc"] == pytest.approx(0.5, abs=0.08)
    assert measured["mcc"] == pytest.approx(0.0, abs=0.12)


@pytest.mark.slow
def test_signals_are_learned(tmp_path):
    write_material(tmp_path, simulate(n=600, families=60, seed=0))
    train.train(config_of(tmp_path, tmp_path / "run", *SILENT, "train.max_epochs=15", "train.learning_rate=3e-3"))
    measured = evaluate(tmp_path / "run" / "predictions.parquet", tmp_path / "run" / "run.json")["metrics"]
    assert measured["auroc"] > 0.8


def test_multilabel_targets_train_and_sum_to_what_they_like(tmp_path):
    table = simulate(n=120, families=20, seed=0)
    table["target"] = ["a|b", "b", "a", "c"] * 30
    write_material(tmp_path, table, "multilabel")
    out = trained(tmp_path, tmp_path / "run", "data.task=multilabel")
    predictions = pd.read_parquet(out / "predictions.parquet")
    sums = predictions[["p:a", "p:b", "p:c"]].sum(axis=1)
    assert sums.std() > 0
    assert set(evaluate(out / "predictions.parquet", out / "run.json")["thresholds"]) == {"a", "b", "c"}


def composition(sequences: pd.Series) -> pd.Series:
    """Percent of charged residues: a number that any reader of all positions can find."""
    return (100 * sequences.str.count("[DEKR]") / sequences.str.len()).map("{:.2f}".format)


def in_unit(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions.assign(truth=predictions["target"].astype(float)).query("part == 'test'")


@pytest.mark.parametrize("model", ["lstm", "mlp", "transformer"])
def test_numbers_are_learned_in_their_own_unit(tmp_path, model):
    table = simulate(n=300, families=60, seed=0)
    write_material(tmp_path, table.assign(target=composition(table["sequence"])), "regression")
    changes = ["data.task=regression", "train.max_epochs=15", "train.learning_rate=0.01"]
    out = trained(tmp_path, tmp_path / "run", f"model={model}", *changes)
    predictions = in_unit(pd.read_parquet(out / "predictions.parquet"))
    assert abs(predictions["prediction"].mean() - predictions["truth"].mean()) < 2
    report = evaluate(out / "predictions.parquet", out / "run.json")
    assert report["metrics"]["spearman"] > 0.8
    assert report["metrics"]["rmse"] < 0.7 * predictions["truth"].std()
    assert (report["per_class"], report["confusion"], report["calibration"], report["thresholds"]) == (
        [],
        [],
        [],
        None,
    )
    record = json.loads((out / "run.json").read_text())
    assert record["classes"] == []
    assert record["scale"]["mean"] == pytest.approx(predictions["truth"].mean(), abs=2)
    assert pd.read_csv(out / "history.csv")["val_accuracy"].isna().all()


def buried(sequence: str) -> str:
    """Hydrophobic or not, of every residue; of proline nothing is known."""
    return "".join("-" if letter == "P" else "H" if letter in "AVLIMFWC" else "p" for letter in sequence)


@pytest.mark.parametrize("model", ["lstm", "linear", "window", "transformer"])
def test_a_label_for_every_position_is_learned(tmp_path, model):
    table = simulate(n=120, families=30, seed=0)
    write_material(tmp_path, table.assign(target=table["sequence"].map(buried)), "labelling")
    changes = ["data.task=labelling", "data.max_length=60", "train.max_epochs=12", "train.learning_rate=0.02"]
    out = trained(tmp_path, tmp_path / "run", f"model={model}", *changes)
    predictions = pd.read_parquet(out / "predictions.parquet")
    assert (predictions["p:H"].str.len() == predictions["target"].str.len()).all()
    assert predictions["target"].str.len().max() == 60
    report = evaluate(out / "predictions.parquet", out / "run.json")
    assert report["metrics"]["accuracy"] > 0.97
    known = predictions.loc[predictions["part"] == "test", "target"].str.count("[^-]").sum()
    assert sum(row["count"] for row in report["confusion"]) == sum(row["n"] for row in report["per_class"]) == known


def test_eight_states_of_secondary_structure_are_learned_and_scored(tmp_path):
    """Q8: the letters of DSSP, with C for coil."""
    table = simulate(n=120, families=30, seed=0)
    states = str.maketrans({letter: "GHIBESTC"[n % 8] for n, letter in enumerate("ACDEFGHIKLMNPQRSTVWYXBUZOJ")})
    write_material(tmp_path, table.assign(target=table["sequence"].str.translate(states)), "labelling")
    changes = ["data.task=labelling", "data.max_length=60", "train.max_epochs=12", "train.learning_rate=0.02"]
    out = trained(tmp_path, tmp_path / "run", *changes)
    report = evaluate(out / "predictions.parquet", out / "run.json")
    assert [row["class"] for row in report["per_class"]] == sorted("GHIBESTC")
    tested = pd.read_parquet(out / "predictions.parquet").query("part == 'test'")
    p = np.stack([np.concatenate(tested[f"p:{state}"].to_list()) for state in sorted("GHIBESTC")])
    right = np.array(sorted("GHIBESTC"))[p.argmax(axis=0)] == np.array(list("".join(tested["target"])))
    assert report["metrics"]["accuracy"] == pytest.approx(right.mean())
    assert right.mean() > 0.9
    assert sum(row["count"] for row in report["confusion"]) == right.size
    assert len(report["confusion"]) == 64


def test_unknown_positions_are_not_learned():
    outputs = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.tensor([[0, UNKNOWN, 2, 1, UNKNOWN], [UNKNOWN] * 5])
    objective = OBJECTIVES["labelling"]
    (grad,) = torch.autograd.grad(objective.loss(outputs, targets), outputs)
    assert torch.equal(grad.any(dim=2), targets != UNKNOWN)
    assert objective.weight(targets) == 3
    nothing = objective.loss(outputs[1:], targets[1:]).detach()
    assert float(nothing) == objective.weight(targets[1:]) == float(objective.accuracy(outputs[1:], targets[1:])) == 0


@pytest.mark.parametrize(("part", "fold"), [("test", 0), ("validation", 1)])
def test_a_part_without_a_single_label_is_refused_before_training(tmp_path, part, fold):
    table = simulate(n=40, families=20, seed=0)
    table["target"] = table["sequence"].map(buried)
    write_material(tmp_path, table, "labelling")
    where = pd.read_parquet(tmp_path / "folds.parquet").set_index("id")["fold"].reindex(table["id"]).to_numpy()
    table["target"] = np.where(where == fold, table["sequence"].str.len().map(lambda n: "-" * n), table["target"])
    tables.write(tmp_path / "table.parquet", table)
    with pytest.raises(UnrolledError, match=f"fold 0 leaves the {part} part without a single label"):
        runs.load(
            tmp_path / "table.parquet", tmp_path / "folds.parquet", 0, {"task": "labelling", "alphabet": "protein"}
        )


def test_long_sequences_keep_both_ends_and_are_counted(material, tmp_path):
    out = trained(material, tmp_path / "run", "data.max_length=50", "train.max_epochs=1")
    lengths = tables.read(material / "table.parquet")["sequence"].str.len()
    assert json.loads((out / "run.json").read_text())["n_shortened"] == (lengths > 50).sum() > 0


def test_folds_of_another_table_are_refused(material, tmp_path):
    write_material(tmp_path, simulate(n=100, families=20, seed=5).assign(id=lambda t: "other" + t["id"]))
    config = config_of(material, tmp_path / "run", *QUICK, f"paths.folds={tmp_path}/folds.parquet")
    with pytest.raises(UnrolledError, match="is in no fold"):
        train.train(config)


def test_a_table_of_another_kind_than_the_card_says_is_refused_before_training(material, tmp_path):
    name = tables.read(material / "table.parquet")["id"].iloc[0]
    expected = rf"table\.parquet: sequences that look like proteins, not like dna \(240 in all\):\n  '{name}'"
    with pytest.raises(UnrolledError, match=expected):
        trained(material, tmp_path / "run", "data.alphabet=dna")
    with pytest.raises(UnrolledError, match=expected):
        baseline(material, tmp_path / "other", "majority", "multiclass", alphabet="dna")
    assert not list(tmp_path.rglob("*.ckpt"))


def baseline(material: Path, tmp_path: Path, estimator: str, task: str, **card: str) -> dict:
    """Metrics of a baseline that was fitted to some material."""
    run_baseline(
        table=material / "table.parquet",
        folds=material / "folds.parquet",
        data_card={"name": "demo", "task": task, "alphabet": "protein"} | card,
        model_card={"name": estimator, "kind": "baseline", "estimator": estimator},
        split="random",
        fold=0,
        seed=0,
        wandb={"mode": "disabled"},
        wandb_dir=tmp_path,
        out=tmp_path,
    )
    return evaluate(tmp_path / "predictions.parquet", tmp_path / "run.json")["metrics"]


@pytest.mark.parametrize("estimator", OF_LETTERS)
def test_baselines_predict_numbers(tmp_path, estimator):
    table = simulate(n=240, families=40, seed=0)
    write_material(tmp_path, table.assign(target=composition(table["sequence"])), "regression")
    measured = baseline(tmp_path, tmp_path, estimator, "regression")
    assert (measured["spearman"] == 0) if estimator == "majority" else (measured["spearman"] > 0.5)
    assert measured["r2"] < 0.05 if estimator == "majority" else measured["r2"] > 0.2


def test_the_majority_of_positions_is_a_baseline(tmp_path):
    table = simulate(n=60, families=20, seed=0)
    write_material(tmp_path, table.assign(target=table["sequence"].map(buried)), "labelling")
    measured = baseline(tmp_path, tmp_path, "majority", "labelling")
    assert measured["mcc"] == 0
    assert 0.5 < measured["accuracy"] < 0.8


@pytest.mark.parametrize("estimator", OF_LETTERS)
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_baselines_keep_the_same_contract(material, tmp_path, estimator, task):
    measured = baseline(material, tmp_path, estimator, task)
    assert math.isfinite(measured["log_loss"])
    assert (measured["auroc"] == pytest.approx(0.5)) if estimator == "majority" else (measured["auroc"] > 0.6)


UNSEEN = [
    *((task, model) for task in ("multiclass", "multilabel") for model in ("lstm", "transformer", *OF_LETTERS)),
    *(("labelling", model) for model in ("lstm", "transformer", "majority")),
]


@pytest.mark.parametrize(("task", "model"), UNSEEN)
def test_a_class_that_training_never_saw_is_scored_and_seldom_said(tmp_path, task, model):
    """It is in the test fold alone."""
    table = simulate(n=150, families=30, seed=0)
    common = {"multiclass": ["a", "b", "a"], "multilabel": ["a", "b", "a|b"]}
    table["target"] = common[task] * 50 if task in common else table["sequence"].map(buried)
    write_material(tmp_path, table, task)
    folds = pd.read_parquet(tmp_path / "folds.parquet")
    tested = table["id"].isin(folds.loc[folds["fold"] == 0, "id"])
    rare = table.index[tested][:6]
    new = {"multiclass": "rare", "multilabel": "a|rare"}
    for row in rare:
        table.at[row, "target"] = new.get(task, "Z" * len(table.at[row, "sequence"]))
    tables.write(tmp_path / "table.parquet", table)
    if model in OF_LETTERS:
        measured = baseline(tmp_path, tmp_path / "run", model, task)
    else:
        out = trained(tmp_path, tmp_path / "run", f"model={model}", f"data.task={task}")
        measured = evaluate(out / "predictions.parquet", out / "run.json")["metrics"]
    said = pd.read_parquet(tmp_path / "run" / "predictions.parquet").query("part == 'test'")
    name = "Z" if task == "labelling" else "rare"
    likely = np.concatenate([np.atleast_1d(cell) for cell in said[f"p:{name}"]])
    assert (said["target"].str.contains(name)).sum() == 6
    assert ((likely >= 0) & (likely <= 1)).all()
    assert likely.mean() < 0.45  # a network of three epochs comes from 0.5
    assert math.isfinite(measured["log_loss"])
    assert 0 <= measured["macro_f1"] < 1


def shipped_cells():
    base = read_yaml(ROOT / "config" / "config.yaml")
    for path in [None, *sorted((ROOT / "config" / "experiments").glob("*.yaml"))]:
        matrix = base["matrix"] | (read_yaml(path)["matrix"] if path else {})
        models = {name: DECK.card("model", name) for name in matrix["model"]}
        for cell in cells(matrix, models):
            if models[cell.model]["kind"] == "neural":
                yield pytest.param(cell, id=f"{path.stem if path else 'config'}:{cell.folder}")


@pytest.mark.parametrize("cell", list(shipped_cells()))
def test_every_cell_of_every_shipped_matrix_composes_and_instantiates(cell, tmp_path):
    changes = [f"{axis}={getattr(cell, axis)}" for axis in ("data", "split", "model", "fold", "seed")]
    config = config_of(tmp_path, tmp_path, *changes)
    facts = {name: [0.0] for name in ("count", "mean", "deviation", "gap")} | {"variables": ["x"]}
    sizes = inputs.of(config["data"]).recall(facts).sizes
    network = instantiate(config["model"]["network"], **sizes, outputs=7)
    assert sum(p.numel() for p in network.parameters()) > 0
    DECK.check(config["train"], "train", "composed")


def test_every_training_setting_has_a_documented_default():
    assert set(read_yaml(ROOT / "workflow/schemas/train.schema.yaml")["properties"]) == set(
        read_yaml(ROOT / "config/train.yaml")["train"]
    )


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "lightning", "hydra", "wandb", "sklearn", "snakemake"}
BARRED = {
    "cli cards definitions fetch files provenance deferred tracking server uploading": {*HEAVY, "numpy", "pandas"},
    "dashboards remote leash steps run_steps": {*HEAVY, "numpy", "pandas"},
    "table task tasks transduction inputs series formats series_formats fasta_format records reading": HEAVY,
    "simulate split homology copies answers puzzles gate": HEAVY,
    "evaluate scoring metrics areas number_metrics position_metrics sequence_metrics weighted thresholds": HEAVY,
    "bootstrap compare tested means bands lengths plots report": HEAVY,
    "baselines sequence_baselines boosting choosing runs": HEAVY,
    "verdict takeaways grids wording results model_plots class_plots length_plots panels looks svg": HEAVY,
    "models feedforward objectives recurrent batching cells packing diagnostics": HEAVY - {"torch"},
    "recurrence engines scan kernel stepwise stock decoder decoding attention": HEAVY - {"torch"},
}


@pytest.mark.parametrize(("module", "barred"), [(m, barred) for ms, barred in BARRED.items() for m in ms.split()])
def test_a_step_imports_no_more_than_it_needs(module, barred):
    assert not barred & modules_after(f"import unrolled.{module}")


def spy(patch: pytest.MonkeyPatch) -> list[str]:
    """Where the networks are that are asked for predictions."""
    asked, known = [], train.predict

    def predict(training, *arguments):
        answers = known(training, *arguments)
        asked.append(next(training.parameters()).device.type)
        return answers

    patch.setattr(train, "predict", predict)
    return asked


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: whether it agrees with the CPU was not checked")
@pytest.mark.parametrize("model", ["rnn", "lstm", "gru", "mingru", "transformer"])
def test_a_gpu_learns_what_a_cpu_learns(material, tmp_path, monkeypatch, model):
    never = [f"++model.network.{part}dropout=0.0" for part in ("", "encoder.")]  # the devices would drop other units
    still = [*never, "train.max_epochs=2"]
    asked = spy(monkeypatch)
    there = trained(material, tmp_path / "gpu", f"model={model}", *still)
    assert set(asked) == {"cuda"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = trained(material, tmp_path / "cpu", f"model={model}", *still)
    assert [json.loads((out / "run.json").read_text())["device"] for out in (there, here)] == ["cuda:0", "cpu"]
    losses = [pd.read_csv(out / "history.csv")["val_loss"].to_numpy() for out in (there, here)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    said = [pd.read_parquet(out / "predictions.parquet").set_index("id").filter(like="p:") for out in (there, here)]
    assert (said[0] - said[1]).abs().to_numpy().max() < 1e-2


@pytest.mark.parametrize("model", ["lstm", "mingru", "transformer"])
def test_mixed_precision_learns_nearly_the_same(material, tmp_path, model):
    whole = trained(material, tmp_path / "whole", f"model={model}")
    mixed = trained(material, tmp_path / "mixed", f"model={model}", "train.precision=bf16-mixed")
    losses = [pd.read_csv(out / "history.csv")["val_loss"].to_numpy() for out in (whole, mixed)]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert (losses[0] != losses[1]).any()
