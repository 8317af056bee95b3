"""Attention: softmax, scores, scaled dot-product attention, several heads, and what a decoder need not repeat.

B batch · H heads · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
A mask is boolean, True = may attend (masks.py).

Papers: Bahdanau et al. 2015 (additive scores); Luong et al. 2015 (dot-product scores);
Vaswani et al. 2017, "Attention is all you need", equation 1 and section 3.2.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.masks import causal_mask

# In half precision on a processor the plain form is the faster one up to about this many keys (benchmarks/).
SHORT = 512
NO_END = 2**62  # a row is like itself, however long it grows


def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Turn each row of scores into weights that sum to 1 over the keys it may attend to.

    weights = exp(scores) / Σ_keys exp(scores), after −∞ was written where the mask is False.

    Args:
        scores: (…, Tq, Tk), floating point.
        mask: boolean, broadcastable to the scores; True = may attend. None = every key.

    Returns:
        Weights, the shape of `scores`. A row that may attend to nothing gets zeros, never NaN.

    Raises:
        ValueError: the scores are not floating point, or the mask is not boolean or does not fit.
    """
    if not scores.is_floating_point():
        raise ValueError(f"masked_softmax: scores must be floating point, got dtype {scores.dtype}")
    if mask is None:
        return scores.softmax(dim=-1)
    _check_mask(mask, scores.shape)
    # A row of −∞ alone would be NaN, forwards and backwards: such a row keeps its scores for now
    # and loses its weights in the last line.
    row_sees_a_key = mask.any(dim=-1, keepdim=True)
    hidden = ~mask & row_sees_a_key
    weights = scores.masked_fill(hidden, -math.inf).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)


def dot_product_scores(q: Tensor, k: Tensor) -> Tensor:
    """Score every query against every key by their dot product: q kᵀ (Luong et al. 2015, section 3.1).

    Args:
        q: (…, Tq, Dh).
        k: (…, Tk, Dh).

    Returns:
        Scores, (…, Tq, Tk).

    Raises:
        ValueError: `q` and `k` differ in width or dtype, or are not floating point.
    """
    _check_query_and_key(q, k)
    return q @ k.transpose(-2, -1)  # (…, Tq, Tk)


def scaled_dot_product_scores(q: Tensor, k: Tensor) -> Tensor:
    """Divide the dot products by √Dh, so that their spread does not grow with the width.

    q kᵀ / √Dh (Vaswani et al. 2017, section 3.2.1). Shapes and errors as in `dot_product_scores`.
    """
    return dot_product_scores(q, k) / math.sqrt(q.size(-1))


def scaled_dot_product_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mix the values, each query by its own weights: softmax(q kᵀ / √Dh) v.

    The definition form (Vaswani et al. 2017, equation 1): it also returns the weights, for learning
    and for pictures. `attend` computes the output alone, and faster.

    Args:
        q: queries, (…, Tq, Dh).
        k: keys, (…, Tk, Dh).
        v: values, (…, Tk, Dv).
        mask: boolean, broadcastable to (…, Tq, Tk); True = may attend.

    Returns:
        Output, (…, Tq, Dv), and weights, (…, Tq, Tk). A query that may attend to nothing gets zeros.

    Raises:
        ValueError: widths, lengths or dtypes that do not fit, or a mask that is not boolean.
    """
    _check_value(k, v)
    weights = masked_softmax(scaled_dot_product_scores(q, k), mask)  # (…, Tq, Tk)
    return weights @ v, weights  # (…, Tq, Dv)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Mix the values as `scaled_dot_product_attention` does, in the form that is fastest here.

    That is PyTorch's fused form, which never holds the whole table of weights: its memory grows with T, not T²,
    where there is no mask but a causal one or a padding mask. Short sequences in half precision on a processor
    go the plain way.

    Args:
        q: queries, (B, H, Tq, Dh).
        k: keys, (B, H, Tk, Dh).
        v: values, (B, H, Tk, Dh).
        mask: boolean, broadcastable to (B, H, Tq, Tk); True = may attend.
        causal: hide the future too, as `causal_mask` does. Given so, and not as a mask, it needs no memory.
        dropout: probability of dropping a weight.

    Returns:
        (B, H, Tq, Dh). A query that may attend to nothing gets zeros.

    Raises:
        ValueError: widths, lengths or dtypes that do not fit, or a mask that is not boolean.
    """
    _check_query_and_key(q, k)
    _check_value(k, v)
    if mask is not None:
        _check_mask(mask, torch.Size((*q.shape[:-1], k.size(-2))))
    return _attend(q, k, v, mask, causal, dropout)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout: float) -> Tensor:
    n_queries, n_keys = q.size(-2), k.size(-2)
    if causal and n_queries == 1:
        causal = False  # the last token may see all the others
    plain = n_keys <= SHORT and q.dtype in (torch.bfloat16, torch.float16) and q.device.type == "cpu"
    # The fused form aligns its own causal mask at the first token, ours at the last, and takes no second mask.
    if causal and (plain or mask is not None or n_queries != n_keys):
        past = causal_mask(n_queries, n_keys).to(q.device)  # (Tq, Tk)
        mask = past if mask is None else mask & past
        causal = False
    if plain:
        return _attend_plainly(q, k, v, mask, dropout)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, dropout_p=dropout)


