"""Bounds: no pair at or above the threshold is ever ruled out, and few others are left."""

import threading
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import bounds, kernel, nearest
from unrolled.bounds import LANES, cells, doubts
from unrolled.definitions import DEFINITIONS
from unrolled.errors import UnrolledError
from unrolled.identity import identities, reverse_complement

LETTERS = {"protein": "ACDEFGHIKLMNPQRSTVWYXBZU", "dna": "ACGTN"}
SINGLE = [name for name, one in DEFINITIONS.items() if not one.parts]


def related(rng: np.random.Generator, n: int, letters: str) -> list[str]:
    """Random sequences of 5 to 160 letters, most of them a mutated, cut and gapped copy of an earlier one."""
    found: list[str] = []
    for _ in range(n):
        if not found or rng.random() < 0.3:
            found.append("".join(rng.choice(list(letters), rng.integers(5, 160))))
            continue
        letter = np.array(list(found[rng.integers(len(found))]))
        rate = rng.uniform(0.1, 0.9)
        letter = np.where(rng.random(len(letter)) < rate, rng.choice(list(letters), len(letter)), letter)
        cut = rng.integers(0, len(letter) // 2)
        place = rng.integers(0, len(letter) - cut)
        extra = "".join(rng.choice(list(letters), rng.integers(0, 12)))
        found.append("".join(letter[cut : cut + place]) + extra + "".join(letter[cut + place :]))
    return found


def every_pair(n: int) -> np.ndarray:
    return np.column_stack(np.triu_indices(n, 1))


@pytest.mark.parametrize("name", SINGLE)
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from([0.25, 0.3, 0.333, 0.5, 0.8, 1.0]))
@settings(max_examples=25)
def test_no_neighbour_is_ever_ruled_out(name, seed, threshold):
    definition = DEFINITIONS[name]
    letters = LETTERS["protein" if "protein" in definition.kinds else "dna"]
    sequences = related(np.random.default_rng(seed), 40, letters)
    pairs = every_pair(40)
    near = pairs[identities(sequences, sequences, pairs, definition) >= threshold]
    left = {tuple(pair) for pair in doubts(sequences, definition, threshold).tolist()}
    assert {tuple(pair) for pair in near.tolist()} <= left


@pytest.mark.parametrize("name", ["needle-nt", "local80-nt"])
def test_the_other_strand_is_looked_at_when_asked(name):
    rng = np.random.default_rng(1)
    one = "".join(rng.choice(list("ACGT"), 200))
    sequences = [one, reverse_complement(one), "".join(rng.choice(list("ACGT"), 200))]
    assert doubts(sequences, DEFINITIONS[name], 0.9, both_strands=True).tolist() == [[0, 1]]
    assert doubts(sequences, DEFINITIONS[name], 0.9).tolist() == []


@pytest.mark.parametrize("name", ["needle", "needle-longer", "local80"])
def test_almost_all_unrelated_pairs_are_ruled_out(name):
    rng = np.random.default_rng(2)
    sequences = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 100)) for _ in range(200)]
    assert len(doubts(sequences, DEFINITIONS[name], 0.3)) < 0.01 * len(every_pair(200))


def test_long_sequences_are_as_exact_as_short_ones():
    rng = np.random.default_rng(3)
    long = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 2500))
    sequences = [long, long[:1900] + "W" * 50 + long[1900:], long[::-1]]
    assert doubts(sequences, DEFINITIONS["needle"], 0.9).tolist() == [[0, 1]]


@contextmanager
def growth():
    """What memory the process gains meanwhile, at most, looked at every millisecond: compiled code's as well."""
    process, seen, done = psutil.Process(), [], threading.Event()
    before = process.memory_info().rss

    def look():
        while not done.wait(0.001):
            seen.append(process.memory_info().rss - before)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        done.set()
        looking.join()


def test_no_step_holds_all_pairs():
    """Not even as a matrix of single bytes, for the proofs; as pairs of rows in blocks, for an audit."""
    n = 8000
    sequences = ["".join(row) for row in np.random.default_rng(0).choice(list("ACDEFGHIKLMNPQRSTVWY"), (n, 20))]
    doubts(sequences[:40], DEFINITIONS["local80"], 0.9)  # compiles
    with growth() as gained:
        assert len(doubts(sequences, DEFINITIONS["local80"], 0.9)) < 1000
    assert max(gained) < n * n / 2
    with growth() as gained:
        assert sum(map(len, nearest.pairs_across(np.arange(n) % 5))) == n * n * 0.8 / 2
    assert len(gained) > 10
    assert max(gained) < n * n / 2 < 16 * n * n * 0.8 / 2


