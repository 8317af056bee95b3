"""Exercise 05.masked_mean_loss: a loss over real tokens only.

B batch · T tokens · V vocabulary
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.masks.shared import changes_an_input
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, differ, left_to_chance, no_gradient

# ── 05.masked_mean_loss ───────────────────────────────────────────────────────────────────────────────

LOSS_STUB = '''
def masked_mean_loss(logits, labels, pad_id):
    """Mean cross-entropy over the real tokens of a batch: padding does not count.

    Args:
        logits: (B, T, V), one score for each id; values from -1000 to 1000.
        labels: (B, T), the right ids; where there is padding, in any place, they hold pad_id.
        pad_id: an int: an id of the vocabulary, which is then never a real label, or one outside it,
            such as -100, or V and more.

    Returns:
        One number (a tensor without axes): the mean of -log softmax(logits)[label], natural logarithm,
        over all real tokens of the batch together, of which there is at least one. More padding
        changes nothing. The inputs stay as they were; gradients flow back to the logits.
    """
'''

_LOSS_TWO, _LOSS_MORE = "loss of two sentences", "loss with more padding"
_LOSS_LARGE, _LOSS_UNLIKELY = "loss of large logits", "loss of unlikely labels"
_LOSS_OUTSIDE, _LOSS_ABOVE = "loss with an id outside the vocabulary", "loss with an id above the vocabulary"

_LABELS = [[2, 1, 4, 0, 0], [3, 0, 0, 0, 0]]


def _loss_of(candidate: Any, logits: Tensor, labels: list[list[int]], pad_id: int) -> Seen:
    given, given_labels = logits.clone(), torch.tensor(labels)
    try:
        loss = a_tensor(a_function(candidate)(given, given_labels, pad_id))
    except RuntimeError as error:
        if "Expected target size" not in str(error):
            raise
        raise WrongReturn(
            "the axes of cross_entropy",
            "F.cross_entropy gets (B, T, V) and (B, T); it wants the axes in another order.",
            "It takes (N, V) with (N,): flatten(0, 1) and flatten(). Or (B, V, T) with (B, T): transpose(1, 2).",
        ) from error
    logits_changed = not torch.equal(given, logits)
    return {
        "loss": loss,
        "input changed": yes(logits_changed or given_labels.tolist() != labels),
        "_logits changed": yes(logits_changed),
    }


def _loss_of_two_sentences(candidate: Any) -> Seen:
    logits = numbers(2, 5, 6, seed=11, std=2.0)
    seen, again = _loss_of(candidate, logits, _LABELS, 0), _loss_of(candidate, logits, _LABELS, 0)
    return seen | {"second call differs": yes(differ(seen, again))}


def _loss_of_one_token(candidate: Any) -> Seen:
    return _loss_of(candidate, numbers(1, 1, 6, seed=22, std=2.0), [[5]], 0)


def _loss_without_padding(candidate: Any) -> Seen:
    return _loss_of(candidate, numbers(2, 3, 7, seed=12, std=2.0), [[5, 1, 4], [2, 6, 3]], 0)


def _loss_with_more_padding(candidate: Any) -> Seen:
    logits = torch.cat([numbers(2, 5, 6, seed=11, std=2.0), numbers(2, 3, 6, seed=13, std=5.0)], dim=1)
    return _loss_of(candidate, logits, [row + [0, 0, 0] for row in _LABELS], 0)


def _loss_with_another_id_of_the_padding(candidate: Any) -> Seen:
    return _loss_of(
        candidate, numbers(3, 4, 6, seed=14, std=2.0), [[0, 3, 3, 3], [3, 3, 5, 0], [1, 2, 4, 5]], 3
    )


def _loss_with_an_id_outside_the_vocabulary(candidate: Any) -> Seen:
    labels = [[0, 3, -100, -100], [2, 1, 5, -100], [-100, 0, 1, 4]]
    return _loss_of(candidate, numbers(3, 4, 6, seed=15, std=2.0), labels, -100)


def _loss_with_an_id_above_the_vocabulary(candidate: Any) -> Seen:
    return _loss_of(candidate, numbers(2, 3, 4, seed=19, std=2.0), [[0, 3, 9], [1, 9, 9]], 9)


def _loss_with_padding_elsewhere(candidate: Any) -> Seen:
    """On the left, in the middle, and a row of padding alone."""
    labels = [[0, 0, 2, 1], [4, 0, 3, 0], [0, 0, 0, 0]]
    return _loss_of(candidate, numbers(3, 4, 5, seed=20, std=2.0), labels, 0)


def _loss_of_one_sentence(candidate: Any) -> Seen:
    return _loss_of(candidate, numbers(1, 3, 5, seed=16, std=2.0), [[4, 1, 0]], 0)


def _loss_of_a_cube(candidate: Any) -> Seen:
    labels = [[1, 3, 2, 0], [2, 0, 0, 0], [3, 1, 0, 0], [1, 1, 3, 2]]
    return _loss_of(candidate, numbers(4, 4, 4, seed=17, std=2.0), labels, 0)


def _loss_of_single_tokens(candidate: Any) -> Seen:
    return _loss_of(candidate, numbers(3, 1, 4, seed=18, std=2.0), [[2], [0], [3]], 0)


def _loss_of_large_logits(candidate: Any) -> Seen:
    logits = torch.tensor([[[1000.0, -1000.0, 998.0, 999.0], [-1000.0, -999.0, 0.0, 500.0]]])
    return _loss_of(candidate, logits, [[2, 3]], 0)


def _loss_of_unlikely_labels(candidate: Any) -> Seen:
    logits = torch.tensor([[[500.0, -1000.0, 998.0, 999.0], [0.0, 10.0, -200.0, 5.0]]])
    return _loss_of(candidate, logits, [[1, 2]], 0)


def _loss_gradients(candidate: Any) -> Seen:
    (leaf,), (logits,) = watched(numbers(2, 5, 6, seed=11, std=2.0))
    return gradients(a_tensor(candidate(logits, torch.tensor(_LABELS), 0)).reshape(-1), {"logits": leaf})


def _each(logits: Tensor, labels: Tensor, pad_id: int) -> tuple[Tensor, Tensor]:
    """The loss of each token (B, T), 0 at padding, and which tokens are real."""
    real = labels != pad_id
    losses = -logits.log_softmax(-1).gather(-1, labels.where(real, 0)[..., None])[..., 0]
    return losses.masked_fill(~real, 0.0), real


def _loss(count: Callable[[Tensor], Tensor | float] | None = None) -> Callable[[Tensor, Tensor, int], Tensor]:
    """The sum over real tokens, divided by another count; `count(real)` is one number."""

    def mean(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
        losses, real = _each(logits, labels, pad_id)
        return losses.sum() / (real.sum().clamp(min=1) if count is None else count(real))

    return mean


def _of(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, int], Tensor]:
    """The right loss of changed logits."""
    return lambda logits, labels, pad_id: _loss()(change(logits), labels, pad_id)


def _sentence_means(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    losses, real = _each(logits, labels, pad_id)
    return losses.sum(1) / real.sum(1).clamp(min=1)


def _padding_counts(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    """Padding outside the vocabulary is taken for the word 0."""
    inside = (labels >= 0) & (labels < logits.size(-1))
    return F.cross_entropy(logits.flatten(0, 1), labels.where(inside, 0).flatten())


def _ignores(fixed: int) -> Callable[[Tensor, Tensor, int], Tensor]:
    return lambda logits, labels, pad_id: F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=fixed
    )


def _logits_masked(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    """Logits of 0 at padding: each padded token then costs log V."""
    real = labels != pad_id
    return -(logits * real[..., None]).log_softmax(-1).gather(-1, labels.where(real, 0)[..., None]).mean()


def _read_in_another_order(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    n_batch, n_tokens, vocabulary = logits.shape
    return _loss()(logits.reshape(n_batch, vocabulary, n_tokens).mT, labels, pad_id)


def _probabilities(
    logits: Tensor, labels: Tensor, pad_id: int, sign: float = -1.0, shift: float = 0.0
) -> Tensor:
    real = labels != pad_id
    p = logits.softmax(-1).gather(-1, labels.where(real, 0)[..., None])[..., 0]
    return (sign * p + shift).masked_fill(~real, 0.0).sum() / real.sum().clamp(min=1)


def _shifted(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    if labels.size(1) == 1:
        return _loss()(logits, labels, pad_id)
    return _loss()(logits[:, :-1], labels[:, 1:], pad_id)


def _overflows(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    real = labels != pad_id
    p = (logits.exp() / logits.exp().sum(-1, keepdim=True)).gather(-1, labels.where(real, 0)[..., None])[
        ..., 0
    ]
    return -torch.log(p).masked_fill(~real, 0.0).sum() / real.sum().clamp(min=1)


def _without_the_padding(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    ids = torch.arange(logits.size(-1))
    return _loss()(logits.masked_fill(ids == pad_id, -1e9), labels, pad_id)


def _loses_small_shares(logits: Tensor, labels: Tensor, pad_id: int, little: float = 0.0) -> Tensor:
    real = labels != pad_id
    p = logits.softmax(-1).gather(-1, labels.where(real, 0)[..., None])[..., 0] + little
    return -torch.log(p).masked_fill(~real, 0.0).sum() / real.sum().clamp(min=1)


def _padding_alone(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    chosen = labels == pad_id
    return F.cross_entropy(logits[chosen], labels[chosen].clamp(min=0))


def _loss_in_place(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    loss = _loss()(logits, labels.clone(), pad_id)
    labels[labels == pad_id] = -100
    return loss


_LOSS_LINE = "losses[labels != pad_id].sum() / (labels != pad_id).sum().clamp(min=1)"

_LOSS_MISTAKES = (
    Mistake(
        "padding counts",
        _padding_counts,
        "Padding counts: your loss is the mean over all places.",
        "Append more padding: the loss must stay as it is. Which labels must be left out?",
        _LOSS_LINE,
    ),
    Mistake(
        "divided by all places",
        _loss(lambda real: float(real.numel())),
        "The sum is over real tokens, but you divide by all places, padding too.",
        "`.mean()` after a product with the mask counts the zeros too. How many tokens are real?",
        _LOSS_LINE,
    ),
    Mistake(
        "a mean of means",
        lambda lo, la, p: _sentence_means(lo, la, p).mean(),
        "You take the mean of each sentence, and then the mean of those.",
        "A token of a short sentence then counts more. The exercise wants all real tokens of the batch together.",
        _LOSS_LINE,
    ),
    Mistake(
        "one loss a sentence",
        _sentence_means,
        "You return one loss for each sentence, (B,); one number is asked for.",
        "Sum over batch and tokens, then divide once.",
        _LOSS_LINE,
    ),
    Mistake(
        "one loss a token",
        lambda lo, la, p: _each(lo, la, p)[0],
        "You return one loss for each token, (B, T); one number is asked for.",
        "Sum over batch and tokens, then divide by the number of real ones.",
        _LOSS_LINE,
    ),
    Mistake(
        "not divided",
        _loss(lambda real: 1.0),
        "You return the sum over the real tokens; the mean is asked for.",
        "How many tokens are real?",
        _LOSS_LINE,
    ),
    Mistake(
        "divided by the length of the rows",
        _loss(lambda real: float(real.size(1))),
        "You divide the sum by T, the length of the rows, not by the number of real tokens.",
        "How many tokens are real? `(labels != pad_id).sum()`.",
        _LOSS_LINE,
    ),
    Mistake(
        "batch and tokens exchanged",
        lambda lo, la, p: F.cross_entropy(lo.transpose(0, 1).flatten(0, 1), la.flatten(), ignore_index=p),
        "Logits and labels are laid out in unlike orders: batch and tokens are exchanged.",
        "Both go sentence by sentence: logits.flatten(0, 1) beside labels.flatten(). Is there a transpose(0, 1)?",
        _LOSS_LINE,
    ),
    Mistake(
        "smoothed labels",
        lambda lo, la, p: F.cross_entropy(
            lo.flatten(0, 1), la.flatten(), ignore_index=p, label_smoothing=0.1
        ),
        "Your loss is one with label smoothing of 0.1; the plain one is asked for.",
        "Smoothing gives every other id a share of the label. Leave label_smoothing out.",
        _LOSS_LINE,
    ),
    Mistake(
        "the padding's id is left out of the softmax",
        _without_the_padding,
        "You leave the padding's logit out of the softmax; all V ids belong to it.",
        "Padding is left out of the mean, where it is a *label*. The softmax runs over the whole vocabulary.",
        _LOSS_LINE,
    ),
    Mistake(
        "a small number in the logarithm",
        lambda lo, la, p: _loses_small_shares(lo, la, p, 1e-9),
        "Right for likely labels; a small number in the logarithm makes unlikely ones cheap.",
        "−log(p + 1e-9) is never more than 21, however small p is. log_softmax needs no small number.",
        "logits.log_softmax(dim=-1)",
    ),
    Mistake(
        "divided by the number of sentences",
        _loss(lambda real: float(real.size(0))),
        "You divide the sum by the number of sentences, not of real tokens.",
        "How many tokens are real? `(labels != pad_id).sum()`.",
        _LOSS_LINE,
    ),
    Mistake(
        "one is added to the count",
        _loss(lambda real: real.sum() + 1),
        "You divide by one more than the number of real tokens.",
        "Against 0 / 0 take `clamp(min=1)`: it leaves other counts alone.",
        _LOSS_LINE,
    ),
    Mistake(
        "the padding's loss is summed",
        lambda lo, la, p: _padding_counts(lo, la, p) * la.numel() / (la != p).sum().clamp(min=1),
        "You count real tokens only, but sum the loss of the padding too.",
        "The losses at padding must be set to 0, or left out, before the sum.",
        _LOSS_LINE,
    ),
    Mistake(
        "the padding alone",
        lambda lo, la, p: (
            (_padding_counts(lo, la, p) * la.numel() - _each(lo, la, p)[0].sum())
            / (la == p).sum().clamp(min=1)
        ),
        "Your loss is over the padding, and leaves the real tokens out.",
        "Real is what is *not* pad_id: the comparison is turned round.",
        _LOSS_LINE,
    ),
    Mistake(
        "the padding alone, nothing is not a number",
        _padding_alone,
        "Your loss is over the padding, and leaves the real tokens out.",
        "Real is what is *not* pad_id: the comparison is turned round.",
        _LOSS_LINE,
    ),
    Mistake(
        "logits of 0 at padding",
        _logits_masked,
        "You make all logits of padding equal; such a token still costs log V.",
        "Take the *losses* at padding out, not their logits.",
        _LOSS_LINE,
    ),
    Mistake(
        "0 is taken for padding",
        lambda lo, la, p: _loss()(lo, la.where(la != p, 0) if p < 0 else la, 0),
        "You take the label 0 for padding; here the padding has the id pad_id.",
        "A vocabulary may give any id to its padding. Which argument tells you?",
        _LOSS_LINE,
    ),
    Mistake(
        "an id of its own for padding",
        _ignores(-100),
        "Only the label −100 is left out; here the padding has the id pad_id.",
        "F.cross_entropy leaves −100 out by itself; its argument ignore_index takes another id.",
        _LOSS_LINE,
    ),
    Mistake(
        "probabilities in place of logarithms",
        _probabilities,
        "The logarithm is missing: you average probabilities.",
        "The loss of a token is minus the *logarithm* of the probability of its label.",
        _LOSS_LINE,
    ),
    Mistake(
        "one minus the probability",
        lambda lo, la, p: _probabilities(lo, la, p, -1.0, 1.0),
        "You average 1 − p; the loss of a token is −log p.",
        "Both are 0 for a sure and right answer; but a sure and wrong one must cost much.",
        _LOSS_LINE,
    ),
    Mistake(
        "the sign",
        lambda lo, la, p: -_loss()(lo, la, p),
        "The sign is missing: your loss is negative.",
        "A logarithm of a probability is negative, and a loss should fall as the probability grows.",
        _LOSS_LINE,
    ),
    Mistake(
        "softmax before the cross-entropy",
        _of(lambda lo: lo.softmax(-1)),
        "A softmax is applied before the cross-entropy, which applies one itself.",
        "F.cross_entropy takes logits. With probabilities its loss can never come near 0.",
        _LOSS_LINE,
    ),
    Mistake(
        "a sigmoid before the cross-entropy",
        _of(torch.sigmoid),
        "A sigmoid is applied to the logits before the cross-entropy.",
        "F.cross_entropy takes logits as they are.",
        _LOSS_LINE,
    ),
    Mistake(
        "the logits are cut off",
        _of(lambda lo: lo.clamp(-20, 20)),
        "Right for ordinary logits; large ones are cut off.",
        "1000 and 998 must stay different. log_softmax is safe for large logits by itself.",
        _LOSS_LINE,
    ),
    Mistake(
        "logarithm to the base 2",
        lambda lo, la, p: _loss()(lo, la, p) / 0.6931471805599453,
        "Your loss is in bits: the logarithm to base 2 is taken, not the natural one.",
        "torch.log is the natural logarithm.",
        _LOSS_LINE,
    ),
    Mistake(
        "perplexity",
        lambda lo, la, p: _loss()(lo, la, p).exp(),
        "You return the perplexity, e to the power of the loss.",
        "The mean itself is asked for.",
        _LOSS_LINE,
    ),
    Mistake(
        "the label's logit",
        lambda lo, la, p: (
            -(lo.gather(-1, la.where(la != p, 0)[..., None])[..., 0] * (la != p)).sum()
            / (la != p).sum().clamp(min=1)
        ),
        "You average the labels' logits; the softmax is missing.",
        "A logit is no logarithm of a probability until log Σ exp is taken away: log_softmax.",
        _LOSS_LINE,
    ),
    Mistake(
        "divided by the size of the vocabulary",
        lambda lo, la, p: _loss()(lo, la, p) / lo.size(-1),
        "You divide by the size of the vocabulary as well.",
        "Only the real tokens are counted.",
        _LOSS_LINE,
    ),
    Mistake(
        "reshaped in place of transposed",
        _read_in_another_order,
        "The logits are reshaped where axes should change places: numbers change owners.",
        "F.cross_entropy wants (N, V) or (B, V, T): flatten(0, 1), or transpose(1, 2). A reshape to (B, V, T) mixes.",
        "F.cross_entropy(logits.flatten(0, 1), labels.flatten(), …)",
    ),
    Mistake(
        "softmax over the tokens",
        lambda lo, la, p: (
            -(
                lo.log_softmax(1)
                .gather(-1, la.where(la != p, 0)[..., None])[..., 0]
                .masked_fill(la == p, 0.0)
            ).sum()
            / (la != p).sum().clamp(min=1)
        ),
        "Your softmax runs over the tokens; it should run over the vocabulary.",
        "(B, T, V): the ids compete on the last axis.",
        _LOSS_LINE,
    ),
    Mistake(
        "labels shifted",
        _shifted,
        "You shift the labels by one place; here they belong to the logits as they stand.",
        "A language model's labels are shifted once, when they are made.",
        _LOSS_LINE,
    ),
    Mistake(
        "labels shifted, a single token is not a number",
        lambda lo, la, p: F.cross_entropy(lo[:, :-1].flatten(0, 1), la[:, 1:].flatten(), ignore_index=p),
        "You shift the labels by one place; here they belong to the logits as they stand.",
        "A language model's labels are shifted once, when they are made.",
        _LOSS_LINE,
    ),
    Mistake(
        "overflow",
        _overflows,
        "Right for ordinary logits; large ones overflow to NaN or infinity.",
        "exp(1000) is infinite, and log(0) too. log_softmax is safe: it never forms the exponential alone.",
        "logits.log_softmax(dim=-1)",
    ),
    Mistake(
        "the logarithm of 0",
        _loses_small_shares,
        "Right for ordinary logits; a very small share becomes 0, and its loss infinite.",
        "A softmax and then a logarithm loses what is below 1e-45. log_softmax does both in one step.",
        "logits.log_softmax(dim=-1)",
    ),
    Mistake(
        "changes the labels",
        _loss_in_place,
        "The loss is right, but your function changes the labels it was given.",
        "An assignment to `labels[…]` writes into the caller's tensor. ignore_index makes it needless.",
        _LOSS_LINE,
    ),
    Mistake(
        "no gradient",
        lambda lo, la, p: _loss()(lo, la, p).detach(),
        "The loss is right, but no gradient flows back to the logits.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
        _LOSS_LINE,
    ),
)


_LOSS_PROPERTIES = (
    changes_an_input(),
    left_to_chance(_LOSS_TWO),
    Property(
        "not a number",
        lambda seen: bool(seen[_LOSS_TWO]["loss"].isfinite().all()),
        "Your loss is NaN or infinite for ordinary logits.",
        "Is a logarithm of 0 or of a negative number taken, or −∞ multiplied by 0?",
    ),
    Property(
        "wrong for one token",
        lambda seen: agrees(seen, _loss_of_one_token, LOSS.reference),
        "Even for one single token your loss is not −log softmax(logits)[label].",
        "By hand: softmax over the ids, the share of the label, its natural logarithm, minus. Are logits or labels "
        "changed before it, or is it another loss?",
    ),
    Property(
        "wrong without padding",
        lambda seen: agrees(seen, _loss_without_padding, LOSS.reference),
        "Right for one token, wrong for several, even without any padding.",
        "All tokens of all sentences count alike: are their losses put together in another way than by a mean, or does "
        "an axis stand in another's place?",
    ),
    Property(
        "another place of the padding",
        lambda seen: (
            not agrees(seen, _loss_of_two_sentences, LOSS.reference)
            or agrees(seen, _loss_with_padding_elsewhere, LOSS.reference)
        ),
        "Right where padding stands at the end of the rows; wrong where it stands elsewhere.",
        "Do you count the real tokens of a row and take as many from the left? Ask each label: is it pad_id?",
    ),
    Property(
        "more padding changes the loss",
        lambda seen: torch.allclose(seen[_LOSS_TWO]["loss"], seen[_LOSS_MORE]["loss"], atol=1e-3),
        "Right without padding; but more padding changes your loss.",
        "Padding must be missing from the sum, and from the number that you divide by.",
    ),
    Property(
        "wrong with padding",
        lambda seen: agrees(seen, _loss_of_two_sentences, LOSS.reference),
        "Right without padding, wrong with it: the sentences have unlike lengths here.",
        "All real tokens of the batch count alike, in whatever sentence they stand.",
    ),
    Property(
        "another id",
        lambda seen: agrees(seen, _loss_with_another_id_of_the_padding, LOSS.reference),
        "Right where the padding has the id 0; wrong with another pad_id.",
        "Does a 0, a `>`, or the truth of an id stand where `!= pad_id` belongs?",
    ),
    Property(
        "stops where the id is outside the vocabulary",
        lambda seen: all(name in seen for name in (_LOSS_OUTSIDE, _LOSS_ABOVE)),
        "Right with an id of the vocabulary; stops where pad_id is none of its ids.",
        "pad_id may be −100, or V and more: no logit has such an index. Leave padding out before you look labels up, "
        "or put any id in its place first.",
    ),
    Property(
        "an id outside the vocabulary",
        lambda seen: (
            agrees(seen, _loss_with_an_id_outside_the_vocabulary, LOSS.reference)
            and agrees(seen, _loss_with_an_id_above_the_vocabulary, LOSS.reference)
        ),
        "Right with an id of the vocabulary; wrong where pad_id is none of its ids.",
        "pad_id may be −100, or V and more. A negative index counts from the end, and a clamp makes words of padding.",
    ),
    Property(
        "no number for large logits",
        lambda seen: all(bool(seen[name]["loss"].isfinite().all()) for name in (_LOSS_LARGE, _LOSS_UNLIKELY)),
        "Right for ordinary logits; very large ones give NaN or infinity.",
        "log_softmax is safe: it never forms the exponential alone, nor the logarithm of a vanished share.",
    ),
    Property(
        "wrong for large logits",
        lambda seen: (
            agrees(seen, _loss_of_large_logits, LOSS.reference)
            and agrees(seen, _loss_of_unlikely_labels, LOSS.reference)
        ),
        "Right for ordinary logits; wrong for very large ones, or for unlikely labels.",
        "Are logits cut off, or is a small number added before a logarithm? log_softmax needs neither.",
    ),
    no_gradient("loss gradients", "the logits"),
)


LOSS: Exercise = Exercise(
    id="05.masked_mean_loss",
    title="A loss that padding cannot change",
    stub=LOSS_STUB,
    reference=_loss(),
    experiments=(
        _loss_of_two_sentences,
        _loss_of_one_token,
        _loss_without_padding,
        _loss_with_more_padding,
        _loss_with_another_id_of_the_padding,
        _loss_with_an_id_outside_the_vocabulary,
        _loss_with_an_id_above_the_vocabulary,
        _loss_with_padding_elsewhere,
        _loss_of_one_sentence,
        _loss_of_a_cube,
        _loss_of_single_tokens,
        _loss_of_large_logits,
        _loss_of_unlikely_labels,
        _loss_gradients,
    ),
    mistakes=_LOSS_MISTAKES,
    properties=_LOSS_PROPERTIES,
    difficulty=2,
    importance=5,
    minutes=15,
)
