"""The toy worlds: what a lesson relies on is so."""

import itertools

import pytest
import torch

from course_lib.data import apple, coloured_words, films


def test_apple_lies_between_fruit_and_computers_which_lie_apart():
    assert abs(apple.fruit_gap(apple.embed(["apple"])).item()) <= 0.2
    assert (apple.fruit_gap(apple.embed(list(apple.FRUIT))) >= 0.5).all()
    assert (apple.fruit_gap(apple.embed(list(apple.COMPUTERS))) <= -0.5).all()


def test_every_word_of_the_apple_world_has_one_group():
    assert sorted(apple.TABLE) == sorted(("apple", *apple.FRUIT, *apple.COMPUTERS, *apple.NEUTRAL))


@pytest.mark.parametrize("n_others", [0, 1, 2])
def test_sampled_sentences_hold_one_apple_and_more_of_their_own_side(n_others):
    sentences = apple.sample_sentences(40, seed=3, n_others=n_others)
    assert sum(side == "fruit" for _, side in sentences) == 20
    for tokens, side in sentences:
        own, other = (apple.FRUIT, apple.COMPUTERS) if side == "fruit" else (apple.COMPUTERS, apple.FRUIT)
        assert tokens.count("apple") == 1
        assert sum(token in own for token in tokens) > sum(token in other for token in tokens) == n_others
        apple.embed(tokens)
    assert sentences == apple.sample_sentences(40, seed=3, n_others=n_others)
    assert sentences != apple.sample_sentences(40, seed=4, n_others=n_others)


def test_neither_the_place_of_a_word_nor_that_of_a_sentence_tells_its_side():
    sentences = apple.sample_sentences(200, seed=0)
    assert 0.3 < sum(tokens.index("apple") >= len(tokens) / 2 for tokens, _ in sentences) / 200 < 0.7
    sides = [side for _, side in sentences]
    assert 60 < sum(one == other for one, other in itertools.pairwise(sides)) < 140


def test_no_word_is_no_point():
    assert apple.embed([]).shape == (0, 2)
    assert apple.fruit_gap(apple.embed([])).shape == (0,)


def test_the_hand_made_keys_answer_love_with_the_romantic_film():
    scores = films.film_query("love") @ films.film_keys().T
    titles = list(films.FILMS)
    assert films.FILMS[titles[int(scores.argmax())]][0] == "romantic"
    assert films.film_values().shape == (len(titles), 2)


def test_coloured_words_have_one_red_and_one_blue_word_and_the_right_answers():
    words, colours, answers = coloured_words.sample_coloured_words(
        50, n_words=9, n_tokens=4, generator=torch.Generator().manual_seed(0)
    )
    for column, colour in enumerate((coloured_words.RED, coloured_words.BLUE)):
        assert ((colours == colour).sum(-1) == 1).all()
        assert torch.equal(words[colours == colour], answers[:, column])
    assert words.max() < 9


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: apple.embed(["apple", "moon"]), "'moon'"),
        (lambda: apple.fruit_gap(torch.ones(4, 3)), r"\(4, 3\)"),
        (lambda: apple.sample_sentences(5, seed=0), "got 5"),
        (lambda: apple.sample_sentences(4, seed=0, n_others=3), "got 3"),
        (lambda: apple.sample_sentences(None, seed=0), "got None"),
        (lambda: apple.sample_sentences(2.0, seed=0), "got 2.0"),
        (lambda: apple.fruit_gap(torch.tensor(1.0)), r"\(\)"),
        (lambda: apple.fruit_gap(torch.tensor([1, 2])), "int64"),
        (lambda: films.film_query("peace"), "'peace'"),
        (
            lambda: coloured_words.sample_coloured_words(
                2, n_words=2.5, n_tokens=3, generator=torch.Generator()
            ),
            "got 2, 2.5, 3",
        ),
        (
            lambda: coloured_words.sample_coloured_words(
                2, n_words=3, n_tokens=1, generator=torch.Generator()
            ),
            "got 2, 3, 1",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(call, named):
    with pytest.raises(ValueError, match=named):
        call()
