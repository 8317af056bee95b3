"""The checks of lesson 02: answers made of words are compared, explained and shown as words."""

import itertools
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.checks import EXERCISES, CheckFailed, check, judge
from course_lib.checks.engine import diagnose
from course_lib.checks.explain import Text, WrongReturn, explain_error, explain_words
from course_lib.checks.probe_text import some_counts, some_pairs, some_words
from course_lib.checks.progress import progress_file


@pytest.fixture(autouse=True)
def own_course_home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))


def merge_left_to_right(word, merges):
    pieces = list(word)
    while places := [i for i in range(len(pieces) - 1) if (pieces[i], pieces[i + 1]) in merges]:
        pieces[places[0] : places[0] + 2] = [pieces[places[0]] + pieces[places[0] + 1]]
    return pieces


# ── what the learner reads ────────────────────────────────────────────────────────────────────────────


def test_a_failed_check_prints_the_call_and_both_answers_as_words(capsys):
    with pytest.raises(CheckFailed) as failed:
        check("02.bpe_encode", merge_left_to_right)
    assert failed.value.message == "You merge from left to right; the merge with the lowest rank comes first."
    assert capsys.readouterr().out.splitlines() == [
        "bpe_encode('abc', [('b', 'c'), ('a', 'b')])",
        "  yours:    ['ab', 'c']",
        "  expected: ['a', 'bc']",
    ]
    kept = json.loads(progress_file().read_text(encoding="utf-8"))
    assert kept["02.bpe_encode"]["mistakes"] == {"left to right": 1}


def test_the_call_that_is_shown_can_be_typed_and_gives_what_is_called_expected():
    diagnosis = diagnose(EXERCISES["02.bpe_encode"], merge_left_to_right)
    assert isinstance(diagnosis.expected, Text)
    scope = {"bpe_encode": EXERCISES["02.bpe_encode"].reference}
    assert eval(diagnosis.expected.call, scope) == diagnosis.expected.gave


def test_of_counts_only_those_that_differ_are_shown():
    got = Text("f()", {("a", "b"): 1, ("b", "c"): 2})
    assert got.beside(Text("f()", {("a", "b"): 1, ("b", "c"): 3, ("c", "d"): 4})) == (
        "('b', 'c'): yours 2, expected 3\n('c', 'd'): yours nothing, expected 4"
    )
    many = Text("f()", {("a", str(i)): 1 for i in range(9)})
    assert many.beside(Text("f()", {})).endswith("and 3 more")


def test_a_very_long_answer_is_cut_when_shown():
    long = Text("f()", ["word"] * 500)
    assert all(len(line) < 230 for line in long.beside(Text("f()", [])).splitlines())


def test_a_difference_that_has_no_name_lies_side_by_side_in_the_hint():
    words = explain_words(Text("f('abc')", ["a", "bc"]), Text("f('abc')", ["ab", "c"]), only_later=True)
    assert words == (
        "right for some inputs only",
        "Right for the first input, wrong for another.",
        "f('abc'): yours: ['a', 'bc'] · expected: ['ab', 'c'].",
    )


def test_texts_differ_by_their_answers_and_not_by_what_was_given():
    assert Text("f()", ["a"], (torch.ones(2),)) == Text("f()", ["a"], (torch.zeros(3),))
    assert Text("f()", ["a"]) != Text("f()", ["b"])


# ── what is taken for words, pairs and counts ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "answer",
    [
        ["ab", "c"],
        ("ab", "c"),
        (piece for piece in ("ab", "c")),
        np.array(["ab", "c"]),
        np.array(["ab", "c"], dtype=object),
        map(str, ("ab", "c")),
    ],
)
def test_a_list_of_words_may_be_anything_that_yields_strings_in_order(answer):
    assert some_words(answer) == ["ab", "c"]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (None, "nothing returned"),
        ("abc", "one string in place of a list"),
        ({"a", "b"}, "a set in place of a list"),
        ({"a": 1}, "a dict in place of a list"),
        (7, "an int in place of a list"),
        ([1, 2], "an int in place of a string"),
        ([("a", 0.5)], "a tuple in place of a string"),
        (torch.ones(2), "a tensor in place of words"),
        ("abc".split, "a method in place of its result"),
    ],
)
def test_what_is_no_list_of_words_is_named(answer, name):
    with pytest.raises(WrongReturn) as refused:
        some_words(answer)
    assert refused.value.name == name and len(refused.value.message) <= 83


