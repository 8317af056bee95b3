"""Our BPE and WordPiece against Hugging Face's tokenizers: merges, vocabularies and encodings, to the last token.

The texts are Python's manual and random ones. Both sides get the same pieces, so that what is compared is BPE and
WordPiece and not two regular expressions; the cutting itself is compared on the manual.
"""

import json
import os
from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import tokenization
from course_lib.data.manual import manual_paragraphs
from course_lib.tokenization import PIECES, SPECIALS, WORDS, BPETokenizer, WordPieceTokenizer

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

# Few letters, so that pairs repeat, overlap and tie; and signs, digits, spaces and letters of other alphabets.
few_letters = st.lists(st.text("ab ", max_size=30), min_size=1, max_size=8)
many_signs = st.lists(st.text("abcABC 12.,_#\n\té漢ß", max_size=40), min_size=1, max_size=8)
texts_of_any_kind = st.one_of(few_letters, many_signs)


@cache
def manual() -> list[str]:
    return manual_paragraphs()


def vocabulary(reference: Tokenizer) -> list[str]:
    ids = reference.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def merges_of(reference: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(reference.to_str())["model"]["merges"]]


def reference_bpe(texts: list[str], vocab_size: int) -> Tokenizer:
    """Hugging Face's BPE, trained on our pieces: without a pre-tokenizer each text given is one word."""
    reference = Tokenizer(models.BPE(unk_token="[UNK]"))
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(SPECIALS), show_progress=False)
    reference.train_from_iterator([piece for text in texts for piece in PIECES.findall(text)], trainer)
    return reference


def encoded(reference: Tokenizer, pieces: list[str]) -> list[int]:
    return reference.encode(pieces, is_pretokenized=True).ids


def cutting_reference_bpe(vocab_size: int) -> Tokenizer:
    """The same, cutting by our regular expression in its own engine."""
    reference = Tokenizer(models.BPE(unk_token="[UNK]"))
    reference.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES.pattern), "isolated")
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(SPECIALS), show_progress=False)
    reference.train_from_iterator(manual(), trainer)
    return reference


def reference_word_piece(texts: list[str], vocab_size: int) -> Tokenizer:
    reference = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIALS), show_progress=False
    )
    reference.train_from_iterator([word for text in texts for word in WORDS.findall(text)], trainer)
    return reference


@pytest.mark.parametrize("vocab_size", [200, 1000, 5000])
def test_bpe_on_the_manual_has_the_same_merges_ids_and_encodings(vocab_size):
    ours, reference = BPETokenizer.train(manual(), vocab_size=vocab_size), cutting_reference_bpe(vocab_size)
    assert ours.merges == merges_of(reference)
    assert ours.tokens == vocabulary(reference)
    for text in manual():
        assert ours.encode(text) == reference.encode(text).ids


@settings(max_examples=300, deadline=None)
@given(texts_of_any_kind, texts_of_any_kind, st.integers(0, 60))
def test_bpe_on_random_texts_has_the_same_merges_ids_and_encodings(texts, unseen, n_merges):
    alphabet = set().union(*texts)
    vocab_size = len(SPECIALS) + len(alphabet) + n_merges
    ours, reference = BPETokenizer.train(texts, vocab_size=vocab_size), reference_bpe(texts, vocab_size)
    assert ours.merges == merges_of(reference)
    assert ours.tokens == vocabulary(reference)
    for text in (*texts, *unseen):  # the unseen ones hold unknown characters too
        assert ours.encode(text) == encoded(reference, PIECES.findall(text))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.text(max_size=30), st.integers(0, 60))
def test_bpe_on_bytes_has_the_same_merges_ids_and_encodings(texts, unseen, n_merges):
    def as_latin_1(text: str) -> list[str]:
        return [piece.encode().decode("latin-1") for piece in PIECES.findall(text)]

    reference = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=258 + n_merges,
        special_tokens=list(SPECIALS),
        show_progress=False,
        initial_alphabet=[chr(number) for number in range(256)],
    )
    reference.train_from_iterator([piece for text in texts for piece in as_latin_1(text)], trainer)
    ours = BPETokenizer.train(texts, vocab_size=258 + n_merges, byte_level=True)
    assert ours.merges == merges_of(reference)
    assert ours.tokens == vocabulary(reference)
    for text in (*texts, unseen):
        assert ours.encode(text) == encoded(reference, as_latin_1(text))


def check_word_piece_training(texts: list[str], vocab_size: int) -> None:
    """Compare the trainings, token by token.

    Where counts tie, the ids of the `##` characters decide. Ours are in alphabetical order; Hugging Face's are in the
    order of a hash map, and differ from run to run. So ours is given the order of this run.
    """
    reference = vocabulary(reference_word_piece(texts, vocab_size))
    ours = WordPieceTokenizer.train(texts, vocab_size=vocab_size)
    words = Counter(word for text in texts for word in WORDS.findall(text))
    n_characters = len(set().union(*words))
    n_given = len(SPECIALS) + n_characters + len({c for word in words for c in word[1:]})
    assert sorted(ours.tokens[:n_given]) == sorted(reference[:n_given])
    assert ours.tokens[: len(SPECIALS) + n_characters] == reference[: len(SPECIALS) + n_characters]

    tokens = reference[:n_given]
    marked = {tuple(tokenization._with_marks(word)): count for word, count in words.items()}
    tokenization._learn_merges(marked, tokens, vocab_size, SPECIALS, tokenization._join_marked)
    assert tokens == reference


