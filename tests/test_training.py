"""Training: one loop, the same result every time, also after it was killed."""

import math
import os
import random
import re
import signal
import textwrap
import threading
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from safetensors.torch import save_file
from torch import nn

from course_lib.training import (
    History,
    evaluate,
    fit,
    has_bf16,
    learning_rate,
    load_tensors,
    optimisers_of,
    progress_bar,
    save_atomically,
)

TRUE_WEIGHT = torch.tensor([1.0, -2.0, 0.5])


def draw_batch(generator):
    x = torch.randn(8, 3, generator=generator)
    return x, x @ TRUE_WEIGHT


def loss_of(model, batch):
    x, y = batch
    return ((model(x).squeeze(-1) - y) ** 2).mean()


def a_model(dropout=0.0):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, 1))


def weights_of(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def run(model, **changes):
    settings = {"steps": 30, "lr": 0.02, "progress": False} | changes
    return fit(model, draw_batch, loss_of, **settings)


def test_the_loss_falls():
    history = run(a_model(), steps=300, lr=0.03)
    assert len(history.losses) == len(history.grad_norms) == 300
    assert sum(history.losses[-10:]) < 0.05 * sum(history.losses[:10])


def test_the_same_call_gives_the_same_weights_wherever_it_stands():
    one, other = a_model(dropout=0.3), a_model(dropout=0.3)
    run(one)
    torch.randn(17)  # somebody else uses chance in between
    run(other)
    assert torch.equal(weights_of(one), weights_of(other))


def test_another_seed_gives_other_batches():
    one, other = a_model(), a_model()
    run(one, seed=0)
    run(other, seed=1)
    assert not torch.equal(weights_of(one), weights_of(other))


def test_chance_outside_is_not_touched():
    torch.manual_seed(5)
    expected = torch.randn(4)
    torch.manual_seed(5)
    model = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        model.weight.zero_()
    torch.manual_seed(5)
    run(model)
    assert torch.equal(torch.randn(4), expected)


def test_one_step_is_adamw_with_the_clipped_mean_gradient():
    ours, theirs = a_model(), a_model()
    run(ours, steps=1, lr=0.01, clip=0.1, weight_decay=0.1, seed=4)
    optimiser = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    loss_of(theirs, draw_batch(torch.Generator().manual_seed(4))).backward()
    gradients = [parameter.grad for parameter in theirs.parameters()]
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert norm > 0.1
    for gradient in gradients:
        gradient *= 0.1 / norm
    optimiser.step()
    torch.testing.assert_close(weights_of(ours), weights_of(theirs), rtol=1e-5, atol=1e-7)


def test_several_steps_are_adamw_with_the_betas_that_were_given():
    ours, theirs = a_model(), a_model()
    run(ours, steps=3, lr=0.01, decay="none", warmup=0, clip=None, betas=(0.5, 0.7), seed=4)
    optimiser = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(0.5, 0.7), weight_decay=0.0)
    generator = torch.Generator().manual_seed(4)
    for _ in range(3):
        optimiser.zero_grad()
        loss_of(theirs, draw_batch(generator)).backward()
        optimiser.step()
    torch.testing.assert_close(weights_of(ours), weights_of(theirs), rtol=1e-5, atol=1e-7)


def test_the_gradient_norm_that_is_written_down_is_the_one_before_clipping():
    model = a_model()
    loss_of(model, draw_batch(torch.Generator().manual_seed(0))).backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm().item()
    assert run(model, steps=1, clip=1e-3).grad_norms[0] == pytest.approx(norm, rel=1e-5)


def test_without_a_clip_any_gradient_is_let_through():
    free, wide, narrow = a_model(), a_model(), a_model()
    run(free, steps=5, clip=None)
    run(wide, steps=5, clip=1e9)
    run(narrow, steps=5, clip=1.0)
    assert torch.equal(weights_of(free), weights_of(wide))
    assert not torch.allclose(weights_of(free), weights_of(narrow), atol=1e-5)


