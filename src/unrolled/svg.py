"""A matplotlib figure -> one small <svg> element that shares a page with others and is read aloud by its name."""

import re
import warnings
from html import escape
from io import StringIO

import matplotlib as mpl
import matplotlib.style
from matplotlib.figure import Figure

from unrolled.looks import STYLE

FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def svg(figure: Figure, prefix: str, description: str) -> str:
    """The figure as one <svg> element, the same bytes every time, named `description` for screen readers.

    Every id starts with `prefix`: matplotlib numbers the parts of each figure from 1, so the ids of two
    figures on one page would clash and one would show the clip paths of the other.
    """
    stream = StringIO()
    style = STYLE | {"svg.hashsalt": prefix}  # layout and ticks are settled only now, so in the same style
    with mpl.style.context(["default", style], after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's fonts may have it
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(["Date", "Creator", "Format", "Type"]))
    body = stream.getvalue()
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body[body.index("<svg") :], flags=re.S)
    body = re.sub(r"<[^>]+>", lambda tag: _tidy(tag[0], prefix), body)
    width, height = figure.get_size_inches() * 96
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{escape(description)}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width * 0.75:g} {height * 0.75:g}" font-family="{FONTS}" stroke-linejoin="round">'
    )
    return root + re.sub(r"\s*\n\s*", "\n", body[body.index(">") + 1 :]).strip()


def _tidy(tag: str, prefix: str) -> str:
    """One tag with its ids prefixed, its fonts inherited and its numbers rounded to 1/100 point."""
    tag = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", tag)
    tag = re.sub(r" ?font-family:[^;\"]*sans-serif;?| ?transform=\"rotate\(-0 [^\"]*\"", "", tag)
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
