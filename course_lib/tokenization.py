"""Tokenization: text → tokens → ids → text, by whitespace, characters, byte-pair encoding and WordPiece.

An id is a token's place in the list `tokens`: the special tokens first, then what `train` found. Text never
becomes a special token, whatever it says; only `[UNK]` ("unknown") stands for what a tokenizer cannot write.

Papers: Sennrich et al. 2016, "Neural machine translation of rare words with subword units" (BPE); Schuster and
Nakajima 2012, Wu et al. 2016, section 4.1 (WordPiece); Radford et al. 2019, section 2.2 (bytes).
"""

from __future__ import annotations

import heapq
import json
import operator
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

SPECIALS = ("[PAD]", "[UNK]")
UNKNOWN = "[UNK]"

# A run of letters, of digits or of other signs, with the one space before it; what is left is white space, whose
# last space stays with the word that follows. Every character is in exactly one piece, so the pieces join to the text.
PIECES = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")
# What WordPiece cuts: words, and every sign by itself. White space is dropped.
WORDS = re.compile(r"\w+|[^\w\s]")
LONGEST_WORD = 100  # characters; WordPiece takes no longer word
CACHED_PIECES = 100_000  # a tokenizer forgets what it remembered of pieces beyond this number

Pair = tuple[int, int]
Symbol = TypeVar("Symbol", str, int)


