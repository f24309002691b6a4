"""Tables for benchmarks/corpus_run.py that a part's links lead to: the ledger, WARC records, documents."""

import gzip
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.corpus_rows import FAILURES, Corpus, Fate, Part, chosen, names
from benchmarks.corpus_texts import LANGUAGES, Drawn, Integers, chance, mixed
from pipeline.records import CORPUS, LEDGER, MEASURES, REJECTED, TIME

EXTRACTOR = "trafilatura 2.0.0"

_CRAWL_MS = 1_706_745_600_000  # 2024-02-01
_ANSWERED = ("fetched", "http_4xx", "http_5xx", "rate_limited", "wrong_type")
_STATUS = {"fetched": 200, "http_4xx": 404, "http_5xx": 502, "rate_limited": 429, "wrong_type": 200}
_NO_TEXT = {"no_text": 50, "error_page": 25, "too_slow": 15, "too_large": 10}


@dataclass(frozen=True, slots=True)
class Places:
    """Where the pages of a part's links are in its WARC file, and the bytes of their bodies."""

    offsets: Integers
    lengths: Integers
    sizes: Integers


def made_places(sizes: Integers) -> Places:
    """As if records lay one behind another, packed to a fourth."""
    lengths = 400 + sizes // 4
    return Places(np.cumsum(lengths) - lengths, lengths, sizes)


def warc_file(corpus: Corpus, part: Part, texts: pa.Array) -> tuple[bytes, Places]:
    """A WARC file of a part's pages, those with these texts among them, and where they are in it."""
    fates = part.fates[part.fates > Fate.FAILED]
    urls = part.links["url"].filter(pa.array(part.fates > Fate.FAILED)).to_pylist()
    rows = np.flatnonzero(fates >= Fate.FILTERED).tolist()
    named = titles(corpus, part.numbers[part.fates >= Fate.FILTERED])
    pages = [b"<html><body></body></html>"] * len(fates)
    for row, title, text in zip(rows, named, texts.to_pylist(), strict=True):
        pages[row] = _page(title, text)
    records = [gzip.compress(_record(url, page), 1, mtime=0) for url, page in zip(urls, pages, strict=True)]
    lengths = np.array([len(one) for one in records], dtype=np.int64)
    sizes = np.array([len(page) for page in pages], dtype=np.int64)
    return b"".join(records), Places(np.cumsum(lengths) - lengths, lengths, sizes)


def _record(url: str, body: bytes) -> bytes:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
    header = (
        f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\n"
        f"WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>\r\n"
        f"WARC-Date: 2024-02-01T00:00:00Z\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(http)}\r\n\r\n"
    )
    return header.encode() + http + b"\r\n\r\n"


def _page(title: str, text: str) -> bytes:
    """A page whose text is this one."""
    paragraphs = "".join(f"<p>{escape(line)}</p>\n" for line in text.splitlines())
    links = "".join(f'<li><a href="/{name}">{name}</a></li>' for name in ("home", "news", "about"))
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
        f"<body><nav><ul>{links}</ul></nav><main><h1>{escape(title)}</h1>\n{paragraphs}</main></body></html>"
    ).encode()


def ledger(corpus: Corpus, part: Part, places: Places) -> pa.Table:
    """A row a try: some links are tried twice. ``places`` has an entry for each link that brought a page."""
    numbers, fetched = part.numbers, part.fates > Fate.FAILED
    failure = names(list(FAILURES), chosen(numbers, 30, FAILURES))
    outcome = pc.if_else(pa.array(fetched), "fetched", failure)
    answered = pc.is_in(outcome, value_set=pa.array(_ANSWERED)).to_numpy(zero_copy_only=False)
    again = chance(numbers, 31) < 0.08
    from_archive = fetched & (chance(numbers, 32) < 0.06)
    columns: dict[str, Any] = {
        "id": part.links["id"],
        "url": part.links["url"],
        "attempt": pa.array(1 + again, pa.int32()),
        "outcome": outcome,
        "detail": pa.repeat("", len(numbers)),
        "source": names(("web", "wayback"), from_archive.astype(np.int64)),
        "redirects": pa.array((chance(numbers, 33) ** -0.3 - 1).astype(np.int32).clip(0, 5)),
        "robots": names(("allowed", "none"), (mixed(numbers, 34) & np.uint64(1)).astype(np.int64)),
        "fetched": pa.array(_CRAWL_MS + numbers * 43, TIME),
        **_seconds(corpus, part, answered),
        "truncated": pa.repeat(False, len(numbers)),
        "revisit": pa.repeat(False, len(numbers)),
        "status": pa.array([_STATUS.get(one) for one in outcome.to_pylist()], pa.int32()),
        "final_url": _where(answered, part.links["url"]),
        "content_type": _where(answered, "text/html; charset=utf-8"),
        "address": _where(answered, pa.array([f"192.0.2.{number % 254 + 1}" for number in numbers.tolist()])),
        "bytes": _spread(fetched, places.sizes),
        "warc": _where(fetched, f"part-{part.index:05d}.warc.gz"),
        "offset": _spread(fetched, places.offsets),
        "length": _spread(fetched, places.lengths),
    }
    last = pa.table({name: columns[name] for name in LEDGER.names}).cast(LEDGER)
    return pa.concat_tables([last, _first_tries(last.filter(pa.array(again)))])


def _first_tries(last: pa.Table) -> pa.Table:
    """Those of links that were tried twice: nothing answered in time."""
    num = last.num_rows
    columns = {field.name: pa.nulls(num, field.type) for field in LEDGER}
    columns |= {name: last[name] for name in ("id", "url", "redirects", "robots", "truncated", "revisit")}
    columns |= {
        "attempt": pa.repeat(1, num),
        "outcome": pa.repeat("timeout", num),
        "detail": pa.repeat("", num),
        "source": pa.repeat("web", num),
        "fetched": pc.subtract(last["fetched"], pa.scalar(90_000, pa.duration("ms"))),
        "seconds": pa.repeat(30.0, num),
    }
    return pa.table(columns).cast(LEDGER)


