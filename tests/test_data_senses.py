"""The world of two senses: balanced, without leaks, and laid out for a language model."""

from collections import Counter

import pytest
import torch

from course_lib.data import senses


def test_both_senses_of_a_word_are_equally_frequent_so_that_guessing_is_right_half_of_the_time():
    counts = Counter((sentence.prompt[-1], sentence.sense) for sentence in senses.sentences())
    for word, meanings in senses.SENSES.items():
        assert len({counts[word, sense] for sense in meanings}) == 1


def test_a_prompt_has_one_sense():
    found: dict[tuple[str, ...], set[str]] = {}
    for sentence in senses.sentences():
        found.setdefault(sentence.prompt, set()).add(sentence.sense)
    assert all(len(meanings) == 1 for meanings in found.values())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_prompt_is_on_both_sides_of_the_split(seed):
    training, held_out = senses.split(seed=seed)
    assert not {s.prompt for s in training} & {s.prompt for s in held_out}
    assert len(training) + len(held_out) == len(senses.sentences())
    assert len(held_out) / len(senses.sentences()) == pytest.approx(0.2, abs=0.01)


def test_every_sense_is_on_both_sides_of_the_split_and_another_seed_splits_otherwise():
    training, held_out = senses.split()
    meanings = {(word, name) for word, meanings in senses.SENSES.items() for name in meanings}
    for side in (training, held_out):
        assert {(sentence.prompt[-1], sentence.sense) for sentence in side} == meanings
    assert held_out == senses.split(seed=0)[1] != senses.split(seed=1)[1]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1, None])
def test_a_share_that_splits_nothing_is_named(share):
    with pytest.raises(ValueError, match=f"between 0 and 1, got {share}"):
        senses.split(share)


def test_a_batch_reads_each_word_and_is_to_predict_the_next():
    long = senses.Sentence(("beside", "the", "old", "orange", "the", "apple"), "fruit", "tastes")
    short = senses.Sentence(("near", "my", "phone", "this", "mouse"), "computer", "clicks")
    inputs, labels = senses.batch([long, short])
    assert inputs.shape == labels.shape == (2, 7)
    assert inputs[0].tolist() == senses.encode((*long.prompt, "tastes")).tolist()
    assert labels[0].tolist() == senses.encode((*long.prompt[1:], "tastes", ".")).tolist()
    assert inputs[1, 6].item() == senses.IDS[senses.PAD]
    assert labels[1].tolist() == [*senses.encode((*short.prompt[1:], "clicks", ".")).tolist(), -100]


def test_the_sense_is_that_of_the_endings_with_more_probability():
    probabilities = torch.zeros(len(senses.WORDS))
    probabilities[senses.encode(["tastes", "starts", "beeps"])] = torch.tensor([0.4, 0.3, 0.3])
    assert senses.sense_said("apple", probabilities) == "computer"
    probabilities[senses.encode(["ripens"])] = 0.3
    assert senses.sense_said("apple", probabilities) == "fruit"


def test_no_word_has_no_id():
    assert senses.encode([]).dtype == torch.int64


def test_a_wrong_argument_is_named():
    with pytest.raises(ValueError, match="no word 'tablet'"):
        senses.encode(["the", "tablet"])
    with pytest.raises(ValueError, match="at least one sentence"):
        senses.batch([])
    with pytest.raises(ValueError, match="'tablet' has no two senses; apple,"):
        senses.sense_said("tablet", torch.zeros(len(senses.WORDS)))
    with pytest.raises(ValueError, match=r"probabilities must be .*\(3,\)"):
        senses.sense_said("apple", torch.zeros(3))
