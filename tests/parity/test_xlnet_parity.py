"""XLNet against Hugging Face: logits, losses, the memory itself and every gradient, in fp32 and fp64.

Each case is a function of the module it is given, so that the last test can give it broken copies of ours: it sees
the comparison fail for every detail.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import xlnet
from course_lib.hugging_face import xlnet_state_dict
from course_lib.objectives import (
    language_model_loss,
    masked_word_loss,
    one_hot_targets,
    permutation_batch,
    span_loss,
)
from course_lib.torchvision_ops import define_missing_torchvision_ops
from tests.parity.comparison import LIMITS, assert_same_numbers, dtypes, randomised, with_gradients_as_weights

define_missing_torchvision_ops()
import transformers  # noqa: E402

V, N_LAYERS = 19, 3
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu"}
HEADS = {
    "XLNetModel": "XLNet",
    "XLNetLMHeadModel": "XLNetLM",
    "XLNetForSequenceClassification": "XLNetClassifier",
    "XLNetForQuestionAnsweringSimple": "XLNetForQuestionAnswering",
}


def theirs_of(name: str, dtype: torch.dtype, **choices: Any) -> nn.Module:
    """Build one of Hugging Face's models, small, with weights far from their beginning."""
    sizes = {"vocab_size": V, "d_model": 24, "n_head": 4, "n_layer": N_LAYERS, "d_inner": 40, "dropout": 0.0}
    config = transformers.XLNetConfig(
        **sizes | {"mem_len": None, "attn_implementation": "eager", "num_labels": 5} | choices
    )
    if name == "XLNetForQuestionAnsweringSimple":
        config.num_labels = 2
    model = randomised(getattr(transformers, name)(config), dtype)
    # Theirs keeps the encoded distances in single precision, and two streams of another dtype then crash. The numbers
    # stay theirs, only their dtype is mended.
    base = getattr(model, "transformer", model)
    encode = base.positional_embedding
    base.positional_embedding = lambda *given: encode(*given).to(dtype)
    return model


def ours_of(theirs: nn.Module, module: ModuleType = xlnet) -> nn.Module:
    """Make ours of theirs: the same choices, the same weights, strictly."""
    their = theirs.config
    config = module.XLNetConfig(
        vocab_size=their.vocab_size,
        d_model=their.d_model,
        n_heads=their.n_head,
        n_layers=their.n_layer,
        d_ff=their.d_inner,
        dropout=their.dropout,
        activation=ACTIVATIONS[their.ff_activation],
        direction=their.attn_type,
        mem_len=their.mem_len or None,
        reuse_len=their.reuse_len or None,
        clamp_len=their.clamp_len if their.clamp_len > 0 else None,
        same_length=their.same_length,
        bi_data=their.bi_data,
        eps=their.layer_norm_eps,
    )
    name = HEADS[type(theirs).__name__]
    more = {"n_classes": their.num_labels} if name == "XLNetClassifier" else {}
    ours = getattr(module, name)(config, **more)
    weights = xlnet_state_dict(theirs.state_dict())
    ours.to(next(iter(weights.values())).dtype).load_state_dict(weights, strict=True)
    return ours.eval()


def hidden_pairs(n_batch: int, n_tokens: int) -> Tensor:
    """Draw who may not see whom, (B, T, T), True = hidden; the first token stays visible to all."""
    hidden = torch.rand(n_batch, n_tokens, n_tokens) < 0.5
    hidden[:, :, 0] = False
    return hidden


def rows_at(mask: Tensor, targets: Tensor) -> Tensor:
    """Pick the targets' rows, (B, 1, N, T), of a mask (B, T, T)."""
    return mask.gather(1, targets[..., None].expand(-1, -1, mask.size(2)))[:, None]


def draw_targets(n_batch: int, n_tokens: int, n_targets: int) -> tuple[Tensor, Tensor]:
    """Draw places, (B, N), in any order, none twice; and the same as rows of 0 and 1, (B, N, T)."""
    places = torch.stack([torch.randperm(n_tokens)[:n_targets] for _ in range(n_batch)])
    return places, F.one_hot(places, n_tokens)


def batch_first(mems: Any) -> list[Tensor]:
    return [mem.transpose(0, 1) for mem in mems]


