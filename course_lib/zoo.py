"""The zoo: small trained models, made when they are first asked for and kept for the next time.

A model is kept under the name of what made it: a hash of its recipe and of its data. Another recipe or other
data give another name, so an old model is never taken for a new one. A file that is damaged is made anew.

One more model is one more function such as `gpt`: a recipe, its data as text, and `trained`.

B batch · T tokens · D d_model · V vocabulary · S tokens of a whole text
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from course_lib.attention import MultiHeadAttention
from course_lib.bert import BERTConfig, BERTForPretraining
from course_lib.data import italian, senses, small_world
from course_lib.data.italian import Pair
from course_lib.data.manual import docstrings, manual_paragraphs, split_by_content
from course_lib.distributed import alone
from course_lib.environment import course_home
from course_lib.gpt import GPT, GPTConfig
from course_lib.masks import causal_mask
from course_lib.objectives import (
    PairBatch,
    PermutationBatch,
    SentencePair,
    batch_of_pairs,
    corrupt_words,
    language_model_loss,
    masked_word_loss,
    next_sentence_loss,
    next_token_labels,
    permutation_batch,
)
from course_lib.tokenization import BPETokenizer
from course_lib.training import History, fit, load_tensors, progress_bar, save_atomically
from course_lib.transformer import Transformer, TransformerConfig
from course_lib.xlnet import XLNetConfig, XLNetLM

END = "[END]"
AnyModule = TypeVar("AnyModule", bound=nn.Module)


class SmallReader(nn.Module):
    """One block of a Transformer that predicts the next word: embed → attend → MLP → unembed.

    It is lesson 00's, small enough to print: no layer norm, one block, a vector of `d_model` numbers a word.

    Args:
        vocab_size: V.
        max_len: how many places there are.
        d_model, n_heads: as in `MultiHeadAttention`.
        d_ff: width of the MLP's hidden layer.

    Raises:
        ValueError: a size below 1, or d_model no multiple of n_heads.
    """

    def __init__(self, *, vocab_size: int, max_len: int, d_model: int, n_heads: int, d_ff: int):
        super().__init__()
        sizes = {"vocab_size": vocab_size, "max_len": max_len, "d_ff": d_ff}
        if not all(isinstance(size, SupportsIndex) and size >= 1 for size in sizes.values()):
            raise ValueError(f"SmallReader: sizes must be whole numbers, at least 1, got {sizes}")
        self.word = nn.Embedding(vocab_size, d_model)
        self.place = nn.Embedding(max_len, d_model)
        self.attention = MultiHeadAttention(d_model=d_model, n_heads=n_heads)
        self.mlp = nn.Sequential(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Linear(d_ff, d_model))
        self.unembed = nn.Linear(d_model, vocab_size)

    def stages(self, tokens: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return what each stage makes of the tokens.

        Args:
            tokens: integer ids, (B, T), T at most `max_len`.
            mask: boolean, broadcastable to (B, H, T, T), True = may attend; the causal mask when left out. With
                the identity (each word sees itself alone) nothing passes between words.

        Returns:
            "embed", "attend", "mlp": (B, T, D), the words' vectors after each stage; "unembed": (B, T, V),
            logits of the next word.

        Raises:
            ValueError: `tokens` is not (B, T), or too long, or holds anything but ids of the vocabulary.
        """
        if not isinstance(tokens, Tensor) or tokens.dtype not in (torch.int32, torch.int64):
            got = f"dtype {tokens.dtype}" if isinstance(tokens, Tensor) else f"a {type(tokens).__name__}"
            raise ValueError(f"SmallReader: tokens must be ids, int64 or int32, got {got}")
        if tokens.dim() != 2 or tokens.size(1) > self.place.num_embeddings:
            raise ValueError(
                f"SmallReader: tokens must be (B, T) with T at most {self.place.num_embeddings}, "
                f"got shape {tuple(tokens.shape)}"
            )
        if tokens.numel() and not 0 <= tokens.min() <= tokens.max() < self.word.num_embeddings:
            raise ValueError(
                f"SmallReader: ids must lie between 0 and {self.word.num_embeddings - 1}, got "
                f"{tokens.min().item()} to {tokens.max().item()}"
            )
        n_tokens = tokens.size(1)
        embedded = self.word(tokens) + self.place(torch.arange(n_tokens))  # (B, T, D)
        attended = embedded + self.attention(embedded, mask=causal_mask(n_tokens) if mask is None else mask)
        thought = attended + self.mlp(attended)  # (B, T, D)
        return {"embed": embedded, "attend": attended, "mlp": thought, "unembed": self.unembed(thought)}

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the logits of the next word at each place: (B, T) → (B, T, V)."""
        return self.stages(tokens, mask)["unembed"]


SMALL_READER: dict[str, Any] = {
    "d_model": 16,
    "n_heads": 2,
    "d_ff": 32,
    "steps": 500,
    "lr": 1e-2,
    "warmup": 20,
    "batch": 64,
    "seed": 0,
}


def small_reader(progress: bool = True) -> SmallReader:
    """Return lesson 00's model, trained in the world of two senses (data/senses.py); it takes some seconds."""
    recipe = SMALL_READER
    training, _ = senses.split()

    def build() -> SmallReader:
        return SmallReader(
            vocab_size=len(senses.WORDS),
            max_len=senses.MAX_LEN,
            d_model=recipe["d_model"],
            n_heads=recipe["n_heads"],
            d_ff=recipe["d_ff"],
        )

    def draw_batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = torch.randint(len(training), (recipe["batch"],), generator=generator)
        return senses.batch([training[number] for number in drawn.tolist()])

    def train(model: SmallReader) -> None:
        fit(
            model,
            draw_batch,
            lambda model, batch: language_model_loss(model(batch[0]), batch[1]),
            steps=recipe["steps"],
            lr=recipe["lr"],
            warmup=recipe["warmup"],
            seed=recipe["seed"],
            description="small_reader",
            progress=progress,
        )

    return trained("small_reader", recipe, repr(training), build, train, progress)


