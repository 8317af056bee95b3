"""Decoding, on a model that is a table (its step is exact) and on the course's own Transformer."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.decoding import (
    beam_search,
    filter_logits,
    greedy,
    sample,
    sequence_log_probability,
    top_k_filter,
    top_p_filter,
)
from course_lib.gpt import GPT, GPTConfig, pad_left
from course_lib.transformer import Transformer, TransformerConfig

EOS = 1
penalties = st.sampled_from([0.0, 0.6, 1.0, 2.0, -1.0])
seeds = st.integers(0, 10_000)


class History:
    """A cache that keeps the tokens themselves."""

    def __init__(self):
        self.tokens = None

    def reorder(self, rows):
        self.tokens = self.tokens[rows]


class TableModel:
    """Next-token scores from a random table; the row is chosen by all tokens so far, so no past may be mixed up."""

    def __init__(self, vocab_size, seed, *, tied=False, spread=2.0):
        draw = torch.Generator().manual_seed(seed)
        shape = (997, vocab_size)
        self.table = spread * torch.randn(shape, generator=draw, dtype=torch.float64)
        if tied:  # whole numbers: many tokens are equally likely
            self.table = torch.randint(0, 3, shape, generator=draw).double()
        self.calls = []  # the shape of the tokens of each call

    def logits(self, tokens):
        places = torch.arange(1, tokens.size(1) + 1)
        return self.table[((tokens + 1) * places**3).sum(1) % len(self.table)]

    def step(self, tokens, cache):
        self.calls.append(tuple(tokens.shape))
        cache.tokens = tokens if cache.tokens is None else torch.cat([cache.tokens, tokens], dim=1)
        return self.logits(cache.tokens), cache

    def log_p(self, tokens):
        return self.logits(torch.tensor([tokens])).log_softmax(-1)[0].tolist()


def prompts(vocab_size, n_sequences, seed, n_tokens=2):
    return torch.randint(
        0, vocab_size, (n_sequences, n_tokens), generator=torch.Generator().manual_seed(seed)
    )


def all_texts(model, prompt, max_len, eos_id, penalty):
    """Every text there is with its score, best first: the specification of a search that is wide enough."""
    found = []

    def go_on(tokens, log_p):
        n_written = len(tokens) - len(prompt)
        if n_written and (tokens[-1] == eos_id or len(tokens) == max_len):
            found.append((log_p / n_written**penalty, tokens))
            return
        for token, gain in enumerate(model.log_p(tokens)):
            go_on([*tokens, token], log_p + gain)

    go_on(prompt, 0.0)
    return sorted(found, key=lambda pair: -pair[0])


def plain_beam_search(model, prompt, max_len, eos_id, beams, penalty):
    """Beam search, one hypothesis at a time and never stopping early: every text that ended, best first."""
    running, finished = [(0.0, prompt)], []
    for length in range(len(prompt) + 1, max_len + 1):
        extended = [
            (log_p + gain, [*tokens, token])
            for log_p, tokens in running
            for token, gain in enumerate(model.log_p(tokens))
        ]
        extended.sort(key=lambda pair: -pair[0])  # stable: of equals the first stays first
        ending = [length == max_len or tokens[-1] == eos_id for _, tokens in extended]
        n_written = length - len(prompt)
        finished += [
            (log_p / n_written**penalty, tokens)
            for (log_p, tokens), ends in zip(extended[:beams], ending)
            if ends
        ]
        running = [pair for pair, ends in zip(extended, ending) if not ends][:beams]
    return sorted(finished, key=lambda pair: -pair[0])


def padded(texts, width, pad_id):
    return torch.tensor([tokens + [pad_id] * (width - len(tokens)) for _, tokens in texts])


# --- greedy -------------------------------------------------------------------------------------------------


@given(seed=seeds, vocab_size=st.integers(2, 6), n_sequences=st.integers(1, 5), ends=st.booleans())
def test_greedy_writes_the_likeliest_token_at_each_step_until_the_end(seed, vocab_size, n_sequences, ends):
    model, prompt = TableModel(vocab_size, seed), prompts(vocab_size, n_sequences, seed)
    eos_id = EOS if ends else None
    written = greedy(model.step, prompt, History(), max_len=8, eos_id=eos_id, pad_id=0)
    texts = []
    for tokens in prompt.tolist():
        while len(tokens) < 8 and (len(tokens) == 2 or tokens[-1] != eos_id):
            gains = model.log_p(tokens)
            tokens = [*tokens, gains.index(max(gains))]
        texts.append((0.0, tokens))
    longest = max(len(tokens) for _, tokens in texts)
    assert torch.equal(written, padded(texts, longest, 0))


def test_what_has_ended_is_padded_and_leaves_the_batch():
    model, prompt = TableModel(3, seed=5), prompts(3, 6, seed=5)
    written = greedy(model.step, prompt, History(), max_len=12, eos_id=EOS, pad_id=2)
    ended = (written[:, 2:] == EOS).long().cumsum(1)  # how many ends stand up to here
    assert ended.max() == 1 and ended[:, 0].sum() not in (0, 6)  # not one row writes on, and they differ
    assert (written[:, 2:][(ended == 1) & (written[:, 2:] != EOS)] == 2).all()
    running = [6, *(int((ended[:, t] == 0).sum()) for t in range(ended.size(1) - 1))]
    assert [n_rows for n_rows, _ in model.calls] == running


def test_padding_is_the_end_itself_where_none_is_named():
    model, prompt = TableModel(3, seed=5), prompts(3, 6, seed=5)
    padded_with_eos = greedy(model.step, prompt, History(), max_len=12, eos_id=EOS)
    padded_with_2 = greedy(model.step, prompt, History(), max_len=12, eos_id=EOS, pad_id=2)
    differs = padded_with_eos != padded_with_2
    assert differs.any() and (padded_with_eos[differs] == EOS).all()


def test_the_prompt_is_read_once_and_then_one_column_at_a_time():
    model, prompt = TableModel(5, seed=0), prompts(5, 3, seed=0, n_tokens=4)
    greedy(model.step, prompt, History(), max_len=9)
    assert model.calls == [(3, 4), (3, 1), (3, 1), (3, 1), (3, 1)]


def test_an_end_in_the_prompt_ends_nothing():
    model = TableModel(4, seed=2)
    prompt = torch.tensor([[EOS, EOS], [2, EOS]])
    for written in (
        greedy(model.step, prompt, History(), max_len=5, eos_id=EOS),
        beam_search(model.step, prompt, History(), max_len=5, beams=2, eos_id=EOS)[0][:, 0],
    ):
        assert torch.equal(written[:, :2], prompt)
        assert written.size(1) > 2


# --- sampling -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filters", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.8}, {"temperature": 2, "top_p": 0.9}]
)
def test_tokens_are_drawn_with_the_filtered_probabilities(filters):
    """Chi-square: a sound sampler fails with probability 1e-6 for each filter, if the seed is changed."""
    n_draws, logits = 20_000, torch.tensor([1.0, 0.2, -0.5, 2.0, 0.7, -2.0])

    def step(tokens, cache):
        return logits.expand(len(tokens), -1), cache

    drawn = sample(
        step,
        torch.zeros(n_draws, 1, dtype=torch.long),
        History(),
        max_len=2,
        generator=torch.Generator().manual_seed(0),
        **filters,
    )[:, 1]
    expected = n_draws * filter_logits(logits, **filters).softmax(-1)
    counts = drawn.bincount(minlength=6)
    possible = expected > 0
    assert (counts[~possible] == 0).all()
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    freedom = possible.sum() - 1
    assert torch.special.gammaincc(freedom / 2, statistic / 2) > 1e-6


def test_the_generator_alone_decides_what_is_drawn():
    model, prompt = TableModel(9, seed=0), prompts(9, 4, seed=0)

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return sample(model.step, prompt, History(), max_len=20, eos_id=EOS, generator=generator)

    first = draw(7)
    torch.rand(3)  # the global source plays no part
    assert torch.equal(draw(7), first)
    others = [draw(seed) for seed in (8, 9)]
    assert not any(other.shape == first.shape and torch.equal(other, first) for other in others)


def test_without_a_generator_the_global_source_decides():
    model, prompt, drawn = TableModel(9, seed=0), prompts(9, 4, seed=0), []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(sample(model.step, prompt, History(), max_len=20))
    assert torch.equal(*drawn)


@given(seed=seeds, filters=st.sampled_from([{"temperature": 0}, {"temperature": 1e-30}, {"top_k": 1}]))
def test_temperature_0_and_a_single_choice_are_greedy(seed, filters):
    model, prompt = TableModel(5, seed), prompts(5, 3, seed)
    expected = greedy(model.step, prompt, History(), max_len=9, eos_id=EOS)
    assert torch.equal(sample(model.step, prompt, History(), max_len=9, eos_id=EOS, **filters), expected)


# --- filters ------------------------------------------------------------------------------------------------


def kept(logits):
    return logits.isfinite().nonzero().squeeze(-1).tolist()


def test_top_k_keeps_the_k_likeliest_and_whatever_ties_with_the_last():
    logits = torch.tensor([0.1, 3.0, 2.0, 2.0, 1.0])
    assert kept(top_k_filter(logits, 1)) == [1]
    assert kept(top_k_filter(logits, 2)) == [1, 2, 3]
    assert kept(top_k_filter(logits, 4)) == [1, 2, 3, 4]
    for k in (5, 6, 1000):
        assert torch.equal(top_k_filter(logits, k), logits)


def test_top_p_keeps_the_fewest_tokens_that_reach_p():
    logits = torch.tensor([0.125, 0.5, 0.25, 0.125]).log()
    assert kept(top_p_filter(logits, 0.1)) == [1]  # one token always stays
    assert kept(top_p_filter(logits, 0.5)) == [1]  # reached exactly
    assert kept(top_p_filter(logits, 0.51)) == [1, 2]  # the token that takes the sum over p is in
    assert kept(top_p_filter(logits, 0.76)) == [0, 1, 2]  # of two equals the first
    assert kept(top_p_filter(logits, 0.9)) == [0, 1, 2, 3]
    assert kept(top_p_filter(torch.zeros(8), 0.5)) == [0, 1, 2, 3]


def test_p_of_1_forbids_nothing_however_unlikely():
    logits = torch.cat([torch.tensor([80.0]), torch.zeros(1000)])
    assert torch.equal(top_p_filter(logits, 1.0), logits)
    assert kept(top_p_filter(logits, 0.999)) == [0]


@given(
    logits=st.lists(st.floats(-30, 30), min_size=1, max_size=12, unique=True),
    p=st.floats(0.01, 0.99),
    temperature=st.floats(0.1, 10),
    k=st.integers(1, 14),
)
def test_what_the_filters_keep_are_the_likeliest_tokens_unchanged(logits, p, temperature, k):
    logits = torch.tensor(logits, dtype=torch.float64)
    filtered = filter_logits(logits, temperature=temperature, top_k=k, top_p=p)
    assert torch.equal(filtered, top_p_filter(top_k_filter(logits / temperature, k), p))  # in this order
    stay = filtered.isfinite()
    assert 1 <= stay.sum() <= k
    assert torch.equal(filtered[stay], (logits / temperature)[stay])
    assert (logits[stay].min() > logits[~stay]).all()
    # The nucleus: with its unlikeliest member it reaches p, without it does not.
    nucleus = top_p_filter(logits, p).isfinite()
    weights = logits.softmax(-1)
    assert weights[nucleus].sum() >= p - 1e-12
    assert weights[nucleus].sum() - weights[nucleus].min() < p + 1e-12


def test_temperature_0_keeps_the_first_of_the_likeliest():
    logits = torch.tensor([[1.0, 4.0, 4.0], [2.0, 0.0, 1.0]])
    expected = torch.tensor([[-math.inf, 4.0, -math.inf], [2.0, -math.inf, -math.inf]])
    assert torch.equal(filter_logits(logits, temperature=0), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_no_temperature_makes_the_probabilities_overflow(dtype):
    logits = torch.tensor([[1000.0, 999.0, -1000.0]]).to(dtype)
    for temperature in (1e-45, 1e-30, 1e-20, 1e-3, 1.0, 1e30):
        weights = filter_logits(logits, temperature=temperature, top_p=0.9).softmax(-1)
        assert weights.isfinite().all()
        assert weights.argmax() == 0


def test_filters_act_on_each_row_by_itself_and_leave_their_input_alone():
    logits = torch.randn(3, 4, 7)
    before = logits.clone()
    for call in (
        lambda x: top_k_filter(x, 3),
        lambda x: top_p_filter(x, 0.7),
        lambda x: filter_logits(x, temperature=0),
    ):
        together = call(logits)
        assert torch.equal(logits, before)
        for row in itertools.product(range(3), range(4)):
            assert torch.equal(together[row], call(logits[row]))


# --- beam search --------------------------------------------------------------------------------------------


@given(
    seed=seeds,
    vocab_size=st.integers(2, 4),
    n_new=st.integers(1, 4),
    n_best=st.integers(1, 5),
    penalty=penalties,
    ends=st.booleans(),
)
def test_a_beam_as_wide_as_the_space_finds_the_best_of_all_texts(
    seed, vocab_size, n_new, n_best, penalty, ends
):
    model, prompt, eos_id = TableModel(vocab_size, seed), prompts(vocab_size, 2, seed), EOS if ends else None
    tokens, scores = beam_search(
        model.step,
        prompt,
        History(),
        max_len=2 + n_new,
        beams=vocab_size**n_new + n_best,
        n_best=n_best,
        length_penalty=penalty,
        eos_id=eos_id,
        pad_id=0,
    )
    best = [all_texts(model, row, 2 + n_new, eos_id, penalty)[:n_best] for row in prompt.tolist()]
    for row, texts in enumerate(best):
        assert scores[row].isfinite().sum() == len(texts)
        torch.testing.assert_close(
            scores[row, : len(texts)], torch.tensor([score for score, _ in texts], dtype=torch.float64)
        )
        assert torch.equal(tokens[row, : len(texts)], padded(texts, tokens.size(2), 0))
    assert tokens.size(2) == max(len(text) for texts in best for _, text in texts)


@given(
    seed=seeds,
    vocab_size=st.integers(2, 7),
    n_new=st.integers(1, 7),
    beams=st.integers(2, 5),
    n_best=st.integers(1, 5),
    penalty=penalties,
    ends=st.booleans(),
    tied=st.booleans(),
    spread=st.sampled_from([0.3, 2.0, 5.0]),
)
def test_stopping_early_in_a_batch_finds_what_a_plain_loop_to_the_end_finds(
    seed, vocab_size, n_new, beams, n_best, penalty, ends, tied, spread
):
    model, prompt = TableModel(vocab_size, seed, tied=tied, spread=spread), prompts(vocab_size, 3, seed)
    eos_id, n_best = EOS if ends else None, min(n_best, beams)
    tokens, scores = beam_search(
        model.step,
        prompt,
        History(),
        max_len=2 + n_new,
        beams=beams,
        n_best=n_best,
        length_penalty=penalty,
        eos_id=eos_id,
        pad_id=0,
    )
    for row, text in enumerate(prompt.tolist()):
        found = plain_beam_search(model, text, 2 + n_new, eos_id, beams, penalty)[:n_best]
        expected = torch.tensor([score for score, _ in found], dtype=torch.float64)
        torch.testing.assert_close(scores[row, : len(found)], expected)
        assert (scores[row, len(found) :] == -math.inf).all()
        assert (tokens[row, len(found) :] == 0).all()
        if not tied:  # of equal scores either text may come first
            assert torch.equal(tokens[row, : len(found)], padded(found, tokens.size(2), 0))


@given(
    seed=seeds,
    vocab_size=st.integers(2, 7),
    max_len=st.integers(3, 9),
    penalty=penalties,
    ends=st.booleans(),
    tied=st.booleans(),
)
def test_one_beam_is_greedy(seed, vocab_size, max_len, penalty, ends, tied):
    model, prompt = TableModel(vocab_size, seed, tied=tied), prompts(vocab_size, 4, seed)
    told = {"max_len": max_len, "eos_id": EOS if ends else None, "pad_id": 0}
    tokens, scores = beam_search(model.step, prompt, History(), beams=1, length_penalty=penalty, **told)
    written = greedy(model.step, prompt, History(), **told)
    assert torch.equal(tokens[:, 0], written)
    assert scores.isfinite().all()


@given(seed=seeds, vocab_size=st.integers(2, 6), beams=st.integers(1, 4), penalty=penalties)
def test_a_batch_is_decoded_as_its_rows_are_one_by_one(seed, vocab_size, beams, penalty):
    model, prompt = TableModel(vocab_size, seed), prompts(vocab_size, 5, seed)

    def search(rows):
        return beam_search(
            model.step,
            rows,
            History(),
            max_len=8,
            beams=beams,
            n_best=beams,
            length_penalty=penalty,
            eos_id=EOS,
        )

    tokens, scores = search(prompt)
    together = greedy(model.step, prompt, History(), max_len=8, eos_id=EOS)
    for row in range(5):
        own_tokens, own_scores = search(prompt[row : row + 1])
        assert torch.equal(scores[row], own_scores[0])
        width = own_tokens.size(2)
        possible = scores[row].isfinite()
        assert torch.equal(tokens[row, possible, :width], own_tokens[0, possible])
        assert (tokens[row, :, width:] == EOS).all()
        own = greedy(model.step, prompt[row : row + 1], History(), max_len=8, eos_id=EOS)[0]
        assert torch.equal(together[row, : len(own)], own)
        assert (together[row, len(own) :] == EOS).all()


def test_a_wider_beam_finds_a_text_that_greedy_cannot():
    """Two steps: the likelier first token (0.6) leads to two halves, the other (0.4) to a certain end."""
    table = {(): [0.6, 0.4, 0.0], (0,): [0.5, 0.5, 0.0], (1,): [0.0, 0.0, 1.0]}

    def step(tokens, cache):
        cache.tokens = tokens if cache.tokens is None else torch.cat([cache.tokens, tokens], dim=1)
        return torch.tensor([table[tuple(row[1:])] for row in cache.tokens.tolist()]).log(), cache

    start = torch.tensor([[2]])
    assert greedy(step, start, History(), max_len=3).tolist() == [[2, 0, 0]]
    tokens, scores = beam_search(step, start, History(), max_len=3, beams=2, n_best=2)
    assert tokens[0].tolist() == [[2, 1, 2], [2, 0, 0]]
    torch.testing.assert_close(scores.exp(), torch.tensor([[0.4, 0.3]], dtype=torch.float64))


@pytest.mark.parametrize("penalty", [0.0, 1.0, -0.5])
def test_a_score_is_the_texts_log_probability_over_its_length_to_the_penalty(penalty):
    model, prompt = TableModel(5, seed=1), prompts(5, 3, seed=1)
    tokens, scores = beam_search(
        model.step, prompt, History(), max_len=9, beams=4, n_best=3, length_penalty=penalty, eos_id=EOS
    )
    lengths = set()
    for row, best in itertools.product(range(3), range(3)):
        text = tokens[row, best].tolist()
        n_written = next((n + 1 for n, token in enumerate(text[2:]) if token == EOS), 7)
        labels = torch.tensor([text[1 : 2 + n_written]])
        labels[:, 0] = -100  # the prompt's
        logits = torch.cat([model.logits(torch.tensor([text[: t + 1]])) for t in range(1 + n_written)])
        log_p = sequence_log_probability(logits[None], labels)
        torch.testing.assert_close(scores[row, best], log_p[0] / n_written**penalty)
        lengths.add(n_written)
    assert len(lengths) > 1
    assert (scores.diff(dim=1) <= 0).all()


def table_of(first, then):
    """A step whose first logits are log `first` and all others log `then`, whatever was read."""

    def step(tokens, cache):
        row = first if cache.tokens is None else then
        cache.tokens = tokens if cache.tokens is None else torch.cat([cache.tokens, tokens], dim=1)
        return torch.tensor([row]).log().expand(len(tokens), -1), cache

    return step


def test_the_search_goes_on_past_an_end_while_a_longer_text_may_still_score_better():
    """The end has 0.5 at once; the text that goes on loses 0.6 once and then nothing: its mean wins later on."""
    step = table_of([0.4, 0.5, 0.1], [0.98, 0.01, 0.01])
    start = torch.tensor([[2]])
    short, _ = beam_search(step, start, History(), max_len=12, beams=2, eos_id=EOS)
    long, _ = beam_search(step, start, History(), max_len=12, beams=2, eos_id=EOS, length_penalty=1)
    assert short.tolist() == [[[2, 1]]]
    assert long.tolist() == [[[2] + [0] * 11]]


def test_the_search_stops_as_soon_as_nothing_better_can_come():
    calls = []

    def counted(tokens, cache):
        calls.append(len(tokens))
        return table_of([0.05, 0.9, 0.05], [0.2, 0.5, 0.3])(tokens, cache)

    beam_search(counted, torch.tensor([[2]]), History(), max_len=50, beams=2, eos_id=EOS)
    assert calls == [1]  # the end has 0.9, all others together less
    calls.clear()
    beam_search(counted, torch.tensor([[2]]), History(), max_len=50, beams=2, n_best=2, eos_id=EOS)
    assert calls == [1, 2]  # the second best ends with 0.05 · 0.5, what goes on has 0.05 · 0.3


def test_sentences_that_are_done_leave_the_batch():
    model, prompt = TableModel(4, seed=5), prompts(4, 6, seed=5)
    beam_search(model.step, prompt, History(), max_len=12, beams=2, n_best=2, eos_id=EOS)
    rows = [n_rows for n_rows, _ in model.calls]
    assert rows[:2] == [6, 12]  # the prompt is read once for a sentence, not once for a beam
    assert rows[1:] == sorted(rows[1:], reverse=True) and rows[-1] < 12


def test_texts_that_do_not_exist_are_padding_with_score_minus_infinity():
    model = TableModel(2, seed=0)
    tokens, scores = beam_search(
        model.step, torch.tensor([[0]]), History(), max_len=3, beams=5, n_best=5, eos_id=EOS, pad_id=0
    )
    assert sorted(tokens[0, :3].tolist()) == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert scores[0].isfinite().tolist() == [True, True, True, False, False]
    assert tokens[0, 3:].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_vocabulary_of_one_token_has_one_text():
    model, prompt = TableModel(1, seed=0), torch.zeros(2, 1, dtype=torch.long)
    for eos_id, width in ((0, 2), (None, 4)):
        tokens, scores = beam_search(model.step, prompt, History(), max_len=4, beams=3, eos_id=eos_id)
        assert torch.equal(tokens, torch.zeros(2, 1, width, dtype=torch.long))
        assert (scores == 0).all()


def test_a_forbidden_token_is_never_written():
    def step(tokens, cache):
        logits = torch.tensor([[0.0, -math.inf, 1.0, -math.inf]])
        return logits.expand(len(tokens), -1), cache

    start = torch.tensor([[0]])
    history = History()
    history.tokens = start
    generator = torch.Generator().manual_seed(0)
    tokens, scores = beam_search(step, start, history, max_len=4, beams=20, n_best=20, eos_id=EOS)
    assert scores.isfinite().sum() == 2**3
    assert not torch.isin(tokens[0, :8], torch.tensor([1, 3])).any()
    for seed in range(20):
        drawn = sample(step, start, history, max_len=30, generator=generator.manual_seed(seed), top_k=3)
        assert not torch.isin(drawn, torch.tensor([1, 3])).any()


def test_long_texts_are_compared_in_double_precision():
    """After 400 tokens the sum is near −2,760: float32 cannot tell a difference of 1e-4 there, the search can."""
    logits = torch.zeros(1, 1000)
    logits[0, 7] = 1e-4

    def step(tokens, cache):
        return logits.expand(len(tokens), -1), cache

    history = History()
    history.tokens = torch.zeros(1, 1)
    tokens, scores = beam_search(step, torch.tensor([[0]]), history, max_len=400, beams=1)
    assert (tokens[0, 0, 1:] == 7).all()
    assert scores.dtype == torch.float64


def test_what_is_returned_may_be_trained_on():
    model, embedding = TableModel(5, seed=0), torch.nn.Embedding(5, 3)
    prompt = torch.tensor([[0, 1]])
    written = greedy(model.step, prompt, History(), max_len=5)
    tokens, scores = beam_search(model.step, prompt, History(), max_len=5, beams=2)
    (embedding(written).sum() + (embedding(tokens[:, 0]).sum(-1) * scores[:, :1]).sum()).backward()
    assert embedding.weight.grad is not None


# --- with a real model: cached = uncached -------------------------------------------------------------------


def with_large_weights(model):
    """Draw every weight anew, widely: whatever is mixed up then shows, however the model begins its training."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=draw))
    return model


