"""fetch from WARC files at hand: real ones, odd ones, damaged ones."""

import gzip
import io
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator as FastIterator
from warcio.archiveiterator import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.config import FetchSettings
from pipeline.errors import InputError
from pipeline.fetch.captures import index_part
from pipeline.fetch.containers import Packing, Reader, scan
from pipeline.fetch.copies import copy_part
from pipeline.fetch.plan import plan
from pipeline.runs import Counts, read_sidecar
from tests.pipeline_fetch_site import build, ledger, make_job

MAX_BYTES = 5_000_000
HTML = (("Content-Type", "text/html"),)

# Of the odd files: how they are packed, how many responses they have, and where damage is met.
ODD = {
    "bad.arc": (None, 0, 3),
    "example-bad-non-chunked.warc.gz": (Packing.SOLID, 1, 0),
    "example-bad.warc.gz.bad": (Packing.SOLID, 2, 0),
    "example-digest.warc": (None, 0, 0),  # requests only
    "example-iana.org-chunked.warc": (Packing.PLAIN, 1, 0),
    "example-resource.warc.gz": (None, 0, 0),
    "example-space-in-target-uri.warc.gz": (None, 0, 0),
    "example-space-in-url.arc": (Packing.ARC, 1, 0),
    "example-trunc.warc": (Packing.PLAIN, 1, 1),
    "example-wget-bad-target-uri.warc.gz": (Packing.MEMBER, 1, 0),
    "example-wrong-chunks.warc.gz": (Packing.MEMBER, 1, 0),
    "example.arc": (Packing.ARC, 1, 0),
    "example.arc.gz": (Packing.ARC, 1, 0),
    "example.warc": (Packing.PLAIN, 1, 0),
    "example.warc.gz": (Packing.MEMBER, 1, 0),
    "post-test.warc.gz": (Packing.MEMBER, 3, 0),
    "whirlwind.warc.gz": (Packing.MEMBER, 1, 0),
}


def day(number: int) -> datetime:
    return datetime(2019, 12, number, tzinfo=UTC)


def write_warc(
    path: Path,
    captures: Sequence[tuple[str, datetime, str, Sequence[tuple[str, str]], bytes]],
    *,
    packed: bool = True,
) -> None:
    """A WARC file by warcio: URL, date, status line, header and body of each capture."""
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=packed)
        for url, date, status, headers, body in captures:
            record = writer.create_warc_record(
                url,
                "response",
                payload=io.BytesIO(body),
                length=len(body),
                warc_headers_dict={"WARC-Date": date.strftime("%Y-%m-%dT%H:%M:%SZ")},
                http_headers=StatusAndHeaders(status, list(headers), protocol="HTTP/1.1"),
            )
            writer.write_record(record)


def settings(*warcs: Path, max_bytes: int = MAX_BYTES) -> FetchSettings:
    return FetchSettings(source="warc", warcs=tuple(str(path) for path in warcs), max_bytes=max_bytes)


def test_real_pages_are_copied_as_they_are_and_twice_to_the_same_bytes(
    realdata: Path, tmp_path: Path
) -> None:
    source = realdata / "realweb" / "pages.warc.gz"
    links = list(json.loads((realdata / "realweb" / "expected.json").read_text())["pages"])
    bodies = {
        record.headers["WARC-Target-URI"]: record.reader.read()
        for record in FastIterator(io.BytesIO(source.read_bytes()))
    }
    parts = [links[0::3], links[1::3], links[2::3], []]
    job = make_job(tmp_path / "1", parts, settings(source))
    manifest = build(job)
    again = build(make_job(tmp_path / "2", parts, settings(source)))
    assert manifest.encode() == again.encode()
    assert manifest.counts == Counts(88, 88)
    assert (manifest.facts["pages"], manifest.facts["captures"], manifest.facts["damaged_records"]) == (
        88,
        88,
        0,
    )
    for index in range(3):
        whole = job.folder.read(f"part-{index:05}.warc.gz")
        for record in ArchiveIterator(io.BytesIO(whole), check_digests=True):
            record.raw_stream.read()
            assert record.digest_checker.passed is not False
        for url, row in ledger(job, index).items():
            one = next(FastIterator(io.BytesIO(whole[row["offset"] : row["offset"] + row["length"]])))
            assert one.reader.read() == bodies[url]
            assert (row["final_url"], row["status"], row["bytes"]) == (url, 200, len(bodies[url]))
        lines = job.folder.read(f"part-{index:05}.cdxj").decode().splitlines()
        assert len(lines) == len(parts[index])
        assert lines == sorted(lines)


