"""tokenization: what each tokenizer cuts, keeps and refuses. Equality with Hugging Face stands in tests/parity."""

import json
import random
import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.tokenization import (
    PIECES,
    BPETokenizer,
    CharacterTokenizer,
    WhitespaceTokenizer,
    WordPieceTokenizer,
)

patient = settings(deadline=None)  # a busy machine is no fault
ALL = (WhitespaceTokenizer, CharacterTokenizer, BPETokenizer, WordPieceTokenizer)
every_tokenizer = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
TEXTS = [
    "low low lower lowest, newer; newest!",
    "the newest low tower\n\n  flowers  grow",
    "Ein schöner Tag, ein Tag",
]


def trained(kind, texts=TEXTS, vocab_size=90, **options):
    if kind is CharacterTokenizer:
        return kind.train(texts, **options)
    return kind.train(texts, vocab_size=vocab_size, **options)


def merges_by_counting_anew(words: Counter, n_merges: int) -> list[tuple[str, str]]:
    """BPE as the paper tells it, slowly: count all pairs, merge the best, count again."""
    tokens = sorted(set("".join(words)))
    texts = {word: list(word) for word in words}
    merges = []
    while len(merges) < n_merges:
        counts = Counter()
        for word, symbols in texts.items():
            for pair in pairwise(symbols):
                counts[pair] += words[word]
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], tokens.index(pair[0]), tokens.index(pair[1])))
        merges.append(best)
        if "".join(best) not in tokens:
            tokens.append("".join(best))
        for word, symbols in texts.items():
            place, after = 0, []
            while place < len(symbols):
                if tuple(symbols[place : place + 2]) == best:
                    after.append("".join(best))
                    place += 2
                else:
                    after.append(symbols[place])
                    place += 1
            texts[word] = after
    return merges


@every_tokenizer
def test_ids_are_places_in_the_list_of_tokens_with_the_special_ones_first(kind):
    tokenizer = trained(kind, specials=("[UNK]", "[CLS]"))
    assert tokenizer.tokens[:2] == ["[UNK]", "[CLS]"]
    assert [tokenizer.ids[token] for token in tokenizer.tokens] == list(range(len(tokenizer.tokens)))
    assert tokenizer.encode(TEXTS[0]) == [tokenizer.ids[token] for token in tokenizer.tokenize(TEXTS[0])]


def test_the_four_cut_one_text_each_in_its_own_way():
    text = "low low lower lowest"
    assert WhitespaceTokenizer.train([text]).tokenize(text) == ["low", "low", "lower", "lowest"]
    assert CharacterTokenizer.train([text]).tokenize(text) == list(text)
    # two special tokens and eight characters, then "lo", "low", " low"
    bpe = BPETokenizer.train([text], vocab_size=13)
    assert bpe.tokenize(text) == "low| low| low|e|r| low|e|s|t".split("|")
    # two special tokens, seven characters, six behind the start of a word, then "##ow", "low"
    word_piece = WordPieceTokenizer.train([text], vocab_size=17)
    assert word_piece.tokenize(text) == "low low low ##e ##r low ##e ##s ##t".split()


@patient
@given(st.lists(st.text(max_size=40), min_size=1, max_size=4), st.integers(0, 30))
def test_bpe_and_characters_give_back_every_text_they_were_trained_on(texts, n_merges):
    characters = CharacterTokenizer.train(texts)
    bpe = BPETokenizer.train(texts, vocab_size=len(characters.tokens) + n_merges)
    for text in texts:
        assert characters.decode(characters.encode(text)) == text
        assert bpe.decode(bpe.encode(text)) == text


@patient
@given(st.text())
def test_pieces_join_to_the_text(text):
    assert "".join(PIECES.findall(text)) == text


def test_a_piece_is_a_word_with_the_one_space_before_it():
    assert PIECES.findall("  two  words, x_1=42\n") == [
        " ", " two", " ", " words", ",", " x", "_", "1", "=", "42", "\n",
    ]  # fmt: skip


