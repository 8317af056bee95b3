"""English and Italian: sentences of one to three clauses, with gold word alignments.

A small grammar writes both sides at once, so that every pair is a true translation and every Italian word knows
the English words it stands for. Italian has what makes translation more than looking up words:

- it drops subject pronouns, and the verb's ending says who ("I love" → "amo");
- object pronouns move before the verb ("I love you very much" → "ti amo molto", "I saw her" → "l'ho vista");
- articles, adjectives and participles agree in gender and number, and the adjective follows its noun
  ("the red oranges" → "le arance rosse");
- words melt together or lose a vowel before another ("in the garden" → "nel giardino", "the orange" →
  "l'arancia").

An English sentence has one translation here. What English leaves open is settled once: "you" is one person and
"you all" are several, "they" and "them" are masculine, as in Italian where nothing else is known.

**Alignment.** Each Italian word is linked to the English words it translates: a verb without its pronoun to
the verb and the pronoun; both parts of a compound past to the English verb; "non" to "do not" or "never", "mai"
to "never"; "nel" to "in the"; both words of "ogni giorno" to both of "every day"; the article before a possessive to
the possessive ("il mio" to "my"). Apart from these links stands *agreement*: an article, adjective, verb or
participle takes its form from a noun, name or pronoun, a verb its person or tense from "does" or "did", and "lo", "la",
"gli", "le" and "l'" theirs from the verb.

**Splits, by clause.** A clause with a *new combination* (below) is kept out of training; of the others a checksum
of the Italian words keeps one of eight out.

- "train": sentences of training clauses.
- "held_out": sentences of clauses that were kept out. All their combinations occur in training.
- "compositional": at least one new combination: a verb with an object or a pronoun, an adjective with a noun, or a
  conjunction with a construction, which training has one by one but never together. Its other clauses are held out.

A sentence says no verb, noun, name, adjective or conjunction twice. Elided words ("l'", "un'", "nell'") are tokens of
their own; `written` closes the gap.

B batch · Ts, Tt lengths of source and target, with <sos> and <eos>
"""

from __future__ import annotations

import random
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Literal, NamedTuple, SupportsIndex, TypeVar

import torch
from torch import Tensor

from course_lib.tokenization import WhitespaceTokenizer

Split = Literal["train", "held_out", "compositional"]
SPLITS: tuple[Split, ...] = ("train", "held_out", "compositional")
MAX_CLAUSES = 3
HELD_OUT_ONE_IN = 8

SPECIALS = ("[PAD]", "<sos>", "<eos>")
PAD, SOS, EOS = range(3)

Item = TypeVar("Item")


class Pair(NamedTuple):
    """An English sentence and its translation.

    src, tgt: the words of both sides. links: pairs (place in tgt, place in src), at least one for each word of either.
    agreement: further such pairs, from a word to the English one whose gender, number or person it takes.
    """

    src: tuple[str, ...]
    tgt: tuple[str, ...]
    links: frozenset[tuple[int, int]]
    agreement: frozenset[tuple[int, int]] = frozenset()


# --- words -------------------------------------------------------------------------------------------------


class Noun(NamedTuple):
    """English and Italian, each singular and plural; m or f in both numbers; what kinds of thing it is."""

    english: tuple[str, str]
    italian: tuple[str, str]
    gender: tuple[str, str]
    kinds: frozenset[str]


class Adjective(NamedTuple):
    """Italian forms by gender and number; the kinds of noun it goes with."""

    english: str
    forms: dict[tuple[str, bool], str]
    kinds: frozenset[str]


class Verb(NamedTuple):
    """English base, third person and past ("wait for" is one verb of two words); Italian present by person, participle.

    kinds: of what may be its object. A verb without a past has "-" in both places.
    """

    english: tuple[str, ...]
    present: tuple[str, ...]
    participle: str
    kinds: frozenset[str]


class Pronoun(NamedTuple):
    """English subject and object; person from 0 (I) to 5 (they); gender, None where it does not say; Italian objects.

    dative: what a verb like "give" takes. None for "them": Italian has two, and neither is used here.
    """

    subject: str
    object: str
    person: int
    gender: str | None
    clitic: str
    dative: str


class Place(NamedTuple):
    """A place with its gender and the prepositions that go with it."""

    english: str
    italian: str
    gender: str
    prepositions: tuple[str, ...]


# English singular, plural · Italian singular, plural · gender (of both, where it changes) · kinds
_NOUNS = """
man men              uomo uomini          m   person
woman women          donna donne          f   person
boy boys             ragazzo ragazzi      m   person
girl girls           ragazza ragazze      f   person
king kings           re re                m   person
queen queens         regina regine        f   person
actor actors         attore attori        m   person
actress actresses    attrice attrici      f   person
cat cats             gatto gatti          m   animal
dog dogs             cane cani            m   animal
horse horses         cavallo cavalli      m   animal
bird birds           uccello uccelli      m   animal
squirrel squirrels   scoiattolo scoiattoli m  animal
book books           libro libri          m   thing text
letter letters       lettera lettere      f   thing text opens
song songs           canzone canzoni      f   music text
house houses         casa case            f   thing
door doors           porta porte          f   thing opens
window windows       finestra finestre    f   thing opens
suitcase suitcases   valigia valigie      f   thing opens
umbrella umbrellas   ombrello ombrelli    m   thing opens
backpack backpacks   zaino zaini          m   thing opens
mirror mirrors       specchio specchi     m   thing
key keys             chiave chiavi        f   thing
flower flowers       fiore fiori          m   thing
photo photos         foto foto            f   thing
apple apples         mela mele            f   food
orange oranges       arancia arance       f   food
egg eggs             uovo uova            m/f food
sandwich sandwiches  panino panini        m   food
mushroom mushrooms   fungo funghi         m   food
"""