def test_a_model_is_trained_in_training_mode_also_when_it_comes_in_evaluation_mode():
    modes = []

    def watched(model, batch):
        modes.append(model.training)
        return loss_of(model, batch)

    fit(a_model().eval(), draw_batch, watched, steps=2, lr=0.1, progress=False)
    assert modes == [True, True]


def test_accumulating_two_batches_is_one_batch_of_twice_the_size():
    halves, whole = a_model(), a_model()
    of_halves = run(halves, steps=5, accumulate=2)

    def both(generator):
        (x1, y1), (x2, y2) = draw_batch(generator), draw_batch(generator)
        return torch.cat([x1, x2]), torch.cat([y1, y2])

    of_whole = fit(whole, both, loss_of, steps=5, lr=0.02, progress=False)
    assert of_halves.losses == pytest.approx(of_whole.losses, rel=1e-4)
    assert of_halves.grad_norms == pytest.approx(of_whole.grad_norms, rel=1e-4)
    torch.testing.assert_close(weights_of(halves), weights_of(whole), rtol=1e-5, atol=1e-6)


def test_the_rate_warms_up_in_a_line_and_falls_to_nothing():
    rates = [learning_rate(step, steps=10, lr=1.0, warmup=4) for step in range(11)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0.0])
    cosine = [learning_rate(step, steps=10, lr=1.0, decay="cosine") for step in (0, 5, 10)]
    assert cosine == pytest.approx([1.0, 0.5, 0.0])
    assert learning_rate(9, steps=10, lr=1.0, warmup=2, decay="none") == 1.0


def test_the_rate_reaches_the_optimiser():
    small, large = a_model(), a_model()
    before = weights_of(small)
    run(small, steps=1, lr=0.01, decay="none", weight_decay=0.0)
    run(large, steps=11, lr=0.01, warmup=10, decay="none")
    moved = (weights_of(small) - before).abs().max().item()
    assert moved == pytest.approx(0.01, rel=1e-2)  # the first step of AdamW is the rate itself
    one = a_model()
    run(one, steps=2, lr=0.01, warmup=1, decay="none")
    halfway = a_model()
    with pytest.raises(KeyboardInterrupt):
        run(halfway, steps=2, lr=0.01, warmup=1, decay="none", validate=stop, validate_every=1)
    assert (weights_of(halfway) - before).abs().max().item() == pytest.approx(0.005, rel=1e-2)


def stop(model):
    raise KeyboardInterrupt


def test_validation_runs_in_evaluation_mode_without_gradients_and_leaves_training_as_it_was():
    modes = []

    def watch(model):
        modes.append((model.training, torch.is_grad_enabled()))
        return 7.0

    watched, unwatched = a_model(dropout=0.5), a_model(dropout=0.5)
    history = run(watched, steps=7, validate=watch, validate_every=3)
    run(unwatched, steps=7)
    assert history.validations == [(3, 7.0), (6, 7.0), (7, 7.0)]
    assert set(modes) == {(False, False)}
    assert torch.equal(weights_of(watched), weights_of(unwatched))


@pytest.mark.parametrize("training", [True, False])
def test_the_model_comes_back_in_the_mode_it_was_given_in(training):
    model = a_model().train(training)
    run(model, steps=1)
    assert model.training is training
    evaluate(model, lambda model: 0.0)
    assert model.training is training
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, stop)
    assert model.training is training


def test_a_model_in_evaluation_mode_comes_back_in_it_also_when_the_run_is_stopped():
    model = a_model().eval()

    def interrupted(generator):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, interrupted, loss_of, steps=2, lr=0.1, progress=False)
    assert not model.training


# --- what a mean goes over ---------------------------------------------------------------------------------


def ragged(generator):
    """From one to eight rows: a batch's mean goes over other numbers of rows each time."""
    rows = int(torch.randint(1, 9, (), generator=generator))
    x = torch.randn(rows, 3, generator=generator)
    return x, x @ TRUE_WEIGHT


