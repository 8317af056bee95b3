"""Runs an answer without side effects: random state, default dtype, printed text and warnings are kept apart."""

from __future__ import annotations

import contextlib
import io
import random
import signal
import threading
import warnings
from collections.abc import Iterator
from types import FrameType

import numpy as np
import torch

SEED = 20170612  # the day "Attention is all you need" was put on arXiv
SECONDS = 5.0  # of the processor's time: an experiment takes milliseconds, so what needs more never ends
SECONDS_ASLEEP = 30.0  # by the clock: for what only waits; a busy machine must not look like an endless loop


class EndlessLoop(Exception):
    """An answer ran longer than any answer needs."""


@contextlib.contextmanager
def stopped_in_time() -> Iterator[None]:
    """Raise EndlessLoop in a block that does not end, where the system has an alarm (not on Windows)."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_long(number: int, frame: FrameType | None) -> None:
        raise EndlessLoop

    alarms = (
        (signal.SIGVTALRM, signal.ITIMER_VIRTUAL, SECONDS),
        (signal.SIGALRM, signal.ITIMER_REAL, SECONDS_ASLEEP),
    )
    before = [signal.signal(alarm, too_long) for alarm, _, _ in alarms]
    for _, timer, seconds in alarms:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (alarm, timer, _), handler in zip(alarms, before):
            signal.setitimer(timer, 0.0)
            signal.signal(alarm, handler)


@contextlib.contextmanager
def quiet_and_forked() -> Iterator[None]:
    """Seed every random generator for the block and put back afterwards what the block may have changed."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    dtype, gradients, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    with (
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        stopped_in_time(),
    ):
        warnings.simplefilter("ignore")
        random.seed(SEED)
        np.random.seed(SEED)
        torch.default_generator.manual_seed(
            SEED
        )  # torch.manual_seed also looks at devices: 20 times the time
        torch.set_num_threads(1)  # the tensors are tiny: on a busy machine threads would wait for each other
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(gradients)