def assert_same_gradients(ours: nn.Module, theirs: nn.Module, module: ModuleType) -> None:
    """Compare the gradients of all weights, place by place; where one has none, the other's is 0."""
    expected = with_gradients_as_weights(theirs, lambda model: ours_of(model, module)).state_dict()
    assert max(weight.norm() for weight in expected.values()) > 0
    for name, weight in ours.named_parameters():
        gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
        far, size = (gradient - expected[name]).norm().item(), expected[name].norm().item()
        assert far <= LIMITS[weight.dtype][1] * size, f"gradient of {name}: {far:.1e} apart, it is {size:.1e}"


def compare(
    ours: nn.Module, theirs: nn.Module, of_ours: list[Tensor], of_theirs: list[Tensor], module: ModuleType
) -> None:
    """Compare outputs, losses and memories; then the gradients of one mix of those that have any."""
    assert_same_numbers([o.detach() for o in of_ours], [o.detach() for o in of_theirs])
    assert [o.requires_grad for o in of_ours] == [o.requires_grad for o in of_theirs]
    ours.zero_grad()
    theirs.zero_grad()
    mixes = [torch.randn_like(output) for output in of_theirs]
    for outputs in (of_ours, of_theirs):
        sum((o * mix).sum() for o, mix in zip(outputs, mixes, strict=True) if o.requires_grad).backward()
    assert_same_gradients(ours, theirs, module)


def one_stream_ragged_two_segments(module: ModuleType, dtype: torch.dtype) -> None:
    theirs = theirs_of("XLNetModel", dtype)
    ours = ours_of(theirs, module)
    tokens, segments = torch.randint(V, (3, 9)), torch.randint(2, (3, 9))
    real = torch.arange(9) < torch.tensor([9, 5, 7])[:, None]
    expected = theirs(tokens, attention_mask=real.long(), token_type_ids=segments)
    x, mems = ours(tokens, mask=real[:, None, None, :], segments=segments)
    compare(ours, theirs, [x, *mems], [expected.last_hidden_state, *batch_first(expected.mems)], module)


def one_stream_without_masks(module: ModuleType, dtype: torch.dtype) -> None:
    theirs = theirs_of("XLNetLMHeadModel", dtype, ff_activation="gelu_new", n_head=3)
    ours = ours_of(theirs, module)
    tokens = torch.randint(V, (2, 7))
    labels = torch.where(torch.rand(2, 7) < 0.4, -100, tokens)
    expected = theirs(tokens, labels=labels)
    logits, _ = ours(tokens)
    loss = language_model_loss(logits, labels)
    compare(ours, theirs, [logits, loss], [expected.logits, expected.loss], module)


def two_streams_in_a_drawn_order(module: ModuleType, dtype: torch.dtype) -> None:
    theirs = theirs_of("XLNetLMHeadModel", dtype)
    ours = ours_of(theirs, module)
    real = torch.arange(12) < torch.tensor([12, 8, 10])[:, None]
    tokens = torch.randint(1, V, (3, 12)).masked_fill(~real, 0)
    segments = torch.randint(3, (3, 12))
    batch = permutation_batch(
        tokens, pad_id=0, special_ids=(), generator=torch.Generator().manual_seed(1), share=0.4
    )
    # Theirs is told in its own terms: who is hidden from whom, before the padding is.
    rank = batch.order.argsort(1)
    n_given = 12 - (batch.labels != -100).sum(1)
    is_late = rank >= n_given[:, None]
    hidden = is_late[:, None, :] & (rank[:, None, :] >= rank[:, :, None])
    mapping = one_hot_targets(batch.target_positions, batch.weights, 12).to(dtype)
    expected = theirs(
        tokens,
        attention_mask=real.to(dtype),
        perm_mask=hidden.to(dtype),
        target_mapping=mapping,
        token_type_ids=segments,
        labels=batch.labels,
    )
    logits, mems = ours(
        tokens,
        mask=batch.content_mask,
        query_mask=batch.query_mask,
        targets=batch.target_positions,
        segments=segments,
    )
    loss = masked_word_loss(logits, batch.labels)
    counted = batch.labels != -100
    compare(
        ours,
        theirs,
        [logits[counted], loss, *mems],
        [expected.logits[counted], expected.loss, *batch_first(expected.mems)],
        module,
    )


