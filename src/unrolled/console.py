"""What the commands share: kinds of path, what they say on stderr, cards."""

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)
FOLDER = click.Path(path_type=Path, file_okay=False)


def say(message: str) -> None:
    """One line on stderr."""
    click.echo(f"unrolled: {message}", err=True)


def fail(message: str) -> NoReturn:
    """An error that the user can mend: one line, and status 2."""
    say(f"{click.style('error', fg='red', bold=True)}: {message}")
    sys.exit(2)


def read_yaml(path: Path) -> dict[str, Any]:
    """A card. Raises UnrolledError naming the line that is no YAML."""
    from unrolled.cards import read_yaml

    card: dict[str, Any] = read_yaml(path)
    return card
