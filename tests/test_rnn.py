"""rnn: what it computes, what it refuses. Equality with torch.nn and d2l stands in tests/parity."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from course_lib.data.recall import EOS, PAD, SOS, sample_copies
from course_lib.rnn import (
    GRU,
    LSTM,
    RNN,
    BidirectionalRNN,
    RNNLanguageModel,
    Seq2Seq,
    generate,
    reverse_within,
)

LAYERS = (RNN, LSTM, GRU)
layers = pytest.mark.parametrize("layer", LAYERS)
sizes = st.integers(1, 5)


def randomised(module):
    """Add N(0, 1) to every weight: a new model says nearly the same whatever it has read."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn_like(parameter)
    return module


def parts(state):
    """The tensors of a state: one, or the LSTM's two."""
    return state if isinstance(state, tuple) else (state,)


@layers
@given(n_batch=sizes, n_steps=sizes, d_input=sizes, d_hidden=sizes)
def test_the_last_output_is_the_state_and_all_shapes_are_as_promised(
    layer, n_batch, n_steps, d_input, d_hidden
):
    module = layer(d_input=d_input, d_hidden=d_hidden)
    outputs, state = module(torch.randn(n_batch, n_steps, d_input))
    assert outputs.shape == (n_batch, n_steps, d_hidden)
    assert all(part.shape == (n_batch, d_hidden) for part in parts(state))
    assert torch.equal(outputs[:, -1], parts(state)[0])


@layers
@given(n_first=sizes, n_second=sizes, seed=st.integers(0, 99))
def test_two_parts_with_the_state_carried_over_equal_one_whole_pass(layer, n_first, n_second, seed):
    torch.manual_seed(seed)
    module, x = layer(d_input=3, d_hidden=4), torch.randn(2, n_first + n_second, 3)
    whole, last = module(x)
    first, state = module(x[:, :n_first])
    second, state = module(x[:, n_first:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(parts(state), parts(last))
    forgotten, _ = module(x[:, n_first:])
    assert not torch.allclose(forgotten[:, 0], second[:, 0])


@layers
def test_no_state_means_zeros_and_no_row_of_the_batch_sees_another(layer):
    module, x = layer(d_input=3, d_hidden=4), torch.randn(2, 5, 3)
    zeros = torch.zeros(2, 4)
    torch.testing.assert_close(module(x)[0], module(x, (zeros, zeros) if layer is LSTM else zeros)[0])
    torch.testing.assert_close(module(x)[0][1:], module(x[1:])[0])


@layers
def test_a_step_sees_itself_and_the_past_never_the_future(layer):
    module, x = layer(d_input=3, d_hidden=4), torch.randn(1, 6, 3, requires_grad=True)
    outputs, _ = module(x)
    outputs[0, 3].sum().backward()
    felt = x.grad[0].abs().sum(-1)
    assert (felt[:4] > 0).all()
    assert felt[4:].tolist() == [0, 0]


def test_an_lstm_whose_gates_stand_open_keeps_its_cell_and_one_whose_gates_are_shut_loses_it():
    module = LSTM(d_input=3, d_hidden=4)
    start = (torch.zeros(2, 4), torch.randn(2, 4))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.input_to_hidden.bias[:4] = -50.0  # the input gate
        module.input_to_hidden.bias[4:8] = 50.0  # the forget gate
    _, (_, kept) = module(torch.randn(2, 9, 3), start)
    torch.testing.assert_close(kept, start[1])
    with torch.no_grad():
        module.input_to_hidden.bias[4:8] = -50.0
    _, (_, lost) = module(torch.randn(2, 9, 3), start)
    assert lost.abs().max() < 1e-6


def test_a_gru_whose_update_gate_is_one_keeps_its_state_and_a_reset_of_zero_hides_the_past():
    module, x, state = GRU(d_input=3, d_hidden=4), torch.randn(2, 7, 3), torch.randn(2, 4)
    with torch.no_grad():
        module.input_to_hidden.bias[4:8] = 50.0  # z
    torch.testing.assert_close(module(x, state)[1], state)
    with torch.no_grad():
        module.input_to_hidden.bias[:4] = -50.0  # r
        module.input_to_hidden.bias[4:8] = -50.0
    torch.testing.assert_close(module(x, state)[0], module(x)[0])


def test_reversing_within_lengths_turns_the_real_steps_and_leaves_the_padding():
    x = torch.tensor([[1, 2, 3, 0, 9], [4, 5, 6, 7, 8]])
    turned = reverse_within(x, torch.tensor([3, 5]))
    assert turned.tolist() == [[3, 2, 1, 0, 9], [8, 7, 6, 5, 4]]
    assert torch.equal(reverse_within(turned, torch.tensor([3, 5])), x)


@layers
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), n_pads=st.integers(0, 3))
def test_both_directions_read_each_row_as_if_it_stood_alone_without_padding(layer, lengths, n_pads):
    module = BidirectionalRNN(layer(d_input=3, d_hidden=4), layer(d_input=3, d_hidden=2))
    x = torch.randn(len(lengths), max(lengths) + n_pads, 3)
    both = module(x, torch.tensor(lengths))
    assert both.shape == (*x.shape[:2], 6)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(both[row, :length], module(x[row : row + 1, :length])[0])
        assert (both[row, length:] == 0).all()


