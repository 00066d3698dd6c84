"""What the benchmarks share: sections measured one by one, shown as tables, kept as JSON, written as Markdown."""

import argparse
import json
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from unrolled import runs

Section = tuple[str, Callable[[], list[dict]]]  # title, and what measures its rows


class Figure(NamedTuple):
    """A picture that a page shows: how to read it, where it is, and what its copy is called."""

    shows: str
    path: Path
    name: str


def main(
    doc: str,
    sections: dict[str, Section],
    name: str,
    title: str,
    about: Callable[[str], str],
    figures: Callable[[str], list[Figure]] = lambda _: [],
) -> None:
    """Run the sections asked for, show them, and write them to results/benchmarks/<name>.json and a page of docs/.

    Args:
        about: what the page says of how a section was measured.
        figures: of a section, which the page shows copies of.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"which of {', '.join(sections)}; all if none is named")
    parser.add_argument("--out", type=Path, default=Path(f"results/benchmarks/{name}.json"))
    parser.add_argument("--docs", type=Path, help="write the tables to this Markdown page, too")
    chosen = parser.parse_args()
    unknown = set(chosen.sections) - set(sections)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(sections)}")
    found = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    made = _made()  # before the page changes
    for section in chosen.sections or sections:
        heading, measure = sections[section]
        print(f"measuring: {heading} ...", file=sys.stderr)
        rows = measure()
        if rows:
            _show(heading, rows)
            drawn = figures(section) if chosen.docs else []
            shown = [_copied(figure, chosen.docs.parent / "figures") for figure in drawn]
            found[section] = {"about": f"{made} {about(section)}", "rows": rows, "figures": shown}
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(found, indent=1))
        if chosen.docs:
            chosen.docs.write_text(_page(chosen.docs, title, doc, sections, found), encoding="utf-8")
    print(f"wrote {chosen.out}" + (f" and {chosen.docs}" if chosen.docs else ""), file=sys.stderr)


def _made() -> str:
    return f"Commit {runs.commit()}, Python {platform.python_version()}, {platform.machine()}."


def _copied(figure: Figure, folder: Path) -> str:
    """Copy a figure into a folder beside the page; what the page says to show it."""
    folder.mkdir(exist_ok=True)
    shutil.copy(figure.path, folder / figure.name)
    return f"![{figure.shows}]({folder.name}/{figure.name})"


def _show(title: str, rows: list[dict]) -> None:
    """A table on the screen."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in rows[0]))
    Console().print(table)


def _page(page: Path, title: str, doc: str, sections: dict[str, Section], found: dict) -> str:
    """The tables as a page of docs/, each with what made it; what was not measured here stays as it was."""
    old = page.read_text(encoding="utf-8").split("\n## ") if page.exists() else []
    kept = {part.split("\n")[0]: part for part in old[1:]}
    lines = [f"# {title}", "", doc.strip(), ""]
    for name, (heading, _) in sections.items():
        if name not in found and heading in kept:
            lines += [f"## {kept[heading]}".rstrip(), ""]
        if name in found:
            rows = found[name]["rows"]
            columns = list(rows[0])
            lines += [f"## {heading}", "", found[name]["about"], ""]
            lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
            lines += ["| " + " | ".join(_cell(row.get(c)) for c in columns) + " |" for row in rows]
            lines += ["", *(f"{shown}\n" for shown in found[name].get("figures", []))]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
