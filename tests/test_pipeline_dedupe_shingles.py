"""Shingles and signatures: what is compared of a text, however odd it is."""

import random
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.columns import fixed_width
from pipeline.config import DedupeSettings
from pipeline.dedupe.shingles import Shingler, jaccard
from pipeline.dedupe.signatures import EMPTY, SEED, Signer
from tests.dedupe_oracles import ODD_TEXTS, plain_character_hash, plain_hash, prose, shingles, sign
from tests.document_parts import document, table


@pytest.mark.parametrize("text", [*ODD_TEXTS, " ".join(prose(random.Random(1), 3000))])
@pytest.mark.parametrize("kind", ["words", "characters"])
def test_signatures_are_those_of_datasketch(text: str, kind: str) -> None:
    from datasketch import MinHash

    settings = DedupeSettings.model_validate({"shingles": kind})
    hashfunc = plain_hash if kind == "words" else plain_character_hash
    oracle = MinHash(num_perm=128, seed=SEED, scheme="affine32", hashfunc=hashfunc)
    for shingle in shingles(text, settings):
        oracle.update(shingle)
    assert sign([text], settings)[0].tolist() == oracle.hashvalues.tolist()


@pytest.mark.parametrize("ngram", [1, 2, 7])
def test_signatures_of_other_lengths_of_shingles(ngram: int) -> None:
    from datasketch import MinHash

    settings = DedupeSettings(ngram=ngram, num_perm=32)
    text = " ".join(prose(random.Random(2), 50))
    oracle = MinHash(num_perm=32, seed=SEED, scheme="affine32", hashfunc=plain_hash)
    oracle.update_batch(shingles(text, settings))
    assert sign([text], settings)[0].tolist() == oracle.hashvalues.tolist()


def test_a_text_without_words_has_the_empty_signature() -> None:
    assert (sign(["", " \n "]) == EMPTY).all()


def test_ten_megabytes_are_a_document_like_another() -> None:
    generator = random.Random(9)
    words = [f"w{generator.randrange(10**6)}" for _ in range(1_300_000)]
    text = " ".join(words)
    assert len(text) > 10_000_000 * 0.95
    words[::50] = ["changed"] * len(words[::50])
    shingler, signer = Shingler("words", 5), Signer(128)
    one, other = (shingler.shingle(each).shingles for each in (text, " ".join(words)))
    estimate = float((signer.sign(one) == signer.sign(other)).mean())
    assert estimate == pytest.approx(jaccard(np.unique(one), np.unique(other)), abs=0.17)
    assert 0.7 < estimate < 1


@given(st.text(st.characters(codec=None, categories=None) | st.sampled_from(" \t\n\x1c\x85\u3000aA")))
def test_words_are_those_of_python(text: str) -> None:
    shingled = Shingler("words", 1).shingle(text)
    words = text.casefold().split()
    assert shingled.normalised == " ".join(words).encode("utf-8", "surrogatepass")
    expected = [plain_hash((word,)) for word in words]
    assert (shingled.shingles >> np.uint64(32)).tolist() == expected


def test_every_white_space_of_python_is_one() -> None:
    spaces = [chr(point) for point in range(sys.maxunicode + 1) if chr(point).isspace()]
    assert len(spaces) > 20
    for space in spaces:
        assert Shingler("words", 1).shingle(f"{space}a{space}{space}é{space}").normalised == "a é".encode()


def test_different_words_have_different_hashes() -> None:
    words = [f"{prefix}{i}" for prefix in ("", "a", "word", "\0") for i in range(50_000)]
    hashes = Shingler("words", 1).shingle(" ".join(words)).shingles
    assert len(np.unique(hashes)) == len(words)
    # Both halves: bands and signatures take the upper one.
    assert len(np.unique(hashes >> np.uint64(32))) > len(words) * 0.9999


def test_lone_surrogates_cannot_stand_in_a_table() -> None:
    # So no stage behind extract ever meets one: Arrow's strings are UTF-8.
    with pytest.raises(UnicodeEncodeError):
        table([document("a", "\ud800")])


@given(st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)))
def test_jaccard_is_that_of_sets(one: list[int], other: list[int]) -> None:
    a, b = set(one), set(other)
    expected = len(a & b) / len(a | b) if a | b else 1.0
    assert jaccard(np.unique(np.array(one, np.uint64)), np.unique(np.array(other, np.uint64))) == expected


def test_columns_of_fixed_width_come_back_as_numbers() -> None:
    values = np.arange(24, dtype="<u4").reshape(6, 4)
    rows = [row.tobytes() for row in values]
    column = pa.chunked_array([pa.array(rows[:1], pa.binary(16)), pa.array(rows, pa.binary(16))[1:4], []])
    assert np.array_equal(fixed_width(column.cast(pa.binary(16)), "<u4", 4), values[:4])
    assert fixed_width(pa.chunked_array([], pa.binary(16)), "<u4", 4).shape == (0, 4)
