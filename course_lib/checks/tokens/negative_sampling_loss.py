"""Exercise 02.negative_sampling_loss: how word2vec learns from what does not stand near.

V vocab_size · D d_model · N pairs · K negatives
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import (
    agrees,
    left_to_chance,
    no_gradient,
    not_finite,
    unchanged,
    unlike,
)

# ── 02.negative_sampling_loss ────────────────────────────────────────────────────────────────────────

LOSS_STUB = '''
def negative_sampling_loss(words, contexts, centres, neighbours, negatives):
    """Measure how badly two tables tell neighbours from words that were drawn: word2vec's loss.

    Args:
        words: the table of the centres, (V, D).
        contexts: the table of the neighbours and of the negatives, (V, D).
        centres, neighbours: the ids of N pairs, (N,) each.
        negatives: the ids of K words drawn for each pair, (N, K). Each place counts, also where a word
            was drawn twice, or is the pair's own centre or neighbour.

    Returns:
        The mean over the pairs of  -[ log σ(w·c) + Σ_k log σ(-w·n_k) ],  a scalar. For a pair, w is its
        centre's row of words; c and n_k are its neighbour's and its negatives' rows of contexts.
        The dot products may be as large as 1000 or as low as -1000. The inputs stay as they were,
        and gradients flow back to both tables.
    """
'''


def _drawn_ids(n_words: int, *shape: int, seed: int) -> Tensor:
    return torch.randint(n_words, shape, generator=torch.Generator().manual_seed(seed))


def _a_case(n_words: int, width: int, n: int, k: int, seed: int, std: float = 1.0) -> tuple[Tensor, ...]:
    """Two tables, N pairs and their negatives: never the neighbour, and no word twice in a row."""
    words, contexts = (
        numbers(n_words, width, seed=seed, std=std),
        numbers(n_words, width, seed=seed + 1, std=std),
    )
    order = torch.stack(
        [torch.randperm(n_words, generator=torch.Generator().manual_seed(seed + i)) for i in range(n)]
    )
    return words, contexts, _drawn_ids(n_words, n, seed=seed), order[:, 0], order[:, 1 : k + 1]


def _loss(candidate: Any, case: tuple[Tensor, ...]) -> Tensor:
    loss = a_tensor(a_function(candidate)(*case))
    return loss.reshape(()) if loss.numel() == 1 else loss


def _loss_of_three_pairs(candidate: Any) -> Seen:
    case = _a_case(7, 4, 3, 2, seed=40)
    given = tuple(thing.clone() for thing in case)
    loss, again = _loss(candidate, given), _loss(candidate, tuple(thing.clone() for thing in case))
    changed = any(not torch.equal(one, other) for one, other in zip(given, case, strict=True))
    return {
        "loss": loss,
        "input changed": yes(changed),
        "second call differs": yes(unlike(loss, again)),
    }


def _loss_of_one_pair(candidate: Any) -> Seen:
    return {
        "loss with one negative": _loss(candidate, _a_case(5, 3, 1, 1, seed=50)),
        "loss with four negatives": _loss(candidate, _a_case(5, 3, 1, 4, seed=52)),
    }


def _loss_of_several_pairs(candidate: Any) -> Seen:
    return {
        "loss with one negative": _loss(candidate, _a_case(9, 2, 5, 1, seed=60)),
        "loss with as many negatives as pairs": _loss(candidate, _a_case(9, 4, 4, 4, seed=70)),
        "loss with one number a word": _loss(candidate, _a_case(6, 1, 2, 3, seed=80)),
    }


def _loss_of_tables_of_zeros(candidate: Any) -> Seen:
    words, contexts, *ids = _a_case(7, 4, 3, 2, seed=40)
    return {
        "loss with contexts of zeros": _loss(candidate, (words, torch.zeros_like(contexts), *ids)),
        "loss with words of zeros": _loss(candidate, (torch.zeros_like(words), contexts, *ids)),
    }


def _scored(positive: float, negative: float) -> tuple[Tensor, ...]:
    """Tables of one number for which the neighbours and the negatives have the given scores."""
    ids = torch.tensor([0, 1])
    contexts = torch.tensor([[positive], [positive], [negative], [negative], [negative]])
    return torch.ones(5, 1), contexts, ids, ids, torch.tensor([[2, 3, 4], [4, 2, 3]])


def _loss_with_negatives_that_are_no_strangers(candidate: Any) -> Seen:
    """A negative may be the centre, the neighbour, or stand twice: its term counts all the same."""
    words, contexts, *_ = _a_case(7, 4, 3, 2, seed=45)
    centres, neighbours = torch.tensor([0, 3, 5]), torch.tensor([1, 3, 2])
    drawn = {
        "the centre": torch.tensor([[0, 4], [6, 3], [5, 1]]),
        "the neighbour": torch.tensor([[1, 4], [3, 6], [6, 2]]),
        "a word twice": torch.tensor([[4, 4], [6, 6], [1, 1]]),
    }
    return {
        f"loss, {what} among the negatives": _loss(
            candidate, (words, contexts, centres, neighbours, negatives)
        )
        for what, negatives in drawn.items()
    }


def _loss_of_long_rows(candidate: Any) -> Seen:
    case = _a_case(7, 4, 3, 2, seed=46, std=8.0)
    given = tuple(thing.clone() for thing in case)
    loss = _loss(candidate, given)
    changed = any(not torch.equal(one, other) for one, other in zip(given, case, strict=True))
    return {"loss": loss, "input changed": yes(changed)}


def _loss_by_the_scores(candidate: Any) -> Seen:
    """Only the neighbours' scores move, then only the negatives'."""
    return {
        "loss with neighbours at -2": _loss(candidate, _scored(-2.0, -0.5)),
        "loss with neighbours at 1": _loss(candidate, _scored(1.0, -0.5)),
        "loss with negatives at -2": _loss(candidate, _scored(0.5, -2.0)),
        "loss with negatives at 1": _loss(candidate, _scored(0.5, 1.0)),
    }


def _loss_with_large_scores(candidate: Any) -> Seen:
    return {
        "loss, neighbours at -1000": _loss(candidate, _scored(-1000.0, -3.0)),
        "loss, neighbours at 1000": _loss(candidate, _scored(1000.0, 0.1)),
        "loss, negatives at 1000": _loss(candidate, _scored(0.2, 1000.0)),
        "loss, negatives at -1000": _loss(candidate, _scored(0.4, -1000.0)),
        "loss, all wrong": _loss(candidate, _scored(-40.0, 40.0)),
    }


def _loss_gradients(candidate: Any) -> Seen:
    words, contexts, *ids = _a_case(7, 4, 3, 2, seed=90)
    leaves, copies = watched(words, contexts)
    loss = _loss(candidate, (*copies, *ids))
    return gradients(loss, {"words": leaves[0], "contexts": leaves[1]})


def _losing(
    rows: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None,
    *,
    positive: Callable[[Tensor], Tensor] = F.logsigmoid,
    negative: Callable[[Tensor], Tensor] = lambda far: F.logsigmoid(-far),
    over_negatives: Callable[[Tensor], Tensor] = lambda losses: losses.sum(-1),
    over_pairs: Callable[[Tensor], Tensor] = lambda losses: losses.mean(),
    score: Callable[[Tensor, Tensor], Tensor] = lambda one, other: (one * other).sum(-1),
) -> Any:
    """The loss with one part exchanged.

    `rows(words, contexts, centres, neighbours, negatives)` looks up w, c and n; `score` compares two rows;
    `positive` and `negative` are the terms of a score; then comes what is added up or averaged.
    """

    def negative_sampling_loss(
        words: Tensor, contexts: Tensor, centres: Tensor, neighbours: Tensor, negatives: Tensor
    ) -> Tensor:
        if rows is None:
            w, c, n = words[centres], contexts[neighbours], contexts[negatives]
        else:
            w, c, n = rows(words, contexts, centres, neighbours, negatives)
        near, far = score(w, c), score(w.unsqueeze(1), n)  # (N,), (N, K)
        return -over_pairs(positive(near) + over_negatives(negative(far)))

    return negative_sampling_loss


def _softmax_loss(
    words: Tensor, contexts: Tensor, centres: Tensor, neighbours: Tensor, negatives: Tensor
) -> Tensor:
    drawn = torch.cat([neighbours[:, None], negatives], dim=1)  # (N, 1 + K)
    scores = (words[centres].unsqueeze(1) * contexts[drawn]).sum(-1)
    return -scores.log_softmax(-1)[:, 0].mean()


def _all_against_all(
    words: Tensor, contexts: Tensor, centres: Tensor, neighbours: Tensor, negatives: Tensor
) -> Tensor:
    w, c, n = words[centres], contexts[neighbours], contexts[negatives]
    near = F.logsigmoid(w @ c.T).mean()
    far = F.logsigmoid(-(w.unsqueeze(1) * n).sum(-1)).sum(-1).mean()
    return -(near + far)


def _everybodys_negatives(
    words: Tensor, contexts: Tensor, centres: Tensor, neighbours: Tensor, negatives: Tensor
) -> Tensor:
    w, c, n = words[centres], contexts[neighbours], contexts[negatives.flatten()]
    near = F.logsigmoid((w * c).sum(-1))
    return -(near + F.logsigmoid(-w @ n.T).sum(-1)).mean()


def _neighbour_against_negatives(
    words: Tensor, contexts: Tensor, centres: Tensor, neighbours: Tensor, negatives: Tensor
) -> Tensor:
    w, c, n = words[centres], contexts[neighbours], contexts[negatives]
    near = F.logsigmoid((w * c).sum(-1))
    return -(near + F.logsigmoid(-(c.unsqueeze(1) * n).sum(-1)).sum(-1)).mean()


def _number_by_number(
    words: Tensor, contexts: Tensor, centres: Tensor, neighbours: Tensor, negatives: Tensor
) -> Tensor:
    w, c, n = words[centres], contexts[neighbours], contexts[negatives]
    near = F.logsigmoid(w * c).sum(-1)
    return -(near + F.logsigmoid(-w.unsqueeze(1) * n).sum((-1, -2))).mean()


_SUM_LINE = "loss = -(F.logsigmoid(near) + F.logsigmoid(-far).sum(-1)).mean()"
_ROWS_LINE = "w, c, n = words[centres], contexts[neighbours], contexts[negatives]"
_ONE_TABLE = (
    "Centres and neighbours come from the same table; there are two.",
    "A word hardly ever stands beside itself. With one table its row could not agree with itself, as it must.",
    _ROWS_LINE,
)
_UNSAFE = (
    "Very large or very low scores give infinity in place of a loss.",
    "sigmoid(-1000) is 0 and its logarithm -infinity; exp(1000) is infinite. Which function computes both in one?",
    "F.logsigmoid(x), in place of torch.log(torch.sigmoid(x))",
)

_LEFT_OUT = (
    "All terms have their place in the sum over k, whatever word was drawn. Is there a mask?",
    _SUM_LINE,
)


def _leaving_out(what: str) -> Any:
    """The loss without the negatives that equal the pair's centre or neighbour."""

    def negative_sampling_loss(
        words: Tensor, contexts: Tensor, centres: Tensor, neighbours: Tensor, negatives: Tensor
    ) -> Tensor:
        own = {"centre": centres, "neighbour": neighbours}[what].unsqueeze(-1)
        w, c, n = words[centres], contexts[neighbours], contexts[negatives]
        far = F.logsigmoid(-(w.unsqueeze(1) * n).sum(-1)).masked_fill(negatives == own, 0.0)
        return -(F.logsigmoid((w * c).sum(-1)) + far.sum(-1)).mean()

    return negative_sampling_loss


