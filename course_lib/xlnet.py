"""Transformer-XL and XLNet: distances for positions, a memory of what was read before, and two streams.

B batch · T tokens of this segment · M places of memory · Tk keys, M + T · Tq queries · N targets · R distances
V vocab_size · D d_model · H heads · Dh d_head · S segments (of a pair of texts)
A mask is boolean, True = may attend (masks.py). It speaks of the T tokens; the memory is always visible.

Papers: Dai et al. 2019, "Transformer-XL: attentive language models beyond a fixed-length context"; Yang et al. 2019,
"XLNet: generalized autoregressive pretraining for language understanding".
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, SupportsFloat, SupportsIndex, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.attention import masked_softmax, merge_heads, split_heads
from course_lib.layers import Activation, FeedForward, LayerNorm, check_activation, check_sizes, check_tokens
from course_lib.masks import causal_mask

Direction = Literal["bi", "uni"]
NO_LIMIT = sys.maxsize  # distances have no last row, as a table of positions has
BLOCK = 64  # queries whose scores are computed at a time: so few stay in the processor's cache


# --- distances -------------------------------------------------------------------------------------------------


def distances(
    n_tokens: int, n_keys: int, *, direction: Direction = "bi", clamp_len: int | None = None
) -> Tensor:
    """List the distances from queries to keys, the farthest past first: Tk, Tk − 1, …, 1 − T.

    The queries are the last T of the Tk places: query i stands at place Tk − T + i, and key j is Tk − T + i − j away
    from it, above 0 in its past (Dai et al. 2019, section 3.3). Column T − i + j of the list holds that distance.

    Args:
        n_tokens: T.
        n_keys: Tk, at least T.
        direction: "bi": past and future; "uni": the past and the token itself, down to distance 0.
        clamp_len: the farthest distance with an encoding of its own, both ways; None = there is none.

    Returns:
        Whole numbers, (R,): R = Tk + T, or Tk + 1 for "uni". The first of them, Tk, belongs to no pair; `shift`
        needs its column.

    Raises:
        ValueError: lengths that are not 1 ≤ T ≤ Tk, an unknown direction, or a clamp below 1.
    """
    check_sizes("distances", n_tokens=n_tokens, n_keys=n_keys)
    _check_direction("distances", direction)
    if n_keys < n_tokens:
        raise ValueError(f"distances: need T ≤ Tk, got T = {n_tokens}, Tk = {n_keys}")
    nearest = 1 - n_tokens if direction == "bi" else 0
    listed = torch.arange(n_keys, nearest - 1, -1)  # (R,)
    if clamp_len is not None:
        check_sizes("distances", clamp_len=clamp_len)
        listed = listed.clamp(-clamp_len, clamp_len)
    return listed


def encode_distances(listed: Tensor, d_model: int) -> Tensor:
    """Encode each distance by sines and cosines: R_δ = [sin δω₀ sin δω₁ … | cos δω₀ cos δω₁ …], ωᵢ = 10000^(−2i/D).

    The sinusoids of lesson 03, all sines first, of a distance in the place of a position (Dai et al. 2019,
    section 3.3).

    Args:
        listed: distances, (R,).
        d_model: D, even.

    Returns:
        (R, D), float32, whatever the model's dtype. The published programs compute the angles in single precision, and
        weights trained by them meet the very same numbers here.

    Raises:
        ValueError: `listed` is not (R,), or D is odd or below 2.
    """
    check_sizes("encode_distances", d_model=d_model)
    if not isinstance(listed, Tensor) or listed.dim() != 1 or d_model % 2:
        got = tuple(listed.shape) if isinstance(listed, Tensor) else type(listed).__name__
        raise ValueError(
            f"encode_distances: need distances (R,) and an even d_model, got {got} and {d_model}"
        )
    exponents = torch.arange(0, d_model, 2, device=listed.device).float() / d_model  # (D/2,): 2i/D
    angles = listed.float()[:, None] * (1 / torch.pow(10_000, exponents))  # (R, D/2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)  # (R, D)


def gather(by_distance: Tensor, places: Tensor, n_tokens: int, n_keys: int) -> Tensor:
    """Look the score of each pair up among those of the query with every distance: column T − i + j of row i.

    Of Tq · Tk pairs only R have distances of their own, so that each query is compared with R encodings, not with
    one for every key (Dai et al. 2019, appendix B).

    Args:
        by_distance: (B, H, Tq, R), the score of each query with each of `distances`.
        places: i, the place of each query among the T tokens, (B or 1, Tq).
        n_tokens: T.
        n_keys: Tk.

    Returns:
        (B, H, Tq, Tk). Of the direction "uni", there is no distance to a key of the future: what stands there is any
        number, and must be hidden.

    Raises:
        ValueError: shapes that do not fit, or a place outside.
    """
    n_queries = by_distance.size(2) if by_distance.dim() == 4 else None
    if places.shape not in ((len(by_distance), n_queries), (1, n_queries)):
        raise ValueError(
            "gather: need scores (B, H, Tq, R) and places (B or 1, Tq), got shapes "
            f"{tuple(by_distance.shape)} and {tuple(places.shape)}"
        )
    _check_whole("gather: places", places, 0, n_tokens - 1)
    columns = n_tokens - places[..., None] + torch.arange(n_keys, device=places.device)  # (B or 1, Tq, Tk)
    columns = columns.clamp(max=by_distance.size(-1) - 1)[:, None]  # (B or 1, 1, Tq, Tk)
    return by_distance.gather(-1, columns.expand(*by_distance.shape[:-1], n_keys))


def shift(by_distance: Tensor, n_keys: int) -> Tensor:
    """Do what `gather` does for all T places in order, and move no number (Dai et al. 2019, appendix B).

    Row i is wanted from its column T − i on: each row begins one column earlier than the row above. Leave out the
    first T of all numbers, and cut what is left into rows that are one number *shorter*: there they begin so.

    Args:
        by_distance: (B, H, T, R).
        n_keys: Tk, below R.

    Returns:
        (B, H, T, Tk), as `gather`.

    Raises:
        ValueError: scores that are not (B, H, T, R), or not more than Tk distances.
    """
    if by_distance.dim() != 4 or not 1 <= n_keys < by_distance.size(-1):
        raise ValueError(
            f"shift: need scores (B, H, T, R) with R above Tk ≥ 1, got shape {tuple(by_distance.shape)}, Tk = {n_keys}"
        )
    n_tokens, n_distances = by_distance.shape[-2:]
    shortened = by_distance.flatten(-2)[..., n_tokens:]  # (B, H, T · (R − 1))
    return shortened.unflatten(-1, (n_tokens, n_distances - 1))[..., :n_keys]  # (B, H, T, Tk)


# --- attention -------------------------------------------------------------------------------------------------


class Context(NamedTuple):
    """What the queries of a layer look at: computed once, for both streams.

    k, v: keys and values of memory and tokens, (B, H, Tk, Dh). r: keys of the distances, (B, H, R, Dh).
    segments: in which of S segments each key stands, boolean, (B, Tk, S), or None. n_tokens: T.
    """

    k: Tensor
    v: Tensor
    r: Tensor
    segments: Tensor | None
    n_tokens: int


class Asking(NamedTuple):
    """Where the queries of a stream stand, and what they may see: the same in every layer. Made by `ask`.

    mask: boolean, (B or 1, H or 1, Tq, Tk); None = all. bias: 0 where it is True, −∞ where not (in a row that sees
    nothing, 0). sees: (…, Tq, 1), which row sees anything. segments: boolean, (B, Tq, S), or None. places: (B, Tq);
    None = all T in order.
    """

    mask: Tensor | None
    bias: Tensor | None
    sees: Tensor | None
    segments: Tensor | None
    places: Tensor | None


def ask(
    mask: Tensor | None,
    *,
    segments: Tensor | None = None,
    places: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Asking:
    """Prepare once what all layers need to know of a stream; see `Asking`. `dtype` is that of the scores."""
    if mask is None:
        return Asking(None, None, None, segments, places)
    sees = mask.any(dim=-1, keepdim=True)  # (…, Tq, 1)
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask & sees, -math.inf)
    return Asking(mask, bias, sees, segments, places)


class RelativeAttention(nn.Module):
    """Attend by content, by distance and by segment, in `n_heads` subspaces at once.

    score(i, j) = [(qᵢ + u)·kⱼ + (qᵢ + v)·r(i − j) + (qᵢ + s)·e(i, j)] / √Dh

    The first two terms, ac and bd, are the four of Dai et al. 2019, section 3.3, (a) + (c) and (b) + (d): the query
    and a learned bias, against contents and against distances, which have keys of their own. The third, ef, is Yang
    et al. 2019, section 2.5: e is one learned vector where i and j stand in the same segment, another where they do
    not.

    Args:
        d_model: D.
        n_heads: H, a divisor of D.
        dropout: probability of dropping a weight in training.
        segments: learn the third term; Transformer-XL has none.

    Raises:
        ValueError: D is no positive multiple of H, or a dropout outside [0, 1).

    Differs from the paper: u and v belong to this layer alone, as in XLNet; the layers of Transformer-XL share them.
    """

    def __init__(self, *, d_model: int, n_heads: int, dropout: float = 0.0, segments: bool = True):
        super().__init__()
        _check_widths("RelativeAttention", d_model, n_heads, dropout)
        self.n_heads = n_heads
        self.dropout = dropout
        self.w_q = nn.Linear(d_model, d_model, bias=False)
        self.w_k = nn.Linear(d_model, d_model, bias=False)  # W_k,E of the paper
        self.w_v = nn.Linear(d_model, d_model, bias=False)
        self.w_r = nn.Linear(d_model, d_model, bias=False)  # W_k,R
        self.w_o = nn.Linear(d_model, d_model, bias=False)
        self.u = nn.Parameter(torch.zeros(n_heads, d_model // n_heads))
        self.v_bias = nn.Parameter(torch.zeros(n_heads, d_model // n_heads))
        if segments:
            self.s_bias = nn.Parameter(torch.zeros(n_heads, d_model // n_heads))
            # 0: for keys of the query's own segment, 1: of another
            self.seg_embed = nn.Parameter(torch.zeros(2, n_heads, d_model // n_heads))

    def look_at(
        self, content: Tensor, mem: Tensor | None, encoded: Tensor, segments: Tensor | None = None
    ) -> Context:
        """Compute keys and values, once for both streams.

        Args:
            content: what enters this layer, (B, T, D).
            mem: what entered it earlier, (B, M, D), or None.
            encoded: the distances, (1, R, D), or (2, R, D) where the halves of the batch have their own.
            segments: boolean, (B, Tk, S), or None.
        """
        everything = content if mem is None else torch.cat([mem, content], dim=1)  # (B, Tk, D)
        r = split_heads(self.w_r(encoded), self.n_heads)  # (1 or 2, H, R, Dh)
        return Context(
            k=split_heads(self.w_k(everything), self.n_heads),  # (B, H, Tk, Dh)
            v=split_heads(self.w_v(everything), self.n_heads),  # (B, H, Tk, Dh)
            r=r.repeat_interleave(len(content) // len(r), dim=0),  # (B, H, R, Dh)
            segments=segments,
            n_tokens=content.size(1),
        )

    def with_weights(self, stream: Tensor, context: Context, asking: Asking) -> tuple[Tensor, Tensor]:
        """Return what each query gathered and the weights of every head, by the definition form.

        Args:
            stream: (B, Tq, D), where the queries come from.
            context: from `look_at`.
            asking: from `ask`.

        Returns:
            (B, Tq, D) and (B, H, Tq, Tk). A query that may attend to nothing gathers zeros.
        """
        q = split_heads(self.w_q(stream), self.n_heads)  # (B, H, Tq, Dh)
        places = asking.places
        if places is None:
            places = torch.arange(context.n_tokens, device=q.device)[None]  # (1, T)
        ac = (q + self.u[:, None]) @ context.k.transpose(-2, -1)  # (B, H, Tq, Tk)
        by_distance = (q + self.v_bias[:, None]) @ context.r.transpose(-2, -1)  # (B, H, Tq, R)
        bd = gather(by_distance, places, context.n_tokens, context.k.size(2))  # (B, H, Tq, Tk)
        scores = ac + bd
        if context.segments is not None and asking.segments is not None:
            ef = torch.einsum("bhid,shd->bhis", q + self.s_bias[:, None], self.seg_embed)  # (B, H, Tq, 2)
            same = (asking.segments[:, :, None] & context.segments[:, None]).any(dim=-1)  # (B, Tq, Tk)
            scores = scores + torch.where(same[:, None], ef[..., :1], ef[..., 1:])
        weights = masked_softmax(scores / math.sqrt(q.size(-1)), asking.mask)  # (B, H, Tq, Tk)
        heads = F.dropout(weights, self.dropout, self.training) @ context.v  # (B, H, Tq, Dh)
        return self.w_o(merge_heads(heads)), weights  # (B, Tq, D)

    def forward(self, stream: Tensor, context: Context, asking: Asking) -> Tensor:
        """Return what each query gathered, (B, Tq, D), by the fast form. Arguments as in `with_weights`."""
        scale = 1 / math.sqrt(self.u.size(-1))
        q = split_heads(self.w_q(stream), self.n_heads) * scale  # (B, H, Tq, Dh)
        q_content, q_distance = q + self.u[:, None] * scale, q + self.v_bias[:, None] * scale
        k, v, r = context.k, context.v, context.r
        if context.segments is not None and asking.segments is not None:
            # Of a key, ef knows the segment alone. It is a dot product too, then: each segment's score beside the
            # query, and a one for its own segment beside the key. So it costs no further pass over all pairs.
            ef = (q + self.s_bias[:, None] * scale) @ self.seg_embed.permute(1, 2, 0)  # (B, H, Tq, 2)
            by_segment = torch.where(asking.segments[:, None], ef[..., :1], ef[..., 1:])  # (B, H, Tq, S)
            one_hot = context.segments[:, None].expand(-1, self.n_heads, -1, -1)  # (B, H, Tk, S)
            q_content = torch.cat([q_content, by_segment], dim=-1)  # (B, H, Tq, Dh + S)
            k = torch.cat([k, one_hot.to(k.dtype)], dim=-1)  # (B, H, Tk, Dh + S)
        if asking.places is None:
            heads = self._mix_in_order(q_content, q_distance, k, v, r, asking.bias)  # (B, H, T, Dh)
        else:
            bd = gather(q_distance @ r.transpose(-2, -1), asking.places, context.n_tokens, k.size(2))
            heads = self._mix(q_content @ k.transpose(-2, -1), bd, asking.bias, v)  # (B, H, N, Dh)
        if asking.sees is not None:
            heads = heads.masked_fill(~asking.sees, 0.0)
        return self.w_o(merge_heads(heads))  # (B, Tq, D)

    def _mix_in_order(
        self, q_content: Tensor, q_distance: Tensor, k: Tensor, v: Tensor, r: Tensor, bias: Tensor | None
    ) -> Tensor:
        """Mix the values for all T places, a block of queries at a time.

        A block is a smaller case of the same: fewer distances concern it, and, where they end with its last token
        ("uni"), fewer keys.
        """
        n_tokens, n_keys = q_content.size(2), k.size(2)
        bias = None if bias is None else bias.expand(-1, -1, n_tokens, -1)
        heads, start = [], 0
        for by_content, by_distance in zip(
            q_content.split(BLOCK, dim=2), q_distance.split(BLOCK, dim=2), strict=True
        ):
            end = start + by_content.size(2)
            near = r[:, :, n_tokens - end : n_tokens - start + n_keys]  # (B, H, R′, Dh)
            reach = min(n_keys, near.size(2) - 1)  # Tk′
            ac = by_content @ k[:, :, :reach].transpose(-2, -1)  # (B, H, Tq′, Tk′)
            bd = shift(by_distance @ near.transpose(-2, -1), reach)  # (B, H, Tq′, Tk′)
            rows = None if bias is None else bias[:, :, start:end, :reach]
            heads.append(self._mix(ac, bd, rows, v[:, :, :reach]))
            start = end
        return torch.cat(heads, dim=2)  # (B, H, T, Dh)

    def _mix(self, ac: Tensor, bd: Tensor, bias: Tensor | None, v: Tensor) -> Tensor:
        """Return softmax(ac + bd + bias) v. The sum is taken in place: what is as large as all pairs is what costs."""
        ac += bd
        if bias is not None:
            ac += bias
        return F.dropout(ac.softmax(dim=-1), self.dropout, self.training) @ v


class RelativeBlock(nn.Module):
    """Look at the context, then think: relative attention and a feed-forward network, each with x ← norm(x + ·).

    Dai et al. 2019, section 3.3, the equations at its end; Yang et al. 2019, appendix A.2. Both streams go through the
    same block: they differ in where their queries come from and in what they may see, not in a single weight.

    Args:
        d_model, n_heads, segments: as in `RelativeAttention`.
        d_ff, activation: as in `FeedForward`.
        dropout: probability of dropping an attention weight, or a number of a sub-layer's output, in training.
        eps: as in `layer_norm`.

    Raises:
        ValueError: as in the parts.

    Differs from the authors' programs: nothing is dropped inside the feed-forward network.
    """

    def __init__(
        self,
        *,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        activation: Activation = "gelu",
        eps: float = 1e-12,
        segments: bool = True,
    ):
        super().__init__()
        self.attention = RelativeAttention(
            d_model=d_model, n_heads=n_heads, dropout=dropout, segments=segments
        )
        self.attention_norm = LayerNorm(d_model, eps=eps)
        self.feed_forward = FeedForward(d_model=d_model, d_ff=d_ff, activation=activation)
        self.feed_forward_norm = LayerNorm(d_model, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, stream: Tensor, context: Context, asking: Asking) -> Tensor:
        """Return a stream, (B, Tq, D), after the block; arguments as in `RelativeAttention.with_weights`."""
        x = self.attention_norm(stream + self.dropout(self.attention(stream, context, asking)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


def remember(
    mem: Tensor | None, content: Tensor, *, mem_len: int | None = None, reuse_len: int | None = None
) -> Tensor:
    """Add what enters a layer to the memory of that layer, and forget what is too old: SG([m ∘ h]).

    Dai et al. 2019, section 3.2. SG, stop-gradient: whoever reads the memory cannot change how it was made.

    Args:
        mem: (B, M, D); None = there is none yet.
        content: what enters the layer, (B, T, D).
        mem_len: places that are kept, the last ones; None = all.
        reuse_len: places of this segment that are remembered, from its first on; None = all (XLNet's program).

    Returns:
        The new memory, (B, M′, D), without gradient.
    """
    remembered = content[:, :reuse_len]
    if mem is not None:
        remembered = torch.cat([mem, remembered], dim=1)
    oldest = 0 if mem_len is None else max(0, remembered.size(1) - mem_len)
    return remembered[:, oldest:].detach()


# --- Transformer-XL --------------------------------------------------------------------------------------------


def _check_config(config: TransformerXLConfig | XLNetConfig) -> None:
    who = type(config).__name__
    check_sizes(
        who,
        vocab_size=config.vocab_size,
        n_layers=config.n_layers,
        d_ff=1 if config.d_ff is None else config.d_ff,
        clamp_len=1 if config.clamp_len is None else config.clamp_len,
    )
    check_activation(who, config.activation)
    _check_widths(who, config.d_model, config.n_heads, config.dropout)
    if config.d_model % 2:
        raise ValueError(f"{who}: d_model must be even, for sines and cosines, got {config.d_model}")
    if config.mem_len is not None and not (isinstance(config.mem_len, SupportsIndex) and config.mem_len >= 0):
        raise ValueError(f"{who}: mem_len must be None or a whole number, at least 0, got {config.mem_len!r}")
    if not (isinstance(config.eps, SupportsFloat) and 0.0 < config.eps < math.inf):
        raise ValueError(f"{who}: eps must be above 0, got {config.eps!r}")


def _check_widths(who: str, d_model: int, n_heads: int, dropout: float) -> None:
    check_sizes(who, d_model=d_model, n_heads=n_heads)
    if d_model % n_heads:
        raise ValueError(
            f"{who}: d_model must be a multiple of n_heads, got d_model = {d_model}, n_heads = {n_heads}"
        )
    if not (isinstance(dropout, SupportsFloat) and 0.0 <= dropout < 1.0):
        raise ValueError(f"{who}: dropout must lie in [0, 1), got {dropout!r}")


def _check_direction(who: str, direction: str) -> None:
    if direction not in ("bi", "uni"):
        raise ValueError(f"{who}: direction must be 'bi' or 'uni', got {direction!r}")


@dataclass(frozen=True, kw_only=True)
class TransformerXLConfig:
    """Sizes and choices of a `TransformerXL`; the defaults are those of the standard model of the paper's table 1.

    Args:
        vocab_size: V.
        d_model, n_heads, d_ff, activation, eps: as in `RelativeBlock`; d_ff None = 4 · D.
        n_layers: blocks.
        dropout: probability of dropping an attention weight, a number of an embedding, or one of what a sub-layer or
            the last block found, in training.
        mem_len: places of the past that each layer remembers; None = all, 0 = none.
        clamp_len: as in `distances`.
        same_length: each token sees equally many others, the M places before it.

    Raises:
        ValueError: sizes out of range or that do not go together.
    """

    vocab_size: int
    d_model: int = 410
    n_heads: int = 10
    n_layers: int = 16
    d_ff: int | None = 2100
    dropout: float = 0.1
    activation: Activation = "relu"
    mem_len: int | None = 150
    clamp_len: int | None = None
    same_length: bool = False
    eps: float = 1e-5

    def __post_init__(self) -> None:
        _check_config(self)


class TransformerXL(nn.Module):
    """Read a text segment by segment, remember, and score the next token at every place (Dai et al. 2019).

    Layer n looks at what enters it now *and* at what entered it in earlier segments: hₙ = block(q from hₙ₋₁; k, v from
    [SG(mₙ₋₁) ∘ hₙ₋₁]). What was remembered had looked at memory itself, so that L layers reach back L · M places.
    Positions must be distances for that: "third word" would mean two words, one of now and one of then.

    It is the one-stream causal case of XLNet, without segments of pairs.

    Args:
        config: sizes and choices.

    Differs from the paper: u and v belong to each layer (there, all share one pair); the embeddings are one table,
    unscaled, and the output's table as well (there, adaptive softmax, embeddings times √D).
    """

    def __init__(self, config: TransformerXLConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = _make_blocks(config, segments=False)
        self.output_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.dropout = nn.Dropout(config.dropout)
        self.apply(_initialise)

    def forward(self, tokens: Tensor, mems: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Score the next token at every place of a segment.

        Args:
            tokens: ids, (B, T). Row b goes on where row b of the segment before ended.
            mems: what the call before returned, (B, M, D) for each layer; None = the texts begin here.

        Returns:
            Logits, (B, T, V), and the new memory, a tensor (B, M′, D) for each layer.

        Raises:
            ValueError: `tokens` is not (B, T) of ids of the vocabulary, or is empty; a memory that does not fit.
        """
        config = self.config
        check_tokens("TransformerXL: tokens", tokens, config.vocab_size, NO_LIMIT)
        n_tokens = tokens.size(1)
        n_memory = _check_mems("TransformerXL", mems, config.n_layers, len(tokens), config.d_model)
        x = self.dropout(self.embedding(tokens))  # (B, T, D)
        listed = distances(n_tokens, n_memory + n_tokens, direction="uni", clamp_len=config.clamp_len)
        encoded = encode_distances(listed.to(x.device), config.d_model)  # (R, D)
        encoded = self.dropout(encoded.to(x.dtype))[None]  # (1, R, D)
        past = _past(n_tokens, n_memory, config.same_length).to(x.device)  # (T, Tk)
        asking = ask(past[None, None], dtype=x.dtype)
        new_mems = []
        for n, block in enumerate(self.blocks):
            mem = None if mems is None else mems[n]
            new_mems.append(remember(mem, x, mem_len=config.mem_len))
            x = block(x, block.attention.look_at(x, mem, encoded), asking)
        return F.linear(self.dropout(x), self.embedding.weight, self.output_bias), new_mems  # (B, T, V)


# --- XLNet -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class XLNetConfig:
    """Sizes and choices of an `XLNet`; the defaults are those of XLNet-base.

    Args:
        vocab_size, d_model, n_heads, n_layers, d_ff, dropout, activation, mem_len, clamp_len, same_length, eps: as in
            `TransformerXLConfig`. The authors' program has the activation "gelu_tanh", Hugging Face "gelu".
        direction: "bi": a token may see both sides, as far as masks let it; "uni": the past alone.
        reuse_len: places of a segment that are remembered, from its first on; None = all.
        bi_data: the second half of each batch holds texts that run backwards: its distances change their sign.

    Raises:
        ValueError: sizes out of range or that do not go together.
    """

    vocab_size: int
    d_model: int = 768
    n_heads: int = 12
    n_layers: int = 12
    d_ff: int | None = None
    dropout: float = 0.1
    activation: Activation = "gelu"
    direction: Direction = "bi"
    mem_len: int | None = None
    reuse_len: int | None = None
    clamp_len: int | None = None
    same_length: bool = False
    bi_data: bool = False
    eps: float = 1e-12

    def __post_init__(self) -> None:
        _check_config(self)
        _check_direction("XLNetConfig", self.direction)
        if self.reuse_len is not None:
            check_sizes("XLNetConfig", reuse_len=self.reuse_len)
        if self.same_length and self.direction == "bi":
            raise ValueError("XLNetConfig: same_length = True needs direction = 'uni', got 'bi'")


# Yang et al. 2019, appendix A.4.
XLNET_BASE = XLNetConfig(vocab_size=32_000)  # 117 million
XLNET_LARGE = XLNetConfig(vocab_size=32_000, d_model=1024, n_heads=16, n_layers=24)  # 360 million


class XLNet(nn.Module):
    """Read in two streams, of which the second knows the place it stands for but not the token.

    content: h⁽⁰⁾ = e(x), then h_z(t) ← block(Q = h_z(t), KV = h_z(≤t))
    query:   g⁽⁰⁾ = w,    then g_z(t) ← block(Q = g_z(t), KV = h_z(<t))

    for an order z of the places (Yang et al. 2019, section 2.3). The order stands in the two masks and nowhere else:
    tokens and distances stay as they are. Keys and values are h's: both streams look at the same, through the same
    weights.

    g is computed only where something is to be predicted, and not at all after pre-training.

    Args:
        config: sizes and choices.
    """

    def __init__(self, config: XLNetConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.query_start = nn.Parameter(0.02 * torch.randn(config.d_model))  # w: the same at every place
        self.blocks = _make_blocks(config, segments=True)
        self.dropout = nn.Dropout(config.dropout)
        self.apply(_initialise)

    def forward(
        self,
        tokens: Tensor,
        *,
        mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        targets: Tensor | None = None,
        segments: Tensor | None = None,
        mems: list[Tensor] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the query stream where there is one, else the content stream; and the new memory.

        Args:
            tokens: ids, (B, T).
            mask: for the content stream, boolean, broadcastable to (B, H, T, T); None = all is visible. A token sees
                itself, whatever the mask says.
            query_mask: for the query stream, boolean, broadcastable to (B, H, N, T): a row for each target. None =
                what `mask` allows, without the target itself.
            targets: the places that are predicted, (B, N). None: with a query mask, all T in order; without one,
                nothing is predicted and there is no query stream.
            segments: numbers of the segments, (B, T), at least 0; the memory belongs to segment 0. None = they play
                no part.
            mems: what an earlier call returned, (B, M, D) for each layer; None = the texts begin here.

        Returns:
            The query stream, (B, N, D), or the content stream, (B, T, D); and the memory: what entered each layer of
            the content stream, a tensor (B, M′, D) for each.

        Raises:
            ValueError: ids, places or segments out of range, masks or a memory that do not fit, or an odd batch
                where the config says `bi_data`.
        """
        config = self.config
        n_memory = self._check_inputs(tokens, mask, query_mask, targets, segments, mems)
        n_batch, n_tokens = tokens.shape
        h = self.dropout(self.embedding(tokens))  # (B, T, D)
        encoded = self._encode(h, n_memory)  # (1 or 2, R, D)
        of_keys = of_tokens = None
        if segments is not None:
            of_keys = _one_hot_segments(segments, n_memory)  # (B, Tk, S)
            of_tokens = of_keys[:, n_memory:]  # (B, T, S)

        every_place = torch.arange(n_tokens, device=h.device)[None]  # (1, T)
        itself = torch.eye(n_tokens, dtype=torch.bool, device=h.device)  # (T, T)
        content_mask = self._visible(None if mask is None else mask | itself, every_place, n_memory)
        content_asks = query_asks = ask(content_mask, segments=of_tokens, dtype=h.dtype)
        g = None
        if targets is not None or query_mask is not None:
            places = every_place if targets is None else targets.long()  # (B or 1, N)
            if query_mask is None:
                query_mask = _rows(~itself if mask is None else mask & ~itself, places)
            visible = self._visible(query_mask, places, n_memory)
            if targets is not None and of_tokens is not None:
                index = places[..., None].expand(-1, -1, of_tokens.size(2))  # (B, N, S)
                of_tokens = of_tokens.gather(1, index)  # (B, N, S)
            query_asks = ask(
                visible, segments=of_tokens, places=None if targets is None else places, dtype=h.dtype
            )
            g = self.dropout(self.query_start.expand(n_batch, places.size(1), -1))  # (B, N, D)

        new_mems = []
        for n, block in enumerate(self.blocks):
            mem = None if mems is None else mems[n]
            new_mems.append(remember(mem, h, mem_len=config.mem_len, reuse_len=config.reuse_len))
            context = block.attention.look_at(h, mem, encoded, of_keys)
            if g is not None:
                g = block(g, context, query_asks)
            if g is None or n + 1 < config.n_layers:  # after g's last look, nobody looks at h
                h = block(h, context, content_asks)
        return self.dropout(h if g is None else g), new_mems

    def _encode(self, h: Tensor, n_memory: int) -> Tensor:
        """Encode the distances, (1, R, D); or, for a batch that is read both ways, (2, R, D)."""
        config, n_tokens = self.config, h.size(1)
        listed = distances(
            n_tokens, n_memory + n_tokens, direction=config.direction, clamp_len=config.clamp_len
        ).to(h.device)
        ways = [listed, -listed] if config.bi_data else [listed]
        encoded = torch.stack([encode_distances(way, config.d_model) for way in ways])
        return self.dropout(encoded.to(h.dtype))

    def _visible(self, mask: Tensor | None, places: Tensor, n_memory: int) -> Tensor | None:
        """Set the memory, always visible, before a mask; hide the future where the direction is "uni".

        Returns (B or 1, H or 1, Tq, Tk), or None where all is visible. `places` are those of the rows, (B or 1, Tq).
        """
        past = None
        if self.config.direction == "uni":
            n_tokens = places.size(1) if mask is None else mask.size(-1)
            whole = _past(n_tokens, n_memory, self.config.same_length).to(places.device)  # (T, Tk)
            past = whole[places][:, None]  # (B or 1, 1, Tq, Tk)
        if mask is None:
            return past
        mask = F.pad(mask, (n_memory, 0), value=True)
        mask = mask[(None,) * (4 - mask.dim())].expand(-1, -1, places.size(1), -1)  # (B or 1, H or 1, Tq, Tk)
        return mask if past is None else mask & past

    def _check_inputs(
        self,
        tokens: Tensor,
        mask: Tensor | None,
        query_mask: Tensor | None,
        targets: Tensor | None,
        segments: Tensor | None,
        mems: list[Tensor] | None,
    ) -> int:
        """Refuse what does not fit; return M."""
        config = self.config
        check_tokens("XLNet: tokens", tokens, config.vocab_size, NO_LIMIT)
        n_batch, n_tokens = tokens.shape
        if config.bi_data and n_batch % 2:
            raise ValueError(f"XLNet: bi_data needs an even number of sequences, got B = {n_batch}")
        n_targets = n_tokens
        if targets is not None:
            _check_whole("XLNet: targets", targets, 0, n_tokens - 1)
            if targets.dim() != 2 or len(targets) != n_batch:
                raise ValueError(
                    f"XLNet: targets must be (B, N) with B = {n_batch}, got shape {tuple(targets.shape)}"
                )
            n_targets = targets.size(1)
        if segments is not None:
            _check_whole("XLNet: segments", segments, 0, NO_LIMIT)
            if segments.shape != tokens.shape:
                raise ValueError(
                    f"XLNet: segments must be (B, T) = {tuple(tokens.shape)}, got shape {tuple(segments.shape)}"
                )
        _check_mask("XLNet: mask", mask, (n_batch, config.n_heads, n_tokens, n_tokens))
        _check_mask("XLNet: query_mask", query_mask, (n_batch, config.n_heads, n_targets, n_tokens))
        return _check_mems("XLNet", mems, config.n_layers, n_batch, config.d_model)


class XLNetLM(nn.Module):
    """Predict tokens in any order: p(x at z(t) | x at z(<t)) = softmax(e(x)·g_z(t) + b).

    Yang et al. 2019, equation 4. The table of embeddings is the output's as well.

    Args:
        config: sizes and choices.

    Differs from the paper: b, a number for each token, as in the authors' program.
    """

    def __init__(self, config: XLNetConfig):
        super().__init__()
        self.xlnet = XLNet(config)
        self.output_bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(
        self,
        tokens: Tensor,
        *,
        mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        targets: Tensor | None = None,
        segments: Tensor | None = None,
        mems: list[Tensor] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Return logits and the new memory. Arguments and errors as in `XLNet.forward`.

        Returns:
            Logits at the targets, (B, N, V), from the query stream; without targets, at every place, (B, T, V), from
            the content stream, which has seen what it would have to predict. And the memory.
        """
        x, new_mems = self.xlnet(
            tokens, mask=mask, query_mask=query_mask, targets=targets, segments=segments, mems=mems
        )
        return F.linear(x, self.xlnet.embedding.weight, self.output_bias), new_mems


class XLNetClassifier(nn.Module):
    """Sort texts into classes by the content stream at their last place, where XLNet has its [CLS].

    logits = W tanh(W′ h_T + b′) + b. Texts must end together: padding stands at their left, hidden by the mask.

    Args:
        config: sizes and choices.
        n_classes: how many classes.

    Raises:
        ValueError: no class.
    """

    def __init__(self, config: XLNetConfig, *, n_classes: int):
        super().__init__()
        check_sizes("XLNetClassifier", n_classes=n_classes)
        self.xlnet = XLNet(config)
        self.summary = nn.Linear(config.d_model, config.d_model)  # W′, b′
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.d_model, n_classes)  # W, b
        self.summary.apply(_initialise)
        self.head.apply(_initialise)

    def forward(
        self, tokens: Tensor, *, mask: Tensor | None = None, segments: Tensor | None = None
    ) -> Tensor:
        """Return the logits of the classes, (B, n_classes). Arguments and errors as in `XLNet.forward`."""
        h, _ = self.xlnet(tokens, mask=mask, segments=segments)  # (B, T, D)
        return self.head(self.dropout(self.summary(h[:, -1]).tanh()))  # (B, n_classes)


class XLNetForQuestionAnswering(nn.Module):
    """Point at the first and at the last token of the answer in a text: start = S·hᵢ + b, end = E·hᵢ + c.

    Args:
        config: sizes and choices.

    Differs from the paper's program, in which the end is scored with the start already known.
    """

    def __init__(self, config: XLNetConfig):
        super().__init__()
        self.xlnet = XLNet(config)
        self.head = nn.Linear(config.d_model, 2)  # rows S and E
        self.head.apply(_initialise)

    def forward(
        self, tokens: Tensor, *, mask: Tensor | None = None, segments: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of the start and of the end, (B, T) each. Arguments and errors as in `XLNet.forward`."""
        h, _ = self.xlnet(tokens, mask=mask, segments=segments)  # (B, T, D)
        start, end = self.head(h).unbind(-1)  # (B, T, 2) → (B, T) each
        return start, end


# --- what both models share ------------------------------------------------------------------------------------


def _make_blocks(config: TransformerXLConfig | XLNetConfig, *, segments: bool) -> Sequence[RelativeBlock]:
    blocks = nn.ModuleList(
        RelativeBlock(
            d_model=config.d_model,
            n_heads=config.n_heads,
            d_ff=4 * config.d_model if config.d_ff is None else config.d_ff,
            dropout=config.dropout,
            activation=config.activation,
            eps=config.eps,
            segments=segments,
        )
        for _ in range(config.n_layers)
    )
    return cast(Sequence[RelativeBlock], blocks)  # the type of a ModuleList says nothing of what is in it


def _initialise(module: nn.Module) -> None:
    """Draw every weight from N(0, 0.02), also u, v, s and e, and begin without other biases (the authors' programs)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, RelativeAttention):
        for weight in module.parameters(recurse=False):
            nn.init.normal_(weight, std=0.02)


def _past(n_tokens: int, n_memory: int, same_length: bool) -> Tensor:
    """Return whom a causal model sees, (T, Tk): memory and past, or only the M places before each token and itself."""
    past = causal_mask(n_tokens, n_memory + n_tokens)
    return past.triu() if same_length else past


def _one_hot_segments(segments: Tensor, n_memory: int) -> Tensor:
    """Say in which of S segments each key stands, boolean, (B, Tk, S); the memory stands in segment 0."""
    numbers = F.pad(segments.long(), (n_memory, 0), value=0)  # (B, Tk)
    _, numbers = numbers.unique(return_inverse=True)  # from 0 to S − 1, without gaps
    return F.one_hot(numbers).bool()


def _rows(mask: Tensor, places: Tensor) -> Tensor:
    """Pick a mask's rows at these places: (B or 1, H or 1, T, T), or fewer dimensions, and (B or 1, N) → (…, N, T)."""
    mask = mask[(None,) * (4 - mask.dim())]
    index = places[:, None, :, None]  # (B or 1, 1, N, 1)
    n_batch = max(len(mask), len(places))
    index = index.expand(n_batch, mask.size(1), -1, mask.size(3))
    return mask.expand(n_batch, -1, -1, -1).gather(2, index)  # (B or 1, H or 1, N, T)


def _check_mems(who: str, mems: list[Tensor] | None, n_layers: int, n_batch: int, d_model: int) -> int:
    """Refuse a memory that does not fit; return M."""
    if mems is None:
        return 0
    if not isinstance(mems, list | tuple) or len(mems) != n_layers:
        got = f"{len(mems)} of them" if isinstance(mems, list | tuple) else f"a {type(mems).__name__}"
        raise ValueError(f"{who}: mems must be a list with a tensor for each of {n_layers} layers, got {got}")
    for mem in mems:
        if not isinstance(mem, Tensor) or not mem.is_floating_point():
            got = f"dtype {mem.dtype}" if isinstance(mem, Tensor) else f"a {type(mem).__name__}"
            raise ValueError(f"{who}: mems must hold floating point numbers, got {got}")
    shapes = {tuple(mem.shape) for mem in mems}
    if len(shapes) > 1 or mems[0].dim() != 3 or mems[0].shape[::2] != (n_batch, d_model):
        raise ValueError(
            f"{who}: mems must be (B, M, D) with B = {n_batch}, D = {d_model} and one M in all layers, got shapes "
            f"{[tuple(mem.shape) for mem in mems]}"
        )
    return mems[0].size(1)


def _check_mask(name: str, mask: Tensor | None, shape: tuple[int, ...]) -> None:
    if mask is None:
        return
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = f"dtype {mask.dtype}" if isinstance(mask, Tensor) else f"a {type(mask).__name__}"
        raise ValueError(f"{name} must be boolean with True = may attend, got {got}")
    try:
        fits = torch.broadcast_shapes(mask.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits or mask.size(-1) != shape[-1]:
        raise ValueError(
            f"{name} must be broadcastable to {shape}, with all {shape[-1]} keys, got {tuple(mask.shape)}"
        )


def _check_whole(name: str, given: Tensor, least: int, most: int) -> None:
    if not isinstance(given, Tensor) or given.dtype not in (torch.int32, torch.int64):
        got = f"dtype {given.dtype}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise ValueError(f"{name} must be whole numbers, int64 or int32, got {got}")
    if not given.numel():
        raise ValueError(f"{name} must not be empty, got shape {tuple(given.shape)}")
    smallest, largest = (int(bound) for bound in given.aminmax())
    if smallest < least or largest > most:
        wrong = smallest if smallest < least else largest
        limit = f"at least {least}" if most == NO_LIMIT else f"between {least} and {most}"
        raise ValueError(f"{name} must be {limit}, got {wrong}")