@layers
def test_what_stands_in_the_padding_changes_neither_outputs_nor_gradients(layer):
    module = BidirectionalRNN(layer(d_input=3, d_hidden=4), layer(d_input=3, d_hidden=4))
    lengths, x = torch.tensor([2, 5]), torch.randn(2, 5, 3)
    garbage = x.clone()
    garbage[0, 2:] = 99.0
    seen = []
    for given_x in (x, garbage):
        leaf = given_x.clone().requires_grad_()
        output = module(leaf, lengths)
        output.pow(2).sum().backward()
        assert (leaf.grad[0, 2:] == 0).all()
        assert (leaf.grad[0, :2] != 0).all()
        seen.append((output.detach(), leaf.grad[:, :2]))
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)


def test_the_first_step_hears_the_last_one_from_the_right_and_only_there():
    module = BidirectionalRNN(GRU(d_input=3, d_hidden=4), GRU(d_input=3, d_hidden=2))
    x = torch.randn(1, 5, 3, requires_grad=True)
    (from_left,) = torch.autograd.grad(module(x)[0, 0, :4].sum(), x)
    (from_right,) = torch.autograd.grad(module(x)[0, 0, 4:].sum(), x)
    assert from_left[0, 4].abs().sum() == 0 < from_right[0, 4].abs().sum()


def language_model(layer=GRU):
    return RNNLanguageModel(vocab_size=7, d_model=3, rnn=layer(d_input=3, d_hidden=5))


@layers
def test_a_language_model_scores_the_vocabulary_after_each_token_from_the_past_alone(layer):
    model, tokens = language_model(layer), torch.randint(7, (2, 6))
    logits, state = model(tokens)
    assert logits.shape == (2, 6, 7)
    assert all(part.shape == (2, 5) for part in parts(state))
    changed = tokens.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 7
    torch.testing.assert_close(model(changed)[0][:, :4], logits[:, :4])
    assert not torch.allclose(model(changed)[0][:, 4:], logits[:, 4:])


@layers
def test_the_state_of_a_language_model_stands_for_the_whole_prefix(layer):
    model, tokens = randomised(language_model(layer)), torch.randint(7, (2, 6))
    whole, last = model(tokens)
    _, state = model(tokens[:, :4])
    rest, state = model(tokens[:, 4:], state)
    torch.testing.assert_close(rest, whole[:, 4:])
    torch.testing.assert_close(parts(state), parts(last))
    assert (model(tokens[:, 4:])[0] - rest).abs().max() > 1e-3


