"""What stands in for a reader's web, months and evaluation file where the tutorial is followed.

Real pages and a dump in the real form where they are beside the checkout, else the demo's.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from warcio.archiveiterator import ArchiveIterator

from pipeline.collect.dumps import zstd
from tests.conftest import SHARED
from webtext.demo.dump import write_dump
from webtext.demo.server import Server, serve
from webtext.demo.site import build_site
from webtext.demo.web import Kind, Page, Response, Site

_WINDOW_LOG = 31
_TWO_DAYS_S = 2 * 86_400
_NUM_MADE_PAGES = 300
_MADE_PASSAGE = "A name is known by the place where it is bound, and a value is found by its name"


@contextmanager
def served_months(folder: Path) -> Iterator[Server]:
    """Serves a web on loopback, and writes into a folder what the tutorial's reader has downloaded.

    That is two monthly dumps of submissions that link to this web, of which the second repeats some
    links of the first, and a file of LAMBADA's form.
    """
    real = SHARED.is_dir()
    dumps = folder / "dumps"
    dumps.mkdir()
    site = _real_site() if real else build_site(_NUM_MADE_PAGES)
    source = SHARED / "realweb" / "RS_2019-12.zst"
    if not real:
        source = folder / "made.zst"
        write_dump(site, source)
    _write_month(source, dumps / "RS_2019-12.zst", datetime(2019, 12, 1, tzinfo=UTC), {1, 2, 3})
    _write_month(source, dumps / "RS_2020-01.zst", datetime(2020, 1, 1, tzinfo=UTC), {0, 1})
    lambada = folder / "lambada_test.jsonl"
    if real:
        shutil.copy(SHARED / "eval" / "lambada_500.jsonl", lambada)
    else:
        lambada.write_text(f"{json.dumps({'text': _MADE_PASSAGE})}\n" * 3, "utf-8")
    with serve(site) as server:
        yield server


def _real_site() -> Site:
    """The real pages under their own names, but over plain HTTP: nobody here has their certificates."""
    pages = []
    with (SHARED / "realweb" / "pages.warc.gz").open("rb") as file:
        for record in ArchiveIterator(file):
            if record.rec_type == "response":
                url = urlsplit(record.rec_headers.get_header("WARC-Target-URI"))
                path = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
                kind = record.http_headers.get_header("Content-Type") or "text/html"
                answer = Response(headers=(("Content-Type", kind),), body=record.content_stream().read())
                pages.append(Page(url.netloc, path, Kind.ARTICLE, answer))
    return Site.of(pages)


def _write_month(source: Path, target: Path, first: datetime, quarters: set[int]) -> None:
    """Copies some quarters of a dump's lines, without TLS, to the first two days of a month."""
    with zstd.open(source, options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}) as file:
        lines = file.read().replace(b"https:", b"http:").split(b"\n")
    kept = [
        _at(line, int(first.timestamp()) + number * _TWO_DAYS_S // len(lines))
        for number, line in enumerate(lines)
        if number % 4 in quarters
    ]
    with zstd.open(target, "wb", options={zstd.CompressionParameter.window_log: _WINDOW_LOG}) as file:
        file.write(b"\n".join(kept))


def _at(line: bytes, seconds: int) -> bytes:
    """A submission as if it were of this time; what is none stays as it is."""
    try:
        row = json.loads(line)
        row["created_utc"] = seconds
    except (ValueError, TypeError):
        return line
    return json.dumps(row).encode()
