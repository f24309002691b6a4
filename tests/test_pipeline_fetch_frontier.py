"""Whose turn it is, on a clock that jumps from timer to timer: pauses are exact, nothing waits in vain."""

import asyncio
import contextlib
import random
import selectors
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.fetch import client as client_module
from pipeline.fetch.backlog import Backlog
from pipeline.fetch.client import BytesWanted
from pipeline.fetch.exchange import Exchange, Failure, Headers, Refusal, Response, Timings
from pipeline.fetch.fetcher import Fetcher
from pipeline.fetch.frontier import Frontier
from pipeline.fetch.opted_out import OptedOut
from pipeline.fetch.pauses import Pauses
from pipeline.fetch.plan import plan
from pipeline.fetch.politeness import delay_s
from pipeline.fetch.tries import Settled
from pipeline.fetch.web import Group, crawl
from pipeline.records import Reason
from pipeline.urls import Url
from tests.pipeline_fetch_site import Site, ledger, make_job, page, serving

DATE = datetime(2020, 1, 1, tzinfo=UTC)
REQUEST_S = 0.25


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when all wait, and then at once; to wait in vain is an error."""

    def __init__(self) -> None:
        selector: Any = selectors.DefaultSelector()
        super().__init__(selector)
        self._now = 0.0
        select = selector.select

        def jump(timeout: float | None = None) -> Any:
            if timeout is None:
                raise AssertionError("everything waits, and nothing will ever come")
            self._now += timeout
            return select(0)

        selector.select = jump

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; ``reached`` says whether it got so far as to ask a server."""

    url: str
    domain: str
    began: float
    ended: float
    reached: bool


Answer = tuple[int, Mapping[str, str], bytes] | Reason


@dataclass
class Web:
    """Answers by URL, in the place of a client; what it does not know is 404."""

    pages: Mapping[str, Answer]
    log: list[Asked] = field(default_factory=list)
    at_work: set[str] = field(default_factory=set)

    async def get(
        self, url: Url, bytes_wanted: BytesWanted, *, keep_alive: bool = True
    ) -> Exchange | Failure:
        """Takes its time, and holds that nobody else asks the same domain meanwhile."""
        assert keep_alive in (True, False)
        assert url.domain not in self.at_work
        self.at_work.add(url.domain)
        time = asyncio.get_running_loop().time
        began = time()
        await asyncio.sleep(REQUEST_S)
        answer = self.pages.get(url.href, (404, {}, b""))
        self.log.append(Asked(url.href, url.domain, began, time(), answer is not Reason.DNS))
        self.at_work.discard(url.domain)
        timings = Timings(REQUEST_S)
        if isinstance(answer, Reason):
            return Failure(url.href, DATE, timings, None, Refusal(answer))
        status, fields, body = answer
        headers = Headers(tuple(fields.items()))
        response = Response(
            f"HTTP/1.1 {status} So", status, headers, body[: bytes_wanted(status, headers)], False
        )
        return Exchange(url.href, DATE, timings, None, "GET / HTTP/1.1", Headers(()), response)

    def asked(self, domain: str) -> list[Asked]:
        """What a domain was asked for, in order."""
        return [one for one in self.log if one.domain == domain]


HTML: Answer = (200, {"Content-Type": "text/html"}, b"<p>words")


def to(location: str) -> Answer:
    return 302, {"Location": location}, b""


def rules(text: str) -> Answer:
    return 200, {"Content-Type": "text/plain"}, text.encode()


def domain_of(address: str) -> str:
    url = urls.parse(address)
    return url.domain if url else "of.rubbish"


def fetched(
    path: Path, pages: Mapping[str, Answer], links: Sequence[str], **values: Any
) -> tuple[Web, list[Settled]]:
    """What becomes of links on such a web; each is settled for good, once, by its last try."""
    hosts = {url.host for one in [*pages, *links] if (url := urls.parse(one))}
    usual = {"delay_s": 1.0, "tries": 2, "retry_wait_s": 5.0, "connections": 4}
    table = dict.fromkeys(hosts, "127.0.0.1:1")
    settings = FetchSettings(**{**usual, "resolve": table, **values})
    known = pa.table(
        {
            "id": pa.array([str(number) for number in range(len(links))], pa.string()),
            "url": pa.array(links, pa.string()),
            "domain": pa.array([domain_of(one) for one in links], pa.string()),
        }
    )
    web, settled = Web(pages), []

    async def settle(one: Settled) -> None:
        settled.append(one)

    async def run() -> None:
        with Backlog(path / "backlog", lambda name: delay_s(name, settings)) as backlog:
            num = backlog.add(0, known, None, {})
            backlog.order()
            frontier = Frontier(
                backlog.starts(),
                backlog.open,
                lambda name: delay_s(name, settings),
                num_links=num,
                max_open=3,
                clock=asyncio.get_running_loop().time,
            )
            frontier.begin()
            pauses = Pauses(path / "pauses.ndjson")
            fetcher = Fetcher(web, settings, frontier, OptedOut(), pauses, settle)  # type: ignore[arg-type]
            await asyncio.gather(*(fetcher.work() for _ in range(settings.connections)))
            assert frontier.num_left == frontier.num_at_work == 0

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(run())
    assert Counter(one.link.id for one in settled if one.final) == dict.fromkeys(
        map(str, range(len(links))), 1
    )
    assert {one.link.id: one.final for one in settled} == dict.fromkeys(map(str, range(len(links))), True)
    for name in {one.domain for one in web.log}:
        for first, second in pairwise(web.asked(name)):
            assert not first.reached or second.began - first.ended >= delay_s(name, settings) - 1e-6
    return web, settled


