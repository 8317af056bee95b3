"""Next sentence: does the second segment follow the first (lesson 10)?

B batch · T tokens
A document is a list of segments (sentences, say), a segment a list of ids. All chance comes from a generator.

Paper: Devlin et al. 2019, BERT, section 3.1, task 2, and appendix A.2. What the paper leaves open (short
pairs, unused segments, how to shorten) is as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.objectives._chance import below, coin
from course_lib.objectives._given import check_generator, check_integers, check_share, check_whole, described

IS_NEXT, IS_RANDOM = 0, 1  # the labels of BERT's code: 0 = b is what follows a


class SentencePair(NamedTuple):
    """Two runs of ids, and whether the second follows the first in its document."""

    a: list[int]
    b: list[int]
    is_next: bool


class PairBatch(NamedTuple):
    """What BERT reads: tokens and segments, (B, T); labels, (B,): 0 = the real next, 1 = a random one."""

    tokens: Tensor
    segments: Tensor
    labels: Tensor


def sentence_pairs(
    documents: Sequence[Sequence[Sequence[int]]],
    *,
    max_len: int,
    generator: torch.Generator,
    random_share: float = 0.5,
    short_share: float = 0.1,
) -> list[SentencePair]:
    """Cut documents into pairs: half of them followed by the real next, half by a piece of another document.

    One pass over all documents. Segments are gathered until they fill the target length; a cut at a random
    place makes a and b. Where b is random, the segments it replaced are put back and begin the next pair.
    Where only one segment was gathered, b must be random.

    Args:
        documents: at least two, so that a random segment never comes from the same document.
        max_len: T, the most a pair may have with its [CLS] and two [SEP]; at least 5.
        generator: where the chance comes from.
        random_share: how often b is random where it could be the real next.
        short_share: how many documents aim at a random shorter length, 2 … max_len − 3, so that the model
            also meets short pairs.

    Returns:
        Pairs in the order of the documents; a and b are never empty and together at most max_len − 3 long.

    Raises:
        ValueError: fewer than two documents, one without segments, an empty segment, ids that are no whole
            numbers ≥ 0, a `max_len` below 5, shares outside [0, 1].

    Differs from the authors' code: a random document is drawn among the *others*; theirs tries ten times and
    may then take the same one.
    """
    who = "sentence_pairs"
    _check_documents(who, documents)
    check_whole(who, "max_len", max_len, least=5)
    check_generator(who, generator)
    check_share(who, "random_share", random_share, zero=True)
    check_share(who, "short_share", short_share, zero=True)
    room = max_len - 3  # [CLS] a [SEP] b [SEP]
    pairs = []
    for number, document in enumerate(documents):
        is_short = coin(short_share, generator)
        wanted = 2 + below(room - 1, generator) if is_short else room
        i = 0
        while i < len(document):
            first = i
            i += 1
            while i < len(document) and _length(document[first:i]) < wanted:
                i += 1
            gathered = document[first:i]
            n_a = 1 + below(len(gathered) - 1, generator) if len(gathered) > 1 else 1
            a = _joined(gathered[:n_a])
            is_next = len(gathered) > 1 and not coin(random_share, generator)
            if is_next:
                b = _joined(gathered[n_a:])
            else:
                other = below(len(documents) - 1, generator)
                other += other >= number  # any document but this one
                b = _random_piece(documents[other], wanted - len(a), generator)
                i = first + n_a  # the segments that b replaced are put back
            a, b = shorten(a, b, room, generator=generator)
            pairs.append(SentencePair(a, b, is_next))
    return pairs


def shorten(
    a: Sequence[int], b: Sequence[int], room: int, *, generator: torch.Generator
) -> tuple[list[int], list[int]]:
    """Drop tokens until a and b fit into the room: always from the longer one, front or back by a coin.

    So no side is favoured, and a model cannot tell a cut text by its end (BERT, appendix A.2).

    Args:
        a, b: ids.
        room: the most both together may have, at least 2.
        generator: where the chance comes from.

    Returns:
        What is left of each. Of two that are equally long, b loses.

    Raises:
        ValueError: a room below 2.
    """
    check_whole("shorten", "room", room, least=2)
    check_generator("shorten", generator)
    a, b = list(a), list(b)
    while len(a) + len(b) > room:
        longer = a if len(a) > len(b) else b
        del longer[0 if coin(0.5, generator) else -1]
    return a, b


def join_pair(a: Sequence[int], b: Sequence[int], *, cls_id: int, sep_id: int) -> tuple[list[int], list[int]]:
    """Write two runs of ids as one: [CLS] a [SEP] b [SEP] (BERT, figure 2).

    Args:
        a, b: ids.
        cls_id, sep_id: the ids of [CLS] and [SEP].

    Returns:
        The tokens, and the segment of each: 0 for [CLS] a [SEP], 1 for b [SEP].

    Raises:
        ValueError: an id that is no whole number ≥ 0.
    """
    for name, ids in (("cls_id", [cls_id]), ("sep_id", [sep_id]), ("each id of a", a), ("each id of b", b)):
        for one in ids:
            check_whole("join_pair", name, one)
    tokens = [cls_id, *a, sep_id, *b, sep_id]
    return tokens, [0] * (len(a) + 2) + [1] * (len(b) + 1)


def batch_of_pairs(
    pairs: Sequence[SentencePair], *, cls_id: int, sep_id: int, pad_id: int, max_len: int | None = None
) -> PairBatch:
    """Join pairs and fill them up to one length.

    Args:
        pairs: at least one.
        cls_id, sep_id, pad_id: the ids of [CLS], [SEP] and the padding.
        max_len: T; None = the longest pair.

    Returns:
        tokens and segments, (B, T), and labels, (B,): 0 = the real next. Padding has segment 0, as in BERT.

    Raises:
        ValueError: no pair, an id that is no whole number ≥ 0, or a pair that is longer than `max_len`.
    """
    who = "batch_of_pairs"
    if not isinstance(pairs, Sequence) or len(pairs) == 0:
        raise ValueError(f"{who}: pairs must hold at least one pair, got {pairs!r}")
    if not all(isinstance(pair, SentencePair) for pair in pairs):
        wrong = next(pair for pair in pairs if not isinstance(pair, SentencePair))
        raise ValueError(f"{who}: pairs must hold SentencePairs, got {wrong!r}")
    check_whole(who, "pad_id", pad_id)
    if max_len is not None:
        check_whole(who, "max_len", max_len, least=1)
    joined = [join_pair(pair.a, pair.b, cls_id=cls_id, sep_id=sep_id) for pair in pairs]
    longest = max(len(tokens) for tokens, _ in joined)
    length = longest if max_len is None else max_len
    if longest > length:
        raise ValueError(f"{who}: a pair has {longest} tokens, more than max_len = {max_len}")
    tokens = torch.full((len(pairs), length), pad_id)
    segments = torch.zeros(len(pairs), length, dtype=torch.long)
    for row, (ids, sides) in enumerate(joined):
        tokens[row, : len(ids)] = torch.tensor(ids)
        segments[row, : len(sides)] = torch.tensor(sides)
    labels = torch.tensor([IS_NEXT if pair.is_next else IS_RANDOM for pair in pairs])
    return PairBatch(tokens, segments, labels)


def next_sentence_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of "is next" against "is random": the mean of −log p(label).

    Args:
        logits: (B, 2), floating point: entry 0 for the real next, entry 1 for a random one.
        labels: integers, (B,): 0 = the real next, 1 = random.

    Returns:
        One number, in nats per pair.

    Raises:
        ValueError: shapes or dtypes that do not fit, no pair, or a label other than 0 and 1.
    """
    tensors = isinstance(logits, Tensor) and isinstance(labels, Tensor)
    if not tensors or logits.dim() != 2 or logits.size(1) != 2 or logits.shape[:1] != labels.shape:
        raise ValueError(
            "next_sentence_loss: logits must be (B, 2) and labels (B,), "
            f"got {described(logits)} and {described(labels)}"
        )
    if len(labels) == 0 or not logits.is_floating_point():
        raise ValueError(
            f"next_sentence_loss: logits must be floating point, of one pair at least, got {described(logits)} "
            f"with dtype {logits.dtype}"
        )
    check_integers("next_sentence_loss: labels", labels)
    wrong = labels[(labels != IS_NEXT) & (labels != IS_RANDOM)]
    if len(wrong):
        raise ValueError(f"next_sentence_loss: labels must be 0 or 1, got {wrong[0].item()}")
    return F.cross_entropy(logits, labels.long())


