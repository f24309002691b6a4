"""Checks a run from end to end: bytes against checksums, counts against rows, every reference both ways.

First each finished stage by itself: its manifest, and every file of it. What is damaged there is not looked
into further. Then what the tables say of each other: ids, the WARC records behind the documents, the tokens.
"""

import errno
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import InputError, RunError
from pipeline.fetch.ledger import LEDGER_SUFFIX, last_tries
from pipeline.records import SHARD_DOCUMENTS
from pipeline.recount import (
    LINK_COLUMNS,
    SUBMISSION_COLUMNS,
    recount_links,
    recount_submissions,
    recount_thresholds,
    recount_verdicts,
)
from pipeline.recount_clusters import recount_clusters
from pipeline.recount_records import DAMAGE, recount_record
from pipeline.recount_shards import recount_shard, recount_splits
from pipeline.remove.check import find_damage, find_remains
from pipeline.remove.tombstones import read_tombstones
from pipeline.runs import MANIFEST, Counts, File, Folder, Manifest, Part, read_sidecar, true_size
from pipeline.shard.split import SPLIT_COLUMNS
from pipeline.stages import STAGES, Stage, total_facts
from pipeline.status import require_run

_CHUNK = 1 << 22
# Of these the machine is to blame, and no file.
_OF_THE_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be: the file, what is wrong with it, and what to do."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class _Finished:
    """A stage with its manifest."""

    run: Folder
    stage: Stage
    manifest: Manifest

    @property
    def folder(self) -> Folder:
        return self.run / self.stage.folder

    def problem(self, name: str, what: str) -> Problem:
        """Something that does not agree with the rest: the whole stage is in doubt."""
        remedy = f"run the same `webtext build` again with `--force {self.stage.name}`"
        return Problem(f"{self.folder.uri}/{name}", what, remedy)

    def damage(self, name: str, what: str) -> Problem:
        """Something that happened to one file: only its part need be done again."""
        return _damage(self.folder, name, what)

    def files(self) -> Iterator[File]:
        for part in self.manifest.parts:
            yield from part.files

    def table(self, part: Part, suffix: str, columns: list[str]) -> pa.Table:
        kind = suffix.removeprefix(".")
        names = (file.name for file in part.files if part.kind(file) == kind)
        return self.folder.read_table(next(names, f"{part.name}{suffix}"), columns)


def _damage(folder: Folder, name: str, what: str) -> Problem:
    remedy = "delete it, if it is there, and run the same `webtext build`: what is whole stays"
    return Problem(f"{folder.uri}/{name}", what, remedy)


def verify(run: Folder, *, on_progress: Progress | None = None) -> list[Problem]:
    """Checks every finished stage of a run; an empty list says that all is as it was written.

    Args:
        run: The run directory.
        on_progress: Told how many bytes have been read of how many there are to read.

    Raises:
        InputError: There is no run, none of its stages is finished, or the store does not let it be read.
        RunError: The store cannot be reached, or fails, or this machine lacks what it takes to read a file
            (memory, open files, the right to it): nothing is said of the files then.
    """
    try:
        require_run(run)
    except OSError as error:
        _raise_unless_damage(error, run.uri)
        raise
    problems: list[Problem] = []
    stages = _read_manifests(run, problems)
    if not stages and not problems:
        raise InputError(
            f"{run.uri}: no stage is finished, so there is nothing to verify: run `webtext build`."
        )
    for one in stages.values():
        problems += _guarded(one, _check_manifest(one, stages))
    count = _Bytes(sum(file.bytes for one in stages.values() for file in one.files()), on_progress)
    for one in list(stages.values()):
        found = list(_guarded(one, _check_files(one, count)))
        problems += found
        if found:
            del stages[one.stage.name]  # its tables cannot be taken at their word
    if damaged := [Problem(*one) for one in find_damage(run)]:
        return [*problems, *damaged]  # what was removed is not known, so nothing can be held against it
    for name, check in _CONTENTS.items():
        if name in stages:
            problems += _guarded(stages[name], check(stages))
    remains = find_remains(run, {name: one.manifest for name, one in stages.items()})
    return [*problems, *(Problem(*one) for one in remains)]


