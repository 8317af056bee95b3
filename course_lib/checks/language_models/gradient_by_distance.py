"""Exercise 01.gradient_by_distance: how strongly the last output still feels each input.

B batch · T steps · D width of the input · H width of an output
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.probe import a_function, a_tensor, numbers, yes
from course_lib.checks.shared import agrees, left_to_chance, not_finite

DISTANCE_STUB = '''
def gradient_by_distance(model, x):
    """Measure how strongly the last output depends on each input, by how long ago it was read.

    Args:
        model: a module. model(x) returns an output for each step, (B, T, H). Sentences do not mix.
        x: the inputs, (B, T, D); they carry no gradient yet.

    Returns:
        (T,): entry k belongs to the input k steps before the last one; entry 0 is the last input
        itself. Add up the H numbers of a sentence's last output, and take the gradient of this sum
        with respect to that input of the sentence, D numbers: entry k is its Euclidean norm,
        averaged over the B sentences. Called again with the same x, it gives the same numbers; the
        numbers in x stay as they were.
    """
'''


class _Echo(nn.Module):
    """Adds up what was read, each step `fade` times as loud as before: the gradient at distance k is fadeᵏ · length."""

    def __init__(self, fade: float, *, d_input: int, d_output: int, seed: int):
        super().__init__()
        self.fade = fade
        self.mix = nn.Parameter(numbers(d_input, d_output, seed=seed))

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros_like(x[:, 0])
        states = []
        for step in x.unbind(1):
            state = self.fade * state + step
            states.append(state)
        return torch.stack(states, dim=1) @ self.mix


class _Reader(nn.Module):
    """A recurrent network: its gradient differs from sentence to sentence."""

    def __init__(self, *, d_input: int, d_hidden: int, seed: int):
        super().__init__()
        self.w = nn.Parameter(numbers(d_input, d_hidden, seed=seed, std=0.8))
        self.u = nn.Parameter(numbers(d_hidden, d_hidden, seed=seed + 1, std=1.4 * d_hidden**-0.5))
        self.d_hidden = d_hidden

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.size(0), self.d_hidden)
        states = []
        for step in x.unbind(1):
            state = torch.tanh(step @ self.w + state @ self.u)
            states.append(state)
        return torch.stack(states, dim=1)


def _asked(candidate: Any, model: nn.Module, x: Tensor) -> Tensor:
    try:
        return a_tensor(candidate(model, x))
    except AttributeError as error:
        if "'NoneType' object" in str(error):
            raise WrongReturn(
                "a gradient that is None",
                "A gradient that your code reads is None: none has arrived there.",
                "x must ask for one before the model reads it: x = x.clone().requires_grad_(). Then comes the model, "
                "then `backward`, then x.grad.",
            ) from error
        raise


def _measured(candidate: Any, model: nn.Module, x: Tensor) -> Seen:
    return {"gradient by distance": _asked(candidate, model, x.clone())}


def _of_a_fading_echo(candidate: Any) -> Seen:
    model, x = _Echo(0.6, d_input=3, d_output=4, seed=240), numbers(2, 5, 3, seed=241)
    given = x.clone()
    found = _asked(a_function(candidate), model, given)
    again = a_tensor(candidate(model, x.clone()))
    chance = found.shape != again.shape or not torch.allclose(found, again, equal_nan=True)
    return {
        "gradient by distance": found,
        "second call differs": yes(chance),
        "input changed": yes(not torch.equal(given.detach(), x)),
    }


def _of_a_growing_echo(candidate: Any) -> Seen:
    return _measured(candidate, _Echo(1.3, d_input=4, d_output=2, seed=244), numbers(3, 9, 4, seed=245))


def _of_a_recurrent_network(candidate: Any) -> Seen:
    return _measured(candidate, _Reader(d_input=3, d_hidden=5, seed=248), numbers(4, 6, 3, seed=250))


def _of_a_sentence_three_times(candidate: Any) -> Seen:
    """The same sentence three times: the average is that of the sentence."""
    x = numbers(1, 6, 3, seed=250).expand(3, -1, -1)
    return _measured(candidate, _Reader(d_input=3, d_hidden=5, seed=248), x)


def _of_one_sentence(candidate: Any) -> Seen:
    return _measured(candidate, _Reader(d_input=3, d_hidden=5, seed=248), numbers(1, 6, 3, seed=250))


def _of_the_same_x_again(candidate: Any) -> Seen:
    """Twice with the very same tensor and model: what the first call left behind would add up."""
    model, x = _Reader(d_input=2, d_hidden=4, seed=254), numbers(2, 4, 2, seed=256)
    candidate(model, x)
    return {"gradient by distance, second call": a_tensor(candidate(model, x))}


def _with_equal_sizes(candidate: Any) -> Seen:
    return _measured(candidate, _Reader(d_input=4, d_hidden=4, seed=258), numbers(4, 4, 4, seed=260))


def _of_one_step(candidate: Any) -> Seen:
    return _measured(candidate, _Reader(d_input=3, d_hidden=2, seed=262), numbers(2, 1, 3, seed=264))


def _of_single_numbers(candidate: Any) -> Seen:
    return _measured(candidate, _Reader(d_input=1, d_hidden=1, seed=266), numbers(2, 5, 1, seed=268))


def _of_a_model_without_memory(candidate: Any) -> Seen:
    """Each output depends on its own input alone: all other gradients are exactly 0."""
    return _measured(candidate, _Echo(0.0, d_input=3, d_output=2, seed=270), numbers(2, 4, 3, seed=271))


def _distance(
    *,
    target: Any = lambda outputs: outputs[:, -1].sum(),
    measure: Any = lambda gradient: gradient.norm(dim=-1),
    average: Any = lambda lengths: lengths.mean(0),
    order: Any = lambda lengths: lengths.flip(0),
) -> Any:
    """Return an answer with one part exchanged.

    The gradient of `target(outputs)` to x, (B, T, D), goes through `measure`, (B, T), `average`, (T,), and `order`.
    """

    def run(model: nn.Module, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(target(model(x)), x)
        return order(average(measure(gradient)))

    return run


def _by_last(target: Any) -> Any:
    return _distance(target=target)


def _left_behind(model: nn.Module, x: Tensor) -> Tensor:
    x.requires_grad_()
    model(x)[:, -1].sum().backward()
    return x.grad.norm(dim=-1).mean(0).flip(0)  # type: ignore[union-attr]


def _to_the_outputs(model: nn.Module, x: Tensor) -> Tensor:
    outputs = model(x)
    (gradient,) = torch.autograd.grad(outputs[:, -1].sum(), outputs)
    return gradient.norm(dim=-1).mean(0).flip(0)


def _times_the_input(model: nn.Module, x: Tensor) -> Tensor:
    return _distance(measure=lambda gradient: (gradient * x).norm(dim=-1))(model, x)


def _ends_moved(model: nn.Module, x: Tensor) -> Tensor:
    """For distance k the output at step k is asked about the first input: other steps, other gradients."""
    found = []
    for k in range(x.size(1)):
        start = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(start)[:, k].sum(), start)
        found.append(gradient[:, 0].norm(dim=-1).mean())
    return torch.stack(found)


def _one_output_after_the_other(model: nn.Module, x: Tensor) -> Tensor:
    """The norm of the whole Jacobian: each number of the last output by itself."""
    squares = torch.zeros(x.size(1))
    each = []
    x = x.clone().requires_grad_()
    outputs = model(x)
    for unit in range(outputs.size(-1)):
        (gradient,) = torch.autograd.grad(outputs[:, -1, unit].sum(), x, retain_graph=True)
        each.append(gradient)
    squares = torch.stack(each).pow(2).sum((0, -1))  # (B, T)
    return squares.sqrt().mean(0).flip(0)


_TARGET_LINE = "model(x)[:, -1].sum()"
_NORM_LINE = "gradient.norm(dim=-1)  # (B, T, D) → (B, T)"
_MEAN_LINE = "….mean(dim=0)  # (B, T) → (T,)"
_ORDER_LINE = "….flip(0)  # entry 0 is the last step"

_NOT_NORM = "The Euclidean norm is the root of the sum of squares over the D numbers: `.norm(dim=-1)`."

_DISTANCE_MISTAKES = (
    Mistake(
        "by place",
        _distance(order=lambda lengths: lengths),
        "Your entries stand in the order of reading; entry 0 should be the last input.",
        "Distance is counted back from the end. Which method turns a tensor round?",
        _ORDER_LINE,
    ),
    Mistake(
        "all outputs",
        _by_last(lambda outputs: outputs.sum()),
        "You take the gradient of all outputs together; only the last one is meant.",
        "The output right after an input feels it strongly, and hides how little reaches the end.",
        _TARGET_LINE,
    ),
    Mistake(
        "all outputs, by place",
        _distance(target=lambda outputs: outputs.sum(), order=lambda lengths: lengths),
        "Two things: all outputs are taken, not the last; and entry 0 is the first input.",
        "Only the last output is meant, and distance is counted back from the end.",
        _TARGET_LINE,
    ),
    Mistake(
        "the first output",
        _by_last(lambda outputs: outputs[:, 0].sum()),
        "You take the gradient of the first output; it has read nothing but the first input.",
        "The last step is index -1.",
        _TARGET_LINE,
    ),
    Mistake(
        "the last sentence",
        _by_last(lambda outputs: outputs[-1].sum()),
        "You take all outputs of the last sentence: outputs[-1] is of the batch's axis.",
        "The last step of every sentence: outputs[:, -1].",
        _TARGET_LINE,
    ),
    Mistake(
        "the last step of the last sentence",
        _by_last(lambda outputs: outputs[-1, -1].sum()),
        "You take the last output of the last sentence only; all sentences are meant.",
        "The last step of every sentence: outputs[:, -1].",
        _TARGET_LINE,
    ),
    Mistake(
        "the last number",
        _by_last(lambda outputs: outputs[..., -1].sum()),
        "You take the last number of each output; the last output is meant.",
        "outputs[..., -1] is of the last axis, H. The steps stand on axis 1.",
        _TARGET_LINE,
    ),
    Mistake(
        "one number of the last output",
        _by_last(lambda outputs: outputs[:, -1, 0].sum()),
        "You take one number of the last output; the sum of all H is meant.",
        "outputs[:, -1].sum() adds all of them up.",
        _TARGET_LINE,
    ),
    Mistake(
        "the mean of the last output",
        _by_last(lambda outputs: outputs[:, -1].mean(-1).sum()),
        "You take the mean of the last output's H numbers; their sum is meant.",
        "With the mean your numbers are H times too small.",
        _TARGET_LINE,
    ),
    Mistake(
        "the mean over the batch too",
        _by_last(lambda outputs: outputs[:, -1].mean()),
        "You take the mean over sentences and numbers; the sum is meant.",
        "With the mean your numbers are B · H times too small.",
        _TARGET_LINE,
    ),
    Mistake(
        "divided by B twice",
        _by_last(lambda outputs: outputs[:, -1].sum(-1).mean()),
        "The batch is averaged twice: in the last output, and over the norms.",
        "Sum the last outputs over the batch; average the norms.",
        _TARGET_LINE,
    ),
    Mistake(
        "the length of the last output",
        _by_last(lambda outputs: outputs[:, -1].norm(dim=-1).sum()),
        "You take the gradient of the last output's norm; that of its sum is meant.",
        "outputs[:, -1].sum().",
        _TARGET_LINE,
    ),
    Mistake(
        "the squares of the last output",
        _by_last(lambda outputs: outputs[:, -1].pow(2).sum()),
        "You take the gradient of the last output's squares; that of its sum is meant.",
        "outputs[:, -1].sum().",
        _TARGET_LINE,
    ),
    Mistake(
        "each output by itself",
        _one_output_after_the_other,
        "You measure each of the H numbers by itself; the gradient of their sum is meant.",
        "One backward pass from outputs[:, -1].sum() is enough.",
        _TARGET_LINE,
    ),
    Mistake(
        "other ends",
        _ends_moved,
        "You always ask about the first input, from other ends; the last output is meant.",
        "Keep the end fixed: the gradient of outputs[:, -1] to x has all distances in it.",
        _TARGET_LINE,
    ),
    Mistake(
        "to the outputs",
        _to_the_outputs,
        "You take the gradient with respect to the outputs; that to the inputs is meant.",
        "x must ask for a gradient *before* the model reads it.",
        "x = x.clone().requires_grad_(); outputs = model(x)",
    ),
    Mistake(
        "times the input",
        _times_the_input,
        "The gradient is multiplied by the input; it is meant by itself.",
        "How much an input *would* move the output does not depend on its size here.",
        _NORM_LINE,
    ),
    Mistake(
        "the mean of absolute values",
        _distance(measure=lambda gradient: gradient.abs().mean(-1)),
        "You average absolute values; the Euclidean norm is asked for.",
        _NOT_NORM,
        _NORM_LINE,
    ),
    Mistake(
        "the sum of absolute values",
        _distance(measure=lambda gradient: gradient.abs().sum(-1)),
        "You add up absolute values; the Euclidean norm is asked for.",
        _NOT_NORM,
        _NORM_LINE,
    ),
    Mistake(
        "the largest number",
        _distance(measure=lambda gradient: gradient.abs().amax(-1)),
        "You take the largest number of each gradient; its Euclidean norm is asked for.",
        _NOT_NORM,
        _NORM_LINE,
    ),
    Mistake(
        "the squared norm",
        _distance(measure=lambda gradient: gradient.pow(2).sum(-1)),
        "These are squared norms; the root is missing.",
        _NOT_NORM,
        _NORM_LINE,
    ),
    Mistake(
        "the mean square",
        _distance(measure=lambda gradient: gradient.pow(2).mean(-1).sqrt()),
        "The squares are averaged; in a norm they are added up.",
        _NOT_NORM,
        _NORM_LINE,
    ),
    Mistake(
        "the sum",
        _distance(measure=lambda gradient: gradient.sum(-1)),
        "You add the gradient's numbers with their signs; the Euclidean norm is asked for.",
        _NOT_NORM,
        _NORM_LINE,
    ),
    Mistake(
        "the mean",
        _distance(measure=lambda gradient: gradient.mean(-1)),
        "You average the gradient's numbers with their signs; the norm is asked for.",
        _NOT_NORM,
        _NORM_LINE,
    ),
    Mistake(
        "the sum without its sign",
        _distance(measure=lambda gradient: gradient.sum(-1).abs()),
        "You add up first and take the sign away then; the Euclidean norm is asked for.",
        _NOT_NORM,
        _NORM_LINE,
    ),
    Mistake(
        "added up over the batch",
        _distance(average=lambda lengths: lengths.sum(0)),
        "The sentences are added up; their average is asked for.",
        "A sum would grow with the batch.",
        _MEAN_LINE,
    ),
    Mistake(
        "one norm with the batch",
        _distance(
            measure=lambda gradient: gradient.transpose(0, 1).flatten(1).norm(dim=-1), average=lambda n: n
        ),
        "The norm runs over the batch too; each sentence has its own, and they are averaged.",
        "`norm(dim=(0, 2))` makes one vector of all sentences.",
        _NORM_LINE,
    ),
    Mistake(
        "the gradients averaged first",
        _distance(measure=lambda gradient: gradient.mean(0).norm(dim=-1), average=lambda n: n),
        "The gradients are averaged before the norm; opposite ones cancel out.",
        "First the norm of each sentence's gradient, then the average.",
        _NORM_LINE,
    ),
    Mistake(
        "the gradients added first",
        _distance(measure=lambda gradient: gradient.sum(0).norm(dim=-1), average=lambda n: n),
        "The gradients are added up before the norm; opposite ones cancel out.",
        "First the norm of each sentence's gradient, then the average.",
        _NORM_LINE,
    ),
    Mistake(
        "the first sentence only",
        _distance(average=lambda lengths: lengths[0]),
        "Only the first sentence is measured.",
        "Average over all sentences.",
        _MEAN_LINE,
    ),
    Mistake(
        "sentence by sentence",
        _distance(average=lambda lengths: lengths, order=lambda lengths: lengths.flip(1)),
        "You return one row for each sentence; they are to be averaged.",
        "Which axis is the batch's?",
        _MEAN_LINE,
    ),
    Mistake(
        "the norm over time",
        lambda model, x: _distance(measure=lambda gradient: gradient.norm(dim=1), order=lambda n: n)(
            model, x
        ),
        "The norm runs over the steps; it should run over each input's D numbers.",
        "Which axis of (B, T, D) must go?",
        _NORM_LINE,
    ),
    Mistake(
        "divided by the first",
        _distance(order=lambda lengths: lengths.flip(0) / lengths[-1]),
        "Your entries are divided by entry 0; the norms themselves are asked for.",
        "Leave the division out.",
        _ORDER_LINE,
    ),
    Mistake(
        "divided by the largest",
        _distance(order=lambda lengths: lengths.flip(0) / lengths.max()),
        "Your entries are divided by the largest; the norms themselves are asked for.",
        "Leave the division out.",
        _ORDER_LINE,
    ),
    Mistake(
        "divided by the sum",
        _distance(order=lambda lengths: lengths.flip(0) / lengths.sum()),
        "Your entries are divided by their sum; the norms themselves are asked for.",
        "Leave the division out.",
        _ORDER_LINE,
    ),
    Mistake(
        "logarithms",
        _distance(order=lambda lengths: lengths.flip(0).log()),
        "These are logarithms of the norms.",
        "Draw them on a logarithmic axis if you like; asked are the norms.",
        _ORDER_LINE,
    ),
    Mistake(
        "sorted",
        _distance(order=lambda lengths: lengths.sort(descending=True).values),
        "Your entries are sorted by size; they should stand in the order of distance.",
        "A gradient can also grow with distance.",
        _ORDER_LINE,
    ),
    Mistake(
        "without the last input",
        _distance(order=lambda lengths: lengths.flip(0)[1:]),
        "Entry 0, the last input itself, is missing.",
        "T inputs, T entries; the last one has the distance 0.",
        _ORDER_LINE,
    ),
    Mistake(
        "distances shifted",
        _distance(order=lambda lengths: lengths.flip(0).roll(1)),
        "Your entries are shifted by one: entry 1 holds distance 0.",
        "x[:, -1] has distance 0, x[:, -2] distance 1: for k it is -1 - k. (-k is the *first* input for k = 0.)",
        _ORDER_LINE,
    ),
    Mistake(
        "left behind",
        _left_behind,
        "Right at the first call; at the second the gradients of both calls add up.",
        "`backward` adds to x.grad. Work on a clone of x, use torch.autograd.grad, or set x.grad = None first.",
        "x = x.clone().requires_grad_()",
    ),
)

_FIRST = "of a fading echo"


def _entries(seen: dict[str, Seen], experiment: str = _FIRST) -> Tensor:
    return seen[experiment]["gradient by distance"]


def _constant_ratio(one: Tensor, other: Tensor) -> bool:
    ratio = one / other
    return bool((ratio - ratio.mean()).abs().max() < 1e-3 * ratio.mean().abs())


def _expected(experiment: Any) -> Tensor:
    return experiment(DISTANCE.reference)["gradient by distance"].double()


_DISTANCE_PROPERTIES = (
    left_to_chance(_FIRST),
    Property(
        "changes its input",
        lambda seen: seen[_FIRST]["input changed"].item() == 0,
        "Your code changes the numbers of the tensor it was given.",
        "Work on a clone: x = x.clone().requires_grad_().",
    ),
    not_finite(_entries, "entries"),
    Property(
        "below zero",
        lambda seen: bool((_entries(seen) >= 0).all()),
        "Some of your entries are below 0; a norm never is.",
        "The Euclidean norm is the root of the sum of squares: `.norm(dim=-1)`.",
    ),
    Property(
        "the wrong way round",
        lambda seen: not _constant_ratio(_entries(seen), _expected(_of_a_fading_echo).flip(0)),
        "For an echo that fades your entries grow with distance: they are turned round.",
        "Entry 0 is the last input: distance is counted back from the end.",
    ),
    Property(
        "other inputs feel it",
        lambda seen: bool((_entries(seen, "of a model without memory")[1:].abs() < 1e-6).all()),
        "For a model without memory all entries but entry 0 should be 0; yours are not.",
        "Is the gradient taken of the last output alone, with respect to x, and entry 0 the last input?",
    ),
    Property(
        "another course",
        lambda seen: _constant_ratio(_entries(seen), _expected(_of_a_fading_echo)),
        "An echo 0.6 times as loud at each step should fade like 0.6ᵏ; yours does not.",
        "Is it the gradient of the last output alone, and its norm, neither squared nor shifted?",
    ),
    Property(
        "another scale",
        lambda seen: agrees(seen, _of_a_fading_echo, DISTANCE.reference),
        "For an echo your entries fade as they should, but are off by a constant factor.",
        "The plain sum of the last output's numbers: no mean, product, norm or largest. The norm runs over D, the mean "
        "over the sentences.",
    ),
    Property(
        "the batch is not averaged",
        lambda seen: torch.allclose(
            _entries(seen, "of a sentence three times"),
            _entries(seen, "of one sentence"),
            rtol=1e-3,
            atol=1e-5,
        ),
        "The same sentence three times gives other numbers than once; an average would not.",
        "The norm of each sentence's gradient, then the mean over the batch.",
    ),
    Property(
        "left behind",
        lambda seen: (
            not agrees(seen, _of_a_recurrent_network, DISTANCE.reference)
            or agrees(seen, _of_the_same_x_again, DISTANCE.reference)
        ),
        "Right at the first call; called again with the same x the numbers are others.",
        "What does the first call leave behind: x.grad, or something kept between calls?",
    ),
    Property(
        "linear only",
        lambda seen: agrees(seen, _of_a_recurrent_network, DISTANCE.reference),
        "Right for an echo, whose gradient is the same for every sentence; wrong otherwise.",
        "First the norm of each sentence's gradient, then the average. And does the model "
        "read x itself, in its order?",
    ),
)


DISTANCE: Exercise = Exercise(
    id="01.gradient_by_distance",
    title="How far a gradient reaches",
    stub=DISTANCE_STUB,
    reference=_distance(),
    experiments=(
        _of_a_fading_echo,
        _of_a_model_without_memory,
        _of_a_growing_echo,
        _of_a_recurrent_network,
        _of_one_sentence,
        _of_a_sentence_three_times,
        _of_the_same_x_again,
        _with_equal_sizes,
        _of_one_step,
        _of_single_numbers,
    ),
    mistakes=_DISTANCE_MISTAKES,
    properties=_DISTANCE_PROPERTIES,
    difficulty=3,
    importance=4,
    minutes=15,
)
