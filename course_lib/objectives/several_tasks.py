"""Several tasks at once, and a teacher's knowledge (lesson 11).

B batch · C classes
Papers: Liu et al. 2019, MT-DNN, algorithm 1; Hinton et al. 2015, "Distilling the knowledge in a neural
network", section 2; Liu et al. 2019, "Improving multi-task deep neural networks via knowledge distillation".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.objectives._chance import numbers_with
from course_lib.objectives._given import (
    check_generator,
    check_integers,
    check_positive,
    check_share,
    check_whole,
    described,
)
from course_lib.objectives.next_token import IGNORED


class TaskBatch(NamedTuple):
    """One batch of one task: the task's name, and the numbers of its examples, (B,)."""

    task: str
    rows: Tensor


def task_batches(sizes: Mapping[str, int], batch_size: int, *, generator: torch.Generator) -> list[TaskBatch]:
    """Lay out one epoch over several tasks: batches of one task each, in random order (MT-DNN, algorithm 1).

    Every example of every task comes once, so a task has steps in proportion to its size.

    Args:
        sizes: how many examples each task has.
        batch_size: the most examples in a batch; the last batch of a task may be smaller.
        generator: where the chance comes from.

    Returns:
        The batches of the epoch.

    Raises:
        ValueError: no task, a size or batch size below 1.
    """
    _check_tasks("task_batches", sizes, batch_size, generator)
    batches = [
        TaskBatch(task, rows)
        for task, size in sizes.items()
        for rows in torch.randperm(size, generator=generator, device=generator.device).split(batch_size)
    ]
    order = torch.randperm(len(batches), generator=generator, device=generator.device)
    return [batches[i] for i in order.tolist()]


def draw_task_batch(sizes: Mapping[str, int], batch_size: int, *, generator: torch.Generator) -> TaskBatch:
    """Draw one batch of one task, the task with a chance in proportion to its size.

    For a loop that draws each batch anew, such as `training.fit`; `task_batches` does the same for an epoch
    laid out beforehand.

    Args, errors: as in `task_batches`.

    Returns:
        A batch of `batch_size` different examples, or of all where the task has fewer.
    """
    _check_tasks("draw_task_batch", sizes, batch_size, generator)
    number = numbers_with([float(size) for size in sizes.values()], 1, generator).item()
    task = list(sizes)[int(number) - 1]
    rows = torch.randperm(sizes[task], generator=generator, device=generator.device)[:batch_size]
    return TaskBatch(task, rows)


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 2.0,
    soft_share: float = 0.5,
) -> Tensor:
    """Let a student learn from a teacher's whole distribution and from the labels.

    loss = α τ² KL(p ‖ q) + (1 − α) · cross-entropy(labels), with p = softmax(teacher / τ) and
    q = softmax(student / τ) (Hinton et al. 2015, section 2). The factor τ² keeps the soft gradient's size,
    which shrinks as 1/τ².

    Args:
        student_logits: (…, C), floating point.
        teacher_logits: the same shape. No gradient flows into them.
        labels: integers, (…); −100 = the row counts in neither part.
        temperature: τ, above 0. The higher, the more the wrong classes tell.
        soft_share: α, in [0, 1].

    Returns:
        One number, in nats: the mean over the rows that count. With α = 0 it is the cross-entropy alone.

    Raises:
        ValueError: shapes or dtypes that do not fit, a label outside the classes, no label that counts, a
            temperature that is not positive, a share outside [0, 1].
    """
    who = "distillation_loss"
    check_positive(who, "temperature", temperature)
    check_share(who, "soft_share", soft_share, zero=True)
    given = (student_logits, teacher_logits, labels)
    fits = all(isinstance(one, Tensor) for one in given) and student_logits.dim() >= 2
    if not fits or student_logits.shape != teacher_logits.shape or student_logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"{who}: student_logits and teacher_logits must both be (…, C) and labels (…), "
            f"got {', '.join(described(one) for one in given)}"
        )
    for name, logits in (("student_logits", student_logits), ("teacher_logits", teacher_logits)):
        if not logits.is_floating_point():
            raise ValueError(f"{who}: {name} must be floating point, got dtype {logits.dtype}")
    check_integers(f"{who}: labels", labels)
    counts = labels != IGNORED
    student, teacher, hard = student_logits[counts], teacher_logits[counts].detach(), labels[counts].long()
    if len(hard) == 0:
        raise ValueError(f"{who}: every label of {described(labels)} is ignored")
    wrong = hard[(hard < 0) | (hard >= student.size(-1))]
    if len(wrong):
        raise ValueError(f"{who}: label {wrong[0].item()} lies outside the {student.size(-1)} classes")
    p = (teacher / temperature).log_softmax(-1)  # (N, C)
    q = (student / temperature).log_softmax(-1)
    soft = temperature**2 * F.kl_div(q, p, reduction="batchmean", log_target=True)
    return soft_share * soft + (1 - soft_share) * F.cross_entropy(student, hard)


def _check_tasks(who: str, sizes: Mapping[str, int], batch_size: int, generator: torch.Generator) -> None:
    if not isinstance(sizes, Mapping) or len(sizes) == 0:
        raise ValueError(f"{who}: sizes must say how many examples each task has, got {sizes!r}")
    for task, size in sizes.items():
        check_whole(who, f"the size of {task!r}", size, least=1)
    check_whole(who, "batch_size", batch_size, least=1)
    check_generator(who, generator)
