"""The files of parts without what was removed, written as their stages write them."""

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dedupe.figures import cluster_figures
from pipeline.errors import RunError
from pipeline.fetch.captures import CAPTURES
from pipeline.fetch.finish import CDXJ_SUFFIX, WARC_SUFFIX
from pipeline.fetch.ledger import FETCHED, LEDGER_SUFFIX, last_tries
from pipeline.fetch.plan import INDEX
from pipeline.filter.plan import MEASURED, SHARED
from pipeline.records import Reason
from pipeline.remove.pages import Way, find_removed, index_without, read_records, write_without
from pipeline.remove.tombstones import REMOVED_BYTES, Removed
from pipeline.runs import Counts, File, Folder, Part
from pipeline.stages import part_name


@dataclass(frozen=True, slots=True, eq=False)
class Gone:
    """What goes: links by their ids, and the keys and hashes of all addresses that lead to them."""

    ids: pa.Array
    url_keys: frozenset[bytes]
    url_hashes: frozenset[bytes]

    @property
    def keys(self) -> pa.Array:
        """The ids as keys."""
        return pa.array([bytes.fromhex(name) for name in self.ids.to_pylist()], pa.binary(16))

    def among(self, ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Which of these ids go."""
        return pc.is_in(ids, value_set=self.ids)


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A stage's folder whose parts are rewritten: as it was, and as it will be."""

    before: Folder
    after: Folder
    gone: Gone

    def check(self, file: File) -> None:
        """Raises RunError where a file is not as it was written: a new checksum would hide the damage."""
        with self.before.open(file.name) as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                raise RunError(
                    f"{self.before.uri}/{file.name} is damaged (another SHA-256): `webtext verify` tells "
                    "what to do. Nothing was removed."
                )

    def table(self, file: File, table: pa.Table, **options: Any) -> File:
        """Writes a table under a file's name."""
        with self.after.writing(file.name) as sink:
            pq.write_table(table, sink, compression="zstd", **options)
        return File(file.name, sink.num_bytes, table.num_rows, sink.sha256())

    def without(self, file: File) -> tuple[File, pa.Table | None]:
        """A table without the rows of ids that go, and those rows; as it is, and None, if it has none."""
        ids = self.before.read_table(file.name, ["id"])["id"]
        goes = self.gone.among(ids)
        if not pc.any(goes).as_py():
            return file, None
        self.check(file)
        table = self.before.read_table(file.name)
        rest = table.filter(pc.invert(goes)).combine_chunks()
        return self.table(file, rest.cast(_schema_as_made(self.before, file.name))), table.filter(goes)


def _schema_as_made(folder: Folder, name: str) -> pa.Schema:
    """The Arrow schema of which a Parquet file was made: reading it gives lists' items another name."""
    with folder.open(name) as stream:
        metadata = pq.read_metadata(stream).metadata
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(metadata[b"ARROW:schema"])))


def collect_part(job: Rewriting, part: Part) -> Part:
    """Submissions without those of links that go, which are now opted out."""
    (file,) = part.files
    keys = job.gone.keys
    found = job.before.read_table(file.name, ["key"])["key"]
    num = pc.sum(pc.is_in(found, value_set=keys)).as_py() or 0
    if not num or part.counts is None:
        return part
    job.check(file)
    with job.before.open(file.name) as stream, job.after.writing(file.name) as sink:
        source = pq.ParquetFile(stream)
        with pq.ParquetWriter(sink, source.schema_arrow, compression="zstd") as writer:
            for group in range(source.num_row_groups):
                rows = source.read_row_group(group)
                writer.write_table(rows.filter(pc.invert(pc.is_in(rows["key"], value_set=keys))))
    opted_out = part.counts.rejected.get(Reason.OPT_OUT, 0) + num
    counts = Counts(
        part.counts.num_in, part.counts.kept - num, {**part.counts.rejected, str(Reason.OPT_OUT): opted_out}
    )
    written = File(file.name, sink.num_bytes, counts.kept, sink.sha256())
    return replace(part, files=(written,), counts=counts)


