"""Documents with their text and where it came from, in the shards' order, as JSON lines or Parquet.

Text is the corpus's, not tokens decoded. Each shard's documents are in the order of the corpus, but several
shards may share one of its files, so a shard's are looked for among the documents of all.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from isal import isal_zlib

from pipeline.errors import InputError, RunError
from pipeline.export.source import Source, check_sizes, finished_stage
from pipeline.hashing_sink import HashingSink
from pipeline.records import CORPUS, SHARD_DOCUMENTS
from pipeline.runs import File, Folder
from pipeline.stages import BY_NAME

_FROM_CORPUS = (
    "id", "text", "url", "title", "language", "license", "karma", "subreddits", "submissions", "created",
    "fetched",
)  # fmt: skip
_FROM_SHARDS = ("split", "num_tokens")  # end-of-text with them

EXPORTED = pa.schema(
    [*(CORPUS.field(name) for name in _FROM_CORPUS), *(SHARD_DOCUMENTS.field(name) for name in _FROM_SHARDS)]
)
"""The columns of a document."""

BYTES_PER_FILE = 256 << 20
"""Of text, in a file: the next one begins with the documents that follow."""
BYTES_PER_ROW_GROUP = 32 << 20  # of text, in a Parquet file

_DOCUMENTS_AT_ONCE = 256
_GZIP = 31  # wbits
_PACKING_LEVEL = 3  # ISA-L's best


def write_jsonl(source: Source, out: Folder, split: str) -> list[File]:
    """Writes a split as ``train-00000.jsonl.gz`` and so on, a JSON object a line with EXPORTED's fields."""
    return _write(source, out, split, "jsonl.gz", _pack_lines)


def write_parquet(source: Source, out: Folder, split: str) -> list[File]:
    """Writes a split as ``train-00000.parquet`` and so on, with EXPORTED's columns."""
    return _write(source, out, split, "parquet", _pack_table)


def documents(source: Source, split: str) -> Iterator[pa.Table]:
    """The documents of a split with EXPORTED's columns, in the shards' order, some hundred at a time.

    Raises:
        InputError: The corpus is not finished, has a file of another size, or was made anew since.
        RunError: The corpus and the shards do not have the same documents.
    """
    corpus = _Corpus(source)
    first = 0  # a shard begins in the file where the one before it ended, or in a later one
    for rows in _shard_tables(source, split):
        at = first
        while rows.num_rows:
            first = at = corpus.holding(rows["id"][0].as_py(), at)
            for batch in corpus.read(at):
                window = rows["id"].slice(0, batch.num_rows).combine_chunks()
                found = batch.filter(pc.is_in(batch["id"], value_set=window))
                own, rows = rows.slice(0, found.num_rows), rows.slice(found.num_rows)  # noqa: PLW2901
                if not found["id"].equals(own["id"]):
                    raise corpus.lacks(own["id"][0].as_py())
                if found.num_rows:
                    columns = [*(found[name] for name in _FROM_CORPUS), *(own[name] for name in _FROM_SHARDS)]
                    yield pa.table(columns, names=EXPORTED.names).cast(EXPORTED)
            at += 1


class _Corpus:
    """The corpus that a run's shards were made from, file by file."""

    def __init__(self, source: Source) -> None:
        manifest = finished_stage(source.run, "dedupe")
        self._folder = source.run / BY_NAME["dedupe"].folder
        if manifest.digest() != source.shards.inputs["dedupe"]:
            raise InputError(
                f"{self._folder.uri} is not the corpus that the run's shards were made from: run `webtext "
                "build` with the run's settings, and it makes them match."
            )
        self._files = [part.file(f"{part.name}.parquet") for part in manifest.counted()]
        check_sizes(self._folder, self._files)

    def holding(self, name: str, start: int) -> int:
        """The position of the file that has a document, from ``start`` on; RunError if none has."""
        for at in range(start, len(self._files)):
            with _reading(self._folder, self._files[at].name):
                ids = self._folder.read_table(self._files[at].name, ["id"])["id"]
            if pc.index(ids, name).as_py() >= 0:
                return at
        raise self.lacks(name)

    def read(self, at: int) -> Iterator[pa.Table]:
        """The documents of a file."""
        name = self._files[at].name
        with _reading(self._folder, name):
            for batch in self._folder.read_batches(name, list(_FROM_CORPUS), _DOCUMENTS_AT_ONCE):
                yield pa.Table.from_batches([batch])

    def lacks(self, name: str) -> RunError:
        """What is raised where a document is not in the corpus, or not where it should be."""
        return RunError(
            f"{self._folder.uri}: document {name} is not where the shards' tables have it: `webtext verify` "
            "tells what is wrong."
        )


