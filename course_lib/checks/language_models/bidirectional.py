"""Exercise 01.bidirectional: read each sentence from both ends, whatever padding stands behind it.

B batch · T tokens · D width of the input · H and K widths of the two networks
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.language_models.shared import two_results
from course_lib.checks.probe import a_function, gradients, kind_of, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, left_to_chance, not_finite

BIDIRECTIONAL_STUB = '''
def bidirectional(forward_rnn, backward_rnn, x, lengths):
    """Read each sentence from left to right with one network, and from its end with another.

    Args:
        forward_rnn, backward_rnn: two networks. Each takes (B, n, D), reads it from left to right from
            a state of zeros, and returns its state after each step: (B, n, H) and (B, n, K). To let
            one read from the end, give it the sentence turned round. Rows do not mix.
        x: (B, T, D). Each row is a sentence, then padding, which may hold any numbers.
        lengths: (B,), integers from 1 to T: how many steps of each row are real.

    Returns:
        outputs, (B, T, H + K): at each real place t, the forward network's state after reading
        x_0 … x_t, then, beside it, the backward network's state after reading x_last … x_t. What you
        put at padding does not matter.
        ends, (B, H + K): for each sentence, the state of each network after the whole sentence,
        forward first. Padding changes neither. x and lengths stay as they were; gradients flow to x.
    """
'''

_NAMES = ("outputs", "ends")
Network = Callable[[Tensor], Tensor]


class _Recurrent:
    """A recurrent network with fixed random weights, from a state of zeros."""

    def __init__(self, d_input: int, d_hidden: int, *, seed: int):
        self.d_input, self.d_hidden = d_input, d_hidden
        self.w = numbers(d_input, d_hidden, seed=seed, std=1.2 * d_input**-0.5)
        self.u = numbers(d_hidden, d_hidden, seed=seed + 1, std=1.2 * d_hidden**-0.5)
        self.b = numbers(d_hidden, seed=seed + 2, std=0.5)

    def __call__(self, x: Tensor) -> Tensor:
        _asked_rightly(x, self.d_input)
        state, states = x.new_zeros(x.size(0), self.d_hidden), []
        for step in x.unbind(1):
            state = torch.tanh(step @ self.w + state @ self.u + self.b)
            states.append(state)
        return torch.stack(states, dim=1)


def _adds_up(x: Tensor) -> Tensor:
    """A network whose state is the sum of all it has read: with one-hot inputs it lists what was read."""
    _asked_rightly(x, x.size(-1))
    return x.cumsum(1)


def _asked_rightly(x: Any, d_input: int) -> None:
    if not isinstance(x, Tensor):
        raise WrongReturn(
            "a network is asked with another kind of thing",
            f"You give a network {kind_of(x)}; it takes a tensor, (B, n, D)."[:83],
            "torch.stack makes one tensor of a list of equally long ones.",
        )
    if x.dim() != 3 or x.size(-1) != d_input:
        raise WrongReturn(
            "a network is asked with another shape",
            f"You give a network a tensor of shape {tuple(x.shape)}; it takes (B, n, {d_input})."[:83],
            "One sentence alone is x[b : b + 1, :length], with its batch axis. Both networks read x.",
        )
    if x.size(1) == 0:
        raise WrongReturn(
            "a network is asked with nothing",
            "You give a network a sentence without any step.",
            "Where does your slice begin and end?",
        )


def _networks(d_input: int, wide: int, wide_back: int, seed: int) -> tuple[Network, Network]:
    return _Recurrent(d_input, wide, seed=seed), _Recurrent(d_input, wide_back, seed=seed + 4)


def _results(
    candidate: Any, networks: tuple[Network, Network], x: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Return outputs with zeros at padding, and ends."""
    with torch.no_grad():
        width = sum(network(x[:1, :1]).size(-1) for network in networks)
    shapes = ((x.size(0), x.size(1), width), (x.size(0), width))
    outputs, ends = two_results(candidate(*networks, x, lengths), _NAMES, shapes)
    if outputs.shape == shapes[0]:
        real = torch.arange(x.size(1)) < lengths[:, None]
        outputs = torch.where(real.unsqueeze(-1), outputs, torch.zeros_like(outputs))
    return outputs, ends


