"""A vocabulary's files, each in the form that some programs read.

`tokenizer.json` holds everything and is what `Tokenizer.load` reads; Hugging Face's `tokenizers`
and `transformers` open it as it is. `tokenizer_config.json` tells transformers' `AutoTokenizer`
which special token serves for what. `vocab.json` and `merges.txt` are GPT-2's own form, and
`tokenizer.tiktoken` is that of tiktoken's `load_tiktoken_bpe`. What is read is always the merges;
a vocabulary that stands beside them must agree with them.
"""

import json
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tokenizer.alphabet import spell, unspell
from tokenizer.errors import TokenizerError
from tokenizer.vocabulary import CLS, END_OF_TEXT, MASK, PAD, SEP, UNK, Vocabulary

TOKENIZER_JSON: Final = "tokenizer.json"
VOCAB_JSON: Final = "vocab.json"
MERGES_TXT: Final = "merges.txt"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
TIKTOKEN: Final = "tokenizer.tiktoken"
"""As OpenAI names its own (`r50k_base.tiktoken`); `tokenizer.model` would be taken for SentencePiece's."""

_MERGES_HEADER: Final = "#version: 0.2"
_BYTE_LEVEL: Final = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": False,
    "use_regex": True,
}
_CONFIG: Final = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    # GPT-2's: one token begins and ends.
    "bos_token": END_OF_TEXT,
    "eos_token": END_OF_TEXT,
    # ALBERT's.
    "pad_token": PAD,
    "unk_token": UNK,
    "cls_token": CLS,
    "sep_token": SEP,
    "mask_token": MASK,
    # Else transformers 4 gives segments too, which GPT-2 would add to its embeddings as tokens.
    "model_input_names": ["input_ids", "attention_mask"],
    # Else decoding takes spaces away in front of full stops, in older releases.
    "clean_up_tokenization_spaces": False,
}


def file_contents(vocabulary: Vocabulary) -> dict[str, bytes]:
    """The bytes of the five files by name. The same vocabulary gives the same bytes."""
    merges = [f"{spell(left)} {spell(right)}" for left, right in vocabulary.merges]
    document = json.dumps(_document(vocabulary), ensure_ascii=False, indent=1)
    texts = {
        VOCAB_JSON: json.dumps(_ids(vocabulary)),
        MERGES_TXT: "\n".join([_MERGES_HEADER, *merges]) + "\n",
        TIKTOKEN: "".join(_rank_lines(vocabulary)),
        TOKENIZER_CONFIG: json.dumps(_CONFIG, indent=1) + "\n",
        # Last, as it is the one that loads: where it stands, the others do.
        TOKENIZER_JSON: document + "\n",
    }
    return {name: text.encode() for name, text in texts.items()}


def write_tokenizer(vocabulary: Vocabulary, folder: Path) -> None:
    """Write the five files into a folder, which is made if need be. Each appears whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in file_contents(vocabulary).items():
        temporary = folder / f"{name}.{os.getpid()}.tmp"
        temporary.write_bytes(data)
        temporary.replace(folder / name)


def parse_tokenizer_json(data: bytes, name: str) -> Vocabulary:
    """Parse the bytes of a `tokenizer.json`; `name` stands for the file in messages.

    Raises:
        TokenizerError: It is no JSON or cut short, its merges are unsound, or its vocabulary,
            special tokens or way to cut words are not those of `write_tokenizer`.
    """
    found = _parse_json(data, name)
    merges = found["model"].get("merges") if isinstance(found.get("model"), dict) else None
    if not isinstance(merges, list):
        raise TokenizerError(f"{name}: has no model.merges; name a tokenizer.json of byte-level BPE")
    _check_form(found, name)
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    vocabulary = _vocabulary(pairs, name)
    _check_ids(found["model"].get("vocab"), _ids(vocabulary), f"{name}: model.vocab")
    added = _added_ids(found.get("added_tokens"), name)
    _check_ids(added, vocabulary.specials, f"{name}: added_tokens")
    return vocabulary


def read_gpt2(vocab: Path, merges: Path) -> Vocabulary:
    """Read a vocabulary in GPT-2's form: `vocab.json` and `merges.txt`, or as OpenAI named them.

    Args:
        vocab: ids by token, `<|endoftext|>` included (`vocab.json`, `encoder.json`).
        merges: a line of version, then one merge a line (`merges.txt`, `vocab.bpe`).

    Raises:
        TokenizerError: A file cannot be read or parsed, the merges are unsound, or the ids are
            not those that follow from the merges. The message names the file and the line.
    """
    text = _decode_utf8(_read(merges), str(merges))
    header, *lines = text.removesuffix("\n").split("\n")
    if not header.startswith("#version"):
        raise TokenizerError(
            f"{merges}: line 1: is {header[:40]!r}, not a line such as {_MERGES_HEADER!r}; "
            "name a merges.txt or vocab.bpe in GPT-2's form"
        )
    vocabulary = _vocabulary([line.split(" ") for line in lines], str(merges))
    _check_ids(_parse_json(_read(vocab), str(vocab)), _ids(vocabulary), str(vocab))
    return vocabulary


def import_gpt2(vocab: Path, merges: Path, out: Path) -> Vocabulary:
    """Write the files of a vocabulary in GPT-2's form into folder `out`, with ALBERT's specials.

    For the official `encoder.json` and `vocab.bpe`, that is 50,257 ids and five behind them.

    Raises:
        TokenizerError: As `read_gpt2`. Nothing is written then.
    """
    vocabulary = read_gpt2(vocab, merges)
    write_tokenizer(vocabulary, out)
    return vocabulary


def _ids(vocabulary: Vocabulary) -> dict[str, int]:
    """Ids by spelled token, `<|endoftext|>` last and ALBERT's specials not in it."""
    ids = {spell(token): i for i, token in enumerate(vocabulary.tokens)}
    return ids | {END_OF_TEXT: len(ids)}