def _segments_with_memory(
    module: ModuleType, dtype: torch.dtype, *, two_streams: bool, lengths: tuple[int, ...], **choices: Any
) -> None:
    theirs = theirs_of("XLNetLMHeadModel", dtype, **choices)
    ours = ours_of(theirs, module)
    their_mems, our_mems, of_theirs, of_ours = None, None, [], []
    n_batch = 4
    for n_tokens in lengths:
        tokens, segments = torch.randint(V, (n_batch, n_tokens)), torch.randint(2, (n_batch, n_tokens))
        asked: dict[str, Any] = {"token_type_ids": segments}
        ask: dict[str, Any] = {"segments": segments}
        if two_streams:
            hidden = hidden_pairs(n_batch, n_tokens)
            targets, mapping = draw_targets(n_batch, n_tokens, 3)
            asked |= {"perm_mask": hidden.to(dtype), "target_mapping": mapping.to(dtype)}
            ask |= {"mask": ~hidden[:, None], "query_mask": rows_at(~hidden, targets), "targets": targets}
        expected = theirs(tokens, mems=their_mems, use_mems=True, **asked)
        logits, our_mems = ours(tokens, mems=our_mems, **ask)
        their_mems = expected.mems
        of_theirs += [expected.logits, *batch_first(their_mems)]
        of_ours += [logits, *our_mems]
    compare(ours, theirs, of_ours, of_theirs, module)


def four_segments_with_memory(module: ModuleType, dtype: torch.dtype) -> None:
    _segments_with_memory(
        module, dtype, two_streams=True, lengths=(9, 6, 7, 8), mem_len=11, reuse_len=5, d_inner=44
    )


def three_segments_backwards_clamped(module: ModuleType, dtype: torch.dtype) -> None:
    _segments_with_memory(
        module, dtype, two_streams=True, lengths=(6, 7, 6), mem_len=8, bi_data=True, clamp_len=5
    )


def three_segments_one_stream(module: ModuleType, dtype: torch.dtype) -> None:
    _segments_with_memory(module, dtype, two_streams=False, lengths=(5, 8, 6))


def three_segments_causal(module: ModuleType, dtype: torch.dtype) -> None:
    _segments_with_memory(module, dtype, two_streams=False, lengths=(70, 6, 66), mem_len=40, attn_type="uni")


def three_segments_causal_same_length(module: ModuleType, dtype: torch.dtype) -> None:
    _segments_with_memory(
        module,
        dtype,
        two_streams=False,
        lengths=(7, 6, 8),
        mem_len=9,
        attn_type="uni",
        same_length=True,
        clamp_len=4,
    )


def two_streams_causal(module: ModuleType, dtype: torch.dtype) -> None:
    # Theirs adds the masks in place, which works for one sequence only.
    theirs = theirs_of("XLNetLMHeadModel", dtype, attn_type="uni", mem_len=8)
    ours = ours_of(theirs, module)
    their_mems, our_mems, of_theirs, of_ours = None, None, [], []
    for n_tokens in (6, 7, 5):
        tokens = torch.randint(V, (1, n_tokens))
        hidden = hidden_pairs(1, n_tokens) | torch.eye(n_tokens, dtype=torch.bool)
        hidden[:, 0, 0] = False
        targets, mapping = draw_targets(1, n_tokens, 3)
        expected = theirs(
            tokens,
            mems=their_mems,
            use_mems=True,
            perm_mask=hidden.to(dtype),
            target_mapping=mapping.to(dtype),
        )
        their_mems = expected.mems
        logits, our_mems = ours(
            tokens, mask=~hidden, query_mask=rows_at(~hidden, targets), targets=targets, mems=our_mems
        )
        of_theirs += [expected.logits, *batch_first(their_mems)]
        of_ours += [logits, *our_mems]
    compare(ours, theirs, of_ours, of_theirs, module)


def classification(module: ModuleType, dtype: torch.dtype) -> None:
    theirs = theirs_of("XLNetForSequenceClassification", dtype)
    ours = ours_of(theirs, module)
    tokens, segments = torch.randint(V, (3, 9)), torch.randint(2, (3, 9))
    real = torch.arange(9) >= torch.tensor([0, 4, 2])[:, None]  # padding at the left
    classes = torch.randint(5, (3,))
    expected = theirs(tokens, attention_mask=real.long(), token_type_ids=segments, labels=classes)
    logits = ours(tokens, mask=real[:, None, None, :], segments=segments)
    loss = F.cross_entropy(logits, classes)
    compare(ours, theirs, [logits, loss], [expected.logits, expected.loss], module)


