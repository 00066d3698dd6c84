"""A stack of recurrent layers over padded or packed batches: weights, starts, states. The cells: recurrent.py."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from unrolled import engines, recurrence, scan, stock
from unrolled.errors import UnrolledError
from unrolled.packing import Plan, pack, unpack

State = Tensor | tuple[Tensor, Tensor]


class Direction(nn.Module):
    """The weights of one direction of one layer: blocks of d_h rows, one for each gate, in the order of `gates`."""

    def __init__(self, cell: "type[Recurrent]", d_in: int, d_h: int, *, extra_bias: bool = False):
        super().__init__()
        blocks = len(cell.gates)
        self.W_x = nn.Parameter(torch.empty(blocks * d_h, d_in))
        if cell.sees_h:
            self.W_h = nn.Parameter(torch.empty(blocks * d_h, d_h))
        self.b = nn.Parameter(torch.empty(blocks * d_h))
        if extra_bias:
            self.b_q = nn.Parameter(torch.empty(d_h))

    def weights(self) -> list[Tensor]:
        """W_x, W_h, b and, where there is one, b_q."""
        return [getattr(self, name) for name in ("W_x", "W_h", "b", "b_q") if hasattr(self, name)]


class Recurrent(nn.Module):
    """A stack of recurrent layers, in one or both directions.

    Args:
        d_in: width of x_t.
        d_h: width of h_t, per direction.
        layers: number of layers.
        bidirectional: read every layer's input from both ends and concatenate.
        dropout: share of outputs zeroed between layers, in training.
        init: how each gate's block of W_h starts: `orthogonal` (the lecture's), `glorot`, or `uniform`, which is
            torch.nn's U(-1/sqrt(d_h), 1/sqrt(d_h)) for all weights and biases. Else W_x is Glorot uniform, biases 0.
            A forget bias is that of its own argument in any case.
        window: truncated BPTT: no gradient flows across multiples of so many positions; 0 for full BPTT. Memory
            still grows with the length: to bound it, hand the state of one piece, detached, to the next.
        causal: read from the left only, whatever `bidirectional` says: what follows is to be predicted.
    """

    gates: ClassVar[tuple[str, ...]]
    keeps: ClassVar[str | None] = None  # the gate that what is remembered is multiplied by
    sees_h: ClassVar[bool] = True
    looks_up: ClassVar[bool] = True  # W_x x_t + b of symbols is found once for each symbol

    def __init__(
        self,
        d_in: int,
        d_h: int = 64,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        init: str = "orthogonal",
        window: int = 0,
        causal: bool = False,
    ):
        super().__init__()
        if d_h < 1 or layers < 1:
            raise UnrolledError(f"d_h: {d_h}, layers: {layers}: both must be at least 1")
        if init not in ("orthogonal", "glorot", "uniform"):
            raise UnrolledError(f"init: {init!r} is not known; use orthogonal, glorot or uniform")
        if window < 0:
            raise UnrolledError(f"window: {window} is negative; use 0 for full back-propagation through time")
        self.d_in, self.d_h, self.layers = d_in, d_h, layers
        self.directions = 2 if bidirectional and not causal else 1
        self.d_out = d_h * self.directions
        self.init, self.window = init, window
        self.dropout = nn.Dropout(dropout)
        self.probes: list[recurrence.Probe] | None = None  # filled by the next passes while it is a list
        widths = [d_in] + [self.d_out] * (layers - 1)
        self.stack = nn.ModuleList(
            nn.ModuleList(self._direction(width) for _ in range(self.directions)) for width in widths
        )
        for direction in self.each():
            self.initialise(direction)

    def __getstate__(self) -> dict[str, Any]:
        """All but what a look left behind, which cannot be copied and is no part of a network."""
        return vars(self) | {"probes": None}

    @property
    def cell(self) -> recurrence.Recurrence:
        """The recurrence of this network."""
        raise NotImplementedError

    def _direction(self, width: int) -> Direction:
        return Direction(type(self), width, self.d_h)

    def by_layer(self) -> list[list[Direction]]:
        """The directions of each layer."""
        return [list(layer) for layer in cast("list[list[Direction]]", self.stack)]

    def each(self) -> Iterator[Direction]:
        """The directions of the first layer, then those of the second ..."""
        return itertools.chain.from_iterable(self.by_layer())

    def block(self, weights: Tensor, gate: str) -> Tensor:
        """The rows of a gate in W_x, W_h or b."""
        return torch.split(weights, self.d_h)[self.gates.index(gate)]

    @torch.no_grad()
    def initialise(self, direction: Direction) -> None:
        """Set one direction's weights in place."""
        if self.init == "uniform":
            for weights in direction.weights():
                nn.init.uniform_(weights, -1 / math.sqrt(self.d_h), 1 / math.sqrt(self.d_h))
            return
        for name, weights in direction.named_parameters():
            for block in torch.split(weights, self.d_h):
                _start(name, self.init)(block)

    def forward(
        self, x: Tensor, lengths: Tensor | Sequence[int], state: State | None = None, *, need_state: bool = True
    ) -> tuple[Tensor, State | None]:
        """Map x (B, T, d_in) with true lengths (B,), 0 to T, to (outputs, state).

        Args:
            x: right-padded; what is in the padding is never read.
            lengths: true lengths, a tensor or a list.
            state: to start from, 0 if absent: h (layers * directions, B, d_h), for the LSTM a tuple (h, C).
            need_state: False returns None for the state, which may spare work.

        Returns:
            outputs (B, T, directions * d_h), 0 in the padding, and the state after each sequence's last step.

        Raises:
            UnrolledError: x of other dimensions than three, or another width than d_in; lengths that do not fit x;
                a state of another shape, type or device than it must have.
        """
        plan = self._plan(x, lengths)
        y, state = self.packed(pack(x, plan), plan, state, need_state=need_state)
        return unpack(y, plan), state

    def packed(
        self,
        y: Tensor,
        plan: Plan,
        state: State | None = None,
        *,
        need_state: bool = True,
        symbols: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        """As `forward`, from and to packed sequences: (N, d_in) -> (N, directions * d_h).

        Symbols (N,) may be given in the place of vectors that would repeat; y (V, d_in) are then those of each.
        """
        if torch.is_autocast_enabled(y.device.type):  # sums over T steps are as precise as the weights
            with torch.autocast(y.device.type, enabled=False):
                dtype = next(self.parameters()).dtype
                return self.packed(y.to(dtype), plan, _cast(state, dtype), need_state=need_state, symbols=symbols)
        if symbols is not None and not (self.looks_up and engines.kernel_fits(self.cell, y)):
            y, symbols = nn.functional.embedding(symbols, y), None
        starts = self._starts(state, y, plan)
        self.probes = None if self.probes is None else []
        # torch.nn refuses a batch without a single step.
        engine = self.engine(y, free=state is None and not need_state) if plan.N else "pytorch"
        ends = []
        for depth, (directions, start) in enumerate(zip(self.by_layer(), starts, strict=True)):
            probe = None if self.probes is None else recurrence.Probe()
            if self.probes is not None and probe is not None:
                self.probes.append(probe)
            extra = {"symbols": symbols} if symbols is not None and not depth else {}
            y = self.dropout(y) if depth else y
            y, end = self._layer(engine, plan, y, directions, start, probe, **extra)
            ends.append(end)
        return y, self._state(ends, plan) if need_state else None

    def encode(self, x: Tensor, plan: Plan) -> Tensor:
        """As `packed`, without a state: what a `models.Network` asks of every encoder."""
        return self.packed(x, plan, need_state=False)[0]

    def engine(self, x: Tensor | engines.Like, *, free: bool = False) -> str:
        """What would compute tensors like x: `kernel`, `pytorch` or `torch.nn`; `free` of states in and out."""
        plain = self.probes is None and not self.window
        return engines.engine(self.cell, x, plain=plain, free=free)

    def _plan(self, x: Tensor, lengths: Tensor | Sequence[int]) -> Plan:
        lengths = torch.as_tensor(lengths)
        if x.ndim != 3:
            raise UnrolledError(f"x must be padded, (B, T, d_in), but is {tuple(x.shape)}; one sequence is x[None]")
        (B, T, d), whole = x.shape, not lengths.is_floating_point()
        if not whole or lengths.shape != (B,) or (B and not 0 <= int(lengths.min()) <= int(lengths.max()) <= T):
            raise UnrolledError(f"lengths of {B} sequences padded to {T} must be {B} whole numbers from 0 to {T}")
        if d != self.d_in:
            raise UnrolledError(f"x is {d} wide, but these layers were made for d_in = {self.d_in}")
        return Plan.of(lengths.to(x.device), T)

    def _starts(self, state: State | None, x: Tensor, plan: Plan) -> list[list[Tensor]]:
        """Per layer h (D, B, d_h) and, for the LSTM, C, in the plan's order."""
        n, shape = 2 if self.cell.cell else 1, (self.layers * self.directions, plan.B, self.d_h)
        given = [x.new_zeros(shape)] * n if state is None else [state] if n == 1 else list(state)
        parts = cast("list[Tensor]", given)
        if [tuple(getattr(part, "shape", ())) for part in parts] != [shape] * n:
            raise UnrolledError(f"the state of this network is {n} tensor(s) of shape {shape}")
        if {(part.dtype, part.device) for part in parts} != {(x.dtype, x.device)}:
            kinds = ", ".join(f"{part.dtype} on {part.device}" for part in parts)
            raise UnrolledError(f"the state is {kinds}, but x {x.dtype} on {x.device}: convert it with `.to(x)`")
        ordered = [torch.split(part.index_select(1, plan.order), self.directions) for part in parts]
        return [list(layer) for layer in zip(*ordered, strict=True)]

    def _state(self, ends: list[list[Tensor]], plan: Plan) -> State:
        h, *C = (torch.cat(part).index_select(1, plan.inverse) for part in zip(*ends, strict=True))
        return (h, C[0]) if C else h

    def _layer(
        self,
        engine: str,
        plan: Plan,
        y: Tensor,
        directions: Sequence[Direction],
        start: list[Tensor],
        probe: recurrence.Probe | None,
        **symbols: Tensor,
    ) -> tuple[Tensor, list[Tensor]]:
        run = stock.layer if engine == "torch.nn" else scan.layer
        extra: dict[str, Any] = {} if engine == "torch.nn" else {"window": self.window, "probe": probe, **symbols}
        h0, *C0 = start
        weights = [self.arrange(direction) for direction in directions]
        y, h, C = run(self.cell, plan, y, h0, C0[0] if C0 else None, weights, **extra)
        return y, [h] if C is None else [h, C]

    def arrange(self, direction: Direction) -> list[Tensor]:
        """A direction's weights, as scan.layer takes them."""
        return direction.weights()

    @classmethod
    def from_torch(cls, module: nn.RNNBase, **settings: Any) -> Self:
        """The same network with the weights of a torch.nn one, in training or not as that is.

        What torch.nn's two biases add is one bias here.

        Raises:
            UnrolledError: a network whose equations have no counterpart here.
        """
        if module.mode != stock.MODES.get(cls.__name__) or module.proj_size:
            raise UnrolledError(f"{cls.__name__} cannot take the weights of {module}")
        made = cls(
            module.input_size,
            module.hidden_size,
            layers=module.num_layers,
            bidirectional=module.bidirectional,
            dropout=module.dropout,
            **settings,
        ).to(next(module.parameters()))
        given = dict(module.named_parameters())
        with torch.no_grad():
            for i, direction in enumerate(made.each()):
                suffix = stock.suffix(*divmod(i, made.directions))
                weights = stock.from_torch(made.cell, {name: given.get(name + suffix) for name in stock.NAMES})
                for mine, theirs in zip(made.arrange(direction), weights, strict=True):
                    mine.copy_(theirs)
        return made.train(module.training)

    def to_torch(self) -> nn.RNNBase:
        """The torch.nn network (batch_first) of the same function, in training or not as this one is.

        Raises:
            UnrolledError: a recurrence that torch.nn does not have, such as the lecture's GRU.
        """
        made = stock.module(self.cell, self.d_in, self.d_h, self.layers, self.directions, self.dropout.p)
        made = made.to(next(self.parameters()))
        given = {
            name + stock.suffix(*divmod(i, self.directions)): weights
            for i, direction in enumerate(self.each())
            for name, weights in stock.to_torch(self.cell, self.arrange(direction)).items()
        }
        made.load_state_dict(given)
        return made.train(self.training)


def _start(name: str, init: str) -> Any:
    if name.startswith("b"):
        return nn.init.zeros_
    return nn.init.orthogonal_ if name == "W_h" and init == "orthogonal" else nn.init.xavier_uniform_


def _cast(state: State | None, dtype: torch.dtype) -> State | None:
    if state is None:
        return None
    return (state[0].to(dtype), state[1].to(dtype)) if isinstance(state, tuple) else state.to(dtype)
