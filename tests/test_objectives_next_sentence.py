"""Next sentence: pairs that follow one another, pairs that do not, and how both are written.

Bounds on shares are Hoeffding's: a sound function fails a line with probability below 1e-9 (the seeds are
fixed besides).
"""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.objectives import (
    SentencePair,
    batch_of_pairs,
    join_pair,
    next_sentence_loss,
    sentence_pairs,
    shorten,
)

CLS, SEP, PAD = 1, 2, 0


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def margin(n, failure=1e-9):
    """How far the share of n independent draws strays from its probability (Hoeffding)."""
    return math.sqrt(math.log(2 / failure) / (2 * n))


def world(*shapes):
    """Documents whose ids say where they stand: 10 000 · document + place. A shape: lengths of segments."""
    documents = []
    for number, lengths in enumerate(shapes, 1):
        ids = iter(range(10_000 * number, 10_000 * number + sum(lengths)))
        documents.append([[next(ids) for _ in range(length)] for length in lengths])
    return documents


def flat(document):
    return [token for segment in document for token in segment]


shapes = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=6), min_size=2, max_size=5)


@given(shapes, st.integers(5, 30), st.floats(0, 1), st.integers(0, 999))
def test_the_real_next_follows_and_a_random_one_comes_from_another_document(shapes, max_len, share, seed):
    pairs = sentence_pairs(
        world(*shapes), max_len=max_len, generator=chance(seed), random_share=share, short_share=0.3
    )
    for a, b, is_next in pairs:
        assert a and b and len(a) + len(b) <= max_len - 3
        for side in (a, b):  # what is left of a piece of text is a piece of text
            assert all(two == one + 1 for one, two in pairwise(side))
        same_document = a[0] // 10_000 == b[0] // 10_000
        assert is_next == same_document
        assert not is_next or a[-1] < b[0]


@given(shapes, st.floats(0, 1), st.integers(0, 999))
def test_no_segment_is_lost_and_none_is_used_twice(shapes, share, seed):
    """With room for everything nothing is cut: the parts of a document, laid end to end, are the document."""
    documents = world(*shapes)
    pairs = sentence_pairs(documents, max_len=200, generator=chance(seed), random_share=share)
    for document in documents:
        parts = [
            a + b if is_next else a for a, b, is_next in pairs if a[0] // 10_000 == document[0][0] // 10_000
        ]
        assert flat(parts) == flat(document)


@given(shapes, st.integers(0, 999))
def test_without_random_ones_only_a_single_segment_gets_one(shapes, seed):
    documents = world(*shapes)
    pairs = sentence_pairs(documents, max_len=200, generator=chance(seed), random_share=0, short_share=0)
    forced = [document[0] for document in documents if len(document) == 1]
    assert [a for a, _, is_next in pairs if not is_next] == forced


def test_half_of_the_pairs_that_can_have_their_next_do():
    n = 10_000
    documents = world(*[[2, 2]] * n)
    pairs = sentence_pairs(documents, max_len=40, generator=chance(), short_share=0)
    followed = sum(pair.is_next for pair in pairs)
    assert followed / n == pytest.approx(0.5, abs=margin(n))
    # Where b was random, the second segment is put back, and alone it is forced to a random one.
    assert len(pairs) == followed + 2 * (n - followed)


def test_a_random_piece_comes_from_any_other_document_and_begins_at_any_of_its_segments():
    n = 4000
    documents = world([1], *[[2, 2, 2]] * 4)
    firsts = []
    for seed in range(n):
        pair = sentence_pairs(documents, max_len=8, generator=chance(seed), short_share=0)[0]
        firsts.append(pair.b[0])
    # wanted: 5 − 1 = 4 tokens; from the last segment only 2 are left.
    for document in range(2, 6):
        for place in (0, 2, 4):
            share = firsts.count(10_000 * document + place) / n
            assert share == pytest.approx(1 / 12, abs=margin(n))


def test_a_is_cut_from_b_at_any_place_between_two_segments():
    n = 10_000
    documents = world(*[[1] * 5] * n)
    pairs = sentence_pairs(documents, max_len=40, generator=chance(), random_share=0, short_share=0)
    lengths = [len(pair.a) for pair in pairs]
    for length in (1, 2, 3, 4):
        assert lengths.count(length) / n == pytest.approx(1 / 4, abs=margin(n))


