"""Exercise 02.count_pairs: what BPE looks at when it learns: pairs of neighbours, and the pair to merge next."""

from __future__ import annotations

import copy
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import Text, WrongReturn
from course_lib.checks.probe import a_function, kind_of, yes
from course_lib.checks.probe_text import several, some_counts
from course_lib.checks.tokens.shared import as_the_reference, changes

STUB = '''
def count_pairs(corpus):
    """Count the pairs of neighbouring symbols in a corpus, and choose the pair that BPE merges next.

    Args:
        corpus: {word: how often it stands in the text}. A word is a tuple of symbols (strings), such
            as ("l", "o", "w"). The symbols may be longer than one letter.

    Returns:
        counts: {(left, right): how often right follows left inside a word of the text}. Every place
            counts: ("a", "a", "a") holds the pair ("a", "a") twice.
        best: the pair with the highest count. Where several have it: the smallest of them, as Python
            orders tuples. None if there is no pair.

    The corpus stays as it was.
    """
'''

Corpus = dict[tuple[str, ...], int]
Pair = tuple[str, str]
_ASKED = "a dict of counts and the best pair"


def _best_pair(best: Any) -> Pair | None:
    if best is None or (
        isinstance(best, (tuple, list)) and len(best) == 2 and all(isinstance(part, str) for part in best)
    ):
        return None if best is None else (best[0], best[1])
    for is_so, name, message in (
        (
            isinstance(best, (tuple, list)) and len(best) == 2 and isinstance(best[1], Real),
            "the best pair with its count",
            "You return the best pair together with its count; the pair alone is asked for.",
        ),
        (isinstance(best, str), "the best pair joined", "Your best pair is one string; two are asked for."),
        (
            isinstance(best, (tuple, list)) and not best,
            "an empty best pair",
            f"Your best pair is empty, {best!r}; where there is no pair, None is asked for.",
        ),
        (
            isinstance(best, (tuple, list, set)) and all(isinstance(each, tuple) for each in best),
            "several best pairs",
            "You return several best pairs; one is asked for, the smallest of them.",
        ),
    ):
        if is_so:
            raise WrongReturn(
                name, message, f"The exercise asks for a pair such as ('l', 'o'). Yours is {best!r}."[:300]
            )
    raise WrongReturn(
        "no pair as the best",
        f"Your best pair should be two strings or None; it is {kind_of(best)}."[:83],
        f"The exercise asks for a pair such as ('l', 'o'), without its count. Yours is {best!r}."[:300],
    )


def _both(result: Any) -> list[Any]:
    """Return counts and best pair, or say kindly which of them is missing or stands in the other's place."""
    if isinstance(result, Mapping):
        raise WrongReturn(
            "the counts alone",
            "You return the counts alone; the best pair is asked for too.",
            "End with `return counts, best`.",
        )
    parts = several(result, 2, asked=_ASKED)
    if all(isinstance(part, str) for part in parts):
        raise WrongReturn(
            "the best pair alone",
            "You return the best pair alone; the counts are asked for too.",
            "End with `return counts, best`.",
        )
    if isinstance(parts[1], Mapping):
        raise WrongReturn(
            "the best pair first",
            "You return the best pair first; the counts should stand first.",
            "End with `return counts, best`.",
        )
    return parts


def _counted(candidate: Any, **corpora: Corpus) -> Seen:
    seen: Seen = {}
    for name, corpus in corpora.items():
        given = copy.deepcopy(corpus)
        counts, best = _both(a_function(candidate)(given))
        call = f"count_pairs({corpus!r})"
        seen[f"counts of {name}"] = Text(f"{call}[0]", some_counts(counts, asked=_ASKED), (corpus,))
        seen[f"best of {name}"] = Text(f"{call}[1]", _best_pair(best), (corpus,))
        seen["input changed"] = yes(given != corpus or seen.get("input changed", yes(False)).item() != 0)
    return seen


def _pairs_of_two_words(candidate: Any) -> Seen:
    return _counted(candidate, words={("l", "o", "w"): 5, ("l", "o", "g"): 2})


def _pairs_that_overlap(candidate: Any) -> Seen:
    return _counted(
        candidate, four={("a", "a", "a", "b"): 3}, five={("b", "a", "a", "a", "a", "a"): 2, ("b", "c"): 5}
    )


def _pairs_that_stand_twice(candidate: Any) -> Seen:
    return _counted(candidate, words={("n", "a", "n", "a", "s"): 4, ("a", "n"): 5, ("s", "o"): 1})


