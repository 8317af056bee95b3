"""Exercise 05.debug_this_run: a reader that is right for one sentence at a time and wrong in batches.

B batch · T tokens · D d_model
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.masks.shared import changes_an_input
from course_lib.checks.probe import a_tensor, built, gradients, numbers, yes
from course_lib.checks.shared import agrees

RUN_STUB = '''
class RepairedReader(nn.Module):
    """Your colleague's Reader, repaired: same layers, same formula, but right in every batch.

    Layers: word, an nn.Embedding(vocab_size, d_model); w_q, w_k, w_v, each an nn.Linear(d_model,
    d_model); answer, an nn.Linear(d_model, n_topics). A fresh Reader reads its very first batch
    rightly: there, the repaired one gives the same logits. A sentence's logits depend on its own
    real tokens, at least one: not on its neighbours, the padding (of any id), nor what was read
    before. The tokens stay as they were; gradients reach all layers, as before.
    """

    def __init__(self, vocab_size, n_topics, d_model, pad_id):
        super().__init__()

    def forward(self, tokens):
        """Map tokens, (B, T), rows filled up at the end with pad_id, to logits, (B, n_topics)."""
'''

_VOCABULARY, _TOPICS, _WIDTH = 11, 3, 6
_LINEAR = {
    "w_q": (_WIDTH, _WIDTH),
    "w_k": (_WIDTH, _WIDTH),
    "w_v": (_WIDTH, _WIDTH),
    "answer": (_WIDTH, _TOPICS),
}

# Batches of one size, (3, 5), in which padding stands in unlike places.
_A = [[4, 5, 6, 7, 8], [5, 4, 0, 0, 0], [9, 3, 2, 0, 0]]  # lengths 5, 2, 3
_B = [[6, 2, 0, 0, 0], [7, 8, 9, 5, 4], [3, 5, 1, 0, 0]]  # lengths 2, 5, 3: as many real tokens as in A
_C = [[4, 5, 6, 7, 8], [2, 9, 7, 6, 0], [8, 1, 0, 0, 0]]  # its first row is A's
_D = [[1, 2, 3, 0, 0], [6, 4, 5, 0, 0], [9, 3, 2, 0, 0]]  # its last row is A's; none is full
_E = [[2, 3, 4, 1, 0], [8, 7, 6, 0, 0], [5, 5, 1, 0, 0]]  # as many real tokens as A, other lengths
_F = [[1, 6, 3, 8, 0], [2, 2, 7, 9, 4], [9, 4, 1, 6, 0]]  # its longest sentence is as long as A's
_G = [[4, 1, 0, 0, 0], [5, 9, 9, 5, 0], [9, 8, 3, 0, 0]]  # each sentence begins as in A; the same sum
_H = [[4, 5, 6, 7, 8], [5, 4, 7, 0, 0], [9, 3, 2, 0, 0]]  # the first and the last row are A's
_I = [
    [4, 5, 0, 0, 0],
    [5, 4, 6, 7, 8],
    [9, 3, 2, 0, 0],
]  # the ids of A in another order: the same set, the same sum
_SHORT = [[1, 2, 3], [6, 4, 5], [9, 3, 0]]
_LONG = [[5, 4, 3, 2, 1, 6, 7], [8, 0, 0, 0, 0, 0, 0], [4, 4, 9, 1, 0, 0, 0]]
_FIRST, _OTHERS = "the first batch", "the same sentence among others"
_GRADIENTS = "reader gradients"


def _build(candidate: Any, pad_id: int = 0) -> nn.Module:
    """Build the candidate's reader and give its layers random weights, the same for everybody."""
    module = built(candidate, vocab_size=_VOCABULARY, n_topics=_TOPICS, d_model=_WIDTH, pad_id=pad_id)
    word = getattr(module, "word", None)
    if not isinstance(word, nn.Embedding) or word.weight.shape != (_VOCABULARY, _WIDTH):
        raise _no_layer("word", "nn.Embedding(vocab_size, d_model)")
    with torch.no_grad():
        word.weight.copy_(numbers(_VOCABULARY, _WIDTH, seed=50))
    for number, (name, (n_in, n_out)) in enumerate(_LINEAR.items()):
        layer = getattr(module, name, None)
        if not isinstance(layer, nn.Linear) or layer.weight.shape != (n_out, n_in):
            raise _no_layer(name, "nn.Linear")
        if layer.bias is None:
            raise WrongReturn(
                f"no bias in {name}",
                f"{name} has no bias; your colleague's has one.",
                "nn.Linear has a bias by default. Take `__init__` over from your colleague.",
            )
        with torch.no_grad():
            layer.weight.copy_(numbers(n_out, n_in, seed=51 + number, std=n_in**-0.5 * 2))
            layer.bias.copy_(numbers(n_out, seed=61 + number, std=0.3))
    return module


