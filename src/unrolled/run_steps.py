"""The commands that the workflow calls for its runs and what becomes of them, in its order.

Imports are inside the commands: a step that compares must not pay for importing torch.
"""

import json
from pathlib import Path
from typing import Any

import click

from unrolled import __version__
from unrolled.console import EXISTING, FILE, FOLDER, read_yaml, say


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
def train(overrides: tuple[str, ...]) -> None:
    """Train one network.

    Hydra OVERRIDES choose the cards, change settings and say where the files lie.

    \b
    Example:
      unrolled train model=gru seed=1 train.max_epochs=5 \\
        paths.table=results/data/demo/table.parquet \\
        paths.folds=results/data/demo/random/folds.parquet paths.out=results/mine

    `unrolled train --cfg job` prints the composed config; an interrupted run goes on where it stopped.
    """
    from unrolled.deferred import import_lean

    import_lean("unrolled.train").run(list(overrides))


@click.command()
@click.option("--table", required=True, type=EXISTING, help="table.parquet")
@click.option("--folds", required=True, type=EXISTING, help="folds.parquet")
@click.option("--data-card", required=True, type=EXISTING, help="config/data/<name>.yaml")
@click.option("--model-card", required=True, type=EXISTING, help="config/model/<name>.yaml, of kind baseline.")
@click.option("--split", required=True, help="Name of the split, for the record.")
@click.option("--fold", required=True, type=click.IntRange(0), help="Test on this fold, validate on the next.")
@click.option("--seed", default=0, type=click.IntRange(0), help="For the record: baselines draw no numbers.")
@click.option("--told", type=EXISTING, help="experiment.json: how wandb is told of the run; else it is not.")
@click.option("--wandb", "wandb_dir", default=".", type=FOLDER, help="wandb writes below <this>/wandb.")
@click.option("--certificate", type=EXISTING, help="certificate.json of these folds: it must keep its promise.")
@click.option("--out", required=True, type=FOLDER, help="The run's folder.")
def baseline(**options: Any) -> None:
    """Fit one baseline."""
    from unrolled import baselines, tracking

    options["data_card"], options["model_card"] = (
        read_yaml(options["data_card"]) | {"name": options["data_card"].stem},
        read_yaml(options["model_card"]) | {"name": options["model_card"].stem},
    )
    options["model_card"].pop("resources", None)  # what it asks a cluster for decides no number
    told = options.pop("told")
    options["wandb"] = tracking.asked(told) if told else {"mode": "disabled"}
    baselines.run(**options)


@click.command()
@click.option("--predictions", required=True, type=EXISTING, help="predictions.parquet of a run.")
@click.option("--run", required=True, type=EXISTING, help="run.json of the same run.")
@click.option("--out", required=True, type=FILE, help="metrics.json")
def evaluate(predictions: Path, run: Path, out: Path) -> None:
    """Compute every metric of one run from its predictions."""
    from unrolled.evaluate import evaluate
    from unrolled.files import write_json

    write_json(out, evaluate(predictions, run))


@click.command()
@click.option("--results", required=True, type=FOLDER, help="results/<experiment>")
@click.option("--matrix", required=True, help="JSON: the axes data, split, model, fold, seed.")
@click.option("--config-dir", default="config", show_default=True, type=FOLDER, help="Where the cards are.")
@click.option("--data-root", default="results/data", show_default=True, type=FOLDER, help="Where the splits are.")
@click.option("--resamples", default=1000, show_default=True, type=click.IntRange(100))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="Processes side by side.")
def compare(results: Path, matrix: str, config_dir: Path, data_root: Path, resamples: int, threads: int) -> None:
    """Gather all runs into tables with intervals.

    Where a split was audited, its identity.parquet says how near each test sequence is to training: bands.csv. Where
    sequences become sequences, lengths.csv has the scores by how long the input is.
    """
    from unrolled import cards
    from unrolled.bands import Near
    from unrolled.compare import compare
    from unrolled.lengths import Lengths

    axes = json.loads(matrix)
    runs = cards.folders(results, axes, config_dir)
    places = [(data, split) for data in axes["data"] for split in axes["split"]]
    files = {place: data_root.joinpath(*place, "identity.parquet") for place in places}
    audited = {place: path for place, path in files.items() if path.is_file()}
    processes = min(threads, 1 + len(runs) // 50)  # starting one takes as long as 20 runs
    bandings = (Near.of(audited), Lengths.of(runs))
    compare(runs, results / "tables", bandings, resamples=resamples, processes=processes)


@click.command()
@click.option("--results", required=True, type=FOLDER, help="results/<experiment>")
@click.option("--data-root", default="results/data", show_default=True, type=FOLDER)
@click.option("--matrix", required=True, help="JSON: the axes data, split, model, fold, seed.")
@click.option("--metric", default="macro_f1", show_default=True, help="What the report ranks by.")
def report(results: Path, data_root: Path, matrix: str, metric: str) -> None:
    """Write report.html and its figures."""
    from unrolled import runs
    from unrolled.report import build_report

    build_report(
        results / "tables",
        data_root,
        results / "report.html",
        experiment=results.name,
        metric=metric,
        matrix=json.loads(matrix),
        version=__version__,
        commit=runs.commit(),
    )
    say(f"wrote {results / 'report.html'}")
