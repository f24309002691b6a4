"""Tombstones: what has been removed from a run, by ids and digests alone, so that it does not come back.

Each removal leaves two files in ``RUN/removed``: a table of what went (``removal-00001.parquet``), and beside
it a manifest (``removal-00001.json``) that tells what was asked for and which files were rewritten. No text,
title or address stands in either.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipeline.config import SIGNED_BY, DedupeSettings
from pipeline.errors import RunError
from pipeline.hosts import domain_hash, registrable_domain
from pipeline.runs import Folder
from pipeline.seal import seal, unseal

REMOVED = "removed"  # the folder in a run
PENDING = "pending.json"
REMOVED_BYTES = "removed_bytes"  # a corpus part's fact: of the texts that were removed from it

TOMBSTONES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # the link's
        pa.field("why", pa.string(), nullable=False),  # "asked", "near_duplicate", "same_text" or "same_page"
        pa.field("of", pa.string()),  # the id that it goes with; null where it was asked for itself
        pa.field("url_hashes", pa.list_(pa.binary(16)), nullable=False),  # as submitted, and as fetched
        pa.field("text_hash", pa.binary(16)),  # of the normalised text; null where dedupe never saw it
        pa.field("signature", pa.binary()),  # MinHash; null likewise, and where near-duplicates were kept
        pa.field("shingles", pa.string()),  # by which dedupe settings it was made: these three
        pa.field("ngram", pa.int32()),
        pa.field("num_perm", pa.int32()),
    ]
)

REMEDY = "put it back from a copy of the run, for without it what was removed could come back"
"""What to do where a file of a removal is damaged."""

_TOLD = ("format", "kind", "entries", "tombstones", "files")  # what stands in a removal's manifest

_TABLE = re.compile(r"removal-(\d{5})\.parquet")


@dataclass(frozen=True, slots=True)
class RemovedDomain:
    """A host that was asked to go, known by its hash.

    ``registrable`` is the hash of its registrable domain; None where whole ones lie under it (``co.uk``).
    """

    host: int
    registrable: int | None

    @classmethod
    def of(cls, host: str) -> Self:
        """Of a host as the URL parser writes it."""
        domain = registrable_domain(host)
        is_suffix = registrable_domain(f"a.{host}") != domain
        return cls(domain_hash(host), None if is_suffix else domain_hash(domain))


@dataclass(frozen=True, slots=True)
class Removed:
    """What no later build may take in: links' keys, hashes of addresses, domains, submissions' ids."""

    keys: frozenset[bytes] = frozenset()
    url_hashes: frozenset[bytes] = frozenset()
    domains: tuple[RemovedDomain, ...] = ()
    submissions: tuple[str, ...] = ()

    def covers(self, key: bytes, url: str) -> bool:
        """Whether a submission is one of a removed link, by its key or by its address."""
        return key in self.keys or (bool(self.url_hashes) and url_hash(url) in self.url_hashes)


def url_hash(url: str) -> bytes:
    """The 128-bit hash of an address as it is written; unlike a key it depends on no setting."""
    return xxhash.xxh3_128_digest(url.encode("utf-8", "surrogatepass"))


def table_names(run: Folder) -> list[str]:
    """The tables of all removals, in the order in which they were made.

    They are numbered from 1 on, so that those which a store does not list yet are found too, between others
    or behind them: what was removed must not come back.
    """
    folder = run / REMOVED
    last = max((int(found[1]) for found in map(_TABLE.fullmatch, folder.sizes()) if found), default=0)
    while folder.size(f"{_name(last + 1)}.parquet") is not None:
        last += 1
    return [f"{_name(number)}.parquet" for number in range(1, last + 1)]


def next_name(run: Folder) -> str:
    """What the files of the next removal are called, without their ends."""
    return _name(len(table_names(run)) + 1)


def _name(number: int) -> str:
    return f"removal-{number:05d}"


def read_tombstones(run: Folder) -> pa.Table:
    """All that was removed: rows of TOMBSTONES.

    Raises:
        RunError: A table of them is missing or damaged.
    """
    return pa.concat_tables(
        [TOMBSTONES.empty_table(), *(_read_table(run, name) for name in table_names(run))]
    )


def _read_table(run: Folder, name: str) -> pa.Table:
    try:
        data = (run / REMOVED).read(name)
        check_table(data, _told(run, name))
        return pq.read_table(pa.BufferReader(data)).select(TOMBSTONES.names).cast(TOMBSTONES)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise _damaged(run, name, error) from error


def check_table(data: bytes, told: Mapping[str, Any]) -> None:
    """Raises ValueError where a table of tombstones is not as its removal's manifest tells, if it does."""
    if hashlib.sha256(data).hexdigest() != told["tombstones"]:
        raise ValueError("its bytes have changed since they were written")


