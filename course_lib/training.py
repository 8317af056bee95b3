"""Training: one loop for every lesson.

Batches are drawn from a seed, the learning rate warms up and decays, the gradient is clipped, and a run that
was killed goes on from its last checkpoint as if nothing had happened, to the last bit. Started by torchrun,
the same loop runs in several processes and on several machines, with the same result.
"""

from __future__ import annotations

import io
import json
import math
import os
import platform
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, SupportsFloat, SupportsIndex

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from course_lib.distributed import (
    all_or_none,
    check_same,
    copy_weights_from_first,
    fingerprint,
    from_first,
    gathered,
    n_processes,
    process_number,
    share,
    sum_gradients,
)

Decay = Literal["linear", "cosine", "none"]
Precision = Literal["fp32", "bf16"]
Optimiser = Literal["adamw", "muon"]


@dataclass
class History:
    """What a run wrote down.

    losses: one number a step, in nats. grad_norms: one number a step, before clipping.
    validations: pairs (step, what `validate` returned).
    """

    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)


@dataclass
class Run:
    """All that a run needs to go on: what a checkpoint keeps. `recipe` says which run it is."""

    model: nn.Module
    optimisers: list[torch.optim.Optimizer]
    batches: torch.Generator
    history: History
    recipe: dict[str, Any]
    device: torch.device