def test_a_generator_without_end_is_not_waited_for():
    def words():
        while True:
            yield "a"

    with pytest.raises(WrongReturn, match="no end"):
        some_words(words())


def test_pairs_are_counted_in_any_order_and_may_be_lists_or_tuples():
    one = some_pairs([("a", "b"), ("b", "a"), ("a", "b")], asked="pairs")
    other = some_pairs(iter([["b", "a"], ["a", "b"], ("a", "b")]), asked="pairs")
    assert one == other == {("a", "b"): 2, ("b", "a"): 1}


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({("a", "b")}, "a set in place of a list"),
        (["ab"], "strings in place of pairs"),
        ([("a", "b", "c")], "no pairs"),
        ([("a", ["b"])], "no pairs"),
        ([(0, 1)], "pairs that hold an int"),
        ({"a": ["b"]}, "a dict in place of a list"),
    ],
)
def test_what_is_no_list_of_pairs_is_named(answer, name):
    with pytest.raises(WrongReturn) as refused:
        some_pairs(answer, asked="pairs")
    assert refused.value.name == name and len(refused.value.message) <= 83


def test_counts_may_be_of_any_kind_of_number_and_a_count_of_zero_is_as_none():
    counts = {
        ("a", "b"): 2,
        ("b", "c"): 2.0,
        ("c", "d"): np.int64(2),
        ("d", "e"): torch.tensor(2),
        ("e", "f"): 0,
    }
    assert some_counts(counts, asked="counts") == dict.fromkeys(list(counts)[:4], 2)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ([(("a", "b"), 1)], "a list in place of a dict"),
        ({"ab": 1}, "strings in place of pairs"),
        ({("a", "b"): "1"}, "a count that is no number"),
        ({frozenset("ab"): 1}, "no pairs"),
    ],
)
def test_what_are_no_counts_is_named(answer, name):
    with pytest.raises(WrongReturn) as refused:
        some_counts(answer, asked="counts")
    assert refused.value.name == name and len(refused.value.message) <= 83


@pytest.mark.parametrize(
    ("wrong_line", "name"),
    [
        ("'abc'[3]", "an index past the end"),
        ("min([])", "the best of nothing"),
        ("{}['a']", "a key that is not there"),
        ("{['a']: 1}", "a list as a key"),
        ("[x for x in None]", "None in place of a thing"),
        ("set('ab')[0]", "an index into what has none"),
        ("['a'].index('b')", "a word that is not in the list"),
        ("torch.ones(2) ^ 0.5", "a power with ^"),
        ("F.embedding(torch.tensor([3]), torch.ones(2, 2))", "an id past the table"),
        ("torch.tensor([1, 2]).softmax(0)", "another kind of number"),
    ],
)
def test_exceptions_of_plain_python_are_put_into_words(wrong_line, name):
    with pytest.raises(Exception) as raised:
        eval(wrong_line, {"torch": torch, "F": F})
    assert explain_error(raised.value)[0] == name


# ── answers that are right, in styles that no file here uses ──────────────────────────────────────────


def merge_after_merge(word, merges):
    pieces = [*word]
    for left, right in merges:
        place = 0
        while place < len(pieces) - 1:
            if (pieces[place], pieces[place + 1]) == (left, right):
                pieces[place : place + 2] = [left + right]
            place += 1
    return tuple(pieces)


