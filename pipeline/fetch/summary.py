"""A crawl in words: how it goes while it is at work and, once it is finished, how it went."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pipeline.fetch.figures import LATENCIES, LedgerFigures
from pipeline.fetch.progress import Figures
from pipeline.plain_table import byte_size, duration
from pipeline.status import Status

_LINE = 78  # characters that every terminal has room for


def fetch_lines(status: Status) -> list[str]:
    """How the crawl goes or, once it is finished, how it went; none where nothing is known of it."""
    if status.crawl is not None:
        age = duration(status.crawl.age_s)
        old = f"fetch is not running: these figures are {age} old, and `webtext build` goes on from there"
        figures = status.crawl.figures
        if status.crawl.is_running:
            return ["fetch is running", *(f"  {line}" for line in crawl_lines(figures))]
        return [old, *(f"  {line}" for line in crawl_lines(replace(figures, eta_s=None)))]
    return [] if status.ledger is None else list(_ledger_lines(status.ledger))


def crawl_lines(figures: Figures) -> list[str]:
    """How far a crawl is, how fast, what waits, and what failed most."""
    left = "" if figures.eta_s is None else f", about {duration(figures.eta_s)} to go"
    rate = f"{figures.pages_a_second:,.1f} pages/s, {byte_size(figures.bytes_a_second)}/s"
    waiting = f"{figures.hosts_waiting:,} hosts and {figures.links_waiting:,} links waiting"
    lines = [
        f"{figures.done:,} of {figures.links:,} links done in {duration(figures.seconds)}{left}",
        f"{rate}; {figures.pages:,} pages, {byte_size(figures.bytes)}",
        f"{figures.hosts_in_flight:,} hosts in flight, {waiting}",
    ]
    return lines + ([_numbers("failed", figures.failures)] if figures.failures else [])


def _ledger_lines(ledger: LedgerFigures) -> Iterator[str]:
    yield (
        f"fetch: {ledger.links:,} links on {ledger.hosts:,} hosts, {ledger.tries:,} tries; "
        f"{ledger.pages:,} pages, {byte_size(ledger.bytes)}"
    )
    if ledger.first is not None and ledger.last is not None:
        first, last = (f"{one:%Y-%m-%d %H:%M:%S}" for one in (ledger.first, ledger.last))
        rate = "" if ledger.pages_a_second is None else f", {ledger.pages_a_second:,.2f} pages/s"
        yield f"  from {first} to {last} UTC{rate}"
    if set(ledger.sources) - {"web"}:
        yield f"  {_numbers('from', ledger.sources)}"
    if ledger.classes:
        yield from textwrap.wrap(
            _numbers("failed", ledger.classes, most=len(ledger.classes)),
            _LINE,
            initial_indent="  ",
            subsequent_indent="    ",
        )
    if ledger.latencies:
        yield f"  {'seconds of a request':<22}{'tries':>12}" + "".join(
            f"{name:>9}" for name in ("50 %", "90 %", "99 %", "most")
        )
    names = ("to look its host up", "to connect", "to the first byte", "in all, redirects too")
    for column, name in zip(LATENCIES, names, strict=True):
        if column in ledger.latencies:
            one = ledger.latencies[column]
            seconds = (one.p50, one.p90, one.p99, one.max)
            yield f"  {name:<22}{one.num:>12,}" + "".join(f"{value:>9,.3f}" for value in seconds)


def _numbers(what: str, numbers: Mapping[str, int], most: int = 4) -> str:
    """``failed: 12 dns, 3 timeout``: the most frequent, and how many others there are."""
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(num for _, num in ordered[most:])
    shown = [f"{num:,} {name}" for name, num in ordered[:most]] + ([f"{rest:,} others"] if rest else [])
    return f"{what}: {', '.join(shown)}"
