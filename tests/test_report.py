"""The report: sentences that follow from the numbers, a page that stands alone, and how a browser takes it."""

import base64
import functools
import hashlib
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pandas as pd
import pytest

import report_fixture as fixture
from test_plots import CASES
from unrolled import grids, wording
from unrolled.looks import Look
from unrolled.report import build_report
from unrolled.results import COLUMNS, Tables
from unrolled.verdict import verdict

EVIL = '<img src=x onerror="window.pwned=1">'
SCRIPT = "<script>alert(1)</script>"
MISSING = float("nan")
SOUND = {**CASES, "two data sets": {"data": ("demo", "other"), "models": ("lstm", "kmer")}}
HOSTILE = {
    "hostile": {"models": ("lstm", EVIL, SCRIPT, "kmer"), "classes": (EVIL, SCRIPT, "b")},
    "hostile sequences": {"models": (SCRIPT, EVIL), "splits": ("random",), "task": "transduction"},
}


def build(root: Path, metric: str | None = None, **options: Any) -> Path:
    folder, data_root, matrix = fixture.write(root, **options)
    metric = metric or fixture.RANKED.get(str(options.get("task")), "macro_f1")
    out = root / "report.html"
    facts = {"experiment": "demo", "version": "0.1.0", "commit": "abc1234"}
    build_report(folder, data_root, out, metric=metric, matrix=matrix, **facts)
    return out


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of a case, built once: drawing takes seconds."""
    return functools.cache(lambda case: build(tmp_path_factory.mktemp("report"), **(SOUND | HOSTILE)[case]))


@pytest.fixture(scope="module")
def page(pages: Callable[[str], Path]) -> Path:
    return pages("demo")


def test_every_figure_is_a_file_of_its_own(tmp_path: Path) -> None:
    build(tmp_path, data=("demo", "other"), models=("lstm",), splits=("cluster30",))
    written = [path for path in (tmp_path / "figures").rglob("*") if path.is_file()]
    names = {str(path.relative_to(tmp_path / "figures")) for path in written}
    assert {"demo/comparison.svg", "other/losses.svg", "demo/confusion-cluster30.svg", "demo/folds.svg"} <= names
    for path in written:
        ElementTree.parse(path)


# --- The verdict, from hand-made numbers ---

Interval = tuple[float, float, float]


def tables(
    means: dict[str, float],
    pairs: dict[tuple[str, str], Interval] | None = None,
    *,
    metric: str = "macro_f1",
    baselines: tuple[str, ...] = ("kmer",),
    gains: dict[str, Interval] | None = None,
) -> Tables:
    """One data set under cluster30, and under random if there are `gains`; every mean has an interval of ±0.05."""
    frames = {name: pd.DataFrame(columns=columns.split()) for name, columns in COLUMNS.items()}
    splits = ("random", "cluster30") if gains else ("cluster30",)
    rows = [
        ("d", split, model, metric, mean, mean - 0.05, mean + 0.05, 3)
        for split in splits
        for model, mean in means.items()
    ]
    frames["summary"] = pd.DataFrame(rows, columns=COLUMNS["summary"].split())
    if pairs:
        rows = [("d", "cluster30", metric, *names, *interval) for names, interval in pairs.items()]
        frames["models"] = pd.DataFrame(rows, columns=COLUMNS["models"].split())
    if gains:
        rows = [("d", model, metric, "random", "cluster30", *gain) for model, gain in gains.items()]
        frames["splits"] = pd.DataFrame(rows, columns=COLUMNS["splits"].split())
    looks = {model: Look("black", "o", model in baselines) for model in means}
    folds = {"random": {"group": "sequence"}, "cluster30": {"group": "cluster", "identity": 0.3}}
    return Tables("d", metric, tuple(means), splits, looks, frames, {}, folds)


def lead(one: Tables) -> str:
    return str(verdict(one)["lead"]).replace("\u00a0", " ")


def notes(one: Tables) -> str:
    return " ".join(verdict(one)["notes"])


def test_a_winner_is_named_when_the_interval_is_above_0() -> None:
    one = tables({"gru": 0.66, "lstm": 0.71}, {("gru", "lstm"): (-0.05, -0.09, -0.01)})
    assert lead(one) == (
        "Under cluster30, lstm reaches macro-F1 0.71 (95 % interval 0.66 to 0.76), "
        "0.05 above gru (interval 0.01 to 0.09)."
    )


def test_no_winner_when_the_interval_includes_0() -> None:
    one = tables({"gru": 0.70, "lstm": 0.71}, {("gru", "lstm"): (-0.01, -0.04, 0.02)})
    assert lead(one) == (
        "No clear winner under cluster30: lstm reaches macro-F1 0.71 (95 % interval 0.66 to 0.76), "
        "but the interval of its lead over gru includes 0 (−0.02 to 0.04)."
    )


def test_a_rival_may_be_any_model_not_only_the_second() -> None:
    pairs = {("lstm", "gru"): (0.02, 0.01, 0.03), ("lstm", "rnn"): (0.03, -0.04, 0.1)}
    one = tables({"lstm": 0.71, "gru": 0.69, "rnn": 0.68}, pairs)
    assert lead(one).endswith("but the interval of its lead over rnn includes 0 (−0.04 to 0.10).")
    pairs[("lstm", "gru")] = (0.02, -0.01, 0.05)
    one = tables({"lstm": 0.71, "gru": 0.69, "rnn": 0.68}, pairs)
    assert lead(one).endswith("but the intervals of its leads over gru and rnn do not stay above 0.")


def test_a_lower_loss_wins() -> None:
    one = tables({"gru": 0.6, "lstm": 0.4}, {("gru", "lstm"): (0.2, 0.1, 0.3)}, metric="log_loss")
    assert lead(one).startswith("Under cluster30, lstm reaches log loss 0.40")
    assert lead(one).endswith("0.20 below gru (interval 0.10 to 0.30).")


def test_without_intervals_there_is_no_winner() -> None:
    one = tables({"gru": 0.6, "lstm": 0.7}, {("gru", "lstm"): (-0.1, MISSING, MISSING)})
    assert lead(one).endswith("0.10 above gru; without intervals no winner can be named.")
    assert "no other model was run" in lead(tables({"lstm": 0.7}))
    assert lead(tables({})) == "No run has a macro-F1 under cluster30."


def test_a_tiny_lead_does_not_read_0() -> None:
    one = tables({"gru": 0.700, "lstm": 0.704}, {("gru", "lstm"): (-0.004, -0.007, -0.001)})
    assert lead(one).endswith("0.004 above gru (interval 0.001 to 0.007).")


def test_small_units_are_shown_in_their_own_digits() -> None:
    one = tables({"gru": 4e-7, "lstm": 3e-7}, {("gru", "lstm"): (1e-7, 0.5e-7, 2e-7)}, metric="rmse")
    assert "lstm reaches RMSE 0.0000003" in lead(one)
    assert "0.0000001 below gru" in lead(one)
    assert grids._digits(one.frames["summary"], "mean") == {"rmse": 8}
    cell = grids._score({"mean": 3e-7, "low": 1e-7, "high": 5e-7, "n": 3}, 8)
    assert (cell.text, cell.note) == ("0.00000030", "0.00000010 to 0.00000050")


def test_a_table_is_downloaded_with_its_intervals() -> None:
    cells = [grids.Cell("lstm", "lstm"), grids.Cell("0.700", 0.7, "0.650 to 0.750")]
    table = grids.Grid("t", ["model", "AUROC"], [cells, [grids.Cell("gru", "gru"), grids.Cell("0.6", 0.6)]])
    lines = unquote(table.csv.partition(",")[2]).splitlines()
    assert lines == ["model,AUROC,AUROC: interval", "lstm,0.7,0.650 to 0.750", "gru,0.6,"]


def test_the_best_baseline_is_compared() -> None:
    means = {"lstm": 0.7, "kmer": 0.5}
    assert "kmer, reaches 0.50; lstm is 0.20 better (interval 0.10 to 0.30)." in notes(
        tables(means, {("lstm", "kmer"): (0.2, 0.1, 0.3)})
    )
    assert "which is not clear of 0" in notes(tables(means, {("lstm", "kmer"): (0.2, -0.1, 0.3)}))
    behind = "No neural model is ahead of the best baseline, kmer (0.50): lstm is 0.10 worse (interval 0.05 to 0.20)."
    assert behind in notes(tables({"lstm": 0.4, "kmer": 0.5}, {("lstm", "kmer"): (-0.1, -0.2, -0.05)}))
    equal = notes(tables({"lstm": 1.0, "kmer": 1.0}, {("lstm", "kmer"): (0.0, 0.0, 0.0)}))
    assert "the best baseline, kmer (1.00): lstm reaches the same (interval 0.00 to 0.00)." in equal
    losses = tables({"lstm": 0.6, "kmer": 0.5}, {("lstm", "kmer"): (0.1, 0.05, 0.2)}, metric="log_loss")
    assert behind in notes(losses)
    assert "Only baselines were run" in notes(tables({"kmer": 0.5}))


def test_what_random_hides_is_the_mean_over_neural_models() -> None:
    means = {"lstm": 0.7, "gru": 0.6, "kmer": 0.5}
    gains = {"lstm": (0.1, 0.05, 0.15), "gru": (0.14, -0.01, 0.2), "kmer": (0.9, 0.8, 1.0)}
    flatters = "The random split clearly flatters 1 of 2 neural models: scores are 0.12 better on average than under"
    assert flatters in notes(tables(means, gains=gains))
    gains["lstm"] = (0.1, -0.05, 0.15)
    unclear = (
        "That the random split flatters is not clear: scores are 0.12 better on average than under cluster30, and no"
    )
    assert unclear in notes(tables(means, gains=gains))
    gains = {"lstm": (-0.02, -0.03, -0.01), "gru": (-0.02, -0.03, -0.01)}
    assert "is not clear: scores are 0.02 worse on average" in notes(tables(means, gains=gains))
    gains = {"lstm": (0.0, 0.0, 0.0), "gru": (0.0, 0.0, 0.0)}
    assert "is not clear: scores are as good on average as under cluster30" in notes(tables(means, gains=gains))
    gains = {"lstm": (0.02, MISSING, MISSING), "gru": (0.04, MISSING, MISSING)}
    unknown = "Under the random split scores are 0.03 better on average than under cluster30; without intervals"
    assert unknown in notes(tables(means, gains=gains))


def test_random_flatters_by_a_lower_loss() -> None:
    one = tables({"lstm": 0.7}, metric="log_loss", gains={"lstm": (-0.2, -0.3, -0.1)})
    assert "clearly flatters the neural model: scores are 0.20 better than under cluster30." in notes(one)


@pytest.mark.parametrize(("seeds", "said"), [([0, 0, 0], True), ([0, 1, 0], False)])
def test_networks_that_were_trained_with_one_seed_are_told_of(seeds: list[int], said: bool) -> None:
    one = tables({"lstm": 0.7, "kmer": 0.5})
    runs = [("d", "cluster30", "lstm", fold, seed) for fold, seed in enumerate(seeds)]
    runs += [("d", "cluster30", "kmer", fold, 0) for fold in range(3)]
    one.frames["runs"] = pd.DataFrame(runs, columns=["data", "split", "model", "fold", "seed"])
    assert ("Networks were trained with one seed" in notes(one)) == said


@pytest.mark.parametrize("spoilt", [math.inf, MISSING])
def test_a_gradient_that_is_no_number_leaves_the_page(tmp_path: Path, spoilt: float) -> None:
    folder, data_root, matrix = fixture.write(tmp_path)
    history = pd.read_csv(folder / "history.csv")
    history.loc[history.index[-1], ["grad_norm_mean", "grad_norm_max"]] = spoilt
    history.to_csv(folder / "history.csv", index=False)
    facts = {"experiment": "demo", "version": "0.1.0", "commit": None, "matrix": matrix}
    build_report(folder, data_root, tmp_path / "report.html", **facts)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The largest mean gradient norm of an epoch" in html
    assert "of an epoch, inf" not in html


def test_number() -> None:
    assert [wording.number(x, 1) for x in (-1234.56, -0.04, MISSING)] == ["−1,234.6", "0.0", "–"]
    assert [wording.signed(x) for x in (0.124, 0.002, 0.0001, -0.0001, -0.2, 0, -1e-17)] == [
        "+0.12",
        "+0.002",
        "+0.0001",
        "−0.0001",
        "−0.20",
        "0.00",
        "0.00",
    ]


# --- The page ---


class Outline(HTMLParser):
    """Headings, ids, figures and everything that could load something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [
            value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "srcset", "action")
        ]
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))


