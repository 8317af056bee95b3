"""Masked words: how many are chosen, which, and what becomes of them.

Bounds on shares are Hoeffding's: a sound function fails a line with probability below 1e-9 (the seeds are
fixed besides).
"""

import math
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.objectives import (
    choose_spans,
    choose_tokens,
    choose_words,
    corrupt_words,
    language_model_loss,
    masked_word_loss,
    span_lengths,
    spoil,
    static_copies,
    target_count,
)

PAD, CLS, SEP, MASK, FIRST_WORD, VOCAB = 0, 1, 2, 3, 4, 40
SPECIAL = (CLS, SEP)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def margin(n, failure=1e-9):
    """How far the share of n independent draws strays from its probability (Hoeffding)."""
    return math.sqrt(math.log(2 / failure) / (2 * n))


def sequences(n_rows=8000, seed=0):
    """Rows of [CLS] words [SEP], of 5 to 24 tokens."""
    draw = chance(seed)
    tokens = torch.randint(FIRST_WORD, VOCAB, (n_rows, 24), generator=draw)
    lengths = torch.randint(5, 25, (n_rows,), generator=draw)
    tokens[:, 0] = CLS
    tokens[torch.arange(n_rows), lengths - 1] = SEP
    return tokens.masked_fill(torch.arange(24) >= lengths[:, None], PAD)


def corrupt(tokens, generator, **more):
    settings = dict(mask_id=MASK, pad_id=PAD, special_ids=SPECIAL, vocab_size=VOCAB)
    return corrupt_words(tokens, generator=generator, **(settings | more))


# --- the whole, and the mistakes it must tell apart --------------------------------------------------------


def assert_sound(corrupt):
    """Hold what BERT says of its corruption: section 3.1, appendix A.1, and the authors' code."""
    tokens = sequences()
    before = tokens.clone()
    inputs, labels = corrupt(tokens, chance(1))
    assert torch.equal(tokens, before), "the tokens given were changed"
    is_target = labels != -100
    assert torch.equal(labels[is_target], tokens[is_target]), "a label is not the original"
    assert torch.equal(inputs[~is_target], tokens[~is_target]), "a token was changed that is not asked for"
    is_word = tokens >= FIRST_WORD
    assert not (is_target & ~is_word).any(), "a special token or padding is asked for"
    lengths = (tokens != PAD).sum(1).tolist()
    wanted = torch.tensor([max(1, round(0.15 * length)) for length in lengths])
    # Tensors: where two long lists differ, pytest on CI takes an hour to say how.
    assert torch.equal(is_target.sum(1), wanted), "not 15 % of the length with [CLS] and [SEP]"

    n = int(is_target.sum())
    became_mask = ((inputs == MASK) & is_target).sum().item() / n
    stayed = ((inputs == tokens) & is_target).sum().item() / n
    became_other = ((inputs != tokens) & (inputs != MASK) & is_target).sum().item() / n
    # A random word is [MASK], or the original, once in V times.
    assert became_mask == pytest.approx(0.8 + 0.1 / VOCAB, abs=margin(n))
    assert stayed == pytest.approx(0.1 + 0.1 / VOCAB, abs=margin(n))
    assert became_other == pytest.approx(0.1 * (1 - 2 / VOCAB), abs=margin(n))
    others = inputs[is_target & (inputs != tokens) & (inputs != MASK)]
    # ~2 200 random words: one of 39 never comes with probability below 39 · (1 − 1/40)^2200 < 1e-22.
    assert set(others.tolist()) == set(range(VOCAB)) - {MASK}, (
        "random words come from a part of the vocabulary"
    )

    full = is_target[torch.tensor(lengths) == 24][:, 1:-1]  # 4 of 22 places
    assert full.double().mean(0).sub(4 / 22).abs().max() < margin(len(full)), "some places are favoured"


def test_bert_chooses_15_percent_and_spoils_them_80_10_10():
    assert_sound(corrupt)


def one_threshold_compared_with_itself(tokens, generator):
    """0 % [MASK]: every branch but the last is dead."""
    _, labels = corrupt(tokens, generator)
    random_words = torch.randint(VOCAB, tokens.shape, generator=generator)
    return torch.where(labels != -100, random_words, tokens), labels


def always_mask(tokens, generator):
    _, labels = corrupt(tokens, generator)
    return tokens.masked_fill(labels != -100, MASK), labels