class _Bytes:
    """How many bytes were read, told to whoever waits."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self._total = total
        self._done = 0
        self._on_progress = on_progress

    def add(self, num_bytes: int) -> None:
        self._done += num_bytes
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)


def _guarded(one: _Finished, found: Iterable[Problem]) -> Iterator[Problem]:
    """What a check finds; where it cannot go on, that is a problem too."""
    try:
        yield from found
    except DAMAGE as error:
        _raise_unless_damage(error, one.folder.uri)
        yield one.problem(MANIFEST, f"the stage's files do not fit together: {error!r}")


def _raise_unless_damage(error: Exception, where: str) -> None:
    """Raises RunError where not the files are at fault: people are told to delete what is damaged."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _OF_THE_MACHINE):
        raise RunError(
            f"{where} cannot be read on this machine ({error}), which says nothing of its files. Give "
            "`webtext verify` the memory, open files (ulimit -n) or rights that it needs, and run it again."
        ) from error


# --- manifests --------------------------------------------------------------------------------------------


def _read_manifests(run: Folder, problems: list[Problem]) -> dict[str, _Finished]:
    stages = {}
    for stage in STAGES:
        folder = run / stage.folder
        try:
            data = folder.read(MANIFEST)
            manifest = Manifest.decode(data)
            if manifest.encode() != data or manifest.stage != stage.name:
                problems.append(_damage(folder, MANIFEST, "is not as it was written"))
        except FileNotFoundError:
            continue
        except DAMAGE as error:
            _raise_unless_damage(error, folder.uri)
            problems.append(_damage(folder, MANIFEST, f"cannot be read ({error!r})"))
            continue
        stages[stage.name] = _Finished(run, stage, manifest)
    return stages


def _check_manifest(one: _Finished, stages: Mapping[str, _Finished]) -> Iterator[Problem]:
    manifest = one.manifest
    for part in manifest.parts:
        sidecar = read_sidecar(one.folder, part.name)
        if sidecar is None:
            yield one.damage(f"{part.name}.json", "is missing or damaged")
        elif _content(sidecar) != _content(part):
            yield one.damage(f"{part.name}.json", f"does not say what {MANIFEST} says")
        if part.counts is not None and not _reconciles(part.counts):
            yield one.problem(f"{part.name}.json", f"counts do not reconcile: {part.counts.to_json()}")
    if Counts.total(part.counts for part in manifest.counted() if part.counts) != manifest.counts:
        yield one.problem(MANIFEST, "its counts are not the sum of its parts'")
    if {**manifest.facts, **total_facts(manifest.parts)} != manifest.facts:
        yield one.problem(MANIFEST, "its facts are not those of its parts together")
    for name in one.stage.after:
        before = stages.get(name)
        if before is None:
            yield one.problem(MANIFEST, f"was made from {name}, which is not finished or is damaged")
        elif manifest.inputs.get(name) != before.manifest.digest():
            yield one.problem(MANIFEST, f"was made from other files than {name} has now")
        elif name == one.stage.after[0] and manifest.counts.num_in != before.manifest.counts.kept:
            took, kept = manifest.counts.num_in, before.manifest.counts.kept
            yield one.problem(MANIFEST, f"took in {took:,} records, but {name} kept {kept:,}")


def _content(part: Part) -> dict[str, Any]:
    """What a manifest and a sidecar both say of a part."""
    return {key: value for key, value in part.to_json().items() if key != "seconds"}


def _reconciles(counts: Counts) -> bool:
    return counts.num_in == counts.kept + sum(counts.rejected.values())


# --- files ------------------------------------------------------------------------------------------------


def _check_files(one: _Finished, count: _Bytes) -> Iterator[Problem]:
    """Presence, size, SHA-256 and, of Parquet, rows; the first that is wrong with a file."""
    sizes = one.folder.sizes()
    for file in one.files():
        size = true_size(one.folder, sizes, file.name, file.bytes)
        if size is None:
            yield one.damage(file.name, "is missing")
        elif size != file.bytes:
            yield one.damage(file.name, f"has {size:,} bytes instead of {file.bytes:,}")
        else:
            what = _check_file(one.folder, file, count)
            if what:
                yield one.damage(file.name, what)


