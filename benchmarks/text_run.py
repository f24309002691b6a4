"""A run directory made from texts alone: what training reads, without a crawl."""

import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.gpu_run import write_manifest
from pipeline.shard.tokens import tokenize
from tokenizer.encode import Tokenizer
from tokenizer.files import write_tokenizer
from tokenizer.tokenfile import document_index, index_bytes, sentence_index, token_dtype
from tokenizer.train import train

_ARTICLE = re.compile(r"^(?= = [^=\n]+ = $)", re.MULTILINE)  # WikiText's titles


def read_documents(path: Path) -> Iterator[str]:
    """Documents of JSON lines with `text`, or of plain text, WikiText's articles apart; gzipped or not."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    if ".jsonl" in path.suffixes:
        yield from (json.loads(line)["text"] for line in text.splitlines())
    else:
        yield from (article for article in _ARTICLE.split(text) if article.strip())


def write_text_run(folder: Path, splits: Mapping[str, Sequence[str]], vocab_size: int) -> Tokenizer:
    """Writes a tokenizer of `vocab_size` ids, learnt from the `train` split, and one shard a split."""
    write_tokenizer(train(splits["train"], vocab_size), folder / "tokenizer")
    tokenizer = Tokenizer.load(folder / "tokenizer")
    shards = folder / "shards"
    shards.mkdir(parents=True)
    dtype = token_dtype(tokenizer.vocab_size)
    num_tokens = {}
    for split, texts in splits.items():
        block = tokenize(texts, ["en"] * len(texts), tokenizer)
        stem = f"{split}-00000"
        (shards / f"{stem}.bin").write_bytes(block.tokens.astype(dtype).tobytes())
        (shards / f"{stem}.idx").write_bytes(index_bytes(document_index(dtype, block.lengths)))
        sentences = sentence_index(dtype, block.sentence_lengths, block.num_sentences)
        (shards / f"{stem}.sentences.idx").write_bytes(index_bytes(sentences))
        num_tokens[split] = len(block.tokens)
    write_manifest(shards, tokenizer, num_tokens)
    return tokenizer