def fit(
    model: nn.Module,
    draw_batch: Callable[[torch.Generator], Any],
    loss_of: Callable[[Any, Any], Tensor],
    *,
    steps: int,
    lr: float,
    warmup: int = 0,
    decay: Decay = "linear",
    clip: float | None = 1.0,
    accumulate: int = 1,
    count_of: Callable[[Any], Any] | None = None,
    optimiser: Optimiser = "adamw",
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
    precision: Precision = "fp32",
    seed: int = 0,
    validate: Callable[[Any], float] | None = None,
    validate_every: int = 0,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 0,
    description: str = "training",
    progress: bool = True,
) -> History:
    """Train a model with AdamW (Loshchilov and Hutter 2019), in place.

    Everything random inside comes from `seed` (the batches, dropout), and the random state outside stays as
    it was: the same call gives the same weights wherever it stands.

    Started by torchrun (`distributed`), several processes train the same model: each draws the same batches and
    computes its rows of them, and the loss and the weights are those of one process, for the loss is a mean
    over *all* that `count_of` counts. (Not so the dropout: every process drops other numbers.) The first process
    validates and keeps the file; the others need not see its disk. Validation runs in fp32, on all rows.

    Args:
        model: what is trained.
        draw_batch: gives the next batch; all its chance must come from the generator it gets.
        loss_of: (model, batch) → the mean loss of the batch, one number, in nats.
        steps: updates of the weights.
        lr: the highest learning rate.
        warmup: steps over which the rate rises in a straight line to `lr`.
        decay: how it falls to 0 from there to the last step: "linear", "cosine", or "none" (it stays).
        clip: the longest gradient (norm over all parameters) that is let through; None = any.
        accumulate: batches whose gradients are averaged into one update.
        count_of: batch → how many things the mean in `loss_of` goes over, such as the labels that count. An
            update's loss is then the mean over all of them, in whatever batches and processes they lie; without
            it, every batch of an update weighs the same. Several processes need it; a share that counts nothing is
            not computed. A loss of k terms, each a mean over things of its own: both functions return k
            numbers, and the terms are added.
        optimiser: "adamw", or "muon" for the matrices of hidden layers and AdamW for all else (`optimisers_of`).
        betas: AdamW's β₁ and β₂: how much of its means of the gradient and of its square each step keeps. Vaswani
            et al. 2017, section 5.3, take 0.98 for the second.
        weight_decay: the optimiser's, for all parameters.
        precision: "fp32", or "bf16": the products inside `loss_of` are computed with 16-bit numbers
            (`torch.autocast`), which is up to four times as fast; the weights stay as they are. Where the
            processor has no bf16, the run says so and goes on in fp32.
        seed: the source of all chance.
        validate: model → a number to follow; called in evaluation mode, without gradients.
        validate_every: steps between two calls of `validate`; it is also called after the last step.
        checkpoint: a file that the run is kept in. If it is there, the run goes on from it.
        checkpoint_every: steps between two writings; it is also written after the last step.
        description: the name beside the progress bar.
        progress: show a progress bar.

    Returns:
        The history of the whole run, from its first step, also when it was resumed.

    Raises:
        ValueError: a number out of range, a checkpoint that is damaged, belongs to another run or could not be
            written, a loss that is not one number or hangs on no weight, counts that do not fit it, or
            processes that were given different runs.
        FloatingPointError: the loss or its gradient is NaN or infinite; the weights are those before that step.
        RuntimeError: another process failed.
    """
    _check_schedule("fit", steps=steps, lr=lr, warmup=warmup, decay=decay)
    _check_whole("fit", 1, accumulate=accumulate)
    _check_whole("fit", 0, validate_every=validate_every, checkpoint_every=checkpoint_every)
    if clip is not None and not (isinstance(clip, SupportsFloat) and clip > 0):
        raise ValueError(f"fit: clip must be above 0, or None for no clipping, got {clip!r}")
    if not (isinstance(weight_decay, SupportsFloat) and 0 <= weight_decay < math.inf):
        raise ValueError(f"fit: weight_decay must be a number, at least 0, got {weight_decay!r}")
    _check_betas(betas)
    if not (isinstance(seed, SupportsIndex) and -(2**63) <= seed < 2**64):  # what torch takes
        raise ValueError(f"fit: seed must be a whole number of 64 bits, got {seed!r}")
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"fit: precision must be 'fp32' or 'bf16', got {precision!r}")
    if checkpoint_every and checkpoint is None:
        raise ValueError(
            f"fit: checkpoint_every is {checkpoint_every}, but there is no file: give checkpoint=…"
        )
    if validate_every and validate is None:
        raise ValueError(
            f"fit: validate_every is {validate_every}, but there is nothing to call: give validate=…"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"fit: {type(model).__name__} has no weight to train")
    device = next(parameter.device for parameter in model.parameters() if parameter.requires_grad)
    if precision == "bf16" and not has_bf16(device):
        precision, description = "fp32", _without_bf16(device, description, progress)
    path = None if checkpoint is None else Path(checkpoint)
    recipe = {  # plain numbers, for they go into a file
        "steps": int(steps),
        "lr": float(lr),
        "warmup": int(warmup),
        "decay": decay,
        "clip": None if clip is None else float(clip),
        "accumulate": int(accumulate),
        "counted": count_of is not None,
        "optimiser": optimiser,
        "betas": [float(beta) for beta in betas],
        "weight_decay": float(weight_decay),
        "precision": precision,  # the one that is used: a file goes on as it began, or not at all
        "seed": int(seed),
    }
    optimisers = optimisers_of(model, optimiser, lr=lr, betas=betas, weight_decay=weight_decay)
    run = Run(model, optimisers, torch.Generator().manual_seed(int(seed)), History(), recipe, device)
    _check_processes(run, count_of, validate is not None, validate_every, path is not None, checkpoint_every)
    if path is not None:
        from_first(partial(_check_writable, path))
    mixed = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
    history = run.history
    was_training = model.training
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(_seed_of_process(int(seed)))
            copy_weights_from_first(model)
            if path is not None:
                read_checkpoint(path, run)
            first = len(history.losses)
            model.train()
            shown = progress and process_number() == 0
            with progress_bar(steps, description, first, shown) as bar:
                for step in range(first, steps):
                    rate = learning_rate(step, steps=steps, lr=lr, warmup=warmup, decay=decay)
                    loss = _gradient(run, draw_batch, loss_of, count_of, mixed, step)
                    norm = _update(run, rate, clip, step)
                    history.losses.append(loss)
                    history.grad_norms.append(norm)
                    done = step + 1
                    if validate is not None and (
                        done == steps or (validate_every and done % validate_every == 0)
                    ):
                        history.validations.append((done, from_first(partial(evaluate, model, validate))))
                    if path is not None and (
                        done == steps or (checkpoint_every and done % checkpoint_every == 0)
                    ):
                        write_checkpoint(path, run)
                    bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                    bar.update()
            copy_weights_from_first(model)  # buffers that count what a process saw
    finally:  # also when somebody stops it
        model.train(was_training)
    return history