def _check_file(folder: Folder, file: File, count: _Bytes) -> str:
    """What is wrong with a file; empty where nothing is."""
    digest = hashlib.sha256()
    try:
        with folder.open(file.name) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                count.add(len(chunk))
            if digest.hexdigest() != file.sha256:
                return "its bytes have changed since they were written (another SHA-256)"
            if file.name.endswith(".parquet"):
                num_rows = pq.ParquetFile(stream).metadata.num_rows
                if num_rows != file.rows:
                    return f"has {num_rows:,} rows, and {MANIFEST} says {file.rows:,}"
    except DAMAGE as error:
        _raise_unless_damage(error, f"{folder.uri}/{file.name}")
        return f"cannot be read ({error})"
    return ""


# --- contents ---------------------------------------------------------------------------------------------


def _check_submissions(stages: Mapping[str, _Finished]) -> Iterator[Problem]:
    one = stages["collect"]
    yield from _check_kept(one)
    for part in one.manifest.counted():
        table = one.table(part, ".parquet", SUBMISSION_COLUMNS)
        num_in = part.counts.num_in if part.counts else 0
        for what in recount_submissions(table, num_in, part.facts, one.manifest.settings):
            yield one.problem(f"{part.name}.parquet", what)


def _check_kept(one: _Finished) -> Iterator[Problem]:
    """The main table of a part has its kept records, and the table of rejections, if any, the others."""
    for part in one.manifest.counted():
        rows = {file.name: file.rows for file in part.files}
        counts = part.counts or Counts(0, 0)
        name = f"{part.name}.parquet"
        if rows.get(name) != counts.kept:
            yield one.problem(name, f"has {rows.get(name):,} rows, but {counts.kept:,} records were kept")
        if f"{part.name}.rejected.parquet" in rows:
            reasons = one.table(part, ".rejected.parquet", ["reason"])["reason"].to_pylist()
            if Counter(reasons) != Counter(counts.rejected):
                yield one.problem(f"{part.name}.rejected.parquet", "its reasons are not those counted")


def _check_links(stages: Mapping[str, _Finished]) -> Iterator[Problem]:
    one, collect = stages["link"], stages.get("collect")
    yield from _check_kept(one)
    karma = one.manifest.settings["karma"]
    tables = []
    for part in one.manifest.counted():
        table = one.table(part, ".parquet", LINK_COLUMNS)
        counts = part.counts or Counts(0, 0)
        for what in recount_links(table, counts.num_in, counts.rejected, karma):
            yield one.problem(f"{part.name}.parquet", what)
        tables.append(table.select(["id", "karma"]))
    for what in recount_thresholds(tables, one.manifest.facts, one.manifest.settings):
        yield one.problem(MANIFEST, what)
    ids = _chunks(table["id"] for table in tables)
    if len(ids.unique()) != one.manifest.counts.kept:
        num_links = one.manifest.counts.kept
        yield one.problem(MANIFEST, f"{num_links:,} links have only {len(ids.unique()):,} different ids")
    if collect is not None:
        keys = _chunks(collect.table(part, ".parquet", ["key"])["key"] for part in collect.manifest.counted())
        of_links = pa.array([bytes.fromhex(name) for name in ids.to_pylist()], keys.type)
        strange = ids.filter(pc.invert(pc.is_in(of_links, value_set=keys.combine_chunks())))
        if len(strange):
            yield one.problem(MANIFEST, f"{len(strange):,} links are of no submission, as {strange[0]}")


