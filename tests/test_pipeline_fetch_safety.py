"""fetch from the public web, as far as a crawler must mind it: names, addresses, ports, certificates.

127.0.0.2 plays the public internet here, and the rest of loopback a private network: what may be connected
to is the one thing that these tests set, and names come from a real name server.
"""

import asyncio
import gzip
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from pipeline.config import FetchSettings
from pipeline.errors import InputError
from pipeline.fetch.client import Address, Client
from pipeline.fetch.exchange import Exchange, Failure
from pipeline.fetch.plan import plan
from pipeline.fetch.resolver import CachingResolver, NoSuchNameError
from pipeline.fetch.web import Group, crawl
from pipeline.urls import parse
from tests import dns_server
from tests.dns_server import NXDOMAIN, SERVFAIL, Answer, at
from tests.pipeline_fetch_site import Site, ledger, make_job, page, redirect, serving

PUBLIC, PRIVATE = "127.0.0.2", "127.0.0.1"


def is_public(address: Address) -> bool:
    return str(address) == PUBLIC


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site(), PUBLIC) as served:
        yield served


def fetch(
    root: Path,
    links: Sequence[str],
    names: Mapping[str, Answer | Sequence[Answer]],
    site: Site,
    **values: Any,
) -> dict[str, str]:
    """The outcome of each link, of names that a name server gives."""
    with dns_server.serving(names) as server:
        usual = {"delay_s": 0.0, "timeout_s": 5.0, "tries": 1, "retry_wait_s": 0.0, "dead_after": 1}
        settings = FetchSettings(
            contact="test@example.com",
            nameservers=(server.address,),
            ports=(80, 443, site.port),
            **{**usual, **values},
        )
        job = make_job(root, [list(links)], settings)
        crawl(job, Group(0, plan(job).parts), is_public)
        return {url: row["outcome"] for url, row in ledger(job).items()}


def test_no_spelling_of_a_private_address_is_asked(site: Site, tmp_path: Path) -> None:
    port = site.port
    site.pages = {"a.example.com/open": page()}
    aims = [
        f"http://{PRIVATE}:{port}/",
        f"http://127.1:{port}/",
        f"http://0x7f.1:{port}/",
        f"http://2130706433:{port}/",
        f"http://0177.0.0.1:{port}/",
        f"http://[::ffff:{PRIVATE}]:{port}/",
        f"http://[::1]:{port}/",
        f"http://localhost:{port}/",
        f"http://printer.local:{port}/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://224.0.0.1/",
        f"http://inside.example.net:{port}/",
        f"http://inside6.example.net:{port}/",
    ]
    site.pages |= {f"a.example.com/{number}": redirect(aim) for number, aim in enumerate(aims)}
    names = {
        "a.example.com": at(PUBLIC),
        "inside.example.net": at(PRIVATE),
        "inside6.example.net": at("::1", "fd00::1"),
    }
    host = f"http://a.example.com:{port}"
    hops = [f"{host}/{number}" for number in range(len(aims))]
    outcomes = fetch(tmp_path, [*hops, *aims, f"{host}/open"], names, site)
    assert outcomes.pop(f"{host}/open") == "fetched"
    assert set(outcomes.values()) == {"private_address"}
    assert {one.host for one in site.log} == {"a.example.com"}


def test_a_name_that_leads_elsewhere_the_second_time_is_not_followed(site: Site, tmp_path: Path) -> None:
    """DNS rebinding: what counts is the address that is connected to."""
    site.pages = {f"a.example.com/{number}": page(Connection="close") for number in range(3)}
    with serving(Site(port=site.port), PRIVATE) as inside:
        names = {"a.example.com": [at(PRIVATE, ttl_s=0)]}
        host = f"http://a.example.com:{site.port}"
        outcomes = fetch(tmp_path / "1", [f"{host}/0"], names, site)
        assert outcomes == {f"{host}/0": "private_address"}
        both = {"a.example.com": [at(PRIVATE, PUBLIC)]}
        outcomes = fetch(tmp_path / "2", [f"{host}/{number}" for number in range(3)], both, site)
        assert set(outcomes.values()) == {"fetched"}, "of two addresses the public one is taken"
        assert inside.log == []


def test_names_that_there_are_not_cost_nothing(site: Site, tmp_path: Path) -> None:
    site.pages = {"a.example.com/": page()}
    names = {"a.example.com": at(PUBLIC), "broken.example.net": SERVFAIL, "none.example.org": NXDOMAIN}
    links = [f"http://{name}:{site.port}/" for name in names]
    links += [f"http://none.example.org:{site.port}/{number}" for number in range(50)]
    outcomes = fetch(tmp_path, links, names, site, delay_s=0.5)
    assert outcomes.pop(f"http://a.example.com:{site.port}/") == "fetched"
    assert set(outcomes.values()) == {"dns"}


def test_only_the_ports_of_the_settings_are_asked(site: Site, tmp_path: Path) -> None:
    names = {"a.example.com": at(PUBLIC)}
    with dns_server.serving(names) as server:
        settings = FetchSettings(contact="me@example.com", nameservers=(server.address,))
        links = [f"http://a.example.com:{site.port}/", "http://a.example.com:8080/"]
        job = make_job(tmp_path, [links], settings)
        crawl(job, Group(0, plan(job).parts), is_public)
        assert {row["outcome"] for row in ledger(job).values()} == {"bad_port"}
        assert server.log == []
    assert site.log == []


