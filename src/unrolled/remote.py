"""The commands that talk to wandb: nothing else of the workflow needs them."""

import json
from pathlib import Path

import click

from unrolled.console import FILE, FOLDER, say


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--entity", help="User or team whose runs they are to be.  [default: as wandb decides]")
@click.option(
    "--stalled",
    default=60.0,
    show_default=True,
    type=click.FloatRange(1),
    help="Stop after so long without progress.",
)
@click.option("--matrix", help="JSON: the axes data, split, model, fold, seed, to tell which runs are not there.")
@click.option("--config-dir", default="config", show_default=True, type=FOLDER, help="Where the cards are.")
def sync(folder: Path, entity: str | None, stalled: float, matrix: str | None, config_dir: Path) -> None:
    """Upload runs that wandb recorded in FOLDER and that are not on its server yet.

    What is there already is not sent again, and an upload that was interrupted goes on. Runs that still run, were
    interrupted or failed are left out: what was interrupted went on as another. So are those that were trained anew
    since, where every run.json of the experiment names its run. The exit status is 0 if everything is there, and 2 if
    not.

    \b
    Example:
      unrolled sync results/demo/wandb
    """
    from unrolled import cards, uploading
    from unrolled.errors import some
    from unrolled.progress import meter

    if matrix:
        runs = cards.folders(folder.parent, json.loads(matrix), config_dir)
        missing = [str(run) for run in runs if not (run / "run.json").is_file()]
        if missing:
            first = ", ".join(some(missing))
            say(f"{len(missing)} of {len(runs)} runs are not there; the workflow trains them: {first}")
    done = uploading.sync(folder, entity=entity or None, stalled=stalled, progress=meter("uploading: runs"))
    left = f", {done['left']} left out: unfinished, or trained anew since" if done["left"] else ""
    say(f"{done['uploaded']} runs uploaded, {done['before']} were there already{left}")


@click.command()
@click.option("--results", required=True, type=FOLDER, help="results/<experiment>, whose runs are shown.")
@click.option("--metric", help="What the models are compared by.  [default: as the experiment says]")
@click.option("--project", help="The runs' project in wandb.  [default: as the experiment says]")
@click.option("--entity", help="User or team whose project it is.  [default: as the experiment or wandb says]")
@click.option("--dry-run", type=FILE, help="Write the specification to this JSON file; asks no server.")
def dashboard(
    results: Path, metric: str | None, project: str | None, entity: str | None, dry_run: Path | None
) -> None:
    """Build wandb's dashboards of an experiment: a workspace, and a report that compares the models.

    Metric by model with seeds grouped, learning curves, gradient norms before clipping, cost, and leakage, of the
    runs that the experiment's run.json name now. The same command again, after more were trained, changes what it
    saved before.

    \b
    Example:
      unrolled dashboard --results results/demo --dry-run dashboards.json
    """
    from unrolled import dashboards
    from unrolled.files import write_json

    shown = dashboards.experiment(results, metric, project, entity)
    if dry_run:
        write_json(dry_run, dashboards.specify(shown))
        say(f"wrote {dry_run}")
        return
    for what, address in dashboards.save(shown, results).items():
        say(f"{what}: {address}")
