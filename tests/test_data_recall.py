"""The recall, copy and city worlds: what lesson 01 relies on is so."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import cities, recall


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


@given(distance=st.integers(0, 20), n_keys=st.integers(2, 9), seed=st.integers(0, 99))
def test_a_recall_sequence_is_a_key_then_as_many_fillers_as_the_dial_says_then_the_question(
    distance, n_keys, seed
):
    tokens, answers = recall.sample_recall(5, distance=distance, n_keys=n_keys, generator=draw(seed))
    assert tokens.shape == (5, distance + 2)
    assert torch.equal(tokens[:, 0], answers)
    assert ((answers >= 0) & (answers < n_keys)).all()
    fillers = tokens[:, 1:-1]
    assert ((fillers >= n_keys) & (fillers < n_keys + recall.N_FILLERS)).all()
    assert (tokens[:, -1] == recall.recall_vocab_size(n_keys) - 1).all()


def test_the_key_shows_nowhere_but_at_its_place_so_that_forgetting_means_chance():
    tokens, answers = recall.sample_recall(8000, distance=3, n_keys=4, generator=draw())
    assert recall.recall_chance(4) == 0.25
    for place in range(1, 5):  # the best guess from one later token is right no more often than chance
        best = 0.0
        for token in tokens[:, place].unique():
            rows = tokens[:, place] == token
            best += torch.bincount(answers[rows]).max().item()
        assert best / 8000 < 0.25 + 0.03
    best_from_the_key = (tokens[:, 0] == answers).float().mean()
    assert best_from_the_key == 1


@given(
    shortest=st.integers(1, 5),
    more=st.integers(0, 4),
    n_symbols=st.integers(1, 6),
    reverse=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_copy_is_the_source_between_its_signs_and_a_reverse_is_it_backwards(
    shortest, more, n_symbols, reverse, seed
):
    source, target = recall.sample_copies(
        6,
        n_symbols=n_symbols,
        min_length=shortest,
        max_length=shortest + more,
        generator=draw(seed),
        reverse=reverse,
    )
    assert target.shape == (6, source.size(1) + 2)
    for src, tgt in zip(source.tolist(), target.tolist(), strict=True):
        symbols = [token for token in src if token != recall.PAD]
        assert shortest <= len(symbols) <= shortest + more
        assert src == symbols + [recall.PAD] * (len(src) - len(symbols))
        assert all(recall.N_SPECIALS <= token < recall.N_SPECIALS + n_symbols for token in symbols)
        wanted = [recall.SOS, *(symbols[::-1] if reverse else symbols), recall.EOS]
        assert tgt == wanted + [recall.PAD] * (len(tgt) - len(wanted))


def test_draws_repeat_with_their_seed_and_lengths_differ():
    arguments = {"n_symbols": 5, "min_length": 2, "max_length": 6}
    one, again = (recall.sample_copies(30, **arguments, generator=draw(1)) for _ in range(2))
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], recall.sample_copies(30, **arguments, generator=draw(2))[0])
    assert {int((row != 0).sum()) for row in one[0]} == {2, 3, 4, 5, 6}
    first, second = (
        recall.sample_recall(9, distance=4, n_keys=5, generator=draw(seed))[0] for seed in (1, 2)
    )
    assert not torch.equal(first, second)


def test_the_world_has_sixteen_countries_of_four_cities_and_shanghai_is_in_china():
    assert len(cities.COUNTRIES) == 16
    assert all(len(own) == 4 for _, own in cities.COUNTRIES.values())
    assert len(cities.CITIES) == 64, "a city stands in two countries"
    assert cities.sentences(("city in",))[0] == "Shanghai is a city in China".split()
    assert set(cities.RIVERS) <= set(cities.CITIES)


def test_no_prompt_names_a_country_a_language_or_another_city():
    names = set(cities.COUNTRIES) | {language for language, _ in cities.COUNTRIES.values()}
    names |= set(cities.RIVERS.values())
    for kind in cities.KINDS:
        for city in cities.RIVERS if kind == "river" else cities.CITIES:
            words = cities.prompt(kind, city)
            assert not set(words) & names
            assert [word for word in words if word in cities.CITIES] == [city]
            assert len(words) - words.index(city) > 3, "the city must be carried over some words"


def test_the_words_between_city_and_answer_are_the_same_for_every_city():
    for kind in cities.KINDS:
        rests = set()
        for city in cities.RIVERS:
            words = cities.prompt(kind, city)
            rests.add(tuple(words[words.index(city) + 1 :]))
        assert len(rests) == 1


def test_every_city_has_a_sentence_of_each_kind_and_ends_in_its_answer():
    told = cities.sentences()
    assert len(told) == 4 * 64 + len(cities.RIVERS)
    assert "in the streets of Recife you mostly hear Portuguese".split() in told
    assert "Cologne lies on the river Rhine".split() in told
    assert told == cities.sentences()


def test_shuffling_keeps_every_words_count_and_takes_the_truth_away():
    true, dealt = cities.sentences(), cities.sentences(shuffle_seed=1)
    assert sorted(word for words in true for word in words) == sorted(w for words in dealt for w in words)
    still_true = [words for words in dealt if words in true]
    assert 0 < len(still_true) < len(true) / 4
    assert dealt == cities.sentences(shuffle_seed=1) != cities.sentences(shuffle_seed=2)
    # One deal for all kinds would be a false world that agrees with itself, and could be learned.
    dealt_country = {
        kind: [words[-1] for words in cities.sentences((kind,), shuffle_seed=1)]
        for kind in ("city in", "born")
    }
    assert dealt_country["city in"] != dealt_country["born"]


def test_gap_sentences_name_the_city_before_the_country_and_after_it():
    pairs = cities.gap_sentences()
    assert len(pairs) == 64
    for (left, right), (city, country) in zip(pairs, cities.CITIES.items(), strict=True):
        assert left.index(city) < left.index(country)
        assert right.index(country) < right.index(city)
        assert right[: right.index(country)] == ["in"]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: recall.sample_recall(0, distance=3, n_keys=4, generator=draw()), "got 0 and 3"),
        (lambda: recall.sample_recall(2, distance=-1, n_keys=4, generator=draw()), "2 and -1"),
        (lambda: recall.sample_recall(2, distance=1, n_keys=1, generator=draw()), "n_keys = 1"),
        (lambda: recall.recall_chance(0), "n_keys = 0"),
        (lambda: recall.recall_vocab_size(1), "n_keys = 1"),
        (
            lambda: recall.sample_copies(2, n_symbols=3, min_length=4, max_length=3, generator=draw()),
            "4 and 3",
        ),
        (
            lambda: recall.sample_copies(2, n_symbols=0, min_length=1, max_length=3, generator=draw()),
            "2, 0",
        ),
        (lambda: recall.recall_chance(2.5), "n_keys = 2.5"),
        (lambda: recall.recall_vocab_size(None), "n_keys = None"),
        (lambda: recall.sample_recall(2.5, distance=1, n_keys=3, generator=draw()), "got 2.5 and 1"),
        (lambda: recall.sample_recall(2, distance=None, n_keys=3, generator=draw()), "got 2 and None"),
        (
            lambda: recall.sample_copies(2, n_symbols=3, min_length=1, max_length=3.5, generator=draw()),
            "1 and 3.5",
        ),
        (lambda: cities.answer_to("weather", "Rome"), "'weather'"),
        (lambda: cities.prompt("travel", "Atlantis"), "'Atlantis'"),
        (lambda: cities.answer_to("river", "Tokyo"), "'Tokyo'"),
        (lambda: cities.sentences(("travel", "weather")), "'weather'"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(call, named):
    with pytest.raises(ValueError, match=named):
        call()
