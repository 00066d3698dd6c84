"""Identity under named definitions: EMBOSS needle's own numbers, alignments made by hand, and properties."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import parasail
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import identity, pairwise
from unrolled.definitions import DEFINITIONS, check_threshold, definition
from unrolled.errors import UnrolledError
from unrolled.identity import identities, reverse_complement
from unrolled.pairwise import check_room

# Made-up pairs of related sequences, with odd letters; identical, columns and score are what `needle` of EMBOSS
# 6.6.0 printed for them (-gapopen 10 -gapextend 0.5).
NEEDLE = list(csv.DictReader((Path(__file__).parent / "data" / "needle.csv").read_text("ascii").splitlines()))
PROTEIN = st.text(alphabet="ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=60)
ODD = st.text(alphabet="ACDEFGHIKLMNPQRSTVWYXUBZJO", min_size=1, max_size=40)
DNA = st.text(alphabet="ACGTN", min_size=1, max_size=60)
names = pytest.mark.parametrize("name", list(DEFINITIONS))


def one(query: str, target: str, name: str, **options: object) -> float:
    return float(identities([query], [target], np.array([[0, 0]]), DEFINITIONS[name], **options)[0])


@pytest.mark.parametrize("row", NEEDLE, ids=lambda row: f"{row['kind']}-{row['identical']}of{row['columns']}")
def test_the_same_number_as_emboss_needle(row):
    name = "needle" if row["kind"] == "protein" else "needle-nt"
    assert one(row["query"], row["target"], name) == pytest.approx(int(row["identical"]) / int(row["columns"]))


@pytest.mark.parametrize("row", NEEDLE, ids=lambda row: f"{row['kind']}-{row['identical']}of{row['columns']}")
def test_needles_identical_letters_over_the_length_of_a_sequence(row):
    end = "" if row["kind"] == "protein" else "-nt"
    for which, length in (("shorter", min), ("longer", max)):
        of = length(len(row["query"]), len(row["target"]))
        found = one(row["query"], row["target"], f"needle-{which}{end}")
        assert found == pytest.approx(int(row["identical"]) / of)


@given(a=ODD, b=ODD)
def test_the_longer_the_denominator_the_lower_the_identity(a, b):
    assert one(a, b, "needle") <= one(a, b, "needle-longer") <= one(a, b, "needle-shorter") <= 1


def test_end_gaps_are_free_but_count_as_columns():
    assert one("MKTAYIAKQR", "MKTAYIAKQRWWWWWWWWWW", "needle") == 0.5
    assert one("MKTAYIAKQR", "MKTAYIAKQRWWWWWWWWWW", "local80") == 1.0


def test_inner_gaps_count_as_columns():
    assert one("MKTAYIAKQRMKTAYIAKQR", "MKTAYIAKQRGGMKTAYIAKQR", "needle") == pytest.approx(20 / 22)
    assert one("MKTAYIAKQRMKTAYIAKQR", "MKTAYIAKQRGGMKTAYIAKQR", "local80") == pytest.approx(20 / 22)


def best_local(a, b):
    """Of every best local alignment (Smith & Waterman 1981; Gotoh 1982): what it has.

    Written down cell by cell, without parasail but for its table of BLOSUM62. Identical, columns, i, j, end i, end j.
    """
    letters, opened, extended = parasail.blosum62.mapper, 11, 1
    table = np.array(parasail.blosum62.matrix)
    nothing = (-(10**9), frozenset())
    H = {(i, j): (0, frozenset([(0, 0, i, j)])) for i in range(len(a) + 1) for j in range(len(b) + 1) if i * j == 0}
    E, F, best, found = {}, {}, 0, set()

    def step(states, cost, identical=0):
        score, ways = states
        return score - cost, frozenset((m + identical, columns + 1, i, j) for m, columns, i, j in ways)

    def top(*states):
        score = max(one for one, _ in states)
        return score, frozenset().union(*(ways for one, ways in states if one == score))

    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            E[i, j] = top(step(H[i, j - 1], opened), step(E.get((i, j - 1), nothing), extended))
            F[i, j] = top(step(H[i - 1, j], opened), step(F.get((i - 1, j), nothing), extended))
            score = int(table[letters[ord(a[i - 1])], letters[ord(b[j - 1])]])
            pair = step(H[i - 1, j - 1], -score, a[i - 1] == b[j - 1])
            H[i, j] = top(pair, E[i, j], F[i, j], (0, frozenset([(0, 0, i, j)])))
            if H[i, j][0] > best:
                best, found = H[i, j][0], set()
            if H[i, j][0] == best > 0:
                found |= {(*way, i, j) for way in H[i, j][1]}
    return found


@given(st.text("ACDEFGHIKLMNPQRSTVWY", min_size=4, max_size=14), st.data())
@settings(max_examples=60, deadline=None)
def test_local_identity_is_that_of_a_best_alignment(a, data):
    """Of one that an implementation of its own finds: whichever, where several are equally good."""
    kept = data.draw(st.lists(st.sampled_from([*range(len(a)), None]), min_size=4, max_size=14))
    b = "".join("W" if place is None else a[place] for place in sorted(kept, key=lambda p: -1 if p is None else p))
    shorter = min(len(a), len(b))
    possible = {0.0} if not best_local(a, b) else set()
    for identical, columns, i, j, end_i, end_j in best_local(a, b):
        covered = end_i - i if len(a) <= len(b) else end_j - j
        possible.add(identical / columns if covered >= 0.8 * shorter else 0.0)
        if len(a) == len(b):
            possible.add(identical / columns if end_j - j >= 0.8 * shorter else 0.0)
    found = identities([a], [b], np.array([[0, 0]]), DEFINITIONS["local80"])[0]
    assert min(abs(found - one) for one in possible) < 1e-6, (found, possible)


def test_local_identity_needs_four_fifths_of_the_shorter_sequence():
    core = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRV"  # 40 letters
    assert one(core + "G" * 10, core + "P" * 60, "local80") == 1.0  # 40 of 50: just enough
    assert one(core + "G" * 11, core + "P" * 60, "local80") == 0.0


@pytest.mark.parametrize(("name", "letters"), [("local80", "AWCX"), ("local80", "AG"), ("local80-nt", "ACGT")])
def test_what_is_told_to_end_early_covers_too_little(monkeypatch, name, letters):
    """Of few letters, where many alignments are equally good: the score must end where the path would."""
    rng, definition = np.random.default_rng(0), DEFINITIONS[name]
    words = ["".join(rng.choice(list(letters), n)) for n in rng.integers(1, 60, 4000)]
    words[1::3] = [a[: len(a) // 2] + b for a, b in zip(words[::3], words[1::3], strict=False)]
    pairs, empty = np.column_stack([np.arange(3999), np.arange(1, 4000)]), []

    def align(pairs, aligner, scoring, coverage):
        paths = pairwise.align(pairs, aligner, scoring, coverage)
        empty.extend(path == b"" for path in paths)
        return paths

    monkeypatch.setattr(identity, "align", align)
    found = identities(words, words, pairs, definition)
    assert 10 < sum(empty) < 3990
    monkeypatch.setattr(identity, "align", lambda *asked: pairwise.align(*asked[:3]))
    assert np.array_equal(found, identities(words, words, pairs, definition))


def test_a_local_alignment_holds_no_unaligned_start():
    core = "MKTAYIAKQRQISFVKSHFS"
    for before, after in (("", "GGGGGG"), ("GGGGGG", ""), ("GGGGGG", "PPPP"), ("", "")):
        assert one(core, before + core + after, "local80") == 1
        assert one(before + core + after, "DDDD" + core, "local80") == 1


@given(core=st.text(alphabet="ACGT", min_size=20, max_size=60), before=DNA, after=DNA)
def test_a_part_of_a_strand_is_identical_to_it(core, before, after):
    assert one(core, before + core + after, "local80-nt") == 1
    assert one(core, reverse_complement(before + core + after), "local80-nt", both_strands=True) == 1


def test_selenocysteine_is_never_identical():
    assert one("MKTUUUUYIAKQ", "MKTUUUUYIAKE", "needle") == pytest.approx(7 / 12)
    assert one("WWWHHHUWWWHHH", "WWWHHHUWWWHHHW", "local80") == pytest.approx(12 / 13)
    assert one("WWWHHHXWWWHHH", "WWWHHHXWWWHHHW", "local80") == pytest.approx(12 / 13)


@given(sequence=st.text(alphabet="ACGTNRY", min_size=1, max_size=60))
@pytest.mark.parametrize("name", ["needle-nt", "needle-shorter-nt", "local80-nt", "either-nt"])
def test_a_copy_is_identical_whatever_its_letters_on_either_strand(name, sequence):
    assert one(sequence, sequence, name) == 1
    assert one(sequence, reverse_complement(sequence), name, both_strands=True) == 1
    rna = reverse_complement(sequence).replace("T", "U")
    assert one(sequence.replace("T", "U"), rna, name, both_strands=True) == 1


@given(sequence=st.text(alphabet="ACXUW", min_size=1, max_size=40))
@pytest.mark.parametrize("name", ["needle", "local80", "either"])
def test_a_copy_of_a_protein_is_identical_whatever_its_letters(name, sequence):
    assert one(sequence, sequence, name) == 1


def test_the_other_strand_counts_where_asked_for():
    dna = "ACGTTGCATTTGACCATGAGGACCATTACG"
    other = reverse_complement(dna)
    assert one(dna, other, "local80-nt") < 1
    assert one(dna, other, "local80-nt", both_strands=True) == 1
    assert one(dna, other, "needle-nt", both_strands=True) == 1


def test_a_long_sequence_leaves_16_bits_and_stays_exact():
    assert one("W" * 5000, "W" * 5000, "needle") == 1
    assert one("W" * 4000, "W" * 4000 + "G" * 40_000, "needle") == pytest.approx(4000 / 44_000)
    assert one("W" * 5000, "W" * 5000, "local80") == 1


def test_nothing_in_common():
    assert one("WWWW", "GGGG", "needle") == 0
    assert one("WWWW", "GGGG", "local80") == 0


def test_no_pairs_give_no_identities():
    assert identities(["A"], ["A"], np.empty((0, 2), dtype=np.int64), DEFINITIONS["needle"]).shape == (0,)


@given(sequence=PROTEIN)
@pytest.mark.parametrize("name", ["needle", "local80"])
def test_a_sequence_is_identical_to_itself(name, sequence):
    assert one(sequence, sequence, name) == 1


@given(a=ODD, b=ODD)
@pytest.mark.parametrize("name", ["needle", "needle-shorter", "needle-longer", "local80"])
def test_symmetric_and_between_0_and_1(name, a, b):
    assert 0 <= one(a, b, name) == one(b, a, name) <= 1


@given(a=DNA, b=DNA)
@pytest.mark.parametrize("name", ["needle-nt", "local80-nt"])
def test_symmetric_on_both_strands_of_dna(name, a, b):
    plain, both = one(a, b, name), one(a, b, name, both_strands=True)
    assert 0 <= plain <= both <= 1
    assert both == one(b, a, name, both_strands=True)


@given(dna=st.text(alphabet="ACGTRYSWKMBDHVN", max_size=40))
def test_turning_a_strand_twice_gives_it_back(dna):
    assert reverse_complement(reverse_complement(dna)) == dna
    assert reverse_complement(dna.replace("T", "U")) == reverse_complement(dna)


def test_rna_is_compared_whichever_way_it_is_spelled():
    assert one("ACGGACCAGAACCA", "UGGUUCUGGUCCGU", "needle-nt", both_strands=True) == 1
    assert one("ACGUUUGGA", "ACGTTTGGA", "local80-nt") == 1


@given(st.lists(PROTEIN, min_size=1, max_size=6), st.lists(PROTEIN, min_size=1, max_size=6))
def test_threads_and_the_order_of_pairs_change_nothing(queries, targets):
    pairs = np.array([(q, t) for q in range(len(queries)) for t in range(len(targets))] * 50)
    alone = identities(queries, targets, pairs, DEFINITIONS["needle"])
    assert np.array_equal(alone, identities(queries, targets, pairs, DEFINITIONS["needle"], threads=3))
    assert np.array_equal(alone[::-1], identities(queries, targets, pairs[::-1], DEFINITIONS["needle"]))


@pytest.mark.parametrize("both_strands", [False, True])
def test_copies_are_not_aligned(monkeypatch, both_strands):
    met = []
    monkeypatch.setattr(identity, "align", lambda pairs, *rest: met.extend(pairs) or pairwise.align(pairs, *rest))
    pairs, options = np.array([(0, 0), (0, 1), (1, 1)]), {"both_strands": both_strands}
    dna = identities(["ACGGTN", "TTTTTA"], ["ACGGTN", "ACGGTA"], pairs, DEFINITIONS["needle-nt"], **options)
    assert len(met) == (4 if both_strands else 2)
    assert dna[0] == 1
    assert identities(["MXX"], ["MXX"], np.array([(0, 0)]), DEFINITIONS["needle"]).tolist() == [1]


def test_progress_ends_with_every_pair():
    said = []
    pairs = np.zeros((5000, 2), dtype=np.int64)
    identities(["MKT"], ["MKA"], pairs, DEFINITIONS["needle"], threads=2, progress=lambda n, of: said.append((n, of)))
    assert said[-1] == (5000, 5000)
    assert [n for n, _ in said] == sorted(n for n, _ in said)


def test_an_interruption_ends_the_work_of_all_threads():
    calls = []

    def interrupted(done: int, of: int) -> None:
        calls.append(done)
        raise KeyboardInterrupt

    pairs = np.zeros((200_000, 2), dtype=np.int64)
    with pytest.raises(KeyboardInterrupt):
        identities(["MKT"], ["MKA"], pairs, DEFINITIONS["needle"], threads=2, progress=interrupted)
    assert len(calls) <= 2


@names
def test_a_definition_says_what_it_is_in_words_and_facts(name):
    found = DEFINITIONS[name]
    assert found.name == name == found.facts["name"]
    assert found.title == found.facts["title"]
    assert bool(found.parts) == ("parts" in found.facts)
    assert all(definition(name, kind) is found for kind in found.kinds)


@given(a=PROTEIN, b=PROTEIN)
def test_either_is_the_higher_of_both(a, b):
    assert one(a, b, "either") == max(one(a, b, "needle"), one(a, b, "local80"))


def test_progress_of_either_counts_each_pair_once():
    said = []
    pairs = np.zeros((5000, 2), dtype=np.int64)
    identities(["MKT"], ["MKA"], pairs, DEFINITIONS["either"], progress=lambda n, of: said.append((n, of)))
    assert said[-1] == (5000, 5000)
    assert [n for n, _ in said] == sorted(n for n, _ in said)


def test_each_alphabet_has_a_default():
    assert definition(None, "protein").name == "local80"
    assert definition(None, "rna").name == definition(None, "dna").name == "local80-nt"


def test_an_unknown_or_unfitting_definition_names_those_that_fit():
    with pytest.raises(
        UnrolledError,
        match=r"no identity definition 'blast'.*needle, local80, needle-shorter, needle-longer, either for protein",
    ):
        definition("blast", "protein")
    with pytest.raises(
        UnrolledError, match=r"for protein, not for dna: choose one of needle-nt, local80-nt, needle-sh"
    ):
        definition("needle", "dna")


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, 30, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(threshold):
    with pytest.raises(UnrolledError, match=r"such as 0\.3 for 30 %"):
        check_threshold(threshold)


@pytest.mark.parametrize("folds", [None, [0, 1, 0]])
def test_sequences_that_memory_cannot_hold_the_table_of_are_named(monkeypatch, folds):
    names, sequences = ["a", "b", "c"], ["M" * 4, "M" * 10, "M" * 9]
    monkeypatch.setattr(pairwise, "memory", lambda: 180)  # two bytes a cell
    check_room(names, sequences, folds)
    with pytest.raises(
        UnrolledError, match=r"^b \(10 letters\) and c \(9\) cannot be aligned 2 at a time: that takes"
    ):
        check_room(names, sequences, folds, threads=2)
    monkeypatch.setattr(pairwise, "memory", lambda: 179)
    with pytest.raises(UnrolledError, match=r"^b \(10 letters\) and c \(9\) cannot be aligned"):
        check_room(names, sequences, folds)
    check_room(names, sequences, [0, 1, 1])
    check_room(names[:1], sequences[:1])


def test_memory_is_what_a_limit_leaves():
    code = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\n"
    code += "from unrolled.pairwise import memory\nprint(memory())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(told) <= 2**32
    assert pairwise.memory() > 2**20


def test_an_alignment_without_memory_is_an_error():
    code = "import resource\nfrom unrolled.definitions import DEFINITIONS\nimport numpy as np\n"
    code += "from unrolled.identity import identities\n"
    code += "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\nlong = 'MKTAYIAKQR' * 10000\n"
    code += "identities([long], [long[1:] + 'M'], np.array([[0, 0]]), DEFINITIONS['needle'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "UnrolledError: no memory to align 100,000 letters with 100,000" in done.stderr
    assert "that takes 37.3 GiB of " in done.stderr


TAKEN = """
from unrolled import pairwise
from unrolled.definitions import DEFINITIONS

def peak():
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])

needle = DEFINITIONS["needle"]
one, other = ("MKTAYIAKQR" * (length // 10) for length in {lengths})
scoring = pairwise.scoring(needle.matrix, needle.unknown, *needle.gaps)
pairwise.align([(one[:50], one[:50])], needle.aligner, scoring)
before = peak()
pairwise.align([(one, other)], needle.aligner, scoring)
print((peak() - before) / pairwise._table(len(one), len(other)))
"""


@pytest.mark.parametrize("lengths", [(1000, 200_000), (8000, 8000)], ids=["scores of 16 bits", "scores of 32 bits"])
def test_an_alignment_takes_what_its_room_is_said_to_be(lengths):
    code = TAKEN.format(lengths=lengths)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 0.7 < float(told) < 1.5
