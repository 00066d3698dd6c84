"""Cards and the matrix: whatever would fail later is one clear line now."""

import importlib
import inspect
import re
import shutil
from pathlib import Path

import pytest
import yaml

from unrolled.cards import AXES, Cell, Deck, asked, cells, own_gpus, read_yaml
from unrolled.errors import UnrolledError
from unrolled.fitting import METRICS, TAKES

ROOT = Path(__file__).parents[1]
CONFIG = read_yaml(ROOT / "config" / "config.yaml")
EXPERIMENTS = sorted((ROOT / "config" / "experiments").glob("*.yaml"))


@pytest.fixture
def deck(tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return Deck(tmp_path / "config", ROOT / "workflow" / "schemas")


def edit(path: Path, **changes):
    card = read_yaml(path) | changes
    path.write_text(yaml.safe_dump({k: v for k, v in card.items() if v is not ...}))


def overlaid(*overlays):
    """What Snakemake makes of config.yaml and --configfile: dicts merge, the rest is replaced."""
    merged = dict(CONFIG)
    for overlay in overlays:
        for key, value in overlay.items():
            merged[key] = merged[key] | value if isinstance(value, dict) else value
    return merged


def test_every_shipped_card_is_valid(deck):
    for axis in AXES:
        assert deck.names(axis)
        for name in deck.names(axis):
            deck.card(axis, name)


@pytest.mark.parametrize("overlay", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_shipped_experiment_is_possible_and_named_after_its_file(deck, overlay):
    config = overlaid(read_yaml(overlay))
    assert config["experiment"] == overlay.stem
    assert cells(config["matrix"], deck.matrix(config, str(overlay))["model"])


def test_the_metrics_of_every_task_are_those_that_are_measured():
    from unrolled import scoring

    assert {task: set(names.split()) for task, names in METRICS.items()} == {
        task: set(names) for task, names in scoring.METRICS.items()
    }


def test_a_metric_of_another_task_is_refused_with_those_there_are(deck):
    config = CONFIG | {"metric": "rmse"}
    with pytest.raises(UnrolledError, match=r"'rmse' is not measured for data 'demo' \(task multiclass\).*macro_f1"):
        deck.matrix(config, "config.yaml")


def test_a_model_of_whole_sequences_cannot_label_positions(deck):
    matrix = {"data": ["flip_ss"], "split": ["flip"], "model": ["lstm", "kmer"], "fold": [0], "seed": [0]}
    with pytest.raises(UnrolledError, match="'kmer' answers once a sequence"):
        deck.matrix(CONFIG | {"metric": "accuracy", "matrix": matrix}, "config.yaml")
    with pytest.raises(UnrolledError, match="'fixed' answers once a sequence"):
        deck.matrix(CONFIG | {"metric": "accuracy", "matrix": matrix | {"model": ["fixed"]}}, "config.yaml")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"lstn": {"runtime": "2h"}}, r"resources\.models: there is no model card 'lstn'; did you mean 'lstm'"),
        ({"kmer": {"gres": "gpu:1"}}, r"config\.yaml: resources\.models\.kmer: a baseline uses no GPU; remove gres"),
        ({"kmer": {"memory": 1}}, r"unknown key 'memory' in resources\.models\.kmer"),
    ],
)
def test_what_no_model_can_ask_for_is_refused(deck, models, message):
    with pytest.raises(UnrolledError, match=message):
        deck.matrix(CONFIG | {"resources": {"models": models}}, "config.yaml")
    others = {"kmer": {"mem_mb": 9000}, "transformer": {"gres": "gpu:1"}}  # the second is not in the matrix
    deck.matrix(CONFIG | {"resources": {"models": others}}, "config.yaml")


