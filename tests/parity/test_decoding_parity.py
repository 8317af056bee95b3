"""Our decoding against Hugging Face's `generate`, with the same weights: token for token, and the scores.

Three ways: our search over our model, our search over their model with their cache (it knows no model), and the
filters by themselves. `generate` stops by a rule of thumb unless told early_stopping="never"; it keeps scores in
fp32, also for a model in fp64, and adds them up: over 20 tokens to about 1e-5.
"""

import itertools

import pytest
import torch
from torch import Tensor

from course_lib.decoding import beam_search, filter_logits, greedy, sample, top_k_filter, top_p_filter
from course_lib.gpt import pad_left
from course_lib.hugging_face import from_hugging_face
from course_lib.torchvision_ops import define_missing_torchvision_ops
from tests.parity.comparison import dtypes, padded, randomised

define_missing_torchvision_ops()
from transformers import (  # noqa: E402
    DynamicCache,
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
)
from transformers.generation.logits_process import (  # noqa: E402
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

EOS, PAD, MAX_LEN = 3, 22, 24
PROMPTS = [[5, 6, 7, 8], [9], [10, 11]]
searches = pytest.mark.parametrize(
    ("beams", "penalty"), [(2, 0.0), (3, 1.0), (4, 0.6), (7, 2.0), (4, -1.0)], ids=str
)


def gpt2(dtype: torch.dtype = torch.float64) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=23,
        n_positions=40,
        n_embd=24,
        n_layer=2,
        n_head=3,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=PAD,
        attn_implementation="eager",
    )
    return randomised(GPT2LMHeadModel(config), dtype)


def marian(dtype: torch.dtype = torch.float64) -> MarianMTModel:
    torch.manual_seed(1)
    config = MarianConfig(
        vocab_size=23,
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=19,
        decoder_ffn_dim=19,
        max_position_embeddings=40,
        scale_embedding=True,
        pad_token_id=PAD,
        decoder_start_token_id=PAD,
        eos_token_id=EOS,
        forced_eos_token_id=None,
        attn_implementation="eager",
    )
    return randomised(MarianMTModel(config), dtype)


def their_search(model, beams: int, penalty: float, n_best: int, **inputs: Tensor) -> tuple[Tensor, Tensor]:
    found = model.generate(
        **inputs,
        max_length=MAX_LEN,
        do_sample=False,
        num_beams=beams,
        num_return_sequences=n_best,
        length_penalty=penalty,
        early_stopping="never",
        eos_token_id=EOS,
        pad_token_id=PAD,
        return_dict_in_generate=True,
        output_scores=True,
    )
    return found.sequences.unflatten(0, (-1, n_best)), found.sequences_scores.unflatten(0, (-1, n_best))


