"""Exercise 01.lstm_step: one step of an LSTM, from given weights.

B batch · D width of the input · H width of the state
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.language_models.shared import two_results
from course_lib.checks.probe import a_function, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, left_to_chance, never_written, not_finite

LSTM_STUB = '''
def lstm_step(x, h, c, w, u, b):
    """Do one step of an LSTM.

    All four gates at once: w x + u h + b, (B, 4H). Its first H numbers are for the input gate i, the
    next H for the forget gate f, then the candidate g, then the output gate o: PyTorch's order.

        i, f, o = σ(…), σ(…), σ(…)        σ is the sigmoid
        g = tanh(…)
        c' = f · c + i · g                 · multiplies number by number
        h' = o · tanh(c')

    Args:
        x: the input of this step, (B, D).
        h, c: state and memory before the step, (B, H) each.
        w, u, b: (4H, D), (4H, H) and (4H,).

    Returns:
        h', the new state, and c', the new memory, (B, H) each. All inputs stay as they were, and
        gradients flow back to all six.
    """
'''


def _given(batch: int, d_input: int, d_hidden: int, *, seed: int) -> list[Tensor]:
    """Return x, h, c, w, u, b."""
    return [
        numbers(batch, d_input, seed=seed),
        numbers(batch, d_hidden, seed=seed + 1, std=0.7),
        numbers(batch, d_hidden, seed=seed + 2, std=1.5),
        numbers(4 * d_hidden, d_input, seed=seed + 3, std=d_input**-0.5 * 1.4),
        numbers(4 * d_hidden, d_hidden, seed=seed + 4, std=d_hidden**-0.5 * 1.4),
        numbers(4 * d_hidden, seed=seed + 5, std=0.6),
    ]


def _results(candidate: Any, given: list[Tensor]) -> tuple[Tensor, Tensor]:
    shape = tuple(given[1].shape)
    return two_results(candidate(*given), ("h", "c"), (shape, shape))


def _stepped(candidate: Any, given: list[Tensor]) -> Seen:
    state, memory = _results(candidate, [tensor.clone() for tensor in given])
    return {"new memory c'": memory, "new state h'": state}


def _one_step(candidate: Any) -> Seen:
    step = _given(2, 5, 3, seed=120)
    given = [tensor.clone() for tensor in step]
    state, memory = _results(a_function(candidate), given)
    changed = not all(torch.equal(one, other) for one, other in zip(given, step, strict=True))
    again, _ = _results(candidate, [tensor.clone() for tensor in step])
    chance = again.shape != state.shape or not torch.allclose(state, again, equal_nan=True)
    return {
        "new memory c'": memory,
        "new state h'": state,
        "input changed": yes(changed),
        "second call differs": yes(chance),
    }


def _biases_alone(candidate: Any, biases: tuple[float, float, float, float]) -> Seen:
    """A step in which the gates i, f, g and o depend on nothing but the given biases."""
    given = _given(3, 2, 4, seed=130)
    given[3], given[4] = torch.zeros_like(given[3]), torch.zeros_like(given[4])
    given[5] = torch.tensor(biases).repeat_interleave(4)
    return _stepped(candidate, given)


def _a_memory_that_is_kept(candidate: Any) -> Seen:
    """Forget gate open, input gate shut, output gate open: c' = c."""
    return _biases_alone(candidate, (-30.0, 30.0, 0.8, 30.0))


def _a_memory_that_is_written(candidate: Any) -> Seen:
    """Forget gate shut, input gate open: c' = tanh(0.8)."""
    return _biases_alone(candidate, (30.0, -30.0, 0.8, 30.0))


def _an_output_gate_that_is_shut(candidate: Any) -> Seen:
    return _biases_alone(candidate, (30.0, 30.0, 0.8, -30.0))


def _four_biases(candidate: Any) -> Seen:
    """All gates half open, each by another amount."""
    return _biases_alone(candidate, (-0.4, 0.9, 0.6, 0.2))


def _a_state_of_one_number(candidate: Any) -> Seen:
    return _stepped(candidate, _given(3, 2, 1, seed=140))


