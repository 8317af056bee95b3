"""Objectives: what a model is asked to predict, and how far off it is.

One file a subject: `next_token` (language models), `masked_words` and `next_sentence` (BERT and its
successors), `permutation` (XLNet), `answer_spans` (question answering), `denoising` (T5, BART),
`several_tasks` (MT-DNN).

A label of −100 is ignored. Losses are means over the labels that count, in nats. All chance comes from a
`torch.Generator`: the same generator gives the same batch.
"""

from course_lib.objectives.answer_spans import AnswerSpan, answer_in_window, best_span, span_loss
from course_lib.objectives.denoising import corrupt_spans, infill, restore_infilling, restore_spans
from course_lib.objectives.masked_words import (
    choose_spans,
    choose_tokens,
    choose_words,
    corrupt_words,
    masked_word_loss,
    span_lengths,
    spoil,
    static_copies,
    target_count,
)
from course_lib.objectives.next_sentence import (
    IS_NEXT,
    IS_RANDOM,
    PairBatch,
    SentencePair,
    batch_of_pairs,
    join_pair,
    next_sentence_loss,
    sentence_pairs,
    shorten,
)
from course_lib.objectives.next_token import IGNORED, language_model_loss, next_token_labels
from course_lib.objectives.permutation import (
    PermutationBatch,
    choose_prediction_spans,
    one_hot_targets,
    order_with_targets_last,
    permutation_batch,
    permutation_orders,
)
from course_lib.objectives.several_tasks import (
    TaskBatch,
    distillation_loss,
    draw_task_batch,
    task_batches,
)

__all__ = [
    "IGNORED",
    "IS_NEXT",
    "IS_RANDOM",
    "AnswerSpan",
    "PairBatch",
    "PermutationBatch",
    "SentencePair",
    "TaskBatch",
    "answer_in_window",
    "batch_of_pairs",
    "best_span",
    "choose_prediction_spans",
    "choose_spans",
    "choose_tokens",
    "choose_words",
    "corrupt_spans",
    "corrupt_words",
    "distillation_loss",
    "draw_task_batch",
    "infill",
    "join_pair",
    "language_model_loss",
    "masked_word_loss",
    "next_sentence_loss",
    "next_token_labels",
    "one_hot_targets",
    "order_with_targets_last",
    "permutation_batch",
    "permutation_orders",
    "restore_infilling",
    "restore_spans",
    "sentence_pairs",
    "shorten",
    "span_lengths",
    "span_loss",
    "spoil",
    "static_copies",
    "target_count",
    "task_batches",
]
