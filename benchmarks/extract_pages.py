"""Pages for the benchmarks of extract: real ones and others made of them, as fetch would leave them."""

import html
import json
import random
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import lxml.html
import pyarrow as pa
from fastwarc.warc import ArchiveIterator, WarcRecordType
from isal import igzip

from pipeline.config import Extraction
from pipeline.extract.charset import decode
from pipeline.filter.language import load_detector
from pipeline.records import LEDGER, LINKS
from pipeline.runs import Counts, Folder, Manifest, Part, PartWriter
from pipeline.stages import BY_NAME, Job, part_name

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"

_DECLARED = re.compile(rb"canonical|og:url")

_NOON = datetime(2020, 1, 2, 12, tzinfo=UTC)


class Sample(NamedTuple):
    """A page: its kind, its URL, its body."""

    kind: str
    url: str
    body: bytes


def real_pages() -> list[Sample]:
    """The 88 labelled pages."""
    with (REALDATA / "realweb" / "pages.warc.gz").open("rb") as stream:
        return [
            Sample("article", record.headers["WARC-Target-URI"], record.reader.read())
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response)
        ]


def undeclared_pages() -> list[Sample]:
    """The same without their word on where they are: copies of a page would be one document by it."""
    return [one._replace(body=_DECLARED.sub(b"none", one.body)) for one in real_pages()]


def gold() -> dict[str, str]:
    """The hand-made text of each labelled page."""
    texts: dict[str, str] = json.loads((REALDATA / "realweb" / "gold.json").read_text("utf-8"))
    return texts


def mixed_pages(documentation: Path, num_pages: int) -> list[Sample]:
    """Pages as a crawl brings them, each large as a real one.

    45 % articles; 20 % articles in other languages (a real page's frame with a translation of the Debian
    handbook in it); 15 % pages whose article is not in the HTML (players, pictures: navigation only); 10 %
    shells that scripts would fill; 10 % error pages in a site's frame. WebText kept 8 million documents of
    45 million links, so more than half of what could be fetched was none of the first kind.
    """
    chooser = random.Random(0)
    pages, texts = real_pages(), gold()
    foreign = _foreign_texts(documentation)
    makers: dict[str, Callable[[Sample, int], bytes]] = {
        "article": lambda page, _: page.body,
        "other language": lambda page, number: _refilled(
            page, texts[page.url], foreign[number % len(foreign)]
        ),
        "no article": lambda page, _: _refilled(page, texts[page.url], []),
        "script's shell": lambda page, _: _emptied(page),
        "error": lambda page, _: _error(page, texts[page.url]),
    }
    kinds = chooser.choices([*makers], weights=[45, 20, 15, 10, 10], k=num_pages)
    found = []
    for number, kind in enumerate(kinds):
        page = chooser.choice(pages)
        found.append(Sample(kind, f"{page.url}#{number}", makers[kind](page, number)))
    return found


def _foreign_texts(documentation: Path) -> list[list[str]]:
    """Paragraphs of the Debian handbook's pages in other languages."""
    names = sorted(documentation.glob("**/debian-handbook/html/[!e]*/*.html"))
    if not names:
        raise SystemExit(f"{documentation} has no Debian handbook: unpack the package debian-handbook there")
    random.Random(1).shuffle(names)
    found = []
    for name in names:
        tree = lxml.html.fromstring(name.read_bytes())
        paragraphs = [" ".join(one.text_content().split()) for one in tree.xpath("//p|//div[@class='para']")]
        language, score = load_detector()(" ".join(paragraphs))
        if sum(map(len, paragraphs)) > 1500 and language != "en" and score > 0.8:  # many are untranslated
            found.append(paragraphs)
        if len(found) == 300:
            break
    return found


def _refilled(page: Sample, text: str, paragraphs: Sequence[str]) -> bytes:
    """The page with its article's blocks replaced by others; its language is not declared any more."""
    tree = lxml.html.fromstring(
        decode(page.body, None).encode(), parser=lxml.html.HTMLParser(encoding="utf-8")
    )
    tree.attrib.pop("lang", None)
    article = " ".join(text.split())
    blocks = [
        one
        for one in tree.iter("p", "li", "h1", "h2", "h3", "blockquote", "td", "div", "span")
        if (words := " ".join(one.text_content().split())) and len(words) > 20 and words[:60] in article
    ]
    first = blocks[0].getparent() if blocks else tree.find("body")
    places = None if first is None else (first, first.index(blocks[0]) if blocks else 0)
    for one in blocks:
        if one.getparent() is not None:
            one.drop_tree()
    if places is not None:
        for offset, paragraph in enumerate(paragraphs):
            element = lxml.html.Element("p")
            element.text = paragraph
            places[0].insert(places[1] + offset, element)
    for script in tree.xpath("//script[contains(., 'articleBody')]"):
        script.drop_tree()
    return bytes(lxml.html.tostring(tree, encoding="utf-8"))


