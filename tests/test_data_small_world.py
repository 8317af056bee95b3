"""The small world: what its documents, reviews and questions keep to, and that nothing leaks from side to side."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data import small_world as world

SIDES = ("training", "held out")
# Most rows of one kind; a fact that were on both sides would be met many times in so many.
N = 12_000
SEEN = {word for feeling in world.FEELINGS.values() for word in feeling.seen}
UNSEEN = {word for feeling in world.FEELINGS.values() for word in feeling.unseen}
REACTIONS = {reaction: name for name, feeling in world.FEELINGS.items() for reaction in feeling.reactions}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


DOCUMENTS = {side: world.sample_documents(N, generator=generator(1), side=side) for side in SIDES}
QUESTIONS = {side: world.sample_questions(N, generator=generator(2), side=side) for side in SIDES}
UNSEEN_QUESTIONS = world.sample_questions(N, generator=generator(4), side="held out", adjectives="unseen")
REVIEWS = {
    (side, words): world.sample_reviews(N, generator=generator(3), side=side, adjectives=words)
    for side in SIDES
    for words in ("seen", "unseen")
}


FEELING_OF = {
    word: name for name, feeling in world.FEELINGS.items() for word in feeling.seen + feeling.unseen
}


def is_diary(document):
    return document[0][1] == "has"


def clauses(text):
    """What a diary's text tells, in whatever order: which city was how."""
    return frozenset(" ".join(text).removesuffix(" .").split(" , "))


def words_in(rows):
    return {word for row in rows for word in world.decode(row)}


# --- nothing leaks -----------------------------------------------------------------------------------------------


def test_no_document_is_on_both_sides_and_no_review_also_not_with_its_adjectives_in_the_other_order():
    told = {side: {str(document) for document in DOCUMENTS[side]} for side in SIDES}
    assert not told["training"] & told["held out"]
    firsts = {
        side: {frozenset(document[0]) for document in DOCUMENTS[side] if not is_diary(document)}
        for side in SIDES
    }
    assert min(len(sentences) for sentences in firsts.values()) > 1000
    assert not firsts["training"] & firsts["held out"]


def test_what_a_diary_tells_lies_on_one_side_in_whatever_order_and_whoever_it_was():
    told = {
        side: {clauses(document[1]) for document in DOCUMENTS[side] if is_diary(document)}
        | {clauses(world.decode(row[9:-1])) for row in QUESTIONS[side].tokens}
        for side in SIDES
    }
    assert min(len(texts) for texts in told.values()) > 1000
    assert not told["training"] & told["held out"]


def test_a_question_is_on_one_side():
    rows = {side: {tuple(row) for row in QUESTIONS[side].tokens.tolist()} for side in SIDES}
    assert not rows["training"] & rows["held out"]


def test_a_review_to_classify_is_on_one_side_and_in_the_documents_of_no_other():
    firsts = {
        side: {str(world.encode(document[0])) for document in DOCUMENTS[side] if not is_diary(document)}
        for side in SIDES
    }
    rows = {
        side: {str(row[1:-1]) for words in ("seen", "unseen") for row in REVIEWS[side, words].tokens.tolist()}
        for side in SIDES
    }
    assert not rows["training"] & rows["held out"]
    assert not rows["held out"] & firsts["training"]
    assert not rows["training"] & firsts["held out"]


@pytest.mark.parametrize("side", SIDES)
def test_an_unseen_adjective_is_nowhere_a_task_is_learned_from_and_each_stands_in_the_test_and_in_the_documents(
    side,
):
    assert not SEEN & UNSEEN and len(SEEN) == len(UNSEEN) == 16
    assert words_in(REVIEWS[side, "seen"].tokens) & (SEEN | UNSEEN) == SEEN
    assert words_in(REVIEWS[side, "unseen"].tokens) & (SEEN | UNSEEN) == UNSEEN
    assert words_in(QUESTIONS[side].tokens) & (SEEN | UNSEEN) == SEEN
    assert words_in(UNSEEN_QUESTIONS.tokens) & (SEEN | UNSEEN) == UNSEEN
    assert {
        word for document in DOCUMENTS[side] for sentence in document for word in sentence
    } >= SEEN | UNSEEN


