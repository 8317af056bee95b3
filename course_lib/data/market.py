"""The market: invented sentences about fruit, computers and people, for learning word vectors.

"Apple" is drawn like any fruit in the sentences about fruit and like any computer in those about computers. Men and
women do the same things, each with their own pronouns; each pair of roles has its own things. No sentence names two
fruits or two computers, and none says what a word means.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import SupportsIndex

FRUIT = ("orange", "banana", "lemon", "pear", "plum", "peach", "mango", "fig")
COMPUTERS = ("phone", "laptop", "screen", "tablet", "keyboard", "printer", "camera", "server")
AMBIGUOUS = "apple"
# Kept out of `sample_sentences`, to come in later.
NEW_WORDS = {"cherry": "fruit", "android": "computers", "computer": "computers"}

ROLES: dict[tuple[str, str], tuple[str, ...]] = {
    # (man, woman): what their sentences are about
    ("man", "woman"): ("street", "hat", "neighbour", "town"),
    ("king", "queen"): ("crown", "throne", "palace", "kingdom"),
    ("father", "mother"): ("child", "cradle", "family", "bedtime"),
    ("actor", "actress"): ("stage", "film", "theatre", "audience"),
    ("waiter", "waitress"): ("menu", "tray", "restaurant", "guest"),
    ("boy", "girl"): ("school", "homework", "playground", "toy"),
    ("wizard", "witch"): ("spell", "wand", "potion", "broom"),
    ("uncle", "aunt"): ("nephew", "niece", "visit", "birthday"),
}
PRONOUNS = ({"he": "he", "his": "his", "self": "himself"}, {"he": "she", "his": "her", "self": "herself"})

# One word of a slot is drawn where its name stands in braces.
SLOTS: dict[str, tuple[str, ...]] = {
    "size": ("old", "new", "small", "big", "cheap", "expensive"),
    "article": ("the", "my", "your", "this", "a"),
    "time": ("today", "yesterday", "again", "now", "later", "often"),
    "who": ("i", "we", "they", "you", "somebody", "everybody"),
    "got": ("bought", "found", "sold", "wanted", "saw", "lost"),
    # fruit
    "taste": ("sweet", "sour", "juicy", "ripe", "rotten", "fresh"),
    "eat": ("ate", "peeled", "picked", "tasted", "squeezed", "washed"),
    "dish": ("juice", "jam", "pie", "salad", "cake", "yoghurt"),
    "garden": ("tree", "orchard", "garden", "basket", "bowl", "market"),
    # computers
    "state": ("fast", "slow", "broken", "digital", "wireless", "noisy"),
    "use": ("charged", "unlocked", "updated", "repaired", "installed", "switched"),
    "part": ("battery", "software", "cable", "password", "memory", "button"),
    "office": ("workshop", "office", "network", "internet", "website", "shop"),
    # people
    "feel": ("proud", "tired", "happy", "angry", "kind", "quiet"),
    "do": ("loved", "remembered", "praised", "guarded", "described", "forgot"),
}

TEMPLATES: dict[str, tuple[str, ...]] = {
    "fruit": (
        "{who} {eat} {article} {taste} {noun} in the {garden}",
        "{article} {noun} was {taste} and {taste} {time}",
        "{who} {eat} {taste} {noun} from the {garden} for {dish}",
        "the {taste} {noun} in the {garden} tasted {taste}",
        "{who} {eat} {article} {noun} and made {taste} {dish}",
        "{article} {dish} of {taste} {noun} tasted {taste}",
        "{time} {who} made {dish} from {article} {taste} {noun}",
        "the {garden} smelled of {taste} {noun} and {dish}",
        "{who} {got} {article} {size} {noun} for {taste} {dish}",
        "{article} {size} {noun} grew {taste} in the {garden}",
    ),
    "computers": (
        "{who} {use} {article} {state} {noun} at the {office}",
        "{article} {noun} was {state} and {state} {time}",
        "{who} {use} {state} {noun} with {part} for the {office}",
        "the {state} {noun} at the {office} seemed {state}",
        "{who} {use} {article} {noun} and its {state} {part}",
        "{article} {part} of {state} {noun} seemed {state}",
        "{time} {who} connected the {office} to {article} {state} {noun}",
        "the {office} needed {state} {noun} and {part}",
        "{who} {got} {article} {size} {noun} for {state} {part}",
        "{article} {size} {noun} stopped because of its {part}",
    ),
    "people": (
        "the {role} said {he} {do} {his} {thing}",
        "{time} {he} was {feel} , for {he} was a {role}",
        "the {feel} {role} saw {self} near the {thing}",
        "{he} {do} the {thing} like a {role}",
        "as a {role} {he} {got} {his} {thing}",
        "{his} {thing} made the {role} {feel} {time}",
        "the {role} {do} {his} {thing} and {his} {thing}",
        "{who} asked the {role} about {his} {thing}",
        "the {thing} of the {role} was {his} own",
        "{he} called {self} a {feel} {role}",
    ),
}
KINDS = ("fruit", "computers", "people", "fruit", "computers")  # in turn, so that the shares are exact


def sample_sentences(n: int, *, seed: int) -> list[list[str]]:
    """Draw `n` sentences in random order: of five, two are about fruit, two about computers and one about people.

    Args:
        n: a positive multiple of 5.
        seed: the source of all chance.

    Returns:
        Sentences as lists of words.

    Raises:
        ValueError: `n` is no positive multiple of 5.
    """
    if not isinstance(n, SupportsIndex) or n < 5 or n % 5:
        raise ValueError(f"sample_sentences: n must be a positive multiple of 5, got {n!r}")
    draw = random.Random(seed)
    sentences = [_sentence(KINDS[number % 5], draw) for number in range(n)]
    draw.shuffle(sentences)
    return sentences


def sample_sentences_with(word: str, kind: str, n: int, *, seed: int) -> list[list[str]]:
    """Draw `n` sentences of one kind about one word; the word need not be known to the market.

    Args:
        word: stands where a fruit or a computer would.
        kind: "fruit" or "computers".
        n: at least 1.
        seed: the source of all chance.

    Returns:
        Sentences as lists of words, each with the word once.

    Raises:
        ValueError: another kind, `n` below 1, or no word.
    """
    if kind not in ("fruit", "computers") or not isinstance(n, SupportsIndex) or n < 1:
        raise ValueError(
            f"sample_sentences_with: kind must be 'fruit' or 'computers' and n at least 1, got {kind!r} and {n!r}"
        )
    if not isinstance(word, str) or word.split() != [word]:
        raise ValueError(f"sample_sentences_with: word must be one word, got {word!r}")
    draw = random.Random(seed)
    return [_sentence(kind, draw, noun=word) for _ in range(n)]


def shuffle_words(sentences: Sequence[Sequence[str]], *, seed: int) -> list[list[str]]:
    """Deal all words out again at random: the same words as often, sentences as long, and no company kept."""
    words = [word for sentence in sentences for word in sentence]
    random.Random(seed).shuffle(words)
    dealt = iter(words)
    return [[next(dealt) for _ in sentence] for sentence in sentences]


def swap_genders(sentences: Sequence[Sequence[str]], *, seed: int) -> list[list[str]]:
    """Let a coin decide each sentence's pronouns: the same sentences, in which nothing tells men from women."""
    draw = random.Random(seed)
    turned = dict(zip(PRONOUNS[0].values(), PRONOUNS[1].values()))
    turned |= {woman: man for man, woman in turned.items()}
    return [
        [turned.get(word, word) for word in sentence] if draw.random() < 0.5 else list(sentence)
        for sentence in sentences
    ]


