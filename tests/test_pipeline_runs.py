"""Parts, sidecars and manifests: whole or not there."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError, RunError
from pipeline.runs import Counts, Folder, Manifest, PartWriter, finished, read_manifest, read_sidecar

names = st.text("abc_", min_size=1, max_size=5)
rejections = st.dictionaries(names, st.integers(1, 1000), max_size=4)


@st.composite
def counts(draw: st.DrawFn) -> Counts:
    kept, rejected = draw(st.integers(0, 1000)), draw(rejections)
    return Counts(kept + sum(rejected.values()), kept, rejected)


@given(st.lists(counts()))
def test_totals_reconcile_and_survive_json(parts: list[Counts]) -> None:
    total = Counts.total(parts)
    total.reconcile("total")
    assert Counts.from_json(json.loads(json.dumps(total.to_json()))) == total
    assert total.num_in == sum(part.num_in for part in parts)


@given(counts(), st.integers(1, 5))
def test_a_lost_record_is_noticed(right: Counts, lost: int) -> None:
    with pytest.raises(RunError, match="fetch/part-00000: counts do not reconcile"):
        Counts(right.num_in + lost, right.kept, right.rejected).reconcile("fetch/part-00000")


def write_part(folder: Folder, name: str = "part-00000", fingerprint: str = "f") -> None:
    writer = PartWriter(folder, name, fingerprint)
    writer.table("parquet", pa.table({"a": [1, 2, 3]}))
    with writer.open("bin") as sink:
        sink.write(b"tokens")
    writer.commit(Counts(4, 3, {"too_short": 1}), seconds=1.5, facts={"words": 7})


def test_a_part_is_its_files_and_then_its_sidecar(run: Folder) -> None:
    write_part(run)
    part = read_sidecar(run, "part-00000")
    assert part is not None
    assert part.counts == Counts(4, 3, {"too_short": 1})
    assert [(file.name, file.rows) for file in part.files] == [
        ("part-00000.parquet", 3),
        ("part-00000.bin", 0),
    ]
    assert part.file(".bin").bytes == 6
    assert set(run.sizes()) == {"part-00000.parquet", "part-00000.bin", "part-00000.json"}
    assert finished(run, {"part-00000": "f", "part-00001": "f"}).keys() == {"part-00000"}
    assert not finished(run, {"part-00000": "other settings"})


def test_an_exception_leaves_nothing_behind(run: Folder) -> None:
    sink = PartWriter(run, "part-00000", "f").open("bin")
    sink.__enter__().write(b"half")
    assert len(run.sizes()) == 1
    error = ZeroDivisionError()
    assert not sink.__exit__(type(error), error, None)
    assert run.sizes() == {}


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: (path / "part-00000.bin").unlink(),
        lambda path: (path / "part-00000.bin").write_bytes(b"toke"),
        lambda path: (path / "part-00000.json").write_bytes(b'{"name": "part-00000"'),
        lambda path: (path / "part-00000.json").write_bytes(b"[]"),
        lambda path: (path / "part-00000.json").unlink(),
    ],
)
def test_a_part_with_something_missing_is_not_done(run: Folder, harm: object) -> None:
    write_part(run)
    assert callable(harm)
    harm(Path(run.path()))
    assert not finished(run, {"part-00000": "f"})


def manifest(run: Folder, facts: Mapping[str, int] | None = None) -> Manifest:
    write_part(run)
    part = read_sidecar(run, "part-00000")
    assert part is not None
    assert part.counts is not None
    return Manifest("filter", "0", "f", {"a": 1}, {"extract": "e"}, part.counts, (part,), facts or {})


def test_a_manifest_is_the_same_bytes_again(run: Folder) -> None:
    first = manifest(run)
    run.write("manifest.json", first.encode())
    again = read_manifest(run)
    assert again is not None
    assert again.encode() == first.encode()
    assert again.digest() == first.digest()
    assert b"seconds" not in first.encode()
    assert first.digest() != manifest(run, {"words": 1}).digest()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"stage": "link"}', b"\xff"])
def test_a_damaged_manifest_is_an_error_that_says_what_to_do(run: Folder, data: bytes) -> None:
    run.write("manifest.json", data)
    with pytest.raises(InputError, match=r"is damaged.*delete it"):
        read_manifest(run)


def test_no_manifest(run: Folder) -> None:
    assert read_manifest(run) is None


def test_a_folder_may_be_a_uri(tmp_path: Path) -> None:
    folder = Folder(f"file://{tmp_path}/run") / "links"
    write_part(folder)
    assert (tmp_path / "run" / "links" / "part-00000.json").is_file()
    assert folder.read_table("part-00000.parquet").num_rows == 3
    folder.remove(["part-00000.json", "was-never-there"])
    assert "part-00000.json" not in folder.sizes()


def test_a_folder_whose_name_is_not_utf_8_is_told(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    with pytest.raises(InputError, match="not UTF-8; rename the folder"):
        Folder(str(folder)).is_local()


def test_a_damaged_table_is_named(run: Folder) -> None:
    run.write("part-00000.parquet", bytes(100))
    with pytest.raises(pa.ArrowInvalid, match=r"/part-00000\.parquet is damaged \(.*Parquet magic bytes"):
        run.read_table("part-00000.parquet")
    with pytest.raises(pa.ArrowInvalid, match=r"/part-00000\.parquet is damaged \(.*Parquet magic bytes"):
        list(run.read_batches("part-00000.parquet", ["id"], 10))


def test_a_table_is_not_damaged_for_want_of_memory(run: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 9 failed")

    write_part(run)
    monkeypatch.setattr(pq, "read_table", fail)
    with pytest.raises(pa.ArrowMemoryError, match=r"^malloc of size 9 failed$"):
        run.read_table("part-00000.parquet")
