"""The work of filter's parts: measures, what is shared with evaluation sets, the documents that are kept."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.filter.bad_words import bad_words
from pipeline.filter.contamination import (
    GramCounts,
    Index,
    add_counts,
    build_index,
    count_documents,
    find_frequent,
    overlap,
)
from pipeline.filter.decide import decide
from pipeline.filter.documents import Contamination, keep_documents, measure_documents, search_documents
from pipeline.filter.evaluation_sets import read_examples
from pipeline.filter.index_file import decode, encode
from pipeline.filter.language import load_detector
from pipeline.filter.measure import Tools
from pipeline.filter.plan import CONTAMINATION, EVALUATION, MEASURED, SHARED, evaluation_files
from pipeline.filter.settings import FilterSettings, line_rules, searching
from pipeline.runs import Counts, Folder, PartWriter
from pipeline.stages import Job, Planned, part_name

_INDEX = "npz"
_FREQUENT = pa.schema([pa.field("hash", pa.uint64(), nullable=False)])


def measure_part(job: Job, part: Planned) -> None:
    """What is measured of a part's documents."""
    started = time.monotonic()
    documents = job.folder_of("extract").read_table(part.spec["documents"])
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", measure_documents(documents, _tools(job.settings)))
    writer.commit(None, seconds=time.monotonic() - started)


def index_sets(job: Job, part: Planned) -> None:
    """The index of the evaluation sets' n-grams."""
    started = time.monotonic()
    files = evaluation_files(job.settings)
    sets = {name: chain.from_iterable(map(read_examples, paths)) for name, paths in files.items()}
    index = build_index(sets, searching(job.settings).ns)
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    with writer.open(_INDEX) as sink:
        sink.write(encode(index))
    writer.commit(None, seconds=time.monotonic() - started)


def search_part(job: Job, part: Planned) -> None:
    """The n-grams that a part's documents share with the evaluation sets."""
    started = time.monotonic()
    documents = job.folder_of("extract").read_table(part.spec["documents"], ["text"])
    hits = search_documents(documents, job.settings, _index(job.folder, part.spec["index"]))
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", hits)
    writer.commit(None, seconds=time.monotonic() - started)


def find_contamination(job: Job, part: Planned) -> None:
    """Which n-grams are common phrases, and how much of each evaluation set the kept documents have."""
    started = time.monotonic()
    settings: FilterSettings = job.settings
    index = decode(job.folder.read(f"{EVALUATION}.{_INDEX}"))
    ns, most = [table.n for table in index.tables], settings.decontaminate.max_documents
    counts = _counts(job, part.spec["num_parts"], ns)
    found = {n: counts[n].hashes for n in ns}
    frequent = {n: find_frequent([counts[n]], most) if most else np.empty(0, np.uint64) for n in ns}
    overlaps = [{**asdict(one), "share": one.share} for one in overlap(index, found, frequent)]
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", pa.table([frequent[settings.decontaminate.n]], schema=_FREQUENT))
    writer.commit(None, seconds=time.monotonic() - started, facts={"evaluation_sets": overlaps})


def _counts(job: Job, num_parts: int, ns: Sequence[int]) -> dict[int, GramCounts]:
    """For each n, in how many documents that no other rule rejects each n-gram stands."""
    total = {n: add_counts([]) for n in ns}
    for number in range(num_parts):
        hits = job.folder.read_table(f"{part_name(number, SHARED)}.parquet")
        if not hits.num_rows:
            continue
        verdicts = decide(job.folder.read_table(f"{part_name(number, MEASURED)}.parquet"), job.settings)
        is_kept = np.array([one is None for one in verdicts], np.bool_)
        of_kept = hits.filter(pa.array(is_kept[hits["row"].to_numpy()]))
        total = {n: add_counts([total[n], count_documents(of_kept, n)]) for n in ns}
    return total


def finish_part(job: Job, part: Planned) -> None:
    """A part's kept documents, as they go on, and the rejected."""
    started = time.monotonic()
    settings: FilterSettings = job.settings
    documents = job.folder_of("extract").read_table(part.spec["documents"])
    measured = job.folder.read_table(f"{part_name(part.spec['number'], MEASURED)}.parquet")
    contamination = None
    if settings.decontaminate.sets:
        hits = job.folder.read_table(f"{part_name(part.spec['number'], SHARED)}.parquet")
        frequent = job.folder.read_table(f"{CONTAMINATION}.parquet")["hash"].to_numpy()
        contamination = Contamination(hits, frequent)
    kept, rejected = keep_documents(documents, measured, contamination, settings)
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", kept)
    writer.table("rejected.parquet", rejected)
    writer.commit(
        Counts(documents.num_rows, kept.num_rows, Counter(rejected["reason"].to_pylist())),
        seconds=time.monotonic() - started,
        facts={
            "words": pc.sum(kept["num_words"]).as_py() or 0,
            "text_bytes": pc.sum(pc.binary_length(kept["text"])).as_py() or 0,
        },
    )


def _tools(settings: FilterSettings) -> Tools:
    words = Path(settings.bad_words).read_text("utf-8", "replace").splitlines() if settings.bad_words else ()
    return Tools(
        detector=load_detector(),
        lines=line_rules(settings),
        bad_words=bad_words(words),
        phone_region=settings.pii.phone_region,
    )


@lru_cache(maxsize=1)
def _index(folder: Folder, _digest: str) -> Index:
    """The index, read once in a process for all parts of a run."""
    return decode(folder.read(f"{EVALUATION}.{_INDEX}"))