def question_answering(module: ModuleType, dtype: torch.dtype) -> None:
    theirs = theirs_of("XLNetForQuestionAnsweringSimple", dtype)
    ours = ours_of(theirs, module)
    tokens, segments = torch.randint(V, (3, 9)), torch.randint(2, (3, 9))
    real = torch.arange(9) < torch.tensor([9, 5, 7])[:, None]
    start, end = torch.tensor([2, 0, 30]), torch.tensor([4, 3, 30])  # the last was cut off
    expected = theirs(
        tokens,
        attention_mask=real.long(),
        token_type_ids=segments,
        start_positions=start,
        end_positions=end,
    )
    starts, ends = ours(tokens, mask=real[:, None, None, :], segments=segments)
    of_theirs = [expected.start_logits, expected.end_logits, expected.loss]
    compare(ours, theirs, [starts, ends, span_loss(starts, ends, start, end)], of_theirs, module)


CASES: tuple[Callable[[ModuleType, torch.dtype], None], ...] = (
    one_stream_ragged_two_segments,
    one_stream_without_masks,
    two_streams_in_a_drawn_order,
    four_segments_with_memory,
    three_segments_backwards_clamped,
    three_segments_one_stream,
    three_segments_causal,
    three_segments_causal_same_length,
    two_streams_causal,
    classification,
    question_answering,
)


@dtypes
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_xlnet_equals_hugging_faces(case, dtype):
    torch.manual_seed(3)
    case(xlnet, dtype)


