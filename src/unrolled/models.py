"""Networks: from what is read (B, T) and lengths (B,) to one answer a sequence, (B, K), or one a position, (B, T, K).

What is read are symbols, or the steps of series (B, T, 3 d); the first layer is all that differs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from unrolled.errors import UnrolledError
from unrolled.layers import Recurrent
from unrolled.packing import Plan, unpack
from unrolled.pooling import POOLINGS
from unrolled.recurrent import GRUD


class Encoder(Protocol):
    """What mixes positions: recurrent layers, windows, attention."""

    d_out: int
    directions: int

    def encode(self, x: Tensor, plan: Plan) -> Tensor:
        """Packed inputs (N, d_in) -> (N, d_out)"""
        ...


class Network(nn.Module):
    """The lecture's networks: input layer -> encoder -> a linear layer at every position, or after pooling them.

    Padding is left out from the first layer to the pooling, so that it costs nothing and can change nothing.

    Args:
        vocabulary: number of symbols, padding (0) included; from the data's alphabet. 0 for series.
        outputs: K; from the data.
        per_position: answer at every position; from the task.
        causal: an answer may depend on its own position and those before alone; from the task.
        encoder: builds the encoder from d_in.
        variables: d of series; from the data.
        embedding: of symbols `learned` (the default), of width `d_e`, or `one_hot`, a column a symbol; of series
            `identity` (the default), or `linear` of width `d_e`.
        steps: what of a series' steps is read: `fill`, `mask` and `delta` of `Steps`.
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
        variables: int = 0,
        embedding: str | None = None,
        steps: Mapping[str, Any] | None = None,
        d_e: int = 16,
        dropout: float = 0.0,
        pooling: str = "mean",
    ):
        super().__init__()
        self.embedding: nn.Embedding | Steps
        if variables:
            self.embedding = measured(embedding, variables, d_e, **steps or {})
        else:
            self.embedding = embed(embedding, vocabulary, d_e)
        self.encoder = encoder(self.embedding.embedding_dim, **({"causal": True} if causal else {}))
        whole = isinstance(self.embedding, Steps) and self.embedding.whole
        if isinstance(self.encoder, GRUD) and not whole:
            raise UnrolledError(
                "GRU-D reads values, mask and gaps of series as they are: set `embedding: identity`, "
                "`steps: {fill: forward, mask: true, delta: true}`"
            )
        self.pooling = None if per_position else POOLINGS[pooling](self.encoder.d_out, self.encoder.directions)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.encoder.d_out, outputs)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Outputs (B, K) or (B, T, K) of tokens (B, T) or steps (B, T, 3 d), lengths (B,); 0 in the padding."""
        plan = Plan.of(lengths, tokens.shape[1])
        h = read(self.encoder, self.embedding, tokens.flatten(0, 1)[plan.index], plan)  # (N, d_out)
        if self.pooling is None:
            return unpack(self.head(self.dropout(h)), plan)  # (B, T, K)
        logits: Tensor = self.head(self.dropout(self.pooling(h, plan)))  # (B, K)
        return logits


def read(encoder: Any, embedding: nn.Module, packed: Tensor, plan: Plan) -> Tensor:
    """Embed and encode what is packed: symbols (N,), or steps (N, 3 d) -> (N, d_out)."""
    if not (isinstance(embedding, nn.Embedding) and isinstance(encoder, Recurrent)):
        return encoder.encode(embedding(packed), plan)  # type: ignore[no-any-return]
    e = embedding.weight  # (V, d_e)
    if embedding.padding_idx == 0:  # the padding's vector is not trained
        e = torch.cat([e[:1].detach(), e[1:]])
    return encoder.packed(e, plan, need_state=False, symbols=packed)[0]


class Steps(nn.Module):
    """What is read of the steps of series, [x, m, delta] (N, 3 d) (see `series.Scaling`).

    Args:
        d: number of variables.
        fill: what stands for a value that was not measured: `forward`, the last one that was; `mean`, 0.
        mask: read m, too: 1 where a value was measured, 0 where it was filled in.
        delta: read the time since each variable was measured, too.
        d_e: width of a linear map of all this; 0 for the numbers as they are.
    """

    def __init__(self, d: int, fill: str = "forward", mask: bool = True, delta: bool = True, d_e: int = 0):
        if fill not in ("forward", "mean"):
            raise UnrolledError(f"fill: {fill!r} is not known; use forward or mean")
        super().__init__()
        self.forwards, self.parts = fill == "forward", (True, mask, delta)
        width = d * sum(self.parts)
        self.linear = nn.Linear(width, d_e) if d_e else nn.Identity()
        self.embedding_dim = d_e or width

    @property
    def whole(self) -> bool:
        """Whether all of [x, m, delta] is read as it is."""
        return self.forwards and all(self.parts) and isinstance(self.linear, nn.Identity)

    def forward(self, steps: Tensor) -> Tensor:
        """(N, 3 d) -> (N, embedding_dim)"""
        x, m, delta = steps.chunk(3, dim=1)
        parts = (x if self.forwards else x * m, m, delta)
        chosen = [part for part, wanted in zip(parts, self.parts, strict=True) if wanted]
        read: Tensor = self.linear(torch.cat(chosen, dim=1))
        return read


def measured(kind: str | None, d: int, d_e: int, **steps: Any) -> Steps:
    """The input layer of series of d variables.

    Raises UnrolledError for a kind other than `identity` (the default) and `linear`.
    """
    if kind not in (None, "identity", "linear"):
        raise UnrolledError(f"embedding: {kind!r} is not for series of numbers; use identity or linear")
    return Steps(d, **steps, d_e=d_e if kind == "linear" else 0)


def embed(kind: str | None, vocabulary: int, d_e: int) -> nn.Embedding:
    """e_t of each symbol; the padding's is 0.

    Raises UnrolledError for a kind other than `learned` (the default) and `one_hot`.
    """
    if kind in (None, "learned"):
        return nn.Embedding(vocabulary, d_e, padding_idx=0)
    if kind == "one_hot":
        fixed = nn.Embedding(vocabulary, vocabulary - 1)
        fixed.weight = nn.Parameter(torch.eye(vocabulary)[:, 1:], requires_grad=False)
        return fixed
    raise UnrolledError(f"embedding: {kind!r} is not known; use learned or one_hot")