@patient
@given(st.text(), st.sampled_from((258, 262, 300)))
def test_bytes_write_any_text_without_anything_unknown(text, vocab_size):
    tokenizer = BPETokenizer.train(TEXTS, vocab_size=vocab_size, byte_level=True)
    assert tokenizer.ids["[UNK]"] not in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_bytes_that_stop_inside_a_character_are_shown_and_do_not_raise():
    tokenizer = BPETokenizer.train(["a"], vocab_size=258, byte_level=True)
    ids = tokenizer.encode("aé")
    assert len(ids) == 3
    assert tokenizer.decode(ids[:2]) == "a�"
    assert tokenizer.decode([tokenizer.ids["[PAD]"], ids[0]]) == "[PAD]a"


@patient
@given(st.lists(st.text("ab ", min_size=1, max_size=12), min_size=1, max_size=6), st.integers(0, 12))
def test_incremental_counting_merges_what_counting_anew_merges(texts, n_merges):
    words = Counter(piece for text in texts for piece in PIECES.findall(text))
    alphabet = sorted(set("".join(words)))
    tokenizer = BPETokenizer.train(texts, vocab_size=2 + len(alphabet) + n_merges)
    slowly = merges_by_counting_anew(words, len(tokenizer.merges))
    assert tokenizer.merges == slowly


def test_training_ends_early_when_no_pair_is_left():
    tokenizer = BPETokenizer.train(["aaaa"], vocab_size=1000)
    assert tokenizer.merges == [("a", "a"), ("aa", "aa")]
    assert tokenizer.tokens == ["[PAD]", "[UNK]", "a", "aa", "aaaa"]


def test_equal_counts_go_to_the_smaller_ids_and_overlapping_pairs_count():
    assert BPETokenizer.train(["cdab"], vocab_size=7).merges == [("a", "b")]
    # "aaaa" has three overlapping pairs, more than the two of "bc bc"
    assert BPETokenizer.train(["aaaa bc bc"], vocab_size=7).merges[0] == ("a", "a")


def test_encoding_follows_the_rank_of_a_merge_not_reading_order_or_length():
    tokens = ["[PAD]", "[UNK]", "a", "b", "c", "bc", "ab", "abc"]
    by_rank = BPETokenizer(tokens, [("b", "c"), ("a", "b"), ("ab", "c")])
    assert by_rank.tokenize("abc") == ["a", "bc"]
    assert BPETokenizer(tokens, [("a", "b"), ("b", "c")]).tokenize("abc") == ["ab", "c"]
    assert BPETokenizer([*tokens[:3], "aa"], [("a", "a")]).tokenize("aaa") == ["aa", "a"]


@pytest.mark.parametrize("kind", [CharacterTokenizer, BPETokenizer], ids=lambda kind: kind.__name__)
def test_an_unknown_character_becomes_one_unk(kind):
    tokenizer = kind.train(["abc"], **({} if kind is CharacterTokenizer else {"vocab_size": 6}))
    assert [t for t in tokenizer.tokenize("a?!b") if t == "[UNK]"] == ["[UNK]"] * 2


def test_wordpiece_takes_the_longest_piece_first_and_gives_one_unk_for_a_word_it_cannot_write():
    tokenizer = WordPieceTokenizer(
        ["[PAD]", "[UNK]", "un", "unwant", "u", "##want", "##ed", "##e", "##d", "##w", "##n", "runn", "##ing"]
    )
    assert tokenizer.tokenize("unwanted running") == ["unwant", "##ed", "runn", "##ing"]
    assert tokenizer.tokenize("unwantedX") == ["[UNK]"]
    assert tokenizer.decode(tokenizer.encode("unwanted running")) == "unwanted running"


def test_wordpiece_takes_words_of_100_characters_and_none_of_101():
    tokenizer = WordPieceTokenizer(["[UNK]", "a", "##a"], specials=("[UNK]",))
    assert tokenizer.tokenize("a" * 100) == ["a", *["##a"] * 99]
    assert tokenizer.tokenize("a" * 101) == ["[UNK]"]


@every_tokenizer
def test_text_never_becomes_a_special_token(kind):
    specials = ("[UNK]", "low", "b", "ow", "##ow")
    texts = ["low low [UNK] blow bow", "b"] * 3
    tokenizer = trained(kind, texts, 200, specials=specials)
    for text in (*texts, "low", "b", "[UNK] b"):
        assert not set(tokenizer.tokenize(text)) & set(specials[1:])
    assert set(tokenizer.tokenize("b")) == {"[UNK]"}