def _a_step_with_equal_sizes(candidate: Any) -> Seen:
    return _stepped(candidate, _given(4, 4, 4, seed=146))


def _a_step_of_one_sentence(candidate: Any) -> Seen:
    return _stepped(candidate, _given(1, 4, 3, seed=152))


def _a_first_step(candidate: Any) -> Seen:
    """State and memory are 0."""
    given = _given(2, 3, 4, seed=158)
    given[1], given[2] = torch.zeros_like(given[1]), torch.zeros_like(given[2])
    return _stepped(candidate, given)


def _a_loud_step(candidate: Any) -> Seen:
    given = _given(2, 3, 4, seed=164)
    given[0], given[2] = given[0] * 200, given[2] * 50
    return _stepped(candidate, given)


def _gradients_of_a_step(candidate: Any) -> Seen:
    leaves, given = watched(*_given(2, 5, 3, seed=170))
    state, memory = _results(candidate, given)
    named = dict(zip(("x", "h", "c", "w", "u", "b"), leaves, strict=True))
    return gradients(state, named) | {
        f"{name}, of the memory": gradient for name, gradient in gradients(memory, named).items()
    }


def _all_four(x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Tensor:
    return x @ w.T + h @ u.T + b


def _chunks(sums: Tensor) -> tuple[Tensor, ...]:
    return sums.chunk(4, dim=-1)


def _lstm(
    *,
    sums: Any = _all_four,
    cut: Any = _chunks,
    squash: tuple[Any, ...] = (torch.sigmoid, torch.sigmoid, torch.tanh, torch.sigmoid),
    remember: Any = lambda i, f, g, c, h: f * c + i * g,
    show: Any = lambda o, new, g, old: o * torch.tanh(new),
    finish: Any = lambda state, memory, h, c: (state, memory),
) -> Any:
    """Return an answer with one part exchanged.

    `sums(x, h, w, u, b)` is (B, 4H); `cut` makes four of it; `squash` are the functions of i, f, g and o;
    `remember(i, f, g, c, h)` is the new memory; `show(o, new memory, g, old memory)` the new state.
    """

    def run(x: Tensor, h: Tensor, c: Tensor, w: Tensor, u: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = (each(part) for each, part in zip(squash, cut(sums(x, h, w, u, b)), strict=True))
        memory = remember(i, f, g, c, h)
        return finish(show(o, memory, g, c), memory, h, c)

    return run


def _ordered(order: tuple[int, ...]) -> Any:
    """Return the answer that takes pieces `order` as i, f, g, o."""
    return _lstm(cut=lambda sums: [_chunks(sums)[piece] for piece in order])


def _with_sums(sums: Any) -> Any:
    return _lstm(sums=sums)


def _blocks_transposed(x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Tensor:
    turned = u.view(4, h.size(1), h.size(1)).mT.reshape_as(u)
    return x @ w.T + h @ turned.T + b


def _gates_compete(sums: Tensor) -> tuple[Tensor, ...]:
    i, f, g, o = _chunks(sums)
    i, f, o = torch.stack([i, f, o]).softmax(0).unbind(0)
    return i, f, g.tanh(), o


def _memory_overwritten(x: Tensor, h: Tensor, c: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Any:
    i, f, g, o = _chunks(_all_four(x, h, w, u, b))
    c *= f.sigmoid()
    c += i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _state_before_memory(x: Tensor, h: Tensor, c: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Any:
    """The output gate reads the new memory's state: h is replaced before o is made."""
    i, f, g, _ = _chunks(_all_four(x, h, w, u, b))
    memory = f.sigmoid() * c + i.sigmoid() * g.tanh()
    new = _chunks(_all_four(x, memory.tanh(), w, u, b))[3]
    return new.sigmoid() * memory.tanh(), memory


_LETTERS = "ifgo"
_GATE_LINE = "i, f, g, o = (x @ w.T + h @ u.T + b).chunk(4, dim=-1)"
_SIGMA_LINE = "i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid(); g = g.tanh()"
_MEMORY_LINE = "c_new = f * c + i * g"
_STATE_LINE = "h_new = o * torch.tanh(c_new)"
_GATE_NAMES = {"i": "input gate", "f": "forget gate", "g": "candidate", "o": "output gate"}


def _orders() -> tuple[Mistake, ...]:
    """One mistake for each wrong order of the four pieces; an exchange of two is named, the others share a message."""
    found = []
    for order in itertools.permutations(range(4)):
        moved = [place for place in range(4) if order[place] != place]
        if not moved:
            continue
        taken = ", ".join(_LETTERS[order.index(piece)] for piece in range(4))
        if len(moved) == 2:
            one, other = (_GATE_NAMES[_LETTERS[place]] for place in moved)
            message = f"The {one} and the {other} are exchanged."
        else:
            message = "The four pieces are taken in another order than i, f, g, o."
        found.append(
            Mistake(
                f"taken in the order {taken}",
                _ordered(order),
                message,
                "Papers and libraries order the four pieces differently. Here: i, f, g, o. And in the memory, "
                "which gate multiplies the old c, which one g?",
                _GATE_LINE,
            )
        )
    return tuple(found)


_LSTM_MISTAKES = (
    *_orders(),
    Mistake(
        "pieces interleaved",
        _lstm(cut=lambda sums: sums.view(sums.size(0), -1, 4).unbind(-1)),
        "Your gates take every fourth number; each should take H neighbours.",
        "First H numbers for i, the next H for f, … `view(B, 4, H)`, not `view(B, H, 4)`; or chunk(4, dim=-1).",
        _GATE_LINE,
    ),
    Mistake(
        "pieces cut across the batch",
        _lstm(cut=lambda sums: sums.view(4, sums.size(0), -1).unbind(0)),
        "Your pieces mix the sentences: the four gates are cut from the wrong axis.",
        "`view(4, B, H)` begins with the first sentence's four gates. The batch comes first: view(B, 4, H), or "
        "chunk(4, dim=-1).",
        _GATE_LINE,
    ),
    Mistake(
        "no functions at all",
        _lstm(squash=(torch.clone,) * 4),
        "i, f, g and o are used as they are: sigmoids and tanh are missing.",
        "A gate lies between 0, shut, and 1, open; the candidate between -1 and 1.",
        _SIGMA_LINE,
    ),
    Mistake(
        "no functions anywhere",
        _lstm(squash=(torch.clone,) * 4, show=lambda o, new, g, old: o * new),
        "i, f, g and o are used as they are: sigmoids and tanh are missing.",
        "A gate lies between 0, shut, and 1, open; the candidate between -1 and 1.",
        _SIGMA_LINE,
    ),
    Mistake(
        "b is missing",
        _with_sums(lambda x, h, w, u, b: x @ w.T + h @ u.T),
        "b is missing.",
        "Three terms make the gates: w x, u h and b.",
        _GATE_LINE,
    ),
    Mistake(
        "b twice",
        _with_sums(lambda x, h, w, u, b: x @ w.T + h @ u.T + 2 * b),
        "b is added twice.",
        "PyTorch's own LSTM has two biases; this one has one.",
        _GATE_LINE,
    ),
    Mistake(
        "the state is missing",
        _with_sums(lambda x, h, w, u, b: x @ w.T + b),
        "The state h has no influence on the gates: u h is missing.",
        "Three terms make the gates: w x, u h and b.",
        _GATE_LINE,
    ),
    Mistake(
        "the input is missing",
        _with_sums(lambda x, h, w, u, b: h @ u.T + b),
        "The input has no influence: w x is missing.",
        "Three terms make the gates: w x, u h and b.",
        _GATE_LINE,
    ),
    Mistake(
        "the gates read the memory",
        lambda x, h, c, w, u, b: _lstm()(x, c, c, w, u, b),
        "Your gates read the memory c; they should read the state h.",
        "u multiplies h. (Gates that look into the memory are called peepholes; this LSTM has none.)",
        _GATE_LINE,
    ),
    Mistake(
        "state and memory exchanged",
        lambda x, h, c, w, u, b: _lstm()(x, c, h, w, u, b),
        "State and memory are exchanged: the gates read c, and the memory grows from h.",
        "The arguments are x, h, c, in this order.",
        _GATE_LINE,
    ),
    Mistake(
        "each block of u transposed",
        _with_sums(_blocks_transposed),
        "Each gate's part of u is used transposed.",
        "u h is a matrix times a vector; for rows it is h @ part.T.",
        _GATE_LINE,
    ),
    Mistake(
        "sigmoid for the candidate",
        _lstm(squash=(torch.sigmoid,) * 4),
        "The candidate g goes through a sigmoid; it should go through a tanh.",
        "Gates lie between 0 and 1; what is written into the memory may be negative.",
        _SIGMA_LINE,
    ),
    Mistake(
        "relu for the candidate",
        _lstm(squash=(torch.sigmoid, torch.sigmoid, torch.relu, torch.sigmoid)),
        "The candidate g goes through a ReLU; it should go through a tanh.",
        "What is written into the memory lies between -1 and 1, and may be negative.",
        _SIGMA_LINE,
    ),
    Mistake(
        "no tanh for the candidate",
        _lstm(squash=(torch.sigmoid, torch.sigmoid, torch.clone, torch.sigmoid)),
        "The candidate g goes through no function; a tanh is asked for.",
        "What is written into the memory lies between -1 and 1.",
        _SIGMA_LINE,
    ),
    Mistake(
        "tanh for all",
        _lstm(squash=(torch.tanh,) * 4),
        "All four go through a tanh; the gates i, f and o need a sigmoid.",
        "A gate lies between 0, shut, and 1, open.",
        _SIGMA_LINE,
    ),
    Mistake(
        "no sigmoids",
        _lstm(squash=(torch.clone, torch.clone, torch.tanh, torch.clone)),
        "The sigmoids are missing: your gates are not between 0 and 1.",
        "A gate lies between 0, shut, and 1, open.",
        _SIGMA_LINE,
    ),
    *(
        Mistake(
            f"tanh for the {name}",
            _lstm(squash=tuple(torch.tanh if each in (place, 2) else torch.sigmoid for each in range(4))),
            f"The {name} goes through a tanh; it should go through a sigmoid.",
            "A gate lies between 0, shut, and 1, open. Only the candidate may be negative.",
            _SIGMA_LINE,
        )
        for place, name in ((0, "input gate"), (1, "forget gate"), (3, "output gate"))
    ),
    *(
        Mistake(
            f"no sigmoid for the {name}",
            _lstm(
                squash=tuple(
                    torch.clone if each == place else (torch.tanh if each == 2 else torch.sigmoid)
                    for each in range(4)
                )
            ),
            f"The {name} goes through no function; a sigmoid is asked for.",
            "A gate lies between 0, shut, and 1, open.",
            _SIGMA_LINE,
        )
        for place, name in ((0, "input gate"), (1, "forget gate"), (3, "output gate"))
    ),
    Mistake(
        "a softmax of the gates",
        _lstm(squash=(torch.clone,) * 4, cut=_gates_compete),
        "Your gates go through a softmax and compete; each has its own sigmoid.",
        "A memory may be kept and written at the same time.",
        _SIGMA_LINE,
    ),
    Mistake(
        "1 is added to the forget gate's sum",
        _lstm(
            squash=(torch.sigmoid, lambda s: (s + 1).sigmoid(), torch.tanh, torch.sigmoid),
        ),
        "1 is added before the forget gate's sigmoid; here b holds all of the bias.",
        "A forget bias of 1 is a good *start* for training; it belongs into b.",
        _SIGMA_LINE,
    ),
    Mistake(
        "the forget gate forgets",
        _lstm(remember=lambda i, f, g, c, h: (1 - f) * c + i * g),
        "The old memory is multiplied by 1 - f; it should be by f.",
        "Its name misleads: a forget gate of 1 keeps everything.",
        _MEMORY_LINE,
    ),
    Mistake(
        "one gate for both",
        _lstm(remember=lambda i, f, g, c, h: f * c + (1 - f) * g),
        "The candidate is multiplied by 1 - f; it has a gate of its own, i.",
        "One gate for both is the GRU's way.",
        _MEMORY_LINE,
    ),
    Mistake(
        "one gate for both, the input gate",
        _lstm(remember=lambda i, f, g, c, h: (1 - i) * c + i * g),
        "The old memory is multiplied by 1 - i; it has a gate of its own, f.",
        "One gate for both is the GRU's way.",
        _MEMORY_LINE,
    ),
    Mistake(
        "nothing is forgotten",
        _lstm(remember=lambda i, f, g, c, h: c + i * g),
        "The forget gate is missing: the old memory is kept whole.",
        "c' = f · c + i · g.",
        _MEMORY_LINE,
    ),
    Mistake(
        "the input gate is missing",
        _lstm(remember=lambda i, f, g, c, h: f * c + g),
        "The input gate is missing: the candidate is written whole.",
        "c' = f · c + i · g.",
        _MEMORY_LINE,
    ),
    Mistake(
        "added in place of multiplied",
        _lstm(remember=lambda i, f, g, c, h: f * c + i + g),
        "The input gate is added to the candidate; it should multiply it.",
        "c' = f · c + i · g: a gate always multiplies.",
        _MEMORY_LINE,
    ),
    Mistake(
        "added in place of multiplied, the old memory",
        _lstm(remember=lambda i, f, g, c, h: f + c + i * g),
        "The forget gate is added to the old memory; it should multiply it.",
        "c' = f · c + i · g: a gate always multiplies.",
        _MEMORY_LINE,
    ),
    Mistake(
        "multiplied in place of added",
        _lstm(remember=lambda i, f, g, c, h: (f * c) * (i * g)),
        "What is kept and what is written are multiplied; they should be added.",
        "The sum is why an LSTM's gradient lives longer: it passes through a + as it is.",
        _MEMORY_LINE,
    ),
    Mistake(
        "the memory is not kept",
        _lstm(remember=lambda i, f, g, c, h: i * g),
        "The old memory is missing: c' holds the candidate alone.",
        "c' = f · c + i · g.",
        _MEMORY_LINE,
    ),
    Mistake(
        "nothing is written",
        _lstm(remember=lambda i, f, g, c, h: f * c),
        "The candidate is missing: nothing is written into the memory.",
        "c' = f · c + i · g.",
        _MEMORY_LINE,
    ),
    Mistake(
        "the state in place of the memory",
        _lstm(remember=lambda i, f, g, c, h: f * h + i * g),
        "The forget gate multiplies the state h; it should multiply the memory c.",
        "c' = f · c + i · g.",
        _MEMORY_LINE,
    ),
    Mistake(
        "a tanh on the memory",
        _lstm(
            remember=lambda i, f, g, c, h: torch.tanh(f * c + i * g),
            show=lambda o, new, g, old: o * new,
        ),
        "The memory you return went through the tanh; only the state does.",
        "c' itself is a plain sum; the tanh stands in the line of h'.",
        _STATE_LINE,
    ),
    Mistake(
        "a tanh on the memory too",
        _lstm(remember=lambda i, f, g, c, h: torch.tanh(f * c + i * g)),
        "The memory goes through a tanh; c' is the plain sum.",
        "The tanh stands in the line of h' alone.",
        _MEMORY_LINE,
    ),
    Mistake(
        "tanh twice on the candidate",
        _lstm(squash=(torch.sigmoid, torch.sigmoid, lambda s: s.tanh().tanh(), torch.sigmoid)),
        "The candidate goes through the tanh twice.",
        "Once where g is made; not again in the memory's line.",
        _MEMORY_LINE,
    ),
    Mistake(
        "no tanh in the state",
        _lstm(show=lambda o, new, g, old: o * new),
        "The memory is right; in the state the tanh around it is missing.",
        "h' = o · tanh(c').",
        _STATE_LINE,
    ),
    Mistake(
        "the tanh around all",
        _lstm(show=lambda o, new, g, old: torch.tanh(o * new)),
        "The memory is right; the tanh of the state encloses the output gate too.",
        "h' = o · tanh(c'): the gate multiplies after the tanh.",
        _STATE_LINE,
    ),
    Mistake(
        "sigmoid in the state",
        _lstm(show=lambda o, new, g, old: o * torch.sigmoid(new)),
        "The memory is right; in the state it goes through a sigmoid, not a tanh.",
        "h' = o · tanh(c').",
        _STATE_LINE,
    ),
    Mistake(
        "the old memory in the state",
        _lstm(show=lambda o, new, g, old: o * torch.tanh(old)),
        "The memory is right; the state is made from the old one.",
        "h' = o · tanh(c'): the new memory.",
        _STATE_LINE,
    ),
    Mistake(
        "the candidate in the state",
        _lstm(show=lambda o, new, g, old: o * g),
        "The memory is right; the state is made from the candidate.",
        "h' = o · tanh(c'): the new memory.",
        _STATE_LINE,
    ),
    Mistake(
        "the candidate for the output gate",
        _lstm(show=lambda o, new, g, old: g * torch.tanh(new)),
        "The memory is right; in the state g multiplies, in place of the output gate.",
        "h' = o · tanh(c').",
        _STATE_LINE,
    ),
    Mistake(
        "the input gate for the output gate",
        lambda x, h, c, w, u, b: _lstm(
            show=lambda o, new, g, old: _chunks(_all_four(x, h, w, u, b))[0].sigmoid() * torch.tanh(new)
        )(x, h, c, w, u, b),
        "The memory is right; in the state the input gate multiplies, not the output gate.",
        "h' = o · tanh(c').",
        _STATE_LINE,
    ),
    Mistake(
        "no output gate",
        _lstm(show=lambda o, new, g, old: torch.tanh(new)),
        "The memory is right; in the state the output gate is missing.",
        "h' = o · tanh(c').",
        _STATE_LINE,
    ),
    Mistake(
        "the output gate is added",
        _lstm(show=lambda o, new, g, old: o + torch.tanh(new)),
        "The memory is right; the output gate is added, and should multiply.",
        "h' = o · tanh(c'): a gate always multiplies.",
        _STATE_LINE,
    ),
    Mistake(
        "the output gate reads the new memory",
        _state_before_memory,
        "The output gate is made after the state was replaced; it reads the old h.",
        "All four gates are made before anything is replaced. Is h assigned too early?",
        _GATE_LINE,
    ),
    Mistake(
        "memory first",
        _lstm(finish=lambda state, memory, h, c: (memory, state)),
        "Your two results are exchanged: first h', then c'.",
        "End with `return h_new, c_new`.",
        "return h_new, c_new",
    ),
    Mistake(
        "the old memory returned",
        _lstm(finish=lambda state, memory, h, c: (state, c)),
        "The new state is right, but the old memory is returned.",
        "The next step needs c'.",
        "return h_new, c_new",
    ),
    Mistake(
        "the old state returned",
        _lstm(finish=lambda state, memory, h, c: (h, memory)),
        "The new memory is right, but the old state is returned.",
        "The next step needs h'.",
        "return h_new, c_new",
    ),
    Mistake(
        "the state twice",
        _lstm(finish=lambda state, memory, h, c: (state, state)),
        "The new state is returned twice; the second result is the memory.",
        "Two different things go on to the next step: h' and c'.",
        "return h_new, c_new",
    ),
    Mistake(
        "changes the memory it was given",
        _memory_overwritten,
        "The numbers are right, but your function changed the tensors it was given.",
        "`*=` and `+=`, and methods that end in `_`, overwrite the caller's tensor. Make a new one.",
        _MEMORY_LINE,
    ),
    Mistake(
        "no gradient to the memory",
        _lstm(remember=lambda i, f, g, c, h: f * c.detach() + i * g),
        "The numbers are right, but no gradient flows through the memory.",
        "The memory is the road on which an LSTM's gradient travels far. Leave `.detach()` out.",
        _MEMORY_LINE,
    ),
)

_FIRST = "one step"


def _memory(seen: dict[str, Seen], experiment: str = _FIRST) -> Tensor:
    return seen[experiment]["new memory c'"]


def _state(seen: dict[str, Seen], experiment: str = _FIRST) -> Tensor:
    return seen[experiment]["new state h'"]


def _right(seen: dict[str, Seen], experiment: Any) -> bool:
    return agrees(seen, experiment, LSTM.reference)


def _memory_right(seen: dict[str, Seen], experiment: Any) -> bool:
    name = "new memory c'"
    shown = seen[experiment.__name__.strip("_").replace("_", " ")][name]
    return torch.allclose(shown, experiment(LSTM.reference)[name].double(), atol=1e-3)


_LSTM_PROPERTIES = (
    left_to_chance(_FIRST),
    changes_its_input(_FIRST),
    not_finite(lambda seen: torch.cat([_memory(seen), _state(seen)]), "results"),
    never_written(lambda seen: torch.cat([_memory(seen), _state(seen)]), "results"),
    Property(
        "the memory is not kept",
        lambda seen: _memory_right(seen, _a_memory_that_is_kept),
        "With the forget gate open and the input gate shut, c' should be c; yours is not.",
        "Which gate multiplies the old memory? Is it a sigmoid of the second H numbers, and is c left as it is?",
    ),
    Property(
        "the memory is not written",
        lambda seen: _memory_right(seen, _a_memory_that_is_written),
        "With the forget gate shut and the input gate open, c' should be g; yours is not.",
        "g is the tanh of the third H numbers; the input gate multiplies it.",
    ),
    Property(
        "the output gate does not shut",
        lambda seen: _right(seen, _an_output_gate_that_is_shut),
        "With the output gate shut the state should be 0, and the memory live on.",
        "The output gate is the sigmoid of the last H numbers; it multiplies tanh(c'), and nothing else.",
    ),
    Property(
        "gates of another kind",
        lambda seen: _memory_right(seen, _four_biases),
        "Open and shut your gates are right; half open they are not.",
        "Is each gate a sigmoid, and each used once?",
    ),
    Property(
        "another way out",
        lambda seen: _right(seen, _four_biases),
        "With w = 0 and u = 0 the memory is right, but the state is not o · tanh(c').",
        "The output gate is a sigmoid of the last H numbers; the tanh is of the new memory.",
    ),
    Property(
        "other sums",
        lambda seen: _right(seen, _one_step),
        "Right for gates of biases alone; with w x + u h added it is not.",
        "Are both terms there, on the right matrices, and is every gate cut from the same sum?",
    ),
    Property(
        "special sizes",
        lambda seen: (
            _right(seen, _a_state_of_one_number)
            and _right(seen, _a_step_of_one_sentence)
            and _right(seen, _a_step_with_equal_sizes)
        ),
        "Right for the first sizes, wrong for others, such as a batch or a state of 1.",
        "Is there a `squeeze()`, an axis found by its size, or a fixed number in your code?",
    ),
    Property(
        "no gradient",
        lambda seen: all(gradient.abs().max() > 0 for name, gradient in seen["gradients of a step"].items()),
        "No gradient flows back to some of x, h, c, w, u and b.",
        "`.detach()`, `.data`, torch.tensor(…), `.item()`, NumPy and torch.no_grad() cut it; so does a layer of "
        "PyTorch's own into which the weights are copied.",
    ),
)


LSTM: Exercise = Exercise(
    id="01.lstm_step",
    title="One step of an LSTM",
    stub=LSTM_STUB,
    reference=_lstm(),
    experiments=(
        _one_step,
        _a_memory_that_is_kept,
        _a_memory_that_is_written,
        _an_output_gate_that_is_shut,
        _four_biases,
        _a_first_step,
        _a_step_of_one_sentence,
        _a_step_with_equal_sizes,
        _a_state_of_one_number,
        _a_loud_step,
        _gradients_of_a_step,
    ),
    mistakes=_LSTM_MISTAKES,
    properties=_LSTM_PROPERTIES,
    difficulty=2,
    importance=4,
    minutes=15,
)
