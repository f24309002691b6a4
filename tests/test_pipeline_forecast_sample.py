"""Samples of sources: from all over them as far as they allow, unbiased, in a time that is given."""

import bz2
import gzip
import itertools
import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.collect import dumps
from pipeline.collect.dumps import Damaged, zstd
from pipeline.config import CollectSettings, RedditSettings
from pipeline.errors import InputError
from pipeline.forecast import blocks, sample
from pipeline.forecast.blocks import Block, estimate_lines, places, read_block
from pipeline.forecast.ranges import Range
from pipeline.forecast.sample import sample_sources

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".zst": zstd.compress,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some hundred kB are large, and are read in small pieces."""
    monkeypatch.setattr(blocks, "SMALL_BYTES", 20_000)
    monkeypatch.setattr(dumps, "_PACKED_BYTES", 512)  # xz holds back too much of less
    monkeypatch.setattr(dumps, "_UNPACKED_BYTES", 1_024)
    monkeypatch.setattr(blocks, "_WINDOW_BYTES", 20_000)


def row(draw: random.Random, number: int, *, padding: int) -> dict[str, object]:
    is_self = draw.random() < 0.6
    text = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz ", k=draw.randint(1, padding)))
    return {
        "id": f"{number:x}",
        "url": f"https://site{draw.randint(0, 30)}.example/{draw.randint(0, 5_000)}",
        "is_self": is_self,
        "over_18": False,
        "score": draw.randint(0, 9),
        "subreddit": "news",
        "created_utc": 1_560_000_000 + number,
        "selftext": text,
    }


def made_lines(seed: int, num: int, *, padding: int = 200, drift: float = 0.0) -> list[bytes]:
    """Rows whose texts grow by ``drift`` times from first to last."""
    draw = random.Random(seed)
    return [
        json.dumps(row(draw, n, padding=round(padding * (1 + drift * n / num)))).encode() for n in range(num)
    ]


def write(path: Path, lines: list[bytes], *, pieces: int = 1) -> Path:
    """Packs lines, as its name says, in so many frames."""
    packer = PACKERS[path.suffix if path.suffix in PACKERS else ""]
    cuts = np.linspace(0, len(lines), pieces + 1).astype(int)
    with path.open("wb") as file:
        for first, last in itertools.pairwise(cuts.tolist()):
            file.write(packer(b"".join(line + b"\n" for line in lines[first:last])))
    return path


def settings(*paths: Path, lists: tuple[Path, ...] = (), **more: object) -> CollectSettings:
    return CollectSettings.model_validate(
        {"dumps": tuple(map(str, paths)), "lists": tuple(map(str, lists)), **more}
    )


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_source_that_is_read_whole_is_counted(tmp_path: Path, suffix: str) -> None:
    lines = made_lines(1, 500)
    path = write(tmp_path / f"RS_2019-06{suffix}", lines, pieces=3 if suffix else 1)
    (found,) = sample_sources(settings(path), 60.0)
    is_self = [json.loads(line)["is_self"] for line in lines]
    assert found.is_whole
    assert found.rows == Range.exact(500)
    assert found.kept.num_rows == is_self.count(False)
    assert found.rejected == Counter({"self_post": is_self.count(True)})
    assert found.scale == 1.0


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("suffix", PACKERS)
def test_a_large_file_is_read_from_all_over_it_where_its_packing_allows(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"RS_2019-06{suffix}", made_lines(2, 9_000), pieces=60 if suffix else 1)
    starts = places(str(path))
    assert len(starts) > 8
    assert starts[0] == 0
    (found,) = sample_sources(settings(path), 0.0)
    assert found.num_places == len(starts)
    assert not found.is_whole
    assert 100 < found.num_rows < 9_000
    assert found.rows.low <= 9_000 <= found.rows.high
    assert found.rows.likely == pytest.approx(9_000, rel=0.15)
    numbers = [int(ident, 16) for ident in found.kept["id"].to_pylist()]
    assert max(numbers) > 7_500
    assert len(set(numbers)) == len(numbers)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("suffix", [".zst", ".gz", ".bz2", ".xz"])
def test_of_one_stream_there_is_the_beginning_alone(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"RS_2019-06{suffix}", made_lines(3, 6_000))
    assert path.stat().st_size > blocks.SMALL_BYTES
    assert places(str(path)) == [0]
    (found,) = sample_sources(settings(path), 0.0)
    assert found.num_places == 1
    if suffix != ".bz2":  # it gives its first line when most of so small a file is read
        assert found.num_rows < 6_000
    assert found.rows.low <= 6_000 <= found.rows.high


@pytest.mark.usefixtures("small")
def test_the_number_of_rows_and_the_kept_share_are_estimated_without_bias(tmp_path: Path) -> None:
    """Many made dumps, of whose rows the later ones are longer: what is wrong is wrong by chance."""
    errors, shares, held = [], [], []
    for seed in range(30):
        lines = made_lines(seed, 1_000, drift=1.0)
        path = write(tmp_path / f"RS_{seed}", lines)
        (found,) = sample_sources(settings(path), 0.0)
        truth = sum(not json.loads(line)["is_self"] for line in lines)
        errors.append(found.rows.likely / len(lines) - 1)
        shares.append(found.kept.num_rows * found.scale / truth - 1)
        held.append(found.rows.low <= len(lines) <= found.rows.high)
        path.unlink()
    assert abs(np.mean(errors)) < 0.01
    assert abs(np.mean(shares)) < 0.02
    assert np.mean(held) > 0.85


@pytest.mark.usefixtures("small")
def test_lines_are_whole_and_given_once(tmp_path: Path) -> None:
    lines = made_lines(5, 800)
    path = write(tmp_path / "RS_plain", lines)
    size = path.stat().st_size
    got = []
    at_a_line = sum(len(line) + 1 for line in lines[:300])
    for start, end in itertools.pairwise((0, at_a_line, size // 2, size // 2 + 1, size + 1)):
        block = Block(start)
        some = list(read_block(str(path), block, end, float("inf")))
        assert block.to_the_end
        assert block.lines == len(some)
        assert block.num_bytes == sum(len(line) + 1 for line in some)
        got += some
    assert got == lines


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("suffix", PACKERS)
def test_a_large_file_is_read_whole_where_time_allows(tmp_path: Path, suffix: str) -> None:
    lines = made_lines(12, 4_000)
    path = write(tmp_path / f"RS_2019-06{suffix}", lines, pieces=60 if suffix else 1)
    (found,) = sample_sources(settings(path), 60.0)
    assert found.num_places > 8
    assert found.rows == Range.exact(4_000)
    assert found.is_whole
    outward = [one["id"] for one in map(json.loads, lines) if not one["is_self"]]
    assert found.kept["id"].to_pylist() == outward


def test_several_sources_are_weighted_and_lists_and_tables_read(tmp_path: Path) -> None:
    dump = write(tmp_path / "RS_2019-06.zst", made_lines(6, 50))
    (tmp_path / "RS_2011-01.goodlinks.txt").write_text(
        "# a remark\nhttps://a.example/1\n\nhttps://b.example/2\n"
    )
    rows = [json.loads(line) for line in made_lines(7, 40)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "RS_2019-08.parquet")
    csv = "id,url,score,subreddit,created_utc,is_self\na,https://c.example/3,5,news,1560000000,False\n"
    (tmp_path / "RS_2019-09.csv").write_text(csv)
    found = sample_sources(
        settings(
            dump,
            tmp_path / "RS_2019-08.parquet",
            tmp_path / "RS_2019-09.csv",
            lists=(tmp_path / "RS_2011-01.goodlinks.txt",),
        ),
        60.0,
    )
    assert [one.num_rows for one in found] == [50, 40, 1, 3]  # a blank line is a row that is none
    assert [one.is_whole for one in found] == [True] * 4
    assert found[3].kept["domain"].to_pylist() == ["a.example", "b.example"]
    assert found[3].kept["score"].to_pylist() == [3, 3]
    assert found[2].kept["domain"].to_pylist() == ["c.example"]


def test_a_parquet_table_tells_its_rows(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in made_lines(8, 3_000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "RS_2019-08.parquet")
    (found,) = sample_sources(settings(tmp_path / "RS_2019-08.parquet"), -1.0)
    assert found.num_rows == 1_000
    assert found.rows == Range.exact(3_000)
    assert not found.is_whole
    assert found.scale == 3.0


def test_what_cannot_be_planned_with_says_why(tmp_path: Path) -> None:
    empty = tmp_path / "RS_empty"
    empty.touch()
    packed_empty = write(tmp_path / "RS_packed_empty.gz", [])
    comments = write(tmp_path / "RS_really_comments", [b'{"body": "no", "link_id": "t3_a"}'])
    selfish = write(tmp_path / "RS_self", [json.dumps({"is_self": True, "id": "a"}).encode()] * 3)
    whole = write(tmp_path / "RS_2019-06.gz", made_lines(9, 2_000)).read_bytes()
    cut = tmp_path / "RS_cut.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    for path, said in (
        (empty, "is empty: fetch it again"),
        (packed_empty, "has no rows"),
        (comments, "holds comments"),
        (selfish, r"none of the 3 rows that were read points outward \(self_post 3\)"),
        (cut, "is damaged near its beginning"),
        (tmp_path / "nowhere", "nothing is at"),
    ):
        with pytest.raises(InputError, match=said):
            sample_sources(settings(path), 60.0)
    with pytest.raises(InputError, match="names no file"):
        sample_sources(CollectSettings(), 60.0)
    with pytest.raises(InputError, match="cannot be sampled"):
        sample_sources(
            CollectSettings(reddit=RedditSettings(subreddits=("news",), dump=str(tmp_path / "r.zst"))), 60.0
        )
    (kept,) = sample_sources(settings(cut, on_damage="keep"), 60.0)
    assert kept.is_whole
    assert 500 < kept.num_rows < 1_500
    assert list(kept.damages) == [0]


def test_what_reddit_has_answered_is_read(tmp_path: Path) -> None:
    dump = write(tmp_path / "reddit.zst", made_lines(10, 20))
    (found,) = sample_sources(
        CollectSettings(reddit=RedditSettings(subreddits=("news",), dump=str(dump))), 60.0
    )
    assert found.num_rows == 20


@pytest.mark.usefixtures("small")
def test_damage_that_was_not_met_is_not_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "RS_2019-06.gz", made_lines(11, 9_000), pieces=40)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3_000] = bytes(3_000)
    path.write_bytes(bytes(data))
    (found,) = sample_sources(settings(path), 0.0)
    assert not found.damages
    assert found.rows.likely == pytest.approx(9_000, rel=0.25)
    with pytest.raises(Damaged):
        list(read_block(str(path), Block(0), len(data), float("inf")))


def damaged(path: Path, frame: int, *, after: int) -> list[bytes]:
    """Forty frames, one of which holds rubbish behind so many of its bytes; all of the lines."""
    lines = made_lines(11, 9_000)
    write(path, lines, pieces=40)
    data = path.read_bytes()
    starts = [match.start() for match in re.finditer(rb"\x1f\x8b\x08\x00\x00\x00\x00\x00", data)]
    assert len(starts) == 40
    first = starts[frame] + after
    path.write_bytes(data[:first] + bytes(2_000) + data[first + 2_000 :])
    return lines


@pytest.mark.usefixtures("small")
def test_behind_damage_at_the_beginning_nothing_counts(tmp_path: Path) -> None:
    lines = damaged(tmp_path / "RS_2019-06.gz", 0, after=4_000)
    assert len(places(str(tmp_path / "RS_2019-06.gz"))) > 8
    (found,) = sample_sources(settings(tmp_path / "RS_2019-06.gz", on_damage="keep"), 60.0)
    assert list(found.damages) == [0]
    assert found.num_places == 1
    assert found.is_whole
    assert 20 < found.num_rows < len(lines) / 40
    with pytest.raises(InputError, match="is damaged near its beginning"):
        sample_sources(settings(tmp_path / "RS_2019-06.gz"), 60.0)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("after", [1_500, 6_000])
def test_damage_at_a_later_place_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """With the packed bytes read in large pieces, a place may tell no ratio of lines to them."""
    path = tmp_path / "RS_2019-06.gz"
    damaged(path, 20, after=after)
    monkeypatch.setattr(dumps, "_PACKED_BYTES", 10_000)
    frames = [match.start() for match in re.finditer(rb"\x1f\x8b\x08\x00\x00", path.read_bytes())]
    monkeypatch.setattr(sample, "places", lambda _: frames)
    (found,) = sample_sources(settings(path, on_damage="keep"), 60.0)
    assert list(found.damages) == [frames[20]]
    assert not found.is_whole
    assert found.rows.likely == pytest.approx(9_000, rel=0.1)


def test_a_block_with_one_mark_tells_no_ratio() -> None:
    """Damage in the first packed piece behind a place, after some lines."""
    told = [Block(0, 10, 100, True, [(0, 0), (50, 100)]), Block(50, 10, 100, True, [(0, 0), (50, 100)])]
    found = estimate_lines([*told, Block(100, 3, 30, False, [(0, 0)])], 150)
    assert found.likely == pytest.approx(30)
    assert not found.is_exact


def test_lines_of_a_file_that_was_read_to_its_end_are_exact() -> None:
    assert estimate_lines([Block(0, 7, 70, True, [(0, 0), (70, 70)])], 70) == Range.exact(7)
