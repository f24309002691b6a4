"""Dead links from archives: what is chosen, and how politely it is asked for."""

import asyncio
import gzip
import io
import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from warcio.archiveiterator import ArchiveIterator

from pipeline import urls
from pipeline.config import FetchSettings, WaybackSettings
from pipeline.fetch import wayback
from pipeline.fetch.archives import Answer, Line, Pace
from pipeline.fetch.client import Client
from pipeline.fetch.containers import read_member
from pipeline.fetch.copies import write_record
from pipeline.fetch.exchange import Refusal
from pipeline.fetch.rescue import is_dead
from pipeline.fetch.warc import WarcSink
from pipeline.records import Reason
from tests.archive_standins import (
    CRAWLS,
    DATA,
    HISTORY,
    INDEX,
    PAGE,
    SITE,
    WAYBACK,
    Asked,
    Captured,
    Crawl,
    Standins,
    at,
    bodies,
    dead,
    reason,
    rescue,
    rescued,
    says,
    serving,
    settings,
    silent,
)


class Stream:
    """A file for records in memory."""

    def __init__(self) -> None:
        self.data = io.BytesIO()

    @property
    def num_bytes(self) -> int:
        """How long it is."""
        return self.data.tell()

    def write(self, data: bytes, /) -> int:
        """Appends."""
        return self.data.write(data)


def gaps(log: Sequence[Asked]) -> list[float]:
    """Seconds between the end of each request and the next one's start."""
    return [after.began - before.ended for before, after in pairwise(log)]


@pytest.mark.parametrize("archive", ["wayback", "commoncrawl"])
@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ("20191201", b"<p>of December 2019"),
        ("20190801", b"<p>of June 2019"),
        ("20200601", b"<p>of December 2019"),  # a redirect of that very day is no page
        ("20100101", b"<p>of 2018"),  # before there was any
        ("20260101", b"<p>of 2021"),
        (None, b"<p>of 2018"),
    ],
)
def test_the_page_nearest_to_the_first_submission_is_taken(
    archive: str, created: str | None, expected: bytes
) -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        result = rescue(standins, archive, dead(created=created))
    assert result.refusal is None
    assert bodies(result) == [expected]
    record = result.records[0]
    chosen = next(one for one in HISTORY if one.body == expected)
    assert (result.source, record.url, record.date) == (archive, chosen.url, at(chosen.stamp))
    assert (record.response.status, record.response.truncated) == (200, False)


def test_of_wayback_the_capture_is_kept_with_its_own_header() -> None:
    fields = (("Content-Type", "text/html; charset=latin1"), ("X-Own", "kept"), ("Server", "old"))
    capture = Captured(PAGE, "20191201000000", body=b"<p>a page", headers=fields)
    with serving(Standins([capture])) as standins:
        result = rescue(standins, "wayback", dead())
    (record,) = result.records
    assert result.via == (f"http://{WAYBACK}/web/20191201000000id_/{PAGE}",)
    assert record.response.status_line == "HTTP/1.1 200 OK"
    named = {name.lower(): value for name, value in record.response.headers.fields}
    assert named == {
        "content-type": "text/html; charset=latin1",
        "x-own": "kept",
        "server": "old",
        "x-archive-orig-content-length": "9",
        "content-length": "9",
    }
    assert record.member is None


def test_of_common_crawl_the_record_is_kept_byte_for_byte() -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        result = rescue(standins, "commoncrawl", dead())
        filename = "crawl-data/CC-MAIN-2019-51/segments/1.2/warc/CC-MAIN-2019-51-00000.warc.gz"
        asked = standins.asked(DATA)[0]
    (record,) = result.records
    assert result.via == (f"http://{DATA}/{filename}",)
    assert asked.span is not None
    first, last = (int(number) for number in asked.span.removeprefix("bytes=").split("-"))
    assert record.member == standins.files[filename][first : last + 1]
    assert b"WARC-Target-URI: https://example.com/page" in gzip.decompress(record.member)


