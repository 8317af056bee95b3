"""The small world: people, places and things, told in short documents, for BERT and XLNet.

A *review* tells of a thing in a city, and of what somebody felt there:
"the film in new york was hilarious and witty . mary laughed ."
A *diary* tells first of one of one to three cities what somebody did there, and then how they were:
"mary has laughed in new york . san jose was creepy , new york was witty , palm beach was flat ."

Four properties make it useful. Each city has two tokens, most of which belong to several cities: who draws both at
once, each by itself, gets "new angeles". Documents have an order, for next-sentence pairs. Half of the adjectives
occur in the documents and never in what a task is learned from, so that only who has read the documents knows what
they mean. And a question about a diary, "what city has mary laughed in ?", is answered by who knows which of three
adjectives makes one laugh: where the answer stands says nothing.

What is told lies on one side: what a document of the held-out side tells, no document of the training side tells, in
no other order and in no other words.

N examples · T tokens
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, SupportsFloat, SupportsIndex

import torch
from torch import Tensor


class Feeling(NamedTuple):
    """What the things that cause it are called, and what people do who feel it."""

    seen: tuple[str, ...]  # adjectives of what a task is learned from
    unseen: tuple[str, ...]  # adjectives that stand in the documents alone
    reactions: tuple[str, ...]


CITIES = (
    ("new", "york"),
    ("new", "haven"),
    ("west", "haven"),
    ("san", "francisco"),
    ("san", "diego"),
    ("san", "jose"),
    ("los", "angeles"),
    ("los", "alamos"),
    ("las", "vegas"),
    ("santa", "fe"),
    ("long", "beach"),
    ("palm", "beach"),
    ("palm", "springs"),
    ("hot", "springs"),
    ("grand", "rapids"),
    ("cedar", "rapids"),
)
# fmt: off
NAMES = (
    "anna", "clara", "emma", "grace", "helen", "irene", "jane", "laura",
    "lucy", "martha", "mary", "nora", "rosa", "ruth", "sarah", "vera",
    "adam", "david", "frank", "george", "henry", "john", "leo", "mark",
    "oscar", "paul", "peter", "robert", "simon", "thomas", "victor", "walter",
)
THINGS = (
    "film", "play", "concert", "show", "story", "book", "circus", "dance",
    "lecture", "parade", "opera", "party", "poem", "song", "speech", "museum",
)
# fmt: on
FEELINGS: dict[str, Feeling] = {
    "amused": Feeling(
        seen=("funny", "comic", "hilarious", "witty"),
        unseen=("silly", "playful", "merry", "absurd"),
        reactions=("laughed", "giggled"),
    ),
    "sad": Feeling(
        seen=("tragic", "gloomy", "sorrowful", "bleak"),
        unseen=("mournful", "tearful", "grim", "dismal"),
        reactions=("wept", "sobbed"),
    ),
    "afraid": Feeling(
        seen=("scary", "creepy", "spooky", "sinister"),
        unseen=("eerie", "ghastly", "alarming", "gruesome"),
        reactions=("trembled", "screamed"),
    ),
    "bored": Feeling(
        seen=("boring", "tedious", "bland", "stale"),
        unseen=("dull", "flat", "monotonous", "endless"),
        reactions=("yawned", "dozed"),
    ),
}
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
GRAMMAR = (".", "?", ",", "the", "in", "was", "and", "has", "what", "city")


def _words() -> tuple[str, ...]:
    of_feelings = [word for feeling in FEELINGS.values() for words in feeling for word in words]
    in_cities = [token for city in CITIES for token in city]
    return tuple(dict.fromkeys([*SPECIALS, *GRAMMAR, *in_cities, *NAMES, *THINGS, *of_feelings]))


WORDS = _words()
IDS = {word: number for number, word in enumerate(WORDS)}
PAD, UNK, CLS, SEP, MASK = (IDS[word] for word in SPECIALS)
CLASSES = tuple((" ".join(city), feeling) for city in CITIES for feeling in FEELINGS)  # of the reviews
MAX_LEN = 25  # of the longest row: a pair of the two sentences of a diary, or a question with its text
CITY_PLACES = (4, 5)  # where the city stands in a row of `Reviews`

Document = list[list[str]]  # its sentences, in order, each a list of words
Side = Literal["training", "held out"]


class Reviews(NamedTuple):
    """First sentences of reviews, [CLS] the film in new york was hilarious and witty . [SEP], and their classes."""

    tokens: Tensor  # (N, T)
    labels: Tensor  # (N,), numbers in `CLASSES`


class Questions(NamedTuple):
    """Rows of [CLS] what city has mary laughed in ? [SEP] san jose was creepy , … [SEP], and their answers."""

    tokens: Tensor  # (N, T)
    segments: Tensor  # (N, T): 1 = the text and its [SEP]
    start: Tensor  # (N,): the answer's first token, counted from the row's begin
    end: Tensor  # (N,): its last one


# --- documents ---------------------------------------------------------------------------------------------------


def sample_documents(
    n: int, *, generator: torch.Generator, side: Side = "training", diaries: float = 0.5
) -> list[Document]:
    """Draw documents: reviews and diaries, of two sentences each.

    Args:
        n: N, at least 1.
        generator: the source of all chance.
        side: "training" or "held out".
        diaries: how many of them are diaries, a share from 0 to 1.

    Returns:
        N documents in random order. A text is the sentences of one, one after the other.

    Raises:
        ValueError: a number out of range, an unknown side, or no generator.
    """
    _check_draw("sample_documents", n, generator, side)
    if not isinstance(diaries, SupportsFloat) or not 0 <= float(diaries) <= 1:
        raise ValueError(f"sample_documents: diaries must be a share from 0 to 1, got {diaries!r}")
    is_diary = torch.rand(n, generator=generator) < diaries  # (N,)
    n_diaries = int(is_diary.sum())
    diary = iter(_diaries(n_diaries, side, "either", generator))
    review = iter(_reviews(n - n_diaries, side, "either", generator))
    return [next(diary).document if chosen else next(review).document for chosen in is_diary.tolist()]


def sample_reviews(
    n: int,
    *,
    generator: torch.Generator,
    side: Side = "training",
    adjectives: Literal["seen", "unseen"] = "seen",
) -> Reviews:
    """Draw first sentences of reviews, to be sorted into 64 classes: in which city, and how one feels there.

    Args:
        n: N, at least 1.
        generator: the source of all chance.
        side: "training" or "held out".
        adjectives: which half of each feeling's adjectives; a classifier learns from the seen ones alone.

    Returns:
        `Reviews`, without padding: all have the same length.

    Raises:
        ValueError: a number out of range, an unknown side or kind of adjectives, or no generator.
    """
    _check_draw("sample_reviews", n, generator, side)
    _check_adjectives("sample_reviews", adjectives)
    drawn = _reviews(n, side, adjectives, generator)
    rows = [encode(["[CLS]", *review.document[0], "[SEP]"]) for review in drawn]
    return Reviews(torch.tensor(rows), torch.tensor([review.label for review in drawn]))


def sample_questions(
    n: int,
    *,
    generator: torch.Generator,
    side: Side = "training",
    adjectives: Literal["seen", "unseen"] = "seen",
) -> Questions:
    """Draw questions about diaries of three cities, of which the adjectives say where somebody laughed or wept.

    Args:
        n: N, at least 1.
        generator: the source of all chance.
        side: "training" or "held out".
        adjectives: which half of each feeling's adjectives.

    Returns:
        `Questions`, without padding: all have the same length.

    Raises:
        ValueError: a number out of range, an unknown side or kind of adjectives, or no generator.
    """
    _check_draw("sample_questions", n, generator, side)
    _check_adjectives("sample_questions", adjectives)
    tokens, segments, starts = [], [], []
    for diary in _diaries(n, side, adjectives, generator, n_cities=3):
        (name, has, reaction, *_), text = diary.document
        question = ["[CLS]", "what", "city", has, name, reaction, "in", "?", "[SEP]"]
        tokens.append(encode([*question, *text, "[SEP]"]))
        segments.append([0] * len(question) + [1] * (len(text) + 1))
        starts.append(len(question) + diary.answer_place)
    start = torch.tensor(starts)
    return Questions(torch.tensor(tokens), torch.tensor(segments), start, start + 1)


# --- words and ids -----------------------------------------------------------------------------------------------


def encode(words: Sequence[str]) -> list[int]:
    """Turn words into ids; a word that this world does not have becomes [UNK].

    Raises:
        ValueError: a text that was not split into words.
    """
    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"encode: words must be a list of words, got {words!r}")
    return [IDS.get(word, UNK) for word in words]


def decode(ids: Sequence[int] | Tensor) -> list[str]:
    """Turn ids into words.

    Args:
        ids: whole numbers, a list or a tensor (T,).

    Raises:
        ValueError: ids outside the vocabulary, or more than one row of them.
    """
    numbers = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    for number in numbers:
        if not isinstance(number, int) or not 0 <= number < len(WORDS):
            raise ValueError(f"decode: ids must be whole numbers from 0 to {len(WORDS) - 1}, got {number!r}")
    return [WORDS[number] for number in numbers]


def text_rows(documents: Sequence[Document]) -> Tensor:
    """Write each document as one row, [CLS] all its sentences [SEP], filled up with [PAD] on the right.

    Args:
        documents: at least one, of at least one sentence each.

    Returns:
        tokens, (N, T), T the length of the longest.

    Raises:
        ValueError: no document, or one without words.
    """
    if len(documents) == 0 or not all(any(document) for document in documents):
        raise ValueError("text_rows: needs at least one document, and words in each")
    rows = [
        [CLS, *(number for sentence in document for number in encode(sentence)), SEP]
        for document in documents
    ]
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])  # (N, T)


def continues_word(tokens: Tensor) -> Tensor:
    """Say which tokens continue a name: True at the second token of a city, of any shape.

    For whole-word masking, `corrupt_words(…, unit="word", continues_word=…)`.

    Raises:
        ValueError: ids outside the vocabulary, or no integers.
    """
    _check_ids("continues_word", tokens)
    is_second = torch.zeros(len(WORDS), dtype=torch.bool)
    is_second[[IDS[second] for _, second in CITIES]] = True
    return is_second[tokens.long()]


# --- cities drawn token by token ---------------------------------------------------------------------------------


def incoherent_share(pairs: Tensor) -> float:
    """Return the share of pairs that are no city: "new angeles", or words that belong to none.

    Args:
        pairs: ids, (N, 2), first and second token.

    Raises:
        ValueError: not (N, 2) with N at least 1, or ids outside the vocabulary.
    """
    _check_ids("incoherent_share", pairs)
    if pairs.dim() != 2 or pairs.size(0) == 0 or pairs.size(1) != 2:
        raise ValueError(
            f"incoherent_share: pairs must be (N, 2) with N at least 1, got {tuple(pairs.shape)}"
        )
    is_city = torch.zeros(len(WORDS), len(WORDS), dtype=torch.bool)
    for first, second in CITIES:
        is_city[IDS[first], IDS[second]] = True
    return 1 - is_city[pairs[:, 0].long(), pairs[:, 1].long()].double().mean().item()


def independent_incoherent_share() -> float:
    """Return the share of pairs that are no city, where each token is drawn by itself from its true distribution.

    1 − Σ p(first) p(second) over the cities. All 16 are equally likely, so that p(first) is the number of cities that
    begin with it, over 16: no model that draws both at once can do better, however well it was trained.
    """
    firsts, seconds = zip(*CITIES, strict=True)
    hits = sum(firsts.count(first) * seconds.count(second) for first, second in CITIES)
    return 1 - hits / len(CITIES) ** 2


# --- what is told ------------------------------------------------------------------------------------------------


class _Review(NamedTuple):
    document: Document
    label: int


class _Diary(NamedTuple):
    document: Document
    answer_place: int  # of the first sentence's city in the second


Half = Literal["seen", "unseen", "either"]  # which adjectives: (first, how many) of the eight of a feeling
_HALVES: dict[Half, tuple[int, int]] = {"seen": (0, 4), "unseen": (4, 4), "either": (0, 8)}


def _reviews(n: int, side: Side, half: Half, generator: torch.Generator) -> list[_Review]:
    first, count = _HALVES[half]
    sizes = (len(THINGS), len(CITIES), len(FEELINGS), len(NAMES), 2)

    def draw(many: int) -> tuple[Tensor, Tensor]:
        numbers = _numbers(sizes, many, generator)  # (M, 5)
        pair = (
            first + torch.rand(many, count, generator=generator).argsort(1)[:, :2]
        )  # (M, 2): two that differ
        told = torch.cat([numbers[:, :3], pair.sort(1).values], dim=1)  # the first sentence, in either order
        return torch.cat([numbers, pair], dim=1), told

    feelings = tuple(FEELINGS.values())
    drawn = []
    for thing, city, number, name, reaction, one, other in _draw_on(side, n, draw):
        feeling = feelings[number]
        words = feeling.seen + feeling.unseen
        document = [
            ["the", THINGS[thing], "in", *CITIES[city], "was", words[one], "and", words[other], "."],
            [NAMES[name], feeling.reactions[reaction], "."],
        ]
        drawn.append(_Review(document, label=city * len(FEELINGS) + number))
    return drawn


def _diaries(
    n: int, side: Side, half: Half, generator: torch.Generator, n_cities: int | None = None
) -> list[_Diary]:
    first, count = _HALVES[half]
    longest = 3

    def draw(many: int) -> tuple[Tensor, Tensor]:
        cities = torch.rand(many, len(CITIES), generator=generator).argsort(1)[
            :, :longest
        ]  # (M, 3), all different
        feelings = torch.rand(many, len(FEELINGS), generator=generator).argsort(1)[:, :longest]  # (M, 3), too
        adjectives = first + _numbers((count,) * longest, many, generator)  # (M, 3)
        name, reaction, length, which = _numbers((len(NAMES), 2, longest, 6), many, generator).split(1, dim=1)
        length = length + 1 if n_cities is None else torch.full_like(length, n_cities)  # (M, 1)
        which = which % length  # every one as likely, for 6 is a multiple of 1, 2 and 3
        # Told is which city was how, in whatever order.
        clauses = 1 + 32 * cities + 8 * feelings + adjectives  # (M, 3)
        told = clauses.masked_fill(torch.arange(longest) >= length, 0).sort(1).values
        return torch.cat([name, reaction, length, which, cities, feelings, adjectives], dim=1), told

    of_feelings = tuple(FEELINGS.values())
    drawn = []
    for name, reaction, length, which, *rest in _draw_on(side, n, draw):
        cities, feelings, adjectives = rest[:longest], rest[longest : 2 * longest], rest[2 * longest :]
        text = []
        for city, number, adjective in zip(cities[:length], feelings, adjectives, strict=False):
            feeling = of_feelings[number]
            text += [*CITIES[city], "was", (feeling.seen + feeling.unseen)[adjective], ","]
        text[-1] = "."
        did = of_feelings[feelings[which]].reactions[reaction]
        headline = [NAMES[name], "has", did, "in", *CITIES[cities[which]], "."]
        drawn.append(_Diary([headline, text], answer_place=5 * which))  # five tokens for each city before it
    return drawn


def _numbers(sizes: tuple[int, ...], n: int, generator: torch.Generator) -> Tensor:
    """Draw n rows of whole numbers, each below its size: (n, K)."""
    return torch.stack([torch.randint(size, (n,), generator=generator) for size in sizes], dim=1)


def _draw_on(side: Side, n: int, draw: Callable[[int], tuple[Tensor, Tensor]]) -> list[list[int]]:
    """Draw until n rows are on the side that their `told` puts them on.

    Args:
        draw: M → numbers (M, K) of M candidates, and those of them that say what is told, (M, L).
    """
    kept: list[list[int]] = []
    while len(kept) < n:
        numbers, told = draw(2 * (n - len(kept)) + 16)
        kept += numbers[_is_held_out(told) == (side == "held out")].tolist()
    return kept[:n]


def _is_held_out(told: Tensor) -> Tensor:
    """Put about one in ten of all that can be told on the held-out side, by a hash of it: (N, L) → boolean (N,)."""
    code = torch.zeros(len(told), dtype=torch.long)
    for column in told.unbind(1):
        code = (code + column + 1) * 2_654_435_761 % 2**32  # Knuth's multiplicative hash
    return code // 2**16 % 10 == 0  # its upper half, the better mixed one


# --- what may be given -------------------------------------------------------------------------------------------


def _check_draw(who: str, n: int, generator: torch.Generator, side: str) -> None:
    if not isinstance(n, SupportsIndex) or isinstance(n, bool) or int(n) < 1:
        raise ValueError(f"{who}: n must be a whole number, at least 1, got {n!r}")
    if side not in ("training", "held out"):
        raise ValueError(f"{who}: side must be 'training' or 'held out', got {side!r}")
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"{who}: generator must be a torch.Generator, got a {type(generator).__name__}")


def _check_adjectives(who: str, adjectives: str) -> None:
    if adjectives not in ("seen", "unseen"):
        raise ValueError(f"{who}: adjectives must be 'seen' or 'unseen', got {adjectives!r}")


def _check_ids(who: str, ids: Tensor) -> None:
    if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        got = f"dtype {ids.dtype}" if isinstance(ids, Tensor) else f"a {type(ids).__name__}"
        raise ValueError(f"{who}: needs a tensor of integer ids, got {got}")
    outside = ids[(ids < 0) | (ids >= len(WORDS))]
    if len(outside):
        raise ValueError(f"{who}: ids must lie between 0 and {len(WORDS) - 1}, got {outside[0].item()}")
