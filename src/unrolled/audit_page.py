"""What an audit of two sets found, as one self-contained HTML page: made from `leakage.Leakage.facts`, the JSON."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
from markupsafe import Markup
from matplotlib.figure import Figure

from unrolled.audit_text import headline, highest, why
from unrolled.files import atomic
from unrolled.leakage import CHECKS
from unrolled.looks import BLUE, COLOURS, MUTED, STYLE, WIDTH
from unrolled.report import TEMPLATES, environment
from unrolled.svg import svg


def write_html(path: Path, facts: dict[str, Any], train: str, test: str) -> None:
    """Write the page; the same facts give the same bytes."""
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    page = environment().get_template("audit.html.j2")
    html = page.render(
        facts=facts,
        checks=CHECKS,
        train=train,
        test=test,
        headline=headline(facts),
        why=why,
        figure=Markup(svg(_figure(facts), "f0", _alt(facts))),
        width=round(WIDTH * 96 * 0.75),
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with atomic(path) as tmp:
        tmp.write_text(html, encoding="utf-8")


def _alt(facts: dict[str, Any]) -> str:
    bands = (f"{100 * b['from']:.0f} to {100 * b['to']:.0f} %: {b['n']:,}" for b in facts["histogram"] if b["n"])
    return f"Test sequences. {highest(facts)}. {'; '.join(bands)}."


def _figure(facts: dict[str, Any]) -> Figure:
    with mpl.style.context(["default", STYLE], after_reset=True):
        figure = Figure(figsize=(WIDTH * 0.75, 2.6), layout="constrained")
        axes = figure.subplots()
        bands, threshold = facts["histogram"], 100 * facts["threshold"]
        colours = [COLOURS[1] if 100 * band["from"] >= threshold - 1e-9 else BLUE for band in bands]
        bars = axes.bar(
            [100 * band["from"] for band in bands], [band["n"] for band in bands], 9.4, align="edge", color=colours
        )
        axes.bar_label(bars, [f"{band['n']:,}" if band["n"] else "" for band in bands], padding=2, color=MUTED)
        axes.axvline(threshold, color=COLOURS[1], lw=1, ls=(0, (4, 3)))
        axes.set(
            xlim=(0, 100),
            xlabel=f"{highest(facts)}, % ({facts['definition']})",
            ylabel="test sequences",
        )
        axes.set_xticks(range(0, 101, 10))
        axes.margins(y=0.12)
        axes.grid(True, axis="y")
        return figure
