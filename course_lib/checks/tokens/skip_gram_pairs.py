"""Exercise 02.skip_gram_pairs: what word2vec learns from: each word beside the words around it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, yes
from course_lib.checks.probe_text import some_pairs
from course_lib.checks.shared import left_to_chance
from course_lib.checks.tokens.shared import a_text, all_answers, changes

STUB = '''
def skip_gram_pairs(sentences, window):
    """Pair each word with the words around it.

    Args:
        sentences: a list of sentences. A sentence is a list of words (strings); it may be empty.
        window: how far two words of a pair may stand apart, at least 1. With 2, a word is paired
            with up to two words before it and up to two after it, in its own sentence.

    Returns:
        A list of pairs (centre, neighbour), one for each centre and each place around it, in any
        order. Words that stand in several places give several equal pairs, and a word may be paired
        with an equal word at another place. The sentences stay as they were.
    """
'''

Sentences = Sequence[Sequence[str]]
_ASKED = "a list of pairs (centre, neighbour), each two strings"


def _pairs(candidate: Any, **cases: tuple[list[list[str]], int]) -> Seen:
    seen: Seen = {}
    changed = chance = False
    for name, (sentences, window) in cases.items():
        given = copy.deepcopy(sentences)
        pairs = some_pairs(a_function(candidate)(given, window), asked=_ASKED)
        changed = changed or given != sentences
        chance = chance or pairs != some_pairs(candidate(copy.deepcopy(sentences), window), asked=_ASKED)
        seen[f"pairs of {name.replace('_', ' ')}"] = a_text("skip_gram_pairs", sentences, window, gave=pairs)
    return seen | {"input changed": yes(changed), "second call differs": yes(chance)}


def _pairs_of_a_sentence(candidate: Any) -> Seen:
    return _pairs(candidate, four_words=([["we", "eat", "ripe", "figs"]], 1))


def _pairs_with_a_wider_window(candidate: Any) -> Seen:
    words = ["we", "eat", "ripe", "figs", "and", "plums", "today"]
    return _pairs(candidate, window_2=([words], 2), window_3=([words], 3))


def _pairs_of_two_sentences(candidate: Any) -> Seen:
    return _pairs(
        candidate,
        two_sentences=([["figs", "fall"], ["we", "eat", "them"]], 1),
        three_sentences=([["a", "b", "c"], ["d", "e"], ["f", "g", "h", "i"]], 2),
    )


def _pairs_of_words_that_stand_twice(candidate: Any) -> Seen:
    return _pairs(
        candidate,
        neighbours=([["very", "very", "ripe", "figs"]], 1),
        a_word_in_three_places=([["the", "fig", "and", "the", "plum", "and", "the", "pear"]], 2),
        a_sentence_twice=([["figs", "fall"], ["figs", "fall"]], 1),
        a_capital_letter=([["The", "figs", "the", "plums", "I", "Eat"]], 2),
    )


def _pairs_with_a_window_wider_than_the_sentence(candidate: Any) -> Seen:
    return _pairs(candidate, three_words=([["we", "eat", "figs"]], 7), two_words=([["figs", "fall"]], 2))


def _pairs_of_short_sentences(candidate: Any) -> Seen:
    return _pairs(
        candidate,
        one_word=([["figs"], ["we", "eat"], ["today"]], 2),
        an_empty_sentence=([[], ["we", "eat"], []], 1),
        one_word_alone=([["figs"]], 1),
        nothing=([], 2),
    )


_EXPERIMENTS = (
    _pairs_of_a_sentence,
    _pairs_with_a_wider_window,
    _pairs_of_two_sentences,
    _pairs_of_words_that_stand_twice,
    _pairs_with_a_window_wider_than_the_sentence,
    _pairs_of_short_sentences,
)

Places = Callable[[int, int, int], Iterable[int]]


def _around(i: int, n: int, window: int) -> Iterable[int]:
    return (j for j in range(max(0, i - window), min(n, i + window + 1)) if j != i)


def _pairing(
    places: Places = _around,
    *,
    keep: Callable[[Sequence[str], int, int], bool] = lambda words, i, j: True,
    centres: Callable[[Sequence[str], int], Iterable[int]] = lambda words, window: range(len(words)),
    sentences_of: Callable[[Sentences, int], Iterable[Sequence[str]]] = lambda sentences, window: sentences,
    finish: Callable[[list[tuple[str, str]]], Iterable[Any]] = lambda pairs: pairs,
) -> Any:
    """The pairs with one part exchanged: which places are around place i of n, which are kept, which are centres."""

    def skip_gram_pairs(sentences: Sentences, window: int) -> list[tuple[str, str]]:
        pairs = []
        for words in sentences_of(sentences, window):
            for i in centres(words, window):
                pairs += [(words[i], words[j]) for j in places(i, len(words), window) if keep(words, i, j)]
        return list(finish(pairs))

    return skip_gram_pairs


def _by_index(sentences: Sentences, window: int) -> list[tuple[str, str]]:
    """Each word's place is looked up by `index`, which finds the first."""
    pairs = []
    for words in sentences:
        for word in words:
            i = list(words).index(word)
            pairs += [(word, words[j]) for j in _around(i, len(words), window)]
    return pairs


