"""Exercise 01.language_model_loss: shifted labels, teacher forcing, padding that does not count.

B batch · T tokens · V words of the vocabulary
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.language_models.shared import SpyModel, ids_of
from course_lib.checks.probe import a_function, a_tensor, yes
from course_lib.checks.shared import agrees, changes_its_input, left_to_chance, not_finite

LOSS_STUB = '''
def language_model_loss(model, tokens, pad_id):
    """Score a language model on a batch of sentences: the mean cross-entropy of each next token.

    Args:
        model: a module. model(ids), with ids (B, n), returns logits, (B, n, V): at each place its guess
            for the token that comes after it. What comes later does not change a guess.
        tokens: (B, T), ids. Each row is <sos>, words, <eos>, then padding up to T.
        pad_id: the id of padding; all other ids are real tokens.

    Returns:
        One number, in nats: the mean of -log P(token | all true tokens before it) over the real
        tokens of the batch. <sos> is given, not guessed; <eos> is guessed; padding does not count.
        Every token counts the same, whatever the length of its sentence. Logits may be large
        (±1000). Tokens and model stay as they were, and gradients flow to the model's weights.
    """
'''

_PAD = 6
_SENTENCES = torch.tensor(
    [[1, 4, 0, 3, 5, 2], [1, 5, 3, 2, 6, 6]]
)  # <sos> 1, <eos> 2, padding 6; 0 is a word


class _Chain(nn.Module):
    """A model that knows one chain of tokens by heart and is sure of the one `ahead` places on."""

    order = (3, 4, 0, 7, 1, 5, 2, 6, 8)

    def __init__(self, ahead: int):
        super().__init__()
        following = torch.empty(9, dtype=torch.long)
        following[torch.tensor(self.order)] = torch.tensor(self.order).roll(-ahead)
        self.sure = nn.Parameter(40.0 * F.one_hot(following, 9).float())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.sure[ids_of(tokens, 9).long()]


class _Undecided(nn.Module):
    """A model to which all words are equally likely."""

    def __init__(self, vocab_size: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(vocab_size, vocab_size))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits[ids_of(tokens, self.logits.size(0)).long()]


def _number(result: Any) -> Tensor:
    return a_tensor(result, called="one number, as a tensor")


def _loss_of(candidate: Any, model: nn.Module, tokens: Tensor, pad_id: int) -> Seen:
    return {"loss": _number(candidate(model, tokens.clone(), pad_id))}


def _loss_of_two_sentences(candidate: Any) -> Seen:
    model, given = SpyModel(7, seed=30), _SENTENCES.clone()
    loss = _number(a_function(candidate)(model, given, _PAD))
    fresh = SpyModel(7, seed=30)
    touched = any(not torch.equal(one, other) for one, other in zip(model.parameters(), fresh.parameters()))
    touched = touched or not model.training or any(weight.grad is not None for weight in model.parameters())
    again = _number(candidate(model, _SENTENCES.clone(), _PAD))
    chance = loss.shape != again.shape or not torch.allclose(loss, again, equal_nan=True)
    return {
        "loss": loss,
        "input changed": yes(not torch.equal(given, _SENTENCES)),
        "model changed": yes(touched),
        "second call differs": yes(chance),
    }


def _loss_of_an_undecided_model(candidate: Any) -> Seen:
    return _loss_of(candidate, _Undecided(7), _SENTENCES, _PAD)


_CHAINED = torch.tensor([[3, 4, 0, 7, 1, 5], [7, 1, 5, 8, 8, 8]])


def _loss_of_a_model_that_knows_what_comes(candidate: Any) -> Seen:
    return _loss_of(candidate, _Chain(1), _CHAINED, 8)


def _loss_of_a_model_that_repeats(candidate: Any) -> Seen:
    """A note: a model that is sure of the very token it has just read."""
    return {"_loss": _loss_of(candidate, _Chain(0), _CHAINED, 8)["loss"]}


def _loss_with_more_padding(candidate: Any) -> Seen:
    return _loss_of(candidate, SpyModel(7, seed=30), F.pad(_SENTENCES, (0, 3), value=_PAD), _PAD)


def _loss_without_padding(candidate: Any) -> Seen:
    tokens = torch.tensor(
        [[1, 3, 0, 3, 2], [1, 3, 3, 0, 2], [1, 0, 0, 3, 2], [1, 3, 0, 0, 2], [1, 0, 3, 3, 2]]
    )
    return _loss_of(candidate, SpyModel(5, seed=34), tokens, 4)


def _loss_of_one_sentence(candidate: Any) -> Seen:
    return _loss_of(candidate, SpyModel(8, seed=38), torch.tensor([[1, 7, 4, 6, 2, 0, 0]]), 0)


def _loss_of_long_and_short(candidate: Any) -> Seen:
    """Nine tokens to guess in the first sentence, one in the second: means of means differ."""
    tokens = torch.tensor([[1, 4, 5, 7, 8, 4, 9, 5, 4, 2], [1, 2] + [0] * 8, [1, 6, 2] + [0] * 7])
    return _loss_of(candidate, SpyModel(10, seed=42), tokens, 0)


def _loss_with_the_shortest_first(candidate: Any) -> Seen:
    """The first sentence ends before the others, and the last column is full."""
    tokens = torch.tensor([[1, 4, 2, 6, 6, 6], [1, 5, 3, 0, 2, 6], [1, 0, 4, 3, 5, 2]])
    return _loss_of(candidate, SpyModel(7, seed=48), tokens, 6)


def _what_each_token_counts(candidate: Any) -> Seen:
    """A note: how strongly the guess after each token moves the loss of an undecided model, the strongest 1."""
    model = _Undecided(7)
    loss = _number(candidate(model, _SENTENCES.clone(), _PAD))
    if not loss.requires_grad:
        return {"_counts": torch.zeros(7)}
    (gradient,) = torch.autograd.grad(loss.sum(), [model.logits])
    felt = gradient.abs().sum(-1)
    return {"_counts": felt / felt.max().clamp(min=1e-9)}


def _loss_of_a_single_token(candidate: Any) -> Seen:
    """Four models on a sentence that is <sos>, <eos> and padding: one token to guess, no mean."""
    tokens = torch.tensor([[1, 2, 7, 7, 7]])
    found = [_loss_of(candidate, SpyModel(8, seed=52 + 4 * n), tokens, 7)["loss"] for n in range(4)]
    return {"loss": torch.stack([loss.reshape(-1)[0] for loss in found])}


def _loss_with_logits_around_1000(candidate: Any) -> Seen:
    return _loss_of(candidate, SpyModel(7, seed=30, raised=1000.0), _SENTENCES, _PAD)


def _loss_of_a_model_that_is_far_off(candidate: Any) -> Seen:
    return _loss_of(candidate, SpyModel(7, seed=46, loud=100.0), _SENTENCES, _PAD)


def _gradients_to_the_weights(candidate: Any) -> Seen:
    model = SpyModel(7, seed=30)
    loss = _number(candidate(model, _SENTENCES.clone(), _PAD))
    weights = dict(model.named_parameters())
    if not loss.requires_grad:
        return {f"gradient to {name}": torch.zeros_like(weight) for name, weight in weights.items()}
    found = torch.autograd.grad(loss.sum(), list(weights.values()), allow_unused=True)
    return {
        f"gradient to {name}": torch.zeros_like(weight) if gradient is None else gradient
        for (name, weight), gradient in zip(weights.items(), found, strict=True)
    }


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(-1)


def _mean_of(losses: Tensor, real: Tensor) -> Tensor:
    return _kept(losses, real).sum() / real.sum()


def _kept(losses: Tensor, real: Tensor) -> Tensor:
    return torch.where(real, losses, torch.zeros_like(losses))


def _loss(
    *,
    ask: Any = None,
    guess: slice = slice(None, -1),
    word: slice = slice(1, None),
    logs: Any = _log_softmax,
    real: Any = None,
    total: Any = _mean_of,
) -> Any:
    """Return an answer with one part exchanged.

    `ask(model, tokens)` gives logits; `guess` and `word` say which of their places meet which tokens; `logs(logits)`
    makes log-probabilities; `real(words, pad_id)` says which words count; `total(losses, real)` ends it.
    """

    def run(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
        logits = model(tokens) if ask is None else ask(model, tokens)
        words = tokens[:, word]
        losses = -logs(logits)[:, guess].gather(-1, words.unsqueeze(-1)).squeeze(-1)
        return total(losses, words != pad_id if real is None else real(words, pad_id))

    return run


def _asked_with_its_own_guesses(model: nn.Module, tokens: Tensor) -> Tensor:
    read, logits = tokens[:, :1], []
    for _ in range(tokens.size(1)):
        logits.append(model(read)[:, -1])
        read = torch.cat([read, logits[-1].argmax(-1, keepdim=True)], dim=1)
    return torch.stack(logits, dim=1)


def _asked_one_token_at_a_time(model: nn.Module, tokens: Tensor) -> Tensor:
    return torch.cat([model(tokens[:, t : t + 1]) for t in range(tokens.size(1))], dim=1)


def _rolled(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    return F.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(-1, 1).flatten(), ignore_index=pad_id)


def _reshaped(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    logits, labels = model(tokens[:, :-1]), tokens[:, 1:]
    return F.cross_entropy(
        logits.reshape(logits.size(0), logits.size(2), logits.size(1)), labels, ignore_index=pad_id
    )


def _labels_column_by_column(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    return F.cross_entropy(
        model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].t().flatten(), ignore_index=pad_id
    )


def _logits_column_by_column(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    logits = model(tokens[:, :-1]).transpose(0, 1).flatten(0, 1)
    return F.cross_entropy(logits, tokens[:, 1:].flatten(), ignore_index=pad_id)


def _reads_the_words_to_guess_those_before(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    return F.cross_entropy(model(tokens[:, 1:]).transpose(1, 2), tokens[:, :-1], ignore_index=pad_id)


def _reads_its_own_guesses(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    logits = model(model(tokens[:, :-1]).argmax(-1))
    return F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], ignore_index=pad_id)


def _pad_labels_overwritten(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    logits, labels = model(tokens[:, :-1].clone()), tokens[:, 1:]
    labels[labels == pad_id] = -100
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def _pads_named_word_zero(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    labels = torch.where(tokens == pad_id, 0, tokens)[:, 1:]
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), labels.flatten())


def _pad_logits_set_to_zero(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    labels = tokens[:, 1:]
    logits = model(tokens[:, :-1]) * (labels != pad_id).unsqueeze(-1)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def _without_eos(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    after = F.pad(tokens, (0, 1), value=pad_id)[:, 2:]
    return _loss(real=lambda words, pad: after != pad)(model, tokens, pad_id)


def _mask_of_the_inputs(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    return _loss(real=lambda words, pad: tokens[:, :-1] != pad)(model, tokens, pad_id)


def _divided_with_sos(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    return _loss(total=lambda losses, real: _kept(losses, real).sum() / (tokens != pad_id).sum())(
        model, tokens, pad_id
    )


def _squared_error(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    logits = model(tokens[:, :-1])
    aim = F.one_hot(tokens[:, 1:].clamp(max=logits.size(-1) - 1), logits.size(-1)).float()
    return ((logits.softmax(-1) - aim) ** 2)[tokens[:, 1:] != pad_id].mean()


def _smoothed(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    logits, labels = model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
    return F.cross_entropy(logits, labels, ignore_index=pad_id, label_smoothing=0.1)


def _accuracy(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    right = (model(tokens[:, :-1]).argmax(-1) == tokens[:, 1:]).float()
    return right[tokens[:, 1:] != pad_id].mean()


def _reads_the_answers(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    labels = tokens[:, 1:]
    return F.cross_entropy(model(labels).flatten(0, 1), labels.flatten(), ignore_index=pad_id)


def _without_the_last_column(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    return _loss()(model, tokens[:, :-1], pad_id)


def _with_no_gradient(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    with torch.no_grad():
        return _loss()(model, tokens, pad_id)


def _along_the_batch(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    return F.cross_entropy(model(tokens[:-1]).flatten(0, 1), tokens[1:].flatten(), ignore_index=pad_id)


def _columns_read(model: nn.Module, tokens: Tensor, pad_id: int) -> Tensor:
    labels = tokens[:, 1:].T.flatten()
    return F.cross_entropy(model(tokens[:, :-1].T).flatten(0, 1), labels, ignore_index=pad_id)


def _sentence_means(losses: Tensor, real: Tensor) -> Tensor:
    return (_kept(losses, real).sum(1) / real.sum(1)).mean()


_SHIFT_LINE = "logits, labels = model(tokens[:, :-1]), tokens[:, 1:]"
_PAD_LINE = "F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=pad_id)"
_MEAN_LINE = "losses[real].mean(), over the real tokens of the whole batch"
_LOGITS_LINE = "F.cross_entropy(logits, labels) on the logits as the model gives them"

_NO_SHIFT = (
    "No shift: the guess made after reading a token is compared with that very token.",
    "The model would learn to repeat, and its loss fall to 0. Which token should the guess at place t meet?",
    _SHIFT_LINE,
)
_WRONG_WAY = (
    "You shift the wrong way: each guess meets the token *before* the one just read.",
    "The guess at place t is for the token at t + 1: the inputs lose their last token, the labels their first.",
    _SHIFT_LINE,
)
_PADS = (
    "Padding is counted: the model is scored on guessing pad tokens.",
    "Which labels are real? `ignore_index` is told, or a mask made, from `pad_id`, not from a fixed number.",
    _PAD_LINE,
)
_SENTENCES_ALIKE = (
    "You average each sentence, then the sentences; each token should count the same.",
    "A word of a short sentence now weighs more. Add up all real tokens, and divide once.",
    _MEAN_LINE,
)


def _loss_mistakes() -> tuple[Mistake, ...]:
    return (
        Mistake("no shift", _loss(guess=slice(None), word=slice(None)), *_NO_SHIFT),
        Mistake("no shift, without the first", _loss(guess=slice(1, None), word=slice(1, None)), *_NO_SHIFT),
        Mistake("no shift, without the last", _loss(guess=slice(None, -1), word=slice(None, -1)), *_NO_SHIFT),
        Mistake("the wrong way", _loss(guess=slice(1, None), word=slice(None, -1)), *_WRONG_WAY),
        Mistake(
            "inputs and labels exchanged",
            _reads_the_words_to_guess_those_before,
            "Inputs and labels are exchanged: each guess is compared with a token before.",
            "It reads from <sos> on, tokens[:, :-1], and guesses what comes after: tokens[:, 1:].",
            "inputs, labels = tokens[:, :-1], tokens[:, 1:]",
        ),
        Mistake(
            "reads its own guesses",
            _reads_its_own_guesses,
            "The model is asked again with its own guesses; it should read the true tokens.",
            "Teacher forcing: whatever the model guesses, it reads what stands in the sentence. Ask it once.",
            "logits = model(tokens[:, :-1])",
        ),
        Mistake(
            "logits column by column",
            _logits_column_by_column,
            "The logits are laid out column by column, the labels row by row.",
            "Before both are made flat their axes must stand in the same order: (B, T) in front.",
            "F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=pad_id)",
        ),
        Mistake(
            "two ahead",
            _loss(guess=slice(None, -2), word=slice(2, None)),
            "You shift twice: each guess meets the token two places on.",
            "Are the labels cut by one, and then the logits and labels again?",
            _SHIFT_LINE,
        ),
        Mistake(
            "reads the answers",
            _reads_the_answers,
            "The model is asked with the labels: it reads each answer before it guesses it.",
            "It reads tokens[:, :-1], from <sos> on; the labels begin one later.",
            _SHIFT_LINE,
        ),
        Mistake(
            "rolled",
            _rolled,
            "After the last token of a full row your label is <sos>, from the row's begin.",
            "`roll` carries the first token round to the end. Cut both instead: what is left over is dropped.",
            _SHIFT_LINE,
        ),
        Mistake(
            "shifted along the batch",
            _along_the_batch,
            "You shift along the batch: each sentence is to guess the next sentence's tokens.",
            "tokens[1:] drops the first *row*. The places of a sentence stand on axis 1: tokens[:, 1:].",
            _SHIFT_LINE,
        ),
        Mistake(
            "rows and columns exchanged",
            _columns_read,
            "The model reads columns: one token of each sentence, one after the other.",
            "It takes (B, n). Is there a `.T` in front of it?",
            _SHIFT_LINE,
        ),
        Mistake(
            "the first word is left out",
            _loss(guess=slice(1, -1), word=slice(2, None)),
            "The first word is left out; it is guessed from <sos>, and counts.",
            "Inputs and labels both begin one too late: the labels alone lose their first token.",
            _SHIFT_LINE,
        ),
        Mistake(
            "<sos> is never read",
            lambda model, tokens, pad_id: _loss()(model, tokens[:, 1:], pad_id),
            "<sos> is never read, and the first word never guessed.",
            "Are inputs and labels both cut at the front? The inputs begin with <sos>: tokens[:, :-1].",
            _SHIFT_LINE,
        ),
        Mistake(
            "the length of the first sentence for all",
            lambda model, tokens, pad_id: _loss()(
                model, tokens[:, : int((tokens[0] != pad_id).sum())], pad_id
            ),
            "All sentences are cut where the first one ends.",
            "The first row may be shorter than another. Ask pad_id at every place: labels != pad_id.",
            _PAD_LINE,
        ),
        Mistake(
            "cut at the shortest sentence",
            lambda model, tokens, pad_id: _loss()(
                model, tokens[:, : int((tokens != pad_id).sum(1).min())], pad_id
            ),
            "All sentences are cut where the shortest one ends.",
            "The longer ones have more words to guess, and each counts. Leave out padding, and only padding.",
            _PAD_LINE,
        ),
        Mistake(
            "the last column is left out",
            _without_the_last_column,
            "The last column of tokens is never a label.",
            "tokens[:, 1:] goes to the end; tokens[:, 1:-1] does not.",
            _SHIFT_LINE,
        ),
        Mistake(
            "<eos> is left out",
            _without_eos,
            "The last real token of each sentence, <eos>, is not counted.",
            "A model that is never scored on <eos> never learns to stop.",
            _PAD_LINE,
        ),
        Mistake(
            "the mask of the inputs",
            _mask_of_the_inputs,
            "One padding token behind each shorter sentence is counted.",
            "Is the mask made from the inputs? It must say which *labels* are real: tokens[:, 1:] != pad_id.",
            _PAD_LINE,
        ),
        Mistake(
            "with its own guesses",
            _loss(ask=_asked_with_its_own_guesses),
            "The model is asked with its own guesses; in training it reads the true tokens.",
            "That is *teacher forcing*: whatever it guessed, the next question begins from what is true.",
            _SHIFT_LINE,
        ),
        Mistake(
            "one token at a time",
            _loss(ask=_asked_one_token_at_a_time),
            "The model is asked with one token alone; it must read all tokens before.",
            "It keeps nothing between calls. One call with tokens[:, :-1] gives all guesses at once.",
            _SHIFT_LINE,
        ),
        Mistake("padding is counted", _loss(real=lambda words, pad: words == words), *_PADS),
        Mistake(
            "token 0 is ignored",
            _loss(real=lambda words, pad: words != 0),
            "You leave token 0 out and count padding, which has the id `pad_id`.",
            "Padding is 0 in many programs; here it is what `pad_id` says.",
            _PAD_LINE,
        ),
        Mistake(
            "token 0 is ignored too",
            _loss(real=lambda words, pad: (words != 0) & (words != pad)),
            "Token 0 is left out; it is a word like any other unless pad_id is 0.",
            "Only `pad_id` says what padding is.",
            _PAD_LINE,
        ),
        Mistake(
            "padding is named word 0",
            _pads_named_word_zero,
            "Padding gets the label 0, and is then counted like a word.",
            "A label of -100 is ignored by F.cross_entropy; 0 is a word.",
            _PAD_LINE,
        ),
        Mistake(
            "the logits of padding are set to 0",
            _pad_logits_set_to_zero,
            "The logits at padding are set to 0, so each padding token costs ln V.",
            "Equal logits make every word equally likely. Leave padding out of the mean.",
            _PAD_LINE,
        ),
        Mistake(
            "divided by all places",
            _loss(total=lambda losses, real: _kept(losses, real).mean()),
            "You divide by the number of all places, padding too.",
            "How many real labels are in the sum? Divide by that.",
            _MEAN_LINE,
        ),
        Mistake(
            "divided with <sos>",
            _divided_with_sos,
            "You divide by the number of real tokens with <sos>, which is never guessed.",
            "How many real *labels* are in the sum? Divide by that.",
            _MEAN_LINE,
        ),
        Mistake("the mean of each sentence first", _loss(total=_sentence_means), *_SENTENCES_ALIKE),
        Mistake(
            "added up over each sentence",
            _loss(total=lambda losses, real: _kept(losses, real).sum(1).mean()),
            "You add up each sentence and divide by their number, not by that of tokens.",
            "A loss per sentence grows with its length. Divide by the number of real labels.",
            _MEAN_LINE,
        ),
        Mistake(
            "the sum",
            _loss(total=lambda losses, real: _kept(losses, real).sum()),
            "This is the sum over all real tokens; the mean is asked for.",
            "A sum grows with the batch. Divide by the number of real labels.",
            _MEAN_LINE,
        ),
        Mistake(
            "token by token",
            _loss(total=_kept),
            "You return one number for each token; their mean is asked for.",
            "`reduction='none'` needs a mean behind it, over the real tokens.",
            _MEAN_LINE,
        ),
        Mistake(
            "sentence by sentence",
            _loss(total=lambda losses, real: _kept(losses, real).sum(1) / real.sum(1)),
            "You return one number for each sentence; one for the batch is asked for.",
            "Add up all real tokens of the batch, and divide once.",
            _MEAN_LINE,
        ),
        Mistake(
            "the sign is turned",
            _loss(total=lambda losses, real: -_mean_of(losses, real)),
            "The sign is turned: your loss is the mean of the log-probabilities.",
            "A loss is to be made small, so it is minus the log-probability.",
            "losses = -logs.gather(…)",
        ),
        Mistake(
            "perplexity",
            _loss(total=lambda losses, real: _mean_of(losses, real).exp()),
            "This is the perplexity, e to the power of the loss.",
            "Leave the exp out.",
            _MEAN_LINE,
        ),
        Mistake(
            "bits",
            _loss(total=lambda losses, real: _mean_of(losses, real) / math.log(2)),
            "Your loss is in bits; nats are asked for.",
            "Nats take the natural logarithm: torch.log, not log2.",
            _MEAN_LINE,
        ),
        Mistake(
            "softmax before the cross-entropy",
            _loss(logs=lambda logits: logits.softmax(-1).log_softmax(-1)),
            "A softmax stands before the cross-entropy, which already contains one.",
            "Even a model that is right would never reach a loss of 0. Which input does F.cross_entropy want?",
            _LOGITS_LINE,
        ),
        Mistake(
            "minus the probability",
            _loss(logs=lambda logits: logits.softmax(-1)),
            "The logarithm is missing: these are minus probabilities.",
            "F.nll_loss wants log-probabilities: it takes no logarithm itself.",
            _LOGITS_LINE,
        ),
        Mistake(
            "minus the logit",
            _loss(logs=lambda logits: logits),
            "The log-softmax is missing: these are minus logits.",
            "F.nll_loss wants log-probabilities; F.cross_entropy takes logits.",
            _LOGITS_LINE,
        ),
        Mistake(
            "softmax over the sentence",
            _loss(logs=lambda logits: logits[:, :-1].log_softmax(1), guess=slice(None)),
            "Your softmax runs over the places of the sentence, not over the vocabulary.",
            "The words compete at each place. Which axis of the logits holds them?",
            _LOGITS_LINE,
        ),
        Mistake(
            "softmax over the sentence, uncut",
            _loss(logs=lambda logits: logits.log_softmax(1)),
            "Your softmax runs over the places of the sentence, not over the vocabulary.",
            "The words compete at each place. Which axis of the logits holds them?",
            _LOGITS_LINE,
        ),
        Mistake(
            "softmax over the batch",
            _loss(logs=lambda logits: logits.log_softmax(0)),
            "Your softmax runs over the batch, not over the vocabulary.",
            "The words compete at each place. Which axis of the logits holds them?",
            _LOGITS_LINE,
        ),
        Mistake(
            "log of softmax",
            _loss(logs=lambda logits: logits.softmax(-1).log()),
            "Right for small logits; for large ones a probability is 0 and its log -inf.",
            "F.cross_entropy and log_softmax go from logits to logarithms in one step.",
            _LOGITS_LINE,
        ),
        Mistake(
            "a small number is added",
            _loss(logs=lambda logits: (logits.softmax(-1) + 1e-8).log()),
            "A small number is added inside the logarithm: a very wrong guess costs too little.",
            "log_softmax needs no such crutch: it never takes the logarithm of 0.",
            _LOGITS_LINE,
        ),
        Mistake(
            "overflow",
            _loss(logs=lambda logits: logits - logits.exp().sum(-1, keepdim=True).log()),
            "Right for small logits; large ones overflow: exp(1000) is infinite.",
            "F.cross_entropy and log_softmax take each row's maximum away first.",
            _LOGITS_LINE,
        ),
        Mistake(
            "labels column by column",
            _labels_column_by_column,
            "Logits and labels are flattened in different orders.",
            "Flatten both row by row: the k-th row of the logits must belong to the k-th label.",
            _PAD_LINE,
        ),
        Mistake(
            "the axes of the logits reshaped",
            _reshaped,
            "A reshape in place of a transpose mixes words and places in your logits.",
            "F.cross_entropy wants (B, V, n) and (B, n), or both flattened: logits.transpose(1, 2).",
            _PAD_LINE,
        ),
        Mistake(
            "squared error",
            _squared_error,
            "This is a squared error between probabilities, not the cross-entropy.",
            "The loss of a token is minus the logarithm of its probability.",
            _LOGITS_LINE,
        ),
        Mistake(
            "smoothed labels",
            _smoothed,
            "Your labels are smoothed; here the true token alone counts.",
            "Leave `label_smoothing` out.",
            _PAD_LINE,
        ),
        Mistake(
            "accuracy",
            _accuracy,
            "This is the share of right guesses; the cross-entropy is asked for.",
            "Counting has no gradient. The loss of a token is minus the logarithm of its probability.",
            _LOGITS_LINE,
        ),
        Mistake(
            "the last token only",
            _loss(total=lambda losses, real: losses[torch.arange(len(real)), real.sum(1) - 1].mean()),
            "Only the last real token of each sentence is scored.",
            "The guess at every place is scored.",
            _MEAN_LINE,
        ),
        Mistake(
            "the last column only",
            _loss(total=lambda losses, real: losses[:, -1].mean()),
            "Only the last column is scored, padding or not.",
            "The guess at every place is scored.",
            _MEAN_LINE,
        ),
        Mistake(
            "changes the tokens",
            _pad_labels_overwritten,
            "The loss is right, but your function changed the tokens it was given.",
            "tokens[:, 1:] is a view: writing -100 into it writes into the caller's tensor. Clone it first.",
            "labels = tokens[:, 1:].masked_fill(tokens[:, 1:] == pad_id, -100)",
        ),
        Mistake(
            "no gradient",
            _with_no_gradient,
            "The loss is right, but no gradient flows to the model's weights.",
            "torch.no_grad(), `.detach()`, `.data` and `.item()` cut the gradient.",
            "leave torch.no_grad() for evaluation",
        ),
    )


_FIRST = "loss of two sentences"


def _counts_alike(seen: dict[str, Seen]) -> bool:
    return agrees(seen, _loss_of_two_sentences, LOSS.reference) or agrees(
        seen, _what_each_token_counts, LOSS.reference
    )


def _loss_properties() -> tuple[Property, ...]:
    return (
        changes_its_input(_FIRST),
        Property(
            "changes the model",
            lambda seen: seen[_FIRST]["model changed"].item() == 0,
            "Your function changes the model: its mode, its weights or the gradients it keeps.",
            "A loss only measures. `backward`, `eval()`, `train()` and any step are the caller's to call.",
        ),
        left_to_chance(_FIRST),
        not_finite(lambda seen: seen[_FIRST]["loss"], "losses"),
        Property(
            "below zero",
            lambda seen: bool((seen[_FIRST]["loss"] >= 0).all()),
            "Your loss is below 0; minus the logarithm of a probability never is.",
            "Is a sign turned, or is there no log-softmax?",
        ),
        Property(
            "a model that repeats",
            lambda seen: (
                not bool(
                    (seen["loss of a model that repeats"]["_loss"].abs() < 1e-3)
                    and (seen["loss of a model that knows what comes"]["loss"].abs() > 1)
                )
            ),
            "A model that repeats the token it has just read gets the loss 0 from you.",
            "The guess at place t is for the token at t + 1. Which logits meet which labels?",
        ),
        Property(
            "an undecided model",
            lambda seen: agrees(seen, _loss_of_an_undecided_model, LOSS.reference),
            "If all 7 words are equally likely the loss is ln 7; yours is not.",
            "Is it a mean, over the places it adds up? And is it -log of a softmax over the vocabulary?",
        ),
        Property(
            "depends on padding",
            lambda seen: torch.allclose(
                seen[_FIRST]["loss"], seen["loss with more padding"]["loss"], atol=1e-3
            ),
            "More padding behind the same sentences changes your loss.",
            "Which labels count, and what is the sum divided by? And does the last column of a full row count?",
        ),
        Property(
            "a model that knows what comes",
            lambda seen: (
                seen["loss of a model that knows what comes"]["loss"].abs().item() < 1e-3
                and seen["loss of a model that knows what comes"]["loss"].numel() == 1
            ),
            "A model that is sure of each next token, and right, has the loss 0; not with you.",
            "Does each guess meet the token after it? Is padding left out? Is there a second softmax?",
        ),
        Property(
            "long and short sentences",
            lambda seen: (
                not agrees(seen, _loss_without_padding, LOSS.reference)
                or agrees(seen, _loss_of_two_sentences, LOSS.reference)
                or (
                    agrees(seen, _loss_of_long_and_short, LOSS.reference)
                    and agrees(seen, _loss_with_the_shortest_first, LOSS.reference)
                )
            ),
            "Right where all sentences are equally long, wrong where they are not.",
            "Every real token counts the same: one sum over the batch, divided once. And <eos> counts too.",
        ),
        Property(
            "another order of lengths",
            lambda seen: (
                not agrees(seen, _loss_of_two_sentences, LOSS.reference)
                or agrees(seen, _loss_with_the_shortest_first, LOSS.reference)
            ),
            "Right where the longest sentence stands first, wrong where the shortest does.",
            "Is a length taken from the first row?",
        ),
        Property(
            "another pad_id",
            lambda seen: (
                not agrees(seen, _loss_of_two_sentences, LOSS.reference)
                or (
                    agrees(seen, _loss_of_long_and_short, LOSS.reference)
                    and agrees(seen, _loss_of_one_sentence, LOSS.reference)
                )
            ),
            "Right where pad_id is the largest id, wrong where it is 0.",
            "Padding is what equals pad_id: labels != pad_id. Any other id, smaller or larger, is a real token.",
        ),
        Property(
            "large logits",
            lambda seen: (
                not agrees(seen, _loss_of_two_sentences, LOSS.reference)
                or (
                    agrees(seen, _loss_with_logits_around_1000, LOSS.reference)
                    and agrees(seen, _loss_of_a_model_that_is_far_off, LOSS.reference)
                )
            ),
            "Right for small logits, wrong for large ones.",
            "exp(1000) is infinite, and log(0) is -inf. Which function goes from logits to logarithms in one step?",
        ),
        Property(
            "another loss of a token",
            lambda seen: (
                agrees(seen, _loss_of_two_sentences, LOSS.reference)
                or agrees(seen, _loss_of_a_single_token, LOSS.reference)
            ),
            "Of a single token your loss is not minus the logarithm of its softmax.",
            "Are the logits scaled, cut off or put through another function? Is something added to the loss?",
        ),
        Property(
            "not every token counts the same",
            _counts_alike,
            "Some real tokens count more than others in your loss, or padding counts.",
            "Is a token left out, or weighed, for its id or its place? Only pad_id says what does not count.",
        ),
        Property(
            "no mean",
            lambda seen: agrees(seen, _loss_of_two_sentences, LOSS.reference),
            "Of a single token your loss is right; that of many is not their mean.",
            "Add up the losses of all real tokens of the batch, and divide once, by their number.",
        ),
        Property(
            "no gradient",
            lambda seen: all(
                gradient.abs().max() > 0 for gradient in seen["gradients to the weights"].values()
            ),
            "No gradient flows to some of the model's weights.",
            "Does every guess come from the model, with the whole sentence before it? `.detach()`, `.data`, "
            "`.item()` and torch.no_grad() cut the gradient.",
        ),
    )


LOSS: Exercise = Exercise(
    id="01.language_model_loss",
    title="The loss of a language model",
    stub=LOSS_STUB,
    reference=_loss(),
    experiments=(
        _loss_of_two_sentences,
        _loss_of_an_undecided_model,
        _loss_of_a_model_that_knows_what_comes,
        _loss_of_a_model_that_repeats,
        _loss_with_more_padding,
        _loss_without_padding,
        _loss_of_one_sentence,
        _loss_of_long_and_short,
        _loss_with_the_shortest_first,
        _loss_of_a_single_token,
        _what_each_token_counts,
        _loss_with_logits_around_1000,
        _loss_of_a_model_that_is_far_off,
        _gradients_to_the_weights,
    ),
    mistakes=_loss_mistakes(),
    properties=_loss_properties(),
    difficulty=2,
    importance=5,
    minutes=15,
)
