"""Token files for nanoGPT and for llm.c: the tokens of the shards, unchanged and in their order.

Both trainers take a stream and draw or cut windows from it wherever they fall; neither looks for
end-of-text. nanoGPT's own script puts it behind each document, as the shards do. llm.c's script puts it
before each, so its stream differs from ours only in where the first and the last one stand.

Sources: nanoGPT's data/openwebtext/prepare.py, train.py and sample.py; llm.c's dev/data/data_common.py,
dev/data/fineweb.py and llmc/dataloader.h.
"""

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.export.source import Source
from pipeline.runs import File, Folder
from pipeline.shard.split import TEST, TRAIN, VAL
from tokenizer.files import MERGES_TXT
from tokenizer.tokenfile import token_dtype
from tokenizer.vocabulary import END_OF_TEXT, Vocabulary

META_PKL = "meta.pkl"

LLMC_MAGIC, LLMC_VERSION = 20240520, 1
LLMC_HEADER_NUMBERS = 256  # int32
TOKENS_PER_FILE = 100_000_000
"""At most, in llm.c's files; its header holds no more than 2**31 - 1."""

_TOKEN_BYTES = 2
_ROWS_MULTIPLE = 64  # of embeddings: as nanoGPT itself rounds GPT-2's 50,257 ids up to 50,304
_GPT2_MERGES = (
    "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"  # SHA-256 of OpenAI's vocab.bpe
)


def require_uint16(source: Source, form: str) -> None:
    """Raises InputError where the shards' tokens are wider than the two bytes that the trainers read."""
    if token_dtype(source.vocab_size).itemsize != _TOKEN_BYTES:
        raise InputError(
            f"{source.folder.uri} holds int32 tokens, as vocabularies of 65,500 ids and more need "
            f"({source.vocab_size:,} here), and {form} reads uint16 only. Export jsonl or "
            "parquet, or build with a smaller tokenizer.vocab_size."
        )


def write_nanogpt(source: Source, out: Folder, split: str) -> list[File]:
    """Writes a split as ``train.bin``, ``val.bin`` or ``test.bin``: little-endian uint16, no header."""
    name = f"{split}.bin"
    with out.writing(name) as sink:
        for block in source.token_blocks(split):
            sink.write(block)
    return [File(name, sink.num_bytes, sink.num_bytes // _TOKEN_BYTES, sink.sha256())]


def nanogpt_meta(source: Source) -> dict[str, bytes]:
    """``meta.pkl`` by name; empty for GPT-2's own vocabulary, with which nanoGPT needs none.

    Where it is there, nanoGPT's train.py takes the size of its embedding from it, and sample.py spells and
    reads by it. Without it both take GPT-2's vocabulary for granted.
    """
    if hashlib.sha256(source.tokenizer_files[MERGES_TXT]).hexdigest() == _GPT2_MERGES:
        return {}
    return {META_PKL: pickle.dumps(_meta(source.vocabulary), protocol=4)}


def _meta(vocabulary: Vocabulary) -> dict[str, Any]:
    """What nanoGPT reads from ``meta.pkl``.

    ``vocab_size`` is rounded up, which trains faster and costs nothing, so ``itos`` (text by id) has empty
    texts at its end. sample.py looks a prompt up a character at a time: ``stoi`` has those that are tokens.
    """
    texts = [token.decode(errors="replace") for token in vocabulary.tokens] + [END_OF_TEXT]
    texts += [""] * (-len(texts) % _ROWS_MULTIPLE)
    characters = {token.decode(errors="ignore"): i for i, token in enumerate(vocabulary.tokens)}
    return {
        "vocab_size": len(texts),
        "itos": texts,
        "stoi": {text: i for text, i in characters.items() if len(text) == 1},
    }


def write_llmc(source: Source, out: Folder, split: str) -> list[File]:
    """Writes a split as ``webtext_train_000001.bin`` and so on: llm.c's header, then uint16, little-endian.

    Files are numbered through, val's first, as llm.c's fineweb.py does. Those of a split are all of one size,
    to a token: llm.c refuses a file that is shorter than one batch, as a remainder may be.
    """
    stream = _Stream(source.token_blocks(split))
    files = []
    sizes = even_sizes(source.num_tokens(split), TOKENS_PER_FILE)
    for number, num_tokens in enumerate(sizes, start=_first_number(source, split)):
        name = f"webtext_{split}_{number:06d}.bin"
        with out.writing(name) as sink:
            sink.write(llmc_header(num_tokens))
            for block in stream.take(num_tokens * _TOKEN_BYTES):
                sink.write(block)
        files.append(File(name, sink.num_bytes, num_tokens, sink.sha256()))
    return files


def llmc_header(num_tokens: int) -> bytes:
    """llm.c's header: 256 int32, little-endian, of which three say something."""
    header = np.zeros(LLMC_HEADER_NUMBERS, dtype="<i4")
    header[:3] = LLMC_MAGIC, LLMC_VERSION, num_tokens
    return header.tobytes()


def even_sizes(total: int, most: int) -> Sequence[int]:
    """As few sizes as may be, none above ``most``, that add up to ``total`` and differ by 1 at most.

    >>> even_sizes(10, 4)
    [4, 3, 3]
    """
    num = -(-total // most)
    return [total // num + (i < total % num) for i in range(num)]


def _first_number(source: Source, split: str) -> int:
    """The number of a split's first file: the same whether the splits before it are exported or not."""
    order = (VAL, TRAIN, TEST)
    before = order[: order.index(split)]
    return sum(len(even_sizes(source.num_tokens(one), TOKENS_PER_FILE)) for one in before)


class _Stream:
    """Blocks of bytes, taken in other lengths than they come in."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def take(self, num_bytes: int) -> Iterator[memoryview]:
        """The next ``num_bytes`` bytes, in pieces."""
        while num_bytes:
            self._rest = self._rest or memoryview(next(self._blocks))
            piece, self._rest = self._rest[:num_bytes], self._rest[num_bytes:]
            num_bytes -= len(piece)
            yield piece
