"""Our recurrent layers against torch.nn and d2l at random weights: forward and gradients, fp32 and fp64.

Limits: fp32 forward 1e-5 of the largest number, gradients 1e-4 in relative norm; fp64 1e-12 and 1e-11.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from course_lib.rnn import GRU, LSTM, RNN, BidirectionalRNN, RNNLanguageModel, Seq2Seq
from course_lib.torchvision_ops import define_missing_torchvision_ops

define_missing_torchvision_ops()
from d2l import torch as d2l  # noqa: E402

LIMITS = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-12, 1e-11)}
REFERENCES = {RNN: nn.RNN, LSTM: nn.LSTM, GRU: nn.GRU}
dtypes = pytest.mark.parametrize("dtype", LIMITS)
layers = pytest.mark.parametrize("layer", REFERENCES)
LENGTHS = torch.tensor([4, 7, 1])


def randomised(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Add N(0, 0.2) to every weight: the two biases of a gate must differ, or an exchange would not show."""
    module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return module


def give_weights(reference: nn.Module, module: nn.Module, suffix: str = "") -> None:
    """Copy a layer's two linear maps into PyTorch's, as they are: the gates stand in the same order."""
    state = {
        f"weight_ih_l0{suffix}": module.input_to_hidden.weight,
        f"weight_hh_l0{suffix}": module.hidden_to_hidden.weight,
        f"bias_ih_l0{suffix}": module.input_to_hidden.bias,
        f"bias_hh_l0{suffix}": module.hidden_to_hidden.bias,
    }
    with torch.no_grad():
        for name, weight in state.items():
            getattr(reference, name).copy_(weight)


def weights_of(reference: nn.Module, suffix: str = "") -> list[Tensor]:
    """PyTorch's weights, in the order of our parameters: weight and bias of one map, then of the other."""
    names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
    return [getattr(reference, name + suffix) for name in names]


