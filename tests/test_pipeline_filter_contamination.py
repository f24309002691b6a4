"""Decontamination: evaluation sets as examples, grams against a plain oracle, cuts, and the overlaps told."""

import bz2
import gzip
import json
import lzma
import pickle
import random
import string
import unicodedata
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.filter import grams
from pipeline.filter.contamination import (
    HITS,
    GramCounts,
    Index,
    Overlap,
    add_counts,
    build_index,
    count_documents,
    cut,
    find,
    find_frequent,
    overlap,
)
from pipeline.filter.evaluation_sets import Example, find_files, read_examples
from pipeline.filter.grams import find_words, hash_grams

REALDATA = Path(__file__).parents[2] / "shared" / "realdata"
needs_real_data = pytest.mark.skipif(
    not REALDATA.is_dir(), reason="the real data are not beside the checkout"
)

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
# Characters of all kinds and lengths, often those that something happens to.
CHARACTERS = st.one_of(
    st.characters(),
    st.sampled_from(
        "aZé ÉßẞİıΣς\u212a\u00ad\u200b\ufeff\ufe0f\u0085\xa0\u3000\u2028\t\n\0\x1f\x7f.’—、😀𐐀𠀀\ud800"
    ),
)
VARIATIONS = {chr(point) for point in range(0xFE00, 0xFE10)}
TEXTS = st.lists(st.text(CHARACTERS, max_size=60), max_size=8)


def plain(character: str) -> str:
    """The oracle's character: what stands for it in a word."""
    category = unicodedata.category(character)
    if category == "Cc" or character.isspace():
        return " "
    if ord(character) < 0x20000 and (category[0] in "PS" or category == "Cf" or character in VARIATIONS):
        return ""
    lower = character.lower()
    is_as_long = len(lower) == 1 and len(utf8(lower)) == len(utf8(character))
    return lower if is_as_long and ord(character) < 0x20000 else character


def utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def words(text: str) -> list[str]:
    return "".join(map(plain, text)).split()


def tuples(text: str, n: int) -> list[tuple[str, ...]]:
    found = words(text)
    return [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]


def hashed(texts: list[str], n: int) -> list[list[int]]:
    """The gram hashes of each text."""
    rows: list[list[int]] = [[] for _ in texts]
    for (piece,) in hash_grams(texts, [n]):
        for row, value in zip(piece.rows.tolist(), piece.hashes.tolist(), strict=True):
            rows[row].append(value)
    return rows


def example(*texts: str) -> Example:
    return Example(texts)


def prose(generator: random.Random, num_words: int) -> str:
    return " ".join(
        "".join(generator.choices(string.ascii_lowercase, k=generator.randint(1, 12)))
        for _ in range(num_words)
    )


def rows_hit(texts: list[str], index: Index, n: int) -> set[int]:
    return {hit["row"] for hit in find(texts, index).to_pylist() if hit["n"] == n}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The “quick”, brown fox—it’s 6½!", ["the", "quick", "brown", "foxits", "6½"]),
        ("don't DON’T  - … -- \N{PILE OF POO} dont", ["dont", "dont", "dont"]),
        ("ÉTÉ ÄÖÜ ΑΘΗΝΑ МОСКВА", ["été", "äöü", "αθηνα", "москва"]),
        ("a\xa0b\u3000c\u2009d\u2028e\tf\r\ng\x85h\0i", list("abcdefghi")),
        ("soft\u00adhyphen \ufeffmark zero\u200bwidth ❤\ufe0f", ["softhyphen", "mark", "zerowidth"]),
        ("日本語、です。 「はい」", ["日本語です", "はい"]),
        ("a_b $5 a@b.c #tag", ["ab", "5", "abc", "tag"]),
        ("", []),
        (" .,; \n", []),
    ],
)
def test_words_by_hand(text: str, expected: list[str]) -> None:
    assert words(text) == expected
    assert hashed([text], 1) == hashed([" ".join(expected)], 1)
    assert len(hashed([text], 1)[0]) == len(expected)


@given(TEXTS, st.integers(1, 5))
def test_grams_are_the_oracles(texts: list[str], n: int) -> None:
    check_against_oracle(texts, n)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 13, 16])
def test_grams_of_many_pieces(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grams, "_PIECE_BYTES", 500)
    generator = random.Random(n)
    texts = [prose(generator, generator.randrange(60)) for _ in range(60)]
    check_against_oracle([*texts, *texts[::2]], n)


def test_long_words_differ_wherever_they_differ() -> None:
    lengths = (1, 7, 8, 9, 16, 17, 63, 64, 65, 72, 200)
    texts = [word for length in lengths for word in one_letter_changed("x" * length)]
    check_against_oracle([*texts, " ".join(texts)], 1)


