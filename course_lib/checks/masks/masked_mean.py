"""Exercise 05.masked_mean: a mean over real tokens only.

B batch · T tokens · D d_model
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.masks.shared import FLIPPED, changes_an_input
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, differ, left_to_chance, no_gradient

# ── 05.masked_mean ────────────────────────────────────────────────────────────────────────────────────

MEAN_STUB = '''
def masked_mean(x, mask):
    """Average the vectors of each sentence's real tokens.

    Args:
        x: (B, T, D). The vectors of padded tokens may hold any finite numbers, also very large ones.
        mask: boolean, (B, T), True = real token. Padding may stand anywhere.

    Returns:
        (B, D): for each sentence the mean over its real tokens, and zeros for a sentence without any.
        More padding changes nothing. x and mask stay as they were; gradients flow back to x, without
        NaN, also where a sentence has no real token.
    """
'''

_MEAN_TWO, _MEAN_EMPTY, _MEAN_MORE = (
    "mean of two sentences",
    "mean of an empty sentence",
    "mean with more padding",
)


def _ragged(lengths: tuple[int, ...], n_tokens: int) -> Tensor:
    return torch.arange(n_tokens) < torch.tensor(lengths)[:, None]


def _mean_of(candidate: Any, x: Tensor, mask: Tensor) -> Seen:
    given, given_mask = x.clone(), mask.clone()
    means = a_tensor(a_function(candidate)(given, given_mask))
    mask_changed = not torch.equal(given_mask, mask)
    return {
        "means": means,
        "input changed": yes(mask_changed or not torch.equal(given, x)),
        "_mask changed": yes(mask_changed),
    }


def _mean_of_two_sentences(candidate: Any) -> Seen:
    x, mask = numbers(2, 5, 3, seed=1), _ragged((2, 5), 5)
    seen, again = _mean_of(candidate, x, mask), _mean_of(candidate, x, mask)
    other = _mean_of(candidate, x.where(mask[:, :, None], x + 1.0), mask)
    return seen | {
        "second call differs": yes(differ(seen, again)),
        "_padding comes in": yes(differ(seen, other)),
    }


def _mean_with_more_padding(candidate: Any) -> Seen:
    """The same two sentences, with three more padded tokens, whose vectors are large."""
    x = torch.cat([numbers(2, 5, 3, seed=1), numbers(2, 3, 3, seed=2, std=100.0)], dim=1)
    return _mean_of(candidate, x, _ragged((2, 5), 8))


def _mean_with_very_large_padding(candidate: Any) -> Seen:
    """Beside numbers like these every other one vanishes: they must not be added and taken away again."""
    mask = _ragged((3, 2), 4)
    huge = numbers(2, 4, 3, seed=10, std=1e30)
    return _mean_of(candidate, numbers(2, 4, 3, seed=1).where(mask[:, :, None], huge), mask)


def _mean_without_padding(candidate: Any) -> Seen:
    return _mean_of(candidate, numbers(2, 3, 4, seed=21), _ragged((3, 3), 3))


def _mean_with_padding_anywhere(candidate: Any) -> Seen:
    mask = torch.tensor([[False, False, True, True, True, True], [True, False, True, False, False, True]])
    mask = torch.cat([mask, torch.tensor([[False, False, False, False, True, True]])])
    return _mean_of(candidate, numbers(3, 6, 4, seed=3), mask)


def _mean_of_an_empty_sentence(candidate: Any) -> Seen:
    return _mean_of(candidate, numbers(3, 4, 2, seed=4), _ragged((3, 0, 1), 4))


def _mean_of_one_sentence(candidate: Any) -> Seen:
    return _mean_of(candidate, numbers(1, 4, 3, seed=5), _ragged((3,), 4))


def _mean_of_single_tokens(candidate: Any) -> Seen:
    return _mean_of(candidate, numbers(3, 1, 2, seed=6), torch.tensor([[True], [False], [True]]))


def _mean_of_single_numbers(candidate: Any) -> Seen:
    return _mean_of(candidate, numbers(2, 3, 1, seed=7), _ragged((1, 3), 3))


def _mean_of_a_cube(candidate: Any) -> Seen:
    return _mean_of(candidate, numbers(4, 4, 4, seed=8), _ragged((2, 4, 1, 3), 4))


def _mean_with_zeros(candidate: Any) -> Seen:
    """A real token may be a vector of zeros, and a padded one need not be."""
    x = numbers(2, 4, 3, seed=9)
    x[0, 1] = 0.0
    return _mean_of(candidate, x, _ragged((3, 2), 4))


def _mean_gradients(candidate: Any) -> Seen:
    (leaf,), (x,) = watched(numbers(2, 5, 3, seed=1))
    return gradients(a_tensor(candidate(x, _ragged((2, 5), 5))), {"x": leaf})


def _mean_gradients_with_an_empty_sentence(candidate: Any) -> Seen:
    (leaf,), (x,) = watched(numbers(2, 5, 3, seed=1))
    return gradients(a_tensor(candidate(x, _ragged((2, 0), 5))), {"x": leaf})


def _mean(
    count: Callable[[Tensor], Tensor | float] | None = None, axis: int = 1
) -> Callable[[Tensor, Tensor], Tensor]:
    """The masked sum, divided by another count; `count(mask)` broadcasts to (B, 1)."""

    def pool(x: Tensor, mask: Tensor) -> Tensor:
        real = mask.to(x.dtype)
        below = real.sum(1, keepdim=True).clamp(min=1) if count is None else count(real)
        return (x * real[:, :, None]).sum(axis) / below

    return pool


def _each_sentence(of: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """`of` the real vectors (n, D) of each sentence; zeros for an empty one."""
    return lambda x, mask: torch.stack(
        [of(row[real]) if real.any() else row.sum(0) * 0 for row, real in zip(x, mask, strict=True)]
    )


def _mean_in_place(x: Tensor, mask: Tensor) -> Tensor:
    x *= mask[:, :, None]
    return x.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


_MEAN_LINE = "(x * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)"


_MEAN_MISTAKES = (
    Mistake(
        "padding counts",
        lambda x, m: x.mean(1),
        "Your mean takes the padding in: the mask has no influence.",
        "Append more padding to a sentence: its mean must stay as it is.",
        _MEAN_LINE,
    ),
    Mistake(
        "divided by the length of the row",
        _mean(lambda m: float(m.size(1))),
        "The sum is over real tokens, but you divide by the length of the whole row.",
        "`.mean()` after a product with the mask counts the zeros too. How many real tokens has each sentence?",
        _MEAN_LINE,
    ),
    Mistake(
        "divided in whole numbers",
        lambda x, m: _mean(lambda real: 1.0)(x, m) // m.sum(1, keepdim=True).clamp(min=1),
        "Your means are whole numbers: `//` divides and rounds down.",
        "Which operator divides without rounding?",
        _MEAN_LINE,
    ),
    Mistake(
        "the padding is taken away again",
        lambda x, m: (x.sum(1) - _mean(lambda real: 1.0)(x, ~m)) / m.sum(1, keepdim=True).clamp(min=1),
        "Right, but very large vectors of padding make the others vanish.",
        "Added and taken away again is not the same as left out: floats keep seven digits. Set padding to 0 first.",
        _MEAN_LINE,
    ),
    Mistake(
        "divided by the longest sentence",
        _mean(lambda m: m.sum(1).max().clamp(min=1)),
        "You divide every sentence by the number of tokens of the longest one.",
        "Each sentence has its own number of real tokens: sum the mask over T, not over the batch.",
        _MEAN_LINE,
    ),
    Mistake(
        "divided by the mean length",
        _mean(lambda m: m.sum() / m.size(0)),
        "You divide every sentence by the mean number of tokens of the batch.",
        "Each sentence has its own number of real tokens: sum the mask over T, not over the batch.",
        _MEAN_LINE,
    ),
    Mistake(
        "divided by all tokens of the batch",
        _mean(lambda m: m.sum()),
        "You divide every sentence by the number of real tokens of the whole batch.",
        "mask.sum() adds up the batch too. Over which axis should the count run?",
        _MEAN_LINE,
    ),
    Mistake(
        "the padding is summed",
        lambda x, m: x.sum(1) / m.sum(1, keepdim=True).clamp(min=1),
        "You count real tokens only, but sum the padding too.",
        "The vectors of padding must be set to 0 before the sum.",
        _MEAN_LINE,
    ),
    Mistake(
        "not divided",
        _mean(lambda m: 1.0),
        "You sum the real tokens; a mean divides by their number.",
        "How many real tokens has each sentence? `mask.sum(dim=1, keepdim=True)`.",
        _MEAN_LINE,
    ),
    Mistake(
        "everything is summed",
        lambda x, m: x.sum(1),
        "You sum all tokens, padding too; the mask has no influence.",
        "Two things: padding must not count, and a mean divides by the number of real tokens.",
        _MEAN_LINE,
    ),
    Mistake(
        "divided by the root of the count",
        _mean(lambda m: m.sum(1, keepdim=True).clamp(min=1).sqrt()),
        "You divide by the root of the number of real tokens.",
        "A mean divides by the number itself.",
        _MEAN_LINE,
    ),
    Mistake(
        "one is added to every count",
        _mean(lambda m: m.sum(1, keepdim=True) + 1),
        "You divide by one more than the number of real tokens.",
        "Against 0 / 0 in an empty sentence take `clamp(min=1)`: it leaves the other counts alone.",
        _MEAN_LINE,
    ),
    Mistake(
        "divided by the number of padded tokens",
        _mean(lambda m: (1 - m).sum(1, keepdim=True).clamp(min=1)),
        "You divide by the number of padded tokens.",
        "True = real token. Which of the two is counted?",
        _MEAN_LINE,
    ),
    Mistake(
        "flipped",
        lambda x, m: _mean()(x, ~m),
        "Your mean is over the padding, and leaves the real tokens out.",
        FLIPPED[1],
        _MEAN_LINE,
    ),
    Mistake(
        "flipped, an empty sentence is not a number",
        lambda x, m: _mean(lambda real: real.sum(1, keepdim=True))(x, ~m),
        "Your mean is over the padding, and leaves the real tokens out.",
        FLIPPED[1],
        _MEAN_LINE,
    ),
    Mistake(
        "the padding is summed, an empty sentence is not finite",
        lambda x, m: x.sum(1) / m.sum(1, keepdim=True),
        "You count real tokens only, but sum the padding too.",
        "The vectors of padding must be set to 0 before the sum.",
        _MEAN_LINE,
    ),
    Mistake(
        "over the batch, an empty place is not a number",
        lambda x, m: (x * m[:, :, None]).sum(0) / m.sum(0)[:, None],
        "Your mean runs over the batch, not over the tokens of each sentence.",
        "x is (B, T, D): which axis holds the tokens?",
        _MEAN_LINE,
    ),
    Mistake(
        "one mean for the whole batch",
        lambda x, m: x[m].mean(0).expand(x.size(0), -1),
        "Every sentence gets the mean of the whole batch.",
        "x[mask] lays all sentences in one row. The mean runs over the tokens of each sentence alone.",
        _MEAN_LINE,
    ),
    Mistake(
        "one vector for the whole batch",
        lambda x, m: x[m].mean(0),
        "You return one vector for the whole batch, (D,); each sentence should have its own.",
        "x[mask] lays all sentences in one row. The mean runs over the tokens of each sentence alone.",
        _MEAN_LINE,
    ),
    Mistake(
        "over the batch",
        lambda x, m: (x * m[:, :, None]).sum(0) / m.sum(0)[:, None].clamp(min=1),
        "Your mean runs over the batch, not over the tokens of each sentence.",
        "x is (B, T, D): which axis holds the tokens?",
        _MEAN_LINE,
    ),
    Mistake(
        "over the features",
        lambda x, m: (x * m[:, :, None]).mean(-1),
        "Your mean runs over the features, not over the tokens.",
        "x is (B, T, D): which axis holds the tokens?",
        _MEAN_LINE,
    ),
    Mistake(
        "an axis of size 1 is left",
        lambda x, m: _mean()(x, m)[:, None],
        "Your means are (B, 1, D); the axis of the tokens should be gone: (B, D).",
        "`keepdim=True` keeps a summed axis.",
        _MEAN_LINE,
    ),
    Mistake(
        "an empty sentence is not a number",
        _mean(lambda m: m.sum(1, keepdim=True)),
        "Right, but a sentence without any real token becomes NaN: 0 / 0.",
        "What can you do to a count of 0, so that 0 divided by it is 0? (`clamp`.)",
        _MEAN_LINE,
    ),
    Mistake(
        "an empty sentence is not a number, nor its gradient",
        lambda x, m: torch.stack([row[real].mean(0) for row, real in zip(x, m, strict=True)]),
        "Right, but a sentence without any real token becomes NaN: 0 / 0.",
        "The mean of nothing is NaN. What should an empty sentence get?",
        _MEAN_LINE,
    ),
    Mistake(
        "an empty sentence is the mean of its padding",
        lambda x, m: torch.where(m.any(1, keepdim=True), _mean()(x, m), x.mean(1)),
        "Right, but a sentence without any real token gets the mean of its padding.",
        "The exercise asks for zeros there.",
        _MEAN_LINE,
    ),
    Mistake(
        "an empty sentence is left out",
        lambda x, m: _mean()(x[m.any(1)], m[m.any(1)]),
        "Right, but a sentence without any real token is left out; it should be zeros.",
        "(B, D) has one row a sentence, whatever it holds.",
        _MEAN_LINE,
    ),
    Mistake(
        "by length",
        lambda x, m: _mean()(x, torch.arange(x.size(1)) < m.sum(1, keepdim=True)),
        "Right where the padding stands at the end; wrong where it stands elsewhere.",
        "You count the real tokens and take as many from the left. Ask the mask about each token.",
        _MEAN_LINE,
    ),
    Mistake(
        "zeros are taken for padding",
        lambda x, m: (
            (x * m[:, :, None]).sum(1)
            / ((x * m[:, :, None]).abs().sum(-1) > 0).sum(1, keepdim=True).clamp(min=1)
        ),
        "A real token whose vector is all zeros is taken for padding.",
        "Count with the mask, not with the numbers of x.",
        _MEAN_LINE,
    ),
    Mistake(
        "the mask is not used, zeros are",
        lambda x, m: x.sum(1) / (x.abs().sum(-1) > 0).sum(1, keepdim=True).clamp(min=1),
        "Your mean takes the padding in: it looks for vectors of zeros, not at the mask.",
        "Vectors of padding may hold any numbers. Ask the mask.",
        _MEAN_LINE,
    ),
    Mistake(
        "the first token",
        lambda x, m: x[:, 0],
        "You return the vector of each sentence's first token, not a mean.",
        "That is another way to pool. Here all real tokens count alike.",
        _MEAN_LINE,
    ),
    Mistake(
        "the last token of the row",
        lambda x, m: x[:, -1],
        "You return the vector of each row's last place, not a mean.",
        "That is often padding. Here all real tokens count alike.",
        _MEAN_LINE,
    ),
    Mistake(
        "the last real token",
        _each_sentence(lambda real: real[-1]),
        "You return the vector of each sentence's last real token, not a mean.",
        "That is another way to pool. Here all real tokens count alike.",
        _MEAN_LINE,
    ),
    Mistake(
        "the largest",
        _each_sentence(lambda real: real.amax(0)),
        "You return the largest number of each feature, not the mean.",
        "That is another way to pool: max pooling.",
        _MEAN_LINE,
    ),
    Mistake(
        "the smallest",
        _each_sentence(lambda real: real.amin(0)),
        "You return the smallest number of each feature, not the mean.",
        "Sum the real vectors, and divide by how many there are.",
        _MEAN_LINE,
    ),
    Mistake(
        "the mean of squares",
        lambda x, m: _mean()(x.square(), m),
        "You average the squares of the numbers, not the numbers.",
        "Sum the real vectors as they are, and divide by how many there are.",
        _MEAN_LINE,
    ),
    Mistake(
        "the mean of absolute values",
        lambda x, m: _mean()(x.abs(), m),
        "You average the numbers without their signs.",
        "Sum the real vectors as they are, and divide by how many there are.",
        _MEAN_LINE,
    ),
    Mistake(
        "the first token is left out",
        lambda x, m: _mean()(x[:, 1:], m[:, 1:]),
        "Your mean leaves out the first place of each row.",
        "No place is special here: every real token counts.",
        _MEAN_LINE,
    ),
    Mistake(
        "the median",
        _each_sentence(lambda real: real.median(0).values),
        "You return the median of each feature, not the mean.",
        "Sum the real vectors, and divide by how many there are.",
        _MEAN_LINE,
    ),
    Mistake(
        "divided by the length of the vector",
        lambda x, m: F.normalize(_mean()(x, m), dim=-1),
        "Your means are scaled to length 1.",
        "A mean is not normalised.",
        _MEAN_LINE,
    ),
    Mistake(
        "changes x",
        _mean_in_place,
        "The means are right, but your function changes the x it was given.",
        "`*=`, and `x[~mask] = 0`, overwrite the caller's tensor. Make a new one.",
        _MEAN_LINE,
    ),
    Mistake(
        "NaN replaced, in the gradient not",
        lambda x, m: _mean(lambda real: real.sum(1, keepdim=True))(x, m).nan_to_num(0.0),
        "The means are right, but the gradient of an empty sentence is NaN.",
        "Replacing NaN afterwards hides it forwards only. Do not make it: `clamp(min=1)` before the division.",
        _MEAN_LINE,
    ),
    Mistake(
        "no gradient",
        lambda x, m: _mean()(x, m).detach(),
        "The means are right, but no gradient flows back to x.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
        _MEAN_LINE,
    ),
)


def _another_count(means: Tensor) -> bool:
    """Say whether each sentence's mean is the right one times some other number."""
    expected = _mean_of_two_sentences(_mean())["means"].double()
    factors = (means * expected).sum(-1, keepdim=True) / (expected * expected).sum(-1, keepdim=True)
    right = torch.allclose(factors, torch.ones_like(factors), atol=1e-3)
    divided = bool((factors > 0.01).all())
    return divided and torch.allclose(means, factors * expected, atol=1e-3) and not right