@pytest.mark.parametrize("archive", ["wayback", "commoncrawl"])
def test_records_are_written_as_others_read_them(archive: str) -> None:
    captures = [
        Captured(PAGE, "20191206000000", 301, b"moved", (("Location", "/last"),)),
        Captured(f"{SITE}/last", "20191207000000", body=b"<p>last" * 99, coded=archive == "wayback"),
    ]
    with serving(Standins(captures, CRAWLS)) as standins:
        result = rescue(standins, archive, dead())
    stream = Stream()
    sink = WarcSink(stream, "part.warc.gz", date=at("20191207"), info={"software": "webtext"})
    places = [write_record(sink, record) for record in result.records]
    whole = stream.data.getvalue()
    found = []
    for record in ArchiveIterator(io.BytesIO(whole), check_digests=True):
        found.append((record.rec_headers.get_header("WARC-Target-URI"), record.content_stream().read()))
        assert record.digest_checker.passed is not False
    assert found[1:] == [(one.url, one.body) for one in captures]
    page = read_member(whole[places[1].offset :][: places[1].length], 1000)
    assert page is not None
    assert (page.url, page.date) == (f"{SITE}/last", at("20191207"))
    lines = [line.split(" ", 2) for line in sink.cdxj().decode().splitlines()]
    assert [(key, when) for key, when, _ in lines] == [
        ("com,example)/last", "20191207000000"),
        ("com,example)/page", "20191206000000"),
    ]


@pytest.mark.parametrize("archive", ["wayback", "commoncrawl"])
def test_redirects_are_followed_through_captures(archive: str) -> None:
    moved = (("Location", "http://example.org/new?a=1"), ("Content-Type", "text/html"))
    captures = [
        Captured(PAGE, "20191206000000", 301, b"moved", moved),
        Captured("http://example.org/new?a=1", "20190620000000", 302, b"", (("Location", "/last"),)),
        Captured("http://example.org/last", "20180121000000", body=b"<p>old last"),
        Captured("http://example.org/last", "20191207000000", body=b"<p>last"),
    ]
    with serving(Standins(captures, CRAWLS)) as standins:
        result = rescue(standins, archive, dead())
        short = rescue(standins, archive, dead(), max_redirects=1)
    assert bodies(result) == [b"moved", b"", b"<p>last"]
    assert [record.url for record in result.records] == [
        PAGE,
        "http://example.org/new?a=1",
        "http://example.org/last",
    ]
    assert len(result.via) == 3
    location = result.records[0].response.headers.get("location")
    assert location == "http://example.org/new?a=1"
    assert reason(short) is Reason.REDIRECT_LOOP


@pytest.mark.parametrize("archive", ["wayback", "commoncrawl"])
def test_captures_that_bring_no_page_say_why(archive: str) -> None:
    html = ("Content-Type", "text/html")
    captures = [
        Captured(f"{SITE}/gone", "20191206000000", 404),
        Captured(f"{SITE}/ring", "20191206000000", 302, b"", (("Location", "/ring"),)),
        Captured(f"{SITE}/lost", "20191206000000", 302, b"", (("Location", "/nowhere"),)),
        Captured(f"{SITE}/nowhither", "20191206000000", 302, b"", (html,)),
        Captured(f"{SITE}/mail", "20191206000000", 302, b"", (("Location", "mailto:a@example.com"),)),
        Captured(f"{SITE}/closed", "20191206000000", headers=(html, ("X-Robots-Tag", "noindex"))),
        Captured(
            f"{SITE}/image", "20191206000000", body=b"\x89PNG", headers=(("Content-Type", "image/png"),)
        ),
        Captured(f"{SITE}/untyped", "20191206000000", body=b"\x89PNG\x00", headers=()),
    ]
    expected = {
        "gone": Reason.NOT_IN_WARC,
        "missing": Reason.NOT_IN_WARC,
        "ring": Reason.REDIRECT_LOOP,
        "lost": Reason.NOT_IN_WARC,
        "nowhither": Reason.BAD_REDIRECT,
        "mail": Reason.BAD_REDIRECT,
        "closed": Reason.NO_INDEX,
        "image": Reason.WRONG_TYPE,
        "untyped": Reason.WRONG_TYPE,
    }
    with serving(Standins(captures, CRAWLS)) as standins:
        links = [dead(f"{SITE}/{name}") for name in expected]
        results = rescued(settings(standins, archive), links)
    assert dict(zip(expected, map(reason, results), strict=True)) == expected
    lost = results[list(expected).index("lost")].refusal
    assert lost is not None
    assert lost.detail == f"{archive}: no capture; redirected to {SITE}/nowhere"