@pytest.mark.parametrize("case", SOUND)
def test_the_page_is_sound(case: str, pages: Callable[[str], Path]) -> None:
    html = pages(case).read_text(encoding="utf-8")
    outline = Outline(html)
    assert outline.levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(outline.levels, outline.levels[1:], strict=False))
    assert len(outline.ids) == len(set(outline.ids))
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)
    assert all(link.startswith(("#", "data:")) for link in outline.links)
    assert not re.search(r"@import|\bNaN\b|\bnan\b|>None<|\bundefined\b", html)
    pictures = [attrs for tag, attrs in outline.tags if tag == "svg"]
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in pictures)
    assert sum(tag == "figcaption" for tag, _ in outline.tags) == len(pictures) >= 6
    assert dict(outline.tags)["html"]["lang"] == "en"


def test_the_script_is_the_one_that_the_policy_allows(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in html
    assert len(script.splitlines()) <= 60


def test_the_page_is_small_and_the_same_every_time(page: Path, tmp_path: Path) -> None:
    assert page.stat().st_size < 2_000_000
    assert build(tmp_path).read_bytes() == page.read_bytes()


@pytest.mark.faults(
    "hostile input",
    "HTML and scripts as names of models and classes in the report",
    "every name is escaped",
)
@pytest.mark.parametrize("case", HOSTILE)
def test_names_are_escaped(case: str, pages: Callable[[str], Path]) -> None:
    html = pages(case).read_text(encoding="utf-8")
    assert html.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_a_metric_of_one_task_only(tmp_path: Path) -> None:
    """Where a data set does not have the metric, the page says so and stands."""
    folder, root, matrix = fixture.write(tmp_path, data=("demo", "other"), models=("lstm", "kmer"))
    summary = pd.read_csv(folder / "summary.csv")
    summary[(summary["data"] == "demo") | (summary["metric"] != "mcc")].to_csv(folder / "summary.csv", index=False)
    out = tmp_path / "report.html"
    build_report(folder, root, out, experiment="x", metric="mcc", matrix=matrix, version="1", commit=None)
    assert "No run has a MCC under cluster30." in out.read_text(encoding="utf-8")


def test_where_the_answer_to_a_query_came_from_is_said(pages: Callable[[str], Path]) -> None:
    text = pages("demo").read_text()
    said = "UniProt, release 2026_03 (17-June-2026), asked on 2026-07-01 for (reviewed:true) AND (length:[40 TO *]): "
    assert f"{said}1,234 rows in x.tsv.gz." in text
    assert "location that is no class: Melanosome" in text


def test_only_one_split_is_said(tmp_path: Path) -> None:
    html = build(tmp_path, splits=("cluster30",), models=("kmer",)).read_text(encoding="utf-8")
    assert "There is only one split, cluster30" in html
    assert "How the splits compare" in html
    assert "How much the random split flatters" not in html
    assert "only baselines were run" in html


def test_what_length_costs_is_a_section_where_sequences_become_sequences(pages: Callable[[str], Path]) -> None:
    html = pages("sequences").read_text(encoding="utf-8")
    assert html.count('id="d0-lengths"') == html.count('href="#d0-lengths"') == 1
    assert "By length of the input: means over runs" in html
    assert "transduction, a sequence over the protein alphabet for each" in html
    assert "Sequences have no confusion matrix" in html
    assert "-lengths" not in pages("demo").read_text(encoding="utf-8")


def test_a_failed_report_leaves_the_old_one(tmp_path: Path) -> None:
    tables, data_root, matrix = fixture.write(tmp_path, models=("kmer",), splits=("random",))
    out = tmp_path / "report.html"
    out.write_text("the old one")
    (data_root / "demo" / "summary.json").write_text("{}")
    with pytest.raises(KeyError):
        build_report(tables, data_root, out, experiment="x", matrix=matrix, version="1", commit=None)
    assert out.read_text() == "the old one"


# --- In a browser ---


@pytest.mark.browser
def test_it_asks_for_nothing_and_complains_of_nothing(tab: Any, page: Path) -> None:
    tab.goto(page.as_uri())
    tab.wait_for_timeout(200)
    assert tab.requested == [page.as_uri()]
    assert tab.complaints == []


@pytest.mark.browser
def test_every_figure_is_seen(tab: Any, page: Path) -> None:
    tab.goto(page.as_uri())
    boxes = [figure.bounding_box() for figure in tab.locator("figure svg").all()]
    assert len(boxes) >= 12
    assert all(box["width"] > 200 and box["height"] > 50 for box in boxes)


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(tab: Any, page: Path, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 844})
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_the_verdict_and_its_figure_are_above_the_fold(tab: Any, page: Path) -> None:
    tab.goto(page.as_uri())
    for part in (".lead", ".hero svg"):
        box = tab.locator(part).bounding_box()
        assert box["y"] + box["height"] < 800