def test_accumulated_batches_weigh_as_much_as_they_count():
    parts, whole, careless = a_model(), a_model(), a_model()
    settings = {"steps": 5, "lr": 0.02, "progress": False}
    in_parts = fit(parts, ragged, loss_of, accumulate=3, count_of=lambda batch: len(batch[0]), **settings)

    def three(generator):
        batches = [ragged(generator) for _ in range(3)]
        return tuple(torch.cat(parts) for parts in zip(*batches))

    at_once = fit(whole, three, loss_of, **settings)
    assert in_parts.losses == pytest.approx(at_once.losses, rel=1e-4)
    torch.testing.assert_close(weights_of(parts), weights_of(whole), rtol=1e-5, atol=1e-6)
    of_means = fit(careless, ragged, loss_of, accumulate=3, **settings)  # (control)
    assert of_means.losses[0] != pytest.approx(at_once.losses[0], rel=0.02)


def test_counting_changes_no_bit_where_there_is_nothing_to_weigh():
    counted, plain = a_model(dropout=0.3), a_model(dropout=0.3)
    assert run(counted, count_of=lambda batch: len(batch[0])) == run(plain)
    assert torch.equal(weights_of(counted), weights_of(plain))


def test_each_term_of_a_loss_is_a_mean_over_what_it_counts():
    """Two terms; the second counts only rows with x₀ > 0, of which a batch may have none."""

    def terms(model, batch):
        x, y = batch
        errors = (model(x).squeeze(-1) - y) ** 2
        return torch.stack([errors.mean(), errors[x[:, 0] > 0].mean()])

    def counts(batch):
        return len(batch[0]), (batch[0][:, 0] > 0).sum()

    model = a_model()
    history = fit(
        model, ragged, terms, steps=6, lr=0.0001, accumulate=4, count_of=counts, clip=None, progress=False
    )
    draw, fresh = torch.Generator().manual_seed(0), a_model()
    batches = [ragged(draw) for _ in range(4)]
    means = terms(fresh, tuple(torch.cat(parts) for parts in zip(*batches)))
    means.sum().backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in fresh.parameters()]).norm().item()
    assert history.losses[0] == pytest.approx(means.sum().item(), rel=1e-5)
    assert history.grad_norms[0] == pytest.approx(norm, rel=1e-5)
    assert all(math.isfinite(loss) for loss in history.losses)


# --- precision, optimiser ----------------------------------------------------------------------------------


def test_sixteen_bits_reach_the_loss_of_thirty_two_and_leave_the_weights_as_they_are(monkeypatch):
    monkeypatch.setattr("course_lib.training.has_bf16", lambda device: True)
    seen, fine, coarse = set(), a_model(), a_model()

    def watched(model, batch):
        seen.add((torch.is_autocast_enabled("cpu"), model[0](batch[0]).dtype))
        return loss_of(model, batch)

    expected = run(fine, steps=60)
    history = fit(coarse, draw_batch, watched, steps=60, lr=0.02, precision="bf16", progress=False)
    assert seen == {(True, torch.bfloat16)} and not torch.is_autocast_enabled("cpu")
    assert {parameter.dtype for parameter in coarse.parameters()} == {torch.float32}
    assert history.losses != expected.losses
    assert sum(history.losses[-5:]) == pytest.approx(sum(expected.losses[-5:]), rel=0.1)


def test_a_processor_without_sixteen_bits_says_so_once_and_trains_in_thirty_two(monkeypatch, tmp_path):
    monkeypatch.setattr("course_lib.training.has_bf16", lambda device: False)
    plain, fallen = a_model(), a_model()
    expected = run(plain)
    with pytest.warns(UserWarning, match="this cpu has no bf16; the run goes on in fp32") as said:
        history = run(fallen, precision="bf16", checkpoint=tmp_path / "run")
    assert len(said) == 1 and said[0].filename == __file__
    assert history == expected and torch.equal(weights_of(plain), weights_of(fallen))
    assert run(a_model(), checkpoint=tmp_path / "run") == expected  # it was written in fp32, and says so
    monkeypatch.setattr("course_lib.training.has_bf16", lambda device: True)
    with pytest.raises(ValueError, match="was written with precision = fp32, and this run has bf16"):
        run(a_model(), precision="bf16", checkpoint=tmp_path / "run")