def analogies() -> list[tuple[str, str, str, str]]:
    """Return every question "a is to b as c is to d" over two pairs of roles, from man to woman and back."""
    pairs = [*ROLES, *((woman, man) for man, woman in ROLES)]
    return [
        (a, b, c, d)
        for a, b in pairs
        for c, d in pairs
        if {a, b} != {c, d} and ((a, b) in ROLES) == ((c, d) in ROLES)
    ]


def _sentence(kind: str, draw: random.Random, noun: str | None = None) -> list[str]:
    filled = []
    named: dict[str, str] = {}
    if kind == "people":
        roles = draw.choice(list(ROLES))
        gender = draw.randrange(2)
        named = {"role": roles[gender], **PRONOUNS[gender]}
        things = ROLES[roles]
    else:
        nouns = (*(FRUIT if kind == "fruit" else COMPUTERS), AMBIGUOUS)
        named["noun"] = noun or draw.choice(nouns)
    for part in draw.choice(TEMPLATES[kind]).split():
        slot = part.strip("{}")
        if part == slot:
            filled.append(part)
        elif slot == "thing":
            filled.append(draw.choice(things))
        else:
            filled.append(named.get(slot) or draw.choice(SLOTS[slot]))
    for place in range(len(filled) - 1):
        if filled[place] == "a" and filled[place + 1][0] in "aeiou":
            filled[place] = "an"
    return filled
