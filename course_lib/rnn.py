"""Recurrent networks: RNN, LSTM, GRU; both directions; a language model; encoder and decoder with attention.

B batch · T steps · d_input width of an input · d_hidden width of a state · V size of a vocabulary
Ts, Tt lengths of source and target · D d_model

Every layer reads one step after the other and hands its *state* on. The input's part of a step needs no
state and is computed for all steps at once; what stands in the loop is what must wait.

Papers: Elman 1990 (RNN); Hochreiter and Schmidhuber 1997, Gers et al. 2000 (LSTM and its forget gate); Cho et
al. 2014 (GRU, encoder and decoder); Schuster and Paliwal 1997 (both directions); Bahdanau et al. 2015
(attention).
"""

from __future__ import annotations

from typing import SupportsFloat, SupportsIndex

import torch
from torch import Tensor, nn

from course_lib.attention import AdditiveAttention
from course_lib.masks import padding_mask


class RNN(nn.Module):
    """Carry one state from step to step: h_t = tanh(W_x x_t + b_x + W_h h_{t−1} + b_h) (Elman 1990).

    Args:
        d_input: width of an input.
        d_hidden: width of the state.

    Raises:
        ValueError: a width below 1.
    """

    def __init__(self, *, d_input: int, d_hidden: int):
        super().__init__()
        _check_sizes("RNN", d_input=d_input, d_hidden=d_hidden)
        self.d_input, self.d_hidden = d_input, d_hidden
        self.input_to_hidden = nn.Linear(d_input, d_hidden)
        self.hidden_to_hidden = nn.Linear(d_hidden, d_hidden)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read a batch of sequences.

        Args:
            x: (B, T, d_input), T at least 1.
            state: (B, d_hidden), what an earlier part of the sequence left; None = zeros.

        Returns:
            The state after each step, (B, T, d_hidden), and after the last, (B, d_hidden).

        Raises:
            ValueError: shapes or dtypes that do not fit.
        """
        _check_input("RNN: x", x, self.input_to_hidden)
        h = _start("RNN: state", state, x, self.d_hidden)
        outputs = []
        for from_input in self.input_to_hidden(x).unbind(1):  # T times (B, d_hidden)
            h = torch.tanh(from_input + self.hidden_to_hidden(h))
            outputs.append(h)
        return torch.stack(outputs, dim=1), h  # (B, T, d_hidden)


class LSTM(nn.Module):
    """Carry a second state c that gates keep, change and show (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    i, f, o = σ(W x_t + U h_{t−1} + b), each with its own matrices; g = tanh(W_g x_t + U_g h_{t−1} + b_g);
    c_t = f ⊙ c_{t−1} + i ⊙ g; h_t = o ⊙ tanh(c_t).

    The rows of both linear maps are stacked in the order i, f, g, o, as in PyTorch.

    Args:
        d_input: width of an input.
        d_hidden: width of h and of c.

    Raises:
        ValueError: a width below 1.
    """

    def __init__(self, *, d_input: int, d_hidden: int):
        super().__init__()
        _check_sizes("LSTM", d_input=d_input, d_hidden=d_hidden)
        self.d_input, self.d_hidden = d_input, d_hidden
        self.input_to_hidden = nn.Linear(d_input, 4 * d_hidden)
        self.hidden_to_hidden = nn.Linear(d_hidden, 4 * d_hidden)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Read a batch of sequences.

        Args:
            x: (B, T, d_input), T at least 1.
            state: a pair h, c, each (B, d_hidden), what an earlier part left; None = zeros.

        Returns:
            h after each step, (B, T, d_hidden), and the pair h, c after the last.

        Raises:
            ValueError: shapes or dtypes that do not fit, or a state that is no pair.
        """
        _check_input("LSTM: x", x, self.input_to_hidden)
        if state is not None and not _is_pair(state):
            raise ValueError(f"LSTM: state must be a pair of tensors (h, c), got {_described(state)}")
        h = _start("LSTM: h", None if state is None else state[0], x, self.d_hidden)
        c = _start("LSTM: c", None if state is None else state[1], x, self.d_hidden)
        outputs = []
        for from_input in self.input_to_hidden(x).unbind(1):  # T times (B, 4 d_hidden)
            i, f, g, o = (from_input + self.hidden_to_hidden(h)).chunk(4, dim=-1)  # (B, d_hidden) each
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), (h, c)  # (B, T, d_hidden)