def test_odd_files_are_read_as_far_as_they_can_be(realdata: Path) -> None:
    paths = sorted((realdata / "warc").iterdir())
    assert [path.name for path in paths] == sorted(ODD)
    with Reader() as reader:
        for path in paths:
            packing, num_found, num_damaged = ODD[path.name]
            result = scan(str(path))
            assert (len(result.found), result.num_damaged) == (num_found, num_damaged), path.name
            for found in result.found:
                assert found.packing == packing, path.name
                record = reader.read(str(path), found.packing, found.offset, found.length, MAX_BYTES)
                assert record is not None, path.name
                assert (record.url, record.date, record.response.status) == (
                    found.url,
                    found.date,
                    found.status,
                )
                assert record.response.body, path.name


def test_odd_files_are_copied_into_a_warc_that_others_read(realdata: Path, tmp_path: Path) -> None:
    links = ["http://www.iana.org/", "http://example.com/", "https://an.wikipedia.org/wiki/Escopete"]
    paths = sorted((realdata / "warc").iterdir())
    assert paths
    for path in paths:
        job = make_job(tmp_path / path.name, [links], settings(path))
        index, copy = plan(job).parts
        index_part(job, index)
        copy_part(job, copy, copy.spec["warcs"])
        records = ArchiveIterator(io.BytesIO(job.folder.read("part-00000.warc.gz")))
        urls = [
            record.rec_headers.get_header("WARC-Target-URI")
            for record in records
            if record.rec_type == "response"
        ]
        assert len(urls) == sum(row["outcome"] == "fetched" for row in ledger(job).values())
        expected = {url for url in (found.url for found in scan(str(path)).found) if url in links}
        assert set(urls) == expected, path.name
        sidecar = read_sidecar(job.folder, index.name)
        assert sidecar is not None
        assert sidecar.facts["damaged_records"] == ODD[path.name][2]


def test_damage_costs_the_damaged_record_alone(realdata: Path, tmp_path: Path) -> None:
    data = (realdata / "realweb" / "pages.warc.gz").read_bytes()
    starts = [record.stream_pos for record in FastIterator(io.BytesIO(data))]
    plain = gzip.decompress(data)
    plain_starts = [record.stream_pos for record in FastIterator(io.BytesIO(plain))]

    def flipped(source: bytes, at: int) -> bytes:
        return source[:at] + bytes([source[at] ^ 0xFF]) + source[at + 1 :]

    cases = {
        "body.warc.gz": (flipped(data, starts[5] + 3000), 87),
        "checksum.warc.gz": (flipped(data, starts[6] - 6), 87),
        "signature.warc.gz": (flipped(data, starts[5] + 1), 87),
        "two.warc.gz": (flipped(flipped(data, starts[5] + 3000), starts[9] + 3000), 86),
        "cut.warc.gz": (data[: starts[7] + 5000], 7),
        "signature.warc": (flipped(plain, plain_starts[5]), 87),
        "cut.warc": (plain[: plain_starts[7] + 500], 7),
        "whole.warc.gz": (gzip.compress(plain, 1)[:-2000], 87),
        "nothing.warc.gz": (b"", 0),
        "page.warc.gz": (b"<html>WARC/1.0", 0),
    }
    for name, (content, num_found) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        result = scan(str(path))
        num_damaged = {"two.warc.gz": 2, "nothing.warc.gz": 0}.get(name, 1)
        assert (len(result.found), result.num_damaged) == (num_found, num_damaged), name
        with Reader() as reader:
            for found in result.found[:10]:
                assert reader.read(str(path), found.packing, found.offset, found.length, MAX_BYTES), name


def test_no_bytes_make_the_reader_fail(realdata: Path, tmp_path: Path) -> None:
    rng = random.Random(5)
    path = tmp_path / "mutant"
    for name in ("example.warc.gz", "example.warc", "example.arc", "example-bad-non-chunked.warc.gz"):
        original = (realdata / "warc" / name).read_bytes()
        for _ in range(60):
            mutant = bytearray(original)
            for _ in range(rng.randint(1, 8)):
                mutant[rng.randrange(len(mutant))] = rng.randrange(256)
            path.write_bytes(mutant[: rng.randint(1, len(mutant))])
            with Reader() as reader:
                for found in scan(str(path)).found:
                    reader.read(str(path), found.packing, found.offset, found.length, 100)


