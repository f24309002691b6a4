"""Texts to train a tokenizer on: a run's corpus, or plain files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.runs import Folder, Manifest, read_manifest
from pipeline.stages import BY_NAME
from pipeline.tokenizer.documents import corpus_files, sample, text_bytes
from tokenizer.train import sampled

_LONGEST_PIECE = 100_000  # characters; the rest of a line, and a single line, are cut there


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents of a run that has a corpus."""

    folder: Folder
    manifest: Manifest

    @property
    def num_bytes(self) -> int:
        """Bytes of text."""
        return text_bytes(self.manifest)

    def sample(self, fraction: float) -> Iterator[str]:
        """The texts of about ``fraction`` of the documents, as the run's own stage chooses them."""
        return sample(self.folder, corpus_files(self.manifest), fraction)


@dataclass(frozen=True, slots=True)
class TextFile:
    """The paragraphs of a file of plain text; bytes that are no UTF-8 become U+FFFD."""

    path: Path

    @property
    def num_bytes(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    def sample(self, fraction: float) -> Iterator[str]:
        """About ``fraction`` of the paragraphs, chosen by a hash of their text, wherever they stand."""
        for paragraph in _paragraphs(self.path):
            if sampled(paragraph, fraction):
                yield paragraph


def open_texts(names: Sequence[str]) -> list[Corpus | TextFile]:
    """What the names stand for.

    Raises:
        InputError: One is neither a file nor a run with a finished corpus, or there is no text in any.
    """
    found = [_open(name) for name in names]
    if not any(one.num_bytes for one in found):
        raise InputError(
            f"{', '.join(names)}: no text to train a tokenizer on; name text files that are not empty, or a "
            "run whose corpus has documents (webtext status RUN shows where they went)."
        )
    return found


def _open(name: str) -> Corpus | TextFile:
    path = Path(name)
    if path.is_file():
        return TextFile(path)
    folder = Folder(name) / BY_NAME["dedupe"].folder
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(
            f"{name} is neither a text file nor a run with a finished corpus "
            "(webtext build FILE --until dedupe makes one)."
        )
    return Corpus(folder, manifest)


def _paragraphs(path: Path) -> Iterator[str]:
    """Lines up to an empty one, or up to some 100,000 characters.

    A whole file may be too much for memory, and for a sample, which takes or leaves a paragraph.
    """
    lines: list[str] = []
    length = 0
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        while line := file.readline(_LONGEST_PIECE):
            lines.append(line)
            length += len(line)
            if length >= _LONGEST_PIECE or not line.strip():
                yield "".join(lines)
                lines.clear()
                length = 0
    if lines:
        yield "".join(lines)
