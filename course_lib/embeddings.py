"""Embeddings: a row of numbers for each token, how such a table is learned from text, and what lies near what.

V vocab_size · D d_model · B batch · T tokens · N pairs · K negatives · M rows

Papers: Mikolov et al. 2013, "Distributed representations of words and phrases and their compositionality",
equation 4 (negative sampling); Vaswani et al. 2017, section 3.4 (scaling by √D, one table for input and output).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsFloat, SupportsIndex

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """Look each token's row up, times √D; the same table turns vectors into logits (`unembed`).

    Vaswani et al. 2017, section 3.4. Rows are drawn from N(0, 1/D): times √D their numbers have variance 1,
    about as large as a position's (lesson 03), and the logits of a vector of such numbers have variance 1 too, so
    that an untrained model guesses all tokens alike.

    Args:
        vocab_size: V, number of tokens.
        d_model: D, width of a row.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, vocab_size: int, d_model: int):
        super().__init__()
        _check_whole("TokenEmbedding", vocab_size=vocab_size, d_model=d_model)
        self.weight = nn.Parameter(torch.randn(vocab_size, d_model) / math.sqrt(d_model))  # (V, D)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the scaled row of each token.

        Args:
            tokens: ids, (…), whole numbers.

        Returns:
            (…, D).

        Raises:
            ValueError: ids that are no whole numbers, or that the table has no row for.
        """
        n_tokens, d_model = self.weight.shape
        _check_ids("TokenEmbedding: tokens", tokens, n_tokens)
        return F.embedding(tokens, self.weight) * math.sqrt(d_model)  # (…, D)

    def unembed(self, x: Tensor) -> Tensor:
        """Score each vector against every row of the table: x Wᵀ.

        Args:
            x: (…, D).

        Returns:
            Logits, (…, V).

        Raises:
            ValueError: `x` has another width or dtype.
        """
        # Under autocast a model's vectors are of half precision, and the table goes there with them.
        mixed = torch.is_autocast_enabled(self.weight.device.type)
        table = self.weight.to(x.dtype) if mixed else self.weight
        _check_rows("TokenEmbedding.unembed: x", x, like=table, least_dims=1)
        return F.linear(x, table)  # (…, V)


class SkipGram(nn.Module):
    """Learn a table by telling which words stand near a word, and which do not.

    loss = −[log σ(c·w) + Σ_k log σ(−n_k·w)], the mean over the pairs, with w the centre's row of `words`, and c and
    n_k the rows of its neighbour and of K drawn words in a second table, `contexts` (Mikolov et al. 2013, equation 4).
    What is kept after training is `words`.

    Two tables, for a word hardly ever stands beside itself: with one, no row could agree with itself, as it must.

    Args:
        vocab_size: V, number of words.
        d_model: D, width of a row.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, vocab_size: int, d_model: int):
        super().__init__()
        _check_whole("SkipGram", vocab_size=vocab_size, d_model=d_model)
        # As in the authors' program: small rows for the words and zeros for the contexts.
        self.words = nn.Parameter((torch.rand(vocab_size, d_model) - 0.5) / d_model)  # (V, D)
        self.contexts = nn.Parameter(torch.zeros(vocab_size, d_model))  # (V, D)

    def forward(self, centres: Tensor, neighbours: Tensor, negatives: Tensor) -> Tensor:
        """Return the loss of N pairs, in nats.

        Args:
            centres: ids, (N,).
            neighbours: ids of the words that did stand near them, (N,).
            negatives: ids of words drawn for each pair, (N, K).

        Returns:
            The mean loss, a scalar.

        Raises:
            ValueError: shapes that do not fit, no pair, or ids outside the vocabulary.
        """
        n_words = self.words.size(0)
        for name, ids in (("centres", centres), ("neighbours", neighbours), ("negatives", negatives)):
            _check_ids(f"SkipGram: {name}", ids, n_words)
        if centres.dim() != 1 or neighbours.shape != centres.shape or centres.numel() == 0:
            raise ValueError(
                f"SkipGram: centres and neighbours must both be (N,) with N ≥ 1, got shapes {tuple(centres.shape)} "
                f"and {tuple(neighbours.shape)}"
            )
        if negatives.dim() != 2 or negatives.size(0) != centres.size(0):
            raise ValueError(
                f"SkipGram: negatives must be (N, K) with N = {centres.size(0)}, got shape {tuple(negatives.shape)}"
            )
        centre = self.words[centres]  # (N, D)
        near = (centre * self.contexts[neighbours]).sum(-1)  # (N,)
        far = (self.contexts[negatives] @ centre.unsqueeze(-1)).squeeze(-1)  # (N, K)
        return -(F.logsigmoid(near) + F.logsigmoid(-far).sum(-1)).mean()


