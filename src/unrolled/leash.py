"""wandb's command line on a leash: it ends with whoever began it, and says how far its uploads have come.

`python -m unrolled.leash`, with wandb's arguments, in a session of its own; its stdin is the leash.
"""

import os
import runpy
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any


def follow() -> None:
    """Kill this session when nobody holds the other end of its stdin: whoever began it is gone."""
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def tell_progress() -> None:
    """Have wandb print each state of its uploads that it did not print before; to a file it tells no sizes.

    A transfer that is tried again comes through states that were told: what is told is progress.
    """
    from wandb.sdk.lib import progress

    told: set[str] = set()

    def update(_: Any, groups: Iterable[Any]) -> None:
        for state in (state for group in groups for state in states(group.operations, group.label)):
            if state not in told:
                told.add(state)
                print(state, flush=True)

    progress.ProgressPrinter.update = update  # type: ignore[method-assign, assignment]


def states(tasks: Iterable[Any], owner: str) -> Iterator[str]:
    """What wandb does and how far it is, without times and errors: "run: uploading artifact X: file: 3.1MB/9.0MB"."""
    for task in tasks:
        name = f"{owner}: {task.desc}"
        yield f"{name}: {task.progress}"
        yield from states(task.subtasks, name)


if __name__ == "__main__":
    threading.Thread(target=follow, daemon=True).start()
    with suppress(ImportError, AttributeError):  # of another wandb: then a run that is done is the only progress
        tell_progress()
    runpy.run_module("wandb", run_name="__main__")
