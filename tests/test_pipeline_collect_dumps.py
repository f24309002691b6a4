"""Dumps as lines: every packing, lines and characters cut anywhere, damage of every kind."""

import bz2
import gzip
import lzma
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collect import beside, dumps
from pipeline.collect.dumps import Damaged, open_unpacked, read_lines, unpack, zstd
from pipeline.records import Reason

ZSTD_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.window_log: 27,
    zstd.CompressionParameter.checksum_flag: 1,
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".zst": lambda data: zstd.compress(data, options=ZSTD_OPTIONS),
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
}
LINES = [f'{{"n": {n}, "text": "ein Straßenname 字 {n}"}}'.encode() for n in range(50)] + [b"", b"end"]


def write(folder: Path, suffix: str, content: bytes) -> str:
    path = folder / f"RS_2019-01{suffix}"
    path.write_bytes(content)
    return str(path)


def until_damage(path: str) -> tuple[list[bytes | Reason], Damaged]:
    lines: list[bytes | Reason] = []
    with pytest.raises(Damaged) as caught:
        lines.extend(read_lines(path))  # extend keeps what came before
    return lines, caught.value


@pytest.mark.parametrize("suffix", ["", *PACKERS])
@pytest.mark.parametrize("size", [1, 7, 1 << 18])
def test_lines_survive_every_packing_and_chunk_boundary(
    tmp_path: Path, suffix: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumps, "_UNPACKED_BYTES", size)  # cuts lines and characters everywhere
    monkeypatch.setattr(dumps, "_PACKED_BYTES", size)
    pack = PACKERS.get(suffix, bytes)
    assert list(read_lines(write(tmp_path, suffix, pack(b"\n".join(LINES))))) == LINES