def one_letter_changed(word: str) -> list[str]:
    return [word, *(word[:i] + "y" + word[i + 1 :] for i in range(len(word)))]


def check_against_oracle(texts: list[str], n: int) -> None:
    """Hashes are equal where the tuples of words are, and differ where they do."""
    expected = [gram for text in texts for gram in tuples(text, n)]
    found = hashed(texts, n)
    assert [len(row) for row in found] == [len(tuples(text, n)) for text in texts]
    pairs = set(zip(expected, (value for row in found for value in row), strict=True))
    assert len(pairs) == len(set(expected)) == len({value for _, value in pairs})


def test_every_character_is_the_oracles() -> None:
    texts = [f"x{chr(point)}y{chr(point)}" for point in range(0x21000)]
    expected = [words(text) for text in texts]
    pairs: dict[str, int] = {}
    for text_words, row in zip(expected, hashed(texts, 1), strict=True):
        assert len(text_words) == len(row)
        for word, value in zip(text_words, row, strict=True):
            assert pairs.setdefault(word, value) == value
    assert len(set(pairs.values())) == len(pairs)


@given(st.text(CHARACTERS, max_size=80))
def test_spans_are_those_of_the_words(text: str) -> None:
    spans = find_words(text)
    assert [
        "".join(map(plain, text[start:end]))
        for start, end in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)
    ] == words(text)


def test_hashes_never_change() -> None:
    """Parts of different runs are put together by them."""
    texts = ["The cat sat.", "incomprehensibilities " * 2, "w" * 65 + " x"]
    one, two = 0xBDF8A3F7F25608A3, 0x1ED9C18EE31B3F92
    assert hashed(texts, 2) == [[one, two], [0x7A36B7F85C2B091A], [0xE25DEBD04C65ABBB]]


def test_arrow_columns_are_lists_of_texts() -> None:
    texts = [prose(random.Random(i), 30) + " é" for i in range(150)]
    column = pa.chunked_array([texts[:3], texts[3:]], pa.string())
    for texts_again in (column, pa.array(["x", *texts], pa.large_string())[1:]):
        got = [piece for (piece,) in hash_grams(texts_again, [3])]
        assert np.concatenate([piece.hashes for piece in got]).tolist() == list(chain(*hashed(texts, 3)))
    ((nulls,),) = hash_grams(pa.array([None, "a b c"], pa.string()), [3])
    assert nulls.rows.tolist() == [1]


@given(st.lists(TEXTS, max_size=3), TEXTS, st.integers(1, 4))
def test_hits_are_the_oracles(sets: list[list[str]], texts: list[str], n: int) -> None:
    index = build_index({str(i): [Example(tuple(one))] for i, one in enumerate(sets)}, [n])
    known = {gram for one in sets for text in one for gram in tuples(text, n)}
    expected = [len({gram for gram in tuples(text, n) if gram in known}) for text in texts]
    hits = find(texts, index)
    assert hits.schema == HITS
    rows = hits["row"].to_pylist()
    assert [rows.count(row) for row in range(len(texts))] == expected
    assert len(set(zip(rows, hits["hash"].to_pylist(), strict=True))) == len(rows)


@pytest.mark.parametrize("n", [8, 13])
def test_planted_overlaps_are_found_however_they_are_written(n: int) -> None:
    generator = random.Random(n)
    planted = [prose(generator, n) for _ in range(5)]
    one, two, three, four, five = planted
    index = build_index({"set": [example(text) for text in planted]}, [8, 13])
    around = [prose(generator, 300) for _ in range(8)]
    texts = [
        f"{one} {around[0]}",
        f"{around[1]} {two}",
        f"{around[2]}\n\n{three.replace(' ', chr(10))}\r\n{around[3]}",
        f"{around[4]} “{four.upper().replace(' ', ', ')}!” {around[5]}",
        f"{around[6]} {five.replace(' ', chr(160) + '— ')}",
        around[7],
        f"{around[7]} {one.rpartition(' ')[0]}",
        f"{around[7]} {' '.join(reversed(one.split()))}",
    ]
    assert rows_hit(texts, index, n) == set(range(5))


def test_grams_go_from_no_text_into_the_next() -> None:
    index = build_index({"set": [example("one two", "three four"), example("five six")]}, [2, 3])
    assert len(index.tables[0].hashes) == 3
    assert len(index.tables[1].hashes) == 0
    assert find(["two three", "four five"], index).num_rows == 0
    assert find(["one", "two three", "four"], index).num_rows == 0
    assert rows_hit(["x", "one two three four"], index, 2) == {1}