def _pairs_of_longer_symbols(candidate: Any) -> Seen:
    return _counted(
        candidate,
        syllables={("un", "do"): 3, ("u", "ndo"): 4, ("do", "un"): 2},
        words={("in", "put", "s"): 6, ("in", "s"): 7, ("put",): 9},
    )


def _pairs_with_equal_counts(candidate: Any) -> Seen:
    return _counted(
        candidate,
        four={("b", "c"): 4, ("d", "a"): 4, ("a", "d"): 4, ("c", "b"): 4, ("a", "a"): 1},
        left={("a", "z"): 2, ("a", "c"): 2, ("a", "m"): 2},
        long={("ab", "c"): 2, ("a", "bz"): 2, ("b", "a"): 1},
        short={("ab", "c"): 2, ("b", "a"): 2, ("x", "y"): 2},
        letters={("ab", "c"): 2, ("a", "z"): 2},
        once={("b", "a"): 1, ("a", "b"): 1},
        capitals={("a", "c"): 2, ("B", "a"): 2},
    )


def _pairs_of_words_with_one_symbol(candidate: Any) -> Seen:
    return _counted(candidate, words={("a",): 8, ("i", "t"): 2, ("I",): 6})


def _pairs_where_there_are_none(candidate: Any) -> Seen:
    return _counted(candidate, words={("a",): 5, ("bc",): 1})


def _pairs_of_a_larger_corpus(candidate: Any) -> Seen:
    """Words drawn at random, so that two unlike ways to count or to choose do not agree by chance."""
    draw = random.Random(12)
    symbols = {"few": ("a", "b", "ab"), "several": ("a", "A", "b", "ba", "un", "é")}
    return _counted(
        candidate,
        **{
            name: {tuple(draw.choices(some, k=draw.randint(1, 6))): draw.randint(1, 6) for _ in range(9)}
            for name, some in symbols.items()
        },
    )


_EXPERIMENTS = (
    _pairs_of_two_words,
    _pairs_that_overlap,
    _pairs_that_stand_twice,
    _pairs_of_longer_symbols,
    _pairs_with_equal_counts,
    _pairs_of_words_with_one_symbol,
    _pairs_where_there_are_none,
    _pairs_of_a_larger_corpus,
)


def _neighbours(word: tuple[str, ...]) -> Iterable[Pair]:
    return itertools.pairwise(word)


def _add_weighted(counts: Counter, pair: Pair, times: int) -> None:
    counts[pair] += times


def _smallest_of_the_most_frequent(counts: dict[Pair, Any]) -> Pair | None:
    return min(counts, key=lambda pair: (-counts[pair], pair), default=None)


def _counting(
    neighbours: Callable[[tuple[str, ...]], Iterable[Any]] = _neighbours,
    add: Callable[[Counter, Pair, int], None] = _add_weighted,
    choose: Callable[[dict[Pair, Any]], Any] = _smallest_of_the_most_frequent,
    words: Callable[[Corpus], Iterable[tuple[tuple[str, ...], int]]] = lambda corpus: corpus.items(),
) -> Any:
    """The count with one part exchanged: which pairs a word has, how they are added, which is the best."""

    def count_pairs(corpus: Corpus) -> tuple[dict[Pair, Any], Any]:
        counts: Counter = Counter()
        for word, times in words(corpus):
            for pair in neighbours(word):
                add(counts, pair, times)
        return dict(counts), choose(counts)

    return count_pairs


def _without_overlaps(word: tuple[str, ...]) -> Iterable[Pair]:
    last, place = None, 0
    while place < len(word) - 1:
        pair = (word[place], word[place + 1])
        if pair == last:
            last, place = None, place + 1
            continue
        yield pair
        last, place = pair, place + 1


def _as_shares(corpus: Corpus) -> tuple[dict[Pair, float], Any]:
    counts, best = _counting()(corpus)
    return {pair: count / sum(counts.values()) for pair, count in counts.items()}, best


def _in_one_row(repeated: bool) -> Any:
    def words(corpus: Corpus) -> Iterable[tuple[tuple[str, ...], int]]:
        times = {word: count if repeated else 1 for word, count in corpus.items()}
        row = [symbol for word in corpus for symbol in word * times[word]]
        return [(tuple(row), 1)]

    return words


def _emptying(corpus: Corpus) -> Any:
    found = _counting()(dict(corpus))
    while corpus:
        corpus.popitem()
    return found


def _best_by_places(corpus: Corpus) -> Any:
    """The counts are right; the best is the pair with the most places, whatever the words' counts."""
    return _counting()(corpus)[0], _counting(add=_one_each)(corpus)[1]


