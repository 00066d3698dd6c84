"""The commands that need no workflow: for anybody's FASTA files, and for this machine."""

from pathlib import Path
from typing import Any

import click

from unrolled.console import FILE, FOLDER, say


@click.command()
@click.option("--system", is_flag=True, help="This machine: versions, processor, engine of each cell (the default).")
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


@click.command()
@click.option("--train", required=True, type=FILE, help="FASTA of what is trained on; .gz, pipes and - are fine.")
@click.option("--test", required=True, type=FILE, help="FASTA of what is tested.")
@click.option("--threshold", type=float, help="Identity that counts as a leak.  [default: 0.3; nucleotides 0.8]")
@click.option(
    "--definition",
    help="How identity is computed: needle, needle-shorter, needle-longer, local80 or either; nucleotides: -nt.  "
    "[default: either]",
)
@click.option("--alphabet", type=click.Choice(["protein", "dna", "rna"]), help="Default: what the letters say.")
@click.option("--single-stranded", is_flag=True, help="Nucleotides: do not compare the other strand.")
@click.option("--labels", type=FILE, help="CSV or TSV with columns id and label, of both files.")
@click.option("--multilabel", is_flag=True, help='Labels are lists, joined by "|", in a table.')
@click.option("--json", "json_out", type=FILE, help="Write the findings as JSON.")
@click.option("--html", "html_out", type=FILE, help="Write the findings as one self-contained page.")
@click.option(
    "--minutes",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Predicted minutes of two cores, whatever --threads, in which all pairs are aligned; where they do not "
    "suffice, a search and a sample take about as long.",
)
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
    multilabel: bool,
    json_out: Path | None,
    html_out: Path | None,
    minutes: float,
    threads: int,
    seed: int,
) -> None:
    """Does a test set leak from its training set? For anybody's FASTA files.

    Looks for copies, sub-sequences, reverse complements, isoforms, labels at odds, and relatives by exact pairwise
    alignment. The exit status is 0 if the test set is clean, 1 if it leaks, 2 if the files cannot tell;
    128 and the number of a signal if it was stopped by one.

    \b
    Example:
      unrolled audit --train train.fasta --test test.fasta.gz --threshold 0.3 --html audit.html
    """
    from unrolled import leakage
    from unrolled.audit import Terms
    from unrolled.audit_text import text
    from unrolled.files import check_writable, write_json
    from unrolled.progress import meter

    for path in filter(None, (json_out, html_out)):
        check_writable(path)
    wanted = {"definition": definition} | ({"identity": threshold} if threshold is not None else {})
    known, tested, kind = leakage.read(train, test, alphabet=alphabet, labels=labels, multilabel=multilabel)
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
        say=say,
    )
    facts = found.facts()
    try:
        click.echo(text(facts))  # before the files, which may fail; and these even if nobody reads it
    finally:
        if json_out:
            write_json(json_out, facts)
        if html_out:
            from unrolled.audit_page import write_html

            write_html(html_out, facts, train.name, test.name)
    context.exit(1 if found.leaks else 0)