def pages_part(job: Rewriting, part: Part) -> Part:
    """WARC files, their index and the ledger without the links that go; an index of captures likewise."""
    if part.name.startswith(INDEX):
        return _captures_part(job, part)
    ledger_file = part.file(LEDGER_SUFFIX)
    ledger = job.before.read_table(ledger_file.name)
    goes = job.gone.among(ledger["id"])
    if not pc.any(goes).as_py():
        return part
    for file in part.files:
        job.check(file)
    files = {file.name: file for file in part.files}
    removed: dict[str, list[int]] = {}
    for name in [file.name for file in part.files if file.name.endswith(WARC_SUFFIX)]:
        here = pc.equal(pc.fill_null(ledger["warc"], ""), name)
        gone, kept = (
            [Way(**row) for row in rows.select(["id", "url", "offset", "redirects"]).to_pylist()]
            for rows in (ledger.filter(pc.and_(here, goes)), ledger.filter(pc.and_(here, pc.invert(goes))))
        )
        if gone:
            found = find_removed(read_records(job.before, name), gone, kept, set(job.gone.ids.to_pylist()))
            removed[name] = [one.offset for one in found]
            with job.after.writing(name) as sink:
                write_without(job.before, name, found, sink)
            files[name] = File(name, sink.num_bytes, files[name].rows, sink.sha256())
    index = part.file(CDXJ_SUFFIX)
    if removed:
        data, num_lines = index_without(job.before.read(index.name), removed)
        with job.after.writing(index.name) as sink:
            sink.write(data)
        files[index.name] = File(index.name, sink.num_bytes, num_lines, sink.sha256())
    rest = ledger.filter(pc.invert(goes)).combine_chunks()
    files[ledger_file.name] = job.table(ledger_file, rest)
    last = last_tries(rest)
    outcomes = Counter(last["outcome"].to_pylist())
    pages = outcomes.pop(FETCHED, 0)
    facts: dict[str, Any] = dict(part.facts)
    if "pages" in facts:
        sizes = last.filter(pc.equal(last["outcome"], FETCHED))["bytes"]
        facts |= {"pages": pages, "bytes": pc.sum(sizes).as_py() or 0}
    counts = Counts(last.num_rows, pages, dict(sorted(outcomes.items())))
    return replace(part, files=tuple(files.values()), counts=counts, facts=facts)


def _captures_part(job: Rewriting, part: Part) -> Part:
    (file,) = part.files
    table = job.before.read_table(file.name)
    gone = Removed(job.gone.url_keys, job.gone.url_hashes)
    rows = zip(table["key"].to_pylist(), table["url"].to_pylist(), strict=True)
    goes = pa.array([gone.covers(key, url) for key, url in rows], pa.bool_())
    if not pc.any(goes).as_py():
        return part
    job.check(file)
    with job.before.open(file.name) as stream:
        row_group_size = max(1, pq.ParquetFile(stream).metadata.row_group(0).num_rows)
    rest = table.filter(pc.invert(goes)).cast(CAPTURES)
    written = job.table(file, rest, row_group_size=row_group_size)
    return replace(part, files=(written,), facts={**part.facts, "captures": rest.num_rows})


def documents_part(job: Rewriting, part: Part) -> Part:
    """Tables with a row a document, of whatever step, without those that go."""
    files, gone = [], {}
    for file in part.files:
        written, rows = job.without(file)
        files.append(written)
        if rows is not None:
            gone[file.name] = rows
    if not gone:
        return part
    changed = replace(part, files=tuple(files))
    if part.counts is None:
        return changed
    kept = gone.get(f"{part.name}.parquet")
    rejected = gone.get(f"{part.name}.rejected.parquet")
    return replace(
        changed,
        counts=_counts_without(part.counts, kept, rejected),
        facts=part.facts if kept is None else _facts_without(part.facts, kept),
    )


