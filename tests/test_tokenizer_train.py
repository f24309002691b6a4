"""Training: a case worked by hand, the textbook algorithm as oracle, and determinism."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

import tokenizer
from tokenizer.alphabet import BYTES, CHARACTERS, spell, unspell
from tokenizer.config import TokenizerSettings
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import TOKENIZER_JSON, file_contents
from tokenizer.text import cut_long_words
from tokenizer.train import sampled, train
from tokenizer.vocabulary import Merge, Vocabulary, _merge_until_two

CHECKOUT = Path(__file__).resolve().parents[1]
LOW = ["low low low lower lowest"]


def test_the_package_is_this_checkout_s() -> None:
    # A distribution named "tokenizer" exists, which would shadow ours.
    assert Path(str(tokenizer.__file__)).is_relative_to(CHECKOUT)


def test_default_settings_are_gpt2_s_size_and_unknown_keys_are_refused() -> None:
    assert TokenizerSettings().vocab_size == 50257
    with pytest.raises(ValueError, match="greater than or equal to 257"):
        TokenizerSettings(vocab_size=256)
    with pytest.raises(ValueError, match="less than or equal to 1000000"):
        TokenizerSettings(vocab_size=1_000_001)
    with pytest.raises(ValueError, match="less than or equal to 2000000000"):
        TokenizerSettings(sample_bytes=2**31)
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


@pytest.mark.parametrize("vocab_size", [-1, 256, 1_000_001, 10**15])
def test_a_vocabulary_that_cannot_be_is_refused_before_a_text_is_read(vocab_size: int) -> None:
    texts = iter(LOW)
    with pytest.raises(TokenizerError, match=r"257 \(256 bytes and <\|endoftext\|>\) to 1,000,000"):
        train(texts, vocab_size)
    assert list(texts) == LOW


def test_more_text_than_the_trainer_can_count_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenizer.train._TOO_MANY_BYTES", 30)
    assert train(["é" * 10, "a" * 9], 258)
    with pytest.raises(TokenizerError, match=r"the texts are 30 bytes or more.* smaller sample"):
        train(["é" * 10, "a" * 10], 258)


def test_a_vocabulary_over_65500_is_trained_written_and_used() -> None:
    choose = random.Random(0).choices
    text = " ".join("".join(choose("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(18_000))
    data = file_contents(train([text], 65_900))[TOKENIZER_JSON]
    encoder, oracle = Tokenizer.from_bytes(data, "x"), tokenizers.Tokenizer.from_str(data.decode())
    ids = encoder.encode(text)
    assert encoder.vocab_size == 65_905
    assert max(ids) > 65_535
    assert ids == oracle.encode(text).ids
    assert encoder.decode(ids) == text


def test_a_signal_is_seen_while_texts_are_read() -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(*_: object) -> None:
        raise Stopped

    seen, was_seen = threading.Event(), []

    def texts() -> Iterator[str]:
        os.kill(os.getpid(), signal.SIGUSR1)
        was_seen.append(seen.wait(60))
        yield "a"

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(Stopped):
            train(texts(), 257)
        assert was_seen == []
    finally:
        seen.set()
        signal.signal(signal.SIGUSR1, before)


def test_a_failing_source_of_texts_fails_the_training() -> None:
    def texts() -> list[str]:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        train((text for _ in range(1) for text in texts()), 260)


def test_surrogates_are_trained_as_replacement_characters() -> None:
    assert train(["a\ud800 a\ud800"], 260) == train(["a\ufffd a\ufffd"], 260)


# Unicode's White_Space, as both encoders have it; Python's \s has four characters more.
SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


@given(
    st.text(" \n\x1ca1.é\u3000", max_size=30),
    st.one_of(st.integers(0, 5000), st.integers(990, 1010)),
    st.sampled_from(["a", " ", "\n", "漢", "\x1c!", "\u00a0\t"]),
)
@example("", 1000, "a")
@example("", 1001, "a")
def test_only_words_of_over_a_thousand_characters_are_cut(text: str, length: int, unit: str) -> None:
    long = f"{text}a {(unit * length)[:length]} {text}"
    pieces = list(cut_long_words(long))
    assert "".join(pieces) == long
    runs = [len(run) for piece in pieces for run in re.findall(f"[{SPACE}]+|[^{SPACE}]+", piece)]
    assert max(runs) <= 1000
    num_cuts = sum((len(run) - 1) // 1000 for run in re.findall(f"[{SPACE}]+|[^{SPACE}]+", long))
    assert len(pieces) == num_cuts + 1


def test_a_long_text_without_words_is_trained_on() -> None:
    letters = "".join(random.Random(0).choices("abcdefghij", k=200_000))
    assert len(train([letters, " \t\n" * 50_000], 400).merges) == 400 - 257


def test_progress_counts_bytes_and_says_when_all_are_read() -> None:
    seen: list[tuple[int, bool]] = []
    train(["é" * 10, "abc"], 258, on_progress=lambda *told: seen.append(told))
    assert seen == [(20, False), (23, False), (23, True)]


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


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=40))
def test_a_merge_is_sound_where_merging_its_bytes_comes_to_it(picks: list[tuple[int, int]]) -> None:
    tokens = [b"a", b"b", b"c"]
    ranks = {bytes([byte]): rank for rank, byte in enumerate(CHARACTERS)}
    merges: list[Merge] = []
    for first, second in picks:
        left, right = tokens[first % len(tokens)], tokens[second % len(tokens)]
        if left + right in ranks or len(left + right) > 60:
            continue
        sound = _merge_until_two(left + right, ranks) == [left, right]
        if sound:
            merges.append((left, right))
            Vocabulary(tuple(merges))
            tokens.append(left + right)
            ranks[left + right] = len(ranks)
        else:
            with pytest.raises(TokenizerError, match="can never happen"):
                Vocabulary((*merges, (left, right)))


@pytest.mark.parametrize("at_once", [False, True])
def test_the_trainers_reading_ends_with_ctrl_c(*, at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that came back to an interpreter that is ending would abort the process."""
    before = set(threading.enumerate())
    others: set[threading.Thread] = set()
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    def endless() -> Iterator[str]:
        others.update(set(threading.enumerate()) - before)
        if not at_once:
            os.kill(os.getpid(), signal.SIGINT)
        while True:
            yield "a text"

    if at_once:
        monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(endless(), 300)
    assert others
    for thread in others:
        thread.join(10)
        assert not thread.is_alive()