def test_the_nearest_page_is_taken_and_redirects_are_followed(tmp_path: Path) -> None:
    site = "http://example.com"
    write_warc(
        tmp_path / "1.warc.gz",
        [
            (f"{site}/often", day(9), "200 OK", HTML, b"ninth"),
            (f"{site}/often", day(1), "404 Not Found", HTML, b"gone"),
            ("https://www.example.com/often?utm_source=x", day(4), "200 OK", HTML, b"fourth"),
            (f"{site}/old", day(2), "301 Moved", [("Location", "/new")], b""),
            ("http://example.org/", day(2), "302 Found", [("Location", f"{site}/old")], b""),
            (f"{site}/ring", day(2), "302 Found", [("Location", "/ring#here")], b""),
            (f"{site}/lost", day(2), "302 Found", [("Location", "/nowhere")], b""),
            (f"{site}/gone", day(2), "410 Gone", HTML, b"gone"),
            (f"{site}/image", day(2), "200 OK", [("Content-Type", "image/png")], b"\x89PNG"),
            (f"{site}/untyped", day(2), "200 OK", [], b"\x89PNG"),
            (f"{site}/noindex", day(2), "200 OK", [*HTML, ("X-Robots-Tag", "noindex")], b"no"),
            (f"{site}/long", day(2), "200 OK", HTML, b"x" * 2000),
        ],
    )
    write_warc(tmp_path / "2.warc", [(f"{site}/new", day(30), "200 OK", HTML, b"new")], packed=False)
    names = ["often", "old", "ring", "lost", "gone", "image", "untyped", "noindex", "long", "missing"]
    links = [f"{site}/{name}" for name in names]
    job = make_job(tmp_path, [links, ["http://example.org/"]], settings(tmp_path / "*.warc*", max_bytes=1000))
    manifest = build(job)
    rows = {url.rpartition("/")[2]: row for url, row in ledger(job).items()}
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "often": "fetched",
        "old": "fetched",
        "ring": "redirect_loop",
        "lost": "not_in_warc",
        "gone": "http_4xx",
        "image": "wrong_type",
        "untyped": "wrong_type",
        "noindex": "noindex",
        "long": "fetched",
        "missing": "not_in_warc",
    }
    assert rows["often"]["final_url"] == "https://www.example.com/often?utm_source=x"
    assert rows["often"]["fetched"] == day(4)
    assert rows["old"]["final_url"] == f"{site}/new"
    assert rows["lost"]["detail"] == f"redirected to {site}/nowhere"
    assert (rows["long"]["bytes"], rows["long"]["truncated"]) == (1000, True)
    assert rows["gone"]["status"] == 410
    (other,) = ledger(job, 1).values()
    assert (other["outcome"], other["final_url"]) == ("fetched", f"{site}/new")
    assert manifest.counts.kept == 4
    copied = list(FastIterator(io.BytesIO(job.folder.read("part-00001.warc.gz"))))
    assert [one.headers.get("WARC-Target-URI") for one in copied] == [
        None,
        "http://example.org/",
        f"{site}/old",
        f"{site}/new",
    ]


def test_parts_that_are_there_are_not_done_again(tmp_path: Path) -> None:
    write_warc(tmp_path / "1.warc.gz", [("http://example.com/a", day(1), "200 OK", HTML, b"a")])
    write_warc(tmp_path / "2.warc.gz", [("http://example.org/b", day(1), "200 OK", HTML, b"b")])
    job = make_job(
        tmp_path, [["http://example.com/a"], ["http://example.org/b"]], settings(tmp_path / "*.warc.gz")
    )
    manifest = build(job)
    pages = tmp_path / "pages"
    for name in ("manifest.json", "part-00001.json", "index-00000.json"):
        (pages / name).unlink()
    stood = {path.name: path.stat().st_mtime_ns for path in pages.iterdir()}
    assert build(job).encode() == manifest.encode()
    redone = {path.name for path in pages.iterdir() if path.stat().st_mtime_ns != stood.get(path.name)}
    assert redone == {
        "manifest.json",
        *(f"part-00001.{end}" for end in ("json", "warc.gz", "cdxj", "ledger.parquet")),
        "index-00000.json",
        "index-00000.parquet",
    }


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fetch\.warcs: nothing is at .*none\*\.warc"):
        plan(make_job(tmp_path, [["http://example.com/"]], settings(tmp_path / "none*.warc")))
