"""Positions: what tells a token where it stands.

B batch · T tokens · D d_model · H heads · Dh d_head · Tq queries · Tk keys
`start` is the position of the first token given: 0 for a whole sequence, the number of tokens already
read in step-by-step decoding.

Papers: Vaswani et al. 2017, section 3.5 (sinusoids); Devlin et al. 2019 (learned positions);
Shaw et al. 2018 and Raffel et al. 2020, section 2.1 (relative positions); Su et al. 2021 (rotary).
"""

from __future__ import annotations

import math
from typing import Literal, SupportsIndex

import torch
from torch import Tensor, nn

BASE = 10_000.0
Layout = Literal["interleaved", "halves"]


def sinusoidal_positions(
    length: int,
    d_model: int,
    *,
    layout: Layout = "interleaved",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Compute the sinusoidal table: a sine and a cosine for each of D/2 frequencies.

    P[p, 2i] = sin(p / 10000^(2i/D)), P[p, 2i+1] = cos(p / 10000^(2i/D)), for positions p = 0 … T − 1
    (Vaswani et al. 2017, section 3.5).

    Args:
        length: T, the number of positions, at least 1.
        d_model: D, even.
        layout: "interleaved" as in the paper; "halves" puts all sines before all cosines, as the
            paper's own code and Transformer-XL do. The same numbers in another order.
        dtype: of the table; None = PyTorch's default. It is computed in double precision and rounded once.

    Returns:
        The table, (T, D).

    Raises:
        ValueError: a length below 1, a width that is odd or below 2, an unknown layout, or a dtype of integers.
    """
    _check_whole("sinusoidal_positions", 1, length=length)
    check_layout("sinusoidal_positions", layout)
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"sinusoidal_positions: dtype must be floating point, got {dtype}")
    angles = _angles("sinusoidal_positions: d_model", 0, length, d_model)  # (T, D/2)
    if layout == "interleaved":
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)  # (T, D/2, 2) → (T, D)
    else:
        table = torch.cat([angles.sin(), angles.cos()], dim=-1)  # (T, D)
    return table.to(dtype)


class SinusoidalPositions(nn.Module):
    """Add the sinusoidal table to a sequence (Vaswani et al. 2017, section 3.5).

    The table is computed once. It has no parameters and is not kept in the state dict.

    Args:
        d_model: D, even.
        max_len: number of positions there are.
        layout: as in `sinusoidal_positions`.

    Raises:
        ValueError: as in `sinusoidal_positions`.

    Differs from the paper: the dropout that follows belongs to the model.
    """

    table: Tensor

    def __init__(self, *, d_model: int, max_len: int, layout: Layout = "interleaved"):
        super().__init__()
        _check_whole("SinusoidalPositions", 1, max_len=max_len)
        table = sinusoidal_positions(max_len, d_model, layout=layout)  # (max_len, D)
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Return x (B, T, D) plus the rows start … start + T − 1 of the table.

        Raises:
            ValueError: `x` is not (B, T, D), `start` is negative, or the table is too short.
        """
        return _add_rows("SinusoidalPositions", x, self.table, start)


class LearnedPositions(nn.Module):
    """Add a learned row for each position: a table of max_len × D parameters (Devlin et al. 2019).

    There is no row beyond max_len: BERT has 512 of them.

    Args:
        d_model: D.
        max_len: number of positions there are.

    Raises:
        ValueError: a width or a number of positions below 1.
    """

    def __init__(self, *, d_model: int, max_len: int):
        super().__init__()
        _check_whole("LearnedPositions", 1, d_model=d_model, max_len=max_len)
        # Small, as in BERT: at the start of training a token is what its embedding says.
        self.table = nn.Parameter(0.02 * torch.randn(max_len, d_model))

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Return x (B, T, D) plus the rows start … start + T − 1 of the table.

        Raises:
            ValueError: `x` is not (B, T, D), `start` is negative, or the table is too short.
        """
        return _add_rows("LearnedPositions", x, self.table, start)


def rotate(x: Tensor, start: int = 0, *, layout: Layout = "interleaved") -> Tensor:
    """Turn each pair of numbers of a query or key by an angle that grows with its position.

    (x₂ᵢ, x₂ᵢ₊₁) as a complex number times e^(𝑖·p·10000^(−2i/Dh)), at position p (Su et al. 2021,
    equation 34). The dot product of a rotated query and a rotated key depends on their positions by
    their difference alone. Values are not rotated.

    Args:
        x: queries or keys, (…, T, Dh), floating point; Dh even.
        start: position of the first token.
        layout: which numbers form a pair. "interleaved": neighbours, as in the paper; "halves": number i
            of the first half and number i of the second, as in many published models.

    Returns:
        The shape of `x`. The length of each vector stays.

    Raises:
        ValueError: `x` has fewer than two dimensions, an odd width or no floating-point numbers; a
            negative start; an unknown layout.
    """
    if not isinstance(x, Tensor) or x.dim() < 2 or not x.is_floating_point():
        raise ValueError(f"rotate: x must be (…, T, Dh), floating point, got {_described(x)}")
    _check_whole("rotate", 0, start=start)
    check_layout("rotate", layout)
    angles = _angles("rotate: the width of x", start, x.size(-2), x.size(-1))  # (T, Dh/2)
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    if layout == "interleaved":
        a, b = x[..., 0::2], x[..., 1::2]  # (…, T, Dh/2) each
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)  # (…, T, Dh/2, 2)
        return turned.flatten(-2)  # (…, T, Dh)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)  # (…, T, Dh)


def relative_distances(n_queries: int, n_keys: int | None = None) -> Tensor:
    """Count how far each key lies before each query: i − j, above 0 for a key of the past.

    With fewer queries than keys the queries are the *last* ones, as in `masks.causal_mask`.

    Args:
        n_queries: Tq, at least 1.
        n_keys: Tk, at least Tq; Tq when left out.

    Returns:
        Whole numbers, (Tq, Tk).

    Raises:
        ValueError: a length below 1, or fewer keys than queries.
    """
    n_keys = n_queries if n_keys is None else n_keys
    _check_whole("relative_distances", 1, Tq=n_queries, Tk=n_keys)
    if n_keys < n_queries:
        raise ValueError(f"relative_distances: need 1 ≤ Tq ≤ Tk, got Tq = {n_queries}, Tk = {n_keys}")
    keys = torch.arange(n_keys)
    queries = keys[n_keys - n_queries :]
    return queries[:, None] - keys  # (Tq, Tk)


class RelativeBias(nn.Module):
    """Learn one number for each head and each distance, to be added to the scores before the softmax.

    score(i, j) + b[h, i − j] (Raffel et al. 2020, section 2.1). Distances beyond `max_distance` share the
    number of the farthest one (the clipping of Shaw et al. 2018, section 3.2), so any length will do.

    Args:
        n_heads: H.
        max_distance: the farthest distance with a number of its own, forwards and backwards.

    Raises:
        ValueError: no head, or a negative distance.

    Differs from the paper: every distance up to `max_distance` has its own number; the paper lets far
    distances share one by ever larger steps.
    """

    def __init__(self, *, n_heads: int, max_distance: int):
        super().__init__()
        _check_whole("RelativeBias", 1, n_heads=n_heads)
        _check_whole("RelativeBias", 0, max_distance=max_distance)
        self.max_distance = max_distance
        # Column 0 belongs to the distance −max_distance. Zeros: at first no distance is preferred.
        self.bias = nn.Parameter(torch.zeros(n_heads, 2 * max_distance + 1))

    def forward(self, n_queries: int, n_keys: int | None = None) -> Tensor:
        """Return the biases, (H, Tq, Tk). Arguments and errors as in `relative_distances`."""
        distances = relative_distances(n_queries, n_keys).to(self.bias.device)  # (Tq, Tk)
        columns = distances.clamp(-self.max_distance, self.max_distance) + self.max_distance
        return self.bias[:, columns]  # (H, Tq, Tk)


def _angles(name: str, start: int, length: int, width: int) -> Tensor:
    """Return position times frequency, (length, width/2), in double precision.

    In single precision the sine at position 5000 would already be off by 4e-4.
    """
    if not isinstance(width, SupportsIndex) or width < 2 or width % 2:
        raise ValueError(f"{name} must be even and at least 2, got {width!r}")
    exponents = torch.arange(0, width, 2, dtype=torch.float64) / width  # (width/2,): 2i/D
    positions = torch.arange(start, start + length, dtype=torch.float64)  # (length,)
    return positions[:, None] * torch.exp(-math.log(BASE) * exponents)  # (length, width/2)


def _add_rows(who: str, x: Tensor, table: Tensor, start: int) -> Tensor:
    if not isinstance(x, Tensor) or x.dim() != 3 or not x.is_floating_point():
        raise ValueError(f"{who}: x must be (B, T, D), floating point, got {_described(x)}")
    max_len, d_model = table.shape
    if x.size(-1) != d_model:
        raise ValueError(f"{who}: x must have width {d_model}, got {x.size(-1)} in shape {tuple(x.shape)}")
    _check_whole(who, 0, start=start)
    end = start + x.size(1)
    if end > max_len:
        raise ValueError(
            f"{who}: T + start must be at most max_len, got T + start = {x.size(1)} + {start} = {end}, "
            f"max_len = {max_len}"
        )
    return x + table[start:end].to(x.dtype)  # (B, T, D)


def _check_whole(who: str, least: int, **numbers: int) -> None:
    if not all(isinstance(number, SupportsIndex) and number >= least for number in numbers.values()):
        got = ", ".join(f"{name} = {number!r}" for name, number in numbers.items())
        raise ValueError(f"{who}: need whole numbers, at least {least}, got {got}")


def _described(given: object) -> str:
    if isinstance(given, Tensor):
        return f"shape {tuple(given.shape)}, dtype {given.dtype}"
    return f"a {type(given).__name__}"


def check_layout(who: str, layout: str) -> None:
    """Raise a ValueError for a layout that is not one of the two."""
    if layout not in ("interleaved", "halves"):
        raise ValueError(f"{who}: layout must be 'interleaved' or 'halves', got {layout!r}")
