"""Lesson 01: what an answer about language models and RNNs is tried on, and the wrong answers we know."""

from __future__ import annotations

from course_lib.checks.language_models.bidirectional import BIDIRECTIONAL
from course_lib.checks.language_models.clip_gradients import CLIP
from course_lib.checks.language_models.debug_this_run import DEBUG
from course_lib.checks.language_models.generate import GENERATE
from course_lib.checks.language_models.gradient_by_distance import DISTANCE
from course_lib.checks.language_models.language_model_loss import LOSS
from course_lib.checks.language_models.lstm_step import LSTM
from course_lib.checks.language_models.rnn import RNN
from course_lib.checks.language_models.sentence_probability import SENTENCE

# In the order of the lesson and of its exercises.
EXERCISES = (SENTENCE, LOSS, GENERATE, RNN, LSTM, CLIP, DISTANCE, BIDIRECTIONAL, DEBUG)
