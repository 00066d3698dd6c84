"""What every shipped network promises on every task: padding, company and order change no answer and no loss.

And what training never saw is answered.
"""

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from series_fixture import VARIABLES
from test_train import NETWORKS
from unrolled import inputs, runs, train
from unrolled.batching import Encoded, following, loader
from unrolled.fitting import UNFIT, misfit, nature
from unrolled.objectives import OBJECTIVES
from unrolled.recipe import Training
from unrolled.series import Series
from unrolled.tasks import of

pytestmark = pytest.mark.filterwarnings("ignore:.*num_workers:")

LENGTHS = (1, 2, 5, 9, 17, 1)  # one position is enough
ALL = range(len(LENGTHS))
RECIPE = {"batch_size": 6, "batch_tokens": 10**6}
TARGETS = {
    "multiclass": ["a", "b", "c", "a", "b", "c"],
    "multilabel": ["a", "b|c", "c", "a", "b", "a|c"],
    "regression": ["0.5", "-1", "2", "0", "1", "3"],
    "labelling": ["HCE-HCE-HCE-HCE-HCE"[:T] for T in LENGTHS],
    "generation": [""] * len(LENGTHS),
    "transduction": ["MK", "A", "CDEF", "W", "MKV", "L"],
}
CARDS = {
    "letters": {"alphabet": "dna", "target_alphabet": "protein"},
    "numbers": {"alphabet": "numeric", "variables": list(VARIABLES)},
}
OTHER_INPUTS = {"one_hot": "rnn lstm gru seq2seq_gru_attention seq2seq_lstm", "linear": "rnn lstm gru"}
EMBEDDED = {  # as no shipped card has them
    f"{model}, {embedding}": NETWORKS[model] | {"embedding": embedding}
    for embedding, models in OTHER_INPUTS.items()
    for model in models.split()
}
MODELS = NETWORKS | EMBEDDED
CASES = [
    (kind, task, model)
    for kind, card in CARDS.items()
    for task in TARGETS
    for model, network in MODELS.items()
    if not misfit({"network": network}, card)
    and task not in UNFIT.get(nature({"network": network}), ())
    and (kind == "letters" or task not in ("generation", "transduction"))
]


def sequences(kind):
    """Of the LENGTHS; one of the variables is never measured, others not always."""
    rng = np.random.default_rng(0)
    if kind == "letters":
        return ["".join(rng.choice(list("ACGTN"), T)) for T in LENGTHS]
    found = []
    for T in LENGTHS:
        values = np.where(rng.random((T, 3)) < 0.6, rng.normal(size=(T, 3)), np.nan)
        values[:, 2] = np.nan
        found.append(Series(VARIABLES, np.cumsum(rng.exponential(size=T)), values))
    return found


def case(kind, task, model, seen=ALL):
    """An untrained run that has seen some of its sequences, and a loader of some in batches of at most so many."""
    card, found = CARDS[kind] | {"task": task}, sequences(kind)
    named, reading = of(card), inputs.of(card).fit([found[n] for n in seen])
    classes = named.classes(TARGETS[task])
    network = copy.deepcopy(MODELS[model])
    network["d_e"] = network["encoder"]["d_h"] = 8
    material = runs.Material({}, classes, task, 0, None, reading, 5 if task == "transduction" else None)
    torch.manual_seed(1)
    built = train.build({"model": {"network": network}, "cell": {"model": model}}, material)

    def batches(size, rows=ALL):
        encoded = [reading.encode(found[n]) for n in rows]
        y = named.encode([TARGETS[task][n] for n in rows], classes)
        data = Encoded(*following(encoded)) if named.causal else Encoded(encoded, y)
        return loader(data, size, 10**6, shuffle=False)

    return Training(built, task, RECIPE, 0).eval(), batches


@pytest.mark.parametrize(("kind", "task", "model"), CASES)
def test_company_changes_neither_answers_nor_losses(kind, task, model):
    training, batches = case(kind, task, model)
    together, alone = (train.predict(training, batches(size)) for size in (len(LENGTHS), 1))
    assert len(together) == len(LENGTHS)
    for T, one, other in zip(LENGTHS, together, alone, strict=True):
        if task == "transduction":
            assert one.symbols.tolist() == other.symbols.tolist()
            assert one[1:] == pytest.approx(other[1:], rel=1e-5)
        else:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
            assert task != "labelling" or one.shape == (T, 3)
    objective = OBJECTIVES[task]

    def losses(size):
        """The mean over all sequences, and its gradients."""
        training.zero_grad()
        parts = [(objective.loss(objective.outputs(training.network, b), b.targets), b) for b in batches(size)]
        weights = [objective.weight(b.targets) for _, b in parts]
        total = sum(loss * w for (loss, _), w in zip(parts, weights, strict=True)) / sum(weights)
        total.backward()
        return total, [p.grad.clone() for p in training.parameters() if p.grad is not None]

    (loss, gradients), (mean, sums) = losses(len(LENGTHS)), losses(1)
    torch.testing.assert_close(loss, mean, rtol=1e-4, atol=1e-6)
    assert len(gradients) == len(sums) > 0
    for one, other in zip(gradients, sums, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("kind", "task", "model"), CASES)
def test_what_training_never_saw_is_answered_and_scored(kind, task, model):
    """It saw two sequences of one position: lengths, letters, labels and how numbers vary are new afterwards."""
    training, batches = case(kind, task, model, seen=(0, 5))
    objective, optimiser = OBJECTIVES[task], torch.optim.Adam(training.parameters(), 0.01)

    def loss(rows):
        (batch,) = batches(len(rows), rows)
        return objective.loss(objective.outputs(training.network, batch), batch.targets)

    before = loss((0, 5))
    for _ in range(3):
        optimiser.zero_grad()
        loss((0, 5)).backward()
        optimiser.step()
    assert loss((0, 5)) < before
    assert torch.isfinite(loss(ALL))
    for one in train.predict(training, batches(len(ALL))):
        parts = one if task == "transduction" else [one]
        assert all(np.isfinite(np.asarray(part, dtype=float)).all() for part in parts)


def test_every_network_and_task_is_among_the_cases():
    assert {model for _, _, model in CASES} == set(MODELS)
    assert {task for _, task, _ in CASES} == set(OBJECTIVES)
    assert pd.Series([kind for kind, _, _ in CASES]).value_counts().min() > 20
