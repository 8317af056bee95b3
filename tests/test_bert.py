"""BERT: both sides and no padding are seen, the words are scored where they are asked for, sizes are as published."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.bert import (
    BERT,
    BERT_BASE,
    BERT_LARGE,
    ROBERTA_BASE,
    BERTClassifier,
    BERTConfig,
    BERTForPretraining,
    BERTForQuestionAnswering,
)
from course_lib.layers import LayerNorm

VOCAB, MAX_LEN = 17, 9
SIZES = {"vocab_size": VOCAB, "max_len": MAX_LEN, "d_model": 12, "n_heads": 3, "n_layers": 2, "dropout": 0.0}


PER_TOKEN = ("vectors", "pretraining", "answering")


def config(**changes) -> BERTConfig:
    return BERTConfig(**SIZES | changes)


def shaken(model):
    """The model in double precision with every weight far from where it starts."""
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


def words(*shape: int) -> torch.Tensor:
    return torch.randint(1, VOCAB, shape)


def models(**changes):
    """BERT and everything that stands on it, each as a function of (tokens, segments) that gives a list."""
    bert, pretraining = shaken(BERT(config(**changes))), shaken(BERTForPretraining(config(**changes)))
    classifier = shaken(BERTClassifier(config(**changes), n_classes=4))
    answering = shaken(BERTForQuestionAnswering(config(**changes)))
    return {
        "vectors": lambda *given: [bert(*given)],
        "pool": lambda *given: [bert.pool(bert(*given))],
        "pretraining": lambda *given: list(pretraining(*given)),
        "classifier": lambda *given: [classifier(*given)],
        "answering": lambda *given: list(answering(*given)),
    }


# --- who is seen -------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(length=st.integers(1, 6), extra=st.integers(1, 3), pad_id=st.integers(0, 3))
def test_padding_changes_nothing_anywhere(length, extra, pad_id):
    tokens, segments = torch.randint(4, VOCAB, (2, length)), torch.randint(2, (2, length))
    padded = torch.cat([tokens, torch.full((2, extra), pad_id)], dim=1)
    padded_segments = torch.cat([segments, torch.ones(2, extra, dtype=torch.long)], dim=1)
    for name, model in models(pad_id=pad_id).items():
        for plain, wide in zip(model(tokens, segments), model(padded, padded_segments), strict=True):
            if name in PER_TOKEN and plain.shape != wide.shape:  # all but the logits of the next sentence
                wide = wide[:, :length]
            torch.testing.assert_close(wide, plain)


def test_every_token_sees_every_other_before_and_after_it():
    model, tokens = shaken(BERT(config())), words(1, 6)
    before = model(tokens)
    for place in range(6):
        changed = tokens.clone()
        changed[0, place] = changed[0, place] % (VOCAB - 1) + 1
        assert ((model(changed) - before).abs().amax(-1) > 1e-6).all()


def test_the_order_of_the_words_counts_through_the_positions_alone():
    model, tokens, order = shaken(BERT(config())), words(2, 6), torch.tensor([3, 1, 5, 0, 4, 2])
    assert not torch.allclose(model(tokens[:, order]), model(tokens)[:, order])
    with torch.no_grad():
        model.positions.table.fill_(0.5)
    torch.testing.assert_close(model(tokens[:, order]), model(tokens)[:, order])


def test_no_segments_means_the_first_segment_everywhere():
    tokens = words(2, 5)
    for model in models().values():
        for one, other in zip(model(tokens), model(tokens, torch.zeros_like(tokens)), strict=True):
            torch.testing.assert_close(one, other)
        assert not torch.allclose(model(tokens)[0], model(tokens, torch.ones_like(tokens))[0])


def test_a_row_of_padding_alone_gives_numbers():
    tokens = words(2, 4)
    tokens[1] = 0
    assert all(output.isfinite().all() for model in models().values() for output in model(tokens))


def test_robertas_first_token_takes_the_first_row_that_is_not_reserved():
    plain, moved = shaken(BERT(config())), shaken(BERT(config(first_position=2, max_len=MAX_LEN - 2)))
    assert moved.positions.table.shape == plain.positions.table.shape
    moved.load_state_dict(plain.state_dict())
    with torch.no_grad():
        plain.positions.table.copy_(plain.positions.table.roll(-2, 0))
    tokens = words(2, MAX_LEN - 2)
    torch.testing.assert_close(moved(tokens), plain(tokens))
    with pytest.raises(ValueError, match="room for 7 tokens, got T = 8"):
        moved(words(2, 8))


# --- heads -------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(data=st.data())
def test_words_scored_at_the_targets_are_those_scored_everywhere(data):
    model, tokens = shaken(BERTForPretraining(config())), words(2, 4)
    chosen = data.draw(st.lists(st.booleans(), min_size=8, max_size=8))
    is_target = torch.tensor(chosen).view(2, 4)
    everywhere, follows = model(tokens)
    at_targets, same = model(tokens, None, is_target)
    assert at_targets.shape == (sum(chosen), VOCAB)
    torch.testing.assert_close(at_targets, everywhere[is_target])
    torch.testing.assert_close(same, follows)


def test_scoring_at_the_targets_gives_the_same_gradients():
    model, tokens = shaken(BERTForPretraining(config())), words(2, 6)
    is_target = torch.zeros(2, 6, dtype=torch.bool)
    is_target[0, 1] = is_target[1, 4] = is_target[1, 5] = True
    labels = torch.where(is_target, tokens, -100)
    cross_entropy = torch.nn.functional.cross_entropy
    parameters = [p for name, p in model.named_parameters() if not name.startswith(("next_", "bert.pooler"))]
    everywhere = cross_entropy(model(tokens)[0].flatten(0, 1), labels.flatten())
    at_targets = cross_entropy(model(tokens, None, is_target)[0], labels[is_target])
    torch.testing.assert_close(at_targets, everywhere)
    of_everywhere = torch.autograd.grad(everywhere, parameters)
    for one, other in zip(torch.autograd.grad(at_targets, parameters), of_everywhere, strict=True):
        torch.testing.assert_close(one, other)


def test_the_table_that_embeds_the_words_scores_the_hidden_ones():
    model = shaken(BERTForPretraining(config()))
    of_vocabulary = [name for name, p in model.named_parameters() if VOCAB in p.shape]
    assert of_vocabulary == ["bert.embedding.weight", "masked_language.bias"]
    model(torch.full((1, 3), 5))[0].sum().backward()
    assert (model.bert.embedding.weight.grad.abs().sum(-1) > 0).all()  # also the rows that no input held
    assert (model.masked_language.bias.grad == 3).all()


def test_the_pooler_looks_at_the_first_token_alone_and_stays_between_minus_one_and_one():
    model, x = shaken(BERT(config())), 100 * torch.randn(2, 5, 12, dtype=torch.float64)
    pooled = model.pool(x)
    torch.testing.assert_close(pooled, torch.tanh(x[:, 0] @ model.pooler.weight.T + model.pooler.bias))
    changed = x.clone()
    changed[:, 1:] = 0
    assert torch.equal(model.pool(changed), pooled)
    assert pooled.abs().max() <= 1


def test_start_and_end_of_an_answer_are_two_scores_for_each_token():
    model, tokens = shaken(BERTForQuestionAnswering(config())), words(2, 6)
    start, end = model(tokens)
    x = model.bert(tokens)
    torch.testing.assert_close(start, x @ model.head.weight[0] + model.head.bias[0])
    torch.testing.assert_close(end, x @ model.head.weight[1] + model.head.bias[1])


def test_the_outputs_have_the_shapes_promised():
    tokens = words(2, 6)
    shapes = {name: [tuple(out.shape) for out in model(tokens)] for name, model in models().items()}
    assert shapes == {
        "vectors": [(2, 6, 12)],
        "pool": [(2, 12)],
        "pretraining": [(2, 6, VOCAB), (2, 2)],
        "classifier": [(2, 4)],
        "answering": [(2, 6), (2, 6)],
    }


def test_dropout_acts_in_training_only():
    for model in (BERTForPretraining(config(dropout=0.3)), BERTClassifier(config(dropout=0.3), n_classes=3)):
        tokens = words(2, 5)
        model.eval()
        assert torch.equal(model(tokens)[0], model(tokens)[0])
        model.train()
        assert not torch.allclose(model(tokens)[0], model(tokens)[0])


@pytest.mark.parametrize("changes", [{"activation": "relu"}, {"activation": "gelu_tanh"}, {"eps": 0.5}])
def test_every_choice_of_the_config_changes_what_is_computed(changes):
    plain, chosen, tokens = (
        shaken(BERTForPretraining(config())),
        shaken(BERTForPretraining(config(**changes))),
        words(2, 6),
    )
    chosen.load_state_dict(plain.state_dict())
    x = plain.bert(tokens)
    assert not torch.allclose(chosen.bert(tokens), x, rtol=1e-6)
    table = plain.bert.embedding.weight
    assert not torch.allclose(chosen.masked_language(x, table), plain.masked_language(x, table), rtol=1e-6)
    assert {part.eps for part in chosen.modules() if isinstance(part, LayerNorm)} == {chosen.bert.config.eps}


def test_dropout_falls_on_the_sum_of_embeddings_too():
    model, seen = BERT(config(d_model=96, dropout=0.5)), []
    model.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model(words(8, 8))
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


# --- fine-tuning -------------------------------------------------------------------------------------------


def test_fine_tuning_starts_from_what_pre_training_has_learned():
    learned, tokens = shaken(BERTForPretraining(config())), words(2, 5)
    classifier = shaken(BERTClassifier(config(), n_classes=3))
    answering = shaken(BERTForQuestionAnswering(config()))
    for model in (classifier, answering):
        assert not torch.allclose(model.bert(tokens), learned.bert(tokens))
        model.bert.take_weights(learned.bert)
        assert torch.equal(model.bert(tokens), learned.bert(tokens))
    assert torch.equal(classifier.bert.pool(classifier.bert(tokens)), learned.bert.pool(learned.bert(tokens)))
    with torch.no_grad():
        classifier.bert.embedding.weight.zero_()  # its own copy
    assert learned.bert.embedding.weight.abs().max() > 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"d_model": 15}, "embedding.weight has shape .17, 12. here"), ({"n_layers": 3}, "2 here and 3 there")],
)
def test_weights_of_another_size_are_not_taken(changes, named):
    with pytest.raises(ValueError, match=named):
        BERT(config()).take_weights(BERT(config(**changes)))


# --- sizes and beginnings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (lambda: BERT(BERT_BASE), 109_482_240),
        (lambda: BERT(BERT_BASE, pooler=False), 108_891_648),
        (lambda: BERTForPretraining(BERT_BASE), 110_106_428),
        (lambda: BERTForQuestionAnswering(BERT_BASE), 108_893_186),
        (lambda: BERTClassifier(BERT_BASE, n_classes=2), 109_483_778),
        (lambda: BERT(BERT_LARGE), 335_141_888),
        (lambda: BERT(ROBERTA_BASE), 124_645_632),
    ],
)
def test_it_has_as_many_parameters_as_the_published_one(made, count):
    with torch.device("meta"):
        model = made()
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("std", [0.02, 0.1])
@pytest.mark.parametrize(
    "made",
    [BERTForPretraining, lambda config: BERTClassifier(config, n_classes=100), BERTForQuestionAnswering],
)
def test_every_map_and_table_starts_small_and_every_bias_at_0(made, std):
    torch.manual_seed(0)
    model = made(BERTConfig(vocab_size=300, max_len=40, d_model=120, n_heads=4, n_layers=2, init_std=std))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            assert parameter.std().item() == pytest.approx(std, rel=0.15), name


# --- what it refuses ---------------------------------------------------------------------------------------


@given(
    name=st.sampled_from(["vocab_size", "max_len", "d_model", "n_heads", "n_layers", "d_ff", "n_segments"]),
    size=st.one_of(st.integers(max_value=0), st.floats(), st.just("3")),
)
def test_a_size_that_is_no_whole_number_above_0_is_named(name, size):
    with pytest.raises(ValueError, match=f"BERTConfig.*{name} = "):
        BERTConfig(**{"vocab_size": VOCAB, name: size})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"d_model": 10, "n_heads": 3}, "d_model = 10, n_heads = 3"),
        ({"dropout": 1.0}, "1.0"),
        ({"dropout": None}, "None"),
        ({"activation": "tanh"}, "tanh"),
        ({"eps": -1e-12}, "-1e-12"),
        ({"init_std": 0.0}, "init_std .* got 0.0"),
        ({"pad_id": VOCAB}, "got 17 with size 17"),
        ({"pad_id": -1}, "got -1"),
        ({"first_position": -1}, "got -1"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_with_its_value(changes, named):
    with pytest.raises(ValueError, match=f"BERTConfig.*{named}"):
        BERTConfig(vocab_size=VOCAB, **changes)


@settings(max_examples=30)
@given(wrong=st.one_of(st.integers(-(2**40), -1), st.integers(VOCAB, 2**40)), place=st.integers(0, 5))
def test_an_id_outside_the_vocabulary_is_named(wrong, place):
    tokens = words(2, 6)
    tokens[1, place] = wrong
    for model in models().values():
        with pytest.raises(ValueError, match=f"BERT: tokens .* between 0 and {VOCAB - 1}, got {wrong}"):
            model(tokens)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: BERT(config())(words(2, MAX_LEN + 1)), "room for 9 tokens, got T = 10"),
        (lambda: BERT(config())(words(2, 0)), r"\(2, 0\)"),
        (lambda: BERT(config())(words(0, 2)), r"\(0, 2\)"),
        (lambda: BERT(config())(words(6)), r"\(6,\)"),
        (lambda: BERT(config())(torch.rand(2, 3)), "float32"),
        (lambda: BERT(config())([[1, 2]]), "list"),
        (lambda: BERT(config())(words(2, 3), torch.full((2, 3), 2)), "segments .* between 0 and 1, got 2"),
        (lambda: BERT(config())(words(2, 3), torch.zeros(2, 4).long()), r"\(2, 4\) and \(2, 3\)"),
        (lambda: BERT(config())(words(2, 3), torch.zeros(2, 3)), "segments .*float32"),
        (lambda: BERT(config(), pooler=False).pool(torch.randn(2, 3, 12)), "pooler = False"),
        (lambda: BERT(config()).pool(torch.randn(2, 3, 11)), r"\(B, T, 12\), got shape \(2, 3, 11\)"),
        (lambda: BERT(config()).pool(torch.randn(2, 0, 12)), r"\(2, 0, 12\)"),
        (lambda: BERTForPretraining(config())(words(2, 3), None, torch.ones(2, 3)), "float32"),
        (
            lambda: BERTForPretraining(config())(words(2, 3), None, torch.ones(3, 2, dtype=torch.bool)),
            r"\(3, 2\) and \(2, 3\)",
        ),
        (lambda: BERTForPretraining(config())(words(1, 1), None, [[True]]), "a list"),
        (lambda: BERTClassifier(config(), n_classes=0), "n_classes = 0"),
    ],
)
def test_every_other_bad_argument_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
