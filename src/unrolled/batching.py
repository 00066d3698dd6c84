"""Sequences into padded batches of similar length, with their true lengths and the mask M."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler


class Batch(NamedTuple):
    """B sequences padded on the right with 0."""

    tokens: Tensor  # (B, T) int64
    lengths: Tensor  # (B,) int64, true lengths
    targets: Tensor  # (B, K) float32, one- or multi-hot


def mask(lengths: Tensor, T: int) -> Tensor:
    """The padding mask M of the lecture: (B, T) bool, True where position t holds a residue."""
    return torch.arange(T, device=lengths.device) < lengths[:, None]


class Encoded(Dataset[Batch]):
    """Encoded sequences in memory; indexed with a list of rows it gives one whole padded batch."""

    def __init__(self, sequences: list[NDArray[np.uint8]], targets: NDArray[np.uint8]):
        self.sequences = [torch.from_numpy(s.astype(np.int64)) for s in sequences]
        self.lengths = torch.tensor([len(s) for s in sequences])
        self.targets = torch.from_numpy(targets.astype(np.float32))  # (N, K)

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, rows: list[int]) -> Batch:
        tokens = pad_sequence([self.sequences[i] for i in rows], batch_first=True)
        return Batch(tokens, self.lengths[rows], self.targets[rows])


class SortedBatches(Sampler[list[int]]):
    """Batches of sequences of similar length, at most `size` sequences and `tokens` padded positions each.

    Sorting spares most of the padding. When shuffled, equal lengths change places, batch borders move and the
    batches come in random order, all of it decided by (seed, epoch), so a resumed run sees the same batches.
    """

    def __init__(self, lengths: Tensor, size: int, tokens: int, *, shuffle: bool, seed: int = 0):
        self.lengths, self.size, self.tokens = lengths.numpy(), size, tokens
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        if not self.shuffle:
            return iter(self._chop(np.argsort(self.lengths, kind="stable")))
        rng = np.random.default_rng([self.seed, self.epoch])
        # A jitter of 10 % mixes neighbours in length, so that batches differ between epochs.
        jittered = self.lengths * rng.uniform(0.9, 1.1, len(self.lengths))
        batches = self._chop(np.argsort(jittered, kind="stable"))
        return iter([batches[i] for i in rng.permutation(len(batches))])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _chop(self, order: NDArray[np.intp]) -> list[list[int]]:
        batches: list[list[int]] = []
        current: list[int] = []
        longest = 0
        for row in order.tolist():
            longest = max(longest, int(self.lengths[row]))
            if current and (len(current) == self.size or longest * (len(current) + 1) > self.tokens):
                batches.append(current)
                current, longest = [], int(self.lengths[row])
            current.append(row)
        return [*batches, current] if current else batches


def loader(data: Encoded, size: int, tokens: int, *, shuffle: bool, seed: int = 0) -> "DataLoader[Batch]":
    """A DataLoader whose every item is a whole `Batch`."""
    batches = SortedBatches(data.lengths, size, tokens, shuffle=shuffle, seed=seed)
    return DataLoader(data, sampler=batches, batch_size=None)