def learning_rate(step: int, *, steps: int, lr: float, warmup: int = 0, decay: Decay = "linear") -> float:
    """Return the learning rate of a step, counted from 0: up in a straight line, then down to 0.

    The first step has lr / (warmup + 1), step `warmup` the full rate; the rate would be 0 at step `steps`.

    Raises:
        ValueError: a number out of range.
    """
    _check_schedule("learning_rate", steps=steps, lr=lr, warmup=warmup, decay=decay)
    if not (isinstance(step, SupportsIndex) and 0 <= step <= steps):
        raise ValueError(f"learning_rate: step must lie between 0 and steps = {steps}, got {step!r}")
    if step < warmup:
        return lr * (step + 1) / (warmup + 1)
    left = (steps - step) / (steps - warmup)  # from 1 down to 1 / (steps − warmup)
    if decay == "linear":
        return lr * left
    if decay == "cosine":
        return lr * (1 - math.cos(math.pi * left)) / 2
    return lr


def evaluate(model: nn.Module, measure: Callable[[Any], float]) -> float:
    """Call measure(model) in evaluation mode and without gradients; the mode is as before afterwards.

    Raises:
        ValueError: what `measure` returns is not one number.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            value = measure(model)
    finally:  # also when somebody stops it
        model.train(was_training)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"evaluate: measure must return one number, got {_kind(value)}") from None


def _gradient(
    run: Run,
    draw_batch: Callable[[torch.Generator], Any],
    loss_of: Callable[[Any, Any], Tensor],
    count_of: Callable[[Any], Any] | None,
    mixed: torch.autocast,
    step: int,
) -> float:
    """Draw the batches of an update and give the weights the gradient of its loss; return the loss.

    loss = Σ (n_b / n) · mean_b over the batches, or the processes' shares of them: mean_b is what `loss_of` says
    of one, n_b how many things it counts, n how many the update does.
    """
    run.model.zero_grad()
    with all_or_none():
        batches = [draw_batch(run.batches) for _ in range(run.recipe["accumulate"])]
        n = [sum(terms) for terms in zip(*(_counts(count_of, batch) for batch in batches), strict=True)]
        if not all(n):
            raise ValueError(f"fit: count_of finds nothing to count in the batches of step {step}")
        seen = 0.0
        if n_processes() > 1:
            seen = float(fingerprint(batches))
            batches = [share(batch, process_number(), n_processes()) for batch in batches]
        loss, n_own = 0.0, [0.0] * len(n)
        for batch in batches:
            n_b = _counts(count_of, batch)
            if any(n_b):
                loss += _backward(run.model, batch, loss_of, n, n_b, mixed)
                n_own = [sum(pair) for pair in zip(n_own, n_b)]
    loss, seen_by_all, *n_by_all = sum_gradients(run.model, [loss, seen, *n_own])
    if seen_by_all != n_processes() * seen:
        raise ValueError(
            f"fit: the processes drew different batches for step {step}: is their data the same?"
        )
    if not all(math.isclose(there, here) for there, here in zip(n_by_all, n)):
        raise ValueError(
            f"fit: count_of must count a batch as the sum of its shares; it counts {n} in the batches of step "
            f"{step}, and {n_by_all} in the shares of {n_processes()} processes"
        )
    if not math.isfinite(loss):
        raise FloatingPointError(f"fit: the loss of step {step} is {loss}; training stops before it")
    return loss


def _backward(
    model: nn.Module,
    batch: Any,
    loss_of: Callable[[Any, Any], Tensor],
    n: list[float],
    n_b: list[float],
    mixed: torch.autocast,
) -> float:
    """Add the gradient of Σ (n_b / n) · mean_b, over the terms of the loss, for one batch; return that number."""
    with mixed:
        loss = loss_of(model, batch)
    if not isinstance(loss, Tensor) or loss.dim() > 1 or loss.numel() != len(n):
        wanted = "one number, a tensor without axes" if len(n) == 1 else f"{len(n)} numbers, as count_of"
        raise ValueError(f"fit: loss_of must return {wanted}; got {_kind(loss)}")
    if not loss.requires_grad:
        raise ValueError("fit: the loss hangs on no weight: was it computed without gradients?")
    if loss.dtype in (torch.bfloat16, torch.float16):
        loss = loss.float()
    means = loss.unbind() if loss.dim() else [loss]
    terms = [(mean, of / here) for mean, of, here in zip(means, n, n_b) if here]  # not the mean over nothing
    torch.autograd.backward([mean / times for mean, times in terms])
    return sum(mean.item() / times for mean, times in terms)


def _counts(count_of: Callable[[Any], Any] | None, batch: Any) -> list[float]:
    """Return how many things a batch counts, one number for each term of the loss; without count_of, 1."""
    if count_of is None:
        return [1.0]
    counts = count_of(batch)
    try:
        numbers = torch.as_tensor(counts, dtype=torch.float64).flatten().tolist()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"fit: count_of must return a number, got {_kind(counts)}") from None
    if not numbers or not all(0 <= number < math.inf for number in numbers):
        raise ValueError(f"fit: count_of must return numbers, at least 0, got {numbers}")
    return numbers


def _update(run: Run, rate: float, clip: float | None, step: int) -> float:
    """Make one step with the gradient that lies in the weights; return its length before clipping."""
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), math.inf if clip is None else clip).item()
    if not math.isfinite(norm):  # a finite loss can have such a gradient, as √0 has
        raise FloatingPointError(f"fit: the gradient of step {step} is {norm}; training stops before it")
    for optimiser in run.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
    return norm


def optimisers_of(
    model: nn.Module,
    name: Optimiser,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float,
) -> list[torch.optim.Optimizer]:
    """Return what moves a model's weights: AdamW for all of them, or Muon for the hidden matrices and AdamW else.

    Muon (Jordan et al. 2024) moves a matrix as far in each of its directions: it takes the singular values of the
    momentum to 1 before the step. That suits maps from vectors to vectors, so it gets the weights of `nn.Linear`,
    but not one that an embedding shares, which has a row a token. Its steps are made as long as AdamW's (Liu et
    al. 2025, section 2.2): one rate does for both.

    Raises:
        ValueError: another name, no matrix for Muon, or a PyTorch without it.
    """
    if name == "adamw":
        return [torch.optim.AdamW(model.parameters(), lr=lr, betas=betas, weight_decay=weight_decay)]
    if name != "muon":
        raise ValueError(f"fit: optimiser must be 'adamw' or 'muon', got {name!r}")
    if not hasattr(torch.optim, "Muon"):
        raise ValueError(f"fit: optimiser 'muon' needs PyTorch 2.9 or later, and this is {torch.__version__}")
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    maps = {module.weight for module in model.modules() if isinstance(module, nn.Linear)} - tables
    if not maps:
        raise ValueError(f"fit: optimiser 'muon' finds no matrix of a hidden layer in {type(model).__name__}")
    hidden = [parameter for parameter in model.parameters() if parameter in maps]  # in the model's order
    rest = [parameter for parameter in model.parameters() if parameter not in maps]
    muon = torch.optim.Muon(hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
    return [muon] + ([torch.optim.AdamW(rest, lr=lr, betas=betas, weight_decay=weight_decay)] if rest else [])


# --- several processes -------------------------------------------------------------------------------------


def _check_processes(run: Run, count_of: Callable[[Any], Any] | None, *same: Any) -> None:
    """Refuse, where several processes train, what would not be one run, or not that of one process."""
    if n_processes() == 1:
        return
    weights = {
        name: f"{tuple(tensor.shape)} {tensor.dtype}" for name, tensor in run.model.state_dict().items()
    }
    check_same("fit", run.recipe | {"device": run.device.type, "model": weights, "validation and file": same})
    if count_of is None:
        raise ValueError(
            f"fit: {n_processes()} processes need count_of, for a mean of their means is not the mean over all: "
            "such as count_of=lambda batch: (labels of the batch != −100).sum(), or the number of rows"
        )
    for name, module in run.model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
            raise ValueError(
                f"fit: {name} is a {type(module).__name__}; in several processes it would see its share only"
            )


def _seed_of_process(seed: int) -> int:
    """Return the seed of this process's dropout: the run's own in the first, as if it were alone."""
    return (seed + process_number() * 0x9E3779B97F4A7C15) % 2**64 if process_number() else seed


def _chance(device: torch.device) -> dict[str, Tensor]:
    """Return where this process stands in its random numbers."""
    on_gpu = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"torch": torch.get_rng_state()} | on_gpu


# --- precision ---------------------------------------------------------------------------------------------


def has_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies 16-bit brain floats itself; elsewhere they are slower than fp32.

    Asked are the processor's abilities (AVX512-BF16 or AMX on x86, BF16 on ARM, Ampere and later on CUDA), not a
    stopwatch: a run that goes on must get the same answer.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    try:
        if platform.machine().lower() in ("x86_64", "amd64"):
            return torch.cpu._is_avx512_bf16_supported()  # also where there is AMX
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    except (AttributeError, RuntimeError):  # another version of PyTorch, or one built without oneDNN
        return False


def _without_bf16(device: torch.device, description: str, progress: bool) -> str:
    """Say that there is no bf16: in the line of progress, or as a warning where no such line is kept."""
    if not (progress and _in_notebook()):
        warnings.warn(
            f"fit: this {device.type} has no bf16; the run goes on in fp32, slower and as exact or more so",
            stacklevel=3,
        )
    return f"{description} (fp32: no bf16 here)"


# --- checkpoints -------------------------------------------------------------------------------------------


def write_checkpoint(path: str | Path, run: Run) -> None:
    """Keep all that a run needs to go on: weights, the optimisers' memory, the random states, the history.

    The file is written beside its place and moved there in one step: whenever the machine stops, it is whole. Of
    several processes the first writes it, with the random states of all.
    """
    chance = gathered(_chance(run.device))

    def write() -> None:
        tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
        for which, optimiser in enumerate(run.optimisers):
            for number, memory in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{which}.{number}.{name}": tensor for name, tensor in memory.items()}
        tensors = {
            name: tensor.detach().clone() for name, tensor in tensors.items()
        }  # two names share no memory
        tensors["random.batches"] = run.batches.get_state()
        for process, states in enumerate(chance):
            tensors |= {f"random.{process}.{name}": state for name, state in states.items()}
        tensors["history.losses"] = torch.tensor(run.history.losses, dtype=torch.float64)
        tensors["history.grad_norms"] = torch.tensor(run.history.grad_norms, dtype=torch.float64)
        tensors["history.validations"] = torch.tensor(run.history.validations, dtype=torch.float64).view(
            -1, 2
        )
        save_atomically(path, tensors, {"recipe": json.dumps(run.recipe)})

    from_first(write)


def read_checkpoint(path: str | Path, run: Run) -> None:
    """Put a run back to where `write_checkpoint` kept it; without a file, leave it at its beginning.

    Of several processes the first reads the file and gives it to all. Their number may have changed: the run
    goes on, and only its dropout is not what it would have been.

    Raises:
        ValueError: the file is damaged, was written with other settings, or holds another model.
    """
    found = from_first(lambda: load_tensors(path) if Path(path).exists() else None)
    if found is None:
        return
    tensors, notes = found
    written = json.loads(notes.get("recipe", "{}"))
    other = [name for name in run.recipe if written.get(name) != run.recipe[name]]
    if other:
        raise ValueError(
            f"fit: {Path(path).name} was written with {other[0]} = {written.get(other[0])}, and this run has "
            f"{run.recipe[other[0]]}; give another file, or delete it to begin anew"
        )
    try:
        run.model.load_state_dict(_under("model.", tensors))
    except RuntimeError as error:
        first_line = " ".join(str(error).split("\n", 1)[-1].split())
        raise ValueError(f"fit: {Path(path).name} holds another model: {first_line}") from None
    for which, optimiser in enumerate(run.optimisers):
        memory: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(f"optimiser.{which}.", tensors).items():
            number, what = name.split(".")
            memory.setdefault(int(number), {})[what] = tensor
        optimiser.load_state_dict({"state": memory, "param_groups": optimiser.state_dict()["param_groups"]})
    run.batches.set_state(tensors["random.batches"])
    chance = _under(f"random.{process_number()}.", tensors)
    if "torch" in chance:
        torch.set_rng_state(chance["torch"])
    if "cuda" in chance and run.device.type == "cuda":
        torch.cuda.set_rng_state(chance["cuda"], run.device)
    run.history.losses[:] = tensors["history.losses"].tolist()
    run.history.grad_norms[:] = tensors["history.grad_norms"].tolist()
    run.history.validations[:] = [
        (int(step), value) for step, value in tensors["history.validations"].tolist()
    ]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, under the rest of their names."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save_atomically(path: str | Path, tensors: dict[str, Tensor], notes: dict[str, str]) -> None:
    """Write tensors and notes into a safetensors file, in one step: it is there whole, or as it was before.

    Two processes that write the same file do not mix: each writes its own, and the last one stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, unfinished, notes)
        with open(unfinished, "rb+") as file:  # what is moved must be on the disk, not on its way there
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors by name, and its notes. Nothing in it is ever executed.

    Raises:
        ValueError: the file is damaged or is no safetensors file.
    """
    if Path(path).is_dir():
        raise ValueError(f"{Path(path).name} is a folder, not a file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{Path(path).name} is damaged or no safetensors file ({error}); delete it to begin anew"
        ) from None


# --- progress ----------------------------------------------------------------------------------------------


class _Line:
    """A line of text in a notebook's output. It stands in ⟦⟧, for its timings differ from run to run."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return f"⟦{self.text}⟧"


