"""Measure the seconds that a BERT needs to a fixed quality: ours, one of torch.nn's layers, and d2l's class.

All three have the same sizes, start from the same distribution, and see the same batches with the same optimiser in
the same precision; what differs is the model's code. The quality is the loss of hidden words on held-out documents.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

import quality_bert as recipe
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.bert import BERTForPretraining
from course_lib.data import small_world as world
from course_lib.objectives import PairBatch, SentencePair, batch_of_pairs, corrupt_words, masked_word_loss
from course_lib.torchvision_ops import define_missing_torchvision_ops
from course_lib.zoo import BERT_RECIPE, pretraining_pairs

BAR = 1.3  # nats a hidden word, on documents that were not trained on
MOST_STEPS, STEPS_BETWEEN = 3000, 50
SEEDS = (0, 1)
N_HELD_OUT = 500

Batch = tuple[Tensor, Tensor, Tensor]  # inputs, segments and labels, (B, T) each
Words = Callable[
    [Tensor, Tensor, Tensor], Tensor
]  # (inputs, segments, is_target) → logits at the targets, (N, V)


class TorchBERT(nn.Module):
    """BERT from torch.nn's encoder, as one would write it without ours."""

    def __init__(self) -> None:
        super().__init__()
        config = recipe.CONFIG
        self.words = nn.Embedding(config.vocab_size, config.d_model)
        self.segments = nn.Embedding(2, config.d_model)
        self.positions = nn.Embedding(config.max_len, config.d_model)
        self.norm = nn.LayerNorm(config.d_model)
        layer = nn.TransformerEncoderLayer(
            config.d_model,
            config.n_heads,
            4 * config.d_model,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, config.n_layers, enable_nested_tensor=False)
        self.head = nn.Sequential(
            nn.Linear(config.d_model, config.d_model), nn.GELU(), nn.LayerNorm(config.d_model)
        )
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.MultiheadAttention):
                nn.init.normal_(module.in_proj_weight, std=0.02)

    def forward(self, tokens: Tensor, segments: Tensor, is_target: Tensor) -> Tensor:
        places = torch.arange(tokens.size(1))
        x = self.norm(self.words(tokens) + self.segments(segments) + self.positions(places))
        x = self.encoder(x, src_key_padding_mask=tokens == world.PAD)
        return F.linear(self.head(x[is_target]), self.words.weight, self.bias)


def peers(seed: int) -> dict[str, tuple[nn.Module, Words]]:
    """Return the three models, and how each scores the hidden words."""
    define_missing_torchvision_ops()
    from d2l import torch as d2l

    config = recipe.CONFIG

    def d2l_bert() -> nn.Module:
        model = d2l.BERTModel(
            config.vocab_size,
            config.d_model,
            4 * config.d_model,
            config.n_heads,
            config.n_layers,
            0.0,
            config.max_len,
        )
        places = torch.zeros(1, 1, dtype=torch.long)
        model(places, places, None, places)  # its layers are made by their first input
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.normal_(model.encoder.pos_embedding, std=0.02)
        return model

    ours = recipe.made(lambda: BERTForPretraining(config), seed)
    torchs, theirs = recipe.made(TorchBERT, seed), recipe.made(d2l_bert, seed)

    def words_of_d2l(tokens: Tensor, segments: Tensor, is_target: Tensor) -> Tensor:
        # It wants equally many places of every row: those of the targets first, then any.
        n_most = int(is_target.sum(1).max())
        places = is_target.int().argsort(dim=1, descending=True, stable=True)[:, :n_most]
        logits = theirs(tokens, segments, (tokens != world.PAD).sum(1), places)[1]  # (B, n_most, V)
        return logits[is_target.gather(1, places)]

    return {
        "ours": (ours, lambda tokens, segments, is_target: ours(tokens, segments, is_target)[0]),
        "nn.TransformerEncoder": (torchs, torchs),
        "d2l.BERTModel": (theirs, words_of_d2l),
    }


def corrupted(pairs: PairBatch, chosen: Tensor, generator: torch.Generator) -> Batch:
    """Hide words of some of the pairs."""
    tokens = pairs.tokens[chosen]
    inputs, labels = corrupt_words(
        tokens,
        mask_id=world.MASK,
        pad_id=world.PAD,
        special_ids=(world.CLS, world.SEP),
        vocab_size=len(world.WORDS),
        generator=generator,
        share=BERT_RECIPE["share"],
        unit="word",
        continues_word=world.continues_word(tokens),
    )
    return inputs, pairs.segments[chosen], labels


def seconds_to_bar(
    model: nn.Module, words: Words, pairs: PairBatch, held_out: Batch, seed: int
) -> tuple[float, int]:
    """Train until the bar is reached; return the seconds of training, without the measuring, and the steps."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=BERT_RECIPE["lr"], weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    spent = 0.0
    for step in count(1):
        chosen = torch.randint(len(pairs.tokens), (BERT_RECIPE["batch"],), generator=generator)
        inputs, segments, labels = corrupted(pairs, chosen, generator)
        optimiser.param_groups[0]["lr"] = BERT_RECIPE["lr"] * min(1, step / BERT_RECIPE["warmup"])
        start = time.perf_counter()
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = words(inputs, segments, labels >= 0)
            loss = masked_word_loss(logits, labels[labels >= 0])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        spent += time.perf_counter() - start
        if step % STEPS_BETWEEN == 0:
            model.eval()
            with torch.no_grad():
                loss = masked_word_loss(
                    words(held_out[0], held_out[1], held_out[2] >= 0), held_out[2][held_out[2] >= 0]
                )
            model.train()
            if loss <= BAR or step >= MOST_STEPS:
                return spent if loss <= BAR else float("inf"), step
    raise AssertionError("count() does not end")


def measure() -> list[tuple[str, str, str]]:
    """Return all rows: what, value, target."""
    generator = torch.Generator().manual_seed(99)
    documents = world.sample_documents(N_HELD_OUT, generator=generator, side="held out")
    pairs = [SentencePair(world.encode(first), world.encode(second), True) for first, second in documents]
    whole = batch_of_pairs(pairs, cls_id=world.CLS, sep_id=world.SEP, pad_id=world.PAD)
    held_out = corrupted(whole, torch.arange(N_HELD_OUT), generator)
    found: dict[str, list[tuple[float, int]]] = {}
    for seed in SEEDS:
        trained_on = pretraining_pairs(BERT_RECIPE | {"seed": seed})
        for name, (model, words) in peers(seed).items():
            found.setdefault(name, []).append(seconds_to_bar(model, words, trained_on, held_out, seed))
    rows = []
    for name, runs in found.items():
        seconds = sorted(taken for taken, _ in runs)[len(runs) // 2]
        listed = ", ".join(f"{taken:.0f} s and {steps} steps" for taken, steps in runs)
        rows.append(
            (f"seconds to {BAR} nats a hidden word, {name}", f"{seconds:.0f} s (runs: {listed})", "reported")
        )
    return rows