def _chunks(columns: Iterable[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Columns of several tables, of which there is one at least, as one."""
    every = list(columns)
    return pa.chunked_array([chunk for column in every for chunk in column.chunks], every[0].type)


def _check_pages(stages: Mapping[str, _Finished]) -> Iterator[Problem]:
    one = stages["fetch"]
    for part in one.manifest.counted():
        name = part.file(LEDGER_SUFFIX).name
        ledger = one.table(part, LEDGER_SUFFIX, _LEDGER_COLUMNS)
        last = last_tries(ledger)
        outcomes = Counter(last["outcome"].to_pylist())
        counts = part.counts or Counts(0, 0)
        if outcomes.pop("fetched", 0) != counts.kept or outcomes != Counter(counts.rejected):
            yield one.problem(name, "the outcomes of its links are not those counted")
        links = stages.get("link")
        if links is not None:
            asked = _ids_of_part(links, part.name)
            yield from _compare(one, name, last["id"], asked, "links")
            yield from _compare(one, name, asked, last["id"], "outcomes")
        yield from _check_records(one, ledger.filter(pc.equal(ledger["outcome"], "fetched")))


_LEDGER_COLUMNS = ["id", "attempt", "outcome", "final_url", "revisit", "warc", "offset", "length"]


def _check_records(one: _Finished, rows: pa.Table) -> Iterator[Problem]:
    """Each row's place in a WARC file is one whole response record of its URL; a revisit's is another's."""
    known = {file.name: file.bytes for file in one.files()}
    for warc in rows["warc"].unique().to_pylist():
        if warc not in known:
            yield one.problem(warc, f"is named by a ledger, but not by {MANIFEST}")
            continue
        here = rows.filter(pc.equal(rows["warc"], warc)).sort_by("offset").to_pylist()
        with one.folder.open(warc) as stream, io.BufferedReader(stream, _CHUNK) as buffered:
            for row in here:
                what = "it ends behind the file's end"
                if 0 <= row["offset"] <= row["offset"] + row["length"] <= known[warc]:
                    buffered.seek(row["offset"])
                    url = None if row["revisit"] else row["final_url"] or ""
                    what = recount_record(buffered.read(row["length"]), url)
                if what:
                    yield one.problem(warc, f"record of {row['id']} at byte {row['offset']:,}: {what}")


def _ids_of_part(one: _Finished, name: str) -> pa.ChunkedArray:
    """The ids in a part's main table; none if the stage has no such part."""
    if any(part.name == name for part in one.manifest.parts):
        return one.folder.read_table(f"{name}.parquet", ["id"])["id"]
    return pa.chunked_array([], pa.string())


def _compare(
    one: _Finished, name: str, values: pa.ChunkedArray, among: pa.ChunkedArray, what: str
) -> Iterator[Problem]:
    """A problem if some of ``values`` are not ``among`` those that they must come from."""
    strange = values.filter(pc.invert(pc.is_in(values, value_set=among.combine_chunks())))
    if len(strange):
        yield one.problem(name, f"{len(strange):,} records have no match among the {what}, as {strange[0]}")


def _check_descent(name: str, before: str, suffix: str) -> Callable[..., Iterator[Problem]]:
    """A check that each document of a stage is one of the stage before, with the same WARC record."""

    def check(stages: Mapping[str, _Finished]) -> Iterator[Problem]:
        one, parent = stages[name], stages.get(before)
        yield from _check_kept(one)
        if parent is None:
            return
        parents = {part.name: part for part in parent.manifest.counted()}
        for part in one.manifest.counted():
            table = f"{part.name}.parquet"
            if part.name not in parents:
                yield one.problem(table, f"{before} has no part of this name")
                continue
            among = _references(parent.table(parents[part.name], suffix, _REFERENCE))
            yield from _compare(
                one, table, _references(one.table(part, ".parquet", _REFERENCE)), among, before
            )

    return check


def _check_filtered(stages: Mapping[str, _Finished]) -> Iterator[Problem]:
    one = stages["filter"]
    yield from _check_descent("filter", "extract", ".parquet")(stages)
    for number, part in enumerate(one.manifest.counted()):
        for what in recount_verdicts(one.folder, number, part, one.manifest.settings):
            yield one.problem(f"{part.name}.parquet", what)


def _check_corpus(stages: Mapping[str, _Finished]) -> Iterator[Problem]:
    one, parent = stages["dedupe"], stages.get("filter")
    yield from _check_descent("dedupe", "filter", ".parquet")(stages)
    if parent is not None:
        for part in one.manifest.counted():
            removed = one.table(part, ".rejected.parquet", ["id"])["id"]
            among = _ids_of_part(parent, part.name)
            yield from _compare(one, f"{part.name}.rejected.parquet", removed, among, "filter")
    gone = read_tombstones(one.run)["id"].combine_chunks()
    for file, what in recount_clusters(one.folder, one.manifest, gone):
        yield one.problem(file, what)


_REFERENCE = ["id", "warc", "offset", "length"]


def _references(table: pa.Table) -> pa.ChunkedArray:
    """Id, WARC file, offset and length of each row, as one text; null where there is no WARC record."""
    columns = [pc.cast(table[name], pa.string()) for name in _REFERENCE]
    return pc.binary_join_element_wise(*columns, " ")


# --- tokens -----------------------------------------------------------------------------------------------


def _check_shards(stages: Mapping[str, _Finished]) -> Iterator[Problem]:
    from tokenizer.files import TOKENIZER_JSON, parse_tokenizer_json
    from tokenizer.vocabulary import END_OF_TEXT

    one, tokenizer, corpus = stages["shard"], stages.get("tokenizer"), stages.get("dedupe")
    documents = _shard_documents(one)
    if documents.num_rows != one.manifest.counts.kept:
        rows, kept = documents.num_rows, one.manifest.counts.kept
        yield one.problem(MANIFEST, f"its tables have {rows:,} documents, but {kept:,} were kept")
    if corpus is not None:
        ids = _chunks(_ids_of_part(corpus, part.name) for part in corpus.manifest.counted())
        yield from _compare(one, MANIFEST, documents["id"], ids, "corpus")
        yield from _compare(one, MANIFEST, ids, documents["id"], "shards")
        if len(documents["id"].unique()) != documents.num_rows:
            yield one.problem(MANIFEST, "some documents are in the shards more than once")
        tables = (
            corpus.table(part, ".parquet", ["id", *SPLIT_COLUMNS]) for part in corpus.manifest.counted()
        )
        for what in recount_splits(documents, tables, one.manifest.settings):
            yield one.problem(MANIFEST, what)
    if tokenizer is None:
        return
    data = tokenizer.folder.read(TOKENIZER_JSON)
    if one.manifest.facts["tokenizer"] != hashlib.sha256(data).hexdigest():
        yield one.problem(MANIFEST, "its tokens are not of the tokenizer that the run has")
    vocabulary = parse_tokenizer_json(data, TOKENIZER_JSON)
    vocab_size, end = vocabulary.vocab_size, vocabulary.specials[END_OF_TEXT]
    for split, shard in sorted({(row["split"], row["shard"]) for row in _pairs(documents)}):
        rows = documents.filter((pc.field("split") == split) & (pc.field("shard") == shard))
        name = f"{split}-{shard:05d}"
        for file, what in recount_shard(one.folder, name, rows.sort_by("sequence"), vocab_size, end):
            yield one.problem(file, what)


def _shard_documents(one: _Finished) -> pa.Table:
    """The document tables of all shards, as one."""
    names = [file.name for part in one.manifest.counted() for file in part.files]
    tables = [one.folder.read_table(name) for name in names if name.endswith(".documents.parquet")]
    return pa.concat_tables([SHARD_DOCUMENTS.empty_table(), *tables])


def _pairs(documents: pa.Table) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = documents.group_by(["split", "shard"]).aggregate([]).to_pylist()
    return pairs


_CONTENTS: Mapping[str, Callable[[Mapping[str, _Finished]], Iterator[Problem]]] = {
    "collect": _check_submissions,
    "link": _check_links,
    "fetch": _check_pages,
    "extract": _check_descent("extract", "fetch", LEDGER_SUFFIX),
    "filter": _check_filtered,
    "dedupe": _check_corpus,
    "shard": _check_shards,
}
