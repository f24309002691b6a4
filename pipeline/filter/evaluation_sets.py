"""Evaluation sets as examples, from the files that they are given out in."""

import codecs
import csv
import glob
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.collect.dumps import PACKINGS, Damaged, open_unpacked
from pipeline.errors import InputError

_ROWS_AT_ONCE = 1_000  # of a Parquet file
_LOOKED_AT_BYTES = 1 << 13  # of a file's beginning, which tell whether it is text
_MAX_FIELD_BYTES = 1 << 30  # of a CSV file: after a quote that is never closed all the rest is one field


class Example(NamedTuple):
    """One example of an evaluation set."""

    texts: tuple[str, ...]
    """Its strings, in order: a question, its context, its answers. No n-gram goes from one to the next."""


def read_examples(path: Path) -> Iterator[Example]:
    """The examples of a file, of all files of a folder (in the order of their names), or of a glob.

    A file's form is told by the end of its name; each may be packed (.gz, .xz, .bz2, .zst) besides:

    - .jsonl, .ndjson: each line is an example, with all strings in its values. A line that is no JSON is
      taken as text.
    - .json: each object that has strings of its own is one, as is each string in lists that no object holds.
      Strings in lists belong to the object that holds the lists; objects in it are examples of their own.
      (SQuAD's form: a paragraph's context is an example, each question another.)
    - .csv, .tsv: each row is an example, a header too. In .tsv quotes mean nothing.
    - .parquet: each row is one, with all strings in it; bytes are left out.
    - Any other: text, in which each line that is not blank is an example.

    Bytes that are not UTF-8 are read as U+FFFD. Examples without text are left out.

    Raises:
        InputError: Nothing is there; a file is damaged, is not what its name says, or is no text; or nothing
            in what the path stands for is text.
    """
    has_text = False
    for file in find_files(path):
        for strings in _read_file(file):
            texts = tuple(text for text in strings if text and not text.isspace())
            if texts:
                has_text = True
                yield Example(texts)
    if not has_text:
        raise InputError(f"{path} holds no text: give an evaluation set with its examples, or leave it out.")


def find_files(path: Path) -> list[Path]:
    """The files that a path stands for: itself, those of a folder and of the folders in it, or a glob's.

    In folders, names that begin with a dot are left out. Raises InputError where there are none.
    """
    names = [str(path)] if path.exists() else sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
    found = [Path(name) for name in names]
    files: dict[Path, None] = {}
    for one in found:
        files.update(dict.fromkeys(_folder_files(one) if one.is_dir() else [one]))
    if not files:
        what = "holds no file" if found else "is not there"
        raise InputError(f"{path} {what}: give the path of an evaluation set, a folder of them, or a glob.")
    return list(files)


def _folder_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _read_file(path: Path) -> Iterator[tuple[str, ...]]:
    stem = path.with_suffix("") if path.suffix in PACKINGS else path
    read = {
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
        ".json": _read_json,
        ".csv": _read_csv,
        ".tsv": _read_tsv,
        ".parquet": _read_parquet,
    }.get(stem.suffix.lower(), _read_text)
    try:
        yield from read(path)
    except Damaged as error:
        raise InputError(f"{path} is damaged ({error.cause}): get it again, or leave it out.") from error


def _open_text(path: Path) -> io.TextIOWrapper:
    """A file as text, with line ends as they are. Raises InputError where it is none."""
    file = cast(io.BufferedReader, open_unpacked(str(path)))
    if b"\0" in file.peek(_LOOKED_AT_BYTES)[:_LOOKED_AT_BYTES]:
        forms = ".jsonl, .json, .csv, .tsv, .parquet or text in UTF-8"
        raise InputError(f"{path} is no text (there are NUL bytes in it): convert it to {forms}.")
    if file.peek(3).startswith(codecs.BOM_UTF8):
        file.read(3)
    return io.TextIOWrapper(file, "utf-8", "replace", newline="")


def _lines(path: Path) -> Iterator[str]:
    with _open_text(path) as file:
        file.reconfigure(newline=None)  # "\r\n" and "\r" end a line too
        yield from file


def _read_text(path: Path) -> Iterator[tuple[str, ...]]:
    for line in _lines(path):
        yield (line,)


def _read_tsv(path: Path) -> Iterator[tuple[str, ...]]:
    for line in _lines(path):
        yield tuple(line.split("\t"))


def _read_json_lines(path: Path) -> Iterator[tuple[str, ...]]:
    for line in _lines(path):
        try:
            yield tuple(_strings(json.loads(line)))
        except (ValueError, RecursionError):
            yield (line,)


def _read_csv(path: Path) -> Iterator[tuple[str, ...]]:
    # The limit is the whole process's, and too low for an article in a field.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_BYTES))
    with _open_text(path) as file:
        for row in csv.reader(file):
            yield tuple(row)


def _read_json(path: Path) -> Iterator[tuple[str, ...]]:
    try:
        with _open_text(path) as file:
            value = json.load(file)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        advice = "mend it, or, if each of its lines is JSON by itself, name it .jsonl"
        raise InputError(f"{path} is no JSON ({where}): {advice}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): write it as .jsonl.") from error
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield (value,)
        elif isinstance(value, list):
            stack.extend(reversed(value))
        elif isinstance(value, dict):
            yield tuple(_strings(value, into_objects=False))
            stack.extend(reversed(list(_objects(value))))


def _strings(value: Any, *, into_objects: bool = True) -> Iterator[str]:
    """The strings in a value and in its lists, in order; those of objects in it only if it is said so.

    Bytes are text that is not all UTF-8.
    """
    stack = list(value.values())[::-1] if isinstance(value, dict) else [value]
    while stack:
        inner = stack.pop()
        if isinstance(inner, str):
            yield inner
        elif isinstance(inner, bytes):
            yield inner.decode("utf-8", "replace")
        elif isinstance(inner, list | tuple):  # a tuple is a key with its value, in Parquet's maps
            stack.extend(reversed(inner))
        elif isinstance(inner, dict) and into_objects:
            stack.extend(reversed(inner.values()))


def _objects(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects in an object's fields and in their lists, in order, without those within them."""
    stack = list(value.values())[::-1]
    while stack:
        inner = stack.pop()
        if isinstance(inner, dict):
            yield inner
        elif isinstance(inner, list):
            stack.extend(reversed(inner))


def _read_parquet(path: Path) -> Iterator[tuple[str, ...]]:
    source: Any = path
    if path.suffix in PACKINGS:
        with open_unpacked(str(path)) as packed:
            source = pa.BufferReader(packed.read())
    try:
        with pq.ParquetFile(source) as file:
            columns = [file.schema.column(i) for i in range(len(file.schema))]
            leaves = [column.path for column in columns if column.logical_type.type == "STRING"]
            if not leaves:
                return
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=leaves):
                for row in _rows(batch):
                    yield tuple(_strings(row))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as Parquet ({error}): get it again.") from error


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch that is all text; as bytes where some of it is not UTF-8."""
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        fields = [field.with_type(_as_bytes(field.type)) for field in batch.schema]
        return list(batch.cast(pa.schema(fields)).to_pylist())


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """A type with bytes where there is text."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_as_bytes(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind])
    return pa.large_binary()
