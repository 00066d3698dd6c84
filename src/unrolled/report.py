"""Tables of an experiment -> one self-contained HTML page: the verdict in words, figures, sortable tables, method.

The page asks nobody for anything: styles, script and figures are inside, and its content security policy forbids
the rest.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from unrolled.files import atomic
from unrolled.grids import GRIDS
from unrolled.plots import describe, drawn
from unrolled.results import Tables, load
from unrolled.scoring import LOWER_IS_BETTER
from unrolled.svg import svg
from unrolled.takeaways import TAKEAWAYS
from unrolled.verdict import verdict
from unrolled.wording import label, number, percent

TEMPLATES = Path(__file__).parent / "templates"
KEPT = {
    "ends": "the middle is cut out, both termini are kept",
    "first": "the first are kept",
    "last": "the last are kept",
}


def build_report(
    tables: Path,
    data_root: Path,
    out: Path,
    *,
    experiment: str,
    metric: str = "macro_f1",
    matrix: Mapping[str, Sequence[Any]],
    version: str,
    commit: str | None,
) -> None:
    """Write the report of an experiment to `out`, and its figures to figures/<data>/<name>.svg beside it.

    The same input gives the same bytes.

    `tables` is the folder that `compare` wrote; `data_root` holds <data>/summary.json and
    <data>/<split>/split.json. Raises UnrolledError for a missing table and for an unknown `metric`.
    """
    loaded = load(tables, metric, data_root=data_root, matrix=matrix)
    blocks = [_block(one, i, out.parent / "figures" / one.data) for i, one in enumerate(loaded)]
    page = environment().get_template("report.html.j2")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    html = page.render(
        experiment=experiment,
        blocks=blocks,
        matrix=matrix,
        runs=sum(block["runs"] for block in blocks),
        lower=[label(name) for name in LOWER_IS_BETTER],
        version=version,
        commit=commit,
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with atomic(out) as tmp:
        tmp.write_text(html, encoding="utf-8")


def environment() -> Environment:
    """Where the templates are, with the filter `thousands`; an unknown name in a template is an error."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["thousands"] = lambda n: number(n, 0)
    return env


def _block(tables: Tables, place: int, folder: Path) -> dict[str, Any]:
    """All that the page says of one data set; its figures go to `folder`, too."""
    figures: dict[str, dict[str, Any]] = {}
    for name, shown, figure in drawn(tables):
        takeaway = TAKEAWAYS[name.split("-")[0]](shown)
        markup = svg(figure, f"f{place}-{len(figures)}", f"{takeaway} {describe(name)}")
        with atomic(folder / f"{name}.svg") as tmp:
            tmp.write_text(markup + "\n", encoding="utf-8")
        width = round(figure.get_size_inches()[0] * 96)
        figures[name] = {"svg": Markup(markup), "width": width, "takeaway": takeaway, "reading": describe(name)}
    return {
        "id": f"d{place}",
        "tables": tables,
        "runs": len(tables.frames["runs"]),
        "verdict": verdict(tables),
        "figures": figures,
        "grids": {make.__name__: grid if (grid := make(tables)).rows else None for make in GRIDS},
        "facts": facts(tables),
    }


def facts(tables: Tables) -> dict[str, str]:
    """The data set in a few lines: term -> words."""
    s = tables.summary
    unit = s["unit"]
    least, median, most = (
        number(x, 0 if x == int(x) else 1) for x in (s["length"][n] for n in ("min", "median", "max"))
    )
    k, many = len(s["classes"]), number(s["labels_per_sequence"], 2)
    task = {
        "multilabel": f"multilabel, {k} classes, {many} a sequence",
        "regression": "regression, a number a sequence",
        "generation": "generation, each symbol from those before it",
        "transduction": f"transduction, a sequence over the {s.get('target_alphabet')} alphabet for each",
        "labelling": f"labelling, one of {k} classes at every position; where it is unknown, nothing is scored",
    }
    found = {
        "Sequences": f"{number(s['n'], 0)} ({s['alphabet']}); {number(sum(s['excluded'].values()), 0)} left out",
        "Task": task.get(s["task"], f"{s['task']}, {k} classes"),
        "Lengths": f"{least} to {most} {unit}, median {median}",
        "Shortened": _shortened(s, unit),
        "Source": " ".join(map(_source, s.get("sources", []))),
        **_measured(s),
        "Licence": s["licence"],
        "Citation": s["citation"],
    }
    return {term: text for term, text in found.items() if text}


def _shortened(summary: Mapping[str, Any], unit: str) -> str:
    if summary["max_length"] is None:
        return "none: there is no length limit"
    limit = number(summary["max_length"], 0)
    return f"{number(summary['n_longer'], 0)} longer than {limit} {unit}: {KEPT[summary['kept']]}"


def _source(source: Mapping[str, Any]) -> str:
    """Where an answer to a query came from: what must be known to ask again."""
    release = f"release {source['release']} ({source['release_date']})" if source["release"] else "an unknown release"
    return (
        f"UniProt, {release}, asked on {source['date']} for {source['query']}: "
        f"{number(source['rows'], 0)} rows in {source['file']}."
    )


def _measured(summary: Mapping[str, Any]) -> dict[str, str]:
    """Of numeric series: how many variables there are, how much of them was measured, and when."""
    if "variables" not in summary:
        return {}
    shares = summary["measured"].values()
    never = ", ".join(summary["unmeasured"]) or "none"
    merged = f"; {number(summary['merged'], 0)} readings merged into others" if summary["merged"] else ""
    first, last = summary["time"]["min"], summary["time"]["max"]
    return {
        "Variables": f"{len(shares)}; never measured: {never}",
        "Measured": f"{percent(sum(shares) / len(shares))} of all values of all steps{merged}",
        "Time": f"{first:g} to {last:g} {summary['time_unit']}",
    }