def _seconds(corpus: Corpus, part: Part, answered: Any) -> dict[str, pa.Array]:
    """How long requests took: by the host, and by chance; some very long."""
    numbers = part.numbers
    host = 0.02 * (chance(corpus.domain(numbers), 35) + 0.01) ** -0.8
    first = np.minimum(host * (chance(numbers, 36) + 1e-4) ** -0.5, 25)
    connect, dns = first * 0.3 * chance(numbers, 37), first * 0.2 * chance(numbers, 38)
    looked_up = answered & (chance(numbers, 39) < 0.2)
    whole = np.where(answered, first * (1 + chance(numbers, 40)), 30 * chance(numbers, 41))
    return {
        "dns_s": _where(looked_up, pa.array(dns, pa.float32())),
        "connect_s": _where(answered, pa.array(connect, pa.float32())),
        "first_byte_s": _where(answered, pa.array(first, pa.float32())),
        "seconds": pa.array(whole, pa.float32()),
    }


def _where(mask: Any, values: Any) -> pa.Array:
    """The values, and null where the mask is not."""
    return pc.if_else(pa.array(mask), values, None)


def _spread(mask: Any, values: Integers) -> pa.Array:
    """The values in the places of the mask, and null between them."""
    return pa.array(values).take(pa.array(np.cumsum(mask) - 1, mask=~mask))


def titles(corpus: Corpus, numbers: Integers) -> list[str]:
    """The documents' titles."""
    return [" ".join(words).capitalize() for words in corpus.words.some(numbers, 5, 42)]


def documents(corpus: Corpus, part: Part, drawn: Drawn, texts: pa.Array, entries: pa.Table) -> pa.Table:
    """All columns of the corpus and the verdicts of dedupe, for every document with a text.

    Args:
        corpus: The run.
        part: Its part.
        drawn: The documents' texts as forms.
        texts: And as they are.
        entries: The ledger's last tries of these documents.
    """
    has_text = part.fates >= Fate.FILTERED
    numbers = part.numbers[has_text]
    asked = corpus.asked(numbers)
    links = part.links.filter(pa.array(has_text))
    ids, num = links["id"].to_pylist(), len(numbers)
    words = np.add.reduceat(corpus.words.sizes[drawn.forms], drawn.bounds[:-1])
    sentences = np.add.reduceat(corpus.words.ends_sentence(drawn.forms).astype(np.int64), drawn.bounds[:-1])
    inner = links["submissions"].to_pylist()
    sites = [name.partition(".")[0].capitalize() for name in links["domain"].to_pylist()]
    days = pc.cast(pc.floor_temporal(links["created"], unit="day"), pa.timestamp("ms"))
    descriptions = pa.array([" ".join(words) for words in corpus.words.some(numbers, 12, 43)])
    columns: dict[str, Any] = {
        name: entries[name] for name in ("source", "fetched", "warc", "offset", "length")
    }
    columns |= {name: links[name] for name in ("id", "url", "karma", "created")}
    columns |= {
        "final_url": links["url"],
        "text": texts,
        "title": pa.array(titles(corpus, numbers)),
        "published": _where(chance(numbers, 44) < 0.7, pc.cast(days, pa.date32())),
        "site_name": _where(chance(numbers, 45) < 0.6, pa.array(sites)),
        "description": _where(chance(numbers, 46) < 0.5, descriptions),
        "license": _where(chance(numbers, 47) < 0.04, "https://creativecommons.org/licenses/by/4.0/"),
        "page_language": _where(chance(numbers, 48) < 0.8, names(LANGUAGES, asked.language)),
        "canonical_url": _where(chance(numbers, 49) < 0.5, links["url"]),
        "submissions": pa.array([[one["id"] for one in row] for row in inner]),
        "subreddits": pa.array([sorted({one["subreddit"] for one in row}) for row in inner]),
        "extractor": pa.repeat(EXTRACTOR, num),
        **corpus.measures(asked, words, sentences),
        **corpus.alike(numbers, ids),
    }
    fields = [*CORPUS, REJECTED.field("reason"), REJECTED.field("value")]
    return pa.table([_column(columns.get(one.name), one, num) for one in fields], pa.schema(fields))


def _column(values: Any, field: pa.Field, num: int) -> Any:
    """The column as the schema has it; what nobody gave is nothing."""
    if values is None:
        return pa.nulls(num, field.type) if field.nullable else pa.repeat(pa.scalar(0, field.type), num)
    return values if values.type == field.type else pc.cast(values, field.type)


def measured(table: pa.Table) -> pa.Table:
    """The columns of ``table`` that filter's table of measures has; no document is Wikipedia's."""
    columns = {"wikipedia": pa.nulls(table.num_rows, pa.string())}
    columns |= {name: table[name] for name in ("id", "url", *MEASURES.names) if name != "wikipedia"}
    return pa.table({name: columns[name] for name in ("id", "url", *MEASURES.names)})


def no_text(part: Part) -> pa.Table:
    """The rows of what extract rejects."""
    mask = part.fates == Fate.NO_TEXT
    links = part.links.filter(pa.array(mask))
    reasons = names(list(_NO_TEXT), chosen(part.numbers[mask], 50, _NO_TEXT))
    columns = {
        "id": links["id"],
        "url": links["url"],
        "reason": reasons,
        "value": pa.repeat("", len(reasons)),
    }
    return pa.table(columns).cast(REJECTED)