@pytest.mark.parametrize(
    ("machine", "x86", "arm", "expected"),
    [
        ("x86_64", True, False, True),
        ("AMD64", False, True, False),
        ("aarch64", False, True, True),
        ("arm64", True, False, False),
    ],
)
def test_the_processor_is_asked_what_it_can(monkeypatch, machine, x86, arm, expected):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: x86, raising=False)
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: arm, raising=False)
    assert has_bf16(torch.device("cpu")) is expected
    assert has_bf16(torch.device("meta")) is False


def test_a_pytorch_that_cannot_be_asked_has_no_sixteen_bits(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.delattr("torch.cpu._is_avx512_bf16_supported", raising=False)
    assert has_bf16(torch.device("cpu")) is False


def test_muon_moves_the_hidden_matrices_and_adamw_all_else():
    model = nn.ModuleDict({"table": nn.Embedding(9, 4), "hidden": nn.Linear(4, 4), "head": nn.Linear(4, 9)})
    model.head.weight = model.table.weight
    muon, adamw = optimisers_of(model, "muon", lr=0.1, weight_decay=0.2)
    (group,) = muon.param_groups
    assert [id(p) for p in group["params"]] == [id(model.hidden.weight)]
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.2)
    rest = {id(p) for p in adamw.param_groups[0]["params"]}
    assert rest == {id(model.table.weight), id(model.hidden.bias), id(model.head.bias)}
    assert [
        type(one) for one in optimisers_of(nn.Linear(2, 2, bias=False), "muon", lr=0.1, weight_decay=0)
    ] == [torch.optim.Muon]
    with pytest.raises(ValueError, match="'muon' finds no matrix of a hidden layer in Embedding"):
        optimisers_of(nn.Embedding(3, 2), "muon", lr=0.1, weight_decay=0.0)


def test_a_step_of_muon_is_the_same_length_in_all_directions():
    model = nn.Linear(4, 4, bias=False)
    before = model.weight.detach().clone()

    def stretched(model, batch):
        return (model(batch) * torch.tensor([1000.0, 10.0, 1.0, 0.1])).sum()

    fit(model, lambda g: torch.eye(4), stretched, steps=1, lr=0.1, optimiser="muon", progress=False)
    moved = torch.linalg.svdvals(model.weight.detach() - before)
    fit(
        model,
        lambda g: torch.randn(4, 4, generator=g),
        stretched,
        steps=1,
        lr=0.1,
        optimiser="muon",
        progress=False,
    )
    assert moved.max() == pytest.approx(0.2 * 0.1 * 4**0.5, rel=0.4)  # Liu et al. 2025, section 2.2


# --- resuming ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [1, 4, 9])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, stop_at):
    whole, parts = a_model(dropout=0.3), a_model(dropout=0.3)
    settings = {
        "steps": 12,
        "warmup": 3,
        "accumulate": 2,
        "validate": lambda m: weights_of(m).sum(),
        "validate_every": 5,
    }
    expected = run(whole, **settings)

    class Interrupt(Exception):
        pass

    calls = 0

    def interrupted(generator):
        nonlocal calls
        calls += 1
        if calls > 2 * stop_at:
            raise Interrupt
        return draw_batch(generator)

    file = tmp_path / "run.safetensors"
    with pytest.raises(Interrupt):
        fit(
            parts,
            interrupted,
            loss_of,
            lr=0.02,
            progress=False,
            checkpoint=file,
            checkpoint_every=1,
            **settings,
        )
    fresh = a_model(dropout=0.3)
    with torch.no_grad():
        fresh[0].weight.zero_()  # what is in the file counts, not what is in memory
    history = run(fresh, checkpoint=file, checkpoint_every=1, **settings)
    assert torch.equal(weights_of(fresh), weights_of(whole))
    assert history == expected


EVERYTHING = {
    "steps": 60,
    "lr": 0.02,
    "warmup": 7,
    "decay": "cosine",
    "accumulate": 2,
    "weight_decay": 0.1,
    "validate": lambda model: weights_of(model).sum(),
    "validate_every": 4,
    "progress": False,
}


