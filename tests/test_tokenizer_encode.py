"""Ids against two oracles (OpenAI's vectors, Hugging Face's encoder), and text back from ids."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import TOKENIZER_JSON, import_gpt2, write_tokenizer
from tokenizer.train import train

OFFICIAL = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "text"
needs_official = pytest.mark.skipif(
    not (OFFICIAL / "vocab.bpe").exists(),
    reason=f"the official GPT-2 files are not at {OFFICIAL}",
)

TEXTS = [
    "The quick brown fox won't jump; it's 1,234 lazy dogs' fault.\n\nThe end...  \t\n",
    "Быстрая лиса. 速い茶色の狐。 سريع الثعلب 🦊🦊 naïve café 12٣४\u3000\u00a0x",
    "    def f(x):\n        return x ** 2  # x²\r\n<|endoftext|>[MASK]",
]

# Arbitrary Unicode, and the places where GPT-2's pattern has rules of its own.
texts = st.one_of(
    st.text(),
    st.lists(st.sampled_from([*" \t\n\r\x1c\x85\xa0\u3000'asS1٣!é漢", "'ll", "the", "  "])).map("".join),
)


@cache
def small() -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """A small vocabulary of our own, and the same opened by Hugging Face's library."""
    with TemporaryDirectory() as folder:
        write_tokenizer(train(TEXTS, 416), Path(folder))
        oracle = tokenizers.Tokenizer.from_file(str(Path(folder) / TOKENIZER_JSON))
        # Names of special tokens in a text are text, as they are to us.
        oracle.encode_special_tokens = True
        return Tokenizer.load(Path(folder)), oracle


@cache
def gpt2() -> tuple[Tokenizer, tokenizers.Tokenizer]:
    with TemporaryDirectory() as folder:
        import_gpt2(OFFICIAL / "encoder.json", OFFICIAL / "vocab.bpe", Path(folder))
        oracle = tokenizers.Tokenizer.from_file(str(Path(folder) / TOKENIZER_JSON))
        oracle.encode_special_tokens = True
        return Tokenizer.load(Path(folder)), oracle


def test_ids_worked_by_hand(tmp_path: Path) -> None:
    # Merges: 256 lo, 257 low, 258 " low". Bytes count from "!": e is 68, r is 81.
    write_tokenizer(train(["low low low lower lowest"], 260), tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode("lower low") == [257, 68, 81, 258]
    assert tokenizer.decode([257, 68, 81, 258]) == "lower low"
    assert tokenizer.eot_id == 259
    assert tokenizer.vocab_size == 265


@needs_official
def test_official_files_give_openai_s_known_ids() -> None:
    tokenizer, _ = gpt2()
    lines = (OFFICIAL / "r50k_vectors_32.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 32
    for vector in map(json.loads, lines):
        assert tokenizer.encode(vector["text"]) == vector["ids"]
        assert tokenizer.decode(vector["ids"]) == vector["text"]
    assert tokenizer.eot_id == 50256
    assert dict(tokenizer.specials) == {
        "<|endoftext|>": 50256,
        "[PAD]": 50257,
        "[UNK]": 50258,
        "[CLS]": 50259,
        "[SEP]": 50260,
        "[MASK]": 50261,
    }


@given(texts)
@example("<|endoftext|> [PAD][MASK]")
@example("  a\n\n b \x85\x85c\u180e\u200b \ufeff")
def test_ids_are_hugging_face_s_and_decode_to_the_text(text: str) -> None:
    tokenizer, oracle = small()
    ids = tokenizer.encode(text)
    assert ids == oracle.encode(text).ids
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(tokenizer.specials.values())
    assert tokenizer.encode_array(text).dtype == np.uint32
    assert tokenizer.encode_array(text).tolist() == ids
    assert int(tokenizer.token_lengths[ids].sum()) == len(text.encode())


@needs_official
@given(texts)
def test_official_ids_are_hugging_face_s(text: str) -> None:
    tokenizer, oracle = gpt2()
    assert tokenizer.encode(text) == oracle.encode(text).ids


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
    ],
)
def test_surrogates_are_replaced(text: str, replaced: str) -> None:
    tokenizer, _ = small()
    assert tokenizer.decode(tokenizer.encode(text)) == replaced


def test_a_long_run_of_white_space_keeps_its_ids() -> None:
    tokenizer, oracle = small()
    for run in (" " * 100_002, "\n" * 150_000, " \u3000" * 60_000):
        text = f"a{run}b{run}"
        assert tokenizer.encode(text) == oracle.encode(text).ids
    # A run that fancy-regex has no stack for.
    text = f"\t{' ' * 2_000_000}a"
    assert tokenizer.decode_bytes(tokenizer.encode_array(text)) == text.encode()


def test_ids_have_bytes_and_foreign_ids_are_refused() -> None:
    tokenizer, _ = small()
    tokens = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
    assert [len(token) for token in tokens] == tokenizer.token_lengths.tolist()
    assert tokens[tokenizer.eot_id] == b"<|endoftext|>"
    assert tokenizer.decode([tokenizer.specials["[MASK]"]]) == "[MASK]"
    assert tokenizer.decode([*tokenizer.encode("é")[:1], 0]) in {"é!", "\ufffd!"}
    for foreign in (-1, tokenizer.vocab_size):
        with pytest.raises(TokenizerError, match=f"id {foreign} is not in the vocabulary"):
            tokenizer.decode([0, foreign])