def never_random(tokens, generator):
    inputs, labels = corrupt(tokens, generator)
    is_random = (labels != -100) & (inputs != tokens) & (inputs != MASK)
    return torch.where(is_random, tokens, inputs), labels


def labels_everywhere(tokens, generator):
    inputs, _ = corrupt(tokens, generator)
    return inputs, tokens.clone()


def labels_inverted(tokens, generator):
    inputs, labels = corrupt(tokens, generator)
    return inputs, tokens.masked_fill(labels != -100, -100)


def labels_taken_after_the_corruption(tokens, generator):
    inputs, labels = corrupt(tokens, generator)
    return inputs, inputs.masked_fill(labels == -100, -100)


def corrupts_in_place(tokens, generator):
    inputs, labels = corrupt(tokens, generator)
    tokens.copy_(inputs)
    return tokens, labels


def special_tokens_too(tokens, generator):
    return corrupt(tokens, generator, special_ids=())


def padding_counted_as_length(tokens, generator):
    is_word = tokens >= FIRST_WORD
    n = target_count(torch.full((len(tokens),), tokens.size(1)))
    is_target = choose_tokens(is_word, n, generator=generator)
    return spoil(tokens, is_target, mask_id=MASK, vocab_size=VOCAB, generator=generator)


def a_coin_for_each_token(tokens, generator):
    is_target = (tokens >= FIRST_WORD) & (torch.rand(tokens.shape, generator=generator) < 0.15)
    return spoil(tokens, is_target, mask_id=MASK, vocab_size=VOCAB, generator=generator)


def specials_not_counted_in_the_length(tokens, generator):
    is_word = tokens >= FIRST_WORD
    is_target = choose_tokens(is_word, target_count(is_word.sum(1)), generator=generator)
    return spoil(tokens, is_target, mask_id=MASK, vocab_size=VOCAB, generator=generator)


def random_words_are_never_special(tokens, generator):
    inputs, labels = corrupt(tokens, generator)
    is_special = (labels != -100) & (inputs < FIRST_WORD) & (inputs != MASK)
    return inputs.masked_fill(is_special, FIRST_WORD), labels


def the_first_words_are_chosen(tokens, generator):
    is_word = tokens >= FIRST_WORD
    n = target_count((tokens != PAD).sum(1))
    is_target = is_word & (is_word.cumsum(1) <= n[:, None])
    return spoil(tokens, is_target, mask_id=MASK, vocab_size=VOCAB, generator=generator)


@pytest.mark.parametrize(
    "mistake",
    [
        one_threshold_compared_with_itself,
        always_mask,
        never_random,
        labels_everywhere,
        labels_inverted,
        labels_taken_after_the_corruption,
        corrupts_in_place,
        special_tokens_too,
        padding_counted_as_length,
        a_coin_for_each_token,
        specials_not_counted_in_the_length,
        random_words_are_never_special,
        the_first_words_are_chosen,
    ],
    ids=lambda mistake: mistake.__name__,
)
def test_what_learners_get_wrong_is_noticed(mistake):
    with pytest.raises(AssertionError):
        assert_sound(mistake)


# --- how many ----------------------------------------------------------------------------------------------


@given(st.integers(0, 600), st.floats(0.01, 1.0))
def test_the_number_of_targets_is_berts_formula(length, share):
    assert target_count(torch.tensor([length]), share).tolist() == [max(1, round(share * length))]


@given(st.data())
def test_a_row_gives_what_it_has_and_nothing_else(data):
    rows = data.draw(
        st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=7, max_size=7), min_size=1, max_size=4)
    )
    tokens = torch.tensor(rows)
    unit = data.draw(st.sampled_from(["token", "word", "span"]))
    share = data.draw(st.floats(0.05, 1.0))
    inputs, labels = corrupt(tokens, chance(data.draw(st.integers(0, 99))), unit=unit, share=share)
    is_target = labels != -100
    is_word = tokens >= FIRST_WORD
    wanted = target_count((tokens != PAD).sum(1), share).minimum(is_word.sum(1))
    assert is_target.sum(1).tolist() == wanted.tolist()  # a word is a token here, so all units agree
    assert not (is_target & ~is_word).any()
    assert torch.equal(labels[is_target], tokens[is_target])
    assert torch.equal(inputs[~is_target], tokens[~is_target])