def _overwrite(counts: Counter, pair: Pair, times: int) -> None:
    counts[pair] = times


def _largest(counts: Counter, pair: Pair, times: int) -> None:
    counts[pair] = max(counts[pair], times)


def _one_each(counts: Counter, pair: Pair, times: int) -> None:
    counts[pair] += 1


def _from_one(counts: Counter, pair: Pair, times: int) -> None:
    counts[pair] = counts.get(pair, 1) + times


def _one_then_weighted(counts: Counter, pair: Pair, times: int) -> None:
    counts[pair] = counts[pair] + times if pair in counts else 1


def _first_of_the_most_frequent(counts: dict[Pair, Any]) -> Pair | None:
    return max(counts, key=lambda pair: counts[pair], default=None)


_ZIP = "for pair in zip(word, word[1:]): counts[pair] += times"
_BEST = "min(counts, key=lambda pair: (-counts[pair], pair), default=None)"
_BORDERS = (
    "You count pairs across the border of two words.",
    "The last symbol of one word and the first of the next are no neighbours. Go through the words one by one.",
    "for word, times in corpus.items(): …",
)
_ONE_PLACE = (
    "A pair that stands twice in a word counts only once in your answer.",
    "Every place counts. Is there a set, a dict, `in` or `str.count` in the way?",
    _ZIP,
)

