"""fetch from collections that are given by their CDXJ index."""

import io
import json
import random
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fastwarc.warc import ArchiveIterator as FastIterator
from fastwarc.warc import WarcRecordType
from warcio.archiveiterator import ArchiveIterator

from pipeline.config import FetchSettings
from pipeline.errors import InputError
from pipeline.fetch.captures import index_part
from pipeline.fetch.cdxj import encode, line
from pipeline.fetch.containers import Packing, packing_of, scan
from pipeline.fetch.copies import copy_part
from pipeline.fetch.exchange import Exchange, Headers, Response, Timings
from pipeline.fetch.indexes import read_index, source_digest, source_files
from pipeline.fetch.plan import plan
from pipeline.fetch.warc import WarcSink
from pipeline.runs import read_sidecar
from pipeline.stages import Job
from tests.pipeline_fetch_site import ledger, make_job
from tests.test_pipeline_fetch_warc import HTML, day, write_warc

SITE = "http://example.com"


def settings(*paths: Path) -> FetchSettings:
    return FetchSettings(source="warc", warcs=tuple(str(path) for path in paths))


def done(job: Job) -> Job:
    """The job with all its parts done, without Beam."""
    for part in plan(job).parts:
        if "warc" in part.spec:
            index_part(job, part)
        else:
            copy_part(job, part, part.spec["warcs"])
    return job


def rows(job: Job, num_parts: int = 1) -> dict[str, dict[str, Any]]:
    """The ledger of all parts, by URL; where a page stands is another in every run."""
    found = {url: row for index in range(num_parts) for url, row in ledger(job, index).items()}
    return {url: {**row, "offset": None, "length": None} for url, row in found.items()}


def bodies(job: Job, index: int = 0) -> dict[str, bytes]:
    """A part's pages as others read them, each by the ledger's place."""
    whole = job.folder.read(f"part-{index:05}.warc.gz")
    for record in ArchiveIterator(io.BytesIO(whole), check_digests=True):
        record.raw_stream.read()
        assert record.digest_checker.passed is not False
    found = {}
    for url, row in ledger(job, index).items():
        if row["outcome"] == "fetched":
            one = next(FastIterator(io.BytesIO(whole[row["offset"] : row["offset"] + row["length"]])))
            assert one.record_type == WarcRecordType.response
            assert one.headers["WARC-Target-URI"] == row["final_url"]
            found[url] = one.reader.read()
    return found


def facts(job: Job) -> tuple[int, int]:
    """How many captures the first index has, and how many lines were damaged."""
    sidecar = read_sidecar(job.folder, "index-00000")
    assert sidecar is not None
    return sidecar.facts["captures"], sidecar.facts["damaged_records"]


def index_of(path: Path, *, filename: str | None = None) -> list[str]:
    """The CDXJ lines of a WARC file, as pywb would write them."""
    return [
        line(
            found.url,
            found.date,
            status=found.status,
            content_type=found.content_type,
            digest="sha1:" + "A" * 32,
            offset=found.offset,
            length=found.length,
            filename=filename or path.name,
        )
        for found in scan(str(path)).found
    ]


def write_index(path: Path, lines: Iterable[str]) -> Path:
    path.write_bytes(encode(list(lines)))
    return path


def test_a_runs_own_index_gives_the_same_pages(realdata: Path, tmp_path: Path) -> None:
    source = realdata / "realweb" / "pages.warc.gz"
    links = list(json.loads((realdata / "realweb" / "expected.json").read_text())["pages"])
    parts = [links[0::2], links[1::2]]
    first = done(make_job(tmp_path / "1", parts, settings(source)))
    again = done(make_job(tmp_path / "2", parts, settings(tmp_path / "1" / "pages" / "*.cdxj")))
    for index in range(2):
        assert bodies(again, index) == bodies(first, index)
        assert len(bodies(again, index)) == 44
        name = f"part-{index:05}.warc.gz"
        assert again.folder.read(name) == first.folder.read(name)
    assert rows(again, 2) == rows(first, 2)
    assert facts(again) == (44, 0)


HISTORY = [
    (f"{SITE}/often", day(9), "200 OK", HTML, b"ninth"),
    (f"{SITE}/often", day(1), "404 Not Found", HTML, b"gone"),
    ("https://www.example.com/often?utm_source=x", day(4), "200 OK", HTML, b"fourth"),
    (f"{SITE}/old", day(2), "301 Moved", [("Location", "/new")], b""),
    (f"{SITE}/ring", day(2), "302 Found", [("Location", "/ring#here")], b""),
    (f"{SITE}/gone", day(2), "410 Gone", HTML, b"gone"),
    (f"{SITE}/image", day(2), "200 OK", [("Content-Type", "image/png")], b"\x89PNG"),
    (f"{SITE}/untyped", day(2), "200 OK", [], b"text"),
    (f"{SITE}/noindex", day(2), "200 OK", [*HTML, ("X-Robots-Tag", "noindex")], b"no"),
    (f"{SITE}/new", day(30), "200 OK", HTML, b"new"),
]
NAMES = ["often", "old", "ring", "gone", "image", "untyped", "noindex", "new", "missing"]
LINKS = [f"{SITE}/{name}" for name in NAMES]