# English · Italian: m. singular, f. singular, m. plural, f. plural · kinds
_ADJECTIVES = """
tired     stanco stanca stanchi stanche       person animal
happy     felice felice felici felici         person animal
sad       triste triste tristi tristi         person animal
young     giovane giovane giovani giovani     person animal
strong    forte forte forti forti             person animal
rich      ricco ricca ricchi ricche           person
Italian   italiano italiana italiani italiane person thing
French    francese francese francesi francesi person thing music
old       vecchio vecchia vecchi vecchie      person animal thing music
new       nuovo nuova nuovi nuove             thing music
red       rosso rossa rossi rosse             thing food
black     nero nera neri nere                 animal thing
green     verde verde verdi verdi             thing food
blue      blu blu blu blu                     thing
heavy     pesante pesante pesanti pesanti     thing food
dirty     sporco sporca sporchi sporche       animal thing
small     piccolo piccola piccoli piccole     animal thing food
fresh     fresco fresca freschi fresche       food
"""

# English base, third person, past · Italian present (six persons), participle · kinds of object. "-": no such form
_TRANSITIVE = """
love loves loved  amo ami ama amiamo amate amano  amato  person animal thing music food
see sees saw                  vedo vedi vede vediamo vedete vedono                visto       person animal thing food
know knows -                  conosco conosci conosce conosciamo conoscete conoscono  -       person text
understand understands understood  capisco capisci capisce capiamo capite capiscono  capito   person text
help helps helped             aiuto aiuti aiuta aiutiamo aiutate aiutano          aiutato     person animal
thank thanks thanked          ringrazio ringrazi ringrazia ringraziamo ringraziate ringraziano  ringraziato  person
follow follows followed       seguo segui segue seguiamo seguite seguono          seguito     person animal
invite invites invited        invito inviti invita invitiamo invitate invitano    invitato    person
wait_for waits_for waited_for  aspetto aspetti aspetta aspettiamo aspettate aspettano  aspettato  person animal
look_for looks_for looked_for  cerco cerchi cerca cerchiamo cercate cercano       cercato     person animal thing food
listen_to listens_to listened_to  ascolto ascolti ascolta ascoltiamo ascoltate ascoltano  ascoltato  person music
wash washes washed            lavo lavi lava laviamo lavate lavano                lavato      animal thing food
paint paints painted          dipingo dipingi dipinge dipingiamo dipingete dipingono  dipinto  person animal thing food
buy buys bought               compro compri compra compriamo comprate comprano    comprato    animal thing food
lose loses lost               perdo perdi perde perdiamo perdete perdono          perso       animal thing
open opens opened             apro apri apre apriamo aprite aprono                aperto      opens
close closes closed           chiudo chiudi chiude chiudiamo chiudete chiudono    chiuso      opens
eat eats ate                  mangio mangi mangia mangiamo mangiate mangiano      mangiato    food
"""

_DATIVE = """
give gives gave               do dai dà diamo date danno                          dato        animal thing food
show shows showed             mostro mostri mostra mostriamo mostrate mostrano    mostrato    animal thing food
bring brings brought          porto porti porta portiamo portate portano          portato     thing food
write writes wrote            scrivo scrivi scrive scriviamo scrivete scrivono    scritto     text
"""

_INTRANSITIVE = """
sleep sleeps slept            dormo dormi dorme dormiamo dormite dormono          dormito
sing sings sang               canto canti canta cantiamo cantate cantano          cantato
laugh laughs laughed          rido ridi ride ridiamo ridete ridono                riso
work works worked             lavoro lavori lavora lavoriamo lavorate lavorano    lavorato
swim swims swam               nuoto nuoti nuota nuotiamo nuotate nuotano          nuotato
dance dances danced           ballo balli balla balliamo ballate ballano          ballato
"""

# Their past is made with "essere", and the participle agrees with the subject.
_MOTION = """
arrive arrives arrived        arrivo arrivi arriva arriviamo arrivate arrivano    arrivato
leave leaves left             parto parti parte partiamo partite partono          partito
return returns returned       torno torni torna torniamo tornate tornano          tornato
"""

# English · Italian · gender · prepositions
_PLACES = """
garden giardino m in near
restaurant ristorante m in at near
station stazione f at near
airport aeroporto m at near
square piazza f in near
kitchen cucina f in near
stadium stadio m in at near
zoo zoo m in at near
hotel albergo m in near
office ufficio m in near
bridge ponte m on near
roof tetto m on
island isola f on near
tree albero m on near
beach spiaggia f on near
"""


def _lines(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().split("\n")]


def _verbs(table: str) -> tuple[Verb, ...]:
    return tuple(
        Verb(
            tuple(form.replace("_", " ") for form in words[:3]),
            tuple(words[3:9]),
            words[9],
            frozenset(words[10:]),
        )
        for words in _lines(table)
    )


NOUNS = tuple(
    Noun((one, many), (uno, molti), (gender[0], gender[-1]), frozenset(kinds))
    for one, many, uno, molti, gender, *kinds in _lines(_NOUNS)
)
ADJECTIVES = tuple(
    Adjective(
        english,
        {("m", False): words[0], ("f", False): words[1], ("m", True): words[2], ("f", True): words[3]},
        frozenset(words[4:]),
    )
    for english, *words in _lines(_ADJECTIVES)
)
TRANSITIVE, DATIVE = _verbs(_TRANSITIVE), _verbs(_DATIVE)
INTRANSITIVE, MOTION = _verbs(_INTRANSITIVE), _verbs(_MOTION)
PLACES = tuple(
    Place(english, italian, gender, tuple(rest)) for english, italian, gender, *rest in _lines(_PLACES)
)
NAMES = {"Anna": "f", "Giulia": "f", "Elena": "f", "Marco": "m", "Luca": "m", "Paolo": "m"}

