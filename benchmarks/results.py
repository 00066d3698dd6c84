"""What the shipped experiments give: `make results`, or `make results SECTIONS=flip_ss` for one.

Means over folds and seeds with 95 % intervals, which come from resampling seeds and groups of test sequences:
clusters or families where the split keeps them together, single sequences under a random or published one. A
split's share of similar sequences is what its certificate found in other folds: under local80 (nucleotides:
local80-nt) at the split's identity, of series exact copies. Data sets with `simulate` in their card are simulated:
there, what is similar may be so by chance. Published yardsticks carry their source.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).parent))
import sections

from unrolled import plots

MIRROR = Path(os.environ.get("MIRROR", "../shared/data"))
SHOWN = {  # metrics of each task that a table of the page has room for
    "multiclass": ["accuracy", "macro_f1", "mcc", "auroc"],
    "multilabel": ["accuracy", "macro_f1", "mcc", "auroc"],
    "regression": ["spearman", "rmse", "r2"],
    "labelling": ["accuracy", "chain_accuracy", "sov", "macro_f1"],
    "generation": ["bits_per_residue", "perplexity"],
    "transduction": ["token_accuracy", "exact_match", "edit_distance", "bits_per_token"],
}
YARDSTICKS = {
    "flip_ss": [
        ("one-hot, CB513 (Rao et al. 2019)", {"accuracy": "0.69"}),
        ("LSTM with pretraining, CB513 (Rao et al. 2019)", {"accuracy": "0.73 to 0.75"}),
        ("HHblits profiles, CB513 (Klausen et al. 2019)", {"accuracy": "0.84"}),
    ],
    "physionet2012": [("GRU-D, the same 4,000 stays (Che et al. 2018)", {"auroc": "0.842 +- 0.012"})],
}
PER_CLASS = ["deeploc2", "multiloc2"]  # experiments of which every class is shown
FIGURES = ("headline", "bands", "lengths")  # of each report, where there
EXPERIMENTS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted(Path("config/experiments").glob("*.yaml"))
}


def measure(name: str) -> list[dict]:
    """Run an experiment to its end, which goes on where it stopped, and read its tables."""
    command = [str(Path(sys.executable).parent / "snakemake"), "--cores", "all"]
    command += ["--quiet", "rules", "--configfile", f"config/experiments/{name}.yaml"]
    subprocess.run([*command, *(["--config", f"mirror={MIRROR}"] if MIRROR.is_dir() else [])], check=True)
    tables = Path(f"results/{name}/tables")
    summary, runs = pd.read_csv(tables / "summary.csv"), pd.read_csv(tables / "runs.csv")
    rows = [_row(key, part, runs) for key, part in summary.groupby(["data", "split", "model"], sort=False)]
    columns = list(rows[0])
    return rows + [dict.fromkeys(columns, "") | {"model": who} | found for who, found in YARDSTICKS.get(name, [])]


def per_class(name: str) -> list[dict]:
    """F1 and MCC of every class, one row a class, from the tables of an experiment that `measure` has run."""
    classes = pd.read_csv(f"results/{name}/tables/classes.csv").query("model != 'majority'")
    classes["shown"] = [f"{f1:.2f} / {mcc:.2f}" for f1, mcc in zip(classes["f1"], classes["mcc"], strict=True)]
    classes["column"] = classes["model"] + ", " + classes["split"]
    wide = classes.pivot(index="class", columns="column", values="shown")[classes["column"].unique()]
    return wide.reset_index().to_dict("records")


def _row(key: Any, part: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    data, split, model = key
    task = yaml.safe_load(Path(f"config/data/{data}.yaml").read_text(encoding="utf-8"))["task"]
    own = runs[(runs["data"] == data) & (runs["split"] == split) & (runs["model"] == model)]
    certificate = json.loads(Path(f"results/data/{data}/{split}/certificate.json").read_text())
    leaking = f"{100 * certificate['share_above']:.2f}"
    row = {"data": data, "split": split, "found similar, %": leaking, "model": model}
    by_metric = part.set_index("metric")
    row |= {metric: _with_interval(by_metric.loc[metric]) for metric in SHOWN[task]}
    return row | {"runs": str(len(own)), "minutes a run": f"{own['seconds'].mean() / 60:.1f}"}


def _with_interval(row: pd.Series) -> str:
    interval = "" if pd.isna(row["low"]) else f" ({row['low']:.3f} to {row['high']:.3f})"
    return f"{row['mean']:.3f}{interval}"


def figures(section: str) -> list[sections.Figure]:
    """Those of the report that the page shows, too."""
    paths = [path for name in FIGURES for path in sorted(Path(f"results/{section}/figures").glob(f"*/{name}.svg"))]
    return [
        sections.Figure(
            f"{path.parent.name}: {plots.describe(path.stem)}", path, f"{section}-{path.parent.name}-{path.name}"
        )
        for path in paths
    ]


def about(section: str) -> str:
    """Which commits trained the runs, and what was compared."""
    name = section.removesuffix("_classes")
    records = [json.loads(path.read_text()) for path in Path(f"results/{name}/runs").rglob("run.json")]
    commits = ", ".join(sorted({str(record["commit"]) for record in records}))
    matrix = EXPERIMENTS[name]["matrix"]
    folds, seeds = (", ".join(map(str, matrix[axis])) for axis in ("fold", "seed"))
    return f"Runs trained at {commits}; folds {folds}, seeds {seeds}; `config/experiments/{name}.yaml`."


if __name__ == "__main__":
    made = {}
    for name in EXPERIMENTS:
        made[name] = name, lambda name=name: measure(name)
        if name in PER_CLASS:
            made[f"{name}_classes"] = f"{name}: F1 / MCC of each class", lambda name=name: per_class(name)
    sections.main(__doc__, made, "results", "What the experiments give", about, figures)
