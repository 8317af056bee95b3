"""Several processes train as one: each computes its rows of a batch, and their gradients are added up.

`torchrun`, which comes with PyTorch, starts the processes and gives each its number; here on one machine, and on
two (both say the same, HOST is the name or address of one of them):

    torchrun --nproc-per-node 2 train.py
    torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint HOST:29400 --rdzv-id 7 train.py

What stands in train.py is right for one process, too:

    with distributed() as device:
        model = GPT(config).to(device)
        fit(model, draw_batch, loss_of, count_of=count_labels, …)

Every process draws the same batch from the same seed and takes its `share` of the rows; the sum of all gradients
then lies in every process, and each makes the same step with it. What one process alone must do (validate, keep
a file) the first one does, and the others wait. Where one process fails, all fail: nobody waits for ever.

With `--max-restarts 3` and a checkpoint, torchrun starts all processes anew when one was killed, and the run goes
on; give torchrun TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment, or the new ones look for the old ones.
Between machines, gloo listens where a machine's name leads; where that is the wrong network, set
GLOO_SOCKET_IFNAME (and NCCL_SOCKET_IFNAME) to the name of the right one.
"""

from __future__ import annotations

import dataclasses
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, SupportsFloat, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Result = TypeVar("Result")

_alone = False


@contextmanager
def distributed(timeout: float = 600.0) -> Iterator[torch.device]:
    """Join the processes that `torchrun` started, and leave them at the end; without torchrun, do nothing.

    Tensors on the CPU travel by gloo, those on a GPU by NCCL.

    Args:
        timeout: seconds after which a process that waits in vain gives up with an error. A validation must not
            take longer.

    Yields:
        This process's device: a GPU of its own where the machine has enough of them, else the CPU.

    Raises:
        ValueError: a timeout that is no positive number.
    """
    if not (isinstance(timeout, SupportsFloat) and 0 < float(timeout) < float("inf")):
        raise ValueError(f"distributed: timeout must be a positive number of seconds, got {timeout!r}")
    here, on_this_machine = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    device = torch.device("cpu")
    if torch.cuda.is_available() and on_this_machine <= torch.cuda.device_count():
        device = torch.device("cuda", here)
        torch.cuda.set_device(device)
    if "RANK" not in os.environ or dist.is_initialized():
        yield device
        return
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=timedelta(seconds=float(timeout)))
    try:
        yield device
    finally:
        # Gloo's threads free the last message's tensors, for which they need Python; one that comes too late, when
        # Python ends, aborts the process or waits for ever. So Python waits for them.
        time.sleep(0.2)
        dist.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """Let this process work for itself inside, as if it were the only one."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def n_processes() -> int:
    """Return how many processes work together; 1 where nobody started more."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not _alone else 1


def process_number() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if n_processes() > 1 else 0


# --- the rows of a batch -----------------------------------------------------------------------------------


def share(batch: Any, part: int, parts: int) -> Any:
    """Return the rows of a batch that one of several processes computes.

    The B rows are cut into `parts` runs, as equal as can be: the first B mod `parts` have a row more. With fewer
    rows than parts the last shares are empty.

    Args:
        batch: a tensor, or tensors in tuples, lists, dicts and dataclasses. Every tensor has the batch as its
            first axis, or size 1 there (a mask for all rows) or no axis, and then goes to everybody whole. A
            list without tensors has an entry a row. Numbers, words and None go to everybody.
        part: which share, from 0.
        parts: how many shares.

    Returns:
        The same kind of thing, with fewer rows.

    Raises:
        ValueError: a part that is not there, tensors with different numbers of rows, or something that cannot
            be cut.
    """
    if not (isinstance(part, int) and isinstance(parts, int) and 0 <= part < parts):
        raise ValueError(f"share: part must lie between 0 and parts − 1, got part {part!r} of {parts!r}")
    sizes = {tensor.size(0) for tensor in _tensors(batch) if tensor.dim()}
    rows = sizes - {1} if len(sizes) > 1 else sizes
    if len(rows) != 1:
        shapes = [tuple(tensor.shape) for tensor in _tensors(batch)]
        raise ValueError(
            "share: every tensor of a batch must have the same number of rows on its first axis, or 1 there; "
            f"got shapes {shapes}"
        )
    (n_rows,) = rows
    least, more = divmod(n_rows, parts)
    start = part * least + min(part, more)
    return _rows(batch, n_rows, slice(start, start + least + (part < more)))