class _NotebookLine(io.StringIO):
    """A file that shows the last line written to it, in one place of a notebook's output."""

    def __init__(self) -> None:
        from IPython.display import display

        super().__init__()
        self.shown = display(_Line(""), display_id=True)

    def write(self, text: str) -> int:
        if text.strip():
            self.shown.update(_Line(text.strip()))
        return len(text)


def progress_bar(total: int, description: str, first: int = 0, shown: bool = True) -> tqdm:
    """Return a progress bar of `total` steps: a line of text in a notebook, a bar on a terminal, else nothing.

    (A widget would vanish from the stored notebook, and text on stderr would count as a warning.)
    """
    if shown and _in_notebook():
        line = _NotebookLine()
        return tqdm(
            total=total,
            initial=first,
            desc=description,
            file=line,
            ascii=" ▏▎▍▌▋▊▉█",
            ncols=88,
            mininterval=0.5,
        )
    return tqdm(total=total, initial=first, desc=description, disable=None if shown else True, leave=False)


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")


# --- what may be given -------------------------------------------------------------------------------------


def _check_schedule(who: str, *, steps: int, lr: float, warmup: int, decay: str) -> None:
    _check_whole(who, 1, steps=steps)
    if not (isinstance(lr, SupportsFloat) and 0 < lr < math.inf):
        raise ValueError(f"{who}: lr must be a positive number, got {lr!r}")
    if not (isinstance(warmup, SupportsIndex) and 0 <= warmup < steps):
        raise ValueError(f"{who}: warmup must lie between 0 and steps − 1 = {steps - 1}, got {warmup!r}")
    if decay not in ("linear", "cosine", "none"):
        raise ValueError(f"{who}: decay must be 'linear', 'cosine' or 'none', got {decay!r}")


def _check_betas(betas: tuple[float, float]) -> None:
    two = isinstance(betas, (tuple, list)) and len(betas) == 2
    if not (two and all(isinstance(beta, SupportsFloat) and 0 <= beta < 1 for beta in betas)):
        raise ValueError(f"fit: betas must be two numbers from 0 to below 1, got {betas!r}")


def _check_whole(who: str, least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if not (isinstance(number, SupportsIndex) and number >= least):
            raise ValueError(f"{who}: {name} must be a whole number, at least {least}, got {number!r}")


def _check_writable(path: Path) -> None:
    """Make the folder and try it now: after an hour of training would be too late."""
    if path.is_dir():
        raise ValueError(f"fit: checkpoint must be a file, and {path} is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"fit: the checkpoint {path} cannot be written: {error.strerror}") from None


def _kind(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