def test_what_the_experiment_says_of_a_model_goes_before_its_card_and_that_before_what_is_said_of_all():
    models = {
        "lstm": {"kind": "neural", "resources": {"gres": "gpu:1", "mem_mb": 1}},
        "gru": {"kind": "neural"},
        "kmer": {"kind": "baseline", "resources": {"mem_mb": 9}},
    }
    assert asked({"gres": "shard:1", "mem_mb": 2, "models": {"lstm": {"mem_mb": 3}}}, models) == {
        "lstm": {"mem_mb": 3, "runtime": "1h", "gres": "gpu:1"},
        "gru": {"mem_mb": 2, "runtime": "1h", "gres": "shard:1"},
        "kmer": {"mem_mb": 9, "runtime": "1h", "gres": ""},
    }


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [("", 0), ("shard:1", 0), ("mps:25", 0), ("gpu", 1), ("gpu:2", 2), ("gpu:a100", 1), ("gpu:1g.5gb:2", 2)],
)
def test_gpus_of_ones_own_are_counted(gres, gpus):
    assert own_gpus(gres) == gpus


def test_a_card_says_what_its_runs_ask_for(deck):
    for name, told in (("lstm", {"gres": "shard:1"}), ("kmer", {"mem_mb": 9000, "runtime": "2h"})):
        edit(deck.config / "model" / f"{name}.yaml", resources=told)
        assert deck.card("model", name)["resources"] == told
    edit(deck.config / "model/kmer.yaml", resources={"gres": "gpu:1"})
    with pytest.raises(UnrolledError, match="unknown key 'gres' in resources"):
        deck.card("model", "kmer")


NUMBERS = {"data": ["physionet2012"], "split": ["stay"], "model": ["gru"], "fold": [0], "seed": [0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"split": ["homology30"]},
            r"split 'homology30' \(group: homology, identity\) is not for numbers, which data 'phy",
        ),
        ({"split": ["cluster30"]}, r"split 'cluster30' \(group: cluster, identity\) is not for numbers"),
        ({"model": ["kmer"]}, r"model 'kmer' \(estimator: kmer\) is not for numbers"),
        ({"model": ["besthit"]}, r"model 'besthit' \(estimator: besthit\) is not for numbers"),
        ({"model": ["linear"]}, r"model 'linear' \(embedding: one_hot\) is not for numbers"),
        (
            {"data": ["demo"], "split": ["random"], "model": ["boosting"]},
            r"\(estimator: boosting\) is not for letters",
        ),
        (
            {"data": ["demo"], "split": ["random"], "model": ["grud"]},
            r"model 'grud' \(target: unrolled\.recurrent\.GRUD, steps\) is not for letters, which data 'demo' holds",
        ),
        ({"data": ["demo"], "split": ["random"], "model": ["gru_mean"]}, r"'gru_mean' \(steps\) is not for letters"),
    ],
)
def test_what_is_not_for_the_kind_of_input_is_refused_before_any_job(deck, changes, message):
    with pytest.raises(UnrolledError, match=message) as caught:
        deck.matrix(CONFIG | {"metric": "auroc", "matrix": NUMBERS | changes}, "config.yaml")
    assert "\n" not in str(caught.value)


def test_numbers_are_not_generated(deck):
    edit(deck.path("data", "physionet2012"), task="generation", names=...)
    with pytest.raises(UnrolledError, match="holds numbers, for which there is no task 'generation'"):
        deck.matrix(CONFIG | {"metric": "perplexity", "matrix": NUMBERS}, "config.yaml")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("demo", {"variables": ["HR"]}, "variables has no meaning beside the other keys"),
        ("demo", {"time": {"unit": "h"}}, "time has no meaning beside the other keys"),
        ("ecg5000", {"strands": 2}, "strands has no meaning beside the other keys"),
        ("ecg5000", {"format": "fasta"}, "format: 'fasta' is not one of"),
        ("ecg5000", {"variables": ...}, "lacks the key 'variables'"),
        ("ecg5000", {"variables": ["a", "b"]}, "variables: "),
        ("physionet2012", {"columns": {"variable": "x", "time": "t"}}, "columns: 'value' is a dependency of"),
        ("physionet2012", {"columns": {"id": "x"}}, "columns lacks the key 'time'"),
        ("physionet2012", {"time": {"bin": 0}}, "time.bin: 0 is less than or equal to the minimum"),
        ("demo", {"task": "generation", "max_length": 50}, "max_length: 50 is not of type .null."),
        ("demo", {"task": "labelling", "names": {"H": "x"}}, "names.H: 'x' is not of type .null."),
        ("uci_splice", {"columns": {"id": "x", "target": "y"}}, "columns lacks the key 'sequence'"),
        ("uci_splice", {"columns": {"id": "x", "sequence": "y"}}, "columns lacks the key 'target'"),
    ],
)
def test_keys_of_another_kind_of_data_are_refused(deck, name, changes, message):
    edit(deck.path("data", name), **changes)
    with pytest.raises(UnrolledError, match=message):
        deck.card("data", name)