def merge_by_joined_text(word, merges):
    ranks = {left + right: rank for rank, (left, right) in enumerate(merges)}
    pieces = list(word)
    while True:
        found = [(ranks[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(pieces)) if a + b in ranks]
        if not found:
            return pieces
        place = min(found)[1]
        pieces = pieces[:place] + [pieces[place] + pieces[place + 1]] + pieces[place + 2 :]


def pieces_by_recursion(word, vocab, first=True):
    if not word:
        return []
    for end in reversed(range(1, len(word) + 1)):
        piece = word[:end] if first else "##" + word[:end]
        if piece in vocab:
            rest = pieces_by_recursion(word[end:], vocab, False)
            return rest if rest == ["[UNK]"] else [piece, *rest]
    return ["[UNK]"]


def analogy_by_sums_of_cosines(table, words, a, b, c, k):
    cosines = F.cosine_similarity(table[:, None], table, dim=-1)
    to_a, to_b, to_c = (cosines[words.index(word)] for word in (a, b, c))
    order = (to_b - to_a + to_c).argsort(descending=True)
    return [words[i] for i in order if words[i] not in (a, b, c)][:k]


def pairs_by_distance(sentences, window):
    for words in sentences:
        for distance in range(1, window + 1):
            for left, right in zip(words, words[distance:], strict=False):
                yield right, left
                yield [left, right]


class TwoLayersOneTable(nn.Module):
    """An nn.Embedding and an nn.Linear that share their weight, and keyword-only arguments."""

    def __init__(self, *, vocab_size, d_model):
        super().__init__()
        self.width = d_model
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        nn.init.trunc_normal_(self.head.weight, std=d_model**-0.5)
        self.table = nn.Embedding(vocab_size, d_model)
        self.table.weight = self.head.weight

    def forward(self, tokens):
        return self.table(tokens).mul(self.width**0.5)

    def unembed(self, x):
        return self.head(x)


RIGHT = {
    "02.count_pairs": [
        lambda corpus: (
            c := {
                (a, b): sum(n * sum(p == (a, b) for p in itertools.pairwise(w)) for w, n in corpus.items())
                for a in {s for w in corpus for s in w}
                for b in {s for w in corpus for s in w}
            },
            sorted((-n, p) for p, n in c.items())[0][1] if any(c.values()) else None,
        ),
    ],
    "02.bpe_encode": [merge_after_merge, merge_by_joined_text],
    "02.wordpiece_encode": [pieces_by_recursion],
    "02.embed": [
        lambda table, ids: F.embedding(ids, table),
        lambda table, ids: F.one_hot(ids, len(table)).to(table) @ table,
        lambda table, ids: torch.stack([torch.stack([table[i] for i in row]) for row in ids]),
    ],
    "02.nearest": [
        lambda table, words, query, k: [
            words[i]
            for i in F.cosine_similarity(table, table[words.index(query)], dim=1)
            .index_fill(0, torch.tensor(words.index(query)), -2.0)
            .topk(k)
            .indices
        ],
        lambda table, words, query, k: sorted(
            (word for word in words if word != query),
            key=lambda word: (
                F.normalize(table)[words.index(word)].dist(F.normalize(table)[words.index(query)]).item()
            ),
        )[:k],
    ],
    "02.analogy": [analogy_by_sums_of_cosines],
    "02.skip_gram_pairs": [pairs_by_distance],
    "02.negative_shares": [
        lambda counts, neighbour, power=0.75: (
            (counts.double().log() * power).index_fill(0, torch.tensor(neighbour), -torch.inf).softmax(0)
        ),
        lambda counts, neighbour, power=0.75: F.normalize(
            (counts / counts.sum()) ** power * (torch.arange(len(counts)) != neighbour), p=1, dim=0
        ),
    ],
    "02.negative_sampling_loss": [
        lambda words, contexts, centres, neighbours, negatives: (
            F.softplus(-torch.einsum("nd,nd->n", words[centres], contexts[neighbours]))
            + F.softplus(torch.einsum("nd,nkd->nk", words[centres], contexts[negatives])).sum(1)
        ).mean(),
        lambda words, contexts, centres, neighbours, negatives: (
            F.binary_cross_entropy_with_logits(
                (words[centres] @ contexts.T).gather(1, torch.cat([neighbours[:, None], negatives], 1)),
                F.one_hot(torch.zeros_like(centres), 1 + negatives.size(1)).float(),
                reduction="sum",
            )
            / len(centres)
        ),
    ],
    "02.tied_table": [TwoLayersOneTable],
    "02.patches": [
        lambda images, size: F.unfold(images, size, stride=size).transpose(1, 2),
        lambda images, size: F.pixel_unshuffle(images, size).flatten(2).mT,
        lambda images, size: torch.stack(
            [piece.flatten(1) for row in images.split(size, 2) for piece in row.split(size, 3)], 1
        ),
    ],
}


@pytest.mark.parametrize(("exercise_id", "answer"), [(key, answer) for key in RIGHT for answer in RIGHT[key]])
def test_a_right_answer_in_an_unusual_style_passes(exercise_id, answer):
    assert judge(exercise_id, answer).passed


def test_going_through_the_merges_once_is_right_for_merges_that_a_training_learned():
    """The check refuses neither way, for no training learns merges on which they differ."""
    best, by_rank = EXERCISES["02.count_pairs"].reference, EXERCISES["02.bpe_encode"].reference
    generator = torch.Generator().manual_seed(2)

    def words(n):
        return ["".join("abc"[i] for i in torch.randint(3, (7,), generator=generator)) for _ in range(n)]

    for _ in range(40):
        corpus = {tuple(word): 1 + number for number, word in enumerate(words(6))}
        merges = []
        for _ in range(8):
            merges.append(best({merge_after_merge(word, merges): n for word, n in corpus.items()})[1])
            if merges[-1] is None:
                merges.pop()
                break
        for word in words(5):
            assert (
                list(merge_after_merge(word, merges))
                == by_rank(word, merges)
                == merge_by_joined_text(word, merges)
            )


# ── what wrong answers are made of ────────────────────────────────────────────────────────────────────


def cut_into_patches(images, size):
    return F.unfold(images, size, stride=size).transpose(1, 2)


def count_all(corpus, spelled=str):
    counts = {}
    for word, times in corpus.items():
        for left, right in itertools.pairwise(word):
            pair = (spelled(left), spelled(right))
            counts[pair] = counts.get(pair, 0) + times
    return counts, min(counts, key=lambda pair: (-counts[pair], pair), default=None)


def without_short_words(corpus):
    for word in [word for word in corpus if len(word) < 2]:
        del corpus[word]
    return count_all(corpus)


def up_to_a_hundred_letters(word, vocab):
    return ["[UNK]"] if len(word) > 100 else EXERCISES["02.wordpiece_encode"].reference(word, vocab)


def shares_of(weights, neighbour):
    weights = weights.clone()
    weights[neighbour] = 0
    return weights / weights.sum()


def a_table_that_begins_with(draw):
    class TiedEmbedding(nn.Module):
        def __init__(self, vocab_size, d_model):
            super().__init__()
            self.weight = nn.Parameter(draw(vocab_size, d_model) / d_model**0.5)

        def forward(self, tokens):
            return self.weight[tokens] * self.weight.size(1) ** 0.5

        def unembed(self, x):
            return x @ self.weight.T

    return TiedEmbedding


seeded_table = a_table_that_begins_with(
    lambda n, d: torch.randn(n, d, generator=torch.Generator().manual_seed(0))
)
one_row_for_all = a_table_that_begins_with(lambda n, d: torch.randn(1, d).repeat(n, 1))


# ── wrong answers that no mistake in the tables describes ─────────────────────────────────────────────


@pytest.mark.parametrize(
    ("exercise_id", "answer", "part"),
    [
        ("02.count_pairs", lambda corpus: {}, "counts alone"),
        ("02.count_pairs", lambda corpus: ("l", "o"), "best pair alone"),
        (
            "02.bpe_encode",
            lambda word, merges: list(reversed(merge_after_merge(word, merges))),
            "not the word",
        ),
        ("02.bpe_encode", lambda word, merges: [word[:1], word[1:]], "made by no merge|empty"),
        ("02.wordpiece_encode", lambda word, vocab: ["<unk>"], "not in the vocabulary"),
        ("02.embed", lambda table, ids: table[ids].tanh(), "no rows of the table"),
        ("02.embed", lambda table, ids: table[ids.unique(return_inverse=True)[1]], "some are not"),
        ("02.nearest", lambda table, words, query, k: [query] * k, "query itself"),
        ("02.skip_gram_pairs", lambda sentences, window: [("we", "eat")], "no word of the sentences"),
        (
            "02.negative_shares",
            lambda counts, neighbour, power=0.75: counts.float().softmax(0),
            "its own negative",
        ),
        ("02.negative_shares", lambda counts, neighbour, power=0.75: counts / 0, "NaN"),
        (
            "02.negative_sampling_loss",
            lambda words, contexts, centres, neighbours, negatives: (
                words[centres] * contexts[neighbours]
            ).sum(),
            "negative",
        ),
        ("02.tied_table", lambda vocab_size, d_model: nn.LayerNorm(d_model), "no parameter of shape"),
        (
            "02.tied_table",
            lambda vocab_size, d_model: nn.Embedding(vocab_size, d_model),
            "no method called unembed|√D",
        ),
        ("02.patches", lambda images, size: images.flatten(2).transpose(1, 2), "shape"),
        ("02.patches", lambda images, size: cut_into_patches(images, size).sort(-1).values, "rising"),
        ("02.count_pairs", without_short_words, "changes the corpus"),
        (
            "02.count_pairs",
            lambda corpus: count_all({w: n for w, n in corpus.items()}, str.lower),
            "a symbol that",
        ),
        ("02.count_pairs", lambda corpus: (count_all(corpus)[0], (("a", "b"), 3)), "together with its count"),
        ("02.count_pairs", lambda corpus: (count_all(corpus)[0], ()), "None is asked for"),
        ("02.wordpiece_encode", up_to_a_hundred_letters, "220 letters"),
        ("02.skip_gram_pairs", lambda sentences, window: [("<s>", "we")], "no word of the sentences"),
        ("02.nearest", lambda table, words, query, k: [words.pop()] * k, "list of words"),
        (
            "02.negative_shares",
            lambda counts, neighbour, power=0.75: shares_of(counts.float() ** power + 0.002, neighbour),
            "a count is 0",
        ),
        ("02.tied_table", seeded_table, "begins with the same numbers"),
        ("02.tied_table", one_row_for_all, "begin with the same numbers"),
    ],
)
def test_an_unknown_mistake_is_told_by_its_symptom(exercise_id, answer, part):
    verdict = judge(exercise_id, answer)
    assert not verdict.passed
    assert any(words in verdict.message for words in part.split("|")), verdict


def test_a_power_with_a_caret_is_not_called_unwritten():
    verdict = judge("02.negative_shares", lambda counts, neighbour, power=0.75: counts.float() ^ power)
    assert verdict.mistake == "a power with ^"


def test_numbers_that_are_nan_both_times_are_not_called_chance():
    verdict = judge("02.negative_shares", lambda counts, neighbour, power=0.75: counts * torch.nan)
    assert verdict.mistake == "not a number"


def test_rank_0_as_a_false_value_is_not_called_a_walk_from_the_right():
    def bpe_encode(word, merges):
        pieces = list(word)
        while True:
            best = where = None
            for i, pair in enumerate(itertools.pairwise(pieces)):
                if pair in merges and (not best or merges.index(pair) < best):
                    best, where = merges.index(pair), i
            if where is None:
                return pieces
            pieces[where : where + 2] = [pieces[where] + pieces[where + 1]]

    assert judge("02.bpe_encode", bpe_encode).mistake == "rank 0 is replaced"


def test_a_best_pair_by_places_is_not_called_the_smallest_of_all():
    def count_pairs(corpus):
        return count_all(corpus)[0], count_all(dict.fromkeys(corpus, 1))[1]

    assert judge("02.count_pairs", count_pairs).mistake == "the most places"


@pytest.mark.parametrize("exercise_id", ["02.nearest", "02.analogy"])
def test_words_taken_out_of_the_callers_list_are_not_called_a_changed_table(exercise_id):
    def removing(table, words, *asked):
        found = EXERCISES[exercise_id].reference(table, list(words), *asked)
        for word in asked[:-1]:
            words.remove(word)
        return found

    assert judge(exercise_id, removing).mistake == "changes the words"


def test_counts_are_shown_as_whole_numbers_and_the_call_says_which_result_is_meant(capsys):
    with pytest.raises(CheckFailed):
        check("02.count_pairs", lambda corpus: count_all(dict.fromkeys(corpus, 1)))
    assert capsys.readouterr().out.splitlines()[:2] == [
        "count_pairs({('l', 'o', 'w'): 5, ('l', 'o', 'g'): 2})[0]",
        "  ('l', 'o'): yours 2, expected 7",
    ]


@pytest.mark.parametrize("exercise_id", ["02.nearest", "02.analogy"])
def test_the_first_call_about_a_table_can_be_typed_and_gives_what_is_called_expected(exercise_id):
    diagnosis = diagnose(EXERCISES[exercise_id], lambda table, words, *asked: words[-1:] * asked[-1])
    scope = {"torch": torch, exercise_id[3:]: EXERCISES[exercise_id].reference}
    assert eval(diagnosis.expected.call, scope) == diagnosis.expected.gave


def test_a_word_of_two_hundred_letters_is_shown_as_a_product():
    diagnosis = diagnose(EXERCISES["02.wordpiece_encode"], up_to_a_hundred_letters)
    assert len(diagnosis.expected.call) < 120 and "'ho' * 110" in diagnosis.expected.call
    scope = {"wordpiece_encode": EXERCISES["02.wordpiece_encode"].reference}
    assert eval(diagnosis.expected.call, scope) == diagnosis.expected.gave
