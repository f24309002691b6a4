"""WARC files without some links' records: all others in their places, and every reader can read them."""

import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator as WarcioIterator

from pipeline.config import FetchSettings
from pipeline.extract.responses import Response, read_response
from pipeline.remove.filler import fill
from pipeline.remove.pages import read_records
from pipeline.remove.rewrite import Gone, Rewriting, pages_part
from pipeline.runs import Folder, Manifest
from tests.pipeline_fetch_site import Site, build, ledger, make_job, page, redirect, serving
from tests.removal_run import unpacked

DATE = "2020-01-02T03:04:05.678901Z"


def read_with_both(data: bytes) -> list[tuple[str, str, int]]:
    """Type, id and length of the block of every record: warcio and fastwarc agree."""
    fast = [
        (record.record_id, len(record.reader.read()))
        for record in ArchiveIterator(io.BytesIO(data), parse_http=False)
    ]
    slow = [
        (
            record.rec_type,
            (record.rec_headers.get_header("WARC-Record-ID") or "").strip("<>"),
            len(record.raw_stream.read()),
        )
        for record in WarcioIterator(io.BytesIO(data), no_record_parse=True)
    ]
    assert [((name or "").strip("<>"), size) for name, size in fast] == [row[1:] for row in slow]
    return slow


@given(st.integers(150, 3000) | st.integers(65_000, 66_500) | st.integers(130_000, 132_000))
def test_a_filler_has_any_length(length: int) -> None:
    member = fill(length, f"a {length}", DATE)
    assert len(member) == length
    assert gzip.decompress(member).startswith(b"WARC/1.1\r\nWARC-Type: metadata\r\n")
    (first, second) = read_with_both(member + fill(200, "another", DATE))
    assert first[0] == second[0] == "metadata"


def test_a_large_filler() -> None:
    member = fill(5_000_000, "large", DATE)
    assert len(member) == 5_000_000
    assert len(read_with_both(member)) == 1


def test_fillers_are_the_same_again_and_have_ids_of_their_own() -> None:
    assert fill(900, "a", DATE) == fill(900, "a", DATE)
    assert read_with_both(fill(900, "a", DATE))[0][1] != read_with_both(fill(900, "b", DATE))[0][1]


@pytest.mark.parametrize("length", [0, 18, 100])
def test_no_record_is_so_short(length: int) -> None:
    with pytest.raises(ValueError, match="as short as"):
        fill(length, "a", DATE)


A, B, C, D = (f"http://{name}.example/" for name in ("a", "b", "c", "d"))


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, Manifest, dict[str, dict[str, Any]]]:
    """A part that was fetched from a site: a chain of redirects, a page said twice, others, a failure."""
    site = Site()
    site.pages |= {
        "a.example/": redirect("http://a.example/two"),
        "a.example/two": redirect("http://b.example/page"),
        "b.example/page": page(f"<html><p>{'alpha ' * 50}</p></html>"),
        "b.example/": page("<html><p>beta beta beta</p></html>"),
        "c.example/": page("<html><p>gamma gamma</p></html>"),
        "d.example/": page("<html><p>gamma gamma</p></html>"),
    }
    with serving(site):
        hosts = ("a.example", "b.example", "c.example", "d.example", "e.example")
        settings = FetchSettings(resolve=site.resolve(*hosts), delay_s=0, ports=(80, 443, site.port))
        job = make_job(tmp_path_factory.mktemp("crawled"), [[A, B, C, D, "http://e.example/none"]], settings)
        manifest = build(job)
    return job.folder, manifest, ledger(job)


def without(
    crawled: tuple[Folder, Manifest, dict[str, dict[str, Any]]], after: Path, *urls: str
) -> tuple[Folder, Any]:
    folder, manifest, rows = crawled
    ids = [rows[url]["id"] for url in urls]
    job = Rewriting(folder, Folder(str(after)), Gone(pa.array(ids, pa.string()), frozenset(), frozenset()))
    (part,) = manifest.parts
    return Folder(str(after)), pages_part(job, part)


@pytest.mark.parametrize(
    ("urls", "gone"),
    [
        ((A,), (b"alpha", b"a.example")),
        ((B,), (b"beta",)),
        ((C, D), (b"gamma", b"c.example", b"d.example")),
        ((A, B, C, D), (b"alpha", b"beta", b"gamma", b".example")),
    ],
)
def test_a_link_goes_with_its_redirects_and_requests(
    crawled: tuple[Folder, Manifest, dict[str, dict[str, Any]]],
    tmp_path: Path,
    urls: tuple[str, ...],
    gone: tuple[bytes, ...],
) -> None:
    folder, _, rows = crawled
    after, part = without(crawled, tmp_path / "after", *urls)
    name = "part-00000.warc.gz"
    before, data = folder.read(name), after.read(name)
    assert len(data) == len(before)
    text = unpacked(data)
    assert not [word for word in gone if word in text]
    assert len(read_with_both(data)) == len(read_with_both(before)) == part.file(".warc.gz").rows
    kept = [row for url, row in rows.items() if url not in urls and row["warc"]]
    with after.open(name) as stream:
        for row in kept:
            place = slice(row["offset"], row["offset"] + row["length"])
            assert data[place] == before[place]
            assert isinstance(read_response(stream, row["offset"], row["length"], 1000), Response)
    assert part.counts.kept == part.facts["pages"] == len(kept)
    assert part.facts["bytes"] == sum(row["bytes"] for row in kept)
    assert part.counts.rejected == {"dns": 1} or sum(part.counts.rejected.values()) == 1
    index = after.read("part-00000.cdxj").splitlines()
    offsets = {record.offset for record in read_records(after, name)}
    assert {int(json.loads(line.split(b" ", 2)[2])["offset"]) for line in index} <= offsets
    assert not [line for line in index if any(word in line for word in gone if b"." in word)]


def test_other_links_records_stay_byte_for_byte(
    crawled: tuple[Folder, Manifest, dict[str, dict[str, Any]]], tmp_path: Path
) -> None:
    folder, _, _ = crawled
    after, _ = without(crawled, tmp_path / "after", B)
    name = "part-00000.warc.gz"
    before, data = folder.read(name), after.read(name)
    records = read_records(folder, name)
    changed = [
        one for one in records if data[one.offset :][: one.length] != before[one.offset :][: one.length]
    ]
    assert {one.url for one in changed} == {B}
    kinds = [WarcRecordType.response, WarcRecordType.request, WarcRecordType.metadata]
    assert [one.kind for one in changed] == kinds


def test_places_are_those_of_the_ledger(
    crawled: tuple[Folder, Manifest, dict[str, dict[str, Any]]],
) -> None:
    folder, _, rows = crawled
    places = {(one.offset, one.length) for one in read_records(folder, "part-00000.warc.gz")}
    assert {(row["offset"], row["length"]) for row in rows.values() if row["warc"]} <= places


def test_nothing_goes_where_no_link_does(
    crawled: tuple[Folder, Manifest, dict[str, dict[str, Any]]], tmp_path: Path
) -> None:
    folder, manifest, _ = crawled
    gone = Gone(pa.array(["f" * 32]), frozenset(), frozenset())
    (part,) = manifest.parts
    assert pages_part(Rewriting(folder, Folder(str(tmp_path / "after")), gone), part) == part
    assert not (tmp_path / "after").exists()
    assert zlib.crc32(folder.read("part-00000.warc.gz"))