def read_removed(run: Folder) -> Removed:
    """What no later build may take in.

    Raises:
        RunError: What was removed cannot be read: a build must not go on without it.
    """
    removals = [_read_removal(run, name) for name in table_names(run)]
    domains = {domain for one in removals for domain in one.domains}
    return Removed(
        keys=frozenset(key for one in removals for key in one.keys),
        url_hashes=frozenset(value for one in removals for value in one.url_hashes),
        domains=tuple(sorted(domains, key=lambda one: one.host)),
        submissions=tuple(sorted({name for one in removals for name in one.submissions})),
    )


def _read_removal(run: Folder, name: str) -> Removed:
    table = _read_table(run, name)
    try:
        entries = _told(run, name)["entries"]
        return Removed(
            keys=frozenset(map(bytes.fromhex, [*table["id"].to_pylist(), *entries["keys"]])),
            url_hashes=frozenset(table["url_hashes"].combine_chunks().flatten().to_pylist()),
            domains=tuple(_domains(entries)),
            submissions=tuple(entries["submissions"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(run, manifest_of(name), error) from error


def encode_entries(
    keys: Iterable[bytes], domains: Iterable[str], submissions: Iterable[str]
) -> dict[str, Any]:
    """What was asked for, as a removal's manifest tells it."""
    told = {RemovedDomain.of(host) for host in domains}
    pairs = [(one.host, one.registrable) for one in sorted(told, key=lambda one: one.host)]
    return {
        "keys": sorted(key.hex() for key in keys),
        "domains": [[f"{host:016x}", None if top is None else f"{top:016x}"] for host, top in pairs],
        "submissions": sorted(submissions),
    }


def encode_told(told: Mapping[str, Any]) -> bytes:
    """The bytes of a removal's manifest."""
    return seal(told)


def decode_told(data: bytes) -> dict[str, Any]:
    """The inverse of encode_told; ValueError where the bytes are no removal's manifest as it was written."""
    return unseal(data, _TOLD)


def _told(run: Folder, table: str) -> dict[str, Any]:
    name = manifest_of(table)
    try:
        return decode_told((run / REMOVED).read(name))
    except (OSError, ValueError) as error:
        raise _damaged(run, name, error) from error


def manifest_of(table: str) -> str:
    """The name of the manifest that stands beside a table of tombstones."""
    return table.removesuffix(".parquet") + ".json"


def _damaged(run: Folder, name: str, error: Exception) -> RunError:
    return RunError(f"{run.uri}/{REMOVED}/{name} cannot be read ({error}): {REMEDY}.")


def _domains(entries: Mapping[str, Any]) -> Iterator[RemovedDomain]:
    for host, top in entries["domains"]:
        yield RemovedDomain(int(host, 16), None if top is None else int(top, 16))


def removed_signatures(run: Folder, settings: DedupeSettings) -> pa.Table | None:
    """What dedupe must take for said already: ``id``, ``text_hash`` binary(16), ``signature``.

    The signature is binary(4 * num_perm), little-endian uint32, as the settings have it. Of what was signed
    by other settings, or removed without its near-duplicates, nothing but the text's hash can be compared:
    its signature is then one that is like no document's.

    Returns:
        The table, without nulls; None where nothing was removed that dedupe had seen.
    """
    table = read_tombstones(run)
    table = table.filter(pc.is_valid(table["text_hash"]))
    if not table.num_rows:
        return None
    made = [getattr(settings, name) for name in SIGNED_BY]
    signatures = [
        row["signature"]
        if row["signature"] is not None and [row[name] for name in SIGNED_BY] == made
        else _unlike_any(row["id"], settings.num_perm)
        for row in table.to_pylist()
    ]
    return pa.table(
        {
            "id": table["id"],
            "text_hash": table["text_hash"],
            "signature": pa.array(signatures, pa.binary(4 * settings.num_perm)),
        }
    )


def _unlike_any(name: str, num_perm: int) -> bytes:
    """Places that agree with those of another signature by chance alone."""
    return np.frombuffer(hashlib.shake_256(name.encode()).digest(4 * num_perm), "<u4").tobytes()


def removed_digest(run: Folder) -> str:
    """The SHA-256, in hex, of all that was removed; empty where nothing was."""
    names = table_names(run)
    if not names:
        return ""
    digest = hashlib.sha256()
    for name in names:
        digest.update(hashlib.sha256((run / REMOVED).read(name)).digest())
    return digest.hexdigest()
