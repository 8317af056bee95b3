"""Cities: a small world of true sentences, in which the city decides a word that stands several words later.

"Shanghai is a city in" ends in "China" and in nothing else; the words between are the same for every city, so
that whoever guesses from the last few words alone cannot know. All names are single words.
"""

from __future__ import annotations

import random

COUNTRIES: dict[str, tuple[str, tuple[str, ...]]] = {
    # country: (language, four cities)
    "China": ("Chinese", ("Shanghai", "Beijing", "Guangzhou", "Chengdu")),
    "Japan": ("Japanese", ("Tokyo", "Osaka", "Kyoto", "Nagoya")),
    "Korea": ("Korean", ("Seoul", "Busan", "Daegu", "Incheon")),
    "Vietnam": ("Vietnamese", ("Hanoi", "Hue", "Danang", "Haiphong")),
    "Italy": ("Italian", ("Rome", "Milan", "Naples", "Turin")),
    "France": ("French", ("Paris", "Lyon", "Marseille", "Toulouse")),
    "Germany": ("German", ("Berlin", "Hamburg", "Munich", "Cologne")),
    "Spain": ("Spanish", ("Madrid", "Seville", "Malaga", "Zaragoza")),
    "Poland": ("Polish", ("Warsaw", "Krakow", "Gdansk", "Poznan")),
    "Greece": ("Greek", ("Athens", "Patras", "Heraklion", "Larissa")),
    "Norway": ("Norwegian", ("Oslo", "Bergen", "Trondheim", "Stavanger")),
    "Hungary": ("Hungarian", ("Budapest", "Debrecen", "Szeged", "Pecs")),
    "Portugal": ("Portuguese", ("Lisbon", "Porto", "Braga", "Coimbra")),
    "Egypt": ("Arabic", ("Cairo", "Alexandria", "Luxor", "Aswan")),
    "Brazil": ("Portuguese", ("Recife", "Salvador", "Brasilia", "Manaus")),
    "Mexico": ("Spanish", ("Guadalajara", "Puebla", "Monterrey", "Tijuana")),
}
RIVERS: dict[str, str] = {
    "Shanghai": "Huangpu",
    "Seoul": "Han",
    "Rome": "Tiber",
    "Turin": "Po",
    "Paris": "Seine",
    "Lyon": "Rhone",
    "Toulouse": "Garonne",
    "Berlin": "Spree",
    "Hamburg": "Elbe",
    "Munich": "Isar",
    "Cologne": "Rhine",
    "Seville": "Guadalquivir",
    "Zaragoza": "Ebro",
    "Warsaw": "Vistula",
    "Krakow": "Vistula",
    "Poznan": "Warta",
    "Budapest": "Danube",
    "Szeged": "Tisza",
    "Lisbon": "Tagus",
    "Porto": "Douro",
    "Coimbra": "Mondego",
    "Cairo": "Nile",
    "Luxor": "Nile",
    "Aswan": "Nile",
}
CITIES: dict[str, str] = {city: country for country, (_, cities) in COUNTRIES.items() for city in cities}

KINDS: dict[str, str] = {
    # In each, the city stands some words before the answer that it decides, which is the last word.
    "city in": "{city} is a city in {answer}",
    "travel": "if you want to see {city} you must go to {answer}",
    "born": "people who were born in {city} were born in {answer}",
    "language": "in the streets of {city} you mostly hear {answer}",
    "river": "{city} lies on the river {answer}",
}
CLUE_ON_THE_RIGHT = "in {answer} lies the city of {city}"


def answer_to(kind: str, city: str) -> str:
    """Return the word that ends a sentence of this kind about this city.

    Raises:
        ValueError: an unknown kind or city, or a city whose river the world does not know.
    """
    _check(kind, city)
    country = CITIES[city]
    if kind == "language":
        return COUNTRIES[country][0]
    if kind == "river":
        return RIVERS[city]
    return country


def prompt(kind: str, city: str) -> list[str]:
    """Return the words of a sentence of this kind up to its answer, which they do not name.

    Raises:
        ValueError: as in `answer_to`.
    """
    _check(kind, city)
    return KINDS[kind].format(city=city, answer="").split()


def sentences(kinds: tuple[str, ...] = tuple(KINDS), *, shuffle_seed: int | None = None) -> list[list[str]]:
    """Return every sentence of the world, each a list of words.

    Args:
        kinds: some of `KINDS`.
        shuffle_seed: deal the answers of each kind out among its cities at random; None = leave them true. Each
            word then is as frequent as before, and only what belongs together is lost.

    Returns:
        One sentence for each kind and city, in a fixed order.

    Raises:
        ValueError: an unknown kind.
    """
    told = []
    for kind in kinds:
        cities = [city for city in CITIES if kind != "river" or city in RIVERS]
        answers = [answer_to(kind, city) for city in cities]
        if shuffle_seed is not None:
            random.Random(f"{shuffle_seed} {kind}").shuffle(answers)
        told += [prompt(kind, city) + [answer] for city, answer in zip(cities, answers, strict=True)]
    return told


def gap_sentences() -> list[tuple[list[str], list[str]]]:
    """Return for each city two sentences that name its country, one with the clue on the left, one on the right.

    "Shanghai is a city in China" names the city before the country, "in China lies the city of Shanghai"
    after it.

    Returns:
        A pair of word lists for each city: clue on the left, clue on the right.
    """
    return [
        (
            KINDS["city in"].format(city=city, answer=country).split(),
            CLUE_ON_THE_RIGHT.format(city=city, answer=country).split(),
        )
        for city, country in CITIES.items()
    ]


def _check(kind: str, city: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"the cities' world knows no kind {kind!r}; it knows {', '.join(KINDS)}")
    if city not in CITIES:
        raise ValueError(f"the cities' world knows no city {city!r}")
    if kind == "river" and city not in RIVERS:
        raise ValueError(f"the cities' world knows no river of {city!r}")