def killed_at(step, pause, file, settings):
    """Begin or go on in a child process, and let it be killed a moment after it drew a batch of that step."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    killer = threading.Timer(pause, os.kill, (os.getpid(), signal.SIGKILL))

    def draw(generator):
        nonlocal drawn
        drawn += 1
        if drawn > 2 * step and not killer.is_alive():
            killer.start()
        return draw_batch(generator)

    try:
        drawn = 2 * len(load_tensors(file)[0]["history.losses"]) if file.exists() else 0
        fit(a_model(dropout=0.3), draw, loss_of, checkpoint=file, checkpoint_every=3, **settings)
        killer.join()  # the last steps were faster
    finally:
        os._exit(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("change", [{}, {"precision": "bf16"}, {"optimiser": "muon"}], ids=str)
def test_a_run_that_is_killed_at_ten_random_steps_ends_with_the_same_bits(tmp_path, change):
    settings, file, draw = EVERYTHING | change, tmp_path / "run.safetensors", random.Random(0)
    whole, ended = a_model(dropout=0.3), a_model(dropout=0.3)
    history = run(whole, **settings)
    for step in sorted(draw.sample(range(50), 10)):
        # A step takes about 2 ms: the blow falls in it, in the writing of the file, or in a later step.
        assert killed_at(step, draw.uniform(0, 0.003), file, settings) == -signal.SIGKILL
    assert 0 < len(load_tensors(file)[0]["history.losses"]) <= 60
    assert run(ended, checkpoint=file, **settings) == history
    assert torch.equal(weights_of(ended), weights_of(whole))
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "run.safetensors"
    ]


class Odd(nn.Module):
    """Everything that a simple model lacks: weights that are frozen, shared, never or seldom used, and buffers."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.norm, self.dropout = nn.BatchNorm1d(4), nn.Dropout(0.3)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.unused, self.seldom = nn.Linear(4, 4), nn.Linear(4, 4)
        self.to_logits = nn.Linear(4, 5, bias=False)
        self.to_logits.weight = self.embedding.weight
        self.transposed = nn.Parameter(torch.randn(4, 3).T)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("coarse", torch.ones(2, dtype=torch.bfloat16))

    def forward(self, tokens):
        self.calls += self.training
        x = self.dropout(self.norm(self.frozen(self.embedding(tokens))))
        if self.calls % 5 == 4:
            x = x + self.seldom(x)
        return self.to_logits(x) + self.transposed.sum()


@pytest.mark.parametrize("stop_at", [1, 3, 4, 8])
def test_a_run_of_a_model_with_frozen_shared_unused_weights_and_buffers_goes_on_to_the_same_bits(
    tmp_path, stop_at
):
    def tokens(generator):
        return torch.randint(5, (2, 6), generator=generator)

    def loss_of_tokens(model, tokens):
        return nn.functional.cross_entropy(model(tokens[0]), tokens[1])

    def interrupted(generator):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return tokens(generator)

    def fitted(model, draw, **changes):
        return fit(model, draw, loss_of_tokens, steps=9, lr=0.05, progress=False, **changes)

    torch.manual_seed(0)
    first, left = Odd().state_dict(), stop_at
    whole, parts, resumed = Odd(), Odd(), Odd()
    for model in (whole, parts):
        model.load_state_dict(first)
    expected = fitted(whole, tokens)
    file = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fitted(parts, interrupted, checkpoint=file, checkpoint_every=1)
    assert fitted(resumed, tokens, checkpoint=file) == expected
    ended = resumed.state_dict()
    assert all(torch.equal(ended[name], tensor) for name, tensor in whole.state_dict().items())
    assert ended["calls"] == 9 and ended["norm.num_batches_tracked"] == 9
    assert torch.equal(ended["frozen.weight"], first["frozen.weight"])
    assert torch.equal(ended["unused.weight"], first["unused.weight"])


def test_a_checkpoint_makes_its_folders(tmp_path):
    file = tmp_path / "not" / "there" / "run.safetensors"
    run(a_model(), steps=1, checkpoint=file)
    assert [path.name for path in file.parent.iterdir()] == ["run.safetensors"]