def test_an_index_of_nothing_finds_nothing() -> None:
    for index in (build_index({}, [13]), build_index({"set": []}, [13])):
        assert find(["a " * 50], index).equals(HITS.empty_table())
        assert find([], index).num_rows == 0
    assert overlap(build_index({"set": []}, [13]), {})[0].share == 0


@pytest.mark.parametrize("ns", [[], [0], [128], [8, 8]])
def test_ns_that_cannot_be(ns: list[int]) -> None:
    with pytest.raises(ValueError, match="from 1 to 127"):
        build_index({}, ns)


def test_an_index_is_the_same_when_built_again_and_after_a_journey() -> None:
    def build() -> Index:
        generator = random.Random(5)
        examples = [example(prose(generator, 20), prose(generator, 5)) for _ in range(200)]
        return build_index({"one": examples, "two": examples[::3]}, [13, 8])

    packed = pickle.dumps(build())
    assert packed == pickle.dumps(build())
    again: Index = pickle.loads(packed)  # noqa: S301
    text = prose(random.Random(5), 20)
    assert find([text], again).equals(find([text], build()))
    assert find([text], again).num_rows == 8 + 13


@needs_real_data
def test_hits_in_real_texts_are_the_oracles() -> None:
    examples = list(read_examples(REALDATA / "eval"))
    lines = (REALDATA / "text" / "wikitext2_test.txt").read_text("utf-8").splitlines()[:800]
    pages = list(json.loads((REALDATA / "realweb" / "gold.json").read_text("utf-8")).values())
    stories = [path.read_text("utf-8") for path in sorted((REALDATA / "eval" / "cnn_stories").iterdir())]
    texts = [*lines, *pages[:30], *stories[:5]]
    index = build_index({"eval": examples}, [13, 8])
    for n in (13, 8):
        known = {gram for one in examples for text in one.texts for gram in tuples(text, n)}
        assert sum(len(table.hashes) for table in index.tables if table.n == n) == len(known)
        expected = {(i, gram) for i, text in enumerate(texts) for gram in tuples(text, n) if gram in known}
        hits = [hit for hit in find(texts, index).to_pylist() if hit["n"] == n]
        assert len(hits) == len(expected) > 1000
        assert {hit["row"] for hit in hits} == {i for i, _ in expected}


GRAM = "alpha beta gamma"
((HASH,),) = hashed([GRAM], 3)


def cut_gram(text: str, **settings: int) -> tuple[str, ...] | None:
    return cut(text, {HASH}, 3, **settings)


@pytest.mark.parametrize("window", [0, 1, 5])
@pytest.mark.parametrize("written", [GRAM, "Alpha, BETA\n\n— gamma", "al\u00adpha 'beta' gam\u200bma"])
@pytest.mark.parametrize("before", ["", "日本語 𠀀😀 ", "é\u0301 ", "\n"])
def test_cuts_are_at_the_character(before: str, written: str, window: int) -> None:
    text = f"{before}0123456789{' '}{written}{' '}9876543210"
    pieces = cut_gram(text, window=window, min_piece=0)
    kept = 11 - window
    assert pieces == (f"{before}{'0123456789 '[:kept]}".rstrip(), "9876543210"[max(0, window - 1) :])


def test_a_text_without_the_grams_stays_as_it_is() -> None:
    for text in ("", " short ", "beta gamma alpha"):
        assert cut_gram(text) == (text,)
        assert cut(text, set(), 3) == (text,)


def test_windows_that_meet_make_one_cut() -> None:
    text = "x" * 300 + f" {GRAM} " + "y" * 300 + f" {GRAM} " + "z" * 300
    assert cut_gram(text, min_piece=1) == ("x" * 101, "z" * 101)
    assert cut_gram(f"{GRAM} {GRAM}") == ()


@pytest.mark.parametrize(("length", "stays"), [(199, False), (200, True)])
def test_pieces_of_less_than_200_characters_go(length: int, stays: bool) -> None:
    text = f"{'x' * length}{' ' * 200}{GRAM}{' ' * 200}{'y' * length}"
    assert cut_gram(text) == (("x" * length, "y" * length) if stays else ())
    assert cut_gram(text[:-1] + "\n ") == (
        ("x" * length, "y" * (length - 1) + "\n ") if stays else ("y" * 198 + "\n ",)
    )


