"""embeddings: the table and its scale, skip-gram against the paper's equation, pairs, negatives, neighbours."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.embeddings import (
    NegativeSampler,
    SkipGram,
    TokenEmbedding,
    analogy,
    cosine_similarity_table,
    nearest,
    skip_gram_pairs,
)

patient = settings(deadline=None)  # the first call of a torch function can take long
sizes = st.integers(1, 7)


@patient
@given(vocab_size=sizes, d_model=sizes, n_batch=sizes, n_tokens=st.integers(0, 5), seed=st.integers(0, 99))
def test_a_look_up_is_one_hot_times_the_table_times_root_d_in_value_and_gradient(
    vocab_size, d_model, n_batch, n_tokens, seed
):
    draw = torch.Generator().manual_seed(seed)
    module = TokenEmbedding(vocab_size, d_model)
    tokens = torch.randint(vocab_size, (n_batch, n_tokens), generator=draw)
    table = module.weight.detach().clone().requires_grad_()
    expected = F.one_hot(tokens, vocab_size).float() @ table * math.sqrt(d_model)
    output = module(tokens)
    assert output.shape == (n_batch, n_tokens, d_model)
    torch.testing.assert_close(output, expected)
    mix = torch.randn(output.shape, generator=draw)
    (output * mix).sum().backward()
    (expected * mix).sum().backward()
    torch.testing.assert_close(module.weight.grad, table.grad)
    unused = [row for row in range(vocab_size) if row not in tokens]
    assert (module.weight.grad[unused] == 0).all()


def test_an_embedding_equals_torchs_times_root_d_and_takes_ids_of_any_shape():
    ours, reference = TokenEmbedding(11, 6), torch.nn.Embedding(11, 6)
    reference.weight.data.copy_(ours.weight.data)
    for tokens in (torch.tensor(3), torch.tensor([[1, 10, 0]], dtype=torch.int32)):
        torch.testing.assert_close(ours(tokens), reference(tokens) * math.sqrt(6))


def test_unembedding_shares_the_table_so_both_ends_train_one_parameter():
    module = TokenEmbedding(7, 4)
    assert len(list(module.parameters())) == 1
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(module.unembed(x), torch.einsum("btd,vd->btv", x, module.weight))
    module.unembed(x).sum().backward()
    assert module.weight.grad.abs().min() > 0
    with torch.no_grad():
        module.weight.zero_()
    assert (module(torch.tensor([1])) == 0).all() and (module.unembed(x) == 0).all()


def test_embedded_tokens_and_first_logits_have_variance_one_at_every_width():
    for d_model in (8, 64, 512):
        module = TokenEmbedding(2000, d_model)
        x = module(torch.arange(2000))
        assert 0.9 < x.std() < 1.1
        assert 0.9 < module.unembed(torch.randn(200, d_model)).std() < 1.1


def test_an_untrained_tied_head_guesses_all_tokens_nearly_alike():
    module = TokenEmbedding(1000, 64)
    logits = module.unembed(torch.randn(500, 64))
    loss = F.cross_entropy(logits, torch.randint(1000, (500,)))
    assert abs(loss.item() - math.log(1000)) < 1


@patient
@given(seed=st.integers(0, 99), n_pairs=sizes, n_negatives=sizes, d_model=sizes)
def test_the_skip_gram_loss_is_equation_4_summed_by_hand(seed, n_pairs, n_negatives, d_model):
    draw = torch.Generator().manual_seed(seed)
    model = SkipGram(9, d_model)
    with torch.no_grad():
        for table in model.parameters():
            table.copy_(torch.randn(table.shape, generator=draw))
    centres, neighbours = torch.randint(9, (2, n_pairs), generator=draw)
    negatives = torch.randint(9, (n_pairs, n_negatives), generator=draw)
    total = 0.0
    for place in range(n_pairs):
        w = model.words[centres[place]]
        total -= torch.sigmoid(w @ model.contexts[neighbours[place]]).log()
        for negative in negatives[place]:
            total -= torch.sigmoid(-(w @ model.contexts[negative])).log()
    torch.testing.assert_close(model(centres, neighbours, negatives), total / n_pairs)


def test_an_untrained_skip_gram_loses_ln_2_for_each_decision():
    loss = SkipGram(9, 4)(torch.tensor([1]), torch.tensor([2]), torch.tensor([[3, 4, 5]]))
    assert loss.item() == pytest.approx(4 * math.log(2), abs=1e-3)


def test_words_begin_small_on_both_sides_of_zero_and_smaller_in_wider_tables():
    for d_model in (4, 50):
        words = SkipGram(500, d_model).words * d_model
        assert -0.5 <= words.min() < -0.49 and 0.49 < words.max() <= 0.5


def test_the_loss_is_finite_where_a_sigmoid_would_be_zero():
    model = SkipGram(3, 2)
    with torch.no_grad():
        model.words.fill_(100.0)
        model.contexts.fill_(-100.0)
    loss = model(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    loss.backward()
    assert loss.item() == pytest.approx(20_000) and torch.isfinite(model.words.grad).all()


def test_a_step_changes_the_rows_of_the_pair_and_no_other():
    model = SkipGram(9, 4)
    with torch.no_grad():
        model.contexts.normal_()
    model(torch.tensor([1]), torch.tensor([2]), torch.tensor([[3, 4]])).backward()
    assert model.words.grad.abs().sum(-1).nonzero().flatten().tolist() == [1]
    assert model.contexts.grad.abs().sum(-1).nonzero().flatten().tolist() == [2, 3, 4]


def test_skip_gram_puts_words_of_equal_surroundings_together_though_they_never_meet():
    """0 and 1 both stand beside 2; 3 and 4 both beside 5."""
    torch.manual_seed(0)
    pairs = skip_gram_pairs([[0, 2], [1, 2], [3, 5], [4, 5]], window=1)
    model, sampler = SkipGram(6, 4), NegativeSampler([1, 1, 2, 1, 1, 2])
    generator, optimiser = torch.Generator().manual_seed(0), torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(200):
        loss = model(pairs[:, 0], pairs[:, 1], sampler.draw(pairs[:, 1], 3, generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    cosines = cosine_similarity_table(model.words.detach())
    assert cosines[0, 1] > 0.9 and cosines[3, 4] > 0.9 and cosines[0, 3] < 0.8


@patient
@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=5), st.integers(1, 9))
def test_pairs_are_all_words_within_the_window_of_one_sentence(sentences, window):
    expected = Counter(
        (centre, sentence[other])
        for sentence in sentences
        for place, centre in enumerate(sentence)
        for other in range(len(sentence))
        if place != other and abs(place - other) <= window
    )
    pairs = skip_gram_pairs(sentences, window)
    assert pairs.shape == (expected.total(), 2) and pairs.dtype == torch.long
    assert Counter(map(tuple, pairs.tolist())) == expected


@patient
@given(
    st.lists(st.integers(0, 20), min_size=2, max_size=6).filter(
        lambda counts: sum(c > 0 for c in counts) > 1
    ),
    st.integers(0, 99),
)
def test_a_target_is_never_its_own_negative_and_what_never_occurs_is_never_drawn(counts, seed):
    sampler = NegativeSampler(counts)
    targets = torch.arange(len(counts)).repeat(20)
    drawn = sampler.draw(targets, 3, torch.Generator().manual_seed(seed))
    assert drawn.shape == (len(targets), 3)
    assert (drawn != targets[:, None]).all()
    assert all(counts[word] > 0 for word in drawn.flatten().tolist())


def test_a_word_that_never_occurs_is_not_drawn_even_where_all_that_occur_are_alike():
    assert NegativeSampler([0, 1, 3], power=0).probabilities.tolist() == [0, 0.5, 0.5]


@pytest.mark.parametrize("power", [0.75, 0.0, 1.0])
def test_negatives_follow_the_counts_to_the_power_also_beside_the_target(power):
    counts = torch.tensor([1.0, 16.0, 81.0, 256.0])
    sampler = NegativeSampler(counts, power)
    expected = counts.double() ** power
    torch.testing.assert_close(sampler.probabilities, expected / expected.sum())
    drawn = sampler.draw(torch.full((20_000,), 3), 2, torch.Generator().manual_seed(0)).flatten()
    shares = torch.bincount(drawn, minlength=4).double() / len(drawn)
    expected[3] = 0
    assert (shares - expected / expected.sum()).abs().max() < 0.015


def test_a_word_with_nearly_all_the_probability_does_not_stop_the_drawing():
    drawn = NegativeSampler([1, 1e30, 2], power=1).draw(
        torch.full((500,), 1), 2, torch.Generator().manual_seed(0)
    )
    assert (drawn != 1).all()
    assert 0.57 < (drawn == 2).double().mean() < 0.76  # two to one


def test_drawing_repeats_with_its_generator_and_leaves_the_global_one_alone():
    sampler, targets = NegativeSampler([1, 2, 3]), torch.tensor([0, 1, 2])
    before = torch.get_rng_state()
    one, two = (sampler.draw(targets, 4, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two) and torch.equal(before, torch.get_rng_state())
    assert sampler.draw(targets[:0], 4).shape == (0, 4)


@patient
@given(seed=st.integers(0, 99), n=sizes, m=sizes, d=sizes)
def test_cosines_are_torchs_and_a_row_of_zeros_has_none(seed, n, m, d):
    draw = torch.Generator().manual_seed(seed)
    rows, others = torch.randn(n, d, generator=draw), torch.randn(m, d, generator=draw)
    expected = torch.cosine_similarity(rows[:, None], others[None], dim=-1)
    torch.testing.assert_close(cosine_similarity_table(rows, others), expected)
    torch.testing.assert_close(cosine_similarity_table(rows * 1e-12, others * 1e12), expected)
    rows[0] = 0
    assert (cosine_similarity_table(rows)[0] == 0).all()


WORDS = ["king", "man", "woman", "queen", "far"]
TABLE = torch.tensor([[2.0, 1.0], [2.0, 0.0], [0.1, 1.0], [0.1, 2.0], [-1.0, -1.0]])


def test_nearest_leaves_the_asked_word_out_and_takes_a_vector_whole():
    by_word = nearest(TABLE, WORDS, "king", 2)
    assert [word for word, _ in by_word] == ["man", "woman"]
    assert by_word[0][1] == pytest.approx(2 / math.sqrt(5))
    assert nearest(TABLE, WORDS, TABLE[0], 1)[0] == ("king", pytest.approx(1.0))
    assert len(nearest(TABLE, WORDS, "king", 99)) == 4


def test_equally_near_words_come_in_the_order_of_the_table():
    words = [str(number) for number in range(200)]
    found = nearest(torch.ones(200, 2), words, "7", 199)
    assert [word for word, _ in found] == [word for word in words if word != "7"]


def test_an_analogy_is_answered_by_b_minus_a_plus_c_without_the_three():
    answer = analogy(TABLE, WORDS, "man", "king", "woman", 2)
    assert answer[0][0] == "queen"
    assert [word for word, _ in analogy(TABLE, WORDS, "man", "king", "woman", 9)] == ["queen", "far"]
    unit = TABLE / TABLE.norm(dim=-1, keepdim=True)
    wanted = unit[0] - unit[1] + unit[2]
    assert answer[0][1] == pytest.approx(torch.cosine_similarity(wanted, TABLE[3], dim=0).item())


def test_the_length_of_a_row_does_not_change_an_analogy():
    lengths = torch.tensor([[3.0], [0.1], [20.0], [1.0], [5.0]])
    one = analogy(TABLE, WORDS, "man", "king", "woman", 2)
    other = analogy(TABLE * lengths, WORDS, "man", "king", "woman", 2)
    assert [word for word, _ in one] == [word for word, _ in other]


def test_pairs_of_ids_come_from_any_sequences():
    expected = [[3, 1], [1, 3]]
    for sentences in (((3, 1), ()), [range(3, 0, -2)], [torch.tensor([3, 1])], torch.tensor([[3, 1]])):
        assert skip_gram_pairs(sentences, 1).tolist() == expected
    narrow = skip_gram_pairs([np.array([3, 1], dtype=np.int32)], 1)
    assert narrow.tolist() == expected and narrow.dtype == torch.int64
    assert skip_gram_pairs([], 1).shape == skip_gram_pairs([[], [5]], 1).shape == (0, 2)


def test_neighbours_of_a_table_in_training_are_plain_numbers():
    table = TABLE.clone().requires_grad_()
    assert all(isinstance(cosine, float) for _, cosine in nearest(table, WORDS, "king", 3))


tokens, x = torch.tensor([0]), torch.zeros(1, 4)
REFUSED = {
    "a vocabulary of nothing": (lambda: TokenEmbedding(0, 4), "TokenEmbedding.*vocab_size = 0"),
    "a width of nothing": (lambda: SkipGram(3, 0), "SkipGram.*d_model = 0"),
    "an id too large": (lambda: TokenEmbedding(3, 4)(torch.tensor([[1, 3]])), "between 0 and 2, got 3"),
    "an id below zero": (lambda: TokenEmbedding(3, 4)(torch.tensor([-1])), "between 0 and 2, got -1"),
    "ids that are no whole numbers": (lambda: TokenEmbedding(3, 4)(torch.tensor([1.0])), "torch.float32"),
    "ids that are a mask": (lambda: TokenEmbedding(3, 4)(torch.tensor([True])), "torch.bool"),
    "vectors of another width": (lambda: TokenEmbedding(3, 5).unembed(x), r"width 5, got 4 .*\(1, 4\)"),
    "ids as vectors": (lambda: TokenEmbedding(3, 1).unembed(tokens), "torch.int64"),
    "centres and neighbours that differ": (
        lambda: SkipGram(3, 4)(tokens, torch.tensor([0, 1]), torch.tensor([[0]])),
        r"\(1,\) and \(2,\)",
    ),
    "no pair": (lambda: SkipGram(3, 4)(tokens[:0], tokens[:0], torch.zeros(0, 2).long()), "N ≥ 1"),
    "negatives without K": (lambda: SkipGram(3, 4)(tokens, tokens, tokens), r"\(N, K\).*\(1,\)"),
    "a negative too large": (lambda: SkipGram(3, 4)(tokens, tokens, tokens[None] + 3), "negatives .*got 3"),
    "a window of nothing": (lambda: skip_gram_pairs([[1, 2]], 0), "window = 0"),
    "words in place of ids": (lambda: skip_gram_pairs([["a", "b"]], 1), "lists of ids"),
    "ids without sentences": (lambda: skip_gram_pairs([1, 2], 1), "lists of ids"),
    "one word alone": (lambda: NegativeSampler([0, 5, 0]), "at least two words"),
    "counts below zero": (lambda: NegativeSampler([1, -5]), "at least 0"),
    "counts of a table": (lambda: NegativeSampler(torch.ones(2, 2)), r"\(2, 2\)"),
    "no negatives": (lambda: NegativeSampler([1, 1]).draw(tokens, 0), "n_negatives = 0"),
    "a target too large": (lambda: NegativeSampler([1, 1]).draw(tokens + 2, 1), "targets .*got 2"),
    "rows of two widths": (lambda: cosine_similarity_table(x, torch.zeros(1, 5)), "width 4, got 5"),
    "a row in place of rows": (lambda: cosine_similarity_table(x[0]), r"\(M, D\).*\(4,\)"),
    "an unknown word": (lambda: nearest(TABLE, WORDS, "boy", 1), "no row for 'boy'"),
    "words that do not fit": (lambda: nearest(TABLE, WORDS[:3], "king", 1), "5 rows, but there are 3 words"),
    "no neighbours": (lambda: nearest(TABLE, WORDS, "king", 0), "nearest.*k = 0"),
    "a query of another width": (lambda: nearest(TABLE, WORDS, x[0], 1), "width 2, got 4"),
    "a size that is not whole": (lambda: TokenEmbedding(2.5, 4), "vocab_size = 2.5"),
    "no size": (lambda: SkipGram(3, None), "d_model = None"),
    "a list of ids": (lambda: TokenEmbedding(3, 4)([1, 2]), "tokens .*a list"),
    "nothing to unembed": (lambda: TokenEmbedding(3, 4).unembed(None), "unembed: x .*a NoneType"),
    "vectors of another dtype": (
        lambda: TokenEmbedding(3, 4).unembed(x.double()),
        "float32, got torch.float64",
    ),
    "no centres": (lambda: SkipGram(3, 4)(None, tokens, tokens[None]), "centres .*a NoneType"),
    "lists of pairs": (lambda: SkipGram(3, 4)(tokens, tokens, [[0]]), "negatives .*a list"),
    "a window that is not whole": (lambda: skip_gram_pairs([[1, 2]], 1.5), "window = 1.5"),
    "ids that would be cut": (lambda: skip_gram_pairs([[1.5, 2]], 1), "float32, the first 1.5"),
    "ids of truth": (lambda: skip_gram_pairs([[True, False]], 1), "torch.bool"),
    "an id below zero in a sentence": (lambda: skip_gram_pairs([[-1, 2]], 1), "the first -1"),
    "sentences of sentences": (lambda: skip_gram_pairs([[[1]]], 1), r"shape \(1, 1\)"),
    "sentences of None": (lambda: skip_gram_pairs(None, 1), "lists of ids"),
    "counts that are words": (lambda: NegativeSampler(["a", "b"]), r"numbers.*\['a', 'b'\]"),
    "counts of nothing": (lambda: NegativeSampler([]), "at least two words"),
    "counts that are none": (lambda: NegativeSampler([1, math.nan]), "got nan"),
    "a power that is none": (lambda: NegativeSampler([1, 2], None), "power .*got None"),
    "a power that is no number": (lambda: NegativeSampler([1, 2], math.nan), "power nan"),
    "a power beyond all numbers": (lambda: NegativeSampler([1, 2], 1e6), "power 1000000.0"),
    "a power that leaves one word": (lambda: NegativeSampler([1, 1e-200], 2), "power 2"),
    "half a negative": (lambda: NegativeSampler([1, 1]).draw(tokens, 1.5), "n_negatives = 1.5"),
    "targets in a list": (lambda: NegativeSampler([1, 1]).draw([0], 1), "targets .*a list"),
    "targets of a table": (lambda: NegativeSampler([1, 1]).draw(tokens[None], 1), r"\(N,\).*\(1, 1\)"),
    "no rows": (lambda: cosine_similarity_table(None), "rows .*a NoneType"),
    "rows of two dtypes": (lambda: cosine_similarity_table(x, x.double()), "float32, got torch.float64"),
    "a query of another dtype": (lambda: nearest(TABLE, WORDS, TABLE[0].double(), 1), "got torch.float64"),
    "a query that is none": (lambda: nearest(TABLE, WORDS, None, 1), "query .*a NoneType"),
    "no words": (lambda: nearest(TABLE, None, "king", 1), "5 rows, but there are None"),
    "half a neighbour": (lambda: nearest(TABLE, WORDS, "king", 1.5), "k = 1.5"),
    "an analogy of an unknown word": (lambda: analogy(TABLE, WORDS, "man", "boy", "woman", 1), "'boy'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_with_the_value_that_does_not(what):
    action, said = REFUSED[what]
    with pytest.raises(ValueError, match=said):
        action()
