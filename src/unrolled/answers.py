"""What a model says of a sequence whose target is a sequence, too."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray


class Decoded(NamedTuple):
    """The likeliest target that a model finds, and how likely the true one was."""

    symbols: NDArray[Any]  # (T',) 1..K
    log_likelihood: float  # nats, of the true target and its end
    own: float  # nats, of what is said and its end

    def text(self, classes: Sequence[str]) -> str:
        """The symbols in letters; `classes` are those of 1..K."""
        return "".join(classes[symbol - 1] for symbol in self.symbols)
