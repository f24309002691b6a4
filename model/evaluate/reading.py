"""Files that evaluation data comes in: lines, JSON and JSON lines, gzipped or not (by their first bytes).

Every fault is an EvaluationFileError that names the file, the line where there is one, and what to do.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from model.evaluate.task import EvaluationFileError

_GZIP = b"\x1f\x8b"


def read_bytes(path: Path) -> bytes:
    """All bytes of a file, unpacked.

    Raises:
        EvaluationFileError: Where the file is not there, cut or empty.
    """
    with _opened(path) as file:
        data = file.read()
    if not data.strip():
        raise _empty(path)
    return data


def read_lines(path: Path, *, every_line_ends: bool = False) -> Iterator[tuple[int, str]]:
    r"""The lines of a UTF-8 file, blank ones too, without their ends (`\n` or `\r\n`), numbered from 1.

    Args:
        path: The file.
        every_line_ends: Whether the format has a line end behind the last line too, so that a file without
            one is cut.

    Raises:
        EvaluationFileError: Where the file is not there, cut, empty or no UTF-8 text.
    """
    is_empty = True
    with _opened(path) as file:
        for number, raw in enumerate(file, 1):
            if every_line_ends and not raw.endswith(b"\n"):
                raise EvaluationFileError(
                    f"{path}, line {number}: ends without a line end, so the file seems to be cut: get it "
                    "again, or add a line end where it is whole"
                )
            line = _decoded(raw.removesuffix(b"\n").removesuffix(b"\r"), path, number)
            is_empty = is_empty and not line.strip()
            yield number, line
    if is_empty:
        raise _empty(path)


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of one JSON object a line, and their lines' numbers; blank lines are left out.

    Raises:
        EvaluationFileError: Where the file is not there, cut or empty, or a line is no JSON object.
    """
    for number, line in read_lines(path):
        if line.strip():
            record = _parsed(line, f"{path}, line {number}")
            if not isinstance(record, dict):
                raise EvaluationFileError(
                    f"{path}, line {number}: not a JSON object but {_kind(record)}: give the official file, "
                    "which has one object a line"
                )
            yield number, record


def read_json(path: Path) -> Any:
    """The value of a file that is one JSON document.

    Raises:
        EvaluationFileError: Where the file is not there, cut, empty or not JSON.
    """
    lines = [line for _, line in read_lines(path)]
    return _parsed("\n".join(lines), str(path))


def text_of(record: dict[str, Any], name: str, where: str) -> str:
    """The text that a record has under a name.

    Args:
        record: An object out of JSON.
        name: The field's name.
        where: What an error says before all else: file and line, or record.

    Raises:
        EvaluationFileError: Where it has none, a blank one, or what is not text.
    """
    text = record.get(name)
    if not isinstance(text, str) or not text.strip():
        if name not in record:
            found = f"it has {', '.join(sorted(record)) or 'nothing'}"
        else:
            found = "it is blank" if isinstance(text, str) else f"it is {_kind(text)}"
        raise EvaluationFileError(f'{where}: no text under "{name}" ({found}): give the official file')
    return text


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    """The file's unpacked bytes; what goes wrong while they are read is an EvaluationFileError."""
    try:
        with path.open("rb") as head:
            is_packed = head.read(len(_GZIP)) == _GZIP
        with path.open("rb") as raw:
            yield gzip.GzipFile(fileobj=raw) if is_packed else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise EvaluationFileError(f"{path}: a cut or damaged gzip file ({error}): get it again") from error
    except OSError as error:
        raise EvaluationFileError(
            f"{path}: cannot be read ({error.strerror or error}): give the path of a file that is there"
        ) from error


def _decoded(raw: bytes, path: Path, number: int) -> str:
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise EvaluationFileError(
            f"{path}, line {number}: not UTF-8 text (byte {error.start + 1} of the line): where the file is "
            "an archive, unpack it first; else it may be cut or damaged: get it again"
        ) from error
    if "\0" in line:
        raise EvaluationFileError(f"{path}, line {number}: not text but binary: give the official text file")
    return line


def _parsed(text: str, where: str) -> Any:
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():  # half of a surrogate pair is no text that could be split into tokens
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
        raise EvaluationFileError(
            f"{where}: not JSON ({line}character {error.colno}: {error.msg}): the file may be cut or of "
            "another format: get the official file again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise EvaluationFileError(
            f"{where}: JSON that cannot be read ({error}): get the official file again"
        ) from error
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _empty(path: Path) -> EvaluationFileError:
    return EvaluationFileError(f"{path}: empty: get the official file again")
