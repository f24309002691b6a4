"""What a crawl has written stays: files cut or damaged anywhere, disks that are full, queues on disk."""

import io
import os
import random
import shutil
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from aiohttp import web
from fastwarc.warc import ArchiveIterator as FastIterator
from hypothesis import assume, given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from pipeline.config import FetchSettings
from pipeline.errors import RunError
from pipeline.fetch.backlog import Backlog
from pipeline.fetch.coding import CodingError, Decoder
from pipeline.fetch.plan import plan
from pipeline.fetch.spool import Line, OpenPart, begin, open_part, read_header
from pipeline.fetch.tries import Link
from pipeline.fetch.web import Group, crawl
from pipeline.stages import Job, Planned
from tests.pipeline_fetch_site import Site, make_job, page, serving

HOST = "a.example.com"
LINKS = [f"http://{HOST}/{name}" for name in ("page", "same", "gone", "moved", "last")]
PATHS = ["/page", "/same", "/gone", "/moved", "/there", "/last"]


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as served:
        yield served


def settings(site: Site, **values: Any) -> FetchSettings:
    usual = {"delay_s": 0.0, "tries": 1, "retry_wait_s": 0.0, "connections": 2, "resolve": site.resolve(HOST)}
    return FetchSettings(**{**usual, **values})


def go(job: Job) -> None:
    """Crawls what is left of a job."""
    crawl(job, Group(0, plan(job).parts))


def rows(job: Job, index: int = 0) -> list[dict[str, Any]]:
    table = job.folder.read_table(f"part-{index:05d}.ledger.parquet")
    return [dict(row) for row in table.to_pylist()]


def fill(site: Site) -> None:
    """Pages of every kind: with a body of its own, with another's, none, by way of another."""
    site.pages = {f"{HOST}/{name}": page(f"<p>{name}" + "x" * 40) for name in ("page", "there", "last")}
    site.pages[f"{HOST}/same"] = site.pages[f"{HOST}/page"]
    site.pages[f"{HOST}/moved"] = page(b"", 302, Location="/there")


def once_written(open_folder: Path, num_lines: int, then: Callable[[], None], body: str) -> Any:
    """A handler that waits until a part's journal has so many tries, and does something before it answers."""
    journal = open_folder / "part-00000.journal"

    async def handler(_: web.BaseRequest) -> web.Response:
        deadline = time.monotonic() + 10
        while journal.read_bytes().count(b"\n") < num_lines + 1:
            assert time.monotonic() < deadline
            time.sleep(0.001)  # noqa: ASYNC251 (nobody else is served meanwhile)
        then()
        return web.Response(text=body, content_type="text/html")

    return handler