def never(generator):
    raise AssertionError("a batch was drawn")


def test_a_checkpoint_that_cannot_be_written_is_named_before_the_first_step(tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    for place, said in ((tmp_path, "is a folder"), (tmp_path / "a file" / "run", "cannot be written: .")):
        with pytest.raises(ValueError, match=f"{place}.*{said}"):
            fit(a_model(), never, loss_of, steps=1, lr=0.1, progress=False, checkpoint=place)

    def read_only(*arguments, **settings):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)  # root may write everywhere
    with pytest.raises(ValueError, match=r"run cannot be written: Permission denied"):
        fit(a_model(), never, loss_of, steps=1, lr=0.1, progress=False, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="is a folder, not a file"):
        load_tensors(tmp_path)


def test_a_finished_run_is_read_and_not_trained_again(tmp_path):
    file = tmp_path / "run.safetensors"
    first, second = a_model(), a_model()
    history = run(first, steps=3, checkpoint=file)
    again = fit(second, never, loss_of, steps=3, lr=0.02, progress=False, checkpoint=file)
    assert again == history
    assert torch.equal(weights_of(first), weights_of(second))


def test_a_checkpoint_of_another_recipe_is_refused_by_name(tmp_path):
    file = tmp_path / "run.safetensors"
    run(a_model(), steps=3, checkpoint=file)
    with pytest.raises(
        ValueError, match=r"run\.safetensors was written with lr = 0\.02, and this run has 0\.03"
    ):
        run(a_model(), steps=3, lr=0.03, checkpoint=file)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 4},
        {"warmup": 1},
        {"decay": "none"},
        {"clip": None},
        {"accumulate": 2},
        {"weight_decay": 0.1},
        {"seed": 1},
        {"optimiser": "muon"},
        {"betas": (0.9, 0.98)},
    ],
    ids=str,
)
def test_every_setting_belongs_to_the_recipe(tmp_path, change):
    file = tmp_path / "run.safetensors"
    run(a_model(), steps=3, checkpoint=file)
    with pytest.raises(ValueError, match=f"was written with {next(iter(change))} = "):
        run(a_model(), **({"steps": 3, "checkpoint": file} | change))


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one(tmp_path, monkeypatch):
    file, order = tmp_path / "weights.safetensors", []
    save_atomically(file, {"a": torch.ones(2)}, {})
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(number):
        order.append("written")
        real_fsync(number)

    def replace(source, target):
        order.append(str(os.getpid()) in Path(source).name)  # two processes do not share it
        assert torch.equal(load_tensors(target)[0]["a"], torch.ones(2))
        real_replace(source, target)

    monkeypatch.setattr("course_lib.training.os.fsync", fsync)
    monkeypatch.setattr("course_lib.training.os.replace", replace)
    save_atomically(file, {"a": torch.zeros(2)}, {})
    assert order == ["written", True]


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    file = tmp_path / "run.safetensors"
    run(a_model(), steps=3, checkpoint=file)
    with pytest.raises(ValueError, match=r"holds another model: .*weight"):
        run(nn.Linear(3, 1), steps=3, checkpoint=file)


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_checkpoint_is_named_and_left_where_it_is(tmp_path, damage):
    file = tmp_path / "run.safetensors"
    run(a_model(), steps=3, checkpoint=file)
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) // 2], "other": b"PK\x03\x04 not one", "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"run\.safetensors is damaged or no safetensors file"):
        run(a_model(), steps=3, checkpoint=file)
    assert file.exists()


def test_a_writer_that_dies_half_way_leaves_the_old_file_whole(tmp_path, monkeypatch):
    file = tmp_path / "weights.safetensors"
    save_atomically(file, {"a": torch.ones(2)}, {})

    def dies(*arguments):
        Path(arguments[1]).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("course_lib.training.save_file", dies)
    with pytest.raises(OSError, match="no space"):
        save_atomically(file, {"a": torch.zeros(2)}, {})
    assert torch.equal(load_tensors(file)[0]["a"], torch.ones(2))
    assert os.listdir(tmp_path) == ["weights.safetensors"]


