"""Several tasks: batches of one task each, in proportion; and what a student learns from a teacher.

Bounds on shares are Hoeffding's: a sound function fails a line with probability below 1e-9 (the seeds are
fixed besides).
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from course_lib.objectives import distillation_loss, draw_task_batch, task_batches


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def margin(n, failure=1e-9):
    """How far the share of n independent draws strays from its probability (Hoeffding)."""
    return math.sqrt(math.log(2 / failure) / (2 * n))


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 40), min_size=1),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_an_epoch_holds_every_example_of_every_task_once_in_batches_of_one_task(sizes, batch_size, seed):
    batches = task_batches(sizes, batch_size, generator=chance(seed))
    for task, size in sizes.items():
        rows = [batch.rows for batch in batches if batch.task == task]
        assert torch.cat(rows).sort().values.tolist() == list(range(size))
        assert sorted(map(len, rows), reverse=True)[:-1] == [batch_size] * ((size - 1) // batch_size)
    assert all(1 <= len(batch.rows) <= batch_size for batch in batches)


def test_the_tasks_of_an_epoch_are_mixed_and_not_one_after_another():
    """One batch of "b" among four: at each place equally often."""
    n = 8000
    generator = chance()
    places = [
        [batch.task for batch in task_batches({"a": 3, "b": 1}, 1, generator=generator)].index("b")
        for _ in range(n)
    ]
    for place in range(4):
        assert places.count(place) / n == pytest.approx(1 / 4, abs=margin(n))


def test_a_task_is_drawn_in_proportion_to_its_size_with_different_examples():
    n = 8000
    generator = chance()
    batches = [draw_task_batch({"small": 3, "large": 9}, 5, generator=generator) for _ in range(n)]
    assert sum(batch.task == "large" for batch in batches) / n == pytest.approx(0.75, abs=margin(n))
    for task, size, width in (("small", 3, 3), ("large", 9, 5)):
        rows = torch.stack([batch.rows for batch in batches if batch.task == task])
        assert rows.shape[1] == width and (rows.sort(1).values.diff(dim=1) > 0).all()
        for row in range(size):
            share = (rows == row).any(1).double().mean().item()
            assert share == pytest.approx(width / size, abs=margin(len(rows)))


def test_the_same_generator_gives_the_same_tasks_and_the_global_state_is_left_alone():
    state, sizes = torch.get_rng_state(), {"a": 7, "b": 5}
    first, again = (task_batches(sizes, 2, generator=chance(1)) for _ in range(2))
    assert [(batch.task, batch.rows.tolist()) for batch in first] == [
        (batch.task, batch.rows.tolist()) for batch in again
    ]
    draw_task_batch(sizes, 2, generator=chance())
    assert torch.equal(torch.get_rng_state(), state)


# --- distillation ------------------------------------------------------------------------------------------


def logits_of(*shape, seed=0):
    return torch.randn(*shape, generator=chance(seed), dtype=torch.float64)


def test_the_loss_is_what_the_formula_says():
    student, teacher, labels = logits_of(2, 3), logits_of(2, 3, seed=1), torch.tensor([2, 0])
    total = 0.0
    for row in range(2):
        p = [math.exp(x / 3) for x in teacher[row].tolist()]
        q = [math.exp(x / 3) for x in student[row].tolist()]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        divergence = sum(a * math.log(a / b) for a, b in zip(p, q))
        hard = -student[row].log_softmax(0)[labels[row]].item()
        total += 0.7 * 9 * divergence + 0.3 * hard
    loss = distillation_loss(student, teacher, labels, temperature=3, soft_share=0.7)
    assert loss.item() == pytest.approx(total / 2, rel=1e-12)


@given(st.floats(0.2, 20), st.integers(0, 99))
def test_a_student_that_is_its_teacher_has_only_the_labels_left_to_learn(temperature, seed):
    logits, labels = logits_of(4, 5, seed=seed), torch.tensor([0, 1, 2, 4])
    soft = distillation_loss(logits, logits, labels, temperature=temperature, soft_share=1)
    assert soft.item() == pytest.approx(0, abs=1e-9)
    hard = distillation_loss(logits, logits_of(4, 5, seed=seed + 1), labels, soft_share=0)
    assert hard.item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-12)


def test_the_soft_gradient_keeps_its_size_at_high_temperatures():
    """It tends to (student − teacher) / C for logits of mean 0 (Hinton et al., equation 4), not to 0."""
    student, teacher = logits_of(1, 4), logits_of(1, 4, seed=1)
    student, teacher = student - student.mean(), teacher - teacher.mean()
    student.requires_grad_()
    loss = distillation_loss(student, teacher, torch.tensor([0]), temperature=1e4, soft_share=1)
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.allclose(gradient, (student - teacher) / 4, rtol=1e-3, atol=1e-3)


def test_no_gradient_flows_into_the_teacher_and_ignored_rows_count_in_neither_part():
    student, teacher = logits_of(2, 3, 5).requires_grad_(), logits_of(2, 3, 5, seed=1).requires_grad_()
    labels = torch.tensor([[1, -100, 2], [-100, -100, 0]])
    loss = distillation_loss(student, teacher, labels)
    gradient, none = torch.autograd.grad(loss, [student, teacher], allow_unused=True)
    assert none is None
    assert (gradient[labels == -100] == 0).all() and (gradient[labels != -100] != 0).all()
    counts = labels != -100
    alone = distillation_loss(student[counts], teacher[counts], labels[counts])
    assert loss.item() == pytest.approx(alone.item(), rel=1e-12)


LOGITS, LABELS = torch.zeros(2, 3), torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: task_batches({}, 2, generator=chance()), r"task_batches: sizes .*got \{\}"),
        (lambda: task_batches([3], 2, generator=chance()), r"sizes .*got \[3\]"),
        (lambda: task_batches({"a": 0}, 2, generator=chance()), "size of 'a' .*got 0"),
        (lambda: task_batches({"a": 1.5}, 2, generator=chance()), "size of 'a' .*got 1.5"),
        (lambda: task_batches({"a": 1}, 0, generator=chance()), "batch_size .*got 0"),
        (lambda: draw_task_batch({"a": 1}, 1, generator=None), "draw_task_batch: generator .*NoneType"),
        (lambda: draw_task_batch({"a": -1}, 1, generator=chance()), "size of 'a' .*got -1"),
        (lambda: distillation_loss(LOGITS, LOGITS[:1], LABELS), r"got \(2, 3\), \(1, 3\), \(2,\)"),
        (lambda: distillation_loss(LOGITS, None, LABELS), "NoneType"),
        (lambda: distillation_loss(LOGITS, LOGITS, LABELS[:1]), r"\(1,\)"),
        (lambda: distillation_loss(LOGITS.long(), LOGITS, LABELS), "student_logits .*int64"),
        (lambda: distillation_loss(LOGITS, LOGITS.long(), LABELS), "teacher_logits .*int64"),
        (lambda: distillation_loss(LOGITS, LOGITS, LABELS.float()), "labels .*float32"),
        (lambda: distillation_loss(LOGITS, LOGITS, LABELS + 1), "label 3 lies outside the 3 classes"),
        (lambda: distillation_loss(LOGITS, LOGITS, LABELS * 0 - 100), "every label"),
        (lambda: distillation_loss(LOGITS, LOGITS, LABELS, temperature=0), "temperature .*got 0"),
        (lambda: distillation_loss(LOGITS, LOGITS, LABELS, temperature=math.nan), "temperature .*got nan"),
        (lambda: distillation_loss(LOGITS, LOGITS, LABELS, soft_share=2), "soft_share .*got 2"),
    ],
)
def test_what_is_wrong_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