_LOSS_MISTAKES = (
    Mistake(
        "the centre among the negatives is left out",
        _leaving_out("centre"),
        "You leave out negatives that are the pair's own centre; each place counts.",
        *_LEFT_OUT,
    ),
    Mistake(
        "the neighbour among the negatives is left out",
        _leaving_out("neighbour"),
        "You leave out negatives that are the pair's own neighbour; each place counts.",
        *_LEFT_OUT,
    ),
    Mistake(
        "the first pair alone",
        _losing(over_pairs=lambda losses: losses[0]),
        "Only the first pair is in your loss; the mean over all pairs is asked for.",
        "Is there an index [0], or a `return` inside a loop?",
        _SUM_LINE,
    ),
    Mistake(
        "the hardest negative alone",
        _losing(over_negatives=lambda losses: losses.min(-1).values),
        "Only the negative with the highest score is in your loss; all are added up.",
        "The sum over k runs over all K negatives of a pair.",
        _SUM_LINE,
    ),
    Mistake(
        "σ twice",
        _losing(
            positive=lambda near: F.logsigmoid(near.sigmoid()),
            negative=lambda far: F.logsigmoid(-far.sigmoid()),
        ),
        "σ is applied twice.",
        "logsigmoid, and losses “with logits”, take the plain scores.",
        _SUM_LINE,
    ),
    Mistake(
        "the minus is missing",
        _losing(over_pairs=lambda losses: -losses.mean()),
        "The sign of your loss is turned: it is negative, and training would make it worse.",
        "A logarithm of a number below 1 is negative. What makes a loss of it?",
        _SUM_LINE,
    ),
    Mistake(
        "the negatives are not negated",
        _losing(negative=F.logsigmoid),
        "Your loss falls when the negatives' scores rise: the minus inside σ is missing.",
        "The model should say no to a drawn word: σ(-w·n) is how sure it is of that.",
        _SUM_LINE,
    ),
    Mistake(
        "the neighbour is negated",
        _losing(positive=lambda near: F.logsigmoid(-near)),
        "Your loss falls when the neighbour's score falls: there is a minus too many.",
        "The model should say yes to a neighbour: log σ(w·c).",
        _SUM_LINE,
    ),
    Mistake(
        "neighbours and negatives exchanged",
        _losing(positive=lambda near: F.logsigmoid(-near), negative=F.logsigmoid),
        "Yes and no are exchanged: your loss pushes neighbours away, and pulls negatives.",
        "log σ(w·c) for the neighbour, log σ(-w·n) for each negative.",
        _SUM_LINE,
    ),
    Mistake(
        "the negatives are subtracted",
        _losing(negative=lambda far: -F.logsigmoid(-far)),
        "The negatives' terms are subtracted; both terms have the same sign.",
        "-[a + b] is -a - b.",
        _SUM_LINE,
    ),
    Mistake(
        "the negatives have a minus before the logarithm",
        _losing(negative=lambda far: -F.logsigmoid(far)),
        "The minus of the negatives stands before the logarithm; it belongs inside σ.",
        "log σ(-x) is not -log σ(x).",
        _SUM_LINE,
    ),
    Mistake(
        "the mean over the negatives",
        _losing(over_negatives=lambda losses: losses.mean(-1)),
        "The negatives of a pair are averaged; they should be added up.",
        "The formula has a sum over k.",
        _SUM_LINE,
    ),
    Mistake(
        "the sum over the pairs",
        _losing(over_pairs=lambda losses: losses.sum()),
        "The pairs are added up; the mean is asked for.",
        "With a sum, twice as many pairs would make steps twice as large.",
        _SUM_LINE,
    ),
    Mistake(
        "the negatives of all pairs are added up",
        lambda *case: _losing(over_negatives=lambda losses: losses.sum().expand(len(losses)))(*case),
        "The negatives' terms are added up over all pairs; each pair has its own.",
        "Sum over the negatives of one pair, `.sum(-1)`, then take the mean over the pairs.",
        _SUM_LINE,
    ),
    Mistake(
        "the neighbour counts K times",
        lambda *case: _losing(positive=lambda near: case[4].size(1) * F.logsigmoid(near))(*case),
        "The neighbour's term counts once for each negative; it counts once.",
        "Was (N, 1) added to (N, K), and summed then? Sum over the negatives first.",
        _SUM_LINE,
    ),
    Mistake(
        "half of it",
        _losing(over_pairs=lambda losses: losses.mean() / 2),
        "Your loss is half as large as it should be.",
        "The two terms are added up, not averaged.",
        _SUM_LINE,
    ),
    Mistake(
        "half of the two means",
        _losing(over_negatives=lambda losses: losses.mean(-1), over_pairs=lambda losses: losses.mean() / 2),
        "You average over a pair's negatives, and over the two terms; both are sums.",
        "Averages inside averages: write the formula's Σ as .sum(-1), and take one mean, over the pairs.",
        _SUM_LINE,
    ),
    Mistake(
        "not averaged",
        _losing(over_pairs=lambda losses: losses),
        "You return one loss for each pair; the mean over the pairs is asked for.",
        "`.mean()` makes one number of them.",
        _SUM_LINE,
    ),
    Mistake(
        "the mean over all terms",
        lambda words, contexts, centres, neighbours, negatives: (
            _losing()(words, contexts, centres, neighbours, negatives) / (1 + negatives.size(1))
        ),
        "You average over all terms of a pair; they should be added up.",
        "F.binary_cross_entropy_with_logits averages over everything. A pair has 1 + K terms.",
        _SUM_LINE,
    ),
    Mistake(
        "one table, the words",
        _losing(lambda words, contexts, i, j, k: (words[i], words[j], words[k])),
        *_ONE_TABLE,
    ),
    Mistake(
        "one table, the contexts",
        _losing(lambda words, contexts, i, j, k: (contexts[i], contexts[j], contexts[k])),
        *_ONE_TABLE,
    ),
    Mistake(
        "tables exchanged",
        _losing(lambda words, contexts, i, j, k: (contexts[i], words[j], words[k])),
        "The tables are exchanged: centres are looked up in words, the others in contexts.",
        "What is kept after training is the table of the centres.",
        _ROWS_LINE,
    ),
    Mistake(
        "negatives from the words",
        _losing(lambda words, contexts, i, j, k: (words[i], contexts[j], words[k])),
        "The negatives are looked up in words; they belong to contexts, as the neighbours.",
        "A drawn word stands where a neighbour could have stood.",
        _ROWS_LINE,
    ),
    Mistake(
        "neighbours from the words",
        _losing(lambda words, contexts, i, j, k: (words[i], words[j], contexts[k])),
        "The neighbours are looked up in words; they belong to contexts, as the negatives.",
        "The second table says what a word is as somebody's neighbour.",
        _ROWS_LINE,
    ),
    Mistake(
        "centres and neighbours exchanged",
        _losing(lambda words, contexts, i, j, k: (words[j], contexts[i], contexts[k])),
        "Centres and neighbours are exchanged.",
        "Which ids index which table?",
        _ROWS_LINE,
    ),
    Mistake(
        "the neighbour against the negatives",
        _neighbour_against_negatives,
        "The negatives are scored against the neighbour; they belong to the centre.",
        "Every score compares the centre's row with a row of contexts.",
        "far = w·n, with w = words[centres]",
    ),
    Mistake(
        "a softmax over the drawn words",
        _softmax_loss,
        "This is a softmax over the neighbour and its negatives; here each is judged alone.",
        "A sigmoid answers yes or no for one word, whatever the others score.",
        _SUM_LINE,
    ),
    Mistake(
        "a softmax over the vocabulary",
        lambda words, contexts, centres, neighbours, negatives: F.cross_entropy(
            words[centres] @ contexts.T, neighbours
        ),
        "This is a softmax over the whole vocabulary; the negatives are not used.",
        "Negative sampling avoids just this: it looks at 1 + K words in place of V.",
        _SUM_LINE,
    ),
    Mistake(
        "no logarithm",
        _losing(positive=torch.sigmoid, negative=lambda far: torch.sigmoid(-far)),
        "The logarithm is missing: you add up probabilities.",
        "Log probabilities are what adds up.",
        _SUM_LINE,
    ),
    Mistake(
        "no sigmoid",
        _losing(positive=lambda near: near, negative=lambda far: -far),
        "The sigmoid and its logarithm are missing: you add up scores.",
        "Without them the loss has no lower end, and the rows grow without limit.",
        _SUM_LINE,
    ),
    Mistake(
        "log of sigmoid",
        _losing(positive=lambda x: x.sigmoid().log(), negative=lambda x: (-x).sigmoid().log()),
        *_UNSAFE,
    ),
    Mistake(
        "log of one minus sigmoid",
        _losing(positive=lambda x: x.sigmoid().log(), negative=lambda x: (1 - x.sigmoid()).log()),
        *_UNSAFE,
    ),
    Mistake(
        "log of one minus sigmoid, for the negatives",
        _losing(negative=lambda x: (1 - x.sigmoid()).log()),
        *_UNSAFE,
    ),
    Mistake("log of sigmoid, for the neighbour", _losing(positive=lambda x: x.sigmoid().log()), *_UNSAFE),
    Mistake(
        "a small number is added",
        _losing(
            positive=lambda x: (x.sigmoid() + 1e-9).log(), negative=lambda x: ((-x).sigmoid() + 1e-9).log()
        ),
        "A small number keeps the logarithm finite, but large scores get a wrong loss.",
        "A score of -1000 should cost 1000. F.logsigmoid needs no small number.",
        _SUM_LINE,
    ),
    Mistake(
        "scores are cut off",
        _losing(
            positive=lambda x: F.logsigmoid(x.clamp(-10, 10)),
            negative=lambda x: F.logsigmoid(-x.clamp(-10, 10)),
        ),
        "Large scores are cut off, so that they get a wrong loss, and no gradient.",
        "A score of -1000 should cost 1000. F.logsigmoid needs no limit.",
        _SUM_LINE,
    ),
    Mistake(
        "only the neighbour",
        _losing(over_negatives=lambda losses: 0.0 * losses.sum(-1)),
        "The negatives are not in your loss.",
        "Without them, equal rows for all words would be best.",
        _SUM_LINE,
    ),
    Mistake(
        "only the negatives",
        _losing(positive=lambda near: 0.0 * near),
        "The neighbour is not in your loss.",
        "Without it, nothing says which words belong together.",
        _SUM_LINE,
    ),
    Mistake(
        "only the first negative",
        _losing(over_negatives=lambda losses: losses[:, 0]),
        "Only the first negative of each pair is in your loss.",
        "Is there a `return` in a loop, or an index 0?",
        _SUM_LINE,
    ),
    Mistake(
        "the negatives' rows are added up first",
        lambda words, contexts, centres, neighbours, negatives: (
            -(
                F.logsigmoid((words[centres] * contexts[neighbours]).sum(-1))
                + F.logsigmoid(-(words[centres] * contexts[negatives].sum(1)).sum(-1))
            ).mean()
        ),
        "The negatives are added up before σ; each has its own log σ.",
        "The sum over k stands outside: Σ log σ(-w·n_k).",
        _SUM_LINE,
    ),
    Mistake(
        "the negatives' rows are averaged first",
        lambda words, contexts, centres, neighbours, negatives: (
            -(
                F.logsigmoid((words[centres] * contexts[neighbours]).sum(-1))
                + F.logsigmoid(-(words[centres] * contexts[negatives].mean(1)).sum(-1))
            ).mean()
        ),
        "The negatives are averaged before σ; each has its own log σ.",
        "The sum over k stands outside: Σ log σ(-w·n_k).",
        _SUM_LINE,
    ),
    Mistake(
        "all centres against all neighbours",
        _all_against_all,
        "Every centre is scored against every neighbour; each has only its own.",
        "w @ c.T is (N, N). Which numbers of it belong to a pair?",
        "near = (w * c).sum(-1)",
    ),
    Mistake(
        "everybody's negatives",
        _everybodys_negatives,
        "Every centre is scored against the negatives of all pairs; each has its own K.",
        "w @ n.T pairs everything with everything. (N, 1, D) times (N, K, D) keeps the pairs apart.",
        "far = (w.unsqueeze(1) * n).sum(-1)",
    ),
    Mistake(
        "number by number",
        _number_by_number,
        "σ is applied to each product of numbers; the dot product comes first.",
        "w * c is not yet w·c: the D products must be added up before σ.",
        "near = (w * c).sum(-1)",
    ),
    Mistake(
        "cosines",
        _losing(score=lambda one, other: F.cosine_similarity(one, other, dim=-1)),
        "Your scores are cosines; plain dot products are asked for.",
        "Lengths are divided out when neighbours are looked up, after training.",
        "near = (w * c).sum(-1)",
    ),
    Mistake(
        "scaled scores",
        _losing(score=lambda one, other: (one * other).sum(-1) / math.sqrt(one.size(-1))),
        "Your scores are divided by √D; plain dot products are asked for.",
        "The scaling belongs to attention.",
        "near = (w * c).sum(-1)",
    ),
    Mistake(
        "the mean in place of the dot product",
        _losing(score=lambda one, other: (one * other).mean(-1)),
        "Your scores are means of products; a dot product is their sum.",
        "`.sum(-1)`, not `.mean(-1)`.",
        "near = (w * c).sum(-1)",
    ),
    Mistake(
        "logarithm to base 2",
        _losing(over_pairs=lambda losses: losses.mean() / math.log(2)),
        "Your logarithm has base 2; the natural one is asked for.",
        "torch.log and F.logsigmoid are natural logarithms, log2 counts bits.",
        _SUM_LINE,
    ),
    Mistake(
        "no gradient to the contexts",
        _losing(lambda words, contexts, i, j, k: (words[i], contexts.detach()[j], contexts.detach()[k])),
        "The loss is right, but no gradient flows back to contexts.",
        "`.detach()`, `.data` and torch.tensor(…) cut the gradient; both tables learn.",
        _ROWS_LINE,
    ),
    Mistake(
        "no gradient to the words",
        _losing(lambda words, contexts, i, j, k: (words.detach()[i], contexts[j], contexts[k])),
        "The loss is right, but no gradient flows back to words.",
        "`.detach()`, `.data` and torch.tensor(…) cut the gradient; both tables learn.",
        _ROWS_LINE,
    ),
    Mistake(
        "no gradient through the negatives",
        _losing(lambda words, contexts, i, j, k: (words[i], contexts[j], contexts.detach()[k])),
        "The loss is right, but the negatives' rows of contexts get no gradient.",
        "They learn too: that pushes drawn words away.",
        _ROWS_LINE,
    ),
    Mistake(
        "no gradient at all",
        lambda *case: _losing()(*(thing.detach() for thing in case)),
        "The loss is right, but no gradient flows back to the tables.",
        "`.item()`, `.detach()`, `.data` and torch.tensor(…) cut the gradient: nothing could be learned.",
        _ROWS_LINE,
    ),
)