def translator(dtype=torch.float64, **changes):
    sizes = {"d_model": 16, "n_heads": 2, "d_ff": 24, "n_encoder_layers": 2, "n_decoder_layers": 2}
    config = TransformerConfig(
        src_vocab_size=11, tgt_vocab_size=13, max_len=24, dropout=0.0, **sizes, **changes
    )
    model = Transformer(config).to(dtype).eval()
    return with_large_weights(model)


SOURCE = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 3, 0, 0], [10, 2, 0, 0, 0]])
START = torch.full((3, 1), 2)


class Followed:
    """The model's cache, and beside it what each row has read: the two must move together."""

    def __init__(self, cache, src):
        self.cache, self.src, self.tokens = cache, src, None

    def reorder(self, rows):
        self.cache.reorder(rows)
        self.src, self.tokens = self.src[rows], self.tokens[rows]


def compared(model, differences):
    """A step that also computes everything anew, and notes how far the logits are apart."""

    def step(tokens, followed):
        logits, followed.cache = model.step(tokens, followed.cache)
        followed.tokens = tokens if followed.tokens is None else torch.cat([followed.tokens, tokens], dim=1)
        anew = model(followed.src, followed.tokens)[:, -1]
        differences.append((logits - anew).abs().max().item() / max(1.0, anew.abs().max().item()))
        # The model reads every written token as a real one, the pass over the whole text hides `pad_id`.
        return logits.index_fill(1, torch.tensor(model.config.pad_id), -math.inf), followed

    return step