def _read(candidate: Any, networks: tuple[Network, Network], x: Tensor, lengths: list[int]) -> Seen:
    outputs, ends = _results(candidate, networks, x.clone(), torch.tensor(lengths))
    return {"outputs": outputs, "ends": ends}


_PADDED = (2, 5, 3)
_LENGTHS = [5, 3]


def _two_sentences_from_both_ends(candidate: Any) -> Seen:
    networks, x, lengths = _networks(3, 4, 4, 280), numbers(*_PADDED, seed=290), torch.tensor(_LENGTHS)
    given, given_lengths = x.clone(), lengths.clone()
    outputs, ends = _results(a_function(candidate), networks, given, given_lengths)
    changed = not (torch.equal(given, x) and torch.equal(given_lengths, lengths))
    again, _ = _results(candidate, networks, x.clone(), lengths.clone())
    chance = again.shape != outputs.shape or not torch.allclose(outputs, again, equal_nan=True)
    return {
        "outputs": outputs,
        "ends": ends,
        "input changed": yes(changed),
        "second call differs": yes(chance),
    }


def _what_each_side_has_read(candidate: Any) -> Seen:
    """Networks that list what they have read: row t holds a 1 for each step read so far; on the left, then right."""
    x = torch.eye(5).expand(2, 5, 5)
    return _read(candidate, (_adds_up, lambda turned: 2 * _adds_up(turned)), x, _LENGTHS)


def _without_padding(candidate: Any) -> Seen:
    return _read(candidate, _networks(4, 2, 3, 300), numbers(3, 5, 4, seed=310), [5, 5, 5])


def _other_padding(candidate: Any) -> Seen:
    """The first experiment's sentences, with more and louder padding."""
    x, longer = numbers(*_PADDED, seed=290), numbers(2, 8, 3, seed=291, std=5.0)
    for row, length in enumerate(_LENGTHS):
        longer[row, :length] = x[row, :length]
    seen = _read(candidate, _networks(3, 4, 4, 280), longer, _LENGTHS)
    outputs = seen["outputs"]
    return {"outputs": outputs[:, :5] if outputs.dim() == 3 else outputs, "ends": seen["ends"]}


def _one_sentence_with_padding(candidate: Any) -> Seen:
    return _read(candidate, _networks(2, 3, 5, 320), numbers(1, 6, 2, seed=330), [4])


def _sentences_of_one_step(candidate: Any) -> Seen:
    return _read(candidate, _networks(2, 3, 4, 340), numbers(3, 4, 2, seed=350), [1, 4, 2])


def _a_batch_with_equal_sizes(candidate: Any) -> Seen:
    return _read(candidate, _networks(4, 4, 4, 360), numbers(4, 4, 4, seed=370), [2, 4, 1, 3])


def _the_longest_sentence_last(candidate: Any) -> Seen:
    return _read(candidate, _networks(2, 3, 4, 390), numbers(3, 5, 2, seed=395), [2, 3, 5])


def _sentences_with_a_silent_step(candidate: Any) -> Seen:
    """A real step whose numbers are all 0; lengths, not zeros, say what is real."""
    x = numbers(2, 5, 3, seed=380)
    x[0, 1] = 0.0
    x[1, 2] = 0.0
    return _read(candidate, _networks(3, 2, 3, 385), x, [4, 3])


def _gradients_from_both_ends(candidate: Any) -> Seen:
    (leaf,), (x,) = watched(numbers(*_PADDED, seed=290))
    outputs, ends = _results(candidate, _networks(3, 4, 4, 280), x, torch.tensor(_LENGTHS))
    return {
        "gradient to x": gradients(outputs, {"x": leaf})["gradient to x"],
        "gradient to x, of the ends": gradients(ends, {"x": leaf})["gradient to x"],
    }


def _turned(x: Tensor, lengths: Tensor) -> Tensor:
    """Each row's first `length` steps turned round; its own inverse."""
    places = torch.arange(x.size(1)).expand(x.size(0), -1)
    back = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    return x.gather(1, back.unsqueeze(-1).expand_as(x))


def _at(states: Tensor, places: Tensor) -> Tensor:
    return states[torch.arange(states.size(0)), places]


def _beside(forward: Tensor, backward: Tensor) -> Tensor:
    return torch.cat([forward, backward], dim=-1)