def _tensors(batch: Any) -> Iterator[Tensor]:
    """Yield all tensors of a batch, in order."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, dict):
        for part in batch.values():
            yield from _tensors(part)
    elif isinstance(batch, (tuple, list)):
        for part in batch:
            yield from _tensors(part)
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        for part in dataclasses.fields(batch):
            yield from _tensors(getattr(batch, part.name))


def _rows(batch: Any, n_rows: int, run: slice) -> Any:
    """Return a batch of `n_rows` cut down to a run of its rows."""
    if isinstance(batch, Tensor):
        return batch if batch.dim() == 0 or batch.size(0) != n_rows else batch[run]
    if isinstance(batch, dict):
        return {name: _rows(part, n_rows, run) for name, part in batch.items()}
    if isinstance(batch, list) and next(_tensors(batch), None) is None:
        if len(batch) != n_rows:
            raise ValueError(
                f"share: a list without tensors must have an entry for each of {n_rows} rows, got {len(batch)}"
            )
        return batch[run]
    if isinstance(batch, (tuple, list)):
        parts = [_rows(part, n_rows, run) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        names = [part.name for part in dataclasses.fields(batch)]
        return dataclasses.replace(
            batch, **{name: _rows(getattr(batch, name), n_rows, run) for name in names}
        )
    if batch is None or isinstance(batch, (bool, int, float, str)):
        return batch
    raise ValueError(
        f"share: a batch must hold tensors, in tuples, lists, dicts or dataclasses; got {_a(batch)}"
    )


# --- what processes say to each other ----------------------------------------------------------------------


def sum_gradients(model: nn.Module, numbers: list[float]) -> list[float]:
    """Add up all processes' gradients, in place, and some numbers beside them.

    A weight that no process used has no gradient afterwards, as in one process; one that some used has the sum.

    Returns:
        The sums of the numbers, the same in every process.
    """
    if n_processes() == 1:
        return numbers
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    used = [float(weight.grad is not None) for weight in weights]
    said = torch.tensor(numbers + used, dtype=torch.float64, device=weights[0].device)
    dist.all_reduce(said)
    used_by = dict(zip(weights, said[len(numbers) :].tolist()))
    for dtype in sorted({weight.dtype for weight in weights}, key=str):
        group = [weight for weight in weights if weight.dtype == dtype and used_by[weight]]
        if not group:
            continue
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in group]
        bucket = torch.cat([gradient.flatten() for gradient in gradients])  # one message, not one a weight
        dist.all_reduce(bucket)
        for weight, summed in zip(group, bucket.split([weight.numel() for weight in group])):
            weight.grad = summed.view_as(weight)
    return said[: len(numbers)].tolist()


def copy_weights_from_first(model: nn.Module) -> None:
    """Give all processes the first one's weights and buffers."""
    if n_processes() == 1:
        return
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            raw = (
                tensor.detach().flatten().contiguous().view(torch.uint8)
            )  # bytes: of whatever kind and layout
            dist.broadcast(raw, src=0)
            tensor.copy_(raw.view(tensor.dtype).view(tensor.shape))


def from_first(action: Callable[[], Result]) -> Result:
    """Call something in the first process alone; all return what it returned, or fail when it failed.

    Raises:
        RuntimeError: in the others, when it failed; the first process raises its own error.
    """
    if n_processes() == 1:
        return action()
    if process_number() == 0:
        try:
            result = action()
        except Exception as error:
            with suppress(Exception):  # where the others are gone, too, the error says more than that
                dist.broadcast_object_list([False, repr(error)], src=0)
            raise
        dist.broadcast_object_list([True, result], src=0)
        return result
    said: list[Any] = [None, None]
    dist.broadcast_object_list(said, src=0)
    went_well, got = said
    if not went_well:
        raise RuntimeError(f"process 0 failed, and process {process_number()} with it: {got}")
    return got


@contextmanager
def all_or_none() -> Iterator[None]:
    """Do a piece of work in every process; where it fails in one of them, it fails in all.

    Raises:
        RuntimeError: in those in which it went well, when it failed in another, which raises its own error.
    """
    if n_processes() == 1:
        yield
        return
    try:
        yield
    except Exception as error:
        with suppress(Exception):  # where the others are gone, too, the error says more than that
            gathered(f"process {process_number()} failed, and all others with it: {error!r}")
        raise
    failures = [said for said in gathered(None) if said is not None]
    if failures:
        raise RuntimeError(failures[0])


def gathered(mine: Result) -> list[Result]:
    """Return what every process gives, in the order of their numbers."""
    if n_processes() == 1:
        return [mine]
    everybodys: list[Any] = [None] * n_processes()
    dist.all_gather_object(everybodys, mine)
    return everybodys


def check_same(who: str, mine: dict[str, Any]) -> None:
    """Refuse in all processes what one of them has otherwise.

    Raises:
        ValueError: a process has another value under some name.
    """
    everybodys = gathered(mine)
    for number, given in enumerate(everybodys):
        for name, value in everybodys[0].items():
            if given[name] != value:
                raise ValueError(
                    f"{who}: all processes must be given the same {name}; process 0 has {value}, and process "
                    f"{number} has {given[name]}"
                )


def fingerprint(batch: Any) -> int:
    """Return a number that tells batches apart: from the shapes of the tensors and from all whole numbers.

    (Not from fractions: another processor may round the last bit otherwise.)
    """
    number = 0
    for tensor in _tensors(batch):
        number = zlib.crc32(f"{tuple(tensor.shape)} {tensor.dtype}".encode(), number)
        if not (tensor.is_floating_point() or tensor.is_complex()):
            number = zlib.crc32(tensor.detach().cpu().contiguous().numpy().tobytes(), number)
    return number


def _a(thing: Any) -> str:
    return f"a {type(thing).__name__}"