def decode_every_way(step, start):
    yield greedy(step, START, start(), max_len=20, eos_id=EOS)
    yield sample(step, START, start(), max_len=20, eos_id=EOS, generator=torch.Generator().manual_seed(0))
    yield from beam_search(step, START, start(), max_len=20, beams=4, n_best=4, eos_id=EOS)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("norm_first", [False, True])
def test_every_step_with_the_cache_gives_the_logits_computed_anew(dtype, limit, norm_first):
    model, differences = translator(dtype, norm_first=norm_first), []
    outcomes = list(
        decode_every_way(compared(model, differences), lambda: Followed(model.start(SOURCE), SOURCE))
    )
    assert len(outcomes) == 4 and len(differences) > 10
    assert max(differences) <= limit


@pytest.mark.parametrize("broken", ["stays", "mixed up", "one layer stays"])
def test_a_cache_that_does_not_follow_its_parent_beam_is_noticed(broken):
    model, differences = translator(), []

    class Broken(Followed):
        def reorder(self, rows):
            n_rows = len(self.tokens)
            wrong = rows
            if len(rows) == n_rows and broken == "stays":
                wrong = torch.arange(n_rows)
            elif broken == "mixed up":
                wrong = rows.flip(0)
            untouched = self.cache.layers[0][0]
            stays = broken == "one layer stays" and len(rows) == n_rows
            before = [kept.clone() for kept in untouched.all()] if stays else None
            self.cache.reorder(wrong)
            if before is not None:
                untouched._k[:, :, : untouched.length], untouched._v[:, :, : untouched.length] = before
            self.src, self.tokens = self.src[rows], self.tokens[rows]

    beam_search(compared(model, differences), START, Broken(model.start(SOURCE), SOURCE), max_len=20, beams=4)
    assert differences[0] < 1e-12
    assert max(differences) > 1e-3