_MISTAKES = (
    Mistake(
        "not weighted",
        _counting(add=_one_each),
        "Each word counts once in your answer, however often it stands in the text.",
        "The number beside a word says how often it stands there. Where does it enter your counts?",
        "counts[pair] += times",
    ),
    Mistake("each pair once a word", _counting(lambda word: set(_neighbours(word))), *_ONE_PLACE),
    Mistake(
        "overlaps left out",
        _counting(_without_overlaps),
        "Pairs that overlap are left out: a a a holds the pair a a twice.",
        "Counting is not merging yet. After a place is counted, the next one begins one symbol further.",
        _ZIP,
    ),
    Mistake(
        "steps of two",
        _counting(lambda word: itertools.islice(_neighbours(word), 0, None, 2)),
        "Your loop jumps two symbols at a time, and misses every second pair.",
        "In l o w there are two pairs: l o and o w. How far does your loop move each time?",
        _ZIP,
    ),
    Mistake(
        "pairs without order",
        _counting(lambda word: (tuple(sorted(pair)) for pair in _neighbours(word))),
        "Your pairs have no order: a b and b a are counted as one.",
        "The pair (left, right) is another than (right, left). Is there a `sorted` or a `frozenset`?",
        _ZIP,
    ),
    Mistake(
        "turned round",
        _counting(lambda word: ((right, left) for left, right in _neighbours(word))),
        "Your pairs are turned round: the left symbol should stand first.",
        "In l o w, the first pair is ('l', 'o').",
        _ZIP,
    ),
    Mistake(
        "both orders",
        _counting(lambda word: [pair for a, b in _neighbours(word) for pair in ((a, b), (b, a))]),
        "You count each pair in both orders; only (left, right) stands there.",
        "In l o w, o follows l, but l does not follow o.",
        _ZIP,
    ),
    Mistake("across words", _counting(words=_in_one_row(repeated=True)), *_BORDERS),
    Mistake("across words, each once", _counting(words=_in_one_row(repeated=False)), *_BORDERS),
    Mistake(
        "round the corner",
        _counting(lambda word: [(word[i - 1], word[i]) for i in range(len(word))]),
        "You also pair a word's last symbol with its first.",
        "In Python word[-1] is the last symbol. With which i does your loop begin?",
        _ZIP,
    ),
    Mistake(
        "all pairs of a word",
        _counting(lambda word: itertools.combinations(word, 2)),
        "You count any two symbols of a word, not only neighbours.",
        "In l o w, l and w do not stand side by side.",
        _ZIP,
    ),
    Mistake(
        "one symbol between them",
        _counting(lambda word: zip(word, word[2:], strict=False)),
        "Your pairs have one symbol between them.",
        "The neighbour of word[i] is word[i + 1].",
        _ZIP,
    ),
    Mistake(
        "the last pair is missing",
        _counting(lambda word: list(_neighbours(word))[:-1]),
        "The last pair of each word is missing.",
        "A word of n symbols has n - 1 pairs. Where does your loop end?",
        _ZIP,
    ),
    Mistake(
        "the first pair is missing",
        _counting(lambda word: list(_neighbours(word))[1:]),
        "The first pair of each word is missing.",
        "A word of n symbols has n - 1 pairs. Where does your loop begin?",
        _ZIP,
    ),
    Mistake(
        "overwritten",
        _counting(add=_overwrite),
        "A pair's count is overwritten when the pair is met again; it should be added to.",
        "`=` puts a number there, `+=` adds to it.",
        "counts[pair] = counts.get(pair, 0) + times",
    ),
    Mistake(
        "the largest alone",
        _counting(add=_largest),
        "You keep the largest count of a pair; the counts should be added up.",
        "A pair that stands in two words has the counts of both.",
        "counts[pair] = counts.get(pair, 0) + times",
    ),
    Mistake(
        "one too many",
        _counting(add=_from_one),
        "Each of your counts is one too high.",
        "With which number does a pair begin before it is counted?",
        "counts[pair] = counts.get(pair, 0) + times",
    ),
    Mistake(
        "the first place counts one",
        _counting(add=_one_then_weighted),
        "The first time a pair is met it counts 1 in your answer, not the word's count.",
        "What does the `else` branch write, for a pair that is not there yet?",
        "counts[pair] = counts.get(pair, 0) + times",
    ),
    Mistake(
        "twice the same is left out",
        _counting(lambda word: (pair for pair in _neighbours(word) if pair[0] != pair[1])),
        "You leave out pairs of two equal symbols.",
        "In a b b, the pair ('b', 'b') is a pair like any other.",
        _ZIP,
    ),
    Mistake(
        "only the first word",
        _counting(words=lambda corpus: list(corpus.items())[:1]),
        "You count in the first word only.",
        "Is there a `return` inside the loop?",
        "return after the loop, not in it",
    ),
    Mistake(
        "only the last word",
        _counting(words=lambda corpus: list(corpus.items())[-1:]),
        "You count in the last word only.",
        "Is the dict of counts made anew for each word?",
        "counts = Counter() before the loop, not in it",
    ),
    Mistake(
        "shares in place of counts",
        _as_shares,
        "You return shares that sum to 1; counts are asked for.",
        "Leave the division out.",
        "return counts, best",
    ),
    Mistake(
        "an end of word",
        _counting(lambda word: _neighbours((*word, "</w>"))),
        "You add a sign for the end of the word; the corpus here has none.",
        "Some BPE do this. Here only the symbols of the word form pairs.",
        _ZIP,
    ),
    Mistake(
        "the first that was met",
        _counting(choose=_first_of_the_most_frequent),
        "Among pairs with equal counts you choose the one met first, not the smallest.",
        "`max` and `most_common` keep the first of equals. What could the key hold besides the count?",
        _BEST,
    ),
    Mistake(
        "the last that was met",
        _counting(
            choose=lambda counts: max(reversed(list(counts)), key=lambda pair: counts[pair], default=None)
        ),
        "Among pairs with equal counts you choose the one met last, not the smallest.",
        "Is there a `>=` where `>` is meant? Neither looks at the pair itself, and the smallest is asked for.",
        _BEST,
    ),
    Mistake(
        "the largest of equals",
        _counting(choose=lambda counts: max(counts, key=lambda pair: (counts[pair], pair), default=None)),
        "Among pairs with equal counts you choose the largest, not the smallest.",
        "`max` over (count, pair) prefers the large pair too. What makes the count large and the pair small?",
        _BEST,
    ),
    Mistake(
        "the smallest when joined",
        _counting(
            choose=lambda counts: min(counts, key=lambda pair: (-counts[pair], "".join(pair)), default=None)
        ),
        "Among equals you compare the joined strings; compare the pairs themselves.",
        "Python compares tuples part by part: ('a', 'bz') < ('ab', 'c').",
        _BEST,
    ),
    Mistake(
        "the smallest left symbol",
        _counting(choose=lambda counts: min(counts, key=lambda pair: (-counts[pair], pair[0]), default=None)),
        "Among equals you compare the left symbols only.",
        "If these are equal too, the right symbols decide.",
        _BEST,
    ),
    Mistake(
        "the smallest right symbol",
        _counting(choose=lambda counts: min(counts, key=lambda pair: (-counts[pair], pair[1]), default=None)),
        "Among equals you compare the right symbols; the left ones come first.",
        "Python compares tuples from the left.",
        _BEST,
    ),
    Mistake(
        "the rarest",
        _counting(choose=lambda counts: min(counts, key=lambda pair: (counts[pair], pair), default=None)),
        "Your counts are right, but you choose the rarest pair.",
        "`min` by the count gives the rarest. BPE merges what occurs most often.",
        _BEST,
    ),
    Mistake(
        "the smallest of all",
        _counting(choose=lambda counts: min(counts, default=None)),
        "Your counts are right, but you choose the smallest pair, whatever its count.",
        "`min(counts)` compares the keys. Where does the count enter?",
        _BEST,
    ),
    Mistake(
        "the largest of all",
        _counting(choose=lambda counts: max(counts, default=None)),
        "Your counts are right, but you choose the largest pair, whatever its count.",
        "`max(counts)` compares the keys. Where does the count enter?",
        _BEST,
    ),
    Mistake(
        "the most places",
        _best_by_places,
        "Your counts are right, but the best pair is chosen by places, not by counts.",
        "A place in a word that stands 5 times counts 5. Is the choice made from the counts you return?",
        _BEST,
    ),
    Mistake(
        "an empty pair",
        _counting(choose=lambda counts: _smallest_of_the_most_frequent(counts) or ("", "")),
        "Where there is no pair you return one of empty strings; None is asked for.",
        "None says clearly that there is nothing left to merge.",
        _BEST,
    ),
    Mistake(
        "empties the corpus",
        _emptying,
        "The counts are right, but your function changes the corpus it was given.",
        "`pop` and `popitem` take things out of the caller's dict. Loop over `corpus.items()`.",
        "for word, times in corpus.items(): …",
    ),
)


