"""The commands that talk to wandb: nothing else of the workflow needs them."""

from pathlib import Path

import click

from unrolled.console import FOLDER, say


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
def sync(folder: Path, entity: str | None, stalled: float) -> None:
    """Upload runs that wandb recorded in FOLDER and that are not on its server yet.

    What is there already is not sent again, and an upload that was interrupted goes on. Runs without an end are left:
    they still run, or were killed and went on as others. The exit status is 0 if everything is there, 2 if not.

    \b
    Example:
      unrolled sync results/demo/wandb
    """
    from unrolled import uploading
    from unrolled.progress import meter

    done = uploading.sync(folder, entity=entity or None, stalled=stalled, progress=meter("uploading: runs"))
    left = f", {done['unfinished']} without an end left out" if done["unfinished"] else ""
    say(f"{done['uploaded']} runs uploaded, {done['before']} were there already{left}")