def test_only_a_decoder_answers_with_a_sequence_and_it_with_nothing_else(deck):
    def checked(metric: str, **matrix):
        deck.matrix(overlaid({"metric": metric, "matrix": {"split": ["random"], **matrix}}), "config.yaml")

    checked(
        "exact_match", data=["translation"], model=["majority", "besthit", "seq2seq_gru", "seq2seq_lstm_attention"]
    )
    for name, gives in (("lstm", "has no decoder"), ("kmer", "answers once a sequence"), ("fixed", "answers once")):
        with pytest.raises(UnrolledError, match=rf"'{name}' {gives}.* \(transduction\) asks for a sequence"):
            checked("exact_match", data=["translation"], model=[name])
    with pytest.raises(UnrolledError, match=r"'seq2seq_gru' answers with a sequence, but data 'demo' \(multiclass\)"):
        checked("macro_f1", data=["demo"], model=["lstm", "seq2seq_gru"])
    with pytest.raises(UnrolledError, match=r"'seq2seq_lstm' answers with a sequence, .*asks at every position"):
        checked("accuracy", data=["flip_ss"], model=["seq2seq_lstm"])
    with pytest.raises(UnrolledError, match=r"'accuracy' is not measured.*token_accuracy, exact_match"):
        checked("accuracy", data=["translation"], model=["seq2seq_gru"])


def test_a_target_alphabet_belongs_to_sequences_and_a_decoder_to_its_network(deck):
    edit(deck.path("data", "translation"), target_alphabet=...)
    with pytest.raises(UnrolledError, match=r"translation\.yaml: the file lacks the key 'target_alphabet'"):
        deck.card("data", "translation")
    edit(deck.path("data", "demo"), target_alphabet="protein")
    with pytest.raises(UnrolledError, match=r"demo\.yaml: target_alphabet has no meaning beside the other keys"):
        deck.card("data", "demo")
    card = read_yaml(deck.path("model", "seq2seq_gru"))
    edit(deck.path("model", "gru"), network=card["network"] | {"_target_": "unrolled.models.Network"})
    with pytest.raises(UnrolledError, match=r"gru\.yaml: network\.(decoder|context|beam) has no meaning"):
        deck.card("model", "gru")
    edit(deck.path("model", "seq2seq_gru"), network=card["network"] | {"pooling": "mean"})
    with pytest.raises(UnrolledError, match=r"seq2seq_gru\.yaml: network\.pooling has no meaning"):
        deck.card("model", "seq2seq_gru")
    edit(deck.path("model", "seq2seq_gru"), network={k: v for k, v in card["network"].items() if k != "decoder"})
    with pytest.raises(UnrolledError, match=r"seq2seq_gru\.yaml: network lacks the key 'decoder'"):
        deck.card("model", "seq2seq_gru")


def test_cells_cross_the_axes_in_the_order_written():
    matrix = {"data": ["d"], "split": ["s2", "s1"], "model": ["m"], "fold": [0], "seed": [3, 1]}
    assert cells(matrix, {"m": {"kind": "neural"}}) == [
        Cell("d", "s2", "m", 0, 3),
        Cell("d", "s2", "m", 0, 1),
        Cell("d", "s1", "m", 0, 3),
        Cell("d", "s1", "m", 0, 1),
    ]


