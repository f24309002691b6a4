"""What a file of tokens holds: figures over all of it, and some of its documents, read and traced back.

Tokens are looked at in pieces: only the columns of indexes stay in memory.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.errors import InputError
from pipeline.runs import Folder, Manifest
from pipeline.shard.documents import (
    Document,
    Positions,
    Spans,
    Token,
    document_with,
    first_tokens,
    read_document,
    read_token,
    spans_by_end_of_text,
    spans_of_index,
)
from pipeline.shard.lineage import Row, origins, run_of, shard_rows
from pipeline.shard.token_forms import Form, Found, find_tokens
from pipeline.stages import BY_NAME
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError

_TOKENS_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file: its bytes, its sequences if it is an index, and its checksum against the run's manifest.

    ``checksum`` is "ok", "differs" or "not listed"; None where there is no manifest.
    """

    name: str
    bytes: int
    sequences: int | None
    checksum: str | None


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens a document."""

    mean: float
    min: int
    median: float
    max: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file of tokens holds.

    Attributes:
        path: The file that has the tokens.
        form: How they are stored.
        run: The run that the file is of; None for a file without one.
        dtype: Of a token.
        files: The file and its indexes.
        num_tokens: In the file.
        num_documents: None where nothing tells them apart.
        num_sentences: None where no index tells them apart.
        lengths: None where there are no documents.
        highest_id: None where there are no tokens.
        vocab_size: Ids of the tokenizer; None where none is known.
        num_end_of_text: None where no tokenizer is known.
        problems: What is wrong, in words.
        remarks: What is assumed, or could not be told, in words.
        first_tokens: The file's first ids.
        token: That was asked for, if any.
        documents: That were asked for.
        origins: Where each of them comes from, by its number: columns of the corpus (`lineage.ORIGIN`), at
            least the id. Without those of which nothing is known.
    """

    path: str
    form: Form
    run: str | None
    dtype: str
    files: tuple[FileFacts, ...]
    num_tokens: int
    num_documents: int | None
    num_sentences: int | None
    lengths: Lengths | None
    highest_id: int | None
    vocab_size: int | None
    num_end_of_text: int | None
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    first_tokens: tuple[int, ...]
    token: Token | None
    documents: tuple[Document, ...]
    origins: Mapping[int, Row]

    def to_json(self) -> dict[str, Any]:
        """As ``inspect-shard --json`` prints it: origins stand in their documents, times in ISO 8601."""
        value = asdict(self)
        found = value.pop("origins")
        for document in value["documents"]:
            origin = found.get(document["number"])
            document["origin"] = origin and {name: _json(one) for name, one in origin.items()}
        return value


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


class _Owner(NamedTuple):
    """The run that a shard is of, and its shards' manifest."""

    run: Folder
    manifest: Manifest


def inspect_shard(
    path: Path, *, first: int = 0, count: int = 3, token: int | None = None, tokenizer: Path | None = None
) -> Inspection:
    """Reads a file of tokens, with what lies around it.

    Args:
        path: A .bin, .idx or .sentences.idx, of a run or not.
        first: The first document to show.
        count: How many documents to show at the most.
        token: A token to look up; its document is shown then, and no other.
        tokenizer: A tokenizer's folder or file; left out, it is the run's.

    Raises:
        TokenizerError: The file, or the tokenizer that is named, is unusable.
        InputError: There is no such document or token; the tokenizer named is not the shards'; the run's
            manifest or a table of it is damaged.
    """
    found = find_tokens(path)
    listed = run_of(found.path)
    owner = None if listed is None else _Owner(*listed)
    _check_is_whole(found, owner)
    problems: list[str] = []
    remarks = list(_assumed(found))
    coder = _tokenizer(tokenizer, owner, remarks)
    highest, ends = _scan(found, None if coder is None else coder.eot_id)
    spans = _spans(found, None if coder is None else ends, remarks)
    numbers = _choose(found, spans, first, count, token)
    files = tuple(_files(found, owner))
    problems += [f"{one.name} is not what the manifest lists" for one in files if one.checksum == "differs"]
    vocab_size = _vocab_size(coder, owner)
    if vocab_size is not None and highest is not None and highest >= vocab_size:
        problems.append(
            f"id {highest:,} is in no vocabulary of {vocab_size:,} ids: the file is damaged, or of another "
            "tokenizer"
        )
    documents = () if spans is None else tuple(read_document(found, spans, one, coder) for one in numbers)
    return Inspection(
        path=str(found.path),
        form=found.form,
        run=None if owner is None else owner.run.uri,
        dtype=found.tokens.dtype.name,
        files=files,
        num_tokens=len(found.tokens),
        num_documents=None if spans is None else len(spans.starts),
        num_sentences=None if found.sentences is None else len(found.sentences.lengths),
        lengths=_lengths(spans),
        highest_id=highest,
        vocab_size=vocab_size,
        num_end_of_text=None if coder is None else len(ends),
        origins={} if owner is None else _trace(owner, found.path.stem, documents, problems, remarks),
        problems=tuple(problems),
        remarks=tuple(remarks),
        first_tokens=first_tokens(found),
        token=None if token is None else read_token(found, spans, token, coder),
        documents=documents,
    )


def _check_is_whole(found: Found, owner: _Owner | None) -> None:
    """Raises TokenizerError for a run's shard without its index, which looks like headerless tokens."""
    if owner is None or found.indexes:
        return
    name = f"{found.path.stem}.idx"
    if any(file.name == name for part in owner.manifest.parts for file in part.files):
        raise TokenizerError(
            f"{found.path.with_name(name)}: is missing, and {found.path.name} is not to be read without it; "
            f"`webtext verify {owner.run.uri}` names all that is damaged"
        )