class Tokenizer:
    """What the four tokenizers share: ids are places in a list, with the special tokens first.

    Args:
        tokens: every token, in the order of the ids; it begins with `specials`.
        specials: tokens that no text can become.

    Raises:
        ValueError: tokens that are not different strings, or do not begin with the special tokens.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("tokens", "specials")  # what `save` writes

    def __init__(self, tokens: Sequence[str], *, specials: Sequence[str] = SPECIALS):
        who = type(self).__name__
        _check_strings(f"{who}: tokens", tokens)
        _check_strings(f"{who}: specials", specials)
        self.tokens = list(tokens)
        self.specials = tuple(specials)
        self.ids = {token: number for number, token in enumerate(self.tokens)}
        if tuple(self.tokens[: len(self.specials)]) != self.specials:
            raise ValueError(f"{who}: the tokens must begin with the special tokens {list(self.specials)}")

    def tokenize(self, text: str) -> list[str]:
        """Cut a text into tokens of the vocabulary.

        Raises:
            ValueError: `text` is no string, or holds something unknown and there is no `[UNK]`.
        """
        raise NotImplementedError

    def encode(self, text: str) -> list[int]:
        """Return the id of each token of a text. Errors as in `tokenize`."""
        return [self.ids[token] for token in self.tokenize(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text. Special tokens are written as they are called.

        Raises:
            ValueError: an id that is no whole number, or that no token has.
        """
        return self._join(self._tokens_of(ids))

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to a JSON file that `load` reads."""
        content = {"tokenizer": type(self).__name__} | {name: getattr(self, name) for name in self.FIELDS}
        Path(path).write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a tokenizer from a file that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file holds something else; the message names the file and what is wrong with it.
        """
        content = _read(path, cls.__name__, cls.FIELDS)
        try:
            return cls(**content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def _tokens_of(self, ids: Iterable[int]) -> list[str]:
        who = type(self).__name__
        found = []
        for number in ids:
            try:
                place = operator.index(number)
            except TypeError:
                raise ValueError(f"{who}.decode: an id must be a whole number, got {number!r}") from None
            if not 0 <= place < len(self.tokens):
                raise ValueError(f"{who}.decode: ids run from 0 to {len(self.tokens) - 1}, got {place}")
            found.append(self.tokens[place])
        return found

    def _join(self, tokens: list[str]) -> str:
        return "".join(tokens)

    def _known(self, token: str, text: str) -> str:
        """Return the token if the vocabulary has it for texts, else `[UNK]`."""
        if token in self.ids and token not in self.specials:
            return token
        return self._unknown(text)

    def _unknown(self, text: str) -> str:
        if UNKNOWN not in self.specials:
            raise ValueError(f"{type(self).__name__}: {text!r} is unknown, and there is no {UNKNOWN}")
        return UNKNOWN


class WhitespaceTokenizer(Tokenizer):
    """Cut at white space: one token for each word, signs and all.

    `decode` puts one space between words: how much white space stood there is lost.
    """

    @classmethod
    def train(
        cls, texts: Iterable[str], *, vocab_size: int | None = None, specials: Sequence[str] = SPECIALS
    ) -> Self:
        """Keep the most frequent words, equal counts in alphabetical order.

        Args:
            texts: the texts to count in.
            vocab_size: number of tokens with the special ones; None = every word.
            specials: the special tokens.

        Raises:
            ValueError: `texts` is one string or holds something else than strings, or `vocab_size` leaves no word.
        """
        counts = Counter(
            word for text in _checked("WhitespaceTokenizer.train", texts) for word in text.split()
        )
        ranked = sorted(counts.keys() - set(specials), key=lambda word: (-counts[word], word))
        if vocab_size is not None:
            _check_vocab_size("WhitespaceTokenizer.train", vocab_size, len(specials) + 1, "one word")
            ranked = ranked[: vocab_size - len(specials)]
        return cls([*specials, *ranked], specials=specials)

    def tokenize(self, text: str) -> list[str]:
        _check_text("WhitespaceTokenizer", text)
        return [self._known(word, word) for word in text.split()]

    def _join(self, tokens: list[str]) -> str:
        return " ".join(tokens)


class CharacterTokenizer(Tokenizer):
    """Cut into characters: nothing is lost, and a text becomes long."""

    @classmethod
    def train(cls, texts: Iterable[str], *, specials: Sequence[str] = SPECIALS) -> Self:
        """Take every character that occurs, in the order of Unicode.

        Raises:
            ValueError: `texts` is one string or holds something else than strings.
        """
        characters = set().union(*_checked("CharacterTokenizer.train", texts)) - set(specials)
        return cls([*specials, *sorted(characters)], specials=specials)

    def tokenize(self, text: str) -> list[str]:
        _check_text("CharacterTokenizer", text)
        return [self._known(character, character) for character in text]


class BPETokenizer(Tokenizer):
    """Byte-pair encoding: begin with characters, and merge the pairs of neighbours that training merged.

    The text is first cut into pieces (a word with the space before it), and no merge crosses a cut. Where all
    characters are known, decode(encode(text)) == text.

    Args:
        tokens: special tokens, characters, and what the merges make.
        merges: pairs of tokens in the order in which training merged them. The place of a pair is its rank.
        specials: the special tokens.
        byte_level: the characters are the 256 bytes of UTF-8, each written as the Latin-1 character of its
            number, so that no text has anything unknown.

    Raises:
        ValueError: tokens as in `Tokenizer`; a merge whose parts or result are no tokens, or that comes twice.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("tokens", "merges", "specials", "byte_level")

    def __init__(
        self,
        tokens: Sequence[str],
        merges: Sequence[Sequence[str]],
        *,
        specials: Sequence[str] = SPECIALS,
        byte_level: bool = False,
    ):
        super().__init__(tokens, specials=specials)
        if not isinstance(byte_level, bool):
            raise ValueError(f"BPETokenizer: byte_level must be True or False, got {byte_level!r}")
        written = self.ids.keys() - set(specials)  # the tokens that text can become
        _check_merges(merges, written)
        self.merges = [(left, right) for left, right in merges]
        self.byte_level = byte_level
        if byte_level and not set(_latin_1_alphabet()) <= written:
            raise ValueError(
                "BPETokenizer: with byte_level all 256 bytes must be tokens, and none of them special"
            )
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._cache: dict[str, list[str]] = {}

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int,
        specials: Sequence[str] = SPECIALS,
        byte_level: bool = False,
    ) -> Self:
        """Merge the most frequent pair of neighbours, again and again, until the vocabulary is full.

        Equal counts: the pair with the smaller ids first. Training ends early when no pair is left.

        Args:
            texts: the texts to count in.
            vocab_size: number of tokens with the special tokens and the characters.
            specials: the special tokens.
            byte_level: count bytes and not characters.

        Raises:
            ValueError: `texts` is one string or holds something else than strings, or `vocab_size` is smaller than
                the number of special tokens and characters.
        """
        who = "BPETokenizer.train"
        counts = Counter(piece for text in _checked(who, texts) for piece in PIECES.findall(text))
        if byte_level:
            words = {tuple(_as_latin_1(piece)): count for piece, count in counts.items()}
            alphabet = _latin_1_alphabet()
        else:
            words = {tuple(piece): count for piece, count in counts.items()}
            alphabet = sorted(set().union(*counts))
        alphabet = [character for character in alphabet if character not in specials]
        tokens = [*specials, *alphabet]
        _check_vocab_size(who, vocab_size, len(tokens), f"{len(alphabet)} characters")
        merges = _learn_merges(words, tokens, vocab_size, specials, join=operator.add)
        return cls(tokens, merges, specials=specials, byte_level=byte_level)

    def tokenize(self, text: str) -> list[str]:
        _check_text("BPETokenizer", text)
        tokens: list[str] = []
        for piece in PIECES.findall(text):
            if piece not in self._cache:
                _make_room(self._cache)
                self._cache[piece] = self._merge_piece(piece)
            tokens += self._cache[piece]
        return tokens

    def _merge_piece(self, piece: str) -> list[str]:
        """Merge the pair of lowest rank, everywhere from left to right, until no pair has a rank."""
        characters = _as_latin_1(piece) if self.byte_level else piece
        symbols = [self._known(character, piece) for character in characters]
        while True:
            ranked = [pair for pair in pairwise(symbols) if pair in self._ranks]
            if not ranked:
                return symbols
            best = min(ranked, key=self._ranks.__getitem__)
            symbols = _merge(symbols, best, "".join(best))

    def _join(self, tokens: list[str]) -> str:
        if not self.byte_level:
            return "".join(tokens)
        written = (token.encode("utf-8" if token in self.specials else "latin-1") for token in tokens)
        # Ids may stop inside a character, for instance while a model writes: � stands for such a rest.
        return b"".join(written).decode("utf-8", errors="replace")


class WordPieceTokenizer(Tokenizer):
    """WordPiece: each word is written with the longest pieces the vocabulary has, from left to right.

    A piece that continues a word begins with `##`. A word that cannot be written, or has more than 100 characters,
    becomes one `[UNK]`. `decode` puts one space between words: the white space of the text is lost.
    """

    def __init__(self, tokens: Sequence[str], *, specials: Sequence[str] = SPECIALS):
        super().__init__(tokens, specials=specials)
        self._cache: dict[str, list[str]] = {}

    @classmethod
    def train(cls, texts: Iterable[str], *, vocab_size: int, specials: Sequence[str] = SPECIALS) -> Self:
        """Merge the most frequent pair of neighbours until the vocabulary is full, and keep the tokens.

        The tokens begin with the special ones, every character, and `##` with every character that continues a word.

        Args:
            texts: the texts to count in.
            vocab_size: number of tokens with all of these.
            specials: the special tokens.

        Raises:
            ValueError: `texts` is one string or holds something else than strings, or `vocab_size` is too small.

        Differs from the paper: Wu et al. merge the pair that raises the likelihood of the text most; counting
        pairs is what Hugging Face does.
        """
        who = "WordPieceTokenizer.train"
        counts = Counter(word for text in _checked(who, texts) for word in WORDS.findall(text))
        words = {tuple(_with_marks(word)): count for word, count in counts.items()}
        alphabet = set().union(*counts)
        continuing = {symbol for symbols in words for symbol in symbols[1:]}
        symbols = [s for s in [*sorted(alphabet), *sorted(continuing)] if s not in specials]
        tokens = [*specials, *symbols]
        _check_vocab_size(who, vocab_size, len(tokens), f"{len(symbols)} characters, with and without ##")
        _learn_merges(words, tokens, vocab_size, specials, join=_join_marked)
        return cls(tokens, specials=specials)

    def tokenize(self, text: str) -> list[str]:
        _check_text("WordPieceTokenizer", text)
        tokens: list[str] = []
        for word in WORDS.findall(text):
            if word not in self._cache:
                _make_room(self._cache)
                self._cache[word] = self._cut(word)
            tokens += self._cache[word]
        return tokens

    def _cut(self, word: str) -> list[str]:
        """Take the longest piece that the vocabulary has, then go on behind it."""
        if len(word) > LONGEST_WORD:
            return [self._unknown(word)]
        pieces, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                if piece in self.ids and piece not in self.specials:
                    break
            else:
                return [self._unknown(word)]  # one for the whole word, and none of its pieces
            pieces.append(piece)
            start = end
        return pieces

    def _join(self, tokens: list[str]) -> str:
        return " ".join(tokens).replace(" ##", "")


def _learn_merges(
    words: dict[tuple[str, ...], int],
    tokens: list[str],
    vocab_size: int,
    specials: Sequence[str],
    join: Callable[[str, str], str],
) -> list[tuple[str, str]]:
    """Merge the most frequent pair until there are `vocab_size` tokens; new tokens are added to `tokens`.

    Counting all pairs anew after each merge would take words × merges steps. Here only the words that hold the
    merged pair are counted anew, and a heap gives the most frequent pair.

    Args:
        words: how often each word occurs, a word as the tuple of its symbols.
        join: the token that a pair of tokens makes.

    Returns:
        The merged pairs, in order.
    """
    ids = {token: number for number, token in enumerate(tokens)}
    texts = [[ids[symbol] for symbol in word] for word in words]
    times = list(words.values())
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)  # pair → the words it may stand in
    for place, text in enumerate(texts):
        for pair in pairwise(text):
            counts[pair] += times[place]
            places[pair].add(place)

    heap = [
        (-count, pair) for pair, count in counts.items()
    ]  # the smallest entry: most often, then lowest ids
    heapq.heapify(heap)
    reserved = set(specials)  # text never becomes a special token, and is never merged with one
    merges: list[tuple[str, str]] = []
    while heap and len(tokens) < vocab_size:
        entry, pair = heapq.heappop(heap)
        if counts[pair] != -entry:  # the count fell since this entry was made: back into the queue
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
            continue
        parts = tokens[pair[0]], tokens[pair[1]]
        new = join(*parts)
        if not reserved.isdisjoint({*parts, new}):
            continue
        if new not in ids:  # two different pairs can make the same token
            ids[new] = len(tokens)
            tokens.append(new)
        merges.append(parts)

        changed: set[Pair] = set()
        for place in places.pop(pair):
            before, after = texts[place], _merge(texts[place], pair, ids[new])
            for old in pairwise(before):
                counts[old] -= times[place]
            for now in pairwise(after):
                counts[now] += times[place]
                if ids[new] in now:
                    places[now].add(place)
                    changed.add(now)
            texts[place] = after
        for now in changed:
            heapq.heappush(heap, (-counts[now], now))
    return list(dict.fromkeys(merges))  # should a pair come up a second time, its first rank counts


def _merge(symbols: Sequence[Symbol], pair: tuple[Symbol, Symbol], merged: Symbol) -> list[Symbol]:
    """Replace the pair by one symbol wherever it stands, from left to right."""
    left, right = pair
    result: list[Symbol] = []
    place, last = 0, len(symbols) - 1
    while place <= last:
        if symbols[place] == left and place < last and symbols[place + 1] == right:
            result.append(merged)
            place += 2
        else:
            result.append(symbols[place])
            place += 1
    return result


def _with_marks(word: str) -> list[str]:
    return [word[0], *("##" + character for character in word[1:])]


def _join_marked(left: str, right: str) -> str:
    return left + right.removeprefix("##")


def _latin_1_alphabet() -> list[str]:
    return [chr(number) for number in range(256)]


def _as_latin_1(piece: str) -> str:
    """Write each byte of the piece as the character of its number."""
    return piece.encode("utf-8").decode("latin-1")


def _make_room(cache: dict[str, list[str]]) -> None:
    if len(cache) >= CACHED_PIECES:
        cache.clear()


def _checked(who: str, texts: Iterable[str]) -> Iterable[str]:
    if isinstance(texts, str):
        raise ValueError(f"{who}: texts must be a list of strings, got one string; write [text]")
    return (_check_text(who, text) for text in texts)


def _check_text(who: str, text: str) -> str:
    if not isinstance(text, str):
        raise ValueError(f"{who}: a text must be a string, got {type(text).__name__}")
    return text


def _check_vocab_size(who: str, vocab_size: int, least: int, what: str) -> None:
    if not isinstance(vocab_size, int) or vocab_size < least:
        raise ValueError(
            f"{who}: vocab_size must be at least {least}, to hold the special tokens and {what}; got {vocab_size!r}"
        )


def _check_strings(name: str, given: Sequence[str]) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValueError(f"{name} must be a list of strings, got {type(given).__name__}")
    wrong = [item for item in given if not isinstance(item, str) or not item]
    if wrong:
        raise ValueError(f"{name} must be strings that are not empty, got {wrong[0]!r}")
    if len(set(given)) != len(given):
        twice = next(item for item, count in Counter(given).items() if count > 1)
        raise ValueError(f"{name} must all be different, got {twice!r} twice")


def _check_merges(merges: Sequence[Sequence[str]], tokens: set[str]) -> None:
    if isinstance(merges, str) or not isinstance(merges, Sequence):
        raise ValueError(f"BPETokenizer: merges must be a list of pairs, got {type(merges).__name__}")
    seen = set()
    for merge in merges:
        if (
            isinstance(merge, str)
            or not isinstance(merge, Sequence)
            or [isinstance(part, str) for part in merge] != [True, True]
        ):
            raise ValueError(f"BPETokenizer: a merge must be a pair of tokens, got {merge!r}")
        for token in (*merge, "".join(merge)):
            if token not in tokens:
                raise ValueError(
                    f"BPETokenizer: the merge {tuple(merge)} needs {token!r}, which is no token of texts"
                )
        if tuple(merge) in seen:
            raise ValueError(f"BPETokenizer: the merge {tuple(merge)} comes twice")
        seen.add(tuple(merge))


def _read(path: str | Path, kind: str, fields: tuple[str, ...]) -> dict[str, Any]:
    """Read what `save` wrote, as far as that can be checked without building the tokenizer."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or brackets without end
        raise ValueError(f"{path} is no tokenizer file: it cannot be read as JSON ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("tokenizer"), str):
        raise ValueError(f"{path} is no tokenizer file: it does not say which tokenizer it holds")
    if content["tokenizer"] != kind:
        raise ValueError(f"{path} holds a {content['tokenizer']}, not a {kind}")
    missing, foreign = set(fields) - content.keys(), content.keys() - set(fields) - {"tokenizer"}
    if missing or foreign:
        raise ValueError(
            f"{path} is no file of a {kind}: missing {sorted(missing) or 'nothing'}, "
            f"unknown {sorted(foreign) or 'nothing'}"
        )
    return {name: content[name] for name in fields}
