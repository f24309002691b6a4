"""An open part whose links are all settled becomes a finished one: ledger, index, sidecar."""

from collections.abc import Iterable

import pyarrow.parquet as pq

from pipeline.fetch import cdxj, ledger
from pipeline.fetch.ledger import LEDGER_SUFFIX, Entry
from pipeline.fetch.spool import Line, OpenPart, settle
from pipeline.held import hold
from pipeline.runs import Part, PartWriter
from pipeline.stages import Job

WARC_SUFFIX = ".warc.gz"
CDXJ_SUFFIX = ".cdxj"


def finish(job: Job, part: OpenPart, seconds: float) -> None:
    """Writes a part's ledger and index, moves its WARC file to them, and writes its sidecar last.

    What a retry leaves of the part's earlier files is its WARC files: the others are written anew, under
    names of their own, so that the earlier ones count until the sidecar says otherwise.
    """
    base = None if part.header.base is None else Part.from_json(part.header.base)
    kept = [] if base is None else [file for file in base.files if file.name.endswith(WARC_SUFFIX)]
    lines = [] if base is None else _read_index(job, base)
    tries = list(part.lines())
    for one in tries:
        lines += one.cdxj
    entries = entries_of(job, part, tries)
    entries.sort(key=lambda entry: (entry.id, entry.attempt))
    writer = PartWriter(job.folder, part.name, part.header.fingerprint)
    writer.keep(kept)
    if not kept or part.warc_path.stat().st_size:
        writer.adopt(part.warc, part.second_name(), sum(one.num_records for one in tries))
    with writer.open_named(f"{part.stem}{CDXJ_SUFFIX}") as sink:
        sink.write(cdxj.encode(lines))
    writer.rows(len(lines))
    with writer.open_named(f"{part.stem}{LEDGER_SUFFIX}") as sink:
        pq.write_table(ledger.table(entries), sink, compression="zstd")
    writer.rows(len(entries))
    last = last_of(entries)
    writer.commit(
        ledger.counts(last),
        seconds=seconds + (0.0 if base is None else base.seconds),
        facts=ledger.facts(last),
    )
    settle(job.folder, part)
    if base is not None:
        job.folder.remove(file.name for file in base.files if file not in kept)


def _read_index(job: Job, base: Part) -> list[str]:
    file = base.file(CDXJ_SUFFIX)
    hold(job.folder, file)
    return job.folder.read(file.name).decode().splitlines()


def last_of(entries: Iterable[Entry]) -> list[Entry]:
    """Each link's last try, in the order of the links' first appearance."""
    last: dict[str, Entry] = {}
    for entry in entries:
        if entry.id not in last or entry.attempt >= last[entry.id].attempt:
            last[entry.id] = entry
    return list(last.values())


def entries_of(job: Job, part: OpenPart, tries: Iterable[Line]) -> list[Entry]:
    """The rows of a part's tries, those before a retry with them."""
    before: list[Entry] = []
    if part.header.base is not None:
        file = Part.from_json(part.header.base).file(LEDGER_SUFFIX)
        hold(job.folder, file)  # a retry has taken its sidecar away
        before = [Entry(**row) for row in job.folder.read_table(file.name).to_pylist()]
    return [*before, *(one.entry for one in tries)]
