"""Tokenizer files: GPT-2's form to the byte, opened by transformers, and refused when unsound."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiktoken.load

from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import (
    MERGES_TXT,
    TIKTOKEN,
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    VOCAB_JSON,
    file_contents,
    import_gpt2,
    parse_tokenizer_json,
    read_gpt2,
    write_tokenizer,
)
from tokenizer.train import train
from tokenizer.vocabulary import Vocabulary

OFFICIAL = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "text"
# As OpenAI released it: https://github.com/openai/gpt-2/blob/master/src/encoder.py.
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
needs_official = pytest.mark.skipif(
    not (OFFICIAL / "vocab.bpe").exists(),
    reason=f"the official GPT-2 files are not at {OFFICIAL}",
)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return train(["low low low lower lowest, naïve café\n"], 265)


@pytest.fixture
def folder(tmp_path: Path, vocabulary: Vocabulary) -> Path:
    write_tokenizer(vocabulary, tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_what_is_written_is_read_back(folder: Path, vocabulary: Vocabulary) -> None:
    data = (folder / TOKENIZER_JSON).read_bytes()
    assert parse_tokenizer_json(data, "x") == vocabulary
    assert read_gpt2(folder / VOCAB_JSON, folder / MERGES_TXT) == vocabulary
    assert sorted(path.name for path in folder.iterdir()) == [
        MERGES_TXT,
        TOKENIZER_JSON,
        TIKTOKEN,
        TOKENIZER_CONFIG,
        VOCAB_JSON,
    ]
    assert Tokenizer.load(folder).digest == hashlib.sha256(data).hexdigest()
    assert Tokenizer.load(folder / TOKENIZER_JSON).digest == Tokenizer.load(folder).digest


def test_the_same_vocabulary_gives_the_same_bytes(folder: Path, vocabulary: Vocabulary) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == file_contents(vocabulary)
    write_tokenizer(vocabulary, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == file_contents(vocabulary)


@needs_official
def test_official_files_are_written_back_to_the_byte(tmp_path: Path) -> None:
    imported = import_gpt2(OFFICIAL / "encoder.json", OFFICIAL / "vocab.bpe", tmp_path)
    assert imported.vocab_size == 50257
    assert (tmp_path / VOCAB_JSON).read_bytes() == (OFFICIAL / "encoder.json").read_bytes()
    assert (tmp_path / MERGES_TXT).read_bytes() == (OFFICIAL / "vocab.bpe").read_bytes()
    # Of OpenAI's r50k_base.tiktoken, which is GPT-2's vocabulary: tiktoken_ext/openai_public.py.
    digest = hashlib.sha256((tmp_path / TIKTOKEN).read_bytes()).hexdigest()
    assert digest == "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"


def test_transformers_opens_it_with_the_same_ids(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / TOKENIZER_JSON))
    tokenizer = Tokenizer.load(folder)
    text = "lower naïve lowest\n\n café  's 漢"
    assert fast(text)["input_ids"] == tokenizer.encode(text)
    assert fast.decode(tokenizer.encode(text), clean_up_tokenization_spaces=False) == text
    assert len(fast) == tokenizer.vocab_size
    names = list(tokenizer.specials)
    assert fast.convert_tokens_to_ids(names) == list(tokenizer.specials.values())


def test_auto_tokenizer_opens_the_folder_and_knows_the_special_tokens(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    auto = transformers.AutoTokenizer.from_pretrained(str(folder))
    tokenizer = Tokenizer.load(folder)
    named = {
        "<|endoftext|>": [auto.bos_token_id, auto.eos_token_id],
        "[PAD]": [auto.pad_token_id],
        "[UNK]": [auto.unk_token_id],
        "[CLS]": [auto.cls_token_id],
        "[SEP]": [auto.sep_token_id],
        "[MASK]": [auto.mask_token_id],
    }
    for name, ids in named.items():
        assert set(ids) == {tokenizer.specials[name]}
    # As GPT-2's: nothing is put around a text or between two, and no space is taken away.
    text = " lower naïve , 's  lowest .\n\n"
    assert auto(text)["input_ids"] == tokenizer.encode(text)
    assert auto("a", "b")["input_ids"] == [*tokenizer.encode("a"), *tokenizer.encode("b")]
    assert auto.decode(auto(text)["input_ids"]) == text
    assert auto("low<|endoftext|>low")["input_ids"].count(tokenizer.eot_id) == 1
    padded = auto(["low", "x"], padding=True)["input_ids"]
    assert len(padded[0]) == len(padded[1])


def test_tiktoken_loads_its_ranks_with_the_same_ids(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")  # else it keeps a copy of any file by its path
    tokenizer = Tokenizer.load(folder)
    encoding = tiktoken.Encoding(
        "ours",
        pat_str=GPT2_PATTERN,
        mergeable_ranks=tiktoken.load.load_tiktoken_bpe(str(folder / TIKTOKEN)),
        special_tokens=dict(tokenizer.specials),
        explicit_n_vocab=tokenizer.vocab_size,
    )
    text = "lower naïve lowest\n\n café  's 漢"
    assert encoding.encode(text) == tokenizer.encode(text)
    assert encoding.encode("low<|endoftext|>", allowed_special="all")[-1] == tokenizer.eot_id


def test_pairs_and_written_merges_are_both_read(folder: Path, vocabulary: Vocabulary) -> None:
    document = json.loads((folder / TOKENIZER_JSON).read_bytes())
    document["model"]["merges"] = [merge.split(" ") for merge in document["model"]["merges"]]
    assert parse_tokenizer_json(json.dumps(document).encode(), "x") == vocabulary


def set_at(*keys: str | int, value: object) -> Callable[[Any], None]:
    """A change to a parsed JSON document."""

    def change(document: Any) -> None:
        *path, last = keys
        for key in path:
            document = document[key]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_at("model", value=None), "no model.merges"),
        (set_at("model", "merges", value={}), "no model.merges"),
        (set_at("model", "type", value="WordPiece"), "model.type is WordPiece"),
        (set_at("model", "dropout", value=0.1), "model.dropout is 0.1"),
        (set_at("normalizer", value={"type": "NFC"}), "normalizer is .*NFC"),
        (set_at("pre_tokenizer", "add_prefix_space", value=True), "pre_tokenizer is"),
        (set_at("pre_tokenizer", value=None), "pre_tokenizer is None"),
        (set_at("model", "merges", 0, value="l"), r"merge 1 .*\['l'\] is not two tokens"),
        (set_at("model", "merges", 1, value=7), "merge 2 .*7 is not two tokens"),
        (set_at("model", "merges", 0, value="l 漢"), "merge 1 .*stands for no byte"),
        (set_at("model", "merges", 1, value="lo zz"), "merge 2 .*b'zz' is neither a byte"),
        (set_at("model", "merges", 1, value="l o"), "merge 2 .*exists already"),
        (set_at("model", "vocab", "lo", value=9), "model.vocab: .*'lo' the id 256, .* has 9"),
        (set_at("model", "vocab", "zz", value=9), "'zz' follow from no merge"),
        (set_at("added_tokens", 0, "id", value=5), "added_tokens: .*endoftext.* the id 264"),
        (set_at("added_tokens", value=[{}]), "added_tokens must be a list of objects"),
        (set_at("added_tokens", value=None), "added_tokens must be a list of objects"),
    ],
)
def test_an_unsound_tokenizer_json_is_refused(
    folder: Path, change: Callable[[Any], None], message: str
) -> None:
    document = json.loads((folder / TOKENIZER_JSON).read_bytes())
    change(document)
    with pytest.raises(TokenizerError, match=f"^mine.json: .*{message}"):
        parse_tokenizer_json(json.dumps(document).encode(), "mine.json")


def test_a_file_cut_short_is_named_with_its_line(folder: Path) -> None:
    file = folder / TOKENIZER_JSON
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: line \d{3} column \d+: .*cut short"):
        Tokenizer.load(folder)
    for data in (b"", b"[]", b"\xff", b"[" * 100_000):
        with pytest.raises(TokenizerError, match=r"^x: "):
            parse_tokenizer_json(data, "x")
    with pytest.raises(TokenizerError, match=r"No such file .*train or import a tokenizer"):
        Tokenizer.load(folder / "nowhere")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (MERGES_TXT, "#version: 0.2", "l o", r"merges.txt: line 1: is 'l o'"),
        (MERGES_TXT, "lo w\n", "lo\n", r"merges.txt: merge 2 \(line 3 of a merges.txt\): \['lo'\]"),
        (MERGES_TXT, "lo w\n", "lo zz\n", r"merges.txt: merge 2 .*b'zz' is neither"),
        (MERGES_TXT, "lo w\n", "", r"merges.txt: merge 2 .*b'low' is neither"),
        (VOCAB_JSON, '"low": 257', '"low": 258', r"vocab.json: .*'low' the id 257, .* has 258"),
        (VOCAB_JSON, '"low": 257, ', "", r"vocab.json: .*'low' the id 257, .* has none"),
        (VOCAB_JSON, '"low": 257', '"low": 257,', r"vocab.json: line 1 column \d+"),
    ],
)
def test_unsound_gpt2_files_are_refused_and_nothing_is_written(
    folder: Path, name: str, old: str, new: str, message: str
) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(TokenizerError, match=message):
        import_gpt2(folder / VOCAB_JSON, folder / MERGES_TXT, folder / "out")
    assert not (folder / "out").exists()