@pytest.mark.parametrize("packed", [True, False])
def test_an_index_gives_what_the_files_themselves_give(tmp_path: Path, packed: bool) -> None:
    warc = tmp_path / ("1.warc.gz" if packed else "1.warc")
    write_warc(warc, HISTORY, packed=packed)
    index = write_index(tmp_path / "1.cdxj", index_of(warc))
    by_file = done(make_job(tmp_path / "a", [LINKS], settings(warc)))
    by_index = done(make_job(tmp_path / "b", [LINKS], settings(index)))
    assert rows(by_index) == rows(by_file)
    assert bodies(by_index) == bodies(by_file)
    assert [url.rpartition("/")[2] for url in bodies(by_index)] == ["often", "old", "untyped", "new"]
    assert facts(by_index) == facts(by_file) == (10, 0)


def test_pywbs_layout_several_files_and_files_beside_indexes(tmp_path: Path) -> None:
    for folder in ("indexes", "archive"):
        (tmp_path / "collection" / folder).mkdir(parents=True)
    archive = tmp_path / "collection" / "archive"
    write_warc(archive / "1.warc.gz", HISTORY[:4])
    write_warc(archive / "2.warc", HISTORY[4:], packed=False)
    lines = index_of(archive / "1.warc.gz") + index_of(archive / "2.warc")
    index = write_index(tmp_path / "collection" / "indexes" / "index.cdxj", lines)
    write_warc(tmp_path / "3.warc.gz", [(f"{SITE}/missing", day(1), "200 OK", HTML, b"found")])
    job = done(make_job(tmp_path, [LINKS], settings(index, tmp_path / "3.warc.gz")))
    found = bodies(job)
    assert found[f"{SITE}/old"] == b"new"  # a redirect in one file, its page in the other
    assert found[f"{SITE}/missing"] == b"found"
    assert len(found) == 5
    assert source_files(str(index)) == [str(archive / "1.warc.gz"), str(archive / "2.warc")]


def test_rubbish_lines_are_counted_and_the_rest_is_used(tmp_path: Path) -> None:
    warc = tmp_path / "1.warc.gz"
    write_warc(warc, HISTORY)
    good = index_of(warc)
    key, stamp, fields = good[0].split(" ", 2)
    values = json.loads(fields)
    rubbish = [
        "<urlopen error [Errno -3] Temporary failure in name resolution>",
        key,
        f"{key} 2019 {fields}",
        f"{key} 20191399000000 {fields}",
        f"{key} {stamp} {fields[:-9]}",
        f"{key} {stamp} []",
        *(
            f"{key} {stamp} {json.dumps({**values, **wrong})}"
            for wrong in ({"offset": "-1"}, {"length": None}, {"filename": ""}, {"url": 5}, {"offset": "1e3"})
        ),
    ]
    ignored = [
        '!OpenWayback-CDXJ 1.0 {"fields": []}',
        f"{key} {stamp} {json.dumps({**values, 'status': '-', 'mime': 'text/dns'})}",
        f"{key} {stamp} {json.dumps({**values, 'mime': 'warc/revisit', 'digest': 'sha1:OTHER'})}",
        f"{key} {stamp} {json.dumps({**values, 'url': 'urn:x'})}",
    ]
    lines = [line.encode() for line in [*good, *rubbish, *ignored]] + [b"\xff\xfe \x00 \xff", b""]
    random.Random(3).shuffle(lines)
    index = tmp_path / "1.cdxj"
    index.write_bytes(b"\r\n".join(lines))
    job = done(make_job(tmp_path, [LINKS], settings(index)))
    assert facts(job) == (len(good), len(rubbish) + 1)
    assert len(bodies(job)) == 4


def test_an_index_that_leads_astray_costs_the_page_alone(tmp_path: Path) -> None:
    warc = tmp_path / "1.warc.gz"
    write_warc(warc, HISTORY)
    with warc.open("ab") as file:
        file.write(b"not a record")
    size = warc.stat().st_size
    good = {json.loads(one.split(" ", 2)[2])["url"]: one for one in index_of(warc)}

    def moved(url: str, offset: int, length: int) -> str:
        key, stamp, fields = good[url].split(" ", 2)
        values = json.loads(fields)
        return f"{key} {stamp} {json.dumps({**values, 'offset': str(offset), 'length': length})}"

    other = json.loads(good[f"{SITE}/untyped"].split(" ", 2)[2])
    lines = [
        moved(
            "https://www.example.com/often?utm_source=x", int(other["offset"]), int(other["length"])
        ),  # another URL's record
        moved(f"{SITE}/untyped", size - 12, 12),  # rubbish
        moved(f"{SITE}/new", 10 * size, 500),  # behind the end
        moved(f"{SITE}/noindex", 0, 0),
        moved(f"{SITE}/old", 3, 500),  # a redirect
    ]
    index = write_index(tmp_path / "1.cdxj", lines)
    job = done(make_job(tmp_path, [LINKS], settings(index)))
    outcomes = {url.rpartition("/")[2]: row["outcome"] for url, row in rows(job).items()}
    assert facts(job) == (4, 1)
    assert {name for name, outcome in outcomes.items() if outcome == "bad_record"} == {
        "often",
        "untyped",
        "new",
        "noindex",
    }
    assert outcomes["old"] == "not_in_warc"