@pytest.mark.parametrize("length", [50, 700])
@pytest.mark.parametrize(("num_pieces", "goes"), [(10, False), (11, True)])
def test_texts_of_more_than_10_pieces_go(length: int, num_pieces: int, goes: bool) -> None:
    """However short the pieces are."""
    pieces = [chr(ord("a") + i) * length for i in range(num_pieces)]
    text = f"{' ' * 200}{GRAM}{' ' * 200}".join(pieces)
    assert cut_gram(text) == (None if goes else tuple(pieces) if length >= 200 else ())
    assert cut_gram(text, max_pieces=num_pieces, min_piece=1) == tuple(pieces)


@given(st.lists(st.sampled_from(["a", "B", "c.", "—", "é", "\n", "日本"]), max_size=60), st.integers(0, 4))
def test_what_is_cut_has_none_of_the_grams(tokens: list[str], window: int) -> None:
    text = " ".join(tokens)
    bad = {value for value, gram in zip(hashed([text], 2)[0], tuples(text, 2), strict=True) if "a" in gram}
    pieces = cut(text, bad, 2, window=window, min_piece=0, max_pieces=1000)
    assert pieces is not None
    place = 0
    for piece in pieces:
        assert not bad & set(hashed([piece], 2)[0])
        place = text.index(piece, place) + len(piece)


def counts(**by_hash: int) -> GramCounts:
    hashes = sorted(int(name[1:]) for name in by_hash)
    numbers = [by_hash[f"h{value}"] for value in hashes]
    return GramCounts(np.array(hashes, np.uint64), np.array(numbers, np.int64))


def test_frequent_grams_are_in_more_than_10_documents() -> None:
    parts = [counts(h1=10, h2=5, h3=11, h4=1), counts(h2=5, h4=10), counts(), counts(h9=2)]
    assert find_frequent(parts).tolist() == [3, 4]
    assert find_frequent(parts, max_documents=9).tolist() == [1, 2, 3, 4]
    assert find_frequent([]).tolist() == []
    assert add_counts(parts).num_documents.tolist() == [10, 10, 11, 11, 2]


def test_documents_are_counted_once_a_gram() -> None:
    index = build_index({"set": [example("a b c d")]}, [2, 3])
    hits = find(["a b a b", "x a b c", "y"], index)
    of_two = {*zip(*(column.tolist() for column in count_documents(hits, 2)), strict=True)}
    assert of_two == {(hashed(["a b"], 2)[0][0], 2), (hashed(["b c"], 2)[0][0], 1)}
    assert count_documents(hits, 3).num_documents.tolist() == [1]


def test_overlaps_by_hand() -> None:
    examples = [example("a b c", "c d"), example("a b"), example("x"), example("e f"), example()]
    index = build_index({"one": examples, "two": [example("a b", "q r")]}, [2, 3])
    found = {2: np.array(list(chain(*hashed(["a b", "e f", "z z"], 2))), np.uint64)}
    frequent = {2: np.array(hashed(["a b"], 2)[0], np.uint64)}
    assert overlap(index, found, frequent) == [
        Overlap("one", 2, 5, 2, 4, 2, 1, 3, 1),
        Overlap("one", 3, 5, 4, 1, 0, 0, 0, 0),
        Overlap("two", 2, 1, 0, 2, 1, 1, 1, 0),
        Overlap("two", 3, 1, 1, 0, 0, 0, 0, 0),
    ]
    assert overlap(index, found)[0] == Overlap("one", 2, 5, 2, 4, 2, 0, 3, 3)
    assert overlap(index, found)[0].share == 0.5


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def texts_of(examples: Iterable[Example]) -> list[tuple[str, ...]]:
    return [one.texts for one in examples]


SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "T",
            "paragraphs": [{"context": "C", "qas": [{"question": "Q", "answers": [{"text": "A", "at": 3}]}]}],
        }
    ],
}
FORMS: list[tuple[str, str, list[tuple[str, ...]]]] = [
    ("a.jsonl", '\ufeff{"a": "x", "b": [{"c": ["y", 1, null]}]}\r\n"z"\n\n3\n', [("x", "y"), ("z",)]),
    ("a.NDJSON", '{"a": "x"}\n{"a": "y\nplain', [("x",), ('{"a": "y\n',), ("plain",)]),
    ("a.json", json.dumps(SQUAD), [("1.1",), ("T",), ("C",), ("Q",), ("A",)]),
    ("b.json", '["x", ["y"], {"a": [["z"], "w"], "b": {"c": "v"}}]', [("x",), ("y",), ("z", "w"), ("v",)]),
    ("a.csv", 'q,a\n"one\ntwo, ""2""",three\n\n', [("q", "a"), ('one\ntwo, "2"', "three")]),
    ("a.tsv", 'x "y\tz\n\tw\n', [('x "y', "z\n"), ("w\n",)]),
    ("a.story", "one\n \ntwo\rthree", [("one\n",), ("two\n",), ("three",)]),
    ("noend", "one\u2028still", [("one\u2028still",)]),
]


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize(("name", "content", "expected"), FORMS)
def test_forms_of_sets(
    tmp_path: Path, name: str, content: str, expected: list[tuple[str, ...]], packing: str
) -> None:
    path = write(tmp_path / f"{name}{packing}", PACKERS[packing](content.encode()))
    assert texts_of(read_examples(path)) == expected