def test_a_tenth_of_the_documents_aims_at_a_shorter_length_from_two_tokens_up():
    n = 8000
    room = 8
    documents = world(*[[1] * room] * n)

    def first_lengths(**more):
        pairs = sentence_pairs(documents, max_len=room + 3, generator=chance(), random_share=0, **more)
        return [len(pair.a) + len(pair.b) for pair in pairs if pair.a[0] % 10_000 == 0]

    always = first_lengths(short_share=1)
    for length in range(2, room + 1):
        assert always.count(length) / n == pytest.approx(1 / (room - 1), abs=margin(n))
    usual = first_lengths()
    shorter = 0.1 * (1 - 1 / (room - 1))
    assert usual.count(room) / n == pytest.approx(1 - shorter, abs=margin(n))
    assert set(first_lengths(short_share=0)) == {room}


@given(st.integers(0, 30), st.integers(0, 30), st.integers(2, 40), st.integers(0, 99))
def test_always_the_longer_side_is_shortened_and_never_more_than_must_be(n_a, n_b, room, seed):
    a, b = shorten(range(n_a), range(100, 100 + n_b), room, generator=chance(seed))
    assert len(a) + len(b) == min(room, n_a + n_b)
    assert (len(a) == n_a or len(a) >= len(b) - 1) and (len(b) == n_b or len(b) >= len(a) - 1)
    for side in (a, b):
        assert all(two == one + 1 for one, two in pairwise(side))


def test_front_and_back_are_shortened_by_a_coin():
    n = 20_000
    a, _ = shorten(range(n + 1), [7], 2, generator=chance())
    assert a[0] / n == pytest.approx(0.5, abs=margin(n))  # so many were dropped in front


def test_of_two_equal_sides_the_second_is_shortened_first():
    a, b = shorten([1, 2, 3], [4, 5, 6], 5, generator=chance())
    assert a == [1, 2, 3] and len(b) == 2


def test_one_document_alone_has_no_random_next():
    """Any piece of it may be the true next, so its label would be a lie."""
    with pytest.raises(ValueError, match="at least two, got 1"):
        sentence_pairs(world([1, 2, 3]), max_len=20, generator=chance())


def test_the_same_generator_gives_the_same_pairs_and_the_documents_stay_as_they_are():
    documents = world([3, 4], [2], [5, 5, 5])
    before = world([3, 4], [2], [5, 5, 5])
    state = torch.get_rng_state()
    first = sentence_pairs(documents, max_len=12, generator=chance(4))
    assert first == sentence_pairs(documents, max_len=12, generator=chance(4))
    assert documents == before and torch.equal(torch.get_rng_state(), state)


# --- how a pair is written ---------------------------------------------------------------------------------


@given(st.lists(st.integers(3, 99), max_size=9), st.lists(st.integers(3, 99), max_size=9))
def test_cls_a_sep_b_sep_and_the_first_sep_belongs_to_a(a, b):
    tokens, segments = join_pair(a, b, cls_id=CLS, sep_id=SEP)
    assert tokens == [CLS, *a, SEP, *b, SEP]
    assert segments == [0] * (len(a) + 2) + [1] * (len(b) + 1)


def test_my_dog_is_cute_he_likes_playing():
    words = "[PAD] [CLS] [SEP] my dog is cute he likes play ##ing".split()
    pair = SentencePair([3, 4, 5, 6], [7, 8, 9, 10], True)
    tokens, segments, labels = batch_of_pairs([pair], cls_id=1, sep_id=2, pad_id=0, max_len=12)
    written = " ".join(words[one] for one in tokens[0].tolist())
    assert written == "[CLS] my dog is cute [SEP] he likes play ##ing [SEP] [PAD]"
    assert segments.tolist() == [[0] * 6 + [1] * 5 + [0]]  # padding has segment 0
    assert labels.tolist() == [0]


def test_a_batch_is_as_long_as_its_longest_pair_and_zero_means_is_next():
    pairs = [SentencePair([5], [6], False), SentencePair([5, 6], [7, 8], True)]
    tokens, segments, labels = batch_of_pairs(pairs, cls_id=CLS, sep_id=SEP, pad_id=PAD)
    assert tokens.tolist() == [[CLS, 5, SEP, 6, SEP, PAD, PAD], [CLS, 5, 6, SEP, 7, 8, SEP]]
    assert segments.tolist() == [[0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1, 1]]
    assert labels.tolist() == [1, 0]
    assert tokens.dtype == segments.dtype == labels.dtype == torch.int64