PRONOUNS = (
    Pronoun("I", "me", 0, None, "mi", "mi"),
    Pronoun("you", "you", 1, None, "ti", "ti"),
    Pronoun("he", "him", 2, "m", "lo", "gli"),
    Pronoun("she", "her", 2, "f", "la", "le"),
    Pronoun("we", "us", 3, None, "ci", "ci"),
    Pronoun("you all", "you all", 4, None, "vi", "vi"),
    Pronoun("they", "them", 5, "m", "li", ""),
)
POSSESSIVES = {  # by gender and number, in the order of an adjective's forms
    "my": ("mio", "mia", "miei", "mie"),
    "your": ("tuo", "tua", "tuoi", "tue"),
    "his": ("suo", "sua", "suoi", "sue"),
    "her": ("suo", "sua", "suoi", "sue"),
    "our": ("nostro", "nostra", "nostri", "nostre"),
    "their": ("loro", "loro", "loro", "loro"),
}
NUMBERS = {"two": "due", "three": "tre"}
SINGULAR = ("the", "the", "the", "a", "a", *POSSESSIVES)
PLURAL = ("the", "the", "the", "some", *NUMBERS, *POSSESSIVES)
# "to be" by person: English, Italian
IS = ("am are is are are are".split(), "sono sei è siamo siete sono".split())
WAS = ("was were was were were were".split(), "ero eri era eravamo eravate erano".split())
HAVE = ("ho", "hai", "ha", "abbiamo", "avete", "hanno")
ADVERBS = {"always": "sempre", "often": "spesso"}
PRESENT_TIMES = {"today": "oggi", "now": "adesso", "every day": "ogni giorno", "this evening": "stasera"}
PAST_TIMES = {"today": "oggi", "yesterday": "ieri", "this morning": "stamattina"}
TIMES = PRESENT_TIMES | PAST_TIMES
VERY_MUCH = ("love", "help", "thank")  # the verbs that take "very much"
PREPOSITIONS = {"in": "in", "on": "su", "at": "a", "near": "a"}
ENDINGS = {("m", False): "o", ("f", False): "a", ("m", True): "i", ("f", True): "e"}  # of participles
CONJUNCTIONS = {"and": "e", "but": "ma", "because": "perché", "so": "quindi", "or": "o"}
PRESENT_CONJUNCTIONS = {"when": "quando", "if": "se", "while": "mentre"}  # between two clauses in the present
_CONJUNCTIONS = CONJUNCTIONS | PRESENT_CONJUNCTIONS

Kind = Literal[
    "predicate", "place", "intransitive", "motion", "noun", "pronoun", "dative noun", "dative pronoun"
]
# How often each construction is drawn, in 20 clauses.
SHARES: dict[Kind, int] = {
    "noun": 5,
    "pronoun": 5,
    "dative noun": 1,
    "dative pronoun": 2,
    "predicate": 3,
    "place": 1,
    "intransitive": 2,
    "motion": 1,
}

# --- new combinations: what only the compositional split has ------------------------------------------------


def _objects(verb: Verb) -> list[Noun]:
    return [noun for noun in NOUNS if noun.kinds & verb.kinds]


# About one in seven of each, spread over both lists by counting.
NEW_OBJECTS = frozenset(
    (verb.english[0], noun.english[0])
    for v, verb in enumerate(TRANSITIVE + DATIVE)
    for n, noun in enumerate(_objects(verb))
    if (v + n) % 7 == 5
)
# Without "him", "her" and "them" as direct objects: a participle agrees with them, and one of its forms would be new.
NEW_PRONOUNS = frozenset(
    (verb.english[0], pronoun.object)
    for v, verb in enumerate(TRANSITIVE + DATIVE)
    for p, pronoun in enumerate(PRONOUNS)
    if (v + 2 * p) % 5 == 3
    and (("person" in verb.kinds and pronoun.person not in (2, 5)) or (verb in DATIVE and pronoun.dative))
)
NEW_ADJECTIVES = frozenset(
    (adjective.english, noun.english[0])
    for a, adjective in enumerate(ADJECTIVES)
    for n, noun in enumerate(noun for noun in NOUNS if noun.kinds & adjective.kinds)
    if (a + n) % 7 == 5
)
NEW_CONJUNCTIONS = frozenset(
    [("so", "predicate"), ("or", "motion"), ("because", "dative noun"), ("while", "pronoun"), ("if", "place")]
)


# --- a clause ----------------------------------------------------------------------------------------------


class Phrase(NamedTuple):
    """A name, or determiner, noun and perhaps an adjective."""

    name: str = ""
    determiner: str = ""
    noun: Noun | None = None
    plural: bool = False
    adjective: Adjective | None = None

    @property
    def gender(self) -> str:
        return self.noun.gender[self.plural] if self.noun else NAMES[self.name]

    @property
    def person(self) -> int:
        return 5 if self.plural else 2


class Clause(NamedTuple):
    """What one clause says, before it is written in either language. Which parts it has follows from its kind."""

    kind: Kind
    subject: Phrase | Pronoun
    past: bool = False
    negation: str = ""  # "", "not" or "never"
    verb: Verb | None = None  # None = "to be"
    adverb: str = ""  # of ADVERBS
    object: Phrase | Pronoun | None = None
    recipient: Phrase | Pronoun | None = None
    very_much: bool = False
    adjective: Adjective | None = None
    place: tuple[str, Place] | None = None
    time: str = ""
    time_first: bool = False


class _Draft:
    """Both sides of a sentence while they are written: an Italian word says which English words it stands for."""

    def __init__(self) -> None:
        self.english: list[str] = []
        self.italian: list[str] = []
        self.links: list[tuple[int, int]] = []
        self.agreement: list[tuple[int, int]] = []

    def say(self, words: str) -> list[int]:
        """Add English words and return their places."""
        first = len(self.english)
        self.english += words.split(" ")
        return list(range(first, len(self.english)))

    def write(self, word: str, places: Sequence[int], agrees_with: Sequence[int] = ()) -> None:
        """Add an Italian word that stands for the English words at these places, and agrees with those at others."""
        self.links += [(len(self.italian), place) for place in places]
        self.agreement += [(len(self.italian), place) for place in agrees_with if place not in places]
        self.italian.append(word)

    def add(self, pair: Pair) -> None:
        """Add both sides of a pair."""
        t_first, s_first = len(self.italian), len(self.english)
        self.links += [(t_first + t, s_first + s) for t, s in pair.links]
        self.agreement += [(t_first + t, s_first + s) for t, s in pair.agreement]
        self.english += pair.src
        self.italian += pair.tgt

    def pair(self) -> Pair:
        return Pair(
            tuple(self.english), tuple(self.italian), frozenset(self.links), frozenset(self.agreement)
        )