def outcomes(settled: Sequence[Settled]) -> dict[str, str]:
    return {
        one.link.url: str(one.outcome.refusal.reason) if one.outcome.refusal else "fetched" for one in settled
    }


def test_domains_take_turns_each_with_its_pause_and_the_longest_first(tmp_path: Path) -> None:
    sizes = {"a.example": 2, "b.example": 9, "c.example": 5, "d.example": 1}
    links = [f"http://{name}/{number}" for name, size in sizes.items() for number in range(size)]
    web, settled = fetched(tmp_path, dict.fromkeys(links, HTML), links, connections=1, delay_s=20.0)
    assert set(outcomes(settled).values()) == {"fetched"}
    assert [one.domain for one in web.log[:3]] == ["b.example", "c.example", "a.example"]
    # The longest alone bounds it: its robots.txt and nine pages, with nine pauses between.
    assert web.log[-1].ended == pytest.approx(10 * REQUEST_S + 9 * 20.0, abs=2.0)


def test_a_redirect_into_another_domain_waits_for_that_domains_turn(tmp_path: Path) -> None:
    links = [f"http://a.example/{number}" for number in range(5)]
    links += [f"http://b.example/{number}" for number in range(5)]
    pages = dict.fromkeys(links, HTML) | {f"http://b.example/to{n}": HTML for n in range(5)}
    pages |= {f"http://a.example/{n}": to(f"http://b.example/to{n}") for n in range(5)}
    web, settled = fetched(tmp_path, pages, links)
    assert set(outcomes(settled).values()) == {"fetched"}
    assert len(web.asked("b.example")) == 11


def test_rules_that_lead_to_another_domain_and_back_are_found(tmp_path: Path) -> None:
    pages = {
        "http://a.example/robots.txt": to("http://b.example/rules"),
        "http://b.example/rules": to("http://a.example/rules"),
        "http://a.example/rules": rules("User-agent: *\nDisallow: /no"),
        "http://c.example/robots.txt": to("http://d.example/robots.txt"),
        "http://d.example/robots.txt": to("http://c.example/robots.txt"),
    }
    links = [f"http://{name}.example/{path}" for name in "abcd" for path in ("yes", "no")]
    web, settled = fetched(tmp_path, {**pages, **dict.fromkeys(links, HTML)}, links)
    found = outcomes(settled)
    assert found.pop("http://a.example/no") == "robots"
    assert set(found.values()) == {"fetched"}
    assert "http://a.example/no" not in {one.url for one in web.log}


def test_a_try_that_is_parked_comes_back_when_its_time_has_come(tmp_path: Path) -> None:
    links = ["http://a.example/down", "http://a.example/up"]
    web, settled = fetched(tmp_path, {links[0]: (500, {}, b""), links[1]: HTML}, links, tries=3)
    asked = [one for one in web.log if one.url == links[0]]
    assert len(asked) == 3
    assert all(second.began - first.ended >= 5.0 for first, second in pairwise(asked))
    assert [(one.attempt, one.final) for one in settled if one.link.url == links[0]] == [
        (1, False),
        (2, False),
        (3, True),
    ]


def test_a_host_that_wants_a_pause_gets_it_and_the_same_is_asked_again(tmp_path: Path) -> None:
    link = "http://a.example/busy"
    web, settled = fetched(tmp_path, {link: (429, {"Retry-After": "100"}, b"")}, [link])
    asked = [one for one in web.log if one.url == link]
    assert all(second.began - first.ended >= 100.0 for first, second in pairwise(asked))
    assert outcomes(settled) == {link: "rate_limited"}


