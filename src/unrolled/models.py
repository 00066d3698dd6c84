"""Networks: from tokens (B, T) and lengths (B,) to logits (B, K)."""

from collections.abc import Callable

from torch import Tensor, nn

from unrolled.layers import Recurrent
from unrolled.packing import Plan
from unrolled.pooling import POOLINGS


class SequenceClassifier(nn.Module):
    """The lecture's classifier: embedding -> recurrent layers -> pooling over true positions -> linear.

    Padding is left out from the first layer to the pooling, so that it costs nothing and can change nothing.

    Args:
        vocabulary: number of symbols, padding (0) included; from the data's alphabet.
        outputs: K, the number of classes; from the data.
        recurrent: builds the recurrent layers from d_in.
        d_e: width of the learned embedding e_t.
        dropout: share of the pooled features zeroed in training.
        pooling: `mean`, `last`, `max` or `attention` (see pooling.py).
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        recurrent: Callable[[int], Recurrent],
        d_e: int = 16,
        dropout: float = 0.0,
        pooling: str = "mean",
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d_e, padding_idx=0)
        self.recurrent = recurrent(d_e)
        self.pooling = POOLINGS[pooling](self.recurrent.d_out, self.recurrent.directions)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.recurrent.d_out, outputs)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, K) of tokens (B, T) with true lengths (B,)."""
        plan = Plan.of(lengths, tokens.shape[1])
        e = self.embedding(tokens.flatten()[plan.index])  # (N, d_e)
        h, _ = self.recurrent.packed(e, plan, need_state=False)  # (N, d_out)
        logits: Tensor = self.head(self.dropout(self.pooling(h, plan)))  # (B, K)
        return logits
