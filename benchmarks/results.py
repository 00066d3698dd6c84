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

from unrolled import cards, plots
from unrolled.generate import Wish, generate

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
SAMPLED, SAMPLES = ["generation"], 500  # experiments whose networks are asked for new sequences, and for how many
FIGURES = ("headline", "bands", "lengths")  # of each report, where there
EXPERIMENTS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted(Path("config/experiments").glob("*.yaml"))
}


def measure(name: str) -> list[dict]:
    """Run an experiment to its end, which goes on where it stopped, and read its tables."""
    command = [str(Path(sys.executable).parent / "snakemake"), "--cores", "all"]
    command += ["--quiet", "rules", "--configfile", f"config/experiments/{name}.yaml"]
    subprocess.run([*command, *(["--config", f"mirror={MIRROR}"] if _mirrored(name) else [])], check=True)
    tables = Path(f"results/{name}/tables")
    summary, runs = pd.read_csv(tables / "summary.csv"), pd.read_csv(tables / "runs.csv")
    rows = [_row(key, part, runs) for key, part in summary.groupby(["data", "split", "model"], sort=False)]
    columns = list(rows[0])
    return rows + [dict.fromkeys(columns, "") | {"model": who} | found for who, found in YARDSTICKS.get(name, [])]


def _mirrored(name: str) -> bool:
    """Whether the mirror has what an experiment downloads; it has no live query's answer."""
    sources = {data: _card(data) for data in EXPERIMENTS[name]["matrix"]["data"]}
    return all((MIRROR / card.get("dataset", data)).is_dir() for data, card in sources.items() if "files" in card)


def _card(data: str) -> dict[str, Any]:
    card: dict[str, Any] = yaml.safe_load(Path(f"config/data/{data}.yaml").read_text(encoding="utf-8"))
    return card


def samples(name: str) -> list[dict]:
    """What networks of an experiment that `measure` has run say by themselves, beside what they were trained on."""
    rows = []
    for run in _folders(name):
        data, split, model, place = run.parts[-4:]
        if place != "fold0-seed0" or _record(run)["kind"] != "neural":
            continue
        out = Path(f"results/{name}/samples/{data}-{split}-{model}.fasta")
        generate(run, Wish(n=SAMPLES), out, report=out.with_suffix(".json"), say=lambda _: None)
        found = json.loads(out.with_suffix(".json").read_text())
        lengths = {who: " / ".join(f"{one:.0f}" for one in found["length"][who]) for who in ("new", "training")}
        row = {"split": split, "model": model, **{key: found[key] for key in ("n", "distinct", "copies", "alike")}}
        row |= {"composition, bits apart": f"{found['composition_divergence_bits']:.4f}"}
        row |= {f"length, {who}: 5 %, median, 95 %": lengths[who] for who in lengths}
        row |= {f"{key} identity, %": _percent(found[f"{key}_identity"]) for key in ("median", "max")}
        rows.append(row)
    return rows


def _folders(name: str) -> list[Path]:
    """Those of an experiment's runs."""
    return cards.folders(Path(f"results/{name}"), EXPERIMENTS[name]["matrix"], Path("config"))


def _record(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run / "run.json").read_text())
    return record


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def per_class(name: str) -> list[dict]:
    """F1 and MCC of every class, one row a class, from the tables of an experiment that `measure` has run."""
    classes = pd.read_csv(f"results/{name}/tables/classes.csv").query("model != 'majority'")
    classes["shown"] = [f"{f1:.2f} / {mcc:.2f}" for f1, mcc in zip(classes["f1"], classes["mcc"], strict=True)]
    classes["column"] = classes["model"] + ", " + classes["split"]
    wide = classes.pivot(index="class", columns="column", values="shown")[classes["column"].unique()]
    return wide.reset_index().to_dict("records")


def _row(key: Any, part: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    data, split, model = key
    task = _card(data)["task"]
    own = runs[(runs["data"] == data) & (runs["split"] == split) & (runs["model"] == model)]
    certificate = json.loads(Path(f"results/data/{data}/{split}/certificate.json").read_text())
    leaking = f"{100 * certificate['share_above']:.2f}"
    row = {"data": data, "split": split, "found similar, %": leaking, "model": model}
    by_metric = part.set_index("metric")
    row |= {metric: _with_interval(by_metric.loc[metric]) for metric in SHOWN[task]}
    return row | {"runs": str(len(own))}


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
    name = section.removesuffix("_classes").removesuffix("_samples")
    commits = ", ".join(sorted({str(_record(run)["commit"]) for run in _folders(name)}))
    matrix = EXPERIMENTS[name]["matrix"]
    folds, seeds = (", ".join(map(str, matrix[axis])) for axis in ("fold", "seed"))
    return f"Runs trained at {commits}; folds {folds}, seeds {seeds}; `config/experiments/{name}.yaml`."


if __name__ == "__main__":
    made = {}
    for name in EXPERIMENTS:
        made[name] = name, lambda name=name: measure(name)
        if name in PER_CLASS:
            made[f"{name}_classes"] = f"{name}: F1 / MCC of each class", lambda name=name: per_class(name)
        if name in SAMPLED:
            asked = f"{name}: {SAMPLES} new sequences of each network"
            made[f"{name}_samples"] = asked, lambda name=name: samples(name)
    sections.main(__doc__, made, "results", "What the experiments give", about, figures)
