"""The simulated data set keeps what its documentation promises."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import simulate as module
from unrolled.errors import UnrolledError
from unrolled.simulate import BLOSUM62, LOCATIONS, NAMES, RESIDUES, Knobs, simulate

CARD = Path(__file__).parents[1] / "config" / "data" / "demo.yaml"
COLUMNS = ["id", "sequence", "target", "family", "signal", "planted_label"]
SMALL = {"n": st.integers(12, 60), "families": st.integers(1, 12), "seed": st.integers(0, 2**32)}
KNOBS = st.fixed_dictionaries(
    {},
    optional={
        "loyalty": st.floats(0, 1),
        "divergence": st.floats(0, 5),
        "decoys": st.floats(0, 1),
        "noise": st.floats(0, 1),
        "ambiguity": st.floats(0, 1),
    },
)


@cache
def demo() -> pd.DataFrame:
    return simulate(**yaml.safe_load(CARD.read_text(encoding="utf-8"))["simulate"])


def planted(row: pd.Series) -> list[str]:
    """The residues at the ranges that `signal` names."""
    ranges = re.findall(r"(\d+)\.\.(\d+)", row["signal"])
    return [row["sequence"][int(first) - 1 : int(last)] for first, last in ranges]


def identity(a: str, b: str) -> float:
    """Identical pairs in the best global alignment (match 1, mismatch -1, gap -2) per residue of the longer one.

    Needleman-Wunsch, a row at a time; a cell holds 1000 x score + identical pairs, so one maximum carries both.
    """
    letters, gaps = np.array(list(b)), 2000 * np.arange(len(b) + 1)
    row = -gaps
    for residue in a:
        diagonal = row[:-1] + np.where(letters == residue, 1001, -1000)
        best = np.append(row[0] - 2000, np.maximum(diagonal, row[1:] - 2000))
        row = np.maximum.accumulate(best + gaps) - gaps  # gaps in a
    return float(row[-1] % 1000) / max(len(a), len(b))


def test_the_identity_used_below_by_hand() -> None:
    assert identity("ACDE", "ACDE") == 1
    assert identity("ACDE", "ADE") == 0.75  # one gap
    assert identity("ADE", "ACDE") == 0.75
    assert identity("ACDE", "AGDE") == 0.75
    assert identity("AAAA", "CCC") == 0


def identities(pairs: list[tuple[str, str]]) -> np.ndarray:
    return np.array([identity(a, b) for a, b in pairs])


def test_the_card_describes_a_canonical_table() -> None:
    card = yaml.safe_load(CARD.read_text(encoding="utf-8"))
    assert list(card) == [
        "title", "task", "alphabet", "licence", "citation", "simulate", "keep", "max_length",
    ]  # fmt: skip
    assert {"id", "sequence", "target", *card["keep"]} == set(demo().columns)
    assert len(demo()) == card["simulate"]["n"]
    assert demo()["family"].nunique() == card["simulate"]["families"]


def test_columns_types_order_and_ids() -> None:
    table = demo()
    assert list(table.columns) == COLUMNS
    assert (table.dtypes == "str").all()
    assert table["id"].is_unique
    assert table["id"].is_monotonic_increasing
    assert list(table.index) == list(range(len(table)))
    assert not table["sequence"].duplicated().any()


def test_neither_id_nor_length_tells_the_label() -> None:
    table = demo()
    lengths = table["sequence"].str.len()
    within = lengths - lengths.groupby(table["family"]).transform("mean")
    assert within.groupby(table["planted_label"]).mean().abs().max() < 1.5  # residues
    halves = [part["planted_label"].value_counts(normalize=True) for part in (table[:750], table[750:])]
    assert (halves[0] - halves[1]).abs().max() < 0.06


def test_lengths() -> None:
    lengths = demo()["sequence"].str.len()
    assert lengths.min() >= 40
    assert lengths.max() <= 200
    assert 95 <= lengths.mean() <= 125
    assert lengths.std() > 12


def test_classes_are_imbalanced_but_none_is_rare() -> None:
    counts = demo()["target"].value_counts()
    assert set(counts.index) == set(NAMES)
    assert 3 <= counts.max() / counts.min() <= 4
    assert counts.min() >= 60


def test_families_prefer_a_location_and_none_dominates() -> None:
    table = demo()
    counts = pd.crosstab(table["family"], table["planted_label"])
    assert 0.75 <= counts.max(axis=1).sum() / len(table) <= 0.88
    assert counts.sum(axis=1).max() < 0.08 * len(table)


def test_noise_is_exactly_its_share() -> None:
    table = demo()
    wrong = table["target"] != table["planted_label"]
    assert wrong.sum() == round(0.03 * len(table))
    assert set(table.loc[wrong, "target"]) <= set(NAMES)


def test_a_few_nonstandard_letters_never_inside_a_signal() -> None:
    table = simulate(4000, 60, 0)
    assert set("".join(table["sequence"])) == set(RESIDUES + "XBU")
    assert 0.02 < table["sequence"].str.contains("[XBU]").mean() < 0.2
    assert not any(set("XBU") & set("".join(planted(row))) for _, row in table.iterrows())


@pytest.mark.parametrize("location", NAMES)
def test_signals_lie_where_they_are_said_to(location: str) -> None:
    members = demo()[demo()["planted_label"] == location]
    signals = LOCATIONS[location]
    for _, row in members.iterrows():
        texts = planted(row)
        assert len(texts) == len(signals)
        assert re.findall(r"[A-Z]+(?= )", row["signal"]) == [signal.key for signal in signals]
        for text, signal in zip(texts, signals, strict=True):
            assert any(re.fullmatch(motif, text) for motif in signal.motifs)


PLACES = {  # independent of the module's own motifs
    "Secreted": r"^M[KR]{1,3}[LAVIF]{8,12}.{2,4}[AVS].A",
    "ER": r"^M[KR]{1,3}[LAVIF]{8,12}.{2,4}[AVS].A.*[KH]DEL$",
    "Mitochondrion": r"^M[^DE]{18,29}",
    "Nucleus": r"^.{10,}([KR]{2,}K|KR.{10,12}K{2}[KR]K).{4,}$",
    "Membrane": r"^.{10,}[KR]{2}[LAVIF]{18,22}.*[KR]{1,2}.{4,}$",
    "Peroxisome": r"[SAC][KR][LM]$",
}


@pytest.mark.parametrize("location", PLACES)
def test_signals_are_of_the_kind_biology_knows(location: str) -> None:
    members = demo()[demo()["planted_label"] == location]
    assert members["sequence"].str.contains(PLACES[location].replace("(", "(?:")).all()


def test_the_place_is_what_counts_because_decoys_lie_elsewhere() -> None:
    table = demo().set_index("planted_label")["sequence"]
    interior = table.str[20:-10]
    assert interior.str.contains("[KH]DEL").mean() > 0.15
    assert interior.str.contains("[SAC][KR][LM]").mean() > 0.2
    retained = table.str.contains("[KH]DEL$")
    assert retained[["Cytoplasm", "Nucleus", "Mitochondrion"]].mean() > 0.2  # no signal peptide: never in the ER
    assert not retained["Secreted"].any()  # but with one, this tail would make it ER


def test_transit_peptides_are_amphipathic() -> None:
    members = demo()[demo()["planted_label"] == "Mitochondrion"]
    peptides = [planted(row)[0] for _, row in members.iterrows()]
    assert all(18 <= len(p) <= 30 and len(re.findall("[RK]", p)) >= 6 and not set(p) & set("DE") for p in peptides)


def test_relatives_span_the_range_of_identities_and_strangers_do_not() -> None:
    rng = np.random.default_rng(0)
    groups = [sequences for _, sequences in _families(demo()) if len(sequences) >= 10]
    relatives = identities([tuple(rng.choice(groups[i % len(groups)], 2, replace=False)) for i in range(750)])
    strangers = identities([(groups[i][0], groups[i - 1][1]) for i in range(len(groups))])
    assert np.quantile(relatives, 0.02) < 0.27
    assert relatives.max() > 0.85
    assert np.quantile(relatives, 0.9) - np.quantile(relatives, 0.1) > 0.25
    assert 0.35 < np.median(relatives) < 0.6
    assert strangers.mean() < 0.25
    assert np.quantile(strangers, 0.75) < np.quantile(relatives, 0.1)


def test_divergence_moves_relatives_apart() -> None:
    def mean(divergence: float) -> float:
        table = simulate(40, 2, 0, divergence=divergence)
        return float(np.mean([identities([(s[0], s[1])]) for _, s in _families(table)]))

    assert mean(0) > 0.7 > mean(2)


def _families(table: pd.DataFrame) -> list[tuple[str, list[str]]]:
    return [(str(name), part["sequence"].tolist()) for name, part in table.groupby("family")]


def test_composition_is_natural_on_the_whole_and_each_family_has_its_own() -> None:
    table = demo()
    total = pd.Series(list("".join(table["sequence"]))).value_counts(normalize=True)
    natural = pd.Series(module._numbers(module.BACKGROUND), list(RESIDUES)) / 1000
    assert np.corrcoef(total[list(RESIDUES)], natural)[0, 1] > 0.85
    largest = table["family"].value_counts().index[:20]
    lysine = [table.loc[table["family"] == f, "sequence"].str.count("K").mean() for f in largest]
    assert np.std(lysine) > 1


def test_blosum62_against_its_published_facts() -> None:
    scores = np.zeros((20, 20))
    scores[np.tril_indices(20)] = module._numbers(BLOSUM62)
    at = {pair: scores[max(i := RESIDUES.index(pair[0]), j := RESIDUES.index(pair[1])), min(i, j)] for pair in PAIRS}
    assert at == PAIRS
    assert np.diag(scores).tolist() == [4, 5, 6, 6, 9, 5, 5, 6, 8, 4, 4, 5, 5, 6, 7, 4, 5, 11, 7, 4]
    scores += np.tril(scores, -1).T
    p = module._numbers(module.BACKGROUND) / 1000
    assert p.sum() == pytest.approx(1)
    # The scale that makes the scores log-odds under these frequencies is BLAST's ungapped lambda of BLOSUM62.
    assert p @ np.exp(0.3176 * scores) @ p == pytest.approx(1, abs=1e-4)


PAIRS = {"WF": 1, "YF": 3, "IV": 3, "DE": 2, "KR": 2, "WD": -4, "ST": 1, "HY": 2, "LM": 2, "CW": -2, "GP": -2}


def test_replacements_follow_blosum62() -> None:
    uniform = module._replacements(np.full(20, 0.05))
    chances = np.diff(uniform, axis=1, prepend=0)
    assert np.allclose(uniform[:, -1], 1)
    assert np.allclose(np.diag(chances), 0)
    assert RESIDUES[chances[RESIDUES.index("I")].argmax()] == "V"
    assert RESIDUES[chances[RESIDUES.index("K")].argmax()] == "R"


def test_the_same_seed_gives_the_same_table_and_another_seed_another() -> None:
    once, again, other = simulate(60, 6, 3), simulate(60, 6, 3), simulate(60, 6, 4)
    pd.testing.assert_frame_equal(once, again)
    assert not once["sequence"].equals(other["sequence"])


def test_a_table_stays_what_it_was() -> None:
    """Results are compared across machines and months: a change here changes every result on the demo."""
    table = simulate(30, 3, 0)
    assert table.loc[0].tolist() == FIRST_ROW


FIRST_ROW = [
    "sim01",
    "MRRKLFFAVLLAILAGPSQAKRDKFVVSWLEWIESGEADENQPGNGKRPNNTDADCLDDKQYSPISREVVKTQRGYQLSMRSQDQYSYRYDLELATAVALLVIIFVEEAAKAH"
    "THTDNADNAKKDELLIVIILIELKLFSAG",
    "Secreted",
    "F2",
    "SIGNAL 1..20",
    "Secreted",
]


@settings(max_examples=25, deadline=None)
@given(**SMALL, knobs=KNOBS)
def test_any_settings_give_a_sound_table(n: int, families: int, seed: int, knobs: dict[str, float]) -> None:
    table = simulate(n, families, seed, **knobs)
    assert len(table) == n
    assert table["family"].nunique() == families
    assert table["id"].is_unique
    assert table["id"].is_monotonic_increasing
    assert table["sequence"].str.len().between(40, 200).all()
    assert set("".join(table["sequence"])) <= set(RESIDUES + "XBU")
    assert (table["target"] != table["planted_label"]).sum() == round(knobs.get("noise", Knobs.noise) * n)
    for _, row in table.iterrows():
        for text, signal in zip(planted(row), LOCATIONS[row["planted_label"]], strict=True):
            assert any(re.fullmatch(motif, text) for motif in signal.motifs)


@settings(max_examples=25, deadline=None)
@given(total=st.integers(0, 500), weights=st.lists(st.floats(0.01, 10), min_size=1, max_size=20))
def test_apportioned_counts_sum_to_the_total(total: int, weights: list[float]) -> None:
    exact = total * np.array(weights) / sum(weights)
    counts = module._apportion(total, np.array(weights))
    assert counts.sum() == total
    assert (abs(counts - exact) <= 1).all()


def test_loyalty_decides_who_stays_at_home() -> None:
    loyal = simulate(60, 6, 0, loyalty=1)
    assert (loyal.groupby("family")["planted_label"].nunique() == 1).all()
    stray = simulate(60, 1, 0, loyalty=0)["planted_label"]
    assert len(set(stray)) == len(NAMES) - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 5, "families": 6, "seed": 0}, "n: 5 is not a whole number from 6 (a member for each family)"),
        ({"n": 5, "families": 0, "seed": 0}, "families: 0 is not a whole number from 1"),
        ({"n": 5.0, "families": 1, "seed": 0}, "n: 5.0 is not a whole number from 1"),
        ({"n": True, "families": 1, "seed": 0}, "n: True is not a whole number"),
        ({"n": 5, "families": 1, "seed": -1}, "seed: -1 is not a whole number from 0"),
        ({"n": 5, "families": 1, "seed": 0, "noise": 1.5}, "noise: 1.5 is not a number from 0 to 1"),
        ({"n": 5, "families": 1, "seed": 0, "noise": float("nan")}, "noise: nan is not a number"),
        ({"n": 5, "families": 1, "seed": 0, "decoys": "many"}, "decoys: 'many' is not a number"),
        ({"n": 5, "families": 1, "seed": 0, "divergence": -0.1}, "divergence: -0.1 is not a number from 0 to 5"),
        ({"n": 5, "families": 1, "seed": 0, "nois": 0.1}, "there is no knob 'nois'; the knobs: loyalty, divergence"),
    ],
)
def test_impossible_arguments_say_how_to_mend_them(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(UnrolledError, match=re.escape(message)):
        simulate(**arguments)