def _begins(word: str) -> str:
    """Say what an Italian word begins with, as the articles before it see it."""
    if word[0] in "aeiouèh":  # h is not spoken
        return "vowel"
    if word[0] == "z" or (word[0] == "s" and word[1] not in "aeiou"):
        return "cluster"
    return "consonant"


def _article(gender: str, plural: bool, following: str) -> str:
    """The definite article before a word: il, lo, l', la, i, gli, le."""
    begins = _begins(following)
    if gender == "f":
        return "le" if plural else "l'" if begins == "vowel" else "la"
    if plural:
        return "i" if begins == "consonant" else "gli"
    return {"vowel": "l'", "cluster": "lo", "consonant": "il"}[begins]


def _indefinite(gender: str, following: str) -> str:
    """The indefinite article before a word: un, uno, una, un'."""
    begins = _begins(following)
    if gender == "f":
        return "un'" if begins == "vowel" else "una"
    return "uno" if begins == "cluster" else "un"


MELTED = {"il": "l", "lo": "llo", "l'": "ll'", "la": "lla", "i": "i", "gli": "gli", "le": "lle"}


def _with_article(preposition: str, article: str) -> str:
    """Melt a, di, in or su with the article: a + il → al, in + lo → nello, su + l' → sull', di + gli → degli."""
    return {"a": "a", "di": "de", "in": "ne", "su": "su"}[preposition] + MELTED[article]


def _say_phrase(draft: _Draft, phrase: Phrase | Pronoun, case: str = "object") -> list[int]:
    if isinstance(phrase, Pronoun):
        return draft.say(phrase.subject if case == "subject" else phrase.object)
    if not phrase.noun:
        return draft.say(phrase.name)
    words = [phrase.adjective.english] if phrase.adjective else []
    words.append(phrase.noun.english[phrase.plural])
    vowel = phrase.determiner == "a" and words[0][0] in "aeiouI"
    return draft.say(" ".join(["an" if vowel else phrase.determiner, *words]))


def _write_phrase(draft: _Draft, phrase: Phrase, places: list[int], to: list[int] | None = None) -> None:
    """Write a name or a noun with what belongs to it; `to`: the place of an English "to" before it."""
    if not phrase.noun:
        if to:
            draft.write("ad" if phrase.name.startswith("A") else "a", to, places)
        draft.write(phrase.name, places)
        return
    determiner, number, gender = phrase.determiner, phrase.plural, phrase.gender
    first, adjective, last = places[:1], places[1:2], places[-1:]
    noun = phrase.noun.italian[number]
    possessive = POSSESSIVES[determiner][2 * number + (gender == "f")] if determiner in POSSESSIVES else ""
    if determiner == "the" or possessive:
        article = _article(gender, number, possessive or noun)
        if to:
            draft.write(_with_article("a", article), to + first, last)
        else:
            draft.write(article, first, last)
        if possessive:
            draft.write(possessive, first, last)
    elif determiner == "a":
        draft.write(_indefinite(gender, noun), first, last)
    elif determiner == "some":
        draft.write(_with_article("di", _article(gender, number, noun)), first, last)
    else:
        draft.write(NUMBERS[determiner], first)
    draft.write(noun, last)
    if phrase.adjective:
        draft.write(phrase.adjective.forms[gender, number], adjective, last)


def _agreeing(forms: dict[tuple[str, bool], str], whom: Phrase | Pronoun) -> str:
    """Return the form that agrees with somebody; who does not say a gender gets the masculine."""
    return forms[whom.gender or "m", whom.person >= 3]


def _say_clause(draft: _Draft, clause: Clause) -> dict[str, list[int]]:
    """Add the English of a clause; return the places of its parts, empty where it has no such part."""
    verb, person = clause.verb, clause.subject.person
    at: dict[str, list[int]] = defaultdict(list)
    if clause.time_first:
        at["time"] = draft.say(clause.time)
    at["subject"] = _say_phrase(draft, clause.subject, "subject")
    form = 2 if clause.past else int(person == 2)
    if verb is None:
        at["verb"] = draft.say((WAS if clause.past else IS)[0][person])
    elif clause.negation == "not":
        at["do"] = draft.say(("do", "does", "did")[form])
        form = 0
    if clause.negation:
        at["negation"] = at["do"] + draft.say(clause.negation)
    if clause.adverb:
        at["adverb"] = draft.say(clause.adverb)
    if verb is not None:
        at["verb"] = draft.say(verb.english[form])
    if isinstance(clause.recipient, Pronoun):  # "give her the book"
        at["recipient"] = _say_phrase(draft, clause.recipient)
    if clause.object:
        at["object"] = _say_phrase(draft, clause.object)
    if isinstance(clause.recipient, Phrase):  # "give the book to Anna"
        at["to"] = draft.say("to")
        at["recipient"] = _say_phrase(draft, clause.recipient)
    if clause.very_much:
        at["very much"] = draft.say("very much")
    if clause.adjective:
        at["adjective"] = draft.say(clause.adjective.english)
    if clause.place:
        preposition, place = clause.place
        at["place"] = draft.say(f"{preposition} the {place.english}")
    if clause.time and not clause.time_first:
        at["time"] = draft.say(clause.time)
    return at


