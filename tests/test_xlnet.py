"""xlnet: what it computes, and what it refuses. Equality with Hugging Face stands in tests/parity."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib import xlnet
from course_lib.hugging_face import xlnet_state_dict
from course_lib.masks import padding_mask, permutation_masks
from course_lib.objectives import language_model_loss, masked_word_loss, permutation_batch
from course_lib.positions import relative_distances, sinusoidal_positions
from course_lib.training import fit
from course_lib.xlnet import (
    XLNET_BASE,
    XLNET_LARGE,
    RelativeAttention,
    TransformerXL,
    TransformerXLConfig,
    XLNet,
    XLNetClassifier,
    XLNetConfig,
    XLNetForQuestionAnswering,
    XLNetLM,
    ask,
    distances,
    encode_distances,
    gather,
    remember,
    shift,
)

V, L = 19, 3
SMALL = XLNetConfig(vocab_size=V, d_model=24, n_heads=4, n_layers=L, d_ff=40, dropout=0.0)
SMALL_XL = TransformerXLConfig(
    vocab_size=V, d_model=24, n_heads=4, n_layers=L, d_ff=40, dropout=0.0, mem_len=None
)


def randomised(model, dtype=torch.float64):
    """Move every weight away from its beginning, where biases are 0 and a missing one would not show."""
    model.to(dtype).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return model


def draw(n_batch, n_tokens):
    return torch.randint(V, (n_batch, n_tokens))


# --- distances -------------------------------------------------------------------------------------------------


@given(n_tokens=st.integers(1, 9), n_memory=st.integers(0, 7), direction=st.sampled_from(["bi", "uni"]))
def test_column_T_minus_i_plus_j_of_the_list_holds_the_distance_from_key_j_to_query_i(
    n_tokens, n_memory, direction
):
    n_keys = n_tokens + n_memory
    listed = distances(n_tokens, n_keys, direction=direction)
    wanted = relative_distances(n_tokens, n_keys)
    for i in range(n_tokens):
        for j in range(n_keys):
            if direction == "bi" or wanted[i, j] >= 0:
                assert listed[n_tokens - i + j] == wanted[i, j]
    assert listed[0] == n_keys and listed[-1] == (1 - n_tokens if direction == "bi" else 0)


@given(n_tokens=st.integers(1, 9), n_memory=st.integers(0, 7), direction=st.sampled_from(["bi", "uni"]))
def test_the_view_trick_equals_the_gather_wherever_there_is_a_distance(n_tokens, n_memory, direction):
    n_keys = n_tokens + n_memory
    n_distances = len(distances(n_tokens, n_keys, direction=direction))
    by_distance = torch.randn(2, 3, n_tokens, n_distances, requires_grad=True)
    gathered = gather(by_distance, torch.arange(n_tokens)[None], n_tokens, n_keys)
    shifted = shift(by_distance, n_keys)
    assert gathered.shape == shifted.shape == (2, 3, n_tokens, n_keys)
    seen = torch.ones(n_tokens, n_keys, dtype=torch.bool)
    if direction == "uni":
        seen = relative_distances(n_tokens, n_keys) >= 0
    assert torch.equal(gathered[..., seen], shifted[..., seen])
    mix = torch.randn(2, 3, n_tokens, n_keys) * seen
    one, other = (torch.autograd.grad((x * mix).sum(), by_distance)[0] for x in (gathered, shifted))
    assert torch.equal(one, other)


def test_the_view_trick_moves_no_number():
    by_distance = torch.randn(2, 3, 5, 12)
    assert shift(by_distance, 7).data_ptr() == by_distance.data_ptr() + 5 * by_distance.element_size()


def test_the_gather_serves_queries_in_any_order():
    by_distance, places = torch.randn(2, 3, 4, 12), torch.tensor([[3, 0, 4, 1], [2, 2, 0, 4]])
    gathered = gather(by_distance, places, 5, 7)
    for b in range(2):
        for n, i in enumerate(places[b].tolist()):
            assert torch.equal(gathered[b, :, n], by_distance[b, :, n, 5 - i : 12 - i])


def test_encoded_distances_are_the_sinusoids_of_lesson_03_at_distances():
    listed = distances(4, 9)
    encoded = encode_distances(listed, 10)
    table = sinusoidal_positions(10, 10, layout="halves", dtype=torch.float64)
    for distance, row in zip(listed.tolist(), encoded, strict=True):
        expected = table[abs(distance)].clone()
        expected[:5] *= math.copysign(1, distance)  # a sine changes its sign, a cosine does not
        torch.testing.assert_close(row.double(), expected, rtol=0, atol=1e-6)


def test_distances_are_clamped_both_ways():
    assert distances(4, 5, clamp_len=2).tolist() == [2, 2, 2, 2, 1, 0, -1, -2, -2]
    assert distances(4, 5, clamp_len=2, direction="uni").tolist() == [2, 2, 2, 2, 1, 0]


# --- attention -------------------------------------------------------------------------------------------------


def scores_by_hand(attention, stream, content, mem, segments, b, h, i, j):
    """The three terms for one pair, by the equation of the papers."""
    everything = torch.cat([mem, content], dim=1)
    d_head = attention.u.size(1)
    piece = slice(h * d_head, (h + 1) * d_head)
    q = (attention.w_q.weight @ stream[b, i])[piece]
    k = (attention.w_k.weight @ everything[b, j])[piece]
    distance = mem.size(1) + i - j
    r = (attention.w_r.weight @ encode_distances(torch.tensor([distance]), 24)[0].double())[piece]
    e = attention.seg_embed[int(segments[b, mem.size(1) + i] != segments[b, j]), h]
    ac, bd, ef = (
        (q + attention.u[h]) @ k,
        (q + attention.v_bias[h]) @ r,
        (q + attention.s_bias[h]) @ e,
    )
    return (ac + bd + ef) / math.sqrt(d_head)


def test_scores_are_those_of_the_equation():
    attention = randomised(RelativeAttention(d_model=24, n_heads=4))
    content, mem = torch.randn(2, 5, 24).double(), torch.randn(2, 3, 24).double()
    segments = torch.tensor([[0, 0, 0, 1, 1, 0, 2, 2], [0, 0, 0, 0, 0, 1, 1, 1]])
    one_hot = torch.nn.functional.one_hot(segments).bool()
    encoded = encode_distances(distances(5, 8), 24).double()[None]
    context = attention.look_at(content, mem, encoded, one_hot)
    _, weights = attention.with_weights(content, context, ask(None, segments=one_hot[:, 3:]))
    for b, h, i in ((0, 0, 0), (1, 3, 4), (0, 2, 2)):
        scores = torch.stack(
            [scores_by_hand(attention, content, content, mem, segments, b, h, i, j) for j in range(8)]
        )
        torch.testing.assert_close(weights[b, h, i], scores.softmax(0))


@pytest.mark.parametrize("direction", ["bi", "uni"])
@pytest.mark.parametrize("n_tokens, n_memory", [(1, 0), (5, 3), (64, 0), (65, 2), (150, 31)])
def test_the_fast_form_equals_the_definition_form(direction, n_tokens, n_memory):
    attention = randomised(RelativeAttention(d_model=24, n_heads=4))
    n_keys = n_tokens + n_memory
    content = torch.randn(2, n_tokens, 24, dtype=torch.float64, requires_grad=True)
    mem = torch.randn(2, n_memory, 24).double()
    one_hot = torch.nn.functional.one_hot(torch.randint(3, (2, n_keys)), 3).bool()
    encoded = encode_distances(distances(n_tokens, n_keys, direction=direction), 24).double()[None]
    mask = torch.rand(2, 1, n_tokens, n_keys) < 0.6
    mask[0, 0, 0] = False  # sees nothing
    if direction == "uni":
        mask = mask & (relative_distances(n_tokens, n_keys) >= 0)
    places = torch.randint(n_tokens, (2, 4))
    at_places = ask(
        mask[torch.arange(2)[:, None], :, places].transpose(1, 2),
        segments=one_hot[:, n_memory:].gather(1, places[..., None].expand(-1, -1, 3)),
        places=places,
    )
    for asking, stream in (
        (ask(mask, segments=one_hot[:, n_memory:]), content),
        (at_places, content[:, :1].expand(-1, 4, -1)),
    ):
        context = attention.look_at(content, mem, encoded, one_hot)
        fast = attention(stream, context, asking)
        slow, weights = attention.with_weights(stream, context, asking)
        torch.testing.assert_close(fast, slow)
        assert (weights.sum(-1).sub(1).abs() < 1e-9).logical_or(weights.sum(-1) == 0).all()
        mix = torch.randn_like(fast)
        leaves = [content, *attention.parameters()]
        one = torch.autograd.grad((fast * mix).sum(), leaves, retain_graph=True)
        other = torch.autograd.grad((slow * mix).sum(), leaves)
        for gradient, wanted in zip(one, other, strict=True):
            torch.testing.assert_close(gradient, wanted)


def test_one_mask_row_serves_all_queries():
    attention = randomised(RelativeAttention(d_model=24, n_heads=4, segments=False))
    content = torch.randn(2, 70, 24).double()
    real = (torch.arange(70) < torch.tensor([[70], [33]]))[:, None, None]  # (B, 1, 1, Tk)
    context = attention.look_at(content, None, encode_distances(distances(70, 70), 24).double()[None])
    one = attention(content, context, ask(real))
    torch.testing.assert_close(one, attention(content, context, ask(real.expand(-1, -1, 70, -1))))
    torch.testing.assert_close(one, attention.with_weights(content, context, ask(real))[0])


def test_a_query_that_may_see_nothing_gathers_zeros_and_gradients_stay_finite():
    attention = randomised(RelativeAttention(d_model=24, n_heads=4, segments=False))
    content = torch.randn(1, 5, 24).double()
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    mask[..., 2, :] = False
    context = attention.look_at(content, None, encode_distances(distances(5, 5), 24).double()[None])
    found = attention(content, context, ask(mask))
    assert (found[0, 2] == 0).all() and (found[0, [0, 1, 3, 4]] != 0).all()
    found.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in attention.parameters())


# --- memory ----------------------------------------------------------------------------------------------------


@given(
    n_memory=st.integers(0, 5),
    n_tokens=st.integers(1, 5),
    mem_len=st.none() | st.integers(0, 12),
    reuse_len=st.none() | st.integers(1, 7),
)
def test_the_last_places_of_memory_and_reused_tokens_are_remembered(n_memory, n_tokens, mem_len, reuse_len):
    numbers = torch.arange(n_memory + n_tokens).float()[None, :, None]
    mem = None if n_memory == 0 else numbers[:, :n_memory]
    kept = remember(mem, numbers[:, n_memory:], mem_len=mem_len, reuse_len=reuse_len).flatten().tolist()
    wanted = list(range(n_memory + min(n_tokens, reuse_len or n_tokens)))
    assert kept == (wanted if mem_len is None else wanted[max(0, len(wanted) - mem_len) :])


def test_memory_has_no_gradient_and_the_first_layers_memory_is_the_embedding():
    model = randomised(XLNet(SMALL))
    tokens = draw(2, 6)
    _, mems = model(tokens)
    assert [mem.shape for mem in mems] == [(2, 6, 24)] * L
    assert not any(mem.requires_grad for mem in mems)
    assert torch.equal(mems[0], model.embedding(tokens))


@pytest.mark.parametrize("clamp_len", [None, 3])
@pytest.mark.parametrize("lengths", [(5, 4), (1, 8), (3, 3, 3), (8, 1), (60, 10, 1)])
def test_a_causal_model_reads_in_segments_what_it_reads_at_once(clamp_len, lengths):
    n_tokens = sum(lengths)
    tokens = draw(2, n_tokens)
    transformer_xl = randomised(TransformerXL(replace(SMALL_XL, clamp_len=clamp_len)))
    xlnet_uni = randomised(XLNetLM(replace(SMALL, direction="uni", clamp_len=clamp_len)))
    for model in (transformer_xl, xlnet_uni):
        whole, whole_mems = model(tokens)
        mems, parts = None, []
        for segment in tokens.split(lengths, dim=1):
            logits, mems = model(segment, mems=mems)
            parts.append(logits)
        torch.testing.assert_close(torch.cat(parts, dim=1), whole)
        for one, other in zip(mems, whole_mems, strict=True):
            torch.testing.assert_close(one, other)


def test_each_layer_reaches_one_memory_further_back():
    model = randomised(TransformerXL(replace(SMALL_XL, mem_len=4)))
    tokens = draw(1, 24)

    def last_logits(text):
        mems = None
        for segment in text.split(4, dim=1):
            logits, mems = model(segment, mems)
        return logits[0, 0]  # of place 20, the first of its segment

    for place in range(20):
        changed = tokens.clone()
        changed[0, place] = (changed[0, place] + 1) % V
        is_felt = not torch.equal(last_logits(changed), last_logits(tokens))
        assert is_felt == (20 - place <= L * 4), f"place {place}"


def test_without_memory_nothing_is_remembered():
    model = randomised(TransformerXL(replace(SMALL_XL, mem_len=0)))
    first, second = draw(2, 5), draw(2, 4)
    _, mems = model(first)
    assert [mem.shape for mem in mems] == [(2, 0, 24)] * L
    torch.testing.assert_close(model(second, mems)[0], model(second)[0])


def test_transformer_xl_is_xlnet_in_one_causal_stream_without_segments():
    of_xl = randomised(TransformerXL(SMALL_XL))
    of_xlnet = randomised(XLNetLM(replace(SMALL, direction="uni", activation="relu", eps=1e-5)))
    weights = {"xlnet." + name: weight for name, weight in of_xl.state_dict().items()}
    weights["output_bias"] = weights.pop("xlnet.output_bias")
    missing, unexpected = of_xlnet.load_state_dict(weights, strict=False)
    assert not unexpected
    assert {name.split(".")[-1] for name in missing} == {"query_start", "s_bias", "seg_embed"}
    mems = other_mems = None
    for n_tokens in (4, 6):
        tokens = draw(2, n_tokens)
        one, mems = of_xl(tokens, mems)
        other, other_mems = of_xlnet(tokens, mems=other_mems)
        torch.testing.assert_close(one, other)


def test_same_length_shows_every_token_the_memorys_length_of_past():
    model = randomised(TransformerXL(replace(SMALL_XL, n_layers=1, same_length=True, mem_len=3)))
    before, tokens = draw(1, 3), draw(1, 5)
    _, mems = model(before)
    text = torch.cat([before, tokens], dim=1)
    for changed_place in range(8):
        changed = text.clone()
        changed[0, changed_place] = (changed[0, changed_place] + 1) % V
        _, changed_mems = model(changed[:, :3])
        differs = (model(changed[:, 3:], changed_mems)[0] != model(tokens, mems)[0]).any(-1)[0]
        felt = [0 <= 3 + i - changed_place <= 3 for i in range(5)]
        assert differs.tolist() == felt


# --- two streams -----------------------------------------------------------------------------------------------


@given(n_tokens=st.integers(2, 7), seed=st.integers(0, 999))
def test_no_prediction_feels_its_own_token_or_a_later_one(n_tokens, seed):
    torch.manual_seed(seed)
    model = randomised(XLNetLM(SMALL))
    embedded = []
    model.xlnet.embedding.register_forward_hook(lambda *given: embedded.append(given[2].requires_grad_()))
    order = torch.randperm(n_tokens)
    content, query = permutation_masks(order)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    logits, _ = model(draw(1, n_tokens), mask=content, query_mask=query)
    for rank, place in enumerate(order.tolist()):
        (gradient,) = torch.autograd.grad(
            logits[0, place, 3], embedded[0], retain_graph=True, allow_unused=True
        )
        felt = torch.zeros(n_tokens) if gradient is None else gradient[0].abs().sum(-1)
        before = order[:rank]
        assert (felt[order[rank:]] == 0).all()  # exactly, not nearly
        assert (felt[before] > 0).all()


def test_a_prediction_knows_its_place():
    model = randomised(XLNetLM(SMALL))
    tokens, content = draw(1, 6), torch.ones(6, 6, dtype=torch.bool)
    sees_three = torch.zeros(1, 1, 2, 6, dtype=torch.bool)
    sees_three[..., :3] = True
    logits, _ = model(tokens, mask=content.tril(), query_mask=sees_three, targets=torch.tensor([[3, 5]]))
    assert (logits[0, 0] - logits[0, 1]).abs().max() > 1e-3


def test_the_query_stream_at_targets_is_that_of_every_place_there():
    model = randomised(XLNetLM(SMALL))
    tokens, segments = draw(2, 7), torch.randint(2, (2, 7))
    _, mems = model(draw(2, 4))
    content, query = permutation_masks(torch.stack([torch.randperm(7) for _ in range(2)]))
    everywhere, _ = model(tokens, mask=content, query_mask=query, segments=segments, mems=mems)
    targets = torch.tensor([[6, 0, 3], [2, 5, 5]])
    rows = query.gather(2, targets[:, None, :, None].expand(-1, -1, -1, 7))
    at_targets, _ = model(
        tokens, mask=content, query_mask=rows, targets=targets, segments=segments, mems=mems
    )
    torch.testing.assert_close(at_targets, everywhere[torch.arange(2)[:, None], targets])


def test_without_a_query_mask_a_target_sees_all_but_itself():
    model = randomised(XLNetLM(SMALL))
    tokens, targets = draw(2, 5), torch.tensor([[1], [4]])
    logits, _ = model(tokens, targets=targets)
    changed = tokens.clone()
    changed[0, 1], changed[1, 4] = (tokens[0, 1] + 1) % V, (tokens[1, 4] + 1) % V
    rows = (~torch.eye(5, dtype=torch.bool))[targets][:, None]
    torch.testing.assert_close(model(tokens, targets=targets, query_mask=rows)[0], logits)
    # In one layer nothing of the token itself arrives; in more, others have seen it.
    one_layer = randomised(XLNetLM(replace(SMALL, n_layers=1)))
    assert torch.equal(one_layer(tokens, targets=targets)[0], one_layer(changed, targets=targets)[0])


def test_the_content_stream_is_the_same_with_and_without_targets_in_its_memory():
    model = randomised(XLNet(SMALL))
    tokens = draw(2, 6)
    content, query = permutation_masks(torch.randperm(6))
    _, alone = model(tokens, mask=content)
    _, beside = model(tokens, mask=content, query_mask=query)
    for one, other in zip(alone, beside, strict=True):
        assert torch.equal(one, other)


def test_padding_changes_nothing_for_real_tokens():
    model = randomised(XLNet(SMALL))
    tokens = draw(2, 8) % (V - 1) + 1
    alone, _ = model(tokens[:, :5])
    tokens[:, 5:] = 0
    beside, _ = model(tokens, mask=padding_mask(tokens, 0))
    torch.testing.assert_close(beside[:, :5], alone)


def test_segments_are_told_apart_by_equality_alone():
    model = randomised(XLNet(SMALL))
    tokens, segments = draw(2, 6), torch.tensor([[0, 0, 1, 1, 2, 2], [1, 1, 1, 0, 0, 0]])
    x, _ = model(tokens, segments=segments)
    renamed, _ = model(tokens, segments=torch.tensor([7, 0, 900])[segments])
    torch.testing.assert_close(x, renamed)
    other, _ = model(tokens, segments=torch.zeros_like(segments))
    assert (x - other).abs().max() > 1e-3


def test_what_permutation_batch_draws_goes_in_as_it_is_and_is_learned():
    torch.manual_seed(0)
    model = XLNetLM(replace(SMALL, n_layers=1))
    words = torch.randint(1, V, (32, 1)).expand(-1, 6).contiguous()  # one word six times

    def loss_of(model, generator):
        batch = permutation_batch(words, pad_id=0, special_ids=(), generator=generator, share=0.4)
        logits, _ = model(
            words, mask=batch.content_mask, query_mask=batch.query_mask, targets=batch.target_positions
        )
        return masked_word_loss(logits, batch.labels)

    history = fit(model, lambda generator: generator, loss_of, steps=120, lr=1e-2, progress=False)
    assert history.losses[0] > 2.5
    assert history.losses[-1] < 0.3


# --- models ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config, base", [(XLNET_BASE, 116_718_336), (XLNET_LARGE, 360_268_800)])
def test_parameters_are_as_many_as_published(config, base):
    with torch.device("meta"):
        model, with_head = XLNet(config), XLNetLM(config)
    assert sum(weight.numel() for weight in model.parameters()) == base
    assert sum(weight.numel() for weight in with_head.parameters()) == base + 32_000


def test_heads_give_the_shapes_they_promise():
    tokens, segments = draw(3, 7), torch.randint(2, (3, 7))
    real = torch.arange(7) >= torch.tensor([0, 3, 2])[:, None]
    logits = XLNetClassifier(SMALL, n_classes=5)(tokens, mask=real[:, None, None], segments=segments)
    assert logits.shape == (3, 5)
    start, end = XLNetForQuestionAnswering(SMALL)(tokens, mask=real[:, None, None], segments=segments)
    assert start.shape == end.shape == (3, 7)


def test_a_text_class_does_not_hang_on_padding_at_the_left():
    model = randomised(XLNetClassifier(SMALL, n_classes=5))
    tokens = draw(2, 8) % (V - 1) + 1
    tokens[:, :3] = 0
    torch.testing.assert_close(model(tokens, mask=padding_mask(tokens, 0)), model(tokens[:, 3:]))


def test_dropout_acts_in_training_only():
    for model in (XLNetLM(replace(SMALL, dropout=0.5)), TransformerXL(replace(SMALL_XL, dropout=0.5))):
        tokens = draw(2, 6)
        assert not torch.equal(model(tokens)[0], model(tokens)[0])
        model.eval()
        assert torch.equal(model(tokens)[0], model(tokens)[0])


def test_every_weight_of_transformer_xl_learns():
    model = TransformerXL(replace(SMALL_XL, mem_len=4))
    _, mems = model(draw(2, 5))
    tokens = draw(2, 7)
    language_model_loss(model(tokens[:, :-1], mems)[0], tokens[:, 1:]).backward()
    assert all(weight.grad is not None and weight.grad.norm() > 0 for weight in model.parameters())


def test_mixed_precision_stays_near_the_full_one():
    model = randomised(XLNetLM(SMALL), torch.float32)
    tokens, segments = draw(2, 9), torch.randint(2, (2, 9))
    content, query = permutation_masks(torch.randperm(9))
    full, _ = model(tokens, mask=content, query_mask=query, segments=segments)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, mems = model(tokens, mask=content, query_mask=query, segments=segments)
        model(tokens, mask=content, query_mask=query, segments=segments, mems=mems)
    assert (full - mixed).abs().max() < 0.1 * full.abs().max()


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"vocab_size": 0}, "vocab_size = 0"),
        ({"d_model": 22}, "d_model = 22, n_heads = 4"),
        ({"d_model": 9, "n_heads": 3}, "even.* 9"),
        ({"n_layers": 0}, "n_layers = 0"),
        ({"d_ff": -1}, "d_ff = -1"),
        ({"dropout": 1.0}, "1.0"),
        ({"dropout": math.nan}, "nan"),
        ({"eps": 0.0}, "0.0"),
        ({"activation": "tanh"}, "tanh"),
        ({"mem_len": -1}, "-1"),
        ({"mem_len": 2.5}, "2.5"),
        ({"clamp_len": 0}, "clamp_len = 0"),
    ],
)
def test_a_config_names_what_is_wrong(change, message):
    for config in (SMALL, SMALL_XL):
        with pytest.raises(ValueError, match=message):
            replace(config, **change)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"direction": "left"}, "left"),
        ({"reuse_len": 0}, "reuse_len = 0"),
        ({"same_length": True}, "same_length"),
    ],
)
def test_xlnets_config_names_what_is_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


TOKENS = torch.zeros(2, 5, dtype=torch.long)
MEM = torch.zeros(2, 3, 24)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"tokens": TOKENS[0]}, r"\(5,\)"),
        ({"tokens": TOKENS[:, :0]}, r"\(2, 0\)"),
        ({"tokens": TOKENS[:0]}, r"\(0, 5\)"),
        ({"tokens": TOKENS.float()}, "float32"),
        ({"tokens": TOKENS + V}, "19"),
        ({"tokens": TOKENS - 1}, "-1"),
        ({"tokens": [[1, 2]]}, "list"),
        ({"mask": torch.ones(5, 5)}, "mask must be boolean.*float32"),
        ({"mask": torch.ones(2, 5, 5, dtype=torch.bool)}, r"mask .*\(2, 5, 5\)"),
        ({"mask": torch.ones(5, 4, dtype=torch.bool)}, r"mask .*\(5, 4\)"),
        ({"query_mask": torch.ones(3, 5, dtype=torch.bool)}, r"query_mask .*\(3, 5\)"),
        ({"query_mask": [True]}, "query_mask .*list"),
        ({"targets": torch.tensor([1, 2])}, r"targets .*\(2,\)"),
        ({"targets": torch.tensor([[1, 2]])}, r"targets .*\(1, 2\)"),
        ({"targets": torch.tensor([[1], [5]])}, "targets .*between 0 and 4, got 5"),
        ({"targets": torch.tensor([[1], [-1]])}, "targets .*got -1"),
        ({"targets": torch.zeros(2, 1)}, "targets .*float32"),
        ({"targets": TOKENS[:, :0]}, "targets .*empty"),
        ({"segments": TOKENS[:, :4]}, r"segments .*\(2, 4\)"),
        ({"segments": TOKENS - 3}, "segments .*-3"),
        ({"segments": TOKENS.bool()}, "segments .*bool"),
        ({"mems": MEM}, "mems .*Tensor"),
        ({"mems": [MEM] * 2}, "mems .*2 of them"),
        ({"mems": [MEM[:1]] * L}, r"mems .*\(1, 3, 24\)"),
        ({"mems": [MEM[..., :8]] * L}, r"mems .*\(2, 3, 8\)"),
        ({"mems": [MEM, MEM, MEM[:, :2]]}, r"mems .*\(2, 2, 24\)"),
        ({"mems": [MEM.long()] * L}, "mems .*int64"),
        ({"mems": [None] * L}, "mems .*NoneType"),
        ({"mems": [MEM[0, 0]] * L}, r"mems .*\(24,\)"),
    ],
)
def test_xlnet_names_what_is_wrong(given, message):
    with pytest.raises(ValueError, match=message):
        XLNetLM(SMALL)(**{"tokens": TOKENS} | given)
    if not given.keys() - {"tokens", "mems"}:
        with pytest.raises(ValueError, match=message):
            TransformerXL(SMALL_XL)(**{"tokens": TOKENS} | given)


def test_reading_backwards_needs_an_even_batch():
    with pytest.raises(ValueError, match="B = 3"):
        XLNet(replace(SMALL, bi_data=True))(draw(3, 4))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: distances(5, 4), "T = 5, Tk = 4"),
        (lambda: distances(0, 4), "n_tokens = 0"),
        (lambda: distances(2, 4, direction="both"), "both"),
        (lambda: distances(2, 4, clamp_len=0), "clamp_len = 0"),
        (lambda: encode_distances(torch.arange(3), 7), "7"),
        (lambda: encode_distances(torch.ones(3, 2), 8), r"\(3, 2\)"),
        (lambda: encode_distances([1, 2], 8), "list"),
        (lambda: shift(torch.ones(1, 1, 3, 4), 4), r"\(1, 1, 3, 4\), Tk = 4"),
        (lambda: shift(torch.ones(3, 4), 2), r"\(3, 4\)"),
        (lambda: gather(torch.ones(1, 1, 2, 9), torch.tensor([[0, 5]]), 5, 4), "got 5"),
        (lambda: gather(torch.ones(1, 1, 2, 9), torch.tensor([[0, 1, 2]]), 5, 4), r"\(1, 3\)"),
        (lambda: RelativeAttention(d_model=8, n_heads=3), "d_model = 8, n_heads = 3"),
        (lambda: RelativeAttention(d_model=8, n_heads=2, dropout=-0.1), "-0.1"),
        (lambda: XLNetClassifier(SMALL, n_classes=0), "n_classes = 0"),
        (lambda: xlnet_state_dict({"transformer.layer.0.rel_attn.x": torch.ones(1)}), "rel_attn.x"),
        (
            lambda: xlnet_state_dict(
                {"transformer.word_embedding.weight": torch.ones(2, 2), "lm_loss.weight": torch.zeros(2, 2)}
            ),
            "lm_loss.weight",
        ),
    ],
)
def test_functions_name_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_blocks_are_smaller_than_the_sequences_tested_here():
    assert xlnet.BLOCK < 150