def test_nothing_but_its_two_adjectives_tells_the_feeling_of_a_review():
    others = {name: set() for name in world.FEELINGS}
    reviews = REVIEWS["training", "seen"]
    for row, label in zip(reviews.tokens, reviews.labels.tolist(), strict=True):
        others[world.CLASSES[label][1]] |= set(world.decode(row)) - SEEN
    assert len({frozenset(words) for words in others.values()}) == 1


def test_the_held_out_side_is_about_a_tenth_of_all_that_can_be_told():
    told = torch.cartesian_prod(*[torch.arange(size) for size in (16, 16, 4, 8, 8)])
    assert world._is_held_out(told).double().mean().item() == pytest.approx(0.1, abs=0.01)
    for axis in range(5):  # whatever the thing, the city, the feeling, the adjective
        for number in range(told[:, axis].max() + 1):
            share = world._is_held_out(told[told[:, axis] == number]).double().mean().item()
            assert 0.05 < share < 0.15, (axis, number)


def test_diaries_of_each_length_are_on_both_sides():
    for side in SIDES:
        lengths = Counter(document[1].count("was") for document in DOCUMENTS[side] if is_diary(document))
        assert set(lengths) == {1, 2, 3} and min(lengths.values()) / lengths.total() > 0.25, side


# --- what stands in it -------------------------------------------------------------------------------------------


def test_documents_are_reviews_and_diaries_of_two_sentences_in_the_share_that_was_asked_for():
    for diaries, least, most in ((0.0, 0, 0), (1.0, 2000, 2000), (0.25, 400, 600)):
        documents = world.sample_documents(2000, generator=generator(), diaries=diaries)
        assert all(len(document) == 2 and all(s[-1] == "." for s in document) for document in documents)
        assert least <= sum(is_diary(document) for document in documents) <= most


def test_the_second_sentence_of_a_review_shows_the_feeling_of_the_first():
    for first, second in world.sample_documents(500, generator=generator(), diaries=0.0):
        assert first[:1] + first[2:3] + first[5:6] + first[7:8] == ["the", "in", "was", "and"]
        assert first[6] != first[8]
        assert {FEELING_OF[first[6]], FEELING_OF[first[8]]} == {REACTIONS[second[1]]}


def test_a_diary_tells_first_what_somebody_did_in_one_of_its_cities_which_are_all_different():
    lengths = Counter()
    for first, second in world.sample_documents(500, generator=generator(), diaries=1.0):
        name, has, did, preposition, *city, end = first
        assert name in world.NAMES and (has, preposition, end) == ("has", "in", ".")
        how = dict(clause.split(" was ") for clause in clauses(second))
        assert FEELING_OF[how[" ".join(city)]] == REACTIONS[did]
        assert all(tuple(city.split()) in world.CITIES for city in how)
        assert len({FEELING_OF[adjective] for adjective in how.values()}) == len(how) == second.count("was")
        lengths[len(how)] += 1
    assert set(lengths) == {1, 2, 3} and min(lengths.values()) > 100


@pytest.mark.parametrize("side", SIDES)
def test_the_answer_is_the_one_city_that_was_so_that_one_does_what_the_question_says(side):
    questions = QUESTIONS[side]
    for row, segments, start, end in zip(*(column.tolist() for column in questions), strict=True):
        words = world.decode(row)
        assert words[:4] + words[6:9] + words[-1:] == "[CLS] what city has in ? [SEP] [SEP]".split()
        assert words[4] in world.NAMES and segments == [0] * 9 + [1] * 16
        assert end == start + 1 and tuple(words[start : end + 1]) in world.CITIES
        right = [place for place in (9, 14, 19) if FEELING_OF[words[place + 3]] == REACTIONS[words[5]]]
        assert right == [start]


@pytest.mark.parametrize("column", [3, 4, 5, 9, 10, 14, 15, 19, 20])
def test_a_token_that_is_no_adjective_tells_nothing_of_where_an_answer_stands(column):
    # For each token of the column: how often is the best place right, whoever knows nothing else?
    questions = QUESTIONS["training"]
    tokens = questions.tokens[:, column]
    right = 0
    for token in tokens.unique():
        right += questions.start[tokens == token].bincount().max().item()
    # 1/3, and what the best of three shares is above it by chance: at most 0.02 for 12,000 rows and 32 tokens.
    assert right / N < 1 / 3 + 0.035