@pytest.mark.parametrize("says_coding", [True, False])
def test_packed_bodies_of_wayback_are_unpacked_whether_it_says_so_or_not(says_coding: bool) -> None:
    capture = Captured(PAGE, "20191201000000", body=b"<p>packed " * 500, coded=True)
    with serving(Standins([capture], says_coding=says_coding)) as standins:
        whole = rescue(standins, "wayback", dead())
        cut = rescue(standins, "wayback", dead(), max_bytes=1000)
    assert bodies(whole) == [capture.body]
    assert not whole.records[0].response.truncated
    assert bodies(cut) == [capture.body[:1000]]
    assert cut.records[0].response.truncated
    assert whole.records[0].response.headers.get("content-encoding") is None


def test_long_bodies_are_cut() -> None:
    capture = Captured(PAGE, "20191206000000", body=b"<p>long " * 500)
    with serving(Standins([capture], CRAWLS)) as standins:
        for archive in ("wayback", "commoncrawl"):
            result = rescue(standins, archive, dead(), max_bytes=1000)
            assert bodies(result) == [capture.body[:1000]]
            assert result.records[0].response.truncated
            assert result.records[0].member is None


def test_only_crawls_near_the_date_are_asked_and_their_list_once() -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        chosen = settings(standins, "commoncrawl")
        rescued(chosen, [dead(), dead(f"{SITE}/missing"), dead(created="20190616")])
        asked = [one.path.partition("?")[0].removesuffix("-index") for one in standins.asked(INDEX)]
    assert asked.count("/collinfo.json") == 1
    assert sorted(asked[1:]) == sorted(
        [
            "/CC-MAIN-2019-51",  # the first link's; a nearer page can be in no other
            "/CC-MAIN-2019-51",
            "/CC-MAIN-2019-26",
            "/CC-MAIN-2020-24",
            "/CC-MAIN-2019-26",
        ]
    )


def test_a_page_in_the_next_crawl_may_be_nearer() -> None:
    crawls = [
        Crawl("CC-MAIN-2019-51", "20190101", "20191230"),
        Crawl("CC-MAIN-2020-05", "20191231", "20200110"),
    ]
    captures = [Captured(PAGE, "20190105000000", body=b"far"), Captured(PAGE, "20191231060000", body=b"near")]
    with serving(Standins(captures, crawls)) as standins:
        assert bodies(rescue(standins, "commoncrawl", dead(created="20191228"))) == [b"near"]


def test_of_many_captures_the_nearest_are_asked_for() -> None:
    captures = [
        Captured(PAGE, f"{2010 + year}{month:02}{day:02}000000", body=f"{year} {month} {day}".encode())
        for year in range(2)
        for month in range(1, 13)
        for day in range(1, 29)
    ]
    with serving(Standins(captures)) as standins:
        result = rescue(standins, "wayback", dead(created="20110915"))
    assert bodies(result) == [b"1 9 15"]


