"""How the workflow grows with the matrix: `make bench-scale`.

A matrix of many seeds of five networks under two splits of the default experiment. Its plan is a dry run of
Snakemake. For `compare` and `report` the folders of the runs are written as training and evaluation write them, with
answers drawn at random for the 480 sequences of validation and test; both commands then run on them as they do in the
workflow. Memory is the most that a command and all processes below it held together, looked at every 0.1 s: the sum
of their proportional set sizes, in which what they share counts once; where the system does not tell these, of their
resident sizes.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import sections
import yaml
from memory import Watch

from unrolled import cards, runs
from unrolled.evaluate import evaluate
from unrolled.files import write_json

SIZES = (250, 500, 1000, 2000)
SPLITS = ("random", "cluster30")
MODELS = ("rnn", "lstm", "gru", "minlstm", "mlp")
EPOCHS = 9
BIN = Path(sys.executable).parent
SLURM = find_spec("snakemake_executor_plugin_slurm") is not None  # `pip install unrolled[cluster]`


def matrix(n: int) -> dict[str, list[Any]]:
    """Axes of n runs, a multiple of ten."""
    seeds = list(range(n // (len(SPLITS) * len(MODELS))))
    return {"data": ["demo"], "split": list(SPLITS), "model": list(MODELS), "fold": [0], "seed": seeds}


def measured(command: list[str], folder: Path) -> dict[str, float]:
    """Wall seconds and peak memory (MiB), with all processes below it, of a command that must succeed."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = psutil.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=said)
        with Watch(process) as watch:
            status = process.wait()
        seconds = time.perf_counter() - started
        if status:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{said.read()}")
    return {"seconds": seconds, "MiB": watch.most}


def project(folder: Path, n: int) -> Path:
    """The default experiment with a matrix of n runs."""
    for name in ("config", "profiles", "workflow", "envs"):
        shutil.copytree(name, folder / name)
    shutil.copy("Snakefile", folder)
    path = folder / "config/config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"matrix": matrix(n)}))
    return folder


def plans() -> list[dict]:
    """Dry runs, of nothing done yet."""
    rows = []
    for n in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            place = project(Path(folder), n)
            command = [str(BIN / "snakemake"), "-n", "--quiet", "rules"]
            found = measured(command, place)
            slurm = measured([*command, "--profile", "workflow/profiles/slurm"], place) if SLURM else {}
        row = {"runs": n, "dry run (s)": found["seconds"], "MiB": found["MiB"]}
        rows.append(row | {"with Slurm's profile (s)": slurm.get("seconds"), "its MiB": slurm.get("MiB")})
    return rows


def tables() -> list[dict]:
    """`compare` and `report` of synthesised runs."""
    rows = []
    for n in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            place = project(Path(folder), n)
            facts(place)
            material = test_sets(place)
            for cell in cards.cells(matrix(n), {name: {"kind": "neural"} for name in MODELS}):
                write_run(place / "results/demo/runs" / cell.folder, cell, material[cell.split])
            axes = json.dumps(matrix(n))
            there = ["--results", "results/demo", "--matrix", axes]
            first = measured([str(BIN / "unrolled"), "compare", *there, "--threads", str(os.cpu_count())], place)
            second = measured([str(BIN / "unrolled"), "report", *there], place)
            page = (place / "results/demo/report.html").stat().st_size / 2**20
        row = {"runs": n, "compare (s)": first["seconds"], "compare (MiB)": first["MiB"]}
        rows.append(row | {"report (s)": second["seconds"], "report (MiB)": second["MiB"], "page (MiB)": page})
    return rows


def facts(place: Path) -> None:
    """The table, its splits and certificates, by the workflow itself."""
    wanted = [f"results/data/demo/{split}/certificate.json" for split in SPLITS]
    command = [str(BIN / "snakemake"), "--cores", "all", "--quiet", "all", "--", *wanted]
    subprocess.run(command, cwd=place, check=True, stderr=subprocess.DEVNULL)


def test_sets(place: Path) -> dict[str, runs.Material]:
    """What a run of each split may see."""
    card, data = cards.read_yaml(Path("config/data/demo.yaml")), place / "results/data/demo"
    return {s: runs.load(data / "table.parquet", data / s / "folds.parquet", 0, card) for s in SPLITS}


def write_run(out: Path, cell: cards.Cell, material: runs.Material) -> None:
    """A run's folder: answers drawn at random, a history, a record and the metrics."""
    rng = np.random.default_rng([cell.seed, MODELS.index(cell.model), SPLITS.index(cell.split)])
    K, answers = len(material.classes), {}
    for name in runs.PARTS[1:]:
        part = material.parts[name]
        logits = rng.normal(size=(len(part), K)) + 2 * part.y
        answers[name] = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)  # (N, K)
    runs.write_predictions(out / "predictions.parquet", material, answers)
    names = ["seconds", "lr", "train_loss", "val_loss", "val_accuracy", "grad_norm_mean", "grad_norm_max"]
    names += ["clipped_share", "grad_spikes", "tokens_per_second"]
    history = pd.DataFrame(rng.uniform(0.1, 1, (EPOCHS, len(names))), columns=names)
    history.insert(0, "epoch", range(EPOCHS))
    history.to_csv(out / "history.csv", index=False)
    record = {"params": 9000, "seconds": 8.0, "epochs": EPOCHS, "best_epoch": 7, "tokens_per_second": 1e5}
    config = {"cell": vars(cell)}
    runs.write_record(out / "run.json", material=material, config=config, kind="neural", device="cpu", **record)
    write_json(out / "metrics.json", evaluate(out / "predictions.parquet", out / "run.json"))


SECTIONS = {
    "plan": ("The plan: a dry run", plans),
    "tables": ("Tables and report", tables),
}


def about(_: str) -> str:
    """Said of both."""
    return "Seconds are wall time with nothing else running, Python's start included."


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sections.main(__doc__, SECTIONS, "scale", "Scale", about)