def _random_piece(document: Sequence[Sequence[int]], wanted: int, generator: torch.Generator) -> list[int]:
    """Take segments from a random one on, until they have the wanted length or the document ends."""
    first = below(len(document), generator)
    last = first + 1
    while last < len(document) and _length(document[first:last]) < wanted:
        last += 1
    return _joined(document[first:last])


def _length(segments: Sequence[Sequence[int]]) -> int:
    return sum(len(segment) for segment in segments)


def _joined(segments: Sequence[Sequence[int]]) -> list[int]:
    return [token for segment in segments for token in segment]


def _check_documents(who: str, documents: Sequence[Sequence[Sequence[int]]]) -> None:
    if not isinstance(documents, Sequence) or isinstance(documents, str) or len(documents) < 2:
        got = f"{len(documents)}" if isinstance(documents, Sequence) else type(documents).__name__
        raise ValueError(f"{who}: documents must be a list of at least two, got {got}")
    for number, document in enumerate(documents):
        if not isinstance(document, Sequence) or isinstance(document, str) or len(document) == 0:
            raise ValueError(f"{who}: documents[{number}] must be a list of segments, got {document!r}")
        for segment in document:
            if not isinstance(segment, Sequence) or isinstance(segment, str) or len(segment) == 0:
                raise ValueError(
                    f"{who}: documents[{number}] must hold lists of ids with at least one id, got {segment!r}"
                )
            for one in segment:
                check_whole(who, f"each id of documents[{number}]", one)