def _write_clause(draft: _Draft, clause: Clause, at: dict[str, list[int]]) -> None:
    """Add the Italian of a clause whose English parts stand at these places."""
    if clause.time_first:
        _write_time(draft, clause.time, at["time"])
    if isinstance(clause.subject, Phrase):
        _write_phrase(draft, clause.subject, at["subject"])
    _write_verb(draft, clause, at)
    if isinstance(clause.object, Phrase):
        _write_phrase(draft, clause.object, at["object"])
    if isinstance(clause.recipient, Phrase):
        _write_phrase(draft, clause.recipient, at["recipient"], at["to"])
    if clause.adjective:
        draft.write(_agreeing(clause.adjective.forms, clause.subject), at["adjective"], at["subject"][-1:])
    if clause.place:
        _write_place(draft, *clause.place, at["place"])
    if clause.time and not clause.time_first:
        _write_time(draft, clause.time, at["time"])


def _write_verb(draft: _Draft, clause: Clause, at: dict[str, list[int]]) -> None:
    """Write "non", the object pronoun, the verb in its person and tense, and the adverbs, in this order."""
    verb, person = clause.verb, clause.subject.person
    # A dropped pronoun lives on in the verb; a subject that is named does not.
    finite_at = (at["subject"] if isinstance(clause.subject, Pronoun) else []) + at["verb"]
    participle = ""
    agrees_at = list(at["do"])  # "did not see" → "ho visto": the tense stands in "did"
    if verb is None:
        finite = (WAS if clause.past else IS)[1][person]
    elif not clause.past:
        finite = verb.present[person]
    else:  # a compound past: "ho visto", "è arrivata"
        finite = IS[1][person] if clause.kind == "motion" else HAVE[person]
        finite_at = finite_at + at["do"]
        participle = verb.participle
        if clause.kind == "motion":
            participle = participle[:-1] + _agreeing(ENDINGS, clause.subject)
            agrees_at += at["subject"][-1:]
        elif isinstance(clause.object, Pronoun) and clause.object.person in (2, 5):  # of "ti", who knows?
            participle = participle[:-1] + _agreeing(ENDINGS, clause.object)
            agrees_at += at["object"]

    if clause.negation:
        draft.write("non", at["negation"])
    # "him" is "lo", "gli" or "l'": the verb says whether it is seen or given something, and how the next word begins.
    if isinstance(clause.object, Pronoun):
        clitic = clause.object.clitic
        may_elide = clitic in ("lo", "la")
        elided = may_elide and _begins(finite) == "vowel"
        draft.write("l'" if elided else clitic, at["object"], at["do"] + at["verb"] if may_elide else [])
    elif isinstance(clause.recipient, Pronoun):
        of_two = clause.recipient.dative != clause.recipient.clitic
        draft.write(clause.recipient.dative, at["recipient"], at["verb"] if of_two else [])
    draft.write(finite, finite_at, at["do"] + at["subject"][-1:])
    if clause.negation == "never":
        draft.write("mai", at["negation"])
    if clause.adverb:
        draft.write(ADVERBS[clause.adverb], at["adverb"])
    if participle:
        draft.write(participle, at["verb"], agrees_at)
    if clause.very_much:
        draft.write("molto", at["very much"])


def _write_place(draft: _Draft, preposition: str, place: Place, places: list[int]) -> None:
    if preposition == "near":
        draft.write("vicino", places[:1])
    melted = _with_article(PREPOSITIONS[preposition], _article(place.gender, False, place.italian))
    draft.write(melted, places[:2], places[2:])
    draft.write(place.italian, places[2:])


def _write_time(draft: _Draft, time: str, places: list[int]) -> None:
    for word in TIMES[time].split(" "):
        draft.write(word, places)


def _written_clause(clause: Clause) -> Pair:
    draft = _Draft()
    _write_clause(draft, clause, _say_clause(draft, clause))
    return draft.pair()


def _joined(clauses: Sequence[Pair], conjunctions: Sequence[str]) -> Pair:
    """Join clauses by conjunctions, one between two."""
    draft = _Draft()
    for number, clause in enumerate(clauses):
        if number:
            english = conjunctions[number - 1]
            draft.write(_CONJUNCTIONS[english], draft.say(english))
        draft.add(clause)
    return draft.pair()


# --- drawing -----------------------------------------------------------------------------------------------


class _Dice:
    """Chance for one draw. Only `random()` is used: it gives the same numbers in every version of Python."""

    def __init__(self, seed: int):
        self.random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def pick(self, options: Sequence[Item]) -> Item:
        return options[int(self.random() * len(options))]


_KINDS = tuple(kind for kind, share in SHARES.items() for _ in range(share))
_VERBS: dict[Kind, tuple[Verb, ...]] = {
    "noun": TRANSITIVE,
    "pronoun": tuple(verb for verb in TRANSITIVE if "person" in verb.kinds),
    "dative noun": DATIVE,
    "dative pronoun": DATIVE,
    "intransitive": INTRANSITIVE,
    "motion": MOTION,
}
_OBJECTS = {verb: _objects(verb) for verb in TRANSITIVE + DATIVE}
_ADJECTIVES_OF = {
    noun: tuple(adjective for adjective in ADJECTIVES if adjective.kinds & noun.kinds) for noun in NOUNS
}
_PERSONS = tuple(noun for noun in NOUNS if "person" in noun.kinds)
_LIVING = tuple(noun for noun in NOUNS if noun.kinds & {"person", "animal"})
_OF_PERSONS = tuple(adjective for adjective in ADJECTIVES if "person" in adjective.kinds)
# With those twice that a participle agrees with: they have three forms to be learned.
_OBJECT_PRONOUNS = PRONOUNS + tuple(pronoun for pronoun in PRONOUNS if pronoun.person in (2, 5))
# Where a subject's gender is not known, only these say the same of everybody: "sono felice".
_OF_EITHER_GENDER = tuple(a for a in _OF_PERSONS if a.forms["m", False] == a.forms["f", False])


