"""Odd and broken WARC and ARC files: each is read as far as it can be, and its damage is counted."""

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed

from pipeline import urls
from pipeline.config import Extraction, FetchSettings
from pipeline.extract.documents import fetched
from pipeline.extract.extractor import MAX_BYTES, Extractor
from pipeline.extract.responses import Response, read_response
from pipeline.extract.wire import Extracted, Request
from pipeline.fetch.captures import index_part
from pipeline.fetch.copies import copy_part
from pipeline.fetch.plan import plan
from pipeline.records import Rejection
from pipeline.runs import read_sidecar
from tests.command import webtext
from tests.conftest import SHARED
from tests.pipeline_fetch_site import ledger, make_job

WARC = SHARED / "warc"

SETTINGS = """
[run]
dir = "run"
[collect]
lists = ["urls.txt"]
[fetch]
source = "warc"
warcs = ["{warcs}/*"]
[filter]
languages = []
min_words = 0
wikipedia = true
"""

EXAMPLE = "http://example.com/"
QUERY = "http://example.com/?example=1"
INDEX_CFM = "http://example.com/index.cfm?FuseAction=Email&EmailTitle=Examples%20From%20The%20Live%20Web&IsPopUp=False"
IANA, MOVED = "http://www.iana.org/", "http://www.iana.org/domains/example"
POST, POST_QUERY = "http://httpbin.org/post", "http://httpbin.org/post?foo=bar"
ESCOPETE = "https://an.wikipedia.org/wiki/Escopete"

# Of each file alone: where its reader meets damage, what fetch refuses, what becomes of what it fetches. What
# holds no response has nothing: request, resource, revisit and metadata records, whose page is elsewhere.
WHOLE, BROKEN = "a page", "bad_record: the digest is another"
ALONE: dict[str, tuple[int, dict[str, str], dict[str, str]]] = {
    "bad.arc": (3, {}, {}),  # records without an HTTP header
    "example-bad-non-chunked.warc.gz": (0, {}, {EXAMPLE: WHOLE}),  # one gzip member around all
    "example-bad.warc.gz.bad": (0, {}, {QUERY: WHOLE}),
    "example-digest.warc": (0, {}, {}),
    "example-iana.org-chunked.warc": (0, {}, {IANA: WHOLE}),
    "example-resource.warc.gz": (0, {}, {}),
    "example-space-in-target-uri.warc.gz": (0, {}, {}),
    "example-space-in-url.arc": (0, {}, {INDEX_CFM: WHOLE}),
    "example-trunc.warc": (1, {}, {EXAMPLE: BROKEN}),  # two bytes are missing
    "example-wget-bad-target-uri.warc.gz": (0, {}, {EXAMPLE: WHOLE}),
    "example-wrong-chunks.warc.gz": (0, {}, {EXAMPLE: WHOLE}),  # a record in several gzip members
    "example.arc": (0, {}, {EXAMPLE: WHOLE}),
    "example.arc.gz": (0, {}, {EXAMPLE: WHOLE}),
    "example.warc": (0, {}, {EXAMPLE: WHOLE}),
    "example.warc.gz": (0, {}, {EXAMPLE: WHOLE}),
    "post-test.warc.gz": (0, {POST: "wrong_type", POST_QUERY: "wrong_type"}, {}),  # JSON
    "whirlwind.warc.gz": (0, {}, {ESCOPETE: WHOLE}),
}

pytestmark = pytest.mark.skipif(
    not WARC.is_dir(), reason=f"the real data is not beside the checkout ({WARC})"
)


def unpacked(data: bytes) -> bytes:
    """The bytes of a file, gzip members undone as far as they go."""
    found = b""
    while data.startswith(b"\x1f\x8b"):
        unpacker = zlib.decompressobj(31)
        try:
            found += unpacker.decompress(data)
        except zlib.error:
            break
        data = unpacker.unused_data
    return found or data


def target_uris(path: Path) -> Iterator[str]:
    """Every URL that a file's record headers name, read by lines and by nothing that could refuse them."""
    for line in unpacked(path.read_bytes()).decode("latin-1").splitlines():
        name, _, value = line.partition(": ")
        if name.lower() == "warc-target-uri":
            yield value.strip().strip("<>")
        elif line.startswith("http") and len(fields := line.rsplit(" ", 4)) == 5 and fields[2].isdigit():
            yield fields[0]  # an ARC record's line: URL, address, time, type, length


@pytest.fixture(scope="module")
def targets() -> list[str]:
    return sorted({uri for path in WARC.iterdir() for uri in target_uris(path)})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, targets: list[str]) -> Path:
    """A run over all files at once up to filter, in the folder of its settings file."""
    folder = tmp_path_factory.mktemp("warc")
    (folder / "webtext.toml").write_text(SETTINGS.format(warcs=WARC))
    (folder / "urls.txt").write_text("\n".join(targets) + "\n")
    answer = webtext("build", "webtext.toml", "--until", "filter", cwd=folder)
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    return folder


def rows(built: Path, files: str, columns: str) -> list[tuple[Any, ...]]:
    return duckdb.read_parquet(str(built / "run" / files)).select(columns).fetchall()


def test_the_files_are_those_that_are_expected() -> None:
    assert sorted(path.name for path in WARC.iterdir()) == sorted(ALONE)


