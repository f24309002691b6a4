"""Files of entries: what is read of them, and what is said of what is wrong."""

from pathlib import Path

import pytest

from pipeline.config import UrlSettings
from pipeline.errors import InputError
from pipeline.remove.request import Kind, read_request
from pipeline.urls import parse

RULES = UrlSettings()
NAME = "0123456789abcdef" * 2


def write(folder: Path, data: bytes) -> Path:
    path = folder / "entries.txt"
    path.write_bytes(data)
    return path


def key(url: str) -> bytes:
    parsed = parse(url)
    assert parsed is not None
    return parsed.key


def test_entries_of_each_kind(tmp_path: Path) -> None:
    path = write(
        tmp_path, b"# ours\nhttps://a.example/1 # why\n\nhttps://a.example/1#again\nhttp://b.example\n"
    )
    request = read_request(Kind.URLS, path, RULES)
    assert set(request.keys) == {key("https://a.example/1"), key("https://b.example/")}
    assert request.places == [f"{path}, line 2", f"{path}, line 5"]
    path = write(tmp_path, b"Example.COM\nwww.example.org\n")
    assert set(read_request(Kind.DOMAINS, path, RULES).domains) == {"example.com", "www.example.org"}
    path = write(tmp_path, b"t3_abc\nt3_0\n")
    assert set(read_request(Kind.SUBMISSIONS, path, RULES).submissions) == {"abc", "0"}
    path = write(tmp_path, NAME.encode())
    assert set(read_request(Kind.DOCUMENTS, path, RULES).keys) == {bytes.fromhex(NAME)}


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbfhttps://a.example/\n", b"https://a.example/\r\n\r\n", b"https://a.example/"]
)
def test_as_other_systems_write_it(tmp_path: Path, data: bytes) -> None:
    assert set(read_request(Kind.URLS, write(tmp_path, data), RULES).keys) == {key("https://a.example/")}


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (Kind.URLS, b"", "has no entry"),
        (Kind.URLS, b"# nothing\n\n", "has no entry"),
        (Kind.URLS, b"https://a.example/\nexample.com\n", "line 2: 'example.com' is not a URL"),
        (Kind.URLS, b"ftp://a.example/\n", "line 1: "),
        (Kind.DOMAINS, b"https://a.example/\n", "is not a domain"),
        (Kind.DOMAINS, b"a.example/path\n", "is not a domain"),
        (Kind.DOMAINS, b"localhost\n", "is not a domain"),
        (Kind.SUBMISSIONS, b"abc\n", "is not a submission"),
        (Kind.SUBMISSIONS, b"t1_abc\n", "is not a submission"),
        (Kind.DOCUMENTS, NAME[:-1].encode(), "is not a document's id"),
        (Kind.DOCUMENTS, NAME.upper().encode(), "is not a document's id"),
        (Kind.URLS, b"\x89PNG\r\n\x1a\n\0\0", "line 1 is not UTF-8"),
        (Kind.URLS, b"\0" * 100, "is not a URL"),
        (Kind.URLS, b"https://a.example/" + b"x" * 1_000_000, "line 1: 'https://a.example/xxx"),
        (Kind.DOMAINS, b"x" * 1_000_000, "is not a domain"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, kind: Kind, data: bytes, message: str) -> None:
    with pytest.raises(InputError) as found:
        read_request(kind, write(tmp_path, data), RULES)
    assert message in str(found.value)
    assert len(str(found.value)) - len(str(tmp_path)) < 450


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        read_request(Kind.URLS, tmp_path / "none", RULES)
    with pytest.raises(InputError, match="is not a file"):
        read_request(Kind.URLS, tmp_path, RULES)