def _by_slices(sentences: Sentences, window: int) -> list[tuple[str, str]]:
    """A slice whose beginning is negative counts from the end, and is mostly empty."""
    pairs = []
    for words in sentences:
        for i, word in enumerate(words):
            around = [*words[i - window : i], *words[i + 1 : i + window + 1]]
            pairs += [(word, other) for other in around]
    return pairs


def _without_equal_words(sentences: Sentences, window: int) -> list[tuple[str, str]]:
    """The window as a slice, from which the centre is removed by its value: all equal words go."""
    return _pairing(keep=lambda words, i, j: words[i] != words[j])(sentences, window)


def _chunks(sentences: Sentences, window: int) -> Iterable[Sequence[str]]:
    return [
        words[begin : begin + window + 1] for words in sentences for begin in range(0, len(words), window + 1)
    ]


def _emptying(sentences: list[list[str]], window: int) -> list[tuple[str, str]]:
    pairs = _pairing()([list(words) for words in sentences], window)
    for words in sentences:
        words.clear()
    return pairs


_RANGE_LINE = "for j in range(max(0, i - window), min(len(words), i + window + 1)): if j != i: …"
_WRAPPED = (
    "Words at the beginning are paired with words at the end of the sentence.",
    "words[-1] is the last word: a negative place counts from the end. Where must the window begin?",
    _RANGE_LINE,
)
_WIDTH = (
    "Your window has another width than asked.",
    "With window 2 a centre has up to two neighbours before it and two after it.",
    _RANGE_LINE,
)

