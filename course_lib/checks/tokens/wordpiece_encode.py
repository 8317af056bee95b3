"""Exercise 02.wordpiece_encode: a word into pieces, as BERT does it: the longest piece first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import Text
from course_lib.checks.probe import a_function, yes
from course_lib.checks.probe_text import some_words
from course_lib.checks.tokens.shared import all_answers, as_the_reference, changes

STUB = '''
def wordpiece_encode(word, vocab):
    """Split a word into pieces as BERT does: from the left, each time the longest piece there is.

    Args:
        word: a string without spaces; it may be empty, and as long as it likes.
        vocab: a set of strings. "un" is a piece that begins a word, "##un" the piece that goes on
            with the same letters; either may be there without the other. "[UNK]" is there too.

    Returns:
        The pieces as they stand in the vocabulary, such as ["un", "##want", "##ed"]: a list of
        strings. If no piece fits at some place, the whole word becomes ["[UNK]"]: shorter pieces
        are not tried for what came before. An empty word has no pieces. Upper and lower case are
        different letters.

    The vocabulary stays as it was.
    """
'''

_ASKED = "a list of strings, the pieces in the order of the word"
_UNKNOWN = "[UNK]"


def _typed(word: str) -> str:
    """Write a word as a learner could type it; a very long one, which repeats two letters, as a product."""
    sign, letters = ("##", word[2:]) if word.startswith("##") else ("", word)
    if len(letters) < 30:
        return repr(word)
    return (f"{sign!r} + " if sign else "") + f"{letters[:2]!r} * {len(letters) // 2}"


def _pieces(candidate: Any, vocab: set[str], *words: str) -> Seen:
    seen: Seen = {}
    changed = False
    for word in words:
        given = vocab | {_UNKNOWN}
        pieces = some_words(a_function(candidate)(word, given), asked=_ASKED)
        changed = changed or given != vocab | {_UNKNOWN}
        call = f"wordpiece_encode({_typed(word)}, {{{', '.join(map(_typed, sorted(vocab | {_UNKNOWN})))}}})"
        seen[f"pieces of {word!r}"] = Text(call, pieces, (word, vocab))
    return seen | {"input changed": yes(changed)}


def _wordpiece_an_unwanted_word(candidate: Any) -> Seen:
    return _pieces(candidate, {"un", "##want", "want", "##ed", "ed", "wanted"}, "unwanted")


def _wordpiece_the_longest_piece(candidate: Any) -> Seen:
    vocab = {"a", "ab", "abc", "##a", "##b", "##c", "##d", "##bc", "##cd", "##bcd", "##de", "##e"}
    return _pieces(candidate, vocab, "abcd", "aabcd", "ade", "abcde", "acd")


def _wordpiece_a_word_that_is_a_piece(candidate: Any) -> Seen:
    return _pieces(candidate, {"want", "w", "##ant", "a", "##b"}, "want", "a", "ab")


def _wordpiece_an_unknown_end(candidate: Any) -> Seen:
    vocab = {"un", "##want", "##ed", "##e", "##d"}
    return _pieces(candidate, vocab, "unwantedX", "unXwanted", "Xun", "XY", "unX", "X")


def _wordpiece_a_way_that_ends(candidate: Any) -> Seen:
    """The longest first piece leads nowhere; a shorter one would."""
    seen = _pieces(candidate, {"ab", "a", "##bc", "##b", "##cd"}, "abc", "abcd", "abb", "abbc")
    return seen | _pieces(
        candidate,
        {"abc", "a", "##b", "##de", "##d", "##e", "##cde", "##bcd"},
        "abcde",
        "aded",
        "abcd",
        "aab",
    )


def _wordpiece_the_other_kind_of_piece(candidate: Any) -> Seen:
    """The letters are there, but as the beginning of a word, or as its continuation, and not as what is needed."""
    return _pieces(candidate, {"un", "do", "##ne", "##t"}, "undo", "neun", "done", "net", "unt")


def _wordpiece_the_same_letter_again_and_again(candidate: Any) -> Seen:
    return _pieces(
        candidate, {"a", "##a", "##aa", "b", "##b"}, "aa", "aaa", "aaaa", "aaaaa", "aaaaaaaa", "abab"
    )


def _wordpiece_upper_case(candidate: Any) -> Seen:
    seen = _pieces(candidate, {"un", "##do", "Un", "##Do"}, "Undo", "unDo", "UNdo")
    return seen | _pieces(candidate, {"Want", "w", "##ant", "GO", "g", "##o"}, "want", "go", "Want")


def _wordpiece_a_longer_piece_farther_on(candidate: Any) -> Seen:
    vocab = {"ab", "a", "##c", "##d", "##bcd", "##b"}
    return _pieces(candidate, vocab, "abcd", "abbcd", "abcbcd")


def _wordpiece_a_very_long_word(candidate: Any) -> Seen:
    return _pieces(candidate, {"ho", "ho" * 30, "##ho", "##" + "ho" * 40}, "ho" * 110)


def _wordpiece_an_empty_word(candidate: Any) -> Seen:
    return _pieces(candidate, {"un", "##do"}, "")


_EXPERIMENTS = (
    _wordpiece_an_unwanted_word,
    _wordpiece_the_longest_piece,
    _wordpiece_a_word_that_is_a_piece,
    _wordpiece_an_unknown_end,
    _wordpiece_a_way_that_ends,
    _wordpiece_the_other_kind_of_piece,
    _wordpiece_the_same_letter_again_and_again,
    _wordpiece_upper_case,
    _wordpiece_a_longer_piece_farther_on,
    _wordpiece_an_empty_word,
    _wordpiece_a_very_long_word,
)

Ends = Callable[[str, int], range]


def _longest_first(word: str, start: int) -> range:
    return range(len(word), start, -1)


def _is_unknown(word: str, pieces: list[str], start: int) -> tuple[list[str], int | None]:
    return [_UNKNOWN], None


def _piecing(
    ends: Ends = _longest_first,
    *,
    looked_up: Callable[[str, int], list[str]] = lambda part, start: [part if start == 0 else f"##{part}"],
    written: Callable[[str, str, int], str] = lambda piece, part, start: piece,
    unknown: Callable[[str, list[str], int], tuple[list[str], int | None]] = _is_unknown,
) -> Any:
    """WordPiece with one part exchanged.

    `ends(word, start)` are the ends that are tried, in order; `looked_up(part, start)` the strings of which one
    must be in the vocabulary; `written(piece, part, start)` goes into the answer; where nothing fits,
    `unknown(word, pieces, start)` gives the pieces and the next start (None to stop).
    """

    def wordpiece_encode(word: str, vocab: set[str]) -> list[str]:
        pieces: list[str] = []
        start: int | None = 0
        while start is not None and start < len(word):
            for end in ends(word, start):
                part = word[start:end]
                found = next((piece for piece in looked_up(part, start) if piece in vocab), None)
                if found is not None:
                    pieces.append(written(found, part, start))
                    start = end
                    break
            else:
                pieces, start = unknown(word, pieces, start)
        return pieces

    return wordpiece_encode


def _from_the_right(word: str, vocab: set[str]) -> list[str]:
    pieces: list[str] = []
    end = len(word)
    while end > 0:
        for start in range(end):
            piece = word[:end] if start == 0 else f"##{word[start:end]}"
            if piece in vocab:
                pieces.insert(0, piece)
                end = start
                break
        else:
            return [_UNKNOWN]
    return pieces


def _trying_all(word: str, vocab: set[str]) -> list[str]:
    def rest(start: int) -> list[str] | None:
        if start == len(word):
            return []
        for end in range(len(word), start, -1):
            piece = word[start:end] if start == 0 else f"##{word[start:end]}"
            if piece in vocab and (after := rest(end)) is not None:
                return [piece, *after]
        return None

    found = rest(0)
    return [_UNKNOWN] if found is None else found


def _trying_all_but_nothing(word: str, vocab: set[str]) -> list[str]:
    return _trying_all(word, vocab) or [_UNKNOWN]


def _signs_as_letters(word: str, vocab: set[str]) -> list[str]:
    """`start += len(piece)`, where the piece has its two signs already."""
    pieces: list[str] = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = word[start:end] if start == 0 else f"##{word[start:end]}"
            if piece in vocab:
                pieces.append(piece)
                start += len(piece)
                break
        else:
            return [_UNKNOWN]
    return pieces


def _longest_anywhere(word: str, vocab: set[str]) -> list[str]:
    """The longest piece of the whole word first, wherever it stands, then what is left and right of it."""

    def split(begin: int, end: int) -> list[str] | None:
        if begin == end:
            return []
        for length in range(end - begin, 0, -1):
            for start in range(begin, end - length + 1):
                piece = ("##" if start else "") + word[start : start + length]
                if piece in vocab:
                    left, right = split(begin, start), split(start + length, end)
                    return None if left is None or right is None else [*left, piece, *right]
        return None

    found = split(0, len(word))
    return [_UNKNOWN] if found is None else found


def _first_piece_alone(word: str, vocab: set[str]) -> list[str]:
    """A `return` inside the loop: what comes after the first piece is not even looked at."""
    fits = [word[:end] for end in range(len(word), 0, -1) if word[:end] in vocab]
    return fits[:1] if fits or not word else [_UNKNOWN]


def _fewest(word: str, vocab: set[str]) -> list[str]:
    """The split with the fewest pieces, whatever the greedy way would do."""
    best: dict[int, list[str]] = {0: []}
    for end in range(1, len(word) + 1):
        for start in range(end):
            piece = word[start:end] if start == 0 else f"##{word[start:end]}"
            if piece in vocab and start in best:
                found = [*best[start], piece]
                if end not in best or len(found) < len(best[end]):
                    best[end] = found
    return best.get(len(word), [_UNKNOWN])


def _two_pieces(word: str, vocab: set[str]) -> list[str]:
    for end in range(len(word), 0, -1):
        if word[:end] in vocab:
            rest = word[end:]
            return (
                [word[:end]]
                if not rest
                else [word[:end], f"##{rest}"]
                if f"##{rest}" in vocab
                else [_UNKNOWN]
            )
    return [_UNKNOWN] if word else []


def _emptying(word: str, vocab: set[str]) -> list[str]:
    pieces = _piecing()(word, vocab)
    vocab.discard(_UNKNOWN)
    return pieces


_LONGEST_LINE = "for end in range(len(word), start, -1): …"
_UNKNOWN_LINE = 'if no piece fits: return ["[UNK]"]'
_MARK_LINE = 'piece = word[start:end] if start == 0 else "##" + word[start:end]'
_PARTS_KEPT = (
    "You keep the pieces found before the unknown place; the whole word is unknown.",
    "BERT makes one [UNK] of the whole word, even if its beginning had fitted.",
    _UNKNOWN_LINE,
)
_SHORTEST = (
    "You take the shortest piece that fits; the longest is asked for.",
    "With which end does your loop begin: the end of the word, or one letter after the start?",
    _LONGEST_LINE,
)
_NO_WAY_BACK = (
    "You try shorter pieces where the longest leads nowhere; here there is no way back.",
    "The greedy way is quick because it never goes back. If it cannot go on, the word is [UNK].",
    _UNKNOWN_LINE,
)
_BARE = (
    "You look up the pieces without ##: they begin a word, they do not continue one.",
    "Inside a word “want” is looked up as “##want”.",
    _MARK_LINE,
)

_MISTAKES = (
    Mistake(
        "the longest piece anywhere",
        _longest_anywhere,
        "You take the longest piece anywhere in the word; it is taken from the left.",
        "The first piece begins at the first letter, whatever stands farther on. Then comes the rest.",
        _LONGEST_LINE,
    ),
    Mistake(
        "a return after the first piece",
        _first_piece_alone,
        "You return after the first piece; the rest of the word is not looked at.",
        "Is there a `return` inside the loop? And does the loop go on where the piece ends?",
        "while start < len(word): …",
    ),
    Mistake(
        "the pieces so far, then unknown",
        _piecing(unknown=lambda word, pieces, start: ([*pieces, _UNKNOWN], None)),
        *_PARTS_KEPT,
    ),
    Mistake(
        "the pieces so far",
        _piecing(unknown=lambda word, pieces, start: (pieces, None)),
        "You return the pieces so far and drop the rest; the whole word is unknown.",
        "A rest that has no piece must not vanish: BERT makes one [UNK] of the whole word.",
        _UNKNOWN_LINE,
    ),
    Mistake(
        "unknown letter by letter",
        _piecing(unknown=lambda word, pieces, start: ([*pieces, _UNKNOWN], start + 1)),
        "You write [UNK] for the letter that does not fit; the whole word is unknown.",
        "BERT makes one [UNK] of the whole word, even if its other parts fit.",
        _UNKNOWN_LINE,
    ),
    Mistake(
        "unknown letters are passed over",
        _piecing(unknown=lambda word, pieces, start: (pieces, start + 1)),
        "Letters that do not fit are passed over; the whole word is unknown.",
        "The reader could not tell “unXed” from “uned”. BERT makes one [UNK] of the whole word.",
        _UNKNOWN_LINE,
    ),
    Mistake(
        "unknown letters stay",
        _piecing(
            unknown=lambda word, pieces, start: (
                [*pieces, word[start] if start == 0 else f"##{word[start]}"],
                start + 1,
            )
        ),
        "Letters that no piece has become pieces of their own; the whole word is unknown.",
        "Every piece must be in the vocabulary: only then does it have an id.",
        _UNKNOWN_LINE,
    ),
    Mistake(
        "the rest stays",
        _piecing(unknown=lambda word, pieces, start: ([*pieces, word[start:]], None)),
        "The rest that does not fit becomes a piece of its own; the whole word is unknown.",
        "Every piece must be in the vocabulary: only then does it have an id.",
        _UNKNOWN_LINE,
    ),
    Mistake(
        "an unknown word stays",
        _piecing(unknown=lambda word, pieces, start: ([word], None)),
        "You return an unknown word itself; it has no id.",
        "[UNK] is the piece for all words that cannot be split.",
        _UNKNOWN_LINE,
    ),
    Mistake(
        "nothing for an unknown word",
        _piecing(unknown=lambda word, pieces, start: ([], None)),
        "For an unknown word you return no pieces; [UNK] is asked for.",
        "A word that vanishes changes the sentence; [UNK] keeps its place.",
        _UNKNOWN_LINE,
    ),
    Mistake(
        "letters of an unknown word",
        _piecing(
            unknown=lambda word, pieces, start: (
                [word[0], *(f"##{letter}" for letter in word[1:])],
                None,
            )
        ),
        "You split an unknown word into its letters; it should become one [UNK].",
        "Every piece must be in the vocabulary: only then does it have an id.",
        _UNKNOWN_LINE,
    ),
    Mistake(
        "an unknown piece inside",
        _piecing(unknown=lambda word, pieces, start: ([*pieces, f"##{_UNKNOWN}"], None)),
        "You write ##[UNK] after the pieces so far; the whole word is one [UNK].",
        "BERT makes one [UNK] of the whole word, even if its beginning had fitted.",
        _UNKNOWN_LINE,
    ),
    Mistake(
        "one unknown for every letter",
        _piecing(unknown=lambda word, pieces, start: ([_UNKNOWN] * len(word), None)),
        "An unknown word becomes several [UNK]; one is asked for.",
        "[UNK] stands for the whole word.",
        _UNKNOWN_LINE,
    ),
    Mistake("the shortest piece", _piecing(lambda word, start: range(start + 1, len(word) + 1)), *_SHORTEST),
    Mistake(
        "a way back",
        _trying_all,
        *_NO_WAY_BACK,
    ),
    Mistake("a way back, and an empty word is unknown", _trying_all_but_nothing, *_NO_WAY_BACK),
    Mistake(
        "the signs are counted as letters",
        _signs_as_letters,
        "After a piece with ## you go on too far: its two signs are no letters of the word.",
        'len("##ed") is 4, but two letters were read. Where did the piece end in the word?',
        "start = end",
    ),
    Mistake(
        "the fewest pieces",
        _fewest,
        "You look for the best split of the whole word; here the longest piece comes first.",
        "From the left, each time the longest piece that fits: no looking ahead, no going back.",
        _LONGEST_LINE,
    ),
    Mistake(
        "from the right",
        _from_the_right,
        "You take the longest piece from the right end; begin at the left.",
        "The first piece is the longest with which the word begins.",
        _LONGEST_LINE,
    ),
    Mistake(
        "the rest in one piece is not tried",
        _piecing(lambda word, start: range(len(word) - 1, start, -1)),
        "Every word becomes [UNK] in your answer: no last piece is ever found.",
        "Is the whole rest of the word tried, word[start:len(word)]? And is `piece in vocab` what is asked?",
        _LONGEST_LINE,
    ),
    Mistake(
        "single letters are not tried",
        _piecing(lambda word, start: range(len(word), start + 1, -1)),
        "You never try a piece of one letter: your loop stops too early.",
        "The shortest piece is word[start:start + 1].",
        _LONGEST_LINE,
    ),
    Mistake(
        "at most three letters",
        _piecing(lambda word, start: range(min(len(word), start + 3), start, -1)),
        "You try pieces of three letters at most; the vocabulary has longer ones.",
        "The longest piece that is possible is the whole rest.",
        _LONGEST_LINE,
    ),
    Mistake(
        "looked up without the sign, written with it",
        _piecing(
            looked_up=lambda part, start: [part],
            written=lambda piece, part, start: part if start == 0 else f"##{part}",
        ),
        *_BARE,
    ),
    Mistake("without the sign", _piecing(looked_up=lambda part, start: [part]), *_BARE),
    Mistake(
        "the sign is not written",
        _piecing(written=lambda piece, part, start: part),
        "Your pieces are found rightly, but you write them without ##.",
        "The piece “##want” has its own id; “want” is another piece.",
        "pieces.append(piece), with the ## that was looked up",
    ),
    Mistake(
        "the sign on every piece",
        _piecing(looked_up=lambda part, start: [f"##{part}"]),
        "You look up the first piece with ## too; only the following pieces have it.",
        "“un” begins a word, “##un” goes on with one.",
        _MARK_LINE,
    ),
    Mistake(
        "the sign is written on every piece",
        _piecing(written=lambda piece, part, start: f"##{part}"),
        "You write ## before the first piece too; only the following pieces have it.",
        "“un” begins a word, “##un” goes on with one.",
        _MARK_LINE,
    ),
    Mistake(
        "the sign is written twice",
        _piecing(written=lambda piece, part, start: piece if start == 0 else f"##{piece}"),
        "You put ## before pieces that have it already.",
        "The piece that was looked up carries its ##.",
        "pieces.append(piece)",
    ),
    Mistake(
        "with or without the sign",
        _piecing(looked_up=lambda part, start: [part] if start == 0 else [f"##{part}", part]),
        "Inside a word you also take pieces without ##; these begin words.",
        "If “do” is there and “##do” is not, “undo” cannot be split.",
        _MARK_LINE,
    ),
    Mistake(
        "either kind at the beginning",
        _piecing(looked_up=lambda part, start: [part, f"##{part}"] if start == 0 else [f"##{part}"]),
        "At the beginning of a word you also take pieces with ##; these continue words.",
        "If “##ne” is there and “ne” is not, “net” cannot be split.",
        _MARK_LINE,
    ),
    Mistake(
        "either kind everywhere",
        _piecing(looked_up=lambda part, start: [part, f"##{part}"]),
        "You take pieces with and without ## at any place.",
        "“un” begins a word, “##un” goes on with one: which of them may stand here?",
        _MARK_LINE,
    ),
    Mistake(
        "only whole words",
        lambda word, vocab: [word] if word in vocab else [_UNKNOWN] if word else [],
        "Only whole words are found in your answer; every other word becomes [UNK].",
        "If the whole word is not there, what of its beginning? Then the rest is looked up with ## in front of it.",
        _LONGEST_LINE,
    ),
    Mistake(
        "at most two pieces",
        _two_pieces,
        "You split into a beginning and a rest; the rest may need splitting too.",
        "Begin again with what is left, until nothing is left.",
        "while start < len(word): …",
    ),
    Mistake(
        "the first piece alone",
        lambda word, vocab: _piecing()(word, vocab)[:1],
        "You return the first piece alone.",
        "Is there a `return` inside the loop?",
        "while start < len(word): …",
    ),
    Mistake(
        "letters",
        _piecing(lambda word, start: range(start + 1, start + 2)),
        "You look at one letter at a time.",
        "A piece may be longer. Begin with the longest that is possible: the whole rest.",
        _LONGEST_LINE,
    ),
    Mistake(
        "lower case",
        lambda word, vocab: _piecing()(word.lower(), vocab),
        "You make the word lower case; here U and u are different letters.",
        "Some BERT models do this before they split. It is not asked for here.",
        "leave the word as it is",
    ),
    Mistake(
        "an empty word is unknown",
        lambda word, vocab: _piecing()(word, vocab) or [_UNKNOWN],
        "An empty word is no unknown word: it has no pieces.",
        "With nothing to split, the list stays empty.",
        "if not word: return []",
    ),
    Mistake(
        "an empty piece",
        lambda word, vocab: _piecing()(word, vocab) or [""],
        "An empty word has no pieces; you return one empty piece.",
        "With nothing to split, the list stays empty.",
        "if not word: return []",
    ),
    Mistake(
        "changes the vocabulary",
        _emptying,
        "The pieces are right, but your function changes the vocabulary it was given.",
        "`remove`, `discard`, `add` and `pop` work on the caller's set.",
        "look up with `in` only",
    ),
)


def _letters(pieces: list[str]) -> str:
    return "".join(piece.removeprefix("##") for piece in pieces)


_PROPERTIES = (
    changes("vocabulary"),
    Property(
        "pieces of no vocabulary",
        lambda seen: all_answers(seen, lambda pieces, word, vocab: set(pieces) <= vocab | {_UNKNOWN}),
        "One of your pieces is not in the vocabulary.",
        "Only what is in the vocabulary has an id. What do you look up, and what do you write down?",
    ),
    Property(
        "unknown beside other pieces",
        lambda seen: all_answers(
            seen, lambda pieces, word, vocab: _UNKNOWN not in pieces or len(pieces) == 1
        ),
        "Your answer holds [UNK] beside other pieces; it stands for the whole word.",
        'If one place does not fit, everything found before is given up: return ["[UNK]"].',
    ),
    Property(
        "a beginning without a beginning",
        lambda seen: all_answers(
            seen, lambda pieces, word, vocab: not pieces or not pieces[0].startswith("##")
        ),
        "Your first piece begins with ##; such pieces continue a word.",
        "Only where start is 0 is the piece looked up without ##.",
    ),
    Property(
        "a beginning inside a word",
        lambda seen: all_answers(
            seen, lambda pieces, word, vocab: all(piece.startswith("##") for piece in pieces[1:])
        ),
        "A piece after the first has no ##; such pieces begin a word.",
        "Inside a word the piece is looked up, and written, with ## in front.",
    ),
    Property(
        "letters lost or added",
        lambda seen: all_answers(
            seen, lambda pieces, word, vocab: pieces == [_UNKNOWN] or _letters(pieces) == word
        ),
        "Your pieces, joined without ##, are not the word any more.",
        "After a piece of n letters go on n letters further: the two signs ## are no letters of the word.",
    ),
    Property(
        "long words",
        lambda seen: (
            as_the_reference(seen, _wordpiece_a_very_long_word, WORDPIECE_ENCODE.reference)
            or not all(
                as_the_reference(seen, experiment, WORDPIECE_ENCODE.reference)
                for experiment in _EXPERIMENTS[:-1]
            )
        ),
        "Right for short words, wrong for one of 220 letters.",
        "Is there a limit to the length of a word, as BERT's own code has one, or of a piece? None is asked for.",
    ),
    Property(
        "unknown too often",
        lambda seen: all_answers(
            seen,
            lambda pieces, word, vocab: (
                not word or pieces != [_UNKNOWN] or _piecing()(word, vocab) == [_UNKNOWN]
            ),
        ),
        "You return [UNK] for a word that can be split.",
        "Which pieces does your loop never try: the whole rest, a single letter, the last piece?",
    ),
    Property(
        "unknown too seldom",
        lambda seen: all_answers(
            seen,
            lambda pieces, word, vocab: pieces == [_UNKNOWN] or _piecing()(word, vocab) != [_UNKNOWN],
        ),
        "You split a word that the greedy way cannot split.",
        "The longest piece is taken, and there is no way back: if nothing fits after it, the word is [UNK].",
    ),
    Property(
        "an empty word",
        lambda seen: all_answers(seen, lambda pieces, word, vocab: bool(word) or not pieces),
        "An empty word has no pieces; your list is not empty.",
        "With nothing to split, the list stays empty. Is there an `or` behind your list?",
    ),
    Property(
        "not the longest",
        lambda seen: all_answers(seen, lambda pieces, word, vocab: pieces == _piecing()(word, vocab)),
        "Your pieces fit, but from the left a longer one would have fitted.",
        "Try the whole rest first, then one letter less, and so on.",
    ),
)


WORDPIECE_ENCODE: Exercise = Exercise(
    id="02.wordpiece_encode",
    title="WordPiece: the longest piece first",
    stub=STUB,
    reference=_piecing(),
    experiments=_EXPERIMENTS,
    mistakes=_MISTAKES,
    properties=_PROPERTIES,
    difficulty=2,
    importance=4,
    minutes=15,
)
