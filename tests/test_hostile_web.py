"""The hostile web and the name server do what they say, asked by sockets and by nobody's client."""

import asyncio
import gzip
import json
import socket
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiodns
import pytest

from pipeline.hosts import is_private_host, registrable_domain
from pipeline.records import Reason
from tests import dns_server, hostile_web
from tests.hostile_answers import BOMB_BYTES, Answer, Ask, Then, answer
from tests.hostile_log import Asked
from tests.hostile_pages import CANARY, CLOSED, FETCHED, INWARD, Entry, Host, Page, Web

WEB = Web.make(seed=1, num_hosts=60, num_pages=6_000)


@pytest.fixture(scope="module")
def served() -> Iterator[hostile_web.Served]:
    with hostile_web.serving(WEB) as served:
        yield served


def connect(served: hostile_web.Served, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((address, served.port), timeout=10)


def ask(connection: socket.socket, host: str, path: str, *fields: str) -> None:
    lines = "".join(f"{one}\r\n" for one in (f"Host: {host}", *fields))
    connection.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())


def read(connection: socket.socket, most: int = 1 << 20) -> bytes:
    """What comes until the end, or so many bytes at least."""
    received = b""
    while len(received) < most and (data := connection.recv(1 << 16)):
        received += data
    return received


def get(served: hostile_web.Served, host: str, path: str, most: int = 1 << 20) -> bytes:
    """What comes until the connection closes."""
    with closing(connect(served)) as connection:
        ask(connection, host, path, "Connection: close")
        return read(connection, most)


def answer_of(host: str, path: str, num_before: int = 0, num_of_host: int = 0) -> Answer:
    import datetime as dt

    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return answer(WEB, Ask(host, path, num_before, num_of_host, now, 80))


def of_kind(kind: Page) -> Entry:
    """A page of that kind on a host that lets it be asked."""
    found = (
        entry
        for entry in WEB.pages.values()
        if entry.kind is kind and entry.linked and WEB.hosts[entry.host] in (Host.PLAIN, Host.ALLOWING)
    )
    return next(found)


def host_of(kind: Host) -> str:
    return next(host for host, its in WEB.hosts.items() if its is kind)


# --- what it consists of ----------------------------------------------------------------------------------


def test_the_large_web_is_as_the_issue_has_it() -> None:
    web = Web.make()
    links = web.links()
    assert (len(web.hosts), len(links), len(set(links))) == (200, 20_000, 20_000)
    assert set(web.expected) == set(links)
    assert 130 <= len(set(web.domains.values())) <= 160
    assert all(registrable_domain(host) == domain for host, domain in web.domains.items())
    assert set(web.hosts.values()) == set(Host)
    assert {entry.kind for entry in web.pages.values()} == set(Page)
    good = sum(outcomes == {FETCHED} for outcomes in web.expected.values())
    assert 0.75 < good / len(links) < 0.85
    assert {outcome for outcomes in web.expected.values() for outcome in outcomes} <= {FETCHED, *Reason}


def test_the_same_seed_gives_the_same_web_and_another_another() -> None:
    again, other = Web.make(1, 60, 6_000), Web.make(2, 60, 6_000)
    assert again.links() == WEB.links()
    assert again.expected == WEB.expected
    assert other.links() != WEB.links()


def test_sizes_of_hosts_are_heavy_tailed() -> None:
    sizes = sorted(Counter(entry.host for entry in WEB.pages.values() if entry.linked).values(), reverse=True)
    assert sum(sizes[:6]) > 2 * sum(sizes[30:36])  # of 60 hosts
    assert sizes[0] > 10 * sizes[-1] > 0


@pytest.mark.parametrize("target", INWARD)
def test_every_inward_redirect_leads_to_a_private_host(target: str) -> None:
    from pipeline.fetch.response import redirect_target

    url = redirect_target("http://h0.hostile-000.org/", target.replace("{port}", "8080"))
    assert url is not None
    assert is_private_host(url.host)


# --- what it sends ----------------------------------------------------------------------------------------


def test_a_connection_serves_one_request_after_the_other(served: hostile_web.Served) -> None:
    first, second = of_kind(Page.GOOD), of_kind(Page.COOKIES)
    with closing(connect(served)) as connection:
        for entry in (first, second, first):
            ask(connection, entry.host, entry.path)
            head, _, body = read(connection, most=1).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert entry.url.encode() in body
            assert (b"Set-Cookie: " in head) == (entry is second)


