"""The zoo: trained when first asked for, kept, and never taken for another model."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import nn

from course_lib import zoo
from course_lib.data import italian, senses
from course_lib.objectives import language_model_loss, next_token_labels
from course_lib.training import save_atomically


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    return tmp_path / "zoo"


class Trainer:
    """A recipe whose training only counts how often it was called."""

    def __init__(self, pause=0.0):
        self.calls, self.pause = 0, pause

    def train(self, model):
        self.calls += 1
        time.sleep(self.pause)
        with torch.no_grad():
            model.weight.fill_(7.0)

    def ask(self, seed=0, data="data"):
        return zoo.trained("tiny", {"seed": seed}, data, lambda: nn.Linear(2, 3), self.train, progress=False)


def test_a_model_is_trained_once_and_then_read(home):
    trainer = Trainer()
    first, second = trainer.ask(), trainer.ask()
    assert trainer.calls == 1
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    assert not first.training and not second.training


@pytest.mark.parametrize("change", [{"seed": 1}, {"data": "other data"}])
def test_another_recipe_or_other_data_is_another_model(home, change):
    trainer = Trainer()
    trainer.ask()
    trainer.ask(**change)
    trainer.ask()
    assert trainer.calls == 2
    assert len(list(home.glob("*.safetensors"))) == 2


def test_the_order_of_a_recipe_does_not_matter_and_its_seed_decides_the_first_weights(home):
    def ask(recipe, n_outputs=3):
        def build():
            return nn.Linear(2, n_outputs)

        return zoo.trained("tiny", recipe, "data", build, calls.append, progress=False)

    calls: list[nn.Module] = []
    first = ask({"seed": 5, "steps": 1})
    again = ask({"steps": 1, "seed": 5})
    assert len(calls) == 1 and torch.equal(first.weight, again.weight)
    torch.manual_seed(5)
    assert torch.equal(first.weight, nn.Linear(2, 3).weight)
    # The code that builds it has changed since the file was written: it is made anew.
    assert ask({"seed": 5, "steps": 1}, n_outputs=4).weight.shape == (4, 2) and len(calls) == 2


@pytest.mark.parametrize("damage", ["cut", "one bit", "empty", "other"])
def test_a_damaged_file_is_noticed_and_made_anew(home, damage):
    trainer = Trainer()
    trainer.ask()
    (file,) = home.glob("*.safetensors")
    whole = file.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    file.write_bytes(
        {"cut": whole[: len(whole) // 2], "one bit": flipped, "empty": b"", "other": b"no model"}[damage]
    )
    model = trainer.ask()
    assert trainer.calls == 2
    assert (model.weight == 7.0).all()
    trainer.ask()
    assert trainer.calls == 2


def test_a_training_that_fails_leaves_nothing_behind(home):
    def fails(model):
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="power"):
        zoo.trained("tiny", {"seed": 0}, "data", lambda: nn.Linear(2, 3), fails, progress=False)
    assert list(home.glob("*.safetensors")) == []
    trainer = Trainer()
    trainer.ask()
    assert trainer.calls == 1


def test_two_that_ask_at_once_train_it_once(home):
    trainer = Trainer(pause=0.5)
    threads = [threading.Thread(target=trainer.ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trainer.calls == 1


def test_two_kernels_that_ask_at_once_train_it_once(home, tmp_path):
    script = textwrap.dedent(
        f"""
        import time, torch
        from torch import nn
        from course_lib import zoo

        def train(model):
            open({str(tmp_path / "calls")!r}, "a").write("x")
            time.sleep(1.0)

        zoo.trained("tiny", {{"seed": 0}}, "data", lambda: nn.Linear(2, 3), train, progress=False)
        """
    )
    kernels = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [kernel.wait(timeout=120) for kernel in kernels] == [0, 0]
    assert (tmp_path / "calls").read_text() == "x"


def test_asking_does_not_touch_chance_outside(home):
    torch.manual_seed(1)
    expected = torch.randn(3)
    torch.manual_seed(1)
    Trainer().ask()
    assert torch.equal(torch.randn(3), expected)


# --- the small reader of lesson 00 -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_HOME", str(tmp_path_factory.mktemp("home")))
        return zoo.small_reader(progress=False)


def share_right(model, held_out, alone):
    right = 0
    for sentence in held_out:
        tokens = senses.encode(sentence.prompt)[None]
        mask = torch.eye(tokens.size(1), dtype=torch.bool) if alone else None
        with torch.no_grad():
            probabilities = model(tokens, mask)[0, -1].softmax(-1)
        right += senses.sense_said(sentence.prompt[-1], probabilities) == sentence.sense
    return right / len(held_out)


def test_the_small_reader_tells_the_senses_apart_in_unseen_sentences_by_its_attention(reader):
    _, held_out = senses.split()
    assert share_right(reader, held_out[::12], alone=False) >= 0.98
    assert abs(share_right(reader, held_out[::12], alone=True) - 0.5) <= 0.1


def test_the_stages_lead_from_words_to_the_next_word(reader):
    tokens = senses.encode("beside the old orange the apple".split())[None]
    stages = reader.stages(tokens)
    assert [tuple(stage.shape) for stage in stages.values()] == [(1, 6, 16)] * 3 + [(1, 6, len(senses.WORDS))]
    assert list(stages) == ["embed", "attend", "mlp", "unembed"]
    torch.testing.assert_close(stages["attend"] + reader.mlp(stages["attend"]), stages["mlp"])
    assert torch.equal(reader(tokens), stages["unembed"])


def test_the_small_reader_reads_as_many_words_as_it_has_places(reader):
    assert reader(torch.zeros(1, senses.MAX_LEN, dtype=torch.int32)).shape == (1, 8, len(senses.WORDS))


def test_the_small_reader_sees_no_future(reader):
    tokens = senses.encode("beside the old orange the apple".split())[None]
    other = tokens.clone()
    other[0, 4:] = senses.IDS["bat"]
    torch.testing.assert_close(reader(tokens)[:, :4], reader(other)[:, :4])
    assert not torch.allclose(reader(tokens)[:, 4:], reader(other)[:, 4:])


def test_a_size_below_one_and_a_recipe_without_a_seed_are_refused(home):
    sizes = {"vocab_size": 5, "max_len": 4, "d_model": 4, "n_heads": 2, "d_ff": 3}
    for name, value in (("vocab_size", 0), ("max_len", 2.5), ("d_ff", None)):
        with pytest.raises(ValueError, match=f"SmallReader.*'{name}': {value}"):
            zoo.SmallReader(**(sizes | {name: value}))
    with pytest.raises(ValueError, match="'seed', got"):
        zoo.trained("tiny", {"steps": 3}, "data", lambda: nn.Linear(2, 3), lambda model: None, progress=False)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(1, 9, dtype=torch.long), r"T at most 8, got shape \(1, 9\)"),
        (torch.zeros(4, dtype=torch.long), r"got shape \(4,\)"),
        (torch.tensor([[0, 999]]), "got 0 to 999"),
        (torch.tensor([[-1, 3]]), "got -1 to 3"),
        (torch.tensor([[1.0, 3.0]]), "ids, int64 or int32, got dtype torch.float32"),
        ([[1, 3]], "got a list"),
    ],
)
def test_tokens_the_small_reader_cannot_read_are_named(reader, tokens, message):
    with pytest.raises(ValueError, match=message):
        reader(tokens)


# --- hardened ----------------------------------------------------------------------------------------------


def file_of(trainer, home):
    trainer.ask()
    (file,) = home.glob("*.safetensors")
    return file


def test_a_folder_in_the_files_place_is_named_before_anything_is_trained(home):
    file, trainer = file_of(Trainer(), home), Trainer()
    file.unlink()
    file.mkdir()
    with pytest.raises(ValueError, match=rf"{file.name} is a folder, where the file of tiny belongs"):
        trainer.ask()
    assert trainer.calls == 0


def test_a_zoo_that_cannot_be_written_is_named_before_anything_is_trained(home):
    home.write_text("a file, where the folder belongs")
    trainer = Trainer()
    with pytest.raises(ValueError, match=r"the zoo .*zoo cannot be written: .*exists"):
        trainer.ask()
    assert trainer.calls == 0


def test_a_model_that_is_there_is_read_while_another_is_being_trained_and_from_a_folder_no_one_may_write(
    home,
):
    file, trainer = file_of(Trainer(), home), Trainer()
    with FileLock(file.with_suffix(".lock")):
        asked = threading.Thread(target=trainer.ask, daemon=True)
        asked.start()
        asked.join(timeout=30)
        assert not asked.is_alive() and trainer.calls == 0


def test_a_file_that_holds_another_shape_leaves_nothing_of_itself_in_the_new_model(home):
    trainer = Trainer()
    file = file_of(trainer, home)
    tensors = {"bias": torch.full((3,), 9.0), "weight": torch.ones(5, 5)}
    save_atomically(file, tensors, {"sha256": zoo._digest(tensors)})
    assert not (trainer.ask().bias == 9.0).any() and trainer.calls == 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_a_training_that_is_stopped_leaves_nothing_half(home, stop):
    def stopped(model):
        with torch.no_grad():
            model.weight.fill_(1.0)
        raise stop

    with pytest.raises(stop):
        zoo.trained("tiny", {"seed": 0}, "data", lambda: nn.Linear(2, 3), stopped, progress=False)
    assert [path.suffix for path in home.iterdir()] in ([".lock"], [])
    trainer = Trainer()
    assert (trainer.ask().weight == 7.0).all() and trainer.calls == 1


def test_a_training_that_is_killed_leaves_no_lock_and_what_it_half_wrote_is_swept_away(home, tmp_path):
    script = textwrap.dedent(
        """
        import os, signal
        from torch import nn
        from course_lib import training, zoo

        def half(tensors, path, notes):
            path.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

        training.save_file = half
        zoo.trained("tiny", {"seed": 0}, "data", lambda: nn.Linear(2, 3), lambda model: None, progress=False)
        """
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=120).returncode == -signal.SIGKILL
    assert any(path.read_bytes() == b"half" for path in home.iterdir())
    trainer = Trainer()
    started = time.monotonic()
    trainer.ask()
    assert trainer.calls == 1 and time.monotonic() - started < 10
    assert not any(path.name.startswith(".") for path in home.iterdir())


def test_whoever_waits_for_another_kernel_is_told_so(home, monkeypatch):
    said, waiting = [], threading.Event()
    real = zoo.progress_bar

    def watched(total, description, first=0, shown=True):
        said.append(description)
        waiting.set()
        return real(total, description, first, shown=False)

    monkeypatch.setattr(zoo, "progress_bar", watched)
    slow, second = Trainer(), Trainer()
    slow.train = lambda model: waiting.wait(30)
    threads = [threading.Thread(target=trainer.ask) for trainer in (slow, second)]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    assert said == ["tiny: another kernel is training it"] and second.calls == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../tiny"}, "name must be a word .* got '../tiny'"),
        ({"name": ""}, "name must be a word"),
        ({"name": None}, "name must be a word .* got None"),
        ({"recipe": {"seed": 0, "f": print}}, "recipe must go into JSON"),
        ({"recipe": {"seed": 0.5}}, "recipe must hold a whole number as its 'seed'"),
        ({"recipe": [0]}, "recipe must hold a whole number as its 'seed'"),
        ({"data": b"text"}, "data must be a text, got a bytes"),
    ],
    ids=str,
)
def test_what_is_no_recipe_is_refused(home, changes, message):
    given = {"name": "tiny", "recipe": {"seed": 0}, "data": "text"} | changes
    with pytest.raises(ValueError, match=f"trained: {message}"):
        zoo.trained(**given, build=lambda: nn.Linear(2, 3), train=lambda model: None, progress=False)


# --- the language model ------------------------------------------------------------------------------------


def test_a_gpt_of_the_zoo_learns_from_its_stream_and_is_kept(home, monkeypatch):
    sizes = {
        "vocab_size": 300,
        "max_len": 16,
        "d_model": 16,
        "n_heads": 2,
        "n_layers": 1,
        "steps": 150,
        "batch": 8,
    }
    monkeypatch.setattr(zoo, "GPT_RECIPE", zoo.GPT_RECIPE | sizes)
    monkeypatch.setattr(zoo, "prose", lambda: (["The cat sat on the mat."] * 9, ["The mat."]))
    model, tokenizer = zoo.gpt(progress=False)
    tokens = zoo.stream(["The cat sat on the mat."] * 2, tokenizer)
    assert tokens[0] == tokens[-1] == tokenizer.ids[zoo.END] == 0
    loss = nn.functional.cross_entropy(model(tokens[None, :-1][:, :16])[0], tokens[1:17])
    assert loss < 1.5 and not model.training  # log 300 = 5.7
    again, _ = zoo.gpt(progress=False)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
    assert len(list(home.glob("gpt-*.safetensors"))) == 1


def test_no_held_out_paragraph_is_trained_on():
    training, held_out = zoo.prose()
    assert len(training) > 5000 and len(held_out) > 500 and not set(training) & set(held_out)


@pytest.mark.parametrize("name", ["bert", "xlnet"])
def test_a_model_of_the_small_world_is_trained_by_its_recipe_and_kept(home, monkeypatch, name):
    recipe = f"{name.upper()}_RECIPE"
    small = {"documents": 60, "batch": 8, "steps": 3, "warmup": 1, "d_model": 16, "n_layers": 1}
    monkeypatch.setattr(zoo, recipe, getattr(zoo, recipe) | small)
    model = getattr(zoo, name)(progress=False)
    torch.manual_seed(0)
    untrained = getattr(zoo, f"new_{name}")(getattr(zoo, recipe))
    moved = [
        not torch.equal(one, other)
        for one, other in zip(model.parameters(), untrained.parameters(), strict=True)
    ]
    assert not model.training and sum(moved) > len(moved) / 2
    (file,) = home.glob(f"{name}-*.safetensors")
    written = file.stat().st_mtime_ns
    again = getattr(zoo, name)(progress=False)
    assert file.stat().st_mtime_ns == written
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_translator_is_trained_by_its_recipe_and_kept(home, monkeypatch):
    monkeypatch.setattr(
        zoo, "TRANSLATOR_RECIPE", zoo.TRANSLATOR_RECIPE | {"pairs": 600, "steps": 60, "warmup": 10}
    )
    model = zoo.translator(progress=False)
    src, tgt = italian.batch(italian.sample_pairs(50, generator=torch.Generator().manual_seed(3)))
    inputs, labels = next_token_labels(tgt, italian.PAD)
    untrained = zoo.new_translator(zoo.TRANSLATOR_RECIPE)
    assert (
        language_model_loss(model(src, inputs), labels)
        < language_model_loss(untrained(src, inputs), labels) - 2
    )
    assert not model.training
    monkeypatch.setattr(zoo, "train_translator", None)  # the second call trains nothing
    again = zoo.translator(progress=False)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
    assert len(list(home.glob("translator-*.safetensors"))) == 1


def test_a_translator_of_another_grammar_is_trained_anew(home, monkeypatch, tmp_path):
    monkeypatch.setattr(
        zoo, "TRANSLATOR_RECIPE", zoo.TRANSLATOR_RECIPE | {"pairs": 60, "steps": 2, "warmup": 1}
    )
    zoo.translator(progress=False)
    changed = tmp_path / "italian.py"
    text = Path(italian.__file__).read_text(encoding="utf-8")
    changed.write_text(text.replace("capiamo", "capimo"), encoding="utf-8")
    monkeypatch.setattr(italian, "__file__", str(changed))
    zoo.translator(progress=False)
    assert len(list(home.glob("translator-*.safetensors"))) == 2


def test_a_translator_reads_three_clauses_three_times_as_often_as_one():
    pairs = zoo.translation_pairs(zoo.TRANSLATOR_RECIPE | {"pairs": 600})
    conjunctions = {*italian.CONJUNCTIONS, *italian.PRESENT_CONJUNCTIONS}
    joined = [sum(word in conjunctions for word in pair.src) for pair in pairs]
    assert [joined.count(n) for n in range(3)] == [100, 200, 300]