def test_every_set_of_targets_is_as_likely_as_any_other():
    n_rows = 60_000
    is_eligible = torch.tensor([[False, True, True, True, True, False]]).expand(n_rows, -1)
    chosen = choose_tokens(is_eligible, torch.full((n_rows,), 2), generator=chance())
    for pair in combinations(range(1, 5), 2):
        share = (chosen[:, pair].all(1)).double().mean().item()
        assert share == pytest.approx(1 / 6, abs=margin(n_rows))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_ids_of_every_width_are_read_and_labels_can_hold_the_sign_for_ignored(dtype):
    tokens = sequences(50)
    for unit in ("token", "word", "span"):
        wide, narrow = (corrupt(one, chance(1), unit=unit) for one in (tokens, tokens.to(dtype)))
        assert narrow[0].dtype == dtype and narrow[1].dtype == torch.int64
        assert torch.equal(narrow[0].long(), wide[0]) and torch.equal(narrow[1], wide[1])


def test_the_same_generator_gives_the_same_batch_and_the_next_call_another():
    tokens = sequences(50)
    generator = chance(3)
    first, second = corrupt(tokens, generator), corrupt(tokens, generator)
    again = corrupt(tokens, chance(3))
    assert all(torch.equal(one, other) for one, other in zip(first, again))
    assert not torch.equal(first[1], second[1])


def test_the_global_random_state_is_left_alone():
    state = torch.get_rng_state()
    for unit in ("token", "word", "span"):
        corrupt(sequences(5), chance(), unit=unit)
    assert torch.equal(torch.get_rng_state(), state)


# --- static and dynamic ------------------------------------------------------------------------------------


def test_static_copies_differ_from_one_another_and_stay_as_they_are():
    tokens = sequences(60)
    generator = chance(5)
    inputs, labels = static_copies(tokens, lambda rows: corrupt(rows, generator), copies=4)
    assert inputs.shape == labels.shape == (4, 60, 24)
    for one, other in pairwise(labels):
        assert not torch.equal(one, other)
    for copy in range(4):
        is_target = labels[copy] != -100
        assert torch.equal(labels[copy][is_target], tokens[is_target])
        assert torch.equal(inputs[copy][~is_target], tokens[~is_target])


# --- whole words -------------------------------------------------------------------------------------------


@st.composite
def rows_of_pieces(draw):
    n_rows, length = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    flags = st.lists(
        st.lists(st.booleans(), min_size=length, max_size=length), min_size=n_rows, max_size=n_rows
    )
    return torch.tensor(draw(flags)), torch.tensor(draw(flags))


def words_of(continues_word):
    """The places of each word of a row, as lists."""
    words = []
    for place, continues in enumerate(continues_word.tolist()):
        if continues and words:
            words[-1].append(place)
        else:
            words.append([place])
    return words


@given(rows_of_pieces(), st.integers(0, 12), st.integers(0, 99))
def test_a_word_is_chosen_whole_or_not_at_all_and_no_word_that_fits_is_left(rows, n, seed):
    is_eligible, continues_word = rows
    n_targets = torch.full((len(is_eligible),), n)
    chosen = choose_words(is_eligible, n_targets, continues_word, generator=chance(seed))
    for row in range(len(chosen)):
        left = n - int(chosen[row].sum())
        assert left >= 0
        for word in words_of(continues_word[row]):
            pieces = {bool(chosen[row, place]) for place in word}
            assert len(pieces) == 1
            may_be = all(is_eligible[row, word].tolist())
            assert may_be or pieces == {False}
            assert pieces == {True} or not may_be or len(word) > left


def test_words_are_tried_in_random_order_and_passed_over_where_they_do_not_fit():
    """Words of 1, 1 and 2 pieces, 2 to choose: the long one is taken if it comes first, once in three times."""
    n_rows = 60_000
    continues_word = torch.tensor([[False, False, False, True]]).expand(n_rows, -1)
    is_eligible = torch.ones_like(continues_word)
    chosen = choose_words(is_eligible, torch.full((n_rows,), 2), continues_word, generator=chance())
    assert torch.equal(chosen[:, 0], chosen[:, 1]) and torch.equal(chosen[:, 2], ~chosen[:, 0])
    assert chosen[:, 3].double().mean().item() == pytest.approx(1 / 3, abs=margin(n_rows))


