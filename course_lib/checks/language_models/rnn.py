"""Exercise 01.rnn: one state, carried from step to step.

B batch · T tokens · D width of the input · H width of the state
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen, experiment_name
from course_lib.checks.language_models.shared import two_results
from course_lib.checks.probe import a_function, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, left_to_chance, never_written, not_finite

RNN_STUB = '''
def rnn(x, w, u, b, h):
    """Read sentences step by step and carry a state along: h_t = tanh(w x_t + u h_{t-1} + b).

    Args:
        x: the inputs, (B, T, D), T at least 1. All sentences are read side by side.
        w: (H, D), weights from the input; w x_t means the matrix w times the vector x_t.
        u: (H, H), weights from the state before; u h means the matrix u times the vector h.
        b: (H,).
        h: the state before the first step, (B, H).

    Returns:
        outputs, (B, T, H): the state after each step; and the state after the last step, (B, H).
        All inputs stay as they were, and gradients flow back to all five.
    """
'''

_NAMES = ("outputs", "state")


def _weights(d_input: int, d_hidden: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return (
        numbers(d_hidden, d_input, seed=seed, std=d_input**-0.5),
        numbers(d_hidden, d_hidden, seed=seed + 1, std=d_hidden**-0.5 * 1.2),
        numbers(d_hidden, seed=seed + 2, std=0.4),
    )


def _given(batch: int, steps: int, d_input: int, d_hidden: int, *, seed: int) -> list[Tensor]:
    """Return x, w, u, b, h."""
    x, h = numbers(batch, steps, d_input, seed=seed), numbers(batch, d_hidden, seed=seed + 1, std=0.6)
    return [x, *_weights(d_input, d_hidden, seed + 2), h]


def _results(candidate: Any, given: list[Tensor]) -> tuple[Tensor, Tensor]:
    (batch, steps, _), d_hidden = given[0].shape, given[2].size(0)
    return two_results(candidate(*given), _NAMES, ((batch, steps, d_hidden), (batch, d_hidden)))


def _read(candidate: Any, given: list[Tensor]) -> Seen:
    outputs, state = _results(candidate, [tensor.clone() for tensor in given])
    return {"outputs": outputs, "last state": state}


def _rnn_of_two_sentences(candidate: Any) -> Seen:
    sentences = _given(2, 5, 3, 4, seed=60)
    given = [tensor.clone() for tensor in sentences]
    outputs, state = _results(a_function(candidate), given)
    changed = not all(torch.equal(one, other) for one, other in zip(given, sentences, strict=True))
    again, _ = _results(candidate, [tensor.clone() for tensor in sentences])
    chance = again.shape != outputs.shape or not torch.allclose(outputs, again, equal_nan=True)
    return {
        "outputs": outputs,
        "last state": state,
        "input changed": yes(changed),
        "second call differs": yes(chance),
    }


def _rnn_of_one_step(candidate: Any) -> Seen:
    return _read(candidate, _given(3, 1, 2, 4, seed=70))


def _rnn_with_equal_sizes(candidate: Any) -> Seen:
    return _read(candidate, _given(4, 4, 4, 4, seed=75))


def _rnn_of_one_sentence(candidate: Any) -> Seen:
    return _read(candidate, _given(1, 6, 4, 3, seed=80))


def _rnn_with_a_state_of_one_number(candidate: Any) -> Seen:
    return _read(candidate, _given(2, 4, 3, 1, seed=85))


def _rnn_of_silence(candidate: Any) -> Seen:
    """No input, no state before: what is left is the bias, and what it becomes on its way."""
    given = _given(2, 4, 3, 5, seed=90)
    given[0], given[4] = torch.zeros_like(given[0]), torch.zeros_like(given[4])
    return _read(candidate, given)


def _rnn_without_memory(candidate: Any) -> Seen:
    """u is 0: each output is tanh(w x_t + b), by itself."""
    given = _given(2, 4, 3, 5, seed=95)
    given[2] = torch.zeros_like(given[2])
    return _read(candidate, given)


def _rnn_of_memory_alone(candidate: Any) -> Seen:
    """w and b are 0: what the state before the first step becomes."""
    given = _given(2, 4, 3, 5, seed=100)
    given[1], given[3] = torch.zeros_like(given[1]), torch.zeros_like(given[3])
    return _read(candidate, given)


def _rnn_with_loud_inputs(candidate: Any) -> Seen:
    given = _given(2, 4, 3, 5, seed=105)
    given[0] = given[0] * 300
    return _read(candidate, given)


def _rnn_gradients(candidate: Any) -> Seen:
    leaves, given = watched(*_given(2, 5, 3, 4, seed=110))
    outputs, state = _results(candidate, given)
    named = dict(zip(("x", "w", "u", "b", "h"), leaves, strict=True))
    return gradients(outputs, named) | {
        f"{name}, of the last state": gradient for name, gradient in gradients(state, named).items()
    }


def _step(x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Tensor:
    return torch.tanh(x @ w.T + h @ u.T + b)


def _rnn(
    *,
    step: Any = _step,
    first: Any = lambda h: h,
    order: Any = lambda steps: range(steps),
    carry: Any = lambda new, old: new,
    finish: Any = lambda outputs, state: (torch.stack(outputs, dim=1), state),
) -> Any:
    """Return an answer with one part exchanged.

    `step(x_t, h, w, u, b)` makes the next state, `first(h)` is the state to begin with, `order(T)` the order of
    reading, `carry(new, old)` what goes on to the next step, `finish(list of states, last)` the two results.
    """

    def run(x: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        state, outputs = first(h), []
        for t in order(x.size(1)):
            new = step(x[:, t], state, w, u, b)
            outputs.append(new)
            state = carry(new, state)
        return finish(outputs, state)

    return run


def _with_step(activation: Any) -> Any:
    """Return the answer whose step is activation(w x, u h, b)."""
    return _rnn(step=lambda x, h, w, u, b: activation(x @ w.T, h @ u.T, b))


def _all_at_once(x: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    outputs = torch.tanh(x @ w.T + (h @ u.T)[:, None] + b)
    return outputs, outputs[:, -1]


def _states_before(x: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    for t in range(x.size(1)):
        outputs.append(h)
        h = _step(x[:, t], h, w, u, b)
    return torch.stack(outputs, dim=1), h


def _with_the_first_state(x: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    outputs, state = _rnn()(x, w, u, b, h)
    return torch.cat([h[:, None], outputs], dim=1), state


def _one_tensor_again_and_again(
    x: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    outputs, state = [], h.clone()
    for t in range(x.size(1)):
        state.copy_(_step(x[:, t], state.clone(), w, u, b))
        outputs.append(state)
    return torch.stack(outputs, dim=1), state


def _state_overwritten(x: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    for t in range(x.size(1)):
        h[:] = _step(x[:, t], h.clone(), w, u, b)
        outputs.append(h.clone())
    return torch.stack(outputs, dim=1), outputs[-1]


def _time_first(x: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Reads along the batch: sentence after sentence, the tokens side by side."""
    outputs, state = [], h[:1].expand(x.size(1), -1)
    for row in x:
        state = _step(row, state, w, u, b)
        outputs.append(state)
    found = torch.stack(outputs)
    return found, found[:, -1]