def _counts_without(counts: Counts, kept: pa.Table | None, rejected: pa.Table | None) -> Counts:
    reasons = Counter(dict(counts.rejected))
    reasons.subtract([] if rejected is None else rejected["reason"].to_pylist())
    num_kept = counts.kept - (0 if kept is None else kept.num_rows)
    left = {reason: num for reason, num in sorted(reasons.items()) if num}
    return Counts(num_kept + sum(left.values()), num_kept, left)


def _facts_without(facts: Mapping[str, Any], kept: pa.Table) -> dict[str, Any]:
    lost = {
        "documents": kept.num_rows,
        "text_bytes": pc.sum(pc.binary_length(kept["text"])).as_py() or 0,
        "words": pc.sum(kept["num_words"]).as_py()
        if "num_words" in kept.column_names
        else sum(len(text.split()) for text in kept["text"].to_pylist()),
    }
    return {**facts, **{name: facts[name] - num for name, num in lost.items() if name in facts}}


def filtered_part(job: Rewriting, part: Part, documents: Rewriting) -> Part:
    """A part of filter's; what is shared with evaluation sets tells documents by their rows.

    Args:
        job: The stage's folder.
        part: The part.
        documents: The folder of extract.
    """
    if part.name.startswith((MEASURED, "part-")):
        return documents_part(job, part)
    if not part.name.startswith(f"{SHARED}-"):
        return part  # of the evaluation sets' own grams, or of all documents together
    number = int(part.name.removeprefix(f"{SHARED}-"))
    ids = documents.before.read_table(f"{part_name(number)}.parquet", ["id"])["id"]
    goes = job.gone.among(ids).to_numpy()
    if not goes.any():
        return part
    (file,) = part.files
    job.check(file)
    hits = job.before.read_table(file.name)
    rows = hits["row"].to_numpy()
    later = np.cumsum(goes)  # rows that go, up to each
    moved = pa.array((rows - later[rows]).astype(np.int32)[~goes[rows]])
    rest = hits.filter(pa.array(~goes[rows]))
    rest = rest.set_column(rest.schema.get_field_index("row"), hits.schema.field("row"), moved)
    return replace(part, files=(job.table(file, rest.combine_chunks()),))


def corpus_part(job: Rewriting, part: Part) -> Part:
    """A part of dedupe's; one of the corpus remembers how many bytes were removed, for the shards."""
    if part.name == "clusters":
        return _clusters_part(job, part)
    changed = documents_part(job, part)
    if changed.facts == part.facts:
        return changed
    lost = part.facts["text_bytes"] - changed.facts["text_bytes"]
    facts = {**changed.facts, REMOVED_BYTES: part.facts.get(REMOVED_BYTES, 0) + lost}
    return replace(changed, facts=facts)


def _clusters_part(job: Rewriting, part: Part) -> Part:
    """The table of clusters; who is alone in a cluster afterwards has no row."""
    (file,) = part.files
    table = job.before.read_table(file.name)
    goes = job.gone.among(table["id"])
    if not pc.any(goes).as_py():
        return part
    job.check(file)
    rest = table.filter(pc.invert(goes))
    sizes = pc.value_counts(rest["cluster"])
    alone = sizes.field("values").filter(pc.equal(sizes.field("counts"), 1))
    # A document of another run is company that has no row here.
    is_alone = pc.and_(pc.is_in(rest["cluster"], value_set=alone), pc.is_null(rest["run"]))
    rest = rest.filter(pc.invert(is_alone)).combine_chunks()
    facts: dict[str, Any] = {**part.facts, **cluster_figures(rest).facts()}
    return replace(part, files=(job.table(file, rest),), facts=facts)


RewritePart = Callable[[Rewriting, Part], Part]