def _draw_clause(dice: _Dice) -> Clause:
    kind = dice.pick(_KINDS)
    verb = dice.pick(_VERBS[kind]) if kind in _VERBS else None
    past = dice.chance(0.4) and (verb is None or verb.participle != "-")
    negation = "not" if dice.chance(0.12) else "never" if dice.chance(0.06) else ""
    subject = _draw_subject(dice, kind, past)
    given: Phrase | Pronoun | None = None
    recipient: Phrase | Pronoun | None = None
    if kind == "pronoun":
        given = _draw_pronoun(dice, subject, _OBJECT_PRONOUNS)
    elif verb in _OBJECTS:
        given = _draw_phrase(dice, _OBJECTS[verb], some=not negation)
        if "person" in verb.kinds and dice.chance(0.2):
            given = _draw_name(dice, subject)
    if kind == "dative pronoun":
        recipient = _draw_pronoun(dice, subject, PRONOUNS[:-1])
    elif kind == "dative noun":
        recipient = _draw_phrase(dice, _PERSONS, some=False)
        if recipient.determiner in ("a", *NUMBERS) or dice.chance(0.5):
            recipient = _draw_name(dice, subject)
    adjective = None
    if kind == "predicate":
        adjective = dice.pick(_adjectives_of(subject))
    place = None
    if kind == "place" or (kind in ("noun", "pronoun", "intransitive") and dice.chance(0.12)):
        where = dice.pick(PLACES)
        place = (dice.pick(where.prepositions), where)
    adverb, very_much, time = "", False, ""
    if negation != "never":
        if (verb is None or not past) and dice.chance(0.12):
            adverb = dice.pick(tuple(ADVERBS))
        elif verb is not None and verb.english[0] in VERY_MUCH and dice.chance(0.4):
            very_much = True
        elif dice.chance(0.12):
            time = dice.pick(tuple(PAST_TIMES if past else PRESENT_TIMES))
    return Clause(
        kind=kind,
        subject=subject,
        past=past,
        negation=negation,
        verb=verb,
        adverb=adverb,
        object=given,
        recipient=recipient,
        very_much=very_much,
        adjective=adjective,
        place=place,
        time=time,
        time_first=bool(time) and dice.chance(0.4),
    )


def _adjectives_of(subject: Phrase | Pronoun) -> tuple[Adjective, ...]:
    if isinstance(subject, Pronoun):
        return _OF_PERSONS if subject.gender else _OF_EITHER_GENDER
    return _ADJECTIVES_OF[subject.noun] if subject.noun else _OF_PERSONS


def _draw_subject(dice: _Dice, kind: Kind, past: bool) -> Phrase | Pronoun:
    if dice.chance(0.6):
        gendered = kind == "motion" and past  # "sono arrivata": the participle tells a gender
        return dice.pick([pronoun for pronoun in PRONOUNS if pronoun.gender or not gendered])
    if dice.chance(0.3):
        return Phrase(name=dice.pick(tuple(NAMES)))
    return _draw_phrase(dice, NOUNS if kind in ("predicate", "place") else _LIVING)


def _draw_pronoun(dice: _Dice, subject: Phrase | Pronoun, options: Sequence[Pronoun]) -> Pronoun:
    """Draw an object that is somebody else than the subject: no "I see me", no "I see us"."""
    me = subject.person % 3 if subject.person in (0, 1, 3, 4) else None
    return dice.pick([option for option in options if option.person in (2, 5) or option.person % 3 != me])


def _draw_name(dice: _Dice, subject: Phrase | Pronoun) -> Phrase:
    taken = subject.name if isinstance(subject, Phrase) else ""
    return Phrase(name=dice.pick([name for name in NAMES if name != taken]))


def _draw_phrase(dice: _Dice, nouns: Sequence[Noun], *, some: bool = True) -> Phrase:
    noun, plural = dice.pick(nouns), dice.chance(0.4)
    determiner = dice.pick(PLURAL if plural else SINGULAR)
    if determiner == "some" and not some:  # "I do not see some books" is no English
        determiner = "the"
    adjective = dice.pick(_ADJECTIVES_OF[noun]) if dice.chance(0.2) else None
    return Phrase("", determiner, noun, plural, adjective)


# --- splits ------------------------------------------------------------------------------------------------


def _has_new_combination(clause: Clause) -> bool:
    verb = clause.verb.english[0] if clause.verb else ""
    phrases = [part for part in (clause.subject, clause.object, clause.recipient) if isinstance(part, Phrase)]
    noun = clause.object.noun if isinstance(clause.object, Phrase) else None
    if noun and (verb, noun.english[0]) in NEW_OBJECTS:
        return True
    for part in (clause.object, clause.recipient):
        if isinstance(part, Pronoun) and (verb, part.object) in NEW_PRONOUNS:
            return True
    said = [(phrase.adjective, phrase.noun) for phrase in phrases]
    if isinstance(clause.subject, Phrase):
        said.append((clause.adjective, clause.subject.noun))
    return any(
        (adjective.english, noun.english[0]) in NEW_ADJECTIVES
        for adjective, noun in said
        if adjective and noun
    )


def _is_kept_out(clause: Pair) -> bool:
    """Tell by the Italian words, so that all English clauses with one translation stay together."""
    return zlib.crc32(" ".join(clause.tgt).encode()) % HELD_OUT_ONE_IN == 0


def _content(clause: Clause) -> list[str]:
    """List the words that a sentence says only once: verb, names, nouns, adjectives, place, time and adverb."""
    words = [clause.verb.english[0]] if clause.verb else []
    for part in (clause.subject, clause.object, clause.recipient):
        if isinstance(part, Phrase):
            words.append(part.noun.english[0] if part.noun else part.name)
            words += [part.adjective.english] if part.adjective else []
    words += [clause.adjective.english] if clause.adjective else []
    words += [clause.place[1].english] if clause.place else []
    return words + [word for word in (clause.time, clause.adverb) if word]


