"""Exercise 01.sentence_probability: how likely a language model finds a sentence.

B batch · T tokens · V words of the vocabulary
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, left_to_chance, no_gradient

SENTENCE_STUB = '''
def sentence_log_probability(logits, tokens, lengths):
    """Say how likely a language model finds each sentence: log P(word 1, word 2, … | <sos>).

    Args:
        logits: (B, T, V). logits[b, t] is the model's guess, before any softmax, for the token that
            comes *after* tokens[b, t].
        tokens: (B, T), ids, T at least 2. Each row is <sos>, the words, then padding. Any id may be a
            real word, 0 too, and padding may hold any id.
        lengths: (B,), integers: how many tokens of each row are real, <sos> among them; at least 1.

    Returns:
        (B,): for each row the sum of the natural logarithms of the probabilities of its words, each
        word given those before it. <sos> is given, not guessed; padding does not count. Sentences may
        be long and logits large (±1000). The inputs stay as they were, and gradients flow back to
        the logits.
    """
'''


def _sentences(
    lengths: list[int], n_tokens: int, vocab_size: int, *, seed: int, std: float = 1.5
) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(seed + 1)
    tokens = torch.randint(vocab_size, (len(lengths), n_tokens), generator=draw)
    logits = numbers(len(lengths), n_tokens, vocab_size, seed=seed, std=std)
    return logits, tokens, torch.tensor(lengths)


def _asked(candidate: Any, sentences: tuple[Tensor, ...]) -> Seen:
    return {"log probability": a_tensor(candidate(*(tensor.clone() for tensor in sentences)))}


def _two_sentences() -> tuple[Tensor, ...]:
    logits, tokens, lengths = _sentences([5, 3], 6, 7, seed=1)
    tokens = torch.tensor([[1, 4, 0, 6, 3, 5], [1, 2, 5, 0, 4, 2]])  # 0 is a word, and padding is not 0
    return logits, tokens, lengths


def _two_sentences_with_padding(candidate: Any) -> Seen:
    sentences = _two_sentences()
    given = [tensor.clone() for tensor in sentences]
    found = a_tensor(a_function(candidate)(*given))
    again = a_tensor(candidate(*(tensor.clone() for tensor in sentences)))
    changed = not all(torch.equal(one, other) for one, other in zip(given, sentences, strict=True))
    chance = found.shape != again.shape or not torch.allclose(found, again, equal_nan=True)
    return {
        "log probability": found,
        "input changed": yes(changed),
        "_logits changed": yes(not torch.equal(given[0], sentences[0])),
        "second call differs": yes(chance),
    }


def _a_batch_without_padding(candidate: Any) -> Seen:
    return _asked(candidate, _sentences([4, 4, 4, 4], 4, 4, seed=5))


def _one_sentence(candidate: Any) -> Seen:
    return _asked(candidate, _sentences([5], 5, 8, seed=9))


def _a_sentence_of_sos_alone(candidate: Any) -> Seen:
    return _asked(candidate, _sentences([1, 4, 2], 4, 6, seed=13))


def _other_padding(candidate: Any) -> Seen:
    """The two sentences of the first experiment, with more and other padding."""
    logits, tokens, lengths = _two_sentences()
    other_logits, other_tokens, _ = _sentences([5, 3], 8, 7, seed=17, std=3.0)
    for row, length in enumerate(lengths.tolist()):
        other_logits[row, :length], other_tokens[row, :length] = (
            logits[row, :length],
            tokens[row, :length],
        )
    return _asked(candidate, (other_logits, other_tokens, lengths))


def _logits_raised(candidate: Any) -> Seen:
    """3 is added to every logit of the first experiment: no probability changes."""
    logits, tokens, lengths = _two_sentences()
    return _asked(candidate, (logits + 3.0, tokens, lengths))


def _all_words_equally_likely(candidate: Any) -> Seen:
    """Every logit is 0: a word has the probability 1 / V, here 1 / 7."""
    logits, tokens, lengths = _two_sentences()
    return _asked(candidate, (torch.zeros_like(logits), tokens, lengths))


def _sure_of_each_next_word(candidate: Any) -> Seen:
    return _asked(candidate, _oracle(1))


def _sure_of_the_word_just_read(candidate: Any) -> Seen:
    """A note for the hint: a model that says again what it has read finds no sentence likely."""
    return {"_log probability": _asked(candidate, _oracle(0))["log probability"]}


def _oracle(ahead: int) -> tuple[Tensor, ...]:
    _, tokens, lengths = _two_sentences()
    said = tokens.roll(-ahead, dims=1)
    return 40.0 * torch.nn.functional.one_hot(said, 7).float(), tokens, lengths


def _each_word_in_turn(candidate: Any) -> Seen:
    """Seven sentences of one word, one for each word, all after the same guess."""
    logits = numbers(1, 2, 7, seed=19, std=1.5).expand(7, -1, -1)
    tokens = torch.stack([torch.full((7,), 3), torch.arange(7)], dim=1)
    return _asked(candidate, (logits, tokens, torch.full((7,), 2)))


def _logits_around_1000(candidate: Any) -> Seen:
    logits, tokens, lengths = _sentences([5, 3, 4], 5, 6, seed=21)
    return _asked(candidate, (logits + 1000.0, tokens, lengths))


def _very_unlikely_words(candidate: Any) -> Seen:
    logits, tokens, lengths = _sentences([5, 3, 4], 5, 6, seed=23, std=400.0)
    return _asked(candidate, (-logits.abs(), tokens, lengths))


def _a_long_sentence(candidate: Any) -> Seen:
    return _asked(candidate, _sentences([88, 90], 90, 30, seed=25))


def _gradients_to_the_logits(candidate: Any) -> Seen:
    logits, tokens, lengths = _two_sentences()
    (leaf,), (given,) = watched(logits)
    return gradients(a_tensor(candidate(given, tokens, lengths)), {"logits": leaf})


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(-1)


def _scored(
    *,
    logs: Any = _log_softmax,
    guess: slice = slice(None, -1),
    word: slice = slice(1, None),
    real: Any = None,
    total: Any = None,
) -> Any:
    """Return an answer with one part exchanged.

    `logs(logits)` makes log-probabilities; `guess` and `word` say which places of the logits meet which of the
    tokens; `real(places, lengths, tokens)` says which count; `total(picked, real)` puts them together.
    """

    def run(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        words = tokens[:, word]
        picked = logs(logits)[:, guess].gather(-1, words.unsqueeze(-1)).squeeze(-1)  # (B, T - 1)
        places, limit = torch.arange(tokens.size(1))[word], lengths[:, None]
        keep = places < limit if real is None else real(places, limit, words)
        keep = keep.expand_as(picked)
        return _kept(picked, keep).sum(1) if total is None else total(picked, keep)

    return run


def _kept(picked: Tensor, keep: Tensor) -> Tensor:
    return torch.where(keep, picked, torch.zeros_like(picked))


def _in_place(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    logits -= logits.logsumexp(-1, keepdim=True)
    return _scored(logs=lambda given: given)(logits, tokens, lengths)


def _padding_overwritten(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    result = _scored()(logits, tokens, lengths)
    tokens[torch.arange(tokens.size(1)) >= lengths[:, None]] = 0
    return result


def _logits_of_padding_set_to_zero(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    real = torch.arange(1, tokens.size(1)) < lengths[:, None]
    masked = logits[:, :-1] * real.unsqueeze(-1)
    return masked.log_softmax(-1).gather(-1, tokens[:, 1:, None]).squeeze(-1).sum(1)


def _padding_taken_for_word_zero(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    real = torch.arange(tokens.size(1)) < lengths[:, None]
    return _scored(real=lambda places, limit, words: places >= 0)(logits, tokens * real, lengths)


def _first_length_for_all(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    return _scored()(logits, tokens, lengths[:1].expand_as(lengths))


def _expected(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    logs = logits[:, :-1].log_softmax(-1)
    keep = torch.arange(1, tokens.size(1)) < lengths[:, None]
    return _kept((logs.exp() * logs).sum(-1), keep).sum(1)


def _best_of_each(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    best = logits[:, :-1].argmax(-1)
    return _scored()(logits, torch.cat([tokens[:, :1], best], dim=1), lengths)


def _whole_vocabulary(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    keep = torch.arange(1, tokens.size(1)) < lengths[:, None]
    return _kept(logits[:, :-1].log_softmax(-1).sum(-1), keep).sum(1)


def _overflowing(logits: Tensor) -> Tensor:
    return logits - logits.exp().sum(-1, keepdim=True).log()


def _counts(keep: Tensor) -> Tensor:
    return keep.sum(1)


def _all_places(places: Tensor, limit: Tensor, words: Tensor) -> Tensor:
    return places >= 0


_SHIFT_LINE = "logs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
_LOGS_LINE = "logs = logits.log_softmax(dim=-1)"
_REAL_LINE = "real = torch.arange(1, T) < lengths[:, None]"
_SUM_LINE = "return (picked * real).sum(dim=1)"

_NO_SHIFT = (
    "Each token is looked up in the guess made after reading it: nothing is shifted.",
    "logits[:, t] is the guess for the token at t + 1. Which rows of the logits meet which tokens?",
    _SHIFT_LINE,
)
_NO_SHIFT_AND_PADS = (
    "Two things: nothing is shifted, and padding is counted.",
    "logits[:, t] is the guess for the token at t + 1. And which places are real? Those with t < lengths[b].",
    _SHIFT_LINE,
)
_WRONG_WAY = (
    "You shift the wrong way: each guess meets the token before the one just read.",
    "logits[:, t] is the guess for the token at t + 1: the last guess and the first token are left over.",
    _SHIFT_LINE,
)
_OVERFLOW = (
    "Right for small logits; large ones overflow: exp(1000) is infinite.",
    "log_softmax takes each row's maximum away first. Where do you write exp yourself?",
    _LOGS_LINE,
)
_LOG_OF_ZERO = (
    "Right, until a probability is so small that it becomes 0: its logarithm is -inf.",
    "Stay with logarithms from the start: which function gives log-probabilities from logits in one step?",
    _LOGS_LINE,
)
_MEAN = (
    "You divide by the number of words; the sentence's log-probability is the sum.",
    "Probabilities are multiplied, word by word. What becomes of a product under the logarithm?",
    _SUM_LINE,
)
_PADS = (
    "Padding is counted: the answer depends on what stands behind the sentence.",
    "Place t counts where t < lengths[b]. Do your places begin at 1, for the first word?",
    _REAL_LINE,
)


def _sentence_mistakes() -> tuple[Mistake, ...]:
    return (
        Mistake("no shift", _scored(guess=slice(None), word=slice(None)), *_NO_SHIFT),
        Mistake(
            "no shift, without the first", _scored(guess=slice(1, None), word=slice(1, None)), *_NO_SHIFT
        ),
        Mistake(
            "no shift, without the last",
            _scored(guess=slice(None, -1), word=slice(None, -1)),
            *_NO_SHIFT,
        ),
        Mistake(
            "no shift, one word fewer",
            _scored(
                guess=slice(None, -1),
                word=slice(None, -1),
                real=lambda places, limit, words: places + 1 < limit,
            ),
            *_NO_SHIFT,
        ),
        Mistake(
            "no shift, and padding counted",
            _scored(guess=slice(None), word=slice(None), real=_all_places),
            *_NO_SHIFT_AND_PADS,
        ),
        Mistake(
            "no shift, and padding counted, without the first",
            _scored(guess=slice(1, None), word=slice(1, None), real=_all_places),
            *_NO_SHIFT_AND_PADS,
        ),
        Mistake(
            "no shift, and padding counted, without the last",
            _scored(guess=slice(None, -1), word=slice(None, -1), real=_all_places),
            *_NO_SHIFT_AND_PADS,
        ),
        Mistake("the wrong way", _scored(guess=slice(1, None), word=slice(None, -1)), *_WRONG_WAY),
        Mistake(
            "the wrong way, one word fewer",
            _scored(
                guess=slice(1, None),
                word=slice(None, -1),
                real=lambda places, limit, words: places + 1 < limit,
            ),
            *_WRONG_WAY,
        ),
        Mistake(
            "two ahead",
            _scored(guess=slice(None, -2), word=slice(2, None)),
            "You shift twice: each guess meets the token two places on.",
            "Are the tokens cut by one, and then again?",
            _SHIFT_LINE,
        ),
        Mistake(
            "the first word is left out",
            _scored(guess=slice(1, -1), word=slice(2, None)),
            "The first word is left out; it is guessed from <sos>, and counts.",
            "<sos> is at place 0, the first word at place 1, and its guess in logits[:, 0].",
            _SHIFT_LINE,
        ),
        Mistake(
            "the last word is left out",
            _scored(real=lambda places, limit, words: places < limit - 1),
            "The last word of each sentence is left out.",
            "With 5 real tokens the places of the words are 1, 2, 3, 4.",
            _REAL_LINE,
        ),
        Mistake(
            "one padding token is counted",
            _scored(real=lambda places, limit, words: places <= limit),
            "One padding token behind each sentence is counted.",
            "With 5 real tokens the last one stands at place 4; place 5 is padding.",
            _REAL_LINE,
        ),
        Mistake("padding is counted", _scored(real=_all_places), *_PADS),
        Mistake(
            "token 0 is taken for padding",
            _scored(real=lambda places, limit, words: words != 0),
            "You take token 0 for padding; here it is a word, and padding may hold any id.",
            "Only `lengths` says what is real.",
            _REAL_LINE,
        ),
        Mistake(
            "token 0 is left out too",
            _scored(real=lambda places, limit, words: (places < limit) & (words != 0)),
            "Token 0 is left out; here it is a word like any other.",
            "Only `lengths` says what is real.",
            _REAL_LINE,
        ),
        Mistake(
            "the id of <sos> is left out",
            lambda logits, tokens, lengths: _scored(
                real=lambda places, limit, words: (places < limit) & (words != tokens[:, :1])
            )(logits, tokens, lengths),
            "A word with the same id as <sos> is left out; any id may be a real word.",
            "Only place 0 is given. Only `lengths` says what is real.",
            _REAL_LINE,
        ),
        Mistake(
            "the logits of padding are set to 0",
            _logits_of_padding_set_to_zero,
            "Padding is masked before the softmax, so each padding token costs ln V.",
            "Logits of 0 make every word equally likely. Mask the log-probabilities, after the softmax.",
            _SUM_LINE,
        ),
        Mistake(
            "padding is taken for word 0",
            _padding_taken_for_word_zero,
            "Padding is replaced by token 0, and then counted like a word.",
            "Whatever id padding has, it adds a number to the sum. Leave it out of the sum.",
            _SUM_LINE,
        ),
        Mistake(
            "the first length for all",
            _first_length_for_all,
            "The length of the first sentence is used for all of them.",
            "Compare places, (T,), with lengths[:, None], (B, 1): that gives one row for each sentence.",
            _REAL_LINE,
        ),
        Mistake(
            "the longest length for all",
            _scored(real=lambda places, limit, words: places < limit.max()),
            "The length of the longest sentence is used for all of them.",
            "Compare places, (T,), with lengths[:, None], (B, 1): that gives one row for each sentence.",
            _REAL_LINE,
        ),
        Mistake(
            "raw logits",
            _scored(logs=lambda logits: logits),
            "You add up the logits themselves; they are no log-probabilities yet.",
            "Add 3 to all logits: the probabilities stay, your sum does not. What is missing?",
            _LOGS_LINE,
        ),
        Mistake(
            "probabilities added up",
            _scored(logs=lambda logits: logits.softmax(-1)),
            "You add up probabilities; their logarithms are to be added.",
            "The probability of a sentence is a product. Its logarithm is a sum of logarithms.",
            _LOGS_LINE,
        ),
        Mistake(
            "the logarithm of the sum",
            _scored(
                logs=lambda logits: logits.softmax(-1), total=lambda p, keep: (_kept(p, keep).sum(1)).log()
            ),
            "You take the logarithm of a sum of probabilities; they are to be multiplied.",
            "log(p₁ p₂ p₃) = log p₁ + log p₂ + log p₃: first the logarithms, then the sum.",
            _LOGS_LINE,
        ),
        Mistake(
            "the probability",
            _scored(total=lambda p, keep: _kept(p, keep).sum(1).exp()),
            "This is the probability itself; its logarithm is asked for.",
            "A long sentence's probability is too small for a computer's number. Leave the last exp out.",
            _SUM_LINE,
        ),
        Mistake(
            "multiplied, then the logarithm",
            _scored(
                logs=lambda logits: logits.softmax(-1),
                total=lambda p, keep: torch.where(keep, p, torch.ones_like(p)).prod(1).log(),
            ),
            "Right for short sentences; the product of a long one becomes 0, its log -inf.",
            "Take the logarithm of each probability first, then add.",
            _LOGS_LINE,
        ),
        Mistake(
            "logarithms multiplied",
            _scored(total=lambda p, keep: torch.where(keep, p, torch.ones_like(p)).prod(1)),
            "You multiply logarithms; they are to be added.",
            "Probabilities are multiplied, so their logarithms are added.",
            _SUM_LINE,
        ),
        Mistake(
            "the sign is turned",
            _scored(total=lambda p, keep: -_kept(p, keep).sum(1)),
            "The sign is turned: the logarithm of a probability is never above 0.",
            "Cross-entropy is *minus* the log-probability.",
            _SUM_LINE,
        ),
        Mistake(
            "the loss of each sentence",
            _scored(total=lambda p, keep: -_kept(p, keep).sum(1) / _counts(keep).clamp(min=1)),
            "This is a loss, minus the mean; the sum of the log-probabilities is asked for.",
            "Cross-entropy turns the sign, and its usual mean divides by the number of words.",
            _SUM_LINE,
        ),
        Mistake(
            "the mean of each sentence",
            _scored(total=lambda p, keep: _kept(p, keep).sum(1) / _counts(keep).clamp(min=1)),
            *_MEAN,
        ),
        Mistake(
            "the mean, and nothing divided by nothing",
            _scored(total=lambda p, keep: _kept(p, keep).sum(1) / _counts(keep)),
            *_MEAN,
        ),
        Mistake(
            "divided by the length",
            _scored(total=lambda p, keep: _kept(p, keep).sum(1) / (_counts(keep) + 1)),
            "You divide by the length; the sentence's log-probability is the sum.",
            "Probabilities are multiplied, word by word. What becomes of a product under the logarithm?",
            _SUM_LINE,
        ),
        Mistake(
            "the mean over all places",
            _scored(total=lambda p, keep: _kept(p, keep).mean(1)),
            "You divide by the number of places, padding too; the sum is asked for.",
            "Probabilities are multiplied, word by word. What becomes of a product under the logarithm?",
            _SUM_LINE,
        ),
        Mistake(
            "perplexity",
            _scored(total=lambda p, keep: (-_kept(p, keep).sum(1) / _counts(keep).clamp(min=1)).exp()),
            "This is the perplexity; the log-probability of the sentence is asked for.",
            "Perplexity is exp of minus the mean. Here: the sum, with its sign, and no exp.",
            _SUM_LINE,
        ),
        Mistake(
            "bits",
            _scored(total=lambda p, keep: _kept(p, keep).sum(1) / math.log(2)),
            "Your logarithms are to the base 2; the natural logarithm is asked for.",
            "torch.log and log_softmax are natural. Is there a log2?",
            _LOGS_LINE,
        ),
        Mistake(
            "base ten",
            _scored(total=lambda p, keep: _kept(p, keep).sum(1) / math.log(10)),
            "Your logarithms are to the base 10; the natural logarithm is asked for.",
            "torch.log and log_softmax are natural. Is there a log10?",
            _LOGS_LINE,
        ),
        Mistake(
            "softmax over the sentence",
            _scored(logs=lambda logits: logits.log_softmax(1)),
            "Your softmax runs over the places of the sentence, not over the vocabulary.",
            "At each place the words compete for the probability 1. Which axis holds the words?",
            _LOGS_LINE,
        ),
        Mistake(
            "softmax over the batch",
            _scored(logs=lambda logits: logits.log_softmax(0)),
            "Your softmax runs over the batch, not over the vocabulary.",
            "At each place the words compete for the probability 1. Which axis holds the words? (Without `dim` "
            "PyTorch guesses, and guesses wrong here.)",
            _LOGS_LINE,
        ),
        Mistake(
            "softmax twice",
            _scored(logs=lambda logits: logits.softmax(-1).log_softmax(-1)),
            "The softmax is applied twice: probabilities go into log_softmax as if logits.",
            "cross_entropy, log_softmax and Categorical(logits=…) take the logits as they are.",
            _LOGS_LINE,
        ),
        Mistake(
            "sigmoid",
            _scored(logs=lambda logits: torch.nn.functional.logsigmoid(logits)),
            "A sigmoid in place of the softmax: the words do not compete.",
            "The probabilities of all words at one place must sum to 1.",
            _LOGS_LINE,
        ),
        Mistake("overflow", _scored(logs=_overflowing), *_OVERFLOW),
        Mistake(
            "overflow, probability by hand",
            _scored(
                logs=lambda logits: ((e := logits.exp()) / e.sum(-1, keepdim=True)).log(),
            ),
            *_OVERFLOW,
        ),
        Mistake("log of softmax", _scored(logs=lambda logits: logits.softmax(-1).log()), *_LOG_OF_ZERO),
        Mistake(
            "a small number is added",
            _scored(logs=lambda logits: (logits.softmax(-1) + 1e-8).log()),
            "A small number is added inside the logarithm, so no word can be very unlikely.",
            "log_softmax needs no such crutch: it never takes the logarithm of 0.",
            _LOGS_LINE,
        ),
        Mistake(
            "the likeliest words",
            _best_of_each,
            "You take the likeliest word at each place, not the word of the sentence.",
            "The sentence is given. `gather` picks the entry of the token that really comes.",
            _SHIFT_LINE,
        ),
        Mistake(
            "the whole vocabulary",
            _whole_vocabulary,
            "You add up the whole vocabulary; one entry at each place is asked for.",
            "`gather(-1, …)` picks at each place the entry of the token that really comes.",
            _SHIFT_LINE,
        ),
        Mistake(
            "what is expected",
            _expected,
            "This is minus the entropy of the guesses; the sentence's own words play no part.",
            "`gather(-1, …)` picks at each place the entry of the token that really comes.",
            _SHIFT_LINE,
        ),
        Mistake(
            "the last word only",
            _scored(
                real=lambda places, limit, words: places == limit - 1,
            ),
            "Only the last word of each sentence is counted.",
            "Every word after <sos> brings its own logarithm.",
            _REAL_LINE,
        ),
        Mistake(
            "the first word only",
            _scored(real=lambda places, limit, words: (places == 1) & (places < limit)),
            "Only the first word of each sentence is counted.",
            "Every word after <sos> brings its own logarithm. Is there a `return` inside a loop?",
            _SUM_LINE,
        ),
        Mistake(
            "one number for the batch",
            _scored(total=lambda p, keep: _kept(p, keep).sum()),
            "All sentences are added into one number; each row should get its own.",
            "`sum()` without an axis adds up everything.",
            _SUM_LINE,
        ),
        Mistake(
            "one mean for the batch",
            _scored(total=lambda p, keep: _kept(p, keep).sum(1).mean()),
            "You return one mean over the batch; each row should get its own number.",
            "Leave the last mean out.",
            _SUM_LINE,
        ),
        Mistake(
            "word by word",
            _scored(total=_kept),
            "You return one number for each word; they are to be added up for each row.",
            "What becomes of a product of probabilities under the logarithm?",
            _SUM_LINE,
        ),
        Mistake(
            "changes the logits",
            _in_place,
            "The numbers are right, but your function changed the logits it was given.",
            "`-=`, and every method that ends in `_`, overwrite the caller's tensor. Make a new one.",
            _LOGS_LINE,
        ),
        Mistake(
            "changes the tokens",
            _padding_overwritten,
            "The numbers are right, but your function changed the tokens it was given.",
            "`tokens[…] = …` writes into the caller's tensor. Use torch.where, or a clone.",
            "tokens = torch.where(real, tokens, 0)",
        ),
        Mistake(
            "no gradient",
            _scored(logs=lambda logits: logits.detach().log_softmax(-1)),
            "The numbers are right, but no gradient flows back to the logits.",
            "`.detach()`, `.item()`, `.data`, `.tolist()` and NumPy cut the gradient. Stay with tensor operations.",
            _LOGS_LINE,
        ),
    )


def _of_two(seen: dict[str, Seen]) -> Tensor:
    return seen["two sentences with padding"]["log probability"]


def _shares(seen: dict[str, Seen]) -> Tensor:
    return seen["each word in turn"]["log probability"].exp()


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, atol=1e-3, equal_nan=True)


def _sentence_properties() -> tuple[Property, ...]:
    return (
        left_to_chance("two sentences with padding"),
        changes_its_input("two sentences with padding"),
        Property(
            "not a number",
            lambda seen: bool(_of_two(seen).isfinite().all()),
            "There are NaN or infinite numbers among your log-probabilities.",
            "Is -inf put at padding and then added up? What does not count adds 0. Or is it 0 divided by 0?",
        ),
        Property(
            "rounded",
            lambda seen: (
                agrees(seen, _two_sentences_with_padding, SENTENCE.reference)
                or not torch.allclose(
                    _of_two(seen),
                    _two_sentences_with_padding(SENTENCE.reference)["log probability"].double(),
                    rtol=0.01,
                )
            ),
            "Nearly right: your log-probabilities are within one per cent, no nearer.",
            "Is something rounded, in half precision, or a small number added or cut off?",
        ),
        Property(
            "above zero",
            lambda seen: bool((_of_two(seen) <= 1e-6).all()),
            "Some of your log-probabilities are above 0.",
            "A probability is at most 1, so its logarithm is at most 0. Is a sign turned, or are these no "
            "log-probabilities?",
        ),
        Property(
            "depends on padding",
            lambda seen: _equal(_of_two(seen), seen["other padding"]["log probability"]),
            "Other padding behind the same sentences changes your answer.",
            "Which places count? Those with t < lengths[b]. And does every sum run over real places only?",
        ),
        Property(
            "depends on a constant",
            lambda seen: _equal(_of_two(seen), seen["logits raised"]["log probability"]),
            "Add 3 to all logits and your answer changes; the probabilities do not.",
            "Is there a softmax over the vocabulary, the last axis, before the logarithm?",
        ),
        Property(
            "looks at the word just read",
            lambda seen: (
                not bool(
                    (seen["sure of the word just read"]["_log probability"].abs() < 1e-3).all()
                    and (seen["sure of each next word"]["log probability"].abs() > 1).any()
                )
            ),
            "Your sum is largest for a model that repeats the token it has just read.",
            "logits[:, t] is the guess for the token at t + 1. Which rows of the logits meet which tokens?",
        ),
        Property(
            "a sure model",
            lambda seen: bool((seen["sure of each next word"]["log probability"].abs() < 1e-3).all()),
            "For a model that is sure of each next word your answer should be 0, and is not.",
            "logits[:, t] belongs to tokens[:, t + 1]. Does each word meet the guess before it?",
        ),
        Property(
            "the number of words",
            lambda seen: agrees(seen, _all_words_equally_likely, SENTENCE.reference),
            "With equal logits a sentence of n words has n · ln(1 / V); yours has not.",
            "How many words do you count, are they added or averaged, and which logarithm is it?",
        ),
        Property(
            "no shares",
            lambda seen: (
                agrees(seen, _two_sentences_with_padding, SENTENCE.reference)
                or abs(_shares(seen).sum().item() - 1) < 1e-3
            ),
            "The probabilities you give to all words at one place do not sum to 1.",
            "A softmax over the vocabulary makes them so. Over which axis does yours run, and is something done "
            "after it?",
        ),
        Property(
            "other shares",
            lambda seen: (
                agrees(seen, _two_sentences_with_padding, SENTENCE.reference)
                or agrees(seen, _each_word_in_turn, SENTENCE.reference)
            ),
            "At one place your probabilities sum to 1, but they are not the softmax's.",
            "Are the logits scaled, cut off, rounded or put through another function before?",
        ),
        Property(
            "wrong with one sentence",
            lambda seen: (
                not agrees(seen, _two_sentences_with_padding, SENTENCE.reference)
                or agrees(seen, _one_sentence, SENTENCE.reference)
            ),
            "Right for several sentences, wrong for a batch of one.",
            "Does a `squeeze()` without an axis take the batch's axis away?",
        ),
        Property(
            "wrong with two tokens",
            lambda seen: (
                not agrees(seen, _two_sentences_with_padding, SENTENCE.reference)
                or not agrees(seen, _a_long_sentence, SENTENCE.reference)
                or agrees(seen, _each_word_in_turn, SENTENCE.reference)
            ),
            "Right for longer rows, wrong where a row has only one word to guess.",
            "Does a `squeeze()` without an axis take away an axis of size 1 that should stay?",
        ),
        Property(
            "a sentence without words",
            lambda seen: seen["a sentence of sos alone"]["log probability"][0].abs().item() < 1e-6,
            "A row that holds <sos> alone has no word to guess: its sum is 0, not yours.",
            "Is there a division by the number of words, or an index length - 2 that becomes -1?",
        ),
        Property(
            "a long sentence",
            lambda seen: (
                not agrees(seen, _two_sentences_with_padding, SENTENCE.reference)
                or agrees(seen, _a_long_sentence, SENTENCE.reference)
            ),
            "Right for short sentences, wrong for a long one.",
            "A product of many probabilities becomes 0. Add logarithms; and look for a fixed length.",
        ),
        Property(
            "large logits",
            lambda seen: (
                not agrees(seen, _two_sentences_with_padding, SENTENCE.reference)
                or (
                    agrees(seen, _logits_around_1000, SENTENCE.reference)
                    and agrees(seen, _very_unlikely_words, SENTENCE.reference)
                )
            ),
            "Right for small logits, wrong for large or very low ones.",
            "exp(1000) is infinite and exp(-1000) is 0: their logarithms are lost. Which function gives "
            "log-probabilities from logits in one step?",
        ),
        no_gradient("gradients to the logits", "the logits"),
    )


SENTENCE: Exercise = Exercise(
    id="01.sentence_probability",
    title="The probability of a sentence",
    stub=SENTENCE_STUB,
    reference=_scored(),
    experiments=(
        _two_sentences_with_padding,
        _all_words_equally_likely,
        _sure_of_each_next_word,
        _sure_of_the_word_just_read,
        _logits_raised,
        _other_padding,
        _each_word_in_turn,
        _a_batch_without_padding,
        _one_sentence,
        _a_sentence_of_sos_alone,
        _logits_around_1000,
        _very_unlikely_words,
        _a_long_sentence,
        _gradients_to_the_logits,
    ),
    mistakes=_sentence_mistakes(),
    properties=_sentence_properties(),
    difficulty=1,
    importance=5,
    minutes=15,
)