def skip_gram_pairs(sentences: Sequence[Sequence[int]], window: int) -> Tensor:
    """Pair each word with every other word of its sentence at most `window` places away.

    Args:
        sentences: ids, one list for each sentence.
        window: how far two words of a pair may stand apart, at least 1.

    Returns:
        (N, 2): centre and neighbour. Each two words near each other give two pairs, one for either centre.

    Raises:
        ValueError: `window` below 1, or sentences that are not lists of ids.
    """
    _check_whole("skip_gram_pairs", window=window)
    try:
        words = torch.tensor([word for sentence in sentences for word in sentence])  # (all,)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            "skip_gram_pairs: sentences must be lists of ids, one list for each sentence"
        ) from None
    if not words.numel():
        return torch.empty(0, 2, dtype=torch.long)
    if words.dim() != 1 or words.is_floating_point() or words.dtype == torch.bool or words.min() < 0:
        raise ValueError(
            "skip_gram_pairs: sentences must be lists of ids, whole numbers of at least 0, got numbers of shape "
            f"{tuple(words.shape)}, dtype {words.dtype}, the first {words.flatten()[0].item()}"
        )
    words = words.long()
    lengths = torch.tensor([len(sentence) for sentence in sentences], dtype=torch.long)
    sentence_of = torch.repeat_interleave(torch.arange(len(lengths)), lengths)  # (all,)
    found = [words.new_empty(0, 2)]
    for distance in range(1, min(window, len(words) - 1) + 1):
        together = sentence_of[distance:] == sentence_of[:-distance]
        left, right = words[:-distance][together], words[distance:][together]
        found += [torch.stack([left, right], -1), torch.stack([right, left], -1)]
    return torch.cat(found)  # (N, 2)