def _draw_sentence(dice: _Dice, split: Split, n_clauses: int) -> Pair | None:
    """Draw a sentence; None where the draw belongs to another split."""
    clauses: list[Clause] = []
    pairs: list[Pair] = []
    said: set[str] = set()
    new = False
    while len(clauses) < n_clauses:
        clause = _draw_clause(dice)
        words = _content(clause)
        if len(said.union(words)) < len(said) + len(words):
            continue
        combined = _has_new_combination(clause)
        if combined and split != "compositional":
            continue
        pair = _written_clause(clause)
        if not combined and _is_kept_out(pair) != (split != "train"):
            continue
        new |= combined
        said.update(words)
        clauses.append(clause)
        pairs.append(pair)
    conjunctions: list[str] = []
    for (before, after), pair in zip(pairwise(clauses), pairs[1:]):
        options = [*CONJUNCTIONS] + ([] if before.past or after.past else [*PRESENT_CONJUNCTIONS])
        taken = {*conjunctions, "and"} if pair.tgt[0][0] in "eèE" else conjunctions  # "e è" would be "ed è"
        conjunction = dice.pick([option for option in options if option not in taken])
        if (conjunction, after.kind) in NEW_CONJUNCTIONS:
            if split != "compositional":
                return None
            new = True
        conjunctions.append(conjunction)
    if new != (split == "compositional"):
        return None
    return _joined(pairs, conjunctions)


def sample_pairs(
    n: int, *, split: Split = "train", n_clauses: int | None = None, generator: torch.Generator
) -> list[Pair]:
    """Draw `n` different pairs of a split.

    Args:
        n: how many, at least 1.
        split: "train", "held_out" or "compositional"; no sentence and no clause of one is in another.
        n_clauses: 1, 2 or 3 clauses in every sentence; None = one, two and three equally often.
        generator: the source of all chance.

    Returns:
        Pairs in random order.

    Raises:
        ValueError: a number or a split that is none.
    """
    if not isinstance(n, SupportsIndex) or isinstance(n, bool) or n < 1:
        raise ValueError(f"sample_pairs: n must be a whole number, at least 1, got {n!r}")
    if split not in SPLITS:
        raise ValueError(f"sample_pairs: split must be one of {', '.join(SPLITS)}, got {split!r}")
    if n_clauses is not None and n_clauses not in range(1, MAX_CLAUSES + 1):
        raise ValueError(f"sample_pairs: n_clauses must be 1 to {MAX_CLAUSES}, or None, got {n_clauses!r}")
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"sample_pairs: generator must be a torch.Generator, got {generator!r}")
    dice = _Dice(int(torch.randint(2**62, (), generator=generator)))
    pairs: dict[Pair, None] = {}
    while len(pairs) < n:
        pair = None
        wanted = n_clauses or 1 + int(dice.random() * MAX_CLAUSES)
        while (
            pair is None or pair in pairs
        ):  # again with as many clauses, so that each number keeps its share
            pair = _draw_sentence(dice, split, wanted)
        pairs[pair] = None
    return list(pairs)


# --- ids ---------------------------------------------------------------------------------------------------


def _everything() -> Iterator[Clause]:
    """Say every form of every word at least once."""
    speaker, speakers = PRONOUNS[0], PRONOUNS[4]
    for noun, plural in product(NOUNS, (False, True)):
        for determiner in PLURAL if plural else SINGULAR:
            phrase = Phrase("", determiner, noun, plural)
            yield Clause("noun", speaker, verb=TRANSITIVE[0], object=phrase)
            if noun in _PERSONS and (determiner == "the" or determiner in POSSESSIVES):
                yield Clause("dative noun", speaker, verb=DATIVE[0], object=phrase, recipient=phrase)
        for adjective in _ADJECTIVES_OF[noun]:
            yield Clause("predicate", Phrase("", "a", noun, plural), adjective=adjective)
        for verb in MOTION if noun in _PERSONS else ():
            yield Clause("motion", Phrase("", "the", noun, plural), past=True, verb=verb)
    for name in NAMES:
        yield Clause("dative noun", speaker, verb=DATIVE[0], recipient=Phrase(name))
    for subject, past, negation in product(PRONOUNS, (False, True), ("", "not", "never")):
        yield Clause("predicate", subject, past, negation)
        for kind, verbs in _VERBS.items():
            for verb in verbs:
                if verb.participle != "-" or not past:
                    yield Clause(kind, subject, past, negation, verb)
    for verb, given, past in product(_VERBS["pronoun"], PRONOUNS, (False, True)):
        if verb.participle != "-" or not past:
            yield Clause("pronoun", speakers, past, verb=verb, object=given)
            yield Clause("pronoun", speakers, past, verb=verb, object=given, very_much=True)
    for recipient in PRONOUNS[:-1]:
        yield Clause("dative pronoun", speaker, verb=DATIVE[0], recipient=recipient)
    for place in PLACES:
        for preposition in place.prepositions:
            yield Clause("place", speaker, place=(preposition, place))
    for adverb in ADVERBS:
        yield Clause("predicate", speaker, adverb=adverb)
    for time in TIMES:
        yield Clause("predicate", speaker, time=time)


def _vocabulary(words: set[str]) -> WhitespaceTokenizer:
    return WhitespaceTokenizer([*SPECIALS, *sorted(words)], specials=SPECIALS)


_ALL = [_written_clause(clause) for clause in _everything()]
ENGLISH = _vocabulary({word for pair in _ALL for word in pair.src} | _CONJUNCTIONS.keys())
ITALIAN = _vocabulary({word for pair in _ALL for word in pair.tgt} | set(_CONJUNCTIONS.values()))


