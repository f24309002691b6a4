"""Evaluation files, good and bad: each fault is one error that names the line."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluate.reading import read_bytes, read_json, read_json_lines, read_lines, text_of
from model.evaluate.task import EvaluationFileError


def file_of(folder: Path, data: bytes | str) -> Path:
    path = folder / "items"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def all_lines(path: Path) -> list[tuple[int, str]]:
    return list(read_lines(path))


def all_records(path: Path) -> list[tuple[int, dict[str, Any]]]:
    return list(read_json_lines(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lines_end_at_line_feeds_alone(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    text = "\ufeffone\r\n\n two\u2028still two\x0b\x85 \nthree"
    path = file_of(tmp_path, pack(text.encode()))
    assert all_lines(path) == [(1, "one"), (2, ""), (3, " two\u2028still two\x0b\x85 "), (4, "three")]


@given(records=st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=9)), min_size=1, max_size=4))
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("json")
    lines = file_of(folder, "\n\n".join(map(json.dumps, records)))
    assert all_records(lines) == [(2 * index + 1, record) for index, record in enumerate(records)]
    assert read_json(file_of(folder, json.dumps(records, indent=1, ensure_ascii=False))) == records


READERS = (read_bytes, all_lines, all_records, read_json)


@pytest.mark.parametrize("read", READERS)
def test_files_that_are_not_there_cut_or_empty(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(EvaluationFileError, match=r"none: cannot be read \(No such file"):
        read(tmp_path / "none")
    with pytest.raises(EvaluationFileError, match=r"cannot be read \(Is a directory\)"):
        read(tmp_path)
    for nothing in (b"", b"\n \n", gzip.compress(b"")):
        with pytest.raises(EvaluationFileError, match=r"items: empty: get"):
            read(file_of(tmp_path, nothing))
    packed = gzip.compress(b'{"text": "a whole line"}\n' * 9)
    damaged = packed[:14] + bytes([packed[14] ^ 255]) + packed[15:]
    for bad in (packed[:-9], packed[:5], damaged, packed[:-8] + bytes(8), packed + b"more"):
        with pytest.raises(EvaluationFileError, match=r"items: a cut or damaged gzip file .*: get it again"):
            read(file_of(tmp_path, bad))


@pytest.mark.parametrize("read", READERS[1:])
def test_bytes_that_are_no_text(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(EvaluationFileError, match=r"items, line 2: not UTF-8 text \(byte 3 of the line\)"):
        read(file_of(tmp_path, b"{}\n[ \xff]"))
    with pytest.raises(EvaluationFileError, match=r"items, line 3: not text but binary"):
        read(file_of(tmp_path, b"{}\n\n\0"))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"text": "cut in the mid', r"line 2: not JSON \(character 10: Unterminated string"),
        ('{"text": "one"} {"text": "two"}', r"line 2: not JSON \(character 17: Extra data"),
        ("plain text", "line 2: not JSON"),
        ("[1, 2]", "line 2: not a JSON object but a list"),
        ('"text"', "line 2: not a JSON object but text"),
        ("null", "line 2: not a JSON object but null"),
        ("3", "line 2: not a JSON object but a number"),
        ("[" * 200_000, "line 2: JSON that cannot be read"),
        ("1" * 5000, "line 2: JSON that cannot be read"),
        ('{"text": "\\uD83D"}', "line 2: JSON that cannot be read"),
    ],
)
def test_json_lines_with_a_fault(tmp_path: Path, line: str, fault: str) -> None:
    with pytest.raises(EvaluationFileError, match=fault):
        all_records(file_of(tmp_path, '{"text": "a \\ud83d\\ude00"}\n' + line + "\n"))


def test_last_line_of_a_format_whose_lines_all_end(tmp_path: Path) -> None:
    path = file_of(tmp_path, "one\ntwo\n")
    assert list(read_lines(path, every_line_ends=True)) == [(1, "one"), (2, "two")]
    with pytest.raises(EvaluationFileError, match="items, line 2: ends without a line end"):
        list(read_lines(file_of(tmp_path, "one\ntw"), every_line_ends=True))


def test_json_cut_in_the_middle(tmp_path: Path) -> None:
    whole = json.dumps({"data": [{"text": "one"}, {"text": "two"}]}, indent=1)
    with pytest.raises(EvaluationFileError, match=r"items: not JSON \(line 7, character 12: "):
        read_json(file_of(tmp_path, whole[: whole.index("two")]))


def test_text_of_a_record() -> None:
    assert text_of({"text": " a "}, "text", "here") == " a "
    faults: list[tuple[dict[str, Any], str]] = [
        ({"b": 1, "a": 2}, r"here, line 3: no text under \"text\" \(it has a, b\): give the official file"),
        ({}, "it has nothing"),
        ({"text": " "}, r"no text under \"text\" \(it is blank\)"),
        ({"text": True}, "true or false"),
        ({"text": {}}, "an object"),
    ]
    for record, fault in faults:
        with pytest.raises(EvaluationFileError, match=fault):
            text_of(record, "text", "here, line 3")
