"""Exercise 01.generate: write on, one token at a time, from the whole prefix.

T tokens of the prompt · V words of the vocabulary
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checks.engine import Exercise, Mistake, Property, Seen, experiment_name
from course_lib.checks.explain import WrongReturn
from course_lib.checks.language_models.shared import SpyModel, crashes_in
from course_lib.checks.probe import a_function, a_tensor, yes
from course_lib.checks.shared import changes_its_input, left_to_chance

GENERATE_STUB = '''
def generate(model, prompt, eos_id, max_new):
    """Let a language model write on, one token at a time, and always its likeliest one.

    Args:
        model: a module. model(ids), with ids (1, n), returns logits, (1, n, V): at each place its guess
            for the token that comes after it. It remembers nothing from one call to the next.
        prompt: (1, T), ids, T at least 1.
        eos_id: the token that ends a text, any id, 0 too. Once it is written nothing follows; it is
            kept. One that already stands in the prompt stops nothing.
        max_new: write at most this many tokens; 0 or more.

    Returns:
        (1, T + number of new tokens): the prompt and what was written. The prompt itself stays as
        it was.
    """
'''

_CANVAS = 18  # places on which what was written is laid out, so that texts of unlike length can be compared


def _asked_to_write(
    candidate: Any, prompt: list[int], eos_id: int, max_new: int, *, model: SpyModel
) -> tuple[Tensor, Tensor]:
    """Return the tokens, and the prompt as it is afterwards."""
    given = torch.tensor([prompt])
    tokens = a_tensor(candidate(model, given, eos_id, max_new))
    if tokens.is_floating_point():
        raise WrongReturn(
            "no integers",
            f"You return numbers of the kind {str(tokens.dtype).removeprefix('torch.')}; ids are integers.",
            "A tensor of ids made by torch.zeros or torch.full needs dtype=torch.long; argmax gives integers.",
        )
    if tokens.dim() != 2 or tokens.size(0) != 1:
        raise WrongReturn(
            "another shape of the text",
            f"You return a tensor of shape {tuple(tokens.shape)}; asked is (1, T + new tokens)."[:83],
            "One row: the prompt, then what was written. torch.cat([tokens, new], dim=1) puts them together.",
        )
    return tokens, given


def _laid_out(tokens: Tensor) -> Tensor:
    """The text on `_CANVAS` places, -1 where nothing was written."""
    canvas = torch.full((_CANVAS,), -1.0)
    written = tokens[0, :_CANVAS].double()
    canvas[: len(written)] = written.float()
    return canvas


def _written(candidate: Any, prompt: list[int], eos_id: int, max_new: int, **model: Any) -> Seen:
    tokens, _ = _asked_to_write(candidate, prompt, eos_id, max_new, model=SpyModel(**model))
    return {
        "number of new tokens": torch.tensor(float(tokens.size(1) - len(prompt))),
        "tokens (-1: none)": _laid_out(tokens),
    }


def _written_after_three_tokens(candidate: Any) -> Seen:
    prompt, model = [4, 1, 6], SpyModel(9, seed=156)
    tokens, given = _asked_to_write(a_function(candidate), prompt, 5, 5, model=model)
    questions = [question for question in model.asked if question.size(0) == 1]
    whole = torch.tensor([prompt])
    begins = bool(questions) and torch.equal(questions[0].long(), whole)
    grows = all(
        later.size(1) > earlier.size(1) and torch.equal(later[:, : earlier.size(1)], earlier)
        for earlier, later in itertools.pairwise(questions)
    )
    one = bool(questions) and all(question.size(1) == 1 for question in questions[1:])
    again, _ = _asked_to_write(candidate, prompt, 5, 5, model=SpyModel(9, seed=156))
    third, _ = _asked_to_write(candidate, prompt, 5, 5, model=SpyModel(9, seed=156))
    chance = not (torch.equal(tokens, again) and torch.equal(tokens, third))
    return {
        "number of new tokens": torch.tensor(float(tokens.size(1) - len(prompt))),
        "tokens (-1: none)": _laid_out(tokens),
        "input changed": yes(not torch.equal(given, whole)),
        "second call differs": yes(chance),
        "_asked": yes(bool(questions)),
        "_begins with the prompt": yes(begins),
        "_questions grow": yes(grows),
        "_several questions": yes(len(questions) > 1),
        "_asks with one token": yes(one and len(questions) > 1),
    }


def _written_after_one_token(candidate: Any) -> Seen:
    return _written(candidate, [2], 0, 4, vocab_size=9, seed=144)


def _written_after_six_tokens(candidate: Any) -> Seen:
    """All logits are below 0."""
    return _written(candidate, [3, 0, 7, 5, 8, 2], 9, 6, vocab_size=11, seed=192, raised=-100.0)


def _written_with_a_token_0(candidate: Any) -> Seen:
    """Token 0 comes first of all; it is a word, and <eos> is 2."""
    return _written(candidate, [4, 1, 6], 2, 5, vocab_size=9, seed=124)


def _written_until_eos(candidate: Any) -> Seen:
    return _written(candidate, [4, 1, 6], 7, 7, vocab_size=9, seed=136)


def _written_until_an_eos_of_0(candidate: Any) -> Seen:
    return _written(candidate, [2], 0, 6, vocab_size=9, seed=164)


def _eos_at_once(candidate: Any) -> Seen:
    return _written(candidate, [4, 1, 6], 2, 4, vocab_size=9, seed=180)


def _eos_at_the_very_end(candidate: Any) -> Seen:
    return _written(candidate, [4, 1, 6], 7, 4, vocab_size=9, seed=136)


def _eos_in_the_prompt(candidate: Any) -> Seen:
    return _written(candidate, [4, 1, 6], 4, 5, vocab_size=9, seed=136)


def _eos_ends_the_prompt(candidate: Any) -> Seen:
    return _written(candidate, [4, 1, 6], 6, 5, vocab_size=9, seed=136)


def _one_new_token(candidate: Any) -> Seen:
    return _written(candidate, [4, 1, 6], 5, 1, vocab_size=9, seed=156)


def _no_new_token(candidate: Any) -> Seen:
    return _written(candidate, [4, 1, 6], 5, 0, vocab_size=9, seed=156)


def _likeliest(logits: Tensor) -> Tensor:
    return logits[:, -1].argmax(-1, keepdim=True)


def _writer(
    *,
    ask: Any = lambda tokens, n_given: tokens,
    pick: Any = _likeliest,
    join: Any = lambda tokens, new, n_given: torch.cat([tokens, new], dim=1),
    ends: Any = lambda tokens, new, eos_id, n_given: bool((new == eos_id).any()),
    count: Any = lambda n_given, max_new: max_new,
    finish: Any = lambda tokens, n_given, eos_id, max_new: tokens,
) -> Any:
    """Return an answer with one part exchanged.

    `ask` says what the model is asked with, `pick` which token its logits give, `join` what becomes of it, `ends`
    when to stop, `count` after how many rounds at the latest, `finish` what is returned.
    """

    def run(model: nn.Module, prompt: Tensor, eos_id: int, max_new: int) -> Tensor:
        tokens, n_given = prompt, prompt.size(1)
        for _ in range(count(n_given, max_new)):
            new = pick(model(ask(tokens, n_given)))
            tokens = join(tokens, new, n_given)
            if ends(tokens, new, eos_id, n_given):
                break
        return finish(tokens, n_given, eos_id, max_new)

    return run


def _never(tokens: Tensor, new: Tensor, eos_id: int, n_given: int) -> bool:
    return False


def _one_after_eos(model: nn.Module, prompt: Tensor, eos_id: int, max_new: int) -> Tensor:
    tokens = prompt
    for step in range(max_new):
        ended = step > 0 and tokens[0, -1] == eos_id
        tokens = torch.cat([tokens, _likeliest(model(tokens))], dim=1)
        if ended:
            break
    return tokens


def _eos_dropped(model: nn.Module, prompt: Tensor, eos_id: int, max_new: int) -> Tensor:
    tokens = prompt
    for _ in range(max_new):
        new = _likeliest(model(tokens))
        if new.item() == eos_id:
            break
        tokens = torch.cat([tokens, new], dim=1)
    return tokens


def _looks_before_it_writes(model: nn.Module, prompt: Tensor, eos_id: int, max_new: int) -> Tensor:
    tokens = prompt
    for _ in range(max_new):
        if tokens[0, -1] == eos_id:
            break
        tokens = torch.cat([tokens, _likeliest(model(tokens))], dim=1)
    return tokens


def _at_least_one(model: nn.Module, prompt: Tensor, eos_id: int, max_new: int) -> Tensor:
    tokens = torch.cat([prompt, _likeliest(model(prompt))], dim=1)
    while tokens.size(1) < prompt.size(1) + max_new and tokens[0, -1] != eos_id:
        tokens = torch.cat([tokens, _likeliest(model(tokens))], dim=1)
    return tokens


def _all_in_one_call(model: nn.Module, prompt: Tensor, eos_id: int, max_new: int) -> Tensor:
    return torch.cat([prompt, model(prompt).argmax(-1)[:, :max_new]], dim=1)


def _filled_up(tokens: Tensor, n_given: int, eos_id: int, max_new: int) -> Tensor:
    missing = n_given + max_new - tokens.size(1)
    return torch.cat([tokens, tokens.new_full((1, missing), eos_id)], dim=1)


def _eos_appended(tokens: Tensor, n_given: int, eos_id: int, max_new: int) -> Tensor:
    if tokens.size(1) > n_given and tokens[0, -1] == eos_id:
        return tokens
    return torch.cat([tokens, tokens.new_full((1, 1), eos_id)], dim=1)


def _cut_at_the_first_eos(tokens: Tensor, n_given: int, eos_id: int, max_new: int) -> Tensor:
    places = (tokens[0] == eos_id).nonzero().flatten()
    return tokens[:, : int(places[0]) + 1] if len(places) else tokens


def _any_guess_is_eos(model: nn.Module, prompt: Tensor, eos_id: int, max_new: int) -> Tensor:
    tokens = prompt
    for _ in range(max_new):
        guesses = model(tokens).argmax(-1)
        tokens = torch.cat([tokens, guesses[:, -1:]], dim=1)
        if (guesses == eos_id).any():
            break
    return tokens


def _only_what_is_new(tokens: Tensor, n_given: int) -> Tensor:
    return tokens[:, n_given:] if tokens.size(1) > n_given else tokens


def _sampled(logits: Tensor) -> Tensor:
    return torch.multinomial(logits[:, -1].softmax(-1), 1)


_ASK_LINE = "logits = model(tokens)  # all tokens so far, the prompt first"
_PICK_LINE = "new = logits[:, -1].argmax(dim=-1, keepdim=True)"
_JOIN_LINE = "tokens = torch.cat([tokens, new], dim=1)"
_END_LINE = "if new.item() == eos_id: break  # after it is joined to the tokens"
_COUNT_LINE = "for _ in range(max_new):"

_LAST_PLACE = (
    "The guess you write comes from another place of the logits than the last one.",
    "Only the last place has read every token. The other places guess tokens that are already there.",
    _PICK_LINE,
)


def _never_twice(model: nn.Module, prompt: Tensor, eos_id: int, max_new: int) -> Tensor:
    tokens = prompt
    for _ in range(max_new):
        best, second = model(tokens)[0, -1].topk(2).indices.tolist()
        new = second if best == tokens[0, -1].item() else best
        tokens = torch.cat([tokens, torch.tensor([[new]])], dim=1)
        if new == eos_id:
            break
    return tokens


_GENERATE_MISTAKES = (
    Mistake(
        "never the same token twice",
        _never_twice,
        "A token is never written twice in a row, even where it is the likeliest.",
        "Always the likeliest one: nothing is asked about repetition.",
        "new = model(tokens)[:, -1].argmax(-1, keepdim=True)",
    ),
    Mistake(
        "a repeated token ends",
        _writer(
            ends=lambda tokens, new, eos_id, n_given: bool(
                (new == eos_id).any() or tokens[0, -2] == new[0, 0]
            )
        ),
        "A token written twice in a row ends your text; only <eos> should.",
        "Which tokens does the line that leaves the loop compare?",
        "if new.item() == eos_id: break",
    ),
    Mistake(
        "asks with the last token alone",
        _writer(ask=lambda tokens, n_given: tokens[:, -1:]),
        "You ask with the last token alone; the model remembers nothing of those before.",
        "“Feed the last word, get the next” is half true: what does the model know of the others?",
        _ASK_LINE,
    ),
    Mistake(
        "the prompt once, then the last token alone",
        _writer(ask=lambda tokens, n_given: tokens if tokens.size(1) == n_given else tokens[:, -1:]),
        "After the first new token you ask with one token; the model forgot the others.",
        "It remembers nothing between calls. What must each question contain?",
        _ASK_LINE,
    ),
    Mistake(
        "asks with the new tokens alone",
        _writer(ask=_only_what_is_new),
        "After the first new token the prompt is left out of your questions.",
        "The model remembers nothing between calls. What must each question contain?",
        _ASK_LINE,
    ),
    Mistake(
        "asks with the prompt each time",
        _writer(ask=lambda tokens, n_given: tokens[:, :n_given]),
        "You ask with the prompt each time, so the same token is written again and again.",
        "The next question must contain what was just written.",
        _ASK_LINE,
    ),
    Mistake(
        "asks with the last two tokens",
        _writer(ask=lambda tokens, n_given: tokens[:, -2:]),
        "You ask with the last two tokens; the model should read all of them.",
        "It remembers nothing between calls. What must each question contain?",
        _ASK_LINE,
    ),
    Mistake(
        "asks with as many tokens as the prompt has",
        _writer(ask=lambda tokens, n_given: tokens[:, -n_given:]),
        "Your question keeps the length of the prompt; the first tokens fall out of it.",
        "The question grows by one token each time.",
        _ASK_LINE,
    ),
    Mistake(
        "the first place", _writer(pick=lambda logits: logits[:, 0].argmax(-1, keepdim=True)), *_LAST_PLACE
    ),
    Mistake(
        "the place of the prompt's end",
        lambda model, prompt, eos_id, max_new: _writer(
            pick=lambda logits: logits[:, prompt.size(1) - 1].argmax(-1, keepdim=True)
        )(model, prompt, eos_id, max_new),
        "You always take the guess behind the prompt: one token is written again and again.",
        "The last place moves on with every new token: count from the end.",
        _PICK_LINE,
    ),
    Mistake(
        "the last place but one",
        _writer(pick=lambda logits: logits[:, -2 if logits.size(1) > 1 else -1].argmax(-1, keepdim=True)),
        "You take the last place but one: its guess is for the token already written.",
        "logits[:, t] is the guess for place t + 1. Which place guesses the token that is not there yet?",
        _PICK_LINE,
    ),
    Mistake(
        "all places added up",
        _writer(pick=lambda logits: logits.sum(1).argmax(-1, keepdim=True)),
        "You add up or average the logits of all places; the last one alone counts.",
        "Only the last place guesses the token that is not there yet.",
        _PICK_LINE,
    ),
    Mistake(
        "the largest logit of all places",
        _writer(pick=lambda logits: logits.amax(1).argmax(-1, keepdim=True)),
        "You take the largest logit of all places; the last place alone counts.",
        "Only the last place guesses the token that is not there yet.",
        _PICK_LINE,
    ),
    Mistake(
        "the unlikeliest",
        _writer(pick=lambda logits: logits[:, -1].argmin(-1, keepdim=True)),
        "You write the unlikeliest token each time.",
        "Is there an argmin, a sort in rising order, or a minus sign?",
        _PICK_LINE,
    ),
    Mistake(
        "the second best",
        _writer(pick=lambda logits: logits[:, -1].topk(2).indices[:, 1:]),
        "You write the second best token each time.",
        "Indices begin at 0: the best of `topk` or of a falling sort is its entry 0.",
        _PICK_LINE,
    ),
    Mistake(
        "samples",
        _writer(pick=_sampled),
        "You draw the token by chance; the likeliest one is asked for.",
        "Sampling is for varied text. Here: argmax.",
        _PICK_LINE,
    ),
    Mistake(
        "all in one call",
        _all_in_one_call,
        "The new tokens come from one call: these are guesses for tokens already there.",
        "One call gives one new token, at the last place. The next needs a new question.",
        _COUNT_LINE,
    ),
    Mistake(
        "joins every guess",
        _writer(
            pick=lambda logits: logits.argmax(-1),
            ends=lambda tokens, new, eos_id, n_given: bool(new[0, -1] == eos_id),
            finish=lambda tokens, n_given, eos_id, max_new: tokens[:, : n_given + max_new],
        ),
        "You join the guesses of all places; only the last one is new.",
        "The other places guess tokens that are already there.",
        _PICK_LINE,
    ),
    Mistake(
        "joins every guess, and never cuts",
        _writer(
            pick=lambda logits: logits.argmax(-1),
            ends=lambda tokens, new, eos_id, n_given: bool(new[0, -1] == eos_id) or tokens.size(1) > 200,
        ),
        "You join the guesses of all places; only the last one is new.",
        "The other places guess tokens that are already there.",
        _PICK_LINE,
    ),
    Mistake(
        "rewrites the prompt",
        _writer(
            pick=lambda logits: logits.argmax(-1),
            join=lambda tokens, new, n_given: torch.cat([tokens[:, :1], new], dim=1),
            ends=lambda tokens, new, eos_id, n_given: bool(new[0, -1] == eos_id),
        ),
        "The given tokens are replaced by the model's guesses for them.",
        "The prompt is true. Keep all tokens, and join one new one.",
        _JOIN_LINE,
    ),
    Mistake(
        "joins in front",
        _writer(join=lambda tokens, new, n_given: torch.cat([new, tokens], dim=1)),
        "You join the new token in front; it belongs behind.",
        "torch.cat puts its pieces together in the order of the list.",
        _JOIN_LINE,
    ),
    Mistake(
        "the first token falls out",
        _writer(join=lambda tokens, new, n_given: torch.cat([tokens[:, 1:], new], dim=1)),
        "With each new token the first one falls out.",
        "Join to all tokens, not to tokens[:, 1:].",
        _JOIN_LINE,
    ),
    Mistake(
        "the new token replaces the last",
        _writer(join=lambda tokens, new, n_given: torch.cat([tokens[:, :-1], new], dim=1)),
        "The new token replaces the last one; it should follow it.",
        "Join to all tokens, not to tokens[:, :-1].",
        _JOIN_LINE,
    ),
    Mistake(
        "without the prompt",
        _writer(finish=lambda tokens, n_given, eos_id, max_new: tokens[:, n_given:]),
        "You return the new tokens alone; the prompt belongs in front.",
        "Return all tokens: the prompt, then what was written.",
        "return tokens",
    ),
    Mistake(
        "never ends",
        _writer(ends=_never),
        "Your text goes on after <eos>.",
        "Which line compares the new token with eos_id, and leaves the loop?",
        _END_LINE,
    ),
    Mistake(
        "an eos of 0 is overlooked",
        _writer(ends=lambda tokens, new, eos_id, n_given: bool(eos_id and (new == eos_id).any())),
        "Your text does not end where eos_id is 0.",
        "`if eos_id and …` is false for 0. Compare the new token with eos_id, nothing else.",
        _END_LINE,
    ),
    Mistake(
        "<eos> is dropped",
        _eos_dropped,
        "<eos> is missing from your text; it is written, then the text ends.",
        "First join, then look whether it was <eos>.",
        _END_LINE,
    ),
    Mistake(
        "one token after <eos>",
        _one_after_eos,
        "One more token is written after <eos>.",
        "Look at the token just written, not at the one before.",
        _END_LINE,
    ),
    Mistake(
        "<eos> anywhere ends",
        _writer(ends=lambda tokens, new, eos_id, n_given: bool((tokens == eos_id).any())),
        "An <eos> in the prompt ends your text; only a written one should.",
        "Compare the new token, not all tokens.",
        _END_LINE,
    ),
    Mistake(
        "<eos> anywhere cuts",
        _writer(finish=_cut_at_the_first_eos),
        "Your text is cut at an <eos> in the prompt; only a written one should end it.",
        "Compare the new token, not all tokens.",
        _END_LINE,
    ),
    Mistake(
        "looks before it writes",
        _looks_before_it_writes,
        "An <eos> at the end of the prompt ends your text; only a written one should.",
        "Look at the token after it is written, not at the last token before the first step.",
        _END_LINE,
    ),
    Mistake(
        "any guess of <eos> ends",
        _any_guess_is_eos,
        "A guess of <eos> at an earlier place ends your text; the last place alone counts.",
        "Compare the new token, not the guesses at all places.",
        _END_LINE,
    ),
    Mistake(
        "filled up with <eos>",
        _writer(finish=_filled_up),
        "After <eos> your text is filled up to max_new tokens; it should end.",
        "One text needs no padding: return what was written.",
        "return tokens",
    ),
    Mistake(
        "<eos> is appended",
        _writer(finish=_eos_appended),
        "<eos> is appended where the model did not write it.",
        "A text may be cut off by max_new, without an <eos>.",
        "return tokens",
    ),
    Mistake(
        "one too few",
        _writer(count=lambda n_given, max_new: max_new - 1),
        "One token too few is written: max_new - 1.",
        "How often does your loop run? range(1, n) runs n - 1 times.",
        _COUNT_LINE,
    ),
    Mistake(
        "one too many",
        _writer(count=lambda n_given, max_new: max_new + 1),
        "One token too many is written: max_new + 1.",
        "How often does your loop run? `while n <= max_new` from 0 runs once too often.",
        _COUNT_LINE,
    ),
    Mistake(
        "max_new counts the prompt",
        _writer(count=lambda n_given, max_new: max(0, max_new - n_given)),
        "Your text as a whole gets max_new tokens; the prompt does not count.",
        "At most max_new *new* tokens: compare with T + max_new.",
        _COUNT_LINE,
    ),
    Mistake(
        "at least one",
        _at_least_one,
        "With max_new = 0 a token is written all the same.",
        "The first token is written before the loop looks at max_new.",
        _COUNT_LINE,
    ),
    Mistake(
        "one token and no more",
        _writer(ends=lambda tokens, new, eos_id, n_given: True),
        "Only one new token is written.",
        "Is there a loop, and is the `return` outside it?",
        _COUNT_LINE,
    ),
)

_FIRST = "written after three tokens"


def _count(seen: dict[str, Seen], experiment: str) -> float:
    return seen[experiment]["number of new tokens"].item()


def _line(seen: dict[str, Seen], experiment: str) -> list[int]:
    return [int(token) for token in seen[experiment]["tokens (-1: none)"].tolist()]


_LAST_LOOK, _LAST_MESSAGE, _LAST_HINT = crashes_in(
    "no new token",
    "With max_new = 0 your code stops; it should return the prompt.",
    "Is a token, or a list of new tokens, expected that was never written?",
)


def _goes_on(seen: dict[str, Seen], name: str, eos_id: int) -> bool:
    return eos_id in _new(seen, name)[:-1]


def _always_the_likeliest(seen: dict[str, Seen]) -> bool:
    """Say whether each text agrees with the right one for as long as both go on."""
    for experiment in (
        _written_after_three_tokens,
        _written_after_one_token,
        _written_after_six_tokens,
        _written_with_a_token_0,
        _written_until_eos,
    ):
        name = "tokens (-1: none)"
        wanted = experiment(GENERATE.reference)[name].double()
        got = seen[experiment_name(experiment)][name]
        both = (got >= 0) & (wanted >= 0)
        if not torch.equal(got[both], wanted[both]):
            return False
    return True


def _new(seen: dict[str, Seen], name: str) -> list[int]:
    """What was written behind a prompt of three tokens."""
    return [token for token in _line(seen, name)[3:] if token >= 0]


_GENERATE_PROPERTIES = (
    left_to_chance(_FIRST),
    changes_its_input(_FIRST),
    Property(
        "the model is never asked",
        lambda seen: seen[_FIRST]["_asked"].item() == 1,
        "The model is never asked with one row of tokens.",
        "model(tokens) gives the logits of all places; the last place guesses the next token.",
    ),
    Property(
        "the prompt is not kept",
        lambda seen: _line(seen, _FIRST)[:3] == [4, 1, 6],
        "Your text does not begin with the prompt.",
        "Return the prompt, as it was, and behind it what was written.",
    ),
    Property(
        "does not begin with the prompt",
        lambda seen: seen[_FIRST]["_begins with the prompt"].item() == 1,
        "Your first question to the model is not the prompt.",
        "The first question contains the whole prompt, each later one also all that was written.",
    ),
    Property(
        "asks with one token",
        lambda seen: seen[_FIRST]["_asks with one token"].item() == 0,
        "After the prompt you ask the model with single tokens; it remembers nothing.",
        "What must each question contain?",
    ),
    Property(
        "questions do not grow",
        lambda seen: seen[_FIRST]["_questions grow"].item() == 1,
        "A question to the model does not contain the whole question before it.",
        "Each question is the one before, and one token more: all tokens so far.",
    ),
    Property(
        "another token",
        lambda seen: _line(seen, _FIRST)[:4] == [4, 1, 6, 4],
        "Already the first new token is not the likeliest one.",
        "Is it the argmax over the vocabulary, at the last place of the logits?",
    ),
    Property(
        "too few",
        lambda seen: _count(seen, _FIRST) >= 5 or 5 in _line(seen, _FIRST),
        "Fewer than max_new tokens are written, though no <eos> came.",
        "How often does your loop run, and what ends it?",
    ),
    Property(
        "too many",
        lambda seen: _count(seen, _FIRST) <= 5,
        "More than max_new tokens are written.",
        "How often does your loop run, and how many tokens are joined each time?",
    ),
    Property(
        "a word of 0",
        lambda seen: _count(seen, "written with a token 0") != 1,
        "A token 0 ends your text; it is a word like any other unless eos_id is 0.",
        "Compare the new token with eos_id, and with nothing else.",
    ),
    Property(
        "another token later",
        _always_the_likeliest,
        "Somewhere you write a token that is not the likeliest one there.",
        "Is it the argmax over the vocabulary, of the last place, where the model has read all tokens so far?",
    ),
    Property(
        "goes on after eos",
        lambda seen: not (_goes_on(seen, "written until eos", 7) or _goes_on(seen, "eos at once", 2)),
        "Your text goes on after <eos>.",
        "Which line compares the token just written with eos_id, and leaves the loop?",
    ),
    Property(
        "never writes eos",
        lambda seen: _new(seen, "eos at once")[:1] == [2],
        "Where <eos> is the likeliest token at once, your text does not begin with it.",
        "It is written like any other token; then the text ends. Is it hidden, dropped or written over?",
    ),
    Property(
        "ends before eos",
        lambda seen: _count(seen, "written until eos") >= 4 or 7 in _new(seen, "written until eos"),
        "Your text ends before <eos>, which belongs to it.",
        "First join the token, then look whether it was <eos>.",
    ),
    Property(
        "an eos of 0",
        lambda seen: _count(seen, "written until an eos of 0") == 2,
        "Your text does not end where it should when eos_id is 0.",
        "Is 0 taken for false, or for “no eos”?",
    ),
    Property(
        "an eos in the prompt",
        lambda seen: _count(seen, "eos in the prompt") == 5 and _count(seen, "eos ends the prompt") == 5,
        "An <eos> that stands in the prompt ends or shortens your text; it should not.",
        "Look at the new token alone.",
    ),
    Property("stops at max_new 0", _LAST_LOOK, _LAST_MESSAGE, _LAST_HINT),
    Property(
        "max_new of 0",
        lambda seen: _count(seen, "no new token") == 0,
        "With max_new = 0 the prompt alone should come back.",
        "Is a token written before the loop looks at max_new?",
    ),
)


GENERATE: Exercise = Exercise(
    id="01.generate",
    title="Write on, one token at a time",
    stub=GENERATE_STUB,
    reference=_writer(),
    experiments=(
        _written_after_three_tokens,
        _written_after_one_token,
        _written_after_six_tokens,
        _written_with_a_token_0,
        _written_until_eos,
        _written_until_an_eos_of_0,
        _eos_at_once,
        _eos_at_the_very_end,
        _eos_in_the_prompt,
        _eos_ends_the_prompt,
        _one_new_token,
        _no_new_token,
    ),
    mistakes=_GENERATE_MISTAKES,
    properties=_GENERATE_PROPERTIES,
    difficulty=2,
    importance=5,
    minutes=15,
)