def _no_layer(name: str, kind: str) -> WrongReturn:
    return WrongReturn(
        f"no layer {name}",
        f"Your reader has no layer {name} of the size that the exercise names.",
        f"`self.{name}` is an {kind}; take `__init__` over from your colleague.",
    )


def _read(module: nn.Module, sentences: list[list[int]]) -> Tensor:
    return a_tensor(module(torch.tensor(sentences)), called="the logits, one tensor")


def _reading(candidate: Any, *batches: list[list[int]], pad_id: int = 0) -> Seen:
    """Let one reader read several batches, one after the other."""
    module, seen, changed = _build(candidate, pad_id), {}, False
    for number, batch in enumerate(batches, 1):
        tokens = torch.tensor(batch)
        seen[f"logits of batch {number}"] = a_tensor(module(tokens), called="the logits, one tensor")
        changed = changed or tokens.tolist() != batch
    return seen | {"input changed": yes(changed)}


def _the_first_batch(candidate: Any) -> Seen:
    seen = _reading(candidate, _A)
    seen["logits"] = seen.pop("logits of batch 1")
    with torch.no_grad():
        second, third = _read(_build(candidate), _A), _read(_build(candidate), _A)
    return seen | {"second call differs": yes(not torch.allclose(second, third, atol=1e-6, equal_nan=True))}


def _a_second_batch_of_the_same_size(candidate: Any) -> Seen:
    return _reading(candidate, _A, _B)


def _batch_after_batch(candidate: Any) -> Seen:
    return _reading(candidate, _A, _C, _D, _E, _F, _G, _H, _I, _B, _A)


def _batches_of_other_lengths(candidate: Any) -> Seen:
    return _reading(candidate, _A, _SHORT, _LONG)


def _batches_of_fewer_sentences(candidate: Any) -> Seen:
    return _reading(candidate, _A, _D[:2], _C[1:2])


def _the_first_size_again(candidate: Any) -> Seen:
    return _reading(candidate, _A, _SHORT, _B, _LONG, _C, [[7, 2], [3, 0], [5, 9]], _D)


def _the_same_sentence_among_others(candidate: Any) -> Seen:
    """One sentence alone, at the end of a batch, and with more padding."""
    fresh = [_read(_build(candidate), batch) for batch in ([[9, 3, 2]], _A, [[9, 3, 2, 0, 0, 0, 0, 0]])]
    return {"logits of one sentence": torch.stack([fresh[0][0], fresh[1][-1], fresh[2][0]])}


def _a_tensor_that_is_filled_anew(candidate: Any) -> Seen:
    """One and the same tensor holds one batch after the other."""
    module, tokens = _build(candidate), torch.tensor(_A)
    seen = {"logits of batch 1": a_tensor(module(tokens))}
    tokens.copy_(torch.tensor(_B))
    return seen | {"logits of batch 2": a_tensor(module(tokens))}


def _training_and_use(candidate: Any) -> Seen:
    module = _build(candidate).train()
    seen = {"logits in training": _read(module, _A), "logits in training, second batch": _read(module, _C)}
    module.eval()
    seen |= {"logits in use": _read(module, _B), "logits in use, second batch": _read(module, _D)}
    return seen | {"logits in training again": _read(module.train(), _D)}


def _another_id_of_the_padding(candidate: Any) -> Seen:
    def renamed(batch: list[list[int]]) -> list[list[int]]:
        return [[10 if word == 0 else 0 if word == 9 else word for word in row] for row in batch]

    return _reading(candidate, renamed(_A), renamed(_B), pad_id=10)


def _two_readers(candidate: Any) -> Seen:
    """Two readers, in turns: what one keeps is none of the other's business."""
    one, other = _build(candidate), _build(candidate)
    return {
        "logits of the first reader": _read(one, _A),
        "logits of the second reader": _read(other, _B),
        "logits of the first reader, second batch": _read(one, _D),
    }


