"""The checks: every reference passes, every mistake gets its own name, and stubs fail kindly."""

import itertools
import json
import math
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import checks
from course_lib.checks import EXERCISES, CheckFailed, check, judge
from course_lib.checks.engine import diagnose, known_observations, rests_on_numbers, same
from course_lib.checks.progress import progress_file, read_progress
from course_lib.checks.show import _slice_that_differs

every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
every_mistake = pytest.mark.parametrize(
    ("exercise", "mistake"),
    [(exercise, mistake) for exercise in EXERCISES.values() for mistake in exercise.mistakes],
    ids=lambda value: getattr(value, "id", None) or getattr(value, "name", None),
)


@pytest.fixture(autouse=True)
def own_course_home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))


@every_exercise
def test_the_reference_passes(exercise):
    assert judge(exercise.id, exercise.reference) == checks.Verdict(True, None, "Correct.", "")


@every_mistake
def test_every_mistake_is_rejected_under_its_own_name(exercise, mistake):
    verdict = judge(exercise.id, mistake.code)
    assert not verdict.passed
    assert (verdict.mistake, verdict.message, verdict.hint) == (mistake.name, mistake.message, mistake.hint)


def test_any_two_mistakes_are_a_hundred_tolerances_apart_or_share_their_message(record_property):
    separable = shared = 0
    for exercise in EXERCISES.values():
        reference, known = known_observations(exercise)
        far = 100 * exercise.tolerance
        for mistake, shown in known:
            assert rests_on_numbers(shown, reference, far), (
                f"{exercise.id}: {mistake.name} is too near to right"
            )
        for (one, of_one), (other, of_other) in itertools.combinations(known, 2):
            if same(of_one, of_other, far):
                assert one.message == other.message, (
                    f"{exercise.id}: {one.name} and {other.name} look the same"
                )
                shared += 1
            else:
                separable += 1
    mistakes = sum(len(exercise.mistakes) for exercise in EXERCISES.values())
    record_property(
        "measured",
        f"{len(EXERCISES)} exercises, {mistakes} mistakes: {separable} pairs told apart by numbers, "
        f"{shared} pairs share a message",
    )


@every_exercise
def test_names_are_unique_and_the_first_line_fits_a_notebooks_error(exercise):
    names = [mistake.name for mistake in exercise.mistakes]
    assert len(names) == len(set(names))
    for known in (*exercise.mistakes, *exercise.properties):
        assert len(known.message) <= 83 and known.message.endswith("."), known.message
        assert known.hint and known.hint[-1] in ".?)", known.hint
        assert "\n" not in known.message + known.hint


@every_exercise
def test_every_reference_passes_every_property(exercise):
    reference, _ = known_observations(exercise)
    for symptom in exercise.properties:
        assert symptom.holds(reference), symptom.name


@every_exercise
def test_a_stub_and_a_forgotten_return_fail_kindly(exercise):
    scope = {"nn": nn}
    exec(exercise.stub, scope)
    name = next(key for key in reversed(list(scope)) if not key.startswith("__") and key != "nn")
    left_empty = judge(exercise.id, scope[name])
    assert not left_empty.passed
    assert left_empty.message != "Your answer differs from what was expected."

    def not_written(*arguments, **named):
        raise NotImplementedError("not written yet")

    assert judge(exercise.id, not_written).message == "Not written yet: this exercise is waiting for you."


@every_exercise
def test_anything_but_an_answer_is_refused_kindly(exercise):
    for wrong in (None, 3, "softmax", torch.ones(2), nn.Linear(2, 2)):
        verdict = judge(exercise.id, wrong)
        assert not verdict.passed
        assert len(verdict.message) <= 83


@every_exercise
def test_a_check_takes_less_than_a_second_of_computing(exercise):
    known_observations.cache_clear()
    begin = time.process_time()
    judge(exercise.id, exercise.reference)
    assert time.process_time() - begin < 1.0


def test_a_check_changes_no_random_state_no_default_and_prints_nothing(capsys):
    def noisy(scores):
        print("hello")
        torch.manual_seed(1)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return scores.softmax(-1)

    torch.manual_seed(7)
    state = torch.get_rng_state()
    judge("04.softmax", noisy)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert capsys.readouterr().out == ""


def test_a_learner_may_interrupt_a_check():
    def interrupted(scores):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge("04.softmax", interrupted)


def test_a_loop_without_end_is_stopped_and_said(monkeypatch):
    monkeypatch.setattr("course_lib.checks.sandbox.SECONDS", 0.2)

    def endless(scores):
        while True:
            pass

    assert judge("04.softmax", endless).mistake == "a loop without end"