def test_archives_are_asked_in_their_order_until_one_has_the_page() -> None:
    everywhere = Captured(PAGE, "20191206000000")
    with serving(Standins([everywhere], CRAWLS)) as standins:
        both = rescued(settings(standins, "commoncrawl", "wayback"), [dead()])[0]
        assert both.source == "commoncrawl"
        assert not standins.asked(WAYBACK)
        standins.captures = []
        other = rescued(settings(standins, "wayback", "commoncrawl"), [dead()])[0]
        assert other.source == "commoncrawl"
        assert len(standins.asked(WAYBACK)) == 1
        standins.instead["/cdx/"] = [says("Blocked Site Error", 403)]
        none = rescued(settings(standins, "wayback", "commoncrawl"), [dead(f"{SITE}/missing")])[0]
        assert rescued(settings(standins), [dead()])[0].source == ""
    assert none.source == "wayback"
    assert none.refusal == Refusal(
        Reason.HTTP_4XX,
        "wayback: the archive answers HTTP 403: Blocked Site Error; commoncrawl: no capture",
        403,
    )


def test_each_host_is_asked_one_request_at_a_time_and_never_sooner_than_its_delay() -> None:
    delay_s = 0.03
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        given = standins.settings()
        for name in ("wayback", "commoncrawl"):
            given[name]["delay_s"] = delay_s
        chosen = FetchSettings(**given, rescue=("wayback", "commoncrawl"))
        links = [dead(), dead(f"{SITE}/missing"), dead(created="20180101"), dead(f"{SITE}/none")] * 2
        results = rescued(chosen, links)
        for host in (WAYBACK, INDEX):
            found = gaps(standins.asked(host))
            assert len(found) >= 8
            assert min(found) >= delay_s - 0.001
        standins.log.clear()
        rescued(FetchSettings(**given, rescue=("commoncrawl",)), [dead(), dead(created="20180101")] * 2)
        found = gaps(standins.asked(DATA))
        assert len(found) == 3
        assert min(found) >= delay_s - 0.001
    assert [bool(result.records) for result in results] == [True, False, True, False] * 2


def test_nothing_is_asked_during_a_pause_and_then_it_goes_on() -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        standins.instead["/cdx/"] = [says("slow down", 429, Retry_After="1")]
        results = rescued(settings(standins, "wayback"), [dead(), dead(created="20180101")])
        log = standins.asked(WAYBACK)
    assert [bool(result.records) for result in results] == [True, True]
    assert log[0].status == 429
    assert log[1].began - log[0].ended >= 0.999
    assert len(log) == 5


@pytest.mark.parametrize("archive", ["wayback", "commoncrawl"])
@pytest.mark.parametrize(
    "headers", [{"Retry_After": "301"}, {"Retry_After": "Fri, 31 Dec 2100 23:59:59 GMT"}]
)
def test_an_archive_that_asks_for_a_long_pause_is_given_up(archive: str, headers: dict[str, str]) -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        busy = says("no", 503, **headers)
        standins.instead = {"/cdx/": [busy], "/collinfo.json": [busy]}
        results = rescued(settings(standins, archive), [dead()] * 5)
        assert len(standins.log) == 1
    for result in results:
        assert reason(result) is Reason.RATE_LIMITED
        assert "given up for the rest of this crawl: HTTP 503, a pause of" in str(result.refusal)


def test_wayback_without_a_retry_after_is_left_alone_for_an_hour() -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        standins.instead["/web/"] = [says("no", 429)]
        results = rescued(settings(standins, "wayback", "commoncrawl"), [dead()] * 3)
        assert [one.status for one in standins.asked(WAYBACK)][-1] == 429
    assert [result.source for result in results] == ["commoncrawl"] * 3


def test_pauses_that_are_not_told_double_each_time() -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        standins.instead["/cdx/"] = [says("no", 429), says("no", 503), says("no", 503)]
        chosen = settings(standins, "wayback", max_pause_s=0.3)

        async def run() -> list[Answer | Refusal]:
            async with Client(chosen) as client:
                line = Line(client, chosen, Pace(0, 0.1, frozenset([429, 503])))
                address = f"http://{WAYBACK}/cdx/search/cdx?url=x"
                return [await line.get(address, lambda *_: 100) for _ in range(2)]

        first, second = asyncio.run(run())
        found = gaps(standins.log)
    assert [one.reason for one in (first, second) if isinstance(one, Refusal)] == [Reason.RATE_LIMITED] * 2
    assert "a pause of 0 s" in str(first)
    assert len(found) == 2
    assert found[0] >= 0.099
    assert found[1] >= 0.199