def test_answers_of_name_servers_are_remembered_and_asked_for_once() -> None:
    async def look_up(port: str) -> list[Any]:
        resolver = CachingResolver([port])
        several = await asyncio.gather(*(resolver.resolve("a.example.com", 80) for _ in range(20)))
        found: list[Any] = [sorted(one["host"] for one in several[0])]
        found.append(sorted(one["host"] for one in await resolver.resolve("a.example.com", 443)))
        for name in ("none.example.org", "none.example.org", "broken.example.net", "broken.example.net"):
            with pytest.raises(OSError, match=r".") as raised:
                await resolver.resolve(name, 80)
            found.append(type(raised.value))
        await resolver.close()
        return found

    names = {"a.example.com": at(PUBLIC, "2001:db8::1"), "broken.example.net": SERVFAIL}
    with dns_server.serving(names) as server:
        found = asyncio.run(look_up(server.address))
        asked = [len(server.queries(name, "A")) for name in ("a.example.com", "none.example.org")]
    assert found == [
        [PUBLIC, "2001:db8::1"],
        [PUBLIC, "2001:db8::1"],
        NoSuchNameError,
        NoSuchNameError,
        OSError,
        OSError,
    ]
    assert asked == [1, 1]


def serve_tls(context: ssl.SSLContext) -> socket.socket:
    """A server of one page over TLS, on a thread that ends with its listener."""
    listener = socket.create_server((PUBLIC, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(4096)
                    secured.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n"
                        b"Connection: close\r\n\r\n<html>"
                    )
            except OSError:
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return listener


def test_a_certificate_that_does_not_hold_is_never_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, stranger = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(tmp_path / "trusted.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    outcomes = {}
    for name, authority, host in (
        ("good", trusted, "a.example.com"),
        ("stranger", stranger, "a.example.com"),
        ("name", trusted, "b.example.com"),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(context)
        with serve_tls(context) as listener:
            port = listener.getsockname()[1]
            command = [sys.executable, "-c", _ASK_BY_TLS, str(port)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
            outcomes[name] = done.stdout.strip()
    assert outcomes == {"good": "200", "stranger": "certificate", "name": "certificate"}


# In a process of its own: which authorities are trusted is read once, when aiohttp is imported.
_ASK_BY_TLS = """
import asyncio, sys
from pipeline.config import FetchSettings
from pipeline.fetch.client import Client
from pipeline.urls import parse

async def ask(port):
    async with Client(FetchSettings(resolve={"a.example.com": f"127.0.0.2:{port}"})) as client:
        answer = await client.get(parse("https://a.example.com/"), lambda *_: 1000)
        print(answer.response.status if hasattr(answer, "response") else answer.refusal.reason)

asyncio.run(ask(int(sys.argv[1])))
"""


def test_nothing_is_taken_from_the_environment(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine a.example.com login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    seen: list[Mapping[str, str]] = []

    async def tell(request: web.BaseRequest) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response(text="<html>", content_type="text/html", headers={"Set-Cookie": "id=1"})

    site.pages = {"a.example.com/1": tell, "a.example.com/2": tell}
    host = f"a.example.com:{site.port}"
    links = [f"http://user:word@{host}/1", f"http://{host}/2"]
    outcomes = fetch(tmp_path / "run", links, {"a.example.com": at(PUBLIC)}, site)
    assert set(outcomes.values()) == {"fetched"}
    assert len(seen) == 2
    assert all({"Authorization", "Cookie", "Proxy-Authorization"}.isdisjoint(headers) for headers in seen)


def test_the_public_web_is_not_asked_without_a_contact(site: Site, tmp_path: Path) -> None:
    site.pages = {"a.example.com/out": redirect("http://example.net/")}
    settings = FetchSettings(delay_s=0, resolve={"a.example.com": f"{PUBLIC}:{site.port}"})
    links = ["http://a.example.com/out", "http://b.example.org/"]
    with pytest.raises(InputError, match=r"fetch\.contact is empty.*b\.example\.org.*contact = "):
        plan(make_job(tmp_path / "1", [links], settings))
    job = make_job(tmp_path / "2", [links[:1]], settings)
    crawl(job, Group(0, plan(job).parts))
    (row,) = ledger(job).values()
    assert (row["outcome"], row["detail"]) == (
        "private_address",
        "not in fetch.resolve, and no fetch.contact is set",
    )


def test_a_bomb_of_a_gigabyte_costs_no_more_than_the_limit() -> None:
    block = gzip.compress(bytes(1 << 20), 9)
    bomb = block * 1024

    async def explode(_: web.BaseRequest) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Type": "text/html", "Content-Encoding": "gzip"})

    def peak_mb() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    async def ask(port: int) -> tuple[Exchange | Failure, float]:
        """The bomb's answer, and by how many megabytes memory has grown since an ordinary page."""
        urls = [parse(f"http://a.example.com/{name}") for name in ("page", "bomb")]
        async with Client(FetchSettings(resolve={"a.example.com": f"{PUBLIC}:{port}"})) as client:
            before, answers = 0.0, []
            for url in urls:
                assert url is not None
                before = peak_mb()
                answers.append(await client.get(url, lambda *_: 5_000_000))
            return answers[1], peak_mb() - before

    pages = {"a.example.com/page": page(), "a.example.com/bomb": explode}
    with serving(Site(pages), PUBLIC) as site:
        answer, grown_mb = asyncio.run(ask(site.port))
    assert isinstance(answer, Exchange)
    assert answer.response.truncated
    assert answer.response.body == bytes(5_000_000)
    assert grown_mb < 60