def test_the_loss_asks_entry_zero_for_the_real_next():
    logits = torch.tensor([[3.0, -1.0], [0.5, 0.5]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    by_hand = (math.log(1 + math.exp(-4)) + math.log(2)) / 2
    assert next_sentence_loss(logits, labels).item() == pytest.approx(by_hand, rel=1e-12)


GOOD = [SentencePair([5], [6], True)]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: sentence_pairs([], max_len=9, generator=chance()), "sentence_pairs: documents .*got 0"),
        (lambda: sentence_pairs(None, max_len=9, generator=chance()), "got NoneType"),
        (lambda: sentence_pairs([[[1]], []], max_len=9, generator=chance()), r"documents\[1\] .*got \[\]"),
        (lambda: sentence_pairs([[[1]], [[]]], max_len=9, generator=chance()), r"documents\[1\].*got \[\]"),
        (lambda: sentence_pairs([[[1]], [2]], max_len=9, generator=chance()), r"documents\[1\].*got 2"),
        (lambda: sentence_pairs(["ab", "c"], max_len=9, generator=chance()), r"documents\[0\].*got 'ab'"),
        (lambda: sentence_pairs([[[1]], [[-2]]], max_len=9, generator=chance()), r"documents\[1\].*got -2"),
        (lambda: sentence_pairs([[[1]], [[0.5]]], max_len=9, generator=chance()), "got 0.5"),
        (lambda: sentence_pairs(world([1], [1]), max_len=4, generator=chance()), "max_len .*got 4"),
        (lambda: sentence_pairs(world([1], [1]), max_len=9, generator=3), "generator .*got int"),
        (
            lambda: sentence_pairs(world([1], [1]), max_len=9, generator=chance(), random_share=1.5),
            "random_share .*got 1.5",
        ),
        (
            lambda: sentence_pairs(world([1], [1]), max_len=9, generator=chance(), short_share=math.nan),
            "short_share .*got nan",
        ),
        (lambda: shorten([1], [2], 1, generator=chance()), "shorten: room .*got 1"),
        (lambda: batch_of_pairs([], cls_id=1, sep_id=2, pad_id=0), "at least one pair"),
        (lambda: batch_of_pairs(GOOD, cls_id=-1, sep_id=2, pad_id=0), "cls_id .*got -1"),
        (lambda: batch_of_pairs([([5], [6], True)], cls_id=1, sep_id=2, pad_id=0), "SentencePairs, got"),
        (lambda: batch_of_pairs(GOOD, cls_id=1, sep_id=2, pad_id=0, max_len="9"), "max_len .*got '9'"),
        (lambda: join_pair([5, 0.5], [6], cls_id=1, sep_id=2), "join_pair: each id of a .*got 0.5"),
        (lambda: join_pair([5], [6], cls_id=1, sep_id=None), "sep_id .*got None"),
        (lambda: batch_of_pairs(GOOD, cls_id=1, sep_id=2, pad_id=None), "pad_id .*got None"),
        (lambda: batch_of_pairs(GOOD, cls_id=1, sep_id=2, pad_id=0, max_len=4), "5 tokens, .*max_len = 4"),
        (lambda: next_sentence_loss(torch.zeros(2, 3), torch.zeros(2).long()), r"got \(2, 3\)"),
        (lambda: next_sentence_loss(torch.zeros(2, 2), torch.zeros(3).long()), r"\(3,\)"),
        (lambda: next_sentence_loss(torch.zeros(0, 2), torch.zeros(0).long()), r"got \(0, 2\)"),
        (lambda: next_sentence_loss(torch.zeros(1, 2).long(), torch.zeros(1).long()), "int64"),
        (lambda: next_sentence_loss(torch.zeros(1, 2), torch.zeros(1)), "float32"),
        (lambda: next_sentence_loss(torch.zeros(1, 2), torch.tensor([-100])), "0 or 1, got -100"),
    ],
)
def test_what_is_wrong_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