def test_common_crawl_that_blocks_is_left_alone() -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        standins.instead["/crawl-data/"] = [says("blocked", 403)]
        results = rescued(settings(standins, "commoncrawl", max_pause_s=59), [dead()] * 3)
        assert len(standins.asked(DATA)) == 1
    assert [reason(result) for result in results] == [Reason.RATE_LIMITED] * 3


def test_a_captured_failure_is_no_sign_of_the_archives() -> None:
    busy = Captured(PAGE, "20191201000000", 503)
    with serving(Standins([busy])) as standins:
        rows = [list(wayback._FIELDS), [busy.stamp, PAGE, "text/html", "200", busy.digest]]
        standins.instead["/cdx/"] = [says(json.dumps(rows))]
        result = rescue(standins, "wayback", dead())
        assert len(standins.log) == 2
    assert reason(result) is Reason.BAD_RECORD


def test_an_archive_that_puts_off_again_and_again_is_given_up() -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        standins.instead["/cdx/"] = [says("no", 429, Retry_After="0") for _ in range(9)]
        results = rescued(settings(standins, "wayback"), [dead()] * 4)
        assert len(standins.log) == 6
    assert [reason(result) for result in results] == [Reason.RATE_LIMITED] * 4


def test_an_archive_that_does_not_answer_is_given_up() -> None:
    with serving(Standins(HISTORY, CRAWLS)) as standins:
        standins.instead["/cdx/"] = [silent() for _ in range(9)]
        chosen = settings(standins, "wayback", timeout_s=0.4, dead_after=2)
        results = rescued(chosen, [dead()] * 5)
        assert len(standins.instead["/cdx/"]) == 7
    assert [reason(result) for result in results] == [Reason.TIMEOUT] * 2 + [Reason.RATE_LIMITED] * 3


def test_an_archive_that_is_not_there_is_a_refusal() -> None:
    chosen = FetchSettings(
        rescue=("wayback",),
        resolve={WAYBACK: "127.0.0.1:1"},
        wayback=WaybackSettings(url=f"http://{WAYBACK}"),
    )
    assert reason(rescued(chosen, [dead()])[0]) is Reason.CONNECT
    nobody = FetchSettings(rescue=("wayback", "commoncrawl"))  # no contact: the public web is not asked
    assert reason(rescued(nobody, [dead()])[0]) is Reason.NOT_ALLOWED_ADDRESS


def test_which_links_are_dead() -> None:
    outcomes: list[tuple[str, int | None]] = [(reason, None) for reason in Reason]
    outcomes += [(Reason.HTTP_4XX, status) for status in (400, 401, 403, 404, 410, 429, 451)]
    outcomes += [("fetched", 200), (Reason.NO_INDEX, 200), (Reason.HTTP_5XX, 500), (Reason.ROBOTS, 404)]
    assert [one for one in outcomes if is_dead(*one)] == [
        ("dns", None),
        ("connect", None),
        ("certificate", None),
        ("tls", None),
        ("timeout", None),
        ("dead_host", None),
        ("http_4xx", 404),
        ("http_4xx", 410),
    ]


def test_odd_addresses_of_links_and_captures() -> None:
    odd = "http://example.com/a%20b?q=1&r=%26amp;#part"
    assert urls.parse(odd) is not None
    capture = Captured(odd.partition("#")[0], "20191201000000")
    with serving(Standins([capture], CRAWLS)) as standins:
        assert bodies(rescue(standins, "wayback", dead(odd))) == [capture.body]
        assert reason(rescue(standins, "wayback", dead("not a link"))) is Reason.BAD_URL