def assert_equal(
    ours: list[Tensor],
    reference: list[Tensor],
    leaves: list[Tensor],
    reference_leaves: list[Tensor],
    dtype: torch.dtype,
) -> None:
    """Compare lists of outputs, and the gradients of one random mix of them to every leaf."""
    forward, backward = LIMITS[dtype]
    mixed, reference_mixed = torch.zeros((), dtype=dtype), torch.zeros((), dtype=dtype)
    for one, other in zip(ours, reference, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= forward * other.abs().max()
        mix = torch.randn_like(other)
        mixed, reference_mixed = mixed + (one * mix).sum(), reference_mixed + (other * mix).sum()
    of_ours = torch.autograd.grad(mixed, leaves)
    of_reference = torch.autograd.grad(reference_mixed, reference_leaves)
    whole = torch.cat([gradient.flatten() for gradient in of_reference]).norm()
    for one, other in zip(of_ours, of_reference, strict=True):
        assert one.shape == other.shape
        # A gradient of few numbers can be small by chance, where large parts of it cancel.
        assert (one - other).norm() <= backward * max(other.norm(), 0.1 * whole)


def leaf(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def run_both(module: nn.Module, reference: nn.Module, dtype: torch.dtype) -> tuple[list, list, list, list]:
    """Outputs and leaves of both, on the same input and the same given first state."""
    x = leaf(3, 7, 2, dtype=dtype)
    first = [leaf(3, 5, dtype=dtype) for _ in range(2 if isinstance(reference, nn.LSTM) else 1)]
    outputs, state = module(x, tuple(first) if len(first) == 2 else first[0])
    layered = [part[None] for part in first]  # torch has an axis for layers in front
    expected, last = reference(x, tuple(layered) if len(first) == 2 else layered[0])
    states = list(state) if isinstance(state, tuple) else [state]
    lasts = [part[0] for part in last] if isinstance(last, tuple) else [last[0]]
    leaves = [x, *first]
    return (
        [outputs, *states],
        [expected, *lasts],
        [*leaves, *module.parameters()],
        [*leaves, *weights_of(reference)],
    )


@dtypes
@layers
def test_a_layer_equals_torch_nn_with_a_given_state(layer, dtype):
    module = randomised(layer(d_input=2, d_hidden=5), dtype)
    reference = REFERENCES[layer](2, 5, batch_first=True, dtype=dtype)
    give_weights(reference, module)
    assert_equal(*run_both(module, reference, dtype), dtype)


@dtypes
@layers
def test_a_layer_without_a_state_equals_torch_nn(layer, dtype):
    module = randomised(layer(d_input=2, d_hidden=5), dtype)
    reference = REFERENCES[layer](2, 5, batch_first=True, dtype=dtype)
    give_weights(reference, module)
    x = leaf(3, 7, 2, dtype=dtype)
    assert_equal(
        [module(x)[0]],
        [reference(x)[0]],
        [x, *module.parameters()],
        [x, *weights_of(reference)],
        dtype,
    )


@dtypes
@layers
def test_both_directions_equal_torch_nn_on_packed_sequences_of_unlike_length(layer, dtype):
    module = BidirectionalRNN(layer(d_input=2, d_hidden=5), layer(d_input=2, d_hidden=5))
    randomised(module, dtype)
    reference = REFERENCES[layer](2, 5, batch_first=True, bidirectional=True, dtype=dtype)
    give_weights(reference, module.forward_rnn)
    give_weights(reference, module.backward_rnn, "_reverse")
    x = leaf(3, 7, 2, dtype=dtype)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(reference(packed)[0], batch_first=True)
    assert_equal(
        [module(x, LENGTHS)],
        [expected],
        [x, *module.parameters()],
        [x, *weights_of(reference), *weights_of(reference, "_reverse")],
        dtype,
    )


@dtypes
@layers
def test_both_directions_equal_torch_nn_without_lengths(layer, dtype):
    module = randomised(BidirectionalRNN(layer(d_input=2, d_hidden=5), layer(d_input=2, d_hidden=5)), dtype)
    reference = REFERENCES[layer](2, 5, batch_first=True, bidirectional=True, dtype=dtype)
    give_weights(reference, module.forward_rnn)
    give_weights(reference, module.backward_rnn, "_reverse")
    x = leaf(3, 7, 2, dtype=dtype)
    assert_equal(
        [module(x)],
        [reference(x)[0]],
        [x, *module.parameters()],
        [x, *weights_of(reference), *weights_of(reference, "_reverse")],
        dtype,
    )


@dtypes
def test_our_rnn_equals_d2ls_from_scratch(dtype):
    module = randomised(RNN(d_input=2, d_hidden=5), dtype)
    theirs = d2l.RNNScratch(2, 5)
    w_xh = module.input_to_hidden.weight.detach().T.clone().requires_grad_()
    w_hh = module.hidden_to_hidden.weight.detach().T.clone().requires_grad_()
    b_h = (module.input_to_hidden.bias + module.hidden_to_hidden.bias).detach().requires_grad_()
    theirs.W_xh, theirs.W_hh, theirs.b_h = (nn.Parameter(w) for w in (w_xh, w_hh, b_h))
    x, first = leaf(3, 7, 2, dtype=dtype), leaf(3, 5, dtype=dtype)
    outputs, state = module(x, first)
    expected, last = theirs(x.transpose(0, 1), (first,))  # d2l's time comes first
    weights = [module.input_to_hidden.weight, module.hidden_to_hidden.weight, module.hidden_to_hidden.bias]
    ours, reference = [outputs, state], [torch.stack(expected, dim=1), last]
    assert_equal(ours, reference, [x, first], [x, first], dtype)

    mix = torch.randn_like(outputs)
    of_ours = torch.autograd.grad((module(x, first)[0] * mix).sum(), weights)
    again, _ = theirs(x.transpose(0, 1), (first,))
    of_theirs = torch.autograd.grad(
        (torch.stack(again, dim=1) * mix).sum(), [theirs.W_xh, theirs.W_hh, theirs.b_h]
    )
    for one, other in zip(of_ours, (of_theirs[0].T, of_theirs[1].T, of_theirs[2]), strict=True):
        assert (one - other).norm() <= LIMITS[dtype][1] * other.norm()


def test_our_language_model_equals_d2ls():
    ours = RNNLanguageModel(vocab_size=6, d_model=6, rnn=RNN(d_input=6, d_hidden=5))
    randomised(ours, torch.float32)
    with torch.no_grad():
        ours.embedding.weight.copy_(torch.eye(6))  # d2l reads one-hot vectors
    theirs = d2l.RNNLM(d2l.RNN(6, 5), vocab_size=6)
    give_weights(theirs.rnn.rnn, ours.rnn)
    tokens = torch.tensor([[1, 2, 3, 5], [0, 4, 2, 2]])
    theirs(tokens)  # its linear map is made on the first call
    theirs.linear.load_state_dict(ours.to_logits.state_dict())
    torch.testing.assert_close(ours(tokens)[0], theirs(tokens), rtol=1e-5, atol=1e-5)


class _Broken(nn.Module):
    """A layer with one detail broken, on the weights of a sound one."""

    def __init__(self, sound: nn.Module, detail: str):
        super().__init__()
        self.sound, self.detail = sound, detail
        self.input_to_hidden, self.hidden_to_hidden = sound.input_to_hidden, sound.hidden_to_hidden

    def forward(self, x, state):
        detail, outputs = self.detail, []
        h, c = state if isinstance(self.sound, LSTM) else (state, None)
        for step in x.unbind(1):
            a = self.input_to_hidden(step)
            if detail == "no input bias":
                a = step @ self.input_to_hidden.weight.T
            b = self.hidden_to_hidden(h)
            if detail == "no hidden bias":
                b = h @ self.hidden_to_hidden.weight.T
            if isinstance(self.sound, RNN):
                h = torch.relu(a + b) if detail == "relu" else torch.tanh(a + b)
            elif isinstance(self.sound, LSTM):
                h, c = self.lstm_step(a + b, c)
            else:
                h = self.gru_step(a, b, h)
            outputs.append(h)
        return torch.stack(outputs, dim=1), h if c is None else (h, c)

    def lstm_step(self, gates, c):
        i, f, g, o = gates.chunk(4, dim=-1)
        if self.detail == "gates in the order i, f, o, g":
            g, o = o, g
        if self.detail == "gates in the order f, i, g, o":
            i, f = f, i
        g = g if self.detail == "candidate without tanh" else torch.tanh(g)
        kept = c if self.detail == "forget gate always open" else torch.sigmoid(f) * c
        if self.detail == "forget gate is 1 − input gate":
            kept = (1 - torch.sigmoid(i)) * c
        c = kept + torch.sigmoid(i) * g
        shown = c if self.detail == "output without tanh" else torch.tanh(c)
        return torch.sigmoid(o) * shown, c

    def gru_step(self, a, b, h):
        (r_a, z_a, n_a), (r_b, z_b, n_b) = a.chunk(3, dim=-1), b.chunk(3, dim=-1)
        if self.detail == "gates in the order z, r, n":
            r_a, z_a, r_b, z_b = z_a, r_a, z_b, r_b
        r, z = torch.sigmoid(r_a + r_b), torch.sigmoid(z_a + z_b)
        if self.detail == "update gate exchanged":
            z = 1 - z
        if self.detail == "reset before the product":
            n_b = (r * h) @ self.hidden_to_hidden.weight[-5:].T + self.hidden_to_hidden.bias[-5:]
        elif self.detail == "reset leaves the bias alone":
            n_b = r * (n_b - self.hidden_to_hidden.bias[-5:]) + self.hidden_to_hidden.bias[-5:]
        elif self.detail != "no reset":
            n_b = r * n_b
        n = n_a + n_b if self.detail == "candidate without tanh" else torch.tanh(n_a + n_b)
        return (1 - z) * n + z * h


EVERYWHERE = ("no input bias", "no hidden bias")
BREAKABLE = {
    RNN: (*EVERYWHERE, "relu"),
    LSTM: (
        *EVERYWHERE,
        "gates in the order i, f, o, g",
        "gates in the order f, i, g, o",
        "candidate without tanh",
        "forget gate always open",
        "forget gate is 1 − input gate",
        "output without tanh",
    ),
    GRU: (
        *EVERYWHERE,
        "gates in the order z, r, n",
        "update gate exchanged",
        "reset before the product",
        "reset leaves the bias alone",
        "no reset",
        "candidate without tanh",
    ),
}


@pytest.mark.parametrize(
    ("layer", "detail"), [(layer, detail) for layer, details in BREAKABLE.items() for detail in details]
)
def test_the_comparison_notices_each_broken_detail(layer, detail):
    sound = randomised(layer(d_input=2, d_hidden=5), torch.float32)
    reference = REFERENCES[layer](2, 5, batch_first=True)
    give_weights(reference, sound)
    with pytest.raises(AssertionError):
        assert_equal(*_sound_leaves(_Broken(sound, detail), reference, sound), torch.float32)
    assert_equal(*_sound_leaves(_Broken(sound, "nothing"), reference, sound), torch.float32)


def _sound_leaves(broken: nn.Module, reference: nn.Module, sound: nn.Module) -> tuple[list, list, list, list]:
    """As `run_both`; gradients to the inputs only, for a broken layer may not use all its weights."""
    ours, theirs, leaves, _ = run_both(broken, reference, torch.float32)
    n_inputs = len(leaves) - len(list(sound.parameters()))
    return ours, theirs, leaves[:n_inputs], leaves[:n_inputs]


@layers
def test_the_comparison_notices_a_backward_reader_that_starts_in_the_padding(layer):
    module = randomised(
        BidirectionalRNN(layer(d_input=2, d_hidden=5), layer(d_input=2, d_hidden=5)), torch.float32
    )
    x = torch.randn(3, 7, 2)
    leftwards, _ = module.backward_rnn(x.flip(1))
    naive = torch.cat([module.forward_rnn(x)[0], leftwards.flip(1)], dim=-1)
    sound = module(x, LENGTHS)
    full = LENGTHS == 7
    torch.testing.assert_close(naive[full], sound[full])
    for row, length in enumerate(LENGTHS.tolist()):
        if length < 7:
            assert (naive[row, :length] - sound[row, :length]).abs().max() > 1e-2


@given(
    layer=st.sampled_from(list(REFERENCES)),
    dtype=st.sampled_from(list(LIMITS)),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    d_input=st.integers(1, 7),
    d_hidden=st.integers(1, 7),
    seed=st.integers(0, 2**20),
)
@settings(max_examples=40)
def test_any_sizes_equal_torch_nn_one_way_with_a_state_and_both_ways(
    layer, dtype, lengths, d_input, d_hidden, seed
):
    torch.manual_seed(seed)
    n_batch, n_steps = len(lengths), max(lengths)
    module = randomised(
        BidirectionalRNN(*(layer(d_input=d_input, d_hidden=d_hidden) for _ in range(2))), dtype
    )
    reference = REFERENCES[layer](d_input, d_hidden, batch_first=True, bidirectional=True, dtype=dtype)
    one_way = REFERENCES[layer](d_input, d_hidden, batch_first=True, dtype=dtype)
    give_weights(reference, module.forward_rnn)
    give_weights(reference, module.backward_rnn, "_reverse")
    give_weights(one_way, module.forward_rnn)
    x = leaf(n_batch, n_steps, d_input, dtype=dtype)
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    both, _ = pad_packed_sequence(reference(packed)[0], batch_first=True)
    first = [leaf(n_batch, d_hidden, dtype=dtype) for _ in range(2 if layer is LSTM else 1)]
    outputs, _ = module.forward_rnn(x, tuple(first) if layer is LSTM else first[0])
    layered = [part[None] for part in first]
    expected, _ = one_way(x, tuple(layered) if layer is LSTM else layered[0])
    assert_equal([outputs], [expected], [x, *first], [x, *first], dtype)
    assert_equal(
        [module(x, torch.tensor(lengths))],
        [both],
        [x, *module.parameters()],
        [x, *weights_of(reference), *weights_of(reference, "_reverse")],
        dtype,
    )


def slow_seq2seq(model: Seq2Seq, src: list[int], tgt: list[int], references: dict) -> tuple[Tensor, Tensor]:
    """One sequence without padding, with torch's own cells and attention summed key by key."""
    x = model.src_embedding.weight[src]  # (Ts, D)
    rightwards, h_right = references["forward"](x[None])
    leftwards, h_left = references["backward"](x.flip(0)[None])
    memory = torch.cat([rightwards[0], leftwards[0].flip(0)], dim=-1)  # (Ts, 2D)
    bridge = model.bridge
    state = torch.tanh(torch.cat([h_right[0, 0], h_left[0, 0]]) @ bridge.weight.T + bridge.bias)  # (D,)
    rows, looked = [], []
    for token in tgt:
        read = model.tgt_embedding.weight[token]
        if model.attention is not None:
            of_query = model.attention.w_q.weight @ state
            scores = [
                model.attention.w_v.weight[0] @ torch.tanh(of_query + model.attention.w_k.weight @ key)
                for key in memory
            ]
            powers = [score.exp() for score in scores]
            weights = torch.stack([power / sum(powers) for power in powers])  # (Ts,)
            context = sum(weight * key for weight, key in zip(weights, memory, strict=True))
            looked.append(weights)
            read = torch.cat([read, context])
        state = references["decoder"](read[None, None], state[None, None])[1][0, 0]
        said = state if model.attention is None else torch.cat([state, context])
        rows.append(model.to_logits.weight @ said + model.to_logits.bias)
    return torch.stack(rows), torch.stack(looked) if looked else torch.empty(0)


@pytest.mark.parametrize("attention", [False, True])
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    n_written=st.integers(1, 5),
    d_model=st.integers(1, 6),
    seed=st.integers(0, 2**20),
)
@settings(max_examples=20)
def test_seq2seq_equals_a_slow_one_made_of_torchs_cells_row_by_row(
    attention, lengths, n_written, d_model, seed
):
    torch.manual_seed(seed)
    model = Seq2Seq(src_vocab_size=7, tgt_vocab_size=8, d_model=d_model, attention=attention)
    randomised(model, torch.float64)
    sizes = {"forward": d_model, "backward": d_model, "decoder": model.decoder.d_input}
    references = {
        name: nn.GRU(size, d_model, batch_first=True, dtype=torch.float64) for name, size in sizes.items()
    }
    give_weights(references["forward"], model.encoder.forward_rnn)
    give_weights(references["backward"], model.encoder.backward_rnn)
    give_weights(references["decoder"], model.decoder)
    src = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        src[row, :length] = torch.randint(1, 7, (length,))
    tgt = torch.randint(8, (len(lengths), n_written))
    logits, weights = model(src, tgt, 0)
    memory, mask, state = model.encode(src, 0)
    for row, length in enumerate(lengths):
        expected, looked = slow_seq2seq(model, src[row, :length].tolist(), tgt[row].tolist(), references)
        torch.testing.assert_close(logits[row], expected, rtol=0, atol=1e-12)
        if attention:
            torch.testing.assert_close(weights[row, :, :length], looked, rtol=0, atol=1e-12)
            assert (weights[row, :, length:] == 0).all()
    for step in range(n_written):
        said, _, state = model.decode(tgt[:, step : step + 1], memory, mask, state)
        torch.testing.assert_close(said[:, 0], logits[:, step], rtol=0, atol=1e-12)