def writer(dtype):
    config = GPTConfig(vocab_size=13, max_len=24, d_model=16, n_heads=2, n_layers=2, dropout=0.0)
    model = GPT(config).to(dtype).eval()
    return with_large_weights(model)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("beams", [0, 4])
def test_prompts_of_unequal_lengths_go_on_as_if_each_were_alone_and_computed_anew(dtype, limit, beams):
    model, differences = writer(dtype), []
    texts = [[2, 3, 4, 5], [6], [7, 8, 9]]
    prompt, padding = pad_left(texts)

    def step(tokens, followed):  # `src` holds how many places each row has at its left that are padding
        logits, followed.cache = model.step(tokens, followed.cache)
        followed.tokens = tokens if followed.tokens is None else torch.cat([followed.tokens, tokens], dim=1)
        for row, n_padding in enumerate(followed.src.tolist()):
            anew = model(followed.tokens[row : row + 1, n_padding:])[0, -1]
            differences.append((logits[row] - anew).abs().max().item() / max(1.0, anew.abs().max().item()))
        return logits, followed

    def decode(step, prompt, cache, max_len):
        if beams:
            return beam_search(step, prompt, cache, max_len=max_len, beams=beams, eos_id=EOS)[0][:, 0]
        return greedy(step, prompt, cache, max_len=max_len, eos_id=EOS)

    written = decode(step, prompt, Followed(model.start(padding), padding), 20)
    assert len(differences) > 10 and max(differences) <= limit
    for row, text in enumerate(texts):
        n_padding = int(padding[row])
        own = decode(model.step, torch.tensor([text]), model.start(), 20 - n_padding)[0]
        assert torch.equal(written[row, n_padding : n_padding + len(own)], own)


