"""What is remembered of removed documents: enough to know them again, and none of their content."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import DedupeSettings
from pipeline.errors import RunError
from pipeline.hosts import domain_hash, registrable_domain
from pipeline.link.opt_out import OptOuts
from pipeline.remove.check import find_damage
from pipeline.remove.tombstones import (
    REMOVED,
    TOMBSTONES,
    Removed,
    RemovedDomain,
    encode_entries,
    next_name,
    read_removed,
    read_tombstones,
    removed_digest,
    removed_signatures,
    url_hash,
)
from pipeline.runs import Folder
from pipeline.seal import seal
from tests.resealed import resealed

SETTINGS = DedupeSettings(num_perm=16)


def tombstone(name: str, signature: bytes | None, **other: object) -> dict[str, object]:
    row: dict[str, object] = {
        "id": name,
        "why": "asked",
        "of": None,
        "url_hashes": [],
        "text_hash": name.encode()[:16],
    }
    made = {"signature": signature, "shingles": "words", "ngram": 5, "num_perm": 16}
    return {**row, **made, **other}


def write(run: Folder, rows: Sequence[dict[str, object]], **entries: Sequence[object]) -> None:
    name = next_name(run)
    with (run / REMOVED).writing(f"{name}.parquet") as sink:
        pq.write_table(pa.Table.from_pylist(list(rows), TOMBSTONES), sink)
    told = {"keys": [], "domains": [], "submissions": [], **entries}
    (run / REMOVED).write(f"{name}.json", seal({"entries": told, "tombstones": sink.sha256()}))


def test_of_a_run_that_was_left_alone_there_is_nothing(run: Folder) -> None:
    assert removed_signatures(run, SETTINGS) is None
    assert removed_digest(run) == ""
    assert not read_removed(run).keys


def test_signatures_of_all_removals(run: Folder) -> None:
    ids = [hashlib.sha256(bytes([n])).hexdigest()[:32] for n in range(4)]
    signature = np.arange(16, dtype="<u4").tobytes()
    write(run, [tombstone(ids[0], signature), tombstone(ids[1], signature, text_hash=None)])
    first = removed_digest(run)
    write(run, [tombstone(ids[2], None), tombstone(ids[3], signature, ngram=3)])
    table = removed_signatures(run, SETTINGS)
    assert table is not None
    assert removed_digest(run) != first != ""
    assert table["id"].to_pylist() == [ids[0], ids[2], ids[3]]  # dedupe has never seen the second
    assert table.schema.field("signature").type == pa.binary(64)
    assert table.schema.field("text_hash").type == pa.binary(16)
    assert not any(column.null_count for column in table.columns)
    assert table["signature"][0].as_py() == signature
    # What cannot be compared is like nothing: neither another's signature nor each other's.
    others = [np.frombuffer(one.as_py(), "<u4") for one in table["signature"][1:]]
    assert not (others[0] == others[1]).any()
    assert not (others[1] == np.arange(16)).any()


def test_other_dedupe_settings_give_signatures_of_their_length(run: Folder) -> None:
    write(run, [tombstone("0" * 32, bytes(64))])
    table = removed_signatures(run, DedupeSettings(num_perm=32))
    assert table is not None
    assert table.schema.field("signature").type == pa.binary(128)


def test_a_domain_of_which_the_hash_is_known_is_refused_like_one_that_is_named() -> None:
    hosts = ["a.example", "x.a.example", "b.example", "one.co.uk", "www.one.co.uk", "two.co.uk", "co.example"]
    urls = pa.array([f"https://{host}/page" for host in hosts])
    hashes = np.array([domain_hash(registrable_domain(host)) for host in hosts], np.uint64)
    for names in (["a.example"], ["x.a.example"], ["co.uk"], ["www.one.co.uk", "b.example"]):
        named = OptOuts.of(names).on_host(hashes, urls)
        removed = Removed(domains=tuple(RemovedDomain.of(name) for name in names))
        assert OptOuts.of(removed=removed).on_host(hashes, urls).tolist() == named.tolist()
        assert named.any()
    assert OptOuts.of(removed=removed).digest() != OptOuts.of().digest()


def test_entries_are_told_by_their_hashes(run: Folder) -> None:
    entries = encode_entries([b"k" * 16], ["www.example.co.uk", "co.uk"], ["abc"])
    assert "example" not in json.dumps(entries)
    write(run, [tombstone("ab" * 16, None, url_hashes=[url_hash("https://a.example/")])], **entries)
    removed = read_removed(run)
    assert removed.keys == {b"k" * 16, b"\xab" * 16}
    assert removed.submissions == ("abc",)
    assert set(removed.domains) == {
        RemovedDomain(domain_hash("www.example.co.uk"), domain_hash("example.co.uk")),
        RemovedDomain(domain_hash("co.uk"), None),
    }
    assert removed.covers(b"k" * 16, "")
    assert removed.covers(bytes(16), "https://a.example/")
    assert not removed.covers(bytes(16), "https://b.example/")


@pytest.mark.parametrize("end", ["parquet", "json"])
def test_of_what_was_removed_no_bit_may_be_another(run: Folder, end: str) -> None:
    """Else it would be refused no longer, and nobody would be told."""
    known = [url_hash("https://a.example/")]
    entries = encode_entries([b"k" * 16], ["a.example"], ["abc"])
    write(run, [tombstone("ab" * 16, bytes(64), url_hashes=known)], **entries)
    name = f"removal-00001.{end}"
    data = (run / REMOVED).read(name)
    for at in range(0, len(data), 1 if end == "json" else 23):
        flipped = bytearray(data)
        flipped[at] ^= 1
        (run / REMOVED).write(name, bytes(flipped))
        for read in (read_removed, read_tombstones, lambda run: removed_signatures(run, SETTINGS)):
            with pytest.raises(RunError, match=rf"{name} cannot be read .*: put it back from a copy"):
                read(run)
        assert [where for where, _, _ in find_damage(run)] == [f"{run.uri}/{REMOVED}/{name}"]


@pytest.mark.parametrize(
    "entries",
    [
        {"keys": ["no hex"]},
        {"keys": [7]},
        {"domains": [["no hex", None]]},
        {"domains": [["00"]]},
        {"submissions": None},
    ],
)
def test_a_manifest_that_makes_no_sense_is_told_in_words(run: Folder, entries: dict[str, object]) -> None:
    write(run, [])
    name = "removal-00001.json"
    folder = run / REMOVED
    folder.write(name, resealed(folder.read(name), lambda told: told["entries"].update(entries)))
    with pytest.raises(RunError, match=rf"{name} cannot be read"):
        read_removed(run)
    folder.write(name, resealed(folder.read(name), lambda told: told.pop("tombstones")))
    with pytest.raises(RunError, match=r"removal-00001\.parquet cannot be read"):
        read_tombstones(run)


def test_a_table_that_is_none_of_tombstones_is_told_in_words(run: Folder) -> None:
    write(run, [])
    with (run / REMOVED).writing("removal-00001.parquet") as sink:
        pq.write_table(pa.table({"id": [7]}), sink)
    told = resealed(
        (run / REMOVED).read("removal-00001.json"), lambda told: told.update(tombstones=sink.sha256())
    )
    (run / REMOVED).write("removal-00001.json", told)
    with pytest.raises(RunError, match=r"removal-00001\.parquet cannot be read"):
        read_removed(run)
