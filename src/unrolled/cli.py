"""One command, `unrolled`, whose sub-commands are the workflow's steps: each can be run by hand and debugged."""

import errno
import os
import signal
import sys
import traceback
from typing import Any

import click

from unrolled import __version__, remote, run_steps, standalone, steps
from unrolled.console import fail
from unrolled.errors import UnrolledError, lacks_memory

FULL = "the disk is full ({}): free some space, or set TMPDIR elsewhere"
MENDED = {  # what the system refuses, and what helps
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL.replace("the disk is full", "your quota of the disk is used up"),
    errno.EFBIG: "{} would become larger than is allowed: see `ulimit -f`",
    errno.EROFS: "{} cannot be written, its file system is read-only: mount it writable, or write elsewhere",
    errno.EACCES: "{}: permission denied: mend the rights of file or folder, or write elsewhere",
    errno.EPERM: "{}: not permitted: mend the rights of file or folder, or write elsewhere",
    errno.ENOTDIR: "{}: a part of this path is a file, not a folder: write elsewhere",
    errno.ENOENT: "{}: there is no such file or folder: is the path right?",
    errno.EISDIR: "{} is a folder: name a file",
    errno.EIO: "{}: the disk failed to read or write: see the system's log, and use another disk",
}
MORE = (
    "memory ran out ({}): raise `resources.mem_mb` where a cluster limits it; where a network trains, lower "
    "`train.batch_tokens`"
)


class InOrder(click.Group):
    """Lists the commands in the order of the workflow, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a stop by Ctrl-C or by a reader that has gone gives its own status, where click's is 1."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):  # what they still hold would fail once more at the end
                os.dup2(nowhere, stream.fileno())
            sys.exit(128 + signal.SIGPIPE)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="unrolled")
def cli() -> None:
    """Compare recurrent networks on biological sequences, honestly.

    The workflow (`snakemake --cores all`) calls these commands one after the other; each works on its own too:

    \b
      fetch, query -> table -> cluster, identities, neighbours -> folds -> certify -> train, baseline
        -> evaluate -> compare -> report

    `audit`, `split`, `predict` and `generate` work on anybody's files, without a workflow; `doctor` tells about this
    machine, `sync` and `dashboard` talk to wandb.
    """


for module in (steps, run_steps, standalone, remote):
    for command in vars(module).values():
        if isinstance(command, click.Command):
            cli.add_command(command)


def main() -> None:
    """Entry point: an error the user can mend is one line on stderr and status 2, not a traceback.

    Status 1 means that leaks were found, and nothing else: what nobody expected is a traceback and 2, a signal gives
    128 and its number.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            # Leave as after an error: what is running is stopped, temporary files are removed.
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        sys.exit(cli(prog_name="unrolled", standalone_mode=False))
    except UnrolledError as error:
        fail(str(error))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except Exception as error:
        if lacks_memory(error):
            fail(MORE.format(str(error).split("\n")[0] or type(error).__name__))
        remedy = MENDED.get(error.errno or 0) if isinstance(error, OSError) else None
        if remedy is None:
            traceback.print_exc()
            fail(f"unexpected {type(error).__name__}: please report it, with all the lines above")
        fail(remedy.format(getattr(error, "filename", None) or "temporary files"))
