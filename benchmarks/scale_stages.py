"""One stage at a size, for benchmarks/scale.py: its input, as the stages before would leave it, and its work.

    python -m benchmarks.scale_stages STAGE RUN

brings a stage whose input is in the run to its manifest, as ``webtext build`` does, and prints its counts.
"""

import argparse
import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.dedupe_documents import WEB, write_documents
from benchmarks.extract_pages import make_job, undeclared_pages
from benchmarks.fetch_ours import make_run
from benchmarks.fetch_server import serving
from benchmarks.link import make_submissions
from benchmarks.month import write_month
from benchmarks.token_documents import DOCUMENT_BYTES, write_corpus
from pipeline.config import FetchSettings
from pipeline.extract.plan import EXTRACTED
from pipeline.records import DOCUMENTS, REJECTED
from pipeline.runs import MANIFEST, Counts, File, Folder, Manifest, Part, PartWriter, read_manifest
from pipeline.stages import BY_NAME, Job, execute, part_name, plan_of
from webtext.settings import Settings

LINKS_A_PART = 2_000  # of those that karma lets through: a part has 10,000 submissions
PAGES_A_PART, EXTRACTED_A_PART, DOCUMENTS_A_PART = 500, 1_000, 500

_DUMP = "RS_2025-12.zst"
_NUM_DOMAINS = 256
_TOKENS_PER_SHARD = 2_500_000  # so that all cores have a shard at the least size
_SHARED_EVERY = 20  # documents: one that was found where another was


@contextmanager
def prepared(stage: str, run: Path, num: int) -> Iterator[None]:
    """A run in which a stage has so many records to take in; what fetch asks is served until the block ends.

    ``joining`` is extract once every page is extracted: which of them are the same, and the parts' finish.
    """
    run.mkdir(parents=True, exist_ok=True)
    if stage != "fetch":
        _MAKERS[stage](run, num)
        yield
        return
    with serving() as port:
        _make_links(run, num, port)
        yield


def _make_dump(run: Path, num_rows: int) -> None:
    write_month(run / _DUMP, num_rows)


