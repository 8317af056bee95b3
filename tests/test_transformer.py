"""The Transformer: what enters where, and what is computed once."""

import dataclasses

import pytest
import torch

from course_lib.attention import attention_weights
from course_lib.transformer import Decoder, Encoder, Transformer, TransformerConfig

SMALL = TransformerConfig(
    src_vocab_size=11, tgt_vocab_size=13, d_model=12, n_heads=3, d_ff=20, n_encoder_layers=2, n_decoder_layers=3,
    dropout=0.0, max_len=16,
)  # fmt: skip
SRC = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 0, 0]])  # the second source is padded
TGT = torch.tensor([[1, 4, 5, 6], [1, 7, 8, 0]])


def small(**changed):
    torch.manual_seed(2)
    model = Transformer(dataclasses.replace(SMALL, **changed)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("norm_first", [False, True])
def test_padding_of_the_source_changes_nothing(norm_first):
    model = small(norm_first=norm_first)
    alone = model(SRC[1:, :3], TGT[1:])
    torch.testing.assert_close(model(SRC, TGT)[1:], alone, atol=1e-5, rtol=1e-5)


def test_padding_of_the_target_changes_nothing_before_it():
    model = small()
    torch.testing.assert_close(model(SRC, TGT)[1, :3], model(SRC[1:], TGT[1:, :3])[0], atol=1e-5, rtol=1e-5)


def test_a_later_target_token_changes_no_earlier_logits_and_the_source_changes_all():
    model = small()
    changed = TGT.clone()
    changed[:, 2] = 9
    before, after = model(SRC, TGT), model(SRC, changed)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])
    other = SRC.clone()
    other[:, 0] = 2
    moved = (model(other, TGT) - before).abs().amax(-1)
    assert (moved > 1e-4).all()


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("dtype, limit", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_step_by_step_gives_what_all_at_once_gives(norm_first, dtype, limit):
    model = small(norm_first=norm_first).to(dtype)
    tgt = torch.tensor([[1, 4, 5, 6, 2, 9], [1, 7, 8, 3, 12, 5]])
    whole = model(SRC, tgt)  # (B, Tt, V)
    for pieces in ((1, 1, 1, 1, 1, 1), (3, 1, 2), (6,)):
        cache, end = model.start(SRC), 0
        for part in tgt.split(pieces, dim=1):
            logits, cache = model.step(part, cache)
            end += part.size(1)
            torch.testing.assert_close(logits, whole[:, end - 1], atol=limit, rtol=limit)


def test_the_encoder_runs_once_however_many_steps_follow():
    model = small()
    calls = []
    model.encoder.register_forward_hook(lambda *_: calls.append("encoder"))
    for block in model.decoder.blocks:
        block.cross_attention.w_k.register_forward_hook(lambda *_: calls.append("key"))
    cache = model.start(SRC)
    for token in (1, 5, 6, 7):
        _, cache = model.step(torch.full((2, 1), token), cache)
    assert calls == ["encoder"] + ["key"] * 3


def test_a_reordered_cache_goes_on_as_the_row_it_was_taken_from():
    model = small()
    cache = model.start(SRC)
    _, cache = model.step(torch.tensor([[1, 4], [1, 7]]), cache)
    cache.reorder(torch.tensor([1, 1, 0]))  # also to another number of rows
    logits, cache = model.step(torch.tensor([[8], [9], [5]]), cache)
    cache.reorder(torch.tensor([1, 0, 2]))  # rows 0 and 1 go on with the same source
    then, _ = model.step(torch.tensor([[2], [3], [4]]), cache)
    rows = [(1, [1, 7, 8], [1, 7, 9, 2]), (1, [1, 7, 9], [1, 7, 8, 3]), (0, [1, 4, 5], [1, 4, 5, 4])]
    for place, (source, first, second) in enumerate(rows):
        src = SRC[source : source + 1]
        torch.testing.assert_close(
            logits[place], model(src, torch.tensor([first]))[0, -1], atol=1e-5, rtol=1e-5
        )
        torch.testing.assert_close(
            then[place], model(src, torch.tensor([second]))[0, -1], atol=1e-5, rtol=1e-5
        )


def test_shared_weights_are_one_parameter_that_learns_from_all_three_places():
    model = small(tgt_vocab_size=11, share_weights=True)
    assert model.src_embedding.weight is model.tgt_embedding.weight is model.unembed.weight
    logits = model(torch.tensor([[3, 4]]), torch.tensor([[5, 6]]))
    logits[0, 0, 7].backward()
    touched = model.unembed.weight.grad.abs().sum(-1) > 0
    assert touched.nonzero().flatten().tolist() == [3, 4, 5, 7]  # 6 stands after the place that was asked


def test_the_paper_s_base_model_has_as_many_parameters_as_it_should():
    with torch.device("meta"):
        model = Transformer(
            TransformerConfig(src_vocab_size=37_000, tgt_vocab_size=37_000, share_weights=True)
        )
    assert sum(parameter.numel() for parameter in model.parameters()) == 63_082_496


def test_an_untrained_model_guesses_all_tokens_about_alike():
    torch.manual_seed(0)
    config = dataclasses.replace(
        SMALL, src_vocab_size=200, tgt_vocab_size=200, d_model=64, n_heads=4, d_ff=128
    )
    for shared in (False, True):
        model = Transformer(dataclasses.replace(config, share_weights=shared))
        tokens = torch.randint(1, 200, (8, 10))
        loss = torch.nn.functional.cross_entropy(
            model(tokens, tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
        )
        assert abs(loss.item() - torch.tensor(200.0).log().item()) < 1.0


def test_attention_weights_are_rows_of_probabilities_by_the_layer_s_name():
    model = small()
    weights = attention_weights(model, SRC, TGT)
    assert list(weights)[:2] == ["encoder.blocks.0.attention", "encoder.blocks.1.attention"]
    assert weights["decoder.blocks.2.cross_attention"].shape == (2, 3, 4, 5)
    for table in weights.values():
        torch.testing.assert_close(table.sum(-1), torch.ones(table.shape[:-1]))
    assert (weights["decoder.blocks.0.cross_attention"][1, :, :, 3:] == 0).all()
    assert (weights["decoder.blocks.0.self_attention"].triu(1) == 0).all()


def test_stacks_normalise_after_the_last_block_only_where_asked():
    for kind in (Encoder, Decoder):
        sizes = {"n_layers": 1, "d_model": 8, "n_heads": 2, "d_ff": 9}
        names = [
            {name.split(".")[0] for name, _ in kind(**sizes, final_norm=on).named_parameters()}
            for on in (0, 1)
        ]
        assert names == [{"blocks"}, {"blocks", "norm"}]


@pytest.mark.parametrize(
    "changed, named",
    [
        ({"d_model": 0}, "d_model = 0"),
        ({"n_heads": 5}, "d_model = 12, n_heads = 5"),
        ({"d_model": 15, "n_heads": 3}, "d_model = 15"),
        ({"dropout": 1.0}, "got 1.0"),
        ({"pad_id": 11}, "got 11 with sizes 11 and 13"),
        ({"pad_id": -1}, "got -1"),
        ({"share_weights": True}, "sizes 11 and 13"),
        ({"activation": "swish"}, "got 'swish'"),
        ({"n_decoder_layers": 0}, "n_decoder_layers = 0"),
        ({"max_len": 2.5}, "max_len = 2.5"),
        ({"eps": 0.0}, "eps must be above 0, got 0.0"),
        ({"position_layout": "pairs"}, "got 'pairs'"),
    ],
)
def test_a_config_that_cannot_be_is_refused_with_its_values(changed, named):
    with pytest.raises(ValueError) as error:
        dataclasses.replace(SMALL, **changed)
    assert named in str(error.value)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda m: m(SRC.float(), TGT), "src must be ids, int64 or int32, got dtype torch.float32"),
        (lambda m: m(SRC[0], TGT), "src must be (B, T) and not empty, got shape (5,)"),
        (lambda m: m(SRC[:0], TGT[:0]), "got shape (0, 5)"),
        (lambda m: m(SRC, TGT[:, :0]), "tgt must be (B, T) and not empty, got shape (2, 0)"),
        (lambda m: m(SRC + 1, TGT), "src must lie between 0 and 10, got 11"),
        (lambda m: m(SRC, TGT - 1), "tgt must lie between 0 and 12, got -1"),
        (lambda m: m(SRC, torch.ones(2, 17, dtype=torch.long)), "room for 16 tokens, got T = 17"),
        (lambda m: m(SRC, TGT[:1]), "(2, 5), (2, 5, 12) and (1, 4)"),
        (lambda m: m.decode(TGT, torch.zeros(2, 4, 12), SRC), "(2, 5), (2, 4, 12) and (2, 4)"),
        (lambda m: m.step(TGT[:1], m.start(SRC)), "a row for each of 2 sources, got 1"),
        (
            lambda m: m.step(torch.ones(2, 17, dtype=torch.long), m.start(SRC)),
            "room for 16 tokens, got T = 17",
        ),
        (lambda m: m.start(SRC).reorder(torch.tensor([2])), "between 0 and 1, got [2]"),
        (lambda m: m.start(SRC).reorder(torch.tensor([0.0])), "whole numbers"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError) as error:
        call(small())
    assert named in str(error.value)


def test_a_target_that_grows_too_long_step_by_step_is_refused():
    model = small(max_len=5)
    cache = model.start(SRC)
    for _ in range(5):
        _, cache = model.step(torch.ones(2, 1, dtype=torch.long), cache)
    with pytest.raises(ValueError, match="room for 0 tokens"):
        model.step(torch.ones(2, 1, dtype=torch.long), cache)
