"""A small run that the stages themselves have built, from a dump and a WARC file made here."""

import contextlib
import io
import json
import random
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.fetch.exchange import Headers, Response
from pipeline.fetch.warc import WarcSink, stored_headers
from pipeline.remove.removal import Removal
from pipeline.remove.request import Kind
from pipeline.runs import Folder
from tokenizer.encode import Tokenizer
from webtext.build import build
from webtext.build import remove as remove_from
from webtext.settings import load

DATE = datetime(2019, 6, 2, tzinfo=UTC)

SETTINGS = """
[run]
dir = "run"
[collect]
dumps = [{dumps}]
[link]
submissions_per_part = 8
[fetch]
source = "warc"
warcs = ["pages.warc.gz"]
[filter]
languages = []
min_words = 50
[filter.decontaminate]
sets = {{ quiz = "quiz.txt" }}
window = 20
min_piece = 50
[dedupe]
max_removed = 1.0
[tokenizer]
vocab_size = 500
[shard]
val_fraction = 0.2
tokens_per_shard = 3000
"""

_WORDS = re.findall(
    r"\w+",
    """
river stone window garden letter music winter summer paper candle forest mountain village morning
evening story teacher student doctor engine bridge market harbour island thunder shadow silver
copper number answer question picture mirror journey kitchen season weather farmer basket bottle
button camera castle circle corner cousin danger desert dinner finger flower hammer helmet hunter
jacket ladder leader
""",
)


def text_of(name: str, *, changed: int = 0, num_words: int = 180) -> str:
    """A text of its own for each name; of its words the first so many are others."""
    words = random.Random(name).choices(_WORDS, k=num_words)
    words[:changed] = random.Random(f"{name} changed").choices(_WORDS, k=changed)
    sentences = [" ".join(words[at : at + 12]).capitalize() for at in range(0, num_words, 12)]
    return f"The mark of this page is {mark_of(name)}. " + ". ".join(sentences) + "."


def mark_of(name: str) -> str:
    """A word that stands in the texts of one name alone, and is no beginning of another's."""
    return f"quux{zlib.crc32(name.encode()):08x}quux"