def test_the_encoder_runs_exactly_once():
    model, calls = translator(), []
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    for decode in (
        lambda cache: greedy(model.step, START, cache, max_len=20, eos_id=EOS),
        lambda cache: sample(model.step, START, cache, max_len=20, eos_id=EOS),
        lambda cache: beam_search(model.step, START, cache, max_len=20, beams=4, eos_id=EOS),
    ):
        calls.clear()
        decode(model.start(SOURCE))
        assert len(calls) == 1


def test_a_batch_of_sources_is_translated_as_they_are_one_by_one():
    model = translator()
    written = greedy(model.step, START, model.start(SOURCE), max_len=20, eos_id=EOS)
    tokens, scores = beam_search(model.step, START, model.start(SOURCE), max_len=20, beams=3, eos_id=EOS)
    for row, n_real in enumerate((5, 3, 2)):
        src = SOURCE[row : row + 1, :n_real]  # and without its padding
        own = greedy(model.step, START[:1], model.start(src), max_len=20, eos_id=EOS)[0]
        assert torch.equal(written[row, : len(own)], own)
        own_tokens, own_scores = beam_search(
            model.step, START[:1], model.start(src), max_len=20, beams=3, eos_id=EOS
        )
        assert torch.equal(tokens[row, 0, : own_tokens.size(2)], own_tokens[0, 0])
        torch.testing.assert_close(scores[row], own_scores[0])