def test_an_answer_is_every_city_equally_often():
    questions = QUESTIONS["training"]
    starts = questions.tokens.gather(1, questions.start[:, None])[:, 0].tolist()
    ends = questions.tokens.gather(1, questions.end[:, None])[:, 0].tolist()
    cities = Counter(zip(starts, ends, strict=True))
    assert len(cities) == 16 and max(cities.values()) / N < 1 / 16 + 0.01


def test_a_label_is_the_number_of_its_city_and_feeling():
    assert len(set(world.CLASSES)) == 64
    for reviews in REVIEWS.values():
        assert reviews.labels.unique().tolist() == list(range(64))
        for row, label in zip(reviews.tokens[:500], reviews.labels[:500].tolist(), strict=True):
            words = world.decode(row)
            first, second = world.CITY_PLACES
            assert world.CLASSES[label] == (f"{words[first]} {words[second]}", FEELING_OF[words[7]])


def test_classes_cities_and_adjectives_are_equally_frequent():
    reviews = REVIEWS["training", "seen"]
    labels = reviews.labels.bincount(minlength=64) / N
    assert (labels - 1 / 64).abs().max() < 0.006
    counts = reviews.tokens.flatten().bincount(minlength=len(world.WORDS))
    adjectives = torch.stack([counts[world.IDS[word]] for word in SEEN]) / (2 * N)
    assert (adjectives - 1 / 16).abs().max() < 0.008


# --- chance ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 40), side=st.sampled_from(SIDES))
def test_the_same_generator_gives_the_same_and_exactly_as_many_as_asked_for(seed, n, side):
    for sample in (world.sample_reviews, world.sample_questions):
        one, other = (sample(n, generator=generator(seed), side=side) for _ in range(2))
        assert all(torch.equal(a, b) and len(a) == n for a, b in zip(one, other, strict=True))
    one, other = (world.sample_documents(n, generator=generator(seed), side=side) for _ in range(2))
    assert one == other and len(one) == n


def test_all_chance_comes_from_the_generator():
    before = torch.get_rng_state()
    first = world.sample_documents(20, generator=generator(1))
    assert first != world.sample_documents(20, generator=generator(2))
    assert torch.equal(before, torch.get_rng_state())


# --- words and rows ----------------------------------------------------------------------------------------------


def test_every_word_of_every_sentence_has_an_id_and_every_id_but_the_specials_occurs():
    told = {
        word for side in SIDES for document in DOCUMENTS[side] for sentence in document for word in sentence
    }
    asked = words_in(QUESTIONS["training"].tokens)
    assert told | asked | set(world.SPECIALS) == set(world.WORDS)
    assert len(set(world.WORDS)) == len(world.WORDS)
    assert [world.PAD, world.UNK, world.CLS, world.SEP, world.MASK] == [0, 1, 2, 3, 4]


def test_decoding_undoes_encoding_and_an_unknown_word_becomes_unk():
    for document in DOCUMENTS["training"][:200]:
        for sentence in document:
            assert world.decode(world.encode(sentence)) == sentence
    assert world.encode(["the", "dragon"]) == [world.IDS["the"], world.UNK]
    assert world.decode(torch.tensor([world.CLS])) == ["[CLS]"]
    assert world.encode([]) == world.decode([]) == []


def test_a_row_is_all_sentences_of_a_document_between_cls_and_sep_then_padding():
    documents = [[["mary", "wept", "."], ["the", "play"]], [["mary"]]]
    assert [world.decode(row) for row in world.text_rows(documents)] == [
        ["[CLS]", "mary", "wept", ".", "the", "play", "[SEP]"],
        ["[CLS]", "mary", "[SEP]", *["[PAD]"] * 4],
    ]


def test_the_longest_rows_of_this_world_have_max_len():
    longest = max(sum(map(len, document)) for side in SIDES for document in DOCUMENTS[side])
    assert (
        longest + 3 == QUESTIONS["training"].tokens.size(1) == world.MAX_LEN
    )  # a pair has [CLS] and two [SEP]


def test_the_second_token_of_a_city_continues_a_word_and_nothing_else_does():
    tokens = torch.tensor([world.encode("[CLS] the play in new york was dull [SEP]".split())])
    assert world.continues_word(tokens).tolist() == [[False] * 5 + [True] + [False] * 3]
    assert world.continues_word(torch.arange(len(world.WORDS))).sum() == len(
        {second for _, second in world.CITIES}
    )