def _first_of_two_means(which: int | slice = 0) -> Tensor:
    return _mean_of_two_sentences(_mean())["means"].double()[which]


def _a_vector_of_x(means: Tensor) -> bool:
    """Say whether each result is the vector of one token of its sentence, and not a mean of several."""
    x = numbers(2, 5, 3, seed=1).double()
    return bool(((means[:, None] - x).abs().amax(-1) < 1e-5).any(1).all())


_MEAN_PROPERTIES = (
    changes_an_input(),
    left_to_chance(_MEAN_TWO),
    Property(
        "not a number",
        lambda seen: bool(seen[_MEAN_TWO]["means"].isfinite().all()),
        "There are NaN or infinite numbers among your means.",
        "Is −∞ written into x? Padding should become 0, before a sum. Or is something divided by 0?",
    ),
    Property(
        "padding comes in",
        lambda seen: seen[_MEAN_TWO]["_padding comes in"].item() == 0,
        "Your means change when only the vectors of padded tokens change.",
        "What is padded must be 0 before the sum, or be left out of it.",
    ),
    Property(
        "far too large",
        lambda seen: bool((seen[_MEAN_TWO]["means"].abs() < 1e3).all()),
        "Your means are far larger than any number in x.",
        "A large negative number hides a score before a softmax. In a sum, padding must be 0.",
    ),
    Property(
        "one vector in place of a mean",
        lambda seen: not _a_vector_of_x(seen[_MEAN_TWO]["means"]),
        "You return the vector of one token of each sentence, not a mean.",
        "All real tokens count alike: sum them, and divide by how many there are.",
    ),
    Property(
        "a full sentence",
        lambda seen: (
            not torch.allclose(seen[_MEAN_TWO]["means"][0], _first_of_two_means(), atol=1e-3)
            or torch.allclose(seen[_MEAN_TWO]["means"], _first_of_two_means(slice(None)), atol=1e-3)
        ),
        "Right for a sentence with padding; wrong for a full one.",
        "Do you look for the first padding? A full sentence has none. Count with the mask: mask.sum(dim=1).",
    ),
    Property(
        "another count",
        lambda seen: not _another_count(seen[_MEAN_TWO]["means"]),
        "Your sums are right, but divided by another number than that of the real tokens.",
        "How many real tokens has each sentence? `mask.sum(dim=1, keepdim=True)`.",
    ),
    Property(
        "wrong for ordinary sentences",
        lambda seen: agrees(seen, _mean_of_two_sentences, MEAN.reference),
        "Your means are wrong for two ordinary sentences with padding at the end.",
        "By hand: sum the vectors of the real tokens of one sentence, and divide by how many there are.",
    ),
    Property(
        "more padding changes the means",
        lambda seen: torch.allclose(seen[_MEAN_TWO]["means"], seen[_MEAN_MORE]["means"], atol=1e-3),
        "More padding changes your means.",
        "Where do padded vectors, or the length of the row, come in?",
    ),
    Property(
        "without any padding",
        lambda seen: agrees(seen, _mean_without_padding, MEAN.reference),
        "Right where there is padding; wrong for a batch without any.",
        "Does your code go another way if the whole mask is True? It need not.",
    ),
    Property(
        "very large padding",
        lambda seen: agrees(seen, _mean_with_very_large_padding, MEAN.reference),
        "Wrong where the vectors of padding are very large.",
        "Padding must be 0 before the sum, or be left out of it; nothing of it may be taken away afterwards. And half "
        "precision ends at 65504.",
    ),
    Property(
        "padding anywhere",
        lambda seen: agrees(seen, _mean_with_padding_anywhere, MEAN.reference),
        "Right where the padding stands at the end; wrong where it stands elsewhere.",
        "Do you count real tokens and take as many from the left? Ask the mask about each token.",
    ),
    Property(
        "one real token",
        lambda seen: agrees(seen, _mean_of_single_numbers, MEAN.reference),
        "Right for several real tokens; wrong for a sentence with one.",
        "The mean of one vector is that vector. Is a count cut off, or one added to it?",
    ),
    Property(
        "an empty sentence is not a number",
        lambda seen: bool(seen[_MEAN_EMPTY]["means"].isfinite().all()),
        "Right, but with a sentence without any real token there is NaN.",
        "0 / 0 is NaN. What can you do to a count of 0, so that 0 divided by it is 0? (`clamp`.)",
    ),
    Property(
        "an empty sentence",
        lambda seen: agrees(seen, _mean_of_an_empty_sentence, MEAN.reference),
        "Right, but not with a sentence without any real token, which should be zeros.",
        "And the other sentences must not be touched by it.",
    ),
    no_gradient("mean gradients", "x"),
    Property(
        "a gradient that is not a number",
        lambda seen: bool(seen["mean gradients with an empty sentence"]["gradient to x"].isfinite().all()),
        "The means are right, but the gradient of an empty sentence is NaN.",
        "Replacing NaN afterwards hides it forwards only. Do not make it: `clamp(min=1)` before the division.",
    ),
)


MEAN: Exercise = Exercise(
    id="05.masked_mean",
    title="The mean of real tokens",
    stub=MEAN_STUB,
    reference=_mean(),
    experiments=(
        _mean_of_two_sentences,
        _mean_with_more_padding,
        _mean_with_very_large_padding,
        _mean_without_padding,
        _mean_with_padding_anywhere,
        _mean_of_an_empty_sentence,
        _mean_of_one_sentence,
        _mean_of_single_tokens,
        _mean_of_single_numbers,
        _mean_of_a_cube,
        _mean_with_zeros,
        _mean_gradients,
        _mean_gradients_with_an_empty_sentence,
    ),
    mistakes=_MEAN_MISTAKES,
    properties=_MEAN_PROPERTIES,
    difficulty=2,
    importance=4,
    minutes=10,
)
