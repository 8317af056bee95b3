"""Exercise 05.combine: the three masks of a Transformer.

B batch · H heads · Ts tokens of the source · Tt tokens of the target · Tq queries · Tk keys
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.masks.shared import (
    FLIPPED,
    boolean,
    changes_an_input,
    keys_of,
    last_queries,
    not_a_boolean_mask,
)
from course_lib.checks.probe import a_function, kind_of, yes
from course_lib.checks.shared import agrees, left_to_chance, unlike

COMBINE_STUB = '''
def three_masks(src, tgt, pad_id):
    """Make the masks of a Transformer's three attentions. True = may attend.

    The encoder's self-attention: every token of src may look at every real token of src.
    The decoder's self-attention: a token of tgt may look at itself and at earlier tokens of tgt, not
    at padding. Cross-attention: every token of tgt may look at every real token of src.

    Args:
        src: ids that the encoder reads, (B, Ts), rows filled up at the end with pad_id.
        tgt: ids that the decoder reads, (B, Tt), rows filled up likewise.
        pad_id: the id of the padding, an int; it need not be 0.

    Returns:
        encoder, decoder, cross: boolean masks that broadcast to (B, H, Ts, Ts), (B, H, Tt, Tt) and
        (B, H, Tt, Ts), whatever the number of heads H. Padding hides keys, never queries: the row of a
        padded token is made as if it were a real one. The inputs stay as they were.
    """
'''


_HEADS = 3
_NAMES = ("encoder", "decoder", "cross")
_UNLIKE, _OTHER, _FULL = (
    "masks of unlike sizes",
    "masks with another id of the padding",
    "masks without any padding",
)
_SAME = "masks with the same padding of id 0"


def _three(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor) or not isinstance(result, (tuple, list)):
        what = "one tensor" if isinstance(result, Tensor) else kind_of(result)
        if result is None:
            what = "nothing"
        raise WrongReturn(
            "not three masks",
            f"You return {what}; the exercise asks for three masks.",
            "End with `return encoder, decoder, cross`.",
        )
    if len(result) != 3:
        raise WrongReturn(
            "not three masks",
            f"You return {len(result)} results; the exercise asks for three masks.",
            "End with `return encoder, decoder, cross`.",
        )
    for name, mask in zip(_NAMES, result, strict=True):
        if not isinstance(mask, Tensor):
            raise WrongReturn(
                f"{kind_of(mask)} in place of a mask",
                f"Your {name} mask is {kind_of(mask)}, not a tensor.",
                "Each of the three is a boolean tensor: True = may attend.",
            )
    return list(result)


def _masks_of(candidate: Any, src: list[list[int]], tgt: list[list[int]], pad_id: int) -> Seen:
    """See the three masks as attention with three heads would: broadcast to (B, H, Tq, Tk)."""
    given = torch.tensor(src), torch.tensor(tgt)
    masks = _three(a_function(candidate)(*given, pad_id))
    (n_batch, ts), tt = (len(src), len(src[0])), len(tgt[0])
    changed = given[0].tolist() != src or given[1].tolist() != tgt
    seen: Seen = {}
    for name, mask, (n_queries, n_keys) in zip(_NAMES, masks, ((ts, ts), (tt, tt), (tt, ts)), strict=True):
        wanted = (n_batch, _HEADS, n_queries, n_keys)
        try:
            seen[f"{name} mask"] = mask.expand(wanted)
        except RuntimeError:
            raise WrongReturn(
                f"the {name} mask does not broadcast",
                f"Your {name} mask, {_sizes(mask)}, does not broadcast to {wanted}.",
                f"(B, H, Tq, Tk) = {wanted}: {n_batch} sentences, {_HEADS} heads, {ts} tokens in src, {tt} in tgt. "
                "Sizes are matched from the right; a size of 1 is repeated. Which axis stands where?",
            ) from None
    return seen | {
        "masks are boolean": torch.stack([boolean(mask) for mask in masks]),
        "input changed": yes(changed),
    }


def _sizes(mask: Tensor) -> str:
    """The shape of a mask in words, of few letters also where it has many axes."""
    return str(tuple(mask.shape)) if mask.dim() <= 5 else f"of {mask.dim()} axes"


_SRC, _TGT = [[4, 5, 6, 7, 8], [5, 4, 9, 0, 0]], [[3, 6, 7, 0], [3, 5, 0, 0]]


def _masks_of_unlike_sizes(candidate: Any) -> Seen:
    seen = _masks_of(candidate, _SRC, _TGT, 0)
    again = _masks_of(candidate, _SRC, _TGT, 0)
    return seen | {
        "second call differs": torch.stack([yes(unlike(seen[name], again[name])) for name in seen]).amax()
    }


def _masks_of_a_longer_target(candidate: Any) -> Seen:
    return _masks_of(candidate, [[4, 5, 0, 0], [5, 4, 9, 7]], [[3, 6, 7, 0, 0, 0], [3, 5, 8, 4, 9, 0]], 0)


def _masks_with_another_id_of_the_padding(candidate: Any) -> Seen:
    return _masks_of(candidate, [[0, 5, 9, 6, 2], [6, 0, 2, 2, 2]], [[0, 7, 4], [5, 2, 2]], 2)


def _masks_with_the_same_padding_of_id_0(candidate: Any) -> Seen:
    """The same batch once more, in which padding has the id 0: what differs comes from the id."""
    return _masks_of(candidate, [[2, 5, 9, 6, 0], [6, 2, 0, 0, 0]], [[2, 7, 4], [5, 0, 0]], 0)


def _masks_with_as_many_sentences_as_tokens(candidate: Any) -> Seen:
    """B = Ts = Tt: here a mask (B, T) broadcasts without a word, over the queries."""
    src = [[4, 5, 6, 0], [5, 0, 0, 0], [7, 8, 0, 0], [4, 6, 9, 5]]
    tgt = [[3, 0, 0, 0], [3, 6, 7, 0], [3, 5, 4, 8], [3, 4, 0, 0]]
    return _masks_of(candidate, src, tgt, 0)


def _masks_with_as_many_sentences_as_heads(candidate: Any) -> Seen:
    """B = H: here a mask (B, Tq, Tk) broadcasts without a word, over the heads."""
    src = [[4, 5, 6, 0, 0], [5, 0, 0, 0, 0], [7, 8, 4, 6, 9]]
    tgt = [[3, 0, 0, 0], [3, 6, 7, 0], [3, 5, 4, 8]]
    return _masks_of(candidate, src, tgt, 0)


def _masks_of_one_pair(candidate: Any) -> Seen:
    return _masks_of(candidate, [[4, 5, 0]], [[3, 6, 7, 5, 0]], 0)


def _masks_of_single_words(candidate: Any) -> Seen:
    return _masks_of(candidate, [[4], [5]], [[3], [3]], 0)


def _masks_without_any_padding(candidate: Any) -> Seen:
    return _masks_of(candidate, [[4, 5, 6], [7, 8, 9]], [[3, 6, 7, 5], [3, 8, 4, 9]], 0)


def _causal(tgt: Tensor) -> Tensor:
    return last_queries(tgt.size(1), tgt.size(1))


def _everything(src: Tensor, tgt: Tensor, pad_id: int) -> Tensor:
    return torch.ones(1, 1, 1, 1, dtype=torch.bool)


def _encoder(src: Tensor, tgt: Tensor, pad_id: int) -> Tensor:
    return keys_of(src, pad_id)


def _decoder(src: Tensor, tgt: Tensor, pad_id: int) -> Tensor:
    return keys_of(tgt, pad_id) & _causal(tgt)


def _masks(encoder: Any = _encoder, decoder: Any = _decoder, cross: Any = _encoder) -> Callable:
    """The three masks with some of them exchanged."""

    def make(src: Tensor, tgt: Tensor, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
        return encoder(src, tgt, pad_id), decoder(src, tgt, pad_id), cross(src, tgt, pad_id)

    return make


def _then(change: Callable[..., Any]) -> Callable:
    """The right three masks, and then `change` of each."""
    return lambda src, tgt, pad_id: tuple(change(mask) for mask in _masks()(src, tgt, pad_id))


def _rows_of(tokens: Tensor, pad_id: int) -> Tensor:
    return (tokens != pad_id)[:, None, :, None]


def _common_length(wanted: int, mask: Tensor) -> Tensor:
    """A mask over the other side's tokens, cut or filled up with False: what a cropped mask does."""
    missing = max(0, wanted - mask.size(-1))
    return torch.nn.functional.pad(mask[..., :wanted], (0, missing))