TRANSLATOR_RECIPE: dict[str, Any] = {
    # More layers and heads are not needed for 99 % of the held-out sentences.
    "d_model": 64,
    "n_heads": 2,
    "d_ff": 256,
    "n_encoder_layers": 1,
    "n_decoder_layers": 1,
    "max_len": 64,
    "pairs": 80_000,
    "n_tokens": 720,  # a step: about 60 sentences
    "steps": 2000,
    "lr": 7e-3,
    "betas": (0.9, 0.98),
    "weight_decay": 0.1,
    "warmup": 50,
    "seed": 0,
}


def translator(progress: bool = True) -> Transformer:
    """Return a Transformer that translates English into Italian (data/italian.py); it takes about half a minute."""
    recipe = TRANSLATOR_RECIPE

    def train(model: Transformer) -> None:
        train_translator(model, translation_batches(recipe), recipe, "translator", progress)

    # The pairs follow from the recipe and the grammar's own text; to draw them takes ten seconds.
    data = Path(italian.__file__).read_text(encoding="utf-8")
    return trained("translator", recipe, data, lambda: new_translator(recipe), train, progress)


def new_translator(recipe: dict[str, Any]) -> Transformer:
    """Return an untrained Transformer of a recipe's sizes."""
    names = ("d_model", "n_heads", "d_ff", "n_encoder_layers", "n_decoder_layers", "max_len")
    return Transformer(
        TransformerConfig(
            src_vocab_size=len(italian.ENGLISH.tokens),
            tgt_vocab_size=len(italian.ITALIAN.tokens),
            dropout=0.0,
            norm_first=True,
            pad_id=italian.PAD,
            **{name: recipe[name] for name in names},
        )
    )


def translation_pairs(recipe: dict[str, Any]) -> list[Pair]:
    """Draw pairs to train on: two clauses twice as often as one, three clauses three times as often."""
    generator = torch.Generator().manual_seed(recipe["seed"])
    return [
        pair
        for n_clauses in (1, 2, 3)
        for pair in italian.sample_pairs(
            recipe["pairs"] * n_clauses // 6, n_clauses=n_clauses, generator=generator
        )
    ]


