"""Networks: from tokens (B, T) and lengths (B,) to logits (B, K)."""

from collections.abc import Callable

from torch import Tensor, nn

from unrolled.batching import mask
from unrolled.recurrent import Recurrent


def masked_mean(h: Tensor, lengths: Tensor) -> Tensor:
    """Mean of h (B, T, d) over true positions only, M_{b,t} = 1: (B, d)."""
    valid = mask(lengths, h.shape[1])[:, :, None]
    # masked_fill, not multiplication: 0 x NaN in the padding would be NaN
    return h.masked_fill(~valid, 0.0).sum(dim=1) / lengths[:, None].to(h.dtype)


class SequenceClassifier(nn.Module):
    """The lecture's classifier: embedding -> recurrent layers -> masked mean pooling -> linear.

    Args:
        vocabulary: number of symbols, padding (0) included; from the data's alphabet.
        outputs: K, the number of classes; from the data.
        recurrent: builds the recurrent layers from d_in.
        d_e: width of the learned embedding e_t.
        dropout: share of the pooled features zeroed in training.
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        recurrent: Callable[[int], Recurrent],
        d_e: int = 16,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, d_e, padding_idx=0)
        self.recurrent = recurrent(d_e)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.recurrent.d_out, outputs)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, K) of tokens (B, T) with true lengths (B,)."""
        e = self.embedding(tokens)  # (B, T, d_e)
        h, _ = self.recurrent(e, lengths, need_state=False)  # (B, T, d_out)
        logits: Tensor = self.head(self.dropout(masked_mean(h, lengths)))  # (B, K)
        return logits
