"""Networks: from tokens (B, T) and lengths (B,) to one answer a sequence, (B, K), or one a position, (B, T, K)."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from unrolled.errors import UnrolledError
from unrolled.packing import Plan, unpack
from unrolled.pooling import POOLINGS


class Encoder(Protocol):
    """What mixes positions: recurrent layers, windows, attention."""

    d_out: int
    directions: int

    def encode(self, x: Tensor, plan: Plan) -> Tensor:
        """Packed inputs (N, d_in) -> (N, d_out)"""
        ...


class Network(nn.Module):
    """The lecture's networks: embedding -> encoder -> a linear layer at every position, or after pooling them.

    Padding is left out from the first layer to the pooling, so that it costs nothing and can change nothing.

    Args:
        vocabulary: number of symbols, padding (0) included; from the data's alphabet.
        outputs: K; from the data.
        per_position: answer at every position; from the task.
        causal: an answer may depend on its own position and those before alone; from the task.
        encoder: builds the encoder from d_in.
        embedding: `learned`, of width `d_e`, or `one_hot`, a column a symbol.
        dropout: share of the features before the last layer zeroed in training.
        pooling: `mean`, `last`, `max` or `attention` (see pooling.py), where a sequence has one answer.
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        encoder: Callable[..., Any],
        per_position: bool = False,
        causal: bool = False,
        embedding: str = "learned",
        d_e: int = 16,
        dropout: float = 0.0,
        pooling: str = "mean",
    ):
        super().__init__()
        self.embedding = embed(embedding, vocabulary, d_e)
        self.encoder = encoder(self.embedding.embedding_dim, **({"causal": True} if causal else {}))
        self.pooling = None if per_position else POOLINGS[pooling](self.encoder.d_out, self.encoder.directions)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.encoder.d_out, outputs)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Outputs (B, K) or (B, T, K) of tokens (B, T) with true lengths (B,); 0 in the padding."""
        plan = Plan.of(lengths, tokens.shape[1])
        h = self.encoder.encode(self.embedding(tokens.flatten()[plan.index]), plan)  # (N, d_out)
        if self.pooling is None:
            return unpack(self.head(self.dropout(h)), plan)  # (B, T, K)
        logits: Tensor = self.head(self.dropout(self.pooling(h, plan)))  # (B, K)
        return logits


def embed(kind: str, vocabulary: int, d_e: int) -> nn.Embedding:
    """e_t of each symbol; the padding's is 0.

    Raises UnrolledError for a kind other than `learned` and `one_hot`.
    """
    if kind == "learned":
        return nn.Embedding(vocabulary, d_e, padding_idx=0)
    if kind == "one_hot":
        fixed = nn.Embedding(vocabulary, vocabulary - 1)
        fixed.weight = nn.Parameter(torch.eye(vocabulary)[:, 1:], requires_grad=False)
        return fixed
    raise UnrolledError(f"embedding: {kind!r} is not known; use learned or one_hot")
