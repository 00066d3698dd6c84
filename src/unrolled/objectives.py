"""What a network of each task is trained to make small, and what its outputs mean: one `Objective` a task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.answers import Decoded

if TYPE_CHECKING:
    from unrolled.batching import Batch

UNKNOWN = -1  # the target of a position whose label is not known, and of padding


@dataclass(frozen=True)
class Objective:
    """Functions of outputs and targets: (B, K) each, or outputs (B, T, K) and targets (B, T)."""

    loss: Callable[[Tensor, Tensor], Tensor]
    weight: Callable[[Tensor], int]  # of targets: how many terms the mean loss of a batch is over
    accuracy: Callable[[Tensor, Tensor], Tensor] | None  # None where nothing is simply right or wrong
    answer: Callable[[Tensor, Tensor], Tensor]  # what predictions.parquet holds

    def outputs(self, network: Any, batch: "Batch") -> Tensor:
        """What a network says of a batch."""
        outputs: Tensor = network(batch.tokens, batch.lengths)
        return outputs

    def answers(self, network: Any, batch: "Batch") -> list[Any]:
        """The answers to the sequences of a batch, padded where they have positions."""
        return list(self.answer(self.outputs(network, batch), batch.targets).cpu().numpy())


class Forced(Objective):
    """Teacher forcing: a decoder is shown the true symbol before each that it is to say (Williams and Zipser 1989).

    Its answers are what it says when nobody shows it anything.
    """

    def outputs(self, network: Any, batch: "Batch") -> Tensor:
        outputs: Tensor = network(batch.tokens, batch.lengths, batch.targets)
        return outputs

    def answers(self, network: Any, batch: "Batch") -> list[Any]:
        found = network.decode(batch.tokens, batch.lengths)
        true = self.answer(self.outputs(network, batch), batch.targets)[:, 0].tolist()
        lengths = (found.symbols != 0).sum(dim=1).tolist()
        said = [symbols[:n] for symbols, n in zip(found.symbols.cpu().numpy(), lengths, strict=True)]
        return list(map(Decoded, said, true, found.log_likelihood.tolist()))


def _accuracy_of_one(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(dim=1) == targets.argmax(dim=1)).float().mean()


def _accuracy_of_sets(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs > 0) == (targets > 0.5)).all(dim=1).float().mean()


def _position_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    total = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=UNKNOWN, reduction="sum")
    return total / _known(targets).sum().clamp(min=1)


def _position_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    known = _known(targets)
    return (outputs.argmax(dim=2) == targets)[known].float().sum() / known.sum().clamp(min=1)


def _known(targets: Tensor) -> Tensor:
    return targets != UNKNOWN


def _softmax(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.softmax(outputs, dim=-1)


def _sigmoid(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.sigmoid(outputs)


def _as_it_is(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs


def _likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
    """(B, 2): the log likelihood (nats) of each sequence's symbols and its end, and how many these are."""
    known = _known(targets)
    each = torch.log_softmax(outputs.double(), dim=2).gather(2, targets.clamp(min=0)[:, :, None])[:, :, 0]
    return torch.stack([(each * known).sum(dim=1), known.sum(dim=1).double()], dim=1)


def _known_terms(targets: Tensor) -> int:
    return int(_known(targets).sum())


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "multiclass": Objective(F.cross_entropy, len, _accuracy_of_one, _softmax),
        "multilabel": Objective(F.binary_cross_entropy_with_logits, len, _accuracy_of_sets, _sigmoid),
        "regression": Objective(F.mse_loss, len, None, _as_it_is),
        "labelling": Objective(_position_loss, _known_terms, _position_accuracy, _softmax),
        "generation": Objective(_position_loss, _known_terms, _position_accuracy, _likelihood),
        "transduction": Forced(_position_loss, _known_terms, _position_accuracy, _likelihood),
    }
)
