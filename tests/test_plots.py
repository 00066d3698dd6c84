"""Figures: what is read, how models look, and SVG that can share a page."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import pandas as pd
import pytest

import report_fixture as fixture
from unrolled import looks, plots, results, wording
from unrolled.errors import UnrolledError
from unrolled.plots import FIGURES
from unrolled.results import Tables
from unrolled.svg import svg
from unrolled.takeaways import TAKEAWAYS

CASES = {
    "demo": {},
    "baselines only": {"models": ("kmer", "majority")},
    "one of each": {"models": ("lstm",), "splits": ("cluster30",), "seeds": 1},
    "multilabel": {"task": "multilabel", "classes": [f"A rather long class name {i}" for i in range(12)]},
    "many": {
        "models": ("lstm", "kmer", *(f"variant_with_a_long_name_{i}" for i in range(5))),
        "splits": ("random", "cluster30", "cluster50", "published"),
        "seeds": 2,
    },
    "two classes": {"classes": ("NA", "null")},
    "numbers": {"task": "regression", "classes": ("up to 38", "38 to 45", "above 45")},
    "sequences": {"task": "transduction", "classes": ("up to 8 symbols", "above 8 symbols")},
}


def loaded(root: Path, **options: object) -> Tables:
    folder, data_root, matrix = fixture.write(root, **options)  # type: ignore[arg-type]
    metric = fixture.RANKED.get(str(options.get("task")), "macro_f1")
    (tables,) = results.load(folder, metric, data_root=data_root, matrix=matrix)
    return tables


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return loaded(tmp_path_factory.mktemp("demo"))


# --- Reading ---


def test_order_is_the_matrix_order_with_neural_models_first(tmp_path: Path) -> None:
    folder, root, matrix = fixture.write(tmp_path, models=("kmer", "gru", "rnn"), splits=("cluster30", "random"))
    (tables,) = results.load(folder, "mcc", data_root=root, matrix=matrix | {"split": ["random", "cluster30"]})
    assert tables.models == ("gru", "rnn", "kmer")
    assert tables.splits == ("random", "cluster30")
    assert (tables.random, tables.headline) == ("random", "cluster30")


def test_random_is_known_by_its_groups_not_by_its_name(tmp_path: Path) -> None:
    folder, root, matrix = fixture.write(tmp_path, splits=("random", "cluster30"))
    for table in folder.glob("*.csv"):
        table.write_text(table.read_text().replace("random", "shuffled"))
    (root / "demo" / "random").rename(root / "demo" / "shuffled")
    (tables,) = results.load(folder, "macro_f1", data_root=root, matrix=matrix)
    assert tables.random == "shuffled"


def test_headline_is_the_split_of_lowest_identity(demo: Tables) -> None:
    folds = {"random": {"group": "sequence"}, "a": {"identity": 0.5}, "b": {"identity": 0.3}, "c": {"identity": None}}
    changed = Tables(**{**vars(demo), "splits": ("random", "c", "a", "b"), "folds": folds})
    assert changed.headline == "b"


@pytest.mark.parametrize(
    ("splits", "headline"),
    [
        (("random", "cluster30", "homology30", "homology80"), "homology30"),
        (("random", "homology80", "cluster30"), "cluster30"),
        (("published", "homology40"), "homology40"),
    ],
)
def test_headline_is_what_leaks_least_at_the_lowest_identity_that_was_audited(
    demo: Tables, splits: tuple[str, ...], headline: str
) -> None:
    """Each split: identity of its audit, share above that, and above 30 %."""
    found = {"random": (0.3, 0.7, 0.7), "cluster30": (0.3, 0.3, 0.3), "homology30": (0.3, 0.0, 0.0)}
    found |= {"homology80": (0.8, 0.0, 0.6), "published": (0.3, 0.5, 0.5), "homology40": (0.4, 0.0, 0.2)}
    certificates = {split: dict(zip(("threshold", "share_above"), found[split], strict=False)) for split in splits}
    rows = [(split, band, n) for split in splits for band, n in (("50-60", found[split][2]), ("20-30", 0.5))]
    bands = pd.DataFrame(rows, columns=["split", "band", "sequences"])
    changed = {"splits": splits, "folds": {"random": {"group": "sequence"}}, "certificates": certificates}
    made = Tables(**vars(demo) | changed | {"frames": demo.frames | {"bands": bands}})
    assert made.headline == headline


def test_without_bands_headline_is_what_its_certificate_says_leaks_least(demo: Tables) -> None:
    shares = {"random": 0.0, "cluster30": 0.3, "homology30": 0.1}
    audited = {split: {"threshold": 0.3, "share_above": share} for split, share in shares.items()}
    changed = {"splits": tuple(shares), "folds": {"random": {"group": "sequence"}}, "certificates": audited}
    made = Tables(**vars(demo) | changed | {"frames": demo.frames | {"bands": demo.frames["bands"][:0]}})
    assert made.headline == "homology30"


def test_names_that_look_like_missing_values_stay_names(tmp_path: Path) -> None:
    tables = loaded(tmp_path, classes=("NA", "001"), models=("None", "kmer"))
    assert set(tables.frames["classes"]["class"]) == {"NA", "001"}
    assert tables.models == ("None", "kmer")


def test_an_empty_history_is_no_history(tmp_path: Path) -> None:
    folder, *_ = fixture.write(tmp_path)
    (folder / "history.csv").write_text("")
    (tables,) = results.load(folder, "macro_f1")
    assert FIGURES["losses"](tables) is None
    assert FIGURES["gradients"](tables) is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "models.csv").unlink(), "models.csv is missing: write it with `unrolled compare`"),
        (lambda folder: (folder / "runs.csv").write_text("data,split\n"), "runs.csv has no column model, fold"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, spoil: object, message: str) -> None:
    folder, *_ = fixture.write(tmp_path)
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(UnrolledError, match=message):
        results.load(folder, "macro_f1")


def test_an_unknown_metric_lists_the_known_ones(tmp_path: Path) -> None:
    folder, *_ = fixture.write(tmp_path)
    with pytest.raises(UnrolledError, match=r"no metric 'f2'.*accuracy, balanced_accuracy, macro_f1"):
        results.load(folder, "f2")


def test_a_missing_summary_is_named(tmp_path: Path) -> None:
    folder, root, _ = fixture.write(tmp_path)
    (root / "demo" / "summary.json").unlink()
    with pytest.raises(UnrolledError, match=r"summary.json is missing: write it with `unrolled table`"):
        results.load(folder, "macro_f1", data_root=root)


def test_difference_turns_round() -> None:
    frame = pd.DataFrame({"model": ["a"], "other": ["b"], "difference": [0.2], "low": [-0.1], "high": [0.5]})
    assert results.difference(frame, "model", "a", "b") == (0.2, -0.1, 0.5)
    assert results.difference(frame, "model", "b", "a") == (-0.2, -0.5, 0.1)
    assert all(map(pd.isna, results.difference(frame, "model", "a", "c")))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        *[("macro_f1", "macro-F1"), ("mcc", "MCC"), ("balanced_accuracy", "balanced accuracy")],
        *[("log_loss", "log loss"), ("rmse", "RMSE"), ("r2", "R2"), ("spearman", "Spearman")],
    ],
)
def test_label(name: str, written: str) -> None:
    assert wording.label(name) == written


@pytest.mark.parametrize(
    ("values", "digits"),
    [
        ((0.5,), 2),
        ((0.5, 0.004), 3),
        ((3e-7, -1e-7), 7),
        ((1e-17,), 2),
        ((float("nan"),), 2),
        ((0.04,), 2),
        ((1234,), 2),
    ],
)
def test_no_unit_is_too_small_to_be_seen(values: tuple[float, ...], digits: int) -> None:
    assert wording.decimals(*values) == digits


def test_some_sequences_are_never_none() -> None:
    assert [wording.size(n) for n in (0, 0.2, 0.6, 1234)] == ["0", "< 1", "1", "1,234"]


def test_short_keeps_both_ends() -> None:
    assert wording.short("lstm") == "lstm"
    assert wording.short("bidirectional_lstm_large", 12) == "bidirec…arge"
    assert len(wording.short("x" * 50, 14)) == 14


# --- Looks ---


def assigned(*models: str, baselines: tuple[str, ...] = ()) -> dict[str, looks.Look]:
    kinds = ["baseline" if model in baselines else "neural" for model in models]
    return looks.assign(pd.DataFrame({"model": models, "kind": kinds}), models)


def test_lstm_gru_and_rnn_look_the_same_in_every_experiment() -> None:
    alone, together = assigned("gru"), assigned("transformer", "gru", "lstm", "rnn")
    assert alone["gru"] == together["gru"]


def test_forty_neural_models_differ_in_colour_or_marker() -> None:
    found = assigned("lstm", "rnn", *(f"m{i}" for i in range(38)))
    assert len({(look.colour, look.marker) for look in found.values()}) == 40


def test_baselines_are_grey_and_hollow() -> None:
    found = assigned("kmer", "lstm", baselines=("kmer",))
    assert list(found) == ["lstm", "kmer"]
    assert found["kmer"].colour not in looks.COLOURS
    assert found["kmer"].points["mfc"] == "white"


# --- Figures ---


@pytest.mark.parametrize("case", CASES)
def test_every_figure_draws_without_a_warning(case: str, tmp_path: Path) -> None:
    tables = loaded(tmp_path, **CASES[case])
    names = {name for name, *_ in plots.drawn(tables)}
    bare = case in ("numbers", "sequences")
    assert {"headline", "comparison", "cost", "data", "folds"} <= names
    assert {"classes", "calibration"} <= names or bare
    assert ("agreement" in names) == (case == "numbers")
    assert ("lengths" in names) == (case == "sequences")
    assert ("splits" in names) == (len(tables.splits) > 1)
    assert ("losses" in names) == bool(tables.neural)
    confused = not bare and case != "multilabel"
    confusions = {f"confusion-{split}" for split in tables.splits} if confused else set()
    assert {name for name in names if name.startswith("confusion")} == confusions


def test_the_dots_are_the_means(demo: Tables) -> None:
    figure = FIGURES["comparison"](demo)
    assert figure is not None
    for axes, split in zip(figure.axes, demo.splits, strict=True):
        dots = [line for line in axes.lines if line.get_marker() in looks.MARKERS]
        assert [line.get_xdata()[0] for line in dots] == pytest.approx(list(demo.scores(split)["mean"]))  # type: ignore[index]


def test_the_longer_the_input_the_further_right(tmp_path: Path) -> None:
    tables = loaded(tmp_path, task="transduction", models=("lstm",), splits=("random",))
    figure = FIGURES["lengths"](tables)
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["exact match, random", "token accuracy, random"]
    (dots,) = [line for line in figure.axes[0].lines if line.get_marker() in looks.MARKERS]
    rows = tables.of("lengths", metric="exact_match")
    assert list(dots.get_xdata()) == [13, 28, 43, 58, 73, 88]  # type: ignore[arg-type]
    assert list(dots.get_ydata()) == pytest.approx(list(rows["mean"]))  # type: ignore[arg-type]
    low, high = (float(rows["mean"].iloc[i]) for i in (0, -1))
    said = TAKEAWAYS["lengths"](tables)
    assert said.startswith("From inputs of 6 to 20 to those of 81 to 95, exact match under random goes: lstm's from ")
    assert said.endswith(f"{low:.2f} to {high:.2f}.")


def test_a_missing_score_leaves_a_gap(demo: Tables) -> None:
    summary = demo.frames["summary"].copy()
    summary.loc[(summary["model"] == "gru") & (summary["split"] == "random"), ["mean", "low", "high"]] = float("nan")
    changed = Tables(**{**vars(demo), "frames": demo.frames | {"summary": summary}})
    assert "gru" not in changed.scores("random").index
    assert FIGURES["comparison"](changed) is not None
    assert FIGURES["splits"](changed) is not None


def test_the_readers_matplotlibrc_changes_nothing(demo: Tables) -> None:
    expected = svg(FIGURES["cost"](demo), "a", "b")  # type: ignore[arg-type]
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert svg(FIGURES["cost"](demo), "a", "b") == expected  # type: ignore[arg-type]


def test_pyplot_is_never_imported() -> None:
    code = "import sys, unrolled.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- SVG ---


@pytest.fixture(scope="module")
def markups(demo: Tables) -> dict[str, str]:
    return {name: svg(figure, name, 'About <this> & "that"') for name, _, figure in plots.drawn(demo)}


def elements(markup: str) -> Iterator[ElementTree.Element]:
    return ElementTree.fromstring(markup).iter()


def test_ids_are_unique_over_all_figures_and_every_reference_is_met(markups: dict[str, str]) -> None:
    ids = [element.get("id") for markup in markups.values() for element in elements(markup) if element.get("id")]
    assert len(ids) == len(set(ids)) > 100
    for markup in markups.values():
        own = {element.get("id") for element in elements(markup)}
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', markup)) <= own


def test_svg_is_named_for_screen_readers_and_undated(markups: dict[str, str]) -> None:
    for markup in markups.values():
        root = ElementTree.fromstring(markup)
        assert root.get("role") == "img"
        assert root.get("aria-label") == 'About <this> & "that"'
        assert not re.search(r"<style|<metadata|<dc:|<!DOCTYPE|20\d\d-\d\d", markup)


def test_letters_print_at_8_points_or_more(demo: Tables, markups: dict[str, str]) -> None:
    sizes = {float(size) for markup in markups.values() for size in re.findall(r"font-size: ([\d.]+)px", markup)}
    assert min(sizes) >= 8  # SVG pixels here are points: the viewBox counts 72 to the inch
    for markup in markups.values():
        assert float(ElementTree.fromstring(markup).get("width", "inf")) <= looks.WIDTH * 96 + 1


def test_svg_bytes_are_the_same_every_time(demo: Tables, markups: dict[str, str]) -> None:
    again = {name: svg(figure, name, 'About <this> & "that"') for name, _, figure in plots.drawn(demo)}
    assert again == markups


def test_names_are_text_not_markup_or_mathematics(tmp_path: Path) -> None:
    evil = '<script>alert("$x$")</script>'
    tables = loaded(tmp_path, models=(evil, "$\\frac$", "模型"), classes=("$", "<b>", "日"))
    for _, _, figure in plots.drawn(tables):
        markup = svg(figure, "a", evil)
        assert {element.tag.rpartition("}")[2] for element in elements(markup)} <= {
            *("svg", "g", "path", "use", "defs", "clipPath", "rect", "text", "tspan")
        }


def test_figures_that_need_facts_are_left_out_without_them(tmp_path: Path) -> None:
    folder, *_ = fixture.write(tmp_path, models=("kmer",))
    (tables,) = results.load(folder, "mcc")
    names = {name for name, _, _ in plots.drawn(tables)}
    assert {"comparison", "splits"} <= names
    assert not {"data", "folds"} & names