@dataclass(frozen=True, slots=True)
class Stopped:
    """A part's files as they were when all but its last link had been asked for."""

    part: Planned
    warc: bytes
    journal: bytes
    lines: list[Line]

    def put(self, folder: Path, warc: bytes, journal: bytes) -> None:
        """Lays the files where a crawl looks for them."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "part-00000.warc.gz").write_bytes(warc)
        (folder / "part-00000.journal").write_bytes(journal)

    def num_before(self, position: int) -> int:
        """How many tries lie whole before a byte of the WARC file."""
        return sum(line.end <= position for line in self.lines)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    root, snapshot = tmp_path_factory.mktemp("stopped"), tmp_path_factory.mktemp("snapshot") / "open"
    folder = root / "pages" / "open"
    with serving(Site()) as site:
        fill(site)
        links = sorted(LINKS)
        copy = once_written(folder, len(links) - 1, lambda: _copy(folder, snapshot), "end")
        site.pages[f"{HOST}{links[-1].removeprefix(f'http://{HOST}')}"] = copy
        job = make_job(root, [LINKS], settings(site))
        go(job)
    part = plan(job).parts[0]
    lines = list(open_part(snapshot, part).lines())
    warc, journal = ((snapshot / f"part-00000.{kind}").read_bytes() for kind in ("warc.gz", "journal"))
    assert [line.entry.outcome for line in lines] == ["http_4xx", "fetched", "fetched", "fetched"]
    assert lines[-1].end == len(warc)
    return Stopped(part, warc, journal, lines)


def _copy(folder: Path, to: Path) -> None:
    shutil.copytree(folder, to)


def flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def is_left(folder: Path, stopped: Stopped, num_lines: int) -> None:
    """Opens what there is: so many tries are left, and the WARC file ends where the last of them says."""
    opened = open_part(folder, stopped.part)
    assert list(opened.lines()) == stopped.lines[:num_lines]
    end = stopped.lines[num_lines - 1].end if num_lines else 0
    assert opened.num_bytes == end
    assert opened.warc_path.read_bytes() == stopped.warc[:end]
    assert opened.header.fingerprint == stopped.part.fingerprint
    assert opened.header.base is opened.header.due is None


def test_a_part_whose_warc_is_cut_at_any_byte_keeps_the_tries_before(
    stopped: Stopped, tmp_path: Path
) -> None:
    for position in range(len(stopped.warc)):
        stopped.put(tmp_path, stopped.warc[:position], stopped.journal)
        is_left(tmp_path, stopped, stopped.num_before(position))


def test_a_part_whose_journal_is_cut_at_any_byte_keeps_the_whole_lines(
    stopped: Stopped, tmp_path: Path
) -> None:
    for position in range(len(stopped.journal)):
        stopped.put(tmp_path, stopped.warc, stopped.journal[:position])
        is_left(tmp_path, stopped, max(0, stopped.journal[:position].count(b"\n") - 1))


def test_a_damaged_byte_anywhere_costs_no_try_before_it(stopped: Stopped, tmp_path: Path) -> None:
    bits = random.Random(5)
    for position in range(0, len(stopped.warc), 11):
        stopped.put(tmp_path, flipped(stopped.warc, position, bits.randrange(8)), stopped.journal)
        is_left(tmp_path, stopped, stopped.num_before(position))
    for position in range(0, len(stopped.journal), 9):
        stopped.put(tmp_path, stopped.warc, flipped(stopped.journal, position, bits.randrange(8)))
        is_left(tmp_path, stopped, max(0, stopped.journal[:position].count(b"\n") - 1))


def test_any_damage_to_both_files_leaves_whole_tries(stopped: Stopped, tmp_path: Path) -> None:
    chance = random.Random(6)
    for _ in range(200):
        files = [bytearray(stopped.warc), bytearray(stopped.journal)]
        for data in files:
            start = chance.randrange(len(data))
            data[start : start + chance.randrange(200)] = chance.randbytes(chance.randrange(200))
        stopped.put(tmp_path, *map(bytes, files))
        opened = open_part(tmp_path, stopped.part)
        left = list(opened.lines())
        assert left == stopped.lines[: len(left)]
        assert opened.warc_path.read_bytes() == stopped.warc[: opened.num_bytes]


def read_whole(data: bytes, pages: set[str]) -> None:
    """Reads a WARC file with both readers; every page is in it once, with digests that hold."""
    theirs = []
    for record in ArchiveIterator(io.BytesIO(data), check_digests=True):
        kind = record.rec_type
        theirs.append((kind, record.rec_headers.get_header("WARC-Target-URI")))
        record.content_stream().read()
        assert kind == "revisit" or record.digest_checker.passed is not False
    others = [
        (one.headers["WARC-Type"], one.headers.get("WARC-Target-URI"))
        for one in FastIterator(io.BytesIO(data))
    ]
    assert theirs == others
    assert theirs[0][0] == "warcinfo"
    asked = [url for kind, url in theirs if kind in ("response", "revisit")]
    assert Counter(asked) == dict.fromkeys(pages, 1)


@pytest.mark.parametrize("file", ["warc", "journal"])
@pytest.mark.parametrize("eighth", [0, 2, 3, 5, 6, 8])
def test_a_crawl_goes_on_from_wherever_the_files_end(
    site: Site, stopped: Stopped, tmp_path: Path, file: str, eighth: int
) -> None:
    fill(site)
    job = make_job(tmp_path, [LINKS], settings(site))
    whole = stopped.warc if file == "warc" else stopped.journal
    cut = whole[: len(whole) * eighth // 8]
    folder = tmp_path / "pages" / "open"
    stopped.put(folder, *((cut, stopped.journal) if file == "warc" else (stopped.warc, cut)))
    known = {line.entry.url for line in open_part(folder, stopped.part).lines()}
    go(job)
    expected = [f"/{url.rpartition('/')[2]}" for url in sorted(LINKS) if url not in known]
    expected += ["/there"] if "/moved" in expected else []
    assert sorted(site.paths(HOST)) == sorted(["/robots.txt", *expected])
    found = rows(job)
    assert Counter(row["url"] for row in found) == dict.fromkeys(LINKS, 1)
    assert [row["url"].rpartition("/")[2] for row in found if row["outcome"] != "fetched"] == ["gone"]
    kept = {f"http://{HOST}{path}" for path in PATHS if path != "/gone"}
    read_whole(job.folder.read("part-00000.warc.gz"), kept)
    assert not list(folder.glob("part-*"))


def test_the_journal_of_other_settings_is_begun_anew(stopped: Stopped, tmp_path: Path) -> None:
    stopped.put(tmp_path, stopped.warc, stopped.journal)
    other = Planned(stopped.part.name, "another")
    opened = open_part(tmp_path, other)
    assert list(opened.lines()) == []
    assert (opened.num_bytes, opened.warc_path.read_bytes()) == (0, b"")
    header = read_header(tmp_path, other.name)
    assert header is not None
    assert header.fingerprint == "another"


def test_what_a_kill_leaves_between_the_warc_and_the_sidecar_is_not_asked_again(
    site: Site, tmp_path: Path
) -> None:
    fill(site)
    job = make_job(tmp_path, [LINKS], settings(site))
    blocked = tmp_path / "pages" / "part-00000.json"
    blocked.mkdir(parents=True)  # no file can take its place
    with pytest.raises(RunError, match=r"fetch stopped: .*run the same build again"):
        go(job)
    asked = len(site.log)
    blocked.rmdir()
    for name in job.folder.sizes():  # as a build does with files that no sidecar names
        job.folder.remove([name])
    go(job)
    assert len(site.log) == asked
    assert len(rows(job)) == len(LINKS)
    read_whole(
        job.folder.read("part-00000.warc.gz"), {f"http://{HOST}{path}" for path in PATHS if path != "/gone"}
    )
    assert not list((tmp_path / "pages" / "open").glob("part-*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("kind", ["warc.gz", "journal"])
def test_a_full_disk_stops_the_crawl_which_goes_on_once_there_is_room(
    site: Site, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "pages" / "open"
    file, aside = folder / f"part-00000.{kind}", tmp_path / "aside"

    def fill_disk() -> None:
        file.rename(aside)
        file.symlink_to("/dev/full")

    paths = [f"/{number}" for number in range(8)]
    site.pages = {f"{HOST}{path}": page(f"<p>{path}" + "y" * 20_000) for path in paths}
    site.pages[f"{HOST}/3"] = once_written(folder, 3, fill_disk, "<p>of a full disk")
    job = make_job(tmp_path, [[f"http://{HOST}{path}" for path in paths]], settings(site))
    with pytest.raises(RunError, match=r"No space left.*Make room, and run the same command again"):
        go(job)
    file.unlink()
    aside.rename(file)
    before = site.paths(HOST)
    site.pages[f"{HOST}/3"] = page("<p>of a disk with room")
    go(job)
    again = site.paths(HOST)[len(before) :]
    assert set(again).isdisjoint(["/0", "/1", "/2"])
    assert "/3" in again
    assert [row["outcome"] for row in rows(job)] == ["fetched"] * 8
    read_whole(job.folder.read("part-00000.warc.gz"), {f"http://{HOST}{path}" for path in paths})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "webtext-test", str(where)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_small_disk_that_grows(site: Site, small_disk: Path) -> None:
    words = random.Random(7)
    paths = [f"/{number}" for number in range(8)]
    site.pages = {f"{HOST}{path}": page("<p>" + words.randbytes(20_000).hex()) for path in paths}
    job = make_job(small_disk, [[f"http://{HOST}{path}" for path in paths]], settings(site))
    with pytest.raises(RunError, match=r"No space left.*Make room"):
        go(job)
    part = plan(job).parts[0]
    written = [
        line.entry.url.rpartition(HOST)[2] for line in open_part(small_disk / "pages/open", part).lines()
    ]
    before = len(site.log)
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    go(job)
    assert 0 < len(written) < len(paths)
    assert sorted(one.path for one in site.log[before:]) == sorted(["/robots.txt", *paths[len(written) :]])
    read_whole(job.folder.read("part-00000.warc.gz"), {f"http://{HOST}{path}" for path in paths})


# --- the backlog -------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["\n", '"', "\\", "x" * 16_384, "a\nb\r\n", "ü" * 5000, "\x00", "\u2028"]
)


@given(
    st.lists(st.dictionaries(texts, st.lists(texts, min_size=1, max_size=5), max_size=6), max_size=3),
    st.randoms(use_true_random=False),
)
def test_every_link_comes_out_once_and_the_longest_domain_first(
    tmp_path_factory: pytest.TempPathFactory, parts: list[dict[str, list[str]]], chance: random.Random
) -> None:
    path = tmp_path_factory.getbasetemp() / "backlog.ndjson"
    delays: dict[str, float] = {}
    expected = []
    with Backlog(path, lambda name: delays.setdefault(name, chance.randrange(4))) as backlog:
        for number, by_domain in enumerate(parts):
            taken = [
                (f"{number}-{index}-{place}", url, f"{domain}{number}")
                for index, (domain, urls) in enumerate(by_domain.items())
                for place, url in enumerate(urls)
            ]
            chance.shuffle(taken)
            schema = pa.schema([("id", pa.string()), ("url", pa.string()), ("domain", pa.string())])
            columns = [pa.array([row[field] for row in taken], pa.string()) for field in range(3)]
            settled = {row[0]: chance.choice([0, 2]) for row in taken if chance.random() < 0.3}
            links = [Link(number, *row, settled.get(row[0], 1)) for row in taken if settled.get(row[0], 1)]
            assert backlog.add(number, pa.Table.from_arrays(columns, schema=schema), None, settled) == len(
                links
            )
            expected += links
        backlog.order()
        found, seconds = [], []
        for start in backlog.starts():
            queue = backlog.open(start)
            links = [queue.take() for _ in range(queue.num_left)]
            assert queue.num_left == 0
            assert {link.domain for link in links} == {queue.domain}
            assert [link.url.encode() for link in links] == sorted(link.url.encode() for link in links)
            found += links
            seconds.append(len(links) * delays[queue.domain])
        assert sorted(found) == sorted(expected)
        assert seconds == sorted(seconds, reverse=True)
        assert backlog.num_links == len(found)
        assert backlog.longest_s == max(seconds, default=0.0)
    assert not path.exists()


def test_only_links_that_are_due_come_out_with_the_number_of_their_try(tmp_path: Path) -> None:
    links = pa.table({"id": list("abcd"), "url": list("wxyz"), "domain": ["one", "one", "two", "two"]})
    with Backlog(tmp_path / "backlog", lambda _: 1.0) as backlog:
        assert backlog.add(3, links, {"a": 2, "d": 5, "c": 3}, {"a": 4, "c": 0}) == 2
        backlog.order()
        queues = [backlog.open(start) for start in backlog.starts()]
        assert {queue.take() for queue in queues} == {
            Link(3, "a", "w", "one", 4),
            Link(3, "d", "z", "two", 5),
        }


def test_of_a_long_queue_memory_holds_little(tmp_path: Path) -> None:
    num = 20_000
    urls = pa.array([f"http://a.example.com/{number:06d}" for number in range(num)])
    links = pa.table({"id": urls, "url": urls, "domain": pa.array(["example.com"] * num)})
    with Backlog(tmp_path / "backlog", lambda _: 1.0) as backlog:
        backlog.add(0, links, None, {})
        backlog.order()
        (start,) = backlog.starts()
        queue = backlog.open(start)
        for number in range(num):
            assert queue.take().id.endswith(f"{number:06d}")
            assert sum(map(len, queue._lines)) + len(queue._rest) <= 8192


def test_an_open_part_is_made_where_there_is_none_and_taken_away(tmp_path: Path) -> None:
    part = Planned("part-00007", "digest")
    opened: OpenPart = open_part(tmp_path / "new" / "open", part)
    assert (opened.stem, opened.warc, list(opened.lines())) == ("part-00007", "part-00007.warc.gz", [])
    begin(Path(opened.folder), part.name, opened.header)
    opened.remove()
    assert list(Path(opened.folder).iterdir()) == []
    assert read_header(Path(opened.folder), part.name) is None


# --- content codings ---------------------------------------------------------------------------------------

WINDOWS = {"gzip": 31, "x-gzip": 31, "zlib": 15, "raw": -15}
bodies = st.binary(max_size=300) | st.builds(
    lambda piece, num: piece * num, st.binary(min_size=1, max_size=40), st.integers(1, 5000)
)


def packed(body: bytes, wrapping: str, level: int = 6) -> bytes:
    packer = zlib.compressobj(level, wbits=WINDOWS[wrapping])
    return packer.compress(body) + packer.flush()


def fed(coding: str, data: bytes, limit: int, cuts: list[int]) -> Decoder:
    """A decoder that has been given data in pieces, until it has had enough."""
    decoder = Decoder(coding, limit)
    places = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    for start, end in pairwise(places):
        decoder.feed(data[start:end])
        if decoder.truncated:
            break
    return decoder


cuts = st.lists(st.integers(0, 1 << 20), max_size=12)


@given(bodies, st.sampled_from(sorted(WINDOWS)), st.sampled_from([0, 1, 6, 9]), cuts, st.data())
def test_a_body_is_decoded_as_zlib_does_however_it_comes(
    body: bytes, wrapping: str, level: int, cuts: list[int], data: st.DataObject
) -> None:
    coded = packed(body, wrapping, level)
    limit = data.draw(st.integers(1, max(len(body), len(coded)) + 2))
    decoder = fed("deflate" if wrapping in ("zlib", "raw") else wrapping, coded, limit, cuts)
    oracle = zlib.decompressobj(WINDOWS[wrapping]).decompress(coded[:limit])
    if wrapping == "raw" and coded[0] & 0x0F == 8:
        return  # a bare stream that begins as zlib's format does is taken for that
    assert decoder.body == oracle[:limit]
    assert decoder.truncated == (len(body) > limit or len(coded) > limit)
    assert decoder.ended or decoder.truncated


@given(st.lists(bodies, min_size=1, max_size=4), cuts, st.binary(max_size=30), st.integers(0, 30_000))
def test_members_of_gzip_follow_each_other_and_rubbish_behind_them_is_left_out(
    members: list[bytes], cuts: list[int], rubbish: bytes, more: int
) -> None:
    if rubbish.startswith(b"\x1f"):
        rubbish = b"\n" + rubbish
    body, coded = b"".join(members), b"".join(packed(one, "gzip") for one in members)
    limit = len(coded) + len(rubbish) + more
    decoder = fed("gzip", coded + rubbish, limit, cuts)
    assert decoder.body == body[:limit]
    assert decoder.truncated == (len(body) > limit)
    assert decoder.ended or decoder.truncated


@given(bodies, st.sampled_from(sorted(WINDOWS)), st.binary(max_size=30), cuts)
def test_what_follows_a_single_stream_is_left_out(
    body: bytes, wrapping: str, rubbish: bytes, cuts: list[int]
) -> None:
    coded = packed(body, wrapping)
    assume(wrapping in ("zlib", "raw"))
    assume(wrapping == "zlib" or coded[0] & 0x0F != 8)
    decoder = fed("deflate", coded + rubbish, 1 << 20, cuts)
    assert (bytes(decoder.body), decoder.truncated, decoder.ended) == (body, False, True)


@given(bodies, st.sampled_from(sorted(WINDOWS)), st.integers(1, 1 << 20), cuts)
def test_a_stream_that_is_cut_has_not_ended(body: bytes, wrapping: str, cut: int, cuts: list[int]) -> None:
    coded = packed(body, wrapping)
    assume(wrapping != "raw" or coded[0] & 0x0F != 8)
    part = coded[: 1 + cut % (len(coded) - 1)]
    decoder = fed("deflate" if wrapping in ("zlib", "raw") else wrapping, part, 1 << 20, cuts)
    assert not decoder.ended
    assert body.startswith(decoder.body)


@given(st.sampled_from(["gzip", "x-gzip", "deflate", "identity", ""]), st.binary(max_size=200), cuts)
def test_rubbish_is_no_more_than_a_coding_error(coding: str, data: bytes, cuts: list[int]) -> None:
    try:
        decoder = fed(coding, data, 1000, cuts)
    except CodingError:
        assert coding not in ("identity", "")
        return
    assert len(decoder.body) <= 1000
    assert coding not in ("identity", "") or decoder.body == data