def test_the_log_tells_who_was_asked_what_and_how_it_ended(served: hostile_web.Served) -> None:
    entry = of_kind(Page.CHUNKED)
    before = time.monotonic()
    assert get(served, entry.host.upper(), entry.path).endswith(b"\r\n0\r\n\r\n")
    one = next(one for one in served.log if one.path == entry.path)
    assert (one.host, one.complete, one.address, one.status) == (entry.host, True, "127.0.0.1", 200)
    assert before <= one.began <= one.ended <= time.monotonic()
    assert not one.private
    with closing(connect(served)) as connection:
        ask(connection, entry.host, "/with-a-secret", "Cookie: a=b", "Authorization: Basic eDp5")
        read(connection, most=1)
    assert hostile_web.indiscreet(served.log) == [
        f"http://{entry.host}/with-a-secret with authorization, cookie"
    ]


@pytest.mark.parametrize("kind", [kind for kind in Page if kind.outcomes == {FETCHED} and kind.weight])
def test_what_is_good_is_good_in_the_end(served: hostile_web.Served, kind: Page) -> None:
    if kind in (Page.ENDLESS_CHUNKED, Page.ENDLESS_LENGTH, Page.BOMB):
        return
    entry = of_kind(kind)
    got = get(served, entry.host, entry.path)
    if kind.label.startswith("later"):
        assert got.startswith((b"HTTP/1.1 429 ", b"HTTP/1.1 503 "))
        assert (b"Retry-After: " in got) == (not kind.label.endswith("bare"))
        got = get(served, entry.host, entry.path)
    if kind.label.startswith("moved"):
        assert got.startswith(b"HTTP/1.1 30")
        target = entry.target if "://" in entry.target else f"http://{entry.host}{entry.target}"
        assert f"Location: {entry.target}\r\n".encode() in got
        host, _, path = target.removeprefix("http://").partition("/")
        got = get(served, host, f"/{path}")
    assert got.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "kind", [Page.ENDLESS_CHUNKED, Page.ENDLESS_LENGTH, Page.HEADER_LINE, Page.HEADER_LINES]
)
def test_what_is_endless_goes_on_until_the_asker_has_enough(served: hostile_web.Served, kind: Page) -> None:
    entry = of_kind(kind)
    got = get(served, entry.host, entry.path, most=2 << 20)
    assert len(got) >= 2 << 20
    assert (b"\r\n\r\n" in got) == (kind in (Page.ENDLESS_CHUNKED, Page.ENDLESS_LENGTH))
    deadline = time.monotonic() + 10
    while not any(one.path == entry.path for one in served.log) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [one.complete for one in served.log if one.path == entry.path] == [False]


def test_the_bomb_is_a_whole_gzip_file_of_a_gigabyte(served: hostile_web.Served) -> None:
    entry = of_kind(Page.BOMB)
    head, _, packed = get(served, entry.host, entry.path, most=4 << 20).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(packed)}\r\n".encode() in head + b"\r\n"
    assert len(packed) < BOMB_BYTES / 500
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    length, rest = 0, packed
    while rest:
        length += len(unpacker.decompress(rest, 1 << 20))
        rest = unpacker.unconsumed_tail
    length += len(unpacker.flush())
    assert (length, unpacker.eof) == (BOMB_BYTES, True)