def _both(
    *,
    turn: Any = _turned,
    back: Any = _turned,
    networks: Any = lambda one, other: (one, other),
    given: Any = lambda x, lengths: x,
    join: Any = _beside,
    forward_end: Any = lambda states, lengths: _at(states, lengths - 1),
    backward_end: Any = lambda states, lengths: states[:, 0],
    join_ends: Any = _beside,
    known: Any = lambda lengths: lengths,
) -> Any:
    """Return an answer with one part exchanged.

    The backward network reads turn(x) and its states go through `back`; `join` puts both sides together;
    `forward_end` and `backward_end` take each side's state after the whole sentence.
    """

    def run(one: Network, other: Network, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        one, other = networks(one, other)
        x, lengths = given(x, lengths), known(lengths)
        forward = one(x)
        backward = back(other(turn(x, lengths)), lengths)
        ends = join_ends(forward_end(forward, lengths), backward_end(backward, lengths))
        return join(forward, backward), ends

    return run


def _as_it_is(x: Tensor, lengths: Tensor) -> Tensor:
    return x


def _whole_row(x: Tensor, lengths: Tensor) -> Tensor:
    return x.flip(1)


def _last_place(states: Tensor, lengths: Tensor) -> Tensor:
    return states[:, -1]


def _last_real_place(states: Tensor, lengths: Tensor) -> Tensor:
    return _at(states, lengths - 1)


def _mean_of_real(states: Tensor, lengths: Tensor) -> Tensor:
    real = (torch.arange(states.size(1)) < lengths[:, None]).unsqueeze(-1)
    return (states * real).sum(1) / lengths[:, None]


def _largest_of_real(states: Tensor, lengths: Tensor) -> Tensor:
    real = (torch.arange(states.size(1)) < lengths[:, None]).unsqueeze(-1)
    return states.masked_fill(~real, -torch.inf).amax(1)


def _one_further(states: Tensor, lengths: Tensor) -> Tensor:
    """The backward state of the place to the right: all that comes after a token, without the token itself."""
    shifted = torch.cat([states[:, 1:], torch.zeros_like(states[:, :1])], dim=1)
    last = torch.arange(states.size(1)) >= lengths[:, None] - 1
    return shifted.masked_fill(last.unsqueeze(-1), 0.0)


def _without_its_own_token(one: Network, other: Network, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    forward, backward = one(x), _turned(other(_turned(x, lengths)), lengths)
    ends = _beside(_at(forward, lengths - 1), backward[:, 0])
    return _beside(forward, _one_further(backward, lengths)), ends


def _zeros_at_padding(x: Tensor, lengths: Tensor) -> Tensor:
    return x * (torch.arange(x.size(1)) < lengths[:, None]).unsqueeze(-1)


def _turned_in_place(one: Network, other: Network, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    forward = one(x.clone())
    kept = [other(x[b : b + 1, :n].flip(1)).flip(1)[0] for b, n in enumerate(lengths.tolist())]
    result = forward.new_zeros(x.size(0), x.size(1), forward.size(-1) + kept[0].size(-1))
    for b, n in enumerate(lengths.tolist()):
        result[b, :n] = _beside(forward[b, :n], kept[b])
        x[b, :n] = x[b, :n].flip(0).detach()
    ends = _beside(_at(forward, lengths - 1), torch.stack([each[0] for each in kept]))
    return result, ends


def _forward_turned_too(one: Network, other: Network, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    return _both()(lambda steps: one(_turned(steps, lengths)), other, x, lengths)


def _ends_from_the_last_place(
    one: Network, other: Network, x: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    outputs, _ = _both()(one, other, x, lengths)
    return outputs, outputs[:, -1]


_TURN_LINE = "turned = each row's first lengths[b] steps, flipped; padding stays behind"
_BACK_LINE = "backward = backward_rnn(turned), its first lengths[b] steps flipped again"
_JOIN_LINE = "outputs = torch.cat([forward, backward], dim=-1)"
_ENDS_LINE = "ends = torch.cat([forward[b, lengths - 1], backward[:, 0]], dim=-1), with b = torch.arange(B)"

_PADDING_FIRST = (
    "The backward network reads the padding first: whole rows are turned round.",
    "`flip(1)` turns the padding to the front. Only the first lengths[b] steps of row b may change places.",
    _TURN_LINE,
)
_NOT_BACK = (
    "The backward states are not turned back: they stand at other places' tokens.",
    "Its first state belongs to the *last* word. Which states must meet at place t?",
    _BACK_LINE,
)


def _whatever_ends(name: str, message: str, hint: str, mend: str, **parts: Any) -> tuple[Mistake, ...]:
    """One wrong way of reading, with the ends taken at four pairs of places: the reading is the cause."""
    found = []
    for forward_at, forward_end in (("", _last_real_place), (", forward end at padding", _last_place)):
        for backward_at, backward_end in (
            ("", lambda states, lengths: states[:, 0]),
            (", backward end at the last word", _last_real_place),
            (", backward end at padding", _last_place),
        ):
            code = _both(forward_end=forward_end, backward_end=backward_end, **parts)
            found.append(Mistake(name + forward_at + backward_at, code, message, hint, mend))
    return tuple(found)


_BIDIRECTIONAL_MISTAKES = (
    *_whatever_ends("whole rows turned", *_PADDING_FIRST, turn=_whole_row, back=_whole_row),
    *_whatever_ends(
        "whole rows turned, and not back",
        "Whole rows are turned round, padding to the front, and not turned back.",
        "Only the first lengths[b] steps may change places; afterwards the states must return to them.",
        _TURN_LINE,
        turn=_whole_row,
        back=_as_it_is,
    ),
    *_whatever_ends(
        "whole rows turned, back within lengths",
        "Whole rows are turned round; only their way back minds the lengths.",
        "`flip(1)` turns the padding to the front, and the backward network reads it first.",
        _TURN_LINE,
        turn=_whole_row,
    ),
    *_whatever_ends(
        "turned back as whole rows",
        "Sentences are turned round within their lengths, but whole rows are turned back.",
        "The way back is the same as the way there: the first lengths[b] steps.",
        _BACK_LINE,
        back=_whole_row,
    ),
    *_whatever_ends("not turned back", *_NOT_BACK, back=_as_it_is),
    *_whatever_ends(
        "not turned at all",
        "Both networks read from left to right: nothing is turned round.",
        "A network reads what it is given from left to right. What must the second one be given?",
        _TURN_LINE,
        turn=_as_it_is,
        back=_as_it_is,
    ),
    *_whatever_ends(
        "only the states are turned",
        "The second network reads from left to right; only its states are turned round.",
        "Turn x round before it reads, and the states back afterwards.",
        _TURN_LINE,
        turn=_as_it_is,
    ),
    Mistake(
        "padding set to 0, whole rows turned",
        _both(
            turn=lambda x, lengths: _zeros_at_padding(x, lengths).flip(1),
            back=_whole_row,
        ),
        "The backward network reads zeros first; a step of zeros still moves its state.",
        "Padding must not be read at all before the sentence: turn round the first lengths[b] steps only.",
        _TURN_LINE,
    ),
    Mistake(
        "the batch is turned",
        _both(turn=lambda x, lengths: x.flip(0), back=_as_it_is),
        "The batch is turned round, not the sentences.",
        "flip(0) is of the batch's axis; the steps stand on axis 1.",
        _TURN_LINE,
    ),
    Mistake(
        "the numbers of each step are turned",
        _both(turn=lambda x, lengths: x.flip(-1), back=_as_it_is, backward_end=_last_real_place),
        "The numbers of each step are turned round, not the steps.",
        "flip(-1) is of the width D; the steps stand on axis 1.",
        _TURN_LINE,
    ),
    Mistake(
        "both read from the end",
        _forward_turned_too,
        "The forward network reads turned sentences too.",
        "It reads x as it is. Is x assigned anew before it is used a second time?",
        "forward = forward_rnn(x)",
    ),
    Mistake(
        "networks exchanged",
        _both(networks=lambda one, other: (other, one)),
        "The two networks are exchanged: the backward one reads from the left.",
        "forward_rnn reads x, backward_rnn the turned sentences.",
        "forward = forward_rnn(x); backward = backward_rnn(turned)",
    ),
    Mistake(
        "the forward network twice",
        _both(networks=lambda one, other: (one, one)),
        "The forward network reads both ways; backward_rnn is never used.",
        "Two networks with weights of their own.",
        "backward = backward_rnn(turned)",
    ),
    Mistake(
        "the backward network twice",
        _both(networks=lambda one, other: (other, other)),
        "The backward network reads both ways; forward_rnn is never used.",
        "Two networks with weights of their own.",
        "forward = forward_rnn(x)",
    ),
    Mistake(
        "backward first",
        _both(
            join=lambda forward, backward: _beside(backward, forward),
            join_ends=lambda forward, backward: _beside(backward, forward),
        ),
        "The backward states stand first; the forward ones should.",
        "torch.cat puts its pieces together in the order of the list.",
        _JOIN_LINE,
    ),
    Mistake(
        "backward first in the outputs",
        _both(join=lambda forward, backward: _beside(backward, forward)),
        "In your outputs the backward states stand first; the forward ones should.",
        "torch.cat puts its pieces together in the order of the list.",
        _JOIN_LINE,
    ),
    Mistake(
        "backward first in the ends",
        _both(join_ends=lambda forward, backward: _beside(backward, forward)),
        "Your outputs are right; in the ends the backward state stands first.",
        "torch.cat puts its pieces together in the order of the list.",
        _ENDS_LINE,
    ),
    Mistake(
        "added",
        _both(join=lambda one, other: one + other, join_ends=lambda one, other: one + other),
        "The two sides are added; they should lie side by side.",
        "A sum cannot be taken apart again, and the widths H and K may differ.",
        _JOIN_LINE,
    ),
    Mistake(
        "averaged",
        _both(join=lambda one, other: (one + other) / 2, join_ends=lambda one, other: (one + other) / 2),
        "The two sides are averaged; they should lie side by side.",
        "A mean cannot be taken apart again, and the widths H and K may differ.",
        _JOIN_LINE,
    ),
    Mistake(
        "one behind the other",
        _both(join=lambda one, other: torch.cat([one, other], dim=1)),
        "The backward states stand behind the forward ones in time: 2 T steps.",
        "Which axis of (B, T, H) holds the width?",
        _JOIN_LINE,
    ),
    Mistake(
        "one below the other",
        _both(join=lambda one, other: torch.cat([one, other], dim=0)),
        "The backward states are more rows of the batch: 2 B of them.",
        "Which axis of (B, T, H) holds the width?",
        _JOIN_LINE,
    ),
    Mistake(
        "stacked",
        _both(join=lambda one, other: torch.stack([one, other], dim=2)),
        "The two sides are stacked on a new axis; they should lie side by side in the last.",
        "torch.cat joins along an axis that is there, torch.stack makes a new one.",
        _JOIN_LINE,
    ),
    Mistake(
        "interleaved",
        _both(join=lambda one, other: torch.stack([one, other], dim=-1).flatten(2)),
        "The two sides are interleaved, number by number; forward should stand first.",
        "torch.cat([forward, backward], dim=-1).",
        _JOIN_LINE,
    ),
    Mistake(
        "without its own token",
        _without_its_own_token,
        "The backward state at t has not read x_t; it should have.",
        "Each side has read the token at t itself: x_0 … x_t from the left, x_last … x_t from the right.",
        _BACK_LINE,
    ),
    Mistake(
        "the end of padding",
        _both(forward_end=_last_place),
        "The outputs are right; the forward end is taken after the padding.",
        "Place T - 1 is padding for a shorter sentence. Where is row b's last word?",
        _ENDS_LINE,
    ),
    Mistake(
        "the ends at the last place",
        _ends_from_the_last_place,
        "The outputs are right; both ends are taken at the row's last place.",
        "There may be padding; and the backward network has read the whole sentence at place 0.",
        _ENDS_LINE,
    ),
    Mistake(
        "both ends at the last word",
        _both(backward_end=_last_real_place),
        "The outputs are right; the backward end has read one word only.",
        "The backward network begins at the last word. At which place has it read all of them?",
        _ENDS_LINE,
    ),
    Mistake(
        "both ends at the first word",
        _both(forward_end=lambda states, lengths: states[:, 0]),
        "The outputs are right; the forward end has read one word only.",
        "The forward network has read all of row b at place lengths[b] - 1.",
        _ENDS_LINE,
    ),
    Mistake(
        "the ends exchanged in place",
        _both(forward_end=lambda states, lengths: states[:, 0], backward_end=_last_real_place),
        "The outputs are right; each end has read one word only: the places are exchanged.",
        "Forward has read all at place lengths[b] - 1, backward at place 0.",
        _ENDS_LINE,
    ),
    Mistake(
        "the end one too early",
        _both(forward_end=lambda states, lengths: _at(states, lengths - 2)),
        "The outputs are right; the forward end is one word too early.",
        "With 3 words the last one stands at place 2.",
        _ENDS_LINE,
    ),
    Mistake(
        "the end one too late",
        _both(forward_end=lambda states, lengths: _at(states, lengths.clamp(max=states.size(1) - 1))),
        "The outputs are right; the forward end has read one step of padding too many.",
        "With 3 words the last one stands at place 2.",
        _ENDS_LINE,
    ),
    Mistake(
        "ends averaged over the sentence",
        _both(forward_end=_mean_of_real, backward_end=_mean_of_real),
        "The outputs are right; the ends are means over the sentence.",
        "Asked is the state of each network after the whole sentence.",
        _ENDS_LINE,
    ),
    Mistake(
        "ends with the largest numbers",
        _both(forward_end=_largest_of_real, backward_end=_largest_of_real),
        "The outputs are right; the ends are the largest numbers over the sentence.",
        "Asked is the state of each network after the whole sentence.",
        _ENDS_LINE,
    ),
    Mistake(
        "the first length for all",
        _both(known=lambda lengths: lengths[:1].expand_as(lengths)),
        "The length of the first sentence is used for all of them.",
        "Row b has lengths[b] steps.",
        _TURN_LINE,
    ),
    Mistake(
        "the last length for all",
        _both(known=lambda lengths: lengths[-1:].expand_as(lengths)),
        "The length of the last sentence is used for all of them.",
        "Row b has lengths[b] steps.",
        _TURN_LINE,
    ),
    Mistake(
        "one step too few",
        _both(
            turn=lambda x, lengths: _turned(x, lengths - 1),
            back=lambda x, lengths: _turned(x, lengths - 1),
        ),
        "One step too few is turned round: the last word stays where it is.",
        "x[b, :n] holds n steps, places 0 to n - 1.",
        _TURN_LINE,
    ),
    Mistake(
        "changes its input",
        _turned_in_place,
        "The numbers are right, but your function changed the tensors it was given.",
        "`x[b, :n] = …` writes into the caller's tensor. Clone it, or make a new one.",
        "turned = x.clone()",
    ),
    Mistake(
        "no gradient",
        _both(given=lambda x, lengths: x.detach()),
        "The numbers are right, but no gradient flows back to x.",
        "`.detach()`, `.data`, torch.tensor(…) and NumPy cut it.",
        "use x itself",
    ),
    Mistake(
        "no gradient from the right",
        _both(turn=lambda x, lengths: _turned(x, lengths).detach()),
        "The numbers are right, but no gradient flows through the backward network.",
        "Is the turned sentence made with `.data`, `.detach()` or torch.tensor(…)?",
        _TURN_LINE,
    ),
)


_FIRST = "two sentences from both ends"


def _outputs(seen: dict[str, Seen], experiment: str = _FIRST) -> Tensor:
    return seen[experiment]["outputs"]


def _ends(seen: dict[str, Seen], experiment: str = _FIRST) -> Tensor:
    return seen[experiment]["ends"]


def _heard(seen: dict[str, Seen], side: int) -> Tensor:
    """What one side has read at each place, (2, 5, 5): 0 left, 1 right."""
    return _outputs(seen, "what each side has read")[..., 5 * side : 5 * side + 5]


_READ_LEFT = torch.ones(5, 5, dtype=torch.bool).tril()


def _forward_right(seen: dict[str, Seen]) -> bool:
    heard = _heard(seen, 0)
    return all(torch.equal(heard[row, :n] != 0, _READ_LEFT[:n]) for row, n in enumerate(_LENGTHS))


def _expected_right(n: int) -> Tensor:
    """Row t lists steps t … n - 1."""
    return torch.nn.functional.pad(torch.ones(n, n, dtype=torch.bool).triu(), (0, 5 - n))


def _outputs_right(seen: dict[str, Seen]) -> bool:
    return torch.allclose(
        _outputs(seen),
        _two_sentences_from_both_ends(BIDIRECTIONAL.reference)["outputs"].double(),
        atol=1e-3,
    )


_BIDIRECTIONAL_PROPERTIES = (
    left_to_chance(_FIRST),
    changes_its_input(_FIRST),
    not_finite(lambda seen: torch.cat([_outputs(seen).flatten(), _ends(seen).flatten()]), "results"),
    Property(
        "the left side",
        _forward_right,
        "In the first half of your outputs, place t has not read just x_0 … x_t.",
        "The forward network reads x as it is, and its states stand first.",
    ),
    Property(
        "padding is read",
        lambda seen: torch.allclose(
            _outputs(seen, "other padding")[..., 4:], _outputs(seen)[..., 4:], atol=1e-4
        ),
        "In the second half of your outputs, a real place has read padding.",
        "Only the first lengths[b] steps of row b may be turned round: `flip(1)` brings the padding to the front. And "
        "no state of a padding place may move to a real one.",
    ),
    Property(
        "the right side",
        lambda seen: all(
            torch.equal(_heard(seen, 1)[row, :n] != 0, _expected_right(n)) for row, n in enumerate(_LENGTHS)
        ),
        "In the second half of your outputs, place t has not read just x_last … x_t.",
        "The backward network's first state belongs to the last word. Are its states turned back, each row within "
        "its length?",
    ),
    Property(
        "padding changes the outputs",
        lambda seen: torch.allclose(_outputs(seen, "other padding"), _outputs(seen), atol=1e-4),
        "Other padding behind the same sentences changes your outputs.",
        "Nothing but the first lengths[b] steps of row b may be used.",
    ),
    Property(
        "the outputs",
        _outputs_right,
        "Both sides read the right steps, but your outputs are not their states.",
        "Is something done to x before, or to the states after? They lie side by side, forward first.",
    ),
    Property(
        "padding changes the ends",
        lambda seen: torch.allclose(_ends(seen, "other padding"), _ends(seen), atol=1e-4),
        "Your outputs are right, but other padding changes your ends.",
        "Row b's last word stands at place lengths[b] - 1, not at the end of the row.",
    ),
    Property(
        "the ends",
        lambda seen: agrees(seen, _two_sentences_from_both_ends, BIDIRECTIONAL.reference),
        "Your outputs are right, the ends are not.",
        "After the whole sentence: the forward network at its last word, the backward network at its first.",
    ),
    Property(
        "widths that differ",
        lambda seen: agrees(seen, _without_padding, BIDIRECTIONAL.reference),
        "Right where both networks are equally wide, wrong where H and K differ.",
        "Is a width taken from the wrong network?",
    ),
    Property(
        "one sentence",
        lambda seen: agrees(seen, _one_sentence_with_padding, BIDIRECTIONAL.reference),
        "Right for several sentences, wrong for one sentence with padding.",
        "Does a `squeeze()` take the batch's axis away, or is a length ignored there?",
    ),
    Property(
        "another order of lengths",
        lambda seen: agrees(seen, _the_longest_sentence_last, BIDIRECTIONAL.reference),
        "Right where the longest sentence stands first, wrong where it stands last.",
        "Are the sentences sorted and not put back, or is a length taken from the first row?",
    ),
    Property(
        "a silent step",
        lambda seen: agrees(seen, _sentences_with_a_silent_step, BIDIRECTIONAL.reference),
        "A real step whose numbers are all 0 is taken for padding.",
        "Only `lengths` says what is real.",
    ),
    Property(
        "no gradient",
        lambda seen: all(g.abs().max() > 0 for g in seen["gradients from both ends"].values()),
        "No gradient flows back to x from some of your results.",
        "`.detach()`, `.data`, torch.tensor(…), `.item()`, NumPy and torch.no_grad() cut it.",
    ),
)


BIDIRECTIONAL: Exercise = Exercise(
    id="01.bidirectional",
    title="Read from both ends",
    stub=BIDIRECTIONAL_STUB,
    reference=_both(),
    experiments=(
        _two_sentences_from_both_ends,
        _what_each_side_has_read,
        _without_padding,
        _other_padding,
        _one_sentence_with_padding,
        _the_longest_sentence_last,
        _sentences_of_one_step,
        _a_batch_with_equal_sizes,
        _sentences_with_a_silent_step,
        _gradients_from_both_ends,
    ),
    mistakes=_BIDIRECTIONAL_MISTAKES,
    properties=_BIDIRECTIONAL_PROPERTIES,
    difficulty=3,
    importance=4,
    minutes=20,
)