def test_whole_words_are_spoilt_piece_by_piece():
    """As in BERT's code: the pieces of a word are chosen together, and each then meets its own fate."""
    tokens = torch.full((20_000, 4), 9)
    continues_word = torch.tensor([[False, True, False, True]]).expand(20_000, -1)
    inputs, labels = corrupt(tokens, chance(), unit="word", share=0.5, continues_word=continues_word)
    is_target = labels != -100
    assert (is_target.sum(1) == 2).all()
    fates = inputs[is_target].view(-1, 2) == MASK
    unlike = (fates[:, 0] != fates[:, 1]).double().mean().item()
    masked = 0.8 + 0.1 / VOCAB
    assert unlike == pytest.approx(2 * masked * (1 - masked), abs=margin(20_000))


# --- spans -------------------------------------------------------------------------------------------------


def test_span_lengths_are_geometric_cut_at_ten_with_mean_3_797():
    weights = [0.2 * 0.8 ** (length - 1) for length in range(1, 11)]
    mean = sum(length * weight for length, weight in enumerate(weights, 1)) / sum(weights)
    assert mean == pytest.approx(3.797, abs=0.0005)
    n = 400_000
    lengths = span_lengths(n, generator=chance())
    assert lengths.min() == 1 and lengths.max() == 10
    for length, weight in enumerate(weights, 1):
        share = (lengths == length).double().mean().item()
        assert share == pytest.approx(weight / sum(weights), abs=margin(n))
    assert lengths.double().mean().item() == pytest.approx(mean, abs=9 * margin(n))


def runs_of(flags):
    """First and last place of each run of True in a row."""
    places = [place for place, flag in enumerate(flags.tolist()) if flag]
    begins = [place for place in places if place - 1 not in places]
    ends = [place for place in places if place + 1 not in places]
    return list(zip(begins, ends))


@given(rows_of_pieces(), st.integers(0, 12), st.integers(0, 99))
def test_spans_are_exactly_as_many_tokens_as_asked_for_in_runs_of_words(rows, n, seed):
    is_eligible, continues_word = rows
    n_targets = torch.full((len(is_eligible),), n)
    chosen = choose_spans(is_eligible, n_targets, continues_word, generator=chance(seed))
    assert not (chosen & ~is_eligible).any()
    assert chosen.sum(1).tolist() == is_eligible.sum(1).clamp(max=n).tolist()
    for row in range(len(chosen)):
        begins_word = [word[0] for word in words_of(continues_word[row])]
        within = 0
        for begin, end in runs_of(chosen[row]):
            assert begin in begins_word or not is_eligible[row, begin - 1]
            last = end + 1 == chosen.size(1) or not is_eligible[row, end + 1]
            within += not (last or end + 1 in begins_word)
        assert within <= 1  # only the last span may end within a word: there the n are reached


def test_a_span_of_two_words_holds_two_whole_words():
    n_rows = 2000
    continues_word = torch.tensor([[False, False, True, True, False, False, False, False]]).expand(n_rows, -1)
    is_eligible = torch.tensor([[False, True, True, True, True, True, False, True]]).expand(n_rows, -1)
    # longest = 2 and p so small that 1 and 2 words are as likely: every span with room for it shows both.
    chosen = choose_spans(
        is_eligible, torch.full((n_rows,), 4), continues_word, generator=chance(), p=0.01, longest=2
    )
    seen = {tuple(runs_of(row)) for row in chosen}
    assert ((1, 4),) in seen  # the word of three pieces and the next: one span of two words
    assert ((2, 5),) not in seen  # a span does not begin within a word


def test_a_span_does_not_go_on_behind_a_token_that_may_not_be_asked_for():
    """Five tokens, each alone between two special ones: 2 of them are any of 10 pairs, neighbours or not."""
    n_rows = 60_000
    is_eligible = (torch.arange(9) % 2 == 0).expand(n_rows, -1)
    chosen = choose_spans(is_eligible, torch.full((n_rows,), 2), generator=chance())
    for pair in combinations(range(0, 9, 2), 2):
        share = chosen[:, pair].all(1).double().mean().item()
        assert share == pytest.approx(1 / 10, abs=margin(n_rows))