# --- cities drawn token by token ---------------------------------------------------------------------------------


def test_most_tokens_of_cities_belong_to_several_and_no_token_is_both_first_and_second():
    firsts, seconds = (Counter(tokens) for tokens in zip(*world.CITIES, strict=True))
    assert len(set(world.CITIES)) == 16 and not set(firsts) & set(seconds)
    assert sum(firsts[a] > 1 or seconds[b] > 1 for a, b in world.CITIES) == 14


def test_pairs_that_are_no_city_are_counted():
    pairs = [
        world.encode(pair)
        for pair in (("new", "york"), ("new", "angeles"), ("york", "new"), ("mary", "wept"))
    ]
    assert world.incoherent_share(torch.tensor(pairs)) == 0.75
    assert world.incoherent_share(torch.tensor(pairs[:1])) == 0.0


def test_two_independent_draws_miss_as_often_as_said():
    cities = REVIEWS["training", "seen"].tokens[:, list(world.CITY_PLACES)]
    assert world.incoherent_share(cities) == 0.0
    shuffled = torch.stack([cities[:, 0], cities[torch.randperm(N, generator=generator(9)), 1]], dim=1)
    # Deviation of a share of 12,000: 0.0033. Five of them: one chance in a million.
    assert world.incoherent_share(shuffled) == pytest.approx(world.independent_incoherent_share(), abs=0.0165)
    assert world.independent_incoherent_share() == 1 - 39 / 256


# --- what may be given -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [world.sample_documents, world.sample_reviews, world.sample_questions])
def test_what_cannot_be_drawn_is_named(sample):
    for n in (0, -1, 1.5, None, True, "3"):
        with pytest.raises(ValueError, match=f"{sample.__name__}: n must be .*, got {n!r}"):
            sample(n, generator=generator())
    with pytest.raises(ValueError, match=f"{sample.__name__}: side must be .*, got 'test'"):
        sample(3, generator=generator(), side="test")
    with pytest.raises(ValueError, match=f"{sample.__name__}: generator must be .*, got a int"):
        sample(3, generator=0)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: world.sample_documents(3, generator=generator(), diaries=1.5), "diaries .* got 1.5"),
        (lambda: world.sample_documents(3, generator=generator(), diaries="all"), "diaries .* got 'all'"),
        (
            lambda: world.sample_documents(3, generator=generator(), diaries=float("nan")),
            "diaries .* got nan",
        ),
        (lambda: world.sample_reviews(3, generator=generator(), adjectives="new"), "adjectives .* got 'new'"),
        (lambda: world.sample_questions(3, generator=generator(), adjectives="x"), "adjectives .* got 'x'"),
        (lambda: world.encode("the play"), "encode: words must be a list of words, got 'the play'"),
        (lambda: world.encode(["the", 3]), r"encode: words must be a list of words, got \['the', 3\]"),
        (lambda: world.decode([0, 999]), "decode: ids must be .*, got 999"),
        (lambda: world.decode([-1]), "decode: ids must be .*, got -1"),
        (lambda: world.decode(torch.zeros(1, 2, dtype=torch.long)), r"decode: ids must be .*, got \[0, 0\]"),
        (lambda: world.decode(torch.zeros(2)), "decode: ids must be .*, got 0.0"),
        (lambda: world.text_rows([]), "text_rows: needs at least one document"),
        (lambda: world.text_rows([[["the"]], [[]]]), "text_rows: .* words in each"),
        (lambda: world.text_rows([[["the"]], []]), "text_rows: .* words in each"),
        (lambda: world.continues_word(torch.tensor([[999]])), "continues_word: ids .* got 999"),
        (lambda: world.continues_word(torch.zeros(2)), "continues_word: .* got dtype torch.float32"),
        (
            lambda: world.incoherent_share(torch.zeros(0, 2, dtype=torch.long)),
            r"pairs must be .* got \(0, 2\)",
        ),
        (lambda: world.incoherent_share(torch.zeros(4, dtype=torch.long)), r"pairs must be .* got \(4,\)"),
        (lambda: world.incoherent_share([[1, 2]]), "incoherent_share: needs a tensor .* got a list"),
    ],
)
def test_bad_input_is_named(action, message):
    with pytest.raises(ValueError, match=message):
        action()