def batch(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Turn pairs into ids, each row <sos>, its words, <eos>, then padding.

    Args:
        pairs: B of them, at least one.

    Returns:
        src, (B, Ts), ids of `ENGLISH`; tgt, (B, Tt), ids of `ITALIAN`.

    Raises:
        ValueError: no pair, or a word that the vocabulary does not have.
    """
    _check_pairs("batch", pairs)
    return (
        _ids([pair.src for pair in pairs], ENGLISH),
        _ids([pair.tgt for pair in pairs], ITALIAN),
    )


def batches_of_like_length(pairs: Sequence[Pair], n_tokens: int) -> list[tuple[Tensor, Tensor]]:
    """Cut pairs into batches of sentences about as long, many short ones or few long ones.

    Drawn at random, such batches cost about the same each, compute hardly any padding, and let every token count alike.

    Args:
        pairs: at least one.
        n_tokens: the most target tokens to predict in a batch, with padding: B (Tt − 1).

    Returns:
        Batches as `batch` makes them, the shortest sentences first; every pair is in one.

    Raises:
        ValueError: n_tokens is too few for the longest sentence, or as in `batch`.
    """
    _check_pairs("batches_of_like_length", pairs)
    longest = 1 + max(len(pair.tgt) for pair in pairs)
    if not isinstance(n_tokens, SupportsIndex) or n_tokens < longest:
        raise ValueError(
            f"batches_of_like_length: n_tokens must be at least {longest}, for the longest sentence, got {n_tokens!r}"
        )
    batches: list[tuple[Tensor, Tensor]] = []
    together: list[Pair] = []
    for pair in sorted(pairs, key=lambda pair: (len(pair.tgt), len(pair.src))):
        if (len(together) + 1) * (len(pair.tgt) + 1) > n_tokens:
            batches.append(batch(together))
            together = []
        together.append(pair)
    return [*batches, batch(together)]


def written(words: Sequence[str]) -> str:
    """Write words as text: a space between two, none after an apostrophe ("l'", "amico" → "l'amico")."""
    return " ".join(words).replace("' ", "'")


def words_of(ids: Tensor, tokenizer: WhitespaceTokenizer) -> list[tuple[str, ...]]:
    """Turn rows of ids into words, up to the first <eos>, without <sos> and padding.

    Args:
        ids: (B, T), integers.
        tokenizer: `ENGLISH` or `ITALIAN`.

    Returns:
        B tuples of words.

    Raises:
        ValueError: `ids` is not (B, T), holds no integers, or ids outside the vocabulary.
    """
    if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.dtype not in (torch.int32, torch.int64):
        got = f"{tuple(ids.shape)}, {ids.dtype}" if isinstance(ids, Tensor) else f"a {type(ids).__name__}"
        raise ValueError(f"words_of: ids must be integers, (B, T), got {got}")
    n_words = len(tokenizer.tokens)
    if ids.numel() and not 0 <= ids.min() <= ids.max() < n_words:
        raise ValueError(
            f"words_of: ids must lie between 0 and {n_words - 1}, got {int(ids.min())} to {int(ids.max())}"
        )
    rows = []
    for row in ids.tolist():
        row = row[: row.index(EOS)] if EOS in row else row
        rows.append(tuple(tokenizer.tokens[each] for each in row if each not in (PAD, SOS)))
    return rows


def gold_alignment(pairs: Sequence[Pair], *, agreement: bool = False) -> Tensor:
    """Lay the links out where cross-attention lies: True where the word predicted at a step stands for a source token.

    Step t reads target token t (<sos> at step 0) and predicts word t; source column s + 1 is word s.

    Args:
        pairs: B of them, at least one.
        agreement: True also where it agrees with that token.

    Returns:
        Boolean, (B, Tt − 1, Ts) of the same `batch`. A step that predicts <eos> or padding has no True.

    Raises:
        ValueError: no pair.
    """
    _check_pairs("gold_alignment", pairs)
    n_steps, n_source = (max(len(pair[side]) for pair in pairs) for side in (1, 0))
    gold = torch.zeros(len(pairs), n_steps + 1, n_source + 2, dtype=torch.bool)
    for row, pair in enumerate(pairs):
        target, source = zip(*(pair.links | pair.agreement if agreement else pair.links))
        gold[row, list(target), [place + 1 for place in source]] = True
    return gold


def alignment_error(weights: Tensor, pairs: Sequence[Pair], *, agreement: bool = False) -> float:
    """Return the share of Italian words whose largest weight lies on an English word they are not linked to.

    Every word of every pair counts, and one link is enough. Every source token may be chosen: <sos> and <eos> are
    wrong. Whoever writes "il" must know the "the" it stands for, and the noun whose gender it takes; with
    `agreement`, either is right.

    Args:
        weights: cross-attention when each step reads the true words before it, (B, Tt − 1, Ts), floating point.
        pairs: the B pairs, in the order of the rows.
        agreement: count the word that decides a form as right, too.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: weights that do not fit the pairs, or hold nan.
    """
    gold = gold_alignment(pairs, agreement=agreement)
    if not isinstance(weights, Tensor) or not weights.is_floating_point() or weights.shape != gold.shape:
        got = f"{tuple(weights.shape)}, {weights.dtype}" if isinstance(weights, Tensor) else f"{weights!r}"
        raise ValueError(f"alignment_error: weights must be floating point, {tuple(gold.shape)}, got {got}")
    if weights.isnan().any():
        raise ValueError("alignment_error: weights hold nan")
    counted = gold.any(-1)  # (B, Tt − 1)
    right = gold.gather(-1, weights.argmax(-1, keepdim=True).to(gold.device)).squeeze(-1)  # (B, Tt − 1)
    return 1 - right[counted].double().mean().item()


def _check_pairs(name: str, pairs: Sequence[Pair]) -> None:
    if isinstance(pairs, Pair) or not isinstance(pairs, Sequence) or not pairs:
        raise ValueError(f"{name}: need a list of at least one pair, got {pairs!r}")
    for pair in pairs:
        if not isinstance(pair, Pair):
            raise ValueError(f"{name}: every pair must be a Pair, got {pair!r}")


def _ids(sentences: Sequence[Sequence[str]], tokenizer: WhitespaceTokenizer) -> Tensor:
    ids = torch.full((len(sentences), max(map(len, sentences)) + 2), PAD)
    for row, words in enumerate(sentences):
        unknown = [word for word in words if word not in tokenizer.ids or word in SPECIALS]
        if unknown:
            raise ValueError(f"batch: {unknown[0]!r} is in no sentence of this world")
        ids[row, : len(words) + 2] = torch.tensor([SOS, *(tokenizer.ids[word] for word in words), EOS])
    return ids
