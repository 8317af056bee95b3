"""Measure generation: with the cache, without it, in a plain loop, and by Hugging Face's `generate`.

Every rival has the same weights and writes the same texts: where they differ, nothing is measured. Nothing ends
early, so all write the same number of tokens. Turns are interleaved, so that a busy moment of the machine hits all of
them, and medians are compared. Theirs runs as it comes: fused attention and its own cache.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from course_lib.decoding import beam_search, greedy
from course_lib.gpt import GPT, GPTCache
from course_lib.hugging_face import from_hugging_face
from course_lib.torchvision_ops import define_missing_torchvision_ops
from course_lib.transformer import Transformer, TransformerCache

GPTS = {"GPT, d = 128, 2 layers": (128, 4, 2), "GPT, d = 256, 4 layers": (256, 8, 4)}  # D, H, layers
VOCABULARY, PAD = 1000, 0
N_PROMPT = 8  # tokens
TEXTS = ((256, 1), (256, 16), (1000, 1))  # tokens written, batch
N_SOURCE, N_TARGET = 24, 48
BEAMS = 4
BATCHES = (1, 16)
REPEATS, SLOW_REPEATS = 5, 1
OURS, THEIRS = "ours", "Hugging Face's generate"
ANEW, LOOP = "computing all anew", "a loop over hypotheses, each with a cache"

Cache = GPTCache | TransformerCache
Row = tuple[str, str, str]


def drawn(model: nn.Module) -> Any:
    """Add N(0, 0.1) to every weight that learns, so that the model has something to say."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:  # sinusoids do not
                weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def gpt2(d_model: int, n_heads: int, n_layers: int) -> Any:
    """Return Hugging Face's GPT-2 of one size, at random weights."""
    define_missing_torchvision_ops()
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=N_PROMPT + max(n_new for n_new, _ in TEXTS),
        n_embd=d_model,
        n_layer=n_layers,
        n_head=n_heads,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=PAD,
    )
    return drawn(GPT2LMHeadModel(config))


def marian() -> Any:
    """Return Hugging Face's MarianMT, d = 128 with 2 + 2 layers, at random weights."""
    define_missing_torchvision_ops()
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=VOCABULARY,
        d_model=128,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=512,
        decoder_ffn_dim=512,
        max_position_embeddings=128,
        scale_embedding=True,
        pad_token_id=PAD,
        decoder_start_token_id=PAD,
        bos_token_id=None,
        eos_token_id=None,
        forced_eos_token_id=None,
    )
    return drawn(MarianMTModel(config))


@torch.no_grad()
def greedy_computing_anew(model: GPT, prompt: Tensor, max_len: int) -> Tensor:
    """Write the likeliest token at each step, and read the whole text again for every one."""
    tokens = prompt
    while tokens.size(1) < max_len:
        newest = model(tokens)[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, newest], dim=1)
    return tokens


@torch.inference_mode()
def beam_search_in_a_loop(
    step: Callable, prompt: Tensor, start: Callable[[int], Cache], max_len: int
) -> Tensor:
    """Search one sequence after the other and one hypothesis after the other, each with a cache of its own.

    A cache is copied only where a hypothesis goes on in a second way.
    """
    best = []
    for row, beginning in enumerate(prompt.tolist()):
        hypotheses = [(0.0, beginning, start(row))]
        for length in range(len(beginning), max_len):
            candidates = []
            for log_p, tokens, cache in hypotheses:
                unread = tokens if length == len(beginning) else tokens[-1:]
                logits, cache = step(torch.tensor([unread]), cache)
                gains, ids = logits[0].double().log_softmax(dim=-1).topk(BEAMS)
                candidates += [
                    (log_p + gain, [*tokens, token], cache)
                    for gain, token in zip(gains.tolist(), ids.tolist())
                ]
            candidates.sort(key=lambda candidate: -candidate[0])
            hypotheses, taken = [], set()
            for log_p, tokens, cache in candidates[:BEAMS]:
                own = copy.deepcopy(cache) if id(cache) in taken else cache
                taken.add(id(cache))
                hypotheses.append((log_p, tokens, own))
        best.append(hypotheses[0][1])
    return torch.tensor(best)