def _make_links(run: Path, num_links: int, port: int) -> None:
    urls = {
        f"bench-{number:05}.org": [
            f"http://www.bench-{number:05}.org:{port}/articles/{page}.html"
            for page in range(num_links // _NUM_DOMAINS)
        ]
        for number in range(_NUM_DOMAINS)
    }
    table = {f"www.{domain}": f"127.0.0.1:{port}" for domain in urls}
    make_run(run, urls, FetchSettings(resolve=table, delay_s=0.0))


def _make_pages(run: Path, num_pages: int) -> None:
    """Real pages, again and again under other URLs."""
    pages = undeclared_pages()
    samples = [
        page._replace(url=f"{page.url}?n={number}")
        for number, page in ((number, pages[number % len(pages)]) for number in range(num_pages))
    ]
    parts = [samples[start : start + PAGES_A_PART] for start in range(0, num_pages, PAGES_A_PART)]
    job = make_job(run, parts, Settings().section("extract"))  # type: ignore[arg-type]
    for name, manifest in job.inputs.items():
        job.folder_of(name).write(MANIFEST, manifest.encode())


def _make_extracted(run: Path, num: int) -> None:
    """Extracted documents, of which extract has their URLs to compare; the pages themselves are not there."""
    sizes = [min(EXTRACTED_A_PART, num - start) for start in range(0, num, EXTRACTED_A_PART)]
    folder = Folder(str(run))
    inputs = {name: _named_only(name, sizes) for name in ("fetch", "link")}
    for name, manifest in inputs.items():
        (folder / BY_NAME[name].folder).write(MANIFEST, manifest.encode())
    job = Job(BY_NAME["extract"], folder, Settings().section("extract"), inputs)
    for part in plan_of(job).parts:
        if part.name.startswith(EXTRACTED):
            index = part.spec["index"]
            writer = PartWriter(job.folder, part.name, part.fingerprint)
            writer.table("parquet", _extracted(index * EXTRACTED_A_PART, sizes[index]))
            writer.table("rejected.parquet", REJECTED.empty_table())
            writer.commit(None, seconds=0)


def _named_only(stage: str, sizes: list[int]) -> Manifest:
    """A manifest whose files are named and not there."""
    suffix = {"fetch": "ledger.parquet", "link": "parquet"}[stage]
    parts = tuple(
        Part(name, "made", Counts(size, size), (File(f"{name}.{suffix}", 1, size, name),), {}, 0.0)
        for name, size in ((part_name(index), size) for index, size in enumerate(sizes))
    )
    return Manifest(stage, "0", "made", {}, {}, Counts(sum(sizes), sum(sizes)), parts, {})


def _extracted(first: int, num: int) -> pa.Table:
    numbers = np.arange(first, first + num)
    ids = [f"{(one * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128:032x}" for one in numbers.tolist()]
    # Near ones were found where another was, in this part or in one far from it.
    found_at = np.where(numbers % _SHARED_EVERY == 0, numbers // (2 * _SHARED_EVERY), numbers)
    words = [f"word{one % 9973} " * 60 + f"{one} end. " * 60 for one in numbers.tolist()]
    given: dict[str, Any] = {
        "id": ids,
        "url": [f"https://example.com/{one}" for one in ids],
        "final_url": [f"https://site{one % 4001}.example/a/{one}" for one in found_at.tolist()],
        "text": words,
        "karma": numbers % 100 + 3,
        "submissions": [[one[:7]] for one in ids],
        "subreddits": [["made"]] * num,
        "source": ["web"] * num,
        "extractor": ["trafilatura"] * num,
    }
    columns = [
        pa.array(given[field.name], field.type) if field.name in given else _nothing(field, num)
        for field in DOCUMENTS
    ]
    return pa.table(columns, schema=DOCUMENTS)


def _nothing(field: pa.Field, num: int) -> pa.Array:
    if field.nullable:
        return pa.nulls(num, field.type)
    value = "" if pa.types.is_string(field.type) else 0
    return pa.repeat(pa.scalar(value, field.type), num)


def _make_documents(run: Path, num: int) -> None:
    """Documents as extract leaves them, of sentences of real text."""
    corpus = _make_corpus(run, num)
    source, target = Folder(str(run)) / "corpus", Folder(str(run)) / "documents"
    parts = []
    for part in corpus.counted():
        table = source.read_table(part.file(".parquet").name, DOCUMENTS.names)
        writer = PartWriter(target, part.name, "made")
        writer.table("parquet", table.cast(DOCUMENTS))
        parts.append(writer.commit(part.counts, seconds=0))
    manifest = Manifest("extract", "0", "made", {}, {}, corpus.counts, tuple(parts), {})
    target.write(MANIFEST, manifest.encode())
    shutil.rmtree(run / "corpus")


def _make_corpus(run: Path, num: int) -> Manifest:
    sizes = [min(DOCUMENTS_A_PART, num - start) for start in range(0, num, DOCUMENTS_A_PART)]
    return write_corpus(run, [size * DOCUMENT_BYTES for size in sizes])


_MAKERS: dict[str, Callable[[Path, int], object]] = {
    "collect": _make_dump,
    "link": make_submissions,
    "extract": _make_pages,
    "joining": _make_extracted,
    "filter": _make_documents,
    "dedupe": lambda run, num: write_documents(run, WEB, num, DOCUMENTS_A_PART),
    "tokenizer": _make_corpus,
    "shard": lambda *_: None,  # it has tokenizer's run
}


def folder_of(stage: str) -> str:
    """The folder of a run that a stage writes, ``joining`` among them."""
    return BY_NAME[_stage(stage)].folder


def _stage(stage: str) -> str:
    return "extract" if stage == "joining" else stage


def _settings(run: Path) -> Settings:
    given = run / "settings.json"  # of fetch
    dump = run / _DUMP
    return Settings.model_validate(
        {
            "collect": {"dumps": [str(dump)] if dump.exists() else []},
            "fetch": json.loads(given.read_text()) if given.exists() else {},
            "shard": {"tokens_per_shard": _TOKENS_PER_SHARD},
        }
    )


def work(stage: str, run: Path) -> Manifest:
    """Brings a stage to its manifest."""
    folder, what = Folder(str(run)), BY_NAME[_stage(stage)]
    inputs = {name: read_manifest(folder / BY_NAME[name].folder) for name in what.after}
    if any(one is None for one in inputs.values()):
        raise SystemExit(f"{run} has no input for {stage}")
    job = Job(what, folder, _settings(run).section(what.name), inputs)  # type: ignore[arg-type]
    return execute(job, beam_options=(), watch=lambda *_: contextlib.nullcontext())


def main() -> None:
    """Does a stage's work, and prints what came of it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=[*_MAKERS, "fetch"])
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    print(json.dumps(work(arguments.stage, arguments.run).counts.to_json()))


if __name__ == "__main__":
    main()
