"""Texts to train a tokenizer on: a run's corpus, or plain files."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import InputError
from pipeline.runs import Folder, read_manifest
from pipeline.stages import BY_NAME


def texts_of(source: str) -> Iterator[str]:
    """The documents of a run's corpus in order, or a text file's paragraphs.

    Raises InputError where ``source`` is neither.
    """
    path = Path(source)
    if path.is_file():
        yield from _paragraphs(path)
        return
    corpus = Folder(source) / BY_NAME["dedupe"].folder
    manifest = read_manifest(corpus)
    if manifest is None:
        raise InputError(
            f"{source} is neither a text file nor a run with a finished corpus "
            "(webtext build FILE --until dedupe makes one)."
        )
    for part in manifest.counted():
        table = corpus.read_table(part.file(".parquet").name, columns=["text"])
        yield from table["text"].to_pylist()


def _paragraphs(path: Path) -> Iterator[str]:
    """Runs of lines up to an empty one: a whole file may be too much for the trainer's one string."""
    lines: list[str] = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for line in file:
            lines.append(line)
            if not line.strip():
                yield "".join(lines)
                lines.clear()
    yield "".join(lines)