@every_tokenizer
def test_without_unk_something_unknown_is_an_error_that_names_it(kind):
    tokenizer = trained(kind, specials=())
    with pytest.raises(ValueError, match=f"{kind.__name__}: '%' is unknown"):
        tokenizer.encode("%")


@every_tokenizer
def test_an_empty_text_has_no_tokens(kind):
    tokenizer = trained(kind)
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""
    nothing = kind.train([]) if kind is CharacterTokenizer else None
    assert nothing is None or nothing.tokens == ["[PAD]", "[UNK]"]


def test_whitespace_keeps_the_most_frequent_words_and_equal_counts_alphabetically():
    tokenizer = WhitespaceTokenizer.train(["b a b c a d"], vocab_size=5)
    assert tokenizer.tokens == ["[PAD]", "[UNK]", "a", "b", "c"]
    assert tokenizer.tokenize("a  d\nb") == ["a", "[UNK]", "b"]
    assert tokenizer.decode([2, 1, 3]) == "a [UNK] b"


@every_tokenizer
def test_saved_and_loaded_it_is_the_same(kind, tmp_path):
    options = {"byte_level": True} if kind is BPETokenizer else {}
    tokenizer = trained(kind, vocab_size=300, specials=("[UNK]", "«Ende»"), **options)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    again = kind.load(path)
    assert type(again) is kind
    assert (again.tokens, again.specials, again.ids) == (tokenizer.tokens, tokenizer.specials, tokenizer.ids)
    for text in (*TEXTS, "etwas Neues: ∑", ""):
        assert again.encode(text) == tokenizer.encode(text)
    again.save(tmp_path / "again.json")
    assert path.read_bytes() == (tmp_path / "again.json").read_bytes()


def broken_files(content: dict) -> dict[str, tuple[str | bytes, str]]:
    """What may have happened to a BPE file, and what the message must say."""
    merges = content["merges"]

    def changed(**fields) -> str:
        return json.dumps(content | fields)

    return {
        "cut off": (json.dumps(content)[:-30], "cannot be read as JSON"),
        "not text": (b"\x80\x04\x95\xff", "cannot be read as JSON"),
        "empty": ("", "cannot be read as JSON"),
        "brackets without end": ("[" * 100_000, "cannot be read as JSON"),
        "a list": ("[1, 2]", "does not say which tokenizer"),
        "another program's": ('{"version": "1.0", "model": {}}', "does not say which tokenizer"),
        "another tokenizer's": (changed(tokenizer="WordPieceTokenizer"), "holds a WordPieceTokenizer"),
        "without merges": (
            json.dumps({k: v for k, v in content.items() if k != "merges"}),
            r"missing \['merges'\]",
        ),
        "with something more": (changed(author="me"), r"unknown \['author'\]"),
        "a token twice": (changed(tokens=[*content["tokens"], "a"]), "'a' twice"),
        "a number as token": (changed(tokens=[*content["tokens"], 7]), "got 7"),
        "an empty token": (changed(tokens=[*content["tokens"], ""]), "not empty, got ''"),
        "tokens as a string": (changed(tokens="abc"), "tokens must be a list"),
        "tokens as null": (changed(tokens=None), "tokens must be a list"),
        "specials not in front": (changed(specials=["[UNK]"]), "must begin with the special tokens"),
        "merges as a number": (changed(merges=3), "merges must be a list of pairs"),
        "three in a merge": (changed(merges=[["a", "b", "c"]]), "a merge must be a pair"),
        "a merge of nothing known": (changed(merges=[["a", "%"]]), "'%', which is no token"),
        "a merge with a special token": (changed(merges=[["a", "[PAD]"]]), "which is no token of texts"),
        "a merge twice": (changed(merges=[*merges, merges[0]]), "comes twice"),
        "byte level as a word": (changed(byte_level="yes"), "byte_level must be True or False"),
        "byte level without bytes": (changed(byte_level=True), "all 256 bytes"),
    }


CONTENT = {
    "tokenizer": "BPETokenizer",
    "tokens": ["[PAD]", "[UNK]", "a", "b", "ab"],
    "merges": [["a", "b"]],
    "specials": ["[PAD]", "[UNK]"],
    "byte_level": False,
}