def test_a_baseline_runs_with_the_first_seed_only():
    matrix = {"data": ["d"], "split": ["s"], "model": ["m"], "fold": [0, 1], "seed": [7, 8]}
    assert [(c.fold, c.seed) for c in cells(matrix, {"m": {"kind": "baseline"}})] == [(0, 7), (1, 7)]


def test_the_folder_of_a_cell_is_the_documented_one():
    assert Cell("demo", "random", "lstm", 0, 2).folder == "demo/random/lstm/fold0-seed2"


REPACKED = {"set-a.tar.gz"}  # mirrors pack the same records anew


def test_every_shipped_data_set_says_whose_it_is_and_pins_what_it_reads(deck):
    for name in deck.names("data"):
        card = deck.card("data", name)
        assert card["licence"], name
        assert len(card["citation"]) > 10, name
        assert ("simulate" in card) + ("files" in card) == 1, name
        for file in card.get("files", []):
            assert ("query" in file) != ("url" in file), name
            if "url" in file:
                assert file["url"].startswith("https://"), name
                assert (file["name"] in REPACKED) != bool(re.fullmatch("[0-9a-f]{64}", file.get("sha256", ""))), name


def test_a_missing_card_names_the_file_and_the_nearest_name(deck):
    with pytest.raises(UnrolledError, match=r"config/model/lstn\.yaml.*did you mean 'lstm'"):
        deck.card("model", "lstn")


def test_a_name_cannot_leave_its_folder(deck):
    with pytest.raises(UnrolledError, match="there is no model card"):
        deck.card("model", "../config")


def test_a_misspelt_key_names_file_key_and_remedy(deck):
    edit(deck.path("split", "random"), foldz=5)
    with pytest.raises(UnrolledError, match=r"random\.yaml: unknown key 'foldz'; did you mean 'folds'\?"):
        deck.card("split", "random")


def test_a_missing_key_is_named(deck):
    edit(deck.path("split", "cluster30"), identity=...)
    with pytest.raises(UnrolledError, match=r"cluster30\.yaml: .*lacks the key 'identity'"):
        deck.card("split", "cluster30")


def test_a_wrong_value_is_named(deck):
    edit(deck.path("data", "demo"), task="regresion")
    with pytest.raises(UnrolledError, match=r"demo\.yaml: task: 'regresion' is not one of"):
        deck.card("data", "demo")


def test_a_misspelt_key_inside_a_network_is_named(deck):
    path = deck.path("model", "lstm")
    card = read_yaml(path)
    card["network"]["encoder"]["d_hidden"] = 5
    path.write_text(yaml.safe_dump(card))
    with pytest.raises(UnrolledError, match=r"lstm\.yaml: unknown key 'd_hidden' in network\.encoder"):
        deck.card("model", "lstm")


def test_a_missing_choice_names_the_choices(deck):
    edit(deck.path("data", "demo"), simulate=...)
    with pytest.raises(UnrolledError, match=r"demo\.yaml: the file needs exactly one of 'simulate' \| 'files' and"):
        deck.card("data", "demo")


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        ("demo", {"simulate": {"n": 9, "families": 3, "seed": 0, "family": 1}}, "unknown key 'family' in simulate"),
        ("demo", {"simulate": {"n": 9, "seed": 0}}, "simulate lacks the key 'families'"),
        ("recall", {"simulate": {"kind": "recall", "step": 5}}, "unknown key 'step' in simulate; did you mean"),
        ("translation", {"simulate": {"kind": "translation", "steps": 5}}, "unknown key 'steps' in simulate"),
        ("recall", {"simulate": {"kind": "recal"}}, r"simulate\.kind: 'recal' is not one of"),
        ("netgpi", {"header": {"separator": "|"}}, "where are the labels.*`header.target`"),
        ("netgpi", {"header": {"separator": "|"}, "columns": {"target": "label"}}, "where are the labels"),
        ("netgpi", {"header": {"taget": "label"}}, "unknown key 'taget' in header; did you mean 'target'"),
        ("multiloc2", {"labels": ..., "lables": "file"}, "unknown key 'lables'; did you mean 'labels'"),
        ("multiloc2", {"labels": ...}, "where are the labels.*`labels`"),
        ("ecg5000", {"columns": ...}, "where are the labels.*`columns.target`"),
        ("physionet2012", {"labels": "file"}, "where are the labels"),
    ],
)
def test_what_no_job_could_read_is_found_in_the_card(deck, data, changes, message):
    edit(deck.path("data", data), **changes)
    with pytest.raises(UnrolledError, match=rf"{data}\.yaml: {message}"):
        deck.card("data", data)