RUBBISH = [
    "",
    " ",
    "http://",
    "https://",
    "http:///path",
    "javascript:alert(1)",
    "mailto:a@b.example",
    "no url at all",
    "%",
    "http://%/",
    "http://a.example/%",
    "http://a.example/%zz?%",
    "http://2001:db8::1/",
    "http://[::1/",
    "http://[::1]/",
    "http://a.example:99999/",
    "http://a.example:/",
    "http://a.example/\x00\x01\x7f",
    "http://a.exa\nmple/",
    "http://a.example/" + "x" * 20_000,
    "http://" + "a" * 300 + ".example/",
    "http://user:word@a.example/",
    "ftp://a.example/",
    "http://xn--/",
    "http://ü.example/ü?ü#ü",
    "\u2028http://a.example/",
    "//a.example/",
]


def test_rubbish_among_the_links_is_settled_with_a_reason(tmp_path: Path) -> None:
    _, settled = fetched(tmp_path, {"http://a.example/fine": HTML}, [*RUBBISH, "http://a.example/fine"])
    found = outcomes(settled)
    assert found.pop("http://a.example/fine") == "fetched"
    assert set(found.values()) <= {"bad_url", "http_4xx", "private_address"}
    assert all(found[one] == "bad_url" for one in RUBBISH[:10])


names = st.sampled_from(["a.example", "www.a.example", "b.example", "c.example"])
paths = st.sampled_from(["/", "/1", "/2", "/3", "/robots.txt"])
addresses = st.builds(lambda name, path: f"http://{name}{path}", names, paths)
answers: st.SearchStrategy[Answer] = st.one_of(
    st.just(HTML),
    addresses.map(to),
    st.sampled_from([200, 404, 429, 500, 503]).map(lambda status: (status, {}, b"<p>some")),
    st.sampled_from(["0", "7", "100000"]).map(lambda pause: (503, {"Retry-After": pause}, b"")),
    st.sampled_from([Reason.DNS, Reason.CONNECT, Reason.TIMEOUT, Reason.PROTOCOL, Reason.TLS]),
    st.sampled_from(["Disallow: /1", "Crawl-delay: 3", "Crawl-delay: 99"]).map(
        lambda line: rules(f"User-agent: *\n{line}")
    ),
)


@given(st.dictionaries(addresses, answers), st.lists(addresses | st.sampled_from(RUBBISH), max_size=12))
def test_whatever_the_web_answers_everything_is_settled(
    tmp_path_factory: pytest.TempPathFactory, pages: dict[str, Answer], links: list[str]
) -> None:
    web, settled = fetched(tmp_path_factory.getbasetemp(), pages, links)
    assert len(web.log) < 100 + 30 * len(links)
    for one in settled:
        assert [each.url for each in one.outcome.way] == list(dict.fromkeys(x.url for x in one.outcome.way))


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as served:
        yield served


def test_a_clock_that_is_set_back_spoils_no_figure_and_no_pause(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(10**6))

    class Back(datetime):
        """The time of day, an hour earlier each time that it is asked."""

        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime(2030, 1, 1, tzinfo=tz) - timedelta(hours=next(steps))

    monkeypatch.setattr(client_module, "datetime", Back)
    stamp = "Tue, 01 Jan 2019 00:00:00 GMT"
    answers_left = [page("", 503, Date=stamp, Retry_After=stamp), page("<p>at last")]

    async def busy_at_first(request: Any) -> Any:
        return await answers_left.pop(0)(request)

    site.pages = {"a.example.com/busy": busy_at_first, "a.example.com/1": page("<p>one")}
    links = [f"http://a.example.com/{name}" for name in ("busy", "1", "none")]
    settings = FetchSettings(delay_s=0.0, tries=1, retry_wait_s=0.0, resolve=site.resolve("a.example.com"))
    job = make_job(tmp_path, [links], settings)
    with contextlib.chdir(tmp_path):
        crawl(job, Group(0, plan(job).parts))
    found = ledger(job)
    assert [found[link]["outcome"] for link in links] == ["fetched", "fetched", "http_4xx"]
    for row in found.values():
        for name in ("dns_s", "connect_s", "first_byte_s", "seconds"):
            assert row[name] is None or row[name] >= 0
        assert row["seconds"] < 60
        assert row["fetched"] < datetime(2030, 1, 2, tzinfo=UTC)
    assert answers_left == []


def test_the_order_of_turns_is_the_same_again(tmp_path: Path) -> None:
    chance = random.Random(8)
    links = [f"http://{chance.choice('abc')}.example/{number}" for number in range(40)]
    logs = [fetched(tmp_path, dict.fromkeys(links, HTML), links)[0].log for _ in range(2)]
    assert logs[0] == logs[1]