def test_an_answer_that_only_waits_is_stopped_too_and_a_slow_machine_is_not_taken_for_it(monkeypatch):
    def waits(scores):
        time.sleep(0.2)
        return scores.softmax(-1)

    assert judge("04.softmax", waits).passed
    monkeypatch.setattr("course_lib.checks.sandbox.SECONDS_ASLEEP", 0.1)
    assert judge("04.softmax", waits).mistake == "a loop without end"
    assert judge("04.softmax", lambda scores: scores.softmax(-1)).passed


def test_an_answer_that_leaves_python_does_not_take_the_kernel_with_it():
    assert judge("04.softmax", lambda scores: exit()).mistake == "leaves Python"


def test_an_unknown_exercise_is_named_beside_those_that_exist():
    with pytest.raises(ValueError, match=r"'04.sofmax'.*04.softmax"):
        judge("04.sofmax", torch.softmax)


def wrong_softmax(scores):
    return scores.softmax(0)


def test_a_failed_check_shows_the_picture_and_raises_one_kind_line_without_a_traceback(capsys):
    with pytest.raises(CheckFailed) as failed:
        check("04.softmax", wrong_softmax)
    lines = failed.value._render_traceback_()
    assert lines[0] == "✗ Your weights sum to 1 over the first axis; they should over the last."
    assert len(lines[0]) <= 85 and lines[1].strip()
    captured = capsys.readouterr()
    assert "yours" in captured.out and "expected" in captured.out
    assert captured.err == ""


def test_the_second_failure_of_the_same_kind_gives_a_stronger_hint():
    hints = []
    for _ in range(2):
        with pytest.raises(CheckFailed) as failed:
            check("04.softmax", wrong_softmax)
        hints.append(failed.value.hint)
    assert hints[1].startswith(hints[0]) and "keepdim=True" in hints[1].removeprefix(hints[0])


def test_progress_is_kept_and_a_later_failure_does_not_take_a_pass_away(capsys):
    for answer in (wrong_softmax, torch.nn.Softmax(dim=-1), wrong_softmax):
        try:
            check("04.softmax", answer)
        except CheckFailed:
            continue
    kept = json.loads(progress_file().read_text(encoding="utf-8"))
    assert kept == {"04.softmax": {"passed": True, "tries": 3, "mistakes": {"over the first axis": 2}}}
    assert capsys.readouterr().out.count("✓ 04.softmax: correct.") == 1


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"04.softmax": 3}', '{"04.softmax": {"tries": "x"}}'])
def test_a_broken_progress_file_is_put_aside_and_not_lost(broken):
    progress_file().parent.mkdir(parents=True, exist_ok=True)
    progress_file().write_text(broken, encoding="utf-8")
    assert read_progress() == {}
    assert progress_file().with_suffix(".broken").read_text(encoding="utf-8") == broken
    check("04.softmax", torch.nn.Softmax(dim=-1))
    assert read_progress()["04.softmax"]["passed"]


# ── answers that are right, in styles that no file here uses ──────────────────────────────────────────


def looped_attention(q, k, v):
    outputs, tables = [], []
    for b in range(q.shape[0]):
        rows = []
        for i in range(q.shape[1]):
            scores = torch.stack([torch.dot(q[b, i], k[b, j]) for j in range(k.shape[1])]) / q.shape[2] ** 0.5
            exps = [torch.exp(score - max(scores.tolist())) for score in scores]
            rows.append(torch.stack([e / sum(exps) for e in exps]))
        tables.append(torch.stack(rows))
        outputs.append(torch.stack([sum(w * v[b, j] for j, w in enumerate(row)) for row in rows]))
    return torch.stack(outputs), torch.stack(tables)


def in_double_precision(q, k, v):
    weights = torch.softmax(q.double() @ k.double().mT / q.size(-1) ** 0.5, dim=-1)
    return weights @ v.double(), weights


