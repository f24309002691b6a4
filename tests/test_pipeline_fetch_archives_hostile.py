"""Archives that fail or lie: every answer is a refusal with a reason, and the next link is served."""

import gzip
import json
import random
from typing import Any

import pytest

from pipeline.fetch import commoncrawl, wayback
from pipeline.fetch.archives import Answer
from pipeline.fetch.commoncrawl import read_crawls
from pipeline.fetch.containers import read_member
from pipeline.fetch.exchange import Headers
from pipeline.fetch.indexes import decode
from pipeline.records import Reason
from tests.archive_standins import (
    CRAWLS,
    HISTORY,
    INDEX,
    PAGE,
    SITE,
    Captured,
    Standins,
    at,
    dead,
    reason,
    rescue,
    says,
    serving,
    silent,
)
from tests.on_a_thread import Handler


def impatient(expected: Reason) -> dict[str, float]:
    """Settings under which an archive that does not answer is not waited for."""
    return {"timeout_s": 0.5} if expected is Reason.TIMEOUT else {}


CDX = json.dumps([list(wayback._FIELDS), ["20191201000000", PAGE, "text/html", "200", "A" * 32]])
MEMENTO: dict[str, Any] = {"Memento_Datetime": "Sun, 01 Dec 2019 00:00:00 GMT", "Content_Type": "text/html"}
PACKED: dict[str, Any] = {**MEMENTO, "x_archive_orig_content_encoding": "gzip"}


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        ("/cdx/", says("oops", 500), Reason.HTTP_5XX),
        ("/cdx/", says("<html>", 502, Content_Type="text/html"), Reason.HTTP_5XX),
        ("/cdx/", says("", 302, Location="/elsewhere"), Reason.HTTP_OTHER),
        ("/cdx/", says("<html>try later</html>"), Reason.PROTOCOL),
        ("/cdx/", says(CDX[:-40]), Reason.PROTOCOL),
        ("/cdx/", says("[" * 100_000), Reason.PROTOCOL),
        ("/cdx/", says('[["timestamp", "original"], ["2019", "x"]]'), Reason.PROTOCOL),
        ("/cdx/", says(CDX.replace("20191201000000", "20191301000000")), Reason.PROTOCOL),
        ("/cdx/", says(CDX.replace('"200"', "null")), Reason.PROTOCOL),
        ("/cdx/", says(CDX.replace(PAGE, "mailto:x@example.com")), Reason.PROTOCOL),
        ("/cdx/", says(b"\xff\xfe\x00"), Reason.PROTOCOL),
        ("/cdx/", says(b" " * 2_000_000 + CDX.encode()), Reason.PROTOCOL),
        ("/cdx/", says(CDX.encode() + b" " * 2_000_000), Reason.PROTOCOL),
        ("/cdx/", says(gzip.compress(b"[" * 1000)[:-9], Content_Encoding="gzip"), Reason.CUT_SHORT),
        ("/cdx/", says(b"not gzip" * 9, Content_Encoding="gzip"), Reason.BAD_ENCODING),
        ("/cdx/", says("[]"), Reason.NOT_IN_WARC),
        ("/cdx/", says("\n"), Reason.NOT_IN_WARC),
        ("/web/", says("oops", 500), Reason.HTTP_5XX),
        ("/web/", says("", 404, X_Archive_Wayback_Runtime_Error="NotIn"), Reason.HTTP_4XX),
        ("/web/", says("", 302, Location="/web/20180101000000id_/x"), Reason.HTTP_OTHER),
        ("/web/", says("<html>", Content_Type="text/html"), Reason.PROTOCOL),
        ("/web/", says("<p>another page", **MEMENTO), Reason.BAD_RECORD),
        ("/web/", says("<p>gone", 404, **MEMENTO), Reason.BAD_RECORD),
        ("/web/", says(gzip.compress(b"x" * 999)[:-9], **PACKED), Reason.CUT_SHORT),
        ("/web/", says(b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 99, **PACKED), Reason.BAD_ENCODING),
        ("/web/", silent(), Reason.TIMEOUT),
    ],
)
def test_whatever_wayback_answers_is_a_refusal(path: str, answer: Handler, expected: Reason) -> None:
    with serving(Standins(HISTORY)) as standins:
        standins.instead[path] = [answer]
        assert reason(rescue(standins, "wayback", dead(), **impatient(expected))) is expected
        assert rescue(standins, "wayback", dead()).records  # and the next link is served


LISTING = json.dumps([{"id": "CC-MAIN-2019-51", "cdx-api": f"http://{INDEX}/CC-MAIN-2019-51-index"}])
LINE = json.dumps(
    {
        "urlkey": "com,example)/page",
        "timestamp": "20191206120000",
        "url": PAGE,
        "status": "200",
        "mime": "text/html",
        "digest": "A" * 32,
        "length": "500",
        "offset": "0",
        "filename": "crawl-data/CC-MAIN-2019-51/segments/1.2/warc/CC-MAIN-2019-51-00000.warc.gz",
    }
)


