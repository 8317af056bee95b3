"""Exercise 02.bpe_encode: a word into pieces, by the merges that BPE has learned."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, yes
from course_lib.checks.probe_text import some_words
from course_lib.checks.tokens.shared import a_text, all_answers, changes

STUB = '''
def bpe_encode(word, merges):
    """Split a word into pieces as BPE does: begin with its letters, then merge neighbours.

    Args:
        word: a string; it may be empty.
        merges: pairs of pieces, (left, right), in the order in which a training learned them. The
            first has rank 0.

    Returns:
        The pieces, a list of strings. As long as two neighbouring pieces, (left, right), stand among
        the merges, the pair with the lowest rank becomes one piece, left + right; where it stands
        more than once, the leftmost first. Letters that no merge knows stay as they are.

    The merges stay as they were.
    """
'''

Merges = Sequence[tuple[str, str]]
_ASKED = "a list of strings, the pieces in the order of the word"


def _pieces(candidate: Any, merges: Merges, *words: str) -> Seen:
    seen: Seen = {}
    changed = False
    for word in words:
        given = list(merges)
        pieces = some_words(a_function(candidate)(word, given), asked=_ASKED)
        changed = changed or given != list(merges)
        seen[f"pieces of {word!r}"] = a_text("bpe_encode", word, list(merges), gave=pieces)
    return seen | {"input changed": yes(changed)}


def _bpe_three_letters(candidate: Any) -> Seen:
    return _pieces(candidate, [("b", "c"), ("a", "b")], "abc")


def _bpe_three_letters_with_other_ranks(candidate: Any) -> Seen:
    return _pieces(candidate, [("a", "b"), ("b", "c")], "abc", "bc", "cab")


def _bpe_a_word_in_several_steps(candidate: Any) -> Seen:
    return _pieces(
        candidate, [("e", "r"), ("l", "o"), ("lo", "w"), ("e", "s"), ("es", "t")], "lower", "lowest", "slower"
    )


def _bpe_a_long_merge_before_a_short_one(candidate: Any) -> Seen:
    seen = _pieces(candidate, [("a", "b"), ("ab", "c"), ("c", "d")], "abcd", "cdab", "bcd")
    seen |= _pieces(candidate, [("a", "b"), ("ab", "c"), ("b", "c")], "abc", "bcab", "bbc")
    return seen | _pieces(candidate, [("x", "y"), ("z", "w"), ("xy", "z")], "xyzw", "xyz", "zwxyzw")


def _bpe_the_same_letter_again_and_again(candidate: Any) -> Seen:
    once = _pieces(candidate, [("a", "a")], "aa", "aaa", "aaaa", "aaaaa")
    return once | _pieces(candidate, [("a", "a"), ("aa", "aa")], "aaaaaa", "aaaaaaa", "aaaaaaaab")


def _bpe_a_pair_that_stands_twice(candidate: Any) -> Seen:
    seen = _pieces(candidate, [("a", "n"), ("b", "an"), ("an", "a")], "banana", "ananas")
    seen |= _pieces(candidate, [("b", "c"), ("a", "b")], "ababc", "abcbcab")
    return seen | _pieces(candidate, [("a", "c"), ("b", "c"), ("c", "a")], "bcacac", "acaca")


def _bpe_pieces_that_only_look_like_the_pair(candidate: Any) -> Seen:
    seen = _pieces(candidate, [("a", "a"), ("a", "b")], "aab", "aaab", "ba")
    return seen | _pieces(candidate, [("c", "a"), ("b", "c"), ("ca", "b")], "bca", "bcab", "cba")


def _bpe_merges_that_never_fit(candidate: Any) -> Seen:
    seen = _pieces(candidate, [("x", "y"), ("a", "b"), ("y", "z"), ("ab", "c")], "abc", "zab", "c")
    return seen | _pieces(candidate, [("b", "c"), ("a", "bc"), ("a", "b")], "abc", "abab", "abcd")


def _bpe_letters_that_no_merge_knows(candidate: Any) -> Seen:
    return _pieces(candidate, [("t", "h"), ("th", "e"), ("a", "b")], "théta", "The", "a b", "th1")


def _bpe_many_merges(candidate: Any) -> Seen:
    """Merges that a training learned from random letters: two unlike rules do not agree by chance."""
    merges = [
        ("c", "a"),
        ("b", "b"),
        ("a", "d"),
        ("ca", "d"),
        ("bb", "ca"),
        ("d", "c"),
        ("ad", "b"),
        ("b", "a"),
    ]
    return _pieces(candidate, merges, "cadcad", "bbbcad", "dcadbb", "abbcadba", "bcadcbab", "adbbacd")


def _bpe_without_merges(candidate: Any) -> Seen:
    return _pieces(candidate, [], "abc", "a")


def _bpe_an_empty_word(candidate: Any) -> Seen:
    return _pieces(candidate, [("a", "b")], "")


_EXPERIMENTS = (
    _bpe_three_letters,
    _bpe_three_letters_with_other_ranks,
    _bpe_a_word_in_several_steps,
    _bpe_a_long_merge_before_a_short_one,
    _bpe_the_same_letter_again_and_again,
    _bpe_a_pair_that_stands_twice,
    _bpe_pieces_that_only_look_like_the_pair,
    _bpe_merges_that_never_fit,
    _bpe_letters_that_no_merge_knows,
    _bpe_many_merges,
    _bpe_without_merges,
    _bpe_an_empty_word,
)


def _by_rank(pieces: list[str], places: list[int], ranks: dict[tuple[str, str], int]) -> int:
    return min(places, key=lambda i: (ranks[pieces[i], pieces[i + 1]], i))


def _encoding(
    choose: Callable[..., int] = _by_rank,
    *,
    begin: Callable[[str], list[str]] = list,
    end: Callable[[list[str], str], list[str]] = lambda pieces, word: pieces,
    at_most: int = 1000,
    reorder: Callable[[Merges], Merges] = lambda merges: merges,
) -> Any:
    """BPE with one part exchanged: which place is merged next, what it begins and ends with, how often."""

    def bpe_encode(word: str, merges: Merges) -> list[str]:
        ranks = {tuple(pair): rank for rank, pair in enumerate(reorder(merges))}
        pieces = begin(word)
        for _ in range(at_most):
            places = [i for i in range(len(pieces) - 1) if (pieces[i], pieces[i + 1]) in ranks]
            if not places:
                break
            i = choose(pieces, places, ranks)
            pieces = [*pieces[:i], pieces[i] + pieces[i + 1], *pieces[i + 2 :]]
        return end(pieces, word)

    return bpe_encode


def _by_frequency(pieces: list[str], places: list[int], ranks: dict[tuple[str, str], int]) -> int:
    times = Counter((pieces[i], pieces[i + 1]) for i in range(len(pieces) - 1))
    return max(places, key=lambda i: (times[pieces[i], pieces[i + 1]], -i))


def _rightmost(pieces: list[str], places: list[int], ranks: dict[tuple[str, str], int]) -> int:
    return min(places, key=lambda i: (ranks[pieces[i], pieces[i + 1]], -i))


def _zero_is_replaced(pieces: list[str], places: list[int], ranks: dict[tuple[str, str], int]) -> int:
    """The lowest rank by `if not best or rank < best`: a best of 0 is taken for none."""
    best, where = None, places[0]
    for i in places:
        rank = ranks[pieces[i], pieces[i + 1]]
        if not best or rank < best:
            best, where = rank, i
    return where


def _stops_at_rank_0(word: str, merges: Merges) -> list[str]:
    """`if not best: return pieces`: a best of 0 ends the loop."""
    ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
    pieces = list(word)
    while found := [(ranks[pair], i) for i, pair in enumerate(itertools.pairwise(pieces)) if pair in ranks]:
        rank, i = min(found)
        if rank == 0:
            break
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
    return pieces


def _without_the_last_pair(word: str, merges: Merges) -> list[str]:
    pieces = list(word)
    while True:
        found = [
            (merges.index(pair), i)
            for i, pair in enumerate(itertools.pairwise(pieces[:-1]))
            if pair in merges
        ]
        if not found:
            return pieces
        i = min(found)[1]
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]


def _looked_up_turned_round(word: str, merges: Merges) -> list[str]:
    return _encoding(reorder=lambda pairs: [(right, left) for left, right in pairs])(word, merges)


def _merge_by_merge(merge: Callable[[list[str], str, str], list[str]], stop_early: bool = False) -> Any:
    """The merges one after the other, each applied to the whole word by `merge(pieces, left, right)`."""

    def bpe_encode(word: str, merges: Merges) -> list[str]:
        pieces = list(word)
        for left, right in merges:
            merged = merge(pieces, left, right)
            if stop_early and merged == pieces:
                break
            pieces = merged
        return pieces

    return bpe_encode


def _everywhere(pieces: list[str], left: str, right: str) -> list[str]:
    merged: list[str] = []
    i = 0
    while i < len(pieces):
        if pieces[i : i + 2] == [left, right]:
            merged.append(left + right)
            i += 2
        else:
            merged.append(pieces[i])
            i += 1
    return merged


def _first_place_only(pieces: list[str], left: str, right: str) -> list[str]:
    for i in range(len(pieces) - 1):
        if pieces[i : i + 2] == [left, right]:
            return [*pieces[:i], left + right, *pieces[i + 2 :]]
    return pieces


def _overlapping(pieces: list[str], left: str, right: str) -> list[str]:
    """The merge written down, and the loop goes on one piece further: what was merged is merged again."""
    merged: list[str] = []
    skip = False
    for i, piece in enumerate(pieces):
        if pieces[i : i + 2] == [left, right]:
            merged.append(left + right)
            skip = True
        elif not skip:
            merged.append(piece)
        else:
            skip = False
    return merged


def _right_part_kept(pieces: list[str], left: str, right: str) -> list[str]:
    return [left + right if pieces[i : i + 2] == [left, right] else piece for i, piece in enumerate(pieces)]


def _last_piece_lost(pieces: list[str], left: str, right: str) -> list[str]:
    merged, i = [], 0
    while i < len(pieces) - 1:
        hit = pieces[i : i + 2] == [left, right]
        merged.append(left + right if hit else pieces[i])
        i += 2 if hit else 1
    return merged


def _steps_of_two(pieces: list[str], left: str, right: str) -> list[str]:
    merged = []
    for i in range(0, len(pieces), 2):
        hit = pieces[i : i + 2] == [left, right]
        merged += [left + right] if hit else pieces[i : i + 2]
    return merged


def _in_a_string(pieces: list[str], left: str, right: str) -> list[str]:
    return " ".join(pieces).replace(f"{left} {right}", left + right).split(" ")


def _in_a_string_without_spaces(pieces: list[str], left: str, right: str) -> list[str]:
    return " ".join(pieces).replace(f"{left} {right}", left + right).split()


def _in_one_string(word: str, merges: Merges) -> list[str]:
    text = " ".join(word)
    for left, right in merges:
        text = text.replace(f"{left} {right}", left + right)
    return text.split()


def _either_order(pieces: list[str], left: str, right: str) -> list[str]:
    merged, i = [], 0
    while i < len(pieces):
        hit = sorted(pieces[i : i + 2]) == sorted([left, right])
        merged.append("".join(pieces[i : i + 2]) if hit else pieces[i])
        i += 2 if hit else 1
    return merged


def _longest_known(word: str, merges: Merges) -> list[str]:
    known = {left + right for left, right in merges}
    pieces, i = [], 0
    while i < len(word):
        end = next((e for e in range(len(word), i + 1, -1) if word[i:e] in known), i + 1)
        pieces.append(word[i:end])
        i = end
    return pieces


def _one_walk(word: str, merges: Merges) -> list[str]:
    """From left to right, once: each letter joins the last piece if that is a merge."""
    pieces: list[str] = []
    for letter in word:
        if pieces and (pieces[-1], letter) in [tuple(pair) for pair in merges]:
            pieces[-1] += letter
        else:
            pieces.append(letter)
    return pieces


def _letter_pairs_once(word: str, merges: Merges) -> list[str]:
    pieces, i = [], 0
    while i < len(word):
        hit = tuple(word[i : i + 2]) in [tuple(pair) for pair in merges]
        pieces.append(word[i : i + 2] if hit else word[i])
        i += 2 if hit else 1
    return pieces


def _emptying(word: str, merges: list[tuple[str, str]]) -> list[str]:
    pieces = list(word)
    while merges:
        pieces = _everywhere(pieces, *merges.pop(0))
    return pieces


_RANK_LINE = "pair = min(pairs, key=lambda pair: ranks.get(pair, math.inf)), until none is in ranks"
_MERGE_LINE = "merged.append(left + right); i += 2 after a merge, i += 1 otherwise"
_LEFT_TO_RIGHT = (
    "You merge from left to right; the merge with the lowest rank comes first.",
    "Of all neighbouring pairs of the word, which one was learned first? It may stand further to the right.",
    _RANK_LINE,
)
_ONE_MERGE = (
    "You stop after a merge, though two neighbours could still be merged.",
    "What is made by a merge may be part of the next. Is there a loop round it, or a `break` or `return` in it?",
    _RANK_LINE,
)

_IN_A_STRING = (
    "You merge where pieces only end and begin like the pair.",
    "“aa b” contains the text “a b”. Compare whole pieces; `str.replace` does not see where they end.",
    "if pieces[i] == left and pieces[i + 1] == right",
)

_MISTAKES = (
    Mistake("left to right", _encoding(lambda pieces, places, ranks: places[0]), *_LEFT_TO_RIGHT),
    Mistake(
        "right to left",
        _encoding(lambda pieces, places, ranks: places[-1]),
        "You merge from the right; the merge with the lowest rank comes first.",
        "Of all neighbouring pairs of the word, which one was learned first?",
        _RANK_LINE,
    ),
    Mistake(
        "left to right, in one walk",
        _one_walk,
        "You walk through the word once, and add letters to the piece at hand.",
        "The merge with the lowest rank comes first, wherever it stands, and two long pieces can merge too.",
        _RANK_LINE,
    ),
    Mistake(
        "pairs of letters, in one walk",
        _letter_pairs_once,
        "You walk through the word once, and merge pairs of letters only.",
        "What a merge has made may be part of the next: begin again until nothing can be merged.",
        _RANK_LINE,
    ),
    Mistake(
        "by frequency",
        _encoding(_by_frequency),
        "You merge the pair that is most frequent in the word; the rank decides.",
        "Counting belongs to training. When a word is split, the order in which merges were learned decides.",
        _RANK_LINE,
    ),
    Mistake(
        "the last rank first",
        _encoding(reorder=lambda merges: list(reversed(merges))),
        "The merge that was learned last comes first in your answer.",
        "A low rank was learned early, from the most frequent pair. Is there a `max`, or are the merges reversed?",
        _RANK_LINE,
    ),
    Mistake(
        "in the order of the alphabet",
        _encoding(reorder=lambda merges: sorted(merges)),
        "You merge in alphabetical order; the order of the merges decides.",
        "`sorted` and `min` compare the letters. Which number says when a pair was learned?",
        _RANK_LINE,
    ),
    Mistake(
        "the longest piece that is known",
        _longest_known,
        "You take the longest known piece from the left; that is WordPiece, not BPE.",
        "BPE begins with single letters, and merges neighbours by rank. Pieces that are known may never arise.",
        _RANK_LINE,
    ),
    Mistake(
        "the rightmost first",
        _encoding(_rightmost),
        "Where a pair overlaps itself you merge the right place first, not the left.",
        "In a a a, the first two are merged.",
        "min(places, key=lambda i: (rank of the pair at i, i))",
    ),
    Mistake("one merge in all", _encoding(at_most=1), *_ONE_MERGE),
    Mistake("two merges at most", _encoding(at_most=2), *_ONE_MERGE),
    Mistake(
        "as many merges as there are ranks",
        _merge_by_merge(_first_place_only),
        "Each merge is applied in one place only; the pair may stand in several.",
        "banana holds a n twice, and both become one piece.",
        _MERGE_LINE,
    ),
    Mistake(
        "stops at a merge that does not fit",
        _merge_by_merge(_everywhere, stop_early=True),
        "You stop at the first merge that does not occur in the word.",
        "A merge that does not fit is passed over; the next one may fit.",
        "continue, not break",
    ),
    Mistake(
        "a piece in two merges",
        _merge_by_merge(_overlapping),
        "A piece that was merged is merged once more with its next neighbour.",
        "After a merge both pieces are used up. How far must the loop jump?",
        _MERGE_LINE,
    ),
    Mistake(
        "the right part stays",
        _merge_by_merge(_right_part_kept),
        "After a merge the right part stays beside the merged piece.",
        "Two pieces become one. Which one do you still have to take out?",
        _MERGE_LINE,
    ),
    Mistake(
        "the last piece is lost",
        _merge_by_merge(_last_piece_lost),
        "The last piece is lost when it is not part of a merge.",
        "The last piece has no right neighbour, but it must be kept. Where does your loop end?",
        "while i < len(pieces): …",
    ),
    Mistake(
        "steps of two",
        _merge_by_merge(_steps_of_two),
        "You look at every second place only.",
        "After a merge go two places on, otherwise one.",
        _MERGE_LINE,
    ),
    Mistake("merged inside pieces", _merge_by_merge(_in_a_string), *_IN_A_STRING),
    Mistake("merged inside pieces, spaces lost", _merge_by_merge(_in_a_string_without_spaces), *_IN_A_STRING),
    Mistake("merged inside pieces, split at the end", _in_one_string, *_IN_A_STRING),
    Mistake(
        "rank 0 is taken for none",
        lambda word, merges: _encoding()(word, merges[1:]),
        "The merge of rank 0 is never applied.",
        "In `if ranks.get(pair):` the rank 0 counts as false. Ask `pair in ranks`, or `is not None`.",
        "if pair in ranks",
    ),
    Mistake(
        "rank 0 is replaced",
        _encoding(_zero_is_replaced),
        "Where rank 0 was found first, a later pair of a higher rank replaces it.",
        "In `if not best`, a best of 0 counts as none. Ask `best is None`.",
        "if best is None or rank < best",
    ),
    Mistake(
        "stops at rank 0",
        _stops_at_rank_0,
        "You stop where the lowest rank is 0, as if no merge had been found.",
        "In `if not best`, a best of 0 counts as none. Ask `best is None`.",
        "if best is None: return pieces",
    ),
    Mistake(
        "the last pair is not looked at",
        _without_the_last_pair,
        "Your loop never looks at the last two pieces of the word.",
        "n pieces have n - 1 pairs of neighbours. Where does your loop end?",
        "for i in range(len(pieces) - 1)",
    ),
    Mistake(
        "turned round",
        _looked_up_turned_round,
        "You look up (right, left); the merges are (left, right).",
        "Of a b, the pair is ('a', 'b'): the left piece stands first.",
        "(pieces[i], pieces[i + 1]) in ranks",
    ),
    Mistake(
        "the last merge first, each once",
        lambda word, merges: _merge_by_merge(_everywhere)(word, list(reversed(merges))),
        "You go through the merges from the last to the first.",
        "The merge with the lowest rank was learned first, and is applied first.",
        _RANK_LINE,
    ),
    Mistake(
        "either order",
        _merge_by_merge(_either_order),
        "You also merge (right, left); only (left, right) was learned.",
        "The pair a b is another than b a.",
        "if pieces[i] == left and pieces[i + 1] == right",
    ),
    Mistake(
        "no merges",
        lambda word, merges: list(word),
        "You return the letters: nothing is merged.",
        "Do the merges reach your loop, and does it compare tuples with tuples?",
        _RANK_LINE,
    ),
    Mistake(
        "the whole word",
        lambda word, merges: [word],
        "You return the whole word as one piece.",
        "Begin with the letters: list(word).",
        _RANK_LINE,
    ),
    Mistake(
        "the whole word, or nothing for an empty one",
        lambda word, merges: [word] if word else [],
        "You return the whole word as one piece.",
        "Begin with the letters: list(word).",
        _RANK_LINE,
    ),
    Mistake(
        "an end of word",
        _encoding(begin=lambda word: [*word, "</w>"]),
        "You add a sign for the end of the word; it is not asked for here.",
        "Some BPE do this. Here the pieces, joined, are the word again.",
        "pieces = list(word)",
    ),
    Mistake(
        "an end of word on the last letter",
        _encoding(begin=lambda word: [*word[:-1], word[-1] + "</w>"] if word else []),
        "You add a sign for the end of the word; it is not asked for here.",
        "Some BPE do this. Here the pieces, joined, are the word again.",
        "pieces = list(word)",
    ),
    Mistake(
        "signs of WordPiece",
        _encoding(end=lambda pieces, word: pieces[:1] + [f"##{piece}" for piece in pieces[1:]]),
        "You put ## before the pieces; that is WordPiece's way of writing.",
        "Here the pieces, joined, are the word again.",
        "return pieces",
    ),
    Mistake(
        "an empty piece",
        _encoding(end=lambda pieces, word: pieces or [""]),
        "An empty word has no pieces; you return one empty piece.",
        'list("") is an empty list. Is there a `split(" ")` in your code, or a special case for it?',
        "pieces = list(word)",
    ),
    Mistake(
        "lower case",
        _encoding(begin=lambda word: list(word.lower())),
        "You make the word lower case; its letters should stay as they are.",
        "T and t are two letters, with their own merges.",
        "pieces = list(word)",
    ),
    Mistake(
        "unknown letters are replaced",
        lambda word, merges: [
            piece if any(piece in left + right for left, right in merges) else "[UNK]"
            for piece in _encoding()(word, merges)
        ],
        "Letters that no merge knows are replaced; they should stay as they are.",
        "BPE begins with the letters. A letter without a merge is a piece of its own.",
        "return pieces",
    ),
    Mistake(
        "unknown letters are lost",
        lambda word, merges: [
            piece
            for piece in _encoding()(word, merges)
            if any(piece in left + right for left, right in merges)
        ],
        "Letters that no merge knows are lost.",
        "BPE begins with the letters. A letter without a merge is a piece of its own.",
        "return pieces",
    ),
    Mistake(
        "each piece once",
        _encoding(end=lambda pieces, word: list(dict.fromkeys(pieces))),
        "A piece that stands twice in the word appears once in your answer.",
        "Is there a set or a dict in between? The pieces, joined, are the word again.",
        "return pieces",
    ),
    Mistake(
        "only pieces that were merged",
        _encoding(end=lambda pieces, word: [piece for piece in pieces if len(piece) > 1]),
        "You return only the pieces that were merged; the other letters are missing.",
        "A letter that is not merged is a piece of its own.",
        _MERGE_LINE,
    ),
    Mistake(
        "empties the merges",
        _emptying,
        "The pieces are right, but your function changes the merges it was given.",
        "`pop`, `remove` and `del` work on the caller's list. Loop over it.",
        "for left, right in merges: …",
    ),
)


def _can_be_merged(pieces: list[str], merges: Merges) -> bool:
    return any(pair in merges for pair in itertools.pairwise(pieces))


def _is_possible(piece: str, merges: Merges) -> bool:
    return len(piece) == 1 or piece in {left + right for left, right in merges}


_PROPERTIES = (
    changes("merges"),
    Property(
        "letters lost or added",
        lambda seen: all_answers(seen, lambda pieces, word, merges: "".join(pieces) == word),
        "Your pieces, joined, are not the word any more.",
        "Nothing may be lost, doubled or added. After a merge: which two pieces go, and which one comes?",
    ),
    Property(
        "impossible pieces",
        lambda seen: all_answers(
            seen, lambda pieces, word, merges: all(_is_possible(piece, merges) for piece in pieces)
        ),
        "One of your pieces is made by no merge.",
        "A piece is a letter, or left + right of a merge. Compare whole pieces: pieces[i] == left.",
    ),
    Property(
        "empty pieces",
        lambda seen: all_answers(seen, lambda pieces, word, merges: "" not in pieces),
        "There is an empty piece among your pieces.",
        "Joining the pieces would not show it. Is there a `split` or a slice past the end?",
    ),
    Property(
        "stops too early",
        lambda seen: all_answers(seen, lambda pieces, word, merges: not _can_be_merged(pieces, merges)),
        "You stop too early: two neighbours in your answer could still be merged.",
        "What is made by a merge may be part of the next. Until when does your loop run?",
    ),
    Property(
        "another order",
        lambda seen: all_answers(seen, lambda pieces, word, merges: pieces == _encoding()(word, merges)),
        "Each of your pieces is possible, but the merges came in another order than by rank.",
        "Of all neighbouring pairs the one that was learned first is merged, the leftmost first if it repeats.",
    ),
)


BPE_ENCODE: Exercise = Exercise(
    id="02.bpe_encode",
    title="BPE: a word into pieces",
    stub=STUB,
    reference=_encoding(),
    experiments=_EXPERIMENTS,
    mistakes=_MISTAKES,
    properties=_PROPERTIES,
    difficulty=3,
    importance=5,
    minutes=20,
)
