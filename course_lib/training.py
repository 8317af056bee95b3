"""Training: one loop for every lesson.

Batches are drawn from a seed, the learning rate warms up and decays, the gradient is clipped, and a run that
was killed goes on from its last checkpoint as if nothing had happened, to the last bit.
"""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, SupportsFloat, SupportsIndex

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

Decay = Literal["linear", "cosine", "none"]


@dataclass
class History:
    """What a run wrote down.

    losses: one number a step, in nats. grad_norms: one number a step, before clipping.
    validations: pairs (step, what `validate` returned).
    """

    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)


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
    weight_decay: float = 0.0,
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
        weight_decay: AdamW's, for all parameters.
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
            written, or a loss that is not one number or hangs on no weight.
        FloatingPointError: the loss or its gradient is NaN or infinite; the weights are those before that step.
    """
    _check_schedule("fit", steps=steps, lr=lr, warmup=warmup, decay=decay)
    _check_whole("fit", 1, accumulate=accumulate)
    _check_whole("fit", 0, validate_every=validate_every, checkpoint_every=checkpoint_every)
    if clip is not None and not (isinstance(clip, SupportsFloat) and clip > 0):
        raise ValueError(f"fit: clip must be above 0, or None for no clipping, got {clip!r}")
    if not (isinstance(weight_decay, SupportsFloat) and 0 <= weight_decay < math.inf):
        raise ValueError(f"fit: weight_decay must be a number, at least 0, got {weight_decay!r}")
    if not (isinstance(seed, SupportsIndex) and -(2**63) <= seed < 2**64):  # what torch takes
        raise ValueError(f"fit: seed must be a whole number of 64 bits, got {seed!r}")
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
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None:
        _check_writable(path)
    recipe = {  # plain numbers, for they go into a file
        "steps": int(steps),
        "lr": float(lr),
        "warmup": int(warmup),
        "decay": decay,
        "clip": None if clip is None else float(clip),
        "accumulate": int(accumulate),
        "weight_decay": float(weight_decay),
        "seed": int(seed),
    }
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    batches = torch.Generator().manual_seed(int(seed))
    history = History()
    was_training = model.training
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(seed))
            if path is not None and path.exists():
                read_checkpoint(path, model, optimiser, batches, history, recipe)
            first = len(history.losses)
            model.train()
            with progress_bar(steps, description, first, progress) as bar:
                for step in range(first, steps):
                    rate = learning_rate(step, steps=steps, lr=lr, warmup=warmup, decay=decay)
                    loss, norm = _update(
                        model, optimiser, draw_batch, loss_of, batches, rate, clip, accumulate, step
                    )
                    history.losses.append(loss)
                    history.grad_norms.append(norm)
                    done = step + 1
                    if validate is not None and (
                        done == steps or (validate_every and done % validate_every == 0)
                    ):
                        history.validations.append((done, evaluate(model, validate)))
                    if path is not None and (
                        done == steps or (checkpoint_every and done % checkpoint_every == 0)
                    ):
                        write_checkpoint(path, model, optimiser, batches, history, recipe)
                    bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                    bar.update()
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


def _update(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    draw_batch: Callable[[torch.Generator], Any],
    loss_of: Callable[[Any, Any], Tensor],
    batches: torch.Generator,
    rate: float,
    clip: float | None,
    accumulate: int,
    step: int,
) -> tuple[float, float]:
    """Make one update of the weights; return the loss and the length of the gradient before clipping."""
    optimiser.zero_grad()
    total = 0.0
    for _ in range(accumulate):
        loss = loss_of(model, draw_batch(batches))
        if not isinstance(loss, Tensor) or loss.dim() != 0:
            raise ValueError(f"fit: loss_of must return one number, a tensor without axes; got {_kind(loss)}")
        if not loss.requires_grad:
            raise ValueError("fit: the loss hangs on no weight: was it computed without gradients?")
        if not loss.isfinite():
            raise FloatingPointError(
                f"fit: the loss of step {step} is {loss.item()}; training stops before it"
            )
        (loss / accumulate).backward()
        total += loss.item() / accumulate
    norm = nn.utils.clip_grad_norm_(model.parameters(), math.inf if clip is None else clip).item()
    if not math.isfinite(norm):  # a finite loss can have such a gradient, as √0 has
        raise FloatingPointError(f"fit: the gradient of step {step} is {norm}; training stops before it")
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return total, norm


# --- checkpoints -------------------------------------------------------------------------------------------


def write_checkpoint(
    path: str | Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: torch.Generator,
    history: History,
    recipe: dict[str, Any],
) -> None:
    """Keep all that a run needs to go on: weights, the optimiser's memory, the random states, the history.

    The file is written beside its place and moved there in one step: whenever the machine stops, it is whole.
    """
    tensors = {f"model.{name}": tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for number, memory in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": tensor.clone() for name, tensor in memory.items()}
    tensors["random.batches"] = batches.get_state()
    tensors["random.torch"] = torch.get_rng_state()
    tensors["history.losses"] = torch.tensor(history.losses, dtype=torch.float64)
    tensors["history.grad_norms"] = torch.tensor(history.grad_norms, dtype=torch.float64)
    tensors["history.validations"] = torch.tensor(history.validations, dtype=torch.float64).view(-1, 2)
    save_atomically(path, tensors, {"recipe": json.dumps(recipe)})


def read_checkpoint(
    path: str | Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: torch.Generator,
    history: History,
    recipe: dict[str, Any],
) -> None:
    """Put a run back to where `write_checkpoint` kept it.

    Raises:
        ValueError: the file is damaged, was written with other settings, or holds another model.
    """
    tensors, notes = load_tensors(path)
    written = json.loads(notes.get("recipe", "{}"))
    other = [name for name in recipe if written.get(name) != recipe[name]]
    if other:
        raise ValueError(
            f"fit: {Path(path).name} was written with {other[0]} = {written.get(other[0])}, and this run has "
            f"{recipe[other[0]]}; give another file, or delete it to begin anew"
        )
    weights = {name[len("model.") :]: tensor for name, tensor in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first_line = " ".join(str(error).split("\n", 1)[-1].split())
        raise ValueError(f"fit: {Path(path).name} holds another model: {first_line}") from None
    memory: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, number, what = name.split(".")
            memory.setdefault(int(number), {})[what] = tensor
    optimiser.load_state_dict({"state": memory, "param_groups": optimiser.state_dict()["param_groups"]})
    batches.set_state(tensors["random.batches"])
    torch.set_rng_state(tensors["random.torch"])
    history.losses[:] = tensors["history.losses"].tolist()
    history.grad_norms[:] = tensors["history.grad_norms"].tolist()
    history.validations[:] = [(int(step), value) for step, value in tensors["history.validations"].tolist()]


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