@click.command()
@click.argument("fasta", type=FILE)
@click.option(
    "--labels", type=FILE, help='CSV or TSV with columns id and label; else `label=` of headers, up to the next "|".'
)
@click.option("--multilabel", is_flag=True, help='Labels are lists, joined by "|", in a table.')
@click.option("--threshold", type=float, help="Identity of relatives.  [default: 0.3; nucleotides 0.8]")
@click.option("--folds", default=5, show_default=True, type=click.IntRange(2))
@click.option("--definition", help="How identity is computed: local80, needle ...  [default: local80]")
@click.option("--alphabet", type=click.Choice(["protein", "dna", "rna"]), help="Default: what the letters say.")
@click.option("--single-stranded", is_flag=True, help="Nucleotides: do not compare the other strand.")
@click.option(
    "--removal", default=0.05, show_default=True, type=click.FloatRange(0, 1), help="Share at most removed."
)
@click.option(
    "--minutes",
    default=40.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Nominal minutes of one core in which all pairs are proved to lie below the threshold or aligned; where "
    "they do not suffice, searches come on top. The audit of the folds has a quarter as many, of two cores.",
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--out", required=True, type=FOLDER, help="Folder for folds.csv, removed.csv and certificate.json.")
def split(fasta: Path, labels: Path | None, minutes: float, out: Path, **asked: Any) -> None:
    """Split anybody's FASTA file into folds that keep relatives together.

    While every pair can be compared (--minutes), the folds are proved to share no relatives; beyond that, none that
    two sensitive searches find, and a sample bounds what these missed. Folds are as even in size and labels as it can
    make them. Where a family is too large for that, the fewest sequences that break it are removed, and listed with
    the reason. The exit status is 0 if the audit finds no relatives across folds, 1 if it does, 2 if the file cannot
    be split, 128 and the number of a signal if it was stopped by one.

    \b
    Example:
      unrolled split my.fasta --labels my.csv --threshold 0.3 --folds 5 --out my-split
    """
    from unrolled import gate, own
    from unrolled.errors import some
    from unrolled.files import check_writable

    check_writable(out / "certificate.json")
    request = own.Request(**asked, budget=60 * minutes)
    frame, alphabet = own.read(fasta, labels, request)
    made, certificate = own.split(frame, alphabet, request, say=say)
    try:
        click.echo(certificate["statement"])
    finally:
        own.write(out, made, certificate)
    for line in some(gate.offenders(certificate), certificate["pairs_above"], f": {out / 'certificate.json'}"):
        say(line)
    say(f"{certificate['split']['kept']:,} sequences in {request.folds} folds, {len(made.removed):,} removed: {out}")
    click.get_current_context().exit(1 if certificate["above_threshold"] else 0)


@click.command()
@click.option("--run", required=True, type=FOLDER, help="Folder of a trained run: results/<experiment>/runs/...")
@click.option("--out", required=True, type=FILE, help="CSV file to write.")
@click.option(
    "--beam",
    type=click.IntRange(1),
    help="Encoder-decoders: hypotheses that the search follows.  [default: as in the run's card]",
)
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.argument("file", type=FILE)
def predict(run: Path, file: Path, out: Path, beam: int | None, threads: int) -> None:
    """Ask a trained network about anybody's FASTA file; .gz, pipes and - (standard input) are fine.

    A run on numeric series reads a FILE laid out as its data card says, with or without targets.

    One row a sequence: its answer, with probabilities where the task has them, and `nearest`, the training sequence
    most like it. Where that is empty nothing in training was alike, and the answer deserves little trust.

    \b
    Example:
      unrolled predict --run results/demo/runs/demo/homology30/lstm/fold0-seed0 new.fasta --out answers.csv
    """
    from unrolled.deferred import import_lean

    import_lean("unrolled.predict").predict(run, file, out, beam=beam, threads=threads, say=say)


@click.command()
@click.option("--run", required=True, type=FOLDER, help="Folder of a run that was trained on a generation task.")
@click.option("--out", required=True, type=FILE, help="FASTA file to write.")
@click.option("-n", default=100, show_default=True, type=click.IntRange(1), help="How many sequences.")
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Below 1 likely symbols become likelier.",
)
@click.option(
    "--top-k", default=0, show_default=True, type=click.IntRange(0), help="Draw from the k likeliest; 0: all."
)
@click.option("--prefix", default="", help="What every sequence begins with.")
@click.option("--longest", default=1000, show_default=True, type=click.IntRange(1), help="Cut what does not end.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--report", type=FILE, help="JSON of composition, lengths and novelty.")
def generate(run: Path, out: Path, report: Path | None, **wished: Any) -> None:
    """Draw new sequences from a trained network, and say how they compare with what it was trained on.

    The header of each names the training sequence that MMseqs2 finds most like it, and their identity; where it names
    none nothing in training was alike.

    \b
    Example:
      unrolled generate --run results/generation/runs/nrc_generation/random/lstm/fold0-seed0 --out new.fasta
    """
    from unrolled.deferred import import_lean
    from unrolled.files import check_writable

    for path in filter(None, (out, report)):
        check_writable(path)
    generating = import_lean("unrolled.generate")
    generating.generate(run, generating.Wish(**wished), out, report=report, say=say)
