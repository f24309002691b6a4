"""Files of tokens and of tokenizers, and texts to encode."""

from functools import cache

import numpy as np

from pipeline.dedupe.shingles import Shingler
from pipeline.extract.sketch import are_alike, sketch
from pipeline.filter.bad_words import bad_words
from pipeline.filter.c4 import C4_LINES
from pipeline.filter.grams import find_words, hash_grams
from pipeline.filter.language import load_detector
from pipeline.filter.measure import Document, Tools, measure
from pipeline.filter.pii import KINDS, mask
from pipeline.shard.sentences import sentence_ends
from pipeline.shard.token_forms import find_tokens
from tests.fuzz.target import Target, as_text, file_of
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import file_contents, parse_tokenizer_json, read_gpt2
from tokenizer.sentences import token_spans
from tokenizer.text import well_formed
from tokenizer.tokenfile import TokenFile, document_index, index_bytes, parse_index, sentence_index
from tokenizer.vocabulary import Vocabulary

_LENGTHS = np.array([3, 2, 4], np.int32)


def token_indexes(data: bytes) -> bool:
    """An index over tokens, and the tokens that it is said to be over."""
    try:
        index = parse_index(data, "a.idx")
        file = TokenFile(file_of(bytes(18), "indexed.bin"), index)
    except TokenizerError:
        return False
    assert sum(len(file[number]) for number in range(len(file))) <= len(file.tokens)
    return True


def token_files(data: bytes) -> bool:
    """A file of tokens that may be of any form, alone and with an index over sentences beside it."""
    tokens, _, index = data.partition(b"|||")
    path = file_of(tokens, "tokens/a.bin")
    beside = file_of(index, "tokens/a.idx")
    if not index:
        beside.unlink()
    taken = False
    for name in (path, beside):
        try:
            found = find_tokens(name)
        except TokenizerError:
            continue
        found.tokens[-3:].tolist()
        taken = True
    return taken


def tokenizer_files(data: bytes) -> bool:
    """A tokenizer.json."""
    try:
        vocabulary = parse_tokenizer_json(data, "tokenizer.json")
    except TokenizerError:
        return False
    return len(vocabulary.tokens) > 0


def gpt2_vocabularies(data: bytes) -> bool:
    """A vocab.json and a merges.txt, one after the other."""
    vocab, _, merges = data.partition(b"|||")
    try:
        read_gpt2(file_of(vocab, "vocab.json"), file_of(merges, "merges.txt"))
    except TokenizerError:
        return False
    return True


@cache
def made_vocabulary() -> Vocabulary:
    """A vocabulary of few merges."""
    return Vocabulary(((b"t", b"h"), (b"th", b"e"), (b" ", b"the"), (b"\xc3", b"\xa9")))


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer(made_vocabulary(), "")


@cache
def _tools() -> Tools:
    return Tools(load_detector(), C4_LINES, bad_words(["bad"]), "US")


def texts(data: bytes) -> bool:
    """A text of whatever characters: measured, compared, cut into sentences, and to tokens and back."""
    text = well_formed(as_text(data))
    document = Document("https://example.com/", "https://example.com/", None, text)
    assert measure(document, _tools())
    masked, _ = mask(text, KINDS)
    assert mask(masked, KINDS)[0] == masked
    assert are_alike(sketch(text), sketch(text))
    list(hash_grams([text], (8,)))
    find_words(text)
    for kind in ("words", "characters"):
        Shingler(kind, 5).shingle(text)
    ids = _tokenizer().encode_array(text)
    assert _tokenizer().decode(ids.tolist()) == text
    ends = sentence_ends(text, "en")
    assert not text or int(ends[-1]) == len(text.encode())
    token_spans(_tokenizer().token_lengths[ids], ends)
    return True


def _indexes() -> tuple[bytes, ...]:
    documents = document_index("<u2", _LENGTHS)
    sentences = sentence_index(np.dtype("<u2"), np.array([2, 1, 3], np.int32), np.array([1, 1, 1]))
    return index_bytes(documents), index_bytes(sentences)


def _token_files() -> tuple[bytes, ...]:
    tokens = np.arange(9, dtype="<u2").tobytes()
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, 9
    return header.tobytes() + tokens, tokens, tokens + b"|||" + _indexes()[0]


def _tokenizer_files() -> tuple[bytes, ...]:
    return (file_contents(made_vocabulary())["tokenizer.json"],)


def _gpt2_vocabularies() -> tuple[bytes, ...]:
    files = file_contents(made_vocabulary())
    return (files["vocab.json"] + b"|||" + files["merges.txt"],)


def _texts() -> tuple[bytes, ...]:
    english = (
        "Ann (b. 1970): \u201cCall 212-555-0187!\u201d Mail ann@example.com, ann [at] example [dot] com.\n\n"
        "Card 4111 1111 1111 1111; hosts 8.8.8.8, 2001:db8::1. javascript { lorem ipsum }\n\n- a\n- a\n"
    )
    other = (
        "\u3053\u308c\u306f\u6587\u3067\u3059\u3002\u6b21\u306e\u6587\u3002 caf\u00e9 \U0001f4a9 the the the."
    )
    return english.encode(), other.encode()


_SIZES = tuple(
    number.to_bytes(size, "little") for size in (4, 8) for number in (0, 1, 3, 9, 18, 20240801, 1 << 31)
)
_PIECES = (b"|||", b"MMIDIDX\0\0", *'[PAD] "merges" "vocab" "id" #version \u0120'.encode().split())
_IN_TEXTS = (
    *b"@ [at] (dot) @example.com +1 212-555-0187 4111111111111111 2001:db8:: 8.8.8.8 bad ... 1- a. '".split(),
    *"\u3002 \u201d \u00a0 \u0301 \u200d \ufdfa".encode().split(b" "), b"\n\n", b" .", b"' ",
)  # fmt: skip

TARGETS = (
    Target(token_indexes, _indexes, _SIZES),
    Target(token_files, _token_files, (*_SIZES, *_PIECES)),
    Target(tokenizer_files, _tokenizer_files, _PIECES),
    Target(gpt2_vocabularies, _gpt2_vocabularies, _PIECES),
    Target(texts, _texts, _IN_TEXTS),
)