@given(content=st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\xc3\xa4", b"\0"])), size=st.integers(1, 9))
def test_lines_are_those_of_a_plain_split(
    tmp_path_factory: pytest.TempPathFactory, content: list[bytes], size: int
) -> None:
    whole = b"".join(content)
    expected = whole.split(b"\n")
    if not expected[-1]:
        expected.pop()
    path = write(tmp_path_factory.mktemp("dump"), "", whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dumps, "_UNPACKED_BYTES", size)
        assert list(read_lines(path)) == expected


def test_the_long_window_of_the_monthly_dumps(tmp_path: Path) -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 31,
        zstd.CompressionParameter.compression_level: 1,
    }
    packed = zstd.compress(b"\n".join(LINES), options=options)
    assert list(read_lines(write(tmp_path, ".zst", packed))) == LINES


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("padding", [b"", b"\0" * 512])
def test_several_frames_are_one_dump(tmp_path: Path, suffix: str, padding: bytes) -> None:
    pack = PACKERS[suffix]
    path = write(tmp_path, suffix, pack(b"one\ntw") + pack(b"") + pack(b"o\nthree\n") + padding)
    assert list(read_lines(path)) == [b"one", b"two", b"three"]


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_dump_that_is_cut_off_gives_all_that_can_be_unpacked(tmp_path: Path, suffix: str) -> None:
    content = numbered_lines(200_000)
    packed = PACKERS[suffix](content)
    lines, damaged = until_damage(write(tmp_path, suffix, packed[: len(packed) // 2]))
    assert damaged.offset is not None
    assert damaged.offset > len(content) // 4
    assert lines == content[: damaged.offset].split(b"\n")[:-1]
    assert damaged.cause == "it ends in the middle"


@pytest.mark.parametrize("suffix", PACKERS)
def test_corruption_costs_nothing_before_it(tmp_path: Path, suffix: str) -> None:
    """The oracle is the same archive taken byte by byte from the start."""
    content = numbered_lines(60_000)
    packed = bytearray(PACKERS[suffix](content))
    middle = len(packed) // 2
    packed[middle : middle + 200] = b"\xff" * 200
    path = write(tmp_path, suffix, bytes(packed))
    lines, damaged = until_damage(path)
    chunks: list[bytes] = []
    with Path(path).open("rb") as file, pytest.raises(Damaged):
        chunks.extend(dumps.unpack_file(file, suffix, careful_from=0))
    slowly = b"".join(chunks)
    assert damaged.offset is not None
    assert damaged.offset >= len(slowly) > 0
    assert lines == slowly.split(b"\n")[: len(lines)]
    assert len(lines) == slowly.count(b"\n")


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("content", [b"", b"this is no archive at all", b"\0" * 100])
def test_what_is_no_archive_is_damaged_from_the_start(tmp_path: Path, suffix: str, content: bytes) -> None:
    lines, damaged = until_damage(write(tmp_path, suffix, content))
    assert (lines, damaged.offset) == ([], 0)


def test_a_line_that_is_too_long_is_told_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumps, "_MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(dumps, "_UNPACKED_BYTES", 300)
    long = b"x" * 5000
    path = write(tmp_path, "", b"\n".join([b"a", long, b"b", long, long, b"c", long]))
    too_long = Reason.LINE_TOO_LONG
    assert list(read_lines(path)) == [b"a", too_long, b"b", too_long, too_long, b"c", too_long]


def test_a_reader_that_is_left_early_leaves_no_thread(tmp_path: Path) -> None:
    path = write(tmp_path, ".gz", gzip.compress(b"line\n" * 2_000_000))
    lines = read_lines(path)
    assert next(lines) == b"line"
    assert any(thread.name == "unpack" for thread in threading.enumerate())
    lines.close()
    assert not any(thread.name == "unpack" for thread in threading.enumerate())


@pytest.mark.parametrize("suffix", ["", *PACKERS])
def test_as_a_file_it_reads_the_same(tmp_path: Path, suffix: str) -> None:
    content = b"\n".join(LINES) * 1000
    path = write(tmp_path, suffix, PACKERS.get(suffix, bytes)(content))
    with open_unpacked(path) as file:
        assert file.read() == content
    assert b"".join(unpack(path)) == content


def numbered_lines(num_lines: int) -> bytes:
    return b"\n".join(b"%d %x" % (n, n * n * 0x9E3779B97F4A7C15 % (1 << 64)) for n in range(num_lines))


@pytest.mark.skipif(not beside.CAN_SHARE, reason="this system has no memory that is shared by descriptor")
@pytest.mark.parametrize("num_frames", [1, 3])
def test_a_process_beside_unpacks_the_same(tmp_path: Path, num_frames: int) -> None:
    content = numbered_lines(100_000)
    path = write(tmp_path, ".zst", zstd.compress(content) * num_frames)
    assert b"".join(beside.unpack_beside(path)) == content * num_frames


@pytest.mark.skipif(not beside.CAN_SHARE, reason="this system has no memory that is shared by descriptor")
@pytest.mark.parametrize("damage", ["cut", "cut in the header", "corrupt", "garbage behind", "none"])
def test_with_a_process_beside_the_answer_is_that_without(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = zstd.compress(numbered_lines(100_000), options=ZSTD_OPTIONS)
    middle = len(packed) // 2
    content = {
        "cut": packed[:middle],
        "cut in the header": packed + packed[:5],
        "corrupt": packed[:middle] + b"\xff" * 200 + packed[middle + 200 :],
        "garbage behind": packed + b"\xff" * 50,
        "none": packed,
    }[damage]
    path = write(tmp_path, ".zst", content)

    def answer() -> tuple[list[bytes | Reason], int | None]:
        lines: list[bytes | Reason] = []
        try:
            lines.extend(read_lines(path))
        except Damaged as damaged:
            return lines, damaged.offset
        return lines, None

    without = answer()
    monkeypatch.setattr(dumps, "_WORTH_A_PROCESS_BYTES", 0)
    assert answer() == without
    assert (without[1] is None) == (damage == "none")


@pytest.mark.skipif(not beside.CAN_SHARE, reason="this system has no memory that is shared by descriptor")
def test_the_process_beside_may_be_killed_and_is_ended_with_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumps, "_WORTH_A_PROCESS_BYTES", 0)
    started: list[subprocess.Popen[bytes]] = []

    class Remembered(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Remembered)
    content = numbered_lines(200_000)
    path = write(tmp_path, ".zst", zstd.compress(content))
    lines = read_lines(path)
    found = [next(lines)]
    started[0].kill()
    assert found + list(lines) == content.split(b"\n")
    lines = read_lines(path)
    next(lines)
    lines.close()
    assert [one.poll() is None for one in started] == [False, False]