def _shard_tables(source: Source, split: str) -> Iterator[pa.Table]:
    """The rows of a split in the tables of documents, a shard at a time."""
    for part in source.shards.parts:
        name = part.file(".documents.parquet").name
        with _reading(source.folder, name):
            table = source.folder.read_table(name)
        yield table.filter(pc.equal(table["split"], split)).cast(SHARD_DOCUMENTS)


@contextmanager
def _reading(folder: Folder, name: str) -> Iterator[None]:
    """Raises RunError, naming the file, where what is read in the block is damaged."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise RunError(
            f"{folder.uri}/{name} cannot be read ({str(error).strip()}): `webtext verify` tells what to do."
        ) from error


def _write(
    source: Source,
    out: Folder,
    split: str,
    suffix: str,
    pack: Callable[[HashingSink, Iterable[pa.Table]], int],
) -> list[File]:
    files = []
    for number, group in groupby(_numbered(documents(source, split)), key=itemgetter(0)):
        name = f"{split}-{number:05d}.{suffix}"
        with out.writing(name) as sink:
            num_rows = pack(sink, map(itemgetter(1), group))
        files.append(File(name, sink.num_bytes, num_rows, sink.sha256()))
    return files


def _numbered(tables: Iterable[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """Tables with the number of the file that each goes to."""
    number = num_bytes = 0
    for table in tables:
        if num_bytes >= BYTES_PER_FILE:
            number, num_bytes = number + 1, 0
        num_bytes += _text_bytes(table)
        yield number, table


def _text_bytes(table: pa.Table) -> int:
    return int(pc.sum(pc.binary_length(table["text"])).as_py() or 0)


def _pack_lines(sink: HashingSink, tables: Iterable[pa.Table]) -> int:
    """Writes tables as gzipped JSON lines; returns the number of lines."""
    packer = isal_zlib.compressobj(_PACKING_LEVEL, wbits=_GZIP)
    num_rows = 0
    for table in tables:
        num_rows += table.num_rows
        sink.write(packer.compress(json_lines(table)))
    sink.write(packer.flush())
    return num_rows


def json_lines(table: pa.Table) -> bytes:
    """A table as JSON, a row a line: times as ISO 8601 with milliseconds, "" for an unknown text or time.

    Readers infer a column's type from its first rows and fail where later ones are of another. A null there,
    or a time without milliseconds, makes Hugging Face's do so.
    """
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")  # noqa: PLW2901
        if pa.types.is_string(column.type):
            column = pc.fill_null(column, "")  # noqa: PLW2901
        columns.append(column)
    rows = pa.table(columns, names=table.column_names).to_pylist()
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _pack_table(sink: HashingSink, tables: Iterable[pa.Table]) -> int:
    """Writes tables as one Parquet file (zstd); returns the number of rows."""
    num_rows = 0
    with pq.ParquetWriter(sink, EXPORTED, compression="zstd") as writer:
        for group in _row_groups(tables):
            num_rows += group.num_rows
            writer.write_table(group)
    return num_rows


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables put together until their texts are enough for a row group."""
    held: list[pa.Table] = []
    num_bytes = 0
    for table in tables:
        held.append(table)
        num_bytes += _text_bytes(table)
        if num_bytes >= BYTES_PER_ROW_GROUP:
            yield pa.concat_tables(held)
            held, num_bytes = [], 0
    if held:
        yield pa.concat_tables(held)
