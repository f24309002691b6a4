"""One source (a dump, a table, a list of URLs) to one table of submissions."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.collect.batches import judge_all
from pipeline.collect.dumps import Damaged, read_lines
from pipeline.collect.glance import read_rows
from pipeline.collect.lists import read_list
from pipeline.collect.rows import Row, holds_comment
from pipeline.collect.rules import Rules, Submission
from pipeline.collect.tables import read_table
from pipeline.config import CollectSettings
from pipeline.errors import InputError
from pipeline.records import SUBMISSIONS, Reason
from pipeline.remove.tombstones import read_removed
from pipeline.runs import Counts, PartWriter
from pipeline.stages import Job, Planned
from pipeline.urls import domain_hash


def collect_part(job: Job, part: Planned) -> None:
    """Reads a source, judges each row, and writes the submissions that point outward, in the source's order.

    Raises InputError where the source is damaged and the settings do not say to keep what lies before.
    """
    started = time.monotonic()
    settings: CollectSettings = job.settings
    name = Path(part.spec["path"]).name
    kind = part.spec["kind"]
    rules = Rules.of(settings, listed=kind == "list")
    removed = read_removed(job.run)
    num_kept = 0
    rejected: Counter[str] = Counter()
    facts: dict[str, Counter[str]] = {"months": Counter(), "months_3": Counter()}
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    with (
        writer.open("parquet") as sink,
        pq.ParquetWriter(sink, SUBMISSIONS, compression="zstd") as table,
    ):
        try:
            for batch in judge_all(_rows(part, settings, rules), rules):
                kept = [one for one in batch.kept if not removed.covers(one.key, one.url)]
                table.write_table(table_of(kept))
                num_kept += len(kept)
                rejected += batch.rejected() + Counter({str(Reason.OPT_OUT): len(batch.kept) - len(kept)})
                if kind != "list":  # a list's scores are all the same
                    months, months_3 = batch.months()
                    facts["months"] += months
                    facts["months_3"] += months_3
        except Damaged as damage:
            num_rows = num_kept + rejected.total()
            if settings.on_damage == "fail":
                raise InputError(_complaint(part.spec["path"], damage, num_rows)) from damage
            facts["damage"] = Counter({name: damage.offset or 0})
    writer.rows(num_kept)
    counts = Counts(num_kept + rejected.total(), num_kept, dict(rejected))
    if not counts.num_in:
        facts["empty"] = Counter({name: 1})
    writer.commit(counts, seconds=time.monotonic() - started, facts=facts)


def _rows(part: Planned, settings: CollectSettings, rules: Rules) -> Iterator[Row | Reason]:
    path, kind = part.spec["path"], part.spec["kind"]
    if kind == "list":
        return read_list(path, settings.list_karma)
    if kind == "table":
        return read_table(path)
    return read_rows(without_comments(path, read_lines(path)), rules)


def without_comments(path: str, lines: Iterator[bytes | Reason]) -> Iterator[bytes | Reason]:
    """The same lines of a dump; InputError where the first is a comment."""
    first = list(islice(lines, 1))
    if any(isinstance(line, bytes) and holds_comment(line) for line in first):
        raise InputError(f"{path} holds comments; submissions are in files named RS_*.")
    return chain(first, lines)


def _complaint(path: str, damage: Damaged, num_rows: int) -> str:
    where = "" if damage.offset is None else f" after {damage.offset:,} unpacked bytes"
    return (
        f"{path} is damaged{where} ({damage.cause}); the {num_rows:,} rows before can be read. Fetch it "
        'again, or set collect.on_damage = "keep" to use them.'
    )


def table_of(kept: Sequence[Submission]) -> pa.Table:
    """Submissions as the stage writes them."""
    columns = {
        "key": [one.key for one in kept],
        "domain_hash": [domain_hash(one.domain) for one in kept],
        "url": [one.url for one in kept],
        "id": [one.id for one in kept],
        "score": [one.score for one in kept],
        "subreddit": [one.subreddit for one in kept],
        "created": [_ms(one.created) for one in kept],
        "retrieved": [_ms(one.retrieved) for one in kept],
    }
    return pa.table(columns, schema=SUBMISSIONS)


def _ms(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 1000
