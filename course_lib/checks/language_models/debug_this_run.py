"""Exercise 01.debug_this_run: a training run whose loss stays where it should not, and the one line behind it.

B rows of the batch · n tokens of a piece · N tokens of the text · V words of the vocabulary
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.language_models.shared import crashes_in, ids_of
from course_lib.checks.probe import a_function, kind_of, numbers, yes
from course_lib.checks.shared import agrees, left_to_chance

DEBUG_STUB = '''
def train(model, optimizer, text, n_rows, n_steps):
    """Train on one long text: the run above, its cause repaired and nothing else changed.

    The text, ids (N,), is cut into n_rows equal parts that follow each other; what is left over at its
    end is dropped. Row r of the batch reads part r, all rows side by side, in pieces of n_steps tokens;
    the last piece may be shorter. Every token of a part but its first is guessed once, from what was
    read of that part. The state goes on from piece to piece, no gradient does. After each piece comes
    one update, the gradient clipped to the norm 1. model(tokens, state), with (B, n) ids and a state or
    None, returns logits, (B, n, V), and the new state, (B, H); the optimizer has its parameters.
    Returns a list of floats: for each update the mean cross-entropy of its piece, in nats per token.
    """
'''


class Speaker(nn.Module):
    """A small recurrent language model that notes what it was asked, and with which state."""

    def __init__(self, vocab_size: int, *, seed: int, loud: float = 1.0):
        super().__init__()
        self.table = nn.Parameter(numbers(vocab_size, 4, seed=seed))
        self.carry = nn.Parameter(numbers(4, 4, seed=seed + 1, std=0.7))
        self.head = nn.Parameter(numbers(4, vocab_size, seed=seed + 2, std=loud))
        self.asked: list[Tensor] = []
        self.carried: list[bool] = []
        self.trains = True  # was in training mode whenever it was asked
        self.last: Tensor | None = None

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits, (B, n, V), and the state afterwards, (B, 4)."""
        ids = ids_of(tokens, self.table.size(0)).long()
        self.asked.append(ids.clone())
        self.trains = self.trains and self.training
        if state is not None:
            _check_state(state, tokens.size(0))
        self.carried.append(self._goes_on(state))
        state = self.table.new_zeros(tokens.size(0), 4) if state is None else state
        states = []
        for step in self.table[ids].unbind(1):
            state = torch.tanh(step + state @ self.carry)
            states.append(state)
        self.last = state.detach().clone()
        return torch.stack(states, dim=1) @ self.head, state

    def _goes_on(self, state: Tensor | None) -> bool:
        """Say whether this call goes on with the state that the call before left."""
        if self.last is None:
            return True
        return state is not None and state.shape == self.last.shape and torch.equal(state.detach(), self.last)

    def weights(self) -> Tensor:
        return torch.cat([weight.detach().flatten() for weight in self.parameters()])