class NegativeSampler:
    """Draw words that did not stand near: word w with a probability that grows like count(w)^power.

    Mikolov et al. 2013, section 2.2, with power 3/4: rare words are drawn more often than they occur. The word that
    did stand there is never drawn as its own negative: where it comes up, that place is drawn again, so the others
    keep their proportions. (Another true neighbour of the centre may be drawn, as in the paper.)

    Args:
        counts: how often each word occurs, (V,).
        power: 0 draws all words that occur alike, 1 as often as they occur.

    Raises:
        ValueError: counts that are not (V,), negative or not finite; fewer than two words that occur; or a power
            that is none or leaves fewer than two words a probability.
    """

    def __init__(self, counts: Tensor | Sequence[float], power: float = 0.75):
        try:
            given = torch.as_tensor(counts, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"NegativeSampler: counts must be numbers, (V,), got {counts!r}") from None
        if given.dim() != 1:
            raise ValueError(f"NegativeSampler: counts must be (V,), got shape {tuple(given.shape)}")
        wrong = given[~(given.isfinite() & (given >= 0))]
        if len(wrong):
            raise ValueError(f"NegativeSampler: counts must be finite and at least 0, got {wrong[0].item()}")
        if (given > 0).sum() < 2:
            raise ValueError(
                "NegativeSampler: at least two words must occur, or there is nothing else to draw"
            )
        if not isinstance(power, SupportsFloat):
            raise ValueError(f"NegativeSampler: power must be a number, got {power!r}")
        # 0⁰ is 1, and a word that never occurs is not drawn
        powers = torch.where(given > 0, given**power, 0.0)
        if not torch.isfinite(powers.sum()) or (powers > 0).sum() < 2:
            raise ValueError(f"NegativeSampler: power {power} brings the counts to 0 or beyond all numbers")
        self.probabilities = powers / powers.sum()  # (V,)

    def draw(self, targets: Tensor, n_negatives: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n_negatives` words for each target, none of them the target.

        Args:
            targets: ids of the true neighbours, (N,).
            n_negatives: K.
            generator: the source of randomness.

        Returns:
            Ids, (N, K).

        Raises:
            ValueError: targets that are not (N,) or outside the vocabulary, or `n_negatives` below 1.
        """
        _check_ids("NegativeSampler.draw: targets", targets, len(self.probabilities))
        _check_whole("NegativeSampler.draw", n_negatives=n_negatives)
        if targets.dim() != 1:
            raise ValueError(f"NegativeSampler.draw: targets must be (N,), got shape {tuple(targets.shape)}")
        avoided = targets.repeat_interleave(n_negatives)  # (N · K,)
        drawn = self._draw(len(avoided), generator)
        for _ in range(50):
            if not (again := drawn == avoided).any():
                break
            drawn[again] = self._draw(int(again.sum()), generator)
        # Where the target has nearly all the probability, drawing again would take for ever.
        for place in (drawn == avoided).nonzero().flatten().tolist():
            others = self.probabilities.clone()
            others[avoided[place]] = 0.0
            drawn[place] = torch.multinomial(others, 1, generator=generator)
        return drawn.view(-1, n_negatives)  # (N, K)

    def _draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        if n == 0:
            return torch.empty(0, dtype=torch.long)
        return torch.multinomial(self.probabilities, n, replacement=True, generator=generator)


def cosine_similarity_table(rows: Tensor, others: Tensor | None = None) -> Tensor:
    """Compare the directions of all rows: entry (i, j) is x_i·y_j / (|x_i| |y_j|).

    Args:
        rows: (M, D).
        others: (M', D); None = the rows themselves.

    Returns:
        (M, M'), between −1 and 1. A row of zeros has no direction: its cosines are 0.

    Raises:
        ValueError: tensors that are not floating point and of two dimensions, or differ in width or dtype.
    """
    others = rows if others is None else others
    _check_rows("cosine_similarity_table: rows", rows)
    _check_rows("cosine_similarity_table: others", others, like=rows)
    return _directions(rows) @ _directions(others).T  # (M, M')


def nearest(table: Tensor, words: Sequence[str], query: str | Tensor, k: int) -> list[tuple[str, float]]:
    """Return the `k` words whose rows point most nearly in the direction of the query, nearest first.

    Args:
        table: (V, D).
        words: the V words, in the order of the rows.
        query: a word, which is left out of the answer, or a vector (D,).
        k: how many; fewer where the table has no more.

    Returns:
        Words and cosines.

    Raises:
        ValueError: words that do not fit the table, an unknown word, a vector of another width, or `k` below 1.
    """
    _check_table("nearest", table, words, k)
    if isinstance(query, str):
        left_out = [_place("nearest", words, query)]
        vector = table[left_out[0]]
    else:
        left_out, vector = [], query
        _check_rows("nearest: query", vector, like=table, least_dims=1)
        if vector.dim() != 1:
            raise ValueError(
                f"nearest: query must be a word or a vector (D,), got shape {tuple(vector.shape)}"
            )
    return _best(table, words, vector, left_out, k)


def analogy(table: Tensor, words: Sequence[str], a: str, b: str, c: str, k: int) -> list[tuple[str, float]]:
    """Answer "a is to b as c is to …": the words nearest to b − a + c, without these three.

    The three rows are first brought to length 1, so that a long row does not outweigh the others (Mikolov et al.
    2013, as in their program).

    Args:
        table: (V, D).
        words: the V words, in the order of the rows.
        a, b, c: three of the words.
        k: how many answers.

    Returns:
        Words and cosines, nearest first.

    Raises:
        ValueError: words that do not fit the table, an unknown word, or `k` below 1.
    """
    _check_table("analogy", table, words, k)
    asked = [_place("analogy", words, word) for word in (a, b, c)]
    row_a, row_b, row_c = _directions(table[asked])  # (D,) each
    return _best(table, words, row_b - row_a + row_c, asked, k)


def _best(
    table: Tensor, words: Sequence[str], vector: Tensor, left_out: list[int], k: int
) -> list[tuple[str, float]]:
    cosines = cosine_similarity_table(vector.unsqueeze(0), table)[0]  # (V,)
    ranked = cosines.argsort(descending=True, stable=True).tolist()
    places = [place for place in ranked if place not in left_out]
    return [(words[place], cosines[place].item()) for place in places[:k]]


def _directions(rows: Tensor) -> Tensor:
    """Bring each row to length 1; a row of zeros stays zeros."""
    lengths = rows.norm(dim=-1, keepdim=True)
    return rows / lengths.masked_fill(lengths == 0, 1.0)


def _place(who: str, words: Sequence[str], word: str) -> int:
    if word not in words:
        raise ValueError(f"{who}: the table has no row for {word!r}")
    return words.index(word)


def _check_table(who: str, table: Tensor, words: Sequence[str], k: int) -> None:
    _check_rows(f"{who}: table", table)
    if not isinstance(words, Sequence) or len(words) != table.size(0):
        got = f"{len(words)} words for them" if isinstance(words, Sequence) else repr(words)
        raise ValueError(f"{who}: the table has {table.size(0)} rows, but there are {got}")
    _check_whole(who, k=k)


def _check_rows(name: str, given: Tensor, like: Tensor | None = None, least_dims: int = 2) -> None:
    if not isinstance(given, Tensor) or not given.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {_kind(given)}")
    if given.dim() < least_dims or (least_dims == 2 and given.dim() != 2):
        raise ValueError(f"{name} must have rows (M, D), got shape {tuple(given.shape)}")
    if like is None:
        return
    if given.size(-1) != like.size(-1):
        raise ValueError(
            f"{name} must have width {like.size(-1)}, got {given.size(-1)} in shape {tuple(given.shape)}"
        )
    if given.dtype != like.dtype:
        raise ValueError(f"{name} must have the table's dtype {like.dtype}, got {given.dtype}")


def _kind(given: object) -> str:
    return f"dtype {given.dtype}" if isinstance(given, Tensor) else f"a {type(given).__name__}"


def _check_ids(name: str, ids: Tensor, n: int) -> None:
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"{name} must be ids, int64 or int32, got {_kind(ids)}")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < n:
        wrong = ids[(ids < 0) | (ids >= n)][0].item()
        raise ValueError(f"{name} must lie between 0 and {n - 1}, got {wrong}")


def _check_whole(who: str, **numbers: int) -> None:
    if not all(isinstance(number, SupportsIndex) and number >= 1 for number in numbers.values()):
        got = ", ".join(f"{name} = {number!r}" for name, number in numbers.items())
        raise ValueError(f"{who}: need whole numbers, at least 1, got {got}")