class GRU(nn.Module):
    """Carry one state that gates reset and update (Cho et al. 2014, equations 5 to 8).

    r, z = σ(W x_t + b + U h_{t−1} + b'), each with its own matrices;
    n = tanh(W_n x_t + b_n + r ⊙ (U_n h_{t−1} + b'_n)); h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}.

    The rows of both linear maps are stacked in the order r, z, n, as in PyTorch.

    Args:
        d_input: width of an input.
        d_hidden: width of the state.

    Raises:
        ValueError: a width below 1.

    Differs from the paper: r acts after the product with U_n, not on h_{t−1} before it, as in PyTorch.
    """

    def __init__(self, *, d_input: int, d_hidden: int):
        super().__init__()
        _check_sizes("GRU", d_input=d_input, d_hidden=d_hidden)
        self.d_input, self.d_hidden = d_input, d_hidden
        self.input_to_hidden = nn.Linear(d_input, 3 * d_hidden)
        self.hidden_to_hidden = nn.Linear(d_hidden, 3 * d_hidden)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read a batch of sequences. Arguments, returns and errors as in `RNN.forward`."""
        _check_input("GRU: x", x, self.input_to_hidden)
        h = _start("GRU: state", state, x, self.d_hidden)
        outputs = []
        for from_input in self.input_to_hidden(x).unbind(1):  # T times (B, 3 d_hidden)
            r_x, z_x, n_x = from_input.chunk(3, dim=-1)  # (B, d_hidden) each
            r_h, z_h, n_h = self.hidden_to_hidden(h).chunk(3, dim=-1)
            r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
            n = torch.tanh(n_x + r * n_h)
            h = (1 - z) * n + z * h
            outputs.append(h)
        return torch.stack(outputs, dim=1), h  # (B, T, d_hidden)


def reverse_within(x: Tensor, lengths: Tensor) -> Tensor:
    """Turn each sequence round and leave its padding at the end: row b, step t ← step lengths[b] − 1 − t.

    Args:
        x: (B, T, …).
        lengths: (B,), integers from 1 to T.

    Returns:
        The shape of `x`. Done twice, it changes nothing.

    Raises:
        ValueError: lengths that do not fit.
    """
    _check_lengths("reverse_within", lengths, x)
    steps = torch.arange(x.size(1), device=x.device)  # (T,)
    turned = lengths.to(x.device)[:, None] - 1 - steps  # (B, T), below 0 in the padding
    source = torch.where(turned >= 0, turned, steps)  # (B, T)
    return x[torch.arange(len(x), device=x.device)[:, None], source]


class BidirectionalRNN(nn.Module):
    """Read from both ends and lay the two states of each step side by side (Schuster and Paliwal 1997).

    Args:
        forward_rnn, backward_rnn: an `RNN`, `LSTM` or `GRU` each, with the same d_input.

    Raises:
        ValueError: the two differ in d_input.
    """

    def __init__(self, forward_rnn: RNN | LSTM | GRU, backward_rnn: RNN | LSTM | GRU):
        super().__init__()
        widths = [getattr(rnn, "d_input", None) for rnn in (forward_rnn, backward_rnn)]
        if None in widths or widths[0] != widths[1]:
            raise ValueError(
                f"BidirectionalRNN: both directions must have one d_input, got {widths[0]} and {widths[1]} in "
                f"{type(forward_rnn).__name__} and {type(backward_rnn).__name__}"
            )
        self.forward_rnn = forward_rnn
        self.backward_rnn = backward_rnn

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Read a batch of sequences whose padding stands at the end.

        Args:
            x: (B, T, d_input).
            lengths: (B,), how many steps of each row are real; None = all.

        Returns:
            (B, T, d_hidden of both), zeros in the padding. What stands in the padding of `x` changes nothing.

        Raises:
            ValueError: shapes, dtypes or lengths that do not fit.
        """
        _check_input("BidirectionalRNN: x", x, self.forward_rnn.input_to_hidden)
        if lengths is None:
            lengths = torch.full((x.size(0),), x.size(1))
        # Each direction meets the padding after the last real step, so that no real step sees it.
        rightwards, _ = self.forward_rnn(x)  # (B, T, d_hidden)
        leftwards, _ = self.backward_rnn(reverse_within(x, lengths))
        both = torch.cat([rightwards, reverse_within(leftwards, lengths)], dim=-1)  # (B, T, 2 d_hidden)
        real = torch.arange(x.size(1), device=x.device) < lengths.to(x.device)[:, None]  # (B, T)
        return both.masked_fill(~real[..., None], 0.0)


