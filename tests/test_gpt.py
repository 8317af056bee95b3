"""GPT: it sees no future, writes on from a cache as it would without one, and is as large as published."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.gpt import GPT, GPT2_LARGE, GPT2_MEDIUM, GPT2_SMALL, GPT2_XL, GPTConfig, pad_left
from course_lib.layers import LayerNorm
from course_lib.training import fit

VOCAB, MAX_LEN = 13, 10


def small(**changes) -> GPT:
    """A GPT in double precision whose every weight is far from where it starts."""
    sizes = {
        "vocab_size": VOCAB,
        "max_len": MAX_LEN,
        "d_model": 12,
        "n_heads": 3,
        "n_layers": 2,
        "dropout": 0.0,
    }
    model = GPT(GPTConfig(**sizes | changes)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(VOCAB, shape)


# --- what a token may see ----------------------------------------------------------------------------------


@given(length=st.integers(2, MAX_LEN), data=st.data())
def test_changing_a_later_token_changes_no_earlier_logits_at_all(length, data):
    model, tokens = small(), ids(2, length)
    place = data.draw(st.integers(1, length - 1))
    changed = tokens.clone()
    changed[:, place] = (changed[:, place] + 1) % VOCAB
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :place], after[:, :place])
    assert (before[:, place:] - after[:, place:]).abs().amax(-1).min() > 1e-6  # and every later one


def test_an_earlier_loss_sends_no_gradient_to_a_later_position():
    model = small()
    model(ids(2, 6))[:, :4].sum().backward()
    by_position = model.positions.table.grad.abs().sum(-1)
    assert (by_position[:4] > 0).all()
    assert (by_position[4:] == 0).all()


def test_padding_at_the_right_changes_nothing_on_its_left():
    model, tokens = small(), ids(2, 5)
    padded = torch.cat([tokens, torch.zeros(2, 3, dtype=torch.long)], dim=1)
    torch.testing.assert_close(model(padded)[:, :5], model(tokens))


def test_a_mask_hides_more_than_the_future_and_the_future_stays_hidden():
    model, tokens = small(), ids(2, 6)
    mask = torch.ones(2, 1, 1, 6, dtype=torch.bool)
    torch.testing.assert_close(model(tokens, mask), model(tokens))
    mask[:, :, :, 2] = False
    changed = tokens.clone()
    changed[:, 2] = (changed[:, 2] + 1) % VOCAB
    others = [0, 1, 3, 4, 5]
    torch.testing.assert_close(model(changed, mask)[:, others], model(tokens, mask)[:, others])
    assert not torch.allclose(model(changed)[:, 3:], model(tokens)[:, 3:])


def test_nothing_that_training_keeps_grows_with_the_square_of_the_length():
    model = small(max_len=512).float().train()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        model(ids(1, 512))
    assert kept and max(kept) < 512 * 512


# --- writing on --------------------------------------------------------------------------------------------


@given(cuts=st.lists(st.integers(1, MAX_LEN - 1), unique=True, max_size=4))
def test_reading_in_any_pieces_gives_the_logits_of_reading_at_once(cuts):
    model, tokens = small(), ids(3, MAX_LEN)
    whole, cache = model(tokens), model.start()
    ends = [*sorted(cuts), MAX_LEN]
    for begin, end in zip([0, *ends], ends):
        logits, cache = model.step(tokens[:, begin:end], cache)
        torch.testing.assert_close(logits, whole[:, end - 1])
    assert cache.length == MAX_LEN


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), pad_id=st.integers(0, VOCAB - 1))
def test_each_of_several_ragged_prompts_goes_on_as_it_would_alone(lengths, pad_id):
    model = small()
    prompts = [ids(length).tolist() for length in lengths]
    later = ids(len(prompts), MAX_LEN - max(lengths))
    tokens, padding = pad_left(prompts, pad_id)
    logits, cache = model.step(tokens, model.start(padding))
    for place in range(later.size(1) + 1):
        for row, prompt in enumerate(prompts):
            alone = torch.tensor([prompt + later[row, :place].tolist()])
            torch.testing.assert_close(logits[row], model(alone)[0, -1])
        if place < later.size(1):
            logits, cache = model.step(later[:, place : place + 1], cache)


def test_ragged_prompts_may_be_read_in_pieces():
    model = small()
    tokens, padding = pad_left([[1, 2, 3, 4, 5], [6, 7, 8]])
    once, _ = model.step(tokens, model.start(padding))
    _, cache = model.step(tokens[:, :3], model.start(padding))
    _, cache = model.step(tokens[:, 3:4], cache)
    pieces, _ = model.step(tokens[:, 4:], cache)
    torch.testing.assert_close(pieces, once)


def test_padding_takes_none_of_the_room():
    model = small()
    long, short = ids(MAX_LEN - 1).tolist(), ids(2).tolist()
    tokens, padding = pad_left([long, short])
    _, cache = model.step(torch.cat([ids(2, 3), tokens], dim=1), model.start(padding + 3))
    model.step(ids(2, 1), cache)
    with pytest.raises(ValueError, match="room for 0 tokens"):
        model.step(ids(2, 1), cache)


def test_rows_follow_their_parents_when_the_cache_is_reordered():
    model, rows = small(), torch.tensor([1, 1, 0, 2, 1])
    prompts = [[1, 2, 3, 4], [5, 6], [7]]
    tokens, padding = pad_left(prompts)
    _, cache = model.step(tokens, model.start(padding))
    cache.reorder(rows)
    new = ids(5, 1)
    logits, _ = model.step(new, cache)
    for number, parent in enumerate(rows.tolist()):
        alone = torch.tensor([prompts[parent] + new[number].tolist()])
        torch.testing.assert_close(logits[number], model(alone)[0, -1])


def test_a_cache_that_has_read_nothing_may_be_reordered_too():
    model, padding = small(), torch.tensor([0, 2])
    cache = model.start(padding)
    cache.reorder(torch.tensor([1, 0, 1]))
    assert cache.padding.tolist() == [2, 0, 2]
    model.step(ids(3, 3), cache)


def test_a_refused_step_leaves_the_cache_as_it_was():
    model, tokens = small(), ids(2, 4)
    _, cache = model.step(tokens[:, :3], model.start())
    for wrong in (ids(3, 1), ids(2, 1) + VOCAB, ids(2, MAX_LEN)):
        with pytest.raises(ValueError):
            model.step(wrong, cache)
    torch.testing.assert_close(model.step(tokens[:, 3:], cache)[0], model(tokens)[:, -1])


def test_prompts_are_padded_at_the_left():
    tokens, padding = pad_left([[1, 2, 3], [4]], pad_id=9)
    assert tokens.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert padding.tolist() == [0, 2]


# --- sizes and beginnings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (GPT2_SMALL, 124_439_808),
        (GPT2_MEDIUM, 354_823_168),
        (GPT2_LARGE, 774_030_080),
        (GPT2_XL, 1_557_611_200),
    ],
)
def test_it_has_as_many_parameters_as_the_published_one(config, count):
    with torch.device("meta"):
        model = GPT(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_one_table_embeds_the_words_and_scores_them():
    model = small()
    of_vocabulary = [name for name, p in model.named_parameters() if VOCAB in p.shape]
    assert of_vocabulary == ["embedding.weight"]
    assert [name for name in model.state_dict() if "unembed" in name] == []
    x = torch.randn(2, 12, dtype=torch.float64)
    torch.testing.assert_close(model.unembed(x), x @ model.embedding.weight.T)
    model(torch.full((1, 3), 5)).sum().backward()
    assert (model.embedding.weight.grad.abs().sum(-1) > 0).all()  # also the rows that no input held


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_the_last_map_of_each_sublayer_starts_smaller_by_the_root_of_their_number(std):
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=500, max_len=64, d_model=128, n_heads=4, n_layers=8, init_std=std))
    for block in model.stack.blocks:
        for weight in (block.attention.w_o.weight, block.feed_forward.contract.weight):
            assert weight.std().item() == pytest.approx(std / 4, rel=0.05)  # √(2 · 8) = 4
        for weight in (
            block.attention.w_q.weight,
            block.attention.w_v.weight,
            block.feed_forward.expand.weight,
        ):
            assert weight.std().item() == pytest.approx(std, rel=0.05)
        assert (block.attention.w_o.bias == 0).all() and (block.feed_forward.expand.bias == 0).all()
    assert model.embedding.weight.std().item() == pytest.approx(std, rel=0.05)
    assert model.positions.table.std().item() == pytest.approx(std, rel=0.05)


def test_an_untrained_model_is_about_as_unsure_as_can_be():
    model = GPT(GPTConfig(vocab_size=50, max_len=16, d_model=64, n_heads=4, n_layers=4))
    logits, labels = model(torch.randint(50, (64, 16))), torch.randint(50, (64, 16))
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    assert loss.item() == pytest.approx(math.log(50), abs=0.05)


def test_the_width_of_the_hidden_layer_is_four_times_the_models_unless_given():
    assert small().stack.blocks[0].feed_forward.expand.out_features == 48
    assert small(d_ff=7).stack.blocks[0].feed_forward.expand.out_features == 7


def test_dropout_acts_in_training_only():
    model, tokens = small(dropout=0.3), ids(2, 5)
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.allclose(model(tokens), model(tokens))


@pytest.mark.parametrize("changes", [{"activation": "relu"}, {"activation": "gelu"}, {"eps": 0.5}])
def test_every_choice_of_the_config_changes_what_is_computed(changes):
    plain, chosen, tokens = small(), small(**changes), ids(2, 6)
    chosen.load_state_dict(plain.state_dict())
    assert not torch.allclose(chosen(tokens), plain(tokens), rtol=1e-6)
    assert {part.eps for part in chosen.modules() if isinstance(part, LayerNorm)} == {chosen.config.eps}


def test_dropout_falls_on_the_sum_of_embedding_and_position_too():
    model, seen = small(d_model=96, dropout=0.5).train(), []
    model.stack.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model(ids(8, 8))
    model.step(ids(8, 8), model.start())
    for x in seen:
        assert (x == 0).double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert len(seen) == 2


def test_it_learns_a_short_text_by_heart():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=VOCAB, max_len=16, d_model=32, n_heads=4, n_layers=2, dropout=0.0))
    text = torch.tensor([[1, 2, 3, 1, 4, 5, 1, 6, 7, 1, 8, 9, 1, 10, 11, 12]])

    def loss_of(model: GPT, batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(batch[:, :-1]).transpose(1, 2), batch[:, 1:])

    history = fit(model, lambda _: text, loss_of, steps=120, lr=1e-2, progress=False)
    assert history.losses[-1] < 0.05
    logits, cache = model.step(text[:, :1], model.start())
    written = [1]
    for _ in range(15):
        written.append(int(logits.argmax()))
        if len(written) < 16:
            logits, cache = model.step(torch.tensor([written[-1:]]), cache)
    assert written == text[0].tolist()


# --- what it refuses ---------------------------------------------------------------------------------------


@given(
    name=st.sampled_from(["vocab_size", "max_len", "d_model", "n_heads", "n_layers", "d_ff"]),
    size=st.one_of(st.integers(max_value=0), st.floats(), st.just("3")),
)
def test_a_size_that_is_no_whole_number_above_0_is_named(name, size):
    with pytest.raises(ValueError, match=f"GPTConfig.*{name} = "):
        GPTConfig(**{"vocab_size": VOCAB, name: size})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"d_model": 10, "n_heads": 3}, "d_model = 10, n_heads = 3"),
        ({"dropout": 1.0}, "1.0"),
        ({"dropout": -0.1}, "-0.1"),
        ({"dropout": float("nan")}, "nan"),
        ({"dropout": "much"}, "much"),
        ({"activation": "tanh"}, "tanh"),
        ({"eps": 0.0}, "0.0"),
        ({"eps": None}, "None"),
        ({"init_std": 0.0}, "init_std .* got 0.0"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_with_its_value(changes, named):
    with pytest.raises(ValueError, match=f"GPTConfig.*{named}"):
        GPTConfig(vocab_size=VOCAB, **changes)


@settings(max_examples=30)
@given(wrong=st.one_of(st.integers(-(2**40), -1), st.integers(VOCAB, 2**40)), place=st.integers(0, 5))
def test_an_id_outside_the_vocabulary_is_named(wrong, place):
    model, tokens = small(), ids(2, 6)
    tokens[1, place] = wrong
    for call in (model, lambda given: model.step(given, model.start())):
        with pytest.raises(ValueError, match=f"GPT.* between 0 and {VOCAB - 1}, got {wrong}"):
            call(tokens)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda model: model(ids(2, MAX_LEN + 1)), "room for 10 tokens, got T = 11"),
        (lambda model: model(ids(6)), r"\(6,\)"),
        (lambda model: model(ids(2, 0)), r"\(2, 0\)"),
        (lambda model: model(ids(0, 2)), r"\(0, 2\)"),
        (lambda model: model(torch.rand(2, 3)), "float32"),
        (lambda model: model([[1, 2]]), "list"),
        (lambda model: model(ids(2, 3), torch.ones(3, 3)), "float32"),
        (lambda model: model(ids(2, 3), torch.ones(4, 3, dtype=torch.bool)), r"\(4, 3\)"),
        (lambda model: model.step(ids(2, 11), model.start()), "room for 10 tokens, got T = 11"),
        (lambda model: model.step(ids(2, 0), model.start()), r"\(2, 0\)"),
        (lambda model: model.step(ids(2, 3), model.start(torch.tensor([0, 1, 0]))), "3 texts, got 2"),
        (lambda model: model.step(ids(2, 3), model.start(torch.tensor([0, 3]))), "3 places with padding 3"),
        (lambda model: model.start(torch.tensor([0, -2])), "-2"),
        (lambda model: model.start(torch.tensor([0.0])), "float32"),
        (lambda model: model.start(torch.tensor([[0]])), r"\(1, 1\)"),
        (lambda model: model.start(3), "got 3"),
        (
            lambda model: model.start(torch.tensor([0])).reorder(torch.tensor([1])),
            r"between 0 and 0, got \[1\]",
        ),
        (lambda model: pad_left([]), "none"),
        (lambda model: pad_left([[1], []]), r"prompt 1 .* got \[\]"),
        (lambda model: pad_left([[1], [0.5]]), r"prompt 1 .* got \[0.5\]"),
        (lambda model: pad_left([[1], "ab"]), "prompt 1 .* got 'ab'"),
        (lambda model: pad_left([[1]], pad_id=0.5), "0.5"),
    ],
)
def test_every_other_bad_argument_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call(small())