def test_a_span_begins_at_any_word_with_a_chance_in_proportion_to_its_pieces():
    n_rows = 60_000
    continues_word = torch.tensor([[False, False, True, True]]).expand(n_rows, -1)
    is_eligible = torch.ones_like(continues_word)
    chosen = choose_spans(is_eligible, torch.full((n_rows,), 1), continues_word, generator=chance())
    assert chosen[:, 0].double().mean().item() == pytest.approx(1 / 4, abs=margin(n_rows))
    assert chosen[:, 1].double().mean().item() == pytest.approx(3 / 4, abs=margin(n_rows))


def test_most_targets_of_a_long_row_stand_beside_another():
    """Spans of 3.8 words on average leave few alone; single tokens leave about 0.85² = 72 % alone."""
    tokens = torch.randint(FIRST_WORD, VOCAB, (400, 100), generator=chance())

    def share_alone(unit):
        is_target = corrupt(tokens, chance(), unit=unit)[1] != -100
        beside = torch.nn.functional.pad(is_target, (1, 1))
        return (is_target & ~beside[:, :-2] & ~beside[:, 2:]).sum().item() / is_target.sum().item()

    # Of 6 000 targets; a span of one word has probability 0.22 and is 0.06 of all tokens in spans.
    assert share_alone("span") < 0.12
    assert share_alone("token") > 0.65


def test_a_whole_span_is_spoilt_alike_80_10_10():
    """With so large a vocabulary a random word is [MASK] or the original with probability 2e-6."""
    n_rows, vocab = 8000, 1_000_000
    tokens = torch.randint(10, vocab, (n_rows, 6), generator=chance(1))
    is_target = torch.tensor([[True, True, True, False, True, True]]).expand(n_rows, -1)
    inputs, labels = spoil(
        tokens, is_target, mask_id=MASK, vocab_size=vocab, generator=chance(2), runs_alike=True
    )
    assert torch.equal(labels != -100, is_target)
    fates = torch.where(inputs == MASK, 0, torch.where(inputs == tokens, 2, 1))
    assert (fates[:, :3] == fates[:, :1]).all() and torch.equal(fates[:, 4], fates[:, 5])
    assert not torch.equal(fates[:, 0], fates[:, 4])  # two spans, two fates
    for column in (0, 4):
        for fate, share in enumerate((0.8, 0.1, 0.1)):
            found = (fates[:, column] == fate).double().mean().item()
            assert found == pytest.approx(share, abs=margin(n_rows))
    is_random = fates[:, 0] == 1
    assert not torch.equal(inputs[is_random, 0], inputs[is_random, 1])  # a word each, not one for the span


def test_the_span_form_of_corruption_spoils_runs_alike():
    tokens = torch.randint(FIRST_WORD, 100_000, (500, 60), generator=chance())
    inputs, labels = corrupt(tokens, chance(1), unit="span", vocab_size=100_000)
    for row in range(500):
        for begin, end in runs_of(labels[row] != -100):
            masked = (inputs[row, begin : end + 1] == MASK).tolist()
            assert all(masked) or not any(masked)


# --- the loss ----------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_the_targets_alone():
    draw = chance()
    logits = torch.randn(3, 5, 7, generator=draw, dtype=torch.float64, requires_grad=True)
    labels = torch.full((3, 5), -100)
    labels[0, 1], labels[2, 3], labels[2, 4] = 6, 0, 2
    loss = masked_word_loss(logits, labels)
    p = logits.softmax(-1)
    by_hand = -(p[0, 1, 6].log() + p[2, 3, 0].log() + p[2, 4, 2].log()) / 3
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-12)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[labels == -100] == 0).all() and (gradient[labels != -100] != 0).all()


def test_the_logits_of_the_targets_alone_give_the_same_loss():
    logits = torch.randn(4, 6, 9, generator=chance(), dtype=torch.float64)
    labels = torch.randint(9, (4, 6), generator=chance(1)).masked_fill(torch.rand(4, 6) < 0.5, -100)
    labels[0, 0] = 3
    alone = masked_word_loss(logits[labels != -100], labels)
    assert alone.item() == pytest.approx(masked_word_loss(logits, labels).item(), rel=1e-12)
    assert alone.item() == pytest.approx(language_model_loss(logits, labels).item(), rel=1e-12)


# --- bad input ---------------------------------------------------------------------------------------------