@pytest.mark.parametrize("packing", ["", ".gz"])
def test_parquet(tmp_path: Path, packing: str) -> None:
    rows = [
        {"q": "one", "n": 1, "c": {"text": ["a", "b"], "label": [1, 2]}, "image": b"\x89PNG"},
        {"q": None, "n": 2, "c": {"text": [], "label": []}, "image": None},
        {"q": "two", "n": 3, "c": None, "image": None},
    ]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    path = write(tmp_path / f"b.parquet{packing}", PACKERS[packing](path.read_bytes()))
    assert texts_of(read_examples(path)) == [("one", "a", "b"), ("two",)]


def test_lines_too_deep_and_bytes_that_are_not_utf8_are_text(tmp_path: Path) -> None:
    line = "[" * 100_000
    assert texts_of(read_examples(write(tmp_path / "a.jsonl", line))) == [(line,)]
    for name in ("a.txt", "a.jsonl", "a.csv", "a.tsv"):
        assert "\ufffd" in texts_of(read_examples(write(tmp_path / name, b"caf\xe9 au lait")))[0][0]
    broken = pa.Array.from_buffers(pa.string(), 1, [None, *pa.array([b"caf\xe9"]).buffers()[1:]])
    nested = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), broken)
    fields = pa.StructArray.from_arrays([nested, broken], ["a", "b"])
    pq.write_table(pa.table({"c": fields, "d": pa.array(["x"])}), tmp_path / "a.parquet")
    assert texts_of(read_examples(tmp_path / "a.parquet")) == [("caf\ufffd", "caf\ufffd", "x")]


def test_folders_and_globs_are_their_files_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "more").mkdir(parents=True)
    (folder / ".cache").mkdir()
    for name in ("b.txt", "a.txt", "more/c.txt", ".hidden", ".cache/d.txt", "e.csv", "empty"):
        write(folder / name, "" if name == "empty" else name)
    assert texts_of(read_examples(folder)) == [("a.txt",), ("b.txt",), ("e.csv",), ("more/c.txt",)]
    assert texts_of(read_examples(folder / "*.txt")) == [("a.txt",), ("b.txt",)]
    assert [path.name for path in find_files(folder / "**" / "*.txt")] == ["a.txt", "b.txt", "c.txt"]
    assert find_files(tmp_path / "s*") == find_files(folder)


BAD_FILES: list[tuple[str, bytes, str]] = [
    ("a.json", b'{"a": [1,\n 2,}', r"a\.json is no JSON \(line 2, column 4.*name it \.jsonl"),
    ("b.json", b"[" * 100_000, r"b\.json cannot be read as JSON"),
    ("c.jsonl", b"\n \n3\n", "holds no text"),
    ("d.txt", b"", "holds no text"),
    ("e.txt.gz", gzip.compress(b"text " * 10_000)[:60], "is damaged.*get it again"),
    ("f.parquet", b"PAR1 but not really", "cannot be read as Parquet"),
    ("g.txt", "text".encode("utf-16"), "is no text.*convert it"),
    ("h.zst", b"", "is damaged"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES, ids=[name for name, _, _ in BAD_FILES])
def test_files_that_are_no_sets(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(read_examples(write(tmp_path / name, content)))


def test_nothing_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path / "*.jsonl"):
        with pytest.raises(InputError, match="is not there"):
            list(read_examples(path))
    with pytest.raises(InputError, match="holds no file"):
        list(read_examples(tmp_path))


@needs_real_data
@pytest.mark.parametrize(
    ("name", "num_examples", "num_texts"),
    [
        ("lambada_500.jsonl", 500, 500),
        ("hellaswag_500.jsonl", 500, 2500),
        ("xquad.en.json.gz", 2669, 3859),
        ("cnn_stories", 554, 554),
    ],
)
def test_real_sets(name: str, num_examples: int, num_texts: int) -> None:
    examples = list(read_examples(REALDATA / "eval" / name))
    assert (len(examples), sum(len(one.texts) for one in examples)) == (num_examples, num_texts)