def test_revisits_are_given_the_body_that_they_repeat(tmp_path: Path) -> None:
    def exchange(url: str, number: int, body: bytes) -> Exchange:
        response = Response("HTTP/1.1 200 OK", 200, Headers(HTML), body, False)
        headers = Headers((("Host", "example.com"),))
        return Exchange(url, day(number), Timings(0.1), None, "GET / HTTP/1.1", headers, response)

    stream = io.BytesIO()

    class Sink:
        num_bytes = 0

        def write(self, data: bytes, /) -> int:
            self.num_bytes += len(data)
            return stream.write(data)

    sink = WarcSink(Sink(), "1.warc.gz", date=day(1), info={})
    original, _ = sink.exchange(exchange(f"{SITE}/a", 1, b"the same"))
    sink.exchange(exchange(f"{SITE}/b", 2, b"the same"), original)
    (tmp_path / "1.warc.gz").write_bytes(stream.getvalue())
    (tmp_path / "1.cdxj").write_bytes(sink.cdxj())
    links = [f"{SITE}/{name}" for name in "ab"]
    job = done(make_job(tmp_path, [links], settings(tmp_path / "1.cdxj")))
    assert bodies(job) == dict.fromkeys(links, b"the same")
    assert [row["fetched"] for row in rows(job).values()] == [day(1), day(2)]
    assert facts(job) == (2, 0)


def test_a_warc_file_that_is_missing_is_named(tmp_path: Path) -> None:
    write_warc(tmp_path / "1.warc.gz", HISTORY)
    index = write_index(tmp_path / "1.cdxj", index_of(tmp_path / "1.warc.gz"))
    (tmp_path / "1.warc.gz").rename(tmp_path / "2.warc.gz")
    with pytest.raises(InputError, match=r"1\.cdxj names 1\.warc\.gz, which is neither"):
        plan(make_job(tmp_path, [LINKS], settings(index)))


def test_parts_depend_on_the_index_and_on_the_files_that_it_names(tmp_path: Path) -> None:
    one, two = tmp_path / "1.warc.gz", tmp_path / "2.warc.gz"
    write_warc(one, HISTORY[:5])
    shutil.copy(one, two)
    index = write_index(tmp_path / "1.cdxj", index_of(one))

    def fingerprints() -> set[str]:
        return {part.fingerprint for part in plan(make_job(tmp_path, [LINKS], settings(index))).parts}

    before = fingerprints()
    assert len(before) == 2
    write_warc(two, HISTORY)  # not named
    assert fingerprints() == before
    write_warc(one, HISTORY)
    changed = fingerprints()
    assert not changed & before
    write_index(index, index_of(one)[1:])
    assert not fingerprints() & (before | changed)
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (one, index):
        shutil.copy(path, moved)
    assert source_digest(str(moved / "1.cdxj")) == source_digest(str(index))


def test_no_bytes_make_an_index_fail(tmp_path: Path) -> None:
    write_warc(tmp_path / "1.warc.gz", HISTORY)
    original = encode(index_of(tmp_path / "1.warc.gz"))
    path = tmp_path / "1.cdxj"
    rng = random.Random(11)
    for number in range(150):
        mutant = bytearray(original)
        for _ in range(rng.randint(1, 20)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        raw = bytes(mutant).replace(b"2.warc.gz", b"1.warc.gz")
        path.write_bytes(raw)
        lines = list(read_index(str(path)))
        if number % 10 == 0 and {one.filename for one in lines if one} <= {"1.warc.gz"}:
            done(make_job(tmp_path / str(number), [LINKS], settings(path)))


def test_how_records_stand_in_a_file_is_told_by_its_beginning(realdata: Path) -> None:
    folder = realdata / "warc"
    found = {name: packing_of(str(folder / name)) for name in ("example.warc", "example.arc.gz", "bad.arc")}
    assert found == {
        "example.warc": Packing.PLAIN,
        "example.arc.gz": Packing.ARC,
        "bad.arc": Packing.ARC,
    }
    assert packing_of(str(folder / "example.warc.gz")) is Packing.MEMBER