# --- log-probabilities --------------------------------------------------------------------------------------


def test_the_log_probability_of_a_text_is_the_sum_over_its_counted_tokens():
    logits, labels = torch.randn(2, 3, 5), torch.tensor([[1, 4, 0], [2, -100, -100]])
    log_p = logits.log_softmax(-1)
    expected = torch.stack([log_p[0, 0, 1] + log_p[0, 1, 4] + log_p[0, 2, 0], log_p[1, 0, 2]])
    torch.testing.assert_close(sequence_log_probability(logits, labels), expected)
    assert sequence_log_probability(logits, torch.full((2, 3), -100)).tolist() == [0, 0]


@given(seed=seeds, vocab_size=st.integers(1, 4), n_tokens=st.integers(1, 3))
def test_the_probabilities_of_all_texts_of_one_length_add_up_to_1(seed, vocab_size, n_tokens):
    model = TableModel(vocab_size, seed)
    texts = torch.tensor(list(itertools.product(range(vocab_size), repeat=n_tokens)))
    inputs = torch.cat([torch.zeros(len(texts), 1, dtype=torch.long), texts[:, :-1]], dim=1)
    logits = torch.stack([model.logits(inputs[:, : t + 1]) for t in range(n_tokens)], dim=1)
    torch.testing.assert_close(
        sequence_log_probability(logits, texts).exp().sum(), torch.tensor(1.0, dtype=torch.float64)
    )