def _zero_is_padding(change: Callable | None = None) -> Callable:
    return lambda src, tgt, pad_id: _masks()(src, tgt, 0)


def _overwrites(src: Tensor, tgt: Tensor, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    masks = _masks()(src, tgt, pad_id)
    src[src == pad_id] = -7
    return masks


_ENCODER = "encoder = (src != pad_id)[:, None, None, :]"
_DECODER = "decoder = (tgt != pad_id)[:, None, None, :] & causal"
_CROSS = "cross = encoder: the source's padding, (B, 1, 1, Ts)"

_OR = "Both must allow a key: which operator gives True only there? `|`, `+`, and a sum followed by > 0, are *or*."


_COMBINE_MISTAKES = (
    Mistake(
        "or in the decoder",
        _masks(decoder=lambda s, t, p: keys_of(t, p) | _causal(t)),
        "Decoder: a key is allowed if it is a word *or* not in the future; both must hold.",
        _OR,
        _DECODER,
    ),
    Mistake(
        "added up in the decoder",
        _masks(decoder=lambda s, t, p: keys_of(t, p).int() + _causal(t).int()),
        "Decoder: the two masks are added up, to 0, 1 and 2; both must hold.",
        _OR,
        _DECODER,
    ),
    Mistake(
        "either or in the decoder",
        _masks(decoder=lambda s, t, p: keys_of(t, p) ^ _causal(t)),
        "Decoder: a key is allowed where exactly one of the two masks allows it.",
        "`^` and `!=` are *either or*. Both must allow a key.",
        _DECODER,
    ),
    Mistake(
        "the decoder is not causal",
        _masks(decoder=lambda s, t, p: keys_of(t, p)),
        "The decoder's self-attention sees the future: its causal mask is missing.",
        "In training the target stands there as a whole. What would the decoder learn, if it may read the next word?",
        _DECODER,
    ),
    Mistake(
        "the decoder sees padding",
        _masks(decoder=lambda s, t, p: _causal(t)[None, None]),
        "The decoder's self-attention may look at padding: only the future is hidden.",
        "A padded row sees the padding before it. The exercise asks for both masks.",
        _DECODER,
    ),
    Mistake(
        "the decoder sees everything",
        _masks(decoder=_everything),
        "The decoder's mask allows everything.",
        "Two things are hidden from a token of the target. Which?",
        _DECODER,
    ),
    Mistake(
        "the decoder hides each token from itself",
        _masks(decoder=lambda s, t, p: keys_of(t, p) & last_queries(t.size(1), t.size(1)).tril(-1)),
        "The decoder's mask hides each token from itself.",
        "The first token would have nothing to look at. A token may see itself.",
        _DECODER,
    ),
    Mistake(
        "the decoder sees one token of the future",
        _masks(decoder=lambda s, t, p: keys_of(t, p) & torch.ones(t.size(1), t.size(1)).tril(1).bool()),
        "The decoder's mask allows one token of the future.",
        "In training the next token is the answer itself.",
        _DECODER,
    ),
    Mistake(
        "the decoder sees the future only",
        _masks(decoder=lambda s, t, p: keys_of(t, p) & _causal(t).T),
        "The decoder's mask hides the past in place of the future.",
        "The triangle is the wrong one, or it is transposed.",
        _DECODER,
    ),
    Mistake(
        "the decoder hides rows of padded queries",
        _masks(decoder=lambda s, t, p: _rows_of(t, p) & keys_of(t, p) & _causal(t)),
        "The decoder's mask hides rows of padded queries; only keys are to be hidden.",
        "A row without any key makes NaN in many programs. Nobody reads what a padded query gathers.",
        _DECODER,
    ),
    Mistake(
        "every padding hides rows and columns",
        lambda s, t, p: (
            _rows_of(s, p) & keys_of(s, p),
            _rows_of(t, p) & keys_of(t, p) & _causal(t),
            _rows_of(t, p) & keys_of(s, p),
        ),
        "Your masks hide rows of padded queries too; only keys are to be hidden.",
        "A row without any key makes NaN in many programs. Nobody reads what a padded query gathers.",
        f"{_ENCODER}; {_CROSS}",
    ),
    Mistake(
        "encoder and decoder hide rows and columns",
        _masks(
            lambda s, t, p: _rows_of(s, p) & keys_of(s, p),
            lambda s, t, p: _rows_of(t, p) & keys_of(t, p) & _causal(t),
        ),
        "Encoder and decoder masks hide rows of padded queries too; hide keys only.",
        "A row without any key makes NaN in many programs. Nobody reads what a padded query gathers.",
        f"{_ENCODER}; {_DECODER}",
    ),
    Mistake(
        "the encoder is causal",
        _masks(encoder=lambda s, t, p: keys_of(s, p) & _causal(s)),
        "The encoder's mask hides the future; the encoder may read both ways.",
        "The source is known as a whole, in training and in use. Only the decoder must not look ahead.",
        _ENCODER,
    ),
    Mistake(
        "the encoder sees everything",
        _masks(encoder=_everything),
        "The encoder's mask allows everything, padding too.",
        "Rows of unlike length were filled up. Which ids should nobody look at?",
        _ENCODER,
    ),
    Mistake(
        "the encoder's padding hides rows",
        _masks(encoder=lambda s, t, p: _rows_of(s, p)),
        "The encoder's mask hides rows, which are queries; it should hide columns, the keys.",
        "(B, 1, Ts, 1) are rows. Who must not be looked *at*?",
        _ENCODER,
    ),
    Mistake(
        "the encoder's padding hides rows and columns",
        _masks(encoder=lambda s, t, p: _rows_of(s, p) & keys_of(s, p)),
        "The encoder's mask hides rows of padded queries too; only keys are to be hidden.",
        "A row without any key makes NaN in many programs. Nobody reads what a padded query gathers.",
        _ENCODER,
    ),
    Mistake(
        "the encoder has the target's padding",
        _masks(encoder=lambda s, t, p: _common_length(s.size(1), keys_of(t, p))),
        "The encoder's mask is made from the target's padding; the encoder reads src.",
        "Whose tokens are the keys there?",
        _ENCODER,
    ),
    Mistake(
        "cross-attention is causal",
        _masks(cross=lambda s, t, p: keys_of(s, p) & torch.ones(t.size(1), s.size(1)).tril().bool()),
        "Cross-attention is causal in your masks; the source may be read as a whole.",
        "Word 1 of the translation may need the last word of the source. Which sequence grows word by word?",
        _CROSS,
    ),
    Mistake(
        "cross-attention is causal, aligned at the end",
        _masks(
            cross=lambda s, t, p: (
                keys_of(s, p) & torch.ones(t.size(1), s.size(1)).tril(s.size(1) - t.size(1)).bool()
            )
        ),
        "Cross-attention is causal in your masks; the source may be read as a whole.",
        "Word 1 of the translation may need the last word of the source. Which sequence grows word by word?",
        _CROSS,
    ),
    Mistake(
        "cross-attention sees everything",
        _masks(cross=_everything),
        "Cross-attention may look at the source's padding: its mask allows everything.",
        "The keys of cross-attention are the encoder's outputs, padded ones among them.",
        _CROSS,
    ),
    Mistake(
        "cross-attention hides the target's padding, as rows",
        _masks(cross=lambda s, t, p: _rows_of(t, p)),
        "Cross-attention hides padded queries, and allows the source's padding.",
        "Keys come from the source. Who must not be looked *at*?",
        _CROSS,
    ),
    Mistake(
        "cross-attention hides both paddings",
        _masks(cross=lambda s, t, p: _rows_of(t, p) & keys_of(s, p)),
        "Cross-attention hides rows of padded queries too; only keys are to be hidden.",
        "A row without any key makes NaN in many programs. Nobody reads what a padded query gathers.",
        _CROSS,
    ),
    Mistake(
        "cross-attention has the target's padding",
        _masks(cross=lambda s, t, p: _common_length(s.size(1), keys_of(t, p))),
        "Cross-attention hides the target's padding in its columns; its keys are the source.",
        "Queries come from tgt, keys from src. Whose padding must not be looked at?",
        _CROSS,
    ),
    Mistake(
        "cross-attention has the target's padding, as it is",
        _masks(cross=lambda s, t, p: keys_of(t, p)),
        "Cross-attention hides the target's padding in its columns; its keys are the source.",
        "Queries come from tgt, keys from src. Whose padding must not be looked at?",
        _CROSS,
    ),
    Mistake(
        "cross-attention has the decoder's mask",
        _masks(cross=_decoder),
        "Cross-attention gets the decoder's own mask; its keys are the source.",
        "Queries come from tgt, keys from src: the mask must end in Ts columns.",
        _CROSS,
    ),
    Mistake(
        "the decoder has the source's padding",
        _masks(decoder=lambda s, t, p: _common_length(t.size(1), keys_of(s, p)) & _causal(t)),
        "The decoder's self-attention hides the source's padding; its keys are the target.",
        "Whose tokens are the keys there?",
        _DECODER,
    ),
    Mistake(
        "src and tgt exchanged",
        lambda s, t, p: _masks()(t, s, p),
        "The sides are exchanged: src is treated as the target and tgt as the source.",
        "The encoder reads src, and the decoder writes tgt.",
        f"{_ENCODER}; {_DECODER}",
    ),
    Mistake(
        "the order of the results",
        lambda s, t, p: (_encoder(s, t, p), _encoder(s, t, p), _decoder(s, t, p)),
        "You return (encoder, cross, decoder); the order is (encoder, decoder, cross).",
        "Only the order is wrong.",
        "return encoder, decoder, cross",
    ),
    Mistake(
        "the order of the results, decoder first",
        lambda s, t, p: (_decoder(s, t, p), _encoder(s, t, p), _encoder(s, t, p)),
        "You return the decoder's mask first; the order is (encoder, decoder, cross).",
        "Only the order is wrong.",
        "return encoder, decoder, cross",
    ),
    Mistake("flipped", _then(lambda mask: ~mask), *FLIPPED, f"{_ENCODER}; {_DECODER}"),
    Mistake(
        "True marks the padding",
        lambda s, t, p: (~keys_of(s, p), ~keys_of(t, p) & _causal(t), ~keys_of(s, p)),
        "Your masks allow padding and hide the words: the comparison is turned round.",
        "True = may attend, so it stands where a token is *not* padding.",
        _ENCODER,
    ),
    Mistake(
        "True marks what is hidden, combined with and",
        lambda s, t, p: (~keys_of(s, p), ~keys_of(t, p) & ~_causal(t), ~keys_of(s, p)),
        "True marks what is hidden in your masks, and the decoder's are combined with and.",
        "Two things: True = may attend; and a key is allowed only where both masks allow it.",
        f"{_ENCODER}; {_DECODER}",
    ),
    Mistake(
        "0 is taken for padding",
        _zero_is_padding(),
        "You take the id 0 for padding; here the padding has the id pad_id.",
        "A vocabulary may give any id to its padding. Which argument tells you?",
        _ENCODER,
    ),
    Mistake(
        "zeros and ones",
        _then(lambda mask: mask.float()),
        "Your masks are right, but they hold 1 and 0 in place of True and False.",
        "A comparison gives booleans; `.float()`, `*` with numbers and torch.ones without dtype=torch.bool do not.",
        _DECODER,
    ),
    Mistake(
        "zeros and ones in the decoder",
        _masks(decoder=lambda s, t, p: keys_of(t, p) * torch.ones(t.size(1), t.size(1)).tril()),
        "The decoder's mask is right, but it holds 1 and 0 in place of True and False.",
        "torch.ones gives numbers: ask for dtype=torch.bool, and combine with `&`.",
        _DECODER,
    ),
    Mistake(
        "to be added",
        _then(lambda mask: torch.zeros(mask.shape).masked_fill(~mask, -math.inf)),
        "Your masks are made to be added, 0 and −∞; here they are True and False.",
        "Both kinds exist. Masks to be added are summed; booleans that allow are combined with `&`.",
        _DECODER,
    ),
    Mistake(
        "without the axis of the heads",
        _then(lambda mask: mask[:, 0]),
        "The axis of the heads is missing: your masks lay the batch over the heads.",
        "(B, Tq, Tk) is read from the right: B meets H. It goes unnoticed where B = H. Put a 1 after B.",
        _ENCODER,
    ),
    Mistake(
        "the decoder without the axis of the heads",
        _masks(decoder=lambda s, t, p: _decoder(s, t, p)[:, 0]),
        "The decoder's mask lacks the axis of the heads: it lays the batch over the heads.",
        "(B, Tt, Tt) is read from the right: B meets H. It goes unnoticed where B = H. Put a 1 after B.",
        _DECODER,
    ),
    Mistake(
        "padding masks without the axes in the middle",
        lambda s, t, p: (s != p, (t != p) & _causal(t), s != p),
        "Your padding masks are (B, T): broadcasting lays the batch over the queries.",
        "Sizes are matched from the right: B meets Tq. It goes unnoticed where B = Tq. Which two axes are missing?",
        _ENCODER,
    ),
    Mistake(
        "everything is causal",
        lambda s, t, p: (
            keys_of(s, p) & _causal(s),
            _decoder(s, t, p),
            keys_of(s, p) & torch.ones(t.size(1), s.size(1)).tril().bool(),
        ),
        "All three of your masks are causal; only the decoder's self-attention is.",
        "The source is known as a whole. Only the target grows word by word.",
        f"{_ENCODER}; {_CROSS}",
    ),
    Mistake(
        "changes the tokens",
        _overwrites,
        "Your masks are right, but your function changes the tokens it was given.",
        "An assignment to `src[…]`, and methods that end in `_`, write into the caller's tensor.",
        _ENCODER,
    ),
)


def _expected(experiment: Callable[[Any], Seen], name: str) -> Tensor:
    return experiment(COMBINE.reference)[name].double()


def _nothing_hidden(name: str) -> Callable[[dict[str, Seen]], bool]:
    """Holds where the mask hides nothing that should be allowed."""
    return lambda seen: bool(
        (seen[_UNLIKE][f"{name} mask"] >= _expected(_masks_of_unlike_sizes, f"{name} mask")).all()
    )


def _not_flipped(name: str) -> Callable[[dict[str, Seen]], bool]:
    return lambda seen: (
        not torch.equal(seen[_UNLIKE][f"{name} mask"], 1 - _expected(_masks_of_unlike_sizes, f"{name} mask"))
    )


def _future_seen(seen: dict[str, Seen]) -> bool:
    return bool((seen[_UNLIKE]["decoder mask"].triu(1) != 0).any())


def _padding_seen(name: str, tokens: list[list[int]]) -> Callable[[dict[str, Seen]], bool]:
    padding = ~keys_of(torch.tensor(tokens), 0)
    return lambda seen: bool((seen[_UNLIKE][f"{name} mask"] * padding != 0).any())


_WITH_THE_ID_0 = (
    _masks_of_a_longer_target,
    _masks_with_the_same_padding_of_id_0,
    _masks_with_as_many_sentences_as_tokens,
    _masks_with_as_many_sentences_as_heads,
    _masks_of_one_pair,
    _masks_of_single_words,
)


_COMBINE_PROPERTIES = (
    changes_an_input("tokens"),
    left_to_chance(_UNLIKE),
    *not_a_boolean_mask(
        lambda seen: torch.cat([seen[_UNLIKE][f"{name} mask"].flatten() for name in _NAMES]),
        lambda seen: seen[_UNLIKE]["masks are boolean"],
        "One of your masks",
    ),
    *(
        Property(
            f"the {name} mask is flipped",
            _not_flipped(name),
            f"Your {name} mask allows what it should hide, and hides what it should allow.",
            FLIPPED[1],
        )
        for name in _NAMES
    ),
    Property(
        "the encoder sees padding",
        lambda seen: not _padding_seen("encoder", _SRC)(seen),
        "Your encoder mask allows some of the source's padding.",
        "Columns are keys. Which of them stand for pad_id in src?",
    ),
    Property(
        "the encoder is hindered",
        _nothing_hidden("encoder"),
        "Your encoder mask hides real tokens of the source from some query.",
        "Every row of the encoder's mask is alike: the encoder reads both ways, and padding hides keys only.",
    ),
    Property(
        "the decoder sees the future",
        lambda seen: not _future_seen(seen),
        "Your decoder mask lets some query see its future.",
        "Row i, column j: j > i is the future, and hidden whatever the padding. Both masks must allow a key: `&`.",
    ),
    Property(
        "the decoder sees padding",
        lambda seen: not _padding_seen("decoder", _TGT)(seen),
        "Your decoder mask allows some of the target's padding.",
        "Columns are keys. Which of them stand for pad_id in tgt? Both masks must allow a key: `&`.",
    ),
    Property(
        "the decoder is hindered",
        _nothing_hidden("decoder"),
        "Your decoder mask hides a real token that is not in the future.",
        "A token may see itself and every real token before it; padding hides keys, never queries.",
    ),
    Property(
        "cross-attention sees padding",
        lambda seen: not _padding_seen("cross", _SRC)(seen),
        "Your cross mask allows some of the source's padding.",
        "Its keys are the source: columns that stand for pad_id in src are hidden.",
    ),
    Property(
        "cross-attention is hindered",
        _nothing_hidden("cross"),
        "Your cross mask hides real tokens of the source from some query.",
        "It is never causal, and the target's padding has no part in it: every row is alike.",
    ),
    Property(
        "full rows",
        lambda seen: all(
            torch.equal(seen[_FULL][f"{name} mask"], _expected(_masks_without_any_padding, f"{name} mask"))
            for name in _NAMES
        ),
        "Wrong for sentences without any padding.",
        "Is something made only if padding is found?",
    ),
    Property(
        "another id",
        lambda seen: all(
            torch.equal(seen[_OTHER][f"{name} mask"], seen[_SAME][f"{name} mask"]) for name in _NAMES
        ),
        "Your masks depend on which id the padding has: with another pad_id they differ.",
        "Does a 0, a `>`, or the truth of an id stand where `!= pad_id` belongs?",
    ),
    Property(
        "other lengths",
        lambda seen: all(agrees(seen, experiment, COMBINE.reference) for experiment in _WITH_THE_ID_0),
        "Right for one batch; wrong for others, of unlike lengths and sizes.",
        "Which sizes, or which place of the padding, does your code take for granted?",
    ),
)


COMBINE: Exercise = Exercise(
    id="05.combine",
    title="The three masks of a Transformer",
    stub=COMBINE_STUB,
    reference=_masks(),
    experiments=(
        _masks_of_unlike_sizes,
        _masks_of_a_longer_target,
        _masks_with_another_id_of_the_padding,
        _masks_with_the_same_padding_of_id_0,
        _masks_with_as_many_sentences_as_tokens,
        _masks_with_as_many_sentences_as_heads,
        _masks_of_one_pair,
        _masks_of_single_words,
        _masks_without_any_padding,
    ),
    mistakes=_COMBINE_MISTAKES,
    properties=_COMBINE_PROPERTIES,
    difficulty=3,
    importance=5,
    minutes=20,
)