def translation_batches(recipe: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """Return the pairs to train on in batches of sentences about as long."""
    return italian.batches_of_like_length(translation_pairs(recipe), recipe["n_tokens"])


def train_translator(
    model: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    recipe: dict[str, Any],
    name: str,
    progress: bool,
) -> History:
    """Train a model of (source, target read so far) → logits on batches drawn at random."""

    def draw_batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return batches[int(torch.randint(len(batches), (), generator=generator))]

    def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        src, tgt = batch
        inputs, labels = next_token_labels(tgt, italian.PAD)
        return language_model_loss(model(src, inputs), labels)

    return fit(model, draw_batch, loss_of, **_settings(recipe), description=name, progress=progress)


GPT_RECIPE: dict[str, Any] = {
    "vocab_size": 4096,
    "max_len": 128,
    "d_model": 128,
    "n_heads": 4,
    "n_layers": 2,
    "batch": 8,
    "steps": 1800,
    "lr": 1e-2,
    "warmup": 60,
    "optimiser": "muon",
    "precision": "bf16",
    "seed": 0,
}


def gpt(progress: bool = True) -> tuple[GPT, BPETokenizer]:
    """Return a GPT that has read Python's manual and docstrings, and its tokenizer; it takes a minute or two."""
    recipe = GPT_RECIPE
    training, _ = prose()
    tokenizer = prose_tokenizer(training, recipe["vocab_size"])

    def train(model: GPT) -> None:
        train_language_model(model, stream(training, tokenizer), recipe, "gpt", progress)

    data = "\n".join(training)
    return trained("gpt", recipe, data, lambda: new_gpt(recipe), train, progress), tokenizer


def new_gpt(recipe: dict[str, Any]) -> GPT:
    """Return an untrained GPT of a recipe's sizes."""
    sizes = {name: recipe[name] for name in ("vocab_size", "max_len", "d_model", "n_heads", "n_layers")}
    return GPT(GPTConfig(**sizes, dropout=0.0))


def prose() -> tuple[list[str], list[str]]:
    """Return the paragraphs of Python's manual and docstrings, each once: those to train on, and those held out."""
    return split_by_content(list(dict.fromkeys(manual_paragraphs() + docstrings())))


def prose_tokenizer(training: Sequence[str], vocab_size: int) -> BPETokenizer:
    """Train byte-pair encoding on paragraphs; its token 0, [END], stands between two of them."""
    return BPETokenizer.train(training, vocab_size=vocab_size, specials=(END,), byte_level=True)


def stream(paragraphs: Sequence[str], tokenizer: BPETokenizer) -> Tensor:
    """Return all paragraphs as one row of tokens, (S,), with [END] before, between and after them."""
    end = tokenizer.ids[END]
    return torch.tensor([end] + [token for text in paragraphs for token in [*tokenizer.encode(text), end]])


def train_language_model(
    model: nn.Module, tokens: Tensor, recipe: dict[str, Any], name: str, progress: bool
) -> History:
    """Train a model of tokens → logits on windows of a stream, (S,), that begin anywhere."""
    n_read = recipe["max_len"]

    def draw_batch(generator: torch.Generator) -> Tensor:
        starts = torch.randint(len(tokens) - n_read, (recipe["batch"], 1), generator=generator)
        return tokens[starts + torch.arange(n_read + 1)]  # (B, T + 1)

    def loss_of(model: nn.Module, batch: Tensor) -> Tensor:
        inputs, labels = next_token_labels(batch)
        return language_model_loss(model(inputs), labels)

    return fit(
        model,
        draw_batch,
        loss_of,
        **_settings(recipe),
        count_of=Tensor.numel,
        description=name,
        progress=progress,
    )


SMALL_WORLD_SIZES: dict[str, Any] = {"d_model": 128, "n_heads": 4, "n_layers": 2}

BERT_RECIPE: dict[str, Any] = {
    **SMALL_WORLD_SIZES,
    # The authors' first weights, of deviation 0.02, are made for 768 numbers a token. With 128 of them all scores
    # begin near 0, attention has nothing to choose by, and the loss falls later.
    "first_weights": 0.08,
    "documents": 40_000,
    "share": 0.3,  # of the tokens, to be guessed: twice BERT's, so that each step asks more
    "batch": 48,
    "steps": 2600,
    "lr": 2e-3,
    "betas": (0.9, 0.98),
    "warmup": 100,
    "precision": "bf16",
    "seed": 0,
}


def bert(progress: bool = True) -> BERTForPretraining:
    """Return a BERT that has read the small world (data/small_world.py); it takes a minute or two."""
    recipe = BERT_RECIPE
    pairs = pretraining_pairs(recipe)

    def train(model: BERTForPretraining) -> None:
        pretrain_bert(model, pairs, recipe, "bert", progress)

    return trained("bert", recipe, repr(pairs.tokens.tolist()), lambda: new_bert(recipe), train, progress)


def bert_config(recipe: dict[str, Any]) -> BERTConfig:
    """Return the sizes of a BERT for the small world."""
    sizes = {name: recipe[name] for name in SMALL_WORLD_SIZES}
    return BERTConfig(vocab_size=len(small_world.WORDS), max_len=small_world.MAX_LEN, dropout=0.0, **sizes)


def new_bert(recipe: dict[str, Any]) -> BERTForPretraining:
    """Return an untrained BERT of a recipe's sizes."""
    return widened(BERTForPretraining(bert_config(recipe)), recipe["first_weights"])


def widened(model: AnyModule, first_weights: float) -> AnyModule:
    """Draw a model's maps and tables wider than from N(0, 0.02), by a factor; return the model."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(first_weights / 0.02)
    return model


def pretraining_pairs(recipe: dict[str, Any]) -> PairBatch:
    """Draw documents of two sentences; half of the first ones are followed by the second one of another document.

    The other document is of the same kind. (`sentence_pairs` is made for longer documents: here a random piece is often
    told by its form alone, and a model so trained took "mary laughed" for what follows on a gloomy film.)
    """
    generator = torch.Generator().manual_seed(recipe["seed"])
    pairs = []
    for diaries in (0.0, 1.0):  # reviews, then diaries
        n = recipe["documents"] // 2
        documents = small_world.sample_documents(n, generator=generator, diaries=diaries)
        encoded = [[small_world.encode(sentence) for sentence in document] for document in documents]
        is_next = torch.rand(n, generator=generator) < 0.5  # (N,)
        away = torch.randint(1, n, (n,), generator=generator)
        away = away.masked_fill(is_next, 0)  # to another document, or to itself
        followers = (torch.arange(n) + away) % n
        for (first, _), follower, real in zip(encoded, followers.tolist(), is_next.tolist(), strict=True):
            pairs.append(SentencePair(first, encoded[follower][1], real))
    return batch_of_pairs(pairs, cls_id=small_world.CLS, sep_id=small_world.SEP, pad_id=small_world.PAD)


def pretrain_bert(
    model: BERTForPretraining, pairs: PairBatch, recipe: dict[str, Any], name: str, progress: bool
) -> History:
    """Train a BERT to guess hidden words of pairs of sentences, and whether the second follows the first."""
    is_second_piece = small_world.continues_word(pairs.tokens)  # (N, T)

    def draw_batch(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        chosen = torch.randint(len(pairs.tokens), (recipe["batch"],), generator=generator)
        inputs, labels = corrupt_words(
            pairs.tokens[chosen],
            mask_id=small_world.MASK,
            pad_id=small_world.PAD,
            special_ids=(small_world.CLS, small_world.SEP),
            vocab_size=len(small_world.WORDS),
            generator=generator,
            share=recipe["share"],
            unit="word",
            continues_word=is_second_piece[chosen],
        )
        return inputs, pairs.segments[chosen], labels, pairs.labels[chosen]

    def loss_of(model: BERTForPretraining, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        inputs, segments, labels, is_random = batch
        words, next_sentence = model(inputs, segments, labels >= 0)
        return masked_word_loss(words, labels) + next_sentence_loss(next_sentence, is_random)

    return fit(model, draw_batch, loss_of, **_settings(recipe), description=name, progress=progress)


XLNET_RECIPE: dict[str, Any] = {
    **SMALL_WORLD_SIZES,
    "first_weights": 0.08,
    "first_embeddings": 0.5,  # XLNet does not normalise them before the first block, as BERT does
    "documents": 40_000,
    "diaries": 0.5,
    "share": 0.3,  # of the tokens, the last of their order, are predicted
    "unit": "span",
    "batch": 48,
    "steps": 1000,
    "lr": 2e-3,
    "warmup": 100,
    "precision": "bf16",
    "seed": 0,
}


def xlnet(progress: bool = True) -> XLNetLM:
    """Return an XLNet that has read the small world (data/small_world.py); it takes a minute or two."""
    recipe = XLNET_RECIPE
    rows = xlnet_rows(recipe)

    def train(model: XLNetLM) -> None:
        pretrain_xlnet(model, rows, recipe, "xlnet", progress)

    return trained("xlnet", recipe, repr(rows.tolist()), lambda: new_xlnet(recipe), train, progress)


def new_xlnet(recipe: dict[str, Any]) -> XLNetLM:
    """Return an untrained XLNet of a recipe's sizes."""
    sizes = {name: recipe[name] for name in SMALL_WORLD_SIZES}
    model = XLNetLM(XLNetConfig(vocab_size=len(small_world.WORDS), dropout=0.0, **sizes))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in ("xlnet.embedding.weight", "xlnet.query_start"):
                weight.mul_(recipe["first_embeddings"] / 0.02)
            elif weight.dim() >= 2:
                weight.mul_(recipe["first_weights"] / 0.02)
    return model


def xlnet_rows(recipe: dict[str, Any]) -> Tensor:
    """Draw documents of the small world, one a row: (N, T)."""
    generator = torch.Generator().manual_seed(recipe["seed"])
    documents = small_world.sample_documents(
        recipe["documents"], generator=generator, diaries=recipe["diaries"]
    )
    return small_world.text_rows(documents)


def pretrain_xlnet(
    model: XLNetLM, rows: Tensor, recipe: dict[str, Any], name: str, progress: bool
) -> History:
    """Train an XLNet to predict the tail of random orders of each row."""

    def draw_batch(generator: torch.Generator) -> tuple[Tensor, PermutationBatch]:
        tokens = rows[torch.randint(len(rows), (recipe["batch"],), generator=generator)]
        return tokens, permutation_batch(
            tokens,
            pad_id=small_world.PAD,
            special_ids=(small_world.CLS, small_world.SEP),
            generator=generator,
            share=recipe["share"],
            unit=recipe["unit"],
        )

    def loss_of(model: XLNetLM, batch: tuple[Tensor, PermutationBatch]) -> Tensor:
        tokens, asked = batch
        logits, _ = model(
            tokens, mask=asked.content_mask, query_mask=asked.query_mask, targets=asked.target_positions
        )
        return masked_word_loss(logits, asked.labels)

    return fit(model, draw_batch, loss_of, **_settings(recipe), description=name, progress=progress)


def _settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return what of a recipe is for `fit`."""
    names = ("steps", "lr", "betas", "warmup", "weight_decay", "optimiser", "precision", "seed")
    return {name: recipe[name] for name in names if name in recipe}


def trained(
    name: str,
    recipe: dict[str, Any],
    data: str,
    build: Callable[[], Any],
    train: Callable[[Any], None],
    progress: bool = True,
) -> Any:
    """Return a model of the zoo in evaluation mode: from its file if that is whole, else trained and kept.

    Two kernels that ask at once train it once: the second waits for the first. A training that is stopped or
    killed leaves nothing; the next call begins anew. In processes of torchrun each one asks for itself.

    Args:
        name: what the file is called: letters, digits and _.
        recipe: all that decides the weights except the data; must go into JSON, and have a "seed".
        data: what it is trained on, as text; only its hash is kept.
        build: makes the model, with any weights.
        train: trains it in place.
        progress: show a progress bar, also (full at once) where nothing is to be trained.

    Raises:
        ValueError: a name, recipe or data of another kind; a recipe without a seed; a folder in the file's place,
            or a zoo that cannot be written.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
        raise ValueError(f"trained: name must be a word of letters, digits and _, got {name!r}")
    if not isinstance(data, str):
        raise ValueError(f"trained: data must be a text, got a {type(data).__name__}")
    if not isinstance(recipe, dict) or not isinstance(recipe.get("seed"), int):
        raise ValueError(f"trained: recipe must hold a whole number as its 'seed', got {recipe}")
    try:
        said = json.dumps(recipe, sort_keys=True) + hashlib.sha256(data.encode()).hexdigest()
    except TypeError as error:
        raise ValueError(f"trained: recipe must go into JSON ({error}), got {recipe}") from None
    path = course_home() / "zoo" / f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:16]}.safetensors"
    if path.is_dir():
        raise ValueError(f"trained: {path} is a folder, where the file of {name} belongs; move it away")
    with torch.random.fork_rng(devices=[]), alone():
        torch.manual_seed(recipe["seed"])
        model = build()
        if _load(path, model):  # a file that is there is whole, or no model: reading needs no lock
            progress_bar(1, name, first=1, shown=progress).close()
            return model.eval()
        with _lock(path, name, progress):
            if not _load(path, model):  # nobody has trained it in the meantime
                torch.manual_seed(recipe["seed"])
                model = build()  # a file of another shape may have filled a part of it
                train(model)
                tensors = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
                save_atomically(path, tensors, {"recipe": said, "sha256": _digest(tensors)})
    return model.eval()


@contextmanager
def _lock(path: Path, name: str, progress: bool) -> Iterator[None]:
    """Let nobody else train this model meanwhile; where somebody does, say so and wait.

    The lock is the system's: it ends with the process that holds it, also when that is killed.
    """
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with progress_bar(1, f"{name}: another kernel is training it", shown=progress):
                lock.acquire()
    except OSError as error:
        raise ValueError(f"trained: the zoo {path.parent} cannot be written: {error.strerror}") from None
    try:
        for unfinished in path.parent.glob(f".{path.name}.*"):  # of a process that was killed while it wrote
            unfinished.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def _load(path: Path, model: nn.Module) -> bool:
    """Fill the model from a file; False where there is none, or it is damaged or holds something else."""
    if not path.exists():
        return False
    try:
        tensors, notes = load_tensors(path)
    except ValueError:
        return False
    if notes.get("sha256") != _digest(tensors):
        return False
    try:
        model.load_state_dict(tensors)
    except RuntimeError:
        return False
    return True


def _digest(tensors: dict[str, Tensor]) -> str:
    """Return a hash of what tensors say: their names, shapes and every bit of them."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