def test_more_pairs_in_doubt_than_memory_holds_are_refused_on_the_way(monkeypatch):
    monkeypatch.setattr(bounds, "memory", lambda: 100 * 1000)
    family = ["MKWVTFISLLFLFSSAYSRGVFRRDAHK"] * 40  # 780 pairs
    assert len(doubts(family, DEFINITIONS["local80"], 0.3)) == 780
    with pytest.raises(UnrolledError, match=r"pairs of 100 sequences may be .* which memory does not hold"):
        doubts(family[:1] * 100, DEFINITIONS["local80"], 0.3)


def test_threads_and_order_change_nothing():
    sequences = related(np.random.default_rng(4), 3 * LANES + 5, LETTERS["protein"])
    one = doubts(sequences, DEFINITIONS["local80"], 0.3)
    assert np.array_equal(one, doubts(sequences, DEFINITIONS["local80"], 0.3, threads=3))
    turned = doubts(sequences[::-1], DEFINITIONS["local80"], 0.3)
    back = np.sort(len(sequences) - 1 - turned, axis=1)
    assert {tuple(p) for p in back.tolist()} == {tuple(p) for p in one.tolist()}


@pytest.fixture(params=["any", "avx2", "avx512"])
def level(request):
    """Make do with one instruction set, and with the kernel for whatever there is to do."""
    found = kernel.load(request.param)
    if found is None or request.param not in kernel._levels():
        pytest.skip(f"no kernel for {request.param}, or a processor without it")
    kernel._scoring.cache_clear()
    with patch.object(kernel, "library", lambda: (request.param, found)), patch.object(bounds, "MUCH", 0):
        yield request.param
    kernel._scoring.cache_clear()


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("threshold", [0.25, 0.3, 0.333, 0.8])
def test_the_kernel_leaves_the_doubts_of_numba(level, name, threshold):
    """In 16 bits, in the float32 that high scores need, and where the query is many tiles long or one letter."""
    kind = "protein" if "protein" in DEFINITIONS[name].kinds else "dna"
    highest = "W" if kind == "protein" else "A"
    sequences = related(np.random.default_rng(5), 60, LETTERS[kind])
    sequences += [highest, highest * 60, highest * 150, highest * 700, sequences[0] * 5, sequences[1][:50] * 9]
    unknown = "X" if kind == "protein" else "N"  # which add nothing, and take nothing from what the others add
    sequences += [highest * 700 + unknown * 700, unknown * 3000, unknown * 2900 + highest]
    found = doubts(sequences, DEFINITIONS[name], threshold, threads=2)
    with patch.object(bounds, "MUCH", np.inf):
        assert np.array_equal(found, doubts(sequences, DEFINITIONS[name], threshold))
    assert len(found)


def test_the_kernel_takes_numbers_that_hold_the_highest_score(level):
    highest = {}

    def scores(*given):
        found = kernel.best_scores(*given)
        highest[found.dtype.type] = max(highest.get(found.dtype.type, 0), float(found.max()))
        return found

    same = 11 * 20 + 10 + 2 - 3  # W with W in whole numbers, and its bonus
    fits = (2**15 - 1) // same
    with patch.object(bounds, "_scorer", lambda _: (scores, list(bounds.KINDS))):
        for n in (fits, fits + 1):
            doubts(["W" * n] * 2, DEFINITIONS["local80"], 0.3)
    assert highest == {np.int16: fits * same, np.float32: (fits + 1) * same}


def test_progress_ends_at_the_cost_that_was_announced():
    sequences, told = ["ACDEFGHIKL"] * 70, []
    doubts(sequences, DEFINITIONS["local80"], 0.3, progress=lambda done, of: told.append((done, of)))
    cost = cells(sequences, DEFINITIONS["local80"], 0.3)
    assert told[-1] == (cost, cost)


@given(seed=st.integers(0, 10_000), shorter=st.integers(0, 170))
@settings(max_examples=25)
def test_pairs_of_short_sequences_are_those_of_all_pairs(seed, shorter):
    sequences = related(np.random.default_rng(seed), 2 * LANES + 7, LETTERS["protein"])
    lengths = np.array([len(s) for s in sequences])
    every = doubts(sequences, DEFINITIONS["local80"], 0.3)
    short = every[lengths[every].min(axis=1) <= shorter]
    assert np.array_equal(doubts(sequences, DEFINITIONS["local80"], 0.3, shorter=shorter), short)


def test_short_sequences_cost_what_their_pairs_cost():
    sequences = ["A" * n for n in range(10, 110)]
    costs = [cells(sequences, DEFINITIONS["local80"], 0.3, shorter=shorter) for shorter in (9, 10, 50, 109, np.inf)]
    assert costs[0] == 0 < costs[1] < costs[2] < costs[3] == costs[4]


def test_one_sequence_has_no_pairs():
    assert doubts(["ACDEF"], DEFINITIONS["needle"], 0.3).shape == (0, 2)