def html_of(text: str) -> bytes:
    """A page."""
    half = text.index(". ", len(text) // 2) + 2
    body = f"<article><h1>A page</h1><p>{text[:half]}</p><p>{text[half:]}</p></article>"
    return f"<!DOCTYPE html><html><head><title>A page</title></head><body>{body}</body></html>".encode()


@dataclass(frozen=True, slots=True)
class Page:
    """A URL, how it was submitted, and what is there: a text, or where it leads."""

    url: str
    text: str = ""
    leads_to: str = ""
    score: int = 10
    num_submissions: int = 1
    ids: tuple[str, ...] = ()


def pages() -> list[Page]:
    """A page of each kind, and others around them."""
    return [
        *(Page(f"https://site{n}.example/{m}", text_of(f"{n} {m}")) for n in range(12) for m in range(3)),
        Page("https://alone.example/page", text_of("alone"), num_submissions=3, ids=("al1", "al2", "al3")),
        Page("https://near.example/best", text_of("near"), score=99, ids=("nb",)),
        Page("https://near-copy.example/other", text_of("near", changed=6), ids=("no",)),
        Page("https://twin-a.example/same", text_of("twin"), score=50, ids=("ta",)),
        Page("https://twin-b.example/same", text_of("twin"), ids=("tb",)),
        Page("https://short.example/x1", leads_to="https://long.example/the-page", score=70, ids=("sh",)),
        Page("https://long.example/the-page", text_of("long"), ids=("lo",)),
        Page("https://sub.gone.example/1", text_of("gone 1"), ids=("g1",)),
        Page("https://gone.example/2", text_of("gone 2"), ids=("g2",)),
        Page("https://links.example/to-gone", leads_to="https://gone.example/3", ids=("tg",)),
        Page("https://low.example/karma", text_of("low"), score=1, ids=("lk",)),
    ]


NEAR = "https://near.example/best"
NEAR_COPY = "https://near-copy.example/"
FEW = (
    *(Page(f"https://site{n}.example/", text_of(str(n))) for n in range(5)),
    Page(NEAR, text_of("near"), score=99),
    Page(NEAR_COPY, text_of("near", changed=6)),
)
"""The pages of the run that conftest's ``small_built`` builds."""


def write_sources(folder: Path, some: Sequence[Page], dump: str = "RS_2019-06.ndjson") -> None:
    """A dump, all pages in a WARC file, and an evaluation set that has sentences of some of them.

    In the WARC file there is also what one of the redirects leads to, though nobody linked it.
    """
    with (folder / dump).open("w") as file:
        for number, page in enumerate(some):
            for again in range(page.num_submissions):
                name = page.ids[again] if page.ids else f"{dump[6:8]}{number}x{again}"
                file.write(json.dumps(submission(page.url, page.score, name, number * 60 + again)) + "\n")
    lines = [" ".join(text_of(name).split()[60:80]) for name in ("0 0", "3 1", "3 2", "5 2", "7 0")]
    (folder / "quiz.txt").write_text("\n".join(lines))
    stream = _Stream()
    sink = WarcSink(stream, "pages.warc.gz", date=DATE, info={})
    for page in [*some, Page("https://gone.example/3", text_of("gone 3"))]:
        status, field, body = 302, ("Location", page.leads_to), b""
        if page.text:
            status, field, body = 200, ("Content-Type", "text/html; charset=utf-8"), html_of(page.text)
        headers = stored_headers(Headers((field,)), len(body))
        sink.response(
            page.url, DATE, Response(f"HTTP/1.1 {status} x", status, headers, body, truncated=False)
        )
    (folder / "pages.warc.gz").write_bytes(stream.getvalue())


class _Stream(io.BytesIO):
    @property
    def num_bytes(self) -> int:
        return self.tell()


def submission(url: str, score: int, name: str, minute: int) -> Mapping[str, Any]:
    """A post of the dump that links to a page."""
    return {
        "id": name,
        "url": url,
        "score": score,
        "subreddit": "books",
        "created_utc": 1559347200 + minute * 60,
        "is_self": False,
        "over_18": False,
        "author": "someone",
        "title": "A title",
        "permalink": f"/r/books/comments/{name}/",
        "domain": url.split("/")[2],
    }


def copy_run(built: Path, folder: Path) -> Folder:
    """A copy of a built folder, with its settings and sources, to be changed; its run."""
    shutil.copytree(built, folder)
    settings = folder / "run" / "webtext.toml"
    settings.write_text(settings.read_text().replace(str(built), str(folder)))
    return Folder(str(folder / "run"))


def build_in(folder: Path, **replaced: str) -> Folder:
    """Builds what the settings file in a folder says; ``old=new`` pairs change it first."""
    path = folder / "webtext.toml"
    text = path.read_text() if path.exists() else SETTINGS.format(dumps='"RS_*.ndjson"')
    for old, new in replaced.items():
        text = text.replace(old, new)
    path.write_text(text)
    settings = load(path)
    run = Folder(str(settings.run.dir))
    build(settings, run, watch=lambda *_: contextlib.nullcontext(), on_stage=lambda _: None)
    return run


def remove_in(run: Folder, kind: Kind, *entries: str, **options: bool) -> Removal:
    """Removes these entries."""
    path = Path(run.path()).parent / "entries.txt"
    path.write_text("\n".join(entries) + "\n")
    return remove_from(run, kind, path, **options)


def contents(run: Folder) -> Iterator[tuple[Path, bytes]]:
    """Every file of a run as it is, and as its readers see it: unpacked, decoded."""
    tokenizer = Tokenizer.load(Path(run.path("tokenizer"))) if (run / "tokenizer").sizes() else None
    for path in sorted(Path(run.path()).rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        yield path, data
        if path.suffix == ".gz":
            yield path, unpacked(data)
        elif path.suffix == ".parquet":
            yield path, repr(pq.read_table(path).to_pylist()).encode()
        elif path.suffix == ".arrow":
            yield path, repr(pa.ipc.open_file(data).read_all().to_pylist()).encode()
        elif path.suffix == ".bin":
            assert tokenizer is not None
            yield path, tokenizer.decode(np.frombuffer(data, np.uint16).tolist()).encode()


def unpacked(data: bytes) -> bytes:
    """All members of a gzip file; each must be whole."""
    found = []
    while data:
        member = zlib.decompressobj(wbits=31)
        found.append(member.decompress(data))
        assert member.eof
        data = member.unused_data
    return b"".join(found)


def files_with(run: Folder, *words: str) -> set[str]:
    """The files of a run, by their paths in it, in which one of the words stands."""
    root = Path(run.path())
    return {
        str(path.relative_to(root))
        for path, data in contents(run)
        if any(word.encode() in data for word in words)
    }


def counts(run: Folder) -> dict[str, tuple[int, int]]:
    """By stage what came in and what was kept, once every count reconciles."""
    from pipeline.runs import read_manifest
    from pipeline.stages import STAGES

    found: dict[str, tuple[int, int]] = {}
    for stage in STAGES:
        manifest = read_manifest(run / stage.folder)
        assert manifest is not None, stage.name
        manifest.counts.reconcile(stage.name)
        if stage.after:
            assert manifest.counts.num_in == found[stage.after[0]][1], stage.name
        found[stage.name] = manifest.counts.num_in, manifest.counts.kept
    return found