def _attend_plainly(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Do what the definition form does, with as little work on the large table of scores as can be."""
    scores = (q / math.sqrt(q.size(-1))) @ k.transpose(-2, -1)  # (B, H, Tq, Tk)
    if mask is None:
        return F.dropout(scores.softmax(dim=-1), dropout) @ v  # (B, H, Tq, Dh)
    row_sees_a_key = mask.any(dim=-1, keepdim=True)
    hidden = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask & row_sees_a_key, -math.inf)
    weights = (scores + hidden).softmax(dim=-1)
    return (F.dropout(weights, dropout) @ v).masked_fill(~row_sees_a_key, 0.0)  # (B, H, Tq, Dh)


class AdditiveAttention(nn.Module):
    """Attention whose scores come from a small network: wᵀ tanh(W_q q + W_k k).

    Bahdanau et al. 2015, appendix A.1.2. Queries and keys may differ in width.

    Args:
        d_query, d_key: widths of a query and of a key.
        d_hidden: width of the small network.
        dropout: probability of dropping a weight in training.

    Raises:
        ValueError: a width below 1, or a dropout outside [0, 1).
    """

    def __init__(self, *, d_query: int, d_key: int, d_hidden: int, dropout: float = 0.0):
        super().__init__()
        if min(d_query, d_key, d_hidden) < 1:
            raise ValueError(
                f"AdditiveAttention: widths must be at least 1, got d_query = {d_query}, d_key = {d_key}, "
                f"d_hidden = {d_hidden}"
            )
        _check_dropout(dropout)
        self.w_q = nn.Linear(d_query, d_hidden, bias=False)
        self.w_k = nn.Linear(d_key, d_hidden, bias=False)
        self.w_v = nn.Linear(d_hidden, 1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Score every query (…, Tq, d_query) against every key (…, Tk, d_key): (…, Tq, Tk)."""
        _check_width("AdditiveAttention: q", q, self.w_q.in_features)
        _check_width("AdditiveAttention: k", k, self.w_k.in_features)
        pairs = self.w_q(q).unsqueeze(-2) + self.w_k(k).unsqueeze(-3)  # (…, Tq, Tk, d_hidden)
        return self.w_v(torch.tanh(pairs)).squeeze(-1)  # (…, Tq, Tk)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mix the values (…, Tk, Dv): return output (…, Tq, Dv) and weights (…, Tq, Tk)."""
        _check_value(k, v)
        weights = masked_softmax(self.scores(q, k), mask)  # (…, Tq, Tk)
        return self.dropout(weights) @ v, weights  # (…, Tq, Dv)


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Cut every token's vector into `n_heads` pieces: (B, T, D) → (B, H, T, Dh).

    Head h of token t is `x[:, t, h * Dh : (h + 1) * Dh]`.

    Raises:
        ValueError: `x` is not (B, T, D), or D is no multiple of `n_heads`.
    """
    if x.dim() != 3:
        raise ValueError(f"split_heads: x must be (B, T, D), got shape {tuple(x.shape)}")
    n_batch, n_tokens, d_model = x.shape
    _check_heads(d_model, n_heads)
    return x.view(n_batch, n_tokens, n_heads, d_model // n_heads).transpose(1, 2)  # (B, H, T, Dh)


def merge_heads(x: Tensor) -> Tensor:
    """Lay the heads of each token side by side again: (B, H, T, Dh) → (B, T, D).

    Raises:
        ValueError: `x` is not (B, H, T, Dh).
    """
    if x.dim() != 4:
        raise ValueError(f"merge_heads: x must be (B, H, T, Dh), got shape {tuple(x.shape)}")
    return x.transpose(1, 2).flatten(2)  # (B, T, D)


class KVCache:
    """Keep the keys and values of one attention layer, so that no step of generation computes them again.

    It is for generation: it keeps no gradients. The buffers double when they are full, so adding a token costs the
    same at every length.
    """

    def __init__(self) -> None:
        self.length = 0  # tokens kept so far
        self._k: Tensor | None = None  # (B, H, capacity, Dh)
        self._v: Tensor | None = None
        self._alike: Tensor | None = None  # (B, B): in how many first columns two rows are known to be alike

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens; return those of all tokens.

        Args:
            k, v: (B, H, T, Dh).

        Returns:
            Keys and values, (B, H, length, Dh) each.

        Raises:
            ValueError: shapes that differ from each other or do not go with what is kept.
        """
        if k.dim() != 4 or k.shape != v.shape:
            raise ValueError(
                f"KVCache: k and v must be (B, H, T, Dh), both alike, got shapes {tuple(k.shape)} and {tuple(v.shape)}"
            )
        if self._k is not None and (k.shape[:2] != self._k.shape[:2] or k.size(3) != self._k.size(3)):
            raise ValueError(
                f"KVCache: what is kept is (B, H, T, Dh) = {tuple(self._k[:, :, : self.length].shape)}; k of shape "
                f"{tuple(k.shape)} does not go with it"
            )
        end = self.length + k.size(2)
        if self._k is None or self._v is None or end > self._k.size(2):
            self._k, self._v = self._enlarged(self._k, k, end), self._enlarged(self._v, v, end)
        self._k[:, :, self.length : end] = k.detach()
        self._v[:, :, self.length : end] = v.detach()
        self.length = end
        return self.all()

    def all(self) -> tuple[Tensor, Tensor]:
        """Return the keys and values of all tokens, (B, H, length, Dh) each.

        Raises:
            ValueError: nothing was kept yet.
        """
        if self._k is None or self._v is None:
            raise ValueError("KVCache: nothing is kept yet")
        return self._k[:, :, : self.length], self._v[:, :, : self.length]

    def reorder(self, rows: Tensor) -> None:
        """Let row i go on from what row `rows[i]` has kept: how the beams of a search follow their parents.

        Args:
            rows: numbers of rows, (B′,). They may repeat, and B′ may differ from B.

        Raises:
            ValueError: rows that are not (B′,) of whole numbers, or that there are none of.
        """
        if self._k is None or self._v is None:
            return
        check_rows("KVCache", rows, self._k.size(0))
        n = self.length
        same = rows[:, None] == rows  # (B′, B′): two rows with one parent are alike in all n columns
        if len(rows) != self._k.size(0):
            self._k, self._v = self._k[rows], self._v[rows]
        else:
            # The beams of a sentence have most of their past in common, and only what differs need move.
            first = 0 if self._alike is None else int(self._alike[torch.arange(len(rows)), rows].min())
            self._k[:, :, first:n] = self._k[rows, :, first:n]
            self._v[:, :, first:n] = self._v[rows, :, first:n]
        alike = (
            torch.zeros_like(same, dtype=torch.long) if self._alike is None else self._alike[rows][:, rows]
        )
        self._alike = alike.masked_fill(same, n).fill_diagonal_(NO_END)

    def _enlarged(self, old: Tensor | None, new: Tensor, end: int) -> Tensor:
        n_batch, n_heads, _, d_head = new.shape
        larger = new.new_empty(n_batch, n_heads, 2 * end, d_head)
        if old is not None:
            larger[:, :, : self.length] = old[:, :, : self.length]
        return larger


class MultiHeadAttention(nn.Module):
    """Attend in `n_heads` subspaces at once, and mix what they found.

    MultiHead(x, memory) = Concat(head_1, …, head_H) W_O, with
    head_h = Attention(x W_Q, memory W_K, memory W_V) on slice h (Vaswani et al. 2017, section 3.2.2).
    Self-attention where `memory` is left out; cross-attention where it is the encoder's output.

    Args:
        d_model: D, width of a token.
        n_heads: H, a divisor of D.
        dropout: probability of dropping a weight in training.

    Raises:
        ValueError: D is no positive multiple of H, or a dropout outside [0, 1).

    Differs from the paper: the four maps have biases, as in every published implementation.
    """

    def __init__(self, *, d_model: int, n_heads: int, dropout: float = 0.0):
        super().__init__()
        _check_heads(d_model, n_heads)
        _check_dropout(dropout)
        self.n_heads = n_heads
        self.dropout = dropout
        self.w_q = nn.Linear(d_model, d_model)
        self.w_k = nn.Linear(d_model, d_model)
        self.w_v = nn.Linear(d_model, d_model)
        self.w_o = nn.Linear(d_model, d_model)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Return what each token of `x` gathered, by the fast form.

        Args:
            x: (B, Tq, D), where the queries come from.
            memory: (B, Tk, D), where keys and values come from; None = `x` itself.
            mask: boolean, broadcastable to (B, H, Tq, Tk); True = may attend.
            causal: hide the future as well.
            cache: where the keys and values of earlier calls are. In self-attention, `x` holds the new tokens alone,
                theirs are added, and Tk counts all of them. In cross-attention, those of `memory` are computed in
                the first call and looked up in every later one.

        Returns:
            (B, Tq, D).
        """
        q = self.queries(x)
        if cache is None:
            k, v = self.keys_and_values(x if memory is None else memory)
        elif memory is None:
            k, v = cache.append(*self.keys_and_values(x))
        else:
            k, v = cache.all() if cache.length else cache.append(*self.keys_and_values(memory))
        _check_batches(q, k)
        if mask is not None:
            _check_mask(mask, torch.Size((*q.shape[:-1], k.size(-2))))
        heads = _attend(q, k, v, mask, causal, self.dropout if self.training else 0.0)  # (B, H, Tq, Dh)
        return self.w_o(merge_heads(heads))  # (B, Tq, D)

    def with_weights(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return the same by the definition form, with the weights of every head, (B, H, Tq, Tk)."""
        q = self.queries(x)
        k, v = self.keys_and_values(x if memory is None else memory)
        _check_batches(q, k)
        if causal:
            past = causal_mask(q.size(2), k.size(2)).to(q.device)  # (Tq, Tk)
            mask = past if mask is None else mask & past
        weights = masked_softmax(scaled_dot_product_scores(q, k), mask)  # (B, H, Tq, Tk)
        heads = F.dropout(weights, self.dropout, self.training) @ v  # (B, H, Tq, Dh)
        return self.w_o(merge_heads(heads)), weights  # (B, Tq, D)

    def queries(self, x: Tensor) -> Tensor:
        """Map (B, Tq, D) to the queries of all heads, (B, H, Tq, Dh)."""
        _check_tokens("x", x, self.w_q.in_features)
        return split_heads(self.w_q(x), self.n_heads)

    def keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, Tk, D) to the keys and the values of all heads, (B, H, Tk, Dh) each."""
        _check_tokens("memory", memory, self.w_k.in_features)
        return split_heads(self.w_k(memory), self.n_heads), split_heads(self.w_v(memory), self.n_heads)


@torch.no_grad()
def attention_weights(model: nn.Module, *inputs: Any) -> dict[str, Tensor]:
    """Run `model(*inputs)` once in evaluation mode, and return what each of its `MultiHeadAttention`s weighed.

    Args:
        model: any module that holds some.
        inputs: what it is called with.

    Returns:
        The weights, (B, H, Tq, Tk) each, by the module's name in the model, in the order in which they ran.

    Raises:
        ValueError: there is none in the model.
    """
    found: dict[str, Tensor] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, MultiHeadAttention):

            def keep(
                module: nn.Module, args: tuple, named: dict[str, Any], output: Tensor, name: str = name
            ) -> None:
                asked = {what: given for what, given in named.items() if what != "cache"}
                found[name] = module.with_weights(*args, **asked)[1]  # type: ignore[operator]

            hooks.append(module.register_forward_hook(keep, with_kwargs=True))
    if not hooks:
        raise ValueError(f"attention_weights: {type(model).__name__} holds no MultiHeadAttention")
    was_training = model.training
    model.eval()
    try:
        model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(was_training)
    return found


def check_rows(who: str, rows: Tensor, n_rows: int) -> None:
    """Raise a ValueError unless `rows` is (B′,) of whole numbers from 0 to n_rows − 1, at least one of them."""
    if not isinstance(rows, Tensor) or rows.dim() != 1 or rows.dtype not in (torch.int32, torch.int64):
        got = f"shape {tuple(rows.shape)}, dtype {rows.dtype}" if isinstance(rows, Tensor) else repr(rows)
        raise ValueError(f"{who}: rows must be whole numbers, (B′,), got {got}")
    if len(rows) == 0 or not 0 <= int(rows.min()) <= int(rows.max()) < n_rows:
        raise ValueError(f"{who}: rows must lie between 0 and {n_rows - 1}, got {rows.tolist()}")


def _check_mask(mask: Tensor, shape: torch.Size) -> None:
    if mask.dtype != torch.bool:
        raise ValueError(f"a mask must be boolean with True = may attend, got dtype {mask.dtype}")
    # The same as asking torch.broadcast_shapes, which takes longer than attending to a single token.
    fits = mask.dim() <= len(shape) and all(
        size in (1, wanted) for size, wanted in zip(reversed(mask.shape), reversed(shape))
    )
    if not fits:
        raise ValueError(
            f"a mask of shape {tuple(mask.shape)} does not broadcast to scores of shape {tuple(shape)}"
        )


def _check_query_and_key(q: Tensor, k: Tensor) -> None:
    for name, given in (("q", q), ("k", k)):
        if given.dim() < 2:
            raise ValueError(f"{name} must be (…, T, Dh), got shape {tuple(given.shape)}")
        if not given.is_floating_point():
            raise ValueError(f"{name} must be floating point, got dtype {given.dtype}")
    if q.dtype != k.dtype:
        raise ValueError(f"q and k must have one dtype, got {q.dtype} and {k.dtype}")
    if q.size(-1) != k.size(-1) or q.size(-1) == 0:
        raise ValueError(f"q and k must have one width Dh ≥ 1, got {q.size(-1)} and {k.size(-1)}")
    _check_leading("q and k", q, k)


def _check_value(k: Tensor, v: Tensor) -> None:
    if k.dim() < 2 or v.dim() < 2:
        raise ValueError(f"k and v must be (…, Tk, width), got shapes {tuple(k.shape)} and {tuple(v.shape)}")
    if k.dtype != v.dtype:
        raise ValueError(f"k and v must have one dtype, got {k.dtype} and {v.dtype}")
    if k.size(-2) != v.size(-2):
        raise ValueError(f"k and v must have one length Tk, got {k.size(-2)} and {v.size(-2)}")
    _check_leading("k and v", k, v)


def _check_tokens(name: str, given: Tensor, d_model: int) -> None:
    if not isinstance(given, Tensor) or given.dim() != 3 or given.numel() == 0:
        got = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise ValueError(f"MultiHeadAttention: {name} must be (B, T, D) and not empty, got {got}")
    _check_width(f"MultiHeadAttention: {name}", given, d_model)


def _check_batches(q: Tensor, k: Tensor) -> None:
    if q.size(0) != k.size(0):
        raise ValueError(
            f"MultiHeadAttention: x and memory must hold the same number of sequences, got {q.size(0)} and {k.size(0)}"
        )


def _check_leading(names: str, one: Tensor, other: Tensor) -> None:
    if one.shape[:-2] == other.shape[:-2]:
        return
    try:
        torch.broadcast_shapes(one.shape[:-2], other.shape[:-2])
    except RuntimeError:
        raise ValueError(
            f"{names} must agree before the last two dimensions, got shapes {tuple(one.shape)} and {tuple(other.shape)}"
        ) from None


def _check_width(name: str, given: Tensor, width: int) -> None:
    if not given.is_floating_point():
        raise ValueError(f"{name} must be floating point, got dtype {given.dtype}")
    if given.size(-1) != width:
        raise ValueError(
            f"{name} must have width {width}, got {given.size(-1)} in shape {tuple(given.shape)}"
        )


def _check_heads(d_model: int, n_heads: int) -> None:
    if n_heads < 1 or d_model < 1 or d_model % n_heads != 0:
        raise ValueError(
            f"d_model must be a positive multiple of n_heads, got d_model = {d_model}, n_heads = {n_heads}"
        )


def _check_dropout(dropout: float) -> None:
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
