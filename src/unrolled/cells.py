"""The lecture's cells, one step at a time, symbol for symbol: what every faster form is tested against.

Each function takes x_t (B, d_in), the state before the step and the weights of its equations, and returns the state
after it. A W acts on the concatenation [h_{t-1}, x_t] (B, d_h + d_in) and has the shape (d_h, d_h + d_in); a b has
(d_h,): one bias a gate.

    >>> h = torch.zeros(1, 8)
    >>> for x_t in x.unbind(dim=1):
    ...     h = cells.gru(x_t, h, W_r, b_r, W_z, b_z, W_h, b_h)
"""

import torch
from torch import Tensor
from torch.nn.functional import linear


def _joined(h: Tensor, x: Tensor) -> Tensor:
    return torch.cat([h, x], dim=-1)  # [h_{t-1}, x_t]


def rnn(x: Tensor, h: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """h_t = tanh(W_h h_{t-1} + W_x x_t + b), with W = [W_h, W_x]."""
    return torch.tanh(linear(_joined(h, x), W, b))


def linear_rnn(x: Tensor, h: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """h_t = W_h h_{t-1} + W_x x_t + b: the RNN without its nonlinearity, whose gradients are powers of W_h."""
    return linear(_joined(h, x), W, b)


def lstm(
    x: Tensor,
    h: Tensor,
    C: Tensor,
    W_f: Tensor,
    b_f: Tensor,
    W_i: Tensor,
    b_i: Tensor,
    W_C: Tensor,
    b_C: Tensor,
    W_o: Tensor,
    b_o: Tensor,
) -> tuple[Tensor, Tensor]:
    """Long short-term memory (Hochreiter and Schmidhuber 1997): (h_t, C_t)."""
    hx = _joined(h, x)
    f_t = torch.sigmoid(linear(hx, W_f, b_f))  # how much of C_{t-1} to keep
    i_t = torch.sigmoid(linear(hx, W_i, b_i))  # how much of the candidate to write
    candidate = torch.tanh(linear(hx, W_C, b_C))
    C_t = f_t * C + i_t * candidate
    o_t = torch.sigmoid(linear(hx, W_o, b_o))  # what of C_t to expose
    return o_t * torch.tanh(C_t), C_t


def gru(x: Tensor, h: Tensor, W_r: Tensor, b_r: Tensor, W_z: Tensor, b_z: Tensor, W_h: Tensor, b_h: Tensor) -> Tensor:
    """Gated recurrent unit (Cho et al. 2014): the reset gate acts before the product; z_t near 1 keeps h_{t-1}."""
    hx = _joined(h, x)
    r_t = torch.sigmoid(linear(hx, W_r, b_r))
    z_t = torch.sigmoid(linear(hx, W_z, b_z))
    candidate = torch.tanh(linear(_joined(r_t * h, x), W_h, b_h))
    return z_t * h + (1 - z_t) * candidate


def gru_after(
    x: Tensor,
    h: Tensor,
    W_r: Tensor,
    b_r: Tensor,
    W_z: Tensor,
    b_z: Tensor,
    W_h: Tensor,
    b_h: Tensor,
    b_q: Tensor,
) -> Tensor:
    """The GRU as torch.nn and cuDNN compute it: the reset gate acts after the product, on U h_{t-1} + b_q.

    W_h = [U, W_x]; the bias inside the reset product, b_q, is the one more that this variant has.
    """
    hx, d_h = _joined(h, x), h.shape[-1]
    r_t = torch.sigmoid(linear(hx, W_r, b_r))
    z_t = torch.sigmoid(linear(hx, W_z, b_z))
    candidate = torch.tanh(linear(x, W_h[:, d_h:], b_h) + r_t * linear(h, W_h[:, :d_h], b_q))
    return z_t * h + (1 - z_t) * candidate


def decay(delta: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """gamma_t = exp(-max(0, W delta_t + b)), in (0, 1]: what is left after a time delta (Che et al. 2018, eq. 10)."""
    return torch.exp(-torch.relu(linear(delta, W, b)))


def gru_d(
    x: Tensor,
    m: Tensor,
    delta: Tensor,
    h: Tensor,
    w_x: Tensor,
    b_x: Tensor,
    W_gamma: Tensor,
    b_gamma: Tensor,
    W_r: Tensor,
    b_r: Tensor,
    W_z: Tensor,
    b_z: Tensor,
    W_h: Tensor,
    b_h: Tensor,
) -> Tensor:
    """GRU-D (Che et al. 2018, doi:10.1038/s41598-018-24271-9): a GRU over values, gaps and the time that passed.

    x (B, d) are the last measured values, m (B, d) is 1 where they were measured at this step, delta (B, d) the time
    since the measurement before. Values are standardised, so that the mean which old ones decay to is 0. Each
    variable has its own decay, w_x and b_x (d,). The state decays by W_gamma (d_h, d), b_gamma (d_h,). The other W
    act on [h_{t-1}, x_t, m_t] and have the shape (d_h, d_h + 2 d). z_t near 1 keeps, as in the lecture's GRU; in
    the paper it is 1 - z_t.
    """
    gamma_x = decay(delta, torch.diag(w_x), b_x)
    x_t = m * x + (1 - m) * gamma_x * x  # eq. 11, the mean being 0
    h_t = decay(delta, W_gamma, b_gamma) * h  # eq. 12
    return gru(torch.cat([x_t, m], dim=-1), h_t, W_r, b_r, W_z, b_z, W_h, b_h)


def min_gru(x: Tensor, h: Tensor, W_z: Tensor, b_z: Tensor, W_h: Tensor, b_h: Tensor) -> Tensor:
    """minGRU (Feng et al. 2024): neither gate nor candidate sees h_{t-1}; here z_t near 1 keeps, as in the GRU."""
    z_t = torch.sigmoid(linear(x, W_z, b_z))
    return z_t * h + (1 - z_t) * linear(x, W_h, b_h)


def min_lstm(
    x: Tensor, h: Tensor, W_f: Tensor, b_f: Tensor, W_i: Tensor, b_i: Tensor, W_h: Tensor, b_h: Tensor
) -> Tensor:
    """minLSTM (Feng et al. 2024): forget and input gate, normalised to add up to 1, see x_t alone."""
    f_t = torch.sigmoid(linear(x, W_f, b_f))
    i_t = torch.sigmoid(linear(x, W_i, b_i))
    return (f_t * h + i_t * linear(x, W_h, b_h)) / (f_t + i_t)