class FoldedHeads(nn.Module):
    """Heads folded into the batch, einsum, keyword-only arguments and an unused submodule."""

    def __init__(self, *, d_model, n_heads, dropout=0.0):
        super().__init__()
        self.h = n_heads
        for name in ("w_q", "w_k", "w_v", "w_o"):
            self.add_module(name, nn.Linear(d_model, d_model))
        self.drop = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x, mask=None):
        B, T, D = x.shape

        def fold(t):
            return torch.cat(t.chunk(self.h, dim=-1), dim=0)

        q, k, v = fold(self.w_q(x)), fold(self.w_k(x)), fold(self.w_v(x))
        weights = torch.baddbmm(torch.zeros(B * self.h, T, T), q, k.mT, alpha=(D // self.h) ** -0.5).softmax(
            2
        )
        return self.w_o(torch.cat((self.drop(weights) @ v).split(B), dim=2))


RIGHT = {
    "04.softmax": [
        lambda s: F.softmax(s, dim=-1),
        lambda s: (s - torch.logsumexp(s, dim=-1, keepdim=True)).exp(),
        lambda s: s.double().softmax(-1),
        lambda s: (e := torch.exp(s - s.amax(-1, True))) / (e.sum(-1, True) + 1e-12),
        lambda s: 1 / torch.exp(s.unsqueeze(-2) - s.unsqueeze(-1)).sum(-1).clamp(max=1e30),
        nn.Softmax(dim=-1),
    ],
    "04.scaled_dot_product_attention": [
        looped_attention,
        lambda q, k, v, mask=None: (
            F.scaled_dot_product_attention(q, k, v),
            torch.einsum("bqd,bkd->bqk", q, k).div(math.sqrt(q.shape[-1])).softmax(-1),
        ),
        lambda q, k, v: [(w := torch.bmm(q / q.size(2) ** 0.5, k.transpose(1, 2)).softmax(2)).bmm(v), w],
        in_double_precision,
    ],
    "04.split_heads": [
        lambda x, n: torch.stack(x.chunk(n, dim=-1), dim=1),
        lambda x, n: x.unflatten(-1, (n, -1)).movedim(-2, 1),
        lambda x, n: x.reshape(*x.shape[:2], n, -1).permute(0, 2, 1, 3).contiguous(),
    ],
    "04.merge_heads": [
        lambda x: torch.cat(list(x.unbind(1)), dim=-1),
        lambda x: x.permute(0, 2, 1, 3).contiguous().view(x.shape[0], x.shape[2], -1),
        lambda x: torch.cat([x[:, h] for h in range(x.shape[1])], -1),
    ],
    "04.multi_head_attention": [FoldedHeads],
    "04.cross_attention": [
        lambda x, m, a, b, c: looped_attention(x @ a, m @ b, m @ c),
    ],
    "04.contextual_words": [
        lambda table, ids: F.scaled_dot_product_attention(*[F.embedding(ids, table)[None]] * 3)[0],
    ],
    "04.additive_scores": [
        lambda q, k, a, b, w: torch.stack(
            [torch.stack([torch.tanh(r @ a + c @ b).dot(w) for c in k]) for r in q]
        ),
    ],
    "04.kernel_regression": [
        lambda n, x, y, h: torch.stack([(y * (-0.5 * ((p - x) / h).square()).softmax(0)).sum() for p in n]),
    ],
    "04.effect_of_each_key": [
        lambda q, k, v: torch.stack(
            [
                torch.dist(
                    ((s := k @ q / q.numel() ** 0.5).softmax(0)) @ v,
                    s.index_fill(0, torch.tensor(j), -math.inf).softmax(0) @ v,
                )
                for j in range(len(k))
            ]
        ),
    ],
}


@pytest.mark.parametrize(("exercise_id", "answer"), [(key, answer) for key in RIGHT for answer in RIGHT[key]])
def test_a_right_answer_in_an_unusual_style_passes(exercise_id, answer):
    assert judge(exercise_id, answer).passed


def test_a_right_test_of_another_idea_finds_the_bug():
    def equal_rows(build):
        module = build(8, 2)
        for layer in (module.w_q, module.w_k):
            layer.weight.data.zero_(), layer.bias.data.zero_()
        y = module(torch.randn(1, 4, 8))
        torch.testing.assert_close(y, y[:, :1].expand_as(y))

    assert judge("04.find_the_bug", equal_rows).passed


# ── wrong answers that no mistake in the tables describes ─────────────────────────────────────────────


@pytest.mark.parametrize(
    ("exercise_id", "answer", "part"),
    [
        ("04.softmax", lambda s: s.softmax(-1).numpy(), "NumPy"),
        ("04.softmax", lambda s: (s * 3).softmax(-1), "some other number"),
        ("04.softmax", lambda s: s.softmax(-1) + 0.1, "do not sum to 1"),
        (
            "04.scaled_dot_product_attention",
            lambda q, k, v: ((w := (q @ k.mT / 8).softmax(-1)) @ v, w),
            "constant",
        ),
        (
            "04.scaled_dot_product_attention",
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
            "one tensor",
        ),
        (
            "04.scaled_dot_product_attention",
            lambda q, k, v: ((w := (q @ k.mT / q.size(-1) ** 0.5).softmax(-1)) @ v * 2, w),
            "weights are right",
        ),
        ("04.split_heads", lambda x, n: list(x.chunk(n, -1)), "list"),
        ("04.merge_heads", lambda x: x.transpose(1, 2).view(x.size(0), x.size(2), -1), "just swapped"),
        ("04.multi_head_attention", nn.MultiheadAttention(12, 3), "class"),
        ("04.multi_head_attention", lambda d_model, n_heads: nn.Linear(d_model, d_model), "w_q"),
    ],
)
def test_an_unknown_mistake_is_told_by_its_symptom(exercise_id, answer, part):
    verdict = judge(exercise_id, answer)
    assert not verdict.passed
    assert any(word in verdict.message for word in part.split("|")), verdict


def test_the_published_attention_merges_in_reading_order_as_the_original_did():
    from course_lib.checks.attention.find_the_bug import PublishedMultiHeadAttention

    heads = torch.arange(24.0).view(1, 2, 3, 4)  # (B, H, T, Dh)
    merged = PublishedMultiHeadAttention.merge(heads)
    assert merged.shape == (1, 3, 8)
    assert merged.flatten().tolist() == list(range(24))


def test_the_first_difference_is_kept_for_the_picture():
    diagnosis = diagnose(EXERCISES["04.softmax"], wrong_softmax)
    assert diagnosis.where.startswith("weights")
    assert diagnosis.got is not None and diagnosis.expected is not None
    assert diagnosis.got.shape == diagnosis.expected.shape == (3, 5)


@pytest.mark.parametrize("off", [1.01e-4, 1.0, float("nan"), float("inf")])
def test_the_picture_shows_the_slice_that_differs_most_however_small_the_difference(off):
    expected = torch.ones(2, 3, 2, 2)
    got = expected.clone()
    got[1, 2, 0, 1] += off
    where, one, other = _slice_that_differs(got, expected)
    assert where == ", at [1, 2]"
    assert one.shape == other.shape == (2, 2) and not torch.equal(one, other)


def test_a_softmax_over_axis_1_by_hand_is_not_called_right_for_ordinary_scores():
    verdict = judge("04.softmax", lambda s: s.exp() / s.exp().sum(1, keepdim=True))
    assert verdict.message == "You sum over axis 1; that is the last axis for a matrix only."


def test_progress_is_shown_empty_first_and_then_filled_so_that_the_stored_output_is_everybodys(monkeypatch):
    class Shown:
        def update(self, table):
            tables.append(table.data)

    def display(table, *, display_id):
        assert display_id is True
        tables.append(table.data)
        return Shown()

    tables: list[str] = []
    monkeypatch.setattr("course_lib.checks.show.display", display)
    check("04.softmax", torch.nn.Softmax(dim=-1))
    checks.show_progress()
    empty, filled = tables
    assert "done" not in empty and empty.count("not begun") == len(EXERCISES)
    assert filled.count("✓ done") == 1 and filled.count("not begun") == len(EXERCISES) - 1


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (lambda: F.cross_entropy(torch.zeros(2, 3, 5), torch.zeros(2, 3, dtype=torch.long)), "cross"),
        (lambda: torch.cat([torch.zeros(2, 3), torch.zeros(4, 5)], dim=-1), "cat"),
        (lambda: torch.zeros(2, requires_grad=True).exp().backward(), "backward"),
        (lambda: twice_backward(), "backward"),
    ],
    ids=["cross_entropy", "cat", "no scalar", "second backward"],
)
def test_common_exceptions_of_torch_are_put_into_words(code, word):
    verdict = judge("04.softmax", lambda scores: code())
    said = f"{verdict.message} {verdict.hint}"
    assert (
        word in said.lower() and "RuntimeError" not in verdict.message and "ValueError" not in verdict.message
    )
    assert len(verdict.message) <= 83


def twice_backward():
    x = torch.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    y.backward()


def test_the_picture_of_an_answer_that_is_no_attention_speaks_of_rows_and_columns(monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.checks.show.display", shown.append)
    with pytest.raises(CheckFailed):
        check("01.rnn", lambda *given, **named: (torch.zeros(2), torch.zeros(2)))
    with pytest.raises(CheckFailed):
        check("03.sinusoidal_positions", lambda length, d_model: torch.zeros(length, d_model))
    assert shown and not any("quer" in repr(picture) or "key" in repr(picture) for picture in shown)
