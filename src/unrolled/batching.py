"""Sequences into padded batches of similar length, with their true lengths and the mask M."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

from unrolled.objectives import UNKNOWN


class Batch(NamedTuple):
    """B sequences padded on the right with 0."""

    tokens: Tensor  # (B, T) int64 symbols; of series the steps (B, T, 3 d) float32
    lengths: Tensor  # (B,) int64, true lengths
    targets: Tensor  # (B, K) float32; with a label a position (B, T) int64, UNKNOWN in the padding


class Encoded(Dataset[Batch]):
    """Encoded sequences in memory; indexed with a list of rows it gives one whole padded batch.

    Args:
        sequences: N arrays (T,) of symbols, or (T, 3 d) of steps.
        targets: (N, K), or N arrays (T,) of classes.
    """

    def __init__(self, sequences: list[NDArray[Any]], targets: NDArray[Any] | list[NDArray[np.int64]]):
        symbols = sequences[0].dtype.kind == "u" if sequences else True
        self.sequences = [torch.from_numpy(s.astype(np.int64) if symbols else s) for s in sequences]
        self.lengths = torch.tensor([len(s) for s in sequences])
        self.targets: Tensor | list[Tensor] = (
            list(map(torch.from_numpy, targets))
            if isinstance(targets, list)
            else torch.from_numpy(targets.astype(np.float32))
        )

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, rows: list[int]) -> Batch:
        tokens = pad_sequence([self.sequences[i] for i in rows], batch_first=True)
        if isinstance(self.targets, Tensor):
            return Batch(tokens, self.lengths[rows], self.targets[rows])
        labels = pad_sequence([self.targets[i] for i in rows], batch_first=True, padding_value=UNKNOWN)
        return Batch(tokens, self.lengths[rows], labels)


def following(sequences: list[NDArray[np.uint8]]) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.int64]]]:
    """What is read and what is to be predicted from it, each (T + 1,): the symbols so far, and the one that follows.

    0 is read before the first symbol, and predicted after the last.
    """
    read = [np.concatenate([[np.uint8(0)], s]).astype(np.uint8) for s in sequences]
    return read, [np.append(s, 0).astype(np.int64) for s in sequences]


class SortedBatches(Sampler[list[int]]):
    """Batches of sequences of similar length, at most `size` sequences and `tokens` padded positions each.

    Sorting spares most of the padding. When shuffled, lengths are jittered before they are sorted, so that batches
    differ between epochs, and the batches come in random order; (seed, epoch) decides both, so a resumed run sees
    the same batches. The number of batches is the same in every epoch.
    """

    JITTER = 0.1

    def __init__(self, lengths: Tensor, size: int, tokens: int, *, shuffle: bool, seed: int = 0):
        self.lengths, self.shuffle, self.seed, self.epoch = lengths.numpy(), shuffle, seed, 0
        self.start = 0  # batches that the next iteration leaves out
        # Jitter brings to a place in the order a sequence at most this much longer than the one that belongs there.
        longer = (1 + self.JITTER) / (1 - self.JITTER) if shuffle else 1.0
        self.borders = _borders(np.sort(self.lengths) * longer, size, tokens)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, but in a resumed one only after `iter`: hence the generator."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        jitter = rng.uniform(1 - self.JITTER, 1 + self.JITTER, len(self.lengths)) if self.shuffle else 1.0
        batches = np.split(np.argsort(self.lengths * jitter, kind="stable"), self.borders)
        order = rng.permutation(len(batches)) if self.shuffle else range(len(batches))
        start, self.start = self.start, 0
        for i in order[start:]:
            yield batches[i].tolist()

    def __len__(self) -> int:
        return len(self.borders) + 1


def _borders(lengths: NDArray[np.floating], size: int, tokens: int) -> list[int]:
    """Where to cut ascending lengths so that no piece exceeds `size` rows or `tokens` padded positions."""
    borders, start = list[int](), 0
    for row, length in enumerate(lengths):
        if row > start and (row - start == size or length * (row - start + 1) > tokens):
            borders.append(row)
            start = row
    return borders


class Loader(DataLoader[Batch]):
    """Gives whole batches; Lightning asks where in an epoch it is, and lets it go on there in a resumed run."""

    sampler: SortedBatches
    given = 0  # batches of the epoch so far

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self.given = self.sampler.start
        for batch in super().__iter__():
            self.given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.sampler.start = state_dict["given"] % len(self.sampler)


def loader(data: Encoded, size: int, tokens: int, *, shuffle: bool, seed: int = 0) -> Loader:
    """A DataLoader whose every item is a whole `Batch`."""
    batches = SortedBatches(data.lengths, size, tokens, shuffle=shuffle, seed=seed)
    return Loader(data, sampler=batches, batch_size=None)
