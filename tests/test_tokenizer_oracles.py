"""Ids against tiktoken's own `gpt2` and Hugging Face's encoder: on real text, and on every code point."""

import gzip
import hashlib
import json
import shutil
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
import tiktoken
import tiktoken.registry
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.alphabet import CHARACTERS
from tokenizer.encode import Tokenizer
from tokenizer.files import TOKENIZER_JSON, file_contents, read_gpt2
from tokenizer.text import well_formed
from tokenizer.train import train
from tokenizer.vocabulary import Vocabulary

OPENAI = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main"


def opened(vocabulary: Vocabulary) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """Our encoder of a vocabulary, and Hugging Face's."""
    data = file_contents(vocabulary)[TOKENIZER_JSON]
    oracle = tokenizers.Tokenizer.from_str(data.decode())
    # Names of special tokens in a text are text, as they are to us.
    oracle.encode_special_tokens = True
    return Tokenizer.from_bytes(data, TOKENIZER_JSON), oracle


@cache
def gpt2(text: Path) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    return opened(read_gpt2(text / "encoder.json", text / "vocab.bpe"))


@pytest.fixture
def openai(realdata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tiktoken.Encoding]:
    """The `gpt2` of tiktoken itself, which checks the files' digests; they lie where it looks first."""
    for name in ("vocab.bpe", "encoder.json"):
        key = hashlib.sha1(f"{OPENAI}/{name}".encode(), usedforsecurity=False).hexdigest()
        shutil.copyfile(realdata / "text" / name, tmp_path / key)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    yield tiktoken.get_encoding("gpt2")
    tiktoken.registry.ENCODINGS.pop("gpt2")


def real_texts(realdata: Path) -> Iterator[str]:
    """All of realdata/text, and real pages, news, questions and posts."""
    text = realdata / "text"
    for name in ("wikitext2_valid.txt", "wikitext2_test.txt", "r50k_vectors_32.jsonl"):
        yield (text / name).read_text(encoding="utf-8")
    yield gzip.decompress((text / "tinyshakespeare.txt.gz").read_bytes()).decode()
    for line in gzip.decompress((text / "webtext.valid.jsonl.gz").read_bytes()).splitlines():
        yield json.loads(line)["text"]
    yield from json.loads((realdata / "realweb" / "gold.json").read_bytes()).values()
    for pattern in ("eval/*.jsonl", "eval/cnn_stories/*", "reddit/*.csv"):
        for path in sorted(realdata.glob(pattern)):
            yield path.read_bytes().decode(errors="replace")
    yield gzip.decompress((realdata / "realweb" / "pages.warc.gz").read_bytes())[:2_000_000].decode(
        errors="replace"
    )


def test_ids_of_real_text_are_openai_s(realdata: Path, openai: tiktoken.Encoding) -> None:
    ours, _ = gpt2(realdata / "text")
    num_bytes = 0
    for text in real_texts(realdata):
        ids = ours.encode(text)
        assert ids == openai.encode(text, disallowed_special=())
        assert ours.decode_bytes(ids) == text.encode()
        num_bytes += len(text.encode())
    assert num_bytes > 8_000_000


def test_ids_of_real_text_are_hugging_face_s(realdata: Path) -> None:
    ours, oracle = gpt2(realdata / "text")
    texts = [text[:100_000] for text in real_texts(realdata)]
    for text, encoding in zip(texts, oracle.encode_batch(texts), strict=True):
        assert ours.encode(text) == encoding.ids


# Merges of "a", "1" and "!" with the first byte of any character: they happen where it goes on with the word,
# so the ids of "a?1?!?" say whether ? is a letter, a number, neither, or white space.
KINDS = Vocabulary(tuple((sign, bytes([byte])) for sign in (b"a", b"1", b"!") for byte in CHARACTERS))


def shown(character: str) -> str:
    return f"a{character}1{character}!{character}"


