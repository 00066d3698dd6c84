"""One command, `unrolled`, whose sub-commands are the workflow's steps: each can be run by hand and debugged."""

import errno
import signal
import sys

import click

from unrolled import __version__, remote, standalone, steps
from unrolled.console import fail
from unrolled.errors import UnrolledError

FULL = "the disk is full ({}): free some space, or set TMPDIR elsewhere"
MENDED = {  # what the system refuses, and what helps
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL.replace("the disk is full", "your quota of the disk is used up"),
    errno.EFBIG: "{} would become larger than is allowed: see `ulimit -f`",
    errno.EROFS: "{} cannot be written, its file system is read-only: mount it writable, or write elsewhere",
    errno.EACCES: "{}: permission denied: mend the rights of file or folder, or write elsewhere",
    errno.EPERM: "{}: not permitted: mend the rights of file or folder, or write elsewhere",
    errno.EIO: "{}: the disk failed to read or write: see the system's log, and use another disk",
}


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
      fetch, query -> table -> cluster, neighbours -> folds -> certify -> train, baseline
        -> evaluate -> compare -> report

    `audit` and `split` work on anybody's FASTA files, without a workflow.
    """


for module in (steps, standalone, remote):
    for command in vars(module).values():
        if isinstance(command, click.Command):
            cli.add_command(command)


def main() -> None:
    """Entry point: an error the user can mend is one line on stderr and status 2, not a traceback."""
    # Leave as after an error: what is running is stopped, temporary files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        cli(prog_name="unrolled")
    except UnrolledError as error:
        fail(str(error))
    except OSError as error:
        remedy = MENDED.get(error.errno or 0)
        if remedy is None:
            raise
        fail(remedy.format(error.filename or "temporary files"))