def _last_left_out(x: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    outputs = x.new_zeros(x.size(0), x.size(1), h.size(1))
    for t in range(x.size(1) - 1):
        h = _step(x[:, t], h, w, u, b)
        outputs[:, t] = h
    return outputs, h


def _first_skipped(x: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    outputs = [h]
    for t in range(1, x.size(1)):
        outputs.append(_step(x[:, t], outputs[-1], w, u, b))
    return torch.stack(outputs, dim=1), outputs[-1]


def _one_state_for_all(x: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    return _rnn()(x, w, u, b, h[:1].expand_as(h))


_STEP_LINE = "h = torch.tanh(x[:, t] @ w.T + h @ u.T + b)"
_CARRY_LINE = "h = torch.tanh(x[:, t] @ w.T + h @ u.T + b)  # the same name: the next step reads it"
_STACK_LINE = "return torch.stack(outputs, dim=1), h"
_LOOP_LINE = "for t in range(x.size(1)):"

_NOTHING_CARRIED = (
    "Nothing is carried: every step begins with the given state.",
    "Step t needs the state of step t - 1, so steps must wait for each other. Which name holds it in your loop?",
    _CARRY_LINE,
)
_ZEROS = (
    "You begin with a state of zeros; the given h is not used.",
    "The state before the first step is the argument h.",
    "state = h",
)
_U_TURNED = (
    "The matrix u is used transposed.",
    "u times a vector, for a batch of rows: h @ u.T. `h @ u` runs because u is square, and means another map.",
    _STEP_LINE,
)
_MIXED = (
    "Sentences and steps are mixed up: a view or reshape in place of stack on axis 1.",
    "Your states lie step by step, (T, B, H). Exchange two axes with transpose, or stack with dim=1.",
    _STACK_LINE,
)

_RNN_MISTAKES = (
    Mistake("nothing carried", _all_at_once, *_NOTHING_CARRIED),
    Mistake(
        "nothing carried, and the given state returned",
        _rnn(carry=lambda new, old: old),
        "Nothing is carried: the state never changes, and comes back as it was.",
        "Step t needs the state of step t - 1. Which name holds it in your loop?",
        _CARRY_LINE,
    ),
    Mistake("begins with zeros", _rnn(first=torch.zeros_like), *_ZEROS),
    Mistake(
        "zeros at every step",
        _with_step(lambda wx, uh, b: torch.tanh(wx + b)),
        "The state before has no influence: u h is missing, or the state is always 0.",
        "Which term of the formula carries what was read before?",
        _STEP_LINE,
    ),
    Mistake(
        "the input is missing",
        _with_step(lambda wx, uh, b: torch.tanh(uh + b)),
        "The input has no influence: w x is missing.",
        "Three terms stand inside the tanh: w x, u h and b.",
        _STEP_LINE,
    ),
    Mistake(
        "b is missing",
        _with_step(lambda wx, uh, b: torch.tanh(wx + uh)),
        "b is missing.",
        "Three terms stand inside the tanh: w x, u h and b.",
        _STEP_LINE,
    ),
    Mistake(
        "b twice",
        _with_step(lambda wx, uh, b: torch.tanh(wx + uh + 2 * b)),
        "b is added twice.",
        "PyTorch's own RNN has two biases; this one has one.",
        _STEP_LINE,
    ),
    Mistake(
        "b outside the tanh",
        _with_step(lambda wx, uh, b: torch.tanh(wx + uh) + b),
        "b is added after the tanh; it belongs inside.",
        "Look at the parentheses: what does the tanh enclose?",
        _STEP_LINE,
    ),
    Mistake(
        "b is taken away",
        _with_step(lambda wx, uh, b: torch.tanh(wx + uh - b)),
        "b is taken away; it is to be added.",
        "A sign is turned.",
        _STEP_LINE,
    ),
    Mistake("u transposed", _rnn(step=lambda x, h, w, u, b: torch.tanh(x @ w.T + h @ u + b)), *_U_TURNED),
    Mistake(
        "no tanh",
        _with_step(lambda wx, uh, b: wx + uh + b),
        "The tanh is missing; without it the state can grow without end.",
        "The tanh keeps every number of the state between -1 and 1.",
        _STEP_LINE,
    ),
    Mistake(
        "sigmoid",
        _with_step(lambda wx, uh, b: torch.sigmoid(wx + uh + b)),
        "A sigmoid in place of the tanh.",
        "The tanh lies between -1 and 1, the sigmoid between 0 and 1.",
        _STEP_LINE,
    ),
    Mistake(
        "relu",
        _with_step(lambda wx, uh, b: torch.relu(wx + uh + b)),
        "A ReLU in place of the tanh.",
        "The tanh lies between -1 and 1 and keeps the sign.",
        _STEP_LINE,
    ),
    Mistake(
        "tanh twice",
        _with_step(lambda wx, uh, b: torch.tanh(torch.tanh(wx + uh + b))),
        "The tanh is applied twice.",
        "Once, around the sum of the three terms.",
        _STEP_LINE,
    ),
    Mistake(
        "two tanhs added",
        _with_step(lambda wx, uh, b: torch.tanh(wx + b) + torch.tanh(uh)),
        "Input and state go through a tanh each; one tanh belongs around their sum.",
        "Look at the parentheses: what does the tanh enclose?",
        _STEP_LINE,
    ),
    Mistake(
        "tanh of the state's part only",
        _with_step(lambda wx, uh, b: wx + torch.tanh(uh + b)),
        "w x stands outside the tanh; it belongs inside.",
        "Look at the parentheses: what does the tanh enclose?",
        _STEP_LINE,
    ),
    Mistake(
        "tanh of the input's part only",
        _with_step(lambda wx, uh, b: torch.tanh(wx + b) + uh),
        "u h stands outside the tanh; it belongs inside.",
        "Look at the parentheses: what does the tanh enclose?",
        _STEP_LINE,
    ),
    Mistake(
        "tanh of the outputs only",
        _rnn(
            step=lambda x, h, w, u, b: x @ w.T + h @ u.T + b,
            finish=lambda outputs, state: (torch.stack(outputs, 1).tanh(), state.tanh()),
        ),
        "What is carried on has not been through the tanh.",
        "The tanh belongs inside the loop: the next step reads the state after it.",
        _STEP_LINE,
    ),
    Mistake(
        "sums before the tanh returned",
        _rnn(
            step=lambda x, h, w, u, b: x @ w.T + h.tanh() @ u.T + b,
            first=lambda h: torch.atanh(h.clamp(-0.999999, 0.999999)),
        ),
        "You return the sums before the tanh; the states are asked for.",
        "Append the state after the tanh.",
        _STEP_LINE,
    ),
    Mistake(
        "u of the whole sum",
        _rnn(step=lambda x, h, w, u, b: torch.tanh((x @ w.T + h) @ u.T + b)),
        "u is applied to w x + h; it belongs to the state alone.",
        "Look at the parentheses: which vector does u multiply?",
        _STEP_LINE,
    ),
    Mistake(
        "the state is added",
        _rnn(step=lambda x, h, w, u, b: h + _step(x, h, w, u, b)),
        "The old state is added to the new one; the new one replaces it.",
        "The formula has the old state inside the tanh only. Is there a `+=`?",
        _STEP_LINE,
    ),
    Mistake(
        "the state is added without u",
        _rnn(step=lambda x, h, w, u, b: torch.tanh(x @ w.T + h + b)),
        "u is missing: the old state is added as it is.",
        "u says what of the old state matters, and where it goes.",
        _STEP_LINE,
    ),
    Mistake(
        "u by each number",
        _rnn(step=lambda x, h, w, u, b: torch.tanh(x @ w.T + h * u.diagonal() + b)),
        "Each number of the state meets its own only: u's diagonal.",
        "u h is a product of matrix and vector: every number of the state meets every other.",
        _STEP_LINE,
    ),
    Mistake(
        "read from the end",
        _rnn(order=lambda steps: reversed(range(steps))),
        "The sentence is read from its end.",
        "Step 0 reads x[:, 0]. Is there a reversed, a flip, or a negative index?",
        _LOOP_LINE,
    ),
    Mistake(
        "read from the end, laid out forwards",
        _rnn(
            order=lambda steps: reversed(range(steps)),
            finish=lambda outputs, state: (torch.stack(outputs[::-1], dim=1), state),
        ),
        "The sentence is read from its end.",
        "Step 0 reads x[:, 0]. Is there a reversed, a flip, or a negative index?",
        _LOOP_LINE,
    ),
    Mistake(
        "outputs from the end",
        _rnn(finish=lambda outputs, state: (torch.stack(outputs[::-1], dim=1), state)),
        "Your outputs stand in reverse order.",
        "`insert(0, …)` and `cat([new, old])` put the newest in front.",
        _STACK_LINE,
    ),
    Mistake(
        "the first token at every step",
        _rnn(order=lambda steps: [0] * steps),
        "Every step reads the first input.",
        "Which index changes from step to step?",
        "x[:, t]",
    ),
    Mistake(
        "the states before each step",
        _states_before,
        "Your outputs hold the state before each step; asked is the one after it.",
        "First the step, then the append.",
        "h = torch.tanh(…); outputs.append(h)",
    ),
    Mistake(
        "one output too many",
        _with_the_first_state,
        "The given state stands among your outputs: T + 1 of them.",
        "Begin with an empty list, and append after each step.",
        "outputs = []",
    ),
    Mistake(
        "one tensor again and again",
        _one_tensor_again_and_again,
        "All your outputs are the same: the last state, at every step.",
        "Is it appended inside the loop? And `h[:] =`, `copy_` and `+=` overwrite what was appended before: make "
        "a new tensor at each step.",
        _STEP_LINE,
    ),
    Mistake(
        "changes the state it was given",
        _state_overwritten,
        "The numbers are right, but your function changed the tensors it was given.",
        "`h[:] =`, `copy_`, `+=` and methods that end in `_` overwrite the caller's tensor. Make a new one.",
        _STEP_LINE,
    ),
    Mistake(
        "the last step is left out",
        _last_left_out,
        "The last step is left out: its outputs are 0.",
        "range(n - 1) ends at n - 2.",
        _LOOP_LINE,
    ),
    Mistake(
        "the first step is left out",
        _first_skipped,
        "The first token is never read: your first output is the given state.",
        "range(1, n) begins with the second token.",
        _LOOP_LINE,
    ),
    Mistake(
        "the first state returned",
        _rnn(finish=lambda outputs, state: (torch.stack(outputs, dim=1), outputs[0])),
        "Your outputs are right; the second result is the state after the first step.",
        "Asked is the one after the last step.",
        _STACK_LINE,
    ),
    Mistake(
        "the mean state returned",
        _rnn(finish=lambda outputs, state: ((o := torch.stack(outputs, dim=1)), o.mean(1))),
        "Your outputs are right; the second result is their mean.",
        "Asked is the state after the last step.",
        _STACK_LINE,
    ),
    Mistake(
        "the sum of the states returned",
        _rnn(finish=lambda outputs, state: ((o := torch.stack(outputs, dim=1)), o.sum(1))),
        "Your outputs are right; the second result is their sum.",
        "Asked is the state after the last step.",
        _STACK_LINE,
    ),
    Mistake(
        "the state of the last sentence returned",
        _rnn(finish=lambda outputs, state: ((o := torch.stack(outputs, dim=1)), o[-1])),
        "Your second result is one sentence at every step; asked is every sentence's last.",
        "outputs[-1] takes from the batch's axis; the last step of every sentence is outputs[:, -1].",
        _STACK_LINE,
    ),
    Mistake(
        "time first",
        _rnn(finish=lambda outputs, state: (torch.stack(outputs), state)),
        "Your outputs are (T, B, H); the batch comes first, (B, T, H).",
        "torch.stack makes the new axis where `dim` says; without it, in front.",
        _STACK_LINE,
    ),
    Mistake(
        "a reshape in place of a transpose",
        _rnn(
            finish=lambda outputs, state: (
                torch.stack(outputs).reshape(state.size(0), len(outputs), -1),
                state,
            )
        ),
        *_MIXED,
    ),
    Mistake(
        "side by side",
        _rnn(finish=lambda outputs, state: (torch.cat(outputs, dim=-1), state)),
        "Your outputs are joined along their width; time needs an axis of its own.",
        "torch.stack makes a new axis, torch.cat does not.",
        _STACK_LINE,
    ),
    Mistake(
        "along the batch",
        _time_first,
        "Your loop runs over the sentences; it must run over the steps.",
        "`for row in x` takes the first axis, the batch. Step t of all sentences is x[:, t].",
        _LOOP_LINE,
    ),
    Mistake(
        "one state for all sentences",
        _one_state_for_all,
        "All sentences begin with the state of the first one.",
        "Each row of h belongs to its own sentence.",
        "state = h",
    ),
    Mistake(
        "no gradient through time",
        _rnn(carry=lambda new, old: new.detach()),
        "The numbers are right, but no gradient flows from step to step.",
        "`.detach()` belongs between pieces of a long text, not between the steps of one.",
        _CARRY_LINE,
    ),
    Mistake(
        "no gradient to the last state",
        _rnn(finish=lambda outputs, state: (torch.stack(outputs, dim=1), state.detach())),
        "The numbers are right, but the last state you return carries no gradient.",
        "Whoever reads on from it may want a gradient. Leave `.detach()` to them.",
        _STACK_LINE,
    ),
)

_FIRST = "rnn of two sentences"


def _outputs(seen: dict[str, Seen], experiment: str = _FIRST) -> Tensor:
    return seen[experiment]["outputs"]


def _right(seen: dict[str, Seen], experiment: Any) -> bool:
    return agrees(seen, experiment, RNN.reference)


def _outputs_right(seen: dict[str, Seen], experiment: Any) -> bool:
    expected = experiment(RNN.reference)["outputs"].double()
    return torch.allclose(_outputs(seen, experiment_name(experiment)), expected, atol=1e-3)


def _first_step_right(seen: dict[str, Seen]) -> bool:
    expected = _rnn_of_two_sentences(RNN.reference)["outputs"].double()
    return torch.allclose(_outputs(seen)[:, 0], expected[:, 0], atol=1e-3)


_RNN_PROPERTIES = (
    left_to_chance(_FIRST),
    changes_its_input(_FIRST),
    not_finite(_outputs, "outputs"),
    never_written(_outputs, "outputs"),
    Property(
        "beyond one",
        lambda seen: bool((_outputs(seen).abs() <= 1 + 1e-6).all()),
        "Some of your states lie beyond 1; a tanh never does.",
        "Is the tanh around the whole sum, and the last thing of a step?",
    ),
    Property(
        "another step without memory",
        lambda seen: _outputs_right(seen, _rnn_without_memory),
        "With u = 0 each output should be tanh(w x_t + b), and is not.",
        "Forget the state for a moment. Is every step's own token read, and the tanh around w x + b?",
    ),
    Property(
        "another memory",
        lambda seen: _outputs_right(seen, _rnn_of_memory_alone),
        "With w = 0 and b = 0 the state should become tanh(u h), step by step; it does not.",
        "Does the first step read the given h, each later one the state before, and is u on the right side?",
    ),
    Property(
        "the last state is another",
        lambda seen: not _outputs_right(seen, _rnn_of_two_sentences) or _right(seen, _rnn_of_two_sentences),
        "Your outputs are right; the second result is not the state after the last step.",
        "It is the last output of every sentence: outputs[:, -1].",
    ),
    Property(
        "already the first step",
        _first_step_right,
        "Already your first output is not tanh(w x_0 + u h + b).",
        "Do one step by hand, and print the shapes of its three terms.",
    ),
    Property(
        "wrong from the second step on",
        lambda seen: not _first_step_right(seen) or _right(seen, _rnn_of_two_sentences),
        "Your first output is right, a later one is not.",
        "What does the second step read: its own token, and the state after the first step?",
    ),
    Property(
        "wrong for one sentence",
        lambda seen: _right(seen, _rnn_of_one_sentence) and _right(seen, _rnn_of_one_step),
        "Right for several sentences and steps, wrong where there is only one.",
        "Does a `squeeze()` take an axis of size 1 away?",
    ),
    Property(
        "loud inputs",
        lambda seen: _right(seen, _rnn_with_loud_inputs),
        "Right for small inputs, wrong for large ones.",
        "A tanh by hand overflows: exp(800) is infinite. torch.tanh does not.",
    ),
    Property(
        "no gradient",
        lambda seen: all(gradient.abs().max() > 0 for gradient in seen["rnn gradients"].values()),
        "No gradient flows back to some of x, w, u, b and h.",
        "`.detach()`, `.data`, torch.tensor(…), `.item()`, NumPy and torch.no_grad() cut it; so does a layer of "
        "PyTorch's own into which the weights are copied.",
    ),
)


RNN: Exercise = Exercise(
    id="01.rnn",
    title="A recurrent network, step by step",
    stub=RNN_STUB,
    reference=_rnn(),
    experiments=(
        _rnn_of_two_sentences,
        _rnn_of_one_step,
        _rnn_without_memory,
        _rnn_of_memory_alone,
        _rnn_of_silence,
        _rnn_of_one_sentence,
        _rnn_with_equal_sizes,
        _rnn_with_a_state_of_one_number,
        _rnn_with_loud_inputs,
        _rnn_gradients,
    ),
    mistakes=_RNN_MISTAKES,
    properties=_RNN_PROPERTIES,
    difficulty=2,
    importance=5,
    minutes=15,
)