@pytest.mark.browser
def test_tables_sort_by_number_both_ways_with_missing_values_last(tab: Any, page: Path) -> None:
    tab.goto(page.as_uri())
    table = tab.locator("table", has_text="Cost of one run").first
    parameters, epochs = (table.locator("th", has_text=name).first for name in ("parameters", "epochs"))
    for order in ("ascending", "descending"):
        parameters.locator("button").click()
        shown = [int(text.replace(",", "")) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()]
        assert shown == sorted(shown, reverse=order == "descending")
        assert parameters.get_attribute("aria-sort") == order
    for order in ("ascending", "descending"):
        epochs.locator("button").press("Enter")
        assert table.locator("tbody td:nth-child(5)").last.inner_text() == "–"
        assert epochs.get_attribute("aria-sort") == order
    assert parameters.get_attribute("aria-sort") is None


@pytest.mark.browser
def test_negative_numbers_sort_below_0_and_names_by_letter(tab: Any, page: Path) -> None:
    tab.goto(page.as_uri())
    table = tab.locator("table", has_text="Differences between models").first
    table.locator("th", has_text="difference").locator("button").click()
    shown = [float(text.replace("−", "-")) for text in table.locator("tbody td:nth-child(4)").all_inner_texts()]
    assert shown == sorted(shown)
    assert shown[0] < 0 < shown[-1]
    table.locator("th", has_text="second").locator("button").click()
    names = table.locator("tbody td:nth-child(3)").all_inner_texts()
    assert names == sorted(names)


@pytest.mark.browser
def test_tables_can_be_read_without_javascript(browser: Any, page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(page.as_uri())
    assert plain.locator("th button").count() == 0
    assert plain.locator("th", has_text="macro-F1").first.is_visible()
    context.close()


@pytest.mark.browser
def test_a_hostile_name_does_not_run(tab: Any, pages: Callable[[str], Path]) -> None:
    out = pages("hostile")
    tab.goto(out.as_uri())
    tab.wait_for_timeout(200)
    assert tab.evaluate("window.pwned") is None
    assert tab.locator("img").count() == 0
    assert tab.locator("td", has_text=EVIL).first.is_visible()
    assert tab.requested == [out.as_uri()]
    assert tab.complaints == []


@pytest.mark.browser
def test_the_skip_link_is_the_first_stop(tab: Any, page: Path) -> None:
    tab.goto(page.as_uri())
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the results"


@pytest.mark.browser
def test_it_prints(tab: Any, page: Path, tmp_path: Path) -> None:
    tab.goto(page.as_uri())
    assert tab.pdf(format="A4").startswith(b"%PDF")