def code_points() -> Iterator[str]:
    """Of the planes that have characters all, but some where one kind goes on; of the others a few."""
    some = [range(0x4E00, 0x9F00, 97), range(0xAC00, 0xD700, 97), range(0x20000, 0x34000, 97)]
    few = [range(0x34000, 0xE0000, 997), range(0xE0200, 0x110000, 997)]
    every = [range(0x4E00), range(0x9F00, 0xAC00), range(0xD700, 0xD800), range(0xE000, 0x20000)]
    yield from map(chr, chain(*every, range(0xE0000, 0xE0200), *some, *few))


def test_code_points_are_of_the_same_kind_to_both_encoders() -> None:
    ours, oracle = opened(KINDS)
    characters = list(code_points())
    blocks = ["".join(map(shown, characters[at : at + 4096])) for at in range(0, len(characters), 4096)]
    for block, encoding in zip(blocks, oracle.encode_batch(blocks), strict=True):
        assert ours.encode(block) == encoding.ids


def test_assigned_code_points_are_of_python_s_kind() -> None:
    ours, _ = opened(KINDS)
    for character in code_points():
        category = unicodedata.category(character)
        # Later versions of Unicode than Python's assign more.
        if category == "Cn" or character in "a1!":
            continue
        joined = {ours.token_bytes(i) for i in ours.encode(shown(character))}
        is_space = character.isspace() and character not in "\x1c\x1d\x1e\x1f"
        kind = {"L": b"a", "N": b"1"}.get(category[0], b"" if is_space else b"!")
        expected = {kind + character.encode()[:1]} if kind else set[bytes]()
        assert {token for token in joined if len(token) == 2} == expected


# Characters of every kind, what lies at the borders of the kinds, and what Python cannot encode.
characters = st.one_of(
    st.characters(codec=None, exclude_categories=()),
    st.sampled_from(
        "\0\t\n\v\f\r\x1c\x1f \x85\xa0\u1680\u180e\u2003\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
    ),
    st.sampled_from("aé\u0301\u0345ⅷ²٣½一ॐ\u200d\ufe0f\U0001f469\U0001f3fd\ue000\U0010ffff\ud800\udc00"),
    st.characters(categories=["Mn", "Co", "Cn", "Cs", "Nl", "No", "Lm", "Zs"]),
)
texts = st.lists(st.one_of(characters, st.sampled_from(["'s", "'LL", " 've", "\r\n", "  ", "the"]))).map(
    "".join
)


@cache
def small() -> tuple[Tokenizer, tokenizers.Tokenizer]:
    return opened(
        train(["the they 's 've\r\n  12 ٣٣ éé 一一 👩🏽\u200d👩 \u0301\u0301 \u3000\u3000" * 2], 290)
    )


@given(texts)
def test_ids_of_any_string_are_hugging_face_s_and_decode_to_it(text: str) -> None:
    ours, oracle = small()
    sound = well_formed(text)
    ids = ours.encode(text)
    assert ids == oracle.encode(sound).ids
    assert ours.decode(ids) == sound
    assert sound == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


LONG = [
    *["a", "ab", "abc", "=", "1", "漢", "🦊", "👩🏽\u200d👩", "\u0301", "e\u0301"],
    *["'s", "\x1c!", "\0", "\u00a0\t", " a", "- ", "\n", "\ufffd"],
]


@cache
def repetitive() -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """A vocabulary that has long tokens for long words."""
    return opened(train([unit * 300 for unit in LONG], 380))


@pytest.mark.parametrize("unit", LONG)
def test_long_words_have_hugging_face_s_ids(unit: str) -> None:
    text = f"the {unit * (20_000 // len(unit))} the"
    for ours, oracle in (small(), repetitive()):
        assert ours.encode(text) == oracle.encode(text).ids


@pytest.mark.parametrize("unit", LONG)
def test_a_megabyte_without_words_decodes_to_itself(unit: str) -> None:
    ours, _ = repetitive()
    text = unit * (1_000_000 // len(unit.encode()))
    assert ours.decode_bytes(ours.encode_array(text)) == text.encode()