def test_the_file_that_is_broken_below_is_sound(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(CONTENT))
    assert BPETokenizer.load(path).tokenize("abba") == ["ab", "b", "a"]


@pytest.mark.parametrize("how", broken_files(CONTENT))
def test_a_broken_or_foreign_file_is_named_with_what_is_wrong(how, tmp_path):
    path = tmp_path / "broken.json"
    written, said = broken_files(CONTENT)[how]
    path.write_bytes(written if isinstance(written, bytes) else written.encode())
    with pytest.raises(ValueError, match=said) as error:
        BPETokenizer.load(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_not_called_broken(tmp_path):
    with pytest.raises(FileNotFoundError):
        BPETokenizer.load(tmp_path / "nowhere.json")


@every_tokenizer
def test_one_string_in_place_of_a_list_is_refused(kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__}.train: texts must be a list of strings"):
        trained(kind, "one text")
    with pytest.raises(ValueError, match="a text must be a string, got int"):
        trained(kind, ["text", 3])
    with pytest.raises(ValueError, match="a text must be a string, got list"):
        trained(kind).encode(["a"])


@pytest.mark.parametrize("kind", [WhitespaceTokenizer, BPETokenizer, WordPieceTokenizer])
@pytest.mark.parametrize("vocab_size", [0, 2, -1, 3.5])
def test_a_vocabulary_too_small_is_refused_with_the_size_it_needs(kind, vocab_size):
    with pytest.raises(
        ValueError, match=rf"{kind.__name__}.train: vocab_size must be at least \d+.*got {vocab_size}"
    ):
        kind.train(["abc"], vocab_size=vocab_size)


@every_tokenizer
@pytest.mark.parametrize("wrong", [-1, 10_000, 1.5, "a", None])
def test_an_id_that_no_token_has_is_refused(kind, wrong):
    with pytest.raises(ValueError, match=rf"{kind.__name__}.decode: .*{wrong!r}"):
        trained(kind).decode([2, wrong])


@every_tokenizer
def test_special_tokens_that_are_not_different_strings_are_refused(kind):
    with pytest.raises(ValueError, match=r"'\[UNK\]' twice"):
        trained(kind, specials=("[UNK]", "[UNK]"))
    with pytest.raises(ValueError, match="specials must be a list of strings"):
        trained(kind, specials="[UNK]")


def test_a_byte_cannot_be_special():
    with pytest.raises(ValueError, match="none of them special"):
        BPETokenizer.train(["a"], vocab_size=300, specials=("[UNK]", "a"), byte_level=True)


def test_training_does_not_become_quadratic():
    """Ten times the words and ten times the merges: counting anew would take a hundred times as long."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnop", k=8)) for _ in range(8000)]

    def seconds(n_words: int, n_merges: int) -> float:
        """The least of three: a busy machine, or the sweeping of what other tests left, slows one or another."""
        taken = []
        for _ in range(3):
            start = time.process_time()
            BPETokenizer.train([" ".join(words[:n_words])], vocab_size=19 + n_merges)
            taken.append(time.process_time() - start)
        return min(taken)

    assert seconds(8000, 2000) < 40 * seconds(800, 200)  # 16 on a quiet machine


def test_a_very_long_piece_is_cut_in_reasonable_time():
    tokenizer = BPETokenizer.train(["abracadabra " * 20], vocab_size=20)
    start = time.process_time()
    text = "abracadabra" * 2000
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert time.process_time() - start < 5


def test_what_is_remembered_of_pieces_stays_bounded_and_changes_nothing(monkeypatch):
    tokenizer = trained(BPETokenizer)
    expected = [tokenizer.encode(text) for text in TEXTS]
    monkeypatch.setattr("course_lib.tokenization.CACHED_PIECES", 2)
    small = trained(BPETokenizer)
    assert [small.encode(text) for text in TEXTS * 2] == expected * 2
    assert len(small._cache) <= 2


def test_tokens_handed_out_can_be_changed_without_harm():
    tokenizer = trained(BPETokenizer)
    first = tokenizer.tokenize("lower")
    expected = list(first)
    first.append("more")
    assert tokenizer.tokenize("lower") == expected
