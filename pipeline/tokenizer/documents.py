"""The documents of a corpus that a tokenizer is trained on."""

from collections.abc import Iterable, Iterator

from pipeline.runs import Folder, Manifest
from tokenizer.train import sampled

_DOCUMENTS_AT_ONCE = 256


def corpus_files(corpus: Manifest) -> list[str]:
    """The names of the tables that hold a corpus's documents, in order."""
    return [part.file(f"{part.name}.parquet").name for part in corpus.counted()]


def text_bytes(corpus: Manifest) -> int:
    """Bytes of UTF-8 text in a corpus."""
    num_bytes: int = corpus.facts.get("text_bytes", 0)
    return num_bytes


def sample_fraction(sample_bytes: int, of_bytes: int) -> float:
    """The share of documents to train on; 1 or more means all of them."""
    return sample_bytes / max(1, of_bytes)


def sample(corpus: Folder, files: Iterable[str], fraction: float) -> Iterator[str]:
    """The texts of about ``fraction`` of the documents, chosen by a hash of their ids."""
    for name in files:
        for batch in corpus.read_batches(name, ["id", "text"], _DOCUMENTS_AT_ONCE):
            for one, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
                if sampled(one, fraction):
                    yield text