def test_sequences_to_be_drawn_need_no_labels(deck):
    edit(deck.path("data", "nrc_generation"), header={"separator": "|"})
    deck.card("data", "nrc_generation")


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ("k: 15", "k: 14", r"network\.encoder\.k: an even window has no middle"),
        ("k: 15", "k: -1", r"network\.encoder\.k: -1 is less than the minimum of 1"),
        (
            "feedforward.WindowMLP",
            "feedforward.WindowMLB",
            r"network\.encoder\._target_: there is no class 'unrolled\.feedforward\.WindowMLB'; "
            r"did you mean 'unrolled\.feedforward\.WindowMLP'",
        ),
        ("feedforward.WindowMLP", "nowhere.WindowMLP", r"there is no class 'unrolled\.nowhere\.WindowMLP'$"),
        (
            "k: 15",
            "heads: 4",
            r"window\.yaml: network\.encoder: unrolled\.feedforward\.WindowMLP takes no 'heads'; it takes d_h, k, la",
        ),
        ("k: 15", "k: 15\n    k: 13", r"window\.yaml:\d+:5: not valid YAML: 'k' is said twice"),
    ],
)
def test_a_network_that_cannot_be_built_is_found_in_the_card(deck, was, becomes, message):
    path = deck.path("model", "window")
    assert was in path.read_text()
    path.write_text(path.read_text().replace(was, becomes))
    with pytest.raises(UnrolledError, match=message):
        deck.card("model", "window")


@pytest.mark.parametrize("target", TAKES)
def test_what_a_class_takes_is_what_its_constructor_says(target):
    module, _, name = target.rpartition(".")
    found = set()
    for base in getattr(importlib.import_module(module), name).__mro__:
        told = inspect.signature(base.__init__).parameters if "__init__" in vars(base) else {}
        found |= set(told)
        if told and "settings" not in told:
            break
    assert found - {"self", "d_in", "causal", "settings"} == set(TAKES[target].split())


def test_all_that_cards_name_is_known(deck):
    networks = [deck.card("model", name).get("network", {}) for name in deck.names("model")]
    parts = [network[part] for network in networks for part in ("encoder", "decoder") if part in network]
    assert {part["_target_"] for part in parts} == set(TAKES)


def test_a_decoder_is_told_what_it_takes(deck):
    path = deck.path("model", "seq2seq_lstm")
    path.write_text(path.read_text().replace("    forget_bias: 1.0", "    reset: after"))
    with pytest.raises(UnrolledError, match="LSTM takes no 'reset'"):
        deck.card("model", "seq2seq_lstm")


@pytest.mark.parametrize(
    ("model", "was", "becomes", "message"),
    [
        ("lstm", "layers: 1", "layers: 0", r"network\.encoder\.layers: 0 is less than the minimum of 1"),
        ("transformer", "layers: 2", "layers: 0", r"network\.encoder\.layers: 0 is less than the minimum of 1"),
        ("grud", "d_h: 64", "layers: 2", r"network\.encoder\.layers: 1 was expected"),
        ("grud", "d_h: 64", "bidirectional: true", r"network\.encoder\.bidirectional: False was expected"),
    ],
)
def test_numbers_that_a_class_refuses_are_found_in_the_card(deck, model, was, becomes, message):
    path = deck.path("model", model)
    assert was in path.read_text()
    path.write_text(path.read_text().replace(was, becomes))
    with pytest.raises(UnrolledError, match=message):
        deck.card("model", model)