def of_member(data: bytes, **headers: str) -> Handler:
    """A handler that answers a range with these bytes."""

    async def handler(request: Any) -> Any:
        first, last = request.headers["Range"].removeprefix("bytes=").split("-")
        content_range = {"Content_Range": f"bytes {first}-{last}/999999", **headers}
        return await says(data, 206, **content_range)(request)

    return handler


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        ("/collinfo", says("oops", 500), Reason.HTTP_5XX),
        ("/collinfo", says(LISTING[:-9]), Reason.PROTOCOL),
        ("/collinfo", says("{}"), Reason.PROTOCOL),
        ("/collinfo", says("[]"), Reason.PROTOCOL),
        ("/collinfo", says(LISTING.replace(INDEX, "127.0.0.1")), Reason.PROTOCOL),
        ("/collinfo", says(LISTING.replace("2019-51", "2019-99")), Reason.PROTOCOL),
        ("/CC", says("oops", 500), Reason.HTTP_5XX),
        ("/CC", says("<html>", 404, Content_Type="text/html"), Reason.HTTP_4XX),
        ("/CC", says(LINE[:-40]), Reason.PROTOCOL),
        ("/CC", says(LINE.replace("crawl-data/", "../")), Reason.PROTOCOL),
        ("/CC", says(LINE.replace("crawl-data/", "http://example.org/")), Reason.PROTOCOL),
        ("/CC", says(LINE.replace('"500"', '"99999999999"')), Reason.BAD_RECORD),
        ("/CC", says(LINE.replace('"500"', "-5")), Reason.PROTOCOL),
        ("/CC", says(LINE), Reason.BAD_RECORD),  # where it says is no such record
        ("/crawl-data/", says(b"x" * 5_000_000), Reason.PROTOCOL),
        ("/crawl-data/", says("Slow Down", 500), Reason.HTTP_5XX),
        ("/crawl-data/", says("", 416), Reason.HTTP_4XX),
        ("/crawl-data/", says(b"x" * 500, 206), Reason.PROTOCOL),
        ("/crawl-data/", says(b"x", 206, Content_Range="bytes 0-0/999"), Reason.PROTOCOL),
        ("/crawl-data/", of_member(b"rubbish"), Reason.BAD_RECORD),
        ("/crawl-data/", of_member(gzip.compress(b"WARC/1.0\r\n\r\n")), Reason.BAD_RECORD),
        ("/crawl-data/", of_member(b"x" * 5_000_000), Reason.PROTOCOL),
        ("/crawl-data/", silent(), Reason.TIMEOUT),
    ],
)
def test_whatever_common_crawl_answers_is_a_refusal(path: str, answer: Handler, expected: Reason) -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        standins.instead[path] = [answer]
        assert reason(rescue(standins, "commoncrawl", dead(), **impatient(expected))) is expected
        assert rescue(standins, "commoncrawl", dead()).records


def test_records_that_are_not_the_indexs_are_refused() -> None:
    captures = [Captured(PAGE, "20191206000000"), Captured(f"{SITE}/other", "20191206000001")]
    with serving(Standins(captures, CRAWLS)) as standins:
        lines = standins._lines["CC-MAIN-2019-51"]
        true = dict(lines[0])
        lies = [
            {**true, "digest": "A" * 32},
            {**true, **{name: lines[1][name] for name in ("offset", "length", "digest")}},
            {**true, "status": "301"},
            {**true, "length": str(int(true["length"]) - 20)},
            {**true, "offset": "1"},
            {**true, "offset": "0", "length": true["offset"]},  # the file's own record
        ]
        for lie in lies:
            lines[0] = lie
            assert reason(rescue(standins, "commoncrawl", dead())) is Reason.BAD_RECORD, lie
        lines[0] = true
        assert rescue(standins, "commoncrawl", dead()).records


def test_no_bytes_of_an_archive_make_the_parsers_fail() -> None:
    standins = Standins(HISTORY, CRAWLS)
    rng = random.Random(7)
    filename, data = next(iter(standins.files.items()))
    line = next(one for one in standins._lines["CC-MAIN-2018-05"] if one["filename"] == filename)
    member = data[int(line["offset"]) : int(line["offset"]) + int(line["length"])]
    originals = [CDX.encode(), LISTING.encode(), LINE.encode(), member, gzip.decompress(member)]
    for _ in range(400):
        for original in originals:
            mutant = bytearray(original)
            for _ in range(rng.randint(1, 6)):
                mutant[rng.randrange(len(mutant))] = rng.randrange(256)
            raw = bytes(mutant[: rng.randint(1, len(mutant))])
            answer = Answer(200, Headers(()), raw, False, at("20191201"))
            wayback._read_index(answer)
            commoncrawl._read_index(answer)
            read_crawls(raw, f"http://{INDEX}")
            decode(raw, "20191201000000")
            read_member(raw, 100)
            read_member(gzip.compress(raw, 1), 100)
