"""What archives hold and answer: WARC and ARC files, their indexes, the Wayback Machine, Common Crawl."""

import gzip
import io
import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from pipeline.extract.responses import read_response
from pipeline.fetch import commoncrawl, indexes, wayback
from pipeline.fetch.archives import Answer, unusable
from pipeline.fetch.captures import _row
from pipeline.fetch.containers import Packing, Reader, packing_of, read_member, scan
from pipeline.fetch.exchange import Headers, Refusal, Response
from pipeline.fetch.trails import judge as judge_record
from pipeline.fetch.trails import nearest
from pipeline.fetch.warc import WarcSink
from pipeline.hashing_sink import HashingSink
from pipeline.records import Rejection
from pipeline.recount_records import recount_record
from tests.fuzz.target import Target, file_of

_DATE = datetime(2019, 6, 7, 8, 9, 10, tzinfo=UTC)
_MOST_BYTES = 20_000


def warc_files(data: bytes) -> bool:
    """A WARC or ARC file as others have written it: each response that a scan finds, read."""
    path = str(file_of(data, "pages.warc.gz"))
    packing_of(path)
    found = scan(path).found
    with Reader() as reader:
        for one in found[:3]:
            list(_row(one, None, None))
            record = reader.read(path, one.packing, one.offset, one.length, _MOST_BYTES)
            if record is not None:
                assert len(record.response.body) <= _MOST_BYTES
                judge_record(record, ("noindex",))
        for packing in Packing:  # an index may tell of any place in it
            reader.read(path, packing, len(data) // 3, len(data) // 2, _MOST_BYTES)
    return bool(found)


def stored_records(data: bytes) -> bool:
    """A run's own WARC file, where a disk or a copy has damaged it: for extract and for verify."""
    stored = pa.BufferReader(data)
    answer = read_response(stored, 0, len(data), _MOST_BYTES)
    recount_record(data, "https://example.com/")
    return not isinstance(answer, Rejection)


def cdxj_indexes(data: bytes) -> bool:
    """A CDXJ index, line by line."""
    found = list(indexes.read_index(str(file_of(data, "pages.cdxj"))))
    good = [line for line in found if line is not None]
    for line in good:
        assert line.offset >= 0
        assert line.length >= 0
    return bool(good)


def wayback_answers(data: bytes) -> bool:
    """The Wayback Machine's index, and a capture that it plays back: fields, an empty line, a body."""
    index, _, played = data.partition(b"\n\n\n")
    captures = wayback._read_index(_answer(index))
    if captures is None:
        unusable(_answer(index))
    if not captures:
        return False
    nearest(captures, _DATE)
    head, _, body = played.partition(b"\n\n")
    fields = tuple(tuple(line.partition(": ")[::2]) for line in head.decode("latin-1").split("\n"))
    answer = Answer(captures[0].status, Headers(fields), body, truncated=False, date=_DATE)  # type: ignore[arg-type]
    record = wayback._record(captures[0], answer, "https://web.archive.org", _MOST_BYTES)
    if isinstance(record, Refusal):
        return False
    judge_record(record, ("noindex",))
    return True


def common_crawl_answers(data: bytes) -> bool:
    """Common Crawl's list of crawls, its index, and a record: one after the other."""
    listing, _, rest = data.partition(b"\n\n\n")
    index, _, member = rest.partition(b"\n\n\n")
    crawls = commoncrawl.read_crawls(listing, "https://index.commoncrawl.org")
    for crawl in crawls or ():
        crawl.distance_s(_DATE)
    commoncrawl._says_none(listing)
    captures = commoncrawl._read_index(_answer(index))
    if captures is None:
        unusable(_answer(index))
    record = read_member(member, _MOST_BYTES)
    for capture in captures or ():
        commoncrawl._checked(record, capture)
    return bool(crawls and captures and record)


def _answer(body: bytes) -> Answer:
    return Answer(200, Headers((("content-type", "text/plain"),)), body, truncated=False, date=_DATE)


_PAGE = b"<html><head><title>A page</title></head><body><p>Some text.</p></body></html>"
_HTTP = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_PAGE), _PAGE)
)  # fmt: skip