TOKENS = torch.tensor([[CLS, 5, 6, SEP]])
FLAGS = torch.ones(1, 4, dtype=torch.bool)
ONE = torch.tensor([1])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: corrupt([[1, 2]], chance()), "corrupt_words: tokens .*got list"),
        (lambda: corrupt(TOKENS[0], chance()), r"tokens must be \(B, T\).*got \(4,\)"),
        (lambda: corrupt(TOKENS[:0], chance()), r"got \(0, 4\)"),
        (lambda: corrupt(TOKENS[:, :0], chance()), r"got \(1, 0\)"),
        (lambda: corrupt(TOKENS.float(), chance()), "dtype torch.float32"),
        (lambda: corrupt(TOKENS + VOCAB, chance()), f"between 0 and {VOCAB - 1}, got 46"),
        (lambda: corrupt(TOKENS - 3, chance()), "got -2 in tokens"),
        (lambda: corrupt(TOKENS, chance(), mask_id=VOCAB), f"mask_id .*got {VOCAB}"),
        (lambda: corrupt(TOKENS, chance(), mask_id=None), "mask_id .*got None"),
        (lambda: corrupt(TOKENS, chance(), pad_id=0.5), "pad_id .*got 0.5"),
        (lambda: corrupt(TOKENS, chance(), special_ids=3), "special_ids .*got 3"),
        (lambda: corrupt(TOKENS, chance(), special_ids="[CLS]"), "special_ids .*got .*CLS"),
        (lambda: corrupt(TOKENS, chance(), special_ids=[None]), "special_ids .*got None"),
        (lambda: corrupt(TOKENS, chance(), vocab_size=0), "vocab_size .*got 0"),
        (lambda: corrupt(TOKENS, chance(), share=0), "share .*got 0"),
        (lambda: corrupt(TOKENS, chance(), share=15), "share .*got 15"),
        (lambda: corrupt(TOKENS, chance(), share=math.nan), "share .*got nan"),
        (lambda: corrupt(TOKENS, chance(), share="a"), "share .*got 'a'"),
        (lambda: corrupt(TOKENS.byte(), chance(), vocab_size=257), "torch.uint8 cannot hold ids up to 256"),
        (lambda: corrupt(TOKENS, chance(), unit="piece"), "unit .*got 'piece'"),
        (lambda: corrupt(TOKENS, None), "generator .*got NoneType"),
        (lambda: corrupt(TOKENS, chance(), unit="word", continues_word=TOKENS), "continues_word .*int64"),
        (lambda: corrupt(TOKENS, chance(), unit="span", continues_word=FLAGS[:, :2]), r"got \(1, 2\)"),
        (lambda: target_count(torch.tensor([1.5])), "lengths .*float32"),
        (lambda: target_count(torch.tensor([-1])), "got -1"),
        (lambda: target_count([3]), "got list"),
        (lambda: choose_tokens(TOKENS, ONE, generator=chance()), "choose_tokens: is_eligible .*int64"),
        (
            lambda: choose_words(FLAGS, torch.tensor([1, 2]), None, generator=chance()),
            r"choose_words.*\(2,\)",
        ),
        (lambda: choose_spans(FLAGS, torch.tensor([-2]), generator=chance()), "choose_spans.*got -2"),
        (lambda: choose_spans(FLAGS, torch.tensor([0.5]), generator=chance()), "float32"),
        (lambda: choose_spans(FLAGS, ONE, generator=chance(), p=0), "p .*got 0"),
        (lambda: span_lengths(0, generator=chance()), "n .*got 0"),
        (lambda: span_lengths(3, generator=chance(), longest=0), "longest .*got 0"),
        (lambda: spoil(TOKENS, FLAGS[:, :1], mask_id=3, vocab_size=9, generator=chance()), r"got \(1, 1\)"),
        (lambda: spoil(TOKENS, FLAGS, mask_id=9, vocab_size=9, generator=chance()), "mask_id .*got 9"),
        (lambda: static_copies(TOKENS, lambda rows: (rows, rows), copies=0), "copies .*got 0"),
        (lambda: masked_word_loss(torch.zeros(2, 5), torch.tensor([[1, -100]])), "need 2 targets.*hold 1"),
        (lambda: masked_word_loss(torch.zeros(1, 2, 5), torch.full((1, 2), -100)), "every label"),
        (lambda: masked_word_loss(torch.zeros(1, 5), torch.tensor([[5]])), "label 5 lies outside"),
    ],
)
def test_what_is_wrong_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
