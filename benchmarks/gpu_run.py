"""A run directory of random tokens for benchmarks/gpu.py: what training reads, without a corpus."""

import hashlib
import json
from collections.abc import Mapping
from itertools import islice, product
from pathlib import Path

import numpy as np

from tokenizer.alphabet import CHARACTERS
from tokenizer.encode import Tokenizer
from tokenizer.files import write_tokenizer
from tokenizer.tokenfile import Index, document_index, index_bytes, token_dtype
from tokenizer.vocabulary import ALBERT_SPECIALS, NUM_BYTES, Vocabulary

_MEAN_DOCUMENT = 1000
_MEAN_SENTENCE = 22
_WORDS_BEGIN = 0.7  # Of the tokens of English text, about so many begin with a space.


def write_run(folder: Path, vocab_size: int, num_tokens: int, seed: int) -> None:
    """Writes a tokenizer of `vocab_size` ids, special tokens included, and shards of random documents.

    The lengths of documents and sentences, and how many tokens begin a word, are about those of web text.
    """
    tokenizer = _write_tokenizer(folder / "tokenizer", vocab_size)
    rng = np.random.default_rng(seed)
    shards = folder / "shards"
    shards.mkdir(parents=True)
    dtype = token_dtype(vocab_size)

    num_documents = max(8, num_tokens // _MEAN_DOCUMENT)
    lengths = np.maximum(rng.lognormal(0, 1, num_documents), 0.05)
    lengths = (lengths * num_tokens / lengths.sum()).astype(np.int64) + 2  # With end-of-text.
    ordinary = np.arange(tokenizer.eot_id)
    blank = np.array([i for i in ordinary.tolist() if tokenizer.token_bytes(i).startswith(b" ")])
    count = int(lengths.sum())
    ids = np.where(rng.random(count) < _WORDS_BEGIN, rng.choice(blank, count), rng.choice(ordinary, count))
    ends = np.cumsum(lengths)
    ids[ends - 1] = tokenizer.eot_id

    # A sentence begins where a document does, and here and there in it.
    begins = rng.random(count) < 1 / _MEAN_SENTENCE
    begins[ends - lengths] = True
    begins[ends - 1] = False  # End-of-text is in no sentence.
    starts = np.flatnonzero(begins)
    document = np.searchsorted(ends, starts, side="right")
    stops = np.minimum(np.append(starts[1:], count), ends[document] - 1)
    sentences = Index(
        dtype=dtype,
        lengths=(stops - starts).astype(np.int32),
        pointers=starts.astype(np.int64) * dtype.itemsize,
        documents=np.append(np.searchsorted(starts, ends - lengths), len(starts)).astype(np.int64),
    )
    (shards / "train-00000.bin").write_bytes(ids.astype(dtype).tobytes())
    (shards / "train-00000.idx").write_bytes(index_bytes(document_index(dtype, lengths)))
    (shards / "train-00000.sentences.idx").write_bytes(index_bytes(sentences))
    write_manifest(shards, tokenizer, {"train": count})


def _write_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    """A vocabulary of bytes and pairs of bytes, those that begin with a space first."""
    num_merges = vocab_size - NUM_BYTES - 1 - len(ALBERT_SPECIALS)
    first = sorted(CHARACTERS, key=lambda byte: byte != ord(" "))
    pairs = ((bytes([left]), bytes([right])) for left, right in product(first, CHARACTERS))
    write_tokenizer(Vocabulary(tuple(islice(pairs, num_merges))), folder)
    return Tokenizer.load(folder)


def write_manifest(shards: Path, tokenizer: Tokenizer, num_tokens: Mapping[str, int]) -> None:
    """Writes the manifest of the files in `shards`, which hold so many tokens of each split."""
    files = [
        {
            "name": path.name,
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(shards.iterdir())
    ]
    facts = {
        "vocab_size": tokenizer.vocab_size,
        "tokenizer": tokenizer.digest,
        "tokens": dict(num_tokens),
    }
    manifest = {"stage": "shard", "parts": [{"name": "part-00000", "files": files}], "facts": facts}
    (shards / "manifest.json").write_text(json.dumps(manifest))