def test_two_names_for_one_weight_are_kept(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 3, bias=False)
            self.second = nn.Linear(3, 3, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(self.first(x)).sum(-1, keepdim=True)

    torch.manual_seed(0)
    one = Tied()
    torch.manual_seed(0)
    other = Tied()
    file = tmp_path / "run.safetensors"
    run(one, steps=4, checkpoint=file)
    run(other, steps=4, checkpoint=file)
    assert torch.equal(one.first.weight, other.second.weight)
    assert other.second.weight is other.first.weight


# --- what may be given -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp16"}, "precision must be 'fp32' or 'bf16', got 'fp16'"),
        ({"optimiser": "sgd"}, "optimiser must be 'adamw' or 'muon', got 'sgd'"),
        ({"count_of": lambda batch: "many"}, "count_of must return a number, got str"),
        ({"count_of": lambda batch: -1}, r"count_of must return numbers, at least 0, got \[-1.0\]"),
        ({"count_of": lambda batch: math.nan}, r"count_of must return numbers, at least 0, got \[nan\]"),
        ({"count_of": lambda batch: []}, r"count_of must return numbers, at least 0, got \[\]"),
        ({"count_of": lambda batch: 0}, "count_of finds nothing to count in the batches of step 0"),
        (
            {"count_of": lambda batch: (8, 3)},
            r"loss_of must return 2 numbers, as count_of; got a tensor of shape \(\)",
        ),
        ({"steps": 0}, "steps must be a whole number, at least 1, got 0"),
        ({"lr": 0.0}, "lr must be a positive number, got 0.0"),
        ({"lr": math.nan}, "lr must be a positive number, got nan"),
        ({"warmup": 30}, "warmup must lie between 0 and steps − 1 = 29, got 30"),
        ({"warmup": -1}, "warmup must lie .* got -1"),
        ({"decay": "step"}, "decay must be .* got 'step'"),
        ({"clip": 0.0}, "clip must be above 0, .* got 0.0"),
        ({"accumulate": 0}, "accumulate must be a whole number, at least 1, got 0"),
        ({"checkpoint_every": 5}, "checkpoint_every is 5, but there is no file"),
        ({"validate_every": 5}, "validate_every is 5, but there is nothing to call"),
        ({"steps": 2.5}, "steps must be a whole number, .* got 2.5"),
        ({"steps": None}, "steps .* got None"),
        ({"lr": math.inf}, "lr must be a positive number, got inf"),
        ({"lr": "fast"}, "lr must be a positive number, got 'fast'"),
        ({"warmup": 1.5}, "warmup must lie .* got 1.5"),
        ({"clip": math.nan}, "clip .* got nan"),
        ({"clip": "1"}, "clip .* got '1'"),
        ({"accumulate": 1.5}, "accumulate .* got 1.5"),
        ({"weight_decay": -0.1}, "weight_decay must be a number, at least 0, got -0.1"),
        ({"weight_decay": math.inf}, "weight_decay .* got inf"),
        ({"weight_decay": None}, "weight_decay .* got None"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers from 0 to below 1, got \(0.9, 1.0\)"),
        ({"betas": 0.9}, "betas must be two numbers .* got 0.9"),
        ({"betas": (0.9, "much")}, "betas .* got .*much"),
        ({"seed": 1.5}, "seed must be a whole number of 64 bits, got 1.5"),
        ({"seed": 2**64}, "seed .* got 18446744073709551616"),
        ({"validate_every": -1}, "validate_every must be a whole number, at least 0, got -1"),
        ({"checkpoint_every": -1}, "checkpoint_every must be a whole number, at least 0, got -1"),
        ({"validate": lambda model: None}, "evaluate: measure must return one number, got NoneType"),
        ({"validate": weights_of}, r"evaluate: measure .* got a tensor of shape \(26,\)"),
    ],
)
def test_a_setting_out_of_range_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        run(a_model(), **changes)