def _record(block: bytes, url: str, kind: str = "response", **further: str) -> bytes:
    fields = {
        "WARC-Type": kind,
        "WARC-Record-ID": "<urn:uuid:10390961-b7aa-8f1d-a7bf-89428d046dd1>",
        "WARC-Date": "2019-06-07T08:09:10Z",
        "WARC-Target-URI": url,
        "Content-Type": f"application/http; msgtype={kind}",
        "Content-Length": str(len(block)),
        **further,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return b"WARC/1.0\r\n" + head.encode() + b"\r\n" + block + b"\r\n\r\n"


def _warcs() -> tuple[bytes, ...]:
    one, two = _record(_HTTP, "https://example.com/a"), _record(_HTTP, "<https://example.com/b>")
    redirect = _record(b"HTTP/1.1 301 Moved\r\nLocation: /b\r\n\r\n", "https://example.com/c")
    info = _record(b"software: x\r\n", "", "warcinfo")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<p>a\r\n0\r\n\r\n"
    arc_head = b"filedesc://a.arc 0.0.0.0 20190607080910 text/plain 76\n1 0 InternetArchive\nURL IP-address "
    arc_head += b"Archive-date Content-type Archive-length\n\n"
    arc_page = b"http://example.com/ 127.0.0.1 20190607080910 text/html %d\n%s\n" % (len(_HTTP), _HTTP)
    packed = [gzip.compress(part, mtime=0) for part in (info, one, redirect, two)]
    return (
        b"".join(packed),
        info + one + _record(chunked, "https://example.com/d") + two,
        gzip.compress(info + one + two, mtime=0),
        arc_head + arc_page,
        b"".join(gzip.compress(part, mtime=0) for part in (arc_head, arc_page)),
        b"".join(packed[:2]) + b"\0" * 9 + packed[3],
    )


def _stored() -> tuple[bytes, ...]:
    stream = io.BytesIO()
    sink = WarcSink(HashingSink(stream), "part.warc.gz", date=_DATE)
    begin = stream.tell()
    headers = Headers((("Content-Type", "text/html"), ("Content-Length", str(len(_PAGE)))))
    sink.response(
        "https://example.com/", _DATE, Response("HTTP/1.1 200 OK", 200, headers, _PAGE, truncated=False)
    )
    coded = gzip.compress(_PAGE, mtime=0)
    http = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(coded), coded)
    return (
        stream.getvalue()[begin:],
        gzip.compress(_record(http, "https://example.com/"), mtime=0),
        gzip.compress(_record(http.replace(coded, _PAGE), "https://example.com/"), mtime=0),
    )


def _indexed(**changes: Any) -> bytes:
    fields = {
        "url": "https://example.com/a",
        "mime": "text/html",
        "status": "200",
        "digest": "sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ",
        "length": "700",
        "offset": "7",
        "filename": "part-00000.warc.gz",
        **changes,
    }
    return json.dumps(fields).encode()


def _cdxjs() -> tuple[bytes, ...]:
    key = b"com,example)/a 20190607080910 "
    revisit = _indexed(mime="warc/revisit", status="-", offset=9, length=10)
    return (
        b" CDX N b a m s k r M S V g\n" + key + _indexed() + b"\n" + key + revisit + b"\n",
        key + _indexed(status=302, length=10, offset=9) + b"\n\n!meta\n",
    )


def _wayback() -> tuple[bytes, ...]:
    digest = "3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ"
    rows = [list(wayback._FIELDS), ["20190607080910", "http://example.com/a", "text/html", "200", digest]]
    rows.append(["20190607080911", "http://example.com/a", "unk", "302", digest])
    head = b"Content-Type: text/html\nmemento-datetime: x\nX-Archive-Orig-Content-Encoding: gzip\nLocation: "
    head += b"https://web.archive.org/web/20190607id_/http://example.com/b"
    index = json.dumps(rows).encode()
    return (
        index + b"\n\n\n" + head + b"\n\n" + gzip.compress(_PAGE, mtime=0),
        index + b"\n\n\nX-Archive-Orig-Transfer-Encoding: chunked\n\n" + _PAGE,
    )


def _crawls() -> tuple[bytes, ...]:
    api = "https://index.commoncrawl.org/CC-MAIN-2019-26-index"
    crawl = {"id": "CC-MAIN-2019-26", "cdx-api": api}
    told = {**crawl, "from": "2019-06-15T22:35:14", "to": "2019-06-27T12:55:40+00:00"}
    name = "crawl-data/CC-MAIN-2019-26/segments/1/warc/CC-MAIN-0.warc.gz"
    index = _indexed(timestamp="20190607080910", filename=name, digest="3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ")
    member = gzip.compress(_record(_HTTP, "https://example.com/a"), mtime=0)
    return (
        json.dumps([crawl, told, {**crawl, "id": "CC-MAIN-2009-2010"}]).encode()
        + b"\n\n\n" + index + b"\n\n\n" + member,
    )  # fmt: skip


_IN_WARC = (
    b"WARC/1.0\r\n", b"WARC/1.1\r\n", b"WARC/", b"WARC-Type: response\r\n", b"WARC-Type: revisit\r\n",
    b"\r\n\r\n", b"Content-Length: 9\r\n", b"Content-Length: -1\r\n", b"WARC-Date: 0000-00-00T00:00:00Z\r\n",
    b"HTTP/1.1 ", b"WARC-Truncated: length\r\n", b"WARC-Payload-Digest: sha1:A\r\n", b"filedesc://",
    b"WARC-Block-Digest: md5:\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: br\r\n",
)  # fmt: skip
_IN_INDEX = (
    b"20190607080910",
    b"99999999999999",
    b'"offset"',
    b'"-1"',
    b"warc/revisit",
    b"unk",
    b"\n\n\n",
    b"302",
)

_IN_LISTING = (*_IN_INDEX, b"CC-MAIN-9999-53", b"CC-MAIN-0000", b'{"message":')
_IN_PLAYBACK = (*_IN_INDEX, b"X-Archive-Orig-", b"Location: ", b"/web/2019id_/")

TARGETS = (
    Target(warc_files, _warcs, _IN_WARC),
    Target(stored_records, _stored, _IN_WARC),
    Target(cdxj_indexes, _cdxjs, _IN_INDEX),
    Target(wayback_answers, _wayback, _IN_PLAYBACK),
    Target(common_crawl_answers, _crawls, _IN_LISTING),
)