MEMORY, BACKWARDS, CAUSAL = four_segments_with_memory, three_segments_backwards_clamped, three_segments_causal
RAGGED, ORDERED = one_stream_ragged_two_segments, two_streams_in_a_drawn_order
# What is broken, the lines it changes (old, new), and the case that must notice it.
BROKEN: dict[str, tuple[str, str, Callable[[ModuleType, torch.dtype], None]]] = {
    "scores over the root of D, not of Dh": (
        "scale = 1 / math.sqrt(self.u.size(-1))",
        "scale = 1 / math.sqrt(self.u.numel())",
        RAGGED,
    ),
    "no u": ("q_content, q_distance = q + self.u[:, None] * scale,", "q_content, q_distance = q,", RAGGED),
    "no v": ("q + self.v_bias[:, None] * scale\n", "q\n", RAGGED),
    "no s": ("(q + self.s_bias[:, None] * scale) @ self", "q @ self", RAGGED),
    "same and other segment exchanged": (
        "by_segment = torch.where(asking.segments[:, None], ef[..., :1], ef[..., 1:])",
        "by_segment = torch.where(asking.segments[:, None], ef[..., 1:], ef[..., :1])",
        RAGGED,
    ),
    "memory in segment 1": ("(n_memory, 0), value=0)", "(n_memory, 0), value=1)", MEMORY),
    "segments of the wrong queries": (
        "places[..., None].expand(-1, -1, of_tokens",
        "0 * places[..., None].expand(-1, -1, of_tokens",
        MEMORY,
    ),
    "shift by one too few": ("[..., n_tokens:]", "[..., n_tokens - 1 : -1]", RAGGED),
    "gather by one too few": ("columns = n_tokens - places", "columns = n_tokens - 1 - places", ORDERED),
    "the table begins one distance late": (
        "torch.arange(n_keys, nearest - 1, -1)",
        "torch.arange(n_keys - 1, nearest - 2, -1)",
        RAGGED,
    ),
    "distances of the wrong sign": ("listed.float()[:, None]", "-listed.float()[:, None]", RAGGED),
    "cosines first": ("[angles.sin(), angles.cos()]", "[angles.cos(), angles.sin()]", RAGGED),
    "sines and cosines interleaved": (
        "torch.cat([angles.sin(), angles.cos()], dim=-1)",
        "torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)",
        RAGGED,
    ),
    "distances not clamped": ("listed.clamp(-clamp_len, clamp_len)", "listed", BACKWARDS),
    "encodings clamped instead": (
        "listed.clamp(-clamp_len, clamp_len)",
        "listed.sign() * listed.abs().clamp(min=listed.abs().max() - clamp_len)",
        BACKWARDS,
    ),
    "no half of the batch runs backwards": ("[listed, -listed]", "[listed, listed]", BACKWARDS),
    "the first half runs backwards": ("[listed, -listed]", "[-listed, listed]", BACKWARDS),
    "keys of distances by W_k": ("self.w_r(encoded)", "self.w_k(encoded)", RAGGED),
    "memory of what leaves a layer": (
        "remember(mem, h, mem_len",
        "remember(mem, block(h, block.attention.look_at(h, mem, encoded, of_keys), content_asks), mem_len",
        MEMORY,
    ),
    "memory of the first places": ("remembered[:, oldest:]", "remembered[:, :mem_len]", MEMORY),
    "memory one place too long": (
        "remembered.size(1) - mem_len)",
        "remembered.size(1) - mem_len - 1)",
        MEMORY,
    ),
    "memory of the last segment alone": (
        "remembered = torch.cat([mem, remembered], dim=1)",
        "pass",
        MEMORY,
    ),
    "the end of a segment reused": ("content[:, :reuse_len]", "content[:, -(reuse_len or 0) :]", MEMORY),
    "memory not detached": ("remembered[:, oldest:].detach()", "remembered[:, oldest:]", MEMORY),
    "memory behind the tokens": (
        "torch.cat([mem, content], dim=1)",
        "torch.cat([content, mem], dim=1)",
        MEMORY,
    ),
    "memory hidden by masks": ("(n_memory, 0), value=True)", "(n_memory, 0), value=False)", MEMORY),
    "the tanh form of GELU": ("activation=config.activation", 'activation="gelu_tanh"', RAGGED),
    "an epsilon of 1e-5": ("            eps=config.eps", "            eps=1e-5", RAGGED),
    "norm before the sub-layer": (
        "self.attention_norm(stream + self.dropout(self.attention(stream, context, asking)))",
        "stream + self.dropout(self.attention(self.attention_norm(stream), context, asking))",
        RAGGED,
    ),
    "tokens that do not see themselves": ("None if mask is None else mask | itself", "mask", ORDERED),
    "a query stream that begins with the tokens": (
        "self.query_start.expand(n_batch, places.size(1), -1)",
        "self.embedding(tokens.gather(1, places))",
        ORDERED,
    ),
    "a query stream that looks a layer ahead": (
        "g = block(g, context, query_asks)",
        "g = block(g, block.attention.look_at(block(h, context, content_asks), mem, encoded, of_keys), query_asks)",
        ORDERED,
    ),
    "a query stream with the content's mask": (
        "visible = self._visible(query_mask,",
        "visible = self._visible(_rows(mask | itself, places),",
        ORDERED,
    ),
    "the content stream ends a layer early": ("n + 1 < config.n_layers", "n + 2 < config.n_layers", ORDERED),
    "a causal model that sees one place ahead": (
        "past = causal_mask(n_tokens, n_memory + n_tokens)",
        "past = causal_mask(n_tokens, n_memory + n_tokens).roll(1, -1)",
        CAUSAL,
    ),
    "same length ignored": (
        "past.triu() if same_length else past",
        "past",
        three_segments_causal_same_length,
    ),
    "blocks with the distances of the first": (
        "r[:, :, n_tokens - end : n_tokens - start + n_keys]",
        "r[:, :, n_tokens - BLOCK if n_tokens > BLOCK else 0 :]",
        CAUSAL,
    ),
    "one norm for both sub-layers": ("self.feed_forward_norm(x +", "self.attention_norm(x +", RAGGED),
    "no bias on the output": (
        "self.xlnet.embedding.weight, self.output_bias",
        "self.xlnet.embedding.weight",
        ORDERED,
    ),
    "a class from the first place": ("h[:, -1]", "h[:, 0]", classification),
    "no tanh before the classes": (".tanh()", "", classification),
    "start and end exchanged": ("start, end = self.head(h)", "end, start = self.head(h)", question_answering),
}


def copy_of_ours(old: str = "", new: str = "") -> ModuleType:
    """Load our module's text anew, one line of it changed."""
    path = Path(xlnet.__file__)
    text = path.read_text(encoding="utf-8")
    assert not old or text.count(old) == 1, f"{text.count(old)} places are {old!r}"
    module = ModuleType(
        "course_lib.xlnet"
    )  # its dataclasses look their module up by this name, and find ours
    exec(compile(text.replace(old, new) if old else text, path, "exec"), module.__dict__)
    return module


def test_an_unbroken_copy_passes_every_case():
    torch.manual_seed(3)
    copy = copy_of_ours()
    for case in CASES:
        case(copy, torch.float64)


@pytest.mark.parametrize("detail", BROKEN)
def test_the_comparison_notices_a_broken_detail(detail):
    old, new, case = BROKEN[detail]
    # An ε of 1e-5 moves nothing by more than rounding does in single precision.
    dtype = torch.float64 if "epsilon" in detail else torch.float32
    broken = copy_of_ours(old, new)
    torch.manual_seed(3)
    with pytest.raises(AssertionError):
        case(broken, dtype)
