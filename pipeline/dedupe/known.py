"""Documents that are not to be said again, by their signatures alone; no text is read.

They are those of finished corpora, and what was taken out of these or of this run on request. They are
ranked before all others, and so always stay.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import SIGNED_BY, DedupeSettings
from pipeline.dedupe.signatures import SIGNATURES
from pipeline.errors import InputError
from pipeline.held import held
from pipeline.records import TIME
from pipeline.remove.tombstones import REMOVED, removed_signatures
from pipeline.runs import Folder, Manifest, PartWriter, read_manifest
from pipeline.stages import BY_NAME, Job, Planned, part_name


def known_schema(num_perm: int) -> pa.Schema:
    """A ``known`` table: of a document in another corpus, what its signature and its cluster are."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("run", pa.string(), nullable=False),  # its name, or REMOVED
            pa.field("text_hash", pa.binary(16), nullable=False),
            pa.field("cluster", pa.string(), nullable=False),
            pa.field("cluster_domain", pa.string()),
            pa.field("cluster_created", TIME),
            pa.field("signature", pa.binary(4 * num_perm), nullable=False),
        ]
    )


@dataclass(frozen=True, slots=True)
class Corpus:
    """A finished corpus in another run."""

    run: Folder
    manifest: Manifest

    @property
    def name(self) -> str:
        """What its documents are said to be of."""
        return self.run.name

    @property
    def folder(self) -> Folder:
        """Where its parts are."""
        return self.run / BY_NAME["dedupe"].folder

    def parts(self) -> Iterator[tuple[str, str, int, str]]:
        """Its parts: the file of signatures, that of documents, how many there are, a digest of both."""
        signatures = {part.name: part.files[0] for part in self.manifest.parts if part.counts is None}
        for index, part in enumerate(self.manifest.counted()):
            signed, documents = signatures[part_name(index, SIGNATURES)], part.file(f"{part.name}.parquet")
            digest = f"{self.name} {signed.sha256} {documents.sha256}"
            yield signed.name, documents.name, documents.rows, digest


def read_corpora(job: Job) -> list[Corpus]:
    """The corpora that the settings name.

    Raises:
        InputError: One is not finished, is this run's own, or has signatures of another kind.
    """
    return [_read_corpus(job, uri) for uri in job.settings.against]


def _read_corpus(job: Job, uri: str) -> Corpus:
    run = Folder(uri)
    folder = run / BY_NAME["dedupe"].folder
    if run.path() == job.run.path() and run.filesystem.equals(job.run.filesystem):
        raise InputError(f"dedupe.against names the run itself ({uri}): take it out.")
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(
            f"dedupe.against: {uri} has no finished corpus ({folder.uri}/manifest.json is not there). Build "
            "it first, or take it out."
        )
    own, theirs = job.settings.model_dump(mode="json"), manifest.settings
    other = [name for name in SIGNED_BY if theirs.get(name) != own[name]]
    if other:
        wanted = ", ".join(f"{name} = {theirs.get(name)!r}" for name in other)
        raise InputError(
            f"dedupe.against: the signatures of {uri} were made with {wanted}, and can be compared only with "
            "such. Set the same under [dedupe], or build that corpus again."
        )
    if run.name == REMOVED:
        raise InputError(f"dedupe.against: no run can be called {run.name!r} ({uri}): give it another name.")
    return Corpus(run, manifest)


def know(job: Job, part: Planned) -> None:
    """Writes down what this run has to know of one part of another corpus."""
    started = time.monotonic()
    spec = part.spec
    if spec["run"] == REMOVED:
        known = _removed(Folder(spec["folder"]), job.settings)
    else:
        folder = held(Folder(spec["folder"]))
        known = _kept(folder, spec["signed"], spec["documents"], spec["run"], job.settings)
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", known)
    writer.commit(None, seconds=time.monotonic() - started)


def _kept(folder: Folder, signed: str, documents: str, run: str, settings: DedupeSettings) -> pa.Table:
    """Of the signed documents those that the corpus has kept, in its order."""
    kept = folder.read_table(documents, ["id", "cluster", "cluster_domain", "cluster_created"])
    signatures = folder.read_table(signed, ["id", "text_hash", "signature"])
    places = pc.index_in(kept["id"], value_set=signatures["id"].combine_chunks())
    if places.null_count:
        raise InputError(
            f"{folder.uri}/{signed} has no signature of some documents in {documents}: `webtext verify` "
            "tells what is wrong there."
        )
    joined = kept.append_column("run", pa.array([run] * kept.num_rows, pa.string()))
    for name in ("text_hash", "signature"):
        joined = joined.append_column(name, signatures[name].take(places))
    schema = known_schema(settings.num_perm)
    return joined.select(schema.names).cast(schema)


def _removed(run: Folder, settings: DedupeSettings) -> pa.Table:
    """What was taken out of a run."""
    schema = known_schema(settings.num_perm)
    table = removed_signatures(run, settings)
    if table is None:
        return schema.empty_table()
    num = table.num_rows
    columns = {
        **{name: table[name] for name in ("id", "text_hash", "signature")},
        "run": pa.array([REMOVED] * num, pa.string()),
        "cluster": table["id"],
        "cluster_domain": pa.nulls(num, pa.string()),
        "cluster_created": pa.nulls(num, TIME),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)