def test_lies_about_length_and_coding(served: hostile_web.Served) -> None:
    def body(kind: Page) -> tuple[bytes, int]:
        entry = of_kind(kind)
        head, _, got = get(served, entry.host, entry.path).partition(b"\r\n\r\n")
        lengths = [int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")]
        return got, lengths[0] if lengths else -1

    got, length = body(Page.LENGTH_TOO_LARGE)
    assert len(got) < length
    got, length = body(Page.LENGTH_TOO_SMALL)
    assert len(got) > length > 0
    got, length = body(Page.CHUNK_MISSING)
    assert length == -1
    assert not got.endswith(b"0\r\n\r\n")
    assert gzip.decompress(gzip.decompress(body(Page.TWICE_GZIPPED)[0])).startswith(b"<!DOCTYPE html>")
    with pytest.raises(EOFError):
        gzip.decompress(body(Page.TORN_GZIP)[0])
    with pytest.raises(UnicodeDecodeError):
        body(Page.WRONG_CHARSET)[0].decode()
    assert body(Page.HTTP_09)[0] == b""
    assert body(Page.EMPTY) == (b"", -1)


def test_silence_resets_and_closed_ports(served: hostile_web.Served) -> None:
    entry = of_kind(Page.RESET)
    with pytest.raises(ConnectionResetError):
        get(served, entry.host, entry.path)
    for host, path in (
        (host_of(Host.SILENT), "/robots.txt"),
        (of_kind(Page.STUCK).host, of_kind(Page.STUCK).path),
    ):
        with closing(connect(served)) as connection:
            ask(connection, host, path)
            connection.settimeout(0.05)
            with pytest.raises(TimeoutError):
                connection.recv(1)
    assert WEB.resolve(served.port)[host_of(Host.REFUSING)] == f"{CLOSED}:{served.port}"
    with pytest.raises(ConnectionRefusedError):
        connect(served, CLOSED)


def test_robots_of_every_kind(served: hostile_web.Served) -> None:
    def robots(kind: Host) -> bytes:
        return get(served, host_of(kind), "/robots.txt", most=1 << 14)

    assert robots(Host.PLAIN).startswith(b"HTTP/1.1 404 ")
    assert robots(Host.ROBOTS_503).startswith(b"HTTP/1.1 503 ")
    assert robots(Host.DISALLOWING).endswith(b"User-agent: *\nDisallow: /private/\n")
    assert b"Crawl-delay: 0.2" in robots(Host.CRAWL_DELAY)
    assert b"Location: http://h0." in robots(Host.ROBOTS_AWAY)
    assert f"Location: http://{CANARY}:{served.port}/".encode() in robots(Host.ROBOTS_PRIVATE)
    assert get(served, "h0.hostile-000.org", "/rules/any.txt").endswith(b"Disallow: /private/\n")


def test_a_host_that_dies_answers_a_few_pages_first() -> None:
    host = host_of(Host.DYING)
    path = next(path for name, path in WEB.pages if name == host)
    assert [answer_of(host, path, num_of_host=number).then for number in (0, 2, 3)] == [
        Then.KEEP,
        Then.KEEP,
        Then.RESET,
    ]
    assert answer_of(host_of(Host.OVERLOADED), "/open/1").pause_s == 3600


def test_the_process_serves_and_logs_the_same_web(tmp_path: Path) -> None:
    with hostile_web.running(tmp_path / "log.ndjson", seed=1, num_hosts=60, num_pages=6_000) as run:
        entry = of_kind(Page.GOOD)
        assert run.web.links() == WEB.links()
        assert run.resolve()[entry.host] == f"127.0.0.1:{run.port}"
        with closing(socket.create_connection(("127.0.0.1", run.port), timeout=10)) as connection:
            ask(connection, entry.host, entry.path)
            assert entry.url.encode() in read(connection, most=1)
            (one,) = run.log
            assert (one.host, one.path, one.complete) == (entry.host, entry.path, True)
            ask(connection, of_kind(Page.STUCK).host, of_kind(Page.STUCK).path)
    lines = (tmp_path / "log.ndjson").read_text().splitlines()
    assert [json.loads(line)["complete"] for line in lines] == [True, False]


# --- what the log proves ----------------------------------------------------------------------------------


def asked(host: str, path: str, began: float, ended: float, **other: object) -> Asked:
    values = {"complete": True, "address": "127.0.0.1", "status": 200, **other}
    return Asked(host, path, began, ended, **values)  # type: ignore[arg-type]


def test_requests_that_overlap_or_follow_too_soon_are_told() -> None:
    delays = {"a.org": 1.0, "b.org": 1.0}
    good = [asked("h1.a.org", "/1", 0, 1), asked("h2.a.org", "/2", 2, 3), asked("h1.b.org", "/1", 0.5, 5)]
    assert hostile_web.asked_too_often(good, delays) == []
    soon = [*good, asked("h3.a.org", "/3", 3.5, 4)]
    assert hostile_web.asked_too_often(soon, delays) == [
        "a.org: 0.500 s from http://h2.a.org/2 to http://h3.a.org/3, not 1"
    ]
    long = [
        asked("h1.a.org", "/long", 0, 9),
        asked("h1.a.org", "/in", 1, 2),
        asked("h1.a.org", "/out", 10, 11),
    ]
    assert len(hostile_web.asked_too_often(long, delays)) == 1
    broken_off = [asked("a.org", "/1", 0, 1.2, complete=False), asked("a.org", "/2", 2, 3)]
    assert hostile_web.asked_too_often(broken_off, delays) == []
    assert len(hostile_web.asked_too_often(broken_off, delays, lag_s=0)) == 1


def test_requests_in_a_pause_are_told() -> None:
    log = [asked("a.org", "/1", 0, 1, pause_s=5.0), asked("a.org", "/2", 6.5, 7), asked("b.org", "/1", 2, 3)]
    assert hostile_web.asked_in_pause(log) == []
    assert hostile_web.asked_in_pause([*log, asked("a.org", "/3", 5, 6)]) == [
        "http://a.org/3 1.000 s too early"
    ]


def test_forbidden_pages_are_told() -> None:
    host, barred, plain = host_of(Host.DISALLOWING), host_of(Host.ROBOTS_503), host_of(Host.PLAIN)
    log = [asked(one, "/robots.txt", 0, 1) for one in (host, barred, plain)]
    log += [asked(host, "/open/1", 2, 3), asked(plain, "/private/1", 2, 3)]
    assert hostile_web.forbidden(log, WEB) == []
    wrong = [asked(host, "/private/1", 4, 5), asked(barred, "/open/1", 4, 5), asked(plain, "/", 0, 0.1)]
    assert hostile_web.forbidden([*log, *wrong], WEB) == [
        f"http://{host}/private/1 is forbidden",
        f"http://{barred}/open/1 is forbidden",
        f"http://{plain}/ before robots.txt",
    ]
    other = host_of(Host.ALLOWING)
    assert hostile_web.forbidden([asked(other, "/", 0, 1)], WEB) == [f"http://{other}/ without robots.txt"]


def test_pages_that_were_served_twice_are_told_unless_there_was_reason_to_ask_again() -> None:
    good, later, crashed = of_kind(Page.GOOD), of_kind(Page.LATER_429), of_kind(Page.CRASHED)
    once = asked(good.host, good.path, 0, 1)
    log = [once, asked(good.host, good.path, 2, 3, complete=False)]
    log += [asked(later.host, later.path, 0, 1, status=429), asked(later.host, later.path, 5, 6)]
    log += [asked(crashed.host, crashed.path, at, at + 1, status=500) for at in (0, 5)]
    assert hostile_web.asked_twice(log, WEB) == []
    twice = [*log, asked(good.host, good.path, 5, 6)]
    assert hostile_web.asked_twice(twice, WEB) == [f"{good.url} 2 times"]
    assert hostile_web.asked_twice(twice, WEB, kills=[1.5]) == []
    assert hostile_web.asked_twice(twice, WEB, kills=[3.0]) == [f"{good.url} 2 times"]


def test_requests_to_private_addresses_are_told(served: hostile_web.Served) -> None:
    assert hostile_web.private([asked("h0.hostile-000.org", "/", 0, 1)], WEB) == []
    for address, host in ((CANARY, "h0.hostile-000.org"), ("127.0.0.1", "127.1")):
        with closing(connect(served, address)) as connection:
            ask(connection, f"{host}:{served.port}", "/inside")
            read(connection, most=1)
    assert hostile_web.private(served.log, WEB) == [
        f"http://h0.hostile-000.org/inside at {CANARY}",
        "http://127.1/inside at 127.0.0.1",
    ]


# --- the name server --------------------------------------------------------------------------------------


def test_the_name_server_answers_as_it_is_told() -> None:
    names: dict[str, dns_server.Answer | list[dns_server.Answer]] = {
        "two.org": dns_server.at("192.0.2.1", "192.0.2.2", "2001:db8::1", ttl_s=7),
        "broken.org": dns_server.SERVFAIL,
        "empty.org": dns_server.at(),
        "silent.org": dns_server.SILENCE,
        "turning.org": [dns_server.at("192.0.2.1", ttl_s=0), dns_server.at("127.0.0.1", ttl_s=0)],
    }

    async def look_up(server: dns_server.NameServer) -> None:
        async with aiodns.DNSResolver(nameservers=[server.address], timeout=0.2, tries=1) as resolver:

            async def addresses(name: str, kind: str = "A") -> list[str] | str:
                try:
                    answers = (await resolver.query_dns(name, kind)).answer
                except aiodns.error.DNSError as error:
                    return str(error.args[1])
                return [str(getattr(one.data, "addr", "")) for one in answers]

            assert await addresses("two.org") == ["192.0.2.1", "192.0.2.2"]
            assert await addresses("two.org", "AAAA") == ["2001:db8::1"]
            assert await addresses("nowhere.org") == "Domain name not found"
            assert await addresses("broken.org") == "DNS server returned general failure"
            assert await addresses("empty.org") == "DNS server returned answer with no data"
            assert await addresses("silent.org") == "Timeout while contacting DNS servers"
            assert [await addresses("turning.org") for _ in range(3)] == [
                ["192.0.2.1"],
                ["127.0.0.1"],
                ["127.0.0.1"],
            ]

    with dns_server.serving(names) as server:
        asyncio.run(look_up(server))
        assert len(server.queries("turning.org", "A")) == 3
        assert [one.kind for one in server.queries("two.org")] == ["A", "AAAA"]