def assert_same_search(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> None:
    assert torch.equal(ours[0], theirs[0])
    assert (ours[1] - theirs[1]).abs().max() <= 1e-5 * theirs[1].abs().max()


def some_texts_end_early(tokens: Tensor, n_prompt: int) -> bool:
    ended = (tokens[..., n_prompt:-1] == EOS).any(-1)
    return bool(ended.any())


@dtypes
def test_greedy_continues_prompts_of_unequal_lengths_as_gpt2_does(dtype):
    theirs = gpt2(dtype)
    ours = from_hugging_face(theirs)
    prompt, padding = pad_left(PROMPTS)
    expected = theirs.generate(
        prompt,
        attention_mask=(torch.arange(4) >= padding[:, None]).long(),
        max_length=MAX_LEN,
        do_sample=False,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    written = greedy(ours.step, prompt, ours.start(padding), max_len=MAX_LEN, eos_id=EOS, pad_id=PAD)
    assert torch.equal(written, expected)
    assert some_texts_end_early(written, 4)


@dtypes
@searches
def test_beam_search_continues_prompts_of_unequal_lengths_as_gpt2_does(dtype, beams, penalty):
    theirs = gpt2(dtype)
    ours = from_hugging_face(theirs)
    prompt, padding = pad_left(PROMPTS)
    mask = (torch.arange(4) >= padding[:, None]).long()
    expected = their_search(theirs, beams, penalty, 2, input_ids=prompt, attention_mask=mask)
    found = beam_search(
        ours.step,
        prompt,
        ours.start(padding),
        max_len=MAX_LEN,
        beams=beams,
        n_best=2,
        length_penalty=penalty,
        eos_id=EOS,
        pad_id=PAD,
    )
    assert_same_search(found, expected)


@dtypes
@searches
def test_beam_search_translates_as_marian_does(dtype, beams, penalty):
    theirs = marian(dtype)
    ours = from_hugging_face(theirs)
    src = padded([7, 3, 5, 6], 23, PAD)
    expected = their_search(theirs, beams, penalty, 2, input_ids=src, attention_mask=(src != PAD).long())
    found = beam_search(
        ours.step,
        torch.full((4, 1), PAD),
        ours.start(src),
        max_len=MAX_LEN,
        beams=beams,
        n_best=2,
        length_penalty=penalty,
        eos_id=EOS,
        pad_id=PAD,
    )
    assert_same_search(found, expected)


@dtypes
def test_greedy_translates_as_marian_does(dtype):
    theirs = marian(dtype)
    ours = from_hugging_face(theirs)
    src = padded([7, 3, 5, 6], 23, PAD)
    expected = theirs.generate(
        src, attention_mask=(src != PAD).long(), max_length=MAX_LEN, do_sample=False, num_beams=1
    )
    start = torch.full((4, 1), PAD)
    written = greedy(ours.step, start, ours.start(src), max_len=MAX_LEN, eos_id=EOS, pad_id=PAD)
    assert torch.equal(written, expected)


class TheirCache:
    """Hugging Face's cache, with the one method that our search asks for."""

    def __init__(self):
        self.past = DynamicCache()

    def reorder(self, rows: Tensor) -> None:
        self.past.reorder_cache(rows)


class LazyCache(TheirCache):
    """A cache that leaves its rows as they are where it can."""

    def reorder(self, rows: Tensor) -> None:
        n_rows = self.past.layers[0].keys.size(0)
        super().reorder(rows if len(rows) != n_rows else torch.arange(n_rows))


def their_step(model: GPT2LMHeadModel):
    def step(tokens: Tensor, cache: TheirCache) -> tuple[Tensor, TheirCache]:
        return model(tokens, past_key_values=cache.past, use_cache=True).logits[:, -1], cache

    return step


@searches
def test_our_search_over_their_model_and_their_cache_is_their_search(beams, penalty):
    theirs = gpt2()
    prompt = torch.tensor([[5, 6, 7], [8, 9, 10]])
    expected = their_search(
        theirs, beams, penalty, 2, input_ids=prompt, attention_mask=torch.ones_like(prompt)
    )
    found = beam_search(
        their_step(theirs),
        prompt,
        TheirCache(),
        max_len=MAX_LEN,
        beams=beams,
        n_best=2,
        length_penalty=penalty,
        eos_id=EOS,
        pad_id=PAD,
    )
    assert_same_search(found, expected)


@pytest.mark.parametrize("broken", ["nothing", "penalty", "end", "beams", "prompt", "cache"])
def test_the_comparison_notices_a_broken_detail(broken):
    theirs = gpt2()
    prompt = torch.tensor([[5, 6, 7], [8, 9, 10]])
    expected = their_search(theirs, 4, 0.6, 2, input_ids=prompt, attention_mask=torch.ones_like(prompt))
    found = beam_search(
        their_step(theirs),
        prompt.flip(1) if broken == "prompt" else prompt,
        LazyCache() if broken == "cache" else TheirCache(),
        max_len=MAX_LEN,
        beams=3 if broken == "beams" else 4,
        n_best=2,
        length_penalty=0.61 if broken == "penalty" else 0.6,
        eos_id=EOS + 1 if broken == "end" else EOS,
        pad_id=PAD,
    )
    if broken == "nothing":
        assert_same_search(found, expected)
    else:
        with pytest.raises(AssertionError):
            assert_same_search(found, expected)


@pytest.mark.parametrize(
    "filters",
    [{}, {"temperature": 0.7}, {"top_k": 4}, {"top_p": 0.8}, {"temperature": 1.5, "top_k": 9, "top_p": 0.7}],
)
def test_the_same_seed_draws_the_texts_that_theirs_draws(filters):
    theirs = gpt2(torch.float32)  # `generate` draws in fp32
    ours = from_hugging_face(theirs)
    prompt = torch.tensor([[5, 6, 7], [8, 9, 10], [1, 2, 4]])
    torch.manual_seed(7)
    expected = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_length=MAX_LEN,
        do_sample=True,
        pad_token_id=PAD,
        **{"top_k": 0, **filters},
    )
    generator = torch.Generator().manual_seed(7)
    drawn = sample(ours.step, prompt, ours.start(), max_len=MAX_LEN, generator=generator, **filters)
    assert torch.equal(drawn, expected)


@dtypes
def test_the_filters_leave_the_logits_that_theirs_leave(dtype):
    torch.manual_seed(0)
    logits, no_ids = 3 * torch.randn(50, 40, dtype=dtype), torch.zeros(50, 0, dtype=torch.long)
    for k in (1, 2, 7, 39, 40, 100):
        assert torch.equal(top_k_filter(logits, k), TopKLogitsWarper(k)(no_ids, logits))
    for p in (0.01, 0.3, 0.5, 0.9, 0.99, 1.0):
        assert torch.equal(top_p_filter(logits, p), TopPLogitsWarper(p)(no_ids, logits))
    for temperature, k, p in itertools.product((0.1, 0.7, 1.0, 3.0), (3, 20), (0.4, 0.95)):
        expected = logits
        for warper in (TemperatureLogitsWarper(temperature), TopKLogitsWarper(k), TopPLogitsWarper(p)):
            expected = warper(no_ids, expected)
        assert torch.equal(filter_logits(logits, temperature=temperature, top_k=k, top_p=p), expected)


def test_tokens_that_tie_with_the_kth_stay_as_they_do_with_theirs():
    logits = torch.randint(0, 4, (30, 12)).float()
    for k in range(1, 13):
        assert torch.equal(top_k_filter(logits, k), TopKLogitsWarper(k)(torch.zeros(30, 0).long(), logits))