def _emptied(page: Sample) -> bytes:
    """The page's head and scripts with one empty element for a body."""
    text = decode(page.body, None)
    head = re.split(r"<body[^>]*>", text, maxsplit=1, flags=re.IGNORECASE)[0]
    scripts = "".join(re.findall(r"<script\b.*?</script>", text[len(head) :], re.DOTALL | re.IGNORECASE))
    scripts = scripts.replace("articleBody", "body")
    noscript = "<noscript>You need to enable JavaScript to run this app.</noscript>"
    return f"{head}<body>{noscript}<div id=root></div>{scripts}</body></html>".encode()


def _error(page: Sample, text: str) -> bytes:
    """The page's frame with an apology in place of its article."""
    sorry = "Sorry, the page that you are looking for could not be found. Try a search instead."
    body = _refilled(page, text, [sorry]).decode("utf-8", "replace")
    title = html.escape("Page not found")
    return re.sub(r"<title[^>]*>[^<]*", f"<title>{title}", body, count=1, flags=re.IGNORECASE).encode()


def make_job(root: Path, parts: Sequence[Sequence[Sample]], settings: Extraction) -> Job:
    """A run with links and pages, a part for each list of pages."""
    run = Folder(str(root))
    links: list[Part] = []
    pages: list[Part] = []
    number = 0
    for index, samples in enumerate(parts):
        name = part_name(index)
        ids = [f"{number + row:032x}" for row in range(len(samples))]
        number += len(samples)
        writer = PartWriter(run / "links", name, "f")
        writer.table("parquet", _links(ids, samples))
        links.append(writer.commit(Counts(len(ids), len(ids)), seconds=0))
        writer = PartWriter(run / "pages", name, "f")
        with writer.open("warc.gz") as sink:
            places = [sink.write(_record(sample)) for sample in samples]
        writer.table("ledger.parquet", _ledger(ids, samples, f"{name}.warc.gz", places))
        pages.append(writer.commit(Counts(len(ids), len(ids)), seconds=0))
    inputs = {"fetch": _manifest("fetch", pages), "link": _manifest("link", links)}
    return Job(BY_NAME["extract"], run, settings, inputs)


def _manifest(stage: str, parts: list[Part]) -> Manifest:
    counts = Counts.total(part.counts for part in parts if part.counts is not None)
    return Manifest(stage, "0", "f", {}, {}, counts, tuple(parts), {})


def _record(sample: Sample) -> bytes:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + sample.body
    header = (
        f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Date: 2020-01-02T12:00:00Z\r\n"
        f"WARC-Target-URI: {sample.url}\r\nWARC-Identified-Payload-Type: text/html\r\n"
        "WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return igzip.compress(header.encode() + block + b"\r\n\r\n", 1, mtime=0)


def _links(ids: Sequence[str], samples: Sequence[Sample]) -> pa.Table:
    rows = [
        {
            "id": name,
            "url": sample.url,
            "canonical": sample.url,
            "domain": "example.com",
            "karma": 3,
            "karma_max": 3,
            "karma_sum": 3,
            "created": _NOON,
            "submissions": [{"id": name, "score": 3, "subreddit": "all", "created": _NOON}],
        }
        for name, sample in zip(ids, samples, strict=True)
    ]
    return pa.Table.from_pylist(rows, LINKS)


def _ledger(ids: Sequence[str], samples: Sequence[Sample], warc: str, lengths: Sequence[int]) -> pa.Table:
    rows = []
    offset = 0
    for name, sample, length in zip(ids, samples, lengths, strict=True):
        rows.append(
            {
                "id": name,
                "url": sample.url,
                "attempt": 1,
                "outcome": "fetched",
                "detail": "",
                "source": "web",
                "final_url": sample.url,
                "redirects": 0,
                "fetched": _NOON,
                "bytes": len(sample.body),
                "truncated": False,
                "revisit": False,
                "warc": warc,
                "offset": offset,
                "length": length,
            }
        )
        offset += length
    return pa.Table.from_pylist(rows, LEDGER)