def test_all_files_together_make_a_run_whose_counts_reconcile(built: Path, targets: list[str]) -> None:
    stages = json.loads(webtext("status", "run", "--json", cwd=built).stdout)["stages"]
    before = len(targets)
    for name in ("collect", "link", "fetch", "extract", "filter"):
        stage = stages[name]
        assert stage["in"] == before, name
        assert stage["in"] == stage["kept"] + sum(stage["rejected"].values()), name
        assert stage["parts"] == stage["parts_done"] > 0
        before = stage["kept"]
    assert stages["collect"]["rejected"] == {"bad_url": 4}  # file: and metadata: URIs
    assert stages["fetch"]["rejected"] == {"not_in_warc": 1, "wrong_type": 2}
    assert stages["extract"]["rejected"] == stages["filter"]["rejected"] == {}
    assert before == 5


def test_all_files_together_give_each_page_once(built: Path) -> None:
    outcomes = dict(rows(built, "pages/part-*.ledger.parquet", "url, outcome"))
    pages = dict.fromkeys([EXAMPLE, QUERY, INDEX_CFM, IANA, ESCOPETE], "fetched")
    refused = {
        MOVED: "not_in_warc",
        POST: "wrong_type",
        POST_QUERY: "wrong_type",
    }  # to a page that no file holds
    assert outcomes == pages | refused
    texts = dict(rows(built, "filtered/part-*[0-9].parquet", "url, text"))
    assert texts.keys() == pages.keys()
    for url, words in {
        EXAMPLE: "You may use this domain in examples without prior coordination or asking for permission.",
        QUERY: "This domain is established to be used for illustrative examples in documents.",
        INDEX_CFM: "This domain is established to be used for illustrative examples in documents.",
        IANA: "Domain Names",
        ESCOPETE: "Escopete",
    }.items():
        assert words in texts[url], url


def test_damage_is_counted_by_file(built: Path) -> None:
    names = sorted(path.name for path in WARC.iterdir())
    facts = {
        name: json.loads((built / "run" / "pages" / f"index-{number:05}.json").read_text())["facts"]
        for number, name in enumerate(names)
    }
    assert {name: one["damaged_records"] for name, one in facts.items()} == {
        name: num_damaged for name, (num_damaged, _, _) in ALONE.items()
    }


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor(Extraction()) as opened:
        yield opened


def pages_of(path: Path, targets: list[str], folder: Path, extractor: Extractor) -> tuple[int, Any, Any]:
    """What fetch and extract make of all links and one file: as a value of ALONE, and its pages' texts."""
    links = [url.href for target in targets if (url := urls.parse(target))]
    job = make_job(folder, [links], FetchSettings(source="warc", warcs=(str(path),)))
    index, copy = plan(job).parts
    index_part(job, index)
    copy_part(job, copy, copy.spec["warcs"])
    sidecar = read_sidecar(job.folder, index.name)
    assert sidecar is not None
    answers: dict[str, Extracted | Rejection] = {}
    for row in fetched(job.folder.read_table("part-00000.ledger.parquet")).to_pylist():
        with job.folder.open(row["warc"]) as warc:
            answer = read_response(warc, row["offset"], row["length"], MAX_BYTES)
        if isinstance(answer, Response):
            request = Request(row["final_url"], answer.content_type, row["fetched"].date())
            answers[row["url"]] = extractor.extract(request, answer.body)
        else:
            answers[row["url"]] = answer
    outcomes = {url: row["outcome"] for url, row in ledger(job).items()}
    return sidecar.facts["damaged_records"], outcomes, answers


@pytest.mark.parametrize("name", ALONE)
def test_each_file_alone_gives_its_pages_and_counts_its_damage(
    name: str, targets: list[str], tmp_path: Path, extractor: Extractor
) -> None:
    num_damaged, outcomes, answers = pages_of(WARC / name, targets, tmp_path, extractor)
    expected_damaged, refused, expected = ALONE[name]
    assert num_damaged == expected_damaged
    assert Counter(outcomes.values())["not_in_warc"] == 8 - len(refused) - len(expected)
    assert {url: why for url, why in outcomes.items() if why not in ("fetched", "not_in_warc")} == refused
    verdicts = {
        url: WHOLE if isinstance(answer, Extracted) else f"{answer.reason}: {answer.value}"
        for url, answer in answers.items()
    }
    assert verdicts == expected


def whole_pages(path: Path) -> set[str]:
    """The URLs of the pages that warcio reads to their ends, with the digests that the file tells."""
    found = set()
    with path.open("rb") as stream:
        try:
            for record in ArchiveIterator(stream, arc2warc=True, check_digests=True):
                if record.rec_type != "response" or record.http_headers is None:
                    continue
                body = record.content_stream().read()
                is_html = (record.http_headers.get_header("Content-Type") or "").startswith("text/html")
                if is_html and body and record.digest_checker.passed is not False:
                    found.add(record.rec_headers.get_header("WARC-Target-URI").strip("<>"))
        except ArchiveLoadFailed:
            pass  # it goes no further
    return found


def test_what_another_reader_reads_whole_is_a_page(built: Path) -> None:
    by_warcio = {name: whole_pages(WARC / name) for name in ALONE}
    for name, found in by_warcio.items():
        _, _, ours = ALONE[name]
        assert found <= {url for url, verdict in ours.items() if verdict == WHOLE}, name
    kept = {url for (url,) in rows(built, "filtered/part-*[0-9].parquet", "url")}
    everything = set().union(*by_warcio.values())
    assert everything <= kept
    assert len(everything) == 4
    assert kept - everything == {QUERY}  # in a file that warcio asks to have repaired