@pytest.mark.parametrize("vocab_size", [200, 1000, 5000])
def test_word_piece_trained_on_the_manual_has_the_same_tokens(vocab_size):
    check_word_piece_training(manual(), vocab_size)


@settings(max_examples=150, deadline=None)
@given(texts_of_any_kind, st.integers(0, 60))
def test_word_piece_trained_on_random_texts_has_the_same_tokens(texts, n_merges):
    words = [word for text in texts for word in WORDS.findall(text)]
    n_given = len(set().union(*words)) + len({c for word in words for c in word[1:]})
    check_word_piece_training(texts, len(SPECIALS) + n_given + n_merges)


def test_word_piece_on_the_manual_has_the_same_token_set_where_no_tie_decides():
    ours = WordPieceTokenizer.train(manual(), vocab_size=300)
    assert set(ours.tokens) == set(vocabulary(reference_word_piece(manual(), 300)))


def check_word_piece_encoding(ours: WordPieceTokenizer, texts: list[str]) -> None:
    reference = Tokenizer(
        models.WordPiece(ours.ids, unk_token="[UNK]", max_input_chars_per_word=tokenization.LONGEST_WORD)
    )
    reference.decoder = decoders.WordPiece(cleanup=False)
    for text in texts:
        ids = ours.encode(text)
        assert ids == encoded(reference, WORDS.findall(text))
        assert ours.decode(ids) == reference.decode(ids, skip_special_tokens=False)


def test_word_piece_encodes_the_manual_alike():
    half = manual()[::2]
    check_word_piece_encoding(WordPieceTokenizer.train(half, vocab_size=2000), manual())


@settings(max_examples=150, deadline=None)
@given(texts_of_any_kind, texts_of_any_kind, st.integers(0, 40))
def test_word_piece_encodes_random_texts_alike(texts, unseen, n_merges):
    words = [word for text in texts for word in WORDS.findall(text)]
    n_given = len(set().union(*words)) + len({c for word in words for c in word[1:]})
    ours = WordPieceTokenizer.train(texts, vocab_size=len(SPECIALS) + max(n_given, 1) + n_merges)
    check_word_piece_encoding(ours, [*texts, *unseen, "a" * 100, "a" * 101])


# What is broken here on purpose must be seen by the comparisons above.


def broken_merge(symbols, pair, merged):
    """Merges from right to left."""
    turned = original_merge(symbols[::-1], pair[::-1], merged)
    return turned[::-1]


original_merge = tokenization._merge
original_pairwise = tokenization.pairwise


def pairs_without_overlap(symbols):
    """Counts "aaa" as one pair of a's."""
    last = None
    for place, pair in enumerate(original_pairwise(symbols)):
        if pair[0] == pair[1] and last == (place - 1, pair):
            last = None
            continue
        last = place, pair
        yield pair


class LargestFirst:
    """A heap that gives the larger ids first where counts tie."""

    @staticmethod
    def heapify(heap):
        heap.sort(key=lambda entry: (entry[0], -entry[1][0], -entry[1][1]))

    @staticmethod
    def heappush(heap, entry):
        heap.append(entry)
        LargestFirst.heapify(heap)

    @staticmethod
    def heappop(heap):
        return heap.pop(0)


TRAINING_FAULTS = {
    "ties go to the larger ids": ("heapq", LargestFirst),
    "overlapping pairs count once": ("pairwise", pairs_without_overlap),
    "merged from right to left": ("_merge", broken_merge),
}
TELLING = ["aaaa aaa aaaaa aaaaaaa", "bcd dcb bcb cdc", "cab bac aab", "xyxyxyaaa aaa"]


@pytest.mark.parametrize("fault", TRAINING_FAULTS)
def test_the_comparison_notices_a_fault_of_training(fault, monkeypatch):
    reference = reference_bpe(TELLING, 24)
    sound = BPETokenizer.train(TELLING, vocab_size=24)
    assert (sound.merges, sound.tokens) == (merges_of(reference), vocabulary(reference))
    monkeypatch.setattr(tokenization, *TRAINING_FAULTS[fault])
    broken = BPETokenizer.train(TELLING, vocab_size=24)
    seen = [broken.encode(text) == encoded(reference, PIECES.findall(text)) for text in TELLING]
    assert (broken.merges, broken.tokens) != (merges_of(reference), vocabulary(reference)) or not all(seen)


@pytest.mark.parametrize("fault", ["last merge first", "reading order", "longest token first"])
def test_the_comparison_notices_a_fault_of_encoding(fault):
    reference = cutting_reference_bpe(1000)
    ours = BPETokenizer.train(manual(), vocab_size=1000)
    pairs = list(ours._ranks)
    if fault == "last merge first":
        ours._ranks = {pair: -rank for rank, pair in enumerate(pairs)}
    elif fault == "reading order":
        ours._ranks = dict.fromkeys(pairs, 0)
    else:
        ours._ranks = {pair: -len("".join(pair)) for pair in pairs}
    assert any(ours.encode(text) != reference.encode(text).ids for text in manual())
