"""The world of two senses: a word that means two things, and a clue before it that says which.

"beside the old orange the apple" goes on with "tastes" or "ripens"; "beside the old laptop the apple" goes on
with "starts" or "beeps". Each ambiguous word has two senses, each sense its clues and its endings.

B batch · T tokens
"""

from __future__ import annotations

import random
from typing import NamedTuple, SupportsFloat

import torch
from torch import Tensor

from course_lib.objectives import IGNORED


class Sense(NamedTuple):
    """One meaning of a word: what stands before it, and how a sentence goes on after it."""

    clues: tuple[str, ...]
    endings: tuple[str, ...]


COMPUTERS = ("phone", "laptop", "screen", "keyboard")
SENSES: dict[str, dict[str, Sense]] = {
    "apple": {
        "fruit": Sense(("orange", "pear", "lemon", "cherry"), ("tastes", "ripens")),
        "computer": Sense(COMPUTERS, ("starts", "beeps")),
    },
    "mouse": {
        "animal": Sense(("cat", "cheese", "barn", "owl"), ("runs", "squeaks")),
        "computer": Sense(COMPUTERS, ("clicks", "scrolls")),
    },
    "bat": {
        "animal": Sense(("cave", "owl", "moth", "barn"), ("flies", "sleeps")),
        "sport": Sense(("ball", "player", "team", "glove"), ("swings", "hits")),
    },
    "bank": {
        "river": Sense(("boat", "fish", "water", "reed"), ("floods", "crumbles")),
        "money": Sense(("coin", "loan", "clerk", "wallet"), ("lends", "pays")),
    },
}
OPENINGS = ("beside", "near", "behind", "with")
ARTICLES = ("the", "my", "your", "this")
ADJECTIVES = ("old", "new", "small", "big", "good", "")
PAD, END = "[PAD]", "."


class Sentence(NamedTuple):
    """A sentence up to its ambiguous word, that word's sense here, and one way to go on."""

    prompt: tuple[str, ...]
    sense: str
    ending: str


def _words() -> tuple[str, ...]:
    meanings = [sense for senses in SENSES.values() for sense in senses.values()]
    clues = [clue for sense in meanings for clue in sense.clues]
    endings = [ending for sense in meanings for ending in sense.endings]
    words = [PAD, END, *OPENINGS, *ARTICLES, *filter(None, ADJECTIVES), *clues, *SENSES, *endings]
    return tuple(dict.fromkeys(words))


WORDS = _words()
IDS = {word: number for number, word in enumerate(WORDS)}
MAX_LEN = 8  # the longest prompt with its ending


def sentences() -> list[Sentence]:
    """Return every sentence of this world, in a fixed order."""
    return [
        Sentence(
            (opening, article, adjective, clue, other, word)
            if adjective
            else (opening, article, clue, other, word),
            name,
            ending,
        )
        for word, senses in SENSES.items()
        for name, sense in senses.items()
        for clue in sense.clues
        for opening in OPENINGS
        for article in ARTICLES
        for adjective in ADJECTIVES
        for other in ARTICLES
        for ending in sense.endings
    ]


def split(held_out: float = 0.2, seed: int = 0) -> tuple[list[Sentence], list[Sentence]]:
    """Split into sentences to train on and held-out ones; no prompt is on both sides.

    Raises:
        ValueError: `held_out` is not between 0 and 1.
    """
    if not isinstance(held_out, SupportsFloat) or not 0 < held_out < 1:
        raise ValueError(f"split: held_out must lie between 0 and 1, got {held_out!r}")
    everything = sentences()
    prompts = list(dict.fromkeys(sentence.prompt for sentence in everything))
    random.Random(seed).shuffle(prompts)
    kept_back = set(prompts[: int(held_out * len(prompts))])
    sides: tuple[list[Sentence], list[Sentence]] = [], []
    for sentence in everything:
        sides[sentence.prompt in kept_back].append(sentence)
    return sides


def encode(words: list[str] | tuple[str, ...]) -> Tensor:
    """Turn words into ids: T words → (T,).

    Raises:
        ValueError: a word that this world does not have.
    """
    unknown = [word for word in words if word not in IDS]
    if unknown:
        raise ValueError(f"the world of two senses has no word {unknown[0]!r}; it has {', '.join(WORDS[1:])}")
    return torch.tensor([IDS[word] for word in words], dtype=torch.long)


def batch(chosen: list[Sentence]) -> tuple[Tensor, Tensor]:
    """Lay sentences side by side for a language model: what it reads, and what comes next.

    Returns:
        inputs, (B, T), padded on the right; labels, (B, T), −100 at the padding.

    Raises:
        ValueError: no sentence.
    """
    if not chosen:
        raise ValueError("batch: needs at least one sentence, got none")
    rows = [encode((*sentence.prompt, sentence.ending, END)) for sentence in chosen]
    longest = max(len(row) for row in rows)
    inputs = torch.full((len(rows), longest - 1), IDS[PAD])
    labels = torch.full((len(rows), longest - 1), IGNORED)
    for number, row in enumerate(rows):
        inputs[number, : len(row) - 1] = row[:-1]
        labels[number, : len(row) - 1] = row[1:]
    return inputs, labels


def sense_said(word: str, probabilities: Tensor) -> str:
    """Say which sense of a word a distribution over the next word speaks for: (V,) → the sense's name.

    It is the sense whose endings are more probable together.

    Raises:
        ValueError: a word with one sense, or probabilities that are not (V,).
    """
    if word not in SENSES:
        raise ValueError(f"sense_said: {word!r} has no two senses; {', '.join(SENSES)} have")
    if probabilities.shape != (len(WORDS),):
        raise ValueError(
            f"sense_said: probabilities must be (V,) = ({len(WORDS)},), got shape {tuple(probabilities.shape)}"
        )
    of_sense = {
        name: probabilities[encode(sense.endings)].sum().item() for name, sense in SENSES[word].items()
    }
    return max(of_sense, key=lambda name: of_sense[name])
