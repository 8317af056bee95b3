"""The market: what its sentences keep to, because lesson 02 draws conclusions from it."""

from collections import Counter
from itertools import pairwise

import pytest

from course_lib.data import market

SENTENCES = market.sample_sentences(3000, seed=1)
SIDES = {
    "fruit": {w for slot in ("taste", "eat", "dish", "garden") for w in market.SLOTS[slot]},
    "computers": {w for slot in ("state", "use", "part", "office") for w in market.SLOTS[slot]},
}


def test_sentences_repeat_with_their_seed_and_differ_with_another():
    assert market.sample_sentences(50, seed=3) == market.sample_sentences(50, seed=3)
    assert market.sample_sentences(50, seed=3) != market.sample_sentences(50, seed=4)


def test_hardly_a_sentence_comes_twice():
    assert len({tuple(sentence) for sentence in SENTENCES}) > 0.9 * len(SENTENCES)


def test_no_slot_is_left_open_and_no_word_is_empty():
    assert all(word.isalpha() or word == "," for sentence in SENTENCES for word in sentence)


def test_no_sentence_names_two_fruits_or_two_computers():
    nouns = {*market.FRUIT, *market.COMPUTERS, market.AMBIGUOUS}
    assert max(sum(word in nouns for word in sentence) for sentence in SENTENCES) == 1


def test_apple_occurs_on_both_sides_about_as_often_as_any_other_noun():
    counts = Counter(word for sentence in SENTENCES for word in sentence)
    sides = Counter(
        side
        for sentence in SENTENCES
        if "apple" in sentence
        for side, words in SIDES.items()
        if words & set(sentence)
    )
    assert sides.total() == counts["apple"]  # each of its sentences has a clue, and of one side only
    assert 0.4 < sides["fruit"] / sides.total() < 0.6
    others = [counts[word] for word in (*market.FRUIT, *market.COMPUTERS)]
    assert min(others) > 0.6 * max(others)
    assert 1.5 < counts["apple"] / (sum(others) / len(others)) < 2.5


def test_words_of_one_side_stay_out_of_sentences_about_the_other():
    for sentence in SENTENCES:
        assert not (SIDES["fruit"] & set(sentence) and SIDES["computers"] & set(sentence))
    assert not SIDES["fruit"] & SIDES["computers"]


def test_new_words_occur_only_where_they_are_asked_for():
    words = {word for sentence in SENTENCES for word in sentence}
    assert not words & market.NEW_WORDS.keys()
    for word, kind in market.NEW_WORDS.items():
        asked = market.sample_sentences_with(word, kind, 40, seed=2)
        assert len(asked) == 40 and all(sentence.count(word) == 1 for sentence in asked)
        assert {w for sentence in asked for w in sentence} <= words | {word, "an"}
        other = "computers" if kind == "fruit" else "fruit"
        assert not any(SIDES[other] & set(sentence) for sentence in asked)


def test_men_and_women_keep_to_their_pronouns_and_roles_to_their_things():
    men, women = {man for man, _ in market.ROLES}, {woman for _, woman in market.ROLES}
    of_men, of_women = (set(pronouns.values()) for pronouns in market.PRONOUNS)
    people = [sentence for sentence in SENTENCES if (men | women) & set(sentence)]
    assert len(people) == len(SENTENCES) // 5
    for sentence in people:
        assert not (men & set(sentence) and of_women & set(sentence))
        assert not (women & set(sentence) and of_men & set(sentence))
        (roles,) = [pair for pair in market.ROLES if set(pair) & set(sentence)]
        foreign = {thing for pair, things in market.ROLES.items() if pair != roles for thing in things}
        assert not foreign & set(sentence)


def test_things_belong_to_one_pair_of_roles():
    things = [thing for things in market.ROLES.values() for thing in things]
    assert len(things) == len(set(things))


def test_a_stands_before_consonants_and_an_before_vowels():
    for sentence in SENTENCES:
        for article, word in pairwise(sentence):
            if article in ("a", "an"):
                assert (article == "an") == (word[0] in "aeiou"), sentence


def test_shuffling_keeps_words_and_lengths_and_breaks_the_company():
    shuffled = market.shuffle_words(SENTENCES, seed=5)
    assert [len(s) for s in shuffled] == [len(s) for s in SENTENCES]
    words = [Counter(word for s in sentences for word in s) for sentences in (shuffled, SENTENCES)]
    assert words[0] == words[1]
    mixed = sum(bool(SIDES["fruit"] & set(s) and SIDES["computers"] & set(s)) for s in shuffled)
    assert mixed > 0.3 * len(shuffled)


def test_swapping_genders_leaves_roles_and_takes_pronouns_by_a_coin():
    swapped = market.swap_genders(SENTENCES, seed=6)
    pronouns = {word for each in market.PRONOUNS for word in each.values()}
    with_he = 0
    kings = 0
    for before, after in zip(SENTENCES, swapped, strict=True):
        assert [w for w in before if w not in pronouns] == [w for w in after if w not in pronouns]
        if any(man in before for man, _ in market.ROLES) and pronouns & set(after):
            kings += 1
            with_he += bool(set(market.PRONOUNS[0].values()) & set(after))
    assert 0.4 < with_he / kings < 0.6


def test_analogies_ask_over_two_pairs_of_roles_both_ways():
    questions = market.analogies()
    n = len(market.ROLES)
    assert len(questions) == len(set(questions)) == 2 * n * (n - 1)
    assert ("man", "woman", "king", "queen") in questions and ("woman", "man", "queen", "king") in questions
    assert all(len(set(question)) == 4 for question in questions)
    assert all(((a, b) in market.ROLES) == ((c, d) in market.ROLES) for a, b, c, d in questions)


@pytest.mark.parametrize(
    "action",
    [
        lambda: market.sample_sentences(7, seed=0),
        lambda: market.sample_sentences(0, seed=0),
        lambda: market.sample_sentences_with("kiwi", "people", 3, seed=0),
        lambda: market.sample_sentences_with("kiwi", "fruit", 0, seed=0),
        lambda: market.sample_sentences_with("", "fruit", 3, seed=0),
        lambda: market.sample_sentences_with("two kiwis", "fruit", 3, seed=0),
        lambda: market.sample_sentences(5.0, seed=0),
        lambda: market.sample_sentences_with("kiwi", "fruit", 1.5, seed=0),
        lambda: market.sample_sentences_with(None, "fruit", 1, seed=0),
    ],
)
def test_numbers_and_kinds_that_do_not_fit_are_refused(action):
    with pytest.raises(
        ValueError, match=r"got (7|0|'people'|'fruit' and 0|''|'two kiwis'|5.0|'fruit' and 1.5|None)"
    ):
        action()


def test_the_kinds_come_in_random_order():
    about_people = [
        bool(set(words) & {p for g in market.PRONOUNS for p in g.values()}) for words in SENTENCES
    ]
    every_fifth = [set(about_people[place::5]) for place in range(5)]
    assert all(kinds == {True, False} for kinds in every_fifth)