def medians(actions: Mapping[str, Callable[[], Tensor]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each action, measured in turns after one that is not counted.

    Raises:
        RuntimeError: one writes other texts than the first, so their times cannot be compared. One in four may
            differ: theirs adds scores up in fp32, and of two hypotheses that are nearly equal may take the other.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(1 + repeats):
        texts = {}
        for name, action in actions.items():
            start = time.perf_counter()
            texts[name] = action()
            if turn:
                times[name].append(time.perf_counter() - start)
        first = next(iter(texts))
        for name, written in texts.items():
            if written.shape != texts[first].shape or (written == texts[first]).all(-1).float().mean() < 0.75:
                raise RuntimeError(
                    f"{first} and {name} write different texts, so their times cannot be compared"
                )
    return {name: statistics.median(taken) for name, taken in times.items()}


def compared(what: str, slow: str, actions: Mapping[str, Callable[[], Tensor]]) -> list[Row]:
    """Compare ours with theirs, and with the slow way of which there are fewer turns."""
    fast = medians({name: action for name, action in actions.items() if name != slow}, REPEATS)
    few = medians({name: actions[name] for name in (OURS, slow)}, SLOW_REPEATS)
    return [
        (
            f"{what}: against {THEIRS}",
            f"{fast[THEIRS] / fast[OURS]:.1f} × as fast ({1000 * fast[OURS]:.0f} ms against "
            f"{1000 * fast[THEIRS]:.0f})",
            "≥ 2 ×",
        ),
        (
            f"{what}: against {slow}",
            f"{few[slow] / few[OURS]:.1f} × as fast ({1000 * few[OURS]:.0f} ms against {1000 * few[slow]:.0f})",
            "≥ 10 ×",
        ),
    ]


def gpt_rows() -> list[Row]:
    """Compare how a GPT continues prompts."""
    rows = []
    for size, (d_model, n_heads, n_layers) in GPTS.items():
        torch.manual_seed(0)
        theirs = gpt2(d_model, n_heads, n_layers)
        ours = cast(GPT, from_hugging_face(theirs))
        for n_new, n_batch in TEXTS:
            max_len = N_PROMPT + n_new
            prompt = torch.randint(1, VOCABULARY, (n_batch, N_PROMPT))
            told = {"attention_mask": torch.ones_like(prompt), "max_length": max_len, "do_sample": False}
            what = f"{size}, {n_new:,} tokens, batch {n_batch}"
            ways = {
                OURS: partial(written_greedily, ours, prompt, max_len),
                THEIRS: partial(theirs.generate, prompt, **told),
                ANEW: partial(greedy_computing_anew, ours, prompt, max_len),
            }
            rows += compared(f"greedy, {what}", ANEW, ways)
            ways = {
                OURS: partial(best_found, ours.step, prompt, ours.start, max_len),
                THEIRS: partial(theirs.generate, prompt, **told, num_beams=BEAMS, length_penalty=0.0),
                LOOP: partial(beam_search_in_a_loop, ours.step, prompt, partial(fresh, ours), max_len),
            }
            rows += compared(f"{BEAMS} beams, {what}", LOOP, ways)
    return rows


def translation_rows() -> list[Row]:
    """Compare how a Transformer translates."""
    torch.manual_seed(0)
    theirs = marian()
    ours = cast(Transformer, from_hugging_face(theirs))
    rows = []
    for n_batch in BATCHES:
        src = torch.randint(1, VOCABULARY, (n_batch, N_SOURCE))
        prompt = torch.full((n_batch, 1), PAD)
        told = {"attention_mask": torch.ones_like(src), "max_length": N_TARGET, "do_sample": False}

        ways = {
            OURS: partial(best_found, ours.step, prompt, partial(ours.start, src), N_TARGET),
            THEIRS: partial(theirs.generate, src, **told, num_beams=BEAMS, length_penalty=0.0),
            LOOP: partial(beam_search_in_a_loop, ours.step, prompt, partial(read, ours, src), N_TARGET),
        }
        what = f"{BEAMS} beams, Transformer, d = 128, 2 + 2 layers, {N_TARGET} tokens, batch {n_batch}"
        rows += compared(what, LOOP, ways)
    return rows


def written_greedily(model: GPT, prompt: Tensor, max_len: int) -> Tensor:
    """Write the likeliest token at each step, with our cache."""
    return greedy(model.step, prompt, model.start(), max_len=max_len)


def best_found(step: Callable, prompt: Tensor, start: Callable[[], Cache], max_len: int) -> Tensor:
    """Search with our cache, and return the best text of each row."""
    return beam_search(step, prompt, start(), max_len=max_len, beams=BEAMS)[0][:, 0]


def fresh(model: GPT, row: int) -> Cache:
    """Return an empty cache for one text."""
    return model.start()


def read(model: Transformer, src: Tensor, row: int) -> Cache:
    """Return the cache for the translation of one source."""
    return model.start(src[row : row + 1])


def measure() -> list[Row]:
    """Return all rows: what, value, target."""
    return gpt_rows() + translation_rows()


if __name__ == "__main__":
    for row in measure():
        print(*row, sep=" | ")