def test_a_loss_that_is_not_one_number_is_named_with_its_shape():
    with pytest.raises(ValueError, match=r"got a tensor of shape \(8, 1\)"):
        fit(a_model(), draw_batch, lambda model, batch: model(batch[0]), steps=1, lr=0.1, progress=False)
    with pytest.raises(ValueError, match="got float"):
        fit(a_model(), draw_batch, lambda model, batch: 1.0, steps=1, lr=0.1, progress=False)


@pytest.mark.parametrize(
    ("step", "changes", "message"),
    [
        (-1, {}, "step must lie between 0 and steps = 9, got -1"),
        (10, {}, "step .* got 10"),
        (None, {}, "step .* got None"),
        (0, {"steps": 0}, "learning_rate: steps .* got 0"),
        (0, {"warmup": 9}, "learning_rate: warmup .* got 9"),
        (0, {"decay": "step"}, "learning_rate: decay .* 'step'"),
        (0, {"lr": -1.0}, "learning_rate: lr .* got -1.0"),
    ],
)
def test_a_rate_that_is_not_there_is_named(step, changes, message):
    with pytest.raises(ValueError, match=message):
        learning_rate(step, **({"steps": 9, "lr": 0.1} | changes))


def test_a_loss_that_no_weight_can_lower_is_refused():
    with pytest.raises(ValueError, match="hangs on no weight"):
        fit(a_model(), draw_batch, lambda m, b: loss_of(m, b).detach(), steps=1, lr=0.1, progress=False)
    with pytest.raises(ValueError, match="Sequential has no weight to train"):
        run(a_model().requires_grad_(False))


def test_numbers_of_numpy_are_numbers_also_in_the_file(tmp_path):
    file = tmp_path / "run.safetensors"
    given = {"steps": np.int64(3), "lr": np.float32(0.5), "warmup": np.int32(1), "seed": np.int64(1)}
    history = run(a_model(), checkpoint=file, **given)
    assert run(a_model(), checkpoint=file, steps=3, lr=0.5, warmup=1, seed=1) == history


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_before_it_ruins_the_weights(wrong):
    model = a_model()
    before = weights_of(model)
    with pytest.raises(FloatingPointError, match=f"the loss of step 0 is {wrong}"):
        fit(model, draw_batch, lambda m, b: loss_of(m, b) * wrong, steps=2, lr=0.1, progress=False)
    assert torch.equal(weights_of(model), before)


@pytest.mark.parametrize("clip", [1.0, None])
def test_a_gradient_that_is_no_number_stops_before_it_ruins_the_weights(clip):
    model = a_model()
    before = weights_of(model)

    def root_of_zero(model, batch):
        return (loss_of(model, batch) * 0).sqrt()

    with pytest.raises(FloatingPointError, match=r"the gradient of step 0 is (nan|inf)"):
        fit(model, draw_batch, root_of_zero, steps=2, lr=0.1, clip=clip, progress=False)
    assert torch.equal(weights_of(model), before)


def test_the_bar_is_silent_where_it_is_not_wanted(capsys):
    with progress_bar(3, "training", shown=False) as bar:
        bar.update(3)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_notebook_shows_one_line_in_brackets_and_nothing_on_stderr():
    code = """
        import torch
        from torch import nn
        from course_lib.training import fit
        def draw(generator): return torch.randn(3, 2, generator=generator)
        def loss(model, batch): return model(batch).pow(2).mean()
        fit(nn.Linear(2, 1), draw, loss, steps=7, lr=0.1, description="a small run")
        fit(nn.Linear(2, 1), draw, loss, steps=7, lr=0.1, progress=False);
    """
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(code))])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (shown,) = notebook.cells[0].outputs
    assert shown.output_type == "display_data" and list(shown.data) == ["text/plain"]
    assert re.fullmatch(r"⟦a small run: 100%.* 7/7 .*loss \d+\.\d{3}\]⟧", shown.data["text/plain"])


def test_a_history_begins_empty():
    assert History() == History([], [], [])


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    file = tmp_path / "run.safetensors"
    save_file({"something": torch.ones(2)}, file)
    with pytest.raises(ValueError, match="was written with steps = None"):
        run(a_model(), steps=3, checkpoint=file)