def _reader_gradients(candidate: Any) -> Seen:
    module = _build(candidate)
    _read(module, _A)
    names = ("word", *_LINEAR)
    weights = {name: getattr(module, name).weight for name in names}
    return gradients(_read(module, _B), weights)


class Reader(nn.Module):
    """The colleague's reader; `mask` and `real` are where the repairs differ."""

    def __init__(self, vocab_size: int, n_topics: int, d_model: int, pad_id: int):
        super().__init__()
        self.pad_id = pad_id
        self.word = nn.Embedding(vocab_size, d_model)
        self.w_q = nn.Linear(d_model, d_model)
        self.w_k = nn.Linear(d_model, d_model)
        self.w_v = nn.Linear(d_model, d_model)
        self.answer = nn.Linear(d_model, n_topics)
        self.masks: dict[Any, Tensor] = {}

    def mask(self, tokens: Tensor) -> Tensor:
        """Return (B, 1, T): which keys may be looked at, and which tokens the mean is over."""
        return (tokens != self.pad_id)[:, None, :]

    def real(self, tokens: Tensor) -> Tensor:
        return self.mask(tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.word(tokens)  # (B, T, D)
        seen, real = self.mask(tokens), self.real(tokens).to(x.dtype)  # (B, 1, T)
        scores = self.w_q(x) @ self.w_k(x).mT / x.size(-1) ** 0.5  # (B, T, T)
        x = x + scores.masked_fill(~seen, -1e9).softmax(-1) @ self.w_v(x)
        return self.answer((real @ x)[:, 0] / real.sum(-1))


def _kept_by(key: Callable[[Reader, Tensor], Any]) -> type[Reader]:
    """A reader that makes its mask once for each key and keeps it."""

    class KeptReader(Reader):
        def mask(self, tokens: Tensor) -> Tensor:
            name = key(self, tokens)
            if name not in self.masks:
                self.masks[name] = super().mask(tokens)
            return self.masks[name]

    return KeptReader


PublishedReader = _kept_by(lambda self, tokens: tokens.shape)


def _fits(kept: Tensor | None, tokens: Tensor) -> bool:
    return kept is not None and kept.shape == (tokens.size(0), 1, tokens.size(1))


def _merged(merge: Callable[[Tensor, Tensor], Tensor]) -> type[Reader]:
    """A reader that merges each new mask with the one it kept for this size."""

    class MergedReader(Reader):
        def forward(self, tokens: Tensor) -> Tensor:
            new, size = (tokens != self.pad_id)[:, None, :], tokens.shape
            self.masks[size] = merge(self.masks[size], new) if size in self.masks else new
            return super().forward(tokens)

        def mask(self, tokens: Tensor) -> Tensor:
            return self.masks[tokens.shape]

    return MergedReader


class _OneKept(Reader):
    """Keeps one mask only, and makes a new one when the size changes."""

    def mask(self, tokens: Tensor) -> Tensor:
        if not _fits(self.masks.get("last"), tokens):
            self.masks["last"] = super().mask(tokens)
        return self.masks["last"]


class _OneBatchLate(Reader):
    """Keeps the newest mask of each size, and uses the one before it."""

    def forward(self, tokens: Tensor) -> Tensor:
        new = (tokens != self.pad_id)[:, None, :]
        self.masks["in use"] = self.masks.get(tokens.shape, new)
        logits = super().forward(tokens)
        self.masks[tokens.shape] = new
        return logits

    def mask(self, tokens: Tensor) -> Tensor:
        return self.masks["in use"]


class _ClearedOnSwitch(PublishedReader):  # type: ignore[misc, valid-type]
    """Forgets its masks when it is switched between training and use."""

    def train(self, mode: bool = True) -> Any:
        self.masks.clear()
        return super().train(mode)


class _ClearedEverySecondTime(PublishedReader):  # type: ignore[misc, valid-type]
    """Forgets its masks after every second batch."""

    calls = 0

    def forward(self, tokens: Tensor) -> Tensor:
        logits = super().forward(tokens)
        self.calls += 1
        if self.calls % 2 == 0:
            self.masks.clear()
        return logits


class _NoMask(Reader):
    def mask(self, tokens: Tensor) -> Tensor:
        return torch.ones_like(tokens, dtype=torch.bool)[:, None, :]


class _MeanOverAll(Reader):
    def real(self, tokens: Tensor) -> Tensor:
        return torch.ones_like(tokens)[:, None, :]


class _AttentionOverAll(_NoMask):
    def real(self, tokens: Tensor) -> Tensor:
        return (tokens != self.pad_id)[:, None, :]


class _StaleMean(PublishedReader):  # type: ignore[misc, valid-type]
    """Attention gets a new mask; the mean over the sentence still uses the kept one."""

    def mask(self, tokens: Tensor) -> Tensor:
        return Reader.mask(self, tokens)

    def real(self, tokens: Tensor) -> Tensor:
        return PublishedReader.mask(self, tokens)


class _StaleAttention(PublishedReader):  # type: ignore[misc, valid-type]
    """The mean gets a new mask; attention still uses the kept one."""

    def real(self, tokens: Tensor) -> Tensor:
        return Reader.mask(self, tokens)


class _OnlyInTraining(Reader):
    def mask(self, tokens: Tensor) -> Tensor:
        return super().mask(tokens) if self.training else torch.ones_like(super().mask(tokens))


class _Flipped(Reader):
    def mask(self, tokens: Tensor) -> Tensor:
        return (tokens == self.pad_id)[:, None, :]

    def real(self, tokens: Tensor) -> Tensor:
        return ~self.mask(tokens)


class _ZeroIsPadding(Reader):
    def mask(self, tokens: Tensor) -> Tensor:
        return (tokens != 0)[:, None, :]


class _SharedWithAll(Reader):
    """One mask for the whole batch: what is padding in any sentence is hidden in all."""

    def mask(self, tokens: Tensor) -> Tensor:
        return (tokens != self.pad_id).any(0).expand(tokens.shape)[:, None, :]


class _HiddenForAll(Reader):
    def mask(self, tokens: Tensor) -> Tensor:
        return (tokens != self.pad_id).all(0).expand(tokens.shape)[:, None, :]


class _OfTheFirstSentence(Reader):
    def mask(self, tokens: Tensor) -> Tensor:
        return (tokens[:1] != self.pad_id).expand(tokens.shape)[:, None, :]


class _Causal(Reader):
    def forward(self, tokens: Tensor) -> Tensor:
        x = self.word(tokens)
        real = self.real(tokens)
        seen = real & torch.ones(tokens.size(1), tokens.size(1), dtype=torch.bool).tril()
        scores = self.w_q(x) @ self.w_k(x).mT / x.size(-1) ** 0.5
        x = x + scores.masked_fill(~seen, -1e9).softmax(-1) @ self.w_v(x)
        return self.answer((real.float() @ x)[:, 0] / real.sum(-1))


class _FirstWord(Reader):
    """The sentence is its first token's vector, not the mean."""

    def real(self, tokens: Tensor) -> Tensor:
        return (torch.arange(tokens.size(1)) == 0).expand(tokens.shape)[:, None, :]


class _LastWord(Reader):
    def real(self, tokens: Tensor) -> Tensor:
        last = (tokens != self.pad_id).sum(-1, keepdim=True) - 1
        return (torch.arange(tokens.size(1)) == last)[:, None, :]


class _Hidden0(Reader):
    """Hidden scores become 0 in place of −10⁹."""

    def forward(self, tokens: Tensor) -> Tensor:
        x, real = self.word(tokens), self.mask(tokens)
        scores = self.w_q(x) @ self.w_k(x).mT / x.size(-1) ** 0.5
        x = x + scores.masked_fill(~real, 0.0).softmax(-1) @ self.w_v(x)
        return self.answer((real.float() @ x)[:, 0] / real.sum(-1))


class _ZeroVectors(_NoMask):
    """The padding's vectors are 0, and nothing is masked in attention."""

    def forward(self, tokens: Tensor) -> Tensor:
        real = (tokens != self.pad_id)[:, None, :]
        x = self.word(tokens) * real.mT
        scores = self.w_q(x) @ self.w_k(x).mT / x.size(-1) ** 0.5
        x = x + scores.softmax(-1) @ self.w_v(x)
        return self.answer((real.float() @ x)[:, 0] / real.sum(-1))


class _Sum(Reader):
    def forward(self, tokens: Tensor) -> Tensor:
        x, real = self.word(tokens), self.mask(tokens)
        scores = self.w_q(x) @ self.w_k(x).mT / x.size(-1) ** 0.5
        x = x + scores.masked_fill(~real, -1e9).softmax(-1) @ self.w_v(x)
        return self.answer((real.float() @ x)[:, 0])


_LINE = "return (tokens != self.pad_id)[:, None, :]"

_STILL = "The answer to a second batch of the same size is still wrong. What does the reader keep, and by which name?"


def _still(part: str, hint: str = _STILL) -> tuple[str, str, str]:
    return f"A mask is still kept and used again: {part}.", hint, _LINE


_RUN_MISTAKES = (
    Mistake(
        "not repaired",
        PublishedReader,
        "This is your colleague's fault still: a mask is made once for each size, and kept.",
        "Two batches of one size have their padding in unlike places. What may be kept by size, and what not?",
        _LINE,
    ),
    Mistake("kept for the last size", _OneKept, *_still("until the size changes")),
    Mistake(
        "kept by the length of the rows",
        _kept_by(lambda r, t: t.size(1)),
        *_still("one for each length of the rows"),
    ),
    Mistake(
        "kept by the number of real tokens",
        _kept_by(lambda r, t: (t.shape, int((t != r.pad_id).sum()))),
        *_still(
            "one for each size and number of real tokens",
            "Two batches may have as many real tokens in other places. " + _STILL,
        ),
    ),
    Mistake(
        "kept by the longest sentence",
        _kept_by(lambda r, t: (t.shape, int((t != r.pad_id).sum(-1).max()))),
        *_still(
            "one for each size and longest sentence",
            "The other sentences have lengths of their own. " + _STILL,
        ),
    ),
    Mistake(
        "kept by the shortest sentence",
        _kept_by(lambda r, t: (t.shape, int((t != r.pad_id).sum(-1).min()))),
        *_still(
            "one for each size and shortest sentence",
            "The other sentences have lengths of their own. " + _STILL,
        ),
    ),
    Mistake(
        "kept by the first sentence",
        _kept_by(lambda r, t: (t.shape, tuple(t[0].tolist()))),
        *_still("one for each size and first sentence", "The other sentences may differ. " + _STILL),
    ),
    Mistake(
        "kept by the last sentence",
        _kept_by(lambda r, t: (t.shape, tuple(t[-1].tolist()))),
        *_still("one for each size and last sentence", "The other sentences may differ. " + _STILL),
    ),
    Mistake(
        "kept by the sorted lengths",
        _kept_by(lambda r, t: (t.shape, tuple(sorted((t != r.pad_id).sum(-1).tolist())))),
        *_still(
            "one for each set of lengths", "The same lengths in another order are another mask. " + _STILL
        ),
    ),
    Mistake(
        "kept by the tensor's address",
        _kept_by(lambda r, t: (t.shape, t.data_ptr())),
        "A mask is kept by the tensor's address, and a tensor can be filled anew.",
        "id() and data_ptr() name a place in memory, not what stands there. A mask costs less than looking it up.",
        _LINE,
    ),
    Mistake(
        "kept in training and in use",
        _kept_by(lambda r, t: (t.shape, r.training)),
        *_still(
            "one for training and one for use", "In training too, each batch has its own padding. " + _STILL
        ),
    ),
    Mistake(
        "forgotten on eval",
        _ClearedOnSwitch,
        *_still("until train() or eval()", "In training too, each batch has its own padding. " + _STILL),
    ),
    Mistake(
        "forgotten every second time",
        _ClearedEverySecondTime,
        "Your reader forgets its masks, but not after every batch: some are used twice.",
        _STILL,
        _LINE,
    ),
    Mistake(
        "one batch late",
        _OneBatchLate,
        "Each batch is read with the mask of the batch before it.",
        "Make the new mask before you use it, not afterwards.",
        _LINE,
    ),
    Mistake(
        "merged with and",
        _merged(lambda kept, new: kept & new),
        "The new mask is combined with the kept one: what was padding once stays hidden.",
        "Nothing of an earlier batch belongs into the mask of this one.",
        _LINE,
    ),
    Mistake(
        "merged with or",
        _merged(lambda kept, new: kept | new),
        "The new mask is combined with the kept one: what was a word once stays allowed.",
        "Nothing of an earlier batch belongs into the mask of this one.",
        _LINE,
    ),
    Mistake(
        "repaired in attention only",
        _StaleMean,
        "Attention gets the right mask now; the mean over the sentence still has a kept one.",
        "The mask is used twice in forward: for the scores, and for the mean.",
        _LINE,
    ),
    Mistake(
        "repaired in the mean only",
        _StaleAttention,
        "The mean gets the right mask now; attention still has a kept one.",
        "The mask is used twice in forward: for the scores, and for the mean.",
        _LINE,
    ),
    Mistake(
        "no mask at all",
        _NoMask,
        "The mask is gone: padding is looked at, and counts in the mean.",
        "The kept masks were wrong, not masks as such: a sentence must not depend on its padding.",
        _LINE,
    ),
    Mistake(
        "the mean over padding",
        _MeanOverAll,
        "The mean takes the padding in; attention is right.",
        "A sentence must not depend on its padding. The mask is used twice in forward.",
        _LINE,
    ),
    Mistake(
        "attention to padding",
        _AttentionOverAll,
        "Attention looks at padding; the mean is right.",
        "A sentence must not depend on its padding. The mask is used twice in forward.",
        _LINE,
    ),
    Mistake(
        "vectors of zeros in place of a mask",
        _ZeroVectors,
        "Padding gets vectors of 0, but attention still gives it a share.",
        "A key of zeros has a score, and a score always has a weight. Hide it before the softmax.",
        _LINE,
    ),
    Mistake(
        "hidden scores become 0",
        _Hidden0,
        "Hidden scores become 0, and keep a share; the mean is right.",
        "exp(0) is 1. The colleague's −1e9 was right.",
        _LINE,
    ),
    Mistake(
        "masked in training only",
        _OnlyInTraining,
        "Your mask exists in training only; in use, padding is looked at.",
        "A sentence must not depend on its padding, in use either.",
        _LINE,
    ),
    Mistake(
        "flipped",
        _Flipped,
        "Attention looks at the padding only: its mask is turned round.",
        "masked_fill writes where its argument is True. Which of the two is hidden?",
        _LINE,
    ),
    Mistake(
        "zero is taken for padding",
        _ZeroIsPadding,
        "You take the id 0 for padding; here the padding has the id pad_id.",
        "The reader is told its pad_id when it is built.",
        _LINE,
    ),
    Mistake(
        "hidden where every sentence has padding",
        _SharedWithAll,
        "A place is hidden only where every sentence of the batch has padding.",
        "Each sentence has its own length: no `any` or `all` over the batch.",
        _LINE,
    ),
    Mistake(
        "hidden where any sentence has padding",
        _HiddenForAll,
        "A place is hidden for all as soon as one sentence of the batch has padding there.",
        "Each sentence has its own length: no `any` or `all` over the batch.",
        _LINE,
    ),
    Mistake(
        "the first sentence's mask for all",
        _OfTheFirstSentence,
        "Every sentence gets the mask of the first one.",
        "Is there an index [0] that should run over the batch?",
        _LINE,
    ),
    Mistake(
        "causal",
        _Causal,
        "Your reader is causal now; the colleague's reads both ways.",
        "The symptom has another cause: a fresh reader's first batch was right. What is different for the second?",
        _LINE,
    ),
    Mistake(
        "the first word in place of the mean",
        _FirstWord,
        "The sentence is its first word's vector now; it was the mean.",
        "The symptom has another cause: a fresh reader's first batch was right. What is different for the second?",
        _LINE,
    ),
    Mistake(
        "the last word in place of the mean",
        _LastWord,
        "The sentence is its last word's vector now; it was the mean.",
        "The symptom has another cause: a fresh reader's first batch was right. What is different for the second?",
        _LINE,
    ),
    Mistake(
        "the sum in place of the mean",
        _Sum,
        "The sentence is the sum of its words' vectors now; it was the mean.",
        "The symptom has another cause: a fresh reader's first batch was right. What is different for the second?",
        _LINE,
    ),
)


_CUT = "`.detach()`, `.data`, `torch.tensor(…)` and torch.no_grad() cut the gradient: such a reader could not learn."


_RUN_PROPERTIES = (
    changes_an_input("tokens"),
    Property(
        "left to chance",
        lambda seen: seen[_FIRST]["second call differs"].item() == 0,
        "Two fresh readers with the same weights give different logits for one batch.",
        "Is there dropout, a random tensor, or something that both readers share?",
    ),
    Property(
        "not a number",
        lambda seen: bool(seen[_FIRST]["logits"].isfinite().all()),
        "There are NaN or infinite numbers in your logits, in the very first batch.",
        "Is a row of scores hidden as a whole, or 0 divided by 0?",
    ),
    Property(
        "among others",
        lambda seen: (
            (logits := seen[_OTHERS]["logits of one sentence"]).sub(logits[:1]).abs().max().item() < 1e-3
        ),
        "A sentence's logits depend on its neighbours in the batch, or on its padding.",
        "Read one sentence alone, in a batch, and with more padding, by a fresh reader each time: where do they part?",
    ),
    Property(
        "another formula",
        lambda seen: agrees(seen, _the_first_batch, RUN.reference),
        "Even the first batch gets other logits; your colleague's reader reads it well.",
        "Only what goes wrong from the second batch on needs a repair: keep the layers and the formula.",
    ),
    Property(
        "a second batch of the same size",
        lambda seen: agrees(seen, _a_second_batch_of_the_same_size, RUN.reference),
        "The first batch is right; a second one of the same size is not.",
        "What does your reader remember of the first? Print the mask that the second batch is read with.",
    ),
    Property(
        "some later batch",
        lambda seen: (
            agrees(seen, _batch_after_batch, RUN.reference)
            and agrees(seen, _batches_of_other_lengths, RUN.reference)
            and agrees(seen, _batches_of_fewer_sentences, RUN.reference)
            and agrees(seen, _the_first_size_again, RUN.reference)
        ),
        "Right for the first two batches; some later one is wrong.",
        "Does your reader still keep masks, by a name that two unlike batches can share?",
    ),
    Property(
        "a tensor that is filled anew",
        lambda seen: agrees(seen, _a_tensor_that_is_filled_anew, RUN.reference),
        "Right for a new tensor; wrong where one tensor is filled with another batch.",
        "id() and data_ptr() name a place in memory, not what stands there. Make the mask from the tokens, each time.",
    ),
    Property(
        "training and use",
        lambda seen: agrees(seen, _training_and_use, RUN.reference),
        "Right in training; wrong in use, or after the switch.",
        "Is a mask made in training only, or kept until train() or eval() is called?",
    ),
    Property(
        "another id of the padding",
        lambda seen: agrees(seen, _another_id_of_the_padding, RUN.reference),
        "Right where the padding has the id 0; wrong with another pad_id.",
        "The reader is told its pad_id when it is built. Does a 0, or a `>`, stand where `!= self.pad_id` belongs?",
    ),
    Property(
        "two readers",
        lambda seen: agrees(seen, _two_readers, RUN.reference),
        "Two readers disturb each other: what one has read changes the other.",
        "Is something kept in the class, in a default argument or in a global variable?",
    ),
    Property(
        "no gradient",
        lambda seen: any(gradient.abs().max() > 0 for gradient in seen[_GRADIENTS].values()),
        "The logits are right, but no gradient flows back to any layer.",
        _CUT,
    ),
    Property(
        "no gradient to some layers",
        lambda seen: all(gradient.abs().max() > 0 for gradient in seen[_GRADIENTS].values()),
        "The logits are right, but to some layer no gradient flows back.",
        _CUT,
    ),
    Property(
        "another gradient",
        lambda seen: agrees(seen, _reader_gradients, RUN.reference),
        "The logits are right, but the gradients are not your colleague's.",
        f"Is some part of the formula computed apart from it? {_CUT}",
    ),
)


RUN: Exercise = Exercise(
    id="05.debug_this_run",
    title="Debug this run: right one by one, wrong in batches",
    stub=RUN_STUB,
    reference=Reader,
    experiments=(
        _the_first_batch,
        _a_second_batch_of_the_same_size,
        _batch_after_batch,
        _batches_of_other_lengths,
        _batches_of_fewer_sentences,
        _the_first_size_again,
        _the_same_sentence_among_others,
        _a_tensor_that_is_filled_anew,
        _training_and_use,
        _another_id_of_the_padding,
        _two_readers,
        _reader_gradients,
    ),
    mistakes=_RUN_MISTAKES,
    properties=_RUN_PROPERTIES,
    difficulty=4,
    importance=4,
    minutes=25,
)