def _rank_lines(vocabulary: Vocabulary) -> Iterator[str]:
    """A line a token: its bytes in base64, a space, its id; special tokens have none."""
    for rank, token in enumerate(vocabulary.tokens):
        yield f"{b64encode(token).decode()} {rank}\n"


def _document(vocabulary: Vocabulary) -> dict[str, Any]:
    """What `tokenizer.json` holds, in the order that `tokenizers` writes it."""
    specials = [
        {
            "id": i,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for name, i in vocabulary.specials.items()
    ]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": _ids(vocabulary),
        "merges": [f"{spell(left)} {spell(right)}" for left, right in vocabulary.merges],
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": specials,
        "normalizer": None,
        "pre_tokenizer": _BYTE_LEVEL,
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": model,
    }


def _vocabulary(pairs: list[Any], name: str) -> Vocabulary:
    """A vocabulary from spelled pairs; errors name the merge by its place from 1."""
    merges = []
    for number, pair in enumerate(pairs, start=1):
        match pair:
            case [str(left), str(right)] if left and right:
                pass
            case _:
                raise TokenizerError(
                    f"{name}: merge {number} (line {number + 1} of a merges.txt): {pair!r} is not "
                    "two tokens; is the file cut short?"
                )
        try:
            merges.append((unspell(left), unspell(right)))
        except TokenizerError as error:
            raise TokenizerError(
                f"{name}: merge {number} (line {number + 1} of a merges.txt): {error}"
            ) from error
    try:
        return Vocabulary(tuple(merges))
    except TokenizerError as error:
        raise TokenizerError(f"{name}: {error}") from error


def _check_form(document: dict[str, Any], name: str) -> None:
    """Raise TokenizerError where a tokenizer.json would give other ids than GPT-2's rules."""
    model = document["model"]
    words = document.get("pre_tokenizer")
    if isinstance(words, dict):
        # Older files leave use_regex out, and trim_offsets changes no id.
        words = {"use_regex": True} | words | {"trim_offsets": False}
    for key, value, expected in (
        ("normalizer", document.get("normalizer"), None),
        ("pre_tokenizer", words, _BYTE_LEVEL),
        ("model.type", model.get("type"), "BPE"),
        ("model.dropout", model.get("dropout"), None),
        ("model.continuing_subword_prefix", model.get("continuing_subword_prefix") or None, None),
        ("model.end_of_word_suffix", model.get("end_of_word_suffix") or None, None),
    ):
        if value != expected:
            raise TokenizerError(
                f"{name}: {key} is {value}, but encoding here knows GPT-2's only: {expected}; "
                "use a tokenizer of that form"
            )


def _check_ids(found: Any, expected: Mapping[str, int], where: str) -> None:
    """Raise TokenizerError, naming the first token that differs, unless the ids are equal."""
    if not isinstance(found, dict):
        raise TokenizerError(f"{where}: must be an object of token and id")
    for token, i in expected.items():
        if found.get(token) != i:
            raise TokenizerError(
                f"{where}: the merges give {token!r} the id {i}, but here it has "
                f"{found.get(token, 'none')}; take both files from the same tokenizer"
            )
    if more := sorted(found.keys() - expected.keys())[:3]:
        raise TokenizerError(
            f"{where}: {', '.join(map(repr, more))} follow from no merge; take both from one tokenizer"
        )


def _added_ids(added: Any, name: str) -> dict[str, int]:
    try:
        return {token["content"]: token["id"] for token in added}
    except (TypeError, KeyError) as error:
        raise TokenizerError(f"{name}: added_tokens must be a list of objects with content and id") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read: {error.strerror}") from error


def _decode_utf8(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TokenizerError(
            f"{name}: line {line}: byte {error.start} is not UTF-8; is this the right file?"
        ) from error


def _parse_json(data: bytes, name: str) -> dict[str, Any]:
    text = _decode_utf8(data, name)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError alone for numbers of thousands of digits
        where = (
            f"line {error.lineno} column {error.colno}: {error.msg}"
            if isinstance(error, json.JSONDecodeError)
            else str(error)
        )
        raise TokenizerError(f"{name}: {where}; is the file cut short? Write it again") from error
    if not isinstance(found, dict):
        raise TokenizerError(f"{name}: line 1: is no JSON object")
    return found