class Descent:
    """Plain gradient descent with momentum, as torch.optim.SGD does it; importing that takes a second."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.0):
        self.param_groups: list[dict[str, Any]] = [
            {"params": list(parameters), "lr": lr, "momentum": momentum}
        ]
        self.moving: dict[nn.Parameter, Tensor] = {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None if set_to_none or parameter.grad is None else torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self) -> None:
        """Move each parameter that has a gradient."""
        group = self.param_groups[0]
        for parameter in group["params"]:
            if parameter.grad is not None:
                old = self.moving.get(parameter)
                new = parameter.grad.clone() if old is None else group["momentum"] * old + parameter.grad
                self.moving[parameter] = new
                parameter -= group["lr"] * new


class _KnowsTheAlphabet(nn.Module):
    """A model that is sure of the next id, one more than the one it reads."""

    def __init__(self, vocab_size: int):
        super().__init__()
        sure = 30.0 * F.one_hot((torch.arange(vocab_size) + 1) % vocab_size, vocab_size)
        self.sure = nn.Parameter(sure.float())

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        ids = ids_of(tokens, self.sure.size(0)).long()
        start = self.sure.new_zeros(tokens.size(0), 1) if state is None else state
        return self.sure[ids], start + 0.0 * self.sure.sum()


def _check_state(state: Any, n_rows: int) -> None:
    if not isinstance(state, Tensor):
        raise WrongReturn(
            "another kind of state",
            f"You give the model {kind_of(state)} as its state; it takes a tensor or None."[:83],
            "It returns two things: logits, state = model(tokens, state).",
        )
    if tuple(state.shape) != (n_rows, 4):
        raise WrongReturn(
            "a state that does not fit",
            f"The state you give has the shape {tuple(state.shape)}; there are {n_rows} rows, each 4 wide."[
                :83
            ],
            "The state belongs to the rows of the piece before: their number must not change.",
        )


_CANVAS = 12


def _losses(result: Any) -> Tensor:
    """The losses on `_CANVAS` places, -1 where there is none."""
    if result is None or not isinstance(result, (list, tuple)):
        got = "nothing" if result is None else kind_of(result)
        raise WrongReturn(
            "no list of losses",
            f"You return {got}; a list is asked for, with the loss of each update.",
            "Collect `loss.item()` after each update, and end with `return losses`.",
        )
    if any(isinstance(loss, Tensor) and loss.requires_grad for loss in result):
        raise WrongReturn(
            "losses that keep their graphs",
            "Your list holds tensors with their graphs; floats are asked for.",
            "Each of them keeps all that led to it in memory, for as long as the list lives: loss.item().",
        )
    if any(isinstance(loss, Tensor) for loss in result):
        raise WrongReturn(
            "tensors in place of floats",
            "Your list holds tensors; floats are asked for.",
            "`loss.item()` is the number of a tensor as a float.",
        )
    for loss in result:
        if not isinstance(loss, (int, float)) and not hasattr(loss, "item"):
            raise WrongReturn(
                "no list of floats",
                f"What you return holds {kind_of(loss)}; a list of floats is asked for."[:83],
                "One float for each update, and nothing else: return losses.",
            )
    canvas = torch.full((_CANVAS,), -1.0)
    for place, loss in enumerate(list(result)[:_CANVAS]):
        canvas[place] = float(loss)
    return canvas


def _updated(
    candidate: Any, text: Tensor, vocab_size: int, n_rows: int, n_steps: int, *, seed: int, loud: float = 1.0
) -> tuple[Seen, Speaker]:
    model = Speaker(vocab_size, seed=seed, loud=loud)
    optimizer = Descent(model.parameters(), lr=0.5)
    result = candidate(model, optimizer, text, n_rows, n_steps)
    losses = _losses(result)
    seen = {
        "learning rate": torch.tensor(optimizer.param_groups[0]["lr"]),
        "number of updates": (losses >= 0).sum().float(),
        "losses (-1: none)": losses,
        "weights afterwards": model.weights(),
    }
    return seen, model


def _is_of(question: Tensor, rows: Tensor) -> bool:
    """Say whether a question is the begin of the rows."""
    return torch.equal(question, rows[:, : question.size(1)])


def _text(length: int, vocab_size: int, seed: int) -> Tensor:
    return torch.randint(vocab_size, (length,), generator=torch.Generator().manual_seed(seed))


def _one_piece(candidate: Any) -> Seen:
    """14 tokens in 3 rows of 4; two are left over, and one piece holds all."""
    text = _text(14, 7, 400)
    seen, model = _updated(a_function(candidate), text.clone(), 7, 3, 8, seed=410)
    again, _ = _updated(candidate, text.clone(), 7, 3, 8, seed=410)
    chance = any(not torch.allclose(seen[name], again[name], equal_nan=True) for name in seen)
    return seen | {
        "second call differs": yes(chance),
        "_reads its part": yes(all(_is_of(part, text[:12].view(3, 4)) for part in model.asked)),
    }


def _several_pieces(candidate: Any) -> Seen:
    """31 tokens in 3 rows of 10: pieces of 4, 4 and 1, and every token its own id."""
    text = torch.arange(31)
    seen, model = _updated(candidate, text, 31, 3, 4, seed=420)
    fit = [question for question in model.asked if question.size(0) == 3]
    read = torch.cat(fit, dim=1) if fit else torch.zeros(3, 0)
    return seen | {
        "_read": read,
        "_state goes on": yes(all(model.carried)),
        "in training mode": yes(model.trains and model.training),
        "_rows": torch.tensor([float(question.size(0)) for question in model.asked]),
        "text changed": yes(not torch.equal(text, torch.arange(31))),
    }


def _one_row(candidate: Any) -> Seen:
    return _updated(candidate, _text(10, 6, 430), 6, 1, 4, seed=440)[0]


def _pieces_that_fit(candidate: Any) -> Seen:
    seen, model = _updated(candidate, _text(28, 5, 450), 5, 4, 3, seed=460)
    return seen | {"_widths": torch.tensor([float(question.size(1)) for question in model.asked])}


def _ten_pieces(candidate: Any) -> Seen:
    """42 tokens in 2 rows of 21: ten pieces of 2, and every token its own id."""
    seen, model = _updated(candidate, torch.arange(42), 42, 2, 2, seed=465)
    firsts = [float(question.flatten()[0]) for question in model.asked]
    repeats = len(set(firsts)) < len(firsts)
    return seen | {"_repeats": yes(repeats), "_in order": yes(repeats or firsts == sorted(firsts))}


def _loud_guesses(candidate: Any) -> Seen:
    """Gradients far above the norm 1: the update is as long as the clipping allows."""
    seen, model = _updated(candidate, _text(9, 6, 470), 6, 2, 5, seed=480, loud=12.0)
    before = Speaker(6, seed=480, loud=12.0).weights()
    return seen | {"length of the update": (model.weights() - before).norm()}


def _a_model_that_knows_the_text(candidate: Any) -> Seen:
    """The text counts up, and the model is sure of one more: no loss."""
    model = _KnowsTheAlphabet(20)
    optimizer = Descent(model.parameters(), lr=0.1)
    return {"losses (-1: none)": _losses(candidate(model, optimizer, torch.arange(20), 2, 5))}


def _with_momentum(candidate: Any) -> Seen:
    """An optimiser that remembers: what was there before an update shows."""
    model = Speaker(6, seed=490)
    optimizer = Descent(model.parameters(), lr=0.3, momentum=0.8)
    _losses(candidate(model, optimizer, _text(21, 6, 495), 2, 4))
    return {"weights afterwards": model.weights()}


# ── the run, with one part exchanged ──────────────────────────────────────────────────────────────────────────


def parts(text: Tensor, n_rows: int) -> Tensor:
    """Cut a text into n_rows parts that follow each other: (B, N / B)."""
    return text[: len(text) // n_rows * n_rows].view(n_rows, -1)


def every_nth(text: Tensor, n_rows: int) -> Tensor:
    """Cut as the colleague's run does: row r reads tokens r, r + B, r + 2B, …"""
    return text[: len(text) // n_rows * n_rows].view(-1, n_rows).T


_STEPS = ("zero", "backward", "clip", "step")


def _run(
    *,
    rows: Any = parts,
    labels: Any = None,
    starts: Any = lambda n_columns, n_steps: range(0, n_columns - 1, n_steps),
    piece: Any = None,
    begin: Any = lambda state: state.detach(),
    steps: tuple[str, ...] = _STEPS,
    clip: Any = lambda weights: nn.utils.clip_grad_norm_(weights, 1.0),
    loss_of: Any = lambda logits, labels: F.cross_entropy(logits.flatten(0, 1), labels.flatten()),
    tune: Any = lambda optimizer: optimizer,
    rounds: int = 1,
    told: Any = lambda losses: losses,
) -> Any:
    """Return a run with one part exchanged.

    `rows(text, n_rows)` are the parts and `labels(text, n_rows)` the token after each, where it is not simply the
    next column; `starts` are the begins of the pieces and `piece(rows, labels, start, n_steps)` one of them;
    `begin(state)` is what goes on; `steps` the order of an update; `tune(optimizer)` the optimiser used.
    """

    def train(model: nn.Module, optimizer: Descent, text: Tensor, n_rows: int, n_steps: int) -> Any:
        optimizer = tune(optimizer)
        read = rows(text, n_rows)
        after = read.roll(-1, 1) if labels is None else labels(text, n_rows)
        losses = []
        for _ in range(rounds):
            state = None
            for start in starts(read.size(1), n_steps):
                end = min(start + n_steps, read.size(1) - 1)
                inputs, wanted = (
                    (read[:, start:end], after[:, start:end])
                    if piece is None
                    else piece(read, after, start, n_steps)
                )
                logits, state = model(inputs, state)
                loss = loss_of(logits, wanted)
                for step in steps:
                    _take(step, optimizer, loss, model, clip)
                state = begin(state)
                losses.append(loss.item())
        return told(losses)

    return train


def _take(step: str, optimizer: Descent, loss: Tensor, model: nn.Module, clip: Any) -> None:
    if step == "zero":
        optimizer.zero_grad()
    elif step == "backward":
        loss.backward()
    elif step == "clip" and all(weight.grad is not None for weight in model.parameters()):
        clip(list(model.parameters()))
    elif step == "step":
        optimizer.step()


def _still(**parts: Any) -> Any:
    """The run as it was, with something else exchanged."""
    return _run(rows=every_nth, **parts)


def _true_next(text: Tensor, n_rows: int) -> Tensor:
    return every_nth(text.roll(-1), n_rows)


def _own_token(text: Tensor, n_rows: int) -> Tensor:
    return parts(text, n_rows)


def _own_token_every_nth(text: Tensor, n_rows: int) -> Tensor:
    return every_nth(text, n_rows)


def _dropped_at_the_begin(text: Tensor, n_rows: int) -> Tensor:
    return text[len(text) % n_rows :].view(n_rows, -1)


def _columns_for_rows(text: Tensor, n_rows: int) -> Tensor:
    return parts(text, n_rows).T


def _short_rows(text: Tensor, n_rows: int) -> Tensor:
    return every_nth(text, n_rows).T


def _with_the_next_parts_first(text: Tensor, n_rows: int) -> Iterator[Tensor]:
    n_columns = (len(text) - 1) // n_rows
    yield text[: n_columns * n_rows].view(n_rows, -1)
    yield text[1 : n_columns * n_rows + 1].view(n_rows, -1)


def _across_the_parts(model: nn.Module, optimizer: Descent, text: Tensor, n_rows: int, n_steps: int) -> Any:
    """The labels of a part end with the first token of the next one."""
    read, after = _with_the_next_parts_first(text, n_rows)
    return _run(
        rows=lambda text, n_rows: F.pad(read, (0, 1)),
        labels=lambda text, n_rows: F.pad(after, (0, 1)),
    )(model, optimizer, text, n_rows, n_steps)


def _within_the_piece(read: Tensor, after: Tensor, start: int, n_steps: int) -> tuple[Tensor, Tensor]:
    piece = read[:, start : start + n_steps]
    return (piece[:, :-1], piece[:, 1:]) if piece.size(1) > 1 else (read[:, -2:-1], read[:, -1:])


def _whole_pieces(n_columns: int, n_steps: int) -> range:
    return range(0, max(1, n_columns - n_steps), n_steps)


def _other_rate(factor: float) -> Any:
    def tune(optimizer: Descent) -> Descent:
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor
        return optimizer

    return tune


def _no_clip(weights: list[nn.Parameter]) -> None:
    return None


def _clip_each_number(weights: list[nn.Parameter]) -> None:
    nn.utils.clip_grad_value_(weights, 1.0)


def _to_the_norm_one(weights: list[nn.Parameter]) -> None:
    norm = nn.utils.clip_grad_norm_(weights, float("inf"))
    for weight in weights:
        weight.grad = None if weight.grad is None else weight.grad / norm


def _summed(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")


def _softmaxed(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.softmax(-1).flatten(0, 1), labels.flatten())


def _labels_in_another_order(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.T.flatten())


_ROWS_LINE = "rows = text[: n_rows * n_columns].view(n_rows, n_columns)"
_STATE_LINE = "state = state.detach(), after each piece"
_UPDATE_LINE = "optimizer.zero_grad(); loss.backward(); clip_grad_norm_(…, 1.0); optimizer.step()"
_LABELS_LINE = "inputs, labels = rows[:, start:end], rows[:, start + 1 : end + 1]"

_LOOK = "Print `rows` for a text of torch.arange(12) and 3 rows. Which tokens does one row read, one after the other?"


def _symptoms() -> tuple[Mistake, ...]:
    """What treats a symptom and leaves the cause."""
    return (
        Mistake(
            "the run as it was",
            _still(),
            "This is the run as it was: its rows read every n_rows-th token of the text.",
            _LOOK,
            _ROWS_LINE,
        ),
        Mistake(
            "true labels, mixed rows",
            _still(labels=_true_next),
            "Your labels are true neighbours now, but the rows still skip: half a cure.",
            "One token before its true follower is worth something: the loss falls a step. But what the state "
            "remembers comes from places n_rows apart. " + _LOOK,
            _ROWS_LINE,
        ),
        Mistake(
            "the loss of repeating",
            _still(labels=_own_token_every_nth),
            "The loss would fall to 0: the model is asked to repeat what it reads.",
            "A small loss is no cure. The guess after a token is for the *next* one; and the rows still skip.",
            _ROWS_LINE,
        ),
        Mistake(
            "a larger rate",
            _still(tune=_other_rate(10.0)),
            "A larger learning rate reaches the plateau sooner; the rows still skip.",
            "The loss does not stay up for lack of speed. " + _LOOK,
            _ROWS_LINE,
        ),
        Mistake(
            "a smaller rate",
            _still(tune=_other_rate(0.1)),
            "A smaller learning rate reaches the plateau later; the rows still skip.",
            "The loss does not stay up because it jumps about. " + _LOOK,
            _ROWS_LINE,
        ),
        Mistake(
            "no clipping",
            _still(clip=_no_clip),
            "Without clipping the plateau stays where it is; the rows still skip.",
            "The gradient is not too short. " + _LOOK,
            _ROWS_LINE,
        ),
        Mistake(
            "twice through the text",
            _still(rounds=2),
            "Twice through the text is longer on the same plateau; the rows still skip.",
            "More of the same data tells the same. " + _LOOK,
            _ROWS_LINE,
        ),
        Mistake(
            "ten times through the text",
            _still(rounds=10),
            "More rounds through the text stay longer on the plateau; the rows still skip.",
            "More of the same data tells the same. " + _LOOK,
            _ROWS_LINE,
        ),
        Mistake(
            "a fresh state",
            _still(begin=lambda state: None),
            "A fresh state at each piece forgets what was mixed; the rows still skip.",
            "Within a piece the tokens are still n_rows apart. " + _LOOK,
            _ROWS_LINE,
        ),
        Mistake(
            "the sum of the losses",
            _still(loss_of=_summed),
            "A sum makes the loss look larger, no more; the rows still skip.",
            "The scale of a loss says nothing of what can be learned. " + _LOOK,
            _ROWS_LINE,
        ),
        Mistake(
            "columns for rows",
            _run(rows=_columns_for_rows),
            "Rows and columns are exchanged now: each row still skips, N / n_rows at a time.",
            "Which shape do you want, and in which order does `view` fill it? " + _LOOK,
            _ROWS_LINE,
        ),
        Mistake(
            "short rows",
            _run(rows=_short_rows),
            "Your batch has N / n_rows rows of n_rows tokens; it should be the other way round.",
            "They are true neighbours now, but there should be n_rows rows, each one part of the text.",
            _ROWS_LINE,
        ),
    )


def _new_faults() -> tuple[Mistake, ...]:
    """The cause repaired, and something else changed."""
    return (
        Mistake(
            "repaired, with a fresh state",
            _run(begin=lambda state: None),
            "The rows are right; but the state begins anew at each piece.",
            "In this run the rows go on from piece to piece, and so may the state.",
            _STATE_LINE,
        ),
        Mistake(
            "repaired, labels in another order",
            _run(loss_of=_labels_in_another_order),
            "The rows are right; but labels and logits are flattened in different orders.",
            "Row by row for both: the k-th row of the logits belongs to the k-th label.",
            _LABELS_LINE,
        ),
        Mistake(
            "repaired, no shift",
            _run(labels=_own_token),
            "The rows are right; but each guess is compared with the token just read.",
            "The label of rows[:, t] is rows[:, t + 1].",
            _LABELS_LINE,
        ),
        Mistake(
            "repaired, labels across the parts",
            _across_the_parts,
            "The rows are right; but a part's last token must guess the next part's first.",
            "Every token of a part but its first is guessed once, from what was read of that part.",
            _LABELS_LINE,
        ),
        Mistake(
            "repaired, labels within the piece",
            _run(piece=_within_the_piece),
            "The rows are right; but the first token of each later piece is never guessed.",
            "The label of a piece's last token is the first token of the next piece: rows[:, end].",
            _LABELS_LINE,
        ),
        Mistake(
            "repaired, the last piece dropped",
            _run(starts=_whole_pieces),
            "The rows are right; but a last piece shorter than n_steps is dropped.",
            "range(0, n_columns - 1, n_steps) begins it, too.",
            "for start in range(0, n_columns - 1, n_steps):",
        ),
        Mistake(
            "repaired, the begin dropped",
            _run(rows=_dropped_at_the_begin),
            "The rows are right; but what is left over is dropped at the text's begin.",
            "The tokens left over at the *end* are dropped.",
            _ROWS_LINE,
        ),
        Mistake(
            "repaired, no clipping",
            _run(clip=_no_clip),
            "The rows are right; but the gradient is no longer clipped.",
            "Is it left out, or does it come too early or too late? Clip after `backward`, which makes the gradient, "
            "and before `step`, which uses it.",
            _UPDATE_LINE,
        ),
        Mistake(
            "repaired, clipped by number",
            _run(clip=_clip_each_number),
            "The rows are right; but each number of the gradient is clipped by itself.",
            "clip_grad_norm_ keeps the direction, clip_grad_value_ does not.",
            _UPDATE_LINE,
        ),
        Mistake(
            "repaired, always to the norm 1",
            _run(clip=_to_the_norm_one),
            "The rows are right; but a short gradient is made longer, to the norm 1.",
            "clip_grad_norm_ shortens what is too long, and leaves the rest.",
            _UPDATE_LINE,
        ),
        Mistake(
            "repaired, gradients add up",
            _run(steps=("backward", "clip", "step")),
            "The rows are right; but the gradients of all pieces add up: none is set to 0.",
            "optimizer.zero_grad() before each backward.",
            _UPDATE_LINE,
        ),
        Mistake(
            "repaired, no update",
            _run(steps=("zero", "backward", "clip")),
            "The rows are right; but the weights never change.",
            "Is `optimizer.step()` there, and the gradient not set to 0 before it?",
            _UPDATE_LINE,
        ),
        Mistake(
            "repaired, a larger rate",
            _run(tune=_other_rate(10.0)),
            "The rows are right; but the learning rate is changed, too.",
            "Change one thing at a time: else you do not know what helped.",
            _ROWS_LINE,
        ),
        Mistake(
            "repaired, twice through the text",
            _run(rounds=2),
            "The rows are right; but the text is read twice.",
            "Change one thing at a time: else you do not know what helped.",
            _ROWS_LINE,
        ),
        Mistake(
            "repaired, the sum of the losses",
            _run(loss_of=_summed),
            "The rows are right; but the losses are summed, not averaged.",
            "In nats per token: the mean over the tokens of a piece.",
            _UPDATE_LINE,
        ),
        Mistake(
            "repaired, a softmax before the loss",
            _run(loss_of=_softmaxed),
            "The rows are right; but a softmax stands before the cross-entropy.",
            "F.cross_entropy takes logits.",
            _UPDATE_LINE,
        ),
        Mistake(
            "repaired, the running mean",
            _run(told=lambda losses: [sum(losses[: n + 1]) / (n + 1) for n in range(len(losses))]),
            "The run is right; but each loss you list is the mean of all up to there.",
            "One loss for each update, as it is.",
            "losses.append(loss.item())",
        ),
        Mistake(
            "repaired, the last loss only",
            _run(told=lambda losses: losses[-1:]),
            "The run is right; but only the last loss is returned.",
            "One loss for each update.",
            "losses.append(loss.item())",
        ),
        Mistake(
            "repaired, the mean loss",
            _run(told=lambda losses: [sum(losses) / len(losses)]),
            "The run is right; but the mean of the losses is returned.",
            "One loss for each update.",
            "losses.append(loss.item())",
        ),
    )


_SEVERAL = "several pieces"


def _reads(seen: dict[str, Seen]) -> Tensor:
    return seen[_SEVERAL]["_read"]


def _skips(seen: dict[str, Seen]) -> bool:
    read = _reads(seen)
    return read.size(1) > 1 and bool(((read[:, 1:] - read[:, :-1]).abs() > 1).float().mean() > 0.5)


def _reads_its_part(seen: dict[str, Seen]) -> bool:
    read = _reads(seen)
    wanted = torch.arange(30.0, dtype=torch.float64).view(3, 10)
    if seen["one piece"]["_reads its part"].item() == 0:
        return False
    return read.size(1) in (9, 10) and torch.equal(read, wanted[:, : read.size(1)])


def _first_loss_right(seen: dict[str, Seen]) -> bool:
    name = "losses (-1: none)"
    expected = _one_piece(DEBUG.reference)[name].double()
    return torch.allclose(seen["one piece"][name][:1], expected[:1], atol=1e-3)


def _weights_right(seen: dict[str, Seen]) -> bool:
    """Say whether the runs end with the right weights; then only the losses can be wrong."""
    runs = {"one piece": _one_piece, _SEVERAL: _several_pieces, "pieces that fit": _pieces_that_fit}
    return all(
        torch.allclose(
            seen[name]["weights afterwards"], run(DEBUG.reference)["weights afterwards"].double(), atol=1e-3
        )
        for name, run in runs.items()
    )


def _later_right(seen: dict[str, Seen]) -> bool:
    name, expected = "weights afterwards", _several_pieces(DEBUG.reference)
    return torch.allclose(seen[_SEVERAL][name], expected[name].double(), atol=1e-3)


_CRASH, _CRASH_MESSAGE, _CRASH_HINT = crashes_in(
    _SEVERAL,
    "With more than one piece your code stops.",
    "Does a gradient flow back into the piece before? After each piece the state must be cut off: `.detach()`. "
    "(Python then says: trying to backward through the graph a second time.) And may the last piece be shorter?",
)

_DEBUG_PROPERTIES = (
    left_to_chance("one piece"),
    Property(
        "stops at a last piece of one guess",
        lambda seen: _SEVERAL in seen or "one row" in seen or "pieces that fit" not in seen,
        "Your code stops where the last piece holds a single guess.",
        "Print where each piece begins and ends. The last guess of a part is for its last token.",
    ),
    Property("stops at the second piece", _CRASH, _CRASH_MESSAGE, _CRASH_HINT),
    Property(
        "another number of rows",
        lambda seen: bool((seen[_SEVERAL]["_rows"] == 3).all()),
        "The model is asked with another number of rows than n_rows.",
        "n_rows parts of the text, side by side: (n_rows, n) at a time.",
    ),
    Property(
        "the rows still skip",
        lambda seen: not _skips(seen),
        "Your rows still skip: neighbours in a row are no neighbours in the text.",
        _LOOK,
    ),
    Property(
        "asked too often",
        lambda seen: len(seen[_SEVERAL]["_rows"]) <= max(1, seen[_SEVERAL]["number of updates"].item()),
        "The model is asked more often than there are losses in your list.",
        "One question, one loss and one update for each piece; that loss is kept, as it was before the update.",
    ),
    Property(
        "read again",
        lambda seen: seen["ten pieces"]["_repeats"].item() == 0,
        "The model is asked about the same piece of the text more than once.",
        "One pass: each piece is read once, and one update follows.",
    ),
    Property(
        "another order",
        lambda seen: seen["ten pieces"]["_in order"].item() == 1,
        "The pieces are not read in the order of the text.",
        "The state goes on from piece to piece, so they must follow each other: from the first to the last.",
    ),
    Property(
        "other tokens are read",
        _reads_its_part,
        "Row r does not read part r from its begin to its end, each token once.",
        "Each part is len(text) // n_rows long; the pieces follow each other, and do not overlap.",
    ),
    Property(
        "another mode",
        lambda seen: seen[_SEVERAL]["in training mode"].item() == 1,
        "The rows are right; but the model is put into another mode.",
        "Nothing but the cause is to be changed: leave `eval()` out.",
    ),
    Property(
        "another learning rate",
        lambda seen: abs(seen[_SEVERAL]["learning rate"].item() - 0.5) < 1e-4,
        "The rows are right; but the learning rate is changed, too.",
        "Change one thing at a time: else you do not know what helped.",
    ),
    Property(
        "the text is changed",
        lambda seen: seen[_SEVERAL]["text changed"].item() == 0,
        "Your code changes the text it was given.",
        "A view shares its numbers with the text: write into a clone.",
    ),
    Property(
        "other labels",
        lambda seen: bool((seen["a model that knows the text"]["losses (-1: none)"][:1].abs() < 1e-3).all()),
        "The rows are right, but a model that is sure of each next token has a loss.",
        "The label of rows[:, t] is rows[:, t + 1]. Is it the mean cross-entropy of the logits?",
    ),
    Property(
        "the state does not go on",
        lambda seen: seen[_SEVERAL]["_state goes on"].item() == 1,
        "The rows are right, but a piece does not begin with the state the last one left.",
        "`logits, state = model(inputs, state)`, then `state = state.detach()`.",
    ),
    Property(
        "another number of updates",
        lambda seen: seen[_SEVERAL]["number of updates"].item() == 3,
        "The rows are right, but the number of losses is not that of the pieces.",
        "One update and one loss for each piece; the last piece may be shorter.",
    ),
    Property(
        "the first loss",
        _first_loss_right,
        "The rows are right, but already the first loss, before any update, is not.",
        "It is the mean cross-entropy over all tokens of the piece, from no state.",
    ),
    Property(
        "too long an update",
        lambda seen: seen["loud guesses"]["length of the update"].item() <= 0.5 * 1.001,
        "The rows are right, but an update is longer than a gradient of norm 1 allows.",
        "Clip after backward, before step; and leave the learning rate and the optimiser as they are.",
    ),
    Property(
        "other losses",
        lambda seen: (
            not _weights_right(seen)
            or all(
                agrees(seen, run, DEBUG.reference) for run in (_one_piece, _several_pieces, _pieces_that_fit)
            )
        ),
        "The weights become right; but the losses you list are not those of the updates.",
        "One float for each update: the loss whose gradient it takes.",
    ),
    Property(
        "another update",
        lambda seen: agrees(seen, _one_piece, DEBUG.reference),
        "The first loss is right, but the weights after the first update are not.",
        "zero_grad, backward, clip, step, in this order; optimiser and loss as in the run above.",
    ),
    Property(
        "pieces of another length",
        lambda seen: seen["pieces that fit"]["_widths"].tolist() in ([3.0, 3.0], [3.0, 2.0], [3.0]),
        "Your pieces are not always n_steps tokens long.",
        "Is a fixed number in their place? Only the last one may be shorter.",
    ),
    Property(
        "a text without remainder",
        lambda seen: agrees(seen, _pieces_that_fit, DEBUG.reference) or not _later_right(seen),
        "Right where some tokens are left over, wrong where n_rows divides the text.",
        "Each part is len(text) // n_rows long, and nothing is left over then.",
    ),
    Property(
        "later updates",
        lambda seen: agrees(seen, _pieces_that_fit, DEBUG.reference),
        "The first update is right, a later one is not.",
        "What is left of the piece before: a gradient that was not set to 0, or a state that is another?",
    ),
)


DEBUG: Exercise = Exercise(
    id="01.debug_this_run",
    title="Debug this run: a loss that stays up",
    stub=DEBUG_STUB,
    reference=_run(),
    experiments=(
        _one_piece,
        _several_pieces,
        _a_model_that_knows_the_text,
        _one_row,
        _pieces_that_fit,
        _ten_pieces,
        _loud_guesses,
        _with_momentum,
    ),
    mistakes=(*_symptoms(), *_new_faults()),
    properties=_DEBUG_PROPERTIES,
    difficulty=4,
    importance=4,
    minutes=25,
)