def _at(seen: dict[str, Seen], name: str) -> float:
    return seen["loss by the scores"][f"loss with {name}"].item()


_CHANGED = (
    "Your code changes the tensors it was given.",
    "`/=`, `+=`, `x[:] =` and methods that end in `_` overwrite the caller's tensor. Make a new one.",
)

_LOSS_PROPERTIES = (
    left_to_chance("loss of three pairs"),
    Property("changes its input", unchanged, *_CHANGED),
    not_finite(lambda seen: seen["loss of three pairs"]["loss"], "losses"),
    Property(
        "a negative loss",
        lambda seen: seen["loss of three pairs"]["loss"].item() > 0,
        "Your loss is negative; -log σ is always positive.",
        "σ is below 1, so its logarithm is negative. Is a minus missing?",
    ),
    Property(
        "the neighbour does not count",
        lambda seen: abs(_at(seen, "neighbours at 1") - _at(seen, "neighbours at -2")) > 1e-4,
        "The neighbours' scores have no influence on your loss.",
        "Is log σ(w·c) in the sum?",
    ),
    Property(
        "the negatives do not count",
        lambda seen: abs(_at(seen, "negatives at 1") - _at(seen, "negatives at -2")) > 1e-4,
        "The negatives' scores have no influence on your loss.",
        "Is Σ log σ(-w·n_k) in the sum?",
    ),
    Property(
        "the neighbour counts the wrong way",
        lambda seen: _at(seen, "neighbours at 1") < _at(seen, "neighbours at -2"),
        "Your loss rises when the neighbours' scores rise; it should fall.",
        "The model should say yes to a neighbour: -log σ(w·c).",
    ),
    Property(
        "the negatives count the wrong way",
        lambda seen: _at(seen, "negatives at 1") > _at(seen, "negatives at -2"),
        "Your loss falls when the negatives' scores rise; it should rise.",
        "The model should say no to a drawn word: -log σ(-w·n).",
    ),
    Property(
        "another function of the scores",
        lambda seen: agrees(seen, _loss_by_the_scores, NEGATIVE_SAMPLING.reference),
        "Your loss is another function of the scores than the formula's.",
        "With all scores 0 each pair costs (1 + K) · ln 2. What does yours cost, and by which factor is it off?",
    ),
    Property(
        "other scores",
        lambda seen: agrees(seen, _loss_of_three_pairs, NEGATIVE_SAMPLING.reference),
        "Your formula is right, but other scores enter it, or some of them do not.",
        "Are all pairs and all negatives in it? Which row of which table meets which? w is a row of words; "
        "neighbours and negatives are rows of contexts.",
    ),
    Property(
        "one pair alone",
        lambda seen: (
            agrees(seen, _loss_of_one_pair, NEGATIVE_SAMPLING.reference)
            and agrees(seen, _loss_of_several_pairs, NEGATIVE_SAMPLING.reference)
        ),
        "Right for three pairs, wrong for one pair, or for one negative a pair.",
        "Does an axis of size 1 disappear by `squeeze()`, or do two axes of equal size get mixed?",
    ),
    Property(
        "no number for large scores",
        lambda seen: all(loss.isfinite().all() for loss in seen["loss with large scores"].values()),
        *_UNSAFE[:2],
    ),
    Property(
        "wrong for large scores",
        lambda seen: agrees(seen, _loss_with_large_scores, NEGATIVE_SAMPLING.reference),
        "Right for ordinary scores, wrong for very large or very low ones.",
        "A neighbour with the score -1000 should cost 1000. Is there a limit, or a small number added?",
    ),
    Property(
        "negatives that are no strangers",
        lambda seen: agrees(seen, _loss_with_negatives_that_are_no_strangers, NEGATIVE_SAMPLING.reference),
        "Right unless a negative stands twice, or is the pair's own centre or neighbour.",
        "All K places count. Is there a set, a `unique` or a mask?",
    ),
    no_gradient("loss gradients", "one of the tables"),
)


NEGATIVE_SAMPLING: Exercise = Exercise(
    id="02.negative_sampling_loss",
    title="The loss of word2vec",
    stub=LOSS_STUB,
    reference=_losing(),
    experiments=(
        _loss_of_three_pairs,
        _loss_of_one_pair,
        _loss_of_several_pairs,
        _loss_of_tables_of_zeros,
        _loss_by_the_scores,
        _loss_with_large_scores,
        _loss_of_long_rows,
        _loss_with_negatives_that_are_no_strangers,
        _loss_gradients,
    ),
    mistakes=_LOSS_MISTAKES,
    properties=_LOSS_PROPERTIES,
    difficulty=3,
    importance=4,
    minutes=20,
)
