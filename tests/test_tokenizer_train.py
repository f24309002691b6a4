"""Training: a case worked by hand, the textbook algorithm as oracle, and determinism."""

import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizer
from tokenizer.alphabet import BYTES, CHARACTERS, spell, unspell
from tokenizer.config import TokenizerSettings
from tokenizer.errors import TokenizerError
from tokenizer.text import cut_long_words
from tokenizer.train import sampled, train
from tokenizer.vocabulary import Merge, Vocabulary

CHECKOUT = Path(__file__).resolve().parents[1]
LOW = ["low low low lower lowest"]


def test_the_package_is_this_checkout_s() -> None:
    # A distribution named "tokenizer" exists, which would shadow ours.
    assert Path(str(tokenizer.__file__)).is_relative_to(CHECKOUT)


def test_default_settings_are_gpt2_s_size_and_unknown_keys_are_refused() -> None:
    assert TokenizerSettings().vocab_size == 50257
    with pytest.raises(ValueError, match="greater than or equal to 257"):
        TokenizerSettings(vocab_size=256)
    with pytest.raises(ValueError, match="Extra inputs"):
        TokenizerSettings.model_validate({"seed": 1})
    assert all(field.description for field in TokenizerSettings.model_fields.values())


def test_alphabet_has_gpt2_s_characters_in_gpt2_s_order() -> None:
    assert [CHARACTERS[byte] for byte in (ord("!"), ord("~"), 0xA1, 0xFF)] == ["!", "~", "¡", "ÿ"]
    assert spell(b" \n\0\xad") == "ĠĊĀŃ"
    order = list(BYTES.values())
    assert order[0] == ord("!")
    assert order[-1] == 0xAD
    assert sorted(order) == list(range(256))
    assert all(unspell(spell(bytes([byte]))) == bytes([byte]) for byte in range(256))


def test_merges_worked_by_hand() -> None:
    # Words: "low" once, " low" twice, " lower" and " lowest" once. "lo" and "ow" occur five times
    # each; l has the lower id. Where all pairs occur once, "st" has the lowest ids.
    assert train(LOW, 264).merges == (
        (b"l", b"o"),
        (b"lo", b"w"),
        (b" ", b"low"),
        (b" low", b"e"),
        (b"s", b"t"),
        (b" lowe", b"r"),
        (b" lowe", b"st"),
    )


def test_too_few_pairs_name_the_largest_vocabulary_that_works() -> None:
    with pytest.raises(TokenizerError, match=r"vocab_size of 264 at most, but 265 was asked"):
        train(LOW, 265)
    with pytest.raises(TokenizerError, match="257 at most, but 258"):
        train([], 258)
    assert train([], 257).merges == ()
    with pytest.raises(TokenizerError, match="need at least 257"):
        train(LOW, 256)


def test_a_failing_source_of_texts_fails_the_training() -> None:
    def texts() -> list[str]:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        train((text for _ in range(1) for text in texts()), 260)


def test_surrogates_are_trained_as_replacement_characters() -> None:
    assert train(["a\ud800 a\ud800"], 260) == train(["a\ufffd a\ufffd"], 260)


@given(st.text(" \n\x1ca1.é", max_size=30), st.integers(0, 5000), st.sampled_from("a \n漢"))
def test_only_words_of_over_a_thousand_characters_are_cut(text: str, length: int, unit: str) -> None:
    long = f"{text}a {unit * length} {text}"
    pieces = list(cut_long_words(long))
    assert "".join(pieces) == long
    runs = [run for piece in pieces for run in re.findall(r"\S+|\s+", piece)]
    assert max(map(len, runs)) <= 1000
    if length < 900:
        assert pieces == [long]


def test_a_long_text_without_words_is_trained_on() -> None:
    letters = "".join(random.Random(0).choices("abcdefghij", k=200_000))
    assert len(train([letters, " \t\n" * 50_000], 400).merges) == 400 - 257


def test_progress_counts_bytes() -> None:
    seen: list[int] = []
    train(["é" * 10, "abc"], 258, on_progress=seen.append)
    assert seen == [20, 23]


def textbook_bpe(words: list[str], num_merges: int) -> list[Merge]:
    """Byte-pair encoding by recounting everything for each merge."""
    ids = {bytes([byte]): i for i, byte in enumerate(CHARACTERS)}
    pieces = Counter(tuple(bytes([byte]) for byte in word.encode()) for word in words)
    merges: list[Merge] = []
    while len(merges) < num_merges:
        pairs: Counter[Merge] = Counter()
        for word, count in pieces.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
        merges.append(best)
        ids[best[0] + best[1]] = len(ids)
        pieces = Counter(merged for word in pieces.elements() for merged in [join(word, best)])
    return merges


def join(word: tuple[bytes, ...], pair: Merge) -> tuple[bytes, ...]:
    joined: list[bytes] = []
    for part in word:
        # The last piece may be the product of this very merge, which is longer than pair[0].
        if joined and part == pair[1] and joined[-1] == pair[0]:
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


@given(st.lists(st.text("abé", min_size=1, max_size=9), min_size=1, max_size=8))
def test_merges_are_the_textbook_s(words: list[str]) -> None:
    expected = textbook_bpe([words[0], *(f" {word}" for word in words[1:])], 5)
    vocabulary = train([" ".join(words)], 257 + len(expected))
    assert list(vocabulary.merges) == expected


def test_order_of_texts_changes_nothing() -> None:
    texts = [f"{a} {b}{a}, {'xyz'[b % 3] * b} é{a * b}漢" for a in range(20) for b in range(9)]
    expected = train(texts, 400)
    for seed in range(3):
        random.Random(seed).shuffle(texts)
        assert train(texts, 400) == expected


PRINT_MERGES = """
import hashlib, sys
from tokenizer.text import cut_long_words
from tokenizer.train import train
texts = [f"{a} {b}{a}, {'xyz'[b % 3] * b} \\u00e9{a * b}" for a in range(40) for b in range(9)]
merges = train(texts[:: int(sys.argv[1])], 420).merges
print(hashlib.sha256(repr(merges).encode()).hexdigest())
"""


def test_processes_threads_and_hash_seeds_change_nothing() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", PRINT_MERGES, step],
            env={**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, threads, step in (("1", "1", "1"), ("2", "4", "-1"))
    }
    assert len(digests) == 1


def test_sample_is_a_pure_share_of_the_ids() -> None:
    ids = [f"{i:032x}" for i in range(4000)]
    tenth = {i for i in ids if sampled(i, 0.1)}
    half = {i for i in ids if sampled(i, 0.5)}
    assert tenth < half
    assert 300 < len(tenth) < 500
    assert 1900 < len(half) < 2100
    assert all(sampled(i, 1.0) for i in ids)
    assert not any(sampled(i, 0.0) for i in ids)


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ([(b"a", b"bc")], "merge 1 joins b'a' and b'bc', but b'bc' is neither"),
        ([(b"a", b"b"), (b"a", b"b")], "merge 2 .* makes b'ab', which exists already"),
        # "abc" would be merged to a, bc by the first merge; only tiktoken would find it then.
        ([(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")], "merge 3 .* can never happen"),
    ],
)
def test_unsound_merges_are_refused(merges: list[Merge], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        Vocabulary(tuple(merges))