_MISTAKES = (
    Mistake(
        "across sentences",
        _pairing(sentences_of=lambda sentences, window: [[word for words in sentences for word in words]]),
        "You pair words of different sentences.",
        "The last word of one sentence does not stand beside the first of the next. Take them one by one.",
        "for words in sentences: …",
    ),
    Mistake(
        "only to the right",
        _pairing(lambda i, n, window: range(i + 1, min(n, i + window + 1))),
        "Your centres have neighbours to the right only.",
        "The window reaches to both sides.",
        _RANGE_LINE,
    ),
    Mistake(
        "only to the left",
        _pairing(lambda i, n, window: range(max(0, i - window), i)),
        "Your centres have neighbours to the left only.",
        "The window reaches to both sides.",
        _RANGE_LINE,
    ),
    Mistake(
        "the centre itself",
        _pairing(lambda i, n, window: range(max(0, i - window), min(n, i + window + 1))),
        "Each word is also paired with itself.",
        "The centre's own place is in the middle of the window. Pass it over.",
        "if j != i",
    ),
    Mistake(
        "the right end is missing",
        _pairing(lambda i, n, window: (j for j in range(max(0, i - window), min(n, i + window)) if j != i)),
        "Your window ends one place too early on the right.",
        "range(a, b) does not hold b.",
        _RANGE_LINE,
    ),
    Mistake(
        "the left end is missing",
        _pairing(
            lambda i, n, window: (j for j in range(max(0, i - window + 1), min(n, i + window + 1)) if j != i)
        ),
        "Your window begins one place too late on the left.",
        "range(a, b) holds a: it begins at i - window.",
        _RANGE_LINE,
    ),
    Mistake("one too wide", _pairing(lambda i, n, window: _around(i, n, window + 1)), *_WIDTH),
    Mistake("one too narrow", _pairing(lambda i, n, window: _around(i, n, window - 1)), *_WIDTH),
    Mistake("half as wide", _pairing(lambda i, n, window: _around(i, n, window // 2)), *_WIDTH),
    Mistake(
        "half as wide, at least one",
        _pairing(lambda i, n, window: _around(i, n, max(1, window // 2))),
        *_WIDTH,
    ),
    Mistake("twice as wide", _pairing(lambda i, n, window: _around(i, n, 2 * window)), *_WIDTH),
    Mistake("always one", _pairing(lambda i, n, window: _around(i, n, 1)), *_WIDTH),
    Mistake("always two", _pairing(lambda i, n, window: _around(i, n, 2)), *_WIDTH),
    Mistake(
        "one too far to the right",
        _pairing(
            lambda i, n, window: (j for j in range(max(0, i - window), min(n, i + window + 2)) if j != i)
        ),
        *_WIDTH,
    ),
    Mistake(
        "the whole sentence",
        _pairing(lambda i, n, window: _around(i, n, n)),
        "You pair each word with its whole sentence: the window is not used.",
        "Only places at most `window` away are neighbours.",
        _RANGE_LINE,
    ),
    Mistake(
        "the farthest place only",
        _pairing(lambda i, n, window: (j for j in (i - window, i + window) if 0 <= j < n)),
        "You take only the words exactly `window` places away.",
        "All places up to there are neighbours.",
        _RANGE_LINE,
    ),
    Mistake(
        "the nearest places left out",
        _pairing(lambda i, n, window: (j for j in _around(i, n, window) if abs(i - j) > 1)),
        "The words right beside the centre are left out.",
        "The window begins one place from the centre.",
        _RANGE_LINE,
    ),
    Mistake(
        "full windows only",
        _pairing(centres=lambda words, window: range(window, len(words) - window)),
        "Words near the ends of a sentence are no centres in your answer.",
        "They have fewer neighbours, but they have some. Cut the window off at the ends.",
        _RANGE_LINE,
    ),
    Mistake(
        "round the left end",
        _pairing(
            lambda i, n, window: (j for j in range(i - window, min(n, i + window + 1)) if j != i and j >= -n)
        ),
        *_WRAPPED,
    ),
    Mistake(
        "round the left end, once",
        _pairing(lambda i, n, window: (j for j in range(i - window, min(n, i + window + 1)) if j != i)),
        *_WRAPPED,
    ),
    Mistake(
        "round both ends",
        _pairing(lambda i, n, window: (j % n for j in range(i - window, i + window + 1) if j != i)),
        *_WRAPPED,
    ),
    Mistake(
        "a slice with a negative beginning",
        _by_slices,
        "Words near the beginning lose their left neighbours, or get some from the end.",
        "In words[i - window : i] a negative beginning counts from the end of the sentence.",
        "words[max(0, i - window) : i]",
    ),
    Mistake(
        "equal words left out",
        _without_equal_words,
        "A word is not paired with an equal word at another place.",
        "Compare places, not words: `j != i`, not `word != centre`.",
        "if j != i",
    ),
    Mistake(
        "the first place of a word",
        _by_index,
        "A word that stands twice gets the neighbours of its first place each time.",
        "`index` finds the first place only. `enumerate` gives each word's own.",
        "for i, word in enumerate(words): …",
    ),
    Mistake(
        "each pair once",
        _pairing(finish=lambda pairs: list(dict.fromkeys(pairs))),
        "Each pair stands only once in your answer.",
        "A pair that occurs twice counts twice. Is there a set, a dict or a `not in` in between?",
        "pairs.append((words[i], words[j]))",
    ),
    Mistake(
        "each pair once a sentence",
        lambda sentences, window: [
            pair for words in sentences for pair in dict.fromkeys(_pairing()([words], window))
        ],
        "Each pair stands only once for a sentence in your answer.",
        "A pair that occurs twice counts twice. Is there a set, a dict or a `not in` in between?",
        "pairs.append((words[i], words[j]))",
    ),
    Mistake(
        "without order",
        _pairing(finish=lambda pairs: [pair for pair in pairs if pair[0] < pair[1]]),
        "Of two words only one is the centre in your answer; each should be once.",
        "Each of two neighbours is a centre, with the other as its neighbour.",
        _RANGE_LINE,
    ),
    Mistake(
        "pairs sorted inside",
        _pairing(finish=lambda pairs: [tuple(sorted(pair)) for pair in pairs]),
        "Your pairs are sorted inside; the centre should stand first.",
        "(figs, eat) and (eat, figs) are two pairs, with two centres.",
        "pairs.append((words[i], words[j]))",
    ),
    Mistake(
        "everything twice",
        _pairing(
            finish=lambda pairs: [pair for one, other in pairs for pair in ((one, other), (other, one))]
        ),
        "Every pair stands twice as often as it should.",
        "Is it added as (centre, neighbour) and turned round, though both words become centres anyway?",
        "pairs.append((words[i], words[j]))",
    ),
    Mistake(
        "the last word is no centre",
        _pairing(centres=lambda words, window: range(len(words) - 1)),
        "The last word of a sentence is no centre in your answer.",
        "range(len(words)) holds the last place already.",
        "for i in range(len(words)): …",
    ),
    Mistake(
        "the first word is no centre",
        _pairing(centres=lambda words, window: range(1, len(words))),
        "The first word of a sentence is no centre in your answer.",
        "Places begin with 0.",
        "for i in range(len(words)): …",
    ),
    Mistake(
        "ends of the sentence are no centres",
        _pairing(centres=lambda words, window: range(1, len(words) - 1)),
        "The first and the last word of a sentence are no centres in your answer.",
        "They have neighbours on one side only, but they have some.",
        "for i in range(len(words)): …",
    ),
    Mistake(
        "the last word is no neighbour",
        _pairing(
            lambda i, n, window: (j for j in range(max(0, i - window), min(n - 1, i + window + 1)) if j != i)
        ),
        "The last word of a sentence is nobody's neighbour in your answer.",
        "range(a, b) does not hold b: the end may be len(words) itself.",
        _RANGE_LINE,
    ),
    Mistake(
        "the first word is no neighbour",
        _pairing(
            lambda i, n, window: (j for j in range(max(1, i - window), min(n, i + window + 1)) if j != i)
        ),
        "The first word of a sentence is nobody's neighbour in your answer.",
        "Places begin with 0: max(0, i - window).",
        _RANGE_LINE,
    ),
    Mistake(
        "in pieces",
        _pairing(sentences_of=_chunks),
        "You cut the sentences into pieces, and pair within a piece only.",
        "The window moves with the centre, one place at a time.",
        _RANGE_LINE,
    ),
    Mistake(
        "only the first sentence",
        _pairing(sentences_of=lambda sentences, window: list(sentences)[:1]),
        "You take the first sentence only.",
        "Is there a `return` inside the loop?",
        "return pairs, after the loop",
    ),
    Mistake(
        "only the last sentence",
        _pairing(sentences_of=lambda sentences, window: list(sentences)[-1:]),
        "You take the last sentence only.",
        "Is the list of pairs made anew for each sentence?",
        "pairs = [], before the loop",
    ),
    Mistake(
        "only the first centre",
        _pairing(centres=lambda words, window: range(min(1, len(words)))),
        "Only the first word of a sentence is a centre in your answer.",
        "Is there a `return` or a `break` inside the loop?",
        "return pairs, after the loop",
    ),
    Mistake(
        "changes the sentences",
        _emptying,
        "The pairs are right, but your function changes the sentences it was given.",
        "`pop`, `remove` and `clear` work on the caller's list. Go through the places.",
        _RANGE_LINE,
    ),
)


def _all(seen: dict[str, Seen], holds: Callable[[dict, dict, Sentences], bool]) -> bool:
    """Say whether `holds(pairs, expected, sentences)` is true of every answer that was seen."""
    return all_answers(
        seen, lambda pairs, sentences, window: holds(pairs, _expected(sentences, window), sentences)
    )


def _expected(sentences: Sentences, window: int) -> dict[tuple[str, str], int]:
    return some_pairs(_pairing()(sentences, window), asked=_ASKED)


def _within_one(pair: tuple[str, str], sentences: Sentences) -> bool:
    return any(set(pair) <= set(words) for words in sentences)


_PROPERTIES = (
    left_to_chance("pairs with a wider window"),
    changes("sentences"),
    Property(
        "no words of the sentences",
        lambda seen: _all(
            seen,
            lambda pairs, expected, sentences: (
                {word for pair in pairs for word in pair} <= {word for words in sentences for word in words}
            ),
        ),
        "Your pairs hold something that is no word of the sentences.",
        "Words are taken as they stand: not split into letters, or made lower case, and no sign is added.",
    ),
    Property(
        "across sentences",
        lambda seen: _all(
            seen, lambda pairs, expected, sentences: all(_within_one(pair, sentences) for pair in pairs)
        ),
        "You pair words that stand in no sentence together.",
        "Take the sentences one by one: the last word of one is no neighbour of the next one's first.",
    ),
    Property(
        "pairs that are too far apart",
        lambda seen: _all(seen, lambda pairs, expected, sentences: set(pairs) <= set(expected)),
        "You have a pair of words that are no neighbours within the window.",
        "Places i - window to i + window, without i itself, as far as the sentence reaches.",
    ),
    Property(
        "pairs that are missing",
        lambda seen: _all(seen, lambda pairs, expected, sentences: set(pairs) >= set(expected)),
        "A pair of neighbours is missing from your answer.",
        "Where do your loops begin and end, at both sides of the centre, and at both ends of the sentence?",
    ),
    Property(
        "another number of equal pairs",
        lambda seen: _all(seen, lambda pairs, expected, sentences: pairs == expected),
        "You find the right pairs, but not as often as they occur.",
        "One pair for each centre and each place around it, equal words or not.",
    ),
)


SKIP_GRAM_PAIRS: Exercise = Exercise(
    id="02.skip_gram_pairs",
    title="What word2vec learns from",
    stub=STUB,
    reference=_pairing(),
    experiments=_EXPERIMENTS,
    mistakes=_MISTAKES,
    properties=_PROPERTIES,
    difficulty=1,
    importance=4,
    minutes=10,
)