def test_the_log_probability_has_gradients():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    sequence_log_probability(logits, torch.tensor([[1, 4, 0], [2, -100, -100]])).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[1, 1:] == 0).all() and (logits.grad[0] != 0).all()


# --- what is refused ----------------------------------------------------------------------------------------

PROMPT = torch.tensor([[0, 2], [1, 3]])
DECODERS = {
    "greedy": greedy,
    "sample": sample,
    "beam_search": lambda *given, **named: beam_search(*given, **({"beams": 2} | named)),
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"prompt": torch.zeros(2, 0, dtype=torch.long)}, r"\(2, 0\)"),
        ({"prompt": torch.zeros(0, 2, dtype=torch.long)}, r"\(0, 2\)"),
        ({"prompt": torch.tensor([1, 2])}, r"\(2,\)"),
        ({"prompt": torch.tensor([[0.0, 1.0]])}, "float32"),
        ({"prompt": torch.tensor([[True, False]])}, "bool"),
        ({"prompt": [[1, 2]]}, "a list"),
        ({"prompt": torch.tensor([[0, -3]])}, "-3"),
        ({"max_len": 1}, "prompt's length 2, got 1"),
        ({"max_len": 2}, "prompt's length 2, got 2"),
        ({"max_len": 2.5}, "2.5"),
        ({"max_len": None}, "None"),
        ({"eos_id": -1}, "eos_id .* got -1"),
        ({"eos_id": 4}, "eos_id must be an id from 0 to 3, .* got 4"),
        ({"eos_id": 1.0}, "eos_id .* got 1.0"),
        ({"pad_id": -1}, "pad_id .* got -1"),
        ({"pad_id": 4}, "pad_id .* got 4"),
        ({"cache": None}, "NoneType"),
        ({"cache": {}}, "a dict"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_by_name(name, changes, named):
    arguments = {"prompt": PROMPT, "cache": History(), "max_len": 5} | changes
    prompt, cache = arguments.pop("prompt"), arguments.pop("cache")
    with pytest.raises(ValueError, match=f"{name}.*{named}"):
        DECODERS[name](TableModel(4, seed=0).step, prompt, cache, **arguments)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(
    ("logits", "named"),
    [
        (torch.full((2, 4), -math.inf), "largest is -inf"),
        (torch.tensor([[0.0, 1.0], [-math.inf, -math.inf]]), "largest is -inf"),
        (torch.tensor([[0.0, math.nan], [0.0, 0.0]]), "largest is nan"),
        (torch.tensor([[0.0, 1.0], [0.0, math.inf]]), "largest is inf"),
        (torch.zeros(2, 3, 4), r"\(2, 3, 4\)"),
        (torch.zeros(3, 4), r"2 rows .* \(3, 4\)"),
        (torch.zeros(1, 4), r"2 rows .* \(1, 4\)"),
        (torch.zeros(2, 0), r"\(2, 0\)"),
        (torch.zeros(2, 4, dtype=torch.long), "int64"),
        ("logits", "a str"),
    ],
)
def test_a_step_that_gives_no_usable_logits_is_refused(name, logits, named):
    with pytest.raises(ValueError, match=f"{name}.*{named}"):
        DECODERS[name](lambda tokens, cache: (logits, cache), PROMPT, History(), max_len=5)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"beams": 0}, "beams .* got 0"),
        ({"beams": 1.5}, "beams .* got 1.5"),
        ({"n_best": 0}, "n_best .* got 0"),
        ({"n_best": 3}, "beams = 2, got 3"),
        ({"length_penalty": math.nan}, "nan"),
        ({"length_penalty": math.inf}, "inf"),
        ({"length_penalty": 11}, "11"),
        ({"length_penalty": "1"}, "'1'"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(changes, named):
    with pytest.raises(ValueError, match=f"beam_search.*{named}"):
        beam_search(TableModel(4, seed=0).step, PROMPT, History(), **({"max_len": 5, "beams": 2} | changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"temperature": -0.1}, "temperature .* got -0.1"),
        ({"temperature": math.nan}, "nan"),
        ({"temperature": math.inf}, "inf"),
        ({"temperature": None}, "None"),
        ({"top_k": 0}, "top_k .* got 0"),
        ({"top_k": 2.0}, "top_k .* got 2.0"),
        ({"top_p": 0.0}, "top_p .* got 0.0"),
        ({"top_p": 1.01}, "top_p .* got 1.01"),
        ({"top_p": math.nan}, "nan"),
    ],
)
def test_a_filter_out_of_range_is_refused(changes, named):
    with pytest.raises(ValueError, match=f"filter_logits.*{named}"):
        filter_logits(torch.zeros(2, 3), **changes)
    model = TableModel(4, seed=0)
    with pytest.raises(ValueError, match=f"sample.*{named}"):
        sample(model.step, PROMPT, History(), max_len=5, **changes)
    assert not model.calls  # before anything was computed


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: top_k_filter(torch.zeros(3), 0), "top_k_filter.*got 0"),
        (lambda: top_p_filter(torch.zeros(3), 1.5), "top_p_filter.*got 1.5"),
        (lambda: top_k_filter(torch.zeros(3, dtype=torch.long), 1), "int64"),
        (lambda: top_k_filter(torch.tensor(1.0), 1), r"\(\)"),
        (lambda: top_p_filter(torch.zeros(2, 0), 0.5), r"\(2, 0\)"),
        (lambda: top_p_filter(torch.tensor([0.0, math.nan]), 0.5), "nan"),
        (lambda: filter_logits([0.0, 1.0]), "a list"),
        (lambda: filter_logits(torch.full((2, 2), -math.inf)), "-inf"),
        (lambda: sequence_log_probability(torch.zeros(2, 4), torch.zeros(2).long()), r"\(2, 4\)"),
        (lambda: sequence_log_probability(torch.zeros(2, 3, 4), torch.zeros(2, 4).long()), r"\(2, 4\)"),
        (lambda: sequence_log_probability(torch.zeros(2, 3, 4), torch.zeros(2, 3)), "float32"),
        (lambda: sequence_log_probability(torch.zeros(1, 1, 4), torch.tensor([[4]])), "0 to 3.*got 4"),
        (lambda: sequence_log_probability(torch.zeros(1, 1, 4), torch.tensor([[-1]])), "got -1"),
        (lambda: sequence_log_probability(torch.zeros(0, 3, 4), torch.zeros(0, 3).long()), r"\(0, 3, 4\)"),
    ],
)
def test_every_other_bad_argument_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