@layers
def test_generation_with_the_state_equals_feeding_the_whole_prefix_each_time(layer):
    prompt, memory_mattered = torch.tensor([[1, 2, 3]]), False
    for seed in range(5):
        torch.manual_seed(seed)
        model = randomised(language_model(layer))
        by_prefix, by_last_token = prompt, prompt
        for _ in range(8):
            logits, _ = model(by_prefix)
            by_prefix = torch.cat([by_prefix, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
            logits, _ = model(by_last_token[:, -1:])
            by_last_token = torch.cat([by_last_token, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        assert torch.equal(generate(model, prompt, 8, temperature=0), by_prefix)
        memory_mattered = memory_mattered or not torch.equal(by_prefix, by_last_token)
    assert memory_mattered, "these models would write the same without a memory"


def test_generation_reads_the_prompt_once_and_then_one_token_a_step():
    class Counting(RNNLanguageModel):
        def forward(self, tokens, state=None):
            fed.append(tokens.size(1))
            return super().forward(tokens, state)

    fed: list[int] = []
    model = Counting(vocab_size=7, d_model=3, rnn=LSTM(d_input=3, d_hidden=5))
    generate(model, torch.tensor([[1, 2, 3, 4]]), 5)
    assert fed == [4, 1, 1, 1, 1]


def test_generation_repeats_with_its_seed_and_follows_the_distribution_of_the_model():
    model, prompt = language_model(), torch.tensor([[1, 2]])

    def drawn(seed, temperature=1.0, n=1):
        return generate(
            model, prompt, n, temperature=temperature, generator=torch.Generator().manual_seed(seed)
        )

    assert torch.equal(drawn(1, n=20), drawn(1, n=20))
    assert not torch.equal(drawn(1, n=20), drawn(2, n=20))
    expected = (model(prompt)[0][0, -1] / 0.5).softmax(-1)
    seen = torch.bincount(torch.tensor([drawn(seed, 0.5)[0, -1] for seed in range(2000)]), minlength=7) / 2000
    assert (seen - expected).abs().max() < 0.05
    assert torch.equal(generate(model, prompt, 0), prompt)


def seq2seq(attention):
    return Seq2Seq(src_vocab_size=8, tgt_vocab_size=9, d_model=6, attention=attention)


SOURCE = torch.tensor([[3, 4, 5, 6, 7], [5, 3, PAD, PAD, PAD]])
TARGET = torch.tensor([[SOS, 3, 4, 5], [SOS, 8, 7, 6]])
both_kinds = pytest.mark.parametrize("attention", [False, True])


@both_kinds
def test_seq2seq_gives_logits_and_with_attention_weights_that_sum_to_one_over_the_real_source(attention):
    logits, weights = seq2seq(attention)(SOURCE, TARGET, PAD)
    assert logits.shape == (2, 4, 9)
    if not attention:
        assert weights is None
        return
    assert weights.shape == (2, 4, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4))
    assert (weights[1, :, 2:] == 0).all()


def test_the_weights_of_a_step_stand_at_its_place_and_come_from_the_state_before_it():
    model = randomised(seq2seq(True))
    memory, mask, state = model.encode(SOURCE, PAD)
    _, weights = model(SOURCE, TARGET, PAD)
    for step in range(4):
        _, expected = model.attention(state[:, None], memory, memory, mask)
        torch.testing.assert_close(weights[:, step : step + 1], expected)
        _, _, state = model.decode(TARGET[:, step : step + 1], memory, mask, state)


def test_the_first_decoder_state_is_made_of_the_last_states_of_both_readers():
    model = randomised(seq2seq(False))
    _, _, state = model.encode(SOURCE, PAD)
    for row, length in ((0, 5), (1, 2)):
        x = model.src_embedding(SOURCE[row : row + 1, :length])
        _, rightwards = model.encoder.forward_rnn(x)
        _, leftwards = model.encoder.backward_rnn(x.flip(1))
        both = torch.cat([rightwards, leftwards], dim=-1)
        torch.testing.assert_close(state[row : row + 1], torch.tanh(model.bridge(both)))


@both_kinds
def test_the_padding_of_the_source_changes_nothing(attention):
    model = seq2seq(attention)
    logits, _ = model(SOURCE, TARGET, PAD)
    alone, _ = model(SOURCE[1:, :2], TARGET[1:], PAD)
    torch.testing.assert_close(logits[1:], alone)


@both_kinds
def test_the_decoder_sees_no_later_target_token_and_every_source_token(attention):
    model = seq2seq(attention)
    logits, _ = model(SOURCE, TARGET, PAD)
    changed = TARGET.clone()
    changed[:, 2:] = 1
    torch.testing.assert_close(model(SOURCE, changed, PAD)[0][:, :2], logits[:, :2])
    for place in range(5):
        other = SOURCE.clone()
        other[0, place] = 1
        assert not torch.allclose(model(other, TARGET, PAD)[0][0, 0], logits[0, 0], atol=1e-6)


def test_without_attention_one_vector_is_all_that_passes_and_with_it_the_memory_counts():
    for attention in (False, True):
        model = seq2seq(attention)
        memory, mask, state = model.encode(SOURCE, PAD)
        assert state.shape == (2, 6)
        with_memory, _, _ = model.decode(TARGET, memory, mask, state)
        without, _, _ = model.decode(TARGET, torch.zeros_like(memory), mask, state)
        assert torch.allclose(with_memory, without) is not attention


@both_kinds
def test_decoding_step_by_step_equals_teacher_forcing_on_the_same_tokens(attention):
    model = seq2seq(attention)
    written = model.greedy(SOURCE, src_pad_id=PAD, bos_id=SOS, eos_id=EOS, max_len=6)
    inputs = torch.cat([torch.full((2, 1), SOS), written[:, :-1]], dim=1)
    likeliest = model(SOURCE, inputs, PAD)[0].argmax(-1)
    for row, tokens in enumerate(written.tolist()):
        end = tokens.index(EOS) + 1 if EOS in tokens else len(tokens)
        assert likeliest[row, :end].tolist() == tokens[:end]
        assert set(tokens[end:]) <= {EOS}


def test_greedy_stops_when_every_row_has_ended_and_at_the_latest_after_max_len():
    model = seq2seq(False)
    with torch.no_grad():
        model.to_logits.bias[EOS] = 50.0
    assert model.greedy(SOURCE, src_pad_id=PAD, bos_id=SOS, eos_id=EOS, max_len=6).tolist() == [[EOS], [EOS]]
    with torch.no_grad():
        model.to_logits.bias[EOS] = -50.0
    assert model.greedy(SOURCE, src_pad_id=PAD, bos_id=SOS, eos_id=EOS, max_len=6).shape == (2, 6)


def test_a_row_that_has_ended_repeats_its_end_while_the_others_write_on():
    class Scripted(Seq2Seq):
        """Writes 3, end, 4, 5, end in the first row and 4, 5, 6, end, 3 in the second."""

        def decode(self, tgt_inputs, memory, mask, state):
            _, _, state = super().decode(tgt_inputs, memory, mask, state)
            said = torch.tensor([[3, EOS, 4, 5, EOS], [4, 5, 6, EOS, 3]])[:, len(fed)]
            fed.append(tgt_inputs[:, 0].tolist())
            return nn.functional.one_hot(said, 9)[:, None].float(), None, state

    fed: list[list[int]] = []
    model = Scripted(src_vocab_size=8, tgt_vocab_size=9, d_model=6, attention=False)
    written = model.greedy(SOURCE, src_pad_id=PAD, bos_id=SOS, eos_id=EOS, max_len=9)
    assert written.tolist() == [[3, EOS, EOS, EOS], [4, 5, 6, EOS]]
    assert fed == [[SOS, SOS], [3, 4], [EOS, 5], [EOS, 6]]


@both_kinds
def test_every_parameter_of_seq2seq_learns(attention):
    model = seq2seq(attention)
    model(SOURCE, TARGET, PAD)[0].pow(2).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_seq2seq_with_attention_learns_to_copy():
    torch.manual_seed(0)
    model = Seq2Seq(src_vocab_size=6, tgt_vocab_size=6, d_model=16, attention=True)
    optimizer, draw = torch.optim.AdamW(model.parameters(), lr=1e-2), torch.Generator().manual_seed(0)
    for _ in range(120):
        source, target = sample_copies(32, n_symbols=3, min_length=1, max_length=3, generator=draw)
        logits, _ = model(source, target[:, :-1], PAD)
        labels = target[:, 1:].masked_fill(target[:, 1:] == PAD, -100)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    source, target = sample_copies(100, n_symbols=3, min_length=1, max_length=3, generator=draw)
    written = model.greedy(source, src_pad_id=PAD, bos_id=SOS, eos_id=EOS, max_len=5)
    right = 0
    for said, wanted in zip(written.tolist(), target.tolist(), strict=True):
        true = [token for token in wanted[1:] if token != PAD]
        right += said[: len(true)] == true
    assert right >= 90


def decoded(**changes):
    memory, mask, state = (model := seq2seq(True)).encode(SOURCE, PAD)
    return model.decode(TARGET, **({"memory": memory, "mask": mask, "state": state} | changes))


def written(**changes):
    ids = {"src_pad_id": PAD, "bos_id": SOS, "eos_id": EOS, "max_len": 4}
    return seq2seq(True).greedy(SOURCE, **(ids | changes))


def test_writing_keeps_no_graph_for_gradients():
    seen = []
    model, reader = seq2seq(True), language_model()
    for module in (model.decoder, reader.rnn):
        module.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    model.greedy(SOURCE, src_pad_id=PAD, bos_id=SOS, eos_id=EOS, max_len=2)
    generate(reader, torch.tensor([[1]]), 2)
    assert len(seen) >= 3 and not any(seen)


@pytest.mark.parametrize("temperature", [1e-3, 2e-38, 1e-40, 1e-300])
def test_the_smallest_temperatures_take_the_likeliest_token(temperature):
    torch.manual_seed(0)
    model, prompt = randomised(language_model()), torch.tensor([[1, 2]])
    with torch.no_grad():
        model.to_logits.weight *= 30
    assert torch.equal(
        generate(model, prompt, 9, temperature=temperature), generate(model, prompt, 9, temperature=0)
    )


def test_an_endless_temperature_draws_all_tokens_alike():
    model = randomised(language_model())
    tokens = generate(model, torch.tensor([[1]]), 2000, temperature=float("inf"))
    assert torch.bincount(tokens[0], minlength=7).min() > 200


@layers
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_one_row_one_step_no_row_and_tensors_that_are_not_contiguous_are_read(layer, dtype, mode):
    module = BidirectionalRNN(layer(d_input=3, d_hidden=4), layer(d_input=3, d_hidden=1)).to(dtype)
    with mode():
        for n_batch, n_steps in ((1, 1), (1, 5), (3, 1), (0, 2), (2, 4)):
            x = torch.randn(n_steps, n_batch, 3, dtype=dtype).transpose(0, 1)
            lengths = torch.full((n_batch,), n_steps, dtype=torch.int32)
            both = module(x, lengths)
            assert both.shape == (n_batch, n_steps, 5) and both.dtype == dtype
            limit = 0.03 if dtype == torch.bfloat16 else 1e-6
            torch.testing.assert_close(both, module(x.contiguous()), rtol=0, atol=limit)


@both_kinds
def test_the_smallest_seq2seq_and_ids_of_32_bits_are_read(attention):
    model = Seq2Seq(src_vocab_size=2, tgt_vocab_size=1, d_model=1, attention=attention).double()
    logits, _ = model(torch.ones(1, 1, dtype=torch.int32), torch.zeros(1, 1, dtype=torch.int32), PAD)
    assert logits.shape == (1, 1, 1) and logits.dtype == torch.float64
    last = model.greedy(torch.ones(1, 1, dtype=torch.int32), src_pad_id=PAD, bos_id=0, eos_id=0, max_len=3)
    assert last.tolist() == [[0]]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: RNN(d_input=0, d_hidden=3), "d_input = 0"),
        (lambda: LSTM(d_input=2, d_hidden=0), "d_hidden = 0"),
        (lambda: GRU(d_input=-1, d_hidden=3), "GRU.*d_input = -1"),
        (lambda: RNN(d_input=2, d_hidden=3)(torch.randn(4, 2)), r"RNN: x .*\(4, 2\)"),
        (lambda: LSTM(d_input=2, d_hidden=3)(torch.randn(4, 5, 3)), r"LSTM: x .*\(4, 5, 3\)"),
        (lambda: GRU(d_input=2, d_hidden=3)(torch.randn(4, 0, 2)), r"\(4, 0, 2\)"),
        (lambda: GRU(d_input=2, d_hidden=3)(torch.ones(4, 5, 2).long()), "int64"),
        (lambda: GRU(d_input=2, d_hidden=3)(torch.ones(4, 5, 2).double()), "float64"),
        (lambda: RNN(d_input=2, d_hidden=3)(torch.randn(4, 5, 2), torch.randn(1, 3)), r"state .*\(1, 3\)"),
        (
            lambda: RNN(d_input=2, d_hidden=3)(torch.randn(4, 5, 2), (torch.randn(4, 3), torch.randn(4, 3))),
            "a tuple",
        ),
        (
            lambda: GRU(d_input=2, d_hidden=3)(torch.randn(4, 5, 2), torch.randn(4, 3).double()),
            "float64",
        ),
        (lambda: LSTM(d_input=2, d_hidden=3)(torch.randn(4, 5, 2), torch.randn(4, 3)), r"pair.*\(4, 3\)"),
        (
            lambda: LSTM(d_input=2, d_hidden=3)(torch.randn(4, 5, 2), (torch.randn(4, 3), torch.randn(4, 2))),
            r"LSTM: c .*\(4, 2\)",
        ),
        (lambda: reverse_within(torch.randn(2, 5), torch.tensor([5])), r"\(1,\)"),
        (lambda: reverse_within(torch.randn(2, 5), torch.tensor([5, 6])), r"1 … 5, got \[5, 6\]"),
        (lambda: reverse_within(torch.randn(2, 5), torch.tensor([5, 0])), r"\[5, 0\]"),
        (lambda: reverse_within(torch.randn(2, 5), torch.tensor([5.0, 4.0])), "float32"),
        (lambda: BidirectionalRNN(RNN(d_input=2, d_hidden=3), RNN(d_input=4, d_hidden=3)), "2 and 4"),
        (
            lambda: BidirectionalRNN(RNN(d_input=2, d_hidden=3), RNN(d_input=2, d_hidden=3))(
                torch.randn(4, 5)
            ),
            r"\(4, 5\)",
        ),
        (
            lambda: BidirectionalRNN(RNN(d_input=2, d_hidden=3), RNN(d_input=2, d_hidden=3))(
                torch.randn(2, 5, 2), torch.tensor([5, 7])
            ),
            r"\[5, 7\]",
        ),
        (
            lambda: RNNLanguageModel(vocab_size=0, d_model=2, rnn=RNN(d_input=2, d_hidden=3)),
            "vocab_size = 0",
        ),
        (
            lambda: RNNLanguageModel(vocab_size=5, d_model=4, rnn=RNN(d_input=2, d_hidden=3)),
            "d_model = 4.*d_input = 2",
        ),
        (lambda: language_model()(torch.tensor([1, 2])), r"\(2,\)"),
        (lambda: language_model()(torch.tensor([[1, 7]])), "0 to 6, got 1 to 7"),
        (lambda: language_model()(torch.tensor([[-1, 2]])), "got -1 to 2"),
        (lambda: language_model()(torch.tensor([[0.5]])), "float32"),
        (lambda: generate(language_model(), torch.tensor([[1], [2]]), 3), r"prompt .*\(2, 1\)"),
        (lambda: generate(language_model(), torch.tensor([[1]]), -1), "got -1"),
        (lambda: generate(language_model(), torch.tensor([[1]]), 3, temperature=-0.5), "-0.5"),
        (
            lambda: Seq2Seq(src_vocab_size=5, tgt_vocab_size=0, d_model=4, attention=True),
            "tgt_vocab_size = 0",
        ),
        (lambda: seq2seq(True)(torch.tensor([[3, PAD, 4]]), TARGET[:1], PAD), "padding"),
        (lambda: seq2seq(True)(torch.tensor([[PAD, PAD]]), TARGET[:1], PAD), "padding"),
        (lambda: seq2seq(True)(SOURCE, TARGET[:1], PAD), "2 and 1"),
        (lambda: seq2seq(True)(SOURCE + 5, TARGET, PAD), "src .*0 to 7"),
        (lambda: seq2seq(True)(SOURCE, TARGET + 5, PAD), "tgt_inputs .*0 to 8"),
        (
            lambda: seq2seq(True).greedy(SOURCE, src_pad_id=PAD, bos_id=SOS, eos_id=EOS, max_len=0),
            "max_len = 0",
        ),
        (lambda: RNN(d_input=2.5, d_hidden=3), "d_input = 2.5"),
        (lambda: LSTM(d_input=2, d_hidden=None), "d_hidden = None"),
        (lambda: GRU(d_input=2, d_hidden=3)(None), "GRU: x .*a NoneType"),
        (lambda: GRU(d_input=2, d_hidden=3)([[[1.0, 2.0]]]), "a list"),
        (lambda: LSTM(d_input=2, d_hidden=3)(torch.randn(1, 5, 2), (None, None)), "pair.*a tuple"),
        (lambda: reverse_within(None, torch.tensor([1])), "a NoneType"),
        (lambda: reverse_within(torch.randn(2, 5), [5, 5]), "a list"),
        (lambda: reverse_within(torch.randn(1, 5), torch.tensor([5 + 0j])), "complex64"),
        (lambda: BidirectionalRNN(nn.GRU(2, 3), GRU(d_input=2, d_hidden=3)), "got None and 2 in GRU and GRU"),
        (lambda: BidirectionalRNN(None, None), "NoneType"),
        (lambda: RNNLanguageModel(vocab_size=5, d_model=2, rnn=nn.GRU(2, 3)), "d_input = None in GRU"),
        (lambda: RNNLanguageModel(vocab_size=5.0, d_model=2, rnn=RNN(d_input=2, d_hidden=3)), "= 5.0"),
        (lambda: language_model()(None), "tokens .*a NoneType"),
        (lambda: language_model()(torch.empty(1, 0).long()), r"at least one token, got shape \(1, 0\)"),
        (lambda: generate(language_model(), torch.empty(1, 0).long(), 3), r"T ≥ 1, got shape \(1, 0\)"),
        (lambda: language_model()(torch.ones(1, 2).byte()), "int64 or int32, got dtype torch.uint8"),
        (lambda: generate(language_model(), [[1]], 3), "prompt .*a list"),
        (lambda: generate(language_model(), torch.tensor([[1.0]]), 0), "float32"),
        (lambda: generate(language_model(), torch.tensor([[1]]), 2.5), "n_tokens .*got 2.5"),
        (lambda: generate(language_model(), torch.tensor([[1]]), 3, temperature=None), "got None"),
        (lambda: generate(language_model(), torch.tensor([[1]]), 3, temperature=float("nan")), "got nan"),
        (lambda: seq2seq(True)(None, TARGET, PAD), "src .*a NoneType"),
        (lambda: seq2seq(True)(SOURCE, TARGET, None), "pad_id .*got None"),
        (lambda: decoded(memory=torch.zeros(2, 5, 7)), r"memory must be \(B, T, 12\).*\(2, 5, 7\)"),
        (lambda: decoded(memory=torch.zeros(2, 5, 12).double()), "memory .*float64"),
        (lambda: decoded(state=torch.zeros(2, 6).double()), "Seq2Seq: state .*float64"),
        (lambda: decoded(state=torch.zeros(1, 6)), r"Seq2Seq: state .*\(1, 6\)"),
        (lambda: written(bos_id=9), "bos_id must be an id from 0 to 8, got 9"),
        (lambda: written(eos_id=-1), "eos_id .*got -1"),
        (lambda: written(eos_id=None), "eos_id .*got None"),
        (lambda: written(max_len=2.5), "max_len = 2.5"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(call, named):
    with pytest.raises(ValueError, match=named):
        call()
