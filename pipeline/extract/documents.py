"""A part's pages to documents."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Extraction
from pipeline.extract.extractor import MAX_BYTES, Extractor
from pipeline.extract.plan import label
from pipeline.extract.responses import read_response
from pipeline.extract.wire import Extracted, Request
from pipeline.records import DOCUMENTS, REJECTED, Rejection
from pipeline.runs import Folder

_LINK_COLUMNS = ["id", "url", "karma", "created", "submissions"]


def fetched(ledger: pa.Table) -> pa.Table:
    """The ledger's rows of pages, in the order in which they are read from the WARC files."""
    pages = ledger.filter(pc.equal(ledger["outcome"], "fetched"))
    return pages.sort_by([("warc", "ascending"), ("offset", "ascending"), ("id", "ascending")])


def extract_pages(
    pages: Folder, ledger: pa.Table, links: pa.Table, settings: Extraction
) -> tuple[pa.Table, pa.Table]:
    """The documents (rows of DOCUMENTS) and the rejected (of REJECTED), in the order of their ids.

    Pages lie in a WARC file as they happened to arrive; the corpus and its shards must not depend on it.

    Args:
        pages: The folder with the WARC files.
        ledger: What became of each link.
        links: The same part's links.
        settings: The limits on one page.
    """
    link_by_id = {link["id"]: link for link in links.select(_LINK_COLUMNS).to_pylist()}
    documents, rejected = [], []
    for row, answer in read_pages(pages, fetched(ledger), settings):
        link = link_by_id[row["id"]]
        if isinstance(answer, Rejection):
            rejected.append({"id": row["id"], "url": link["url"], **answer._asdict()})
        else:
            said = {"text": answer.text, **answer.metadata._asdict(), "extractor": label(settings.extractor)}
            documents.append(_document(row, link) | said)
    return (
        pa.Table.from_pylist(documents, DOCUMENTS).sort_by("id"),
        pa.Table.from_pylist(rejected, REJECTED).sort_by("id"),
    )


def read_pages(
    pages: Folder, rows: pa.Table, settings: Extraction
) -> Iterator[tuple[dict[str, Any], Extracted | Rejection]]:
    """Each of a ledger's rows of pages with what its page says, or why there is no text."""
    with ExitStack() as stack:
        extractor = stack.enter_context(Extractor(settings))
        warcs = {name: stack.enter_context(pages.open(name)) for name in rows["warc"].unique().to_pylist()}
        for row in rows.to_pylist():
            response = read_response(warcs[row["warc"]], row["offset"], row["length"], MAX_BYTES)
            if isinstance(response, Rejection):
                yield row, response
                continue
            request = Request(row["final_url"], response.content_type, row["fetched"].date())
            yield row, extractor.extract(request, response.body)


def _document(row: Mapping[str, Any], link: Mapping[str, Any]) -> dict[str, Any]:
    """All of a document but what its page says."""
    return {
        "id": row["id"],
        "url": link["url"],
        "final_url": row["final_url"],
        "karma": link["karma"],
        "submissions": [submission["id"] for submission in link["submissions"]],
        "subreddits": sorted({submission["subreddit"] for submission in link["submissions"]}),
        "created": link["created"],
        "source": row["source"],
        "fetched": row["fetched"],
        "warc": row["warc"],
        "offset": row["offset"],
        "length": row["length"],
    }