class RNNLanguageModel(nn.Module):
    """Predict the next token from all tokens so far: embedding, recurrent layer, linear map to the vocabulary.

    P(token_{t+1} | token_1 … token_t) = softmax(W h_t + b).

    Args:
        vocab_size: V.
        d_model: width of the embedding.
        rnn: an `RNN`, `LSTM` or `GRU` with d_input = d_model.

    Raises:
        ValueError: a size below 1, or a recurrent layer that reads another width.
    """

    def __init__(self, *, vocab_size: int, d_model: int, rnn: RNN | LSTM | GRU):
        super().__init__()
        _check_sizes("RNNLanguageModel", vocab_size=vocab_size, d_model=d_model)
        d_input = getattr(rnn, "d_input", None)
        if d_input != d_model:
            raise ValueError(
                f"RNNLanguageModel: rnn must read width d_model = {d_model}, got d_input = {d_input} in "
                f"{type(rnn).__name__}"
            )
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.rnn = rnn
        self.to_logits = nn.Linear(rnn.d_hidden, vocab_size)

    def forward(
        self, tokens: Tensor, state: Tensor | tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
        """Score every token of the vocabulary as the next one, after each token.

        Args:
            tokens: integer ids, (B, T).
            state: what the layer returned for the tokens before these; None at the beginning.

        Returns:
            Logits, (B, T, V), and the state after the last token: all that is kept of the prefix.

        Raises:
            ValueError: tokens that are not (B, T), no integers, or outside the vocabulary.
        """
        _check_tokens("RNNLanguageModel: tokens", tokens, self.embedding.num_embeddings)
        outputs, state = self.rnn(self.embedding(tokens), state)  # (B, T, d_hidden)
        return self.to_logits(outputs), state  # (B, T, V)


@torch.no_grad()
def generate(
    model: RNNLanguageModel,
    prompt: Tensor,
    n_tokens: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue a prompt, one token at a time, each drawn given all before it.

    The prompt is read once; after that the state stands for the prefix and only the newest token is fed.

    Args:
        model: returns logits and state, as `RNNLanguageModel` does.
        prompt: integer ids, (1, T), T at least 1.
        n_tokens: how many tokens to draw.
        temperature: divides the logits; 0 always takes the likeliest token.
        generator: source of random numbers; None = the global one.

    Returns:
        Prompt and continuation, (1, T + n_tokens).

    Raises:
        ValueError: a prompt that is not (1, T) or holds no ids, or a negative number or temperature.
    """
    if not isinstance(prompt, Tensor) or prompt.dim() != 2 or len(prompt) != 1 or prompt.size(1) < 1:
        raise ValueError(f"generate: prompt must be (1, T) with T ≥ 1, got {_described(prompt)}")
    _check_ids("generate: prompt", prompt)
    if not isinstance(n_tokens, SupportsIndex) or n_tokens < 0:
        raise ValueError(f"generate: n_tokens must be a whole number, at least 0, got {n_tokens!r}")
    if not isinstance(temperature, SupportsFloat) or not temperature >= 0:
        raise ValueError(f"generate: temperature must be a number, at least 0, got {temperature!r}")
    tokens, newest, state = prompt, prompt, None
    for _ in range(n_tokens):
        logits, state = model(newest, state)
        last = logits[:, -1]  # (1, V)
        last = last - last.max()  # so that a small temperature makes −∞, never ∞, which has no softmax
        if temperature < torch.finfo(last.dtype).tiny:  # 0, or 0 in this precision
            newest = last.argmax(-1, keepdim=True)  # (1, 1)
        else:
            newest = torch.multinomial((last / temperature).softmax(-1), 1, generator=generator)  # (1, 1)
        tokens = torch.cat([tokens, newest], dim=1)
    return tokens


class Seq2Seq(nn.Module):
    """Read a source from both ends, write a target step by step (Cho et al. 2014; Bahdanau et al. 2015).

    The encoder is a bidirectional GRU, the decoder a GRU whose first state is made of the encoder's two last
    ones: tanh(W [h_forward; h_backward] + b). Without attention that one vector is all that passes. With it,
    the decoder's state asks the whole memory before every step, c_t = Σ_j weights_tj memory_j with additive
    scores, and reads c_t beside its token.

    Args:
        src_vocab_size, tgt_vocab_size: sizes of the two vocabularies.
        d_model: D, width of embeddings and states.
        attention: whether the decoder may look at the memory.

    Raises:
        ValueError: a size below 1.

    Differs from the papers: logits are one linear map of state and c_t; the first decoder state sees both
    directions.
    """

    def __init__(self, *, src_vocab_size: int, tgt_vocab_size: int, d_model: int, attention: bool):
        super().__init__()
        _check_sizes("Seq2Seq", src_vocab_size=src_vocab_size, tgt_vocab_size=tgt_vocab_size, d_model=d_model)
        self.src_embedding = nn.Embedding(src_vocab_size, d_model)
        self.tgt_embedding = nn.Embedding(tgt_vocab_size, d_model)
        self.encoder = BidirectionalRNN(
            GRU(d_input=d_model, d_hidden=d_model), GRU(d_input=d_model, d_hidden=d_model)
        )
        self.bridge = nn.Linear(2 * d_model, d_model)
        d_context = 2 * d_model if attention else 0
        self.attention = (
            AdditiveAttention(d_query=d_model, d_key=2 * d_model, d_hidden=d_model) if attention else None
        )
        self.decoder = GRU(d_input=d_model + d_context, d_hidden=d_model)
        self.to_logits = nn.Linear(d_model + d_context, tgt_vocab_size)

    def encode(self, src: Tensor, src_pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
        """Read the source.

        Args:
            src: integer ids, (B, Ts), padding at the end of a row.
            src_pad_id: the id that fills short rows up.

        Returns:
            Memory, (B, Ts, 2D); its mask, (B, 1, Ts), True = a real token; first decoder state, (B, D).

        Raises:
            ValueError: tokens that do not fit, a row of padding alone, or padding before a token.
        """
        _check_tokens("Seq2Seq: src", src, self.src_embedding.num_embeddings)
        mask = padding_mask(src, src_pad_id).squeeze(1)  # (B, 1, Ts)
        lengths = mask.squeeze(1).sum(-1)  # (B,)
        if not (mask.squeeze(1).long().diff(dim=-1) <= 0).all() or lengths.min() < 1:
            raise ValueError(
                f"Seq2Seq: a row of src must begin with tokens and end with its padding, id {src_pad_id}"
            )
        memory = self.encoder(self.src_embedding(src), lengths)  # (B, Ts, 2D)
        rightwards, leftwards = memory.chunk(2, dim=-1)
        last = rightwards[torch.arange(len(src), device=src.device), lengths - 1]  # (B, D)
        both_ends = torch.cat([last, leftwards[:, 0]], dim=-1)  # (B, 2D)
        return memory, mask, torch.tanh(self.bridge(both_ends))

    def decode(
        self, tgt_inputs: Tensor, memory: Tensor, mask: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Write on from a state.

        Args:
            tgt_inputs: integer ids, (B, Tt): what was written so far, or the true tokens (teacher forcing).
            memory, mask, state: as `encode` returns them; state may be that of an earlier `decode`.

        Returns:
            Logits, (B, Tt, V); attention weights, (B, Tt, Ts), or None; the state after the last token, (B, D).

        Raises:
            ValueError: tokens, a memory or a state that do not fit.
        """
        _check_tokens("Seq2Seq: tgt_inputs", tgt_inputs, self.tgt_embedding.num_embeddings)
        _check_input("Seq2Seq: memory", memory, self.bridge)
        if len(tgt_inputs) != len(memory):
            raise ValueError(
                f"Seq2Seq: source and target must hold the same number of sequences, got {len(memory)} and "
                f"{len(tgt_inputs)}"
            )
        x = self.tgt_embedding(tgt_inputs)  # (B, Tt, D)
        state = _start("Seq2Seq: state", state, x, self.decoder.d_hidden)
        if self.attention is None:
            outputs, state = self.decoder(x, state)
            return self.to_logits(outputs), None, state
        seen, weights = [], []
        for token in x.split(1, dim=1):  # Tt times (B, 1, D)
            context, looked = self.attention(state[:, None], memory, memory, mask)  # (B, 1, 2D), (B, 1, Ts)
            output, state = self.decoder(torch.cat([token, context], dim=-1), state)  # (B, 1, D)
            seen.append(torch.cat([output, context], dim=-1))  # (B, 1, 3D)
            weights.append(looked)
        return self.to_logits(torch.cat(seen, dim=1)), torch.cat(weights, dim=1), state

    def forward(self, src: Tensor, tgt_inputs: Tensor, src_pad_id: int) -> tuple[Tensor, Tensor | None]:
        """Score the next target token after each true one (teacher forcing).

        Args:
            src: integer ids, (B, Ts), padding at the end of a row.
            tgt_inputs: integer ids, (B, Tt), beginning with the sign that starts a target.
            src_pad_id: the id that fills short rows up.

        Returns:
            Logits, (B, Tt, V), and attention weights, (B, Tt, Ts), None without attention.
        """
        logits, weights, _ = self.decode(tgt_inputs, *self.encode(src, src_pad_id))
        return logits, weights

    @torch.no_grad()
    def greedy(self, src: Tensor, *, src_pad_id: int, bos_id: int, eos_id: int, max_len: int) -> Tensor:
        """Write the likeliest token at each step; the encoder runs once.

        Args:
            src: integer ids, (B, Ts), padding at the end of a row.
            src_pad_id, bos_id, eos_id: ids that fill the source, start a target and end it.
            max_len: most tokens to write, at least 1.

        Returns:
            What was written, without `bos_id`, (B, T ≤ max_len); a row that has ended repeats `eos_id`.

        Raises:
            ValueError: a `max_len` below 1, a sign outside the target's vocabulary, or as in `encode`.
        """
        _check_sizes("Seq2Seq.greedy", max_len=max_len)
        n_words = self.tgt_embedding.num_embeddings
        for name, sign in (("bos_id", bos_id), ("eos_id", eos_id)):
            if not isinstance(sign, SupportsIndex) or not 0 <= sign < n_words:
                raise ValueError(
                    f"Seq2Seq.greedy: {name} must be an id from 0 to {n_words - 1}, got {sign!r}"
                )
        memory, mask, state = self.encode(src, src_pad_id)
        newest = torch.full((len(src), 1), bos_id, device=src.device)
        ended = torch.zeros(len(src), 1, dtype=torch.bool, device=src.device)
        written: list[Tensor] = []
        while len(written) < max_len and not ended.all():
            logits, _, state = self.decode(newest, memory, mask, state)
            newest = logits[:, -1].argmax(-1, keepdim=True).masked_fill(ended, eos_id)  # (B, 1)
            ended = newest == eos_id  # those that had ended, too: they repeat it
            written.append(newest)
        return torch.cat(written, dim=1)


def _start(name: str, state: Tensor | None, x: Tensor, d_hidden: int) -> Tensor:
    """Return the state to begin with, (B, d_hidden): the given one, or zeros."""
    if state is None:
        return x.new_zeros(x.size(0), d_hidden)
    if not isinstance(state, Tensor) or state.shape != (x.size(0), d_hidden):
        raise ValueError(f"{name} must be (B, d_hidden) = {(x.size(0), d_hidden)}, got {_described(state)}")
    if state.dtype != x.dtype:
        raise ValueError(f"{name} must have the input's dtype {x.dtype}, got {state.dtype}")
    return state


def _is_pair(state: object) -> bool:
    return isinstance(state, tuple) and len(state) == 2 and all(isinstance(part, Tensor) for part in state)


def _described(given: object) -> str:
    return f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"


def _check_sizes(name: str, **sizes: int) -> None:
    if not all(isinstance(size, SupportsIndex) and size >= 1 for size in sizes.values()):
        got = ", ".join(f"{which} = {size!r}" for which, size in sizes.items())
        raise ValueError(f"{name}: need whole numbers, at least 1, got {got}")


def _check_input(name: str, x: Tensor, first: nn.Linear) -> None:
    if not isinstance(x, Tensor) or x.dim() != 3 or x.size(1) < 1 or x.size(2) != first.in_features:
        raise ValueError(f"{name} must be (B, T, {first.in_features}) with T ≥ 1, got {_described(x)}")
    if x.dtype != first.weight.dtype:
        raise ValueError(f"{name} must have the layer's dtype {first.weight.dtype}, got {x.dtype}")


def _check_lengths(name: str, lengths: Tensor, x: Tensor) -> None:
    for given in (x, lengths):
        if not isinstance(given, Tensor):
            raise ValueError(f"{name}: x and lengths must be tensors, got {_described(given)}")
    if x.dim() < 2 or lengths.shape != x.shape[:1]:
        raise ValueError(
            f"{name}: need one length for each row, got lengths of shape {tuple(lengths.shape)} for x of "
            f"shape {tuple(x.shape)}"
        )
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise ValueError(f"{name}: lengths must be integers, got dtype {lengths.dtype}")
    if len(lengths) and not 1 <= int(lengths.min()) <= int(lengths.max()) <= x.size(1):
        raise ValueError(f"{name}: lengths must lie in 1 … {x.size(1)}, got {lengths.tolist()}")


def _check_tokens(name: str, tokens: Tensor, vocab_size: int) -> None:
    if not isinstance(tokens, Tensor) or tokens.dim() != 2 or tokens.numel() == 0:
        raise ValueError(f"{name} must be (B, T) with at least one token, got {_described(tokens)}")
    _check_ids(name, tokens)
    if not 0 <= int(tokens.min()) <= int(tokens.max()) < vocab_size:
        raise ValueError(
            f"{name} must be ids from 0 to {vocab_size - 1}, got {int(tokens.min())} to {int(tokens.max())}"
        )


def _check_ids(name: str, tokens: Tensor) -> None:
    if tokens.dtype not in (torch.int32, torch.int64):  # nn.Embedding takes no others
        raise ValueError(f"{name} must be ids, int64 or int32, got dtype {tokens.dtype}")
