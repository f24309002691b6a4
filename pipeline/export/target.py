"""The folder that an export fills: empty at first, marked while it is filled, committed by a manifest.

Nothing that is not an export's own is ever replaced: a folder that holds files without the mark of an
unfinished export, or another finished one, is refused.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pipeline.errors import InputError
from pipeline.runs import MANIFEST, File, Folder, are_there

UNFINISHED = "export-unfinished.json"
"""The mark: it is written first and goes last."""

# Every name that an export writes, and what a kill leaves of it.
OURS = re.compile(
    r"((train|val|test)\.bin|webtext_(train|val|test)_\d{6,}\.bin|(train|val|test)-\d{5,}\.(jsonl\.gz|parquet)"
    r"|meta\.pkl|tokenizer\w*\.(json|tiktoken)|vocab\.json|merges\.txt|manifest\.json)(\.[0-9a-f]{32}\.tmp)?"
)


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export, as its ``manifest.json`` tells it.

    Attributes:
        form: What it is for: nanogpt, llmc, jsonl or parquet.
        run: The name of the run.
        shards: The SHA-256 of the manifest of the run's shards.
        tokenizer: The SHA-256 of ``tokenizer.json``.
        vocab_size: Ids of the tokenizer, special tokens with them.
        end_of_text: The id behind every document.
        tokens: The tokens of each split, end-of-text with them.
        documents: The documents of each split.
        files: All files but the manifest; rows are tokens, documents or, of the tokenizer's, 1.
    """

    form: str
    run: str
    shards: str
    tokenizer: str
    vocab_size: int
    end_of_text: int
    tokens: Mapping[str, int]
    documents: Mapping[str, int]
    files: tuple[File, ...]

    def is_of(self, other: "Export") -> bool:
        """Whether both are the same form of the same splits of the same shards."""
        return (self.form, self.shards, self.tokenizer, dict(self.tokens)) == (
            other.form, other.shards, other.tokenizer, dict(other.tokens),
        )  # fmt: skip

    def encode(self) -> bytes:
        """The bytes of manifest.json: the same for the same content, and so without times."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of encode; ValueError, KeyError or TypeError where the bytes are no manifest of one."""
        value: dict[str, Any] = json.loads(data)
        return cls(**{**value, "files": tuple(File(**file) for file in value["files"])})


def begin(out: Folder, export: Export) -> Export | None:
    """Makes a folder ready for an export that is to be; the finished one, if it is there already.

    Raises:
        InputError: The folder holds anything else than the halves of an unfinished export.
    """
    sizes = _sizes(out)
    present = _present(out) if MANIFEST in sizes or not out.is_local() else None
    if present is not None and present.is_of(export):
        for file in present.files:
            if not are_there(out, sizes, [file]):
                raise InputError(
                    f"{out.uri}/{file.name} is missing or is not as this export has written it: remove the "
                    "folder, and export again."
                )
        out.remove([UNFINISHED])
        return present
    if present is not None:
        raise InputError(
            f"{out.uri} holds another export ({present.form}, {', '.join(present.tokens)} of {present.run}): "
            "name another folder, or remove that one first."
        )
    if sizes and UNFINISHED not in sizes and out.size(UNFINISHED) is None:  # it may not be listed yet
        raise InputError(
            f"{out.uri} is not empty (it has {min(sizes)}): name a new or an empty folder to export to."
        )
    out.write(UNFINISHED, export.encode())
    out.remove(name for name in sizes if OURS.fullmatch(name))
    return None


def commit(out: Folder, export: Export) -> None:
    """Writes the manifest: from here on the export is finished."""
    out.write(MANIFEST, export.encode())
    out.remove([UNFINISHED])


def _sizes(out: Folder) -> dict[str, int]:
    try:
        return out.sizes()
    except NotADirectoryError as error:
        raise InputError(f"{out.uri} is a file: name a folder to export to.") from error


def _present(out: Folder) -> Export | None:
    try:
        return Export.decode(out.read(MANIFEST))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # none, or another's manifest.json, and so a file like any other