def test_gru_d_says_no_letters(deck):
    path = deck.path("model", "seq2seq_gru")
    head, tail = path.read_text().split("  decoder:")
    path.write_text(f"{head}  decoder:{tail.replace('recurrent.GRU', 'recurrent.GRUD')}")
    with pytest.raises(UnrolledError, match=r"network\.decoder\._target_: GRU-D reads series of numbers"):
        deck.card("model", "seq2seq_gru")


def test_keys_that_nothing_would_read_are_refused(deck):
    edit(deck.path("model", "majority"), k=3)
    with pytest.raises(UnrolledError, match=r"majority\.yaml: k has no meaning beside the other keys"):
        deck.card("model", "majority")
    edit(deck.path("split", "random"), minutes=40)
    with pytest.raises(UnrolledError, match=r"random\.yaml: minutes has no meaning beside"):
        deck.card("split", "random")


def test_what_is_not_text_is_refused(deck):
    for content in (b"title: \xff\n", b"title: \x00\n"):
        deck.path("split", "random").write_bytes(content)
        with pytest.raises(UnrolledError, match=r"random\.yaml: not text in UTF-8"):
            deck.card("split", "random")


def test_code_outside_the_project_is_no_target(deck):
    path = deck.path("model", "lstm")
    path.write_text(path.read_text().replace("unrolled.models.Network", "os.system"))
    with pytest.raises(UnrolledError, match=r"lstm\.yaml: network\._target_"):
        deck.card("model", "lstm")


def test_broken_yaml_names_the_line(deck):
    deck.path("split", "random").write_text("title: x\ngroup: [sequence\n")
    with pytest.raises(UnrolledError, match=r"random\.yaml:3:1: not valid YAML"):
        deck.card("split", "random")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ({"fold": [5]}, "fold 5 does not exist: split 'random' has folds 0 to 4"),
        ({"split": ["published"]}, "reads column 'partition', but data 'demo' does not list it"),
        ({"split": ["nucleotides"]}, "computes identity by 'needle-nt', which is not for protein"),
        ({"seed": []}, r"matrix\.seed"),
        ({"seed": [0, 0]}, r"matrix\.seed"),
        ({"fold": ["0"]}, r"fold\.0: '0' is not of type 'integer'; inside a mapping --config reads numbers as text"),
        ({"folds": [0]}, "unknown key 'folds' in matrix; did you mean 'fold'"),
    ],
)
def test_an_impossible_matrix_is_one_clear_line(deck, matrix, message):
    shutil.copy(deck.path("split", "homology30"), deck.config / "split" / "nucleotides.yaml")
    edit(deck.path("split", "nucleotides"), definition="needle-nt")
    with pytest.raises(UnrolledError, match=message) as caught:
        deck.matrix(overlaid({"matrix": matrix}), "config/config.yaml")
    assert "\n" not in str(caught.value)


def test_two_cards_cannot_want_different_files_under_one_name(deck):
    shutil.copy(deck.path("data", "uniprot_location"), deck.config / "data/other.yaml")
    matrix = CONFIG["matrix"] | {"data": ["uniprot_location", "other"]}
    deck.matrix(overlaid({"matrix": matrix}), "config.yaml")
    for name in ("uniprot_location", "other"):
        edit(deck.path("data", name), dataset="shared")
    deck.matrix(overlaid({"matrix": matrix}), "config.yaml")
    file = deck.card("data", "other")["files"][0]
    edit(deck.path("data", "other"), files=[file | {"query": "organism_id:9606"}])
    with pytest.raises(UnrolledError, match=r"'other' and 'uniprot_location' want different files"):
        deck.matrix(overlaid({"matrix": matrix}), "config.yaml")


def test_a_misspelt_training_setting_is_found_before_any_job(deck):
    with pytest.raises(UnrolledError, match="unknown key 'max_epoch'"):
        deck.matrix(overlaid({"train": {"max_epoch": 3}}), "config/config.yaml")
