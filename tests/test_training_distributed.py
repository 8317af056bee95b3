"""Several processes train one model: real torchrun, gloo, also over a network between two machines.

This file is the test and, started by torchrun, also what the processes run: `main` at its end.
"""

import dataclasses
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from course_lib import distributed
from course_lib.distributed import share
from course_lib.training import fit

VOCABULARY, IGNORED = 11, -100


# --- what is trained, here in one process and there in several ---------------------------------------------


class Small(nn.Module):
    """A language model with everything that can go wrong: tied, frozen, unused and seldom used weights, a buffer."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 6)
        self.hidden, self.dropout = nn.Linear(6, 6), nn.Dropout(dropout)
        self.to_logits = nn.Linear(6, VOCABULARY)
        self.to_logits.weight = self.embedding.weight
        self.seldom, self.unused = nn.Linear(6, 6), nn.Linear(6, 6)
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.transposed = nn.Parameter(torch.randn(6, 3).T)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("flags", torch.tensor([True, False]))

    def forward(self, tokens):
        self.calls += 1
        x = self.frozen(self.embedding(tokens))
        x = x + x[..., :3] @ self.transposed
        if (tokens[:, 0] == 0).any():  # one row in eleven: seldom in all processes at once
            x = x + self.seldom(x) * (tokens[:, :1, None] == 0)
        return self.to_logits(self.dropout(torch.tanh(self.hidden(x))))


def a_model(dropout=0.0, dtype=torch.float64):
    torch.manual_seed(3)
    return Small(dropout).to(dtype)


def drawing(rows):
    """Batches of rows with very different numbers of labels; the last third has none at all."""

    def draw_batch(generator):
        tokens = torch.randint(VOCABULARY, (rows, 9), generator=generator)
        lengths = torch.randint(1, 9, (rows,), generator=generator)
        lengths[rows - rows // 3 :] = 0
        tokens[lengths == 0, 0] = 1  # what no label needs has a gradient of 0 in one process, and here none
        labels = tokens.roll(-1, 1).masked_fill(torch.arange(9) >= lengths[:, None], IGNORED)
        return {"tokens": tokens, "labels": labels}

    return draw_batch


def loss_of(model, batch):
    return F.cross_entropy(model(batch["tokens"]).flatten(0, 1), batch["labels"].flatten())


def count_of(batch):
    return (batch["labels"] != IGNORED).sum()


def two_losses(model, batch):
    """Two terms that count different things: the next words, and the first word once more."""
    logits = model(batch["tokens"])
    first = F.cross_entropy(logits[:, 0], batch["tokens"][:, 0])
    return torch.stack([F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten()), first])


def two_counts(batch):
    return count_of(batch), len(batch["tokens"])


SETTINGS = {"steps": 12, "lr": 0.02, "warmup": 2, "clip": 0.5, "progress": False, "seed": 5}
RUNS = {
    "ragged": {"rows": 7},
    "fewer rows than processes": {"rows": 2},
    "one row": {"rows": 1},
    "accumulated": {"rows": 5, "accumulate": 3},
    "two terms": {"rows": 7, "accumulate": 2, "loss_of": two_losses, "count_of": two_counts},
    "weight decay, no clip": {"rows": 6, "weight_decay": 0.1, "clip": None, "decay": "cosine"},
    "validated": {"rows": 6, "validate": lambda model: model.hidden.weight.sum(), "validate_every": 5},
}


def a_run(model, rows=6, loss_of=loss_of, count_of=count_of, **changes):
    return fit(model, drawing(rows), loss_of, count_of=count_of, **(SETTINGS | changes))


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


# --- what stands here --------------------------------------------------------------------------------------


def torchrun(scenario, out, processes=2, *options, timeout=120, **environment):
    """Start this file in several processes; return what torchrun returned and said."""
    command = [*launcher(processes, *options), __file__, scenario, str(out)]
    return ended(start(command, environment, out / "said.txt"), out / "said.txt", timeout)


def start(command, environment, said):
    """Start a program that speaks into a file: of a pipe nobody sees the end while a child of it still hangs."""
    with said.open("w") as file:
        return subprocess.Popen(command, env=surroundings(environment), stderr=file)


def ended(program, said, timeout=120):
    """Wait for a program that was started; return what it returned and said."""
    try:
        program.wait(timeout)
    finally:
        program.terminate()  # torchrun then ends its processes, those that hang after half a minute
        program.wait(60)
    return program.returncode, said.read_text()


def launcher(processes, *options):
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)),
        *(options or ("--standalone",)),
    ]


def surroundings(changes):
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])} | changes


@pytest.fixture(scope="module", params=[2, 3])
def many(request, tmp_path_factory):
    """The folder in which two (and three) processes left what came out of all scenarios that end well."""
    out = tmp_path_factory.mktemp(f"processes_{request.param}")
    code, said = torchrun("everything", out, request.param)
    assert code == 0, said
    return request.param, out


@pytest.mark.parametrize("name", RUNS)
def test_several_processes_reach_the_losses_and_weights_of_one(many, name):
    processes, out = many
    model = a_model()
    history = a_run(model, **RUNS[name])
    for process in range(processes):
        theirs = json.loads((out / f"{name}.{process}.json").read_text())
        assert theirs["losses"] == pytest.approx(history.losses, abs=1e-10, rel=0)
        assert theirs["grad_norms"] == pytest.approx(history.grad_norms, abs=1e-10, rel=0)
        assert [step for step, _ in theirs["validations"]] == [step for step, _ in history.validations]
        assert [v for _, v in theirs["validations"]] == pytest.approx([v for _, v in history.validations])
        ended = load_file(out / f"{name}.{process}.safetensors")
        for key, tensor in weights(model).items():
            torch.testing.assert_close(ended[key], tensor, rtol=0, atol=1e-10)


def test_a_mean_of_the_processes_means_would_be_seen():
    """The control: with these labels, the wrong mean is off by far more than the limit above."""
    model, batch = a_model(), drawing(7)(torch.Generator().manual_seed(5))
    means = [loss_of(model, share(batch, part, 2)) for part in range(2)]
    assert abs(sum(means) / 2 - loss_of(model, batch)) > 0.01


@pytest.mark.parametrize("name", ["bf16", "dropout", "muon"])
def test_all_processes_end_with_the_same_bits(many, name):
    processes, out = many
    ended = [load_file(out / f"{name}.{process}.safetensors") for process in range(processes)]
    for other in ended[1:]:
        assert all(torch.equal(ended[0][key], tensor) for key, tensor in other.items())


def test_sixteen_bits_in_several_processes_stay_near_those_in_one(many):
    _, out = many
    history = a_run(a_model(dtype=torch.float32), precision="bf16")
    theirs = json.loads((out / "bf16.0.json").read_text())
    assert theirs["losses"] == pytest.approx(history.losses, rel=0.02)


def test_each_process_drops_other_numbers_and_the_same_ones_again(many):
    processes, out = many
    dropped = [(out / f"dropped.{process}.txt").read_text() for process in range(processes)]
    assert len(set(dropped)) == processes
    assert all(
        (out / f"dropped again.{process}.txt").read_text() == dropped[process] for process in range(processes)
    )


@pytest.mark.parametrize(
    ("name", "in_the_first", "in_the_others"),
    [
        (
            "no count",
            "ValueError: fit: . processes need count_of",
            "ValueError: fit: . processes need count_of",
        ),
        ("another rate", "ValueError: fit: .* same lr; process 0 has 0.02", "ValueError: fit: .* same lr"),
        ("another model", "ValueError: fit: .* same model", "ValueError: fit: .* same model"),
        (
            "other data",
            "ValueError: fit: the processes drew different",
            "ValueError: fit: the processes drew",
        ),
        (
            "a wrong count",
            "ValueError: fit: count_of must count a batch as",
            "ValueError: fit: count_of must",
        ),
        ("no number in one", "FloatingPointError: .* step 0 is nan", "FloatingPointError: .* step 0 is nan"),
        (
            "a failure in the last",
            "RuntimeError: process . failed.*not here",
            "(Value|Runtime)Error: .*not here",
        ),
        ("a failed validation", "KeyError: 'lost'", "RuntimeError: process 0 failed, .* KeyError"),
        ("a batch norm", "ValueError: fit: 1 is a BatchNorm1d", "ValueError: fit: 1 is a BatchNorm1d"),
        ("nothing to count", "ValueError: .*finds nothing to count", "ValueError: .*finds nothing to count"),
        (
            "a file that is a folder",
            "ValueError: fit: .* is a folder",
            "RuntimeError: process 0 failed.*is a folder",
        ),
    ],
)
def test_a_failure_in_one_process_is_one_in_all(many, name, in_the_first, in_the_others):
    processes, out = many
    for process in range(processes):
        said = (out / f"{name}.{process}.txt").read_text()
        assert re.match(in_the_others if process else in_the_first, said), said


def test_only_the_first_process_validates(many):
    processes, out = many
    assert [(out / f"validated in.{process}.txt").exists() for process in range(processes)] == [
        process == 0 for process in range(processes)
    ]


def test_a_file_of_several_processes_goes_on_in_one_and_back(many):
    """Twelve steps: five in several processes, as many in one, the rest in several; with dropout 0 all is one."""
    _, out = many
    model = a_model()
    a_run(model, checkpoint=None)
    torch.testing.assert_close(
        load_file(out / "resumed.0.safetensors")["hidden.weight"],
        model.hidden.weight.detach(),
        rtol=0,
        atol=1e-10,
    )


# --- killed ------------------------------------------------------------------------------------------------


def test_when_a_process_is_killed_the_others_end_with_an_error(tmp_path):
    started = time.monotonic()
    code, said = torchrun("killed once", tmp_path)
    assert code != 0 and "Signal 9 (SIGKILL)" in said
    assert time.monotonic() - started < 60
    assert not (tmp_path / "ended.0").exists() and not (tmp_path / "ended.1").exists()


def test_two_processes_killed_at_three_random_steps_end_with_the_same_bits(tmp_path):
    code, said = torchrun("whole", tmp_path)
    assert code == 0, said
    code, said = torchrun(
        "killed again and again",
        tmp_path,
        2,
        # More restarts than kills: who is left notices a kill in its own time, and may count as one more failure.
        *("--standalone", "--max-restarts", str(3 * KILLS), "--monitor-interval", "0.05"),
        TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1",
    )
    assert code == 0, said
    assert len(list(tmp_path.glob("kill.*"))) == KILLS
    whole, ended = load_file(tmp_path / "whole.safetensors"), load_file(tmp_path / "ended.safetensors")
    assert all(torch.equal(ended[key], tensor) for key, tensor in whole.items())


# --- two machines ------------------------------------------------------------------------------------------


@pytest.fixture
def two_machines():
    """Two network namespaces with a cable between them: to the processes inside, two machines."""
    names, addresses = ("course0", "course1"), ("10.77.0.1", "10.77.0.2")

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    if shutil.which("ip") is None:
        pytest.skip("no program ip here")
    try:
        for name in names:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            "cable0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            "cable1",
            "netns",
            names[1],
        )
        for number, (name, address) in enumerate(zip(names, addresses)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", f"cable{number}")
            for device in ("lo", f"cable{number}"):
                ip("-n", name, "link", "set", device, "up")
        yield names, addresses
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no namespaces here: {error.stderr.decode().strip()}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_two_machines_reach_the_losses_of_one_process(two_machines, tmp_path):
    machines = []
    for number, (name, address) in enumerate(zip(*two_machines)):
        options = (
            *("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{two_machines[1][0]}:29411"),
            *("--rdzv-id", "course", "--rdzv-conf", f"is_host={1 - number}", "--local-addr", address),
        )
        machines.append(
            start(
                [
                    *("ip", "netns", "exec", name),
                    *(*launcher(1, *options), __file__, "on two machines", str(tmp_path)),
                ],
                {"GLOO_SOCKET_IFNAME": f"cable{number}"},
                tmp_path / f"said.{number}.txt",
            )
        )
    ends = [ended(machine, tmp_path / f"said.{number}.txt") for number, machine in enumerate(machines)]
    assert [code for code, _ in ends] == [0, 0], ends
    history = a_run(a_model(), rows=7)
    for process in range(2):
        theirs = json.loads((tmp_path / f"two machines.{process}.json").read_text())
        assert theirs["losses"] == pytest.approx(history.losses, abs=1e-10, rel=0)
        assert theirs["addresses"] == [f"10.77.0.{process + 1}"]


# --- shares ------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Record:
    tokens: torch.Tensor
    name: str


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_the_shares_of_a_batch_are_its_rows_in_order_each_once(rows, parts):
    batch = torch.arange(rows * 4).view(rows, 4)
    shares = [share(batch, part, parts) for part in range(parts)]
    assert torch.equal(torch.cat(shares), batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_share_has_the_form_of_the_batch():
    x, mask = torch.arange(10).view(5, 2), torch.ones(1, 1, 5, 5)
    batch = {
        "pair": Pair(x, x + 1),
        "list": [x, mask],
        "words": list("abcde"),
        "record": Record(x, "n"),
        "k": 3,
    }
    got = share(batch, 1, 2)
    assert isinstance(got["pair"], Pair) and torch.equal(got["pair"].y, x[3:] + 1)
    assert torch.equal(got["list"][0], x[3:]) and got["list"][1] is mask
    assert got["words"] == ["d", "e"] and got["k"] == 3
    assert isinstance(got["record"], Record) and torch.equal(got["record"].tokens, x[3:])
    assert got["record"].name == "n"


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((torch.ones(5, 2), torch.ones(4)), r"same number of rows .* got shapes \[\(5, 2\), \(4,\)\]"),
        ({"a": 3}, r"same number of rows .* got shapes \[\]"),
        (torch.tensor(3.0), r"got shapes \[\(\)\]"),
        ((torch.ones(5), ["a", "b"]), "an entry for each of 5 rows, got 2"),
        ((torch.ones(5), {1, 2}), "tuples, lists, dicts or dataclasses; got a set"),
    ],
    ids=str,
)
def test_a_batch_that_cannot_be_cut_is_refused(batch, message):
    with pytest.raises(ValueError, match=message):
        share(batch, 0, 2)


@pytest.mark.parametrize(("part", "parts"), [(2, 2), (-1, 2), (0, 0), (0.0, 1)])
def test_a_share_that_is_not_there_is_refused(part, parts):
    with pytest.raises(ValueError, match=f"part must lie .* got part {part} of {parts}"):
        share(torch.ones(4), part, parts)


# --- one process -------------------------------------------------------------------------------------------


def test_without_torchrun_one_process_works_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with distributed.distributed() as device:
        assert device.type in ("cpu", "cuda") and distributed.n_processes() == 1
        assert distributed.process_number() == 0 and distributed.gathered(7) == [7]
        assert distributed.from_first(lambda: 8) == 8


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, "long", None])
def test_a_timeout_that_is_none_is_refused(timeout):
    with (
        pytest.raises(ValueError, match="distributed: timeout must be a positive number"),
        distributed.distributed(timeout),
    ):
        pass


# --- what the processes run --------------------------------------------------------------------------------


def keep(out, name, history, model):
    process = distributed.process_number()
    (out / f"{name}.{process}.json").write_text(json.dumps(dataclasses.asdict(history)))
    save_file(weights_and_buffers(model), out / f"{name}.{process}.safetensors")


def weights_and_buffers(model):
    return {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}


def everything(out):
    process = distributed.process_number()
    for name, changes in RUNS.items():
        model = a_model()
        if process:
            with torch.no_grad():
                model.hidden.weight.zero_()  # the first process's weights count
        keep(out, name, a_run(model, **changes), model)
    for name, changes in {
        "bf16": {"precision": "bf16"},
        "dropout": {},
        "muon": {"optimiser": "muon"},
    }.items():
        model = a_model(dropout=0.4 if name == "dropout" else 0.0, dtype=torch.float32)
        keep(out, name, a_run(model, **changes), model)
    for name in ("dropped", "dropped again"):
        seen = []
        model = a_model(dropout=0.5)
        model.dropout.register_forward_hook(
            lambda module, given, got, seen=seen: seen.append((got[0] == 0).tolist())
        )
        a_run(model, steps=3)
        (out / f"{name}.{process}.txt").write_text(str(seen))
    resumed(out)
    failures(out)


def resumed(out):
    process = distributed.process_number()
    file = out / f"run of {process}.safetensors"  # a disk of its own: the others never see the first one's

    def stopping(after):
        left = after

        def draw_batch(generator):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return drawing(6)(generator)

        return draw_batch

    def part(draw_batch):
        model = a_model()
        settings = SETTINGS | {"checkpoint": file, "checkpoint_every": 1}
        with suppress(KeyboardInterrupt):
            fit(model, draw_batch, loss_of, count_of=count_of, **settings)
        return model

    part(stopping(5))
    if process == 0:
        with distributed.alone():
            part(stopping(4))
    model = part(drawing(6))
    assert file.exists() == (process == 0)
    save_file(weights_and_buffers(model), out / f"resumed.{process}.safetensors")


def failures(out):
    process = distributed.process_number()

    def watched(model):
        (out / f"validated in.{process}.txt").write_text("yes")
        return 0.0

    def lost(model):
        raise KeyError("lost")

    def failing(model, batch):
        if process == 1:
            raise ValueError("not here")
        return loss_of(model, batch)

    def no_number(model, batch):
        return loss_of(model, batch) * (math.nan if process == 1 else 1.0)

    def normed():
        return nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))

    attempts = {
        "watched": lambda: a_run(a_model(), validate=watched),
        "no count": lambda: a_run(a_model(), count_of=None),
        "another rate": lambda: a_run(a_model(), lr=0.02 + 0.01 * process),
        "another model": lambda: a_run(a_model() if process else a_model(dtype=torch.float32)),
        "other data": lambda: a_run(a_model(), rows=6 + process),
        "a wrong count": lambda: a_run(a_model(), count_of=len),  # of a dict: 2, however many rows
        "no number in one": lambda: a_run(a_model(), loss_of=no_number),
        "a failure in the last": lambda: a_run(a_model(), loss_of=failing),
        "a failed validation": lambda: a_run(a_model(), validate=lost),
        "a batch norm": lambda: a_run(normed()),
        "nothing to count": lambda: a_run(a_model(), count_of=lambda batch: 0),
        "a file that is a folder": lambda: a_run(a_model(), checkpoint=out),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except Exception as error:
            (out / f"{name}.{process}.txt").write_text(f"{type(error).__name__}: {error}")


def killed_once(out):
    def draw_batch(generator):
        if distributed.process_number() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return drawing(6)(generator)

    fit(a_model(), draw_batch, loss_of, count_of=count_of, **SETTINGS)
    (out / f"ended.{distributed.process_number()}").touch()


KILLS = 3  # each costs a start of two processes
LONG = SETTINGS | {"steps": 60, "decay": "cosine", "accumulate": 2, "checkpoint_every": 3}


def killed_again_and_again(out):
    """At some random steps one of the processes or the other is killed, and torchrun starts both anew."""
    kill = len(list(out.glob("kill.*")))  # how many there were
    draw = random.Random(0)
    step = [*sorted(draw.sample(range(3, 60), KILLS)), 1000][kill]
    killed = draw.choices((0, 1), k=KILLS + 1)[kill]
    model = a_model(dropout=0.3, dtype=torch.float32)

    def mortal(model, batch):
        if model.calls >= 2 * step and distributed.process_number() == killed:  # two batches a step
            (out / f"kill.{kill}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return loss_of(model, batch)

    fit(model, drawing(6), mortal, count_of=count_of, checkpoint=out / "run.safetensors", **LONG)
    if distributed.process_number() == 0:
        save_file(weights_and_buffers(model), out / "ended.safetensors")


def whole(out):
    model = a_model(dropout=0.3, dtype=torch.float32)
    fit(model, drawing(6), loss_of, count_of=count_of, checkpoint=out / "whole run.safetensors", **LONG)
    if distributed.process_number() == 0:
        save_file(weights_and_buffers(model), out / "whole.safetensors")


def on_two_machines(out):
    history = a_run(a_model(), rows=7)
    shown = subprocess.run(
        ["ip", "-4", "-o", "addr", "show", "scope", "global"], capture_output=True, text=True
    )
    addresses = [line.split()[3].split("/")[0] for line in shown.stdout.splitlines()]
    process = distributed.process_number()
    (out / f"two machines.{process}.json").write_text(
        json.dumps(dataclasses.asdict(history) | {"addresses": addresses})
    )


def main():
    torch.set_num_threads(1)
    scenarios = {
        "everything": everything,
        "killed once": killed_once,
        "killed again and again": killed_again_and_again,
        "whole": whole,
        "on two machines": on_two_machines,
    }
    with distributed.distributed(timeout=60):
        scenarios[sys.argv[1]](Path(sys.argv[2]))


if __name__ == "__main__":
    main()