def _assumed(found: Found) -> Iterator[str]:
    if found.form is Form.HEADERLESS:
        yield "no index and no header: taken for uint16 tokens as nanoGPT stores them"
    if found.indexes and found.path.with_suffix(".idx") not in found.indexes:
        yield f"{found.path.stem}.idx is missing: documents are those of the index over sentences"


def _tokenizer(named: Path | None, owner: _Owner | None, remarks: list[str]) -> Tokenizer | None:
    """The tokenizer named, or the run's; None, with a remark, where there is none of the shards' own."""
    expected = None if owner is None else owner.manifest.facts.get("tokenizer")
    if named is not None:
        tokenizer = Tokenizer.load(named)
        if expected not in (None, tokenizer.digest):
            raise InputError(
                f"{named}: is another tokenizer (SHA-256 {tokenizer.digest[:12]}…) than that of these shards "
                f"({expected[:12]}…); leave --tokenizer out to use the run's own"
            )
        return tokenizer
    if owner is None:
        remarks.append("no run is around it: not decoded without --tokenizer DIR")
        return None
    try:
        tokenizer = Tokenizer.load(Path(owner.run.path(BY_NAME["tokenizer"].folder)))
    except TokenizerError as error:
        remarks.append(f"not decoded: {error}")
        return None
    if tokenizer.digest != expected:
        remarks.append(
            f"not decoded: {owner.run.uri}/{BY_NAME['tokenizer'].folder} is not the tokenizer of these "
            "shards; run `webtext build` to make them anew"
        )
        return None
    return tokenizer


def _vocab_size(tokenizer: Tokenizer | None, owner: _Owner | None) -> int | None:
    if tokenizer is not None:
        return tokenizer.vocab_size
    return None if owner is None else owner.manifest.facts.get("vocab_size")


def _scan(found: Found, end_of_text: int | None) -> tuple[int | None, Positions]:
    """The highest id, and where end-of-text is: int64, none where its id is not known.

    Read and not mapped, since mapped pages stay in memory.
    """
    dtype = found.tokens.dtype
    highest, places = None, [np.zeros(0, np.int64)]
    with found.path.open("rb") as file:
        file.seek(found.offset)
        for at in range(0, len(found.tokens), _TOKENS_AT_ONCE):
            piece = np.fromfile(file, dtype, _TOKENS_AT_ONCE)
            # A negative id is none either: it counts as what its bits are without the sign.
            highest = max(highest or 0, int(piece.view(f"u{dtype.itemsize}").max(initial=0)))
            if end_of_text is not None:
                places.append(np.flatnonzero(piece == end_of_text) + at)
    return highest, np.concatenate(places)


def _spans(found: Found, ends: Positions | None, remarks: list[str]) -> Spans | None:
    if found.index is not None:
        return spans_of_index(found.index, len(found.tokens))
    if ends is None:
        return None
    remarks.append("no index: documents are what end-of-text parts")
    return spans_by_end_of_text(ends, len(found.tokens))


def _choose(found: Found, spans: Spans | None, first: int, count: int, token: int | None) -> Sequence[int]:
    """The numbers of the documents to show."""
    if token is not None:
        if not 0 <= token < len(found.tokens):
            raise InputError(
                f"{found.path}: there is no token {token:,}; it has {len(found.tokens):,}, from 0"
            )
        document = None if spans is None else document_with(spans, token)
        return () if document is None else (document,)
    num = 0 if spans is None else len(spans.starts)
    if first and spans is None:
        raise InputError(
            f"{found.path}: no index tells documents apart; name the tokenizer (--tokenizer DIR), and "
            "end-of-text does"
        )
    if first and first >= num:
        raise InputError(f"{found.path}: there is no document {first:,}; it has {num:,}, from 0")
    return range(first, min(first + count, num))


def _files(found: Found, owner: _Owner | None) -> Iterator[FileFacts]:
    parts = () if owner is None else owner.manifest.parts
    listed = {file.name: file.sha256 for part in parts for file in part.files}
    for path, index in ((found.path, None), *found.indexes.items()):
        checksum = None
        if owner is not None:
            checksum = "not listed" if path.name not in listed else "differs"
            if listed.get(path.name) == _sha256(path):
                checksum = "ok"
        yield FileFacts(
            path.name, path.stat().st_size, None if index is None else len(index.lengths), checksum
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lengths(spans: Spans | None) -> Lengths | None:
    if spans is None or len(spans.starts) == 0:
        return None
    lengths = spans.ends - spans.starts
    return Lengths(float(lengths.mean()), int(lengths.min()), float(np.median(lengths)), int(lengths.max()))


def _trace(
    owner: _Owner, shard: str, documents: Sequence[Document], problems: list[str], remarks: list[str]
) -> dict[int, Row]:
    """Where documents come from, by number."""
    rows = shard_rows(owner.run, owner.manifest, shard, [one.number for one in documents])
    for one in documents:
        row = rows.get(one.number)
        if row and (row["first_token"], row["num_tokens"]) != (one.first_token, one.num_tokens):
            problems.append(
                f"document {one.number:,} is {row['num_tokens']:,} tokens from {row['first_token']:,} by the "
                f"document table, and {one.num_tokens:,} from {one.first_token:,} by the index"
            )
    known = origins(owner.run, {row["id"] for row in rows.values()})
    missing = [row["id"] for row in rows.values() if row["id"] not in known]
    if missing:
        remarks.append(
            f"{owner.run.uri}/{BY_NAME['dedupe'].folder} does not have {missing[0]}: where it comes "
            "from is not to be told without the corpus that the shards were made of"
        )
    return {number: known.get(row["id"], {"id": row["id"]}) for number, row in rows.items()}