def _is_best(text: Text, counts: Text) -> bool:
    most = max(counts.gave.values(), default=None)
    return text.gave is None if most is None else counts.gave.get(text.gave) == most


_PROPERTIES = (
    changes("corpus"),
    Property(
        "symbols that are not there",
        lambda seen: all(
            {symbol for pair in text.gave for symbol in pair}
            <= {symbol for word in text.given[0] for symbol in word}
            for saw in seen.values()
            for name, text in saw.items()
            if name.startswith("counts")
        ),
        "Your pairs hold a symbol that no word of the corpus has.",
        "Symbols are taken as they stand: not split into letters, joined, or made lower case, and none is added.",
    ),
    Property(
        "pairs that are not there",
        lambda seen: all(
            set(text.gave) <= set(expected.gave)
            for experiment in _EXPERIMENTS
            for text, expected in _side_by_side(seen, experiment)
        ),
        "You count a pair whose symbols nowhere stand side by side in this order.",
        "Only neighbours inside one word make a pair: (word[i], word[i + 1]).",
    ),
    Property(
        "pairs that are missing",
        lambda seen: all(
            set(text.gave) >= set(expected.gave)
            for experiment in _EXPERIMENTS
            for text, expected in _side_by_side(seen, experiment)
        ),
        "A pair that stands in the corpus is missing from your counts, or its count is 0.",
        "A word of n symbols has n - 1 pairs. Where does your loop begin, where does it end, and what is skipped?",
    ),
    Property(
        "other counts",
        lambda seen: all(
            text.gave == expected.gave
            for experiment in _EXPERIMENTS
            for text, expected in _side_by_side(seen, experiment)
        ),
        "You find the right pairs, but some of their counts are wrong.",
        "Each place of a pair adds the count of the word in which it stands.",
    ),
    Property(
        "not the most frequent",
        lambda seen: all(
            _is_best(saw[name], saw[name.replace("best", "counts")])
            for saw in seen.values()
            for name in saw
            if name.startswith("best")
        ),
        "Your counts are right, but your best pair is not one with the highest count.",
        "Compare by the count first: the key of your `min` or `max` decides.",
    ),
    Property(
        "another choice among equals",
        lambda seen: as_the_reference(seen, _pairs_with_equal_counts, COUNT_PAIRS.reference),
        "Among several pairs with the highest count you do not choose the smallest.",
        "Python compares tuples from the left: ('a', 'z') < ('b', 'a'). What besides the count is in your key?",
    ),
)


def _side_by_side(seen: dict[str, Seen], experiment: Any) -> list[tuple[Text, Text]]:
    """Return the counts that an experiment saw, each beside the reference's."""
    name = experiment.__name__.strip("_").replace("_", " ")
    if name not in seen:
        return []
    expected = experiment(COUNT_PAIRS.reference)
    return [(seen[name][key], thing) for key, thing in expected.items() if key.startswith("counts")]


COUNT_PAIRS: Exercise = Exercise(
    id="02.count_pairs",
    title="Count pairs, choose the best",
    stub=STUB,
    reference=_counting(),
    experiments=_EXPERIMENTS,
    mistakes=_MISTAKES,
    properties=_PROPERTIES,
    difficulty=1,
    importance=4,
    minutes=10,
)
